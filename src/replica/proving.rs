//! Who the other end is: proved a member before anything else is heard, known by its life, and heard to its last word.

use crate::model::batch::Keep;
use crate::model::effects::{Effects, Note};
use crate::model::id::DeviceId;
use crate::model::input::LinkAction;
use crate::model::limits::{BLOCKED_MS, LIVES_AHEAD_MAX};
use crate::model::message::{Bye, Hello, Message, VERSIONS};
use crate::model::time::Now;
use crate::model::view::Warning;

use super::link::{Link, Stage};
use super::machine::Replica;

/// The first secret stays, for whoever slept through everything announces with it; of the others the newest.
pub(super) fn keep_secrets(secrets: &mut Vec<[u8; 32]>) {
    let over = secrets.len().saturating_sub(SECRETS_MAX);
    secrets.drain(1..=over);
}

/// Secrets of a fleet that are remembered.
const SECRETS_MAX: usize = 64;
/// New secrets that one link may tell; each removal of a device makes one.
const SECRETS_OF_A_LINK_MAX: usize = 8;
/// What mends two machines with one key.
const ONE_KEY_TWICE: &str = "on one of the two: hubless down, hubless rekey, hubless up; then pair it again";

impl Replica {
    /// The other's entries must prove it a member before anything else is heard. What they say of us counts too.
    pub(super) fn prove(&mut self, link: &mut Link, entries: &[Vec<u8>], now: Now, out: &mut Effects) -> Result<(), Bye> {
        let fleet = self.fleet.id;
        let mut log = self.log.clone();
        log.hear(entries);
        let of_us = log.is_removed(&fleet, &self.me.device.0) && !self.log.is_removed(&fleet, &self.me.device.0);
        if log.proves(&fleet, &link.device.0) || of_us {
            self.write_members(&log.belonging(&fleet), out);
            self.learn_changed(now);
        }
        if !self.is_member(&self.me.device) {
            return Err(Bye::Left);
        }
        if !self.is_member(&link.device) {
            self.block(link.device, now, out);
            return Err(Bye::Untrusted);
        }
        let device = self.showing.view.device_name(&link.device).plain();
        out.note.push(Note::Link { device, up: true, detail: link.address.clone() });
        self.errors.remove(&link.device);
        link.say(&Message::Secrets(self.fleet.secrets.clone()), out);
        let hello = Hello {
            versions: VERSIONS.to_vec(),
            fleet,
            life: self.life,
            wall_ms: now.wall_ms,
            all: [0; 32],
            addresses: self.listening.clone(),
            your_life: self.lives.counter(&link.device),
        };
        self.set_terms(link, out);
        link.greet(hello, &self.library, out);
        Ok(())
    }

    /// Hears a device's life, and what it knows of ours: a restored store takes the next life, a clone is named.
    pub(super) fn notice_life(&mut self, device: DeviceId, hello: &Hello, now: Now, out: &mut Effects) -> Result<(), Bye> {
        let is_likely = hello.your_life <= self.counter_opened.saturating_add(LIVES_AHEAD_MAX);
        if hello.your_life > self.life.counter && !is_likely {
            let name = self.showing.view.device_name(&device).plain();
            let what = format!("{name} says that this device is in its life {}, which cannot be", hello.your_life);
            self.warn(&format!("life/{device}"), true, || Warning { what, fix: Some(format!("look at {name}: `hubless devices`")) });
        } else if hello.your_life > self.life.counter {
            self.life.counter = hello.your_life + 1;
            out.keep.push(Keep::Life { counter: self.life.counter });
            self.presences.renew(self.life);
            let what = format!("this store was restored from an older copy: others knew life {}", hello.your_life);
            out.note.push(Note::Restored { what: what.clone() });
            self.warn("restored", true, || Warning { what, fix: None });
        }
        if self.lives.is_shut(&device, &hello.life, now.boot_ms) {
            return Err(Bye::Clone);
        }
        let Some(lower) = self.lives.hear(device, hello.life, now.boot_ms, &mut out.keep) else { return Ok(()) };
        let name = self.showing.view.device_name(&device).plain();
        let what = format!("{name} ({}) runs on two machines with one key", device.short());
        self.warn(&format!("clone/{device}"), true, || Warning { what, fix: Some(ONE_KEY_TWICE.into()) });
        // The two would take the stream from each other for ever: one of them stays.
        if lower.nonce == hello.life.nonce { Err(Bye::Clone) } else { Ok(()) }
    }

    pub(super) fn hear_bye(&mut self, link: &Link, why: Bye, now: Now, out: &mut Effects) {
        if link.stage == Stage::Proving && !(why == Bye::Unwanted && self.is_member(&link.device)) {
            return;
        }
        match why {
            Bye::Clone => self.hear_clone(link, now, out),
            Bye::Left => {
                // Nobody there works for this fleet any more; nothing more will come to say so.
                self.forget_presence(&link.device);
                self.errors.insert(link.device, (now.wall_ms, Bye::Left.to_string()));
            }
            Bye::Unwanted => drop(self.errors.insert(link.device, (now.wall_ms, why.to_string()))),
            Bye::Anew => self.dialing.anew(&link.device, now.boot_ms),
            Bye::Stopping => {
                self.presences.part(&link.device);
                self.showing.presence_changed(&link.device, &self.presences);
            }
            Bye::Untrusted | Bye::Version | Bye::Garbled | Bye::Silent | Bye::Slept => {}
        }
    }

    pub(super) fn forget_presence(&mut self, device: &DeviceId) {
        self.presences.forget(device);
        self.showing.presence_changed(device, &self.presences);
    }

    /// Another machine runs with our key, and the other speaks to that one: we do not come between for a while.
    fn hear_clone(&mut self, link: &Link, now: Now, out: &mut Effects) {
        self.block(link.device, now, out);
        self.warn("clone", true, || Warning {
            what: "another machine runs with this device's key".into(),
            fix: Some(ONE_KEY_TWICE.into()),
        });
    }

    fn block(&mut self, device: DeviceId, now: Now, out: &mut Effects) {
        self.blocked.insert(device, now.boot_ms + BLOCKED_MS);
        out.tell.push(LinkAction::Block { device, for_ms: BLOCKED_MS });
    }

    /// Secrets that another tells. The first one, that of the fleet's beginning, stays; of the others the last ones heard, and
    /// few of one link: whoever tells what is none can neither keep a later one out nor push all others out at once.
    pub(super) fn learn_secrets(&mut self, link: &mut Link, told: &[[u8; 32]], out: &mut Effects) {
        let before = self.fleet.secrets.len();
        // The newest stand last.
        for secret in told.iter().rev() {
            if link.secrets < SECRETS_OF_A_LINK_MAX && !self.fleet.secrets.contains(secret) {
                link.secrets += 1;
                self.fleet.secrets.insert(before.min(self.fleet.secrets.len()), *secret);
                self.fleet_changed = true;
            }
        }
        if self.fleet.secrets.len() > before {
            keep_secrets(&mut self.fleet.secrets);
            out.tell.push(LinkAction::Fleet(self.fleet.clone()));
            self.tell_secrets(Some(link.id), None, out);
        }
    }
}
