//! `todos`: what is left to do on all devices, and what people and agents do to it.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::context::{Context, percent, target};
use super::fields;
use super::tagging::Tagging;
use super::todo_stats::{figures, one};
use super::todo_tables::{conflicts, history, list, ready};

/// `hubless todos`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Todos {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

const EXAMPLES: &str = "\
Examples:
  hubless todos                       what is open and what is done
  hubless todos ready --project web
  hubless todos add \"Write the migration\" -p 1
  hubless todos start t-7f3a --as sam
  hubless todos resolve t-19cc --keep 2";

#[derive(Debug, Subcommand)]
enum Verb {
    /// What is open and what is done
    List(List),
    /// What somebody could begin now, the most urgent first
    Ready(Ready),
    /// Adds a todo; of a finished or deleted text, a new round of it
    Add(Add),
    /// Somebody begins it
    Start(One),
    /// It is done
    Done(One),
    /// It is to be done again
    Reopen(One),
    /// Sets its text, owner or priority
    Edit(Edit),
    /// Hides it
    Delete(One),
    /// Gives it tags, or takes them from it
    Tag(Tag),
    /// One todo with its lists and their sessions
    Show {
        /// The todo's id, or the beginning of it
        id: String,
    },
    /// How long todos took, by session and by agent
    Stats(Stats),
    /// All that happened to it, oldest first
    History {
        /// The todo's id, or the beginning of it
        id: String,
    },
    /// Where two words could not both count
    Conflicts {
        /// Also those that are settled
        #[arg(long)]
        all: bool,
    },
    /// Settles a conflict
    Resolve(Resolve),
    /// Takes the last action on it back
    Undo(One),
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
struct List {
    /// Only of this project, by its key or its last part
    #[arg(long)]
    project: Option<String>,
    /// Also what its lists no longer have, and what was deleted
    #[arg(long)]
    all: bool,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only of this session's lists
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only with this status: pending, in_progress, cancelled, completed (several with commas)
    #[arg(long)]
    status: Option<String>,
}

#[derive(Debug, Args)]
struct Ready {
    /// Only of this project, by its key or its last part
    #[arg(long)]
    project: Option<String>,
}

#[derive(Debug, Args)]
struct One {
    /// The todo's id, or the beginning of it
    id: String,
    /// The agent that does it
    #[arg(long = "as", value_name = "NAME")]
    agent: Option<String>,
}

#[derive(Debug, Args)]
struct Add {
    /// What is to be done
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// Its project, by its key or the last part of one that is known
    #[arg(long)]
    project: Option<String>,
    /// How much it matters: 0 (most) to 4, or high, medium, low
    #[arg(short, long)]
    priority: Option<String>,
    /// The agent that adds it
    #[arg(long = "as", value_name = "NAME")]
    agent: Option<String>,
}

#[derive(Debug, Args)]
struct Edit {
    /// The todo's id, or the beginning of it
    id: String,
    #[command(flatten)]
    changes: Changes,
    /// The agent that does it
    #[arg(long = "as", value_name = "NAME")]
    agent: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// What it says
    #[arg(long)]
    text: Option<String>,
    /// Who should do it; "" for nobody
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// How much it matters: 0 (most) to 4, or high, medium, low
    #[arg(short, long)]
    priority: Option<String>,
}

#[derive(Debug, Args)]
struct Tag {
    /// The todo's id, or the beginning of it
    id: String,
    #[command(flatten)]
    tagging: Tagging,
}

#[derive(Debug, Args)]
struct Stats {
    /// Only of this project, by its key or its last part
    #[arg(long)]
    project: Option<String>,
    /// Only what was completed since then: 7d, 2026-03-02, 2026-03-02T14:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

#[derive(Debug, Args)]
struct Resolve {
    /// The todo's or the conflict's id, or the beginning of it
    id: String,
    #[command(flatten)]
    how: How,
    /// The agent that does it
    #[arg(long = "as", value_name = "NAME")]
    agent: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct How {
    /// 1: what is shown stays; 2: the other one counts
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    keep: Option<u8>,
    /// The other text becomes a todo of its own
    #[arg(long)]
    both: bool,
    /// It shall say this
    #[arg(long)]
    text: Option<String>,
}

impl Todos {
    /// Whether flags of the list stand before another verb, where they would be passed over.
    pub(crate) fn is_mixed(&self) -> bool {
        self.verb.is_some() && self.list != List::default()
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.verb {
            None => self.list.run(context),
            Some(Verb::List(list)) => list.run(context),
            Some(Verb::Ready(ready)) => ready.run(context),
            Some(Verb::Add(add)) => add.run(context),
            Some(Verb::Start(one)) => one.run(context, "start", "started"),
            Some(Verb::Done(one)) => one.run(context, "done", "done"),
            Some(Verb::Reopen(one)) => one.run(context, "reopen", "open again"),
            Some(Verb::Delete(one)) => one.run(context, "delete", "deleted; hubless todos undo brings it back"),
            Some(Verb::Undo(one)) => one.run(context, "undo", "taken back"),
            Some(Verb::Tag(tag)) => tag.run(context),
            Some(Verb::Show { id }) => {
                let envelope = context.ask(&format!("/api/v3/todos/{}", percent(&id)))?;
                context.out.show(&envelope, |out| one(out, &envelope["data"], context.now_ms))
            }
            Some(Verb::Stats(stats)) => {
                let of = target("/api/v3/todos/stats", &[("project", stats.project), ("since", stats.since)]);
                let envelope = context.ask(&of)?;
                context.out.show(&envelope, |out| figures(out, &envelope["data"]))
            }
            Some(Verb::Edit(edit)) => edit.run(context),
            Some(Verb::Resolve(resolve)) => resolve.run(context),
            Some(Verb::History { id }) => {
                let of = target(&format!("/api/v3/todos/{}/history", percent(&id)), &[("limit", context.limit())]);
                context.show(&of, |envelope, out| history(out, fields::rows(envelope), context.now_ms))
            }
            Some(Verb::Conflicts { all }) => {
                let query = [("resolved", (!all).then(|| "0".to_owned())), ("limit", context.limit())];
                context.show(&target("/api/v3/conflicts", &query), |envelope, out| conflicts(out, fields::rows(envelope), context.now_ms))
            }
        }
    }
}

impl List {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let query = [
            ("project", self.project),
            ("status", self.status),
            ("tag", self.tag),
            ("session", self.session),
            ("device", context.globals.device.clone()),
            ("all", self.all.then(|| "1".to_owned())),
            ("listed", (!self.all).then(|| "1".to_owned())),
            ("limit", context.limit()),
        ];
        context.show(&target("/api/v3/todos", &query), |envelope, out| list(out, fields::rows(envelope), context.now_ms))
    }
}

impl Ready {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let device = context.globals.device.clone();
        let query = [("ready", Some("1".to_owned())), ("project", self.project), ("device", device), ("limit", context.limit())];
        context.show(&target("/api/v3/todos", &query), |envelope, out| ready(out, fields::rows(envelope)))
    }
}

impl Add {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let body = given([("content", Some(self.text.join(" "))), ("project", self.project), ("priority", self.priority)]);
        let data = context.tell_as(self.agent.as_deref(), "/api/v3/todos", &body)?;
        let line = said(&data, "added");
        context.out.done(data, &line)
    }
}

