//! Who worked when: sessions as spans of time, over all devices.
//!
//! A span ends where the session ended, else where it was last active; one whose agent is at work now goes on until now. What is
//! not known is not drawn: a gap within a session is no part of what a device tells of it.

use std::sync::Arc;

use serde_json::json;

use super::envelope::{Answer, iso};
use super::find;
use super::query::{LIST, Query};
use crate::api::problem::Problem;
use crate::model::view::{SessionState, SessionView, View};

/// How far back a timeline reaches unless a question says otherwise, milliseconds.
const SPAN_MS: i64 = 24 * 60 * 60 * 1000;

/// One session in time, cut to the window that was asked for.
pub(crate) struct Span<'a> {
    pub(crate) session: &'a SessionView,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Whether its agent is at work now.
    pub(crate) open: bool,
}

/// All sessions that fall into a window, by when they began.
pub(crate) fn spans(view: &View, from: i64, to: i64, now_ms: i64) -> Vec<Span<'_>> {
    let span = |session: &'_ Arc<SessionView>| -> Option<(i64, i64, bool)> {
        let open = matches!(session.state, SessionState::Agent(state) if state.is_active());
        let last = session.end.as_ref().map_or(session.last_activity, |end| end.at);
        let last = if open { last.max(now_ms) } else { last }.max(session.fact.started);
        (last >= from && session.fact.started <= to).then_some((session.fact.started.max(from), last.min(to), open))
    };
    let cut = |session| span(session).map(|(from, to, open)| Span { session: session.as_ref(), from, to, open });
    let mut spans: Vec<Span<'_>> = view.sessions.values().filter_map(cut).collect();
    spans.sort_by_key(|span| (span.from, span.session.id));
    spans
}

/// `GET /api/v3/timeline?from=&to=&device=`: times as ISO 8601 or as an age such as `6h`; the last 24 hours when neither stands there.
pub(crate) fn timeline(view: &View, now_ms: i64, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &[&["from", "to", "device"][..], &LIST].concat());
    let device = find::device_id(view, query.text("device"))?;
    let to = query.moment("to", now_ms)?.unwrap_or(now_ms);
    let from = query.moment("from", now_ms)?.unwrap_or(to.saturating_sub(SPAN_MS));
    let rows = spans(view, from, to, now_ms).into_iter().filter(|span| device.is_none_or(|device| span.session.fact.device == device));
    let rows = rows.map(|span| ((span.from, 0, span.session.id.to_string()), span)).collect();
    Answer::list(rows, query, |span| {
        let fact = &span.session.fact;
        json!({
            "session": span.session.id,
            "device": fact.device,
            "deviceName": view.device_name(&fact.device).json(),
            "agent": fact.agent.json(),
            "tool": fact.tool,
            "project": fact.project,
            "state": span.session.state.word(),
            "from": iso(span.from),
            "to": iso(span.to),
            "open": span.open,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, NOW};
    use crate::model::view::AgentState;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_session_is_cut_to_the_window_and_one_at_work_goes_on_until_now() {
        let works = Fleet::new().session(SessionState::Agent(AgentState::Working), &[]);
        let at = |from, to| spans(&works.0, from, to, NOW).into_iter().map(|s| (NOW - s.from, NOW - s.to, s.open)).collect::<Vec<_>>();
        assert_eq!(at(NOW - 6 * HOUR, NOW), [(2 * HOUR, 0, true)]);
        assert_eq!(at(NOW - HOUR, NOW - HOUR / 2), [(HOUR, HOUR / 2, true)]);
        assert_eq!(at(NOW - 6 * HOUR, NOW - 3 * HOUR), []);
        let quiet = Fleet::new().session(SessionState::Quiet, &[]);
        let spans = spans(&quiet.0, NOW - 6 * HOUR, NOW, NOW);
        assert_eq!((spans[0].to, spans[0].open), (NOW - 9_000, false), "where it was last active");
    }

    #[test]
    fn the_route_takes_moments_and_ages() {
        let fleet = Fleet::busy();
        let total = |query: &str| timeline(&fleet.0, NOW, query).map(|told| told.wrapped(&fleet.0, NOW, "daemon").value()["total"].clone());
        for (query, count) in [("", 1), ("from=1h", 1), ("from=6h&to=3h", 0), ("to=2026-03-01", 0), ("device=mbp-lena", 0)] {
            assert_eq!(total(query).expect(query), json!(count), "{query}");
        }
        assert_eq!(total("from=soon").expect_err("no moment").status, 400);
    }
}
