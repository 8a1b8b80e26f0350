//! Projects with who works on them and what is left, and the routes of ChittySync's hub.
//!
//! Counts are of todos as they are shown, each once however many lists hold it. Sessions and todos without a project are under
//! `general`. What a route of the hub would have claimed and nobody stores is not claimed here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::envelope::{Answer, iso, iso_or_null, metadata, text};
use super::query::Query;
use super::todos::{is_project, is_ready};
use super::{find, sessions};
use crate::api::problem::Problem;
use crate::model::beat::agent_key;
use crate::model::id::SessionId;
use crate::model::reply::Code;
use crate::model::todo::{GENERAL, Status};
use crate::model::view::{AgentView, SessionView, TodoView, View};

/// The number of this shape, as the replaced file carried one.
const VERSION: &str = "1.0";

/// One project and what belongs to it.
#[derive(Default)]
struct Project<'a> {
    sessions: Vec<&'a SessionView>,
    agents: Vec<&'a AgentView>,
    todos: Vec<&'a TodoView>,
}

impl Project<'_> {
    fn last_activity(&self) -> Option<i64> {
        let sessions = self.sessions.iter().map(|session| session.last_activity);
        sessions.chain(self.todos.iter().map(|todo| todo.updated)).max()
    }
}

fn gathered(view: &View) -> BTreeMap<&str, Project<'_>> {
    let mut projects: BTreeMap<&str, Project<'_>> = BTreeMap::new();
    for session in view.sessions.values() {
        let key = session.fact.project.as_deref().unwrap_or(GENERAL);
        projects.entry(key).or_default().sessions.push(session);
    }
    for (key, agent) in &view.agents {
        let project = view.sessions.get(&key.session).and_then(|session| session.fact.project.as_deref());
        projects.entry(project.unwrap_or(GENERAL)).or_default().agents.push(agent);
    }
    for todo in view.todos.values().filter(|todo| !todo.deleted) {
        projects.entry(&todo.project).or_default().todos.push(todo);
    }
    projects
}

fn row(view: &View, key: &str, project: &Project<'_>) -> Value {
    let is_open = |todo: &&&TodoView| todo.listed && !todo.status.is_finished();
    let count = |fits: &dyn Fn(&&&TodoView) -> bool| project.todos.iter().filter(|todo| fits(todo)).count();
    let blocked = |todo: &&&TodoView| is_open(todo) && todo.status == Status::Pending && !is_ready(view, todo);
    // Case makes no other agent.
    let active = project.agents.iter().filter(|agent| agent.state.is_active()).map(|agent| &agent.beat.agent);
    let active: BTreeMap<String, &str> = active.map(|name| (agent_key(name), name.json())).collect();
    let places = project.sessions.iter().map(|session| session.fact.device);
    let places = places.chain(project.todos.iter().flat_map(|todo| todo.origins.iter().filter_map(|origin| origin.device)));
    let places: BTreeSet<_> = places.collect();
    let devices: Vec<_> = places.iter().map(|device| view.device_name(device).json().to_owned()).collect();
    let mut todos: Vec<&&TodoView> = project.todos.iter().collect();
    todos.sort_by_key(|todo| (todo.status.is_finished(), todo.created, todo.id));
    json!({
        "project_name": key,
        "sessions": project.sessions.iter().map(|session| session.id).collect::<Vec<_>>(),
        "session_count": project.sessions.len(),
        "active_agents": active.len(),
        "agents": active.values().collect::<Vec<_>>(),
        "todo_count": project.todos.len(),
        "active_todos": count(&is_open),
        "in_progress": count(&|todo| is_open(todo) && todo.status == Status::InProgress),
        "completed_todos": count(&|todo| todo.status == Status::Completed),
        "blocked": count(&blocked),
        "devices": devices,
        "last_activity": iso_or_null(project.last_activity()),
        "todos": todos.into_iter().map(|todo| brief(todo)).collect::<Vec<_>>(),
    })
}

fn brief(todo: &TodoView) -> Value {
    let sessions: BTreeSet<_> = todo.origins.iter().filter_map(|origin| origin.session).collect();
    json!({
        "id": todo.id,
        "content": todo.content.json(),
        "status": todo.status.word(),
        "activeForm": text(todo.active_form.as_ref()),
        "listed": todo.listed,
        "sessions": sessions,
    })
}

