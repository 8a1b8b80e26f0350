//! The data directory: whose it is, which format, who holds it, and how a file gets there for good.
//!
//! The invariant: nobody but its owner can read it, one process at a time changes it, and a newer format is left as it is. A file
//! is replaced whole: written beside, synced, renamed, its directory synced; so it is the old one or the new one, never half.

use std::cell::{Cell, RefCell};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// The format that this program reads and writes.
const FORMAT: u64 = 1;
/// Bytes of `lock`, `format` and `life` that are read; each holds one number.
const NUMBER_BYTES_MAX: u64 = 64;
/// How often and how long to wait for the lock: a holder that is just ending, or a child of it between fork and exec, lets go soon.
const LOCK_TRIES: u32 = 10;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// What can be wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the data directory; exit 9.
    #[error("the data directory is in use by {}", .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// Who holds it, as far as it says.
        pid: Option<u32>,
    },
    /// A newer hubless wrote the data directory, and nothing was touched; exit 10.
    #[error("the data directory has format {found}, this hubless knows {known}; fix: update hubless")]
    NewerFormat {
        /// The number in `format`.
        found: u64,
        /// The highest number that this program knows.
        known: u64,
    },
    /// The file `format` holds no number that ever was one.
    #[error("{} does not hold the number of a format", .path.display())]
    NoFormat {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner can read it.
    #[error("{} can be read by others (mode {mode:o}); fix: chmod {fix:o} {}", .path.display(), .path.display())]
    Exposed {
        /// The directory or file.
        path: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it should have.
        fix: u32,
    },
    /// Somebody else owns it.
    #[error("{} belongs to user {owner}, not to us", .path.display())]
    NotOurs {
        /// The directory or file.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// The disk, the quota or the allowed file size is used up.
    #[error("no space is left for the data directory")]
    Full,
    /// It was opened to be read only.
    #[error("the data directory was opened to be read only")]
    ReadOnly,
    /// The disk failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// What was being read, written or synced.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Says which path an error of the system was about, and tells a full disk from a broken one.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) {
            return Error::Full;
        }
        Error::Io { path: path.to_owned(), source }
    }
}

/// Syncs the names in a directory.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

/// Makes a directory with all its parents (mode 0700), each synced into the one above it.
pub(super) fn make_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync_dir(above),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(at(dir)(error)),
    }
}

/// The name under which a file is written before it gets its own.
pub(super) const UNFINISHED: &str = "new";

/// Puts `parts`, one after the other, in the place of a file for good.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    put(path, parts)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Puts `parts` in the place of a file (mode 0600); if it fails, the old file is as it was. Until the directory is synced a power
/// cut may bring the old one back.
pub(super) fn put(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    let beside = PathBuf::from(name);
    let written = write_new(&beside, parts).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left of it is in the way of nothing, and `repair` removes it.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(at(path))
}

fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// The data directory, held.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    lock: Option<Lock>,
    life: Cell<u64>,
    fleet: RefCell<Option<Vec<u8>>>,
    notes: Vec<String>,
}

impl Home {
    /// Looks at modes and format, and then, unless it is only to be read, takes the lock and makes what is missing.
    pub(super) fn open(dir: &Path, read_only: bool) -> Result<Home, Error> {
        if !read_only {
            make_dir(dir)?;
        }
        check_modes(dir)?;
        let format = check_format(dir)?;
        let mut lock = None;
        if !read_only {
            lock = Some(Lock::take(dir)?);
            if format.is_none() {
                replace(&dir.join("format"), &[format!("{FORMAT}\n").as_bytes()])?;
            }
            make_dir(&dir.join("docs"))?;
            make_dir(&dir.join("keys"))?;
        }
        let mut notes = Vec::new();
        let life = match number(&dir.join("life"))? {
            Number::Is(life) => life,
            Number::Missing => 0,
            Number::Unreadable => {
                notes.push("the life counter could not be read and begins anew".to_owned());
                0
            }
        };
        let fleet = read(&dir.join("keys/fleet"))?;
        let home = Home { dir: dir.to_owned(), lock, life: Cell::new(life), fleet: RefCell::new(fleet), notes };
        if home.was_left_open() {
            sync_dir(&home.dir.join("keys"))?;
        }
        Ok(home)
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the last one who held it did not let it go in order. What it wrote may then be visible and yet not be on disk.
    pub(super) fn was_left_open(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.left_open)
    }

    /// From now on this holder counts as one who did not let it go in order.
    pub(super) fn distrust(&self) {
        if let Some(lock) = &self.lock {
            lock.distrusted.set(true);
        }
    }

    /// The life counter.
    pub(super) fn life(&self) -> u64 {
        self.life.get()
    }

