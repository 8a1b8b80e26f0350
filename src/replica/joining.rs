//! Fleets that grow and part: a joiner is admitted by a signed entry that is kept before it is told.

use crate::model::batch::Keep;
use crate::model::effects::{Effects, Note};
use crate::model::id::{Asker, Collection, DeviceId, FleetId, Life};
use crate::model::input::{LinkAction, Welcome};
use crate::model::limits::ENTRIES_BYTES_MAX;
use crate::model::member::Fleet;
use crate::model::message::Bye;
use crate::model::reply::{Code, Keys, Refusal, Reply};
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::rules::members;

use super::identity::Identity;
use super::machine::Replica;
use super::proving::keep_secrets;
use super::saved;
use super::window::Window;

impl Replica {
    /// Only a device that is alone joins another fleet: what two fleets hold is not mixed by accident.
    pub(super) fn may_join(&self) -> Result<(), Refusal> {
        let others = self.log.ids(&self.fleet.id).count().saturating_sub(1);
        if others == 0 {
            return Ok(());
        }
        Err(Refusal::new(Code::AlreadyPaired, "this device is paired already")
            .because(format!("it is in a fleet with {others} other device{}", if others == 1 { "" } else { "s" }))
            .fix("make the ticket here and join from the new device; or  hubless leave  first"))
    }

    /// A new fleet where there was one already is no silent matter.
    pub(super) fn note_lost_fleet(&self, out: &mut Effects) {
        let was_in_one = self.library.iter().any(|(id, _)| id.collection() == Collection::Fleet);
        if was_in_one {
            let what = "the fleet's secrets are gone and this device is alone in a new one; pair it again";
            out.note.push(Note::Restored { what: what.to_owned() });
        }
    }

    /// The window is open.
    pub(super) fn invited(&mut self, asker: Asker, keys: Keys, out: &mut Effects) {
        self.window = Window::open(asker);
        out.reply.push((asker, Reply::Invited { window: asker.0, keys }));
    }

    /// A joiner knows our ticket's secret or our code: it becomes a member.
    pub(super) fn joining(&mut self, (pairing, asker): (u64, Asker), device: DeviceId, name: &str, now: Now, out: &mut Effects) {
        let fleet = self.fleet.id;
        if let Err(why) = self.may_invite() {
            self.window.end(asker, Reply::Refused(why.clone()), out);
            out.tell.push(LinkAction::TurnAway { pairing, why });
            return;
        }
        if self.log.is_removed(&fleet, &device.0) {
            let why = Refusal::new(Code::PairMismatch, "this device was removed from the fleet")
                .because("a removed key stays out for ever")
                .fix("on that device: hubless down, hubless rekey, hubless up; then pair again");
            self.window.end(asker, Reply::Refused(Refusal { what: "it was removed from this fleet".into(), ..why.clone() }), out);
            out.tell.push(LinkAction::TurnAway { pairing, why });
            return;
        }
        if !self.is_member(&device) {
            let parents = self.log.parents(&fleet, &self.me.device.0);
            let (_, entry) = members::add(&self.me.signing, &parents, device);
            self.write("fleet", &[saved::member(&entry)], out);
            self.learn_changed(now);
        }
        if !self.is_member(&device) {
            let why = Refusal::new(Code::NotPermitted, "this device cannot let others in: an entry of it does not count")
                .because("who let it in wrote too much")
                .fix("pair with another device of the fleet");
            self.window.end(asker, Reply::Refused(why.clone()), out);
            out.tell.push(LinkAction::TurnAway { pairing, why });
            return;
        }
        self.blocked.remove(&device);
        self.showing.meet(device, name);
        let entries = self.log.told(&fleet, &[device, self.me.device], ENTRIES_BYTES_MAX);
        let welcome = Welcome { fleet: self.fleet.clone(), entries, name: self.my_name(), addresses: self.listening.clone() };
        let welcome = postcard::to_stdvec(&welcome).expect("plain data is written without failing");
        out.tell.push(LinkAction::Admit { pairing, welcome });
        let name = Foreign::new(name).plain();
        out.note.push(Note::Paired { device: name.clone() });
        self.window.end(asker, Reply::Paired { device, name }, out);
    }

