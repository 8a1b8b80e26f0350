//! `init`: the first step on a device, as a conversation. Identity, what other devices will be told, service, hooks.
//!
//! Every question has a flag. Where nobody can be asked (a pipe, `--no-input`, `--json`) the identity is made and nothing else but what
//! a flag says, and what was left out is said with its command. A second run says what is there already and changes nothing of it;
//! what fails in one part keeps no other part from being done.

use std::io::{BufRead, IsTerminal};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::output::{Form, Tint, print, remark};
use super::problem::{Trouble, of_daemon};
use super::{hooks, progress, service};
use crate::config::{Config, Source, Wanted, edit};
use crate::daemon;
use crate::model::text::Foreign;
use crate::setup::Manager;

/// `hubless init`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Init {
    /// This device's label on all devices
    #[arg(long)]
    name: Option<String>,
    /// Take every question as answered with yes
    #[arg(short, long)]
    yes: bool,
    /// Leave out the start at login
    #[arg(long)]
    no_service: bool,
    /// Leave the tools' settings alone
    #[arg(long)]
    no_hooks: bool,
}

const EXAMPLES: &str = "\
Examples:
  hubless init                                 asks; Enter takes what stands in brackets
  hubless init --yes                           everything, asking nothing
  hubless init --name attic --yes --no-service
  hubless init --no-input                      the identity alone";

/// What a person should know before anything is told to another device.
const TOLD: &str = "
  What the devices that you pair will be told of this one:
    sessions  tool, project, directory, branch, title, times, counts
              (where the tool gave no title: the first line of the first prompt)
    todos     their text, state and history
    beats     agent, task, file, note
  What stays here: all other text of transcripts, your tools' settings, keys,
  and every project, directory or agent in sync.exclude.
  ! titles, todos and beats may hold secrets, and whoever can read a paired
    device can read them. To keep a project here, before you pair:
    hubless config set sync.exclude 'github.com/acme/*' '~/private'
";

/// How one part of it ended.
struct Part {
    told: Value,
    /// What does it later, where it was left out.
    left_out: Option<&'static str>,
    failed: bool,
}

impl Part {
    fn done(told: Value) -> Part {
        Part { told, left_out: None, failed: false }
    }

    fn left_out(how: &'static str) -> Part {
        Part { told: json!({"state": "left-out", "fix": how}), left_out: Some(how), failed: false }
    }
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Yes,
    No,
}

impl Init {
    /// Returns the exit code: 1 when a part of it failed.
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<u8> {
        let is_new = !context.config.home.data_dir.join("keys/device").exists();
        if let Some(name) = self.named(&context, is_new)? {
            write_name(&context, &name)?;
            context = Context::new(context.globals)?;
        }
        let device = progress::during(&context.globals, "opening what is kept", || daemon::init(&context.config))
            .map_err(|error| of_daemon(&error))?;
        let name = context.config.device_name.value.clone();
        let there = if is_new { "" } else { ", there already" };
        say(&context, &format!("✓ identity   {} · {}{there}", plain(&name), device.short()))?;
        say(&context, TOLD)?;
        let service = self.service(&context)?;
        let hooks = self.hooks(&context)?;
        let parts = [("service", &service), ("hooks", &hooks)];
        let left: Vec<(&str, &str)> = parts.iter().filter_map(|(name, part)| Some((*name, part.left_out?))).collect();
        let failed = parts.iter().any(|(_, part)| part.failed);
        if context.out.is_data() {
            let data = json!({
                "device": {"id": device, "shortId": device.short(), "name": name}, "data": context.config.home.data_dir, "made": is_new,
                "service": service.told, "hooks": hooks.told, "leftOut": left.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            });
            context.out.done(data, "")?;
        } else {
            for (part, how) in &left {
                say(&context, &format!("- {part:<10} left out; later:  {how}"))?;
            }
            let runs = context.ask_daemon("/healthz").ok().flatten().is_some();
            say(
                &context,
                if runs {
                    "\nNext:  hubless pair      here, then   hubless pair CODE   on the other machine"
                } else {
                    "\nNext:  hubless up --detach"
                },
            )?;
        }
        Ok(u8::from(failed))
    }