    /// Raises the life counter for good; a lower one changes nothing.
    pub(super) fn raise_life(&self, counter: u64) -> Result<(), Error> {
        self.may_write()?;
        if counter <= self.life.get() {
            return Ok(());
        }
        replace(&self.dir.join("life"), &[format!("{counter}\n").as_bytes()])?;
        self.life.set(counter);
        Ok(())
    }

    /// What `Keep::Fleet` brought.
    pub(super) fn fleet(&self) -> Option<Vec<u8>> {
        self.fleet.borrow().clone()
    }

    /// Puts the fleet's id and secrets in the place of what was there, for good.
    pub(super) fn keep_fleet(&self, bytes: &[u8]) -> Result<(), Error> {
        self.may_write()?;
        make_dir(&self.dir.join("keys"))?;
        replace(&self.dir.join("keys/fleet"), &[bytes])?;
        *self.fleet.borrow_mut() = Some(bytes.to_owned());
        Ok(())
    }

    fn may_write(&self) -> Result<(), Error> {
        self.lock.as_ref().map(drop).ok_or(Error::ReadOnly)
    }

    /// What was found wrong.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The lock, let go when this is dropped. The file holds the holder's pid while it is held.
#[derive(Debug)]
struct Lock {
    file: File,
    left_open: bool,
    distrusted: Cell<bool>,
}

impl Lock {
    fn take(dir: &Path) -> Result<Lock, Error> {
        let path = dir.join("lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(at(&path))?;
        let mut tries = 0..LOCK_TRIES;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries.next().is_some() => sleep(LOCK_WAIT),
                Err(TryLockError::WouldBlock) => return Err(Error::Locked { pid: holder(&file) }),
                Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
            }
        }
        let left_open = file.metadata().map_err(at(&path))?.len() > 0;
        // The pid is for people: a full disk must not keep us from opening. Written over, not anew, so it needs no space twice.
        let pid = format!("{}\n", std::process::id());
        let _ = file.write_all_at(pid.as_bytes(), 0).and_then(|()| file.set_len(pid.len() as u64));
        Ok(Lock { file, left_open, distrusted: Cell::new(false) })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.distrusted.get() {
            // If it fails, the next one syncs once too often.
            let _ = self.file.set_len(0);
        }
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(NUMBER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The number that a file holds.
enum Number {
    Is(u64),
    Missing,
    Unreadable,
}

fn number(path: &Path) -> Result<Number, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Number::Missing),
        Err(error) => return Err(at(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(NUMBER_BYTES_MAX).read_to_end(&mut bytes).map_err(at(path))?;
    let parsed = str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    Ok(parsed.map_or(Number::Unreadable, Number::Is))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn check_format(dir: &Path) -> Result<Option<u64>, Error> {
    let path = dir.join("format");
    match number(&path)? {
        Number::Is(found) if found > FORMAT => Err(Error::NewerFormat { found, known: FORMAT }),
        Number::Is(FORMAT) => Ok(Some(FORMAT)),
        Number::Missing => Ok(None),
        Number::Is(_) | Number::Unreadable => Err(Error::NoFormat { path }),
    }
}

/// The directories must be ours alone, and so must every file that holds a secret. What is not there is fine.
fn check_modes(dir: &Path) -> Result<(), Error> {
    check_mode(dir, 0o700)?;
    let keys = dir.join("keys");
    check_mode(&keys, 0o700)?;
    let entries = match fs::read_dir(&keys) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(&keys)(error)),
    };
    for entry in entries {
        check_mode(&entry.map_err(at(&keys))?.path(), 0o600)?;
    }
    Ok(())
}

fn check_mode(path: &Path, fix: u32) -> Result<(), Error> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::NotOurs { path: path.to_owned(), owner: found.uid() });
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode, fix });
    }
    Ok(())
}

