//! A session of opencode up to 1.1 is a small file that says what it is and nothing of what was said in it.
//!
//! `storage/session/<project>/<session>.json`, older `storage/session/info/<session>.json` (FORMATS §6). The messages stand
//! in one file each and are not read, so nothing is counted. Since 1.2 opencode keeps all of it in a SQLite database
//! (`opencode.db`), which hubless does not read: such a session is not seen.

use serde::Deserialize;

use super::claude_todos::Malformed;
use super::files::{File, Owner};
use super::loose::{Maybe, Number, Text};
use super::pi;
use super::run::{Run, Said, path, short};
use super::salvage;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Session<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, rename = "parentID")]
    parent_id: Text<'a>,
    #[serde(borrow)]
    directory: Text<'a>,
    #[serde(borrow)]
    title: Text<'a>,
    time: Maybe<Time>,
}

/// Milliseconds since 1970.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Time {
    created: Number,
    updated: Number,
}

/// Which session the file at `path` is.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let (project, name) = path.strip_prefix("session/")?.split_once('/')?;
    let session = name.strip_suffix(".json").filter(|session| pi::is_id(session))?;
    // Before 0.6 all kinds of files stood below `session`.
    let is_other = matches!(project, "message" | "part" | "share");
    (!is_other).then(|| File::Whole(Owner { session: session.to_owned(), ..Owner::default() }, read))
}

/// Reads one session.
///
/// # Errors
///
/// When the bytes are no session, or a torn one. The former reading stays.
pub fn read(bytes: &[u8]) -> Result<(Run, Vec<Said>), Malformed> {
    let text = salvage::mended(salvage::bare(bytes));
    let session: Session<'_> = salvage::whole(&text)?;
    if session.id.get().is_none() {
        return Err(Malformed { why: "the file is no session" });
    }
    let time = session.time.0.unwrap_or_default();
    let moment = |number: &Number| number.0.and_then(|ms| i64::try_from(ms).ok());
    let mut run = Run {
        session: short(session.id.str()),
        cwd: path(session.directory.str()),
        made_title: short(session.title.str()),
        parent: short(session.parent_id.str()),
        started: moment(&time.created),
        ..Run::default()
    };
    run.is_side = run.parent.is_some();
    run.last = moment(&time.updated).max(run.started);
    run.counts.records = 1;
    Ok((run, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_small_file() {
        let (run, said) = read(include_bytes!("../../tests/data/opencode-storage/session.json")).expect("a session");
        assert_eq!((run.session.as_deref(), run.parent.as_deref(), run.is_side), (Some("ses_1"), Some("ses_0"), true));
        assert_eq!((run.title(), run.cwd.as_deref()), (Some("Build a shed"), Some("/srv/demo")));
        assert_eq!((run.started, run.last), (Some(1_769_932_800_000), Some(1_769_932_860_000)));
        assert!(said.is_empty());
        for none in ["", "{}", "[]", "{\"id\":\"ses_1\"", "{\"id\":7}", "null"] {
            assert!(read(none.as_bytes()).is_err(), "{none}");
        }
    }

    #[test]
    fn only_sessions_are_sessions() {
        for path in ["session/p/ses_1.json", "session/info/ses_1.json"] {
            assert!(matches!(file(path), Some(File::Whole(owner, _)) if owner.session == "ses_1"), "{path}");
        }
        for other in ["message/ses_1/msg_1.json", "session/message/ses_1/msg_1.json", "part/m/p.json", "session/ses_1.json", "migration"] {
            assert!(file(other).is_none(), "{other}");
        }
    }
}
