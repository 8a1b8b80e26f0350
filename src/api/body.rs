//! What a write says, read strictly: a field of the wrong kind is a 400 that names it, a field that nobody knows is a warning.
//!
//! Nothing is cut or guessed here; text that is too long is refused, so that what was answered is what was kept.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::Problem;
use crate::model::limits::{METADATA_BYTES_MAX, REPORT_BYTES_MAX, TEXT_BYTES_MAX};
use crate::model::text::Foreign;

/// Bytes of one body (INTERFACE §4, rule 9).
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a body may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The fields of a write, each taken out as it is read.
#[derive(Debug)]
pub(crate) struct Fields {
    left: Map<String, Value>,
}

impl Fields {
    /// Reads a body to its end.
    pub(crate) async fn of(body: Body) -> Result<Fields, Problem> {
        Fields::parse(&whole(body).await?)
    }

    /// The fields of one row of a list.
    pub(crate) fn of_row(row: Value) -> Result<Fields, Problem> {
        if let Value::Object(left) = row { Fields::fitting(left) } else { Err(wrong("row", "an object", &row)) }
    }

    /// Reads a body that is a list, or an object that holds one under `name`; the rows, and the other fields.
    pub(crate) async fn rows_of(body: Body, name: &str) -> Result<(Vec<Value>, Fields), Problem> {
        let whole = whole(body).await?;
        let not_json = |error: serde_json::Error| Problem::bad("the body is not JSON").because(error.to_string());
        let (list, fields) = match serde_json::from_slice(&whole).map_err(not_json)? {
            Value::Object(left) => {
                let mut fields = Fields { left };
                (fields.take(name).ok_or_else(|| Problem::bad(format!("“{name}” is missing")))?, fields)
            }
            list @ (Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                (list, Fields { left: Map::new() })
            }
        };
        if let Value::Array(rows) = list { Ok((rows, fields)) } else { Err(wrong(name, "a list", &list)) }
    }

    /// Reads JSON; no bytes at all mean no fields.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Fields, Problem> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Fields { left: Map::new() });
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(left)) => Fields::fitting(left),
            Ok(_) => Err(Problem::bad("the body is not a JSON object")),
            Err(error) => Err(Problem::bad("the body is not JSON").because(error.to_string())),
        }
    }

    /// What is larger than a fact can be is refused before anything is promised.
    fn fitting(left: Map<String, Value>) -> Result<Fields, Problem> {
        let bytes = serde_json::to_vec(&left).map_or(0, |bytes| bytes.len());
        if bytes > REPORT_BYTES_MAX {
            return Err(Problem::new(413, "too-large", format!("its texts are longer than {REPORT_BYTES_MAX} bytes together"))
                .fix("say it in fewer words"));
        }
        Ok(Fields { left })
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Text, if it is there.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<Foreign>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_whole(&text) => Ok(Some(Foreign::new(text))),
            Some(Value::String(_)) => Err(Problem::bad(format!("“{name}” is longer than {TEXT_BYTES_MAX} bytes"))),
            Some(other) => Err(wrong(name, "a text", &other)),
        }
    }

    /// Text that must say something.
    pub(crate) fn needed(&mut self, name: &str) -> Result<Foreign, Problem> {
        let text = self.text(name)?.filter(|text| !text.is_blank());
        text.ok_or_else(|| Problem::bad(format!("“{name}” is missing")))
    }

    /// A text, or a number that is taken as one: `"high"`, `1`.
    pub(crate) fn label(&mut self, name: &str) -> Result<Option<Foreign>, Problem> {
        if let Some(number) = self.left.get(name).and_then(Value::as_u64) {
            self.left.remove(name);
            return Ok(Some(Foreign::new(number.to_string())));
        }
        self.text(name)
    }

    /// Texts that must be there: a list of them, or one.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<Foreign>, Problem> {
        let given = match self.take(name) {
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
            None => return Err(Problem::bad(format!("“{name}” is missing"))),
        };
        let text = |value: Value| match value.as_str() {
            Some(text) if is_whole(text) => Ok(Foreign::new(text)),
            Some(_) => Err(Problem::bad(format!("“{name}” is longer than {TEXT_BYTES_MAX} bytes"))),
            None => Err(wrong(name, "a list of texts", &value)),
        };
        given.into_iter().map(text).collect()
    }

    /// A whole number from 0 on.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u32>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.map(Some).ok_or_else(|| wrong(name, "a whole number", &value))
    }

    /// Yes or no; no when it is not there.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        let Some(value) = self.take(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| wrong(name, "true or false", &value))
    }

    /// A moment in milliseconds since 1970.
    pub(crate) fn moment(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let moment = value.as_i64().filter(|moment| *moment >= 0);
        moment.map(Some).ok_or_else(|| wrong(name, "milliseconds since 1970", &value))
    }

    /// A moment: milliseconds since 1970, or an ISO 8601 time.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        match self.left.get(name) {
            Some(Value::String(_)) => {}
            _ => return self.moment(name),
        }
        let Some(text) = self.text(name)?.filter(|text| !text.is_blank()) else { return Ok(None) };
        let at = text.json().parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).ok().filter(|at| *at >= 0);
        at.map(Some).ok_or_else(|| Problem::bad(format!("“{name}” is no time")).fix("2026-03-02T14:02:11Z, or milliseconds since 1970"))
    }

    /// The first of several names that is there, for what the replaced systems called differently.
    pub(crate) fn text_of(&mut self, names: &[&str]) -> Result<Option<Foreign>, Problem> {
        let mut found = None;
        for name in names {
            let text = self.text(name)?;
            found = found.or(text);
        }
        Ok(found)
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(|value| !value.is_null())
    }

    /// An object, as JSON text that comes back as it was given.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Foreign>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        if !value.is_object() {
            return Err(wrong(name, "an object", &value));
        }
        let text = value.to_string();
        if text.len() > METADATA_BYTES_MAX {
            return Err(Problem::bad(format!("“{name}” is longer than {METADATA_BYTES_MAX} bytes")));
        }
        Ok(Some(Foreign::new(text)))
    }

    /// Warnings of what nobody asked for.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let line =
            |name: &String| format!("unknown-field: this route knows no “{}”; it was passed over", Foreign::new(name.as_str()).plain());
        self.left.keys().map(line).collect()
    }
}

