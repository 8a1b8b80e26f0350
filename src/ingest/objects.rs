//! A damaged record costs itself, never its neighbours: what is whole in a line is found, whatever stands before it.
//!
//! A crash leaves zeros at a line's beginning; a tool that reopens its file appends to a torn record, so that a stub and a
//! whole record, or two records, share one line (FORMATS §2.5, §4.4, §8.3). A stub's own inner objects are no records: one
//! counts only when nothing but further records follows and it begins as records do; where a value of the stub would stand
//! it must also look like one.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::escapes;
use super::run::{Run, Said};

/// Places in one line at which a whole record was sought in vain, before the rest is given up: no line keeps us busy.
const TRIES_MAX: usize = 100;

/// First keys that no object but a record has.
const OPENING_KEYS: &[&[u8]] = &[b"$set", b"$rewindTo", b"sessionId", b"record_type"];

/// What at least one of stands in every record of the tools that are read here, and in few objects within one.
#[derive(Deserialize)]
struct Marks {
    timestamp: Option<IgnoredAny>,
    record_type: Option<IgnoredAny>,
    role: Option<IgnoredAny>,
    call_id: Option<IgnoredAny>,
    summary: Option<IgnoredAny>,
    #[serde(rename = "$set")]
    set: Option<IgnoredAny>,
    #[serde(rename = "$rewindTo")]
    rewind_to: Option<IgnoredAny>,
}

/// Takes a record in, and says whether it could be read; if not, nothing has changed.
pub(super) type Take = fn(&mut Run, &[u8], &mut Vec<Said>) -> bool;

/// Counts the records of a line and takes each of them in. A blank line is nothing.
pub(super) fn each(run: &mut Run, line: &[u8], said: &mut Vec<Said>, take: Take) {
    let line = bare(line);
    if line.is_empty() {
        return;
    }
    if line[0] == b'{' && take(run, line, said) {
        run.counts.records += 1;
        return;
    }
    let (objects, damaged) = objects(line);
    run.counts.damaged += damaged;
    run.counts.records += objects.len() as u64;
    for object in objects {
        if !take(run, &mended(object), said) {
            run.strange("?");
        }
    }
}

/// The whole objects in a line, in order, and how many pieces of it are none.
#[must_use]
pub(super) fn objects(line: &[u8]) -> (Vec<&[u8]>, u64) {
    let (mut found, mut damaged, mut tries) = (Vec::new(), 0, 0);
    let first_key = key(bare(line));
    let mut rest = bare(line);
    while !rest.is_empty() {
        if let Some(length) = object_at(rest).filter(|length| may_end(&rest[*length..])) {
            found.push(&rest[..length]);
            rest = bare(&rest[length..]);
            continue;
        }
        damaged += 1;
        match next(rest, first_key, &mut tries) {
            Some(at) => rest = &rest[at..],
            None => break,
        }
    }
    (found, damaged)
}

/// The same text as JSON can be: lone halves of surrogate pairs and bytes that are no UTF-8 become U+FFFD.
#[must_use]
pub(super) fn mended(bytes: &[u8]) -> Cow<'_, [u8]> {
    let text = escapes::mend(bytes);
    if std::str::from_utf8(&text).is_ok() {
        return text;
    }
    Cow::Owned(String::from_utf8_lossy(&text).into_owned().into_bytes())
}

/// Without the mark of a file's beginning, zeros and white space around it.
#[must_use]
pub(super) fn bare(line: &[u8]) -> &[u8] {
    let mut line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    // A line of nothing but zeros stays: something was lost there.
    if let Some(start) = line.iter().position(|b| *b != 0) {
        line = &line[start..];
    }
    line.trim_ascii()
}

/// Where the next record begins behind a damaged place.
fn next(damaged: &[u8], first_key: Option<&[u8]>, tries: &mut usize) -> Option<usize> {
    let mut at = 1;
    while let Some(found) = damaged.get(at..)?.windows(2).position(|two| two == b"{\"") {
        at += found;
        let here = &damaged[at..];
        let Some(length) = object_at(here) else {
            *tries += 1;
            if *tries > TRIES_MAX {
                return None;
            }
            at += 1;
            continue;
        };
        let is_value = matches!(damaged[..at].trim_ascii_end().last(), Some(b':' | b',' | b'['));
        // A stub may be too short to say.
        let begins = first_key.is_none() || key(here) == first_key || key(here).is_some_and(|key| OPENING_KEYS.contains(&key));
        if may_end(&here[length..]) && begins && (!is_value || is_marked(&here[..length])) {
            return Some(at);
        }
        // Whole in itself, and so no record is hidden in it.
        at += length;
    }
    None
}

