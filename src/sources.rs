//! The tools' files, read-only; the only home of notify.
//!
//! Nothing here decides what is worth a look: the core asks with a [`Look`] and is answered with one [`SourceEvent`]. What
//! happens by itself is a hint, and hints may be lost: the watcher says where to look, never what is there. So a missed
//! event costs time until the next listing, and no data.
//!
//! Everything that touches a disk runs on one blocking thread (`Hands`), small files before large ones. Whatever is listed
//! is watched, too.

mod database;
mod hints;
mod living;
mod look;
mod pages;
mod queue;
mod read;
mod repo;
mod unpacked;
mod watches;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::effects::Look;
use crate::model::input::{Input, RelPath, SourceEvent};
use crate::model::limits::FILES_MAX;
use crate::model::rows::Table;
use crate::model::tool::Root;

use hints::Hints;
use queue::{Job, Queue};
use unpacked::Unpacked;

/// Where the tools keep their files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Each root's directory. It need not exist yet.
    pub roots: BTreeMap<Root, PathBuf>,
}

/// Why the sources cannot be looked at at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A root was given relative to a working directory that cannot be read.
    #[error("the directory {} of {} has no absolute path: {why}", .path.display(), .root.word())]
    NotAbsolute {
        /// Which root.
        root: Root,
        /// As it was given.
        path: PathBuf,
        /// In the system's words.
        why: io::Error,
    },
}

/// The way to ask for looks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sources {
    queue: Arc<Queue>,
}

impl Sources {
    /// Asks for one look. It is queued and answered through the inbox by one `SourceEvent`; this never waits. When too many
    /// looks wait already it is not carried out, but remembered as a hint to look everywhere below its root, which comes as
    /// soon as the others are done; so no look is lost for good.
    pub fn look(&self, look: Look) {
        self.queue.push(look);
    }
}

/// Begins to answer looks and to pass hints on, until `stop`. Nothing is watched before the first `Look::List` of its root.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// Only when a root's path cannot be made absolute. A watcher that does not work is no error: it is told once as
/// `SourceEvent::Polling`, and everything is listed from time to time instead.
pub fn start(options: Options, inbox: mpsc::Sender<Input>, tasks: &TaskTracker, stop: CancellationToken) -> Result<Sources, Error> {
    let mut roots = BTreeMap::new();
    for (root, path) in options.roots {
        let absolute = std::path::absolute(&path).map_err(|why| Error::NotAbsolute { root, path, why })?;
        roots.insert(root, absolute);
    }
    let queue = Arc::new(Queue::new(roots.keys().copied().collect()));
    let hints = Hints::new(&roots.keys().copied().collect(), hints::WATCHES_MAX);
    tasks.spawn(hints::pass_on(hints.shared(), Arc::clone(&queue), inbox.clone(), stop.clone()));
    let hands = Hands { roots, hints, unpacked: Unpacked::default() };
    let (asked, handle) = (Arc::clone(&queue), Handle::current());
    tasks.spawn_blocking(move || work(hands, &asked, &inbox, &stop, &handle));
    Ok(Sources { queue })
}

/// Answers looks until `stop`, or until nobody listens.
fn work(mut hands: Hands, queue: &Queue, inbox: &mpsc::Sender<Input>, stop: &CancellationToken, handle: &Handle) {
    while let Some(job) = handle.block_on(stop.run_until_cancelled(queue.next())) {
        let event = match job {
            Job::Look(look) => hands.answer(look),
            Job::Enter(root, below) => {
                hands.enter(root, &below);
                continue;
            }
            Job::Again(root) => SourceEvent::Hint { root, path: None },
        };
        match handle.block_on(stop.run_until_cancelled(inbox.send(Input::Source(event)))) {
            Some(Ok(())) => {}
            Some(Err(_)) | None => break,
        }
    }
}

/// What touches the disk, on its own thread.
struct Hands {
    roots: BTreeMap<Root, PathBuf>,
    hints: Hints,
    unpacked: Unpacked,
}

