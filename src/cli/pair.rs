//! `pair` and `leave`: two devices become one fleet by a short code or a one-time ticket, and part again.
//!
//! Whoever shows a code stands at its window until somebody came, it was tried too often, or its time is over; the daemon closes
//! the window when this command goes away, however it ends.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ages;
use super::context::{Context, block_on};
use super::fields;
use super::output::{Form, Out, print, remark};
use super::problem::Trouble;
use super::qr;
use crate::api::client;

/// The exit code of a command that was interrupted.
const INTERRUPTED: u8 = 130;
/// How often the time that is left is shown anew.
const TICK: Duration = Duration::from_secs(1);

/// `hubless pair`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pair {
    /// Joins the device that shows this code, or made this ticket; without it, shows a code for another device
    #[arg(value_name = "CODE|TICKET", conflicts_with_all = ["make", "qr"])]
    key: Option<String>,
    /// Makes a one-time ticket for another device and returns at once
    #[arg(long = "ticket")]
    make: bool,
    /// Shows the ticket as a QR code, too
    #[arg(long)]
    qr: bool,
    /// Where the other device's window is, when it is not found by itself
    #[arg(long, value_name = "HOST:PORT", requires = "key")]
    addr: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  hubless pair                        shows a code; on the other device: hubless pair CODE
  hubless pair --ticket               one line for a machine without a person in front
  hubless pair 318-4402-771 --addr 192.168.1.20:41733";

impl Pair {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match (self.key, self.make) {
            (Some(key), _) => join(context, &key, self.addr.as_deref()),
            (None, true) => ticket(context, self.qr),
            (None, false) => code(context, self.qr),
        }
    }
}

/// The line with the ticket is alone on stdout, so that a script can take it as it is.
fn ticket(context: &Context, with_qr: bool) -> anyhow::Result<()> {
    let data = context.tell("/api/v3/pair", &json!({}))?;
    if with_qr {
        show_qr(&data)?;
    }
    let line = with_ticket(context.out, &data, context.now_ms);
    let loud = Out { quiet: false, ..context.out };
    loud.done(data, &line)
}

fn with_ticket(out: Out, data: &Value, now_ms: i64) -> String {
    let ticket = fields::or_dash(data, "ticket");
    if out.form != Form::Table {
        return ticket;
    }
    let left = fields::time(data, "until").map(|until| format!(", {} left", ages::span(until.saturating_sub(now_ms)))).unwrap_or_default();
    format!("On the other device run, once{left}:\n\n  hubless pair {ticket}\n")
}

fn show_qr(data: &Value) -> anyhow::Result<()> {
    // A QR code of capital letters and digits alone is a third smaller; a ticket reads the same in both.
    remark(&qr::drawn(&fields::or_dash(data, "ticket").to_uppercase())?);
    Ok(())
}

/// Opens a window, shows its code, and stands there. For programs it returns at once, as `--ticket` does.
fn code(context: &Context, with_qr: bool) -> anyhow::Result<()> {
    let data = context.tell("/api/v3/pair", &json!({"by": "code", "stay": !context.out.is_data()}))?;
    if with_qr {
        show_qr(&data)?;
    }
    if context.out.is_data() {
        return context.out.done(data, "");
    }
    let device = block_on(async {
        // Before anybody can have seen the code.
        let mut stop = signal(SignalKind::interrupt()).context("ctrl-C cannot be heard")?;
        print(&format!("{}\n", with_code(context.out, &data)))?;
        stand_at(context, &data, &mut stop).await
    })??;
    context.out.done(json!({"state": "paired", "device": device}), &paired(&device))
}

fn with_code(out: Out, data: &Value) -> String {
    let code = fields::or_dash(data, "code");
    if out.form != Form::Table {
        return code;
    }
    let tries = fields::count(data, "tries");
    let at = fields::texts(data, "addresses").into_iter().next();
    let at = at.map(|at| format!("\n(not found there? add  --addr {at})")).unwrap_or_default();
    format!("On the other device run:\n\n  hubless pair {code}\n\none use, {tries} attempts{at}")
}

/// Waits until a device came in; says meanwhile who tried to, and how long it still goes.
async fn stand_at(context: &Context, data: &Value, stop: &mut Signal) -> anyhow::Result<Value> {
    let (window, until, tries) = (fields::count(data, "window"), fields::time(data, "until"), fields::count(data, "tries"));
    let (mut wrong, mut relayed) = (0, 0);
    let clock = Clock { until: until.filter(|_| std::io::stderr().is_terminal() && !context.out.quiet) };
    loop {
        let body = json!({"wrong": wrong, "relayed": relayed});
        let waited = waiting(context, &format!("/api/v3/pair/{window}/wait"), &body, &clock, stop).await;
        clock.wipe();
        let answer = waited?;
        let told = &answer["data"];
        if fields::text(told, "state").as_deref() == Some("paired") {
            return Ok(told["device"].clone());
        }
        if fields::count(told, "wrong") > wrong {
            wrong = fields::count(told, "wrong");
            let left = tries.saturating_sub(wrong);
            remark(&format!("! a wrong code was tried: {left} {} left", if left == 1 { "attempt" } else { "attempts" }));
        }
        if fields::count(told, "relayed") > relayed {
            relayed = fields::count(told, "relayed");
            remark("! somebody stands between the two devices and hands on what they say; it was refused. Pair on a network you trust");
        }
    }
}

