//! When what was printed is what the page says: word for word, but for what differs from run to run, by its shape.
//!
//! An id, a code or a ticket that was seen once stands for the same ever after, so a page cannot mix two of them up.

use std::collections::BTreeMap;

/// What stands on the page for what is real in this run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bound {
    real: BTreeMap<String, String>,
    page: BTreeMap<String, String>,
}

/// What a piece of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Id,
    Address,
    Moment,
    Age,
    Size,
    Process,
    Plain,
    Any,
}

impl Bound {
    /// A command of the page, as it is typed here.
    pub(crate) fn to_real(&self, command: &str) -> String {
        replaced(command, &self.real)
    }

    /// What was printed here, as the page has it.
    pub(crate) fn to_page(&self, said: &[String]) -> Vec<String> {
        said.iter().map(|line| placed(&replaced(line, &self.page))).collect()
    }

    fn is_same(&mut self, page: &str, real: &str) -> bool {
        match (self.real.get(page), self.page.get(real)) {
            (None, None) => {
                self.real.insert(page.to_owned(), real.to_owned());
                self.page.insert(real.to_owned(), page.to_owned());
                true
            }
            (Some(known), _) => known == real,
            (None, Some(_)) => false,
        }
    }

    /// Whether the lines that were printed are those of the page; what is new in them is remembered then.
    pub(crate) fn matches(&mut self, page: &[String], real: &[String]) -> bool {
        let mut tried = self.clone();
        let fits = lines_match(&mut tried, page, real);
        if fits {
            *self = tried;
        }
        fits
    }
}

/// Whole pieces alone: `t-1` is no part of `t-12`.
fn replaced(text: &str, by: &BTreeMap<String, String>) -> String {
    text.split('\n')
        .map(|line| pieces(line).into_iter().map(|(_, piece)| by.get(&piece).cloned().unwrap_or(piece)).collect::<String>())
        .collect::<Vec<_>>()
        .join("\n")
}

/// No address of the machine that writes a page stands on it.
fn placed(line: &str) -> String {
    let example = |address: &str| match (address.starts_with("127."), address.contains(':')) {
        (true, true) => "127.0.0.1:4825",
        (true, false) => "127.0.0.1",
        (false, true) => "192.0.2.2:4826",
        (false, false) => "192.0.2.2",
    };
    let piece = |(shape, piece): (Shape, String)| if shape == Shape::Address { example(&piece).to_owned() } else { piece };
    pieces(line).into_iter().map(piece).collect()
}

fn lines_match(bound: &mut Bound, page: &[String], real: &[String]) -> bool {
    let Some(first) = page.first() else { return real.is_empty() };
    if first.trim() == "..." {
        return (0..=real.len()).any(|skipped| {
            let mut tried = bound.clone();
            let fits = lines_match(&mut tried, &page[1..], &real[skipped..]);
            if fits {
                *bound = tried;
            }
            fits
        });
    }
    let Some(line) = real.first() else { return false };
    let mut tried = bound.clone();
    if !pieces_match(&mut tried, &pieces(&even(first)), &pieces(&even(line))) || !lines_match(&mut tried, &page[1..], &real[1..]) {
        return false;
    }
    *bound = tried;
    true
}

fn pieces_match(bound: &mut Bound, page: &[(Shape, String)], real: &[(Shape, String)]) -> bool {
    let Some(((shape, piece), rest)) = page.split_first() else { return real.is_empty() };
    if *shape == Shape::Any {
        return (0..=real.len()).any(|skipped| {
            let mut tried = bound.clone();
            let fits = pieces_match(&mut tried, rest, &real[skipped..]);
            if fits {
                *bound = tried;
            }
            fits
        });
    }
    let Some(((other, found), left)) = real.split_first() else { return false };
    let same = shape == other
        && match shape {
            Shape::Id => bound.is_same(piece, found),
            // One device is reached by several.
            Shape::Address | Shape::Moment | Shape::Age | Shape::Size | Shape::Process => true,
            Shape::Plain | Shape::Any => piece == found,
        };
    same && pieces_match(bound, rest, left)
}

