//! How a code finds its window: the window announces the code's first three digits by mDNS, and nothing else of itself.
//!
//! Anybody on the network can announce the same digits. So what is found is a hint, few of them are tried, and each costs the
//! one who answers one guess of ten million.

use std::net::SocketAddr;
use std::time::Duration;

use mdns_sd::{IfKind, IfPredicate, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ticket::ADDRESSES_MAX;
use crate::network::discovery::Plan;
use crate::network::interfaces;

/// What a window announces itself as.
const SERVICE: &str = "_hubless-pair._tcp.local.";
/// How long the good-bye may take.
const GOODBYE_MAX: Duration = Duration::from_millis(500);
/// Windows that were found and wait to be tried.
const FOUND_MAX: usize = 8;

/// Announces a window until `open` is cancelled. What goes wrong is logged: the window can be reached by its address.
pub(crate) fn announce(plan: &Plan, port: u16, place: &str, tasks: &TaskTracker, open: &CancellationToken) {
    if !plan.mdns {
        return;
    }
    let (plan, place, open) = (plan.clone(), place.to_owned(), open.clone());
    tasks.spawn(async move {
        let Some((daemon, instance, host)) = begin(&plan) else { return };
        let text = [("v", "1"), ("d", place.as_str())];
        let registered = ServiceInfo::new(SERVICE, &instance, &format!("{host}.local."), "", port, &text[..]).and_then(|info| {
            let mut info = info.enable_addr_auto();
            info.set_requires_probe(false); // a random name is nobody else's
            daemon.register(info)
        });
        match registered {
            Ok(()) => open.cancelled().await,
            Err(why) => tracing::warn!("the pairing window is not announced: {why}"),
        }
        if let Ok(done) = daemon.unregister(&format!("{instance}.{SERVICE}")) {
            let _ = timeout(GOODBYE_MAX, done.recv_async()).await;
        }
        end(&daemon).await;
    });
}

/// Looks for windows with those digits until the receiver is dropped: where each of them listens.
pub(crate) fn find(plan: &Plan, place: &str, tasks: &TaskTracker) -> mpsc::Receiver<Vec<SocketAddr>> {
    let (to, found) = mpsc::channel(FOUND_MAX);
    let (plan, place) = (plan.clone(), place.to_owned());
    tasks.spawn(async move {
        let Some((daemon, ..)) = begin(&plan).filter(|_| plan.mdns) else { return };
        tokio::select! {
            () = to.closed() => {}
            () = browse(&daemon, &place, &to) => {}
        }
        end(&daemon).await;
    });
    found
}

async fn browse(daemon: &ServiceDaemon, place: &str, to: &mpsc::Sender<Vec<SocketAddr>>) {
    let mut told = Vec::new();
    loop {
        let events = match daemon.browse(SERVICE) {
            Ok(events) => events,
            Err(why) => return tracing::warn!("mDNS: {why}"),
        };
        // The channel is closed without a word when it was not read fast enough; then everything is asked for again.
        while let Ok(event) = events.recv_async().await {
            let ServiceEvent::ServiceResolved(service) = event else { continue };
            let is_it = service.txt_properties.get_property_val_str("d") == Some(place);
            let addresses = addresses(&service);
            if is_it && !addresses.is_empty() && told.len() < FOUND_MAX && !told.contains(&service.fullname) {
                told.push(service.fullname.clone());
                if to.send(addresses).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let is_link_local = |ip: &std::net::IpAddr| matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
    let mut ips: Vec<_> = service.addresses.iter().map(ScopedIp::to_ip_addr).filter(|ip| !is_link_local(ip)).collect();
    ips.sort();
    ips.dedup();
    ips.truncate(ADDRESSES_MAX);
    ips.into_iter().filter(|_| service.port != 0).map(|ip| SocketAddr::new(ip, service.port)).collect()
}

/// A voice of its own on the network, with two random names.
fn begin(plan: &Plan) -> Option<(ServiceDaemon, String, String)> {
    let name = || {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).ok()?;
        Some(data_encoding::HEXLOWER.encode(&bytes))
    };
    let (instance, host) = (name()?, name()?);
    let daemon = match ServiceDaemon::new_with_port(plan.mdns_port) {
        Ok(daemon) => daemon,
        Err(why) => {
            tracing::warn!("no mDNS, a pairing window is found by its address only: {why}");
            return None;
        }
    };
    let wanted = plan.interfaces.clone();
    let skipped = IfPredicate::new(move |interface| interfaces::is_skipped(&interface.name, &wanted));
    if let Err(why) = daemon.disable_interface(IfKind::Predicate(skipped)) {
        tracing::warn!("mDNS: {why}");
    }
    Some((daemon, instance, host))
}

async fn end(daemon: &ServiceDaemon) {
    if let Ok(done) = daemon.shutdown() {
        let _ = timeout(GOODBYE_MAX, done.recv_async()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::testbed::{LIMIT, NOW_MS, silent_port};

    fn plan(mdns: bool, mdns_port: u16) -> Plan {
        Plan { mdns, mdns_port, peers: vec![], clock: || NOW_MS, interfaces: vec![] }
    }

    #[tokio::test]
    async fn a_window_is_found_by_its_digits_and_by_no_others() {
        let (tasks, open) = (TaskTracker::new(), CancellationToken::new());
        let plan = plan(true, silent_port().port());
        announce(&plan, 4_001, "318", &tasks, &open);
        announce(&plan, 4_002, "319", &tasks, &open);
        let mut found = find(&plan, "318", &tasks);
        let addresses = timeout(LIMIT, found.recv()).await.expect("in time").expect("found");
        assert!(addresses.iter().all(|a| a.port() == 4_001), "{addresses:?}");
        drop(found);
        open.cancel();
        tasks.close();
        timeout(LIMIT, tasks.wait()).await.expect("all ends");
    }

    #[tokio::test]
    async fn without_mdns_nothing_is_found_and_nobody_waits() {
        let tasks = TaskTracker::new();
        assert_eq!(timeout(LIMIT, find(&plan(false, 1), "318", &tasks).recv()).await.expect("at once"), None);
    }
}
