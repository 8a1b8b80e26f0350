//! `devices`: which devices there are, whether they can be reached, and what each lacks. Unknown is said as *unknown*, never as 0.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ages;
use super::context::{Context, percent, target};
use super::fields;
use super::members::{Rename, Revoke};
use super::output::{Out, Tint};
use crate::model::limits::SKEW_SHOWN_MS;

/// `hubless devices`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Devices {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Also those that are members no more
    #[arg(long)]
    all: bool,
}

const EXAMPLES: &str = "\
Examples:
  hubless devices                     who misses what
  hubless devices ping mac-mini
  hubless devices rename mac-mini attic
  hubless devices revoke thinkpad     for ever; asks for its name";

#[derive(Debug, Subcommand)]
enum Verb {
    /// All devices of the fleet
    List {
        /// Also those that are members no more
        #[arg(long)]
        all: bool,
    },
    /// Measures the way to a device
    Ping {
        /// The device's name, or the beginning of its id
        name: String,
        /// How often
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
    },
    /// Calls a device otherwise, on all devices; its history stays
    Rename(Rename),
    /// Shuts a device out of the fleet for ever
    Revoke(Revoke),
}

impl Devices {
    /// Whether flags of the list stand before another verb, where they would be passed over.
    pub(crate) fn is_mixed(&self) -> bool {
        self.verb.is_some() && self.all
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.verb {
            Some(Verb::Ping { name, count }) => ping(context, &name, count),
            Some(Verb::Rename(rename)) => rename.run(context),
            Some(Verb::Revoke(revoke)) => revoke.run(context),
            Some(Verb::List { all }) => list(context, all),
            None => list(context, self.all),
        }
    }
}

fn list(context: &Context, all: bool) -> anyhow::Result<()> {
    let query = [("all", all.then(|| "1".to_owned())), ("limit", context.limit())];
    let envelope = context.ask(&target("/api/v3/devices", &query))?;
    context.out.show(&envelope, |out| table(out, fields::rows(&envelope), context.now_ms))
}

/// Who cannot be reached is a problem of the daemon's answer: exit code 1, with its cause.
fn ping(context: &Context, name: &str, count: u32) -> anyhow::Result<()> {
    for _ in 0..count {
        let data = context.tell_far(&format!("/api/v3/devices/{}/ping", percent(name)), &json!({}))?;
        let line = pong(&data, name);
        context.out.done(data, &line)?;
    }
    Ok(())
}

fn pong(data: &Value, name: &str) -> String {
    let from = fields::text(data, "name").or_else(|| fields::text(data, "deviceName")).unwrap_or_else(|| name.to_owned());
    let over = fields::text(data, "address").map(|address| format!(" over {address}")).unwrap_or_default();
    let level = if fields::yes(data, "level") { "same heads" } else { "not in step" };
    format!("pong from {from}{over} in {} ms, {level}", fields::count(data, "rttMs"))
}

fn table(out: Out, rows: &[Value], now_ms: i64) -> String {
    let drawn = rows.iter().map(|row| {
        let reachable = fields::yes(row, "reachable");
        let state = match (fields::yes(row, "thisDevice"), fields::yes(row, "member"), reachable) {
            (true, _, _) => "this device",
            (_, false, _) => "not a member",
            (_, _, true) => "reachable",
            _ => "not reachable",
        };
        let rests = rests(row, now_ms).map(|why| format!(", {why}")).unwrap_or_default();
        let cells = vec![
            fields::or_dash(row, "name"),
            fields::or_dash(row, "shortId"),
            format!("{state}{rests}"),
            fields::or_dash(row, "address"),
            contact(row, now_ms),
            missing(row, "theyMiss"),
            missing(row, "weMiss"),
            skew(row).unwrap_or_else(|| "-".to_owned()),
        ];
        (if state == "not reachable" { Tint::Dim } else { Tint::Plain }, cells)
    });
    out.rows(&["device", "id", "state", "address", "last contact", "they miss", "we miss", "clock"], drawn.collect())
}

pub(crate) fn contact(row: &Value, now_ms: i64) -> String {
    if fields::yes(row, "thisDevice") {
        return "-".to_owned();
    }
    ages::ago(now_ms, fields::time(row, "lastContact"))
}

pub(crate) fn missing(row: &Value, key: &str) -> String {
    if fields::yes(row, "thisDevice") {
        return "-".to_owned();
    }
    fields::number(row, key).map_or_else(|| "unknown".to_owned(), |count| count.to_string())
}

/// `4m ahead`, `3s behind`; nothing when the clocks agree.
pub(crate) fn skew(row: &Value) -> Option<String> {
    let skew = fields::number(row, "clockSkewMs").filter(|skew| skew.saturating_abs() > SKEW_SHOWN_MS)?;
    Some(format!("{} {}", ages::span(skew.saturating_abs()), if skew > 0 { "ahead" } else { "behind" }))
}

