//! `agents`: who works on what, in the order in which they need a person. The lines for a pipe are those of the replaced
//! system's check-sync, so that `| grep stale` goes on working.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::ages;
use super::context::{Context, percent, target};
use super::fields;
use super::output::{Form, Out, Tint};
use super::problem::Trouble;

/// `hubless agents`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Agents {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

const EXAMPLES: &str = "\
Examples:
  hubless agents                      those who need a person first
  hubless agents | grep stale
  hubless agents --device mac-mini --state \"needs input\"
  hubless agents show sam --json";

#[derive(Debug, Subcommand)]
enum Verb {
    /// All agents, those who need a person first
    List(List),
    /// One agent with its sessions; with --json always {is_active, current_task, started_at, duration_seconds, sessions}
    Show {
        /// The agent's name
        name: String,
    },
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
struct List {
    /// Only in this state: working, stale, "needs input", … (several with commas)
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

impl Agents {
    /// Whether flags of the list stand before another verb, where they would be passed over.
    pub(crate) fn is_mixed(&self) -> bool {
        self.verb.is_some() && self.list != List::default()
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.verb {
            Some(Verb::Show { name }) => show(context, &name),
            Some(Verb::List(list)) => list.run(context),
            None => self.list.run(context),
        }
    }
}

impl List {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let query = [("device", context.globals.device.clone()), ("state", self.state), ("limit", context.limit())];
        let envelope = context.ask(&target("/api/v3/agents", &query))?;
        context.out.show(&envelope, |out| table(out, fields::rows(&envelope), context.now_ms))
    }
}

fn show(context: &Context, name: &str) -> anyhow::Result<()> {
    let query = [("device", context.globals.device.clone())];
    let envelope = context.ask_quietly(&target(&format!("/api/v3/agents/{}", percent(name)), &query))?;
    if !context.out.is_data() && fields::list(&envelope["data"], "sessions").is_empty() {
        let said = fields::texts(&envelope, "warnings").into_iter().find_map(|w| w.strip_prefix("agent-not-found: ").map(str::to_owned));
        let what = said.unwrap_or_else(|| format!("nothing was heard of an agent “{name}”"));
        let (what, near) = what.split_once("; did you mean ").unwrap_or((&what, ""));
        let near = near.trim_end_matches('?').split(" or ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let mut trouble = Trouble::new("agent-not-found", 3, what).fix("hubless agents");
        trouble.problem.did_you_mean = near;
        return Err(trouble.into());
    }
    context.out.show(&envelope, |out| one(out, &envelope["data"], context.now_ms))
}

/// Rows of agents, for a person or for a pipe.
pub(crate) fn table(out: Out, rows: &[Value], now_ms: i64) -> String {
    if out.form != Form::Table {
        return rows.iter().map(|row| line(row, now_ms) + "\n").collect();
    }
    if rows.is_empty() {
        return "no agents yet: hubless beat NAME TASK, or start one whose files are read\n".to_owned();
    }
    let drawn = rows.iter().map(|row| {
        let state = fields::or_dash(row, "state");
        let cells = vec![
            fields::text(row, "symbol").unwrap_or_default(),
            name(row),
            fields::device(row),
            state.clone(),
            task(row, &state),
            fields::time(row, "since").filter(|_| state != "unknown").map_or_else(|| "-".to_owned(), |at| ages::since(now_ms, at)),
            beat(row, &state, now_ms),
        ];
        (tint(&state), cells)
    });
    out.rows(&["", "agent", "device", "state", "task", "for", "beat"], drawn.collect())
}

/// Who it is, and what for.
fn name(row: &Value) -> String {
    let role = fields::text(row, "role").map(|role| format!(" ({role})")).unwrap_or_default();
    format!("{}{role}", fields::or_dash(row, "agent"))
}

fn tint(state: &str) -> Tint {
    match state {
        "needs input" => Tint::Warn,
        "stale" | "failed" | "stuck?" => Tint::Bad,
        "late" | "unknown" | "done" => Tint::Dim,
        _ => Tint::Plain,
    }
}

fn task(row: &Value, state: &str) -> String {
    let task = fields::text(row, "task");
    match (state, task, fields::text(row, "note")) {
        ("unknown", Some(task), _) => format!("was {}: {task}", fields::or_dash(row, "reported")),
        (_, Some(task), Some(note)) => format!("{task}: {note}"),
        (_, Some(one), None) | (_, None, Some(one)) => one,
        (_, None, None) => "-".to_owned(),
    }
}

fn beat(row: &Value, state: &str, now_ms: i64) -> String {
    let Some(heard) = heard(row) else { return "-".to_owned() };
    let age = ages::since(now_ms, heard);
    match (state, fields::count(row, "intervalS")) {
        ("unknown", _) => format!("last word {age} ago"),
        ("stale" | "late", every) if every > 0 => format!("{age} ago, every {every}s"),
        ("stale", _) => format!("{age} ago"),
        _ => age,
    }
}

/// When it was last heard of: by our clock, else by its device's.
fn heard(row: &Value) -> Option<i64> {
    fields::time(row, "beatReceived").or_else(|| fields::time(row, "lastBeat"))
}

/// `active`, `idle` or `offline`: what the replaced system would have said, from what was reported.
fn word(row: &Value) -> &'static str {
    match fields::text(row, "reported").as_deref() {
        Some("working" | "waiting") => "active",
        Some("idle") => "idle",
        _ => "offline",
    }
}

/// Whether it counts as active: reported so, and not silent.
pub(crate) fn is_active(row: &Value) -> bool {
    word(row) == "active" && !matches!(fields::text(row, "state").as_deref(), Some("stale" | "unknown"))
}

/// `evox: active (stale) - monitoring (11m ago)`.
pub(crate) fn line(row: &Value, now_ms: i64) -> String {
    let mark = match fields::text(row, "state").as_deref() {
        Some("stale") => " (stale)",
        Some("unknown") => " (unknown)",
        Some("needs input") => " (needs input)",
        Some("stuck?") => " (stuck?)",
        Some("late") => " (late)",
        Some("failed") => " (failed)",
        _ => "",
    };
    let task = fields::text(row, "task").map(|task| format!(" - {task}")).unwrap_or_default();
    let age = heard(row).map(|at| format!(" ({} ago)", ages::since(now_ms, at))).unwrap_or_default();
    format!("{}: {}{mark}{task}{age}", fields::or_dash(row, "agent"), word(row))
}

fn one(out: Out, data: &Value, now_ms: i64) -> String {
    let active = if fields::yes(data, "is_active") { "active" } else { "not active" };
    let name = name(data);
    let mut text = format!("{name} on {}: {}, {active}\n", fields::device(data), fields::or_dash(data, "state"));
    if let Some(task) = fields::text(data, "current_task") {
        let since = fields::time(data, "started_at").map(|at| format!(", for {}", ages::since(now_ms, at))).unwrap_or_default();
        text.push_str(&format!("works on {task}{since}\n"));
    }
    let rows = fields::list(data, "sessions").iter().map(|row| {
        let state = fields::or_dash(row, "state");
        let cells = vec![
            fields::short(&fields::or_dash(row, "session")),
            fields::or_dash(row, "tool"),
            fields::device(row),
            state.clone(),
            task(row, &state),
            fields::or_dash(row, "file"),
            heard(row).map_or_else(|| "-".to_owned(), |at| format!("{} ago", ages::since(now_ms, at))),
        ];
        (tint(&state), cells)
    });
    text + &out.rows(&["session", "tool", "device", "state", "task", "file", "beat"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_772_460_131_000;

    fn out(form: Form) -> Out {
        Out { form, colour: false, quiet: false }
    }

    fn agent(name: &str, state: &str, reported: &str, task: &str, ago_s: i64) -> Value {
        json!({
            "agent": name, "deviceName": "mac-mini", "state": state, "reported": reported, "task": task, "symbol": "●",
            "beatReceived": ages::exact(NOW - ago_s * 1000), "lastBeat": ages::exact(NOW - 3_600_000),
            "since": ages::exact(NOW - 720_000), "intervalS": 60,
        })
    }

    #[test]
    fn piped_lines_are_those_of_check_sync() {
        let lines = |rows: &[Value]| table(out(Form::Plain), rows, NOW);
        let rows = [
            agent("sam", "working", "working", "AGT-280", 30),
            agent("evox", "stale", "working", "monitoring", 660),
            agent("max", "idle", "idle", "", 14),
            agent("leo", "needs input", "waiting", "AGT-324", 3),
            agent("kai", "unknown", "working", "AGT-331", 7800),
            agent("bo", "done", "done", "", 86_400),
        ];
        let expected = "sam: active - AGT-280 (30s ago)\n\
                        evox: active (stale) - monitoring (11m ago)\n\
                        max: idle (14s ago)\n\
                        leo: active (needs input) - AGT-324 (3s ago)\n\
                        kai: active (unknown) - AGT-331 (2h 10m ago)\n\
                        bo: offline (1d 0h ago)\n";
        assert_eq!(lines(&rows), expected);
        assert_eq!(lines(&rows).lines().filter(|line| line.contains("stale")).count(), 1);
        let evil = agent("a\u{1b}[2Jb", "working", "working", "x\ny", -5);
        assert_eq!(lines(&[evil]), "a\\u{1b}[2Jb: active - x\\u{a}y (0s ago)\n");
    }

    #[test]
    fn a_person_sees_columns() {
        let rows = [agent("evox", "stale", "working", "monitoring", 660), agent("sam", "working", "working", "AGT-280", 9)];
        let drawn = table(out(Form::Table), &rows, NOW);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["AGENT", "DEVICE", "STATE", "TASK", "FOR", "BEAT"]);
        assert!(lines[1].contains("evox") && lines[1].contains("monitoring") && lines[1].ends_with("11m ago, every 60s"), "{drawn}");
        assert!(lines[2].ends_with("12m  9s"), "{drawn}");
        assert!(table(out(Form::Table), &[], NOW).starts_with("no agents yet"));
    }

    #[test]
    fn one_agent_shows_its_sessions() {
        let data = json!({
            "agent": "sam", "deviceName": "mbp-lena", "state": "working", "is_active": true, "current_task": "AGT-280",
            "started_at": ages::exact(NOW - 60_000),
            "sessions": [{"session": "s-0123456789abcdef", "tool": "claude", "deviceName": "mbp-lena", "state": "working", "task": "AGT-280"}],
        });
        let text = one(out(Form::Plain), &data, NOW);
        assert_eq!(
            text,
            "sam on mbp-lena: working, active\nworks on AGT-280, for 1m\ns-01234567\tclaude\tmbp-lena\tworking\tAGT-280\t-\t-\n"
        );
    }
}
