//! Agents that report: `beat`, the routes of the replaced system, and whoever follows the events.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Daemon, Lan, Running, SOON, eventually, hubless, text};

fn agent(daemon: &Daemon<'_>, name: &str) -> Option<Value> {
    daemon.rows("/api/v3/agents").into_iter().find(|row| row["agent"] == name)
}

#[track_caller]
fn state(daemon: &Daemon<'_>, name: &str, state: &str) -> Value {
    eventually(SOON, &format!("{name} is {state}"), || agent(daemon, name).filter(|row| row["state"] == state))
}

#[test]
fn a_beat_is_said_once_and_ends() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let told = home.json(&["beat", "sam", "AGT-280", "src/retry.rs"]);
    let data = &told["data"];
    assert_eq!((&data["success"], &data["updated"], &data["durable"]), (&json!(true), &json!(false), &json!(true)), "its first");
    assert!(text(data, "sessionId").starts_with("s-"));
    let row = state(&daemon, "sam", "working");
    assert_eq!((&row["task"], &row["deviceName"]), (&json!("AGT-280"), &json!("anna")));
    let line = home.run(&["agents"]).out;
    assert!(line.starts_with("sam: active - AGT-280 ("), "{line:?}");
    // A second one that says nothing new is heard and not written.
    let again = home.json(&["beat", "sam"]);
    assert_eq!((&again["data"]["durable"], &again["data"]["updated"]), (&json!(false), &json!(true)));
    assert_eq!(state(&daemon, "sam", "working")["task"], "AGT-280", "a tick overwrites no work");
    home.json(&["beat", "sam", "--state", "waiting", "--msg", "approve?"]);
    state(&daemon, "sam", "needs input");
    home.json(&["beat", "sam", "", ""]);
    state(&daemon, "sam", "done");
    assert_eq!(home.json(&["agents", "show", "sam"])["data"]["is_active"], false);
    home.json(&["beat", "Sam", "AGT-281"]);
    let rows = daemon.rows("/api/v3/agents");
    assert_eq!(rows.len(), 1, "names differ by more than case: {rows:?}");
    assert_eq!(home.json(&["agents", "show", "SAM"])["data"]["current_task"], "AGT-281");
    assert_eq!(home.run(&["beat"]).code, 2);
    assert_eq!(home.run(&["beat", "sam", "--every", "0s"]).code, 2);
}

#[test]
fn a_loop_ends_with_its_process_and_says_so() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let mut work = Command::new("sleep");
    work.arg("600");
    let mut work = Running::start(work);
    let pid = work.pid().to_string();
    let mut beating = Running::start(home.command(hubless(), &["beat", "sam", "AGT-280", "--every", "1s", "--pid", &pid]));
    let first = text(&state(&daemon, "sam", "working"), "lastBeat").to_owned();
    eventually(SOON, "it beats again", || agent(&daemon, "sam").filter(|row| row["lastBeat"] != json!(first)));
    assert!(beating.ended().is_none(), "it goes on");
    work.signal(rustix::process::Signal::KILL);
    // Not reaped yet: a zombie does no work either.
    let status = eventually(SOON, "the loop ends", || beating.ended());
    assert!(work.ended().is_some());
    assert_eq!(status.code(), Some(0));
    state(&daemon, "sam", "done");
}

#[test]
fn a_loop_outlives_its_daemon_and_ends_by_ctrl_c() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let mut beating = Running::start(home.command(hubless(), &["beat", "max", "AGT-1", "--every", "1s"]));
    state(&daemon, "max", "working");
    daemon.kill();
    let daemon = home.up();
    state(&daemon, "max", "working");
    beating.signal(rustix::process::Signal::INT);
    let status = eventually(SOON, "the loop ends", || beating.ended());
    assert_eq!(status.code(), Some(130));
    state(&daemon, "max", "done");
}

