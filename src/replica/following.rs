//! Files of lines are read on from where they were left; any doubt about a file means reading it from its beginning, and
//! what was read before changes nothing.
//!
//! A row of the index remembers for each file how far it was read and the sum of what it said ([`Run`]). Rows are kept after
//! the facts that came of their lines, so that a crash in between reads some lines twice and loses none. At most
//! [`ASKED_MAX`] pieces are asked for at a time, and a large file waits behind the others after each of its pieces, so that
//! one of 5 GB starves nobody. Newest files come first, small ones before large ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::ingest::files::{self, File, Line, Owner};
use crate::ingest::run::{Run, Said};
use crate::ingest::tail::{self, Checkpoint, Verdict};
use crate::model::batch::{Keep, Shelf};
use crate::model::effects::{Effects, Look};
use crate::model::input::{FileStat, RelPath, Seen};
use crate::model::limits::{LINE_BYTES_MAX, PIECE_BYTES};
use crate::model::tool::Root;

use super::strange::Strange;

/// Pieces that are asked for and not yet answered.
const ASKED_MAX: usize = 4;
/// A file larger than this waits behind all smaller ones.
const LARGE_BYTES: u64 = 8 * 1024 * 1024;
/// The front of the rows' keys.
const FRONT: &str = "run/";

/// Which file.
pub type At = (Root, RelPath);

/// What is remembered of one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    /// Of the documents that its facts went into: other documents void the row (DESIGN §4).
    stamp: [u8; 16],
    /// How far it was read.
    checkpoint: Checkpoint,
    /// Whether the middle of a line that is too long was reached: it is passed over up to its end.
    inside: bool,
    /// Whether it was read to its end when it was last read.
    to_its_end: bool,
    /// What it said.
    run: Run,
}

/// What one piece of a file brought; its row is kept after the facts that come of it.
pub struct Progress {
    /// Which file.
    pub at: At,
    /// Whose session it is.
    pub owner: Owner,
    /// The sum so far.
    pub run: Run,
    /// What the lines said beside.
    pub said: Vec<Said>,
    /// The file's time.
    pub mtime_ms: i64,
    /// Whether the file was read to its end.
    pub at_end: bool,
    row: Option<Row>,
}

impl Progress {
    /// A file that is always read as a whole.
    #[must_use]
    pub fn whole(at: At, owner: Owner, run: Run, said: Vec<Said>, mtime_ms: i64) -> Progress {
        Progress { at, owner, run, said, mtime_ms, at_end: true, row: None }
    }
}

/// One piece that came.
pub struct Piece {
    /// Of which file.
    pub at: At,
    /// What it was.
    pub stat: FileStat,
    /// Its first bytes.
    pub head: Vec<u8>,
    /// The bytes before `offset`.
    pub behind: Vec<u8>,
    /// From where.
    pub offset: u64,
    /// What it says there.
    pub bytes: Vec<u8>,
    /// Whether the file ends there.
    pub at_end: bool,
}

/// All files of lines.
pub struct Following {
    rows: BTreeMap<At, Row>,
    /// Files by the name of their first record.
    firsts: BTreeMap<String, BTreeSet<At>>,
    queue: VecDeque<At>,
    queued: BTreeSet<At>,
    asked: BTreeSet<At>,
    again: BTreeSet<At>,
    /// Of these nothing is asked for, by a person's word.
    paused: BTreeSet<Root>,
    /// Keys of rows that are void.
    void: Vec<String>,
    /// Kinds of records that nobody has told us of.
    pub strange: Strange,
}

