//! What a session is, its records say: never the name of its folder, which cannot be decoded, and never a header, which there
//! is none of (FORMATS §2).
//!
//! A transcript of Claude Code is one record a line, of any kind, in any order; a damaged line costs what is damaged of it, a
//! kind that nobody has told us of is counted. Of an inline sub-agent (`isSidechain` without a file of its own) the tokens and
//! lists count, but it neither speaks for the session's agent nor names its prompt. [`Run::own`] remembers titles whose record has
//! not come yet, by that record's id.

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
/// That the tool has made a title, as [`Run::own`] remembers it; no record's id is like it.
const MADE: &str = "ai-title";
/// Tools that a person answers.
const ASKING: &[&str] = &["AskUserQuestion", "ExitPlanMode"];

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
    is_session.then(|| File::Lines(Owner { session: stem.to_owned(), parent, is_side, ..Owner::default() }, line))
}

/// Takes one whole line into the sum.
pub fn line(run: &mut Run, line: &[u8], said: &mut Vec<Said>) {
    salvage::each(run, line, said, take, is_record);
}

/// Whether an object that was found amid damage is a record and not a part of one.
fn is_record(_: &[u8], object: &[u8]) -> bool {
    claude_record::read(object).is_some_and(|record| {
        let is_named = record.uuid.is_some() || record.session.is_some();
        record.kind.as_deref().is_some_and(|kind| is_named || matches!(kind, "summary" | "file-history-snapshot"))
    })
}

fn take(run: &mut Run, line: &[u8], said: &mut Vec<Said>) -> bool {
    let Some(record) = &claude_record::read(line) else { return false };
    let at = record.time.as_deref().and_then(moment);
    run.dated(at);
    place(run, record);
    let name = record.name.as_deref().and_then(run::short);
    match record.kind.as_deref().unwrap_or_default() {
        "user" => user(run, record, line, at, said),
        "assistant" => assistant(run, record, line, at, said),
        "system" => system(run, record),
        "custom-title" => run.given_title = name.or(run.given_title.take()),
        "ai-title" => made(run, name),
        "agent-name" => run.agent = name.or(run.agent.take()),
        "summary" => summary(run, record.leaf.as_deref().unwrap_or_default(), name),
        quiet if QUIET.contains(&quiet) => {}
        strange => run.strange(strange),
    }
    true
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
    if let Some(title) = run.noted(uuid) {
        summed(run, title);
    }
}

/// The tool's own title of the session: it outdoes every summary.
fn made(run: &mut Run, title: Option<String>) {
    if title.is_some() {
        run.made_title = title;
        run.noted(MADE);
        run.note(MADE, String::new());
    }
}

/// The title of a conversation that ends in this file.
fn summed(run: &mut Run, title: String) {
    if run.own.iter().all(|(known, _)| known != MADE) {
        run.made_title = Some(title);
    }
}

