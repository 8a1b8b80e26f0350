//! What of the tools' files has been read, and what to look at next.
//!
//! Events are hints; a listing and the bytes are the truth. A file is read again only when its stat, or the documents that
//! hold what it said, changed since its mark was kept. A Claude todo file carries no working directory: what it says is
//! written after one look for the session's transcript, so that its items begin in their project.

use std::collections::{BTreeMap, BTreeSet};

use crate::ingest::claude;
use crate::ingest::claude_todos::{self, Name};
use crate::ingest::tail::FileMark;
use crate::model::batch::{Keep, Shelf};
use crate::model::effects::{Effects, Look};
use crate::model::input::{FileStat, RelPath, Repo, Root, Seen, SourceEvent};
use crate::model::limits::{HEAD_BYTES_MAX, RESCAN_EVERY_MS, TODO_FILE_BYTES_MAX};
use crate::model::time::{Millis, Now};
use crate::model::todo::Reading as ListReading;
use crate::model::view::SourceView;

/// How often an empty or unparsable file is read again, and after how long each time (FORMATS §8.7).
const TRIES_MAX: u8 = 3;
const TRY_AGAIN_MS: Millis = 50;

/// One list, read whole, with what its session's transcript tells.
pub struct Told {
    /// The tool's session id.
    pub session: String,
    /// The agent id in the file's name.
    pub agent: String,
    /// What the list says; `None`: only that the session exists.
    pub list: Option<ListReading>,
    /// The file's time.
    pub at: i64,
}

/// What is known of a session's place in the world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its working directory.
    pub cwd: Option<String>,
    /// Its branch.
    pub branch: Option<String>,
    /// What it is about.
    pub title: Option<String>,
    /// When its transcript begins.
    pub started: Option<i64>,
    /// The repository above its working directory.
    pub repo: Option<Repo>,
}

/// How far the look for a session's transcript is.
enum Looking {
    /// Asked for by name.
    Finding,
    /// Its head is being read.
    Head,
    /// The repository above its working directory is asked for.
    Repo(Place),
    /// Known as far as it can be.
    Settled(Place),
}

/// What came of one event.
#[derive(Default)]
pub struct Gathered {
    /// Lists whose session's place is settled: to be written now, then their marks.
    pub told: Vec<(Told, Place)>,
    /// Marks to keep after what they speak of.
    pub marks: Vec<Keep>,
    /// Whether a whole listing has just been read to its end.
    pub complete: bool,
}

/// The state of the sources.
pub struct Reading {
    stamp: [u8; 16],
    marks: BTreeMap<RelPath, FileMark>,
    reading: BTreeSet<RelPath>,
    waiting: BTreeMap<String, Vec<(Told, RelPath, FileMark)>>,
    sessions: BTreeMap<String, Looking>,
    malformed: BTreeMap<RelPath, u64>,
    malformed_in_all: u64,
    /// Which sessions wait for the repository above a working directory.
    asked: BTreeMap<String, BTreeSet<String>>,
    /// What could not be read as a list: how often that was tried, and when it is tried again.
    again: BTreeMap<RelPath, (u8, Millis)>,
    listed: bool,
    due: Millis,
    /// What is shown of each root.
    pub shown: BTreeMap<Root, SourceView>,
}

impl Reading {
    /// Nothing has been looked at; marks that carry another stamp than the documents' are void.
    #[must_use]
    pub fn open(stamp: [u8; 16], shelf: &dyn Shelf) -> Reading {
        let front = mark_key("");
        let mark = |key: &String| Some((key.strip_prefix(&front)?.to_owned(), FileMark::decode(&shelf.get(key)?)?));
        let marks = shelf.keys(&front).iter().filter_map(mark).collect();
        Reading {
            stamp,
            marks,
            reading: BTreeSet::new(),
            waiting: BTreeMap::new(),
            sessions: BTreeMap::new(),
            malformed: BTreeMap::new(),
            malformed_in_all: 0,
            asked: BTreeMap::new(),
            again: BTreeMap::new(),
            listed: false,
            due: 0,
            shown: BTreeMap::new(),
        }
    }

