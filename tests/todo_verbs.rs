//! The verbs of `todos`, typed as people type them, and what they refuse.

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, SOON, eventually, text};

/// Runs a `todos` verb with `--json` and returns `data`.
#[track_caller]
fn todos(home: &Home, args: &[&str]) -> Value {
    home.json(&[&["todos"], args].concat())["data"].clone()
}

/// The rows that a list prints for a pipe: id, status, ….
#[track_caller]
fn lines(home: &Home, args: &[&str]) -> Vec<String> {
    let ran = home.run(&[&["todos"], args].concat());
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    ran.out.lines().map(str::to_owned).collect()
}

#[test]
fn a_todo_is_added_started_done_and_opened_again() {
    let home = Lan::new().home("anna");
    let _daemon = home.up();
    let added = todos(&home, &["add", "Add", "retry", "budget", "--project", "api-server", "-p", "1", "--as", "sam"]);
    assert_eq!(
        (&added["content"], &added["status"], &added["project"], &added["priority"], &added["round"]),
        (&json!("Add retry budget"), &json!("pending"), &json!("api-server"), &json!("1"), &json!(1))
    );
    let id = text(&added, "id");
    assert!(lines(&home, &["ready"])[0].starts_with(id));
    assert_eq!(todos(&home, &["start", id])["status"], "in_progress");
    assert!(lines(&home, &["ready"]).is_empty(), "somebody has begun it");
    let done = todos(&home, &["done", id, "--as", "sam"]);
    assert_eq!(
        (&done["status"], &done["completedBy"]["agent"], &done["completedBy"]["deviceName"]),
        (&json!("completed"), &json!("sam"), &json!("anna"))
    );
    assert!(done["completedAt"].is_string());
    let again = todos(&home, &["reopen", id]);
    assert_eq!((&again["status"], &again["round"], &again["completedAt"]), (&json!("pending"), &json!(2), &json!(null)));
    assert_eq!(todos(&home, &["done", id])["status"], "completed");
    let anew = todos(&home, &["add", "Add retry budget", "--project", "api-server"]);
    assert_eq!(
        (&anew["id"], &anew["status"], &anew["round"]),
        (&json!(id), &json!("pending"), &json!(3)),
        "a finished text begins a new round"
    );
    assert_eq!(todos(&home, &["add", "  Add retry\tbudget ", "--project", "api-server"])["id"], id, "the same text is the same todo");
    assert_eq!(todos(&home, &[]).as_array().map(Vec::len), Some(1));
}

#[test]
fn an_edit_moves_a_todo_and_its_old_id_still_finds_it() {
    let home = Lan::new().home("anna");
    let _daemon = home.up();
    let id = text(&todos(&home, &["add", "Rotate staging key"]), "id").to_owned();
    todos(&home, &["start", &id]);
    let edited = todos(&home, &["edit", &id, "--text", "Rotate staging key and update vault", "--owner", "leo", "-p", "high"]);
    assert_ne!(edited["id"], json!(id));
    assert_eq!(
        (&edited["content"], &edited["owner"], &edited["priority"], &edited["status"]),
        (&json!("Rotate staging key and update vault"), &json!("leo"), &json!("high"), &json!("in_progress"))
    );
    let done = todos(&home, &["done", &id]);
    assert_eq!((&done["id"], &done["status"]), (&edited["id"], &json!("completed")), "the old id leads to where it is now");
    let history = todos(&home, &["history", &id]);
    let fields: Vec<&str> = history.as_array().expect("a list").iter().map(|step| text(step, "field")).collect();
    for field in ["content", "owner", "priority", "status"] {
        assert!(fields.contains(&field), "{field} is in {fields:?}");
    }
    let step = history.as_array().expect("a list").iter().find(|step| step["field"] == "content" && !step["from"].is_null());
    let step = step.expect("the edit is in the history");
    assert_eq!(
        (&step["from"], &step["to"], &step["deviceName"]),
        (&json!("Rotate staging key"), &json!("Rotate staging key and update vault"), &json!("anna"))
    );
    assert_eq!(todos(&home, &["edit", text(&edited, "id"), "--owner", ""])["owner"], Value::Null, "\"\" is nobody");
}

