//! The router, one for each door: what is no route of a door does not exist there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::desk::Desk;
use super::doorman::{Door, SOCKET_HOST};
use super::problem::Problem;
use super::respond::{self, No};
use super::{compat, fleet, imports, metrics, openapi, page, reads, stream, syncing, webhook, writes};
use crate::model::text::Foreign;
use crate::model::view::View;

/// What both doors answer from the view.
const READS: [&str; 33] = [
    "/v2/syncOverview",
    "/v2/deviceSessions",
    "/v2/agentSessions",
    "/api/v3/overview",
    "/api/v3/glance",
    "/api/v3/devices",
    "/api/v3/devices/{device}",
    "/api/v3/agents",
    "/api/v3/agents/{name}",
    "/api/v3/sessions",
    "/api/v3/sessions/{id}",
    "/api/v3/todos",
    "/api/v3/todos/stats",
    "/api/v3/todos/{id}",
    "/api/v3/todos/{id}/history",
    "/api/v3/conflicts",
    "/api/v3/note",
    "/api/v3/sync",
    "/api/v3/sync/list",
    "/api/v3/sync/matrix",
    "/api/v3/timeline",
    "/api/v3/sources",
    "/api/v3/projects",
    "/api/v1/sync/status",
    "/api/agent-webhook",
    "/api/mission-control/status",
    "/api/status",
    "/api/project",
    "/api/project/{name}",
    "/api/session",
    "/api/session/{id}",
    "/api/topic",
    "/api/topic/{name}",
];

/// Rows from which on an answer is written beside, so that others are not kept waiting: 5 000 rows take some 10 ms.
const LARGE: usize = 5_000;

/// All routes of a door.
pub(crate) fn router(desk: Arc<Desk>, door: Door) -> Router {
    let mut router = Router::new();
    for path in READS {
        router = router.route(path, get(read));
    }
    router = router
        .route("/api/v3/events", get(async move |desk, cut, headers| stream::events(desk, cut, headers, door).await))
        .route("/", get(async || Redirect::to("/sync")))
        .route("/sync", get(sync_page))
        .route("/sync/{*rest}", get(sync_page))
        .route("/assets/{name}", get(asset))
        .route("/healthz", get(async || respond::json(StatusCode::OK, &json!({"status": "OK"}))))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/metrics", get(measured))
        .route("/openapi.json", get(described));
    router = match door {
        Door::Loopback => router.route("/api/v3/export", get(only_on_the_socket)),
        Door::Socket => with_writes(router),
    };
    router.fallback(nothing_there).method_not_allowed_fallback(wrong_method).with_state(desk)
}

fn with_writes(router: Router<Arc<Desk>>) -> Router<Arc<Desk>> {
    router
        .route("/v2/sessionState", post(compat::session_state))
        .route("/api/agent-webhook", post(webhook::report))
        .route("/api/todos/sync", post(imports::todos))
        .route("/api/v1/sync/sessions", post(imports::sessions))
        .route("/api/orchestrate", post(imports::not_yet))
        .route("/api/session", post(imports::not_yet))
        .route("/api/v3/todos", post(writes::add))
        .route("/api/v3/todos/{id}/{deed}", post(writes::deed))
        .route("/api/v3/sessions/{id}/{deed}", post(writes::session))
        .route("/api/v3/beats", post(writes::beat))
        .route("/api/v3/pair", post(fleet::pair))
        .route("/api/v3/pair/{window}/wait", post(fleet::await_joiner))
        .route("/api/v3/pair/{window}/close", post(fleet::close_window))
        .route("/api/v3/leave", post(fleet::leave))
        .route("/api/v3/devices/{device}/ping", post(fleet::ping))
        .route("/api/v3/devices/{device}/revoke", post(fleet::revoke))
        .route("/api/v3/devices/{device}/rename", post(fleet::rename))
        .route("/api/v3/rescan", post(writes::rescan))
        .route("/api/v3/sync/pause", post(syncing::pause))
        .route("/api/v3/sync/resume", post(syncing::resume))
        .route("/api/v3/sync/run", post(syncing::run))
        .route("/api/v3/sync/verify", post(syncing::verify))
        .route("/api/v3/sources/{source}/{deed}", post(writes::source))
        .route("/api/v3/export", get(writes::export))
}

