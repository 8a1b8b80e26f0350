//! Facts: the entries of the documents, and their names.
//!
//! A fact's name tells its kind. *Once* facts never change; *latest* facts are written by one device and numbered.

use std::fmt;
use std::str::FromStr;

use super::id::{ActId, Collection, DeviceId, ItemId, NotAName, SessionId};
use super::limits::COUNT_MAX;
use super::todo::Status;

/// The name of a fact within its collection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKey {
    /// `member/<hex>`: a signed membership entry (fleet, once).
    Member([u8; 32]),
    /// `device/<device>`: name, platform, addresses (fleet, latest).
    Device(DeviceId),
    /// `choice/<unique>`: a shared decision (fleet, once).
    Choice(ActId),
    /// `session/<session>` (sessions, latest).
    Session(SessionId),
    /// `end/<session>/<unique>` (sessions, once).
    End(SessionId, ActId),
    /// `tag/<session>/<unique>` (sessions, once).
    Tag(SessionId, ActId),
    /// `beat/<session>/<agent key>` (heartbeats, latest).
    Beat(SessionId, String),
    /// `item/<item>` (todos, once).
    Item(ItemId),
    /// `rank/<item>/<round>/<status>` (todos, once).
    Rank(ItemId, u64, Status),
    /// `act/<unique>` (todos, once).
    Act(ActId),
    /// `seen/<item>` (todos, latest).
    Seen(ItemId),
    /// `<kind>/<rest>` of a kind that this version does not know: kept and handed on, never interpreted. Of a kind whose name
    /// ends in `~` latest, of any other once, so that every version judges its changes alike (docs/decisions/0012).
    Other(String),
}

/// Letters of an unknown kind's name, and of what stands behind it.
const OTHER_LETTERS_MAX: (usize, usize) = (32, 256);

/// Whether a name is one that a later version may give: a kind of `a-z`, digits and `-`, perhaps with `~` behind it, then
/// `/` and more of those, of `.`, `_` and `/`.
fn is_other(kind: &str, rest: &str) -> bool {
    let bare = kind.strip_suffix('~').unwrap_or(kind);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = |text: &str, max: usize| (1..=max).contains(&text.len());
    let begins = bare.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    let of_kind = begins && fits(bare, OTHER_LETTERS_MAX.0) && bare.bytes().all(plain);
    of_kind && fits(rest, OTHER_LETTERS_MAX.1) && rest.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'/'))
}

impl FactKey {
    /// Whether documents of that collection may hold it; anywhere else it is no fact. Where an unknown one belongs is unknown.
    #[must_use]
    pub fn belongs_to(&self, collection: Collection) -> bool {
        match self {
            FactKey::Member(_) | FactKey::Device(_) | FactKey::Choice(_) => collection == Collection::Fleet,
            FactKey::Session(_) | FactKey::End(..) | FactKey::Tag(..) => collection == Collection::Sessions,
            FactKey::Beat(..) => collection == Collection::Heartbeats,
            FactKey::Item(_) | FactKey::Rank(..) | FactKey::Act(_) | FactKey::Seen(_) => collection == Collection::Todos,
            FactKey::Other(_) => true,
        }
    }

    /// Whether it never changes: all values of it count, and the lowest is shown.
    #[must_use]
    pub fn is_once(&self) -> bool {
        match self {
            FactKey::Member(_)
            | FactKey::Choice(_)
            | FactKey::End(..)
            | FactKey::Tag(..)
            | FactKey::Item(_)
            | FactKey::Rank(..)
            | FactKey::Act(_) => true,
            FactKey::Device(_) | FactKey::Session(_) | FactKey::Beat(..) | FactKey::Seen(_) => false,
            FactKey::Other(name) => !name.split('/').next().is_some_and(|kind| kind.ends_with('~')),
        }
    }
}

