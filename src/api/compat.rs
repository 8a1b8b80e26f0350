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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, control, knock_socket, leos, say};
    use crate::model::beat::Reported;
    use crate::model::reply::{Code, Refusal};

    const LINE: &str = "POST /v2/sessionState HTTP/1.1\r\nhost: hubless";

    #[tokio::test]
    async fn the_scripts_of_the_replaced_system_run_unchanged() {
        let mut house = House::open(Fleet::busy().0).await;
        let body = json!({"device": "mac-mini", "agent": "sam", "status": "active", "currentTask": "AGT-280 \"retry\"\nlogic", "currentFile": "",
            "metadata": {"hostname": "mini.local", "workingDirectory": "/w", "gitBranch": "main"}});
        let text = body.to_string();
        let said = say(knock_socket(&house.run()).await, LINE, &text);
        let reply = Reply::Beat { session: leos(), updated: true, durable: true, told: vec![] };
        let (raw, ask) = tokio::join!(said, house.answer(|_| reply));
        let told = json!({"success": true, "sessionId": leos(), "updated": true, "durable": true});
        assert_eq!((raw.status, raw.json()), (200, told));
        let Ask::Beat(report) = ask else { panic!("not a beat") };
        assert_eq!(report.metadata.as_ref().map(|text| serde_json::from_str(text.json()).expect("JSON")), Some(body["metadata"].clone()));
        assert_eq!((report.state, report.device, report.file), (Some(Reported::Working), Some("mac-mini".into()), Some("".into())));
        assert_eq!(report.task, Some("AGT-280 \"retry\"\nlogic".into()));
        house.close().await;
    }

    #[tokio::test]
    async fn what_is_missing_or_wrong_is_said_as_the_replaced_system_said_it() {
        let house = House::open(Fleet::busy().0).await;
        let missing = json!({"error": "Missing required fields: device, agent, status"});
        for body in
            ["", "{}", r#"{"device": "a", "agent": "b"}"#, r#"{"device": "a", "agent": "", "status": "active"}"#, r#"{"status": null}"#]
        {
            let raw = control(&house, "POST /v2/sessionState", body).await;
            assert_eq!((raw.status, raw.header("content-type"), raw.json()), (400, Some("application/json"), missing.clone()), "{body}");
        }
        for body in [
            r#"{"device": "a", "agent": "b", "status": "asleep"}"#,
            r#"{"device": 1}"#,
            "{",
            r#"{"device": "a", "agent": "b", "status": "idle", "metadata": []}"#,
        ] {
            let raw = control(&house, "POST /v2/sessionState", body).await;
            assert_eq!((raw.status, raw.json()["error"].is_string()), (400, true), "{body}");
        }
        house.close().await;
    }

    #[tokio::test]
    async fn the_name_of_another_device_is_a_409_with_the_fix() {
        let mut house = House::open(Fleet::busy().0).await;
        let said = say(knock_socket(&house.run()).await, LINE, r#"{"device": "mac-mini", "agent": "sam", "status": "idle"}"#);
        let no = Refusal::new(Code::NotThisDevice, "mac-mini is another device").fix("say it there");
        let (raw, _) = tokio::join!(said, house.answer(|_| Reply::Refused(no)));
        let told = json!({"error": "mac-mini is another device", "code": "not-this-device", "fix": "say it there"});
        assert_eq!((raw.status, raw.json()), (409, told));
        house.close().await;
    }
}