impl Hands {
    fn answer(&mut self, look: Look) -> SourceEvent {
        match look {
            Look::List { root } => match self.roots.get(&root) {
                Some(base) => list(&mut self.hints, root, base),
                None => not_configured(root),
            },
            Look::Read { root, path, offset, max } => match self.roots.get(&root) {
                Some(base) => read(root, base, path, offset, max),
                None => not_configured(root),
            },
            Look::Follow { root, path, offset, max } => match self.roots.get(&root) {
                Some(base) => follow(&mut self.unpacked, root, base, path, offset, max),
                None => not_configured(root),
            },
            Look::Rows { root, path, tables } => match self.roots.get(&root) {
                Some(base) => rows(root, base, path, tables),
                None => not_configured(root),
            },
            Look::Find { root, names } => match self.roots.get(&root) {
                Some(base) => find(root, base, names),
                None => not_configured(root),
            },
            Look::Living { pids, files } => SourceEvent::Living { alive: living::alive(&pids), held: living::held(&self.sought(files)) },
            Look::Repo { cwd } => {
                let repo::Above { repo, sure } = repo::above(&cwd);
                if sure { SourceEvent::Repo { cwd, repo } } else { SourceEvent::Unsure { cwd, repo } }
            }
        }
    }

    fn enter(&mut self, root: Root, below: &str) {
        if let Some(base) = self.roots.get(&root) {
            self.hints.take_up(root, base, below);
        }
    }

    /// The files with what they are now; one that cannot be opened is held by nobody, as far as we can tell.
    fn sought(&self, files: Vec<(Root, RelPath)>) -> Vec<living::Sought> {
        let found = |(root, path): (Root, RelPath)| {
            let stat = read::stat(self.roots.get(&root)?, &path).ok()?;
            Some(living::Sought { root, path, stat })
        };
        files.into_iter().filter_map(found).collect()
    }
}

/// Watches each directory before it is read: what happens in between is hinted at, and what happened before is in the
/// listing. Where there is no directory, or a file instead, its coming is awaited.
fn list(hints: &mut Hints, root: Root, base: &Path) -> SourceEvent {
    hints.begin(root, base);
    let listing = look::list(root.folder(), base, FILES_MAX, &mut |below, dir| hints.enter(root, below, dir));
    hints.end(root, listing.as_ref().map_or(0, |listing| listing.files.len()));
    let shown = base.to_string_lossy().into_owned();
    match listing {
        Ok(listing) => SourceEvent::Looked { root, base: shown, present: true, files: listing.files, skipped: listing.skipped },
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            SourceEvent::Looked { root, base: shown, present: false, files: Vec::new(), skipped: 0 }
        }
        Err(why) => SourceEvent::Denied { root, path: None, why: why.to_string() },
    }
}

fn read(root: Root, base: &Path, path: RelPath, offset: u64, max: u64) -> SourceEvent {
    match read::read(base, &path, offset, max) {
        Ok(read::Piece { stat, bytes, at_end }) => SourceEvent::Read { root, path, stat, offset, bytes, at_end },
        Err(why) => SourceEvent::Denied { root, path: Some(path), why: why.to_string() },
    }
}

fn follow(unpacked: &mut Unpacked, root: Root, base: &Path, path: RelPath, offset: u64, max: u64) -> SourceEvent {
    let followed =
        if unpacked::is_packed(&path) { unpacked.follow(base, &path, offset, max) } else { read::follow(base, &path, offset, max) };
    match followed {
        Ok(read::Followed { piece: read::Piece { stat, bytes, at_end }, head, behind }) => {
            SourceEvent::Followed { root, path, stat, head, behind, offset, bytes, at_end }
        }
        Err(why) => SourceEvent::Denied { root, path: Some(path), why: why.to_string() },
    }
}

