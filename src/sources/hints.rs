//! The watcher: "something happened there". A hint may be late, doubled or lost, and never says what is there now.
//!
//! Directories are watched, not files, so that a file replaced by rename is seen. A root that does not exist yet is
//! awaited in its nearest existing parent. Only a listing ([`Hints::watch`]) sets watches: whoever is told "look
//! everywhere" lists, and the listing moves the watch to where it belongs now. Events that were lost (the system's queue ran
//! over) are a hint without a path, seen before any path is (notify: `need_rescan`). When watching fails, that is said
//! once, and from then on everything is hinted at every [`POLL_EVERY`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::look::is_passed_over;
use crate::model::input::{Input, RelPath, SourceEvent};
use crate::model::tool::Root;

/// How long more events are gathered after the first one: a file that is written and renamed is one hint. Most of the
/// 60 ms that a replaced file may take to another device belong to others (DESIGN §11).
const GATHER: Duration = Duration::from_millis(5);

/// How long is rested after a hint to look everywhere, so that a storm of events is not answered by a storm of listings.
const REST: Duration = Duration::from_millis(100);

/// How often everything is hinted at when watching does not work.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// Paths that are gathered for one root; more are "everywhere", which one listing answers more cheaply.
const PATHS_MAX: usize = 256;

/// How often a watch is set anew because the directory changed meanwhile, before the next listing has to do.
const ATTEMPTS_MAX: usize = 8;

/// What is watched for a root.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    /// The directory that is watched, all links resolved.
    dir: PathBuf,
    /// What is still missing from there to the root; empty: it is the root.
    rest: PathBuf,
    /// Device and inode of the directory, which another one may replace; `None`: it is known to be gone.
    id: Option<(u64, u64)>,
}

/// What was seen and not yet passed on.
#[derive(Debug, Default)]
struct Dirty {
    /// The roots that are to be watched.
    asked: BTreeSet<Root>,
    /// `None`: everywhere.
    roots: BTreeMap<Root, Option<BTreeSet<RelPath>>>,
    /// Why watching failed, until it is said.
    failure: Option<String>,
    /// Whether it has failed once.
    failed: bool,
}

/// What the watcher's thread, the hands' thread and the passing task share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    watched: Mutex<BTreeMap<Root, Watched>>,
    dirty: Mutex<Dirty>,
    rang: Notify,
}

/// The watcher.
pub(super) struct Hints {
    shared: Arc<Shared>,
    watcher: Option<RecommendedWatcher>,
}

impl Hints {
    /// A watcher that watches nothing yet. Where there can be none, that is the first failure.
    pub(super) fn new() -> Hints {
        let shared = Arc::new(Shared::default());
        let taker = Arc::clone(&shared);
        let watcher = match notify::recommended_watcher(move |event| taker.take_in(event)) {
            Ok(watcher) => Some(watcher),
            Err(why) => {
                shared.fail(&why.to_string());
                None
            }
        };
        Hints { shared, watcher }
    }

    /// For [`pass_on`].
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Watches the root, or its nearest existing parent. May wait for the disk and for the watcher's thread.
    pub(super) fn watch(&mut self, root: Root, base: &Path) {
        self.shared.dirty().asked.insert(root);
        let Some(watcher) = self.watcher.as_mut() else { return };
        for _ in 0..ATTEMPTS_MAX {
            // The root directory of the system always exists.
            let Some(now) = nearest(base) else { return };
            // Known before it is watched, so that the first event already finds it.
            let before = self.shared.watched().insert(root, now.clone());
            if before.as_ref() == Some(&now) {
                return;
            }
            if let Some(before) = before.filter(|before| !self.shared.is_used_by_another(root, &before.dir)) {
                // It may be gone already, and its watch with it.
                let _ = watcher.unwatch(&before.dir);
            }
            if let Err(why) = watcher.watch(&now.dir, RecursiveMode::NonRecursive) {
                self.shared.watched().remove(&root);
                // Gone between two calls: the next attempt finds what is there now.
                if now.dir.is_dir() {
                    return self.shared.fail(&why.to_string());
                }
            }
        }
    }
}

