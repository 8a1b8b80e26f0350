//! What a session is, its records say: never the name of its folder, which cannot be decoded, and never a header, which there
//! is none of (FORMATS §2).
//!
//! A transcript of Claude Code is one record a line, of any kind, in any order; a damaged line costs what is damaged of it, a
//! kind that nobody has told us of is counted. Of an inline sub-agent (`isSidechain` without a file of its own) the tokens and
//! lists count, but it neither speaks for the session's agent nor names its prompt.

use super::claude_calls;
use super::claude_record::{self, Record};
use super::files::{File, Owner};
use super::run::{self, Run, Said, moment};
use super::{salvage, tail};
use crate::model::beat::Reported;
use crate::model::limits::HEAD_BYTES_MAX;

/// The agent of lists that an inline sub-agent without a name keeps.
const UNNAMED_AGENT: &str = "side";
/// Bytes of a session's or a sub-agent's id in a file's name.
const ID_BYTES_MAX: usize = 128;
/// Kinds of records that are known and say nothing more than that they are there (FORMATS §2.3).
const QUIET: &[&str] = &[
    "attachment",
    "progress",
    "queue-operation",
    "last-prompt",
    "agent-setting",
    "permission-mode",
    "mode",
    "pr-link",
    "frame-link",
    "bridge-session",
    "worktree-state",
    "relocated",
    "atis-latch",
    "file-history-snapshot",
    "started",
    "result",
];
/// Kinds of `system` records that are known (FORMATS §2.3).
const SYSTEM: &[&str] = &[
    "local_command",
    "compact_boundary",
    "turn_duration",
    "api_error",
    "stop_hook_summary",
    "away_summary",
    "informational",
    "bridge_status",
    "error",
    "api_refusal",
    "model_refusal_fallback",
    "session_start",
];
/// Tools that a person answers.
const ASKING: &[&str] = &["AskUserQuestion", "ExitPlanMode"];
/// Before the id of a record whose title came before it.
const LEAF: &str = "leaf:";

/// What the beginning of a transcript says of its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The tool's id of the session.
    pub session: Option<String>,
    /// The first working directory.
    pub cwd: Option<String>,
    /// The newest git branch of that beginning.
    pub branch: Option<String>,
    /// The title that somebody gave, else the tool's, else the first prompt's first line.
    pub title: Option<String>,
    /// When its first dated line was written, milliseconds since 1970.
    pub started: Option<i64>,
}

/// Reads the whole lines at the beginning of a transcript, at most `limits::HEAD_BYTES_MAX` of it.
#[must_use]
pub fn head(bytes: &[u8]) -> Head {
    let end = usize::try_from(HEAD_BYTES_MAX).map_or(bytes.len(), |max| max.min(bytes.len()));
    let mut run = Run::default();
    for whole in tail::whole_lines(&bytes[..end]).0 {
        line(&mut run, whole, &mut Vec::new());
    }
    let title = run.title().map(str::to_owned);
    Head { session: run.session, cwd: run.cwd, branch: run.branch, title, started: run.started }
}

