//! Devices: a card for each with its agents, a page for each, and the matrix of who misses what of whom.

use super::html::Html;
use super::pieces;
use super::scene::{Page, Part, Scene};
use super::{agents, sessions};
use crate::api::problem::Problem;
use crate::api::reads::{self, AgentRow};
use crate::model::limits::SKEW_SHOWN_MS;
use crate::model::view::{AgentState, DeviceView};

/// Agents on a card; the device's page has all of them.
const CARD_AGENTS: usize = 8;
/// Devices in the matrix; a person has fewer.
const MATRIX_MAX: usize = 24;

/// The cards, and one line that sums them up.
pub(crate) fn cards(scene: &Scene<'_>, rows: &[AgentRow<'_>]) -> Part {
    let members = reads::members(scene.view);
    let mut part = Part::titled(scene, "devices", "Devices");
    let active = rows.iter().filter(|row| row.lead.state.is_active()).count();
    let html = &mut part.html;
    html.raw("<p class=\"sub totals\">").count(active).raw(" active of ").counted(rows.len(), "agent", "agents").raw(" · ");
    html.counted(scene.view.sessions.len(), "session", "sessions").raw(" · ").counted(members.len(), "device", "devices");
    html.raw("</p><ul class=\"cards\">");
    for device in members {
        let own: Vec<&AgentRow<'_>> = rows.iter().filter(|row| row.device == device.id).collect();
        card(html, scene, device, &own);
    }
    html.raw("</ul>");
    part
}

fn card(html: &mut Html, scene: &Scene<'_>, device: &DeviceView, rows: &[&AgentRow<'_>]) {
    let away = if device.reachable || device.id == scene.view.me { "" } else { " gone" };
    html.raw("<li class=\"card").raw(away).raw("\" data-key=\"d-").text(&device.id.to_string()).raw("\"><h3>");
    pieces::device_link(html, scene.view, &device.id);
    html.raw("</h3><p class=\"small\">");
    reach(html, scene, device);
    html.raw("</p><p class=\"small\">");
    facts(html, scene, device, rows);
    html.raw("</p>");
    exchange(html, device);
    if rows.is_empty() {
        html.raw("<p class=\"none\">no agent yet</p></li>");
        return;
    }
    html.raw("<ul class=\"agents\">");
    for row in rows.iter().take(CARD_AGENTS) {
        agent(html, scene, row);
    }
    html.raw("</ul>");
    if rows.len() > CARD_AGENTS {
        html.raw("<p class=\"more\"><a href=\"/sync/devices/").text(&device.id.to_string()).raw("\">All ").count(rows.len());
        html.raw(" agents</a></p>");
    }
    html.raw("</li>");
}

fn agent(html: &mut Html, scene: &Scene<'_>, row: &AgentRow<'_>) {
    html.raw("<li data-key=\"").text(row.agent).raw("\"><p class=\"line\">");
    pieces::state(html, row.lead.state);
    html.raw(" <strong>");
    pieces::agent_link(html, &row.lead.beat.agent);
    html.raw("</strong> <span class=\"for\">");
    if row.lead.state == AgentState::Unknown {
        html.raw("last word ").ago(row.lead.beat.at).raw("</span></p><p class=\"task\">was ").raw(row.lead.beat.state.word()).raw(": ");
    } else {
        html.age(row.lead.beat.since).raw("</span></p><p class=\"task\">");
    }
    pieces::task(html, row);
    html.raw("</p>");
    if let Some(strip) = pieces::strip_of(scene, row) {
        pieces::strip(html, &strip, &row.lead.beat.agent);
    }
    html.raw("</li>");
}

/// Whether and how a device can be reached.
fn reach(html: &mut Html, scene: &Scene<'_>, device: &DeviceView) {
    if device.id == scene.view.me {
        html.raw("this device");
        return;
    }
    match (&device.link, device.reachable, device.last_contact_here) {
        (Some(link), true, _) => {
            html.raw("reachable");
            if let Some(rtt) = link.rtt_ms {
                html.raw(", ").n(i128::from(rtt)).raw(" ms");
            }
        }
        (None, true, _) => drop(html.raw("reachable through others")),
        (_, false, Some(at)) => drop(html.raw("not seen ").lasting(at).raw(", last word ").at(at)),
        (_, false, None) => drop(html.raw("not seen since this daemon started")),
    }
    let skew = device.clock_skew_ms.filter(|skew| skew.saturating_abs() > SKEW_SHOWN_MS);
    if let Some(skew) = skew {
        let (now, way) = (html.now_ms(), if skew > 0 { " ahead" } else { " behind" });
        html.raw(" <span class=\"badge warn\">clock ").text(&super::html::age(now, now - skew.saturating_abs())).raw(way).raw("</span>");
    }
}

