//! A code: ten digits made to be read out and typed, `318-4402-771`. Three find the window, seven are its password.
//!
//! The first three are announced to everybody, so they are worth nothing; the seven never leave this device, not even
//! hashed. One wrong try in three minutes' window has a chance of one in ten million.

use std::fmt;

/// What the first three digits are below.
const PLACES: u64 = 1_000;
/// What the last seven are below.
const PASSWORDS: u64 = 10_000_000;
const DIGITS: usize = 10;

/// Ten digits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Code {
    place: u64,
    password: u64,
}

impl Code {
    /// Drawn at random.
    ///
    /// # Errors
    /// The system gives no random bytes; in its words.
    pub(crate) fn draw() -> Result<Code, String> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| e.to_string())?;
        // Of 2^128 values the remainder prefers none by more than one part in 10^28.
        let drawn = u128::from_le_bytes(bytes) % u128::from(PLACES * PASSWORDS);
        let drawn = u64::try_from(drawn).map_err(|e| e.to_string())?;
        Ok(Code { place: drawn / PASSWORDS, password: drawn % PASSWORDS })
    }

    /// As it is shown.
    pub(crate) fn text(&self) -> String {
        let password = self.password();
        format!("{}-{}-{}", self.place(), &password[..4], &password[4..])
    }

    /// Reads ten digits; white space and dashes do not matter. `None`: it is no code.
    pub(crate) fn read(text: &str) -> Option<Code> {
        let bare: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(DIGITS + 1).collect();
        let fits = bare.len() == DIGITS && bare.bytes().all(|b| b.is_ascii_digit());
        let all: u64 = bare.parse().ok().filter(|_| fits)?;
        Some(Code { place: all / PASSWORDS, password: all % PASSWORDS })
    }

    /// Whether somebody meant to type a code: digits, dashes and nothing else.
    pub(crate) fn looks_like_one(text: &str) -> bool {
        text.chars().any(|c| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || c == '-')
    }

    /// The digits that find the window.
    pub(crate) fn place(&self) -> String {
        format!("{:03}", self.place)
    }

    /// The digits that nobody but the two devices knows.
    pub(crate) fn password(&self) -> String {
        format!("{:07}", self.password)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a code of window {}", self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn a_code_reads_back_in_any_spelling(n: u64) -> bool {
            let code = Code { place: n % PLACES, password: (n >> 10) % PASSWORDS };
            let text = code.text();
            let spaced: String = text.chars().flat_map(|c| [c, ' ']).collect();
            text.len() == 12
                && [text.clone(), text.replace('-', ""), text.replace('-', " "), spaced].iter().all(|t| Code::read(t).as_ref() == Some(&code))
        }

        fn no_text_makes_it_panic(text: String) -> bool {
            Code::read(&text).is_none_or(|code| Code::read(&code.text()) == Some(code))
        }
    }

    #[test]
    fn what_is_no_code_is_none_and_what_was_meant_as_one_is_known() {
        for text in ["", "318-4402-77", "318-4402-7711", "318-4402-77x", "３１８４４０２７７１", "hubless1-abc"] {
            assert_eq!(Code::read(text), None, "{text}");
        }
        assert!(Code::looks_like_one("318-4402") && !Code::looks_like_one("hubless1-0") && !Code::looks_like_one("--"));
    }

    #[test]
    fn a_code_does_not_show_its_password_and_two_differ() {
        let (a, b) = (Code::draw().expect("chance"), Code::draw().expect("chance"));
        assert_ne!(a, b);
        assert!(!format!("{a:?}").contains(&a.password()));
    }
}
