//! A task's file says what the task is now; its absence says nothing: when the last task of a list is done, the tool removes
//! all of its files and leaves only the highest id in `.highwatermark` (FORMATS §1.3).
//!
//! `<claude root>/tasks/<list>/<n>.json` is one object, rewritten as a whole. Ids are not reused inside a list.

use serde_json::{Map, Value};

use super::claude_calls::{id, ids, is_internal, status, text};
use super::claude_todos::Malformed;
use super::files::File;
use super::salvage;
use crate::model::limits::TODO_FILE_BYTES_MAX;
use crate::model::todo::Change;

/// Bytes of a list's name; a UUID has 36.
const LIST_BYTES_MAX: usize = 128;

/// What the file at `path` below `tasks/` is: `<list>/<n>.json` or `<list>/.highwatermark`.
pub(super) fn file(path: &str) -> Option<File> {
    let (list, name) = path.split_once('/')?;
    let fine = (1..=LIST_BYTES_MAX).contains(&list.len()) && !list.starts_with('.') && !list.chars().any(char::is_control);
    let is_task = || name.strip_suffix(".json").is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit()));
    match name {
        _ if !fine => None,
        ".highwatermark" => Some(File::HighMark { list: list.to_owned() }),
        _ => is_task().then(|| File::Task { list: list.to_owned() }),
    }
}

/// Reads one task; `stem` is its file's name without `.json`, where that is known. `None`: a row that the tool keeps for itself.
///
/// # Errors
///
/// When the bytes are no whole task: empty, torn, over the limit, without a subject, or another task than the name says. What
/// was known of it stays.
pub fn parse(bytes: &[u8], stem: Option<&str>) -> Result<Option<Change>, Malformed> {
    let task = object(bytes)?;
    if is_internal(&task) {
        return Ok(None);
    }
    let named = task.get("id").and_then(id).ok_or(Malformed { why: "the task has no id" })?;
    if stem.is_some_and(|stem| stem != named) {
        return Err(Malformed { why: "the task's id is not its file's name" });
    }
    Ok(Some(Change {
        id: named,
        text: Some(text(&task, "subject").ok_or(Malformed { why: "the task has no subject" })?),
        status: status(&task),
        active_form: text(&task, "activeForm"),
        owner: text(&task, "owner"),
        blocked_by: ids(task.get("blockedBy")),
    }))
}

/// The highest id that a list had when it was cleared, from its `.highwatermark`.
#[must_use]
pub fn high_mark(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(salvage::bare(bytes)).ok()?.parse().ok()
}

/// A small file that is one object.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    if bytes.len() as u64 > TODO_FILE_BYTES_MAX {
        return Err(Malformed { why: "the file is larger than one such may be" });
    }
    salvage::whole(&salvage::mended(salvage::bare(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::todo::Status;
    use quickcheck::quickcheck;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    #[test]
    fn a_task_is_what_its_file_says() {
        let task = parse(include_bytes!("../../tests/data/claude-tasks/3.json"), Some("3")).expect("a task").expect("a shown one");
        let expected = Change {
            id: "3".to_owned(),
            text: Some("Add retry to uploader".into()),
            status: Some(Status::InProgress),
            active_form: Some("Adding retry".into()),
            owner: Some("ada".into()),
            blocked_by: vec!["1".to_owned(), "2".to_owned()],
        };
        assert_eq!(task, expected);
        assert_eq!(parse(include_bytes!("../../tests/data/claude-tasks/internal.json"), Some("4")), Ok(None));
        let least = parse(b"\xef\xbb\xbf {\"id\":\"9\",\"subject\":\"cut \\ud83d\",\"status\":\"of next month\"}\r\n", None);
        assert_eq!(least, Ok(Some(Change { id: "9".to_owned(), text: Some("cut \u{fffd}".into()), ..Change::default() })));
        let deleted = parse(br#"{"id":"9","subject":"x","status":"deleted"}"#, Some("9")).expect("a task").expect("a shown one");
        assert_eq!(deleted.status, Some(Status::Cancelled));
    }

    #[test]
    fn what_is_no_whole_task_is_refused() {
        let good = include_bytes!("../../tests/data/claude-tasks/3.json").as_slice();
        assert!(parse(good, Some("4")).is_err() && parse(good, Some("03")).is_err(), "another task than the name says");
        assert!((0..good.len()).all(|end| parse(&good[..end], Some("3")).is_err()), "torn");
        for bad in
            ["", "null", "[]", r#"{"id":"3"}"#, r#"{"id":"3","subject":" "}"#, r#"{"subject":"x"}"#, r#"{"id":"../3","subject":"x"}"#]
        {
            assert!(parse(bad.as_bytes(), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_high_mark_is_a_number() {
        assert_eq!(
            [high_mark(b"16"), high_mark(b" 7\n"), high_mark(b""), high_mark(b"x"), high_mark(b"-1")],
            [Some(16), Some(7), None, None, None]
        );
    }

    #[test]
    fn a_files_path_says_whose_it_is() {
        let list = |path: &str| match file(path)? {
            File::Task { list } => Some((list, false)),
            File::HighMark { list } => Some((list, true)),
            File::Lines(..) | File::Whole(..) | File::Tables(..) | File::Names(..) | File::Todos(_) | File::Process { .. } => None,
        };
        assert_eq!(list("5c/3.json"), Some(("5c".to_owned(), false)));
        assert_eq!(list("our list/.highwatermark"), Some(("our list".to_owned(), true)));
        for none in ["3.json", "5c/.lock", "5c/x.json", "5c/.json", "5c/d/3.json", "/3.json", ".x/3.json", "5c/3.json.tmp", "a\n/3.json"] {
            assert_eq!(list(none), None, "{none}");
        }
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>, path: String) -> bool {
            let _ = (parse(&bytes, Some("1")), high_mark(&bytes), file(&path));
            true
        }
    }

    /// The corpus of real files stands beside the project where it was built (or where `HUBLESS_CORPUS` says); elsewhere there
    /// is nothing to check.
    #[test]
    fn every_real_task_is_read() {
        let named = std::env::var_os("HUBLESS_CORPUS").map(PathBuf::from);
        let corpus = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus")).join("claude/tasks");
        let (mut lists, mut tasks) = (BTreeSet::new(), 0);
        for path in files_below(&corpus) {
            let name = |path: &Path| path.file_name().expect("a name").to_str().expect("a plain name").to_owned();
            let below = format!("{}/{}", name(path.parent().expect("a list")), name(&path));
            lists.insert(path.parent().expect("a list").to_owned());
            let bytes = std::fs::read(&path).expect("a readable file");
            match file(&below) {
                Some(File::Task { .. }) => {
                    let task = parse(&bytes, name(&path).strip_suffix(".json")).expect("a whole task").expect("a shown one");
                    assert!(task.status.is_some() && task.text.is_some(), "{below}");
                    tasks += 1;
                }
                Some(_) => assert!(high_mark(&bytes).is_some(), "{below}"),
                None => assert!(below.ends_with("/.lock"), "{below}"),
            }
        }
        assert!(lists.is_empty() || (lists.len(), tasks) == (7, 27), "{} lists, {tasks} tasks", lists.len());
    }

    fn files_below(dir: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("a readable directory").path());
        paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }
}