    /// Marks that carry another stamp are dropped for good: a document that comes back under its old name must not make them
    /// count again.
    pub fn drop_void(&mut self, out: &mut Effects) {
        let stamp = self.stamp;
        let void: Vec<RelPath> = self.marks.iter().filter(|(_, mark)| mark.stamp != stamp).map(|(path, _)| path.clone()).collect();
        for path in void {
            self.marks.remove(&path);
            out.keep.push(Keep::Index { key: mark_key(&path), value: None });
        }
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
        let due = |(path, (_, due)): (&RelPath, &(u8, Millis))| (*due <= now.boot_ms).then(|| path.clone());
        for path in self.again.iter().filter_map(due).collect::<Vec<_>>() {
            // Due no more until the answer comes; should it get lost, a hint or a listing reads it.
            self.again.entry(path.clone()).and_modify(|(_, due)| *due = Millis::MAX);
            self.read(&path, out);
        }
    }

    /// A file may have been read in the middle of being written: it is read a few times more, then what it said before stays.
    fn try_again(&mut self, path: &RelPath, now: Now) {
        let tries = self.again.remove(path).map_or(1, |(tries, _)| tries + 1);
        if tries <= TRIES_MAX {
            self.again.insert(path.clone(), (tries, now.boot_ms + TRY_AGAIN_MS));
        }
    }

    /// Lists everything again.
    pub fn list(&mut self, now: Now, out: &mut Effects) {
        self.due = now.boot_ms + RESCAN_EVERY_MS;
        out.look.push(Look::List { root: Root::ClaudeTodos });
    }

    /// A listing was read to its end: marks that were kept before the last new document carry the stamp of now.
    pub fn restamp(&mut self, stamp: [u8; 16], out: &mut Effects) {
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        for (path, mark) in &mut self.marks {
            mark.stamp = stamp;
            out.keep.push(Keep::Index { key: mark_key(path), value: Some(mark.encode()) });
        }
    }

    /// Every mark is void: the documents that held what the files said may have lost it.
    pub fn distrust(&mut self, now: Now, out: &mut Effects) {
        for path in std::mem::take(&mut self.marks).into_keys() {
            out.keep.push(Keep::Index { key: mark_key(&path), value: None });
        }
        self.list(now, out);
    }

    /// Hears what the sources say.
    pub fn hear(&mut self, event: SourceEvent, now: Now, stamp: [u8; 16], out: &mut Effects) -> Gathered {
        let mut gathered = Gathered::default();
        match event {
            SourceEvent::Hint { root: Root::ClaudeTodos, path: Some(path) } => self.read(&path, out),
            SourceEvent::Hint { .. } => self.list(now, out),
            SourceEvent::Looked { root, base, present, files, skipped } => {
                let before = self.shown.get(&root).map_or(0, |shown| shown.malformed);
                let view =
                    SourceView { base, present, files: files.len() as u64, listed_here: Some(now.wall_ms), malformed: before, error: None };
                let error = (skipped > 0).then(|| format!("{skipped} entries passed over: links, pipes, or not readable"));
                self.shown.insert(root, SourceView { error, ..view });
                self.looked(files, out);
                gathered.complete = self.is_complete();
            }
            SourceEvent::Read { root: Root::ClaudeTodos, path, stat, bytes, at_end, .. } => {
                self.read_list(path, stat, &bytes, at_end, stamp, now, out, &mut gathered);
            }
            SourceEvent::Read { root: Root::ClaudeProjects, path, bytes, .. } => self.read_head(&path, &bytes, out, &mut gathered),
            SourceEvent::Found { files, .. } => self.found(files, out, &mut gathered),
            SourceEvent::Repo { cwd, repo } => self.learn_repo(&cwd, repo, &mut gathered),
            SourceEvent::Denied { root, path, why } => self.denied(root, path, &why, &mut gathered),
            SourceEvent::Polling { why } => {
                for shown in self.shown.values_mut() {
                    shown.error = Some(format!("watching by polling: {why}"));
                }
            }
        }
        gathered
    }

