//! A session of pi is all that its file holds, every branch of its tree: what was said on a branch that was left was said.
//!
//! A file (FORMATS §5) opens with a header; then come entries, and since header version 2 each names the one before it. The
//! same tree is read in all three versions, because nothing here depends on where in it an entry stands. Whoever forks
//! copies entries into a new file, whose header names the old one: copies are counted in both. A second header is passed
//! over.

use serde::Deserialize;

use super::files::{File, Owner};
use super::loose::{Content, Flag, Many, Maybe, Number, Text};
use super::run::{Run, Said, moment, path, short};
use super::salvage;
use crate::model::beat::Reported;
use crate::model::text::Foreign;
use crate::model::todo::{Listed, Reading, Status};

/// Bytes of a session's id in a file's name; a UUID has 36, an extension may choose another.
const ID_BYTES_MAX: usize = 128;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    cwd: Text<'a>,
    #[serde(borrow)]
    parent_session: Text<'a>,
    #[serde(borrow)]
    branched_from: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    message: Maybe<Message<'a>>,
    usage: Maybe<Usage>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Content<'a>,
    #[serde(borrow)]
    stop_reason: Text<'a>,
    usage: Maybe<Usage>,
    #[serde(borrow)]
    tool_call_id: Text<'a>,
    is_error: Flag,
    #[serde(borrow)]
    details: Maybe<Details<'a>>,
}

/// What is not read from a cache is counted apart from what is.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Usage {
    input: Number,
    output: Number,
    cache_read: Number,
    cache_write: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details<'a> {
    #[serde(borrow)]
    todos: Many<Todo<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Todo<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    done: Flag,
}

/// Which session the file at `path` is: `<time>_<id>.jsonl`, or another name that is the id.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let session = session_of(path)?;
    Some(File::Lines(Owner { session, ..Owner::default() }, line))
}

/// The id in the name of a session's file.
fn session_of(path: &str) -> Option<String> {
    let stem = path.rsplit(['/', '\\']).next()?.strip_suffix(".jsonl")?;
    let id = match stem.split_once('_') {
        Some((time, id)) if time.len() >= 10 && time.as_bytes()[..4].iter().all(u8::is_ascii_digit) => id,
        _ => stem,
    };
    is_id(id).then(|| id.to_owned())
}

/// Whether a part of a file's name is a session's id; synchronisers and editors leave names with dots and spaces.
pub(super) fn is_id(id: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':');
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(fine)
}

/// Takes one line of a session's file.
pub fn line(run: &mut Run, line: &[u8], said: &mut Vec<Said>) {
    salvage::each(run, line, said, take, salvage::is_alike);
}

fn take(run: &mut Run, bytes: &[u8], said: &mut Vec<Said>) -> bool {
    let Ok(entry) = serde_json::from_slice::<Entry<'_>>(bytes) else { return false };
    let at = moment(entry.timestamp.str());
    run.dated(at);
    match entry.r#type.str() {
        "session" => header(run, &entry),
        "message" => match &entry.message.0 {
            Some(found) => message(run, found, at, said),
            None => run.strange("message/?"),
        },
        "session_info" => run.given_title = short(entry.name.str()),
        "compaction" => spent(run, &entry.usage),
        "model_change" | "thinking_level_change" | "branch_summary" | "custom" | "custom_message" | "label" => {}
        "" => run.strange("?"),
        other => run.strange(other),
    }
    true
}

fn header(run: &mut Run, entry: &Entry<'_>) {
    if run.session.is_some() {
        return;
    }
    run.session = short(entry.id.str());
    run.started = moment(entry.timestamp.str()).or(run.started);
    run.cwd = path(entry.cwd.str());
    let parent = entry.parent_session.get().or_else(|| entry.branched_from.get());
    run.parent = parent.and_then(session_of);
}

fn message(run: &mut Run, message: &Message<'_>, at: Option<i64>, said: &mut Vec<Said>) {
    match message.role.str() {
        "user" => {
            run.counts.users += 1;
            run.prompt = run.prompt.take().or_else(|| message.content.typed().and_then(short));
            run.turn = Some(Reported::Working);
        }
        "assistant" => assistant(run, message),
        "toolResult" => result(run, message, at, said),
        "bashExecution" | "custom" | "hookMessage" | "branchSummary" | "compactionSummary" => {}
        other => run.strange(&format!("message/{other}")),
    }
}

fn assistant(run: &mut Run, message: &Message<'_>) {
    run.counts.assistants += 1;
    spent(run, &message.usage);
    // What was called before and never answered will not be.
    run.calls.clear();
    for call in message.content.0.iter().filter(|block| block.r#type.str() == "toolCall") {
        run.called(call.id.str(), short(call.name.str()).unwrap_or_default());
    }
    run.turn = Some(match message.stop_reason.str() {
        "toolUse" => Reported::Working,
        "error" => Reported::Failed,
        // Of a writer that gives no reason.
        "" if !run.calls.is_empty() => Reported::Working,
        _ => Reported::Idle,
    });
    if run.turn != Some(Reported::Working) {
        run.calls.clear();
    }
    doing(run);
}

fn result(run: &mut Run, message: &Message<'_>, at: Option<i64>, said: &mut Vec<Said>) {
    run.answered(message.tool_call_id.str());
    run.turn = Some(Reported::Working);
    doing(run);
    if message.is_error.0 != Some(true) {
        said.extend(message.details.0.as_ref().and_then(|details| list(details, at)));
    }
}

/// The first tool that was called and has not answered.
fn doing(run: &mut Run) {
    run.doing = run.calls.first().and_then(|(_, name)| short(name));
}

