//! `up` and `down`: a daemon for this home, in front or in the background, and its end.
//!
//! In front, `up` ends with 9 while another daemon holds the data directory, so that a supervisor never takes that for a clean
//! end. In the background it is for people, and says that one is running already. What is waited for is an answer on the
//! socket or the lock, never a while.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::future::Future;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::context::{Context, block_on};
use super::fields;
use super::logging::{self, To};
use super::output::{print, remark};
use super::problem::{Trouble, of_daemon};
use super::progress::Progress;
use crate::daemon::{self, shutdown};

/// How often it is looked whether the daemon has come or gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a start or a stop may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Where a daemon in the background leaves what it says before its log begins, and its panics.
pub(crate) const SAID: &str = "up.err";

fn make_dir(dir: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// `hubless up`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Up {
    /// Start in the background and return when it answers
    #[arg(short, long)]
    detach: bool,
    /// We are the one in the background
    #[arg(long, hide = true, conflicts_with = "detach")]
    in_background: bool,
}

const EXAMPLES: &str = "\
Examples:
  hubless up                          in front, as a supervisor wants it
  hubless up --detach                 in the background; hubless down stops it";

impl Up {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        if let Some(overview) = context.ask_daemon("/api/v3/overview")? {
            return already(context, &overview, self.detach);
        }
        if self.detach { in_background(context) } else { in_front(context, self.in_background) }
    }
}

fn already(context: &Context, overview: &Value, is_fine: bool) -> anyhow::Result<()> {
    let pid = running_pid(context);
    if is_fine {
        let line = format!("✓ already running{}: {}", pid_words(pid), page(context));
        return context.out.done(running(context, pid, overview), &line);
    }
    let trouble = Trouble::new("already-running", 9, format!("another daemon holds this data directory{}", pid_words(pid)));
    Err(trouble.because(format!("it answers on {}", context.config.home.socket().display())).fix("hubless status, or hubless down").into())
}

fn pid_words(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

fn running(context: &Context, pid: Option<u32>, overview: &Value) -> Value {
    json!({"state": "running", "pid": pid, "url": page(context), "device": fields::text(overview, "device")})
}

/// The page's address, as the daemon wrote it down.
pub(crate) fn page_url(context: &Context) -> Option<String> {
    let text = fs::read_to_string(context.config.home.http_json()).ok()?;
    fields::text(&serde_json::from_str(&text).ok()?, "url").map(|url| format!("{url}/sync"))
}

fn page(context: &Context) -> String {
    page_url(context).unwrap_or_else(|| "no page (see hubless doctor)".to_owned())
}

fn in_front(context: &Context, is_detached: bool) -> anyhow::Result<()> {
    // Whatever the shell has: nothing that a daemon makes is for others to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if is_detached {
        // Away from the terminal, so that closing it means nothing. It fails only where we lead a session already.
        let _ = rustix::process::setsid();
    }
    let to = if is_detached { To::Files(&context.config.home.logs_dir) } else { To::Stderr };
    logging::start(&context.config.log, to).context("there is no log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime does not start")?;
    let runtime = Left(Some(runtime));
    runtime.block_on(async {
        let stop = shutdown::on_signals(is_detached).context("signals cannot be handled")?;
        let stopped = stop.clone();
        let mut life = std::pin::pin!(daemon::run(context.config.clone(), stopped.cancelled_owned()));
        let ended = tokio::select! {
            ended = &mut life => Some(ended),
            () = greet(context), if !is_detached => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => life.await,
        };
        ended.map_err(|error| anyhow::Error::from(of_daemon(&error)))
    })
}

/// A runtime that is left, however this ends: what blocks (a look into a slow disk) is not waited for; everything that must be kept
/// has been.
struct Left(Option<tokio::runtime::Runtime>);

