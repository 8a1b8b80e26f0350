//! How todos, their history and their conflicts look.

use serde_json::Value;

use super::ages;
use super::fields;
use super::output::{Form, Out, Tint};

/// `todos list`.
pub(crate) fn list(out: Out, rows: &[Value], now_ms: i64) -> String {
    let person = out.form == Form::Table;
    if person && rows.is_empty() {
        return "no todos\n".to_owned();
    }
    let drawn = rows.iter().map(|row| {
        let updated = fields::time(row, "updatedAt").map(|at| if person { ages::ago(now_ms, Some(at)) } else { ages::exact(at) });
        let cells = vec![
            id(out, row, "id"),
            status(row),
            fields::or_dash(row, "priority"),
            fields::or_dash(row, "project"),
            fields::or_dash(row, "owner"),
            updated.unwrap_or_else(|| "-".to_owned()),
            fields::or_dash(row, "content"),
        ];
        (tint(row), cells)
    });
    out.rows(&["todo", "status", "prio", "project", "owner", "changed", "content"], drawn.collect())
}

/// `todos ready`.
pub(crate) fn ready(out: Out, rows: &[Value]) -> String {
    if out.form == Form::Table && rows.is_empty() {
        return "nothing is ready\n".to_owned();
    }
    let first = rows.first().map(|row| fields::short(&fields::or_dash(row, "id")));
    let drawn = rows.iter().map(|row| {
        let owner = fields::text(row, "owner").unwrap_or_else(|| "unassigned".to_owned());
        let cells = vec![
            id(out, row, "id"),
            fields::or_dash(row, "priority"),
            fields::or_dash(row, "project"),
            fields::or_dash(row, "content"),
            owner,
        ];
        (tint(row), cells)
    });
    let text = out.rows(&["todo", "prio", "project", "content", "owner"], drawn.collect());
    match first.filter(|_| out.form == Form::Table) {
        Some(id) => format!("{text}→ hubless todos start {id}\n"),
        None => text,
    }
}

/// `todos history`: when, who, what, from what to what.
pub(crate) fn history(out: Out, rows: &[Value], now_ms: i64) -> String {
    let drawn = rows.iter().map(|row| {
        let list = || fields::text(row, "session").map(|id| format!("the list of {}", id.chars().take(8).collect::<String>()));
        let who = fields::text(row, "actor").or_else(list).unwrap_or_else(|| "a person".to_owned());
        let from = fields::text(row, "from").unwrap_or_else(|| "-".to_owned());
        let cells = vec![
            when(out, row, now_ms),
            format!("{who} on {}", fields::device(row)),
            fields::or_dash(row, "field"),
            format!("{from} → {}", fields::or_dash(row, "to")),
            format!("round {}", fields::count(row, "round")),
        ];
        (Tint::Plain, cells)
    });
    out.rows(&["when", "who", "field", "from → to", "round"], drawn.collect())
}

/// `todos conflicts`: for a person each with both sides and the command; for a pipe one a line.
pub(crate) fn conflicts(out: Out, rows: &[Value], now_ms: i64) -> String {
    if out.form == Form::Table {
        return if rows.is_empty() { "no conflicts\n".to_owned() } else { rows.iter().map(|row| spelled(out, row, now_ms)).collect() };
    }
    let drawn = rows.iter().map(|row| {
        let side = |key: &str| {
            let side = &row[key];
            format!("{} ({} {})", fields::or_dash(side, "value"), fields::device(side), when(out, side, now_ms))
        };
        let settled = if fields::yes(row, "resolved") { "settled" } else { "open" };
        let texts = [fields::or_dash(row, "todo"), fields::or_dash(row, "id"), fields::or_dash(row, "field"), settled.to_owned()];
        let more = [side("local"), side("remote"), fields::or_dash(row, "rule"), fields::or_dash(row, "content")];
        (Tint::Plain, texts.into_iter().chain(more).collect())
    });
    out.rows(&[], drawn.collect())
}

fn spelled(out: Out, row: &Value, now_ms: i64) -> String {
    let (todo, conflict) = (fields::short(&fields::or_dash(row, "todo")), fields::short(&fields::or_dash(row, "id")));
    let field = match fields::or_dash(row, "field").as_str() {
        "content" => "text changed on two devices while apart".to_owned(),
        other => format!("{other} said in two ways ({})", fields::or_dash(row, "rule")),
    };
    let mut text = format!("{todo} “{}”: {field}\n", fields::or_dash(row, "content"));
    for (n, key) in ["local", "remote"].iter().enumerate() {
        let side = &row[key];
        let line = format!("   {}  {}  {}  {}\n", n + 1, fields::device(side), when(out, side, now_ms), fields::or_dash(side, "value"));
        text.push_str(&line);
    }
    if fields::yes(row, "resolved") {
        return text + "   settled\n";
    }
    let shown = "   shown now: 1 (picked by rule, nothing lost)";
    // Only what works: of a status there is no third text, and both can be kept of two texts only.
    let ways = match fields::or_dash(row, "field").as_str() {
        "content" => "--keep 2 | --both | --text \"…\"",
        "status" => "--keep 2 | --keep 1",
        _ => "--keep 2 | --text \"…\"",
    };
    format!("{text}{shown}      → hubless todos resolve {conflict} {ways}\n")
}

