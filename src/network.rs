//! The only home of libp2p and mdns-sd: hands that dial, listen, announce and pair, and decide nothing.
//!
//! Every event goes to the core as `Input::Peer`, every deed comes from it as `LinkAction`. What is said on a link goes
//! straight into that link's own bounded queue, so that `tell` never waits; everything else is done in turn by one task
//! ([`swarm`]), which owns the libp2p swarm. A link is one stream to one device: what is said on it arrives in order, or
//! the link ends with `Down`.
//!
//! The noise prologue names the fleet, so a stranger's handshake fails. Who of those that pass is a member is the core's
//! to say; nothing here reads a frame.

mod agenda;
mod behaviour;
mod connections;
mod dialing;
mod discovery;
mod doorman;
mod frames;
pub mod identity;
mod interfaces;
mod lanes;
mod listening;
mod pairing;
mod place;
mod streams;
mod swarm;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::identity::{DeviceKey, KeyError};
pub use self::listening::NoPort;
use crate::model::input::{Input, LinkAction};
use crate::model::member::Fleet;

/// Deeds other than saying and hanging up that wait for the network's task. It waits only for the core's inbox, and the
/// core empties that before it tells again, so this is never reached by a core that dials at most every second.
const ACTIONS_MAX: usize = 4_096;

/// Where to listen, whom to look for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The TCP port; 0 takes the one of last time, else any free one.
    pub port: u16,
    /// Whether to announce and look around by mDNS.
    pub mdns: bool,
    /// The UDP port of mDNS: 5353, another one in tests.
    pub mdns_port: u16,
    /// Interfaces that are used though their names are those of containers, bridges and tunnels.
    pub interfaces: Vec<String>,
    /// `host:port` of devices that mDNS does not find.
    pub peers: Vec<String>,
    /// Bytes a second on all links together; `None`: as fast as they go.
    pub bandwidth: Option<u64>,
    /// Where the last port is kept for port 0.
    pub last_port_file: PathBuf,
    /// The wall clock, milliseconds since 1970: for the hour of the mDNS token and the end of a ticket.
    pub clock: fn() -> i64,
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No port to listen on.
    #[error(transparent)]
    Port(#[from] NoPort),
    /// libp2p did not take the key.
    #[error("the device's key cannot be used: {0}")]
    Key(String),
}

/// The running network. Dropping it stops nothing; the token given to [`start`] does.
#[derive(Debug)]
pub struct Network {
    lines: Arc<streams::Lines>,
    actions: mpsc::Sender<LinkAction>,
}

impl Network {
    /// Queues a deed; never waits. What is said on a link keeps its order; a link that has ended is said nothing.
    pub fn tell(&self, action: LinkAction) {
        let Some(action) = self.lines.tell(action) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.actions.try_send(action) {
            tracing::error!("more than {ACTIONS_MAX} deeds wait for the network; one was dropped");
        }
    }
}