#[test]
fn session_state_of_the_replaced_system_round_trips() {
    let lan = Lan::new();
    let (home, other) = (lan.home("anna"), lan.home("mac-mini"));
    let (daemon, second) = (home.up(), other.up());
    let post = |body: &Value| daemon.post("/v2/sessionState", body);
    let metadata = json!({"hostname": "mbp", "workingDirectory": "/w/é", "nested": {"a": [1, 2.5, null, true], "z": "\u{1b}[2J"}, "gitBranch": "main"});
    let body = json!({"device": "lenas-laptop", "agent": "sam", "status": "active", "currentTask": "AGT-280", "currentFile": "src/x.rs", "metadata": metadata});
    let told = post(&body);
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!((&told.json()["success"], &told.json()["durable"]), (&json!(true), &json!(true)));
    let session = &daemon.get("/v2/agentSessions?agent=sam")["sessions"][0];
    assert_eq!(
        (&session["metadata"], &session["claimedDevice"], &session["device"], &session["status"], &session["isStale"]),
        (&metadata, &json!("lenas-laptop"), &json!("anna"), &json!("active"), &json!(false))
    );
    assert_eq!((&session["currentTask"], &session["currentFile"]), (&json!("AGT-280"), &json!("src/x.rs")));
    assert_eq!(
        daemon.get("/v2/deviceSessions?device=lenas-laptop")["sessions"].as_array().map(Vec::len),
        Some(1),
        "its script finds it by the name it gave"
    );
    assert_eq!(daemon.get("/v2/deviceSessions?device=unknown")["sessions"], json!([]));
    for (target, error) in [("/v2/deviceSessions", "device"), ("/v2/agentSessions", "agent")] {
        let answer = daemon.ask("GET", target, "", "");
        assert!(answer.status == 400 && text(&answer.json(), "error").contains(error));
    }
    let overview = daemon.get("/v2/syncOverview");
    assert_eq!(overview["stats"], json!({"totalAgents": 1, "activeAgents": 1, "staleAgents": 0}));
    for missing in ["device", "agent", "status"] {
        let mut body = body.clone();
        body.as_object_mut().expect("an object").remove(missing);
        let answer = post(&body);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("Missing required fields: device, agent, status")));
    }
    // As soon as it is another member's name, it can be no label of ours.
    home.pair(&other);
    eventually(SOON, "its name is known", || daemon.rows("/api/v3/devices").iter().any(|row| row["name"] == "mac-mini").then_some(()));
    for name in ["mac-mini", "MAC-Mini"] {
        let answer = post(&json!({"device": name, "agent": "sam", "status": "active"}));
        assert_eq!(answer.status, 409, "{name}: {}", answer.text());
        let told = answer.json();
        assert!(told["error"].is_string() && text(&told, "fix").to_lowercase().contains("mac-mini"), "{told}");
    }
    assert_eq!(post(&json!({"device": "anna", "agent": "sam", "status": "idle"})).status, 200, "its own name");
    eventually(SOON, "the other shows the agent", || agent(&second, "sam").filter(|row| row["deviceName"] == "anna"));
    let there = &second.get("/v2/agentSessions?agent=sam")["sessions"][0];
    assert_eq!((&there["metadata"], &there["device"]), (&metadata, &json!("anna")));
}

#[test]
fn an_event_arrives_after_a_write_and_is_replayed_after_its_id() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let mut events = daemon.events("");
    let (_, hello) = events.next("hello");
    assert!(hello["boot"].is_string(), "{hello}");
    let first = daemon.add("first");
    let (id, event) = events.next("todo");
    assert_eq!((&event["id"], &event["content"], &event["status"]), (&first["id"], &json!("first"), &json!("pending")));
    let second = daemon.add("second");
    daemon.deed(&first, "done");
    let (_, event) = events.next("todo");
    assert_eq!(event["id"], second["id"]);
    let (_, event) = events.next("todo");
    assert_eq!((&event["id"], &event["status"]), (&first["id"], &json!("completed")));
    drop(events);
    let mut again = daemon.events(&format!("last-event-id: {id}\r\n"));
    assert_eq!(again.next("todo").1["id"], second["id"], "from where it was");
    let mut lost = daemon.events("last-event-id: another-boot-7\r\n");
    lost.next("resync");
    home.json(&["beat", "sam", "x"]);
    assert_eq!(again.next("agent").1["agent"], "sam");
    home.list("ffffffff-0000-4000-8000-000000000001", &[("of a file", "pending")]);
    assert_eq!(again.next("session").1["tool"], "custom", "sam's own");
    assert_eq!(again.next("session").1["tool"], "claude");
    daemon.signal(rustix::process::Signal::TERM);
    again.next("bye");
}

