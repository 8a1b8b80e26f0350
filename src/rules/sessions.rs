//! A session is over when somebody said so and nobody in it has spoken since; until then it is what its agent is; and
//! when nothing is known of an agent, it is quiet.
//!
//! Facts in any order give the same view: of several ends the lowest is shown, of several agents the one that
//! `agents::voice` lets speak. A session may go on after its end (`--resume`, or an agent that begins again under its own
//! name): a beat of a living agent that is younger than every end reopens it, by the clock of the one device that writes both.

use std::sync::Arc;

use super::agents;
use crate::model::id::{SessionId, TodoId};
use crate::model::session::{EndFact, SessionFact};
use crate::model::view::{AgentState, SessionState, SessionView};

/// What the lists of one session say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// When the newest of them was read as changed: the file's time, milliseconds since 1970.
    pub read_at: Option<i64>,
    /// The todos that hold their items.
    pub todos: Arc<[TodoId]>,
    /// How many items are open, as the lists themselves say.
    pub open: u32,
    /// How many items are done, as the lists themselves say.
    pub done: u32,
}

/// The view of one session: its fact, its ends, for each of its beats what the agent is and when it was reported
/// (milliseconds since 1970, by its device's clock), and its lists.
#[must_use]
pub fn view<'a>(
    id: SessionId,
    fact: &SessionFact,
    ends: impl IntoIterator<Item = &'a EndFact>,
    beats: impl IntoIterator<Item = (AgentState, i64)>,
    lists: Lists,
) -> SessionView {
    let beats: Vec<(AgentState, i64)> = beats.into_iter().collect();
    let alive_at = beats.iter().filter(|(state, _)| agents::is_alive(*state)).map(|(_, at)| *at).max();
    let end = ends.into_iter().filter(|end| alive_at.is_none_or(|alive| alive <= end.at)).min().cloned();
    let speaker = beats.iter().min_by_key(|(state, at)| agents::voice(*state, *at));
    let state = match (&end, speaker) {
        (Some(_), _) => SessionState::Ended,
        (None, Some((state, _))) => SessionState::Agent(*state),
        (None, None) => SessionState::Quiet,
    };
    let newest_beat = beats.iter().map(|(_, at)| *at).max();
    let last_activity = newest_beat.max(lists.read_at).map_or(fact.started, |at| at.max(fact.started));
    SessionView { id, fact: fact.clone(), state, last_activity, end, todos: lists.todos, open: lists.open, done: lists.done }
}
