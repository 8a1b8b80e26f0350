//! Who is near: announces by mDNS that something is here, and tells the core what else is.
//!
//! A stranger on the network learns that a hubless is there and nothing else: instance and host name are random and new in
//! every life, and the token beside them is a keyed hash that changes every hour. Whoever knows a secret of the fleet
//! recognises it. What is sighted is a hint; the key that noise proves decides.

use std::collections::BTreeMap;
use std::time::Duration;

use mdns_sd::{IfKind, IfPredicate, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dialing::ADDRESSES_MAX;
use super::interfaces;
use crate::model::id::base32;
use crate::model::input::{Input, PeerEvent};
use crate::model::member::Fleet;
use crate::model::view::AroundView;

/// What we announce ourselves as.
const SERVICE: &str = "_hubless._tcp.local.";
const HOUR_MS: i64 = 3_600_000;
const TOKEN_BYTES: usize = 10;
/// Others of one kind that are remembered; on a network with more of them, or with a liar, the rest of that kind goes unseen.
const SIGHTED_MAX: usize = 128;
/// How often it is looked whether the hour has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After so many of those what is merely counted is told again.
const TOLD_EVERY: u32 = 12;
/// How long looking up one name may take, and when one that failed is looked up again.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
const LOOKUP_AGAIN: Duration = Duration::from_secs(60);
/// How long the good-bye may take.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// How others are found.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Whether mDNS is used.
    pub(crate) mdns: bool,
    /// On which UDP port.
    pub(crate) mdns_port: u16,
    /// `host:port` of devices that are always worth a dial.
    pub(crate) peers: Vec<String>,
    /// The wall clock, milliseconds since 1970.
    pub(crate) clock: fn() -> i64,
    /// Interfaces that are used though their names speak against it.
    pub(crate) interfaces: Vec<String>,
}

/// The running discovery; closed when dropped.
#[derive(Debug, Default)]
pub(crate) struct Discovery(CancellationToken);

impl Discovery {
    /// Announces that we listen on `port`, and looks around.
    pub(crate) fn start(plan: &Plan, port: u16, fleet: &Fleet, inbox: &mpsc::Sender<Input>, tasks: &TaskTracker) -> Discovery {
        let stop = CancellationToken::new();
        for peer in plan.peers.clone() {
            let (inbox, stop) = (inbox.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sight_static(peer, inbox) => {}
                }
            });
        }
        let around = Around {
            plan: plan.clone(),
            port,
            secrets: fleet.secrets.clone(),
            inbox: inbox.clone(),
            seen: BTreeMap::new(),
            told: None,
            heard: 0,
            echoed: false,
            error: None,
        };
        tasks.spawn(around.run(stop.clone()));
        Discovery(stop)
    }

    /// Says good-bye.
    pub(crate) fn close(&self) {
        self.0.cancel();
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sights a peer that was named by hand, as soon as its name can be looked up, and again whenever that leads elsewhere.
async fn sight_static(peer: String, inbox: mpsc::Sender<Input>) {
    let mut known: Vec<String> = Vec::new();
    loop {
        match timeout(LOOKUP_MAX, tokio::net::lookup_host(peer.as_str())).await {
            Ok(Ok(found)) => {
                let mut addresses: Vec<String> = found.take(ADDRESSES_MAX).map(|a| a.to_string()).collect();
                addresses.sort();
                if addresses != known {
                    known.clone_from(&addresses);
                    let sighted = PeerEvent::Sighted { instance: format!("static:{peer}"), ours: true, addresses };
                    let _ = inbox.send(Input::Peer(sighted)).await;
                }
                // What is an address already leads nowhere else.
                if peer.parse::<std::net::SocketAddr>().is_ok() {
                    return;
                }
            }
            Ok(Err(why)) => tracing::warn!("the peer {peer} cannot be looked up: {why}"),
            Err(_) => tracing::warn!("the peer {peer} cannot be looked up: timed out"),
        }
        sleep(LOOKUP_AGAIN).await;
    }
}

/// The token of an instance in an hour.
fn token(secret: &[u8; 32], hour: i64, instance: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(b"mdns").update(&hour.to_le_bytes()).update(instance.as_bytes());
    base32(&hasher.finalize().as_bytes()[..TOKEN_BYTES])
}

/// Whether a token was made with one of the secrets, within an hour of ours.
fn is_ours(secrets: &[[u8; 32]], hour: i64, instance: &str, shown: &str) -> bool {
    let hours = [hour, hour.saturating_sub(1), hour.saturating_add(1)];
    secrets.iter().any(|secret| hours.iter().any(|hour| token(secret, *hour, instance) == shown))
}

/// Who shows itself, by what it knows. Each kind has a room of its own: a stranger can announce what it likes, a removed device
/// knows older secrets, and neither keeps a member from being seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stranger,
    OfOld,
    OfNow,
}

