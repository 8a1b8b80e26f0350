//! Two devices of one person, as two real processes that find each other on loopback.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, SOON, Since, eventually, measured, text};

/// How long a change may take to the other device on a machine that is busy with everything else; the precise numbers are a bench.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);

/// `host` invites and `guest` joins, by the command line.
/// Waits until `daemon` has a link to `name` on which both have the same.
#[track_caller]
fn linked(daemon: &Daemon<'_>, name: &str) -> Value {
    eventually(SOON, &format!("a level link to {name}"), || {
        daemon.device(name).filter(|device| device["link"]["level"] == true && device["reachable"] == true)
    })
}

/// Two paired daemons that are linked.
macro_rules! two {
    ($lan:ident, $anna:ident, $bert:ident) => {
        let $lan = Lan::new();
        let ($anna, $bert) = ($lan.home("anna"), $lan.home("bert"));
    };
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// The bytes of `data` of `todos conflicts --json`, not parsed, so that not even the order of keys may differ.
#[track_caller]
fn conflicts(home: &Home) -> String {
    let ran = home.run(&["todos", "conflicts", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (_, rest) = ran.out.split_once("\"data\":").expect("an envelope");
    let (data, _) = rest.rsplit_once("],\"device\":\"").expect("an envelope in its order");
    format!("{data}]")
}

/// Waits until a todo that was added later than all else is there: so is all that was told before it.
#[track_caller]
fn told_up_to(from: &Daemon<'_>, to: &Daemon<'_>, mark: &str) {
    from.add(mark);
    eventually(CHANGE_WITHIN, mark, || to.todo(mark));
}

#[test]
fn an_excluded_project_stays_on_its_device() {
    let lan = Lan::new();
    let (mut anna, bert) = (lan.home("anna"), lan.home("bert"));
    anna.set("HUBLESS_SYNC_EXCLUDE", "secret,agent:mole");
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    linked(&a, "bert");
    for (n, project, todo) in [(1, "secret", "hide the key"), (2, "open", "show the door")] {
        let session = format!("7a6f1d6e-0000-4000-8000-00000000000{n}");
        let cwd = anna.at(project);
        anna.write(&cwd.join(".git/HEAD"), "ref: refs/heads/main\n");
        anna.write(&cwd.join(".git/config"), format!("[remote \"origin\"]\n\turl = git@example.com:me/{project}.git\n"));
        let line = json!({"type": "user", "sessionId": session, "cwd": cwd, "timestamp": "2026-11-01T10:00:00.000Z", "uuid": format!("u{n}"),
            "message": {"role": "user", "content": format!("Prompt of {project}")}});
        anna.write(&anna.claude().join(format!("projects/-{project}/{session}.jsonl")), format!("{line}\n"));
        anna.list(&session, &[(todo, "pending")]);
        eventually(SOON, todo, || a.todo(todo));
    }
    a.post("/api/v3/beats", &json!({"agent": "mole", "task": "digging", "state": "working"}));
    told_up_to(&a, &b, "the last of all");
    eventually(CHANGE_WITHIN, "the open project", || b.todo("show the door"));
    let stays = |daemon: &Daemon<'_>| {
        let rows = daemon.rows("/api/v3/sessions");
        rows.iter()
            .map(|row| (text(row, "tool").to_owned(), row["project"].to_string(), row["staysHere"] == true))
            .collect::<std::collections::BTreeSet<_>>()
    };
    let of = |tool: &str, project: Option<&str>, stays: bool| (tool.to_owned(), json!(project).to_string(), stays);
    let open = of("claude", Some("example.com/me/open"), false);
    assert_eq!(stays(&b), [open.clone()].into());
    assert_eq!(stays(&a), [open, of("claude", Some("example.com/me/secret"), true), of("custom", None, true)].into());
    // Not a word of it lies on the other's disk, in whatever file.
    b.stop();
    let mut dirs = vec![bert.data()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                dirs.push(entry);
            } else if entry.is_file() {
                let bytes = fs::read(&entry).expect("read");
                for word in ["hide the key", "me/secret", "Prompt of secret", "mole", "digging"] {
                    assert!(!bytes.windows(word.len()).any(|at| at == word.as_bytes()), "{word} in {}", entry.display());
                }
            }
        }
    }
    let exported = bert.run(&["todos", "list", "--all", "--json"]).out;
    assert!(exported.contains("show the door") && !exported.contains("hide the key"), "{exported}");
    let ran = anna.run(&["doctor"]);
    assert!(ran.out.contains("2 sessions stay on this device"), "{}", ran.out);
}

