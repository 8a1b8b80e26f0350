//! Row 9: lines of transcripts become sums, on one core; and files of them become sessions, through a `Replica` and a `Store`
//! in turns as the daemon takes them. The lines are made here, in the shapes and sizes of real ones; where real files stand
//! beside the project, the largest of Claude's are read, too.

use std::fs;
use std::path::{Path, PathBuf};

use hubless::ingest::files::{self, File, Line};
use hubless::ingest::run::{Run, Said};
use hubless::ingest::tail;
use hubless::model::tool::Root;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::ingest::Desk;
use crate::measure::{Row, Samples, Unit, each_on_cpu};

/// Bytes that one sample reads; less than what a fast parser needs for the clock to say much.
const BYTES: usize = 48 * 1024 * 1024;
/// Files of one tool that are read, the largest first.
const FILES: usize = 3;
const SAMPLES: usize = 7;
/// What issue 3 wants of one core, MB/s.
const TARGET: f64 = 150.0;
const FLOOR: &str = "split lines, serde_json IgnoredAny";

/// Files of one tool that the replica reads, the bytes of each, and those of one that is larger than the others.
const WHOLE_FILES: usize = 24;
const FILE_BYTES: usize = 1024 * 1024;
const LARGE_BYTES: usize = 24 * 1024 * 1024;
const WHOLE_SAMPLES: usize = 3;
/// What issue 3 wants through the whole daemon, MB/s.
const WHOLE_TARGET: f64 = 50.0;
const WHOLE_FLOOR: &str = "list, read, split lines";

/// How a tool writes.
struct Tool {
    name: &'static str,
    root: &'static str,
    /// The path of the n-th session's file.
    path: fn(usize) -> String,
    /// What stands at the beginning of the n-th session's file.
    first: fn(usize) -> Vec<Value>,
    /// One call of a tool and its answer: lines that go on and on.
    next: fn(usize) -> Vec<Value>,
}

const TOOLS: [Tool; 3] = [
    Tool {
        name: "Claude Code",
        root: "claude-projects",
        path: |n| format!("-srv-demo/5c0e1f2a-0000-4000-8000-{n:012}.jsonl"),
        first: |n| vec![claude("user", n, json!({ "role": "user", "content": "Make it fast, please" }), Value::Null)],
        next: claude_next,
    },
    Tool {
        name: "Codex",
        root: "codex-sessions",
        path: |n| format!("2026/07/01/rollout-2026-07-01T10-00-00-019c0000-0000-7000-8000-{n:012}.jsonl"),
        first: codex_first,
        next: codex_next,
    },
    Tool {
        name: "pi",
        root: "pi-sessions",
        path: |n| format!("--srv-demo--/2026-07-01T10-00-00-000Z_019d0000-0000-7000-8000-{n:012}.jsonl"),
        first: |n| {
            let id = format!("019d0000-0000-7000-8000-{n:012}");
            vec![json!({ "type": "session", "version": 3, "id": id, "timestamp": TIME, "cwd": "/srv/demo" })]
        },
        next: pi_next,
    },
];

const TIME: &str = "2026-07-01T10:00:03.120Z";

/// The rows: each tool's lines alone, then its files through a replica and its store.
pub(crate) fn rows(base: &Path) -> Vec<Row> {
    let real = largest(&corpus().join("claude/transcripts"));
    let real = (!real.is_empty()).then(|| row("lines of Claude Code, the largest real files", line_of(&TOOLS[0]), &real));
    let made = TOOLS.iter().map(|tool| row(&format!("lines of {}", tool.name), line_of(tool), &lines(tool, 0, FILE_BYTES)));
    let whole = TOOLS.iter().flat_map(|tool| whole(base, tool));
    real.into_iter().chain(made).chain(whole).collect()
}

fn line_of(tool: &Tool) -> Line {
    let root = Root::named(tool.root).expect("a root of the table");
    let Some(File::Lines(_, line)) = files::what(root, &(tool.path)(1)) else { unreachable!("it is a file of lines") };
    line
}

