//! A member may write what only we should. A stamp of ours that is years ahead moves our clock no further than another's
//! would. A beat of ours may get a number that we never reach: nothing we write after it would
//! count, on any device. So our beats begin anew in a document that outlives the one it stands in; nobody reads that any more.
//!
//! It costs us one document for each time, and the other as much.

use crate::model::beat::{Beat, agent_key};
use crate::model::effects::{Effects, Note};
use crate::model::fact::FactKey;
use crate::model::limits::PLANTED_REV;
use crate::model::time::{Now, Stamp};
use crate::model::view::AgentKey;

use super::machine::Replica;
use super::saved::{self, Noun};

impl Replica {
    /// The stamps in documents pull ours along only so far, those under our own name, too: anybody can write that. What this life
    /// stamps is later than what it stamped before in any case.
    pub(super) fn raise_clock(&mut self, act: &str, now: Now) {
        #[derive(serde::Deserialize)]
        struct Stamped {
            at: Stamp,
        }
        if let Ok(Stamped { at }) = serde_json::from_str(act) {
            self.hlc = self.hlc.raised_by(at, now.wall_ms);
        }
    }

    /// Notices a beat of ours whose number cannot be our own, before it is shown.
    pub(super) fn notice_planted(&mut self, key: &FactKey) {
        let FactKey::Beat(session, agent) = key else { return };
        if self.library.facts().rev(key, &self.me.device) < PLANTED_REV {
            return;
        }
        let row = AgentKey { device: self.me.device, agent: agent.clone(), session: *session };
        if self.planted.contains_key(&row) {
            return;
        }
        let said = self.library.facts().get(key).and_then(|joined| joined.of(&self.me.device)).and_then(|value| saved::read(key, value));
        let known = self.showing.beat(&row).filter(|beat| beat.rev < PLANTED_REV).cloned();
        if let Some(beat) = known.or(if let Some(Noun::Beat(beat)) = said { Some(Beat { rev: 1, ..beat }) } else { None }) {
            self.planted.insert(row, beat);
        }
    }

    /// Writes our beats, as we know them, where they outlive what was planted.
    pub(super) fn outlive_planted(&mut self, now: Now, out: &mut Effects) {
        let planted = std::mem::take(&mut self.planted);
        if planted.is_empty() {
            return;
        }
        let mut beats = planted.clone();
        let written = self.showing.beats_of(self.me.device).filter(|beat| beat.rev < PLANTED_REV && beat.state.is_alive());
        beats.extend(written.map(|beat| (super::presence::key_of(beat), beat.clone())));
        beats.extend(self.presences.own().iter().map(|(key, alive)| (key.clone(), alive.beat.clone())));
        beats.retain(|_, beat| beat.rev < PLANTED_REV && !self.staying.sessions.contains_key(&beat.session));
        let fact = |beat: &Beat| (FactKey::Beat(beat.session, agent_key(&beat.agent)), saved::json(beat));
        let facts: Vec<_> = beats.values().map(fact).collect();
        let name = format!("heartbeats/{}", self.me.device);
        self.library.outlive_by_the_next(&name);
        self.write(&name, &facts, out);
        self.learn_changed(now);
        let what = format!("{} of this device's agents were given beats that are not its own; they were written anew", planted.len());
        out.note.push(Note::SetAside { what });
    }
}
