//! Who lives, and since when we know: signs of life travel beside the documents and are never history.
//!
//! Ages are measured on the reader's boot clock, which runs through sleep; every device that passes a frame on adds the time
//! it held it. A beat in a document is last word, never a sign of life.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::beat::{Beat, agent_key};
use crate::model::id::{DeviceId, Life};
use crate::model::limits::{COUNT_MAX, PRESENCE_AGENTS_MAX, PRESENCE_EVERY_MS, REACHABLE_MS};
use crate::model::message::{BeatJson, Living, Presence};
use crate::model::time::Millis;
use crate::model::view::AgentKey;

/// How often what is read in files is told at most, transitions aside.
const SIGHTS_EVERY_MS: Millis = 100;

/// One living agent, by our boot clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Alive {
    /// Its latest report.
    pub beat: Beat,
    /// Its last sign of life.
    pub sign: Millis,
    /// When it last achieved something.
    pub progress: Millis,
}

/// What was last heard of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Its life, and the number of the frame within it.
    pub order: (Life, u64),
    /// When it last said one itself, by our boot clock.
    pub direct: Option<Millis>,
    /// When it was said, by our boot clock.
    pub said: Millis,
    /// Since when it has been in reach without a gap.
    pub since: Millis,
    /// Its living agents.
    pub agents: BTreeMap<AgentKey, Alive>,
}

impl Heard {
    /// Whether the device can be reached at `now`.
    #[must_use]
    pub fn reachable(&self, now: Millis) -> bool {
        now.saturating_sub(self.said) < REACHABLE_MS
    }
}

/// The key of a beat's row.
#[must_use]
pub fn key_of(beat: &Beat) -> AgentKey {
    AgentKey { device: beat.device, agent: agent_key(&beat.agent), session: beat.session }
}

/// The presence of this device and of all others.
pub struct Presences {
    me: DeviceId,
    life: Life,
    seq: u64,
    own: BTreeMap<AgentKey, Alive>,
    heard: BTreeMap<DeviceId, Heard>,
    /// When our own frame last went out, and when the next is due.
    last: Millis,
    due: Millis,
}

impl Presences {
    /// Nobody lives yet.
    #[must_use]
    pub fn new(me: DeviceId, life: Life, now: Millis) -> Presences {
        Presences { me, life, seq: 0, own: BTreeMap::new(), heard: BTreeMap::new(), last: 0, due: now }
    }

    /// Takes another life, because ours was known to be older than it is.
    pub fn renew(&mut self, life: Life) {
        self.life = life;
    }

    /// An agent of this device reported: a sign of life, and perhaps progress.
    pub fn report(&mut self, beat: Beat, now: Millis, progressed: bool) {
        let key = key_of(&beat);
        if !beat.state.is_alive() {
            self.own.remove(&key);
        } else if let Some(alive) = self.own.get_mut(&key) {
            alive.progress = if progressed { now } else { alive.progress };
            (alive.beat, alive.sign) = (beat, now);
        } else {
            self.own.insert(key, Alive { beat, sign: now, progress: now });
        }
        self.due = now;
    }

    /// A report that was found in a file, and was written at `sign`: a flood of lines is told once in a while.
    pub fn sight(&mut self, beat: Beat, sign: Millis, transition: bool, now: Millis) {
        let due = self.due;
        self.report(beat, sign, transition);
        let soon = self.last.saturating_add(SIGHTS_EVERY_MS).max(now);
        self.due = if transition { now } else { due.min(soon) };
    }

    /// An agent lives, seen from outside; `beat` is its last word, should it not be known here.
    pub fn sign(&mut self, key: &AgentKey, beat: &Beat, now: Millis) {
        match self.own.get_mut(key) {
            Some(alive) => alive.sign = now,
            None => self.report(beat.clone(), now, false),
        }
    }

    /// This device's living agents.
    #[must_use]
    pub fn own(&self) -> &BTreeMap<AgentKey, Alive> {
        &self.own
    }

    /// What was heard of other devices.
    #[must_use]
    pub fn heard(&self) -> &BTreeMap<DeviceId, Heard> {
        &self.heard
    }