impl One {
    fn run(self, context: &Context, deed: &str, what: &str) -> anyhow::Result<()> {
        let data = context.tell_as(self.agent.as_deref(), &path(&self.id, deed), &json!({}))?;
        let line = said(&data, what);
        context.out.done(data, &line)
    }
}

impl Edit {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let body = given([("content", self.changes.text), ("owner", self.changes.owner), ("priority", self.changes.priority)]);
        let data = context.tell_as(self.agent.as_deref(), &path(&self.id, "edit"), &body)?;
        let line = said(&data, "edited");
        context.out.done(data, &line)
    }
}

impl Tag {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let (data, what) = self.tagging.tell(context, "todos", &self.id)?;
        let line = said(&data, what);
        context.out.done(data, &line)
    }
}

impl Resolve {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let data = context.tell_as(self.agent.as_deref(), &path(&self.id, "resolve"), &self.body())?;
        let line = said(&data, "settled");
        context.out.done(data, &line)
    }

    fn body(&self) -> Value {
        match (self.how.keep, &self.how.text) {
            (Some(2), _) => json!({"keep": "remote"}),
            (Some(_), _) => json!({"keep": "local"}),
            (None, Some(text)) => json!({"text": text}),
            (None, None) => json!({"keep": "both"}),
        }
    }
}

fn path(id: &str, deed: &str) -> String {
    format!("/api/v3/todos/{}/{deed}", percent(id))
}

/// An object of what was given; what was not is left out.
fn given<const N: usize>(fields: [(&str, Option<String>); N]) -> Value {
    let pairs = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// `✓ t-7f3a9xk2 done: Add retry budget`.
fn said(data: &Value, what: &str) -> String {
    let id = fields::short(&fields::or_dash(data, "id"));
    let content = fields::text(data, "content").map(|content| format!(": {content}")).unwrap_or_default();
    format!("✓ {id} {what}{content}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        todos: Todos,
    }

    fn read(line: &str) -> Result<Verb, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.todos.verb.unwrap_or(Verb::List(line.todos.list)))
    }

    #[test]
    fn a_conflict_is_settled_in_one_way() {
        let body = |line: &str| match read(line) {
            Ok(Verb::Resolve(resolve)) => Some(resolve.body()),
            _ => None,
        };
        assert_eq!(body("x resolve t-1 --keep 1"), Some(json!({"keep": "local"})));
        assert_eq!(body("x resolve t-1 --keep 2"), Some(json!({"keep": "remote"})));
        assert_eq!(body("x resolve t-1 --both"), Some(json!({"keep": "both"})));
        assert_eq!(body("x resolve t-1 --text new"), Some(json!({"text": "new"})));
        for wrong in ["x resolve t-1", "x resolve t-1 --keep 3", "x resolve t-1 --keep 1 --both", "x resolve --both"] {
            assert_eq!(body(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_edit_changes_something_and_leaves_the_rest() {
        assert!(read("x edit t-1").is_err());
        assert!(read("x edit t-1 --owner sam -p 1").is_ok());
        assert_eq!(given([("content", None), ("owner", Some(String::new()))]), json!({"owner": ""}));
        assert!(matches!(read("x --all"), Ok(Verb::List(List { all: true, .. }))));
        assert!(read("x add").is_err() && read("x lst").is_err());
    }

    #[test]
    fn what_was_done_is_said_with_its_id() {
        assert_eq!(said(&json!({"id": "t-0123456789abcdef", "content": "a\nb"}), "done"), "✓ t-01234567 done: a\\u{a}b");
    }
}
