//! The first page: does anyone wait for me, is anything stale, is what I see current, are the devices in step, did sync have to choose?

use super::pieces;
use super::scene::{Page, Part, Scene};
use super::{devices, lately, projects, sessions, timeline, todos};
use crate::api::problem::Problem;
use crate::api::reads::{self, AgentRow, Verdict};
use crate::model::view::{AgentState, Conflict};

/// Rows of *needs you*; more are counted.
const NEEDS_MAX: usize = 30;

/// `/sync`.
pub(crate) fn page(scene: &Scene<'_>) -> Page {
    let view = scene.view;
    let rows = reads::by_need(view);
    let title = format!("hubless · {}", view.device_name(&view.me).plain());
    let parts = vec![
        verdict(scene, &rows),
        needs(scene, &rows),
        notes(scene, &rows),
        devices::cards(scene, &rows),
        projects::panels(scene, &rows),
        timeline::part(scene),
        devices::matrix(scene),
        todos::summary(scene),
        sessions::latest(scene),
        lately::part(scene, &rows),
    ];
    Page { title, parts }
}

/// A page of what is not there.
pub(crate) fn nothing(scene: &Scene<'_>, problem: &Problem) -> Page {
    let mut html = scene.html();
    html.raw("<h1>There is nothing here</h1><p>").text(&problem.detail).raw("</p>");
    if !problem.did_you_mean.is_empty() {
        html.raw("<p>Did you mean ").text(&problem.did_you_mean.join(", ")).raw("?</p>");
    }
    html.raw("<p><a href=\"/sync\">To the overview</a></p>");
    Page { title: "Nothing here · hubless".into(), parts: vec![Part::bare("nothing", html)] }
}

fn verdict(scene: &Scene<'_>, rows: &[AgentRow<'_>]) -> Part {
    let (view, verdict) = (scene.view, Verdict::of(scene.view));
    let mut html = scene.html();
    html.raw("<h1 id=\"verdict-h\" class=\"").raw(verdict.word()).raw("\">");
    let mut said = false;
    let words = [
        (verdict.needs_you, "agent needs you", "agents need you"),
        (verdict.stale, "agent stale", "agents stale"),
        (verdict.conflicts, "todo conflict", "todo conflicts"),
        (verdict.problems, "problem", "problems"),
    ];
    for (count, one, many) in words {
        if count > 0 {
            html.raw(if said { " · " } else { "" }).counted(count, one, many);
            said = true;
        }
    }
    html.raw(if said { "</h1>" } else { "Nothing needs you</h1>" });
    let members = reads::members(view);
    let reachable = members.iter().filter(|device| device.reachable).count();
    let working = rows.iter().filter(|row| row.lead.state.is_active()).count();
    html.raw("<p class=\"sub\">").counted(members.len(), "device", "devices").raw(", ").count(reachable).raw(" reachable · ");
    html.counted(working, "agent", "agents").raw(" active");
    let others: Vec<_> = members.iter().filter(|device| device.id != view.me && device.reachable).collect();
    if let Some(oldest) = others.iter().filter_map(|device| device.last_contact_here).min() {
        let level = others.iter().all(|device| reads::is_level(device));
        html.raw(if level { " · in step, " } else { " · getting in step, " }).raw("last contact ").ago(oldest);
    }
    html.raw("</p>");
    Part::bare("verdict", html)
}

fn needs(scene: &Scene<'_>, rows: &[AgentRow<'_>]) -> Part {
    let wanting = |row: &&AgentRow<'_>| matches!(row.lead.state, AgentState::NeedsInput | AgentState::Stale | AgentState::Stuck);
    let agents: Vec<&AgentRow<'_>> = rows.iter().filter(wanting).collect();
    let conflicts: Vec<&Conflict> = scene.view.conflicts.values().map(AsRef::as_ref).filter(|conflict| !conflict.resolved).collect();
    if agents.is_empty() && conflicts.is_empty() {
        return Part::bare("needs", scene.html());
    }
    let mut part = Part::titled(scene, "needs", "Needs you");
    part.html.raw("<ul class=\"rows\">");
    for row in agents.iter().take(NEEDS_MAX) {
        agent(&mut part, scene, row);
    }
    for conflict in conflicts.iter().take(NEEDS_MAX) {
        part.html.raw("<li class=\"item\" data-key=\"c-").text(&conflict.id.to_string()).raw("\">");
        todos::conflict(&mut part.html, scene, conflict);
        part.html.raw("</li>");
    }
    part.html.raw("</ul>");
    if agents.len() > NEEDS_MAX {
        part.html.raw("<p class=\"more\"><a href=\"/sync/agents\">All ").count(agents.len()).raw(" agents that need a person</a></p>");
    }
    if conflicts.len() > NEEDS_MAX {
        part.html.raw("<p class=\"more\">").count(conflicts.len()).raw(" conflicts in all: ");
        pieces::command(&mut part.html, "hubless todos conflicts");
        part.html.raw("</p>");
    }
    part
}