/// Listens, announces, and sends what happens into `inbox` until `stop` is cancelled; all tasks then end within two seconds.
///
/// # Errors
/// The port is taken or may not be used.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn start(
    options: Options,
    key: DeviceKey,
    fleet: Fleet,
    inbox: mpsc::Sender<Input>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<Network, Error> {
    let port = listening::choose(options.port, &options.last_port_file)?;
    let lines = Arc::new(streams::Lines::new(options.bandwidth));
    let (actions, todo) = mpsc::channel(ACTIONS_MAX);
    let place = place::Place {
        port,
        discovery: discovery::Plan {
            mdns: options.mdns,
            mdns_port: options.mdns_port,
            peers: options.peers,
            clock: options.clock,
            interfaces: options.interfaces,
        },
        key,
        inbox,
        lines: Arc::clone(&lines),
        tasks: tasks.clone(),
        stop,
    };
    let over = CancellationToken::new();
    let mut swarm = behaviour::of_fleet(&place, &fleet, &over).map_err(Error::Key)?;
    listening::listen(&mut swarm, port)?;
    tasks.spawn(swarm::Switchboard::new(place, fleet, swarm, over).run(todo));
    Ok(Network { lines, actions })
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of event and passes over the others")]
pub(crate) mod testbed {
    //! A network on this machine for tests: its events are waited for with a limit.

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
            bandwidth: None,
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

        /// Nothing happens for a while, but that it is said what interfaces there are.
        pub(crate) async fn quiet(&mut self, ms: u64) {
            let others = async {
                loop {
                    match self.inbox.recv().await {
                        Some(Input::Peer(PeerEvent::Around(_))) => {}
                        other => return other,
                    }
                }
            };
            let event = timeout(Duration::from_millis(ms), others).await;
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
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                    swarm.behaviour_mut().doorman.open(peer_id, connection_id)
                }
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
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use futures::StreamExt;
    use futures::io::AsyncWriteExt;
    use tokio::time::timeout;

    use super::testbed::{Node, eventually, fleet, key, linked, options, raw_stream, silent_port};
    use super::*;
    use crate::model::input::PeerEvent;
    use crate::model::limits::FRAME_BYTES_MAX;
    use crate::model::message::Bye;

    #[tokio::test]
    async fn a_dial_by_either_side_makes_one_link_and_frames_arrive_in_order() {
        for lower_dials in [true, false] {
            let (mut a, mut b) = (Node::start(0, fleet(1)), Node::start(1, fleet(1)));
            let (at_a, at_b) = (a.address().await, b.address().await);
            if lower_dials {
                a.dial(Some(b.device), &at_b)
            } else {
                b.dial(None, &at_a)
            }
            let (on_a, on_b) = (a.up().await.0, b.up().await.0);
            for n in 0u32..1_000 {
                a.say(on_a, vec![n.to_le_bytes().to_vec()]);
                b.say(on_b, vec![(n + 7).to_le_bytes().to_vec()]);
            }
            for n in 0u32..1_000 {
                assert_eq!(b.frame().await, n.to_le_bytes());
                assert_eq!(a.frame().await, (n + 7).to_le_bytes());
            }
            a.stopped().await;
            b.stopped().await;
        }
    }

    #[tokio::test]
    async fn large_frames_arrive_whole_and_room_is_told() {
        let (mut a, mut b, on_a, on_b) = linked().await;
        let frames: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; FRAME_BYTES_MAX]).collect();
        a.say(on_a, frames.clone());
        for frame in frames {
            assert!(b.frame().await == frame);
        }
        let room = a.until(|e| if let PeerEvent::Room { link } = e { Some(link) } else { None }).await;
        assert_eq!(room, on_a);
        b.say(on_b, vec![vec![1, 2]]);
        assert_eq!(a.frame().await, [1, 2]);
    }

    #[tokio::test]
    async fn an_end_that_does_not_hear_holds_the_other_back_and_loses_nothing() {
        let (mut a, mut b, on_a, _) = linked().await;
        for n in 0..64u8 {
            a.say(on_a, vec![vec![n; FRAME_BYTES_MAX]; 2]);
        }
        let room = |e: PeerEvent| matches!(e, PeerEvent::Room { .. }).then_some(());
        // The inbox of b holds 1024 events and nobody takes them; small frames fill it.
        a.say(on_a, vec![vec![9]; 4_000]);
        for n in 0..64u8 {
            for _ in 0..2 {
                assert!(b.frame().await == vec![n; FRAME_BYTES_MAX]);
            }
        }
        for _ in 0..4_000 {
            assert_eq!(b.frame().await, [9]);
        }
        a.until(room).await;
    }

    #[tokio::test]
    async fn more_than_may_wait_ends_the_link_and_not_the_memory() {
        for flood in [vec![vec![0; FRAME_BYTES_MAX + 1]], vec![vec![0; FRAME_BYTES_MAX]; 257]] {
            let (mut a, _b, on_a, _) = linked().await;
            a.say(on_a, flood);
            assert_eq!(a.down().await.1, "more was said than may wait");
        }
    }

    #[tokio::test]
    async fn what_was_said_before_hanging_up_arrives() {
        let (mut a, mut b, on_a, on_b) = linked().await;
        a.say(on_a, (0..100u8).map(|n| vec![n; 10_000]).collect());
        a.network.tell(LinkAction::HangUp { link: on_a, why: Bye::Left });
        a.say(on_a, vec![vec![255]]);
        for n in 0..100u8 {
            assert!(b.frame().await == vec![n; 10_000]);
        }
        assert_eq!(b.down().await, (on_b, "the other end hung up".to_owned()));
        assert_eq!(a.down().await, (on_a, "hung up: it left the fleet".to_owned()));
        // And a new dial is not skipped for the sake of the old connection.
        a.dial(Some(b.device), &b.at);
        assert_ne!(a.up().await.0, on_a);
        b.up().await;
    }

    #[tokio::test]
    async fn a_device_of_another_fleet_cannot_connect() {
        let (mut a, mut b) = (Node::start(0, fleet(1)), Node::start(1, fleet(2)));
        let at = b.address().await;
        for device in [Some(b.device), None] {
            a.dial(device, &at);
            assert_eq!(a.dial_failed().await, (at.clone(), "handshake failed: it is not of our fleet, or no hubless".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_failed_dial_says_why_for_every_address() {
        let (mut a, mut b) = (Node::start(0, fleet(1)), Node::start(1, fleet(1)));
        let (own, at) = (a.address().await, b.address().await);
        let silent = silent_port().to_string();
        let third = key(2).device();
        a.network
            .tell(LinkAction::Dial { device: Some(third), addresses: vec!["nonsense".into(), silent.clone(), own.clone(), at.clone()] });
        let mut failed: Vec<(String, String)> = Vec::new();
        for _ in 0..3 {
            failed.push(a.dial_failed().await);
        }
        failed.sort();
        let mut expected = vec![
            ("nonsense".to_owned(), "not an address (ip:port)".to_owned()),
            (silent, "connection refused: nothing listens there".to_owned()),
            (at, "another device answers there".to_owned()),
        ];
        expected.sort();
        assert_eq!(failed, expected, "and our own address is passed over");
        a.dial(None, &own);
        a.dial(Some(a.device), &own);
        a.dial(None, &silent_port().to_string());
        assert!(a.dial_failed().await.1.starts_with("connection refused"), "dialling ourselves says nothing");
    }

    #[tokio::test]
    async fn simultaneous_dials_end_in_one_link() {
        for _ in 0..5 {
            let (mut a, mut b) = (Node::start(0, fleet(1)), Node::start(1, fleet(1)));
            let (at_a, at_b) = (a.address().await, b.address().await);
            a.dial(Some(b.device), &at_b);
            b.dial(None, &at_a);
            let (on_a, on_b) = (a.up().await.0, b.up().await.0);
            a.say(on_a, vec![vec![1]]);
            b.say(on_b, vec![vec![2]]);
            assert_eq!(
                (a.next().await, b.next().await),
                (PeerEvent::Frame { link: on_a, bytes: vec![2] }, PeerEvent::Frame { link: on_b, bytes: vec![1] },)
            );
            // Long enough for a surplus connection to get a stream, if nobody closed it.
            a.quiet(600).await;
            a.stopped().await;
        }
    }

    #[tokio::test]
    async fn a_dial_to_a_linked_device_changes_nothing() {
        let (a, mut b, on_a, _) = linked().await;
        let (at_a, at_b) = (a.at.clone(), b.at.clone());
        for _ in 0..3 {
            a.dial(Some(b.device), &at_b);
            a.dial(None, &at_b);
            b.dial(None, &at_a);
        }
        b.quiet(600).await;
        a.say(on_a, vec![vec![1]]);
        assert_eq!(b.frame().await, [1]);
    }

    #[tokio::test]
    async fn a_newer_stream_replaces_the_older() {
        // The same key twice: what the first network thinks of as a dead end comes back on a new connection.
        let (mut a, mut b, on_a, _on_b) = linked().await;
        let mut again = Node::start(1, fleet(1));
        again.dial(Some(a.device), &a.at);
        let (newer, _) = again.up().await;
        assert_eq!(a.down().await, (on_a, "a newer stream replaced it".to_owned()));
        let (on_a, device) = a.up().await;
        assert_eq!(device, again.device);
        again.say(newer, vec![vec![5]]);
        assert_eq!(a.frame().await, [5]);
        a.say(on_a, vec![vec![6]]);
        assert_eq!(again.frame().await, [6]);
        b.down().await;
    }

    #[tokio::test]
    async fn a_doubted_link_stays_until_the_next_connection_replaces_it() {
        for lower_doubts in [true, false] {
            let (a, b, on_a, on_b) = linked().await;
            let ((mut doubter, link), (mut other, to)) = if lower_doubts { ((a, on_a), (b, on_b)) } else { ((b, on_b), (a, on_a)) };
            let at = other.at.clone();
            doubter.network.tell(LinkAction::Doubt { link });
            doubter.say(link, vec![vec![1]]);
            assert_eq!(other.frame().await, [1], "it is still a link");
            doubter.dial(Some(other.device), &at);
            assert_eq!(doubter.down().await.0, link);
            assert_eq!(other.down().await.0, to);
            let (newer, to) = (doubter.up().await.0, other.up().await.0);
            doubter.say(newer, vec![vec![2]]);
            other.say(to, vec![vec![3]]);
            assert_eq!((other.frame().await, doubter.frame().await), (vec![2], vec![3]));
            // Nobody doubts that one.
            doubter.dial(Some(other.device), &at);
            doubter.quiet(600).await;
        }
    }

    #[tokio::test]
    async fn strangers_with_garbage_disturb_nobody() {
        let (mut a, mut b, on_a, on_b) = linked().await;
        let mut strangers: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(&b.at).expect("it listens")).collect();
        for (n, stranger) in strangers.iter_mut().enumerate() {
            // Silence, a start of the real thing, and noise.
            let _ = match n % 3 {
                0 => Ok(()),
                1 => stranger.write_all(b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff"),
                _ => stranger.write_all(&[n as u8; 5_000]),
            };
        }
        a.say(on_a, vec![vec![1]]);
        b.say(on_b, vec![vec![2]]);
        assert_eq!((b.frame().await, a.frame().await), (vec![1], vec![2]));
        drop(strangers);
        let mut c = Node::start(2, fleet(1));
        c.link_to(b.device, &b.at).await;
    }

    #[tokio::test]
    async fn a_garbled_length_ends_the_link_and_not_the_network() {
        let mut b = Node::start(1, fleet(1));
        let at = b.address().await;
        let (mut swarm, mut stream) = raw_stream(0, &fleet(1), &at).await;
        let said = async {
            stream.write_all(&[2, 0, 0, 0, 7, 7, 0xff, 0xff, 0xff, 0xff]).await.expect("written");
            stream.flush().await.expect("flushed");
            loop {
                swarm.select_next_some().await;
            }
        };
        let heard = async {
            b.up().await;
            assert_eq!(b.frame().await, [7, 7]);
            assert!(b.down().await.1.starts_with("garbled"));
        };
        tokio::select! {
            () = heard => {}
            () = said => {}
        }
        let mut a = Node::start(2, fleet(1));
        a.link_to(b.device, &at).await;
    }

    #[tokio::test]
    async fn a_stream_that_is_ours_to_open_is_not_taken_from_the_other_end() {
        let mut b = Node::start(1, fleet(1));
        let at = b.address().await;
        let (mut swarm, mut stream) = raw_stream(2, &fleet(1), &at).await;
        let said = async {
            let _ = stream.write_all(&[1, 0, 0, 0, 7]).await;
            let _ = stream.flush().await;
            loop {
                swarm.select_next_some().await;
            }
        };
        let heard = async {
            b.up().await;
            while let Ok(Some(event)) = timeout(Duration::from_millis(300), b.inbox.recv()).await {
                assert!(!matches!(event, Input::Peer(PeerEvent::Up { .. } | PeerEvent::Frame { .. })), "{event:?}");
            }
        };
        tokio::select! {
            () = heard => {}
            () = said => {}
        }
    }

    #[tokio::test]
    async fn a_blocked_device_hears_the_last_word_and_is_let_in_again_later() {
        let (mut a, b, _, on_b) = linked().await;
        b.say(on_b, vec![vec![4; 200_000]; 20]);
        b.network.tell(LinkAction::HangUp { link: on_b, why: Bye::Untrusted });
        b.network.tell(LinkAction::Block { device: a.device, for_ms: 1_000 });
        for _ in 0..20 {
            assert!(a.frame().await == [4; 200_000]);
        }
        a.down().await;
        a.dial(Some(b.device), &b.at);
        let why = a.dial_failed().await.1;
        assert!(why.contains("closed the connection") || why.contains("took no stream"), "{why}");
        a.link_to(b.device, &b.at).await;
    }

    #[tokio::test]
    async fn another_fleet_and_a_renewal_close_and_open_everything() {
        let (mut a, mut b, on_a, on_b) = linked().await;
        a.network.tell(LinkAction::Renew);
        assert_eq!(a.down().await, (on_a, "all connections are made anew".to_owned()));
        assert_eq!(b.down().await.0, on_b);
        assert_eq!(a.address().await, a.at, "on the same port");
        b.dial(None, &a.at);
        let (on_a, on_b) = (a.up().await.0, b.up().await.0);
        for (node, link) in [(&a, on_a), (&b, on_b)] {
            node.network.tell(LinkAction::HangUp { link, why: Bye::Left });
            node.network.tell(LinkAction::Fleet(fleet(7)));
        }
        let at = b.address().await;
        a.address().await;
        a.link_to(b.device, &at).await;
        let mut stranger = Node::start(2, fleet(1));
        stranger.dial(None, &at);
        assert!(stranger.dial_failed().await.1.starts_with("handshake failed"));
    }

    #[tokio::test]
    async fn stopping_says_the_last_words_and_ends_every_task() {
        let (a, mut b, on_a, _) = linked().await;
        a.say(on_a, vec![vec![1; 1_000]; 100]);
        a.stopped().await;
        for _ in 0..100 {
            assert!(b.frame().await == vec![1; 1_000]);
        }
        b.down().await;
        // Also when the core has stopped to listen, with its inbox full.
        let mut c = Node::start(0, fleet(1));
        let on_c = c.link_to(b.device, &b.at).await;
        let (on_b, _) = b.up().await;
        b.say(on_b, vec![vec![1]; 5_000]);
        c.say(on_c, vec![vec![1; 1_000]; 5_000]);
        eventually(|| c.inbox.len() == c.inbox.max_capacity()).await;
        c.stopped().await;
        b.stopped().await;
    }

    #[tokio::test]
    async fn a_busy_port_is_an_error_that_names_it() {
        let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("any port");
        let port = taken.local_addr().expect("bound").port();
        let dir = tempfile::tempdir().expect("a directory");
        let (to, _inbox) = mpsc::channel(8);
        let options = Options { port, ..options(&dir) };
        let started = start(options, key(0), fleet(1), to, &TaskTracker::new(), CancellationToken::new());
        assert!(started.expect_err("taken").to_string().contains(&format!("port {port} is taken")));
        // Another hubless counts as well, though libp2p would share the port with it.
        let mut a = Node::start(0, fleet(1));
        let port = a.address().await.parse::<std::net::SocketAddr>().expect("an address").port();
        let (to, _inbox) = mpsc::channel(8);
        let options = Options { port, ..super::testbed::options(&dir) };
        let started = start(options, key(1), fleet(1), to, &TaskTracker::new(), CancellationToken::new());
        assert!(matches!(started, Err(Error::Port(NoPort::Busy(p))) if p == port));
    }

    #[tokio::test]
    async fn a_small_frame_goes_there_and_back_fast() {
        let (mut a, mut b, on_a, on_b) = linked().await;
        let begun = tokio::time::Instant::now();
        const ROUNDS: u32 = 1_000;
        for _ in 0..ROUNDS {
            a.say(on_a, vec![vec![1; 64]]);
            let heard = b.frame().await;
            b.say(on_b, vec![heard]);
            a.frame().await;
        }
        let each = begun.elapsed() / ROUNDS;
        println!("round trip of a small frame: {each:?}");
        assert!(each < Duration::from_millis(5), "{each:?}");
    }
}
