//! The command line's end of the control socket. Both ends live in one room so that they cannot drift apart.
//!
//! A daemon that is silent for 200 ms on a read is down: the caller answers from disk and says so. One that is only busy with a
//! long answer still says at `/healthz` that it lives, and is waited for. A write that was sent is waited for, and then said to be *perhaps taken*; it is never sent twice by itself. One
//! connection carries one request, driven in place: no task, no runtime of its own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::doorman::{AGENT_HEADER, KEY_HEADER, SOCKET_HOST, SOCKET_NAME};
use super::problem::Problem;

/// How long a daemon may be silent before it counts as down: 200 ms (a longer wait froze every shell command elsewhere,
/// INTERFACE §5). Tests have time, so that a busy machine fails none.
pub const DOWN_AFTER: Duration = Duration::from_millis(if cfg!(test) { 1_000 } else { 200 });
/// How long the rest of an answer may take.
const REST_WITHIN: Duration = Duration::from_secs(10);
/// How long a write is waited for; the daemon itself gives up after 10 s and says so.
pub const WRITE_WITHIN: Duration = Duration::from_millis(10_500);
/// How long is waited for what needs another device: joining, pinging.
pub const FAR_WRITE_WITHIN: Duration = Duration::from_secs(65);
/// How long a command stands at a pairing window: longer than any is open.
pub const JOINER_WITHIN: Duration = Duration::from_secs(245);
/// Bytes of one answer that are read; an export of a large fleet is the largest.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Bytes of one event that are read.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers on the socket: queries go to the disk, writes fail with exit code 4.
    #[error("the daemon is not running")]
    Down {
        /// What was tried and what came of it.
        cause: String,
    },
    /// A write was sent and not answered: it may have been taken. Exit code 8.
    #[error("no answer in time; it may have been taken")]
    TimedOut,
    /// The daemon says no.
    #[error("{0}")]
    Problem(Box<Problem>),
}

/// The way to the daemon of one home.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    agent: Option<String>,
    key: Option<String>,
}

type Sender = http1::SendRequest<Full<Bytes>>;
type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

impl Client {
    /// The way to the daemon whose socket is `<run_dir>/ctl.sock`. Nothing is opened yet.
    #[must_use]
    pub fn new(run_dir: &Path) -> Client {
        Client { socket: run_dir.join(SOCKET_NAME), agent: None, key: None }
    }

    /// Names the agent that acts (`--as NAME`), on every write that follows.
    #[must_use]
    pub fn acting_as(mut self, agent: impl Into<String>) -> Client {
        self.agent = Some(agent.into());
        self
    }

