//! `beat`: an agent reports, once or in a loop that is tied to a process.
//!
//! A tick of the loop carries no task and no file, so it never overwrites what the agent reported meanwhile; when the process
//! is gone, or a person ends the loop, the end is said. So nobody is *active* after its death. What is said while no daemon
//! runs waits for the next one; ticks do not, since a sign of life is of its moment. Around a command it is `wrap`.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::context::{Context, block_on};
use super::fields;
use super::output::remark;
use super::problem::Trouble;
use super::wrap::{self, Reports};
use crate::api::client::{self, Client};
use crate::api::problem::Problem;
use crate::api::spool::{self, NotLeft};
use crate::daemon::clock;
use crate::model::beat::Reported;
use crate::model::reply::Code;
use crate::model::text::Foreign;

const ROUTE: &str = "/api/v3/beats";
/// How often a loop looks whether its process is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the last report of a loop may take: whoever pressed Ctrl-C does not wait.
const END_WITHIN: Duration = Duration::from_secs(2);
/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// `hubless beat`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Beat {
    /// Who reports
    agent: String,
    /// What it works on; left out: as before; "" "" for TASK and FILE: its activity is over
    task: Option<String>,
    /// The file it has open
    file: Option<String>,
    /// working, waiting, idle, done or failed
    #[arg(long)]
    state: Option<String>,
    /// A message to people
    #[arg(long, visible_alias = "note", value_name = "TEXT")]
    msg: Option<String>,
    /// The tool behind it: claude, codex, pi, …
    #[arg(long)]
    tool: Option<String>,
    /// The tool's own session id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Go on reporting this often, until --pid ends or Ctrl-C
    #[arg(long, value_name = "SPAN", value_parser = interval)]
    every: Option<Duration>,
    /// Its process; a loop ends, and says ended, when it ends
    #[arg(long, conflicts_with = "command")]
    pid: Option<u32>,
    /// Beat while this runs, and say what it came to; its exit code is ours
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  hubless beat sam \"AGT-280 retry budget\" src/retry.rs          once
  hubless beat sam AGT-280 --every 60s --pid $PPID               until that process ends, and then says so
  hubless beat sam AGT-280 -- claude -p \"fix the retry test\"     while it runs; done or failed at its end
  hubless beat leo --state waiting --msg \"approve migration?\"
  hubless beat sam \"\" \"\"                                       its activity is over";

/// From 1 s to a day: less is no heartbeat but a load, more is none at all.
fn interval(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|why| why.to_string())?;
    let seconds = span.as_secs();
    if (1..=86_400).contains(&seconds) { Ok(span) } else { Err("between 1s and 24h".to_owned()) }
}

impl Beat {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<u8> {
        if Foreign::new(self.agent.as_str()).is_blank() {
            return Err(Trouble::usage("AGENT must not be blank").fix("hubless beat NAME [TASK] [FILE]").into());
        }
        if !self.command.is_empty() {
            return self.wrap(context);
        }
        let within = context.globals.timeout.unwrap_or(client::WRITE_WITHIN);
        let said_ms = clock::wall_ms();
        let sent = block_on(send(&context.client(), &self.report(), within))?;
        let told = or_spooled(context, self.report(), said_ms, sent)?;
        context.out.done(told.clone(), &self.line(&told))?;
        match self.every {
            Some(every) if !self.ends() => block_on(self.go_on(context, every, within))?,
            Some(_) | None => Ok(0),
        }
    }

    fn wrap(self, context: &Context) -> anyhow::Result<u8> {
        if context.out.is_data() {
            return Err(Trouble::usage("stdout is the command's own").fix("leave --json out").into());
        }
        if let Some(word) = self.state.as_deref().filter(|word| Reported::parse(word).is_none()) {
            return Err(no_state(word).into());
        }
        let mut begin = self.report();
        if begin.get("state").is_none() {
            begin["state"] = json!("working");
        }
        let reports = Reports { tick: self.tick(), begin, every: self.every };
        block_on(wrap::run(context, reports, &self.command))?
    }

    /// `beat AGENT "" ""`: the activity is over (the replaced system's final heartbeat).
    fn ends(&self) -> bool {
        let blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
        self.state.is_none() && blank(&self.task) && blank(&self.file)
    }

    fn state(&self) -> Option<&str> {
        if self.ends() { Some("done") } else { self.state.as_deref() }
    }

    /// What every report carries.
    fn who(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let texts = [("agent", Some(&self.agent)), ("tool", self.tool.as_ref()), ("session", self.session.as_ref())];
        for (name, text) in texts {
            body.extend(text.map(|text| (name.to_owned(), json!(text))));
        }
        body.extend(self.pid.map(|pid| ("pid".to_owned(), json!(pid))));
        body.extend(self.every.map(|every| ("intervalS".to_owned(), json!(every.as_secs()))));
        body.insert("source".to_owned(), json!("cli"));
        body
    }

