//! `sessions`: runs of agents on all devices, the latest first.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::ages;
use super::context::{Context, target};
use super::fields;
use super::output::{Form, Out, Tint};

/// `hubless sessions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sessions {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

const EXAMPLES: &str = "\
Examples:
  hubless sessions --since 7d
  hubless sessions --tool codex --project api-server --limit 10
  hubless sessions --device mac-mini --jsonl | jq -r .title";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs of agents on all devices, the latest first
    List(List),
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
struct List {
    /// Only of this tool: claude, codex, pi, …
    #[arg(long)]
    tool: Option<String>,
    /// Only of this project, by its key or its last part
    #[arg(long)]
    project: Option<String>,
    /// Only of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only with activity since then: 7d, 2026-03-02, 2026-03-02T14:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

impl Sessions {
    /// Whether flags of the list stand before another verb, where they would be passed over.
    pub(crate) fn is_mixed(&self) -> bool {
        self.verb.is_some() && self.list != List::default()
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let list = match self.verb {
            Some(Verb::List(list)) => list,
            None => self.list,
        };
        let query = [
            ("tool", list.tool),
            ("project", list.project),
            ("agent", list.agent),
            ("since", list.since),
            ("device", context.globals.device.clone()),
            ("limit", context.limit()),
        ];
        let envelope = context.ask(&target("/api/v3/sessions", &query))?;
        context.out.show(&envelope, |out| table(out, fields::rows(&envelope), context.now_ms))
    }
}

fn table(out: Out, rows: &[Value], now_ms: i64) -> String {
    let person = out.form == Form::Table;
    let drawn = rows.iter().map(|row| {
        let id = fields::or_dash(row, "id");
        let active = fields::time(row, "lastActivity").map(|at| if person { ages::ago(now_ms, Some(at)) } else { ages::exact(at) });
        let cells = vec![
            if person { fields::short(&id) } else { id },
            fields::or_dash(row, "tool"),
            fields::device(row),
            fields::or_dash(row, "agent"),
            fields::or_dash(row, "project"),
            fields::or_dash(row, "state"),
            active.unwrap_or_else(|| "-".to_owned()),
            format!("{}/{}", fields::count(row, "todosDone"), fields::count(row, "todosDone") + fields::count(row, "todosOpen")),
            fields::or_dash(row, "title"),
        ];
        (if fields::text(row, "state").as_deref() == Some("ended") { Tint::Dim } else { Tint::Plain }, cells)
    });
    if person && rows.is_empty() {
        return "no sessions\n".to_owned();
    }
    out.rows(&["session", "tool", "device", "agent", "project", "state", "active", "todos", "title"], drawn.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_session_is_one_record() {
        let row = json!({"id": "s-0123456789abcdef", "tool": "claude", "deviceName": "mac", "agent": "sam", "project": "github.com/a/b",
                         "state": "working", "lastActivity": "2026-03-02T14:02:11.000Z", "todosOpen": 2, "todosDone": 1, "title": "a\tb"});
        let out = |form| Out { form, colour: false, quiet: false };
        let expected = "s-0123456789abcdef\tclaude\tmac\tsam\tgithub.com/a/b\tworking\t2026-03-02T14:02:11.000Z\t1/3\ta\\u{9}b\n";
        assert_eq!(table(out(Form::Plain), std::slice::from_ref(&row), 0), expected);
        let person = table(out(Form::Table), &[row], 1_772_460_191_000);
        assert!(person.contains("s-01234567 ") && person.contains("1m ago"), "{person}");
    }
}