    /// Gives writes an `Idempotency-Key`: the same key on the same device is the same action.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Client {
        self.key = Some(key.into());
        self
    }

    /// Where the socket is looked for.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for JSON. `target` is a path with its query: `/api/v3/todos?limit=0`.
    ///
    /// # Errors
    /// [`Error::Down`] when nothing begins to answer within [`DOWN_AFTER`]; [`Error::Problem`] when the daemon says no.
    pub async fn get(&self, target: &str) -> Result<Value, Error> {
        let (status, bytes) = self.fetch(target).await?;
        parsed(status, &bytes)
    }

    /// As [`Client::get`], and gives the JSON as it came, unread.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get_unread(&self, target: &str) -> Result<Bytes, Error> {
        let (status, bytes) = self.fetch(target).await?;
        if (200..300).contains(&status) { Ok(bytes) } else { parsed(status, &bytes).map(|_| bytes) }
    }

    /// Asks for bytes, such as `/api/v3/export`; its making may take as long as a write.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn bytes(&self, target: &str) -> Result<Vec<u8>, Error> {
        let (status, bytes) = self.exchange(Method::GET, target, Bytes::new(), WRITE_WITHIN).await?;
        if status == 200 {
            return Ok(bytes.to_vec());
        }
        parsed(status, &bytes).map(|_| Vec::new())
    }

    /// Sends JSON and waits for what came of it: [`WRITE_WITHIN`].
    ///
    /// # Errors
    /// [`Error::Down`] when it was not sent, [`Error::TimedOut`] when it was sent and may have been taken,
    /// [`Error::Problem`] when the daemon says no.
    pub async fn post(&self, target: &str, body: &Value) -> Result<Value, Error> {
        self.post_within(target, body, WRITE_WITHIN).await
    }

    /// As [`Client::post`], waiting so long: [`FAR_WRITE_WITHIN`] for what another device must answer.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn post_within(&self, target: &str, body: &Value, within: Duration) -> Result<Value, Error> {
        let (status, bytes) = self.exchange(Method::POST, target, Bytes::from(body.to_string()), within).await?;
        parsed(status, &bytes)
    }

    /// Opens the stream of events; with `after`, the id of the last event that was taken, from there on.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn events(&self, after: Option<&str>) -> Result<Events, Error> {
        let mut request = self.request(Method::GET, "/api/v3/events", Bytes::new())?;
        if let Some(value) = after.and_then(|id| id.parse().ok()) {
            request.headers_mut().insert("last-event-id", value);
        }
        let (sender, mut connection, response) = self.begun(request).await?;
        let status = response.status().as_u16();
        if status != 200 {
            let bytes = driven(&mut connection, response.into_body().collect()).await.map_err(|error| down(&self.socket, &error))?;
            return Err(parsed(status, &bytes.to_bytes()).err().unwrap_or_else(|| silent(&self.socket)));
        }
        Ok(Events { body: response.into_body(), connection: Some(connection), _sender: sender, text: Vec::new() })
    }

    async fn fetch(&self, target: &str) -> Result<(u16, Bytes), Error> {
        let request = self.request(Method::GET, target, Bytes::new())?;
        let (_sender, mut connection, response) = self.begun(request).await?;
        let status = response.status().as_u16();
        let rest = driven(&mut connection, http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect());
        let body = timeout(REST_WITHIN, rest).await.map_err(|_| silent(&self.socket))?;
        Ok((status, body.map_err(|error| down(&self.socket, &error))?.to_bytes()))
    }

    /// Sends a read and waits for the head of its answer: [`DOWN_AFTER`], or longer while the daemon shows that it lives.
    async fn begun(&self, request: Request<Full<Bytes>>) -> Result<(Sender, Connection, Response<Incoming>), Error> {
        let mut head = std::pin::pin!(self.head(request));
        if let Ok(begun) = timeout(DOWN_AFTER / 2, head.as_mut()).await {
            return begun;
        }
        let lives = tokio::select! {
            begun = head.as_mut() => return begun,
            lives = timeout(DOWN_AFTER / 2, self.lives()) => lives.unwrap_or(false),
        };
        let rest = if lives { REST_WITHIN } else { Duration::ZERO };
        timeout(rest, head).await.map_err(|_| silent(&self.socket))?
    }

    async fn lives(&self) -> bool {
        match self.request(Method::GET, "/healthz", Bytes::new()) {
            Ok(request) => self.head(request).await.is_ok_and(|(_, _, response)| response.status() == 200),
            Err(_) => false,
        }
    }

    async fn head(&self, request: Request<Full<Bytes>>) -> Result<(Sender, Connection, Response<Incoming>), Error> {
        let (mut sender, mut connection) = self.connect().await?;
        let answer = sender.send_request(request);
        let response = driven(&mut connection, answer).await.map_err(|error| down(&self.socket, &error))?;
        Ok((sender, connection, response))
    }

    async fn exchange(&self, method: Method, target: &str, body: Bytes, within: Duration) -> Result<(u16, Bytes), Error> {
        let request = self.request(method, target, body)?;
        let (mut sender, mut connection) = timeout(DOWN_AFTER, self.connect()).await.map_err(|_| silent(&self.socket))??;
        // From here on it may have been taken, whatever happens.
        let rest = async {
            let answer = sender.send_request(request);
            let response = driven(&mut connection, answer).await.map_err(|_| Error::TimedOut)?;
            let status = response.status().as_u16();
            let body = driven(&mut connection, http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect());
            Ok((status, body.await.map_err(|_| Error::TimedOut)?.to_bytes()))
        };
        timeout(within, rest).await.map_err(|_| Error::TimedOut)?
    }

    async fn connect(&self) -> Result<(Sender, Connection), Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| down(&self.socket, &error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| down(&self.socket, &error))?;
        Ok((sender, Box::pin(connection)))
    }

    fn request(&self, method: Method, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder().method(method).uri(target).header("host", SOCKET_HOST);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(agent) = &self.agent {
            request = request.header(AGENT_HEADER, agent.as_bytes());
        }
        if let Some(key) = &self.key {
            request = request.header(KEY_HEADER, key.as_bytes());
        }
        let built = request.body(Full::new(body));
        built.map_err(|error| Error::Problem(Box::new(Problem::bad(format!("this cannot be asked: {error}")))))
    }
}

