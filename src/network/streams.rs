//! One link: one stream to one device, said and heard in order, or `Down`.
//!
//! `Up` comes first, then frames, then `Down`, all from the link's own task, so that no event of a link can overtake
//! another; a link that replaces one speaks only after that one's `Down`. What is said waits in the link's queue. Its task
//! writes and reads at once: a core that is slow to hear slows the other end down through the stream's window, and never
//! keeps this end from saying.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use libp2p::Stream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::frames;
use crate::model::id::{DeviceId, LinkId};
use crate::model::input::{Input, PeerEvent};
use crate::model::limits::{FRAME_BYTES_MAX, UNSENT_BYTES_MAX};
use crate::model::message::Bye;

/// Bytes that may wait on one link. The core keeps to `UNSENT_BYTES_MAX` and the largest message; this only bounds a core that does not.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that are put together for one write.
const WRITE_BYTES: usize = 256 * 1024;
/// After so many bytes an emptied queue is worth telling: well before the core stops for lack of room.
const ROOM_EVERY_BYTES: usize = UNSENT_BYTES_MAX / 4;
/// How long the last words of a link may take to be written.
const LAST_WORDS_MAX: Duration = Duration::from_millis(1_000);
/// How long the other end has to close after that, so that what is on its way to it is not lost in a reset.
const LINGER_MAX: Duration = Duration::from_millis(400);

/// The queues of all links that are up.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<BTreeMap<LinkId, Arc<Queue>>>);

impl Lines {
    /// Queues frames; a link that is down is said nothing, its `Down` is on the way to the core.
    pub(crate) fn say(&self, link: LinkId, frames: Vec<Vec<u8>>) {
        if let Some(queue) = self.locked().get(&link) {
            queue.say(frames);
        }
    }

    /// Lets a link end after what was said.
    pub(crate) fn hang_up(&self, link: LinkId, why: Bye) {
        if let Some(queue) = self.locked().get(&link) {
            queue.end(Ending::Said(why));
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<LinkId, Arc<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing more may be said.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// The core hung up.
    Said(Bye),
    /// More was said than may wait, or a frame larger than any may be.
    Flooded,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    since_room: usize,
    end: Option<Ending>,
}

/// What waits to be written on one link.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
    ending: CancellationToken,
}

impl Queue {
    /// Whether it has been hung up.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Lets it end after what was said, as the core would.
    pub(crate) fn hang_up(&self, why: Bye) {
        self.end(Ending::Said(why));
    }

    fn say(&self, frames: Vec<Vec<u8>>) {
        let mut waiting = self.locked();
        if waiting.end.is_some() {
            return;
        }
        for frame in frames {
            waiting.bytes += frame.len();
            if frame.len() > FRAME_BYTES_MAX || waiting.bytes > QUEUED_BYTES_MAX {
                drop(waiting);
                return self.end(Ending::Flooded);
            }
            waiting.frames.push_back(frame);
        }
        drop(waiting);
        self.more.notify_one();
    }

    fn end(&self, why: Ending) {
        let mut waiting = self.locked();
        if matches!(why, Ending::Flooded) {
            waiting.frames.clear();
        }
        waiting.end.get_or_insert(why);
        drop(waiting);
        self.ending.cancel();
        self.more.notify_one();
    }

    /// The next bytes to write into `out`, or why there will be none.
    async fn next(&self, out: &mut Vec<u8>) -> Option<Ending> {
        out.clear();
        loop {
            {
                let mut waiting = self.locked();
                while out.len() < WRITE_BYTES
                    && let Some(frame) = waiting.frames.pop_front()
                {
                    waiting.bytes -= frame.len();
                    waiting.since_room += frame.len();
                    frames::append(out, &frame);
                }
                if !out.is_empty() {
                    return None;
                }
                if waiting.end.is_some() {
                    return waiting.end;
                }
            }
            self.more.notified().await;
        }
    }

