//! `/sync`: the five-second answer as a plain page, written by the server, without a script.
//!
//! Agents' text is untrusted: it enters only through `Foreign::html`. The page cannot write; it shows the command instead. For
//! as long as it has no script it reloads itself every 5 s, as the replaced system's page did, so that one left open never
//! shows the dead as alive.

use std::fmt::Write;

use super::reads::{self, Verdict};
use crate::model::text::Foreign;
use crate::model::todo::Status;
use crate::model::view::{AgentState, Conflict, DeviceView, TodoView, View};

/// Rows of sessions and todos on the page; more are counted, and the command that shows them is named.
const ROWS_MAX: usize = 200;

/// The page's style, served by itself because the policy allows none within.
pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;font:15px/1.4 system-ui,sans-serif}
body{margin:1.5rem auto;max-width:75rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.3rem 0 1.2rem}
th,td{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top;border-bottom:1px solid #8884}
td{overflow-wrap:anywhere}
.attention{font-weight:700}
.away td{opacity:.7}
code{font-size:.95em}
";

/// The whole page. `trouble` is what is wrong with the doors.
pub(crate) fn page(view: &View, now_ms: i64, trouble: Option<&str>) -> String {
    let me = view.device_name(&view.me).html();
    let verdict = Verdict::of(view);
    let mut out = String::with_capacity(16 * 1024);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"5\"><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/assets/page.css\">\
         <title>{}hubless · {me}</title></head>\n<body><header><p>hubless · {me} · as of {}</p></header>\n<main>",
        if verdict.word() == "ok" { "" } else { "! " },
        clock(now_ms),
    );
    let _ = writeln!(out, "<h1 class=\"{}\">{}</h1>", verdict.word(), sentence(view, verdict));
    problems(&mut out, view, trouble);
    agents(&mut out, view, now_ms);
    conflicts(&mut out, view);
    devices(&mut out, view, now_ms);
    todos(&mut out, view, now_ms);
    sessions(&mut out, view, now_ms);
    out += "</main></body></html>\n";
    out
}

