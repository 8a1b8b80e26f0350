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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn a_lone_half_is_mended_and_nothing_else_is_touched() {
        for (before, after) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00x""#, r#""\ufffdx""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\ude00\ude00""#, r#""\ud83d\ude00\ufffd""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud7ff\ue000\n""#, r#""\ud7ff\ue000\n""#),
            (r#""\ud8"#, r#""\ud8"#),
            ("\\", "\\"),
        ] {
            assert_eq!(String::from_utf8_lossy(&mend(before.as_bytes())), after);
        }
    }

    quickcheck! {
        fn whatever_is_cut_from_a_text_can_be_read_after_mending(halves: Vec<u16>) -> bool {
            let escaped: String = halves.iter().map(|half| format!("\\u{:04x}", half | 0xd000)).collect();
            let text = format!("\"{escaped}\"");
            let mended = mend(text.as_bytes());
            mended.len() == text.len() && serde_json::from_slice::<String>(&mended).is_ok()
        }

        fn what_can_be_read_stays(text: String) -> bool {
            let json = serde_json::to_vec(&text).expect("a string serialises");
            *mend(&json) == *json
        }

        fn mending_twice_changes_nothing(bytes: Vec<u8>) -> bool {
            let once = mend(&bytes).into_owned();
            once.len() == bytes.len() && *mend(&once) == *once
        }
    }
}
