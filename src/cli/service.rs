//! `service`: hubless at login, kept alive by the system's own manager. What it writes can be seen before; what it takes out is the
//! service alone: data, keys and configuration stay, and it says where.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::begin;
use super::context::Context;
use super::hooks;
use super::output::{print, remark};
use super::problem::Trouble;
use crate::model::tool::TOOLS;
use crate::setup::{self, Manager, Service as Unit, Start, State};

/// How long a service may take to answer after its manager was told.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `hubless service`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Service {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  hubless service install --print     the file that would be written, and nothing else
  hubless service install             again after an upgrade: it starts the new program
  hubless service logs -f
  hubless service uninstall           data, keys and configuration stay where they are";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts it now and at every login
    Install {
        /// Show the file and write nothing
        #[arg(long)]
        print: bool,
    },
    /// Stops it, and starts it no more; data stays
    Uninstall,
    /// Whether it is installed, and how it is
    Status,
    /// What it said
    Logs {
        /// Go on as more is said
        #[arg(short, long)]
        follow: bool,
        /// So many lines of before
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        lines: u32,
    },
}

impl Service {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (unit, carried) = unit(context)?;
        match self.verb {
            Verb::Install { print: true } => print(&unit.text).map(|()| 0),
            Verb::Install { print: false } => {
                let (told, line) = install(context, &unit, &carried)?;
                context.out.done(told, &line).map(|()| 0)
            }
            Verb::Uninstall => uninstall(context, &unit).map(|()| 0),
            Verb::Status => status(context, &unit).map(|()| 0),
            Verb::Logs { follow, lines } => logs(context, &unit, lines, follow),
        }
    }
}

/// The service of this home, and the names of the variables that it takes along.
pub(crate) fn unit(context: &Context) -> anyhow::Result<(Unit, Vec<String>)> {
    let program = hooks::own_path()?;
    let env = carried();
    let home = env.iter().find(|(name, _)| name == "HUBLESS_HOME").map(|(_, value)| value.clone());
    let person = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let config = config.unwrap_or_else(|| person.join(".config"));
    if !person.is_absolute() {
        return Err(Trouble::new("no-home", 1, "HOME is not set, so there is no place for a service").into());
    }
    let said = context.config.home.logs_dir.join(begin::SAID);
    let start = Start { program: &program, env: &env, said: &said };
    let unit = Unit::of(Manager::here(), home.as_deref(), (&person, &config), &start).map_err(|error| trouble(&error))?;
    Ok((unit, env.into_iter().map(|(name, _)| name).collect()))
}

/// What is set here and would not be in a service: where our files are, and where the tools keep theirs.
fn carried() -> Vec<(String, String)> {
    let ours = ["HUBLESS_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"];
    let theirs = TOOLS.iter().flat_map(|tool| tool.variables).map(|(name, _)| *name);
    let mut names: Vec<&str> = ours.into_iter().chain(theirs).collect();
    names.sort_unstable();
    names.dedup();
    let absolute = |value: String| std::path::absolute(&value).map_or(value, |path| path.to_string_lossy().into_owned());
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(absolute);
    names.into_iter().filter_map(|name| Some((name.to_owned(), value(name)?))).collect()
}

fn trouble(error: &setup::Error) -> Trouble {
    let trouble = Trouble::new(error.code(), 1, error.to_string()).fix(error.fix());
    match error.cause() {
        Some(cause) => trouble.because(cause),
        None => trouble,
    }
}

