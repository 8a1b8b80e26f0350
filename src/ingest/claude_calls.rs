//! What an agent says of its plan counts when its tool took it: a task exists once the answer names its id, a change counts
//! once it succeeded. Calls are never numbered here (FORMATS §1.4).
//!
//! A list (`TodoWrite`) is whole in its call and is told at once. Calls about tasks wait for their answer in `Run::calls`, as
//! the tool's name and, on the next line, what of their input is needed. Where that was forgotten, the answer says enough.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::run::{Run, Said};
use super::{claude_todos, salvage};
use crate::model::text::Foreign;
use crate::model::todo::{Change, Status};

/// Bytes that are remembered of a call; less than what `Run::called` remembers at most.
const REMEMBERED_BYTES_MAX: usize = 1_500;
/// Changes that one call may make, so that no list of ids becomes a flood.
const CHANGES_MAX: usize = 256;
/// Bytes of an id; Claude's are decimal numbers.
const ID_BYTES_MAX: usize = 64;

/// What a line holds of a plan; only lines that are known to hold some are read so.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Deep {
    message: Message,
    #[serde(rename = "toolUseResult")]
    answer: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message {
    content: Value,
}

/// Whether calls of that tool are of interest beyond its name.
pub(super) fn plans(tool: &str) -> bool {
    matches!(tool, "TodoWrite" | "TaskCreate" | "TaskUpdate")
}

/// The name of the tool of a remembered call.
pub(super) fn tool(call: &str) -> &str {
    call.split('\n').next().unwrap_or_default()
}

/// Takes the calls of `plans` tools in a line: says the lists, remembers the rest.
pub(super) fn called(run: &mut Run, line: &[u8], at: Option<i64>, agent: &str, said: &mut Vec<Said>) {
    let deep: Deep = serde_json::from_slice(&salvage::mended(line)).unwrap_or_default();
    for block in deep.message.content.as_array().into_iter().flatten() {
        let text = |key: &str| block.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("type") != "tool_use" {
            continue;
        }
        match (text("name"), block.get("input").and_then(Value::as_object)) {
            ("TodoWrite", Some(input)) => {
                let reading = serde_json::to_vec(input).ok().and_then(|list| claude_todos::parse(&list).ok());
                said.extend(reading.map(|reading| Said::List { at, agent: agent.to_owned(), reading }));
            }
            (tool @ ("TaskCreate" | "TaskUpdate"), Some(input)) if !run.calls.iter().any(|(id, _)| id == text("id")) => {
                run.called(text("id"), remembered(tool, input));
            }
            _ => {}
        }
    }
}

/// The tool's name and what of its input matters; as many of the long texts as there is room for.
fn remembered(tool: &str, input: &Map<String, Value>) -> String {
    let mut kept = Map::new();
    for key in ["taskId", "status", "addBlocks", "addBlockedBy", "owner", "subject", "activeForm"] {
        let Some(value) = input.get(key) else { continue };
        kept.insert(key.to_owned(), value.clone());
        if Value::Object(kept.clone()).to_string().len() > REMEMBERED_BYTES_MAX {
            kept.remove(key);
        }
    }
    if is_internal(input) {
        kept.insert("internal".to_owned(), true.into());
    }
    format!("{tool}\n{}", Value::Object(kept))
}

/// Rows that an agent's life cycle keeps for itself (FORMATS §1.3).
pub(super) fn is_internal(task: &Map<String, Value>) -> bool {
    task.get("metadata").and_then(|metadata| metadata.get("_internal")).is_some_and(|flag| *flag != Value::Bool(false) && !flag.is_null())
}

/// Takes the answer of a call about tasks; `call` is what is remembered of it, if anything is.
pub(super) fn answered(call: Option<&str>, line: &[u8], at: Option<i64>, said: &mut Vec<Said>) {
    let deep: Deep = serde_json::from_slice(&salvage::mended(line)).unwrap_or_default();
    let (tool, input) = call.and_then(|call| call.split_once('\n')).unwrap_or_default();
    let input: Map<String, Value> = serde_json::from_str(input).unwrap_or_default();
    let answer = &deep.answer;
    let changes = match tool {
        _ if input.contains_key("internal") || answer.get("success") == Some(&Value::Bool(false)) => Vec::new(),
        "TaskCreate" => created(&input, answer).into_iter().collect(),
        "TaskUpdate" => updated(&input, answer),
        _ if answer.get("statusChange").is_some() => updated(&input, answer),
        _ => created(&input, answer).into_iter().collect(),
    };
    said.extend(changes.into_iter().map(|change| Said::Task { at, change }));
}

fn created(input: &Map<String, Value>, answer: &Value) -> Option<Change> {
    let task = answer.get("task")?.as_object()?;
    let text = text(input, "subject").or_else(|| text(task, "subject"))?;
    Some(Change {
        id: id(task.get("id")?)?,
        text: Some(text),
        status: Some(status(task).unwrap_or(Status::Pending)),
        active_form: self::text(input, "activeForm"),
        ..Change::default()
    })
}

fn updated(input: &Map<String, Value>, answer: &Value) -> Vec<Change> {
    let Some(task) = input.get("taskId").or_else(|| answer.get("taskId")).and_then(id) else { return Vec::new() };
    let moved = || Status::parse(answer.get("statusChange")?.get("to")?.as_str()?);
    let blocks = ids(input.get("addBlocks"));
    let own = Change {
        id: task.clone(),
        text: text(input, "subject"),
        status: status(input).or_else(moved),
        active_form: text(input, "activeForm"),
        owner: text(input, "owner"),
        blocked_by: ids(input.get("addBlockedBy")),
    };
    let blocked = blocks.into_iter().map(|id| Change { id, blocked_by: vec![task.clone()], ..Change::default() });
    std::iter::once(own).chain(blocked).collect()
}

/// A task's status; the tool also takes `deleted` (FORMATS §1.3).
pub(super) fn status(task: &Map<String, Value>) -> Option<Status> {
    match task.get("status")?.as_str()? {
        "deleted" => Some(Status::Cancelled),
        word => Status::parse(word),
    }
}

/// A text that says something.
pub(super) fn text(task: &Map<String, Value>, key: &str) -> Option<Foreign> {
    task.get(key)?.as_str().map(Foreign::new).filter(|text| !text.is_blank())
}

/// A task's id; some write it as a number.
pub(super) fn id(value: &Value) -> Option<String> {
    let id = value.as_str().map_or_else(|| value.as_u64().map(|number| number.to_string()), |text| Some(text.trim().to_owned()))?;
    let is_plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (is_plain && (1..=ID_BYTES_MAX).contains(&id.len())).then_some(id)
}

/// A list of ids.
pub(super) fn ids(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(id).take(CHANGES_MAX).collect()
}
