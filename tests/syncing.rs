//! What is exchanged with whom, seen, run and verified, by real daemons on loopback.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Chance, Daemon, Home, Lan, SOON, Since, eventually, measured, text};

fn device(daemon: &Daemon<'_>, name: &str) -> Option<Value> {
    daemon.rows("/api/v3/sync").into_iter().find(|device| device["name"] == name)
}

#[track_caller]
fn until(daemon: &Daemon<'_>, name: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(SOON, &format!("{name}: {what}"), || device(daemon, name).filter(&fits))
}

#[track_caller]
fn linked(daemon: &Daemon<'_>, name: &str) -> Value {
    until(daemon, name, "a level link", |device| device["link"]["level"] == true)
}

/// The answer of a verb that may say no, and its exit code.
#[track_caller]
fn answer(home: &Home, args: &[&str]) -> (i32, Value) {
    let ran = home.run(&[args, &["--json"]].concat());
    let envelope: Value = serde_json::from_str(&ran.out).unwrap_or_else(|why| panic!("{args:?}: {why}: {} {}", ran.out, ran.err));
    (ran.code, envelope["data"].clone())
}

#[test]
fn a_run_levels_once_through_a_pause_and_says_what_was_exchanged() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    linked(&a, "bert");
    linked(&b, "anna");
    assert_eq!(anna.json(&["sync", "pause", "bert"])["data"]["paused"], true);
    until(&b, "anna", "it sees the pause", |device| device["flow"]["theyGive"] == false && device["link"].is_object());
    a.add("of anna");
    b.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-1", "state": "working"}));
    // The pause outlives the daemon.
    a.stop();
    let a = anna.up();
    let shows = until(&a, "bert", "a link that rests", |device| device["link"].is_object() && device["flow"]["paused"] == true);
    assert_eq!((&shows["link"]["kind"], &shows["inStep"]), (&json!("loopback"), &json!(false)));
    assert!(anna.run(&["status"]).out.contains("paused here") || anna.run(&["devices"]).out.contains("paused here"));
    assert!(anna.run(&["doctor"]).out.contains("hubless sync resume bert"));
    let (code, dry) = answer(&anna, &["sync", "run", "--dry-run"]);
    let row = &dry["devices"][0];
    assert_eq!((code, &row["state"]), (0, &json!("differs")), "{dry}");
    assert!(row["theyMiss"].is_null() || row["theyMiss"].as_u64().is_some_and(|n| n >= 1), "{dry}");
    let sams = || a.rows("/api/v3/sessions").len();
    assert!(sams() == 0 && b.todo("of anna").is_none(), "nothing was exchanged");
    let (code, ran) = answer(&anna, &["sync", "run", "--spoke", "bert"]);
    assert_eq!((code, &ran["devices"][0]["state"]), (0, &json!("level")), "{ran}");
    assert!(ran["devices"][0]["bytesOut"].as_u64().is_some_and(|n| n > 0));
    assert!(sams() == 1 && b.todo("of anna").is_some());
    a.add("later");
    until(&a, "bert", "it rests again", |device| device["flow"]["paused"] == true && device["theyMiss"] == 1);
    assert!(b.todo("later").is_none());
    assert_eq!(anna.json(&["sync", "resume"])["data"]["paused"], false);
    eventually(SOON, "what was held up", || b.todo("later"));
    b.stop();
    let (code, ran) = answer(&anna, &["sync", "run"]);
    assert_eq!((code, &ran["devices"][0]["state"]), (1, &json!("out-of-reach")), "{ran}");
    let dialled = until(&a, "bert", "why dials failed", |device| device["dials"][0]["why"].is_string());
    assert!(dialled["dials"][0]["times"].as_u64().is_some_and(|n| n >= 1) && dialled["dials"][0]["at"].is_string(), "{dialled}");
    let said = anna.run(&["doctor"]).out;
    assert!(said.contains("bert was dialled in vain: ") && said.contains(text(&dialled["dials"][0], "address")), "{said}");
}

