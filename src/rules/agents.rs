//! What an agent is follows from its last word, its last sign of life, whether its device can be reached, and the time on
//! the reader's own clock, and from nothing else.
//!
//! This is the one predicate behind page, command line and metrics (INTERFACE §0, DESIGN §5). A beat that came in a document
//! is a last word, never a sign of life, so a three-day-old *working* is never shown as working. *Stale* (the device is
//! there, the agent is silent) and *unknown* (the device is not there) are never mixed up. Clocks of other devices have no
//! say: every argument is on the reader's boot clock, which runs through sleep.

use std::cmp::Reverse;

use crate::model::beat::{Beat, Reported};
use crate::model::limits::{LATE_GRACE_MS, STUCK_MS};
use crate::model::time::Millis;
use crate::model::view::AgentState;

/// What an agent is, and for how long that stays so if nothing is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What it is.
    pub state: AgentState,
    /// The first moment, on the reader's boot clock, at which time alone makes it something else; `None`: never.
    pub until: Option<Millis>,
}

/// Judges one agent in one session.
///
/// All moments are milliseconds on the reader's boot clock. `sign` is its last sign of life (presence, aged by the time it
/// was held on the way), `None` when none was heard in this life of ours. `progress` is when it last achieved something, as
/// far as we heard. `known_since` is when we first knew of it in this life; it stands in for either where there is none.
/// `least` is the longest silence that makes nobody stale, whatever the interval: `limits::STALE_MS` unless a person says otherwise.
#[must_use]
pub fn judge(
    last: &Beat,
    sign: Option<Millis>,
    progress: Option<Millis>,
    known_since: Millis,
    reachable: bool,
    now_boot: Millis,
    least: Millis,
) -> Judged {
    let word = match last.state {
        Reported::Done => return for_ever(AgentState::Done),
        Reported::Failed => return for_ever(AgentState::Failed),
        alive @ (Reported::Working | Reported::Waiting | Reported::Idle) => alive,
    };
    if !reachable {
        return for_ever(AgentState::Unknown);
    }
    let interval = Millis::from(last.interval_s) * 1000;
    let heard = sign.unwrap_or(known_since);
    let stale_at = first_after(heard, stale_after(interval, least));
    if has_come(stale_at, now_boot) {
        return for_ever(AgentState::Stale);
    }
    if word == Reported::Idle {
        return Judged { state: AgentState::Idle, until: stale_at };
    }
    let late_at = first_after(heard, interval + LATE_GRACE_MS);
    if sign.is_none() || has_come(late_at, now_boot) {
        return Judged { state: AgentState::Late, until: stale_at };
    }
    // Late comes first, unless a person wants to hear of silence sooner.
    let next = late_at.into_iter().chain(stale_at).min();
    if word == Reported::Waiting {
        return Judged { state: AgentState::NeedsInput, until: next };
    }
    let stuck_at = first_after(progress.unwrap_or(known_since), STUCK_MS);
    if has_come(stuck_at, now_boot) {
        return Judged { state: AgentState::Stuck, until: next };
    }
    Judged { state: AgentState::Working, until: next.into_iter().chain(stuck_at).min() }
}

/// The longest silence that is not yet stale, for an agent that means to beat every `interval_ms`.
#[must_use]
pub fn stale_after(interval_ms: Millis, least: Millis) -> Millis {
    interval_ms.saturating_mul(2).max(least)
}

/// Whether an agent in this state may still do something: its last word was not its end.
#[must_use]
pub fn is_alive(state: AgentState) -> bool {
    !matches!(state, AgentState::Done | AgentState::Failed)
}

/// Of several rows, the one with the lowest key speaks for all: one that lives beats one that is silent or over, whatever
/// needs a person more comes first, and then the newest (`at`: the beat's time).
#[must_use]
pub fn voice(state: AgentState, at: i64) -> (u8, Reverse<i64>) {
    let rank = match state {
        AgentState::NeedsInput => 0,
        AgentState::Stuck => 1,
        AgentState::Working => 2,
        AgentState::Late => 3,
        AgentState::Idle => 4,
        AgentState::Stale | AgentState::Unknown => 5,
        AgentState::Failed | AgentState::Done => 6,
    };
    (rank, Reverse(at))
}

fn for_ever(state: AgentState) -> Judged {
    Judged { state, until: None }
}

/// The first moment that is more than `span` after `from`; `None` when the clock has no such moment.
fn first_after(from: Millis, span: Millis) -> Option<Millis> {
    from.checked_add(span)?.checked_add(1)
}

