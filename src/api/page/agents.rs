//! Agents: the list of all, and each one's page with what it does and did.

use super::html::Html;
use super::pieces::{self, ROWS_MAX};
use super::scene::{Page, Part, Scene};
use super::sessions;
use crate::api::problem::Problem;
use crate::api::reads::{self, AgentRow};
use crate::model::beat::agent_key;
use crate::model::text::Foreign;
use crate::model::view::AgentState;

/// `/sync/agents`.
pub(crate) fn all(scene: &Scene<'_>) -> Page {
    let rows = reads::by_need(scene.view);
    let active = rows.iter().filter(|row| row.lead.state.is_active()).count();
    let mut html = scene.html();
    html.raw("<h1>Agents</h1><p class=\"sub\">").count(active).raw(" active of ").count(rows.len()).raw(", who needs you first</p>");
    Page { title: "Agents · hubless".into(), parts: vec![Part::bare("top", html), table(scene, "agents", "All agents", &rows)] }
}

/// A table of agents.
pub(crate) fn table(scene: &Scene<'_>, id: &'static str, title: &'static str, rows: &[AgentRow<'_>]) -> Part {
    let mut part = Part::titled(scene, id, title);
    let html = &mut part.html;
    if rows.is_empty() {
        html.raw("<p class=\"none\">None yet.</p>");
        return part;
    }
    html.raw("<table class=\"list\"><thead><tr><th scope=\"col\">State</th><th scope=\"col\">Agent</th><th scope=\"col\">Device</th>");
    html.raw("<th scope=\"col\">Task</th><th scope=\"col\">For</th><th scope=\"col\">Heard</th><th scope=\"col\">Last hour</th></tr></thead><tbody>");
    for row in pieces::slice(scene, rows) {
        line(html, scene, row);
    }
    html.raw("</tbody></table>");
    pieces::pager(html, scene, rows.len());
    part
}

fn line(html: &mut Html, scene: &Scene<'_>, row: &AgentRow<'_>) {
    html.raw("<tr data-key=\"").text(&row.device.to_string()).raw("/").text(row.agent).raw("\"><td>");
    pieces::state(html, row.lead.state);
    html.raw("</td><td>");
    pieces::agent_link(html, &row.lead.beat.agent);
    if let Some(role) = &row.lead.role {
        html.raw(" <span class=\"why\">").brief(role).raw("</span>");
    }
    html.raw("</td><td>");
    pieces::device_link(html, scene.view, &row.device);
    html.raw("</td><td>");
    if row.lead.state == AgentState::Unknown {
        html.raw("was ").raw(row.lead.beat.state.word()).raw(": ");
    }
    pieces::task(html, row);
    html.raw("</td><td>").age(row.lead.beat.since).raw("</td><td>").ago(reads::heard(row.lead)).raw("</td><td>");
    if let Some(strip) = pieces::strip_of(scene, row) {
        pieces::strip(html, &strip, &row.lead.beat.agent);
    }
    html.raw("</td></tr>");
}

/// `/sync/agents/{name}`: the agent on every device where it was heard.
pub(crate) fn one(scene: &Scene<'_>, typed: &str) -> Result<Page, Problem> {
    let key = reads::agent_key_of(scene.view, typed);
    let rows: Vec<AgentRow<'_>> = reads::by_need(scene.view).into_iter().filter(|row| row.agent == key).collect();
    let past = scene.view.sessions.values().any(|session| agent_key(&session.fact.agent) == key);
    if rows.is_empty() && !past {
        return Err(Problem::missing("agent-not-found", format!("nothing was heard of an agent “{typed}”")));
    }
    let name = rows.first().map_or_else(|| Foreign::new(typed), |row| row.lead.beat.agent.clone());
    let mut html = scene.html();
    html.raw("<h1>").whole(&name).raw("</h1>");
    if let Some(role) = rows.iter().find_map(|row| row.lead.role.as_ref()) {
        html.raw("<p class=\"sub\">").brief(role).raw("</p>");
    }
    if rows.is_empty() {
        html.raw("<p class=\"sub\">It has sessions and never reported by itself.</p>");
    }
    for row in rows.iter().take(ROWS_MAX) {
        now(&mut html, scene, row);
    }
    let of_agent = |fact: &crate::model::session::SessionFact| agent_key(&fact.agent) == key;
    let parts = vec![Part::bare("top", html), sessions::table(scene, "sessions", of_agent)];
    Ok(Page { title: format!("{} · hubless", name.plain()), parts })
}

/// What it is on one device.
fn now(html: &mut Html, scene: &Scene<'_>, row: &AgentRow<'_>) {
    let beat = &row.lead.beat;
    html.raw("<div class=\"panel\" data-key=\"").text(&row.device.to_string()).raw("\"><p class=\"line\">");
    pieces::state(html, row.lead.state);
    html.raw(" <span class=\"on\">on ");
    pieces::device_link(html, scene.view, &row.device);
    html.raw("</span> <span class=\"why\">")
        .lasting(beat.since)
        .raw(", heard ")
        .ago(reads::heard(row.lead))
        .raw("</span></p><p class=\"task\">");
    pieces::task(html, row);
    html.raw("</p>");
    if let Some(strip) = pieces::strip_of(scene, row) {
        html.raw("<div class=\"beats\">");
        pieces::strip(html, &strip, &beat.agent);
        pieces::strip_table(html, &strip);
        html.raw("</div>");
    }
    html.raw("<dl class=\"facts\">");
    for (word, text) in [("File", &beat.file), ("Says", &beat.note), ("Called by its tool", &row.lead.called)] {
        if let Some(text) = text {
            html.raw("<div><dt>").raw(word).raw("</dt><dd>").brief(text).raw("</dd></div>");
        }
    }
    html.raw("<div><dt>Means to report</dt><dd>every ")
        .n(beat.interval_s)
        .raw(" s, by ")
        .text(&beat.source)
        .raw("</dd></div><div><dt>Session</dt><dd>");
    pieces::session_id_link(html, scene.view, &beat.session);
    html.raw("</dd></div></dl><p class=\"act\">");
    pieces::command_on(html, "hubless agents show", &beat.agent);
    html.raw("</p></div>");
}