#[test]
fn a_replaced_todo_file_is_in_the_others_answers() {
    two!(lan, anna, bert);
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    linked(&a, "bert");
    let mut took = Vec::new();
    for n in 0..60 {
        let (text, other) = (format!("change {n}"), format!("the other of {n}"));
        let begun = Since::now();
        anna.list("7a6f1d6e-0000-4000-8000-000000000001", &[(&text, "in_progress"), (&other, "pending")]);
        eventually(CHANGE_WITHIN, &text, || b.todo(&text));
        took.push(begun.elapsed());
    }
    took.sort();
    let ms = |at: usize| took[at.min(took.len() - 1)].as_secs_f64() * 1000.0;
    measured(&format!("todo file replaced on A → answered by B, debug build: p50 {:.0} ms, p99 {:.0} ms", ms(30), ms(59)));
    let last = b.todo("change 59").expect("it is there");
    assert_eq!((&last["status"], &last["origins"][0]["deviceName"]), (&json!("in_progress"), &json!("anna")));
    assert_eq!(b.todo("change 0").expect("nothing is lost")["listed"], false, "its list no longer names it");
    assert_eq!(b.rows("/api/v3/sessions").len(), 1);
}

#[test]
fn completed_stays_completed_whatever_the_other_lists() {
    let session = "0b0b0b0b-0000-4000-8000-000000000001";
    two!(lan, anna, bert);
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    bert.list(session, &[("Rotate the key", "pending"), ("Another", "pending")]);
    let shared = a.todo_is("Rotate the key", "pending");
    b.stop();
    let done = a.deed(&shared, "done");
    assert_eq!(done["status"], "completed");
    a.stop();
    // Cut off: it holds the older copy and knows of nothing.
    let b = bert.up();
    assert_eq!(b.todo_is("Rotate the key", "pending")["id"], shared["id"]);
    let a = anna.up();
    let there = b.todo_is("Rotate the key", "completed");
    assert_eq!((&there["completedBy"]["deviceName"], &there["round"]), (&json!("anna"), &json!(1)));
    assert_eq!(a.todo_is("Rotate the key", "completed")["round"], 1);
    for (n, status) in ["pending", "in_progress", "pending"].into_iter().enumerate() {
        // The second item says when the list has been read on both.
        let mark = format!("read {n}");
        bert.list(session, &[("Rotate the key", status), (&mark, "pending")]);
        for daemon in [&a, &b] {
            daemon.todo_is(&mark, "pending");
            let todo = daemon.todo("Rotate the key").expect("it is there");
            assert_eq!(
                (&todo["status"], &todo["round"], &todo["id"]),
                (&json!("completed"), &json!(1), &shared["id"]),
                "listed as {status}"
            );
        }
    }
}