fn sentence(view: &View, verdict: Verdict) -> String {
    let members = reads::members(view);
    let reachable = members.iter().filter(|device| device.reachable).count();
    let mut parts = vec![counted(members.len(), "device", "devices"), format!("{reachable} reachable")];
    let needs = if verdict.needs_you == 1 { "1 agent needs you".to_owned() } else { format!("{} agents need you", verdict.needs_you) };
    for (count, text) in [
        (verdict.needs_you, needs),
        (verdict.stale, format!("{} stale", verdict.stale)),
        (verdict.conflicts, counted(verdict.conflicts, "todo conflict", "todo conflicts")),
    ] {
        if count > 0 {
            parts.push(text);
        }
    }
    if verdict.word() == "ok" {
        parts.push("nothing waits for you".into());
    }
    parts.join(" · ")
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn problems(out: &mut String, view: &View, trouble: Option<&str>) {
    let known = view.warnings.values().map(|warning| (warning.what.as_str(), warning.fix.as_deref()));
    let strangers = view.strangers.values().map(|_| ("another hubless is in reach and not paired", Some("hubless pair")));
    let all: Vec<_> = trouble.map(|text| (text, None)).into_iter().chain(known).chain(strangers).collect();
    if all.is_empty() {
        return;
    }
    *out += "<h2>Problems</h2><ul>";
    for (what, fix) in all {
        let _ = write!(out, "<li>{}", escaped(what));
        if let Some(fix) = fix {
            let _ = write!(out, " <code>{}</code>", escaped(fix));
        }
        *out += "</li>";
    }
    *out += "</ul>\n";
}

fn agents(out: &mut String, view: &View, now_ms: i64) {
    let rows = reads::by_need(view);
    if rows.is_empty() {
        *out += "<h2>Agents</h2><p>None yet. An agent appears when it reports: <code>hubless beat sam \"AGT-280\"</code></p>\n";
        return;
    }
    table(out, "Agents", &["State", "Agent", "Device", "Task", "For", "Last beat"]);
    for row in rows {
        let (state, beat) = (row.lead.state, &row.lead.beat);
        let away = if state == AgentState::Unknown { " class=\"away\"" } else { "" };
        let task = beat.note.as_ref().filter(|_| state == AgentState::NeedsInput).or(beat.task.as_ref());
        let _ = writeln!(
            out,
            "<tr{away}><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} ago</td></tr>",
            state.symbol(),
            state.word(),
            beat.agent.html(),
            view.device_name(&row.device).html(),
            task.map(Foreign::html).unwrap_or_default(),
            age(now_ms, beat.since),
            age(now_ms, reads::heard(row.lead)),
        );
    }
    *out += "</tbody></table>\n";
}

fn conflicts(out: &mut String, view: &View) {
    let open: Vec<&Conflict> = view.conflicts.values().map(AsRef::as_ref).filter(|conflict| !conflict.resolved).collect();
    if open.is_empty() {
        return;
    }
    table(out, "Conflicts", &["Todo", "Field", "Counts", "Does not", "Rule", "Settle it"]);
    for conflict in open.iter().take(ROWS_MAX) {
        let _ = writeln!(
            out,
            "<tr><td>≠ {}</td><td>{}</td><td>{} ({})</td><td>{} ({})</td><td>{}</td><td><code>hubless todos resolve {} --keep 2</code></td></tr>",
            conflict.content.html(),
            escaped(&conflict.field),
            conflict.local.value.html(),
            view.device_name(&conflict.local.device).html(),
            conflict.remote.value.html(),
            view.device_name(&conflict.remote.device).html(),
            escaped(conflict.rule),
            conflict.todo.short(SHOWN_LETTERS),
        );
    }
    *out += "</tbody></table>\n";
    more(out, open.len(), "hubless todos conflicts");
}

/// Letters of an id that the page shows; the command line takes any unique beginning.
const SHOWN_LETTERS: usize = 8;

fn devices(out: &mut String, view: &View, now_ms: i64) {
    table(out, "Devices", &["Device", "Reach", "Last contact", "They miss", "We miss"]);
    for device in reads::members(view) {
        let away = if device.reachable { "" } else { " class=\"away\"" };
        let count = |missing: Option<u64>| missing.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        let me = device.id == view.me;
        let contact = device.last_contact_here.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(now_ms, at)));
        let _ = writeln!(
            out,
            "<tr{away}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            device.shown_name().html(),
            reach(device, me),
            if me { String::new() } else { contact },
            if me { String::new() } else { count(device.they_miss) },
            if me { String::new() } else { count(device.we_miss) },
        );
    }
    *out += "</tbody></table>\n";
    if reads::members(view).len() < 2 {
        *out += "<p>1 device; pair another: <code>hubless pair</code></p>\n";
    }
}

fn reach(device: &DeviceView, me: bool) -> String {
    match (&device.link, device.reachable) {
        _ if me => "this device".into(),
        (Some(link), true) => link.rtt_ms.map_or_else(|| "reachable".to_owned(), |rtt| format!("reachable, {rtt} ms")),
        (None, true) => "reachable through others".into(),
        (_, false) => "not in reach".into(),
    }
}

fn todos(out: &mut String, view: &View, now_ms: i64) {
    let counts = reads::counts(view, reads::midnight(now_ms));
    let head = format!("Todos: {} ready, {} in progress, {} done today", counts.ready, counts.in_progress, counts.done_today);
    let open = |todo: &&TodoView| todo.listed && !todo.deleted && !todo.status.is_finished();
    let mut rows: Vec<&TodoView> = view.todos.values().map(AsRef::as_ref).filter(open).collect();
    rows.sort_by_key(|todo| (todo.status != Status::InProgress, todo.created, todo.id));
    table(out, &head, &["Status", "Todo", "Project", "Owner", "Id"]);
    for todo in rows.iter().take(ROWS_MAX) {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
            todo.status.word().replace('_', " "),
            todo.content.html(),
            escaped(&todo.project),
            todo.owner.as_ref().map(Foreign::html).unwrap_or_default(),
            todo.id.short(SHOWN_LETTERS),
        );
    }
    *out += "</tbody></table>\n";
    more(out, rows.len(), "hubless todos");
}

