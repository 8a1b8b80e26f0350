//! What was acknowledged is there after a kill at any moment and after a full disk, and what was set aside is nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::support::{Chance, Daemon, Home, Lan, Running, SOON, eventually, measured, skipped, text};

/// How often it is killed.
const KILLS: u64 = 100;
/// The latest moment of a kill after the daemon answered, in milliseconds.
const KILL_WITHIN_MS: u64 = 150;
/// The latest moment of a kill that comes while it opens.
const OPENING_MS: u64 = 80;
/// How long a start may take until it answers (issue 2), not counting what it waited for a processor: on a machine that compiles
/// meanwhile that is nine tenths of it (measured: 1.65 s, of which 1.48 s waiting, with 12 waiting for 2 processors).
const OPEN_WITHIN: Duration = Duration::from_secs(1);
/// Waiting included. The median stays below [`OPEN_WITHIN`] as well.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What was acknowledged: the state of a todo, and the last word of an agent.
#[derive(Default)]
struct Acknowledged {
    /// By text: whether it was done.
    todos: BTreeMap<String, bool>,
    /// By name: the number of the task that was written last.
    tasks: BTreeMap<String, u64>,
}

/// Writes until nobody answers any more; whatever got a yes is written down.
fn write_on(daemon: &Daemon<'_>, writer: u64, round: u64, over: &AtomicBool, acknowledged: &Mutex<Acknowledged>) {
    let agent = format!("agent {writer}");
    for n in 0.. {
        if over.load(Ordering::Acquire) {
            return;
        }
        let content = format!("todo {round}.{writer}.{n}");
        let post = |target: &str, body: Value| daemon.try_ask("POST", target, "", body.to_string().as_bytes());
        let Some(added) = post("/api/v3/todos", json!({"content": content})) else { return };
        assert_eq!(added.status, 201, "{}", added.text());
        acknowledged.lock().expect("whole").todos.insert(content.clone(), false);
        if n % 2 == 0 {
            let Some(done) = post(&format!("/api/v3/todos/{}/done", text(&added.json()["data"], "id")), json!({})) else { return };
            assert_eq!(done.status, 200, "{}", done.text());
            acknowledged.lock().expect("whole").todos.insert(content, true);
        }
        // Another task is a transition, so it is on disk when it is answered.
        let task = round * 1_000_000 + n;
        let Some(beat) = post("/api/v3/beats", json!({"agent": agent, "task": task.to_string()})) else { return };
        assert_eq!((beat.status, beat.json()["data"]["durable"].clone()), (200, json!(true)), "{}", beat.text());
        acknowledged.lock().expect("whole").tasks.insert(agent.clone(), task);
    }
}

/// Starts one that may not have answered yet when it is killed.
fn kill_while_opening(home: &Home, after: Duration) {
    let opening = Running::start(home.command(crate::support::hubless(), &["up"]));
    thread::sleep(after);
    drop(opening);
}

/// Everything that was acknowledged is shown, and nothing is quarantined.
#[track_caller]
fn nothing_is_lost(home: &Home, daemon: &Daemon<'_>, acknowledged: &Acknowledged, round: u64) {
    let shown: BTreeMap<String, Value> =
        daemon.rows("/api/v3/todos?all=1").into_iter().map(|todo| (text(&todo, "content").to_owned(), todo["status"].clone())).collect();
    for (content, done) in &acknowledged.todos {
        let status = shown.get(content).unwrap_or_else(|| panic!("kill {round}: “{content}” was acknowledged and is gone"));
        assert!(!done || *status == "completed", "kill {round}: “{content}” was done and is {status}");
    }
    for (agent, task) in &acknowledged.tasks {
        let row = daemon.rows("/api/v3/agents").into_iter().find(|row| row["agent"] == json!(agent));
        let shown: u64 = text(&row.unwrap_or_else(|| panic!("kill {round}: {agent} is gone")), "task").parse().expect("a number");
        assert!(shown >= *task, "kill {round}: {agent} reported {task}, shown is {shown}");
    }
    assert!(!has_files(&home.data().join("quarantine")), "kill {round}: something was set aside: {}", home.said());
}

fn has_files(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok()))
}

