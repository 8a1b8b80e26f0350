//! The data directory: whose it is, which format, who holds it, and how a file gets there for good.
//!
//! The invariant: nobody but its owner can read it, one process at a time changes it, and a newer format is left as it is. A file
//! is replaced whole: written beside, synced, renamed, its directory synced; so it is the old one or the new one, never half.

use std::cell::{Cell, RefCell};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The format that this program reads and writes.
const FORMAT: u64 = 1;
/// Bytes of `lock`, `format` and `life` that are read; each holds one number.
const NUMBER_BYTES_MAX: u64 = 64;

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

    /// `postcard(Fleet)`.
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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { pid: holder(&file) }),
            Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
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
