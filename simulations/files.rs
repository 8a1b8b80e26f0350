//! The tools at work: lists and transcripts on a virtual disk, and what a look at them sees.

use std::collections::BTreeMap;

use hubless::model::effects::Look;
use hubless::model::input::{FileStat, Repo, Seen, SourceEvent};
use hubless::model::limits::{PIECE_BYTES, WINDOW_BYTES};
use hubless::model::todo::Status;
use hubless::model::tool::Root;

use super::plan::FileDeed;
use super::transcript;

/// Texts that lists and people choose from: few, so that they meet.
pub(crate) const TEXTS: [&str; 5] = ["write the parser", "fix  the build", "review AGT-280", "naïve merge", "ship it"];
/// Working directories; the first two are clones of one repository.
const CWDS: [&str; 3] = ["/home/sam/hub", "/srv/hub-copy", "/home/sam/other"];

/// Bytes of a piece of a transcript.
const PIECE: usize = 700;

/// One file.
#[derive(Debug, Clone)]
struct File {
    bytes: Vec<u8>,
    mtime_ms: i64,
    ino: u64,
}

/// The files of one device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    lists: BTreeMap<String, File>,
    transcripts: BTreeMap<String, File>,
    older: BTreeMap<String, Vec<File>>,
    made: u64,
    /// The latest time of any line.
    latest_ms: i64,
}

impl Files {
    /// A tool writes; gives the hint that the system sends, if it sends one.
    pub(crate) fn write(&mut self, deed: FileDeed, wall_ms: i64) -> Option<SourceEvent> {
        let path = |session: u8| format!("s{session}-agent-s{session}.json");
        let hint = |path: String| Some(SourceEvent::Hint { root: Root::CLAUDE_TODOS, path: Some(path) });
        match deed {
            FileDeed::Write(session, list) => {
                self.put(&path(session), list_bytes(list).into_bytes(), wall_ms);
                hint(path(session))
            }
            FileDeed::Unheard(session, list) => {
                self.put(&path(session), list_bytes(list).into_bytes(), wall_ms);
                None
            }
            FileDeed::Again(session) => {
                let bytes = self.lists.get(&path(session))?.bytes.clone();
                self.put(&path(session), bytes, wall_ms);
                hint(path(session))
            }
            FileDeed::Torn(session) => {
                let bytes = self.lists.get(&path(session))?.bytes.clone();
                self.put(&path(session), bytes[..bytes.len() / 2].to_vec(), wall_ms);
                hint(path(session))
            }
            FileDeed::Emptied(session) => {
                self.put(&path(session), b"[]".to_vec(), wall_ms);
                hint(path(session))
            }
            FileDeed::Deleted(session) => {
                let file = self.lists.remove(&path(session))?;
                self.older.entry(path(session)).or_default().push(file);
                hint(path(session))
            }
            FileDeed::SetBack(session) => {
                let older = self.older.get(&path(session))?;
                let file = older.get(older.len().checked_sub(2)?)?.clone();
                self.made += 1;
                self.lists.insert(path(session), File { ino: self.made, ..file });
                hint(path(session))
            }
            FileDeed::Transcript(session, place) => {
                let line = transcript::begin(session, CWDS[usize::from(place) % CWDS.len()]);
                self.made += 1;
                self.latest_ms = self.latest_ms.max(wall_ms);
                let file = File { bytes: line.into_bytes(), mtime_ms: wall_ms, ino: self.made };
                self.transcripts.entry(format!("p{place}/s{session}.jsonl")).or_insert(file);
                None
            }
            FileDeed::Line(session, what) => self.say(session, wall_ms, |file, line| file.extend(line(what).bytes())),
            FileDeed::LineUnheard(session, what) => {
                self.say(session, wall_ms, |file, line| file.extend(line(what).bytes()));
                None
            }
            FileDeed::LineTorn(session, what) => self.say(session, wall_ms, |file, line| {
                let line = line(what / 3);
                file.extend(&line.as_bytes()[..1 + usize::try_from(what).expect("it fits") % (line.len() - 1)]);
            }),
            FileDeed::LinesCut(session, part) => self.say(session, wall_ms, |file, _| file.truncate(file.len() * usize::from(part) / 100)),
            FileDeed::LinesRewritten(session, what) => {
                let hint =
                    self.say(session, wall_ms, |file, line| *file = (0..what % 4).flat_map(|n| line(what + n).into_bytes()).collect());
                let path = self.transcript(session);
                self.made += 1;
                self.transcripts.entry(path).and_modify(|file| file.ino = self.made);
                hint
            }
            FileDeed::LinesDeleted(session) => {
                let path = self.transcript(session);
                self.transcripts.remove(&path)?;
                Some(SourceEvent::Hint { root: Root::CLAUDE_PROJECTS, path: Some(path) })
            }
        }
    }

