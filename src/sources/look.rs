//! Listing without following links out: what is listed lies below its root, is a regular file, and may be read.
//!
//! What is passed over because of its kind (a link that leads out, a pipe, a directory with a file's name, something
//! unreadable, a name that is not UTF-8) is counted; what the folder does not want (other endings, dot files, files being
//! written, Syncthing's conflict copies) is not even counted. A link to a directory of the same root is not walked, since
//! its files are listed by their own names; so no file is listed twice by it, and no loop has a beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirEntry, FileType, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::model::input::{FileStat, RelPath, Seen};
use crate::model::tool::Folder;

/// What a root holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Its files, by path.
    pub(super) files: Vec<Seen>,
    /// How many entries were passed over.
    pub(super) skipped: u64,
}

/// Whether a file of that name is looked at: the folder wants it, and it is no synchroniser's conflict copy.
pub(super) fn is_wanted(folder: &Folder, name: &str) -> bool {
    folder.wants(name) && !is_conflict_copy(name)
}

/// Whether a directory of that name is looked into. One with a file's name is not.
pub(super) fn is_entered(folder: &Folder, name: &str) -> bool {
    !folder.wants(name) && !is_own_business(name)
}

/// Whether a name is a tool's or a synchroniser's own business: dot files, things being written, conflict copies.
fn is_own_business(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".tmp") || is_conflict_copy(name)
}

fn is_conflict_copy(name: &str) -> bool {
    name.contains(".sync-conflict-")
}

/// Lists at most `max` files of a folder whose directory is `base`. `enter` is told each directory, by its path below the
/// root and its real one, before that is read.
///
/// # Errors
/// When the root itself cannot be listed; `NotFound` when it is not there, `NotADirectory` when it is none.
pub(super) fn list(folder: &Folder, base: &Path, max: usize, enter: &mut dyn FnMut(&str, &Path)) -> io::Result<Listing> {
    let real = fs::canonicalize(base)?;
    Walk::new(folder, &real, max, enter).from("")
}

/// The same from a directory `below` the root on, whose real path is `real`.
///
/// # Errors
/// When that directory cannot be listed.
pub(super) fn list_below(folder: &Folder, real: &Path, below: &str, max: usize, enter: &mut dyn FnMut(&str, &Path)) -> io::Result<Listing> {
    if !fs::symlink_metadata(real.join(below))?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Walk::new(folder, real, max, enter).from(below)
}

/// How many directories a path below a root is deep; the root itself is 0.
pub(super) fn levels(below: &str) -> usize {
    below.split('/').filter(|part| !part.is_empty()).count()
}

/// `NAME` in the directory `below`.
pub(super) fn joined(below: &str, name: &str) -> RelPath {
    if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }
}

/// One listing under way.
struct Walk<'a> {
    folder: &'a Folder,
    /// The root with all links resolved, to see whether another link stays below it.
    real: &'a Path,
    /// Files that are listed, and directories that are entered.
    max: usize,
    enter: &'a mut dyn FnMut(&str, &Path),
    entered: usize,
    listing: Listing,
}

impl<'a> Walk<'a> {
    fn new(folder: &'a Folder, real: &'a Path, max: usize, enter: &'a mut dyn FnMut(&str, &Path)) -> Walk<'a> {
        Walk { folder, real, max, enter, entered: 0, listing: Listing::default() }
    }

    fn from(mut self, below: &str) -> io::Result<Listing> {
        self.directory(&self.real.join(below), below)?;
        self.listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(self.listing)
    }

    fn directory(&mut self, path: &Path, below: &str) -> io::Result<()> {
        self.entered += 1;
        (self.enter)(below, path);
        let goes_deeper = levels(below) < self.folder.depth;
        let mut deeper = Vec::new();
        for entry in fs::read_dir(path)? {
            let Ok(entry) = entry else {
                self.listing.skipped += 1;
                continue;
            };
            match entry.file_name().into_string() {
                Ok(name) if self.folder.wants(&name) => self.file(&entry, below, &name),
                Ok(name) if goes_deeper && is_entered(self.folder, &name) && self.is_directory(&entry) => deeper.push(name),
                Ok(_) => {}
                Err(name) => self.nameless(&entry, &name, goes_deeper),
            }
        }
        for name in deeper {
            let is_left_out = self.entered >= self.max.max(1);
            if is_left_out
                || self.directory(&path.join(&name), &joined(below, &name)).is_err_and(|why| why.kind() != io::ErrorKind::NotFound)
            {
                self.listing.skipped += 1;
            }
        }
        Ok(())
    }

    fn file(&mut self, entry: &DirEntry, below: &str, name: &str) {
        if is_conflict_copy(name) {
            return;
        }
        match self.regular(entry) {
            Some(stat) if self.listing.files.len() < self.max => self.listing.files.push(Seen { path: joined(below, name), stat }),
            Some(_) | None => self.listing.skipped += 1,
        }
    }

    /// Whether the entry is a directory to look into; one behind a link counts as passed over unless it is walked by its
    /// own name.
    fn is_directory(&mut self, entry: &DirEntry) -> bool {
        let kind = entry.file_type().ok();
        if kind.is_some_and(|kind| kind.is_symlink()) && fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir()) {
            self.listing.skipped += u64::from(!self.is_walked(&entry.path()));
        }
        kind.is_some_and(|kind| kind.is_dir())
    }

