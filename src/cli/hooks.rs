//! `hooks`: lets the tools report by themselves. What would change is shown before it is done, and what was there is kept beside.

use std::io::{BufRead, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::context::Context;
use super::output::{Form, Out, Tint, print, remark};
use super::problem::Trouble;
use super::{ages, fields};
use crate::model::text::Foreign;
use crate::setup::{self, Caller, Deed, Plan, Status, Tool, Version};

/// How long a tool may take to say its version.
const VERSION_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// `hubless hooks`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Hooks {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  hubless hooks install --dry-run     shows what would change
  hubless hooks install claude
  hubless hooks status";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Adds our entries to the settings of the tools, and nothing else
    Install(Change),
    /// Takes our entries out again, and nothing else
    Uninstall(Change),
    /// Whether they are there, and when one was last heard
    Status {
        /// Which tool
        #[arg(value_enum, default_value = "all")]
        tool: Which,
    },
}

#[derive(Debug, Args)]
struct Change {
    /// Which tool; all: every one that is found here
    #[arg(value_enum, default_value = "all")]
    tool: Which,
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the question as answered with yes
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Claude,
    Codex,
    Pi,
    All,
}

impl Which {
    /// The one that was named, or all that are found here, each with its directory.
    fn found(self, context: &Context) -> anyhow::Result<Vec<(Tool, PathBuf)>> {
        let one = match self {
            Which::Claude => Tool::Claude,
            Which::Codex => Tool::Codex,
            Which::Pi => Tool::Pi,
            Which::All => {
                let all = Tool::ALL.into_iter().map(|tool| Ok((tool, directory(tool, context)?))).collect::<anyhow::Result<Vec<_>>>()?;
                return Ok(all.into_iter().filter(|(_, dir)| dir.is_dir()).collect());
            }
        };
        Ok(vec![(one, directory(one, context)?)])
    }
}

/// Where a tool keeps its settings: where its files are, as the configuration knows.
fn directory(tool: Tool, context: &Context) -> anyhow::Result<PathBuf> {
    let name = match tool {
        Tool::Claude => "claude",
        Tool::Codex => "codex",
        Tool::Pi => "pi",
    };
    let dir = context.config.tools.iter().find(|known| known.tool.name == name).map(|known| &known.root.value);
    let dir = dir.ok_or_else(|| Trouble::new("no-home", 1, format!("nothing says where {} keeps its settings", tool.name())))?;
    std::path::absolute(dir).with_context(|| format!("{} is no path", dir.display()))
}

impl Hooks {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.verb {
            Verb::Install(change) => change.run(context, Deed::Install),
            Verb::Uninstall(change) => change.run(context, Deed::Uninstall),
            Verb::Status { tool } => status(context, tool),
        }
    }
}

fn trouble(error: &setup::Error) -> Trouble {
    Trouble::new(error.code(), 1, error.to_string()).fix(error.fix())
}

impl Change {
    fn run(self, context: &Context, deed: Deed) -> anyhow::Result<()> {
        let found = self.tool.found(context)?;
        if found.is_empty() {
            let what = Trouble::new("tool-not-found", 3, "no coding agent is found here");
            return Err(what.because("there is no directory of Claude Code, Codex or pi").fix("hubless hooks install claude").into());
        }
        // All of them are looked at before any is touched.
        let mut plans = Vec::new();
        for (tool, dir) in found {
            plans.push((tool, setup::plan(tool, &dir, &caller(tool, deed)?, deed).map_err(|error| trouble(&error))?));
        }
        let people = !context.out.is_data() && !context.out.quiet;
        if people {
            plans.iter().filter(|(_, plan)| plan.changes()).try_for_each(|(_, plan)| print(&shown(context.out, plan)))?;
        }
        let any = plans.iter().any(|(_, plan)| plan.changes());
        if any && people && !self.dry_run && !self.agreed(context)? {
            return Err(Trouble::new("not-agreed", 1, "nothing was changed").fix("do it again with --yes").into());
        }
        let stamp = stamp(context.now_ms);
        let mut rows = Vec::new();
        for (tool, plan) in &plans {
            let copy = if self.dry_run { None } else { plan.carry_out(&stamp).map_err(|error| trouble(&error))? };
            if people {
                print(&line(*tool, plan, deed, self.dry_run, copy.as_deref()))?;
                remarks(*tool, plan, deed).iter().for_each(|text| remark(text));
            }
            rows.push(told(*tool, plan, deed, self.dry_run, copy.as_deref()));
        }
        if people { Ok(()) } else { context.out.done(Value::Array(rows), "") }
    }