#[test]
fn an_override_is_a_conflict_with_the_same_bytes_on_both() {
    let session = "0b0b0b0b-0000-4000-8000-000000000002";
    two!(lan, anna, bert);
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    bert.list(session, &[("Rotate the key", "pending")]);
    let shared = a.todo_is("Rotate the key", "pending");
    b.stop();
    a.deed(&shared, "done");
    a.stop();
    let b = bert.up();
    bert.list(session, &[("Rotate the key", "in_progress"), ("After", "pending")]);
    b.todo_is("Rotate the key", "in_progress");
    let a = anna.up();
    b.todo_when("Rotate the key", "completed, with a conflict", |todo| todo["status"] == "completed" && todo["conflict"] == true);
    a.todo_when("Rotate the key", "completed, with a conflict", |todo| todo["status"] == "completed" && todo["conflict"] == true);
    let (here, there) = (conflicts(&anna), conflicts(&bert));
    assert_eq!(here, there);
    let rows: Vec<Value> = serde_json::from_str(&here).expect("a list");
    assert_eq!(rows.len(), 1, "{here}");
    let sides = |side: &str| (rows[0][side]["deviceName"].clone(), rows[0][side]["value"].clone());
    assert_eq!(sides("local"), (json!("anna"), json!("completed")), "the winner stands first on every device");
    assert_eq!(sides("remote"), (json!("bert"), json!("in_progress")));
    assert_eq!(rows[0]["todo"], shared["id"]);
    // Settled on one, it is settled on both, and stays so after a restart.
    let settled = bert.json(&["todos", "resolve", text(&rows[0], "todo"), "--keep", "1"]);
    assert_eq!(settled["data"]["status"], "completed");
    eventually(SOON, "the other hears that it is settled", || (conflicts(&anna) == "[]").then_some(()));
    assert_eq!(conflicts(&bert), "[]");
    let all = |daemon: &Daemon<'_>| daemon.get("/api/v3/conflicts")["data"].clone();
    assert_eq!((all(&a).to_string(), &all(&a)[0]["resolved"]), (all(&b).to_string(), &json!(true)));
    a.stop();
    let a = anna.up();
    assert_eq!(all(&a), all(&b));
}

#[test]
fn whoever_got_201_sees_the_todo_in_the_next_get_and_the_other_gets_it() {
    two!(lan, anna, bert);
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let content = format!("todo {n}");
        let told = writer.add(&content);
        let next = writer.get(&format!("/api/v3/todos/{}", text(&told, "id")));
        assert_eq!(next["data"], told);
        assert!(writer.rows("/api/v3/todos").contains(&told));
        let other = reader.todo_is(&content, "pending");
        assert_eq!((&other["id"], &other["createdAt"]), (&told["id"], &told["createdAt"]));
    }
}

#[test]
fn a_restart_of_either_keeps_everything_and_they_find_each_other_again() {
    two!(lan, anna, bert);
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    anna.list("0c0c0c0c-0000-4000-8000-000000000001", &[("from a file", "in_progress")]);
    a.add("from a person");
    let beat = b.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280"}));
    assert_eq!(beat.status, 200, "{}", beat.text());
    let shown = |daemon: &Daemon<'_>| {
        let sort = |mut rows: Vec<Value>| {
            rows.sort_by_key(|row| row["id"].to_string());
            rows
        };
        (
            sort(daemon.rows("/api/v3/todos?all=1")),
            sort(daemon.rows("/api/v3/sessions")).iter().map(|s| s["id"].clone()).collect::<Vec<_>>(),
        )
    };
    let same = |a: &Daemon<'_>, b: &Daemon<'_>, todos: usize, sessions: usize| {
        eventually(SOON, "both show the same", || {
            let (here, there) = (shown(a), shown(b));
            (here == there && (here.0.len(), here.1.len()) == (todos, sessions)).then_some(here)
        })
    };
    let before = same(&a, &b, 2, 2);
    b.stop();
    let b = bert.up();
    linked(&a, "bert");
    linked(&b, "anna");
    assert_eq!(same(&a, &b, 2, 2), before);
    a.kill();
    let a = anna.up();
    linked(&b, "anna");
    assert_eq!(same(&a, &b, 2, 2), before);
    a.add("after all of that");
    b.todo_is("after all of that", "pending");
    let agent = b.rows("/api/v3/agents");
    assert_eq!((&agent[0]["agent"], &agent[0]["task"]), (&json!("sam"), &json!("AGT-280")));
}

