//! Verbs that go on until somebody ends them, or that stand around another command: watched, interrupted, cut off, restarted.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Home, Lan, Ran, SOON, Since, eventually, hubless, skipped, text};

/// A verb that runs, with its pipes; ended when it is dropped.
struct Live {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Live {
    #[track_caller]
    fn start(mut command: Command) -> Live {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Live { child, out }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.out.read_line(&mut line).expect("a line") > 0, "it ended: {}", self.err());
        line
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("our own child");
    }

    #[track_caller]
    fn ended(&mut self) -> i32 {
        let status = eventually(SOON, "it ends", || self.child.try_wait().expect("watched"));
        status.code().unwrap_or(-1)
    }

    /// All it said on stderr; only after its end.
    fn err(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut text).expect("read");
        text
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line in a terminal of its own, of so many columns; `None` where `script` (util-linux) is not there.
fn in_terminal(home: &Home, columns: u16, rows: u16, line: &str) -> Option<Command> {
    if !cfg!(target_os = "linux") || Command::new("script").arg("--version").output().is_err() {
        return None;
    }
    // A shell that Ctrl-C does not end, so that it can say how its command ended.
    let line = format!("trap : INT; stty cols {columns} rows {rows} -echo; {}", line.replace("hubless", hubless()));
    let mut command = home.command("script", &["-qec", &line, "/dev/null"]);
    command.env("TERM", "xterm").env("PAGER", "cat");
    Some(command)
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or(0)
}

#[test]
fn watch_tells_what_happens_and_goes_on_over_a_restart() {
    let home = Lan::new().home("one");
    let daemon = home.up();
    let mut watch = Live::start(home.command(hubless(), &["watch", "--type", "todo,agent", "--jsonl", "--since", "0"]));
    daemon.add("first");
    daemon.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280"}));
    let first = serde_json::from_str::<Value>(&watch.line()).expect("one object a line");
    assert!(matches!(text(&first, "type"), "todo" | "agent") && first["seq"].is_u64() && first["at"].is_string(), "{first}");
    let id = text(&first, "id").to_owned();
    let again = home.run(&["watch", "--jsonl", "--limit", "1", "--since", &id]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_ne!(serde_json::from_str::<Value>(&again.out).expect("an object")["id"], id.as_str(), "what came after it");
    daemon.stop();
    let daemon = home.up();
    let resync = eventually(SOON, "it is said that something was missed", || {
        let line: Value = serde_json::from_str(&watch.line()).expect("one object a line");
        (line["type"] == "resync").then_some(line)
    });
    assert!(resync["seq"].is_u64());
    daemon.add("second");
    eventually(SOON, "the new todo is told", || {
        let line: Value = serde_json::from_str(&watch.line()).expect("one object a line");
        (line["data"]["content"] == "second").then_some(())
    });
    watch.signal(rustix::process::Signal::INT);
    assert_eq!(watch.ended(), 130);
    let err = watch.err();
    assert!(err.contains("the daemon stopped; waiting for it") && err.contains("the daemon is back"), "{err}");
}

#[test]
fn a_closed_pipe_ends_what_goes_on_although_nothing_is_written() {
    let home = Lan::new().home("one");
    let _daemon = home.up();
    for args in [&["watch"][..], &["status", "--watch"]] {
        let mut live = Live::start(home.command(hubless(), args));
        let out = std::mem::replace(
            &mut live.out,
            BufReader::new(Command::new("true").stdout(Stdio::piped()).spawn().expect("true").stdout.take().expect("piped")),
        );
        drop(out);
        assert_eq!(live.ended(), 0, "{args:?}");
        assert_eq!(live.err(), "", "{args:?}");
    }
    for line in ["status", "agents", "sessions", "todos", "devices", "config show", "help exit-codes", "sources", "doctor", "--help"] {
        let mut live = Live::start(home.command("sh", &["-c", &format!("{} {line} | true; exit 0", hubless())]));
        assert_eq!(live.ended(), 0);
        assert_eq!(live.err(), "", "{line}");
    }
}

#[test]
fn without_a_daemon_there_is_nothing_to_watch_and_status_watches_the_disk() {
    let home = Lan::new().home("one");
    let ran = home.run(&["watch"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert_eq!(home.run(&["watch", "--json"]).code, 2);
    assert_eq!(home.run(&["status", "--watch", "--json"]).code, 2);
    assert_eq!((home.run(&["status", "--oneline"]).out.as_str(), home.run(&["status", "--oneline"]).code), ("down\n", 4));
    home.up().stop();
    let mut live = Live::start(home.command(hubless(), &["status", "-w"]));
    assert!(live.line().starts_with("Total Agents: 0"));
    live.signal(rustix::process::Signal::INT);
    assert_eq!(live.ended(), 130);
}

#[test]
fn status_is_watched_in_a_terminal_that_gets_its_screen_back() {
    let home = Lan::new().home("one");
    let daemon = home.up();
    let Some(command) = in_terminal(&home, 80, 24, "hubless status --watch; echo code=$?") else {
        return skipped("status_is_watched_in_a_terminal_that_gets_its_screen_back", "there is no script(1)");
    };
    let mut live = Live::start(command);
    let mut seen = Vec::new();
    let mut until = |live: &mut Live, what: &str| {
        let mut bytes = [0; 4096];
        while !String::from_utf8_lossy(&seen).contains(what) {
            let read = live.out.read(&mut bytes).expect("read");
            assert!(read > 0, "it ended before “{what}”: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&bytes[..read]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    };
    until(&mut live, "\x1b[?1049h");
    daemon.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280", "state": "waiting"}));
    until(&mut live, "AGT-280");
    // As a person types it.
    live.child.stdin.as_mut().expect("piped").write_all(b"\x03").expect("typed");
    let all = until(&mut live, "code=130");
    assert!(all.contains("\x1b[?1049l") && all.contains("\x1b[?25h"), "the screen is given back");
    assert!(!all.contains("\x1b[2J"), "it never flickers");
}

#[test]
fn forty_columns_break_nothing() {
    let home = Lan::new().home("one");
    let daemon = home.up();
    let task = "a task with a name that is much longer than any terminal is wide, so that it has to go somewhere";
    daemon.post("/api/v3/beats", &json!({"agent": "sam", "task": task, "state": "waiting"}));
    daemon.add("a todo whose text is longer than forty columns by a good deal");
    for verb in ["status", "agents", "todos", "todos ready", "devices", "sessions", "sources", "projects", "sync", "config show", "doctor"]
    {
        let Some(command) = in_terminal(&home, 40, 24, &format!("NO_COLOR=1 hubless {verb}")) else {
            return skipped("forty_columns_break_nothing", "there is no script(1)");
        };
        let ran = Ran::of(command, &[verb]);
        let wide = widest(&ran.out);
        let tables = !matches!(verb, "doctor" | "status" | "sync");
        assert!(!tables || wide <= 40, "{verb} is {wide} wide:\n{}", ran.out);
        let kept = match verb {
            "status" | "agents" => "sam",
            "todos" | "todos ready" => "todo",
            _ => "",
        };
        assert!(ran.out.contains(kept), "{verb}: {}", ran.out);
        // No column is so narrow that its words stand one letter below the other.
        let lines: Vec<bool> = ran.out.lines().map(|line| line.trim().chars().count() == 1).collect();
        assert!(!lines.windows(4).any(|some| some.iter().all(|alone| *alone)), "{verb}:\n{}", ran.out);
    }
}

#[test]
fn what_is_longer_than_the_terminal_goes_through_the_pager() {
    let home = Lan::new().home("one");
    let ran = |line: &str| in_terminal(&home, 100, 12, line).map(|command| Ran::of(command, &[line]).out);
    let Some(paged) = ran("PAGER='sed s/^/paged:/' hubless config show") else {
        return skipped("what_is_longer_than_the_terminal_goes_through_the_pager", "there is no script(1)");
    };
    assert!(paged.contains("paged:http.port"), "{paged}");
    for plain in [
        "PAGER='sed s/^/paged:/' hubless config get http.port",
        "PAGER=/nowhere hubless config show",
        "PAGER='sed s/^/paged:/' hubless config show | cat",
    ] {
        let out = ran(plain).expect("a terminal");
        assert!(!out.contains("paged:") && !out.is_empty(), "{plain}: {out}");
    }
}

/// A daemon that takes its time, as one does whose disk is slow.
fn slow_daemon(home: &Home, answers: usize) -> std::thread::JoinHandle<()> {
    let run = home.root().join("run");
    std::fs::create_dir_all(&run).expect("made");
    let socket = std::os::unix::net::UnixListener::bind(run.join("ctl.sock")).expect("a socket");
    std::thread::spawn(move || {
        for _ in 0..answers {
            let (mut stream, _) = socket.accept().expect("somebody asks");
            let _ = stream.read(&mut [0; 4096]);
            std::thread::sleep(Duration::from_millis(1_500));
            let body = "{\"data\":{\"rescanning\":true}}";
            let _ = write!(
                stream,
                "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    })
}

#[test]
fn what_takes_over_a_second_says_so_on_a_terminal_and_nowhere_else() {
    let home = Lan::new().home("laptop");
    let daemon = slow_daemon(&home, 2);
    let piped = home.run(&["sources", "rescan"]);
    assert_eq!((piped.code, piped.err.as_str()), (0, ""), "{}", piped.out);
    let Some(command) = in_terminal(&home, 80, 24, "hubless sources rescan") else {
        return skipped("what_takes_over_a_second_says_so_on_a_terminal_and_nowhere_else", "no script (util-linux) here");
    };
    let mut live = Live::start(command);
    let mut said = String::new();
    live.out.read_to_string(&mut said).expect("read");
    assert!(said.contains("waiting for the daemon … 1s\u{1b}[K"), "{said:?}");
    let rest = said.rsplit("\r\u{1b}[K").next().expect("it is wiped");
    assert!(!rest.contains("waiting") && rest.trim().starts_with('✓'), "{said:?}");
    daemon.join().expect("it answered twice");
}

#[test]
fn colour_is_there_only_where_it_is_wanted() {
    let home = Lan::new().home("one");
    let daemon = home.up();
    daemon.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280", "state": "waiting"}));
    let ran = |line: &str| in_terminal(&home, 100, 24, line).map(|command| Ran::of(command, &[line]).out);
    let Some(coloured) = ran("hubless status") else {
        return skipped("colour_is_there_only_where_it_is_wanted", "there is no script(1)");
    };
    assert!(coloured.contains("\x1b["), "{coloured}");
    for plain in ["NO_COLOR=1 hubless status", "TERM=dumb hubless status", "hubless status --color never"] {
        let out = ran(plain).expect("a terminal");
        assert!(!out.contains('\x1b') && out.contains("sam"), "{plain}: {out}");
    }
    assert!(!home.run(&["status"]).out.contains('\x1b'), "a pipe");
    assert!(home.run(&["todos", "list", "--color", "always"]).code == 0);
}

/// What the daemon shows of an agent.
fn agent(home: &Home, name: &str) -> Value {
    home.json(&["agents", "show", name])["data"].clone()
}

#[test]
fn a_wrapped_command_keeps_its_streams_and_its_exit_code() {
    let home = Lan::new().home("one");
    let _daemon = home.up();
    let beat = |task: &str, line: &str| {
        let mut command = home.command(hubless(), &["beat", "sam", task, "--", "sh", "-c", line]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("piped").write_all(b"asked").expect("written");
        child.wait_with_output().expect("it ends")
    };
    let done = beat("AGT-280", "cat; echo wrong >&2");
    assert_eq!((done.status.code(), &done.stdout[..], &done.stderr[..]), (Some(0), &b"asked"[..], &b"wrong\n"[..]));
    assert_eq!(text(&agent(&home, "sam"), "state"), "done");
    assert_eq!(beat("AGT-281", "exit 3").status.code(), Some(3));
    let failed = agent(&home, "sam");
    assert_eq!(text(&failed, "state"), "failed");
    assert_eq!(beat("AGT-282", "kill -TERM $$").status.code(), Some(143));
    assert_eq!(home.run(&["beat", "sam", "x", "--", "/nowhere/at/all"]).code, 127);
    assert_eq!(home.run(&["beat", "sam", "x", "--", "/etc"]).code, 126);
    assert_eq!(home.run(&["beat", "sam", "x", "--json", "--", "true"]).code, 2);
}

#[test]
fn a_wrapped_command_gets_our_signals_and_is_seen_while_it_runs() {
    let home = Lan::new().home("one");
    let _daemon = home.up();
    let mut live = Live::start(
        home.command(hubless(), &["beat", "leo", "AGT-1", "--", "sh", "-c", "trap 'exit 7' TERM; echo on; while :; do sleep 0.05; done"]),
    );
    assert_eq!(live.line(), "on\n");
    eventually(SOON, "leo works", || (agent(&home, "leo")["state"] == "working").then_some(()));
    live.signal(rustix::process::Signal::TERM);
    assert_eq!(live.ended(), 7);
    assert_eq!(text(&agent(&home, "leo"), "state"), "failed");
}

#[test]
fn ctrl_c_reaches_a_wrapped_command_once() {
    let home = Lan::new().home("one");
    home.up().stop();
    let inner =
        "trap 'echo int; n=$((n+1))' INT; echo on; i=0; while [ $i -lt 40 ]; do sleep 0.05; i=$((i+1)); done; echo count=$n; exit 5";
    let Some(command) = in_terminal(&home, 80, 24, &format!("hubless beat sam x -- sh -c \"{}\"; echo code=$?", inner.replace('$', "\\$")))
    else {
        return skipped("ctrl_c_reaches_a_wrapped_command_once", "there is no script(1)");
    };
    let mut live = Live::start(command);
    assert_eq!(live.line().trim(), "on");
    live.child.stdin.as_mut().expect("piped").write_all(b"\x03").expect("typed");
    let mut all = String::new();
    live.out.read_to_string(&mut all).expect("read");
    assert!(all.contains("count=1") && all.contains("code=5"), "{all}");
}

#[test]
fn a_wrapped_command_runs_without_a_daemon_and_is_told_to_the_next() {
    let home = Lan::new().home("one");
    home.up().stop();
    let begun = Since::now();
    let ran = home.run(&["beat", "kai", "AGT-9", "--", "sh", "-c", "echo out; exit 4"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (4, "out\n", ""));
    assert!(begun.elapsed() < Duration::from_secs(5), "nothing is waited for");
    let _daemon = home.up();
    eventually(SOON, "the next daemon knows", || (agent(&home, "kai")["state"] == "failed").then_some(()));
}