#[test]
fn killed_a_hundred_times_during_writes_it_loses_nothing() {
    let home = Lan::new().home("anna");
    let acknowledged = Mutex::new(Acknowledged::default());
    let mut chance = Chance::new(0x6b69_6c6c);
    let (mut took, mut worked) = (Vec::new(), Vec::new());
    for round in 0..KILLS {
        if round % 4 == 3 {
            kill_while_opening(&home, Duration::from_millis(chance.below(OPENING_MS)));
        }
        let daemon = home.up();
        assert!(daemon.took < ANSWER_WITHIN, "kill {round}: it answered after {:?}", daemon.took);
        if let Some(waited) = daemon.waited {
            let own = daemon.took.saturating_sub(waited);
            assert!(own <= OPEN_WITHIN, "kill {round}: it opened in {own:?}, and waited {waited:?} for a processor");
            worked.push(own);
        }
        took.push(daemon.took);
        nothing_is_lost(&home, &daemon, &acknowledged.lock().expect("whole"), round);
        let over = AtomicBool::new(false);
        let after = Duration::from_millis(chance.below(KILL_WITHIN_MS));
        thread::scope(|scope| {
            for writer in 0..2 {
                let (daemon, over, acknowledged) = (&daemon, &over, &acknowledged);
                scope.spawn(move || write_on(daemon, writer, round, over, acknowledged));
            }
            scope.spawn(|| {
                for n in 0.. {
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    home.list(
                        "aaaaaaaa-0000-4000-8000-000000000001",
                        &[(&format!("file {round}.{n}"), "pending"), ("always listed", "in_progress")],
                    );
                    thread::sleep(Duration::from_millis(5));
                }
            });
            // Not for luck: the moment of the kill is what varies.
            thread::sleep(after);
            daemon.signal(rustix::process::Signal::KILL);
            over.store(true, Ordering::Release);
        });
        daemon.kill();
    }
    let daemon = home.up();
    let acknowledged = acknowledged.into_inner().expect("whole");
    nothing_is_lost(&home, &daemon, &acknowledged, KILLS);
    daemon.todo_is("always listed", "in_progress");
    took.sort();
    let median = took[took.len() / 2];
    measured(&format!(
        "{KILLS} kills, {} todos acknowledged; start to first answer: median {median:?}, longest {:?}; without waiting for a processor at most {:?}",
        acknowledged.todos.len(),
        took[took.len() - 1],
        worked.iter().max()
    ));
    assert!(acknowledged.todos.len() > 100, "there was something to lose");
    assert!(median <= OPEN_WITHIN, "it opens in a second: {median:?}");
}

#[test]
fn garbage_at_the_end_of_a_document_is_cut_and_in_its_middle_set_aside() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    for n in 0..20 {
        daemon.add(&format!("todo {n}"));
    }
    daemon.kill();
    let document = fs::read_dir(home.data().join("docs/todos")).expect("todos").next().expect("one").expect("an entry").path();
    let whole = fs::read(&document).expect("read");
    for cut in [1, 7, 40] {
        fs::write(&document, &whole[..whole.len() - cut]).expect("written");
        let disk = home.json(&["todos", "--limit", "0"]);
        assert_eq!((disk["total"].as_u64(), &disk["source"]), (Some(19), &json!("disk")), "a torn tail is skipped");
        assert_eq!(fs::read(&document).expect("read").len(), whole.len() - cut, "and not cut by who only reads");
    }
    let daemon = home.up();
    assert_eq!(daemon.rows("/api/v3/todos").len(), 19);
    assert!(!has_files(&home.data().join("quarantine")), "a torn tail is no damage");
    daemon.add("after the tear");
    daemon.kill();
    let mut broken = fs::read(&document).expect("read");
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    fs::write(&document, &broken).expect("written");
    let daemon = home.up();
    assert!(has_files(&home.data().join("quarantine")), "the damaged one is kept");
    let left = daemon.rows("/api/v3/todos").len();
    assert!((1..20).contains(&left), "what loads is kept: {left}");
    daemon.add("it goes on");
    daemon.todo_is("it goes on", "pending");
    assert!(home.run(&["doctor"]).out.contains("set aside"), "and it is said");
}