/// Drives the connection while `wanted` is waited for; the connection may end first and leave its answer behind.
async fn driven<T>(connection: &mut Connection, wanted: impl Future<Output = T>) -> T {
    let mut wanted = std::pin::pin!(wanted);
    let mut ended = false;
    std::future::poll_fn(|context| {
        if !ended {
            ended = connection.as_mut().poll(context).is_ready();
        }
        wanted.as_mut().poll(context)
    })
    .await
}

fn parsed(status: u16, bytes: &[u8]) -> Result<Value, Error> {
    let value: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    if (200..300).contains(&status) { Ok(value) } else { Err(Error::Problem(Box::new(Problem::from_json(status, &value)))) }
}

fn down(socket: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Down { cause: format!("nothing answers on {}: {error}", socket.display()) }
}

fn silent(socket: &Path) -> Error {
    Error::Down { cause: format!("{} is there, but nothing answered in time", socket.display()) }
}

/// One event of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What a later `events` goes on after; empty of a `tick`.
    pub id: String,
    /// `hello`, `tick`, `agent`, `device`, `session`, `todo`, `conflict`, `resync`, `bye`.
    pub kind: String,
    /// The whole object as the route of its kind shows it.
    pub data: Value,
}

/// A stream of events.
pub struct Events {
    body: Incoming,
    connection: Option<Connection>,
    _sender: Sender,
    text: Vec<u8>,
}

impl Events {
    /// Waits for the next event; `None` when the stream is over: the daemon stopped, or dropped a reader that was too slow.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                if let Some(event) = read_event(&String::from_utf8_lossy(&block)) {
                    return Some(event);
                }
                continue;
            }
            let frame = match &mut self.connection {
                Some(connection) => driven(connection, self.body.frame()).await,
                None => return None,
            };
            match frame {
                Some(Ok(frame)) if self.text.len() <= EVENT_BYTES_MAX => self.text.extend(frame.data_ref().into_iter().flatten()),
                Some(_) | None => self.connection = None,
            }
        }
    }
}

