//! How one todo looks, with the sessions whose lists hold it; and how long todos took.

use serde_json::Value;

use super::ages;
use super::fields;
use super::output::{Form, Out, Tint};

/// `todos show`.
pub(crate) fn one(out: Out, todo: &Value, now_ms: i64) -> String {
    let mut text = format!("{}  {}\n", fields::short(&fields::or_dash(todo, "id")), fields::or_dash(todo, "content"));
    let tags = Some(fields::texts(todo, "tags").join(", ")).filter(|tags| !tags.is_empty());
    let ready = fields::yes(todo, "ready").then(|| "ready".to_owned());
    let facts = [
        Some(fields::or_dash(todo, "status")),
        ready,
        Some(fields::or_dash(todo, "project")),
        fields::text(todo, "owner").map(|owner| format!("for {owner}")),
        fields::text(todo, "priority").map(|priority| format!("priority {priority}")),
        tags.map(|tags| format!("tagged {tags}")),
    ];
    text.push_str(&format!("{}\n", facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")));
    if let Some(at) = fields::time(todo, "completedAt") {
        let by = &todo["completedBy"];
        let session = fields::text(by, "session").map(|id| format!(", session {}", fields::short(&id))).unwrap_or_default();
        let who = fields::text(by, "agent").map(|agent| format!(" by {agent}")).unwrap_or_default();
        text.push_str(&format!("completed {}{who} on {}{session}\n", ages::ago(now_ms, Some(at)), fields::device(by)));
    }
    let rows = fields::list(todo, "origins").iter().map(|row| {
        let session = fields::text(row, "session");
        let list = session
            .as_deref()
            .map_or_else(|| "by a person".to_owned(), |id| if out.form == Form::Table { fields::short(id) } else { id.to_owned() });
        let device = if row["device"].is_null() { "-".to_owned() } else { fields::device(row) };
        let listed = if fields::yes(row, "listed") { "listed" } else { "no longer listed" };
        let tint = if fields::yes(row, "listed") { Tint::Plain } else { Tint::Dim };
        (tint, vec![list, device, fields::or_dash(row, "status"), listed.to_owned()])
    });
    text + &out.rows(&["session", "device", "its list says", ""], rows.collect())
}

/// `todos stats`.
pub(crate) fn figures(out: Out, data: &Value) -> String {
    let span = |row: &Value, key: &str| {
        fields::number(row, key).map_or_else(|| "-".to_owned(), |seconds| ages::since(seconds.saturating_mul(1000), 0))
    };
    let figures = |row: &Value| [fields::count(row, "count").to_string(), span(row, "medianSeconds"), span(row, "p90Seconds")];
    let line = |kind: &str, name: String, row: &Value| {
        let device = if row["device"].is_null() { "-".to_owned() } else { fields::device(row) };
        (Tint::Plain, [vec![kind.to_owned(), name, device], figures(row).to_vec()].concat())
    };
    let mut rows = vec![line("all", "-".to_owned(), &data["total"])];
    rows.extend(fields::list(data, "agents").iter().map(|row| line("agent", fields::or_dash(row, "agent"), row)));
    let id = |row: &Value| {
        let id = fields::or_dash(row, "session");
        if out.form == Form::Table { fields::short(&id) } else { id }
    };
    rows.extend(fields::list(data, "sessions").iter().map(|row| line("session", id(row), row)));
    out.rows(&["of", "who", "device", "completed", "half within", "nine in ten within"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Out = Out { form: Form::Plain, colour: false, quiet: false };

    #[test]
    fn a_todo_names_the_sessions_whose_lists_hold_it() {
        let todo = json!({"id": "t-0123456789abcdef", "content": "a\u{1b}b", "status": "completed", "project": "web", "owner": null, "tags": ["db", "ui"],
            "ready": false, "completedAt": "2026-03-02T14:02:11.000Z", "completedBy": {"deviceName": "mac", "agent": "leo", "session": "s-9876543210fedcba"},
            "origins": [{"session": "s-9876543210fedcba", "device": "d", "deviceName": "mac", "status": "completed", "listed": true},
                        {"session": null, "device": null, "status": "completed", "listed": false}]});
        let expected = "t-01234567  a\\u{1b}b\ncompleted · web · tagged db, ui\ncompleted 1m ago by leo on mac, session s-98765432\n\
                        s-9876543210fedcba\tmac\tcompleted\tlisted\nby a person\t-\tcompleted\tno longer listed\n";
        assert_eq!(one(PLAIN, &todo, 1_772_460_191_000), expected);
    }

    #[test]
    fn figures_are_spans_and_of_none_there_are_none() {
        let row = |name: &str, who: &str| json!({name: who, "device": "d", "deviceName": "mac", "count": 2, "medianSeconds": 90, "p90Seconds": 7200});
        let data = json!({"total": {"count": 0, "medianSeconds": null, "p90Seconds": null}, "agents": [row("agent", "leo")], "sessions": [row("session", "s-1")]});
        let text = figures(PLAIN, &data);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "all\t-\t-\t0\t-\t-");
        assert!(lines[1].starts_with("agent\tleo\tmac\t2\t1m") && lines[2].starts_with("session\ts-1\tmac\t2\t"), "{lines:?}");
    }
}
