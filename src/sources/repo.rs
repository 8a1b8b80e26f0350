//! The git repository above a working directory, read from its files; git is never run, so that a hostile repository's
//! settings can start nothing.
//!
//! The working directory comes from a tool's file and may be anything: only `.git`, `commondir`, `HEAD` and `config` are
//! ever opened, regular files only, at most [`GIT_FILE_BYTES_MAX`] bytes of each.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::model::input::Repo;

/// Bytes of one of git's files that are read.
const GIT_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Directories that are looked into, from the working directory up.
const LEVELS_MAX: usize = 128;

/// What is above a working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Above {
    /// The first repository, if there is one.
    pub(super) repo: Option<Repo>,
    /// Whether it is surely that: the directory is there, and so is all that git says of it.
    pub(super) sure: bool,
}

/// The first repository at or above `cwd`, if `cwd` is an absolute path without `..`.
pub(super) fn above(cwd: &str) -> Above {
    let cwd = Path::new(cwd);
    if !cwd.is_absolute() || cwd.components().any(|part| part == Component::ParentDir) {
        return Above { repo: None, sure: false };
    }
    let mut sure = fs::metadata(cwd).is_ok_and(|there| there.is_dir());
    let repo = cwd.ancestors().take(LEVELS_MAX).find_map(|top| at(top, &mut sure));
    Above { repo, sure }
}

/// The repository whose top this is. `sure` falls where one may be that cannot be read.
fn at(top: &Path, sure: &mut bool) -> Option<Repo> {
    let git = git_directory(top, sure)?;
    let head = match small(&git.join("HEAD")) {
        Text::Absent => return None,
        Text::Unreadable => {
            *sure = false;
            return None;
        }
        Text::Whole(head) | Text::Beginning(head) => head,
    };
    let remote = match small(&common_directory(&git).join("config")) {
        Text::Absent => None,
        Text::Unreadable => {
            *sure = false;
            None
        }
        Text::Whole(config) => remote(&config).map(|(_, url)| url),
        Text::Beginning(config) => {
            let found = remote(&config);
            *sure &= found.as_ref().is_some_and(|(is_origin, _)| *is_origin);
            found.map(|(_, url)| url)
        }
    };
    Some(Repo { remote, root: top.to_str()?.to_owned(), branch: branch(&head) })
}

/// `.git` itself, or where a file `.git` says that it is (a worktree or a submodule).
fn git_directory(top: &Path, sure: &mut bool) -> Option<PathBuf> {
    let git = top.join(".git");
    match fs::metadata(&git) {
        Ok(there) if there.is_dir() => return Some(git),
        Err(why) if is_absent(&why) => return None,
        Ok(_) | Err(_) => {}
    }
    let said = if let Text::Whole(said) = small(&git) { said } else { String::new() };
    let directory = said.strip_prefix("gitdir:").map(str::trim).filter(|said| !said.is_empty()).map(|said| top.join(said));
    // It is a checkout of what is not there, or cannot be read.
    *sure &= directory.as_ref().is_some_and(|directory| directory.join("HEAD").is_file());
    directory
}

/// A worktree keeps its head for itself and shares everything else.
fn common_directory(git: &Path) -> PathBuf {
    match small(&git.join("commondir")) {
        Text::Whole(common) if !common.trim().is_empty() => git.join(common.trim()),
        Text::Whole(_) | Text::Beginning(_) | Text::Absent | Text::Unreadable => git.to_owned(),
    }
}

/// The branch that a head names. A detached one names none, and reftable's stand-in is no branch.
fn branch(head: &str) -> Option<String> {
    let name = head.lines().next()?.strip_prefix("ref:")?.trim().strip_prefix("refs/heads/")?;
    (!name.is_empty() && name != ".invalid").then(|| name.to_owned())
}

