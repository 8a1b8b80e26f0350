//! The one place where the view becomes JSON: the HTTP doors, the events and the command line without a daemon all ask here.
//!
//! Pure: the same view, moment and question give the same answer. Times are told, ages are not (but for the replaced systems'
//! `lastHeartbeatAgo` and `duration_seconds`), so an answer stays true however long it is looked at.

mod agents;
mod circles;
mod coordination;
mod devices;
mod envelope;
mod find;
mod glance;
mod matrix;
mod mission;
mod note;
mod overview;
mod query;
mod sessions;
mod stats;
mod tags;
mod timeline;
mod todos;
mod v2;

use serde_json::Value;

pub(crate) use agents::{Row as AgentRow, agent, by_need, heard, key_of as agent_key_of, row as agent_row};
pub(crate) use devices::{device, members};
pub(crate) use envelope::{SCHEMA, iso, iso as moment};
pub(crate) use find::{device as find_device, session as find_session, todo as find_todo};
pub(crate) use matrix::{is_level, misses};
pub(crate) use overview::{Verdict, midnight, problems, strangers};
pub(crate) use query::{Query, decoded};
pub(crate) use sessions::session;
pub(crate) use timeline::{Span, spans};
pub(crate) use todos::{conflict, counts, is_ready, open_conflicts, todo};

use crate::api::problem::Problem;
use crate::model::view::View;

/// Answers one `GET` of the replaced systems' routes or of `/api/v3`. `now_ms` is this machine's wall clock, `source` is `daemon` or `disk`, `path` and
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
        ["api", "v1", "sync", "status"] => return Ok(devices::spokes(view)),
        ["api", "agent-webhook"] => return Ok(mission::webhook()),
        ["api", "mission-control", "status"] => return Ok(mission::status(view, now_ms)),
        ["api", "status"] => return Ok(coordination::status(view, now_ms)),
        ["api", "project"] => return Ok(coordination::projects(view, now_ms, None)),
        ["api", "project", name] => return coordination::project(view, now_ms, name),
        ["api", "session"] => return Ok(coordination::sessions(view)),
        ["api", "session", typed] => return coordination::session(view, typed),
        ["api", "topic"] => return Ok(tags::topics(view)),
        ["api", "topic", name] => return tags::topic(view, name),
        ["api", "v3", "todos"] => todos::list(view, query).map(|told| told.wrapped(view, now_ms, source).value()),
        ["api", "v3", rest @ ..] => v3(view, now_ms, rest, query).map(|told| told.wrapped(view, now_ms, source).value()),
        _ => Err(no_route(path)),
    };
    told.map_err(|problem| problem.at(path))
}

/// The bytes of [`answer`] by the daemon, with one more warning where there is one to give, and with what `label` adds. A list of
/// todos, the one answer that grows without end, is written without a tree of values in between, and has no labels.
pub(crate) fn written(
    view: &View,
    now_ms: i64,
    warning: Option<&str>,
    path: &str,
    query: &str,
    label: impl FnOnce(&mut Value),
) -> Result<Vec<u8>, Problem> {
    if path == "/api/v3/todos" {
        let told = todos::list(view, query).map_err(|problem| problem.at(path))?;
        return Ok(told.wrapped(view, now_ms, "daemon").bytes(warning));
    }
    let mut value = answer(view, now_ms, "daemon", path, query)?;
    if let (Some(warning), Some(warnings)) = (warning, value.get_mut("warnings").and_then(Value::as_array_mut)) {
        warnings.push(Value::from(warning));
    }
    label(&mut value);
    // Not by `Display`: by way of a formatter, letter by letter, it takes twice as long.
    Ok(serde_json::to_vec(&value).expect("a value has texts for keys and numbers that are finite"))
}

