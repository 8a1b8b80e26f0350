//! What the two ends of a pairing say to each other, in which order and how long it may be (docs/protocol.md has it byte by byte).

use std::time::Duration;

use futures::io::AsyncWriteExt;
use libp2p::{Stream, StreamProtocol};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::model::id::DeviceId;
use crate::network::frames;

/// The protocol of a window.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/hubless/pair/1");
/// How long either side waits for the other's next word, and the inviter for the core's decision.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(10);
/// How long the inviter waits for a joiner's first word, which it says as it comes.
pub(crate) const FIRST_WORD_MAX: Duration = Duration::from_secs(5);
/// Bytes of a word before the welcome.
pub(crate) const WORD_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the welcome: the fleet's secrets and its whole membership log.
pub(crate) const WELCOME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The prologue of every window: those who pair are of two fleets.
pub(crate) fn prologue() -> [u8; 32] {
    *blake3::hash(b"hubless pair 1").as_bytes()
}

/// What a joiner says, in this order.
#[derive(Serialize, Deserialize)]
pub(crate) enum FromJoiner {
    /// What it wants to prove, and whom it sees.
    Hello(Hello),
    /// That it knows the secret.
    Proof([u8; 32]),
    /// What it says of itself.
    Name(String),
    /// It has the welcome.
    Taken,
}

/// The joiner's first word.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The inviter, as noise proved it to the joiner.
    pub(crate) inviter: [u8; 32],
    /// The joiner itself. A relay that hands on these two unchanged is found out at once, and by its own name; one that changes
    /// them fails at the proof.
    pub(crate) joiner: [u8; 32],
    /// Drawn for this conversation.
    pub(crate) nonce: [u8; 32],
    /// By what it means to be let in.
    pub(crate) way: Way,
}

impl Hello {
    /// Whether both ends see each other and nobody else.
    pub(crate) fn is_of(&self, inviter: &DeviceId, joiner: &DeviceId) -> bool {
        self.inviter == inviter.0 && self.joiner == joiner.0
    }
}

/// By what a joiner means to be let in.
#[derive(Serialize, Deserialize)]
pub(crate) enum Way {
    /// It has the ticket of the window with this number.
    Ticket { window: [u8; 8] },
    /// It knows the code whose first three digits are these; SPAKE2's message.
    Code { place: String, message: Vec<u8> },
}

/// What the inviter answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum FromInviter {
    /// Drawn for this conversation; SPAKE2's message, empty for a ticket.
    Answer { nonce: [u8; 32], message: Vec<u8> },
    /// That it knows the secret, too.
    Proof([u8; 32]),
    /// `postcard(Welcome)`.
    Welcome(Vec<u8>),
    /// No.
    No(No),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum No {
    /// Another pairing is under way.
    Busy,
    /// Somebody was let in with it already.
    Used,
    /// It was tried too often.
    Tried,
    /// Its time is over.
    Expired,
    /// It is of another window of this device: a newer one was opened.
    Replaced,
    /// The proof is wrong.
    Mismatch,
    /// The joiner saw another inviter, or is another joiner, than the inviter sees.
    Relayed,
    /// The inviter is joining the joiner just now.
    Joining,
    /// The inviter's daemon did not decide in time.
    Late,
    /// The inviter's core says no: a reason's word, its sentence, its fix.
    TurnedAway(String, String, Option<String>),
}

/// Says one word; gives its bytes.
pub(crate) async fn say(to: &mut Stream, word: &impl Serialize) -> Result<Vec<u8>, String> {
    let body = postcard::to_stdvec(word).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    frames::append(&mut bytes, &body);
    let said = async {
        to.write_all(&bytes).await?;
        to.flush().await
    };
    timeout(STEP_MAX, said).await.map_err(|_| "timed out".to_owned())?.map_err(|e| e.to_string())?;
    Ok(body)
}

/// Hears one word; gives it and its bytes.
pub(crate) async fn hear<T: for<'a> Deserialize<'a>>(from: &mut Stream, max: usize) -> Result<(T, Vec<u8>), Unheard> {
    hear_within(STEP_MAX, from, max).await
}

/// The same, waiting so long.
pub(crate) async fn hear_within<T: for<'a> Deserialize<'a>>(
    within: Duration,
    from: &mut Stream,
    max: usize,
) -> Result<(T, Vec<u8>), Unheard> {
    let frame = timeout(within, frames::read(from, max)).await.map_err(|_| Unheard::Late)?;
    let frame = frame.map_err(|e| Unheard::Broken(e.to_string()))?.ok_or_else(|| Unheard::Broken("it hung up".to_owned()))?;
    let word = postcard::from_bytes(&frame).map_err(|_| Unheard::Broken("what it said could not be read".to_owned()))?;
    Ok((word, frame))
}

/// Why no word came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unheard {
    /// Not in time.
    #[error("it did not answer in time")]
    Late,
    /// The stream ended, or what came was none.
    #[error("{0}")]
    Broken(String),
}

/// Draws a nonce.
pub(crate) fn nonce() -> Result<[u8; 32], String> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|e| e.to_string())?;
    Ok(nonce)
}

/// At most so many bytes of a text.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
