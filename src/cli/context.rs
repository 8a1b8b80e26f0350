//! What every verb is given: the flags, the configuration, the time; and the one way to ask and to tell.
//!
//! A question is answered by the daemon, else from the documents on disk by the same function that answers for the daemon,
//! and the answer says which. What changes something needs the daemon.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::globals::Globals;
use super::output::{Form, Out, print_json, remark};
use super::problem::{Trouble, of_daemon};
use super::{ages, fields, progress};
use crate::api::client::{self, Client};
use crate::api::reads;
use crate::config::{Config, Env};
use crate::daemon::{clock, offline};

/// The flags, the configuration, the time.
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) out: Out,
    pub(crate) config: Config,
    /// When the command began, milliseconds since 1970.
    pub(crate) now_ms: i64,
}

impl Context {
    /// Reads the configuration; a key that nobody knows is a remark.
    pub(crate) fn new(globals: Globals) -> anyhow::Result<Context> {
        let (config, warnings) = Config::load(&environment(), &flags(&globals)).map_err(|error| bad_config(&error))?;
        let out = Out::of(&globals);
        if !out.quiet && !out.is_data() {
            warnings.iter().for_each(|warning| remark(&format!("warning: {warning}")));
            config.agents.complaints.iter().for_each(|complaint| remark(&format!("warning: {complaint}")));
        }
        Ok(Context { globals, out, config, now_ms: clock::wall_ms() })
    }

    /// An envelope around rows that were made here.
    pub(crate) fn list(&self, rows: Vec<Value>) -> Value {
        let total = rows.len();
        let limit = self.globals.limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0).unwrap_or(total);
        let rows: Vec<Value> = rows.into_iter().take(limit).collect();
        serde_json::json!({
            "schema": 1, "asOf": ages::exact(self.now_ms), "source": "disk", "device": self.config.device_name.value, "total": total,
            "truncated": rows.len() < total, "next": null, "warnings": [], "data": rows,
        })
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.config.home.run_dir)
    }

    /// `--limit` for a query.
    pub(crate) fn limit(&self) -> Option<String> {
        self.globals.limit.map(|limit| limit.to_string())
    }

    /// Asks `GET target` of the daemon, else of the disk, and says beside the answer what is to be said of it.
    pub(crate) fn ask(&self, target: &str) -> anyhow::Result<Value> {
        let envelope = self.ask_quietly(target)?;
        self.remark_on(&envelope);
        Ok(envelope)
    }

    /// Says beside an answer, to people, what is to be said of it.
    pub(crate) fn remark_on(&self, envelope: &Value) {
        if !self.out.is_data() && !self.out.quiet {
            remarks(envelope, self.now_ms).iter().for_each(|line| remark(line));
        }
    }

    /// Asks, and prints the answer: as it came where programs want one envelope, else as `draw` shows it.
    pub(crate) fn show(&self, target: &str, draw: impl FnOnce(&Value, Out) -> String) -> anyhow::Result<()> {
        if self.out.form == Form::Json {
            match block_on(self.client().get_unread(target))? {
                Ok(bytes) => return print_json(&bytes),
                Err(client::Error::Down { .. }) => {}
                Err(other) => return Err(Trouble::from(other).into()),
            }
        }
        let envelope = self.ask(target)?;
        self.out.show(&envelope, |out| draw(&envelope, out))
    }

    /// As [`Context::ask`], for a second question of the same command.
    pub(crate) fn ask_quietly(&self, target: &str) -> anyhow::Result<Value> {
        block_on(self.asked(target))?
    }

    /// As [`Context::ask_quietly`], among other things that are waited for.
    pub(crate) async fn asked(&self, target: &str) -> anyhow::Result<Value> {
        match progress::shown(&self.globals, "waiting for the daemon", self.client().get(target)).await {
            Ok(envelope) => Ok(envelope),
            Err(client::Error::Down { cause }) => self.read_disk(target, cause),
            Err(other) => Err(Trouble::from(other).into()),
        }
    }

    /// Asks the daemon alone: `None` when it is not running.
    pub(crate) fn ask_daemon(&self, target: &str) -> anyhow::Result<Option<Value>> {
        match block_on(self.client().get(target))? {
            Ok(envelope) => Ok(Some(envelope)),
            Err(client::Error::Down { .. }) => Ok(None),
            Err(other) => Err(Trouble::from(other).into()),
        }
    }

    fn read_disk(&self, target: &str, cause: String) -> anyhow::Result<Value> {
        if !self.config.home.data_dir.exists() {
            let nothing = Trouble::new("not-initialised", 5, "there is no hubless on this device yet").because(cause);
            return Err(nothing.fix("hubless up").into());
        }
        let kept =
            progress::during(&self.globals, "reading what is kept", || offline::open(&self.config)).map_err(|error| of_daemon(&error))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(reads::answer(&kept.view, self.now_ms, "disk", path, query).map_err(Trouble::from)?)
    }

    /// Sends `POST target` to the daemon and returns the `data` of its answer (the whole answer when there is no envelope).
    pub(crate) fn tell(&self, target: &str, body: &Value) -> anyhow::Result<Value> {
        self.tell_within(target, body, client::WRITE_WITHIN)
    }

    /// As [`Context::tell`], for what another device has to answer.
    pub(crate) fn tell_far(&self, target: &str, body: &Value) -> anyhow::Result<Value> {
        self.tell_within(target, body, client::FAR_WRITE_WITHIN)
    }

    fn tell_within(&self, target: &str, body: &Value, within: Duration) -> anyhow::Result<Value> {
        self.tell_by(&self.client(), target, body, within)
    }

    /// As [`Context::tell`], by an agent's name.
    pub(crate) fn tell_as(&self, agent: Option<&str>, target: &str, body: &Value) -> anyhow::Result<Value> {
        let client = agent.map_or_else(|| self.client(), |name| self.client().acting_as(name));
        self.tell_by(&client, target, body, client::WRITE_WITHIN)
    }

    fn tell_by(&self, client: &Client, target: &str, body: &Value, within: Duration) -> anyhow::Result<Value> {
        let within = self.globals.timeout.unwrap_or(within);
        let what = if within > client::WRITE_WITHIN { "waiting for the other device" } else { "waiting for the daemon" };
        let answer = block_on(progress::shown(&self.globals, what, client.post_within(target, body, within)))?.map_err(Trouble::from)?;
        Ok(answer.get("data").cloned().unwrap_or(answer))
    }

    /// Where the log of a daemon without a terminal is.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.config.home.logs_dir.join(crate::daemon::logs::NAME)
    }
}

