//! Agents are seen without asking them for anything: fakes of the tools write as the real ones do, and nobody reports.
//!
//! A fake is a shell script of `tests/data/fakes` that does one step for each line on its standard input, and says so.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, Home, Lan, SOON, Since, eventually, measured, skipped, text};

/// A tool at work.
struct Fake {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Fake {
    #[track_caller]
    fn start(home: &Home, tool: &str, root: &Path, session: &str) -> Fake {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/fakes/{tool}.sh"));
        let cwd = home.at("work");
        fs::create_dir_all(&cwd).expect("a directory");
        let args = [script.display().to_string(), root.display().to_string(), session.to_owned(), cwd.display().to_string()];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = home.command("sh", &args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh is there");
        let (to, from) = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Fake { child, to, from }
    }

    /// Does one step; what it wrote is on disk afterwards.
    #[track_caller]
    fn step(&mut self, step: &str) {
        writeln!(self.to, "{step}").expect("it listens");
        let mut said = String::new();
        self.from.read_line(&mut said).expect("it answers");
        assert_eq!(said.trim(), step);
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("reaped");
    }
}

const CLAUDE: &str = "5c0e1f2a-0000-4000-8000-00000000c1a0";
const CODEX: &str = "019c0000-0000-7000-8000-0000000c0de0";
const PI: &str = "7d0e1f2a-0000-4000-8000-000000000314";
const OPENCLAW: &str = "oc-00000000c1a3";
const GEMINI: &str = "9e0e1f2a";
const OPENCODE: &str = "ses_00000000c0de";

/// Every tool, where it keeps its files, and its session.
fn tools(home: &Home) -> Vec<(&'static str, PathBuf, &'static str)> {
    let mut tools = vec![
        ("claude", home.claude(), CLAUDE),
        ("codex", home.at("user/.codex"), CODEX),
        ("pi", home.at("user/.pi/agent"), PI),
        ("openclaw", home.at("user/.openclaw"), OPENCLAW),
        ("gemini", home.at("user/.gemini"), GEMINI),
    ];
    let has_sqlite = Command::new("python3").args(["-c", "import sqlite3"]).output().is_ok_and(|ran| ran.status.success());
    if has_sqlite {
        tools.push(("opencode", home.at("user/.local/share/opencode"), OPENCODE));
    } else {
        skipped("the fake of opencode", "no python3 with sqlite3");
    }
    tools
}

fn session(daemon: &Daemon<'_>, tool_session: &str) -> Option<Value> {
    daemon.rows("/api/v3/sessions?limit=0").into_iter().find(|row| row["toolSession"] == tool_session)
}

#[track_caller]
fn session_when(daemon: &Daemon<'_>, tool_session: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(SOON, what, || session(daemon, tool_session).filter(&is))
}

#[test]
fn a_bare_claude_is_seen_from_its_first_line_to_its_end() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let mut claude = Fake::start(&home, "claude", &home.claude(), CLAUDE);
    let began = Since::now();
    claude.step("prompt");
    let seen = session_when(&daemon, CLAUDE, "the session with its prompt", |row| row["title"] == "please mend the roof");
    measured(&format!("a bare claude's session was shown after {:?} (wanted: 2 s)", began.elapsed()));
    assert_eq!((text(&seen, "state"), text(&seen, "branch"), text(&seen, "tool")), ("working", "main", "claude"));
    assert_eq!(text(&seen, "cwd"), home.at("work").display().to_string());
    claude.step("todos");
    assert_eq!(daemon.todo_is("mend the roof", "in_progress")["origins"][0]["session"], seen["id"]);
    claude.step("torn");
    claude.step("rest");
    session_when(&daemon, CLAUDE, "the torn line when it is whole", |row| row["messages"]["user"] == 2);
    claude.step("done");
    daemon.todo_is("mend the roof", "completed");
    let idle = session_when(&daemon, CLAUDE, "idle after its turn", |row| row["state"] == "idle");
    assert_eq!((&idle["todosDone"], &idle["todosOpen"], &idle["damaged"]), (&Value::from(1), &Value::from(0), &Value::from(0)));
    claude.step("leave");
    let ended = session_when(&daemon, CLAUDE, "its end, when its process is gone", |row| row["state"] == "ended");
    assert_eq!(text(&ended, "outcome"), "inferred");
    fs::remove_dir_all(home.claude().join("projects")).expect("removed");
    assert_eq!(daemon.ask("POST", "/api/v3/rescan", "", b"").status, 202);
    assert!(session(&daemon, CLAUDE).is_some(), "what its tool deletes stays");
    daemon.todo_is("mend the roof", "completed");
}

#[test]
fn who_is_killed_is_over() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    // Of the others no process is known: they open their files for a moment each time.
    let known: Vec<_> = tools(&home).into_iter().filter(|(tool, ..)| ["claude", "codex", "opencode"].contains(tool)).collect();
    let mut fakes = Vec::new();
    for (tool, root, name) in &known {
        let mut fake = Fake::start(&home, tool, root, name);
        fake.step("prompt");
        session_when(&daemon, name, "it works", |row| row["state"] == "working");
        fakes.push(fake);
    }
    for (tool, ..) in known.iter().filter(|(tool, ..)| *tool != "claude") {
        // Its process is known by the file that it holds open.
        eventually(SOON, "its process", || {
            daemon.rows("/api/v3/agents").into_iter().find(|row| row["agent"] == *tool && row["pid"].is_u64())
        });
    }
    let began = Since::now();
    fakes.into_iter().for_each(Fake::kill);
    for (tool, _, name) in &known {
        let ended = session_when(&daemon, name, "its end", |row| row["state"] == "ended");
        measured(&format!("{tool}: ended {:?} after kill -9 (wanted: 10 s)", began.elapsed()));
        assert_eq!(text(&ended, "outcome"), "inferred");
    }
}

