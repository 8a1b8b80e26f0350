//! When each agent was heard lately: what a heartbeat strip shows.
//!
//! The view holds an agent's last sign of life and no earlier one. Here each sign leaves a mark in one of 60 slots, each as long
//! as the agent's interval and at least a minute, counted from when this daemon first heard of it. Nothing is kept on disk: a
//! strip begins anew with the daemon, and says since when it looks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use imbl::ordmap::DiffItem;

use crate::model::id::DeviceId;
use crate::model::view::{AgentView, View};

/// Slots of a strip.
pub(crate) const SLOTS: i64 = 60;
/// The shortest slot, milliseconds.
const SLOT_MS_MIN: i64 = 60_000;

/// Who: a device, and the agent's key on it.
type Who = (DeviceId, String);

/// All strips.
#[derive(Default)]
pub(crate) struct Strips(Mutex<BTreeMap<Who, Strip>>);

/// The marks of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strip {
    slot_ms: i64,
    first: i64,
    newest: i64,
    /// Bit 0 is the newest slot with a mark.
    marks: u64,
}

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Before this daemon knew of the agent.
    Before,
    /// It was heard.
    Heard,
    /// It was not.
    Silent,
}

impl Strip {
    fn begin(interval_s: u32, at: i64) -> Strip {
        let slot_ms = (i64::from(interval_s) * 1000).max(SLOT_MS_MIN);
        let slot = at.div_euclid(slot_ms);
        Strip { slot_ms, first: slot, newest: slot, marks: 1 }
    }

    fn mark(&mut self, at: i64) {
        let slot = at.div_euclid(self.slot_ms);
        let ahead = slot.saturating_sub(self.newest);
        if ahead > 0 {
            self.marks = u32::try_from(ahead).ok().and_then(|ahead| self.marks.checked_shl(ahead)).unwrap_or(0) | 1;
            self.newest = slot;
        } else if ahead > -SLOTS {
            self.marks |= 1 << -ahead;
            self.first = self.first.min(slot);
        }
    }

    /// How long a slot is, milliseconds.
    pub(crate) fn slot_ms(&self) -> i64 {
        self.slot_ms
    }

    /// The slots up to the last whole one before `now_ms`, and the one that runs if it has a mark; each with its beginning.
    pub(crate) fn slots(&self, now_ms: i64) -> Vec<(i64, Slot)> {
        let running = now_ms.div_euclid(self.slot_ms);
        let last = if self.newest >= running { running } else { running - 1 };
        let slot = |slot: i64| match self.newest.saturating_sub(slot) {
            _ if slot < self.first => Slot::Before,
            back @ 0..=63 if self.marks >> back & 1 == 1 => Slot::Heard,
            _ => Slot::Silent,
        };
        (last - SLOTS + 1..=last).map(|n| (n * self.slot_ms, slot(n))).collect()
    }
}

impl Strips {
    /// Marks every sign of life by which `new` differs from `old`.
    pub(crate) fn note(&self, old: &View, new: &View) {
        let mut strips = self.all();
        for item in old.agents.diff(&new.agents) {
            let (key, sign) = match item {
                DiffItem::Add(key, agent) => (key, sign(None, agent)),
                DiffItem::Update { old: (_, old), new: (key, agent) } => (key, sign(Some(old), agent)),
                DiffItem::Remove(key, _) => {
                    strips.remove(&(key.device, key.agent.clone()));
                    continue;
                }
            };
            if let Some((interval_s, at)) = sign {
                let strip = strips.entry((key.device, key.agent.clone())).or_insert_with(|| Strip::begin(interval_s, at));
                strip.mark(at);
            }
        }
    }

    /// An agent's strip, when it was heard since this daemon runs.
    pub(crate) fn of(&self, device: DeviceId, agent: &str) -> Option<Strip> {
        self.all().get(&(device, agent.to_owned())).copied()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Who, Strip>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sign of life that is new, and how often its agent means to give one.
fn sign(old: Option<&AgentView>, new: &AgentView) -> Option<(u32, i64)> {
    let at = new.sign_here?;
    (old.and_then(|old| old.sign_here) != Some(at)).then_some((new.beat.interval_s, at))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::fixture::{Fleet, MINI, NOW, beat};
    use crate::model::beat::Reported;
    use crate::model::view::AgentState;
    use quickcheck::quickcheck;

    const MINUTE: i64 = 60_000;

    fn heard(strip: &Strip, now_ms: i64) -> Vec<i64> {
        strip.slots(now_ms).into_iter().filter(|(_, slot)| *slot == Slot::Heard).map(|(at, _)| (now_ms - at) / MINUTE).collect()
    }

    quickcheck! {
        fn a_slot_is_marked_if_and_only_if_a_sign_fell_into_it(minutes: Vec<u8>) -> bool {
            let signs: Vec<i64> = minutes.iter().map(|m| i64::from(m % 100) * MINUTE).collect();
            let Some(first) = signs.first() else { return true };
            let mut strip = Strip::begin(30, *first);
            signs.iter().for_each(|at| strip.mark(*at));
            let newest = signs.iter().max().expect("one at least");
            // A mark that comes more than 60 slots late is dropped; those in the window are all there.
            strip.slots(*newest).iter().all(|(at, slot)| match slot {
                Slot::Heard => signs.contains(at),
                Slot::Silent | Slot::Before => !signs.contains(at),
            })
        }
    }

    #[test]
    fn a_strip_moves_on_with_time_and_begins_where_the_agent_was_first_heard() {
        let start = 1_000 * MINUTE;
        let mut strip = Strip::begin(60, start);
        strip.mark(start + MINUTE);
        strip.mark(start + 3 * MINUTE);
        assert_eq!(heard(&strip, start + 3 * MINUTE), [3, 2, 0]);
        let later = strip.slots(start + 10 * MINUTE);
        assert_eq!((later.len(), later[0].1, later.last().map(|last| last.1)), (60, Slot::Before, Some(Slot::Silent)));
        assert_eq!(heard(&strip, start + 1_000 * MINUTE), [0_i64; 0]);
        assert_eq!(Strip::begin(300, start).slot_ms(), 300_000);
    }

    #[test]
    fn signs_of_a_changing_view_are_marked_once_and_who_goes_is_forgotten() {
        let strips = Strips::default();
        let empty = Fleet::new();
        let first = Fleet::new().agent(beat(MINI, "sam", Reported::Working, "a"), AgentState::Working);
        strips.note(&empty.0, &first.0);
        let begun = strips.of(MINI, "sam").expect("a strip");
        assert_eq!(heard(&begun, NOW).len(), 1);
        let mut later = Fleet(first.0.clone());
        let (key, agent) = first.0.agents.iter().next().map(|(key, agent)| (key.clone(), agent.clone())).expect("sam");
        let mut agent = crate::model::view::AgentView::clone(&agent);
        agent.sign_here = agent.sign_here.map(|at| at + 2 * MINUTE);
        later.0.agents.insert(key, Arc::new(agent));
        strips.note(&first.0, &later.0);
        assert_eq!(heard(&strips.of(MINI, "sam").expect("a strip"), NOW + 2 * MINUTE).len(), 2);
        strips.note(&later.0, &empty.0);
        assert_eq!(strips.of(MINI, "sam"), None);
    }
}
