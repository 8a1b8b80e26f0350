//! Where sessions work that told it themselves: a hook knows the working directory, never the repository above it.
//!
//! The first place known of a session stays. Its project is written after one look for the repository, as for sessions that
//! are known by their files, so that both begin in the same project.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::effects::{Effects, Look};
use crate::model::fact::FactKey;
use crate::model::id::SessionId;
use crate::model::input::Repo;
use crate::model::session::SessionFact;
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::rules::projects;

use super::facts::Joined;
use super::machine::Replica;
use super::saved;

/// Directories that are looked at for sessions at the same time; whoever finds no room asks again with its next report.
const LOOKED_AT_MAX: usize = 256;

/// The directories whose repository is being looked for, and the sessions that wait for it.
#[derive(Debug, Default)]
pub(super) struct Places {
    waiting: BTreeMap<String, BTreeSet<SessionId>>,
    /// Those of them that another program's record tells of: they may have run on another machine.
    elsewhere: BTreeSet<SessionId>,
}

impl Places {
    /// What is above a directory cannot be known now; whoever reports from there asks again.
    pub(super) fn forget(&mut self, cwd: &str) {
        for session in self.waiting.remove(cwd).unwrap_or_default() {
            self.elsewhere.remove(&session);
        }
    }
}

impl Replica {
    /// A session of this device says where it works.
    pub(super) fn place_session(&mut self, session: SessionId, cwd: Foreign, now: Now, out: &mut Effects) {
        let Some(fact) = self.own_session(&session).cloned() else { return };
        if self.staying.exclude.keeps_directory(cwd.json()) && self.why_session(session).is_none() {
            // It goes on where nothing is told of, and stays from now on; what was told is told.
            return self.write_session(session, SessionFact { cwd: Some(cwd), ..fact }, now, out);
        }
        if fact.project.is_some() || fact.cwd.as_ref().is_some_and(|known| *known != cwd) {
            return;
        }
        if fact.cwd.is_none() {
            self.write_session(session, SessionFact { cwd: Some(cwd.clone()), ..fact }, now, out);
        }
        // Asked again with every report until it is answered: the question may have found no room.
        let cwd = cwd.json().to_owned();
        if self.places.waiting.contains_key(&cwd) || self.places.waiting.len() < LOOKED_AT_MAX {
            self.places.waiting.entry(cwd.clone()).or_default().insert(session);
            out.look.push(Look::Repo { cwd });
        }
    }

    /// A record says where a session worked, on this machine or on another: a directory that is not here is no project.
    pub(super) fn place_record(&mut self, session: SessionId, cwd: Foreign, now: Now, out: &mut Effects) {
        let path = cwd.json().to_owned();
        self.place_session(session, cwd, now, out);
        if self.places.waiting.get(&path).is_some_and(|waiting| waiting.contains(&session)) {
            self.places.elsewhere.insert(session);
        }
    }

    /// The repository above a directory is known, or that there is none; `is_here`: the directory itself is surely there.
    pub(super) fn learn_place(&mut self, cwd: &str, repo: Option<&Repo>, is_here: bool, now: Now, out: &mut Effects) {
        for session in self.places.waiting.remove(cwd).unwrap_or_default() {
            if self.places.elsewhere.remove(&session) && repo.is_none() && !is_here {
                continue;
            }
            let Some(fact) = self.own_session(&session).filter(|fact| fact.project.is_none()).cloned() else { continue };
            let branch = fact.branch.clone().or_else(|| repo.and_then(|repo| repo.branch.as_deref()).map(Foreign::new));
            if let Some(project) = projects::key(Some(cwd), repo) {
                self.write_session(session, SessionFact { project: Some(project), branch, ..fact }, now, out);
            }
        }
    }

