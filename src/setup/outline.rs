//! Where each thing stands in a JSON text. A value read and written again would lose its owner's order, spacing and numbers;
//! so settings are never written from values: pieces are put into the text and cut out of it.

use std::ops::Range;

use super::error::Wrong;

/// How deep settings may nest; deeper ones are refused, so that no file can exhaust the stack.
const DEPTH_MAX: usize = 128;

/// One value and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// From its first byte to behind its last.
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
}

/// What a value is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object(Vec<Member>),
    Array(Vec<Node>),
    /// A text, a number, a word.
    Plain,
}

/// One member of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) key: String,
    /// From its key to behind its value.
    pub(super) span: Range<usize>,
    pub(super) value: Node,
}

impl Node {
    /// The members of an object.
    pub(super) fn members(&self) -> Option<&[Member]> {
        if let Kind::Object(members) = &self.kind { Some(members) } else { None }
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Option<&[Node]> {
        if let Kind::Array(elements) = &self.kind { Some(elements) } else { None }
    }

    /// The member of that name; of several the last, which is the one that JavaScript takes.
    pub(super) fn member(&self, key: &str) -> Option<&Node> {
        self.members()?.iter().rev().find(|member| member.key == key).map(|member| &member.value)
    }
}

/// Reads a whole text.
///
/// # Errors
/// What is no JSON, with line and column, or nests too deeply.
pub(super) fn read(text: &str) -> Result<Node, Wrong> {
    let start = text.strip_prefix('\u{feff}').map_or(0, |rest| text.len() - rest.len());
    let valid: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&text[start..]);
    valid.map_err(|why| Wrong::NotJson(why.to_string()))?;
    let mut scan = Scan { text: text.as_bytes(), at: start };
    scan.value(0).ok_or_else(|| Wrong::NotJson(format!("it nests deeper than {DEPTH_MAX} levels")))
}

/// A walk over a text that is known to be JSON.
struct Scan<'t> {
    text: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    fn here(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.here().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        self.space();
        let from = self.at;
        let kind = match self.here().filter(|_| depth < DEPTH_MAX)? {
            b'{' => Kind::Object(self.object(depth)?),
            b'[' => Kind::Array(self.array(depth)?),
            b'"' => {
                self.string();
                Kind::Plain
            }
            _ => {
                while self.here().is_some_and(|byte| !byte.is_ascii_whitespace() && !b",]}".contains(&byte)) {
                    self.at += 1;
                }
                Kind::Plain
            }
        };
        Some(Node { span: from..self.at, kind })
    }

    fn object(&mut self, depth: usize) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        while self.next_of(b'}') {
            let from = self.at;
            self.string();
            let said = std::str::from_utf8(&self.text[from..self.at]).ok()?;
            // A key with half a surrogate is no text, and none that we look for.
            let key = serde_json::from_str(said).unwrap_or_else(|_| said.to_owned());
            self.space();
            self.at += 1;
            let value = self.value(depth + 1)?;
            members.push(Member { key, span: from..self.at, value });
        }
        Some(members)
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut elements = Vec::new();
        while self.next_of(b']') {
            elements.push(self.value(depth + 1)?);
        }
        Some(elements)
    }

    /// Steps over the bracket or comma before the next part; `false` behind the closing one.
    fn next_of(&mut self, close: u8) -> bool {
        self.space();
        if self.here().is_some_and(|byte| b"{[,".contains(&byte)) {
            self.at += 1;
            self.space();
        }
        let more = self.here().is_some_and(|byte| byte != close);
        if !more {
            self.at += 1;
        }
        more
    }

    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.here() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }
}

/// The text without these ranges, which do not overlap.
pub(super) fn without(text: &str, mut cuts: Vec<Range<usize>>) -> String {
    cuts.sort_by_key(|cut| cut.start);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for cut in cuts {
        out.push_str(&text[at..cut.start]);
        at = cut.end;
    }
    out.push_str(&text[at..]);
    out
}

/// The text with these pieces, each before the byte that stands at its place.
pub(super) fn with(text: &str, mut pieces: Vec<(usize, String)>) -> String {
    pieces.sort_by_key(|(at, _)| *at);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (place, piece) in pieces {
        out.push_str(&text[at..place]);
        out.push_str(&piece);
        at = place;
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use serde_json::Value;

    /// The value that an outline describes, read piece by piece.
    fn value(text: &str, node: &Node) -> Value {
        match &node.kind {
            Kind::Object(members) => members.iter().map(|member| (member.key.clone(), value(text, &member.value))).collect(),
            Kind::Array(elements) => elements.iter().map(|element| value(text, element)).collect(),
            Kind::Plain => serde_json::from_str(&text[node.span.clone()]).expect("a plain value"),
        }
    }

    #[test]
    fn every_part_stands_where_it_is_said_to_stand() {
        let texts = [
            "{}",
            " [ ] ",
            "\u{feff}{\"a\": 1}",
            r#"{"a":[1,{"b":"]}\"\\"},-1.5e3 ,true,null],"ü\n":{}, "" : "" }"#,
            "[[[]],[{}]\n,\t\"x\"]",
            "7",
        ];
        for text in texts {
            let node = read(text).expect(text);
            let expected: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).expect(text);
            assert_eq!(value(text, &node), expected, "{text}");
        }
        let text = r#"{"a": 1, "a": {"b": [2]}}"#;
        let node = read(text).expect("JSON");
        assert_eq!(&text[node.member("a").expect("there").span.clone()], r#"{"b": [2]}"#, "the last of one name counts");
        assert_eq!(&text[node.members().expect("an object")[1].span.clone()], r#""a": {"b": [2]}"#);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for text in ["", " ", "{", "{\"a\": 1,}", "// x\n{}", "{} {}", "[1 2]", "'a'", "{\"a\": \"\n\"}"] {
            assert!(matches!(read(text), Err(Wrong::NotJson(why)) if why.contains("line")), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(read(&deep), Err(Wrong::NotJson(why)) if why.contains("deeper")));
    }

    quickcheck! {
        fn no_text_panics(text: String, brackets: Vec<u8>) -> bool {
            let made: String = brackets.iter().map(|byte| char::from(b"{}[],:\"\\ 1nt"[usize::from(*byte) % 12])).collect();
            [text, made].iter().all(|text| read(text).is_ok() == serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}')).is_ok())
        }
    }
}
