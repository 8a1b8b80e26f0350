//! `cargo bench` prints one table: the numbers that DESIGN §11 wants held, each beside a floor or a peer that was measured in the
//! same run on the same machine. What each row means is in `docs/benchmarks.md`.
//!
//! Words after `--` choose parts: `cargo bench -- daemons ingest large reconnect transcripts`.

mod daemons;
mod floors;
mod home;
mod ingest;
mod measure;
mod reconnect;
mod todoset;
mod transcripts;

use std::fs;
use std::path::Path;
use std::process::Command;

use measure::{Row, ms_since, now, say, show, table};

fn main() {
    let mut args = std::env::args().skip(1);
    if let (Some(floors::CONNECT), Some(socket)) = (args.next().as_deref(), args.next()) {
        return floors::connect(Path::new(&socket));
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    let base = tempfile::tempdir().expect("a directory");
    let start = now();
    show(&machine(base.path()));
    let mut rows: Vec<Row> = Vec::new();
    if wanted("daemons") {
        say("two daemons …");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        rows.extend(runtime.block_on(daemons::rows(base.path())));
    }
    if wanted("ingest") {
        say("todo files …");
        rows.extend(ingest::rows(base.path()));
    }
    if wanted("large") {
        say("very many todo files …");
        rows.extend(ingest::large(base.path()));
    }
    if wanted("reconnect") {
        say("two devices meet …");
        rows.extend(reconnect::rows(base.path()));
    }
    if wanted("transcripts") {
        say("transcripts …");
        rows.extend(transcripts::rows(base.path()));
    }
    show(&table(&rows));
    say(&format!("measured in {:.0} s", ms_since(start) / 1_000.0));
}

/// What it runs on, in one line.
fn machine(base: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = commit.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mounts = read("/proc/mounts");
    let holds = |line: &&str| line.split(' ').nth(1).is_some_and(|at| base.starts_with(at));
    let mount = mounts.lines().filter(holds).max_by_key(|line| line.split(' ').nth(1).map_or(0, str::len));
    let files = mount.and_then(|line| line.split(' ').nth(2)).unwrap_or("?");
    let load: Vec<String> = read("/proc/loadavg").split(' ').take(2).map(str::to_owned).collect();
    let (kernel, load) = (read("/proc/sys/kernel/osrelease"), load.join(" "));
    let system = std::env::consts::OS;
    format!("commit {commit}, {cores} cores, {system} {}, {files}, load before: {load}\n", kernel.trim())
}
