//! Whom to dial, when: every member that is not linked, at every address known of it, ever more rarely; at once when it is
//! sighted, when the network changed and when this machine woke.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::id::DeviceId;
use crate::model::input::LinkAction;
use crate::model::limits::{LOST_MS, REDIAL_LOST_MS, REDIAL_MAX_MS, REDIAL_MIN_MS};
use crate::model::time::Millis;

/// Addresses of one device that are remembered.
const ADDRESSES_MAX: usize = 16;
/// The front of the names of what the configuration shows, and not mDNS.
const CONFIGURED: &str = "static:";
/// How long nobody is reached, while somebody is seen, before our sockets are suspected (DESIGN §7).
const STUCK_MS: Millis = 3 * 60 * 1000;
/// How long after this machine woke or moved its links end because of that.
const MOVING_MS: Millis = 5_000;
/// How long after a link was to be opened anew its end puts nothing off.
const ANEW_MS: Millis = 2_000;
/// Instances of mDNS that are remembered: as many as `network` tells of, of those that know a secret of the fleet.
const SIGHTINGS_MAX: usize = 256;

#[derive(Debug, Clone, Default)]
struct Target {
    addresses: Vec<String>,
    wait: Millis,
    due: Millis,
    /// Until when it counts as lost a moment ago: it is probably near, and only the way to it is not.
    lost_until: Millis,
    /// Until when its link ends because it is opened anew.
    anew: Millis,
}

/// The dials that are due.
pub struct Dialing {
    me: DeviceId,
    seed: u64,
    devices: BTreeMap<DeviceId, Target>,
    sightings: BTreeMap<String, Target>,
    /// Since when nobody is linked although somebody is seen.
    failing: Option<Millis>,
    /// Until when every link that ends did so because of what happened to this machine.
    moving_until: Millis,
}

impl Dialing {
    /// Nobody is known yet; `seed` spreads the waits.
    #[must_use]
    pub fn new(me: DeviceId, seed: u64) -> Dialing {
        Dialing { me, seed, devices: BTreeMap::new(), sightings: BTreeMap::new(), failing: None, moving_until: 0 }
    }

    /// The members besides us, each with the addresses that its own fact tells.
    pub fn members(&mut self, members: &BTreeMap<DeviceId, Vec<String>>, now: Millis) {
        self.devices.retain(|device, _| members.contains_key(device));
        for (device, addresses) in members {
            let first = self.first_wait(device);
            let target = self.devices.entry(*device).or_insert_with(|| Target { due: now + first, ..Target::default() });
            learn(&mut target.addresses, addresses);
        }
    }

    /// A device told where it listens.
    pub fn told(&mut self, device: &DeviceId, addresses: &[String]) {
        if let Some(target) = self.devices.get_mut(device) {
            learn(&mut target.addresses, addresses);
        }
    }

    /// mDNS, or the configuration, shows one of our fleet; which one is learnt when it is dialled.
    pub fn sighted(&mut self, instance: String, addresses: Vec<String>, now: Millis) {
        let has_room = self.sightings.len() < SIGHTINGS_MAX || instance.starts_with(CONFIGURED);
        if has_room || self.sightings.contains_key(&instance) {
            let spread = self.chance() % 200;
            let again = self.sightings.get(&instance).is_some_and(|target| target.addresses == addresses);
            if again {
                return; // it is shown anew every minute or two; that is no news
            }
            self.sightings.insert(instance, Target { addresses, wait: 0, due: now + spread, ..Target::default() });
        }
        // It may be any of those that are dialled in vain.
        let spread = self.chance() % 200;
        for target in self.devices.values_mut() {
            (target.wait, target.due) = (0, target.due.min(now + spread));
        }
    }

    /// Whether everything is to be opened anew: nobody is linked (`alone`), and for long although mDNS shows one of us.
    pub fn is_stuck(&mut self, alone: bool, now: Millis) -> bool {
        let seen = alone && self.sightings.keys().any(|instance| !instance.starts_with(CONFIGURED));
        let since = *self.failing.get_or_insert(now);
        let stuck = seen && now.saturating_sub(since) >= STUCK_MS;
        if stuck || !seen {
            self.failing = seen.then_some(now);
        }
        stuck
    }

    /// mDNS no longer shows it.
    pub fn gone(&mut self, instance: &str) {
        self.sightings.remove(instance);
    }

    /// The device does not answer on its link.
    pub fn doubt(&mut self, device: &DeviceId, now: Millis) {
        if let Some(target) = self.devices.get_mut(device) {
            (target.wait, target.due, target.lost_until) = (0, now, now + LOST_MS);
        }
    }

    /// The link ends to be opened anew, on other terms: the lower id dials at once, the higher soon.
    pub fn anew(&mut self, device: &DeviceId, now: Millis) {
        let first = self.first_wait(device);
        if let Some(target) = self.devices.get_mut(device) {
            (target.wait, target.due, target.anew) = (0, now + 100 + first / 4, now + ANEW_MS);
        }
    }

