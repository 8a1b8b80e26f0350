//! Sealed homes, real daemons, and a client of the control socket that shares no code with the program.
//!
//! Nothing of the machine's owner gets in: the environment is emptied, every path lies under a directory of mode 0700 that goes with the
//! test, ports are free ones, and each test has its own mDNS port. A process is ended by its own pid when its handle is dropped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

/// How long a condition may take on a machine that compiles three other things meanwhile.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long one command or one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// What the signal that cannot be caught is called.
pub(crate) const KILL: i32 = 9;

/// Time that has passed, for limits and for measuring.
#[derive(Clone, Copy)]
pub(crate) struct Since(std::time::Instant);

impl Since {
    #[expect(clippy::disallowed_methods, reason = "a test measures real processes; nothing it judges depends on the reading")]
    pub(crate) fn now() -> Since {
        Since(std::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a test writes files as tools do, with the time of day in them")]
pub(crate) fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292278994")
}

/// Waits until `look` finds something; `what` says what never came.
#[track_caller]
pub(crate) fn eventually<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Since::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "within {limit:?} never came: {what}");
        sleep(LOOK_EVERY);
    }
}

/// Says loudly that a test did not run.
#[expect(clippy::print_stderr, reason = "a test that cannot run here says so")]
pub(crate) fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}

/// Prints a figure that was measured; it is shown with `--nocapture`.
#[expect(clippy::print_stderr, reason = "figures are for whoever runs the tests")]
pub(crate) fn measured(line: &str) {
    eprintln!("MEASURED {line}");
}

/// A network of its own: daemons with another mDNS port do not exist for those in here.
#[derive(Clone, Copy)]
pub(crate) struct Lan(u16);

impl Lan {
    /// A port that nobody had a moment ago; two tests that run side by side never get the same.
    pub(crate) fn new() -> Lan {
        static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
        let mut taken = TAKEN.lock().expect("no test panics while it takes a port");
        loop {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
            let port = socket.local_addr().expect("an address").port();
            if !taken.contains(&port) {
                taken.push(port);
                return Lan(port);
            }
        }
    }

    pub(crate) fn home(self, name: &str) -> Home {
        Home::new(name, self)
    }
}

