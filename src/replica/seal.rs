//! What this device says of its own sessions is known again by a seal: a hash under a key that only it has.
//!
//! Documents are everybody's, and a member may write anything into them. Where a session works decides whether what is done in it
//! may be told ([`super::staying`]), so that a member's word must not pass for ours, not even after a restart, when nothing else
//! tells who wrote a fact. The seal stands beside the fact's own fields (`"seal"`); others pass over it.

use ed25519_dalek::SigningKey;

use crate::model::fact::FactKey;
use crate::model::id::{DeviceId, SessionId, base32};
use crate::model::session::SessionFact;

use super::saved::{self, Noun};

/// What the key is derived for.
const CONTEXT: &str = "hubless 1 seal of a session";
/// Bytes of a seal: nobody tries 2^80 of them, each of which would have to be told.
const BYTES: usize = 10;

/// What a fact's value may say besides.
#[derive(serde::Deserialize)]
struct Sealed {
    seal: Option<String>,
}

/// The key of our seals.
pub(super) struct Seal {
    me: DeviceId,
    key: [u8; 32],
}

impl Seal {
    /// That of the device whose key is `signing`.
    pub(super) fn of(signing: &SigningKey) -> Seal {
        let key = blake3::derive_key(CONTEXT, signing.as_bytes());
        Seal { me: DeviceId(signing.verifying_key().to_bytes()), key }
    }

    fn is_ours(&self, noun: &Noun) -> bool {
        matches!(noun, Noun::Session(_, fact) if fact.device == self.me)
    }

    fn over(&self, session: &SessionId, fact: &SessionFact) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&session.0).update(saved::json(fact).as_bytes());
        base32(&hasher.finalize().as_bytes()[..BYTES])
    }

    /// The fact as it is written: sealed, if it is of a session of ours. A seal that stands there is made anew.
    pub(super) fn put(&self, (key, value): (FactKey, String)) -> (FactKey, String) {
        let is_session = matches!(key, FactKey::Session(_));
        let Some(Noun::Session(session, fact)) = is_session.then(|| saved::read(&key, &value)).flatten().filter(|noun| self.is_ours(noun))
        else {
            return (key, value);
        };
        let (seal, plain) = (self.over(&session, &fact), saved::json(&fact));
        let open = plain.strip_suffix('}').unwrap_or(&plain);
        (key, format!("{open},\"seal\":\"{seal}\"}}"))
    }

    /// Whether this value of a session's fact was written by us.
    pub(super) fn is_on(&self, session: &SessionId, fact: &SessionFact, value: &str) -> bool {
        let seal = serde_json::from_str::<Sealed>(value).ok().and_then(|sealed| sealed.seal);
        seal.is_some_and(|seal| seal == self.over(session, fact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::session::session_id;
    use crate::model::text::Foreign;

    fn fact(device: DeviceId) -> SessionFact {
        SessionFact {
            rev: 3,
            device,
            tool: "claude".into(),
            tool_session: Foreign::new("5c"),
            agent: Foreign::new("claude"),
            project: Some("example.org/lena/api".into()),
            cwd: Some(Foreign::new("/w/“x”\u{1}")),
            branch: None,
            title: Some(Foreign::new("a \"title\"")),
            parent: None,
            side: false,
            started: 7,
        }
    }

    #[test]
    fn our_own_word_is_known_and_nobody_elses_passes_for_it() {
        let (ours, theirs) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let (seal, other) = (Seal::of(&ours), Seal::of(&theirs));
        let session = session_id(&seal.me, "claude", "5c");
        let said = fact(seal.me);
        let (key, value) = seal.put((FactKey::Session(session), saved::json(&said)));
        let Some(Noun::Session(_, read)) = saved::read(&key, &value) else { panic!("{value} is no session") };
        assert_eq!(read, said, "it says the same");
        assert!(seal.is_on(&session, &read, &value) && !other.is_on(&session, &read, &value));
        assert_eq!(seal.put((key.clone(), value.clone())), (key.clone(), value.clone()), "once is as good as twice");
        // The seal of one fact is none on another, nor on another session's.
        let forged = value.replace("api", "web");
        let moved = SessionFact { project: Some("example.org/lena/web".into()), ..said.clone() };
        assert!(forged != value && !seal.is_on(&session, &moved, &forged));
        assert!(!seal.is_on(&session_id(&seal.me, "claude", "0e"), &read, &value));
        assert!(!seal.is_on(&session, &said, &saved::json(&said)), "without a seal it is nobody's");
        // A member can only seal what it says itself.
        let (_, by_them) = other.put((key.clone(), saved::json(&said)));
        assert_eq!(by_them, saved::json(&said), "of its own sessions alone");
        let (_, tag) = seal.put((FactKey::Other("x/y".into()), "{\"rev\":1}".into()));
        assert_eq!(tag, "{\"rev\":1}");
    }
}
