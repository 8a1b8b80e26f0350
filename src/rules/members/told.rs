//! Which entries a new one names, and which are told to whom: **however much a thief wrote, a member can show that it is one,
//! in a message that a stranger may send, and a removal counts.**

use std::collections::BTreeSet;

use crate::model::id::{DeviceId, FleetId};
use crate::model::limits::{ANCESTORS_MAX, LINEAGE_BYTES_MAX, PARENTS_MAX};
use crate::model::member::EntryHash;

use super::log::{Log, Standing, meet};

/// What an entry takes beside its bytes in a list of them.
const FRAMING: usize = 4;

/// Entries with all their ancestors, as many as there is room for.
#[derive(Default)]
struct Chosen {
    places: BTreeSet<usize>,
    /// The same, what was taken first first, and parents before what follows them.
    order: Vec<usize>,
    bytes: usize,
}

impl Chosen {
    /// Takes an entry and its ancestors if they fit; true when all of them are in.
    fn take(&mut self, log: &Log, at: usize, count_max: usize, bytes_max: usize) -> bool {
        if self.places.contains(&at) {
            return true;
        }
        let lineage = log.at(at).ancestors.iter().copied().chain([at]);
        let new: Vec<usize> = lineage.filter(|at| !self.places.contains(at)).collect();
        let bytes: usize = new.iter().map(|at| log.at(*at).size + FRAMING).sum();
        let fits = self.places.len() + new.len() <= count_max && self.bytes + bytes <= bytes_max;
        if fits {
            self.places.extend(&new);
            self.order.extend(new);
            self.bytes += bytes;
        }
        fits
    }
}

impl Log {
    /// What a new entry signed by `key` names as parents: the heads, at most [`PARENTS_MAX`] and of so little history that
    /// whom it lets in can prove it; first what shows `key` to be a member. So a thief who floods the log keeps no removal of
    /// itself from counting, and no later member from proving that it is one.
    #[must_use]
    pub fn parents(&self, fleet: &FleetId, key: &[u8; 32]) -> Vec<EntryHash> {
        let Some(standing) = self.standing(fleet) else { return Vec::new() };
        let simplest = |at: &usize| (self.at(*at).ancestors.len(), self.at(*at).hash);
        let shows = |at: usize| {
            let by = standing.letting_in.get(key).map_or(&[][..], Vec::as_slice);
            by.contains(&at) || meet(by, &self.at(at).ancestors)
        };
        let mut chosen = Chosen::default();
        let mut named: Vec<usize> = standing.admission(self, &DeviceId(*key)).into_iter().collect();
        for at in &named {
            chosen.take(self, *at, ANCESTORS_MAX, usize::MAX);
        }
        let mut heads: Vec<usize> = standing.heads.iter().copied().collect();
        heads.sort_by_cached_key(|at| (!shows(*at), self.at(*at).hash));
        let mut name = |at: usize| {
            let is_in = chosen.places.contains(&at);
            let fits = is_in || (named.len() < PARENTS_MAX && chosen.take(self, at, ANCESTORS_MAX, LINEAGE_BYTES_MAX));
            named.extend((fits && !is_in).then_some(at));
            fits
        };
        let left_out = heads.into_iter().filter(|at| !name(*at)).count();
        if left_out > 0 {
            // What is buried under what does not fit is named by itself.
            let mut buried = standing.counted.clone();
            buried.sort_by_cached_key(simplest);
            for at in buried {
                name(at);
            }
        }
        let is_newest = |at: &&usize| !named.iter().any(|other| self.at(*other).has(**at));
        named.iter().filter(is_newest).map(|at| self.at(*at).hash).collect()
    }

    /// The bytes of entries of a fleet, each with all its ancestors, at most `max` in all: first what shows these devices to
    /// be members or shut out, then who else was shut out, then all others that count.
    #[must_use]
    pub fn told(&self, fleet: &FleetId, about: &[DeviceId], max: usize) -> Vec<Vec<u8>> {
        let Some(standing) = self.standing(fleet) else { return Vec::new() };
        let mut chosen = Chosen::default();
        for device in about {
            for at in standing.admission(self, device).into_iter().chain(standing.removal(self, device)) {
                chosen.take(self, at, usize::MAX, max);
            }
        }
        let mut removals: Vec<usize> = standing.removals.values().flatten().copied().collect();
        removals.sort_unstable();
        for kind in [&removals, &standing.counted] {
            // Once something does not fit it ends: to look at all of a flood costs more than what it would find.
            for at in kind {
                if !chosen.take(self, *at, usize::MAX, max) {
                    break;
                }
            }
        }
        chosen.order.into_iter().map(|at| self.bytes_at(at)).collect()
    }
}

impl Standing {
    /// Of the entries that count and let a device in the one with the fewest ancestors.
    fn admission(&self, log: &Log, device: &DeviceId) -> Option<usize> {
        let counting = self.letting_in.get(&device.0)?.iter().copied().filter(|at| self.counted.binary_search(at).is_ok());
        counting.min_by_key(|at| (log.at(*at).ancestors.len(), log.at(*at).hash))
    }

    /// Of the entries that shut a device out the one with the fewest ancestors.
    fn removal(&self, log: &Log, device: &DeviceId) -> Option<usize> {
        let removals = self.removals.get(device)?.iter().copied();
        removals.min_by_key(|at| (log.at(*at).ancestors.len(), log.at(*at).hash))
    }
}
