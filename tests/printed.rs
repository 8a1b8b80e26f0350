//! Every command that the page prints is one that the program takes, as a shell reads it: in every state of the page, with names that need
//! quotes. Those that only look are carried out.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::Command;

use serde_json::json;

use crate::support::{Daemon, Home, Lan, SOON, eventually, exchange, text};

/// Names that a shell or our own flags would take for something else.
const NAMES: [&str; 8] = ["sam", "two words", "it's", "--json", "-x", "a$(id)`id`\"b\\", "é*?[a]", ";&|<>#!~"];

/// The page at a path.
#[track_caller]
fn page(home: &Home, path: &str) -> String {
    let url = home.url().expect("an address");
    let address = url.trim_start_matches("http://");
    let answer = exchange(TcpStream::connect(address).expect("a door"), address, "GET", path, "", b"").expect("an answer");
    assert_eq!(answer.status, 200, "{path}");
    answer.text()
}

/// All paths below `/sync` that the page leads to, from the first one on.
fn paths(home: &Home) -> BTreeSet<String> {
    let (mut known, mut next) = (BTreeSet::new(), vec!["/sync".to_owned()]);
    while let Some(path) = next.pop() {
        // Hundreds of pages are alike.
        if known.len() < 150 && known.insert(path.clone()) {
            let html = page(home, &path);
            let links = html.split("href=\"/sync").skip(1).filter_map(|rest| rest.split(['"', '#']).next());
            next.extend(links.map(|link| format!("/sync{link}")));
        }
    }
    known
}

/// What stands in `<code>` and is ours, as a person copies it.
fn commands(html: &str) -> BTreeSet<String> {
    let codes = html.split("<code>").skip(1).filter_map(|rest| rest.split("</code>").next());
    let plain = |code: &str| {
        let code = code.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        code.replace("&amp;", "&")
    };
    codes.map(plain).filter(|code| code.starts_with("hubless")).collect()
}

/// The words that a shell makes of it; what is no single command of ours gives none.
fn words(command: &str) -> Vec<String> {
    let line = format!("hubless() {{ for word in \"$@\"; do printf '%s\\0' \"$word\"; done; }}; {command}");
    let out = Command::new("/bin/sh").args(["-c", &line]).env_clear().env("PATH", "/nowhere").output().expect("sh runs");
    assert!(out.status.success() && out.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    let out = String::from_utf8(out.stdout).expect("UTF-8");
    out.split_terminator('\0').map(str::to_owned).collect()
}

/// Parses every command of every page; how many different ones there were.
#[track_caller]
fn all_parse(home: &Home) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for path in paths(home) {
        for command in commands(&page(home, &path)) {
            let words = words(&command);
            assert!(!words.is_empty(), "{path}: {command}");
            let line = std::iter::once("hubless").chain(words.iter().map(String::as_str));
            if let Err(why) = hubless::cli::command().try_get_matches_from(line) {
                panic!("{path} prints a command that the program refuses: {command}\n{why}");
            }
            if all.insert(command.clone()) && (words.get(1).is_some_and(|verb| verb == "show" || verb == "history" || verb == "conflicts"))
            {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let ran = home.run(&words);
                assert_eq!(ran.code, 0, "{path}: {command}: {}", ran.err);
            }
        }
    }
    all
}

fn beat(daemon: &Daemon<'_>, name: &str, state: &str) {
    let body = json!({"agent": name, "task": name, "note": name, "state": state, "intervalS": 1, "session": name});
    assert_eq!(daemon.post("/api/v3/beats", &body).status, 200, "{name}");
}

#[test]
fn every_command_on_every_page_is_one_that_a_shell_and_the_program_take() {
    let lan = Lan::new();
    let (mut laptop, mut desk) = (lan.home("it's a laptop"), lan.home("-desk \"2\""));
    laptop.set("HUBLESS_AGENTS_STALE_AFTER", "1s");
    laptop.config("[peers.\"nobody's\"]\nenabled = true\n");
    desk.set("HUBLESS_AGENTS_STALE_AFTER", "1s");
    let here = laptop.up();
    let first = all_parse(&laptop);
    assert!(first.contains("hubless hooks install") && first.contains("hubless pair"), "nothing yet: {first:?}");

    let there = desk.up();
    eventually(SOON, "a stranger is in reach", || page(&laptop, "/sync").contains("Another hubless is in reach").then_some(()));
    all_parse(&laptop);
    let ticket = laptop.json(&["pair", "--ticket"]);
    desk.json(&["pair", text(&ticket["data"], "ticket")]);
    for (n, name) in NAMES.iter().enumerate() {
        for daemon in [&here, &there] {
            beat(daemon, name, if n % 2 == 0 { "waiting" } else { "working" });
            assert_eq!(daemon.post("/api/v3/todos", &json!({"content": name, "project": format!("{name}/{name}")})).status / 100, 2);
        }
    }
    // A conflict, and more history than a page shows.
    laptop.list("l", &[("Rotate the key", "completed")]);
    there.todo_is("Rotate the key", "completed");
    desk.list("d", &[("Rotate the key", "pending")]);
    let todo = here.todo_when("Rotate the key", "listed again", |todo| todo["conflict"] == true);
    for n in 0..101 {
        let body = json!({"owner": format!("owner {n}")});
        assert_eq!(here.post(&format!("/api/v3/todos/{}/edit", text(&todo, "id")), &body).status, 200);
    }
    eventually(SOON, "somebody is stale", || page(&laptop, "/sync").contains("no beat").then_some(()));
    let busy = all_parse(&laptop);
    for wanted in ["hubless todos resolve c-", "hubless todos history t-", "hubless sessions show s-", "hubless agents show -- '--json'"] {
        let wanted = wanted.replace("'--json'", "--json");
        assert!(busy.iter().any(|command| command.starts_with(&wanted)), "{wanted}: {busy:?}");
    }
    assert!(page(&laptop, "/sync").contains("nobody&#39;s"), "a warning with a command in its fix");
    there.kill();
    all_parse(&laptop);
}
