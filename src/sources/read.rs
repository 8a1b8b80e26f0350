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
use crate::model::limits::{TODO_FILE_BYTES_MAX, WINDOW_BYTES};

/// How often a file that changes under our eyes is read (RELIABILITY C).
const READINGS_MAX: usize = 3;

/// Bytes of one read, whatever was asked for: what the largest caller needs. The rest comes with the next offset.
pub(super) const READ_BYTES_MAX: u64 = TODO_FILE_BYTES_MAX;

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
    let file = regular(base, path)?;
    let (before, bytes, size) = held_still(&file, |size| read_range(&file, size, offset, max.min(READ_BYTES_MAX)))?;
    Ok(Piece::new(&before, bytes, offset, size))
}

/// A piece of a file of lines, with what stood around its beginning: all from one open file that held still.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Followed {
    /// From the offset on.
    pub(super) piece: Piece,
    /// The first [`WINDOW_BYTES`] bytes, fewer only when the file has fewer.
    pub(super) head: Vec<u8>,
    /// The [`WINDOW_BYTES`] bytes before the offset, fewer only where the file begins or ends.
    pub(super) behind: Vec<u8>,
}

/// Like [`read`], and looks again at what was read before.
///
/// # Errors
/// As [`read`].
pub(super) fn follow(base: &Path, path: &str, offset: u64, max: u64) -> io::Result<Followed> {
    let file = regular(base, path)?;
    let (before, (head, behind, bytes), size) = held_still(&file, |size| {
        let head = read_range(&file, size, 0, WINDOW_BYTES)?;
        let behind = read_range(&file, size, offset.saturating_sub(WINDOW_BYTES), offset.min(WINDOW_BYTES))?;
        Ok((head, behind, read_range(&file, size, offset, max.min(READ_BYTES_MAX))?))
    })?;
    Ok(Followed { piece: Piece::new(&before, bytes, offset, size), head, behind })
}

/// What the file at `path` is, opened as for a reading.
///
/// # Errors
/// As [`read`].
pub(super) fn stat(base: &Path, path: &str) -> io::Result<FileStat> {
    Ok(stat_of(&regular(base, path)?.metadata()?))
}

impl Piece {
    fn new(before: &Metadata, bytes: Vec<u8>, offset: u64, size: u64) -> Piece {
        let at_end = offset.saturating_add(bytes.len() as u64) >= size;
        Piece { stat: stat_of(before), bytes, at_end }
    }
}

