//! A client of the doors that shares no code with the program: one request a connection, and the stream of events.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::{ANSWER_WITHIN, SOON};

/// An answer of the control socket.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{} with no JSON ({why}): {}", self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// An open stream of events.
pub(crate) struct Events {
    lines: BufReader<UnixStream>,
}

impl Events {
    /// The stream of the daemon behind `socket`, from now on.
    #[track_caller]
    pub(super) fn of(socket: &Path, headers: &str) -> Events {
        let mut stream = UnixStream::connect(socket).expect("the socket");
        stream.set_read_timeout(Some(SOON)).expect("set");
        write!(stream, "GET /api/v3/events HTTP/1.1\r\nhost: hubless\r\n{headers}\r\n").expect("asked");
        Events { lines: BufReader::new(stream) }
    }

    /// The next event of a kind, with its id.
    #[track_caller]
    pub(crate) fn next(&mut self, wanted: &str) -> (String, Value) {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("an event in time");
            assert!(read > 0, "the stream ended before an event “{wanted}”");
            let field = |name: &str| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).map(|rest| rest.trim().to_owned());
            id = field("id").unwrap_or(id);
            kind = field("event").unwrap_or(kind);
            if let Some(data) = field("data").filter(|_| kind == wanted) {
                return (id, serde_json::from_str(&data).expect("JSON"));
            }
        }
    }
}

/// One request over a unix socket, one connection each; `None` when nobody answers.
pub(crate) fn ask(socket: &Path, method: &str, target: &str, headers: &str, body: &[u8]) -> Option<Answer> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    exchange(stream, "hubless", method, target, headers, body)
}

/// One request over any stream.
pub(crate) fn exchange(
    mut stream: impl Read + Write,
    host: &str,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> Option<Answer> {
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{kind}content-length: {length}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    // Who refuses by the head alone need not read the rest.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    // A connection that is cut after its answer has still answered.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let answer = Answer { status, head, body: bytes[end + 4..].to_vec() };
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    // An answer that was cut short (its daemon was killed) is none.
    (method == "HEAD" || length.is_none_or(|length| length == answer.body.len())).then_some(answer)
}