#[test]
fn a_deleted_todo_is_hidden_and_undo_brings_it_back() {
    let home = Lan::new().home("anna");
    let _daemon = home.up();
    let id = text(&todos(&home, &["add", "Write the page"]), "id").to_owned();
    todos(&home, &["start", &id]);
    assert_eq!(todos(&home, &["delete", &id])["deleted"], true);
    assert!(lines(&home, &[]).is_empty() && lines(&home, &["--all"])[0].starts_with(&id));
    let refused = home.run(&["todos", "start", &id, "--json"]);
    assert_eq!((refused.code, refused.problem()["code"].as_str()), (2, Some("bad-request")));
    let back = todos(&home, &["undo", &id]);
    assert_eq!((&back["deleted"], &back["status"]), (&json!(false), &json!("in_progress")));
    assert_eq!(todos(&home, &["done", &id])["status"], "completed");
    let undone = todos(&home, &["undo", &id]);
    assert_eq!((&undone["status"], &undone["completedAt"]), (&json!("in_progress"), &json!(null)), "{undone}");
    assert_eq!(todos(&home, &["undo", &id])["status"], "pending");
    let over = home.run(&["todos", "undo", &id, "--json"]);
    assert_eq!((over.code, over.problem()["code"].as_str()), (1, Some("nothing-to-undo")));
}

#[test]
fn a_conflict_is_listed_resolved_and_the_resolution_undone() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let session = "cccccccc-0000-4000-8000-000000000001";
    home.list(session, &[("Rotate", "pending")]);
    let todo = daemon.todo_is("Rotate", "pending");
    let id = text(&todo, "id");
    todos(&home, &["done", id]);
    home.list(session, &[("Rotate", "in_progress"), ("Read", "pending")]);
    daemon.todo_is("Read", "pending");
    let conflicts = todos(&home, &["conflicts"]);
    assert_eq!(conflicts.as_array().map(Vec::len), Some(1), "{conflicts}");
    let conflict = &conflicts[0];
    assert_eq!(
        (&conflict["todo"], &conflict["field"], &conflict["local"]["value"], &conflict["remote"]["value"]),
        (&json!(id), &json!("status"), &json!("completed"), &json!("in_progress"))
    );
    for key in ["content", "rule", "result", "id"] {
        assert!(conflict[key].is_string(), "{key} in {conflict}");
    }
    assert_eq!(home.run(&["status", "--check"]).code, 7, "a conflict turns the verdict");
    let both = home.run(&["todos", "resolve", id, "--both", "--json"]);
    let problem = both.problem();
    assert_eq!((both.code, &problem["code"]), (2, &json!("bad-request")));
    assert!(text(&problem, "fix").contains("--keep 1"), "the fix can be typed: {problem}");
    let kept = todos(&home, &["resolve", text(conflict, "id"), "--keep", "1"]);
    assert_eq!(
        (&kept["status"], &kept["round"], &kept["conflict"]),
        (&json!("completed"), &json!(1), &json!(false)),
        "what is shown stays"
    );
    assert_eq!((todos(&home, &["conflicts"]), home.run(&["status", "--check"]).code), (json!([]), 0));
    assert_eq!(todos(&home, &["conflicts", "--all"])[0]["resolved"], true);
    let undone = todos(&home, &["undo", id]);
    assert_eq!((&undone["status"], &undone["conflict"]), (&json!("completed"), &json!(true)), "only the settling is taken back");
    assert_eq!(todos(&home, &["conflicts"])[0]["resolved"], false);
    let other = todos(&home, &["resolve", id, "--keep", "2"]);
    assert_eq!(
        (&other["status"], &other["round"], &other["conflict"]),
        (&json!("in_progress"), &json!(2), &json!(false)),
        "the other one counts"
    );
    assert_eq!(todos(&home, &["conflicts"]), json!([]));
}

#[test]
fn a_beginning_that_fits_several_needs_a_person() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let mut ids = Vec::new();
    // 40 ids over an alphabet of 32: two of them begin alike.
    for n in 0..40 {
        ids.push(text(&daemon.add(&format!("todo {n}")), "id").to_owned());
    }
    ids.sort();
    let front = ids.windows(2).map(|pair| &pair[0][..3]).zip(&ids[1..]).find(|(front, next)| next.starts_with(front));
    let (front, _) = front.expect("two of 40 begin alike");
    let ran = home.run(&["todos", "done", front, "--json"]);
    let problem = ran.problem();
    assert_eq!((ran.code, &problem["code"]), (6, &json!("ambiguous-id")));
    assert!(problem["didYouMean"].as_array().is_some_and(|names| names.len() >= 2), "{problem}");
    for verb in ["history", "start", "delete", "undo"] {
        assert_eq!(home.run(&["todos", verb, front]).code, 6, "{verb}");
    }
    let whole = todos(&home, &["done", &ids[0][..20]]);
    assert_eq!(whole["id"], json!(ids[0]), "a beginning that fits one is enough");
    let none = home.run(&["todos", "done", "t-zzzzzzzzzzzzz", "--json"]);
    assert_eq!((none.code, none.problem()["code"].as_str()), (3, Some("todo-not-found")));
}