    /// We were let in, if the entries prove it.
    pub(super) fn welcomed(&mut self, asker: Asker, device: DeviceId, welcome: &[u8], now: Now, out: &mut Effects) {
        let checked = self.check(device, welcome).and_then(|welcome| {
            let is_ours = welcome.fleet.id == self.fleet.id;
            if is_ours { Ok(()) } else { self.may_join() }.map(|()| (welcome, is_ours))
        });
        let (welcome, is_ours) = match checked {
            Ok(checked) => checked,
            Err(refusal) => {
                out.reply.push((asker, Reply::Refused(refusal)));
                return;
            }
        };
        if !is_ours {
            (self.fleet, self.fleet_changed) = (welcome.fleet, true);
            keep_secrets(&mut self.fleet.secrets);
            out.tell.push(LinkAction::Fleet(self.fleet.clone()));
        }
        let mut log = self.log.clone();
        log.hear(&welcome.entries);
        self.write_members(&log.belonging(&self.fleet.id), out);
        self.learn_changed(now);
        self.members_changed(now);
        self.dialing.told(&device, &welcome.addresses);
        self.showing.meet(device, &welcome.name);
        let name = Foreign::new(welcome.name).plain();
        out.note.push(Note::Paired { device: name.clone() });
        out.reply.push((asker, Reply::Paired { device, name }));
    }

    /// Writes those entries into the fleet document that are not known.
    pub(super) fn write_members(&mut self, entries: &[Vec<u8>], out: &mut Effects) {
        let facts: Vec<_> = entries.iter().filter(|entry| !self.log.knows(entry)).map(|entry| saved::member(entry)).collect();
        self.write("fleet", &facts, out);
    }

    /// Keeps the fleet, and the entries that make its members, in a file of their own when either changed.
    pub(super) fn keep_fleet(&mut self, out: &mut Effects) {
        if std::mem::take(&mut self.fleet_changed) {
            let bytes = saved::fleet(&self.fleet, &self.log.told(&self.fleet.id, &[self.me.device], ENTRIES_BYTES_MAX));
            if self.fleet_kept != bytes {
                self.fleet_kept.clone_from(&bytes);
                out.keep.push(Keep::Fleet { bytes });
            }
        }
    }

    /// What we were given must make both of us members of the fleet it names.
    fn check(&self, inviter: DeviceId, welcome: &[u8]) -> Result<Welcome, Refusal> {
        let unproved = || Refusal::new(Code::PairMismatch, "the other side did not prove that it let us in").fix("make a new ticket");
        let welcome: Welcome = postcard::from_bytes(welcome).map_err(|_| unproved())?;
        // What we know already counts, too: the inviter may not have heard yet that it was removed.
        let mut log = self.log.clone();
        log.hear(&welcome.entries);
        let fleet = welcome.fleet.id;
        if log.is_removed(&fleet, &inviter.0) {
            return Err(Refusal::new(Code::PairMismatch, "that device was removed from its fleet, and does not know it yet")
                .because("a removed device lets nobody in")
                .fix("on that device: hubless leave, then a new ticket"));
        }
        if log.proves(&fleet, &self.me.device.0) && log.proves(&fleet, &inviter.0) { Ok(welcome) } else { Err(unproved()) }
    }

    /// Alone again, in a new fleet, with all that is known.
    pub(super) fn leave(&mut self, now: Now, out: &mut Effects) -> Reply {
        self.acts += 1;
        let mut life = self.life;
        life.nonce = life.nonce.wrapping_add(self.acts);
        let (fleet, genesis) = found(&self.me, life);
        (self.fleet, self.fleet_changed) = (fleet, true);
        self.write_members(&genesis, out);
        self.learn_changed(now);
        self.members_changed(now);
        self.say_farewell(out);
        for mut link in std::mem::take(&mut self.links).into_values() {
            self.give_up(link.unanswered(), out);
            link.hang_up(Bye::Left, out);
        }
        out.tell.push(LinkAction::Fleet(self.fleet.clone()));
        Reply::Left
    }
}

/// A fleet of this device alone. The secrets come out of the device's key, which is random, and of this life.
pub(super) fn found(me: &Identity, life: Life) -> (Fleet, Vec<Vec<u8>>) {
    let mut seed = blake3::Hasher::new_derive_key("hubless 1 fleet");
    seed.update(me.signing.as_bytes());
    seed.update(&life.counter.to_le_bytes());
    seed.update(&life.nonce.to_le_bytes());
    let mut bytes = [0; 48];
    seed.finalize_xof().fill(&mut bytes);
    let (mut nonce, mut secret) = ([0; 16], [0; 32]);
    nonce.copy_from_slice(&bytes[..16]);
    secret.copy_from_slice(&bytes[16..]);
    let (hash, entry) = members::genesis(&me.signing, nonce);
    (Fleet { id: FleetId(hash), secrets: vec![secret] }, vec![entry])
}
