//! The tools whose files are read, and where they keep them: one line a tool, one line a folder.
//!
//! Sources lists and watches by these lines, ingest reads what is in them, config finds their directories. A tool that is
//! not here is still seen through beats and reports.

use serde::{Deserialize, Serialize};

/// A program behind an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The word that facts, answers and the configuration use.
    pub name: &'static str,
    /// The variables that move its directory, the first that is set counts; with what follows below each.
    pub variables: &'static [(&'static str, &'static str)],
    /// Its directory below a person's home.
    pub home: &'static str,
}

/// All of them (FORMATS §2.1, §4, §5, §6).
pub const TOOLS: &[Tool] = &[
    Tool { name: "claude", variables: &[("CLAUDE_CONFIG_DIR", "")], home: ".claude" },
    Tool { name: "codex", variables: &[("CODEX_HOME", "")], home: ".codex" },
    Tool { name: "pi", variables: &[("PI_CODING_AGENT_DIR", "")], home: ".pi/agent" },
    Tool { name: "openclaw", variables: &[("OPENCLAW_STATE_DIR", "")], home: ".openclaw" },
    Tool { name: "gemini", variables: &[], home: ".gemini" },
    Tool { name: "opencode", variables: &[("XDG_DATA_HOME", "opencode")], home: ".local/share/opencode" },
];

/// A directory of a tool that is listed and watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    /// The word that answers and index rows use.
    pub word: &'static str,
    /// Whose it is.
    pub tool: &'static str,
    /// Where it is below the tool's directory.
    pub below: &'static str,
    /// How many directories deep files are looked for; 0: only its own files.
    pub depth: usize,
    /// How the names of its files end. A name that begins with a dot is passed over unless it is given here whole.
    pub endings: &'static [&'static str],
}

/// All of them, in the order in which they are listed at the start: small ones first.
pub const FOLDERS: &[Folder] = &[
    Folder { word: "claude-sessions", tool: "claude", below: "sessions", depth: 0, endings: &[".json"] },
    Folder { word: "claude-todos", tool: "claude", below: "todos", depth: 0, endings: &[".json"] },
    Folder { word: "claude-tasks", tool: "claude", below: "tasks", depth: 1, endings: &[".json", ".highwatermark"] },
    Folder { word: "claude-projects", tool: "claude", below: "projects", depth: 5, endings: &[".jsonl"] },
    Folder { word: "codex-sessions", tool: "codex", below: "sessions", depth: 3, endings: &[".jsonl", ".json", ".jsonl.zst"] },
    Folder { word: "codex-archived", tool: "codex", below: "archived_sessions", depth: 0, endings: &[".jsonl", ".jsonl.zst"] },
    Folder { word: "codex-names", tool: "codex", below: "", depth: 0, endings: &["session_index.jsonl"] },
    Folder { word: "pi-sessions", tool: "pi", below: "sessions", depth: 1, endings: &[".jsonl"] },
    Folder { word: "pi-agent", tool: "pi", below: "", depth: 0, endings: &[".jsonl"] },
    Folder { word: "openclaw-agents", tool: "openclaw", below: "agents", depth: 2, endings: &[".jsonl"] },
    Folder { word: "gemini-chats", tool: "gemini", below: "tmp", depth: 3, endings: &[".jsonl", ".json"] },
    Folder { word: "opencode-storage", tool: "opencode", below: "storage", depth: 3, endings: &[".json"] },
    Folder { word: "opencode-database", tool: "opencode", below: "", depth: 0, endings: &[".db", ".db-wal"] },
];

/// One folder of one of a tool's directories; the daemon's configuration knows where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Root {
    /// Which of [`FOLDERS`].
    folder: u8,
    /// Which of the tool's directories: 0 is its own, the others are configured.
    pub nth: u8,
}

impl Root {
    /// Claude Code's live processes, one file each.
    pub const CLAUDE_SESSIONS: Root = Root { folder: 0, nth: 0 };
    /// Claude Code's todo lists.
    pub const CLAUDE_TODOS: Root = Root { folder: 1, nth: 0 };
    /// Claude Code's transcripts.
    pub const CLAUDE_PROJECTS: Root = Root { folder: 3, nth: 0 };

    /// Every folder of the `nth` directory of a tool.
    pub fn of(tool: &str, nth: u8) -> impl Iterator<Item = Root> {
        (0u8..).zip(FOLDERS).filter(move |(_, folder)| folder.tool == tool).map(move |(folder, _)| Root { folder, nth })
    }

    /// The folder with that word, in the same directory of the tool.
    #[must_use]
    pub fn beside(self, word: &str) -> Option<Root> {
        (0u8..).zip(FOLDERS).find(|(_, folder)| folder.word == word).map(|(folder, _)| Root { folder, nth: self.nth })
    }

    /// Reads [`Root::word`].
    #[must_use]
    pub fn named(word: &str) -> Option<Root> {
        let of = |word: &str, nth| (0u8..).zip(FOLDERS).find(|(_, folder)| folder.word == word).map(|(folder, _)| Root { folder, nth });
        of(word, 0).or_else(|| {
            let (word, number) = word.rsplit_once('-')?;
            of(word, number.parse::<u8>().ok()?.checked_sub(1).filter(|nth| *nth > 0)?)
        })
    }

    /// Its line of [`FOLDERS`].
    #[must_use]
    pub fn folder(self) -> &'static Folder {
        &FOLDERS[usize::from(self.folder)]
    }

    /// The word that answers and index rows use; those of further directories carry their number.
    #[must_use]
    pub fn word(self) -> String {
        if self.nth == 0 { self.folder().word.to_owned() } else { format!("{}-{}", self.folder().word, self.nth + 1) }
    }
}

impl Folder {
    /// Whether a file of that name is one of this folder's.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.endings.iter().any(|ending| name == *ending || (!name.starts_with('.') && name.ends_with(ending)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_has_its_tool_and_its_own_word() {
        for (n, folder) in FOLDERS.iter().enumerate() {
            assert!(TOOLS.iter().any(|tool| tool.name == folder.tool));
            assert!(FOLDERS[..n].iter().all(|other| other.word != folder.word));
        }
        assert_eq!(Root::CLAUDE_SESSIONS.word(), "claude-sessions");
        assert_eq!(Root::CLAUDE_TODOS.word(), "claude-todos");
        assert_eq!(Root::CLAUDE_PROJECTS.word(), "claude-projects");
        assert_eq!(Root::of("codex", 1).map(Root::word).collect::<Vec<_>>(), ["codex-sessions-2", "codex-archived-2", "codex-names-2"]);
        let mut all = TOOLS.iter().flat_map(|tool| Root::of(tool.name, 0).chain(Root::of(tool.name, 7)));
        assert!(all.all(|root| Root::named(&root.word()) == Some(root)));
        assert_eq!(Root::named("codex-sessions-1"), None, "one word a root");
    }

    #[test]
    fn a_folder_wants_what_its_tool_writes_there() {
        let tasks = Root::CLAUDE_TODOS.beside("claude-tasks").unwrap().folder();
        assert!(tasks.wants("1.json") && tasks.wants(".highwatermark"));
        assert!(!tasks.wants(".lock") && !tasks.wants(".1.json") && !tasks.wants("1.json.tmp"));
    }
}
