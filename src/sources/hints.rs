//! The watcher: "something happened there". A hint may be late, doubled or lost, and never says what is there now.
//!
//! Directories are watched, not files, so that a file replaced by rename is seen; what is watched for whom stands in
//! [`Watches`]. Listings set watches ([`Hints::begin`], [`Hints::enter`], [`Hints::end`]), each directory's before it is read:
//! what happens in between is hinted at, and what happened before is in the listing. A directory that appears is handed to
//! the hands at once, who watch it and hint at all that is in it already. Events that were lost (the system's queue ran
//! over) are a hint without a path, seen before any path is (notify: `need_rescan`).
//!
//! Where watching fails, that is said once, and from then on those roots are hinted at every [`POLL_EVERY`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::look;
use super::queue::Queue;
use super::watches::{Id, Meaning, Use, Watches};
use crate::model::input::{Input, RelPath, SourceEvent};
use crate::model::limits::FILES_MAX;
use crate::model::tool::Root;

/// How long more events are gathered after the first one: a file that is written and renamed is one hint. Most of the
/// 60 ms that a replaced file may take to another device belong to others (DESIGN §11).
const GATHER: Duration = Duration::from_millis(5);

/// How long a root rests after a hint to look everywhere, so that a storm of events is not answered by a storm of listings.
const REST: Duration = Duration::from_millis(100);

/// How often a root is hinted at that cannot be watched.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// Files from which on a listing costs so much that it is polled only every [`LARGE_TURN`]th time.
const LARGE_FILES: usize = 5_000;
const LARGE_TURN: u64 = 5;

/// Paths that are gathered for one root; more are "everywhere", which one listing answers more cheaply.
const PATHS_MAX: usize = 256;

/// Directories that are watched. Our own opening of one is an event, too, twice; so many of them fit into the system's
/// queue of 16 384, and hubless leaves watches for the other programs of the same person.
pub(super) const WATCHES_MAX: usize = 8_000;

/// How often a watch is set anew because the directory changed meanwhile, before the next listing has to do.
const ATTEMPTS_MAX: usize = 8;

/// Whether one watch holds for all directories below (FSEvents); on Linux each has its own.
const IS_DEEP: bool = cfg!(target_os = "macos");

/// What was seen and not yet passed on.
#[derive(Debug, Default)]
struct Dirty {
    /// The roots that are to be watched, each with how many files it had when it was last listed.
    asked: BTreeMap<Root, usize>,
    roots: BTreeMap<Root, Seen>,
    /// Why watching failed, until it is said.
    failure: Option<String>,
    /// The roots of which something is not watched.
    polled: BTreeSet<Root>,
}

/// What was seen of one root.
#[derive(Debug, Default)]
struct Seen {
    /// Then the rest does not matter.
    everywhere: bool,
    files: BTreeSet<RelPath>,
    directories: BTreeSet<RelPath>,
}

/// What the watcher's thread, the hands' thread and the passing task share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    watches: Mutex<Watches>,
    dirty: Mutex<Dirty>,
    rang: Notify,
}

/// The watcher.
pub(super) struct Hints {
    shared: Arc<Shared>,
    watcher: Option<RecommendedWatcher>,
    /// How many directories are watched at most.
    max: usize,
    /// The directories of the listing that is under way.
    kept: BTreeSet<PathBuf>,
    /// Whether there is no room for another watch, as far as this listing knows.
    is_full: bool,
}

impl Hints {
    /// A watcher that watches nothing yet. Where there can be none, that is the first failure.
    pub(super) fn new(roots: &BTreeSet<Root>, max: usize) -> Hints {
        let shared = Arc::new(Shared::default());
        let taker = Arc::clone(&shared);
        let watcher = match notify::recommended_watcher(move |event| taker.take_in(event)) {
            Ok(watcher) => Some(watcher),
            Err(why) => {
                shared.fail(roots.iter().copied(), &advice(&why));
                None
            }
        };
        Hints { shared, watcher, max, kept: BTreeSet::new(), is_full: false }
    }

    /// For [`pass_on`].
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// A listing of the root begins: watches it, or its nearest existing parent. May wait for the disk and for the watcher's
    /// thread.
    pub(super) fn begin(&mut self, root: Root, base: &Path) {
        self.shared.dirty().asked.entry(root).or_default();
        self.is_full = false;
        for _ in 0..ATTEMPTS_MAX {
            self.kept.clear();
            // The root directory of the system always exists.
            let Some((dir, rest)) = nearest(base) else { return };
            let usage = if rest.as_os_str().is_empty() { Use::Holds(RelPath::new()) } else { Use::Awaits(rest) };
            if !self.watch(root, &dir, usage) {
                return;
            }
        }
    }