impl Kind {
    fn of(secrets: &[[u8; 32]], hour: i64, instance: &str, shown: &str) -> Kind {
        let (old, newest) = secrets.split_at(secrets.len().saturating_sub(1));
        match (is_ours(newest, hour, instance, shown), is_ours(old, hour, instance, shown)) {
            (true, _) => Kind::OfNow,
            (false, true) => Kind::OfOld,
            (false, false) => Kind::Stranger,
        }
    }
}

/// Takes what an instance shows if it is news and its kind has room.
fn is_taken(seen: &mut BTreeMap<String, (Kind, Vec<String>)>, instance: &str, news: (Kind, Vec<String>)) -> bool {
    let others = seen.iter().filter(|(other, (kind, _))| *kind == news.0 && *other != instance).count();
    let fine = !news.1.is_empty() && others < SIGHTED_MAX && seen.get(instance) != Some(&news);
    if fine {
        seen.insert(instance.to_owned(), news);
    }
    fine
}

/// A random name: 16 letters.
fn name() -> Option<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(data_encoding::HEXLOWER.encode(&bytes))
}

/// Our interfaces, used and passed over.
fn surroundings(wanted: &[String], mdns: bool) -> AroundView {
    let all = interfaces::all();
    let subnets = interfaces::subnets(&all, wanted);
    let mut names: Vec<String> = all.into_iter().map(|interface| interface.name).collect();
    names.sort();
    names.dedup();
    let (skipped, used) = names.into_iter().partition(|name| interfaces::is_skipped(name, wanted));
    AroundView { used, skipped, subnets, mdns, ..AroundView::default() }
}

struct Around {
    plan: Plan,
    port: u16,
    secrets: Vec<[u8; 32]>,
    inbox: mpsc::Sender<Input>,
    seen: BTreeMap<String, (Kind, Vec<String>)>,
    /// What was said of the network around, and how many ticks ago.
    told: Option<(AroundView, u32)>,
    heard: u64,
    echoed: bool,
    /// Why there is no mDNS.
    error: Option<String>,
}

impl Around {
    async fn run(mut self, stop: CancellationToken) {
        if !self.plan.mdns {
            return self.only_tell(&stop).await;
        }
        let (Some(instance), Some(host)) = (name(), name()) else {
            return tracing::error!("no mDNS: no random bytes from the system");
        };
        let daemon = match ServiceDaemon::new_with_port(self.plan.mdns_port) {
            Ok(daemon) => daemon,
            Err(why) => {
                tracing::warn!("no mDNS, devices are found by their last addresses only: {why}");
                self.error = Some(why.to_string());
                return self.only_tell(&stop).await;
            }
        };
        let wanted = self.plan.interfaces.clone();
        let skipped = IfPredicate::new(move |interface| interfaces::is_skipped(&interface.name, &wanted));
        if let Err(why) = daemon.disable_interface(IfKind::Predicate(skipped)) {
            tracing::warn!("mDNS: {why}");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.look(&daemon, &instance, &host) => {}
        }
        let _ = timeout(GOODBYE_MAX, goodbye(&daemon, &instance)).await;
        if let Ok(done) = daemon.shutdown() {
            let _ = timeout(GOODBYE_MAX, done.recv_async()).await;
        }
    }

