//! What Claude Code leaves on disk, read as it is: whole, torn, late, many at once.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, SOON, eventually, text};

fn id(n: u32) -> String {
    format!("eeeeeeee-0000-4000-8000-{n:012}")
}

/// Waits until `count` todos are shown.
#[track_caller]
fn todos(daemon: &Daemon<'_>, count: usize) -> Vec<Value> {
    eventually(SOON, &format!("{count} todos"), || Some(daemon.rows("/api/v3/todos?all=1")).filter(|rows| rows.len() == count))
}

fn malformed(daemon: &Daemon<'_>) -> Option<u64> {
    daemon.get("/api/v3/overview")["data"]["sources"].as_array()?.iter().find(|source| source["source"] == "claude-todos")?["malformed"]
        .as_u64()
}

/// A transcript of `session` that worked in `cwd`.
fn transcript(home: &Home, session: &str, cwd: &Path) {
    let line = json!({"type": "user", "sessionId": session, "cwd": cwd, "gitBranch": "main", "timestamp": "2026-11-01T10:00:00.000Z",
        "message": {"role": "user", "content": "Fix the retry budget"}});
    home.write(&home.claude().join(format!("projects/-somewhere/{session}.jsonl")), format!("{line}\n"));
}

#[test]
fn a_malformed_element_costs_that_element() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let mixed = r#"[{"content":"whole one","status":"pending"},{"content":7,"status":"pending"},{"status":"pending"},"text",null,
        {"content":"no such status","status":"later"},{"content":"   ","status":"pending"},{"content":"whole two","status":"completed","activeForm":"x"}]"#;
    home.write(&home.list_path(&id(1)), mixed);
    todos(&daemon, 2);
    assert_eq!(eventually(SOON, "they are counted", || malformed(&daemon).filter(|n| *n > 0)), 6);
    // A damaged element amid whole ones: each is read from its own brace.
    home.write(
        &home.list_path(&id(2)),
        r#"[{"content":"before","status":"pending"},{"content":"dam"aged","status":"pending"},{"content":"behind","status":"pending"}]"#,
    );
    let all = todos(&daemon, 4);
    for content in ["whole one", "whole two", "before", "behind"] {
        assert!(all.iter().any(|todo| todo["content"] == content), "{content}");
    }
    let told = home.json(&["status"]);
    let sources = told["data"]["sources"].as_array().expect("a list").clone();
    assert!(sources.iter().any(|source| source["source"] == "claude-todos" && source["malformed"].as_u64() > Some(0)), "{sources:?}");
}

#[test]
fn torn_and_empty_files_say_nothing() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    home.list(&id(1), &[("kept", "in_progress"), ("kept too", "pending")]);
    let before = todos(&daemon, 2);
    for (n, bytes) in
        ["", "[", "[]", "   ", "[{\"content\":\"kept\",\"status\":\"pend", "\0\0\0\0", "{}", "null", "\u{feff}"].iter().enumerate()
    {
        home.write(&home.list_path(&id(1)), bytes);
        // A list of another session that is read later says when this one has been.
        let mark = format!("mark {n}");
        home.list(&id(2), &[(&mark, "pending")]);
        daemon.todo_is(&mark, "pending");
        for todo in &before {
            let now = daemon.get(&format!("/api/v3/todos/{}", text(todo, "id")));
            assert_eq!((&now["data"]["status"], &now["data"]["listed"]), (&todo["status"], &todo["listed"]), "after {bytes:?}");
        }
    }
    home.list(&id(1), &[("kept", "completed")]);
    daemon.todo_is("kept", "completed");
    assert_eq!(daemon.todo("kept too").expect("nothing is lost")["listed"], false, "a newer whole list without it: it is not listed");
    fs::remove_file(home.list_path(&id(1))).expect("there");
    home.list(&id(2), &[("after the file is gone", "pending")]);
    daemon.todo_is("after the file is gone", "pending");
    assert_eq!(daemon.todo("kept").expect("there")["status"], "completed");
    // Written in place, in pieces, as a program without rename does.
    let path = home.list_path(&id(3));
    fs::write(&path, "[{\"content\":\"in pieces\",").expect("written");
    home.list(&id(2), &[("after the first piece", "pending")]);
    daemon.todo_is("after the first piece", "pending");
    assert!(daemon.todo("in pieces").is_none());
    fs::write(&path, "[{\"content\":\"in pieces\",\"status\":\"pending\"}]").expect("written");
    daemon.todo_is("in pieces", "pending");
}