    /// The listing, or a look at a new directory, comes to a directory `below` the root whose real path is `dir`.
    pub(super) fn enter(&mut self, root: Root, below: &str, dir: &Path) {
        self.watch(root, dir, Use::Holds(below.to_owned()));
    }

    /// The listing is over: whatever it did not come to is not watched for this root any more.
    pub(super) fn end(&mut self, root: Root, files: usize) {
        self.shared.dirty().asked.insert(root, files);
        let unused = self.shared.watches().keep_only(root, &std::mem::take(&mut self.kept));
        self.unwatch(&unused);
    }

    /// Watches a directory that has appeared, and all below it, and hints at every file in it.
    pub(super) fn take_up(&mut self, root: Root, base: &Path, below: &str) {
        let Ok(real) = fs::canonicalize(base) else { return };
        let listing = look::list_below(root.folder(), &real, below, FILES_MAX, &mut |below, dir| self.enter(root, below, dir));
        // One that is gone again, or was no directory, is nothing.
        for file in listing.map(|listing| listing.files).unwrap_or_default() {
            self.shared.dirty().seen(root).add(Meaning::File(file.path));
        }
        self.kept.clear();
        self.shared.rang.notify_one();
    }

    /// Whether a new watch was set, or may be set with more luck.
    fn watch(&mut self, root: Root, dir: &Path, usage: Use) -> bool {
        self.kept.insert(dir.to_owned());
        let is_root_or_above = usage == Use::Holds(RelPath::new()) || matches!(usage, Use::Awaits(_));
        let Some(id) = id_of(dir).filter(|_| self.watcher.is_some() && !self.is_full) else { return false };
        let has_room = self.shared.watches().len() < self.max || self.shared.watches().has(dir);
        if !has_room {
            return self.give_up(root, &format!("more than {} directories", self.max));
        }
        // Known before it is watched, so that the first event already finds it.
        let entered = self.shared.watches().enter(root, dir, id, usage.clone());
        self.unwatch(&entered.stale);
        let Some(watcher) = self.watcher.as_mut().filter(|_| entered.is_new && (is_root_or_above || !IS_DEEP)) else { return false };
        let is_deep = IS_DEEP && matches!(usage, Use::Holds(_));
        let Err(why) = watcher.watch(dir, if is_deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive }) else {
            return true;
        };
        self.shared.watches().forget(dir);
        if is_denied(&why) {
            // It cannot be read either, and is counted as such.
            return false;
        }
        // Gone between two calls: the next attempt finds what is there now.
        id_of(dir) != Some(id) || self.give_up(root, &advice(&why))
    }

    fn give_up(&mut self, root: Root, why: &str) -> bool {
        self.is_full = true;
        self.shared.fail([root], why);
        false
    }

    fn unwatch(&mut self, dirs: &[PathBuf]) {
        for dir in dirs {
            if let Some(watcher) = self.watcher.as_mut() {
                // It may be gone already, and its watch with it.
                drop(watcher.unwatch(dir));
            }
        }
    }
}

/// The system's words, and what to do about them.
fn advice(why: &notify::Error) -> String {
    if matches!(why.kind, notify::ErrorKind::MaxFilesWatch) {
        // ENOSPC, for which the system's own words speak of a disk.
        "no watches are left; raise fs.inotify.max_user_watches".to_owned()
    } else if errno(why) == Some(rustix::io::Errno::MFILE) {
        format!("{why}; raise fs.inotify.max_user_instances")
    } else {
        why.to_string()
    }
}

fn is_denied(why: &notify::Error) -> bool {
    errno(why) == Some(rustix::io::Errno::ACCESS)
}

fn errno(why: &notify::Error) -> Option<rustix::io::Errno> {
    match &why.kind {
        notify::ErrorKind::Io(io) => rustix::io::Errno::from_io_error(io),
        notify::ErrorKind::Generic(_)
        | notify::ErrorKind::PathNotFound
        | notify::ErrorKind::WatchNotFound
        | notify::ErrorKind::InvalidConfig(_)
        | notify::ErrorKind::MaxFilesWatch => None,
    }
}

fn id_of(dir: &Path) -> Option<Id> {
    fs::metadata(dir).ok().filter(fs::Metadata::is_dir).map(|meta| (meta.dev(), meta.ino()))
}

