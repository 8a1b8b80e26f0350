//! All documents: which there are, what they hold together, which shard a writer writes.
//!
//! The facts of a collection are the union over its documents; a shard is never identity. Its size binds only the writer,
//! who goes on in the next shard: no foreign change is refused for its document's size.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ChangeHash;
use automerge::sync::{Message as SyncMessage, State as SyncState};

use crate::model::batch::{Batch, Keep, Shelf};
use crate::model::fact::FactKey;
use crate::model::id::{Collection, DeviceId, DocId, Life};
use crate::model::limits::DOCUMENTS_MAX;
use crate::model::message::{DocHeads, Head};
use crate::model::time::Millis;

use super::document::{Applied, Damaged, Document};
use super::facts::Facts;
use super::guard::Checked;
use super::saved;
use super::tidying;
use super::waiting::Waiting;

/// How many heartbeat documents a device may be ahead of what we know of it: 100 000 are 200 million changes.
const HEARTBEATS_AHEAD_MAX: u64 = 100_000;

/// New changes of one document, to be told to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// Which document.
    pub doc: DocId,
    /// Its new raw chunks.
    pub chunk: Vec<u8>,
    /// How many changes.
    pub changes: u64,
}

/// All documents of this device.
pub struct Library {
    pub(super) me: DeviceId,
    life: Life,
    pub(super) documents: BTreeMap<DocId, Document>,
    pub(super) facts: Facts,
    pub(super) changed: BTreeSet<FactKey>,
    /// Facts to be written by shard, and those of them that may stand in a document already.
    pub(super) gathered: BTreeMap<String, Vec<(FactKey, String)>>,
    pub(super) looked_for: BTreeSet<FactKey>,
    damaged: Vec<(DocId, Damaged)>,
    outlived: Vec<DocId>,
    waiting: Waiting,
    /// What stands for every document that is not there; never written.
    blank: Document,
    pub(super) closed: BTreeSet<DocId>,
    /// The least number of the document that beats of a name are written to.
    pub(super) from: BTreeMap<String, u64>,
    /// Documents to be saved afresh, and when the next step of that is due.
    pub(super) untidy: BTreeSet<DocId>,
    pub(super) tidy_due: Option<Millis>,
    pub(super) unsaved: BTreeSet<DocId>,
    /// How many files of documents lie aside, those among them that are to be set aside now.
    aside: u64,
}

impl Library {
    /// Opens every document on the shelf. One that does not load is left out and named; its facts come again from peers and sources.
    #[must_use]
    pub fn open(me: DeviceId, life: Life, shelf: &dyn Shelf) -> Library {
        let (documents, facts) = (BTreeMap::new(), Facts::default());
        let mut library = Library {
            me,
            life,
            documents,
            facts,
            changed: BTreeSet::new(),
            gathered: BTreeMap::new(),
            looked_for: BTreeSet::new(),
            damaged: Vec::new(),
            outlived: Vec::new(),
            waiting: Waiting::default(),
            blank: Document::born([0xbb; 16]),
            closed: BTreeSet::new(),
            from: BTreeMap::new(),
            untidy: BTreeSet::new(),
            tidy_due: None,
            unsaved: BTreeSet::new(),
            aside: shelf.aside(),
        };
        for id in shelf.documents() {
            let Some(bytes) = shelf.document(&id) else { continue };
            match Document::load(&bytes, library.actor(&id)) {
                Ok(document) => {
                    let keys = document.keys();
                    library.documents.insert(id.clone(), document);
                    library.join(&id, keys);
                    library.note_untidy(&id);
                }
                Err(damaged) => library.damaged.push((id, damaged)),
            }
        }
        library.aside += library.damaged.len() as u64;
        library
    }

