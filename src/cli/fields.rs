//! Looks into JSON answers. A field that is missing or of another kind reads as unknown: an older or newer daemon never makes
//! the command line fail over a detail.
//!
//! Every text that leaves here went through `Foreign::plain`: an answer carries what agents wrote, and no terminal may ever
//! obey it (I12).

use serde_json::Value;

use crate::model::text::Foreign;

/// The text at `key`, safe to print; `None` when there is none or it is blank.
pub(crate) fn text(of: &Value, key: &str) -> Option<String> {
    of.get(key).and_then(Value::as_str).map(Foreign::new).filter(|text| !text.is_blank()).map(|text| text.plain())
}

/// The text at `key`, or `-`.
pub(crate) fn or_dash(of: &Value, key: &str) -> String {
    text(of, key).unwrap_or_else(|| "-".to_owned())
}

/// The whole number at `key`.
pub(crate) fn number(of: &Value, key: &str) -> Option<i64> {
    of.get(key).and_then(Value::as_i64)
}

/// The count at `key`; 0 when there is none.
pub(crate) fn count(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// Whether `key` says yes.
pub(crate) fn yes(of: &Value, key: &str) -> bool {
    of.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The point in time at `key`, milliseconds since 1970: an ISO 8601 time, or a number of milliseconds.
pub(crate) fn time(of: &Value, key: &str) -> Option<i64> {
    let value = of.get(key)?;
    value.as_i64().or_else(|| value.as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond))
}

/// The rows at `key`; none when it is no list.
pub(crate) fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The rows of an envelope whose data is a list.
pub(crate) fn rows(envelope: &Value) -> &[Value] {
    list(envelope, "data")
}

/// The texts of a list, safe to print.
pub(crate) fn texts(of: &Value, key: &str) -> Vec<String> {
    list(of, key).iter().filter_map(Value::as_str).map(|text| Foreign::new(text).plain()).collect()
}

/// A device's name, else its id.
pub(crate) fn device(of: &Value) -> String {
    text(of, "deviceName").or_else(|| text(of, "device")).unwrap_or_else(|| "?".to_owned())
}

/// An id as people type it: its kind and the first letters.
pub(crate) fn short(id: &str) -> String {
    const LETTERS: usize = 8;
    match id.split_once('-') {
        Some((kind, rest)) if kind.len() == 1 && rest.len() > LETTERS => {
            format!("{kind}-{}", rest.chars().take(LETTERS).collect::<String>())
        }
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_or_odd_is_unknown_and_nothing_leaves_unescaped() {
        let row = json!({"a": "x\u{1b}[2J\ny", "b": " ", "n": "7", "t": "2026-03-02T14:02:11Z", "ms": 1000, "l": ["p", 1]});
        assert_eq!(text(&row, "a").as_deref(), Some("x\\u{1b}[2J\\u{a}y"));
        assert_eq!((text(&row, "b"), text(&row, "z"), number(&row, "n"), count(&row, "a")), (None, None, None, 0));
        assert_eq!((time(&row, "t"), time(&row, "ms"), time(&row, "a")), (Some(1_772_460_131_000), Some(1000), None));
        assert_eq!((texts(&row, "l"), list(&row, "a").len(), yes(&row, "a")), (vec!["p".to_owned()], 0, false));
        assert_eq!(short("t-7f3a9xk2mmmmm"), "t-7f3a9xk2");
        assert_eq!((short("t-7f3a"), short("mbp-lena-and-more"), short("")), ("t-7f3a".into(), "mbp-lena-and-more".into(), String::new()));
    }
}
