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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn a_process_is_what_its_file_says() {
        let process = parse(include_bytes!("../../tests/data/claude-sessions/4242.json")).expect("a process");
        let expected = Process {
            pid: 4242,
            session: Some("5c0e1f2a-0000-4000-8000-000000000001".to_owned()),
            cwd: Some("/srv/demo".to_owned()),
            started: Some(1_780_000_000_000),
            proc_start: Some("20095994".to_owned()),
            status: Some(Reported::Working),
            name: Some("demo".to_owned()),
            updated: Some(1_780_000_100_000),
        };
        assert_eq!(process, expected);
        let word = |status: &str| parse(format!(r#"{{"pid":1,"status":"{status}","procStart":7}}"#).as_bytes()).expect("a process");
        assert_eq!(["idle", "waiting", "asleep"].map(|status| word(status).status), [Some(Reported::Idle), Some(Reported::Waiting), None]);
        assert_eq!(word("idle").proc_start.as_deref(), Some("7"));
        let derived = parse(br#"{"pid":1,"name":"srv-demo","nameSource":"derived"}"#).expect("a process");
        assert_eq!((derived.name, derived.session), (None, None), "nobody gave that name");
    }

    #[test]
    fn what_is_no_whole_process_is_refused() {
        let good = include_bytes!("../../tests/data/claude-sessions/4242.json");
        assert!((0..good.len()).all(|end| parse(&good[..end]).is_err()), "torn");
        for bad in ["", "[]", "{}", r#"{"pid":"1"}"#, r#"{"pid":0}"#, r#"{"pid":-1}"#, r#"{"pid":99999999999}"#] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_files_name_is_its_number() {
        let pid = |path: &str| file(path).map(|file| if let File::Process { pid } = file { pid } else { panic!("{file:?}") });
        assert_eq!(pid("4242.json"), Some(4242));
        for none in ["", ".json", "0.json", "x.json", "+1.json", "1.json.tmp", "a/1.json", "99999999999.json"] {
            assert_eq!(pid(none), None, "{none}");
        }
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>, path: String) -> bool {
            let _ = (parse(&bytes), file(&path));
            true
        }
    }
}
