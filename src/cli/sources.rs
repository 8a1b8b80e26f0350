//! `sources`: which directories of the tools are read, what was found there, and reading all of it again.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ages;
use super::context::{Context, target};
use super::fields;
use super::output::{Form, Out, Tint};

/// `hubless sources`.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The directories that are read, and what was found there
    Status,
    /// Lists and reads everything again; what is known already changes nothing
    Rescan,
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
            Some(Verb::Status) | None => {
                let envelope = context.ask(&target("/api/v3/sources", &[("limit", context.limit())]))?;
                context.out.show(&envelope, |out| table(out, fields::rows(&envelope), context.now_ms))
            }
        }
    }
}

fn table(out: Out, rows: &[Value], now_ms: i64) -> String {
    let person = out.form == Form::Table;
    if person && rows.is_empty() {
        return "nothing is known of the sources: only a running daemon reads them (hubless up)\n".to_owned();
    }
    let drawn = rows.iter().map(|row| {
        let present = fields::yes(row, "present");
        let listed = fields::time(row, "listedAt").map(|at| if person { ages::ago(now_ms, Some(at)) } else { ages::exact(at) });
        let cells = vec![
            fields::or_dash(row, "source"),
            fields::or_dash(row, "tool"),
            fields::or_dash(row, "computer"),
            if present { "present" } else { "not there" }.to_owned(),
            fields::count(row, "files").to_string(),
            listed.unwrap_or_else(|| "-".to_owned()),
            fields::count(row, "malformed").to_string(),
            fields::or_dash(row, "base"),
            fields::or_dash(row, "error"),
        ];
        let tint = match (fields::text(row, "error"), present) {
            (Some(_), _) => Tint::Warn,
            (None, true) => Tint::Plain,
            (None, false) => Tint::Dim,
        };
        (tint, cells)
    });
    out.rows(&["source", "tool", "computer", "state", "files", "listed", "malformed", "directory", "error"], drawn.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_one_record_with_its_trouble() {
        let row = json!({"source": "claude-todos-2", "tool": "claude", "computer": "laptop", "base": "/copies/laptop/todos", "present": true,
                         "files": 264, "listedAt": "2026-03-02T14:02:11.000Z", "malformed": 1, "error": "2 entries passed over"});
        let out = |form| Out { form, colour: false, quiet: false };
        let expected =
            "claude-todos-2\tclaude\tlaptop\tpresent\t264\t2026-03-02T14:02:11.000Z\t1\t/copies/laptop/todos\t2 entries passed over\n";
        assert_eq!(table(out(Form::Plain), std::slice::from_ref(&row), 0), expected);
        assert!(table(out(Form::Table), &[row], 1_772_460_191_000).contains("1m ago"));
        let absent = json!({"source": "pi-sessions", "tool": "pi", "present": false, "base": "/x", "files": 0, "malformed": 0});
        assert_eq!(table(out(Form::Plain), &[absent], 0), "pi-sessions\tpi\t-\tnot there\t0\t-\t0\t/x\t-\n");
        assert!(table(out(Form::Table), &[], 0).contains("hubless up"));
    }
}
