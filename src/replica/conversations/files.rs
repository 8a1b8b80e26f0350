//! What the files of one device said, through rescans, lost documents and clocks that were wrong.

use super::node::*;
use crate::model::ask::*;
use crate::model::effects::{Effects, Look};
use crate::model::fact::FactKey;
use crate::model::id::*;
use crate::model::input::*;
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::tool::Root;

fn stat() -> FileStat {
    FileStat { dev: 1, ino: 2, size: 50, mtime_ms: 1_792_000_000_000 }
}

const PATH: &str = "s1-agent-s1.json";

const LIST: &[u8] = br#"[{"content":"a","status":"completed","activeForm":"x"}]"#;

/// The directory of lists holds the one of these tests.
fn looked() -> Input {
    let files = vec![Seen { path: PATH.into(), stat: stat() }];
    Input::Source(SourceEvent::Looked { root: Root::CLAUDE_TODOS, base: "/t".into(), present: true, files, skipped: 0 })
}

/// That list, read whole.
fn read() -> Input {
    let (root, path) = (Root::CLAUDE_TODOS, PATH.into());
    Input::Source(SourceEvent::Read { root, path, stat: stat(), offset: 0, bytes: LIST.into(), at_end: true })
}

#[test]
fn lists_are_taken_in_though_transcripts_cannot_be_listed() {
    let mut a = Node::new(1);
    let _ = a.step(2, looked());
    let _ = a.step(3, read());
    let _ = a.step(4, Input::Source(SourceEvent::Denied { root: Root::CLAUDE_PROJECTS, path: None, why: "EACCES".into() }));
    let _ = a.step(5, looked());
    let _ = a.step(6, read());
    assert_eq!(a.r.view().todos.len(), 1);
}

#[test]
fn after_a_rescan_a_file_that_was_read_is_not_read_for_ever() {
    let mut a = Node::new(1);
    let found = || Input::Source(SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), None)] });
    let _ = a.step(2, looked());
    let _ = a.step(3, read());
    let _ = a.step(4, found());
    let reads = |out: &Effects| out.look.iter().filter(|l| matches!(l, Look::Read { .. })).count();
    assert_eq!(reads(&a.step(5, looked())), 0);
    a.ask(6, Ask::Rescan);
    assert_eq!(reads(&a.step(7, looked())), 1);
    let _ = a.step(8, read());
    let _ = a.step(9, found());
    assert_eq!(reads(&a.step(10, looked())), 0, "every listing reads every file again");
}

/// The one list of these tests is listed, read if that is asked for, and its session looked for in vain; gives whether it was read.
fn list_once(a: &mut Node, t: u64, stat: FileStat, bytes: &[u8]) -> bool {
    // Nobody configured the other directories.
    let others = crate::model::tool::TOOLS.iter().flat_map(|tool| Root::of(tool.name, 0)).filter(|root| *root != Root::CLAUDE_TODOS);
    for root in others {
        let _ = a.step(t, Input::Source(SourceEvent::Denied { root, path: None, why: "not configured".into() }));
    }
    let files = vec![Seen { path: PATH.into(), stat }];
    let looked = SourceEvent::Looked { root: Root::CLAUDE_TODOS, base: "/t".into(), present: true, files, skipped: 0 };
    let asked = a.step(t, Input::Source(looked)).look.iter().any(|look| matches!(look, Look::Read { .. }));
    if asked {
        read_once(a, t, stat, bytes);
    }
    asked
}

fn read_once(a: &mut Node, t: u64, stat: FileStat, bytes: &[u8]) {
    let read = SourceEvent::Read { root: Root::CLAUDE_TODOS, path: PATH.into(), stat, offset: 0, bytes: bytes.into(), at_end: true };
    let _ = a.step(t, Input::Source(read));
    let found = SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), None)] };
    let _ = a.step(t, Input::Source(found));
}

