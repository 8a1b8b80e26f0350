//! How much is held of each collection, and how much of it each device is known to lack.

use std::collections::BTreeMap;

use imbl::OrdMap;

use crate::model::id::{Collection, DeviceId};
use crate::model::time::Millis;
use crate::model::view::HoldingView;

use super::library::{Fresh, Library};
use super::machine::Replica;

/// Documents from which on they are counted anew only from time to time.
const MANY: usize = 2_000;
/// How often then.
const MANY_EVERY_MS: Millis = 5_000;

/// Changes that a device lacks, by collection.
pub(super) type Missed = BTreeMap<Collection, u64>;

/// What is held, and as of when.
#[derive(Default)]
pub(super) struct Tally {
    shown: OrdMap<String, HoldingView>,
    at: Option<Millis>,
    is_old: bool,
}

impl Tally {
    /// Something was written.
    pub(super) fn age(&mut self) {
        self.is_old = true;
    }
}

impl Replica {
    /// Those with whom nothing is exchanged lack one thing more.
    pub(super) fn miss(&mut self, fresh: &Fresh) {
        self.tally.age();
        let linked = self.exchanging();
        for (_, missed) in self.behind.iter_mut().filter(|(device, _)| !linked.contains(device)) {
            *missed.entry(fresh.doc.collection()).or_default() += if fresh.doc.is_local() { 0 } else { fresh.changes };
        }
    }

    /// How many changes a device lacks, if that is known.
    pub(super) fn missed(&self, device: &DeviceId) -> Option<u64> {
        self.behind.get(device).map(|missed| missed.values().sum())
    }

    /// What is held of each collection; whether that is news.
    pub(super) fn show_holdings(&mut self) -> bool {
        let now = self.now();
        let is_due = self.tally.at.is_none_or(|at| self.library.iter().len() < MANY || now.saturating_sub(at) >= MANY_EVERY_MS);
        if !is_due || (self.tally.at.is_some() && !self.tally.is_old) {
            return false;
        }
        let held = held(&self.library);
        (self.tally.at, self.tally.is_old) = (Some(now), false);
        let changed = held != self.tally.shown;
        self.tally.shown = held;
        self.showing.view.holdings = self.tally.shown.clone();
        changed
    }
}

/// Documents that stay on this device are counted beside the others.
fn held(library: &Library) -> OrdMap<String, HoldingView> {
    let mut held: BTreeMap<String, HoldingView> = BTreeMap::new();
    for (id, document) in library.iter().filter(|(_, document)| document.changes() > 1) {
        let front = if id.is_local() { "local/" } else { "" };
        let sum = held.entry(format!("{front}{}", id.collection().name())).or_default();
        sum.documents += 1;
        sum.changes += document.changes();
        sum.bytes += (document.saved_bytes() + document.appended_bytes()) as u64;
    }
    held.into_iter().collect()
}
