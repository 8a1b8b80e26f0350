//! The directories that are read: shown, read again, at rest, and what is shown of the projects in them.

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, SOON, eventually, text};

#[test]
fn sources_and_projects_are_shown_and_read_again() {
    let mut home = Lan::new().home("anna");
    let copied = home.at("copies");
    std::fs::create_dir_all(copied.join("todos")).expect("a directory");
    home.config(&format!("[sources.claude]\nroots = [{{ path = \"{}\", computer = \"laptop\" }}]\n", copied.display()));
    home.set("HUBLESS_LOG_LEVEL", "info");
    home.list("11111111-0000-4000-8000-000000000001", &[("one", "pending"), ("two", "completed")]);
    let daemon = home.up();
    daemon.todo_is("one", "pending");
    let source = |word: &str| home.json(&["sources"])["data"].as_array().expect("rows").iter().find(|row| row["source"] == word).cloned();
    let own = eventually(SOON, "it was listed", || source("claude-todos").filter(|row| row["files"] == 1));
    assert_eq!(
        (&own["tool"], &own["computer"], &own["present"], &own["malformed"]),
        (&json!("claude"), &Value::Null, &json!(true), &json!(0))
    );
    assert!(own["listedAt"].is_string() && text(&own, "base").ends_with("/todos"));
    let other = eventually(SOON, "the copy was listed", || source("claude-todos-2"));
    assert_eq!((&other["tool"], &other["computer"], &other["present"]), (&json!("claude"), &json!("laptop"), &json!(true)));
    assert!(home.run(&["sources", "status"]).out.contains("claude-todos\tclaude\t-\tpresent\t1\t"));
    assert_eq!(home.json(&["sources", "rescan"])["data"]["rescanning"], true);
    let later = eventually(SOON, "it was listed again", || source("claude-todos").filter(|row| row["listedAt"] != own["listedAt"]));
    assert_eq!(later["files"], 1);
    let told = home.json(&["projects"]);
    assert_eq!(told["data"]["version"], "1.0");
    let row = &told["data"]["projects"][0];
    let counts = ["session_count", "todo_count", "active_todos", "completed_todos", "active_agents"].map(|key| row[key].as_u64());
    assert_eq!((&row["project_name"], counts), (&json!("general"), [1, 2, 1, 1, 0].map(Some)));
    assert!(home.run(&["projects"]).out.starts_with("general\t1\t-\t1\t0\t1/2\tanna\t"));
    drop(daemon);
    assert_eq!(home.json(&["projects"])["data"]["projects"][0]["todo_count"], 2, "from disk, too");
    assert_eq!(home.run(&["sources", "rescan"]).code, 4, "only a daemon reads");
}

fn row(home: &Home, word: &str) -> Option<Value> {
    home.json(&["sources"])["data"].as_array().expect("rows").iter().find(|row| row["source"] == word).cloned()
}

/// Waits until a source was listed once more, so that whatever would be read of it has been asked for.
#[track_caller]
fn listed_again(home: &Home, daemon: &Daemon<'_>, files: u64) {
    let before = row(home, "claude-todos").expect("known")["listedAt"].clone();
    let asked = daemon.post("/api/v3/rescan", &json!({}));
    assert_eq!(asked.status, 202, "{}", asked.text());
    eventually(SOON, "it was listed again", || {
        row(home, "claude-todos").filter(|row| row["listedAt"] != before && row["files"] == json!(files))
    });
}

