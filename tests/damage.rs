//! What befalls files of agents, in real directories and with the real program: damage costs what is damaged and nothing beside
//! it, a file that is another one now is read anew, what is no file is passed over, and what the system does not tell is
//! found all the same.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, SOON, Since, eventually, hubless, measured, skipped};

/// What a small file may take to be shown, whatever else is read.
const AT_ONCE: Duration = Duration::from_secs(2);

fn id(n: usize) -> String {
    format!("dadadada-0000-4000-8000-{n:012}")
}

fn path(home: &Home, session: &str) -> PathBuf {
    home.claude().join(format!("projects/-somewhere/{session}.jsonl"))
}

/// A line of a session's transcript: a prompt of its own.
fn line(session: &str, n: usize) -> String {
    prompt(session, n, &format!("prompt {n}"))
}

fn prompt(session: &str, n: usize, text: &str) -> String {
    let message = json!({"role": "user", "content": text});
    let record = json!({"type": "user", "sessionId": session, "uuid": format!("{session}-{n}"), "cwd": "/srv/demo",
        "timestamp": format!("2026-11-01T10:00:{:02}.000Z", n % 60), "message": message});
    format!("{record}\n")
}

/// A line that says what the session's list is.
fn list(session: &str, n: usize, item: &str) -> String {
    let input = json!({"todos": [{"content": item, "status": "pending", "activeForm": item}]});
    let call = json!([{"type": "tool_use", "id": format!("call-{n}"), "name": "TodoWrite", "input": input}]);
    let record = json!({"type": "assistant", "sessionId": session, "uuid": format!("{session}-{n}"), "cwd": "/srv/demo",
        "timestamp": format!("2026-11-01T10:00:{:02}.000Z", n % 60), "message": {"id": format!("m-{n}"), "role": "assistant", "content": call}});
    format!("{record}\n")
}

/// How many records and how many damaged lines are shown of each session, in order of their names.
fn counts(daemon: &Daemon<'_>) -> Vec<(String, u64, u64)> {
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap_or(u64::MAX);
    let rows = daemon.rows("/api/v3/sessions?limit=0");
    let of = |row: &Value| (row["toolSession"].as_str().unwrap_or_default().to_owned(), number(row, "records"), number(row, "damaged"));
    let mut all: Vec<_> = rows.iter().map(of).collect();
    all.sort();
    all
}

#[track_caller]
fn are_shown(daemon: &Daemon<'_>, when: &str, wanted: &[(String, u64, u64)]) {
    let mut shown = Vec::new();
    let begun = Since::now();
    while shown != wanted {
        assert!(begun.elapsed() < SOON, "{when}: shown {shown:?}, wanted {wanted:?}");
        std::thread::sleep(Duration::from_millis(20));
        shown = counts(daemon);
    }
}

