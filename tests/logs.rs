//! Each line of the log that people rely on, provoked; as text and as JSON; in files that stay small; and no content in any of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hooks::said;
use crate::support::{Daemon, Detached, Home, Lan, SOON, Since, eventually, text};

/// Words that stand in what agents and people write, and nowhere else.
const SECRETS: [&str; 6] = ["zq-todo-secret", "zq-task-secret", "zq-file-secret", "zq-note-secret", "zq-edit-secret", "zq-metadata-secret"];

/// Everything that a home's log files hold, and how many there are.
fn files(home: &Home) -> Vec<(String, String)> {
    let entries = fs::read_dir(home.root().join("logs")).into_iter().flatten();
    let mut all: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap_or_default()))
        .collect();
    all.sort();
    all
}

#[track_caller]
fn logged(home: &Home, what: &str) -> String {
    eventually(SOON, what, || home.said().lines().find(|line| line.contains(what)).map(str::to_owned))
}

/// As [`logged`], of a daemon that logs JSON: the line's own message.
#[track_caller]
fn logged_json(home: &Home, what: &str) -> Value {
    eventually(SOON, what, || {
        let lines = home.said();
        let read =
            |line: &str| serde_json::from_str::<Value>(line).ok().filter(|line| line["message"].as_str().is_some_and(|m| m.contains(what)));
        lines.lines().find_map(read)
    })
}

fn linked(daemon: &Daemon<'_>, name: &str) {
    eventually(SOON, "a link", || {
        daemon.rows("/api/v3/devices").into_iter().find(|device| device["name"] == name && device["link"]["level"] == true)
    });
}

