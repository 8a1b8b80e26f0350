//! The one place where the view becomes JSON: the HTTP doors, the events and the command line without a daemon all ask here.
//!
//! Pure: the same view, moment and question give the same answer. Times are told, ages are not (but for the replaced systems'
//! `lastHeartbeatAgo` and `duration_seconds`), so an answer stays true however long it is looked at.

mod agents;
mod devices;
mod envelope;
mod find;
mod overview;
mod query;
mod sessions;
mod todos;
mod v2;

use serde_json::Value;

pub(crate) use agents::{agent, by_need, heard, row as agent_row};
pub(crate) use devices::{device, members};
pub(crate) use envelope::{SCHEMA, iso};
pub(crate) use overview::{Verdict, midnight};
pub(crate) use sessions::session;
pub(crate) use todos::{conflict, counts, todo};

use crate::api::problem::Problem;
use crate::model::view::View;

/// Answers one `GET` of `/v2` or `/api/v3`. `now_ms` is this machine's wall clock, `source` is `daemon` or `disk`, `path` and
/// `query` are as they stand in the URL (the query without `?`).
///
/// # Errors
/// A [`Problem`]: an unknown route, nothing by that name, several by that beginning, or a parameter that cannot be read.
pub fn answer(view: &View, now_ms: i64, source: &str, path: &str, query: &str) -> Result<Value, Problem> {
    let parts: Vec<String> = path.trim_matches('/').split('/').map(query::decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let told = match parts.as_slice() {
        ["v2", "syncOverview"] => return Ok(v2::overview(view, now_ms)),
        ["v2", "deviceSessions"] => return v2::of_device(view, now_ms, query),
        ["v2", "agentSessions"] => return v2::of_agent(view, now_ms, query),
        ["api", "v3", rest @ ..] => v3(view, now_ms, rest, query),
        _ => Err(no_route(path)),
    };
    told.map(|told| told.wrapped(view, now_ms, source)).map_err(|problem| problem.at(path))
}

fn v3(view: &View, now_ms: i64, parts: &[&str], query: &str) -> Result<envelope::Answer, Problem> {
    match parts {
        ["overview"] => Ok(overview::overview(view, now_ms, query)),
        ["devices"] => devices::list(view, query),
        ["devices", typed] => devices::show(view, typed, query),
        ["agents"] => agents::list(view, query),
        ["agents", name] => agents::show(view, now_ms, name, query),
        ["sessions"] => sessions::list(view, now_ms, query),
        ["sessions", typed] => sessions::show(view, typed, query),
        ["todos"] => todos::list(view, query),
        ["todos", typed] => todos::show(view, typed, query),
        ["todos", typed, "history"] => todos::history(view, typed, query),
        ["conflicts"] => todos::conflicts(view, query),
        ["sync"] => devices::sync(view, query),
        ["sources"] => devices::sources(view, query),
        _ => Err(no_route(&format!("/api/v3/{}", parts.join("/")))),
    }
}

/// Puts the envelope around what a write came to.
pub(crate) fn wrapped(view: &View, now_ms: i64, data: Value) -> Value {
    envelope::Answer::one(data, query::Query::default()).wrapped(view, now_ms, "daemon")
}

/// The problem of a route that does not exist.
pub(crate) fn no_route(path: &str) -> Problem {
    let shown = crate::model::text::Foreign::new(path).plain();
    Problem::missing("route-not-found", format!("there is nothing at {shown}")).fix("GET /api/v3/overview").at(path)
}
