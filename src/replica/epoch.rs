//! A store that was restored, moved or cloned: noticed, named, renewed.
//!
//! Every opening of a store is a *life*: a counter that is raised on disk, and a random nonce. Who hears of a higher counter
//! of its own than it holds was restored from an older copy. Two nonces of one device that alternate are two machines with
//! one key.

use std::collections::BTreeMap;

use crate::model::batch::{Batch, Keep, Shelf};
use crate::model::id::{DeviceId, Life};
use crate::model::time::Millis;

/// Two nonces that alternate twice within this time are a clone.
const ALTERNATE_WITHIN_MS: Millis = 60_000;
/// The front of the index rows that remember lives.
const FRONT: &str = "life/";

/// The lives of other devices.
#[derive(Default)]
pub struct Lives {
    known: BTreeMap<DeviceId, Life>,
    recent: BTreeMap<DeviceId, Vec<(u64, Millis)>>,
}

impl Lives {
    /// Reads what was remembered.
    #[must_use]
    pub fn open(shelf: &dyn Shelf) -> Lives {
        let row = |key: &String| {
            let device = key.strip_prefix(FRONT)?.parse().ok()?;
            Some((device, postcard::from_bytes(&shelf.get(key)?).ok()?))
        };
        Lives { known: shelf.keys(FRONT).iter().filter_map(row).collect(), recent: BTreeMap::new() }
    }

    /// The highest life counter known of a device, 0 when none is.
    #[must_use]
    pub fn counter(&self, device: &DeviceId) -> u64 {
        self.known.get(device).map_or(0, |life| life.counter)
    }

    /// Hears a device's life, and remembers the highest. `true`: two machines use its key. Their counters tell nothing: each
    /// takes the next one when it hears of the other's.
    pub fn hear(&mut self, device: DeviceId, life: Life, now: Millis, keep: &mut Batch) -> bool {
        if self.known.get(&device).is_none_or(|known| *known < life) {
            self.known.insert(device, life);
            let value = postcard::to_stdvec(&life).expect("two numbers are written without failing");
            keep.push(Keep::Index { key: format!("{FRONT}{device}"), value: Some(value) });
        }
        let recent = self.recent.entry(device).or_default();
        recent.retain(|(_, at)| now.saturating_sub(*at) < ALTERNATE_WITHIN_MS);
        if recent.last().is_none_or(|(last, _)| *last != life.nonce) {
            recent.push((life.nonce, now));
        }
        // a, b, a, b: each came back after the other had been heard.
        let tail: Vec<u64> = recent.iter().rev().take(4).map(|(nonce, _)| *nonce).collect();
        matches!(tail.as_slice(), [a, b, c, d] if a == c && b == d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::Kept;

    #[test]
    fn a_clone_is_two_lives_that_alternate_and_a_restart_is_not() {
        let device = DeviceId([1; 32]);
        let (old, new) = (Life { counter: 3, nonce: 1 }, Life { counter: 4, nonce: 2 });
        let mut keep = Batch::default();
        let mut lives = Lives::default();
        let heard: Vec<bool> =
            [old, new, old, new, old].iter().zip(0..).map(|(l, t)| lives.hear(device, *l, t * 1000, &mut keep)).collect();
        assert_eq!(heard, [false, false, false, true, true]);
        let mut lives = Lives::default();
        let raised = (0..5).map(|n| lives.hear(device, Life { counter: 10 + n, nonce: n % 2 }, n * 1000, &mut keep));
        let raised: Vec<bool> = raised.collect();
        assert_eq!(raised, [false, false, false, true, true], "two machines that raise each other's counter are two machines");
        let mut slow = Lives::default();
        let mut keep = Batch::default();
        assert!(![old, new, old, new, old].iter().zip(0..).any(|(l, t)| slow.hear(device, *l, t * 61_000, &mut keep)));
        let mut kept = Kept::default();
        keep.apply_to(&mut kept);
        assert_eq!(Lives::open(&kept).counter(&device), 4);
    }
}