    /// A link to the device ended (`lost`: without a word): dial again soon, the lower id first.
    pub fn down(&mut self, device: &DeviceId, lasted: bool, lost: bool, now: Millis) {
        let first = self.first_wait(device);
        let Some(target) = self.devices.get_mut(device) else { return };
        target.lost_until = if lost { now + LOST_MS } else { 0 };
        // A link that ends as soon as it is up would be dialled again without end.
        let longest = target.longest(now);
        target.wait = if lasted { 0 } else { (target.wait * 2).clamp(REDIAL_MIN_MS, longest) };
        let due = now + first + target.wait;
        // Whoever moved or woke dials at once, and its old links end after that.
        target.due = if now < self.moving_until.max(target.anew) { target.due.min(due) } else { due };
    }

    /// The machine woke, or its addresses changed: everybody, now.
    pub fn at_once(&mut self, now: Millis) {
        self.moving_until = now + MOVING_MS;
        for target in self.devices.values_mut().chain(self.sightings.values_mut()) {
            (target.wait, target.due) = (0, now);
        }
    }

    /// The dials that are due, given which devices are linked and which addresses their links reach.
    pub fn due(&mut self, now: Millis, linked: &BTreeSet<DeviceId>, reached: &BTreeSet<String>) -> Vec<LinkAction> {
        let mut dials = Vec::new();
        let spread = self.chance();
        for (device, target) in &mut self.devices {
            if !linked.contains(device) && !target.addresses.is_empty() && target.is_due(now, spread) {
                dials.push(LinkAction::Dial { device: Some(*device), addresses: target.addresses.clone() });
            }
        }
        let all_linked = self.devices.keys().all(|device| linked.contains(device));
        for target in self.sightings.values_mut() {
            let known = all_linked || target.addresses.iter().any(|address| reached.contains(address));
            // Its time passes whether or not it is dialled; a deadline that stays in the past would spin.
            if target.is_due(now, spread) && !known {
                dials.push(LinkAction::Dial { device: None, addresses: target.addresses.clone() });
            }
        }
        dials
    }

    /// When the next dial is due.
    #[must_use]
    pub fn deadline(&self, linked: &BTreeSet<DeviceId>) -> Option<Millis> {
        if self.devices.keys().all(|device| linked.contains(device)) {
            return None;
        }
        let devices = self.devices.iter().filter(|(d, t)| !linked.contains(d) && !t.addresses.is_empty());
        let stuck = self.failing.map(|since| since + STUCK_MS);
        devices.map(|(_, t)| t.due).chain(self.sightings.values().map(|t| t.due)).chain(stuck).min()
    }

    /// Two devices that lose each other both dial; the lower id at once, the higher a little later.
    fn first_wait(&mut self, device: &DeviceId) -> Millis {
        if self.me < *device { 0 } else { REDIAL_MIN_MS + self.chance() % 2_000 }
    }