    /// Whether all that was said was written, and so much that it is worth telling.
    fn has_room(&self) -> bool {
        let mut waiting = self.locked();
        let room = waiting.frames.is_empty() && waiting.since_room >= ROOM_EVERY_BYTES;
        if room {
            waiting.since_room = 0;
        }
        room
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that has been opened, and all that its link needs.
pub(crate) struct Link {
    /// Its number.
    pub(crate) id: LinkId,
    /// The key that the transport proved.
    pub(crate) device: DeviceId,
    /// The other end.
    pub(crate) address: String,
    /// What is said on it.
    pub(crate) queue: Arc<Queue>,
    /// Where its events go.
    pub(crate) inbox: mpsc::Sender<Input>,
    /// Resolves when the link that this one replaces has said `Down`.
    pub(crate) after: Option<oneshot::Receiver<()>>,
    /// Ends it at once, with the reason.
    pub(crate) cut: Cut,
    /// Ends it without a word: nobody listens any more.
    pub(crate) over: CancellationToken,
}

/// How a link is ended from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut {
    now: CancellationToken,
    why: Arc<OnceLock<&'static str>>,
}

impl Cut {
    /// Ends the link; its `Down` says why.
    pub(crate) fn make(&self, why: &'static str) {
        let _ = self.why.set(why);
        self.now.cancel();
    }

    /// Whether it was made.
    pub(crate) fn is_made(&self) -> bool {
        self.now.is_cancelled()
    }

    async fn made(&self) -> String {
        self.now.cancelled().await;
        self.why.get().copied().unwrap_or_default().to_owned()
    }
}

impl Link {
    /// Speaks and listens until the link is over. Returns when its `Down` has been taken.
    pub(crate) async fn run(self, stream: Stream, lines: Arc<Lines>) {
        let over = self.over.clone();
        lines.locked().insert(self.id, Arc::clone(&self.queue));
        let id = self.id;
        tokio::select! {
            () = over.cancelled() => {}
            () = self.live(stream, &lines) => {}
        }
        lines.locked().remove(&id);
    }

    async fn live(mut self, stream: Stream, lines: &Lines) {
        if let Some(after) = self.after.take() {
            let _ = after.await;
        }
        let up = PeerEvent::Up { link: self.id, device: self.device, address: self.address.clone() };
        if self.inbox.send(Input::Peer(up)).await.is_err() {
            return;
        }
        let why = self.talk(stream).await;
        lines.locked().remove(&self.id);
        let _ = self.inbox.send(Input::Peer(PeerEvent::Down { link: self.id, why })).await;
    }

    async fn talk(&self, stream: Stream) -> String {
        let (from, mut to) = stream.split();
        let mut from = BufReader::with_capacity(32 * 1024, from);
        let last_words = async {
            self.queue.ending.cancelled().await;
            sleep(LAST_WORDS_MAX).await;
        };
        let ended = tokio::select! {
            why = self.hear(&mut from) => return why,
            why = self.cut.made() => return why,
            () = last_words => return "hung up; what was said last could not be written in time".to_owned(),
            ended = self.speak(&mut to) => ended,
        };
        match ended {
            Err(why) => format!("the connection failed: {why}"),
            Ok(Ending::Flooded) => "more was said than may wait".to_owned(),
            Ok(Ending::Said(why)) => {
                let _ = timeout(LINGER_MAX, async {
                    let _ = to.close().await;
                    let mut rest = [0; 4096];
                    while from.read(&mut rest).await.is_ok_and(|n| n > 0) {}
                })
                .await;
                format!("hung up: {why}")
            }
        }
    }

    /// Hears until the stream or the inbox ends; after we have hung up nothing more is passed on.
    async fn hear(&self, from: &mut BufReader<ReadHalf<Stream>>) -> String {
        loop {
            match frames::read(from, FRAME_BYTES_MAX).await {
                Ok(Some(_)) if self.queue.is_ending() => {}
                Ok(Some(bytes)) => {
                    if self.inbox.send(Input::Peer(PeerEvent::Frame { link: self.id, bytes })).await.is_err() {
                        return "this daemon stops".to_owned();
                    }
                }
                Ok(None) if self.queue.is_ending() => std::future::pending().await,
                Ok(None) => return "the other end hung up".to_owned(),
                Err(why) => return why.to_string(),
            }
        }
    }

    async fn speak(&self, to: &mut WriteHalf<Stream>) -> std::io::Result<Ending> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = self.queue.next(&mut bytes).await {
                return Ok(end);
            }
            to.write_all(&bytes).await?;
            to.flush().await?;
            if self.queue.has_room() {
                let _ = self.inbox.send(Input::Peer(PeerEvent::Room { link: self.id })).await;
            }
        }
    }
}
