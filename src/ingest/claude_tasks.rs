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
    let bytes = salvage::bare(bytes);
    if bytes.is_empty() {
        return Err(Malformed { why: "the file is empty" });
    }
    serde_json::from_slice(&salvage::mended(bytes)).map_err(|_| Malformed { why: "the file is no whole object" })
}
