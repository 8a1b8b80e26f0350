//! `pair` and `leave`: two devices become one fleet by a one-time ticket, and part again.

use clap::Args;
use serde_json::{Value, json};

use super::ages;
use super::context::Context;
use super::fields;
use super::output::{Form, Out};
use super::problem::Trouble;

/// `hubless pair`.
#[derive(Debug, Args)]
pub(crate) struct Pair {
    /// Joins the fleet that made this ticket
    #[arg(value_name = "TICKET", conflicts_with = "make")]
    ticket: Option<String>,
    /// Makes a one-time ticket for another device and returns at once
    #[arg(long = "ticket")]
    make: bool,
}

impl Pair {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match (self.ticket, self.make) {
            (Some(ticket), _) => join(context, &ticket),
            (None, true) => invite(context),
            (None, false) => Err(Trouble::usage("pairing by a short code does not exist yet")
                .fix("hubless pair --ticket here, then hubless pair TICKET on the other device")
                .into()),
        }
    }
}

/// The line with the ticket is alone on stdout, so that a script can take it as it is.
fn invite(context: &Context) -> anyhow::Result<()> {
    let data = context.tell("/api/v3/pair", &json!({}))?;
    let line = invited(context.out, &data, context.now_ms);
    let loud = Out { quiet: false, ..context.out };
    loud.done(data, &line)
}

fn invited(out: Out, data: &Value, now_ms: i64) -> String {
    let ticket = fields::or_dash(data, "ticket");
    if out.form != Form::Table {
        return ticket;
    }
    let left = fields::time(data, "until").map(|until| format!(", {} left", ages::span(until.saturating_sub(now_ms)))).unwrap_or_default();
    format!("On the other device run, once{left}:\n\n  hubless pair {ticket}\n")
}

fn join(context: &Context, ticket: &str) -> anyhow::Result<()> {
    let data = context.tell_far("/api/v3/pair", &json!({"ticket": ticket.trim()}))?;
    let device = &data["device"];
    let id = fields::text(device, "shortId").map(|id| format!(" ({id})")).unwrap_or_default();
    let line = format!("✓ paired with {}{id}", fields::or_dash(device, "name"));
    context.out.done(data, &line)
}

/// `hubless leave`: this device is alone in a new fleet and keeps what it has.
pub(crate) fn leave(context: &Context) -> anyhow::Result<()> {
    let data = context.tell("/api/v3/leave", &json!({}))?;
    context.out.done(data, "✓ left: this device is alone again and keeps what it has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gets_the_ticket_alone_and_a_person_the_command() {
        let data = json!({"ticket": "hubless1-abc", "until": ages::exact(178_000)});
        let out = |form| Out { form, colour: false, quiet: false };
        assert_eq!(invited(out(Form::Plain), &data, 0), "hubless1-abc");
        assert_eq!(invited(out(Form::Table), &data, 0), "On the other device run, once, 2m left:\n\n  hubless pair hubless1-abc\n");
    }
}
