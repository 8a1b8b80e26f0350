//! What of documents goes to which device, and when: **what does not go now is not lost, it goes when it may.**
//!
//! A link has terms for as long as it is up. Where they change, because somebody paused or resumed, or because a schedule begins or ends, the
//! link is opened anew: what is level, and what is not, is then found out as on any new link. Presence and the
//! membership log go on every link; only a device that is not `enabled` has none.
//!
//! A schedule opens a link for the whole of each minute that it names, and from the beginning of that minute until both hold the same,
//! however long that takes. Who was out of reach at that minute is levelled with when it comes back.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::batch::{Keep, Shelf};
use crate::model::effects::Effects;
use crate::model::id::{DeviceId, LinkId};
use crate::model::input::LinkAction;
use crate::model::message::{Bye, Message};
use crate::model::peering::{self, PeerRule, Terms};
use crate::model::reply::{Refusal, Reply};
use crate::model::time::{Millis, Now};
use crate::model::view::{FlowView, Warning};

use super::link::{Link, Stage};
use super::machine::Replica;

const MINUTE_MS: i64 = 60_000;
/// What stands for all devices among those that rest.
const ALL: &str = "*";
/// The front of the index rows that remember up to which minute of its schedule a device was levelled with. Without
/// them it is done once more.
const ROUND: &str = "round/";

/// Where a schedule stands in this minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hours {
    is_now: bool,
    last: Option<i64>,
    next: Option<i64>,
}

/// What is known of terms.
#[derive(Default)]
pub(super) struct Flow {
    /// The devices that a person paused, by their ids, or all.
    pub(super) rests: BTreeSet<String>,
    /// The minute of the schedule for which a device was levelled with.
    rounds: BTreeMap<DeviceId, i64>,
    hours: BTreeMap<DeviceId, Hours>,
    /// Devices with which documents are exchanged once, whatever is paused or scheduled.
    pub(super) passes: BTreeSet<DeviceId>,
    minute: Option<i64>,
    due: Option<Millis>,
}

impl Flow {
    /// What was known before this start; what rests is learnt from the facts of this device.
    pub(super) fn open(shelf: &dyn Shelf) -> Flow {
        let round = |key: &String| {
            let device: DeviceId = key.strip_prefix(ROUND)?.parse().ok()?;
            let minute: [u8; 8] = shelf.get(key)?.try_into().ok()?;
            Some((device, i64::from_le_bytes(minute)))
        };
        Flow { rounds: shelf.keys(ROUND).iter().filter_map(round).collect(), ..Flow::default() }
    }

    /// When a schedule may begin or end.
    pub(super) fn due(&self) -> Option<Millis> {
        self.due
    }

    fn rests(&self, device: &DeviceId) -> bool {
        self.rests.contains(ALL) || self.rests.contains(&device.to_string())
    }

    /// Whether a schedule lets documents through: in this minute, or because the round that began with its last one is not over.
    fn is_open(&self, device: &DeviceId) -> bool {
        self.hours.get(device).is_none_or(|hours| hours.is_now || hours.last != self.rounds.get(device).copied())
    }
}

impl Replica {
    /// What rested before this start rests on.
    pub(super) fn keep_resting(&mut self) {
        self.flow.rests = self.showing.devices().get(&self.me.device).map(|said| said.rests.clone()).unwrap_or_default();
    }

    /// The rule for a device: one with its name, or with the beginning of its id.
    fn rule_of(&self, device: &DeviceId) -> Option<&PeerRule> {
        if self.me.peering.0.is_empty() {
            return None;
        }
        let name = self.showing.name(device).map(|name| name.normalised()).unwrap_or_default();
        let named = self.me.peering.0.iter().find(|(written, _)| peering::names(written, &name));
        named.or_else(|| self.me.peering.0.iter().find(|(written, _)| device.begins_with(written))).map(|(_, rule)| rule)
    }

    /// Whether no link is kept with it.
    pub(super) fn is_unwanted(&self, device: &DeviceId) -> bool {
        self.rule_of(device).is_some_and(|rule| !rule.enabled)
    }

    /// What is done with documents on a link to it, now.
    pub(super) fn terms_of(&self, device: &DeviceId) -> Terms {
        let set = self.rule_of(device).map_or(Terms::ALL, |rule| rule.terms);
        let goes = self.flow.passes.contains(device) || (!self.flow.rests(device) && self.flow.is_open(device));
        if goes { set } else { Terms::NONE }
    }

    /// The devices with which documents are exchanged.
    pub(super) fn exchanging(&self) -> BTreeSet<DeviceId> {
        let links = self.links.values().filter(|link| link.stage > Stage::Proving && link.flow() != Terms::NONE);
        links.map(|link| link.device).collect()
    }

    /// Sets the terms of a link that begins, and its pace.
    pub(super) fn set_terms(&self, link: &mut Link, out: &mut Effects) {
        link.mine = self.terms_of(&link.device);
        let bandwidth = self.rule_of(&link.device).and_then(|rule| rule.bandwidth);
        link.paced = self.me.paced || bandwidth.is_some();
        if let Some(bandwidth) = bandwidth {
            out.tell.push(LinkAction::Pace { link: link.id, bandwidth });
        }
        if link.mine != Terms::ALL {
            link.say(&Message::Terms(link.mine), out);
        }
    }