/// A write that is refused because nothing can be kept.
#[track_caller]
fn refused(home: &Home, daemon: &Daemon<'_>) {
    eventually(SOON, "a write is refused", || {
        let answer = daemon.post("/api/v3/todos", &json!({"content": "x".repeat(8_000)}));
        (answer.status != 201).then(|| {
            assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("storage")), "{}", answer.text());
        })
    });
    let ran = home.run(&["todos", "add", "refused", "--json"]);
    let problem = ran.problem();
    assert_eq!((ran.code, &problem["code"]), (1, &json!("storage")), "{problem}");
    assert!(text(&problem, "fix").contains("make room"), "{problem}");
}

/// Waits until a write is taken again, without a restart.
#[track_caller]
fn takes_again(home: &Home, daemon: &mut Daemon<'_>, before: &[Value]) {
    eventually(SOON, "writes work again", || {
        let answer = daemon.post("/api/v3/todos", &json!({"content": "there is room again"}));
        (answer.status == 201).then_some(())
    });
    assert!(daemon.runs(), "it is the same process");
    let shown = daemon.rows("/api/v3/todos?all=1");
    for todo in before {
        assert!(shown.iter().any(|other| other["id"] == todo["id"]), "{} was acknowledged and is gone", todo["content"]);
    }
    assert_eq!(home.json(&["status"])["data"]["problems"], json!([]), "the warning is gone");
}

#[test]
fn over_the_allowed_file_size_writes_are_refused_and_come_back() {
    let home = Lan::new().home("anna");
    // A program that is told so by a signal would be ended by it; services ignore it, as this shell does.
    let mut daemon = home.up_by(home.command("/bin/sh", &["-c", "trap '' XFSZ; exec \"$0\" up", crate::support::hubless()]));
    let kept: Vec<Value> = (0..5).map(|n| daemon.add(&format!("kept {n}"))).collect();
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
    let limit = |current: Option<u64>| {
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum: None }).expect("the limit of our own child");
    };
    limit(Some(4_096));
    refused(&home, &daemon);
    let reads = daemon.rows("/api/v3/todos");
    assert!(kept.iter().all(|todo| reads.iter().any(|other| other["id"] == todo["id"])), "reading goes on");
    assert_eq!(home.json(&["todos"])["source"], "daemon");
    let problems = home.json(&["status"])["data"]["problems"].clone();
    assert_eq!(problems[0]["code"], "storage", "and it is said: {problems}");
    limit(None);
    takes_again(&home, &mut daemon, &kept);
    daemon.stop();
    let daemon = home.up();
    assert!(kept.iter().all(|todo| daemon.rows("/api/v3/todos").iter().any(|other| other["id"] == todo["id"])));
    daemon.todo_is("there is room again", "pending");
}