fn has_come(moment: Option<Millis>, now: Millis) -> bool {
    moment.is_some_and(|moment| now >= moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{DeviceId, SessionId};
    use crate::model::limits::STALE_MS;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    const MINUTE: Millis = 60_000;

    fn beat(state: Reported, interval_s: u32) -> Beat {
        Beat {
            rev: 1,
            device: DeviceId([1; 32]),
            agent: "sam".into(),
            session: SessionId::of(&[b"s"]),
            state,
            task: None,
            file: None,
            note: None,
            pid: None,
            metadata: None,
            counts: None,
            claimed_device: None,
            source: "cli".into(),
            interval_s,
            since: 0,
            at: 0,
        }
    }

    fn judge(last: &Beat, sign: Option<Millis>, progress: Option<Millis>, known: Millis, reachable: bool, now: Millis) -> Judged {
        super::judge(last, sign, progress, known, reachable, now, STALE_MS)
    }

    fn silent(state: Reported, interval_s: u32, for_ms: Millis) -> AgentState {
        let heard = 10_000_000;
        judge(&beat(state, interval_s), Some(heard), Some(heard), heard, true, heard + for_ms).state
    }

    #[test]
    fn exactly_five_minutes_of_silence_is_not_yet_stale() {
        for state in [Reported::Working, Reported::Waiting] {
            assert_eq!(silent(state, 60, 299_999), AgentState::Late);
            assert_eq!(silent(state, 60, 300_000), AgentState::Late);
            assert_eq!(silent(state, 60, 300_001), AgentState::Stale);
        }
        assert_eq!(silent(Reported::Idle, 60, 300_000), AgentState::Idle);
        assert_eq!(silent(Reported::Idle, 60, 300_001), AgentState::Stale);
    }

    #[test]
    fn whoever_wants_to_know_sooner_or_later_may_say_so() {
        let at = |least, after| super::judge(&beat(Reported::Working, 1), Some(0), Some(0), 0, true, after, least).state;
        assert_eq!((at(3_000, 3_000), at(3_000, 3_001)), (AgentState::Working, AgentState::Stale));
        assert_eq!((at(600_000, 600_000), at(600_000, 600_001)), (AgentState::Late, AgentState::Stale));
        assert_eq!((at(0, 2_000), at(0, 2_001)), (AgentState::Working, AgentState::Stale), "never before twice its interval");
    }

    #[test]
    fn a_slow_beat_has_twice_its_interval() {
        assert_eq!(silent(Reported::Working, 600, 20 * MINUTE), AgentState::Late);
        assert_eq!(silent(Reported::Working, 600, 20 * MINUTE + 1), AgentState::Stale);
        assert_eq!(silent(Reported::Working, 600, 11 * MINUTE), AgentState::Working);
        assert_eq!(silent(Reported::Working, 600, 11 * MINUTE + 1), AgentState::Late);
        assert_eq!(silent(Reported::Waiting, 60, 2 * MINUTE), AgentState::NeedsInput);
        assert_eq!(silent(Reported::Waiting, 60, 2 * MINUTE + 1), AgentState::Late);
        assert_eq!(silent(Reported::Working, 0, MINUTE), AgentState::Working);
        assert_eq!(silent(Reported::Working, 0, MINUTE + 1), AgentState::Late);
    }

    #[test]
    fn an_end_stays_an_end_and_a_device_out_of_reach_makes_nobody_stale() {
        for (state, here, away) in [
            (Reported::Done, AgentState::Done, AgentState::Done),
            (Reported::Failed, AgentState::Failed, AgentState::Failed),
            (Reported::Working, AgentState::Stale, AgentState::Unknown),
            (Reported::Waiting, AgentState::Stale, AgentState::Unknown),
            (Reported::Idle, AgentState::Stale, AgentState::Unknown),
        ] {
            let at = |reachable| judge(&beat(state, 30), Some(0), Some(0), 0, reachable, 3 * 24 * 60 * MINUTE);
            assert_eq!(at(true), for_ever(here));
            assert_eq!(at(false), for_ever(away));
        }
    }

    #[test]
    fn a_last_word_without_a_sign_of_life_is_never_shown_as_working() {
        // Our own restart, or a returning device that brings a three-day-old beat.
        let known = 7_000;
        for (after, state) in
            [(0, AgentState::Late), (299_999, AgentState::Late), (300_000, AgentState::Late), (300_001, AgentState::Stale)]
        {
            let judged = judge(&beat(Reported::Working, 30), None, None, known, true, known + after);
            assert_eq!(judged.state, state, "{after}");
            assert_eq!(judged.until, (state == AgentState::Late).then_some(known + 300_001));
        }
        // One sign, and it works again.
        assert_eq!(
            judge(&beat(Reported::Working, 30), Some(known + 400_000), None, known, true, known + 400_000).state,
            AgentState::Working
        );
    }

    #[test]
    fn beating_without_achieving_anything_is_stuck_after_half_an_hour() {
        let working = beat(Reported::Working, 30);
        let now = 100 * MINUTE;
        let at = |progress, known| judge(&working, Some(now), progress, known, true, now);
        assert_eq!(at(Some(now - 30 * MINUTE), 0).state, AgentState::Working);
        assert_eq!(at(Some(now - 30 * MINUTE), 0).until, Some(now + 1));
        assert_eq!(at(Some(now - 30 * MINUTE - 1), 0).state, AgentState::Stuck);
        assert_eq!(at(Some(now - 30 * MINUTE - 1), 0).until, Some(now + 90_001), "then late");
        assert_eq!(at(None, now - 30 * MINUTE - 1).state, AgentState::Stuck, "no progress since we know of it");
        assert_eq!(at(None, now).state, AgentState::Working);
        let idle = judge(&beat(Reported::Idle, 30), Some(now), Some(0), 0, true, now);
        assert_eq!(idle.state, AgentState::Idle, "who is idle for hours is not stuck");
    }

    #[test]
    fn who_lives_speaks_for_an_agent_before_who_is_silent_or_over() {
        let mut rows = [
            (AgentState::Done, 9),
            (AgentState::Stale, 8),
            (AgentState::Working, 1),
            (AgentState::Working, 2),
            (AgentState::NeedsInput, 0),
        ];
        rows.sort_by_key(|(state, at)| voice(*state, *at));
        assert_eq!(rows.map(|(_, at)| at), [0, 2, 1, 8, 9]);
    }

    /// Moments near each other and near both ends of the clock, so that thresholds are met.
    #[derive(Debug, Clone)]
    struct Case {
        beat: Beat,
        sign: Option<Millis>,
        progress: Option<Millis>,
        known: Millis,
        reachable: bool,
        now: Millis,
        least: Millis,
    }

    impl Arbitrary for Case {
        fn arbitrary(g: &mut Gen) -> Case {
            let states = [Reported::Working, Reported::Working, Reported::Waiting, Reported::Idle, Reported::Done, Reported::Failed];
            let base = *g.choose(&[0, 10_000_000, u64::MAX - 1_000_000]).expect("not empty");
            let spans = [0, 1, 60_000, 90_000, 90_001, 299_999, 300_000, 300_001, 1_799_999, 1_800_000, 1_800_001, 2_000_000];
            let moment = |g: &mut Gen| {
                let near = *g.choose(&spans).expect("not empty");
                let drawn = u64::arbitrary(g) % 3_000_000;
                u64::saturating_add(base, if bool::arbitrary(g) { near } else { drawn })
            };
            let interval = *g.choose(&[0, 1, 30, 60, 150, 151, 600, u32::MAX]).expect("not empty");
            Case {
                beat: beat(*g.choose(&states).expect("not empty"), interval),
                sign: bool::arbitrary(g).then(|| moment(g)),
                progress: bool::arbitrary(g).then(|| moment(g)),
                known: moment(g),
                reachable: u8::arbitrary(g) % 8 != 0,
                now: moment(g),
                least: *g.choose(&[STALE_MS, STALE_MS, 1_000, 60_000, 100_000, 3_600_000]).expect("not empty"),
            }
        }
    }

    impl Case {
        fn at(&self, now: Millis) -> Judged {
            super::judge(&self.beat, self.sign, self.progress, self.known, self.reachable, now, self.least)
        }
    }

    quickcheck! {
        fn until_is_the_first_moment_at_which_time_alone_changes_the_state(case: Case) -> bool {
            let now = case.at(case.now);
            match now.until {
                None => case.at(u64::MAX) == now,
                Some(until) => until > case.now && case.at(until - 1) == now && case.at(until).state != now.state,
            }
        }

        fn walking_from_change_to_change_ends(case: Case) -> bool {
            let (mut at, mut changes) = (case.now, 0);
            while let Some(until) = case.at(at).until {
                (at, changes) = (until, changes + 1);
            }
            changes <= 3
        }

        fn only_a_sign_of_life_shows_somebody_working(case: Case) -> bool {
            let shown = case.at(case.now).state;
            let lively = matches!(shown, AgentState::Working | AgentState::Stuck | AgentState::NeedsInput);
            !lively || case.sign.is_some() && case.reachable
        }

        fn stale_says_the_device_is_there_and_unknown_that_it_is_not(case: Case) -> bool {
            match case.at(case.now).state {
                AgentState::Stale => case.reachable && case.beat.state.is_alive(),
                AgentState::Unknown => !case.reachable && case.beat.state.is_alive(),
                AgentState::Done | AgentState::Failed => !case.beat.state.is_alive(),
                AgentState::NeedsInput | AgentState::Stuck | AgentState::Working | AgentState::Late | AgentState::Idle => case.reachable,
            }
        }
    }
}
