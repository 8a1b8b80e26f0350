//! A text that was cut in the middle of an emoji is still a text: a lone half of a surrogate pair, which `serde_json`
//! refuses, becomes U+FFFD before parsing, in as many bytes as before (FORMATS §8.8).

use std::borrow::Cow;

/// The same bytes with each lone `\udXXX` escape replaced by `\ufffd`; all offsets stay.
pub(super) fn mend(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(bytes);
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'\\')) {
        at += found;
        match (half(bytes, at), half(bytes, at + 6)) {
            (Some(Half::High), Some(Half::Low)) => at += 12,
            (Some(_), _) => {
                mended.to_mut()[at + 2..at + 6].copy_from_slice(b"fffd");
                at += 6;
            }
            // Any other escape is a backslash and what it escapes, so that `\\ud83d` is never taken for one.
            (None, _) => at += 2,
        }
    }
    mended
}

enum Half {
    High,
    Low,
}

fn half(bytes: &[u8], at: usize) -> Option<Half> {
    match bytes.get(at..at + 6)? {
        [b'\\', b'u', b'd' | b'D', second, third, fourth] if third.is_ascii_hexdigit() && fourth.is_ascii_hexdigit() => match second {
            b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
            b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
            _ => None,
        },
        _ => None,
    }
}
