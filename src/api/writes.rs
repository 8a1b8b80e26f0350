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
use super::desk::{ANSWER_WITHIN, Desk, FAR_ANSWER_WITHIN};
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

type Written = Result<Response, No>;

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
    let what = match deed.as_str() {
        "start" => TodoDeed::Start { id },
        "done" => TodoDeed::Done { id },
        "reopen" => TodoDeed::Reopen { id },
        "delete" => TodoDeed::Delete { id },
        "undo" => TodoDeed::Undo { id },
        "edit" => edit(id, &mut fields)?,
        "assign" => assign(id, &mut fields)?,
        "resolve" => TodoDeed::Resolve { id, keep: keeping(&mut fields)? },
        "claim" | "release" => {
            return Err(Problem::of(Code::NotImplemented, "claims do not exist yet").fix("hubless todos start ID").into());
        }
        _ => return Err(reads::no_route(&format!("/api/v3/todos/{id}/{deed}")).into()),
    };
    act(&desk, &headers, fields, what).await
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
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

fn report(headers: &HeaderMap, fields: &mut Fields) -> Result<Report, Problem> {
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
    })
}

/// Reads an agent's word for its state.
pub(crate) fn reported(word: &Foreign) -> Result<Reported, Problem> {
    let words = ["working", "waiting", "idle", "done", "failed"].map(str::to_owned).to_vec();
    Reported::parse(word.json()).ok_or_else(|| Problem::bad(format!("“{}” is no state", word.plain())).perhaps(words))
}

/// `POST /api/v3/pair`: without a ticket it invites, with one it joins.
pub(crate) async fn pair(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let ticket = fields.text("ticket")?.filter(|ticket| !ticket.is_blank());
    let told = match ticket {
        None => {
            let reply = desk.ask(Ask::Invite, ANSWER_WITHIN).await?;
            let Reply::Ticket { ticket, until_ms } = reply else { return Err(unexpected(&reply)) };
            json!({"state": "open", "ticket": ticket, "until": reads::iso(until_ms)})
        }
        Some(ticket) => {
            let ask = Ask::Join { ticket: ticket.json().trim().to_owned() };
            let reply = desk.ask(ask, FAR_ANSWER_WITHIN).await?;
            let Reply::Paired { device, name } = reply else { return Err(unexpected(&reply)) };
            json!({"state": "paired", "device": {"id": device, "shortId": device.short(), "name": name}})
        }
    };
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

/// `POST /api/v3/leave`.
pub(crate) async fn leave(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    let fields = Fields::of(body).await?;
    let reply = desk.ask(Ask::Leave, ANSWER_WITHIN).await?;
    let Reply::Left = reply else { return Err(unexpected(&reply)) };
    Ok(wrapped(&desk, StatusCode::OK, json!({"state": "alone"}), fields.unknown()))
}

/// `POST /api/v3/devices/{name}/ping`.
pub(crate) async fn ping(State(desk): State<Arc<Desk>>, Path(device): Path<String>, body: Body) -> Written {
    let fields = Fields::of(body).await?;
    let reply = desk.ask(Ask::Ping { device }, FAR_ANSWER_WITHIN).await?;
    let Reply::Pong { device, rtt_ms, address, level } = reply else { return Err(unexpected(&reply)) };
    let name = desk.view().device_name(&device).json().to_owned();
    let told =
        json!({"device": device, "shortId": device.short(), "deviceName": name, "rttMs": rtt_ms, "address": address, "level": level});
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

/// `POST /api/v3/rescan`.
pub(crate) async fn rescan(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    let fields = Fields::of(body).await?;
    let reply = desk.ask(Ask::Rescan, ANSWER_WITHIN).await?;
    let Reply::Rescanning = reply else { return Err(unexpected(&reply)) };
    Ok(wrapped(&desk, StatusCode::ACCEPTED, json!({"rescanning": true}), fields.unknown()))
}

/// `GET /api/v3/export`: one automerge document. It holds everything, so only the control socket gives it out.
pub(crate) async fn export(State(desk): State<Arc<Desk>>) -> Written {
    let reply = desk.ask(Ask::Export, ANSWER_WITHIN).await?;
    let Reply::Document(bytes) = reply else { return Err(unexpected(&reply)) };
    let mut response = respond::written(StatusCode::OK, "application/octet-stream", bytes);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn wrapped(desk: &Desk, status: StatusCode, data: Value, warnings: Vec<String>) -> Response {
    let value = reads::wrapped(&desk.view(), desk.now(), data);
    respond::json(status, &with_warnings(value, warnings))
}

/// An answer to another question: a fault of ours, told as one.
pub(crate) fn unexpected(reply: &Reply) -> No {
    tracing::error!("the core answered another question");
    let kind = match reply {
        Reply::Beat { .. } => "beat",
        Reply::Todo { .. } => "todo",
        Reply::Ticket { .. } => "ticket",
        Reply::Paired { .. } => "paired",
        Reply::Left => "left",
        Reply::Pong { .. } => "pong",
        Reply::Rescanning => "rescanning",
        Reply::Document(_) => "document",
        Reply::Refused(_) => "refused",
    };
    No(Problem::new(500, "internal", format!("the core gave an answer of another kind: {kind}")))
}