/// The root, or its nearest existing parent and what is missing from there; all links of it resolved.
fn nearest(base: &Path) -> Option<(PathBuf, PathBuf)> {
    base.ancestors().find_map(|up| {
        let dir = fs::canonicalize(up).ok().filter(|dir| dir.is_dir())?;
        Some((dir, base.strip_prefix(up).ok()?.to_owned()))
    })
}

impl Shared {
    /// What the watcher's thread calls; waits for nobody.
    fn take_in(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() || event.kind == EventKind::Other || event.paths.is_empty() => self.everywhere(|_, _| true),
            Ok(event) => self.sort(&event),
            Err(why) => {
                let asked: Vec<Root> = self.dirty().asked.keys().copied().collect();
                self.fail(asked, &advice(&why));
                self.everywhere(|_, _| true);
            }
        }
    }

    /// Notes what an event means for each root.
    fn sort(&self, event: &Event) {
        for path in &event.paths {
            let meanings = self.watches().meanings(&event.kind, path);
            if meanings.is_empty() {
                continue;
            }
            let mut dirty = self.dirty();
            meanings.into_iter().for_each(|(root, meaning)| dirty.seen(root).add(meaning));
            self.rang.notify_one();
        }
    }

    /// Events were lost, or it is time to poll: those roots that `is_meant` names, told how many files each has.
    fn everywhere(&self, is_meant: impl Fn(&Root, &usize) -> bool) {
        let mut dirty = self.dirty();
        let meant: Vec<Root> = dirty.asked.iter().filter(|(root, files)| is_meant(root, files)).map(|(root, _)| *root).collect();
        meant.into_iter().for_each(|root| dirty.seen(root).add(Meaning::Everywhere));
        self.rang.notify_one();
    }

    /// It is the `nth` time to poll.
    fn poll(&self, nth: u64) {
        let polled = self.dirty().polled.clone();
        self.everywhere(|root, files| polled.contains(root) && (*files <= LARGE_FILES || nth.is_multiple_of(LARGE_TURN)));
    }

    /// Watching does not work for these: said once, polled from then on.
    fn fail(&self, roots: impl IntoIterator<Item = Root>, why: &str) {
        let mut dirty = self.dirty();
        if dirty.polled.is_empty() {
            dirty.failure = Some(why.to_owned());
        }
        dirty.polled.extend(roots);
        self.rang.notify_one();
    }

    /// What was gathered, as the events that say so; the new directories go to the hands. Roots that rest are left alone.
    fn gathered(&self, queue: &Queue, resting: &BTreeSet<Root>) -> Vec<SourceEvent> {
        let mut dirty = self.dirty();
        let mut events: Vec<SourceEvent> = dirty.failure.take().map(|why| SourceEvent::Polling { why }).into_iter().collect();
        let (later, now) = std::mem::take(&mut dirty.roots).into_iter().partition(|(root, _)| resting.contains(root));
        dirty.roots = later;
        drop(dirty);
        for (root, seen) in now {
            if seen.everywhere {
                events.push(SourceEvent::Hint { root, path: None });
                continue;
            }
            seen.directories.into_iter().for_each(|below| queue.enter(root, below));
            events.extend(seen.files.into_iter().map(|path| SourceEvent::Hint { root, path: Some(path) }));
        }
        events
    }

    // A panic while a lock was held leaves maps that are still whole.
    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dirty {
    fn seen(&mut self, root: Root) -> &mut Seen {
        self.roots.entry(root).or_default()
    }
}

impl Seen {
    fn add(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::File(path) => drop(self.files.insert(path)),
            Meaning::Directory(below) => drop(self.directories.insert(below)),
            Meaning::Everywhere => self.everywhere = true,
        }
        if self.everywhere || self.files.len() + self.directories.len() > PATHS_MAX {
            *self = Seen { everywhere: true, ..Seen::default() };
        }
    }
}

/// Passes hints on, a moment after the first one of each bunch, until `stop` or until nobody listens.
pub(super) async fn pass_on(shared: Arc<Shared>, queue: Arc<Queue>, inbox: mpsc::Sender<Input>, stop: CancellationToken) {
    let _ = stop.run_until_cancelled(pass_on_for_ever(&shared, &queue, &inbox)).await;
}