    /// One agent anywhere.
    #[must_use]
    pub fn alive(&self, key: &AgentKey) -> Option<&Alive> {
        if key.device == self.me { self.own.get(key) } else { self.heard.get(&key.device)?.agents.get(key) }
    }

    /// The next frame of this device, without the agents that stay here. More agents than a frame holds: those that
    /// beat last.
    pub fn frame(&mut self, staying: &BTreeSet<AgentKey>, now: Millis) -> Presence {
        self.seq += 1;
        let mut own: Vec<&Alive> = self.own.iter().filter(|(key, _)| !staying.contains(*key)).map(|(_, alive)| alive).collect();
        own.sort_by_key(|alive| std::cmp::Reverse(alive.sign));
        let living = |alive: &Alive| Living {
            beat: BeatJson(alive.beat.clone()),
            silent_ms: now.saturating_sub(alive.sign),
            stuck_ms: now.saturating_sub(alive.progress),
        };
        let agents = own.into_iter().take(PRESENCE_AGENTS_MAX).map(living).collect();
        Presence { device: self.me, life: self.life, seq: self.seq, age_ms: 0, agents }
    }

    /// What is known of another device, as a frame to hand on.
    #[must_use]
    pub fn relay(&self, device: &DeviceId, now: Millis) -> Option<Presence> {
        let heard = self.heard.get(device).filter(|heard| heard.reachable(now))?;
        let living = |alive: &Alive| Living {
            beat: BeatJson(alive.beat.clone()),
            silent_ms: heard.said.saturating_sub(alive.sign),
            stuck_ms: heard.said.saturating_sub(alive.progress),
        };
        let agents = heard.agents.values().map(living).collect();
        let (life, seq) = heard.order;
        Some(Presence { device: *device, life, seq, age_ms: now.saturating_sub(heard.said), agents })
    }

    /// Hears a frame. `true`: it was news, and is to be handed on once. `direct`: the device said it itself, in order, on its
    /// own link; then nothing that others say of it counts beside.
    pub fn hear(&mut self, presence: &Presence, direct: bool, now: Millis) -> bool {
        let order = (presence.life, presence.seq);
        let fits = presence.agents.len() <= PRESENCE_AGENTS_MAX && presence.life.counter <= COUNT_MAX && presence.seq <= COUNT_MAX;
        if presence.device == self.me || !fits {
            return false;
        }
        let before = self.heard.get(&presence.device);
        let said = now.saturating_sub(presence.age_ms);
        // A number that somebody made up mutes the device only until it would have gone out of reach.
        let is_over = |heard: &Heard| !heard.reachable(now) && said > heard.said;
        let is_direct = |heard: &Heard| heard.direct.is_some_and(|at| now.saturating_sub(at) < REACHABLE_MS);
        let known = |heard: &Heard| is_direct(heard) || (heard.order >= order && !is_over(heard));
        if !direct && before.is_some_and(known) {
            return false;
        }
        let unbroken = before.filter(|heard| heard.reachable(said)).map(|heard| heard.since);
        let alive = |living: &Living| {
            let beat = living.beat.0.clone();
            let alive = Alive { sign: said.saturating_sub(living.silent_ms), progress: said.saturating_sub(living.stuck_ms), beat };
            (key_of(&alive.beat), alive)
        };
        let agents = presence.agents.iter().filter(|l| l.beat.0.device == presence.device).map(alive).collect();
        let direct = if direct { Some(now) } else { before.and_then(|heard| heard.direct) };
        self.heard.insert(presence.device, Heard { order, direct, said, since: unbroken.unwrap_or(said), agents });
        true
    }

    /// Forgets a device that is no member any more.
    pub fn forget(&mut self, device: &DeviceId) {
        self.heard.remove(device);
    }

    /// Our own frame went to everybody.
    pub fn told(&mut self, now: Millis) {
        (self.last, self.due) = (now, now + PRESENCE_EVERY_MS);
    }

    /// When our own frame is due.
    #[must_use]
    pub fn due(&self) -> Millis {
        self.due
    }

    /// When the next device goes out of reach if nothing is heard of it.
    #[must_use]
    pub fn next_silence(&self, now: Millis) -> Option<Millis> {
        let reachable = self.heard.values().filter(|heard| heard.reachable(now));
        reachable.map(|heard| heard.said + REACHABLE_MS).min()
    }
}
