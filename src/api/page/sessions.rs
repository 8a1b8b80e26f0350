//! Sessions: the latest, all, and each one's page with its facts and how far its list is.

use std::sync::Arc;

use super::html::{Html, age};
use super::pieces;
use super::scene::{Page, Part, Scene};
use super::todos;
use crate::api::problem::Problem;
use crate::api::reads;
use crate::model::beat::agent_key;
use crate::model::session::SessionFact;
use crate::model::view::{SessionView, View};

/// Sessions on the first page.
const LATEST: usize = 12;

/// The sessions that were active last.
pub(crate) fn latest(scene: &Scene<'_>) -> Part {
    let mut rows: Vec<&Arc<SessionView>> = scene.view.sessions.values().collect();
    if rows.is_empty() {
        return Part::bare("sessions", scene.html());
    }
    let order = |session: &&Arc<SessionView>| (std::cmp::Reverse(session.last_activity), session.id);
    if rows.len() > LATEST {
        rows.select_nth_unstable_by_key(LATEST, order);
        rows.truncate(LATEST);
    }
    rows.sort_by_key(order);
    let mut part = Part::titled(scene, "sessions", "Latest sessions");
    list(&mut part.html, scene, &rows);
    let total = scene.view.sessions.len();
    if total > LATEST {
        part.html.raw("<p class=\"more\"><a href=\"/sync/sessions\">All ").count(total).raw(" sessions</a></p>");
    }
    part
}

/// `/sync/sessions`.
pub(crate) fn all(scene: &Scene<'_>) -> Page {
    let mut html = scene.html();
    html.raw("<h1>Sessions</h1><p class=\"sub\">")
        .counted(scene.view.sessions.len(), "session", "sessions")
        .raw(" on all devices, the latest first</p>");
    Page { title: "Sessions · hubless".into(), parts: vec![Part::bare("top", html), table(scene, "sessions", |_| true)] }
}

/// A table of the sessions that fit, the latest first.
pub(crate) fn table(scene: &Scene<'_>, id: &'static str, fits: impl Fn(&SessionFact) -> bool) -> Part {
    let mut rows: Vec<&Arc<SessionView>> = scene.view.sessions.values().filter(|session| fits(&session.fact)).collect();
    rows.sort_by_key(|session| (std::cmp::Reverse(session.last_activity), session.id));
    let mut part = Part::titled(scene, id, "Sessions");
    match rows.is_empty() {
        true => drop(part.html.raw("<p class=\"none\">None yet.</p>")),
        false => list(&mut part.html, scene, pieces::slice(scene, &rows)),
    }
    pieces::pager(&mut part.html, scene, rows.len());
    part
}

fn list(html: &mut Html, scene: &Scene<'_>, rows: &[&Arc<SessionView>]) {
    html.raw("<table class=\"list\"><thead><tr><th scope=\"col\">State</th><th scope=\"col\">Session</th><th scope=\"col\">Agent</th>");
    html.raw("<th scope=\"col\">Device</th><th scope=\"col\">Project</th><th scope=\"col\">Todos</th><th scope=\"col\">Ran</th>");
    html.raw("<th scope=\"col\">Last active</th></tr></thead><tbody>");
    for session in rows {
        let fact = &session.fact;
        html.raw("<tr data-key=\"").text(&session.id.to_string()).raw("\"><td>");
        pieces::session_state(html, session);
        html.raw("</td><td>");
        pieces::session_link(html, session);
        html.raw(" <span class=\"on\">").text(&fact.tool).raw("</span></td><td>");
        pieces::agent_link(html, &fact.agent);
        html.raw("</td><td>");
        pieces::device_link(html, scene.view, &fact.device);
        html.raw("</td><td>");
        if let Some(project) = &fact.project {
            pieces::project_link(html, project);
        }
        html.raw("</td><td>");
        pieces::progress(html, session.done as usize, (session.done + session.open) as usize);
        html.raw("</td><td class=\"ran\">").text(&age(ran(session), 0)).raw("</td><td>").ago(session.last_activity).raw("</td></tr>");
    }
    html.raw("</tbody></table>");
}

/// How long it ran, or has run so far, milliseconds.
fn ran(session: &SessionView) -> i64 {
    let to = session.end.as_ref().map_or(session.last_activity, |end| end.at);
    to.saturating_sub(session.fact.started).max(0)
}

/// The usual length of what this agent has finished, and of how many; a mean would be a lie after one night's run.
fn usual(view: &View, session: &SessionView) -> Option<(i64, usize)> {
    let key = agent_key(&session.fact.agent);
    let over = |other: &&Arc<SessionView>| other.end.is_some() && other.id != session.id && agent_key(&other.fact.agent) == key;
    let mut lengths: Vec<i64> = view.sessions.values().filter(over).map(|other| ran(other)).collect();
    lengths.sort_unstable();
    (lengths.len() >= 3).then(|| (lengths[lengths.len() / 2], lengths.len()))
}

