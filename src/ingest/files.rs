//! What a file of a tool is, by its folder and its name alone. A tool is one file of this room, one line here for each kind
//! of file, and its lines in `model::tool`.

use std::collections::BTreeMap;

use super::run::{Run, Said};
use super::{claude, claude_process, claude_tasks, claude_todos, codex, gemini, openclaw, opencode, opencode_rows, pi};
use crate::model::rows::{Row, Table};
use crate::model::tool::Root;

/// Takes one whole line of a session's file into the sum; what is no sum is said.
pub type Line = fn(&mut Run, &[u8], &mut Vec<Said>);
/// Reads a session's file that is rewritten as a whole each time.
pub type Whole = fn(&[u8]) -> Result<(Run, Vec<Said>), claude_todos::Malformed>;

/// Reads the sessions in a database's tables.
pub type Rows = fn(&[Vec<Row>]) -> Vec<(Owner, Run, Vec<Said>)>;

/// Reads what sessions are called, each by the tool's own id of it; the newest name counts.
pub type Names = fn(&[u8]) -> BTreeMap<String, String>;

/// One kind of file.
#[derive(Debug, Clone)]
pub enum File {
    /// A session's own file, one record a line.
    Lines(Owner, Line),
    /// A session's own file, rewritten as a whole each time.
    Whole(Owner, Whole),
    /// A database of sessions, of which these tables are wanted.
    Tables(&'static [Table], Rows),
    /// A file that names sessions.
    Names(Names),
    /// A todo list of Claude Code.
    Todos(claude_todos::Name),
    /// One task of a list; read by `claude_tasks::parse`.
    Task {
        /// The list: a session's id, or a name.
        list: String,
    },
    /// The highest task of a list that was cleared because all of it was done; read by `claude_tasks::high_mark`.
    HighMark {
        /// The list.
        list: String,
    },
    /// A process of Claude Code that lives; read by `claude_process::parse`.
    Process {
        /// Its number.
        pid: u32,
    },
}

/// Whose session a file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The tool's own id of the session, out of the file's name, so that it is the same wherever the file is moved.
    pub session: String,
    /// The tool's id of the session it works for.
    pub parent: Option<String>,
    /// Whether it is a sub-agent's.
    pub is_side: bool,
    /// How the tool calls who works in it, when the file's place says so.
    pub agent: Option<String>,
}

/// What the file at `path` below that root is; `None`: nobody's business.
#[must_use]
pub fn what(root: Root, path: &str) -> Option<File> {
    match root.folder().word {
        "claude-sessions" => claude_process::file(path),
        "claude-todos" => claude_todos::name(path).map(File::Todos),
        "claude-tasks" => claude_tasks::file(path),
        "claude-projects" => claude::file(path),
        "codex-sessions" | "codex-archived" => codex::file(path),
        "codex-names" => codex::names_file(path),
        // Version 0.30.0 wrote beside the folder, not into it.
        "pi-sessions" | "pi-agent" => pi::file(path),
        "openclaw-agents" => openclaw::file(path),
        "gemini-chats" => gemini::file(path),
        "opencode-storage" => opencode::file(path),
        "opencode-database" => opencode_rows::file(path),
        _ => None,
    }
}

/// The file that something has happened to when something happened to the one at `path`: a database is written in its log
/// first.
#[must_use]
pub fn meant(path: &str) -> &str {
    path.strip_suffix("-wal").unwrap_or(path)
}

/// The name that a file has when it is not packed: the two are one, and where both are there the plain one counts.
#[must_use]
pub fn plain(path: &str) -> &str {
    path.strip_suffix(".zst").unwrap_or(path)
}