/// `thinkpad says what this version does not know (3 messages skipped)`; `None` when nothing was skipped.
pub(crate) fn skipped(device: &Value) -> Option<String> {
    let n = device["link"].get("skipped").and_then(Value::as_u64).filter(|n| *n > 0)?;
    let messages = if n == 1 { "message" } else { "messages" };
    Some(format!("{} says what this version does not know ({n} {messages} skipped)", fields::or_dash(device, "name")))
}

/// Where a device that has no link was dialled, why that failed, when and how often.
pub(crate) fn dialled(device: &Value, now_ms: i64) -> Option<String> {
    let one = |dial: &Value| {
        let (address, why) = (fields::or_dash(dial, "address"), fields::or_dash(dial, "why"));
        let times = match fields::count(dial, "times") {
            0 | 1 => String::new(),
            n => format!(", {n} times"),
        };
        format!("{address}: {why} ({}{times})", ages::ago(now_ms, fields::time(dial, "at")))
    };
    let tried: Vec<String> = fields::list(device, "dials").iter().map(one).collect();
    let is_away = device["link"].is_null() && !tried.is_empty();
    is_away.then(|| format!("{} was dialled in vain: {}", fields::or_dash(device, "name"), tried.join("; ")))
}

/// Why documents do not go between this device and another, or not now; `None` when they do. Times as a person reads them.
pub(crate) fn rests(device: &Value, now_ms: i64) -> Option<String> {
    let flow = &device["flow"];
    let no = |key: &str| flow.get(key).and_then(Value::as_bool) == Some(false);
    if flow.is_null() {
        return None;
    }
    let why = match () {
        () if no("enabled") => "disabled here (peers.NAME.enabled)".to_owned(),
        () if fields::yes(flow, "paused") => "paused here".to_owned(),
        () if fields::time(flow, "next").is_some() => {
            let next = fields::time(flow, "next").map(|at| ages::moment(now_ms, at, &jiff::tz::TimeZone::system()));
            format!("scheduled, next {}", next.unwrap_or_default())
        }
        () if no("gives") && no("takes") => "nothing is exchanged (peers.NAME.send, .receive)".to_owned(),
        () if no("gives") => "nothing is sent (peers.NAME.send)".to_owned(),
        () if no("takes") => "nothing is received (peers.NAME.receive)".to_owned(),
        () if no("theyGive") && no("theyTake") => "it exchanges nothing now: paused or scheduled there".to_owned(),
        () if no("theyGive") => "it sends nothing".to_owned(),
        () if no("theyTake") => "it receives nothing".to_owned(),
        () => return None,
    };
    Some(why)
}

/// `claude-todos ✓ 3s`, `claude-todos off (no /home/lena/.claude/todos)`.
pub(crate) fn watched(source: &Value, now_ms: i64) -> String {
    let name = fields::or_dash(source, "source");
    if fields::yes(source, "paused") {
        return format!("{name} paused");
    }
    match (fields::yes(source, "present"), fields::text(source, "error")) {
        (_, Some(error)) => format!("{name} ✗ {error}"),
        (true, None) => {
            format!("{name} ✓ {}", fields::time(source, "listedAt").map_or_else(|| "never".into(), |at| ages::since(now_ms, at)))
        }
        (false, None) => format!("{name} off (no {})", fields::or_dash(source, "base")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Form;

    const NOW: i64 = 1_772_460_131_000;

    fn out(form: Form) -> Out {
        Out { form, colour: false, quiet: false }
    }

    #[test]
    fn what_cannot_be_known_is_said_and_is_no_zero() {
        let rows = [
            json!({"name": "mbp", "shortId": "7Q2M-KX4D", "thisDevice": true, "member": true, "reachable": true}),
            json!({"name": "thinkpad", "shortId": "AAAA-BBBB", "member": true, "reachable": false, "theyMiss": 14, "weMiss": null,
                   "lastContact": ages::exact(NOW - 7_800_000), "clockSkewMs": -252_000}),
        ];
        let expected = "mbp\t7Q2M-KX4D\tthis device\t-\t-\t-\t-\t-\n\
                        thinkpad\tAAAA-BBBB\tnot reachable\t-\t2h 10m ago\t14\tunknown\t4m behind\n";
        assert_eq!(table(out(Form::Plain), &rows, NOW), expected);
        assert_eq!(skew(&json!({"clockSkewMs": 1999})), None);
        assert_eq!(skew(&json!({"clockSkewMs": i64::MIN})).map(|s| s.ends_with("behind")), Some(true));
    }

    #[test]
    fn a_pong_says_over_which_way() {
        let data = json!({"device": "abc", "deviceName": "mac-mini", "address": "192.168.1.20:4826", "rttMs": 4, "level": true});
        assert_eq!(pong(&data, "mac"), "pong from mac-mini over 192.168.1.20:4826 in 4 ms, same heads");
    }
}