    /// The name that was given or said; `None` leaves it as it is.
    fn named(&self, context: &Context, is_new: bool) -> anyhow::Result<Option<String>> {
        let set = &context.config.device_name;
        if self.name.is_some() || !is_new || set.source > Source::Default || !self.asks(context) {
            return Ok(self.name.clone());
        }
        let said = ask(&format!("? this device's name on all devices  [{}] ", plain(&set.value)))?;
        Ok((!said.is_empty()).then_some(said))
    }

    /// Whether there is somebody to ask, and something to be asked.
    fn asks(&self, context: &Context) -> bool {
        let hears = context.out.form == Form::Table && !context.out.quiet && std::io::stdin().is_terminal();
        hears && !self.yes && !context.globals.no_input
    }

    fn word(&self, context: &Context, question: &str) -> anyhow::Result<Word> {
        if self.yes {
            return Ok(Word::Yes);
        }
        if !self.asks(context) {
            return Ok(Word::No);
        }
        let said = ask(&format!("? {question}  [Y/n] "))?.to_lowercase();
        Ok(if matches!(said.as_str(), "" | "y" | "yes") { Word::Yes } else { Word::No })
    }

    fn service(&self, context: &Context) -> anyhow::Result<Part> {
        const LATER: &str = "hubless service install";
        if self.no_service || !(self.yes || self.asks(context)) {
            return Ok(Part::left_out(LATER));
        }
        match self.serve(context, LATER) {
            Ok(part) => Ok(part),
            Err(error) => failed(context, "service", &error),
        }
    }

    fn serve(&self, context: &Context, later: &'static str) -> anyhow::Result<Part> {
        let (unit, carried) = service::unit(context)?;
        let state = unit.state().map_err(|error| Trouble::new(error.code(), 1, error.to_string()).fix(error.fix()))?;
        let manager = match unit.manager {
            Manager::Systemd => "systemd user unit",
            Manager::Launchd => "launchd agent",
        };
        if !unit.is_managed() {
            let what = format!("{} does not answer here (a container, or a shell without a session)", unit.manager.name());
            say(context, &format!("! service    {what}; without it:  hubless up --detach, from whatever starts your programs"))?;
            return Ok(Part::done(json!({"state": "no-manager", "detail": what, "fix": "hubless up --detach"})));
        }
        let is_up = matches!(state.active.as_deref(), Some("active" | "activating" | "running"));
        if state.installed && state.current && state.enabled != Some(false) && is_up {
            say(context, &format!("✓ service    {}, there already", unit.name))?;
            return Ok(Part::done(json!({"state": "there", "name": unit.name, "file": unit.file, "pid": state.pid})));
        }
        if self.word(context, &format!("start hubless at login ({manager})"))? == Word::No {
            return Ok(Part::left_out(later));
        }
        let (told, line) = service::install(context, &unit, &carried)?;
        say(context, &line)?;
        Ok(Part::done(told))
    }