    /// splitmix64: repeatable, and good enough to spread waits.
    fn chance(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Target {
    fn longest(&self, now: Millis) -> Millis {
        if now < self.lost_until { REDIAL_LOST_MS } else { REDIAL_MAX_MS }
    }

    /// Whether it is due; then the next time is twice as far away, give or take a quarter.
    fn is_due(&mut self, now: Millis, spread: u64) -> bool {
        if now < self.due {
            return false;
        }
        self.wait = (self.wait * 2).clamp(REDIAL_MIN_MS, self.longest(now));
        self.due = now + self.wait * 3 / 4 + spread % (self.wait / 2);
        true
    }
}

/// Newest first, each once, bounded.
fn learn(known: &mut Vec<String>, told: &[String]) {
    let mut all: Vec<String> = told.to_vec();
    all.append(known);
    let mut seen = BTreeSet::new();
    all.retain(|address| seen.insert(address.clone()));
    all.truncate(ADDRESSES_MAX);
    *known = all;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_makes_the_dial_due_and_showing_the_same_again_does_not() {
        let (me, other) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let mut dialing = Dialing::new(me, 7);
        dialing.members(&BTreeMap::from([(other, vec!["127.0.0.1:1".into()])]), 0);
        let (none, mut now) = (BTreeSet::new(), 0);
        let mut fail = |dialing: &mut Dialing, times: u32| {
            for _ in 0..times {
                now = dialing.deadline(&none).expect("somebody is not linked").max(now);
                dialing.due(now, &none, &BTreeSet::new());
            }
            now
        };
        let at = fail(&mut dialing, 12);
        dialing.sighted("x".into(), vec!["127.0.0.1:2".into()], at);
        let dials = dialing.due(at + 200, &none, &BTreeSet::new());
        assert!(dials.iter().any(|dial| matches!(dial, LinkAction::Dial { device: Some(device), .. } if *device == other)), "{dials:?}");
        let at = fail(&mut dialing, 20);
        dialing.sighted("x".into(), vec!["127.0.0.1:2".into()], at);
        assert!(dialing.deadline(&none) > Some(at + 200), "what is shown again does not make us dial without a pause");
    }

    #[test]
    fn who_was_lost_is_dialled_often_for_ten_minutes_and_who_said_good_bye_is_not() {
        let (me, other) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let none = BTreeSet::new();
        for (lost, often) in [(true, true), (false, false)] {
            let mut dialing = Dialing::new(me, 7);
            dialing.members(&BTreeMap::from([(other, vec!["127.0.0.1:1".into()])]), 0);
            dialing.down(&other, true, lost, 0);
            let (mut now, mut longest) = (0, 0);
            while now < LOST_MS - REDIAL_MAX_MS {
                let due = dialing.deadline(&none).expect("somebody is not linked");
                longest = longest.max(due - now);
                now = due;
                dialing.due(now, &none, &BTreeSet::new());
            }
            assert_eq!(longest <= REDIAL_LOST_MS * 5 / 4, often, "{longest} ms");
            for _ in 0..12 {
                now = dialing.deadline(&none).expect("somebody is not linked").max(LOST_MS);
                dialing.due(now, &none, &BTreeSet::new());
            }
            assert!(dialing.deadline(&none).is_some_and(|due| due - now > REDIAL_MAX_MS / 2), "then ever more rarely");
        }
    }

    #[test]
    fn who_moved_dials_at_once_and_what_ends_because_of_it_puts_nothing_off() {
        let (me, other) = (DeviceId([3; 32]), DeviceId([2; 32]));
        let mut dialing = Dialing::new(me, 7);
        dialing.members(&BTreeMap::from([(other, vec!["127.0.0.1:1".into()])]), 0);
        dialing.at_once(1_000);
        dialing.down(&other, true, true, 1_100);
        assert_eq!(dialing.deadline(&BTreeSet::new()), Some(1_000), "though the other's id is lower");
        dialing.down(&other, true, true, 1_000 + MOVING_MS);
        assert!(dialing.deadline(&BTreeSet::new()) > Some(1_000 + MOVING_MS), "later it is the other's turn first");
    }

    #[test]
    fn who_sees_somebody_and_reaches_nobody_is_stuck_after_three_minutes() {
        let (me, other) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let mut dialing = Dialing::new(me, 7);
        dialing.members(&BTreeMap::from([(other, Vec::new())]), 0);
        assert!(!dialing.is_stuck(true, 0) && !dialing.is_stuck(true, 10 * STUCK_MS), "nobody is seen");
        dialing.sighted("static:x".into(), vec!["127.0.0.1:2".into()], 0);
        assert!(!dialing.is_stuck(true, 0) && !dialing.is_stuck(true, 10 * STUCK_MS), "only the configuration speaks of one");
        dialing.sighted("x".into(), vec!["127.0.0.1:2".into()], 0);
        let stuck: Vec<bool> = [0, STUCK_MS - 1, STUCK_MS, STUCK_MS + 1, 2 * STUCK_MS].map(|now| dialing.is_stuck(true, now)).into();
        assert_eq!(stuck, [false, false, true, false, true], "every three minutes");
        assert!(!dialing.is_stuck(false, 3 * STUCK_MS) && !dialing.is_stuck(true, 3 * STUCK_MS), "a link begins the count anew");
    }

    #[test]
    fn waits_double_to_a_minute_and_a_sighting_resets_them() {
        let (me, other) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let mut dialing = Dialing::new(me, 7);
        dialing.members(&BTreeMap::from([(other, vec!["127.0.0.1:1".into()])]), 0);
        let none = BTreeSet::new();
        let (mut now, mut gaps) = (0, Vec::new());
        for _ in 0..10 {
            now = dialing.deadline(&none).expect("somebody is not linked");
            assert_eq!(dialing.due(now, &none, &BTreeSet::new()).len(), 1);
            gaps.push(dialing.deadline(&none).expect("still not linked") - now);
        }
        assert!(gaps[0] < 2_000 && gaps[9] >= 45_000 && gaps[9] <= 75_000, "{gaps:?}");
        dialing.sighted("x".into(), vec!["127.0.0.1:2".into()], now);
        let reached = BTreeSet::from(["127.0.0.1:2".to_owned()]);
        dialing.due(now + 200, &none, &reached);
        assert!(dialing.deadline(&none) > Some(now + 200), "one that is reached already does not make the loop spin");
        dialing.at_once(now);
        assert_eq!(dialing.deadline(&none), Some(now));
        assert_eq!(dialing.deadline(&BTreeSet::from([other])), None, "who is linked is not dialled");
    }
}
