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

use crate::model::input::{FileStat, RelPath, Root, Seen};

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
        Root::ClaudeTodos => gather.directory(&real, "", |_| true)?,
        Root::ClaudeProjects => gather.projects()?,
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
