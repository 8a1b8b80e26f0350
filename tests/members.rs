//! Who is in a fleet and who is not any more, between real daemons: removed, renamed, lost, of one name, let in again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, Ran, SOON, eventually, hubless, text};

fn device(daemon: &Daemon<'_>, name: &str) -> Option<Value> {
    daemon.rows("/api/v3/devices?all=1").into_iter().find(|device| device["name"] == name)
}

fn members(daemon: &Daemon<'_>) -> usize {
    daemon.rows("/api/v3/devices").iter().filter(|row| row["member"] == true).count()
}

/// How many secrets of its fleet a home keeps: postcard of the fleet's id and the list of them.
fn secrets(home: &Home) -> Vec<[u8; 32]> {
    let bytes = std::fs::read(home.data().join("keys/fleet")).expect("a fleet");
    let n = usize::from(bytes[32]);
    bytes[33..33 + n * 32].chunks_exact(32).map(|secret| secret.try_into().expect("32 bytes")).collect()
}

#[test]
fn who_is_removed_is_told_gets_nothing_new_and_comes_back_as_a_new_device_only() {
    let lan = Lan::new();
    let (anna, bert, carl) = (lan.home("anna"), lan.home("bert"), lan.home("carl"));
    let (a, b, c) = (anna.up(), bert.up(), carl.up());
    anna.pair(&bert);
    anna.pair(&carl);
    a.add("shared");
    for daemon in [&b, &c] {
        daemon.todo_is("shared", "pending");
    }
    let asked = anna.run(&["devices", "revoke", "bert"]);
    assert!(asked.code == 6 && asked.err.contains("--yes") && members(&a) == 3, "nobody to ask is a no: {asked:?}");
    let own = anna.run(&["devices", "revoke", "anna", "--yes"]);
    assert!(own.code == 2 && own.err.contains("hubless leave"), "{own:?}");
    let removed = anna.run(&["devices", "revoke", "bert", "--yes"]);
    assert!(removed.code == 0 && removed.out.contains("it keeps what it has"), "{removed:?}");
    eventually(SOON, "the other member hears of it", || (members(&c) == 2).then_some(()));
    eventually(SOON, "the removed one is told", || bert.run(&["status"]).out.contains("was removed from its fleet").then_some(()));
    let shown = b.rows("/api/v3/devices");
    let away = shown.iter().filter(|row| row["name"] != "bert").all(|row| row["reachable"] == false);
    assert!(away && shown.len() == 3, "and says of nobody that it is in reach: {shown:?}");
    // The others have a secret more, and the removed one has not.
    eventually(SOON, "the new secret is with the other member", || (secrets(&anna) == secrets(&carl)).then_some(()));
    assert_eq!((secrets(&anna).len(), secrets(&bert).len()), (2, 1));
    a.add("after it was removed");
    c.todo_is("after it was removed", "pending");
    assert!(b.todo("after it was removed").is_none());
    assert_eq!(b.todo_is("shared", "pending")["status"], "pending", "it keeps what it had");
    // The same key is never let in again, and its person is told what is.
    bert.json(&["leave"]);
    let invited = anna.json(&["pair"]);
    let at = invited["data"]["addresses"].as_array().and_then(|all| all.last()?.as_str()).expect("an address").to_owned();
    let again = bert.run(&["pair", text(&invited["data"], "code"), "--addr", &at, "--json"]);
    let problem = again.problem();
    assert!(text(&problem, "detail").contains("was removed") && text(&problem, "fix").contains("hubless rekey"), "{problem}");
    let running = bert.run(&["rekey", "--yes"]);
    assert!(running.code == 9 && running.err.contains("hubless down"), "not under a running daemon: {running:?}");
    b.stop();
    let fresh = bert.json(&["rekey", "--yes"]);
    assert_ne!(fresh["data"]["was"], fresh["data"]["device"]["shortId"]);
    let b = bert.up();
    assert_eq!(b.todo_is("shared", "pending")["status"], "pending");
    anna.pair(&bert);
    b.todo_is("after it was removed", "pending");
    eventually(SOON, "all are members again", || (members(&a) == 3 && members(&c) == 3).then_some(()));
}

#[test]
fn the_last_other_device_is_lost_and_the_one_that_is_left_begins_again() {
    let lan = Lan::new();
    let (anna, bert, carl) = (lan.home("anna"), lan.home("bert"), lan.home("carl"));
    let (a, b, c) = (anna.up(), bert.up(), carl.up());
    anna.pair(&bert);
    b.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280"}));
    b.add("of the lost one");
    a.todo_is("of the lost one", "pending");
    eventually(SOON, "its agent is known", || (!a.rows("/api/v3/agents").is_empty()).then_some(()));
    b.kill();
    anna.json(&["devices", "revoke", "bert", "--forget-data", "--yes"]);
    assert_eq!(members(&a), 1);
    assert!(a.rows("/api/v3/agents").is_empty() && a.rows("/api/v3/sessions").is_empty(), "what it did is shown no more");
    assert_eq!(a.todo_is("of the lost one", "pending")["status"], "pending", "its todos stay");
    anna.pair(&carl);
    c.todo_is("of the lost one", "pending");
    // Documents come one by one, that of the fleet among them.
    eventually(SOON, "nor on a device that comes later", || {
        let level = device(&c, "anna").is_some_and(|anna| anna["link"]["level"] == true);
        (level && c.rows("/api/v3/agents").is_empty()).then_some(())
    });
    a.stop();
    let a = anna.up();
    assert_eq!((members(&a), a.rows("/api/v3/agents").len()), (2, 0), "nor after a restart");
    // It is alone again, and may join a fleet like any other.
    anna.json(&["devices", "revoke", "carl", "--yes"]);
    let dora = lan.home("dora");
    let _d = dora.up();
    dora.pair(&anna);
    assert_eq!(members(&a), 2);
}