/// Installs it and waits until it answers; what programs are told, and what people are.
pub(crate) fn install(context: &Context, unit: &Unit, carried: &[String]) -> anyhow::Result<(Value, String)> {
    let before = unit.state().map_err(|error| trouble(&error))?;
    // A daemon that somebody started by hand holds the data directory; the service would find it taken.
    let by_hand = begin::running_pid(context).filter(|pid| before.pid != Some(*pid));
    if by_hand.is_some() {
        begin::stop(context)?;
    }
    unit.install().map_err(|error| trouble(&error))?;
    for _ in 0..ANSWERS_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
        if context.ask_daemon("/healthz")?.is_some() {
            return Ok(installed(context, unit, carried, by_hand));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let trouble = Trouble::new("timed-out", 8, format!("{} was told to start it, and it does not answer yet", unit.manager.name()));
    Err(trouble.fix("hubless service logs").into())
}

fn installed(context: &Context, unit: &Unit, carried: &[String], by_hand: Option<u32>) -> (Value, String) {
    let state = unit.state().unwrap_or_default();
    let (file, page) = (unit.file.display().to_string(), begin::page_url(context));
    let told = json!({
        "state": "installed", "name": unit.name, "file": file, "url": page, "pid": state.pid, "lingers": state.lingers,
        "variables": carried, "stopped": by_hand,
    });
    let mut line = format!("✓ {}, started at login by {}\n  file  {file}", unit.name, unit.manager.name());
    if let Some(page) = page {
        line.push_str(&format!("\n  page  {page}"));
    }
    if !carried.is_empty() {
        line.push_str(&format!("\n  with  {}", carried.join(", ")));
    }
    if let Some(warning) = will_stop(&state) {
        line.push_str(&format!("\n  {warning}"));
    }
    (told, line)
}

/// Without lingering a user's services end with their last session.
fn will_stop(state: &State) -> Option<String> {
    (state.lingers == Some(false)).then(|| {
        let user = std::env::var("USER").unwrap_or_default();
        format!("! this user does not linger: the service stops at logout.  fix: loginctl enable-linger {user}").trim_end().to_owned()
    })
}

fn uninstall(context: &Context, unit: &Unit) -> anyhow::Result<()> {
    let was_there = unit.uninstall().map_err(|error| trouble(&error))?;
    let home = &context.config.home;
    let told = json!({"state": "uninstalled", "was": was_there, "name": unit.name, "file": unit.file, "data": home.data_dir, "config": home.config_file});
    let what = if was_there { "is taken out" } else { "was not installed" };
    let stays = format!("  data stays in      {}\n  configuration in   {}", home.data_dir.display(), home.config_file.display());
    context.out.done(told, &format!("✓ {} {what}\n{stays}\n\nHooks, if you installed them:  hubless hooks uninstall", unit.name))
}

fn status(context: &Context, unit: &Unit) -> anyhow::Result<()> {
    let state = unit.state().map_err(|error| trouble(&error))?;
    let told = json!({
        "installed": state.installed, "current": state.current, "enabled": state.enabled, "active": state.active, "pid": state.pid,
        "lingers": state.lingers, "manager": unit.manager.name(), "name": unit.name, "file": unit.file,
    });
    context.out.done(told, &drawn(unit, &state))
}

fn drawn(unit: &Unit, state: &State) -> String {
    if !state.installed {
        return "○ not installed\n\nNext:  hubless service install".to_owned();
    }
    let active = state.active.as_deref().unwrap_or("unknown: the manager does not answer");
    let sign = if active == "active" || active == "running" { "✓" } else { "✗" };
    let pid = state.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let mut text = format!("{sign} {}: {active}{pid}\n  file  {}", unit.name, unit.file.display());
    if state.enabled == Some(false) {
        text.push_str("\n  ! it is not started at login.  fix: hubless service install");
    }
    if !state.current {
        text.push_str("\n  ! the file is not what this program would write.  fix: hubless service install");
    }
    if let Some(warning) = will_stop(state) {
        text.push_str(&format!("\n  {warning}"));
    }
    text
}

/// Shows them by the program that has them; its exit code is ours.
fn logs(context: &Context, unit: &Unit, lines: u32, follow: bool) -> anyhow::Result<u8> {
    let log: &Path = &context.config.home.logs_dir.join(begin::SAID);
    let mut command = unit.logs(log, lines, follow);
    let ran = command.status().with_context(|| format!("{} cannot be run", command.get_program().display()));
    let code = ran?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    if code != 0 {
        remark("! nothing to show; a daemon that was started by hubless up --detach logs into a file: hubless doctor names it");
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_service_is_said_with_its_fix() {
        let start = Start { program: Path::new("/usr/bin/hubless"), env: &[], said: Path::new("/l/up.err") };
        let unit = Unit::of(Manager::Systemd, None, (Path::new("/h"), Path::new("/h/.config")), &start).expect("a service");
        assert!(drawn(&unit, &State::default()).contains("hubless service install"));
        let well =
            State { installed: true, current: true, enabled: Some(true), active: Some("active".into()), pid: Some(7), lingers: Some(true) };
        assert_eq!(drawn(&unit, &well), "✓ hubless.service: active (pid 7)\n  file  /h/.config/systemd/user/hubless.service");
        let ill = State { current: false, enabled: Some(false), active: None, pid: None, lingers: Some(false), ..well };
        let text = drawn(&unit, &ill);
        assert!(
            text.starts_with("✗") && text.contains("enable-linger") && text.matches("fix: hubless service install").count() == 2,
            "{text}"
        );
    }
}
