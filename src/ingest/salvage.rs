//! A damaged line costs what is damaged of it: a whole record that a crash left behind zeros, behind half a record or behind
//! another record without a newline between is still a record (FORMATS §2.5, §4.4, §8.3).
//!
//! Nothing inside a record is ever taken for one: what is found behind damage must reach to the line's end, or to the
//! beginning of the next object, and must look like a record of its tool. Searching costs a bounded part of the line's length.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::claude_todos::Malformed;
use super::escapes;
use super::run::{Run, Said};

/// How many times the bytes of a damaged line may be looked at before its rest is given up.
const LOOKS_MAX: usize = 8;
/// Bytes of damage below which looking is never given up.
const FREE_BYTES: usize = 64 * 1024;

/// First keys that no object but a record has.
const OPENING_KEYS: &[&[u8]] = &[b"$set", b"$rewindTo", b"sessionId", b"record_type"];

/// What at least one of stands in every record of the tools that begin all of theirs alike, and in few objects within one.
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

/// Whether the object that was found is a record of its tool and not a part of one; before it, all that precedes it in its line.
pub(super) type IsRecord = fn(&[u8], &[u8]) -> bool;

/// Counts the records of a line and takes each of them in. A blank line is nothing; zeros are what a crash made of records.
pub(super) fn each(run: &mut Run, line: &[u8], said: &mut Vec<Said>, take: Take, is_record: IsRecord) {
    let whole = bare(line);
    if whole.starts_with(b"{") && take(run, whole, said) {
        run.counts.records += 1;
        return;
    }
    let mended = mended(line);
    let (objects, damaged) = objects(&mended, is_record);
    run.counts.damaged += damaged;
    run.counts.records += objects.len() as u64;
    for object in objects {
        if !take(run, object, said) {
            run.strange("?");
        }
    }
}

/// Reads what is needed of a small file that is one JSON object, [`bare`] and [`mended`].
pub(super) fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    match bytes.first() {
        None => Err(Malformed { why: "the file is empty" }),
        Some(b'{') => serde_json::from_slice(bytes).map_err(|_| Malformed { why: "the file is torn or damaged" }),
        Some(_) => Err(Malformed { why: "the file is no object" }),
    }
}

/// The line without what a crash or an editor puts before it: zeros, a byte order mark, white space.
#[must_use]
pub(super) fn bare(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|b| *b != 0).unwrap_or(line.len());
    let line = &line[start..];
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii()
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

/// The whole objects of a line, in order, and how many pieces of it are damaged.
fn objects(line: &[u8], is_record: IsRecord) -> (Vec<&[u8]>, u64) {
    let (mut found, mut damaged) = (Vec::new(), 0);
    let mut looks = FREE_BYTES + LOOKS_MAX * line.len();
    let begin = bare(line);
    if begin.is_empty() {
        return (found, u64::from(line.contains(&0)));
    }
    let mut rest = begin;
    while !rest.is_empty() {
        let whole = object_at(rest, &mut looks).filter(|length| may_end(&rest[*length..]));
        let at = whole.map(|length| (0, length)).or_else(|| {
            damaged += 1;
            next(rest, &mut looks, is_record)
        });
        let Some((from, length)) = at else { break };
        found.push(&rest[from..from + length]);
        rest = bare(&rest[from + length..]);
    }
    (found, damaged)
}

/// Where the next whole record behind damage begins, and its length.
fn next(damaged: &[u8], looks: &mut usize, is_record: IsRecord) -> Option<(usize, usize)> {
    let mut at = 1;
    while *looks > 0 {
        at += damaged.get(at..)?.windows(2).position(|two| two == b"{\"")?;
        let Some(length) = object_at(&damaged[at..], looks) else {
            at += 1;
            continue;
        };
        if may_end(&damaged[at + length..]) && is_record(&damaged[..at], &damaged[at..at + length]) {
            return Some((at, length));
        }
        // Whole in itself, and so no record is hidden in it.
        at += length;
    }
    None
}

/// Whether a record may end before this; an object that ends elsewhere lost a quote, and its end is not its own.
fn may_end(behind: &[u8]) -> bool {
    matches!(bare(behind).first(), None | Some(b'{'))
}

/// Whether an object behind a stub is a record, where all records of a file begin with the same key: with that key, or when
/// the stub is too short to say, it is; where a value of the stub would stand it must also look like one.
pub(super) fn is_alike(before: &[u8], object: &[u8]) -> bool {
    let (first, here) = (key(before), key(object));
    let begins = first.is_none() || here == first || here.is_some_and(|key| OPENING_KEYS.contains(&key));
    let is_value = matches!(before.trim_ascii_end().last(), Some(b':' | b',' | b'['));
    begins && (!is_value || is_marked(object))
}

fn is_marked(object: &[u8]) -> bool {
    let Ok(marks) = serde_json::from_slice::<Marks>(object) else { return false };
    let Marks { timestamp, record_type, role, call_id, summary, set, rewind_to } = marks;
    [timestamp, record_type, role, call_id, summary, set, rewind_to].iter().any(Option::is_some)
}