#[test]
fn codex_and_pi_are_seen_as_they_write() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let mut codex = Fake::start(&home, "codex", &home.at("user/.codex"), CODEX);
    codex.step("prompt");
    let seen = session_when(&daemon, CODEX, "the session of codex", |row| row["title"] == "read the code please");
    assert_eq!((text(&seen, "tool"), text(&seen, "state"), text(&seen, "branch")), ("codex", "working", "main"));
    codex.step("todos");
    daemon.todo_is("read the code", "in_progress");
    codex.step("done");
    daemon.todo_is("read the code", "completed");
    session_when(&daemon, CODEX, "idle after its turn", |row| row["state"] == "idle");
    codex.step("name");
    session_when(&daemon, CODEX, "the name that it was given", |row| row["title"] == "Reading day");
    codex.step("line");
    session_when(&daemon, CODEX, "another line", |row| row["title"] == "Reading day" && row["messages"]["assistant"] == 1);
    let mut pi = Fake::start(&home, "pi", &home.at("user/.pi/agent"), PI);
    pi.step("prompt");
    let seen = session_when(&daemon, PI, "the session of pi", |row| row["messages"]["assistant"] == 1);
    assert_eq!((text(&seen, "tool"), text(&seen, "state"), text(&seen, "title")), ("pi", "working", "say hello"));
    pi.step("done");
    session_when(&daemon, PI, "idle after its turn", |row| row["state"] == "idle" && row["messages"]["assistant"] == 2);
}

#[test]
fn every_tool_is_seen_at_once_and_what_it_deletes_stays() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    for (tool, root, name) in tools(&home) {
        let mut fake = Fake::start(&home, tool, &root, name);
        let began = Since::now();
        fake.step("prompt");
        let seen = session_when(&daemon, name, "its session", |row| row["sourceFile"] == "present");
        measured(&format!("{tool}: its session was shown after {:?} (wanted: 2 s)", began.elapsed()));
        assert_eq!((text(&seen, "state"), text(&seen, "tool")), ("working", tool));
        fake.step("done");
        match tool {
            "gemini" => drop(daemon.todo_is("plant the tree", "completed")),
            "opencode" => {
                // Carried over from its log while we look, and read from the database itself then.
                fake.step("checkpoint");
                daemon.todo_is("build the shed", "completed");
                fake.step("todos");
                fake.step("line");
                let seen = session_when(&daemon, name, "its title", |row| row["title"] == "Build a shed");
                assert_eq!(text(&seen, "cwd"), home.at("work").display().to_string());
                daemon.todo_is("build the shed", "completed");
            }
            "openclaw" => assert_eq!(text(&session(&daemon, name).expect("there"), "agent"), "cleo"),
            _ => {}
        }
        fake.kill();
        fs::remove_dir_all(&root).expect("removed");
    }
    assert_eq!(daemon.ask("POST", "/api/v3/rescan", "", b"").status, 202);
    let all: Vec<&str> = tools(&home).into_iter().map(|(.., name)| name).collect();
    eventually(SOON, "the directories are known to be gone", || {
        let gone = |row: &Value| row["present"] == false;
        daemon.rows("/api/v3/sources").iter().all(gone).then_some(())
    });
    for name in all {
        assert_eq!(text(&session(&daemon, name).expect("it stays"), "sourceFile"), "gone", "{name}");
    }
    daemon.todo_is("plant the tree", "completed");
}

