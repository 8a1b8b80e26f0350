//! Writes about the fleet: pairing, leaving, and what is done to one device. Only the control socket has these routes.
//!
//! A window for pairing belongs to whoever waits at it: when the command that shows the code goes away, however it ends, the
//! window is closed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::Fields;
use super::desk::{ANSWER_WITHIN, Desk, FAR_ANSWER_WITHIN, JOINER_WITHIN};
use super::problem::Problem;
use super::reads;
use super::writes::{Written, unexpected, wrapped};
use crate::model::ask::{Ask, Tries};
use crate::model::id::DeviceId;
use crate::model::reply::{Code, Keys, Reply};

/// How soon whoever shows a code must stand at its window.
const STAY_WITHIN: Duration = Duration::from_secs(3);

/// `POST /api/v3/pair`: without a ticket it invites (`by: "code"` makes a code, too; with `stay` the window is closed when nobody
/// waits at it), with one, or with a code, it joins.
pub(crate) async fn pair(State(desk): State<Arc<Desk>>, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let text = fields.text("ticket")?.filter(|ticket| !ticket.is_blank());
    let stays = fields.flag("stay")?;
    let (by, at) = (fields.text("by")?, fields.text("addr")?.filter(|at| !at.is_blank()));
    let told = match text {
        None => {
            let code = match by.as_ref().map(crate::model::text::Foreign::json) {
                None | Some("ticket") => false,
                Some("code") => true,
                Some(_) => return Err(Problem::bad("“by” must be code or ticket").into()),
            };
            let reply = desk.ask(Ask::Invite { code }, ANSWER_WITHIN).await?;
            let Reply::Invited { window, keys } = reply else { return Err(unexpected(&reply)) };
            if stays {
                close_if_left(&desk, window);
            }
            invited(window, &keys)
        }
        Some(text) => {
            let ask = Ask::Join { text: text.json().trim().to_owned(), at: at.map(|at| at.json().trim().to_owned()) };
            let reply = desk.ask(ask, FAR_ANSWER_WITHIN).await?;
            let Reply::Paired { device, name } = reply else { return Err(unexpected(&reply)) };
            paired(&device, &name)
        }
    };
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

fn invited(window: u64, keys: &Keys) -> Value {
    json!({"state": "open", "window": window, "ticket": keys.ticket, "code": keys.code, "addresses": keys.addresses,
           "until": reads::iso(keys.until_ms), "tries": keys.tries})
}

fn paired(device: &DeviceId, name: &str) -> Value {
    json!({"state": "paired", "device": {"id": device, "shortId": device.short(), "name": name}})
}

/// `POST /api/v3/pair/{window}/wait {wrong?, relayed?}`: answers when somebody came, or tried to. Whoever goes away before
/// the answer closes the window.
pub(crate) async fn await_joiner(State(desk): State<Arc<Desk>>, Path(window): Path<u64>, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let mut count = |name: &str| Ok::<u8, Problem>(u8::try_from(fields.number(name)?.unwrap_or(0)).unwrap_or(u8::MAX));
    let known = Tries { wrong: count("wrong")?, relayed: count("relayed")? };
    let mut standing = Standing { desk: &desk, window, answered: false };
    let reply = desk.ask(Ask::AwaitJoiner { window, known }, JOINER_WITHIN).await;
    standing.answered = true;
    let reply = reply?;
    let told = if let Reply::Tried(tries) = reply {
        close_if_left(&desk, window);
        json!({"state": "open", "wrong": tries.wrong, "relayed": tries.relayed})
    } else {
        let Reply::Paired { device, name } = reply else { return Err(unexpected(&reply)) };
        paired(&device, &name)
    };
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

/// `POST /api/v3/pair/{window}/close`.
pub(crate) async fn close_window(State(desk): State<Arc<Desk>>, Path(window): Path<u64>, body: Body) -> Written {
    let fields = Fields::of(body).await?;
    let reply = desk.ask(Ask::CloseWindow { window, left: false }, ANSWER_WITHIN).await?;
    let Reply::WindowClosed = reply else { return Err(unexpected(&reply)) };
    Ok(wrapped(&desk, StatusCode::OK, json!({"state": "closed"}), fields.unknown()))
}

/// Closes a window at which nobody stands a moment from now: whoever meant to may have died between two questions.
fn close_if_left(desk: &Arc<Desk>, window: u64) {
    let desk = Arc::clone(desk);
    desk.tasks.clone().spawn(async move {
        tokio::select! {
            () = desk.stop.cancelled() => {}
            () = tokio::time::sleep(STAY_WITHIN) => desk.leave_word(Ask::CloseWindow { window, left: true }),
        }
    });
}

/// Somebody who stands at a window; dropped before the answer when its connection ends.
struct Standing<'a> {
    desk: &'a Desk,
    window: u64,
    answered: bool,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.desk.leave_word(Ask::CloseWindow { window: self.window, left: false });
        }
    }
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
    let typed = device.clone();
    let reply = desk.ask(Ask::Ping { device }, FAR_ANSWER_WITHIN).await.map_err(|problem| meant(&desk, &typed, problem))?;
    let Reply::Pong { device, rtt_ms, address, level } = reply else { return Err(unexpected(&reply)) };
    let name = desk.view().device_name(&device).json().to_owned();
    let told =
        json!({"device": device, "shortId": device.short(), "deviceName": name, "rttMs": rtt_ms, "address": address, "level": level});
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

/// A device whose name was nearly right is proposed.
fn meant(desk: &Desk, typed: &str, problem: Problem) -> Problem {
    if problem.code != Code::DeviceNotFound.word() || !problem.did_you_mean.is_empty() {
        return problem;
    }
    match reads::find_device(&desk.view(), typed) {
        Err(found) => problem.perhaps(found.did_you_mean.clone()),
        Ok(_) => problem,
    }
}

/// `POST /api/v3/devices/{name}/revoke {forgetData?}`: shuts a device out for ever.
pub(crate) async fn revoke(State(desk): State<Arc<Desk>>, Path(device): Path<String>, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let forget = fields.flag("forgetData")?;
    let typed = device.clone();
    let reply = desk.ask(Ask::Revoke { device, forget }, ANSWER_WITHIN).await.map_err(|problem| meant(&desk, &typed, problem))?;
    let Reply::Removed { device, name } = reply else { return Err(unexpected(&reply)) };
    let told = json!({"state": "removed", "device": {"id": device, "shortId": device.short(), "name": name}, "forgotten": forget});
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}

/// `POST /api/v3/devices/{name}/rename {name}`: calls a device otherwise, on all devices.
pub(crate) async fn rename(State(desk): State<Arc<Desk>>, Path(device): Path<String>, body: Body) -> Written {
    let mut fields = Fields::of(body).await?;
    let name = fields.needed("name")?;
    let typed = device.clone();
    let reply = desk.ask(Ask::Rename { device, name }, ANSWER_WITHIN).await.map_err(|problem| meant(&desk, &typed, problem))?;
    let Reply::Renamed { device, name } = reply else { return Err(unexpected(&reply)) };
    let told = json!({"device": {"id": device, "shortId": device.short(), "name": name}});
    Ok(wrapped(&desk, StatusCode::OK, told, fields.unknown()))
}
