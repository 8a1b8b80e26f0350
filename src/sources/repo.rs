//! The git repository above a working directory, read from its files; git is never run, so that a hostile repository's
//! settings can start nothing.
//!
//! The working directory comes from a tool's file and may be anything: only `.git`, `commondir`, `HEAD` and `config` are
//! ever opened, regular files only, at most [`GIT_FILE_BYTES_MAX`] bytes of each.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::model::input::Repo;

/// Bytes of one of git's files that are read.
const GIT_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Directories that are looked into, from the working directory up.
const LEVELS_MAX: usize = 128;

/// The first repository at or above `cwd`, if `cwd` is an absolute path without `..`.
pub(super) fn above(cwd: &str) -> Option<Repo> {
    let cwd = Path::new(cwd);
    if !cwd.is_absolute() || cwd.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    cwd.ancestors().take(LEVELS_MAX).find_map(|top| {
        let git = git_directory(top)?;
        let head = small(&git.join("HEAD"))?;
        let common = common_directory(&git);
        let remote = small(&common.join("config")).and_then(|config| remote(&config));
        Some(Repo { remote, root: top.to_str()?.to_owned(), branch: branch(&head) })
    })
}

/// `.git` itself, or where a file `.git` says that it is (a worktree or a submodule).
fn git_directory(top: &Path) -> Option<PathBuf> {
    let git = top.join(".git");
    if fs::metadata(&git).ok()?.is_dir() {
        return Some(git);
    }
    let said = small(&git)?;
    let said = said.strip_prefix("gitdir:")?.trim();
    (!said.is_empty()).then(|| top.join(said))
}

/// A worktree keeps its head for itself and shares everything else.
fn common_directory(git: &Path) -> PathBuf {
    match small(&git.join("commondir")) {
        Some(common) if !common.trim().is_empty() => git.join(common.trim()),
        Some(_) | None => git.to_owned(),
    }
}

/// The branch that a head names. A detached one names none, and reftable's stand-in is no branch.
fn branch(head: &str) -> Option<String> {
    let name = head.lines().next()?.strip_prefix("ref:")?.trim().strip_prefix("refs/heads/")?;
    (!name.is_empty() && name != ".invalid").then(|| name.to_owned())
}

/// The url of `origin`, else of the first remote that has one. Not followed: `include`, `insteadOf`.
fn remote(config: &str) -> Option<String> {
    let mut first = None;
    let mut section = None;
    for line in joined(config) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix('[') {
            section = remote_name(rest);
        } else if let (Some(name), Some(url)) = (&section, value_of("url", line)) {
            if name == "origin" {
                return Some(url);
            }
            first = first.or(Some(url));
        }
    }
    first
}

/// Lines, those that end with a backslash joined with the next.
fn joined(config: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in config.lines() {
        let (text, more) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match lines.last_mut() {
            Some(last) if goes_on => last.push_str(text),
            Some(_) | None => lines.push(text.to_owned()),
        }
        goes_on = more;
    }
    lines
}

/// `remote "NAME"]` → NAME.
fn remote_name(rest: &str) -> Option<String> {
    let header = rest.split_once(']').map_or(rest, |(header, _)| header);
    let (kind, name) = header.split_once('"')?;
    kind.trim().eq_ignore_ascii_case("remote").then(|| name.trim_end().trim_end_matches('"').to_owned())
}

/// `KEY = VALUE`, in git's spelling: the key in any case, the value perhaps in quotes, a comment after it.
fn value_of(key: &str, line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case(key) {
        return None;
    }
    let mut out = String::new();
    let mut letters = value.trim().chars();
    let mut quoted = false;
    while let Some(c) = letters.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => out.extend(letters.next()),
            '#' | ';' if !quoted => break,
            other => out.push(other),
        }
    }
    let out = out.trim_end();
    (!out.is_empty()).then(|| out.to_owned())
}

/// A regular file's beginning as text; nothing else is waited for or read.
fn small(path: &Path) -> Option<String> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).ok()?;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(GIT_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