    /// Whether the directory that a link leads to is one that this walk comes through.
    fn is_walked(&self, link: &Path) -> bool {
        let Ok(target) = fs::canonicalize(link) else { return false };
        let Ok(below) = target.strip_prefix(self.real) else { return false };
        let is_named = |part: &std::ffi::OsStr| part.to_str().is_some_and(|name| is_entered(self.folder, name));
        below.iter().count() <= self.folder.depth && below.iter().all(is_named)
    }

    /// A name that is not UTF-8 cannot be told to anybody.
    fn nameless(&mut self, entry: &DirEntry, name: &OsString, goes_deeper: bool) {
        let name = name.to_string_lossy();
        let is_directory = entry.file_type().as_ref().is_ok_and(FileType::is_dir);
        if is_wanted(self.folder, &name) || (goes_deeper && is_directory && is_entered(self.folder, &name)) {
            self.listing.skipped += 1;
        }
    }

    /// What the file is, if it is a regular file that may be read, or a link to one below this root.
    fn regular(&self, entry: &DirEntry) -> Option<FileStat> {
        let kind = entry.file_type().ok()?;
        if !(kind.is_file() || kind.is_symlink()) {
            return None;
        }
        let path = entry.path();
        let meta = if kind.is_symlink() { fs::metadata(inside(self.real, &path)?) } else { entry.metadata() }.ok()?;
        let may_read = || accessat(CWD, &path, Access::READ_OK, AtFlags::empty()).is_ok();
        (meta.is_file() && may_read()).then(|| stat_of(&meta))
    }
}

/// Where a path leads, when that lies below `real` (which has no links left in it).
pub(super) fn inside(real: &Path, path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|target| target != real && target.starts_with(real))
}

/// What tells this file from another that later has its name.
pub(super) fn stat_of(meta: &Metadata) -> FileStat {
    let mtime_ms = meta.mtime().saturating_mul(1000).saturating_add(meta.mtime_nsec() / 1_000_000);
    FileStat { dev: meta.dev(), ino: meta.ino(), size: meta.size(), mtime_ms }
}

/// For each name, in the order they were asked for, the lowest path with it: the root's own files first, then those of its
/// directories. Looks at no more than `max` entries.
///
/// # Errors
/// When the root is there and cannot be listed.
pub(super) fn find(base: &Path, names: Vec<String>, max: usize) -> io::Result<Vec<(String, Option<RelPath>)>> {
    let mut search = Search { wanted: names.iter().map(String::as_str).collect(), left: max, found: BTreeMap::new() };
    match search.directory(base, "") {
        Ok(directories) => {
            for name in directories {
                // One that cannot be read has none of the names, as far as we can tell.
                drop(search.directory(&base.join(&name), &format!("{name}/")));
            }
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(why),
    }
    let found = search.found;
    Ok(names
        .into_iter()
        .map(|name| {
            let path = found.get(&name).cloned();
            (name, path)
        })
        .collect())
}

/// One search under way.
struct Search<'a> {
    wanted: BTreeSet<&'a str>,
    left: usize,
    found: BTreeMap<String, RelPath>,
}