fn v3(view: &View, now_ms: i64, parts: &[&str], query: &str) -> Result<envelope::Answer, Problem> {
    match parts {
        ["overview"] => Ok(overview::overview(view, now_ms, query)),
        ["glance"] => glance::glance(view, query),
        ["devices"] => devices::list(view, query),
        ["devices", typed] => devices::show(view, typed, query),
        ["agents"] => agents::list(view, query),
        ["agents", name] => agents::show(view, now_ms, name, query),
        ["sessions"] => sessions::list(view, now_ms, query),
        ["sessions", typed] => sessions::show(view, typed, query),
        ["todos", "stats"] => stats::stats(view, now_ms, query),
        ["todos", typed] => todos::show(view, typed, query),
        ["todos", typed, "history"] => todos::history(view, typed, query),
        ["conflicts"] => todos::conflicts(view, query),
        ["note"] => note::note(view, query),
        ["sync"] => devices::sync(view, query),
        ["sync", "list"] => devices::holdings(view, query),
        ["sync", "matrix"] => Ok(matrix::matrix(view, query)),
        ["timeline"] => timeline::timeline(view, now_ms, query),
        ["sources"] => devices::sources(view, query),
        ["projects"] => coordination::list(view, now_ms, query),
        _ => Err(no_route(&format!("/api/v3/{}", parts.join("/")))),
    }
}

/// Puts the envelope around what a write came to.
pub(crate) fn wrapped(view: &View, now_ms: i64, data: Value) -> Value {
    envelope::Answer::one(data, query::Query::default()).wrapped(view, now_ms, "daemon").value()
}

/// The word for a route that does not exist.
pub(crate) const NO_ROUTE: &str = "route-not-found";

