//! What waits to be written on one link, in two lanes: **what is said goes before what is poured, and only what is poured waits for the
//! pace.**
//!
//! Everything counts against the limits, of this link and of all together; what is said is presence, pings and small changes, which nobody should
//! wait for. Between the frames of one poured message whole messages of one frame may go, and no other parts: the other end puts
//! one message together at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::frames;
use crate::model::bucket::Bucket;
use crate::model::limits::{FRAME_BYTES_MAX, UNSENT_BYTES_MAX};
use crate::model::message::Bye;

/// Bytes that may wait on one link. The core keeps to `UNSENT_BYTES_MAX` and the largest message; this only bounds a core that does not.
pub(super) const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that are put together for one write.
const WRITE_BYTES: usize = 256 * 1024;
/// After so many bytes an emptied queue is worth telling: well before the core stops for lack of room.
pub(super) const ROOM_EVERY_BYTES: usize = UNSENT_BYTES_MAX / 4;

/// Why nothing more may be said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// The core hung up.
    Said(Bye),
    /// More was said than may wait, or a frame larger than any may be.
    Flooded,
}

/// The limit of all links together, and the moment from which it counts.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    began: Instant,
    total: Option<Arc<Mutex<Bucket>>>,
}

impl Pace {
    /// So many bytes a second on all links together; `None`: as fast as they go.
    pub(crate) fn of(bandwidth: Option<u64>) -> Pace {
        Pace { began: Instant::now(), total: bandwidth.map(|rate| Arc::new(Mutex::new(Bucket::new(rate, 0)))) }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn place(&self, bytes: usize, now_ns: u64) -> u64 {
        let total = self.total.as_ref().map(|total| total.lock().unwrap_or_else(PoisonError::into_inner).place(bytes, now_ns));
        total.unwrap_or(now_ns)
    }
}

/// The place of the next poured frame: first among those of its link, then among all.
#[derive(Debug, Clone, Copy, Default)]
enum Slot {
    #[default]
    Unasked,
    OfLink(u64),
    OfAll(u64),
}

#[derive(Debug, Default)]
struct Waiting {
    said: VecDeque<VecDeque<Vec<u8>>>,
    poured: VecDeque<VecDeque<Vec<u8>>>,
    /// Whether some frames of the first poured message are written, and not all.
    is_amid: bool,
    slot: Slot,
    own: Option<Bucket>,
    bytes: usize,
    since_room: usize,
    end: Option<Ending>,
}

impl Waiting {
    fn took(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        self.bytes -= frame.len();
        self.since_room += frame.len();
        frames::append(out, frame);
    }

    /// What is said: all of it, but for messages of several frames while a poured one is not through.
    fn take_said(&mut self, out: &mut Vec<u8>) {
        while out.len() < WRITE_BYTES
            && let Some(message) = self.said.front_mut().filter(|message| message.len() == 1 || !self.is_amid)
        {
            let frame = message.pop_front();
            if message.is_empty() {
                self.said.pop_front();
            }
            if let Some(frame) = frame {
                self.took(&frame, out);
            }
        }
    }

    fn take_poured(&mut self, out: &mut Vec<u8>) {
        let Some(message) = self.poured.front_mut() else { return };
        let frame = message.pop_front();
        self.is_amid = !message.is_empty();
        if message.is_empty() {
            self.poured.pop_front();
        }
        if let Some(frame) = frame {
            self.took(&frame, out);
        }
    }

    fn is_empty(&self) -> bool {
        self.said.is_empty() && self.poured.is_empty()
    }
}

/// What waits to be written on one link.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    pace: Pace,
    more: Notify,
    pub(super) ending: CancellationToken,
}

impl Queue {
    /// One at the pace of all.
    pub(crate) fn new(pace: Pace) -> Queue {
        Queue { waiting: Mutex::default(), pace, more: Notify::new(), ending: CancellationToken::new() }
    }

    /// Whether it has been hung up.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Lets it end after what was said, as the core would.
    pub(crate) fn hang_up(&self, why: Bye) {
        self.end(Ending::Said(why));
    }

