//! Which changes wait for a dependency, and from whom they came: **what one device sent fills no more than its own share, and
//! keeps nothing of another's out.** A change that waits is in no document and on no disk; to let it go loses nothing that its
//! sender, or whoever has what it waits for, would not say again.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ChangeHash;

use crate::model::id::{DeviceId, DocId};
use crate::model::limits::{ORPHAN_BYTES_MAX, ORPHAN_DOCUMENT_BYTES, ORPHANS_BYTES_MAX, ORPHANS_MAX};

/// What waits, in all documents.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    of: BTreeMap<DocId, BTreeMap<ChangeHash, (DeviceId, usize)>>,
    /// How many, and bytes, of each device.
    shares: BTreeMap<DeviceId, (usize, usize)>,
}

impl Waiting {
    /// What waits in a document now; what was not known came from this device. Gives what is over a bound, to be let go.
    #[must_use]
    pub(super) fn note(&mut self, doc: &DocId, now: BTreeMap<ChangeHash, usize>, from: DeviceId) -> BTreeMap<DocId, BTreeSet<ChangeHash>> {
        let before = self.forget(doc);
        let mut held: BTreeMap<ChangeHash, (DeviceId, usize)> = BTreeMap::new();
        let mut came = BTreeSet::new();
        for (hash, bytes) in now {
            let known = before.get(&hash).copied();
            came.extend(known.is_none().then_some(hash));
            held.insert(hash, known.unwrap_or((from, bytes)));
        }
        self.hold(doc, held);
        if self.shares.get(&from).is_some_and(|(many, bytes)| *many > ORPHANS_MAX || *bytes > ORPHAN_BYTES_MAX) {
            self.let_go(doc, &came);
            return BTreeMap::from([(doc.clone(), came)]);
        }
        let most = self.shares.iter().max_by_key(|(device, (_, bytes))| (*bytes, **device)).map(|(device, _)| *device);
        let all: usize = self.shares.values().map(|(_, bytes)| bytes).sum();
        most.filter(|_| all > ORPHANS_BYTES_MAX).map(|device| self.let_go_of(&device)).unwrap_or_default()
    }

    /// What a device has waiting.
    #[cfg(test)]
    fn share(&self, device: &DeviceId) -> (usize, usize) {
        self.shares.get(device).copied().unwrap_or_default()
    }

    fn let_go_of(&mut self, device: &DeviceId) -> BTreeMap<DocId, BTreeSet<ChangeHash>> {
        let its = |held: &BTreeMap<ChangeHash, (DeviceId, usize)>| {
            held.iter().filter(|(_, (of, _))| of == device).map(|(hash, _)| *hash).collect::<BTreeSet<_>>()
        };
        let gone: BTreeMap<DocId, BTreeSet<ChangeHash>> =
            self.of.iter().map(|(doc, held)| (doc.clone(), its(held))).filter(|(_, hashes)| !hashes.is_empty()).collect();
        gone.iter().for_each(|(doc, hashes)| self.let_go(doc, hashes));
        gone
    }

    fn let_go(&mut self, doc: &DocId, hashes: &BTreeSet<ChangeHash>) {
        let mut held = self.forget(doc);
        held.retain(|hash, _| !hashes.contains(hash));
        self.hold(doc, held);
    }

    /// A document alone costs something, too, though it holds nothing yet.
    fn costs(held: &BTreeMap<ChangeHash, (DeviceId, usize)>) -> BTreeMap<DeviceId, (usize, usize)> {
        let mut costs: BTreeMap<DeviceId, (usize, usize)> = BTreeMap::new();
        for (device, bytes) in held.values() {
            let (many, sum) = costs.entry(*device).or_insert((0, ORPHAN_DOCUMENT_BYTES));
            (*many, *sum) = (*many + 1, *sum + bytes);
        }
        costs
    }

    fn hold(&mut self, doc: &DocId, held: BTreeMap<ChangeHash, (DeviceId, usize)>) {
        for (device, (many, bytes)) in Waiting::costs(&held) {
            let share = self.shares.entry(device).or_default();
            *share = (share.0 + many, share.1 + bytes);
        }
        if !held.is_empty() {
            self.of.insert(doc.clone(), held);
        }
    }

    fn forget(&mut self, doc: &DocId) -> BTreeMap<ChangeHash, (DeviceId, usize)> {
        let held = self.of.remove(doc).unwrap_or_default();
        for (device, (many, bytes)) in Waiting::costs(&held) {
            let share = self.shares.entry(device).or_default();
            *share = (share.0 - many, share.1 - bytes);
            if share.0 == 0 {
                self.shares.remove(&device);
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        /// Whoever sends what: each device and all together stay in their bounds, what is said to be let go is what is gone, and
        /// the shares are what a plain sum says.
        fn nobody_takes_more_than_a_share(steps: Vec<(u8, u8, u16)>) -> bool {
            let mut waiting = Waiting::default();
            let mut plain: BTreeMap<DocId, BTreeMap<ChangeHash, (DeviceId, usize)>> = BTreeMap::new();
            for (n, (doc, from, size)) in steps.into_iter().enumerate() {
                let doc = DocId::parse(&format!("todos/{}", doc % 5)).expect("a good name");
                let from = DeviceId([from % 9; 32]);
                let mut hash = [0; 32];
                hash[..8].copy_from_slice(&n.to_le_bytes());
                let bytes = usize::from(size) * 300;
                plain.entry(doc.clone()).or_default().insert(ChangeHash(hash), (from, bytes));
                let now = plain[&doc].iter().map(|(hash, (_, bytes))| (*hash, *bytes)).collect();
                for (doc, gone) in waiting.note(&doc, now, from) {
                    plain.get_mut(&doc).expect("it holds something").retain(|hash, _| !gone.contains(hash));
                }
                let sum = |device: DeviceId| {
                    let costs = plain.values().map(|held| Waiting::costs(held).get(&device).copied().unwrap_or_default());
                    costs.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
                };
                let shares: Vec<(usize, usize)> = (0..9).map(|n| sum(DeviceId([n; 32]))).collect();
                let same = (0..9).zip(&shares).all(|(n, share)| waiting.share(&DeviceId([n; 32])) == *share);
                let bounded = shares.iter().all(|(_, bytes)| *bytes <= ORPHAN_BYTES_MAX);
                if !same || !bounded || shares.iter().map(|(_, bytes)| bytes).sum::<usize>() > ORPHANS_BYTES_MAX {
                    return false;
                }
            }
            true
        }
    }
}
