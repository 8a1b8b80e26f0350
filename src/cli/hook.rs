//! `hook TOOL`: a tool tells us what happens in it. One write to the daemon, a spooled report when there is none, and never a
//! word or an exit code that the tool could take for ours to say: in Claude Code exit 2 blocks the agent.
//!
//! So it always ends with 0, whatever stands on stdin, in the configuration or on the disk, and it is out of the way within
//! hundredths of a second. The one thing it prints is the note for a session that begins.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::panic;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::context::{block_on, target};
use super::hook_event::Event;
use super::hook_note;
use super::output::{print, remark};
use crate::api::client::{Client, Error};
use crate::api::spool;
use crate::config::{Config, Env};
use crate::daemon::clock;
use crate::setup::Tool;

/// The word that makes a command line a hook's.
const VERB: &str = "hook";
/// Flags that may stand before a verb and have no value, which could be called `hook` as well.
const BARE_FLAGS: [&str; 6] = ["--json", "--jsonl", "-q", "--quiet", "-v", "--no-input"];
/// How long the daemon has, for the report and the note together. With what a process costs it stays under 50 ms.
const WITHIN: Duration = Duration::from_millis(40);
/// How long the report may take of that: on any doubt it is spooled, and taken twice it does no harm.
const REPORT_WITHIN: Duration = Duration::from_millis(30);
/// How often it is asked whether the project of a new session is known already.
const AGAIN_AFTER: Duration = Duration::from_millis(4);
/// Bytes of stdin that are read; what is cut off is not looked at anyway.
const STDIN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a tool may take between two pieces of what it writes. That is its time, not ours.
const STDIN_WITHIN: Duration = Duration::from_secs(1);
/// Names the agent, for a tool that was started with it.
const AGENT_VARIABLE: &str = "HUBLESS_AGENT";

/// Whether this command line is a hook's; if so, it is carried out.
pub(crate) fn is_one(args: impl IntoIterator<Item = OsString>) -> bool {
    let mut words = args.into_iter().skip(1).skip_while(|arg| arg.to_str().is_some_and(|arg| BARE_FLAGS.contains(&arg)));
    if words.next().is_none_or(|word| word != VERB) {
        return false;
    }
    let tool = words.next();
    // Nothing of what follows may end the process otherwise than with 0, nor say so.
    panic::set_hook(Box::new(|_| {}));
    let _ = panic::catch_unwind(|| run(tool));
    true
}

fn run(tool: Option<OsString>) -> Option<()> {
    if std::io::stdin().is_terminal() {
        remark("this is what tools call; to make them call it: hubless hooks install");
        return None;
    }
    // Read whatever it is for: a tool that writes into a closed pipe may take offence.
    let said = stdin();
    let tool = tool.and_then(|tool| Tool::parse(tool.to_str()?))?;
    let event = Event::read(&said)?;
    let env: Env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    let agent = env.get(AGENT_VARIABLE).map(|name| name.trim()).filter(|name| !name.is_empty()).unwrap_or(tool.word());
    let (config, _) = Config::load(&env, &std::collections::BTreeMap::new()).ok()?;
    let at_ms = clock::wall_ms();
    let report = event.report(tool.word(), agent, at_ms);
    let client = Client::new(&config.home.run_dir);
    let wants_note = event.begins() && config.session_note.value;
    let told = block_on(tell(&client, &report, wants_note.then(|| (tool, event.session())))).ok()?;
    match told {
        Told::Taken(note) => note.and_then(|note| print(&note).ok()),
        Told::Refused => None,
        Told::Perhaps => spool::leave(&config.home.spool_dir(), at_ms, &report).ok(),
    }
}

/// What became of a report.
enum Told {
    /// It was taken; what the session is to be told.
    Taken(Option<String>),
    /// It will never be taken.
    Refused,
    /// Nobody says so.
    Perhaps,
}

async fn tell(client: &Client, report: &Value, note_for: Option<(Tool, &str)>) -> Told {
    let until = Instant::now() + WITHIN;
    match timeout(REPORT_WITHIN, client.post("/api/v3/beats", report)).await {
        Ok(Ok(_)) => {}
        Ok(Err(Error::Problem(problem))) if problem.status < 500 => return Told::Refused,
        Ok(Err(_)) | Err(_) => return Told::Perhaps,
    }
    match note_for {
        Some((tool, session)) => Told::Taken(timeout_at(until, note(client, tool, session)).await.ok().flatten()),
        None => Told::Taken(None),
    }
}

/// What the session is to be told. Of a new session the repository is looked for first, which takes a moment.
async fn note(client: &Client, tool: Tool, session: &str) -> Option<String> {
    let target = target("/api/v3/note", &[("tool", Some(tool.word().to_owned())), ("session", Some(session.to_owned()))]);
    loop {
        let envelope = client.get(&target).await.ok()?;
        if !envelope["data"].is_null() {
            return hook_note::drawn(&envelope["data"]);
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// What stands on stdin, up to its end, its limit, or a pause that is too long.
fn stdin() -> Vec<u8> {
    let (sender, pieces) = sync_channel::<Vec<u8>>(16);
    // It may wait for ever for a pipe that nobody closes; the process ends without it.
    let reader = std::thread::Builder::new().spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut piece = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = stdin.read(&mut piece) {
            if sender.send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut out = Vec::new();
    while reader.is_ok() && out.len() < STDIN_BYTES_MAX {
        match pieces.recv_timeout(STDIN_WITHIN) {
            Ok(piece) => out.extend(piece),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hooks_line_is_one() {
        for line in [
            "hubless",
            "hubless hooks install",
            "hubless status hook",
            "hubless help hook",
            "hubless --json status",
            "hubless --device hook status",
        ] {
            assert!(!is_one(line.split(' ').map(OsString::from)), "{line}");
        }
    }
}