/// Whether a record may end before this; an object that ends elsewhere lost a quote, and its end is not its own.
fn may_end(behind: &[u8]) -> bool {
    matches!(behind.trim_ascii_start().first(), None | Some(b'{' | 0))
}

fn is_marked(object: &[u8]) -> bool {
    let Ok(marks) = serde_json::from_slice::<Marks>(object) else { return false };
    let Marks { timestamp, record_type, role, call_id, summary, set, rewind_to } = marks;
    [timestamp, record_type, role, call_id, summary, set, rewind_to].iter().any(Option::is_some)
}

/// How long the object is with which `bytes` begin.
fn object_at(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

/// The first key of what begins as an object, when it is whole.
fn key(bytes: &[u8]) -> Option<&[u8]> {
    let behind = bytes.strip_prefix(b"{\"")?;
    let end = behind.iter().position(|b| *b == b'"')?;
    behind[end + 1..].trim_ascii_start().starts_with(b":").then_some(&behind[..end])
}

/// Reads what is needed of a file that is one JSON object.
pub(super) fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, super::claude_todos::Malformed> {
    let why = |why| super::claude_todos::Malformed { why };
    if bytes.is_empty() {
        return Err(why("the file is empty"));
    }
    if bytes[0] != b'{' {
        return Err(why("the file is no object"));
    }
    serde_json::from_slice(bytes).map_err(|_| why("the file is torn or damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn found(line: &str) -> (Vec<&str>, u64) {
        let (objects, damaged) = objects(line.as_bytes());
        (objects.into_iter().map(|object| std::str::from_utf8(object).unwrap()).collect(), damaged)
    }

    #[test]
    fn what_is_whole_is_found_and_what_is_not_is_counted() {
        let a = r#"{"timestamp":1,"payload":{"x":"}{ \" {"}}"#;
        let b = r#"{"timestamp":2,"payload":{"y":[{"z":1},{"z":2}]}}"#;
        assert_eq!(found(a), (vec![a], 0));
        assert_eq!(found(&format!("{a}{b}")), (vec![a, b], 0), "glued");
        assert_eq!(found(&format!("\0\0\0{a}")), (vec![a], 0), "after a crash");
        assert_eq!(found(&format!("{a}\0\0{b}")), (vec![a, b], 0));
        assert_eq!(found(&format!("\u{feff}{a} ")), (vec![a], 0));
        assert_eq!(found("{}"), (vec!["{}"], 0));
        for nothing in ["x", "[1]", "3", "null", "\"{\"", "\0\0", "{", "{\"a\"", r#"{"a":{"b":1}"#, r#"{"a":[{"b":1}"#] {
            assert_eq!(found(nothing), (vec![], 1), "{nothing}");
        }
        assert_eq!(found(""), (vec![], 0));
    }

    #[test]
    fn a_stub_before_a_record_costs_nothing_but_the_stub() {
        let whole = r#"{"timestamp":2,"payload":{"y":[{"z":1},{"z":2}]}}"#;
        for end in 1..whole.len() {
            assert_eq!(found(&format!("{}{whole}", &whole[..end])), (vec![whole], 1), "{end}");
            assert_eq!(found(&whole[..end]), (vec![], 1), "{end}");
        }
        let torn_within = r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}"#;
        let item = r#"{"type":"function_call_output","call_id":"1"}"#;
        assert_eq!(found(torn_within), (vec![], 1));
        assert_eq!(found(&format!("{torn_within}{item}")), (vec![item], 1));
        let patch = r#"{"$set":{"a":1}}"#;
        assert_eq!(found(&format!("{torn_within},{patch}")), (vec![patch], 1));
        let between = format!("{whole}{{\"a\" 1}}{whole}");
        assert_eq!(found(&between), (vec![whole, whole], 1));
    }

    #[test]
    fn no_line_keeps_us_busy() {
        let deep = format!("{}1", "{\"a\":".repeat(200_000));
        assert_eq!(objects(deep.as_bytes()), (vec![], 1));
        let whole = format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(found(&whole), (vec![whole.as_str()], 0));
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>) -> bool {
            let shaped = [b"{\"a\":\"".as_slice(), &bytes, b"\"}{\"b\":", &bytes, b"}"].concat();
            [bytes, shaped].iter().all(|line| {
                let (found, damaged) = objects(line);
                let _ = mended(line);
                found.iter().all(|object| serde_json::from_slice::<IgnoredAny>(&mended(object)).is_ok()) && damaged <= found.len() as u64 + 1
            })
        }

        fn glued_records_are_all_found(texts: Vec<String>) -> bool {
            let records: Vec<String> = texts.iter().map(|text| serde_json::json!({ "a": { "b": text } }).to_string()).collect();
            found(&records.concat()) == (records.iter().map(String::as_str).collect(), 0)
        }
    }
}