#[test]
fn a_rollout_that_codex_packed_is_the_same_session() {
    let home = Lan::new().home("anna");
    let root = home.at("user/.codex");
    let daemon = home.up();
    let mut fake = Fake::start(&home, "codex", &root, CODEX);
    for step in ["prompt", "line", "todos", "done"] {
        fake.step(step);
    }
    fake.kill();
    daemon.todo_is("read the code", "completed");
    let counted = |row: &Value| (row["records"] == 9).then(|| (row["messages"].clone(), row["title"].clone()));
    let before = counted(&session_when(&daemon, CODEX, "all of it", |row| counted(row).is_some()));
    let plain = files_below(&root).pop().expect("a rollout");
    let packed = PathBuf::from(format!("{}.zst", plain.display()));
    let bytes = zstd::encode_all(fs::read(&plain).expect("read").as_slice(), 3).expect("packed");
    // Both are there for a moment; then the plain one goes.
    fs::write(packed.with_extension("tmp"), bytes).expect("written");
    fs::rename(packed.with_extension("tmp"), &packed).expect("renamed");
    fs::remove_file(&plain).expect("removed");
    daemon.stop();
    // Nothing but the packed file and the documents is left to read.
    fs::remove_dir_all(home.data().join("index")).expect("the index");
    let daemon = home.up();
    eventually(SOON, "the packed file is read", || {
        daemon.rows("/api/v3/sources").into_iter().find(|row| row["source"] == "codex-sessions" && row["lastRead"].is_string())
    });
    assert_eq!(session(&daemon, CODEX).and_then(|row| counted(&row)), before);
    daemon.todo_is("read the code", "completed");
    assert_eq!(daemon.rows("/api/v3/sessions?limit=0").len(), 1);
}

/// How many lines each tool's fake writes: `HUBLESS_LINES=300` for the figures of docs/benchmarks.md.
fn lines_asked() -> usize {
    std::env::var("HUBLESS_LINES").map_or(10, |asked| asked.parse().expect("a number"))
}

#[test]
fn a_line_is_on_the_paired_device_at_once() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    // Of opencode no messages are counted.
    for (tool, root, name) in tools(&anna).into_iter().filter(|(tool, ..)| *tool != "opencode") {
        let mut fake = Fake::start(&anna, tool, &root, name);
        fake.step("prompt");
        session_when(&b, name, "the session on the other device", |row| row["state"] == "working" && row["records"].is_u64());
        let mut took = Vec::new();
        for n in 0..lines_asked() {
            let before = session(&b, name).and_then(|row| row["records"].as_u64()).expect("counted");
            let began = Since::now();
            fake.step("line");
            eventually(SOON, &format!("line {n}"), || session(&b, name).filter(|row| row["records"].as_u64() > Some(before)));
            took.push(began.elapsed());
        }
        took.sort();
        let (middle, p99, longest) = (took[took.len() / 2], took[(took.len() * 99).div_ceil(100) - 1], took[took.len() - 1]);
        measured(&format!(
            "{tool}: a line on the paired device: median {middle:?}, p99 {p99:?} (wanted: 250 ms), longest of {} {longest:?}",
            took.len()
        ));
        fake.kill();
    }
    // Tagged there, and known by it here.
    let tagged = bert.json(&["sessions", "tag", CLAUDE, "Urgent", "roof"]);
    assert_eq!(tagged["data"]["tags"], serde_json::json!(["roof", "urgent"]));
    session_when(&a, CLAUDE, "its tags", |row| row["tags"] == tagged["data"]["tags"]);
    anna.json(&["sessions", "tag", "--remove", CLAUDE, "roof"]);
    let seen = session_when(&b, CLAUDE, "the tag that is left", |row| row["tags"] == serde_json::json!(["urgent"]));
    assert_eq!((&seen["sourceFile"], b.rows("/api/v3/sessions?tag=urgent").len()), (&Value::Null, 1));
    assert_eq!(a.get("/api/topic/urgent")["conversation_count"], 1);
}

