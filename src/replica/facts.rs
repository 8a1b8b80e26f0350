//! All facts of all documents, joined: the order in which they came never shows.
//!
//! *Once* facts never change; where several values meet, all are kept and the lowest comes first. Of a *latest* fact the
//! highest (rev, bytes) counts, and of beats that of each device. The join is commutative, associative and idempotent,
//! whichever shards the values stand in. A value that does not read as its noun takes no other one's place.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::fact::FactKey;
use crate::model::id::DeviceId;
use crate::model::limits::{COUNT_MAX, FACT_BYTES_MAX};
use crate::model::todo::TodoFact;

use super::saved::{self, Noun};

/// The joined values of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// Every value that was ever written, lowest first.
    Once(BTreeSet<String>),
    /// The highest (rev, bytes).
    Latest(u64, String),
    /// The highest (rev, bytes) of each device: nobody's beat hides another's, whatever session it names.
    Each(BTreeMap<DeviceId, (u64, String)>),
}

impl Joined {
    /// The value that is shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        match self {
            Joined::Once(values) => values.first().map_or("", String::as_str),
            Joined::Latest(_, value) => value,
            Joined::Each(values) => values.values().max().map_or("", |(_, value)| value),
        }
    }

    /// The value that counts of what this device writes.
    #[must_use]
    pub fn of(&self, device: &DeviceId) -> Option<&str> {
        match self {
            Joined::Once(_) | Joined::Latest(..) => Some(self.shown()),
            Joined::Each(values) => values.get(device).map(|(_, value)| value.as_str()),
        }
    }

    /// All values that count.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let (many, one, each) = match self {
            Joined::Once(values) => (Some(values), None, None),
            Joined::Latest(_, value) => (None, Some(value), None),
            Joined::Each(values) => (None, None, Some(values.values().map(|(_, value)| value))),
        };
        many.into_iter().flatten().chain(one).chain(each.into_iter().flatten()).map(String::as_str)
    }

    /// The revision of a latest fact, 0 of a once fact.
    #[must_use]
    pub fn rev(&self) -> u64 {
        match self {
            Joined::Once(_) => 0,
            Joined::Latest(rev, _) => *rev,
            Joined::Each(values) => values.values().map(|(rev, _)| *rev).max().unwrap_or(0),
        }
    }
}

/// The revision of a latest fact's value, if it is one: it reads as what its name says, and its revision can be. Of a later
/// kind only the revision is known. Beats have that of their device.
#[must_use]
pub fn rev_of(key: &FactKey, value: &str) -> Option<(u64, Option<DeviceId>)> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        rev: u64,
    }
    let (rev, device) = match (key, saved::read(key, value)) {
        (FactKey::Other(_), _) => (serde_json::from_str::<Numbered>(value).ok()?.rev, None),
        (_, Some(Noun::Device(_, fact))) => (fact.rev, None),
        (_, Some(Noun::Session(_, fact))) => (fact.rev, None),
        (_, Some(Noun::Beat(beat))) => (beat.rev, Some(beat.device)),
        (_, Some(Noun::Todo(TodoFact::Seen(_, seen)))) => (seen.rev, None),
        (_, Some(Noun::Member(_) | Noun::Choice(..) | Noun::End(..) | Noun::Tag(..) | Noun::Todo(_)) | None) => return None,
    };
    (rev <= COUNT_MAX).then_some((rev, device))
}

/// Facts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    map: BTreeMap<FactKey, Joined>,
    /// How many are of kinds that are not known.
    unknown: usize,
}

impl Facts {
    /// Joins one value in. `true`: the joined value is another one now. What is no fact changes nothing.
    pub fn join(&mut self, key: &FactKey, value: &str) -> bool {
        if value.len() > FACT_BYTES_MAX {
            return false;
        }
        let before = self.map.len();
        let changed = self.join_value(key, value);
        if matches!(key, FactKey::Other(_)) {
            self.unknown += self.map.len() - before;
        }
        changed
    }

    fn join_value(&mut self, key: &FactKey, value: &str) -> bool {
        if key.is_once() {
            let entry = self.map.entry(key.clone()).or_insert_with(|| Joined::Once(BTreeSet::new()));
            return match entry {
                Joined::Once(values) => values.insert(value.to_owned()),
                Joined::Latest(..) | Joined::Each(_) => false,
            };
        }
        let Some((rev, device)) = rev_of(key, value) else { return false };
        match (self.map.get_mut(key), device) {
            (Some(Joined::Latest(held, bytes)), _) if (*held, bytes.as_str()) >= (rev, value) => return false,
            (Some(Joined::Each(each)), Some(device)) => {
                if each.get(&device).is_some_and(|(held, bytes)| (*held, bytes.as_str()) >= (rev, value)) {
                    return false;
                }
                each.insert(device, (rev, value.to_owned()));
            }
            (_, Some(device)) => drop(self.map.insert(key.clone(), Joined::Each(BTreeMap::from([(device, (rev, value.to_owned()))])))),
            (_, None) => drop(self.map.insert(key.clone(), Joined::Latest(rev, value.to_owned()))),
        }
        true
    }