/// Columns are as wide as what stands in them.
fn even(line: &str) -> String {
    let mut out = String::new();
    for part in line.trim_end().split("  ").filter(|part| !part.is_empty()) {
        if !out.is_empty() || line.starts_with(' ') {
            out.push_str("  ");
        }
        out.push_str(part.trim());
    }
    out
}

/// A line in pieces, each with its shape; together they are the line.
fn pieces(line: &str) -> Vec<(Shape, String)> {
    let (mut out, mut plain, mut at) = (Vec::new(), String::new(), 0);
    while at < line.len() {
        let rest = &line[at..];
        let begins = line[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '.');
        let found = if rest.starts_with("...") {
            Some((Shape::Any, 3))
        } else if begins {
            shape_here(rest, &line[..at])
        } else {
            None
        };
        match found {
            Some((shape, length)) => {
                if !plain.is_empty() {
                    out.push((Shape::Plain, std::mem::take(&mut plain)));
                }
                out.push((shape, rest[..length].to_owned()));
                at += length;
            }
            None => {
                let next = rest.chars().next().expect("because there is more of it");
                // Spaces are pieces of their own, so that `...` can stand for a few words.
                if next == ' ' && !plain.is_empty() {
                    out.push((Shape::Plain, std::mem::take(&mut plain)));
                }
                plain.push(next);
                at += next.len_utf8();
                if next == ' ' || next == '"' {
                    out.push((Shape::Plain, std::mem::take(&mut plain)));
                }
            }
        }
    }
    if !plain.is_empty() {
        out.push((Shape::Plain, plain));
    }
    out
}

