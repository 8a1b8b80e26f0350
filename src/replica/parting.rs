//! Devices that are shut out, renamed and forgotten: **whoever is told a new secret has been told before who is out.**
//!
//! A removal is an entry of the log and one new secret of the fleet. On every link the log goes first and the secret after it, in
//! one ordered stream; so nobody hands the secret on to a device that it does not yet know to be removed.

use crate::model::effects::{Effects, Note};
use crate::model::fact::FactKey;
use crate::model::id::{DeviceId, LinkId};
use crate::model::input::LinkAction;
use crate::model::limits::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX};
use crate::model::member::ChoiceFact;
use crate::model::message::{Bye, Message};
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::view::Warning;
use crate::rules::members;

use super::link::Stage;
use super::machine::Replica;
use super::proving::keep_secrets;
use super::saved;

/// Bytes of entries that are told to a member.
const TOLD_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

impl Replica {
    /// The members besides us are dialled where they say they listen.
    pub(super) fn members_changed(&mut self, now: Now) {
        let members = self.log.members(&self.fleet.id);
        let address = |device: &DeviceId| self.showing.devices().get(device).map(|d| d.addresses.clone()).unwrap_or_default();
        let others = members.keys().filter(|device| **device != self.me.device).map(|device| (*device, address(device))).collect();
        self.dialing.members(&others, now.boot_ms);
        self.dials.retain(|device, _| members.contains_key(device));
        self.name_unknown_peers();
        let gone: Vec<DeviceId> = self.presences.heard().keys().filter(|device| !members.contains_key(device)).copied().collect();
        gone.iter().for_each(|device| self.forget_presence(device));
        let is_out = !members.contains_key(&self.me.device);
        // Who is shut out is spoken to by nobody, and nobody will come to say that.
        for device in self.presences.heard().keys().copied().filter(|_| is_out).collect::<Vec<_>>() {
            self.presences.part(&device);
            self.showing.presence_changed(&device, &self.presences);
        }
        let out_of_it = is_out && !self.log.heads(&self.fleet.id).is_empty();
        let (why, fix) = self.out_of_it();
        self.warn("removed", out_of_it, || Warning { what: format!("{why}; it gets nothing new"), fix: Some(fix.into()) });
    }

    /// Why this device is no member any more, and what mends it.
    fn out_of_it(&self) -> (&'static str, &'static str) {
        if self.log.is_removed(&self.fleet.id, &self.me.device.0) {
            ("this device was removed from its fleet", "hubless down, hubless rekey, hubless up; then pair again")
        } else {
            ("who let this device in was removed from the fleet, and that counts", "hubless leave, then pair again")
        }
    }

    /// Only a member lets others in.
    pub(super) fn may_invite(&self) -> Result<(), Refusal> {
        if self.is_member(&self.me.device) {
            return Ok(());
        }
        let (why, fix) = self.out_of_it();
        Err(Refusal::new(Code::NotPermitted, "this device is no member of its fleet any more, and lets nobody in").because(why).fix(fix))
    }

    /// Shuts a device out for ever. What it says from now on is heard by nobody who knows; what it has, it keeps.
    pub(super) fn revoke(&mut self, typed: &str, forget: bool, now: Now, out: &mut Effects) -> Result<Reply, Refusal> {
        let device = self.find_device(typed)?;
        if device == self.me.device {
            return Err(Refusal::new(Code::BadRequest, "that is this device")
                .because("a device shuts others out; it leaves by itself")
                .fix("hubless leave; or revoke it on another device"));
        }
        if !self.is_member(&self.me.device) {
            return Err(Refusal::new(Code::NotPermitted, "this device is no member of its fleet any more")
                .because("who was removed shuts nobody out")
                .fix("do it on a device that is one"));
        }
        let name = self.showing.view.device_name(&device).plain();
        let parents = self.log.parents(&self.fleet.id, &self.me.device.0);
        let (hash, entry) = members::remove(&self.me.signing, &parents, device);
        // What is answered is what follows from the log, and from nothing else.
        let mut log = self.log.clone();
        if log.learn(&entry).is_err() || !log.is_removed(&self.fleet.id, &device.0) {
            return Err(Refusal::new(Code::NotPermitted, format!("{name} was not removed: an entry of this device does not count"))
                .because("who let this device in wrote too much")
                .fix("do it on another device"));
        }
        let mut facts = vec![saved::member(&entry)];
        if forget {
            facts.push((FactKey::Choice(self.unique()), saved::json(&ChoiceFact::Forget { device })));
        }
        self.write("fleet", &facts, out);
        self.learn_changed(now);
        self.add_secret(&hash);
        out.tell.push(LinkAction::Fleet(self.fleet.clone()));
        self.hang_up_on(device, now, out);
        self.tell_secrets(None, Some(device), out);
        out.note.push(Note::Removed { device: name.clone() });
        Ok(Reply::Removed { device, name })
    }

