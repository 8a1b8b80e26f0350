//! What an agent is follows from its last word, its last sign of life, whether its device can be reached, and the time on
//! the reader's own clock, and from nothing else.
//!
//! This is the one predicate behind page, command line and metrics (INTERFACE §0, DESIGN §5). A beat that came in a document
//! is a last word, never a sign of life, so a three-day-old *working* is never shown as working. *Stale* (the device is
//! there, the agent is silent) and *unknown* (the device is not there) are never mixed up. Clocks of other devices have no
//! say: every argument is on the reader's boot clock, which runs through sleep.

use std::cmp::Reverse;

use crate::model::beat::{Beat, Reported};
use crate::model::limits::{LATE_GRACE_MS, STALE_MS, STUCK_MS};
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
#[must_use]
pub fn judge(
    last: &Beat,
    sign: Option<Millis>,
    progress: Option<Millis>,
    known_since: Millis,
    reachable: bool,
    now_boot: Millis,
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
    let stale_at = first_after(heard, stale_after(interval));
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
    if word == Reported::Waiting {
        return Judged { state: AgentState::NeedsInput, until: late_at };
    }
    let stuck_at = first_after(progress.unwrap_or(known_since), STUCK_MS);
    if has_come(stuck_at, now_boot) {
        return Judged { state: AgentState::Stuck, until: late_at };
    }
    Judged { state: AgentState::Working, until: late_at.into_iter().chain(stuck_at).min() }
}

/// The longest silence that is not yet stale, for an agent that means to beat every `interval_ms`.
#[must_use]
pub fn stale_after(interval_ms: Millis) -> Millis {
    interval_ms.saturating_mul(2).max(STALE_MS)
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
