//! What is to be kept, as data; and ten plain lines that say what keeping means (the specification of the store).

use std::collections::BTreeMap;

use super::id::DocId;

/// One thing to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Adds automerge chunks to the end of a document's file, which begins to exist with it.
    Append {
        /// Which document.
        doc: DocId,
        /// Whole chunks, each with its own checksum.
        chunk: Vec<u8>,
    },
    /// Puts a fresh save in the place of a document's file, all or nothing.
    Replace {
        /// Which document.
        doc: DocId,
        /// The save.
        bytes: Vec<u8>,
    },
    /// Forgets a document.
    Drop {
        /// Which document.
        doc: DocId,
    },
    /// Sets a document's file aside, never to be read as a document again and never thrown away.
    SetAside {
        /// Which document.
        doc: DocId,
    },
    /// Puts the fleet's id and secrets in the place of what was there (mode 0600, never in a document).
    Fleet {
        /// `postcard(Fleet)`, then the membership entries as postcard; see `replica::saved`.
        bytes: Vec<u8>,
    },
    /// Raises the life counter on disk.
    Life {
        /// To this.
        counter: u64,
    },
    /// Writes or forgets a row of the index: rebuildable, never the only copy. Rows are written after everything else.
    Index {
        /// Which row.
        key: String,
        /// Its value of at most 4 KiB, or `None` to forget it.
        value: Option<Vec<u8>>,
    },
}

/// What one turn keeps. After a crash any subset of its appends may be there; each fact stands alone, so that is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    keeps: Vec<Keep>,
}

impl Batch {
    /// Adds one thing to keep.
    pub fn push(&mut self, keep: Keep) {
        self.keeps.push(keep);
    }

    /// Adds all of a later step's.
    pub fn absorb(&mut self, later: Batch) {
        self.keeps.extend(later.keeps);
    }

    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keeps.is_empty()
    }

    /// In the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = &Keep> {
        self.keeps.iter()
    }

    /// Bytes of documents in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.keeps.iter().map(Keep::bytes).sum()
    }

    /// What the store holds after it kept this: the specification of `store::Store::keep`.
    pub fn apply_to(&self, kept: &mut Kept) {
        for keep in &self.keeps {
            keep.apply_to(kept);
        }
    }
}

impl Keep {
    fn bytes(&self) -> usize {
        match self {
            Keep::Append { chunk: bytes, .. } | Keep::Replace { bytes, .. } | Keep::Fleet { bytes } => bytes.len(),
            Keep::Index { value, .. } => value.as_ref().map_or(0, Vec::len),
            Keep::Drop { .. } | Keep::SetAside { .. } | Keep::Life { .. } => 0,
        }
    }

    /// What the store holds after it kept this one thing.
    pub fn apply_to(&self, kept: &mut Kept) {
        match self {
            Keep::Append { doc, chunk } => kept.documents.entry(doc.clone()).or_default().extend(chunk),
            Keep::Replace { doc, bytes } => drop(kept.documents.insert(doc.clone(), bytes.clone())),
            Keep::Drop { doc } => drop(kept.documents.remove(doc)),
            Keep::SetAside { doc } => kept.aside += u64::from(kept.documents.remove(doc).is_some()),
            Keep::Fleet { bytes } => kept.fleet = Some(bytes.clone()),
            Keep::Life { counter } => kept.life = (*counter).max(kept.life),
            Keep::Index { key, value: Some(value) } => drop(kept.index.insert(key.clone(), value.clone())),
            Keep::Index { key, value: None } => drop(kept.index.remove(key)),
        }
    }
}

/// What is kept, as plain maps: the store must equal it, and the simulation's disks are it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The bytes of each document's file.
    pub documents: BTreeMap<DocId, Vec<u8>>,
    /// The rows of the index.
    pub index: BTreeMap<String, Vec<u8>>,
    /// `postcard(Fleet)`, then the membership entries as postcard; see `replica::saved`.
    pub fleet: Option<Vec<u8>>,
    /// The life counter.
    pub life: u64,
    /// How many files of documents lie aside.
    pub aside: u64,
}

/// What can be read back. Two have it from the first day: the store and [`Kept`].
pub trait Shelf {
    /// The names of all documents, in order.
    fn documents(&self) -> Vec<DocId>;
    /// The bytes of one document's file.
    fn document(&self, id: &DocId) -> Option<Vec<u8>>;
    /// One row of the index.
    fn get(&self, key: &str) -> Option<Vec<u8>>;
    /// The keys of the index that begin with `front`, in order.
    fn keys(&self, front: &str) -> Vec<String>;
    /// `postcard(Fleet)`, then the membership entries as postcard; see `replica::saved`.
    fn fleet(&self) -> Option<Vec<u8>>;
    /// How many files of documents lie aside: on disk before what is good of one takes its place.
    fn aside(&self) -> u64;
    /// The documents that lost something when this was opened, each with what is known of that.
    fn lost(&self) -> Vec<(DocId, String)>;
}

impl Shelf for Kept {
    fn documents(&self) -> Vec<DocId> {
        self.documents.keys().cloned().collect()
    }

    fn document(&self, id: &DocId) -> Option<Vec<u8>> {
        self.documents.get(id).cloned()
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.index.get(key).cloned()
    }

    fn keys(&self, front: &str) -> Vec<String> {
        let from = self.index.range(front.to_owned()..);
        from.map(|(key, _)| key).take_while(|key| key.starts_with(front)).cloned().collect()
    }

    fn fleet(&self) -> Option<Vec<u8>> {
        self.fleet.clone()
    }

    fn aside(&self) -> u64 {
        self.aside
    }

    fn lost(&self) -> Vec<(DocId, String)> {
        Vec::new()
    }
}
