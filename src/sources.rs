//! The tools' files, read-only; the only home of notify.
//!
//! Nothing here decides what is worth a look: the core asks with a [`Look`] and is answered with one [`SourceEvent`]. What
//! happens by itself is a hint, and hints may be lost: the watcher says where to look, never what is there. So a missed
//! event costs time until the next listing, and no data.
//!
//! Everything that touches a disk runs on one blocking thread (`Hands`), in the order in which it was asked for.

mod hints;
mod look;
mod queue;
mod read;
mod repo;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::effects::Look;
use crate::model::input::{Input, SourceEvent};
use crate::model::limits::FILES_MAX;
use crate::model::tool::Root;

use hints::Hints;
use queue::{Job, Queue};

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
    let hints = Hints::new();
    tasks.spawn(hints::pass_on(hints.shared(), inbox.clone(), stop.clone()));
    let hands = Hands { roots, hints };
    let (asked, handle) = (Arc::clone(&queue), Handle::current());
    tasks.spawn_blocking(move || work(hands, &asked, &inbox, &stop, &handle));
    Ok(Sources { queue })
}

/// Answers looks until `stop`, or until nobody listens.
fn work(mut hands: Hands, queue: &Queue, inbox: &mpsc::Sender<Input>, stop: &CancellationToken, handle: &Handle) {
    while let Some(job) = handle.block_on(stop.run_until_cancelled(queue.next())) {
        let event = match job {
            Job::Look(look) => hands.answer(look),
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
            Look::Find { root, names } => match self.roots.get(&root) {
                Some(base) => find(root, base, names),
                None => not_configured(root),
            },
            Look::Repo { cwd } => {
                let repo = repo::above(&cwd);
                SourceEvent::Repo { cwd, repo }
            }
        }
    }
}

/// Watches before it lists: what happens in between is hinted at, and what happened before is in the listing.
fn list(hints: &mut Hints, root: Root, base: &Path) -> SourceEvent {
    if is_watched(root) {
        hints.watch(root, base);
    }
    let shown = base.to_string_lossy().into_owned();
    match look::list(root, base, FILES_MAX) {
        Ok(listing) => SourceEvent::Looked { root, base: shown, present: true, files: listing.files, skipped: listing.skipped },
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            SourceEvent::Looked { root, base: shown, present: false, files: Vec::new(), skipped: 0 }
        }
        Err(why) => SourceEvent::Denied { root, path: None, why: why.to_string() },
    }
}

fn read(root: Root, base: &Path, path: String, offset: u64, max: u64) -> SourceEvent {
    match read::read(base, &path, offset, max) {
        Ok(read::Piece { stat, bytes, at_end }) => SourceEvent::Read { root, path, stat, offset, bytes, at_end },
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

/// Transcripts change with every word of an agent; until they are followed, nobody wants to be woken by them.
fn is_watched(root: Root) -> bool {
    match root {
        Root::CLAUDE_TODOS => true,
        Root::CLAUDE_PROJECTS => false,
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]
mod tests {
    use super::*;
    use crate::model::input::RelPath;
    use std::collections::BTreeSet;
    use std::fs;
    use std::time::Duration;
    use tokio_util::sync::DropGuard;

    const TODOS: Look = Look::List { root: Root::CLAUDE_TODOS };

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
        /// The todos' root is `base` below the directory.
        fn start(base: &str) -> Rig {
            let dir = tempfile::tempdir().expect("dir");
            let roots = BTreeMap::from([(Root::CLAUDE_TODOS, dir.path().join(base)), (Root::CLAUDE_PROJECTS, dir.path().join("projects"))]);
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
            match self.ask(TODOS).await {
                SourceEvent::Looked { present, files, .. } => (present, files.into_iter().map(|seen| seen.path).collect()),
                other => panic!("no listing: {other:?}"),
            }
        }

        /// Does as the core does, a listing for each hint to look everywhere, until the listing shows these files.
        async fn until_listed(&mut self, wanted: &[&str]) {
            loop {
                match self.next().await {
                    SourceEvent::Hint { path: None, .. } => self.sources.look(TODOS),
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
    async fn a_root_that_is_a_file_is_denied_and_nothing_panics() {
        let mut rig = Rig::start("todos");
        rig.write("todos", "no directory");
        assert!(matches!(rig.ask(TODOS).await, SourceEvent::Denied { root: Root::CLAUDE_TODOS, path: None, .. }));
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