#[test]
fn a_flipped_byte_is_found_named_and_repaired_and_it_is_said_from_where() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    for n in 0..20 {
        a.add(&format!("todo {n}"));
    }
    linked(&a, "bert");
    eventually(SOON, "the last one", || b.todo("todo 19"));
    let (code, whole) = answer(&bert, &["sync", "verify"]);
    let row = &whole["devices"][0];
    assert_eq!((code, &row["state"], &row["headsEqual"], &row["hashEqual"]), (0, &json!("level"), &json!(true), &json!(true)), "{whole}");
    assert!(whole["files"]["checked"].as_u64().is_some_and(|n| n >= 2) && row["documents"].as_u64().is_some_and(|n| n >= 2));
    let flip = |home: &Home| {
        let dir = home.data().join("docs/todos");
        let path = fs::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path()).next().expect("a document");
        let mut bytes = fs::read(&path).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        fs::write(&path, bytes).expect("written");
        path.file_name().expect("a name").to_string_lossy().replace(".automerge", "")
    };
    // Under a daemon that runs.
    let name = flip(&bert);
    let (code, found) = answer(&bert, &["sync", "verify"]);
    assert_eq!((code, &found["files"]["damaged"][0]["document"]), (7, &json!(format!("todos/{name}"))), "{found}");
    assert!(bert.run(&["sync", "verify"]).out.contains(&name));
    let (code, mended) = answer(&bert, &["sync", "verify", "--repair"]);
    let file = &mended["files"]["damaged"][0];
    assert_eq!((code, &file["repaired"], &file["repairedFrom"]), (0, &json!(true), &json!("memory")), "{mended}");
    assert!(bert.data().join("quarantine").exists(), "what was damaged is kept");
    let (code, whole) = answer(&bert, &["sync", "verify"]);
    assert_eq!((code, &whole["files"]["damaged"], &whole["devices"][0]["hashEqual"]), (0, &json!([]), &json!(true)), "{whole}");
    // Under one that does not run, with nobody to ask: named, over another start too, and not yet repaired.
    b.stop();
    a.stop();
    flip(&bert);
    bert.up().stop();
    let b = bert.up();
    assert!((0..20).any(|n| b.todo(&format!("todo {n}")).is_none()), "something was lost");
    let (code, found) = answer(&bert, &["sync", "verify", "--repair"]);
    let file = &found["files"]["damaged"][0];
    assert_eq!((code, &file["document"], &file["repairedFrom"]), (7, &json!(format!("todos/{name}")), &Value::Null), "{found}");
    assert!(bert.run(&["doctor"]).out.contains("has not come back"));
    // What is lost comes again from the other, and it is said from whom.
    let _a = anna.up();
    let (code, mended) = answer(&bert, &["sync", "verify", "--repair"]);
    let file = &mended["files"]["damaged"][0];
    assert_eq!((code, &file["document"], &file["repairedFrom"]), (0, &json!(format!("todos/{name}")), &json!("devices")), "{mended}");
    assert_eq!((&file["devices"][0]["deviceName"], &file["foundAtStart"]), (&json!("anna"), &json!(true)), "{mended}");
    assert!(bert.run(&["sync", "verify"]).out.contains(" from anna"));
    for n in 0..20 {
        assert!(b.todo(&format!("todo {n}")).is_some(), "all of them");
    }
    let (code, whole) = answer(&bert, &["sync", "verify"]);
    assert_eq!((code, &whole["devices"][0]["hashEqual"]), (0, &json!(true)), "{whole}");
    let rows = b.rows("/api/v3/sync/list");
    let todos = |name: &str| rows.iter().find(|row| row["deviceName"] == name && row["collection"] == "todos").cloned().expect("a row");
    assert_eq!((&todos("anna")["ahead"], &todos("anna")["behind"], &todos("bert")["ahead"]), (&json!(0), &json!(0), &Value::Null));
    assert!(todos("bert")["changes"].as_u64().is_some_and(|n| n > 20), "{rows:?}");
}

