//! A session of OpenClaw is one of pi's, kept by an agent that has a name: its folder's.
//!
//! `<agent>/sessions/<session>[-topic-<n>].jsonl` in pi's third form (FORMATS §6). Each topic is a session of its own. What
//! stands beside (`*.trajectory.jsonl`, what a reset or a deletion archived) is no session.

use super::files::{File, Owner};
use super::pi;

/// Which session the file at `path` is.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let (agent, name) = path.split_once("/sessions/")?;
    // What stands beside has a dot in its name.
    let session = name.strip_suffix(".jsonl").filter(|session| pi::is_id(session) && pi::is_id(agent))?;
    let owner = Owner { session: session.to_owned(), agent: Some(agent.to_owned()), ..Owner::default() };
    Some(File::Lines(owner, pi::line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::laws;
    use crate::model::beat::Reported;

    #[test]
    fn the_folder_says_who_and_the_name_says_which() {
        for (path, session) in [("anna/sessions/oc-1.jsonl", "oc-1"), ("anna/sessions/oc-1-topic-7.jsonl", "oc-1-topic-7")] {
            let Some(File::Lines(owner, _)) = file(path) else { panic!("{path}") };
            assert_eq!(owner, Owner { session: session.into(), agent: Some("anna".into()), ..Owner::default() });
        }
        for other in [
            "anna/sessions/sessions.json",
            "anna/sessions/oc-1.trajectory.jsonl",
            "anna/sessions/oc-1.jsonl.reset.2026-01-01",
            "anna/sessions/oc-1.reset.2026.jsonl",
            "anna/sessions/deep/oc-1.jsonl",
            "anna/oc-1.jsonl",
            "/sessions/oc-1.jsonl",
        ] {
            assert!(file(other).is_none(), "{other}");
        }
    }

    #[test]
    fn its_lines_are_those_of_pi() {
        let (run, _) = laws::read(pi::line, include_bytes!("../../tests/data/openclaw-sessions/talk.jsonl"));
        assert_eq!((run.session.as_deref(), run.title(), run.cwd.as_deref()), (Some("oc-1"), Some("Feed the cat"), Some("/srv/claw")));
        assert_eq!((run.turn, run.doing.as_deref()), (Some(Reported::Working), Some("feed")), "it gives no reason to stop");
        assert!(run.unknown.is_empty());
    }
}
