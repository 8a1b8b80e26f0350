//! Writes of the replaced systems: `POST /v2/sessionState` of EVOX device sync.
//!
//! Its scripts read `success` or `error` and nothing else; what they cannot say is left as it was, so that a loop that only
//! ticks never overwrites work.

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
use super::writes::{reported, unexpected};
use crate::model::ask::{Ask, Report};
use crate::model::reply::Reply;

/// `POST /v2/sessionState {device, agent, status, currentTask?, currentFile?, notes?, metadata?}`.
pub(crate) async fn session_state(State(desk): State<Arc<Desk>>, body: Body) -> Result<Response, No> {
    let bare = |problem: Problem| No(problem.barely());
    let mut fields = Fields::of(body).await.map_err(bare)?;
    let report = report(&mut fields).map_err(bare)?;
    let reply = desk.ask(Ask::Beat(report), ANSWER_WITHIN).await.map_err(bare)?;
    let Reply::Beat { session, updated, durable, .. } = reply else { return Err(unexpected(&reply)) };
    let told = json!({"success": true, "sessionId": session, "updated": updated, "durable": durable});
    Ok(respond::json(StatusCode::OK, &told))
}

fn report(fields: &mut Fields) -> Result<Report, Problem> {
    let mut given = |name: &str| fields.text(name).map(|text| text.filter(|text| !text.is_blank()));
    let (Some(device), Some(agent), Some(status)) = (given("device")?, given("agent")?, given("status")?) else {
        return Err(Problem::bare(400, "Missing required fields: device, agent, status"));
    };
    Ok(Report {
        agent,
        state: Some(reported(&status)?),
        task: fields.text("currentTask")?,
        file: fields.text("currentFile")?,
        note: fields.text("notes")?,
        device: Some(device),
        metadata: fields.object("metadata")?,
        source: "api",
        ..Report::default()
    })
}