    fn hooks(&self, context: &Context) -> anyhow::Result<Part> {
        const LATER: &str = "hubless hooks install";
        if self.no_hooks || !(self.yes || self.asks(context)) {
            return Ok(Part::left_out(LATER));
        }
        let (mut plans, mut any_failed) = (Vec::new(), false);
        for (tool, plan) in hooks::planned(context)? {
            match plan {
                Ok(plan) => plans.push((tool, plan)),
                // What is wrong with one tool's file keeps no other from being asked for.
                Err(trouble) => any_failed |= failed(context, "hooks", &trouble.into())?.failed,
            }
        }
        let changing: Vec<_> = plans.iter().filter(|(_, plan)| plan.changes()).collect();
        if changing.is_empty() {
            let names: Vec<&str> = plans.iter().map(|(tool, _)| tool.name()).collect();
            let line = match (names.is_empty(), any_failed) {
                (true, true) => return Ok(Part { failed: true, ..Part::done(json!({"state": "failed"})) }),
                (true, false) => format!("- hooks      no Claude Code, Codex or pi is found here yet; later:  {LATER}"),
                (false, _) => format!("✓ hooks      of {}, there already", names.join(", ")),
            };
            say(context, &line)?;
            let state = if names.is_empty() { "no-tool" } else { "there" };
            return Ok(Part { failed: any_failed, ..Part::done(json!({"state": state})) });
        }
        for (_, plan) in &changing {
            say(context, hooks::shown(context.out, plan).trim_end())?;
        }
        let names: Vec<&str> = changing.iter().map(|(tool, _)| tool.name()).collect();
        let files = if changing.len() == 1 { "1 file".to_owned() } else { format!("{} files", changing.len()) };
        let themselves = if names.len() == 1 { "itself" } else { "themselves" };
        if self.word(context, &format!("let {} report by {themselves} ({files}, changed as shown)", names.join(", ")))? == Word::No {
            return Ok(Part { failed: any_failed, ..Part::left_out(LATER) });
        }
        let mut rows = Vec::new();
        for (tool, plan) in changing {
            match hooks::put_in(context, *tool, plan) {
                Ok((row, line, remarks)) => {
                    say(context, &line)?;
                    remarks.iter().try_for_each(|text| say(context, &format!("  {text}")))?;
                    rows.push(row);
                }
                Err(error) => any_failed |= failed(context, "hooks", &error)?.failed,
            }
        }
        Ok(Part { failed: any_failed, ..Part::done(Value::Array(rows)) })
    }
}

/// Says what one part ran into, and lets the others go on.
fn failed(context: &Context, part: &str, error: &anyhow::Error) -> anyhow::Result<Part> {
    if error.downcast_ref::<super::output::Closed>().is_some() {
        return Err(Trouble::new("failed", 1, "nobody reads the answer").into());
    }
    let (what, fix) = match error.downcast_ref::<Trouble>() {
        Some(trouble) => (trouble.problem.detail.clone(), trouble.problem.fix.clone()),
        None => (format!("{error:#}"), None),
    };
    let fixed = fix.as_ref().map(|fix| format!("  fix: {}", plain(fix))).unwrap_or_default();
    say(context, &context.out.tint(Tint::Bad, &format!("✗ {part:<10} {}{fixed}", plain(&what))))?;
    Ok(Part { failed: true, ..Part::done(json!({"state": "failed", "detail": what, "fix": fix})) })
}

/// To people alone; programs get one envelope at the end.
fn say(context: &Context, line: &str) -> anyhow::Result<()> {
    if context.out.is_data() || context.out.quiet { Ok(()) } else { print(&format!("{line}\n")) }
}

/// Asks on the terminal. A terminal that is closed has said no more than Enter.
fn ask(question: &str) -> anyhow::Result<String> {
    print(question)?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer).context("the answer cannot be read")?;
    if read == 0 {
        remark("");
        return Err(Trouble::new("not-agreed", 1, "the answers ended").fix("hubless init again; what was done is there already").into());
    }
    Ok(answer.trim().to_owned())
}

fn plain(text: &str) -> String {
    Foreign::new(text).plain()
}

/// Sets `device.name`: one line of the file, and nothing else of it moves.
fn write_name(context: &Context, name: &str) -> anyhow::Result<()> {
    let (file, set) = (&context.config.home.config_file, &context.config.device_name);
    if set.source >= Source::File && set.value == name {
        return Ok(());
    }
    let changed = |error: crate::config::Error| super::context::bad_config(&error);
    let key = Wanted::find("device.name").map_err(changed)?;
    let text = if file.exists() {
        std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
    } else {
        String::new()
    };
    let text = edit::edited(file, &text, &key, Some(name)).map_err(changed)?;
    edit::replace(file, &text).map_err(changed)?;
    let (now, _) = Config::load(&super::context::environment(), &std::collections::BTreeMap::new()).map_err(changed)?;
    if now.device_name.value != name {
        remark(&format!("! HUBLESS_DEVICE_NAME says “{}”, and counts before the file", plain(&now.device_name.value)));
    }
    Ok(())
}
