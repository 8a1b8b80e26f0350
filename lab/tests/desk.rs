//! The lab as a person starts it: `lab up 2`, a few words, `quit`.

#![cfg(target_os = "linux")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_lab_is_started_by_hand_does_what_it_is_told_and_leaves_nothing() {
    let lab = Path::new(env!("CARGO_BIN_EXE_lab"));
    let hubless = lab.with_file_name("hubless");
    let why = hubless_lab::missing().or_else(|| (!hubless.exists()).then(|| format!("{} is not built", hubless.display())));
    if let Some(why) = why {
        return eprintln!("SKIPPED a_lab_is_started_by_hand_does_what_it_is_told_and_leaves_nothing: {why}");
    }
    let mut child =
        Command::new(lab).args(["up", "2"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let words = "run 2 --version\ncut 1 2\njoin 1 2\nweather 30 1\ncut 1 7\nwhat\nrun 1 config get device.name\nquit\n";
    child.stdin.take().expect("piped").write_all(words.as_bytes()).expect("typed");
    let ended = child.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
    for said in ["host 1: 10.77.0.1", "host 2: 10.77.0.2", "hubless ", "there is no host 7", "multicast on|off", "host1"] {
        assert!(out.contains(said), "“{said}”: {out}\n{err}");
    }
    let host = out.lines().find_map(|line| line.split_once("ip netns exec ")?.1.split(' ').next()).expect("its namespace is told");
    assert!(!Path::new("/run/netns").join(host).exists(), "{host} is gone");
}
