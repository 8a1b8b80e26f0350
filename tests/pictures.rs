//! What the page looks like in every state, in light and dark, wide and narrow: each is drawn in a real browser, must fit its window and
//! leave the console silent, and is kept as a picture below `target/tmp/pictures` (`scripts/pictures` copies those of the README).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::{Daemon, Home, Lan, SOON, text, wall_ms};

const MINUTE: i64 = 60_000;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures")
}

/// A transcript as Claude Code writes it: a person, then the model, over so many minutes, so long ago.
pub(crate) fn transcript(home: &Home, project: &str, session: u64, (now, minutes_ago, lasted): (i64, i64, i64), title: &str) {
    let id = format!("5c0e1f2a-0000-4000-8000-{session:012}");
    let cwd = home.at(&format!("work/{project}"));
    if !cwd.join(".git").exists() {
        home.write(&cwd.join(".git/config"), format!("[remote \"origin\"]\n\turl = git@example.org:lena/{project}.git\n"));
        home.write(&cwd.join(".git/HEAD"), "ref: refs/heads/main\n");
    }
    let mut lines = String::new();
    for n in 0..=lasted / 10 {
        let at = moment(now - minutes_ago * MINUTE + n * 10 * MINUTE);
        let (kind, role) = if n % 2 == 0 { ("user", "user") } else { ("assistant", "assistant") };
        let message = if n % 2 == 0 {
            json!({"role": role, "content": title})
        } else {
            json!({"role": role, "model": "m", "content": [{"type": "text", "text": "done"}], "usage": {"input_tokens": 900, "output_tokens": 120}})
        };
        let line = json!({"type": kind, "uuid": format!("{id}-{n}"), "parentUuid": null, "sessionId": id, "timestamp": at,
            "cwd": cwd.display().to_string(), "gitBranch": "main", "version": "2.0.0", "message": message});
        let _ = writeln!(lines, "{line}");
    }
    home.write(&home.claude().join(format!("projects/-work-{project}/{id}.jsonl")), lines);
}

/// ISO 8601 in UTC, without a library: days since 1970 by the civil calendar's rule.
fn moment(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let s = rest / 1000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z", s / 3600, s / 60 % 60, s % 60, rest % 1000)
}