    fn report(&self) -> Value {
        let mut body = self.who();
        let texts =
            [("task", self.task.as_deref()), ("file", self.file.as_deref()), ("note", self.msg.as_deref()), ("state", self.state())];
        for (name, text) in texts {
            body.extend(text.map(|text| (name.to_owned(), json!(text))));
        }
        let place = std::env::current_dir().ok().map(|dir| dir.to_string_lossy().into_owned());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        body.insert("metadata".to_owned(), json!({"hostname": host, "workingDirectory": place}));
        Value::Object(body)
    }

    /// A sign of life and nothing else.
    fn tick(&self) -> Value {
        Value::Object(self.who())
    }

    fn end(&self) -> Value {
        let mut body = self.who();
        body.insert("state".to_owned(), json!("done"));
        Value::Object(body)
    }

    /// `✓ sam: working, AGT-280 (saved; told mac-mini)`.
    fn line(&self, told: &Value) -> String {
        let name = Foreign::new(self.agent.as_str()).plain();
        let plain = |text: &Option<String>| text.as_deref().map(Foreign::new).filter(|text| !text.is_blank()).map(|text| text.plain());
        let doing = plain(&self.task).map(|task| format!(", {task}")).unwrap_or_default();
        let state = self.state().map_or_else(|| if doing.is_empty() { "as before" } else { "working" }.to_owned(), str::to_owned);
        format!("✓ {name}: {}{doing} ({})", Foreign::new(state).plain(), went(told))
    }

    async fn go_on(&self, context: &Context, every: Duration, within: Duration) -> anyhow::Result<u8> {
        let client = context.client();
        let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be heard")?;
        let mut terminate = signal(SignalKind::terminate()).context("signals cannot be heard")?;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        // A number is given anew once its process is gone; when it began tells the two apart.
        let born = self.pid.and_then(started);
        let mut heard = true;
        let exit = loop {
            tokio::select! {
                _ = interrupt.recv() => break INTERRUPTED,
                _ = terminate.recv() => break 0,
                _ = looks.tick(), if self.pid.is_some() => {
                    if !self.pid.is_some_and(|pid| is_alive(pid) && started(pid) == born) {
                        break 0;
                    }
                }
                _ = ticks.tick() => {
                    // The daemon may be restarted under a loop; the loop outlives that, and says once that nobody hears it.
                    let sent = send(&client, &self.tick(), within).await;
                    if let (Err(why), true) = (&sent, heard) {
                        remark(&format!("✗ {}: {why}; going on", Foreign::new(self.agent.as_str()).plain()));
                    }
                    heard = sent.is_ok();
                }
            }
        };
        let said_ms = clock::wall_ms();
        let sent = send(&client, &self.end(), within.min(END_WITHIN)).await;
        let told = or_spooled(context, self.end(), said_ms, sent)?;
        let line = format!("✓ {}: done ({})", Foreign::new(self.agent.as_str()).plain(), went(&told));
        context.out.done(told, &line)?;
        Ok(exit)
    }
}

async fn send(client: &Client, body: &Value, within: Duration) -> anyhow::Result<Value> {
    let answer = client.post_within(ROUTE, body, within).await.map_err(|error| {
        let mut trouble = Trouble::from(error);
        if trouble.exit == Code::DaemonDown.exit() {
            trouble.problem.detail = "the daemon is not running; this report was not kept".to_owned();
        }
        trouble
    })?;
    Ok(answer.get("data").cloned().unwrap_or(answer))
}

/// A report that nobody could take waits for the next daemon; so does one that may have been taken by a daemon that died before it
/// could say so: it carries when it was said, and taken twice it is the same word. Where there was never one, nobody would come for it.
fn or_spooled(context: &Context, mut report: Value, said_ms: i64, sent: anyhow::Result<Value>) -> anyhow::Result<Value> {
    let unheard = [Code::DaemonDown, Code::TimedOut].map(Code::exit);
    let down = match sent {
        Err(why) if why.downcast_ref::<Trouble>().is_some_and(|trouble| unheard.contains(&trouble.exit)) => why,
        told => return told,
    };
    report["at"] = json!(said_ms);
    match spool::leave(&context.config.home.spool_dir(), said_ms, &report) {
        Ok(()) => Ok(json!({"success": true, "spooled": true, "sessionId": null, "updated": null, "durable": false, "replicatedTo": []})),
        Err(NotLeft::Never(problem)) => Err(Trouble::from(problem).into()),
        Err(NotLeft::Io(_)) if !context.config.home.data_dir.exists() => Err(down),
        Err(NotLeft::Io(why)) => {
            let trouble = Trouble::new("storage", 1, "the daemon does not answer, and the report cannot be left for it");
            Err(trouble.because(why.to_string()).fix("make room on the disk, then hubless up").into())
        }
    }
}