    /// Where nobody is to be found by mDNS, our own interfaces still come and go.
    async fn only_tell(&mut self, stop: &CancellationToken) {
        let mut clock = interval(LOOK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(clock.tick()).await.is_some() {
            self.tell_around().await;
        }
    }

    /// Announces and browses until the inbox is gone.
    async fn look(&mut self, daemon: &ServiceDaemon, instance: &str, host: &str) {
        let mut announced = None;
        let mut clock = interval(LOOK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The channel is closed without a word when it was not read fast enough; then everything is asked for again.
            let events = match daemon.browse(SERVICE) {
                Ok(events) => events,
                Err(why) => {
                    tracing::warn!("mDNS: {why}");
                    clock.tick().await;
                    continue;
                }
            };
            loop {
                tokio::select! {
                    event = events.recv_async() => match event {
                        Ok(event) => if self.heard(event, instance).await.is_none() { return },
                        Err(_) => break,
                    },
                    _ = clock.tick() => {
                        self.announce(daemon, instance, host, &mut announced);
                        self.tell_around().await;
                    }
                }
            }
        }
    }

    /// Says what is around, when it has changed; mere numbers once a minute.
    async fn tell_around(&mut self) {
        let (heard, echoed, error) = (self.heard, self.echoed, self.error.clone());
        let around = AroundView { heard, echoed, error, ..surroundings(&self.plan.interfaces, self.plan.mdns) };
        let (is_news, ticks) = match &self.told {
            None => (true, 0),
            Some((told, ticks)) => {
                (AroundView { heard: told.heard, ..around.clone() } != *told || (*ticks >= TOLD_EVERY && around != *told), ticks + 1)
            }
        };
        if is_news {
            let _ = self.inbox.send(Input::Peer(PeerEvent::Around(around.clone()))).await;
            self.told = Some((around, 0));
        } else if let Some((_, since)) = &mut self.told {
            *since = ticks;
        }
    }

    fn hour(&self) -> i64 {
        (self.plan.clock)().div_euclid(HOUR_MS)
    }

    /// Announces us with the hour's token, made with the newest secret; nothing if that is announced already.
    fn announce(&self, daemon: &ServiceDaemon, instance: &str, host: &str, announced: &mut Option<i64>) {
        let hour = self.hour();
        if *announced == Some(hour) {
            return;
        }
        let token = self.secrets.last().map(|secret| token(secret, hour, instance)).unwrap_or_default();
        let text = [("v", "1"), ("k", token.as_str())];
        let done = ServiceInfo::new(SERVICE, instance, &format!("{host}.local."), "", self.port, &text[..]).and_then(|info| {
            let mut info = info.enable_addr_auto();
            info.set_requires_probe(false); // a random name is nobody else's
            daemon.register(info)
        });
        match done {
            Ok(()) => *announced = Some(hour),
            Err(why) => tracing::warn!("mDNS: {why}"),
        }
    }

    /// Passes on what is news; `None` when nobody listens any more.
    async fn heard(&mut self, event: ServiceEvent, own: &str) -> Option<()> {
        let news = if let ServiceEvent::ServiceResolved(found) = event {
            self.sighted(&found, own)
        } else if let ServiceEvent::ServiceRemoved(_, fullname) = event {
            let instance = instance_of(&fullname).and_then(|i| self.seen.remove_entry(i));
            instance.map(|(instance, _)| PeerEvent::Gone { instance })
        } else {
            None
        };
        if let Some(news) = news {
            self.inbox.send(Input::Peer(news)).await.ok()?;
        }
        Some(())
    }

    fn sighted(&mut self, found: &ResolvedService, own: &str) -> Option<PeerEvent> {
        self.heard += 1;
        self.echoed |= instance_of(&found.fullname) == Some(own);
        let instance = instance_of(&found.fullname).filter(|i| *i != own)?;
        if found.port == 0 || found.txt_properties.get_property_val_str("v") != Some("1") {
            return None;
        }
        let shown = found.txt_properties.get_property_val_str("k").unwrap_or_default();
        let kind = Kind::of(&self.secrets, self.hour(), instance, shown);
        let link_local = |ip: &std::net::IpAddr| matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        let mut ips: Vec<_> = found.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).filter(|ip| !link_local(ip)).collect();
        ips.sort();
        ips.dedup();
        ips.truncate(ADDRESSES_MAX);
        let addresses: Vec<String> = ips.into_iter().map(|ip| std::net::SocketAddr::new(ip, found.port).to_string()).collect();
        let taken = is_taken(&mut self.seen, instance, (kind, addresses.clone()));
        taken.then(|| PeerEvent::Sighted { instance: instance.to_owned(), ours: kind != Kind::Stranger, addresses })
    }
}

