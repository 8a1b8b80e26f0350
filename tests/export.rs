//! The export is a plain automerge document: it opens with the library alone and holds what the daemon shows.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use automerge::{AutoCommit, ObjType, ROOT, ReadDoc};
use serde_json::json;

use crate::support::{Lan, text};

/// The keys of a map at the root.
#[track_caller]
fn map(document: &AutoCommit, name: &str) -> Vec<String> {
    let (value, id) = document.get(ROOT, name).expect("readable").unwrap_or_else(|| panic!("no map {name}"));
    assert!(matches!(value, automerge::Value::Object(ObjType::Map)), "{name} is a map");
    document.keys(&id).collect()
}

#[test]
fn any_automerge_tool_opens_it_and_it_holds_what_is_shown() {
    let home = Lan::new().home("anna");
    let daemon = home.up();
    home.list("44444444-0000-4000-8000-000000000001", &[("of a list", "in_progress")]);
    let listed = daemon.todo_is("of a list", "in_progress");
    let added = daemon.add("of a person");
    daemon.deed(&added, "done");
    let beat = daemon.post("/api/v3/beats", &json!({"agent": "sam", "task": "AGT-280"})).json();
    let file = home.at("out.automerge");
    let told = home.json(&["export", "--format", "automerge", "-o", file.to_str().expect("UTF-8")]);
    let bytes = fs::read(&file).expect("written");
    assert_eq!(told["data"]["bytes"], json!(bytes.len()));
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600, "it holds everything");
    let document = AutoCommit::load(&bytes).expect("automerge opens it");
    let todos = map(&document, "todos");
    assert_eq!(todos.len(), 2, "{todos:?}");
    for todo in [&listed, &added] {
        assert!(todos.iter().any(|key| key == text(todo, "id")), "{todos:?}");
    }
    let sessions = map(&document, "sessions");
    assert_eq!(sessions.len(), 2);
    assert!(sessions.iter().any(|key| key == text(&beat["data"], "sessionId")), "{sessions:?}");
    assert_eq!(map(&document, "heartbeats").len(), 1);
    assert_eq!(document.keys(ROOT).filter(|key| ["todos", "sessions", "heartbeats"].contains(&key.as_str())).count(), 3);
    // Piped, and with no daemon, it is the same document.
    let again = home.command(crate::support::hubless(), &["export", "--format", "automerge"]).output().expect("it runs");
    assert_eq!(again.stdout, bytes, "fixed actor, time and order");
    daemon.kill();
    let disk = home.command(crate::support::hubless(), &["export", "--format", "automerge"]).output().expect("it runs");
    assert_eq!(disk.status.code(), Some(0));
    let disk = AutoCommit::load(&disk.stdout).expect("automerge opens it");
    assert_eq!((map(&disk, "todos"), map(&disk, "sessions")), (todos, sessions));
    assert_eq!(home.run(&["export"]).code, 2, "which form, has to be said");
    let nowhere = home.run(&["export", "--format", "automerge", "-o", "/nowhere/at/all", "--json"]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.problem()["cause"].is_string());
}
