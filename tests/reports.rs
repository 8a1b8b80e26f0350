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
    let ticket = home.json(&["pair", "--ticket"]);
    other.json(&["pair", text(&ticket["data"], "ticket")]);
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
