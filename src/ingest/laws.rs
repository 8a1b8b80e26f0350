//! What holds for the files of every tool, whatever is in them: pieces, damage and drift change nothing but what they must.

use quickcheck::quickcheck;
use serde_json::Value;
use std::path::{Path, PathBuf};

use super::files::{File, Line};
use super::run::{Run, Said};
use super::{codex, gemini, opencode, pi, tail};

/// A file of each kind, and what reads it.
const FILES: &[(Line, &[u8])] = &[
    (codex::line, include_bytes!("../../tests/data/codex-rollouts/legacy.jsonl")),
    (codex::line, include_bytes!("../../tests/data/codex-rollouts/enveloped.jsonl")),
    (codex::line, include_bytes!("../../tests/data/codex-rollouts/fork.jsonl")),
    (codex::line, include_bytes!("../../tests/data/codex-rollouts/paged.jsonl")),
    (pi::line, include_bytes!("../../tests/data/pi-sessions/v1.jsonl")),
    (pi::line, include_bytes!("../../tests/data/pi-sessions/v2.jsonl")),
    (pi::line, include_bytes!("../../tests/data/pi-sessions/v3.jsonl")),
    (pi::line, include_bytes!("../../tests/data/openclaw-sessions/talk.jsonl")),
    (gemini::line, include_bytes!("../../tests/data/gemini-chats/lines.jsonl")),
    (gemini::line, include_bytes!("../../tests/data/gemini-chats/checkpoint.jsonl")),
];

/// Reads all whole lines of a file.
pub(super) fn read(line: Line, bytes: &[u8]) -> (Run, Vec<Said>) {
    let (mut run, mut said) = (Run::default(), Vec::new());
    for found in tail::whole_lines(bytes).0 {
        line(&mut run, found, &mut said);
    }
    (run, said)
}

/// Reads a file that grows up to each of `ends`; in between, the sum lies in the index.
fn read_growing(line: Line, bytes: &[u8], ends: &[usize]) -> (Run, Vec<Said>) {
    let (mut kept, mut said, mut from) = (postcard::to_stdvec(&Run::default()).expect("it serialises"), Vec::new(), 0);
    for end in ends.iter().map(|end| from.max(end % (bytes.len() + 1))).chain([bytes.len()]).collect::<Vec<_>>() {
        let mut run: Run = postcard::from_bytes(&kept).expect("it was kept");
        let (lines, consumed) = tail::whole_lines(&bytes[from..from.max(end)]);
        lines.into_iter().for_each(|found| line(&mut run, found, &mut said));
        from += consumed;
        kept = postcard::to_stdvec(&run).expect("it serialises");
    }
    (postcard::from_bytes(&kept).expect("it was kept"), said)
}

#[test]
fn every_line_is_counted() {
    for (line, bytes) in FILES {
        let (run, _) = read(*line, bytes);
        assert_eq!((run.counts.records, run.counts.damaged), (tail::whole_lines(bytes).0.len() as u64, 0));
        assert!(run.session.is_some() && run.started.is_some() && run.last >= run.started);
    }
}

#[test]
fn what_programs_and_crashes_put_around_lines_changes_nothing() {
    for (line, bytes) in FILES {
        let whole = read(*line, bytes);
        let text = std::str::from_utf8(bytes).expect("text");
        let noisy = format!("\u{feff}{}", text.replace('\n', "\r\n\r\n \n")).replacen("\n{", "\n\0\0\0{", 1);
        assert_eq!(read(*line, noisy.as_bytes()), whole);
        let glued = text.trim_end().replace('\n', "");
        assert_eq!(read(*line, format!("{glued}\n").as_bytes()), whole, "no newline between them");
        let stub = text.split('\n').next().map(|first| &first[..first.len() / 2]).expect("a line");
        let (mut spliced, said) = read(*line, format!("{stub}{text}").as_bytes());
        assert_eq!(std::mem::take(&mut spliced.counts.damaged), 1, "half a line, and then the whole of it");
        assert_eq!((spliced, said), whole);
    }
}

#[test]
fn half_emojis_wrong_bytes_depth_and_length_cost_nothing() {
    for (line, bytes) in FILES {
        let whole = read(*line, bytes);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let long = "x".repeat(3 * 1024 * 1024);
        for extra in [r#""\ud83d""#.to_owned(), format!("\"{long}\""), deep, "1e999".to_owned()] {
            let text = std::str::from_utf8(bytes).expect("text").replace("}\n", &format!(",\"zz\":{extra}}}\n"));
            // One line of three megabytes is enough.
            let text = if extra.len() > 1000 { text.replacen(&format!(",\"zz\":{extra}"), "", text.lines().count() - 1) } else { text };
            assert_eq!(read(*line, text.as_bytes()), whole);
        }
        let wrong: Vec<u8> = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).fold(Vec::new(), |mut all, line| {
            all.extend_from_slice(&line[..line.len() - 1]);
            all.extend_from_slice(b",\"\xff\":\"\xc3\x28\"}\n");
            all
        });
        assert_eq!(read(*line, &wrong), whole);
    }
}