/// What the file at `path` below `projects/` is (FORMATS §2.1). `None`: compaction agents, journals of workflows, memories,
/// results of tools, and whatever else stands there.
pub(super) fn file(path: &str) -> Option<File> {
    let parts: Vec<&str> = path.split('/').collect();
    let (folders, name) = parts.split_at(parts.len() - 1);
    let stem = name[0].strip_suffix(".jsonl")?;
    let fine = |id: &str| {
        (1..=ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !id.starts_with(['-', '_'])
    };
    let is_agent = stem.strip_prefix("agent-").is_some_and(|id| fine(id) && !id.starts_with("acompact-"));
    let (parent, is_side) = match folders {
        [_project] if is_agent => (None, true),
        [_project] => (None, false),
        [_project, session, "subagents", rest @ ..] if is_agent && fine(session) && matches!(rest, [] | ["workflows", _]) => {
            (Some((*session).to_owned()), true)
        }
        _ => return None,
    };
    let is_session = is_side || (fine(stem) && !stem.starts_with("agent-"));
    is_session.then(|| File::Lines(Owner { session: stem.to_owned(), parent, is_side }, line))
}

/// Takes one whole line into the sum.
pub fn line(run: &mut Run, line: &[u8], said: &mut Vec<Said>) {
    let bare = salvage::bare(line);
    if let Some(record) = claude_record::read(bare) {
        return take(run, &record, bare, said);
    }
    if bare.is_empty() {
        // Only white space is nothing; zeros are what a crash made of records.
        run.counts.damaged += u64::from(line.contains(&0));
        return;
    }
    let mended = salvage::mended(bare);
    let (objects, damaged) = salvage::objects(&mended, is_record);
    run.counts.damaged += damaged;
    for object in objects {
        match claude_record::read(object) {
            Some(record) => take(run, &record, object, said),
            None => run.counts.damaged += 1,
        }
    }
}

/// Whether an object that was found amid damage is a record and not a part of one.
fn is_record(object: &[u8]) -> bool {
    claude_record::read(object).is_some_and(|record| {
        let is_named = record.uuid.is_some() || record.session.is_some();
        record.kind.as_deref().is_some_and(|kind| is_named || matches!(kind, "summary" | "file-history-snapshot"))
    })
}

fn take(run: &mut Run, record: &Record<'_>, line: &[u8], said: &mut Vec<Said>) {
    run.counts.records += 1;
    let at = record.time.as_deref().and_then(moment);
    run.dated(at);
    place(run, record);
    let name = record.name.as_deref().and_then(run::short);
    match record.kind.as_deref().unwrap_or_default() {
        "user" => user(run, record, line, at, said),
        "assistant" => assistant(run, record, line, at, said),
        "system" => system(run, record),
        "custom-title" => run.given_title = name.or(run.given_title.take()),
        "ai-title" => run.made_title = name.or(run.made_title.take()),
        "agent-name" => run.agent = name.or(run.agent.take()),
        "summary" => summary(run, record.leaf.as_deref().unwrap_or_default(), name),
        quiet if QUIET.contains(&quiet) => {}
        strange => run.strange(strange),
    }
}

/// Where it works, and whose it is.
fn place(run: &mut Run, record: &Record<'_>) {
    if run.session.is_none() {
        run.session = record.session.as_deref().and_then(run::short);
    }
    if run.cwd.is_none() {
        run.cwd = record.cwd.as_deref().and_then(run::path);
    }
    let branch = record.branch.as_deref().filter(|branch| *branch != "HEAD" && run.branch.as_deref() != Some(branch));
    run.branch = branch.and_then(run::short).or(run.branch.take());
    let Some(uuid) = record.uuid.as_deref().filter(|uuid| !uuid.is_empty()) else { return };
    if run.first.is_none() {
        run.first = run::short(uuid);
        // Without an id of its own a sub-agent works inside its session's file.
        run.is_side = record.is_side && record.agent_id.is_some();
        let own = |session: &&str| record.agent_id.as_deref() != session.strip_prefix("agent-");
        run.parent = record.session.as_deref().filter(|session| run.is_side && own(session)).and_then(run::short);
    }
    run.is_new(&["record", uuid]);
    if run.calls.iter().any(|(id, _)| id.strip_prefix(LEAF) == Some(uuid)) {
        run.made_title = run.answered(&format!("{LEAF}{uuid}"));
    }
}

/// A title for the conversation that ends with the record `leaf`, which may stand in another file, or further on in this one.
fn summary(run: &mut Run, leaf: &str, title: Option<String>) {
    let Some(title) = title else { return };
    if run.is_recent(&["record", leaf]) {
        run.made_title = Some(title);
    } else if !leaf.is_empty() {
        run.called(&format!("{LEAF}{leaf}"), title);
    }
}

fn user(run: &mut Run, record: &Record<'_>, line: &[u8], at: Option<i64>, said: &mut Vec<Said>) {
    let content = &record.message.content;
    for (n, (id, is_error)) in content.answers.iter().enumerate() {
        let call = run.answered(id);
        let is_of_task = call.as_deref().is_none_or(|call| claude_calls::plans(claude_calls::tool(call)));
        if n == 0 && record.is_of_task && !is_error && is_of_task {
            claude_calls::answered(call.as_deref(), line, at, said);
        }
    }
    let speaks = speaks(run, record);
    if !content.answers.is_empty() {
        if speaks {
            busy(run);
        }
        return;
    }
    let text = content.text.as_deref().unwrap_or_default().trim_start();
    if text.starts_with("[Request interrupted by user") {
        if speaks {
            rest(run, Reported::Idle);
        }
        return;
    }
    // Commands and their output stand in tags; of those only a command that is a prompt was typed.
    let is_typed = text.starts_with("<command-message>") || (!text.starts_with('<') && (!text.is_empty() || content.has_image));
    if record.is_made || !is_typed || !speaks {
        return;
    }
    rest(run, Reported::Working);
    if !record.is_side {
        run.counts.users += 1;
        if run.prompt.is_none() && !text.starts_with('<') {
            run.prompt = run::short(text);
        }
    }
}

fn assistant(run: &mut Run, record: &Record<'_>, line: &[u8], at: Option<i64>, said: &mut Vec<Said>) {
    let (message, speaks) = (&record.message, speaks(run, record));
    // The tool speaks in the model's name when the model could not.
    if record.is_api_error || message.model.as_deref() == Some("<synthetic>") {
        if speaks {
            rest(run, if record.is_api_error { Reported::Failed } else { Reported::Idle });
        }
        return;
    }
    count(run, record);
    if message.content.calls.iter().any(|(_, tool)| claude_calls::plans(tool)) {
        let agent = if record.is_side { record.agent_id.as_deref().unwrap_or(UNNAMED_AGENT) } else { "" };
        claude_calls::called(run, line, at, agent, said);
    }
    if !speaks {
        return;
    }
    for (id, tool) in &message.content.calls {
        if !id.is_empty() && !run.calls.iter().any(|(call, _)| call == id) {
            run.called(id, run::short(tool).unwrap_or_default());
        }
    }
    match message.stop.as_deref() {
        Some("end_turn" | "stop_sequence" | "refusal") if message.content.calls.is_empty() => rest(run, Reported::Idle),
        _ => busy(run),
    }
}

/// One message may stand in several lines, and those of several agents may alternate.
fn count(run: &mut Run, record: &Record<'_>) {
    let message = &record.message;
    let id = message.id.as_deref().filter(|id| !id.is_empty());
    if id.is_none_or(|id| run.is_new(&["message", id])) {
        run.counts.assistants += 1;
    }
    if id.is_none_or(|id| run.is_new(&["usage", id, record.request.as_deref().unwrap_or_default()])) {
        run.counts.tokens_in = run.counts.tokens_in.saturating_add(message.usage.tokens_in);
        run.counts.tokens_out = run.counts.tokens_out.saturating_add(message.usage.tokens_out);
    }
}

fn system(run: &mut Run, record: &Record<'_>) {
    match record.subtype.as_deref() {
        Some("turn_duration" | "stop_hook_summary") if speaks(run, record) && run.turn != Some(Reported::Failed) => {
            rest(run, Reported::Idle)
        }
        Some(subtype) if !SYSTEM.contains(&subtype) => run.strange(&format!("system/{subtype}")),
        Some(_) | None => {}
    }
}

/// Whether the record is about the agent whose file this is.
fn speaks(run: &Run, record: &Record<'_>) -> bool {
    !record.is_side || run.is_side
}

/// The turn goes on: with a tool that runs, or one that waits for a person.
fn busy(run: &mut Run) {
    let running = || run.calls.iter().filter(|(id, _)| !id.starts_with(LEAF)).map(|(_, call)| claude_calls::tool(call));
    let is_asking = running().any(|tool| ASKING.contains(&tool));
    let doing = running().last().map(str::to_owned);
    run.turn = Some(if is_asking { Reported::Waiting } else { Reported::Working });
    run.doing = doing;
}

/// A turn begins or ends; calls without an answer will have none.
fn rest(run: &mut Run, turn: Reported) {
    run.calls.retain(|(id, _)| id.starts_with(LEAF));
    run.turn = Some(turn);
    run.doing = None;
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
