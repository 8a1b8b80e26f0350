//! A device's disk: what was kept, what a crash leaves of what was being kept, and what befalls disks.
//!
//! Of a document's file a crash leaves the old bytes and, of what was appended, whole chunks up to some point (the store
//! cuts a torn tail); now and then a hole, when blocks reached the disk out of order. Index rows are there only when all is.

use std::collections::{BTreeMap, BTreeSet};

use hubless::model::batch::{Batch, Keep, Kept};
use hubless::model::id::DocId;
use hubless::model::message::Head;

use super::book::{Book, split};
use super::chance::Chance;
use super::oracle::Broken;
use super::plan::{Deed, DiskFault};
use super::world::{MS, World};

/// One disk.
#[derive(Default)]
pub(crate) struct Disk {
    /// What is on it.
    pub(crate) kept: Kept,
    /// The changes that each document's file holds.
    pub(crate) held: BTreeMap<DocId, BTreeSet<Head>>,
    /// Until when it is full, in microseconds.
    pub(crate) full_until: u64,
    /// Files in which a crash left a hole, until they are written anew.
    pub(crate) holed: BTreeSet<DocId>,
    /// A copy of it, put away, with the holes that it had then.
    pub(crate) copy: Option<(Kept, BTreeSet<DocId>)>,
}

impl Disk {
    /// Keeps all of it; gives the changes that were not there.
    pub(crate) fn keep(&mut self, batch: &Batch, book: &mut Book) -> Result<Vec<Head>, Broken> {
        let mut new = Vec::new();
        for keep in batch.iter() {
            keep.apply_to(&mut self.kept);
            match keep {
                Keep::Append { doc, chunk } => {
                    let held = self.held.entry(doc.clone()).or_default();
                    new.extend(book.read(doc, chunk)?.into_iter().filter(|hash| held.insert(*hash)));
                }
                Keep::Replace { doc, bytes } => {
                    let now: BTreeSet<Head> = book.read(doc, bytes)?.into_iter().collect();
                    let before = self.held.insert(doc.clone(), now.clone()).unwrap_or_default();
                    if !self.holed.remove(doc) && !before.is_subset(&now) {
                        return Err(Broken::new("I3", format!("a fresh save of {doc} lost changes that were kept")));
                    }
                    new.extend(now.difference(&before));
                }
                Keep::Drop { doc } | Keep::SetAside { doc } => {
                    self.held.remove(doc);
                    self.holed.remove(doc);
                }
                Keep::Fleet { .. } | Keep::Life { .. } | Keep::Index { .. } => {}
            }
        }
        Ok(new)
    }

    /// The daemon died amid keeping.
    pub(crate) fn keep_some(&mut self, batch: &Batch, chance: &mut Chance, book: &mut Book) -> Result<(), Broken> {
        let all = chance.once_in(6);
        let hole = chance.once_in(5);
        let mut left: BTreeMap<DocId, u64> = BTreeMap::new();
        for keep in batch.iter() {
            match keep {
                Keep::Append { doc, chunk } => {
                    let left = left.entry(doc.clone()).or_insert_with(|| chance.below(4));
                    let chunks = split(chunk).into_iter().filter(|_| {
                        let kept = *left > 0;
                        *left = left.saturating_sub(1);
                        let kept = if hole { chance.once_in(2) } else { kept };
                        if hole && !kept && !all {
                            self.holed.insert(doc.clone());
                        }
                        kept || all
                    });
                    let bytes: Vec<u8> = chunks.flatten().copied().collect();
                    if !bytes.is_empty() {
                        Keep::Append { doc: doc.clone(), chunk: bytes }.apply_to(&mut self.kept);
                    }
                }
                // A whole file takes the place of the other or does not; what the batch said before is in it.
                Keep::Replace { doc, .. } | Keep::Drop { doc } | Keep::SetAside { doc } => {
                    if all || left.get(doc).is_none_or(|left| *left > 0) && chance.once_in(2) {
                        keep.apply_to(&mut self.kept);
                    }
                }
                Keep::Fleet { .. } | Keep::Life { .. } => {
                    if all || chance.once_in(2) {
                        keep.apply_to(&mut self.kept);
                    }
                }
                Keep::Index { .. } => {
                    if all {
                        keep.apply_to(&mut self.kept);
                    }
                }
            }
        }
        self.reread(book)
    }

    /// Looks again at what each file holds.
    pub(crate) fn reread(&mut self, book: &mut Book) -> Result<(), Broken> {
        self.held.clear();
        for (doc, bytes) in &self.kept.documents {
            self.held.insert(doc.clone(), book.read(doc, bytes)?.into_iter().collect());
        }
        Ok(())
    }

    /// Whether it holds this change of any document.
    pub(crate) fn holds(&self, doc: &DocId, hash: &Head) -> bool {
        *hash == hubless::replica::genesis::HASH || self.held.get(doc).is_some_and(|held| held.contains(hash))
    }
}

impl World {
    /// Something befalls a disk; the daemon falls with it, but for a full one and a copy.
    pub(crate) fn befall_disk(&mut self, d: usize, fault: DiskFault) -> Result<(), Broken> {
        match fault {
            DiskFault::Copied => {
                let disk = &mut self.devices[d].disk;
                disk.copy = Some((disk.kept.clone(), disk.holed.clone()));
                return Ok(());
            }
            DiskFault::Full(ms) => {
                self.devices[d].disk.full_until = self.time + u64::from(ms) * MS;
                return Ok(());
            }
            DiskFault::Cloned => return self.clone_device(d),
            DiskFault::Restored if self.devices[d].disk.copy.is_none() => return Ok(()),
            DiskFault::IndexDeleted | DiskFault::DocumentsDeleted | DiskFault::OneDeleted(_) | DiskFault::Lost | DiskFault::Restored => {}
        }
        if self.devices[d].replica.is_some() {
            self.fall(d, 100 * MS);
        }
        let disk = &mut self.devices[d].disk;
        match fault {
            DiskFault::IndexDeleted => disk.kept.index.clear(),
            DiskFault::DocumentsDeleted => disk.kept.documents.clear(),
            DiskFault::OneDeleted(n) => {
                let names: Vec<DocId> = disk.kept.documents.keys().cloned().collect();
                if let Some(doc) = names.get(usize::from(n) % names.len().max(1)) {
                    disk.kept.documents.remove(doc);
                }
            }
            DiskFault::Lost => disk.kept = Kept::default(),
            DiskFault::Restored => (disk.kept, disk.holed) = disk.copy.clone().unwrap_or_default(),
            DiskFault::Copied | DiskFault::Cloned | DiskFault::Full(_) => {}
        }
        disk.reread(&mut self.book)
    }

    /// The disk runs on another machine too, where somebody adds a todo.
    fn clone_device(&mut self, d: usize) -> Result<(), Broken> {
        if self.devices.iter().any(|device| device.is_clone) {
            return Ok(());
        }
        let clone = self.add_device(self.devices[d].key.clone());
        self.devices[clone].is_clone = true;
        // All of it, with what a crash made of it.
        self.devices[clone].disk.kept = self.devices[d].disk.kept.clone();
        self.devices[clone].disk.holed = self.devices[d].disk.holed.clone();
        self.devices[clone].disk.reread(&mut self.book)?;
        self.start(clone);
        self.pass(20 * MS)?;
        self.todo(clone, Deed::Add(2, 2));
        Ok(())
    }
}
