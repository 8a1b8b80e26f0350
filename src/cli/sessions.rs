//! `sessions`: runs of agents on all devices, the latest first.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::ages;
use super::context::{Context, percent, target};
use super::fields;
use super::output::{Form, Out, Tint};
use super::tagging::Tagging;
use super::todo_tables;

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
    /// One session: what it is, what came of it, and its todos
    Show {
        /// The session's id, the beginning of it, or the tool's own id
        id: String,
    },
    /// Gives a session tags, or takes them away
    Tag(Tag),
}

#[derive(Debug, Args)]
struct Tag {
    /// The session's id, the beginning of it, or the tool's own id
    id: String,
    #[command(flatten)]
    tagging: Tagging,
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
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
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
            Some(Verb::Show { id }) => return show(context, &id),
            Some(Verb::Tag(tag)) => return tag.run(context),
            Some(Verb::List(list)) => list,
            None => self.list,
        };
        let query = [
            ("tool", list.tool),
            ("project", list.project),
            ("agent", list.agent),
            ("tag", list.tag),
            ("since", list.since),
            ("device", context.globals.device.clone()),
            ("limit", context.limit()),
        ];
        let envelope = context.ask(&target("/api/v3/sessions", &query))?;
        context.out.show(&envelope, |out| table(out, fields::rows(&envelope), context.now_ms))
    }
}

impl Tag {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let (data, what) = self.tagging.tell(context, "sessions", &self.id)?;
        let title = fields::text(&data, "title").map(|title| format!(": {title}")).unwrap_or_default();
        let line = format!("✓ {} {what}{title}", fields::short(&fields::or_dash(&data, "id")));
        context.out.done(data, &line)
    }
}

fn show(context: &Context, id: &str) -> anyhow::Result<()> {
    let envelope = context.ask(&format!("/api/v3/sessions/{}", percent(id)))?;
    let of = fields::text(&envelope["data"], "id");
    let todos = if context.out.is_data() { None } else { Some(context.ask_quietly(&target("/api/v3/todos", &[("session", of)]))?) };
    context.out.show(&envelope, |out| {
        let todos = todos.as_ref().map(|todos| todo_tables::list(out, fields::rows(todos), context.now_ms)).unwrap_or_default();
        one(out, &envelope["data"], context.now_ms) + &todos
    })
}

/// A line for each thing that is known of a session.
fn one(out: Out, data: &Value, now_ms: i64) -> String {
    let time = |key: &str| {
        let at = fields::time(data, key)?;
        Some(if out.form == Form::Table { ages::ago(now_ms, Some(at)) } else { ages::exact(at) })
    };
    let messages = &data["messages"];
    let said =
        fields::number(messages, "user").map(|user| format!("{user} from people, {} answered", fields::count(messages, "assistant")));
    let todos = format!("{} open, {} done", fields::count(data, "todosOpen"), fields::count(data, "todosDone"));
    let tags = Some(fields::texts(data, "tags").join(", ")).filter(|tags| !tags.is_empty());
    let lines = [
        ("session", fields::text(data, "id")),
        ("title", fields::text(data, "title")),
        ("state", fields::text(data, "state")),
        (
            "agent",
            fields::text(data, "agent").map(|agent| format!("{agent} on {}, {}", fields::device(data), fields::or_dash(data, "tool"))),
        ),
        ("project", fields::text(data, "project")),
        ("directory", fields::text(data, "cwd")),
        ("branch", fields::text(data, "branch")),
        ("tags", tags),
        ("started", time("startedAt")),
        ("active", time("lastActivity")),
        ("ended", time("endedAt")),
        ("outcome", fields::text(data, "outcome")),
        ("result", fields::text(data, "result")),
        ("messages", said),
        ("parent", fields::text(data, "parent")),
        ("todos", Some(todos)),
    ];
    lines
        .into_iter()
        .filter_map(|(name, text)| Some(format!("{name}\t{}\n", text?)))
        .collect::<String>()
        .replace('\t', if out.form == Form::Table { "  " } else { "\t" })
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
    fn of_one_session_what_is_known_is_said_with_its_result() {
        let data = json!({"id": "s-01", "tool": "claude", "deviceName": "mac", "agent": "sam", "state": "ended", "result": "all\ngood", "outcome": "done",
                          "endedAt": "2026-03-02T14:02:11.000Z", "todosOpen": 2, "todosDone": 1, "messages": {"user": null}, "tags": ["db"]});
        let out = Out { form: Form::Plain, colour: false, quiet: false };
        let expected = "session\ts-01\nstate\tended\nagent\tsam on mac, claude\ntags\tdb\nended\t2026-03-02T14:02:11.000Z\noutcome\tdone\n\
                        result\tall\\u{a}good\ntodos\t2 open, 1 done\n";
        assert_eq!(one(out, &data, 0), expected);
    }

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