/// The list of pi's example extension, which it keeps in the answer of its tool.
fn list(details: &Details<'_>, at: Option<i64>) -> Option<Said> {
    let mut reading = Reading::default();
    for todo in details.todos.0.as_ref()? {
        match todo.as_ref().and_then(listed) {
            Some(item) => reading.items.push(item),
            None => reading.malformed += 1,
        }
    }
    // Another extension's list of the same name has none of these.
    (reading.malformed == 0 || !reading.items.is_empty()).then_some(Said::List { at, agent: String::new(), reading })
}

fn listed(todo: &Todo<'_>) -> Option<Listed> {
    let text = Foreign::new(todo.text.str());
    let status = if todo.done.0? { Status::Completed } else { Status::Pending };
    (!text.is_blank()).then_some(Listed { text, status, active_form: None, priority: None, owner: None })
}

fn spent(run: &mut Run, usage: &Maybe<Usage>) {
    let Some(usage) = &usage.0 else { return };
    let tokens_in = usage.input.get().saturating_add(usage.cache_read.get()).saturating_add(usage.cache_write.get());
    run.counts.tokens_in = run.counts.tokens_in.saturating_add(tokens_in);
    run.counts.tokens_out = run.counts.tokens_out.saturating_add(usage.output.get());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::laws;
    use crate::model::session::Counts;

    fn of(path: &str) -> Option<String> {
        match file(path)? {
            File::Lines(owner, _) => Some(owner.session),
            File::Whole(..)
            | File::Tables(..)
            | File::Names(..)
            | File::Todos(_)
            | File::Task { .. }
            | File::HighMark { .. }
            | File::Process { .. } => None,
        }
    }

    #[test]
    fn the_session_is_what_follows_the_time_in_the_name() {
        assert_eq!(of("--srv-demo--/2026-03-01T09-00-00-000Z_019d-1.jsonl").as_deref(), Some("019d-1"));
        assert_eq!(of("--srv-demo--/2026-03-01T09-00-00-000Z_my_own.jsonl").as_deref(), Some("my_own"));
        assert_eq!(of("my_own.jsonl").as_deref(), Some("my_own"));
        for other in ["x.json", ".jsonl", "a b.jsonl", "a.sync-conflict-1.jsonl", "2026-03-01T09-00-00-000Z_.jsonl", "é_x.jsonl"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_session_is_all_branches_of_its_tree() {
        let (run, said) = laws::read(line, include_bytes!("../../tests/data/pi-sessions/v3.jsonl"));
        assert_eq!(run.session.as_deref(), Some("019d0000-0000-7000-8000-000000000001"));
        assert_eq!(run.parent.as_deref(), Some("019d0000-0000-7000-8000-000000000000"));
        assert_eq!((run.cwd.as_deref(), run.prompt.as_deref(), run.title()), (Some("/srv/demo"), Some("Mow the lawn"), Some("Lawn")));
        assert_eq!((run.started, run.last), (moment("2026-03-01T09:00:00Z"), moment("2026-03-01T09:00:19Z")));
        assert_eq!(run.counts, Counts { records: 21, damaged: 0, users: 3, assistants: 3, tokens_in: 52, tokens_out: 8 });
        assert_eq!((run.turn, run.doing.as_deref()), (Some(Reported::Working), Some("edit")));
        assert_eq!(run.unknown.keys().map(String::as_str).collect::<Vec<_>>(), ["message/gardener", "weather"]);
        let [Said::List { at, agent, reading }] = &said[..] else { panic!("one list") };
        assert_eq!((*at, agent.as_str(), reading.malformed), (moment("2026-03-01T09:00:05Z"), "", 0));
        let items: Vec<_> = reading.items.iter().map(|item| (item.text.json(), item.status)).collect();
        assert_eq!(items, [("Mow", Status::Completed), ("Rake", Status::Pending)]);
    }

    #[test]
    fn older_headers_are_read_and_a_second_one_is_not() {
        let (two, _) = laws::read(line, include_bytes!("../../tests/data/pi-sessions/v2.jsonl"));
        assert_eq!((two.session.as_deref(), two.cwd.as_deref(), two.turn), (Some("s2"), Some("/srv/demo"), Some(Reported::Failed)));
        let (one, _) = laws::read(line, include_bytes!("../../tests/data/pi-sessions/v1.jsonl"));
        assert_eq!((one.session.as_deref(), one.parent.as_deref(), one.title()), (Some("s1"), Some("s0"), Some("Mow")));
        assert_eq!((one.turn, one.counts.users, one.counts.assistants), (Some(Reported::Idle), 1, 1));
        assert!(one.unknown.is_empty() && two.unknown.is_empty());
    }

    #[test]
    fn a_title_can_be_taken_back_and_a_call_that_ended_is_not_being_done() {
        let info = |name: &str| format!("{{\"type\":\"session_info\"{name}}}\n");
        let (run, _) = laws::read(line, [info(",\"name\":\"A\""), info("")].concat().as_bytes());
        assert_eq!(run.title(), None);
        let call = r#"{"type":"message","message":{"role":"assistant","content":[{"type":"toolCall","id":"1","name":"read"},{"type":"toolCall","id":"2","name":"ls"}],"stopReason":"toolUse"}}"#;
        let result = |id| format!(r#"{{"type":"message","message":{{"role":"toolResult","toolCallId":"{id}","content":"x"}}}}"#);
        let doing = |lines: &[&str]| laws::read(line, format!("{}\n", lines.join("\n")).as_bytes()).0.doing;
        assert_eq!(doing(&[call]).as_deref(), Some("read"));
        assert_eq!(doing(&[call, &result(1)]).as_deref(), Some("ls"));
        assert_eq!(doing(&[call, &result(1), &result(2)]), None);
    }
}
