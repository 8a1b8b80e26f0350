//! A process of Claude Code that lives has a file; it is gone when the process ends in order, and stays when it crashes
//! (FORMATS §2.6). So the file alone proves nothing: the pid must live, and must have begun when the file says.
//!
//! `<claude root>/sessions/<pid>.json` began with four fields; all but the pid may be missing. Its session stays an old one
//! after `/clear`, and it is not rewritten during a long turn.

use serde_json::{Map, Value};

use super::claude_tasks::object;
use super::claude_todos::Malformed;
use super::files::File;
use super::run;
use crate::model::beat::Reported;

/// A process, as its file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The tool's id of the session it began with.
    pub session: Option<String>,
    /// Where it works.
    pub cwd: Option<String>,
    /// When it began, milliseconds since 1970.
    pub started: Option<i64>,
    /// When it began, in the words of the operating system (Linux: clock ticks since boot), so that another process with the
    /// same number is not taken for it.
    pub proc_start: Option<String>,
    /// What it does.
    pub status: Option<Reported>,
    /// How somebody named it.
    pub name: Option<String>,
    /// When the file was last written, milliseconds since 1970.
    pub updated: Option<i64>,
}

/// What the file at `path` below `sessions/` is: `<pid>.json`.
pub(super) fn file(path: &str) -> Option<File> {
    let stem = path.strip_suffix(".json").filter(|stem| stem.bytes().all(|b| b.is_ascii_digit()))?;
    stem.parse().ok().filter(|pid| *pid > 0).map(|pid| File::Process { pid })
}

/// Reads one process.
///
/// # Errors
///
/// When the bytes are no whole object with a pid: empty, torn, over the limit. What was known of it stays.
pub fn parse(bytes: &[u8]) -> Result<Process, Malformed> {
    let process = object(bytes)?;
    let text = |key: &str| process.get(key).and_then(Value::as_str);
    let pid = process.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    Ok(Process {
        pid: pid.ok_or(Malformed { why: "the file names no process" })?,
        session: text("sessionId").and_then(run::short),
        cwd: text("cwd").and_then(run::path),
        started: process.get("startedAt").and_then(Value::as_i64),
        proc_start: proc_start(&process),
        status: text("status").and_then(status),
        name: text("name").filter(|_| text("nameSource") != Some("derived")).and_then(run::short),
        updated: process.get("updatedAt").and_then(Value::as_i64),
    })
}

fn proc_start(process: &Map<String, Value>) -> Option<String> {
    match process.get("procStart")? {
        Value::String(text) => run::short(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `busy`, `idle` or `waiting`; other words are none that we know.
fn status(word: &str) -> Option<Reported> {
    match word {
        "busy" => Some(Reported::Working),
        "idle" => Some(Reported::Idle),
        "waiting" => Some(Reported::Waiting),
        _ => None,
    }
}
