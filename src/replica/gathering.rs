//! What was read in the tools' files, turned into facts: sessions first, then their lists, then the marks.

use crate::model::effects::{Effects, Note};
use crate::model::fact::FactKey;
use crate::model::input::{Root, SourceEvent};
use crate::model::session::{SessionFact, session_id};
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::todo::List;
use crate::rules::projects;
use crate::rules::todos::reading;

use super::facts::Joined;
use super::machine::Replica;
use super::reading::{Place, Told};
use super::saved;

/// The tool whose files these are.
const TOOL: &str = "claude";

impl Replica {
    pub(super) fn hear_source(&mut self, event: SourceEvent, now: Now, out: &mut Effects) {
        let present = |replica: &Replica| replica.reading.shown.get(&Root::ClaudeTodos).is_some_and(|shown| shown.present);
        let before = present(self);
        let gathered = self.reading.hear(event, now, self.library.stamp(), out);
        if present(self) && !before {
            out.note.push(Note::Watching { directories: 1 });
        }
        self.unconsolidated |= !gathered.told.is_empty();
        for (told, place) in gathered.told {
            self.take_in(told, place, now);
        }
        let fresh = self.library.write_gathered(&mut out.keep);
        self.fresh.extend(fresh.into_iter().map(|fresh| (None, fresh)));
        for mark in gathered.marks {
            out.keep.push(mark);
        }
        if gathered.complete {
            self.reading.restamp(self.library.stamp(), out);
            self.consolidate = std::mem::take(&mut self.unconsolidated);
        }
    }

    fn take_in(&mut self, told: Told, place: Place, now: Now) {
        // No file was written later than now, whatever its stamp says; so no reading of ours is, unless our clock was wrong.
        let told = Told { at: told.at.min(now.wall_ms), ..told };
        let session = session_id(&self.me.device, TOOL, &told.session);
        let key = FactKey::Session(session);
        let rev = self.library.facts().get(&key).map_or(0, Joined::rev);
        let before = self.showing.session(&session);
        let newest = |new: Option<String>, old: Option<&Foreign>| new.map(Foreign::new).or_else(|| old.cloned());
        let fact = SessionFact {
            rev,
            device: self.me.device,
            tool: TOOL.to_owned(),
            tool_session: Foreign::new(&*told.session),
            agent: Foreign::new(TOOL),
            project: before.and_then(|b| b.project.clone()).or_else(|| projects::key(place.cwd.as_deref(), place.repo.as_ref())),
            // Its first place stays, as its project does; branch and title are what was read last.
            cwd: before.and_then(|b| b.cwd.clone()).or_else(|| place.cwd.map(Foreign::new)),
            branch: newest(place.branch.or(place.repo.and_then(|repo| repo.branch)), before.and_then(|b| b.branch.as_ref())),
            title: newest(place.title, before.and_then(|b| b.title.as_ref())),
            started: before.map_or_else(|| place.started.unwrap_or(told.at), |b| b.started),
        };
        if before != Some(&fact) {
            let fact = SessionFact { rev: rev + 1, ..fact };
            if self.library.gather(&format!("sessions/{}", saved::month(fact.started)), &key, saved::json(&fact)) {
                self.showing.learn(&key, self.library.facts());
            }
            self.learn_changed(now);
        }
        let Some(list) = told.list else { return };
        let origin = List::Session { session, agent: Foreign::new(told.agent) };
        let facts = reading::read(&self.showing.todos, &origin, self.me.device, &list, told.at, now.wall_ms);
        for fact in facts {
            let (key, value) = saved::todo(&fact);
            if self.library.gather(&self.shard_of(&fact, told.at), &key, value) {
                self.showing.todos.learn(fact);
            }
        }
        self.learn_changed(now);
    }
}