/// The url of `origin`, else of the first remote that has one, and whether it is origin's. Not followed: `include`, `insteadOf`.
fn remote(config: &str) -> Option<(bool, String)> {
    let mut first = None;
    let mut section = None;
    for line in joined(config) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix('[') {
            section = remote_name(rest);
        } else if let (Some(name), Some(url)) = (&section, value_of("url", line)) {
            if name == "origin" {
                return Some((true, url));
            }
            first = first.or(Some((false, url)));
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

/// What one of git's files says.
enum Text {
    /// There is none.
    Absent,
    /// It may not be read, or is no regular file.
    Unreadable,
    /// All of it.
    Whole(String),
    /// Its first whole lines: it is longer than is read.
    Beginning(String),
}

fn is_absent(why: &std::io::Error) -> bool {
    matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A regular file's beginning as text; nothing else is waited for or read.
fn small(path: &Path) -> Text {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(why) => return if is_absent(&why) { Text::Absent } else { Text::Unreadable },
    };
    let mut bytes = Vec::new();
    let is_file = file.metadata().is_ok_and(|there| there.is_file());
    if !is_file || file.take(GIT_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).is_err() {
        return Text::Unreadable;
    }
    let max = usize::try_from(GIT_FILE_BYTES_MAX).unwrap_or(usize::MAX);
    if bytes.len() <= max {
        return Text::Whole(String::from_utf8_lossy(&bytes).into_owned());
    }
    bytes.truncate(bytes[..max].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
    Text::Beginning(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const CONFIG: &str = "[core]\n\tbare = false\n[remote \"upstream\"]\n\turl = https://example.org/up.git\n\
        [remote \"origin\"]\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\turl = git@example.org:me/it.git ; mine\n[branch \"main\"]\n\turl = no\n";

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// A repository in `DIR/it` and the answer for a directory in it.
    fn asked(head: &str, config: Option<&str>) -> Option<Repo> {
        let dir = tempfile::tempdir().expect("dir");
        let top = dir.path().join("it");
        write(top.join(".git/HEAD"), head);
        if let Some(config) = config {
            write(top.join(".git/config"), config);
        }
        fs::create_dir_all(top.join("src/deep")).expect("made");
        let Above { repo, sure } = above(top.join("src/deep").to_str().expect("utf-8"));
        assert!(sure);
        assert!(repo.as_ref().is_none_or(|repo| Path::new(&repo.root) == top));
        repo
    }

    #[test]
    fn a_repository_is_found_from_below_with_origin_and_branch() {
        let repo = asked("ref: refs/heads/feature/x\n", Some(CONFIG)).expect("found");
        assert_eq!(repo.remote.as_deref(), Some("git@example.org:me/it.git"));
        assert_eq!(repo.branch.as_deref(), Some("feature/x"));
    }

    #[test]
    fn without_origin_the_first_remote_counts_and_without_any_there_is_none() {
        let other = CONFIG.replace("origin", "another");
        assert_eq!(asked("ref: refs/heads/m\n", Some(&other)).expect("found").remote.as_deref(), Some("https://example.org/up.git"));
        assert_eq!(asked("ref: refs/heads/m\n", Some("[core]\n")).expect("found").remote, None);
        assert_eq!(asked("ref: refs/heads/m\n", None).expect("found").remote, None);
    }

    #[test]
    fn a_detached_head_names_no_branch() {
        for head in ["3f786850e387550fdab836ed7e6dc881de23001b\n", "ref: refs/heads/.invalid\n", "ref: refs/remotes/x\n", ""] {
            assert_eq!(asked(head, None).expect("found").branch, None, "{head:?}");
        }
    }

    #[test]
    fn a_worktree_has_its_own_head_and_the_others_remotes() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path().join("it/.git/HEAD"), "ref: refs/heads/main\n");
        write(dir.path().join("it/.git/config"), CONFIG);
        write(dir.path().join("it/.git/worktrees/wt/HEAD"), "ref: refs/heads/wt\n");
        write(dir.path().join("it/.git/worktrees/wt/commondir"), "../..\n");
        write(dir.path().join("wt/.git"), &format!("gitdir: {}\n", dir.path().join("it/.git/worktrees/wt").display()));
        let Above { repo, sure } = above(dir.path().join("wt").to_str().expect("utf-8"));
        let repo = repo.filter(|_| sure).expect("found");
        assert_eq!((repo.remote.as_deref(), repo.branch.as_deref()), (Some("git@example.org:me/it.git"), Some("wt")));
        assert_eq!(Path::new(&repo.root), dir.path().join("wt"));
    }

    #[test]
    fn a_submodule_says_where_it_is_in_relative_words() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path().join(".git/modules/sub/HEAD"), "ref: refs/heads/sub\n");
        write(dir.path().join(".git/modules/sub/config"), "[remote \"origin\"]\nurl=ssh://example.org/sub\n");
        write(dir.path().join("sub/.git"), "gitdir: ../.git/modules/sub\n");
        let Above { repo, sure } = above(dir.path().join("sub/gone").to_str().expect("utf-8"));
        assert!(!sure, "the directory is gone");
        let repo = repo.expect("found");
        assert_eq!((repo.remote.as_deref(), repo.branch.as_deref()), (Some("ssh://example.org/sub"), Some("sub")));
    }

    #[test]
    fn gits_spelling_is_understood() {
        let cases = [
            ("[remote \"origin\"]\nURL = \"https://x/a b#c\" # said twice\n", Some("https://x/a b#c")),
            ("[ReMoTe \"origin\"]\nurl = https://x/\\\nlong\n", Some("https://x/long")),
            ("[remote \"origin\"] ; ours\n  url\t=\tfile:///x\\\\y\n", Some("file:///x\\y")),
            ("[remote \"origin\"]\nurl =\n[remote \"b\"]\nurl = second\n", Some("second")),
            ("[remote]\nurl = nameless\n[remotes \"origin\"]\nurl = other\n", None),
            ("url = outside\n[remote \"origin\"]\npushurl = push\n; url = comment\n", None),
        ];
        for (config, url) in cases {
            assert_eq!(remote(config).map(|(_, url)| url).as_deref(), url, "{config:?}");
        }
    }

    #[test]
    fn a_hostile_directory_gives_nothing_and_is_never_waited_for() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
        // A pipe instead of a head, a loop of links, an endless device, more than we read.
        fs::create_dir_all(dir.path().join("pipe/.git")).expect("made");
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("pipe/.git/HEAD"), rustix::fs::Mode::RUSR).expect("made");
        fs::create_dir_all(dir.path().join("loop")).expect("made");
        symlink(".git", dir.path().join("loop/.git")).expect("linked");
        write(dir.path().join("zero/.git/x"), "");
        symlink("/dev/zero", dir.path().join("zero/.git/HEAD")).expect("linked");
        write(dir.path().join("self/.git"), "gitdir: .git\n");
        for name in ["pipe", "loop", "zero", "self", "gone"] {
            // The temporary directory may itself lie in a repository.
            assert!(above(&path(name)).repo.is_none_or(|repo| !Path::new(&repo.root).starts_with(dir.path())), "{name}");
        }
        write(dir.path().join("long/.git/HEAD"), "ref: refs/heads/m\n");
        let long = format!("{}\n[remote \"origin\"]\nurl = too-far\n", "#".repeat(64 * 1024));
        write(dir.path().join("long/.git/config"), &long);
        let Above { repo, sure } = above(&path("long"));
        assert!(repo.expect("found").remote.is_none() && !sure, "only the beginning is read");
        for cwd in ["", "relative", "~", "/a/../b", "\0"] {
            assert!(above(cwd).repo.is_none_or(|repo| repo.root == "/"), "{cwd:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_taken_for_no_repository() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
        let sure = |name: &str| above(&path(name)).sure;
        fs::create_dir_all(dir.path().join("plain")).expect("made");
        assert!(sure("plain"), "a folder is a folder");
        assert!(!sure("gone") && !above("relative").sure);
        write(dir.path().join("orphan/.git"), "gitdir: ../moved/.git/worktrees/orphan\n");
        write(dir.path().join("broken/.git"), "what is this\n");
        assert!(!sure("orphan") && !sure("broken"), "a checkout of what is not there");
        fs::create_dir_all(dir.path().join("empty/.git")).expect("made");
        assert!(sure("empty"), "git does not take it for one either");
        let config = |name: &str, text: &str| {
            write(dir.path().join(name).join(".git/HEAD"), "ref: refs/heads/m\n");
            write(dir.path().join(name).join(".git/config"), text);
        };
        let filler = "#".repeat(64 * 1024) + "\n";
        config("early", &format!("[remote \"origin\"]\nurl = https://x/y\n{filler}"));
        config("late", &format!("[remote \"fork\"]\nurl = https://x/fork\n{filler}[remote \"origin\"]\nurl = https://x/y\n"));
        assert!(sure("early") && !sure("late"));
        fs::create_dir_all(dir.path().join("odd/.git/config")).expect("made");
        write(dir.path().join("odd/.git/HEAD"), "ref: refs/heads/m\n");
        assert!(!sure("odd"), "no regular file");
    }
}
