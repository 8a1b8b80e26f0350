//! What of the tools' files has been read, and what to look at next.
//!
//! Events are hints; a listing and the bytes are the truth. A file is read again only when its stat, or the documents that
//! hold what it said, changed since its mark was kept. A Claude todo file carries no working directory: what it says is
//! written after one look for the session's transcript, so that its items begin in their project. Files of lines are
//! [`following`](super::following)'s; here is what is read as a whole, and where it all comes together.

use std::collections::{BTreeMap, BTreeSet};

use crate::ingest::claude_process::{self, Process};
use crate::ingest::files::{self, File};
use crate::ingest::tail::FileMark;
use crate::model::batch::{Keep, Shelf};
use crate::model::effects::{Effects, Look};
use crate::model::input::{FileStat, RelPath, Seen, SourceEvent};
use crate::model::limits::{RESCAN_EVERY_MS, TODO_FILE_BYTES_MAX};
use crate::model::rows::Row;
use crate::model::time::{Millis, Now};
use crate::model::tool::{FOLDERS, Root, TOOLS};
use crate::model::view::SourceView;

use super::following::{At, Following, Piece, Progress};
use super::lists::{Of, Told, What, of, read_list, stem};
use super::placing::{Above, Place, Placed, Placing};
use super::tables::Tables;

/// How often an empty or unparsable file is read again, and after how long each time (FORMATS §8.7).
const TRIES_MAX: u8 = 3;
const TRY_AGAIN_MS: Millis = 50;

/// Of the processes and files that were asked for, those that live or are held open, and by whom.
pub type Lives = (Vec<u32>, Vec<(Root, RelPath, u32)>);

/// What came of one event.
#[derive(Default)]
pub struct Gathered {
    /// Small files whose session's place is settled: to be written now, then their marks.
    pub told: Vec<(Told, Place)>,
    /// What was read of sessions' own files, each with the repository above its working directory.
    pub progress: Vec<(Progress, Above)>,
    /// What sessions are called, by the tool's own ids of them.
    pub names: Vec<(Root, BTreeMap<String, String>)>,
    /// Processes that a tool says it runs.
    pub processes: Vec<(At, Process, i64)>,
    /// Whether a file of a process is gone.
    pub ended: bool,
    /// Which of the processes and files that were asked for live.
    pub living: Option<Lives>,
    /// Files whose marks are to be kept after what they speak of.
    pub marks: Vec<At>,
    /// Whether every listing that was asked for has just been read to its end.
    pub complete: bool,
}

/// A small file that was read.
struct Whole {
    at: At,
    stat: FileStat,
    /// All of it; nothing when there is more than may be.
    bytes: Vec<u8>,
    at_end: bool,
}

/// A file's mark as it counts here, and the stamp that it was kept with: what is kept with the right one is not kept again.
struct Marked {
    mark: FileMark,
    kept: [u8; 16],
}

/// The state of the sources.
pub struct Reading {
    stamp: [u8; 16],
    marks: BTreeMap<At, Marked>,
    reading: BTreeSet<At>,
    placing: Placing,
    /// Files of lines.
    pub following: Following,
    tables: Tables,
    malformed: BTreeMap<At, u64>,
    /// What could not be read as a whole: how often that was tried, and when it is tried again.
    again: BTreeMap<At, (u8, Millis)>,
    roots: BTreeSet<Root>,
    listing: BTreeSet<Root>,
    listed: bool,
    due: Millis,
    /// What is shown of each root.
    pub shown: BTreeMap<Root, SourceView>,
}

impl Reading {
    /// Nothing has been looked at; marks that carry another stamp than the documents' are void.
    #[must_use]
    pub fn open(stamp: [u8; 16], shelf: &dyn Shelf) -> Reading {
        let mark = |key: &String| {
            let (root, path) = key.strip_prefix(MARKS)?.split_once('/')?;
            let mark = FileMark::decode(&shelf.get(key)?)?;
            Some(((Root::named(root)?, path.to_owned()), Marked { kept: mark.stamp, mark }))
        };
        Reading {
            stamp,
            marks: shelf.keys(MARKS).iter().filter_map(mark).collect(),
            reading: BTreeSet::new(),
            placing: Placing::default(),
            following: Following::open(stamp, shelf),
            tables: Tables::default(),
            malformed: BTreeMap::new(),
            again: BTreeMap::new(),
            roots: TOOLS.iter().flat_map(|tool| Root::of(tool.name, 0)).collect(),
            listing: BTreeSet::new(),
            listed: false,
            due: 0,
            shown: BTreeMap::new(),
        }
    }

