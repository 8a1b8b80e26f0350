//! Lists of todos and records of sessions from other programs: `POST /api/todos/sync` of ChittySync and `POST
//! /api/v1/sync/sessions` of pi-brain.
//!
//! What is answered is read from what the next GET shows. A row that cannot be taken is named beside those that were; what has
//! no place here yet is a 501, never a success.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::body::Fields;
use super::desk::{ANSWER_WITHIN, Desk};
use super::problem::Problem;
use super::reads::iso;
use super::respond::{self, No};
use super::writes::unexpected;
use crate::model::ask::{Ask, ListReport, SessionRecord};
use crate::model::limits::ITEMS_MAX;
use crate::model::reply::{Code, News, Placed, Reply};
use crate::model::text::Foreign;
use crate::model::todo::{Listed, Status};
use crate::model::view::{TodoView, View};

/// Records of sessions in one request: each is written and learnt before the answer.
const RECORDS_MAX: usize = 1_000;
/// The tool of records that name none: the replaced system had only this one.
const TOOL: &str = "pi";
/// Fields that would hold a transcript.
const TRANSCRIPT: [&str; 5] = ["content", "entries", "messages", "transcript", "lines"];

fn bare(problem: Problem) -> No {
    No(problem.barely())
}

/// `POST /api/todos/sync`: a list of `{content, status, activeForm}`, or `{todos: [...], sessionId?}`.
pub(crate) async fn todos(State(desk): State<Arc<Desk>>, body: Body) -> Result<Response, No> {
    let (rows, mut fields) = Fields::rows_of(body, "todos").await.map_err(bare)?;
    if rows.len() > ITEMS_MAX {
        return Err(bare(Problem::new(413, "too-large", format!("more than {ITEMS_MAX} todos in one request")).fix("send them in parts")));
    }
    let session = fields.text("sessionId").map_err(bare)?.filter(|session| !session.is_blank());
    let read: Vec<Result<Listed, Problem>> = rows.into_iter().map(listed).collect();
    let items: Vec<Listed> = read.iter().filter_map(|row| row.as_ref().ok().cloned()).collect();
    let whole = items.len() == read.len();
    if !whole && session.is_some() {
        // A session's list is the whole of it: what could not be read would seem to be taken off it.
        let first = read.into_iter().enumerate().find_map(|(n, row)| row.err().map(|problem| format!("row {n}: {}", problem.detail)));
        return Err(bare(Problem::bad(first.unwrap_or_default())));
    }
    let reply = desk.ask(Ask::List(ListReport { session, items }), ANSWER_WITHIN).await.map_err(bare)?;
    let Reply::Listed(placed) = reply else { return Err(unexpected(&reply)) };
    let view = desk.view();
    let told = told(&view, &read, &placed, desk.now(), fields.unknown());
    let status = if whole { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok(respond::json(status, &told))
}

fn listed(row: Value) -> Result<Listed, Problem> {
    let mut fields = Fields::of_row(row)?;
    let (text, status) = (fields.needed("content")?, fields.text("status")?);
    let word = status.as_ref().map_or("pending", Foreign::json);
    let known = || Status::ALL.map(|status| status.word().to_owned()).to_vec();
    let status =
        Status::parse(word).ok_or_else(|| Problem::bad(format!("“{}” is no status", Foreign::new(word).plain())).perhaps(known()))?;
    let active_form = fields.text_of(&["activeForm", "active_form"])?;
    let (priority, owner) = (fields.label("priority")?, fields.text("owner")?);
    Ok(Listed { text, status, active_form, priority, owner })
}

/// What became of each row, as the next GET shows it.
fn told(view: &View, read: &[Result<Listed, Problem>], placed: &[Placed], now_ms: i64, warnings: Vec<String>) -> Value {
    let mut placed = placed.iter();
    let rows: Vec<Value> = read
        .iter()
        .map(|row| match row {
            Ok(element) => {
                placed.next().map_or_else(|| json!({"result": "refused", "error": "it was not kept"}), |at| result(view, element, *at))
            }
            Err(problem) => json!({"result": "refused", "error": problem.detail}),
        })
        .collect();
    let count = |word: &str| rows.iter().filter(|row| row["result"] == word).count();
    json!({
        "success": count("refused") == 0,
        "received": read.len(),
        "added": count("added"),
        "updated": count("updated"),
        "known": count("known"),
        "refused": count("refused"),
        "conflicts": rows.iter().filter(|row| row["conflict"].is_object()).count(),
        "totalTodos": view.todos.values().filter(|todo| !todo.deleted).count(),
        "lastSync": iso(now_ms),
        "results": rows,
        "warnings": warnings,
    })
}

fn result(view: &View, element: &Listed, at: Placed) -> Value {
    let word = match at.news {
        News::Added => "added",
        News::Updated => "updated",
        News::Known => "known",
    };
    let shown = view.todos.get(&at.todo);
    json!({
        "content": element.text.json(),
        "result": word,
        "id": at.todo,
        "status": shown.map(|todo| todo.status.word()),
        "deleted": shown.is_some_and(|todo| todo.deleted),
        "conflict": shown.and_then(|todo| conflict(view, todo, element)),
    })
}

/// A row that says something else than what counts; keyed as the replaced system's conflicts were.
fn conflict(view: &View, todo: &TodoView, element: &Listed) -> Option<Value> {
    if todo.status == element.status && !todo.deleted {
        return None;
    }
    let recorded = view.conflicts.values().filter(|conflict| conflict.todo == todo.id && !conflict.resolved);
    let rule = recorded.map(|conflict| conflict.rule).next();
    let stays = if todo.deleted { "deleted-stays" } else { "further-status-stays" };
    Some(json!({
        "content": todo.content.json(),
        "local_status": todo.status.word(),
        "remote_status": element.status.word(),
        "resolution": rule.unwrap_or(stays),
        "timestamp": iso(todo.updated),
    }))
}

/// `POST /api/v1/sync/sessions`: a list of records of sessions, or `{sessions: [...]}`. Answered after they are on disk.
pub(crate) async fn sessions(State(desk): State<Arc<Desk>>, body: Body) -> Result<Response, No> {
    let (rows, fields) = Fields::rows_of(body, "sessions").await.map_err(bare)?;
    if rows.len() > RECORDS_MAX {
        let problem = Problem::new(413, "too-large", format!("more than {RECORDS_MAX} sessions in one request"));
        return Err(bare(problem.fix("send them in parts")));
    }
    let numbered = |(n, row): (usize, Value)| {
        record(row).map_err(|mut problem| {
            problem.detail = format!("session {n}: {}", problem.detail);
            bare(problem)
        })
    };
    let records: Vec<SessionRecord> = rows.into_iter().enumerate().map(numbered).collect::<Result<_, _>>()?;
    let received = records.len();
    let reply = desk.ask(Ask::Sessions(records), ANSWER_WITHIN).await.map_err(bare)?;
    let Reply::Sessions { sessions, new } = reply else { return Err(unexpected(&reply)) };
    let told = json!({"received": received, "new": new, "sessions": sessions, "warnings": fields.unknown()});
    Ok(respond::json(StatusCode::OK, &told))
}

fn record(row: Value) -> Result<SessionRecord, Problem> {
    let mut fields = Fields::of_row(row)?;
    if let Some(name) = TRANSCRIPT.iter().find(|name| fields.has(name)) {
        let detail = format!("“{name}”: transcripts are not taken yet, only the records of sessions");
        return Err(Problem::of(Code::NotImplemented, detail).fix("leave it out"));
    }
    let id = fields.text_of(&["id", "sessionId", "session_id"])?.filter(|id| !id.is_blank());
    let tool = fields.text("tool")?.filter(|tool| !tool.is_blank());
    Ok(SessionRecord {
        tool: tool.map_or_else(|| TOOL.to_owned(), |tool| tool.normalised().to_lowercase()),
        id: id.ok_or_else(|| Problem::bad("“id” is missing"))?,
        agent: fields.text("agent")?,
        cwd: fields.text_of(&["cwd", "workingDirectory"])?,
        remote: fields.text_of(&["remote", "gitRemote", "repository"])?,
        branch: fields.text_of(&["branch", "gitBranch"])?,
        title: fields.text_of(&["title", "name"])?,
        started: match fields.time("startedAt")? {
            Some(at) => Some(at),
            None => fields.time("timestamp")?,
        },
    })
}

/// A route of the replaced systems that does nothing here yet, and says so.
pub(crate) async fn not_yet(uri: Uri) -> No {
    let detail = format!("{} is not there yet; nothing was taken", uri.path());
    bare(Problem::of(Code::NotImplemented, detail).fix("POST /api/agent-webhook, or POST /api/v3/beats"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, Raw, control, knock_socket, leos, say, todo};
    use crate::model::id::TodoId;

    async fn write(house: &mut House, line: &str, body: &Value, reply: Reply) -> (Raw, Ask) {
        let (lines, text) = (format!("POST {line} HTTP/1.1\r\nhost: hubless"), body.to_string());
        let said = say(knock_socket(&house.run()).await, &lines, &text);
        tokio::join!(said, house.answer(|_| reply))
    }

    #[tokio::test]
    async fn each_todo_is_answered_with_what_a_get_shows() {
        let mut house = House::open(Fleet::busy().0).await;
        let id = |text, status| todo("web", text, status).id;
        let (done, dark) = (id("Rotate staging key", Status::Completed), id("Dark mode", Status::InProgress));
        let placed = |todo: TodoId, news| Placed { todo, news };
        let body = json!([
            {"content": "Rotate staging key", "status": "pending", "activeForm": "Rotating"},
            {"content": "odd", "status": "asleep"},
            {"content": "Dark mode", "status": "in_progress"},
            "x",
        ]);
        let reply = Reply::Listed(vec![placed(done, News::Known), placed(dark, News::Updated)]);
        let (raw, ask) = write(&mut house, "/api/todos/sync", &body, reply).await;
        let Ask::List(list) = ask else { panic!("not a list") };
        assert_eq!((list.session, list.items.len(), list.items[0].active_form.clone()), (None, 2, Some("Rotating".into())));
        let told = raw.json();
        assert_eq!((raw.status, &told["success"], &told["received"], &told["refused"]), (207, &json!(false), &json!(4), &json!(2)));
        let rows = told["results"].as_array().expect("rows");
        assert_eq!((&rows[0]["id"], &rows[0]["status"], &rows[0]["result"]), (&json!(done), &json!("completed"), &json!("known")));
        let conflict = &rows[0]["conflict"];
        assert_eq!((&conflict["local_status"], &conflict["remote_status"]), (&json!("completed"), &json!("pending")));
        assert_eq!(conflict["resolution"], json!("completed-stays"));
        assert_eq!((&rows[1]["result"], &rows[1]["error"]), (&json!("refused"), &json!("“asleep” is no status")));
        assert_eq!((&rows[2]["result"], &rows[2]["conflict"]), (&json!("updated"), &Value::Null));
        assert_eq!(
            (&told["updated"], &told["known"], &told["conflicts"], &told["totalTodos"]),
            (&json!(1), &json!(1), &json!(1), &json!(3))
        );
        let whole = json!({"sessionId": "s1", "todos": [{"content": "Dark mode"}]});
        let (raw, ask) = write(&mut house, "/api/todos/sync", &whole, Reply::Listed(vec![placed(dark, News::Added)])).await;
        assert_eq!((raw.status, &raw.json()["success"]), (200, &json!(true)));
        assert!(matches!(ask, Ask::List(ListReport { session: Some(_), .. })));
        let torn = json!({"sessionId": "s1", "todos": [{"content": "Dark mode"}, {}]}).to_string();
        let raw = control(&house, "POST /api/todos/sync", &torn).await;
        assert_eq!((raw.status, raw.json()["error"].clone()), (400, json!("row 1: “content” is missing")));
        house.close().await;
    }

    #[tokio::test]
    async fn records_of_sessions_are_counted() {
        let mut house = House::open(Fleet::new().0).await;
        let body = json!({"sessions": [
            {"type": "session", "version": 3, "id": "a", "timestamp": "1970-01-01T00:00:01Z", "cwd": "/w"},
            {"sessionId": "b", "tool": "Claude", "startedAt": 7, "title": "t", "agent": "sam"},
        ]});
        let (raw, ask) = write(&mut house, "/api/v1/sync/sessions", &body, Reply::Sessions { sessions: vec![leos()], new: 1 }).await;
        assert_eq!((raw.status, &raw.json()["received"], &raw.json()["new"]), (200, &json!(2), &json!(1)));
        let Ask::Sessions(records) = ask else { panic!("not sessions") };
        assert_eq!((records[0].tool.as_str(), records[0].started, records[0].cwd.clone()), ("pi", Some(1000), Some("/w".into())));
        assert_eq!((records[1].tool.as_str(), records[1].started, records[1].id.json()), ("claude", Some(7), "b"));
        for (body, status) in [
            ("", 400),
            ("7", 400),
            ("{}", 400),
            ("[{}]", 400),
            (r#"[{"id": "a", "startedAt": "soon"}]"#, 400),
            (r#"[{"id": "a", "entries": [{}]}]"#, 501),
        ] {
            let raw = control(&house, "POST /api/v1/sync/sessions", body).await;
            assert_eq!((raw.status, raw.json()["error"].is_string()), (status, true), "{body}");
        }
        house.close().await;
    }

    #[tokio::test]
    async fn what_is_not_there_yet_says_so() {
        let house = House::open(Fleet::new().0).await;
        for line in ["POST /api/orchestrate", "POST /api/session"] {
            let raw = control(&house, line, "{}").await;
            assert_eq!((raw.status, raw.json()["error"].is_string()), (501, true), "{line}");
        }
        assert_eq!(control(&house, "POST /api/v1/todos/sync", "[]").await.status, 404, "what its script called");
        house.close().await;
    }
}
