//! Sessions as JSON, the latest first.

use std::sync::Arc;

use serde_json::{Value, json};

use super::envelope::{Answer, iso, iso_or_null, text};
use super::find;
use super::query::{LIST, Query};
use super::todos::is_project;
use crate::api::problem::Problem;
use crate::model::beat::agent_key;
use crate::model::view::{AgentState, SessionState, SessionView, View};

/// One session. What is not known (`messages` of a session without a file, `sourceFile` of another device's) is there as `null`, so that nobody takes it for none.
pub(crate) fn session(view: &View, session: &SessionView) -> Value {
    let fact = &session.fact;
    json!({
        "id": session.id,
        "tool": fact.tool,
        "toolSession": fact.tool_session.json(),
        "device": fact.device,
        "deviceName": view.device_name(&fact.device).json(),
        "agent": fact.agent.json(),
        "project": fact.project,
        "cwd": text(fact.cwd.as_ref()),
        "branch": text(fact.branch.as_ref()),
        "title": text(fact.title.as_ref()),
        "state": session.state.word(),
        "startedAt": iso(fact.started),
        "lastActivity": iso(session.last_activity),
        "endedAt": iso_or_null(session.end.as_ref().map(|end| end.at)),
        "outcome": text(session.end.as_ref().map(|end| &end.outcome)),
        "result": text(session.end.as_ref().and_then(|end| end.result.as_ref())),
        "parent": fact.parent,
        "subagent": fact.side,
        "messages": {"user": session.counts.map(|counts| counts.users), "assistant": session.counts.map(|counts| counts.assistants)},
        "tokens": {"in": session.counts.map(|counts| counts.tokens_in), "out": session.counts.map(|counts| counts.tokens_out)},
        "records": session.counts.map(|counts| counts.records),
        "damaged": session.counts.map(|counts| counts.damaged),
        "todos": session.todos.as_ref(),
        "tags": super::tags::of_session(view, session),
        "todosOpen": session.open,
        "todosDone": session.done,
        "sourceFile": session.has_file.map(|has_file| if has_file { "present" } else { "gone" }),
        "staysHere": view.staying.contains_key(&session.id),
    })
}

/// `GET /api/v3/sessions`.
pub(crate) fn list(view: &View, now_ms: i64, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &[&["tool", "device", "project", "agent", "tag", "since"][..], &LIST].concat());
    let device = find::device_id(view, query.text("device"))?;
    let since = query.since(now_ms)?;
    let agent = query.text("agent").map(|name| super::agents::key_of(view, name));
    let fits = |session: &&Arc<SessionView>| {
        let fact = &session.fact;
        device.is_none_or(|device| fact.device == device)
            && since.is_none_or(|since| session.last_activity >= since)
            && query.text("tool").is_none_or(|tool| fact.tool.eq_ignore_ascii_case(tool))
            && query.text("project").is_none_or(|typed| fact.project.as_deref().is_some_and(|key| is_project(key, typed)))
            && query.text("tag").is_none_or(|tag| super::tags::of_session(view, session).contains(&tag.trim().to_lowercase()))
            && agent.as_ref().is_none_or(|agent| agent_key(&fact.agent) == *agent)
    };
    let rows = view.sessions.values().filter(fits);
    let rows = rows.map(|session| ((session.last_activity.saturating_neg(), 0, session.id.to_string()), session)).collect();
    Answer::list(rows, query, |row| session(view, row))
}

/// `GET /api/v3/sessions/{id}`.
pub(crate) fn show(view: &View, typed: &str, query: &str) -> Result<Answer, Problem> {
    let found = find::session(view, typed)?;
    Ok(Answer::one(session(view, found), Query::parse(query, &[])))
}

/// A session of whose agent nothing is heard counts as active for so long while its list has open todos: seven days, after
/// which the replaced system called a session stale.
const QUIET_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Sessions that are not over, as the overview names them: `session_id`, `device`, `last_activity`, `active_todos`. Many agents
/// never report, and their lists are all that is known of them.
pub(crate) fn active(view: &View, now_ms: i64) -> Vec<Value> {
    let listed = |session: &SessionView| session.open > 0 && session.last_activity >= now_ms.saturating_sub(QUIET_MS);
    let works = |session: &&Arc<SessionView>| match session.state {
        SessionState::Agent(AgentState::Stale | AgentState::Unknown) | SessionState::Quiet => listed(session),
        SessionState::Agent(AgentState::Done | AgentState::Failed) | SessionState::Ended => false,
        SessionState::Agent(_) => true,
    };
    let mut rows: Vec<_> = view.sessions.values().filter(works).collect();
    rows.sort_by_key(|session| (std::cmp::Reverse(session.last_activity), session.id));
    let row = |session: &Arc<SessionView>| {
        json!({
            "session_id": session.id,
            "device": session.fact.device,
            "deviceName": view.device_name(&session.fact.device).json(),
            "agent": session.fact.agent.json(),
            "last_activity": iso(session.last_activity),
            "active_todos": session.open,
        })
    };
    rows.into_iter().map(row).collect()
}