    /// Marks that carry another stamp are dropped for good: a document that comes back under its old name must not make them
    /// count again.
    pub fn drop_void(&mut self, out: &mut Effects) {
        let stamp = self.stamp;
        let void: Vec<At> = self.marks.iter().filter(|(_, marked)| marked.kept != stamp).map(|(at, _)| at.clone()).collect();
        for at in void {
            self.marks.remove(&at);
            out.keep.push(Keep::Index { key: mark_key(&at), value: None });
        }
        self.following.drop_void(out);
    }

    /// When something is to be looked at again.
    #[must_use]
    pub fn due(&self) -> Millis {
        self.again.values().map(|(_, due)| *due).chain([self.due]).min().unwrap_or(self.due)
    }

    /// Looks again at what is due.
    pub fn tick(&mut self, now: Now, out: &mut Effects) {
        if self.due <= now.boot_ms {
            self.list(now, out);
        }
        let due = |(at, (_, due)): (&At, &(u8, Millis))| (*due <= now.boot_ms).then(|| at.clone());
        for at in self.again.iter().filter_map(due).collect::<Vec<_>>() {
            // Due no more until the answer comes; should it get lost, a hint or a listing reads it.
            self.again.entry(at.clone()).and_modify(|(_, due)| *due = Millis::MAX);
            self.read(at, out);
        }
    }

    /// A file that could not be read may have been in the middle of being written: it is read a few times more, then what it
    /// said before stays.
    fn tried(&mut self, at: &At, enough: bool, now: Now) {
        let tries = self.again.remove(at).map_or(1, |(tries, _)| tries + 1);
        if !enough && tries <= TRIES_MAX {
            self.again.insert(at.clone(), (tries, now.boot_ms + TRY_AGAIN_MS));
        }
    }

    /// Lists everything again.
    pub fn list(&mut self, now: Now, out: &mut Effects) {
        self.due = now.boot_ms + RESCAN_EVERY_MS;
        self.placing.forget_repos();
        // In the order of the table: what is small and live first.
        let mut roots: Vec<Root> = self.roots.iter().copied().collect();
        roots.sort_by_key(|root| FOLDERS.iter().position(|folder| folder.word == root.folder().word));
        roots.into_iter().for_each(|root| self.list_one(root, out));
    }

    fn list_one(&mut self, root: Root, out: &mut Effects) {
        self.roots.insert(root);
        self.listing.insert(root);
        out.look.push(Look::List { root });
    }

    /// A listing was read to its end: marks that were kept before the last new document carry the stamp of now.
    pub fn restamp(&mut self, stamp: [u8; 16], out: &mut Effects) {
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        for (at, marked) in &mut self.marks {
            marked.mark.stamp = stamp;
            if std::mem::replace(&mut marked.kept, stamp) != stamp {
                out.keep.push(Keep::Index { key: mark_key(at), value: Some(marked.mark.encode()) });
            }
        }
        self.following.restamp(stamp, out);
    }

    /// Every mark is void: the documents that held what the files said may have lost it.
    pub fn distrust(&mut self, now: Now, out: &mut Effects) {
        for at in std::mem::take(&mut self.marks).into_keys() {
            out.keep.push(Keep::Index { key: mark_key(&at), value: None });
        }
        self.following.distrust(out);
        self.tables.distrust();
        self.list(now, out);
    }

