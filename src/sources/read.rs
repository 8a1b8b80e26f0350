//! Bounded reads from an offset: beneath the root, through no link, of regular files only.
//!
//! What is reported is what the file was when its bytes were read. A file that changed meanwhile is read again; one that
//! never holds still is reported as it was *before* the reading, so that a later look sees a difference, never too early
//! a peace.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};

use super::look::{inside, stat_of};
use crate::model::input::FileStat;
use crate::model::limits::TODO_FILE_BYTES_MAX;

/// How often a file that changes under our eyes is read (RELIABILITY C).
const READINGS_MAX: usize = 3;

/// Bytes of one read, whatever was asked for: what the largest caller needs. The rest comes with the next offset.
const READ_BYTES_MAX: u64 = TODO_FILE_BYTES_MAX;

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// What the file was.
    pub(super) stat: FileStat,
    /// What it says from the offset on.
    pub(super) bytes: Vec<u8>,
    /// Whether the file ends with it.
    pub(super) at_end: bool,
}

/// Reads at most `max` bytes from `offset` of the file at `path`, which is given with `/` below `base`. An offset behind
/// the end gives no bytes, and `at_end`.
///
/// # Errors
/// When the path is not clean, leads out, or is no regular file that may be read.
pub(super) fn read(base: &Path, path: &str, offset: u64, max: u64) -> io::Result<Piece> {
    if !is_clean(path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain path below its root"));
    }
    let file = open(base, path)?;
    let mut before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut readings = 0;
    loop {
        readings += 1;
        let bytes = read_range(&file, before.size(), offset, max.min(READ_BYTES_MAX))?;
        let after = file.metadata()?;
        if is_same(&before, &after) || readings == READINGS_MAX {
            let at_end = offset.saturating_add(bytes.len() as u64) >= after.size();
            return Ok(Piece { stat: stat_of(&before), bytes, at_end });
        }
        before = after;
    }
}

/// Whether a path only ever goes down: no empty part, no `.`, no `..`, no NUL.
fn is_clean(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Size and both times: an overwrite within one tick of the file system's clock that keeps the size is not seen.
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    let marks = |m: &Metadata| (m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    marks(a) == marks(b)
}

fn read_range(file: &File, size: u64, offset: u64, max: u64) -> io::Result<Vec<u8>> {
    let wanted = size.saturating_sub(offset).min(max);
    let wanted = usize::try_from(wanted).map_err(io::Error::other)?;
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Opens a clean path. The root itself may be a link, as people link their settings; below it a link is taken only where it
/// leads to a file of the same root, and then the file is opened by its own name, through no link.
fn open(base: &Path, path: &str) -> io::Result<File> {
    match beneath(base, path) {
        Err(why) if why.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            let real = fs::canonicalize(base)?;
            let target = inside(&real, &base.join(path)).ok_or(why)?;
            let below = target.strip_prefix(&real).map_err(io::Error::other)?;
            let below = below.to_str().ok_or_else(|| io::Error::other("the link's target has a name that is not UTF-8"))?;
            beneath(&real, below)
        }
        other => other,
    }
}

/// Does not wait for a pipe's other end, does not make a terminal ours, is not inherited.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

#[cfg(target_os = "linux")]
fn beneath(base: &Path, path: &str) -> io::Result<File> {
    use rustix::fs::{ResolveFlags, openat2};
    use rustix::io::Errno;
    let root = directory(base)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(&root, path, FLAGS | OFlags::NOFOLLOW, Mode::empty(), resolve) {
        Ok(file) => Ok(File::from(file)),
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => part_by_part(root, path),
        Err(why) => Err(why.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn beneath(base: &Path, path: &str) -> io::Result<File> {
    part_by_part(directory(base)?, path)
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The same for systems without `openat2`: each part from the directory that the last one opened, never through a link.
fn part_by_part(root: OwnedFd, path: &str) -> io::Result<File> {
    let (directories, name) = path.rsplit_once('/').map_or((None, path), |(up, name)| (Some(up), name));
    let mut at = root;
    for part in directories.into_iter().flat_map(|up| up.split('/')) {
        at = openat(&at, part, FLAGS | OFlags::NOFOLLOW | OFlags::DIRECTORY, Mode::empty())?;
    }
    Ok(File::from(openat(&at, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())?))
}