/// Whole lines and one kind of damage: the bytes, how many records and how many damaged lines there are.
fn damages(session: &str) -> [(&'static str, Vec<u8>, u64, u64); 13] {
    let (one, two) = (line(session, 1), line(session, 2));
    let torn = &two[..two.len() / 2];
    let deep = format!(
        "{}{}1{}}}\n",
        two.trim_end().strip_suffix('}').expect("an object"),
        ",\"deep\":".to_owned() + &"[".repeat(60_000),
        "]".repeat(60_000)
    );
    let around = |before: &[u8], after: &[u8]| [one.as_bytes(), before, two.as_bytes(), after].concat();
    let bad_text = prompt(session, 2, "\u{7f}").into_bytes().into_iter().map(|byte| if byte == 0x7f { 0xff } else { byte });
    [
        ("whole", around(b"", b""), 2, 0),
        ("torn at its end", [one.as_bytes(), torn.as_bytes()].concat(), 1, 0),
        ("a torn line glued to a whole one", around(torn.as_bytes(), b""), 2, 1),
        ("two lines glued", [one.trim_end().as_bytes(), two.as_bytes()].concat(), 2, 0),
        ("NULs before a line", around(&[0; 5_000], b""), 2, 0),
        ("a line of NULs", around(&[&[0; 5_000][..], b"\n"].concat(), b""), 2, 1),
        ("a byte order mark", [b"\xef\xbb\xbf", one.as_bytes(), two.as_bytes()].concat(), 2, 0),
        ("CRLF", around(b"", b"").into_iter().flat_map(|b| if b == b'\n' { vec![b'\r', b'\n'] } else { vec![b] }).collect(), 2, 0),
        ("no UTF-8", one.bytes().chain(bad_text).collect(), 2, 0),
        ("deep", [one.as_bytes(), deep.as_bytes()].concat(), 2, 0),
        ("a line of 3 MB", [prompt(session, 1, &"x\n".repeat(1_000_000)), two.clone()].concat().into_bytes(), 2, 0),
        ("a line of 9 MB", around(format!("{{\"x\":\"{}\"}}\n", "y".repeat(9 << 20)).as_bytes(), b""), 2, 1),
        ("no JSON", around(b"hello?\n", b"[1,2]\n42\n\n"), 2, 3),
    ]
}

/// Fault 20.
#[test]
fn damage_costs_what_is_damaged_and_nothing_else() {
    let home = Lan::new().home("anna");
    let mut wanted = Vec::new();
    for n in 0..damages("").len() {
        let session = id(n);
        let (_, bytes, records, damaged) = damages(&session).into_iter().nth(n).expect("one for each");
        home.write(&path(&home, &session), bytes);
        wanted.push((session, records, damaged));
    }
    let daemon = home.up();
    are_shown(&daemon, "at start", &wanted);
    // Each goes on after its damage, with a line that is written in two pieces; what was torn is made whole by the first.
    for (n, (session, records, damaged)) in wanted.iter_mut().enumerate() {
        let (name, ..) = damages(session)[n];
        let is_torn = name == "torn at its end";
        let rest = if is_torn { line(session, 2)[line(session, 2).len() / 2..].to_owned() } else { line(session, 3) };
        let next = line(session, 4);
        let mut file = OpenOptions::new().append(true).open(path(&home, session)).expect("there");
        file.write_all(rest.as_bytes()).and_then(|()| file.write_all(&next.as_bytes()[..9])).expect("written");
        file.write_all(&next.as_bytes()[9..]).expect("written");
        (*records, *damaged) = (*records + 2, *damaged);
    }
    are_shown(&daemon, "after each went on", &wanted);
    assert_eq!(daemon.ask("POST", "/api/v3/rescan", "", b"").status, 202);
    are_shown(&daemon, "after a rescan", &wanted);
    daemon.stop();
    let daemon = home.up();
    are_shown(&daemon, "after a restart", &wanted);
    daemon.kill();
    fs::remove_dir_all(home.data().join("index")).expect("the index");
    are_shown(&home.up(), "without the index", &wanted);
}

/// What a tool or a person does to a whole file.
type Deed = fn(&Home, &Path, &str);

/// Fault 19.
#[test]
fn a_file_that_is_another_one_now_is_read_anew_and_nothing_it_said_is_lost() {
    let home = Lan::new().home("anna");
    let lines = |session: &str, all: std::ops::Range<usize>| all.map(|n| line(session, n)).collect::<String>();
    let deeds: [(&str, Deed, u64); 7] = [
        (
            "truncated",
            |_, path, session| {
                OpenOptions::new().write(true).open(path).and_then(|f| f.set_len(line(session, 1).len() as u64)).expect("cut")
            },
            1,
        ),
        ("emptied", |_, path, _| fs::write(path, "").expect("written"), 0),
        ("rewritten shorter", |_, path, session| fs::write(path, line(session, 30)).expect("written"), 1),
        (
            "rewritten longer behind the same head",
            |_, path, session| {
                let rest: String = (40..45).map(|n| line(session, n)).collect();
                fs::write(path, line(session, 1) + &rest).expect("written");
            },
            6,
        ),
        ("replaced", |home, path, session| home.write(path, line(session, 50) + &line(session, 51)), 2),
        (
            "rotated",
            |_, path, session| {
                fs::rename(path, path.with_extension("jsonl.1")).expect("renamed");
                fs::write(path, line(session, 1)).expect("written");
            },
            1,
        ),
        (
            "gone and back",
            |_, path, session| {
                fs::remove_file(path).expect("removed");
                fs::write(path, line(session, 52) + &line(session, 53) + &line(session, 54)).expect("written");
            },
            3,
        ),
    ];
    let mut wanted: Vec<(String, u64, u64)> = (0..deeds.len()).map(|n| (id(n), 5, 0)).collect();
    for (n, (session, ..)) in wanted.iter().enumerate() {
        home.write(&path(&home, session), lines(session, 1..3) + &list(session, 3, &format!("item {n}")) + &lines(session, 4..6));
    }
    let daemon = home.up();
    are_shown(&daemon, "at start", &wanted);
    for ((_, deed, records), shown) in deeds.iter().zip(&mut wanted) {
        deed(&home, &path(&home, &shown.0), &shown.0);
        shown.1 = *records;
    }
    are_shown(&daemon, "after the deeds", &wanted);
    for (n, (name, ..)) in deeds.iter().enumerate() {
        assert_eq!(daemon.todo(&format!("item {n}")).expect("what a line said stays")["status"], "pending", "{name}");
    }
    daemon.kill();
    are_shown(&home.up(), "after kill -9", &wanted);
}

/// Fault 21.
#[test]
fn a_deleted_file_deletes_nothing() {
    let home = Lan::new().home("anna");
    let (session, other) = (id(1), id(2));
    home.write(&path(&home, &session), line(&session, 1) + &list(&session, 2, "of a file that goes"));
    let daemon = home.up();
    let wanted = [(session.clone(), 2, 0), (other.clone(), 1, 0)];
    are_shown(&daemon, "at start", &wanted[..1]);
    fs::remove_dir_all(home.claude().join("projects")).expect("removed");
    assert_eq!(daemon.ask("POST", "/api/v3/rescan", "", b"").status, 202);
    home.write(&path(&home, &other), line(&other, 1));
    are_shown(&daemon, "after its folder was deleted", &wanted);
    assert_eq!(daemon.todo("of a file that goes").expect("there")["listed"], true);
    daemon.stop();
    are_shown(&home.up(), "after a restart", &wanted);
}

/// Fault 22.
#[test]
fn what_is_no_file_of_ours_is_passed_over_without_a_storm() {
    let home = Lan::new().home("anna");
    let (plain, linked) = (id(1), id(2));
    home.write(&path(&home, &plain), line(&plain, 1));
    let folder = home.claude().join("projects/-somewhere");
    let (at, outside) = (|n| path(&home, &id(n)), home.at("outside.jsonl"));
    fs::write(&outside, line(&id(4), 1)).expect("written");
    symlink(path(&home, &plain), at(2)).expect("a link to a file of the same root");
    rustix::fs::mkfifoat(rustix::fs::CWD, at(3), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
    symlink(&outside, at(4)).expect("a link that leads out");
    symlink("nowhere.jsonl", at(5)).expect("a link that leads nowhere");
    symlink(at(6), at(6)).expect("a link to itself");
    fs::create_dir(at(7)).expect("a directory with a file's name");
    symlink(&folder, folder.join("again")).expect("a loop");
    fs::write(at(8), line(&id(8), 1)).expect("written");
    fs::set_permissions(at(8), fs::Permissions::from_mode(0o000)).expect("ours");
    let is_read = File::open(at(8)).is_ok();
    let daemon = home.up();
    let mut wanted = vec![(plain, 1, 0), (linked, 1, 0)];
    // Whoever is root reads everything.
    wanted.extend(is_read.then(|| (id(8), 1, 0)));
    are_shown(&daemon, "at start", &wanted);
    let error = || {
        let overview = daemon.get("/api/v3/overview");
        let sources = overview["data"]["sources"].as_array()?.clone();
        sources.iter().find(|source| source["source"] == "claude-projects")?["error"].as_str().map(str::to_owned)
    };
    let said = eventually(SOON, "what was passed over is said", error);
    assert!(said.contains("passed over"), "{said}");
    for n in 10..13 {
        home.write(&path(&home, &id(n)), line(&id(n), 1));
        wanted.push((id(n), 1, 0));
        wanted.sort();
        are_shown(&daemon, "what is a file is read all the same", &wanted);
    }
    assert!(home.said().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count() < 5, "{}", home.said());
}

/// Bytes that a process has read so far.
fn bytes_read(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}

/// Fault 20, load G6.
#[test]
fn a_file_of_five_gigabytes_starves_nobody() {
    let home = Lan::new().home("anna");
    let large = path(&home, &id(0));
    home.write(&large, line(&id(0), 1));
    OpenOptions::new().write(true).open(&large).and_then(|file| file.set_len(5 << 30)).expect("five gigabytes without a block on the disk");
    let daemon = home.up();
    if bytes_read(daemon.pid()).is_none() {
        return skipped("a_file_of_five_gigabytes_starves_nobody", "the system does not say what a process reads");
    }
    let read = |least: u64| eventually(SOON, "it is being read", || bytes_read(daemon.pid()).filter(|bytes| *bytes >= least));
    let mut took: Vec<Duration> = Vec::new();
    for n in 1..=5 {
        let before = read(64 << 20);
        let (content, begun) = (format!("small {n}"), Since::now());
        if n % 2 == 0 {
            home.list(&id(n), &[(&content, "pending")]);
        } else {
            home.write(&path(&home, &id(n)), list(&id(n), 1, &content));
        }
        daemon.todo_is(&content, "pending");
        took.push(begun.elapsed());
        assert!(before < 4 << 30, "all of it was read before the last small file was written: make it larger");
        read(before + (1 << 20));
    }
    took.sort_unstable();
    measured(&format!("while 5 GB are read a small file is shown after {:?} (median), {:?} at most", took[2], took[4]));
    assert!(took[2] <= AT_ONCE, "shown after {took:?}");
}

/// Fault 18: the system's queue of events runs over while the daemon cannot take any.
#[test]
fn what_the_systems_queue_lost_is_found() {
    let home = Lan::new().home("anna");
    let Some(most) = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").ok().and_then(|text| text.trim().parse::<usize>().ok())
    else {
        return skipped("what_the_systems_queue_lost_is_found", "no inotify here");
    };
    if most > 100_000 {
        return skipped("what_the_systems_queue_lost_is_found", "the system's queue is too long to be filled");
    }
    let daemon = home.up();
    home.list(&id(1), &[("before", "pending")]);
    daemon.todo_is("before", "pending");
    daemon.signal(rustix::process::Signal::STOP);
    // Equal events in a row are one; these are of two files in turn.
    let mut files = ["x", "y"].map(|name| File::create(home.claude().join(format!("todos/stray-{name}.txt"))).expect("a file"));
    for n in 0..most + 10 {
        files[n % 2].write_all(b".").expect("written");
    }
    home.list(&id(1), &[("before", "completed"), ("lost", "pending")]);
    daemon.signal(rustix::process::Signal::CONT);
    daemon.todo_is("lost", "pending");
    home.list(&id(1), &[("lost", "completed")]);
    daemon.todo_is("lost", "completed");
}

/// Fault 18: there are no watches left. The limit is of a namespace that the daemon alone is in.
#[test]
fn without_watches_it_polls_and_says_so() {
    const LIMITED: &str = "echo 3 > /proc/sys/user/max_inotify_watches && exec \"$0\" up";
    let home = Lan::new().home("anna");
    let unshare = ["--user", "--map-root-user", "sh", "-c"];
    let may = home.command("unshare", &[&unshare[..], &["echo 3 > /proc/sys/user/max_inotify_watches"]].concat()).status();
    if !may.is_ok_and(|status| status.success()) {
        return skipped("without_watches_it_polls_and_says_so", "no namespaces of users here");
    }
    fs::create_dir_all(home.claude().join("projects/-somewhere")).expect("made");
    let daemon = home.up_by(home.command("unshare", &[&unshare[..], &[LIMITED, hubless()]].concat()));
    let said = || {
        let told: Value = serde_json::from_str(&home.run(&["doctor", "--json"]).out).expect("one envelope");
        told["data"].as_array()?.iter().find(|check| check["check"] == "daemon.warns").cloned()
    };
    let said = eventually(SOON, "doctor says it", said);
    assert_eq!(said["detail"], "watching by polling: no watches are left");
    assert_eq!(said["fix"], "raise fs.inotify.max_user_watches");
    for n in 1..3 {
        home.list(&id(n), &[(&format!("polled {n}"), "pending")]);
        home.write(&path(&home, &id(n)), line(&id(n), 1));
        daemon.todo_is(&format!("polled {n}"), "pending");
        are_shown(&daemon, "found by polling", &(1..=n).map(|n| (id(n), 1, 0)).collect::<Vec<_>>());
    }
}
