//! Agents as JSON: one row for an agent on a device, with all its sessions.
//!
//! What a row says is what its leading session says: one that waits for a person, else the one heard of last. So nobody who
//! waits is hidden, and a session that crashed yesterday does not make today's work look stale.

use serde_json::{Value, json};

use super::envelope::{Answer, iso, iso_or_null, metadata, text};
use super::find;
use super::query::{LIST, Query};
use crate::api::problem::Problem;
use crate::model::beat::agent_key;
use crate::model::id::DeviceId;
use crate::model::text::Foreign;
use crate::model::view::{AgentKey, AgentState, AgentView, View};

/// An agent on a device.
pub(crate) struct Row<'a> {
    pub(crate) device: DeviceId,
    pub(crate) agent: &'a str,
    pub(crate) lead: &'a AgentView,
    pub(crate) sessions: Vec<(&'a AgentKey, &'a AgentView)>,
}

/// All rows, by device and name.
pub(crate) fn rows(view: &View) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (key, agent) in &view.agents {
        match rows.last_mut().filter(|row| row.device == key.device && row.agent == key.agent) {
            Some(row) => row.sessions.push((key, agent)),
            None => rows.push(Row { device: key.device, agent: &key.agent, lead: agent, sessions: vec![(key, agent)] }),
        }
    }
    for row in &mut rows {
        row.lead = lead(&row.sessions).unwrap_or(row.lead);
    }
    rows
}

/// One row, if there is one.
pub(crate) fn row<'a>(view: &'a View, device: DeviceId, agent: &'a str) -> Option<Row<'a>> {
    let first = AgentKey { device, agent: agent.to_owned(), session: crate::model::id::Id([0; 16]) };
    let here = view.agents.range(first..).take_while(|(key, _)| key.device == device && key.agent == agent);
    let sessions: Vec<(&AgentKey, &AgentView)> = here.map(|(key, row)| (key, row.as_ref())).collect();
    lead(&sessions).map(|lead| Row { device, agent, lead, sessions })
}

fn lead<'a>(sessions: &[(&'a AgentKey, &'a AgentView)]) -> Option<&'a AgentView> {
    let waits = |agent: &AgentView| agent.state == AgentState::NeedsInput;
    sessions.iter().map(|(_, agent)| *agent).max_by_key(|agent| (waits(agent), heard(agent), agent.beat.session))
}

/// When it was last heard of: by our clock where that is known, so that a peer's wrong clock does not age it.
pub(crate) fn heard(agent: &AgentView) -> i64 {
    agent.sign_here.unwrap_or(agent.beat.at)
}

fn report(agent: &AgentView) -> Value {
    let beat = &agent.beat;
    json!({
        "state": agent.state.word(),
        "symbol": agent.state.symbol().to_string(),
        "reported": beat.state.word(),
        "task": text(beat.task.as_ref()),
        "file": text(beat.file.as_ref()),
        "note": text(beat.note.as_ref()),
        "intervalS": beat.interval_s,
        "lastBeat": iso(beat.at),
        "beatReceived": iso_or_null(agent.sign_here),
        "progressAt": iso_or_null(agent.progress_here),
        "since": iso(beat.since),
        "pid": beat.pid,
        "role": text(agent.role.as_ref()),
        "calledByTool": text(agent.called.as_ref()),
        "source": beat.source,
        "claimedDevice": text(beat.claimed_device.as_ref()),
        "metadata": metadata(beat.metadata.as_ref()),
    })
}

fn session(view: &View, key: &AgentKey, agent: &AgentView) -> Value {
    let mut out = report(agent);
    let known = view.sessions.get(&key.session);
    out["session"] = json!(key.session);
    out["device"] = json!(key.device);
    out["deviceName"] = json!(view.device_name(&key.device).json());
    out["tool"] = json!(known.map(|session| session.fact.tool.clone()));
    out["project"] = json!(known.and_then(|session| session.fact.project.clone()));
    out
}

/// An agent's row as JSON.
pub(crate) fn agent(view: &View, row: &Row<'_>) -> Value {
    let mut out = report(row.lead);
    out["agent"] = json!(row.lead.beat.agent.json());
    out["device"] = json!(row.device);
    out["deviceName"] = json!(view.device_name(&row.device).json());
    out["reachable"] = json!(is_reachable(view, &row.device));
    let sessions = row.sessions.iter().map(|(key, agent)| session(view, key, agent));
    out["sessions"] = sessions.collect();
    out
}

/// Whether a device can be reached.
pub(crate) fn is_reachable(view: &View, device: &DeviceId) -> bool {
    view.devices.get(device).is_some_and(|device| device.reachable)
}

