//! `doctor`: one line for each check, with its fix. What only may be so (a laptop that is shut, a tool that is not there) is a
//! remark; what is wrong ends with exit code 7.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::begin::holder;
use super::context::Context;
use super::fields;
use super::output::{Form, Out, Tint, counted};
use super::problem::{CHECK_SAYS_NO, of_daemon};
use super::{ages, bundle, devices, doctor_network, hooks, mend, progress};
use crate::daemon::offline;
use crate::model::text::Foreign;

/// Everything is listed every 15 minutes; when that did not come twice, it hangs.
const RESCAN_SILENT_MS: i64 = 2 * 15 * 60 * 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Fine,
    Remark,
    Wrong,
}

/// What one look found.
#[derive(Debug)]
struct Check {
    name: &'static str,
    severity: Severity,
    what: String,
    fix: Option<String>,
    /// What a program wants to know of it beside, by name.
    data: Option<(&'static str, Value)>,
}

impl Check {
    fn fine(name: &'static str, what: impl Into<String>) -> Check {
        Check { name, severity: Severity::Fine, what: what.into(), fix: None, data: None }
    }

    fn remark(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { severity: Severity::Remark, fix: Some(fix.into()), ..Check::fine(name, what) }
    }

    fn wrong(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { severity: Severity::Wrong, fix: Some(fix.into()), ..Check::fine(name, what) }
    }
}

/// `hubless doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Mend what can be mended without harm first, and say each thing; documents, keys and foreign files are never touched
    #[arg(long)]
    fix: bool,
    /// Write what a report of a bug needs into this new file (.tar.gz), with names, paths and texts replaced
    #[arg(long, value_name = "FILE", conflicts_with = "fix")]
    bundle: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  hubless doctor
  hubless doctor --fix
  hubless doctor --bundle report.tar.gz     says what is in it; look before you send it";

impl Doctor {
    /// Returns the exit code.
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<u8> {
        if let Some(file) = &self.bundle {
            return bundle::write(context, file).map(|()| 0);
        }
        let mended = if self.fix { Some(mend::mend(context)?) } else { None };
        let (checks, mut envelope) = examined(context)?;
        if let Some(mended) = mended {
            envelope["mended"] = Value::Array(mended);
        }
        context.out.show(&envelope, |out| checks.iter().map(|check| line(out, check)).collect())?;
        Ok(if checks.iter().all(|check| check.severity != Severity::Wrong) { 0 } else { CHECK_SAYS_NO })
    }
}

/// What `doctor --json` answers.
pub(crate) fn envelope(context: &Context) -> anyhow::Result<Value> {
    examined(context).map(|(_, envelope)| envelope)
}

fn examined(context: &Context) -> anyhow::Result<(Vec<Check>, Value)> {
    let overview = context.ask_daemon("/api/v3/overview")?;
    let home = &context.config.home;
    let mut checks = vec![daemon(context, overview.as_ref())];
    if overview.is_some() {
        checks.push(mode("socket.mode", &home.run_dir, 0o700, &[home.socket()]));
    }
    if home.data_dir.exists() {
        let keys = home.data_dir.join("keys");
        let files: Vec<_> = std::fs::read_dir(&keys).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        checks.push(mode("data.mode", &home.data_dir, 0o700, &[]));
        checks.push(mode("keys.mode", &keys, 0o700, &files));
        checks.push(documents(context));
        checks.push(quarantine(&home.data_dir.join("quarantine")));
    } else {
        checks.push(Check::remark("data.there", format!("{} does not exist yet", home.data_dir.display()), "hubless up"));
    }
    if let Some(overview) = &overview {
        checks.extend(said_by_daemon(&overview["data"], context.now_ms));
    }
    checks.extend(agents(context));
    let hooks = hooks::complaints(context).into_iter();
    checks.extend(hooks.map(|(tool, what, fix)| Check::remark("hooks", format!("hooks of {tool}: {what}"), fix)));
    let envelope = json!({
        "schema": 1, "asOf": ages::exact(context.now_ms), "source": if overview.is_some() { "daemon" } else { "disk" },
        "total": checks.len(), "truncated": false, "next": null, "warnings": [],
        "data": checks.iter().map(told).collect::<Vec<_>>(),
    });
    Ok((checks, envelope))
}

fn daemon(context: &Context, overview: Option<&Value>) -> Check {
    let home = &context.config.home;
    match (overview, holder(&home.data_dir)) {
        (Some(_), Some(pid)) => Check::fine("daemon.answers", format!("daemon {} pid {pid}", env!("CARGO_PKG_VERSION"))),
        (Some(_), None) => {
            Check::wrong("daemon.answers", "something answers on the socket and holds no data directory", "hubless down; hubless up")
        }
        (None, Some(pid)) => {
            let what = format!("the daemon (pid {pid}) runs and does not answer on {}", home.socket().display());
            Check::wrong("daemon.answers", what, format!("hubless down; hubless up; its log: {}", context.log_file().display()))
        }
        (None, None) => Check::wrong("daemon.answers", "the daemon is not running", "hubless up"),
    }
}

/// A directory of `wanted`, and files in it that only their owner may read.
fn mode(name: &'static str, dir: &Path, wanted: u32, files: &[std::path::PathBuf]) -> Check {
    let ours = rustix::process::getuid().as_raw();
    for (path, wanted) in std::iter::once((dir, wanted)).chain(files.iter().map(|file| (file.as_path(), 0o600))) {
        let Ok(meta) = std::fs::metadata(path) else {
            return Check::remark(name, format!("{} is not there", path.display()), "hubless up makes it");
        };
        let mode = meta.permissions().mode() & 0o777;
        if meta.uid() != ours {
            return Check::wrong(
                name,
                format!("{} belongs to user {}", path.display(), meta.uid()),
                format!("chown {ours} {}", path.display()),
            );
        }
        if mode & !wanted != 0 {
            return Check::wrong(name, format!("{} has mode {mode:04o}", path.display()), format!("chmod {wanted:o} {}", path.display()));
        }
    }
    Check::fine(name, format!("{} {wanted:04o}, yours", dir.display()))
}

/// Opens everything as a start would, without touching it: format, every document.
fn documents(context: &Context) -> Check {
    match progress::during(&context.globals, "opening every document", || offline::open(&context.config)) {
        Ok(kept) => {
            let (sessions, todos) = (kept.view.sessions.len() as u64, kept.view.todos.len() as u64);
            Check::fine("documents.load", format!("documents open, {}, {}", counted(sessions, "session"), counted(todos, "todo")))
        }
        Err(error) => {
            let trouble = of_daemon(&error).problem;
            Check::wrong(
                "documents.load",
                trouble.detail.clone(),
                trouble.fix.clone().unwrap_or_else(|| "keep a copy of the data directory and ask".to_owned()),
            )
        }
    }
}

fn quarantine(dir: &Path) -> Check {
    let count = files_below(dir);
    if count == 0 {
        return Check::fine("quarantine.empty", "nothing was set aside");
    }
    let what = format!(
        "{} set aside in {}",
        if count == 1 { "1 damaged file was".to_owned() } else { format!("{count} damaged files were") },
        dir.display()
    );
    Check::wrong("quarantine.empty", what, "what was good in them was kept; look at the disk, then move them away")
}

fn files_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

/// What only a running daemon knows: sources, devices, its own warnings.
fn said_by_daemon(data: &Value, now_ms: i64) -> Vec<Check> {
    let mut out = sources(fields::list(data, "sources"), now_ms);
    out.extend(staying(&data["sessions"]));
    out.extend(fields::list(data, "ways").iter().map(|way| way_runs(way, now_ms)));
    out.extend(doctor_network::found(data).into_iter().map(|(name, what, fix)| match fix {
        Some(fix) => Check::remark(name, what, fix),
        None => Check::fine(name, what),
    }));
    let others = fields::list(data, "devices").iter().filter(|device| !fields::yes(device, "thisDevice"));
    out.extend(others.flat_map(|device| of_device(device, now_ms)));
    let problems = fields::list(data, "problems").iter();
    out.extend(problems.map(|problem| Check::wrong("daemon.warns", fields::or_dash(problem, "what"), fields::or_dash(problem, "fix"))));
    out
}

fn sources(sources: &[Value], now_ms: i64) -> Vec<Check> {
    let mut out = Vec::new();
    for source in sources {
        let what = devices::watched(source, now_ms);
        let (present, error) = (fields::yes(source, "present"), fields::text(source, "error"));
        out.push(match (present, error) {
            _ if fields::yes(source, "paused") => {
                Check::remark("sources.paused", what, format!("hubless sources resume {}", fields::or_dash(source, "source")))
            }
            (_, Some(_)) => Check::wrong("sources.read", what, "look at the directory's owner and mode"),
            (true, None) => Check::fine("sources.read", what),
            // A tool makes some of its directories late; one that has none of them is told of below, with the others.
            (false, None) if is_here(sources, source) => Check::fine("sources.read", format!("{what}; it may come")),
            (false, None) => continue,
        });
        let malformed = fields::count(source, "malformed");
        if malformed > 0 {
            let what = format!(
                "{} of {} could not be read as what they should be",
                counted(malformed, "element"),
                fields::or_dash(source, "source")
            );
            out.push(Check::remark("sources.malformed", what, "the rest is there; the tool may be of a newer version"));
        }
    }
    out.extend(absent(sources));
    out.extend(unknown_kinds(sources));
    out
}

/// Whether anything of that source's tool is there.
fn is_here(sources: &[Value], source: &Value) -> bool {
    let of = |source: &Value| (fields::text(source, "tool"), fields::text(source, "computer"));
    sources.iter().any(|other| of(other) == of(source) && fields::yes(other, "present"))
}

/// The tools of which nothing is there: most people use one or two.
fn absent(sources: &[Value]) -> Option<Check> {
    let tools = sources.iter().filter(|source| !is_here(sources, source)).filter_map(|source| fields::text(source, "tool"));
    let tools: Vec<String> = tools.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let what = format!("not found here: {}", tools.join(", "));
    let how = "hubless config set sources.TOOL.root DIR";
    match sources.iter().any(|source| fields::yes(source, "present")) {
        _ if tools.is_empty() => None,
        true => Some(Check::fine("sources.absent", format!("{what} (used all the same? {how})"))),
        false => Some(Check::remark("sources.absent", what, format!("nothing, if none is used here; else {how}"))),
    }
}

fn staying(sessions: &Value) -> Vec<Check> {
    let mut out = Vec::new();
    let staying = fields::count(sessions, "stayHere");
    if staying > 0 {
        out.push(Check::fine(
            "sync.exclude",
            format!(
                "{} on this device and not told to others",
                if staying == 1 { "1 session stays".to_owned() } else { format!("{staying} sessions stay") }
            ),
        ));
    }
    let unknown = fields::count(sessions, "stayUnknown");
    if unknown > 0 {
        out.push(Check::remark(
            "sync.exclude.unknown",
            format!("{} of them only because its project is not known: something is excluded, and it might be that", counted(unknown, "session")),
            "its directory or the session that it works for is gone or cannot be read: put it back, then hubless sources rescan; hubless sessions \
             list shows which stay",
        ));
    }
    out
}

fn of_device(device: &Value, now_ms: i64) -> Vec<Check> {
    let mut out = Vec::new();
    let name = fields::or_dash(device, "name");
    if fields::yes(device, "reachable") {
        out.push(Check::fine("device.reachable", format!("{name} is reachable")));
    } else {
        let why = fields::text(&device["lastError"], "why").map(|why| format!(" ({why})")).unwrap_or_default();
        let last = ages::ago(now_ms, fields::time(device, "lastContact"));
        out.push(Check::remark(
            "device.reachable",
            format!("{name} is not reachable, last contact {last}{why}"),
            "hubless devices ping it from there",
        ));
    }
    if let Some(what) = devices::dialled(device, now_ms) {
        out.push(Check::remark(
            "device.dials",
            what,
            "hubless up on it; a firewall that lets its port through; or name it in network.peers",
        ));
    }
    if let Some(why) = devices::rests(device, now_ms) {
        let fix =
            if why.starts_with("paused here") { format!("hubless sync resume {name}") } else { "nothing, if it is meant so".to_owned() };
        out.push(Check::remark("device.flow", format!("{name}: {why}"), fix));
    }
    if let Some(what) = devices::skipped(device) {
        out.push(Check::remark("device.version", what, "update hubless on this device"));
    }
    if let Some(skew) = devices::skew(device) {
        let what = format!("clock of {name} is {skew}");
        out.push(Check::remark("device.clock", what, "set its clock; ages on this device use arrival time"));
    }
    out
}

/// Kinds of records that this version does not know, tool by tool: the tool is newer, or its files are not what they seem.
fn unknown_kinds(sources: &[Value]) -> Vec<Check> {
    let mut tools: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for source in sources {
        let kinds = source["unknownKinds"].as_object().into_iter().flatten();
        for (kind, count) in kinds.filter_map(|(kind, count)| Some((kind, count.as_u64()?))) {
            *tools.entry(fields::or_dash(source, "tool")).or_default().entry(kind.clone()).or_default() += count;
        }
    }
    let check = |(tool, kinds): (String, BTreeMap<String, u64>)| {
        let named: Vec<String> = kinds.iter().map(|(kind, count)| format!("{} ({count})", Foreign::new(&**kind).plain())).collect();
        let what = format!(
            "{tool} writes {} that this version does not know: {}",
            counted(kinds.len() as u64, "kind of record").replace("kind of records", "kinds of records"),
            named.join(", ")
        );
        let fix = "nothing is lost: they are counted, and the rest is read; perhaps update hubless";
        Check { data: Some(("unknownKinds", json!({"tool": tool, "kinds": kinds}))), ..Check::remark("sources.kinds", what, fix) }
    };
    tools.into_iter().map(check).collect()
}

/// What is wrong in `agents.toml`, line by line.
fn agents(context: &Context) -> Vec<Check> {
    let agents = &context.config.agents;
    let wrong = agents
        .complaints
        .iter()
        .map(|complaint| Check::remark("agents.file", complaint.to_string(), "mend it, then hubless down; hubless up"));
    let names: std::collections::BTreeSet<String> = agents.names.values().map(|named| named.name.plain()).collect();
    let read = agents
        .present
        .then(|| Check::fine("agents.file", format!("{} names {}", agents.file.display(), counted(names.len() as u64, "agent"))));
    read.into_iter().chain(wrong).collect()
}

/// Whether one of the ways by which the tools are followed still runs. Any two may fail and everything is still seen, only later.
fn way_runs(way: &Value, now_ms: i64) -> Check {
    let (name, last) = (fields::or_dash(way, "way"), fields::time(way, "lastRun"));
    let ran = last.map_or_else(|| "not since the start".to_owned(), |at| ages::ago(now_ms, Some(at)));
    let silent = last.is_some_and(|at| now_ms.saturating_sub(at) > RESCAN_SILENT_MS);
    let failed = fields::text(&way["lastError"], "why");
    let since = fields::time(&way["lastError"], "at");
    match failed {
        Some(why) => {
            let what = format!("{name} last ran: {ran}; last error, {}: {why}", ages::ago(now_ms, since));
            Check::remark("sources.ways", what, "nothing is lost: the other ways see it later; look at the error")
        }
        None if name == "rescan" && silent => {
            Check::wrong("sources.ways", format!("{name} last ran: {ran}"), "hubless sources rescan; else hubless down; hubless up")
        }
        None if name == "rescan" && last.is_none() => {
            Check::remark("sources.ways", format!("{name} last ran: {ran}"), "hubless sources, in a moment again")
        }
        None => Check::fine("sources.ways", format!("{name} last ran: {ran}")),
    }
}

fn told(check: &Check) -> Value {
    let severity = match check.severity {
        Severity::Fine => "ok",
        Severity::Remark => "warning",
        Severity::Wrong => "error",
    };
    let mut told = json!({"check": check.name, "ok": check.severity != Severity::Wrong, "severity": severity, "detail": check.what, "fix": check.fix, "autoFix": false});
    if let Some((name, data)) = &check.data {
        told[*name] = data.clone();
    }
    told
}

fn line(out: Out, check: &Check) -> String {
    let (symbol, tint) = match check.severity {
        Severity::Fine => ("✓", Tint::Plain),
        Severity::Remark => ("!", Tint::Warn),
        Severity::Wrong => ("✗", Tint::Bad),
    };
    let fix =
        check.fix.as_ref().map(|fix| format!("{}fix: {fix}", if out.form == Form::Table { "      " } else { "  " })).unwrap_or_default();
    format!("{}{fix}\n", out.tint(tint, &format!("{symbol} {}", check.what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Out = Out { form: Form::Plain, colour: false, quiet: false };

    #[test]
    fn tools_that_are_not_here_take_one_line() {
        let source =
            |name: &str, tool: &str, present: bool| json!({"source": name, "tool": tool, "present": present, "base": "/x", "malformed": 0});
        let lines = |sources: &[Value]| super::sources(sources, 0).iter().map(|check| line(OUT, check)).collect::<String>();
        let none = [source("claude-todos", "claude", false), source("claude-tasks", "claude", false), source("pi-sessions", "pi", false)];
        let expected = "! not found here: claude, pi  fix: nothing, if none is used here; else hubless config set sources.TOOL.root DIR\n";
        assert_eq!(lines(&none), expected);
        let one = [source("claude-todos", "claude", true), none[1].clone(), none[2].clone()];
        let said = lines(&one);
        assert!(said.contains("✓ claude-tasks off (no /x); it may come\n"), "{said}");
        assert!(said.ends_with("✓ not found here: pi (used all the same? hubless config set sources.TOOL.root DIR)\n"), "{said}");
        assert!(!said.contains('!') && said.lines().count() == 3, "{said}");
    }

    #[test]
    fn a_mode_that_lets_others_in_is_wrong_and_comes_with_its_fix() {
        let dir = tempfile::tempdir().expect("dir");
        let (path, file) = (dir.path().join("data"), dir.path().join("data/key"));
        std::fs::create_dir(&path).expect("made");
        std::fs::write(&file, "x").expect("written");
        let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
        set(&path, 0o700);
        set(&file, 0o600);
        assert_eq!(mode("x", &path, 0o700, std::slice::from_ref(&file)).severity, Severity::Fine);
        set(&file, 0o640);
        let check = mode("x", &path, 0o700, &[file]);
        assert_eq!(check.severity, Severity::Wrong);
        assert!(line(OUT, &check).contains("fix: chmod 600 "), "{}", line(OUT, &check));
        set(&path, 0o755);
        assert!(mode("x", &path, 0o700, &[]).fix.is_some_and(|fix| fix.starts_with("chmod 700")));
        assert_eq!(mode("x", &dir.path().join("none"), 0o700, &[]).severity, Severity::Remark);
    }

    #[test]
    fn what_was_set_aside_is_found_in_any_depth() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(quarantine(dir.path()).severity, Severity::Fine);
        std::fs::create_dir_all(dir.path().join("a/b")).expect("made");
        std::fs::write(dir.path().join("a/b/c"), "").expect("written");
        assert!(quarantine(dir.path()).what.starts_with("1 damaged file was set aside"));
    }

    #[test]
    fn a_shut_laptop_is_a_remark_and_a_warning_of_the_daemon_is_wrong() {
        let data = json!({
            "sources": [{"source": "claude-todos", "present": true, "listedAt": ages::exact(0), "malformed": 2}],
            "devices": [{"thisDevice": true}, {"name": "thinkpad", "reachable": false, "clockSkewMs": 5000,
                         "link": {"skipped": 3}}],
            "problems": [{"what": "the disk is full", "fix": "make room"}],
        });
        let checks = said_by_daemon(&data, 3000);
        let lines: String = checks.iter().map(|check| line(OUT, check)).collect();
        let expected = "✓ claude-todos ✓ 3s\n\
                        ! 2 elements of claude-todos could not be read as what they should be  fix: the rest is there; the tool may be of a newer version\n\
                        ! thinkpad is not reachable, last contact never  fix: hubless devices ping it from there\n\
                        ! thinkpad says what this version does not know (3 messages skipped)  fix: update hubless on this device\n\
                        ! clock of thinkpad is 5s ahead  fix: set its clock; ages on this device use arrival time\n\
                        ✗ the disk is full  fix: make room\n";
        assert_eq!(lines, expected);
        assert_eq!(told(&checks[5])["ok"], false);
        assert_eq!(told(&checks[2])["severity"], "warning");
    }
}
