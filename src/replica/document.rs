//! One automerge document as a grow-only set of facts; everything that knows automerge's inside.
//!
//! Every document begins with the same genesis change, so that two devices that make it apart can merge it. A fact is one
//! `Str` in the map of the first byte of its name's hash. Foreign changes are applied to a clone inside `catch_unwind` and
//! swapped in on success: automerge panics are a fact of operation (RELIABILITY 8), and must cost one document of one peer.
//! Changes whose dependencies have not come wait here, and never in automerge's own unbounded queue; how many may is
//! [`super::waiting`]'s.
//!
//! What we write is built beside the library ([`writing`]) and shown to it when somebody has to look into the document: to
//! say it, to change it, to save it. Until then it is *ahead*; in every other respect it is in the document at once.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::OpId;
use automerge::sync::{ChunkList, Message as SyncMessage, State as SyncState, SyncDoc};
use automerge::{ActorId, Automerge, Change, ChangeHash, LoadOptions, ObjId, OnPartialLoad, ReadDoc};

use crate::model::fact::FactKey;
use crate::model::message::Head;

use super::chunks;
use super::genesis;
use super::guard::Checked;
use super::lineage;
use super::writing::{self, Line};

/// Changes that one message asks for by name; more are asked for later (the guard of every device takes 1 024).
const NEED_MAX: usize = 1_000;

/// Bytes of changes beyond which a sync message goes in pieces; a message has at most 32 MiB (DESIGN §7).
const PIECE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What one talk says next.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Changes that go before the message, in this order, because they are too many for it.
    pub pieces: Vec<Vec<u8>>,
    /// The sync message, encoded.
    pub message: Vec<u8>,
    /// Whether there are changes in it, or before it.
    pub carries: bool,
}

/// A document that does not load, or a foreign change that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged: {0}")]
pub struct Damaged(pub String);

/// What became of foreign changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The raw chunks that are new here, dependencies first: to be kept, and told to others.
    pub chunk: Vec<u8>,
    /// How many changes those are.
    pub changes: u64,
    /// The facts that they touch.
    pub keys: BTreeSet<FactKey>,
    /// Whether some wait for a dependency.
    pub missing: bool,
    /// Whether changes that had waited were let go: who sent the last one need not have them.
    pub released: bool,
    /// Why one of those that came can never be taken.
    pub unfit: Option<String>,
}

fn bucket_of(name: &str) -> ObjId {
    genesis::bucket_object(genesis::bucket(name))
}

fn max_op(doc: &Automerge) -> u64 {
    doc.get_heads().iter().filter_map(|head| doc.get_change_meta_by_hash(head)).map(|meta| meta.max_op).max().unwrap_or(0)
}

/// One document.
#[derive(Clone)]
pub struct Document {
    doc: Automerge,
    /// Own changes that the library has not seen yet, each following the one before.
    ahead: Vec<Change>,
    /// Our last change and its number, if we have written since the opening.
    last: Option<(ChangeHash, u64)>,
    /// The highest operation, those ahead included.
    max_op: u64,
    orphans: BTreeMap<ChangeHash, Checked>,
    changes: u64,
    saved_bytes: usize,
    appended_bytes: usize,
}

impl Document {
    /// A document with nothing in it but the genesis; the actor must be new for every document and every opening.
    #[must_use]
    pub fn born(actor: [u8; 16]) -> Document {
        let mut doc = Automerge::new().with_actor(ActorId::from(&actor[..]));
        let genesis = Change::from_bytes(genesis::genesis().0).expect("the genesis change is a constant that a test reads");
        doc.apply_changes([genesis]).expect("the genesis change depends on nothing");
        Document::around(doc, 0)
    }

    fn around(doc: Automerge, saved_bytes: usize) -> Document {
        let changes = doc.get_changes_meta(&[]).len() as u64;
        let max_op = max_op(&doc);
        Document { doc, ahead: Vec::new(), last: None, max_op, orphans: BTreeMap::new(), changes, saved_bytes, appended_bytes: 0 }
    }

    /// Reads a document's file: a save and the chunks appended to it, or chunks alone.
    ///
    /// # Errors
    /// [`Damaged`] when automerge cannot read it, or it does not begin with our genesis.
    pub fn load(bytes: &[u8], actor: [u8; 16]) -> Result<Document, Damaged> {
        let load = || Automerge::load_with_options(bytes, LoadOptions::new().on_partial_load(OnPartialLoad::Ignore));
        let doc = catch_unwind(AssertUnwindSafe(load)).map_err(|_| Damaged("automerge panicked on it".into()))?;
        let doc = doc.map_err(|e| Damaged(e.to_string()))?;
        if doc.get_change_meta_by_hash(&ChangeHash(genesis::HASH)).is_none() {
            return Err(Damaged("it does not begin with the genesis".into()));
        }
        let saved_bytes = chunks::saved_bytes(bytes);
        let document = Document::around(doc.with_actor(ActorId::from(&actor[..])), saved_bytes);
        Ok(Document { appended_bytes: bytes.len() - saved_bytes, ..document })
    }