#[test]
fn rude_agents_are_kept_and_obey_no_terminal() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let names = [
        "a/b/../c",
        "emoji 🦀",
        "\u{202e}nimda",
        "esc\u{1b}[31m",
        "quote\"and'",
        "-dash",
        "null\u{0}",
        "   spaced   out ",
        &"n".repeat(300),
    ];
    for name in names {
        let answer =
            daemon.post("/api/v3/beats", &json!({"agent": name, "task": "t\u{1b}]0;x\u{7}\u{0}", "file": "../../x\ny", "session": name}));
        assert_eq!(answer.status, 200, "{name:?}: {}", answer.text());
    }
    let rows = daemon.rows("/api/v3/agents");
    assert_eq!(rows.len(), names.len(), "{rows:?}");
    assert_eq!(daemon.rows("/api/v3/sessions").len(), names.len());
    for args in [&["agents"][..], &["status"], &["sessions", "list"], &["agents", "show", "a/b/../c"], &["agents", "list", "--limit", "0"]]
    {
        let ran = home.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        assert!(!ran.out.contains(['\u{1b}', '\u{7}', '\0', '\u{202e}']), "{args:?}: {:?}", ran.out);
    }
    assert_eq!(home.json(&["agents", "show", "a/b/../c"])["data"]["is_active"], true);
    let whole: String = "x".repeat(16 * 1024);
    assert_eq!(daemon.post("/api/v3/beats", &json!({"agent": "big", "task": whole})).status, 200);
    assert_eq!(agent(&daemon, "big").expect("there")["task"], json!(whole));
    assert_eq!(daemon.post("/api/v3/beats", &json!({"agent": "big", "metadata": {"k": "v".repeat(9000)}})).status, 400);
    daemon.kill();
    let daemon = home.up();
    assert_eq!(daemon.rows("/api/v3/agents").len(), names.len() + 1);
}

/// Runs a line of the replaced system's document, its address replaced by the socket's.
fn curl(daemon_root: &std::path::Path, target: &str, body: &str) -> Option<(u16, Value)> {
    let socket = daemon_root.join("run/ctl.sock");
    let mut curl = Command::new("curl");
    curl.args(["-s", "-w", "\n%{http_code}", "-X", "POST", "--unix-socket"]).arg(socket);
    curl.arg(format!("http://hubless{target}")).args(["-H", "Content-Type: application/json", "-d", body]);
    let said = String::from_utf8(curl.output().ok()?.stdout).expect("UTF-8");
    let (told, status) = said.rsplit_once('\n').expect("a status");
    Some((status.parse().expect("a status"), serde_json::from_str(told).expect("JSON")))
}

