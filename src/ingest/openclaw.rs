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