#[test]
fn a_crash_right_after_a_document_was_set_aside_hides_no_loss() {
    let mut a = Node::new(1);
    assert!(list_once(&mut a, 2, stat(), LIST));
    let _ = a.reopen(3);
    assert!(!list_once(&mut a, 4, stat(), LIST), "what was read is not read again");
    // The store sets a damaged file aside, keeps what is good of it, and dies before anything else is kept.
    let todos = a.kept.documents.keys().find(|id| id.collection() == Collection::Todos).unwrap().clone();
    a.kept.documents.insert(todos, crate::replica::genesis::genesis().0);
    a.kept.aside += 1;
    let _ = a.reopen(5);
    assert!(list_once(&mut a, 6, stat(), LIST), "what was in the damaged document is read again");
    assert_eq!(a.r.view().todos.len(), 1);
    let _ = a.reopen(7);
    assert!(!list_once(&mut a, 8, stat(), LIST), "and then no more");
}

#[test]
fn a_document_that_comes_back_under_its_name_revives_no_mark() {
    let mut a = Node::new(1);
    a.add(2, "of this month", None);
    list_once(&mut a, 2, stat(), LIST);
    let of = |a: &Node| a.kept.documents.keys().find(|id| id.as_str() == "todos/2026-10").cloned();
    let lost = of(&a).expect("the month of the list's file");
    a.kept.documents.remove(&lost);
    let _ = a.reopen(3);
    let mut keep = crate::model::batch::Batch::default();
    let fact = (FactKey::Item(ItemId::of(&[b"another"])), "{}".to_owned());
    a.r.library.write("todos/2026-10", &[fact], &mut keep);
    keep.apply_to(&mut a.kept);
    let _ = a.reopen(4);
    assert!(list_once(&mut a, 5, stat(), LIST), "its marks are of a document that was lost");
}

#[test]
fn a_clock_that_was_a_year_ahead_silences_no_list() {
    const YEAR: u64 = 366 * 24 * 3_600_000;
    let mut a = Node::new(1);
    let at = |ms: u64, ino| FileStat { dev: 1, ino, size: 50, mtime_ms: now(ms).wall_ms };
    let list = |status: &str| format!(r#"[{{"content":"a","status":"{status}","activeForm":"x"}}]"#).into_bytes();
    let status = |a: &Node| a.r.view().todos.values().next().expect("it is shown").status;
    // The clock is a year ahead, and right again when the list changes.
    list_once(&mut a, YEAR, at(YEAR, 2), &list("pending"));
    let back = Now { wall_ms: now(60_000).wall_ms, ..now(YEAR + 1_000) };
    let hear = |a: &mut Node, event| {
        let out = a.r.step(back, Input::Source(event));
        out.keep.apply_to(&mut a.kept);
    };
    let stat = at(50_000, 3);
    let bytes = list("completed");
    hear(&mut a, SourceEvent::Read { root: Root::CLAUDE_TODOS, path: PATH.into(), stat, offset: 0, bytes, at_end: true });
    hear(&mut a, SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), None)] });
    assert_eq!(status(&a), crate::model::todo::Status::Completed, "what was read under the wrong clock is no later word");
}

