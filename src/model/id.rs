//! Names that never change: devices, sessions, todos, items, documents, links.
//!
//! A device is its installation's first public key. Everything else is a hash of what it is, cut to 128 bits and shown as
//! lower-case Crockford base32 with a letter in front (`t-7f3a…`), so that any unique prefix can be typed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Crockford's alphabet in lower case: no `i`, `l`, `o`, `u`, so that a typed id is never misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What stands in [`VALUES`] where no letter of the alphabet does.
const NO_LETTER: u8 = u8::MAX;

/// The value of each byte as a letter: either case, `o` as `0`, `i` and `l` as `1`. Every fact's name is read with it.
const VALUES: [u8; 256] = {
    let mut values = [NO_LETTER; 256];
    let mut n = 0;
    while n < 32 {
        let letter = ALPHABET[n as usize];
        values[letter as usize] = n;
        values[letter.to_ascii_uppercase() as usize] = n;
        n += 1;
    }
    (values[b'o' as usize], values[b'O' as usize]) = (0, 0);
    (values[b'i' as usize], values[b'I' as usize], values[b'l' as usize], values[b'L' as usize]) = (1, 1, 1, 1);
    values
};

/// Writes bytes as Crockford base32, most significant bits first, without padding.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut acc, mut bits) = (0u32, 0u32);
    for &byte in bytes {
        acc = (acc << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(acc >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(acc << (5 - bits)) as usize & 31]));
    }
    out
}

/// Reads Crockford base32 of exactly `N` bytes; case and `-` are ignored, `o` is `0`, `i` and `l` are `1`.
#[must_use]
pub fn unbase32<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0u8; N];
    let (mut acc, mut bits, mut at) = (0u32, 0u32, 0usize);
    for letter in text.bytes().filter(|b| *b != b'-') {
        let value = VALUES[usize::from(letter)];
        if value == NO_LETTER {
            return None;
        }
        acc = (acc << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *out.get_mut(at)? = (acc >> bits) as u8;
            acc &= (1 << bits) - 1;
            at += 1;
        }
    }
    (at == N && bits < 5 && acc == 0).then_some(out)
}

/// A 128-bit name of one kind; `KIND` is the letter shown in front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<const KIND: char>(pub [u8; 16]);

/// One run of an agent: blake3(device, tool, the tool's own session id).
pub type SessionId = Id<'s'>;
/// A group of items with the same text in one project: blake3(project, normalised text).
pub type TodoId = Id<'t'>;
/// One line of one list: blake3(list, the tool's own id or the normalised text).
pub type ItemId = Id<'i'>;
/// One action, claim, end or choice; unique.
pub type ActId = Id<'a'>;
/// What was asked under an `Idempotency-Key`: blake3(the key, the question).
pub type AskId = Id<'q'>;
/// One conflict: blake3(item or action, round, field); equal on every device.
pub type ConflictId = Id<'c'>;

impl<const KIND: char> Id<KIND> {
    /// The name of what `parts` say; each part is hashed with its length, so that parts cannot run into each other.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Id<KIND> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(KIND.to_string().as_bytes());
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut out = [0; 16];
        out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Id(out)
    }

    /// The first `letters` of the name, with its kind in front: `t-7f3a`.
    #[must_use]
    pub fn short(&self, letters: usize) -> String {
        let whole = base32(&self.0);
        format!("{KIND}-{}", &whole[..letters.min(whole.len())])
    }

    /// Whether `typed` (with or without the kind in front, any case) begins this name; at least one letter.
    #[must_use]
    pub fn begins_with(&self, typed: &str) -> bool {
        let typed = typed.to_ascii_lowercase();
        let front = format!("{KIND}-");
        let typed = typed.strip_prefix(&front).unwrap_or(&typed);
        !typed.is_empty() && base32(&self.0).starts_with(typed)
    }
}

impl<const KIND: char> fmt::Display for Id<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}-{}", base32(&self.0))
    }
}

impl<const KIND: char> fmt::Debug for Id<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short(6))
    }
}

/// What a text is not, when it names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name of this kind")]
pub struct NotAName;

impl<const KIND: char> FromStr for Id<KIND> {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let front = format!("{KIND}-");
        let rest = text.strip_prefix(&front).ok_or(NotAName)?;
        unbase32(rest).map(Id).ok_or(NotAName)
    }
}

impl<const KIND: char> Serialize for Id<KIND> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de, const KIND: char> Deserialize<'de> for Id<KIND> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One installation: the 32 bytes of its first ed25519 public key. Its name is only a label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub [u8; 32]);

impl DeviceId {
    /// What a person sees: `7Q2M-KX4D`.
    #[must_use]
    pub fn short(&self) -> String {
        let whole = base32(&self.0).to_ascii_uppercase();
        format!("{}-{}", &whole[..4], &whole[4..8])
    }