    /// One more secret, which nobody can compute who does not hold this device's key.
    fn add_secret(&mut self, hash: &[u8; 32]) {
        let mut seed = blake3::Hasher::new_derive_key("hubless 1 fleet secret");
        seed.update(self.me.signing.as_bytes()).update(hash);
        seed.update(&self.life.counter.to_le_bytes()).update(&self.life.nonce.to_le_bytes());
        self.fleet.secrets.push(*seed.finalize().as_bytes());
        keep_secrets(&mut self.fleet.secrets);
        self.fleet_changed = true;
    }

    /// The last thing that a removed device hears is that it is one.
    fn hang_up_on(&mut self, device: DeviceId, now: Now, out: &mut Effects) {
        let log = self.log.told(&self.fleet.id, &[device], TOLD_BYTES_MAX);
        let ids: Vec<LinkId> = self.links.values().filter(|link| link.device == device).map(|link| link.id).collect();
        for mut link in ids.into_iter().filter_map(|id| self.links.remove(&id)).collect::<Vec<_>>() {
            if link.stage > Stage::Proving {
                link.say(&Message::Members(log.clone()), out);
            }
            self.give_up(link.unanswered(), out);
            link.hang_up(Bye::Untrusted, out);
            self.lost(&link, "it was removed", now, out);
        }
    }

    /// Tells every member that is linked, but the one it came from, who is out (first this one) and what the secrets are.
    pub(super) fn tell_secrets(&mut self, but: Option<LinkId>, first: Option<DeviceId>, out: &mut Effects) {
        let members = self.log.members(&self.fleet.id);
        let log = self.log.told(&self.fleet.id, first.as_slice(), TOLD_BYTES_MAX);
        let secrets = self.fleet.secrets.clone();
        let others = self.links.values_mut().filter(|link| link.stage > Stage::Proving && Some(link.id) != but);
        for link in others.filter(|link| members.contains_key(&link.device)) {
            link.say(&Message::Members(log.clone()), out);
            link.say(&Message::Secrets(secrets.clone()), out);
        }
    }

    /// A member tells its log again: somebody was removed, perhaps we.
    pub(super) fn hear_members(&mut self, entries: &[Vec<u8>], now: Now, out: &mut Effects) -> Result<(), Bye> {
        let fleet = self.fleet.id;
        let mut log = self.log.clone();
        log.hear(entries);
        self.write_members(&log.belonging(&fleet), out);
        self.learn_changed(now);
        if self.is_member(&self.me.device) { Ok(()) } else { Err(Bye::Left) }
    }

    /// Gives a device another name, on all devices. Its history stays: that hangs on its key.
    pub(super) fn rename(&mut self, typed: &str, name: &Foreign, now: Now, out: &mut Effects) -> Result<Reply, Refusal> {
        let device = self.find_device(typed)?;
        let name = Foreign::new(name.normalised());
        if name.is_blank() || name.json().len() > NAME_BYTES_MAX {
            return Err(
                Refusal::new(Code::BadRequest, format!("a name has 1 to {NAME_BYTES_MAX} bytes")).fix("hubless devices rename NAME NEW")
            );
        }
        let at = self.hlc.max(self.showing.named_at(&device)).next(now.wall_ms);
        self.hlc = at;
        let fact = ChoiceFact::Name { device, name: name.clone(), at };
        let key = FactKey::Choice(self.unique());
        self.write("fleet", &[(key, saved::json(&fact))], out);
        self.learn_changed(now);
        Ok(Reply::Renamed { device, name: name.plain() })
    }

    /// What this device is called, here and on all others.
    pub(super) fn my_name(&self) -> String {
        self.showing.name(&self.me.device).map_or_else(|| self.me.name.clone(), |name| name.json().to_owned())
    }
}
