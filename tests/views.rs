//! What a person makes of it all: names for agents, tags and their topics, figures, files that are written on change, and what of
//! the tools' files is not known.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Lan, SOON, eventually, text};

fn beat(daemon: &Daemon<'_>, agent: &str, session: &str) {
    let answer = daemon.post("/api/v3/beats", &json!({"agent": agent, "task": "x", "session": session}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn agents(daemon: &Daemon<'_>) -> Vec<(String, String)> {
    let named = |row: &Value| (text(row, "agent").to_owned(), row["role"].as_str().unwrap_or("-").to_owned());
    daemon.rows("/api/v3/agents").iter().map(named).collect()
}

fn names(home: &Home, said: &str) {
    home.write(&home.root().join("agents.toml"), said);
}

#[test]
fn agents_have_the_names_and_roles_that_their_person_gave_them() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    beat(&daemon, "claude", "one");
    assert_eq!(agents(&daemon), [("claude".to_owned(), "-".to_owned())]);
    daemon.stop();
    names(&home, "[Sam]\naliases = [\"claude\", \"sam-bot\"]\nrole = \"backend\"\n[Leo\n[Kim]\ncolour = 1\n");
    let daemon = home.up();
    let sam = ("Sam".to_owned(), "backend".to_owned());
    assert_eq!(agents(&daemon), std::slice::from_ref(&sam), "what was said before has the name, too");
    beat(&daemon, "SAM-BOT", "one");
    beat(&daemon, "sam", "two");
    assert_eq!(agents(&daemon), [sam]);
    let shown = home.json(&["agents", "show", "claude"]);
    assert_eq!((text(&shown["data"], "agent"), text(&shown["data"], "role")), ("Sam", "backend"), "by the tool's name as well");
    assert_eq!(shown["data"]["sessions"].as_array().map(Vec::len), Some(2));
    let line = home.run(&["agents", "show", "sam"]);
    assert!(line.out.contains("Sam (backend)"), "{}", line.out);
    let page = daemon.ask("GET", "/sync/agents/sam", "", "");
    assert!(page.text().contains("backend"), "the page says what it is there for");
    let doctor = home.run(&["doctor"]);
    let line = |n: usize| format!("agents.toml, line {n}:");
    assert!(doctor.out.contains(&line(4)) && doctor.out.contains(&line(6)), "{}", doctor.out);
    assert!(doctor.out.contains("names 2 agents"), "{}", doctor.out);
    assert!(home.said().contains(&line(4)), "and the start said so: {}", home.said());
}

#[test]
fn tags_make_topics_and_what_was_completed_makes_figures() {
    let home = Lan::new().home("anna");
    home.config("[tags]\nkeywords = [\"auth=oauth\"]\n");
    let daemon = home.up();
    home.list("5c0e1f2a-0000-4000-8000-0000000007a9", &[("Mend OAuth", "completed"), ("Paint the door", "pending")]);
    daemon.todo_is("Mend OAuth", "completed");
    let door = daemon.todo_is("Paint the door", "pending");
    let id = text(&door, "id").to_owned();
    let tagged = home.run(&["todos", "tag", &id, "House", "red  paint"]);
    assert_eq!(tagged.code, 0, "{}", tagged.err);
    home.run(&["todos", "tag", &id, "red paint", "--remove"]);
    let told = daemon.get("/api/topic");
    let names: Vec<&str> = told["topics"].as_array().expect("topics").iter().map(|topic| text(topic, "name")).collect();
    assert_eq!((names, &told["categories"], &told["total_conversations"]), (vec!["auth", "house"], &json!(2), &json!(1)));
    assert_eq!(daemon.get("/api/status")["topics"], json!({"categories": 2, "total_conversations": 1}));
    let house = daemon.get("/api/topic/HOUSE");
    assert_eq!((&house["todo_count"], &house["conversation_count"]), (&json!(1), &json!(1)), "the session has its todos' tags");
    assert_eq!(daemon.ask("GET", "/api/topic/garden", "", "").status, 404);
    assert_eq!(daemon.rows("/api/v3/todos?tag=auth").len(), 1);
    let session = text(&daemon.rows("/api/v3/sessions?tag=house")[0], "id").to_owned();
    let shown = home.run(&["sessions", "show", &session]);
    assert!(shown.out.contains("Paint the door") && shown.out.contains("auth, house"), "{}", shown.out);
    assert!(home.run(&["todos", "show", &id]).out.contains(&session), "the todo points back to the session");
    let stats = home.json(&["todos", "stats"]);
    assert_eq!((&stats["data"]["total"]["count"], &stats["data"]["sessions"][0]["session"]), (&json!(1), &json!(session)));
    let refused = home.run(&["todos", "tag", &id, " "]);
    assert_eq!(refused.code, 2, "{}", refused.err);
}

#[test]
fn files_are_written_on_change_and_a_failure_is_said() {
    let home = Lan::new().home("anna");
    let at = |name: &str| home.at(&format!("{name}.json"));
    let lines = ["todos", "coordination", "conflicts"].map(|name| format!("{name} = \"{}\"\n", at(name).display())).concat();
    home.config(&format!("[files]\n{lines}status = \"{}\"\n", home.at("not/there.json").display()));
    let daemon = home.up();
    daemon.add("paint the door");
    let read = |name: &str| serde_json::from_slice::<Value>(&fs::read(at(name)).unwrap_or_default()).ok();
    eventually(SOON, "the todo in the file", || read("todos").filter(|todos| todos[0]["content"] == "paint the door"));
    eventually(SOON, "its project in the file", || read("coordination").filter(|all| all["projects"][0]["todo_count"] == 1));
    let conflicts = read("conflicts").expect("written");
    assert_eq!((&conflicts["conflicts"], &conflicts["auto_resolved"]), (&json!([]), &json!(0)));
    assert_eq!(fs::metadata(at("todos")).expect("there").permissions().mode() & 0o777, 0o600);
    let before = fs::metadata(at("conflicts")).expect("there").ino();
    let doctor = eventually(SOON, "the failure in doctor", || {
        Some(home.run(&["doctor"])).filter(|ran| ran.out.contains("files.status cannot be written"))
    });
    assert_eq!(doctor.code, 7);
    fs::create_dir(home.at("not")).expect("made");
    daemon.add("mend the roof");
    eventually(SOON, "the file after all", || fs::read(home.at("not/there.json")).ok());
    eventually(SOON, "doctor content", || Some(home.run(&["doctor"])).filter(|ran| !ran.out.contains("files.status")));
    assert_eq!(fs::metadata(at("conflicts")).expect("there").ino(), before, "it says nothing new");
}

#[test]
fn doctor_names_what_a_tool_writes_that_is_not_known() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    let line = |kind: &str| {
        format!("{{\"type\":\"{kind}\",\"uuid\":\"u-{kind}\",\"sessionId\":\"5c\",\"timestamp\":\"2026-03-02T14:02:11.000Z\"}}\n")
    };
    let path = home.claude().join("projects/-w/5c0e1f2a-0000-4000-8000-00000000c1a1.jsonl");
    home.write(&path, line("hologram").repeat(2) + &line("dream\\u001b[2J"));
    let kinds = |ran: &Value| {
        let checks = ran["data"].as_array().cloned().unwrap_or_default();
        checks.into_iter().find(|check| check["check"] == "sources.kinds").map(|check| check["unknownKinds"].clone())
    };
    let doctor = || home.run(&["doctor", "--json"]).out;
    let told = eventually(SOON, "the kinds in doctor", || kinds(&serde_json::from_str(&doctor()).ok()?));
    assert_eq!((text(&told, "tool"), &told["kinds"]["hologram"]), ("claude", &json!(2)));
    let plain = home.run(&["doctor"]).out;
    assert!(plain.contains("hologram (2)") && !plain.contains('\u{1b}'), "{plain}");
    let meant = |line: &&str| line.contains("sources.claude.root") && !line.contains("! claude");
    assert_eq!(plain.lines().find(meant), None, "each tool has its own key");
    assert!(plain.contains("not found here: codex, gemini") && plain.contains("sources.TOOL.root"), "{plain}");
    daemon.stop();
    let again = home.up();
    eventually(SOON, "the same after a restart", || kinds(&serde_json::from_str(&doctor()).ok()?).filter(|kinds| *kinds == told));
    drop(again);
}

#[test]
fn a_key_of_what_is_not_there_yet_is_no_unknown_key() {
    let home = Lan::new().home("anna");
    home.config("[sync]\ninitial_days = 30\n");
    let status = home.run(&["status"]);
    assert!(status.err.contains("belongs to transcripts, which are not copied yet"), "{}", status.err);
    assert!(!status.err.contains("unknown key"), "{}", status.err);
}