    /// Whether `typed` (dashes and case ignored) begins this id; at least one letter.
    #[must_use]
    pub fn begins_with(&self, typed: &str) -> bool {
        let typed: String = typed.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        !typed.is_empty() && base32(&self.0).starts_with(&typed)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32(&self.0))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for DeviceId {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        unbase32(text).map(DeviceId).ok_or(NotAName)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The hash of a fleet's genesis entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FleetId(pub [u8; 32]);

/// One connection to another device; numbered by the network, never reused within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who waits for an answer; numbered by the door that took the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker(pub u64);

/// One opening of one store. The counter is raised on disk at every open; the nonce tells two clones of one disk apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// How often this store was opened.
    pub counter: u64,
    /// Drawn at random at this open.
    pub nonce: u64,
}

/// The four kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// Members, devices and shared choices.
    Fleet,
    /// Runs of agents.
    Sessions,
    /// Transitions of agents.
    Heartbeats,
    /// Items, what was done to them, and what lists said.
    Todos,
}

impl Collection {
    /// The first part of its documents' names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Collection::Fleet => "fleet",
            Collection::Sessions => "sessions",
            Collection::Heartbeats => "heartbeats",
            Collection::Todos => "todos",
        }
    }
}

/// The checked name of a document: `todos/2026-11`, `heartbeats/<device>/3`, `local/sessions/2026-11.2`.
///
/// A name has at most 128 bytes of `a-z 0-9 . - /`, no empty part and none that begins with a dot, so it is safe as a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DocId(String);

impl DocId {
    /// The name, if it is one; anything else, a peer's `../x` among them, is `None`.
    #[must_use]
    pub fn parse(name: &str) -> Option<DocId> {
        let fine = |part: &str| {
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
        };
        if name.len() > 128 || !name.split('/').all(fine) {
            return None;
        }
        let id = DocId(name.to_owned());
        let shape: Vec<&str> = id.shared_name().split('/').collect();
        let right = match shape.as_slice() {
            ["fleet"] => true,
            ["sessions" | "todos", _shard] => true,
            ["heartbeats", device, n] => {
                device.parse::<DeviceId>().is_ok() && n.parse::<u64>().is_ok_and(|n| n <= super::limits::COUNT_MAX)
            }
            _ => false,
        };
        right.then_some(id)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stays on this device: shown here, never told.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.starts_with("local/")
    }

    fn shared_name(&self) -> &str {
        self.0.strip_prefix("local/").unwrap_or(&self.0)
    }

    /// The name without its number: what all shards of one name share.
    #[must_use]
    pub fn base(&self) -> &str {
        match self.collection() {
            Collection::Fleet => &self.0,
            Collection::Heartbeats => self.0.rsplit_once('/').map_or(self.0.as_str(), |(base, _)| base),
            Collection::Sessions | Collection::Todos => self.0.split('.').next().unwrap_or(&self.0),
        }
    }

    /// Whose heartbeats it holds, as written in its name.
    #[must_use]
    pub fn beats_of(&self) -> Option<&str> {
        self.shared_name().strip_prefix("heartbeats/")?.split('/').next()
    }

    /// Which collection it is a shard of.
    #[must_use]
    pub fn collection(&self) -> Collection {
        match self.shared_name().split('/').next() {
            Some("sessions") => Collection::Sessions,
            Some("heartbeats") => Collection::Heartbeats,
            Some("todos") => Collection::Todos,
            _ => Collection::Fleet,
        }
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DocId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        DocId::parse(&String::deserialize(d)?).ok_or_else(|| serde::de::Error::custom("not the name of a document"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_wrote() {
        let id = TodoId::of(&[b"project", b"text"]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.begins_with(&id.short(4)) && id.begins_with(&id.to_string().to_uppercase()));
        assert!(!id.begins_with("t-"));
        assert!(id.to_string().parse::<SessionId>().is_err());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(TodoId::of(&[b"ab", b"c"]), TodoId::of(&[b"a", b"bc"]));
    }

    #[test]
    fn a_device_reads_back_in_any_spelling() {
        let device = DeviceId([7; 32]);
        assert_eq!(device.to_string().to_uppercase().parse(), Ok(device));
        assert!(device.begins_with(&device.short()));
        assert!("zz".parse::<DeviceId>().is_err());
    }

    #[test]
    fn a_document_name_is_never_a_way_out() {
        for bad in ["", "todos", "todos/", "todos/../x", "/todos/x", "fleet/x", "todos/.x", "todos/A", "heartbeats/x/1", "local/", "x/y"] {
            assert_eq!(DocId::parse(bad), None, "{bad}");
        }
        let local = DocId::parse("local/todos/2026-11.2").expect("a good name");
        assert!(local.is_local() && local.collection() == Collection::Todos);
    }
}
