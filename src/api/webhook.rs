//! `POST /api/agent-webhook` of Mission Control: whoever runs an agent says that its run began, goes on, is done or failed.
//!
//! One run has one key, and the same key is the same session (the replaced system made a second task of a second `spawn`).
//! `agentName` and `task` are needed once and then known; a run that was never announced is taken with a warning, not lost.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::body::Fields;
use super::desk::{ANSWER_WITHIN, Desk};
use super::problem::Problem;
use super::respond::{self, No};
use super::writes::unexpected;
use crate::model::ask::{Ask, RunDeed, RunReport};
use crate::model::reply::Reply;
use crate::model::text::Foreign;

/// `POST /api/agent-webhook {action, sessionKey, agentName?, task?, result?, error?}`.
pub(crate) async fn report(State(desk): State<Arc<Desk>>, body: Body) -> Result<Response, No> {
    let bare = |problem: Problem| No(problem.barely());
    let mut fields = Fields::of(body).await.map_err(bare)?;
    let run = run(&mut fields).map_err(bare)?;
    let (deed, named) = (run.deed, run.agent.is_some());
    let reply = desk.ask(Ask::Run(run), ANSWER_WITHIN).await.map_err(bare)?;
    let Reply::Beat { session, updated, durable, .. } = reply else { return Err(unexpected(&reply)) };
    let mut warnings = fields.unknown();
    if !updated && deed != RunDeed::Spawn {
        let name = if named { "" } else { ", and nobody said which agent works in it" };
        warnings.push(format!("unknown-session: no spawn of this sessionKey was heard; the session begins here{name}"));
    }
    let status = if deed == RunDeed::Spawn && !updated { StatusCode::CREATED } else { StatusCode::OK };
    let told = json!({"success": true, "taskId": session, "message": message(deed, updated), "durable": durable, "warnings": warnings});
    Ok(respond::json(status, &told))
}

fn message(deed: RunDeed, updated: bool) -> &'static str {
    match (deed, updated) {
        (RunDeed::Spawn, false) => "Agent session created",
        (RunDeed::Spawn, true) => "Agent session known already, and at work",
        (RunDeed::Progress, _) => "Agent session updated",
        (RunDeed::Complete, _) => "Agent session completed",
        (RunDeed::Error, _) => "Agent session ended with an error",
    }
}

fn run(fields: &mut Fields) -> Result<RunReport, Problem> {
    let mut given = |name: &str| fields.text(name).map(|text| text.filter(|text| !text.is_blank()));
    let (action, key) = (given("action")?, given("sessionKey")?);
    let (Some(action), Some(key)) = (action, key) else {
        return Err(Problem::bare(400, "Missing required fields: action, sessionKey"));
    };
    let known = RunDeed::ALL.into_iter().find(|deed| deed.word() == action.json());
    let deed =
        known.ok_or_else(|| Problem::bare(400, format!("Invalid action “{}”: spawn, progress, complete or error", action.plain())))?;
    let (agent, task) = (given("agentName")?, given("task")?);
    if deed == RunDeed::Spawn && (agent.is_none() || task.is_none()) {
        return Err(Problem::bare(400, "Missing required fields: agentName, task"));
    }
    let (result, error) = (given("result")?, given("error")?);
    if deed.outcome().is_none() && (result.is_some() || error.is_some()) {
        return Err(Problem::bare(400, "“result” and “error” belong to a run that is over: complete or error"));
    }
    let result = if deed == RunDeed::Error { error.or(result) } else { result.or(error) };
    Ok(RunReport { key: trimmed(&key), deed, agent, task, file: given("file")?, note: fields.text_of(&["note", "notes"])?, result })
}