impl Search<'_> {
    /// Notes wanted regular files; returns the names of directories, in order.
    fn directory(&mut self, path: &Path, prefix: &str) -> io::Result<BTreeSet<String>> {
        let mut directories = BTreeSet::new();
        for entry in fs::read_dir(path)? {
            if self.left == 0 || self.found.len() == self.wanted.len() {
                break;
            }
            self.left -= 1;
            let Ok(entry) = entry else { continue };
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
            if kind.is_dir() && !is_own_business(&name) {
                directories.insert(name);
            } else if kind.is_file() && self.wanted.contains(name.as_str()) {
                self.found.entry(name).or_insert_with_key(|name| format!("{prefix}{name}"));
            }
        }
        Ok(directories)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tool::Root;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn paths(listing: &Listing) -> Vec<&str> {
        listing.files.iter().map(|seen| seen.path.as_str()).collect()
    }

    fn listed(root: Root, base: &Path, max: usize) -> io::Result<Listing> {
        list(root.folder(), base, max, &mut |_, _| ())
    }

    fn codex() -> Root {
        Root::of("codex", 0).next().expect("a folder")
    }

    #[test]
    fn a_flat_folder_is_listed_in_order_with_what_its_files_are() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path().join("b.json"), "[]");
        write(dir.path().join("a.json"), "[{}]");
        write(dir.path().join("below/c.json"), "[]");
        let listing = listed(Root::CLAUDE_TODOS, dir.path(), 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json", "b.json"], 0), "what is below is another's");
        let meta = fs::metadata(dir.path().join("a.json")).expect("there");
        assert_eq!(listing.files[0].stat, stat_of(&meta));
        assert_eq!(listing.files[0].stat.size, 4);
    }

    #[test]
    fn what_is_no_regular_file_is_counted_and_what_is_nobodys_business_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("todos");
        write(dir.path().join("secret.json"), "out of the root");
        write(root.join("a.json"), "[]");
        for own in [".hidden.json", "a.json.tmp", "a.sync-conflict-20261121-080000-ABCDEFG.json", "notes.md", "state.sqlite-wal"] {
            write(root.join(own), "[]");
        }
        fs::create_dir(root.join("x.json")).expect("made");
        symlink(dir.path().join("secret.json"), root.join("out.json")).expect("linked");
        symlink(root.join("gone"), root.join("nowhere.json")).expect("linked");
        symlink("loop.json", root.join("loop.json")).expect("linked");
        symlink(&root, root.join("itself.json")).expect("linked");
        for pipe in ["pipe.json", "pipe"] {
            rustix::fs::mkfifoat(CWD, root.join(pipe), rustix::fs::Mode::RUSR).expect("made");
        }
        symlink("pipe.json", root.join("to-pipe.json")).expect("linked");
        symlink("/dev/zero", root.join("zero.json")).expect("linked");
        let _socket = UnixListener::bind(root.join("socket.json")).expect("bound");
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff.json")), "[]").expect("written");
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff.md")), "[]").expect("written");
        let listing = listed(Root::CLAUDE_TODOS, &root, 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json"], 10));
    }

    #[test]
    fn a_link_to_a_file_of_the_same_root_is_listed_as_that_file() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path().join("a.json"), "[]");
        symlink("a.json", dir.path().join("link.json")).expect("linked");
        let listing = listed(Root::CLAUDE_TODOS, dir.path(), 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json", "link.json"], 0));
        assert_eq!(listing.files[0].stat, listing.files[1].stat);
    }

    #[test]
    fn a_folder_is_listed_as_deep_as_it_goes_and_no_deeper() {
        let dir = tempfile::tempdir().expect("dir");
        for path in ["2026/11/21/b.jsonl", "2026/11/21/a.jsonl", "2026/11/21/deep/no.jsonl", "old.json", "2026/c.jsonl", "2026/11/n.md"] {
            write(dir.path().join(path), "{}");
        }
        for path in [".git/x.jsonl", "2026/.tmp/x.jsonl", "2026/part.tmp/x.jsonl", "2026/z.jsonl.tmp"] {
            write(dir.path().join(path), "{}");
        }
        let mut entered = Vec::new();
        let listing = list(codex().folder(), dir.path(), 10, &mut |below, real| {
            assert!(real.ends_with(below));
            entered.push(below.to_owned());
        })
        .expect("listed");
        assert_eq!(paths(&listing), ["2026/11/21/a.jsonl", "2026/11/21/b.jsonl", "2026/c.jsonl", "old.json"]);
        assert_eq!((entered, listing.skipped), (["", "2026", "2026/11", "2026/11/21"].map(str::to_owned).to_vec(), 0));
        let below = list_below(codex().folder(), dir.path(), "2026/11", 10, &mut |_, _| ()).expect("listed");
        assert_eq!(paths(&below), ["2026/11/21/a.jsonl", "2026/11/21/b.jsonl"]);
        let tasks = Root::CLAUDE_TODOS.beside("claude-tasks").expect("a folder");
        write(dir.path().join("list/.highwatermark"), "3");
        write(dir.path().join("list/1.json"), "{}");
        write(dir.path().join("list/.lock"), "");
        let listing = listed(tasks, dir.path(), 10).expect("listed");
        assert_eq!(paths(&listing), ["list/.highwatermark", "list/1.json", "old.json"]);
    }

    #[test]
    fn a_linked_directory_is_counted_when_it_leads_out_and_its_loops_end() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path().join("-x/a.jsonl"), "{}");
        write(dir.path().join("-x/1/2/3/4/5/too-deep.jsonl"), "{}");
        let elsewhere = tempfile::tempdir().expect("dir");
        write(elsewhere.path().join("f.jsonl"), "{}");
        symlink("-x", dir.path().join("-in")).expect("linked");
        symlink("..", dir.path().join("-x/up")).expect("linked");
        symlink(".", dir.path().join("-x/here")).expect("linked");
        symlink("itself", dir.path().join("itself")).expect("linked");
        let listing = listed(Root::CLAUDE_PROJECTS, dir.path(), 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["-x/a.jsonl"], 0), "each file by its own name, once");
        symlink(elsewhere.path(), dir.path().join("-out")).expect("linked");
        symlink("-x/1/2/3/4/5", dir.path().join("-deep")).expect("linked");
        let listing = listed(Root::CLAUDE_PROJECTS, dir.path(), 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["-x/a.jsonl"], 2), "what is not walked by its own name is counted");
    }

    #[test]
    fn no_more_than_the_maximum_is_listed_and_the_rest_is_counted() {
        let dir = tempfile::tempdir().expect("dir");
        for n in 0..20 {
            write(dir.path().join(format!("{n}.json")), "[]");
            write(dir.path().join(format!("d{n}/x.jsonl")), "[]");
        }
        let listing = listed(Root::CLAUDE_TODOS, dir.path(), 15).expect("listed");
        assert_eq!((listing.files.len(), listing.skipped), (15, 5));
        let listing = listed(Root::CLAUDE_PROJECTS, dir.path(), 15).expect("listed");
        assert_eq!((listing.files.len(), listing.skipped), (14, 6), "and no more directories are entered, the root included");
    }

    #[test]
    fn what_is_unreadable_is_counted_and_an_unreadable_root_is_an_error() {
        if rustix::process::geteuid().is_root() {
            return; // root reads everything
        }
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("todos");
        for name in ["a.json", "b.json", "locked/c.json", "open/d.json"] {
            write(root.join(name), "[]");
        }
        let set = |name: &str, mode| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("set");
        set("b.json", 0o000);
        set("locked", 0o000);
        let listing = listed(codex(), &root, 10);
        set("locked", 0o700);
        let listing = listing.expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json", "open/d.json"], 2));
        set("", 0o000);
        let why = listed(codex(), &root, 10).expect_err("not listed").kind();
        set("", 0o700);
        assert_eq!(why, io::ErrorKind::PermissionDenied);
    }

    /// A thousand files in a hundred directories, three deep.
    #[test]
    fn a_large_folder_is_listed_whole() {
        let dir = tempfile::tempdir().expect("dir");
        for day in 0..100 {
            let path = dir.path().join(format!("{}/{}/{}", day / 25, day / 5 % 5, day % 5));
            fs::create_dir_all(&path).expect("made");
            (0..10).for_each(|n| fs::write(path.join(format!("{n}.jsonl")), "").expect("written"));
        }
        let mut entered = 0;
        let listing = list(codex().folder(), dir.path(), usize::MAX, &mut |_, _| entered += 1).expect("listed");
        assert_eq!((listing.files.len(), listing.skipped, entered), (1_000, 0, 125));
        assert!(listing.files.is_sorted_by(|a, b| a.path < b.path));
    }

    #[test]
    fn a_name_is_found_one_or_two_levels_below_and_the_lowest_path_counts() {
        let dir = tempfile::tempdir().expect("dir");
        for path in ["b/s1.jsonl", "a/s1.jsonl", "a/s2.jsonl", "s3.jsonl", "a/deep/s4.jsonl", "c/s3.jsonl"] {
            write(dir.path().join(path), "{}");
        }
        let outside = tempfile::tempdir().expect("dir");
        write(outside.path().join("s5.jsonl"), "{}");
        symlink(outside.path().join("s5.jsonl"), dir.path().join("a/s5.jsonl")).expect("linked");
        symlink(outside.path(), dir.path().join("d")).expect("linked");
        let asked = ["s3.jsonl", "s1.jsonl", "s4.jsonl", "s5.jsonl", "../a/s2.jsonl", "s1.jsonl"].map(str::to_owned).to_vec();
        let found = find(dir.path(), asked.clone(), 100).expect("found");
        assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), asked, "in the order they were asked for");
        let found: Vec<Option<&str>> = found.iter().map(|(_, path)| path.as_deref()).collect();
        assert_eq!(found, [Some("s3.jsonl"), Some("a/s1.jsonl"), None, None, None, Some("a/s1.jsonl")]);
        assert_eq!(find(dir.path(), vec!["s2.jsonl".to_owned()], 0).expect("none"), [("s2.jsonl".to_owned(), None)]);
        assert_eq!(find(&dir.path().join("gone"), vec!["x".to_owned()], 9).expect("none"), [("x".to_owned(), None)]);
    }
}
