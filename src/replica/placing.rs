//! What was read waits until it is known where its session works: a fact that begins in the wrong project would have to be
//! moved, and a Claude todo file carries no working directory.
//!
//! For a list, its session's transcript is looked for by name, its head is read, and the repository above its working
//! directory is asked for. A session's own file says its directory itself. What cannot be found is not waited for.

use std::collections::{BTreeMap, BTreeSet};

use crate::ingest::claude;
use crate::ingest::tail::FileMark;
use crate::model::effects::{Effects, Look};
use crate::model::input::{RelPath, Repo};
use crate::model::limits::HEAD_BYTES_MAX;
use crate::model::tool::Root;

use super::following::{At, Progress};
use super::lists::Told;

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
    /// Whether another might be there, or might have been.
    pub unsure: bool,
}

/// What is above a working directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Above {
    /// The repository, if there is one.
    pub repo: Option<Repo>,
    /// Whether another might be there, or might have been.
    pub unsure: bool,
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

/// What need wait no longer.
#[derive(Default)]
pub struct Placed {
    /// Lists, each with its mark and its session's place.
    pub told: Vec<(Told, At, FileMark, Place)>,
    /// Pieces of sessions' own files, each with the repository above its working directory.
    pub progress: Vec<(Progress, Above)>,
}

/// What waits, and what was found.
#[derive(Default)]
pub struct Placing {
    waiting: BTreeMap<String, Vec<(Told, At, FileMark)>>,
    sessions: BTreeMap<String, Looking>,
    /// Which sessions wait for the repository above a working directory: noted, not searched for, as sessions are many.
    asked: BTreeMap<String, BTreeSet<String>>,
    repos: BTreeMap<String, Above>,
    homeless: BTreeMap<String, Vec<Progress>>,
}

impl Placing {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.homeless.is_empty()
    }

    /// A session of a listing is about to be read. `true`: its transcript is to be looked for, one look for all of them.
    pub fn is_wanted(&mut self, session: &str) -> bool {
        // One that is still looked for is asked for again: the question may have found no room.
        let looking = self.sessions.entry(session.to_owned()).or_insert(Looking::Finding);
        !matches!(looking, Looking::Settled(_))
    }

    /// Asks for the transcripts of these sessions, where those of a root's lists stand.
    pub fn find(root: Root, sessions: &[String], out: &mut Effects) {
        let names: Vec<String> = sessions.iter().map(|session| format!("{session}.jsonl")).collect();
        if !names.is_empty() {
            out.look.push(Look::Find { root: root.beside("claude-projects").unwrap_or(Root::CLAUDE_PROJECTS), names });
        }
    }

    /// A list was read.
    pub fn wait(&mut self, session: String, told: Told, at: At, mark: FileMark, out: &mut Effects, placed: &mut Placed) {
        let root = at.0;
        self.waiting.entry(session.clone()).or_default().push((told, at, mark));
        match self.sessions.get(&session) {
            Some(Looking::Settled(place)) if place.cwd.is_some() => self.release(&session, placed),
            Some(Looking::Finding | Looking::Head | Looking::Repo(_)) => {}
            Some(Looking::Settled(_)) | None => {
                self.sessions.insert(session.clone(), Looking::Finding);
                Placing::find(root, &[session], out);
            }
        }
    }

    /// Transcripts were looked for.
    pub fn found(&mut self, root: Root, files: Vec<(String, Option<RelPath>)>, out: &mut Effects, placed: &mut Placed) {
        for (name, path) in files {
            let session = name.trim_end_matches(".jsonl").to_owned();
            match path {
                Some(path) => {
                    self.sessions.insert(session, Looking::Head);
                    out.look.push(Look::Read { root, path, offset: 0, max: HEAD_BYTES_MAX });
                }
                None => self.settle(&session, Place::default(), placed),
            }
        }
    }

    /// No transcript can be found: what waits for one is written with what is known.
    pub fn found_nothing(&mut self, placed: &mut Placed) {
        let finding = |(_, looking): &(&String, &Looking)| matches!(looking, Looking::Finding);
        let sessions: Vec<String> = self.sessions.iter().filter(finding).map(|(session, _)| session.clone()).collect();
        sessions.iter().for_each(|session| self.settle(session, Place::default(), placed));
    }

    /// The head of a transcript was read, or could not be (no bytes).
    pub fn read_head(&mut self, session: &str, bytes: &[u8], out: &mut Effects, placed: &mut Placed) {
        if !matches!(self.sessions.get(session), Some(Looking::Head)) {
            return;
        }
        let head = claude::head(bytes);
        let place = Place { cwd: head.cwd, branch: head.branch, title: head.title, started: head.started, ..Place::default() };
        let Some(cwd) = place.cwd.clone() else { return self.settle(session, place, placed) };
        let is_asked = self.is_asked(&cwd);
        self.asked.entry(cwd.clone()).or_default().insert(session.to_owned());
        self.sessions.insert(session.to_owned(), Looking::Repo(place));
        match self.repos.get(&cwd).cloned() {
            Some(above) => self.learn_repo(&cwd, above, placed),
            None if !is_asked => out.look.push(Look::Repo { cwd }),
            None => {}
        }
    }

    fn is_asked(&self, cwd: &str) -> bool {
        self.homeless.contains_key(cwd) || self.asked.contains_key(cwd)
    }

    /// A piece of a session's own file was read.
    pub fn advanced(&mut self, progress: Progress, out: &mut Effects, placed: &mut Placed) {
        let Some(cwd) = progress.run.cwd.clone() else { return placed.progress.push((progress, Above::default())) };
        if let Some(above) = self.repos.get(&cwd) {
            return placed.progress.push((progress, above.clone()));
        }
        if !self.is_asked(&cwd) {
            out.look.push(Look::Repo { cwd: cwd.clone() });
        }
        self.homeless.entry(cwd).or_default().push(progress);
    }

    /// The repository above a working directory is known.
    pub fn learn_repo(&mut self, cwd: &str, above: Above, placed: &mut Placed) {
        for session in self.asked.remove(cwd).unwrap_or_default() {
            // One that was looked for anew meanwhile is where that look led.
            if matches!(self.sessions.get(&session), Some(Looking::Repo(place)) if place.cwd.as_deref() == Some(cwd))
                && let Some(Looking::Repo(place)) = self.sessions.remove(&session)
            {
                self.settle(&session, Place { repo: above.repo.clone(), unsure: above.unsure, ..place }, placed);
            }
        }
        let homeless = self.homeless.remove(cwd).unwrap_or_default();
        placed.progress.extend(homeless.into_iter().map(|progress| (progress, above.clone())));
        self.repos.insert(cwd.to_owned(), above);
    }

    /// Repositories are asked for anew: a directory may have become one, or changed its branch.
    pub fn forget_repos(&mut self) {
        self.repos.clear();
    }

    fn settle(&mut self, session: &str, place: Place, placed: &mut Placed) {
        self.sessions.insert(session.to_owned(), Looking::Settled(place));
        self.release(session, placed);
    }

    fn release(&mut self, session: &str, placed: &mut Placed) {
        let Some(Looking::Settled(place)) = self.sessions.get(session) else { return };
        let waited = self.waiting.remove(session).unwrap_or_default();
        placed.told.extend(waited.into_iter().map(|(told, at, mark)| (told, at, mark, place.clone())));
    }
}