fn sessions(out: &mut String, view: &View, now_ms: i64) {
    let mut rows: Vec<_> = view.sessions.values().collect();
    rows.sort_by_key(|session| (std::cmp::Reverse(session.last_activity), session.id));
    table(out, "Sessions", &["Last activity", "State", "Tool", "Agent", "Device", "Project", "Todos", "Id"]);
    for session in rows.iter().take(ROWS_MAX) {
        let _ = writeln!(
            out,
            "<tr><td>{} ago</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {} open</td><td><code>{}</code></td></tr>",
            age(now_ms, session.last_activity),
            session.state.word(),
            escaped(&session.fact.tool),
            session.fact.agent.html(),
            view.device_name(&session.fact.device).html(),
            session.fact.project.as_deref().map(escaped).unwrap_or_default(),
            session.open,
            session.open + session.done,
            session.id.short(SHOWN_LETTERS),
        );
    }
    *out += "</tbody></table>\n";
    more(out, rows.len(), "hubless sessions list");
}

fn table(out: &mut String, title: &str, columns: &[&str]) {
    let _ = write!(out, "<h2>{title}</h2><table><thead><tr>");
    for column in columns {
        let _ = write!(out, "<th scope=\"col\">{column}</th>");
    }
    *out += "</tr></thead><tbody>\n";
}

fn more(out: &mut String, rows: usize, command: &str) {
    if rows > ROWS_MAX {
        let _ = writeln!(out, "<p>{ROWS_MAX} of {rows} are shown. All of them: <code>{command}</code></p>");
    }
}

fn escaped(text: &str) -> String {
    Foreign::new(text).html()
}

/// The time of day where this machine is.
fn clock(now_ms: i64) -> String {
    let now = jiff::Timestamp::from_millisecond(now_ms).map(|now| now.to_zoned(jiff::tz::TimeZone::system()));
    now.map(|now| now.strftime("%H:%M:%S").to_string()).unwrap_or_default()
}

/// How long ago, in the two largest units; a moment ahead of our clock is now.
pub(crate) fn age(now_ms: i64, then_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(then_ms).max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::fixture::{Fleet, MINI, NOW, beat, device, todo};
    use crate::model::beat::Reported;
    use crate::model::view::Warning;

    #[test]
    fn the_page_answers_what_a_person_asks_first() {
        let page = page(&Fleet::busy().0, NOW, None);
        for wanted in [
            "2 devices · 2 reachable · 1 agent needs you · 1 todo conflict",
            "◐ needs input",
            "run migration?",
            "● working",
            "AGT-280",
            "12m",
            "29s ago",
            "reachable, 4 ms",
            "this device",
            "1 ready, 1 in progress, 1 done today",
            "Add retry budget",
            "≠ Rotate staging key",
            "hubless todos resolve t-",
            "claude",
            "2 of 3 open",
        ] {
            assert!(page.contains(wanted), "{wanted}\n{page}");
        }
        assert!(page.find("needs input") < page.find("AGT-280"), "who waits comes first");
        assert!(!page.contains("<script"), "no script yet");
    }

    #[test]
    fn what_agents_write_is_inert() {
        let evil = "<img src=x onerror=alert(1)>\u{1b}[31m\u{202e}\"'&";
        let mut asks = beat(MINI, evil, Reported::Waiting, evil);
        asks.note = Some(Foreign::new(evil));
        let mut fleet = Fleet::busy().agent(asks, AgentState::NeedsInput).todo(todo(evil, evil, Status::Pending));
        fleet.0.devices.insert(MINI, Arc::new(device(MINI, evil)));
        fleet.0.warnings.insert("x".into(), Warning { what: evil.into(), fix: Some(evil.into()) });
        let page = page(&fleet.0, NOW, Some(evil));
        assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    }

    #[test]
    fn an_empty_house_says_what_to_do() {
        let mut fleet = Fleet::new();
        fleet.0.devices.remove(&MINI);
        let page = page(&fleet.0, NOW, None);
        assert!(page.contains("nothing waits for you") && page.contains("hubless beat sam") && page.contains("hubless pair"), "{page}");
    }

    #[test]
    fn ages_are_in_the_two_largest_units() {
        for (seconds, shown) in [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (7_800, "2h 10m"), (90_000, "1d 01h")] {
            assert_eq!(age(NOW, NOW - seconds * 1000), shown);
        }
        assert_eq!(age(i64::MAX, i64::MIN).chars().last(), Some('h'));
    }
}