    /// Hears what the sources say.
    pub fn hear(&mut self, event: SourceEvent, now: Now, stamp: [u8; 16], out: &mut Effects) -> Gathered {
        let (mut gathered, mut placed) = (Gathered::default(), Placed::default());
        self.notice_read(&event, now);
        match event {
            SourceEvent::Hint { root, path: Some(path) } => self.hinted(root, &path, now, out),
            SourceEvent::Hint { root, path: None } => self.list_one(root, out),
            SourceEvent::Looked { root, base, present, files, skipped } => {
                let (malformed, read_here) = self.shown.get(&root).map_or((0, None), |shown| (shown.malformed, shown.read_here));
                let error = (skipped > 0).then(|| format!("{skipped} entries passed over: links, pipes, or not readable"));
                let (count, listed_here) = (files.len() as u64, Some(now.wall_ms));
                let (paused, unknown) = (self.following.is_paused(root), self.following.strange.of(root));
                self.shown
                    .insert(root, SourceView { base, present, files: count, listed_here, read_here, paused, malformed, unknown, error });
                self.listing.remove(&root);
                self.looked(root, if paused { Vec::new() } else { files }, out);
            }
            SourceEvent::Read { root, path, bytes, .. } if root.folder().word == "claude-projects" => {
                self.placing.read_head(stem(&path), &bytes, out, &mut placed);
            }
            SourceEvent::Read { root, path, stat, bytes, at_end, .. } => {
                let read = Whole { at: (root, path), stat, bytes: if at_end { bytes } else { Vec::new() }, at_end };
                self.read_whole(read, stamp, now, out, &mut gathered, &mut placed);
            }
            SourceEvent::Followed { root, path, stat, head, behind, offset, bytes, at_end } => {
                let piece = Piece { at: (root, path), stat, head, behind, offset, bytes, at_end };
                if let Some(progress) = self.following.take(piece, stamp, out) {
                    self.placing.advanced(progress, out, &mut placed);
                }
            }
            SourceEvent::Rows { root, path, stat, tables } => self.read_rows((root, path), stat, tables, now, out, &mut placed),
            SourceEvent::Living { alive, held } => gathered.living = Some((alive, held)),
            SourceEvent::Found { root, files } => self.placing.found(root, files, out, &mut placed),
            SourceEvent::Repo { cwd, repo } => self.placing.learn_repo(&cwd, Above { repo, unsure: false }, &mut placed),
            SourceEvent::Unsure { cwd, repo } => self.placing.learn_repo(&cwd, Above { repo, unsure: true }, &mut placed),
            SourceEvent::Denied { root, path, why } => self.denied(root, path, &why, out, &mut gathered, &mut placed),
            // It is of no one root: the replica warns of it.
            SourceEvent::Polling { .. } => {}
        }
        self.gather(placed, &mut gathered);
        gathered.complete = self.is_complete();
        gathered
    }

    fn notice_read(&mut self, event: &SourceEvent, now: Now) {
        let (SourceEvent::Read { root, .. } | SourceEvent::Followed { root, .. } | SourceEvent::Rows { root, .. }) = event else { return };
        let Some(shown) = self.shown.get_mut(root) else { return };
        if shown.read_here.is_none_or(|at| (now.wall_ms - at).abs() >= super::ways::SHOWN_EVERY_MS) {
            shown.read_here = Some(now.wall_ms);
        }
    }

    /// Gives out what need wait no longer, with the marks to keep after it.
    fn gather(&mut self, placed: Placed, gathered: &mut Gathered) {
        for (told, at, mark, place) in placed.told {
            // What could not be read as a list is read again at the next hint or listing.
            if told.what != What::Nothing {
                self.mark(at, mark, gathered);
            }
            gathered.told.push((told, place));
        }
        gathered.progress.extend(placed.progress);
    }

    /// Nothing more of that root is read until [`Reading::resume`]; what was asked for already is taken.
    pub fn pause(&mut self, root: Root) {
        self.following.pause(root);
        self.again.retain(|(of, _), _| *of != root);
        self.shown.entry(root).and_modify(|shown| shown.paused = true);
    }

    /// It is read again, from where it was left.
    pub fn resume(&mut self, root: Root, out: &mut Effects) {
        self.following.resume(root);
        self.shown.entry(root).and_modify(|shown| shown.paused = false);
        self.list_one(root, out);
    }

