//! The envelope around every answer of `/api/v3`: whose word it is, of when, and whether it is all of it.
//!
//! No list is ever cut in silence: `total` counts what fits the question, `truncated` says whether rows are missing, `next` is
//! the cursor that brings them.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::query::Query;
use crate::api::problem::Problem;
use crate::model::id::DeviceId;
use crate::model::text::Foreign;
use crate::model::view::View;

/// The number of the contract; it rises when a field goes or gets another meaning.
pub(crate) const SCHEMA: u32 = 1;

/// Why an answer can always be written.
const WRITABLE: &str = "an answer has texts for keys and numbers that are finite";

/// Where a row stands in its list; total, so that a cursor finds its place again.
pub(crate) type Key = (i64, i64, String);

/// What one question is answered with, before the envelope.
#[derive(Debug)]
pub(crate) struct Answer<D = Value> {
    data: D,
    total: usize,
    next: Option<String>,
    warnings: Vec<String>,
}

/// An answer in its envelope. The fields stand in the order of their names, as those of a [`Value`] do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<D> {
    as_of: Iso,
    data: D,
    device: String,
    device_id: DeviceId,
    next: Option<String>,
    schema: u32,
    source: String,
    total: usize,
    truncated: bool,
    warnings: Vec<String>,
}

impl Answer {
    /// One thing.
    pub(crate) fn one(data: Value, query: Query) -> Answer {
        Answer { data, total: 1, next: None, warnings: query.warnings }
    }

    /// One thing that counts others.
    pub(crate) fn counting(data: Value, total: usize, query: Query) -> Answer {
        Answer { total, ..Answer::one(data, query) }
    }

    /// Adds a warning.
    pub(crate) fn warn(mut self, warning: String) -> Answer {
        self.warnings.push(warning);
        self
    }

    /// A list in the order of its keys, from the cursor on, as many as were asked for.
    pub(crate) fn list<T>(rows: Vec<(Key, T)>, query: Query, render: impl Fn(&T) -> Value) -> Result<Answer, Problem> {
        let Answer { data, total, next, warnings } = Answer::rows(rows, query, render)?;
        Ok(Answer { data: Value::Array(data), total, next, warnings })
    }
}

impl<R> Answer<Vec<R>> {
    /// As [`Answer::list`], of rows that need not become a [`Value`] on their way.
    pub(crate) fn rows<T>(mut rows: Vec<(Key, T)>, query: Query, render: impl Fn(&T) -> R) -> Result<Answer<Vec<R>>, Problem> {
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let total = rows.len();
        let from = match query.text("cursor") {
            None => 0,
            Some(text) => {
                let after = unwritten(text).ok_or_else(|| Problem::bad(format!("“{text}” is no cursor")).fix("take it from `next`"))?;
                rows.partition_point(|(key, _)| *key <= after)
            }
        };
        let wanted = query.limit()?.unwrap_or(usize::MAX);
        let to = from.saturating_add(wanted).min(total);
        let data = rows[from..to].iter().map(|(_, row)| render(row)).collect();
        let next = (to < total && to > from).then(|| written(&rows[to - 1].0));
        Ok(Answer { data, total, next, warnings: query.warnings })
    }
}

impl<D> Answer<D> {
    /// Puts the envelope around it.
    pub(crate) fn wrapped(self, view: &View, now_ms: i64, source: &str) -> Envelope<D> {
        let known = view.warnings.iter().map(|(code, warning)| format!("{code}: {}", warning.what));
        Envelope {
            as_of: Iso(now_ms),
            data: self.data,
            device: view.device_name(&view.me).json().to_owned(),
            device_id: view.me,
            truncated: self.next.is_some(),
            next: self.next,
            schema: SCHEMA,
            source: source.to_owned(),
            total: self.total,
            warnings: known.chain(self.warnings).collect(),
        }
    }
}

