//! What devices say to each other, and how it becomes frames. `docs/protocol.md` is the same in prose.
//!
//! A frame is `kind: u16 little endian` and a postcard body, at most [`FRAME_BYTES_MAX`]; the network puts its length
//! before it. A message larger than a frame goes as `Part` frames; whole frames of presence may go between them. A kind
//! that is not known is skipped and counted, so that a newer peer does not end the link.

use serde::{Deserialize, Serialize};

use super::beat::Beat;
use super::id::{DeviceId, DocId, FleetId, Life};
use super::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use super::peering::Terms;
use super::time::Millis;

/// The versions of this protocol that we speak, oldest first.
pub const VERSIONS: &[u16] = &[1];

/// Bytes of a frame that are not its body: the kind, the network's length, and a part's own numbers.
const FRAME_HEAD_BYTES: usize = 32;

/// The hash of one automerge change.
pub type Head = [u8; 32];

/// One thing said.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Always first, each way: all entries of the membership log that we hold.
    Members(Vec<Vec<u8>>),
    /// What we are and hold; after the other has proved itself a member.
    Hello(Hello),
    /// The heads of every document as of our `Hello`, when the two hashes differ.
    Heads(Vec<DocHeads>),
    /// One automerge sync message of a document that the two are *talking* about.
    Sync {
        /// Which document.
        doc: DocId,
        /// Whether it begins a talk afresh: the other forgets its own state of it and answers, even when both hold the same.
        first: bool,
        /// `automerge::sync::Message`, always of version 1 and without flags.
        bytes: Vec<u8>,
    },
    /// New changes of a document on which the two are *level*.
    Changes {
        /// Which document.
        doc: DocId,
        /// Raw change chunks, dependencies first.
        bytes: Vec<u8>,
    },
    /// Who lives, on one device; relayed once.
    Presence(Presence),
    /// Are you there?
    Ping {
        /// To be repeated in the answer.
        n: u64,
    },
    /// The answer.
    Pong {
        /// Of the `Ping`.
        n: u64,
        /// The answerer's wall clock, milliseconds since 1970.
        wall_ms: i64,
    },
    /// The fleet's secrets; to proven members only.
    Secrets(Vec<[u8; 32]>),
    /// A document that we hold back from you, because what you sent of it could not be taken.
    Held {
        /// Which document.
        doc: DocId,
    },
    /// The last word, with its reason.
    Bye(Bye),
    /// What we do with documents on this link; before `Hello`, and only where it is not everything.
    Terms(Terms),
    /// What do you hold? A person wants to know.
    Look {
        /// To be repeated in the answer.
        n: u64,
        /// The heads of what the asker holds, so that the other can count what lies between.
        heads: Vec<DocHeads>,
    },
    /// The answer.
    Holding {
        /// Of the `Look`.
        n: u64,
        /// Every document that may leave the device and holds something.
        docs: Vec<Holding>,
    },
}

/// One document, as a device holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Which, and its heads.
    pub at: DocHeads,
    /// A hash of what it says: its facts, not its history.
    pub content: [u8; 32],
    /// How many changes it has.
    pub changes: u64,
    /// How many of those the asker lacks; `None` when its heads are not all known.
    pub ahead: Option<u64>,
}

/// What a device is and holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions it speaks.
    pub versions: Vec<u16>,
    /// Its fleet.
    pub fleet: FleetId,
    /// Its opening of its store.
    pub life: Life,
    /// Its wall clock, milliseconds since 1970.
    pub wall_ms: i64,
    /// One hash over all its (document, heads).
    pub all: [u8; 32],
    /// Where it listens, `ip:port`.
    pub addresses: Vec<String>,
    /// The highest life counter it has heard of the receiver.
    pub your_life: u64,
}

/// One document's heads, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocHeads {
    /// Which document.
    pub doc: DocId,
    /// Its heads.
    pub heads: Vec<Head>,
}

/// Who lives on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// Whose.
    pub device: DeviceId,
    /// Its opening of its store; a higher one replaces everything of a lower one.
    pub life: Life,
    /// Counts up within a life.
    pub seq: u64,
    /// How long ago it was said, all holding on the way included.
    pub age_ms: Millis,
    /// All its living agents.
    pub agents: Vec<Living>,
}

/// One living agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Living {
    /// Its latest report, as JSON, so that an older peer skips fields it does not know.
    pub beat: BeatJson,
    /// How long before the frame was said its last sign of life was.
    pub silent_ms: Millis,
    /// How long before the frame was said it last achieved something.
    pub stuck_ms: Millis,
}

/// A beat as JSON text on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatJson(pub Beat);