impl Left {
    fn block_on<T>(&self, wanted: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("it is there until it is dropped").block_on(wanted)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Says where the page is and what comes next, once the daemon answers.
async fn greet(context: &Context) {
    let client = context.client();
    let overview = loop {
        match client.get("/api/v3/overview").await {
            // Before the first listing nothing can be said of what is watched.
            Ok(overview) if !fields::list(&overview["data"], "sources").is_empty() => break overview,
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    let pid = Some(std::process::id());
    // A daemon whose first lines nobody reads goes on all the same.
    let _ = context.out.done(running(context, pid, &overview), &greeting(&overview, &page(context)));
}

fn greeting(overview: &Value, page: &str) -> String {
    let data = &overview["data"];
    let me = fields::list(data, "devices").iter().find(|device| fields::yes(device, "thisDevice"));
    let id = me.and_then(|device| fields::text(device, "shortId")).map(|id| format!(" · {id}")).unwrap_or_default();
    let there = fields::list(data, "sources").iter().filter(|source| fields::yes(source, "present"));
    let watched: Vec<String> = there.map(|source| fields::or_dash(source, "base")).collect();
    let watched =
        if watched.is_empty() { "nothing yet; directories are picked up when they appear".to_owned() } else { watched.join(", ") };
    let next = if fields::list(data, "devices").len() < 2 {
        "Next:  hubless pair      here, then   hubless pair CODE   on the other machine"
    } else {
        "Next:  hubless status"
    };
    format!("✓ {}{id}\n  page      {page}\n  watching  {watched}\n\n{next}", fields::or_dash(overview, "device"))
}

fn in_background(context: &Context) -> anyhow::Result<()> {
    let home = &context.config.home;
    make_dir(&home.logs_dir).map_err(|why| {
        let trouble = Trouble::new("failed", 1, format!("{} cannot be made", home.logs_dir.display()));
        trouble.because(why.to_string()).fix("make sure that its directory is yours to write in, or choose another one:  HUBLESS_HOME=DIR")
    })?;
    let said = home.logs_dir.join(SAID);
    let open = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&said);
    let said_to = open.with_context(|| format!("{} cannot be written", said.display()))?;
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let mut child = Command::new(program)
        .args(["up", "--in-background"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said_to)
        .spawn()
        .context("the daemon cannot be started")?;
    let mut progress = Progress::of(&context.globals, "the daemon starts and opens what is kept");
    for _ in 0..WITHIN.as_millis() / LOOK_EVERY.as_millis() {
        progress.turn("");
        if let Some(overview) = context.ask_daemon("/api/v3/overview")? {
            drop(progress);
            let pid = holder(&home.data_dir).or(Some(child.id()));
            let line = format!("✓ running{}: {}\n  log  {}", pid_words(pid), page(context), context.log_file().display());
            return context.out.done(running(context, pid, &overview), &line);
        }
        if let Some(why) = ended(&mut child, &said)? {
            return Err(why.into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let trouble = Trouble::new("timed-out", 8, "the daemon was started and does not answer yet");
    Err(trouble.because(format!("its log: {}", context.log_file().display())).fix("hubless status").into())
}

/// What a daemon in the background said when it ended at once, with its exit code.
fn ended(child: &mut Child, said: &Path) -> anyhow::Result<Option<Trouble>> {
    let Some(status) = child.try_wait().context("the daemon cannot be watched")? else { return Ok(None) };
    let text = fs::read_to_string(said).unwrap_or_default();
    let exit = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1);
    Ok(Some(retold(&text, exit)))
}

/// Reads back what `problem::show` wrote.
fn retold(text: &str, exit: u8) -> Trouble {
    let mut trouble = Trouble::new("failed", exit, "the daemon ended at once");
    for line in text.lines() {
        if let Some(what) = line.strip_prefix("error: ") {
            trouble.problem.detail = what.to_owned();
            if let Some((what, code)) = what.strip_suffix(']').and_then(|what| what.rsplit_once(" [")) {
                trouble.problem.detail = what.to_owned();
                trouble.problem.code = code.to_owned().into();
            }
        } else if let Some(cause) = line.strip_prefix("  cause: ") {
            trouble = trouble.because(cause);
        } else if let Some(fix) = line.strip_prefix("  fix:   ") {
            trouble = trouble.fix(fix);
        }
    }
    trouble
}

/// The process that holds the data directory; `None` when nobody does.
pub(crate) fn holder(data_dir: &Path) -> Option<u32> {
    let lock = File::open(data_dir.join("lock")).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => fs::read_to_string(data_dir.join("lock")).ok()?.trim().parse().ok(),
        Err(TryLockError::Error(_)) | Ok(()) => None,
    }
}

/// The daemon of this home: who holds its data directory, else who answers on its socket. While its disk does not keep it lets the
/// directory go and is there all the same.
pub(crate) fn running_pid(context: &Context) -> Option<u32> {
    let home = &context.config.home;
    holder(&home.data_dir).or_else(|| {
        let peer = block_on(async { tokio::net::UnixStream::connect(home.socket()).await?.peer_cred() }).ok()?.ok()?;
        u32::try_from(peer.pid()?).ok()
    })
}

/// `hubless down`: asks the daemon to stop, and returns when it has.
pub(crate) fn down(context: &Context) -> anyhow::Result<()> {
    match stop(context)? {
        None => context.out.done(json!({"state": "stopped", "was": "stopped"}), "✓ not running"),
        Some(pid) => context.out.done(json!({"state": "stopped", "was": "running", "pid": pid}), &format!("✓ stopped (pid {pid})")),
    }
}

/// Asks the daemon to stop, and returns when it has; which process it was, if there was one.
pub(crate) fn stop(context: &Context) -> anyhow::Result<Option<u32>> {
    let Some(pid) = running_pid(context) else { return Ok(None) };
    let process = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("the lock names no process")?;
    rustix::process::kill_process(process, rustix::process::Signal::TERM)
        .with_context(|| format!("process {pid} cannot be asked to stop"))?;
    let mut progress = Progress::of(&context.globals, "the daemon stops");
    for _ in 0..WITHIN.as_millis() / LOOK_EVERY.as_millis() {
        progress.turn("");
        if running_pid(context) != Some(pid) {
            drop(progress);
            return Ok(Some(pid));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let trouble = Trouble::new("timed-out", 8, format!("the daemon (pid {pid}) was asked to stop and is still there"));
    Err(trouble.fix(format!("look into its log; kill {pid} once more ends it on the spot")).into())
}

/// `hubless version`.
pub(crate) fn version(context: &Context) -> anyhow::Result<()> {
    let (version, schema) = (env!("CARGO_PKG_VERSION"), crate::api::reads::SCHEMA);
    let protocol = crate::model::message::VERSIONS.last().copied().unwrap_or_default();
    if context.out.is_data() {
        return context.out.done(json!({"version": version, "schema": schema, "protocol": protocol}), "");
    }
    if context.globals.verbose > 0 {
        remark(&format!("config {}\ndata   {}", context.config.home.config_file.display(), context.config.home.data_dir.display()));
    }
    print(&format!("hubless {version} (protocol {protocol}, schema {schema})\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder_only_while_it_is_held() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(holder(dir.path()), None, "no lock");
        let path = dir.path().join("lock");
        fs::write(&path, "812\n").expect("written");
        assert_eq!(holder(dir.path()), None, "left behind by one that was killed");
        let held = File::open(&path).expect("opened");
        held.lock().expect("locked");
        assert_eq!(holder(dir.path()), Some(812));
        drop(held);
        assert_eq!(holder(dir.path()), None);
    }

    #[test]
    fn what_a_daemon_in_the_background_said_is_said_again() {
        let text = "warning: x\nerror: port 4825 is in use [port-busy]\n  cause: it needs a fixed address\n  fix:   HUBLESS_HTTP_PORT=4835 hubless up\n";
        let trouble = retold(text, 1);
        assert_eq!((trouble.problem.detail.as_str(), trouble.problem.code.as_ref()), ("port 4825 is in use", "port-busy"));
        assert_eq!(trouble.problem.cause.as_deref(), Some("it needs a fixed address"));
        assert_eq!(trouble.problem.fix.as_deref(), Some("HUBLESS_HTTP_PORT=4835 hubless up"));
        assert_eq!(retold("", 101).problem.detail, "the daemon ended at once");
    }

    #[test]
    fn the_greeting_names_the_page_what_is_watched_and_the_next_step() {
        let overview = json!({"device": "mbp-lena", "data": {"devices": [{"thisDevice": true, "shortId": "7Q2M-KX4D"}],
            "sources": [{"present": true, "base": "/home/lena/.claude/todos"}, {"present": false, "base": "/x"}]}});
        let text = greeting(&overview, "http://127.0.0.1:4825/sync");
        let expected = "✓ mbp-lena · 7Q2M-KX4D\n  page      http://127.0.0.1:4825/sync\n  watching  /home/lena/.claude/todos\n\n\
                        Next:  hubless pair      here, then   hubless pair CODE   on the other machine";
        assert_eq!(text, expected);
    }
}
