//! What the network says: links that come and go, frames in their order, proofs before anything else.

use crate::model::batch::Keep;
use crate::model::effects::{Effects, Note};
use crate::model::id::{DeviceId, DocId, LinkId};
use crate::model::input::PeerEvent;
use crate::model::limits::{DIALS_MAX, MEMBERS_BYTES_MAX, MESSAGE_BYTES_MAX, REDIAL_MAX_MS};
use crate::model::message::{Bye, Heard, Hello, Message, Presence, VERSIONS};
use crate::model::peering::Terms;
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::time::Now;
use crate::model::view::{DialView, Warning};

use super::link::{Link, Stage, Took};
use super::machine::Replica;
use super::saying::Measured;
use super::tally::Missed;

/// The front of the index rows that remember which documents were written again.
pub(super) const WRITTEN_AGAIN: &str = "written-again/";
/// What the first message takes beside its entries, at most.
const MEMBERS_FRAMING: usize = 64;
/// Strangers on the network that are shown.
const STRANGERS_MAX: usize = 64;

impl Replica {
    pub(super) fn hear_peer(&mut self, event: PeerEvent, now: Now, out: &mut Effects) {
        match event {
            PeerEvent::Listening { addresses } => {
                if !self.listening.is_empty() && self.listening != addresses {
                    // Another network: what could not be reached there may be here.
                    self.dialing.at_once(now.boot_ms);
                }
                self.listening = addresses;
                self.introduce(out);
            }
            PeerEvent::Around(around) => {
                if self.showing.view.around.as_ref() != Some(&around) {
                    self.showing.view.around = Some(around);
                    self.showing.view.seq += 1;
                }
            }
            PeerEvent::Sighted { instance, ours: true, addresses } => {
                self.sightings.remove(&instance);
                self.dialing.sighted(instance, addresses, now.boot_ms);
            }
            PeerEvent::Sighted { instance, ours: false, addresses } => {
                if self.sightings.len() < STRANGERS_MAX {
                    self.sightings.insert(instance, addresses.into_iter().next().unwrap_or_default());
                }
            }
            PeerEvent::Gone { instance } => {
                self.sightings.remove(&instance);
                self.dialing.gone(&instance);
            }
            PeerEvent::Up { link, device, address } => self.link_up(link, device, address, now, out),
            PeerEvent::Frame { link, bytes } => self.hear_frame(link, &bytes, now, out),
            PeerEvent::Room { link } => self.room(link, now, out),
            PeerEvent::Down { link, why } => {
                if let Some(link) = self.links.remove(&link) {
                    self.lost(&link, &why, now, out);
                }
            }
            PeerEvent::DialFailed { device, address, why } => self.dial_failed(device, address, why, now, out),
            PeerEvent::Invited { asker, keys } => self.invited(asker, keys, out),
            PeerEvent::Tried { asker, tries } => self.window.tried(asker, tries, out),
            PeerEvent::WindowOver { asker, why } => self.window.end(asker, Reply::Refused(why), out),
            PeerEvent::Joining { pairing, asker, device, name } => self.joining((pairing, asker), device, &name, now, out),
            PeerEvent::Welcomed { asker, device, welcome } => self.welcomed(asker, device, &welcome, now, out),
            PeerEvent::PairingFailed { asker, why } => out.reply.push((asker, Reply::Refused(why))),
        }
    }

    fn link_up(&mut self, id: LinkId, device: DeviceId, address: String, now: Now, out: &mut Effects) {
        let mut link = Link::up(id, device, address, now.boot_ms);
        let shut = if self.blocked.get(&device).is_some_and(|until| *until > now.boot_ms) {
            Some(Bye::Untrusted)
        } else {
            self.is_unwanted(&device).then_some(Bye::Unwanted)
        };
        if let Some(why) = shut {
            link.hang_up(why, out);
            return;
        }
        self.make_room_at(&link, now, out);
        // It may not know us, or may have slept: what fits into the message that it takes from anybody shows who we are.
        let told = self.log.told(&self.fleet.id, &[self.me.device, device], MEMBERS_BYTES_MAX - MEMBERS_FRAMING);
        link.say(&Message::Members(told), out);
        self.links.insert(id, link);
    }

    /// Of those at one address whose keys we do not know, one at a time is heard: who opens many connections at once costs no
    /// more than who opens one.
    fn make_room_at(&mut self, link: &Link, now: Now, out: &mut Effects) {
        if self.is_member(&link.device) {
            return;
        }
        let host = |address: &str| address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let unproved = self.links.values().filter(|other| other.stage == Stage::Proving && host(&other.address) == host(&link.address));
        let older: Vec<LinkId> = unproved.filter(|other| !self.is_member(&other.device)).map(|other| other.id).collect();
        for mut older in older.into_iter().filter_map(|id| self.links.remove(&id)).collect::<Vec<_>>() {
            older.hang_up(Bye::Silent, out);
            self.lost(&older, "another connection from its address took its place", now, out);
        }
    }

