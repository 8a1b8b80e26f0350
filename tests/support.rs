//! Sealed homes, real daemons, and a client of the control socket that shares no code with the program.
//!
//! Nothing of the machine's owner gets in: the environment is emptied, every path lies under a directory of mode 0700 that goes with the
//! test, ports are free ones, and each test has its own mDNS port. A process is ended by its own pid when its handle is dropped.

mod daemon;
mod http;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

pub(crate) use self::daemon::Daemon;
pub(crate) use self::http::{Answer, ask, exchange};

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

    /// Waits until what is written from now on is stamped later than what was said before: a file system stamps by the system's tick,
    /// which is some milliseconds old (4 at 250 Hz).
    fn tick(&self) {
        let (begun, probe) = (wall_ms(), self.dir.path().join(".tick"));
        let stamp = || {
            fs::write(&probe, "x").expect("written");
            let meta = fs::metadata(&probe).expect("it is there");
            (meta.mtime() * 1_000 + meta.mtime_nsec() / 1_000_000 > begun).then_some(())
        };
        eventually(SOON, "the file system's clock goes on", stamp);
        fs::remove_file(&probe).expect("removed");
    }

    /// Replaces the todo file of a session's main thread, later than all that was said before.
    pub(crate) fn list(&self, session: &str, items: &[(&str, &str)]) {
        let items: Vec<Value> = items
            .iter()
            .map(|(content, status)| serde_json::json!({"content": content, "status": status, "activeForm": content}))
            .collect();
        self.tick();
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

    /// Takes `guest` into this one's fleet; both have daemons that run.
    #[track_caller]
    pub(crate) fn pair(&self, guest: &Home) {
        let invited = self.json(&["pair", "--ticket"]);
        let joined = guest.json(&["pair", text(&invited["data"], "ticket")]);
        assert_eq!(joined["data"]["state"], "paired", "{joined}");
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
        Daemon::answering(self, child)
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
