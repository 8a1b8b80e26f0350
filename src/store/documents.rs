//! One plain automerge file per document: append, replace, drop, read.
//!
//! The invariant: a file begins with exactly the bytes that were acknowledged, and nothing is acknowledged before it is synced. A
//! failed append is cut off again, and its file is written anew, elsewhere on the disk, before anything is appended to it: after
//! a failed sync the system may call pages clean that never reached the disk, so it is neither retried nor trusted (DESIGN §6).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::model::batch::{Batch, Keep};
use crate::model::id::DocId;

use super::chunks::{Walk, are_whole};
use super::home::{Error, at, make_dir, put, replace, sync_dir};
use super::repair::{self, path_of};

/// Files that one round of appends holds open; systems allow 256 and more.
const OPEN_FILES_MAX: usize = 64;

/// All documents on this disk.
#[derive(Debug)]
pub(super) struct Documents {
    docs: PathBuf,
    read_only: bool,
    files: RefCell<BTreeMap<DocId, Length>>,
    quarantined: Vec<(DocId, String)>,
    notes: Vec<String>,
}

/// How much of a document's file counts.
#[derive(Debug, Clone, Copy)]
struct Length {
    /// Bytes that were acknowledged; the file begins with them.
    good: u64,
    /// Whether a write or sync of the file failed since it was last written whole.
    tainted: bool,
    /// Whether the last read failed: who asked does not know what is in it, so nothing may take its place.
    unread: bool,
}

impl Length {
    fn of(good: u64) -> Length {
        Length { good, tainted: false, unread: false }
    }
}

/// What a batch comes to for one document.
#[derive(Debug, Default)]
struct Plan<'a> {
    /// Whether it begins with nothing, not with what is there.
    anew: bool,
    /// Whether it is there afterwards.
    there: bool,
    /// What is added.
    parts: Vec<&'a [u8]>,
}

impl Documents {
    /// Lists and mends what is there.
    pub(super) fn open(dir: &Path, read_only: bool, distrust: bool) -> Result<Documents, Error> {
        let found = repair::open(dir, read_only, distrust)?;
        let files = found.lengths.into_iter().map(|(doc, good)| (doc, Length::of(good))).collect();
        let (quarantined, notes) = (found.quarantined, found.notes);
        Ok(Documents { docs: dir.join("docs"), read_only, files: RefCell::new(files), quarantined, notes })
    }

    /// The names of all, in order.
    pub(super) fn names(&self) -> Vec<DocId> {
        self.files.borrow().keys().cloned().collect()
    }

    /// The bytes of one.
    pub(super) fn read(&self, doc: &DocId) -> Option<Vec<u8>> {
        let length = *self.files.borrow().get(doc)?;
        let read = if self.read_only { self.read_now(doc) } else { self.read_good(doc, length.good) };
        self.note(doc, Length { unread: read.is_err(), ..length });
        read.inspect_err(|error| tracing::error!("{doc}: {error}")).ok()
    }

    /// Those that were damaged, each with how much of it is lost.
    pub(super) fn quarantined(&self) -> &[(DocId, String)] {
        &self.quarantined
    }