/// One device's directories and environment.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Home {
    fn new(name: &str, lan: Lan) -> Home {
        // Short, because a socket's path has at most 103 bytes.
        let dir = tempfile::Builder::new().prefix("hl").permissions(fs::Permissions::from_mode(0o700)).tempdir().expect("a directory");
        let mut home = Home { dir, env: BTreeMap::new() };
        home.set("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        home.set("HOME", home.at("user").display());
        home.set("TZ", "UTC");
        home.set("HUBLESS_HOME", home.root().display());
        home.set("HUBLESS_DEVICE_NAME", name);
        home.set("HUBLESS_HTTP_PORT", 0);
        home.set("HUBLESS_NETWORK_PORT", 0);
        home.set("HUBLESS_NETWORK_MDNS_PORT", lan.0);
        home.set("HUBLESS_SOURCES_CLAUDE_ROOT", home.claude().display());
        fs::create_dir_all(home.claude().join("todos")).expect("claude's directory");
        home
    }

    pub(crate) fn set(&mut self, key: &str, value: impl ToString) {
        self.env.insert(key.to_owned(), value.to_string());
    }

    pub(crate) fn unset(&mut self, key: &str) {
        self.env.remove(key);
    }

    /// A path beside what hubless has.
    pub(crate) fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// What `HUBLESS_HOME` is.
    pub(crate) fn root(&self) -> PathBuf {
        self.at("h")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    pub(crate) fn claude(&self) -> PathBuf {
        self.at("claude")
    }

    fn socket(&self) -> PathBuf {
        self.root().join("run/ctl.sock")
    }

    /// The page's address.
    pub(crate) fn url(&self) -> Option<String> {
        let text = fs::read_to_string(self.root().join("run/http.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()?["url"].as_str().map(str::to_owned)
    }

    /// Writes a file of this home, whole, as agents do: beside, then renamed over.
    pub(crate) fn write(&self, path: &Path, bytes: impl AsRef<[u8]>) {
        let dir = path.parent().expect("below a directory");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).expect("a directory");
        let beside = dir.join(format!(".{}.writing", path.file_name().expect("a name").to_string_lossy()));
        fs::write(&beside, bytes).expect("written");
        fs::rename(&beside, path).expect("renamed");
    }

    /// Replaces the todo file of a session's main thread.
    pub(crate) fn list(&self, session: &str, items: &[(&str, &str)]) {
        let items: Vec<Value> = items
            .iter()
            .map(|(content, status)| serde_json::json!({"content": content, "status": status, "activeForm": content}))
            .collect();
        self.write(&self.list_path(session), Value::from(items).to_string());
    }

    pub(crate) fn list_path(&self, session: &str) -> PathBuf {
        self.claude().join(format!("todos/{session}-agent-{session}.json"))
    }

    pub(crate) fn config(&self, text: &str) {
        self.write(&self.root().join("config.toml"), text);
    }

    /// The binary with this home's environment and nothing else.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(&self.env).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(hubless(), args), args)
    }

    /// Runs a verb that must succeed, with `--json`, and returns its envelope.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--json"]].concat();
        let ran = self.run(&args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        serde_json::from_str(&ran.out).unwrap_or_else(|why| panic!("{args:?} is not one JSON envelope ({why}): {}", ran.out))
    }

    /// Starts a daemon in front and waits until it answers.
    #[track_caller]
    pub(crate) fn up(&self) -> Daemon<'_> {
        self.up_by(self.command(hubless(), &["up"]))
    }

    /// As [`Home::up`], by a command that ends in `hubless up`.
    #[track_caller]
    pub(crate) fn up_by(&self, mut command: Command) -> Daemon<'_> {
        let said = self.at("daemon.err");
        let err = File::options().create(true).append(true).open(&said).expect("a file");
        let child = command.stdout(Stdio::null()).stderr(err).spawn().expect("the binary starts");
        let mut daemon = Daemon { home: self, child, began: Since::now(), took: Duration::ZERO, waited: None };
        eventually(SOON, "the daemon answers", || {
            if let Some(status) = daemon.child.try_wait().expect("watched") {
                panic!("the daemon ended at once ({status}): {}", fs::read_to_string(&said).unwrap_or_default());
            }
            daemon.try_get("/healthz").filter(|answer| answer.status == 200)
        });
        daemon.took = daemon.began.elapsed();
        daemon.waited = waited(daemon.child.id());
        daemon
    }

    /// All lines that a daemon in front has logged so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.at("daemon.err")).unwrap_or_default()
    }
}

impl Drop for Home {
    #[expect(clippy::print_stderr, reason = "who looks at a failed test wants to know what its daemons said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}---", self.env.get("HUBLESS_DEVICE_NAME").map_or("?", String::as_str), self.said());
        }
    }
}

/// The program under test.
pub(crate) fn hubless() -> &'static str {
    env!("CARGO_BIN_EXE_hubless")
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn of(mut command: Command, args: &[&str]) -> Ran {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let begun = Since::now();
        let status = loop {
            match child.try_wait().expect("watched") {
                Some(status) => break status,
                None if begun.elapsed() > ANSWER_WITHIN => {
                    let _ = child.kill();
                    panic!("{args:?} did not end within {ANSWER_WITHIN:?}");
                }
                None => sleep(Duration::from_millis(2)),
            }
        };
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(1));
        Ran { code, out: out.join().expect("read"), err: err.join().expect("read") }
    }

    /// The problem that a refused `--json` verb wrote.
    #[track_caller]
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.out, "", "an error leaves stdout empty");
        let line = self.err.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|why| panic!("no problem object ({why}): {}", self.err))
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    let mut pipe = pipe.expect("piped");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("read");
        String::from_utf8(bytes).expect("what is printed is UTF-8")
    })
}

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