/// A key that was typed with a space behind it is the same key.
fn trimmed(key: &Foreign) -> Foreign {
    Foreign::new(key.json().trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, control, get, knock_socket, leos, say};
    use crate::model::reply::{Code, Refusal};
    use serde_json::Value;

    const LINE: &str = "POST /api/agent-webhook HTTP/1.1\r\nhost: hubless";

    async fn sent(house: &mut House, body: &Value, reply: Reply) -> (u16, Value, RunReport) {
        let text = body.to_string();
        let said = say(knock_socket(&house.run()).await, LINE, &text);
        let (raw, ask) = tokio::join!(said, house.answer(|_| reply));
        let Ask::Run(run) = ask else { panic!("not a run") };
        (raw.status, raw.json(), run)
    }

    fn taken(updated: bool) -> Reply {
        Reply::Beat { session: leos(), updated, durable: true, told: vec![] }
    }

    #[tokio::test]
    async fn a_run_is_said_in_the_words_of_its_document() {
        let mut house = House::open(Fleet::busy().0).await;
        let spawn = json!({"action": "spawn", "sessionKey": "abc-123", "agentName": "codey", "task": "Fix the bug"});
        let (status, told, run) = sent(&mut house, &spawn, taken(false)).await;
        let expected = json!({"success": true, "taskId": leos(), "message": "Agent session created", "durable": true, "warnings": []});
        assert_eq!((status, told), (201, expected));
        let expected = RunReport {
            key: "abc-123".into(),
            deed: RunDeed::Spawn,
            agent: Some("codey".into()),
            task: Some("Fix the bug".into()),
            file: None,
            note: None,
            result: None,
        };
        assert_eq!(run, expected);
        assert_eq!(sent(&mut house, &spawn, taken(true)).await.0, 200, "known already");
        let complete = json!({"action": "complete", "sessionKey": "abc-123", "result": "Bug fixed"});
        let (status, told, run) = sent(&mut house, &complete, taken(true)).await;
        assert_eq!((status, &told["message"]), (200, &json!("Agent session completed")));
        assert_eq!((run.deed, run.agent, run.task, run.result), (RunDeed::Complete, None, None, Some("Bug fixed".into())));
        let error = json!({"action": "error", "sessionKey": "abc-123", "error": "no access", "result": "x"});
        assert_eq!(sent(&mut house, &error, taken(true)).await.2.result, Some("no access".into()));
        let unknown = json!({"action": "progress", "sessionKey": "new", "colour": "red"});
        let (_, told, _) = sent(&mut house, &unknown, taken(false)).await;
        let warnings = told["warnings"].as_array().expect("a list").clone();
        assert!(warnings.iter().any(|line| line.as_str().is_some_and(|line| line.starts_with("unknown-session"))), "{warnings:?}");
        assert!(warnings.iter().any(|line| line.as_str().is_some_and(|line| line.contains("colour"))), "{warnings:?}");
        house.close().await;
    }

    #[tokio::test]
    async fn what_is_missing_or_wrong_is_a_400_with_its_reason() {
        let mut house = House::open(Fleet::busy().0).await;
        for (body, why) in [
            ("", "Missing required fields: action, sessionKey"),
            (r#"{"action": "spawn", "sessionKey": " "}"#, "Missing required fields: action, sessionKey"),
            (r#"{"action": "spawn", "sessionKey": "a"}"#, "Missing required fields: agentName, task"),
            (r#"{"action": "spawn", "sessionKey": "a", "agentName": "b", "task": ""}"#, "Missing required fields: agentName, task"),
            (r#"{"action": "dance", "sessionKey": "a"}"#, "Invalid action"),
            (r#"{"action": "progress", "sessionKey": "a", "result": "x"}"#, "over"),
            (r#"{"action": "complete", "sessionKey": 7}"#, "sessionKey"),
            ("{", "JSON"),
            ("[]", "object"),
        ] {
            let raw = control(&house, "POST /api/agent-webhook", body).await;
            let told = raw.json();
            assert_eq!((raw.status, raw.header("content-type")), (400, Some("application/json")), "{body}");
            assert!(told["error"].as_str().is_some_and(|error| error.contains(why)), "{body}: {told}");
        }
        let said = say(knock_socket(&house.run()).await, LINE, r#"{"action": "complete", "sessionKey": "a"}"#);
        let no = Refusal::new(Code::AlreadyEnded, "over").fix("spawn it again");
        let (raw, _) = tokio::join!(said, house.answer(|_| Reply::Refused(no)));
        assert_eq!((raw.status, raw.json()), (409, json!({"error": "over", "code": "already-ended", "fix": "spawn it again"})));
        house.close().await;
    }

    #[tokio::test]
    async fn both_doors_say_that_it_is_there() {
        let house = House::open(Fleet::busy().0).await;
        let expected = json!({"status": "ok", "endpoint": "/api/agent-webhook", "actions": ["spawn", "progress", "complete", "error"]});
        assert_eq!(get(&house, "/api/agent-webhook").await.json(), expected);
        assert_eq!(control(&house, "GET /api/agent-webhook", "").await.json(), expected);
        house.close().await;
    }
}
