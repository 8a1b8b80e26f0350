//! What need not be said is not said: counted on the wire, every byte of TCP in both directions.
//!
//! A link says something by itself every few seconds, so that bytes with and without the work can only be compared where it says nothing: in the longest silence
//! of its 15 s, which has to be found first and waited for then. That takes the test's half minute.

use std::path::PathBuf;
use std::thread::sleep;

use hubless::model::fact::FactKey;
use hubless::model::id::DeviceId;
use hubless::model::session::session_id;
use hubless::replica::document::Document;
use serde_json::json;

use super::*;

/// How often a link says something by itself: a ping each way, presence each way.
const PERIOD: Duration = Duration::from_secs(15);
/// One of those, with its answer, is over by then.
const SAID: Duration = Duration::from_millis(400);
/// What is done in a silence between two of them. There are four at most in a period, so the longest has more than this and twice [`SAID`].
const WORK: Duration = Duration::from_millis(2_200);

impl Site {
    /// Bytes that any host said to another over TCP so far.
    fn said(&self) -> u64 {
        (0..self.homes.len()).map(|host| self.lab.switch.passed(host).tcp).sum()
    }

    /// Waits until nobody has said anything for a second.
    fn falls_silent(&self) {
        let (mut last, mut heard) = (self.said(), Since::now());
        eventually(SOON, "a second in which nothing is said", || {
            let now = self.said();
            if now != last {
                (last, heard) = (now, Since::now());
            }
            (heard.elapsed() >= Duration::from_secs(1)).then_some(())
        });
    }
}

/// Idles for a period, and a little: how many bytes that were, when the longest silence of it began, and how long it was.
fn idle(site: &Site) -> (u64, Since, Duration) {
    let (begun, from) = (Since::now(), site.said());
    let (mut last, mut heard) = (from, Since::now());
    let mut longest = (Since::now(), Duration::ZERO);
    while begun.elapsed() < PERIOD + SAID * 2 {
        sleep(Duration::from_millis(5));
        let now = site.said();
        if now != last {
            longest = if heard.elapsed() > longest.1 { (heard, heard.elapsed()) } else { longest };
            (last, heard) = (now, Since::now());
        }
    }
    (last - from, longest.0, longest.1)
}

/// Waits until the silence that began at `then` comes again.
fn in_silence(then: Since) {
    let periods = (1..).find(|n| PERIOD * *n + SAID > then.elapsed()).expect("time goes on");
    sleep((PERIOD * periods + SAID).saturating_sub(then.elapsed()));
}

#[test]
fn an_excluded_project_sends_no_byte() {
    let Some(mut site) = site("an_excluded_project_sends_no_byte", &["anna", "bert"]) else { return };
    site.homes[0].set("HUBLESS_SYNC_EXCLUDE", "secret-*,agent:mole");
    let all = site.fleet();
    let work = |n: usize, project: &str, agent: &str| {
        let todo = all[0].post("/api/v3/todos", &json!({"content": format!("work {n}"), "project": project}));
        assert_eq!(todo.status, 201, "{}", todo.text());
        let beat = all[0].post("/api/v3/beats", &json!({"agent": agent, "task": format!("AGT-{n}"), "state": "working", "session": "s-1"}));
        assert!(beat.status < 300, "{}", beat.text());
    };
    // Where all begins: documents of what stays are made, and nobody waits for a confirmation.
    work(0, "secret-plans", "mole");
    site.falls_silent();
    let (bytes, silence, longest) = idle(&site);
    assert!(bytes > 0 && longest > WORK + SAID * 2, "a link that idles says something now and then: {bytes} bytes, {longest:?} of silence");
    in_silence(silence);
    let (begun, before, mut deeds) = (Since::now(), site.said(), 0);
    while begun.elapsed() < WORK {
        deeds += 1;
        work(deeds, "secret-plans", "mole");
    }
    let said = site.said() - before;
    measured(&format!(
        "lab: idle {bytes} bytes of TCP in 15.8 s; {} deeds in an excluded project, in a silence of {longest:?}: {said} bytes",
        2 * deeds
    ));
    assert!(deeds > 10, "it was work");
    assert_eq!(said, 0, "bytes on the wire, of a project that sends none");
    // And that would have been seen.
    let before = site.said();
    work(deeds + 1, "open-plans", "sam");
    all[1].todo_is(&format!("work {}", deeds + 1), "pending");
    let said = site.said() - before;
    measured(&format!("lab: two deeds in another project: {said} bytes"));
    assert!(said > 0 && all[1].rows("/api/v3/todos?all=1").len() == 1, "and nothing else came over");
}

/// Sessions of so many months, each of which is a document of its own.
const DOCUMENTS: usize = 1_000;
const MONTH_MS: i64 = 31 * 24 * 60 * 60 * 1_000;
/// What it may take to meet again with all of them, and what may pass.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_BYTES: u64 = 64 * 1024;

/// Where a device keeps its documents of sessions.
fn documents(home: &Home) -> PathBuf {
    home.data().join("docs/sessions")
}

/// Puts documents into the store of a device that does not run, as a daemon would have written them from 1970 to 2053.
fn keep_documents(home: &Home) {
    for n in 0..DOCUMENTS {
        let (device, id) = (DeviceId([9; 32]), format!("r-{n}"));
        let key = FactKey::Session(session_id(&device, "aider", &id));
        let fact = json!({"rev": 1, "device": device, "tool": "aider", "toolSession": id, "agent": "sam", "started": n as i64 * MONTH_MS});
        let mut actor = [7; 16];
        actor[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let mut document = Document::born(actor);
        assert!(!document.put(&[(key, fact.to_string())]).is_empty());
        let path = documents(home).join(format!("{:04}-{:02}.automerge", 1970 + n / 12, n % 12 + 1));
        home.write(&path, document.save().expect("it reads back"));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    }
}

#[test]
fn a_thousand_level_documents_meet_again_at_once_and_with_few_words() {
    let Some(site) = site("a_thousand_level_documents_meet_again_at_once_and_with_few_words", &["anna", "bert"]) else { return };
    site.up(0).stop();
    keep_documents(&site.homes[0]);
    let all = site.fleet();
    let kept = || std::fs::read_dir(documents(&site.homes[1])).map_or(0, Iterator::count);
    eventually(SOON, "all documents are there, too", || (kept() >= DOCUMENTS).then_some(()));
    site.all_level(&all);
    let [a, mut b] = <[Daemon<'_>; 2]>::try_from(all).unwrap_or_else(|_| panic!("two daemons"));
    let mut took = Vec::new();
    for round in 0..3 {
        b.stop();
        site.falls_silent();
        let before = site.said();
        b = site.up(1);
        let begun = Since::now();
        eventually(SOON, "both know that they are level", || (linked(&a) == 1 && linked(&b) == 1).then_some(()));
        took.push(begun.elapsed());
        site.falls_silent();
        let said = site.said() - before;
        measured(&format!(
            "lab: {DOCUMENTS} level documents, met again {:?} after one had started: {said} bytes of TCP until silence",
            took[round]
        ));
        assert!(said <= AGAIN_BYTES, "{said} bytes");
    }
    judge("1 000 level documents, from when one has started until both know that they are level", AGAIN, took);
}