#[test]
fn a_run_is_reported_in_the_words_of_mission_control() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let post = |body: &str| {
        let answer = daemon.ask("POST", "/api/agent-webhook", "", body);
        (answer.status, answer.json())
    };
    let spawn = r#"{"action":"spawn","sessionKey":"abc-123-def","agentName":"codey","task":"Fix the login bug"}"#;
    let (status, first) = curl(&home.root(), "/api/agent-webhook", spawn).unwrap_or_else(|| post(spawn));
    assert_eq!((status, &first["success"]), (201, &json!(true)), "{first}");
    let session = text(&first, "taskId").to_owned();
    assert!(first["message"].is_string());
    let (status, again) = post(spawn);
    assert_eq!((status, &again["taskId"]), (200, &json!(session)), "spawn twice is one session");
    assert_eq!(daemon.rows("/api/v3/sessions").len(), 1);
    let shown = || {
        let told = daemon.get("/api/mission-control/status");
        assert!(text(&told, "timestamp").ends_with('Z'));
        (told["agents"][0].clone(), told["stats"].clone())
    };
    let (agent, stats) = shown();
    assert_eq!((&agent["id"], &agent["status"], &agent["currentTask"]), (&json!("codey"), &json!("active"), &json!("Fix the login bug")));
    assert_eq!((&agent["source"], &stats["active"], &stats["idle"]), (&json!("webhook"), &json!(1), &json!(0)));
    assert!(agent["durationSeconds"].is_u64() && agent["startedAt"].is_string());
    let (status, _) = post(r#"{"action":"progress","sessionKey":"abc-123-def","agentName":"codey","task":"Running the tests"}"#);
    assert_eq!((status, &shown().0["currentTask"]), (200, &json!("Running the tests")));
    let row = daemon.get(&format!("/api/v3/sessions/{session}"));
    assert_eq!((&row["data"]["title"], &row["data"]["state"]), (&json!("Fix the login bug"), &json!("working")));
    // As its document has it: without agentName and task.
    let complete = r#"{"action":"complete","sessionKey":"abc-123-def","result":"Fixed, with a test"}"#;
    let (status, told) = post(complete);
    assert_eq!((status, &told["success"]), (200, &json!(true)), "{told}");
    let (agent, stats) = shown();
    assert_eq!((&agent["status"], &agent["currentTask"], &stats["active"]), (&json!("idle"), &Value::Null, &json!(0)));
    let record = agent["sessions"][0].clone();
    assert_eq!(
        (&record["session_key"], &record["status"], &record["result"]),
        (&json!("abc-123-def"), &json!("completed"), &json!("Fixed, with a test"))
    );
    assert_eq!(post(complete).0, 200, "said twice");
    let (status, told) = post(r#"{"action":"error","sessionKey":"abc-123-def","error":"no"}"#);
    assert_eq!((status, &told["code"]), (409, &json!("already-ended")), "what could not be shown is no success");
    // What was never announced is not lost.
    let (status, told) = post(r#"{"action":"error","sessionKey":"late","agentName":"max","error":"no access"}"#);
    assert_eq!((status, told["warnings"].as_array().map(Vec::len)), (200, Some(1)), "{told}");
    let row = daemon.get(&format!("/api/v3/sessions/{}", text(&told, "taskId")));
    assert_eq!(
        (&row["data"]["state"], &row["data"]["outcome"], &row["data"]["result"]),
        (&json!("ended"), &json!("failed"), &json!("no access"))
    );
    assert_eq!(daemon.get("/api/mission-control/status")["stats"]["error"], json!(1));
    daemon.kill();
    let daemon = home.up();
    let rows = daemon.rows("/api/v3/sessions");
    let row = rows.iter().find(|row| row["id"] == json!(session)).expect("it was on disk");
    assert_eq!((&row["state"], &row["result"], &row["agent"]), (&json!("ended"), &json!("Fixed, with a test"), &json!("codey")));
    let answer = daemon.ask("POST", "/api/agent-webhook", "", spawn);
    assert_eq!((answer.status, agent_state(&daemon)), (200, json!("working")), "it goes on under its key");
}

fn agent_state(daemon: &Daemon<'_>) -> Value {
    agent(daemon, "codey").expect("there")["state"].clone()
}

#[test]
fn writes_of_the_replaced_systems_are_for_the_socket_alone() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let address = home.url().expect("an address");
    let address = address.trim_start_matches("http://");
    for path in ["/api/agent-webhook", "/api/todos/sync", "/api/v1/sync/sessions", "/v2/sessionState"] {
        let stream = std::net::TcpStream::connect(address).expect("an open door");
        let refused = crate::support::exchange(stream, "localhost", "POST", path, "", b"[]").expect("an answer");
        assert_eq!(refused.status, 405, "{path}");
        assert!(text(&refused.json(), "fix").contains("curl --unix-socket"), "{path}");
    }
    for path in [
        "/api/agent-webhook",
        "/api/mission-control/status",
        "/api/status",
        "/api/project",
        "/api/session",
        "/api/topic",
        "/api/v3/projects",
    ] {
        let stream = std::net::TcpStream::connect(address).expect("an open door");
        let read = crate::support::exchange(stream, "localhost", "GET", path, "", b"").expect("an answer");
        assert_eq!(read.status, 200, "{path}: {}", read.text());
        assert_eq!(daemon.ask("GET", path, "", "").status, 200, "{path}");
    }
    for (method, path) in [("POST", "/api/orchestrate"), ("POST", "/api/session")] {
        assert_eq!(daemon.ask(method, path, "", "{}").status, 501, "{path}");
    }
    assert_eq!(daemon.ask("POST", "/api/v1/todos/sync", "", "[]").status, 404, "an unknown route is no success");
}

#[test]
fn a_list_of_todos_is_kept_and_never_takes_back_what_is_done() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let post = |body: Value| daemon.post("/api/todos/sync", &body);
    let first = post(json!([
        {"content": "Run tests", "status": "completed", "activeForm": "Running tests"},
        {"content": "Write the migration", "status": "pending", "activeForm": "Writing the migration"},
    ]));
    assert_eq!(first.status, 200, "{}", first.text());
    let told = first.json();
    assert_eq!(
        (&told["success"], &told["added"], &told["conflicts"], &told["totalTodos"]),
        (&json!(true), &json!(2), &json!(0), &json!(2))
    );
    for row in told["results"].as_array().expect("rows") {
        let shown = daemon.get(&format!("/api/v3/todos/{}", text(row, "id")));
        assert_eq!((&shown["data"]["content"], &shown["data"]["status"]), (&row["content"], &row["status"]));
    }
    let again = post(json!([{"content": "Run tests", "status": "pending"}, {"content": "New", "status": "in_progress"}])).json();
    assert_eq!((&again["added"], &again["updated"], &again["conflicts"]), (&json!(1), &json!(1), &json!(1)), "{again}");
    let conflict = &again["results"][0]["conflict"];
    assert_eq!((&conflict["local_status"], &conflict["remote_status"]), (&json!("completed"), &json!("pending")));
    assert_eq!(daemon.todo("Run tests").expect("there")["status"], "completed");
    let left = daemon.todo("Write the migration").expect("there");
    assert_eq!((&left["listed"], &left["status"]), (&json!(true), &json!("pending")), "nobody took it off a list");
    let torn = post(json!([{"content": "Good", "status": "pending"}, {"status": "pending"}, 7]));
    assert_eq!((torn.status, &torn.json()["success"], &torn.json()["refused"]), (207, &json!(false), &json!(2)));
    assert!(daemon.todo("Good").is_some());
    // A session's list is the whole of it.
    post(json!({"sessionId": "s1", "todos": [{"content": "Mine", "status": "pending"}, {"content": "Mine too", "status": "pending"}]}));
    post(json!({"sessionId": "s1", "todos": [{"content": "Mine", "status": "completed"}]}));
    assert_eq!(daemon.todo("Mine").expect("there")["status"], "completed");
    assert_eq!(daemon.todo("Mine too").expect("kept")["listed"], false);
    let status = daemon.get("/api/status");
    assert_eq!((&status["service"], &status["todos"]["total"], &status["todos"]["completed"]), (&json!("sync"), &json!(6), &json!(2)));
    assert_eq!((&status["projects"]["total"], &status["sessions"]["total"]), (&json!(1), &json!(1)));
    let general = daemon.get("/api/project/general");
    assert_eq!((&general["project_name"], &general["todo_count"], &general["session_count"]), (&json!("general"), &json!(6), &json!(1)));
    daemon.kill();
    let daemon = home.up();
    assert_eq!(daemon.get("/api/status")["todos"]["total"], json!(6));
}

