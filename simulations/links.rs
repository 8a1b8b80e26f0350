//! The network: ordered streams of frames between two devices, which trickle, stall, break and lose what was on the way.
//!
//! A newer stream between two devices replaces the older one, as `network` does it; what a stream has taken it delivers in
//! order, or it ends.

use std::collections::VecDeque;

use hubless::model::ask::Ask;
use hubless::model::id::{DeviceId, LinkId};
use hubless::model::input::{Input, PeerEvent};
use hubless::model::limits::MESSAGE_BYTES_MAX;
use hubless::model::member::Fleet;
use hubless::model::message::{Ear, Heard, Message};
use hubless::model::peering::{PeerRule, Terms};

use super::oracle::Broken;
use super::plan::FlowDeed;
use super::trace;
use super::world::{Event, MS, World};

/// Microseconds that a hundred bytes take on a way that trickles.
const TRICKLE: u64 = 5_000;

/// One stream.
pub(crate) struct Wire {
    pub(crate) ends: [End; 2],
}

/// One end of it.
pub(crate) struct End {
    /// Whose; `None`: a stranger's.
    pub(crate) device: Option<usize>,
    /// The key that it proves.
    pub(crate) id: DeviceId,
    pub(crate) link: LinkId,
    pub(crate) open: bool,
    /// What comes to this end, and when.
    coming: VecDeque<(u64, Parcel)>,
    last: u64,
    /// Whether this end said something that is not taken yet.
    said: bool,
    ear: Ear,
    /// Whether it is a stranger who proves nothing.
    unproven: bool,
}

enum Parcel {
    Frame(Vec<u8>),
    Down(String),
}

impl World {
    /// What a device says on one of its links.
    pub(crate) fn say(&mut self, d: usize, link: LinkId, frames: Vec<Vec<u8>>) -> Result<(), Broken> {
        let Some((wire, side)) = self.devices[d].lines.get(&link).copied() else { return Ok(()) };
        for frame in frames {
            let Some(end) = self.wires.get_mut(&wire).map(|wire| &mut wire.ends[side]) else { return Ok(()) };
            end.said = true;
            let heard = end.ear.hear(&frame, MESSAGE_BYTES_MAX);
            if let Ok(Heard::Whole(message)) = heard {
                let unproven = self.wires.get(&wire).is_some_and(|wire| wire.ends[1 - side].unproven);
                self.trace.line(self.time, d, &format!("  -> {} {}", link.0, trace::message(&message)));
                if unproven && !matches!(message, Message::Members(_) | Message::Bye(_)) {
                    return Err(Broken::new("I8", format!("device {d} tells a stranger more than members")));
                }
                self.watch_told(d, &message)?;
            }
            self.send(wire, 1 - side, Parcel::Frame(frame));
        }
        Ok(())
    }

    /// What a stranger says on its wire.
    pub(crate) fn say_as_stranger(&mut self, wire: u64, frames: Vec<Vec<u8>>) {
        for frame in frames {
            self.send(wire, 0, Parcel::Frame(frame));
        }
    }

    /// A stranger goes.
    pub(crate) fn leave_as_stranger(&mut self, wire: u64) {
        self.send(wire, 0, Parcel::Down("the stranger left".into()));
    }

    fn send(&mut self, wire: u64, to: usize, parcel: Parcel) {
        let Some(held) = self.wires.get_mut(&wire) else { return };
        let pair = (held.ends[1 - to].device, held.ends[to].device);
        let is_slow = matches!(pair, (Some(a), Some(b)) if self.slow.contains(&(a.min(b), a.max(b))));
        let bytes = match &parcel {
            Parcel::Frame(bytes) => bytes.len() as u64,
            Parcel::Down(_) => 0,
        };
        let trickle = if is_slow { bytes / 100 * TRICKLE } else { bytes / 10 };
        let longest = if self.ways.once_in(10) { 200_000 } else { 5_000 };
        let latency = 200 + self.ways.below(longest);
        let end = &mut held.ends[to];
        // A slow way is busy until the frame before has gone through.
        let at = if is_slow { self.time.max(end.last) + latency + trickle } else { (self.time + latency + trickle).max(end.last + 1) };
        end.last = at;
        end.coming.push_back((at, parcel));
        self.at(at, Event::Arrive(wire, to));
    }