/// The coordination view, the project that was last worked on first; only those that `only` names.
pub(crate) fn projects(view: &View, now_ms: i64, only: Option<&str>) -> Value {
    let all = gathered(view);
    let mut rows: Vec<_> = all.iter().filter(|(key, _)| only.is_none_or(|typed| is_project(key, typed))).collect();
    rows.sort_by_key(|(key, project)| (std::cmp::Reverse(project.last_activity()), **key));
    let last = rows.iter().filter_map(|(_, project)| project.last_activity()).max();
    json!({
        "version": VERSION,
        "last_updated": iso(last.unwrap_or(now_ms)),
        "projects": rows.into_iter().map(|(key, project)| row(view, key, project)).collect::<Vec<_>>(),
    })
}

/// `GET /api/v3/projects`.
pub(crate) fn list(view: &View, now_ms: i64, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["project"]);
    let data = projects(view, now_ms, query.text("project"));
    let total = data["projects"].as_array().map_or(0, Vec::len);
    Ok(Answer::counting(data, total, query))
}

/// `GET /api/project/{name}`: by its key, or its last part.
pub(crate) fn project(view: &View, now_ms: i64, typed: &str) -> Result<Value, Problem> {
    let mut all = projects(view, now_ms, Some(typed));
    let rows = all["projects"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let exact = rows.iter().position(|row| row["project_name"] == typed);
    match (exact, rows.len()) {
        (Some(at), _) => Ok(rows.into_iter().nth(at).unwrap_or_default()),
        (None, 1) => Ok(rows.into_iter().next().unwrap_or_default()),
        (None, 0) => {
            let typed = crate::model::text::Foreign::new(typed).plain();
            Err(Problem::missing("project-not-found", format!("no project called “{typed}”")).fix("hubless projects").barely())
        }
        (None, _) => {
            let names = rows.iter().filter_map(|row| row["project_name"].as_str().map(str::to_owned)).collect();
            Err(Problem::of(Code::AmbiguousId, "several projects end like that").perhaps(names).fix("give the whole name").barely())
        }
    }
}

/// `GET /api/status` of the hub. `synced` counts the projects that every other device has as far as is known; `null` is unknown.
pub(crate) fn status(view: &View, now_ms: i64) -> Value {
    let all = gathered(view);
    let others = view.devices.values().filter(|device| device.member && device.id != view.me);
    let lacks: Option<u64> = others.map(|device| device.they_miss).sum();
    let synced = match lacks {
        Some(0) => json!(all.len()),
        Some(_) | None => Value::Null,
    };
    let shown: Vec<_> = view.todos.values().filter(|todo| !todo.deleted).collect();
    let count = |status: Status| shown.iter().filter(|todo| todo.status == status).count();
    json!({
        "service": "sync",
        "version": env!("CARGO_PKG_VERSION"),
        "projects": {"total": all.len(), "synced": synced},
        "sessions": {"total": view.sessions.len(), "active": sessions::active(view, now_ms).len()},
        "topics": super::tags::counts(view),
        "todos": {
            "total": shown.len(),
            "pending": count(Status::Pending),
            "in_progress": count(Status::InProgress),
            "completed": count(Status::Completed),
        },
    })
}

/// `GET /api/session` of the hub, the latest first.
pub(crate) fn sessions(view: &View) -> Value {
    let agents: BTreeMap<SessionId, &AgentView> = view.agents.iter().map(|(key, agent)| (key.session, agent.as_ref())).collect();
    let mut rows: Vec<_> = view.sessions.values().collect();
    rows.sort_by_key(|session| (std::cmp::Reverse(session.last_activity), session.id));
    let row = |session: &Arc<SessionView>| session_row(view, session, agents.get(&session.id).copied());
    json!({"sessions": rows.into_iter().map(row).collect::<Vec<_>>()})
}

/// `GET /api/session/{id}`.
pub(crate) fn session(view: &View, typed: &str) -> Result<Value, Problem> {
    let found = find::session(view, typed).map_err(Problem::barely)?;
    let agent = view.agents.iter().rev().find(|(key, _)| key.session == found.id).map(|(_, agent)| agent.as_ref());
    Ok(session_row(view, found, agent))
}

/// A session with the names that the hub gave to its fields, beside our own.
fn session_row(view: &View, of: &SessionView, agent: Option<&AgentView>) -> Value {
    let mut out = sessions::session(view, of);
    out["projectId"] = json!(of.fact.project.as_deref().unwrap_or(GENERAL));
    out["aiPlatform"] = json!(of.fact.tool);
    out["machineId"] = json!(view.device_name(&of.fact.device).json());
    out["status"] = json!(of.state.word());
    out["metadata"] = agent.map_or(Value::Null, |agent| metadata(agent.beat.metadata.as_ref()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, NOW, leos, todo};
    use crate::model::view::SessionState;

    #[test]
    fn a_project_counts_each_todo_once_and_says_who_works_there() {
        let first = todo("github.com/acme/api-server", "Migrate", Status::Pending);
        let mut second = todo("github.com/acme/api-server", "Deploy", Status::Pending);
        second.blocked_by = vec![first.id];
        let mut fleet = Fleet::busy().todo(first).todo(second);
        let mut beat = crate::api::fixture::beat(crate::api::fixture::MINI, "leo", crate::model::beat::Reported::Working, "x");
        beat.session = leos();
        fleet = fleet.agent(beat, crate::model::view::AgentState::Working);
        let told = projects(&fleet.0, NOW, None);
        assert_eq!((&told["version"], &told["last_updated"]), (&json!("1.0"), &json!("2026-03-02T14:02:02.000Z")));
        let row = &told["projects"][0];
        assert_eq!(row["project_name"], json!("github.com/acme/api-server"));
        assert_eq!((&row["sessions"], &row["session_count"], &row["devices"]), (&json!([leos()]), &json!(1), &json!(["mac-mini"])));
        assert_eq!((&row["agents"], &row["active_agents"]), (&json!(["leo"]), &json!(1)));
        let counts = ["todo_count", "active_todos", "in_progress", "completed_todos", "blocked"].map(|key| row[key].as_u64());
        assert_eq!(counts, [3, 3, 0, 0, 1].map(Some));
        assert_eq!(row["todos"][0]["sessions"], json!([leos()]));
        let names: Vec<&Value> = told["projects"].as_array().expect("rows").iter().map(|row| &row["project_name"]).collect();
        assert_eq!(names, [&json!("github.com/acme/api-server"), &json!("web"), &json!("general")], "agents without a session's project");
        assert_eq!(project(&fleet.0, NOW, "api-server").expect("by its last part")["todo_count"], json!(3));
        assert_eq!(project(&fleet.0, NOW, "nothing").expect_err("none").status, 404);
    }

    #[test]
    fn the_hubs_status_claims_only_what_is_stored() {
        let told = status(&Fleet::busy().0, NOW);
        assert_eq!((&told["service"], &told["projects"]), (&json!("sync"), &json!({"total": 3, "synced": 3})));
        assert_eq!(told["sessions"], json!({"total": 1, "active": 1}));
        assert_eq!(told["todos"], json!({"total": 3, "pending": 1, "in_progress": 1, "completed": 1}));
        assert_eq!(told["topics"], json!({"categories": 0, "total_conversations": 0}));
        let mut apart = Fleet::busy();
        let mini = crate::api::fixture::MINI;
        let mut device = apart.0.devices.get(&mini).expect("there").as_ref().clone();
        device.they_miss = None;
        apart.0.devices.insert(mini, Arc::new(device));
        assert_eq!(status(&apart.0, NOW)["projects"]["synced"], Value::Null);
    }

    #[test]
    fn a_session_carries_the_hubs_names() {
        let fleet = Fleet::new().session(SessionState::Quiet, &[]);
        let told = session(&fleet.0, &leos().to_string()).expect("there");
        let names = ["projectId", "aiPlatform", "machineId", "status"].map(|key| told[key].as_str().unwrap_or_default());
        assert_eq!(names, ["github.com/acme/api-server", "claude", "mac-mini", "quiet"]);
        assert_eq!(sessions(&fleet.0)["sessions"], json!([told]));
        assert_eq!(session(&fleet.0, "s-zzz").expect_err("none").status, 404);
    }
}
