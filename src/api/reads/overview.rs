//! The five-second answer: does anyone wait for me, is anything wrong, is what I see current, did sync have to choose?

use serde_json::{Value, json};

use super::envelope::Answer;
use super::query::Query;
use super::{agents, devices, sessions, todos};
use crate::model::leaving::Stays;
use crate::model::view::{AgentState, View};

/// What a person is told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) needs_you: usize,
    pub(crate) stale: usize,
    pub(crate) conflicts: usize,
    pub(crate) problems: usize,
}

impl Verdict {
    /// Counts what a person should look at.
    pub(crate) fn of(view: &View) -> Verdict {
        let rows = agents::rows(view);
        let count = |fits: fn(AgentState) -> bool| rows.iter().filter(|row| fits(row.lead.state)).count();
        Verdict {
            needs_you: count(|state| state == AgentState::NeedsInput),
            stale: count(|state| matches!(state, AgentState::Stale | AgentState::Stuck)),
            conflicts: todos::open_conflicts(view),
            problems: view.warnings.len(),
        }
    }

    /// `ok`, or `attention` when there is anything to look at.
    pub(crate) fn word(self) -> &'static str {
        let Verdict { needs_you, stale, conflicts, problems } = self;
        if needs_you + stale + conflicts + problems == 0 { "ok" } else { "attention" }
    }
}

/// When the day of `now_ms` began where this machine is, milliseconds since 1970; 24 hours ago if that cannot be told.
pub(crate) fn midnight(now_ms: i64) -> i64 {
    let began = jiff::Timestamp::from_millisecond(now_ms)
        .and_then(|now| now.to_zoned(jiff::tz::TimeZone::system()).start_of_day())
        .map(|day| day.timestamp().as_millisecond());
    began.unwrap_or(now_ms.saturating_sub(24 * 60 * 60 * 1000))
}

/// Other hubless in reach that are not paired.
pub(crate) fn strangers(view: &View) -> Vec<Value> {
    let stranger = |(instance, address): (&String, &String)| json!({"instance": instance, "address": address, "fix": "hubless pair"});
    view.strangers.iter().map(stranger).collect()
}

/// What is wrong here and now.
pub(crate) fn problems(view: &View) -> Vec<Value> {
    view.warnings.iter().map(|(code, warning)| json!({"code": code, "what": warning.what, "fix": warning.fix})).collect()
}

/// `GET /api/v3/overview`.
pub(crate) fn overview(view: &View, now_ms: i64, query: &str) -> Answer {
    let verdict = Verdict::of(view);
    let counts = todos::counts(view, midnight(now_ms));
    let rows: Vec<Value> = agents::by_need(view).iter().map(|row| agents::agent(view, row)).collect();
    let members: Vec<Value> = devices::members(view).into_iter().map(|device| devices::device(view, device)).collect();
    let total = rows.len();
    let data = json!({
        "verdict": verdict.word(),
        "needsYou": verdict.needs_you,
        "stale": verdict.stale,
        "conflicts": verdict.conflicts,
        "devices": members,
        "agents": rows,
        "todos": {
            "ready": counts.ready,
            "inProgress": counts.in_progress,
            "doneToday": counts.done_today,
            "conflicts": verdict.conflicts,
            "open": counts.open,
            "total": counts.total,
        },
        "sessions": {
            "total": view.sessions.len(),
            "stayHere": view.staying.len(),
            "stayUnknown": view.staying.values().filter(|stays| **stays == Stays::Unknown).count(),
        },
        "active_sessions": sessions::active(view, now_ms),
        "strangers": strangers(view),
        "sources": view.sources.iter().map(|(name, source)| devices::source(name, source)).collect::<Vec<_>>(),
        "ways": devices::ways(view),
        "network": view.around.as_ref().map(devices::around),
        "problems": problems(view),
    });
    Answer::counting(data, total, Query::parse(query, &[]))
}