#[test]
fn static_peers_connect_without_mdns() {
    two!(lan, anna, bert);
    let (mut anna, mut bert) = (anna, bert);
    for home in [&mut anna, &mut bert] {
        home.set("HUBLESS_NETWORK_MDNS", false);
    }
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    a.stop();
    b.stop();
    // New ports on both sides, so that no address of the past helps.
    let port = free_port();
    anna.set("HUBLESS_NETWORK_PORT", port);
    bert.set("HUBLESS_NETWORK_PORT", free_port());
    bert.set("HUBLESS_NETWORK_PEERS", format!("127.0.0.1:{port}"));
    let (a, b) = (anna.up(), bert.up());
    let link = linked(&b, "anna");
    assert!(text(&link, "address").ends_with(&format!(":{port}")), "{link}");
    a.add("told over a static address");
    b.todo_is("told over a static address", "pending");
}

#[test]
fn one_leaves_keeps_what_it_has_and_pairs_again() {
    two!(lan, anna, bert);
    let (a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    a.add("shared");
    b.todo_is("shared", "pending");
    let members = |daemon: &Daemon<'_>| {
        let rows = daemon.rows("/api/v3/devices");
        rows.iter().filter(|row| row["member"] == true).count()
    };
    assert_eq!((members(&a), members(&b)), (2, 2));
    assert_eq!(bert.json(&["leave"])["data"]["state"], "alone");
    assert_eq!(members(&b), 1, "alone again");
    assert_eq!(b.todo_is("shared", "pending")["status"], "pending", "it keeps what it has");
    b.add("only here");
    eventually(SOON, "the link ends", || a.device("bert").is_none_or(|bert| bert["link"].is_null()).then_some(()));
    assert!(a.todo("only here").is_none(), "nothing is told to a fleet that was left");
    anna.pair(&bert);
    linked(&a, "bert");
    a.todo_is("only here", "pending");
    a.add("again");
    b.todo_is("again", "pending");
    b.stop();
    let b = bert.up();
    linked(&b, "anna");
    assert_eq!((members(&a), members(&b)), (2, 2));
}

#[test]
fn a_ticket_serves_once() {
    two!(lan, anna, bert);
    let carl = lan.home("carl");
    let (_a, _b, _c) = (anna.up(), bert.up(), carl.up());
    let invited = anna.json(&["pair", "--ticket"]);
    let ticket = text(&invited["data"], "ticket");
    // Piped, the ticket stands alone on the line.
    let next = anna.run(&["pair", "--ticket"]).out;
    assert_eq!((next.lines().count(), next.starts_with("hubless1-")), (1, true), "{next}");
    let old = bert.run(&["pair", ticket, "--json"]);
    assert_eq!((old.code, old.problem()["code"].as_str()), (1, Some("ticket-spent")), "a newer ticket ends the older: {}", old.err);
    bert.json(&["pair", next.trim()]);
    let spent = carl.run(&["pair", next.trim(), "--json"]);
    let problem = spent.problem();
    assert_eq!((spent.code, &problem["code"]), (1, &json!("ticket-spent")), "{problem}");
    assert!(text(&problem, "fix").contains("hubless pair --ticket"), "{problem}");
    for (nonsense, code) in [("hubless1-zzzz", "bad-ticket"), ("not a ticket", "bad-ticket")] {
        let ran = carl.run(&["pair", nonsense, "--json"]);
        assert_eq!((ran.code, ran.problem()["code"].as_str()), (2, Some(code)), "{nonsense}");
    }
}