    fn hear_frame(&mut self, id: LinkId, bytes: &[u8], now: Now, out: &mut Effects) {
        let Some(mut link) = self.links.remove(&id) else { return };
        link.hear(bytes.len(), now.boot_ms);
        let limit = match link.stage {
            // By its key it is a member: what it says first may be long because of what happened while we slept.
            Stage::Proving if self.is_member(&link.device) => MESSAGE_BYTES_MAX,
            Stage::Proving => MEMBERS_BYTES_MAX + self.log.bytes(&self.fleet.id),
            Stage::Greeting | Stage::Comparing | Stage::Open => MESSAGE_BYTES_MAX,
        };
        let ended = match link.ear.hear(bytes, limit) {
            Ok(Heard::Whole(message)) => self.hear_message(&mut link, message, now, out).err(),
            Ok(Heard::More) => {
                link.documents_heard = now.boot_ms;
                None
            }
            Ok(Heard::Unknown) => {
                link.unknown += 1;
                None
            }
            Err(_) => Some(Bye::Garbled),
        };
        match ended {
            None => drop(self.links.insert(id, link)),
            Some(why) => {
                link.hang_up(why, out);
                self.lost(&link, &why.to_string(), now, out);
            }
        }
    }

    /// `Err`: the link ends, and why.
    fn hear_message(&mut self, link: &mut Link, message: Message, now: Now, out: &mut Effects) -> Result<(), Bye> {
        match (link.stage, message) {
            (Stage::Proving, Message::Members(entries)) => self.prove(link, &entries, now, out),
            (_, Message::Bye(why)) => {
                link.farewell = true;
                self.hear_bye(link, why, now, out);
                Err(why)
            }
            (Stage::Proving, _) => Err(Bye::Untrusted),
            (_, Message::Members(entries)) => self.hear_members(&entries, now, out),
            (Stage::Greeting, Message::Hello(hello)) => self.hear_hello(link, &hello, now, out),
            (Stage::Comparing, Message::Heads(heads)) => {
                link.compare(&heads, now, &mut self.library, out);
                Ok(())
            }
            (Stage::Open, Message::Sync { doc, first, bytes }) if !doc.is_local() => {
                link.documents_heard = now.boot_ms;
                let heard = link.hear_sync(&doc, first, &bytes, now, &mut self.library, out);
                self.took(link, &doc, heard, out);
                Ok(())
            }
            (Stage::Open, Message::Changes { doc, bytes }) if !doc.is_local() => {
                link.documents_heard = now.boot_ms;
                let heard = link.hear_changes(&doc, &bytes, now, &mut self.library, out);
                self.took(link, &doc, heard, out);
                Ok(())
            }
            (_, Message::Presence(presence)) => self.hear_presence(link, &presence, now, out),
            (_, Message::Ping { n }) => {
                link.say(&Message::Pong { n, wall_ms: now.wall_ms }, out);
                Ok(())
            }
            (_, Message::Pong { n, wall_ms }) => {
                let measured = link.pong(n, wall_ms, now);
                self.answer_pong(link, measured, out);
                Ok(())
            }
            (_, Message::Secrets(secrets)) => {
                self.learn_secrets(link, &secrets, out);
                Ok(())
            }
            (_, Message::Held { doc }) => {
                self.hear_held(link, doc, out);
                Ok(())
            }
            (_, Message::Terms(terms)) => {
                // They hold for the whole link; what comes later changes nothing.
                if link.stage == Stage::Greeting {
                    link.theirs = terms;
                }
                Ok(())
            }
            // Who does not know what terms are goes on as if there were none.
            (Stage::Open, Message::Heads(_)) if link.mine != Terms::ALL => Ok(()),
            (Stage::Open, Message::Look { n, heads }) => {
                self.hear_look(link, n, heads);
                Ok(())
            }
            (_, Message::Holding { n, docs }) => {
                self.hear_holding(link, n, docs, now);
                Ok(())
            }
            (_, Message::Look { .. }) => Ok(()),
            (_, Message::Hello(_) | Message::Heads(_) | Message::Sync { .. } | Message::Changes { .. }) => Err(Bye::Garbled),
        }
    }

    /// A peer cannot take a document of ours: what it says is written again, once, where the peer can take it.
    fn hear_held(&mut self, link: &mut Link, doc: DocId, out: &mut Effects) {
        // Of what stays nobody can have heard.
        if doc.is_local() || self.library.get(&doc).is_none() {
            return;
        }
        let name = self.showing.view.device_name(&link.device).plain();
        let what = format!("{name} holds document {doc} back from this device");
        link.hear_held(&doc, Warning { what, fix: Some(format!("`hubless doctor`, here and on {name}")) });
        // One base name once: a peer that holds back shard after shard must not make us write for ever.
        let base = doc.as_str().split('.').next().unwrap_or_default().to_owned();
        if self.written_again.insert(base.clone()) {
            let fresh = self.library.write_again(&doc, &mut out.keep);
            self.fresh.extend(fresh.into_iter().map(|fresh| (None, fresh)));
            out.keep.push(Keep::Index { key: format!("{WRITTEN_AGAIN}{base}"), value: Some(Vec::new()) });
        }
    }

