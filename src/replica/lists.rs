//! What the small files of lists say, and whose they are: by their names and bytes alone.

use crate::ingest::files::File;
use crate::ingest::{claude_tasks, claude_todos};
use crate::model::todo::{Change, Reading as ListReading};

/// The agent id under which the tasks of a session are listed, apart from its todo lists.
pub(super) const TASKS: &str = "tasks";

/// One small file, read whole.
pub struct Told {
    /// Whose list it is.
    pub of: Of,
    /// What it says.
    pub what: What,
    /// The file's time.
    pub at: i64,
}

/// Whose list a small file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// A session's, with the agent id that its file names.
    Session(String, String),
    /// A list of tasks with a name of its own.
    Named(String),
}

/// What a small file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Nothing that could be read, but that its session exists.
    Nothing,
    /// A whole list.
    List(ListReading),
    /// One task.
    Task(Change),
    /// All tasks up to this one are done, and the list was cleared.
    Finished(u64),
}

/// A file's name without its ending.
pub(super) fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// What a list's file says, and how much of it could not be read.
pub(super) fn read_list(file: &File, path: &str, bytes: &[u8]) -> (What, u64) {
    match file {
        File::Todos(_) => claude_todos::parse(bytes).map_or((What::Nothing, 1), |list| {
            let malformed = list.malformed;
            (What::List(list), malformed)
        }),
        File::Task { .. } => match claude_tasks::parse(bytes, Some(stem(path))) {
            // A row of the tool's own business says nothing, and is marked as read.
            Ok(task) => (task.map_or(What::List(ListReading::default()), What::Task), 0),
            Err(_) => (What::Nothing, 1),
        },
        File::HighMark { .. } => claude_tasks::high_mark(bytes).map_or((What::Nothing, 1), |upto| (What::Finished(upto), 0)),
        File::Lines(..) | File::Whole(..) | File::Tables(..) | File::Names(..) | File::Process { .. } => (What::Nothing, 0),
    }
}

/// Whose list a small file is.
pub(super) fn of(file: &File) -> Option<Of> {
    let listed = |list: &String| if is_session(list) { Of::Session(list.clone(), TASKS.to_owned()) } else { Of::Named(list.clone()) };
    match file {
        File::Todos(name) => Some(Of::Session(name.session.clone(), name.agent.clone())),
        File::Task { list } | File::HighMark { list } => Some(listed(list)),
        File::Lines(..) | File::Whole(..) | File::Tables(..) | File::Names(..) | File::Process { .. } => None,
    }
}

/// Whether a list of tasks is named by a session: its name is a UUID (FORMATS §1.3).
fn is_session(list: &str) -> bool {
    list.len() == 36 && list.bytes().enumerate().all(|(n, b)| if matches!(n, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}