impl Following {
    /// What the index remembers; rows of other documents are void.
    #[must_use]
    pub fn open(stamp: [u8; 16], shelf: &dyn Shelf) -> Following {
        let read = |key: &String| {
            let (root, path) = key.strip_prefix(FRONT)?.split_once('/')?;
            let row: Row = postcard::from_bytes(&shelf.get(key)?).ok().filter(|row: &Row| row.stamp == stamp)?;
            Some(((Root::named(root)?, path.to_owned()), row))
        };
        let (mut rows, mut void) = (BTreeMap::new(), Vec::new());
        for key in shelf.keys(FRONT) {
            match read(&key) {
                Some((at, row)) => drop(rows.insert(at, row)),
                None => void.push(key),
            }
        }
        let mut firsts: BTreeMap<String, BTreeSet<At>> = BTreeMap::new();
        let mut strange = Strange::default();
        for (at, row) in &rows {
            strange.say(at, &row.run.unknown);
            firsts.entry(row.run.first.clone().unwrap_or_default()).or_default().insert(at.clone());
        }
        let (queue, queued, asked, again) = (VecDeque::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Following { rows, firsts, queue, queued, asked, again, paused: BTreeSet::new(), void, strange }
    }

    /// Nothing more of that root is asked for. A piece that was asked for already still counts.
    pub fn pause(&mut self, root: Root) {
        self.paused.insert(root);
        self.queue.retain(|(of, _)| *of != root);
        self.queued.retain(|(of, _)| *of != root);
        self.again.retain(|(of, _)| *of != root);
    }

    /// The next listing asks for what was left.
    pub fn resume(&mut self, root: Root) {
        self.paused.remove(&root);
    }

    /// Whether that root rests.
    #[must_use]
    pub fn is_paused(&self, root: Root) -> bool {
        self.paused.contains(&root)
    }

    /// The words of all that rest.
    #[must_use]
    pub fn paused(&self) -> BTreeSet<String> {
        self.paused.iter().map(|root| root.word()).collect()
    }

    /// The sums of all files that were read, for what is shown of their sessions.
    pub fn runs(&self) -> impl Iterator<Item = (&At, &Run)> {
        self.rows.iter().map(|(at, row)| (at, &row.run))
    }

    /// The sum of one file, if it was read.
    #[must_use]
    pub fn run(&self, at: &At) -> Option<&Run> {
        self.rows.get(at).map(|row| &row.run)
    }

    /// Rows of other documents are dropped for good.
    pub fn drop_void(&mut self, out: &mut Effects) {
        for key in std::mem::take(&mut self.void) {
            out.keep.push(Keep::Index { key, value: None });
        }
    }

    /// Another file with that first record.
    #[must_use]
    pub fn of_first(&self, first: &str, but: &At) -> Option<(&At, &Run)> {
        let other = self.firsts.get(first)?.iter().find(|at| *at != but)?;
        Some((other, &self.rows.get(other)?.run))
    }

    /// Whether nothing is left to read.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.asked.is_empty()
    }

    /// Something happened to a file: it is read before those that were listed.
    pub fn hint(&mut self, at: At, out: &mut Effects) {
        if self.asked.contains(&at) {
            self.again.insert(at);
        } else if self.queued.insert(at.clone()) {
            self.queue.push_front(at);
        }
        self.pump(out);
    }

    /// A listing: what changed is read, the newest first and the large ones last.
    pub fn listed(&mut self, root: Root, files: Vec<Seen>, out: &mut Effects) {
        let is_packed = |seen: &Seen| files::plain(&seen.path) != seen.path;
        let plain: BTreeSet<RelPath> = files.iter().filter(|seen| !is_packed(seen)).map(|seen| seen.path.clone()).collect();
        let counts = |seen: &Seen| !is_packed(seen) || !plain.contains(files::plain(&seen.path));
        let mut changed: Vec<Seen> = files.into_iter().filter(|seen| counts(seen) && self.has_changed(root, seen)).collect();
        changed.sort_by_key(|seen| (seen.stat.size > LARGE_BYTES, Reverse(seen.stat.mtime_ms)));
        for Seen { path, .. } in changed {
            let at = (root, path);
            if !self.asked.contains(&at) && self.queued.insert(at.clone()) {
                self.queue.push_back(at);
            }
        }
        self.pump(out);
    }

    fn has_changed(&self, root: Root, seen: &Seen) -> bool {
        let row = self.rows.get(&(root, seen.path.clone()));
        row.is_none_or(|row| row.checkpoint.stat != seen.stat || !row.to_its_end)
    }

    /// Asks for the next pieces, as far as there is room.
    pub fn pump(&mut self, out: &mut Effects) {
        while self.asked.len() < ASKED_MAX {
            let Some(at) = self.queue.pop_front() else { return };
            self.queued.remove(&at);
            let offset = self.rows.get(&at).map_or(0, |row| row.checkpoint.offset);
            self.ask(at, offset, PIECE_BYTES, out);
        }
    }

    fn ask(&mut self, at: At, offset: u64, max: u64, out: &mut Effects) {
        out.look.push(Look::Follow { root: at.0, path: at.1.clone(), offset, max });
        self.asked.insert(at);
    }

    /// The file cannot be read, or is gone: that says nothing of its session.
    pub fn denied(&mut self, at: &At, out: &mut Effects) {
        self.asked.remove(at);
        self.again.remove(at);
        self.pump(out);
    }

