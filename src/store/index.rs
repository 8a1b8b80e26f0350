//! Rows that can be built again, in sled: deleting the folder loses nothing.
//!
//! The invariant: whatever the index does, no document suffers. It never fails outward: a row that cannot be read is not there, a
//! row that cannot be written is not written, and an index that does not open, errs or panics is moved to `index.broken-<n>` and
//! begun anew. Reasons are in P2P F and DESIGN §6: on Linux sled 0.34.7's `flush` is no fsync, values above a quarter of
//! a segment go to files that are never synced, and a leftover `snap.*.generating` keeps it from opening.

use std::cell::RefCell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::home::{make_dir, sync_dir};

/// Bytes of a key and of a value that are taken; 32 rows of both stay below a quarter of a segment.
const VALUE_BYTES_MAX: usize = 4 * 1024;
const KEY_BYTES_MAX: usize = 256;
/// Bytes of a segment: sled's own default; it cannot be changed for an index that is there.
const SEGMENT_BYTES: usize = 512 * 1024;
/// Bytes of pages held in memory; sled's default is 1 GiB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Broken ones that are kept for a look.
const BROKEN_MAX: usize = 2;
/// Bytes in front of a value that say whether it is the one that was written.
const SEAL_BYTES: usize = 16;
/// How often and how long to wait for sled's threads of an opening that just ended: they hold its lock a little longer.
const LOCK_TRIES: u32 = 40;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    dir: PathBuf,
    db: RefCell<Option<sled::Db>>,
    notes: RefCell<Vec<String>>,
}

impl Index {
    /// Opens it, or begins it anew; without space for that there is none in this life.
    pub(super) fn open(dir: &Path) -> Index {
        let index = Index { dir: dir.to_owned(), db: RefCell::new(None), notes: RefCell::new(Vec::new()) };
        match index.begin() {
            Ok(db) => *index.db.borrow_mut() = Some(db),
            Err(why) => index.begin_anew(&why),
        }
        index
    }

    /// One row.
    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let row = self.with(|db| db.get(key))??;
        let (seal, value) = row.split_first_chunk::<SEAL_BYTES>()?;
        (*seal == seal_of(key, value)).then(|| value.to_vec())
    }

    /// The keys that begin with `front`, in order.
    pub(super) fn keys(&self, front: &str) -> Vec<String> {
        let keys = self.with(|db| db.scan_prefix(front).keys().collect::<sled::Result<Vec<_>>>()).unwrap_or_default();
        keys.iter().filter_map(|key| String::from_utf8(key.to_vec()).ok()).collect()
    }

    /// Writes or forgets a row. One that is too large is left out.
    pub(super) fn write(&self, key: &str, value: Option<&[u8]>) {
        let fits = key.len() <= KEY_BYTES_MAX && value.is_none_or(|value| value.len() <= VALUE_BYTES_MAX);
        debug_assert!(fits, "a row of the index is larger than it may be");
        let value = value.filter(|_| fits);
        self.with(|db| match value {
            Some(value) => db.insert(key, [&seal_of(key, value), value].concat()),
            None => db.remove(key),
        });
    }

    /// What became of it.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    fn with<T>(&self, deed: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Option<T> {
        let done = self.db.borrow().as_ref().map(|db| caught(|| deed(db)))?;
        done.inspect_err(|why| self.begin_anew(why)).ok()
    }

    fn begin(&self) -> Result<sled::Db, String> {
        let path = self.dir.join("index");
        make_dir(&path).map_err(|error| error.to_string())?;
        set_unfinished_snapshots_aside(&path);
        let config = sled::Config::new().path(&path).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES);
        for _ in 0..LOCK_TRIES {
            match caught(|| config.open()) {
                Err(why) if why.contains("could not acquire lock") => sleep(LOCK_WAIT),
                other => return other,
            }
        }
        Err("another opening of it holds its lock".to_owned())
    }

    fn begin_anew(&self, why: &str) {
        // Its threads must end before its folder moves, and a broken one may panic at that.
        let old = self.db.borrow_mut().take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        let begun = set_aside(&self.dir).and_then(|()| self.begin());
        let then = begun.as_ref().err().map_or_else(String::new, |error| format!("; it is off until the next start: {error}"));
        let note = format!("the index was not usable ({why}) and begins anew{then}");
        tracing::warn!("{note}");
        self.notes.borrow_mut().push(note);
        *self.db.borrow_mut() = begun.ok();
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let db = self.db.get_mut().take();
        let _ = catch_unwind(AssertUnwindSafe(|| db.map(|db| db.flush())));
    }
}

fn caught<T>(deed: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(deed)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    }
}

fn seal_of(key: &str, value: &[u8]) -> [u8; SEAL_BYTES] {
    let hash = blake3::Hasher::new().update(&(key.len() as u64).to_le_bytes()).update(key.as_bytes()).update(value).finalize();
    let mut seal = [0; SEAL_BYTES];
    seal.copy_from_slice(&hash.as_bytes()[..SEAL_BYTES]);
    seal
}