#[test]
fn bandwidth_is_kept_on_a_real_link_and_presence_does_not_wait_for_it() {
    const RATE: u64 = 150_000;
    let lan = Lan::new();
    let (mut anna, bert) = (lan.home("anna"), lan.home("bert"));
    anna.set("HUBLESS_SYNC_BANDWIDTH", format!("{}kB/s", RATE / 1_000));
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    linked(&a, "bert");
    anna.json(&["sync", "pause"]);
    until(&a, "bert", "it rests", |device| device["flow"]["paused"] == true);
    // A megabyte that cannot be made shorter.
    let mut seed = 7u64;
    for n in 0..80 {
        let noise: String = (0..12_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'!' + u8::try_from((seed >> 33) % 90).expect("small"))
            })
            .collect();
        a.add(&format!("{n} {noise}"));
    }
    let heard = |daemon: &Daemon<'_>| device(daemon, "anna").and_then(|device| device["bytesIn"].as_u64()).unwrap_or(0);
    let held = || b.get("/api/v3/todos?limit=1")["total"].as_u64().unwrap_or(0);
    let before = heard(&b);
    let begun = Since::now();
    anna.json(&["sync", "resume"]);
    until(&a, "bert", "documents go", |device| {
        device["link"].is_object() && device["flow"]["theyTake"] == true && device["flow"]["gives"] == true
    });
    anna.run(&["beat", "sam", "busy"]);
    let asked = Since::now();
    eventually(SOON, "presence", || b.rows("/api/v3/agents").into_iter().find(|agent| agent["agent"] == "sam"));
    let presence = asked.elapsed();
    assert!(held() < 80, "documents are still on their way, {presence:?} after the beat");
    eventually(SOON * 2, "all of it", || (held() == 80).then_some(()));
    let took = begun.elapsed();
    eventually(SOON, "what was heard is counted", || (heard(&b) > before + 800_000).then_some(()));
    let bytes = heard(&b) - before;
    let rate = bytes as f64 / took.as_secs_f64();
    measured(&format!(
        "{bytes} bytes in {took:.1?}: {:.0} kB/s of {} kB/s; presence meanwhile in {presence:.2?}",
        rate / 1e3,
        RATE / 1_000
    ));
    // Never faster; slower only by what a busy machine needs to apply it.
    assert!(rate <= RATE as f64 * 1.1, "{rate}");
    assert!(rate >= RATE as f64 * 0.6, "{rate}");
    assert!(presence.as_secs_f64() < 5.0, "{presence:?}");
}

#[test]
fn a_link_is_not_given_up_because_one_side_is_busy_with_what_it_said() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    linked(&a, "bert");
    anna.json(&["sync", "pause"]);
    until(&a, "bert", "it rests", |device| device["flow"]["paused"] == true);
    // Three megabytes that cannot be made shorter.
    let mut chance = Chance::new(7);
    let mut noise = || (0..12_000).map(|_| char::from(b'!' + u8::try_from(chance.below(90)).expect("small"))).collect::<String>();
    for n in 0..250 {
        a.add(&format!("{n} {}", noise()));
    }
    let links = || anna.said().lines().filter(|line| line.contains("link up")).count();
    let (before, begun, over) = (links(), Since::now(), AtomicBool::new(false));
    let held = || b.try_get("/api/v3/todos?limit=1").map_or(0, |answer| answer.json()["total"].as_u64().unwrap_or(0));
    let resumed = || {
        anna.json(&["sync", "resume"]);
        eventually(SOON * 2, "all of it", || (held() == 250).then_some(()));
        linked(&a, "bert");
        over.store(true, Ordering::Relaxed);
    };
    // The one that takes them has a third of a processor.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) && begun.elapsed() < SOON * 2 {
                b.signal(Signal::STOP);
                sleep(Duration::from_millis(600));
                b.signal(Signal::CONT);
                sleep(Duration::from_millis(300));
            }
        });
        resumed();
    });
    let (took, made) = (begun.elapsed(), links() - before);
    measured(&format!("3 MB of noise to one with a third of a processor: level after {took:.1?}, {made} links"));
    // One ends by the resume, and one follows.
    assert!(made <= 2, "{}", anna.said());
}
