//! The frame around the parts, and the answer to a script that has some of them already.

use std::fmt::Write;

use super::assets::{ASSETS, HASH};
use super::html::{Html, clock_s, moment};
use super::scene::{Page, Part, Scene};
use crate::api::reads::Verdict;
use crate::model::text::Foreign;

/// Parts that a script may say it has; a page has eleven.
const HAVE_MAX: usize = 64;

/// What the signs mean, in the order in which they need a person.
const LEGEND: &str = "<dl class=\"legend\">\
<div><dt><span class=\"sym needs\">◐</span> needs input</dt><dd>waits for a person</dd></div>\
<div><dt><span class=\"sym bad\">✕</span> stale</dt><dd>its device is in reach, and it is silent</dd></div>\
<div><dt><span class=\"sym warn\">●</span> stuck?</dt><dd>reports, and has achieved nothing for 30 minutes</dd></div>\
<div><dt><span class=\"sym good\">●</span> working</dt><dd>was heard in time</dd></div>\
<div><dt><span class=\"sym calm\">●</span> late</dt><dd>overdue, not yet stale</dd></div>\
<div><dt><span class=\"sym calm\">○</span> idle</dt><dd>its turn ended</dd></div>\
<div><dt><span class=\"sym calm\">✓</span> done, <span class=\"sym bad\">✗</span> failed</dt><dd>its work ended</dd></div>\
<div><dt><span class=\"sym away\">?</span> unknown</dt><dd>its device is out of reach: this is the last word, not the present</dd></div>\
</dl><p>Every row leads on: an agent, a session, a todo, a device and a project each have a page. This page only reads; what changes \
something is a command to copy.</p>";

/// The whole document. The icon is drawn by the script; without one there is none.
pub(crate) fn document(scene: &Scene<'_>, page: Page) -> String {
    let me = scene.view.device_name(&scene.view.me);
    let [style, script] = &*ASSETS;
    let mut out = String::with_capacity(64 * 1024);
    let state = Verdict::of(scene.view).word();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"{}\"><script type=\"module\" src=\"{}\"></script>\
         <title>{}</title></head>\n<body data-assets=\"{}\" data-now=\"{}\" data-state=\"{state}\"><a class=\"skip\" href=\"#main\">To the content</a>\n",
        style.path,
        script.path,
        Foreign::new(title(scene, &page)).html(),
        HASH.as_str(),
        moment(scene.now_ms),
    );
    header(&mut out, scene, &me);
    out += "<main id=\"main\" tabindex=\"-1\">\n";
    for part in parts(scene, page) {
        section(&mut out, part, &[]);
    }
    out += "</main>\n<footer><p>Nothing here leaves this machine but to your own devices.</p></footer></body></html>\n";
    out
}

fn header(out: &mut String, scene: &Scene<'_>, me: &Foreign) {
    let mut html = Html::new(scene.now_ms);
    html.raw("<header><p class=\"who\"><a href=\"/sync\">hubless</a> · ").whole(me).raw("</p><nav aria-label=\"Pages\">");
    for (path, name) in [
        ("/sync", "Overview"),
        ("/sync/agents", "Agents"),
        ("/sync/sessions", "Sessions"),
        ("/sync/todos", "Todos"),
        ("/sync/projects", "Projects"),
    ] {
        let here = if scene.path.trim_end_matches('/') == path { "\" aria-current=\"page\">" } else { "\">" };
        html.raw("<a href=\"").raw(path).raw(here).raw(name).raw("</a> ");
    }
    html.raw(
        "</nav><p class=\"live\" id=\"live\"><noscript>without a script, asked for anew every 5 s; </noscript>as of <time id=\"asof\">",
    );
    html.text(&clock_s(scene.now_ms)).raw("</time></p><button type=\"button\" id=\"theme\" class=\"plain scripted\">Theme: auto</button>");
    html.raw("<details class=\"help\"><summary>Signs</summary><div>").raw(LEGEND).raw("</div></details></header>");
    html.raw("<p id=\"cut\" class=\"cut\" hidden></p><p id=\"said\" class=\"vh\" role=\"status\" aria-live=\"polite\"></p>\n");
    *out += &html.done().0;
}

fn title(scene: &Scene<'_>, page: &Page) -> String {
    let verdict = Verdict::of(scene.view);
    let front = match (verdict.needs_you, verdict.word()) {
        (0, "ok") => String::new(),
        (0, _) => "! ".to_owned(),
        (count, _) => format!("({count}) "),
    };
    format!("{front}{}", page.title)
}

/// The parts of a page, and one that nobody sees: what the window is called, and how things stand.
fn parts(scene: &Scene<'_>, page: Page) -> Vec<Part> {
    let mut html = scene.html();
    html.raw("<span data-title=\"")
        .text(&title(scene, &page))
        .raw("\" data-state=\"")
        .raw(Verdict::of(scene.view).word())
        .raw("\"></span>");
    let mut parts = page.parts;
    parts.push(Part::bare("window", html));
    parts
}

fn section(out: &mut String, part: Part, have: &[(&str, &str)]) {
    let (id, (body, sum)) = (part.id, part.html.done());
    if have.contains(&(id, sum.as_str())) {
        return;
    }
    let hidden = if body.is_empty() || id == "window" { " hidden" } else { "" };
    let label = if body.contains("<h2 id=") { format!(" aria-labelledby=\"{id}-h\"") } else { String::new() };
    let _ = writeln!(out, "<section id=\"{id}\" data-mark=\"{sum}\"{label}{hidden}>{body}</section>");
}

/// The parts of a page that a script does not have: `have` is `id.sum~id.sum`.
pub(crate) fn changed(scene: &Scene<'_>, page: Page, have: &str) -> String {
    let have: Vec<(&str, &str)> = have.split('~').take(HAVE_MAX).filter_map(|pair| pair.split_once('.')).collect();
    let mut out = String::new();
    for part in parts(scene, page) {
        section(&mut out, part, &have);
    }
    out
}
