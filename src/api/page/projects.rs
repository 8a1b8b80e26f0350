//! Projects: one panel each, whatever device, agent or tool works on it; and a page each.

use std::collections::{BTreeMap, BTreeSet};

use super::html::Html;
use super::pieces;
use super::scene::{Page, Part, Scene};
use super::{agents, sessions, todos};
use crate::api::problem::Problem;
use crate::api::reads::{self, AgentRow};
use crate::model::todo::Status;
use crate::model::view::{SessionState, View};

/// Panels on the first page.
const PANELS: usize = 9;
/// Agents that a panel names.
const NAMED: usize = 6;

/// What is summed up of one project.
#[derive(Default)]
struct Sum<'a> {
    rows: Vec<&'a AgentRow<'a>>,
    seen: BTreeSet<(crate::model::id::DeviceId, &'a str)>,
    sessions: usize,
    running: usize,
    open: usize,
    doing: usize,
    done: usize,
    last: i64,
}

fn sums<'a>(view: &'a View, rows: &'a [AgentRow<'a>]) -> Vec<(&'a str, Sum<'a>)> {
    let mut sums: BTreeMap<&str, Sum<'a>> = BTreeMap::new();
    for session in view.sessions.values() {
        let Some(key) = session.fact.project.as_deref() else { continue };
        let sum = sums.entry(key).or_default();
        sum.sessions += 1;
        sum.running += usize::from(matches!(session.state, SessionState::Agent(state) if state.is_active()));
        sum.last = sum.last.max(session.last_activity);
    }
    for todo in view.todos.values().filter(|todo| !todo.deleted) {
        let sum = sums.entry(&todo.project).or_default();
        sum.open += usize::from(todo.listed && !todo.status.is_finished());
        sum.doing += usize::from(todo.listed && todo.status == Status::InProgress);
        sum.done += usize::from(todo.status == Status::Completed);
        sum.last = sum.last.max(todo.updated);
    }
    for row in rows {
        let of = |session: &crate::model::id::SessionId| view.sessions.get(session).and_then(|session| session.fact.project.as_deref());
        if let Some(sum) = of(&row.lead.beat.session).and_then(|key| sums.get_mut(key))
            && sum.seen.insert((row.device, row.agent))
        {
            sum.rows.push(row);
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(key, sum)| (std::cmp::Reverse((sum.running > 0, sum.last)), *key));
    sums
}

/// The panels of the projects that were touched last.
pub(crate) fn panels(scene: &Scene<'_>, rows: &[AgentRow<'_>]) -> Part {
    let sums = sums(scene.view, rows);
    if sums.is_empty() {
        return Part::bare("projects", scene.html());
    }
    let mut part = Part::titled(scene, "projects", "Projects");
    panel_list(&mut part.html, scene, &sums[..sums.len().min(PANELS)]);
    if sums.len() > PANELS {
        part.html.raw("<p class=\"more\"><a href=\"/sync/projects\">All ").count(sums.len()).raw(" projects</a></p>");
    }
    part
}

/// `/sync/projects`.
pub(crate) fn all(scene: &Scene<'_>) -> Page {
    let rows = reads::by_need(scene.view);
    let sums = sums(scene.view, &rows);
    let mut top = scene.html();
    top.raw("<h1>Projects</h1><p class=\"sub\">").counted(sums.len(), "project", "projects").raw(", the busiest first</p>");
    let mut html = scene.html();
    // Between the page's heading and those of the panels, for who goes by headings.
    html.raw("<h2 class=\"vh\">By last activity</h2>");
    panel_list(&mut html, scene, pieces::slice(scene, &sums));
    pieces::pager(&mut html, scene, sums.len());
    Page { title: "Projects · hubless".into(), parts: vec![Part::bare("top", top), Part::bare("projects", html)] }
}

fn panel_list(html: &mut Html, scene: &Scene<'_>, sums: &[(&str, Sum<'_>)]) {
    html.raw("<ul class=\"cards small-cards\">");
    for (key, sum) in sums {
        html.raw("<li class=\"card\" data-key=\"p-").text(key).raw("\"><h3>");
        pieces::project_link(html, key);
        html.raw("</h3><p class=\"small\">");
        html.counted(sum.sessions, "session", "sessions");
        if sum.running > 0 {
            html.raw(", ").count(sum.running).raw(" running");
        }
        if sum.open > 0 {
            html.raw(" · ").counted(sum.open, "open todo", "open todos");
        }
        if sum.doing > 0 {
            html.raw(", ").count(sum.doing).raw(" in progress");
        }
        html.raw("</p>");
        if sum.open + sum.done > 0 {
            html.raw("<p class=\"bar\">");
            pieces::progress(html, sum.done, sum.done + sum.open);
            html.raw("</p>");
        }
        if !sum.rows.is_empty() {
            html.raw("<ul class=\"agents plain\">");
            for row in sum.rows.iter().take(NAMED) {
                html.raw("<li data-key=\"").text(&row.device.to_string()).raw("/").text(row.agent).raw("\">");
                pieces::state(html, row.lead.state);
                html.raw(" ");
                pieces::agent_link(html, &row.lead.beat.agent);
                html.raw(" <span class=\"on\">on ").brief(&scene.view.device_name(&row.device)).raw("</span></li>");
            }
            if sum.rows.len() > NAMED {
                html.raw("<li class=\"none\">and ").count(sum.rows.len() - NAMED).raw(" more</li>");
            }
            html.raw("</ul>");
        }
        html.raw("<p class=\"small\">last active ").ago(sum.last).raw("</p></li>");
    }
    html.raw("</ul>");
}

/// `/sync/projects/{key}`.
pub(crate) fn one(scene: &Scene<'_>, key: &str) -> Result<Page, Problem> {
    let view = scene.view;
    let of = |session: &crate::model::id::SessionId| view.sessions.get(session).and_then(|session| session.fact.project.as_deref());
    let rows: Vec<AgentRow<'_>> = reads::by_need(view).into_iter().filter(|row| of(&row.lead.beat.session) == Some(key)).collect();
    let known =
        view.todos.values().any(|todo| todo.project == key) || view.sessions.values().any(|s| s.fact.project.as_deref() == Some(key));
    if !known {
        return Err(Problem::missing("project-not-found", format!("nothing is known of a project “{key}”")));
    }
    let mut html = scene.html();
    html.raw("<h1>").whole(&pieces::short_project(key)).raw("</h1><p class=\"sub\"><code>").text(key).raw("</code></p>");
    let of_project = |fact: &crate::model::session::SessionFact| fact.project.as_deref() == Some(key);
    let parts = vec![
        Part::bare("top", html),
        agents::table(scene, "agents", "Agents", &rows),
        todos::table(scene, |todo| todo.project == key),
        sessions::table(scene, "sessions", of_project),
    ];
    Ok(Page { title: format!("{} · hubless", pieces::short_project(key).plain()), parts })
}
