//! What stops a start, and what is only said: each names where it was found, and what was perhaps meant.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::setting::Origin;

/// Why there is no configuration to go on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where this person's files are.
    #[error("{what} is not known: HOME is not set")]
    NoHome {
        /// What was to be found from it.
        what: &'static str,
    },
    /// A path has no absolute form, because the working directory cannot be read.
    #[error("{} has no absolute path: {why}", .path.display())]
    NotAbsolute {
        /// Which path.
        path: PathBuf,
        /// In the system's words.
        why: io::Error,
    },
    /// The file is there and cannot be read.
    #[error("{} cannot be read: {why}", .file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// In the system's words.
        why: io::Error,
    },
    /// The file is no TOML.
    #[error("{} is not valid TOML: {why}", .file.display())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Line, column and what is wrong there.
        why: String,
    },
    /// A value that its key cannot have.
    #[error("{origin}: {key} = {got}: expected {expected}")]
    WrongValue {
        /// Who said so.
        origin: Origin,
        /// Which key.
        key: String,
        /// What a right value looks like.
        expected: String,
        /// What was said.
        got: String,
    },
    /// The file cannot be written; it is as it was.
    #[error("{} cannot be written: {why}", .file.display())]
    Unwritable {
        /// Which file.
        file: PathBuf,
        /// In the system's words.
        why: io::Error,
    },
    /// A key on the command line that nobody knows.
    #[error("there is no setting “{key}”{}", did_you_mean(.nearest.as_deref()))]
    UnknownFlag {
        /// As it was typed.
        key: String,
        /// The nearest one.
        nearest: Option<String>,
    },
    /// No socket can be made there.
    #[error("the socket's path is too long ({bytes} bytes, at most {max}): {}", .path.display())]
    SocketPathTooLong {
        /// Which path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
}

/// A key that sets nothing. It is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it was found.
    pub origin: Origin,
    /// As it is written there.
    pub key: String,
    /// What was perhaps meant.
    pub nearest: Option<String>,
    /// What else is to be said of it, instead: it is a replaced system's, and called otherwise here.
    pub said: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(said) = &self.said {
            return write!(f, "{said} ({})", self.origin);
        }
        let meant = did_you_mean(self.nearest.as_deref());
        match &self.origin {
            Origin::Variable(name) => write!(f, "the environment variable {name} sets nothing{meant}"),
            Origin::File(_) | Origin::Flag | Origin::Default => write!(f, "unknown key “{}” in {}{meant}", self.key, self.origin),
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean “{name}”?")).unwrap_or_default()
}