    /// Shows how often each kind of record came that nobody has told us of.
    pub fn show_strange(&mut self) {
        if self.following.strange.take_changed() {
            for (root, shown) in &mut self.shown {
                shown.unknown = self.following.strange.of(*root);
            }
        }
    }

    fn hinted(&mut self, root: Root, path: &str, now: Now, out: &mut Effects) {
        if self.following.is_paused(root) {
            return;
        }
        let path = files::meant(path);
        let at = (root, path.to_owned());
        match files::what(root, path) {
            Some(File::Lines(..)) => self.following.hint(at, out),
            Some(File::Tables(..)) => match self.tables.due(&at, now.boot_ms) {
                due if due <= now.boot_ms => self.read(at, out),
                due => drop(self.again.insert(at, (0, due))),
            },
            Some(_) => self.read(at, out),
            None => {}
        }
    }

    fn read(&mut self, at: At, out: &mut Effects) {
        let (root, path) = at.clone();
        out.look.push(match files::what(root, &path) {
            Some(File::Tables(tables, _)) => Look::Rows { root, path, tables },
            _ => Look::Read { root, path, offset: 0, max: TODO_FILE_BYTES_MAX },
        });
        self.reading.insert(at);
    }

    /// A database was looked into. One that did not hold still is looked into again; what it said before stays.
    fn read_rows(&mut self, at: At, stat: FileStat, tables: Option<Vec<Vec<Row>>>, now: Now, out: &mut Effects, placed: &mut Placed) {
        self.reading.remove(&at);
        let Some(File::Tables(_, read)) = files::what(at.0, &at.1) else { return };
        match &tables {
            None => self.tried(&at, false, now),
            // It may have been written since it was looked into: then it is due at its time.
            Some(_) if self.again.get(&at).is_some_and(|(_, due)| *due == Millis::MAX) => self.tried(&at, true, now),
            Some(_) => {}
        }
        self.count_malformed(at.clone(), u64::from(tables.is_none()));
        for (owner, run, said) in self.tables.new_of(&at, read(&tables.unwrap_or_default())) {
            self.placing.advanced(Progress::whole(at.clone(), owner, run, said, stat.mtime_ms), out, placed);
        }
    }

    /// Reads what changed since it was marked; first asks, in one look, for the transcripts of all sessions that are new.
    fn looked(&mut self, root: Root, files: Vec<Seen>, out: &mut Effects) {
        self.listed |= self.listing.is_empty();
        let mut names = Vec::new();
        let mut lines = Vec::new();
        for seen in files {
            let file = files::what(root, &seen.path);
            let at = (root, seen.path.clone());
            match &file {
                Some(File::Lines(..)) => {
                    lines.push(seen);
                    continue;
                }
                Some(_) => {}
                None => continue,
            }
            if self.marks.get(&at).is_some_and(|marked| marked.mark.holds(&seen.stat, &self.stamp)) {
                continue;
            }
            if let Some(Of::Session(session, _)) = file.as_ref().and_then(of)
                && self.placing.is_wanted(&session)
            {
                names.push(session);
            }
            self.read(at, out);
        }
        names.dedup();
        Placing::find(root, &names, out);
        self.following.listed(root, lines, out);
    }