    /// Looks up where each schedule stands, once a minute.
    pub(super) fn look_at_schedules(&mut self, now: Now, out: &mut Effects) {
        let scheduled = |device: &DeviceId| Some((*device, self.rule_of(device)?.schedule.clone()?));
        if self.me.peering.0.values().all(|rule| rule.schedule.is_none()) {
            return;
        }
        let minute = now.wall_ms.div_euclid(MINUTE_MS);
        let all: Vec<_> = self.others().filter_map(|device| scheduled(&device)).collect();
        let local = |minute: i64| minute + (self.me.local)(minute.saturating_mul(MINUTE_MS));
        let is_known = self.flow.minute == Some(minute) && all.iter().all(|(device, _)| self.flow.hours.contains_key(device));
        if !is_known {
            let hours = all.iter().map(|(device, schedule)| {
                let (last, next) = (schedule.last(minute, local), schedule.next(minute, local));
                (*device, Hours { is_now: last == Some(minute), last, next })
            });
            self.flow.hours = hours.collect();
            self.flow.minute = Some(minute);
        }
        let left = MINUTE_MS - now.wall_ms.rem_euclid(MINUTE_MS);
        self.flow.due = Some(now.boot_ms + left.unsigned_abs());
        self.end_rounds(out);
    }

    /// A device that was levelled with since the last minute of its schedule is left in peace until the next.
    fn end_rounds(&mut self, out: &mut Effects) {
        let done = |link: &&Link| link.flow() != Terms::NONE && link.is_settled() && link.is_confirmed();
        let devices: Vec<DeviceId> = self.links.values().filter(done).map(|link| link.device).collect();
        for device in devices {
            let Some(last) = self.flow.hours.get(&device).and_then(|hours| hours.last) else { continue };
            if self.flow.rounds.insert(device, last) != Some(last) {
                out.keep.push(Keep::Index { key: format!("{ROUND}{device}"), value: Some(last.to_le_bytes().to_vec()) });
            }
        }
    }

    /// Links whose terms have changed are opened anew; those that are not wanted any more end.
    pub(super) fn change_terms(&mut self, now: Now, out: &mut Effects) {
        self.look_at_schedules(now, out);
        let change = |link: &Link| match link.stage {
            Stage::Proving => None,
            Stage::Greeting | Stage::Comparing | Stage::Open if self.is_unwanted(&link.device) => Some(Bye::Unwanted),
            Stage::Greeting | Stage::Comparing | Stage::Open => (link.mine != self.terms_of(&link.device)).then_some(Bye::Anew),
        };
        let changed: Vec<(LinkId, Bye)> = self.links.values().filter_map(|link| Some((link.id, change(link)?))).collect();
        for (id, why) in changed {
            let Some(mut link) = self.links.remove(&id) else { continue };
            let unanswered = link.unanswered();
            link.hang_up(why, out);
            self.lost(&link, &why.to_string(), now, out);
            self.give_up(unanswered, out);
            self.dialing.anew(&link.device, now.boot_ms);
        }
    }

    /// A person pauses or resumes: one device, or all. It holds until the contrary is said, over restarts.
    pub(super) fn rest(&mut self, device: Option<&str>, rests: bool, out: &mut Effects) -> Result<Reply, Refusal> {
        let others: BTreeSet<DeviceId> = self.others().collect();
        let named: BTreeSet<DeviceId> = match device {
            Some(typed) => [self.find_device(typed)?].into(),
            None => others.clone(),
        };
        if named.contains(&self.me.device) {
            return Err(Refusal::new(crate::model::reply::Code::BadRequest, "that is this device").fix("hubless sync pause [DEVICE]"));
        }
        let ids = |devices: &mut dyn Iterator<Item = &DeviceId>| devices.map(ToString::to_string).collect::<BTreeSet<String>>();
        match (device, rests) {
            (None, true) => self.flow.rests = [ALL.to_owned()].into(),
            (None, false) => self.flow.rests.clear(),
            (Some(_), true) => self.flow.rests.extend(ids(&mut named.iter())),
            (Some(_), false) => {
                if self.flow.rests.remove(ALL) {
                    self.flow.rests.extend(ids(&mut others.iter()));
                }
                let gone = ids(&mut named.iter());
                self.flow.rests.retain(|id| !gone.contains(id));
            }
        }
        self.introduce(out);
        let devices = named.iter().map(|device| self.showing.view.device_name(device).plain()).collect();
        Ok(Reply::Resting { devices, all: device.is_none(), rests })
    }

    /// Rules whose name no device has are kept, and said: it may not be paired yet, or be called otherwise.
    pub(super) fn name_unknown_peers(&mut self) {
        let devices: Vec<DeviceId> = self.others().collect();
        let name = |device: &DeviceId| self.showing.name(device).map(|name| name.normalised()).unwrap_or_default();
        let known = |written: &str| devices.iter().any(|device| peering::names(written, &name(device)) || device.begins_with(written));
        let rules: Vec<(String, bool)> = self.me.peering.0.keys().map(|written| (written.clone(), known(written))).collect();
        for (written, known) in rules {
            self.warn(&format!("peers/{written}"), !known, || Warning {
                what: format!("the configuration has peers.{written}, and no device of this fleet is called so; it is kept"),
                fix: Some("pair it, or name it as  hubless devices  does".to_owned()),
            });
        }
    }

    /// What is shown of all this.
    pub(super) fn flow_view(&self, device: &DeviceId, link: Option<&Link>) -> FlowView {
        if *device == self.me.device {
            return FlowView::default();
        }
        let (rule, hours) = (self.rule_of(device), self.flow.hours.get(device));
        let is_open = self.flow.is_open(device);
        FlowView {
            enabled: !self.is_unwanted(device),
            paused: self.flow.rests(device),
            theirs: link.filter(|link| link.stage == Stage::Open).map(|link| link.theirs),
            ours: self.terms_of(device),
            schedule: rule.and_then(|rule| rule.schedule.as_ref()).map(ToString::to_string),
            next: hours.filter(|_| !is_open).and_then(|hours| hours.next).map(|minute| minute * MINUTE_MS),
            bandwidth: rule.and_then(|rule| rule.bandwidth),
        }
    }
}
