//! Everything that can be set, read once at the start, in one value: the pillars' options and where files lie.
//!
//! Default < File < Env < Flag: a later source wins, and every value remembers which one it came from. What can be set
//! stands in one table ([`keys::KEYS`]). A key that nobody knows is a warning that names the nearest one, since a file may
//! be shared with a newer version; a value of the wrong kind is an error, since guessing would be worse than stopping. The
//! environment is passed in, so that a test, or a second daemon, has its own.

mod home;
mod keys;
mod layers;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::model::input::Root;
use crate::model::time::Millis;
use crate::sources;

pub use home::Home;
pub use keys::{KEYS, Key, Kind, Value, key};
pub use layers::{Origin, Warning};

use layers::Layers;

/// Environment variables as they were passed in; of a name that is not UTF-8 hubless knows nothing anyway.
pub type Env = BTreeMap<String, String>;

/// Every setting's value, by name.
type Values = BTreeMap<&'static str, Setting<Value>>;

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
    /// A key on the command line that nobody knows.
    #[error("there is no setting “{key}”{}", layers::did_you_mean(.nearest.as_deref()))]
    UnknownFlag {
        /// As it was typed.
        key: String,
        /// The nearest one.
        nearest: Option<String>,
    },
    /// No socket can be made there.
    #[error("the socket's path is too long ({bytes} bytes, at most {}): {}", home::SOCKET_BYTES_MAX, .path.display())]
    SocketPathTooLong {
        /// Which path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where everything lies.
    pub home: Home,
    /// `device.name`: this device's label.
    pub device_name: Setting<String>,
    /// `http.port`: the page and the API on loopback; 0: any free one.
    pub http_port: Setting<u16>,
    /// How the others are found.
    pub network: Network,
    /// `sources.claude.root`: Claude Code's directory.
    pub claude_root: Setting<PathBuf>,
    /// `sync.exclude`: projects that never leave this device, as globs.
    pub exclude: Setting<Vec<String>>,
    /// `alerts.not_seen_after`, milliseconds: how long a device is out of reach before that is said.
    pub not_seen_after_ms: Setting<Millis>,
    /// How the log is written.
    pub log: Log,
    values: Values,
}

/// `network.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `network.port`: TCP; 0: any free one.
    pub port: Setting<u16>,
    /// `network.mdns`: whether others on the LAN are looked for by mDNS.
    pub mdns: Setting<bool>,
    /// `network.interfaces`: named interfaces that are used although they would be skipped.
    pub interfaces: Setting<Vec<String>>,
    /// `network.peers`: `host:port` each, dialled whatever mDNS shows.
    pub peers: Setting<Vec<String>>,
}

