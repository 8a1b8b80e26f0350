//! The table of all settings, and the kinds of values they have. Whoever adds a setting adds a line here; the file, the
//! environment, the command line, `config show` and the documentation all follow the table.

use std::fmt;

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, with dots.
    pub name: &'static str,
    /// Its default, as it could be written; in brackets when it is found out at the start.
    pub default: &'static str,
    /// What values it has.
    pub kind: Kind,
    /// What it does.
    pub what: &'static str,
}

impl Key {
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
    /// `host:port` each.
    Addresses,
    /// A path; `~/` is home.
    Path,
    /// A span of time as `2h` or `1h 30m`, held in milliseconds.
    Span,
    /// Bytes, as a number or as `10 MiB`.
    Size,
    /// 1 to 1000.
    Count,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The table.
pub const KEYS: [Key; 14] = [
    Key { name: "device.name", default: "(the host's name)", kind: Kind::Name, what: "this device's label on all devices" },
    Key { name: "http.port", default: "4825", kind: Kind::Port, what: "the page and the API on loopback; 0: any free port" },
    Key { name: "network.port", default: "4826", kind: Kind::Port, what: "where other devices reach this one; 0: any free port" },
    Key { name: "network.mdns", default: "true", kind: Kind::Truth, what: "find devices on the local network by themselves" },
    Key { name: "network.mdns_port", default: "5353", kind: Kind::Port, what: "mDNS's port; devices with another one are by themselves" },
    Key { name: "network.interfaces", default: "", kind: Kind::Texts, what: "bridges or VPNs to use, which are skipped otherwise" },
    Key { name: "network.peers", default: "", kind: Kind::Addresses, what: "host:port of devices that mDNS cannot show" },
    Key {
        name: "sources.claude.root",
        default: "(CLAUDE_CONFIG_DIR, else ~/.claude)",
        kind: Kind::Path,
        what: "where Claude Code keeps its files",
    },
    Key { name: "alerts.not_seen_after", default: "2h", kind: Kind::Span, what: "say so when a device is out of reach for so long" },
    Key { name: "hooks.session_note", default: "true", kind: Kind::Truth, what: "tell a session that begins who else works there" },
    Key { name: "log.format", default: "text", kind: Kind::Word(&["text", "json"]), what: "how a line of the log looks" },
    Key {
        name: "log.level",
        default: "info",
        kind: Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        what: "the least that is logged",
    },
    Key { name: "log.max_size", default: "10 MiB", kind: Kind::Size, what: "a log file of that size is followed by a new one" },
    Key { name: "log.max_files", default: "5", kind: Kind::Count, what: "log files that are kept, the newest included" },
];

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
            Kind::Addresses => "a list of “host:port”".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Span => "a span of time such as “2h” or “1h 30m”".to_owned(),
            Kind::Size => "a size such as “10 MiB”, or a number of bytes".to_owned(),
            Kind::Count => "a number from 1 to 1000".to_owned(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// A value of the file, if it is of this kind.
    pub(super) fn read(self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (Kind::Truth, toml::Value::Boolean(truth)) => Some(Value::Truth(*truth)),
            (Kind::Port | Kind::Size | Kind::Count, toml::Value::Integer(n)) => self.bounded(u64::try_from(*n).ok()?),
            (Kind::Texts | Kind::Addresses, toml::Value::Array(array)) => {
                let list: Option<Vec<String>> = array.iter().map(|text| text.as_str().map(str::to_owned)).collect();
                self.listed(list?)
            }
            (Kind::Name | Kind::Path | Kind::Span | Kind::Size | Kind::Word(_), toml::Value::String(text)) => self.parse(text),
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
            Kind::Texts | Kind::Addresses => {
                self.listed(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
            }
            Kind::Path => (!text.is_empty() && !text.contains('\0')).then(|| Value::Text(text.to_owned())),
            Kind::Span => {
                let ms = u64::try_from(humantime::parse_duration(text).ok()?.as_millis()).ok()?;
                (ms > 0).then_some(Value::Span(ms))
            }
            Kind::Size => self.bounded(bytes(text)?),
            Kind::Word(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        }
    }

    fn bounded(self, n: u64) -> Option<Value> {
        let is_right = match self {
            Kind::Port => n <= u64::from(u16::MAX),
            Kind::Count => (1..=1000).contains(&n),
            Kind::Size => n > 0,
            Kind::Name | Kind::Truth | Kind::Texts | Kind::Addresses | Kind::Path | Kind::Span | Kind::Word(_) => false,
        };
        is_right.then_some(Value::Number(n))
    }

    fn listed(self, list: Vec<String>) -> Option<Value> {
        let is_right = self != Kind::Addresses || list.iter().all(|address| is_address(address));
        is_right.then_some(Value::List(list))
    }
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
        let names: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
        let variables: BTreeSet<String> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len()));
        assert!(variables.contains("HUBLESS_SOURCES_CLAUDE_ROOT") && !variables.contains("HUBLESS_HOME"));
        for key in &KEYS {
            assert!(!KEYS.iter().any(|other| other.name.starts_with(&format!("{}.", key.name))), "{}", key.name);
        }
    }

    #[test]
    fn every_default_that_stands_in_the_table_is_of_its_kind() {
        for key in KEYS.iter().filter(|key| !key.default.starts_with('(')) {
            assert!(key.kind.parse(key.default).is_some(), "{}", key.name);
        }
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
