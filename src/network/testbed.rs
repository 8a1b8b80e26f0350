//! A network on this machine for tests: its events are kept, and waited for with a limit.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Stream, Swarm};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::{self, Behaviour, BehaviourEvent, FLEET_LIMITS};
use super::doorman::{Opened, Opening};
use super::{DeviceKey, Network, Options, dialing};
use crate::model::id::{DeviceId, FleetId, LinkId};
use crate::model::input::{Input, LinkAction, PeerEvent};
use crate::model::limits::INBOX_MAX;
use crate::model::member::Fleet;

/// How long anything may take that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// The tests' wall clock.
pub(crate) const NOW_MS: i64 = 1_790_000_000_000;

/// A running network.
pub(crate) struct Node {
    pub(crate) network: Network,
    pub(crate) device: DeviceId,
    pub(crate) inbox: mpsc::Receiver<Input>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Where it listens on loopback, once it has said so.
    pub(crate) at: String,
    _dir: tempfile::TempDir,
}

pub(crate) fn fleet(n: u8) -> Fleet {
    Fleet { id: FleetId([n; 32]), secrets: vec![[n; 32], [n + 1; 32]] }
}

/// Keys of which the first has the lowest device id.
pub(crate) fn key(n: u8) -> DeviceKey {
    let mut keys: Vec<DeviceKey> = (0..8).map(|i| DeviceKey::from_seed([i; 32])).collect();
    keys.sort_by_key(DeviceKey::device);
    keys.swap_remove(n.into())
}

pub(crate) fn options(dir: &tempfile::TempDir) -> Options {
    Options {
        port: 0,
        mdns: false,
        mdns_port: 5353,
        interfaces: vec![],
        peers: vec![],
        last_port_file: dir.path().join("port"),
        clock: || NOW_MS,
    }
}

impl Node {
    pub(crate) fn start(n: u8, fleet: Fleet) -> Node {
        Node::with(n, fleet, |_| {})
    }

    pub(crate) fn with(n: u8, fleet: Fleet, change: impl FnOnce(&mut Options)) -> Node {
        let dir = tempfile::tempdir().expect("a directory");
        let mut options = options(&dir);
        change(&mut options);
        let (to, inbox) = mpsc::channel(INBOX_MAX);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let network = super::start(options, key(n), fleet, to, &tasks, stop.clone()).expect("a network");
        Node { network, device: key(n).device(), inbox, stop, tasks, at: String::new(), _dir: dir }
    }

    /// The next event; there must be one.
    pub(crate) async fn next(&mut self) -> PeerEvent {
        match timeout(LIMIT, self.inbox.recv()).await {
            Ok(Some(Input::Peer(event))) => event,
            other => panic!("no event of {:?}: {other:?}", self.device),
        }
    }

    /// The next event that is wanted; others before it are passed over.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(PeerEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.next().await) {
                    return found;
                }
            }
        };
        timeout(LIMIT, search).await.expect("what must happen happens in time")
    }

    /// Its own loopback address, as it says itself.
    pub(crate) async fn address(&mut self) -> String {
        let pick = |a: Vec<String>| a.into_iter().find(|a| a.starts_with("127.0.0.1:")).expect("loopback is told");
        self.at = self.until(|e| if let PeerEvent::Listening { addresses } = e { Some(pick(addresses)) } else { None }).await;
        self.at.clone()
    }

    pub(crate) async fn up(&mut self) -> (LinkId, DeviceId) {
        self.until(|e| if let PeerEvent::Up { link, device, .. } = e { Some((link, device)) } else { None }).await
    }

    pub(crate) async fn down(&mut self) -> (LinkId, String) {
        self.until(|e| if let PeerEvent::Down { link, why } = e { Some((link, why)) } else { None }).await
    }

    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        self.until(|e| if let PeerEvent::Frame { bytes, .. } = e { Some(bytes) } else { None }).await
    }

    pub(crate) async fn dial_failed(&mut self) -> (String, String) {
        self.until(|e| if let PeerEvent::DialFailed { address, why, .. } = e { Some((address, why)) } else { None }).await
    }

    pub(crate) fn dial(&self, device: Option<DeviceId>, address: &str) {
        self.network.tell(LinkAction::Dial { device, addresses: vec![address.to_owned()] });
    }

    /// Dials until there is a link.
    pub(crate) async fn link_to(&mut self, device: DeviceId, address: &str) -> LinkId {
        let dials = async {
            loop {
                self.dial(Some(device), address);
                let done = |e| match e {
                    PeerEvent::Up { link, .. } => Some(Some(link)),
                    PeerEvent::DialFailed { .. } => Some(None),
                    _ => None,
                };
                if let Some(link) = self.until(done).await {
                    return link;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LIMIT, dials).await.expect("a link in time")
    }

    /// Nothing happens for a while.
    pub(crate) async fn quiet(&mut self, ms: u64) {
        let event = timeout(Duration::from_millis(ms), self.inbox.recv()).await;
        assert!(event.is_err(), "{event:?}");
    }

    pub(crate) fn say(&self, link: LinkId, frames: Vec<Vec<u8>>) {
        self.network.tell(LinkAction::Say { link, frames });
    }

    /// Stops it; every task must end within the two seconds that are promised.
    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        self.tasks.close();
        timeout(Duration::from_secs(2), self.tasks.wait()).await.expect("all tasks end within two seconds");
    }
}

/// Two networks of one fleet with a link; the first has the lower id.
pub(crate) async fn linked() -> (Node, Node, LinkId, LinkId) {
    let (mut a, mut b) = (Node::start(0, fleet(1)), Node::start(1, fleet(1)));
    a.address().await;
    let at = b.address().await;
    a.dial(Some(b.device), &at);
    let ((on_a, is_b), (on_b, is_a)) = (a.up().await, b.up().await);
    assert_eq!((is_a, is_b), (a.device, b.device));
    (a, b, on_a, on_b)
}

/// A free port of this machine on which nobody listens.
pub(crate) fn silent_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

/// A stream of a member that says what it likes, and the swarm that must be kept for it.
pub(crate) async fn raw_stream(n: u8, fleet: &Fleet, address: &str) -> (Swarm<Behaviour>, Stream) {
    let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
    let keypair = key(n).keypair().expect("a key");
    let mut swarm =
        behaviour::build(&keypair, behaviour::prologue(fleet), behaviour::PROTOCOL, FLEET_LIMITS, &tasks, &over).expect("a swarm");
    let address = dialing::multiaddr_of(address.parse().expect("an address"));
    swarm.dial(DialOpts::unknown_peer_id().address(address).build()).expect("a dial");
    loop {
        match timeout(LIMIT, swarm.select_next_some()).await.expect("an event in time") {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => swarm.behaviour_mut().doorman.open(peer_id, connection_id),
            SwarmEvent::Behaviour(BehaviourEvent::Doorman(Opened { stream: Opening::Ours(stream), .. })) => return (swarm, stream),
            _ => {}
        }
    }
}

/// Waits for a condition that nobody announces.
pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    let waits = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, waits).await.expect("the condition holds in time");
}
