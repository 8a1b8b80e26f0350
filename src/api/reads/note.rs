//! What a session that begins should know: who else works on its project and where, what is left to do there, and where two
//! devices disagree. A project that is not known has no note.

use serde_json::{Value, json};

use super::envelope::{Answer, iso, text};
use super::query::Query;
use crate::api::problem::Problem;
use crate::model::id::SessionId;
use crate::model::session::{SessionFact, session_id};
use crate::model::todo::Status;
use crate::model::view::{AgentKey, AgentState, AgentView, TodoView, View};

/// Agents that are named; the rest is counted.
const AGENTS_MAX: usize = 8;
/// Todos that are named; the rest is counted.
const TODOS_MAX: usize = 8;

/// `GET /api/v3/note?tool=&session=`: for the session of this device that the tool calls so.
pub(crate) fn note(view: &View, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["tool", "session"]);
    let (Some(tool), Some(session)) = (query.text("tool"), query.text("session")) else {
        return Err(Problem::bad("“tool” and “session” are needed").fix("?tool=claude&session=ID"));
    };
    let session = session_id(&view.me, tool, session);
    let project = view.sessions.get(&session).and_then(|asker| asker.fact.project.clone().or_else(|| of_directory(view, &asker.fact)));
    let data = project.map_or(Value::Null, |project| of_project(view, session, &project));
    Ok(Answer::one(data, query))
}

/// The project of any session of this device in the same directory: a new one's own is not looked up yet.
fn of_directory(view: &View, fact: &SessionFact) -> Option<String> {
    let same = |other: &&SessionFact| other.device == fact.device && other.cwd.is_some() && other.cwd == fact.cwd;
    view.sessions.values().map(|session| &session.fact).filter(same).find_map(|other| other.project.clone())
}

fn of_project(view: &View, asker: SessionId, project: &str) -> Value {
    let works_here =
        |key: &AgentKey| view.sessions.get(&key.session).is_some_and(|session| session.fact.project.as_deref() == Some(project));
    let others = view.agents.iter().filter(|(key, agent)| key.session != asker && is_there(agent.state) && works_here(key));
    let mut others: Vec<(&AgentKey, &AgentView)> = others.map(|(key, agent)| (key, agent.as_ref())).collect();
    others.sort_by_key(|(_, agent)| (!agent.state.is_active(), agent.state, std::cmp::Reverse(agent.beat.at)));
    let is_open = |todo: &&TodoView| todo.listed && !todo.deleted && todo.project == project && todo.status < Status::Cancelled;
    let mut open: Vec<&TodoView> = view.todos.values().map(AsRef::as_ref).filter(is_open).collect();
    // What somebody has in hand first: that is what another should not begin as well.
    open.sort_by_key(|todo| (todo.status != Status::InProgress, std::cmp::Reverse(todo.updated), todo.id));
    let in_project = |id| view.todos.get(id).is_some_and(|todo| todo.project == project);
    let conflicts = view.conflicts.values().filter(|conflict| !conflict.resolved && in_project(&conflict.todo)).count();
    json!({
        "project": project,
        "agents": others.iter().take(AGENTS_MAX).map(|(key, agent)| worker(view, key, agent)).collect::<Vec<_>>(),
        "agentsTotal": others.len(),
        "todos": open.iter().take(TODOS_MAX).map(|todo| item(todo)).collect::<Vec<_>>(),
        "todosTotal": open.len(),
        "conflicts": conflicts,
    })
}

/// Whether somebody may still be at it; of a device out of reach nobody can say that they are not.
fn is_there(state: AgentState) -> bool {
    !matches!(state, AgentState::Done | AgentState::Failed)
}

fn worker(view: &View, key: &AgentKey, agent: &AgentView) -> Value {
    let session = view.sessions.get(&key.session);
    json!({
        "agent": agent.beat.agent.json(),
        "role": text(agent.role.as_ref()),
        "device": key.device,
        "deviceName": view.device_name(&key.device).json(),
        "state": agent.state.word(),
        "task": text(agent.beat.task.as_ref()),
        "file": text(agent.beat.file.as_ref()),
        "branch": session.and_then(|session| session.fact.branch.as_ref()).map(|branch| branch.json()),
        "lastBeat": iso(agent.beat.at),
    })
}

