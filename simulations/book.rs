//! Every change that any disk of a run ever held, by its hash: what it says, and whose number of which author it has (I5).
//! The oracle's plain picture of the facts is drawn from here, not from the library under test.

use std::collections::BTreeMap;
use std::rc::Rc;

use hubless::model::fact::FactKey;
use hubless::model::id::DocId;
use hubless::model::message::Head;
use hubless::replica::chunks::{Raw, Reader, next_change};
use hubless::replica::document::Document;
use hubless::replica::{genesis, guard};
use sha2::{Digest, Sha256};

use super::oracle::Broken;

/// What a walk over bytes may unfold to.
const ALLOWANCE: u64 = 64 << 20;

/// What one change says.
#[derive(Debug)]
pub(crate) struct Written {
    /// In which document.
    pub(crate) doc: DocId,
    /// What it follows.
    pub(crate) deps: Vec<Head>,
    /// The facts, as they stand there.
    pub(crate) puts: Vec<(FactKey, String)>,
}

/// All changes of a run.
#[derive(Default)]
pub(crate) struct Book {
    changes: BTreeMap<Head, Rc<Written>>,
    sequence: BTreeMap<(Vec<u8>, u64), Head>,
}

impl Book {
    /// One change.
    pub(crate) fn get(&self, hash: &Head) -> Option<&Rc<Written>> {
        self.changes.get(hash)
    }

    /// Reads the chunks that were appended to a document's file, or the whole file; gives the hashes of their changes.
    pub(crate) fn read(&mut self, doc: &DocId, bytes: &[u8]) -> Result<Vec<Head>, Broken> {
        let mut hashes = Vec::new();
        for chunk in split(bytes) {
            if chunk.get(8) == Some(&0) {
                let document =
                    Document::load(chunk, [7; 16]).map_err(|e| Broken::new("I3", format!("a save of {doc} does not load: {e}")))?;
                hashes.extend(self.read(doc, &document.since(&[]).0)?);
            } else {
                hashes.push(self.read_change(doc, chunk)?);
            }
        }
        Ok(hashes)
    }

    fn read_change(&mut self, doc: &DocId, chunk: &[u8]) -> Result<Head, Broken> {
        let torn = |what: &dyn std::fmt::Display| Broken::new("I3", format!("{doc} holds what is no change: {what}"));
        let plain = next_change(&mut Reader::new(chunk), &mut { ALLOWANCE }).map_err(|e| torn(&e))?;
        let hash: Head = Sha256::digest(&plain[8..]).into();
        if hash == genesis::HASH || self.changes.contains_key(&hash) {
            return Ok(hash);
        }
        let raw = Raw::read(&plain).map_err(|e| torn(&e))?;
        if let Some(other) = self.sequence.insert((raw.actor.to_vec(), raw.seq), hash) {
            return Err(Broken::new("I5", format!("two changes of {doc} are number {} of one actor: {other:02x?} {hash:02x?}", raw.seq)));
        }
        let checked = guard::changes(doc.collection(), &plain).map_err(|e| torn(&e))?;
        let puts = checked.iter().flat_map(|checked| checked.puts().to_vec()).collect();
        self.changes.insert(hash, Rc::new(Written { doc: doc.clone(), deps: raw.deps.to_vec(), puts }));
        Ok(hash)
    }
}

/// The whole chunks at the front of these bytes, whatever their kind.
pub(crate) fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut from = Reader::new(rest);
        let whole = from.take(9).and_then(|_| from.counted()).is_ok();
        if !whole {
            break;
        }
        let length = rest.len() - from.rest().len();
        chunks.push(&rest[..length]);
        rest = &rest[length..];
    }
    chunks
}

/// The hashes of the changes that a sync message carries.
pub(crate) fn told_in_sync(bytes: &[u8]) -> Option<Vec<Head>> {
    let mut from = Reader::new(bytes);
    from.byte().ok()?;
    from.hashes().ok()?;
    from.hashes().ok()?;
    for _ in 0..from.number().ok()? {
        from.hashes().ok()?;
        from.counted().ok()?;
    }
    let mut told = Vec::new();
    for _ in 0..from.number().ok()? {
        told.extend(told_in_changes(from.counted().ok()?)?);
    }
    Some(told)
}

/// The hashes of concatenated changes.
pub(crate) fn told_in_changes(bytes: &[u8]) -> Option<Vec<Head>> {
    let hash = |chunk: &&[u8]| Some(Sha256::digest(&next_change(&mut Reader::new(chunk), &mut { ALLOWANCE }).ok()?[8..]).into());
    split(bytes).iter().map(hash).collect()
}
