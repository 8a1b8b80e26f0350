//! How long todos take: from the moment their round began to their completion, by the session and by the agent that completed them.
//!
//! Only what was completed counts, each todo once, in the round it is in. A todo of which nobody said when it began was first seen
//! when its list was first read, so what stood in a list before hubless was there counts from then: the file's own time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::envelope::Answer;
use super::query::Query;
use super::todos::is_project;
use crate::api::problem::Problem;
use crate::model::beat::agent_key;
use crate::model::id::{DeviceId, SessionId};
use crate::model::text::Foreign;
use crate::model::todo::Status;
use crate::model::view::{TodoView, View};

/// `GET /api/v3/todos/stats?project=&since=`: `since` is of the completion.
pub(crate) fn stats(view: &View, now_ms: i64, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["project", "since"]);
    let since = query.since(now_ms)?;
    let fits = |todo: &&TodoView| query.text("project").is_none_or(|typed| is_project(&todo.project, typed));
    let todos = view.todos.values().map(AsRef::as_ref).filter(|todo: &&TodoView| !todo.deleted).filter(fits);
    let (mut all, mut sessions, mut agents) =
        (Vec::new(), BTreeMap::<SessionId, Vec<i64>>::new(), BTreeMap::<(String, DeviceId), (Foreign, Vec<i64>)>::new());
    for (todo, took) in todos.filter_map(|todo| Some((todo, took(todo, since)?))) {
        all.push(took);
        let Some(by) = &todo.completed_by else { continue };
        if let Some(session) = by.session {
            sessions.entry(session).or_default().push(took);
        }
        let of_session = || by.session.and_then(|session| view.sessions.get(&session)).map(|session| session.fact.agent.clone());
        if let Some(agent) = by.agent.clone().or_else(of_session) {
            agents.entry((agent_key(&agent), by.device)).or_insert_with(|| (agent, Vec::new())).1.push(took);
        }
    }
    let of_session = |(id, took): (&SessionId, &Vec<i64>)| {
        let known = view.sessions.get(id).map(|session| &session.fact);
        let mut row = figures(took);
        row["session"] = json!(id);
        row["agent"] = json!(known.map(|fact| fact.agent.json()));
        row["device"] = json!(known.map(|fact| fact.device));
        row["deviceName"] = json!(known.map(|fact| view.device_name(&fact.device).json().to_owned()));
        row["project"] = json!(known.and_then(|fact| fact.project.as_deref()));
        row
    };
    let of_agent = |((_, device), (agent, took)): (&(String, DeviceId), &(Foreign, Vec<i64>))| {
        let mut row = figures(took);
        row["agent"] = json!(agent.json());
        row["device"] = json!(device);
        row["deviceName"] = json!(view.device_name(device).json());
        row
    };
    let data = json!({
        "total": figures(&all),
        "agents": sorted(agents.iter().map(of_agent).collect()),
        "sessions": sorted(sessions.iter().map(of_session).collect()),
    });
    Ok(Answer::counting(data, all.len(), query))
}

/// Who completed most stands first.
fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| std::cmp::Reverse(row["count"].as_u64()));
    rows
}

/// How long a todo took, milliseconds, if it was completed, and not before `since`. Clocks that disagree make no negative time.
fn took(todo: &TodoView, since: Option<i64>) -> Option<i64> {
    let done = todo.completed.filter(|at| todo.status == Status::Completed && since.is_none_or(|since| *at >= since))?;
    let opened = todo.history.iter().filter(|step| step.field == "status" && step.round == todo.round).map(|step| step.at).min();
    let began = if todo.round == 1 { todo.created.min(opened.unwrap_or(todo.created)) } else { opened.unwrap_or(todo.created) };
    Some(done.saturating_sub(began).max(0))
}

/// `count`, and of that many the median and the p90 by nearest rank; of none there are none.
fn figures(took: &[i64]) -> Value {
    let mut took = took.to_vec();
    took.sort_unstable();
    let at = |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).map(|ms| ms / 1000);
    json!({"count": took.len(), "medianSeconds": at(50), "p90Seconds": at(90)})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, NOW, leos, todo};
    use crate::model::view::{Happened, SessionState};
    use quickcheck::quickcheck;

    fn ask(fleet: &Fleet, query: &str) -> Value {
        crate::api::reads::answer(&fleet.0, NOW, "daemon", "/api/v3/todos/stats", query).expect("stats")
    }

    #[test]
    fn what_was_completed_counts_once_for_its_session_and_its_agent() {
        let mut fleet = Fleet::new().session(SessionState::Quiet, &[]);
        for (n, minutes) in [10, 20, 60].into_iter().enumerate() {
            let mut one = todo("web", &format!("todo {n}"), Status::Completed);
            one.created = NOW - 60_000 - minutes * 60_000;
            one.completed_by.as_mut().expect("somebody").session = Some(leos());
            if n == 2 {
                one.completed_by.as_mut().expect("somebody").agent = None;
            }
            fleet = fleet.todo(one);
        }
        let mut again = todo("api", "again", Status::Completed);
        again.round = 2;
        let step = |at, round| Happened { at, round, ..again.history[0].clone() };
        again.history = [step(NOW - 7_200_000, 1), step(NOW - 120_000, 2), step(NOW - 60_000, 2)].into();
        fleet = fleet.todo(again).todo(todo("web", "open", Status::Pending));
        let told = ask(&fleet, "")["data"].clone();
        assert_eq!(told["total"], json!({"count": 4, "medianSeconds": 600, "p90Seconds": 3600}), "the second round took a minute");
        assert_eq!((&told["sessions"][0]["count"], &told["sessions"][0]["medianSeconds"]), (&json!(3), &json!(1200)));
        assert_eq!((&told["sessions"][0]["session"], &told["sessions"][0]["agent"]), (&json!(leos()), &json!("leo")));
        assert_eq!(
            (&told["agents"][0]["agent"], &told["agents"][0]["count"]),
            (&json!("leo"), &json!(4)),
            "by the session, where nobody is named"
        );
        assert_eq!(ask(&fleet, "project=api")["data"]["total"]["count"], json!(1));
        assert_eq!(ask(&fleet, "since=10s")["data"]["total"], json!({"count": 0, "medianSeconds": null, "p90Seconds": null}));
    }

    quickcheck! {
        fn figures_are_those_of_the_book(took: Vec<u16>) -> bool {
            let took: Vec<i64> = took.into_iter().map(|seconds| i64::from(seconds) * 1000).collect();
            let told = figures(&took);
            let share = |key: &str| told[key].as_i64().map(|at| took.iter().filter(|ms| **ms / 1000 <= at).count());
            took.is_empty() == told["medianSeconds"].is_null()
                && share("medianSeconds").is_none_or(|n| n * 2 >= took.len())
                && share("p90Seconds").is_none_or(|n| n * 10 >= took.len() * 9)
        }
    }
}
