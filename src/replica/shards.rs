//! What we write: into which shard it goes, and how the facts of one step become few changes.
//!
//! A shard's size binds only its writer, who goes on in the next one. Facts that one step brings are gathered and written
//! together, cut only between items, and count from the moment they are gathered: what is in the documents and what is joined
//! is the same again when the step ends.

use std::collections::BTreeSet;

use crate::model::batch::{Batch, Keep};
use crate::model::fact::FactKey;
use crate::model::id::{Collection, DocId};
use crate::model::limits::{COUNT_MAX, HEARTBEAT_CHANGES_MAX, OWN_CHANGE_OPS_MAX, SHARD_BYTES_MAX};

use super::document::Document;
use super::facts::Facts;
use super::library::{Fresh, Library};
use super::{facts, tidying, writing};

impl Library {
    /// Writes facts that belong together into the writer's shard of `shard`, keeps them, and says what is fresh.
    pub fn write(&mut self, shard: &str, facts: &[(FactKey, String)], keep: &mut Batch) -> Vec<Fresh> {
        for (key, value) in facts {
            if self.gather(shard, key, value.clone()) {
                self.changed.insert(key.clone());
            }
        }
        self.write_gathered(keep)
    }

    /// Takes a fact in that [`Library::write_gathered`] of this step will write into the writer's shard of `shard`, so that many
    /// become one change. `true`: no document said anything of it; who gives it is to learn it too. Else it is among what changed.
    pub fn gather(&mut self, shard: &str, key: &FactKey, value: String) -> bool {
        if !self.gathered.contains_key(shard) && self.writable(shard).is_none() {
            return false;
        }
        // A counter that is used up, by whoever wrote its last value: what is no fact replaces none.
        let is_beyond = matches!(key, FactKey::Rank(_, round, _) if *round > COUNT_MAX);
        if is_beyond || (!key.is_once() && facts::rev_of(key, &value).is_none()) {
            return false;
        }
        let known = self.facts.get(key).is_some();
        // What stands in its document already is not written, and so it must not count either.
        let joined = !(known && key.is_once()) && self.facts.join(key, &value);
        if known {
            self.changed.extend(joined.then(|| key.clone()));
            self.looked_for.insert(key.clone());
        }
        match self.gathered.get_mut(shard) {
            Some(facts) => facts.push((key.clone(), value)),
            None => drop(self.gathered.insert(shard.to_owned(), vec![(key.clone(), value)])),
        }
        joined && !known
    }

    /// Writes what was gathered, keeps it, and says what is fresh.
    pub fn write_gathered(&mut self, keep: &mut Batch) -> Vec<Fresh> {
        let mut fresh = Vec::new();
        let looked_for = std::mem::take(&mut self.looked_for);
        for (shard, facts) in std::mem::take(&mut self.gathered) {
            let Some(id) = self.writable(&shard) else { continue };
            for facts in writing::between_items(&facts, OWN_CHANGE_OPS_MAX) {
                fresh.extend(self.write_one(&id, facts, &looked_for, keep));
            }
            self.note_untidy(&id);
            self.outlive(&id, keep);
        }
        fresh
    }

    fn write_one(&mut self, id: &DocId, facts: &[(FactKey, String)], known: &BTreeSet<FactKey>, keep: &mut Batch) -> Option<Fresh> {
        let actor = self.actor(id);
        let document = self.documents.entry(id.clone()).or_insert_with(|| Document::born(actor));
        let born = document.changes() == 1;
        let (written, chunk) = document.write(facts, |key| known.contains(key));
        for (key, value) in written.into_iter().filter(|(key, _)| known.contains(key)) {
            if self.facts.join(key, value) {
                self.changed.insert(key.clone());
            }
        }
        if chunk.is_empty() {
            return None; // all of it stood here already, as the entries of a fleet that is joined again
        }
        let with_genesis = if born { [&super::genesis::genesis().0[..], &chunk].concat() } else { chunk.clone() };
        keep.push(Keep::Append { doc: id.clone(), chunk: with_genesis });
        Some(Fresh { doc: id.clone(), chunk, changes: 1 })
    }

    /// The shard of `name` that this writer writes: the highest that is there, or the next when that one is full.
    #[must_use]
    pub fn writable(&self, name: &str) -> Option<DocId> {
        let heartbeats = name.contains("heartbeats/");
        let id = |k: u64| match (heartbeats, k) {
            (true, _) => DocId::parse(&format!("{name}/{k}")),
            (false, 1) => DocId::parse(name),
            (false, _) => DocId::parse(&format!("{name}.{k}")),
        };
        let mut k = if heartbeats { self.newest_heartbeats(name).max(self.from.get(name).copied().unwrap_or(0)) } else { 1 };
        while !heartbeats && id(k + 1).is_some_and(|next| self.documents.contains_key(&next)) {
            k += 1;
        }
        let full = |document: &Document| match heartbeats {
            _ if name == "fleet" => false,
            true => document.changes() > HEARTBEAT_CHANGES_MAX,
            false => tidying::would_save(document) >= SHARD_BYTES_MAX,
        };
        let id_k = id(k)?;
        let full = self.closed.contains(&id_k) || self.documents.get(&id_k).is_some_and(full);
        if full { id(k + 1).or(Some(id_k)) } else { Some(id_k) }
    }

