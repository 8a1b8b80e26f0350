//! Names, paths and texts of people and agents, replaced by stand-ins such as `<device-1>`: the same for the same, so that a report of
//! a bug can be followed and tells nothing.
//!
//! The invariant: what was learned is never shown, and what only looks like a path, an address, an id, a mail address, a host or a quoted
//! text is not shown either. It errs on the side of showing too little.

use std::collections::BTreeMap;

use serde_json::Value;

/// Words of our own that stay, also where an agent or a project is called so.
const OURS: &[&str] = &[
    "claude",
    "codex",
    "pi",
    "openclaw",
    "gemini",
    "opencode",
    "pending",
    "in_progress",
    "completed",
    "cancelled",
    "working",
    "idle",
    "waiting",
    "done",
    "failed",
    "stale",
    "unknown",
    "late",
    "present",
    "gone",
    "daemon",
    "disk",
    "hook",
    "cli",
    "transcript",
    "process",
    "linux",
    "macos",
    "active",
    "error",
    "ok",
    "ended",
    "user",
    "assistant",
    "true",
    "false",
    "claude-todos",
    "claude-tasks",
    "claude-projects",
    "claude-sessions",
    "watcher",
    "listing",
    "hooks",
    "none",
];
/// Letters and digits from which on a word with a digit in it is an id.
const ID_LETTERS: usize = 12;

/// What stands for what.
#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    /// By its first word in lower case: each text (lower case too, the longest first) with its stand-in.
    known: BTreeMap<String, Vec<(String, String)>>,
    /// The stand-in of everything that was seen, by kind and text.
    given: BTreeMap<(&'static str, String), String>,
    counts: BTreeMap<&'static str, u32>,
}