#[test]
fn records_of_sessions_are_on_disk_before_the_answer() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let records = json!({"sessions": [
        {"type": "session", "version": 3, "id": "0198-a", "timestamp": "2026-02-01T10:00:00Z", "cwd": home.at("work")},
        {"id": "0198-b", "tool": "claude", "title": "Retry budget", "branch": "main", "startedAt": 1_770_000_000_000_i64},
    ]});
    let told = daemon.post("/api/v1/sync/sessions", &records);
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!((&told.json()["received"], &told.json()["new"]), (&json!(2), &json!(2)));
    let again = daemon.post("/api/v1/sync/sessions", &records).json();
    assert_eq!((&again["received"], &again["new"]), (&json!(2), &json!(0)), "said twice");
    let refused = daemon.post("/api/v1/sync/sessions", &json!([{"id": "c"}, {"id": "d", "entries": [{}]}]));
    assert_eq!(refused.status, 501, "a transcript has no place yet");
    daemon.kill();
    let daemon = home.up();
    let rows = daemon.rows("/api/v3/sessions");
    assert_eq!(rows.len(), 2, "nothing of what was refused: {rows:?}");
    let pi = rows.iter().find(|row| row["toolSession"] == "0198-a").expect("kept");
    assert_eq!((&pi["tool"], &pi["startedAt"]), (&json!("pi"), &json!("2026-02-01T10:00:00.000Z")));
    assert_eq!(pi["cwd"], json!(home.at("work")));
    let hub = daemon.get("/api/session");
    let claude = hub["sessions"].as_array().expect("rows").iter().find(|row| row["toolSession"] == "0198-b").expect("kept").clone();
    assert_eq!((&claude["aiPlatform"], &claude["title"], &claude["machineId"]), (&json!("claude"), &json!("Retry budget"), &json!("anna")));
}