fn no_state(word: &str) -> Trouble {
    Problem::of(Code::BadRequest, format!("“{}” is no state", Foreign::new(word).plain()))
        .fix("working, waiting, idle, done or failed")
        .into()
}

/// Where a report went: `saved; told mac-mini`, or that it lives in memory until the next transition.
fn went(told: &Value) -> String {
    if fields::yes(told, "spooled") {
        return "the daemon is not running; it takes this when it starts: hubless up".to_owned();
    }
    let kept = if fields::yes(told, "durable") { "saved" } else { "heard; written at the next change" };
    let names = fields::texts(told, "replicatedTo");
    if names.is_empty() { format!("{kept}; no other device in reach") } else { format!("{kept}; told {}", names.join(", ")) }
}

/// Whether a process runs: one that has ended and waits for its parent to notice (a zombie) does not.
fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    let there = match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(why) => why == rustix::io::Errno::PERM,
    };
    there && !is_zombie(pid)
}

/// When a process began, in the kernel's own count; `None` where the system does not say.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The 22nd field; the third is the first behind the name, which may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Only Linux tells without asking the kernel in ways we forbid ourselves; elsewhere a zombie counts until it is reaped.
fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // `pid (name) state …`; the name may hold anything, the last parenthesis closes it.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        beat: Beat,
    }

    fn read(args: &[&str]) -> Beat {
        Line::try_parse_from(std::iter::once(&"beat").chain(args)).expect("a report").beat
    }

    #[test]
    fn the_order_of_the_replaced_system_is_taken_and_its_end_ends() {
        let full = read(&["sam", "AGT-280 \"x\"\n", "src/retry.rs", "--pid", "7"]).report();
        assert_eq!(
            (&full["agent"], &full["task"], &full["file"], &full["pid"]),
            (&json!("sam"), &json!("AGT-280 \"x\"\n"), &json!("src/retry.rs"), &json!(7))
        );
        assert!(full["metadata"]["hostname"].is_string() && full.get("state").is_none());
        let end = read(&["sam", "", ""]);
        assert!(end.ends() && end.report()["state"] == "done");
        assert!(!read(&["sam", ""]).ends() && !read(&["sam"]).ends());
        assert_eq!(read(&["sam", "", "", "--state", "idle"]).report()["state"], "idle", "what was said counts");
    }

    #[test]
    fn a_tick_carries_no_work() {
        let beat = read(&["sam", "starting", "a.rs", "--every", "60s", "--msg", "hi"]);
        let tick = beat.tick();
        for key in ["task", "file", "note", "state", "metadata"] {
            assert!(tick.get(key).is_none(), "{key} would be overwritten");
        }
        assert_eq!((&tick["agent"], &tick["intervalS"]), (&json!("sam"), &json!(60)));
        assert_eq!(beat.end()["state"], "done");
    }

    #[test]
    fn what_became_of_it_is_said() {
        let told = json!({"durable": true, "replicatedTo": ["mac-mini"]});
        assert_eq!(read(&["sam", "AGT-280"]).line(&told), "✓ sam: working, AGT-280 (saved; told mac-mini)");
        assert_eq!(
            read(&["s\x1bm"]).line(&json!({})),
            "✓ s\\u{1b}m: as before (heard; written at the next change; no other device in reach)"
        );
        assert_eq!(read(&["sam", "", ""]).line(&told), "✓ sam: done (saved; told mac-mini)");
        assert!(read(&["sam"]).line(&json!({"spooled": true})).contains("takes this when it starts"));
    }

    #[test]
    fn intervals_have_bounds() {
        assert!(interval("60s").is_ok() && interval("0s").is_err() && interval("2d").is_err() && interval("soon").is_err());
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive_even_before_it_is_reaped() {
        assert!(is_alive(std::process::id()) && is_alive(1) && !is_alive(0) && !is_alive(u32::MAX));
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        for _ in 0..500 {
            if !is_alive(child.id()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if cfg!(target_os = "linux") {
            assert!(!is_alive(child.id()), "a zombie is dead");
        }
        child.wait().expect("reaped");
        assert!(!is_alive(child.id()));
        let me = std::process::id();
        assert!(!cfg!(target_os = "linux") || (started(me).is_some() && started(me) == started(me) && started(me) != started(1)));
    }
}
