//! What must be true once all faults are over and nothing is left to say: all devices hold the same facts, show the same,
//! and hold exactly the union of what their disks hold.

use std::collections::{BTreeMap, BTreeSet};

use hubless::model::ask::Ask;
use hubless::model::fact::FactKey;
use hubless::model::id::{DeviceId, FleetId, ItemId, Life};
use hubless::model::message::{DocHeads, Head};
use hubless::model::reply::Reply;
use hubless::model::session::session_id;
use hubless::model::text::Foreign;
use hubless::model::todo::List;
use hubless::replica::facts::rev_of;
use hubless::replica::saved::may_stand_in;
use hubless::replica::{Replica, genesis};

use super::oracle::{Broken, differ};
use super::world::{MS, World};

/// Devices agree within this after the last fault, microseconds: a redial may wait 75 s, a dead link 40 s, a blocked one 10 min.
pub(crate) const AGREE_WITHIN: u64 = 15 * 60 * 1_000 * MS;
/// Nothing of a document is told for so long: then it never will be.
const SILENT_FOR: u64 = 8_000 * MS;

impl World {
    /// All faults end, and what is paused or configured: ways are open, disks have room, machines are awake, daemons run, files are whole and looked at.
    pub(crate) fn heal(&mut self) -> Result<(), Broken> {
        self.trace.line(self.time, 0, "all faults end");
        self.cuts.clear();
        self.slow.clear();
        self.roomless.clear();
        for d in 0..self.devices.len() {
            self.wake(d);
            self.devices[d].disk.full_until = 0;
            self.devices[d].armed = None;
            self.devices[d].blocked.clear();
            self.devices[d].retired = self.devices[d].is_clone;
            if self.devices[d].retired && self.devices[d].replica.is_some() {
                self.fall(d, 0);
            } else if self.devices[d].replica.is_none() {
                self.start(d);
            }
        }
        self.thaw();
        self.pass(5_000 * MS)?;
        self.let_flow()?;
        self.pair_strays()?;
        for d in 0..self.devices.len() {
            self.announce(d);
            // Transcripts are not watched: a session's place is learned when its list is read again.
            self.ask(d, Ask::Rescan);
        }
        // Who heard of no room is told of it now.
        for (wire, side) in self.wires.keys().flat_map(|wire| [(*wire, 0), (*wire, 1)]).collect::<Vec<_>>() {
            self.room(wire, side)?;
        }
        Ok(())
    }

    /// Who lost everything is alone in a new fleet: a person pairs it again.
    fn pair_strays(&mut self) -> Result<(), Broken> {
        let all = self.honest();
        let Some(home) = all.iter().find(|d| self.fleet_of(**d) == self.fleet).or(all.first()).copied() else { return Ok(()) };
        // Where all lost everything, a new fleet begins.
        self.fleet = self.fleet_of(home);
        for d in self.honest() {
            if self.fleet_of(d) != self.fleet {
                self.pair_surely(home, d)?;
            }
        }
        Ok(())
    }

    /// The devices that must agree: all but clones and removed ones, and those whom somebody let in who was removed by one that
    /// had not heard of it (DESIGN §7: such an entry is inert).
    pub(crate) fn honest(&self) -> Vec<usize> {
        let all = self.log(0..self.devices.len());
        let counts = |d: &usize| {
            let device = &self.devices[*d];
            device.replica.as_ref().is_none_or(|replica| all.members(&replica.fleet().id).contains_key(&device.id))
        };
        (0..self.devices.len()).filter(|d| !self.devices[*d].retired && !self.removed.contains(d)).filter(counts).collect()
    }

    /// Lets time pass until every device is linked with every other, all is level, and nothing is told.
    pub(crate) fn until_quiet(&mut self, within: u64) -> Result<(), Broken> {
        let end = self.time + within;
        while self.time < end {
            self.pass(1_000 * MS)?;
            if self.time.saturating_sub(self.stirred) >= SILENT_FOR && self.unsettled().is_none() {
                return Ok(());
            }
        }
        Err(Broken::new("I2", self.unsettled().unwrap_or_else(|| "documents are told without end".into())))
    }

    /// What keeps the devices from being level.
    fn unsettled(&self) -> Option<String> {
        let all = self.honest();
        for (n, a) in all.iter().enumerate() {
            let Some(replica) = self.devices[*a].replica.as_ref() else { return Some(format!("device {a} does not run")) };
            if !replica.is_level() {
                return Some(format!("device {a} is not level with all"));
            }
            for b in all[n + 1..].iter().filter(|b| self.fleet_of(**b) == self.fleet_of(*a)) {
                if !self.shows_level(*a, *b) || !self.shows_level(*b, *a) {
                    return Some(format!("devices {a} and {b} are not linked and level"));
                }
            }
        }
        None
    }

