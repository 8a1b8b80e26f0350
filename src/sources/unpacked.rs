//! A compressed file of lines is followed as if it stood there unpacked: offsets, head and what stood before count in what it
//! holds, its stat is that of the file. However much it unpacks to, memory stays small, and behind [`UNPACKED_BYTES_MAX`]
//! nothing more is read of it.
//!
//! Such a file is not appended to (Codex packs what has rested for a week), so reading on means going on where the last
//! piece ended. The files that were read last stay open for that; one that is no longer among them is unpacked from its
//! beginning once more.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zstd::stream::read::Decoder;

use super::look::stat_of;
use super::read::{self, Followed, Piece, READ_BYTES_MAX};
use crate::model::input::FileStat;
use crate::model::limits::WINDOW_BYTES;

/// Bytes that are read of one file, unpacked. A session of 50 MB is a long one (FORMATS §2.5), and a few kilobytes can be made
/// to unpack to any number.
const UNPACKED_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// What a file may ask of memory to be unpacked, as a power of two; level 3 of zstd, which Codex uses, asks for 21.
const WINDOW_LOG_MAX: u32 = 23;
/// Files that stay open: as many as are asked for at a time.
const OPEN_MAX: usize = 4;

/// The files that were read last.
pub(super) struct Unpacked {
    open: VecDeque<Open>,
    /// Bytes that are read of one file.
    max: u64,
}

impl Default for Unpacked {
    fn default() -> Unpacked {
        Unpacked { open: VecDeque::new(), max: UNPACKED_BYTES_MAX }
    }
}

/// One file, unpacked up to a place.
struct Open {
    path: PathBuf,
    stat: FileStat,
    at: u64,
    head: Vec<u8>,
    behind: Vec<u8>,
    /// How much more of it is read.
    left: u64,
    from: Decoder<'static, BufReader<File>>,
}

/// Whether the file at `path` is such a one.
pub(super) fn is_packed(path: &str) -> bool {
    path.ends_with(".zst")
}

impl Unpacked {
    /// Like `read::follow`, of what the file holds.
    ///
    /// # Errors
    /// As `read::follow`; and when it cannot be unpacked, is torn, or holds more than is read.
    pub(super) fn follow(&mut self, base: &Path, path: &str, offset: u64, max: u64) -> io::Result<Followed> {
        let file = read::regular(base, path)?;
        let stat = stat_of(&file.metadata()?);
        let path = base.join(path);
        let known = self.open.iter().position(|open| (&open.path, open.stat, open.at) == (&path, stat, offset));
        let mut open = match known.and_then(|known| self.open.remove(known)) {
            Some(open) => open,
            None => Open::new(path, stat, self.max, file)?,
        };
        open.skip_to(offset)?;
        let behind = open.behind.clone();
        let (bytes, at_end) = open.take(max.min(READ_BYTES_MAX))?;
        let head = open.head.clone();
        if !at_end {
            self.open.truncate(OPEN_MAX - 1);
            self.open.push_front(open);
        }
        Ok(Followed { piece: Piece { stat, bytes, at_end }, head, behind })
    }
}

