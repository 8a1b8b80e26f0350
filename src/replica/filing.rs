//! Every fact of this device is written here, and here it is decided where it is to stand: in a document that is told, or in one
//! that stays ([`super::staying`] is the rule). What belongs together stays together.

use std::collections::BTreeSet;

use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::limits::FACT_BYTES_MAX;
use crate::model::todo::{ActFact, Deed, TodoFact};
use crate::model::view::Warning;

use super::machine::Replica;
use super::saved::{self, Noun};
use super::staying::{Why, shard};

impl Replica {
    /// Writes facts that belong together into the shard of that name, or here only: the rule decides ([`super::staying`]).
    pub(super) fn write(&mut self, name: &str, facts: &[(FactKey, String)], out: &mut Effects) {
        let facts: Vec<_> = facts.iter().cloned().map(|fact| self.staying.seal.put(fact)).collect();
        for shard in if facts.is_empty() { Vec::new() } else { self.shards(name, &facts) } {
            self.write_into(&shard, &facts, out);
        }
    }

    /// Takes one fact in that is written at the end of the step, where the rule decides. `true`: whoever gives it is to learn it.
    pub(super) fn gather(&mut self, name: &str, fact: (FactKey, String)) -> bool {
        let fact = self.staying.seal.put(fact);
        if !self.fits(&fact) {
            return false;
        }
        let shards = self.shards(name, std::slice::from_ref(&fact));
        let new: Vec<bool> = shards.iter().map(|shard| self.library.gather(shard, &fact.0, fact.1.clone())).collect();
        new.contains(&true)
    }

    /// Writes facts where it was decided that they are to stand.
    pub(super) fn write_into(&mut self, shard: &str, facts: &[(FactKey, String)], out: &mut Effects) {
        let facts: Vec<_> = facts.iter().filter(|fact| self.fits(fact)).cloned().collect();
        let fresh = self.library.write(shard, &facts, &mut out.keep);
        self.fresh.extend(fresh.into_iter().map(|fresh| (None, fresh)));
    }

    /// Whether it is short enough for a fact. A longer one would be dropped by whoever reads it, and its whole document held back.
    fn fits(&mut self, (_, value): &(FactKey, String)) -> bool {
        let fits = value.len() <= FACT_BYTES_MAX;
        if !fits {
            let what = format!("something that a tool wrote is longer than {FACT_BYTES_MAX} bytes and was not kept");
            self.warn("oversized", true, || Warning { what, fix: None });
        }
        fits
    }

    /// Writes what was gathered in this step.
    pub(super) fn write_gathered(&mut self, out: &mut Effects) {
        let fresh = self.library.write_gathered(&mut out.keep);
        self.fresh.extend(fresh.into_iter().map(|fresh| (None, fresh)));
    }

    /// The shards of facts that belong together: if one stays, all do.
    pub(super) fn shards(&mut self, name: &str, facts: &[(FactKey, String)]) -> Vec<String> {
        if self.staying.exclude.is_empty() || name == "fleet" {
            return vec![name.to_owned()];
        }
        let stays = self.stay(facts);
        let mut tells_of = facts.iter().filter_map(|(key, _)| if let FactKey::Session(session) = key { Some(session) } else { None });
        // What is said of a session that stayed is kept here, too: nothing else is judged at the next start.
        let stayed = tells_of.any(|session| self.staying.said.contains_key(session));
        self.note_said(facts, stays);
        let local = (stays || stayed).then(|| shard(true, name));
        local.into_iter().chain((!stays).then(|| name.to_owned())).collect()
    }

    fn stay(&mut self, facts: &[(FactKey, String)]) -> bool {
        let of_deed = facts.len() > 1;
        let new: BTreeSet<&FactKey> = facts.iter().map(|(key, _)| key).filter(|key| matches!(key, FactKey::Item(_))).collect();
        let mut stays = false;
        for (key, value) in facts {
            match self.why_stays(key, value) {
                None => {}
                // What is read for the first time is judged by its own fact.
                Some(Why::Unread) if !new.is_empty() || of_deed && self.is_only_asked(key, value) => {}
                Some(why) => {
                    self.note_awaited(why);
                    stays = true;
                }
            }
        }
        stays
    }

    fn is_only_asked(&self, key: &FactKey, value: &str) -> bool {
        matches!(saved::read(key, value), Some(Noun::Todo(TodoFact::Act(_, ActFact { deed: Deed::Asked, .. }))))
    }

    /// What a fact waits for, that keeps it here.
    pub(super) fn note_awaited(&mut self, why: Why) {
        match why {
            Why::Session(session) => drop(self.staying.awaited.insert(session)),
            Why::Unread => self.staying.unread = true,
            Why::Excluded | Why::Unplaced => {}
        }
    }

    fn note_said(&mut self, facts: &[(FactKey, String)], stays: bool) {
        for (key, value) in facts {
            match (key, stays) {
                (FactKey::Session(session), _) => {
                    if let Some(Noun::Session(_, fact)) = saved::read(key, value)
                        && (stays || self.staying.said.contains_key(session))
                    {
                        self.staying.said.insert(*session, fact);
                    }
                }
                (FactKey::Item(item), true) if self.showing.todos.item(*item).is_none() => drop(self.staying.items.insert(*item)),
                (FactKey::Act(act), true) => drop(self.staying.acts.insert(*act)),
                (_, _) => {}
            }
        }
    }
}