#[test]
fn a_list_is_read_as_a_pipe_wants_it_and_filtered() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    for (content, project) in [("one", "acme/web"), ("two", "acme/api"), ("three", "acme/web")] {
        todos(&home, &["add", content, "--project", project]);
    }
    let id = text(&daemon.todo("three").expect("there"), "id").to_owned();
    todos(&home, &["done", &id]);
    assert_eq!(lines(&home, &["--project", "web"]).len(), 2);
    assert_eq!(lines(&home, &["list", "--project", "WEB", "--status", "pending"]).len(), 1);
    assert_eq!(lines(&home, &["list", "--status", "pending,completed"]).len(), 3);
    assert_eq!(home.run(&["todos", "list", "--status", "later"]).code, 2);
    let short = home.run(&["todos", "--limit", "1", "--json"]);
    let envelope: Value = serde_json::from_str(&short.out).expect("an envelope");
    assert_eq!((&envelope["total"], &envelope["truncated"], envelope["data"].as_array().map(Vec::len)), (&json!(3), &json!(true), Some(1)));
    let objects = home.run(&["todos", "--jsonl"]).out;
    assert_eq!(objects.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok_and(|row| row["id"].is_string())).count(), 3);
    // Nobody who reads only the first line makes us fail.
    let mut piped = home.command("/bin/sh", &["-c", &format!("{} todos | head -n 1", crate::support::hubless())]);
    let out = piped.output().expect("it runs");
    assert_eq!((String::from_utf8_lossy(&out.stdout).lines().count(), String::from_utf8_lossy(&out.stderr).as_ref()), (1, ""));
}

#[test]
fn rude_texts_come_back_as_they_were_and_obey_no_terminal() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let long = "x".repeat(10_000);
    let texts = [
        "emoji 👩‍👩‍👧‍👦 and é",
        "\u{202e}evil\u{202c} rtl",
        "אבג عربى",
        "escape \u{1b}[2J\u{1b}]0;title\u{7} end",
        "null \u{0} byte",
        "'; DROP TABLE todos; --",
        "{\"json\": [1,2",
        "<img src=x onerror=alert(1)>",
        "../../etc/passwd",
        &long,
    ];
    for content in texts {
        let told = daemon.add(content);
        assert_eq!(told["content"], content);
        let shown = daemon.get(&format!("/api/v3/todos/{}", text(&told, "id")));
        assert_eq!(shown["data"]["content"], content, "byte for byte");
        if !content.contains('\0') {
            let typed = home.run(&["todos", "--json", "add", "--", content]);
            assert_eq!(typed.code, 0, "{content:?}: {}", typed.err);
            let typed: Value = serde_json::from_str(&typed.out).expect("an envelope");
            assert_eq!(typed["data"]["id"], told["id"], "typed, it is the same todo");
        }
    }
    for args in [&["todos"][..], &["todos", "ready"], &["status"], &["todos", "list", "--all"]] {
        let out = home.run(args).out;
        assert!(!out.contains(['\u{1b}', '\u{7}', '\0', '\u{202e}']), "{args:?} prints nothing that a terminal obeys");
    }
    assert_eq!(lines(&home, &[]).len(), texts.len(), "one record a line");
    let page = home.url().expect("a page");
    let page = crate::one_device::browse(&page, "/sync").text();
    assert!(!page.contains("<img src=x"), "text is text on the page");
    for (content, code) in [("", 2), ("   ", 2), ("\t\n", 2)] {
        assert_eq!(home.run(&["todos", "add", content]).code, code, "{content:?}");
    }
    let too_long = daemon.post("/api/v3/todos", &json!({"content": "y".repeat(16 * 1024 + 1)}));
    assert_eq!((too_long.status, too_long.json()["code"].as_str()), (400, Some("bad-request")));
    daemon.stop();
    let daemon = home.up();
    for content in texts {
        assert!(daemon.todo(content).is_some(), "after a restart: {content:?}");
    }
}