    fn read_whole(
        &mut self,
        Whole { at, stat, bytes, at_end }: Whole,
        stamp: [u8; 16],
        now: Now,
        out: &mut Effects,
        gathered: &mut Gathered,
        placed: &mut Placed,
    ) {
        self.reading.remove(&at);
        let Some(file) = files::what(at.0, &at.1) else { return };
        let mark = FileMark::new(stat, &bytes, stamp, now.wall_ms);
        if self.marks.get(&at).is_some_and(|marked| marked.mark.has_read(&bytes, &self.stamp)) {
            return self.mark(at, mark, gathered);
        }
        let malformed = match &file {
            File::Process { .. } => {
                let process = claude_process::parse(&bytes);
                let malformed = u64::from(process.is_err());
                self.tried(&at, process.is_ok() || !at_end, now);
                // Without a mark: after a restart it is asked again which of them live.
                gathered.processes.extend(process.map(|process| (at.clone(), process, stat.mtime_ms)));
                malformed
            }
            File::Whole(owner, read) => match read(&bytes) {
                Ok((run, said)) => {
                    self.tried(&at, true, now);
                    self.mark(at.clone(), mark, gathered);
                    self.following.strange.say(&at, &run.unknown);
                    self.placing.advanced(Progress::whole(at.clone(), owner.clone(), run, said, stat.mtime_ms), out, placed);
                    0
                }
                Err(_) => {
                    self.tried(&at, !at_end, now);
                    1
                }
            },
            File::Names(read) => {
                // Without a mark: it is small, and what is not remembered is read again after a restart.
                self.tried(&at, true, now);
                gathered.names.push((at.0, read(&bytes)));
                0
            }
            File::Lines(..) | File::Tables(..) => return,
            File::Todos(_) | File::Task { .. } | File::HighMark { .. } => {
                let (what, malformed) = read_list(&file, &at.1, &bytes);
                let Some(of) = of(&file) else { return };
                self.tried(&at, what != What::Nothing || !at_end, now);
                let told = Told { of: of.clone(), what, at: stat.mtime_ms };
                match of {
                    Of::Named(_) => placed.told.push((told, at.clone(), mark, Place::default())),
                    Of::Session(session, _) => self.placing.wait(session, told, at.clone(), mark, out, placed),
                }
                malformed
            }
        };
        self.count_malformed(at, malformed);
    }

    fn mark(&mut self, at: At, mark: FileMark, gathered: &mut Gathered) {
        gathered.marks.push(at.clone());
        self.marks.insert(at, Marked { kept: mark.stamp, mark: FileMark { stamp: self.stamp, ..mark } });
    }

    /// What these files said is written: their marks are kept with the stamp of the documents that hold it now.
    pub fn keep_marks(&mut self, marks: Vec<At>, stamp: [u8; 16], out: &mut Effects) {
        for at in marks {
            let Some(marked) = self.marks.get_mut(&at) else { continue };
            marked.kept = stamp;
            out.keep.push(Keep::Index { key: mark_key(&at), value: Some(FileMark { stamp, ..marked.mark }.encode()) });
        }
    }

    fn count_malformed(&mut self, at: At, now: u64) {
        let root = at.0;
        let before = self.malformed.insert(at, now).unwrap_or(0);
        if let Some(shown) = self.shown.get_mut(&root) {
            shown.malformed = shown.malformed.saturating_sub(before) + now;
        }
    }

    fn denied(&mut self, root: Root, path: Option<RelPath>, why: &str, out: &mut Effects, gathered: &mut Gathered, placed: &mut Placed) {
        let Some(path) = path else { return self.root_denied(root, why, placed) };
        let at = (root, path);
        match files::what(root, &at.1) {
            Some(File::Lines(..)) => {
                self.following.denied(&at, out);
                self.placing.read_head(stem(&at.1), &[], out, placed);
            }
            Some(File::Process { .. }) => {
                self.reading.remove(&at);
                self.again.remove(&at);
                gathered.ended = true;
            }
            // A file that is gone says nothing; only its name is forgotten.
            Some(_) | None => {
                self.reading.remove(&at);
                self.again.remove(&at);
            }
        }
    }

    fn root_denied(&mut self, root: Root, why: &str, placed: &mut Placed) {
        self.listing.remove(&root);
        self.listed |= self.listing.is_empty();
        if root.folder().word == "claude-projects" {
            self.placing.found_nothing(placed);
        }
        match self.shown.get_mut(&root) {
            Some(shown) => shown.error = Some(why.to_owned()),
            // Nobody configured it: there is nothing to show.
            None => drop(self.roots.remove(&root)),
        }
    }

    fn is_complete(&self) -> bool {
        self.listed && self.listing.is_empty() && self.reading.is_empty() && self.placing.is_idle() && self.following.is_idle()
    }
}