    /// Reads one piece. `None`: nothing new, or another piece was asked for.
    pub fn take(&mut self, piece: Piece, stamp: [u8; 16], out: &mut Effects) -> Option<Progress> {
        let Some(File::Lines(owner, line)) = files::what(piece.at.0, &piece.at.1) else {
            self.denied(&piece.at, out);
            return None;
        };
        let held = self.rows.get(&piece.at);
        let generation = held.map_or(0, |row| row.checkpoint.generation);
        let fresh = |generation| Row {
            stamp,
            checkpoint: Checkpoint::new(piece.stat, generation),
            inside: false,
            to_its_end: false,
            run: Run::default(),
        };
        let row = held.cloned().unwrap_or_else(|| fresh(0));
        if row.checkpoint.offset != piece.offset {
            // Not what was asked for last.
            self.done_with(piece.at, out);
            return None;
        }
        let (verdict, row) = match tail::judge(&row.checkpoint, &unpacked(&piece), &piece.head, &piece.behind) {
            Verdict::Replaced if piece.offset == 0 => (Verdict::Grown, fresh(generation + 1)),
            Verdict::Same if !row.to_its_end => (Verdict::Grown, row),
            verdict @ (Verdict::Same | Verdict::Grown | Verdict::Replaced) => (verdict, row),
        };
        match verdict {
            Verdict::Replaced => {
                self.strange.say(&piece.at, &BTreeMap::new());
                self.rows.insert(piece.at.clone(), fresh(generation + 1));
                self.ask(piece.at, 0, PIECE_BYTES, out);
                None
            }
            Verdict::Same => {
                if row.checkpoint.stat != piece.stat {
                    // Touched, and the same: the next listing need not ask again.
                    let row = Row { checkpoint: Checkpoint { stat: piece.stat, ..row.checkpoint }, ..row };
                    out.keep.push(Keep::Index { key: key(&piece.at), value: Some(encode(&row)) });
                    self.rows.insert(piece.at.clone(), row);
                }
                self.done_with(piece.at, out);
                None
            }
            Verdict::Grown => self.read_on(piece, owner, line, row, out),
        }
    }

    /// Takes the whole lines of a piece into the sum.
    fn read_on(&mut self, piece: Piece, owner: Owner, line: Line, row: Row, out: &mut Effects) -> Option<Progress> {
        let Row { stamp, checkpoint, mut inside, mut run, .. } = row;
        let mut said = Vec::new();
        let mut consumed = 0;
        if inside {
            // The rest of a line that was too long.
            match piece.bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => (consumed, inside) = (end + 1, false),
                None => consumed = piece.bytes.len(),
            }
        }
        let (lines, whole) = tail::whole_lines(&piece.bytes[consumed..]);
        lines.into_iter().for_each(|one| line(&mut run, one, &mut said));
        consumed += whole;
        if consumed == 0 && !piece.at_end {
            if (piece.bytes.len() as u64) < LINE_BYTES_MAX {
                self.ask(piece.at, piece.offset, LINE_BYTES_MAX, out);
                return None;
            }
            run.counts.damaged += 1;
            (consumed, inside) = (piece.bytes.len(), true);
        }
        let checkpoint = checkpoint.behind(piece.stat, &piece.behind, &piece.bytes[..consumed]);
        let row = Row { stamp, checkpoint, inside, to_its_end: piece.at_end, run: run.clone() };
        Some(Progress { at: piece.at, owner, run, said, mtime_ms: piece.stat.mtime_ms, at_end: piece.at_end, row: Some(row) })
    }

    /// The facts of a piece are written: its row is kept behind them, and the next piece may come.
    pub fn keep(&mut self, progress: Progress, out: &mut Effects) {
        let Progress { at, row: Some(row), .. } = progress else { return };
        out.keep.push(Keep::Index { key: key(&at), value: Some(encode(&row)) });
        let more = !row.to_its_end;
        self.strange.say(&at, &row.run.unknown);
        self.firsts.entry(row.run.first.clone().unwrap_or_default()).or_default().insert(at.clone());
        self.rows.insert(at.clone(), row);
        if more {
            self.again.insert(at.clone());
        }
        self.done_with(at, out);
    }

    /// A piece was dealt with; the file waits behind the others if there is more of it.
    fn done_with(&mut self, at: At, out: &mut Effects) {
        self.asked.remove(&at);
        if self.again.remove(&at) && !self.is_paused(at.0) && self.queued.insert(at.clone()) {
            self.queue.push_back(at);
        }
        self.pump(out);
    }

    /// Rows that were kept before the last new document carry the stamp of now.
    pub fn restamp(&mut self, stamp: [u8; 16], out: &mut Effects) {
        for (at, row) in self.rows.iter_mut().filter(|(_, row)| row.stamp != stamp) {
            row.stamp = stamp;
            out.keep.push(Keep::Index { key: key(at), value: Some(encode(row)) });
        }
    }

    /// Everything is void and read again.
    pub fn distrust(&mut self, out: &mut Effects) {
        self.firsts.clear();
        self.strange.forget();
        for at in std::mem::take(&mut self.rows).into_keys() {
            out.keep.push(Keep::Index { key: key(&at), value: None });
        }
    }
}