/// Ends only when nobody listens.
async fn pass_on_for_ever(shared: &Shared, queue: &Queue, inbox: &mpsc::Sender<Input>) {
    let (mut poll, mut rest) = (interval(POLL_EVERY), interval(REST));
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut resting = BTreeSet::new();
    let mut nth = 0;
    loop {
        let is_polling = !shared.dirty().polled.is_empty();
        tokio::select! {
            () = shared.rang.notified() => tokio::time::sleep(GATHER).await,
            _ = poll.tick(), if is_polling => {
                shared.poll(nth);
                nth += 1;
            }
            _ = rest.tick(), if !resting.is_empty() => resting.clear(),
        }
        for event in shared.gathered(queue, &resting) {
            if let SourceEvent::Hint { root, path: None } = &event {
                if resting.is_empty() {
                    rest.reset();
                }
                resting.insert(*root);
            }
            if inbox.send(Input::Source(event)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag, ModifyKind, RenameMode};

    const ROOT: Root = Root::CLAUDE_TODOS;
    const PROJECTS: Root = Root::CLAUDE_PROJECTS;
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

    /// What is watched is `/c/todos` and `/c/projects`.
    struct Rig {
        shared: Arc<Shared>,
        queue: Arc<Queue>,
    }

    impl Rig {
        fn new() -> Rig {
            let shared = Arc::new(Shared::default());
            for (n, (root, dir)) in [(ROOT, "/c/todos"), (PROJECTS, "/c/projects")].into_iter().enumerate() {
                shared.watches().enter(root, Path::new(dir), (1, n as u64), Use::Holds(String::new()));
                shared.dirty().asked.insert(root, 10);
            }
            Rig { shared, queue: Arc::new(Queue::new(vec![ROOT, PROJECTS])) }
        }

        fn happens(&self, kind: EventKind, path: &str) {
            self.shared.take_in(Ok(Event::new(kind).add_path(path.into())));
        }

        fn gathered(&self) -> Vec<SourceEvent> {
            self.shared.gathered(&self.queue, &BTreeSet::new())
        }
    }

    fn hint(path: &str) -> SourceEvent {
        SourceEvent::Hint { root: ROOT, path: Some(path.to_owned()) }
    }

    fn everywhere(root: Root) -> SourceEvent {
        SourceEvent::Hint { root, path: None }
    }

    #[test]
    fn both_names_of_a_renamed_file_are_looked_at_once_each() {
        let rig = Rig::new();
        let both = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        for _ in 0..3 {
            rig.shared.take_in(Ok(Event::new(both).add_path("/c/todos/a.json.tmp".into()).add_path("/c/todos/b.json".into())));
            rig.shared.take_in(Ok(Event::new(both).add_path("/c/todos/b.json".into()).add_path("/c/todos/c.json".into())));
        }
        assert_eq!(rig.gathered(), [hint("b.json"), hint("c.json")]);
    }

    #[test]
    fn many_events_are_few_hints_and_very_many_are_one() {
        let rig = Rig::new();
        for _ in 0..1000 {
            rig.happens(WRITTEN, "/c/todos/b.json");
            rig.happens(CLOSED, "/c/todos/a.json");
        }
        assert_eq!(rig.gathered(), [hint("a.json"), hint("b.json")]);
        for n in 0..=PATHS_MAX {
            rig.happens(CREATED, &format!("/c/todos/{n}.json"));
        }
        rig.happens(CREATED, "/c/todos/one-more.json");
        rig.happens(CREATED, "/c/projects/-x/deep.jsonl");
        assert_eq!(rig.gathered(), [everywhere(ROOT)], "and the other root is not concerned");
        assert_eq!(rig.gathered(), [], "said once");
    }

    #[test]
    fn new_directories_go_to_the_hands_and_wake_nobody_else() {
        let rig = Rig::new();
        rig.happens(EventKind::Create(CreateKind::Folder), "/c/projects/-x");
        rig.happens(EventKind::Create(CreateKind::Folder), "/c/todos/x");
        assert_eq!(rig.gathered(), []);
        let mut jobs = vec![];
        while let Some(job) = futures::FutureExt::now_or_never(rig.queue.next()) {
            jobs.push(job);
        }
        assert_eq!(jobs, [super::super::queue::Job::Enter(PROJECTS, "-x".to_owned())], "todos has no directories");
    }

    #[test]
    fn a_root_that_rests_keeps_what_it_has_and_disturbs_no_other() {
        let rig = Rig::new();
        rig.happens(CREATED, "/c/todos/a.json");
        rig.happens(CREATED, "/c/projects/a.jsonl");
        let others = rig.shared.gathered(&rig.queue, &BTreeSet::from([ROOT]));
        assert_eq!(others, [SourceEvent::Hint { root: PROJECTS, path: Some("a.jsonl".to_owned()) }]);
        assert_eq!(rig.gathered(), [hint("a.json")]);
    }

    #[test]
    fn lost_events_are_a_hint_everywhere_whatever_path_they_name() {
        let rig = Rig::new();
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        let named = Event::new(CREATED).add_path("/c/todos/a.json".into()).set_flag(Flag::Rescan);
        for event in [overflow, named, Event::new(EventKind::Other).add_path("/elsewhere".into()), Event::new(EventKind::Any)] {
            rig.shared.take_in(Ok(event.clone()));
            assert_eq!(rig.gathered(), [everywhere(ROOT), everywhere(PROJECTS)], "{event:?}");
        }
        assert!(rig.shared.dirty().polled.is_empty(), "the watcher still works");
    }

    #[test]
    fn a_failure_is_said_once_with_what_to_do_and_hints_everywhere_each_time() {
        let rig = Rig::new();
        let failure = || Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        rig.shared.take_in(failure());
        let why = "no watches are left; raise fs.inotify.max_user_watches".to_owned();
        assert_eq!(rig.gathered(), [SourceEvent::Polling { why }, everywhere(ROOT), everywhere(PROJECTS)]);
        rig.shared.take_in(failure());
        assert_eq!(rig.gathered(), [everywhere(ROOT), everywhere(PROJECTS)]);
        let full = notify::Error::io(std::io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()));
        assert!(advice(&full).ends_with("; raise fs.inotify.max_user_instances"), "{}", advice(&full));
    }

    #[test]
    fn only_what_cannot_be_watched_is_polled_and_a_large_root_less_often() {
        let rig = Rig::new();
        rig.shared.fail([ROOT], "why");
        rig.gathered();
        rig.shared.poll(1);
        assert_eq!(rig.gathered(), [everywhere(ROOT)]);
        rig.shared.fail([PROJECTS], "why");
        rig.shared.dirty().asked.insert(PROJECTS, LARGE_FILES + 1);
        let polled: Vec<usize> = (0..2 * LARGE_TURN)
            .map(|nth| {
                rig.shared.poll(nth);
                rig.gathered().len()
            })
            .collect();
        assert_eq!(polled, [2, 1, 1, 1, 1, 2, 1, 1, 1, 1], "and the failure is not said again");
    }

    #[test]
    fn more_directories_than_are_watched_are_polled_and_that_is_said_once() {
        let dir = tempfile::tempdir().expect("dir");
        (0..20).for_each(|n| fs::create_dir(dir.path().join(format!("-{n}"))).expect("made"));
        let mut hints = Hints::new(&BTreeSet::from([PROJECTS]), 10);
        let queue = Queue::new(vec![PROJECTS]);
        let shared = hints.shared();
        for nth in 0..3 {
            hints.begin(PROJECTS, dir.path());
            let enter = &mut |below: &str, dir: &Path| hints.enter(PROJECTS, below, dir);
            look::list(PROJECTS.folder(), dir.path(), FILES_MAX, enter).expect("listed");
            hints.end(PROJECTS, 0);
            assert_eq!(shared.watches().len(), 10);
            let said = shared.gathered(&queue, &BTreeSet::new());
            let why = "more than 10 directories".to_owned();
            assert_eq!(said, if nth == 0 { vec![SourceEvent::Polling { why }] } else { vec![] });
            shared.poll(nth);
            assert_eq!(shared.gathered(&queue, &BTreeSet::new()), [everywhere(PROJECTS)]);
        }
    }

    #[tokio::test]
    async fn when_watching_fails_everything_is_hinted_at_from_time_to_time() {
        let rig = Rig::new();
        rig.shared.fail([ROOT], "no watches left");
        let (sender, mut inbox) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let passing = pass_on(Arc::clone(&rig.shared), Arc::clone(&rig.queue), sender, stop.clone());
        let listening = async {
            let mut next = async || tokio::time::timeout(3 * POLL_EVERY, inbox.recv()).await.expect("in time");
            assert_eq!(next().await, Some(Input::Source(SourceEvent::Polling { why: "no watches left".to_owned() })));
            assert_eq!(next().await, Some(Input::Source(everywhere(ROOT))));
            assert_eq!(next().await, Some(Input::Source(everywhere(ROOT))));
            stop.cancel();
        };
        tokio::join!(passing, listening);
    }
}
