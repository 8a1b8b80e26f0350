//! Row 9: lines of transcripts become sums, on one core. The largest real files that stand beside the project are read again
//! and again, or, where none are, lines of the same shapes.

use std::fs;
use std::path::{Path, PathBuf};

use hubless::ingest::files::Line;
use hubless::ingest::run::{Run, Said};
use hubless::ingest::{claude, tail};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::measure::{Row, Samples, Unit, each_on_cpu};

/// Bytes that one sample reads; less than what a fast parser needs for the clock to say much.
const BYTES: usize = 48 * 1024 * 1024;
/// Files of one tool that are read, the largest first.
const FILES: usize = 3;
const SAMPLES: usize = 7;
/// What issue 3 wants of one core, MB/s.
const TARGET: f64 = 150.0;
const FLOOR: &str = "split lines, serde_json IgnoredAny";

/// One row a tool: where real lines are below the corpus, who reads them, and how they look where there are none.
pub(crate) fn rows() -> Vec<Row> {
    vec![row("Claude Code", "claude/transcripts", claude::line, claude_lines)]
}

fn row(tool: &str, below: &str, line: Line, made: impl FnOnce() -> Vec<u8>) -> Row {
    let real = largest(&corpus().join(below));
    let (lines, what) = if real.is_empty() { (made(), "made lines") } else { (real, "the largest real files") };
    let mut bytes = Vec::with_capacity(BYTES + lines.len());
    while bytes.len() < BYTES {
        bytes.extend_from_slice(&lines);
    }
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    // In turn, so that what else the machine does falls on both.
    for _ in 0..SAMPLES {
        floor.0.push(rate(&bytes, skim));
        ours.0.push(rate(&bytes, |bytes| sum(bytes, line)));
    }
    Row::new(format!("transcripts of {tool}, {what}, time on a core"), Unit::MbPerS, ours).target(TARGET, None).floor(FLOOR, floor.p50())
}

/// MB/s of reading all of it once, by the time on a core.
fn rate(bytes: &[u8], read: impl Fn(&[u8]) -> u64) -> f64 {
    let (_, on_cpu) = each_on_cpu(1, |_| assert!(read(bytes) > 0, "something was read"));
    let ms = on_cpu.p50();
    bytes.len() as f64 / 1_000_000.0 / (ms / 1_000.0)
}

fn skim(bytes: &[u8]) -> u64 {
    let (lines, _) = tail::whole_lines(bytes);
    lines.iter().filter(|line| serde_json::from_slice::<IgnoredAny>(line).is_ok()).count() as u64
}

fn sum(bytes: &[u8], line: Line) -> u64 {
    let (mut run, mut said): (Run, Vec<Said>) = Default::default();
    for whole in tail::whole_lines(bytes).0 {
        line(&mut run, whole, &mut said);
        said.clear();
    }
    run.counts.records
}

/// Where the real files are, if they are there; `HUBLESS_CORPUS` says another place.
fn corpus() -> PathBuf {
    let named = std::env::var_os("HUBLESS_CORPUS").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"))
}

fn largest(dir: &Path) -> Vec<u8> {
    let mut files: Vec<Vec<u8>> = files_below(dir).into_iter().map(|path| fs::read(path).expect("a readable file")).collect();
    files.sort_by_key(|bytes| std::cmp::Reverse(bytes.len()));
    let end_line = |mut bytes: Vec<u8>| {
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        bytes
    };
    files.into_iter().take(FILES).flat_map(end_line).collect()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    let below = paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect()
}

/// A prompt, then calls of tools with their answers: the sizes are the mean ones of real files.
fn claude_lines() -> Vec<u8> {
    let mut lines = Vec::new();
    for n in 0..50 {
        let record = |kind: &str, message: serde_json::Value, result: serde_json::Value| {
            json!({
                "parentUuid": format!("7f000000-0000-4000-8000-{n:012}"), "isSidechain": false, "userType": "external", "cwd": "/srv/demo",
                "sessionId": "5c0e1f2a-0000-4000-8000-000000000001", "version": "2.1.60", "gitBranch": "main", "type": kind,
                "message": message, "uuid": format!("{kind}-{n:012}"), "timestamp": "2026-07-01T10:00:03.120Z",
                "requestId": format!("req_{n}"), "toolUseResult": result,
            })
        };
        let output = "    let \"line\" = of(a, file);\n".repeat(80);
        let block = json!([{ "type": "tool_use", "id": format!("toolu_{n}"), "name": "Edit", "input": { "file_path": "/srv/demo/a.rs", "new_string": &output[..900] } }]);
        let usage = json!({ "input_tokens": 5, "cache_read_input_tokens": 16_000, "output_tokens": 300 });
        let said = json!({ "id": format!("msg_{n}"), "role": "assistant", "model": "claude-demo", "content": block, "stop_reason": null, "usage": usage });
        let answer =
            json!({ "role": "user", "content": [{ "tool_use_id": format!("toolu_{n}"), "type": "tool_result", "content": output }] });
        let result = json!({ "filePath": "/srv/demo/a.rs", "originalFile": output });
        for line in [record("assistant", said, json!(null)), record("user", answer, result)] {
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
    }
    lines
}
