//! The table of all settings, and the kinds of values they have. Whoever adds a setting adds a line here; the file, the
//! environment, the command line, `config show` and the documentation all follow the table. Every tool of
//! `model/tool.rs` has its lines by itself.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use crate::model::leaving::Exclude;
use crate::model::limits::BANDWIDTH_MIN;
use crate::model::schedule::Schedule;
use crate::model::tool::{TOOLS, Tool};

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, with dots.
    pub name: Cow<'static, str>,
    /// Its default, as it could be written; in brackets when it is found out at the start.
    pub default: Cow<'static, str>,
    /// What values it has.
    pub kind: Kind,
    /// What it does.
    pub what: &'static str,
}

impl Key {
    pub(super) const fn new(name: &'static str, default: &'static str, kind: Kind, what: &'static str) -> Key {
        Key { name: Cow::Borrowed(name), default: Cow::Borrowed(default), kind, what }
    }

    fn of_tool(tool: &Tool, last: &str, default: impl Into<Cow<'static, str>>, kind: Kind, what: &'static str) -> Key {
        Key { name: format!("sources.{}.{last}", tool.name).into(), default: default.into(), kind, what }
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("HUBLESS_{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// What values a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A label: one line, not blank, at most 64 characters.
    Name,
    /// 0 to 65535.
    Port,
    /// true or false.
    Truth,
    /// Texts.
    Texts,
    /// Patterns of `model/leaving.rs`.
    Patterns,
    /// `host:port` each.
    Addresses,
    /// A path; `~/` is home.
    Path,
    /// A path from the root or `~/`, or nothing.
    File,
    /// `TAG=WORD` or `WORD` each, without commas.
    Keywords,
    /// Directories, each as `PATH` or as `LABEL=PATH`; in the file also as tables `{ path, computer }`. Absolute or below
    /// `~/`, so that a label is never taken for a path; without commas, so that they can be listed.
    Directories,
    /// A span of time as `2h` or `1h 30m`, held in milliseconds.
    Span,
    /// Bytes, as a number or as `10 MiB`.
    Size,
    /// 1 to 1000.
    Count,
    /// Bytes a second, as a number or as `2MB/s`; 0: no limit.
    Rate,
    /// Five fields of cron.
    Schedule,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The table.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys = vec![
        Key::new("device.name", "(the host's name)", Kind::Name, "this device's label on all devices"),
        Key::new("http.port", "4825", Kind::Port, "the page and the API on loopback; 0: any free port"),
        Key::new("network.port", "4826", Kind::Port, "where other devices reach this one; 0: any free port"),
        Key::new("network.mdns", "true", Kind::Truth, "find devices on the local network by themselves"),
        Key::new("network.mdns_port", "5353", Kind::Port, "mDNS's port; devices with another one are by themselves"),
        Key::new("network.interfaces", "", Kind::Texts, "bridges or VPNs to use, which are skipped otherwise"),
        Key::new("network.peers", "", Kind::Addresses, "host:port of devices that mDNS cannot show"),
    ];
    keys.extend(TOOLS.iter().flat_map(of_tool));
    keys.extend([
        Key::new("sync.bandwidth", "0", Kind::Rate, "bytes a second to all devices together; 0: no limit"),
        Key::new("sync.exclude", "", Kind::Patterns, "projects, directories and agents that stay on this device"),
        Key::new("agents.stale_after", "5m", Kind::Span, "an agent that is silent for so long, and for twice its interval, is stale"),
        Key::new("alerts.not_seen_after", "2h", Kind::Span, "say so when a device is out of reach for so long"),
        Key::new("tags.keywords", "", Kind::Keywords, "words that tag the todos and sessions that name them: TAG=WORD, or WORD for both"),
        Key::new("files.todos", "", Kind::File, "write all todos there when they change"),
        Key::new("files.coordination", "", Kind::File, "write there, on change, who works on which project and what is left"),
        Key::new("files.conflicts", "", Kind::File, "write the conflicts there when they change"),
        Key::new("files.status", "", Kind::File, "write there, on change, what is known in numbers"),
        Key::new("hooks.session_note", "true", Kind::Truth, "tell a session that begins who else works there"),
        Key::new("log.format", "text", Kind::Word(&["text", "json"]), "how a line of the log looks"),
        Key::new("log.level", "info", Kind::Word(&["error", "warn", "info", "debug", "trace"]), "the least that is logged"),
        Key::new("log.max_size", "10 MiB", Kind::Size, "a log file of that size is followed by a new one"),
        Key::new("log.max_files", "5", Kind::Count, "log files that are kept, the newest included"),
    ]);
    keys
});

/// Further directories of one tool; a root's number is one byte.
const DIRECTORIES_MAX: usize = 64;

/// The settings that every tool has.
fn of_tool(tool: &Tool) -> [Key; 3] {
    let variables = tool.variables.iter().map(|(variable, below)| match *below {
        "" => format!("{variable}, else "),
        below => format!("{variable}/{below}, else "),
    });
    let default = format!("({}~/{})", variables.collect::<String>(), tool.home);
    [
        Key::of_tool(tool, "enabled", "true", Kind::Truth, "whether its files are read"),
        Key::of_tool(tool, "root", default, Kind::Path, "where it keeps its files"),
        Key::of_tool(tool, "roots", "", Kind::Directories, "further such directories, as PATH or COMPUTER=PATH"),
    ]
}

/// The setting with that name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// A value of the kind that its key wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, a path or a word.
    Text(String),
    /// A port, a count, bytes, milliseconds.
    Number(u64),
    /// A span, milliseconds.
    Span(u64),
    /// Yes or no.
    Truth(bool),
    /// Several texts.
    List(Vec<String>),
}