/// The environment, as far as it is text.
pub(crate) fn environment() -> Env {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// Why there is no configuration.
pub(crate) fn bad_config(error: &crate::config::Error) -> Trouble {
    use crate::config::Error;
    let fix = match error {
        Error::NoHome { .. } => "set HOME, or HUBLESS_HOME to a directory of its own",
        Error::SocketPathTooLong { .. } => "set HUBLESS_HOME to a shorter path",
        Error::NotAbsolute { .. }
        | Error::Unreadable { .. }
        | Error::Syntax { .. }
        | Error::WrongValue { .. }
        | Error::Unwritable { .. }
        | Error::UnknownFlag { .. } => "mend it, or take it out:  hubless config path",
    };
    Trouble::new("bad-config", 2, error.to_string()).fix(fix)
}

/// What the flags set of the configuration: `-v` lets the daemon log more.
fn flags(globals: &Globals) -> BTreeMap<String, String> {
    let level = match globals.verbose {
        0 => return BTreeMap::new(),
        1 => "debug",
        _ => "trace",
    };
    BTreeMap::from([("log.level".to_owned(), level.to_owned())])
}

/// What people are told beside an answer: that it is from disk, that rows are missing, what the daemon warns of.
pub(crate) fn remarks(envelope: &Value, now_ms: i64) -> Vec<String> {
    let mut out = Vec::new();
    if fields::text(envelope, "source").as_deref() == Some("disk") {
        let when = ages::moment(now_ms, fields::time(envelope, "asOf").unwrap_or(now_ms), &jiff::tz::TimeZone::system());
        out.push(format!("as of {when}, daemon not running (answered from disk)  fix: hubless up"));
    }
    if fields::yes(envelope, "truncated") {
        let (shown, total) = (fields::rows(envelope).len(), fields::count(envelope, "total"));
        out.push(format!("showing {shown} of {total}; --limit 0 shows all"));
    }
    out.extend(fields::texts(envelope, "warnings").iter().map(|warning| format!("warning: {warning}")));
    out
}

/// Runs one request on this thread: a runtime with threads would cost more than the answer.
pub(crate) fn block_on<T>(wanted: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("this process cannot wait for sockets")?;
    Ok(runtime.block_on(wanted))
}

/// A part of a path or a value of a query: everything but letters, digits and `-._~` is written as `%xx`.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `path?a=b&c=d` of what was given; what was not is left out.
pub(crate) fn target(path: &str, query: &[(&str, Option<String>)]) -> String {
    let pairs: Vec<String> =
        query.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", percent(value)))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_list_and_an_answer_from_disk_say_so() {
        let whole = serde_json::json!({"source": "daemon", "truncated": false, "warnings": [], "data": [1]});
        assert!(remarks(&whole, 0).is_empty());
        let cut = serde_json::json!({"source": "disk", "asOf": "1970-01-01T00:00:00Z", "truncated": true, "total": 3, "warnings": ["w"], "data": [1]});
        let said = remarks(&cut, 0);
        assert!(said[0].contains("daemon not running (answered from disk)  fix: hubless up"), "{said:?}");
        assert_eq!(said[1..], ["showing 1 of 3; --limit 0 shows all", "warning: w"]);
    }

    #[test]
    fn what_was_typed_arrives_as_it_was_typed() {
        assert_eq!(percent("a b/ü?&"), "a%20b%2F%C3%BC%3F%26");
        assert_eq!(target("/x", &[("a", None)]), "/x");
        assert_eq!(target("/x", &[("a", Some("1 2".into())), ("b", None), ("limit", Some("0".into()))]), "/x?a=1%202&limit=0");
    }
}