/// Whether a text is taken without being cut.
fn is_whole(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && Foreign::new(text).json().len() == text.len()
}

async fn whole(body: Body) -> Result<Bytes, Problem> {
    let whole = timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await;
    let whole = whole.map_err(|_| Problem::new(408, "too-slow", "the body did not come within 10 s"))?;
    whole.map_err(|error| Problem::new(413, "too-large", "the body could not be read").because(format!("{error}; at most 1 MiB")))
}

fn wrong(name: &str, wanted: &str, got: &Value) -> Problem {
    let kind = match got {
        Value::Null => "nothing",
        Value::Bool(_) => "a yes or no",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Problem::bad(format!("“{name}” must be {wanted}, not {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn no_body_panics(bytes: Vec<u8>) -> bool {
            Fields::parse(&bytes).is_ok_and(|fields| fields.unknown().len() == fields.left.len()) || Fields::parse(&bytes).is_err()
        }
    }

    #[test]
    fn a_field_of_the_wrong_kind_is_named() {
        let fields = || Fields::parse(br#"{"n": -1, "t": 5, "o": [], "x": 1.5}"#).expect("an object");
        let detail = |got: Problem| got.to_string();
        assert_eq!(fields().text("t").map_err(detail), Err("“t” must be a text, not a number".into()));
        assert_eq!(fields().number("n").map_err(detail), Err("“n” must be a whole number, not a number".into()));
        assert_eq!(fields().object("o").map_err(detail), Err("“o” must be an object, not a list".into()));
        assert_eq!(fields().needed("gone").map_err(detail), Err("“gone” is missing".into()));
        assert_eq!(fields().label("n").map_err(detail), Err("“n” must be a text, not a number".into()));
    }

    #[test]
    fn what_is_left_is_warned_of_and_null_is_nothing() {
        let mut fields = Fields::parse(br#"{"task": null, "typo": 1, "priority": 2}"#).expect("an object");
        assert_eq!(fields.text("task"), Ok(None));
        assert_eq!(fields.label("priority"), Ok(Some(Foreign::new("2"))));
        assert_eq!(fields.unknown().len(), 1);
    }

    #[test]
    fn long_text_is_refused_not_cut() {
        let body = serde_json::json!({"content": "x".repeat(TEXT_BYTES_MAX + 1)}).to_string();
        assert!(Fields::parse(body.as_bytes()).expect("an object").text("content").is_err());
        assert!(Fields::parse(b"[]").is_err() && Fields::parse(b"{").is_err() && Fields::parse(b" ").is_ok());
    }

    #[test]
    fn metadata_comes_back_as_it_was_given() {
        let given = serde_json::json!({"hostname": "mbp", "n": 1.50, "big": u64::MAX, "deep": {"é": [null, true, "\u{202e}"]}});
        let body = serde_json::json!({"metadata": given}).to_string();
        let text = Fields::parse(body.as_bytes()).expect("an object").object("metadata").expect("an object").expect("there");
        assert_eq!(serde_json::from_str::<Value>(text.json()).expect("JSON"), given);
    }
}
