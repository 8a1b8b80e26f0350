//! Writes of `/api/v3`: only the control socket has these routes.
//!
//! Each is one question to the core, answered after it was kept; whoever got a 201 sees the todo in the next GET, because the
//! answer itself is read from what the next GET reads.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::body::Fields;
use super::desk::{ANSWER_WITHIN, Desk};
use super::doorman::{AGENT_HEADER, KEY_HEADER};
use super::problem::Problem;
use super::reads;
use super::respond::{self, No};
use crate::model::ask::{Ask, Keeping, Report, TodoAsk, TodoDeed};
use crate::model::beat::Reported;
use crate::model::id::TodoId;
use crate::model::reply::{Code, Reply};
use crate::model::text::Foreign;

/// Bytes of an `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;

/// An answer, or why there is none.
pub(crate) type Written = Result<Response, No>;

/// `POST /api/v3/todos {content, project?, priority?}`.
pub(crate) async fn add(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let what = TodoDeed::Add {
        content: fields.needed("content")?,
        project: fields.text("project")?.filter(|project| !project.is_blank()).map(|project| project.normalised()),
        priority: fields.label("priority")?,
    };
    act(&desk, &headers, fields, what).await
}

/// `POST /api/v3/todos/{id}/{deed}`.
pub(crate) async fn deed(
    State(desk): State<Arc<Desk>>,
    Path((id, deed)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Written {
    let mut fields = Fields::of(body).await?;
    let typed = id.clone();
    let what = match deed.as_str() {
        "start" => TodoDeed::Start { id },
        "done" => TodoDeed::Done { id },
        "reopen" => TodoDeed::Reopen { id },
        "delete" => TodoDeed::Delete { id },
        "undo" => TodoDeed::Undo { id },
        "edit" => edit(id, &mut fields)?,
        "assign" => assign(id, &mut fields)?,
        "tag" => TodoDeed::Tag { id, tags: fields.texts("tags")?, on: true },
        "untag" => TodoDeed::Tag { id, tags: fields.texts("tags")?, on: false },
        "resolve" => TodoDeed::Resolve { id, keep: keeping(&mut fields)? },
        "claim" | "release" => {
            return Err(Problem::of(Code::NotImplemented, "claims do not exist yet").fix("hubless todos start ID").into());
        }
        _ => return Err(reads::no_route(&format!("/api/v3/todos/{id}/{deed}")).into()),
    };
    act(&desk, &headers, fields, what).await.map_err(|No(problem)| No(meant(&desk, &typed, problem)))
}

/// `POST /api/v3/sessions/{id}/tag {tags}`, and `untag`.
pub(crate) async fn session(
    State(desk): State<Arc<Desk>>,
    Path((id, deed)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Written {
    let mut fields = Fields::of(body).await?;
    let on = match deed.as_str() {
        "tag" => true,
        "untag" => false,
        _ => return Err(reads::no_route(&format!("/api/v3/sessions/{id}/{deed}")).into()),
    };
    let session = reads::find_session(&desk.view(), &id)?.id;
    let (tags, agent) = (fields.texts("tags")?, acting(&headers, &mut fields)?);
    let reply = desk.ask(Ask::Tag { session, tags, on, agent }, ANSWER_WITHIN).await?;
    let Reply::Tagged { session } = reply else { return Err(unexpected(&reply)) };
    let view = desk.view();
    let answer = reads::answer(&view, desk.now(), "daemon", &format!("/api/v3/sessions/{session}"), "");
    let value = answer.unwrap_or_else(|_| reads::wrapped(&view, desk.now(), json!({"id": session})));
    Ok(respond::json(StatusCode::OK, &with_warnings(value, fields.unknown())))
}

/// A todo that was called by its words, or by an id with a wrong letter, is proposed by its id.
fn meant(desk: &Desk, typed: &str, problem: Problem) -> Problem {
    if problem.code != Code::TodoNotFound.word() || !problem.did_you_mean.is_empty() {
        return problem;
    }
    match reads::find_todo(&desk.view(), typed) {
        Err(found) => problem.perhaps(found.did_you_mean.clone()),
        Ok(_) => problem,
    }
}

fn edit(id: String, fields: &mut Fields) -> Result<TodoDeed, Problem> {
    let (content, owner, priority) = (fields.text("content")?, fields.text("owner")?, fields.label("priority")?);
    if content.is_none() && owner.is_none() && priority.is_none() {
        return Err(Problem::bad("there is nothing to edit: “content”, “owner” and “priority” are missing"));
    }
    if content.as_ref().is_some_and(Foreign::is_blank) {
        return Err(Problem::bad("“content” must say something").fix("delete the todo instead"));
    }
    Ok(TodoDeed::Edit { id, content, owner, priority })
}

fn assign(id: String, fields: &mut Fields) -> Result<TodoDeed, Problem> {
    let owner = fields.text("owner")?;
    let owner = if owner.is_some() { owner } else { fields.text("to")? };
    let owner = owner.ok_or_else(|| Problem::bad("“owner” is missing"))?;
    Ok(TodoDeed::Edit { id, content: None, owner: Some(owner), priority: None })
}

fn keeping(fields: &mut Fields) -> Result<Keeping, Problem> {
    let text = fields.text("text")?.filter(|text| !text.is_blank());
    let keep = fields.label("keep")?;
    match (keep.as_ref().map(Foreign::json), text) {
        (None, Some(text)) => Ok(Keeping::Text(text)),
        (Some("local" | "1"), None) => Ok(Keeping::Local),
        (Some("remote" | "2"), None) => Ok(Keeping::Remote),
        (Some("both"), None) => Ok(Keeping::Both),
        (Some(_), Some(_)) => Err(Problem::bad("“keep” and “text” cannot both count")),
        (Some(_), None) => {
            Err(Problem::bad("“keep” must be local, remote or both").perhaps(vec!["local".into(), "remote".into(), "both".into()]))
        }
        (None, None) => Err(Problem::bad("“keep” is missing").fix("{\"keep\": \"local\" | \"remote\" | \"both\"} or {\"text\": …}")),
    }
}

async fn act(desk: &Desk, headers: &HeaderMap, mut fields: Fields, what: TodoDeed) -> Written {
    let agent = acting(headers, &mut fields)?;
    let ask = TodoAsk { what, agent, key: key(headers)? };
    let reply = desk.ask(Ask::Todo(ask), ANSWER_WITHIN).await?;
    let Reply::Todo { id, created } = reply else { return Err(unexpected(&reply)) };
    Ok(shown(desk, id, created, fields.unknown()))
}

/// The todo as the next GET shows it.
fn shown(desk: &Desk, id: TodoId, created: bool, warnings: Vec<String>) -> Response {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let view = desk.view();
    let path = format!("/api/v3/todos/{id}");
    let answer = reads::answer(&view, desk.now(), "daemon", &path, "");
    let value = answer.unwrap_or_else(|_| reads::wrapped(&view, desk.now(), json!({"id": id})));
    respond::json(status, &with_warnings(value, warnings))
}

fn with_warnings(mut value: Value, warnings: Vec<String>) -> Value {
    if let Some(list) = value.get_mut("warnings").and_then(Value::as_array_mut) {
        list.extend(warnings.into_iter().map(Value::from));
    }
    value
}

/// The agent that acts: the header, else `agent` or `as` in the body; `None` is a person.
fn acting(headers: &HeaderMap, fields: &mut Fields) -> Result<Option<Foreign>, Problem> {
    let (agent, named) = (fields.text("agent")?, fields.text("as")?);
    let header = headers.get(AGENT_HEADER).map(|value| Foreign::new(String::from_utf8_lossy(value.as_bytes())));
    Ok(header.or(agent).or(named).filter(|agent| !agent.is_blank()))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= KEY_BYTES_MAX);
    text.map(|text| Some(text.to_owned())).ok_or_else(|| Problem::bad("Idempotency-Key must be 1 to 255 letters of ASCII"))
}

/// `POST /api/v3/beats`.
pub(crate) async fn beat(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let report = report(&headers, &mut fields)?;
    let reply = desk.ask(Ask::Beat(report), ANSWER_WITHIN).await?;
    let Reply::Beat { session, updated, durable, told } = reply else { return Err(unexpected(&reply)) };
    let told = json!({"success": true, "sessionId": session, "updated": updated, "durable": durable, "replicatedTo": told});
    // Whoever reports may have left something while we were slow to answer.
    desk.spooled.notify_one();
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

/// Reads an agent's report.
pub(crate) fn report(headers: &HeaderMap, fields: &mut Fields) -> Result<Report, Problem> {
    let agent = acting(headers, fields)?.ok_or_else(|| Problem::bad("“agent” is missing"))?;
    let state = fields.text("state")?.map(|word| reported(&word)).transpose()?;
    let source = match fields.text("source")?.as_ref().map(Foreign::json) {
        Some("cli") => "cli",
        Some("hook") => "hook",
        Some(_) | None => "api",
    };
    Ok(Report {
        agent,
        state,
        task: fields.text("task")?,
        file: fields.text("file")?,
        note: fields.text("note")?,
        tool: fields.text("tool")?.filter(|tool| !tool.is_blank()).map(|tool| tool.normalised().to_lowercase()),
        session: fields.text("session")?.filter(|session| !session.is_blank()),
        pid: fields.number("pid")?,
        interval_s: fields.number("intervalS")?,
        device: None,
        metadata: fields.object("metadata")?,
        source,
        cwd: fields.text("cwd")?.filter(|cwd| !cwd.is_blank()),
        at: fields.moment("at")?,
    })
}

/// Reads an agent's word for its state.
pub(crate) fn reported(word: &Foreign) -> Result<Reported, Problem> {
    let words = ["working", "waiting", "idle", "done", "failed"].map(str::to_owned).to_vec();
    Reported::parse(word.json()).ok_or_else(|| Problem::bad(format!("“{}” is no state", word.plain())).perhaps(words))
}

/// `POST /api/v3/rescan`.
pub(crate) async fn rescan(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    let fields = Fields::of(body).await?;
    let reply = desk.ask(Ask::Rescan, ANSWER_WITHIN).await?;
    let Reply::Rescanning = reply else { return Err(unexpected(&reply)) };
    Ok(wrapped(&desk, StatusCode::ACCEPTED, json!({"rescanning": true}), fields.unknown()))
}

/// `POST /api/v3/sources/{source}/{deed}`: a tool or one source rests (`pause`) or goes on (`resume`).
pub(crate) async fn source(State(desk): State<Arc<Desk>>, Path((source, deed)): Path<(String, String)>, body: Body) -> Written {
    let fields = Fields::of(body).await?;
    let rests = match deed.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return Err(Problem::missing("route-not-found", "a source can be paused and resumed").into()),
    };
    let reply = desk.ask(Ask::Pause { source, rests }, ANSWER_WITHIN).await?;
    let Reply::Paused { sources, paused } = reply else { return Err(unexpected(&reply)) };
    Ok(wrapped(&desk, StatusCode::OK, json!({"sources": sources, "paused": paused}), fields.unknown()))
}

/// `GET /api/v3/export`: one automerge document. It holds everything, so only the control socket gives it out.
pub(crate) async fn export(State(desk): State<Arc<Desk>>) -> Written {
    let reply = desk.ask(Ask::Export, ANSWER_WITHIN).await?;
    let Reply::Document(bytes) = reply else { return Err(unexpected(&reply)) };
    let mut response = respond::written(StatusCode::OK, "application/octet-stream", bytes);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What was told, in the envelope of every answer.
pub(crate) fn wrapped(desk: &Desk, status: StatusCode, data: Value, warnings: Vec<String>) -> Response {
    let value = reads::wrapped(&desk.view(), desk.now(), data);
    respond::json(status, &with_warnings(value, warnings))
}

/// An answer to another question: a fault of ours, told as one.
pub(crate) fn unexpected(reply: &Reply) -> No {
    tracing::error!("the core answered another question");
    let kind = match reply {
        Reply::Beat { .. } => "beat",
        Reply::Todo { .. } => "todo",
        Reply::Listed(_) => "listed",
        Reply::Sessions { .. } => "sessions",
        Reply::Invited { .. } => "invited",
        Reply::Tried(_) => "tried",
        Reply::WindowClosed => "window closed",
        Reply::Paired { .. } => "paired",
        Reply::Removed { .. } => "removed",
        Reply::Tagged { .. } => "tagged",
        Reply::Renamed { .. } => "renamed",
        Reply::Left => "left",
        Reply::Pong { .. } => "pong",
        Reply::Rescanning => "rescanning",
        Reply::Paused { .. } => "paused",
        Reply::Resting { .. } => "resting",
        Reply::Checked(_) => "checked",
        Reply::Document(_) => "document",
        Reply::Refused(_) => "refused",
    };
    No(Problem::new(500, "internal", format!("the core gave an answer of another kind: {kind}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, MBP, MINI, Raw, control, get, knock_socket, leos, say, todo};
    use crate::model::ask::Tries;
    use crate::model::reply::{Keys, Refusal};
    use crate::model::todo::Status;

    /// Sends a write and answers it as `core` says.
    async fn write(house: &mut House, lines: &str, body: &str, core: impl FnOnce(&Ask) -> Reply) -> (Raw, Ask) {
        let stream = knock_socket(&house.run()).await;
        let lines = format!("{lines} HTTP/1.1\r\nhost: hubless");
        let said = say(stream, &lines, body);
        let (raw, ask) = tokio::join!(said, house.answer(core));
        (raw, ask)
    }

    async fn refused(house: &House, line: &str, body: &str) -> Value {
        let raw = control(house, line, body).await;
        assert_eq!(raw.header("content-type"), Some("application/problem+json"), "{line} {body}");
        let mut problem = raw.json();
        problem["status"] = json!(raw.status);
        problem
    }

    #[tokio::test]
    async fn whoever_gets_201_sees_the_todo_in_the_next_get() {
        let mut house = House::open(Fleet::busy().0).await;
        let fresh = todo("web", "Fix the é", Status::Pending);
        let shown = fresh.clone();
        let show = house.show.clone();
        let body = json!({"content": "Fix the é", "project": " web ", "priority": 1, "agent": "sam", "colour": "red"}).to_string();
        let (raw, ask) = write(&mut house, "POST /api/v3/todos", &body, |_| {
            show.send_modify(|view| drop(Arc::make_mut(view).todos.insert(shown.id, Arc::new(shown.clone()))));
            Reply::Todo { id: shown.id, created: true }
        })
        .await;
        let what = TodoDeed::Add { content: "Fix the é".into(), project: Some("web".into()), priority: Some("1".into()) };
        assert_eq!(ask, Ask::Todo(TodoAsk { what, agent: Some("sam".into()), key: None }));
        let told = raw.json();
        assert_eq!((raw.status, &told["data"]["id"], &told["data"]["content"]), (201, &json!(fresh.id), &json!("Fix the é")));
        assert!(told["warnings"][0].as_str().is_some_and(|line| line.contains("“colour”")), "{told}");
        let next = get(&house, &format!("/api/v3/todos/{}", fresh.id)).await.json();
        assert_eq!(next["data"], told["data"]);
        let (raw, _) = write(&mut house, "POST /api/v3/todos", &body, |_| Reply::Todo { id: fresh.id, created: false }).await;
        assert_eq!(raw.status, 200, "nothing new");
        house.close().await;
    }

    #[tokio::test]
    async fn every_deed_reaches_the_core_as_it_was_meant() {
        let mut house = House::open(Fleet::busy().0).await;
        let id = || "t-7f".to_owned();
        let edit = |content: Option<&str>, owner: Option<&str>, priority: Option<&str>| {
            let text = |text: Option<&str>| text.map(Foreign::from);
            TodoDeed::Edit { id: id(), content: text(content), owner: text(owner), priority: text(priority) }
        };
        let resolve = |keep| TodoDeed::Resolve { id: id(), keep };
        for (deed, body, what) in [
            ("start", "", TodoDeed::Start { id: id() }),
            ("done", "{}", TodoDeed::Done { id: id() }),
            ("reopen", "", TodoDeed::Reopen { id: id() }),
            ("delete", "", TodoDeed::Delete { id: id() }),
            ("undo", "", TodoDeed::Undo { id: id() }),
            ("edit", r#"{"content": "x", "priority": "high"}"#, edit(Some("x"), None, Some("high"))),
            ("edit", r#"{"owner": ""}"#, edit(None, Some(""), None)),
            ("assign", r#"{"to": "max"}"#, edit(None, Some("max"), None)),
            ("assign", r#"{"owner": "max"}"#, edit(None, Some("max"), None)),
            ("resolve", r#"{"keep": "local"}"#, resolve(Keeping::Local)),
            ("resolve", r#"{"keep": 2}"#, resolve(Keeping::Remote)),
            ("resolve", r#"{"keep": "both"}"#, resolve(Keeping::Both)),
            ("resolve", r#"{"text": "y"}"#, resolve(Keeping::Text("y".into()))),
        ] {
            let line = format!("POST /api/v3/todos/t-7f/{deed}");
            let (raw, ask) =
                write(&mut house, &line, body, |_| Reply::Todo { id: todo("web", "Dark mode", Status::Pending).id, created: false }).await;
            assert_eq!(raw.status, 200, "{deed} {}", raw.body);
            assert_eq!(ask, Ask::Todo(TodoAsk { what, agent: None, key: None }), "{deed} {body}");
        }
        house.close().await;
    }

    #[tokio::test]
    async fn a_key_and_an_agent_come_along() {
        let mut house = House::open(Fleet::busy().0).await;
        let lines = "POST /api/v3/todos/t-7f/done HTTP/1.1\r\nhost: hubless\r\nx-hubless-agent: kai\r\nidempotency-key: k-1";
        let said = say(knock_socket(&house.run()).await, lines, r#"{"as": "sam"}"#);
        let id = todo("web", "Dark mode", Status::Pending).id;
        let (raw, ask) = tokio::join!(said, house.answer(|_| Reply::Todo { id, created: false }));
        assert_eq!(raw.status, 200, "{}", raw.body);
        let what = TodoDeed::Done { id: "t-7f".into() };
        assert_eq!(ask, Ask::Todo(TodoAsk { what, agent: Some("kai".into()), key: Some("k-1".into()) }));
        house.close().await;
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_and_never_reaches_the_core() {
        let mut house = House::open(Fleet::busy().0).await;
        for (line, body, status, names) in [
            ("POST /api/v3/todos", "{}", 400, "content"),
            ("POST /api/v3/todos", r#"{"content": "  "}"#, 400, "content"),
            ("POST /api/v3/todos", r#"{"content": 5}"#, 400, "content"),
            ("POST /api/v3/todos", r#"{"content": "x", "project": []}"#, 400, "project"),
            ("POST /api/v3/todos", "[1]", 400, "object"),
            ("POST /api/v3/todos", "{\"content\": ", 400, "JSON"),
            ("POST /api/v3/todos/t-7f/edit", "{}", 400, "content"),
            ("POST /api/v3/todos/t-7f/edit", r#"{"content": " "}"#, 400, "content"),
            ("POST /api/v3/todos/t-7f/assign", "{}", 400, "owner"),
            ("POST /api/v3/todos/t-7f/resolve", "{}", 400, "keep"),
            ("POST /api/v3/todos/t-7f/resolve", r#"{"keep": "mine"}"#, 400, "keep"),
            ("POST /api/v3/todos/t-7f/resolve", r#"{"keep": "local", "text": "x"}"#, 400, "text"),
            ("POST /api/v3/todos/t-7f/claim", "", 501, "claims"),
            ("POST /api/v3/todos/t-7f/release", "", 501, "claims"),
            ("POST /api/v3/todos/t-7f/explode", "", 404, "nothing"),
            ("POST /api/v3/beats", "{}", 400, "agent"),
            ("POST /api/v3/beats", r#"{"agent": "sam", "state": "asleep"}"#, 400, "state"),
            ("POST /api/v3/beats", r#"{"agent": "sam", "pid": -1}"#, 400, "pid"),
            ("POST /api/v3/beats", r#"{"agent": "sam", "intervalS": "60"}"#, 400, "intervalS"),
            ("POST /api/v3/beats", r#"{"agent": "sam", "metadata": "x"}"#, 400, "metadata"),
            ("POST /api/v3/beats", r#"{"agent": "sam", "at": "now"}"#, 400, "at"),
        ] {
            let problem = refused(&house, line, body).await;
            assert_eq!(problem["status"], json!(status), "{line} {body}");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(names)), "{line} {body}: {problem}");
        }
        let key = "POST /api/v3/todos/t-7f/done HTTP/1.1\r\nhost: hubless\r\nidempotency-key:";
        assert_eq!(say(knock_socket(&house.run()).await, key, "").await.status, 400);
        let large = format!("{{\"content\": \"{}\"}}", "x".repeat(crate::api::body::BODY_BYTES_MAX));
        assert_eq!(control(&house, "POST /api/v3/todos", &large).await.status, 413);
        assert!(house.asked.as_mut().expect("a core").try_recv().is_err(), "nothing reached the core");
        house.close().await;
    }

    #[tokio::test]
    async fn a_beat_says_where_it_got_to() {
        let mut house = House::open(Fleet::busy().0).await;
        let body = json!({"agent": "sam", "task": "AGT-280", "file": "src/retry.rs", "state": "waiting", "note": "approve?", "session": "7e1f",
            "tool": "Claude", "intervalS": 60, "pid": 812, "metadata": {"branch": "main"}, "source": "cli",
            "cwd": "/w/api", "at": 1_772_460_131_000_i64});
        let reply = Reply::Beat { session: leos(), updated: true, durable: true, told: vec!["mac-mini".into()] };
        let (raw, ask) = write(&mut house, "POST /api/v3/beats", &body.to_string(), |_| reply).await;
        let Ask::Beat(report) = ask else { panic!("not a beat") };
        let expected = Report {
            agent: "sam".into(),
            state: Some(Reported::Waiting),
            task: Some("AGT-280".into()),
            file: Some("src/retry.rs".into()),
            note: Some("approve?".into()),
            tool: Some("claude".into()),
            session: Some("7e1f".into()),
            pid: Some(812),
            interval_s: Some(60),
            device: None,
            metadata: Some(Foreign::new(r#"{"branch":"main"}"#)),
            source: "cli",
            cwd: Some("/w/api".into()),
            at: Some(1_772_460_131_000),
        };
        assert_eq!(report, expected);
        let told = json!({"success": true, "sessionId": leos(), "updated": true, "durable": true, "replicatedTo": ["mac-mini"]});
        assert_eq!((raw.status, &raw.json()["data"]), (200, &told));
        let reply = Reply::Beat { session: leos(), updated: true, durable: false, told: vec![] };
        let (_, ask) = write(&mut house, "POST /api/v3/beats", r#"{"agent": "sam", "task": ""}"#, |_| reply).await;
        assert_eq!(ask, Ask::Beat(Report { agent: "sam".into(), task: Some("".into()), source: "api", ..Report::default() }));
        house.close().await;
    }

    #[tokio::test]
    async fn what_needs_other_devices_is_asked_and_told() {
        let mut house = House::open(Fleet::busy().0).await;
        let keys = Keys { ticket: "hubless1…".into(), code: None, addresses: vec![], until_ms: 0, tries: 3 };
        let window = keys.clone();
        let (raw, ask) = write(&mut house, "POST /api/v3/pair", "{}", |_| Reply::Invited { window: 7, keys: window }).await;
        assert_eq!((ask, &raw.json()["data"]["ticket"]), (Ask::Invite { code: false }, &json!("hubless1…")));
        let keys = Keys { code: Some("318-4402-771".into()), ..keys };
        let (raw, ask) = write(&mut house, "POST /api/v3/pair", r#"{"by": "code"}"#, |_| Reply::Invited { window: 7, keys }).await;
        let told = &raw.json()["data"];
        assert_eq!((ask, &told["code"], &told["window"]), (Ask::Invite { code: true }, &json!("318-4402-771"), &json!(7)));
        assert_eq!(refused(&house, "POST /api/v3/pair", r#"{"by": "magic"}"#).await["status"], 400);
        let paired = Reply::Paired { device: MINI, name: "mac-mini".into() };
        let (raw, ask) = write(&mut house, "POST /api/v3/pair", r#"{"ticket": " abc\n", "addr": "h:1"}"#, |_| paired).await;
        let join = Ask::Join { text: "abc".into(), at: Some("h:1".into()) };
        assert_eq!((ask, &raw.json()["data"]["device"]["name"]), (join, &json!("mac-mini")));
        let pong = Reply::Pong { device: MINI, rtt_ms: 4, address: "192.168.1.20:41733".into(), level: true };
        let (raw, ask) = write(&mut house, "POST /api/v3/devices/mac%2Dmini/ping", "", |_| pong).await;
        let told = raw.json();
        assert_eq!(
            (ask, &told["data"]["rttMs"], &told["data"]["deviceName"]),
            (Ask::Ping { device: "mac-mini".into() }, &json!(4), &json!("mac-mini"))
        );
        let removed = Reply::Removed { device: MINI, name: "mac-mini".into() };
        let (raw, ask) = write(&mut house, "POST /api/v3/devices/mini/revoke", r#"{"forgetData": true}"#, |_| removed).await;
        assert_eq!((ask, &raw.json()["data"]["state"]), (Ask::Revoke { device: "mini".into(), forget: true }, &json!("removed")));
        let renamed = Reply::Renamed { device: MINI, name: "attic".into() };
        let (raw, ask) = write(&mut house, "POST /api/v3/devices/mini/rename", r#"{"name": "attic"}"#, |_| renamed).await;
        let asked = Ask::Rename { device: "mini".into(), name: "attic".into() };
        assert_eq!((ask, &raw.json()["data"]["device"]["name"]), (asked, &json!("attic")));
        let (raw, ask) = write(&mut house, "POST /api/v3/rescan", "", |_| Reply::Rescanning).await;
        assert_eq!((ask, raw.status), (Ask::Rescan, 202));
        let (raw, ask) = write(&mut house, "POST /api/v3/leave", "", |_| Reply::Left).await;
        assert_eq!((ask, &raw.json()["data"]["state"]), (Ask::Leave, &json!("alone")));
        let (raw, ask) = write(&mut house, "GET /api/v3/export", "", |_| Reply::Document(b"automerge".to_vec())).await;
        assert_eq!((ask, raw.body.as_str(), raw.header("content-type")), (Ask::Export, "automerge", Some("application/octet-stream")));
        house.close().await;
    }

    #[tokio::test]
    async fn who_waits_at_a_window_hears_what_comes_and_whoever_goes_away_closes_it() {
        let mut house = House::open(Fleet::busy().0).await;
        let tries = Tries { wrong: 1, relayed: 0 };
        let (raw, ask) = write(&mut house, "POST /api/v3/pair/7/wait", "{}", |_| Reply::Tried(tries)).await;
        assert_eq!(ask, Ask::AwaitJoiner { window: 7, known: Tries::default() });
        assert_eq!(raw.json()["data"], json!({"state": "open", "wrong": 1, "relayed": 0}));
        let paired = Reply::Paired { device: MINI, name: "mac-mini".into() };
        let (raw, ask) = write(&mut house, "POST /api/v3/pair/7/wait", r#"{"wrong": 1}"#, |_| paired).await;
        assert_eq!((ask, &raw.json()["data"]["state"]), (Ask::AwaitJoiner { window: 7, known: tries }, &json!("paired")));
        let (raw, ask) = write(&mut house, "POST /api/v3/pair/7/close", "", |_| Reply::WindowClosed).await;
        assert_eq!((ask, raw.status), (Ask::CloseWindow { window: 7, left: false }, 200));
        // The command dies while it waits.
        let mut stream = knock_socket(&house.run()).await;
        let request = "POST /api/v3/pair/8/wait HTTP/1.1\r\nhost: hubless\r\ncontent-length: 2\r\n\r\n{}";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("said");
        assert_eq!(house.hear().await, Ask::AwaitJoiner { window: 8, known: Tries::default() });
        drop(stream);
        assert_eq!(house.hear().await, Ask::CloseWindow { window: 8, left: false });
        house.close().await;
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_cause_and_fix() {
        let mut house = House::open(Fleet::busy().0).await;
        let no = Refusal::new(Code::Storage, "it could not be written").because("no space left").fix("free some space");
        let (raw, _) = write(&mut house, "POST /api/v3/todos/t-7f/done", "", |_| Reply::Refused(no)).await;
        let problem = raw.json();
        assert_eq!((raw.status, &problem["code"], &problem["fix"]), (503, &json!("storage"), &json!("free some space")));
        let (raw, _) = write(&mut house, "POST /api/v3/todos/t-7f/done", "", |_| Reply::Left).await;
        assert_eq!((raw.status, raw.json()["code"].clone()), (500, json!("internal")), "a fault of ours is told as one");
        house.asked = None;
        assert_eq!(refused(&house, "POST /api/v3/rescan", "").await["code"], json!("daemon-down"));
        assert_eq!(get(&house, "/v2/syncOverview").await.status, 200, "reading goes on");
        assert_eq!(house.show.borrow().me, MBP);
        house.close().await;
    }
}