    fn fleet_of(&self, d: usize) -> Option<FleetId> {
        self.devices[d].replica.as_ref().map(|replica| replica.fleet().id)
    }

    fn shows_level(&self, d: usize, other: usize) -> bool {
        let view = self.devices[d].replica.as_ref().map(Replica::view);
        let shown = view.as_ref().and_then(|view| view.devices.get(&self.devices[other].id));
        shown.and_then(|device| device.link.as_ref()).is_some_and(|link| link.level)
    }

    /// Liveness: all equal, silent, and equal to the plain set of facts.
    pub(crate) fn finally(&mut self) -> Result<(), Broken> {
        self.until_quiet(AGREE_WITHIN)?;
        self.calm = true;
        self.pass(40_000 * MS)?;
        self.compare()?;
        self.compare_with_plain()?;
        self.calm = false;
        self.read_again()?;
        self.lists_are_known()?;
        self.transcripts_are_summed()?;
        self.reopen_each()
    }

    fn heads(&self, d: usize) -> Vec<DocHeads> {
        self.devices[d].replica.as_ref().map(|replica| replica.library().heads()).unwrap_or_default()
    }

    fn compare(&self) -> Result<(), Broken> {
        let all = self.honest();
        let Some((first, others)) = all.split_first() else { return Ok(()) };
        let Some(one) = self.devices[*first].replica.as_ref() else { return Ok(()) };
        for other in others {
            let Some(two) = self.devices[*other].replica.as_ref() else { continue };
            let broken = |what: String| Err(Broken::new("I2", format!("devices {first} and {other} do not agree: {what}")));
            if self.heads(*first) != self.heads(*other) {
                let (a, b) = (self.heads(*first), self.heads(*other));
                let doc = a.iter().chain(&b).find(|d| !a.contains(d) || !b.contains(d)).map(|d| d.doc.to_string());
                return broken(format!("other heads of {doc:?}"));
            }
            if let Some(line) = one_sided(&one.library().facts().export(), &two.library().facts().export()) {
                return broken(line);
            }
            if let Some(what) = differ_in_shared(one, two) {
                return broken(what);
            }
            if one.export() != two.export() {
                return broken("other exports".into());
            }
        }
        Ok(())
    }

    /// Q4: the facts are the union of all that the disks hold, joined plainly.
    fn compare_with_plain(&self) -> Result<(), Broken> {
        let mut hashes = BTreeSet::new();
        let honest = self.honest();
        for d in &honest {
            hashes.extend(self.devices[*d].disk.held.values().flatten().copied());
        }
        self.drop_orphans(&mut hashes);
        let mut once: BTreeMap<&FactKey, BTreeSet<&str>> = BTreeMap::new();
        let mut latest: BTreeMap<(&FactKey, Option<DeviceId>), (u64, &str)> = BTreeMap::new();
        for written in hashes.iter().filter_map(|hash| self.book.get(hash)) {
            for (key, value) in written.puts.iter().filter(|(key, value)| may_stand_in(&written.doc, key, value)) {
                match (key.is_once(), rev_of(key, value)) {
                    (true, _) => drop(once.entry(key).or_default().insert(value)),
                    (false, Some((rev, device))) => {
                        let entry = latest.entry((key, device)).or_insert((rev, value));
                        *entry = (rev, value.as_str()).max(*entry);
                    }
                    (false, None) => {}
                }
            }
        }
        let mut lines: BTreeMap<&FactKey, Vec<&str>> = once.into_iter().map(|(key, values)| (key, values.into_iter().collect())).collect();
        latest.into_iter().for_each(|((key, _), (_, value))| lines.entry(key).or_default().push(value));
        let export: String = lines.iter().flat_map(|(key, values)| values.iter().map(move |value| format!("{key} {value}\n"))).collect();
        for d in honest {
            let held = self.devices[d].replica.as_ref().map(|replica| replica.library().facts().export()).unwrap_or_default();
            if let Some(line) = one_sided(&export, &held) {
                return Err(Broken::new("Q4", format!("device {d} holds other facts than the disks: {line}")));
            }
        }
        Ok(())
    }