fn row(what: &str, line: Line, lines: &[u8]) -> Row {
    let mut bytes = Vec::with_capacity(BYTES + lines.len());
    while bytes.len() < BYTES {
        bytes.extend_from_slice(lines);
    }
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    // In turn, so that what else the machine does falls on both.
    for _ in 0..SAMPLES {
        floor.0.push(rate(&bytes, skim));
        ours.0.push(rate(&bytes, |bytes| sum(bytes, line)));
    }
    Row::new(format!("{what}, time on a core"), Unit::MbPerS, ours).target(TARGET, None).floor(FLOOR, floor.p50())
}

/// Files of one tool, cold, through a replica and its store: by the clock, and by the time on a core.
fn whole(base: &Path, tool: &Tool) -> Vec<Row> {
    let root = base.join(tool.root);
    let folder = Root::named(tool.root).expect("a root of the table").folder();
    let home = if folder.tool == "claude" { root.clone() } else { root.join(folder.tool) };
    let paths: Vec<PathBuf> = (1..=WHOLE_FILES + 1).map(|n| home.join(folder.below).join((tool.path)(n))).collect();
    let mut bytes = 0;
    for (n, path) in (1..).zip(&paths) {
        fs::create_dir_all(path.parent().expect("a directory of ours")).expect("a directory of ours");
        let lines = lines(tool, n, if n == 1 { LARGE_BYTES } else { FILE_BYTES });
        bytes += lines.len();
        fs::write(path, lines).expect("room on the disk");
    }
    let (mut desks, mut floors) = (Vec::with_capacity(WHOLE_SAMPLES), Samples::default());
    let (mut clock, mut on_cpu) = (Samples::default(), Samples::default());
    let rate = |samples: &Samples| bytes as f64 / 1_000.0 / samples.p50();
    for n in 0..WHOLE_SAMPLES {
        floors.0.push(rate(&each_on_cpu(1, |_| assert!(split_all(&paths) > 0, "something was read")).0));
        let (whole, cpu) = each_on_cpu(1, |_| desks.push(Desk::open(&base.join(format!("{}-{n}", tool.root)), &root)));
        clock.0.push(rate(&whole));
        on_cpu.0.push(rate(&cpu));
    }
    for desk in &desks {
        let view = desk.replica.view();
        assert_eq!(view.sessions.len(), paths.len(), "every session is known");
        assert!(view.sessions.values().all(|session| session.counts.is_some_and(|counts| counts.records > 1)), "and summed");
    }
    let longest = Samples(desks.iter().map(|desk| desk.longest).collect());
    let (name, mb, floor) = (tool.name, bytes / 1_000_000, floors.p50());
    vec![
        Row::new(format!("{} files of {name}, {mb} MB, cold", paths.len()), Unit::MbPerS, clock)
            .target(WHOLE_TARGET, None)
            .floor(WHOLE_FLOOR, floor),
        Row::new("the same, time on a core", Unit::MbPerS, on_cpu).floor(WHOLE_FLOOR, floor),
        Row::new("the longest step of that", Unit::Ms, longest),
    ]
}

/// The floor: the same files read, and only their lines found.
fn split_all(paths: &[PathBuf]) -> usize {
    paths.iter().map(|path| tail::whole_lines(&fs::read(path).expect("a file of ours")).0.len()).sum()
}