/// The length of the object that `bytes` begin with.
fn object_at(bytes: &[u8], looks: &mut usize) -> Option<usize> {
    if *looks == 0 || !bytes.starts_with(b"{") {
        return None;
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    let (length, cost) = match values.next()? {
        Ok(IgnoredAny) => (Some(values.byte_offset()), values.byte_offset()),
        // A line holds no newline, so the column says how far was looked.
        Err(error) => (None, error.column()),
    };
    *looks = looks.saturating_sub(cost.max(1));
    length
}

/// The first key of what begins as an object, when it is whole.
fn key(bytes: &[u8]) -> Option<&[u8]> {
    let behind = bytes.strip_prefix(b"{\"")?;
    let end = behind.iter().position(|b| *b == b'"')?;
    behind[end + 1..].trim_ascii_start().starts_with(b":").then_some(&behind[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn found(line: &str, is_record: IsRecord) -> (Vec<&str>, u64) {
        let (objects, damaged) = objects(line.as_bytes(), is_record);
        (objects.into_iter().map(|object| std::str::from_utf8(object).unwrap()).collect(), damaged)
    }

    fn named(line: &str) -> (Vec<&str>, u64) {
        found(line, |_, object| object.windows(4).any(|part| part == b"\"id\""))
    }

    fn alike(line: &str) -> (Vec<&str>, u64) {
        found(line, is_alike)
    }

    #[test]
    fn what_is_whole_is_found_and_the_rest_is_counted() {
        let (a, b) = (r#"{"id":1,"x":{"y":[{"t":"}{"}]}}"#, r#"{"id":2}"#);
        assert_eq!(named(&format!("{a}{b}")), (vec![a, b], 0), "no newline between");
        assert_eq!(named(&format!("\0\0{a}\0\0\0 {b}\0")), (vec![a, b], 0), "zeros between");
        assert_eq!(named(&format!("{a}{}{b}", &a[..9])), (vec![a, b], 1));
        for cut in 1..a.len() {
            assert_eq!(named(&format!("{}{b}", &a[..cut])), (vec![b], 1), "{}", &a[..cut]);
            assert_eq!(named(&format!("{b}{}", &a[..cut])), (vec![b], 1), "{}", &a[..cut]);
        }
        assert_eq!(named("42"), (vec![], 1));
        assert_eq!(named("[{\"id\":1}]"), (vec![], 1), "in a list it is no record");
    }

    #[test]
    fn where_records_begin_alike_what_is_whole_is_found_as_well() {
        let a = r#"{"timestamp":1,"payload":{"x":"}{ \" {"}}"#;
        let b = r#"{"timestamp":2,"payload":{"y":[{"z":1},{"z":2}]}}"#;
        assert_eq!(alike(a), (vec![a], 0));
        assert_eq!(alike(&format!("{a}{b}")), (vec![a, b], 0), "glued");
        assert_eq!(alike(&format!("\0\0\0{a}")), (vec![a], 0), "after a crash");
        assert_eq!(alike(&format!("{a}\0\0{b}")), (vec![a, b], 0));
        assert_eq!(alike(&format!("\u{feff}{a} ")), (vec![a], 0));
        assert_eq!(alike("{}"), (vec!["{}"], 0));
        for nothing in ["x", "[1]", "3", "null", "\"{\"", "\0\0", "{", "{\"a\"", r#"{"a":{"b":1}"#, r#"{"a":[{"b":1}"#] {
            assert_eq!(alike(nothing), (vec![], 1), "{nothing}");
        }
        assert_eq!((alike(""), alike(" ")), ((vec![], 0), (vec![], 0)));
    }

    #[test]
    fn a_stub_before_a_record_costs_nothing_but_the_stub() {
        let whole = r#"{"timestamp":2,"payload":{"y":[{"z":1},{"z":2}]}}"#;
        for end in 1..whole.len() {
            assert_eq!(alike(&format!("{}{whole}", &whole[..end])), (vec![whole], 1), "{end}");
            assert_eq!(alike(&whole[..end]), (vec![], 1), "{end}");
        }
        let torn_within = r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}"#;
        let item = r#"{"type":"function_call_output","call_id":"1"}"#;
        assert_eq!(alike(torn_within), (vec![], 1));
        assert_eq!(alike(&format!("{torn_within}{item}")), (vec![item], 1));
        let patch = r#"{"$set":{"a":1}}"#;
        assert_eq!(alike(&format!("{torn_within},{patch}")), (vec![patch], 1));
        let between = format!("{whole}{{\"a\" 1}}{whole}");
        assert_eq!(alike(&between), (vec![whole, whole], 1));
    }

    #[test]
    fn no_line_keeps_us_busy() {
        for is_record in [(|_, _| true) as IsRecord, is_alike] {
            let deep = "{\"a\":".repeat(600_000);
            assert_eq!(found(&deep, is_record), (vec![], 1));
            assert_eq!(found(&format!("{deep}1"), is_record), (vec![], 1));
            let many = "{\"a\":1},".repeat(400_000);
            assert_eq!(found(&format!("[{many}"), is_record).1, 1);
            let whole = format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
            assert_eq!(found(&whole, is_record), (vec![whole.as_str()], 0));
        }
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>) -> bool {
            let shaped = [b"{\"a\":\"".as_slice(), &bytes, b"\"}{\"b\":", &bytes, b"}"].concat();
            let open = [b"{\"a\":".as_slice(), &bytes, b"}{\"b\":1}"].concat();
            [bytes, shaped, open].iter().all(|line| {
                let line = mended(line);
                let _ = objects(&line, |_, _| true);
                let (found, damaged) = objects(&line, is_alike);
                let whole = |object: &&[u8]| serde_json::from_slice::<IgnoredAny>(object).is_ok();
                std::str::from_utf8(&line).is_ok() && found.iter().all(whole) && damaged <= found.len() as u64 + 1
            })
        }

        fn glued_records_are_all_found(texts: Vec<String>) -> bool {
            let records: Vec<String> = texts.iter().map(|text| serde_json::json!({ "a": { "b": text } }).to_string()).collect();
            alike(&records.concat()) == (records.iter().map(String::as_str).collect(), 0)
        }
    }
}