impl Open {
    fn new(path: PathBuf, stat: FileStat, left: u64, file: File) -> io::Result<Open> {
        let mut from = Decoder::new(file)?;
        from.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Open { path, stat, at: 0, head: Vec::new(), behind: Vec::new(), left, from })
    }

    /// Unpacks up to `offset`, or to the end if that comes before.
    fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        while self.at < offset {
            if self.piece(READ_BYTES_MAX.min(offset - self.at))?.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The next bytes, at most so many, and whether nothing stands behind them.
    fn take(&mut self, max: u64) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = self.piece(max)?;
        if (bytes.len() as u64) < max {
            return Ok((bytes, true));
        }
        // Whether there is more is known by reading it; it belongs to this piece then.
        let one = self.piece(1)?;
        bytes.extend_from_slice(&one);
        Ok((bytes, one.is_empty()))
    }

    fn piece(&mut self, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.from).take(max).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        let too_much = || io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks to more than is read");
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_much)?;
        let window = usize::try_from(WINDOW_BYTES).map_err(io::Error::other)?;
        self.head.extend(bytes.iter().take(window - self.head.len()));
        self.behind.extend_from_slice(&bytes[bytes.len().saturating_sub(window)..]);
        self.behind.drain(..self.behind.len().saturating_sub(window));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use std::fs;

    fn packed(bytes: &[u8]) -> (tempfile::TempDir, Unpacked) {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("a.zst"), zstd::encode_all(bytes, 3).expect("packed")).expect("written");
        (dir, Unpacked::default())
    }

    /// Piece by piece to its end.
    fn pieces(unpacked: &mut Unpacked, base: &Path, max: u64) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let followed = unpacked.follow(base, "a.zst", all.len() as u64, max).expect("unpacked");
            all.extend(followed.piece.bytes);
            if followed.piece.at_end {
                return all;
            }
        }
    }

    quickcheck! {
        fn it_reads_as_the_plain_file_does(seed: Vec<u8>, times: u8, offset: u16, max: u16) -> bool {
            let bytes = seed.repeat(usize::from(times));
            let (dir, mut unpacked) = packed(&bytes);
            fs::write(dir.path().join("a"), &bytes).expect("written");
            let (offset, max) = (u64::from(offset), u64::from(max) + WINDOW_BYTES);
            let plain = read::follow(dir.path(), "a", offset, max).expect("read");
            let it = unpacked.follow(dir.path(), "a.zst", offset, max).expect("unpacked");
            // Its piece may hold one byte more than was asked for.
            let more = it.piece.bytes.len().saturating_sub(plain.piece.bytes.len());
            it.piece.bytes.starts_with(&plain.piece.bytes) && more <= 1 && (more == 1) != plain.piece.at_end
                && it.head == plain.head && (it.behind == plain.behind || offset > bytes.len() as u64)
        }
    }

    #[test]
    fn pieces_follow_one_another_and_anew() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let (dir, mut unpacked) = packed(&bytes);
        assert_eq!(pieces(&mut unpacked, dir.path(), 10_000), bytes);
        let first = unpacked.follow(dir.path(), "a.zst", 0, 10_000).expect("unpacked");
        assert_eq!((unpacked.open.len(), unpacked.open[0].at), (1, 10_001), "it goes on from there");
        assert_eq!(unpacked.follow(dir.path(), "a.zst", 0, 10_000).expect("unpacked"), first, "or from the beginning");
        (0..OPEN_MAX).for_each(|_| drop(unpacked.follow(dir.path(), "a.zst", 0, 10).expect("unpacked")));
        assert_eq!(unpacked.open.len(), OPEN_MAX);
        // Replaced: what is open is of another file.
        fs::write(dir.path().join("a.zst"), zstd::encode_all(&b"new\n"[..], 3).expect("packed")).expect("written");
        assert_eq!(unpacked.follow(dir.path(), "a.zst", 11, 10).expect("unpacked").piece.bytes, b"");
        assert_eq!(pieces(&mut unpacked, dir.path(), 10), b"new\n");
    }

    #[test]
    fn what_is_torn_or_no_such_file_is_said() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let (dir, mut unpacked) = packed(&bytes);
        let whole = fs::read(dir.path().join("a.zst")).expect("read");
        for torn in [&whole[..whole.len() / 2], &whole[1..], b"{}"] {
            fs::write(dir.path().join("a.zst"), torn).expect("written");
            assert!(unpacked.follow(dir.path(), "a.zst", 0, u64::MAX).is_err(), "{} bytes", torn.len());
        }
        assert_eq!(unpacked.follow(dir.path(), "b.zst", 0, 10).expect_err("not there").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_unpacks_without_end_is_left() {
        let (dir, mut unpacked) = packed(&vec![b'\n'; 1_000_000]);
        assert!(fs::metadata(dir.path().join("a.zst")).expect("there").len() < 1_000);
        unpacked.max = 999_999;
        assert!(!unpacked.follow(dir.path(), "a.zst", 0, 500_000).expect("as far as it may be").piece.at_end);
        for offset in [500_001, 999_000] {
            let why = unpacked.follow(dir.path(), "a.zst", offset, u64::MAX).expect_err("too much");
            assert_eq!(why.kind(), io::ErrorKind::FileTooLarge, "from {offset}");
        }
        unpacked.max = 1_000_000;
        assert_eq!(pieces(&mut unpacked, dir.path(), 300_000).len(), 1_000_000);
    }
}