    /// What was mended.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    fn read_good(&self, doc: &DocId, good: u64) -> Result<Vec<u8>, Error> {
        let path = path_of(&self.docs, doc);
        let mut bytes = Vec::new();
        File::open(&path).and_then(|file| file.take(good).read_to_end(&mut bytes)).map_err(at(&path))?;
        if (bytes.len() as u64) < good {
            return Err(at(&path)(ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }

    /// A daemon may be writing: what is whole now counts.
    fn read_now(&self, doc: &DocId) -> Result<Vec<u8>, Error> {
        let path = path_of(&self.docs, doc);
        let bytes = fs::read(&path).map_err(at(&path))?;
        Ok(Walk::over(&bytes).salvage(&bytes))
    }

    /// Keeps what the batch says of documents: appends, then whole files, then what is dropped, so that nothing goes before what
    /// takes its place is there.
    pub(super) fn keep(&self, batch: &Batch) -> Result<(), Error> {
        batch.iter().try_for_each(|keep| self.set_aside(keep))?;
        let plans = self.plans(batch);
        let (mut appends, mut wholes, mut drops) = (Vec::new(), Vec::new(), Vec::new());
        for (&doc, plan) in &plans {
            let length = self.files.borrow().get(doc).copied();
            match (length, plan) {
                (Some(Length { unread: true, .. }), Plan { anew: true, .. }) => return Err(self.not_replaced(doc)),
                (Some(_), Plan { there: false, .. }) => drops.push(doc),
                (None, Plan { there: false, .. }) => {}
                (Some(length), Plan { anew: false, parts, .. }) if !length.tainted => appends.push((doc, length, parts.concat())),
                (_, plan) => wholes.push((doc, plan)),
            }
        }
        appends.chunks(OPEN_FILES_MAX).try_for_each(|group| self.append(group))?;
        wholes.into_iter().try_for_each(|(doc, plan)| self.write_whole(doc, plan))?;
        self.drop_files(&drops)
    }

    fn set_aside(&self, keep: &Keep) -> Result<(), Error> {
        let Keep::SetAside { doc } = keep else { return Ok(()) };
        if self.files.borrow().contains_key(doc) {
            repair::set_aside(self.docs.parent().unwrap_or(&self.docs), doc)?;
            self.files.borrow_mut().remove(doc);
        }
        Ok(())
    }

    fn not_replaced(&self, doc: &DocId) -> Error {
        let source = io::Error::other("it could not be read, so nothing takes its place");
        Error::Io { path: path_of(&self.docs, doc), source }
    }

    fn plans<'a>(&self, batch: &'a Batch) -> BTreeMap<&'a DocId, Plan<'a>> {
        let mut plans: BTreeMap<&DocId, Plan> = BTreeMap::new();
        for keep in batch.iter() {
            match keep {
                Keep::Append { doc, chunk } => {
                    debug_assert!(are_whole(chunk), "{doc}: what is appended must be whole chunks, or the next open cuts it");
                    let new = || Plan { anew: !self.files.borrow().contains_key(doc), ..Plan::default() };
                    let plan = plans.entry(doc).or_insert_with(new);
                    plan.there = true;
                    plan.parts.push(chunk);
                }
                Keep::Replace { doc, bytes } => {
                    debug_assert!(are_whole(bytes), "{doc}: a save must be whole chunks, or the next open sets it aside");
                    plans.insert(doc, Plan { anew: true, there: true, parts: vec![bytes] });
                }
                Keep::Drop { doc } | Keep::SetAside { doc } => {
                    drop(plans.insert(doc, Plan { anew: true, there: false, parts: Vec::new() }))
                }
                Keep::Fleet { .. } | Keep::Life { .. } | Keep::Index { .. } => {}
            }
        }
        plans
    }

    /// Writes all, then syncs each once. What was not synced when something failed is taken back.
    fn append(&self, appends: &[(&DocId, Length, Vec<u8>)]) -> Result<(), Error> {
        let mut written = Vec::with_capacity(appends.len());
        for (doc, length, bytes) in appends {
            let path = path_of(&self.docs, doc);
            let write = |file: File| file.write_all_at(bytes, length.good).map(|()| file);
            // Never created here: a file that somebody took away must not come back with a hole.
            match OpenOptions::new().write(true).open(&path).and_then(write) {
                Ok(file) => written.push(file),
                Err(error) => {
                    let begun = &appends[..=written.len()];
                    begun.iter().for_each(|(doc, length, _)| self.take_back(doc, *length));
                    return Err(at(&path)(error));
                }
            }
        }
        for (synced, ((doc, length, bytes), file)) in appends.iter().zip(written).enumerate() {
            if let Err(error) = file.sync_data() {
                appends[synced..].iter().for_each(|(doc, length, _)| self.take_back(doc, *length));
                return Err(at(&path_of(&self.docs, doc))(error));
            }
            self.note(doc, Length { good: length.good + bytes.len() as u64, ..*length });
        }
        Ok(())
    }

    /// Cuts a failed append off and writes the file anew from what was good, at once if the disk lets us, else before its next append.
    fn take_back(&self, doc: &DocId, length: Length) {
        let path = path_of(&self.docs, doc);
        let cut = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(length.good));
        let mended = cut.map_err(at(&path)).and_then(|()| self.read_good(doc, length.good)).and_then(|bytes| replace(&path, &[&bytes]));
        if let Err(error) = &mended {
            tracing::warn!("{doc}: a failed append could not be mended yet: {error}");
        }
        self.note(doc, Length { tainted: mended.is_err(), ..length });
    }

