//! `/metrics`: what is shown, for Prometheus, in the text format of OpenMetrics.
//!
//! Times are told, not ages, and no session is a label: what has no end would be a series without end. A word that others chose
//! (an agent's or a device's name) is a label's value and nothing more.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::desk::Desk;
use super::reads;
use crate::model::view::View;

/// The media type that `prometheus_client` writes.
pub(crate) const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values of one series.
type Labels = Vec<(&'static str, String)>;
type Numbers = Family<Labels, Gauge<i64, AtomicI64>>;
type Seconds = Family<Labels, Gauge<f64, AtomicU64>>;
/// Requests that were refused, by the reason.
pub(crate) type Rejected = Family<Labels, Counter>;

/// Counts a refusal. The reasons are our own words, so they are few.
pub(crate) fn reject(rejected: &Rejected, reason: &str) {
    rejected.get_or_create(&vec![("reason", reason.to_owned())]).inc();
}

/// All that is measured, now.
pub(crate) fn text(desk: &Desk) -> String {
    let mut registry = Registry::with_prefix("hubless");
    let build = Numbers::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build_info", "The version that runs", build);
    registry.register("http_rejected", "Requests that were refused before any route, by reason", desk.rejected.clone());
    shown(&mut registry, &desk.view());
    let mut out = String::new();
    encode(&mut out, &registry).expect("a String takes everything");
    out
}

fn shown(registry: &mut Registry, view: &View) {
    agents(registry, view);
    peers(registry, view);
    let (entries, todos, conflicts) = (Family::<Labels, Counter>::default(), Numbers::default(), Gauge::<i64, AtomicI64>::default());
    for session in view.sessions.values().filter(|session| session.fact.device == view.me) {
        let records = session.counts.map_or(0, |counts| counts.records);
        entries.get_or_create(&vec![("tool", session.fact.tool.clone())]).inc_by(records);
    }
    for todo in view.todos.values().filter(|todo| !todo.deleted) {
        todos.get_or_create(&vec![("status", todo.status.word().to_owned())]).inc();
    }
    conflicts.set(whole(view.conflicts.values().filter(|conflict| !conflict.resolved).count()));
    registry.register("ingest_entries", "Records of this device's sessions that were read, by tool", entries);
    registry.register("todos", "Todos that are not deleted, by status", todos);
    registry.register("todo_conflicts", "Conflicts that nobody settled", conflicts);
}

fn agents(registry: &mut Registry, view: &View) {
    let (states, beats) = (Numbers::default(), Seconds::default());
    for row in reads::by_need(view) {
        states.get_or_create(&vec![("state", row.lead.state.word().to_owned())]).inc();
        let labels = vec![("agent", row.lead.beat.agent.plain()), ("device", view.device_name(&row.device).plain())];
        beats.get_or_create(&labels).set(seconds(reads::heard(row.lead)));
    }
    registry.register("agents", "Agents, by the state of the session that leads", states);
    registry.register("agent_last_beat_timestamp_seconds", "When an agent was last heard of", beats);
}

fn peers(registry: &mut Registry, view: &View) {
    let (up, contact, missing) = (Numbers::default(), Seconds::default(), Numbers::default());
    for device in reads::members(view).into_iter().filter(|device| device.id != view.me) {
        let labels = vec![("device", device.shown_name().plain())];
        up.get_or_create(&labels).set(i64::from(device.reachable));
        if let Some(at) = device.last_contact_here {
            contact.get_or_create(&labels).set(seconds(at));
        }
        // What cannot be known has no series, and never a 0.
        if let Some(changes) = device.they_miss {
            missing.get_or_create(&labels).set(i64::try_from(changes).unwrap_or(i64::MAX));
        }
    }
    let bytes = Family::<Labels, Counter>::default();
    for device in view.devices.values().filter(|device| device.id != view.me) {
        let (heard, said) = device.bytes_before;
        let (now_in, now_out) = device.link.as_ref().map_or((0, 0), |link| (link.bytes_in, link.bytes_out));
        for (direction, count) in [("in", heard + now_in), ("out", said + now_out)] {
            bytes.get_or_create(&vec![("direction", direction.to_owned())]).inc_by(count);
        }
    }
    let replica = Gauge::<i64, AtomicI64>::default();
    replica.set(i64::try_from(view.holdings.values().map(|held| held.bytes).sum::<u64>()).unwrap_or(i64::MAX));
    registry.register("sync_bytes", "Bytes that were exchanged with other devices since the start", bytes);
    registry.register("replica_bytes", "Bytes of all documents", replica);
    registry.register("peer_up", "Whether a device can be reached", up);
    registry.register("peer_last_contact_timestamp_seconds", "When a device was last heard", contact);
    registry.register("peer_missing_changes", "Changes that a device has not, as far as that is known", missing);
}

fn seconds(ms: i64) -> f64 {
    // To the millisecond until the year 285 000: 2^53 / 1000 s.
    #[expect(clippy::cast_precision_loss, reason = "a wall time in milliseconds has fewer than 53 bits")]
    let ms = ms as f64;
    ms / 1000.0
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fleet, House, MINI, NOW, beat, get, knock, say};
    use crate::model::beat::Reported;
    use crate::model::view::AgentState;

    #[tokio::test]
    async fn what_is_shown_is_measured() {
        let mut fleet = Fleet::busy();
        fleet = fleet.agent(beat(MINI, "e\u{1b}[31mvil\"}\n# HELP x", Reported::Working, "t"), AgentState::Stale);
        let house = House::open(fleet.0).await;
        for host in ["evil.test", "evil.test", "localhost"] {
            let method = if host == "localhost" { "POST" } else { "GET" };
            say(knock(&house).await, &format!("{method} /sync HTTP/1.1\r\nhost: {host}"), "").await;
        }
        let told = get(&house, "/metrics").await;
        assert_eq!((told.status, told.header("content-type")), (200, Some(super::MEDIA)));
        let seconds = (NOW - 29_000) / 1000;
        for line in [
            concat!("hubless_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "hubless_agents{state=\"working\"} 1",
            "hubless_agents{state=\"needs input\"} 1",
            &format!("hubless_agent_last_beat_timestamp_seconds{{agent=\"sam\",device=\"mac-mini\"}} {seconds}.0"),
            "hubless_peer_up{device=\"mac-mini\"} 1",
            "hubless_peer_missing_changes{device=\"mac-mini\"} 0",
            "hubless_todos{status=\"pending\"} 1",
            "hubless_todo_conflicts 1",
            "hubless_sync_bytes_total{direction=\"in\"} 1200",
            "hubless_replica_bytes 0",
            "hubless_http_rejected_total{reason=\"foreign-host\"} 2",
            "hubless_http_rejected_total{reason=\"method-not-allowed\"} 1",
            "# EOF",
        ] {
            assert!(told.body.lines().any(|told| told == line), "{line} is not in\n{}", told.body);
        }
        assert!(!told.body.contains('\u{1b}') && !told.body.contains("\n# HELP x"), "{}", told.body);
        assert!(!told.body.contains(&crate::api::fixture::leos().to_string()), "no session is a label");
        house.close().await;
    }
}
