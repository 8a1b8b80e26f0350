//! `watch`: what happens, one line each, as it happens. For programs with `--jsonl`: `{"seq":812,"id":"…-812","type":"agent","at":"…","data":{…}}`.
//!
//! It outlives its daemon. When the daemon stops, that is said on stderr, and again when it is back; what was missed meanwhile
//! cannot be told one by one, so a line `resync` says to read everything anew.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::ages;
use super::context::{Context, block_on, percent};
use super::fields;
use super::live::{Ends, Heard, Stream};
use super::output::{Form, Out, Tint, print, remark};
use super::problem::Trouble;
use crate::api::client::{Client, Error, Event};
use crate::daemon::clock;

/// How often a daemon that is gone is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `hubless watch`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Watch {
    /// Only of these kinds (several with commas)
    #[arg(long = "type", value_enum, value_delimiter = ',', value_name = "TYPE")]
    kinds: Vec<Kind>,
    /// What came after this event, first: its `id`, or its `seq` while the daemon is the same
    #[arg(long, value_name = "SEQ")]
    since: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  hubless watch                                what happens on all devices, until Ctrl-C
  hubless watch --type agent --device mac-mini
  hubless watch --type todo --jsonl | jq -r .data.content
  hubless watch --limit 1 --type conflict      ends after the first";

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Agent,
    Device,
    Session,
    Todo,
    Conflict,
    /// Problems here, and strangers in reach
    Sync,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Agent => "agent",
            Kind::Device => "device",
            Kind::Session => "session",
            Kind::Todo => "todo",
            Kind::Conflict => "conflict",
            Kind::Sync => "sync",
        }
    }
}

/// Which events are shown.
struct Filter {
    kinds: Vec<Kind>,
    device: Option<String>,
}

impl Filter {
    fn lets_through(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.word() == event.kind);
        event.kind == "resync" || (kind && self.device.as_ref().is_none_or(|device| concerns(&event.data, device)))
    }
}

/// Whether a device has to do with it: it is its own, or on one of its lists.
fn concerns(data: &Value, device: &str) -> bool {
    let is = |of: &Value| of["device"] == device;
    is(data) || fields::list(data, "origins").iter().any(is) || is(&data["local"]) || is(&data["remote"])
}

impl Watch {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<u8> {
        if context.globals.json && !context.globals.jsonl {
            return Err(Trouble::usage("what goes on without end has no envelope").fix("hubless watch --jsonl").into());
        }
        let device = context.globals.device.as_ref().map(|typed| context.ask_quietly(&format!("/api/v3/devices/{}", percent(typed))));
        let device = device.transpose()?.and_then(|envelope| envelope["data"]["device"].as_str().map(str::to_owned));
        block_on(follow(context, &Filter { kinds: self.kinds, device }, self.since))?
    }
}

async fn follow(context: &Context, filter: &Filter, since: Option<String>) -> anyhow::Result<u8> {
    let mut ends = Ends::heard()?;
    let after = match since {
        Some(typed) => Some(place(&context.client(), &typed).await?),
        None => None,
    };
    let mut stream = Stream::new(context.client(), after);
    stream.open().await.map_err(Trouble::from)?;
    let mut left = context.globals.limit.filter(|limit| *limit > 0);
    loop {
        let heard = tokio::select! {
            code = ends.come() => return Ok(code),
            heard = stream.next() => heard,
        };
        match heard {
            Heard::Event(event) if filter.lets_through(&event) => {
                if let Some(line) = line(context.out, &event, clock::wall_ms()) {
                    print(&line)?;
                    left = left.map(|left| left - 1);
                    if left == Some(0) {
                        return Ok(0);
                    }
                }
            }
            Heard::Event(_) => {}
            Heard::Over(in_order) => {
                say(context, if in_order { "the daemon stopped; waiting for it" } else { "the daemon is gone; waiting for it" });
                tokio::select! {
                    code = ends.come() => return Ok(code),
                    opened = again(&mut stream) => opened?,
                }
                say(context, "the daemon is back");
            }
        }
    }
}

/// Opens the stream as soon as somebody answers.
async fn again(stream: &mut Stream) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match stream.open().await {
            Ok(()) => return Ok(()),
            // Busy, or full of other readers: both pass.
            Err(Error::Down { .. } | Error::TimedOut) => {}
            Err(Error::Problem(problem)) if problem.status >= 500 => {}
            Err(other) => return Err(Trouble::from(other).into()),
        }
    }
}

fn say(context: &Context, what: &str) {
    if !context.out.quiet {
        remark(&format!("! {what}"));
    }
}

/// The id of an event of which perhaps only the number is known: then it is one of this daemon's run.
async fn place(client: &Client, typed: &str) -> anyhow::Result<String> {
    if typed.contains('-') {
        return Ok(typed.to_owned());
    }
    if typed.parse::<u64>().is_err() {
        return Err(Trouble::usage(format!("“{typed}” is no event")).fix("--since takes the id or the seq of a line of --jsonl").into());
    }
    let mut stream = Stream::new(client.clone(), None);
    stream.open().await.map_err(Trouble::from)?;
    let hello = match stream.next().await {
        Heard::Event(event) => event.id,
        Heard::Over(_) => String::new(),
    };
    let boot = hello.rsplit_once('-').map_or("", |(boot, _)| boot);
    Ok(format!("{boot}-{typed}"))
}

