//! A session of Gemini CLI is what its file holds at last: a message that is written again replaces the one before it.
//!
//! Since 0.40 a file (FORMATS §6) is lines: first the session's own, then messages, `{"$set":…}` which patches the session,
//! or all its messages, and `{"$rewindTo":id}` which drops that message and all behind it. Before, it was one object that
//! was rewritten each time, and then nothing is approximate.
//!
//! Of a file of lines, [`Run::own`] remembers the last sixteen messages with what each counted. A message that is written
//! again while it is among them is counted once; an older one twice. A rewind takes back what is still remembered behind
//! its place; it takes no tokens back, because they were spent.

use serde::Deserialize;

use super::claude_todos::Malformed;
use super::files::{File, Owner};
use super::loose::{Content, Many, Maybe, Number, Text};
use super::pi;
use super::run::{Run, Said, moment, short};
use super::salvage;
use crate::model::beat::Reported;
use crate::model::text::Foreign;
use crate::model::todo::{Listed, Reading, Status};

/// Characters of a session's id that stand in its file's name.
const NAMED_CHARS: usize = 8;
/// Characters of the time in a file's name, `2026-04-29T21-39-`.
const TIME_CHARS: usize = 17;

/// A line, or a whole file: the session's own, a message, a patch.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    session_id: Text<'a>,
    #[serde(borrow)]
    start_time: Text<'a>,
    #[serde(borrow)]
    last_updated: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    summary: Text<'a>,
    #[serde(borrow)]
    messages: Many<Message<'a>>,
    #[serde(borrow, rename = "$set")]
    set: Maybe<Set<'a>>,
    #[serde(borrow, rename = "$rewindTo")]
    rewind_to: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow)]
    content: Content<'a>,
    #[serde(borrow)]
    tool_calls: Many<Call<'a>>,
    tokens: Maybe<Tokens>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Set<'a> {
    #[serde(borrow)]
    last_updated: Text<'a>,
    #[serde(borrow)]
    summary: Text<'a>,
    #[serde(borrow)]
    messages: Many<Message<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow)]
    content: Content<'a>,
    #[serde(borrow)]
    tool_calls: Many<Call<'a>>,
    tokens: Maybe<Tokens>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Call<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    args: Maybe<Args<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Args<'a> {
    #[serde(borrow)]
    todos: Many<Todo<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Todo<'a> {
    #[serde(borrow)]
    description: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
}

/// Tokens from a cache are among `input`; thoughts are not among `output`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Tokens {
    input: Number,
    output: Number,
    thoughts: Number,
}

/// What one message counted.
#[derive(Default, Clone, Copy)]
struct Counted {
    users: u64,
    assistants: u64,
    tokens_in: u64,
    tokens_out: u64,
}

/// Which session the file at `path` is: `<project>/chats/session-<time>-<first of its id>.jsonl` or `.json`, a sub-agent's
/// `<project>/chats/<parent>/<id>.jsonl`.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let (_, below) = path.split_once("/chats/")?;
    let (parent, name) = below.split_once('/').map_or((None, below), |(parent, name)| (Some(parent), name));
    let (stem, is_whole) = match name.strip_suffix(".jsonl") {
        Some(stem) => (stem, false),
        None => (name.strip_suffix(".json")?, true),
    };
    let session = stem.strip_prefix("session-").map_or(stem, |rest| rest.get(TIME_CHARS..).unwrap_or(rest));
    // The name of a parent's own file has no more of its id than this.
    let parent = parent.map(|parent| parent.chars().take(NAMED_CHARS).collect::<String>());
    if !pi::is_id(session) || parent.as_ref().is_some_and(|parent| !pi::is_id(parent)) {
        return None;
    }
    let owner = Owner { session: session.to_owned(), is_side: parent.is_some(), parent, agent: None };
    Some(if is_whole { File::Whole(owner, read) } else { File::Lines(owner, line) })
}

/// Takes one line of a session's file.
pub fn line(run: &mut Run, line: &[u8], said: &mut Vec<Said>) {
    salvage::each(run, line, said, take, salvage::is_alike);
}

/// Reads a file that is one object.
///
/// # Errors
///
/// When the bytes are no session, or a torn one. The former reading stays.
pub fn read(bytes: &[u8]) -> Result<(Run, Vec<Said>), Malformed> {
    let text = salvage::mended(salvage::bare(bytes));
    let whole: Line<'_> = salvage::whole(&text)?;
    let (mut run, mut said) = (Run::default(), Vec::new());
    begin(&mut run, &whole);
    let Some(messages) = &whole.messages.0 else {
        return Err(Malformed { why: "the file is no session" });
    };
    all(&mut run, messages, &mut said);
    run.counts.records = messages.iter().flatten().count() as u64;
    run.counts.damaged = messages.len() as u64 - run.counts.records;
    Ok((run, said))
}