    /// Keeps what is poured to so many bytes a second.
    pub(super) fn set_pace(&self, bandwidth: u64) {
        self.locked().own = Some(Bucket::new(bandwidth, self.pace.now_ns()));
    }

    pub(super) fn say(&self, frames: Vec<Vec<u8>>) {
        self.add(frames, |waiting| &mut waiting.said);
    }

    pub(super) fn pour(&self, frames: Vec<Vec<u8>>) {
        self.add(frames, |waiting| &mut waiting.poured);
    }

    fn add(&self, frames: Vec<Vec<u8>>, lane: impl FnOnce(&mut Waiting) -> &mut VecDeque<VecDeque<Vec<u8>>>) {
        let mut waiting = self.locked();
        if waiting.end.is_some() || frames.is_empty() {
            return;
        }
        waiting.bytes += frames.iter().map(Vec::len).sum::<usize>();
        if waiting.bytes > QUEUED_BYTES_MAX || frames.iter().any(|frame| frame.len() > FRAME_BYTES_MAX) {
            drop(waiting);
            return self.end(Ending::Flooded);
        }
        lane(&mut waiting).push_back(frames.into());
        drop(waiting);
        self.more.notify_one();
    }

    pub(super) fn end(&self, why: Ending) {
        let mut waiting = self.locked();
        if matches!(why, Ending::Flooded) {
            (waiting.said, waiting.poured, waiting.is_amid) = (VecDeque::new(), VecDeque::new(), false);
        }
        waiting.end.get_or_insert(why);
        drop(waiting);
        self.ending.cancel();
        self.more.notify_one();
    }

    /// The next bytes to write into `out`, or why there will be none.
    pub(super) async fn next(&self, out: &mut Vec<u8>) -> Option<Ending> {
        out.clear();
        loop {
            let wait = {
                let mut waiting = self.locked();
                waiting.take_said(out);
                self.charge(&mut waiting, out.len());
                let wait = if out.is_empty() { self.pour_some(&mut waiting, out) } else { None };
                if !out.is_empty() {
                    return None;
                }
                if waiting.end.is_some() && waiting.is_empty() {
                    return waiting.end;
                }
                wait
            };
            tokio::select! {
                () = self.more.notified() => {}
                () = sleep_until(wait.unwrap_or_else(Instant::now)), if wait.is_some() => {}
            }
        }
    }

    /// What is poured, as far as the pace lets it; else when to look again.
    fn pour_some(&self, waiting: &mut Waiting, out: &mut Vec<u8>) -> Option<Instant> {
        if waiting.own.is_none() && self.pace.total.is_none() {
            while out.len() < WRITE_BYTES && !waiting.poured.is_empty() {
                waiting.take_poured(out);
            }
            return None;
        }
        let now = self.pace.now_ns();
        loop {
            let bytes = waiting.poured.front().and_then(|message| message.front()).map(Vec::len)?;
            let at = match waiting.slot {
                Slot::Unasked => {
                    let at = waiting.own.as_mut().map_or(now, |own| own.place(bytes, now));
                    waiting.slot = Slot::OfLink(at);
                    at
                }
                Slot::OfLink(at) if at <= now => {
                    let at = self.pace.place(bytes, now);
                    waiting.slot = Slot::OfAll(at);
                    at
                }
                Slot::OfAll(at) if at <= now => {
                    waiting.slot = Slot::Unasked;
                    waiting.take_poured(out);
                    return None;
                }
                Slot::OfLink(at) | Slot::OfAll(at) => at,
            };
            if at > now {
                return Some(self.pace.began + Duration::from_nanos(at));
            }
        }
    }

    /// What goes without waiting for a place takes one all the same.
    fn charge(&self, waiting: &mut Waiting, bytes: usize) {
        if bytes > 0 {
            let now = self.pace.now_ns();
            waiting.own.as_mut().map(|own| own.place(bytes, now));
            self.pace.place(bytes, now);
        }
    }

