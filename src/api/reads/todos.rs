//! Todos and conflicts as JSON.
//!
//! What a list no longer names is here all the same, marked `listed: false` (T7); what was deleted only when it is asked for.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::circles;
use super::envelope::{Answer, Iso, Key, iso, text};
use super::find;
use super::query::{LIST, Query};
use super::tags;
use crate::api::problem::Problem;
use crate::model::id::{DeviceId, ItemId, SessionId, TodoId};
use crate::model::text::Foreign;
use crate::model::todo::{By, Side, Status, tag_key};
use crate::model::view::{Conflict, Origin, TodoView, View};

/// One todo. The fields stand in the order of their names, as those of a [`Value`] do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row<'a> {
    active_form: Option<&'a str>,
    blocked_by: &'a [TodoId],
    completed_at: Option<Iso>,
    completed_by: Option<Who<'a>>,
    conflict: bool,
    content: &'a str,
    created_at: Iso,
    deleted: bool,
    id: TodoId,
    listed: bool,
    origins: Vec<Listing>,
    owner: Option<&'a str>,
    priority: Option<&'a str>,
    project: &'a str,
    ready: bool,
    relisted: u32,
    round: u64,
    status: &'static str,
    tags: Vec<String>,
    updated_at: Iso,
}

/// Who completed it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Who<'a> {
    agent: Option<&'a str>,
    device: DeviceId,
    device_name: String,
    session: Option<SessionId>,
}

/// Where it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    device: Option<DeviceId>,
    device_name: Option<String>,
    item: ItemId,
    listed: bool,
    session: Option<SessionId>,
    status: &'static str,
}

fn row<'a>(view: &'a View, todo: &'a TodoView) -> Row<'a> {
    let text = |foreign: &'a Option<Foreign>| foreign.as_ref().map(Foreign::json);
    Row {
        active_form: text(&todo.active_form),
        blocked_by: &todo.blocked_by,
        completed_at: todo.completed.map(Iso),
        completed_by: todo.completed_by.as_ref().map(|by| who(view, by)),
        conflict: todo.conflict,
        content: todo.content.json(),
        created_at: Iso(todo.created),
        deleted: todo.deleted,
        id: todo.id,
        listed: todo.listed,
        origins: todo.origins.iter().map(|from| origin(view, from)).collect(),
        owner: text(&todo.owner),
        priority: text(&todo.priority),
        project: &todo.project,
        ready: is_ready(view, todo),
        relisted: todo.relisted,
        round: todo.round,
        status: todo.status.word(),
        tags: tags::of_todo(view, todo).into_iter().collect(),
        updated_at: Iso(todo.updated),
    }
}

fn who<'a>(view: &View, by: &'a By) -> Who<'a> {
    let agent = by.agent.as_ref().map(Foreign::json);
    Who { agent, device: by.device, device_name: name(view, &by.device), session: by.session }
}

fn origin(view: &View, from: &Origin) -> Listing {
    Listing {
        device: from.device,
        device_name: from.device.map(|device| name(view, &device)),
        item: from.item,
        listed: from.listed,
        session: from.session,
        status: from.status.word(),
    }
}

fn name(view: &View, device: &DeviceId) -> String {
    view.device_name(device).json().to_owned()
}

/// One todo.
pub(crate) fn todo(view: &View, todo: &TodoView) -> Value {
    serde_json::to_value(row(view, todo)).expect("a todo has texts for keys and numbers that are finite")
}

/// Whether somebody could begin it now: pending, listed, not hidden, and nothing open stands before it.
pub(crate) fn is_ready(view: &View, todo: &TodoView) -> bool {
    todo.status == Status::Pending && todo.listed && !todo.deleted && !todo.blocked_by.iter().any(|id| is_open(view, id))
}

/// Whether a todo, or one that holds what it held, is still to be done.
pub(crate) fn is_open(view: &View, id: &TodoId) -> bool {
    let open = |todo: &Arc<TodoView>| !todo.status.is_finished() && !todo.deleted;
    match view.todos.get(id) {
        Some(todo) => open(todo),
        None => view.moved.get(id).is_some_and(|places| places.iter().filter_map(|place| view.todos.get(place)).any(open)),
    }
}

/// The more it matters, the smaller: beads' 0–4 and the words of the tools. What says nothing stands in the middle.
fn urgency(todo: &TodoView) -> i64 {
    let word = todo.priority.as_ref().map(|word| word.normalised().to_lowercase()).unwrap_or_default();
    match word.trim_start_matches('p') {
        "0" | "critical" | "urgent" => 0,
        "1" | "high" => 1,
        "3" | "low" => 3,
        "4" | "backlog" => 4,
        _ => 2,
    }
}

