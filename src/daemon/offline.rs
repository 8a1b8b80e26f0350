//! Answers while no daemon runs, from document files alone.

use std::sync::Arc;

use crate::config::Config;
use crate::model::view::View;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not exist yet.
    #[error("the daemon does not exist yet")]
    NotYet,
}

impl Error {
    /// The word in brackets behind an error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "not-implemented"
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        1
    }

    /// What mends it.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        None
    }
}

/// What the documents say.
#[derive(Debug)]
pub struct Offline {
    /// What is shown.
    pub view: Arc<View>,
    /// One automerge document.
    pub export: Vec<u8>,
}

/// Opens the document files, changing nothing.
///
/// # Errors
/// They cannot be read, or a newer version wrote them.
pub fn open(_config: &Config) -> Result<Offline, Error> {
    Err(Error::NotYet)
}