async fn read(State(desk): State<Arc<Desk>>, uri: Uri, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, No> {
    let (view, now, query) = (desk.view(), desk.now(), query.unwrap_or_default());
    let tag = tag(&desk, &view, now, uri.path(), &query);
    if respond::has(&headers, &tag) {
        return Ok(respond::unchanged(&tag));
    }
    let large = view.todos.len() + view.sessions.len() + view.agents.len() > LARGE;
    let (asked, path) = (desk.clone(), uri.path().to_owned());
    let write = move || {
        let bytes = reads::written(&view, now, asked.trouble.as_deref(), &path, &query, |value| label(&asked, &path, value))?;
        Ok(respond::json_bytes(StatusCode::OK, bytes))
    };
    let written: Result<Response, Problem> = if large { desk.draw(write).await? } else { write() };
    Ok(respond::tagged(written?, &tag))
}

/// Says of each source from which computer it is copied here: the view has only what was read, the label is configured.
fn label(desk: &Desk, path: &str, value: &mut Value) {
    let rows = match path {
        "/api/v3/sources" => value.get_mut("data"),
        "/api/v3/overview" => value.get_mut("data").and_then(|data| data.get_mut("sources")),
        _ => None,
    };
    for row in rows.and_then(Value::as_array_mut).into_iter().flatten() {
        let computer = row["source"].as_str().and_then(|word| desk.computers.get(word)).map(|name| json!(name));
        if let Some(computer) = computer {
            row["computer"] = computer;
        }
    }
}

/// The tag of an answer. Answers hold times, not ages, so they are the same until the view changes; the few that hold ages, or
/// choose by age, are renewed as time goes on, and all of them at midnight for what was done *today*.
fn tag(desk: &Desk, view: &View, now_ms: i64, path: &str, query: &str) -> String {
    let every_ms = match path {
        _ if path.starts_with("/v2/") => 5_000,
        _ if !path.starts_with("/api/v3/") => 1_000,
        _ if path.starts_with("/api/v3/agents/") || query.contains("since=") => 1_000,
        _ => i64::MAX,
    };
    let parts = (reads::SCHEMA, &desk.boot, view.seq, path, query, now_ms / every_ms, reads::midnight(now_ms));
    let hash = blake3::hash(format!("{parts:?}").as_bytes());
    format!("\"{}\"", &hash.to_hex()[..32])
}

/// A page; or, for a script that says `parts=` which parts it has, those that differ from them.
async fn sync_page(State(desk): State<Arc<Desk>>, uri: Uri) -> Response {
    let (query, have) = without_parts(uri.query().unwrap_or_default());
    let (path, asked) = (uri.path().to_owned(), desk.clone());
    let draw = move || {
        let view = asked.view();
        let scene = page::Scene::new(&view, &asked.strips, asked.now(), asked.trouble.as_deref(), (&path, &query));
        let (status, page) = match page::page(&scene) {
            Ok(page) => (StatusCode::OK, page),
            // No page ever stands there; of what may come to be, a page says that it is not there yet.
            Err(problem) if problem.code == reads::NO_ROUTE => return Err(problem),
            Err(problem) => (StatusCode::from_u16(problem.status).unwrap_or(StatusCode::NOT_FOUND), page::nothing(&scene, &problem)),
        };
        let text = match have {
            None => page::document(&scene, page),
            Some(have) => page::changed(&scene, page, &have),
        };
        Ok((status, text, page::moment(scene.now_ms)))
    };
    // Drawing takes milliseconds where there are thousands of sessions; the doors stay free for others meanwhile.
    let (status, text, now) = match desk.draw(draw).await.and_then(|drawn| drawn) {
        Ok(drawn) => drawn,
        Err(problem) => return No(problem).into_response(),
    };
    let mut response = respond::written(status, "text/html; charset=utf-8", text);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [("x-hubless-assets", page::HASH.as_str()), ("x-hubless-now", now.as_str())] {
        headers.insert(name, HeaderValue::from_str(value).expect("a hash and a time are letters and digits"));
    }
    response
}

/// A query without `parts`, and what `parts` was.
fn without_parts(query: &str) -> (String, Option<String>) {
    let (parts, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("parts="));
    (rest.join("&"), parts.first().map(|pair| reads::decoded(pair.trim_start_matches("parts="))))
}

async fn asset(uri: Uri) -> Response {
    let Some(asset) = page::ASSETS.iter().find(|asset| asset.path == uri.path()) else { return nothing_there(uri).await };
    let mut response = respond::written(StatusCode::OK, asset.kind, asset.text);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}

async fn version() -> Response {
    respond::json(StatusCode::OK, &json!({"name": "hubless", "version": env!("CARGO_PKG_VERSION"), "schema": reads::SCHEMA}))
}

async fn measured(State(desk): State<Arc<Desk>>) -> Response {
    respond::written(StatusCode::OK, metrics::MEDIA, metrics::text(&desk))
}

async fn described() -> Response {
    respond::json_bytes(StatusCode::OK, openapi::TEXT.as_bytes().to_vec())
}

/// Ready means that the replica is open and both doors listen; all else that is wrong is a warning, never a 503.
async fn ready(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    let verbose = query.is_some_and(|query| query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose=")));
    let mut lines = vec!["[+]replica ok".to_owned(), "[+]socket ok".to_owned()];
    lines.push(match &desk.trouble {
        None => "[+]http ok".to_owned(),
        Some(trouble) => format!("[-]http {trouble}"),
    });
    for (code, warning) in &desk.view().warnings {
        lines.push(format!("[!]{}", Foreign::new(format!("{code} {}", warning.what)).plain()));
    }
    let (status, word) = match desk.trouble {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let body = if verbose { format!("{}\n{word}\n", lines.join("\n")) } else { format!("{word}\n") };
    respond::written(status, "text/plain; charset=utf-8", body)
}

async fn nothing_there(uri: Uri) -> Response {
    No(reads::no_route(uri.path())).into_response()
}

async fn wrong_method(uri: Uri) -> Response {
    let detail = "this route does not take that method; the header Allow names those it takes";
    No(Problem::new(405, "method-not-allowed", detail).at(uri.path())).into_response()
}

async fn only_on_the_socket(State(desk): State<Arc<Desk>>, uri: Uri) -> Response {
    let problem = Problem::new(403, "socket-only", "this holds everything, and every account of this machine can read here").fix(format!(
        "curl --unix-socket {} http://{SOCKET_HOST}{}",
        desk.socket,
        uri.path()
    ));
    No(problem.at(uri.path())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, control, get, knock, say};

    #[tokio::test]
    async fn what_was_read_already_is_not_sent_again() {
        let house = House::open(Fleet::busy().0).await;
        for target in ["/api/v3/overview", "/api/v3/todos?status=pending", "/v2/syncOverview", "/api/v3/agents/sam"] {
            let first = get(&house, target).await;
            let tag = first.header("etag").expect("a tag").to_owned();
            assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
            let again = say(knock(&house).await, &format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nif-none-match: {tag}"), "").await;
            assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag.as_str())), "{target}");
            house.show.send_modify(|view| Arc::make_mut(view).seq += 1);
            let changed = say(knock(&house).await, &format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nif-none-match: {tag}"), "").await;
            assert_eq!(changed.status, 200, "{target}");
        }
        assert_ne!(get(&house, "/api/v3/todos").await.header("etag"), get(&house, "/api/v3/todos?limit=1").await.header("etag"));
        house.close().await;
    }

    #[tokio::test]
    async fn both_doors_tell_what_the_pure_half_answers() {
        let fleet = Fleet::busy();
        let house = House::open(fleet.0.clone()).await;
        for target in
            ["/v2/syncOverview", "/api/v3/overview", "/api/v3/conflicts", "/api/v3/sessions?device=mac-mini", "/api/v3/devices/mac-mini"]
        {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let expected = reads::answer(&fleet.0, crate::api::fixture::NOW, "daemon", path, query).expect(target);
            assert_eq!(get(&house, target).await.json(), expected, "{target}");
            assert_eq!(control(&house, &format!("GET {target}"), "").await.json(), expected, "{target}");
        }
        house.close().await;
    }

    #[tokio::test]
    async fn a_long_answer_is_the_same_answer() {
        let mut fleet = Fleet::busy();
        for n in 0..=LARGE {
            let todo = crate::api::fixture::todo("web", &format!("todo {n}"), crate::model::todo::Status::Pending);
            fleet.0.todos.insert(todo.id, Arc::new(todo));
        }
        let house = House::open(fleet.0.clone()).await;
        let told = get(&house, "/api/v3/todos?limit=2").await;
        let expected = reads::answer(&fleet.0, crate::api::fixture::NOW, "daemon", "/api/v3/todos", "limit=2").expect("todos");
        assert_eq!((told.status, told.json()), (200, expected));
        assert_eq!(get(&house, "/api/v3/todos/t-").await.status, 404);
        house.close().await;
    }

    #[tokio::test]
    async fn nothing_there_is_404_and_the_wrong_method_names_the_right_ones() {
        let house = House::open(Fleet::new().0).await;
        for line in ["POST /api/v3/nothing", "GET /v3", "DELETE /nothing", "POST /api/v3/todos/a/b/c", "GET /assets/../sync"] {
            let raw = control(&house, line, "").await;
            assert_eq!((raw.status, raw.json()["code"].clone()), (404, json!("route-not-found")), "{line}");
        }
        let wrong = control(&house, "POST /api/v3/overview", "{}").await;
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET,HEAD")));
        assert_eq!(wrong.json()["code"], json!("method-not-allowed"));
        let wrong = control(&house, "GET /v2/sessionState", "").await;
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
        house.close().await;
    }

    #[tokio::test]
    async fn the_small_routes_answer() {
        let house = House::open(Fleet::busy().0).await;
        let root = get(&house, "/").await;
        assert_eq!((root.status, root.header("location")), (303, Some("/sync")));
        assert_eq!(get(&house, "/readyz?verbose").await.body, "[+]replica ok\n[+]socket ok\n[+]http ok\nready\n");
        assert_eq!(get(&house, "/version").await.json()["version"], json!(env!("CARGO_PKG_VERSION")));
        let export = get(&house, "/api/v3/export").await;
        assert!(export.json()["fix"].as_str().is_some_and(|fix| fix.contains("curl --unix-socket")), "{}", export.body);
        house.close().await;
    }
}
