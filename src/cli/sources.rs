//! `sources`: which directories of the tools are read, what was found there, and reading all of it again.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ages;
use super::context::{Context, percent, target};
use super::fields;
use super::output::{Form, Out, Tint};

/// `hubless sources`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sources {
    #[command(subcommand)]
    verb: Option<Verb>,
}

const EXAMPLES: &str = "\
Examples:
  hubless sources                     what is read, when, with what errors
  hubless sources pause claude        rests until resume, over restarts
  hubless sources rescan";

#[derive(Debug, Subcommand)]
enum Verb {
    /// The directories that are read, and what was found there
    Status,
    /// Lists and reads everything again from its beginning; what is known already changes nothing
    #[command(visible_alias = "backfill")]
    Rescan,
    /// Reads nothing more of a tool or a source until `resume`, over restarts
    Pause(Which),
    /// Goes on reading, from where it was left
    Resume(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// A tool (claude, codex, …), or a source as `hubless sources` names it
    #[arg(value_name = "SOURCE")]
    source: String,
}

impl Sources {
    /// Whether its answer is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.verb, None | Some(Verb::Status))
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.verb {
            Some(Verb::Rescan) => {
                let data = context.tell("/api/v3/rescan", &json!({}))?;
                context.out.done(data, "✓ everything is being listed and read again: hubless sources")
            }
            Some(Verb::Pause(which)) => set(context, &which.source, "pause", "at rest"),
            Some(Verb::Resume(which)) => set(context, &which.source, "resume", "being read again"),
            Some(Verb::Status) | None => {
                let envelope = context.ask(&target("/api/v3/sources", &[("limit", context.limit())]))?;
                context.out.show(&envelope, |out| table(out, fields::rows(&envelope), context.now_ms))
            }
        }
    }
}

fn set(context: &Context, source: &str, deed: &str, now: &str) -> anyhow::Result<()> {
    let data = context.tell(&format!("/api/v3/sources/{}/{deed}", percent(source)), &json!({}))?;
    let named = fields::texts(&data, "sources").join(", ");
    context.out.done(data, &format!("✓ {now}: {named}"))
}

fn table(out: Out, rows: &[Value], now_ms: i64) -> String {
    let person = out.form == Form::Table;
    if person && rows.is_empty() {
        return "nothing is known of the sources: only a running daemon reads them (hubless up)\n".to_owned();
    }
    let drawn = rows.iter().map(|row| {
        let (present, paused) = (fields::yes(row, "present"), fields::yes(row, "paused"));
        let state = match (present, paused) {
            (_, true) => "paused",
            (true, false) => "present",
            (false, false) => "not there",
        };
        let time = |key| fields::time(row, key).map(|at| if person { ages::ago(now_ms, Some(at)) } else { ages::exact(at) });
        let (listed, read) = (time("listedAt"), time("lastRead"));
        let cells = vec![
            fields::or_dash(row, "source"),
            fields::or_dash(row, "tool"),
            fields::or_dash(row, "computer"),
            state.to_owned(),
            fields::count(row, "files").to_string(),
            listed.unwrap_or_else(|| "-".to_owned()),
            read.unwrap_or_else(|| "-".to_owned()),
            fields::count(row, "malformed").to_string(),
            fields::or_dash(row, "base"),
            fields::or_dash(row, "error"),
        ];
        let tint = match (fields::text(row, "error"), paused, present) {
            (Some(_), ..) | (None, true, _) => Tint::Warn,
            (None, false, true) => Tint::Plain,
            (None, false, false) => Tint::Dim,
        };
        (tint, cells)
    });
    out.rows(&["source", "tool", "computer", "state", "files", "listed", "read", "malformed", "directory", "error"], drawn.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_one_record_with_its_trouble() {
        let row = json!({"source": "claude-todos-2", "tool": "claude", "computer": "laptop", "base": "/copies/laptop/todos", "present": true,
                         "files": 264, "listedAt": "2026-03-02T14:02:11.000Z", "lastRead": "2026-03-02T14:02:12.000Z", "malformed": 1, "error": "2 entries passed over"});
        let out = |form| Out { form, colour: false, quiet: false };
        let expected = "claude-todos-2\tclaude\tlaptop\tpresent\t264\t2026-03-02T14:02:11.000Z\t2026-03-02T14:02:12.000Z\t1\t/copies/laptop/todos\t2 entries passed over\n";
        assert_eq!(table(out(Form::Plain), std::slice::from_ref(&row), 0), expected);
        assert!(table(out(Form::Table), &[row], 1_772_460_191_000).contains("1m ago"));
        let absent = json!({"source": "pi-sessions", "tool": "pi", "present": false, "base": "/x", "files": 0, "malformed": 0});
        assert_eq!(table(out(Form::Plain), &[absent], 0), "pi-sessions\tpi\t-\tnot there\t0\t-\t-\t0\t/x\t-\n");
        let rests =
            json!({"source": "pi-sessions", "tool": "pi", "present": true, "paused": true, "base": "/x", "files": 3, "malformed": 0});
        assert_eq!(table(out(Form::Plain), &[rests], 0), "pi-sessions\tpi\t-\tpaused\t3\t-\t-\t0\t/x\t-\n");
        assert!(table(out(Form::Table), &[], 0).contains("hubless up"));
    }
}