/// One wait, with the clock running; ctrl-C ends it.
async fn waiting(context: &Context, target: &str, body: &Value, clock: &Clock, stop: &mut Signal) -> Result<Value, Trouble> {
    let client = context.client();
    let within = context.globals.timeout.unwrap_or(client::JOINER_WITHIN);
    let mut answer = std::pin::pin!(client.post_within(target, body, within));
    loop {
        clock.show();
        tokio::select! {
            answer = answer.as_mut() => return answer.map_err(not_paired),
            _ = stop.recv() => {
                let closed = Trouble::new("interrupted", INTERRUPTED, "interrupted: the window is closed, nobody was let in");
                return Err(closed.fix("hubless pair"));
            }
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Waiting changes nothing, so nothing *may have been taken*: the window is closed when nobody waits.
fn not_paired(error: client::Error) -> Trouble {
    match error {
        client::Error::TimedOut => {
            Trouble::new("timed-out", 8, "nobody came in time; the window is closed").fix("hubless pair, with a longer --timeout")
        }
        client::Error::Down { cause } => Trouble::down(cause),
        other @ client::Error::Problem(_) => Trouble::from(other),
    }
}

/// The time that is left, on one line of a terminal that is drawn over.
struct Clock {
    until: Option<i64>,
}

impl Clock {
    fn show(&self) {
        if let Some(until) = self.until {
            let left = until.saturating_sub(crate::daemon::clock::wall_ms()).max(0) / 1_000;
            self.draw(&format!("\r{}:{:02} left ", left / 60, left % 60));
        }
    }

    fn wipe(&self) {
        if self.until.is_some() {
            self.draw("\r              \r");
        }
    }

    /// A terminal that is gone is no reason to stop.
    fn draw(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

fn join(context: &Context, key: &str, addr: Option<&str>) -> anyhow::Result<()> {
    let is_code = !key.trim().to_lowercase().starts_with("hubless");
    if is_code && !context.out.is_data() && !context.out.quiet && std::io::stderr().is_terminal() {
        remark("looking for the other device …");
    }
    let data = context.tell_far("/api/v3/pair", &json!({"ticket": key.trim(), "addr": addr}))?;
    let line = paired(&data["device"]);
    context.out.done(data, &line)
}

fn paired(device: &Value) -> String {
    let id = fields::text(device, "shortId").map(|id| format!(" ({id})")).unwrap_or_default();
    format!("✓ paired with {}{id}", fields::or_dash(device, "name"))
}

/// `hubless leave`: this device is alone in a new fleet and keeps what it has.
pub(crate) fn leave(context: &Context) -> anyhow::Result<()> {
    let data = context.tell("/api/v3/leave", &json!({}))?;
    context.out.done(data, "✓ left: this device is alone again and keeps what it has")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(form: Form) -> Out {
        Out { form, colour: false, quiet: false }
    }

    #[test]
    fn a_script_gets_the_ticket_alone_and_a_person_the_command() {
        let data = json!({"ticket": "hubless1-abc", "until": ages::exact(178_000)});
        assert_eq!(with_ticket(out(Form::Plain), &data, 0), "hubless1-abc");
        assert_eq!(with_ticket(out(Form::Table), &data, 0), "On the other device run, once, 2m left:\n\n  hubless pair hubless1-abc\n");
    }

    #[test]
    fn a_code_is_shown_as_a_command_with_what_helps_when_it_is_not_found() {
        let data = json!({"code": "318-4402-771", "tries": 3, "addresses": ["192.168.1.20:41733", "127.0.0.1:41733"]});
        assert_eq!(with_code(out(Form::Plain), &data), "318-4402-771");
        let expected = "On the other device run:\n\n  hubless pair 318-4402-771\n\none use, 3 attempts\n\
                        (not found there? add  --addr 192.168.1.20:41733)";
        assert_eq!(with_code(out(Form::Table), &data), expected);
        assert_eq!(paired(&json!({"name": "mac\u{1b}[2J", "shortId": "3F8T-9WQA"})), "✓ paired with mac\\u{1b}[2J (3F8T-9WQA)");
    }
}
