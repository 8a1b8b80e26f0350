//! A Codex session is what its rollout says, in every form that rollouts have had; nothing stands twice in its sums because
//! the tool wrote it twice.
//!
//! A rollout (FORMATS §4) opens with the session's own line; later lines of that kind are history copied from a session it
//! was forked from, and are passed over. What a person typed stands there as an item of the model's history and, since
//! September 2025, as an event: as soon as a file has such an event, events alone are counted, because the items also hold
//! what the tool put in. The model's answers are counted by the items, and by events only in a file without any.
//! [`Run::own`] remembers which of these a file has. Copied history of a fork is counted as if it were the fork's own.
//!
//! The plan exists only as the call `update_plan`; it counts once its answer came and is no refusal. A call that is too
//! large to be remembered until then counts at once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claude_todos::Malformed;
use super::codex_record::{Deep, Line, Meta, Old, Payload, Plan, Record, SILENT_EVENTS, Step};
use super::files::{self, File, Owner};
use super::loose::Text;
use super::run::{Run, Said, moment, path, short};
use super::{salvage, tail};
use crate::model::beat::Reported;
use crate::model::text::Foreign;
use crate::model::todo::{Listed, Reading, Status};

/// Bytes of a session's id in a file's name; a UUID has 36.
const ID_BYTES_MAX: usize = 128;
/// What a file has, as [`Run::own`] remembers it: what people typed, as events.
const TYPED_EVENTS: &str = "typed";
/// What the model answered, as items.
const ANSWER_ITEMS: &str = "answers";
/// When turns begin and end.
const TURNS: &str = "turns";
/// Where the request of a person begins in a prompt to which an editor's extension has added what is open there.
const REQUEST_MARK: &str = "## My request for Codex:";

/// Which session the rollout at `path` is: `rollout-<time>-<uuid>.jsonl`, in day folders, flat, or archived, and with `.zst` when
/// it was packed; `.json` of the TypeScript program.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let name = path.rsplit('/').next()?;
    let (stem, whole) = match files::plain(name).strip_suffix(".jsonl") {
        Some(stem) => (stem, false),
        None => (name.strip_suffix(".json")?, true),
    };
    let session = session(stem.strip_prefix("rollout-")?)?;
    let owner = Owner { session: session.to_owned(), ..Owner::default() };
    Some(if whole { File::Whole(owner, read) } else { File::Lines(owner, line) })
}

/// Whether the file at `path` is the index of what sessions are called.
#[must_use]
pub fn names_file(path: &str) -> Option<File> {
    (path == "session_index.jsonl").then_some(File::Names(names))
}

/// Reads that index: a line for each time that a session was named, the last one counts.
#[must_use]
pub fn names(bytes: &[u8]) -> BTreeMap<String, String> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Text<'a>,
        #[serde(borrow)]
        thread_name: Text<'a>,
    }
    let mut names = BTreeMap::new();
    for line in tail::whole_lines(bytes).0 {
        let text = salvage::mended(salvage::bare(line));
        let Ok(named) = serde_json::from_slice::<Named<'_>>(&text) else { continue };
        if let (Some(id), Some(name)) = (named.id.get(), short(named.thread_name.str())) {
            names.insert(id.to_owned(), name);
        }
    }
    names
}

