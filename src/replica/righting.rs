//! A clock that was ahead and was set back leaves ends that are yet to come. Facts are never changed, so the end is said again
//! for the moment in which that is noticed; and who goes on in such a session speaks right after the end, or nobody would see
//! that it goes on before the clock has caught up.

use crate::model::beat::{Beat, Reported};
use crate::model::effects::Effects;
use crate::model::id::SessionId;
use crate::model::limits::SKEW_SHOWN_MS;
use crate::model::session::EndFact;
use crate::model::time::Now;

use super::machine::Replica;

impl Replica {
    /// Sets right what a wrong clock said, at the start and when the clock goes back.
    pub(super) fn notice_clock(&mut self, now: Now, out: &mut Effects) {
        let before = self.living.wall.replace(now.wall_ms);
        if before.is_none_or(|before| now.wall_ms < before.saturating_sub(SKEW_SHOWN_MS)) {
            self.set_ends_right(now, out);
        }
    }

    fn set_ends_right(&mut self, now: Now, out: &mut Effects) {
        let me = self.me.device;
        let over = self.showing.view.sessions.values().filter(|session| session.fact.device == me);
        let ahead = over.filter_map(|session| Some((session.id, session.end.clone()?)));
        let ahead: Vec<(SessionId, EndFact)> = ahead.filter(|(_, end)| end.at > now.wall_ms.saturating_add(SKEW_SHOWN_MS)).collect();
        for (session, end) in ahead {
            let last = |beat: &&Beat| beat.session == session && beat.at > now.wall_ms && !beat.state.is_alive();
            let beats: Vec<Beat> = self.showing.beats_of(me).filter(last).cloned().collect();
            for beat in beats {
                let since = beat.since.min(now.wall_ms);
                self.write_beat(&Beat { rev: beat.rev + 1, at: now.wall_ms, since, ..beat }, out);
            }
            self.write_end(session, &EndFact { at: now.wall_ms, ..end }, out);
        }
        self.learn_changed(now);
    }

    /// When a word of a living agent is said, so that it counts after an end that a wrong clock put ahead.
    pub(super) fn past_ends(&self, session: SessionId, state: Reported, at: i64, now: Now) -> i64 {
        let ahead = self.showing.ended(&session).filter(|end| state.is_alive() && end.at > now.wall_ms && end.at >= at);
        ahead.map_or(at, |end| end.at.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversations::{Node, now};
    use super::*;
    use crate::model::ask::{Ask, Report, RunDeed, RunReport};
    use crate::model::id::Asker;
    use crate::model::input::Input;
    use crate::model::view::{SessionState, SessionView};

    const HOUR: i64 = 60 * 60 * 1000;

    fn at(wall_ms: i64, ms: u64) -> Now {
        Now { wall_ms, ..now(ms) }
    }

    fn step(node: &mut Node, now: Now, input: Input) {
        let out = node.r.step(now, input);
        out.keep.apply_to(&mut node.kept);
    }

    fn run(deed: RunDeed) -> Input {
        let of = |text: &str| Some(text.into());
        let run = RunReport { key: "k".into(), deed, agent: of("sam"), task: of("x"), file: None, note: None, result: None };
        Input::Ask(Asker(1), Ask::Run(run))
    }

    fn session(node: &Node) -> SessionView {
        node.r.view().sessions.values().next().expect("a session").as_ref().clone()
    }

    #[test]
    fn an_end_that_is_yet_to_come_is_said_again_when_the_clock_goes_back() {
        let mut node = Node::new(1);
        let right = now(10).wall_ms;
        step(&mut node, at(right + HOUR, 10), run(RunDeed::Spawn));
        step(&mut node, at(right + HOUR, 11), run(RunDeed::Complete));
        assert_eq!(session(&node).end.map(|end| end.at), Some(right + HOUR));
        step(&mut node, at(right, 12), Input::Tick);
        let set_right = session(&node);
        assert_eq!(
            (set_right.end.map(|end| end.at), set_right.last_activity),
            (Some(right), right + HOUR),
            "it began then, as it was said"
        );
        let heads = node.r.library().heads();
        step(&mut node, at(right + 1, 13), Input::Tick);
        let _ = node.reopen(14);
        step(&mut node, at(right + 2, 15), Input::Tick);
        assert_eq!((session(&node).end.map(|end| end.at), node.r.library().heads()), (Some(right), heads), "once");
    }

    #[test]
    fn who_goes_on_after_such_an_end_is_seen_at_once() {
        let mut node = Node::new(1);
        let right = now(10).wall_ms;
        step(&mut node, at(right + HOUR, 10), run(RunDeed::Spawn));
        step(&mut node, at(right + HOUR, 11), run(RunDeed::Complete));
        step(&mut node, at(right, 12), run(RunDeed::Spawn));
        assert!(matches!(session(&node).state, SessionState::Agent(_)), "{:?}", session(&node).state);
        let tick = Report { agent: "sam".into(), session: Some("k".into()), source: "cli", ..Report::default() };
        step(&mut node, at(right + 1, 13), Input::Ask(Asker(2), Ask::Beat(tick)));
        assert!(matches!(session(&node).state, SessionState::Agent(_)));
        step(&mut node, at(right + 2, 14), run(RunDeed::Complete));
        assert_eq!(session(&node).state, SessionState::Ended);
    }
}
