//! What a crash or a bad disk left, found and mended when the store is opened.
//!
//! The invariant: a chunk whose checksum holds is never lost, and a byte is thrown away only where it is the beginning of an append
//! that was never acknowledged. Everything else that is not whole is set aside under `quarantine/` first, and said.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::model::id::DocId;

use super::chunks::{Rest, Walk};
use super::home::{self, Error, UNFINISHED, at, make_dir, sync_dir};

/// What a document's file is called after its name.
const ENDING: &str = ".automerge";
/// Folders of folders under `docs/` that are looked into; names have at most four parts.
const DEPTH_MAX: usize = 6;

/// The file of a document.
pub(super) fn path_of(docs: &Path, doc: &DocId) -> PathBuf {
    docs.join(format!("{doc}{ENDING}"))
}

/// Moves a document that is whole for us, and yet no document, under `quarantine/`.
pub(super) fn set_aside(dir: &Path, doc: &DocId) -> Result<(), Error> {
    let path = path_of(&dir.join("docs"), doc);
    let mender = Mender { dir, doc, path: &path, read_only: false };
    mender.free_place().and_then(|aside| mender.move_to(&aside))
}

/// How many files lie under `quarantine/`. Each came there, synced, before what is good of it took its place, so whoever
/// remembers another number knows that something was lost since; that the last holder died at once hides nothing.
pub(super) fn aside(dir: &Path) -> u64 {
    fn count(folder: &Path, depth: usize) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if depth < DEPTH_MAX && entry.path().is_dir() { count(&entry.path(), depth + 1) } else { 1 }).sum()
    }
    count(&dir.join("quarantine"), 0)
}

/// What is there after the mending.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Each document and how many good bytes its file begins with.
    pub(super) lengths: BTreeMap<DocId, u64>,
    /// The documents that were damaged, each with how much of it is lost.
    pub(super) quarantined: Vec<(DocId, String)>,
    /// What was done, for a person.
    pub(super) notes: Vec<String>,
}

/// Looks at every document and, unless it is only to be read, mends it.
///
/// `distrust`: the last holder was killed, so what it wrote may be seen and yet not be on disk: everything is synced first.
pub(super) fn open(dir: &Path, read_only: bool, distrust: bool) -> Result<Found, Error> {
    let docs = dir.join("docs");
    let mut listed = Listed::default();
    listed.look(&docs, "", 0)?;
    let mut found = Found::default();
    found.notes.append(&mut listed.strangers);
    if !read_only {
        for path in &listed.unfinished {
            fs::remove_file(path).map_err(at(path))?;
        }
    }
    for (doc, path) in listed.documents {
        let mender = Mender { dir, doc: &doc, path: &path, read_only };
        if let Some(length) = mender.open(distrust, &mut found)? {
            found.lengths.insert(doc, length);
        }
    }
    if distrust {
        listed.folders.iter().try_for_each(|folder| sync_dir(folder))?;
    }
    Ok(found)
}

/// What lies under `docs/`.
#[derive(Default)]
struct Listed {
    documents: Vec<(DocId, PathBuf)>,
    folders: Vec<PathBuf>,
    unfinished: Vec<PathBuf>,
    strangers: Vec<String>,
}

impl Listed {
    fn look(&mut self, folder: &Path, front: &str, depth: usize) -> Result<(), Error> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(folder)(error)),
        };
        self.folders.push(folder.to_owned());
        for entry in entries {
            let entry = entry.map_err(at(folder))?;
            let kind = entry.file_type().map_err(at(folder))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let doc = name.strip_suffix(ENDING).and_then(|stem| DocId::parse(&format!("{front}{stem}")));
            match doc {
                _ if kind.is_dir() && depth < DEPTH_MAX => self.look(&path, &format!("{front}{name}/"), depth + 1)?,
                Some(doc) if kind.is_file() => self.documents.push((doc, path)),
                None if kind.is_file() && path.extension() == Some(OsStr::new(UNFINISHED)) => self.unfinished.push(path),
                // Neither followed nor touched: a link or a pipe could lead or hold us anywhere.
                Some(_) | None => self.strangers.push(format!("docs/{front}{name} is no document and was passed over")),
            }
        }
        Ok(())
    }
}

/// One document's file at the time of opening.
struct Mender<'a> {
    dir: &'a Path,
    doc: &'a DocId,
    path: &'a Path,
    read_only: bool,
}

