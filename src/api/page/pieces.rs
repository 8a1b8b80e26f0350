//! Small things that several parts show alike: a state, an agent, a session, a command, a strip.

use super::html::{Html, clock};
use super::scene::Scene;
use crate::api::reads::{self, AgentRow};
use crate::api::strips::{Slot, Strip};
use crate::model::beat::agent_key;
use crate::model::id::{DeviceId, SessionId};
use crate::model::text::Foreign;
use crate::model::view::{AgentState, SessionState, SessionView, TodoView, View};

/// Letters of an id that a page shows; the command line takes any unique beginning.
pub(crate) const SHOWN_LETTERS: usize = 8;
/// Rows of one list on one page.
pub(crate) const ROWS_MAX: usize = 100;

/// The class of a state: only what is not as it should be has a colour of its own.
pub(crate) fn class(state: AgentState) -> &'static str {
    match state {
        AgentState::NeedsInput => "needs",
        AgentState::Stale | AgentState::Failed => "bad",
        AgentState::Stuck => "warn",
        AgentState::Working => "good",
        AgentState::Late | AgentState::Idle | AgentState::Done => "calm",
        AgentState::Unknown => "away",
    }
}

/// A state: sign and word.
pub(crate) fn state(html: &mut Html, state: AgentState) {
    sign(html, state, class(state));
}

fn sign(html: &mut Html, state: AgentState, class: &'static str) {
    html.raw("<span class=\"state ").raw(class).raw("\"><span class=\"sym\" aria-hidden=\"true\">");
    html.text(&state.symbol().to_string()).raw("</span> ").raw(state.word()).raw("</span>");
}

/// A session's state. One that fell silent is told without a colour: whether that is an alarm is its agent's to say.
pub(crate) fn session_state(html: &mut Html, session: &SessionView) {
    match session.state {
        SessionState::Agent(silent @ AgentState::Stale) => sign(html, silent, "calm"),
        SessionState::Agent(of_agent) => state(html, of_agent),
        SessionState::Quiet => drop(html.raw("<span class=\"state calm\"><span class=\"sym\" aria-hidden=\"true\">·</span> quiet</span>")),
        SessionState::Ended => {
            html.raw("<span class=\"state calm\"><span class=\"sym\" aria-hidden=\"true\">✓</span> ");
            match session.end.as_ref().map(|end| &end.outcome) {
                Some(outcome) if !outcome.is_blank() && outcome.json() != "inferred" => html.brief(outcome),
                _ => html.raw("ended"),
            };
            html.raw("</span>");
        }
    }
}

/// An agent's name, leading to its page.
pub(crate) fn agent_link(html: &mut Html, name: &Foreign) {
    html.raw("<a href=\"/sync/agents/").path(&agent_key(name)).raw("\">").brief(name).raw("</a>");
}

/// A device's name, leading to its page.
pub(crate) fn device_link(html: &mut Html, view: &View, device: &DeviceId) {
    html.raw("<a href=\"/sync/devices/").text(&device.to_string()).raw("\">").brief(&view.device_name(device)).raw("</a>");
}

/// A session's name: its title, else its id.
pub(crate) fn session_link(html: &mut Html, session: &SessionView) {
    html.raw("<a href=\"/sync/sessions/").text(&session.id.to_string()).raw("\">");
    match session.fact.title.as_ref().filter(|title| !title.is_blank()) {
        Some(title) => html.brief(title),
        None => html.text(&session.id.short(SHOWN_LETTERS)),
    };
    html.raw("</a>");
}

/// A session that is known by its id alone.
pub(crate) fn session_id_link(html: &mut Html, view: &View, id: &SessionId) {
    match view.sessions.get(id) {
        Some(session) => session_link(html, session),
        None => drop(html.text(&id.short(SHOWN_LETTERS))),
    }
}

/// A todo's text, leading to its page.
pub(crate) fn todo_link(html: &mut Html, todo: &TodoView) {
    html.raw("<a href=\"/sync/todos/").text(&todo.id.to_string()).raw("\">").brief(&todo.content).raw("</a>");
}

/// A project: its last two names, leading to its page.
pub(crate) fn project_link(html: &mut Html, key: &str) {
    html.raw("<a href=\"/sync/projects/").path(key).raw("\" title=\"").text(key).raw("\">").brief(&short_project(key)).raw("</a>");
}