/// `GET /api/v3/todos`.
pub(crate) fn list<'a>(view: &'a View, query: &str) -> Result<Answer<Vec<Row<'a>>>, Problem> {
    let known = [&["project", "status", "device", "session", "tag", "listed", "all", "ready"][..], &LIST].concat();
    let query = Query::parse(query, &known);
    let device = find::device_id(view, query.text("device"))?;
    let statuses = statuses(&query)?;
    let session = query.text("session").map(|typed| find::session(view, typed)).transpose()?;
    let tag = query.text("tag").map(|tag| tag_key(&Foreign::new(tag)));
    let listed = query.yes("listed")?;
    let all = query.yes("all")?.unwrap_or(false);
    let ready = query.yes("ready")?;
    let fits = |todo: &&Arc<TodoView>| {
        (all || !todo.deleted)
            && listed.is_none_or(|listed| todo.listed == listed)
            && statuses.as_ref().is_none_or(|statuses| statuses.contains(&todo.status))
            && device.is_none_or(|device| todo.origins.iter().any(|from| from.device == Some(device)))
            && query.text("project").is_none_or(|typed| is_project(&todo.project, typed))
            && ready.is_none_or(|ready| is_ready(view, todo) == ready)
            && session.is_none_or(|session| todo.origins.iter().any(|from| from.session == Some(session.id)))
            && tag.as_ref().is_none_or(|tag| tags::of_todo(view, todo).contains(tag))
    };
    let urgent_first = ready == Some(true);
    let key = |todo: &TodoView| -> Key { (if urgent_first { urgency(todo) } else { 0 }, todo.created, todo.id.to_string()) };
    let rows = view.todos.values().filter(fits).map(|todo| (key(todo), todo)).collect();
    let circles = if ready.is_some() { circles::named(view) } else { Vec::new() };
    let told = Answer::rows(rows, query, |todo| row(view, todo))?;
    Ok(circles.into_iter().fold(told, Answer::warn))
}

fn statuses(query: &Query) -> Result<Option<Vec<Status>>, Problem> {
    let Some(text) = query.text("status") else { return Ok(None) };
    let words = || Status::ALL.map(|status| status.word().to_owned()).to_vec();
    let read = |word: &str| Status::parse(word.trim()).ok_or_else(|| Problem::bad(format!("“{word}” is no status")).perhaps(words()));
    text.split(',').map(read).collect::<Result<_, _>>().map(Some)
}

/// Whether a project's key is what was typed, or ends with it: `api-server` means `github.com/acme/api-server`.
pub(crate) fn is_project(key: &str, typed: &str) -> bool {
    let (key, typed) = (key.to_lowercase(), typed.to_lowercase());
    key == typed || key.strip_suffix(&typed).is_some_and(|front| front.ends_with('/'))
}

/// `GET /api/v3/todos/{id}`.
pub(crate) fn show(view: &View, typed: &str, query: &str) -> Result<Answer, Problem> {
    let found = find::todo(view, typed)?;
    Ok(Answer::one(todo(view, found), Query::parse(query, &[])))
}

/// `GET /api/v3/todos/{id}/history`: oldest first, as it was written down.
pub(crate) fn history(view: &View, typed: &str, query: &str) -> Result<Answer, Problem> {
    let found = find::todo(view, typed)?;
    let rows = found.history.iter().enumerate().map(|(n, step)| ((i64::try_from(n).unwrap_or(i64::MAX), 0, String::new()), step)).collect();
    Answer::list(rows, Query::parse(query, &LIST), |step| {
        json!({
            "at": iso(step.at),
            "device": step.by.device,
            "deviceName": view.device_name(&step.by.device).json(),
            "actor": text(step.by.agent.as_ref()),
            "session": step.by.session,
            "field": step.field,
            "from": text(step.from.as_ref()),
            "to": step.to.json(),
            "round": step.round,
            "act": step.act,
        })
    })
}

/// One conflict: the same bytes on every device.
pub(crate) fn conflict(view: &View, conflict: &Conflict) -> Value {
    json!({
        "id": conflict.id,
        "todo": conflict.todo,
        "content": conflict.content.json(),
        "field": conflict.field,
        "local": side(view, &conflict.local),
        "remote": side(view, &conflict.remote),
        "rule": conflict.rule,
        "result": conflict.result.json(),
        "resolved": conflict.resolved,
    })
}

fn side(view: &View, side: &Side) -> Value {
    json!({
        "value": side.value.json(),
        "device": side.device,
        "deviceName": view.device_name(&side.device).json(),
        "session": side.session,
        "at": iso(side.at),
    })
}

/// `GET /api/v3/conflicts`: the settled ones too, unless `resolved=0`.
pub(crate) fn conflicts(view: &View, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &[&["resolved", "todo"][..], &LIST].concat());
    let resolved = query.yes("resolved")?;
    let of = query.text("todo").map(|typed| find::todo(view, typed).map(|todo| todo.id)).transpose()?;
    let fits = |c: &&Arc<Conflict>| resolved.is_none_or(|resolved| c.resolved == resolved) && of.is_none_or(|todo| c.todo == todo);
    let rows = view.conflicts.values().filter(fits);
    let rows = rows.map(|c| ((0, 0, format!("{}/{}/{}", c.todo, c.field, c.id)), c)).collect();
    Answer::list(rows, query, |row| conflict(view, row))
}

/// What the overview counts.
pub(crate) struct Counts {
    pub(crate) ready: usize,
    pub(crate) in_progress: usize,
    pub(crate) done_today: usize,
    pub(crate) open: usize,
    pub(crate) total: usize,
}

/// Counts the todos that are not hidden; `midnight` is when today began, milliseconds since 1970.
pub(crate) fn counts(view: &View, midnight: i64) -> Counts {
    let mut counts = Counts { ready: 0, in_progress: 0, done_today: 0, open: 0, total: 0 };
    for todo in view.todos.values().filter(|todo| !todo.deleted) {
        counts.total += 1;
        counts.open += usize::from(todo.listed && !todo.status.is_finished());
        counts.ready += usize::from(is_ready(view, todo));
        counts.in_progress += usize::from(todo.listed && todo.status == Status::InProgress);
        let done = todo.status == Status::Completed && todo.completed.is_some_and(|at| at >= midnight);
        counts.done_today += usize::from(done);
    }
    counts
}

/// How many conflicts wait for somebody.
pub(crate) fn open_conflicts(view: &View) -> usize {
    view.conflicts.values().filter(|conflict| !conflict.resolved).count()
}