/// A small file system in memory, gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(dir: &Path, size: &str) -> Option<SmallDisk> {
        fs::create_dir_all(dir).ok()?;
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "hubless-test"]).arg(dir).output().ok()?;
        mounted.status.success().then(|| SmallDisk(dir.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is one of ours and ends with the test.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn on_a_full_disk_reading_goes_on_and_writing_comes_back() {
    let home = Lan::new().home("anna");
    if !rustix::process::geteuid().is_root() {
        return skipped("on_a_full_disk_reading_goes_on_and_writing_comes_back", "only root may mount a small disk");
    }
    let Some(disk) = SmallDisk::at(&home.data(), "4m") else {
        return skipped("on_a_full_disk_reading_goes_on_and_writing_comes_back", "no tmpfs can be mounted here");
    };
    fs::set_permissions(home.root(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    let mut daemon = home.up();
    let kept: Vec<Value> = (0..5).map(|n| daemon.add(&format!("kept {n}"))).collect();
    let filler = disk.0.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[7; 4_096]).is_ok() {}
    let mut bytes = [0; 1];
    while file.write_all(&bytes).is_ok() {
        bytes[0] += 1;
    }
    drop(file);
    refused(&home, &daemon);
    let reads = daemon.rows("/api/v3/todos");
    assert!(kept.iter().all(|todo| reads.iter().any(|other| other["id"] == todo["id"])), "reading goes on");
    fs::remove_file(&filler).expect("there");
    takes_again(&home, &mut daemon, &kept);
    // A start on a full disk says so, and begins when there is room.
    daemon.stop();
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[7; 4_096]).is_ok() {}
    drop(file);
    let ran = home.run(&["up", "--json"]);
    assert_eq!((ran.code, ran.problem()["code"].as_str()), (1, Some("disk-full")), "{}", ran.err);
    assert_eq!(home.json(&["todos"])["source"], "disk");
    fs::remove_file(&filler).expect("there");
    let daemon = home.up();
    daemon.todo_is("there is room again", "pending");
}

/// An ext4 in a file, mounted so that nothing but a sync writes it down.
fn mount_image(image: &Path, at: &Path) -> Option<SmallDisk> {
    fs::create_dir_all(at).ok()?;
    let mounted = Command::new("mount").args(["-o", "loop,commit=600"]).arg(image).arg(at).output().ok()?;
    mounted.status.success().then(|| SmallDisk(at.to_owned()))
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    const TEST: &str = "a_power_cut_loses_nothing_that_was_acknowledged";
    if !rustix::process::geteuid().is_root() {
        return skipped(TEST, "only root may mount an image");
    }
    let home = Lan::new().home("anna");
    let (image, copy) = (home.at("disk"), home.at("after the cut"));
    File::create(&image).and_then(|file| file.set_len(24 << 20)).expect("an image");
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output();
    let Some(disk) = made.ok().filter(|made| made.status.success()).and_then(|_| mount_image(&image, &home.data())) else {
        return skipped(TEST, "no image can be made and mounted here");
    };
    for dir in [home.root(), home.data()] {
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    }
    let daemon = home.up();
    let mut acknowledged = Vec::new();
    for n in 0..30 {
        let todo = daemon.add(&format!("todo {n}"));
        acknowledged.push(if n % 3 == 0 { daemon.deed(&todo, "done") } else { todo });
    }
    let beat = daemon.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280"}));
    assert_eq!(beat.json()["data"]["durable"], true);
    // The cut: what the file system has not written down by now is gone. Stopped first, for the copy is not one moment.
    daemon.signal(rustix::process::Signal::STOP);
    fs::copy(&image, &copy).expect("copied");
    daemon.kill();
    drop(disk);
    let Some(_disk) = mount_image(&copy, &home.data()) else { panic!("the copy cannot be mounted") };
    let daemon = home.up();
    let shown = daemon.rows("/api/v3/todos?all=1");
    for todo in &acknowledged {
        let there = shown.iter().find(|other| other["id"] == todo["id"]).unwrap_or_else(|| panic!("{} is gone", todo["content"]));
        assert_eq!(there["status"], todo["status"], "{}", todo["content"]);
    }
    assert_eq!(daemon.rows("/api/v3/agents")[0]["task"], "AGT-280");
    assert!(!has_files(&home.data().join("quarantine")), "{}", home.said());
}

#[test]
fn a_sync_that_fails_is_never_trusted() {
    let home = Lan::new().home("anna");
    // `-D`: the traced program keeps the pid of the child that was started. From the twelfth sync on, every one fails.
    let inject = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=12+"];
    let works = home.command("strace", &["-D", "-o", "/dev/null", "true"]).output().is_ok_and(|out| out.status.success());
    if !works {
        return skipped("a_sync_that_fails_is_never_trusted", "no strace here, or it may not trace");
    }
    let mut daemon = home.up_by(home.command("strace", &[&inject[..], &[crate::support::hubless(), "up"]].concat()));
    let mut acknowledged = Vec::new();
    for n in 0..20 {
        let answer = daemon.post("/api/v3/todos", &json!({"content": format!("todo {n}")}));
        match answer.status {
            201 => acknowledged.push(answer.json()["data"].clone()),
            _ => assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("storage")), "{}", answer.text()),
        }
    }
    assert!((1..20).contains(&acknowledged.len()), "some were taken, then none: {}", acknowledged.len());
    let all_there = |daemon: &Daemon<'_>| {
        let shown = daemon.rows("/api/v3/todos?all=1");
        acknowledged.iter().all(|todo| shown.contains(todo))
    };
    assert!(all_there(&daemon), "reading goes on");
    let second = home.run(&["up", "--json"]);
    assert_eq!((second.code, second.problem()["code"].as_str()), (9, Some("already-running")), "it is there, though its disk is not");
    let down = home.json(&["down"]);
    assert_eq!((&down["data"]["was"], down["data"]["pid"].as_u64()), (&json!("running"), Some(u64::from(daemon.pid()))));
    eventually(SOON, "it has ended", || (!daemon.runs()).then_some(()));
    let daemon = home.up();
    assert!(all_there(&daemon), "{}", home.said());
}