    fn hear_hello(&mut self, link: &mut Link, hello: &Hello, now: Now, out: &mut Effects) -> Result<(), Bye> {
        if hello.fleet != self.fleet.id {
            return Err(Bye::Untrusted);
        }
        if !hello.versions.iter().any(|version| VERSIONS.contains(version)) {
            return Err(Bye::Version);
        }
        self.notice_life(link.device, hello, now, out)?;
        self.dialing.told(&link.device, &hello.addresses);
        link.hear_hello(hello, now, &mut self.library, out);
        link.say(&Message::Presence(self.presence(now)), out);
        let others: Vec<DeviceId> = self.presences.heard().keys().copied().filter(|device| *device != link.device).collect();
        for device in others {
            if let Some(presence) = self.presences.relay(&device, now.boot_ms) {
                link.say(&Message::Presence(presence), out);
            }
        }
        Ok(())
    }

    fn took(&mut self, link: &mut Link, doc: &DocId, took: Took, out: &mut Effects) {
        if let Some(fresh) = took.fresh {
            self.mending.came(doc, fresh.changes, link.device);
            self.foreign = true;
            self.fresh.push(((!took.released).then_some(link.id), fresh));
        }
        if let Some(why) = took.hold {
            let name = self.showing.view.device_name(&link.device).plain();
            let what = format!("document {doc} is held back from {name}: {why}");
            out.note.push(Note::SetAside { what: what.clone() });
            link.hold(doc, Warning { what, fix: Some(format!("`hubless doctor`, here and on {name}")) }, out);
        }
    }

    fn hear_presence(&mut self, link: &Link, presence: &Presence, now: Now, out: &mut Effects) -> Result<(), Bye> {
        if presence.device != link.device && !self.is_member(&presence.device) {
            return Ok(());
        }
        if self.presences.hear(presence, presence.device == link.device, now.boot_ms) {
            self.unseen.remove(&presence.device);
            self.showing.presence_changed(&presence.device, &self.presences);
            let handed_on = Message::Presence(presence.clone());
            for other in self.links.values_mut().filter(|other| other.stage >= Stage::Comparing && other.device != presence.device) {
                other.say_presence(&handed_on, out);
            }
        }
        Ok(())
    }

    fn room(&mut self, id: LinkId, now: Now, out: &mut Effects) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.room(now, &mut self.library, out);
        if std::mem::take(&mut link.presence_owed) {
            let frame = Message::Presence(self.presence(now));
            self.links.get_mut(&id).into_iter().for_each(|link| link.say(&frame, out));
        }
    }

    fn dial_failed(&mut self, device: Option<DeviceId>, address: String, why: String, now: Now, out: &mut Effects) {
        let name = device.map_or_else(|| "?".to_owned(), |device| self.showing.view.device_name(&device).plain());
        if let Some(device) = device {
            self.errors.insert(device, (now.wall_ms, format!("{address}: {why}")));
            let dials = self.dials.entry(device).or_default();
            let before = dials.iter().position(|dial| dial.address == address).map(|at| dials.remove(at).times);
            dials.insert(0, DialView { address: address.clone(), at: now.wall_ms, why: why.clone(), times: before.unwrap_or(0) + 1 });
            dials.truncate(DIALS_MAX);
        }
        out.note.push(Note::DialFailed { device: name, address, why });
    }

    fn answer_pong(&mut self, link: &Link, measured: Option<Measured>, out: &mut Effects) {
        let Some(measured) = measured else { return };
        for asker in measured.askers {
            if self.pings.end(asker) {
                let pong =
                    Reply::Pong { device: link.device, rtt_ms: measured.rtt_ms, address: link.address.clone(), level: link.is_level() };
                out.reply.push((asker, pong));
            }
        }
    }

    /// A link is gone: what it leaves behind.
    pub(super) fn lost(&mut self, link: &Link, why: &str, now: Now, out: &mut Effects) {
        if link.stage > Stage::Proving {
            let device = self.showing.view.device_name(&link.device).plain();
            out.note.push(Note::Link { device, up: false, detail: why.to_owned() });
            self.forget_level(link);
        }
        let lasted = link.stage == Stage::Open && now.boot_ms.saturating_sub(link.since) >= REDIAL_MAX_MS;
        let lost = link.stage == Stage::Open && !link.farewell;
        self.dialing.down(&link.device, lasted, lost, now.boot_ms);
    }

    /// What is known of how far apart the two are, now that their link is gone. A link that let nothing through has changed nothing.
    fn forget_level(&mut self, link: &Link) {
        if link.is_level() && link.is_confirmed() {
            self.behind.insert(link.device, Missed::new());
        } else if link.flow() != Terms::NONE {
            self.behind.remove(&link.device);
        }
        let (heard, said) = self.bytes_before.get(&link.device).copied().unwrap_or_default();
        self.bytes_before.insert(link.device, (heard + link.bytes.0, said + link.bytes.1));
    }

    pub(super) fn give_up(&mut self, askers: Vec<crate::model::id::Asker>, out: &mut Effects) {
        for asker in askers {
            if self.pings.end(asker) {
                out.reply.push((asker, Reply::Refused(Refusal::new(Code::Unreachable, "the link ended before an answer came"))));
            }
        }
    }
}