/// The root, or its nearest existing parent and what is missing from there.
fn nearest(base: &Path) -> Option<Watched> {
    base.ancestors().find_map(|up| {
        let dir = fs::canonicalize(up).ok()?;
        let meta = fs::metadata(&dir).ok().filter(fs::Metadata::is_dir)?;
        let rest = base.strip_prefix(up).ok()?.to_owned();
        Some(Watched { dir, rest, id: Some((meta.dev(), meta.ino())) })
    })
}

impl Shared {
    /// What the watcher's thread calls; waits for nobody.
    fn take_in(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() || event.kind == EventKind::Other || event.paths.is_empty() => self.everywhere(),
            Ok(event) => self.sort(&event),
            Err(why) => {
                self.fail(&why.to_string());
                self.everywhere();
            }
        }
    }

    /// Notes what an event means for each root.
    fn sort(&self, event: &Event) {
        let mut watched = self.watched();
        let mut dirty = self.dirty();
        for (root, at) in watched.iter_mut() {
            for path in &event.paths {
                match meaning(at, &event.kind, path) {
                    Meaning::Nothing => continue,
                    Meaning::File(path) => dirty.add(*root, path),
                    Meaning::Everywhere => dirty.everywhere(*root),
                    Meaning::Lost => {
                        dirty.everywhere(*root);
                        at.id = None;
                    }
                }
                self.rang.notify_one();
            }
        }
    }

    /// Events were lost, or it is time to poll.
    fn everywhere(&self) {
        let mut dirty = self.dirty();
        for root in dirty.asked.clone() {
            dirty.everywhere(root);
        }
        self.rang.notify_one();
    }

    /// Watching does not work: said once, polled from then on.
    fn fail(&self, why: &str) {
        let mut dirty = self.dirty();
        if !dirty.failed {
            dirty.failed = true;
            dirty.failure = Some(why.to_owned());
            self.rang.notify_one();
        }
    }

    fn is_used_by_another(&self, root: Root, dir: &Path) -> bool {
        self.watched().iter().any(|(other, at)| *other != root && at.dir == dir)
    }

    /// What was gathered, as the events that say so.
    fn gathered(&self) -> Vec<SourceEvent> {
        let mut dirty = self.dirty();
        let mut events: Vec<SourceEvent> = dirty.failure.take().map(|why| SourceEvent::Polling { why }).into_iter().collect();
        for (root, paths) in std::mem::take(&mut dirty.roots) {
            match paths {
                None => events.push(SourceEvent::Hint { root, path: None }),
                Some(paths) => events.extend(paths.into_iter().map(|path| SourceEvent::Hint { root, path: Some(path) })),
            }
        }
        events
    }

    // A panic while a lock was held leaves maps that are still whole.
    fn watched(&self) -> MutexGuard<'_, BTreeMap<Root, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dirty {
    fn everywhere(&mut self, root: Root) {
        self.roots.insert(root, None);
    }

    fn add(&mut self, root: Root, path: RelPath) {
        if let Some(paths) = self.roots.entry(root).or_insert_with(|| Some(BTreeSet::new())) {
            paths.insert(path);
            if paths.len() > PATHS_MAX {
                self.everywhere(root);
            }
        }
    }
}

/// What one event at one path means for one root.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// Nothing.
    Nothing,
    /// Look at this file.
    File(RelPath),
    /// Look everywhere.
    Everywhere,
    /// The watched directory is gone or renamed: look everywhere, and watch anew.
    Lost,
}

