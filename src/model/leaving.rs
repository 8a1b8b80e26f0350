//! What a person keeps on one device: patterns of projects, directories and agents (`sync.exclude`).
//!
//! A pattern without a slash names one part of a project's key or of a working directory, as in a `.gitignore`; one with a
//! slash the whole, a directory that it lies below, or the last parts of a project's key. Letters match in either case: a
//! pattern that keeps too much is seen, one that keeps too little is not.

use std::fmt;

use glob::{MatchOptions, Pattern};
use unicode_normalization::UnicodeNormalization;

/// A pattern that begins so names agents.
const AGENT: &str = "agent:";
/// `*` crosses slashes and hidden names are names: what is excluded is excluded.
const OPTIONS: MatchOptions = MatchOptions { case_sensitive: false, require_literal_separator: false, require_literal_leading_dot: false };

/// What stays on this device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclude {
    places: Vec<Pattern>,
    agents: Vec<Pattern>,
}

/// Why a session stays on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stays {
    /// It is excluded, or works for one that is.
    Excluded,
    /// Something is excluded, and what this session works on, or for whom, is not known.
    Unknown,
}

/// A text that is no pattern, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPattern(pub String);

impl fmt::Display for NoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Exclude {
    /// Reads patterns: `*`, `?`, `[a-z]`, and `agent:NAME` for agents.
    ///
    /// # Errors
    /// [`NoPattern`] for the first that is none: passing it over would tell what somebody wanted kept.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Exclude, NoPattern> {
        let mut exclude = Exclude::default();
        for text in texts {
            let (of, pattern) = match text.strip_prefix(AGENT) {
                Some(agent) => (&mut exclude.agents, agent),
                None => (&mut exclude.places, text.trim_end_matches('/')),
            };
            if pattern.trim().is_empty() {
                return Err(NoPattern(format!("“{text}” names nothing")));
            }
            of.push(Pattern::new(&composed(pattern)).map_err(|why| NoPattern(format!("“{text}”: {why}")))?);
        }
        Ok(exclude)
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.agents.is_empty()
    }

    /// Whether a project stays, by its key.
    #[must_use]
    pub fn keeps_project(&self, key: &str) -> bool {
        let key = &*composed(key);
        self.places.iter().any(|pattern| fits(pattern, key) || ends(key).any(|end| pattern.matches_with(end, OPTIONS)))
    }

    /// Whether what is done in a directory stays.
    #[must_use]
    pub fn keeps_directory(&self, path: &str) -> bool {
        let path = &*composed(path);
        self.places.iter().any(|pattern| fits(pattern, path))
    }

    /// Whether what an agent does stays.
    #[must_use]
    pub fn keeps_agent(&self, name: &str) -> bool {
        let name = &*composed(name);
        self.agents.iter().any(|pattern| pattern.matches_with(name, OPTIONS))
    }
}

/// One spelling of a name: systems write an `é` as one letter or as two.
fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// A text as the pattern that it alone fits.
#[must_use]
pub fn literal(text: &str) -> String {
    Pattern::escape(text)
}

/// Whether a pattern names a part of a path, the path, or a directory above it.
fn fits(pattern: &Pattern, path: &str) -> bool {
    if !pattern.as_str().contains('/') {
        return path.split('/').any(|part| !part.is_empty() && pattern.matches_with(part, OPTIONS));
    }
    let above = path.char_indices().filter(|(at, c)| *c == '/' && *at > 0).map(|(at, _)| &path[..at]);
    above.chain([path]).any(|path| pattern.matches_with(path, OPTIONS))
}

/// The last parts of a key: of `host/me/it` `me/it` and `it`.
fn ends(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').map(|(at, _)| &key[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclude(text: &str) -> Exclude {
        Exclude::parse([text]).expect("a pattern")
    }

    #[test]
    fn a_pattern_names_a_project_a_directory_or_a_part_of_either() {
        let key = "github.com/Me/Secret";
        for text in ["github.com/me/secret", "me/secret", "secret", "Secret", "sec*", "github.com/me", "*/secret", "me", "github.com/me/"] {
            assert!(exclude(text).keeps_project(key), "{text}");
        }
        for text in ["secre", "ub.com/me/secret", "e/secret", "github.com/me/secret/x", "agent:secret"] {
            assert!(!exclude(text).keeps_project(key), "{text}");
        }
        let path = "/home/lena/clients/2024/acme/.src";
        for text in ["/home/lena/clients", "*/2024/*", "clients", "/home/*/clients/2024/acme/.src", ".s?c", "/home/lena/clients/"] {
            assert!(exclude(text).keeps_directory(path), "{text}");
        }
        for text in ["/home/lena/client", "2024/acme", "src", "/"] {
            assert!(!Exclude::parse([text]).is_ok_and(|exclude| exclude.keeps_directory(path)), "{text}");
        }
    }

    #[test]
    fn an_agent_is_named_as_one() {
        let exclude = exclude("agent:S?m");
        assert!(exclude.keeps_agent("sam") && !exclude.keeps_agent("samantha") && !exclude.keeps_directory("/sam"));
        assert!(!exclude.is_empty() && Exclude::default().is_empty());
    }

    #[test]
    fn a_name_is_the_same_in_either_spelling_of_its_letters() {
        let (one, two) = ("caf\u{e9}", "cafe\u{301}");
        for (pattern, name) in [(one, two), (two, one)] {
            assert!(exclude(pattern).keeps_directory(&format!("/home/lena/{name}/src")), "{pattern} {name}");
            assert!(exclude(pattern).keeps_project(&format!("example.org/{name}")), "{pattern} {name}");
            assert!(exclude(&format!("agent:{pattern}")).keeps_agent(name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", " ", "agent:", "[", "a***b", "/"] {
            assert!(Exclude::parse(["fine", text]).is_err(), "{text}");
        }
    }
}
