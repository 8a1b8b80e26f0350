//! A set of todo files as Claude Code leaves them: one list for each session, its transcript's beginning beside it, and a
//! few repositories that the sessions work in. The same numbers give the same files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const STATUSES: [&str; 3] = ["pending", "in_progress", "completed"];

/// How large a set is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Todo files; each is a session with a transcript.
    pub(crate) files: usize,
    /// Items of all lists together.
    pub(crate) items: usize,
    /// Different (project, text) among them.
    pub(crate) groups: usize,
    /// Repositories; a session works in one.
    pub(crate) projects: usize,
}

/// The set that the replaced script was measured with (DESIGN §11), over twelve repositories.
pub(crate) const SET: Size = Size { files: 264, items: 1_000, groups: 524, projects: 12 };
/// A large set, with as many items and groups a file.
pub(crate) const LARGE: Size = Size { files: 10_000, items: 37_879, groups: 19_848, projects: 100 };

/// One list of very many items.
pub(crate) const LIST: Size = Size { files: 1, items: 10_000, groups: 10_000, projects: 1 };

/// A set on disk.
pub(crate) struct TodoSet {
    /// The Claude root: `todos/` and `projects/` are in it.
    pub(crate) root: PathBuf,
    /// The names of the todo files.
    pub(crate) names: Vec<String>,
}

impl TodoSet {
    /// Writes a set below `base`.
    pub(crate) fn write(base: &Path, size: Size) -> TodoSet {
        let root = base.join("claude");
        fs::create_dir_all(root.join("todos")).expect("a directory of ours");
        for project in 0..size.projects {
            let (slug, git) = (root.join("projects").join(slug(project)), work(base, project).join(".git"));
            fs::create_dir_all(slug).expect("a directory of ours");
            fs::create_dir_all(&git).expect("a directory of ours");
            fs::write(git.join("HEAD"), "ref: refs/heads/main\n").expect("a file of ours");
            let config = format!("[remote \"origin\"]\n\turl = git@github.com:acme/{}.git\n", slug_of(project));
            fs::write(git.join("config"), config).expect("a file of ours");
        }
        let names = lists(size).into_iter().enumerate().map(|(n, list)| write_one(base, &root, n, n % size.projects, &list)).collect();
        TodoSet { root, names }
    }

    /// Where a todo file is.
    pub(crate) fn path(&self, n: usize) -> PathBuf {
        self.root.join("todos").join(&self.names[n])
    }
}

/// Puts a list in the place of a file, as Claude Code does: written beside, then renamed.
pub(crate) fn replace(path: &Path, list: &[Value]) {
    let beside = path.with_extension("json.tmp");
    fs::write(&beside, serde_json::to_vec(list).expect("plain JSON")).expect("a file of ours");
    fs::rename(beside, path).expect("a file of ours");
}

/// One element of a list.
pub(crate) fn item(content: &str, status: &str) -> Value {
    json!({"content": content, "status": status, "activeForm": format!("Working on: {content}")})
}

fn slug_of(project: usize) -> String {
    format!("project-{project}")
}

fn slug(project: usize) -> String {
    format!("-home-sam-{}", slug_of(project))
}

fn work(base: &Path, project: usize) -> PathBuf {
    base.join("work").join(slug_of(project))
}

/// The items of each list. In each project the first items name its groups, the others name them again.
fn lists(size: Size) -> Vec<Vec<Value>> {
    let share = |whole: usize, parts: usize, n: usize| whole * (n + 1) / parts - whole * n / parts;
    let mut of_project: BTreeMap<usize, usize> = BTreeMap::new();
    let list = |n: usize| {
        let project = n % size.projects;
        let groups = share(size.groups, size.projects, project);
        let written = of_project.entry(project).or_default();
        let items = share(size.items, size.files, n);
        let text = |k: usize| format!("Step {} of the work on {}: make it so, and test it", k % groups, slug_of(project));
        let list = (*written..*written + items).map(|k| item(&text(k), STATUSES[(k % groups) % 3])).collect();
        *written += items;
        list
    };
    (0..size.files).map(list).collect()
}

fn write_one(base: &Path, root: &Path, n: usize, project: usize, list: &[Value]) -> String {
    let session = format!("{n:08x}-0000-4000-8000-{n:012x}");
    let name = format!("{session}-agent-{session}.json");
    fs::write(root.join("todos").join(&name), serde_json::to_vec(list).expect("plain JSON")).expect("a file of ours");
    let line = json!({
        "type": "user", "sessionId": session, "cwd": work(base, project), "gitBranch": "main", "timestamp": "2026-11-01T10:00:00.000Z",
        "message": {"role": "user", "content": "Do the next steps"},
    });
    let answer =
        json!({"type": "assistant", "sessionId": session, "message": {"content": [{"type": "text", "text": "word ".repeat(100)}]}});
    let transcript = format!("{line}\n{answer}\n");
    fs::write(root.join("projects").join(slug(project)).join(format!("{session}.jsonl")), transcript).expect("a file of ours");
    name
}
