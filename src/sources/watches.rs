//! Which directories are watched for which root, and what an event at a path means for each of them. Bookkeeping alone: it
//! touches no disk and no watcher.
//!
//! Every directory below a root, down to its folder's depth, has a watch of its own; a root that does not exist yet is
//! awaited in its nearest existing parent. Two roots may use one directory. A directory that is gone or renamed is *lost*,
//! with all below it, until a listing or [`Watches::enter`] comes through it again; and since a watch belongs to the
//! directory and not to its name, one that is found under a new name first loses the watch of its old one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};

use super::look::{is_entered, is_wanted, joined, levels};
use crate::model::input::RelPath;
use crate::model::tool::Root;

/// Device and inode of a directory, which another one may replace.
pub(super) type Id = (u64, u64);

/// What a root wants of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Use {
    /// The root, or a directory on the way to it, is to appear here; what is still missing from here to the root.
    Awaits(PathBuf),
    /// It is this directory below the root; empty: the root itself.
    Holds(RelPath),
}

#[derive(Debug)]
struct Dir {
    id: Id,
    is_lost: bool,
    uses: BTreeMap<Root, Use>,
}

/// All that is watched, by real path.
#[derive(Debug, Default)]
pub(super) struct Watches {
    dirs: BTreeMap<PathBuf, Dir>,
    ids: BTreeMap<Id, PathBuf>,
}

/// What is to be done before a directory counts as watched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entered {
    /// Watches to take away first.
    pub(super) stale: Vec<PathBuf>,
    /// Whether it has to be watched, or is already.
    pub(super) is_new: bool,
}

/// What one event at one path means for one root.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Look at this file.
    File(RelPath),
    /// Watch this directory, and look at what is in it.
    Directory(RelPath),
    /// Look everywhere.
    Everywhere,
}

impl Watches {
    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.dirs.len()
    }

    /// Whether this directory is watched.
    pub(super) fn has(&self, dir: &Path) -> bool {
        self.dirs.get(dir).is_some_and(|known| !known.is_lost)
    }

    /// Notes that a root uses a directory.
    pub(super) fn enter(&mut self, root: Root, dir: &Path, id: Id, usage: Use) -> Entered {
        let mut stale = Vec::new();
        if let Some(old) = self.ids.insert(id, dir.to_owned()).filter(|old| old != dir) {
            self.dirs.remove(&old);
            stale.push(old);
        }
        let Some(known) = self.dirs.get_mut(dir) else {
            self.dirs.insert(dir.to_owned(), Dir { id, is_lost: false, uses: BTreeMap::from([(root, usage)]) });
            return Entered { stale, is_new: true };
        };
        known.uses.insert(root, usage);
        let is_new = known.is_lost || known.id != id;
        if is_new {
            let before = std::mem::replace(&mut known.id, id);
            known.is_lost = false;
            stale.push(dir.to_owned());
            if before != id {
                self.ids.remove(&before);
            }
        }
        Entered { stale, is_new }
    }

    /// The directory cannot be watched.
    pub(super) fn forget(&mut self, dir: &Path) {
        if let Some(known) = self.dirs.remove(dir)
            && self.ids.get(&known.id).is_some_and(|at| at == dir)
        {
            self.ids.remove(&known.id);
        }
    }

    /// The root uses only these directories. Gives those that nobody uses any more.
    pub(super) fn keep_only(&mut self, root: Root, kept: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let mut unused = Vec::new();
        for (dir, known) in &mut self.dirs {
            if !kept.contains(dir) && known.uses.remove(&root).is_some() && known.uses.is_empty() {
                unused.push(dir.clone());
            }
        }
        unused.iter().for_each(|dir| self.forget(dir));
        unused
    }

    /// What an event means, for each root that it concerns. Notes directories that are gone.
    pub(super) fn meanings(&mut self, kind: &EventKind, path: &Path) -> Vec<(Root, Meaning)> {
        // Our own looks open directories and files; only the end of a writing says something.
        if matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write)) {
            return Vec::new();
        }
        let mut meanings = Vec::new();
        let itself = self.dirs.get(path);
        if let Some(dir) = itself {
            meanings.extend(dir.uses.iter().filter_map(|(root, usage)| Some((*root, of_itself(kind, usage)?))));
        }
        let above = path.ancestors().skip(1).find_map(|up| Some((up, self.dirs.get(up)?)));
        if let Some((up, dir)) = above
            && let Ok(below) = path.strip_prefix(up)
        {
            let is_known = |root: &Root| itself.is_some_and(|dir| dir.uses.contains_key(root));
            let uses = dir.uses.iter().filter(|(root, usage)| matches!(usage, Use::Awaits(_)) || !is_known(root));
            meanings.extend(uses.filter_map(|(root, usage)| Some((*root, of_entry(*root, kind, usage, below)?))));
        }
        if itself.is_some() && is_gone(kind) {
            let lost = self.dirs.range_mut(path.to_owned()..).take_while(|(dir, _)| dir.starts_with(path));
            lost.for_each(|(_, dir)| dir.is_lost = true);
        }
        meanings
    }
}

