//! A damaged element costs that element, never the list; and a list that may have been cut short is no list, so that
//! nothing is ever taken for removed because a file was torn.
//!
//! Claude Code writes `<claude root>/todos/<session>-agent-<agent>.json`: one array, replaced as a whole, whose elements are
//! `{content, status, …}` in three shapes (FORMATS §1.2). A file that parses is taken at its word. In one that does not,
//! each element is parsed from its own `{`, and after a damaged one the next whole element is searched.
//! A reading with `malformed > 0` does not say what the list lacks.

use serde_json::{Map, Value};

use super::escapes;
use crate::model::limits::{ITEMS_MAX, TODO_FILE_BYTES_MAX};
use crate::model::text::Foreign;
use crate::model::todo::{Listed, Reading, Status};

/// Bytes of one half of a file's name; a UUID has 36.
const ID_BYTES_MAX: usize = 128;
/// Places at which a whole element is searched for in one damaged file, so that no file can keep us busy: each try may
/// read on to the end of the file.
const TRIES_MAX: usize = 1_000;

/// Whose list a file is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The tool's id of the session.
    pub session: String,
    /// The agent's id: the session's for the main thread, another for a sub-agent.
    pub agent: String,
}

/// Why a file is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    /// In words, without any of its content.
    pub why: &'static str,
}

/// Whose list the file at `path` is, from its name alone: `<session>-agent-<agent>.json`, or the older `<session>.json`.
///
/// `None` for anything else: files in folders, hidden files, what editors and synchronisers leave (`x.json.tmp`,
/// `x.sync-conflict-….json`, `x~`, `x (copy).json`).
#[must_use]
pub fn name(path: &str) -> Option<Name> {
    let stem = path.strip_suffix(".json")?;
    let (session, agent) = stem.split_once("-agent-").unwrap_or((stem, stem));
    let fine = |id: &str| {
        (1..=ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !id.starts_with(['-', '_'])
    };
    (fine(session) && fine(agent)).then(|| Name { session: session.to_owned(), agent: agent.to_owned() })
}

/// Reads one list.
///
/// # Errors
///
/// When the bytes are no whole list: empty, torn, over the limit, or something else altogether. The former reading stays.
pub fn parse(bytes: &[u8]) -> Result<Reading, Malformed> {
    if bytes.len() as u64 > TODO_FILE_BYTES_MAX {
        return Err(Malformed { why: "the file is larger than a todo list may be" });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
    let bytes = &*escapes::mend(bytes);
    if bytes.is_empty() {
        return Err(Malformed { why: "the file is empty" });
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Array(elements)) => Ok(whole(elements)),
        Ok(Value::Object(mut wrapper)) => match wrapper.remove("todos") {
            Some(Value::Array(elements)) => Ok(whole(elements)),
            _ => Err(Malformed { why: "the file is an object without a list of todos" }),
        },
        Ok(_) => Err(Malformed { why: "the file is no list" }),
        Err(_) => piecewise(inside(bytes)?),
    }
}

fn whole(elements: Vec<Value>) -> Reading {
    let mut reading = Reading::default();
    for element in elements {
        take(&mut reading, &element);
    }
    reading
}

fn take(reading: &mut Reading, element: &Value) {
    match element.as_object().and_then(listed) {
        Some(item) if reading.items.len() < ITEMS_MAX => reading.items.push(item),
        Some(_) | None => reading.malformed += 1,
    }
}

/// One element of shape A, B or C, if it says what and how far.
fn listed(element: &Map<String, Value>) -> Option<Listed> {
    let text = |key: &str| element.get(key).and_then(Value::as_str).map(Foreign::new).filter(|text| !text.is_blank());
    Some(Listed {
        text: text("content")?,
        status: Status::parse(element.get("status")?.as_str()?)?,
        active_form: text("activeForm"),
        priority: text("priority"),
        owner: text("owner"),
    })
}

/// What stands between the brackets of a damaged file's list.
fn inside(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let torn = Malformed { why: "the file ends amid the list" };
    if let Some(rest) = bytes.strip_prefix(b"[") {
        return rest.strip_suffix(b"]").ok_or(torn);
    }
    let stranger = Malformed { why: "the file is no list" };
    let wrapper = bytes.strip_prefix(b"{").ok_or(stranger)?.trim_ascii_start();
    let list = wrapper.strip_prefix(b"\"todos\"").ok_or(stranger)?.trim_ascii_start();
    let list = list.strip_prefix(b":").ok_or(stranger)?.trim_ascii_start().strip_prefix(b"[").ok_or(stranger)?;
    list.strip_suffix(b"}").and_then(|rest| rest.trim_ascii_end().strip_suffix(b"]")).ok_or(torn)
}

/// Reads the elements of a damaged list one by one.
fn piecewise(list: &[u8]) -> Result<Reading, Malformed> {
    let mut reading = Reading::default();
    let mut tries = 0;
    let mut found_any = false;
    let mut rest = list.trim_ascii_start();
    while !rest.is_empty() {
        let (element, behind) = match value_at(rest) {
            Some((element, behind)) if is_element(&element) || matches!(behind.first(), None | Some(b',')) => (element, behind),
            _ => {
                reading.malformed += 1;
                match next_element(rest, &mut tries)? {
                    Some(found) => found,
                    None if ends_whole(rest) => break,
                    None => return Err(Malformed { why: "the file ends amid an element" }),
                }
            }
        };
        found_any = true;
        take(&mut reading, &element);
        rest = match behind.strip_prefix(b",") {
            Some(next) => next.trim_ascii_start(),
            None => behind,
        };
    }
    if found_any { Ok(reading) } else { Err(Malformed { why: "no element of the file can be read" }) }
}

/// The JSON value at the beginning of `bytes`, and what stands behind it and behind white space.
fn value_at(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let value = values.next()?.ok()?;
    Some((value, bytes[values.byte_offset()..].trim_ascii_start()))
}

/// The next whole element after a damaged one. Only an object with a key in it counts: the quotes of its key cannot stand
/// inside a text, where they would be escaped, so no text is ever taken for an element.
fn next_element<'a>(damaged: &'a [u8], tries: &mut usize) -> Result<Option<(Value, &'a [u8])>, Malformed> {
    for (at, _) in damaged.iter().enumerate().skip(1).filter(|(_, b)| **b == b'{') {
        *tries += 1;
        if *tries > TRIES_MAX {
            return Err(Malformed { why: "the file is damaged in too many places" });
        }
        if let Some((element, behind)) = value_at(&damaged[at..]).filter(|(element, _)| is_element(element)) {
            return Ok(Some((element, behind)));
        }
    }
    Ok(None)
}

fn is_element(value: &Value) -> bool {
    value.as_object().is_some_and(|object| !object.is_empty())
}

/// Whether a damaged last element still has its own end, `…"}`: otherwise the file may have been torn within a text that
/// holds a `]`. The quote must be neither escaped (then it belongs to a text) nor one that opens a text.
fn ends_whole(damaged: &[u8]) -> bool {
    let before_brace = damaged.trim_ascii_end().strip_suffix(b"}").map(<[u8]>::trim_ascii_end);
    let Some(text) = before_brace.and_then(|rest| rest.strip_suffix(b"\"")) else { return false };
    let backslashes = text.iter().rev().take_while(|b| **b == b'\\').count();
    let opens = matches!(text.trim_ascii_end().last(), None | Some(b':' | b',' | b'{' | b'['));
    backslashes % 2 == 0 && !opens
}
