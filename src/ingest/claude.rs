//! Where a session works is what its lines say, never what its folder is called: the folder's name cannot be decoded.
//!
//! Of a Claude Code transcript (FORMATS §2) only the beginning is read here, to learn the working directory of a session
//! whose todo file has none. Lines come in any order and of any kind; a line that cannot be read is passed over.

use serde::Deserialize;
use serde_json::Value;

use super::run::moment;
use super::{escapes, tail};
use crate::model::limits::HEAD_BYTES_MAX;

/// Characters of a title that is taken from a prompt.
const TITLE_CHARS_MAX: usize = 120;

/// What the beginning of a transcript says of its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The tool's id of the session.
    pub session: Option<String>,
    /// The first working directory.
    pub cwd: Option<String>,
    /// The first git branch.
    pub branch: Option<String>,
    /// The title that somebody gave, else the tool's, else the first prompt's first line.
    pub title: Option<String>,
    /// When its first dated line was written, milliseconds since 1970.
    pub started: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    r#type: Option<Value>,
    session_id: Option<Value>,
    cwd: Option<Value>,
    git_branch: Option<Value>,
    timestamp: Option<Value>,
    custom_title: Option<Value>,
    ai_title: Option<Value>,
    summary: Option<Value>,
    is_meta: Option<Value>,
    is_sidechain: Option<Value>,
    message: Option<Value>,
}

/// Titles, by how much they count.
#[derive(Default)]
struct Titles {
    custom: Option<String>,
    ai: Option<String>,
    summary: Option<String>,
    prompt: Option<String>,
}

/// Reads the whole lines at the beginning of a transcript, at most `limits::HEAD_BYTES_MAX` of it.
#[must_use]
pub fn head(bytes: &[u8]) -> Head {
    let end = usize::try_from(HEAD_BYTES_MAX).map_or(bytes.len(), |max| max.min(bytes.len()));
    let (mut head, mut titles) = (Head::default(), Titles::default());
    for line in tail::whole_lines(&bytes[..end]).0 {
        // After a crash a line may begin with zeros (FORMATS §2.5).
        let start = line.iter().position(|b| *b != 0).unwrap_or(line.len());
        if let Ok(line) = serde_json::from_slice::<Line>(&escapes::mend(&line[start..])) {
            note(&mut head, &line);
            entitle(&mut titles, &line);
        }
    }
    head.title = titles.custom.or(titles.ai).or(titles.summary).or(titles.prompt);
    head
}

fn note(head: &mut Head, line: &Line) {
    head.session = head.session.take().or_else(|| text(&line.session_id));
    head.cwd = head.cwd.take().or_else(|| text(&line.cwd));
    head.branch = head.branch.take().or_else(|| text(&line.git_branch).filter(|branch| branch != "HEAD"));
    head.started = head.started.or_else(|| line.timestamp.as_ref()?.as_str().and_then(moment));
}

/// The newest title of each kind, and the first prompt.
fn entitle(titles: &mut Titles, line: &Line) {
    titles.custom = text(&line.custom_title).or(titles.custom.take());
    titles.ai = text(&line.ai_title).or(titles.ai.take());
    let is = |kind: &str| line.r#type.as_ref().and_then(Value::as_str) == Some(kind);
    if is("summary") {
        titles.summary = text(&line.summary).or(titles.summary.take());
    }
    let by_a_person = |flag: &Option<Value>| flag.as_ref().and_then(Value::as_bool) != Some(true);
    if titles.prompt.is_none() && is("user") && by_a_person(&line.is_meta) && by_a_person(&line.is_sidechain) {
        titles.prompt = line.message.as_ref().and_then(prompt);
    }
}