/// Opens the regular file at a clean path.
///
/// # Errors
/// As [`read`].
pub(super) fn regular(base: &Path, path: &str) -> io::Result<File> {
    if !is_clean(path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain path below its root"));
    }
    let file = open(base, path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Reads until the file is afterwards what it was before, or often enough; gives what it was before, what was read, and its
/// size afterwards. `read` is told the size.
fn held_still<T>(file: &File, mut read: impl FnMut(u64) -> io::Result<T>) -> io::Result<(Metadata, T, u64)> {
    let mut before = file.metadata()?;
    let mut readings = 0;
    loop {
        readings += 1;
        let what = read(before.size())?;
        let after = file.metadata()?;
        if is_same(&before, &after) || readings == READINGS_MAX {
            return Ok((before, what, after.size()));
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

/// Opens a clean path. The root itself may be a link, as people link their settings; below it only the last part may be one,
/// to a file of the same root, and then the file is opened by its own name, through no link.
fn open(base: &Path, path: &str) -> io::Result<File> {
    match beneath(base, path) {
        Err(why) if why.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            let real = fs::canonicalize(base)?;
            let link = real.join(path);
            let is_plain = link.parent().is_some_and(|up| fs::canonicalize(up).is_ok_and(|resolved| resolved == up));
            let target = inside(&real, &link).filter(|_| is_plain).ok_or(why)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use std::os::unix::fs::symlink;

    /// `inside.json`, `dir/below.json`, links in and out, and a secret beside the root.
    fn rig() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("dir")).expect("made");
        fs::write(root.join("inside.json"), "0123456789").expect("written");
        fs::write(root.join("dir/below.json"), "below").expect("written");
        fs::write(dir.path().join("secret"), "secret").expect("written");
        symlink("inside.json", root.join("in")).expect("linked");
        symlink(root.join("dir/below.json"), root.join("absolute")).expect("linked");
        symlink("../secret", root.join("out")).expect("linked");
        symlink("..", root.join("up")).expect("linked");
        symlink("dir", root.join("linked-dir")).expect("linked");
        symlink("out", root.join("twice")).expect("linked");
        (dir, root)
    }

    fn text(base: &Path, path: &str) -> io::Result<String> {
        Ok(String::from_utf8(read(base, path, 0, 100)?.bytes).expect("utf-8"))
    }

    #[test]
    fn a_range_is_read_and_the_end_is_told() {
        let (_dir, root) = rig();
        let range = |offset, max| {
            let piece = read(&root, "inside.json", offset, max).expect("read");
            assert_eq!(piece.stat, stat_of(&fs::metadata(root.join("inside.json")).expect("there")));
            (String::from_utf8(piece.bytes).expect("utf-8"), piece.at_end)
        };
        assert_eq!(range(0, 100), ("0123456789".to_owned(), true));
        assert_eq!(range(0, 10), ("0123456789".to_owned(), true));
        assert_eq!(range(2, 3), ("234".to_owned(), false));
        assert_eq!(range(9, 3), ("9".to_owned(), true));
        assert_eq!(range(10, 3), (String::new(), true));
        assert_eq!(range(u64::MAX, u64::MAX), (String::new(), true), "behind the end is nothing");
    }

    #[test]
    fn no_read_is_longer_than_the_maximum() {
        let (_dir, root) = rig();
        File::create(root.join("large")).expect("made").set_len(READ_BYTES_MAX + 1).expect("grown");
        let piece = read(&root, "large", 0, u64::MAX).expect("read");
        assert_eq!((piece.bytes.len() as u64, piece.at_end), (READ_BYTES_MAX, false));
    }

    #[test]
    fn a_file_of_lines_is_followed_with_its_head_and_what_stood_before() {
        let (_dir, root) = rig();
        let lines: Vec<u8> = (0..3 * WINDOW_BYTES).map(|n| u8::try_from(n % 251).expect("small")).collect();
        fs::write(root.join("lines"), &lines).expect("written");
        let at = |offset: u64, max| follow(&root, "lines", offset, max).expect("read");
        let (window, end) = (WINDOW_BYTES as usize, lines.len() as u64);
        let seen = at(2 * WINDOW_BYTES + 7, 100);
        assert_eq!(seen.piece.stat, stat_of(&fs::metadata(root.join("lines")).expect("there")));
        assert_eq!(seen.head, &lines[..window]);
        assert_eq!(seen.behind, &lines[window + 7..2 * window + 7]);
        assert_eq!((seen.piece.bytes, seen.piece.at_end), (lines[2 * window + 7..2 * window + 107].to_vec(), false));
        let first = at(0, u64::MAX);
        assert_eq!((first.behind, first.piece.bytes, first.piece.at_end), (vec![], lines.clone(), true));
        assert_eq!(at(5, 1).behind, &lines[..5]);
        let done = at(end, 9);
        assert_eq!((&done.behind[..], &done.piece.bytes[..], done.piece.at_end), (&lines[2 * window..], &[][..], true));
        let cut = at(end + 96, 9);
        assert_eq!((cut.behind.len(), cut.piece.at_end), (window - 96, true), "a truncated file shows less than was asked for");
        let gone = at(u64::MAX, 9);
        assert_eq!((gone.head.len(), gone.behind.len(), gone.piece.at_end), (window, 0, true));
    }

    #[test]
    fn a_file_of_five_gigabytes_is_followed_at_its_end() {
        use std::os::unix::fs::FileExt;
        const SIZE: u64 = 5 << 30;
        let (_dir, root) = rig();
        let file = File::create(root.join("large.jsonl")).expect("made");
        file.set_len(SIZE).expect("grown, without a block on the disk");
        file.write_all_at(b"last\n", SIZE - 5).expect("written");
        let seen = follow(&root, "large.jsonl", SIZE - 5, u64::MAX).expect("read");
        assert_eq!((&seen.piece.bytes[..], seen.piece.at_end, seen.piece.stat.size), (&b"last\n"[..], true, SIZE));
        assert_eq!((seen.head.len(), seen.behind.len()), (4096, 4096));
        let middle = follow(&root, "large.jsonl", SIZE / 2, u64::MAX).expect("read");
        assert_eq!((middle.piece.bytes.len() as u64, middle.piece.at_end), (READ_BYTES_MAX, false));
    }

    #[test]
    fn an_open_file_is_the_same_one_to_its_end_whatever_takes_its_name() {
        let (_dir, root) = rig();
        let file = regular(&root, "inside.json").expect("opened");
        let mut readings = 0;
        let (before, bytes, _) = held_still(&file, |size| {
            if readings == 0 {
                fs::write(root.join("new"), "another").expect("written");
                fs::rename(root.join("new"), root.join("inside.json")).expect("renamed");
            }
            readings += 1;
            read_range(&file, size, 0, 100)
        })
        .expect("read");
        assert_eq!((bytes, before.size()), (b"0123456789".to_vec(), 10), "never the head of one and the tail of another");
        assert_eq!(text(&root, "inside.json").expect("read"), "another");
    }

    #[test]
    fn links_are_followed_only_to_files_of_the_same_root() {
        let (dir, root) = rig();
        assert_eq!(text(&root, "in").expect("read"), "0123456789");
        assert_eq!(text(&root, "absolute").expect("read"), "below");
        for out in [
            "out",
            "up/secret",
            "linked-dir/below.json",
            "twice",
            "up/root/inside.json",
            "../secret",
            "/etc/hostname",
            "dir/../inside.json",
            "./in",
            "",
            "dir//below.json",
            "dir/",
            "a\0b",
        ] {
            assert!(text(&root, out).is_err(), "{out:?} was read");
        }
        symlink(&root, dir.path().join("linked-root")).expect("linked");
        assert_eq!(text(&dir.path().join("linked-root"), "in").expect("the root itself may be a link"), "0123456789");
    }

    #[test]
    fn what_is_no_regular_file_is_denied_and_never_waited_for() {
        let (_dir, root) = rig();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), Mode::RUSR | Mode::WUSR).expect("made");
        symlink("pipe", root.join("to-pipe")).expect("linked");
        for path in ["pipe", "to-pipe", "dir", "gone", "inside.json/x"] {
            assert!(text(&root, path).is_err(), "{path} was read");
            assert!(follow(&root, path, 0, 9).is_err() && stat(&root, path).is_err(), "{path} was followed");
        }
    }

    #[test]
    fn without_openat2_it_is_the_same() {
        let (_dir, root) = rig();
        let open = |path: &str| part_by_part(directory(&root).expect("the root"), path);
        assert!(open("inside.json").is_ok() && open("dir/below.json").is_ok());
        for path in ["in", "out", "up/secret", "up/root/inside.json", "gone", "inside.json/x"] {
            assert!(open(path).is_err(), "{path} was opened");
        }
    }

    quickcheck! {
        /// Whatever path is made of these parts: what is read is never what lies beside the root.
        fn no_path_leads_out(parts: Vec<u8>) -> bool {
            let (_dir, root) = rig();
            let parts: Vec<&str> = parts.iter().take(6).map(|n| match n % 8 {
                0 => "..", 1 => "up", 2 => "out", 3 => "secret", 4 => "dir", 5 => "inside.json", 6 => "in", _ => "",
            }).collect();
            let path = parts.join("/");
            let walked = if is_clean(&path) { part_by_part(directory(&root).expect("the root"), &path).is_ok() } else { false };
            let safe = matches!(path.as_str(), "inside.json" | "dir" | "in");
            text(&root, &path).map_or(true, |text| text == "0123456789") && (!walked || safe)
        }
    }

    /// Reads a file to which `times` readings add something before they end: how often it was read, and what came of it.
    fn disturbed(times: usize) -> (usize, Vec<u8>, u64, u64) {
        use std::io::Write;
        let (_dir, root) = rig();
        let path = root.join("inside.json");
        let mut writer = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        let file = File::open(&path).expect("opened");
        let mut readings = 0;
        let (before, bytes, size) = held_still(&file, |size| {
            let bytes = read_range(&file, size, 0, 100);
            if readings < times {
                writer.write_all(b"x").expect("written");
            }
            readings += 1;
            bytes
        })
        .expect("read");
        (readings, bytes, before.size(), size)
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_read_again() {
        assert_eq!(disturbed(0), (1, b"0123456789".to_vec(), 10, 10));
        assert_eq!(disturbed(1), (2, b"0123456789x".to_vec(), 11, 11));
        assert_eq!(disturbed(2), (3, b"0123456789xx".to_vec(), 12, 12));
    }

    #[test]
    fn a_file_that_never_holds_still_is_told_as_it_was_before() {
        assert_eq!(disturbed(usize::MAX), (3, b"0123456789xx".to_vec(), 12, 13), "so that it shows as changed afterwards");
    }
}