fn is_gone(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

/// An event at a watched directory itself: its own mode or times; where systems name only directories, something in it.
fn of_itself(kind: &EventKind, usage: &Use) -> Option<Meaning> {
    match usage {
        Use::Awaits(_) => is_gone(kind).then_some(Meaning::Everywhere),
        Use::Holds(below) if below.is_empty() || is_gone(kind) => Some(Meaning::Everywhere),
        Use::Holds(below) => Some(Meaning::Directory(below.clone())),
    }
}

/// An event at `entry`, which lies in or below a watched directory.
fn of_entry(root: Root, kind: &EventKind, usage: &Use, entry: &Path) -> Option<Meaning> {
    let mut parts = entry.iter();
    let first = parts.next()?;
    let below = match usage {
        Use::Awaits(rest) => return (rest.iter().next() == Some(first)).then_some(Meaning::Everywhere),
        Use::Holds(below) => below,
    };
    let (name, folder) = (first.to_str()?, root.folder());
    let is_deeper = parts.next().is_some();
    if !is_deeper && is_wanted(folder, name) {
        return Some(Meaning::File(joined(below, name)));
    }
    let is_one = is_entered(folder, name) && levels(below) < folder.depth;
    (is_one && (is_deeper || may_be_new_directory(kind))).then(|| Meaning::Directory(joined(below, name)))
}

/// Whether there may now be a directory that was not there, or could not be read, before. A file is written far more often,
/// and says so.
fn may_be_new_directory(kind: &EventKind) -> bool {
    match kind {
        EventKind::Any | EventKind::Other => true,
        EventKind::Create(made) => *made != CreateKind::File,
        EventKind::Modify(ModifyKind::Name(how)) => *how != RenameMode::From,
        EventKind::Modify(ModifyKind::Any | ModifyKind::Metadata(_)) => true,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Other) | EventKind::Access(_) | EventKind::Remove(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, MetadataKind, RemoveKind};

    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const MADE: EventKind = EventKind::Create(CreateKind::Folder);
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const RENAMED: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const AWAY: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);
    const GONE: EventKind = EventKind::Remove(RemoveKind::Folder);

    fn codex() -> Root {
        Root::of("codex", 0).next().expect("a folder")
    }

    fn holds(below: &str) -> Use {
        Use::Holds(below.to_owned())
    }

    /// `/c/sessions` and `/c/sessions/2026` for codex, `/c` for what is still to come, all for the first time.
    fn watching() -> Watches {
        let mut watches = Watches::default();
        for (n, (root, dir, usage)) in [
            (codex(), "/c/sessions", holds("")),
            (codex(), "/c/sessions/2026", holds("2026")),
            (Root::CLAUDE_TODOS, "/c", Use::Awaits("todos/deep".into())),
        ]
        .into_iter()
        .enumerate()
        {
            let entered = watches.enter(root, Path::new(dir), (1, n as u64), usage);
            assert_eq!(entered, Entered { stale: vec![], is_new: true });
        }
        watches
    }

    fn meaning(kind: EventKind, path: &str) -> Vec<(Root, Meaning)> {
        watching().meanings(&kind, Path::new(path))
    }

    fn file(path: &str) -> Vec<(Root, Meaning)> {
        vec![(codex(), Meaning::File(path.to_owned()))]
    }

    fn directory(path: &str) -> Vec<(Root, Meaning)> {
        vec![(codex(), Meaning::Directory(path.to_owned()))]
    }

    #[test]
    fn every_way_to_change_a_file_is_a_look_at_it() {
        for kind in [CREATED, WRITTEN, CLOSED, RENAMED, AWAY, REMOVED, TOUCHED, EventKind::Any] {
            assert_eq!(meaning(kind, "/c/sessions/r.jsonl"), file("r.jsonl"), "{kind:?}");
            assert_eq!(meaning(kind, "/c/sessions/2026/r.jsonl"), file("2026/r.jsonl"), "{kind:?}");
        }
    }

    #[test]
    fn our_own_looks_and_other_peoples_files_mean_nothing() {
        for kind in [AccessKind::Open(AccessMode::Any), AccessKind::Read, AccessKind::Close(AccessMode::Read), AccessKind::Any] {
            assert_eq!(meaning(EventKind::Access(kind), "/c/sessions/r.jsonl"), []);
            assert_eq!(meaning(EventKind::Access(kind), "/c/sessions"), []);
        }
        let churn = ["state.sqlite-wal", "r.jsonl.gz", ".rollout-1.jsonl.tmp", "r.jsonl.tmp", "r.sync-conflict-1.jsonl", ".git"];
        for name in churn {
            for kind in [CREATED, WRITTEN, CLOSED, REMOVED, AWAY] {
                assert_eq!(meaning(kind, &format!("/c/sessions/2026/{name}")), [], "{name} {kind:?}");
            }
        }
        for path in ["/c/other", "/c/state.sqlite", "/elsewhere", "/"] {
            assert_eq!(meaning(MADE, path), [], "{path}");
        }
    }

    #[test]
    fn a_new_directory_is_entered_unless_it_is_too_deep_or_nobodys_business() {
        for kind in [MADE, RENAMED, TOUCHED, EventKind::Any] {
            assert_eq!(meaning(kind, "/c/sessions/2027"), directory("2027"), "{kind:?}");
            assert_eq!(meaning(kind, "/c/sessions/2026/11"), directory("2026/11"), "{kind:?}");
        }
        assert_eq!(meaning(CREATED, "/c/sessions/2026/11/21/r.jsonl"), directory("2026/11"), "events from below name what is missing");
        for path in ["/c/sessions/.git", "/c/sessions/x.tmp"] {
            assert_eq!(meaning(MADE, path), [], "{path}");
        }
        let mut watches = Watches::default();
        watches.enter(codex(), Path::new("/s/2026/11/21"), (1, 1), holds("2026/11/21"));
        assert_eq!(watches.meanings(&MADE, Path::new("/s/2026/11/21/deep")), []);
    }

    #[test]
    fn a_directory_that_is_gone_is_lost_with_all_below_it() {
        for kind in [GONE, AWAY] {
            let mut watches = watching();
            assert_eq!(watches.meanings(&kind, Path::new("/c/sessions/2026")), [(codex(), Meaning::Everywhere)]);
            assert!(!watches.has(Path::new("/c/sessions/2026")) && watches.has(Path::new("/c/sessions")));
            let mut watches = watching();
            assert_eq!(watches.meanings(&kind, Path::new("/c/sessions")), [(codex(), Meaning::Everywhere)]);
            assert!(!watches.has(Path::new("/c/sessions/2026")) && !watches.has(Path::new("/c/sessions")) && watches.has(Path::new("/c")));
            let again = watches.enter(codex(), Path::new("/c/sessions"), (1, 0), holds(""));
            assert_eq!(again, Entered { stale: vec!["/c/sessions".into()], is_new: true }, "though it is the same inode");
        }
        assert_eq!(meaning(TOUCHED, "/c/sessions/2026"), directory("2026"), "its mode was changed: perhaps it can be read now");
        assert_eq!(meaning(TOUCHED, "/c/sessions"), [(codex(), Meaning::Everywhere)]);
    }

    #[test]
    fn while_a_root_is_awaited_only_the_next_directory_on_the_way_matters() {
        let everywhere = [(Root::CLAUDE_TODOS, Meaning::Everywhere)];
        assert_eq!(meaning(MADE, "/c/todos"), everywhere);
        assert_eq!(meaning(RENAMED, "/c/todos"), everywhere);
        assert_eq!(meaning(GONE, "/c"), everywhere);
        for path in ["/c/deep", "/c/.bash_history", "/c/x/todos"] {
            assert_eq!(meaning(MADE, path), [], "{path}");
        }
        assert_eq!(meaning(TOUCHED, "/c"), []);
    }

    #[test]
    fn a_directory_under_a_new_name_loses_the_watch_of_its_old_one_first() {
        let mut watches = watching();
        let entered = watches.enter(codex(), Path::new("/c/sessions/2027"), (1, 1), holds("2027"));
        assert_eq!(entered, Entered { stale: vec!["/c/sessions/2026".into()], is_new: true });
        assert!(!watches.has(Path::new("/c/sessions/2026")));
        let kept = ["/c/sessions", "/c/sessions/2027"].map(PathBuf::from).into();
        assert_eq!(watches.keep_only(codex(), &kept), Vec::<PathBuf>::new(), "so that the old name takes nothing with it");
    }

    #[test]
    fn another_directory_of_the_same_name_is_watched_anew() {
        let mut watches = watching();
        let entered = watches.enter(codex(), Path::new("/c/sessions/2026"), (1, 9), holds("2026"));
        assert_eq!(entered, Entered { stale: vec!["/c/sessions/2026".into()], is_new: true });
        let same = watches.enter(codex(), Path::new("/c/sessions/2026"), (1, 9), holds("2026"));
        assert_eq!(same, Entered::default());
        let other = watches.enter(codex(), Path::new("/c/x"), (1, 1), holds("x"));
        assert_eq!(other, Entered { stale: vec![], is_new: true }, "the old number is free");
    }

    #[test]
    fn two_roots_may_use_one_directory_and_the_last_one_closes_the_door() {
        let mut watches = watching();
        let entered = watches.enter(Root::CLAUDE_PROJECTS, Path::new("/c"), (1, 2), Use::Awaits("projects".into()));
        assert_eq!(entered, Entered::default(), "it is watched already");
        assert_eq!(watches.keep_only(Root::CLAUDE_TODOS, &BTreeSet::new()), Vec::<PathBuf>::new());
        assert_eq!(watches.meanings(&MADE, Path::new("/c/todos")), []);
        assert_eq!(watches.meanings(&MADE, Path::new("/c/projects")), [(Root::CLAUDE_PROJECTS, Meaning::Everywhere)]);
        assert_eq!(watches.keep_only(Root::CLAUDE_PROJECTS, &BTreeSet::new()), [PathBuf::from("/c")]);
        assert_eq!(watches.len(), 2);
    }
}
