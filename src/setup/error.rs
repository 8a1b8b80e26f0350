//! What goes wrong with somebody else's settings: what, why, and what mends it. Whatever it is, the file was not touched.

use std::io;
use std::path::{Path, PathBuf};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and cannot be read.
    #[error("{} cannot be read: {why}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The file, or the copy beside it, cannot be written.
    #[error("{} cannot be written: {why}", .file.display())]
    Unwritable {
        /// Which.
        file: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// It is a directory, a pipe, a link to nothing, or too large to be settings.
    #[error("{} is {what}", .file.display())]
    Odd {
        /// Which.
        file: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is no JSON.
    #[error("{} is not valid JSON: {why}", .file.display())]
    NotJson {
        /// Which.
        file: PathBuf,
        /// What and where.
        why: String,
    },
    /// It is JSON of another shape than the tool's.
    #[error("{}: {what}", .file.display())]
    Shape {
        /// Which.
        file: PathBuf,
        /// Which part has which shape.
        what: String,
    },
    /// There is a file of that name which is not ours.
    #[error("{} is there and is not ours", .file.display())]
    Foreign {
        /// Which.
        file: PathBuf,
    },
    /// It was written by somebody else while we looked at it.
    #[error("{} was changed by somebody else just now", .file.display())]
    Changed {
        /// Which.
        file: PathBuf,
    },
    /// The service manager does not do what it is told.
    #[error("{manager} says no to: {command}")]
    Manager {
        /// Which.
        manager: &'static str,
        /// What it was told.
        command: String,
        /// What it says.
        why: String,
    },
    /// Our own path cannot stand in a settings file.
    #[error("the path of this program is no text, or does not end in “hubless…”: {}", .program.display())]
    Program {
        /// Which.
        program: PathBuf,
    },
}

impl Error {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Unreadable { .. } | Error::Unwritable { .. } => "settings-io",
            Error::Odd { .. } | Error::Program { .. } => "settings-odd",
            Error::NotJson { .. } => "settings-not-json",
            Error::Shape { .. } => "settings-shape",
            Error::Foreign { .. } => "settings-foreign",
            Error::Changed { .. } => "settings-changed",
            Error::Manager { .. } => "service-manager",
        }
    }

    /// What lies behind it, where the sentence does not say so.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        if let Error::Manager { why, .. } = self { Some(why) } else { None }
    }

    /// What a person can do.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Error::Unreadable { file, .. } | Error::Unwritable { file, .. } => format!("see who owns it: ls -l {}", file.display()),
            Error::Odd { file, .. } => format!("put a plain file there, or move it away: {}", file.display()),
            Error::NotJson { .. } | Error::Shape { .. } => "mend it by hand, then do this again; nothing was changed".to_owned(),
            Error::Foreign { file } => format!("move it away, then do this again: {}", file.display()),
            Error::Manager { .. } => {
                "hubless up --detach runs it without a manager; hubless service install --print shows the file".to_owned()
            }
            Error::Changed { .. } => "do it again; nothing was changed".to_owned(),
            Error::Program { .. } => "call the program hubless, at a path in plain letters".to_owned(),
        }
    }
}

/// What is wrong with a text, before it is known in which file it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is no JSON: what and where.
    NotJson(String),
    /// Which part has which shape.
    Shape(String),
}

impl Wrong {
    pub(super) fn within(self, file: &Path) -> Error {
        let file = file.to_owned();
        match self {
            Wrong::NotJson(why) => Error::NotJson { file, why },
            Wrong::Shape(what) => Error::Shape { file, what },
        }
    }
}