fn meaning(at: &Watched, kind: &EventKind, path: &Path) -> Meaning {
    // Our own looks open directories and files; only the end of a writing says something.
    if matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write)) {
        return Meaning::Nothing;
    }
    let Ok(below) = path.strip_prefix(&at.dir) else { return Meaning::Nothing };
    let mut parts = below.iter();
    let Some(first) = parts.next() else {
        return match kind {
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => Meaning::Lost,
            // The directory's own mode or times; where systems name only directories, something in it.
            EventKind::Any | EventKind::Access(_) | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => {
                if at.rest.as_os_str().is_empty() { Meaning::Everywhere } else { Meaning::Nothing }
            }
        };
    };
    match at.rest.iter().next() {
        Some(awaited) if awaited == first => Meaning::Everywhere,
        Some(_) => Meaning::Nothing,
        None => match first.to_str() {
            Some(name) if parts.next().is_none() && !is_passed_over(name) => Meaning::File(name.to_owned()),
            Some(_) | None => Meaning::Nothing,
        },
    }
}

/// Passes hints on, a moment after the first one of each bunch, until `stop` or until nobody listens.
pub(super) async fn pass_on(shared: Arc<Shared>, inbox: mpsc::Sender<Input>, stop: CancellationToken) {
    let _ = stop.run_until_cancelled(pass_on_for_ever(&shared, &inbox)).await;
}