/// A text of control characters takes six times its length where it is kept: what would not fit is refused, and never acknowledged.
#[test]
fn what_is_too_long_to_be_kept_is_refused_and_never_acknowledged() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let (long, large) = ("\u{1}".repeat(16_000), "x".repeat(16_000));
    for (target, body) in [
        ("/api/v3/todos", json!({"content": format!("C{long}")})),
        ("/api/v3/beats", json!({"agent": "sam", "task": long})),
        ("/api/v3/beats", json!({"agent": "sam", "task": large, "file": large, "note": large, "session": large})),
        ("/api/v1/sync/sessions", json!([{"id": "x", "title": long}])),
        ("/api/v1/sync/sessions", json!([{"id": "x", "title": large, "cwd": large, "branch": large, "agent": large}])),
    ] {
        let answer = daemon.post(target, &body);
        assert!(
            answer.status == 400 || answer.status == 413,
            "{target}: {} {}",
            answer.status,
            answer.text().chars().take(200).collect::<String>()
        );
    }
    // Three long texts are a report; and a list of a tool that holds what is too long costs that and nothing else.
    assert_eq!(daemon.post("/api/v3/beats", &json!({"agent": "max", "task": large, "file": large, "note": "n"})).status, 200);
    home.list("11111111-0000-4000-8000-000000000001", &[(&format!("Z{long}"), "pending"), ("good", "pending")]);
    daemon.todo_is("good", "pending");
    let said = daemon.get("/api/v3/overview");
    assert_eq!(said["data"]["problems"], json!([]), "{}", said["data"]["problems"]);
    let count = daemon.rows("/api/v3/todos?limit=0").len();
    daemon.stop();
    let daemon = home.up();
    assert_eq!(daemon.rows("/api/v3/todos?limit=0").len(), count, "what was shown is kept");
    assert!(agent(&daemon, "max").is_some() && agent(&daemon, "sam").is_none());
}

/// A part of a project's key is enough where it fits one, and a session from elsewhere is in the project that its remote names.
#[test]
fn a_project_is_the_same_by_whatever_it_is_named() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let records = json!({"sessions": [
        {"id": "far", "cwd": "/Users/lena/somewhere/api-server", "gitRemote": "git@example.org:lena/api-server.git"},
        {"id": "lost", "cwd": "/Users/lena/somewhere/else"},
        {"id": "here", "cwd": home.claude().display().to_string()},
    ]});
    assert_eq!(daemon.post("/api/v1/sync/sessions", &records).status, 200);
    let session = |id: &str| daemon.rows("/api/v3/sessions").into_iter().find(|row| row["toolSession"] == id).expect("a session");
    assert_eq!(session("far")["project"], "example.org/lena/api-server");
    eventually(SOON, "both directories were looked for on this machine", || session("here")["project"].as_str().map(drop));
    assert_eq!((&session("lost")["project"], &session("lost")["cwd"]), (&json!(null), &json!("/Users/lena/somewhere/else")));
    let added = home.json(&["todos", "add", "Write the migration", "--project", "api-server"]);
    assert_eq!(added["data"]["project"], "example.org/lena/api-server");
    home.json(&["todos", "add", "Other", "--project", "example.org/acme/api-server"]);
    let several = home.run(&["todos", "add", "Which?", "--project", "api-server"]);
    assert!(several.code == 6 && several.err.contains("example.org/acme/api-server  or  example.org/lena/api-server"), "{}", several.err);
    assert_eq!(daemon.rows("/api/v3/todos").len(), 2);
}