fn take(run: &mut Run, bytes: &[u8], said: &mut Vec<Said>) -> bool {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(bytes) else { return false };
    if let Some(set) = &line.set.0 {
        run.last = run.last.max(moment(set.last_updated.str()));
        run.made_title = short(set.summary.str()).or(run.made_title.take());
        if let Some(messages) = &set.messages.0 {
            all(run, messages, said);
        }
    } else if let Some(id) = line.rewind_to.get() {
        rewind(run, id);
    } else if line.session_id.get().is_some() {
        begin(run, &line);
    } else if line.r#type.0.is_some() {
        let Line { id, timestamp, r#type, content, tool_calls, tokens, .. } = line;
        message(run, &Message { id, timestamp, r#type, content, tool_calls, tokens }, said);
    } else {
        run.strange("?");
    }
    true
}

/// The session's own line; it may be written again.
fn begin(run: &mut Run, line: &Line<'_>) {
    run.session = run.session.take().or_else(|| short(line.session_id.str()));
    run.started = moment(line.start_time.str()).or(run.started);
    run.last = run.last.max(run.started).max(moment(line.last_updated.str()));
    run.made_title = short(line.summary.str()).or(run.made_title.take());
    run.is_side |= line.kind.str() == "subagent";
}

/// All messages anew.
fn all(run: &mut Run, messages: &[Option<Message<'_>>], said: &mut Vec<Said>) {
    let (records, damaged) = (run.counts.records, run.counts.damaged);
    run.counts = crate::model::session::Counts { records, damaged, ..Default::default() };
    run.own.clear();
    for found in messages.iter().flatten() {
        message(run, found, said);
    }
}

fn rewind(run: &mut Run, id: &str) {
    let from = run.own.iter().position(|(message, _)| message == id).unwrap_or(0);
    for (_, counted) in run.own.split_off(from) {
        let before = Counted::parse(&counted);
        run.counts.users = run.counts.users.saturating_sub(before.users);
        run.counts.assistants = run.counts.assistants.saturating_sub(before.assistants);
    }
    run.turn = Some(Reported::Idle);
    run.doing = None;
}

fn message(run: &mut Run, message: &Message<'_>, said: &mut Vec<Said>) {
    let at = moment(message.timestamp.str());
    run.dated(at);
    let mut counted = Counted::default();
    match message.r#type.str() {
        "user" => {
            counted.users = 1;
            run.prompt = run.prompt.take().or_else(|| message.content.typed().and_then(short));
            run.turn = Some(Reported::Working);
            run.doing = None;
        }
        "gemini" => {
            counted.assistants = 1;
            if let Some(tokens) = &message.tokens.0 {
                counted.tokens_in = tokens.input.get();
                counted.tokens_out = tokens.output.get().saturating_add(tokens.thoughts.get());
            }
            works(run, message);
            said.extend(message.tool_calls.0.iter().flatten().flatten().filter_map(|call| list(call, at)));
        }
        "error" => {
            run.turn = Some(Reported::Failed);
            run.doing = None;
        }
        "info" | "warning" => {}
        other => run.strange(&format!("message/{other}")),
    }
    let id = message.id.str();
    let before = if id.is_empty() { None } else { run.noted(id) };
    count(run, before.map(|before| Counted::parse(&before)).unwrap_or_default(), counted);
    run.note(id, counted.text());
}

/// A message without a call ends a turn; behind one whose calls are answered, the model goes on.
fn works(run: &mut Run, message: &Message<'_>) {
    let calls = || message.tool_calls.0.iter().flatten().flatten();
    let open = calls().find(|call| matches!(call.status.str(), "validating" | "scheduled" | "executing" | "awaiting_approval"));
    run.doing = open.and_then(|call| short(call.name.str()));
    run.turn = Some(match open {
        Some(call) if call.status.str() == "awaiting_approval" => Reported::Waiting,
        None if calls().next().is_none() => Reported::Idle,
        Some(_) | None => Reported::Working,
    });
}

/// The list that its tool `write_todos` was given: always the whole of it.
fn list(call: &Call<'_>, at: Option<i64>) -> Option<Said> {
    if call.name.str() != "write_todos" || call.status.str() != "success" {
        return None;
    }
    let mut reading = Reading::default();
    for todo in call.args.0.as_ref()?.todos.0.as_ref()? {
        match todo.as_ref().and_then(listed) {
            Some(item) => reading.items.push(item),
            None => reading.malformed += 1,
        }
    }
    Some(Said::List { at, agent: String::new(), reading })
}

fn listed(todo: &Todo<'_>) -> Option<Listed> {
    let text = Foreign::new(todo.description.str());
    let status = Status::parse(todo.status.str())?;
    (!text.is_blank()).then_some(Listed { text, status, active_form: None, priority: None, owner: None })
}

fn count(run: &mut Run, before: Counted, now: Counted) {
    let change = |sum: u64, before: u64, now: u64| sum.saturating_sub(before).saturating_add(now);
    run.counts.users = change(run.counts.users, before.users, now.users);
    run.counts.assistants = change(run.counts.assistants, before.assistants, now.assistants);
    run.counts.tokens_in = change(run.counts.tokens_in, before.tokens_in, now.tokens_in);
    run.counts.tokens_out = change(run.counts.tokens_out, before.tokens_out, now.tokens_out);
}

impl Counted {
    fn text(self) -> String {
        format!("{} {} {} {}", self.users, self.assistants, self.tokens_in, self.tokens_out)
    }

    fn parse(text: &str) -> Counted {
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Counted { users: next(), assistants: next(), tokens_in: next(), tokens_out: next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::laws;
    use crate::model::session::Counts;

    fn owner(path: &str) -> Option<(Owner, bool)> {
        match file(path)? {
            File::Lines(owner, _) => Some((owner, false)),
            File::Whole(owner, _) => Some((owner, true)),
            File::Tables(..) | File::Names(..) | File::Todos(_) | File::Task { .. } | File::HighMark { .. } | File::Process { .. } => None,
        }
    }

    #[test]
    fn a_sub_agent_finds_its_parent_by_what_stands_in_both_names() {
        let main = Owner { session: "aabbccdd".into(), ..Owner::default() };
        assert_eq!(owner("demo/chats/session-2026-04-29T21-39-aabbccdd.jsonl"), Some((main.clone(), false)));
        assert_eq!(owner("demo/chats/session-2026-04-29T21-39-aabbccdd.json"), Some((main.clone(), true)));
        let side = Owner { session: "s-1".into(), parent: Some(main.session), is_side: true, agent: None };
        assert_eq!(owner("demo/chats/aabbccdd-0000-4000-8000-000000000001/s-1.jsonl"), Some((side, false)));
        for other in ["demo/logs.json", "demo/chats/", "demo/chats/x.unreadable-1.jsonl", "demo/chats/a b/c.jsonl", "chats/x.jsonl"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn a_message_that_is_written_again_counts_once_and_what_was_dropped_does_not() {
        let (run, said) = laws::read(line, include_bytes!("../../tests/data/gemini-chats/lines.jsonl"));
        assert_eq!(run.session.as_deref(), Some("aabbccdd-0000-4000-8000-000000000001"));
        assert_eq!((run.title(), run.prompt.as_deref()), (Some("Trees"), Some("Plant a tree")));
        assert_eq!((run.started, run.last), (moment("2026-04-29T21:39:22.319Z"), moment("2026-04-29T21:40:08Z")));
        let counts = Counts { records: 14, damaged: 0, users: 2, assistants: 3, tokens_in: 601, tokens_out: 39 };
        assert_eq!(run.counts, counts, "two that were dropped, with what they had spent");
        assert_eq!((run.turn, run.doing.as_deref()), (Some(Reported::Waiting), Some("run_shell_command")));
        assert_eq!(run.unknown.into_iter().collect::<Vec<_>>(), [("message/comet".to_owned(), 1)]);
        let [Said::List { reading, at, .. }] = &said[..] else { panic!("one list, once its call succeeded") };
        let items: Vec<_> = reading.items.iter().map(|item| (item.text.json(), item.status)).collect();
        assert_eq!(items, [("Dig", Status::Completed), ("Plant", Status::InProgress)]);
        assert_eq!(*at, moment("2026-04-29T21:40:01Z"));
    }

    #[test]
    fn a_patch_with_all_messages_begins_anew() {
        let (run, _) = laws::read(line, include_bytes!("../../tests/data/gemini-chats/checkpoint.jsonl"));
        assert_eq!((run.counts.records, run.counts.users, run.turn), (4, 1, Some(Reported::Failed)));
    }

    #[test]
    fn a_file_that_is_one_object_is_read_as_it_stands() {
        let bytes = include_bytes!("../../tests/data/gemini-chats/whole.json");
        let (run, _) = read(bytes).expect("a session");
        assert_eq!(run.counts, Counts { records: 2, damaged: 1, users: 1, assistants: 1, tokens_in: 7, tokens_out: 5 });
        assert_eq!((run.title(), run.turn), (Some("Plant a tree"), Some(Reported::Idle)));
        assert!((0..bytes.len() - 1).all(|end| read(&bytes[..end]).is_err()), "torn");
        assert!(read(b"{}").is_err(), "of something else");
    }
}