/// Reads one block of an event stream; a block without an event's name (`retry:`, a comment) is none.
fn read_event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let kind = field("event")?.to_owned();
    let data = field("data").and_then(|data| serde_json::from_str(data).ok()).unwrap_or(Value::Null);
    Some(Event { id: field("id").unwrap_or_default().to_owned(), kind, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, NOW};
    use crate::api::reads;
    use crate::model::ask::{Ask, TodoAsk, TodoDeed};
    use crate::model::reply::{Code, Refusal, Reply};
    use serde_json::json;

    #[tokio::test]
    async fn a_read_is_what_the_pure_half_answers() {
        let fleet = Fleet::busy();
        let house = House::open(fleet.0.clone()).await;
        let client = Client::new(&house.run());
        let told = client.get("/api/v3/todos?limit=1").await.expect("an answer");
        assert_eq!(Ok(told), reads::answer(&fleet.0, NOW, "daemon", "/api/v3/todos", "limit=1"));
        let Err(Error::Problem(problem)) = client.get("/api/v3/devices/mac-min").await else { panic!("no such device") };
        assert_eq!(
            (problem.code.as_ref(), problem.exit(), problem.did_you_mean.as_slice()),
            ("device-not-found", 3, &["mac-mini".to_owned()][..])
        );
        house.close().await;
    }

    #[tokio::test]
    async fn a_write_carries_agent_and_key_and_brings_back_refusals() {
        let mut house = House::open(Fleet::busy().0).await;
        let client = Client::new(&house.run()).acting_as("sám").with_key("k-7");
        let body = json!({});
        let no = Refusal::new(Code::TodoNotFound, "no todo “t-1”");
        let (told, ask) = tokio::join!(client.post("/api/v3/todos/t-1/done", &body), house.answer(|_| Reply::Refused(no)));
        let what = TodoDeed::Done { id: "t-1".into() };
        assert_eq!(ask, Ask::Todo(TodoAsk { what, agent: Some("sám".into()), key: Some("k-7".into()) }));
        assert!(matches!(told, Err(Error::Problem(problem)) if problem.exit() == 3));
        let (bytes, _) = tokio::join!(client.bytes("/api/v3/export"), house.answer(|_| Reply::Document(vec![0, 255])));
        assert_eq!(bytes.expect("bytes"), [0, 255]);
        house.close().await;
    }

    #[tokio::test]
    async fn nobody_there_and_somebody_silent_are_both_down() {
        let home = tempfile::tempdir().expect("a directory");
        let client = Client::new(home.path());
        assert!(matches!(client.get("/v2/syncOverview").await, Err(Error::Down { .. })));
        let body = json!({});
        assert!(matches!(client.post("/api/v3/rescan", &body).await, Err(Error::Down { .. })), "it was not sent");
        let silent = tokio::net::UnixListener::bind(client.socket()).expect("a socket");
        let began = tokio::time::Instant::now();
        assert!(matches!(client.get("/v2/syncOverview").await, Err(Error::Down { .. })));
        assert!(matches!(client.events(None).await, Err(Error::Down { .. })));
        assert!(began.elapsed() < DOWN_AFTER * 10, "{:?}", began.elapsed());
        let sent = client.post_within("/api/v3/rescan", &body, Duration::from_millis(50)).await;
        assert!(matches!(sent, Err(Error::TimedOut)), "it was sent: {sent:?}");
        drop(silent);
        assert!(matches!(client.get("/v2/syncOverview").await, Err(Error::Down { .. })), "a dead socket file");
    }

    #[tokio::test]
    async fn a_daemon_that_is_busy_with_a_long_answer_is_not_down() {
        use tokio::io::AsyncWriteExt;
        let home = tempfile::tempdir().expect("a directory");
        let client = Client::new(home.path());
        let listener = tokio::net::UnixListener::bind(client.socket()).expect("a socket");
        let busy = async {
            let (mut long, _) = listener.accept().await.expect("the question");
            let (mut probe, _) = listener.accept().await.expect("whether it lives");
            let fine = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            probe.write_all(fine).await.expect("to be heard");
            tokio::time::sleep(DOWN_AFTER).await;
            long.write_all(fine).await.expect("to be heard");
            // Held open until the client has read.
            (long, probe)
        };
        let (told, _held) = tokio::join!(client.get("/api/v3/sessions"), busy);
        assert_eq!(told.expect("an answer"), json!({}));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_a_write_was_sent_may_have_been_taken() {
        let home = tempfile::tempdir().expect("a directory");
        let client = Client::new(home.path());
        let listener = tokio::net::UnixListener::bind(client.socket()).expect("a socket");
        let breaks = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.readable().await.expect("a request");
        };
        let body = json!({});
        let (told, ()) = tokio::join!(client.post("/api/v3/rescan", &body), breaks);
        assert!(matches!(told, Err(Error::TimedOut)), "{told:?}");
    }

    #[test]
    fn a_block_without_a_name_is_no_event() {
        assert_eq!(read_event("retry: 3000\n\n"), None);
        assert_eq!(read_event(": comment\n\n"), None);
        let event = Event { id: "a-1".into(), kind: "todo".into(), data: json!({"id": 1}) };
        assert_eq!(read_event("id: a-1\nevent:todo\ndata: {\"id\": 1}\n\n"), Some(event));
    }
}