    /// Whether the library has not seen all of it.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Shows the library what is ahead of it.
    pub fn settle(&mut self) {
        if !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            self.doc.apply_changes(ahead).expect("our own changes follow from their document");
        }
    }

    /// The document with what is ahead of it; borrowed where that is nothing.
    fn whole(&self) -> Cow<'_, Automerge> {
        if self.ahead.is_empty() {
            return Cow::Borrowed(&self.doc);
        }
        let mut doc = self.doc.clone();
        doc.apply_changes(self.ahead.clone()).expect("our own changes follow from their document");
        Cow::Owned(doc)
    }

    /// Writes facts that belong together as one change, and gives its raw chunk; empty when nothing of it is new.
    ///
    /// A once fact that stands here already is not written again: a second value would replace the first, and no device
    /// takes a change that does. Nor is a latest one whose value stands here, and no other.
    pub fn put(&mut self, facts: &[(FactKey, String)]) -> Vec<u8> {
        self.write(facts, |_| true).1
    }

    /// The same, where `known` says whether a fact may be in any document: one that is in none is not looked for in this one.
    /// Gives what was written, too.
    pub fn write<'f>(&mut self, facts: &'f [(FactKey, String)], known: impl Fn(&FactKey) -> bool) -> (Vec<&'f (FactKey, String)>, Vec<u8>) {
        let mut new = writing::once_each(facts);
        if new.iter().any(|(key, _)| known(key)) {
            self.settle();
            new.retain(|(key, value)| !known(key) || !self.says(key, value));
        }
        if new.is_empty() {
            return (new, Vec::new());
        }
        let mut chunk = self.join_heads();
        let heads = self.ahead.last().map_or_else(|| self.doc.get_heads(), |last| vec![last.hash()]);
        let line = Line { actor: self.doc.get_actor().clone(), last: self.last, heads, max_op: self.max_op };
        let replaced = |key: &FactKey, name: &str| if known(key) { self.replaced(name) } else { Vec::new() };
        let change = writing::change(line, &new, replaced);
        chunk.extend(change.raw_bytes());
        (self.last, self.max_op) = (Some((change.hash(), change.seq())), change.max_op());
        self.changes += 1;
        self.ahead.push(change);
        self.appended_bytes += chunk.len();
        (new, chunk)
    }

    /// Whether writing this would say nothing new: a once fact has a value, a latest one just this.
    fn says(&self, key: &FactKey, value: &str) -> bool {
        let name = key.to_string();
        let all = self.doc.get_all(bucket_of(&name), name).unwrap_or_default();
        if key.is_once() { !all.is_empty() } else { matches!(all.as_slice(), [(one, _)] if one.as_str() == Some(value)) }
    }

    /// Joins heads until one change may name them all, and gives the raw chunks of the changes that do.
    fn join_heads(&mut self) -> Vec<u8> {
        let mut chunk = Vec::new();
        while self.ahead.is_empty()
            && let Some(join) = lineage::joining(&self.doc)
        {
            chunk.extend(join.raw_bytes());
            self.last = Some((join.hash(), join.seq()));
            self.changes += 1;
            self.doc.apply_changes([join]).expect("a change that joins heads of this document follows from them");
        }
        chunk
    }

    /// The operations that give a fact its values now, of all that the library has seen.
    fn replaced(&self, name: &str) -> Vec<OpId> {
        let all = self.doc.get_all(bucket_of(name), name).unwrap_or_default();
        all.into_iter()
            .filter_map(|(_, id)| if let ObjId::Id(counter, actor, _) = id { Some(OpId(counter, actor)) } else { None })
            .collect()
    }

    /// Takes foreign changes, those that waited for them too. What is unfit is left out and named; on an error the document
    /// is as before.
    ///
    /// # Errors
    /// [`Damaged`] when automerge refuses or panics on one.
    pub fn apply(&mut self, foreign: Vec<Checked>) -> Result<Applied, Damaged> {
        self.settle();
        let mut waiting = self.orphans.clone();
        let mut came = BTreeSet::new();
        for change in foreign {
            let hash = ChangeHash(change.hash());
            if self.doc.get_change_meta_by_hash(&hash).is_none() {
                came.insert(hash);
                waiting.insert(hash, change);
            }
        }
        let ready = lineage::ready(&self.doc, &mut waiting);
        let unfit = ready.unfit.iter().find(|(hash, _)| came.contains(hash)).map(|(_, why)| why.to_string());
        // What has waited for long, perhaps for what nobody has, is no reason to ask again.
        let missing = came.iter().any(|hash| waiting.contains_key(hash));
        let mut applied = Applied { missing, unfit, ..Applied::default() };
        if !ready.changes.is_empty() {
            let changes: Vec<Change> = ready.changes.iter().map(|c| c.change().clone()).collect();
            let mut next = self.doc.clone();
            let apply = AssertUnwindSafe(|| next.apply_changes(changes).map(|()| next));
            self.doc =
                catch_unwind(apply).map_err(|_| Damaged("automerge panicked on a change".into()))?.map_err(|e| Damaged(e.to_string()))?;
            for change in ready.changes {
                applied.released |= !came.contains(&ChangeHash(change.hash()));
                applied.chunk.extend(change.change().raw_bytes());
                applied.keys.extend(change.puts().iter().map(|(key, _)| key.clone()));
                applied.changes += 1;
            }
            self.appended_bytes += applied.chunk.len();
            self.changes += applied.changes;
            self.max_op = max_op(&self.doc);
        }
        self.orphans = waiting;
        Ok(applied)
    }

    /// Every value of a fact that no later change of its writer replaced.
    #[must_use]
    pub fn values(&self, key: &FactKey) -> Vec<String> {
        let name = key.to_string();
        let doc = self.whole();
        let all = doc.get_all(bucket_of(&name), name).unwrap_or_default();
        all.into_iter().filter_map(|(value, _)| value.as_str().map(str::to_owned)).collect()
    }

    /// The names of all facts in it.
    #[must_use]
    pub fn keys(&self) -> Vec<FactKey> {
        let doc = self.whole();
        (0..=u8::MAX).flat_map(|bucket| doc.keys(genesis::bucket_object(bucket))).filter_map(|key| key.parse().ok()).collect()
    }

    /// Whether it has that change.
    #[must_use]
    pub fn has(&self, change: &Head) -> bool {
        let hash = ChangeHash(*change);
        self.ahead.iter().any(|ahead| ahead.hash() == hash) || self.doc.get_change_meta_by_hash(&hash).is_some()
    }

    /// Its heads, sorted.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        match self.ahead.last() {
            Some(last) => vec![last.hash().0],
            None => self.doc.get_heads().iter().map(|head| head.0).collect(),
        }
    }

    /// The raw chunks of every change that `heads` do not name or follow from; heads that are not known here count for nothing.
    #[must_use]
    pub fn since(&self, heads: &[Head]) -> (Vec<u8>, u64) {
        let doc = self.whole();
        let known: Vec<ChangeHash> = heads.iter().map(|h| ChangeHash(*h)).filter(|h| doc.get_change_meta_by_hash(h).is_some()).collect();
        let changes = doc.get_changes(&known);
        let mut bytes = Vec::new();
        for change in &changes {
            bytes.extend(change.raw_bytes());
        }
        (bytes, changes.len() as u64)
    }

    /// The (actor, seq) of every change in it, for the invariant that no two changes share one.
    #[must_use]
    pub fn sequence(&self) -> Vec<(Vec<u8>, u64, Head)> {
        self.whole().get_changes_meta(&[]).iter().map(|m| (m.actor.to_bytes().to_vec(), m.seq, m.hash.0)).collect()
    }

    /// A fresh save, after which appended bytes count from nothing again; `None` when it does not read back as what is here, so
    /// that it must not take the place of the file.
    pub fn save(&mut self) -> Option<Vec<u8>> {
        self.settle();
        let bytes = self.doc.save();
        (self.saved_bytes, self.appended_bytes) = (bytes.len(), 0);
        self.reads_back(&bytes).then_some(bytes)
    }

    fn reads_back(&self, bytes: &[u8]) -> bool {
        Document::load(bytes, [0xdd; 16]).is_ok_and(|read| read.heads() == self.heads())
    }

    /// What a file of it is to hold: a fresh save, else every change as it came; `None` when neither reads back as what is here.
    pub fn file(&mut self) -> Option<Vec<u8>> {
        self.save().or_else(|| {
            let bytes = self.since(&[]).0;
            self.appended_bytes = bytes.len();
            self.saved_bytes = 0;
            self.reads_back(&bytes).then_some(bytes)
        })
    }

    /// Bytes of the last save.
    #[must_use]
    pub fn saved_bytes(&self) -> usize {
        self.saved_bytes
    }

    /// Bytes appended since.
    #[must_use]
    pub fn appended_bytes(&self) -> usize {
        self.appended_bytes
    }

    /// Whether it holds nothing but the genesis, and nothing waits in it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.changes <= 1 && self.orphans.is_empty()
    }

    /// The changes that wait for a dependency, and how many bytes each has.
    #[must_use]
    pub fn waiting(&self) -> BTreeMap<ChangeHash, usize> {
        self.orphans.iter().map(|(hash, change)| (*hash, change.change().raw_bytes().len())).collect()
    }

    /// Lets some of those go.
    pub fn let_go(&mut self, hashes: &BTreeSet<ChangeHash>) {
        self.orphans.retain(|hash, _| !hashes.contains(hash));
    }

    /// How many changes it has.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The next words of one talk; `None`: nothing to say until something changes or is heard.
    pub fn say(&self, talk: &mut SyncState) -> Option<Said> {
        self.next(talk, true)
    }

    /// The next words of one talk in which nothing of ours is given: what is held here, and what is wanted.
    pub fn ask(&self, talk: &mut SyncState) -> Option<Said> {
        self.next(talk, false)
    }

    fn next(&self, talk: &mut SyncState, gives: bool) -> Option<Said> {
        let mut message = self.whole().generate_sync_message(talk)?;
        if !gives {
            message.changes = ChunkList::empty();
        }
        let carries = message.changes.iter().next().is_some();
        // Without flags the other side never answers with its whole document in one compressed chunk (version 2).
        message.flags = None;
        message.need.extend(self.doc.get_missing_deps(&[]));
        let wanted = self.orphans.values().flat_map(|c| c.change().deps().iter().copied());
        message.need.extend(wanted.filter(|d| !self.orphans.contains_key(d) && self.doc.get_change_meta_by_hash(d).is_none()));
        message.need.sort_unstable();
        message.need.dedup();
        message.need.truncate(NEED_MAX);
        let mut pieces = Vec::new();
        if message.changes.iter().map(<[u8]>::len).sum::<usize>() > PIECE_BYTES_MAX {
            for change in message.changes.iter() {
                match pieces.last_mut() {
                    Some(piece) if Vec::len(piece) + change.len() <= PIECE_BYTES_MAX => piece.extend(change),
                    Some(_) | None => pieces.push(change.to_vec()),
                }
            }
            message.changes = ChunkList::empty();
        }
        Some(Said { pieces, message: message.encode(), carries })
    }

    /// Hears a sync message, whose changes have been applied already.
    ///
    /// The library sees it without changes and with heads that are ours by now, and takes that for an answer to heads we
    /// said. We did not, and the other talks on until it hears them: what we said last is what it was.
    ///
    /// # Errors
    /// [`Damaged`] when automerge refuses or panics on it.
    pub fn hear(&mut self, talk: &mut SyncState, message: SyncMessage) -> Result<(), Damaged> {
        self.settle();
        let said = talk.last_sent_heads.clone();
        let heard = catch_unwind(AssertUnwindSafe(|| self.doc.receive_sync_message(talk, message)));
        heard.map_err(|_| Damaged("automerge panicked on a message".into()))?.map_err(|e| Damaged(e.to_string()))?;
        talk.last_sent_heads = said;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{Collection, ItemId};
    use crate::replica::guard;

    fn item(n: u32) -> (FactKey, String) {
        (FactKey::Item(ItemId::of(&[&n.to_le_bytes()])), format!("{{\"n\":{n}}}"))
    }

    fn told(bytes: &[u8]) -> Vec<Checked> {
        guard::changes(Collection::Todos, bytes).expect("our own changes pass our own guard")
    }

    #[test]
    fn two_documents_born_apart_merge_and_hide_nothing() {
        let (mut a, mut b) = (Document::born([1; 16]), Document::born([2; 16]));
        let (from_a, from_b) = (a.put(&[item(1)]), b.put(&[item(1), item(2)]));
        a.apply(told(&from_b)).expect("a change that follows from the genesis");
        b.apply(told(&from_a)).expect("a change that follows from the genesis");
        assert_eq!(a.heads(), b.heads());
        assert_eq!(a.keys(), b.keys());
        assert_eq!(a.values(&item(1).0).len(), 2, "two writers of one key both count");
    }

    #[test]
    fn who_was_brought_up_to_date_says_so_and_then_both_are_silent() {
        let (mut a, mut b) = (Document::born([1; 16]), Document::born([2; 16]));
        a.put(&[item(1)]);
        let (mut of_a, mut of_b) = (SyncState::new(), SyncState::new());
        for _ in 0..8 {
            let (from_a, from_b) = (a.say(&mut of_a), b.say(&mut of_b));
            for (bytes, to, talk) in [(from_a, &mut b, &mut of_b), (from_b, &mut a, &mut of_a)] {
                let Some(bytes) = bytes else { continue };
                let (message, foreign) =
                    guard::sync_message(Collection::Todos, &bytes.message).expect("our own message passes our own guard");
                to.apply(foreign).expect("it follows from the genesis");
                to.hear(talk, message).expect("our own message");
            }
        }
        let known = |talk: &SyncState| talk.their_heads.iter().flatten().map(|head| head.0).collect::<Vec<_>>();
        assert_eq!((known(&of_a), known(&of_b)), (a.heads(), a.heads()), "each knows that the other has it");
        assert_eq!((a.say(&mut of_a), b.say(&mut of_b)), (None, None));
    }

    #[test]
    fn a_change_whose_dependency_is_missing_waits_and_is_applied_with_it() {
        let (mut a, mut b) = (Document::born([1; 16]), Document::born([2; 16]));
        let (first, second) = (a.put(&[item(1)]), a.put(&[item(2)]));
        let applied = b.apply(told(&second)).expect("it may wait");
        assert!(applied.missing && applied.changes == 0 && b.keys().is_empty());
        let applied = b.apply(told(&first)).expect("it follows from the genesis");
        assert!(!applied.missing && applied.changes == 2);
        assert_eq!(b.heads(), a.heads());
        assert_eq!(b.apply(told(&first)).expect("known already").changes, 0);
    }

    #[test]
    fn a_file_of_chunks_and_a_save_with_chunks_both_load() {
        let mut a = Document::born([1; 16]);
        let mut file = genesis::genesis().0;
        file.extend(a.put(&[item(1)]));
        let loaded = Document::load(&file, [2; 16]).expect("chunks alone");
        assert_eq!(loaded.heads(), a.heads());
        let mut file = a.save().expect("it reads back");
        file.extend(a.put(&[item(2)]));
        let loaded = Document::load(&file, [3; 16]).expect("a save and a chunk");
        assert_eq!((loaded.heads(), loaded.keys()), (a.heads(), a.keys()));
        assert!(Document::load(b"junk", [4; 16]).is_err());
        assert!(Document::load(&Automerge::new().save(), [4; 16]).is_err(), "another beginning is not ours");
    }

    #[test]
    fn a_save_that_does_not_read_back_is_none() {
        use automerge::transaction::Transactable;
        use automerge::{ObjType, ROOT};
        let mut a = Document::born([1; 16]);
        a.put(&[item(1)]);
        assert!(a.save().is_some());
        // As a change that overwrites on another key would leave it (see `lineage`), if one ever came past the guard.
        let mut doc = Automerge::new().with_actor(ActorId::from(&[2; 16][..]));
        let mut tx = doc.transaction();
        tx.put_object(ROOT, "00", ObjType::Map).expect("an empty document");
        tx.commit();
        assert!(Document::around(doc, 0).save().is_none(), "without the genesis nothing of it could be read");
    }

    #[test]
    fn many_heads_are_tied_before_the_next_change() {
        let mut a = Document::born([1; 16]);
        for n in 0..450_u32 {
            let mut actor = [9; 16];
            actor[..4].copy_from_slice(&n.to_le_bytes());
            let chunk = Document::born(actor).put(&[item(n)]);
            a.apply(told(&chunk)).expect("it follows from the genesis");
        }
        assert_eq!(a.heads().len(), 450);
        let then = a.heads();
        a.put(&[item(1_000)]);
        assert_eq!(a.heads().len(), 1);
        told(&a.since(&then).0);
    }

    #[test]
    fn a_document_too_large_for_a_message_is_told_in_pieces() {
        let (mut a, mut b) = (Document::born([1; 16]), Document::born([2; 16]));
        for n in 0..90_u32 {
            a.put(&[(FactKey::Item(ItemId::of(&[&n.to_le_bytes()])), "x".repeat(60 * 1024))]);
        }
        let (mut of_a, mut of_b) = (SyncState::new(), SyncState::new());
        let asked = b.say(&mut of_b).expect("the first word");
        let (message, _) = guard::sync_message(Collection::Todos, &asked.message).expect("our own message");
        a.hear(&mut of_a, message).expect("a first word");
        let said = a.say(&mut of_a).expect("90 changes to tell");
        assert!(said.pieces.len() > 1 && said.pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
        for piece in said.pieces {
            b.apply(told(&piece)).expect("they come in order");
        }
        assert_eq!(b.heads(), a.heads());
    }
}
