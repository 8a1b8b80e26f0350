//! Writes about what is exchanged with which device. Only the control socket has these routes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::Fields;
use super::desk::{ANSWER_WITHIN, Desk, FAR_ANSWER_WITHIN};
use super::problem::Problem;
use super::writes::{Written, unexpected, wrapped};
use crate::model::ask::Ask;
use crate::model::checkup::{FileDamaged, PeerChecked, Repair, Task};
use crate::model::id::DocId;
use crate::model::reply::Reply;

/// `POST /api/v3/sync/pause {device?}`: documents are no longer exchanged, with one device or with all.
pub(crate) async fn pause(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    rest(&desk, body, true).await
}

/// `POST /api/v3/sync/resume {device?}`.
pub(crate) async fn resume(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    rest(&desk, body, false).await
}

async fn rest(desk: &Arc<Desk>, body: Body, rests: bool) -> Written {
    let mut fields = Fields::of(body).await?;
    let device = device(&mut fields)?;
    let reply = desk.ask(Ask::Rest { device, rests }, ANSWER_WITHIN).await?;
    let Reply::Resting { devices, all, rests } = reply else { return Err(unexpected(&reply)) };
    Ok(wrapped(desk, StatusCode::OK, json!({"devices": devices, "all": all, "paused": rests}), fields.unknown()))
}

/// `POST /api/v3/sync/run {device?, dryRun?}`: documents are exchanged now, until both hold the same.
pub(crate) async fn run(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let task = if fields.flag("dryRun")? { Task::DryRun } else { Task::Run };
    check(&desk, fields, task).await
}

/// `POST /api/v3/sync/verify {device?, repair?}`: every document is compared, and every file read back.
pub(crate) async fn verify(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let task = Task::Verify { repair: fields.flag("repair")? };
    check(&desk, fields, task).await
}

async fn check(desk: &Arc<Desk>, mut fields: Fields, task: Task) -> Written {
    let device = device(&mut fields)?;
    let reply = desk.ask(Ask::Check { device, task }, FAR_ANSWER_WITHIN).await?;
    let Reply::Checked(found) = reply else { return Err(unexpected(&reply)) };
    let verifies = matches!(task, Task::Verify { .. });
    let files = found.damaged.iter().map(damaged);
    let told = json!({
        "files": verifies.then(|| json!({"checked": found.files, "damaged": files.collect::<Vec<_>>()})),
        "devices": found.peers.iter().map(|peer| row(peer, verifies)).collect::<Vec<_>>(),
    });
    Ok(wrapped(desk, StatusCode::OK, told, fields.unknown()))
}

/// A damaged file: whether what was lost of it is back, and from where.
fn damaged(file: &FileDamaged) -> Value {
    let (from, devices, at_start): (_, &[(String, u64)], _) = match &file.repair {
        Repair::No { lacks } => (None, &[], *lacks),
        Repair::Memory => (Some("memory"), &[], false),
        Repair::Devices(devices) => (Some(if devices.is_empty() { "nobody" } else { "devices" }), devices, true),
        Repair::Sources => (Some("sources"), &[], true),
    };
    json!({
        "document": file.doc.as_str(),
        "why": file.why,
        "foundAtStart": at_start,
        "repaired": from.is_some(),
        "repairedFrom": from,
        "devices": devices.iter().map(|(name, changes)| json!({"deviceName": name, "changes": changes})).collect::<Vec<_>>(),
    })
}

fn row(peer: &PeerChecked, verifies: bool) -> Value {
    let names = |docs: &[DocId]| docs.iter().map(DocId::as_str).map(str::to_owned).collect::<Vec<_>>();
    let compared = peer.documents.is_some();
    let mut row = json!({
        "device": peer.device,
        "deviceName": peer.name,
        "state": peer.outcome.word(),
        "why": peer.why,
        "theyMiss": peer.they_miss,
        "weMiss": peer.we_miss,
        "documents": peer.documents,
    });
    if verifies {
        row["checked"] = json!(compared);
        row["headsEqual"] = json!(compared.then_some(peer.heads.is_empty()));
        row["hashEqual"] = json!(compared.then_some(peer.heads.is_empty() && peer.content.is_empty()));
        row["otherHeads"] = json!(names(&peer.heads));
        row["otherContent"] = json!(names(&peer.content));
    } else {
        (row["bytesIn"], row["bytesOut"]) = (json!(peer.bytes.0), json!(peer.bytes.1));
    }
    row
}

fn device(fields: &mut Fields) -> Result<Option<String>, Problem> {
    Ok(fields.text("device")?.filter(|name| !name.is_blank()).map(|name| name.json().to_owned()))
}