/// The problem of a route that does not exist.
pub(crate) fn no_route(path: &str) -> Problem {
    let shown = crate::model::text::Foreign::new(path).plain();
    Problem::missing(NO_ROUTE, format!("there is nothing at {shown}")).fix("GET /api/v3/overview").at(path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::fixture::{Fleet, MBP, MINI, NOW, beat, device, leos, todo as a_todo};
    use crate::model::beat::Reported;
    use crate::model::id::DeviceId;
    use crate::model::text::Foreign;
    use crate::model::todo::Status;
    use crate::model::view::{AgentState, DeviceView, SessionState, TodoView};
    use quickcheck::quickcheck;
    use serde_json::json;

    fn ask(fleet: &Fleet, path: &str, query: &str) -> Value {
        answer(&fleet.0, NOW, "disk", path, query).unwrap_or_else(|problem| panic!("{path}?{query}: {problem}"))
    }

    fn refused(fleet: &Fleet, path: &str, query: &str) -> Problem {
        answer(&fleet.0, NOW, "disk", path, query).expect_err(path)
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().expect("an object").keys().map(String::as_str).collect()
    }

    fn column<'a>(answer: &'a Value, key: &str) -> Vec<&'a str> {
        answer["data"].as_array().expect("rows").iter().map(|row| row[key].as_str().expect("a text")).collect()
    }

    #[test]
    fn what_is_written_is_what_is_answered() {
        let fleet = Fleet::busy();
        for (path, query) in [("/api/v3/todos", "limit=2"), ("/api/v3/todos", "all=1"), ("/api/v3/overview", ""), ("/v2/syncOverview", "")]
        {
            let answered = answer(&fleet.0, NOW, "daemon", path, query).expect("an answer");
            let bytes = written(&fleet.0, NOW, None, path, query, |_| ()).expect("an answer");
            assert_eq!(String::from_utf8_lossy(&bytes), answered.to_string(), "{path}?{query}");
            let warned = written(&fleet.0, NOW, Some("no door"), path, query, |_| ()).expect("an answer");
            let warned: Value = serde_json::from_slice(&warned).expect("JSON");
            assert!(answered["warnings"].is_null() || warned["warnings"].as_array().is_some_and(|all| all.contains(&json!("no door"))));
        }
        let problem = written(&fleet.0, NOW, None, "/api/v3/todos", "status=x", |_| ()).expect_err("no status");
        assert_eq!(problem, refused(&fleet, "/api/v3/todos", "status=x"));
    }

    #[test]
    fn the_envelope_says_whose_word_it_is_and_whether_it_is_all() {
        let told = ask(&Fleet::busy(), "/api/v3/todos", "limit=1");
        let expected = ["asOf", "data", "device", "deviceId", "next", "schema", "source", "total", "truncated", "warnings"];
        assert_eq!(keys(&told), expected);
        assert_eq!((&told["schema"], &told["source"], &told["device"]), (&json!(1), &json!("disk"), &json!("mbp-lena")));
        assert_eq!(told["asOf"], json!("2026-03-02T14:02:11.000Z"));
        assert_eq!((&told["total"], &told["truncated"]), (&json!(3), &json!(true)));
        let rest = ask(&Fleet::busy(), "/api/v3/todos", &format!("cursor={}", told["next"].as_str().expect("a cursor")));
        assert_eq!((rest["data"].as_array().map(Vec::len), &rest["truncated"], &rest["next"]), (Some(2), &json!(false), &Value::Null));
        assert_eq!(ask(&Fleet::busy(), "/api/v3/todos", "limit=0")["data"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn v2_overview_has_the_keys_of_the_replaced_system() {
        let told = ask(&Fleet::busy(), "/v2/syncOverview", "");
        assert_eq!(keys(&told), ["devices", "stats", "timestamp"]);
        assert_eq!(told["stats"], json!({"totalAgents": 3, "activeAgents": 2, "staleAgents": 0}));
        assert_eq!(told["timestamp"], json!(NOW));
        let mini = &told["devices"][0];
        assert_eq!(keys(mini), ["activeCount", "agents", "device", "totalCount"]);
        assert_eq!((&mini["device"], &mini["activeCount"], &mini["totalCount"]), (&json!("mac-mini"), &json!(2), &json!(2)));
        let sam = json!({"agent": "sam", "status": "active", "currentTask": "AGT-280", "isStale": false, "lastHeartbeat": NOW - 29_000,
            "state": "working", "reachable": true});
        assert_eq!(mini["agents"][1], sam);
        assert_eq!(told["devices"][1]["agents"][0]["currentTask"], Value::Null);
    }

    #[test]
    fn v2_sessions_have_the_keys_of_the_replaced_system() {
        let mut report = beat(MINI, "sam", Reported::Working, "AGT-280");
        report.metadata = Some(Foreign::new("{\"hostname\": \"mini\", \"gitBranch\": \"main\", \"n\": 1.5}"));
        report.claimed_device = Some(Foreign::new("studio"));
        let fleet = Fleet::new().agent(report, AgentState::Stale);
        let told = ask(&fleet, "/v2/deviceSessions", "device=mac-mini");
        let row = json!({
            "device": "mac-mini", "agent": "sam", "status": "active", "currentTask": "AGT-280", "currentFile": null, "isStale": true,
            "lastHeartbeat": NOW - 29_000, "lastHeartbeatAgo": 29_000, "metadata": {"hostname": "mini", "gitBranch": "main", "n": 1.5},
            "state": "stale", "reachable": true, "sessionId": crate::model::session::session_id(&MINI, "custom", "sam"), "notes": null,
            "claimedDevice": "studio",
        });
        assert_eq!(told, json!({"device": "mac-mini", "sessions": [row]}));
        assert_eq!(ask(&fleet, "/v2/agentSessions", "agent=SAM"), json!({"agent": "SAM", "sessions": [row]}));
        assert_eq!(ask(&fleet, "/v2/deviceSessions", "device=studio")["sessions"], json!([row]), "the name that its reports give");
        assert_eq!(ask(&fleet, "/v2/deviceSessions", "device=nobody"), json!({"device": "nobody", "sessions": []}));
        let third = DeviceId([3; 32]);
        let mut named = Fleet(fleet.0.clone());
        named.0.devices.insert(third, Arc::new(device(third, "studio")));
        assert_eq!(ask(&named, "/v2/deviceSessions", "device=studio")["sessions"], json!([]), "a device of that name comes first");
        for (path, name) in [("/v2/deviceSessions", "device"), ("/v2/agentSessions", "agent")] {
            for query in ["", "x=1", &format!("{name}=")] {
                let problem = refused(&fleet, path, query);
                assert_eq!((problem.status, problem.to_json()), (400, json!({"error": format!("Missing required param: {name}")})));
            }
        }
    }

    #[test]
    fn v2_words_follow_the_table_of_states() {
        use AgentState as S;
        use Reported as R;
        for (state, reported, status, stale) in [
            (S::NeedsInput, R::Waiting, "active", false),
            (S::Working, R::Working, "active", false),
            (S::Late, R::Working, "active", false),
            (S::Stuck, R::Working, "active", false),
            (S::Stale, R::Working, "active", true),
            (S::Stale, R::Idle, "idle", true),
            (S::Idle, R::Idle, "idle", false),
            (S::Done, R::Done, "offline", false),
            (S::Failed, R::Failed, "offline", false),
            (S::Unknown, R::Working, "active", true),
            (S::Unknown, R::Done, "offline", true),
        ] {
            let told = ask(&Fleet::new().agent(beat(MBP, "sam", reported, ""), state), "/v2/syncOverview", "");
            let row = &told["devices"][0]["agents"][0];
            assert_eq!((&row["status"], &row["isStale"]), (&json!(status), &json!(stale)), "{state:?} {reported:?}");
            let active = u8::from(status == "active" && !stale);
            assert_eq!(told["stats"], json!({"totalAgents": 1, "activeAgents": active, "staleAgents": u8::from(stale)}));
        }
    }

    #[test]
    fn a_todo_has_the_shape_that_programs_rely_on() {
        let fleet = Fleet::busy();
        let id = a_todo("web", "Rotate staging key", Status::Completed).id;
        let told = ask(&fleet, &format!("/api/v3/todos/{id}"), "");
        let item = crate::model::id::ItemId::of(&[b"Rotate staging key"]);
        let expected = json!({
            "id": id, "content": "Rotate staging key", "activeForm": null, "status": "completed", "round": 1, "project": "web",
            "priority": null, "owner": null, "createdAt": "2026-03-02T13:02:11.000Z", "updatedAt": "2026-03-02T14:01:11.000Z",
            "completedAt": "2026-03-02T14:01:11.000Z",
            "completedBy": {"device": MINI, "deviceName": "mac-mini", "agent": "leo", "session": null},
            "origins": [{"device": MINI, "deviceName": "mac-mini", "session": leos(), "item": item, "status": "completed", "listed": true}],
            "listed": true, "conflict": true, "deleted": false, "relisted": 0, "blockedBy": [], "ready": false, "tags": [],
        });
        assert_eq!(told["data"], expected);
        assert_eq!(ask(&fleet, &format!("/api/v3/todos/{}", id.short(5)), "")["data"], expected, "a unique beginning is enough");
        let history = ask(&fleet, &format!("/api/v3/todos/{id}/history"), "");
        let step = json!({"at": "2026-03-02T14:01:11.000Z", "device": MINI, "deviceName": "mac-mini", "actor": "leo", "session": null,
            "field": "status", "from": "pending", "to": "completed", "round": 1, "act": null});
        assert_eq!(history["data"], json!([step]));
    }

    #[test]
    fn deleted_todos_are_asked_for_and_unlisted_ones_are_not_hidden() {
        let base = a_todo("web", "a", Status::Pending);
        let fleet = Fleet::new()
            .todo(base.clone())
            .todo(TodoView { listed: false, ..a_todo("web", "b", Status::Pending) })
            .todo(TodoView { deleted: true, ..a_todo("web", "c", Status::Pending) });
        let shown = |query: &str| {
            let told = ask(&fleet, "/api/v3/todos", query);
            let mut shown: Vec<String> = column(&told, "content").into_iter().map(str::to_owned).collect();
            shown.sort();
            shown.concat()
        };
        assert_eq!((shown(""), shown("all=1"), shown("listed=1"), shown("listed=0")), ("ab".into(), "abc".into(), "a".into(), "b".into()));
        assert_eq!((shown("ready=1"), shown("ready=0")), ("a".into(), "b".into()));
        assert_eq!((shown("ready=1&all=1"), shown("ready=0&all=1")), ("a".into(), "bc".into()));
        assert_eq!((shown("status=done"), shown("status=pending,completed"), shown("project=WEB")), ("".into(), "ab".into(), "ab".into()));
        assert_eq!((shown("device=mac-mini"), shown("device=mbp-lena")), ("ab".into(), "".into()));
        assert_eq!(refused(&fleet, "/api/v3/todos", "status=x").status, 400);
        assert_eq!(refused(&fleet, "/api/v3/todos", "device=mac-min").did_you_mean, ["mac-mini"]);
        assert_eq!(ask(&fleet, &format!("/api/v3/todos/{}", a_todo("web", "c", Status::Pending).id), "")["data"]["deleted"], json!(true));
    }

    #[test]
    fn ready_is_what_nothing_open_stands_before_the_urgent_first() {
        let gate = a_todo("web", "gate", Status::Pending);
        let after = |content: &str, priority: &str, blocked_by| TodoView {
            blocked_by,
            priority: Some(Foreign::new(priority)),
            ..a_todo("web", content, Status::Pending)
        };
        let moved = a_todo("web", "elsewhere", Status::Pending).id;
        let fleet = |gate: TodoView| {
            let mut fleet = Fleet::new().todo(gate.clone());
            fleet.0.moved.insert(moved, Arc::new([gate.id]));
            fleet
                .todo(after("blocked", "high", vec![gate.id]))
                .todo(after("blocked by moved", "high", vec![moved]))
                .todo(after("low", "low", vec![]))
                .todo(after("urgent", "P0", vec![]))
        };
        let ready = |gate: TodoView| -> Vec<String> {
            column(&ask(&fleet(gate), "/api/v3/todos", "ready=1"), "content").into_iter().map(str::to_owned).collect()
        };
        assert_eq!(ready(gate.clone()), ["urgent", "gate", "low"]);
        for open in [TodoView { status: Status::Completed, ..gate.clone() }, TodoView { deleted: true, ..gate }] {
            let mut names = ready(open);
            names.sort();
            assert_eq!(names, ["blocked", "blocked by moved", "low", "urgent"]);
        }
    }

    #[test]
    fn an_id_that_holds_nothing_means_where_its_items_are() {
        let (a, b) = (a_todo("web", "a", Status::Pending), a_todo("web", "b", Status::Pending));
        let (old, split) = (a_todo("general", "a", Status::Pending).id, a_todo("general", "ab", Status::Pending).id);
        let mut fleet = Fleet::new().todo(a.clone()).todo(b.clone());
        fleet.0.moved.insert(old, Arc::new([a.id]));
        fleet.0.moved.insert(split, Arc::new([a.id, b.id]));
        assert_eq!(ask(&fleet, &format!("/api/v3/todos/{old}"), "")["data"]["id"], json!(a.id));
        let several = refused(&fleet, &format!("/api/v3/todos/{split}"), "");
        assert_eq!((several.status, several.code.as_ref(), several.did_you_mean.len()), (409, "ambiguous-id", 2));
        assert_eq!(refused(&fleet, "/api/v3/todos/t-zzzzzz", "").code, "todo-not-found");
        assert_eq!(refused(&fleet, "/api/v3/todos/t-", "").status, 404);
    }

    #[test]
    fn a_conflict_has_one_shape_whoever_asks() {
        let told = ask(&Fleet::busy(), "/api/v3/conflicts", "");
        let row = &told["data"][0];
        assert_eq!(keys(row), ["content", "field", "id", "local", "remote", "resolved", "result", "rule", "todo"]);
        let remote =
            json!({"value": "pending", "device": MINI, "deviceName": "mac-mini", "session": null, "at": "2026-03-02T14:02:10.000Z"});
        assert_eq!((&row["remote"], &row["local"]["value"], &row["rule"]), (&remote, &json!("completed"), &json!("completed-stays")));
        let mut other = Fleet::busy();
        other.0.me = MINI;
        assert_eq!(ask(&other, "/api/v3/conflicts", "")["data"].to_string(), told["data"].to_string(), "byte for byte");
        assert_eq!(ask(&other, "/api/v3/conflicts", "resolved=1")["total"], json!(0));
    }

    #[test]
    fn a_device_is_found_by_name_or_id_and_unknown_is_null() {
        let fleet = Fleet::new();
        let told = ask(&fleet, "/api/v3/devices", "");
        let names = column(&told, "name");
        assert_eq!(names, ["mbp-lena", "mac-mini"], "this device first");
        let link = json!({"kind": "LAN", "address": "192.168.1.20:41733", "rttMs": 4, "bytesIn": 1200, "bytesOut": 310, "level": true, "documents": null, "skipped": 0});
        let mini = json!({"device": MINI, "shortId": MINI.short(), "name": "mac-mini", "platform": "linux", "thisDevice": false,
            "member": true, "reachable": true, "address": "192.168.1.20:41733", "link": link, "lastContact": "2026-03-02T14:02:05.000Z",
            "theyMiss": 0, "weMiss": 0, "clockSkewMs": 40, "lastError": null, "dials": [],
            "flow": {"enabled": true, "paused": false, "schedule": null, "next": null, "gives": true, "takes": true, "theyGive": null,
                "theyTake": null, "bandwidth": null}});
        assert_eq!(told["data"][1], mini);
        assert_eq!(told["data"][0]["weMiss"], Value::Null);
        for typed in ["mac-mini", "MAC-MINI", "mac%2Dmini", &MINI.short(), &MINI.to_string()] {
            assert_eq!(ask(&fleet, &format!("/api/v3/devices/{typed}"), "")["data"], mini, "{typed}");
        }
        let missing = refused(&fleet, "/api/v3/devices/mac-min", "");
        assert_eq!((missing.status, missing.did_you_mean.as_slice()), (404, &["mac-mini".to_owned()][..]));
        let mut twice = Fleet::new();
        let third = DeviceId([3; 32]);
        twice.0.devices.insert(third, Arc::new(device(third, "mac-mini")));
        assert_eq!(refused(&twice, "/api/v3/devices/mac-mini", "").code, "ambiguous-id");
        twice.0.devices.insert(third, Arc::new(DeviceView { member: false, ..device(third, "mac-mini") }));
        assert_eq!(ask(&twice, "/api/v3/devices/mac-mini", "")["data"]["device"], json!(MINI), "a member before one that was");
        assert_eq!(ask(&twice, "/api/v3/devices", "")["total"], json!(2));
        assert_eq!(ask(&twice, "/api/v3/devices", "all=1")["total"], json!(3));
        let sync = ask(&fleet, "/api/v3/sync", "");
        assert_eq!((&sync["total"], &sync["data"][0]["bytesIn"], &sync["data"][0]["inStep"]), (&json!(1), &json!(1200), &json!(true)));
    }

    #[test]
    fn agents_are_one_row_a_device_who_waits_first() {
        let mut second = beat(MINI, "sam", Reported::Working, "AGT-279");
        (second.session, second.at) = (leos(), NOW - 3_600_000);
        let mut fleet = Fleet::busy().agent(second, AgentState::Unknown);
        let told = ask(&fleet, "/api/v3/agents", "");
        assert_eq!(column(&told, "agent"), ["Leo", "sam", "max"]);
        assert_eq!(column(&told, "state"), ["needs input", "working", "idle"], "the session heard of last leads");
        let sam = &told["data"][1];
        assert_eq!(sam["sessions"].as_array().map(Vec::len), Some(2));
        assert_eq!((&sam["device"], &sam["deviceName"], &sam["intervalS"]), (&json!(MINI), &json!("mac-mini"), &json!(60)));
        assert_eq!((&sam["lastBeat"], &sam["beatReceived"]), (&json!("2026-03-02T14:01:41.000Z"), &json!("2026-03-02T14:01:42.000Z")));
        assert_eq!(column(&ask(&fleet, "/api/v3/agents", "state=needs-input,idle"), "agent"), ["Leo", "max"]);
        assert_eq!(column(&ask(&fleet, "/api/v3/agents", "device=mbp-lena"), "agent"), ["max"]);
        assert_eq!(refused(&fleet, "/api/v3/agents", "state=asleep").status, 400);
        let mut asks = beat(MINI, "sam", Reported::Waiting, "AGT-279");
        (asks.session, asks.at) = (leos(), NOW - 3_600_000);
        fleet = fleet.agent(asks, AgentState::NeedsInput);
        let agents = fleet.0.agents.clone();
        for (key, agent) in agents.iter().filter(|(key, _)| key.session == leos()) {
            let long_ago = crate::model::view::AgentView { sign_here: None, ..agent.as_ref().clone() };
            fleet.0.agents.insert(key.clone(), Arc::new(long_ago));
        }
        let told = ask(&fleet, "/api/v3/agents", "");
        assert_eq!(column(&told, "state"), ["needs input", "needs input", "idle"], "one that waits leads, however old");
    }

    #[test]
    fn an_agent_always_has_an_answer() {
        let fleet = Fleet::busy();
        let sam = ask(&fleet, "/api/v3/agents/SAM", "");
        let expected = [
            ("is_active", json!(true)),
            ("current_task", json!("AGT-280")),
            ("started_at", json!("2026-03-02T13:50:11.000Z")),
            ("duration_seconds", json!(720)),
        ];
        for (key, value) in expected {
            assert_eq!(sam["data"][key], value, "{key}");
        }
        assert_eq!(sam["data"]["sessions"].as_array().map(Vec::len), Some(1));
        let max = ask(&fleet, "/api/v3/agents/max", "");
        assert_eq!((&max["data"]["is_active"], &max["data"]["state"]), (&json!(false), &json!("idle")));
        let nobody = ask(&fleet, "/api/v3/agents/sma", "");
        let quiet =
            (&nobody["data"]["is_active"], &nobody["data"]["current_task"], &nobody["data"]["started_at"], &nobody["data"]["sessions"]);
        assert_eq!(quiet, (&json!(false), &Value::Null, &Value::Null, &json!([])));
        assert!(nobody["warnings"][0].as_str().is_some_and(|line| line.contains("did you mean")), "{nobody}");
    }

    #[test]
    fn sessions_are_filtered_and_have_their_shape() {
        let fleet = Fleet::busy();
        let told = ask(&fleet, "/api/v3/sessions", "");
        let expected = [
            "agent",
            "branch",
            "cwd",
            "damaged",
            "device",
            "deviceName",
            "endedAt",
            "id",
            "lastActivity",
            "messages",
            "outcome",
            "parent",
            "project",
            "records",
            "result",
            "sourceFile",
            "startedAt",
            "state",
            "staysHere",
            "subagent",
            "tags",
            "title",
            "todos",
            "todosDone",
            "todosOpen",
            "tokens",
            "tool",
            "toolSession",
        ];
        assert_eq!(keys(&told["data"][0]), expected);
        assert_eq!((&told["data"][0]["todosOpen"], &told["data"][0]["messages"]), (&json!(2), &json!({"user": null, "assistant": null})));
        for (query, count) in [
            ("tool=claude", 1),
            ("tool=codex", 0),
            ("device=mac-mini", 1),
            ("device=mbp-lena", 0),
            ("project=api-server", 1),
            ("project=server", 0),
            ("agent=Leo", 1),
            ("agent=sam", 0),
            ("since=1h", 1),
            ("since=5s", 0),
            ("since=2026-03-02T14:02:02Z", 1),
            ("since=2026-03-02T14:02:03Z", 0),
        ] {
            assert_eq!(ask(&fleet, "/api/v3/sessions", query)["total"], json!(count), "{query}");
        }
        for typed in [leos().to_string(), leos().short(4), "7e1f".into()] {
            assert_eq!(ask(&fleet, &format!("/api/v3/sessions/{typed}"), "")["data"]["id"], json!(leos()), "{typed}");
        }
        assert_eq!(refused(&fleet, "/api/v3/sessions/zz", "").code, "session-not-found");
    }

    #[test]
    fn the_overview_is_the_five_second_answer() {
        let mut fleet = Fleet::busy();
        fleet.0.strangers.insert("q7".into(), "192.168.1.9:4826".into());
        let told = ask(&fleet, "/api/v3/overview", "");
        let data = &told["data"];
        assert_eq!((&data["verdict"], &data["needsYou"], &data["conflicts"]), (&json!("attention"), &json!(1), &json!(1)));
        assert_eq!(data["todos"], json!({"ready": 1, "inProgress": 1, "doneToday": 1, "conflicts": 1, "open": 2, "total": 3}));
        let active = json!([{"session_id": leos(), "device": MINI, "deviceName": "mac-mini", "agent": "leo",
            "last_activity": "2026-03-02T14:02:02.000Z", "active_todos": 2}]);
        assert_eq!(data["active_sessions"], active);
        assert_eq!(data["strangers"], json!([{"instance": "q7", "address": "192.168.1.9:4826", "fix": "hubless pair"}]));
        assert_eq!((&data["devices"][0]["name"], &data["agents"][0]["agent"]), (&json!("mbp-lena"), &json!("Leo")));
        for (state, old, counted) in [
            (SessionState::Quiet, NOW, 1),
            (SessionState::Quiet, NOW + 8 * 86_400_000, 0),
            (SessionState::Agent(AgentState::Idle), NOW + 8 * 86_400_000, 1),
            (SessionState::Agent(AgentState::Stale), NOW, 1),
            (SessionState::Agent(AgentState::Done), NOW, 0),
            (SessionState::Ended, NOW, 0),
        ] {
            let told = answer(&Fleet::new().session(state, &[]).0, old, "disk", "/api/v3/overview", "").expect("an overview");
            assert_eq!(told["data"]["active_sessions"].as_array().map(Vec::len), Some(counted), "{state:?}");
        }
        let calm = ask(&Fleet::new(), "/api/v3/overview", "");
        assert_eq!((&calm["data"]["verdict"], &calm["total"]), (&json!("ok"), &json!(0)));
    }

    #[test]
    fn what_nobody_knows_is_a_404_or_a_warning() {
        for path in ["/", "", "/v2", "/v2/nothing", "/api/v3", "/api/v3/nothing", "/api/v3/todos/a/b", "/api/v2/todos", "/healthz"] {
            let problem = refused(&Fleet::new(), path, "");
            assert_eq!((problem.status, problem.code.as_ref(), problem.instance.as_str()), (404, "route-not-found", path));
        }
        let told = ask(&Fleet::new(), "/api/v3/todos", "projekt=x");
        assert!(told["warnings"][0].as_str().is_some_and(|line| line.starts_with("unknown-parameter")), "{told}");
    }

    quickcheck! {
        fn no_question_panics(path: String, query: String) -> bool {
            let fleet = Fleet::busy();
            let _ = (answer(&fleet.0, NOW, "disk", &path, &query), answer(&fleet.0, i64::MAX, "disk", &format!("/api/v3/{path}"), &query));
            ["todos", "sessions", "devices", "agents"].iter().all(|kind| {
                let path = format!("/api/v3/{kind}/{path}");
                answer(&fleet.0, i64::MIN, "disk", &path, &query).map_or_else(|problem| problem.status >= 400, |value| value["schema"] == 1)
            })
        }
    }
}