/// A title for the conversation that ends with the record `leaf`, which may stand in another file, or further on in this one.
fn summary(run: &mut Run, leaf: &str, title: Option<String>) {
    let Some(title) = title else { return };
    if run.is_recent(&["record", leaf]) {
        summed(run, title);
    } else if !leaf.is_empty() {
        run.note(leaf, title);
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
        let own = || record.agent_id.as_deref().and_then(run::short).unwrap_or_else(|| UNNAMED_AGENT.to_owned());
        let agent = if record.is_side { own() } else { String::new() };
        claude_calls::called(run, line, at, &agent, said);
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
    let running = || run.calls.iter().map(|(_, call)| claude_calls::tool(call));
    let is_asking = running().any(|tool| ASKING.contains(&tool));
    let doing = running().next_back().map(str::to_owned);
    run.turn = Some(if is_asking { Reported::Waiting } else { Reported::Working });
    run.doing = doing;
}

/// A turn begins or ends; calls without an answer will have none.
fn rest(run: &mut Run, turn: Reported) {
    run.calls.clear();
    run.turn = Some(turn);
    run.doing = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::session::Counts;
    use crate::model::todo::{Change, Status};
    use quickcheck::{Arbitrary, Gen, TestResult, quickcheck};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    const SESSION: &str = "5c0e1f2a-0000-4000-8000-000000000001";

    fn read(bytes: &[u8]) -> (Run, Vec<Said>) {
        let (mut run, mut said) = (Run::default(), Vec::new());
        tail::whole_lines(bytes).0.into_iter().for_each(|whole| line(&mut run, whole, &mut said));
        (run, said)
    }

    fn lines(lines: &[&str]) -> (Run, Vec<Said>) {
        read(format!("{}\n", lines.join("\n")).as_bytes())
    }

    /// Time, agent and items (text, status, active form) of a list.
    fn list(said: &Said) -> (i64, &str, Vec<(&str, Status)>, u64) {
        let Said::List { at: Some(at), agent, reading } = said else { panic!("{said:?}") };
        (*at, agent, reading.items.iter().map(|item| (item.text.json(), item.status)).collect(), reading.malformed)
    }

    #[test]
    fn a_session_is_what_its_records_say() {
        let (run, said) = read(include_bytes!("../../tests/data/claude-transcripts/session.jsonl"));
        assert_eq!(run.session.as_deref(), Some(SESSION));
        assert_eq!((run.cwd.as_deref(), run.branch.as_deref()), (Some("/srv/demo"), Some("main")), "the newest that is a branch");
        assert_eq!((run.prompt.as_deref(), run.agent.as_deref()), (Some("Wire the parser, please"), Some("Ada")));
        assert_eq!((run.made_title.as_deref(), run.title()), (Some("Parser wiring"), Some("Wire it up")));
        assert_eq!((run.started, run.last), (Some(1_782_900_000_000), Some(1_782_900_007_200)));
        assert_eq!((run.turn, run.doing.as_deref(), run.calls.len()), (Some(Reported::Idle), None, 0));
        assert_eq!(run.first.as_deref(), Some("7f000000-0000-4000-8000-000000000001"));
        assert!(!run.is_side && run.parent.is_none());
        let counts = Counts { records: 23, damaged: 0, users: 2, assistants: 4, tokens_in: 4 * 1105 - 3 + 5, tokens_out: 38 };
        assert_eq!(run.counts, counts);
        assert_eq!(run.unknown, BTreeMap::from([("star-chart".to_owned(), 1), ("system/moon_phase".to_owned(), 1)]));
        let first = vec![("Wire the parser", Status::InProgress), ("Add tests", Status::Pending)];
        let second = vec![("Wire the parser", Status::Completed), ("Add tests", Status::InProgress)];
        assert_eq!(said.iter().map(list).collect::<Vec<_>>(), [(1_782_900_003_000, "", first, 0), (1_782_900_005_000, "", second, 1)]);
    }

    #[test]
    fn a_task_is_what_its_answer_says() {
        let (run, said) = read(include_bytes!("../../tests/data/claude-transcripts/tasks.jsonl"));
        let changes: Vec<&Change> =
            said.iter().map(|said| if let Said::Task { at: Some(_), change } = said { change } else { panic!("{said:?}") }).collect();
        let change = |id: &str| Change { id: id.to_owned(), ..Change::default() };
        let expected = [
            Change { text: Some("Order a van".into()), status: Some(Status::Pending), ..change("8") },
            Change {
                text: Some("Pack the books".into()),
                status: Some(Status::Pending),
                active_form: Some("Packing the books".into()),
                ..change("7")
            },
            Change { status: Some(Status::InProgress), owner: Some("ada".into()), ..change("7") },
            Change { blocked_by: vec!["7".to_owned()], ..change("8") },
            Change {
                text: Some("Order two vans".into()),
                status: Some(Status::Cancelled),
                blocked_by: vec!["7".to_owned()],
                ..change("8")
            },
            Change { status: Some(Status::Completed), ..change("7") },
        ];
        assert_eq!(changes, expected.iter().collect::<Vec<_>>());
        assert_eq!((run.counts.users, run.counts.assistants, run.calls.len()), (1, 6, 0));
    }

    #[test]
    fn tasks_that_are_made_together_are_all_made_however_large_they_are() {
        let long = "long ".repeat(1_000);
        let call = |n: usize| json!({"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":format!("t{n}"),"name":"TaskCreate","input":{"subject":format!("{n} {long}"),"activeForm":long}}]}});
        let answer = |n: usize| json!({"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":format!("t{n}")}]},"toolUseResult":{"task":{"id":n.to_string(),"subject":format!("{n} {long}")}}});
        let all: Vec<String> = (1..40).map(call).chain((1..40).map(answer)).map(|line| line.to_string()).collect();
        let (run, said) = lines(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((said.len(), run.counts.assistants), (39, 1));
        assert!(said.iter().all(|said| matches!(said, Said::Task { change, .. } if change.text.is_some())));
    }

    #[test]
    fn a_sub_agent_in_a_file_of_its_own_speaks_for_itself() {
        let (run, said) = read(include_bytes!("../../tests/data/claude-transcripts/sub-agent.jsonl"));
        assert_eq!((run.is_side, run.parent.as_deref()), (true, Some(SESSION)));
        assert_eq!((run.turn, run.doing.as_deref()), (Some(Reported::Working), Some("Bash")));
        assert_eq!((run.counts.users, run.prompt), (0, None), "no person spoke");
        assert_eq!(
            said.iter().map(list).collect::<Vec<_>>(),
            [(1_782_900_001_000, "a1b2c3d4e5f60718", vec![("Count", Status::InProgress)], 0)]
        );
    }

    #[test]
    fn a_sub_agent_in_its_sessions_file_does_not_speak_for_the_session() {
        let warm = r#"{"type":"user","uuid":"a","sessionId":"s","isSidechain":true,"message":{"content":"Warmup"}}"#;
        let failed =
            r#"{"type":"assistant","uuid":"b","sessionId":"s","isSidechain":true,"isApiErrorMessage":true,"message":{"content":[]}}"#;
        let works = r#"{"type":"assistant","uuid":"c","sessionId":"s","isSidechain":true,"message":{"id":"m","content":[{"type":"tool_use","id":"t","name":"Bash"},{"type":"tool_use","id":"u","name":"TodoWrite","input":{"todos":[]}}],"usage":{"output_tokens":3}}}"#;
        let person = r#"{"type":"user","uuid":"d","sessionId":"s","isSidechain":false,"message":{"content":"Hello"}}"#;
        let (run, said) = lines(&[warm, failed, works]);
        assert_eq!((run.is_side, run.turn, run.doing, run.counts.users, run.counts.tokens_out), (false, None, None, 0, 3));
        assert!(matches!(said.as_slice(), [Said::List { agent, .. }] if agent == UNNAMED_AGENT));
        let (run, _) = lines(&[warm, failed, works, person]);
        assert_eq!((run.prompt.as_deref(), run.turn, run.counts.users), (Some("Hello"), Some(Reported::Working), 1));
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let (run, said) = read(include_bytes!("../../tests/data/claude-transcripts/damaged.jsonl"));
        assert_eq!((run.counts.records, run.counts.damaged, run.counts.users), (8, 6, 8));
        assert_eq!((run.prompt.as_deref(), said.len()), (Some("One"), 0));
        assert_eq!((run.started, run.last), (Some(1_782_900_000_000), Some(1_782_900_007_000)));
        assert!(run.unknown.is_empty(), "{:?}", run.unknown);
    }

    #[test]
    fn a_field_of_another_type_costs_that_field() {
        let odd = r#"{"type":"user","uuid":7,"sessionId":null,"cwd":["x"],"timestamp":{},"gitBranch":1.5,"isMeta":"no","message":{"content":{"a":[]},"usage":[1]},"toolUseResult":[{"task":1}]}"#;
        let (run, _) = lines(&[
            odd,
            r#"{"type":"user","message":"oops"}"#,
            r#"{"type":["x"]}"#,
            r#"{"silly":-1}"#,
            r#"{"type":"mode","type":"mode"}"#,
        ]);
        assert_eq!((run.counts.records, run.counts.damaged, run.counts.users), (5, 0, 0));
        assert_eq!(run.unknown, BTreeMap::from([("?".to_owned(), 2)]));
        assert_eq!(Run { counts: Counts::default(), unknown: BTreeMap::new(), ..run }, Run::default());
    }

    #[test]
    fn the_turn_is_what_the_last_records_say() {
        let say = |stop: &str| {
            format!(r#"{{"type":"assistant","message":{{"id":"m","stop_reason":{stop},"content":[{{"type":"text","text":"x"}}]}}}}"#)
        };
        let call = |id: &str, tool: &str| {
            format!(
                r#"{{"type":"assistant","message":{{"id":"m","content":[{{"type":"tool_use","id":"{id}","name":"{tool}","input":{{}}}}]}}}}"#
            )
        };
        let answer = |id: &str| {
            format!(r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"{id}","is_error":true}}]}}}}"#)
        };
        let typed = r#"{"type":"user","message":{"content":"go on"}}"#.to_owned();
        let stopped =
            r#"{"type":"user","message":{"content":[{"type":"text","text":"[Request interrupted by user for tool use]"}]}}"#.to_owned();
        let failed = r#"{"type":"assistant","isApiErrorMessage":true,"error":"rate_limit","message":{"model":"<synthetic>","stop_reason":"stop_sequence","content":[]}}"#.to_owned();
        let over = r#"{"type":"system","subtype":"turn_duration"}"#.to_owned();
        let retry = r#"{"type":"system","subtype":"api_error"}"#.to_owned();
        let (end, open) = (say("\"end_turn\""), say("null"));
        let bash = || call("1", "Bash");
        for (after, turn, doing) in [
            (vec![typed.clone()], Some(Reported::Working), None),
            (vec![typed.clone(), open.clone(), retry], Some(Reported::Working), None),
            (vec![typed.clone(), end.clone()], Some(Reported::Idle), None),
            (vec![end.clone(), bash()], Some(Reported::Working), Some("Bash")),
            (vec![bash(), call("2", "Grep"), answer("2")], Some(Reported::Working), Some("Bash")),
            (vec![bash(), answer("1")], Some(Reported::Working), None),
            (vec![call("1", "AskUserQuestion")], Some(Reported::Waiting), Some("AskUserQuestion")),
            (vec![call("1", "ExitPlanMode"), answer("1")], Some(Reported::Working), None),
            (vec![bash(), answer("1"), stopped], Some(Reported::Idle), None),
            (vec![bash(), failed.clone()], Some(Reported::Failed), None),
            (vec![failed.clone(), over.clone()], Some(Reported::Failed), None),
            (vec![failed, typed], Some(Reported::Working), None),
            (vec![open, over], Some(Reported::Idle), None),
            (vec![r#"{"type":"attachment","attachment":{}}"#.to_owned()], None, None),
        ] {
            let (run, _) = lines(&after.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!((run.turn, run.doing.as_deref()), (turn, doing), "{after:?}");
        }
    }

    #[test]
    fn a_summary_counts_when_it_is_about_this_file() {
        let record = r#"{"type":"user","uuid":"u1","message":{"content":"Fix the roof"}}"#;
        let about = |leaf: &str| format!(r#"{{"type":"summary","summary":"Roof work","leafUuid":"{leaf}"}}"#);
        assert_eq!(lines(&[&about("u1"), record]).0.title(), Some("Roof work"), "the history was copied behind it");
        assert_eq!(lines(&[record, &about("u1")]).0.title(), Some("Roof work"));
        assert_eq!(lines(&[&about("u2"), record, &about("u3")]).0.title(), Some("Fix the roof"));
        let made = r#"{"type":"ai-title","aiTitle":"A new roof"}"#;
        let (early, late) = (lines(&[made, record, &about("u1")]), lines(&[&about("u1"), made, record]));
        assert_eq!((early.0.title(), late.0.title()), (Some("A new roof"), Some("A new roof")), "the tool's title outdoes it");
        assert_eq!(lines(&[record, &about("u1"), made]).0.title(), Some("A new roof"));
    }

    #[test]
    fn a_message_in_several_lines_is_one() {
        let part = |id: &str, request: &str| {
            format!(
                r#"{{"type":"assistant","requestId":"{request}","message":{{"id":"{id}","content":[],"usage":{{"input_tokens":1,"cache_read_input_tokens":10,"output_tokens":5}}}}}}"#
            )
        };
        let (a, b, again) = (part("a", "1"), part("b", "2"), part("a", "3"));
        let (run, _) = lines(&[&a, &b, &a, &b, &again, &a]);
        assert_eq!((run.counts.assistants, run.counts.tokens_in, run.counts.tokens_out), (2, 33, 15));
    }

    #[test]
    fn every_file_of_the_folder_has_its_owner_or_none() {
        let owner = |session: &str, parent: Option<&str>, is_side| {
            Some(Owner { session: session.into(), parent: parent.map(Into::into), is_side, ..Owner::default() })
        };
        let of = |path: &str| file(path).map(|file| if let File::Lines(owner, _) = file { owner } else { panic!("{file:?}") });
        assert_eq!(of(&format!("-srv-demo/{SESSION}.jsonl")), owner(SESSION, None, false));
        assert_eq!(of("-srv-demo/agent-6e4ddee3.jsonl"), owner("agent-6e4ddee3", None, true));
        assert_eq!(of("p/s1/subagents/agent-a0b1.jsonl"), owner("agent-a0b1", Some("s1"), true));
        assert_eq!(of("p/s1/subagents/workflows/wf_1/agent-a0b1.jsonl"), owner("agent-a0b1", Some("s1"), true));
        for none in [
            "s1.jsonl",
            "p/s1.json",
            "p/.s1.jsonl",
            "p/s1/s2.jsonl",
            "p/s1/subagents/s2.jsonl",
            "p/s1/subagents/agent-acompact-0f.jsonl",
            "p/s1/subagents/agent-a0b1.meta.json",
            "p/s1/subagents/workflows/wf_1/journal.jsonl",
            "p/s1/tool-results/agent-a.jsonl",
            "p/memory/x.jsonl",
            "p/agent-.jsonl",
            "p/agent-acompact-0f.jsonl",
            "p/x.sync-conflict-1.jsonl",
            "",
            "/",
        ] {
            assert!(file(none).is_none(), "{none}");
        }
    }

    #[test]
    fn the_beginning_says_where_a_session_works() {
        let head = head(include_bytes!("../../tests/data/claude-transcripts/head.jsonl"));
        assert_eq!(head.session.as_deref(), Some(SESSION));
        assert_eq!(head.cwd.as_deref(), Some("/srv/demo"), "the first one known stays");
        assert_eq!(head.branch.as_deref(), Some("main"));
        assert_eq!(head.title.as_deref(), Some("Sort the shelves"), "the newest that a person gave");
        assert_eq!(head.started, Some(1_782_900_000_500));
    }

    #[test]
    fn a_prompt_is_what_a_person_typed() {
        let prompt = r#"{"type":"user","message":{"role":"user","content":"\n Fix the roof \nplease"}}"#;
        let blocks = r#"{"type":"user","message":{"role":"user","content":[{"type":"text","text":"<ide_opened_file>x</ide_opened_file>"},{"type":"image"},{"type":"text","text":"Fix the door"}]}}"#;
        let title = |line: &str| lines(&[line]).0.prompt;
        assert_eq!(lines(&[prompt, blocks]).0.prompt.as_deref(), Some("Fix the roof"));
        assert_eq!(title(blocks).as_deref(), Some("Fix the door"));
        for none in [
            r#"{"type":"user","isMeta":true,"message":{"content":"Caveat: …"}}"#,
            r#"{"type":"user","isCompactSummary":true,"message":{"content":"Before this, …"}}"#,
            r#"{"type":"user","isSidechain":true,"message":{"content":"You are a helper"}}"#,
            r#"{"type":"user","origin":{"kind":"task-notification"},"message":{"content":"A task ended"}}"#,
            r#"{"type":"user","message":{"content":"<command-name>/clear</command-name>"}}"#,
            r#"{"type":"user","message":{"content":[{"type":"tool_result","content":"ok"}]}}"#,
            r#"{"type":"user","message":{"content":"[Request interrupted by user]"}}"#,
            r#"{"type":"user","message":{"content":" "}}"#,
            r#"{"type":"assistant","message":{"content":"Hello"}}"#,
        ] {
            let (run, _) = lines(&[none]);
            assert_eq!((run.prompt, run.counts.users, run.counts.records), (None, 0, 1), "{none}");
        }
        assert_eq!(title(&prompt.replace("Fix the roof", &"x".repeat(500))).map(|title| title.len()), Some(120));
        let command =
            r#"{"type":"user","message":{"content":"<command-message>fix</command-message>\n<command-name>/fix</command-name>"}}"#;
        assert_eq!((title(command), lines(&[command]).0.counts.users), (None, 1));
    }

    #[test]
    fn a_bad_line_costs_that_line_and_a_torn_one_is_not_read() {
        let good = r#"{"cwd":"/srv/demo"}"#;
        assert_eq!(head(format!("{{\"cwd\":\"/x\n\0\0{good}\r\n").as_bytes()).cwd.as_deref(), Some("/srv/demo"), "after a crash");
        assert_eq!(head(good.as_bytes()), Head::default(), "no newline yet");
        let cut = format!("{{\"last\":\"\\ud83d\",{}\n", &good[1..]);
        assert_eq!(head(cut.as_bytes()).cwd.as_deref(), Some("/srv/demo"), "half an emoji");
        let far = format!("{}\n{good}\n", "x".repeat(usize::try_from(HEAD_BYTES_MAX).expect("fits")));
        assert_eq!(head(far.as_bytes()), Head::default(), "bounded");
    }

    #[test]
    fn long_and_deep_lines_are_lines() {
        let deep = format!(
            r#"{{"type":"user","uuid":"a","toolUseResult":{}1{},"message":{{"content":"Deep"}}}}"#,
            "[".repeat(9_000),
            "]".repeat(9_000)
        );
        let long = json!({"type":"user","uuid":"b","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"x\n\"y\"".repeat(600_000)}]}}).to_string();
        let torn = format!("{}{}", &long[..long.len() / 2], r#"{"type":"user","uuid":"c","message":{"content":"After"}}"#);
        let (run, _) = lines(&[&deep, &long, &torn]);
        assert_eq!((run.counts.records, run.counts.damaged, run.counts.users), (3, 1, 2));
        assert_eq!(run.prompt.as_deref(), Some("Deep"));
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, ms) in [
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2024-12-31T23:59:59.123456Z", 1_735_689_599_123),
        ] {
            assert_eq!(lines(&[&json!({ "timestamp": text }).to_string()]).0.last, Some(ms), "{text}");
        }
        for bad in ["", "Z", "2026-07-01", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-07-01T24:00:00Z", "-1-07-01T10:00:00Z"] {
            assert_eq!(lines(&[&json!({ "timestamp": bad }).to_string()]).0.last, None, "{bad}");
        }
    }

    /// Lines as they come and as they should not.
    #[derive(Debug, Clone)]
    struct Lines(Vec<Vec<u8>>);

    impl Arbitrary for Lines {
        fn arbitrary(g: &mut Gen) -> Lines {
            let fixtures: Vec<&[u8]> = [
                include_bytes!("../../tests/data/claude-transcripts/session.jsonl").as_slice(),
                include_bytes!("../../tests/data/claude-transcripts/tasks.jsonl"),
                include_bytes!("../../tests/data/claude-transcripts/sub-agent.jsonl"),
                include_bytes!("../../tests/data/claude-transcripts/damaged.jsonl"),
            ]
            .into_iter()
            .flat_map(|file| file.split(|b| *b == b'\n'))
            .collect();
            let line = |g: &mut Gen| {
                let line = g.choose(&fixtures).expect("not empty").to_vec();
                match u8::arbitrary(g) % 4 {
                    0 => Vec::arbitrary(g).into_iter().filter(|b| *b != b'\n').collect(),
                    1 => [&line[..usize::arbitrary(g) % (line.len() + 1)], g.choose(&fixtures).expect("not empty")].concat(),
                    _ => line,
                }
            };
            Lines((0..usize::arbitrary(g) % 12).map(|_| line(g)).collect())
        }

        fn shrink(&self) -> Box<dyn Iterator<Item = Lines>> {
            Box::new(self.0.shrink().map(Lines))
        }
    }

    /// One record that says a list with one text of its own.
    fn says(text: &str) -> Vec<u8> {
        let todos = json!([{ "content": text, "status": "pending", "activeForm": "}{\"" }]);
        let block = json!({ "type": "tool_use", "id": format!("t-{text}"), "name": "TodoWrite", "input": { "todos": todos } });
        let record = json!({ "type": "assistant", "uuid": text, "sessionId": "s", "timestamp": "2026-07-01T10:00:00Z", "message": { "id": text, "content": [block] } });
        record.to_string().into_bytes()
    }

    fn said_texts(said: &[Said]) -> Vec<String> {
        let items = said.iter().flat_map(|said| if let Said::List { reading, .. } = said { reading.items.as_slice() } else { &[] });
        items.map(|item| item.text.json().to_owned()).collect()
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>) -> bool {
            let shaped = [b"{\"type\":\"user\",\"message\":{\"content\":\"".as_slice(), &bytes, b"\"}}\n"].concat();
            let _ = (read(&bytes), read(&shaped), head(&bytes));
            true
        }

        fn any_pieces_give_the_same(all: Lines, cuts: Vec<u16>) -> bool {
            let bytes = [all.0.join(b"\n".as_slice()), b"\n".to_vec()].concat();
            let mut sizes: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) % (bytes.len() + 1)).collect();
            sizes.push(bytes.len());
            sizes.sort_unstable();
            let (mut run, mut said, mut at) = (Run::default(), Vec::new(), 0);
            for size in sizes {
                let (whole, consumed) = tail::whole_lines(&bytes[at..size]);
                // A restart in between: the sum comes back from the index.
                run = postcard::from_bytes(&postcard::to_stdvec(&run).expect("a row")).expect("the row");
                whole.into_iter().for_each(|whole| line(&mut run, whole, &mut said));
                at += consumed;
            }
            (run, said) == read(&bytes)
        }

        fn a_damaged_byte_costs_at_most_its_record(count: u8, which: usize, place: usize, byte: u8) -> TestResult {
            let count = usize::from(count % 6) + 2;
            let which = which % count;
            let mut all: Vec<Vec<u8>> = (0..count).map(|n| says(&format!("text {n}"))).collect();
            let place = place % all[which].len();
            if byte == b'\n' {
                return TestResult::discard();
            }
            all[which][place] = byte;
            let (run, said) = read(&[all.join(b"\n".as_slice()), b"\n".to_vec()].concat());
            let others: Vec<String> = (0..count).filter(|n| *n != which).map(|n| format!("text {n}")).collect();
            let kept: Vec<String> = said_texts(&said).into_iter().filter(|text| others.contains(text)).collect();
            let counted = run.counts.records + run.counts.damaged >= count as u64 && run.counts.records + 1 >= count as u64;
            TestResult::from_bool(kept == others && counted)
        }

        fn a_record_cut_anywhere_costs_none_that_follows_on_its_line(cut: usize, more: u8) -> bool {
            let first = says("first");
            let cut = 1 + cut % (first.len() - 1);
            let others: Vec<String> = (0..more % 4 + 1).map(|n| format!("text {n}")).collect();
            let whole: Vec<u8> = others.iter().flat_map(|text| says(text)).collect();
            let (run, said) = read(&[&first[..cut], &whole, b"\n"].concat());
            said_texts(&said) == others && (run.counts.records, run.counts.damaged) == (others.len() as u64, 1)
        }

        fn what_stands_behind_does_not_change_where_it_began(cwd: String, behind: Lines) -> bool {
            let cwd = format!("/{}", cwd.replace('\0', "").trim());
            let line = format!("{}\n", json!({ "cwd": cwd.as_str() }));
            let behind = behind.0.join(b"\n".as_slice());
            head(&[line.as_bytes(), &behind].concat()).cwd.as_deref() == Some(cwd.trim())
        }
    }

    /// The corpus of real files stands beside the project where it was built (or where `HUBLESS_CORPUS` says); elsewhere there
    /// is nothing to check.
    #[test]
    fn every_real_transcript_that_says_where_it_worked_is_understood() {
        let named = std::env::var_os("HUBLESS_CORPUS").map(PathBuf::from);
        let corpus = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus")).join("claude/transcripts");
        let (mut sum, mut unknown, mut lists, mut files) = (Counts::default(), BTreeMap::<String, u64>::new(), 0, 0);
        for path in files_below(&corpus).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")) {
            // Some were stored without their last newline.
            let bytes = [std::fs::read(&path).expect("a readable file"), b"\n".to_vec()].concat();
            let texts: Vec<&[u8]> = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
            let values: Vec<Value> = texts.iter().filter_map(|line| serde_json::from_slice(line).ok()).filter(Value::is_object).collect();
            let (run, said) = read(&bytes);
            let counted = (run.counts.records, run.counts.records + run.counts.damaged);
            assert_eq!(counted, (values.len() as u64, texts.len() as u64), "{}", path.display());
            let first = |key: &str| {
                values.iter().filter_map(|value| value.get(key)?.as_str()).find(|text| !text.trim().is_empty()).map(str::to_owned)
            };
            assert_eq!((run.cwd, run.session), (first("cwd"), first("sessionId")), "{}", path.display());
            assert_eq!((run.started.is_some(), run.first), (first("timestamp").is_some(), first("uuid")), "{}", path.display());
            let calls = String::from_utf8_lossy(&bytes).matches(r#""name":"TodoWrite""#).count()
                + String::from_utf8_lossy(&bytes).matches(r#""name": "TodoWrite""#).count();
            assert_eq!(said.len(), calls, "{}", path.display());
            sum.records += run.counts.records;
            sum.damaged += run.counts.damaged;
            sum.users += run.counts.users;
            sum.tokens_in += run.counts.tokens_in;
            sum.tokens_out += run.counts.tokens_out;
            sum.assistants += run.counts.assistants;
            run.unknown.into_iter().for_each(|(kind, count)| *unknown.entry(kind).or_default() += count);
            (lists, files) = (lists + said.len(), files + 1);
        }
        println!("{files} files, {sum:?}, {lists} lists, unknown kinds: {unknown:?}");
        assert!(files == 0 || lists > 0, "{files} files without a list");
    }

    fn files_below(dir: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("a readable directory").path());
        paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }
}