/// sled would choose such a file as its newest snapshot and fail. The one before it is still there.
fn set_unfinished_snapshots_aside(index: &Path) {
    for entry in fs::read_dir(index).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            // If it cannot be moved, sled does not open, and the whole folder is set aside.
            let _ = fs::rename(entry.path(), index.join(format!("aside.{name}")));
        }
    }
}

fn set_aside(dir: &Path) -> Result<(), String> {
    let mut broken: Vec<(u64, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.strip_prefix("index.broken-")?.parse().ok()?, entry.path())))
        .collect();
    broken.sort();
    let next = broken.last().map_or(1, |(n, _)| n + 1);
    for (_, old) in broken.iter().rev().skip(BROKEN_MAX - 1) {
        fs::remove_dir_all(old).map_err(|error| error.to_string())?;
    }
    let index = dir.join("index");
    if fs::symlink_metadata(&index).is_ok() {
        fs::rename(&index, dir.join(format!("index.broken-{next}"))).map_err(|error| error.to_string())?;
    }
    sync_dir(dir).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::home::spare;
    use super::*;

    fn broken(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("index.broken-"));
        names.sort();
        names
    }

    fn garble(dir: &Path) {
        for file in ["conf", "db"] {
            fs::write(dir.join("index").join(file), [0x55; 3_000]).unwrap();
        }
    }

    #[test]
    fn rows_are_there_after_an_opening_and_in_order() {
        let (_base, dir) = spare();
        let index = Index::open(&dir);
        for (key, value) in [("file/b", "2"), ("file/a", "1"), ("filf", "3"), ("file/c", "4")] {
            index.write(key, Some(value.as_bytes()));
        }
        index.write("file/c", None);
        drop(index);
        let index = Index::open(&dir);
        assert_eq!(index.keys("file/"), ["file/a", "file/b"]);
        assert_eq!((index.get("file/b").as_deref(), index.get("file/c")), (Some(&b"2"[..]), None));
        assert_eq!((index.keys("").len(), index.notes().len()), (3, 0));
    }

    #[test]
    fn the_largest_row_is_taken() {
        let (_base, dir) = spare();
        let (key, value) = ("k".repeat(KEY_BYTES_MAX), [7; VALUE_BYTES_MAX]);
        let index = Index::open(&dir);
        for n in 0..64 {
            index.write(&format!("{n:02}{}", &key[2..]), Some(&value));
        }
        assert_eq!(index.keys("").len(), 64);
        assert!(!dir.join("index/blobs").read_dir().is_ok_and(|mut blobs| blobs.next().is_some()), "no row goes to a file of its own");
    }

    #[test]
    fn a_broken_one_is_set_aside_and_begun_anew_and_two_are_kept() {
        let (_base, dir) = spare();
        drop(Index::open(&dir));
        for n in 1..=4 {
            garble(&dir);
            let index = Index::open(&dir);
            assert_eq!(index.notes().len(), 1, "{:?}", index.notes());
            index.write("key", Some(&[n]));
            assert_eq!(index.get("key"), Some(vec![n]));
        }
        assert_eq!(broken(&dir), ["index.broken-3", "index.broken-4"]);
    }

    #[test]
    fn a_folder_that_is_gone_or_a_file_is_begun_anew() {
        let (_base, dir) = spare();
        drop(Index::open(&dir));
        fs::remove_dir_all(dir.join("index")).unwrap();
        fs::write(dir.join("index"), "a file").unwrap();
        let index = Index::open(&dir);
        index.write("key", Some(b"value"));
        assert_eq!((index.get("key").as_deref(), index.notes().len()), (Some(&b"value"[..]), 1));
    }

    #[test]
    fn an_unfinished_snapshot_does_not_keep_it_from_opening() {
        let (_base, dir) = spare();
        let index = Index::open(&dir);
        index.write("key", Some(b"value"));
        drop(index);
        fs::write(dir.join("index/snap.FFFFFFFFFFFFFFFF.generating"), [0; 40]).unwrap();
        let index = Index::open(&dir);
        assert_eq!((index.get("key").as_deref(), index.notes().len()), (Some(&b"value"[..]), 0));
    }

    #[test]
    fn a_row_that_is_not_what_was_written_is_not_there() {
        let (_base, dir) = spare();
        let index = Index::open(&dir);
        index.write("here", Some(b"value"));
        let row = index.with(|db| db.get("here")).unwrap().unwrap();
        index.with(|db| db.insert("elsewhere", row).and_then(|_| db.insert("short", "x")));
        assert_eq!([index.get("elsewhere"), index.get("short")], [None, None]);
    }

    #[test]
    fn an_error_or_a_panic_in_use_begins_it_anew() {
        let (_base, dir) = spare();
        let index = Index::open(&dir);
        index.write("key", Some(b"value"));
        assert_eq!(index.with(|_| Err::<(), _>(sled::Error::Unsupported("a test".to_owned()))), None);
        assert_eq!(index.with(|_| -> sled::Result<()> { panic!("a test") }), None);
        assert_eq!((index.get("key"), index.notes().len()), (None, 2));
        index.write("key", Some(b"value"));
        assert!(index.get("key").is_some());
    }
}
