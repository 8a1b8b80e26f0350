//! A damaged element costs that element, never the list; and a list that may have been cut short is no list, so that
//! nothing is ever taken for removed because a file was torn.
//!
//! Claude Code writes `<claude root>/todos/<session>-agent-<agent>.json`: one array, replaced as a whole, whose elements are
//! `{content, status, …}` in three shapes (FORMATS §1.2). A file that parses is taken at its word. In one that does not,
//! each element is parsed from its own `{`, and after a damaged one the next whole element is searched.
//! A reading with `malformed > 0` does not say what the list lacks.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use super::escapes;
use crate::model::limits::{ITEMS_MAX, TODO_FILE_BYTES_MAX};
use crate::model::text::Foreign;
use crate::model::todo::{Listed, Reading, Status};

/// Bytes of one half of a file's name; a UUID has 36.
const ID_BYTES_MAX: usize = 128;
/// Places at which a whole element is searched for in one damaged file, so that no file can keep us busy.
const TRIES_MAX: usize = 250;
/// Bytes of an element that is searched for behind a damaged one: three texts of `TEXT_BYTES_MAX`, every byte escaped.
const SOUGHT_BYTES_MAX: usize = 288 * 1024;

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
    let mut rest = list.trim_ascii_start();
    while !rest.is_empty() {
        let here = value_at(rest).map(|(element, length)| (element, rest[length..].trim_ascii_start()));
        let (element, behind) = match here {
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
        take(&mut reading, &element);
        rest = match behind.strip_prefix(b",") {
            Some(next) => next.trim_ascii_start(),
            None => behind,
        };
    }
    Ok(reading)
}

/// The JSON value at the beginning of `bytes`, and how many of them it takes.
fn value_at<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