#[test]
fn a_source_rests_until_it_is_told_to_go_on_even_over_a_restart() {
    let home = Lan::new().home("anna");
    home.list("11111111-0000-4000-8000-000000000001", &[("before", "pending")]);
    let daemon = home.up();
    daemon.todo_is("before", "pending");
    let told = home.json(&["sources", "pause", "claude"]);
    let named = told["data"]["sources"].as_array().expect("names");
    assert!(named.contains(&json!("claude-todos")) && told["data"]["paused"] == json!(true), "{told}");
    home.list("11111111-0000-4000-8000-000000000002", &[("meanwhile", "pending")]);
    home.list("11111111-0000-4000-8000-000000000001", &[("before", "completed")]);
    listed_again(&home, &daemon, 2);
    // Another question after the listing: whatever it would have asked for is answered before.
    listed_again(&home, &daemon, 2);
    assert_eq!((daemon.todo("meanwhile"), &daemon.todo("before").expect("kept")["status"]), (None, &json!("pending")));
    daemon.kill();
    let daemon = home.up();
    let shown = eventually(SOON, "it is shown", || row(&home, "claude-todos").filter(|row| row["files"] == 2));
    assert_eq!((&shown["paused"], &shown["lastRead"]), (&json!(true), &Value::Null));
    assert!(home.run(&["sources", "status"]).out.contains("claude-todos\tclaude\t-\tpaused\t2\t"));
    listed_again(&home, &daemon, 2);
    assert_eq!(daemon.todo("meanwhile"), None, "it rests after a restart, too");
    let doctor = home.run(&["doctor"]).out;
    assert!(doctor.contains("claude-todos paused") && doctor.contains("hubless sources resume claude-todos"), "{doctor}");
    assert_eq!(daemon.add("by hand")["status"], "pending", "everything else goes on");
    home.json(&["sources", "resume", "claude-todos"]);
    daemon.todo_is("meanwhile", "pending");
    daemon.todo_is("before", "completed");
    let shown = row(&home, "claude-todos").expect("there");
    assert!(shown["paused"] == json!(false) && shown["lastRead"].is_string(), "{shown}");
    assert_eq!(row(&home, "claude-tasks").map_or(json!(true), |row| row["paused"].clone()), json!(true), "only the one that was named");
    let refused = home.run(&["sources", "pause", "clod", "--json"]);
    assert_eq!((refused.code, &refused.problem()["code"]), (3, &json!("source-not-found")));
    assert_eq!(daemon.ask("POST", "/api/v3/sources/claude/forget", "", "{}").status, 404);
    drop(daemon);
    assert_eq!(home.run(&["sources", "pause", "claude"]).code, 4, "only a daemon can rest");
}

#[test]
fn each_way_says_when_it_last_ran_and_what_went_wrong() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let way = |word: &str| {
        let told = daemon.get("/api/v3/overview");
        told["data"]["ways"].as_array().expect("rows").iter().find(|row| row["way"] == word).cloned().expect("all of them are there")
    };
    eventually(SOON, "a listing", || way("rescan")["lastRun"].is_string().then_some(()));
    assert_eq!((&way("hooks")["lastRun"], &way("hooks")["lastError"]), (&Value::Null, &Value::Null));
    home.list("11111111-0000-4000-8000-000000000001", &[("one", "pending")]);
    eventually(SOON, "the watcher", || way("watcher")["lastRun"].is_string().then_some(()));
    let beat = json!({"agent": "sam", "session": "x", "tool": "claude", "source": "hook", "state": "working"});
    assert_eq!(daemon.post("/api/v3/beats", &beat).status, 200);
    assert!(way("hooks")["lastRun"].is_string() && way("hooks")["lastError"].is_null(), "{}", way("hooks"));
    std::os::unix::fs::symlink("/dev/null", home.claude().join("todos/link.json")).expect("a link");
    home.json(&["sources", "rescan"]);
    eventually(SOON, "it is said", || {
        way("rescan")["lastError"]["why"].as_str().filter(|why| why.contains("claude-todos")).map(str::to_owned)
    });
    let doctor = home.run(&["doctor"]).out;
    for line in ["watcher last ran", "rescan last ran", "hooks last ran"] {
        assert!(doctor.contains(line), "{line}: {doctor}");
    }
}

#[test]
fn todos_that_wait_for_one_another_are_named() {
    let home = Lan::new().home("anna");
    let tasks = home.claude().join("tasks/board");
    std::fs::create_dir_all(&tasks).expect("a directory");
    let task = |id: &str, by: &[&str]| {
        let body =
            json!({"id": id, "subject": format!("task {id}"), "description": "", "status": "pending", "blocks": [], "blockedBy": by});
        home.write(&tasks.join(format!("{id}.json")), body.to_string());
    };
    task("1", &["2"]);
    task("2", &["1"]);
    task("3", &[]);
    let daemon = home.up();
    for id in ["1", "2", "3"] {
        daemon.todo_is(&format!("task {id}"), "pending");
    }
    let ready = || home.json(&["todos", "ready"]);
    let told =
        eventually(SOON, "both know of each other", || Some(ready()).filter(|told| told["data"].as_array().map(Vec::len) == Some(1)));
    assert_eq!(told["data"][0]["content"], "task 3");
    let warnings = told["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|line| line.as_str().is_some_and(|line| line.starts_with("circle: “task "))), "{warnings:?}");
    assert!(home.run(&["todos", "ready"]).err.contains("waits for"), "people are told, too");
    daemon.deed(&daemon.todo("task 1").expect("there"), "done");
    assert_eq!(ready()["warnings"], json!([]));
}