impl Value {
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Value::Number(n) | Value::Span(n) => Some(*n),
            Value::Text(_) | Value::Truth(_) | Value::List(_) => None,
        }
    }

    pub(super) fn list(&self) -> &[String] {
        match self {
            Value::List(list) => list,
            Value::Text(_) | Value::Number(_) | Value::Span(_) | Value::Truth(_) => &[],
        }
    }
}

/// As it can be written into an environment variable.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Number(n) => n.fmt(f),
            Value::Span(ms) => humantime::format_duration(std::time::Duration::from_millis(*ms)).fmt(f),
            Value::Truth(truth) => truth.fmt(f),
            Value::List(list) => f.write_str(&list.join(",")),
        }
    }
}

impl Kind {
    /// What a right value looks like, to end a sentence with.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Kind::Name => "a name of one line, at most 64 characters".to_owned(),
            Kind::Port => "a port, 0 to 65535".to_owned(),
            Kind::Truth => "true or false".to_owned(),
            Kind::Texts => "a list of texts".to_owned(),
            Kind::Patterns => "a list of projects, directories or “agent:NAME”, with “*”, “?” and “[a-z]”".to_owned(),
            Kind::Addresses => "a list of “host:port”".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::File => "a path from the root or “~/”, or “” for none".to_owned(),
            Kind::Keywords => "a list of “TAG=WORD” or “WORD”, each at most 64 characters".to_owned(),
            Kind::Directories => {
                format!("at most {DIRECTORIES_MAX} of “/PATH”, “COMPUTER=/PATH” or {{ path, computer }}, “~/” for home, without commas")
            }
            Kind::Span => "a span of time such as “2h” or “1h 30m”".to_owned(),
            Kind::Size => "a size such as “10 MiB”, or a number of bytes".to_owned(),
            Kind::Count => "a number from 1 to 1000".to_owned(),
            Kind::Rate => format!("0, or a rate such as “2MB/s”, at least {} kB/s", BANDWIDTH_MIN / 1000),
            Kind::Schedule => "five fields of cron: minute hour day month weekday, such as “*/15 * * * *”".to_owned(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Whether it has several values.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Texts | Kind::Patterns | Kind::Addresses | Kind::Directories)
    }

    /// A value of the file, if it is of this kind.
    pub(super) fn read(self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (Kind::Truth, toml::Value::Boolean(truth)) => Some(Value::Truth(*truth)),
            (Kind::Port | Kind::Size | Kind::Count | Kind::Rate, toml::Value::Integer(n)) => self.bounded(u64::try_from(*n).ok()?),
            (Kind::Texts | Kind::Patterns | Kind::Addresses | Kind::Keywords, toml::Value::Array(array)) => {
                let list: Option<Vec<String>> = array.iter().map(|text| text.as_str().map(str::to_owned)).collect();
                self.listed(list?)
            }
            (Kind::Directories, toml::Value::Array(array)) => {
                let list: Option<Vec<String>> = array.iter().map(directory).collect();
                self.listed(list?)
            }
            (
                Kind::Name | Kind::Path | Kind::File | Kind::Span | Kind::Size | Kind::Rate | Kind::Schedule | Kind::Word(_),
                toml::Value::String(text),
            ) => self.parse(text),
            (_, _) => None,
        }
    }

    /// A value of the environment or the command line, if it is of this kind.
    pub(super) fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Kind::Name => is_name(text).then(|| Value::Text(text.to_owned())),
            Kind::Port | Kind::Count => self.bounded(text.parse().ok()?),
            Kind::Truth => match text.to_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(Value::Truth(true)),
                "false" | "no" | "off" | "0" => Some(Value::Truth(false)),
                _ => None,
            },
            Kind::Texts | Kind::Patterns | Kind::Addresses | Kind::Keywords | Kind::Directories => {
                self.listed(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
            }
            Kind::Path => (!text.is_empty() && !text.contains('\0')).then(|| Value::Text(text.to_owned())),
            Kind::File => {
                let is_file = text.is_empty() || text.starts_with('/') || text.starts_with("~/");
                (is_file && !text.contains('\0') && !text.ends_with('/')).then(|| Value::Text(text.to_owned()))
            }
            Kind::Span => {
                let ms = u64::try_from(humantime::parse_duration(text).ok()?.as_millis()).ok()?;
                (ms > 0).then_some(Value::Span(ms))
            }
            Kind::Size => self.bounded(bytes(text)?),
            Kind::Rate => self.bounded(bytes(text.strip_suffix("/s").unwrap_or(text))?),
            Kind::Schedule => text.parse::<Schedule>().is_ok().then(|| Value::Text(text.to_owned())),
            Kind::Word(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        }
    }

    fn bounded(self, n: u64) -> Option<Value> {
        let is_right = match self {
            Kind::Port => n <= u64::from(u16::MAX),
            Kind::Count => (1..=1000).contains(&n),
            Kind::Size => n > 0,
            Kind::Rate => n == 0 || n >= BANDWIDTH_MIN,
            Kind::Name
            | Kind::Truth
            | Kind::Texts
            | Kind::Patterns
            | Kind::Addresses
            | Kind::Path
            | Kind::File
            | Kind::Keywords
            | Kind::Directories
            | Kind::Span
            | Kind::Schedule
            | Kind::Word(_) => false,
        };
        is_right.then_some(Value::Number(n))
    }

    fn listed(self, list: Vec<String>) -> Option<Value> {
        let is_right = match self {
            Kind::Addresses => list.iter().all(|address| is_address(address)),
            Kind::Patterns => Exclude::parse(list.iter().map(String::as_str)).is_ok(),
            Kind::Directories => list.len() <= DIRECTORIES_MAX && list.iter().all(|said| is_directory(said)),
            Kind::Keywords => list.iter().all(|said| keyword(said).is_some()),
            Kind::Name
            | Kind::Port
            | Kind::Truth
            | Kind::Texts
            | Kind::Path
            | Kind::File
            | Kind::Span
            | Kind::Size
            | Kind::Count
            | Kind::Rate
            | Kind::Schedule
            | Kind::Word(_) => true,
        };
        is_right.then_some(Value::List(list))
    }

    /// What stands in the tables of a value of the file and means nothing.
    pub(super) fn unknown(self, value: &toml::Value) -> Vec<&str> {
        let tables = value.as_array().filter(|_| self == Kind::Directories).into_iter().flatten().filter_map(toml::Value::as_table);
        tables.flat_map(toml::Table::keys).map(String::as_str).filter(|name| !matches!(*name, "path" | "computer")).collect()
    }
}