#[test]
fn a_file_from_the_future_is_read_as_of_now() {
    let mut a = Node::new(1);
    let at = |ms: u64, ino| FileStat { dev: 1, ino, size: 50, mtime_ms: now(ms).wall_ms };
    let list = |status: &str| format!(r#"[{{"content":"a","status":"{status}","activeForm":"x"}}]"#).into_bytes();
    list_once(&mut a, 1_000, at(3_600_000, 2), &list("pending"));
    assert_eq!(a.r.view().todos.values().next().expect("it is shown").created, now(1_000).wall_ms);
    read_once(&mut a, 5_000, at(4_000, 3), &list("completed"));
    assert_eq!(a.r.view().todos.values().next().expect("it is shown").status, crate::model::todo::Status::Completed);
}

#[test]
fn branch_and_title_are_the_last_that_were_read_and_the_project_is_the_first() {
    let mut a = Node::new(1);
    let source = |a: &mut Node, t: u64, event: SourceEvent| drop(a.step(t, Input::Source(event)));
    let mut ino = 10;
    let mut read = |a: &mut Node, t: u64, line: Option<String>, repo: Option<Repo>| {
        ino += 1;
        let (stat, bytes) = (FileStat { ino, ..stat() }, LIST.to_vec());
        source(a, t, SourceEvent::Read { root: Root::CLAUDE_TODOS, path: PATH.into(), stat, offset: 0, bytes, at_end: true });
        let path = line.as_ref().map(|_| "p/s1.jsonl".to_owned());
        source(a, t, SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), path)] });
        let Some(line) = line else { return };
        let (root, path, bytes) = (Root::CLAUDE_PROJECTS, "p/s1.jsonl".to_owned(), line.into_bytes());
        source(a, t, SourceEvent::Read { root, path, stat, offset: 0, bytes, at_end: true });
        source(a, t, SourceEvent::Repo { cwd: "/w".into(), repo });
    };
    let line = |branch: &str| {
        format!(
            "{{\"type\":\"user\",\"cwd\":\"/w\",\"sessionId\":\"s1\",\"gitBranch\":\"{branch}\",\"timestamp\":\"2026-10-14T00:00:00Z\"}}\n"
        )
    };
    let repo = |name: &str| Some(Repo { remote: Some(format!("https://x.example/{name}")), root: "/w".into(), branch: None });
    let session = |a: &Node| {
        let view = a.r.view();
        let fact = &view.sessions.values().next().expect("it is shown").fact;
        (fact.branch.as_ref().map(Foreign::plain), fact.project.clone())
    };
    read(&mut a, 2, Some(line("main")), repo("one"));
    let first = session(&a);
    assert_eq!(first.0.as_deref(), Some("main"));
    // After the next start its transcript says another branch, and the remote has moved.
    a.kept.index.clear();
    let _ = a.reopen(3);
    read(&mut a, 4, Some(line("fix/it")), repo("two"));
    assert_eq!(session(&a), (Some("fix/it".to_owned()), first.1.clone()));
    a.kept.index.clear();
    let _ = a.reopen(5);
    read(&mut a, 6, None, None);
    assert_eq!(session(&a), (Some("fix/it".to_owned()), first.1), "what is not found any more takes nothing back");
}

#[test]
fn what_cannot_be_read_is_read_three_times_more_and_then_its_former_value_stays() {
    let mut a = Node::new(1);
    list_once(&mut a, 2, stat(), LIST);
    let asked = |out: &Effects| out.look.iter().filter(|look| matches!(look, Look::Read { .. })).count();
    read_once(&mut a, 10, FileStat { ino: 3, size: 0, ..stat() }, b"");
    for n in 1..=3 {
        let t = 10 + 50 * n;
        assert_eq!(a.r.deadline(), Some(now(t).boot_ms), "try {n}");
        assert_eq!((asked(&a.step(t - 1, Input::Tick)), asked(&a.step(t, Input::Tick))), (0, 1), "try {n}");
        read_once(&mut a, t, FileStat { ino: 3, size: 1, ..stat() }, b"[");
    }
    assert!(a.r.deadline() > Some(now(1_000).boot_ms), "then only a hint or a listing");
    assert_eq!(a.r.view().todos.values().next().expect("it stays").status, crate::model::todo::Status::Completed);
    read_once(&mut a, 2_000, FileStat { ino: 4, size: 0, ..stat() }, b"");
    assert_eq!(asked(&a.step(2_050, Input::Tick)), 1);
    read_once(&mut a, 2_050, FileStat { ino: 4, ..stat() }, LIST);
    assert!(a.r.deadline() > Some(now(3_000).boot_ms), "what could be read is not tried again");
}
