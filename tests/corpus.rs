//! Todo files that people's agents really wrote: every valid item of every file is there, counted without our parser.
//!
//! The files lie beside the project where it was built and are no part of it; elsewhere there is nothing to check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use crate::support::{Lan, SOON, eventually, measured, skipped};

/// Where the files are, if they are there; `HUBLESS_CORPUS` says another place.
fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("HUBLESS_CORPUS").map(PathBuf::from);
    let dir = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"));
    Some(dir.join("claude/todos")).filter(|dir| dir.is_dir())
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("it can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_some_and(|kind| kind == "json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// NFC, trimmed, white space collapsed: when two texts are the same todo (DESIGN §4).
fn normalised(text: &str) -> String {
    text.nfc().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The items of one file that say what and how far: (text, status).
fn items(bytes: &[u8]) -> Vec<(String, String)> {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let list = value.as_array().or_else(|| value["todos"].as_array()).cloned().unwrap_or_default();
    let known = ["pending", "in_progress", "completed", "cancelled"];
    let item = |item: &Value| Some((normalised(item["content"].as_str()?), item["status"].as_str()?.to_owned()));
    list.iter().filter_map(item).filter(|(text, status)| !text.is_empty() && known.contains(&status.as_str())).collect()
}

#[test]
fn every_valid_item_of_real_files_is_there() {
    let Some(corpus) = corpus() else {
        return skipped("every_valid_item_of_real_files_is_there", "no corpus of real files beside the project");
    };
    let home = Lan::new().home("anna");
    let (mut expected, mut sessions, mut count) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new(), 0);
    for path in files_below(&corpus) {
        // Earlier states of one file are called `*.revN.json`; they are no files of the tool.
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.contains(".rev") {
            continue;
        }
        let bytes = fs::read(&path).expect("it can be read");
        home.write(&home.claude().join("todos").join(&name), &bytes);
        let stem = name.trim_end_matches(".json");
        sessions.insert(stem.split_once("-agent-").map_or(stem, |(session, _)| session).to_owned());
        for (text, status) in items(&bytes) {
            expected.entry(text).or_default().insert(status);
            count += 1;
        }
    }
    assert!(count > 0, "the corpus holds items");
    let daemon = home.up();
    let shown = eventually(SOON, "every text is shown", || {
        let todos = daemon.rows("/api/v3/todos?all=1");
        let shown: BTreeMap<String, Value> =
            todos.iter().map(|todo| (normalised(todo["content"].as_str().unwrap_or_default()), todo.clone())).collect();
        expected.keys().all(|text| shown.contains_key(text)).then_some(shown)
    });
    assert_eq!(shown.len(), expected.len(), "and nothing else");
    for (text, statuses) in &expected {
        let told: BTreeSet<String> = shown[text]["origins"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|o| o["status"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert!(told.is_subset(statuses) && !told.is_empty(), "{told:?} of {statuses:?}");
        if statuses.contains("completed") && statuses.len() == 1 {
            assert_eq!(shown[text]["status"], "completed");
        }
    }
    let rows = daemon.rows("/api/v3/sessions");
    let named: BTreeSet<String> = rows.iter().map(|row| row["toolSession"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(named, sessions);
    assert!(!home.said().contains("panicked"), "{}", home.said());
    measured(&format!("corpus: {} sessions, {count} items, {} todos", sessions.len(), expected.len()));
    daemon.stop();
    let daemon = home.up();
    assert_eq!(daemon.rows("/api/v3/todos?all=1").len(), expected.len(), "a restart changes no count");
}
