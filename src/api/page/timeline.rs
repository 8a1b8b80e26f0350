//! The timeline: sessions as bars over time, a band for each device. Gaps, overlaps and handovers are seen at a glance; a table
//! behind it has the same numbers.

use super::html::{Html, age, clock};
use super::pieces;
use super::scene::{Part, Scene};
use crate::api::reads::{self, Span};
use crate::model::text::Foreign;
use crate::model::view::{AgentState, DeviceView, SessionState};

/// Rows of bars in one band; sessions beyond are counted.
const LANES: usize = 6;
/// Bars of all bands; more would be dust.
const BARS_MAX: usize = 600;
/// Rows of the table behind it.
const TABLE_MAX: usize = 60;
/// Height of a row of bars, in pixels.
const LANE_PX: usize = 18;
/// How many steps the whole width has: *now* moves on in steps, so that a page at rest is at rest.
const STEPS: i64 = 720;

/// The part.
pub(crate) fn part(scene: &Scene<'_>) -> Part {
    let (name, range) = scene.range();
    if scene.view.sessions.is_empty() {
        return Part::bare("timeline", scene.html());
    }
    let step = range / STEPS;
    let to = (scene.now_ms.div_euclid(step) + 1) * step;
    let from = to - range;
    let spans = reads::spans(scene.view, from, to, to);
    let mut part = Part::titled(scene, "timeline", "Timeline");
    let html = &mut part.html;
    html.raw("<nav class=\"range\" aria-label=\"Span of the timeline\">");
    for (each, words) in [("6h", "6 hours"), ("24h", "24 hours"), ("7d", "7 days")] {
        html.raw("<a data-soft href=\"/sync?range=").raw(each).raw(if each == name {
            "#timeline-h\" aria-current=\"true\">"
        } else {
            "#timeline-h\">"
        });
        html.raw(words).raw("</a> ");
    }
    html.raw("</nav><div class=\"gantt\">");
    for device in reads::members(scene.view) {
        let own: Vec<&Span<'_>> = spans.iter().filter(|span| span.session.fact.device == device.id).take(BARS_MAX).collect();
        band(html, scene, device, &own, (from, to));
    }
    axis(html, from, to);
    html.raw("</div>");
    table(html, scene, &spans);
    part
}

fn band(html: &mut Html, scene: &Scene<'_>, device: &DeviceView, spans: &[&Span<'_>], window: (i64, i64)) {
    let (lanes, left_out) = lanes(spans);
    let height = lanes.len().max(1) * LANE_PX;
    html.raw("<div class=\"band\" data-key=\"b-")
        .text(&device.id.to_string())
        .raw("\"><p class=\"who\">")
        .brief(&device.shown_name())
        .raw("</p>");
    html.raw("<svg role=\"img\" width=\"100%\" height=\"")
        .count(height)
        .raw("\" aria-label=\"")
        .text(&device.shown_name().plain())
        .raw(": ");
    html.counted(spans.len(), "session", "sessions").raw(" in this span\"><title>").text(&device.shown_name().plain()).raw("</title>");
    let away = !device.reachable && device.id != scene.view.me;
    if let Some(since) = device.last_contact_here.filter(|_| away) {
        bar(html, "unknown", (since.max(window.0), window.1), window, (0, height));
        html.raw("<title>not seen since ").text(&clock(since, scene.now_ms)).raw("</title></rect></svg>");
    }
    for (lane, spans) in lanes.iter().enumerate() {
        for span in spans {
            let class = if span.open { "open" } else { "over" };
            bar(html, class, (span.from, span.to), window, (lane * LANE_PX + 2, LANE_PX - 4));
            let fact = &span.session.fact;
            html.raw("<title>").text(&fact.agent.plain()).raw(", ").text(&fact.tool).raw(": ").text(span.session.state.word()).raw(", ");
            html.text(&clock(span.from, scene.now_ms)).raw(" to ").text(&clock(span.to, scene.now_ms)).raw("</title></rect>");
            html.raw("<text x=\"4\" y=\"11\">").text(&label(span)).raw("</text></svg>");
        }
    }
    html.raw("</svg>");
    if left_out > 0 {
        html.raw("<p class=\"small\">and ").count(left_out).raw(" more at the same time</p>");
    }
    html.raw("</div>");
}

/// Letters that a bar can carry; a shorter bar cuts them.
const LABEL_LETTERS: usize = 40;

