//! Links on which nothing comes: **a link is judged by what did not come, never by what we had no time to hear.**
//!
//! One that is due is suspected first. Then all that has come by now is heard (`Effects::catch_up`, which `Input::CaughtUp` answers behind it), and where we are
//! late ourselves, because a step or the machine took long, a moment more is given to what the system still holds for us. Who was heard meanwhile is not silent.

use crate::model::effects::Effects;
use crate::model::id::LinkId;
use crate::model::input::LinkAction;
use crate::model::limits::{PROVE_WITHIN_MS, SILENT_MS};
use crate::model::message::Bye;
use crate::model::time::{Millis, Now};

use super::link::{Link, Stage};
use super::machine::Replica;

/// How late we are when the system may hold frames that we were not given yet.
const LATE_MS: Millis = 500;
/// What is waited for those.
const MOMENT_MS: Millis = 1_000;

/// A link that may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// From then on what has come is heard, and then it is judged.
    From(Millis),
    /// It is judged when all that had come is heard.
    Asked,
}

impl Replica {
    /// How long a silent link is waited for.
    fn patience(&self, link: &Link) -> Millis {
        link.heard + if link.stage == Stage::Proving { PROVE_WITHIN_MS } else { SILENT_MS }
    }

    /// When a link is to be ended, or doubted, if nothing comes.
    fn silence_due(&self, link: &Link) -> Millis {
        let doubt = link.doubt_due().filter(|_| !link.doubted);
        self.patience(link).min(doubt.unwrap_or(Millis::MAX))
    }

    /// When something is due about a link's silence.
    pub(super) fn suspicion_due(&self, link: &Link) -> Millis {
        match link.suspected {
            None => self.silence_due(link),
            Some(Suspicion::From(at)) => at,
            Some(Suspicion::Asked) => Millis::MAX,
        }
    }

    /// Suspects every link that is due, and asks for what has come, so that it can be judged.
    pub(super) fn suspect_links(&mut self, now: Now, out: &mut Effects) {
        let dues: Vec<(LinkId, Millis)> = self.links.values().map(|link| (link.id, self.silence_due(link))).collect();
        for (id, due) in dues.into_iter().filter(|(_, due)| *due <= now.boot_ms) {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let late = now.boot_ms - due > LATE_MS;
            let begins = now.boot_ms + if late { MOMENT_MS } else { 0 };
            let from = *link.suspected.get_or_insert(Suspicion::From(begins));
            if matches!(from, Suspicion::From(at) if at <= now.boot_ms) {
                link.suspected = Some(Suspicion::Asked);
                out.catch_up = true;
            }
        }
    }

    /// All that had come is heard: who is still silent ends, or is doubted.
    pub(super) fn judge_links(&mut self, now: Now, out: &mut Effects) {
        let is_asked = |link: &mut Link| link.suspected.take_if(|what| *what == Suspicion::Asked).is_some();
        let suspected: Vec<LinkId> = self.links.values_mut().filter_map(|link| is_asked(link).then_some(link.id)).collect();
        for id in suspected {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let is_doubtful = !link.doubted && link.doubt_due().is_some_and(|due| due <= now.boot_ms);
            if self.links.get(&id).is_some_and(|link| self.patience(link) <= now.boot_ms) {
                self.end_link(id, Bye::Silent, now, out);
            } else if is_doubtful {
                self.doubt(id, now, out);
            }
        }
    }

