//! A value and who said it: what every layer hands to the next.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Environment variables as they were passed in; of a name that is not UTF-8 hubless knows nothing anyway.
pub type Env = BTreeMap<String, String>;

/// Where a value came from. The order is the precedence: a later one wins (as in jj).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// `config.toml`.
    File,
    /// `HUBLESS_<SECTION>_<KEY>`.
    Env,
    /// The command line.
    Flag,
}

impl Source {
    /// The word that `config show --origin` prints.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::File => "file",
            Source::Env => "env",
            Source::Flag => "flag",
        }
    }
}

/// A value, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// What counts.
    pub value: T,
    /// Who said so.
    pub source: Source,
}

/// Who said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The command line.
    Flag,
    /// The table of defaults.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(file) => write!(f, "{}", file.display()),
            Origin::Variable(name) => write!(f, "the environment variable {name}"),
            Origin::Flag => f.write_str("the command line"),
            Origin::Default => f.write_str("the defaults"),
        }
    }
}
