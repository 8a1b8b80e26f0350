//! What the replaced systems' scripts send that is wrong, late or twice: nothing is claimed, nothing is lost, nothing is doubled.

use serde_json::{Value, json};

use crate::support::{Daemon, Lan, text};

const WRITES: [&str; 4] = ["/v2/sessionState", "/api/agent-webhook", "/api/todos/sync", "/api/v1/sync/sessions"];

fn webhook(daemon: &Daemon<'_>, body: &Value) -> (u16, Value) {
    let answer = daemon.post("/api/agent-webhook", body);
    (answer.status, answer.json())
}

/// What is kept, without its times.
fn kept(daemon: &Daemon<'_>) -> [usize; 3] {
    ["/api/v3/sessions?limit=0", "/api/v3/todos?limit=0&all=1", "/api/v3/agents?limit=0"].map(|target| daemon.rows(target).len())
}

#[test]
fn what_is_no_report_is_refused_with_a_reason_and_keeps_nothing() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let large = format!("{{\"action\": \"spawn\", \"sessionKey\": \"{}\"}}", "x".repeat(2 * 1024 * 1024));
    for path in WRITES {
        for (body, status) in
            [("", 400), ("not json", 400), ("{\"a\":", 400), ("7", 400), ("null", 400), ("\"text\"", 400), (large.as_str(), 413)]
        {
            let answer = daemon.ask("POST", path, "", body);
            let shown = &body[..body.len().min(20)];
            assert_eq!(answer.status, status, "{path} {shown}: {}", answer.text());
            assert!(!text(&answer.json(), "error").is_empty(), "{path} {shown}");
        }
        let answer = daemon.ask("POST", path, "", [0xff, 0xfe, b'{']);
        assert_eq!(answer.status, 400, "{path}: no UTF-8");
    }
    for (path, body) in [
        ("/v2/sessionState", json!({"device": 1, "agent": "sam", "status": "active"})),
        ("/v2/sessionState", json!({"device": "anna", "agent": "sam", "status": "asleep"})),
        ("/api/agent-webhook", json!({"action": "dance", "sessionKey": "k", "agentName": "sam", "task": "t"})),
        ("/api/agent-webhook", json!({"action": ["spawn"], "sessionKey": "k", "agentName": "sam", "task": "t"})),
        ("/api/agent-webhook", json!({"action": "spawn", "sessionKey": {}, "agentName": "sam", "task": "t"})),
        ("/api/agent-webhook", json!({"action": "spawn", "sessionKey": "k", "agentName": "sam", "task": 7})),
        ("/api/agent-webhook", json!({"action": "progress"})),
        ("/api/todos/sync", json!({"todos": "one"})),
        ("/api/todos/sync", json!({"todos": [{"content": "x", "status": "asleep"}], "sessionId": "s"})),
        ("/api/v1/sync/sessions", json!({"sessions": {"id": "a"}})),
        ("/api/v1/sync/sessions", json!([{"id": ["a"]}])),
        ("/api/v1/sync/sessions", json!([{"id": "a"}, {"tool": "pi"}])),
    ] {
        let answer = daemon.post(path, &body);
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        assert!(!text(&answer.json(), "error").is_empty(), "{path} {body}");
    }
    assert_eq!(kept(&daemon), [0, 0, 0], "nothing of a refused report is kept");
    assert_eq!(webhook(&daemon, &json!({"action": "spawn", "sessionKey": "k", "agentName": "sam", "task": "t"})).0, 201, "it still hears");
}

#[test]
fn a_run_is_one_however_often_and_whenever_it_is_said() {
    let home = Lan::new().home("anna");
    let mut daemon = home.up();
    let spawn = json!({"action": "spawn", "sessionKey": "k-1", "agentName": "codey", "task": "Fix it"});
    let complete = json!({"action": "complete", "sessionKey": "k-1", "result": "done so"});
    let agent = |daemon: &Daemon<'_>| daemon.get("/api/mission-control/status")["agents"][0].clone();
    let id = webhook(&daemon, &spawn).1["taskId"].clone();
    for round in 1..=2 {
        // Cut off right after each answer: what was answered is on disk.
        daemon.kill();
        daemon = home.up();
        let (status, told) = webhook(&daemon, &spawn);
        assert_eq!((status, &told["taskId"]), (200, &id), "round {round}: {told}");
        assert_eq!((&agent(&daemon)["status"], &agent(&daemon)["currentTask"]), (&json!("active"), &json!("Fix it")), "round {round}");
        let told = webhook(&daemon, &complete);
        assert_eq!((told.0, &told.1["taskId"]), (200, &id), "round {round}: {}", told.1);
        assert_eq!(agent(&daemon)["status"], "idle", "round {round}: a run that was spawned again ends again");
        daemon.kill();
        daemon = home.up();
        assert_eq!(webhook(&daemon, &complete).0, 200, "round {round}: the same end is no news");
        assert_eq!(webhook(&daemon, &complete).0, 200, "round {round}");
        let shown = agent(&daemon);
        assert_eq!((&shown["status"], shown["sessions"].as_array().map(Vec::len)), (&json!("idle"), Some(1)), "round {round}: {shown}");
        assert_eq!((&shown["sessions"][0]["status"], &shown["sessions"][0]["result"]), (&json!("completed"), &json!("done so")));
    }
    let failed = json!({"action": "error", "sessionKey": "k-1", "error": "gave up"});
    assert_eq!(webhook(&daemon, &failed).0, 409, "it ended otherwise");
    assert_eq!(webhook(&daemon, &spawn).0, 200);
    assert_eq!(webhook(&daemon, &failed).0, 200, "but a run that goes on may still fail");
    let shown = agent(&daemon);
    assert_eq!((&shown["status"], &shown["sessions"][0]["status"]), (&json!("error"), &json!("error")), "{shown}");
    assert_eq!(shown["sessions"][0]["result"], "gave up");
    assert_eq!(kept(&daemon), [1, 0, 1], "one session, one agent");
}