/// How long a process's first thread has waited for a processor (Linux: `Documentation/scheduler/sched-stats.rst`).
fn waited(pid: u32) -> Option<Duration> {
    let stats = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    stats.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// A running daemon, ended by its pid when this is dropped.
pub(crate) struct Daemon<'h> {
    home: &'h Home,
    child: Child,
    began: Since,
    /// From its start to its first answer.
    pub(crate) took: Duration,
    /// How long of that its first thread was ready to run and no processor was free; `None` where the system does not say.
    pub(crate) waited: Option<Duration>,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("watched").is_none()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("our own child");
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our own child");
        assert_eq!(self.child.wait().expect("reaped").signal(), Some(KILL), "it did not end by itself before");
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = eventually(SOON, "the daemon stops", || self.child.try_wait().expect("watched"));
        assert_eq!(status.code(), Some(0), "it stops in order: {}", self.home.said());
    }

    /// One exchange, or `None` when nobody answers.
    pub(crate) fn try_ask(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Option<Answer> {
        ask(&self.home.socket(), method, target, headers, body)
    }

    pub(crate) fn try_get(&self, target: &str) -> Option<Answer> {
        self.try_ask("GET", target, "", b"")
    }

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let answer = self.try_ask(method, target, headers, body.as_ref());
        answer.unwrap_or_else(|| panic!("no answer to {method} {target}: {}", self.home.said()))
    }

    /// The whole envelope of a `GET`.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Value {
        let answer = self.ask("GET", target, "", "");
        assert_eq!(answer.status, 200, "GET {target}: {}", answer.text());
        answer.json()
    }

    /// What `GET` of a list holds, all of it.
    #[track_caller]
    pub(crate) fn rows(&self, target: &str) -> Vec<Value> {
        let target = format!("{target}{}limit=0", if target.contains('?') { '&' } else { '?' });
        self.get(&target)["data"].as_array().unwrap_or_else(|| panic!("{target} is a list")).clone()
    }

    #[track_caller]
    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask("POST", target, "", body.to_string())
    }

    /// Adds a todo and returns it.
    #[track_caller]
    pub(crate) fn add(&self, content: &str) -> Value {
        let answer = self.post("/api/v3/todos", &serde_json::json!({"content": content}));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["data"].clone()
    }

    /// Does something to a todo and returns it.
    #[track_caller]
    pub(crate) fn deed(&self, todo: &Value, deed: &str) -> Value {
        let answer = self.post(&format!("/api/v3/todos/{}/{deed}", text(todo, "id")), &serde_json::json!({}));
        assert_eq!(answer.status, 200, "{deed}: {}", answer.text());
        answer.json()["data"].clone()
    }

    /// The todo that says `content`, when there is one.
    #[track_caller]
    pub(crate) fn todo(&self, content: &str) -> Option<Value> {
        self.rows("/api/v3/todos?all=1").into_iter().find(|todo| todo["content"] == content)
    }

    /// Waits until the todo that says `content` is as `is` wants it.
    #[track_caller]
    pub(crate) fn todo_when(&self, content: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, &format!("“{content}” is {what}"), || self.todo(content).filter(&is))
    }

    #[track_caller]
    pub(crate) fn todo_is(&self, content: &str, status: &str) -> Value {
        self.todo_when(content, status, |todo| todo["status"] == status)
    }

    /// The stream of events, from now on.
    #[track_caller]
    pub(crate) fn events(&self, headers: &str) -> Events {
        let mut stream = UnixStream::connect(self.home.socket()).expect("the socket");
        stream.set_read_timeout(Some(SOON)).expect("set");
        write!(stream, "GET /api/v3/events HTTP/1.1\r\nhost: hubless\r\n{headers}\r\n").expect("asked");
        Events { lines: BufReader::new(stream) }
    }
}

/// Another process of a test, ended by its pid when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Running {
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("watched")
    }

    /// Asks it to end; it is reaped only by [`Running::ended`] or the drop.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("our own child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends a detached daemon by `down`, whatever became of the test.
pub(crate) struct Detached<'h>(pub(crate) &'h Home);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        let _ = self.0.command(hubless(), &["down"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A field that is text.
#[track_caller]
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("“{key}” is text in {value}"))
}

/// An open stream of events.
pub(crate) struct Events {
    lines: BufReader<UnixStream>,
}

impl Events {
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

/// Repeatable numbers (SplitMix64): the same seed, the same test.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