/// What the file of a piece is when it is not packed, as far as it was read.
fn unpacked(piece: &Piece) -> FileStat {
    let known = piece.offset + piece.bytes.len() as u64;
    if files::plain(&piece.at.1) == piece.at.1 { piece.stat } else { FileStat { size: known, ..piece.stat } }
}

fn key((root, path): &At) -> String {
    format!("{FRONT}{}/{path}", root.word())
}

fn encode(row: &Row) -> Vec<u8> {
    postcard::to_stdvec(row).expect("because plain fields always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::Kept;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    const STAMP: [u8; 16] = [7; 16];

    /// What a tool does to its file.
    #[derive(Debug, Clone)]
    enum Write {
        Append(u8),
        Torn(u8),
        Rewrite(u8),
        Truncate,
        Reopen,
    }

    impl Arbitrary for Write {
        fn arbitrary(g: &mut Gen) -> Write {
            let n = u8::arbitrary(g);
            match n % 8 {
                0 => Write::Rewrite(n),
                1 => Write::Truncate,
                2 => Write::Reopen,
                3 => Write::Torn(n),
                _ => Write::Append(n),
            }
        }
    }

    fn line(n: u8) -> String {
        let text = "x".repeat(usize::from(n) * 40);
        format!("{{\"type\":\"user\",\"uuid\":\"u{n}\",\"sessionId\":\"s\",\"message\":{{\"role\":\"user\",\"content\":\"{text}\"}}}}\n")
    }

    /// A file on a disk, and who follows it.
    struct Rig {
        file: Vec<u8>,
        ino: u64,
        mtime: i64,
        following: Following,
        kept: Kept,
        looks: u64,
        said: u64,
    }

    impl Rig {
        fn new() -> Rig {
            let kept = Kept::default();
            Rig { file: Vec::new(), ino: 1, mtime: 0, following: Following::open(STAMP, &kept), kept, looks: 0, said: 0 }
        }

        fn at() -> At {
            (Root::CLAUDE_PROJECTS, "p/5c0e1f2a-0000-4000-8000-000000000001.jsonl".to_owned())
        }

        fn stat(&self) -> FileStat {
            FileStat { dev: 1, ino: self.ino, size: self.file.len() as u64, mtime_ms: self.mtime }
        }

        fn write(&mut self, write: &Write) {
            self.mtime += 10;
            match write {
                Write::Append(n) => self.file.extend(line(*n).bytes()),
                Write::Torn(n) => self.file.extend(&line(*n).as_bytes()[..usize::from(*n) / 8 + 1]),
                Write::Rewrite(n) => {
                    (self.file, self.ino) = (line(*n).into_bytes(), self.ino + 1);
                }
                Write::Truncate => self.file.truncate(self.file.len() / 2),
                Write::Reopen => self.following = Following::open(STAMP, &self.kept),
            }
        }

        /// Lists, and answers every look until nothing is asked.
        fn settle(&mut self) {
            let mut out = Effects::default();
            let seen = Seen { path: Rig::at().1, stat: self.stat() };
            self.following.listed(Rig::at().0, vec![seen], &mut out);
            while let Some(Look::Follow { offset, max, .. }) = out.look.pop() {
                self.looks += 1;
                assert!(self.looks < 10_000, "it asks for ever");
                let from = usize::try_from(offset).unwrap().min(self.file.len());
                let bytes: Vec<u8> = self.file[from..].iter().take(usize::try_from(max).unwrap().min(1500)).copied().collect();
                let piece = Piece {
                    at: Rig::at(),
                    stat: self.stat(),
                    head: self.file[..self.file.len().min(4096)].to_vec(),
                    behind: self.file[from.saturating_sub(4096)..from].to_vec(),
                    offset,
                    at_end: from + bytes.len() == self.file.len(),
                    // A line longer than a piece is asked for again in one.
                    bytes: if max == LINE_BYTES_MAX { self.file[from..].to_vec() } else { bytes },
                };
                let piece = Piece { at_end: from + piece.bytes.len() == self.file.len(), ..piece };
                if let Some(progress) = self.following.take(piece, STAMP, &mut out) {
                    self.said += progress.said.len() as u64;
                    self.following.keep(progress, &mut out);
                }
                std::mem::take(&mut out.keep).apply_to(&mut self.kept);
            }
            assert!(self.following.is_idle());
        }

        fn run(&self) -> Run {
            self.following.rows.get(&Rig::at()).map(|row| row.run.clone()).unwrap_or_default()
        }

        /// What the file as it is now says, read at once.
        fn plain(&self) -> Run {
            let Some(File::Lines(_, line)) = files::what(Rig::at().0, &Rig::at().1) else { panic!("a transcript") };
            let mut run = Run::default();
            tail::whole_lines(&self.file).0.into_iter().for_each(|one| line(&mut run, one, &mut Vec::new()));
            run
        }
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let mut rig = Rig::new();
        (0..20).for_each(|n| rig.write(&Write::Append(n)));
        rig.settle();
        let looks = rig.looks;
        assert_eq!(rig.run().counts.records, 20);
        rig.settle();
        rig.following = Following::open(STAMP, &rig.kept);
        rig.settle();
        assert_eq!(rig.looks, looks, "neither by the next listing nor after a restart");
        rig.mtime += 1;
        rig.settle();
        rig.settle();
        assert_eq!(rig.looks, looks + 1, "touched: looked at once, and read no line of it");
        rig.following.distrust(&mut Effects::default());
        rig.settle();
        assert_eq!(rig.run().counts.records, 20, "void rows are made again");
    }

    #[test]
    fn of_a_file_and_the_same_one_packed_the_plain_one_is_read() {
        let root = Root::of("codex", 0).next().expect("a folder");
        let seen = |path: &str| Seen { path: path.into(), stat: FileStat { dev: 1, ino: 1, size: 9, mtime_ms: 1 } };
        let asked = |files: &[&str]| {
            let (mut following, mut out) = (Following::open(STAMP, &Kept::default()), Effects::default());
            following.listed(root, files.iter().map(|path| seen(path)).collect(), &mut out);
            let path = |look: Look| if let Look::Follow { path, .. } = look { path } else { panic!("{look:?}") };
            out.look.into_iter().map(path).collect::<Vec<_>>()
        };
        assert_eq!(asked(&["a.jsonl", "a.jsonl.zst", "b.jsonl.zst"]), ["a.jsonl", "b.jsonl.zst"]);
    }

    #[test]
    fn a_line_without_end_is_passed_over_and_counted() {
        let mut rig = Rig::new();
        rig.file = line(1).into_bytes();
        let from = rig.file.len();
        rig.file.extend(vec![b'y'; usize::try_from(LINE_BYTES_MAX).unwrap() + 10]);
        let piece = |rig: &Rig, offset: usize, len: usize| Piece {
            at: Rig::at(),
            stat: rig.stat(),
            head: rig.file[..4096].to_vec(),
            behind: rig.file[offset.saturating_sub(4096)..offset].to_vec(),
            offset: offset as u64,
            bytes: rig.file[offset..offset + len].to_vec(),
            at_end: offset + len == rig.file.len(),
        };
        let mut out = Effects::default();
        let progress = rig.following.take(piece(&rig, 0, from), STAMP, &mut out).unwrap();
        rig.following.keep(progress, &mut out);
        assert!(rig.following.take(piece(&rig, from, 1000), STAMP, &mut out).is_none(), "a larger piece is asked for");
        let whole = usize::try_from(LINE_BYTES_MAX).unwrap();
        let progress = rig.following.take(piece(&rig, from, whole), STAMP, &mut out).unwrap();
        assert_eq!(progress.run.counts.damaged, 1);
        rig.following.keep(progress, &mut out);
        rig.file.extend(b"\n");
        rig.file.extend(line(2).bytes());
        let rest = rig.file.len() - from - whole;
        let progress = rig.following.take(piece(&rig, from + whole, rest), STAMP, &mut out).unwrap();
        assert_eq!((progress.run.counts.records, progress.run.counts.damaged), (2, 1), "and what follows it is read");
    }

    quickcheck! {
        /// However a file is written, in whatever pieces and over whatever restarts it is read: the sum is what its last
        /// writing says.
        fn the_sum_is_what_the_file_says(writes: Vec<(Write, bool)>) -> bool {
            let mut rig = Rig::new();
            for (write, read) in &writes {
                rig.write(write);
                if *read {
                    rig.settle();
                }
            }
            rig.settle();
            rig.run() == rig.plain()
        }
    }
}