#[test]
fn lists_and_records_said_again_after_a_cut_change_nothing() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let todos = json!([{"content": "One", "status": "pending", "activeForm": "Doing one"}, {"content": "Two", "status": "completed"}]);
    let records = json!([{"id": "r-1", "title": "Retry"}, {"id": "r-2", "cwd": home.at("work")}]);
    let first = (daemon.post("/api/todos/sync", &todos).json(), daemon.post("/api/v1/sync/sessions", &records).json());
    assert_eq!((&first.0["added"], &first.1["new"]), (&json!(2), &json!(2)));
    daemon.kill();
    let daemon = home.up();
    let before = kept(&daemon);
    assert_eq!(before, [2, 2, 0]);
    let again = (daemon.post("/api/todos/sync", &todos).json(), daemon.post("/api/v1/sync/sessions", &records).json());
    assert_eq!((&again.0["added"], &again.0["updated"], &again.0["known"]), (&json!(0), &json!(0), &json!(2)), "{}", again.0);
    let ids = |told: &Value| told["results"].as_array().expect("rows").iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&again.0), ids(&first.0));
    assert_eq!((&again.1["new"], &again.1["sessions"]), (&json!(0), &first.1["sessions"]));
    assert_eq!(kept(&daemon), before);
}

#[test]
fn the_status_of_the_spokes_says_what_is_known() {
    let lan = Lan::new();
    let (home, other) = (lan.home("anna"), lan.home("bert"));
    let (daemon, second) = (home.up(), other.up());
    let told = daemon.get("/api/v1/sync/status");
    let alone = json!({"status": "success", "data": {"spokes": [], "lastSync": {}, "pendingSessions": 0, "errors": []}});
    assert_eq!(told, alone);
    second.post("/api/v1/sync/sessions", &json!([{"id": "r-1"}]));
    home.pair(&other);
    let spoke = |told: &Value| told["data"]["spokes"][0].clone();
    let told = crate::support::eventually(crate::support::SOON, "its session came", || {
        Some(daemon.get("/api/v1/sync/status")).filter(|told| spoke(told)["sessionsCount"] == json!(1))
    });
    let shown = spoke(&told);
    assert_eq!(
        (&shown["name"], &shown["method"], &shown["enabled"], &shown["connected"]),
        (&json!("bert"), &json!("p2p"), &json!(true), &json!(true))
    );
    assert!(told["data"]["lastSync"]["bert"].is_string() && shown["lastSeen"].is_string(), "{told}");
}

#[test]
fn the_log_has_the_facts_of_each_report_and_none_of_its_content() {
    let mut home = Lan::new().home("anna");
    home.set("HUBLESS_LOG_LEVEL", "debug");
    let daemon = home.up();
    let secret = ["zq-task-secret", "zq-note-secret", "zq-result-secret", "zq-error-secret", "zq-content-secret", "zq-title-secret"];
    let line = |what: &str| {
        let find = || home.said().lines().find(|line| line.contains(what)).map(str::to_owned);
        crate::support::eventually(crate::support::SOON, what, find)
    };
    line("found 0 active sessions");
    for body in [
        json!({"action": "spawn", "sessionKey": "a", "agentName": "codey", "task": secret[0]}),
        json!({"action": "progress", "sessionKey": "a", "task": secret[0], "note": secret[1]}),
        json!({"action": "complete", "sessionKey": "a", "result": secret[2]}),
        json!({"action": "spawn", "sessionKey": "b", "agentName": "max", "task": secret[0]}),
        json!({"action": "error", "sessionKey": "b", "error": secret[3]}),
        json!({"action": "spawn", "sessionKey": "c", "agentName": "leo", "task": secret[0]}),
    ] {
        assert!(webhook(&daemon, &body).0 < 300, "{body}");
    }
    daemon.post("/api/todos/sync", &json!([{"content": secret[4], "status": "pending"}, {"content": secret[4], "status": "asleep"}]));
    daemon.post("/api/v1/sync/sessions", &json!([{"id": "d", "title": secret[5]}]));
    daemon.post("/api/agent-webhook", &json!({"action": secret[0], "sessionKey": secret[1]}));
    for (deed, agent) in [("spawn", "codey"), ("progress", "codey"), ("completed", "codey"), ("error", "max")] {
        let said = line(&format!("webhook {deed} "));
        assert!(
            said.contains(&format!("agent=\"{agent}\"")) && said.contains("session=\"s-") && said.contains("device=\"anna\""),
            "{said}"
        );
    }
    daemon.kill();
    let daemon = home.up();
    line("found 1 active sessions");
    drop(daemon);
    let all = home.said();
    for word in secret {
        assert!(!all.contains(word), "{word} is in the log");
    }
}