    /// Where the transcript of a session is, or would be.
    fn transcript(&self, session: u8) -> String {
        let name = format!("/s{session}.jsonl");
        self.transcripts.keys().find(|path| path.ends_with(&name)).cloned().unwrap_or_else(|| format!("p{}{name}", session % 3))
    }

    /// The tool does something to a session's own file; what it is given makes lines of that session.
    fn say(&mut self, session: u8, wall_ms: i64, deed: impl FnOnce(&mut Vec<u8>, &mut dyn FnMut(u32) -> String)) -> Option<SourceEvent> {
        let path = self.transcript(session);
        // A clock that is set back makes lines that are out of order; those of one tool are not.
        self.latest_ms = self.latest_ms.max(wall_ms);
        let (made, latest_ms) = (&mut self.made, self.latest_ms);
        *made += 1;
        let new = File { bytes: Vec::new(), mtime_ms: wall_ms, ino: *made };
        let file = self.transcripts.entry(path.clone()).or_insert(new);
        file.mtime_ms = wall_ms;
        deed(&mut file.bytes, &mut |what| {
            *made += 1;
            transcript::line(session, *made, what, latest_ms)
        });
        Some(SourceEvent::Hint { root: Root::CLAUDE_PROJECTS, path: Some(path) })
    }

    /// Whether lines are of a time that is yet to come, because the clock was set back: they are read as if written now, each time.
    pub(crate) fn are_ahead(&self, wall_ms: i64) -> bool {
        self.latest_ms > wall_ms
    }

    /// The sessions that have one transcript here: how many whole records it holds, and the texts of the lists in them.
    pub(crate) fn sessions(&self) -> Vec<(String, u64, Vec<&'static str>)> {
        let mut files: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
        for (path, file) in &self.transcripts {
            let (_, name) = path.split_once('/').unwrap_or_default();
            files.entry(name.trim_end_matches(".jsonl")).or_default().push(file);
        }
        let alone = files.into_iter().filter(|(_, files)| files.len() == 1);
        alone
            .map(|(session, files)| {
                let (records, texts) = transcript::plainly(&files[0].bytes);
                (session.to_owned(), records, texts)
            })
            .collect()
    }

    /// A tool writes these bytes as the list of a session.
    pub(crate) fn put_list(&mut self, session: &str, bytes: String, wall_ms: i64) -> SourceEvent {
        let path = format!("{session}-agent-{session}.json");
        self.put(&path, bytes.into_bytes(), wall_ms);
        SourceEvent::Hint { root: Root::CLAUDE_TODOS, path: Some(path) }
    }

    /// A tool writes these bytes as a file of a session.
    pub(crate) fn put_transcript(&mut self, path: &str, bytes: String, mtime_ms: i64) -> SourceEvent {
        self.made += 1;
        self.transcripts.insert(path.to_owned(), File { bytes: bytes.into_bytes(), mtime_ms, ino: self.made });
        SourceEvent::Hint { root: Root::CLAUDE_PROJECTS, path: Some(path.to_owned()) }
    }

    fn put(&mut self, path: &str, bytes: Vec<u8>, mtime_ms: i64) {
        self.made += 1;
        let file = File { bytes, mtime_ms, ino: self.made };
        self.older.entry(path.to_owned()).or_default().push(file.clone());
        self.lists.insert(path.to_owned(), file);
    }

    /// The texts of all lists that are whole.
    pub(crate) fn texts(&self) -> Vec<(String, Vec<String>)> {
        let read = |file: &File| hubless::ingest::claude_todos::parse(&file.bytes).ok().filter(|reading| reading.malformed == 0);
        let session = |path: &str| path.split("-agent-").next().unwrap_or_default().to_owned();
        let texts = |file: &File| Some(read(file)?.items.iter().map(|item| item.text.normalised()).collect());
        self.lists.iter().filter_map(|(path, file)| Some((session(path), texts(file)?))).collect()
    }