    fn write_session(&mut self, session: SessionId, fact: SessionFact, now: Now, out: &mut Effects) {
        let key = FactKey::Session(session);
        let rev = self.library.facts().get(&key).map_or(0, Joined::rev) + 1;
        let fact = SessionFact { rev, ..fact };
        self.write(&saved::sessions(&fact), &[(key, saved::json(&fact))], out);
        self.learn_changed(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ask::{Ask, Report, SessionRecord};
    use crate::model::batch::Kept;
    use crate::model::beat::Reported;
    use crate::model::id::{Asker, Life};
    use crate::model::input::{Input, SourceEvent};
    use crate::model::limits::STALE_MS;
    use crate::model::reply::Reply;
    use crate::model::view::{AgentState, AgentView};
    use crate::replica::identity::Identity;
    use ed25519_dalek::SigningKey;

    const HOUR: i64 = 60 * 60 * 1000;
    const WALL: i64 = 1_793_000_000_000;

    struct Node(Replica, Kept);

    fn now(ms: u64) -> Now {
        Now { wall_ms: WALL + i64::try_from(ms).expect("small"), mono_ms: 10_000_000 + ms, boot_ms: 10_000_000 + ms }
    }

    impl Node {
        fn new() -> Node {
            let me = Identity::of(SigningKey::from_bytes(&[7; 32]), "n".into());
            let mut kept = Kept::default();
            let (replica, out) = Replica::open(me, Life { counter: 1, nonce: 7 }, now(0), &kept);
            out.keep.apply_to(&mut kept);
            Node(replica, kept)
        }

        fn step(&mut self, ms: u64, input: Input) -> Effects {
            let out = self.0.step(now(ms), input);
            out.keep.apply_to(&mut self.1);
            out
        }

        fn hook(&mut self, ms: u64, state: Option<Reported>, at: Option<i64>) -> Effects {
            let report = Report {
                agent: "claude".into(),
                state,
                tool: Some("claude".into()),
                session: Some("5c".into()),
                source: "hook",
                cwd: Some("/w".into()),
                at,
                ..Report::default()
            };
            let out = self.step(ms, Input::Ask(Asker(1), Ask::Beat(report)));
            assert!(matches!(out.reply.as_slice(), [(_, Reply::Beat { .. })]), "{:?}", out.reply);
            out
        }

        fn agent(&self) -> AgentView {
            self.0.view().agents.values().next().expect("an agent").as_ref().clone()
        }

        fn fact(&self) -> SessionFact {
            self.0.view().sessions.values().next().expect("a session").fact.clone()
        }
    }

    fn repo(remote: &str) -> Input {
        let repo = Repo { remote: Some(remote.into()), root: "/w".into(), branch: Some("main".into()) };
        Input::Source(SourceEvent::Repo { cwd: "/w".into(), repo: Some(repo) })
    }

    #[test]
    fn its_project_is_written_after_one_look_and_the_first_one_stays() {
        let mut node = Node::new();
        let asked = |out: &Effects| out.look.contains(&Look::Repo { cwd: "/w".into() });
        assert!(asked(&node.hook(1, Some(Reported::Working), None)));
        assert_eq!((node.fact().cwd, node.fact().project), (Some("/w".into()), None));
        assert!(asked(&node.hook(2, None, None)), "it may have found no room");
        let _ = node.step(3, repo("git@example.com:a/b.git"));
        assert_eq!((node.fact().project.as_deref(), node.fact().branch), (Some("example.com/a/b"), Some("main".into())));
        assert!(!asked(&node.hook(4, None, None)));
        let _ = node.step(5, repo("git@example.com:other/one.git"));
        assert_eq!(node.fact().project.as_deref(), Some("example.com/a/b"));
        let mut bare = Node::new();
        let _ = bare.hook(1, None, None);
        let _ = bare.step(2, Input::Source(SourceEvent::Repo { cwd: "/w".into(), repo: None }));
        assert!(bare.fact().project.is_some(), "without a repository the folder is one");
    }

    #[test]
    fn a_directory_of_another_machine_is_no_project_and_a_remote_is_one_wherever_it_ran() {
        let record = |node: &mut Node, ms, remote: Option<&str>| {
            let record = SessionRecord {
                tool: "pi".into(),
                id: "r".into(),
                agent: None,
                cwd: Some("/Users/lena/b".into()),
                remote: remote.map(Into::into),
                branch: None,
                title: None,
                started: None,
            };
            let out = node.step(ms, Input::Ask(Asker(1), Ask::Sessions(vec![record])));
            out.look.contains(&Look::Repo { cwd: "/Users/lena/b".into() })
        };
        let unsure = |repo| Input::Source(SourceEvent::Unsure { cwd: "/Users/lena/b".into(), repo });
        let mut node = Node::new();
        assert!(record(&mut node, 1, None), "it may be here");
        let _ = node.step(2, unsure(None));
        assert_eq!((node.fact().project, node.fact().cwd), (None, Some("/Users/lena/b".into())));
        assert!(node.0.places.elsewhere.is_empty() && node.0.places.waiting.is_empty());
        // Said once more, with what tells everywhere the same.
        assert!(!record(&mut node, 3, Some("git@example.com:a/b.git")), "there is nothing to look for");
        assert_eq!(node.fact().project.as_deref(), Some("example.com/a/b"));
        let mut here = Node::new();
        record(&mut here, 1, None);
        let _ = here.step(2, Input::Source(SourceEvent::Repo { cwd: "/Users/lena/b".into(), repo: None }));
        assert_eq!(here.fact().project.as_deref(), Some("/Users/lena/b"), "a folder that is here is one");
    }

    #[test]
    fn what_waited_takes_no_later_words_place_and_is_no_sign_of_life_of_now() {
        let mut node = Node::new();
        let _ = node.hook(1, Some(Reported::Working), Some(WALL - HOUR));
        let agent = node.agent();
        assert_eq!((agent.state, agent.beat.at, agent.beat.since), (AgentState::Stale, WALL - HOUR, WALL - HOUR));
        assert_eq!(node.fact().started, WALL - HOUR, "it began when it was said");
        let _ = node.hook(2, Some(Reported::Waiting), Some(WALL - 1000));
        assert_eq!(node.agent().state, AgentState::NeedsInput);
        let out = node.hook(3, Some(Reported::Done), Some(WALL - 1001));
        assert!(matches!(out.reply[0].1, Reply::Beat { durable: false, updated: true, .. }));
        assert_eq!((node.agent().state, out.keep.is_empty()), (AgentState::NeedsInput, true));
        let _ = node.hook(4, Some(Reported::Working), Some(WALL + HOUR));
        assert_eq!((node.agent().state, node.agent().beat.at), (AgentState::Working, now(4).wall_ms), "nobody speaks from the future");
        // The same report once more, as a spool that was taken twice brings it.
        let twice = node.hook(5, Some(Reported::Working), Some(now(4).wall_ms));
        assert!(twice.keep.is_empty());
        assert_eq!(node.agent().state, AgentState::Working);
    }

    #[test]
    fn a_hook_that_works_on_is_not_stuck() {
        let mut node = Node::new();
        let _ = node.hook(1, Some(Reported::Working), None);
        let mut ms = 1;
        for _ in 0..12 {
            ms += STALE_MS - 1000;
            let _ = node.hook(ms, Some(Reported::Working), None);
        }
        assert_eq!(node.agent().state, AgentState::Working);
    }
}
