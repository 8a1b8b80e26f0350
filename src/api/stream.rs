//! `GET /api/v3/events`: server-sent events, so that a page or script hears of a change instead of asking again and again.
//!
//! A reader that comes back with `Last-Event-ID` gets what it missed, or `resync` when that is no longer known. Nothing is
//! queued for a reader: it reads from the shared ring at its own pace, and one that falls out of the ring is told to resync and
//! let go. On shutdown every stream says `bye` and ends first, else stopping would wait for it (tokio-rs/axum#2673).

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::desk::Desk;
use super::events::{STREAMS_MAX, Subject, TooOld};
use super::problem::Problem;
use super::reads;
use super::respond::{self, No};

/// How often a stream says that it lives: the page greys after 20 s of silence.
const TICK_EVERY: Duration = Duration::from_secs(10);
/// When a reader should come back after its stream ended.
const RETRY_MS: u32 = 3_000;
/// Events that are written at once.
const BATCH_MAX: usize = 64;

/// One stream.
struct Reader {
    desk: Arc<Desk>,
    taken: u64,
    more: watch::Receiver<u64>,
    tick: Interval,
    greeting: Option<String>,
    over: bool,
    _place: OwnedSemaphorePermit,
}

/// Opens a stream.
pub(crate) async fn events(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Result<Response, No> {
    let place = desk.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(503, "too-many-streams", format!("{STREAMS_MAX} event streams are open already"))
            .fix("close one, or ask again and again")
    })?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let reader = Reader::new(desk, last, place);
    let mut response = respond::written(StatusCode::OK, "text/event-stream", Body::from_stream(unfold(reader, Reader::next)));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Reader {
    fn new(desk: Arc<Desk>, last: Option<&str>, place: OwnedSemaphorePermit) -> Reader {
        let more = desk.feed.more();
        let newest = desk.feed.newest();
        let known = last.map(|last| replayable(&desk, last));
        let taken = known.flatten().unwrap_or(newest);
        let mut greeting = format!("retry: {RETRY_MS}\n\n");
        greeting += &block(Some((&desk.boot, taken)), "hello", &hello(&desk, taken));
        if known == Some(None) {
            greeting += &block(Some((&desk.boot, taken)), "resync", &json!({"seq": taken}));
        }
        let mut tick = interval_at(tokio::time::Instant::now() + TICK_EVERY, TICK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Reader { desk, taken, more, tick, greeting: Some(greeting), over: false, _place: place }
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Reader)> {
        if self.over {
            return None;
        }
        let text = match self.greeting.take() {
            Some(greeting) => greeting,
            None => self.text().await,
        };
        Some((Ok(Bytes::from(text)), self))
    }

    /// The next thing to say.
    async fn text(&mut self) -> String {
        let stop = self.desk.stop.clone();
        while !stop.is_cancelled() {
            self.more.mark_unchanged();
            match self.desk.feed.after(self.taken, BATCH_MAX) {
                Err(TooOld) => return self.let_go(),
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => return self.told(batch),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                more = self.more.changed() => if more.is_err() { break },
                _ = self.tick.tick() => return block(None, "tick", &json!({"serverTime": reads::iso(self.desk.now())})),
            }
        }
        self.over = true;
        block(None, "bye", &json!({}))
    }

    fn told(&mut self, batch: Vec<(u64, Subject)>) -> String {
        let view = self.desk.view();
        let mut out = String::new();
        for (at, (seq, subject)) in batch.iter().enumerate() {
            self.taken = *seq;
            // Of an object that changed several times only the last is told; its number stands for the others.
            if !batch[at + 1..].iter().any(|(_, later)| later == subject) {
                out += &block(Some((&self.desk.boot, *seq)), subject.kind(), &subject.shown(&view));
            }
        }
        out
    }

    fn let_go(&mut self) -> String {
        self.over = true;
        let newest = self.desk.feed.newest();
        block(Some((&self.desk.boot, newest)), "resync", &json!({"seq": newest}))
    }
}

fn hello(desk: &Desk, seq: u64) -> Value {
    let view = desk.view();
    json!({
        "boot": desk.boot,
        "version": env!("CARGO_PKG_VERSION"),
        "schema": reads::SCHEMA,
        "assetHash": null,
        "device": view.me,
        "deviceName": view.device_name(&view.me).json(),
        "seq": seq,
    })
}

/// The number in a `Last-Event-ID` of this run that the ring still reaches.
fn replayable(desk: &Desk, last: &str) -> Option<u64> {
    let seq = last.strip_prefix(desk.boot.as_str())?.strip_prefix('-')?.parse().ok()?;
    desk.feed.after(seq, 0).ok().map(|_| seq)
}

fn block(id: Option<(&str, u64)>, kind: &str, data: &Value) -> String {
    let mut out = String::new();
    if let Some((boot, seq)) = id {
        let _ = writeln!(out, "id: {boot}-{seq}");
    }
    let _ = write!(out, "event: {kind}\ndata: {data}\n\n");
    out
}