    /// Forgets a beat of one device, because the last document that held it is gone.
    pub fn forget(&mut self, key: &FactKey, device: Option<&DeviceId>) {
        if let (Some(Joined::Each(each)), Some(device)) = (self.map.get_mut(key), device) {
            each.remove(device);
            if !each.is_empty() {
                return;
            }
        }
        if self.map.remove(key).is_some() && matches!(key, FactKey::Other(_)) {
            self.unknown -= 1;
        }
    }

    /// The revision that counts of what this device writes, 0 when there is none.
    #[must_use]
    pub fn rev(&self, key: &FactKey, device: &DeviceId) -> u64 {
        match self.map.get(key) {
            Some(Joined::Each(each)) => each.get(device).map_or(0, |(rev, _)| *rev),
            Some(joined) => joined.rev(),
            None => 0,
        }
    }

    /// How many are of kinds that this version does not know.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    /// The joined values of one fact.
    #[must_use]
    pub fn get(&self, key: &FactKey) -> Option<&Joined> {
        self.map.get(key)
    }

    /// All facts, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&FactKey, &Joined)> {
        self.map.iter()
    }

    /// One line for each value, in order: equal facts give equal bytes on every device (T1).
    #[must_use]
    pub fn export(&self) -> String {
        let mut out = String::new();
        for (key, joined) in &self.map {
            for value in joined.values() {
                out.push_str(&format!("{key} {value}\n"));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ItemId, SessionId};
    use quickcheck::quickcheck;

    fn key(n: u8) -> FactKey {
        let of = [n % 3];
        match n % 3 {
            0 => FactKey::Item(ItemId::of(&[&of])),
            1 => FactKey::Other(format!("x~/{}", n % 9)),
            _ => FactKey::Beat(SessionId::of(&[b"s"]), "sam".into()),
        }
    }

    /// A value, some of them of a shape that this version does not read.
    fn value(k: u8, rev: u8, text: u8) -> String {
        let session = SessionId::of(&[b"s"]);
        let device = DeviceId([text % 2; 32]);
        match k % 3 {
            2 if !text.is_multiple_of(5) => format!(
                r#"{{"rev":{rev},"device":"{device}","agent":"sam","session":"{session}","state":"working","source":"api","intervalS":60,"since":{text},"at":1}}"#
            ),
            _ => format!("{{\"rev\":{rev},\"x\":{}}}", text % 4),
        }
    }

    fn joined(puts: &[(u8, u8, u8)]) -> Facts {
        let mut facts = Facts::default();
        for (k, rev, text) in puts {
            facts.join(&key(*k), &value(*k, *rev, *text));
        }
        facts
    }

    quickcheck! {
        fn the_order_never_shows(puts: Vec<(u8, u8, u8)>) -> bool {
            let mut back = puts.clone();
            back.reverse();
            let twice: Vec<_> = puts.iter().chain(&puts).copied().collect();
            joined(&puts) == joined(&back) && joined(&puts) == joined(&twice) && joined(&puts).export() == joined(&back).export()
        }

        /// Of each device the highest revision that reads, by a plain model.
        fn of_beats_the_highest_that_reads_counts_for_each_device(puts: Vec<(u8, u8)>) -> bool {
            let facts = joined(&puts.iter().map(|(rev, text)| (2, *rev, *text)).collect::<Vec<_>>());
            (0..2).all(|n| {
                let device = DeviceId([n; 32]);
                let of = puts.iter().filter(|(_, text)| text % 2 == n && !text.is_multiple_of(5)).map(|(rev, _)| u64::from(*rev)).max();
                facts.rev(&key(2), &device) == of.unwrap_or(0)
            })
        }
    }

    #[test]
    fn a_revision_beyond_all_counting_is_no_fact() {
        let mut facts = Facts::default();
        assert!(!facts.join(&key(1), &format!("{{\"rev\":{}}}", COUNT_MAX + 1)));
        assert!(!facts.join(&key(1), "not json"));
        assert!(!facts.join(&FactKey::Session(SessionId::of(&[b"s"])), "{\"rev\":3,\"of a later version\":1}"));
        assert_eq!(facts.iter().count(), 0);
    }
}