impl Placeholders {
    /// The stand-in of a text of that kind.
    pub(crate) fn of(&mut self, kind: &'static str, text: &str) -> String {
        let key = (kind, text.to_lowercase());
        if let Some(given) = self.given.get(&key) {
            return given.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let given = format!("<{kind}-{count}>");
        self.given.insert(key, given.clone());
        given
    }

    /// From now on this text is never shown.
    pub(crate) fn learn(&mut self, kind: &'static str, text: &str) {
        let text = text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let first = word(&text);
        if first.is_empty() || OURS.contains(&text.as_str()) || is_moment(&text) || is_number(&text) {
            return;
        }
        let stand_in = self.of(kind, &text);
        let same = self.known.entry(first.to_owned()).or_default();
        if same.iter().all(|(known, _)| *known != text) {
            same.push((text, stand_in));
            same.sort_by_key(|(known, _)| std::cmp::Reverse(known.len()));
        }
    }

    /// Learns every text in an answer; its kind is that of its key.
    pub(crate) fn learn_all(&mut self, key: &str, value: &Value) {
        match value {
            Value::String(text) => self.learn(kind_of(key), text),
            Value::Array(list) => list.iter().for_each(|one| self.learn_all(key, one)),
            Value::Object(map) => map.iter().for_each(|(key, one)| self.learn_all(key, one)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The same with stand-ins.
    pub(crate) fn cover(&mut self, text: &str) -> String {
        let (mut out, mut at, mut before) = (String::with_capacity(text.len()), 0, None::<char>);
        while let Some(next) = text[at..].chars().next() {
            let begins = before.is_none_or(|before| !before.is_alphanumeric());
            match if begins { self.covered(&text[at..]) } else { None } {
                Some((length, stand_in)) => {
                    out.push_str(&stand_in);
                    before = text[at..at + length].chars().next_back();
                    at += length;
                }
                None => {
                    out.push(next);
                    before = Some(next);
                    at += next.len_utf8();
                }
            }
        }
        out
    }

    /// As [`Placeholders::cover`], for every text in it but those under the keys in `open`.
    pub(crate) fn cover_all(&mut self, value: &mut Value, open: &[&str]) {
        match value {
            Value::String(text) => *text = self.cover(text),
            Value::Array(list) => list.iter_mut().for_each(|one| self.cover_all(one, open)),
            Value::Object(map) => {
                map.iter_mut().filter(|(key, _)| !open.contains(&key.as_str())).for_each(|(_, one)| self.cover_all(one, open));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A name of a file: its parts stay where they are words of ours, numbers or dates.
    pub(crate) fn cover_name(&mut self, name: &str, ours: &[&str]) -> String {
        let part = |part: &str, all: &mut Placeholders| {
            let fine = part.is_empty() || ours.contains(&part) || part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            if fine { part.to_owned() } else { all.of("name", part) }
        };
        let folder = |folder: &str, all: &mut Placeholders| folder.split('.').map(|piece| part(piece, all)).collect::<Vec<_>>().join(".");
        name.split('/').map(|piece| folder(piece, self)).collect::<Vec<_>>().join("/")
    }

    /// What begins here and may not be shown: its bytes, and what stands for it.
    fn covered(&mut self, rest: &str) -> Option<(usize, String)> {
        if let Some(found) = self.known_here(rest) {
            return Some(found);
        }
        let first = rest.chars().next()?;
        if first == '"' || first == '“' {
            let end = quote_end(rest, first)?;
            let inner = &rest[first.len_utf8()..end];
            if inner.is_empty() || is_number(inner) || OURS.contains(&inner) {
                return None;
            }
            let known = self.known_here(inner).filter(|(length, _)| *length == inner.len()).map(|(_, stand_in)| stand_in);
            let stand_in = known.unwrap_or_else(|| self.of("text", inner));
            let close = if first == '"' { '"' } else { '”' };
            return Some((end + close.len_utf8(), format!("{first}{stand_in}{close}")));
        }
        if (first == '/' || rest.starts_with("~/")) && rest[first.len_utf8()..].starts_with(|c: char| !c.is_whitespace()) {
            let path = path_here(rest);
            // One that was learned may go on where a path would seem to end; one that goes on behind what was learned is another.
            if let Some((length, stand_in)) = self.known_here(&rest[first.len_utf8()..]).filter(|(length, _)| *length + 1 >= path.len()) {
                return Some((first.len_utf8() + length, stand_in));
            }
            return Some((path.len(), self.of("path", path)));
        }
        let token = token_here(rest);
        if is_moment(token) {
            return Some((token.len(), token.to_owned()));
        }
        let kind = kind_of_token(token)?;
        Some((token.len(), self.of(kind, token)))
    }

    fn known_here(&self, rest: &str) -> Option<(usize, String)> {
        let first = word(rest);
        let found = self.known.get(&first.to_lowercase())?;
        found.iter().find_map(|(text, stand_in)| {
            let end = begins_with(rest, text)?;
            let is_whole = rest[end..].chars().next().is_none_or(|next| !next.is_alphanumeric());
            is_whole.then(|| (end, stand_in.clone()))
        })
    }
}

/// The bytes of `rest` that are `lower` in whatever case.
fn begins_with(rest: &str, lower: &str) -> Option<usize> {
    let mut wanted = lower.chars();
    let mut next = wanted.next();
    for (at, letter) in rest.char_indices() {
        if next.is_none() {
            return Some(at);
        }
        for small in letter.to_lowercase() {
            if next != Some(small) {
                return None;
            }
            next = wanted.next();
        }
    }
    next.is_none().then_some(rest.len())
}

fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len())]
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-')
}

/// `2026-03-02T14:02:11Z`
fn is_moment(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 16
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10].eq_ignore_ascii_case(&b't')
        && bytes.iter().all(|byte| byte.is_ascii_digit() || b"-:.+TtZz".contains(byte))
}

/// The byte at which a quoted text ends.
fn quote_end(rest: &str, open: char) -> Option<usize> {
    let close = if open == '"' { '"' } else { '”' };
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' if open == '"' => escaped = true,
            _ if letter == close => return Some(at),
            _ => {}
        }
    }
    // One that never ends holds everything up to the end.
    Some(rest.len().saturating_sub(close.len_utf8()))
        .filter(|end| *end > open.len_utf8() && rest.is_char_boundary(*end) && rest.ends_with(close))
}

/// A path, with the parts of it that have spaces in them.
fn path_here(rest: &str) -> &str {
    let ends = |c: char| c.is_whitespace() || "\"'<>()[]{},;”".contains(c);
    let mut end = rest.find(ends).unwrap_or(rest.len());
    // `/a/my work/b`: a word behind a space that has a slash within it belongs to it.
    while rest[end..].starts_with(' ') {
        let next = &rest[end + 1..];
        let length = next.find(ends).unwrap_or(next.len());
        if !next[..length].contains('/') || next.starts_with(['/', '~']) {
            break;
        }
        end += 1 + length;
    }
    rest[..end].trim_end_matches([':', '.'])
}

fn token_here(rest: &str) -> &str {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || "._-:@+%/*~".contains(c))).unwrap_or(rest.len());
    rest[..end].trim_end_matches([':', '.', '-', '/'])
}

