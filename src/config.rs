//! Everything that can be set, read once at the start, in one value: the pillars' options and where files lie.
//!
//! Default < File < Env < Flag: a later source wins, and every value remembers which one it came from. What can be set
//! stands in one table ([`KEYS`]). A key that nobody knows is a warning that names the nearest one, since a file may
//! be shared with a newer version; a value of the wrong kind is an error, since guessing would be worse than stopping. The
//! environment is passed in, so that a test, or a second daemon, has its own.

mod agents;
pub mod edit;
mod error;
mod home;
mod keys;
mod layers;
mod peers;
mod replaced;
mod setting;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::model::leaving::{self, Exclude};
use crate::model::peering::Peering;
use crate::model::time::Millis;
use crate::model::tool::{Root, TOOLS, Tool};
use crate::{api, network, sources, store};

pub use agents::{Agents, Complaint};
pub use error::{Error, Warning};
pub use home::Home;
pub use keys::{KEYS, Key, Kind, Value, key};
pub use peers::PEER_KEYS;
pub use replaced::{REPLACED, Replaced, replaced};
pub use setting::{Env, Origin, Setting, Source};
pub use wanted::Wanted;

use layers::{Layers, Values};

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
    /// `sources.*`: where each tool of `model/tool.rs` keeps its files, in that order.
    pub tools: Vec<ToolDirectories>,
    /// `sync.exclude`: what stays on this device.
    pub exclude: Setting<Exclude>,
    /// `sync.bandwidth`: bytes a second to all devices together; 0: no limit.
    pub bandwidth: Setting<u64>,
    /// `peers.NAME.*`: what goes to single devices, when and how fast.
    pub peering: Peering,
    /// `alerts.not_seen_after`, milliseconds: how long a device is out of reach before that is said.
    pub not_seen_after_ms: Setting<Millis>,
    /// `agents.stale_after`, milliseconds: the silence after which an agent is stale, unless twice its interval is longer.
    pub stale_after_ms: Setting<Millis>,
    /// `hooks.session_note`: whether a session that begins is told who else works there.
    pub session_note: Setting<bool>,
    /// How the log is written.
    pub log: Log,
    /// How the agents of this device are called.
    pub agents: Agents,
    /// `tags.keywords`: tag and word, both in lower case.
    pub keywords: Arc<[(String, String)]>,
    /// `files.*`: what is written on change, and where.
    pub files: BTreeMap<&'static str, PathBuf>,
    values: Values,
    peers: peers::Peers,
}

/// `network.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `network.port`: TCP; 0: any free one.
    pub port: Setting<u16>,
    /// `network.mdns`: whether others on the LAN are looked for by mDNS.
    pub mdns: Setting<bool>,
    /// `network.mdns_port`: UDP; 5353 but for devices that keep to themselves.
    pub mdns_port: Setting<u16>,
    /// `network.interfaces`: named interfaces that are used although they would be skipped.
    pub interfaces: Setting<Vec<String>>,
    /// `network.peers`: `host:port` each, dialled whatever mDNS shows.
    pub peers: Setting<Vec<String>>,
}

/// `sources.TOOL.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDirectories {
    /// Of which tool.
    pub tool: &'static Tool,
    /// `sources.TOOL.enabled`: whether its files are read at all.
    pub enabled: Setting<bool>,
    /// `sources.TOOL.root`: its own directory.
    pub root: Setting<PathBuf>,
    /// `sources.TOOL.roots`: further ones.
    pub roots: Setting<Vec<Directory>>,
}