    /// The next parcel for one end, if its time has come and nothing holds it up.
    pub(crate) fn arrive(&mut self, wire: u64, side: usize) -> Result<(), Broken> {
        let time = self.time;
        let Some(held) = self.wires.get_mut(&wire) else { return Ok(()) };
        let (to, from) = (held.ends[side].device, held.ends[1 - side].device);
        let is_cut = matches!((from, to), (Some(from), Some(to)) if self.cuts.contains(&(from, to)));
        let asleep = |d: Option<usize>| d.is_some_and(|d| self.devices[d].asleep.is_some());
        if is_cut || asleep(to) || asleep(from) || held.ends[side].coming.front().is_none_or(|(at, _)| *at > time) {
            return Ok(());
        }
        let end = &mut held.ends[side];
        let parcel = end.coming.pop_front().map(|(_, parcel)| parcel);
        let (link, was_open) = (end.link, end.open);
        if end.coming.is_empty() && held.ends[1 - side].said {
            let after = 300 + self.ways.below(2_000);
            self.at(time + after, Event::Room(wire, 1 - side));
        }
        match (parcel, to) {
            (Some(Parcel::Frame(bytes)), Some(d)) if was_open => self.give(d, 0, Input::Peer(PeerEvent::Frame { link, bytes })),
            (Some(Parcel::Down(why)), _) if was_open => self.close(wire, side, &why),
            _ => {}
        }
        Ok(())
    }

    /// All that one end said has been taken.
    pub(crate) fn room(&mut self, wire: u64, side: usize) -> Result<(), Broken> {
        let Some(held) = self.wires.get_mut(&wire) else { return Ok(()) };
        let (Some(d), other) = (held.ends[side].device, held.ends[1 - side].device) else { return Ok(()) };
        let roomless = other.is_some_and(|other| self.roomless.contains(&(d.min(other), d.max(other))));
        if roomless || !held.ends[side].open || !held.ends[1 - side].coming.is_empty() {
            return Ok(());
        }
        held.ends[side].said = false;
        let link = held.ends[side].link;
        self.give(d, 0, Input::Peer(PeerEvent::Room { link }));
        Ok(())
    }

    /// One end is closed and its device told.
    fn close(&mut self, wire: u64, side: usize, why: &str) {
        let Some(held) = self.wires.get_mut(&wire) else { return };
        let end = &mut held.ends[side];
        if !std::mem::take(&mut end.open) {
            return;
        }
        let (device, link) = (end.device, end.link);
        if !held.ends[1 - side].open {
            self.wires.remove(&wire);
        }
        if let Some(d) = device {
            self.devices[d].lines.remove(&link);
            self.give(d, 0, Input::Peer(PeerEvent::Down { link, why: why.into() }));
        }
    }

    /// A device ends a link after all that it said.
    pub(crate) fn hang_up(&mut self, d: usize, link: LinkId) {
        let Some((wire, side)) = self.devices[d].lines.get(&link).copied() else { return };
        self.send(wire, 1 - side, Parcel::Down("the other side hung up".into()));
        self.close(wire, side, "we hung up");
    }

    /// All links of a device end, on both sides.
    pub(crate) fn end_lines(&mut self, d: usize, why: &str) {
        for (wire, side) in self.devices[d].lines.values().copied().collect::<Vec<_>>() {
            self.send(wire, 1 - side, Parcel::Down(why.into()));
            self.close(wire, side, why);
        }
    }

    /// A daemon died: of what was on its way from it some arrives, then the end of the stream, or nothing ever.
    pub(crate) fn break_lines(&mut self, d: usize) {
        for (wire, side) in std::mem::take(&mut self.devices[d].lines).into_values() {
            self.lose_suffix(wire, 1 - side);
            if let Some(held) = self.wires.get_mut(&wire) {
                held.ends[side].open = false;
            }
            if !self.ways.once_in(4) {
                self.send(wire, 1 - side, Parcel::Down("the stream ended".into()));
            }
        }
    }

    fn lose_suffix(&mut self, wire: u64, side: usize) {
        if let Some(held) = self.wires.get_mut(&wire) {
            let coming = &mut held.ends[side].coming;
            let left = self.ways.place(coming.len() + 1);
            coming.truncate(left);
        }
    }