#[test]
fn who_is_in_a_fleet_already_is_turned_away_with_the_fix() {
    two!(lan, anna, bert);
    let (carl, dora) = (lan.home("carl"), lan.home("dora"));
    let (_a, _b, _c, _d) = (anna.up(), bert.up(), carl.up(), dora.up());
    anna.pair(&bert);
    carl.pair(&dora);
    let ticket = anna.json(&["pair", "--ticket"]);
    let ticket = text(&ticket["data"], "ticket");
    let ran = dora.run(&["pair", ticket, "--json"]);
    let problem = ran.problem();
    assert_eq!((ran.code, &problem["code"]), (5, &json!("already-paired")), "{problem}");
    assert!(text(&problem, "fix").contains("hubless leave"), "{problem}");
    dora.json(&["leave"]);
    let own = dora.json(&["pair", "--ticket"]);
    let own = dora.run(&["pair", text(&own["data"], "ticket"), "--json"]);
    assert_eq!((own.code, own.problem()["code"].as_str()), (2, Some("bad-ticket")), "its own ticket");
    anna.pair(&dora);
    // With a member it succeeds, and changes nothing.
    bert.pair(&dora);
    let devices = anna.json(&["devices"]);
    assert_eq!(devices["data"].as_array().map(Vec::len), Some(3), "{devices}");
}

#[test]
fn a_third_device_joins_by_any_member_and_hears_of_all() {
    two!(lan, anna, bert);
    let carl = lan.home("carl");
    let (a, b, c) = (anna.up(), bert.up(), carl.up());
    anna.pair(&bert);
    a.add("before carl came");
    b.todo_is("before carl came", "pending");
    bert.pair(&carl);
    c.todo_is("before carl came", "pending");
    // Nobody told anna but bert, and that is enough.
    linked(&a, "carl");
    c.add("of carl");
    a.todo_is("of carl", "pending");
    b.stop();
    a.add("while bert is away");
    c.todo_is("while bert is away", "pending");
    c.stop();
    let b = bert.up();
    b.todo_is("while bert is away", "pending");
    let names = |daemon: &Daemon<'_>| {
        daemon.rows("/api/v3/devices").iter().map(|row| text(row, "name").to_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&a), names(&b));
    assert_eq!(names(&a).len(), 3);
}

#[test]
fn a_stranger_in_reach_is_shown_with_the_command() {
    two!(lan, anna, bert);
    let (a, _b) = (anna.up(), bert.up());
    eventually(SOON, "the stranger is seen", || {
        let shown = a.get("/api/v3/overview");
        (shown["data"]["strangers"].as_array().is_some_and(|strangers| strangers.len() == 1)).then_some(())
    });
    let status = anna.run(&["status"]).out;
    assert!(status.contains("not paired") && status.contains("hubless pair here"), "{status}");
    anna.pair(&bert);
    linked(&a, "bert");
    let begun = Since::now();
    for home in [&anna, &bert] {
        eventually(SOON, "nobody is a stranger any more", || {
            let status = home.run(&["status"]).out;
            (!status.contains("not paired") && status.contains("bert") && status.contains("anna")).then_some(())
        });
    }
    measured(&format!("paired → no stranger any more: {:?}", begun.elapsed()));
}

#[test]
fn a_ping_reaches_a_device_and_says_when_it_cannot() {
    two!(lan, anna, bert);
    let (_a, b) = (anna.up(), bert.up());
    anna.pair(&bert);
    linked(&b, "anna");
    let pong = anna.json(&["devices", "ping", "bert"]);
    assert_eq!(pong["data"]["deviceName"], "bert");
    assert!(pong["data"]["rttMs"].as_u64().is_some_and(|ms| ms < 5_000) && pong["data"]["level"] == true, "{pong}");
    assert_eq!(anna.run(&["devices", "ping", "bret"]).code, 3);
    b.stop();
    let ran = anna.run(&["devices", "ping", "bert", "--json"]);
    assert_eq!((ran.code, ran.problem()["code"].as_str()), (1, Some("unreachable")));
    let status = anna.run(&["status", "bert"]);
    assert_eq!(status.code, 0, "{}", status.err);
    assert!(fs::metadata(anna.root()).is_ok());
}