/// The id behind `2026-02-01T08-00-00-` or `2025-05-01-`.
fn session(rest: &str) -> Option<&str> {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let (date, behind) = rest.split_at_checked(10).filter(|(date, _)| digits(date))?;
    let time = behind.strip_prefix('T').and_then(|behind| behind.split_at_checked(8)).filter(|(time, _)| digits(time));
    let id = time.map_or(behind, |(_, behind)| behind).strip_prefix('-')?;
    let fine = (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (fine && date.len() == 10).then_some(id)
}

/// Takes one line of a rollout.
pub fn line(run: &mut Run, line: &[u8], said: &mut Vec<Said>) {
    salvage::each(run, line, said, take, salvage::is_alike);
}

/// Reads a rollout of the TypeScript program.
///
/// # Errors
///
/// When the bytes are no such rollout, or a torn one.
pub fn read(bytes: &[u8]) -> Result<(Run, Vec<Said>), Malformed> {
    let text = salvage::mended(salvage::bare(bytes));
    let old: Old<'_> = salvage::whole(&text)?;
    let (mut run, mut said) = (Run::default(), Vec::new());
    begin(&mut run, &old.session);
    for item in &old.items {
        // Its items are what later rollouts have as lines without an envelope.
        line(&mut run, item.to_string().as_bytes(), &mut said);
    }
    Ok((run, said))
}

fn take(run: &mut Run, bytes: &[u8], said: &mut Vec<Said>) -> bool {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(bytes) else { return false };
    let at = moment(line.timestamp.str());
    run.dated(at);
    let kind = line.r#type.str();
    if let Some(payload) = line.payload.0 {
        enveloped(run, kind, &Record { bytes, is_enveloped: true, at, payload }, said);
    } else if line.record_type.0.is_none() {
        let Ok(payload) = serde_json::from_slice::<Payload<'_>>(bytes) else { return false };
        let record = Record { bytes, is_enveloped: false, at, payload };
        match kind {
            "" if record.payload.role.0.is_some() => item(run, "message", &record, said),
            "" if record.payload.id.0.is_some() => meta(run, &record),
            "" => run.strange("?"),
            kind => item(run, kind, &record, said),
        }
    }
    true
}

fn enveloped(run: &mut Run, kind: &str, record: &Record<'_>, said: &mut Vec<Said>) {
    match kind {
        "session_meta" => meta(run, record),
        "response_item" => item(run, record.payload.r#type.str(), record, said),
        "event_msg" => event(run, record),
        "turn_context" => run.cwd = run.cwd.take().or_else(|| path(record.payload.cwd.str())),
        "compacted" | "world_state" | "inter_agent_communication" | "inter_agent_communication_metadata" => {}
        other => run.strange(other),
    }
}

fn meta(run: &mut Run, record: &Record<'_>) {
    if run.session.is_none() {
        begin(run, &record.again(&record.text()));
    }
}

/// The session's own first line.
fn begin(run: &mut Run, meta: &Meta<'_>) {
    run.session = short(meta.id.str());
    run.started = moment(meta.timestamp.str()).or(run.started);
    run.last = run.last.max(run.started);
    run.cwd = path(meta.cwd.str()).or(run.cwd.take());
    if let Some(git) = &meta.git.0 {
        run.branch = short(git.branch.str());
        run.remote = path(git.repository_url.str());
    }
    let sub = &meta.source["subagent"];
    let spawn = &sub["thread_spawn"];
    let text = |value: &Value| value.as_str().and_then(short);
    run.parent = short(meta.forked_from_id.str()).or_else(|| short(meta.parent_thread_id.str()));
    run.parent = run.parent.take().or_else(|| text(&spawn["parent_thread_id"]));
    run.agent = short(meta.agent_nickname.str()).or_else(|| text(&spawn["agent_nickname"]));
    run.is_side = !sub.is_null() || meta.thread_source.str() == "subagent";
}

/// One item of the model's history.
fn item(run: &mut Run, kind: &str, record: &Record<'_>, said: &mut Vec<Said>) {
    match kind {
        "message" => message(run, record),
        "function_call" | "custom_tool_call" | "local_shell_call" => call(run, kind, record, said),
        "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => answer(run, record, said),
        "reasoning" | "web_search_call" | "tool_search_call" | "image_generation_call" => works(run),
        "tool_search_output" | "agent_message" | "compaction" | "compaction_summary" | "context_compaction" | "ghost_snapshot" => {}
        other => run.strange(&format!("response_item/{other}")),
    }
}

fn message(run: &mut Run, record: &Record<'_>) {
    match record.payload.role.str() {
        "user" => {
            let text = record.text();
            let deep: Deep<'_> = record.again(&text);
            run.cwd = run.cwd.take().or_else(|| deep.content.texts().find_map(environment));
            if has(run, TYPED_EVENTS) {
                return;
            }
            if let Some(typed) = deep.content.typed().filter(|text| !text.starts_with("# AGENTS.md")) {
                run.counts.users += 1;
                prompt(run, typed);
                works(run);
            }
        }
        "assistant" => {
            if learn(run, ANSWER_ITEMS) {
                run.counts.assistants = 0;
            }
            run.counts.assistants += 1;
            answered(run, record.payload.phase.str());
        }
        "developer" | "system" => {}
        other => run.strange(&format!("message/{other}")),
    }
}

/// Where the tool says that it works: `<cwd>…</cwd>`, and before that `Current working directory: …`.
fn environment(text: &str) -> Option<String> {
    let inside = text.trim_start().strip_prefix("<environment_context>")?;
    let tagged = inside.split_once("<cwd>").and_then(|(_, behind)| behind.split_once("</cwd>")).map(|(cwd, _)| cwd);
    let line = || inside.lines().find_map(|line| line.trim().strip_prefix("Current working directory:"));
    path(tagged.or_else(line)?)
}

fn prompt(run: &mut Run, typed: &str) {
    if run.prompt.is_none() {
        let request = typed.split_once(REQUEST_MARK).map_or(typed, |(_, request)| request);
        run.prompt = short(request);
    }
}

/// The model said something: before the beginnings and ends of turns were written, that was how a turn ended.
fn answered(run: &mut Run, phase: &str) {
    if !has(run, TURNS) && phase != "commentary" {
        run.turn = Some(Reported::Idle);
    }
}

/// Something is done: a person's answer that was waited for has come.
fn works(run: &mut Run) {
    if !has(run, TURNS) || run.turn == Some(Reported::Waiting) {
        run.turn = Some(Reported::Working);
    }
}

fn call(run: &mut Run, kind: &str, record: &Record<'_>, said: &mut Vec<Said>) {
    let name = record.payload.name.get().unwrap_or(kind);
    works(run);
    if name == "request_user_input" {
        run.turn = Some(Reported::Waiting);
    }
    run.doing = short(name);
    let id = record.payload.call_id.str();
    if name != "update_plan" {
        run.called(id, run.doing.clone().unwrap_or_default());
        return;
    }
    let text = record.text();
    let deep: Deep<'_> = record.again(&text);
    let arguments = deep.arguments.str();
    if !run.called(id, format!("{name}\n{arguments}")) {
        said.extend(plan(arguments, record.at));
    }
}

fn answer(run: &mut Run, record: &Record<'_>, said: &mut Vec<Said>) {
    works(run);
    let Some(call) = run.answered(record.payload.call_id.str()) else { return };
    run.doing = run.calls.last().and_then(|(_, call)| short(call));
    if let Some(arguments) = call.strip_prefix("update_plan\n") {
        let text = record.text();
        let deep: Deep<'_> = record.again(&text);
        if !is_refusal(&deep.output) {
            said.extend(plan(arguments, record.at));
        }
    }
}

/// Whether the answer of `update_plan` says that nothing was done; a good one says `Plan updated`.
fn is_refusal(output: &Value) -> bool {
    let text = output.as_str().or_else(|| output["content"].as_str()).or_else(|| output["text"].as_str()).unwrap_or_default();
    let text = text.trim_start().to_ascii_lowercase();
    let refused = ["fail", "err", "unsupported", "aborted", "update_plan is"].iter().any(|word| text.starts_with(word));
    refused || output["success"] == false
}

/// The list in the arguments of `update_plan`.
fn plan(arguments: &str, at: Option<i64>) -> Option<Said> {
    let plan: Plan<'_> = serde_json::from_str(arguments).ok()?;
    let mut reading = Reading::default();
    for step in plan.plan.0? {
        match step.and_then(|step| listed(&step)) {
            Some(item) => reading.items.push(item),
            None => reading.malformed += 1,
        }
    }
    Some(Said::List { at, agent: String::new(), reading })
}

fn listed(step: &Step<'_>) -> Option<Listed> {
    let text = Foreign::new(step.step.str());
    let status = Status::parse(step.status.str())?;
    (!text.is_blank()).then_some(Listed { text, status, active_form: None, priority: None, owner: None })
}

fn event(run: &mut Run, record: &Record<'_>) {
    let payload = &record.payload;
    match payload.r#type.str() {
        "user_message" => typed(run, record.again::<Deep<'_>>(&record.text()).message.get()),
        "agent_message" => said_by_model(run, payload.phase.str()),
        "item_completed" => completed(run, record),
        "token_count" => tokens(run, payload),
        "task_started" | "turn_started" => {
            learn(run, TURNS);
            run.turn = Some(Reported::Working);
        }
        "task_complete" | "turn_complete" => {
            // A turn that met an error ends all the same, without an answer.
            let failed = payload.error.0.is_some() || (run.turn == Some(Reported::Failed) && payload.last_agent_message.0.is_none());
            over(run, if failed { Reported::Failed } else { Reported::Idle });
        }
        "turn_aborted" => {
            let by_hand = matches!(payload.reason.str(), "" | "interrupted" | "replaced" | "review_ended");
            over(run, if by_hand { Reported::Idle } else { Reported::Failed });
        }
        "error" => over(run, Reported::Failed),
        "exec_approval_request" | "apply_patch_approval_request" | "request_permissions" | "request_user_input" | "elicitation_request" => {
            run.turn = Some(Reported::Waiting);
        }
        "thread_name_updated" => run.given_title = short(payload.thread_name.str()),
        kind if SILENT_EVENTS.contains(&kind) => {}
        kind => run.strange(&format!("event_msg/{kind}")),
    }
}

fn typed(run: &mut Run, text: Option<&str>) {
    if learn(run, TYPED_EVENTS) {
        run.counts.users = 0;
        // The item that stood before it may have been the tool's.
        run.prompt = None;
    }
    run.counts.users += 1;
    if let Some(text) = text {
        prompt(run, text);
    }
    works(run);
}

fn said_by_model(run: &mut Run, phase: &str) {
    if !has(run, ANSWER_ITEMS) {
        run.counts.assistants += 1;
    }
    answered(run, phase);
}

/// Rollouts in pages have the two sides of the conversation only so.
fn completed(run: &mut Run, record: &Record<'_>) {
    let Some(item) = &record.payload.item.0 else { return };
    match item.r#type.str() {
        "UserMessage" => {
            let text = record.text();
            let deep: Deep<'_> = record.again(&text);
            typed(run, deep.item.0.as_ref().and_then(|item| item.content.typed()));
        }
        "AgentMessage" => said_by_model(run, item.phase.str()),
        _ => {}
    }
}

/// The totals of the whole session so far.
fn tokens(run: &mut Run, payload: &Payload<'_>) {
    if let Some(usage) = payload.info.0.as_ref().and_then(|info| info.total_token_usage.0.as_ref()) {
        run.counts.tokens_in = usage.input_tokens.get();
        run.counts.tokens_out = usage.output_tokens.get();
    }
}

/// A turn has ended; what it had called will not be answered.
fn over(run: &mut Run, turn: Reported) {
    run.turn = Some(turn);
    run.doing = None;
    run.calls.clear();
}

fn has(run: &Run, what: &str) -> bool {
    run.own.iter().any(|(known, _)| known == what)
}

/// The file has this; says whether that is news.
fn learn(run: &mut Run, what: &str) -> bool {
    !has(run, what) && run.note(what, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::laws;
    use crate::model::session::Counts;

    const ENVELOPED: &[u8] = include_bytes!("../../tests/data/codex-rollouts/enveloped.jsonl");

    fn of(path: &str) -> Option<(String, bool)> {
        match file(path)? {
            File::Lines(owner, _) => Some((owner.session, false)),
            File::Whole(owner, _) => Some((owner.session, true)),
            File::Tables(..) | File::Names(..) | File::Todos(_) | File::Task { .. } | File::HighMark { .. } | File::Process { .. } => None,
        }
    }

    type List<'a> = (Option<i64>, Vec<(&'a str, Status)>, u64);

    fn lists(said: &[Said]) -> Vec<List<'_>> {
        let list = |said| match said {
            &Said::List { at, ref agent, ref reading } if agent.is_empty() => {
                (at, reading.items.iter().map(|item| (item.text.json(), item.status)).collect(), reading.malformed)
            }
            Said::List { .. } | Said::Task { .. } | Said::Ended { .. } => panic!("a list of the main thread"),
        };
        said.iter().map(list).collect()
    }

    #[test]
    fn a_session_is_called_as_the_index_said_last() {
        let index = [
            r#"{"id":"a","thread_name":"Roof","updated_at":"2026-02-01T08:00:00Z"}"#,
            r#"{"id":"b","thread_name":" ","updated_at":"2026-02-01T08:00:00Z"}"#,
            r#"{"id":7,"thread_name":"x"}"#,
            "torn",
            r#"{"id":"a","thread_name":"A new roof\nfor the shed"}"#,
            r#"{"id":"c","thread_name":"not whole yet"}"#,
        ];
        assert_eq!(names(index.join("\n").as_bytes()), BTreeMap::from([("a".to_owned(), "A new roof".to_owned())]));
        assert!(names(b"").is_empty() && names_file("session_index.jsonl").is_some() && names_file("history.jsonl").is_none());
    }

    #[test]
    fn a_rollout_is_the_same_session_wherever_it_lies() {
        let id = "019c0000-0000-7000-8000-000000000001";
        for path in ["2026/02/01/rollout-2026-02-01T08-00-00-", "rollout-2026-02-01T08-00-00-"] {
            assert_eq!(of(&format!("{path}{id}.jsonl")), Some((id.to_owned(), false)));
            assert_eq!(of(&format!("{path}{id}.jsonl.zst")), Some((id.to_owned(), false)));
        }
        assert_eq!(of(&format!("rollout-2025-05-01-{id}.json")), Some((id.to_owned(), true)));
        for other in [
            "history.jsonl",
            "rollout-.jsonl",
            "rollout-2026-02-01T08-00-00.jsonl",
            "rollout-2026-02-01T08-00-00-.jsonl",
            "rollout-2026-02-01T08-00-00-a b.jsonl",
            "rollout-2026-02-01T08-00-00-a.sync-conflict-1.jsonl",
            "rollout-é2026-02-01T08-00-00-a.jsonl",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_rollout_in_envelopes_says_what_happened() {
        let (run, said) = laws::read(line, ENVELOPED);
        assert_eq!(run.session.as_deref(), Some("019c0000-0000-7000-8000-000000000001"));
        assert_eq!((run.cwd.as_deref(), run.branch.as_deref()), (Some("/srv/demo"), Some("main")));
        assert_eq!(run.remote.as_deref(), Some("https://example.org/anna/demo.git"));
        assert_eq!((run.parent.as_ref(), run.is_side, run.agent.as_ref()), (None, false, None));
        assert_eq!(run.started, moment("2026-02-01T07:58:41Z"), "its own, not when the file was made");
        assert_eq!(run.last, moment("2026-02-01T08:00:14Z"));
        assert_eq!(run.prompt.as_deref(), Some("Sort the shelves 😀"));
        assert_eq!(run.title(), Some("Shelves"));
        let counts = Counts { records: 31, damaged: 0, users: 1, assistants: 1, tokens_in: 300, tokens_out: 30 };
        assert_eq!(run.counts, counts);
        assert_eq!((run.turn, run.doing.as_ref(), run.calls.len()), (Some(Reported::Idle), None, 0));
        let unknown: Vec<_> = run.unknown.iter().map(|(kind, times)| (kind.as_str(), *times)).collect();
        assert_eq!(unknown, [("event_msg/dance_begin", 1), ("moon_phase", 1), ("response_item/dream_call", 1)]);
        let steps = vec![("Read code", Status::Completed), ("Patch", Status::InProgress)];
        assert_eq!(lists(&said), [(moment("2026-02-01T08:00:03.100Z"), steps, 1)], "what was refused is no plan");
    }

    #[test]
    fn a_rollout_without_envelopes_is_read_as_well() {
        let (run, said) = laws::read(line, include_bytes!("../../tests/data/codex-rollouts/legacy.jsonl"));
        assert_eq!(run.session.as_deref(), Some("5c0e1f2a-0000-4000-8000-000000000001"));
        assert_eq!((run.cwd.as_deref(), run.branch.as_deref()), (Some("/srv/boat"), Some("main")));
        assert_eq!(run.remote.as_deref(), Some("git@example.org:anna/boat.git"));
        assert_eq!((run.started, run.last), (moment("2025-07-30T08:00:00Z"), moment("2025-07-30T08:00:00Z")));
        assert_eq!(run.title(), Some("Caulk the hull"));
        assert_eq!((run.counts.users, run.counts.assistants, run.counts.records), (1, 1, 11));
        assert_eq!((run.turn, run.unknown.len()), (Some(Reported::Idle), 0));
        assert_eq!(lists(&said), [(None, vec![("Scrape", Status::InProgress), ("Caulk", Status::Pending)], 0)]);
    }

    #[test]
    fn a_fork_is_not_what_it_was_forked_from() {
        let (run, _) = laws::read(line, include_bytes!("../../tests/data/codex-rollouts/fork.jsonl"));
        assert_eq!(run.session.as_deref(), Some("019c0000-0000-7000-8000-000000000003"));
        assert_eq!(run.parent.as_deref(), Some("019c0000-0000-7000-8000-000000000001"));
        assert_eq!((run.cwd.as_deref(), run.branch.as_ref()), (Some("/srv/fork"), None));
        assert_eq!((run.is_side, run.agent.as_deref()), (true, Some("Robie")));
        assert_eq!((run.turn, run.doing.as_deref()), (Some(Reported::Working), Some("shell")));
    }

    #[test]
    fn a_rollout_in_pages_has_its_messages_as_items_of_events() {
        let (run, said) = laws::read(line, include_bytes!("../../tests/data/codex-rollouts/paged.jsonl"));
        assert_eq!((run.counts.users, run.counts.assistants, run.title()), (1, 1, Some("Look at the roof")));
        assert_eq!(run.parent.as_deref(), Some("019c0000-0000-7000-8000-000000000001"));
        assert_eq!((run.is_side, run.agent.as_deref()), (true, Some("Ada")));
        assert_eq!(run.turn, Some(Reported::Failed), "an error, and the turn's end without an answer");
        assert!(said.is_empty() && run.unknown.is_empty());
    }

    #[test]
    fn the_rollout_of_the_first_program_is_read_as_a_whole() {
        let bytes = include_bytes!("../../tests/data/codex-rollouts/old.json");
        let (run, _) = read(bytes).expect("a rollout");
        assert_eq!(run.session.as_deref(), Some("5c0e1f2a-0000-4000-8000-000000000002"));
        assert_eq!((run.title(), run.started), (Some("Paint the door"), moment("2025-05-01T10:00:00Z")));
        assert_eq!((run.counts.records, run.counts.users, run.counts.assistants), (5, 1, 1));
        assert!((0..bytes.len() - 1).all(|end| read(&bytes[..end]).is_err()), "torn");
        assert!(read(b"{}").is_err() && read(b"[]").is_err() && read(ENVELOPED).is_err());
    }

    #[test]
    fn the_turn_is_what_the_last_records_say() {
        let turn = |events: &[&str]| {
            let (mut run, mut said) = (Run::default(), Vec::new());
            for event in events {
                let kind = if event.contains("call") || event.contains("role") { "response_item" } else { "event_msg" };
                line(&mut run, format!(r#"{{"type":"{kind}","payload":{{{event}}}}}"#).as_bytes(), &mut said);
            }
            assert!(run.unknown.is_empty());
            (run.turn, run.doing)
        };
        let begin = r#""type":"task_started""#;
        let call = r#""type":"function_call","name":"shell","call_id":"1","arguments":"{}""#;
        let question = r#""type":"function_call","name":"request_user_input","call_id":"2","arguments":"{}""#;
        let answer = r#""type":"function_call_output","call_id":"2","output":"yes""#;
        let approval = r#""type":"exec_approval_request","call_id":"1""#.replace("call_id", "id");
        let says = r#""type":"message","role":"assistant","content":[]"#;
        let shell = Some("shell".to_owned());
        for (events, expected, doing) in [
            (&[begin][..], Reported::Working, None),
            (&[begin, call], Reported::Working, shell.clone()),
            (&[begin, call, says], Reported::Working, shell.clone()),
            (&[call, says], Reported::Idle, shell.clone()),
            (&[begin, call, &approval], Reported::Waiting, shell.clone()),
            (&[begin, call, question], Reported::Waiting, Some("request_user_input".to_owned())),
            (&[begin, call, question, answer], Reported::Working, shell),
            (&[begin, call, r#""type":"turn_aborted","reason":"interrupted""#], Reported::Idle, None),
            (&[begin, call, r#""type":"turn_aborted","reason":"budget_limited""#], Reported::Failed, None),
            (&[begin, r#""type":"error","message":"x""#, r#""type":"turn_complete","last_agent_message":null"#], Reported::Failed, None),
            (
                &[begin, r#""type":"error","message":"x""#, begin, r#""type":"task_complete","last_agent_message":"y""#],
                Reported::Idle,
                None,
            ),
            (&[begin, r#""type":"task_complete","error":{"message":"x"}"#], Reported::Failed, None),
        ] {
            assert_eq!(turn(events), (Some(expected), doing), "{events:?}");
        }
    }

    #[test]
    fn what_a_person_typed_is_counted_once_whichever_way_it_is_written() {
        let item = r#"{"type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"do"}]}}"#;
        let event = r#"{"type":"event_msg","payload":{"type":"user_message","message":"do"}}"#;
        for (lines, users) in
            [(vec![item, item], 2), (vec![item, event, item, event], 2), (vec![event, item, event, item], 2), (vec![event], 1)]
        {
            let (run, _) = laws::read(line, format!("{}\n", lines.join("\n")).as_bytes());
            assert_eq!((run.counts.users, run.title()), (users, Some("do")));
        }
    }

    #[test]
    fn a_plan_too_large_to_be_remembered_counts_when_it_is_made() {
        let step = "x".repeat(5000);
        let plan = serde_json::json!({ "plan": [{ "step": step, "status": "pending" }] }).to_string();
        let call = serde_json::json!({ "type": "function_call", "name": "update_plan", "call_id": "1", "arguments": plan });
        let answer = serde_json::json!({ "type": "function_call_output", "call_id": "1", "output": "Plan updated" });
        let (_, said) = laws::read(line, format!("{call}\n{answer}\n").as_bytes());
        assert_eq!(lists(&said), [(None, vec![(step.as_str(), Status::Pending)], 0)]);
    }
}