/// A directory of the file, as it is written elsewhere: `PATH` or `LABEL=PATH`.
fn directory(value: &toml::Value) -> Option<String> {
    let Some(table) = value.as_table() else { return value.as_str().map(|text| text.trim().to_owned()) };
    let path = table.get("path")?.as_str()?.trim();
    match table.get("computer") {
        Some(computer) => Some(format!("{}={path}", computer.as_str()?.trim())),
        None => Some(path.to_owned()),
    }
}

/// `LABEL=PATH` or `PATH` → the label, and the path.
pub(super) fn label_and_path(said: &str) -> (Option<&str>, &str) {
    match said.split_once('=') {
        Some((label, path)) if !said.starts_with(['/', '~']) => (Some(label.trim()), path.trim()),
        Some(_) | None => (None, said),
    }
}

/// `TAG=WORD`, or `WORD` for both, in lower case.
pub(super) fn keyword(said: &str) -> Option<(String, String)> {
    let (tag, word) = said.split_once('=').unwrap_or((said, said));
    let whole = |text: &str| Some(text.trim().to_lowercase()).filter(|text| is_name(text) && !text.contains(','));
    Some((whole(tag)?, whole(word)?))
}

fn is_directory(said: &str) -> bool {
    let (label, path) = label_and_path(said);
    let is_path = path.starts_with('/') || path == "~" || path.starts_with("~/");
    is_path && !said.contains(['\0', ',']) && label.is_none_or(|label| is_name(label) && !label.starts_with(['/', '~']))
}