/// The front of the marks' keys.
const MARKS: &str = "mark/";

fn mark_key((root, path): &At) -> String {
    format!("{MARKS}{}/{path}", root.word())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use super::super::conversations::Node;
    use super::*;
    use crate::model::batch::Batch;
    use crate::model::input::{FileStat, Input};

    const FILES: u64 = 40;

    fn path(n: u64) -> String {
        let session = format!("5c0e1f2a-0000-4000-8000-{n:012}");
        format!("{session}-agent-{session}.json")
    }

    /// Answers as a directory with so many lists does, touched so many times.
    fn answer(look: &Look, touched: u64) -> Option<SourceEvent> {
        let bytes = |n: u64| format!(r#"[{{"content":"todo {n}","status":"pending","activeForm":"x"}}]"#).into_bytes();
        let stat = |n: u64| FileStat { dev: 1, ino: n, size: bytes(n).len() as u64, mtime_ms: 1_700_000_000_000 + 5_000 * touched as i64 };
        Some(match look {
            Look::List { root } if *root == Root::CLAUDE_TODOS => {
                let files = (0..FILES).map(|n| Seen { path: path(n), stat: stat(n) }).collect();
                SourceEvent::Looked { root: *root, base: "/t".into(), present: true, files, skipped: 0 }
            }
            Look::List { root } => SourceEvent::Denied { root: *root, path: None, why: "not there".into() },
            Look::Read { root, path: of, .. } => {
                let n = (0..FILES).find(|n| path(*n) == *of)?;
                SourceEvent::Read { root: *root, path: of.clone(), stat: stat(n), offset: 0, bytes: bytes(n), at_end: true }
            }
            Look::Find { root, names } => {
                SourceEvent::Found { root: *root, files: names.iter().map(|name| (name.clone(), None)).collect() }
            }
            Look::Repo { cwd } => SourceEvent::Repo { cwd: cwd.clone(), repo: None },
            Look::Follow { .. } | Look::Rows { .. } | Look::Living { .. } => return None,
        })
    }

    fn count(keep: &Batch, writes: &mut BTreeMap<String, u64>) {
        for one in keep.iter() {
            if let Keep::Index { key, value: Some(_) } = one
                && key.starts_with(MARKS)
            {
                *writes.entry(key.clone()).or_default() += 1;
            }
        }
    }

    #[test]
    fn a_cold_start_keeps_each_mark_once_and_the_next_start_reads_nothing() {
        let mut node = Node::new(1);
        let mut writes = BTreeMap::new();
        let mut reads = 0;
        for life in 0..2u64 {
            let out = node.reopen(life * 100 + 1);
            count(&out.keep, &mut writes);
            let mut waiting: VecDeque<Look> = out.look.into();
            while let Some(look) = waiting.pop_front() {
                reads += u64::from(matches!(look, Look::Read { .. }));
                let Some(event) = answer(&look, 0) else { continue };
                let out = node.step(life * 100 + 2, Input::Source(event));
                count(&out.keep, &mut writes);
                waiting.extend(out.look);
            }
        }
        assert_eq!(reads, FILES, "each file is read in the first life and in no other");
        // Every file is touched: each is read, nothing of it is taken again, and the next listing asks for none.
        for (round, wanted) in [(1, FILES), (1, 0)] {
            let mut waiting = VecDeque::from([Look::List { root: Root::CLAUDE_TODOS }]);
            let mut reads = 0;
            while let Some(look) = waiting.pop_front() {
                reads += u64::from(matches!(look, Look::Read { .. }));
                let out = answer(&look, round).map(|event| node.step(300, Input::Source(event))).unwrap_or_default();
                let is_mark = |one: &Keep| matches!(one, Keep::Index { key, .. } if key.starts_with(MARKS));
                assert!(out.keep.iter().all(is_mark), "{:?}", out.keep);
                waiting.extend(out.look);
            }
            assert_eq!(reads, wanted);
        }
        let written: u64 = writes.values().sum();
        assert!(writes.len() as u64 == FILES && written == FILES, "{written} writes of {FILES} marks: {writes:?}");
    }
}