/// The end of a project's key, which is what people call it.
pub(crate) fn short_project(key: &str) -> Foreign {
    let names: Vec<&str> = key.rsplit('/').filter(|name| !name.is_empty()).take(2).collect();
    match names.as_slice() {
        [last, before] if key.contains('.') => Foreign::new(format!("{before}/{last}")),
        [last, ..] => Foreign::new(*last),
        [] => Foreign::new(key),
    }
}

/// A command that a person may copy: the page itself cannot write.
pub(crate) fn command(html: &mut Html, command: &str) {
    html.raw("<span class=\"cmd\"><code>").text(command).raw("</code><button type=\"button\" class=\"copy\" aria-label=\"Copy: ");
    html.text(command).raw("\">Copy</button></span>");
}

/// As [`command`], of a verb and the name it is for: in quotes where a shell needs them, and told from a flag.
pub(crate) fn command_on(html: &mut Html, verb: &'static str, name: &Foreign) {
    let front = if name.plain().starts_with('-') { "-- " } else { "" };
    command(html, &format!("{verb} {front}{}", name.word()));
}

/// What mends something, said in words with commands among them: those in backticks, those set off by two spaces, or the whole
/// of it.
pub(crate) fn fix(html: &mut Html, fix: &str) {
    let parts: Vec<&str> = match (fix.contains('`'), fix.contains("  ")) {
        (true, _) => fix.split('`').collect(),
        (false, true) => fix.split("  ").collect(),
        (false, false) => vec!["", fix],
    };
    for (n, part) in parts.iter().enumerate() {
        match part.trim() {
            "" => {}
            ours if n % 2 == 1 && ours.starts_with("hubless ") => command(html, ours),
            words => drop(html.raw(" ").text(words).raw(" ")),
        }
    }
}

/// Somebody, and where.
pub(crate) fn who(html: &mut Html, scene: &Scene<'_>, by: &crate::model::todo::By) {
    if let Some(agent) = &by.agent {
        agent_link(html, agent);
        html.raw(" on ");
    }
    device_link(html, scene.view, &by.device);
}

/// What an agent works on, or what it asks.
pub(crate) fn task(html: &mut Html, row: &AgentRow<'_>) {
    let beat = &row.lead.beat;
    let ask = beat.note.as_ref().filter(|_| row.lead.state == AgentState::NeedsInput);
    match (ask, beat.task.as_ref()) {
        (Some(note), Some(task)) => html.brief(task).raw(": ").brief(note),
        (Some(only), None) | (None, Some(only)) => html.brief(only),
        (None, None) => html.raw("<span class=\"none\">no task told</span>"),
    };
}

/// An agent's strip, where one is to be shown: an agent whose work is over is not expected to be heard.
pub(crate) fn strip_of(scene: &Scene<'_>, row: &AgentRow<'_>) -> Option<Strip> {
    let over = matches!(row.lead.state, AgentState::Done | AgentState::Failed);
    scene.strips.of(row.device, row.agent).filter(|_| !over)
}

/// A heartbeat strip: tall where the agent was heard, low where it was not, empty before it was known.
pub(crate) fn strip(html: &mut Html, strip: &Strip, whose: &Foreign) {
    let slots = strip.slots(html.now_ms());
    let heard = slots.iter().filter(|(_, slot)| *slot == Slot::Heard).count();
    let known = slots.iter().filter(|(_, slot)| *slot != Slot::Before).count();
    let (mut on, mut off) = (String::new(), String::new());
    for (n, (_, slot)) in slots.iter().enumerate() {
        match slot {
            Slot::Heard => on += &format!("M{} 1v14", 2 * n + 1),
            Slot::Silent => off += &format!("M{} 12v3", 2 * n + 1),
            Slot::Before => {}
        }
    }
    html.raw("<svg class=\"strip\" role=\"img\" viewBox=\"0 0 120 16\" width=\"120\" height=\"16\" aria-label=\"");
    html.text(&whose.plain()).raw(": heard in ");
    html.count(heard).raw(" of the last ").count(known).raw(" ").raw(slots_word(strip, known)).raw("\"><title>");
    html.text(&whose.plain())
        .raw(": heard in ")
        .count(heard)
        .raw(" of the last ")
        .count(known)
        .raw(" ")
        .raw(slots_word(strip, known))
        .raw("</title>");
    html.raw("<path class=\"track\" d=\"M0 15h120\"/><path class=\"off\" d=\"")
        .text(&off)
        .raw("\"/><path class=\"on\" d=\"")
        .text(&on)
        .raw("\"/></svg>");
}