/// `log.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `log.format`.
    pub format: Setting<LogFormat>,
    /// `log.level`.
    pub level: Setting<tracing::Level>,
    /// `log.max_size`, bytes of one file.
    pub max_size: Setting<u64>,
    /// `log.max_files`, the newest included.
    pub max_files: Setting<u32>,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the file, the environment and the command line's `key = text` pairs. A file that is not there says nothing.
    ///
    /// # Errors
    /// When a value is of the wrong kind, the file cannot be read, or nothing says where home is. An unknown key is only a
    /// warning, but for one on the command line, which was typed just now.
    pub fn load(env: &Env, flags: &BTreeMap<String, String>) -> Result<(Config, Vec<Warning>), Error> {
        let home = Home::of(env)?;
        let mut layers = Layers::default();
        if let Some(text) = read(&home.config_file)? {
            layers.add_file(&home.config_file, &text)?;
        }
        layers.add_env(env)?;
        layers.add_flags(flags)?;
        let (values, warnings) = layers.finish(|key| default(key, env))?;
        let config = Config {
            device_name: text(&values, "device.name"),
            http_port: number(&values, "http.port"),
            network: Network {
                port: number(&values, "network.port"),
                mdns: truth(&values, "network.mdns"),
                interfaces: list(&values, "network.interfaces"),
                peers: list(&values, "network.peers"),
            },
            claude_root: path(&values, "sources.claude.root", env)?,
            exclude: list(&values, "sync.exclude"),
            not_seen_after_ms: number(&values, "alerts.not_seen_after"),
            log: Log {
                format: word(&values, "log.format"),
                level: word(&values, "log.level"),
                max_size: number(&values, "log.max_size"),
                max_files: number(&values, "log.max_files"),
            },
            home,
            values,
        };
        Ok((config, warnings))
    }

    /// Every setting in the table's order: its key, its value as it could be written, and who said so.
    pub fn settings(&self) -> impl Iterator<Item = (&'static Key, String, Source)> + '_ {
        KEYS.iter().filter_map(|key| self.values.get(key.name).map(|set| (key, set.value.to_string(), set.source)))
    }

    // ---- The pillars' options are made here and nowhere else ----

    /// For `sources::start`.
    #[must_use]
    pub fn sources_options(&self) -> sources::Options {
        let root = &self.claude_root.value;
        let roots = [(Root::ClaudeTodos, root.join("todos")), (Root::ClaudeProjects, root.join("projects"))];
        sources::Options { roots: BTreeMap::from(roots) }
    }
}

/// The file's text, if there is a file.
fn read(file: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Error::Unreadable { file: file.to_owned(), why }),
    }
}

/// The default, in the words of the environment: those that the table cannot know are found out here.
fn default(key: &Key, env: &Env) -> Result<String, Error> {
    match key.name {
        "device.name" => Ok(host_name()),
        "sources.claude.root" => match home::set(env, "CLAUDE_CONFIG_DIR") {
            Some(dir) => Ok(dir.to_owned()),
            None => Ok(home::of_person(env, "Claude Code's directory")?.join(".claude").to_string_lossy().into_owned()),
        },
        _ => Ok(key.default.to_owned()),
    }
}

/// The host's name without its domain.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default().trim().to_owned();
    if keys::is_name(&name) { name } else { "device".to_owned() }
}

fn of<'a>(values: &'a Values, key: &str) -> &'a Setting<Value> {
    values.get(key).expect("because Layers::finish gives every key of the table a value")
}

fn text(values: &Values, key: &str) -> Setting<String> {
    let set = of(values, key);
    Setting { value: set.value.to_string(), source: set.source }
}

/// A text that only has the forms that its kind let through.
fn word<T: FromStr>(values: &Values, key: &str) -> Setting<T> {
    let set = of(values, key);
    let value = set.value.to_string().parse().ok().expect("because the table's kind names only these words");
    Setting { value, source: set.source }
}

fn number<T: TryFrom<u64>>(values: &Values, key: &str) -> Setting<T> {
    let set = of(values, key);
    let value = set.value.number().and_then(|n| T::try_from(n).ok());
    Setting { value: value.expect("because the table's kind bounds this number"), source: set.source }
}

fn truth(values: &Values, key: &str) -> Setting<bool> {
    let set = of(values, key);
    Setting { value: set.value == Value::Truth(true), source: set.source }
}

fn list(values: &Values, key: &str) -> Setting<Vec<String>> {
    let set = of(values, key);
    Setting { value: set.value.list().to_vec(), source: set.source }
}

/// Absolute, with `~` as home: the daemon does not stay where it was started.
fn path(values: &Values, key: &str, env: &Env) -> Result<Setting<PathBuf>, Error> {
    let set = of(values, key);
    let said = set.value.to_string();
    let path = match said.strip_prefix("~/") {
        Some(below) => home::of_person(env, "“~”")?.join(below),
        None if said == "~" => home::of_person(env, "“~”")?,
        None => PathBuf::from(said),
    };
    Ok(Setting { value: home::absolute(&path)?, source: set.source })
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(word: &str) -> Result<LogFormat, ()> {
        match word {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(()),
        }
    }
}