fn item(todo: &TodoView) -> Value {
    json!({"id": todo.id, "shortId": todo.id.short(5), "content": todo.content.json(), "status": todo.status.word(), "owner": text(todo.owner.as_ref())})
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::fixture::{Fleet, MBP, MINI, NOW, beat, todo};
    use crate::api::reads::answer;
    use crate::model::beat::Reported;
    use crate::model::view::{SessionState, SessionView};

    /// An agent in a session of a project.
    fn at(mut fleet: Fleet, device: crate::model::id::DeviceId, name: &str, state: AgentState, project: Option<&str>) -> Fleet {
        let report = beat(device, name, Reported::Working, "task of its own");
        let fact = SessionFact {
            rev: 1,
            device,
            tool: "custom".into(),
            tool_session: name.into(),
            agent: name.into(),
            project: project.map(str::to_owned),
            cwd: None,
            branch: Some("main".into()),
            title: None,
            parent: None,
            side: false,
            started: NOW,
        };
        let (id, state_of) = (report.session, SessionState::Agent(state));
        let session = SessionView {
            id,
            fact,
            state: state_of,
            last_activity: NOW,
            end: None,
            todos: Arc::new([]),
            open: 0,
            done: 0,
            counts: None,
            tags: Default::default(),
            has_file: None,
        };
        fleet = fleet.agent(report, state);
        fleet.0.sessions.insert(id, Arc::new(session));
        fleet
    }

    fn ask(fleet: &Fleet, session: &str) -> Value {
        answer(&fleet.0, NOW, "daemon", "/api/v3/note", &format!("tool=custom&session={session}")).expect("a note")["data"].clone()
    }

    #[test]
    fn it_names_the_others_of_the_project_and_what_is_open_there() {
        let mut fleet = Fleet::new();
        for (device, name, state, project) in [
            (MBP, "me", AgentState::Working, Some("web")),
            (MINI, "leo", AgentState::NeedsInput, Some("web")),
            (MINI, "idle", AgentState::Idle, Some("web")),
            (MINI, "gone", AgentState::Done, Some("web")),
            (MINI, "elsewhere", AgentState::Working, Some("api")),
        ] {
            fleet = at(fleet, device, name, state, project);
        }
        fleet = fleet.todo(todo("web", "first", Status::Pending)).todo(todo("web", "in hand", Status::InProgress));
        fleet = fleet.todo(todo("web", "done", Status::Completed)).todo(todo("api", "other", Status::Pending));
        let told = ask(&fleet, "me");
        let names: Vec<&str> = told["agents"].as_array().expect("rows").iter().filter_map(|row| row["agent"].as_str()).collect();
        assert_eq!((names, &told["agentsTotal"], &told["project"]), (vec!["leo", "idle"], &json!(2), &json!("web")));
        assert_eq!((&told["agents"][0]["deviceName"], &told["agents"][0]["branch"]), (&json!("mac-mini"), &json!("main")));
        let todos: Vec<&str> = told["todos"].as_array().expect("rows").iter().filter_map(|row| row["content"].as_str()).collect();
        assert_eq!((todos, &told["todosTotal"]), (vec!["in hand", "first"], &json!(2)));
    }

    #[test]
    fn without_a_project_there_is_nothing_to_note_and_a_wrong_question_is_one() {
        let fleet = at(Fleet::new(), MBP, "me", AgentState::Working, None);
        assert_eq!((ask(&fleet, "me"), ask(&fleet, "nobody")), (Value::Null, Value::Null));
        assert_eq!(answer(&fleet.0, NOW, "daemon", "/api/v3/note", "tool=x").expect_err("no session").status, 400);
        // In a directory that is known already, nobody waits for a look.
        let mut fleet = at(at(fleet, MBP, "before", AgentState::Idle, Some("web")), MINI, "there", AgentState::Idle, Some("other"));
        assert_eq!(ask(&fleet, "me"), Value::Null);
        for (device, name) in [(MBP, "me"), (MBP, "before"), (MINI, "there")] {
            let id = session_id(&device, "custom", name);
            let session = fleet.0.sessions.get_mut(&id).expect("there");
            Arc::make_mut(session).fact.cwd = Some("/w".into());
        }
        assert_eq!(ask(&fleet, "me")["project"], "web");
    }

    #[test]
    fn it_stays_short_whatever_the_fleet_does() {
        let mut fleet = at(Fleet::new(), MBP, "me", AgentState::Working, Some("web"));
        for n in 0..50 {
            fleet = at(fleet, MINI, &format!("a{n}"), AgentState::Working, Some("web"));
            fleet = fleet.todo(todo("web", &format!("todo {n}"), Status::Pending));
        }
        let told = ask(&fleet, "me");
        assert_eq!((told["agents"].as_array().map(Vec::len), &told["agentsTotal"]), (Some(AGENTS_MAX), &json!(50)));
        assert_eq!((told["todos"].as_array().map(Vec::len), &told["todosTotal"]), (Some(TODOS_MAX), &json!(50)));
    }
}
