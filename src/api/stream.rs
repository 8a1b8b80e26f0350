//! `GET /api/v3/events`: server-sent events, so that a page or script hears of a change instead of asking again and again.
//!
//! A reader that comes back with `Last-Event-ID` gets what it missed, or `resync` when that is no longer known. Nothing is
//! queued for a reader: it reads from the shared ring at its own pace, and one that falls out of the ring is told to resync and
//! let go; one that takes nothing at all is cut off. On shutdown every stream says `bye` and ends first, else stopping would wait for it (tokio-rs/axum#2673).

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::doorman::Door;
use super::events::{STREAMS_MAX, Subject, TooOld};
use super::listen::Cut;
use super::problem::Problem;
use super::respond::{self, No};
use super::{page, reads};

/// How often a stream says that it lives: the page greys after 20 s of silence.
const TICK_EVERY: Duration = Duration::from_secs(10);
/// A reader that took nothing for so long is cut off.
const STALLED_AFTER: Duration = Duration::from_secs(35);
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
    /// How much was said; it stands still when nobody takes it.
    said: watch::Sender<u64>,
    _place: OwnedSemaphorePermit,
}

/// Cuts a reader off that takes nothing: something is said at least every [`TICK_EVERY`], and its place is wanted by others.
async fn look_after(stop: CancellationToken, mut said: watch::Receiver<u64>, cut: Cut) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            heard = timeout(STALLED_AFTER, said.changed()) => match heard {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => return cut.0.cancel(),
            },
        }
    }
}