/// The next whole element after a damaged one. Only an object with a key in it counts: the quotes of its key cannot stand
/// inside a text, where they would be escaped, so no text is ever taken for an element.
fn next_element<'a>(damaged: &'a [u8], tries: &mut usize) -> Result<Option<(Value, &'a [u8])>, Malformed> {
    for (at, _) in damaged.iter().enumerate().skip(1).filter(|(_, b)| **b == b'{') {
        *tries += 1;
        if *tries > TRIES_MAX {
            return Err(Malformed { why: "the file is damaged in too many places" });
        }
        let window = &damaged[at..damaged.len().min(at + SOUGHT_BYTES_MAX)];
        // Most places lead nowhere: skimming them costs a fifth of reading them.
        let Some((_, length)) = value_at::<IgnoredAny>(window) else { continue };
        if let Some((element, _)) = value_at(&window[..length]).filter(|(element, _)| is_element(element)) {
            return Ok(Some((element, damaged[at + length..].trim_ascii_start())));
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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::{Arbitrary, Gen, TestResult, quickcheck};
    use std::path::{Path, PathBuf};

    fn texts(reading: &Reading) -> Vec<&str> {
        reading.items.iter().map(|item| item.text.json()).collect()
    }

    fn read(bytes: impl AsRef<[u8]>) -> Reading {
        parse(bytes.as_ref()).expect("a list")
    }

    #[test]
    fn a_files_name_says_whose_list_it_is() {
        let main = name("5c0e1f2a-0000-4000-8000-000000000001-agent-5c0e1f2a-0000-4000-8000-000000000001.json").expect("a name");
        assert_eq!(main.session, main.agent);
        let sub = name("s1-agent-a1b2.json").expect("a name");
        assert_eq!((sub.session.as_str(), sub.agent.as_str()), ("s1", "a1b2"));
        let old = name("7d03878c-b937-4a3c-b10a-4c82f289aeba.json").expect("a name");
        assert_eq!(
            (old.session.as_str(), old.agent.as_str()),
            ("7d03878c-b937-4a3c-b10a-4c82f289aeba", "7d03878c-b937-4a3c-b10a-4c82f289aeba")
        );
        let long = format!("{}.json", "x".repeat(ID_BYTES_MAX + 1));
        for other in [
            "",
            ".json",
            "s1",
            "s1.jsonl",
            "s1.JSON",
            "a/s1.json",
            "../s1.json",
            ".s1.json",
            ".s1-agent-s1.json.swp",
            "s1-agent-s1.json~",
            "s1-agent-s1.json.tmp",
            "s1-agent-s1.tmp.json",
            "#s1.json#",
            "s1.sync-conflict-20261121-101010-ABCDEFG.json",
            "s1-agent-a.sync-conflict-1.json",
            "s1 (copy).json",
            "s1-agent-.json",
            "-agent-s1.json",
            "s1-agent-a b.json",
            "4913",
            "s\u{e9}.json",
            &long,
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn all_three_shapes_and_the_wrapper_are_read() {
        let a = read(include_bytes!("../../tests/data/claude-todos/shape-a.json"));
        assert_eq!((texts(&a), a.malformed), (vec!["Sort the shelves", "Label the boxes"], 0));
        let b = read(include_bytes!("../../tests/data/claude-todos/shape-b.json"));
        assert_eq!(b.items[0].priority, Some("high".into()));
        let c = read(include_bytes!("../../tests/data/claude-todos/shape-c.json"));
        assert_eq!(c.items[0].active_form, Some("Wiring the parser".into()));
        assert_eq!(c.items.iter().map(|item| item.status).collect::<Vec<_>>(), [Status::InProgress, Status::Completed, Status::Pending]);
        assert_eq!(read(include_bytes!("../../tests/data/claude-todos/wrapped.json")), c);
        assert_eq!(read(include_bytes!("../../tests/data/claude-todos/bom-crlf.json")), c, "from an editor on Windows");
        assert_eq!(read("[]"), Reading::default());
        assert_eq!(read(r#"{"todos":[]}"#), Reading::default());
    }

    #[test]
    fn a_malformed_element_costs_that_element() {
        let mixed = read(include_bytes!("../../tests/data/claude-todos/mixed.json"));
        assert_eq!((texts(&mixed), mixed.malformed), (vec!["first", "last"], 9));
        let bytes = read(include_bytes!("../../tests/data/claude-todos/bad-utf8.json"));
        assert_eq!((texts(&bytes), bytes.malformed), (vec!["first", "last"], 1));
        let emoji = read(r#"[{"content":"cut \ud83d","status":"pending"}]"#);
        assert_eq!((texts(&emoji), emoji.malformed), (vec!["cut \u{fffd}"], 0));
        let deep = format!(
            r#"[{{"content":"a","status":"pending"}},{{"content":"b","x":{}1{}}},{{"content":"c","status":"pending"}}]"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert_eq!((texts(&read(&deep)), read(&deep).malformed), (vec!["a", "c"], 1));
        let alone = read(r#"[{"content":"a" "status":"pending"}]"#);
        assert_eq!((alone.items.len(), alone.malformed), (0, 1));
        let zeros = read(b"[{\"content\":\"a\",\"status\":\"pending\"},\0\0\0,{\"content\":\"b\",\"status\":\"pending\"}]");
        assert_eq!((texts(&zeros), zeros.malformed), (vec!["a", "b"], 1));
    }

    #[test]
    fn what_people_type_by_hand_is_read() {
        let a = r#"{"content":"a","status":"pending"}"#;
        let b = r#"{"content":"b","status":"done"}"#;
        for list in [format!("[{a},{b},]"), format!("[{a} {b}]"), format!("\n[ {a} ,\r\n {b} ]\n\n"), format!("{{\"todos\":[{a},{b},] }}")]
        {
            assert_eq!((texts(&read(&list)), read(&list).malformed), (vec!["a", "b"], 0), "{list}");
        }
        assert_eq!(read(format!("[{a},,{b}]")).malformed, 1);
        assert_eq!(texts(&read(format!("[{a}x{b}]"))), ["a", "b"], "the comma itself was hit");
    }

    #[test]
    fn no_text_is_taken_for_an_element() {
        let text = r#"[{"content":"say {\"content\":\"fake\",\"status\":\"pending\"}, {} and [x]"status":"pending"},{"content":"real","status":"pending"}]"#;
        assert_eq!((texts(&read(text)), read(text).malformed), (vec!["real"], 1));
    }

    #[test]
    fn what_is_no_whole_list_is_refused_as_a_whole() {
        for bytes in [
            "",
            " \n",
            "\u{feff}",
            "null",
            "3",
            "\"todos\"",
            "{}",
            r#"{"todos":3}"#,
            r#"{"items":[]}"#,
            "[",
            "]",
            "[[",
            "<html></html>",
            "\0\0\0\0",
            r#"[{"content":"a","status":"pending"}"#,
            r#"[{"content":"a","status":"pending"},"#,
            r#"[{"content":"}]"#,
            r#"[{"content":"a","status":"pending"},{"content":"}]"#,
            r#"[{"content":"a","status":"pending"},{"content":"say \"}]"#,
            r#"[{"content":"a","status":"pending"},{"content":"x]"#,
            r#"{"todos":[{"content":"a","status":"pending"}]"#,
        ] {
            assert!(parse(bytes.as_bytes()).is_err(), "{bytes}");
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes()).is_err());
        assert!(parse(&vec![b' '; usize::try_from(TODO_FILE_BYTES_MAX).expect("fits") + 1]).is_err());
        assert!(parse(include_bytes!("../../tests/data/claude-todos/torn.json")).is_err());
        let holes = |count: usize| format!("[{}{}]", "{".repeat(count), r#"{"content":"a","status":"pending"}"#);
        assert_eq!(texts(&read(holes(TRIES_MAX))), ["a"]);
        assert!(parse(holes(TRIES_MAX + 1).as_bytes()).is_err(), "no file keeps us busy");
    }

    #[test]
    fn a_list_has_a_maximum_and_what_is_over_is_counted() {
        let element = r#"{"content":"a","status":"pending"}"#;
        let list = format!("[{}]", vec![element; ITEMS_MAX + 3].join(","));
        let reading = read(&list);
        assert_eq!((reading.items.len(), reading.malformed), (ITEMS_MAX, 3));
    }

    /// A list as Claude Code writes it, of any texts.
    #[derive(Debug, Clone)]
    struct List(Vec<(String, Status, bool)>);

    impl Arbitrary for List {
        fn arbitrary(g: &mut Gen) -> List {
            let nasty = [
                "}]",
                "\"}]",
                "{\"content\":\"x\",\"status\":\"pending\"}",
                "[x]",
                "\\",
                "\\\"",
                "},{",
                "foo:\"}]",
                "a, {}]",
                "\u{1f600}",
                "\u{feff}",
            ];
            let element = |g: &mut Gen| {
                let mut text: String = String::arbitrary(g);
                if bool::arbitrary(g) {
                    text.push_str(g.choose(&nasty).expect("not empty"));
                }
                (format!("{text}."), *g.choose(&Status::ALL).expect("not empty"), bool::arbitrary(g))
            };
            let count = usize::arbitrary(g) % 6;
            List((0..count).map(|_| element(g)).collect())
        }

        fn shrink(&self) -> Box<dyn Iterator<Item = List>> {
            let all = self.0.clone();
            Box::new((0..all.len()).map(move |out| {
                let mut fewer = all.clone();
                fewer.remove(out);
                List(fewer)
            }))
        }
    }

    impl List {
        fn elements(&self) -> Vec<String> {
            let element = |(text, status, active): &(String, Status, bool)| {
                let mut object = serde_json::json!({ "content": text, "status": status.word() });
                if *active {
                    object["activeForm"] = text.as_str().into();
                }
                object.to_string()
            };
            self.0.iter().map(element).collect()
        }

        fn bytes(&self) -> Vec<u8> {
            format!("[{}]", self.elements().join(",\n  ")).into_bytes()
        }
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>, path: String) -> bool {
            let shaped = [b"[{\"".as_slice(), &bytes, b"\"}]"].concat();
            let _ = (parse(&bytes), parse(&shaped), name(&path));
            true
        }

        fn what_is_written_is_read_back(list: List) -> bool {
            let reading = read(list.bytes());
            let same = |(item, (text, status, active)): (&Listed, &(String, Status, bool))| {
                item.text == Foreign::new(text.clone()) && item.status == *status && item.active_form.is_some() == *active
            };
            reading.malformed == 0 && reading.items.len() == list.0.len() && reading.items.iter().zip(&list.0).all(same)
        }

        fn a_torn_file_is_never_a_shorter_list(list: List, wrapped: bool) -> bool {
            let mut bytes = list.bytes();
            if wrapped {
                bytes = [b"{\"todos\":".as_slice(), &bytes, b"}"].concat();
            }
            (0..bytes.len()).all(|end| parse(&bytes[..end]).is_err())
        }

        fn a_damaged_byte_costs_at_most_its_element(list: List, which: usize, place: usize, byte: u8) -> TestResult {
            let mut elements: Vec<Vec<u8>> = list.elements().into_iter().map(String::into_bytes).collect();
            if elements.len() < 2 {
                return TestResult::discard();
            }
            // Damage at the very end may be a tear, and refuses the file: the last element is not hit here.
            let hit = which % (elements.len() - 1);
            let place = place % elements[hit].len();
            elements[hit][place] = byte;
            let reading = read([b"[".as_slice(), &elements.join(b",\n".as_slice()), b"]"].concat());
            let untouched: Vec<Listed> = read(list.bytes()).items;
            let (front, back) = (&untouched[..hit], &untouched[hit + 1..]);
            let survived = reading.items.len() >= front.len() + back.len() && reading.items.starts_with(front) && reading.items.ends_with(back);
            let costs_one = reading.items.len() == untouched.len() || reading.malformed > 0;
            TestResult::from_bool(survived && costs_one && reading.items.len() <= untouched.len())
        }

        fn damage_to_the_last_element_costs_it_or_refuses_the_file(list: List, place: usize, byte: u8) -> TestResult {
            let mut elements: Vec<Vec<u8>> = list.elements().into_iter().map(String::into_bytes).collect();
            let Some(last) = elements.last_mut() else { return TestResult::discard() };
            let place = place % last.len();
            last[place] = byte;
            let untouched = read(list.bytes()).items;
            let damaged = parse(&[b"[".as_slice(), &elements.join(b",".as_slice()), b"]"].concat());
            TestResult::from_bool(damaged.map_or(true, |reading| {
                reading.items.starts_with(&untouched[..untouched.len() - 1]) && (reading.malformed > 0 || reading.items.len() == untouched.len())
            }))
        }
    }

    /// The corpus of real files stands beside the project where it was built; elsewhere there is nothing to check.
    #[test]
    fn every_real_list_is_read_whole() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/claude/todos");
        let (mut files, mut items) = (0, 0);
        for path in files_below(&corpus) {
            let file = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
            if !file.ends_with(".json") {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a readable file");
            let count = serde_json::from_slice::<Value>(&bytes).expect("real files are whole").as_array().map_or(0, Vec::len);
            let reading = read(&bytes);
            assert_eq!((reading.items.len(), reading.malformed), (count, 0), "{file}");
            assert!(name(file).is_some(), "{file}");
            (files, items) = (files + 1, items + count);
        }
        assert!(files == 0 || items > 0, "{files} files without an item");
    }

    fn files_below(dir: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("a readable directory").path());
        paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }
}
