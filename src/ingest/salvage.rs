//! A damaged line costs what is damaged of it: a whole record that a crash left behind zeros, behind half a record or behind
//! another record without a newline between is still a record (FORMATS §2.5, §8.3).
//!
//! Nothing inside a record is ever taken for one: what is found behind damage must reach to the line's end, or to the
//! beginning of the next object, and must look like a record of its tool. Searching costs a bounded part of the line's length.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::escapes;

/// How many times the bytes of a damaged line may be looked at before its rest is given up.
const LOOKS_MAX: usize = 8;
/// Bytes of damage below which looking is never given up.
const FREE_BYTES: usize = 64 * 1024;

/// The line without what a crash or an editor puts before it: zeros, a byte order mark, white space.
#[must_use]
pub(super) fn bare(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|b| *b != 0).unwrap_or(line.len());
    let line = &line[start..];
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii()
}

/// The same line in UTF-8 and without halves of characters; of what can be read, nothing changes.
pub(super) fn mended(line: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(line) {
        Cow::Borrowed(_) => escapes::mend(line),
        Cow::Owned(text) => Cow::Owned(escapes::mend(text.as_bytes()).into_owned()),
    }
}

/// The whole objects of a line that is not one object, in order, and how many pieces of it are damaged.
pub(super) fn objects(line: &[u8], is_record: impl Fn(&[u8]) -> bool) -> (Vec<&[u8]>, u64) {
    let (mut found, mut damaged) = (Vec::new(), 0);
    let mut looks = FREE_BYTES + LOOKS_MAX * line.len();
    let mut rest = bare(line);
    while !rest.is_empty() {
        let at = match object_at(rest, &mut looks) {
            Some(length) => Some((0, length)),
            None => {
                damaged += 1;
                next(rest, &mut looks, &is_record)
            }
        };
        let Some((from, length)) = at else { break };
        found.push(&rest[from..from + length]);
        rest = bare(&rest[from + length..]);
    }
    (found, damaged)
}

/// Where the next whole record behind damage begins, and its length.
fn next(damaged: &[u8], looks: &mut usize, is_record: impl Fn(&[u8]) -> bool) -> Option<(usize, usize)> {
    for at in 1..damaged.len() {
        if !damaged[at..].starts_with(b"{\"") {
            continue;
        }
        if let Some(length) = object_at(&damaged[at..], looks) {
            let behind = bare(&damaged[at + length..]);
            if (behind.is_empty() || behind.starts_with(b"{")) && is_record(&damaged[at..at + length]) {
                return Some((at, length));
            }
        }
        if *looks == 0 {
            return None;
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn texts(line: &str) -> (Vec<String>, u64) {
        let is_record = |object: &[u8]| object.windows(4).any(|part| part == b"\"id\"");
        let (found, damaged) = objects(line.as_bytes(), is_record);
        (found.into_iter().map(|object| String::from_utf8_lossy(object).into_owned()).collect(), damaged)
    }

    #[test]
    fn what_is_whole_is_found_and_the_rest_is_counted() {
        let (a, b) = (r#"{"id":1,"x":{"y":[{"t":"}{"}]}}"#, r#"{"id":2}"#);
        let pair = vec![a.to_owned(), b.to_owned()];
        assert_eq!(texts(&format!("{a}{b}")), (pair.clone(), 0), "no newline between");
        assert_eq!(texts(&format!("\0\0{a}\0\0\0 {b}\0")), (pair.clone(), 0), "zeros between");
        assert_eq!(texts(&format!("{a}{}{b}", &a[..9])), (pair, 1));
        for cut in 1..a.len() {
            assert_eq!(texts(&format!("{}{b}", &a[..cut])), (vec![b.to_owned()], 1), "{}", &a[..cut]);
            assert_eq!(texts(&format!("{b}{}", &a[..cut])), (vec![b.to_owned()], 1), "{}", &a[..cut]);
        }
        assert_eq!(texts("42"), (vec![], 1));
        assert_eq!(texts("[{\"id\":1}]"), (vec![], 1), "in a list it is no record");
        assert_eq!(texts(""), (vec![], 0));
    }

    #[test]
    fn no_line_keeps_us_busy() {
        let deep = "{\"a\":".repeat(600_000);
        assert_eq!(texts(&deep), (vec![], 1));
        let many = "{\"a\":1},".repeat(400_000);
        assert_eq!(texts(&format!("[{many}")).1, 1);
    }

    quickcheck! {
        fn no_bytes_panic(bytes: Vec<u8>) -> bool {
            let _ = objects(&bytes, |_| true);
            let _ = objects(&[b"{\"a\":".as_slice(), &bytes, b"}{\"b\":1}"].concat(), |_| true);
            serde_json::from_slice::<serde_json::Value>(&[b"\"".as_slice(), &mended(&bytes), b"\""].concat()).is_ok()
                || std::str::from_utf8(&mended(&bytes)).is_ok()
        }
    }
}