    fn read(&mut self, path: &str, out: &mut Effects) {
        if claude_todos::name(path).is_some() {
            self.reading.insert(path.to_owned());
            out.look.push(Look::Read { root: Root::ClaudeTodos, path: path.to_owned(), offset: 0, max: TODO_FILE_BYTES_MAX });
        }
    }

    /// Reads what changed since it was marked; first asks, in one look, for the transcripts of all sessions that are new.
    fn looked(&mut self, files: Vec<Seen>, out: &mut Effects) {
        self.listed = true;
        let mut names = Vec::new();
        for Seen { path, stat } in files {
            let Some(Name { session, .. }) = claude_todos::name(&path) else { continue };
            if self.marks.get(&path).is_some_and(|mark| mark.holds(&stat, &self.stamp)) {
                continue;
            }
            // One that is still looked for is asked for again: the question may have found no room.
            let looking = self.sessions.entry(session.clone()).or_insert(Looking::Finding);
            if !matches!(looking, Looking::Settled(_)) {
                names.push(format!("{session}.jsonl"));
            }
            self.read(&path, out);
        }
        if !names.is_empty() {
            out.look.push(Look::Find { root: Root::ClaudeProjects, names });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one event, taken apart by `hear`")]
    fn read_list(
        &mut self,
        path: RelPath,
        stat: FileStat,
        bytes: &[u8],
        at_end: bool,
        stamp: [u8; 16],
        now: Now,
        out: &mut Effects,
        gathered: &mut Gathered,
    ) {
        self.reading.remove(&path);
        let Some(Name { session, agent }) = claude_todos::name(&path) else { return };
        let held = self.marks.get(&path);
        if held.is_some_and(|mark| mark.has_read(bytes, &self.stamp)) {
            let mark = FileMark::new(stat, bytes, self.stamp, now.wall_ms);
            gathered.marks.push(Keep::Index { key: mark_key(&path), value: Some(mark.encode()) });
            self.marks.insert(path, mark);
            gathered.complete |= self.is_complete();
            return;
        }
        let parsed = if at_end { claude_todos::parse(bytes) } else { claude_todos::parse(&[]) };
        let list = parsed.ok();
        if list.is_some() {
            self.again.remove(&path);
        } else if at_end {
            self.try_again(&path, now);
        }
        self.count_malformed(&path, list.as_ref().map_or(1, |list| list.malformed));
        let mark = FileMark::new(stat, bytes, stamp, now.wall_ms);
        let told = Told { session: session.clone(), agent, list, at: stat.mtime_ms };
        self.waiting.entry(session.clone()).or_default().push((told, path, mark));
        match self.sessions.get(&session) {
            Some(Looking::Settled(place)) if place.cwd.is_some() => self.release(&session, gathered),
            Some(Looking::Finding | Looking::Head | Looking::Repo(_)) => {}
            Some(Looking::Settled(_)) | None => {
                self.looks(session.clone(), Looking::Finding);
                out.look.push(Look::Find { root: Root::ClaudeProjects, names: vec![format!("{session}.jsonl")] });
            }
        }
        gathered.complete |= self.is_complete();
    }

    fn count_malformed(&mut self, path: &str, now: u64) {
        let before = self.malformed.insert(path.to_owned(), now).unwrap_or(0);
        self.malformed_in_all = self.malformed_in_all - before + now;
        if let Some(shown) = self.shown.get_mut(&Root::ClaudeTodos) {
            shown.malformed = self.malformed_in_all;
        }
    }

    /// How far the look for a session is now. Who waits for which repository is noted, not searched for: sessions are many.
    fn looks(&mut self, session: String, looking: Looking) {
        let cwd = |looking: &Looking| if let Looking::Repo(place) = looking { place.cwd.clone() } else { None };
        if let Some(cwd) = self.sessions.get(&session).and_then(cwd)
            && let Some(waiting) = self.asked.get_mut(&cwd)
        {
            waiting.remove(&session);
            if waiting.is_empty() {
                self.asked.remove(&cwd);
            }
        }
        if let Some(cwd) = cwd(&looking) {
            self.asked.entry(cwd).or_default().insert(session.clone());
        }
        self.sessions.insert(session, looking);
    }

    fn found(&mut self, files: Vec<(String, Option<RelPath>)>, out: &mut Effects, gathered: &mut Gathered) {
        for (name, path) in files {
            let session = name.trim_end_matches(".jsonl").to_owned();
            match path {
                Some(path) => {
                    self.looks(session, Looking::Head);
                    out.look.push(Look::Read { root: Root::ClaudeProjects, path, offset: 0, max: HEAD_BYTES_MAX });
                }
                None => self.settle(&session, Place::default(), gathered),
            }
        }
    }

    fn read_head(&mut self, path: &str, bytes: &[u8], out: &mut Effects, gathered: &mut Gathered) {
        let file = path.rsplit('/').next().unwrap_or(path);
        let session = file.trim_end_matches(".jsonl").to_owned();
        let head = claude::head(bytes);
        let place = Place { cwd: head.cwd, branch: head.branch, title: head.title, started: head.started, repo: None };
        match place.cwd.clone() {
            Some(cwd) => {
                let asked = self.asked.contains_key(&cwd);
                self.looks(session, Looking::Repo(place));
                if !asked {
                    out.look.push(Look::Repo { cwd });
                }
            }
            None => self.settle(&session, place, gathered),
        }
    }

    fn learn_repo(&mut self, cwd: &str, repo: Option<Repo>, gathered: &mut Gathered) {
        let sessions = self.asked.get(cwd).cloned().unwrap_or_default();
        for session in sessions {
            if let Some(Looking::Repo(place)) = self.sessions.get(&session) {
                let place = Place { repo: repo.clone(), ..place.clone() };
                self.settle(&session, place, gathered);
            }
        }
    }

    fn settle(&mut self, session: &str, place: Place, gathered: &mut Gathered) {
        self.looks(session.to_owned(), Looking::Settled(place));
        self.release(session, gathered);
        gathered.complete |= self.is_complete();
    }

    /// Gives out what waited for the session's place, with the marks to keep after it.
    fn release(&mut self, session: &str, gathered: &mut Gathered) {
        let Some(Looking::Settled(place)) = self.sessions.get(session) else { return };
        for (told, path, mark) in self.waiting.remove(session).unwrap_or_default() {
            // What could not be read as a list is read again at the next hint or listing.
            if told.list.is_some() {
                gathered.marks.push(Keep::Index { key: mark_key(&path), value: Some(mark.encode()) });
                self.marks.insert(path, FileMark { stamp: self.stamp, ..mark });
            }
            gathered.told.push((told, place.clone()));
        }
    }

    fn denied(&mut self, root: Root, path: Option<RelPath>, why: &str, gathered: &mut Gathered) {
        match (root, path) {
            // A file that is gone says nothing; only its name is forgotten.
            (Root::ClaudeTodos, Some(path)) => {
                self.reading.remove(&path);
                self.again.remove(&path);
            }
            (Root::ClaudeProjects, Some(path)) => {
                let session = path.rsplit('/').next().unwrap_or(&path).trim_end_matches(".jsonl").to_owned();
                self.settle(&session, Place::default(), gathered);
            }
            (Root::ClaudeProjects, None) => {
                // No transcript can be found: what waits for one is written with what is known.
                let finding = |(_, looking): &(&String, &Looking)| matches!(looking, Looking::Finding);
                let sessions: Vec<String> = self.sessions.iter().filter(finding).map(|(session, _)| session.clone()).collect();
                sessions.iter().for_each(|session| self.settle(session, Place::default(), gathered));
            }
            (Root::ClaudeTodos, None) => {
                if let Some(shown) = self.shown.get_mut(&root) {
                    shown.error = Some(why.to_owned());
                }
            }
        }
        gathered.complete |= self.is_complete();
    }

    fn is_complete(&self) -> bool {
        self.listed && self.reading.is_empty() && self.waiting.is_empty()
    }
}

fn mark_key(path: &str) -> String {
    format!("mark/{}/{path}", Root::ClaudeTodos.word())
}
