//! A ticket: one line of text that carries everything a joiner needs, made to be copied, not to be typed.
//!
//! `hubless1-` and Crockford base32 of a checksum (4 bytes of blake3) and postcard of [`Ticket`]. The secret is 256
//! bits; whoever holds the ticket may join once, while the window is open.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::id::{DeviceId, base32};

/// What every ticket begins with; the number is its version.
const FRONT: &str = "hubless1-";
/// Letters of a ticket; with eight IPv6 addresses it has 460.
const LETTERS_MAX: usize = 2_048;
/// Addresses of a ticket.
pub(crate) const ADDRESSES_MAX: usize = 8;
const CHECK_BYTES: usize = 4;

/// What the text says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// Who invites: 32 bytes of public key.
    pub(crate) inviter: [u8; 32],
    /// Which window; random, no secret. Tells a ticket of an earlier window from a wrong secret.
    pub(crate) window: [u8; 8],
    /// Known to whoever holds the ticket.
    pub(crate) secret: [u8; 32],
    /// Until when by the inviter's clock, milliseconds since 1970. The inviter's own timer decides.
    pub(crate) until_ms: i64,
    /// Where the window listens, best first.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The text is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotATicket {
    /// It begins otherwise.
    #[error("a ticket begins with {FRONT}")]
    Front,
    /// A letter is missing, too much, or wrong.
    #[error("it was not copied whole: its checksum does not fit")]
    Damaged,
}

impl Ticket {
    /// Who invites.
    pub(crate) fn device(&self) -> DeviceId {
        DeviceId(self.inviter)
    }

    /// The line of text.
    pub(crate) fn text(&self) -> String {
        let body = postcard::to_stdvec(self).expect("postcard writes plain data into memory without failing");
        let mut bytes = check(&body).to_vec();
        bytes.extend(body);
        format!("{FRONT}{}", base32(&bytes))
    }

    /// Reads the text; white space, case and Crockford's look-alikes do not matter.
    ///
    /// # Errors
    /// It is no ticket, or not the whole of one.
    pub(crate) fn read(text: &str) -> Result<Ticket, NotATicket> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).take(LETTERS_MAX + 1).map(|c| c.to_ascii_lowercase()).collect();
        let letters = text.strip_prefix(FRONT).ok_or(NotATicket::Front)?;
        let bytes = unbase32(letters).filter(|_| text.len() <= LETTERS_MAX).ok_or(NotATicket::Damaged)?;
        let (sum, body) = bytes.split_first_chunk::<CHECK_BYTES>().ok_or(NotATicket::Damaged)?;
        if *sum != check(body) {
            return Err(NotATicket::Damaged);
        }
        let mut ticket: Ticket = postcard::from_bytes(body).map_err(|_| NotATicket::Damaged)?;
        ticket.addresses.truncate(ADDRESSES_MAX);
        Ok(ticket)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a ticket of {:?}", self.device())
    }
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut out = [0; CHECK_BYTES];
    out.copy_from_slice(&blake3::hash(body).as_bytes()[..CHECK_BYTES]);
    out
}

/// Crockford base32 of any length; letters that are none, and bits that say nothing but are set, make it `None`.
fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut spec = data_encoding::Specification::new();
    spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    spec.translate.from.push_str("oil");
    spec.translate.to.push_str("011");
    spec.encoding().ok()?.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn ticket(seed: u64) -> Ticket {
        let bytes = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        Ticket {
            inviter: bytes,
            window: [bytes[0]; 8],
            secret: bytes,
            until_ms: i64::from(bytes[1]),
            addresses: vec![SocketAddr::from(([192, 0, 2, bytes[2]], 4826)), SocketAddr::from(([bytes[3].into(), 0, 0, 0, 0, 0, 0, 1], 1))],
        }
    }

    quickcheck! {
        fn a_ticket_reads_back_in_any_spelling(seed: u64) -> bool {
            let text = ticket(seed).text();
            let spoiled = format!(" {}\n{} ", &text[..20], &text[20..]).to_uppercase();
            Ticket::read(&text) == Ok(ticket(seed)) && Ticket::read(&spoiled) == Ok(ticket(seed))
        }

        fn one_wrong_letter_is_noticed(seed: u64, at: usize, letter: u8) -> bool {
            let text = ticket(seed).text();
            let at = FRONT.len() + at % (text.len() - FRONT.len());
            let letter = char::from(b"0123456789abcdefghjkmnpqrstvwxyz"[usize::from(letter % 32)]);
            let mut wrong = text.clone();
            wrong.replace_range(at..=at, &letter.to_string());
            wrong == text || Ticket::read(&wrong) == Err(NotATicket::Damaged)
        }

        fn a_cut_ticket_is_noticed(seed: u64, at: usize) -> bool {
            let text = ticket(seed).text();
            Ticket::read(&text[..at % text.len()]).is_err()
        }

        fn no_text_makes_it_panic(text: String) -> bool {
            let _ = Ticket::read(&format!("{FRONT}{text}"));
            Ticket::read(&text).is_err()
        }
    }

    #[test]
    fn a_ticket_does_not_show_its_secret_and_is_not_too_long_to_copy() {
        assert!(!format!("{:?}", ticket(1)).contains("secret"));
        assert!(ticket(1).text().len() < 240, "{}", ticket(1).text().len());
    }
}