/// A further directory of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// The computer from which another program copies it here.
    pub computer: Option<String>,
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
        let (values, peers, warnings) = layers.finish(|key| default(key, env))?;
        let config = Config {
            device_name: text(&values, "device.name"),
            http_port: number(&values, "http.port"),
            network: Network {
                port: number(&values, "network.port"),
                mdns: truth(&values, "network.mdns"),
                mdns_port: number(&values, "network.mdns_port"),
                interfaces: list(&values, "network.interfaces"),
                peers: list(&values, "network.peers"),
            },
            tools: TOOLS.iter().map(|tool| directories(&values, tool, env)).collect::<Result<_, Error>>()?,
            exclude: exclude(&values, env)?,
            bandwidth: number(&values, "sync.bandwidth"),
            peering: peers::rules(&peers),
            not_seen_after_ms: number(&values, "alerts.not_seen_after"),
            stale_after_ms: number(&values, "agents.stale_after"),
            session_note: truth(&values, "hooks.session_note"),
            log: Log {
                format: word(&values, "log.format"),
                level: word(&values, "log.level"),
                max_size: number(&values, "log.max_size"),
                max_files: number(&values, "log.max_files"),
            },
            agents: agents::read(&home.agents_file()),
            keywords: list(&values, "tags.keywords").value.iter().filter_map(|said| keys::keyword(said)).collect(),
            files: files(&values, env)?,
            home,
            values,
            peers,
        };
        Ok((config, warnings))
    }

    /// Where everything lies, without reading anything: so that a file that cannot be read can be named and mended.
    ///
    /// # Errors
    /// As [`Config::load`], when nothing says where home is.
    pub fn home(env: &Env) -> Result<Home, Error> {
        Home::of(env)
    }

    /// Every setting in the table's order: its key, its value as it could be written, and who said so.
    pub fn settings(&self) -> impl Iterator<Item = (&'static Key, String, Source)> + '_ {
        KEYS.iter().filter_map(|key| self.values.get(key.name.as_ref()).map(|set| (key, set.value.to_string(), set.source)))
    }

    /// Every setting of single devices: which, its value as it could be written, and who said so.
    pub fn peer_settings(&self) -> impl Iterator<Item = (Wanted, String, Source)> + '_ {
        peers::all(&self.peers).map(|(name, key, set)| (Wanted { key, peer: Some(name.to_owned()) }, set.value.to_string(), set.source))
    }

    /// The value of one setting, as it could be written, and who said so.
    #[must_use]
    pub fn value_of(&self, wanted: &Wanted) -> (String, Source) {
        let found = match &wanted.peer {
            None => self.settings().find(|(key, ..)| key.name == wanted.key.name).map(|(_, value, source)| (value, source)),
            Some(peer) => {
                let same = |(name, key, _): &(&str, &Key, &Setting<Value>)| key.name == wanted.key.name && peers::same(name, peer);
                peers::all(&self.peers).find(same).map(|(_, _, set)| (set.value.to_string(), set.source))
            }
        };
        found.unwrap_or_else(|| (wanted.key.default.to_string(), Source::Default))
    }

    // ---- The pillars' options are made here and nowhere else ----

    /// For `store::Store::open`, to read and write.
    #[must_use]
    pub fn store_options(&self) -> store::Options {
        store::Options { dir: self.home.data_dir.clone(), read_only: false }
    }

    /// For `network::start`.
    #[must_use]
    pub fn network_options(&self, clock: fn() -> i64) -> network::Options {
        network::Options {
            port: self.network.port.value,
            mdns: self.network.mdns.value,
            mdns_port: self.network.mdns_port.value,
            interfaces: self.network.interfaces.value.clone(),
            peers: self.network.peers.value.clone(),
            bandwidth: Some(self.bandwidth.value).filter(|rate| *rate > 0),
            last_port_file: self.home.data_dir.join("last-port"),
            clock,
        }
    }

    /// For `api::start`.
    #[must_use]
    pub fn api_options(&self) -> api::Options {
        let computers = self.computers().into_iter().map(|(root, computer)| (root.word(), computer)).collect();
        api::Options { http_port: self.http_port.value, run_dir: self.home.run_dir.clone(), computers, spool_dir: self.home.spool_dir() }
    }

    /// For `sources::start`.
    #[must_use]
    pub fn sources_options(&self) -> sources::Options {
        let folders = |(tool, nth, path, _): (&Tool, u8, PathBuf, _)| {
            Root::of(tool.name, nth).map(move |root| (root, path.join(root.folder().below).components().collect())).collect::<Vec<_>>()
        };
        sources::Options { roots: self.directories().flat_map(folders).collect() }
    }

    /// The computer from which another program copies a root here, for those that were given one.
    #[must_use]
    pub fn computers(&self) -> BTreeMap<Root, String> {
        let labels = |(tool, nth, _, computer): (&Tool, u8, _, Option<String>)| {
            Root::of(tool.name, nth).filter_map(move |root| Some((root, computer.clone()?)))
        };
        self.directories().flat_map(labels).collect()
    }

    /// Every directory that is read: the tool, which one of it, where, and whose. The same one twice is once.
    fn directories(&self) -> impl Iterator<Item = (&'static Tool, u8, PathBuf, Option<String>)> + '_ {
        self.tools.iter().filter(|set| set.enabled.value).flat_map(|set| {
            let mut known = BTreeSet::from([&set.root.value]);
            let further = set.roots.value.iter().filter(move |further| known.insert(&further.path));
            let further = (1u8..).zip(further).map(|(nth, further)| (set.tool, nth, further.path.clone(), further.computer.clone()));
            std::iter::once((set.tool, 0, set.root.value.clone(), None)).chain(further)
        })
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
fn default(key: &'static Key, env: &Env) -> Result<String, Error> {
    if key.name == "device.name" {
        return Ok(host_name());
    }
    let of_tool = |tool: &&Tool| key.name.strip_prefix("sources.").and_then(|rest| rest.strip_suffix(".root")) == Some(tool.name);
    match TOOLS.iter().find(of_tool) {
        Some(tool) => tool_root(tool, env),
        None => Ok(key.default.to_string()),
    }
}

/// Where a tool keeps its files when nobody told us: its own variables, else below home.
fn tool_root(tool: &Tool, env: &Env) -> Result<String, Error> {
    let moved = tool.variables.iter().find_map(|(variable, below)| Some(Path::new(home::said(env, variable)?).join(below)));
    let root = match moved {
        Some(dir) => dir,
        None => home::of_person(env, "a tool's directory")?.join(tool.home),
    };
    // Joined with nothing, a path ends with a slash.
    Ok(root.to_string_lossy().trim_end_matches('/').to_owned())
}

fn directories(values: &Values, tool: &'static Tool, env: &Env) -> Result<ToolDirectories, Error> {
    let key = |last: &str| format!("sources.{}.{last}", tool.name);
    let said = list(values, &key("roots"));
    let further = said.value.iter().map(|said| {
        let (computer, path) = keys::label_and_path(said);
        Ok(Directory { path: resolved(path, env)?, computer: computer.map(str::to_owned) })
    });
    let roots = Setting { value: further.collect::<Result<_, Error>>()?, source: said.source };
    Ok(ToolDirectories { tool, enabled: truth(values, &key("enabled")), root: path(values, &key("root"), env)?, roots })
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

fn path(values: &Values, key: &str, env: &Env) -> Result<Setting<PathBuf>, Error> {
    let set = of(values, key);
    Ok(Setting { value: resolved(&set.value.to_string(), env)?, source: set.source })
}

/// What is written on change: those of `files.*` that were given a place.
fn files(values: &Values, env: &Env) -> Result<BTreeMap<&'static str, PathBuf>, Error> {
    let said = KEYS.iter().filter_map(|key| Some((key.name.strip_prefix("files.")?, of(values, &key.name).value.to_string())));
    said.filter(|(_, path)| !path.is_empty()).map(|(name, path)| Ok((name, resolved(&path, env)?))).collect()
}

/// Patterns, with `~` as home.
fn exclude(values: &Values, env: &Env) -> Result<Setting<Exclude>, Error> {
    let said = list(values, "sync.exclude");
    let whole = |text: &String| match text.strip_prefix("~/") {
        Some(below) => Ok(format!("{}/{below}", leaving::literal(&resolved("~", env)?.to_string_lossy()))),
        None => Ok(text.clone()),
    };
    let texts = said.value.iter().map(whole).collect::<Result<Vec<String>, Error>>()?;
    let value = Exclude::parse(texts.iter().map(String::as_str)).expect("because its kind let only patterns through");
    Ok(Setting { value, source: said.source })
}

/// Absolute, with `~` as home: the daemon does not stay where it was started.
fn resolved(said: &str, env: &Env) -> Result<PathBuf, Error> {
    let path = match said.strip_prefix("~/") {
        Some(below) => home::of_person(env, "“~”")?.join(below),
        None if said == "~" => home::of_person(env, "“~”")?,
        None => PathBuf::from(said),
    };
    home::absolute(&path)
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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use std::fmt::Write;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// What a file, the environment and the command line make together, and the warnings as they are printed.
    fn loaded(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<(Config, Vec<String>), Error> {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("config.toml"), file).expect("written");
        let mut env = pairs(env);
        env.insert("HUBLESS_HOME".to_owned(), dir.path().to_str().expect("utf-8").to_owned());
        env.insert("HOME".to_owned(), "/home/lena".to_owned());
        let (config, warnings) = Config::load(&env, &pairs(flags))?;
        let name = dir.path().join("config.toml").display().to_string();
        Ok((config, warnings.iter().map(|warning| warning.to_string().replace(&name, "FILE")).collect()))
    }

    fn refused(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        let why = loaded(file, env, flags).expect_err("refused").to_string();
        // The temporary directory's name is no part of the sentence.
        why.split_once("config.toml").map_or(why.clone(), |(_, rest)| format!("FILE{rest}"))
    }

    #[test]
    fn without_a_word_the_table_counts() {
        let (config, warnings) = loaded("", &[], &[]).expect("loaded");
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!((config.http_port.value, config.network.port.value, config.network.mdns.value), (4825, 4826, true));
        assert_eq!((config.network.interfaces.value.len(), config.network.peers.value.len()), (0, 0));
        let roots: Vec<&Path> = config.tools.iter().map(|set| set.root.value.as_path()).collect();
        let homes = [".claude", ".codex", ".pi/agent", ".openclaw", ".gemini", ".local/share/opencode"];
        assert_eq!(roots, homes.map(|home| Path::new("/home/lena").join(home)));
        assert_eq!(config.sources_options().roots.len(), crate::model::tool::FOLDERS.len());
        assert_eq!(config.computers(), BTreeMap::new());
        assert_eq!(config.not_seen_after_ms.value, 2 * 60 * 60 * 1000);
        assert_eq!((config.log.format.value, config.log.level.value), (LogFormat::Text, tracing::Level::INFO));
        assert_eq!((config.log.max_size.value, config.log.max_files.value), (10 * 1024 * 1024, 5));
        assert!(!config.device_name.value.is_empty() && !config.device_name.value.contains('.'));
        assert!(config.settings().all(|(_, _, source)| source == Source::Default));
        assert_eq!(config.settings().count(), KEYS.len());
    }

    #[test]
    fn a_later_source_wins_and_says_so() {
        let file = "[http]\nport = 1\n[network]\nport = 1\nmdns = false\n[log]\nlevel = \"warn\"\n";
        let env = [("HUBLESS_HTTP_PORT", "2"), ("HUBLESS_NETWORK_PORT", "2")];
        let (config, _) = loaded(file, &env, &[("network.port", "3")]).expect("loaded");
        assert_eq!(config.http_port, Setting { value: 2, source: Source::Env });
        assert_eq!(config.network.port, Setting { value: 3, source: Source::Flag });
        assert_eq!(config.network.mdns, Setting { value: false, source: Source::File });
        assert_eq!(config.log.level, Setting { value: tracing::Level::WARN, source: Source::File });
        assert_eq!(config.log.format.source, Source::Default);
        let shown: Vec<String> = config
            .settings()
            .filter(|set| set.2 > Source::Default)
            .map(|(key, value, source)| format!("{} = {value} ({})", key.name, source.word()))
            .collect();
        assert_eq!(shown, ["http.port = 2 (env)", "network.port = 3 (flag)", "network.mdns = false (file)", "log.level = warn (file)"]);
    }

    quickcheck! {
        /// Whoever speaks, the highest of them is heard, and the order in which they are asked is of no matter.
        fn the_highest_source_that_speaks_is_heard(in_file: Option<u16>, in_env: Option<u16>, in_flag: Option<u16>) -> bool {
            let file = in_file.map(|port| format!("http.port = {port}")).unwrap_or_default();
            let (env, flag) = (in_env.map(|p| p.to_string()), in_flag.map(|p| p.to_string()));
            let env: Vec<(&str, &str)> = env.iter().map(|p| ("HUBLESS_HTTP_PORT", p.as_str())).collect();
            let flags: Vec<(&str, &str)> = flag.iter().map(|p| ("http.port", p.as_str())).collect();
            let expected = [(in_flag, Source::Flag), (in_env, Source::Env), (in_file, Source::File)]
                .into_iter().find_map(|(port, source)| Some(Setting { value: port?, source }))
                .unwrap_or(Setting { value: 4825, source: Source::Default });
            loaded(&file, &env, &flags).expect("loaded").0.http_port == expected
        }

        /// Any value at any key is taken, or refused by name; nothing panics later where it is used.
        fn any_value_is_taken_or_refused_by_name(key: usize, value: usize) -> bool {
            let key = KEYS[key % KEYS.len()].name.as_ref();
            let values = ["true", "-1", "0", "5", "70000", "1.5", "''", "'x'", "'2h'", "'10 MiB'", "'info'", "'a:1'", "[]", "['a:1']", "[1]",
                "{}", "{a=1}", "[{}]", "[{path='/x'}]", "['l=~/x', {path=1}]", "1979-05-27", "'\u{1}'", "9223372036854775807"];
            match loaded(&format!("{key} = {}", values[value % values.len()]), &[], &[]) {
                Ok((config, _)) => config.settings().any(|(set, _, source)| set.name == key && source == Source::File),
                Err(Error::WrongValue { key: named, .. }) => named == key,
                Err(Error::Syntax { .. }) => true,
                Err(_) => false,
            }
        }
    }

    #[test]
    fn devices_have_rules_from_the_file_and_the_environment() {
        let file = "[peers.mac-mini]\nenabled = false\nbandwidth = '500 kB/s'\nnope = 1\n[peers.'thinkpad x']\nsend = false\nschedule = '*/15 9-17 * * mon-fri'\n";
        let env = [("HUBLESS_PEERS_MAC_MINI_ENABLED", "true"), ("HUBLESS_PEERS_ATTIC_RECEIVE", "no")];
        let (config, warnings) = loaded(file, &env, &[]).expect("loaded");
        let rule = |name: &str| config.peering.0.get(name).unwrap_or_else(|| panic!("{name}"));
        assert!(rule("mac-mini").enabled && rule("mac-mini").bandwidth == Some(500_000), "what the environment says comes later");
        assert!(!rule("thinkpad x").terms.gives && rule("thinkpad x").terms.takes);
        assert_eq!(rule("thinkpad x").schedule.as_ref().map(ToString::to_string).as_deref(), Some("*/15 9-17 * * mon-fri"));
        assert!(!rule("attic").terms.takes && config.peering.0.len() == 3);
        assert!(warnings.len() == 1 && warnings[0].contains("peers.mac-mini.nope"), "{warnings:?}");
        let settings: Vec<String> =
            config.peer_settings().map(|(of, value, source)| format!("{}={value} {}", of.name(), source.word())).collect();
        assert!(settings.contains(&"peers.mac-mini.enabled=true env".to_owned()), "{settings:?}");
        let value = |name: &str| config.value_of(&Wanted::find(name).expect("a setting"));
        assert_eq!(value("peers.Mac-Mini.bandwidth"), ("500000".to_owned(), Source::File));
        assert_eq!(value("peers.\"thinkpad x\".enabled"), ("true".to_owned(), Source::Default));
        assert_eq!(value("http.port"), ("4825".to_owned(), Source::Default));
        for wrong in ["peers = 1", "[peers]\nx = 1", "[peers.x]\nschedule = 'often'", "[peers.x]\nbandwidth = 100", "[peers.x]\nsend = 'x'"]
        {
            assert!(loaded(wrong, &[], &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_key_can_be_set_in_the_file_and_in_the_environment_alike() {
        let mut file = "device.name = \"mac mini\"\nhttp.port = 0\nalerts.not_seen_after = \"1h 30m\"\nhooks.session_note = false\nagents.stale_after = \"10m\"\nsync.bandwidth = \"2MB/s\"\nsync.exclude = [\"acme\", \"~/private\", \"agent:mole\"]\n[network]\nport = 65535\nmdns = false\nmdns_port = 5454\ninterfaces = [\"tailscale0\", \"br0\"]\n\
            peers = [\"10.0.0.2:4826\", \"[fe80::1]:1\"]\n[log]\nformat = \"json\"\nlevel = \"trace\"\nmax_size = \"64KiB\"\nmax_files = 1\n\
            [tags]\nkeywords = [\"Auth=OAuth\", \"db\"]\n[files]\ntodos = \"~/todos.json\"\ncoordination = \"/srv/c.json\"\nconflicts = \"\"\nstatus = \"/srv/s.json\"\n"
            .to_owned();
        let mut env: Vec<(String, String)> = [
            ("HUBLESS_DEVICE_NAME", "mac mini"),
            ("HUBLESS_HTTP_PORT", "0"),
            ("HUBLESS_NETWORK_MDNS_PORT", "5454"),
            ("HUBLESS_ALERTS_NOT_SEEN_AFTER", "90m"),
            ("HUBLESS_NETWORK_PORT", "65535"),
            ("HUBLESS_NETWORK_MDNS", "off"),
            ("HUBLESS_NETWORK_INTERFACES", "tailscale0, br0,"),
            ("HUBLESS_NETWORK_PEERS", "10.0.0.2:4826,[fe80::1]:1"),
            ("HUBLESS_HOOKS_SESSION_NOTE", "no"),
            ("HUBLESS_SYNC_BANDWIDTH", "2000000"),
            ("HUBLESS_SYNC_EXCLUDE", "acme, ~/private, agent:mole"),
            ("HUBLESS_AGENTS_STALE_AFTER", "600s"),
            ("HUBLESS_TAGS_KEYWORDS", "Auth=OAuth, db"),
            ("HUBLESS_FILES_TODOS", "~/todos.json"),
            ("HUBLESS_FILES_COORDINATION", "/srv/c.json"),
            ("HUBLESS_FILES_CONFLICTS", ""),
            ("HUBLESS_FILES_STATUS", "/srv/s.json"),
            ("HUBLESS_LOG_FORMAT", "json"),
            ("HUBLESS_LOG_LEVEL", "trace"),
            ("HUBLESS_LOG_MAX_SIZE", "65536"),
            ("HUBLESS_LOG_MAX_FILES", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        for tool in TOOLS.iter().map(|tool| tool.name) {
            let _ = write!(file, "[sources.{tool}]\nenabled = true\nroot = '~/{tool}'\n");
            let _ = write!(file, "[[sources.{tool}.roots]]\npath = '/copied/{tool}'\ncomputer = 'mac mini'\n");
            let of_tool = [("ENABLED", "yes".to_owned()), ("ROOT", format!("~/{tool}")), ("ROOTS", format!("mac mini=/copied/{tool}"))];
            env.extend(of_tool.map(|(last, value)| (format!("HUBLESS_SOURCES_{}_{last}", tool.to_uppercase()), value)));
        }
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(env.len(), KEYS.len(), "a new key belongs into this test");
        let (from_file, _) = loaded(&file, &[], &[]).expect("loaded");
        let (from_env, _) = loaded("", &env, &[]).expect("loaded");
        let values = |config: &Config| config.settings().map(|(key, value, _)| (key.name.as_ref(), value)).collect::<Vec<_>>();
        assert_eq!(values(&from_file), values(&from_env));
        assert!(from_file.settings().all(|(_, _, source)| source == Source::File));
        assert!(from_env.settings().all(|(_, _, source)| source == Source::Env));
        assert_eq!(from_env.tools, from_file.tools.iter().cloned().map(set_in_env).collect::<Vec<_>>());
        assert_eq!(from_env.network.interfaces.value, ["tailscale0", "br0"]);
        assert_eq!(from_env.not_seen_after_ms.value, 90 * 60 * 1000);
        assert!(from_env.exclude.value.keeps_directory("/home/lena/private/x") && !from_env.exclude.value.keeps_directory("/private/x"));
        assert_eq!(from_env.exclude.value, from_file.exclude.value);
        let pair = |tag: &str, word: &str| (tag.to_owned(), word.to_owned());
        assert_eq!(from_env.keywords[..], [pair("auth", "oauth"), pair("db", "db")]);
        assert_eq!(from_env.files["todos"], Path::new("/home/lena/todos.json"));
        assert_eq!(from_env.files.keys().collect::<Vec<_>>(), [&"coordination", &"status", &"todos"]);
        assert!(loaded("[files]\ntodos = \"x.json\"\n", &[], &[]).is_err(), "a daemon does not stay where it was started");
        for bad in ["a***b", "[", "agent:"] {
            assert!(loaded("", &[("HUBLESS_SYNC_EXCLUDE", bad)], &[]).is_err(), "passing it over would tell what is to stay: {bad}");
        }
        let roots = from_env.sources_options().roots;
        assert_eq!(roots[&Root::CLAUDE_TODOS], Path::new("/home/lena/claude/todos"));
        assert_eq!(roots[&Root::CLAUDE_PROJECTS], Path::new("/home/lena/claude/projects"));
        let copied = Root::of("codex", 1).next().expect("a folder");
        assert_eq!(roots[&copied], Path::new("/copied/codex/sessions"));
        assert_eq!(roots.len(), 2 * crate::model::tool::FOLDERS.len());
        assert_eq!(from_file.computers()[&copied], "mac mini");
        assert_eq!(from_file.computers().len(), crate::model::tool::FOLDERS.len(), "a tool's own directory is this computer's");
    }

    fn set_in_env(mut set: ToolDirectories) -> ToolDirectories {
        (set.enabled.source, set.root.source, set.roots.source) = (Source::Env, Source::Env, Source::Env);
        set
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let (config, _) = loaded("alerts.not_seen_after = \"1h 30m\"\nnetwork.interfaces = [\"a\", \"b\"]", &[], &[]).expect("loaded");
        let again: BTreeMap<String, String> = config.settings().map(|(key, value, _)| (key.name.to_string(), value)).collect();
        let env = pairs(&[("HUBLESS_HOME", "/h"), ("HOME", "/home/lena")]);
        let (second, _) = Config::load(&env, &again).expect("loaded");
        assert!(config.settings().zip(second.settings()).all(|(a, b)| a.1 == b.1));
    }

    #[test]
    fn what_replaced_systems_call_a_setting_is_understood_and_said() {
        let file = "stale_threshold = \"7m\"\n[sync]\ninitial_sync_days = 30\nexclude_patterns = [\"acme\"]\n[http]\nport = 1\nweb_ui_port = 8765\n[[spokes]]\nname = \"laptop\"\n";
        let (config, warnings) = loaded(file, &[], &[]).expect("only warnings");
        assert_eq!((config.stale_after_ms.value, config.stale_after_ms.source), (420_000, Source::File));
        assert_eq!((config.exclude.source, config.http_port.value), (Source::File, 1), "our own spelling counts first");
        let said = warnings.join("\n");
        for part in [
            "“stale_threshold” of EVOX is called agents.stale_after here (FILE)",
            "“web_ui_port” of pi-brain is called http.port",
            "“spokes” of pi-brain has no meaning here",
        ] {
            assert!(said.contains(part), "{said}");
        }
        let (config, warnings) = loaded("stale_threshold = 300000\n", &[], &[]).expect("only a warning");
        assert!(
            config.stale_after_ms.value == 300_000
                && config.stale_after_ms.source == Source::Default
                && warnings[0].contains("passed over"),
            "{warnings:?}"
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_one_and_passed_over() {
        let file = "[htpp]\nport = 1\n[log]\nlevle = \"warn\"\n[sync]\ninitial_days = 30\n[http]\nport = 7\n[x.y.z]\nq = 1";
        let env =
            [("HUBLESS_NETWORK_PROT", "1"), ("HUBLESS_LOG_COLOUR", "1"), ("HUBLESS_AGENT", "sam"), ("HUBLESS_TEST_X", "1"), ("PATH", "/")];
        let (config, warnings) = loaded(file, &env, &[]).expect("loaded");
        assert_eq!(config.http_port.value, 7);
        assert_eq!(
            warnings,
            [
                "unknown key “htpp.port” in FILE; did you mean “http.port”?",
                "unknown key “log.levle” in FILE; did you mean “log.level”?",
                "“sync.initial_days” sets nothing yet: it belongs to transcripts, which are not copied yet; everything else is always whole (FILE)",
                "unknown key “x.y.z.q” in FILE",
                "the environment variable HUBLESS_LOG_COLOUR sets nothing; did you mean “HUBLESS_LOG_FORMAT”?",
                "the environment variable HUBLESS_NETWORK_PROT sets nothing; did you mean “HUBLESS_NETWORK_PORT”?",
            ]
        );
        assert_eq!(refused("", &[], &[("http.prot", "1")]), "there is no setting “http.prot”; did you mean “http.port”?");
    }

    #[test]
    fn a_wrong_value_is_an_error_with_file_key_and_what_is_expected() {
        let cases = [
            ("http.port = 65536", "FILE: http.port = 65536: expected a port, 0 to 65535"),
            ("http.port = -1", "FILE: http.port = -1: expected a port, 0 to 65535"),
            ("http.port = \"4825\"", "FILE: http.port = \"4825\": expected a port, 0 to 65535"),
            ("http.port.x = 1", "FILE: http.port = a table: expected a port, 0 to 65535"),
            ("http = 1", "FILE: http = 1: expected a table: [http]"),
            ("network.mdns = 1", "FILE: network.mdns = 1: expected true or false"),
            ("network.interfaces = \"eth0\"", "FILE: network.interfaces = \"eth0\": expected a list of texts"),
            ("network.peers = [\"10.0.0.1\"]", "FILE: network.peers = [\"10.0.0.1\"]: expected a list of “host:port”"),
            ("network.interfaces = [1]", "FILE: network.interfaces = [1]: expected a list of texts"),
            ("alerts.not_seen_after = 7200", "FILE: alerts.not_seen_after = 7200: expected a span of time such as “2h” or “1h 30m”"),
            ("log.level = \"loud\"", "FILE: log.level = \"loud\": expected one of error, warn, info, debug, trace"),
            ("log.max_size = \"ten\"", "FILE: log.max_size = \"ten\": expected a size such as “10 MiB”, or a number of bytes"),
            ("log.max_files = 0", "FILE: log.max_files = 0: expected a number from 1 to 1000"),
            ("device.name = \"\"", "FILE: device.name = \"\": expected a name of one line, at most 64 characters"),
        ];
        for (file, why) in cases {
            assert_eq!(refused(file, &[], &[]), why);
        }
        assert_eq!(
            refused("", &[("HUBLESS_HTTP_PORT", "http")], &[]),
            "the environment variable HUBLESS_HTTP_PORT: http.port = “http”: expected a port, 0 to 65535"
        );
        assert_eq!(refused("", &[], &[("network.mdns", "maybe")]), "the command line: network.mdns = “maybe”: expected true or false");
        assert!(refused("http.port = ", &[], &[]).starts_with("FILE is not valid TOML: TOML parse error at line 1"));
    }

    #[test]
    fn an_empty_variable_is_unset_and_an_empty_list_is_empty() {
        let file = "http.port = 7\nnetwork.interfaces = [\"a\"]";
        let (config, _) = loaded(file, &[("HUBLESS_HTTP_PORT", ""), ("HUBLESS_NETWORK_INTERFACES", "")], &[]).expect("loaded");
        assert_eq!(config.http_port, Setting { value: 7, source: Source::File });
        assert_eq!(config.network.interfaces, Setting { value: vec![], source: Source::Env });
    }

    fn root(file: &str, env: &[(&str, &str)], tool: &str) -> PathBuf {
        let (config, _) = loaded(file, env, &[]).expect("loaded");
        config.tools.into_iter().find(|set| set.tool.name == tool).expect("a tool").root.value
    }

    #[test]
    fn a_tools_own_variable_moves_the_default_only() {
        let env = [("CLAUDE_CONFIG_DIR", "/opt/claude"), ("CODEX_HOME", "~/x/"), ("XDG_DATA_HOME", "/data"), ("PI_CODING_AGENT_DIR", "/p")];
        assert_eq!(root("", &env, "claude"), Path::new("/opt/claude"));
        assert_eq!(root("", &env, "codex"), Path::new("/home/lena/x"));
        assert_eq!(root("", &env, "opencode"), Path::new("/data/opencode"));
        assert_eq!(root("", &env, "pi"), Path::new("/p"));
        assert_eq!(root("", &env, "gemini"), Path::new("/home/lena/.gemini"));
        assert_eq!(root("sources.claude.root = \"/srv/claude\"", &env, "claude"), Path::new("/srv/claude"));
        let unset = [("CLAUDE_CONFIG_DIR", ""), ("XDG_DATA_HOME", "relative")];
        assert_eq!(root("", &unset, "claude"), Path::new("/home/lena/.claude"));
        assert_eq!(root("", &unset, "opencode"), Path::new("/home/lena/.local/share/opencode"), "as the XDG specification says");
    }

    #[test]
    fn with_a_home_of_its_own_nothing_of_the_machines_owner_is_seen() {
        let env = pairs(&[("HUBLESS_HOME", "/h"), ("HOME", "/sealed")]);
        let (config, _) = Config::load(&env, &BTreeMap::new()).expect("loaded");
        let roots = config.sources_options().roots;
        assert!(roots.values().all(|root| root.starts_with("/sealed")), "{roots:?}");
        let nowhere = Config::load(&pairs(&[("HUBLESS_HOME", "/h")]), &BTreeMap::new()).expect_err("no home").to_string();
        assert_eq!(nowhere, "a tool's directory is not known: HOME is not set");
    }

    #[test]
    fn a_tool_has_further_directories_or_none_at_all() {
        let file = "[sources.pi]\nenabled = false\nroots = [\"/ignored\"]\n\
            [sources.claude]\nroots = [\"~/old\", \"/home/lena/.claude\", \"~/old\", { path = \"/srv/a=b\", computer = \"laptop\" }]";
        let (config, warnings) = loaded(file, &[], &[]).expect("loaded");
        assert_eq!(warnings, Vec::<String>::new());
        let roots = config.sources_options().roots;
        assert!(Root::of("pi", 0).chain(Root::of("pi", 1)).all(|root| !roots.contains_key(&root)));
        let projects = |nth| Root::of("claude", nth).find(|root| root.folder() == Root::CLAUDE_PROJECTS.folder()).expect("a folder");
        assert_eq!(roots[&projects(0)], Path::new("/home/lena/.claude/projects"));
        assert_eq!(roots[&projects(1)], Path::new("/home/lena/old/projects"));
        assert_eq!(roots[&projects(2)], Path::new("/srv/a=b/projects"), "what was said twice is read once");
        assert!(!roots.contains_key(&projects(3)));
        assert_eq!(config.computers().get(&projects(2)).map(String::as_str), Some("laptop"));
        assert!(!config.computers().contains_key(&projects(1)));
    }

    #[test]
    fn a_directorys_table_is_checked_like_everything_else() {
        let (_, warnings) = loaded("[[sources.codex.roots]]\npath = \"/a\"\ncomputr = \"x\"\nnew = 1", &[], &[]).expect("loaded");
        let said = [
            "unknown key “sources.codex.roots.computr” in FILE; did you mean “sources.codex.roots.computer”?",
            "unknown key “sources.codex.roots.new” in FILE; did you mean “sources.codex.roots.path”?",
        ];
        assert_eq!(warnings, said);
        for wrong in [
            "[1]",
            "[\"relative\"]",
            "[{ computer = \"x\" }]",
            "[{ path = 1 }]",
            "[{ path = \"/a\", computer = 1 }]",
            "\"/a\"",
            "[\"/a,/b\"]",
        ] {
            let why = refused(&format!("sources.codex.roots = {wrong}"), &[], &[]);
            assert!(why.starts_with("FILE: sources.codex.roots = ") && why.contains("expected at most 64 of “/PATH”"), "{why}");
        }
        let why = refused("", &[("HUBLESS_SOURCES_PI_ROOTS", "a=b")], &[]);
        assert!(why.starts_with("the environment variable HUBLESS_SOURCES_PI_ROOTS: sources.pi.roots = “a=b”: expected"), "{why}");
    }

    #[test]
    fn a_file_that_is_there_and_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("config.toml")).expect("in the way");
        let env = pairs(&[("HUBLESS_HOME", dir.path().to_str().expect("utf-8")), ("HOME", "/home/lena")]);
        assert!(matches!(Config::load(&env, &BTreeMap::new()), Err(Error::Unreadable { .. })));
    }
}