/// A person types the beginning of an id, a program takes all of it.
fn id(out: Out, row: &Value, key: &str) -> String {
    let id = fields::or_dash(row, key);
    if out.form == Form::Table { fields::short(&id) } else { id }
}

fn when(out: Out, row: &Value, now_ms: i64) -> String {
    let Some(at) = fields::time(row, "at") else { return "-".to_owned() };
    if out.form == Form::Table { ages::moment(now_ms, at, &jiff::tz::TimeZone::system()) } else { ages::exact(at) }
}

fn status(row: &Value) -> String {
    let mut text = fields::or_dash(row, "status");
    if fields::yes(row, "deleted") {
        text = "deleted".to_owned();
    } else if !fields::yes(row, "listed") {
        text.push_str(", no longer listed");
    }
    if fields::yes(row, "conflict") {
        text.push_str(", conflict");
    }
    text
}

fn tint(row: &Value) -> Tint {
    match fields::text(row, "status").as_deref() {
        _ if fields::yes(row, "conflict") => Tint::Warn,
        Some("completed" | "cancelled") => Tint::Dim,
        _ => Tint::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_772_460_131_000;

    fn out(form: Form) -> Out {
        Out { form, colour: false, quiet: false }
    }

    fn todo() -> Value {
        json!({"id": "t-7f3a0123456789", "content": "Add retry budget", "status": "pending", "priority": "1", "project": "api-server",
               "owner": null, "updatedAt": ages::exact(NOW - 60_000), "listed": true, "conflict": false})
    }

    #[test]
    fn a_todo_is_one_record() {
        let line = "t-7f3a0123456789\tpending\t1\tapi-server\t-\t2026-03-02T14:01:11.000Z\tAdd retry budget\n";
        assert_eq!(list(out(Form::Plain), &[todo()], NOW), line);
        let mut odd = todo();
        odd["listed"] = json!(false);
        odd["conflict"] = json!(true);
        assert_eq!(status(&odd), "pending, no longer listed, conflict");
        assert!(list(out(Form::Table), &[todo()], NOW).contains("t-7f3a0123  pending"));
    }

    #[test]
    fn ready_todos_come_with_the_next_command() {
        assert_eq!(ready(out(Form::Plain), &[todo()]), "t-7f3a0123456789\t1\tapi-server\tAdd retry budget\tunassigned\n");
        assert!(ready(out(Form::Table), &[todo()]).ends_with("→ hubless todos start t-7f3a0123\n"));
        assert_eq!(ready(out(Form::Table), &[]), "nothing is ready\n");
    }

    #[test]
    fn history_says_when_who_and_from_what_to_what() {
        let rows = [
            json!({"at": ages::exact(0), "deviceName": "thinkpad", "actor": "kai", "field": "status", "from": null, "to": "pending", "round": 1}),
            json!({"at": ages::exact(1000), "deviceName": "mac", "actor": null, "field": "status", "from": "pending", "to": "completed", "round": 1}),
        ];
        let expected = "1970-01-01T00:00:00.000Z\tkai on thinkpad\tstatus\t- → pending\tround 1\n\
                        1970-01-01T00:00:01.000Z\ta person on mac\tstatus\tpending → completed\tround 1\n";
        assert_eq!(history(out(Form::Plain), &rows, NOW), expected);
    }

    #[test]
    fn a_conflict_shows_both_sides_and_the_way_out() {
        let row = json!({"id": "c-aaaaaaaaaaaa", "todo": "t-19cc00000000", "content": "Rotate staging key", "field": "content",
            "local": {"value": "Rotate \u{1b}key", "deviceName": "mac-mini", "at": ages::exact(0)},
            "remote": {"value": "Rotate keys", "deviceName": "thinkpad", "at": ages::exact(0)}, "rule": "later-edit", "resolved": false});
        let at = "1970-01-01T00:00:00.000Z";
        let expected = format!(
            "t-19cc00000000\tc-aaaaaaaaaaaa\tcontent\topen\tRotate \\u{{1b}}key (mac-mini {at})\tRotate keys (thinkpad {at})\tlater-edit\tRotate staging key\n"
        );
        assert_eq!(conflicts(out(Form::Plain), std::slice::from_ref(&row), NOW), expected);
        let person = conflicts(out(Form::Table), std::slice::from_ref(&row), NOW);
        assert!(person.contains("\n   2  thinkpad") && person.contains("resolve c-aaaaaaaa --keep 2 | --both | --text"), "{person}");
        for (field, offered) in [("status", "--keep 2 | --keep 1\n"), ("owner", "--keep 2 | --text \"…\"\n")] {
            let person = conflicts(out(Form::Table), &[json!({"field": field, "id": row["id"], "todo": row["todo"]})], NOW);
            assert!(person.ends_with(offered), "{person}");
        }
        assert_eq!(conflicts(out(Form::Table), &[], NOW), "no conflicts\n");
    }
}
