//! What we keep; the only home of sled.
//!
//! The invariant: when [`Store::keep`] has returned, the batch survives a kill and a power cut, and the store equals
//! `model::batch::Batch::apply_to` of all batches so far. Documents are plain automerge files and the only truth
//! (`documents`, `chunks`, `repair`); the fleet's secrets and the life counter are files that are replaced whole (`home`); sled
//! holds only what can be built again (`index`), because its `flush` on Linux is no fsync (DESIGN §6).
//!
//! ```text
//! <dir>/format  <dir>/lock  <dir>/life  <dir>/keys/fleet
//! <dir>/docs/<document>.automerge       <dir>/quarantine/<document>.<n>       <dir>/index/
//! ```

mod chunks;
mod documents;
mod home;
mod index;
mod repair;

use std::path::PathBuf;

use crate::model::batch::{Batch, Keep, Shelf};
use crate::model::id::DocId;

pub use home::Error;

use documents::Documents;
use home::Home;
use index::Index;

/// Where the store is, and whether it may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The data directory.
    pub dir: PathBuf,
    /// Only look: no lock, no index, no life, no repair, nothing is changed on disk (`daemon/offline`).
    pub read_only: bool,
}

/// What is kept on this disk. One thread uses it: the loop.
///
/// After a `keep` that failed, drop it and open it again: what the new one shows is what the disk holds.
#[derive(Debug)]
pub struct Store {
    // In this order they are dropped: the lock is let go last.
    index: Option<Index>,
    documents: Documents,
    home: Home,
}

impl Store {
    /// Opens the data directory, makes it if there is none, and mends what a crash or a bad disk left.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process holds it, [`Error::NewerFormat`] before anything is written,
    /// [`Error::Exposed`] and [`Error::NotOurs`] when others can read it, [`Error::Full`] and [`Error::Io`] from the disk.
    pub fn open(options: &Options) -> Result<Store, Error> {
        let home = Home::open(&options.dir, options.read_only)?;
        let documents = Documents::open(home.dir(), options.read_only, home.was_left_open())?;
        let index = (!options.read_only).then(|| Index::open(home.dir()));
        Ok(Store { index, documents, home })
    }

    /// Keeps all of it; when this returns it is on disk.
    ///
    /// Documents first (writes, then one sync for each file), then fleet and life, then rows of the index.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`], [`Error::ReadOnly`]. Then any subset of the batch may have been kept, each document of it
    /// wholly or not at all, and everything kept before is still there.
    pub fn keep(&self, batch: &Batch) -> Result<(), Error> {
        let Some(index) = &self.index else { return Err(Error::ReadOnly) };
        let kept = self.documents.keep(batch).and_then(|()| self.keep_at_home(batch));
        if kept.is_err() {
            self.home.distrust();
        }
        kept?;
        for keep in batch.iter() {
            if let Keep::Index { key, value } = keep {
                index.write(key, value.as_deref());
            }
        }
        Ok(())
    }

    fn keep_at_home(&self, batch: &Batch) -> Result<(), Error> {
        let (mut fleet, mut life) = (None, None);
        for keep in batch.iter() {
            match keep {
                Keep::Fleet { bytes } => fleet = Some(bytes),
                Keep::Life { counter } => life = life.max(Some(*counter)),
                Keep::Append { .. } | Keep::Replace { .. } | Keep::Drop { .. } | Keep::Index { .. } => {}
            }
        }
        fleet.map_or(Ok(()), |bytes| self.home.keep_fleet(bytes))?;
        life.map_or(Ok(()), |counter| self.home.raise_life(counter))
    }

    /// Raises the life counter on disk and returns what it is now.
    ///
    /// # Errors
    /// As [`Store::keep`]; then no life has begun.
    pub fn begin_life(&self) -> Result<u64, Error> {
        let next = self.home.life().saturating_add(1);
        self.home.raise_life(next)?;
        Ok(next)
    }

    /// The documents that were found damaged at this open: the original is under `quarantine/`, what is good of it is here.
    #[must_use]
    pub fn quarantined(&self) -> Vec<String> {
        self.documents.quarantined().to_vec()
    }

    /// What was mended at this open, and what became of the index since, in words for a person.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.home.notes().to_vec();
        notes.extend_from_slice(self.documents.notes());
        notes.extend(self.index.iter().flat_map(Index::notes));
        notes
    }
}

impl Shelf for Store {
    fn documents(&self) -> Vec<DocId> {
        self.documents.names()
    }

    fn document(&self, id: &DocId) -> Option<Vec<u8>> {
        self.documents.read(id)
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.index.as_ref().and_then(|index| index.get(key))
    }

    fn keys(&self, front: &str) -> Vec<String> {
        self.index.as_ref().map_or_else(Vec::new, |index| index.keys(front))
    }

    fn fleet(&self) -> Option<Vec<u8>> {
        self.home.fleet()
    }
}