fn slots_word(strip: &Strip, count: usize) -> &'static str {
    match (strip.slot_ms(), count) {
        (60_000, 1) => "minute",
        (60_000, _) => "minutes",
        (_, 1) => "interval",
        _ => "intervals",
    }
}

/// The numbers of a strip as a table: stretches in which it was heard throughout, or not at all.
pub(crate) fn strip_table(html: &mut Html, strip: &Strip) {
    let now = html.now_ms();
    let slots = strip.slots(now);
    html.raw("<details><summary>The same as a table</summary><table><thead><tr><th scope=\"col\">From</th><th scope=\"col\">To</th>");
    html.raw("<th scope=\"col\">Heard</th></tr></thead><tbody>");
    let mut from = 0;
    while from < slots.len() {
        let run = slots[from..].iter().take_while(|(_, slot)| *slot == slots[from].1).count();
        let (begin, slot) = slots[from];
        from += run;
        let word = match slot {
            Slot::Before => continue,
            Slot::Heard => "in every ",
            Slot::Silent => "in none of ",
        };
        let end = begin + i64::try_from(run).unwrap_or(0) * strip.slot_ms();
        html.raw("<tr><td>").text(&clock(begin, now)).raw("</td><td>").text(&clock(end.min(now), now)).raw("</td><td>");
        html.raw(word).count(run).raw(" ").raw(slots_word(strip, run)).raw("</td></tr>");
    }
    html.raw("</tbody></table></details>");
}

/// A bar of what is done; with its numbers beside it, so that it is never the only word.
pub(crate) fn progress(html: &mut Html, done: usize, all: usize) {
    if all == 0 {
        return;
    }
    html.raw("<progress max=\"").count(all).raw("\" value=\"").count(done).raw("\" aria-label=\"").count(done).raw(" of ").count(all);
    html.raw(" todos done\"></progress> <span class=\"small\">").count(done).raw(" of ").count(all).raw(" done</span>");
}

/// The part of a long list that this page shows.
pub(crate) fn slice<'s, T>(scene: &Scene<'_>, rows: &'s [T]) -> &'s [T] {
    let from = ((scene.page() - 1) * ROWS_MAX).min(rows.len());
    &rows[from..(from + ROWS_MAX).min(rows.len())]
}

/// The way to the rest of a long list.
pub(crate) fn pager(html: &mut Html, scene: &Scene<'_>, total: usize) {
    if total <= ROWS_MAX {
        return;
    }
    let (page, pages) = (scene.page(), total.div_ceil(ROWS_MAX));
    let from = ((page - 1) * ROWS_MAX + 1).min(total);
    html.raw("<nav class=\"pager\" aria-label=\"Pages\"><span>").count(from).raw("–").count((page * ROWS_MAX).min(total));
    html.raw(" of ").count(total).raw("</span>");
    let mut link = |page: usize, word: &'static str| {
        html.raw(" <a href=\"").text(scene.path).raw("?page=").count(page).raw("\">").raw(word).raw("</a>");
    };
    if page > 1 {
        link(page - 1, "Previous");
    }
    if page < pages {
        link(page + 1, "Next");
    }
    html.raw("</nav>");
}

/// How far a device and this one are apart, in words; and whether that is worth a colour.
pub(crate) fn in_step(view: &View, device: &crate::model::view::DeviceView) -> (String, &'static str) {
    if device.id == view.me {
        return (String::new(), "");
    }
    if !device.flow.enabled {
        return ("no link is kept with it".into(), "calm");
    }
    if device.flow.paused {
        return ("paused here".into(), "warn");
    }
    if device.flow.next.is_some() {
        return ("scheduled".into(), "calm");
    }
    match (&device.link, device.they_miss) {
        _ if reads::is_level(device) => ("synced".into(), "good"),
        (_, Some(count)) if count > 0 => (format!("{count} behind"), "warn"),
        (Some(_), _) => ("catching up".into(), "calm"),
        (None, _) if device.reachable => ("in step through others, as far as is known".into(), "calm"),
        (None, _) => ("not known how far behind".into(), "calm"),
    }
}
