//! Row 3: todo files become todos. In process: a `Replica`, a `Store` on disk, and looks that are answered with plain
//! `std::fs`, in turns as the daemon takes them: what is waiting is stepped, then kept once.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use hubless::daemon::clock;
use hubless::model::effects::{Effects, Look};
use hubless::model::id::Life;
use hubless::model::input::{FileStat, Input, RelPath, Repo, Seen, SourceEvent};
use hubless::model::limits::{TURN_BYTES_MAX, TURN_INPUTS_MAX, WINDOW_BYTES};
use hubless::model::time::Now;
use hubless::model::tool::{Folder, Root};
use hubless::replica::{Identity, Replica};
use hubless::store::{Options, Store};
use serde_json::Value;

use crate::measure::{Row, Samples, Unit, each, each_on_cpu, timed};
use crate::todoset::{LARGE, LIST, SET, Size, TodoSet, item, replace};

/// A device with nothing but a key made of `seed`.
pub(crate) fn identity(seed: u8) -> Identity {
    Identity::of(SigningKey::from_bytes(&[seed; 32]), format!("bench-{seed}"))
}

/// A store in a directory.
pub(crate) fn store(dir: &Path) -> Store {
    Store::open(&Options { dir: dir.to_owned(), read_only: false }).expect("a store in a directory of ours")
}

/// A replica on its store, and the tools' files it looks at.
pub(crate) struct Desk {
    pub(crate) replica: Replica,
    store: Store,
    root: PathBuf,
    /// What was asked and is not answered yet.
    waiting: VecDeque<Look>,
    /// Milliseconds of the longest step so far: for as long nobody else is heard.
    pub(crate) longest: f64,
}

impl Desk {
    /// Opens both and carries out what the opening asks, so all files are read.
    pub(crate) fn open(dir: &Path, root: &Path) -> Desk {
        let mut desk = Desk::with_todos(dir, root);
        desk.finish(Effects::default());
        desk
    }

    /// Opens both and carries out what the opening asks, until nothing but transcripts is left to be read.
    fn with_todos(dir: &Path, root: &Path) -> Desk {
        let store = store(dir);
        let life = Life { counter: store.begin_life().expect("a life"), nonce: 7 };
        let (replica, first) = Replica::open(identity(1), life, clock::now(), &store);
        let mut desk = Desk { replica, store, root: root.to_owned(), waiting: VecDeque::new(), longest: 0.0 };
        desk.take_turns(first, |look| matches!(look, Look::Follow { .. }));
        desk
    }

    /// Keeps a turn, then answers its looks, until nothing is asked any more.
    fn finish(&mut self, first: Effects) {
        self.take_turns(first, |_| false);
    }

    /// Keeps a turn, then answers its looks, until nothing is asked any more but what may wait.
    fn take_turns(&mut self, first: Effects, may_wait: impl Fn(&Look) -> bool) {
        let mut turn = first;
        loop {
            if !turn.keep.is_empty() {
                self.store.keep(&turn.keep).expect("room on the disk");
            }
            self.waiting.extend(turn.look);
            if self.waiting.iter().all(&may_wait) {
                return;
            }
            turn = Effects::default();
            for _ in 0..TURN_INPUTS_MAX {
                if turn.keep.bytes() > TURN_BYTES_MAX {
                    break;
                }
                let next = self.waiting.iter().position(|look| !may_wait(look));
                let Some(look) = next.and_then(|at| self.waiting.remove(at)) else { break };
                let heard = Input::Source(answer(&self.root, look));
                turn.absorb(self.step(clock::now(), heard));
            }
        }
    }

    fn step(&mut self, now: Now, input: Input) -> Effects {
        let (turn, took) = timed(|| self.replica.step(now, input));
        self.longest = self.longest.max(took);
        turn
    }

    /// Saves afresh what is put off until the rush is over, as the daemon does when it is due. The clock is told to be there.
    fn tidy(&mut self) {
        self.longest = 0.0;
        let mut now = clock::now();
        while let Some(due) = self.replica.library().tidy_due() {
            let wait = due.saturating_sub(now.boot_ms);
            now = Now { boot_ms: now.boot_ms + wait, mono_ms: now.mono_ms + wait, wall_ms: now.wall_ms.saturating_add_unsigned(wait) };
            let turn = self.step(now, Input::Tick);
            self.finish(turn);
        }
    }

    fn hint(&mut self, path: RelPath) {
        let hint = SourceEvent::Hint { root: Root::CLAUDE_TODOS, path: Some(path) };
        let turn = self.step(clock::now(), Input::Source(hint));
        self.finish(turn);
    }
}

