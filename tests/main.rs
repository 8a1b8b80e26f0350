//! All tests of the whole program, in one binary: real daemons, real files, real sockets.
//!
//! Every test lives in homes of its own (`support::Home`): its own directories, environment, ports and mDNS port, so that tests run side
//! by side and never meet a daemon that somebody uses. Each waits for a condition with a limit and ends only what it began.

mod agents;
mod browser;
mod care;
mod corpus;
mod crash;
mod damage;
mod export;
mod hooks;
#[cfg(target_os = "linux")]
mod lab;
mod live;
mod logs;
mod members;
mod one_device;
mod page;
mod pairing;
mod pictures;
mod printed;
mod reading;
mod replaced;
mod reports;
mod rude;
mod security;
mod service;
mod sources;
mod support;
mod syncing;
mod todo_verbs;
mod tour;
mod two_daemons;
mod views;

/// A file that nobody names is a test that never runs.
#[test]
fn every_file_in_tests_is_run() {
    let (main, manifest) = (include_str!("main.rs"), include_str!("../Cargo.toml"));
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let names = std::fs::read_dir(&dir).expect("tests/ can be listed").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<String> = names.map(|name| name.into_string().expect("a name in UTF-8")).collect();
    let files = names.iter().filter_map(|name| name.strip_suffix(".rs"));
    let forgotten: Vec<&str> = files
        .filter(|stem| !main.lines().any(|line| line == format!("mod {stem};")) && !manifest.contains(&format!("\"tests/{stem}.rs\"")))
        .collect();
    assert!(forgotten.is_empty(), "in tests/, but no part of any test binary: {forgotten:?}");
    assert!(names.len() > 5, "the right folder was looked into");
}
