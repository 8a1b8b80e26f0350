//! All facts of all documents, joined: the order in which they came never shows.
//!
//! *Once* facts never change; where several values meet, all are kept and the lowest comes first. Of a *latest* fact the
//! highest (rev, bytes) counts. The join is commutative, associative and idempotent, whichever shards the values stand in.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::fact::FactKey;
use crate::model::limits::{COUNT_MAX, FACT_BYTES_MAX};

/// The joined values of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// Every value that was ever written, lowest first.
    Once(BTreeSet<String>),
    /// The highest (rev, bytes).
    Latest(u64, String),
}

impl Joined {
    /// The value that is shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        match self {
            Joined::Once(values) => values.first().map_or("", String::as_str),
            Joined::Latest(_, value) => value,
        }
    }

    /// All values that count.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let (many, one) = match self {
            Joined::Once(values) => (Some(values), None),
            Joined::Latest(_, value) => (None, Some(value)),
        };
        many.into_iter().flatten().chain(one).map(String::as_str)
    }

    /// The revision of a latest fact, 0 of a once fact.
    #[must_use]
    pub fn rev(&self) -> u64 {
        match self {
            Joined::Once(_) => 0,
            Joined::Latest(rev, _) => *rev,
        }
    }
}

/// The revision that a latest fact's JSON carries, if it is one that can be.
#[must_use]
pub fn rev_of(value: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        rev: u64,
    }
    let rev = serde_json::from_str::<Numbered>(value).ok()?.rev;
    (rev <= COUNT_MAX).then_some(rev)
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
                Joined::Latest(..) => false,
            };
        }
        let Some(rev) = rev_of(value) else { return false };
        match self.map.get_mut(key) {
            Some(Joined::Latest(held, bytes)) if (*held, bytes.as_str()) >= (rev, value) => false,
            _ => {
                self.map.insert(key.clone(), Joined::Latest(rev, value.to_owned()));
                true
            }
        }
    }

    /// Forgets a fact, because the last document that held it is gone.
    pub fn forget(&mut self, key: &FactKey) {
        if self.map.remove(key).is_some() && matches!(key, FactKey::Other(_)) {
            self.unknown -= 1;
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
        if n.is_multiple_of(2) { FactKey::Item(ItemId::of(&[&of])) } else { FactKey::Session(SessionId::of(&[&of])) }
    }

    fn joined(puts: &[(u8, u8, u8)]) -> Facts {
        let mut facts = Facts::default();
        for (k, rev, text) in puts {
            facts.join(&key(*k), &format!("{{\"rev\":{rev},\"x\":{}}}", text % 4));
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
    }

    #[test]
    fn a_revision_beyond_all_counting_is_no_fact() {
        let mut facts = Facts::default();
        assert!(!facts.join(&key(1), &format!("{{\"rev\":{}}}", COUNT_MAX + 1)));
        assert!(!facts.join(&key(1), "not json"));
        assert_eq!(facts.iter().count(), 0);
    }
}
