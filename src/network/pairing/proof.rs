//! What proves that both ends know the same secret, and that nobody stands between them. Pure but for the chance in SPAKE2.
//!
//! Both sides show a keyed hash over who both are, *as noise proved it to each*, and over every byte that was said before.
//! A relay has another key than the two, so each of them hashes something else. The key is a ticket's secret (256 bits), or
//! for a code what SPAKE2 makes of seven digits: whoever does not know them learns from one exchange whether one guess was
//! right, and nothing else, however long it computes afterwards.

use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::code::Code;
use crate::model::id::DeviceId;

/// Which side a proof is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one with the ticket, or that types the code.
    Joiner,
    /// The one that made it.
    Inviter,
}

/// Both ends of one pairing, as one of them knows them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The inviter's id, as noise proved it (or our own).
    pub(crate) inviter: DeviceId,
    /// The joiner's.
    pub(crate) joiner: DeviceId,
}

/// The proof of one side. `said` is [`said`]. Compared as `blake3::Hash`, whose `==` takes the same time for every pair.
pub(crate) fn proof(key: &[u8; 32], side: Side, ends: &Ends, said: &[u8; 32]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(match side {
        Side::Joiner => b"hubless pair 1 joiner",
        Side::Inviter => b"hubless pair 1 inviter",
    });
    for part in [&ends.inviter.0, &ends.joiner.0, said] {
        hasher.update(part);
    }
    hasher.finalize()
}

/// The hash of the two words before the proofs, byte for byte as they went.
pub(crate) fn said(hello: &[u8], answer: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(hello).as_bytes()).update(blake3::hash(answer).as_bytes());
    hasher.finalize().into()
}

/// One side of SPAKE2, half-way.
pub(crate) struct Exchange(Spake2<Ed25519Group>);

impl Exchange {
    /// Begins it; the bytes are for the other side.
    pub(crate) fn begin(side: Side, code: &Code, ends: &Ends) -> (Exchange, Vec<u8>) {
        let name = |role: &str, device: &DeviceId| Identity::new(&[role.as_bytes(), &device.0].concat());
        let (a, b) = (name("hubless pair 1 inviter", &ends.inviter), name("hubless pair 1 joiner", &ends.joiner));
        let password = Password::new(code.password());
        let (state, message) = match side {
            Side::Inviter => Spake2::start_a(&password, &a, &b),
            Side::Joiner => Spake2::start_b(&password, &a, &b),
        };
        (Exchange(state), message)
    }

    /// The key that both have if both began with the same code and the same ends; `None`: those bytes are none of SPAKE2's.
    pub(crate) fn end(self, message: &[u8]) -> Option<[u8; 32]> {
        let shared = self.0.finish(message).ok()?;
        Some(blake3::derive_key("hubless pair 1 code", &shared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const A: DeviceId = DeviceId([1; 32]);
    const B: DeviceId = DeviceId([2; 32]);
    const M: DeviceId = DeviceId([3; 32]);

    fn code(text: &str) -> Code {
        Code::read(text).expect("ten digits")
    }

    /// The keys of both sides after one exchange.
    fn keys(at_inviter: (&str, Ends), at_joiner: (&str, Ends)) -> (Option<[u8; 32]>, Option<[u8; 32]>) {
        let (inviter, to_joiner) = Exchange::begin(Side::Inviter, &code(at_inviter.0), &at_inviter.1);
        let (joiner, to_inviter) = Exchange::begin(Side::Joiner, &code(at_joiner.0), &at_joiner.1);
        (inviter.end(&to_inviter), joiner.end(&to_joiner))
    }

    #[test]
    fn the_same_digits_give_the_same_key_and_another_each_time() {
        let ends = Ends { inviter: A, joiner: B };
        let (a, b) = keys(("318-4402-771", ends), ("318-4402-771", ends));
        assert!(a.is_some() && a == b);
        assert_ne!(a, keys(("318-4402-771", ends), ("318-4402-771", ends)).0);
    }

    #[test]
    fn a_wrong_digit_gives_another_key() {
        let ends = Ends { inviter: A, joiner: B };
        let (a, b) = keys(("318-4402-771", ends), ("318-4402-772", ends));
        assert!(a.is_some() && b.is_some() && a != b);
    }

    #[test]
    fn one_who_stands_between_and_hands_everything_on_gives_each_another_key() {
        // The inviter sees the relay as joiner, the joiner sees it as inviter.
        let (a, b) = keys(("318-4402-771", Ends { inviter: A, joiner: M }), ("318-4402-771", Ends { inviter: M, joiner: B }));
        assert!(a.is_some() && b.is_some() && a != b);
    }

    #[test]
    fn sides_cannot_be_swapped_nor_an_answer_sent_back() {
        let ends = Ends { inviter: A, joiner: B };
        let (inviter, message) = Exchange::begin(Side::Inviter, &code("318-4402-771"), &ends);
        assert_eq!(inviter.end(&message), None, "an inviter's own message is none of a joiner's");
    }

    quickcheck! {
        fn no_bytes_of_the_other_side_make_it_panic(bytes: Vec<u8>) -> bool {
            let (inviter, _) = Exchange::begin(Side::Inviter, &code("318-4402-771"), &Ends { inviter: A, joiner: B });
            bytes.len() == 33 || inviter.end(&bytes).is_none()
        }
    }

    #[test]
    fn a_proof_holds_for_one_side_of_one_pairing_only() {
        let ends = Ends { inviter: A, joiner: B };
        let right = proof(&[9; 32], Side::Joiner, &ends, &[5; 32]);
        assert_eq!(right, proof(&[9; 32], Side::Joiner, &ends, &[5; 32]));
        let others = [
            proof(&[8; 32], Side::Joiner, &ends, &[5; 32]),
            proof(&[9; 32], Side::Inviter, &ends, &[5; 32]),
            proof(&[9; 32], Side::Joiner, &Ends { inviter: B, joiner: A }, &[5; 32]),
            proof(&[9; 32], Side::Joiner, &Ends { joiner: M, ..ends }, &[5; 32]),
            proof(&[9; 32], Side::Joiner, &Ends { inviter: M, ..ends }, &[5; 32]),
            proof(&[9; 32], Side::Joiner, &ends, &[6; 32]),
        ];
        assert!(others.iter().all(|other| *other != right));
        let words = [said(b"ab", b"c"), said(b"a", b"bc"), said(b"c", b"ab")];
        assert!(words[0] != words[1] && words[1] != words[2] && words[0] != words[2], "{words:?}");
    }
}
