//! Reading a file again changes nothing, and reading it in any pieces gives the same lines: nothing is consumed beyond a
//! newline, and any doubt about whether a file is still the one that was read means reading it from its beginning.
//!
//! Files of agents are mostly appended and sometimes rewritten, truncated or replaced (RELIABILITY C). A [`Checkpoint`]
//! remembers how far a file of lines was read; a [`FileMark`] remembers a small file that is always read as a whole. Both
//! live in the index, which may be deleted at any time.

use serde::{Deserialize, Serialize};

use crate::model::input::FileStat;
use crate::model::limits::WINDOW_BYTES;

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
    /// Of the first [`WINDOW_BYTES`] bytes, once so many were consumed.
    pub head: Option<Hash>,
    /// Of the last [`WINDOW_BYTES`] consumed bytes, or all when there are fewer.
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
        self.offset.min(WINDOW_BYTES)
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
        (lines, Checkpoint { namer, ..self.behind(stat, tail, &read[..consumed]) })
    }

    /// The checkpoint behind `read`, whose last byte ends what was consumed; `tail` is what [`judge`] saw before it.
    #[must_use]
    pub fn behind(&self, stat: FileStat, tail: &[u8], read: &[u8]) -> Checkpoint {
        let window = usize::try_from(WINDOW_BYTES).expect("because 4096 fits");
        let from = |bytes: &[u8]| bytes.len().saturating_sub(window);
        let last = if read.len() >= window { read[from(read)..].to_vec() } else { [tail, read].concat() };
        // Until so much was consumed, `tail` reaches back to the file's beginning.
        let first = || tail.iter().chain(read).copied().take(window).collect::<Vec<u8>>();
        let head = self.head.or_else(|| (tail.len() + read.len() >= window).then(|| hash(&first())));
        let offset = self.offset + read.len() as u64;
        Checkpoint { stat, offset, head, tail: hash(&last[from(&last)..]), generation: self.generation, namer: self.namer }
    }
}