/// How long nothing must change until everything has been read.
const QUIET: Duration = Duration::from_secs(1);

/// The corpus as a home, and what an independent count finds there.
fn laid_out(home: &Home) -> Option<(PathBuf, Value)> {
    let named = std::env::var_os("HUBLESS_CORPUS").map(PathBuf::from);
    let tool = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus")).join("lay-out");
    let user = home.at("user");
    let ran = Command::new(tool).arg(&user).output().ok().filter(|ran| ran.status.success())?;
    Some((user, serde_json::from_slice(&ran.stdout).expect("it prints JSON")))
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .filter(|path| path.to_string_lossy().ends_with(".jsonl"))
        .collect()
}

/// Sessions, records, damaged lines and todos as they are shown.
fn sums(daemon: &Daemon<'_>) -> Value {
    let sessions = daemon.rows("/api/v3/sessions?limit=0");
    let of = |tool: &str| -> Value {
        let rows: Vec<&Value> = sessions.iter().filter(|row| row["tool"] == tool && row["records"].is_u64()).collect();
        let records: u64 = rows.iter().filter_map(|row| row["records"].as_u64()).sum();
        serde_json::json!({"files": rows.len(), "records": records})
    };
    let todos = daemon.rows("/api/v3/todos?all=1&limit=0").len();
    serde_json::json!({"claude": of("claude"), "codex": of("codex"), "pi": of("pi"), "sessions": sessions.len(), "todos": todos})
}

#[test]
fn real_files_show_the_numbers_of_an_independent_count() {
    let mut home = Lan::new().home("anna");
    let Some((user, count)) = laid_out(&home) else {
        return skipped("real_files_show_the_numbers_of_an_independent_count", "no corpus of real files beside the project, or no python3");
    };
    home.set("HUBLESS_SOURCES_CLAUDE_ROOT", user.join(".claude").display());
    // What stands behind the last newline of a file is not a line yet, however whole it looks.
    let unread = |below: &str| {
        let files = files_below(&user.join(below));
        files.iter().filter(|path| fs::read(path).is_ok_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n'))).count() as u64
    };
    let number = |path: &str| count.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {count}"));
    let lines = |a: &str| number(&format!("/{a}/good_lines"));
    let files = |a: &str| number(&format!("/{a}/files"));
    let expected = |sums: &Value| {
        let is = |path: &str, n: u64| sums.pointer(path).and_then(Value::as_u64) == Some(n);
        is("/claude/records", lines("claude_transcripts") + lines("claude_subagents") - unread(".claude/projects"))
            && is("/claude/files", files("claude_transcripts") + files("claude_subagents"))
            && is("/codex/records", lines("codex_rollouts") - unread(".codex/sessions"))
            && is("/codex/files", files("codex_rollouts"))
            && is("/pi/records", lines("pi_sessions") - unread(".pi/agent/sessions"))
            && is("/pi/files", files("pi_sessions"))
    };
    let mut last = Value::Null;
    for (n, how) in ["the first time", "after a restart", "after a rescan", "without the index"].into_iter().enumerate() {
        if n == 3 {
            fs::remove_dir_all(home.data().join("index")).expect("the index");
        }
        let daemon = home.up();
        if n == 2 {
            assert_eq!(daemon.ask("POST", "/api/v3/rescan", "", b"").status, 202);
        }
        let mut shown = Value::Null;
        // The lists of transcripts and plans may come a moment after the sums: it is over when nothing has come for a while.
        let (mut same_since, mut before) = (Since::now(), Value::Null);
        let settled = eventually(SOON, &format!("the numbers {how}: {count}, before: {last}"), || {
            shown = sums(&daemon);
            if shown != before {
                (same_since, before) = (Since::now(), shown.clone());
            }
            (expected(&shown) && same_since.elapsed() > QUIET && (last.is_null() || last == shown)).then(|| shown.clone())
        });
        if last.is_null() {
            let tasks = number("/claude_tasks/tasks");
            let todos = number("/claude_todos/distinct_texts");
            assert!(settled["todos"].as_u64() >= Some(todos.max(tasks)), "{settled}");
        }
        last = settled;
        daemon.stop();
    }
    measured(&format!("real files: {last}"));
}