fn beat(daemon: &Daemon<'_>, body: &Value) {
    let answer = daemon.post("/api/v3/beats", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Two days of work on one device.
pub(crate) fn history(home: &Home, first: u64, offset: i64) {
    for (n, (project, span, title)) in [
        ("api-server", (1_380, 90), "Add a retry budget to the client"),
        ("api-server", (1_150, 200), "Write the migration for accounts"),
        ("web", (1_100, 60), "Dark-mode contrast"),
        ("web", (700, 240), "Rework the settings page"),
        ("infra", (420, 120), "Rotate the staging key"),
        ("api-server", (300, 130), "Find the flaky test in billing"),
        ("web", (190, 150), "Measure the first paint"),
        ("infra", (95, 60), "Move the cron jobs"),
    ]
    .into_iter()
    .enumerate()
    {
        transcript(home, project, first + n as u64, (wall_ms(), span.0 - offset, span.1), title);
    }
}

/// Agents at work, as two people's machines show them.
pub(crate) fn work(laptop: &Daemon<'_>, desk: &Daemon<'_>) {
    beat(laptop, &json!({"agent": "leo", "task": "AGT-324", "state": "waiting", "note": "run the migration on staging?", "intervalS": 60}));
    beat(laptop, &json!({"agent": "max", "task": "review the settings page", "state": "idle", "intervalS": 60}));
    beat(desk, &json!({"agent": "sam", "task": "AGT-280 retry budget", "state": "working", "file": "src/retry.rs", "intervalS": 60}));
    beat(desk, &json!({"agent": "kai", "task": "AGT-331 nightly benchmarks", "state": "working", "intervalS": 30}));
    beat(desk, &json!({"agent": "ada", "task": "release notes", "state": "done", "intervalS": 60}));
}

fn lists(home: &Home, session: u64, rows: &[(&str, &str)]) {
    home.list(&format!("5c0e1f2a-0000-4000-8000-{session:012}"), rows);
}

/// One state of the page, in every shape.
fn keep(browser: &Browser, name: &str) {
    for (shape, width, scheme) in [("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 360, "light")] {
        browser.size(width, 900);
        browser.scheme(scheme);
        let over = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
        let wide = browser.run(
            "return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.wide, svg, .vh, .skip, .help')).slice(0, 5).map(e => e.outerHTML.slice(0, 120))",
        );
        browser.picture(&folder().join(format!("{name}-{shape}.png")), 2_600);
        assert_eq!(over, json!(0), "{name} is wider than {width} px: {wide}");
    }
    browser.size(1280, 900);
    browser.scheme("light");
}

/// On paper: dark words on nothing, whatever the screen's theme is, nothing that could only be pressed, and nothing cut off.
fn print(browser: &Browser) {
    browser.size(794, 1_123);
    browser.media("print");
    browser.picture(&folder().join("busy-print.png"), 2_600);
    let said = "document.querySelector('main').innerText";
    let pressed = "[...document.querySelectorAll('nav, button, .help, .copy, .skip, footer')].filter(e => e.getClientRects().length).map(e => e.outerHTML.slice(0, 120))";
    let wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('svg, .vh')).map(e => e.outerHTML.slice(0, 120))";
    let light = "[...document.querySelectorAll('h1, h2, main li, main td, main p')].filter(e => Math.max(...getComputedStyle(e).color.match(/[0-9.]+/g).slice(0, 3)) > 160).map(e => e.outerHTML.slice(0, 120))";
    let paper = "[document.body, document.documentElement].map(e => getComputedStyle(e).backgroundColor)";
    assert_eq!(browser.run(&format!("return {pressed}")), json!([]), "what can only be pressed is not printed");
    assert_eq!(browser.run(&format!("return {wide}")), json!([]), "nothing is cut off at the edge of the paper");
    assert_eq!(browser.run(&format!("return {light}")), json!([]), "all words can be read on white");
    assert_eq!(browser.run(&format!("return {paper}")), json!(["rgba(0, 0, 0, 0)", "rgba(0, 0, 0, 0)"]), "no ink is spent on the ground");
    for words in ["evox", "AGT-280", "Rotate the staging key"] {
        assert!(browser.run(&format!("return {said}.includes('{words}')")) == json!(true), "{words} is printed");
    }
    browser.media("");
}

#[test]
fn every_state_fits_every_window() {
    let Some(browser) = Browser::start("every_state_fits_every_window") else { return };
    let lan = Lan::new();
    let (mut laptop, mut desk) = (lan.home("laptop"), lan.home("desk"));
    for home in [&mut laptop, &mut desk] {
        home.set("HUBLESS_AGENTS_STALE_AFTER", "12s");
    }
    let here = laptop.up();
    let url = laptop.url().expect("an address");
    browser.open(&format!("{url}/sync"));
    browser.until(SOON, "document.querySelector('.start')");
    keep(&browser, "nothing-yet");

    history(&laptop, 100, 35);
    beat(&here, &json!({"agent": "max", "task": "review the settings page", "state": "idle", "intervalS": 60}));
    browser.until(SOON, "document.body.innerText.includes('1 device.') && document.querySelectorAll('.band rect').length > 5");
    keep(&browser, "alone");

    let there = desk.up();
    browser.until(SOON, "document.body.innerText.includes('Another hubless is in reach')");
    keep(&browser, "stranger");

    history(&desk, 200, 55);
    laptop.pair(&desk);
    lists(
        &laptop,
        107,
        &[
            ("Rotate the staging key", "completed"),
            ("Ask about the old certificates", "in_progress"),
            ("Write down who holds which key", "pending"),
            ("Measure the restore", "completed"),
        ],
    );
    there.todo_is("Rotate the staging key", "completed");
    let again = [("Move the cron jobs", "in_progress"), ("Archive last year's logs", "completed"), ("Rotate the staging key", "pending")];
    lists(&desk, 207, &again);
    here.todo_when("Rotate the staging key", "listed again", |todo| todo["conflict"] == true);
    work(&here, &there);
    beat(&there, &json!({"agent": "evox", "task": "monitoring the queue", "state": "working", "intervalS": 1}));
    browser
        .until(SOON, "/evox/.test(document.querySelector('#needs').innerText) && /conflict/.test(document.querySelector('h1').innerText)");
    beat(&there, &json!({"agent": "kai", "task": "AGT-331 nightly benchmarks", "state": "working", "intervalS": 30}));
    browser.until(SOON, "/synced/.test(document.querySelector('#devices').innerText) && !/not paired/.test(document.body.innerText)");
    keep(&browser, "busy");
    browser.picture(&folder().join("readme.png"), 1_000);
    print(&browser);
    browser.size(360, 760);
    browser.scheme("dark");
    browser.picture(&folder().join("phone.png"), 760);
    for (name, path) in [("agent", "agents/evox"), ("projects", "projects"), ("sessions", "sessions"), ("todos", "todos")] {
        browser.open(&format!("{url}/sync/{path}"));
        keep(&browser, name);
    }
    let conflicted = here.rows("/api/v3/conflicts")[0].clone();
    browser.open(&format!("{url}/sync/todos/{}", text(&conflicted, "todo")));
    keep(&browser, "todo");
    let session =
        here.rows("/api/v3/sessions").into_iter().find(|row| row["todosOpen"] != 0 && row["tool"] == "claude").expect("one with todos");
    browser.open(&format!("{url}/sync/sessions/{}", text(&session, "id")));
    keep(&browser, "session");
    assert_eq!(browser.complaints(), [""; 0], "the console is silent");

    browser.open(&format!("{url}/sync"));
    there.kill();
    browser.until(2 * SOON, "document.querySelector('.card.gone')");
    keep(&browser, "out-of-reach");
    here.kill();
    browser.until(SOON, "document.body.dataset.live === 'false'");
    keep(&browser, "cut-off");
}