/// Claude's files lie in the root itself, those of other tools below their name.
fn base(root: &Path, of: Root) -> PathBuf {
    let folder = of.folder();
    if folder.tool == "claude" { root.join(folder.below) } else { root.join(folder.tool).join(folder.below) }
}

/// Answers a look without any care for hostile files.
fn answer(claude: &Path, look: Look) -> SourceEvent {
    match look {
        Look::List { root } => {
            let base = base(claude, root);
            let present = base.is_dir();
            let mut files = Vec::new();
            if present {
                gather(&base, "", root.folder(), &mut files);
            }
            SourceEvent::Looked { root, base: base.display().to_string(), present, files, skipped: 0 }
        }
        Look::Read { root, path, offset, .. } => {
            let file = base(claude, root).join(&path);
            let bytes = fs::read(&file).expect("a file of ours");
            SourceEvent::Read { root, stat: stat(&file), path, offset, bytes, at_end: true }
        }
        Look::Follow { root, path, offset, max } => {
            let file = base(claude, root).join(&path);
            let (opened, stat) = (fs::File::open(&file).expect("a file of ours"), stat(&file));
            let part = |from: u64, to: u64| {
                let (from, to) = (from.min(stat.size), to.min(stat.size));
                let mut bytes = vec![0; usize::try_from(to - from).expect("less than memory holds")];
                opened.read_exact_at(&mut bytes, from).expect("a file of ours");
                bytes
            };
            let (head, behind) = (part(0, WINDOW_BYTES), part(offset.saturating_sub(WINDOW_BYTES), offset));
            let (bytes, at_end) = (part(offset, offset.saturating_add(max)), offset.saturating_add(max) >= stat.size);
            SourceEvent::Followed { root, stat, path, head, behind, offset, bytes, at_end }
        }
        Look::Rows { root, path, .. } => SourceEvent::Denied { root, path: Some(path), why: "no such file".to_owned() },
        Look::Living { .. } => SourceEvent::Living { alive: Vec::new(), held: Vec::new() },
        Look::Find { root, names: wanted } => {
            let base = base(claude, root);
            let paths = names(&base).into_iter().flat_map(|dir| names(&base.join(&dir)).into_iter().map(move |name| (name, dir.clone())));
            let found: std::collections::BTreeMap<String, String> = paths.collect();
            let path = |name: String| (found.get(&name).map(|dir| format!("{dir}/{name}")), name);
            let files = wanted.into_iter().map(path).map(|(path, name)| (name, path)).collect();
            SourceEvent::Found { root, files }
        }
        Look::Repo { cwd } => {
            let config = fs::read_to_string(Path::new(&cwd).join(".git/config")).ok();
            let remote = |config: &str| config.split_once("url = ").map(|(_, url)| url.trim().to_owned());
            let repo = config.map(|config| Repo { remote: remote(&config), root: cwd.clone(), branch: Some("main".into()) });
            SourceEvent::Repo { cwd, repo }
        }
    }
}