/// Ends only when nobody listens.
async fn pass_on_for_ever(shared: &Shared, inbox: &mpsc::Sender<Input>) {
    loop {
        if shared.dirty().failed {
            if tokio::time::timeout(POLL_EVERY, shared.rang.notified()).await.is_err() {
                shared.everywhere();
            }
        } else {
            shared.rang.notified().await;
        }
        tokio::time::sleep(GATHER).await;
        let events = shared.gathered();
        let everywhere = events.iter().any(|event| matches!(event, SourceEvent::Hint { path: None, .. }));
        for event in events {
            if inbox.send(Input::Source(event)).await.is_err() {
                return;
            }
        }
        if everywhere {
            tokio::time::sleep(REST).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, Flag, MetadataKind, RemoveKind, RenameMode};

    const ROOT: Root = Root::CLAUDE_TODOS;

    /// As if `dir` were watched for a root that is `rest` below it.
    fn watching(dir: &str, rest: &str) -> Shared {
        let shared = Shared::default();
        let at = Watched { dir: dir.into(), rest: rest.into(), id: Some((1, 1)) };
        shared.watched().insert(ROOT, at);
        shared.dirty().asked.insert(ROOT);
        shared
    }

    fn happens(shared: &Shared, kind: EventKind, path: &str) {
        shared.take_in(Ok(Event::new(kind).add_path(path.into())));
    }

    fn hint(path: &str) -> SourceEvent {
        SourceEvent::Hint { root: ROOT, path: Some(path.to_owned()) }
    }

    const EVERYWHERE: SourceEvent = SourceEvent::Hint { root: ROOT, path: None };
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const RENAMED: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);

    #[test]
    fn every_way_to_change_a_file_is_one_hint_at_it() {
        let shared = watching("/c/todos", "");
        for kind in [CREATED, WRITTEN, CLOSED, RENAMED, REMOVED, EventKind::Any, EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any))]
        {
            happens(&shared, kind, "/c/todos/a.json");
            assert_eq!(shared.gathered(), [hint("a.json")], "{kind:?}");
        }
        let both = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        shared.take_in(Ok(Event::new(both).add_path("/c/todos/a.json.tmp".into()).add_path("/c/todos/b.json".into())));
        assert_eq!(shared.gathered(), [hint("b.json")]);
    }

    #[test]
    fn our_own_looks_and_other_peoples_files_are_no_hint() {
        let shared = watching("/c/todos", "");
        for kind in [AccessKind::Open(AccessMode::Any), AccessKind::Read, AccessKind::Close(AccessMode::Read), AccessKind::Any] {
            happens(&shared, EventKind::Access(kind), "/c/todos/a.json");
            happens(&shared, EventKind::Access(kind), "/c/todos");
        }
        for path in ["/c/todos/.a", "/c/todos/a.tmp", "/c/todos/a.sync-conflict-1.json", "/c/todos/deep/a.json", "/c/other/a.json", "/c"] {
            happens(&shared, CREATED, path);
        }
        assert_eq!(shared.gathered(), []);
    }

    #[test]
    fn many_events_are_few_hints_and_very_many_are_one() {
        let shared = watching("/c/todos", "");
        for _ in 0..1000 {
            happens(&shared, WRITTEN, "/c/todos/b.json");
            happens(&shared, CLOSED, "/c/todos/a.json");
        }
        assert_eq!(shared.gathered(), [hint("a.json"), hint("b.json")]);
        for n in 0..=PATHS_MAX {
            happens(&shared, CREATED, &format!("/c/todos/{n}.json"));
        }
        happens(&shared, CREATED, "/c/todos/one-more.json");
        assert_eq!(shared.gathered(), [EVERYWHERE]);
        assert_eq!(shared.gathered(), [], "said once");
    }

    #[test]
    fn lost_events_are_a_hint_everywhere_whatever_path_they_name() {
        let shared = watching("/c/todos", "");
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        let named = Event::new(CREATED).add_path("/c/todos/a.json".into()).set_flag(Flag::Rescan);
        for event in [overflow, named, Event::new(EventKind::Other).add_path("/elsewhere".into()), Event::new(EventKind::Any)] {
            shared.take_in(Ok(event.clone()));
            assert_eq!(shared.gathered(), [EVERYWHERE], "{event:?}");
        }
        assert!(!shared.dirty().failed, "the watcher still works");
    }

    #[test]
    fn a_failure_is_said_once_and_hints_everywhere_each_time() {
        let shared = watching("/c/todos", "");
        let failure = || Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        shared.take_in(failure());
        let said = shared.gathered();
        assert!(matches!(&said[..], [SourceEvent::Polling { why }, EVERYWHERE] if !why.is_empty()), "{said:?}");
        shared.take_in(failure());
        assert_eq!(shared.gathered(), [EVERYWHERE]);
    }

    #[test]
    fn a_directory_that_is_gone_is_watched_anew() {
        for kind in [EventKind::Remove(RemoveKind::Folder), EventKind::Modify(ModifyKind::Name(RenameMode::From))] {
            let shared = watching("/c/todos", "");
            happens(&shared, kind, "/c/todos");
            assert_eq!(shared.gathered(), [EVERYWHERE]);
            assert_eq!(shared.watched()[&ROOT].id, None, "so that no listing takes it for the same");
        }
    }

    #[test]
    fn while_a_root_is_awaited_only_the_next_directory_on_the_way_matters() {
        let shared = watching("/home/x", ".claude/todos");
        happens(&shared, CREATED, "/home/x/.bash_history");
        happens(&shared, CREATED, "/home/x/todos");
        happens(&shared, EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "/home/x");
        assert_eq!(shared.gathered(), []);
        happens(&shared, EventKind::Create(CreateKind::Folder), "/home/x/.claude");
        assert_eq!(shared.gathered(), [EVERYWHERE]);
    }

    #[tokio::test]
    async fn when_watching_fails_everything_is_hinted_at_from_time_to_time() {
        let shared = Arc::new(watching("/c/todos", ""));
        shared.fail("no watches left");
        let (sender, mut inbox) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let passing = pass_on(Arc::clone(&shared), sender, stop.clone());
        let listening = async {
            let mut next = async || tokio::time::timeout(3 * POLL_EVERY, inbox.recv()).await.expect("in time");
            assert_eq!(next().await, Some(Input::Source(SourceEvent::Polling { why: "no watches left".to_owned() })));
            assert_eq!(next().await, Some(Input::Source(EVERYWHERE)));
            assert_eq!(next().await, Some(Input::Source(EVERYWHERE)));
            stop.cancel();
        };
        tokio::join!(passing, listening);
    }
}