impl<D: Serialize> Envelope<D> {
    /// As a value.
    pub(crate) fn value(&self) -> Value {
        serde_json::to_value(self).expect(WRITABLE)
    }

    /// As bytes, the same that its value has, without the tree in between.
    pub(crate) fn bytes(mut self, warning: Option<&str>) -> Vec<u8> {
        self.warnings.extend(warning.map(str::to_owned));
        serde_json::to_vec(&self).expect(WRITABLE)
    }
}

fn written(key: &Key) -> String {
    format!("{}.{}.{}", key.0, key.1, data_encoding::BASE64URL_NOPAD.encode(key.2.as_bytes()))
}

fn unwritten(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '.');
    let first = parts.next()?.parse().ok()?;
    let second = parts.next()?.parse().ok()?;
    let name = data_encoding::BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?;
    Some((first, second, String::from_utf8(name).ok()?))
}

/// A wall time (milliseconds since 1970) as ISO 8601 with milliseconds, always of one length so that texts sort as times do;
/// `null` outside the calendar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iso(pub(crate) i64);

impl Serialize for Iso {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => to.collect_str(&format_args!("{at:.3}")),
            Err(_) => to.serialize_none(),
        }
    }
}

/// As [`Iso`].
pub(crate) fn iso(ms: i64) -> Value {
    serde_json::to_value(Iso(ms)).expect(WRITABLE)
}

/// As [`iso`]; `null` for unknown.
pub(crate) fn iso_or_null(ms: Option<i64>) -> Value {
    ms.map_or(Value::Null, iso)
}

/// Text from outside, for a JSON answer; `null` for none.
pub(crate) fn text(foreign: Option<&Foreign>) -> Value {
    foreign.map_or(Value::Null, |text| json!(text.json()))
}

/// The JSON that a report carried, as it was given; `null` when there is none (or a peer wrote something that is no JSON).
pub(crate) fn metadata(foreign: Option<&Foreign>) -> Value {
    foreign.and_then(|text| serde_json::from_str(text.json()).ok()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn pages_put_together_are_the_list(names: Vec<(i8, String)>, limit: u8) -> bool {
            let limit = usize::from(limit % 5) + 1;
            let rows = || names.iter().enumerate().map(|(n, (k, name))| ((i64::from(*k), 0, format!("{name}{n}")), n)).collect::<Vec<_>>();
            let whole = Answer::list(rows(), Query::default(), |n| json!(n)).expect("a list").data;
            let mut parts = Vec::new();
            let mut cursor = String::new();
            loop {
                let query = Query::parse(&format!("limit={limit}&cursor={cursor}"), &["limit", "cursor"]);
                let page = Answer::list(rows(), query, |n| json!(n)).expect("a page");
                assert_eq!(page.total, names.len());
                parts.extend(page.data.as_array().expect("rows").clone());
                match page.next {
                    Some(next) => cursor = next,
                    None => break,
                }
            }
            Value::Array(parts) == whole
        }
    }

    #[test]
    fn times_have_one_length_and_an_impossible_one_is_unknown() {
        assert_eq!(iso(0), json!("1970-01-01T00:00:00.000Z"));
        assert_eq!(iso(1_772_460_131_042), json!("2026-03-02T14:02:11.042Z"));
        assert_eq!(iso(i64::MAX), Value::Null);
    }

    #[test]
    fn a_cursor_that_is_none_is_a_400() {
        let query = Query::parse("cursor=1.x", &["cursor"]);
        let answer = Answer::list(vec![((0, 0, String::new()), ())], query, |()| Value::Null);
        assert_eq!(answer.map(|_| ()).map_err(|problem| problem.status), Err(400));
    }

    #[test]
    fn metadata_that_is_no_json_is_unknown() {
        assert_eq!(metadata(Some(&Foreign::new("{\"a\":[1,2.5]}"))), json!({"a": [1, 2.5]}));
        assert_eq!(metadata(Some(&Foreign::new("{"))), Value::Null);
    }
}
