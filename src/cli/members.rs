//! Who is in the fleet, by a person's word: `devices revoke`, `devices rename`, and `rekey`.
//!
//! What cannot be taken back is asked for by name where there is somebody to ask, and by a flag where there is not.

use std::io::{BufRead, IsTerminal};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::context::{Context, percent};
use super::fields;
use super::output::remark;
use super::problem::{Trouble, of_daemon};
use super::progress;
use crate::daemon;

/// The exit code of what needs a person.
const NEEDS_A_PERSON: u8 = 6;

/// `hubless devices revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The device's name, or the beginning of its id
    name: String,
    /// Its sessions and agents are shown no more, on any device (its todos stay)
    #[arg(long)]
    forget_data: bool,
    /// Take its name as typed
    #[arg(short, long)]
    yes: bool,
}

impl Revoke {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let device = context.ask_quietly(&format!("/api/v3/devices/{}", percent(&self.name)))?["data"].clone();
        let name = fields::or_dash(&device, "name");
        let id = fields::text(&device, "device").unwrap_or_else(|| self.name.clone());
        if !self.yes && !fields::yes(&device, "thisDevice") {
            agreed(context, &name, &consequences(&device))?;
        }
        let body = json!({"forgetData": self.forget_data});
        // By its id: the name may be another's by now.
        let data = context.tell(&format!("/api/v3/devices/{}/revoke", percent(&id)), &body)?;
        let forgotten = if self.forget_data { "; its sessions and agents are shown no more" } else { "" };
        context.out.done(data, &format!("✓ {name} is out of the fleet, for ever{forgotten}\n  it keeps what it has; devices that have not heard of this yet still talk to it"))
    }
}

/// What comes of it, and what does not.
fn consequences(device: &Value) -> String {
    format!(
        "This shuts {} ({}) out of the fleet for ever.\n\
         \u{20} - every device that hears of it talks to it no more; one that has not heard yet still does\n\
         \u{20} - it keeps all that it has: nothing is taken back or erased there. If it was stolen, change the keys and\n\
         \u{20}   passwords that its transcripts show\n\
         \u{20} - its key never comes back; the machine can, as a new device: hubless rekey there, then pair",
        fields::or_dash(device, "name"),
        fields::or_dash(device, "shortId")
    )
}

/// Asks for the name; nobody there to ask is a no.
fn agreed(context: &Context, name: &str, consequences: &str) -> anyhow::Result<()> {
    if context.globals.no_input || !std::io::stdin().is_terminal() {
        let trouble =
            Trouble::new("needs-a-person", NEEDS_A_PERSON, format!("removing {name} cannot be taken back, and nobody is here to ask"));
        return Err(trouble.because("there is no terminal to type its name in").fix("do it again with --yes").into());
    }
    remark(&format!("{consequences}\nType the device's name to do it:"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("the answer cannot be read")?;
    if answer.trim() == name {
        return Ok(());
    }
    let trouble = Trouble::new("not-agreed", 1, "nothing was changed: that is not its name");
    Err(trouble.because(format!("the device is called {name}")).fix("hubless devices").into())
}

/// `hubless devices rename`.
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// The device's name now, or the beginning of its id
    name: String,
    /// What it is called from now on, on all devices
    new: String,
}

impl Rename {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let data = context.tell(&format!("/api/v3/devices/{}/rename", percent(&self.name)), &json!({"name": self.new}))?;
        let device = &data["device"];
        let line = format!("✓ {} is now called {}", fields::or_dash(device, "shortId"), fields::or_dash(device, "name"));
        context.out.done(data, &line)
    }
}

/// `hubless rekey`.
#[derive(Debug, Args)]
pub(crate) struct Rekey {
    /// Take the question as answered with yes
    #[arg(short, long)]
    yes: bool,
}

impl Rekey {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        if !self.yes {
            let name = &context.config.device_name.value;
            let what = "This device becomes a new one, with a new key, alone in a new fleet. It keeps all that it has; the old key is put\n\
                        away and of no more use. Do this where the old key was removed, or runs on a second machine.";
            agreed(context, name, what)?;
        }
        let (before, now) = progress::during(&context.globals, "opening what is kept", || daemon::rekey(&context.config))
            .map_err(|error| of_daemon(&error))?;
        let was = before.map(|before| before.short());
        let line = format!("✓ {} is {} now\n\nNext:  hubless up, then pair it again", was.as_deref().unwrap_or("this device"), now.short());
        context.out.done(json!({"was": was, "device": {"id": now, "shortId": now.short()}}), &line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_revoking_cannot_do_is_said_with_the_name_and_the_way_back() {
        let text = consequences(&json!({"name": "desk\u{1b}[2J", "shortId": "KQPW-HEDS"}));
        assert!(text.starts_with("This shuts desk\\u{1b}[2J (KQPW-HEDS) out of the fleet for ever.\n  - every device"), "{text}");
        for word in ["keeps all that it has", "has not heard yet", "hubless rekey"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
