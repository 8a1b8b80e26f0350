//! One link: one stream to one device, said and heard in order, or `Down`.
//!
//! `Up` comes first, then frames, then `Down`, all from the link's own task, so that no event of a link can overtake
//! another; a link that replaces one speaks only after that one's `Down`. What is said waits in the link's queue. Its task
//! writes and reads at once: a core that is slow to hear slows the other end down through the stream's window, and never
//! keeps this end from saying.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use libp2p::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::frames;
use super::lanes::{Ending, Pace, Queue};
use crate::model::id::{DeviceId, LinkId};
use crate::model::input::{Input, LinkAction, PeerEvent};
use crate::model::limits::FRAME_BYTES_MAX;

/// How long the last words of a link may take to be written.
const LAST_WORDS_MAX: Duration = Duration::from_millis(1_000);
/// How long the other end has to close after that, so that what is on its way to it is not lost in a reset.
const LINGER_MAX: Duration = Duration::from_millis(400);

/// The queues of all links that are up, and the pace of them together.
#[derive(Debug)]
pub(crate) struct Lines {
    queues: Mutex<BTreeMap<LinkId, Arc<Queue>>>,
    pace: Pace,
}

impl Lines {
    /// None yet; all together say at most so many bytes a second.
    pub(crate) fn new(bandwidth: Option<u64>) -> Lines {
        Lines { queues: Mutex::default(), pace: Pace::of(bandwidth) }
    }

    /// A queue for a link that begins.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::new(Queue::new(self.pace.clone()))
    }

    /// Does what concerns one link alone; a link that is down is told nothing, its `Down` is on the way to the core. Gives back what is
    /// not for a link.
    pub(crate) fn tell(&self, action: LinkAction) -> Option<LinkAction> {
        let on = |link: LinkId, then: &dyn Fn(&Queue)| {
            let queue = self.locked().get(&link).cloned();
            queue.iter().for_each(|queue| then(queue));
        };
        match action {
            LinkAction::Say { link, frames } => {
                if let Some(queue) = self.locked().get(&link) {
                    queue.say(frames);
                }
            }
            LinkAction::Pour { link, frames } => {
                if let Some(queue) = self.locked().get(&link) {
                    queue.pour(frames);
                }
            }
            LinkAction::Pace { link, bandwidth } => on(link, &|queue| queue.set_pace(bandwidth)),
            LinkAction::HangUp { link, why } => on(link, &|queue| queue.hang_up(why)),
            other @ (LinkAction::Dial { .. }
            | LinkAction::Doubt { .. }
            | LinkAction::Block { .. }
            | LinkAction::Fleet(_)
            | LinkAction::Renew
            | LinkAction::Invite { .. }
            | LinkAction::CloseWindow { .. }
            | LinkAction::Admit { .. }
            | LinkAction::TurnAway { .. }
            | LinkAction::Join { .. }) => return Some(other),
        }
        None
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<LinkId, Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
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