fn text(value: &Option<Value>) -> Option<String> {
    value.as_ref()?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The first line of what a person typed; commands and their output stand in tags and are no title.
fn prompt(message: &Value) -> Option<String> {
    let content = message.get("content")?;
    let typed = content.as_str().or_else(|| content.as_array()?.iter().find_map(|block| block.get("text")?.as_str()))?;
    let line = typed.lines().map(str::trim).find(|line| !line.is_empty())?;
    (!line.starts_with('<')).then(|| line.chars().take(TITLE_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_lines_say_where_a_session_works() {
        let head = head(include_bytes!("../../tests/data/claude-transcripts/head.jsonl"));
        assert_eq!(head.session.as_deref(), Some("5c0e1f2a-0000-4000-8000-000000000001"));
        assert_eq!(head.cwd.as_deref(), Some("/srv/demo"), "the first one known stays");
        assert_eq!(head.branch.as_deref(), Some("main"));
        assert_eq!(head.title.as_deref(), Some("Sort the shelves"), "the newest that a person gave");
        assert_eq!(head.started, Some(1_782_900_000_500));
    }

    #[test]
    fn a_title_is_what_says_most() {
        let prompt = r#"{"type":"user","message":{"role":"user","content":"\n Fix the roof \nplease"}}"#;
        let blocks = r#"{"type":"user","message":{"role":"user","content":[{"type":"image"},{"type":"text","text":"Fix the door"}]}}"#;
        let summary = r#"{"type":"summary","summary":"Roof work","leafUuid":"x"}"#;
        let ai = r#"{"type":"ai-title","aiTitle":"Roof repair","sessionId":"x"}"#;
        let title = |lines: &[&str]| head(format!("{}\n", lines.join("\n")).as_bytes()).title;
        assert_eq!(title(&[prompt, blocks]).as_deref(), Some("Fix the roof"));
        assert_eq!(title(&[blocks]).as_deref(), Some("Fix the door"));
        assert_eq!(title(&[prompt, summary]).as_deref(), Some("Roof work"));
        assert_eq!(title(&[ai, prompt, summary]).as_deref(), Some("Roof repair"));
        for none in [
            r#"{"type":"user","isMeta":true,"message":{"content":"Caveat: …"}}"#,
            r#"{"type":"user","isSidechain":true,"message":{"content":"You are a helper"}}"#,
            r#"{"type":"user","message":{"content":"<command-name>/clear</command-name>"}}"#,
            r#"{"type":"user","message":{"content":[{"type":"tool_result","content":"ok"}]}}"#,
            r#"{"type":"assistant","message":{"content":"Hello"}}"#,
        ] {
            assert_eq!(title(&[none]), None, "{none}");
        }
        assert_eq!(title(&[&prompt.replace("Fix the roof", &"x".repeat(500))]).map(|title| title.len()), Some(TITLE_CHARS_MAX));
    }

    #[test]
    fn a_bad_line_costs_that_line_and_a_torn_one_is_not_read() {
        let good = r#"{"cwd":"/srv/demo"}"#;
        assert_eq!(head(format!("{{\"cwd\":\"/x\n\0\0{good}\r\n").as_bytes()).cwd.as_deref(), Some("/srv/demo"), "after a crash");
        assert_eq!(head(good.as_bytes()), Head::default(), "no newline yet");
        assert_eq!(head(b"{\"cwd\":\"caf\xe9\"}\n{\"cwd\":7}\n[]\n{\"cwd\":\"\"}\n"), Head::default());
        let cut = format!("{{\"last\":\"\\ud83d\",{}\n", &good[1..]);
        assert_eq!(head(cut.as_bytes()).cwd.as_deref(), Some("/srv/demo"), "half an emoji");
        let far = format!("{}\n{good}\n", "x".repeat(usize::try_from(HEAD_BYTES_MAX).expect("fits")));
        assert_eq!(head(far.as_bytes()), Head::default(), "bounded");
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2026-07-01T10:00:03.120Z", 1_782_900_003_120),
            ("2024-12-31T23:59:59.123456Z", 1_735_689_599_123),
        ] {
            assert_eq!(moment(text), Some(ms), "{text}");
        }
        for bad in [
            "",
            "Z",
            "2026-07-01",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-07-01T24:00:00Z",
            "2026-07-01T10:00:03",
            "-1-07-01T10:00:00Z",
            "x",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>, text: String) -> bool {
            let _ = (head(&bytes), moment(&text), moment(&format!("{text}T{text}Z")));
            true
        }

        fn what_stands_behind_does_not_change_where_it_began(cwd: String, behind: Vec<u8>) -> bool {
            let cwd = format!("/{}", cwd.trim());
            let line = format!("{}\n", serde_json::json!({ "cwd": cwd.as_str() }));
            head(&[line.as_bytes(), &behind].concat()).cwd.as_deref() == Some(cwd.trim())
        }
    }

    /// The corpus of real files stands beside the project where it was built; elsewhere there is nothing to check.
    #[test]
    fn every_real_transcript_that_says_where_it_worked_is_understood() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/claude/transcripts");
        for path in files_below(&corpus).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")) {
            let bytes = std::fs::read(&path).expect("a readable file");
            let front = &bytes[..bytes.len().min(usize::try_from(HEAD_BYTES_MAX).expect("fits"))];
            let whole = front.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
            let values = front[..whole].split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
            let values: Vec<Value> = values.collect();
            let first = |key: &str| {
                values.iter().filter_map(|value| value.get(key)?.as_str()).find(|text| !text.trim().is_empty()).map(str::to_owned)
            };
            let head = head(&bytes);
            assert_eq!((head.cwd, head.session), (first("cwd"), first("sessionId")), "{}", path.display());
            assert_eq!(head.started.is_some(), first("timestamp").is_some(), "{}", path.display());
        }
    }

    fn files_below(dir: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("a readable directory").path());
        paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }
}