/// An event as it is shown; a greeting is none.
fn line(out: Out, event: &Event, now_ms: i64) -> Option<String> {
    if event.kind == "hello" {
        return None;
    }
    if out.form == Form::Jsonl {
        let seq = event.id.rsplit_once('-').and_then(|(_, seq)| seq.parse::<u64>().ok());
        let object = json!({"seq": seq, "id": event.id, "type": event.kind, "at": ages::exact(now_ms), "data": event.data});
        return Some(format!("{object}\n"));
    }
    let when = match out.form {
        Form::Table => ages::clock(now_ms, &jiff::tz::TimeZone::system()),
        Form::Json | Form::Jsonl | Form::Plain => ages::exact(now_ms),
    };
    let (tint, what) = told(event);
    let sep = if out.form == Form::Table { "  " } else { "\t" };
    let kind = if out.form == Form::Table { format!("{:8}", event.kind) } else { event.kind.clone() };
    Some(format!("{when}{sep}{kind}{sep}{}\n", out.tint(tint, &what)))
}

/// One sentence about it.
fn told(event: &Event) -> (Tint, String) {
    let data = &event.data;
    if fields::yes(data, "gone") {
        return (Tint::Dim, format!("{} is gone", fields::text(data, "agent").or_else(|| fields::text(data, "id")).unwrap_or_default()));
    }
    let of = |key: &str| fields::or_dash(data, key);
    let tail = |key: &str| fields::text(data, key).map(|text| format!(": {text}")).unwrap_or_default();
    match event.kind.as_str() {
        "agent" => {
            let tint = match of("state").as_str() {
                "needs input" => Tint::Warn,
                "stale" | "stuck?" | "failed" => Tint::Bad,
                _ => Tint::Plain,
            };
            let note = fields::text(data, "note").map(|note| format!(" ({note})")).unwrap_or_default();
            (tint, format!("{} {} on {} {}{}{note}", of("symbol"), of("agent"), fields::device(data), of("state"), tail("task")))
        }
        "device" => {
            let reach = if fields::yes(data, "reachable") { "reachable" } else { "not reachable" };
            let level = if fields::yes(&data["link"], "level") { ", in step" } else { "" };
            (Tint::Plain, format!("{} {reach}{level}", of("name")))
        }
        "session" => {
            let id = fields::short(&of("id"));
            (Tint::Plain, format!("{id} {} on {} {}{}", of("tool"), fields::device(data), of("state"), tail("title")))
        }
        "todo" => (Tint::Plain, format!("{} {}{}", fields::short(&of("id")), of("status"), tail("content"))),
        "conflict" => {
            let settled = if fields::yes(data, "resolved") { "settled" } else { "open" };
            (Tint::Warn, format!("{} of {} {settled}{}", of("field"), fields::short(&of("todo")), tail("content")))
        }
        "resync" => (Tint::Warn, "more happened than can be told: what is known by now, hubless status shows".to_owned()),
        "sync" => {
            let problems: Vec<String> = fields::list(data, "problems").iter().map(|problem| fields::or_dash(problem, "what")).collect();
            let strangers = fields::list(data, "strangers").len();
            let what = if problems.is_empty() { "nothing is wrong".to_owned() } else { problems.join("; ") };
            (Tint::Plain, if strangers > 0 { format!("{what}; {strangers} not paired in reach") } else { what })
        }
        // Of a newer daemon; its data is for programs.
        _ => (Tint::Plain, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_460_131_000;

    fn out(form: Form) -> Out {
        Out { form, colour: false, quiet: false }
    }

    fn event(kind: &str, data: Value) -> Event {
        Event { id: "1f.a-812".to_owned(), kind: kind.to_owned(), data }
    }

    #[test]
    fn a_program_gets_one_object_a_line_and_can_go_on_after_it() {
        let line = line(out(Form::Jsonl), &event("todo", json!({"id": "t-1"})), NOW).expect("a line");
        assert!(line.ends_with('\n') && line.lines().count() == 1);
        let read: Value = serde_json::from_str(&line).expect("JSON");
        let at = "2026-03-02T14:02:11.000Z";
        assert_eq!(read, json!({"seq": 812, "id": "1f.a-812", "type": "todo", "at": at, "data": {"id": "t-1"}}));
        assert!(super::line(out(Form::Jsonl), &event("hello", json!({})), NOW).is_none());
    }

    #[test]
    fn a_person_gets_a_sentence_and_nothing_that_a_terminal_obeys() {
        let agent = json!({"symbol": "◐", "agent": "leo\u{1b}[2J", "deviceName": "mac-mini", "state": "needs input", "task": "AGT-324"});
        let line = |kind: &str, data: Value| line(out(Form::Plain), &event(kind, data), NOW).expect("a line");
        let at = "2026-03-02T14:02:11.000Z";
        assert_eq!(line("agent", agent), format!("{at}\tagent\t◐ leo\\u{{1b}}[2J on mac-mini needs input: AGT-324\n"));
        let todo = json!({"id": "t-7f3a9xk2mmmmm", "status": "completed", "content": "Add retry budget"});
        assert_eq!(line("todo", todo), format!("{at}\ttodo\tt-7f3a9xk2 completed: Add retry budget\n"));
        assert!(line("session", json!({"id": "s-1", "gone": true})).ends_with("s-1 is gone\n"));
        assert!(line("resync", json!({"seq": 3})).contains("hubless status"));
        assert!(line("later", json!({"x": "\u{1b}"})).ends_with("later\t\n"));
    }

    #[test]
    fn filters_never_hide_that_something_was_missed() {
        let filter = Filter { kinds: vec![Kind::Todo], device: Some("d1".to_owned()) };
        assert!(filter.lets_through(&event("resync", json!({}))));
        assert!(!filter.lets_through(&event("agent", json!({"device": "d1"}))));
        assert!(filter.lets_through(&event("todo", json!({"origins": [{"device": "d2"}, {"device": "d1"}]}))));
        assert!(!filter.lets_through(&event("todo", json!({"origins": [{"device": "d2"}]}))));
        assert!(Filter { kinds: vec![], device: None }.lets_through(&event("later", json!({}))));
    }
}
