//! Which processes live, and which files one of them writes: whether the program behind a session is still there. It only
//! reads; no process is ever sent anything.
//!
//! On Linux `/proc` says both. On macOS a process is asked for by number alone, so that one that was given an old number
//! counts as the old one; and what files it holds open is not seen there (`held` is empty), as only libproc knows, which
//! hubless does not bind.
//!
//! A file counts as held when it is open for writing. Whoever only reads it, a pager or another indexer, is no sign that the
//! agent lives.

use crate::model::input::{FileStat, RelPath};
use crate::model::tool::Root;

/// A file that is looked for among those that processes hold open.
#[derive(Debug)]
pub(super) struct Sought {
    /// Below which root.
    pub(super) root: Root,
    /// Which file.
    pub(super) path: RelPath,
    /// What it is now.
    pub(super) stat: FileStat,
}

/// Those of the processes that live, in the order in which they were asked for. One that has ended and was not yet waited
/// for does not; neither does one that began at another moment than was said.
pub(super) fn alive(pids: &[(u32, Option<String>)]) -> Vec<u32> {
    pids.iter().filter(|(pid, began)| system::is_alive(*pid, began.as_deref())).map(|(pid, _)| *pid).collect()
}

/// Those of the files that a process of this person has open for writing, each with the first such process.
pub(super) fn held(files: &[Sought]) -> Vec<(Root, RelPath, u32)> {
    system::held(files)
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::{BTreeMap, BTreeSet};
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::Sought;
    use crate::model::input::RelPath;
    use crate::model::tool::Root;

    /// Processes that are looked at, and open files of all of them together; a desktop has hundreds and ten thousands.
    const PROCESSES_MAX: usize = 8_192;
    const OPEN_FILES_MAX: usize = 262_144;

    /// Which field of `/proc/PID/stat` says when it began, counted from the state, which follows the name (proc_pid_stat(5):
    /// the state is field 3, the start field 22).
    const BEGAN: usize = 22 - 3;

    pub(super) fn is_alive(pid: u32, began: Option<&str>) -> bool {
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        state_and_began(&String::from_utf8_lossy(&stat))
            .is_some_and(|(state, start)| !matches!(state, "Z" | "X" | "x") && began.is_none_or(|began| began.trim() == start))
    }

    /// The name stands in brackets and may hold any letter, brackets and blanks too; so the last bracket ends it.
    pub(super) fn state_and_began(stat: &str) -> Option<(&str, &str)> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next()?;
        Some((state, fields.nth(BEGAN - 1)?))
    }

    pub(super) fn held(files: &[Sought]) -> Vec<(Root, RelPath, u32)> {
        let mut sought: BTreeMap<&OsStr, Vec<usize>> = BTreeMap::new();
        for (n, file) in files.iter().enumerate() {
            sought.entry(Path::new(&file.path).file_name().unwrap_or_default()).or_default().push(n);
        }
        let mut found: BTreeMap<usize, u32> = BTreeMap::new();
        let mut left = OPEN_FILES_MAX;
        for pid in own_processes() {
            if found.len() == files.len() || left == 0 {
                break;
            }
            for open in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().take(left) {
                left -= 1;
                for n in written(&open.path(), &sought, files) {
                    found.entry(n).or_insert(pid);
                }
            }
        }
        found.into_iter().map(|(n, pid)| (files[n].root, files[n].path.clone(), pid)).collect()
    }

    /// Which of the files an entry of `/proc/PID/fd` writes to. By name first, since asking a file of another kind what it is
    /// may wait for a server that is gone.
    fn written(open: &Path, sought: &BTreeMap<&OsStr, Vec<usize>>, files: &[Sought]) -> Vec<usize> {
        let Ok(target) = fs::read_link(open) else { return Vec::new() };
        let Some(named) = target.file_name().and_then(|name| sought.get(name)) else { return Vec::new() };
        // The link's own mode is the mode of the opening.
        let is_written = fs::symlink_metadata(open).is_ok_and(|link| link.mode() & 0o200 != 0);
        let Ok(meta) = fs::metadata(open) else { return Vec::new() };
        let is_it = |n: &usize| is_written && (files[*n].stat.dev, files[*n].stat.ino) == (meta.dev(), meta.ino());
        named.iter().copied().filter(is_it).collect()
    }

    fn own_processes() -> BTreeSet<u32> {
        let me = rustix::process::geteuid().as_raw();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbered = entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry)));
        numbered.filter(|(_, entry)| entry.metadata().is_ok_and(|meta| meta.uid() == me)).map(|(pid, _)| pid).take(PROCESSES_MAX).collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    use super::Sought;
    use crate::model::input::RelPath;
    use crate::model::tool::Root;

    /// Signal 0 is sent to nobody; it only says whether the process is there.
    pub(super) fn is_alive(pid: u32, _began: Option<&str>) -> bool {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
    }

    pub(super) fn held(_files: &[Sought]) -> Vec<(Root, RelPath, u32)> {
        Vec::new()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::process::{Child, Command, Stdio};

    /// A process that waits until its input ends.
    fn child() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started")
    }

    /// A child that another test starts has all our files open for a moment, until it becomes its program.
    fn eventually(mut is_so: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if is_so() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("it never came to be so");
    }

    fn stat_of(pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/stat")).expect("there")
    }

    #[test]
    fn a_process_lives_until_it_ends_even_if_nobody_waits_for_it() {
        let mut child = child();
        let pid = child.id();
        assert_eq!(alive(&[(pid, None), (std::process::id(), None)]), [pid, std::process::id()]);
        child.kill().expect("killed");
        // What ends a process may take a moment to end it; from then on nobody has waited for it yet.
        eventually(|| system::state_and_began(&stat_of(pid)).is_some_and(|(state, _)| state == "Z"));
        assert!(alive(&[(pid, None)]).is_empty(), "a zombie does not live");
        child.wait().expect("waited for");
        assert!(alive(&[(pid, None), (u32::MAX, None), (0, None)]).is_empty());
    }

    #[test]
    fn a_number_given_anew_is_another_process() {
        let mut child = child();
        let pid = child.id();
        let (_, began) =
            system::state_and_began(&stat_of(pid)).map(|(state, began)| (state.to_owned(), began.to_owned())).expect("a start");
        let asked = |began: &str| alive(&[(pid, Some(began.to_owned()))]);
        assert_eq!((asked(&began), asked(&format!(" {began}\n"))), (vec![pid], vec![pid]));
        assert_eq!((asked("1"), asked(""), asked("Sat Nov 21 08:00:00 2026")), (vec![], vec![], vec![]));
        child.kill().and_then(|()| child.wait()).expect("ended");
    }

    #[test]
    fn a_hostile_name_of_a_process_hides_neither_state_nor_start() {
        let fields: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) S 1 ) Z (b) R {}\n", fields.join(" "));
        assert_eq!(system::state_and_began(&stat), Some(("R", "22")));
        assert_eq!((system::state_and_began("7 (a) R 1"), system::state_and_began("")), (None, None));
    }

    #[test]
    fn a_file_is_held_while_somebody_has_it_open_for_writing() {
        let dir = tempfile::tempdir().expect("dir");
        let open = |name: &str| File::options().create(true).append(true).open(dir.path().join(name)).expect("opened");
        let stat = |name: &str| super::super::look::stat_of(&fs::metadata(dir.path().join(name)).expect("there"));
        let sought = |name: &str| Sought { root: Root::CLAUDE_PROJECTS, path: format!("-x/{name}"), stat: stat(name) };
        let written = open("held.jsonl");
        drop(open("closed.jsonl"));
        drop(open("read.jsonl"));
        let _read = File::open(dir.path().join("read.jsonl")).expect("opened");
        // Another file of the same name.
        fs::create_dir(dir.path().join("other")).expect("made");
        let _namesake = open("other/closed.jsonl");
        let all = || [sought("held.jsonl"), sought("closed.jsonl"), sought("read.jsonl")];
        eventually(|| held(&all()) == [(Root::CLAUDE_PROJECTS, "-x/held.jsonl".to_owned(), std::process::id())]);
        drop(written);
        eventually(|| held(&all()).is_empty());
        assert_eq!(held(&[]), []);
    }
}
