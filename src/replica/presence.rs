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
    /// Whether it said that it goes, or the way to it is closed: it is out of reach at once.
    pub gone: bool,
    /// Its living agents.
    pub agents: BTreeMap<AgentKey, Alive>,
}

impl Heard {
    /// Whether the device can be reached at `now`.
    #[must_use]
    pub fn reachable(&self, now: Millis) -> bool {
        !self.gone && !self.is_old(now)
    }

    /// Whether it has been silent for so long that it cannot be reached.
    fn is_old(&self, now: Millis) -> bool {
        now.saturating_sub(self.said) >= REACHABLE_MS
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
    /// What was reported since our own frame last went out.
    news: BTreeMap<AgentKey, Beat>,
    /// When our own frame last went out, and when the next is due.
    last: Millis,
    due: Millis,
}

impl Presences {
    /// Nobody lives yet.
    #[must_use]
    pub fn new(me: DeviceId, life: Life, now: Millis) -> Presences {
        Presences { me, life, seq: 0, own: BTreeMap::new(), heard: BTreeMap::new(), news: BTreeMap::new(), last: 0, due: now }
    }

    /// Takes another life, because ours was known to be older than it is.
    pub fn renew(&mut self, life: Life) {
        self.life = life;
    }

    /// An agent of this device reported: a sign of life, and perhaps progress.
    pub fn report(&mut self, beat: Beat, now: Millis, progressed: bool) {
        let key = key_of(&beat);
        self.news.insert(key.clone(), beat.clone());
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

    /// The last frame of this device: it is as old as one of a device out of reach, so that whoever hears it, through others too and of
    /// whatever version, takes us for gone at once.
    pub fn farewell(&mut self) -> Presence {
        self.seq += 1;
        Presence { device: self.me, life: self.life, seq: self.seq, age_ms: REACHABLE_MS, agents: Vec::new() }
    }

    /// A device said that it goes, or we are not spoken to any more: it is out of reach from now on, and was heard until now.
    pub fn part(&mut self, device: &DeviceId) {
        if let Some(heard) = self.heard.get_mut(device) {
            heard.gone = true;
        }
    }

    /// What is known of another device, as a frame to hand on.
    #[must_use]
    pub fn relay(&self, device: &DeviceId, now: Millis) -> Option<Presence> {
        let heard = self.heard.get(device).filter(|heard| !heard.is_old(now))?;
        let living = |alive: &Alive| Living {
            beat: BeatJson(alive.beat.clone()),
            silent_ms: heard.said.saturating_sub(alive.sign),
            stuck_ms: heard.said.saturating_sub(alive.progress),
        };
        let agents = heard.agents.values().map(living).collect();
        let (life, seq) = heard.order;
        let (agents, gone_ms) = if heard.gone { (Vec::new(), REACHABLE_MS) } else { (agents, 0) };
        Some(Presence { device: *device, life, seq, age_ms: gone_ms + now.saturating_sub(heard.said), agents })
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
        // Nobody hands on what is so old, but the last word of who went.
        let gone = presence.age_ms >= REACHABLE_MS;
        let said = now.saturating_sub(if gone { presence.age_ms - REACHABLE_MS } else { presence.age_ms });
        // A number that somebody made up mutes the device only until it would have gone out of reach.
        let is_over = |heard: &Heard| heard.is_old(now) && said > heard.said;
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
        let agents = match before.filter(|_| gone) {
            Some(before) => before.agents.clone(),
            None => presence.agents.iter().filter(|l| l.beat.0.device == presence.device).map(alive).collect(),
        };
        let direct = if direct { Some(now) } else { before.and_then(|heard| heard.direct) };
        self.heard.insert(presence.device, Heard { order, direct, said, since: unbroken.unwrap_or(said), gone, agents });
        true
    }

    /// Forgets a device that is no member any more.
    pub fn forget(&mut self, device: &DeviceId) {
        self.heard.remove(device);
    }

    /// What was reported since our own frame last went out.
    pub fn news(&self) -> impl Iterator<Item = &Beat> {
        self.news.values()
    }

    /// Our own frame went to everybody.
    pub fn told(&mut self, now: Millis) {
        (self.last, self.due) = (now, now + PRESENCE_EVERY_MS);
        self.news.clear();
    }

    /// Puts our own frame off to its time, because all that was reported since the last stays here: that somebody works on that is not to be seen by
    /// when we speak, either.
    pub fn put_off(&mut self, now: Millis) {
        let next = self.last.saturating_add(PRESENCE_EVERY_MS);
        if now < next && !self.news.is_empty() {
            self.due = next;
            self.news.clear();
        }
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

#[cfg(test)]
mod tests {
    use super::super::conversations::{Node, frame, now, pair, said, talk, up};
    use super::*;
    use crate::model::ask::{Ask, Report};
    use crate::model::beat::Reported;
    use crate::model::id::{Asker, LinkId};
    use crate::model::input::Input;
    use crate::model::leaving::Exclude;

    /// Three in a chain; the ends hear of each other through the middle.
    fn chain() -> (Node, Node, Node) {
        let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
        pair(&mut a, &mut b);
        pair(&mut b, &mut c);
        let link = |one: &mut Node, other: &mut Node, link| {
            let (to_one, to_other) = up(one, other, link, 3);
            talk(one, other, link, 3, to_one, to_other, 5_000);
        };
        link(&mut b, &mut c, LinkId(2));
        link(&mut a, &mut b, LinkId(1));
        hand(&mut a, &mut b, &mut c, Input::Tick, 15_010);
        (a, b, c)
    }

    /// What one says is heard in the middle, and what that hands on at the other end.
    fn hand(a: &mut Node, b: &mut Node, c: &mut Node, input: Input, t: u64) {
        let out = a.step(t, input);
        for bytes in said(&out, LinkId(1)) {
            let handed_on = b.step(t, frame(LinkId(1), bytes));
            said(&handed_on, LinkId(2)).into_iter().for_each(|bytes| drop(c.step(t, frame(LinkId(2), bytes))));
        }
    }

    fn shown(node: &Node, other: &Node) -> (bool, Option<i64>) {
        let view = node.r.view();
        let device = view.devices.get(&other.me()).expect("a device");
        (device.reachable, device.last_contact_here)
    }

    #[test]
    fn who_says_good_bye_is_out_of_reach_at_once_also_for_who_hears_it_through_others() {
        let (mut a, mut b, mut c) = chain();
        assert!(shown(&b, &a).0 && shown(&c, &a).0);
        hand(&mut a, &mut b, &mut c, Input::Stopping, 20_000);
        for node in [&b, &c] {
            let (reachable, contact) = shown(node, &a);
            assert!(
                !reachable && contact.is_some_and(|at| (at - now(20_000).wall_ms).abs() < 2_000),
                "and was heard just now: {contact:?}"
            );
        }
        // Who comes now is told so too, and takes an older word of it for none.
        let (mut ears, life) = (Presences::new(c.me(), c.r.life(), 0), a.r.life());
        let older = Presence { device: a.me(), life, seq: 1, age_ms: 0, agents: Vec::new() };
        let told = b.r.presences.relay(&a.me(), now(21_000).boot_ms).expect("for a while");
        assert!(ears.hear(&told, false, now(21_100).boot_ms) && !ears.hear(&older, false, now(21_200).boot_ms));
        assert!(!ears.heard()[&a.me()].reachable(now(21_200).boot_ms));
        assert!(b.r.presences.relay(&a.me(), now(70_000).boot_ms).is_none());
        // It begins again, in its next life.
        let _ = a.reopen(22_000);
        let (to_a, to_b) = up(&mut a, &mut b, LinkId(3), 22_001);
        talk(&mut a, &mut b, LinkId(3), 22_001, to_a, to_b, 5_000);
        assert!(shown(&b, &a).0);
    }

    #[test]
    fn who_stays_is_not_seen_by_when_we_speak_either() {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        a.r.me.exclude = Exclude::parse(["agent:mole"]).expect("a pattern");
        let _ = a.reopen(1);
        pair(&mut a, &mut b);
        let (to_a, to_b) = up(&mut a, &mut b, LinkId(1), 3);
        talk(&mut a, &mut b, LinkId(1), 3, to_a, to_b, 5_000);
        let _ = a.step(15_010, Input::Tick);
        for (ms, agent, told) in [(16_000, "mole", false), (16_100, "sam", true), (17_000, "mole", false)] {
            let report = Report { agent: agent.into(), state: Some(Reported::Working), source: "cli", ..Report::default() };
            let out = a.step(ms, Input::Ask(Asker(1), Ask::Beat(report)));
            assert_eq!(!said(&out, LinkId(1)).is_empty(), told, "{agent}");
        }
        assert!(a.r.presences.due() <= now(16_100).boot_ms + PRESENCE_EVERY_MS, "the next one goes at its time");
    }

    #[test]
    fn who_is_gone_without_a_word_is_in_reach_until_it_was_silent_for_long() {
        let (_, mut b, mut c) = chain();
        let a = Node::new(1);
        for (ms, reachable) in [(20_000, true), (15_010 + REACHABLE_MS - 1, true), (15_010 + REACHABLE_MS, false)] {
            [&mut b, &mut c].into_iter().for_each(|node| drop(node.step(ms, Input::Tick)));
            assert_eq!((shown(&b, &a).0, shown(&c, &a).0), (reachable, reachable), "{ms}");
        }
    }
}