    /// Asks where there is somebody to ask. In a script the command itself is the word.
    fn agreed(&self, context: &Context) -> anyhow::Result<bool> {
        let nobody = context.globals.no_input || !std::io::stdin().is_terminal() || context.out.form != Form::Table;
        if self.yes || nobody {
            return Ok(true);
        }
        remark("write this? [Y/n]");
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).context("the answer cannot be read")?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
    }
}

/// What an installation would change in each tool that is found here; nothing is touched.
pub(crate) fn planned(context: &Context) -> anyhow::Result<Vec<(Tool, Result<Plan, Trouble>)>> {
    let found = Which::All.found(context)?.into_iter();
    found
        .map(|(tool, dir)| {
            let plan = setup::plan(tool, &dir, &caller(tool, Deed::Install)?, Deed::Install);
            Ok((tool, plan.map_err(|error| trouble(&error))))
        })
        .collect()
}

/// What would bring our entries up to date, where there are any. Entries that report to another home are that home's.
pub(crate) fn outdated(context: &Context) -> anyhow::Result<Vec<(Tool, Plan)>> {
    let mut plans = Vec::new();
    for (tool, dir) in Which::All.found(context)? {
        let caller = caller(tool, Deed::Install)?;
        let text = std::fs::read_to_string(setup::file(tool, &dir)).unwrap_or_default();
        let is_this_home = caller.home.as_ref().map_or(!text.contains("HUBLESS_HOME"), |home| text.contains(home.as_str()));
        let is_old = setup::status(tool, &dir, &caller).ok().flatten().is_some_and(|status| !status.current);
        if is_old && is_this_home {
            plans.push((tool, setup::plan(tool, &dir, &caller, Deed::Install).map_err(|error| trouble(&error))?));
        }
    }
    Ok(plans)
}

/// Puts one plan in place and says so: the row for programs, the lines for people.
pub(crate) fn put_in(context: &Context, tool: Tool, plan: &Plan) -> anyhow::Result<(Value, String, Vec<String>)> {
    let copy = plan.carry_out(&stamp(context.now_ms)).map_err(|error| trouble(&error))?;
    let line = line(tool, plan, Deed::Install, false, copy.as_deref());
    Ok((told(tool, plan, Deed::Install, false, copy.as_deref()), line.trim_end().to_owned(), remarks(tool, plan, Deed::Install)))
}

/// Who puts itself there: this program, by the path under which people find it, so that an upgrade does not lose it.
fn caller(tool: Tool, deed: Deed) -> anyhow::Result<Caller> {
    let home = std::env::var("HUBLESS_HOME").ok().filter(|home| !home.is_empty());
    let home = home.map(|home| std::path::absolute(&home).map_or(home, |home| home.to_string_lossy().into_owned()));
    let version = if tool == Tool::Claude && deed == Deed::Install { version_of("claude") } else { None };
    Ok(Caller { program: own_path()?, home, version })
}

/// This program's path, the one under which people find it. A program that was replaced while it runs is the one at its place now.
pub(crate) fn own_path() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program cannot be found out")?;
    let own = own.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map_or_else(|| own.clone(), PathBuf::from);
    let real = std::fs::canonicalize(&own).unwrap_or_else(|_| own.clone());
    let by_name = on_path("hubless").filter(|path| std::fs::canonicalize(path).is_ok_and(|path| path == real));
    Ok(by_name.unwrap_or(own))
}

/// The first program of that name on `PATH`, by a path from the root.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let is_program = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(is_program)
}

