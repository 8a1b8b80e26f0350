//! The routes of EVOX device sync, key for key, so that its scripts change their base URL and nothing else.
//!
//! Times are milliseconds since 1970, `device` is a name, and what the replaced system could not say stands in extra keys.

use serde_json::{Value, json};

use super::agents::{self, heard, is_reachable};
use super::envelope::{metadata, text};
use super::query::Query;
use crate::api::problem::Problem;
use crate::model::beat::Reported;
use crate::model::id::DeviceId;
use crate::model::view::{AgentKey, AgentState, AgentView, View};

/// `active`, `idle` or `offline`: the only words its scripts know (INTERFACE §0).
fn status(agent: &AgentView) -> &'static str {
    match agent.state {
        AgentState::NeedsInput | AgentState::Stuck | AgentState::Working | AgentState::Late => "active",
        AgentState::Idle => "idle",
        AgentState::Done | AgentState::Failed => "offline",
        AgentState::Stale | AgentState::Unknown => match agent.beat.state {
            Reported::Working | Reported::Waiting => "active",
            Reported::Idle => "idle",
            Reported::Done | Reported::Failed => "offline",
        },
    }
}

fn is_stale(agent: &AgentView) -> bool {
    matches!(agent.state, AgentState::Stale | AgentState::Unknown)
}

fn counts_as_active(agent: &AgentView) -> bool {
    status(agent) == "active" && !is_stale(agent)
}

/// `GET /v2/syncOverview`.
pub(crate) fn overview(view: &View, now_ms: i64) -> Value {
    let rows = agents::rows(view);
    let mut devices: Vec<(String, DeviceId, Vec<&AgentView>)> = Vec::new();
    for row in &rows {
        match devices.last_mut().filter(|(_, device, _)| *device == row.device) {
            Some((_, _, agents)) => agents.push(row.lead),
            None => devices.push((view.device_name(&row.device).json().to_owned(), row.device, vec![row.lead])),
        }
    }
    devices.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let shown: Vec<Value> = devices.iter().map(|(name, device, agents)| device_card(view, name, device, agents)).collect();
    let count = |fits: fn(&AgentView) -> bool| rows.iter().filter(|row| fits(row.lead)).count();
    json!({
        "devices": shown,
        "stats": {"totalAgents": rows.len(), "activeAgents": count(counts_as_active), "staleAgents": count(is_stale)},
        "timestamp": now_ms,
    })
}

fn device_card(view: &View, name: &str, device: &DeviceId, agents: &[&AgentView]) -> Value {
    let row = |agent: &&AgentView| {
        json!({
            "agent": agent.beat.agent.json(),
            "status": status(agent),
            "currentTask": text(agent.beat.task.as_ref()),
            "isStale": is_stale(agent),
            "lastHeartbeat": heard(agent),
            "state": agent.state.word(),
            "reachable": is_reachable(view, device),
        })
    };
    json!({
        "device": name,
        "agents": agents.iter().map(row).collect::<Vec<_>>(),
        "activeCount": agents.iter().filter(|agent| counts_as_active(agent)).count(),
        "totalCount": agents.len(),
    })
}

fn session(view: &View, now_ms: i64, key: &AgentKey, agent: &AgentView) -> Value {
    json!({
        "device": view.device_name(&key.device).json(),
        "agent": agent.beat.agent.json(),
        "status": status(agent),
        "currentTask": text(agent.beat.task.as_ref()),
        "currentFile": text(agent.beat.file.as_ref()),
        "isStale": is_stale(agent),
        "lastHeartbeat": heard(agent),
        "lastHeartbeatAgo": now_ms.saturating_sub(heard(agent)).max(0),
        "metadata": metadata(agent.beat.metadata.as_ref()),
        "state": agent.state.word(),
        "reachable": is_reachable(view, &key.device),
        "sessionId": key.session,
        "notes": text(agent.beat.note.as_ref()),
        "claimedDevice": text(agent.beat.claimed_device.as_ref()),
    })
}

fn sessions(view: &View, now_ms: i64, fits: impl Fn(&AgentKey, &AgentView) -> bool) -> Vec<Value> {
    let rows = view.agents.iter().filter(|(key, agent)| fits(key, agent));
    rows.map(|(key, agent)| session(view, now_ms, key, agent)).collect()
}

fn required(query: &str, name: &str) -> Result<String, Problem> {
    let query = Query::parse(query, &[name]);
    query.text(name).map(str::to_owned).ok_or_else(|| Problem::bare(400, format!("Missing required param: {name}")))
}

/// `GET /v2/deviceSessions?device=`. A name that agents gave in their reports counts as theirs unless a device has it.
pub(crate) fn of_device(view: &View, now_ms: i64, query: &str) -> Result<Value, Problem> {
    let typed = required(query, "device")?;
    let named: Vec<DeviceId> = view.devices.values().filter(|d| d.name.json().eq_ignore_ascii_case(&typed)).map(|d| d.id).collect();
    let by_id = typed.parse::<DeviceId>().ok();
    let claims = |agent: &AgentView| agent.beat.claimed_device.as_ref().is_some_and(|name| name.json().eq_ignore_ascii_case(&typed));
    let rows = sessions(view, now_ms, |key, agent| {
        named.contains(&key.device) || by_id == Some(key.device) || (named.is_empty() && claims(agent))
    });
    Ok(json!({"device": typed, "sessions": rows}))
}

/// `GET /v2/agentSessions?agent=`.
pub(crate) fn of_agent(view: &View, now_ms: i64, query: &str) -> Result<Value, Problem> {
    let typed = required(query, "agent")?;
    let wanted = super::agents::key_of(view, typed.as_str());
    Ok(json!({"agent": typed, "sessions": sessions(view, now_ms, |key, _| key.agent == wanted)}))
}