/// Who works on what, as far as the bar is long enough to show it.
fn label(span: &Span<'_>) -> String {
    let fact = &span.session.fact;
    let what = fact.title.as_ref().map(Foreign::plain).or(fact.project.as_deref().map(|key| pieces::short_project(key).plain()));
    let sign = match span.session.state {
        SessionState::Agent(asks @ (AgentState::NeedsInput | AgentState::Stale | AgentState::Stuck)) if span.open => {
            format!("{} ", asks.symbol())
        }
        SessionState::Agent(_) | SessionState::Quiet | SessionState::Ended => String::new(),
    };
    let label = match what {
        // A tool that nobody gave a name says nothing by it.
        Some(what) if fact.agent.json() == fact.tool => what,
        Some(what) => format!("{} · {what}", fact.agent.plain()),
        None => fact.agent.plain(),
    };
    format!("{sign}{label}").chars().take(LABEL_LETTERS).collect()
}

/// Opens a bar, in a frame of its own that cuts what is too long for it; its title and its ends are the caller's.
fn bar(html: &mut Html, class: &'static str, (from, to): (i64, i64), window: (i64, i64), (top, height): (usize, usize)) {
    let width = (to - from).max((window.1 - window.0) / 400);
    html.raw("<svg x=\"").text(&percent(from, window)).raw("%\" width=\"").text(&percent(window.0 + width, window));
    html.raw("%\" y=\"").count(top).raw("\" height=\"").count(height).raw("\"><rect class=\"").raw(class);
    html.raw("\" width=\"100%\" height=\"100%\" rx=\"2\">");
}

fn percent(at: i64, (from, to): (i64, i64)) -> String {
    let thousandth = (at - from).saturating_mul(100_000) / (to - from).max(1);
    format!("{}.{:03}", thousandth / 1000, thousandth % 1000)
}

/// Puts each span into the first row where there is room; how many found none.
fn lanes<'s, 'a>(spans: &[&'s Span<'a>]) -> (Vec<Vec<&'s Span<'a>>>, usize) {
    let (mut lanes, mut left_out): (Vec<Vec<&Span<'a>>>, usize) = (Vec::new(), 0);
    for span in spans {
        let free = lanes.iter().position(|lane| lane.last().is_none_or(|last| last.to <= span.from));
        match free {
            Some(lane) => lanes[lane].push(span),
            None if lanes.len() < LANES => lanes.push(vec![span]),
            None => left_out += 1,
        }
    }
    (lanes, left_out)
}

fn axis(html: &mut Html, from: i64, to: i64) {
    html.raw("<p class=\"axis\" aria-hidden=\"true\">");
    for quarter in 0..4 {
        html.raw("<span>").text(&clock(from + (to - from) / 4 * quarter, to)).raw("</span>");
    }
    html.raw("<span>now</span></p>");
}

fn table(html: &mut Html, scene: &Scene<'_>, spans: &[Span<'_>]) {
    html.raw("<details><summary>The same as a table: ")
        .counted(spans.len(), "session", "sessions")
        .raw("</summary><table class=\"list\"><thead><tr>");
    html.raw("<th scope=\"col\">Device</th><th scope=\"col\">Agent</th><th scope=\"col\">Session</th><th scope=\"col\">From</th><th scope=\"col\">To</th>");
    html.raw("<th scope=\"col\">Length</th></tr></thead><tbody>");
    for span in spans.iter().rev().take(TABLE_MAX) {
        html.raw("<tr data-key=\"")
            .text(&span.session.id.to_string())
            .raw("\"><td>")
            .brief(&scene.view.device_name(&span.session.fact.device))
            .raw("</td><td>");
        html.brief(&span.session.fact.agent).raw("</td><td>");
        pieces::session_link(html, span.session);
        html.raw("</td><td>").at(span.from).raw("</td><td>");
        if span.open {
            html.raw("goes on");
        } else {
            html.at(span.to);
        }
        html.raw("</td><td>").text(&age(span.to, span.from)).raw("</td></tr>");
    }
    html.raw("</tbody></table>");
    if spans.len() > TABLE_MAX {
        html.raw("<p class=\"small\">The last ").count(TABLE_MAX).raw(" of ").count(spans.len()).raw("; all are among the ");
        html.raw("<a href=\"/sync/sessions\">sessions</a>.</p>");
    }
    html.raw("</details>");
}
