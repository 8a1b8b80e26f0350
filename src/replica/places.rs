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
}

impl Replica {
    /// A session of this device says where it works.
    pub(super) fn place_session(&mut self, session: SessionId, cwd: Foreign, now: Now, out: &mut Effects) {
        let Some(fact) = self.showing.session(&session).cloned() else { return };
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

    /// The repository above a directory is known, or that there is none.
    pub(super) fn learn_place(&mut self, cwd: &str, repo: Option<&Repo>, now: Now, out: &mut Effects) {
        for session in self.places.waiting.remove(cwd).unwrap_or_default() {
            let Some(fact) = self.showing.session(&session).filter(|fact| fact.project.is_none()).cloned() else { continue };
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
        self.write(&format!("sessions/{}", saved::month(fact.started)), &[(key, saved::json(&fact))], out);
        self.learn_changed(now);
    }
}
