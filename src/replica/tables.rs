//! Databases of tools are read as a whole whenever they change, at most once a second; of what was read only the sessions
//! that differ from the reading before go on. Nothing is remembered over a restart: then each session is taken once more,
//! which changes nothing.

use std::collections::BTreeMap;

use crate::ingest::files::Owner;
use crate::ingest::run::{Run, Said};
use crate::ingest::tail::Hash;
use crate::model::time::Millis;

use super::following::At;

/// How long a database rests after a look into it: a tool that works writes all the while.
const EVERY_MS: Millis = 1_000;

/// What a session's row says, and what it says beside.
pub(super) type Told = (Owner, Run, Vec<Said>);

/// What is remembered of the databases.
#[derive(Debug, Default)]
pub(super) struct Tables {
    looked: BTreeMap<At, Millis>,
    known: BTreeMap<At, BTreeMap<String, Hash>>,
}

impl Tables {
    /// When that one may be looked into, as far as looks before it say; what is due now is looked into now.
    pub(super) fn due(&mut self, at: &At, now: Millis) -> Millis {
        let due = self.looked.get(at).map_or(now, |looked| now.max(looked.saturating_add(EVERY_MS)));
        if due == now {
            self.looked.insert(at.clone(), now);
        }
        due
    }

    /// Leaves those that say something new.
    pub(super) fn new_of(&mut self, at: &At, mut told: Vec<Told>) -> Vec<Told> {
        let known = self.known.entry(at.clone()).or_default();
        told.retain(|(owner, run, said)| {
            let hash = *blake3::hash(format!("{run:?} {said:?}").as_bytes()).as_bytes();
            known.insert(owner.session.clone(), hash) != Some(hash)
        });
        told
    }

    /// Everything is taken anew.
    pub(super) fn distrust(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tool::Root;

    fn at() -> At {
        (Root::of("opencode", 0).last().expect("a folder"), "opencode.db".to_owned())
    }

    #[test]
    fn a_database_rests_between_two_looks() {
        let mut tables = Tables::default();
        assert_eq!(tables.due(&at(), 5_000), 5_000);
        assert_eq!((tables.due(&at(), 5_001), tables.due(&at(), 5_999)), (6_000, 6_000));
        assert_eq!((tables.due(&at(), 6_000), tables.due(&at(), 6_000)), (6_000, 7_000));
    }

    #[test]
    fn only_what_differs_goes_on() {
        let mut tables = Tables::default();
        let told = |last| vec![(Owner { session: "a".into(), ..Owner::default() }, Run { last: Some(last), ..Run::default() }, Vec::new())];
        assert_eq!(tables.new_of(&at(), told(1)).len(), 1);
        assert_eq!(tables.new_of(&at(), told(1)).len(), 0);
        assert_eq!(tables.new_of(&at(), told(2)).len(), 1);
        tables.distrust();
        assert_eq!(tables.new_of(&at(), told(2)).len(), 1);
    }
}
