//! A store that was restored, moved or cloned: noticed, named, renewed.
//!
//! Every opening of a store is a *life*: a counter that is raised on disk, and a random nonce. Who hears of a higher counter
//! of its own than it holds was restored from an older copy. Two nonces of one device that alternate are two machines with
//! one key; then one of them is spoken to, and the other, the lower (counter, nonce), is shut out for a while.

use std::collections::BTreeMap;

use crate::model::batch::{Batch, Keep, Shelf};
use crate::model::id::{DeviceId, Life};
use crate::model::limits::BLOCKED_MS;
use crate::model::time::Millis;

/// Two nonces that alternate twice within this time are a clone.
const ALTERNATE_WITHIN_MS: Millis = 60_000;
/// The front of the index rows that remember lives.
const FRONT: &str = "life/";

/// The lives of other devices.
#[derive(Default)]
pub struct Lives {
    known: BTreeMap<DeviceId, Life>,
    recent: BTreeMap<DeviceId, Vec<(Life, Millis)>>,
    /// By nonce: a counter is raised by whoever hears of a higher one.
    shut: BTreeMap<(DeviceId, u64), Millis>,
}

impl Lives {
    /// Reads what was remembered.
    #[must_use]
    pub fn open(shelf: &dyn Shelf) -> Lives {
        let row = |key: &String| {
            let device = key.strip_prefix(FRONT)?.parse().ok()?;
            Some((device, postcard::from_bytes(&shelf.get(key)?).ok()?))
        };
        Lives { known: shelf.keys(FRONT).iter().filter_map(row).collect(), ..Lives::default() }
    }

    /// The highest life counter known of a device, 0 when none is.
    #[must_use]
    pub fn counter(&self, device: &DeviceId) -> u64 {
        self.known.get(device).map_or(0, |life| life.counter)
    }

    /// Whether this life of a device is shut out.
    #[must_use]
    pub fn is_shut(&self, device: &DeviceId, life: &Life, now: Millis) -> bool {
        self.shut.get(&(*device, life.nonce)).is_some_and(|until| *until > now)
    }

    /// Hears a device's life, and remembers the highest. Given: two machines use its key, and this life is the lower one of
    /// the two, shut out from now on. A counter alone tells nothing: each takes the next one when it hears of the other's.
    pub fn hear(&mut self, device: DeviceId, life: Life, now: Millis, keep: &mut Batch) -> Option<Life> {
        if self.known.get(&device).is_none_or(|known| *known < life) {
            self.known.insert(device, life);
            let value = postcard::to_stdvec(&life).expect("two numbers are written without failing");
            keep.push(Keep::Index { key: format!("{FRONT}{device}"), value: Some(value) });
        }
        let recent = self.recent.entry(device).or_default();
        recent.retain(|(_, at)| now.saturating_sub(*at) < ALTERNATE_WITHIN_MS);
        match recent.last_mut() {
            Some((last, _)) if last.nonce == life.nonce => *last = life,
            Some(_) | None => recent.push((life, now)),
        }
        // a, b, a, b: each came back after the other had been heard.
        let tail: Vec<Life> = recent.iter().rev().take(4).map(|(life, _)| *life).collect();
        let [a, b, c, d] = tail.as_slice() else { return None };
        if a.nonce != c.nonce || b.nonce != d.nonce {
            return None;
        }
        let lower = *a.min(b);
        self.shut.retain(|_, until| *until > now);
        self.shut.insert((device, lower.nonce), now + BLOCKED_MS);
        recent.clear();
        Some(lower)
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
        let heard: Vec<Option<Life>> =
            [old, new, old, new, old].iter().zip(0..).map(|(l, t)| lives.hear(device, *l, t * 1000, &mut keep)).collect();
        assert_eq!(heard, [None, None, None, Some(old), None]);
        assert!(lives.is_shut(&device, &old, 4_000) && !lives.is_shut(&device, &new, 4_000));
        assert!(!lives.is_shut(&device, &old, 3_000 + BLOCKED_MS), "and not for ever");
        let mut lives = Lives::default();
        let raised = (0..4).map(|n| lives.hear(device, Life { counter: 10 + n, nonce: n % 2 }, n * 1000, &mut keep));
        let raised: Vec<Option<Life>> = raised.collect();
        let lower = Some(Life { counter: 12, nonce: 0 });
        assert_eq!(raised, [None, None, None, lower], "two machines that raise each other's counter are two machines");
        let mut slow = Lives::default();
        let mut keep = Batch::default();
        assert!(![old, new, old, new, old].iter().zip(0..).any(|(l, t)| slow.hear(device, *l, t * 61_000, &mut keep).is_some()));
        let mut kept = Kept::default();
        keep.apply_to(&mut kept);
        assert_eq!(Lives::open(&kept).counter(&device), 4);
    }
}