/// A terminal that was closed, a full disk: the line is lost, and nothing else.
#[test]
fn a_log_that_nobody_can_take_stops_nothing() {
    let home = Lan::new().home("anna");
    let daemon = home.up_by(home.command("sh", &["-c", "exec \"$0\" up 2>/dev/full", crate::support::hubless()]));
    for n in 0..3 {
        home.list(&format!("11111111-0000-4000-8000-00000000000{n}"), &[("one", "pending")]);
        let answer = daemon.post("/api/v3/beats", &json!({"agent": format!("sam{n}"), "task": "t"}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    eventually(SOON, "three lists were read, each with a line of the log", || (daemon.rows("/api/v3/sessions").len() >= 6).then_some(()));
    daemon.add("still here");
    daemon.stop();
}

#[test]
fn what_was_there_before_is_one_line_and_what_comes_is_one_each() {
    let home = Lan::new().home("anna");
    for n in 0..50 {
        let id = format!("33333333-0000-4000-8000-{n:012}");
        home.list(&id, &[("x", "pending")]);
        let file = fs::File::options().write(true).open(home.list_path(&id)).expect("a list");
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_750_000_000)).expect("an old one");
    }
    let _daemon = home.up();
    logged(&home, "50 new sessions from anna");
    home.list("33333333-0000-4000-8000-000000000099", &[("y", "pending")]);
    logged(&home, "new session from anna");
    assert_eq!(home.said().matches("new session from anna").count(), 1, "{}", home.said());
}

#[test]
fn every_line_that_people_rely_on_is_there() {
    let lan = Lan::new();
    let (mut anna, bert) = (lan.home("anna"), lan.home("bert"));
    anna.set("HUBLESS_ALERTS_NOT_SEEN_AFTER", "1s");
    let (a, b) = (anna.up(), bert.up());
    logged(&anna, "watching 1 directories");
    anna.list("11111111-0000-4000-8000-000000000001", &[("one", "pending"), ("two", "pending")]);
    logged(&anna, "new session from anna");
    logged(&anna, "consolidated 2 todos from 1 sessions");
    anna.pair(&bert);
    linked(&a, "bert");
    bert.list("11111111-0000-4000-8000-000000000002", &[("three", "pending")]);
    logged(&anna, "new session from bert");
    let begun = Since::now();
    eventually(SOON, "more than the settable span has passed", || (begun.elapsed() > Duration::from_millis(1_200)).then_some(()));
    let said = |what: &str| anna.said().matches(what).count();
    assert_eq!(said("bert not seen for"), 0, "it has a link, so it is here: {}", anna.said());
    b.stop();
    let line = logged(&anna, "bert not seen for ");
    assert!(line.contains("WARN"), "{line}");
    let failed = logged(&anna, "dial failed");
    assert!(failed.contains("address=\"") && failed.contains("why=\""), "which and why: {failed}");
    logged(&anna, "why=\"connection refused: nothing listens there\"");
}

#[test]
fn the_same_lines_as_json() {
    let lan = Lan::new();
    let (mut anna, bert) = (lan.home("anna"), lan.home("bert"));
    anna.set("HUBLESS_LOG_FORMAT", "json");
    anna.set("HUBLESS_ALERTS_NOT_SEEN_AFTER", "1s");
    let (a, b) = (anna.up(), bert.up());
    let line = logged_json(&anna, "watching 1 directories");
    assert_eq!((&line["level"], &line["directories"]), (&json!("INFO"), &json!(1)), "{line}");
    assert!(line["timestamp"].is_string());
    anna.list("11111111-0000-4000-8000-000000000001", &[("one", "pending"), ("two", "pending")]);
    let line = logged_json(&anna, "consolidated 2 todos from 1 sessions");
    assert_eq!((&line["todos"], &line["sessions"]), (&json!(2), &json!(1)));
    let line = logged_json(&anna, "new session from anna");
    assert_eq!((&line["device"], &line["tool"]), (&json!("anna"), &json!("claude")));
    anna.pair(&bert);
    linked(&a, "bert");
    b.stop();
    let line = logged_json(&anna, "bert not seen for");
    assert_eq!((&line["device"], &line["level"]), (&json!("bert"), &json!("WARN")));
    assert!(line["for_ms"].as_u64() >= Some(1_000), "{line}");
    let line = logged_json(&anna, "dial failed");
    assert!(line["address"].is_string() && !text(&line, "why").is_empty(), "{line}");
    assert!(anna.said().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "one object a line, nothing else");
}

#[test]
fn detached_it_logs_into_few_small_files() {
    let mut home = Lan::new().home("anna");
    home.set("HUBLESS_LOG_LEVEL", "trace");
    home.set("HUBLESS_LOG_MAX_SIZE", "600");
    home.set("HUBLESS_LOG_MAX_FILES", "3");
    let up = home.json(&["up", "--detach"]);
    let _ends = Detached(&home);
    let names =
        |home: &Home| files(home).into_iter().map(|(name, _)| name).filter(|name| name.starts_with("hubless.log")).collect::<Vec<_>>();
    for n in 0..40 {
        // Each session is a line.
        home.list(&format!("22222222-0000-4000-8000-{n:012}"), &[("x", "pending")]);
        eventually(SOON, "the session is told", || {
            files(&home).iter().any(|(_, lines)| lines.contains("new session from anna")).then_some(())
        });
    }
    eventually(SOON, "three files", || (names(&home) == ["hubless.log", "hubless.log.1", "hubless.log.2"]).then_some(()));
    home.json(&["down"]);
    assert!(up["data"]["pid"].is_u64());
    for (name, lines) in files(&home).into_iter().filter(|(name, _)| name.starts_with("hubless.log")) {
        let longest = lines.lines().map(str::len).max().unwrap_or_default();
        assert!(lines.len() <= 600.max(longest + 1), "{name} has {} bytes", lines.len());
        assert!(lines.is_empty() || lines.ends_with('\n'), "no line is torn");
        let mode = fs::metadata(home.root().join("logs").join(&name)).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    assert_eq!(names(&home).len(), 3, "by count, too");
}

/// Writes every secret by every way that content comes in.
fn tell_secrets(home: &Home, daemon_is_up: bool) {
    let session = "33333333-0000-4000-8000-000000000001";
    home.list(session, &[("zq-todo-secret one", "pending"), ("zq-todo-secret two", "completed")]);
    home.write(&home.list_path("33333333-0000-4000-8000-000000000002"), "[{\"content\":\"zq-todo-secret torn\",\"sta");
    home.write(
        &home.list_path("33333333-0000-4000-8000-000000000003"),
        "[{\"content\":\"zq-todo-secret bad\",\"status\":\"zq-todo-secret\"}]",
    );
    home.write(&home.claude().join("todos/zq-file-secret of nobody.json"), "{}");
    home.write(&home.claude().join("todos/zq-file-secret.txt"), "zq-todo-secret");
    let line = json!({"type": "user", "sessionId": session, "cwd": home.at("work"), "message": {"role": "user", "content": "zq-task-secret prompt"}});
    home.write(&home.claude().join(format!("projects/-x/{session}.jsonl")), format!("{line}\n"));
    if !daemon_is_up {
        return;
    }
    home.json(&["beat", "sam", "zq-task-secret", "src/zq-file-secret.rs", "--msg", "zq-note-secret"]);
    for event in [
        json!({"hook_event_name": "UserPromptSubmit", "session_id": session, "cwd": home.at("work"), "prompt": "zq-task-secret"}),
        json!({"hook_event_name": "Notification", "session_id": session, "message": "zq-note-secret"}),
        json!({"hook_event_name": "PostToolUse", "session_id": session, "tool_name": "Edit", "tool_input": {"file_path": "zq-file-secret"}}),
        json!({"hook_event_name": "Stop", "session_id": ["zq-todo-secret"]}),
    ] {
        said(home, "claude", event.to_string().as_bytes());
    }
    for left in [
        "{\"agent\": \"zq-todo-secret",
        "{\"agent\": \"sam\", \"state\": \"zq-todo-secret\"}",
        "{\"agent\": \"sam\", \"task\": \"zq-task-secret\"}",
    ] {
        home.write(&home.data().join(format!("spool/{}", left.len())), left);
    }
    let added = home.json(&["todos", "add", "zq-todo-secret by hand", "--project", "secret-is-no-content-here"]);
    let id = text(&added["data"], "id");
    home.json(&["todos", "edit", id, "--text", "zq-edit-secret"]);
    home.json(&["todos", "done", id]);
    for refused in [
        &["todos", "done", "zq-todo-secret"][..],
        &["todos", "add", ""],
        &["beat", "sam", "--state", "zq-task-secret"],
        &["pair", "zq-todo-secret"],
    ] {
        assert_ne!(home.run(refused).code, 0);
    }
}

#[test]
fn no_content_gets_into_any_log() {
    let lan = Lan::new();
    let (mut anna, mut bert) = (lan.home("anna"), lan.home("bert"));
    for home in [&mut anna, &mut bert] {
        home.set("HUBLESS_LOG_LEVEL", "trace");
    }
    bert.set("HUBLESS_LOG_FORMAT", "json");
    tell_secrets(&anna, false);
    for home in [&anna, &bert] {
        home.json(&["up", "--detach"]);
    }
    let _ends = (Detached(&anna), Detached(&bert));
    anna.pair(&bert);
    tell_secrets(&anna, true);
    let metadata = json!({"device": "x", "agent": "max", "status": "active", "currentTask": "zq-task-secret", "metadata": {"k": "zq-metadata-secret"}});
    let socket = anna.root().join("run/ctl.sock");
    let post = |target: &str, body: &str| crate::support::ask(&socket, "POST", target, "", body.as_bytes()).expect("an answer").status;
    assert_eq!(post("/v2/sessionState", &metadata.to_string()), 200);
    assert_eq!(post("/api/v3/todos", "{\"content\": \"zq-todo-secret"), 400);
    assert_eq!(post("/api/v3/zq-todo-secret", "{}"), 404);
    eventually(SOON, "all of it is on the other device", || {
        let there = bert.run(&["todos", "--json", "--limit", "0"]).out;
        let agents = bert.run(&["agents", "--json", "--limit", "0"]).out;
        (there.contains("zq-edit-secret") && there.contains("zq-todo-secret two") && agents.contains("zq-task-secret")).then_some(())
    });
    for home in [&anna, &bert] {
        home.json(&["down"]);
        let all = files(home);
        let size: usize = all.iter().map(|(_, text)| text.len()).sum();
        assert!(size > 500, "there are lines: {size}");
        for (name, lines) in all {
            for secret in SECRETS {
                let line = lines.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{name} tells content");
            }
        }
    }
}