impl Serialize for BeatJson {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let json = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
        json.serialize(s)
    }
}

impl<'de> Deserialize<'de> for BeatJson {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let json = String::deserialize(d)?;
        serde_json::from_str(&json).map(BeatJson).map_err(serde::de::Error::custom)
    }
}

/// Why a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Bye {
    /// It stops.
    #[error("it is going down")]
    Stopping,
    /// Its entries do not prove it a member of our fleet.
    #[error("it is not a member of this fleet")]
    Untrusted,
    /// No version in common.
    #[error("it speaks another version of the protocol")]
    Version,
    /// What it said could not be read.
    #[error("what it said could not be read")]
    Garbled,
    /// It said nothing for too long.
    #[error("it said nothing for too long")]
    Silent,
    /// The same key lives twice.
    #[error("a clone of it is running with the same key")]
    Clone,
    /// This machine slept; what was in flight is worth nothing.
    #[error("this machine slept")]
    Slept,
    /// It was told to leave, or we left.
    #[error("it left the fleet")]
    Left,
    /// What goes on this link changes: it is opened anew at once.
    #[error("it opens the link anew, on other terms")]
    Anew,
    /// It is set to keep no link with this device.
    #[error("it is set to keep no link with this device (peers.NAME.enabled there)")]
    Unwanted,
}

/// What could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a garbled frame")]
pub struct Garbled;

/// One part of a message that is larger than a frame.
#[derive(Serialize, Deserialize)]
struct Part {
    kind: u16,
    last: bool,
    body: Vec<u8>,
}

const PART: u16 = 0xff;

impl Message {
    fn kind(&self) -> u16 {
        match self {
            Message::Members(_) => 1,
            Message::Hello(_) => 2,
            Message::Heads(_) => 3,
            Message::Sync { .. } => 4,
            Message::Changes { .. } => 5,
            Message::Presence(_) => 6,
            Message::Ping { .. } => 7,
            Message::Pong { .. } => 8,
            Message::Secrets(_) => 9,
            Message::Held { .. } => 10,
            Message::Bye(_) => 11,
            Message::Terms(_) => 12,
            Message::Look { .. } => 13,
            Message::Holding { .. } => 14,
        }
    }

    fn body(&self) -> Vec<u8> {
        let body = match self {
            Message::Members(entries) => postcard::to_stdvec(entries),
            Message::Hello(hello) => postcard::to_stdvec(hello),
            Message::Heads(heads) => postcard::to_stdvec(heads),
            Message::Sync { doc, first, bytes } => postcard::to_stdvec(&(doc, first, bytes)),
            Message::Changes { doc, bytes } => postcard::to_stdvec(&(doc, bytes)),
            Message::Presence(presence) => postcard::to_stdvec(presence),
            Message::Ping { n } => postcard::to_stdvec(n),
            Message::Pong { n, wall_ms } => postcard::to_stdvec(&(n, wall_ms)),
            Message::Secrets(secrets) => postcard::to_stdvec(secrets),
            Message::Held { doc } => postcard::to_stdvec(doc),
            Message::Bye(why) => postcard::to_stdvec(why),
            Message::Terms(terms) => postcard::to_stdvec(terms),
            Message::Look { n, heads } => postcard::to_stdvec(&(n, heads)),
            Message::Holding { n, docs } => postcard::to_stdvec(&(n, docs)),
        };
        body.expect("postcard writes plain data into memory without failing")
    }

    /// The message as frames, in the order in which they must go.
    #[must_use]
    pub fn frames(&self) -> Vec<Vec<u8>> {
        self.frames_of(FRAME_BYTES_MAX)
    }

    /// The same in frames of at most so many bytes, so that others may go between them sooner.
    #[must_use]
    pub fn frames_of(&self, max: usize) -> Vec<Vec<u8>> {
        let (kind, body) = (self.kind(), self.body());
        let room = max.clamp(2 * FRAME_HEAD_BYTES, FRAME_BYTES_MAX) - FRAME_HEAD_BYTES;
        if body.len() <= room {
            return vec![frame(kind, &body)];
        }
        let parts = body.len().div_ceil(room);
        let part = |(i, body): (usize, &[u8])| {
            let part = Part { kind, last: i + 1 == parts, body: body.to_vec() };
            frame(PART, &postcard::to_stdvec(&part).expect("postcard writes plain data into memory without failing"))
        };
        body.chunks(room).enumerate().map(part).collect()
    }