    /// Who was asked and does not answer is dialled anew, beside its link: what TCP still holds for it may come much later.
    fn doubt(&mut self, id: LinkId, now: Now, out: &mut Effects) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.doubted = true;
        out.tell.push(LinkAction::Doubt { link: link.id });
        self.dialing.doubt(&link.device, now.boot_ms);
    }

    /// Links whose device is no member any more, or where we are none.
    pub(super) fn end_links(&mut self, now: Now, out: &mut Effects) {
        let is_over = |link: &&Link| link.stage > Stage::Proving && !(self.is_member(&link.device) && self.is_member(&self.me.device));
        let over: Vec<LinkId> = self.links.values().filter(is_over).map(|link| link.id).collect();
        over.into_iter().for_each(|id| self.end_link(id, Bye::Untrusted, now, out));
    }

    fn end_link(&mut self, id: LinkId, why: Bye, now: Now, out: &mut Effects) {
        let Some(mut link) = self.links.remove(&id) else { return };
        let unanswered = link.unanswered();
        link.hang_up(why, out);
        self.lost(&link, &why.to_string(), now, out);
        self.give_up(unanswered, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversations::{Node, frame, now, pair, said, talk, up};
    use super::*;
    use crate::model::input::{Input, PeerEvent};
    use crate::model::limits::{DOUBT_MS, PING_EVERY_MS};

    const B: LinkId = LinkId(1);
    const C: LinkId = LinkId(2);

    /// Two that are linked with a third, who has just asked both whether they are there; what they answered.
    fn asked() -> (Node, Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
        pair(&mut a, &mut b);
        pair(&mut a, &mut c);
        for (other, link) in [(&mut b, B), (&mut c, C)] {
            let (to_a, to_other) = up(&mut a, other, link, 3);
            talk(&mut a, other, link, 3, to_a, to_other, 5_000);
        }
        let out = a.step(PING_EVERY_MS + 10, Input::Tick);
        let answer = |other: &mut Node, link| -> Vec<Vec<u8>> {
            let answers = said(&out, link).into_iter().map(|bytes| said(&other.step(PING_EVERY_MS + 10, frame(link, bytes)), link));
            answers.flatten().collect()
        };
        let (of_b, of_c) = (answer(&mut b, B), answer(&mut c, C));
        assert!(!of_b.is_empty() && !of_c.is_empty());
        (a, of_b, of_c)
    }

    fn is_doubted(out: &Effects, link: LinkId) -> bool {
        out.tell.contains(&LinkAction::Doubt { link })
    }

    /// The core's own step, without the answer to what it asks for.
    fn step(a: &mut Node, ms: u64, input: Input) -> Effects {
        a.r.step(now(ms), input)
    }

    #[test]
    fn who_answered_while_we_were_busy_is_not_judged_by_it() {
        for busy in [DOUBT_MS + 2_000, 60_000] {
            let (mut a, of_b, of_c) = asked();
            // Something of b's took that long; what c said waits behind.
            let begun = PING_EVERY_MS + 10 + busy;
            let mut out = Effects::default();
            for (n, bytes) in of_b.into_iter().enumerate() {
                out.absorb(step(&mut a, begun + n as u64, frame(B, bytes)));
            }
            out.absorb(step(&mut a, begun + 2_000, Input::Tick));
            assert!(out.catch_up && !is_doubted(&out, C) && a.r.links.contains_key(&C), "c is heard before it is judged");
            let last = of_c.into_iter().map(|bytes| step(&mut a, begun + 2_001, frame(C, bytes))).last().expect("it said something");
            assert!(!is_doubted(&last, C));
            let judged = step(&mut a, begun + 2_002, Input::CaughtUp);
            assert!(!is_doubted(&judged, C) && !judged.catch_up && a.r.links.contains_key(&C), "after {busy} ms: {:?}", judged.tell);
        }
    }

    #[test]
    fn who_is_silent_is_doubted_at_once_and_ended_at_last() {
        let (mut a, of_b, _) = asked();
        of_b.into_iter().for_each(|bytes| drop(step(&mut a, PING_EVERY_MS + 20, frame(B, bytes))));
        let due = PING_EVERY_MS + 10 + DOUBT_MS;
        assert!(!step(&mut a, due - 1, Input::Tick).catch_up);
        assert!(step(&mut a, due, Input::Tick).catch_up && a.r.deadline().is_some_and(|next| next > now(due).boot_ms), "it does not spin");
        let judged = step(&mut a, due, Input::CaughtUp);
        assert!(is_doubted(&judged, C) && !is_doubted(&judged, B));
        // A link that is not proved, in time.
        let up = Input::Peer(PeerEvent::Up { link: LinkId(7), device: Node::new(9).me(), address: "y:1".into() });
        let _ = step(&mut a, due + 10, up);
        let _ = step(&mut a, due + 10 + PROVE_WITHIN_MS, Input::Tick);
        let _ = step(&mut a, due + 10 + PROVE_WITHIN_MS, Input::CaughtUp);
        assert!(!a.r.links.contains_key(&LinkId(7)) && a.r.links.contains_key(&C));
        let silent = SILENT_MS + 3;
        let _ = step(&mut a, silent, Input::Tick);
        let _ = step(&mut a, silent, Input::CaughtUp);
        assert!(!a.r.links.contains_key(&C) && a.r.links.contains_key(&B));
    }
}