/// The version that a tool says it has, if it says so in time.
fn version_of(program: &str) -> Option<Version> {
    let mut command = Command::new(on_path(program)?);
    let mut child = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut waited = Duration::ZERO;
    while child.try_wait().ok()?.is_none() {
        if waited > VERSION_WITHIN {
            drop(child.kill());
            drop(child.wait());
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
    let said = child.wait_with_output().ok()?.stdout;
    Version::find(&String::from_utf8_lossy(&said))
}

/// `20260302T140211Z`, for the name of a copy.
fn stamp(now_ms: i64) -> String {
    let exact = ages::exact(now_ms);
    let digits: String = exact.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    format!("{}Z", digits.trim_end_matches('Z'))
}

/// What changes in one file, as `diff -u` shows it.
pub(crate) fn shown(out: Out, plan: &Plan) -> String {
    let file = plain(&plan.file.display().to_string());
    let mut text = format!("--- {file}\n+++ {file}\n");
    for line in plan.diff() {
        let tint = match line.as_bytes().first() {
            Some(b'-') => Tint::Bad,
            Some(b'@') => Tint::Dim,
            Some(_) | None => Tint::Plain,
        };
        text.push_str(&out.tint(tint, &plain(&line.replace('\t', "    "))));
        text.push('\n');
    }
    text
}

fn plain(text: &str) -> String {
    Foreign::new(text).plain()
}

fn line(tool: Tool, plan: &Plan, deed: Deed, dry: bool, copy: Option<&Path>) -> String {
    let file = plain(&plan.file.display().to_string());
    let what = match (plan.changes(), dry, deed) {
        (false, _, Deed::Install) => "is as it should be",
        (false, _, Deed::Uninstall) => "has nothing of ours",
        (true, true, _) => "would be changed; nothing was written",
        (true, false, Deed::Install) => "has our entries",
        (true, false, Deed::Uninstall) => "has our entries no more",
    };
    let copy = copy.map(|copy| format!("; as it was: {}", plain(&copy.display().to_string()))).unwrap_or_default();
    format!("{} {}: {file} {what}{copy}\n", if dry && plan.changes() { "·" } else { "✓" }, tool.word())
}

/// What a person has to know beside.
fn remarks(tool: Tool, plan: &Plan, deed: Deed) -> Vec<String> {
    let mut out = Vec::new();
    if deed == Deed::Uninstall {
        return out;
    }
    if tool == Tool::Codex && plan.changes() {
        out.push("! Codex runs a new or changed hook only after you trusted it once: /hooks in codex".to_owned());
    }
    if plan.switched_off {
        out.push(format!("! {} switches all hooks off (disableAllHooks)", plain(&plan.file.display().to_string())));
    }
    if !plan.left_out.is_empty() {
        let events = plan.left_out.join(", ");
        out.push(match plan.version {
            Some(version) => format!("! Claude Code {version} does not know {events} yet; once it is newer:  hubless hooks install"),
            None => format!("! left out, because `claude --version` says nothing here, and not every version knows it: {events}"),
        });
    }
    out
}

fn told(tool: Tool, plan: &Plan, deed: Deed, dry: bool, copy: Option<&Path>) -> Value {
    json!({
        "tool": tool.word(), "file": plan.file, "changed": plan.changes() && !dry, "wouldChange": plan.changes(), "backup": copy,
        "diff": plan.diff(), "leftOut": plan.left_out, "remarks": remarks(tool, plan, deed),
    })
}

fn status(context: &Context, which: Which) -> anyhow::Result<()> {
    let wanted: Vec<Tool> = match which {
        Which::All => Tool::ALL.to_vec(),
        Which::Claude | Which::Codex | Which::Pi => which.found(context)?.into_iter().map(|(tool, _)| tool).collect(),
    };
    let rows = rows(context, &wanted)?;
    let envelope = json!({
        "schema": 1, "asOf": ages::exact(context.now_ms), "source": "disk", "total": rows.len(), "truncated": false, "next": null,
        "warnings": [], "data": rows,
    });
    context.out.show(&envelope, |out| table(out, fields::rows(&envelope), context.now_ms))
}

/// What is not as it should be with the hooks that are installed: the tool, what, and what mends it.
pub(crate) fn complaints(context: &Context) -> Vec<(&'static str, String, String)> {
    let rows = rows(context, &Tool::ALL).unwrap_or_default();
    let complaint = |(tool, row): (Tool, &Value)| {
        let is_ours = fields::yes(row, "installed") || !row["problem"].is_null();
        let (tint, _, words) = verdict(row, context.now_ms);
        (is_ours && tint != Tint::Plain).then(|| (tool.word(), words, format!("hubless hooks status {}", tool.word())))
    };
    Tool::ALL.into_iter().zip(&rows).filter_map(complaint).collect()
}

fn rows(context: &Context, tools: &[Tool]) -> anyhow::Result<Vec<Value>> {
    let heard = context.ask_quietly("/api/v3/agents?limit=0").ok();
    let mut rows = Vec::new();
    for tool in tools.iter().copied() {
        let dir = directory(tool, context)?;
        let installed = dir.is_dir();
        // Its version matters, and is asked, only where there is something of ours.
        let there = setup::status(tool, &dir, &caller(tool, Deed::Uninstall)?);
        let status = if matches!(there, Ok(Some(_))) { setup::status(tool, &dir, &caller(tool, Deed::Install)?) } else { there };
        // What is wrong with one says nothing of the others.
        let problem = status.as_ref().err().map(|error| trouble(error).problem.to_json());
        let mut row = row(tool, &dir, installed, status.ok().flatten(), heard.as_ref().and_then(|heard| last_heard(heard, tool)));
        row["problem"] = json!(problem);
        rows.push(row);
    }
    Ok(rows)
}

/// When a hook of this tool on this device was last heard, milliseconds since 1970.
fn last_heard(agents: &Value, tool: Tool) -> Option<i64> {
    let sessions = fields::rows(agents).iter().flat_map(|agent| fields::list(agent, "sessions"));
    let ours = sessions.filter(|row| row["device"] == agents["deviceId"] && row["tool"] == tool.word() && row["source"] == "hook");
    ours.filter_map(|row| fields::time(row, "lastBeat")).max()
}

fn row(tool: Tool, dir: &Path, is_here: bool, status: Option<Status>, heard: Option<i64>) -> Value {
    let installed = status.is_some();
    json!({
        "tool": tool.word(), "found": is_here, "installed": installed,
        // Only Codex has to be asked; a hook that was heard was trusted.
        "trusted": (tool == Tool::Codex && installed).then_some(heard.is_some()),
        "lastFired": heard.map(ages::exact), "file": setup::file(tool, dir),
        "events": status.as_ref().map(|status| status.events.clone()).unwrap_or_default(),
        "current": status.as_ref().map(|status| status.current),
        "switchedOff": status.as_ref().is_some_and(|status| status.switched_off),
    })
}

fn table(out: Out, rows: &[Value], now_ms: i64) -> String {
    let line = |row: &Value| {
        let (tint, symbol, words) = verdict(row, now_ms);
        (tint, vec![fields::or_dash(row, "tool"), symbol.to_owned(), words, fields::or_dash(row, "file")])
    };
    out.rows(&["tool", "", "hooks", "file"], rows.iter().map(line).collect())
}

fn verdict(row: &Value, now_ms: i64) -> (Tint, &'static str, String) {
    if let Some(what) = row.get("problem").and_then(|problem| fields::text(problem, "detail")) {
        return (Tint::Bad, "✗", what);
    }
    if !fields::yes(row, "installed") {
        let words = if fields::yes(row, "found") { "not installed" } else { "not found here" };
        return (Tint::Dim, "-", words.to_owned());
    }
    if fields::yes(row, "switchedOff") {
        return (Tint::Warn, "✗", "installed, but all hooks are switched off".to_owned());
    }
    if row["trusted"] == json!(false) {
        return (Tint::Warn, "✗", "installed, not trusted: /hooks in codex".to_owned());
    }
    let events = fields::list(row, "events").len();
    let fired = ages::ago(now_ms, fields::time(row, "lastFired"));
    if row["current"] == json!(false) {
        return (Tint::Warn, "!", format!("{events} events, not up to date: hubless hooks install; last fired {fired}"));
    }
    (Tint::Plain, "✓", format!("{events} events, last fired {fired}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_named_after_the_moment() {
        assert_eq!(stamp(1_772_460_131_000), "20260302T140211Z");
    }

    #[test]
    fn the_state_is_said_with_what_to_do() {
        let row = |more: Value| {
            let mut row = json!({"tool": "codex", "found": true, "installed": true, "trusted": null, "lastFired": null, "file": "/f",
                "events": ["a", "b"], "current": true, "switchedOff": false});
            for (key, value) in more.as_object().expect("an object") {
                row[key] = value.clone();
            }
            verdict(&row, 1_772_460_131_000)
        };
        assert_eq!(row(json!({"lastFired": "2026-03-02T14:02:08Z"})), (Tint::Plain, "✓", "2 events, last fired 3s ago".to_owned()));
        assert_eq!(row(json!({"trusted": false})).1, "✗");
        assert_eq!(row(json!({"switchedOff": true})).1, "✗");
        assert_eq!(row(json!({"current": false})).1, "!");
        assert_eq!(row(json!({"installed": false})).2, "not installed");
        assert_eq!(row(json!({"installed": false, "found": false})).2, "not found here");
    }

    #[test]
    fn only_this_devices_hooks_of_the_tool_count() {
        let session =
            |device: &str, tool: &str, source: &str, at: &str| json!({"device": device, "tool": tool, "source": source, "lastBeat": at});
        let agents = json!({"deviceId": "d1", "data": [{"sessions": [
            session("d1", "codex", "hook", "2026-03-02T14:02:08Z"), session("d1", "codex", "hook", "2026-03-02T14:02:09Z"),
            session("d1", "codex", "cli", "2026-03-02T15:00:00Z"), session("d2", "codex", "hook", "2026-03-02T15:00:00Z"),
            session("d1", "claude", "hook", "2026-03-02T15:00:00Z")]}]});
        assert_eq!(last_heard(&agents, Tool::Codex).map(ages::exact), Some("2026-03-02T14:02:09.000Z".to_owned()));
        assert_eq!(last_heard(&agents, Tool::Pi), None);
    }
}
