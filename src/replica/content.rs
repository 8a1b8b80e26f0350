//! What a document says, as one hash: its facts and their values, not their history. Two documents with equal heads say the same, or something is
//! broken.

use std::collections::BTreeMap;

use crate::model::id::DocId;
use crate::model::message::{Head, Holding};

use super::document::Document;
use super::library::Library;

/// Bytes of documents that one step hashes: some milliseconds.
const STEP_BYTES: usize = 256 * 1024;

/// The hash of what a document says.
#[must_use]
pub fn content(document: &Document) -> [u8; 32] {
    let mut names: Vec<_> = document.keys().into_iter().map(|key| (key.to_string(), key)).collect();
    names.sort();
    let mut hasher = blake3::Hasher::new_derive_key("hubless 1 content of a document");
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for (name, key) in names {
        let mut values = document.values(&key);
        values.sort();
        part(&name);
        part(&values.len().to_string());
        values.iter().for_each(|value| part(value));
    }
    *hasher.finalize().as_bytes()
}

/// Hashes that are known, each with the heads of which it is one.
#[derive(Default)]
pub(super) struct Contents(BTreeMap<DocId, (Vec<Head>, [u8; 32])>);

impl Contents {
    /// The hash of a document that may leave this device.
    pub(super) fn of(&mut self, doc: &DocId, library: &mut Library) -> Option<[u8; 32]> {
        let heads = library.heads_of(doc);
        if let Some((of, hash)) = self.0.get(doc).filter(|(of, _)| *of == heads) {
            let _ = of;
            return Some(*hash);
        }
        let hash = content(library.settled(doc)?);
        self.0.insert(doc.clone(), (heads, hash));
        Some(hash)
    }

    /// Hashes some more of what is not hashed yet; `true`: all is.
    pub(super) fn go_on(&mut self, library: &mut Library) -> bool {
        self.0.retain(|doc, _| library.get(doc).is_some());
        let mut bytes = 0;
        for at in library.heads() {
            if self.0.get(&at.doc).is_some_and(|(of, _)| *of == at.heads) {
                continue;
            }
            if bytes >= STEP_BYTES {
                return false;
            }
            bytes += library.get(&at.doc).map_or(0, |document| 1 + document.saved_bytes() + document.appended_bytes());
            self.of(&at.doc, library);
        }
        true
    }
}

/// All documents that may leave this device, and how far each is ahead of heads that somebody named.
pub(super) fn holdings(contents: &mut Contents, library: &mut Library, of: &BTreeMap<DocId, Vec<Head>>) -> Vec<Holding> {
    let all = library.heads();
    let row = |at: crate::model::message::DocHeads| {
        let content = contents.of(&at.doc, library)?;
        let none = Vec::new();
        let ahead = ahead(library, &at.doc, of.get(&at.doc).unwrap_or(&none));
        let changes = library.get(&at.doc)?.changes();
        Some(Holding { at, content, changes, ahead })
    };
    all.into_iter().filter_map(row).collect()
}

/// How many changes a document has that follow from none of those heads; `None` when not all of them are known here.
pub(super) fn ahead(library: &mut Library, doc: &DocId, of: &[Head]) -> Option<u64> {
    let document = library.settled(doc)?;
    let of = if of.is_empty() { vec![super::genesis::HASH] } else { of.to_vec() };
    of.iter().all(|head| document.has(head)).then(|| document.since(&of).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fact::FactKey;
    use crate::model::id::{Collection, ItemId};
    use crate::replica::guard;
    use quickcheck::quickcheck;

    fn item(n: u8) -> (FactKey, String) {
        (FactKey::Item(ItemId::of(&[&[n]])), format!("{{\"n\":{n}}}"))
    }

    quickcheck! {
        fn it_is_equal_where_the_facts_are_and_only_there(a: Vec<u8>, b: Vec<u8>) -> bool {
            let (mut one, mut two) = (Document::born([1; 16]), Document::born([2; 16]));
            for n in &a {
                one.put(&[item(*n)]);
            }
            let chunk = one.since(&[crate::replica::genesis::HASH]).0;
            if !chunk.is_empty() {
                two.apply(guard::changes(Collection::Todos, &chunk).expect("our own changes")).expect("they follow");
            }
            let same = content(&one) == content(&two);
            let news = b.iter().any(|n| !a.contains(n));
            for n in &b {
                two.put(&[item(*n)]);
            }
            same && (content(&one) == content(&two)) != news
        }
    }
}