    /// The streams between two devices break, each way losing what came behind some point.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        for wire in self.between(a, b) {
            for side in 0..2 {
                self.lose_suffix(wire, side);
                self.send(wire, side, Parcel::Down("connection reset".into()));
            }
        }
    }

    fn between(&self, a: usize, b: usize) -> Vec<u64> {
        let is_between =
            |wire: &Wire| matches!((wire.ends[0].device, wire.ends[1].device), (Some(x), Some(y)) if (x, y) == (a, b) || (x, y) == (b, a));
        self.wires.iter().filter(|(_, wire)| is_between(wire)).map(|(n, _)| *n).collect()
    }

    /// What was held up may come, at once and in its order.
    pub(crate) fn thaw(&mut self) {
        let mut again = Vec::new();
        for (n, wire) in &self.wires {
            for (side, end) in wire.ends.iter().enumerate() {
                again.extend(end.coming.iter().map(|(at, _)| ((*at).max(self.time), *n, side)));
            }
        }
        for (at, wire, side) in again {
            self.at(at, Event::Arrive(wire, side));
        }
    }

    /// Bytes of frames that are on their way to a device.
    pub(crate) fn on_the_way(&self, d: usize) -> usize {
        let ends = self.wires.values().flat_map(|wire| &wire.ends).filter(|end| end.device == Some(d) && end.open);
        let bytes = |parcel: &Parcel| if let Parcel::Frame(bytes) = parcel { bytes.len() } else { 0 };
        ends.flat_map(|end| &end.coming).map(|(_, parcel)| bytes(parcel)).sum()
    }

    /// Opens a stream between two devices; older ones of the same two keys end.
    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        let ids = [
            (Some(a), self.devices[a].id, self.devices[a].address.clone()),
            (Some(b), self.devices[b].id, self.devices[b].address.clone()),
        ];
        self.open_wire(ids, false);
    }

    /// Opens a stream between a device and somebody who is none, with that key; gives its number.
    pub(crate) fn connect_stranger(&mut self, d: usize, id: DeviceId, proven: bool) -> u64 {
        let ids = [(Some(d), self.devices[d].id, self.devices[d].address.clone()), (None, id, "10.9.9.9:1".into())];
        self.open_wire(ids, !proven)
    }

    fn open_wire(&mut self, ids: [(Option<usize>, DeviceId, String); 2], unproven: bool) -> u64 {
        for (side, (device, ..)) in ids.iter().enumerate() {
            let Some(d) = *device else { continue };
            let other = ids[1 - side].1;
            let same_peer = |(wire, end): &(u64, usize)| self.wires.get(wire).is_some_and(|held| held.ends[1 - end].id == other);
            let older: Vec<(u64, usize)> = self.devices[d].lines.values().filter(|line| same_peer(line)).copied().collect();
            for (wire, end) in older {
                self.send(wire, 1 - end, Parcel::Down("replaced".into()));
                self.close(wire, end, "replaced by a newer stream");
            }
        }
        self.wires_made += 1;
        let n = self.wires_made;
        let link = |side: u64| LinkId(n * 2 + side);
        let end = |side: usize| End {
            device: ids[side].0,
            id: ids[side].1,
            link: link(side as u64),
            open: true,
            coming: VecDeque::new(),
            last: self.time,
            said: false,
            ear: Ear::default(),
            unproven: unproven && ids[side].0.is_none(),
        };
        self.wires.insert(n, Wire { ends: [end(0), end(1)] });
        for side in 0..2 {
            let (Some(d), other) = (ids[side].0, &ids[1 - side]) else { continue };
            self.devices[d].lines.insert(link(side as u64), (n, side));
            let up = PeerEvent::Up { link: link(side as u64), device: other.1, address: other.2.clone() };
            // Before any frame of it: those take at least 200 us.
            let after = self.ways.below(150);
            self.give(d, after, Input::Peer(up));
        }
        n
    }

    /// A dial comes to its end.
    pub(crate) fn dialled(&mut self, d: usize, process: u64, device: Option<DeviceId>, addresses: &[String]) {
        if self.devices[d].process != process || !self.is_up(d) {
            return;
        }
        let mut failed = Vec::new();
        for address in addresses {
            let found = (0..self.devices.len()).find(|n| self.devices[*n].address == *address);
            match found.filter(|n| *n != d && device.is_none_or(|id| self.devices[*n].id == id)) {
                Some(n) if self.has_line_to(d, self.devices[n].id) => return,
                Some(n) if self.lets_through(d, n) && self.lets_through(n, d) => return self.connect(d, n),
                _ => failed.push(address.clone()),
            }
        }
        for address in failed {
            let after = 1_000 * MS + self.ways.below(2_000 * MS);
            self.give(d, after, Input::Peer(PeerEvent::DialFailed { device, address, why: "timed out".into() }));
        }
    }

    fn has_line_to(&self, d: usize, id: DeviceId) -> bool {
        let lines = self.devices[d].lines.iter().filter(|(link, _)| !self.devices[d].doubted.contains(link));
        lines.map(|(_, line)| line).filter_map(|(wire, side)| Some(self.wires.get(wire)?.ends[1 - side].id)).any(|other| other == id)
    }

    fn lets_through(&self, from: usize, to: usize) -> bool {
        let (a, b) = (&self.devices[from], &self.devices[to]);
        let blocked = b.blocked.get(&a.id).is_some_and(|until| *until > self.time);
        let same_fleet = a.fleet.as_ref().map(|fleet| fleet.id) == b.fleet.as_ref().map(|fleet| fleet.id);
        self.is_up(to) && same_fleet && !blocked && a.id != b.id && !self.cuts.contains(&(from, to))
    }

    /// mDNS shows a device to the others, and the others to it.
    pub(crate) fn announce(&mut self, d: usize) {
        for other in 0..self.devices.len() {
            if other != d && self.is_up(other) && !self.cuts.contains(&(d, other)) && !self.cuts.contains(&(other, d)) {
                self.show(d, other);
                self.show(other, d);
            }
        }
    }

    fn show(&mut self, shown: usize, to: usize) {
        let (a, b) = (&self.devices[shown], &self.devices[to]);
        // Announced with the newest secret, recognised with every one ever known.
        let newest = a.fleet.as_ref().and_then(|fleet| fleet.secrets.last());
        let ours = newest.is_some_and(|secret| b.fleet.as_ref().is_some_and(|fleet| fleet.secrets.contains(secret)));
        let instance = format!("i{shown}-{}", a.process);
        let addresses = vec![a.address.clone()];
        let after = self.ways.below(500 * MS);
        self.give(to, after, Input::Peer(PeerEvent::Sighted { instance, ours, addresses }));
    }

    /// mDNS no longer shows a device.
    pub(crate) fn unannounce(&mut self, d: usize) {
        let instance = format!("i{d}-{}", self.devices[d].process);
        for other in 0..self.devices.len() {
            if other != d && self.is_up(other) && !self.cuts.contains(&(d, other)) {
                let after = self.ways.below(2_000 * MS);
                self.give(other, after, Input::Peer(PeerEvent::Gone { instance: instance.clone() }));
            }
        }
    }

    /// What a device exchanges with another is said otherwise, by a person or by its configuration.
    pub(crate) fn flow(&mut self, d: usize, of: usize, deed: FlowDeed) {
        let id = self.devices[of].id;
        let every_quarter = || "*/15 * * * *".parse().expect("a schedule");
        let one = Some(id.to_string());
        let (rests, rule) = match deed {
            FlowDeed::Pause => (Some((one, true)), None),
            FlowDeed::Resume => (Some((one, false)), None),
            FlowDeed::PauseAll => (Some((None, true)), None),
            FlowDeed::ResumeAll => (Some((None, false)), None),
            FlowDeed::Terms(gives, takes) => (None, Some(PeerRule { terms: Terms { gives, takes }, ..PeerRule::default() })),
            FlowDeed::Schedule => (None, Some(PeerRule { schedule: Some(every_quarter()), ..PeerRule::default() })),
            FlowDeed::Disabled => (None, Some(PeerRule { enabled: false, ..PeerRule::default() })),
            FlowDeed::Plain => (None, None),
        };
        if let Some((device, rests)) = rests {
            self.ask(d, Ask::Rest { device, rests });
            return;
        }
        let (rules, name) = (&mut self.devices[d].peering.0, format!("device {}", id.short()));
        match rule {
            Some(rule) => drop(rules.insert(name, rule)),
            None => drop(rules.remove(&name)),
        }
        if self.is_up(d) {
            self.count("configured");
            self.fall(d, MS);
        }
    }

    /// Nothing is configured of any device, and nobody pauses.
    pub(crate) fn let_flow(&mut self) -> Result<(), Broken> {
        for d in 0..self.devices.len() {
            if !std::mem::take(&mut self.devices[d].peering).0.is_empty() && self.devices[d].replica.is_some() {
                self.fall(d, MS);
            }
        }
        self.pass(100 * MS)?;
        for d in self.honest() {
            self.answer(d, Ask::Rest { device: None, rests: false })?;
        }
        Ok(())
    }

    /// A device is of another fleet now: every link ends, and it is announced as one of it.
    pub(crate) fn change_fleet(&mut self, d: usize, fleet: Fleet) {
        let is_other = self.devices[d].fleet.as_ref().is_none_or(|held| held.id != fleet.id);
        self.devices[d].fleet = Some(fleet);
        if is_other {
            self.end_lines(d, "of another fleet now");
        }
        self.announce(d);
    }
}