    /// A fresh actor for each document of each opening: a lost own change would otherwise use (actor, seq) twice (I5).
    pub(super) fn actor(&self, id: &DocId) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("hubless 1 actor");
        hasher.update(&self.me.0);
        hasher.update(&self.life.counter.to_le_bytes());
        hasher.update(&self.life.nonce.to_le_bytes());
        hasher.update(id.as_str().as_bytes());
        let mut actor = [0; 16];
        actor.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        actor
    }

    /// Documents that did not load, each with why; to be set aside before anything else is written to them.
    #[must_use]
    pub fn damaged(&self) -> &[(DocId, Damaged)] {
        &self.damaged
    }

    /// All facts, joined.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The facts that changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<FactKey> {
        std::mem::take(&mut self.changed)
    }

    /// One document.
    #[must_use]
    pub fn get(&self, id: &DocId) -> Option<&Document> {
        self.documents.get(id)
    }

    /// One document as it is spoken of: one that is not there has nothing in it but the genesis. A name alone, which any
    /// peer can make up, makes no document.
    #[must_use]
    pub fn spoken(&mut self, id: &DocId) -> &Document {
        match self.documents.get_mut(id) {
            Some(document) => {
                document.settle();
                document
            }
            None => &self.blank,
        }
    }

    /// Hears a message of a talk about one document, whose changes have been applied already.
    ///
    /// # Errors
    /// [`Damaged`] when automerge refuses or panics on it.
    pub fn hear(&mut self, id: &DocId, talk: &mut SyncState, message: SyncMessage) -> Result<(), Damaged> {
        match self.documents.get_mut(id) {
            Some(document) => document.hear(talk, message),
            None => self.blank.clone().hear(talk, message),
        }
    }

    fn own(&mut self, id: &DocId) -> &mut Document {
        let actor = self.actor(id);
        self.documents.entry(id.clone()).or_insert_with(|| Document::born(actor))
    }

    /// All documents.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&DocId, &Document)> {
        self.documents.iter()
    }

    /// The heads of all documents that may leave this device and hold something.
    #[must_use]
    pub fn heads(&self) -> Vec<DocHeads> {
        let told = self.documents.iter().filter(|(id, _)| !id.is_local());
        let heads = told.map(|(id, document)| DocHeads { doc: id.clone(), heads: document.heads() });
        heads.filter(|d| d.heads != [super::genesis::HASH]).collect()
    }

    /// The heads of one document; of one that is not there, of the genesis.
    #[must_use]
    pub fn heads_of(&self, id: &DocId) -> Vec<Head> {
        self.documents.get(id).map_or_else(|| vec![super::genesis::HASH], Document::heads)
    }

    /// One document, to be looked into.
    pub fn settled(&mut self, id: &DocId) -> Option<&Document> {
        let document = self.documents.get_mut(id)?;
        document.settle();
        Some(document)
    }

    /// A whole file of a document that reads back as what is here; `None` when there is none.
    pub(super) fn file(&mut self, id: &DocId) -> Option<Vec<u8>> {
        self.documents.get_mut(id)?.file()
    }

    pub(super) fn newest_heartbeats(&self, name: &str) -> u64 {
        let front = format!("{name}/");
        let numbers = self.documents.keys().filter_map(|id| id.as_str().strip_prefix(&front)?.parse().ok());
        numbers.max().unwrap_or(1)
    }

    /// Whether a heartbeat document is older than the last two of its device: it is not read, written or told any more.
    #[must_use]
    pub fn is_outlived(&self, id: &DocId) -> bool {
        if id.collection() != Collection::Heartbeats {
            return false;
        }
        let Some((name, n)) = id.as_str().rsplit_once('/') else { return false };
        n.parse::<u64>().is_ok_and(|n| n.saturating_add(1) < self.newest_heartbeats(name))
    }

    /// The documents that were dropped since this was last asked.
    pub fn take_outlived(&mut self) -> Vec<DocId> {
        std::mem::take(&mut self.outlived)
    }

    /// Documents of which a fresh save did not read back.
    #[must_use]
    pub fn unsaved(&self) -> &BTreeSet<DocId> {
        &self.unsaved
    }

    /// Drops every heartbeat document that was outlived before a crash let it be dropped.
    pub fn outlive_all(&mut self, keep: &mut Batch) {
        let all: Vec<DocId> = self.documents.keys().filter(|id| id.collection() == Collection::Heartbeats).cloned().collect();
        all.iter().for_each(|id| self.outlive(id, keep));
    }

    /// Drops what a newer heartbeat document outlives. It began with every beat that still counted.
    pub(super) fn outlive(&mut self, newer: &DocId, keep: &mut Batch) {
        let Some((name, _)) = newer.as_str().rsplit_once('/').filter(|_| newer.collection() == Collection::Heartbeats) else { return };
        let front = format!("{name}/");
        let old: Vec<DocId> = self.documents.keys().filter(|id| id.as_str().starts_with(&front) && self.is_outlived(id)).cloned().collect();
        for id in old {
            let Some(mut document) = self.documents.remove(&id) else { continue };
            keep.push(Keep::Drop { doc: id.clone() });
            let _ = self.waiting.note(&id, BTreeMap::new(), self.me);
            document.settle();
            let keys = document.keys();
            let device = id.beats_of().and_then(|device| device.parse().ok());
            keys.iter().for_each(|key| self.facts.forget(key, device.as_ref()));
            // Beats that stayed here once stand in documents of both kinds.
            let left: Vec<DocId> = self.documents.keys().filter(|left| left.beats_of() == id.beats_of()).cloned().collect();
            left.iter().for_each(|id| self.join(id, keys.clone()));
            // What later kinds say may stand anywhere.
            let others: Vec<FactKey> = keys.iter().filter(|key| matches!(key, FactKey::Other(_))).cloned().collect();
            let all: Vec<DocId> = self.documents.keys().filter(|_| !others.is_empty()).cloned().collect();
            all.iter().for_each(|id| self.join(id, others.clone()));
            self.changed.extend(keys);
            self.outlived.push(id);
        }
    }

    /// Takes changes of one document that came from a device, keeps what is new, and says what is fresh.
    ///
    /// # Errors
    /// [`Damaged`] when they cannot be taken; then nothing has changed.
    pub fn apply(
        &mut self,
        id: &DocId,
        foreign: Vec<Checked>,
        from: DeviceId,
        keep: &mut Batch,
    ) -> Result<(Applied, Option<Fresh>), Damaged> {
        if foreign.is_empty() {
            return Ok((Applied::default(), None));
        }
        if !self.documents.contains_key(id) && (self.documents.len() >= DOCUMENTS_MAX || self.is_far(id)) {
            return Err(Damaged("there are more documents than are held, or its number is far ahead".into()));
        }
        let document = self.own(id);
        let born = document.changes() == 1;
        let applied = document.apply(foreign);
        let waiting = document.waiting();
        if born && document.is_blank() {
            self.documents.remove(id);
        }
        let mut applied = applied?;
        if self.bound_waiting(id, waiting, from) {
            applied.unfit.get_or_insert_with(|| "more changes wait for their dependencies than are held of one device".into());
        }
        if applied.changes == 0 {
            return Ok((applied, None));
        }
        let chunk = if born { [&super::genesis::genesis().0[..], &applied.chunk].concat() } else { applied.chunk.clone() };
        keep.push(Keep::Append { doc: id.clone(), chunk });
        self.join(id, applied.keys.iter().cloned().collect());
        self.note_untidy(id);
        if !self.is_own_heartbeats(id) {
            // Ours are outlived only by what we write, which says all that still counts.
            self.outlive(id, keep);
        }
        let fresh = Fresh { doc: id.clone(), chunk: applied.chunk.clone(), changes: applied.changes };
        Ok((applied, Some(fresh)))
    }

    /// Holds what waits in its bounds; true when it is what came that was let go.
    fn bound_waiting(&mut self, id: &DocId, waiting: BTreeMap<ChangeHash, usize>, from: DeviceId) -> bool {
        let over = self.waiting.note(id, waiting, from);
        for (id, hashes) in &over {
            let Some(document) = self.documents.get_mut(id) else { continue };
            document.let_go(hashes);
            if document.is_blank() {
                self.documents.remove(id);
            }
        }
        over.contains_key(id)
    }

    pub(super) fn is_own_heartbeats(&self, id: &DocId) -> bool {
        id.beats_of() == Some(&self.me.to_string())
    }

    /// Whether a heartbeat document's number is further ahead than its device can have written meanwhile: a name that a
    /// peer made up would outlive all true ones.
    fn is_far(&self, id: &DocId) -> bool {
        let Some((name, n)) = id.as_str().rsplit_once('/').filter(|_| id.collection() == Collection::Heartbeats) else { return false };
        n.parse::<u64>().map_or(true, |n| n > self.newest_heartbeats(name).saturating_add(HEARTBEATS_AHEAD_MAX))
    }

    pub(super) fn note_untidy(&mut self, id: &DocId) {
        if self.documents.get(id).is_some_and(tidying::is_untidy) {
            self.untidy.insert(id.clone());
        }
    }

    fn join(&mut self, id: &DocId, keys: Vec<FactKey>) {
        let Some(document) = self.documents.get_mut(id) else { return };
        document.settle();
        for key in keys {
            for value in document.values(&key).into_iter().filter(|value| saved::may_stand_in(id, &key, value)) {
                if self.facts.join(&key, &value) {
                    self.changed.insert(key.clone());
                }
            }
        }
    }

    /// All facts joined again from the documents alone (I13: what is kept up to date must equal it).
    #[must_use]
    pub fn facts_from_scratch(&self) -> Facts {
        let mut facts = Facts::default();
        for (id, document) in &self.documents {
            for key in document.keys() {
                for value in document.values(&key).into_iter().filter(|value| saved::may_stand_in(id, &key, value)) {
                    facts.join(&key, &value);
                }
            }
        }
        facts
    }

    /// A stamp of which documents of sessions and todos there are, and of how many files were ever set aside; checkpoints carry
    /// it, so that what was in a lost or damaged document is read again, also after a crash before anything was kept.
    #[must_use]
    pub fn stamp(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("hubless 1 stamp of documents");
        for id in self.documents.keys().filter(|id| matches!(id.collection(), Collection::Sessions | Collection::Todos)) {
            hasher.update(id.as_str().as_bytes());
            hasher.update(b"\n");
        }
        hasher.update(&self.aside.to_le_bytes());
        let mut stamp = [0; 16];
        stamp.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        stamp
    }
}

/// One hash over all (document, heads): equal on two devices only where all is level.
#[must_use]
pub fn digest(heads: &[DocHeads]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("hubless 1 all heads");
    for DocHeads { doc, heads } in heads {
        hasher.update(&(doc.as_str().len() as u64).to_le_bytes());
        hasher.update(doc.as_str().as_bytes());
        hasher.update(&(heads.len() as u64).to_le_bytes());
        for head in heads {
            hasher.update(head);
        }
    }
    *hasher.finalize().as_bytes()
}