    /// Whether all that was said was written, and so much that it is worth telling.
    pub(super) fn has_room(&self) -> bool {
        let mut waiting = self.locked();
        let room = waiting.is_empty() && waiting.since_room >= ROOM_EVERY_BYTES;
        if room {
            waiting.since_room = 0;
        }
        room
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, bytes: usize) -> Vec<u8> {
        vec![kind; bytes]
    }

    /// The kinds of the frames that a write holds.
    fn kinds(mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            out.push(rest[0]);
            bytes = &rest[length..];
        }
        out
    }

    async fn written(queue: &Queue, writes: usize) -> Vec<u8> {
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..writes {
            assert!(queue.next(&mut bytes).await.is_none(), "there is more");
            all.extend(kinds(&bytes));
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_goes_first_and_no_parts_of_two_messages_are_mixed() {
        let queue = Queue::new(Pace::of(Some(10_000)));
        queue.pour(vec![frame(1, 1_000), frame(2, 1_000), frame(3, 1_000)]);
        queue.pour(vec![frame(4, 1_000)]);
        assert_eq!(written(&queue, 1).await, [1]);
        queue.say(vec![frame(7, 100)]);
        queue.say(vec![frame(8, 100), frame(9, 100)]);
        queue.say(vec![frame(6, 100)]);
        // One frame goes between; two wait until the message is through, and what comes behind them too.
        assert_eq!(written(&queue, 5).await, [7, 2, 3, 8, 9, 6, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_poured_keeps_to_the_pace_of_its_link_and_of_all() {
        for (total, own, expected) in [(Some(100_000), None, 100_000), (None, Some(50_000), 50_000), (Some(30_000), Some(80_000), 30_000)] {
            let queue = Queue::new(Pace::of(total));
            if let Some(own) = own {
                queue.set_pace(own);
            }
            (0..2_000).for_each(|_| queue.pour(vec![frame(1, 1_000)]));
            let began = Instant::now();
            let (mut bytes, mut count) = (Vec::new(), 0u64);
            while began.elapsed() < Duration::from_secs(10) {
                queue.next(&mut bytes).await;
                count += kinds(&bytes).len() as u64 * 1_000;
            }
            let rate = count / 10;
            assert!(rate.abs_diff(expected) <= expected / 10, "{rate} instead of {expected} bytes a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_by_its_own_limit_takes_nothing_from_the_others() {
        let pace = Pace::of(Some(100_000));
        let (slow, fast) = (Queue::new(pace.clone()), Queue::new(pace));
        slow.set_pace(10_000);
        for queue in [&slow, &fast] {
            (0..1_500).for_each(|_| queue.pour(vec![frame(1, 1_000)]));
        }
        let began = Instant::now();
        let count = async |queue: &Queue| {
            let (mut bytes, mut count) = (Vec::new(), 0usize);
            while began.elapsed() < Duration::from_secs(10) {
                queue.next(&mut bytes).await;
                count += kinds(&bytes).len();
            }
            count / 10
        };
        let (slow, fast) = tokio::join!(count(&slow), count(&fast));
        assert!(slow.abs_diff(10) <= 1 && fast.abs_diff(90) <= 9, "{slow} and {fast} kB a second");
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_says_what_waits_and_a_flood_ends_it() {
        let queue = Queue::new(Pace::of(Some(1_000)));
        queue.pour(vec![frame(1, 3_000)]);
        queue.pour(vec![frame(2, 10)]);
        queue.hang_up(Bye::Stopping);
        queue.say(vec![frame(3, 10)]);
        assert_eq!(written(&queue, 2).await, [1, 2], "and nothing that comes later");
        assert!(matches!(queue.next(&mut Vec::new()).await, Some(Ending::Said(Bye::Stopping))));
        let queue = Queue::new(Pace::of(None));
        queue.pour(vec![frame(1, FRAME_BYTES_MAX + 1)]);
        assert!(matches!(queue.next(&mut Vec::new()).await, Some(Ending::Flooded)));
    }
}