/// A place for a data directory, which is not there yet, for the tests of this room.
#[cfg(test)]
pub(super) fn spare() -> (tempfile::TempDir, PathBuf) {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    (base, dir)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    /// Every file under `dir` with its bytes and its time of change; directories too.
    fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
        let mut all = BTreeMap::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).chain([folder.clone()]) {
                let found = fs::symlink_metadata(&path).unwrap();
                let bytes = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                if found.is_dir() && path != folder {
                    folders.push(path.clone());
                }
                all.insert(path, (bytes, found.mtime_nsec() + found.mtime() * 1_000_000_000, found.ctime_nsec()));
            }
        }
        all
    }

    #[test]
    fn a_new_home_is_its_owners_alone_and_has_a_format() {
        let (_base, dir) = spare();
        let dir = dir.join("share/hubless");
        let home = Home::open(&dir, false).unwrap();
        home.keep_fleet(b"secret").unwrap();
        assert_eq!(home.fleet().as_deref(), Some(&b"secret"[..]));
        assert_eq!(fs::read(dir.join("format")).unwrap(), b"1\n");
        assert_eq!([mode_of(&dir), mode_of(&dir.join("keys")), mode_of(&dir.join("docs"))], [0o700; 3]);
        assert_eq!(mode_of(&dir.join("keys/fleet")), 0o600);
    }

    #[test]
    fn what_others_can_read_is_refused_with_its_fix() {
        let (_base, dir) = spare();
        Home::open(&dir, false).unwrap().keep_fleet(b"secret").unwrap();
        for (path, wrong, right) in [(dir.clone(), 0o750, 0o700), (dir.join("keys"), 0o701, 0o700), (dir.join("keys/fleet"), 0o640, 0o600)]
        {
            set_mode(&path, wrong);
            let before = snapshot(&dir);
            for read_only in [false, true] {
                let error = Home::open(&dir, read_only).unwrap_err();
                let text = error.to_string();
                assert!(
                    matches!(&error, Error::Exposed { path: found, mode, fix } if (found, *mode, *fix) == (&path, wrong, right)),
                    "{text}"
                );
                assert!(text.contains(&format!("fix: chmod {right:o} {}", path.display())), "{text}");
            }
            assert_eq!(snapshot(&dir), before);
            set_mode(&path, right);
            drop(Home::open(&dir, false).unwrap());
        }
    }

    #[test]
    fn a_home_of_somebody_else_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED a_home_of_somebody_else_is_refused: only root can give a directory away");
            return;
        }
        let (_base, dir) = spare();
        drop(Home::open(&dir, false).unwrap());
        std::os::unix::fs::chown(&dir, Some(65_534), None).unwrap();
        assert!(matches!(Home::open(&dir, false), Err(Error::NotOurs { owner: 65_534, .. })));
    }

    #[test]
    fn the_second_one_is_told_who_holds_it() {
        let (_base, dir) = spare();
        let first = Home::open(&dir, false).unwrap();
        let error = Home::open(&dir, false).unwrap_err();
        assert!(matches!(error, Error::Locked { pid: Some(pid) } if pid == std::process::id()), "{error}");
        assert!(Home::open(&dir, true).is_ok(), "who only looks needs no lock");
        drop(first);
        assert!(Home::open(&dir, false).is_ok());
    }

    #[test]
    fn a_newer_format_is_left_as_it_is() {
        let (_base, dir) = spare();
        drop(Home::open(&dir, false).unwrap());
        fs::write(dir.join("format"), "2\n").unwrap();
        fs::write(dir.join("docs/todos.new"), "of a newer one").unwrap();
        fs::remove_file(dir.join("lock")).unwrap();
        let before = snapshot(&dir);
        for read_only in [false, true] {
            assert!(matches!(Home::open(&dir, read_only), Err(Error::NewerFormat { found: 2, known: 1 })));
        }
        assert_eq!(snapshot(&dir), before);
        fs::write(dir.join("format"), "0\n").unwrap();
        assert!(matches!(Home::open(&dir, false), Err(Error::NoFormat { .. })));
    }

    #[test]
    fn who_only_looks_changes_nothing() {
        let (_base, dir) = spare();
        Home::open(&dir, false).unwrap().raise_life(7).unwrap();
        let before = snapshot(&dir);
        let home = Home::open(&dir, true).unwrap();
        assert_eq!(home.life(), 7);
        assert!(matches!(home.raise_life(8), Err(Error::ReadOnly)));
        assert!(matches!(home.keep_fleet(b"x"), Err(Error::ReadOnly)));
        assert_eq!(snapshot(&dir), before);
        let nowhere = dir.join("nowhere");
        assert!(Home::open(&nowhere, true).is_ok() && !nowhere.exists());
    }

    #[test]
    fn the_life_counter_only_rises_and_a_broken_one_is_said() {
        let (_base, dir) = spare();
        let home = Home::open(&dir, false).unwrap();
        home.raise_life(3).unwrap();
        home.raise_life(2).unwrap();
        assert_eq!((home.life(), home.notes().len()), (3, 0));
        drop(home);
        assert_eq!(Home::open(&dir, false).unwrap().life(), 3);
        fs::write(dir.join("life"), [0xff; 9]).unwrap();
        let home = Home::open(&dir, false).unwrap();
        assert_eq!((home.life(), home.notes().len()), (0, 1));
    }

    #[test]
    fn a_holder_that_was_killed_or_failed_is_noticed() {
        let (_base, dir) = spare();
        let home = Home::open(&dir, false).unwrap();
        assert!(!home.was_left_open());
        let held = fs::read(dir.join("lock")).unwrap();
        drop(home);
        assert_eq!(fs::read(dir.join("lock")).unwrap(), b"");
        fs::write(dir.join("lock"), held).unwrap();
        let home = Home::open(&dir, false).unwrap();
        assert!(home.was_left_open());
        home.distrust();
        drop(home);
        assert!(Home::open(&dir, false).unwrap().was_left_open());
        assert!(!Home::open(&dir, false).unwrap().was_left_open());
    }
}