    /// What a look sees now.
    pub(crate) fn look(&self, look: &Look) -> SourceEvent {
        match look {
            Look::List { root } => {
                let files =
                    self.of(*root).into_iter().flatten().map(|(path, file)| Seen { path: path.clone(), stat: file.stat() }).collect();
                SourceEvent::Looked { root: *root, base: format!("/{}", root.word()), present: true, files, skipped: 0 }
            }
            Look::Read { root, path, offset, max } => match self.of(*root).and_then(|files| files.get(path)) {
                None => SourceEvent::Denied { root: *root, path: Some(path.clone()), why: "no such file".into() },
                Some(file) => {
                    let from = place(file, *offset);
                    let bytes: Vec<u8> = file.bytes[from..].iter().take(usize::try_from(*max).unwrap_or(usize::MAX)).copied().collect();
                    let at_end = from + bytes.len() == file.bytes.len();
                    SourceEvent::Read { root: *root, path: path.clone(), stat: file.stat(), offset: *offset, bytes, at_end }
                }
            },
            Look::Find { root, names } => {
                let find = |name: &String| self.of(*root)?.keys().find(|path| path.ends_with(&format!("/{name}"))).cloned();
                SourceEvent::Found { root: *root, files: names.iter().map(|name| (name.clone(), find(name))).collect() }
            }
            Look::Follow { root, path, offset, max } => match self.of(*root).and_then(|files| files.get(path)) {
                None => SourceEvent::Denied { root: *root, path: Some(path.clone()), why: "no such file".into() },
                Some(file) => {
                    let (from, window) = (place(file, *offset), usize::try_from(WINDOW_BYTES).expect("it fits"));
                    // Pieces are small, so that few lines make many; a line that is longer is asked for in one.
                    let max = if *max <= PIECE_BYTES { PIECE } else { usize::try_from(*max).unwrap_or(usize::MAX) };
                    let bytes: Vec<u8> = file.bytes[from..].iter().take(max).copied().collect();
                    SourceEvent::Followed {
                        root: *root,
                        path: path.clone(),
                        stat: file.stat(),
                        head: file.bytes[..window.min(file.bytes.len())].to_vec(),
                        behind: file.bytes[from.saturating_sub(window)..from].to_vec(),
                        offset: *offset,
                        at_end: from + bytes.len() == file.bytes.len(),
                        bytes,
                    }
                }
            },
            // Nobody here has a database.
            Look::Rows { root, path, .. } => SourceEvent::Denied { root: *root, path: Some(path.clone()), why: "no such file".into() },
            // Whoever asks for processes learns that none of them lives: here there is nobody but the files.
            Look::Living { .. } => SourceEvent::Living { alive: Vec::new(), held: Vec::new() },
            Look::Repo { cwd } => SourceEvent::Repo { cwd: cwd.clone(), repo: repo(cwd) },
        }
    }

    fn of(&self, root: Root) -> Option<&BTreeMap<String, File>> {
        match root {
            Root::CLAUDE_TODOS => Some(&self.lists),
            Root::CLAUDE_PROJECTS => Some(&self.transcripts),
            _ => None,
        }
    }
}

impl File {
    fn stat(&self) -> FileStat {
        FileStat { dev: 1, ino: self.ino, size: self.bytes.len() as u64, mtime_ms: self.mtime_ms }
    }
}

fn place(file: &File, offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX).min(file.bytes.len())
}

fn repo(cwd: &str) -> Option<Repo> {
    let remote = match cwd {
        "/home/sam/hub" => "git@github.com:sam/hub.git",
        "/srv/hub-copy" => "https://github.com/sam/hub",
        "/home/sam/secret" | "/srv/x9" => "git@github.com:sam/secret.git",
        _ => return None,
    };
    Some(Repo { remote: Some(remote.into()), root: cwd.into(), branch: Some("main".into()) })
}

/// A list as Claude Code writes it: for each text a digit of base 5.
pub(crate) fn list_bytes(list: u32) -> String {
    let digits = (0..).zip(TEXTS).map(|(n, text)| (list / 5u32.pow(n) % 5, text));
    let element = |(digit, text): (u32, &str)| {
        let status = Status::ALL[usize::try_from(digit).expect("a digit fits") - 1].word();
        format!("{{\"content\":\"{text}\",\"status\":\"{status}\",\"activeForm\":\"at {text}\"}}")
    };
    let elements: Vec<String> = digits.filter(|(digit, _)| *digit > 0).map(element).collect();
    format!("[{}]", elements.join(","))
}
