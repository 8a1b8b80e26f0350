//! Reading a file again changes nothing, and reading it in any pieces gives the same lines: nothing is consumed beyond a
//! newline, and any doubt about whether a file is still the one that was read means reading it from its beginning.
//!
//! Files of agents are mostly appended and sometimes rewritten, truncated or replaced (RELIABILITY C). A [`Checkpoint`]
//! remembers how far a file of lines was read; a [`FileMark`] remembers a small file that is always read as a whole. Both
//! live in the index, which may be deleted at any time.

use serde::{Deserialize, Serialize};

use crate::model::input::FileStat;

/// Bytes at either end of what was read that must still be there (RELIABILITY C: what fluent-bit and Filebeat arrived at).
pub const WINDOW: u64 = 4096;
/// How much older than its reading a file's time must be before equal times mean equal bytes. File systems stamp with a
/// coarse clock (4 ms to 2 s), so a second write right after a reading can leave no trace in size and time.
const SETTLED_MS: i64 = 2_000;

/// A blake3 hash.
pub type Hash = [u8; 32];

/// How far a file of lines was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What the file was when it was last read.
    pub stat: FileStat,
    /// Bytes consumed; the last of them is a newline.
    pub offset: u64,
    /// Of the first [`WINDOW`] bytes, once so many were consumed.
    pub head: Option<Hash>,
    /// Of the last [`WINDOW`] consumed bytes, or all when there are fewer.
    pub tail: Hash,
    /// How often the file turned out to be another one.
    pub generation: u64,
    /// How the lines so far were named.
    pub namer: Namer,
}

/// What a file is, compared with its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing in it is unread.
    Same,
    /// Read on from the checkpoint's offset.
    Grown,
    /// It is another file, or was rewritten: read from the beginning, as the next generation.
    Replaced,
}

impl Checkpoint {
    /// Of a file that was not read yet.
    #[must_use]
    pub fn new(stat: FileStat, generation: u64) -> Checkpoint {
        Checkpoint { stat, offset: 0, head: None, tail: hash(&[]), generation, namer: Namer::default() }
    }

    /// How many bytes before the offset [`judge`] wants to see.
    #[must_use]
    pub fn tail_len(&self) -> u64 {
        self.offset.min(WINDOW)
    }

    /// Reads on: `tail` is what [`judge`] saw before the offset, `read` what stands from the offset on. Gives the names and
    /// bytes of the whole lines in it, and the checkpoint behind them.
    ///
    /// `named` tells a record's own name, (session id, uuid), if the line has one.
    pub fn read_on<'a>(
        &self,
        stat: FileStat,
        tail: &[u8],
        read: &'a [u8],
        named: impl Fn(&[u8]) -> Option<(String, String)>,
    ) -> (Vec<(LineKey, &'a [u8])>, Checkpoint) {
        let (lines, consumed) = whole_lines(read);
        let mut namer = self.namer;
        let lines = lines.into_iter().map(|line| (namer.name(named(line), line), line)).collect();
        let behind = [tail, &read[..consumed]].concat();
        let window = usize::try_from(WINDOW).expect("because 4096 fits");
        // Until so much was consumed, `tail` reaches back to the file's beginning.
        let head = self.head.or_else(|| behind.get(..window).map(hash));
        let tail = hash(&behind[behind.len().saturating_sub(window)..]);
        let offset = self.offset + consumed as u64;
        (lines, Checkpoint { stat, offset, head, tail, generation: self.generation, namer })
    }
}

/// What the file is now: `stat` as it is, `head` its first [`WINDOW`] bytes, `tail` the `tail_len()` bytes before the
/// checkpoint's offset, each shorter only when the file ends before.
#[must_use]
pub fn judge(checkpoint: &Checkpoint, stat: &FileStat, head: &[u8], tail: &[u8]) -> Verdict {
    let then = &checkpoint.stat;
    let same_file = (stat.dev, stat.ino) == (then.dev, then.ino) && stat.size >= checkpoint.offset;
    let same_tail = tail.len() as u64 == checkpoint.tail_len() && hash(tail) == checkpoint.tail;
    let same_head = checkpoint.head.is_none_or(|then| hash(head) == then);
    if !(same_file && same_tail && same_head) {
        Verdict::Replaced
    } else if stat.size == checkpoint.offset || stat == then {
        Verdict::Same
    } else {
        Verdict::Grown
    }
}

/// The whole lines of `bytes`, without their newline and one carriage return before it, and how many bytes they take with
/// it. What stands behind the last newline is not a line yet, however complete it looks.
#[must_use]
pub fn whole_lines(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let consumed = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
    let lines = bytes[..consumed].split_inclusive(|b| *b == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    (lines.collect(), consumed)
}

/// What tells one line from another, wherever and how often it is read. Never its text, never its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKey {
    /// The record's own name.
    Record {
        /// The tool's id of its session.
        session: String,
        /// The record's id in it.
        uuid: String,
    },
    /// Of a line without one.
    Line {
        /// Of its bytes.
        hash: Hash,
        /// How many equal ones stand right before it.
        nth: u32,
    },
}

/// Names lines one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namer {
    before: Option<(Hash, u32)>,
}

impl Namer {
    /// The name of the next line.
    pub fn name(&mut self, named: Option<(String, String)>, line: &[u8]) -> LineKey {
        if let Some((session, uuid)) = named {
            self.before = None;
            return LineKey::Record { session, uuid };
        }
        let hash = hash(line);
        let nth = match self.before {
            Some((before, nth)) if before == hash => nth.saturating_add(1),
            Some(_) | None => 0,
        };
        self.before = Some((hash, nth));
        LineKey::Line { hash, nth }
    }
}

/// What is remembered of a small file that is read as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// What it was while it was read.
    pub stat: FileStat,
    /// Of its bytes.
    pub hash: Hash,
    /// Of the documents that its facts went into: other documents void the mark (DESIGN §4).
    pub stamp: [u8; 16],
    /// Whether the file's time was old enough at that moment for an equal time to mean equal bytes.
    pub settled: bool,
}

impl FileMark {
    /// The mark of a file that was read as `bytes` when the wall clock showed `read_ms`.
    #[must_use]
    pub fn new(stat: FileStat, bytes: &[u8], stamp: [u8; 16], read_ms: i64) -> FileMark {
        let settled = read_ms.saturating_sub(stat.mtime_ms) > SETTLED_MS;
        FileMark { stat, hash: hash(bytes), stamp, settled }
    }

    /// Whether the file need not be read again.
    #[must_use]
    pub fn holds(&self, stat: &FileStat, stamp: &[u8; 16]) -> bool {
        self.settled && self.stat == *stat && self.stamp == *stamp
    }

    /// Whether these bytes were read already, so that nothing in them is new.
    #[must_use]
    pub fn has_read(&self, bytes: &[u8], stamp: &[u8; 16]) -> bool {
        self.stamp == *stamp && self.hash == hash(bytes)
    }

    /// As a row of the index.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("because plain fields always serialise")
    }

    /// From a row of the index; `None` when it is not one of these, and the file is read again.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<FileMark> {
        postcard::from_bytes(bytes).ok()
    }
}

fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}