    /// From now on beats of that name go so far beyond the newest document that, once one is written there, nobody reads any that
    /// is there now.
    pub fn outlive_by_the_next(&mut self, name: &str) {
        self.from.insert(name.to_owned(), self.newest_heartbeats(name) + 2);
    }

    /// The facts of every document that is not told, as they stand there.
    #[must_use]
    pub fn local(&mut self) -> Vec<(DocId, Facts)> {
        let ids: Vec<DocId> = self.documents.keys().filter(|id| id.is_local()).cloned().collect();
        ids.into_iter().map(|id| (id.clone(), self.joined(|other| *other == id))).collect()
    }

    /// The facts of all documents that are not told, joined.
    #[must_use]
    pub fn local_joined(&mut self) -> Facts {
        self.joined(DocId::is_local)
    }

    fn joined(&mut self, of: impl Fn(&DocId) -> bool) -> Facts {
        let mut facts = Facts::default();
        for (id, document) in self.documents.iter_mut().filter(|(id, _)| of(id)) {
            document.settle();
            for key in document.keys().into_iter().filter(|key| key.belongs_to(id.collection())) {
                for value in document.values(&key) {
                    facts.join(&key, &value);
                }
            }
        }
        facts
    }

    /// Those of these facts that no told document says.
    #[must_use]
    pub fn untold(&mut self, facts: Vec<(FactKey, String)>) -> Vec<(FactKey, String)> {
        let told: Vec<DocId> = self.documents.keys().filter(|id| !id.is_local()).cloned().collect();
        self.documents.values_mut().for_each(Document::settle);
        let says = |key: &FactKey, value: &String| {
            let mut of = told.iter().filter(|id| key.belongs_to(id.collection())).filter_map(|id| self.documents.get(id));
            of.any(|document| document.values(key).contains(value))
        };
        let mut facts: Vec<_> = facts.into_iter().filter(|(key, value)| !says(key, value)).collect();
        facts.sort_by_cached_key(|(key, _)| writing::item(key));
        facts
    }

    /// Writes what a document says again, into the next shard of its name: a peer cannot take the document itself. What stays
    /// here of the same facts stays here.
    pub fn write_again(&mut self, id: &DocId, keep: &mut Batch) -> Vec<Fresh> {
        match id.collection() {
            Collection::Fleet => return Vec::new(),
            Collection::Heartbeats if !self.is_own_heartbeats(id) => return Vec::new(),
            Collection::Heartbeats | Collection::Sessions | Collection::Todos => {}
        }
        let name = id.base().to_owned();
        let Some(document) = self.settled(id) else { return Vec::new() };
        let keys = document.keys();
        let (told, me) = (self.joined(|other| other.is_local() == id.is_local()), self.me);
        let values = |key: FactKey| {
            let value = told.get(&key)?.of(&me)?.to_owned();
            Some((key, value))
        };
        let mut facts: Vec<_> = keys.into_iter().filter_map(values).collect();
        facts.sort_by_cached_key(|(key, _)| writing::item(key));
        self.closed.insert(id.clone());
        self.write(&name, &facts, keep)
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::super::genesis;
    use super::*;
    use crate::model::batch::Kept;
    use crate::model::id::{DeviceId, Life};

    fn library(kept: &Kept, counter: u64) -> Library {
        Library::open(DeviceId([1; 32]), Life { counter, nonce: 1 }, kept)
    }

    fn fact(n: u8, value: usize) -> (FactKey, String) {
        let once = n.is_multiple_of(3);
        (FactKey::Other(format!("{}/{}", if once { "x" } else { "x~" }, n % 9)), format!("{{\"rev\":{value}}}"))
    }

    quickcheck! {
        /// What counts is what stands in the documents: nothing that was gathered counts without being written.
        fn what_was_gathered_is_what_the_documents_say(steps: Vec<(bool, Vec<u8>)>) -> bool {
            let (mut kept, mut keep) = (Kept::default(), Batch::default());
            let mut library = library(&kept, 1);
            let mut rev = 0;
            for (n, (other, of)) in steps.iter().enumerate() {
                for name in of {
                    rev += 1;
                    let (key, value) = fact(*name, rev);
                    let new = library.facts().get(&key).is_none();
                    assert_eq!(library.gather(if *other { "todos/2026-10" } else { "todos/2026-11" }, &key, value), new);
                }
                if n % 2 == 0 {
                    library.write_gathered(&mut keep);
                }
            }
            library.write_gathered(&mut keep);
            keep.apply_to(&mut kept);
            *library.facts() == library.facts_from_scratch() && library.facts() == super::tests::library(&kept, 2).facts()
        }
    }

    #[test]
    fn what_one_step_brings_is_one_change() {
        let (mut library, mut keep) = (library(&Kept::default(), 1), Batch::default());
        for n in 0..40 {
            let (key, value) = fact(n, 1);
            library.gather("todos/2026-11", &key, value);
        }
        let fresh = library.write_gathered(&mut keep);
        assert_eq!((fresh.len(), fresh[0].changes, keep.iter().count()), (1, 1, 1));
        let id = DocId::parse("todos/2026-11").unwrap();
        assert_ne!(library.heads_of(&id), [genesis::HASH]);
        assert!(library.write_gathered(&mut keep).is_empty(), "once");
    }
}