#[test]
fn a_root_that_is_created_later_is_picked_up() {
    let mut home = Lan::new().home("anna");
    home.set("HUBLESS_SOURCES_CLAUDE_ROOT", home.at("not/there/yet").display());
    let daemon = home.up();
    let present = || daemon.get("/api/v3/overview")["data"]["sources"][0]["present"].as_bool();
    eventually(SOON, "it was looked for", || present().filter(|present| !present));
    let list = home.at(&format!("not/there/yet/todos/{0}-agent-{0}.json", id(1)));
    home.write(&list, r#"[{"content":"late","status":"pending"}]"#);
    daemon.todo_is("late", "pending");
    // Gone and back again, as after a clean-up or a new mount.
    fs::remove_dir_all(home.at("not")).expect("removed");
    eventually(SOON, "it is seen to be gone", || present().filter(|present| !present));
    assert_eq!(daemon.todo("late").expect("nothing is lost")["listed"], true, "a file that is gone says nothing");
    home.write(&list, r#"[{"content":"late","status":"completed"},{"content":"later","status":"pending"}]"#);
    daemon.todo_is("later", "pending");
    daemon.todo_is("late", "completed");
}

#[test]
fn two_hundred_and_sixty_four_files_at_start_in_one_go() {
    let home = Lan::new().home("anna");
    for n in 0..264 {
        let own = format!("only of list {n}");
        let shared = format!("shared by two {}", n / 2);
        home.list(
            &id(n),
            &[(&own, "pending"), (&shared, if n % 2 == 0 { "pending" } else { "completed" }), ("shared by all", "in_progress")],
        );
    }
    let daemon = home.up();
    let all = todos(&daemon, 264 + 132 + 1);
    assert_eq!(daemon.rows("/api/v3/sessions").len(), 264);
    let shared = |content: &str| all.iter().find(|todo| todo["content"] == content).expect("there").clone();
    assert_eq!(shared("shared by two 7")["status"], "completed");
    assert_eq!(shared("shared by all")["origins"].as_array().map(Vec::len), Some(264));
    let lines = home.said();
    let lines: Vec<&str> = lines.lines().filter(|line| line.contains("consolidated ")).collect();
    assert!((1..=8).contains(&lines.len()), "in few turns, not in 264: {lines:?}");
    assert!(lines.iter().any(|line| line.contains("consolidated 397 todos from 264 sessions")), "{lines:?}");
}

#[test]
fn a_session_is_there_from_its_files_name_alone() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    home.write(&home.list_path(&id(1)), "[]");
    home.write(&home.list_path(&id(2)), "torn [");
    home.write(
        &home.claude().join(format!("todos/{}-agent-{}.json", id(3), id(4))),
        r#"[{"content":"of a sub-agent","status":"pending"}]"#,
    );
    home.write(&home.claude().join(format!("todos/{}.json", id(5))), r#"[{"content":"of the older form","status":"pending"}]"#);
    for stray in ["notes.txt", "x y.json", ".hidden.json", "a.sync-conflict-1.json", "-agent-.json", "å-agent-å.json"] {
        home.write(&home.claude().join("todos").join(stray), r#"[{"content":"stray","status":"pending"}]"#);
    }
    fs::create_dir(home.claude().join(format!("todos/{0}-agent-{0}.json", id(6)))).expect("a directory with a file's name");
    std::os::unix::fs::symlink("/etc/passwd", home.list_path(&id(7))).expect("a link that leads out");
    daemon.todo_is("of the older form", "pending");
    daemon.todo_is("of a sub-agent", "pending");
    let sessions = eventually(SOON, "four sessions", || Some(daemon.rows("/api/v3/sessions")).filter(|rows| rows.len() == 4));
    let mut names: Vec<&str> = sessions.iter().map(|session| text(session, "toolSession")).collect();
    names.sort_unstable();
    assert_eq!(names, [id(1), id(2), id(3), id(5)]);
    assert!(sessions.iter().all(|session| session["tool"] == "claude" && session["deviceName"] == "anna"));
    assert!(daemon.todo("stray").is_none());
}

#[test]
fn a_transcripts_working_directory_and_its_remote_give_the_project() {
    let home = Lan::new().home("anna");
    let repo = home.at("work/api-server");
    home.write(&repo.join(".git/HEAD"), "ref: refs/heads/main\n");
    home.write(&repo.join(".git/config"), "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = git@GitHub.com:acme/api-server.git\n");
    let sub = repo.join("src/deep");
    fs::create_dir_all(&sub).expect("made");
    let elsewhere = home.at("elsewhere");
    home.write(&elsewhere.join(".git/HEAD"), "ref: refs/heads/fix\n");
    home.write(&elsewhere.join(".git/config"), "[remote \"origin\"]\nurl = https://user:secret-token@github.com/acme/api-server\n");
    let plain = home.at("plain-folder");
    fs::create_dir_all(&plain).expect("made");
    for (n, cwd) in [&sub, &elsewhere, &plain].into_iter().enumerate() {
        let session = id(u32::try_from(n).expect("small"));
        transcript(&home, &session, cwd);
        let own = format!("only {n}");
        home.list(&session, &[("the same text", "pending"), (&own, "pending")]);
    }
    let daemon = home.up();
    let all = todos(&daemon, 2 + 3);
    let project = |content: &str| all.iter().find(|todo| todo["content"] == content).expect("there")["project"].clone();
    assert_eq!([project("only 0"), project("only 1")], [json!("github.com/acme/api-server"), json!("github.com/acme/api-server")]);
    assert_eq!(project("only 2"), json!(plain.to_string_lossy()));
    let shared: Vec<_> = all.iter().filter(|todo| todo["content"] == "the same text").collect();
    assert_eq!(shared.len(), 2, "one of the repository, one of the folder");
    let session = daemon.rows(&format!("/api/v3/sessions?project={}", "api-server"));
    assert_eq!(session.len(), 2);
    let row = session.iter().find(|row| row["toolSession"] == json!(id(0))).expect("there");
    assert_eq!((&row["cwd"], &row["branch"], &row["title"]), (&json!(sub), &json!("main"), &json!("Fix the retry budget")));
    assert!(!daemon.ask("GET", "/api/v3/sessions", "", "").text().contains("secret-token"), "no credential is part of a key");
    // A transcript that comes after the list moves its items out of `general`.
    home.list(&id(9), &[("begun without a transcript", "in_progress")]);
    assert_eq!(daemon.todo_is("begun without a transcript", "in_progress")["project"], "general");
    transcript(&home, &id(9), &repo);
    home.list(&id(9), &[("begun without a transcript", "in_progress"), ("news", "pending")]);
    daemon.todo_when("begun without a transcript", "in its project", |todo| todo["project"] == "github.com/acme/api-server");
}