fn run(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

fn shape_here(rest: &str, before: &str) -> Option<(Shape, usize)> {
    let word = &rest[..run(rest, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_')];
    if let Some(length) = moment(rest) {
        return Some((Shape::Moment, length));
    }
    if let Some(length) = address(rest) {
        return Some((Shape::Address, length));
    }
    if is_id(word) {
        return Some((Shape::Id, word.len()));
    }
    let digits = run(rest, |c| c.is_ascii_digit());
    if digits == 0 {
        return None;
    }
    if before.ends_with("pid ") || before.ends_with("\"pid\":") {
        return Some((Shape::Process, digits));
    }
    age(rest).map(|length| (Shape::Age, length)).or_else(|| size(rest).map(|length| (Shape::Size, length)))
}

/// `t-31d9wa5r`, `7Q2M-KX4D`, `833-0018-927`, and long names of letters and digits.
fn is_id(word: &str) -> bool {
    let bytes = word.as_bytes();
    let lower = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let upper = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let ours = bytes.len() >= 8 && bytes[1] == b'-' && b"tsc".contains(&bytes[0]) && lower(&bytes[2..]);
    let short = bytes.len() == 9 && bytes[4] == b'-' && upper(&bytes[..4]) && upper(&bytes[5..]);
    let code =
        bytes.len() == 12 && bytes[3] == b'-' && bytes[8] == b'-' && digits(&bytes[..3]) && digits(&bytes[4..8]) && digits(&bytes[9..]);
    let long = bytes.len() >= 16 && bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_alphabetic);
    ours || short || code || long
}

/// `2026-03-02T14:02:11.123Z`, `14:02:11`, `14:02`, `Mon 14:02`
fn moment(rest: &str) -> Option<usize> {
    let end = run(rest, |c| c.is_ascii_digit() || "-:.TZ".contains(c));
    let word = rest[..end].trim_end_matches(['.', ':', '-']);
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
    let is_moment = shape == "dd:dd" || shape == "dd:dd:dd" || shape == "d:dd" || shape.starts_with("dddd-dd-dd");
    is_moment.then_some(word.len())
}

fn address(rest: &str) -> Option<usize> {
    let end = run(rest, |c| c.is_ascii_digit() || c == '.' || c == ':');
    let word = rest[..end].trim_end_matches(['.', ':']);
    let host = word.split(':').next().unwrap_or_default();
    let dots = host.split('.').count() == 4 && host.split('.').all(|part| !part.is_empty());
    dots.then_some(word.len())
}

/// `3s`, `12ms`, `1h 02m`, `26m`
fn age(rest: &str) -> Option<usize> {
    let one = |text: &str| {
        let digits = run(text, |c| c.is_ascii_digit());
        let unit = run(&text[digits..], |c| c.is_ascii_lowercase());
        let is = digits > 0 && matches!(&text[digits..digits + unit], "ms" | "s" | "m" | "h" | "d");
        let ends = text[digits + unit..].chars().next().is_none_or(|next| !next.is_ascii_alphanumeric());
        (is && ends).then_some(digits + unit)
    };
    let first = one(rest)?;
    let more = rest[first..].strip_prefix(' ').and_then(one);
    Some(more.map_or(first, |more| first + 1 + more))
}

/// `9.8 MB`, `310 kB`, `12 B`, `4 ms`
fn size(rest: &str) -> Option<usize> {
    let digits = run(rest, |c| c.is_ascii_digit() || c == '.');
    let unit = ["kB", "MB", "GB", "ms", "B"]
        .into_iter()
        .find(|unit| rest[digits..].strip_prefix(' ').is_some_and(|rest| rest.starts_with(unit)))?;
    Some(digits + 1 + unit.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(page: &[&str], real: &[&str]) -> bool {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        Bound::default().matches(&owned(page), &owned(real))
    }

    #[test]
    fn what_differs_from_run_to_run_may_differ_and_nothing_else() {
        assert!(same(&["● sam  desk  working  1s ago, every 60s"], &["● sam    desk  working   12s ago, every 1m"]));
        assert!(same(&["t-31d9wa5r  Rotate"], &["t-dcxjz8w3  Rotate"]));
        assert!(same(&["✓ paired with desk (KQPW-HEDS)"], &["✓ paired with desk (7Q2M-KX4D)"]));
        assert!(same(&["http://127.0.0.1:4825/sync"], &["http://127.0.0.1:39411/sync"]));
        assert!(same(&["a", "...", "z"], &["a", "b", "c", "z"]) && same(&["a", "...", "z"], &["a", "z"]));
        assert!(same(&["a ... z"], &["a b c z"]));
        assert!(same(&["(pid 7)"], &["(pid 812)"]) && same(&["9.8 MB received in 4 s"], &["12 kB received in 4 s"]));
        assert!(!same(&["2 devices"], &["3 devices"]));
        assert!(!same(&["sam  working"], &["sam  stale"]));
        assert!(!same(&["a"], &["a", "b"]) && !same(&["a", "b"], &["a"]) && !same(&["a"], &[]));
        assert!(!same(&["t-31d9wa5r t-31d9wa5r"], &["t-dcxjz8w3 t-dcxjz8w4"]), "one name, two things");
        assert!(!same(&["t-31d9wa5r t-31d9wa5s"], &["t-dcxjz8w3 t-dcxjz8w3"]), "two names, one thing");
        assert!(!same(&["Rotate"], &["t-dcxjz8w3"]));
    }

    #[test]
    fn what_was_seen_once_stands_for_the_same_in_commands() {
        let mut bound = Bound::default();
        assert!(bound.matches(&["t-31d9wa5r  833-0018-927".to_owned()], &["t-dcxjz8w3  111-2222-333".to_owned()]));
        assert_eq!(bound.to_real("hubless todos done t-31d9wa5r; pair 833-0018-927"), "hubless todos done t-dcxjz8w3; pair 111-2222-333");
        assert_eq!(bound.to_page(&["✓ t-dcxjz8w3".to_owned()]), ["✓ t-31d9wa5r"]);
    }
}