    /// Puts a whole file in the place of what is there: a new document, a compaction, or one that is tainted.
    fn write_whole(&self, doc: &DocId, plan: &Plan) -> Result<(), Error> {
        let path = path_of(&self.docs, doc);
        let length = self.files.borrow().get(doc).copied();
        let before = match length {
            Some(length) if !plan.anew => self.read_good(doc, length.good)?,
            Some(_) | None => Vec::new(),
        };
        let parts: Vec<&[u8]> = std::iter::once(before.as_slice()).chain(plan.parts.iter().copied()).collect();
        let folder = path.parent().unwrap_or(&self.docs);
        make_dir(folder)?;
        put(&path, &parts)?;
        let good = parts.iter().map(|part| part.len() as u64).sum();
        // Until the folder is synced a power cut may bring the old file back, and appends to the new one would go with it.
        let unread = length.is_some_and(|length| length.unread);
        self.note(doc, Length { good, tainted: true, unread });
        sync_dir(folder)?;
        self.note(doc, Length { good, tainted: false, unread });
        Ok(())
    }

    fn note(&self, doc: &DocId, length: Length) {
        self.files.borrow_mut().insert(doc.clone(), length);
    }

    fn drop_files(&self, docs: &[&DocId]) -> Result<(), Error> {
        let mut folders = BTreeSet::new();
        for doc in docs {
            let path = path_of(&self.docs, doc);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
            self.files.borrow_mut().remove(*doc);
            folders.extend(path.parent().map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::chunks::chunk;
    use super::super::home::spare;
    use super::*;

    fn append(doc: &DocId, byte: u8) -> Batch {
        let mut batch = Batch::default();
        batch.push(Keep::Append { doc: doc.clone(), chunk: chunk(&[byte; 500]) });
        batch
    }

    #[test]
    fn what_is_set_aside_is_under_quarantine_and_makes_room_for_another() {
        let (_base, dir) = spare();
        let doc = DocId::parse("todos/2026-11").unwrap();
        let documents = Documents::open(&dir, false, false).unwrap();
        documents.keep(&append(&doc, 1)).unwrap();
        let mut batch = Batch::default();
        batch.push(Keep::SetAside { doc: doc.clone() });
        batch.push(Keep::Append { doc: doc.clone(), chunk: chunk(&[2; 500]) });
        documents.keep(&batch).unwrap();
        assert_eq!(documents.read(&doc), Some(chunk(&[2; 500])));
        assert_eq!(fs::read(dir.join("quarantine/todos/2026-11.1")).unwrap(), chunk(&[1; 500]));
    }

    #[test]
    fn after_a_failed_append_the_file_is_cut_and_written_anew_before_the_next() {
        let (_base, dir) = spare();
        let doc = DocId::parse("todos/2026-11").unwrap();
        let open = || Documents::open(&dir, false, false).unwrap();
        let documents = open();
        documents.keep(&append(&doc, 1)).unwrap();
        let (path, good) = (path_of(&dir.join("docs"), &doc), chunk(&[1; 500]));
        let inode = || fs::metadata(&path).unwrap().ino();

        // A directory in the way of the temporary file, so that it cannot be written anew.
        let (in_the_way, first) = (dir.join("docs/todos/2026-11.automerge.new"), inode());
        fs::create_dir(&in_the_way).unwrap();
        fs::write(&path, [&good, &chunk(&[2; 500])[..300]].concat()).unwrap();
        documents.take_back(&doc, Length::of(good.len() as u64));
        assert_eq!(fs::read(&path).unwrap(), good, "what failed is cut off");
        assert!(documents.keep(&append(&doc, 3)).is_err(), "the old file is not continued");
        assert_eq!((documents.read(&doc), open().read(&doc)), (Some(good.clone()), Some(good.clone())));

        fs::remove_dir(&in_the_way).unwrap();
        documents.keep(&append(&doc, 4)).unwrap();
        let second = inode();
        assert_ne!(first, second);
        documents.keep(&append(&doc, 5)).unwrap();
        assert_eq!(inode(), second, "only once");
        let whole = [good, chunk(&[4; 500]), chunk(&[5; 500])].concat();
        assert_eq!((documents.read(&doc), fs::read(&path).unwrap()), (Some(whole.clone()), whole));
    }

    #[test]
    fn a_failed_append_is_mended_at_once_if_the_disk_lets_us() {
        let (_base, dir) = spare();
        let doc = DocId::parse("fleet").unwrap();
        let documents = Documents::open(&dir, false, false).unwrap();
        documents.keep(&append(&doc, 1)).unwrap();
        let path = path_of(&dir.join("docs"), &doc);
        let before = File::open(&path).unwrap();
        documents.take_back(&doc, Length::of(chunk(&[1; 500]).len() as u64));
        let mended = fs::metadata(&path).unwrap().ino();
        assert_ne!(before.metadata().unwrap().ino(), mended);
        documents.keep(&append(&doc, 2)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), mended);
        assert_eq!(documents.read(&doc), Some([chunk(&[1; 500]), chunk(&[2; 500])].concat()));
    }

    #[test]
    fn nothing_takes_the_place_of_what_could_not_be_read() {
        let (_base, dir) = spare();
        let doc = DocId::parse("fleet").unwrap();
        let documents = Documents::open(&dir, false, false).unwrap();
        documents.keep(&append(&doc, 1)).unwrap();
        let path = path_of(&dir.join("docs"), &doc);
        let aside = dir.join("docs/aside");
        fs::rename(&path, &aside).unwrap();
        assert_eq!(documents.read(&doc), None);
        fs::rename(&aside, &path).unwrap();
        let (mut replace, mut dropped) = (Batch::default(), Batch::default());
        replace.push(Keep::Replace { doc: doc.clone(), bytes: chunk(&[2; 20]) });
        dropped.push(Keep::Drop { doc: doc.clone() });
        documents.keep(&append(&doc, 2)).unwrap();
        let whole = [chunk(&[1; 500]), chunk(&[2; 500])].concat();
        for batch in [&replace, &dropped] {
            assert!(matches!(documents.keep(batch), Err(Error::Io { .. })));
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
        assert_eq!(documents.read(&doc), Some(whole));
        documents.keep(&replace).unwrap();
        assert_eq!(documents.read(&doc), Some(chunk(&[2; 20])));
    }

    #[test]
    fn more_documents_than_may_be_open_are_kept_at_once() {
        let (_base, dir) = spare();
        let documents = Documents::open(&dir, false, false).unwrap();
        let docs: Vec<_> = (0..3 * OPEN_FILES_MAX).map(|n| DocId::parse(&format!("todos/{n}")).unwrap()).collect();
        for byte in [1, 2] {
            let mut batch = Batch::default();
            docs.iter().for_each(|doc| batch.absorb(append(doc, byte)));
            documents.keep(&batch).unwrap();
        }
        let whole = [chunk(&[1; 500]), chunk(&[2; 500])].concat();
        assert!(docs.iter().all(|doc| documents.read(doc).as_ref() == Some(&whole)));
    }
}
