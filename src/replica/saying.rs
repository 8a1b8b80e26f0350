//! How a link says things, and how it finds out that they came: **presence never waits for documents, and what is small never waits
//! for what is large.**
//!
//! What is large (of one message more than [`SMALL_BYTES_MAX`]) is *poured*: it goes behind everything that is *said*, at the pace that is set. A document of which
//! something was poured stays behind, until the network says that all was taken, so that its changes keep their order.

use crate::model::effects::Effects;
use crate::model::id::{Asker, DocId};
use crate::model::input::LinkAction;
use crate::model::limits::{
    CONFIRM_MS, DOUBT_BYTES_MAX, DOUBT_MS, FRAME_BYTES_MAX, PACED_FRAME_BYTES, PING_EVERY_MS, PRESENCE_UNHEARD_MAX, SMALL_BYTES_MAX,
};
use crate::model::message::{Bye, Message};
use crate::model::time::{Millis, Now};

use super::link::{Link, Stage};

/// Pings without an answer that are remembered.
const PINGS_MAX: usize = 64;

/// A ping that was sent.
pub(super) struct Ping {
    at: Now,
    /// How many messages about documents had been said that go before it.
    after: u64,
    /// Whether it was poured behind documents, and may take long for that reason.
    poured: bool,
    askers: Vec<Asker>,
}

/// What a pong tells.
pub struct Measured {
    /// There and back.
    pub rtt_ms: Millis,
    /// The other's wall clock minus ours.
    pub skew_ms: i64,
    /// Who asked for it.
    pub askers: Vec<Asker>,
}

/// The document that a message is about.
fn about(message: &Message) -> Option<&DocId> {
    match message {
        Message::Sync { doc, .. } | Message::Changes { doc, .. } => Some(doc),
        Message::Members(_)
        | Message::Hello(_)
        | Message::Heads(_)
        | Message::Presence(_)
        | Message::Ping { .. }
        | Message::Pong { .. }
        | Message::Secrets(_)
        | Message::Held { .. }
        | Message::Bye(_)
        | Message::Terms(_)
        | Message::Look { .. }
        | Message::Holding { .. } => None,
    }
}

impl Link {
    /// Says one message, room or not; what is large asks [`Link::has_room`] first.
    pub fn say(&mut self, message: &Message, out: &mut Effects) {
        let frames = message.frames_of(if self.paced { PACED_FRAME_BYTES } else { FRAME_BYTES_MAX });
        let bytes: usize = frames.iter().map(Vec::len).sum();
        self.count(bytes);
        let doc = about(message);
        self.told.0 += u64::from(doc.is_some());
        // The last word comes last.
        let last = matches!(message, Message::Bye(_) | Message::Holding { .. });
        let pours = last || doc.is_some_and(|doc| bytes > SMALL_BYTES_MAX || self.poured.contains(doc));
        if let Some(doc) = doc.filter(|_| pours) {
            self.poured.insert(doc.clone());
        }
        let link = self.id;
        out.tell.push(if pours { LinkAction::Pour { link, frames } } else { LinkAction::Say { link, frames } });
    }

    fn count(&mut self, bytes: usize) {
        self.credit -= bytes as i64;
        self.bytes.1 += bytes as u64;
        self.unheard += bytes as u64;
    }

    /// Says who lives, unless much of that went out and nothing came back: then it is owed.
    pub fn say_presence(&mut self, message: &Message, out: &mut Effects) {
        if self.has_room() || self.presence_unheard < PRESENCE_UNHEARD_MAX {
            let before = self.bytes.1;
            self.say(message, out);
            self.presence_unheard += self.bytes.1 - before;
        } else {
            self.presence_owed = true;
        }
    }

    /// Ends the link after what was said.
    pub fn hang_up(&mut self, why: Bye, out: &mut Effects) {
        self.say(&Message::Bye(why), out);
        out.tell.push(LinkAction::HangUp { link: self.id, why });
    }

    /// Whether the other is known to have got all that it was told.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.told.0 == self.told.1
    }

    /// From when on the other end is doubted, if it stays silent: it was asked, and nothing has come since.
    #[must_use]
    pub fn doubt_due(&self) -> Option<Millis> {
        let asked = self.pings.values().filter(|ping| !ping.poured).map(|ping| ping.at.boot_ms).find(|asked| *asked >= self.heard)?;
        (self.stage == Stage::Open && self.unheard <= DOUBT_BYTES_MAX).then_some(asked + DOUBT_MS)
    }

    /// Asks whether the other is there.
    pub fn ping(&mut self, now: Now, asker: Option<Asker>, out: &mut Effects) {
        self.ping_due = now.boot_ms + PING_EVERY_MS;
        let after = if self.poured.is_empty() { self.told.0 } else { 0 };
        let n = self.remember(Ping { at: now, after, poured: false, askers: asker.into_iter().collect() });
        self.say(&Message::Ping { n }, out);
    }

    /// Asks behind what was poured, once, whether that came.
    pub(super) fn confirm(&mut self, now: Now, out: &mut Effects) {
        if self.asked_after() < self.told.0 {
            let n = self.remember(Ping { at: now, after: self.told.0, poured: true, askers: Vec::new() });
            let frames = Message::Ping { n }.frames();
            self.count(frames.iter().map(Vec::len).sum());
            out.tell.push(LinkAction::Pour { link: self.id, frames });
        }
    }

    fn remember(&mut self, ping: Ping) -> u64 {
        self.pinged += 1;
        while self.pings.len() >= PINGS_MAX {
            self.pings.pop_first();
        }
        self.pings.insert(self.pinged, ping);
        self.pinged
    }

    /// Up to which message about documents it was asked whether they came.
    fn asked_after(&self) -> u64 {
        self.pings.values().map(|ping| ping.after).max().unwrap_or(0).max(self.told.1)
    }

    /// Hears the answer to a ping.
    pub fn pong(&mut self, n: u64, wall_ms: i64, now: Now) -> Option<Measured> {
        let ping = self.pings.remove(&n)?;
        self.told.1 = self.told.1.max(ping.after);
        (self.shown_bytes, self.shown_unknown) = (self.bytes, self.unknown);
        if ping.poured {
            return None;
        }
        self.presence_unheard = 0;
        let rtt_ms = now.mono_ms.saturating_sub(ping.at.mono_ms);
        let skew_ms = wall_ms.saturating_sub(ping.at.wall_ms.saturating_add(rtt_ms as i64 / 2));
        self.measured = Some((rtt_ms, skew_ms));
        Some(Measured { rtt_ms, skew_ms, askers: ping.askers })
    }

    /// Askers whose pings were not answered by this link.
    pub fn unanswered(&mut self) -> Vec<Asker> {
        std::mem::take(&mut self.pings).into_values().flat_map(|ping| ping.askers).collect()
    }

    /// Soon after something was written the other is asked, so that it is known whether it came.
    pub fn confirm_soon(&mut self, now: Millis) {
        if self.asked_after() < self.told.0 {
            self.ping_due = self.ping_due.min(now + CONFIRM_MS);
        }
    }
}
