//! What happened last, on all devices: who began what, who asks, what was done, where two words could not both count.
//!
//! It is read from what things are now (each knows when it became so), not from a log: what was overwritten since is on the page of
//! the thing itself.

use super::html::{Html, clock};
use super::pieces;
use super::scene::{Part, Scene};
use crate::api::reads::AgentRow;
use crate::model::view::{AgentState, Conflict, Happened, SessionView, TodoView};

/// Rows.
const SHOWN: usize = 8;

/// Something that happened.
enum Event<'a> {
    Agent(&'a AgentRow<'a>),
    Todo(&'a TodoView, &'a Happened),
    Conflict(&'a Conflict),
    Began(&'a SessionView),
    Ended(&'a SessionView),
}

/// The part.
pub(crate) fn part(scene: &Scene<'_>, rows: &[AgentRow<'_>]) -> Part {
    let mut events = events(scene, rows);
    if events.is_empty() {
        return Part::bare("lately", scene.html());
    }
    let order = |event: &(i64, usize, Event<'_>)| (std::cmp::Reverse(event.0), event.1);
    if events.len() > SHOWN {
        events.select_nth_unstable_by_key(SHOWN, order);
        events.truncate(SHOWN);
    }
    events.sort_by_key(order);
    let mut part = Part::titled(scene, "lately", "Lately");
    let html = &mut part.html;
    html.raw("<ul class=\"rows todos\">");
    for (at, _, event) in &events {
        html.raw("<li><span class=\"on\">").text(&clock(*at, scene.now_ms)).raw("</span> ");
        tell(html, scene, event);
        html.raw("</li>");
    }
    html.raw("</ul><p class=\"more\">What happens from now on: ");
    pieces::command(html, "hubless watch");
    html.raw("</p>");
    part
}

/// All that is known, each with its time and a number that tells equal times apart.
fn events<'a>(scene: &Scene<'a>, rows: &'a [AgentRow<'a>]) -> Vec<(i64, usize, Event<'a>)> {
    // Stale, late and unknown come by time alone; when, nobody said.
    let said = |row: &&AgentRow<'_>| !matches!(row.lead.state, AgentState::Stale | AgentState::Late | AgentState::Unknown);
    let agents = rows.iter().filter(said).map(|row| (row.lead.beat.since, Event::Agent(row)));
    let last = |todo: &'a TodoView| todo.history.iter().rev().find(|step| step.field != "listed");
    let shown = scene.view.todos.values().filter(|todo| !todo.deleted);
    let todos = shown.filter_map(|todo| last(todo).map(|step| (step.at, Event::Todo(todo, step))));
    let open = scene.view.conflicts.values().filter(|conflict| !conflict.resolved);
    let conflicts = open.map(|conflict| (conflict.local.at.max(conflict.remote.at), Event::Conflict(conflict)));
    // Who reports by hand has no other session than that: its row above says the same.
    let of_tools = scene.view.sessions.values().filter(|session| session.fact.tool != "custom");
    let sessions = of_tools.map(|session| match &session.end {
        Some(end) => (end.at, Event::Ended(session)),
        None => (session.fact.started, Event::Began(session)),
    });
    let all = agents.chain(todos).chain(conflicts).chain(sessions).enumerate();
    // A clock that is ahead would hold the first place for good.
    all.filter(|(_, (at, _))| *at <= scene.now_ms.saturating_add(60_000)).map(|(n, (at, event))| (at, n, event)).collect()
}

fn tell(html: &mut Html, scene: &Scene<'_>, event: &Event<'_>) {
    match event {
        Event::Agent(row) => {
            pieces::agent_link(html, &row.lead.beat.agent);
            html.raw(match row.lead.state {
                AgentState::NeedsInput => " asks: ",
                AgentState::Idle => " is idle: ",
                AgentState::Done => " is done: ",
                AgentState::Failed => " failed: ",
                AgentState::Working | AgentState::Stuck | AgentState::Late | AgentState::Stale | AgentState::Unknown => " works: ",
            });
            pieces::task(html, row);
        }
        Event::Todo(todo, step) => {
            pieces::todo_link(html, todo);
            match step.field.as_str() {
                "status" => drop(html.raw(" is ").text(&step.to.plain().replace('_', " "))),
                field => drop(html.raw(" <span class=\"on\">").text(field).raw(":</span> ").brief(&step.to)),
            }
            html.raw(" <span class=\"on\">by ");
            pieces::who(html, scene, &step.by);
            html.raw("</span>");
        }
        Event::Conflict(conflict) => {
            html.raw("<span class=\"warn\">≠</span> <a href=\"/sync/todos/").text(&conflict.todo.to_string()).raw("\">");
            html.brief(&conflict.content).raw("</a> <span class=\"on\">").text(&conflict.field).raw(" was said in two ways</span>");
        }
        Event::Began(session) | Event::Ended(session) => {
            pieces::session_link(html, session);
            html.raw(if matches!(event, Event::Began(_)) { " <span class=\"on\">began, " } else { " <span class=\"on\">ended, " });
            html.text(&session.fact.tool).raw(" on ");
            pieces::device_link(html, scene.view, &session.fact.device);
            html.raw("</span>");
        }
    }
}