/// Opens a stream.
pub(crate) async fn events(
    State(desk): State<Arc<Desk>>,
    Extension(cut): Extension<Cut>,
    headers: HeaderMap,
    door: Door,
) -> Result<Response, No> {
    let place = desk.streams(door).clone().try_acquire_owned().map_err(|_| {
        Problem::new(503, "too-many-streams", format!("{STREAMS_MAX} event streams are open already"))
            .fix("close one, or ask again and again")
    })?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let reader = Reader::new(desk.clone(), last, place);
    desk.tasks.spawn(look_after(desk.stop.clone(), reader.said.subscribe(), cut));
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
        Reader { desk, taken, more, tick, greeting: Some(greeting), over: false, said: watch::Sender::new(0), _place: place }
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Reader)> {
        self.said.send_modify(|said| *said += 1);
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
        "assetHash": page::HASH.as_str(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::client::{Client, Event, Events};
    use crate::api::events::RING_MAX;
    use crate::api::fixture::{Fleet, House, control, get, todo};
    use crate::model::todo::Status;
    use crate::model::view::{TodoView, View};
    use tokio::time::timeout;

    async fn next(events: &mut Events) -> Event {
        timeout(Duration::from_secs(5), events.next()).await.expect("an event within 5 s").expect("an open stream")
    }

    fn change(house: &House, content: &str, status: Status) -> TodoView {
        let changed = todo("web", content, status);
        let shown = Arc::new(changed.clone());
        house.show.send_modify(|view| {
            let view: &mut View = Arc::make_mut(view);
            view.todos.insert(shown.id, shown.clone());
            view.seq += 1;
        });
        changed
    }

    #[tokio::test]
    async fn a_change_is_told_and_missed_ones_are_told_again() {
        let house = House::open(Fleet::busy().0).await;
        let client = Client::new(&house.run());
        let mut stream = client.events(None).await.expect("a stream");
        let hello = next(&mut stream).await;
        assert_eq!((hello.kind.as_str(), &hello.data["deviceName"]), ("hello", &json!("mbp-lena")));
        let first = change(&house, "first", Status::Pending);
        let told = next(&mut stream).await;
        let shown = get(&house, &format!("/api/v3/todos/{}", first.id)).await.json();
        assert_eq!((told.kind.as_str(), &told.data), ("todo", &shown["data"]));
        drop(stream);
        let second = change(&house, "second", Status::Pending);
        let mut again = client.events(Some(&told.id)).await.expect("a stream");
        assert_eq!(next(&mut again).await.kind, "hello");
        let missed = next(&mut again).await;
        assert_eq!((missed.kind.as_str(), &missed.data["id"]), ("todo", &json!(second.id)));
        house.close().await;
    }

    #[tokio::test]
    async fn a_reader_of_another_run_or_too_far_behind_must_read_anew() {
        let house = House::open(Fleet::busy().0).await;
        let client = Client::new(&house.run());
        for id in ["0.0-1", "nonsense", "-", "1"] {
            let mut stream = client.events(Some(id)).await.expect("a stream");
            assert_eq!((next(&mut stream).await.kind.as_str(), next(&mut stream).await.kind.as_str()), ("hello", "resync"), "{id}");
        }
        let mut stream = client.events(None).await.expect("a stream");
        let hello = next(&mut stream).await;
        house.api.desk.feed.push(vec![super::Subject::Device(crate::api::fixture::MBP); RING_MAX + 1]);
        let mut old = client.events(Some(&hello.id)).await.expect("a stream");
        assert_eq!((next(&mut old).await.kind.as_str(), next(&mut old).await.kind.as_str()), ("hello", "resync"));
        house.close().await;
    }

    #[tokio::test]
    async fn a_reader_that_falls_out_of_the_ring_is_told_and_let_go() {
        let house = House::open(Fleet::busy().0).await;
        let desk = house.api.desk.clone();
        let place = desk.streams(Door::Socket).clone().try_acquire_owned().expect("room");
        let mut reader = Reader::new(desk.clone(), None, place);
        reader.greeting = None;
        desk.feed.push(vec![Subject::Device(crate::api::fixture::MBP); RING_MAX + 1]);
        let (text, reader) = reader.next().await.expect("a last word");
        let text = String::from_utf8(text.expect("a text").to_vec()).expect("a text");
        assert!(text.contains("event: resync") && text.contains(&format!("id: {}-{}", desk.boot, RING_MAX + 1)), "{text}");
        assert!(reader.next().await.is_none(), "then it is over");
        house.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_loses_its_place_and_one_that_takes_keeps_it() {
        let tasks = tokio_util::task::TaskTracker::new();
        let (said, cut) = (watch::Sender::new(0), Cut(CancellationToken::new()));
        let looking = tasks.spawn(look_after(CancellationToken::new(), said.subscribe(), cut.clone()));
        for _ in 0..10 {
            tokio::time::sleep(TICK_EVERY).await;
            said.send_modify(|said| *said += 1);
        }
        assert!(!cut.0.is_cancelled());
        tokio::time::sleep(STALLED_AFTER + Duration::from_secs(1)).await;
        assert!(cut.0.is_cancelled());
        looking.await.expect("it ends with that");
        let (said, cut) = (watch::Sender::new(0), Cut(CancellationToken::new()));
        let looking = tasks.spawn(look_after(CancellationToken::new(), said.subscribe(), cut.clone()));
        drop(said);
        looking.await.expect("and with its reader");
        assert!(!cut.0.is_cancelled());
    }

    #[tokio::test]
    async fn readers_of_one_door_keep_nobody_from_the_other() {
        let house = House::open(Fleet::busy().0).await;
        let mut open = Vec::new();
        for _ in 0..STREAMS_MAX {
            open.push(crate::api::fixture::knock(&house).await);
            let stream = open.last_mut().expect("open");
            tokio::io::AsyncWriteExt::write_all(stream, b"GET /api/v3/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("asked");
            let mut byte = [0; 1];
            tokio::io::AsyncReadExt::read_exact(stream, &mut byte).await.expect("answered");
        }
        assert_eq!(get(&house, "/api/v3/events").await.status, 503);
        let mut ours = Client::new(&house.run()).events(None).await.expect("a stream");
        assert_eq!(next(&mut ours).await.kind, "hello");
        drop(open);
        house.close().await;
    }

    #[tokio::test]
    async fn of_an_object_that_changes_often_only_the_last_is_told() {
        let house = House::open(Fleet::busy().0).await;
        let desk = house.api.desk.clone();
        let mini = Subject::Device(crate::api::fixture::MINI);
        let place = desk.streams(Door::Socket).clone().try_acquire_owned().expect("room");
        let mut reader = Reader::new(desk.clone(), None, place);
        desk.feed.push(vec![mini.clone(), Subject::Device(crate::api::fixture::MBP), mini]);
        let text = reader.text().await;
        assert_eq!((text.matches("event: device").count(), reader.taken), (2, 3), "{text}");
        assert!(text.ends_with("\n\n") && text.contains(&format!("id: {}-3", desk.boot)));
        house.close().await;
    }

    #[tokio::test]
    async fn streams_are_counted_and_stopping_ends_them_first() {
        let house = House::open(Fleet::busy().0).await;
        let client = Client::new(&house.run());
        let mut streams = Vec::new();
        for _ in 0..STREAMS_MAX {
            let mut stream = client.events(None).await.expect("a stream");
            assert_eq!(next(&mut stream).await.kind, "hello");
            streams.push(stream);
        }
        let full = control(&house, "GET /api/v3/events", "").await;
        assert_eq!((full.status, full.json()["code"].clone()), (503, json!("too-many-streams")));
        streams.pop();
        let began = tokio::time::Instant::now();
        while control(&house, "HEAD /api/v3/events", "").await.status != 200 {
            assert!(began.elapsed() < Duration::from_secs(5), "the place of a stream that went is free again");
        }
        let last = async {
            let mut kinds = Vec::new();
            while let Some(event) = streams[0].next().await {
                kinds.push(event.kind);
            }
            kinds
        };
        let (kinds, ()) = tokio::join!(last, house.close());
        assert_eq!(kinds, ["bye"]);
    }
}
