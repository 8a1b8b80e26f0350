//! The status routes of Mission Control: its four words for agents, and the rows of its `agent_sessions`.
//!
//! What it could not say stands in extra keys: whose word a value is (`source`), and what we judge it to be (`state`).

use serde_json::{Value, json};

use super::agents::{self, Row, heard, is_reachable};
use super::envelope::{iso, iso_or_null, text};
use crate::model::ask::RunDeed;
use crate::model::view::{AgentKey, AgentState, AgentView, SessionView, View};

/// Sessions are listed for so long after something was last seen of them: the replaced system asked for those of 24 h.
const LISTED_MS: i64 = 24 * 60 * 60 * 1000;

/// `GET /api/agent-webhook`: that it is there.
pub(crate) fn webhook() -> Value {
    json!({"status": "ok", "endpoint": "/api/agent-webhook", "actions": RunDeed::ALL.map(RunDeed::word)})
}

/// `GET /api/mission-control/status`.
pub(crate) fn status(view: &View, now_ms: i64) -> Value {
    let rows = agents::by_need(view);
    let count = |wanted: &str| rows.iter().filter(|row| word(row.lead.state) == wanted).count();
    json!({
        "agents": rows.iter().map(|row| agent(view, now_ms, row)).collect::<Vec<_>>(),
        "stats": {"active": count("active"), "idle": count("idle"), "blocked": count("blocked"), "error": count("error"), "total": rows.len()},
        "timestamp": iso(now_ms),
    })
}

/// `active`, `idle`, `blocked` or `error`.
fn word(state: AgentState) -> &'static str {
    match state {
        AgentState::NeedsInput => "blocked",
        AgentState::Stuck | AgentState::Working | AgentState::Late => "active",
        AgentState::Failed => "error",
        AgentState::Idle | AgentState::Done | AgentState::Stale | AgentState::Unknown => "idle",
    }
}

fn agent(view: &View, now_ms: i64, row: &Row<'_>) -> Value {
    let lead = row.lead;
    let session = view.sessions.get(&lead.beat.session);
    let active = lead.state.is_active();
    let started = session.map_or(lead.beat.since, |session| session.fact.started);
    let listed = row.sessions.iter().filter_map(|(key, agent)| Some((key, agent, view.sessions.get(&key.session)?)));
    let mut listed: Vec<_> = listed.filter(|(.., session)| session.last_activity >= now_ms.saturating_sub(LISTED_MS)).collect();
    listed.sort_by_key(|(key, _, session)| (std::cmp::Reverse(session.last_activity), key.session));
    json!({
        "id": row.agent,
        "name": lead.beat.agent.json(),
        "status": word(lead.state),
        "currentTask": if active { text(lead.beat.task.as_ref()) } else { Value::Null },
        "startedAt": if active { iso(started) } else { Value::Null },
        "durationSeconds": active.then(|| seconds(started, now_ms)),
        "blockers": if lead.state == AgentState::NeedsInput { text(lead.beat.note.as_ref()) } else { Value::Null },
        "lastRun": iso(heard(lead)),
        "state": lead.state.word(),
        "device": view.device_name(&row.device).json(),
        "reachable": is_reachable(view, &row.device),
        "source": lead.beat.source,
        "sessionId": lead.beat.session,
        "sessions": listed.into_iter().map(|(key, agent, session)| record(now_ms, key, agent, session)).collect::<Vec<_>>(),
    })
}

/// A session with the fields of the replaced system's table.
fn record(now_ms: i64, key: &AgentKey, agent: &AgentView, session: &SessionView) -> Value {
    let end = session.end.as_ref();
    let status = match end {
        Some(end) if end.outcome.json() == "failed" => "error",
        Some(_) => "completed",
        None if agent.state == AgentState::Failed => "error",
        None if agent.state == AgentState::Done => "completed",
        None => "active",
    };
    let over = status != "active";
    let completed = end.map(|end| end.at).or_else(|| over.then_some(agent.beat.at));
    json!({
        "id": key.session,
        "session_key": session.fact.tool_session.json(),
        "agent_name": session.fact.agent.json(),
        "task_description": text(agent.beat.task.as_ref()),
        "status": status,
        "started_at": iso(session.fact.started),
        "updated_at": iso(session.last_activity),
        "completed_at": iso_or_null(completed),
        "result": text(end.and_then(|end| end.result.as_ref())),
        "duration_seconds": seconds(session.fact.started, completed.unwrap_or(now_ms)),
        "state": agent.state.word(),
        "source": agent.beat.source,
    })
}

fn seconds(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).max(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, MBP, NOW, beat, leos};
    use crate::model::beat::Reported;
    use crate::model::session::EndFact;
    use crate::model::view::SessionState;
    use std::sync::Arc;

    #[test]
    fn the_four_words_follow_the_states_and_are_counted() {
        let told = status(&Fleet::busy().0, NOW);
        assert_eq!(told["stats"], json!({"active": 1, "idle": 1, "blocked": 1, "error": 0, "total": 3}));
        assert_eq!(told["timestamp"], json!("2026-03-02T14:02:11.000Z"));
        let row = |id: &str| told["agents"].as_array().expect("rows").iter().find(|row| row["id"] == id).cloned().expect(id);
        assert_eq!((&row("sam")["status"], &row("sam")["currentTask"]), (&json!("active"), &json!("AGT-280")));
        assert_eq!((&row("sam")["startedAt"], &row("sam")["durationSeconds"]), (&json!("2026-03-02T13:50:11.000Z"), &json!(720)));
        assert_eq!((&row("leo")["status"], &row("leo")["blockers"]), (&json!("blocked"), &json!("run migration?")));
        assert_eq!(
            (&row("max")["status"], &row("max")["durationSeconds"], &row("max")["source"]),
            (&json!("idle"), &Value::Null, &json!("cli"))
        );
        let failed = status(&Fleet::new().agent(beat(MBP, "sam", Reported::Failed, "x"), AgentState::Failed).0, NOW);
        assert_eq!((&failed["agents"][0]["status"], &failed["agents"][0]["currentTask"]), (&json!("error"), &Value::Null));
    }

    #[test]
    fn a_session_has_the_fields_of_the_table() {
        let mut report = beat(crate::api::fixture::MINI, "leo", Reported::Done, "AGT-324");
        report.session = leos();
        let mut fleet = Fleet::new().agent(report, AgentState::Done).session(SessionState::Ended, &[]);
        let end = EndFact { outcome: "done".into(), agent: None, result: Some("merged".into()), counts: None, at: NOW - 9_000 };
        let view = fleet.0.sessions.get(&leos()).expect("there").as_ref().clone();
        fleet.0.sessions.insert(leos(), Arc::new(SessionView { end: Some(end), ..view }));
        let told = status(&fleet.0, NOW);
        let expected = json!({
            "id": leos(), "session_key": "7e1f", "agent_name": "leo", "task_description": "AGT-324", "status": "completed",
            "started_at": "2026-03-02T12:02:11.000Z", "updated_at": "2026-03-02T14:02:02.000Z", "completed_at": "2026-03-02T14:02:02.000Z",
            "result": "merged", "duration_seconds": 7191, "state": "done", "source": "cli",
        });
        assert_eq!(told["agents"][0]["sessions"], json!([expected]));
        assert_eq!(status(&fleet.0, NOW + LISTED_MS)["agents"][0]["sessions"], json!([]), "a day later");
    }
}