    fn read(kind: u16, body: &[u8]) -> Result<Option<Message>, Garbled> {
        fn take<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Garbled> {
            postcard::from_bytes(body).map_err(|_| Garbled)
        }
        Ok(Some(match kind {
            1 => Message::Members(take(body)?),
            2 => Message::Hello(take(body)?),
            3 => Message::Heads(take(body)?),
            4 => {
                let (doc, first, bytes) = take(body)?;
                Message::Sync { doc, first, bytes }
            }
            5 => {
                let (doc, bytes) = take(body)?;
                Message::Changes { doc, bytes }
            }
            6 => Message::Presence(take(body)?),
            7 => Message::Ping { n: take(body)? },
            8 => {
                let (n, wall_ms) = take(body)?;
                Message::Pong { n, wall_ms }
            }
            9 => Message::Secrets(take(body)?),
            10 => Message::Held { doc: take(body)? },
            11 => Message::Bye(take(body)?),
            12 => Message::Terms(take(body)?),
            13 => {
                let (n, heads) = take(body)?;
                Message::Look { n, heads }
            }
            14 => {
                let (n, docs) = take(body)?;
                Message::Holding { n, docs }
            }
            _ => return Ok(None),
        }))
    }
}

fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 2);
    frame.extend(kind.to_le_bytes());
    frame.extend(body);
    frame
}

/// What one frame completed.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A whole message.
    Whole(Message),
    /// A part of one; more follows.
    More,
    /// A kind we do not know.
    Unknown,
}

/// Puts the frames of one link together again.
#[derive(Debug, Default)]
pub struct Ear {
    kind: u16,
    body: Vec<u8>,
}

impl Ear {
    /// Hears one frame, of which at most `limit` bytes may be gathered into one message.
    ///
    /// # Errors
    /// [`Garbled`] when a body does not read as its kind, a part belongs to another message, or the limit is passed.
    pub fn hear(&mut self, frame: &[u8], limit: usize) -> Result<Heard, Garbled> {
        let limit = limit.min(MESSAGE_BYTES_MAX);
        let (kind, body) = frame.split_first_chunk::<2>().ok_or(Garbled)?;
        let kind = u16::from_le_bytes(*kind);
        if frame.len() > FRAME_BYTES_MAX || body.len() > limit {
            return Err(Garbled);
        }
        if kind != PART {
            return Ok(Message::read(kind, body)?.map_or(Heard::Unknown, Heard::Whole));
        }
        let part: Part = postcard::from_bytes(body).map_err(|_| Garbled)?;
        if self.body.len() + part.body.len() > limit || (!self.body.is_empty() && self.kind != part.kind) {
            return Err(Garbled);
        }
        self.kind = part.kind;
        self.body.extend(part.body);
        if !part.last {
            return Ok(Heard::More);
        }
        let body = std::mem::take(&mut self.body);
        Ok(Message::read(part.kind, &body)?.map_or(Heard::Unknown, Heard::Whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn doc() -> DocId {
        DocId::parse("todos/2026-11").expect("a good name")
    }

    #[test]
    fn a_large_message_spans_frames_and_presence_goes_between() {
        let big = Message::Sync { doc: doc(), first: true, bytes: vec![7; 3 * FRAME_BYTES_MAX] };
        let frames = big.frames();
        assert!(frames.len() > 3 && frames.iter().all(|f| f.len() <= FRAME_BYTES_MAX));
        let mut ear = Ear::default();
        let mut heard = Vec::new();
        for frame in &frames {
            heard.push(ear.hear(frame, MESSAGE_BYTES_MAX).expect("our own frame"));
            assert_eq!(ear.hear(&Message::Ping { n: 1 }.frames()[0], MESSAGE_BYTES_MAX), Ok(Heard::Whole(Message::Ping { n: 1 })));
        }
        assert_eq!(heard.pop(), Some(Heard::Whole(big)));
        assert!(heard.iter().all(|h| *h == Heard::More));
    }

    #[test]
    fn a_message_over_the_limit_is_garbled_and_an_unknown_kind_is_not() {
        let big = Message::Sync { doc: doc(), first: true, bytes: vec![7; 3 * FRAME_BYTES_MAX] };
        let mut ear = Ear::default();
        let results: Vec<_> = big.frames().iter().map(|f| ear.hear(f, FRAME_BYTES_MAX)).collect();
        assert!(results.contains(&Err(Garbled)));
        assert_eq!(Ear::default().hear(&[77, 0, 1, 2], 1000), Ok(Heard::Unknown));
        assert_eq!(Ear::default().hear(&[1], 1000), Err(Garbled));
    }

    quickcheck! {
        fn no_bytes_make_an_ear_panic(frames: Vec<Vec<u8>>) -> bool {
            let mut ear = Ear::default();
            for frame in frames { let _ = ear.hear(&frame, 10_000); }
            true
        }
    }
}
