//! All that a replica can ask of the world, in the order in which it must happen: known, kept, shown, told.

use super::batch::Batch;
use super::id::{Asker, DocId};
use super::input::{LinkAction, RelPath};
use super::reply::Reply;
use super::rows::Table;
use super::time::Millis;
use super::tool::Root;

/// What one step, or one turn of several, asks of the world.
#[must_use = "an effect that is not performed is lost"]
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// On disk before anything below happens.
    pub keep: Batch,
    /// Which documents to read back from disk, after all that was kept.
    pub inspect: Vec<DocId>,
    /// What to look at.
    pub look: Vec<Look>,
    /// What to do on the network.
    pub tell: Vec<LinkAction>,
    /// What to answer.
    pub reply: Vec<(Asker, Reply)>,
    /// What to write into the log.
    pub note: Vec<Note>,
    /// Whether `Input::CaughtUp` is wanted, behind all that has come by now.
    pub catch_up: bool,
}

impl Effects {
    /// Adds a later step's effects, so that a turn is kept once.
    pub fn absorb(&mut self, later: Effects) {
        self.keep.absorb(later.keep);
        self.inspect.extend(later.inspect);
        self.look.extend(later.look);
        self.tell.extend(later.tell);
        self.reply.extend(later.reply);
        self.note.extend(later.note);
        self.catch_up |= later.catch_up;
    }
}

/// One look at the tools' files; each is answered by a `SourceEvent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// List all regular files, and watch the directory if that is not done yet.
    List {
        /// Which.
        root: Root,
    },
    /// Read a range of one file.
    Read {
        /// Below which root.
        root: Root,
        /// Which file.
        path: RelPath,
        /// From where.
        offset: u64,
        /// At most so many bytes.
        max: u64,
    },
    /// Read on in a file of lines, and look again at what was read before.
    Follow {
        /// Below which root.
        root: Root,
        /// Which file.
        path: RelPath,
        /// From where.
        offset: u64,
        /// At most so many bytes.
        max: u64,
    },
    /// Read whole tables of a database.
    Rows {
        /// Below which root.
        root: Root,
        /// Which file.
        path: RelPath,
        /// Which tables, and what of them.
        tables: &'static [Table],
    },
    /// Which of these processes live, and which of these files a process holds open.
    Living {
        /// Process numbers, each with when it began in the system's own words where the tool wrote them (Linux: field 22 of
        /// `/proc/<pid>/stat`), so that a number given anew is not taken for the old one.
        pids: Vec<(u32, Option<String>)>,
        /// Files.
        files: Vec<(Root, RelPath)>,
    },
    /// Find files by name, anywhere one or two levels below a root.
    Find {
        /// Which root.
        root: Root,
        /// File names.
        names: Vec<String>,
    },
    /// Find the git repository above a working directory.
    Repo {
        /// Which.
        cwd: String,
    },
}

/// One line of the log: facts about the work, never content (no text of a todo, task or transcript, no path below a root).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// `new session from DEVICE`.
    NewSession {
        /// The device's name.
        device: String,
        /// The session's short id.
        session: String,
        /// Its tool.
        tool: String,
    },
    /// `N new sessions from DEVICE`: more at a time than are worth a line each.
    NewSessions {
        /// The device's name.
        device: String,
        /// How many.
        sessions: usize,
    },
    /// `webhook DEED`.
    Webhook {
        /// `spawn`, `progress`, `completed`, `error`.
        deed: String,
        /// The device's name.
        device: String,
        /// The session's short id.
        session: String,
        /// The agent's name.
        agent: String,
    },
    /// `found N active sessions`.
    Active {
        /// How many.
        sessions: usize,
    },
    /// `watching N directories`.
    Watching {
        /// How many.
        directories: usize,
    },
    /// `DEVICE not seen for 2h`.
    NotSeen {
        /// The device's name.
        device: String,
        /// For how long.
        for_ms: Millis,
    },
    /// `dial failed`.
    DialFailed {
        /// The device's name, or `?`.
        device: String,
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// `consolidated N todos from M sessions`.
    Consolidated {
        /// How many todos.
        todos: usize,
        /// Of how many sessions.
        sessions: usize,
    },
    /// `paired with DEVICE`.
    Paired {
        /// The device's name.
        device: String,
    },
    /// `DEVICE was removed`.
    Removed {
        /// The device's name.
        device: String,
    },
    /// `link up` / `link down`.
    Link {
        /// The device's name or short id.
        device: String,
        /// Whether it is up.
        up: bool,
        /// Why it went down, or its address.
        detail: String,
    },
    /// A store that was lost, restored or cloned was noticed.
    Restored {
        /// What was noticed.
        what: String,
    },
    /// A document, a file or a peer was set aside.
    SetAside {
        /// What, and why.
        what: String,
    },
    /// What a damaged document had lost came again.
    Mended {
        /// Which, and from whom.
        what: String,
    },
    /// The machine slept.
    Woke {
        /// For how long.
        slept_ms: Millis,
    },
}
