//! `beat AGENT TASK -- CMD`: an agent's beats for as long as a command runs, and its end as what the agent came to.
//!
//! The command is the one that was asked for: it has our stdin, stdout and stderr, gets our signals, is never waited for by a
//! report nor kept from starting by one, and its exit code is ours. Nothing is printed but what went wrong with us.

use std::ffi::OsString;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal as Sign;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::context::Context;
use super::output::remark;
use super::problem::Trouble;
use crate::api::client::{self, Client};
use crate::api::spool;
use crate::daemon::clock;
use crate::model::text::Foreign;

/// How often it beats when nobody said.
const EVERY: Duration = Duration::from_secs(60);
/// How long the last report may take: whoever waits for the command does not wait for us.
const END_WITHIN: Duration = Duration::from_secs(2);
/// The exit codes of a shell for a command that is not there, and one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// What is reported, made by `beat`.
pub(crate) struct Reports {
    /// Who reports, and nothing else: a sign of life.
    pub(crate) tick: Value,
    /// What it works on.
    pub(crate) begin: Value,
    /// How often a tick is sent.
    pub(crate) every: Option<Duration>,
}

/// Runs the command to its end; returns its exit code.
pub(crate) async fn run(context: &Context, mut reports: Reports, command: &[OsString]) -> anyhow::Result<u8> {
    let every = reports.every.unwrap_or(EVERY);
    // Before it starts, so that none is missed.
    let mut signals = Signals::heard()?;
    let (program, args) = command.split_first().context("there is no command")?;
    let mut child = match Command::new(program).args(args).spawn() {
        Ok(child) => child,
        Err(why) => return Err(not_started(program, &why).into()),
    };
    let mut teller = Teller { context, client: context.client(), heard: true };
    let pid = child.id();
    for report in [&mut reports.tick, &mut reports.begin] {
        report["intervalS"] = json!(every.as_secs());
        report["pid"] = json!(pid);
    }
    let ended = {
        let mut begin = std::pin::pin!(teller.tell(&reports.begin, client::WRITE_WITHIN));
        let ended = while_it_runs(&mut child, &mut signals, begin.as_mut()).await?;
        if ended.is_some() {
            // Its end must not be told before its beginning.
            let _ = tokio::time::timeout(END_WITHIN, begin).await;
        }
        ended
    };
    let status = match ended {
        Some(status) => status,
        None => {
            let ticks = std::pin::pin!(ticks(&mut teller, &reports.tick, every));
            let ended = while_it_runs(&mut child, &mut signals, ticks).await?;
            ended.context("because ticks have no end")?
        }
    };
    teller.tell(&end(&reports.tick, status), END_WITHIN).await;
    Ok(code(status))
}

/// Does something beside the command; returns when either has ended, and how the command did if it was that.
async fn while_it_runs(
    child: &mut Child,
    signals: &mut Signals,
    mut beside: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Option<ExitStatus>> {
    loop {
        tokio::select! {
            status = child.wait() => return status.map(Some).context("the command cannot be waited for"),
            sign = signals.next() => pass_on(child, sign),
            () = beside.as_mut() => return Ok(None),
        }
    }
}

/// Goes on until it is dropped.
async fn ticks(teller: &mut Teller<'_>, tick: &Value, every: Duration) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        teller.tick(tick).await;
    }
}

/// What the agent came to.
fn end(tick: &Value, status: ExitStatus) -> Value {
    let mut report = tick.clone();
    report["state"] = json!(if status.success() { "done" } else { "failed" });
    let why = match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, signal) => Some(format!("ended by signal {}", signal.unwrap_or_default())),
    };
    if let Some(why) = why {
        report["note"] = json!(why);
    }
    report
}

/// Its own, and 128 + n for one that a signal ended, as a shell has it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(1)
}

fn not_started(program: &OsString, why: &std::io::Error) -> Trouble {
    let name = Foreign::new(program.to_string_lossy()).plain();
    let exit = if why.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
    let what = if exit == NOT_FOUND { format!("there is no command “{name}”") } else { format!("“{name}” cannot be run") };
    Trouble::new("command-not-run", exit, what).because(why.to_string()).fix("hubless beat AGENT TASK -- COMMAND [ARGS]")
}