/// The random part of a full name, if it is one that a hubless would have.
fn instance_of(fullname: &str) -> Option<&str> {
    let instance = fullname.strip_suffix(SERVICE)?.strip_suffix('.')?;
    (!instance.is_empty() && instance.len() <= 63 && instance.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')).then_some(instance)
}

async fn goodbye(daemon: &ServiceDaemon, instance: &str) {
    if let Ok(done) = daemon.unregister(&format!("{instance}.{SERVICE}")) {
        let _ = done.recv_async().await;
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of event and passes over the others")]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::model::input::LinkAction;
    use crate::network::testbed::{Node, fleet};

    #[test]
    fn a_token_is_recognised_within_an_hour_and_with_every_secret() {
        let (old, new, other) = ([1; 32], [2; 32], [3; 32]);
        for (hour, ours) in [(8, false), (9, true), (10, true), (11, true), (12, false)] {
            assert_eq!(is_ours(&[old, new], hour, "abc", &token(&new, 10, "abc")), ours, "{hour}");
            assert_eq!(is_ours(&[old, new], hour, "abc", &token(&old, 10, "abc")), ours, "{hour}");
        }
        assert!(!is_ours(&[old, new], 10, "abc", &token(&other, 10, "abc")));
        assert!(!is_ours(&[old, new], 10, "abd", &token(&new, 10, "abc")), "a token is of no use under another name");
        assert!(!is_ours(&[], 10, "abc", "") && !is_ours(&[new], i64::MAX, "abc", ""));
        assert_ne!(token(&new, 10, "abc"), token(&new, 11, "abc"));
    }

    #[test]
    fn a_flood_of_strangers_or_of_removed_devices_hides_no_member() {
        let secrets = [[1; 32], [2; 32]];
        let at = || vec!["10.0.0.1:1".to_owned()];
        let mut seen = BTreeMap::new();
        for n in 0..1_000 {
            let (stranger, removed) = (format!("s{n}"), format!("r{n}"));
            let kinds = [
                (&stranger, Kind::of(&secrets, 7, &stranger, "xx"), Kind::Stranger),
                (&removed, Kind::of(&secrets, 7, &removed, &token(&secrets[0], 7, &removed)), Kind::OfOld),
            ];
            for (instance, kind, expected) in kinds {
                assert_eq!(kind, expected);
                assert_eq!(is_taken(&mut seen, instance, (kind, at())), n < SIGHTED_MAX);
            }
        }
        let kind = Kind::of(&secrets, 7, "m", &token(&secrets[1], 7, "m"));
        assert!(is_taken(&mut seen, "m", (kind, at())), "a member is seen all the same");
        assert!(!is_taken(&mut seen, "m", (kind, at())), "and once");
        assert!(is_taken(&mut seen, "r0", (Kind::OfNow, at())), "it heard of the new secret");
    }

    #[test]
    fn names_of_strangers_are_taken_only_as_we_would_make_them() {
        assert_eq!(instance_of("00ff._hubless._tcp.local."), Some("00ff"));
        for bad in ["._hubless._tcp.local.", "a b._hubless._tcp.local.", "\u{1b}[._hubless._tcp.local.", "x._other._tcp.local."] {
            assert_eq!(instance_of(bad), None, "{bad}");
        }
    }
    /// Two daemons on one machine, on a port of their own, see each other over loopback and are recognised by their token.
    #[tokio::test]
    async fn two_on_one_machine_find_each_other_and_a_stranger_is_no_member() {
        let port = crate::network::testbed::silent_port().port();
        let node = |n, of| Node::with(n, of, |o| (o.mdns, o.mdns_port) = (true, port));
        let (mut a, mut b, mut c) = (node(0, fleet(1)), node(1, fleet(1)), node(2, fleet(5)));
        let (at_b, at_c) = (b.address().await, c.address().await);
        let sighted = |e| if let PeerEvent::Sighted { instance, ours, addresses } = e { Some((instance, ours, addresses)) } else { None };
        let (mut member, mut stranger) = (None, None);
        while member.is_none() || stranger.is_none() {
            let (instance, ours, addresses) = a.until(sighted).await;
            if addresses.contains(&at_b) {
                assert!(ours);
                member = Some((instance, addresses));
            } else if addresses.contains(&at_c) {
                assert!(!ours);
                stranger = Some(instance);
            }
        }
        let (instance, addresses) = member.expect("found");
        assert!(instance.len() == 16 && !instance.contains("hubless"));
        a.network.tell(LinkAction::Dial { device: None, addresses });
        assert_eq!(a.up().await.1, b.device);
        // A new life has a new name, and the old one goes.
        b.network.tell(LinkAction::Renew);
        let news = |e| match e {
            PeerEvent::Gone { instance } => Some((instance, true)),
            PeerEvent::Sighted { instance, ours: true, .. } => Some((instance, false)),
            _ => None,
        };
        let (mut gone, mut again) = (false, false);
        while !(gone && again) {
            let (name, is_gone) = a.until(news).await;
            gone |= is_gone && name == instance;
            again |= !is_gone && name != instance;
        }
        for node in [a, b, c] {
            node.stopped().await;
        }
    }

    /// mdns-sd closes the channel of who does not read fast enough, without a word.
    #[tokio::test]
    async fn it_browses_again_when_its_channel_is_closed() {
        let port = crate::network::testbed::silent_port().port();
        let daemon = ServiceDaemon::new_with_port(port).expect("a responder");
        let (inbox, mut told) = mpsc::channel(crate::model::limits::INBOX_MAX);
        let plan = Plan { mdns: true, mdns_port: port, peers: vec![], clock: || crate::network::testbed::NOW_MS, interfaces: vec![] };
        let secrets = fleet(1).secrets;
        let mut around = Around { plan, port: 9, secrets, inbox, seen: BTreeMap::new(), told: None, heard: 0, echoed: false, error: None };
        let ears = daemon.clone();
        let tasks = TaskTracker::new();
        let looking = tasks.spawn(async move { around.look(&ears, "aaaa", "bbbb").await });
        let mut sights = async |at: &str| loop {
            match timeout(crate::network::testbed::LIMIT, told.recv()).await {
                Ok(Some(Input::Peer(PeerEvent::Sighted { addresses, .. }))) if addresses.iter().any(|a| a == at) => return,
                Ok(Some(_)) => {}
                other => panic!("{at} is not sighted: {other:?}"),
            }
        };
        let node = |n| Node::with(n, fleet(1), |o| (o.mdns, o.mdns_port) = (true, port));
        let mut b = node(1);
        sights(&b.address().await).await;
        daemon.stop_browse(SERVICE).expect("the channel is closed");
        let mut c = node(2);
        sights(&c.address().await).await;
        for node in [b, c] {
            node.stopped().await;
        }
        looking.abort();
        drop(daemon.shutdown());
    }

    /// The clock of a device that has been on for long.
    static HOURS: AtomicI64 = AtomicI64::new(0);

    #[tokio::test]
    async fn the_token_of_a_new_hour_is_announced() {
        let port = crate::network::testbed::silent_port().port();
        let _a = Node::with(0, fleet(1), |o| (o.mdns, o.mdns_port, o.clock) = (true, port, || HOURS.load(Ordering::Relaxed) * HOUR_MS));
        let mut b = Node::with(1, fleet(1), |o| (o.mdns, o.mdns_port, o.clock) = (true, port, || 5 * HOUR_MS));
        let ours = |e| if let PeerEvent::Sighted { ours, .. } = e { Some(ours) } else { None };
        assert!(!b.until(ours).await, "five hours old");
        HOURS.store(5, Ordering::Relaxed);
        b.until(|e| ours(e).filter(|ours| *ours)).await;
    }

    #[tokio::test]
    async fn a_peer_named_by_hand_is_sighted_at_start_and_after_a_renewal() {
        let peers = vec!["localhost:4".to_owned(), "no such host:1".to_owned()];
        let mut a = Node::with(0, fleet(1), |o| o.peers = peers);
        for _ in 0..2 {
            let sighted =
                |e| if let PeerEvent::Sighted { instance, ours: true, addresses } = e { Some((instance, addresses)) } else { None };
            let (instance, addresses) = a.until(sighted).await;
            assert_eq!(instance, "static:localhost:4");
            assert!(addresses.contains(&"127.0.0.1:4".to_owned()) || addresses.contains(&"[::1]:4".to_owned()), "{addresses:?}");
            a.network.tell(LinkAction::Renew);
        }
        a.stopped().await;
    }
}