fn facts(html: &mut Html, scene: &Scene<'_>, device: &DeviceView, rows: &[&AgentRow<'_>]) {
    let active = rows.iter().filter(|row| row.lead.state.is_active()).count();
    let held = scene.view.sessions.values().filter(|session| session.fact.device == device.id).count();
    html.count(active).raw(" active of ").counted(rows.len(), "agent", "agents").raw(" · ").counted(held, "session", "sessions");
    let (word, class) = pieces::in_step(scene.view, device);
    if !word.is_empty() {
        html.raw(" · <span class=\"step ").raw(class).raw("\">").text(&word).raw("</span>");
    }
}

/// How far the exchange with a device is, while there is one worth a bar: one or two documents are over before anybody looks.
fn exchange(html: &mut Html, device: &DeviceView) {
    let Some((level, all)) = device.link.as_ref().and_then(|link| link.documents).filter(|(_, all)| *all > 2) else { return };
    html.raw("<p class=\"small\"><progress max=\"").count(all).raw("\" value=\"").count(level).raw("\" aria-label=\"").count(level);
    html.raw(" of ")
        .count(all)
        .raw(" documents exchanged\"></progress> ")
        .count(level)
        .raw(" of ")
        .count(all)
        .raw(" documents exchanged</p>");
}

/// Who misses what: a row for each device, a column for each device that has it.
pub(crate) fn matrix(scene: &Scene<'_>) -> Part {
    let members = reads::members(scene.view);
    if members.len() < 2 {
        return Part::bare("sync", scene.html());
    }
    let shown = &members[..members.len().min(MATRIX_MAX)];
    let mut part = Part::titled(scene, "sync", "Replication");
    let html = &mut part.html;
    html.raw("<p class=\"sub\" id=\"matrix-says\">Changes that the device of the row misses from the device of the column, as known by ");
    html.brief(&scene.view.device_name(&scene.view.me))
        .raw("</p><div class=\"wide\" tabindex=\"0\" role=\"group\" aria-labelledby=\"sync-h\">");
    html.raw("<table class=\"matrix\" aria-describedby=\"matrix-says\"><thead><tr><td></td>");
    for device in shown {
        html.raw("<th scope=\"col\">").brief(&device.shown_name()).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for row in shown {
        html.raw("<tr><th scope=\"row\">").brief(&row.shown_name()).raw("</th>");
        for column in shown {
            match reads::misses(scene.view, row, column) {
                _ if row.id == column.id => html.raw("<td class=\"self\">·</td>"),
                Some(0) => html.raw("<td>0</td>"),
                Some(count) => html.raw("<td class=\"warn\"><strong>").n(i128::from(count)).raw("</strong></td>"),
                None => html.raw("<td class=\"away\"><abbr title=\"cannot be known here\">?</abbr></td>"),
            };
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
    if members.len() > shown.len() {
        html.raw("<p class=\"more\">").count(shown.len()).raw(" of ").count(members.len()).raw(" devices are shown. All of them: ");
        pieces::command(html, "hubless sync status");
        html.raw("</p>");
    }
    part
}

/// `/sync/devices/{id}`.
pub(crate) fn one(scene: &Scene<'_>, typed: &str) -> Result<Page, Problem> {
    let device = reads::find_device(scene.view, typed)?;
    let rows: Vec<AgentRow<'_>> = reads::by_need(scene.view).into_iter().filter(|row| row.device == device.id).collect();
    let held: Vec<&AgentRow<'_>> = rows.iter().collect();
    let mut html = scene.html();
    html.raw("<h1>").whole(&device.shown_name()).raw("</h1><p class=\"sub\">");
    reach(&mut html, scene, device);
    html.raw(" · ");
    facts(&mut html, scene, device, &held);
    html.raw("</p>");
    details(&mut html, scene, device);
    let title = format!("{} · hubless", device.shown_name().plain());
    let of_device = |fact: &crate::model::session::SessionFact| fact.device == device.id;
    let parts =
        vec![Part::bare("top", html), agents::table(scene, "agents", "Agents", &rows), sessions::table(scene, "sessions", of_device)];
    Ok(Page { title, parts })
}

fn details(html: &mut Html, scene: &Scene<'_>, device: &DeviceView) {
    html.raw("<dl class=\"facts\"><div><dt>Id</dt><dd><code>").text(&device.id.short()).raw("</code></dd></div>");
    if !device.platform.is_blank() {
        html.raw("<div><dt>System</dt><dd>").brief(&device.platform).raw("</dd></div>");
    }
    if let Some(link) = &device.link {
        html.raw("<div><dt>Address</dt><dd>").text(&link.address).raw("</dd></div><div><dt>Bytes in, out</dt><dd>");
        html.n(i128::from(link.bytes_in)).raw(", ").n(i128::from(link.bytes_out)).raw("</dd></div>");
    }
    if let Some((at, why)) = device.last_error.as_ref().filter(|_| device.id != scene.view.me) {
        html.raw("<div><dt>Last failure</dt><dd>").text(why).raw(", ").ago(*at).raw("</dd></div>");
    }
    html.raw("</dl>");
}