/// The file of the n-th session, of so many bytes or a few more.
fn lines(tool: &Tool, n: usize, least: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(least + 16 * 1024);
    let mut append = |records: Vec<Value>| {
        for record in records {
            serde_json::to_writer(&mut bytes, &record).expect("plain JSON");
            bytes.push(b'\n');
        }
        bytes.len()
    };
    append((tool.first)(n));
    (0..).map(|at| append((tool.next)(at))).find(|length| *length >= least);
    bytes
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

/// What a tool that ran has printed: the mean length of real answers.
fn output() -> String {
    "    let \"line\" = of(a, file);\n".repeat(80)
}

fn claude(kind: &str, n: usize, message: Value, result: Value) -> Value {
    json!({
        "parentUuid": format!("7f000000-0000-4000-8000-{n:012}"), "isSidechain": false, "userType": "external", "cwd": "/srv/demo",
        "sessionId": "5c0e1f2a-0000-4000-8000-000000000001", "version": "2.1.60", "gitBranch": "main", "type": kind,
        "message": message, "uuid": format!("{kind}-{n:012}"), "timestamp": TIME,
        "requestId": format!("req_{n}"), "toolUseResult": result,
    })
}

fn claude_next(n: usize) -> Vec<Value> {
    let output = output();
    let input = json!({ "file_path": "/srv/demo/a.rs", "new_string": &output[..900] });
    let block = json!([{ "type": "tool_use", "id": format!("toolu_{n}"), "name": "Edit", "input": input }]);
    let usage = json!({ "input_tokens": 5, "cache_read_input_tokens": 16_000, "output_tokens": 300 });
    let said = json!({ "id": format!("msg_{n}"), "role": "assistant", "model": "claude-demo", "content": block, "stop_reason": null, "usage": usage });
    let answer = json!({ "role": "user", "content": [{ "tool_use_id": format!("toolu_{n}"), "type": "tool_result", "content": output }] });
    vec![
        claude("assistant", n, said, Value::Null),
        claude("user", n, answer, json!({ "filePath": "/srv/demo/a.rs", "originalFile": output })),
    ]
}

fn codex(kind: &str, payload: Value) -> Value {
    json!({ "timestamp": TIME, "type": kind, "payload": payload })
}

fn codex_first(n: usize) -> Vec<Value> {
    let id = format!("019c0000-0000-7000-8000-{n:012}");
    let meta = json!({
        "id": id, "timestamp": TIME, "cwd": "/srv/demo", "originator": "codex_cli_rs", "cli_version": "0.104.0", "source": "cli",
        "git": { "commit_hash": "00", "branch": "main" }, "base_instructions": { "text": output() },
    });
    vec![codex("session_meta", meta), codex("event_msg", json!({ "type": "user_message", "message": "Make it fast, please" }))]
}

fn codex_next(n: usize) -> Vec<Value> {
    let call = json!({ "type": "function_call", "name": "shell", "call_id": format!("call_{n}"), "arguments": json!({ "command": ["cat", "a.rs"] }).to_string() });
    let answer = json!({ "type": "function_call_output", "call_id": format!("call_{n}"), "output": json!({ "output": output(), "metadata": { "exit_code": 0 } }).to_string() });
    let usage =
        json!({ "input_tokens": 16_000 * n, "cached_input_tokens": 15_000 * n, "output_tokens": 300 * n, "total_tokens": 16_300 * n });
    let count = json!({ "type": "token_count", "info": { "total_token_usage": usage } });
    let thought = json!({ "type": "reasoning", "summary": [], "encrypted_content": "gAAA".repeat(250) });
    vec![codex("response_item", thought), codex("response_item", call), codex("response_item", answer), codex("event_msg", count)]
}

fn pi_next(n: usize) -> Vec<Value> {
    let entry = |id: usize, parent: usize, message: Value| json!({ "type": "message", "id": format!("{id:08x}"), "parentId": format!("{parent:08x}"), "timestamp": TIME, "message": message });
    let call = json!({ "type": "toolCall", "id": format!("c{n}"), "name": "bash", "arguments": { "command": "cat a.rs" } });
    let usage =
        json!({ "input": 10, "output": 300, "cacheRead": 16_000, "cacheWrite": 20, "totalTokens": 16_330, "cost": { "total": 0.1 } });
    let said = json!({ "role": "assistant", "content": [{ "type": "thinking", "thinking": output() }, call], "provider": "p", "model": "m", "usage": usage, "stopReason": "toolUse" });
    let answer = json!({ "role": "toolResult", "toolCallId": format!("c{n}"), "toolName": "bash", "content": [{ "type": "text", "text": output() }], "isError": false });
    vec![entry(2 * n + 2, 2 * n + 1, said), entry(2 * n + 3, 2 * n + 2, answer)]
}
