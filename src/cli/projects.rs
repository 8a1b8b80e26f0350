//! `projects`: who works on what project, where, and what is left to do there; the one that was last worked on first.

use clap::Args;
use serde_json::Value;

use super::ages;
use super::context::{Context, target};
use super::fields;
use super::output::{Form, Out, Tint};

/// `hubless projects`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Projects {
    /// Only this one, by its key or its last part
    #[arg(value_name = "PROJECT")]
    project: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  hubless projects
  hubless projects api-server --json";

impl Projects {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let envelope = context.ask(&target("/api/v3/projects", &[("project", self.project)]))?;
        let rows = fields::list(&envelope["data"], "projects");
        context.out.show(&envelope, |out| table(out, rows, context.now_ms))
    }
}

fn table(out: Out, rows: &[Value], now_ms: i64) -> String {
    let person = out.form == Form::Table;
    if person && rows.is_empty() {
        return "no projects\n".to_owned();
    }
    let drawn = rows.iter().map(|row| {
        let active = fields::time(row, "last_activity").map(|at| if person { ages::ago(now_ms, Some(at)) } else { ages::exact(at) });
        let many = |key: &str| Some(fields::texts(row, key).join(", ")).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
        let cells = vec![
            fields::or_dash(row, "project_name"),
            fields::count(row, "session_count").to_string(),
            many("agents"),
            fields::count(row, "active_todos").to_string(),
            fields::count(row, "blocked").to_string(),
            format!("{}/{}", fields::count(row, "completed_todos"), fields::count(row, "todo_count")),
            many("devices"),
            active.unwrap_or_else(|| "-".to_owned()),
        ];
        (Tint::Plain, cells)
    });
    out.rows(&["project", "sessions", "at work", "open", "blocked", "done", "devices", "active"], drawn.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_project_is_one_record() {
        let row = json!({"project_name": "github.com/acme/api\tserver", "session_count": 2, "agents": ["leo", "sam"], "active_todos": 3,
                         "blocked": 1, "completed_todos": 4, "todo_count": 7, "devices": [], "last_activity": "2026-03-02T14:02:11.000Z"});
        let out = |form| Out { form, colour: false, quiet: false };
        let expected = "github.com/acme/api\\u{9}server\t2\tleo, sam\t3\t1\t4/7\t-\t2026-03-02T14:02:11.000Z\n";
        assert_eq!(table(out(Form::Plain), std::slice::from_ref(&row), 0), expected);
        assert!(table(out(Form::Table), &[row], 1_772_460_191_000).contains("1m ago"));
        assert_eq!(table(out(Form::Table), &[], 0), "no projects\n");
    }
}