#[test]
fn two_devices_of_one_name_stay_apart_and_a_renamed_one_keeps_its_history() {
    let lan = Lan::new();
    let (one, two) = (lan.home("macbook"), lan.home("MacBook"));
    let (a, b) = (one.up(), two.up());
    one.pair(&two);
    for (daemon, agent) in [(&a, "sam"), (&b, "leo")] {
        daemon.post("/api/v3/beats", &json!({"agent": agent, "task": "x"}));
    }
    let id = |daemon: &Daemon<'_>| {
        let rows = daemon.rows("/api/v3/devices");
        text(rows.iter().find(|row| row["thisDevice"] == true).expect("itself"), "shortId").to_owned()
    };
    let (first, second) = (id(&a), id(&b));
    let called = |agent: &str, name: &str| {
        eventually(SOON, &format!("{agent} is shown at {name}"), || {
            a.rows("/api/v3/agents").iter().any(|row| row["agent"] == agent && row["deviceName"] == name).then_some(())
        });
    };
    called("sam", &format!("macbook ({first})"));
    called("leo", &format!("MacBook ({second})"));
    let several = one.run(&["devices", "ping", "macbook", "--json"]);
    assert_eq!((several.code, several.problem()["code"].as_str()), (6, Some("ambiguous-id")));
    let of_leo = || a.rows("/api/v3/sessions").into_iter().find(|row| row["agent"] == "leo");
    // Presence comes before documents.
    let session = eventually(SOON, "its session is written", of_leo)["id"].clone();
    one.json(&["devices", "rename", &second, "attic"]);
    called("leo", "attic");
    called("sam", "macbook");
    eventually(SOON, "it calls itself so", || device(&b, "attic").filter(|row| row["thisDevice"] == true).map(drop));
    let after = of_leo().expect("its session");
    assert_eq!((&after["id"], &after["deviceName"]), (&session, &json!("attic")), "the session is the same");
    b.stop();
    let b = two.up();
    assert!(device(&b, "attic").is_some(), "whatever its own settings say");
    let pong = eventually(SOON, "it answers to its new name", || Some(one.run(&["devices", "ping", "attic"])).filter(|ran| ran.code == 0));
    assert!(pong.out.starts_with("pong from attic "), "{pong:?}");
    let blank = one.run(&["devices", "rename", "attic", " ", "--json"]);
    assert_eq!((blank.code, blank.problem()["code"].as_str()), (2, Some("bad-request")));
}

#[test]
fn its_name_is_asked_for_in_a_terminal() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, _b) = (anna.up(), bert.up());
    anna.pair(&bert);
    // `script` gives the command a terminal; what it types is what a person would.
    let typed = |answer: &str| {
        let line = format!("echo {answer} | script -qec '{} devices revoke bert' /dev/null", hubless());
        let args = ["-c", line.as_str()];
        Ran::of(anna.command("sh", &args), &args)
    };
    let no = typed("brt");
    assert!(no.out.contains("Type the device's name") && no.out.contains("nothing was changed"), "{no:?}");
    assert_eq!(members(&a), 2);
    let yes = typed("bert");
    assert!(yes.out.contains("keeps all that it has") && yes.out.contains("✓ bert is out of the fleet"), "{yes:?}");
    assert_eq!(members(&a), 1);
}

#[test]
fn who_says_good_bye_is_out_of_reach_at_once_wherever_that_is_shown() {
    let lan = Lan::new();
    let (anna, bert) = (lan.home("anna"), lan.home("bert"));
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    let reached = || device(&a, "bert").is_some_and(|bert| bert["reachable"] == true);
    eventually(SOON, "bert is in reach", || reached().then_some(()));
    let page = || a.ask("GET", "/sync", "", "").text();
    assert!(page().contains("2 devices, 2 reachable"), "{}", page());
    b.stop();
    // Far less than the silence after which a device counts as out of reach.
    eventually(Duration::from_secs(5), "its good-bye is heard", || (!reached()).then_some(()));
    let status = anna.run(&["status"]).out;
    assert!(status.contains("bert: 0/0 active, not reachable"), "{status}");
    let shown = a.get("/api/v3/overview")["data"]["devices"].clone();
    assert!(shown.as_array().expect("a list").iter().all(|row| row["name"] != "bert" || row["reachable"] == false), "{shown}");
    assert!(page().contains("2 devices, 1 reachable"));
    // Who is killed says nothing: it is in reach until it was silent for long.
    let b = bert.up();
    eventually(SOON, "bert is back", || reached().then_some(()));
    b.kill();
    eventually(SOON, "the link is gone", || device(&a, "bert").is_some_and(|bert| bert["link"].is_null()).then_some(()));
    assert!(reached());
}