    /// A crash that left a hole may have left a change behind it that follows one in it: it was never answered or told, and says
    /// nothing without the other.
    fn drop_orphans(&self, hashes: &mut BTreeSet<Head>) {
        loop {
            let is_held = |dep: &Head| *dep == genesis::HASH || hashes.contains(dep);
            let is_whole = |hash: &&Head| self.book.get(hash).is_none_or(|written| written.deps.iter().all(is_held));
            let (whole, before) = (hashes.iter().filter(is_whole).copied().collect::<BTreeSet<Head>>(), hashes.len());
            *hashes = whole;
            if hashes.len() == before {
                return;
            }
        }
    }

    /// I6: reading the same files again changes nothing.
    fn read_again(&mut self) -> Result<(), Broken> {
        for d in self.honest() {
            let before = self.heads(d);
            let Reply::Rescanning = self.answer(d, Ask::Rescan)? else { return Err(Broken::new("I6", "no rescan".into())) };
            self.pass(500 * MS)?;
            if self.heads(d) != before && !self.devices[d].files.are_ahead(self.now(d).wall_ms) {
                return Err(Broken::new("I6", format!("device {d} wrote when it read the same files again")));
            }
        }
        Ok(())
    }

    /// Every text of every list that is whole is an item that everybody knows.
    fn lists_are_known(&self) -> Result<(), Broken> {
        for d in self.honest() {
            let device = &self.devices[d];
            let Some(replica) = device.replica.as_ref() else { continue };
            for (session, texts) in device.files.texts() {
                let list = List::Session { session: session_id(&device.id, "claude", &session), agent: Foreign::new(&*session) };
                for text in texts {
                    let item: ItemId = list.item(&text);
                    if replica.library().facts().get(&FactKey::Item(item)).is_none() {
                        return Err(Broken::new("I7", format!("device {d} does not know “{text}” of its list {session}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// I7: a session shows what its own file says as it is, and every text of its lists is an item.
    fn transcripts_are_summed(&self) -> Result<(), Broken> {
        for d in self.honest() {
            let device = &self.devices[d];
            let Some(replica) = device.replica.as_ref() else { continue };
            let view = replica.view();
            for (session, records, texts) in device.files.sessions() {
                let id = session_id(&device.id, "claude", &session);
                let shown = view.sessions.get(&id).map(|session| session.counts.map_or(0, |counts| counts.records));
                if shown != Some(records) {
                    return Err(Broken::new("I7", format!("device {d} shows {shown:?} records of {session}, and its file has {records}")));
                }
                let list = List::Session { session: id, agent: Foreign::new(&*session) };
                if let Some(text) = texts.into_iter().find(|text| {
                    let item = list.item(&Foreign::new(*text).normalised());
                    replica.library().facts().get(&FactKey::Item(item)).is_none()
                }) {
                    return Err(Broken::new("I7", format!("device {d} does not know “{text}” of the transcript of {session}")));
                }
            }
        }
        Ok(())
    }

    /// Q6: what is read back from a disk is the same.
    fn reopen_each(&mut self) -> Result<(), Broken> {
        for d in self.honest() {
            let now = self.now(d);
            let device = &self.devices[d];
            let Some(replica) = device.replica.as_ref() else { continue };
            let (again, _) = Replica::open(device.identity(), Life { counter: 1 << 20, nonce: 1 }, now, &device.disk.kept);
            let (kept, held) = (again.library().facts().export(), replica.library().facts().export());
            if let Some(line) = one_sided(&kept, &held) {
                return Err(Broken::new("Q6", format!("device {d} reads back other facts than it kept: {line}")));
            }
            if let Some(what) = differ_in_shared(&again, replica) {
                return Err(Broken::new("Q6", format!("device {d} reads back another view: {what}")));
            }
        }
        Ok(())
    }
}

/// A line that only one of two exports has.
fn one_sided(a: &str, b: &str) -> Option<String> {
    if a == b {
        return None;
    }
    let (first, second): (BTreeSet<&str>, BTreeSet<&str>) = (a.lines().collect(), b.lines().collect());
    let only_first = first.difference(&second).next().map(|line| format!("only the first has {line}"));
    only_first.or_else(|| second.difference(&first).next().map(|line| format!("only the second has {line}")))
}

/// What two replicas show differently of what does not depend on where one stands.
fn differ_in_shared(one: &Replica, two: &Replica) -> Option<String> {
    let (mut a, mut b) = ((*one.view()).clone(), (*two.view()).clone());
    for view in [&mut a, &mut b] {
        view.agents.clear();
        view.sessions.clear();
    }
    differ(&a, &b, true)
}