/// What the file is now: `stat` as it is, `head` its first [`WINDOW_BYTES`] bytes, `tail` the `tail_len()` bytes before the
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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use std::collections::BTreeSet;

    fn stat(ino: u64, bytes: &[u8], mtime_ms: i64) -> FileStat {
        FileStat { dev: 1, ino, size: bytes.len() as u64, mtime_ms }
    }

    fn part(bytes: &[u8], from: u64, to: u64) -> &[u8] {
        let at = |place: u64| usize::try_from(place).expect("fits").min(bytes.len());
        &bytes[at(from)..at(to)]
    }

    /// What a tool's own record names look like here: `{"s":…,"u":…}`.
    fn named(line: &[u8]) -> Option<(String, String)> {
        let value: serde_json::Value = serde_json::from_slice(line).ok()?;
        Some((value.get("s")?.as_str()?.to_owned(), value.get("u")?.as_str()?.to_owned()))
    }

    /// Judges and reads on, as the replica does.
    fn catch_up(from: &Checkpoint, stat: FileStat, bytes: &[u8]) -> (Verdict, Vec<LineKey>, Checkpoint) {
        let tail = part(bytes, from.offset - from.tail_len(), from.offset);
        let verdict = judge(from, &stat, part(bytes, 0, WINDOW_BYTES), tail);
        let (start, tail) = match verdict {
            Verdict::Same => return (verdict, Vec::new(), Checkpoint { stat, ..*from }),
            Verdict::Grown => (*from, tail),
            Verdict::Replaced => (Checkpoint::new(stat, from.generation + 1), [].as_slice()),
        };
        let (lines, next) = start.read_on(stat, tail, part(bytes, start.offset, u64::MAX), named);
        (verdict, lines.into_iter().map(|(key, _)| key).collect(), next)
    }

    fn whole(bytes: &[u8]) -> (Vec<LineKey>, Checkpoint) {
        let stat = stat(1, bytes, 0);
        let first = Checkpoint::new(FileStat { size: 0, ..stat }, 0);
        let (_, keys, next) = catch_up(&first, stat, bytes);
        (keys, next)
    }

    /// Bytes with many newlines, some of them long enough to outgrow the window.
    fn file(seed: &[u8], stretched: bool) -> Vec<u8> {
        let line = |b: &u8| match b % 5 {
            0 => b"\n".to_vec(),
            1 => b"same\r\n".to_vec(),
            2 => format!("{{\"s\":\"5c\",\"u\":\"{b}\"}}\n").into_bytes(),
            3 if stretched => vec![*b | 32; 3000],
            _ => vec![*b],
        };
        seed.iter().flat_map(line).collect()
    }

    quickcheck! {
        fn any_pieces_give_the_same_lines_with_the_same_names(seed: Vec<u8>, cuts: Vec<u16>, stretched: bool) -> bool {
            let bytes = file(&seed, stretched);
            let mut sizes: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) % (bytes.len() + 1)).collect();
            sizes.push(bytes.len());
            sizes.sort_unstable();
            let mut at = Checkpoint::new(stat(1, &[], -1), 0);
            let mut keys = Vec::new();
            for (time, size) in (0..).zip(sizes) {
                let (verdict, new, next) = catch_up(&at, stat(1, &bytes[..size], time), &bytes[..size]);
                if verdict == Verdict::Replaced {
                    return false;
                }
                keys.extend(new);
                at = next;
            }
            let (at_once, end) = whole(&bytes);
            keys == at_once && at.offset == end.offset && at.head == end.head && at.tail == end.tail && at.namer == end.namer
        }

        fn reading_twice_changes_nothing(seed: Vec<u8>, stretched: bool) -> bool {
            let bytes = file(&seed, stretched);
            let (keys, end) = whole(&bytes);
            let (verdict, none, same) = catch_up(&end, end.stat, &bytes);
            let (again, _) = whole(&bytes);
            (verdict, none.len(), same) == (Verdict::Same, 0, end) && again == keys
        }

        fn nothing_is_consumed_beyond_a_newline(bytes: Vec<u8>) -> bool {
            let (lines, consumed) = whole_lines(&bytes);
            let newlines = bytes.iter().filter(|b| **b == b'\n').count();
            lines.len() == newlines && !bytes[consumed..].contains(&b'\n') && (consumed == 0 || bytes[consumed - 1] == b'\n')
        }

        fn a_byte_changed_in_either_window_is_noticed(seed: Vec<u8>, place: usize) -> bool {
            let bytes = file(&seed, true);
            let (_, end) = whole(&bytes);
            let read = usize::try_from(end.offset).expect("fits");
            if read == 0 {
                return true;
            }
            let window = usize::try_from(WINDOW_BYTES).expect("fits").min(read);
            let place = if place.is_multiple_of(2) { place % window } else { read - 1 - place % window };
            let mut other = bytes.clone();
            other[place] ^= 1;
            catch_up(&end, stat(1, &other, 1), &other).0 == Verdict::Replaced
        }

        fn a_file_cut_below_what_was_read_begins_anew_and_loses_no_name(seed: Vec<u8>, keep: usize, more: Vec<u8>) -> bool {
            let bytes = file(&seed, false);
            let (keys, end) = whole(&bytes);
            let read = usize::try_from(end.offset).expect("fits");
            if read == 0 {
                return true;
            }
            let cut = [&bytes[..keep % read], more.as_slice()].concat();
            let (verdict, new, next) = catch_up(&end, stat(1, &cut, 1), &cut);
            let whole_again = cut.starts_with(&bytes[..read]);
            let known: BTreeSet<&LineKey> = keys.iter().collect();
            let kept = whole_lines(&bytes[..keep % read]).0.len();
            whole_again
                || verdict == Verdict::Replaced && next.generation == 1 && new.iter().take(kept).all(|key| known.contains(key))
        }

        fn a_mark_reads_back_and_no_row_panics(size: u64, mtime_ms: i64, bytes: Vec<u8>, stamp: u8, read_ms: i64) -> bool {
            let mark = FileMark::new(FileStat { dev: 1, ino: 2, size, mtime_ms }, &bytes, [stamp; 16], read_ms);
            let _ = FileMark::decode(&bytes);
            FileMark::decode(&mark.encode()) == Some(mark) && FileMark::decode(&mark.encode()[1..]) != Some(mark)
        }
    }

    #[test]
    fn a_torn_tail_that_is_completed_later_is_one_line() {
        let (_, first) = whole(b"one\ntw");
        assert_eq!(first.offset, 4, "however complete it looks");
        let (verdict, keys, second) = catch_up(&first, stat(1, b"one\ntwo\n", 1), b"one\ntwo\n");
        assert_eq!((verdict, second.offset), (Verdict::Grown, 8));
        assert_eq!(keys, [LineKey::Line { hash: hash(b"two"), nth: 0 }]);
        let (verdict, keys, never) = catch_up(&first, stat(1, b"one\n", 1), b"one\n");
        assert_eq!((verdict, keys.len(), never.offset), (Verdict::Same, 0, 4), "the torn tail was cut off");
    }

    #[test]
    fn another_file_under_the_same_name_is_read_from_its_beginning() {
        let (_, first) = whole(b"one\ntwo\n");
        for (what, stat, bytes) in [
            ("renamed over, same beginning", stat(2, b"one\ntwo\nx\n", 0), b"one\ntwo\nx\n".as_slice()),
            ("truncated and grown past the old end", stat(1, b"another one\n", 0), b"another one\n"),
            ("the inode was used again", stat(1, b"uno\ndue\n", 0), b"uno\ndue\n"),
            ("emptied", stat(1, b"", 0), b""),
        ] {
            let (verdict, _, next) = catch_up(&first, stat, bytes);
            assert_eq!((verdict, next.generation), (Verdict::Replaced, 1), "{what}");
        }
        let shrunk = FileStat { size: 4, ..first.stat };
        assert_eq!(judge(&first, &shrunk, b"one\ntwo\n", b"one\ntwo\n"), Verdict::Replaced, "shorter than what was read");
        let touched = stat(1, b"one\ntwo\n", 999);
        assert_eq!(catch_up(&first, touched, b"one\ntwo\n").0, Verdict::Same, "only its time changed");
    }

    #[test]
    fn equal_neighbours_have_names_of_their_own() {
        let (keys, _) = whole(b"a\na\nb\n{\"s\":\"5c\",\"u\":\"7f\"}\na\r\n");
        let line = |text: &[u8], nth| LineKey::Line { hash: hash(text), nth };
        let record = LineKey::Record { session: "5c".into(), uuid: "7f".into() };
        assert_eq!(keys, [line(b"a", 0), line(b"a", 1), line(b"b", 0), record, line(b"a", 0)]);
    }

    #[test]
    fn a_small_file_is_read_again_when_anything_about_it_differs() {
        let was = FileStat { dev: 1, ino: 2, size: 2, mtime_ms: 10_000 };
        let mark = FileMark::new(was, b"[]", [7; 16], 12_001);
        assert!(mark.holds(&was, &[7; 16]) && !mark.holds(&was, &[8; 16]), "other documents void it");
        for other in [FileStat { dev: 9, ..was }, FileStat { ino: 9, ..was }, FileStat { size: 9, ..was }, FileStat { mtime_ms: 9, ..was }]
        {
            assert!(!mark.holds(&other, &[7; 16]));
        }
        assert!(mark.has_read(b"[]", &[7; 16]) && !mark.has_read(b"[1", &[7; 16]) && !mark.has_read(b"[]", &[8; 16]));
        for soon in [12_000, 10_000, 9_000, i64::MIN] {
            assert!(!FileMark::new(was, b"[]", [7; 16], soon).holds(&was, &[7; 16]), "written while it was read: {soon}");
        }
    }
}