/// What a word looks like, where it may say whose it is.
fn kind_of_token(token: &str) -> Option<&'static str> {
    let has = |what: fn(&char) -> bool| token.chars().any(|c| what(&c));
    let (letters, digits) = (has(|c| c.is_alphabetic()), has(|c| c.is_ascii_digit()));
    if token.contains("::") && token.chars().all(|c| c.is_ascii_lowercase() || c == ':' || c == '_') {
        return None;
    }
    if token.contains('@') {
        return Some("mail");
    }
    if token.contains('/') && letters {
        return Some("path");
    }
    let host = token.rsplit_once(':').filter(|(_, port)| is_number(port)).map_or(token, |(host, _)| host);
    let dots = host.split('.').collect::<Vec<_>>();
    let is_v4 = dots.len() == 4 && dots.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_v4 {
        return (!host.starts_with("127.") && host != "0.0.0.0").then_some("address");
    }
    if token.matches(':').count() >= 2 && token.chars().all(|c| c.is_ascii_hexdigit() || c == ':') && (letters || token.contains("::")) {
        return Some("address");
    }
    if host.len() < token.len() && letters {
        return Some("address");
    }
    if dots.len() > 1
        && letters
        && !matches!(token, "hubless.log" | "up.err" | "config.toml" | "http.json" | "ctl.sock" | "hubless.service")
    {
        return Some("host");
    }
    let plain: Vec<char> = token.chars().filter(|c| *c != '-').collect();
    let is_short = token.len() == 9 && token.as_bytes()[4] == b'-' && plain.iter().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    (is_short || letters && digits && plain.len() >= ID_LETTERS).then_some("id")
}

fn kind_of(key: &str) -> &'static str {
    match key {
        "name" | "deviceName" | "device" | "devices" | "shortId" | "deviceId" => "device",
        "agent" | "agents" | "owner" => "agent",
        "project" | "projects" | "project_name" => "project",
        "cwd" | "base" | "file" | "path" => "path",
        "address" | "addresses" => "address",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Placeholders {
        let mut all = Placeholders::default();
        all.learn("device", "anna's mac");
        all.learn("agent", "Sam");
        all.learn("agent", "working");
        all.learn("path", "/home/lena/my work/api");
        all
    }

    #[test]
    fn what_was_learned_is_never_shown_in_whatever_case_and_stays_the_same() {
        let mut all = known();
        assert_eq!(
            all.cover("ANNA'S MAC not seen, sam idle; SAM working; same"),
            "<device-1> not seen, <agent-1> idle; <agent-1> working; same"
        );
        assert_eq!(all.cover("device=\"anna's mac\" agent=sam"), "device=\"<device-1>\" agent=<agent-1>");
        assert_eq!(all.cover("in /home/lena/my work/api now"), "in <path-1> now");
    }

    #[test]
    fn what_looks_like_somebodys_is_not_shown_either() {
        let mut all = Placeholders::default();
        for (text, shown) in [
            ("/home/x/.claude/todos ✓ 3s", "<path-1> ✓ 3s"),
            ("/home/x/.claude/todos has mode 0755", "<path-1> has mode 0755"),
            ("~/a b/c: gone", "<path-2>: gone"),
            ("no device called “mac min”", "no device called “<text-1>”"),
            ("why=\"a \\\" b\" n=3", "why=\"<text-2>\" n=3"),
            ("dial 192.168.1.20:4826 and 127.0.0.1:4825", "dial <address-1> and 127.0.0.1:4825"),
            ("fe80::1c2d:3e4f:1:2", "<address-2>"),
            ("the peer desk.example:4826 cannot", "the peer <address-3> cannot"),
            ("git github.com/acme/api", "git <path-3>"),
            ("lena@example.org", "<mail-1>"),
            ("12D3KooWabcdef9 7Q2M-KX4D", "<id-1> <id-2>"),
            ("2026-11-21T18:27:22.123Z WARN hubless::network: mDNS: no", "2026-11-21T18:27:22.123Z WARN hubless::network: mDNS: no"),
            ("2026-11-21Tsecret-name", "<id-3>"),
            ("found 3 active sessions, format 1, 0.1.0", "found 3 active sessions, format 1, 0.1.0"),
        ] {
            assert_eq!(all.cover(text), shown);
        }
        assert_eq!(all.cover_name("local/todos/2026-11.2.1", &["local", "todos"]), "local/todos/2026-11.2.1");
        assert_eq!(all.cover_name("todos/secret.1", &["local", "todos"]), "todos/<name-1>.1");
    }

    #[test]
    fn nothing_of_any_text_makes_it_fail() {
        fn law(learned: Vec<String>, text: String) -> bool {
            let mut all = Placeholders::default();
            learned.iter().for_each(|one| all.learn("text", one));
            let _ = all.cover(&text);
            learned.iter().all(|one| all.cover(one).len() <= one.len() + 64 * (one.len() + 1))
        }
        quickcheck::quickcheck(law as fn(Vec<String>, String) -> bool);
        let mut all = known();
        for odd in ["\"", "“", "\"\\", "/", "~/", "“x", "İstanbul", "ß", "…", "\"ü"] {
            let _ = all.cover(odd);
        }
    }
}