/// Rows in the order in which they need a person, then by name and device.
pub(crate) fn by_need(view: &View) -> Vec<Row<'_>> {
    let mut rows = rows(view);
    rows.sort_by_cached_key(|row| (row.lead.state, row.agent.to_owned(), view.device_name(&row.device).normalised(), row.device));
    rows
}

/// The key of an agent by its name, or by the one that its tool uses where nobody is called so.
pub(crate) fn key_of(view: &View, typed: &str) -> String {
    let key = agent_key(&Foreign::new(typed));
    if view.agents.keys().any(|known| known.agent == key) {
        return key;
    }
    view.devices.values().find_map(|device| device.aliases.get(&key).cloned()).unwrap_or(key)
}

/// `GET /api/v3/agents`.
pub(crate) fn list(view: &View, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &[&["device", "state", "agent"][..], &LIST].concat());
    let device = find::device_id(view, query.text("device"))?;
    let states = states(&query)?;
    let name = query.text("agent").map(|name| key_of(view, name));
    let fits = |row: &Row<'_>| {
        device.is_none_or(|device| row.device == device)
            && states.as_ref().is_none_or(|states| states.contains(&row.lead.state))
            && name.as_ref().is_none_or(|name| row.agent == name)
    };
    let rows = by_need(view).into_iter().filter(fits);
    let place = |row: &Row<'_>| format!("{}\u{0}{}\u{0}{}", row.agent, view.device_name(&row.device).normalised(), row.device);
    let rows = rows.map(|row| ((row.lead.state as i64, 0, place(&row)), row)).collect();
    Answer::list(rows, query, |row| agent(view, row))
}

/// All states, in the order in which they need a person.
pub(super) const STATES: [AgentState; 9] = [
    AgentState::NeedsInput,
    AgentState::Stale,
    AgentState::Stuck,
    AgentState::Working,
    AgentState::Late,
    AgentState::Idle,
    AgentState::Done,
    AgentState::Failed,
    AgentState::Unknown,
];

fn states(query: &Query) -> Result<Option<Vec<AgentState>>, Problem> {
    let Some(text) = query.text("state") else { return Ok(None) };
    let words = || STATES.map(|state| state.word().to_owned()).to_vec();
    let plain = |word: &str| word.trim().trim_end_matches('?').replace(['-', '_'], " ");
    let read = |word: &str| {
        let known = STATES.into_iter().find(|state| plain(state.word()) == plain(word));
        known.ok_or_else(|| Problem::bad(format!("“{word}” is no state of an agent")).perhaps(words()))
    };
    text.split(',').map(read).collect::<Result<_, _>>().map(Some)
}

/// `GET /api/v3/agents/{name}`: always one answer; of an agent that nobody has heard of, that it is not active.
pub(crate) fn show(view: &View, now_ms: i64, name: &str, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["device"]);
    let device = find::device_id(view, query.text("device"))?;
    let key = key_of(view, name);
    let rows = by_need(view).into_iter().filter(|row| row.agent == key && device.is_none_or(|device| row.device == device));
    let rows: Vec<Row<'_>> = rows.collect();
    let sessions: Vec<(&AgentKey, &AgentView)> = rows.iter().flat_map(|row| row.sessions.iter().copied()).collect();
    let best = rows.iter().find(|row| row.lead.state.is_active()).or(rows.first());
    let active = best.filter(|row| row.lead.state.is_active()).map(|row| row.lead);
    let started = active.map(|lead| lead.beat.since);
    let shown: Vec<Value> = sessions.iter().map(|(key, row)| session(view, key, row)).collect();
    let data = json!({
        "agent": best.map_or(name, |row| row.lead.beat.agent.json()),
        "is_active": active.is_some(),
        "current_task": active.map_or(Value::Null, |lead| text(lead.beat.task.as_ref())),
        "started_at": iso_or_null(started),
        "duration_seconds": started.map(|since| now_ms.saturating_sub(since).max(0) / 1000),
        "role": best.map_or(Value::Null, |row| text(row.lead.role.as_ref())),
        "state": best.map(|row| row.lead.state.word()),
        "device": best.map(|row| row.device),
        "deviceName": best.map(|row| view.device_name(&row.device).json().to_owned()),
        "sessions": shown,
    });
    let answer = Answer::counting(data, sessions.len(), query);
    Ok(if best.is_some() { answer } else { answer.warn(unheard(view, name)) })
}

fn unheard(view: &View, name: &str) -> String {
    let mut names: Vec<String> = rows(view).iter().map(|row| row.lead.beat.agent.plain()).collect();
    names.sort();
    names.dedup();
    let near = find::nearest(name, &names);
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
    format!("agent-not-found: nothing was heard of an agent “{name}”{hint}")
}