#[test]
fn bodies_of_every_wrong_kind_are_refused_by_name() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let post = |target: &str, body: &str| {
        let answer = daemon.ask("POST", target, "", body);
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let bad = (400, "bad-request".to_owned());
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "7",
        "\"x\"",
        "{",
        "{\"content\": 7}",
        "{\"content\": null}",
        "{\"content\": [\"a\"]}",
        "{\"content\": \"\"}",
        "\u{0}",
    ] {
        assert_eq!(post("/api/v3/todos", body), bad, "{body:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(post("/api/v3/todos", &deep), bad, "nested without end");
    assert_eq!(post("/api/v3/todos", &format!("{{\"content\": \"{}\"}}", "z".repeat(2 << 20))).0, 413);
    let surrogate = post("/api/v3/todos", r#"{"content": "\ud800"}"#);
    assert_eq!(surrogate, bad, "half a letter is none");
    assert_eq!(daemon.ask("POST", "/api/v3/todos", "", [0xff, 0xfe, 0x00]).status, 400);
    assert_eq!(post("/api/v3/beats", r#"{"agent": "sam", "pid": -1}"#), bad);
    assert_eq!(post("/api/v3/beats", r#"{"agent": "sam", "state": "dancing"}"#), bad);
    assert_eq!(post("/api/v3/beats", r#"{"agent": "  "}"#), bad);
    assert_eq!(post("/api/v3/beats", r#"{"agent": "sam", "metadata": "text"}"#), bad);
    let todo = daemon.add("still here");
    let id = text(&todo, "id");
    for (deed, body) in [
        ("edit", "{}"),
        ("edit", r#"{"content": " "}"#),
        ("edit", r#"{"content": {}}"#),
        ("resolve", "{}"),
        ("resolve", r#"{"keep": "mine"}"#),
        ("assign", "{}"),
    ] {
        assert_eq!(post(&format!("/api/v3/todos/{id}/{deed}"), body), bad, "{deed} {body}");
    }
    for target in [
        format!("/api/v3/todos/{id}/explode"),
        "/api/v3/todos/%00/done".to_owned(),
        "/api/v3/todos/t-%2e%2e%2f/done".to_owned(),
        "/api/v4/todos".to_owned(),
    ] {
        let (status, code) = post(&target, "{}");
        assert!(status == 404 && code.ends_with("-not-found") || status == 400, "{target}: {status} {code}");
    }
    let all = daemon.rows("/api/v3/todos?all=1");
    assert_eq!(all.len(), 1, "nothing of it was taken");
    eventually(SOON, "it still answers", || daemon.try_get("/healthz"));
}

#[test]
fn the_same_key_is_the_same_action() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let send = |key: &str, target: &str, body: &str| daemon.ask("POST", target, &format!("idempotency-key: {key}\r\n"), body);
    let todo = daemon.add("Deploy");
    let done = format!("/api/v3/todos/{}/done", text(&todo, "id"));
    let reopen = format!("/api/v3/todos/{}/reopen", text(&todo, "id"));
    assert_eq!(send("k1", &done, "{}").status, 200);
    assert_eq!(send("k2", &reopen, "{}").json()["data"]["round"], 2);
    assert_eq!(send("k3", &done, "{}").json()["data"]["status"], "completed");
    // A script that never heard the answer to its reopen asks once more: it was done, and stays what it is now.
    let again = send("k2", &reopen, "{}").json();
    assert_eq!((&again["data"]["round"], &again["data"]["status"]), (&json!(2), &json!("completed")), "{again}");
    let first = send("k4", "/api/v3/todos", r#"{"content": "Once"}"#);
    let second = send("k4", "/api/v3/todos", r#"{"content": "Once"}"#);
    assert_eq!((first.status, first.json()["data"]["id"].clone()), (201, second.json()["data"]["id"].clone()));
    assert_eq!(send(&"k".repeat(300), &done, "{}").status, 400);
}

#[test]
fn a_key_names_one_action_and_another_under_it_is_refused_also_after_a_restart() {
    let home = Lan::new().home("laptop");
    let daemon = home.up();
    let key = "idempotency-key: k-1\r\n";
    let add = |daemon: &Daemon<'_>, content: &str| daemon.ask("POST", "/api/v3/todos", key, json!({"content": content}).to_string());
    let first = add(&daemon, "x");
    assert_eq!(first.status, 201, "{}", first.text());
    let id = text(&first.json()["data"], "id").to_owned();
    daemon.kill();
    let daemon = home.up();
    let again = add(&daemon, "x");
    assert_eq!((again.status, text(&again.json()["data"], "id")), (200, id.as_str()), "{}", again.text());
    for answer in [add(&daemon, "y"), daemon.ask("POST", &format!("/api/v3/todos/{id}/done"), key, "{}")] {
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (422, &json!("key-reused")), "{problem}");
        assert!(text(&problem, "cause").contains(&id[..10]), "{problem}");
    }
    let todos = daemon.rows("/api/v3/todos?all=1");
    assert_eq!((todos.len(), &todos[0]["status"]), (1, &json!("pending")), "nothing was done: {todos:?}");
}