quickcheck! {
    fn any_pieces_give_the_same(which: usize, ends: Vec<usize>) -> bool {
        let (line, bytes) = FILES[which % FILES.len()];
        read_growing(line, bytes, &ends) == read(line, bytes)
    }

    fn no_bytes_panic(which: usize, noise: Vec<u8>, at: usize, cut: usize) -> bool {
        let (line, bytes) = FILES[which % FILES.len()];
        let at = at % bytes.len();
        let behind = at + cut % (bytes.len() - at);
        let noisy = [&bytes[..at], &noise, &bytes[behind..], b"{\"type\":\"", &noise, b"\",\"payload\":{\"type\":\"", &noise, b"\"}}\n"].concat();
        let (run, _) = read(line, &noisy);
        for whole in [codex::read, gemini::read, opencode::read] {
            let _ = (whole(&noise), whole(&noisy), whole(bytes));
        }
        run.counts.records + run.counts.damaged > 0
    }

    fn a_damaged_byte_costs_at_most_its_record(which: usize, at: usize, byte: u8) -> bool {
        let (line, bytes) = FILES[which % FILES.len()];
        let at = at % bytes.len();
        if bytes[at] == b'\n' || byte == b'\n' {
            return true;
        }
        let mut damaged = bytes.to_vec();
        damaged[at] = byte;
        let from = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |before| before + 1);
        let end = at + bytes[at..].iter().position(|b| *b == b'\n').expect("it ends in one");
        let is_object = serde_json::from_slice::<serde::de::IgnoredAny>(&damaged[from..end]).is_ok();
        let (mut run, said) = read(line, &damaged);
        if is_object {
            return run.counts.damaged == 0 && run.counts.records == read(line, bytes).0.counts.records;
        }
        let without = read(line, &[&bytes[..from], &bytes[end + 1..]].concat());
        std::mem::take(&mut run.counts.damaged) == 1 && (run, said) == without
    }

    fn no_name_panics(path: String) -> bool {
        let _ = (codex::file(&path), pi::file(&path), gemini::file(&path), opencode::file(&path), super::openclaw::file(&path));
        true
    }
}

/// Where the corpus is; `HUBLESS_CORPUS` says another place.
fn corpus() -> PathBuf {
    let named = std::env::var_os("HUBLESS_CORPUS").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"))
}

/// The corpus of real files stands beside the project where it was built; elsewhere there is nothing to check.
#[test]
fn real_files_are_read_whole() {
    let corpus = corpus();
    let mut counted = Vec::new();
    for (folder, line) in [("codex/rollouts", codex::line as Line), ("pi", pi::line), ("openclaw", pi::line), ("gemini", gemini::line)] {
        let (mut files, mut records, mut lists) = (0, 0, 0);
        for path in files_below(&corpus.join(folder)).iter().filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")) {
            let mut bytes = std::fs::read(path).expect("a readable file");
            if bytes.last() != Some(&b'\n') {
                bytes.push(b'\n');
            }
            let (run, said) = read(line, &bytes);
            let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
            let good = lines.clone().filter(|line| serde_json::from_slice::<Value>(line).is_ok_and(|value| value.is_object())).count();
            assert_eq!((run.counts.records, run.counts.damaged), (good as u64, (lines.count() - good) as u64), "{}", path.display());
            if !run.unknown.is_empty() {
                println!("{}: {:?}", path.display(), run.unknown);
            }
            (files, records, lists) = (files + 1, records + run.counts.records, lists + said.len());
        }
        println!("{folder}: {files} files, {records} records, {lists} lists");
        counted.push((files, records, lists));
    }
    // What `lay-out` counts there.
    assert!(counted[0].0 == 0 || counted[..2] == [(30, 2215, 6), (11, 239, 0)], "{counted:?}");
}

#[test]
fn real_files_that_are_one_object_are_read() {
    let corpus = corpus();
    for path in [files_below(&corpus.join("gemini")), files_below(&corpus.join("opencode"))].concat() {
        let text = path.to_string_lossy();
        let bytes = std::fs::read(&path).expect("a readable file");
        let below = text.split_once("/storage_legacy/").or_else(|| text.split_once("/storage_v2/")).map(|(_, below)| below);
        match below.map(opencode::file) {
            Some(Some(File::Whole(owner, whole))) => {
                let (run, _) = whole(&bytes).expect("a session");
                assert!(run.session.is_some_and(|id| owner.session.ends_with(&id)) && run.cwd.is_some() && run.started.is_some());
            }
            Some(_) => assert!(!text.contains("/session/"), "{text}"),
            None if text.ends_with(".json") => {
                let run = gemini::read(&bytes);
                assert_eq!(run.is_ok(), bytes.windows(10).any(|part| part == b"\"messages\""), "{text}");
                println!("{text}: {:?}", run.map(|(run, _)| (run.counts, run.unknown)));
            }
            None => {}
        }
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    let mut found: Vec<PathBuf> = paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    found.sort();
    found
}