/// The files below a directory that the folder wants.
fn gather(base: &Path, below: &str, folder: &Folder, files: &mut Vec<Seen>) {
    for name in names(&base.join(below)) {
        let path = format!("{below}{name}");
        if folder.wants(&name) {
            files.push(Seen { stat: stat(&base.join(&path)), path });
        } else if path.matches('/').count() < folder.depth && base.join(&path).is_dir() {
            gather(base, &format!("{path}/"), folder, files);
        }
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("a directory of ours");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name of ours")).collect()
}

fn stat(path: &Path) -> FileStat {
    let meta = fs::metadata(path).expect("a file of ours");
    FileStat { dev: meta.dev(), ino: meta.ino(), size: meta.size(), mtime_ms: meta.mtime() * 1_000 + meta.mtime_nsec() / 1_000_000 }
}

/// The floor: the same files listed, read and parsed, and nothing made of them.
fn parse_all(root: &Path) -> usize {
    let dir = base(root, Root::CLAUDE_TODOS);
    let parse = |name: String| {
        let bytes = fs::read(dir.join(name)).expect("a file of ours");
        serde_json::from_slice::<Vec<Value>>(&bytes).expect("plain JSON").len()
    };
    names(&dir).into_iter().map(parse).sum()
}

/// What a set costs that is ingested into an empty store.
struct Cold {
    /// Until all todo files are shown, each in its session and project.
    todos: (Samples, Samples),
    /// What the transcripts of their sessions take afterwards.
    transcripts: Samples,
}

/// Ingests a whole set, `times` times. What it takes to forget all of it again is not counted: a daemon keeps it.
fn cold(base: &Path, set: &TodoSet, size: Size, times: usize) -> Cold {
    let mut desks = Vec::with_capacity(times);
    let todos = each_on_cpu(times, |n| desks.push(Desk::with_todos(&base.join(format!("cold-{}-{n}", size.files)), &set.root)));
    for desk in &desks {
        assert_eq!(desk.replica.view().todos.len(), size.groups, "every group is shown");
        assert_eq!(desk.replica.view().sessions.len(), size.files, "every session is known");
    }
    let (_, transcripts) = each_on_cpu(times, |n| desks[n].finish(Effects::default()));
    Cold { todos, transcripts }
}

/// Time on a core that saving a cold set afresh takes afterwards, and the longest step of it.
fn tidied(base: &Path, set: &TodoSet, size: Size) -> (Samples, Samples) {
    let mut desk = Desk::open(&base.join(format!("tidy-{}", size.files)), &set.root);
    let (_, on_cpu) = each_on_cpu(1, |_| desk.tidy());
    (on_cpu, Samples(vec![desk.longest]))
}

/// The longest step while one list of very many items is read for the first time.
fn long_list(base: &Path) -> Samples {
    let set = TodoSet::write(&base.join("list"), LIST);
    let longest = |n: usize| {
        let desk = Desk::open(&base.join(format!("list-{n}")), &set.root);
        assert_eq!(desk.replica.view().todos.len(), LIST.groups, "every item is shown");
        desk.longest
    };
    Samples((0..3).map(longest).collect())
}

/// One file gets another status, and is hinted at.
fn one_changed(base: &Path, set: &TodoSet) -> (Samples, Samples) {
    let mut desk = Desk::open(&base.join("warm"), &set.root);
    let beside = base.join("floor");
    let mut floor = Samples::default();
    let changed = |n: usize| [item(&format!("Something new {n}"), "in_progress"), item(&format!("Something else {n}"), "pending")];
    let mut all = Samples::default();
    for n in 0..100 {
        let at = n % set.names.len();
        replace(&set.path(at), &changed(n));
        all.0.push(timed(|| desk.hint(set.names[at].clone())).1);
        floor.0.push(timed(|| read_and_sync(&set.path(at), &beside)).1);
    }
    assert_eq!(desk.replica.view().todos.len(), SET.groups + 200, "every change is shown");
    (all, floor)
}

fn read_and_sync(from: &Path, to: &Path) {
    let bytes = fs::read(from).expect("a file of ours");
    let _: Vec<Value> = serde_json::from_slice(&bytes).expect("plain JSON");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(to).expect("a file of ours");
    file.write_all(&bytes).and_then(|()| file.sync_data()).expect("room on the disk");
}

fn sized(Size { files, items, groups, projects }: Size) -> String {
    format!("{files} todo files in {projects} projects, {items} items → {groups} groups, cold")
}

fn plain(set: &TodoSet, times: usize) -> f64 {
    each(times, |_| assert!(parse_all(&set.root) > 0, "something was read")).p50()
}

const FLOOR: &str = "list, read, serde_json";
const ON_CPU: &str = "the same, time on a core";

/// The rows of the set that the replaced script was measured with.
pub(crate) fn rows(base: &Path) -> Vec<Row> {
    let set = TodoSet::write(&base.join("set"), SET);
    let (Cold { todos: (whole, on_cpu), transcripts }, floor) = (cold(base, &set, SET, 9), plain(&set, 9));
    let (changed, synced) = one_changed(base, &set);
    vec![
        Row::new(sized(SET), Unit::Ms, whole).target(60.0, None).floor(FLOOR, floor),
        Row::new(ON_CPU, Unit::Ms, on_cpu).floor(FLOOR, floor),
        Row::new("the 264 transcripts of their sessions after that, time on a core", Unit::Ms, transcripts),
        Row::new("one of the 264 files changed", Unit::Ms, changed)
            .with_tail()
            .target(5.0, None)
            .floor("read, serde_json, append, fdatasync", synced.p50()),
    ]
}

/// The row of a large set.
pub(crate) fn large(base: &Path) -> Vec<Row> {
    let set = TodoSet::write(&base.join("large"), LARGE);
    let (Cold { todos: (whole, on_cpu), transcripts }, floor) = (cold(base, &set, LARGE, 3), plain(&set, 3));
    let (tidy, step) = tidied(base, &set, LARGE);
    vec![
        Row::new(sized(LARGE), Unit::Ms, whole).target(1_000.0, None).floor(FLOOR, floor),
        Row::new(ON_CPU, Unit::Ms, on_cpu).floor(FLOOR, floor),
        Row::new("the 10000 transcripts of their sessions after that, time on a core", Unit::Ms, transcripts),
        Row::new("their documents saved afresh, 5 s later, time on a core", Unit::Ms, tidy),
        Row::new("the longest step of that", Unit::Ms, step),
        Row::new("one list of 10000 items, cold: the longest step", Unit::Ms, long_list(base)),
    ]
}