/// `/sync/sessions/{id}`.
pub(crate) fn one(scene: &Scene<'_>, typed: &str) -> Result<Page, Problem> {
    let session = reads::find_session(scene.view, typed)?;
    let mut html = scene.html();
    let name = session.fact.title.clone().filter(|title| !title.is_blank());
    html.raw("<h1>");
    match &name {
        Some(title) => html.whole(title),
        None => html.raw("Session ").text(&session.id.short(pieces::SHOWN_LETTERS)),
    };
    html.raw("</h1><p class=\"sub\">");
    pieces::session_state(&mut html, session);
    html.raw(" · ").text(&session.fact.tool).raw(" · ");
    pieces::agent_link(&mut html, &session.fact.agent);
    html.raw(" on ");
    pieces::device_link(&mut html, scene.view, &session.fact.device);
    html.raw("</p><p class=\"bar\">");
    pieces::progress(&mut html, session.done as usize, (session.done + session.open) as usize);
    html.raw("</p>");
    facts(&mut html, scene, session);
    let title = name.map_or_else(|| session.id.short(pieces::SHOWN_LETTERS), |title| title.plain());
    let in_list = |todo: &crate::model::view::TodoView| session.todos.contains(&todo.id);
    Ok(Page { title: format!("{title} · hubless"), parts: vec![Part::bare("top", html), todos::table(scene, in_list)] })
}

fn facts(html: &mut Html, scene: &Scene<'_>, session: &SessionView) {
    let fact = &session.fact;
    html.raw("<dl class=\"facts\"><div><dt>Id</dt><dd><code>")
        .text(&session.id.to_string())
        .raw("</code></dd></div><div><dt>The tool's id</dt><dd><code>");
    html.brief(&fact.tool_session)
        .raw("</code></dd></div><div><dt>Began</dt><dd>")
        .at(fact.started)
        .raw("</dd></div><div><dt>Last active</dt><dd>");
    html.ago(session.last_activity).raw("</dd></div><div><dt>Ran</dt><dd>").text(&age(ran(session), 0));
    if let Some((median, count)) = usual(scene.view, session) {
        html.raw(" (half of its agent's ").count(count).raw(" finished sessions ran ").text(&age(median, 0)).raw(" or less)");
    }
    html.raw("</dd></div>");
    if let Some(project) = &fact.project {
        html.raw("<div><dt>Project</dt><dd>");
        pieces::project_link(html, project);
        html.raw("</dd></div>");
    }
    for (word, text) in [("Branch", &fact.branch), ("Directory", &fact.cwd)] {
        if let Some(text) = text {
            html.raw("<div><dt>").raw(word).raw("</dt><dd>").brief(text).raw("</dd></div>");
        }
    }
    if let Some(end) = &session.end {
        html.raw("<div><dt>Ended</dt><dd>").at(end.at).raw(", ").brief(&end.outcome).raw("</dd></div>");
        if let Some(result) = &end.result {
            html.raw("<div><dt>Result</dt><dd>").whole(result).raw("</dd></div>");
        }
    }
    if let Some(counts) = session.counts {
        html.raw("<div><dt>Messages</dt><dd>").n(counts.users).raw(" by people, ").n(counts.assistants).raw(" by the model</dd></div>");
        html.raw("<div><dt>Tokens</dt><dd>").n(counts.tokens_in).raw(" in, ").n(counts.tokens_out).raw(" out</dd></div>");
        html.raw("<div><dt>Records</dt><dd>").n(counts.records).raw(if counts.damaged > 0 { ", damaged lines: " } else { "" });
        if counts.damaged > 0 {
            html.n(counts.damaged);
        }
        html.raw("</dd></div>");
    }
    if let Some(parent) = &fact.parent {
        html.raw("<div><dt>").raw(if fact.side { "Works for" } else { "Forked from" }).raw("</dt><dd>");
        pieces::session_id_link(html, scene.view, parent);
        html.raw("</dd></div>");
    }
    let children: Vec<_> = scene.view.sessions.values().filter(|other| other.fact.parent == Some(session.id)).take(20).collect();
    if !children.is_empty() {
        html.raw("<div><dt>Sub-agents and forks</dt><dd><ul class=\"plain\">");
        for child in children {
            html.raw("<li>");
            pieces::session_link(html, child);
            html.raw("</li>");
        }
        html.raw("</ul></dd></div>");
    }
    html.raw("</dl><p class=\"act\">");
    pieces::command(html, &format!("hubless sessions show {}", session.id.short(pieces::SHOWN_LETTERS)));
    html.raw("</p>");
}
