//! Listing without following links out: what is listed lies below its root, is a regular file, and may be read.
//!
//! What is passed over because of its kind (a link that leads out, a pipe, a directory with a file's name, something
//! unreadable, a name that is not UTF-8) is counted; what a tool or a synchroniser put there for itself (dot files,
//! `*.tmp`, Syncthing's conflict copies) is not even counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::model::input::{FileStat, RelPath, Seen};
use crate::model::tool::Root;

/// What a root holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Its files, by path.
    pub(super) files: Vec<Seen>,
    /// How many entries were passed over.
    pub(super) skipped: u64,
}

/// Whether a name is a tool's or a synchroniser's own business: dot files, files being written, conflict copies.
pub(super) fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".tmp") || name.contains(".sync-conflict-")
}

/// Lists at most `max` regular files of a root: `ClaudeTodos` flat, `ClaudeProjects` as `<project>/<file>.jsonl`.
///
/// # Errors
/// When the root itself cannot be listed; `NotFound` when it is not there.
pub(super) fn list(root: Root, base: &Path, max: usize) -> io::Result<Listing> {
    let real = fs::canonicalize(base)?;
    let mut gather = Gather { real: &real, max, listing: Listing::default() };
    match root {
        Root::CLAUDE_TODOS => gather.directory(&real, "", |_| true)?,
        Root::CLAUDE_PROJECTS => gather.projects()?,
    }
    let mut listing = gather.listing;
    listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

/// One listing under way.
struct Gather<'a> {
    /// The root with all links resolved, to see whether another link stays below it.
    real: &'a Path,
    max: usize,
    listing: Listing,
}

impl Gather<'_> {
    fn projects(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(self.real)? {
            let Some((entry, name)) = self.named(entry) else { continue };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let is_transcript = |name: &str| name.ends_with(".jsonl");
                    if self.directory(&entry.path(), &format!("{name}/"), is_transcript).is_err() {
                        self.listing.skipped += 1;
                    }
                }
                Ok(kind) if kind.is_file() => {}
                Ok(_) | Err(_) => self.listing.skipped += 1,
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path, prefix: &str, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let Some((entry, name)) = self.named(entry) else { continue };
            if !wanted(&name) {
                continue;
            }
            match self.regular(&entry) {
                Some(stat) if self.listing.files.len() < self.max => {
                    self.listing.files.push(Seen { path: format!("{prefix}{name}"), stat });
                }
                Some(_) | None => self.listing.skipped += 1,
            }
        }
        Ok(())
    }

    /// The entry and its name, if it is anybody's business.
    fn named(&mut self, entry: io::Result<DirEntry>) -> Option<(DirEntry, String)> {
        let Ok(entry) = entry else {
            self.listing.skipped += 1;
            return None;
        };
        match entry.file_name().into_string() {
            Ok(name) if is_passed_over(&name) => None,
            Ok(name) => Some((entry, name)),
            Err(_) => {
                self.listing.skipped += 1;
                None
            }
        }
    }

    /// What the file is, if it is a regular file that may be read, or a link to one below this root.
    fn regular(&self, entry: &DirEntry) -> Option<FileStat> {
        let path = entry.path();
        let mut meta = entry.metadata().ok()?;
        if meta.is_symlink() {
            meta = fs::metadata(inside(self.real, &path)?).ok()?;
        }
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
            if kind.is_dir() && !is_passed_over(&name) {
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

    #[test]
    fn todos_are_listed_flat_in_order_with_what_they_are() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path().join("b.json"), "[]");
        write(dir.path().join("a.json"), "[{}]");
        write(dir.path().join("below/c.json"), "[]");
        let listing = list(Root::CLAUDE_TODOS, dir.path(), 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json", "b.json"], 1), "the directory is counted");
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
        for own in [".hidden.json", "a.json.tmp", "a.sync-conflict-20261121-080000-ABCDEFG.json"] {
            write(root.join(own), "[]");
        }
        fs::create_dir(root.join("x.json")).expect("made");
        symlink(dir.path().join("secret.json"), root.join("out.json")).expect("linked");
        symlink(root.join("gone"), root.join("nowhere.json")).expect("linked");
        symlink("loop.json", root.join("loop.json")).expect("linked");
        symlink(&root, root.join("itself.json")).expect("linked");
        rustix::fs::mkfifoat(CWD, root.join("pipe.json"), rustix::fs::Mode::RUSR).expect("made");
        let _socket = UnixListener::bind(root.join("socket.json")).expect("bound");
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff.json")), "[]").expect("written");
        let listing = list(Root::CLAUDE_TODOS, &root, 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json"], 8));
    }

    #[test]
    fn a_link_to_a_file_of_the_same_root_is_listed_as_that_file() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path().join("a.json"), "[]");
        symlink("a.json", dir.path().join("link.json")).expect("linked");
        let listing = list(Root::CLAUDE_TODOS, dir.path(), 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json", "link.json"], 0));
        assert_eq!(listing.files[0].stat, listing.files[1].stat);
    }

    #[test]
    fn transcripts_are_listed_two_levels_deep() {
        let dir = tempfile::tempdir().expect("dir");
        for path in ["-home-x/b.jsonl", "-home-x/a.jsonl", "-home-y/c.jsonl", "-home-x/notes.md", "-home-x/deep/d.jsonl", "e.jsonl"] {
            write(dir.path().join(path), "{}");
        }
        let elsewhere = tempfile::tempdir().expect("dir");
        write(elsewhere.path().join("f.jsonl"), "{}");
        symlink(elsewhere.path(), dir.path().join("-linked")).expect("linked");
        let listing = list(Root::CLAUDE_PROJECTS, dir.path(), 10).expect("listed");
        assert_eq!(paths(&listing), ["-home-x/a.jsonl", "-home-x/b.jsonl", "-home-y/c.jsonl"]);
        assert_eq!(listing.skipped, 1, "the linked directory");
    }

    #[test]
    fn no_more_than_the_maximum_is_listed_and_the_rest_is_counted() {
        let dir = tempfile::tempdir().expect("dir");
        for n in 0..20 {
            write(dir.path().join(format!("{n}.json")), "[]");
        }
        let listing = list(Root::CLAUDE_TODOS, dir.path(), 15).expect("listed");
        assert_eq!((listing.files.len(), listing.skipped), (15, 5));
    }

    #[test]
    fn an_unreadable_file_is_counted_and_an_unreadable_root_is_an_error() {
        if rustix::process::geteuid().is_root() {
            return; // root reads everything
        }
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("todos");
        write(root.join("a.json"), "[]");
        write(root.join("b.json"), "[]");
        fs::set_permissions(root.join("b.json"), fs::Permissions::from_mode(0o000)).expect("set");
        let listing = list(Root::CLAUDE_TODOS, &root, 10).expect("listed");
        assert_eq!((paths(&listing), listing.skipped), (vec!["a.json"], 1));
        fs::set_permissions(&root, fs::Permissions::from_mode(0o000)).expect("set");
        let why = list(Root::CLAUDE_TODOS, &root, 10).expect_err("not listed").kind();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).expect("set");
        assert_eq!(why, io::ErrorKind::PermissionDenied);
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