struct Teller<'c> {
    context: &'c Context,
    client: Client,
    heard: bool,
}

impl Teller<'_> {
    /// A report that must not be lost: to the daemon, else to the next one.
    async fn tell(&mut self, report: &Value, within: Duration) {
        let why = match self.client.post_within("/api/v3/beats", report, within).await {
            Ok(_) => return,
            Err(client::Error::Down { .. } | client::Error::TimedOut) => {
                let at_ms = clock::wall_ms();
                let mut report = report.clone();
                report["at"] = json!(at_ms);
                let home = &self.context.config.home;
                match spool::leave(&home.spool_dir(), at_ms, &report) {
                    Ok(()) => return,
                    Err(_) if !home.data_dir.exists() => "there is no hubless on this device yet (hubless up)".to_owned(),
                    Err(why) => format!("the daemon is not running, and the report cannot be left for it: {why}"),
                }
            }
            Err(why) => why.to_string(),
        };
        self.say(&why);
    }

    /// A sign of life is of its moment; when nobody hears it, the next one counts.
    async fn tick(&mut self, report: &Value) {
        match self.client.post_within("/api/v3/beats", report, END_WITHIN).await {
            Ok(_) | Err(client::Error::Down { .. }) => {}
            Err(why) => self.say(&why.to_string()),
        }
    }

    /// Once: the terminal is the command's.
    fn say(&mut self, why: &str) {
        if std::mem::take(&mut self.heard) && !self.context.out.quiet {
            remark(&format!("hubless: not reported: {}", Foreign::new(why).plain()));
        }
    }
}

/// The signals that ask a program to do something.
struct Signals {
    all: Vec<(Sign, Signal)>,
}

impl Signals {
    fn heard() -> anyhow::Result<Signals> {
        let of = |sign: Sign| Ok((sign, signal(SignalKind::from_raw(sign.as_raw())).context("signals cannot be heard")?));
        let all = [Sign::INT, Sign::TERM, Sign::HUP, Sign::QUIT, Sign::USR1, Sign::USR2].into_iter().map(of);
        Ok(Signals { all: all.collect::<anyhow::Result<_>>()? })
    }

    async fn next(&mut self) -> Sign {
        std::future::poll_fn(|context| {
            let came = self.all.iter_mut().find_map(|(sign, signal)| signal.poll_recv(context).is_ready().then_some(*sign));
            came.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}

fn pass_on(child: &Child, sign: Sign) {
    // What is typed at a terminal goes to all that stand in front of it: passed on, the command would be interrupted twice, and
    // many an agent takes that for *stop at once*.
    if matches!(sign, Sign::INT | Sign::QUIT) && stands_in_front() {
        return;
    }
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, sign);
    }
}

/// Whether this process group is the one that its terminal sends Ctrl-C to.
fn stands_in_front() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|front| front == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_as_a_shell_says_it_ends() {
        let status = ExitStatus::from_raw;
        assert_eq!((code(status(0)), code(status(3 << 8)), code(status(15)), code(status(9))), (0, 3, 143, 137));
        let tick = json!({"agent": "sam"});
        assert_eq!(end(&tick, status(0)), json!({"agent": "sam", "state": "done"}));
        assert_eq!(end(&tick, status(3 << 8))["note"], "exit code 3");
        let killed = end(&tick, status(15));
        assert_eq!((&killed["state"], &killed["note"]), (&json!("failed"), &json!("ended by signal 15")));
        let missing = not_started(&"x\u{1b}".into(), &std::io::ErrorKind::NotFound.into());
        assert_eq!((missing.exit, missing.problem.detail.as_str()), (127, "there is no command “x\\u{1b}”"));
        assert_eq!(not_started(&"x".into(), &std::io::ErrorKind::PermissionDenied.into()).exit, 126);
    }
}