/// One line that a table can show.
pub(super) fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 64 && !text.chars().any(char::is_control)
}

/// `host:port`, `[v6]:port`.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace) && (!host.contains(':') || host.starts_with('['));
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `10 MiB`, `10MB`, `4096`.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[end..].trim().to_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_keys_share_a_name_or_a_variable_and_none_is_the_section_of_another() {
        let names: BTreeSet<&str> = KEYS.iter().map(|key| key.name.as_ref()).collect();
        let variables: BTreeSet<String> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len()));
        assert!(variables.contains("HUBLESS_SOURCES_CLAUDE_ROOT") && !variables.contains("HUBLESS_HOME"));
        for key in KEYS.iter() {
            assert!(!KEYS.iter().any(|other| other.name.starts_with(&format!("{}.", key.name))), "{}", key.name);
        }
    }

    #[test]
    fn every_default_that_stands_in_the_table_is_of_its_kind() {
        for key in KEYS.iter().filter(|key| !key.default.starts_with('(')) {
            assert!(key.kind.parse(&key.default).is_some(), "{}", key.name);
        }
    }

    #[test]
    fn every_tool_has_its_lines_and_its_default_is_said() {
        let default = |name: &str| key(name).map(|key| key.default.as_ref());
        assert!(
            TOOLS
                .iter()
                .all(|tool| ["enabled", "root", "roots"].iter().all(|last| default(&format!("sources.{}.{last}", tool.name)).is_some()))
        );
        assert_eq!(default("sources.claude.root"), Some("(CLAUDE_CONFIG_DIR, else ~/.claude)"));
        assert_eq!(default("sources.opencode.root"), Some("(XDG_DATA_HOME/opencode, else ~/.local/share/opencode)"));
        assert_eq!(default("sources.gemini.root"), Some("(~/.gemini)"));
    }

    #[test]
    fn directories_have_a_path_from_the_root_and_perhaps_a_label() {
        for right in ["/srv/a", "~/a", "~", "mac mini=/srv/a=b", "a = ~/b", "/srv/a=b"] {
            assert!(is_directory(right), "{right}");
        }
        for wrong in ["srv/a", "", "a=", "=/srv", "a=b", "~b", "~a=/b", "/a,/b", "a,b=/c", "/a\0"] {
            assert!(!is_directory(wrong), "{wrong:?}");
        }
        assert_eq!(label_and_path("mac mini=/srv/a=b"), (Some("mac mini"), "/srv/a=b"));
        assert_eq!(label_and_path("/srv/a=b"), (None, "/srv/a=b"));
    }

    #[test]
    fn sizes_are_understood_and_never_run_over() {
        let cases = [("1", Some(1)), ("10 MiB", Some(10 << 20)), ("2kB", Some(2000)), ("3 g", Some(3 << 30)), ("", None), ("MiB", None)];
        for (text, size) in cases {
            assert_eq!(bytes(text), size, "{text}");
        }
        for text in ["18446744073709551616", "18446744073709551615 kB", "-1", "1.5 MiB", "1 parsec"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for right in ["10.0.0.1:4826", "mac-mini.local:1", "[fe80::1%en0]:4826"] {
            assert!(is_address(right), "{right}");
        }
        for wrong in ["10.0.0.1", "host:", ":1", "host:0", "host:65536", "fe80::1:4826", "a b:1", "http://x"] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