impl Mender<'_> {
    /// The good bytes that it begins with; `None` if no document is left.
    fn open(&self, distrust: bool, found: &mut Found) -> Result<Option<u64>, Error> {
        if distrust {
            File::open(self.path).and_then(|file| file.sync_all()).map_err(at(self.path))?;
        }
        let bytes = match fs::read(self.path) {
            Ok(bytes) => bytes,
            // Replaced or dropped by the daemon while we only look.
            Err(error) if self.read_only && error.kind() == ErrorKind::NotFound => return Ok(None),
            // The rest of the documents must not suffer from one bad sector.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return self.set_all_aside(&error, found),
            Err(error) => return Err(at(self.path)(error)),
        };
        let walk = Walk::over(&bytes);
        match walk.rest {
            Rest::Nothing => Ok(Some(bytes.len() as u64)),
            Rest::Torn => self.cut(&walk, bytes.len(), found).map(Some),
            Rest::Damage => self.set_aside(&walk, &bytes, found),
        }
    }

    fn cut(&self, walk: &Walk, length: usize, found: &mut Found) -> Result<u64, Error> {
        let good = walk.good.last().map_or(0, |run| run.end);
        if !self.read_only {
            let cut = |file: File| file.set_len(good as u64).and_then(|()| file.sync_all());
            OpenOptions::new().write(true).open(self.path).and_then(cut).map_err(at(self.path))?;
            let torn = length - good;
            found.notes.push(format!("{}: {torn} bytes of an append that was cut off were removed", self.doc));
        }
        Ok(good as u64)
    }

    fn set_aside(&self, walk: &Walk, bytes: &[u8], found: &mut Found) -> Result<Option<u64>, Error> {
        let good = walk.salvage(bytes);
        let lost = format!("{} of {} bytes were damaged", bytes.len() - good.len(), bytes.len());
        found.quarantined.push((self.doc.clone(), lost.clone()));
        if !self.read_only {
            let aside = self.free_place()?;
            if good.is_empty() {
                self.move_to(&aside)?;
            } else {
                home::replace(&aside, &[bytes])?;
                home::replace(self.path, &[&good])?;
            }
            let note = format!("{}: {lost}; the original is {}", self.doc, aside.display());
            tracing::warn!("{note}");
            found.notes.push(note);
        }
        Ok((!good.is_empty()).then_some(good.len() as u64))
    }

    fn set_all_aside(&self, error: &io::Error, found: &mut Found) -> Result<Option<u64>, Error> {
        found.quarantined.push((self.doc.clone(), format!("it cannot be read: {error}")));
        let mut note = format!("{}: cannot be read: {error}", self.doc);
        if !self.read_only {
            let aside = self.free_place()?;
            self.move_to(&aside)?;
            note = format!("{note}; the original is {}", aside.display());
        }
        tracing::warn!("{note}");
        found.notes.push(note);
        Ok(None)
    }

    fn move_to(&self, aside: &Path) -> Result<(), Error> {
        fs::rename(self.path, aside).map_err(at(self.path))?;
        [aside, self.path].into_iter().filter_map(Path::parent).try_for_each(sync_dir)
    }

    /// A name under `quarantine/` that nothing has yet.
    fn free_place(&self) -> Result<PathBuf, Error> {
        let quarantine = self.dir.join("quarantine");
        let free = |n: &u64| fs::symlink_metadata(quarantine.join(format!("{}.{n}", self.doc))).is_err();
        let n = (1..).find(free).expect("because no directory has 2^64 entries");
        let place = quarantine.join(format!("{}.{n}", self.doc));
        place.parent().map_or(Ok(()), make_dir)?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks::chunk;
    use super::*;

    const PAGE: usize = 4_096;

    impl Found {
        fn names(&self) -> Vec<&DocId> {
            self.quarantined.iter().map(|(doc, _)| doc).collect()
        }
    }

    struct Bench {
        dir: tempfile::TempDir,
        doc: DocId,
        chunks: Vec<Vec<u8>>,
    }

    impl Bench {
        fn new() -> Bench {
            let dir = tempfile::tempdir().unwrap();
            let bench = Bench {
                dir,
                doc: DocId::parse("local/todos/2026-11.2").unwrap(),
                chunks: [300, 90, 5_000, 64, 4_000, 700, 80].iter().zip(1..).map(|(length, n)| chunk(&vec![n; *length])).collect(),
            };
            make_dir(bench.path().parent().unwrap()).unwrap();
            bench
        }

        fn path(&self) -> PathBuf {
            path_of(&self.dir.path().join("docs"), &self.doc)
        }

        fn whole(&self) -> Vec<u8> {
            self.chunks.concat()
        }

        /// Opens what `bytes` are twice, and checks what holds for any: looking changes nothing and sees the same, what damage is
        /// set aside is the original, and the second opening finds nothing to mend.
        fn open(&self, bytes: &[u8]) -> (Option<Vec<u8>>, Found) {
            let _ = fs::remove_dir_all(self.dir.path().join("quarantine"));
            fs::write(self.path(), bytes).unwrap();
            let looked = open(self.dir.path(), true, false).unwrap();
            assert_eq!(fs::read(self.path()).unwrap(), bytes);
            let found = open(self.dir.path(), false, false).unwrap();
            assert_eq!((&looked.quarantined, &looked.lengths), (&found.quarantined, &found.lengths));
            let left = found.lengths.contains_key(&self.doc).then(|| fs::read(self.path()).unwrap());
            assert_eq!(found.lengths.get(&self.doc).copied(), left.as_ref().map(|left| left.len() as u64));
            let aside = fs::read(self.dir.path().join("quarantine/local/todos/2026-11.2.1")).ok();
            assert_eq!(aside.is_some(), !found.quarantined.is_empty());
            assert!(aside.is_none_or(|aside| aside == bytes), "the original is set aside as it was");
            let again = open(self.dir.path(), false, false).unwrap();
            assert_eq!((again.lengths, again.quarantined.len(), again.notes.len()), (found.lengths.clone(), 0, 0));
            (left, found)
        }

        /// All chunks but those that `hit` says.
        fn without(&self, hit: impl Fn(std::ops::Range<usize>) -> bool) -> Vec<u8> {
            let mut at = 0;
            let mut left = Vec::new();
            for chunk in &self.chunks {
                if !hit(at..at + chunk.len()) {
                    left.extend(chunk);
                }
                at += chunk.len();
            }
            left
        }
    }

    #[test]
    fn a_torn_tail_is_cut_at_every_length() {
        let bench = Bench::new();
        let whole = bench.whole();
        let good = whole.len() - bench.chunks.last().unwrap().len();
        for end in good..=whole.len() {
            let (left, found) = bench.open(&whole[..end]);
            let expected = if end == whole.len() { end } else { good };
            assert_eq!(left.as_deref(), Some(&whole[..expected]), "cut at {end}");
            assert_eq!((found.quarantined.len(), found.notes.len()), (0, usize::from(end != expected)));
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_chunk_and_no_other() {
        let bench = Bench::new();
        let whole = bench.whole();
        for at in (0..whole.len()).step_by(64).chain(0..24) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at / 64 % 8);
            let (left, found) = bench.open(&bytes);
            assert_eq!(left.unwrap(), bench.without(|chunk| chunk.contains(&at)), "bit in byte {at}");
            assert_eq!(found.names(), [&bench.doc]);
        }
    }

    #[test]
    fn a_zeroed_page_costs_the_chunks_in_it_and_no_other() {
        let bench = Bench::new();
        let whole = bench.whole();
        for page in (0..whole.len()).step_by(PAGE) {
            let end = whole.len().min(page + PAGE);
            let mut bytes = whole.clone();
            bytes[page..end].fill(0);
            let (left, found) = bench.open(&bytes);
            assert_eq!(left.unwrap(), bench.without(|chunk| chunk.start < end && page < chunk.end), "page at {page}");
            assert_eq!(found.names(), [&bench.doc]);
        }
    }

    #[test]
    fn of_a_document_without_a_whole_chunk_the_original_is_kept() {
        let bench = Bench::new();
        for bytes in [&b""[..], b"no document", &[0; 8_192], &chunk(&[1; 50])[..40]] {
            let (left, found) = bench.open(bytes);
            assert_eq!((left, found.names()), (None, vec![&bench.doc]));
        }
    }

    #[test]
    fn damage_twice_is_set_aside_twice() {
        let bench = Bench::new();
        for n in 1..=3 {
            fs::write(bench.path(), [bench.chunks[0].as_slice(), &[n; 40], &bench.chunks[1]].concat()).unwrap();
            open(bench.dir.path(), false, n == 2).unwrap();
            let aside = fs::read(bench.dir.path().join(format!("quarantine/local/todos/2026-11.2.{n}"))).unwrap();
            assert_eq!(aside[bench.chunks[0].len()], n);
        }
    }

    #[test]
    fn what_is_no_document_is_neither_touched_nor_followed() {
        let bench = Bench::new();
        fs::write(bench.path(), bench.whole()).unwrap();
        let todos = bench.dir.path().join("docs/todos");
        make_dir(&todos).unwrap();
        fs::write(todos.join("notes.txt"), "mine").unwrap();
        fs::write(todos.join("UPPER.automerge"), "mine").unwrap();
        std::os::unix::fs::symlink(bench.path(), todos.join("2026-12.automerge")).unwrap();
        std::os::unix::fs::symlink(bench.dir.path(), todos.join("round")).unwrap();
        fs::write(todos.join("2026-11.automerge.new"), "half").unwrap();
        let found = open(bench.dir.path(), false, false).unwrap();
        assert_eq!(found.lengths.keys().collect::<Vec<_>>(), [&bench.doc]);
        assert_eq!((found.notes.len(), found.quarantined.len()), (4, 0));
        assert!(todos.join("notes.txt").exists() && !todos.join("2026-11.automerge.new").exists());
    }
}