fn rows(root: Root, base: &Path, path: RelPath, tables: &[Table]) -> SourceEvent {
    match database::rows(base, &path, tables) {
        Ok((stat, tables)) => SourceEvent::Rows { root, path, stat, tables },
        Err(why) => SourceEvent::Denied { root, path: Some(path), why: why.to_string() },
    }
}

fn find(root: Root, base: &Path, names: Vec<String>) -> SourceEvent {
    match look::find(base, names, FILES_MAX) {
        Ok(files) => SourceEvent::Found { root, files },
        Err(why) => SourceEvent::Denied { root, path: None, why: why.to_string() },
    }
}

fn not_configured(root: Root) -> SourceEvent {
    SourceEvent::Denied { root, path: None, why: "no directory is configured for it".to_owned() }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;
    use tokio_util::sync::DropGuard;

    const TODOS: Look = Look::List { root: Root::CLAUDE_TODOS };
    const SECOND: Root = {
        let mut root = Root::CLAUDE_PROJECTS;
        root.nth = 1;
        root
    };

    fn codex() -> Root {
        Root::of("codex", 0).next().expect("a folder")
    }

    /// Sources on a directory that lasts as long as the test, and the ear of a core.
    struct Rig {
        dir: tempfile::TempDir,
        sources: Sources,
        inbox: mpsc::Receiver<Input>,
        tasks: TaskTracker,
        stop: CancellationToken,
        /// A test that fails stops the hands too; the runtime would wait for their thread for ever.
        _stop: DropGuard,
    }

    impl Rig {
        /// The todos' root is `base` below the directory. Beside it are projects, a second such directory, and Codex's sessions.
        fn start(base: &str) -> Rig {
            let dir = tempfile::tempdir().expect("dir");
            let below = [(Root::CLAUDE_TODOS, base), (Root::CLAUDE_PROJECTS, "projects"), (SECOND, "second"), (codex(), ".codex/sessions")];
            let roots = below.map(|(root, below)| (root, dir.path().join(below))).into();
            let (sender, inbox) = mpsc::channel(64);
            let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
            let sources = start(Options { roots }, sender, &tasks, stop.clone()).expect("started");
            Rig { dir, sources, inbox, tasks, _stop: stop.clone().drop_guard(), stop }
        }

        fn path(&self, below: &str) -> PathBuf {
            self.dir.path().join(below)
        }

        fn write(&self, below: &str, text: &str) {
            fs::create_dir_all(self.path(below).parent().expect("a parent")).expect("made");
            fs::write(self.path(below), text).expect("written");
        }

        /// As Claude Code does it.
        fn replace(&self, below: &str, text: &str) {
            let aside = self.path(&format!("{below}.tmp"));
            fs::write(&aside, text).expect("written");
            fs::rename(aside, self.path(below)).expect("renamed");
        }

        async fn next(&mut self) -> SourceEvent {
            match tokio::time::timeout(Duration::from_secs(10), self.inbox.recv()).await {
                Ok(Some(Input::Source(event))) => event,
                other => panic!("no event of a source: {other:?}"),
            }
        }

        /// Asks, and waits for the answer; hints that come in between are passed over.
        async fn ask(&mut self, look: Look) -> SourceEvent {
            self.sources.look(look);
            loop {
                let event = self.next().await;
                if !matches!(event, SourceEvent::Hint { .. }) {
                    return event;
                }
            }
        }

        /// Whether the root is there, and its files' names.
        async fn list(&mut self) -> (bool, Vec<RelPath>) {
            self.list_root(Root::CLAUDE_TODOS).await
        }

        async fn list_root(&mut self, root: Root) -> (bool, Vec<RelPath>) {
            match self.ask(Look::List { root }).await {
                SourceEvent::Looked { present, files, .. } => (present, files.into_iter().map(|seen| seen.path).collect()),
                other => panic!("no listing: {other:?}"),
            }
        }

        /// Does as the core does, a listing for each hint to look everywhere, until the listing shows these files.
        async fn until_listed(&mut self, wanted: &[&str]) {
            loop {
                match self.next().await {
                    SourceEvent::Hint { root, path: None } => self.sources.look(Look::List { root }),
                    SourceEvent::Hint { path: Some(_), .. } => {}
                    SourceEvent::Looked { files, .. } if files.iter().map(|seen| seen.path.as_str()).eq(wanted.iter().copied()) => return,
                    SourceEvent::Looked { .. } => {}
                    other => panic!("unexpected: {other:?}"),
                }
            }
        }

        async fn until_hinted(&mut self, path: &str) {
            loop {
                if let SourceEvent::Hint { path: Some(hinted), .. } = self.next().await
                    && hinted == path
                {
                    return;
                }
            }
        }

        /// Waits for a hint at one file of a root, and asks for no listing meanwhile.
        async fn until_hinted_in(&mut self, wanted: Root, path: &str) {
            while self.next().await != (SourceEvent::Hint { root: wanted, path: Some(path.to_owned()) }) {}
        }

        fn append(&self, below: &str, text: &str) {
            let mut file = fs::File::options().append(true).open(self.path(below)).expect("opened");
            file.write_all(text.as_bytes()).expect("written");
        }

        /// Size, head, what stood before the offset, what stands behind it, and whether that is all.
        async fn follow(&mut self, path: &str, offset: u64) -> (u64, String, String, String, bool) {
            match self.ask(Look::Follow { root: codex(), path: path.to_owned(), offset, max: u64::MAX }).await {
                SourceEvent::Followed { stat, head, behind, bytes, at_end, .. } => {
                    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
                    (stat.size, text(head), text(behind), text(bytes), at_end)
                }
                other => panic!("not followed: {other:?}"),
            }
        }

        async fn read(&mut self, path: &str) -> SourceEvent {
            self.ask(Look::Read { root: Root::CLAUDE_TODOS, path: path.to_owned(), offset: 0, max: 1000 }).await
        }

        async fn end(self) {
            self.stop.cancel();
            self.tasks.close();
            tokio::time::timeout(Duration::from_secs(10), self.tasks.wait()).await.expect("every task has ended");
        }
    }

    #[tokio::test]
    async fn a_file_replaced_by_rename_is_hinted_at_and_read() {
        let mut rig = Rig::start("todos");
        rig.write("todos/a.json", "[]");
        assert_eq!(rig.list().await, (true, vec!["a.json".to_owned()]));
        for n in 0..20 {
            rig.replace("todos/a.json", &format!("[{n}]"));
            rig.until_hinted("a.json").await;
            let SourceEvent::Read { bytes, at_end, .. } = rig.read("a.json").await else { panic!("not read") };
            assert_eq!((bytes, at_end), (format!("[{n}]").into_bytes(), true));
        }
        rig.end().await;
    }

    #[tokio::test]
    async fn a_file_written_in_place_or_deleted_is_hinted_at() {
        let mut rig = Rig::start("todos");
        rig.write("todos/a.json", "[]");
        rig.list().await;
        rig.write("todos/a.json", "[1]");
        rig.until_hinted("a.json").await;
        fs::remove_file(rig.path("todos/a.json")).expect("removed");
        rig.until_hinted("a.json").await;
        assert!(matches!(rig.read("a.json").await, SourceEvent::Denied { path: Some(path), .. } if path == "a.json"));
        rig.end().await;
    }

    #[tokio::test]
    async fn a_root_created_later_is_picked_up_however_deep_it_is() {
        let mut rig = Rig::start("home/.claude/todos");
        assert_eq!(rig.list().await, (false, vec![]));
        rig.write("home/.claude/todos/a.json", "[]");
        rig.until_listed(&["a.json"]).await;
        rig.replace("home/.claude/todos/a.json", "[1]");
        rig.until_hinted("a.json").await;
        rig.end().await;
    }

    #[tokio::test]
    async fn a_root_that_is_removed_and_made_again_is_watched_again() {
        let mut rig = Rig::start("todos");
        rig.write("todos/a.json", "[]");
        rig.list().await;
        for n in 0..5 {
            fs::remove_dir_all(rig.path("todos")).expect("removed");
            rig.until_listed(&[]).await;
            let name = format!("{n}.json");
            rig.write(&format!("todos/{name}"), "[]");
            rig.until_listed(&[&name]).await;
            rig.replace(&format!("todos/{name}"), "[1]");
            rig.until_hinted(&name).await;
        }
        rig.end().await;
    }

    #[tokio::test]
    async fn a_root_that_is_renamed_and_replaced_is_watched_where_it_is_now() {
        let mut rig = Rig::start("todos");
        rig.write("todos/a.json", "[]");
        rig.write("other/b.json", "[]");
        rig.list().await;
        fs::rename(rig.path("todos"), rig.path("old")).expect("renamed");
        fs::rename(rig.path("other"), rig.path("todos")).expect("renamed");
        rig.until_listed(&["b.json"]).await;
        rig.replace("todos/b.json", "[1]");
        rig.until_hinted("b.json").await;
        rig.end().await;
    }

    #[tokio::test]
    async fn our_own_looks_wake_nobody() {
        let mut rig = Rig::start("todos");
        rig.write("todos/a.json", "[]");
        rig.list().await;
        for _ in 0..10 {
            rig.list().await;
            rig.read("a.json").await;
        }
        rig.write("todos/last.json", "[]");
        // Events keep their order: were there a hint of ours, it would come before this one.
        assert_eq!(rig.next().await, SourceEvent::Hint { root: Root::CLAUDE_TODOS, path: Some("last.json".to_owned()) });
        rig.end().await;
    }

    #[tokio::test]
    async fn no_file_of_a_burst_is_missed() {
        const FILES: usize = 2_000;
        let mut rig = Rig::start("todos");
        fs::create_dir_all(rig.path("todos")).expect("made");
        rig.list().await;
        let dir = rig.path("todos");
        let writing =
            rig.tasks.spawn_blocking(move || (0..FILES).for_each(|n| fs::write(dir.join(format!("{n:04}.json")), "[]").expect("written")));
        let mut known = BTreeSet::new();
        while known.len() < FILES {
            match rig.next().await {
                SourceEvent::Hint { path: Some(path), .. } => {
                    known.insert(path);
                }
                SourceEvent::Hint { path: None, .. } => rig.sources.look(TODOS),
                SourceEvent::Looked { files, .. } => {
                    known.extend(files.into_iter().map(|seen| seen.path));
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        writing.await.expect("written");
        rig.end().await;
    }

    #[tokio::test]
    async fn names_and_repositories_are_found() {
        let mut rig = Rig::start("todos");
        let find = || Look::Find { root: Root::CLAUDE_PROJECTS, names: vec!["s1.jsonl".to_owned()] };
        let none = SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".to_owned(), None)] };
        assert_eq!(rig.ask(find()).await, none, "the root is not there yet");
        rig.write("projects/-x/s1.jsonl", "{}");
        let SourceEvent::Found { files, .. } = rig.ask(find()).await else { panic!("not found") };
        assert_eq!(files, [("s1.jsonl".to_owned(), Some("-x/s1.jsonl".to_owned()))]);
        rig.write("it/.git/HEAD", "ref: refs/heads/main\n");
        let cwd = rig.path("it").to_str().expect("utf-8").to_owned();
        let SourceEvent::Repo { repo: Some(repo), .. } = rig.ask(Look::Repo { cwd: cwd.clone() }).await else { panic!("no repository") };
        assert_eq!((repo.root, repo.branch.as_deref()), (cwd, Some("main")));
        rig.end().await;
    }

    #[tokio::test]
    async fn a_new_directory_is_taken_up_at_once_with_what_is_in_it_already() {
        let mut rig = Rig::start("todos");
        fs::create_dir_all(rig.path(".codex/sessions")).expect("made");
        assert_eq!(rig.list_root(codex()).await, (true, vec![]));
        for day in 10..30 {
            let file = format!("2026/11/{day}/r.jsonl");
            rig.write(&format!(".codex/sessions/{file}"), "{}\n");
            rig.until_hinted_in(codex(), &file).await;
            rig.append(&format!(".codex/sessions/{file}"), "{}\n");
            rig.until_hinted_in(codex(), &file).await;
        }
        // A whole tree that is moved in.
        rig.write("aside/12/24/r.jsonl", "{}\n");
        fs::rename(rig.path("aside"), rig.path(".codex/sessions/2027")).expect("renamed");
        rig.until_hinted_in(codex(), "2027/12/24/r.jsonl").await;
        rig.append(".codex/sessions/2027/12/24/r.jsonl", "{}\n");
        rig.until_hinted_in(codex(), "2027/12/24/r.jsonl").await;
        rig.end().await;
    }

    #[tokio::test]
    async fn a_directory_that_is_renamed_or_made_again_is_watched_under_its_new_name() {
        let mut rig = Rig::start("todos");
        rig.write(".codex/sessions/2026/11/20/r.jsonl", "{}\n");
        rig.list_root(codex()).await;
        for n in 0..5 {
            let (from, to) = (format!(".codex/sessions/{}", 2026 + n), format!(".codex/sessions/{}", 2027 + n));
            let file = format!("{}/11/20/r.jsonl", 2027 + n);
            fs::rename(rig.path(&from), rig.path(&to)).expect("renamed");
            rig.until_listed(&[&file]).await;
            rig.append(&format!(".codex/sessions/{file}"), "{}\n");
            rig.until_hinted_in(codex(), &file).await;
        }
        for _ in 0..5 {
            fs::remove_dir_all(rig.path(".codex/sessions/2031")).expect("removed");
            rig.until_listed(&[]).await;
            rig.write(".codex/sessions/2031/r.jsonl", "{}\n");
            rig.until_hinted_in(codex(), "2031/r.jsonl").await;
            rig.append(".codex/sessions/2031/r.jsonl", "{}\n");
            rig.until_hinted_in(codex(), "2031/r.jsonl").await;
        }
        rig.end().await;
    }

    #[tokio::test]
    async fn a_deep_root_created_later_is_picked_up() {
        let mut rig = Rig::start("todos");
        assert_eq!(rig.list_root(codex()).await, (false, vec![]));
        rig.write(".codex/sessions/2026/11/21/r.jsonl", "{}\n");
        rig.until_listed(&["2026/11/21/r.jsonl"]).await;
        rig.append(".codex/sessions/2026/11/21/r.jsonl", "{}\n");
        rig.until_hinted_in(codex(), "2026/11/21/r.jsonl").await;
        rig.end().await;
    }

    #[tokio::test]
    async fn a_storm_of_appends_is_a_few_hints_and_churn_beside_it_none() {
        const APPENDS: usize = 5_000;
        let mut rig = Rig::start("todos");
        rig.write(".codex/sessions/r.jsonl", "");
        rig.list_root(codex()).await;
        for _ in 0..APPENDS {
            rig.append(".codex/sessions/r.jsonl", "{}\n");
        }
        for name in ["state.sqlite-wal", "r.jsonl.gz", ".r.jsonl.tmp"] {
            rig.write(&format!(".codex/sessions/{name}"), "not ours");
        }
        rig.write(".codex/sessions/z.jsonl", "");
        let mut hints = 0;
        loop {
            match rig.next().await {
                SourceEvent::Hint { path: Some(path), .. } if path == "z.jsonl" => break,
                SourceEvent::Hint { path: Some(path), .. } if path == "r.jsonl" => hints += 1,
                // More events than the system keeps.
                SourceEvent::Hint { path: None, .. } => break,
                other => panic!("unexpected: {other:?}"),
            }
        }
        assert!(hints < APPENDS / 10, "{hints} hints");
        rig.end().await;
    }

    #[tokio::test]
    async fn a_followed_file_shows_what_was_done_to_it() {
        let mut rig = Rig::start("todos");
        rig.write(".codex/sessions/r.jsonl", "one\n");
        rig.list_root(codex()).await;
        let seen = |size, head: &str, behind: &str, bytes: &str| (size, head.to_owned(), behind.to_owned(), bytes.to_owned(), true);
        assert_eq!(rig.follow("r.jsonl", 0).await, seen(4, "one\n", "", "one\n"));
        rig.append(".codex/sessions/r.jsonl", "two\n");
        rig.until_hinted_in(codex(), "r.jsonl").await;
        assert_eq!(rig.follow("r.jsonl", 4).await, seen(8, "one\ntwo\n", "one\n", "two\n"));
        fs::File::create(rig.path(".codex/sessions/r.jsonl")).and_then(|file| file.set_len(2)).expect("truncated");
        rig.until_hinted_in(codex(), "r.jsonl").await;
        assert_eq!(rig.follow("r.jsonl", 8).await, seen(2, "\0\0", "\0\0", ""));
        rig.replace(".codex/sessions/r.jsonl", "another\n");
        rig.until_hinted_in(codex(), "r.jsonl").await;
        assert_eq!(rig.follow("r.jsonl", 8).await, seen(8, "another\n", "another\n", ""));
        fs::remove_file(rig.path(".codex/sessions/r.jsonl")).expect("removed");
        rig.until_hinted_in(codex(), "r.jsonl").await;
        let gone = rig.ask(Look::Follow { root: codex(), path: "r.jsonl".to_owned(), offset: 8, max: 9 }).await;
        assert!(matches!(gone, SourceEvent::Denied { path: Some(path), .. } if path == "r.jsonl"));
        rig.end().await;
    }

    #[tokio::test]
    async fn pipes_links_out_and_loops_are_passed_over_and_keep_nobody_waiting() {
        let mut rig = Rig::start("todos");
        rig.write("secret.jsonl", "not below the root\n");
        rig.write(".codex/sessions/2026/a.jsonl", "{}\n");
        let at = |name: &str| rig.path(&format!(".codex/sessions/{name}"));
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe.jsonl"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("made");
        symlink("../../secret.jsonl", at("out.jsonl")).expect("linked");
        symlink("../..", at("2026/up")).expect("linked");
        symlink("2026", at("same")).expect("linked");
        symlink("2026/a.jsonl", at("in.jsonl")).expect("linked");
        symlink("loop.jsonl", at("loop.jsonl")).expect("linked");
        let SourceEvent::Looked { files, skipped, .. } = rig.ask(Look::List { root: codex() }).await else { panic!("not listed") };
        let paths: Vec<&str> = files.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!((paths, skipped), (vec!["2026/a.jsonl", "in.jsonl"], 4), "the pipe, the loop, and two ways out");
        assert_eq!(rig.follow("in.jsonl", 0).await.3, "{}\n");
        for path in ["pipe.jsonl", "out.jsonl", "loop.jsonl", "2026/up/secret.jsonl", "same/a.jsonl", "../../secret.jsonl"] {
            let answer = rig.ask(Look::Follow { root: codex(), path: path.to_owned(), offset: 0, max: 9 }).await;
            assert!(matches!(answer, SourceEvent::Denied { .. }), "{path}: {answer:?}");
        }
        rig.end().await;
    }

    #[tokio::test]
    async fn a_directory_that_may_not_be_read_is_taken_up_when_it_may() {
        if rustix::process::geteuid().is_root() {
            return; // root reads everything
        }
        let mut rig = Rig::start("todos");
        rig.write(".codex/sessions/2026/11/r.jsonl", "{}\n");
        let set = |mode| fs::set_permissions(rig.path(".codex/sessions/2026"), fs::Permissions::from_mode(mode)).expect("set");
        set(0o000);
        let SourceEvent::Looked { files, skipped, .. } = rig.ask(Look::List { root: codex() }).await else { panic!("not listed") };
        let set = |mode| fs::set_permissions(rig.path(".codex/sessions/2026"), fs::Permissions::from_mode(mode)).expect("set");
        set(0o700);
        assert_eq!((files, skipped), (vec![], 1));
        rig.until_hinted_in(codex(), "2026/11/r.jsonl").await;
        rig.end().await;
    }

    #[tokio::test]
    async fn two_directories_of_one_tool_do_not_disturb_each_other() {
        let mut rig = Rig::start("todos");
        let (first, second) = (Root::CLAUDE_PROJECTS, SECOND);
        rig.write("projects/-x/a.jsonl", "{}\n");
        assert_eq!(rig.list_root(first).await, (true, vec!["-x/a.jsonl".to_owned()]));
        assert_eq!(rig.list_root(second).await, (false, vec![]));
        rig.write("second/-x/a.jsonl", "{}\n");
        rig.until_listed(&["-x/a.jsonl"]).await;
        for root in [first, second, first] {
            rig.append(if root == first { "projects/-x/a.jsonl" } else { "second/-x/a.jsonl" }, "{}\n");
            rig.until_hinted_in(root, "-x/a.jsonl").await;
        }
        fs::remove_dir_all(rig.path("second")).expect("removed");
        rig.until_listed(&[]).await;
        rig.append("projects/-x/a.jsonl", "{}\n");
        rig.until_hinted_in(first, "-x/a.jsonl").await;
        rig.end().await;
    }

    #[tokio::test]
    async fn processes_and_open_files_are_told() {
        let mut rig = Rig::start("todos");
        rig.write(".codex/sessions/2026/r.jsonl", "{}\n");
        let me = std::process::id();
        let ask = || Look::Living {
            pids: vec![(me, None), (me, Some("another".to_owned())), (u32::MAX, None)],
            files: [(codex(), "2026/r.jsonl"), (codex(), "gone.jsonl"), (SECOND, "x")].map(|(root, path)| (root, path.to_owned())).to_vec(),
        };
        let alive = if cfg!(target_os = "linux") { vec![me] } else { vec![me, me] };
        let open = fs::File::options().append(true).open(rig.path(".codex/sessions/2026/r.jsonl")).expect("opened");
        let held = if cfg!(target_os = "linux") { vec![(codex(), "2026/r.jsonl".to_owned(), me)] } else { vec![] };
        assert_eq!(rig.ask(ask()).await, SourceEvent::Living { alive: alive.clone(), held });
        drop(open);
        // A child that another test starts has all our files open for a moment.
        let closed = SourceEvent::Living { alive, held: vec![] };
        let mut asked = 0;
        while rig.ask(ask()).await != closed {
            asked += 1;
            assert!(asked < 1_000, "it is closed");
        }
        rig.end().await;
    }

    #[tokio::test]
    async fn a_root_that_is_a_file_is_awaited_as_if_it_were_not_there() {
        let mut rig = Rig::start("todos");
        rig.write("todos", "no directory");
        assert_eq!(rig.list().await, (false, vec![]));
        fs::remove_file(rig.path("todos")).expect("removed");
        rig.write("todos/a.json", "[]");
        rig.until_listed(&["a.json"]).await;
        rig.end().await;
    }

    #[tokio::test]
    async fn a_core_that_does_not_listen_does_not_keep_us_from_stopping() {
        let rig = Rig::start("todos");
        rig.write("todos/a.json", "[]");
        for _ in 0..200 {
            rig.sources.look(Look::Read { root: Root::CLAUDE_TODOS, path: "a.json".to_owned(), offset: 0, max: 10 });
        }
        while rig.inbox.len() < 64 {
            tokio::task::yield_now().await;
        }
        rig.end().await;
    }
}
