//! Why the daemon does not start, or the disk gives no answer: each with a word, an exit code and a fix.

use std::io;
use std::path::PathBuf;

use crate::network::identity::KeyError;
use crate::{api, network, sources, store};

/// What to do where a directory cannot be made or written.
const PLACE: &str = "make sure that its directory is yours to write in, or choose another one:  HUBLESS_HOME=DIR";

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The device's key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The fleet's secrets cannot be read.
    #[error("{} holds no fleet's secrets; it is damaged", .0.display())]
    Fleet(PathBuf),
    /// The network does not start.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The sources cannot be looked at.
    #[error(transparent)]
    Sources(#[from] sources::Error),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// The system gives no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(String),
    /// The system gives no thread.
    #[error("no thread from the system: {0}")]
    Thread(io::Error),
    /// The core ended by itself: a fault of ours. What was acknowledged is on disk.
    #[error("the core ended by itself")]
    Broke,
    /// There is no identity yet.
    #[error("there is no hubless on this device yet")]
    NotInitialised,
}

impl Error {
    /// The word in brackets behind an error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Store(store::Error::Locked { .. }) => "locked",
            Error::Store(store::Error::NewerFormat { .. }) => "newer-format",
            Error::Store(store::Error::Exposed { .. } | store::Error::NotOurs { .. }) | Error::Key(KeyError::Open { .. }) => "exposed",
            Error::Store(store::Error::Full) => "disk-full",
            Error::Store(store::Error::NoFormat { .. } | store::Error::ReadOnly | store::Error::Io { .. }) => "storage",
            Error::Key(_) | Error::Fleet(_) | Error::Random(_) => "identity",
            Error::Network(_) => "network",
            Error::Sources(_) => "sources",
            Error::Api(_) => "socket",
            Error::Thread(_) => "system",
            Error::Broke => "internal",
            Error::NotInitialised => "not-initialised",
        }
    }

    /// The process's exit code (INTERFACE §2.4).
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Error::Store(store::Error::Locked { .. }) | Error::Api(api::Error::SocketLive { .. }) => 9,
            Error::Store(store::Error::NewerFormat { .. }) => 10,
            Error::Store(store::Error::Exposed { .. } | store::Error::NotOurs { .. })
            | Error::Key(KeyError::Open { .. })
            | Error::NotInitialised => 5,
            Error::Store(_)
            | Error::Key(_)
            | Error::Fleet(_)
            | Error::Network(_)
            | Error::Sources(_)
            | Error::Api(_)
            | Error::Random(_)
            | Error::Thread(_)
            | Error::Broke => 1,
        }
    }

    /// What mends it, where the sentence does not say so already.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        match self {
            Error::Store(store::Error::Locked { .. }) => Some("hubless status; or  hubless down  first".into()),
            Error::Store(store::Error::NewerFormat { .. }) => Some("update hubless on this device".into()),
            Error::Store(store::Error::Full) => Some("make room on the disk; nothing was lost".into()),
            Error::Store(store::Error::NoFormat { path }) => Some(format!("if nothing else is in there: rm {}", path.display())),
            Error::NotInitialised => Some("hubless up".into()),
            Error::Broke => Some("hubless up; its log says more".into()),
            Error::Store(store::Error::Io { .. }) => Some(PLACE.into()),
            Error::Fleet(_) => Some("put it back from a copy; or move it away, start, and pair again (todos and sessions stay)".into()),
            Error::Store(_)
            | Error::Key(_)
            | Error::Network(_)
            | Error::Sources(_)
            | Error::Api(_)
            | Error::Random(_)
            | Error::Thread(_) => None,
        }
    }
}