fn agent(part: &mut Part, scene: &Scene<'_>, row: &AgentRow<'_>) {
    let (html, lead) = (&mut part.html, row.lead);
    html.raw("<li class=\"item\" data-key=\"a-").text(&row.device.to_string()).raw("/").text(row.agent).raw("\"><p class=\"line\">");
    pieces::state(html, lead.state);
    html.raw(" <strong>");
    pieces::agent_link(html, &lead.beat.agent);
    html.raw("</strong> <span class=\"on\">on ");
    pieces::device_link(html, scene.view, &row.device);
    html.raw("</span> ");
    html.raw("<span class=\"why\">");
    if lead.state == AgentState::Stale {
        html.raw("no beat ").lasting(reads::heard(lead)).raw(", one was due every ").n(lead.beat.interval_s).raw(" s");
    } else if lead.state == AgentState::Stuck {
        html.raw("no progress");
        if let Some(at) = lead.progress_here {
            html.raw(" ").lasting(at);
        }
    } else {
        html.lasting(lead.beat.since);
    }
    html.raw("</span>");
    html.raw("</p><p class=\"task\">");
    html.raw(if lead.state == AgentState::Stale { "last: " } else { "" });
    pieces::task(html, row);
    html.raw("</p><p class=\"act\">");
    if let Some(strip) = pieces::strip_of(scene, row) {
        pieces::strip(html, &strip, &lead.beat.agent);
        html.raw(" ");
    }
    pieces::command(html, &format!("hubless sessions show {}", lead.beat.session.short(pieces::SHOWN_LETTERS)));
    html.raw("</p></li>");
}

/// What a person should know that is no agent's: problems, strangers in reach, and what to do first.
fn notes(scene: &Scene<'_>, rows: &[AgentRow<'_>]) -> Part {
    let view = scene.view;
    let mut html = scene.html();
    for (what, fix) in scene
        .trouble
        .map(|text| (text, None))
        .into_iter()
        .chain(view.warnings.values().map(|warning| (warning.what.as_str(), warning.fix.as_deref())))
    {
        html.raw("<div class=\"note warn\"><p><span class=\"sym\" aria-hidden=\"true\">!</span> ").text(what).raw("</p>");
        if let Some(fix) = fix {
            html.raw("<p>Fix: ");
            pieces::fix(&mut html, fix);
            html.raw("</p>");
        }
        html.raw("</div>");
    }
    for address in view.strangers.values() {
        html.raw("<div class=\"note\"><p>Another hubless is in reach at ").text(address).raw(" and not paired.</p><p>If it is yours: ");
        pieces::command(&mut html, "hubless pair");
        html.raw(" here, then the line it shows on the other device.</p></div>");
    }
    if rows.is_empty() && view.sessions.is_empty() {
        html.raw("<div class=\"note start\"><h2>Nothing has been heard yet</h2><ol><li><p>Let your agents report by themselves:</p><p>");
        pieces::command(&mut html, "hubless hooks install");
        html.raw("</p></li><li><p>Bring in your other devices:</p><p>");
        pieces::command(&mut html, "hubless pair");
        html.raw("</p></li></ol><p>Then agents, sessions and todos appear here by themselves. To see one at once: ");
        pieces::command(&mut html, "hubless beat sam \"first task\"");
        html.raw("</p></div>");
    } else if reads::members(view).len() < 2 && view.strangers.is_empty() {
        html.raw("<div class=\"note\"><p>1 device. To see your others here: ");
        pieces::command(&mut html, "hubless pair");
        html.raw("</p></div>");
    }
    Part::bare("notes", html)
}
