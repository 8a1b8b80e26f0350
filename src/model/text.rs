//! Text from outside. It is held as it came and leaves only escaped for where it goes, so that no terminal, page or log
//! ever sees a control character of somebody else's choosing (I12).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Text that a tool, an agent or another device wrote.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Foreign(String);

impl Foreign {
    /// Takes text in, cut on a character border where it would take more than `limits::TEXT_BYTES_MAX` in JSON: a fact is
    /// measured by its JSON, and there a control character takes six bytes.
    pub fn new(text: impl Into<String>) -> Foreign {
        let mut text = text.into();
        if text.len() > super::limits::TEXT_BYTES_MAX / ESCAPE_BYTES_MAX {
            let mut written = 0;
            let over = text.char_indices().find(|(_, c)| {
                written += in_json(*c);
                written > super::limits::TEXT_BYTES_MAX
            });
            if let Some((end, _)) = over {
                text.truncate(end);
            }
        }
        Foreign(text)
    }

    /// For a terminal, a log or a path's label: control, bidirectional and invisible format characters become `\u{…}`.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut out = String::with_capacity(self.0.len());
        for c in self.0.chars() {
            if is_safe(c) { out.push(c) } else { out.extend(c.escape_unicode()) }
        }
        out
    }

    /// For an HTML text node or a quoted attribute.
    #[must_use]
    pub fn html(&self) -> String {
        let mut out = String::with_capacity(self.0.len());
        for c in self.plain().chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                _ => out.push(c),
            }
        }
        out
    }

    /// As one word of a command line that a person may copy into a shell: in quotes unless it needs none. Every shell reads back
    /// what [`Foreign::plain`] shows.
    #[must_use]
    pub fn word(&self) -> String {
        let plain = self.plain();
        let is_simple = !plain.is_empty() && plain.chars().all(|c| c.is_alphanumeric() || "-._@/".contains(c));
        if is_simple { plain } else { format!("'{}'", plain.replace('\'', "'\\''")) }
    }

    /// For a JSON answer, whose writer escapes it; also what hashes, comparisons and rules look at.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// Whether nothing is left but white space.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// Spelled alike wherever it was typed: NFC, trimmed, white space collapsed to one space. Case is kept.
    #[must_use]
    pub fn normalised(&self) -> String {
        // Plain ASCII is NFC already; most texts are, and each is hashed whenever its todo's name is computed.
        let nfc: Cow<'_, str> = if self.0.is_ascii() { Cow::Borrowed(&self.0) } else { self.0.nfc().collect() };
        nfc.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Bytes of the longest escape in JSON: `\u0001`.
const ESCAPE_BYTES_MAX: usize = 6;

/// Bytes that a character takes in JSON, as `serde_json` writes it.
fn in_json(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => ESCAPE_BYTES_MAX,
        _ => c.len_utf8(),
    }
}

/// Letters, marks, digits, signs and the plain space; no control, no bidirectional override, no invisible joiner.
pub(crate) fn is_safe(c: char) -> bool {
    let hidden = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !hidden
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "“{} bytes”", self.0.len())
    }
}

impl From<&str> for Foreign {
    fn from(text: &str) -> Foreign {
        Foreign::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn no_control_character_leaves(text: String) -> bool {
            let foreign = Foreign::new(text);
            foreign.plain().chars().all(is_safe) && !foreign.html().contains(['<', '>', '"', '\''])
        }

        fn a_text_takes_no_more_in_json_than_it_may(text: String, times: u16) -> bool {
            let text = text.repeat(usize::from(times % 1_000));
            let foreign = Foreign::new(text.clone());
            let json = |text: &str| serde_json::to_string(text).expect("JSON").len() - 2;
            let max = crate::model::limits::TEXT_BYTES_MAX;
            let next = text[foreign.json().len()..].chars().next();
            json(foreign.json()) <= max
                && next.map_or(foreign.json() == text, |next| json(&format!("{}{next}", foreign.json())) > max)
                && json(&text) == text.chars().map(in_json).sum::<usize>()
        }

        fn normalising_twice_changes_nothing(text: String) -> bool {
            let once = Foreign::new(text).normalised();
            Foreign::new(once.clone()).normalised() == once
        }
    }

    #[test]
    fn a_name_in_a_command_is_one_word_of_it() {
        let word = |text: &str| Foreign::new(text).word();
        assert_eq!((word("sam"), word("it's me"), word("")), ("sam".into(), "'it'\\''s me'".into(), "''".into()));
        assert_eq!((word("sam;touch pwn"), word("$(x)"), word("a\nb")), ("'sam;touch pwn'".into(), "'$(x)'".into(), "'a\\u{a}b'".into()));
    }

    #[test]
    fn escapes_of_terminals_and_pages_are_inert() {
        let text = Foreign::new("\x1b]52;c;aGk=\x07<img src=x onerror=1>\u{202e}x");
        assert!(!text.plain().contains('\x1b') && !text.plain().contains('\u{202e}'));
        assert!(text.html().contains("&lt;img"));
        assert_eq!(format!("{text:?}"), format!("“{} bytes”", text.json().len()), "debug output never holds content");
    }

    #[test]
    fn white_space_and_spelling_do_not_make_another_todo() {
        assert_eq!(Foreign::new("  a\t b\n").normalised(), "a b");
        assert_eq!(Foreign::new("e\u{301}").normalised(), Foreign::new("é").normalised());
    }
}