impl fmt::Display for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FactKey::Member(hash) => write!(f, "member/{}", super::id::base32(hash)),
            FactKey::Device(device) => write!(f, "device/{device}"),
            FactKey::Choice(id) => write!(f, "choice/{id}"),
            FactKey::Session(session) => write!(f, "session/{session}"),
            FactKey::End(session, id) => write!(f, "end/{session}/{id}"),
            FactKey::Tag(session, id) => write!(f, "tag/{session}/{id}"),
            FactKey::Beat(session, agent) => write!(f, "beat/{session}/{agent}"),
            FactKey::Item(item) => write!(f, "item/{item}"),
            FactKey::Rank(item, round, status) => write!(f, "rank/{item}/{round}/{}", status.word()),
            FactKey::Act(id) => write!(f, "act/{id}"),
            FactKey::Seen(item) => write!(f, "seen/{item}"),
            FactKey::Other(name) => f.write_str(name),
        }
    }
}

impl FromStr for FactKey {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<FactKey, NotAName> {
        let (kind, rest) = text.split_once('/').ok_or(NotAName)?;
        let key = match kind {
            "member" => FactKey::Member(super::id::unbase32(rest).ok_or(NotAName)?),
            "device" => FactKey::Device(rest.parse()?),
            "choice" => FactKey::Choice(rest.parse()?),
            "session" => FactKey::Session(rest.parse()?),
            "end" => {
                let (session, id) = rest.split_once('/').ok_or(NotAName)?;
                FactKey::End(session.parse()?, id.parse()?)
            }
            "tag" => {
                let (session, id) = rest.split_once('/').ok_or(NotAName)?;
                FactKey::Tag(session.parse()?, id.parse()?)
            }
            "beat" => {
                let (session, agent) = rest.split_once('/').ok_or(NotAName)?;
                FactKey::Beat(session.parse()?, agent.to_owned())
            }
            "item" => FactKey::Item(rest.parse()?),
            "rank" => {
                let mut parts = rest.splitn(3, '/');
                let mut next = || parts.next().ok_or(NotAName);
                let item = next()?.parse()?;
                let round = next()?.parse().ok().filter(|round| (1..=COUNT_MAX).contains(round)).ok_or(NotAName)?;
                let word = next()?;
                let status = Status::ALL.into_iter().find(|status| status.word() == word).ok_or(NotAName)?;
                FactKey::Rank(item, round, status)
            }
            "act" => FactKey::Act(rest.parse()?),
            "seen" => FactKey::Seen(rest.parse()?),
            _ if is_other(kind, rest) => FactKey::Other(text.to_owned()),
            _ => return Err(NotAName),
        };
        // One name, one spelling: what does not write back as it was read would be a second fact of the same meaning.
        if key.to_string() == text { Ok(key) } else { Err(NotAName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_has_one_spelling() {
        let item = ItemId::of(&[b"x"]);
        let key = FactKey::Rank(item, 3, Status::Completed);
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert!(key.is_once() && !FactKey::Seen(item).is_once());
        for bad in [
            format!("rank/{item}/03/completed"),
            format!("rank/{item}/0/completed"),
            format!("rank/{item}/3/done"),
            format!("item/{}", item.to_string().to_uppercase()),
            "item".into(),
            "item/".into(),
            "X/y".into(),
            "9x/y".into(),
            "~/y".into(),
            "x~~/y".into(),
            "x/".into(),
            "x/Y".into(),
            "x/\u{1b}".into(),
            format!("{}/y", "x".repeat(33)),
            format!("x/{}", "y".repeat(257)),
        ] {
            assert!(bad.parse::<FactKey>().is_err(), "{bad}");
        }
        let claim = FactKey::Other("claim~/t-7f3a/2".to_owned());
        assert_eq!("claim~/t-7f3a/2".parse(), Ok(claim.clone()));
        assert!(!claim.is_once() && FactKey::Other("vote/a/b".to_owned()).is_once());
        let beat = FactKey::Beat(SessionId::of(&[b"s"]), "a/b".into());
        assert_eq!(beat.to_string().parse(), Ok(beat));
    }
}
