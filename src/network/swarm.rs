//! The one task that owns the libp2p swarm: it dials, accepts, opens streams, and starts a link's task for each.
//!
//! Of two devices the one with the lower id opens the stream, the other accepts. A newer stream of a device replaces the
//! older. Simultaneous dials make two connections; the stream goes onto one, and whoever dialled the other closes it. The
//! lower device opens a stream on a newer connection while it has a link only after [`GRACE`]: a surplus connection is
//! closed by its dialler before that, so what is left means that the other end has lost its link.
//!
//! When a link ends its connection is closed, so a dial is never skipped for the sake of a connection without a link.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use if_addrs::Interface;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Stream, Swarm};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Later};
use super::behaviour::{self, Behaviour, BehaviourEvent};
use super::connections::{Connection, Current, Ended};
use super::dialing::{self, Calls, Failed};
use super::discovery::Discovery;
use super::doorman::{Opened, Opening};
use super::identity;
use super::pairing::{Joins, Wanted, Windows};
use super::place::Place;
use super::streams::{Cut, Link};
use super::{interfaces, listening};
use crate::model::id::{DeviceId, LinkId};
use crate::model::input::{Input, LinkAction, PeerEvent};
use crate::model::member::Fleet;
use crate::model::message::Bye;

/// How long a lower device waits before it takes a newer connection for a lost link.
const GRACE: Duration = Duration::from_millis(300);
/// How long a dialled connection has to carry a stream; then libp2p finds it idle as well.
const STREAM_WITHIN: Duration = Duration::from_secs(8);
/// How long last words may take when everything is closed.
const DRAIN_MAX: Duration = Duration::from_millis(1_500);
/// How often a port that was lost is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// How long our interfaces must be quiet before we say where we listen.
const SETTLE: Duration = Duration::from_millis(100);
/// Devices that are blocked at once; strangers do not get so far.
const BLOCKED_MAX: usize = 1_024;

/// The owner of the swarm.
pub(crate) struct Switchboard {
    place: Place,
    fleet: Fleet,
    me: DeviceId,
    swarm: Swarm<Behaviour>,
    over: CancellationToken,
    discovery: Discovery,
    windows: Windows,
    joins: Joins,
    connections: BTreeMap<ConnectionId, Connection>,
    links: BTreeMap<DeviceId, Current>,
    last_link: u64,
    calls: Calls,
    blocked: BTreeMap<DeviceId, Instant>,
    agenda: Agenda,
    told: Vec<String>,
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
}

impl Switchboard {
    /// With a swarm that listens already, and the token of its tasks; nothing happens until it runs.
    pub(crate) fn new(place: Place, fleet: Fleet, swarm: Swarm<Behaviour>, over: CancellationToken) -> Switchboard {
        Switchboard {
            me: place.key.device(),
            discovery: Discovery::default(),
            windows: Windows::new(),
            joins: Joins::default(),
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            last_link: 0,
            calls: Calls::default(),
            blocked: BTreeMap::new(),
            agenda: Agenda::default(),
            told: Vec::new(),
            ended: mpsc::channel(64),
            place,
            fleet,
            swarm,
            over,
        }
    }

    /// Runs until it is stopped; then says the last words of every link, and ends within two seconds.
    pub(crate) async fn run(mut self, mut todo: mpsc::Receiver<LinkAction>) {
        // Before anything else: who is let in is told where to find us, and may come in the next moment.
        self.tell_where().await;
        self.discover();
        let stop = self.place.stop.clone();
        loop {
            let next = self.next_deadline();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(action) = todo.recv() => self.act(action).await,
                event = self.swarm.select_next_some() => self.on_swarm(event).await,
                Some((device, link, connection)) = self.ended.1.recv() => self.on_ended(device, link, connection),
                () = sleep_until(next) => self.on_time().await,
            }
        }
        self.windows.close();
        self.joins.close();
        self.discovery.close();
        self.drain(true).await;
        self.over.cancel();
    }

    async fn send(&mut self, event: PeerEvent) {
        tokio::select! {
            _ = self.place.inbox.send(Input::Peer(event)) => {}
            () = self.place.stop.cancelled() => {}
        }
    }

    async fn act(&mut self, action: LinkAction) {
        match action {
            LinkAction::Dial { device, addresses } => self.dial(device, addresses).await,
            LinkAction::Say { .. } | LinkAction::Pour { .. } | LinkAction::Pace { .. } | LinkAction::HangUp { .. } => {} // done by `Lines::tell`
            LinkAction::Doubt { link } => self.links.values_mut().filter(|l| l.link == link).for_each(|l| l.doubted = true),
            LinkAction::Block { device, for_ms } => self.block(device, for_ms),
            LinkAction::Fleet(fleet) => {
                let is_same = std::mem::replace(&mut self.fleet, fleet).id == self.fleet.id;
                // Of another secret only what is announced and recognised changes.
                if is_same { self.discover() } else { self.renew("this device is in another fleet now").await }
            }
            LinkAction::Renew => self.renew("all connections are made anew").await,
            LinkAction::Invite { asker, code } => {
                let event = self.windows.open(asker, code, &self.place, &self.joins).await;
                self.send(event).await;
            }
            LinkAction::CloseWindow { asker } => self.windows.close_of(asker),
            LinkAction::Admit { pairing, welcome } => self.windows.admit(pairing, welcome),
            LinkAction::TurnAway { pairing, why } => self.windows.turn_away(pairing, why),
            LinkAction::Join { asker, text, at, name, only } => {
                if let Some(event) = self.joins.join(Wanted { asker, text, at, name, only }, &self.place, &self.windows) {
                    self.send(event).await;
                }
            }
        }
    }

    async fn dial(&mut self, device: Option<DeviceId>, addresses: Vec<String>) {
        if device == Some(self.me) || device.is_some_and(|d| self.is_met(d)) {
            return;
        }
        let (addresses, bad) = dialing::sorted(addresses, &interfaces::all());
        for address in bad {
            self.send(PeerEvent::DialFailed { device, address, why: "not an address (ip:port)".to_owned() }).await;
        }
        let addresses = addresses.into_iter().filter(|a| device.is_some() || !self.is_linked_at(*a)).collect();
        if let Some(address) = self.calls.add(device, addresses) {
            self.send(PeerEvent::DialFailed { device, address, why: "too many dials at once".to_owned() }).await;
        }
        self.fly().await;
    }

    /// Whether a device has a link that is not doubted, is being dialled, or is about to get its stream.
    fn is_met(&self, device: DeviceId) -> bool {
        self.has_link(device)
            || self.calls.has(device)
            || self.connections.values().any(|c| c.device == device && !c.served && c.since.elapsed() < STREAM_WITHIN)
    }

    fn has_link(&self, device: DeviceId) -> bool {
        self.links.get(&device).is_some_and(Current::is_sure)
    }

    /// Whether an address leads to a device that has a link.
    fn is_linked_at(&self, address: SocketAddr) -> bool {
        self.connections.values().any(|c| c.dialled && c.address == address.to_string() && self.has_link(c.device))
    }

    /// Tries the addresses that are due.
    async fn fly(&mut self) {
        for Failed { device, address, why } in self.calls.fly(&mut self.swarm) {
            self.send(PeerEvent::DialFailed { device, address: address.to_string(), why }).await;
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p may add events; the rest are about external addresses, which we have none of"
    )]
    async fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Doorman(opened)) => self.on_opened(opened).await,
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let (address, dialled) = listening::other_end(&endpoint);
                let wanted = !dialled || self.calls.arrived(connection_id);
                match identity::device_of(&peer_id) {
                    Some(device) if wanted => {
                        let local = listening::own_end(&endpoint);
                        self.on_connected(device, connection_id, (dialing::text_of(address), local), dialled);
                    }
                    _ => drop(self.swarm.close_connection(connection_id)),
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => self.on_closed(connection_id).await,
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => self.on_dial_failed(connection_id, &error).await,
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.agenda.add(SETTLE, Later::Where),
            SwarmEvent::ListenerClosed { reason: Err(why), .. } => {
                tracing::warn!("a listening socket failed: {why}");
                self.agenda.add(LISTEN_AGAIN, Later::Renew);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!("listening: {error}"),
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!("a connection was not made: {error}"),
            _ => {}
        }
    }

    fn on_connected(&mut self, device: DeviceId, id: ConnectionId, (address, local): (String, Option<IpAddr>), dialled: bool) {
        let linked = self.has_link(device);
        let surplus = self.blocked.contains_key(&device) || (dialled && linked);
        self.connections.insert(id, Connection { device, address, local, dialled, since: Instant::now(), served: surplus });
        if surplus {
            self.swarm.close_connection(id);
        } else if self.me < device {
            let opening = self.connections.iter().any(|(i, c)| *i != id && c.device == device && !c.served);
            if linked || opening { self.agenda.add(GRACE, Later::Open(id)) } else { self.open_stream(id) }
        } else {
            self.agenda.add(STREAM_WITHIN, Later::Unserved(id));
        }
    }

    fn open_stream(&mut self, id: ConnectionId) {
        let peer = self.connections.get(&id).filter(|c| !c.served).and_then(|c| identity::peer_of(c.device));
        if let Some(peer) = peer {
            self.swarm.behaviour_mut().doorman.open(peer, id);
        }
    }

    async fn on_opened(&mut self, Opened { connection, stream, .. }: Opened) {
        let Some(at) = self.connections.get_mut(&connection) else {
            return;
        };
        let device = at.device;
        match stream {
            Opening::Theirs(_) if self.me < device => tracing::debug!("{device:?} opened a stream that is ours to open"),
            Opening::Theirs(_) | Opening::Ours(_) if self.blocked.contains_key(&device) => {}
            Opening::Theirs(stream) | Opening::Ours(stream) => self.link(device, connection, stream),
            Opening::Failed(why) => {
                at.served = true;
                let (dialled, address) = (at.dialled, at.address.clone());
                self.swarm.close_connection(connection);
                if dialled && !self.has_link(device) {
                    let why = format!("it took no stream: {why}");
                    self.send(PeerEvent::DialFailed { device: Some(device), address, why }).await;
                }
            }
        }
    }

    /// Starts a link's task; an older link of the device ends first.
    fn link(&mut self, device: DeviceId, connection: ConnectionId, stream: Stream) {
        let Some(at) = self.connections.get_mut(&connection) else {
            return;
        };
        at.served = true;
        let address = at.address.clone();
        let older = self.links.remove(&device);
        if let Some(older) = older.as_ref().filter(|o| !o.queue.is_ending()) {
            older.cut.make("a newer stream replaced it");
        }
        self.last_link += 1;
        let (id, queue, cut) = (LinkId(self.last_link), self.place.lines.queue(), Cut::default());
        let (done, after) = oneshot::channel();
        let link = Link {
            id,
            device,
            address,
            queue: Arc::clone(&queue),
            inbox: self.place.inbox.clone(),
            after: older.and_then(|o| o.done),
            cut: cut.clone(),
            over: self.over.clone(),
        };
        self.links.insert(device, Current { link: id, connection, queue, cut, doubted: false, done: Some(after) });
        let (lines, ended) = (Arc::clone(&self.place.lines), self.ended.0.clone());
        self.place.tasks.spawn(async move {
            link.run(stream, lines).await;
            let _ = done.send(());
            let _ = ended.send((device, id, connection)).await;
        });
        let surplus = |(i, c): (&ConnectionId, &Connection)| (*i != connection && c.device == device && c.dialled).then_some(*i);
        for id in self.connections.iter().filter_map(surplus).collect::<Vec<_>>() {
            self.close(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.served = true;
            self.swarm.close_connection(id);
        }
    }

    fn on_ended(&mut self, device: DeviceId, link: LinkId, connection: ConnectionId) {
        if self.links.get(&device).is_some_and(|l| l.link == link) {
            self.links.remove(&device);
        }
        if self.links.get(&device).is_none_or(|l| l.connection != connection) {
            self.close(connection);
        }
        self.shut_out(device);
    }

    async fn on_closed(&mut self, id: ConnectionId) {
        let Some(closed) = self.connections.remove(&id) else {
            return;
        };
        if closed.dialled && !closed.served && !self.has_link(closed.device) {
            let why = "it closed the connection before a word was said".to_owned();
            self.send(PeerEvent::DialFailed { device: Some(closed.device), address: closed.address, why }).await;
        }
    }

    async fn on_dial_failed(&mut self, id: ConnectionId, error: &DialError) {
        if let Some(Failed { device, address, why }) = self.calls.failed(id, error) {
            self.send(PeerEvent::DialFailed { device, address: address.to_string(), why }).await;
        }
        self.fly().await;
    }

    /// Blocks a device: at once, or after the last words of a link that was hung up.
    fn block(&mut self, device: DeviceId, for_ms: u64) {
        if self.blocked.len() < BLOCKED_MAX || self.blocked.contains_key(&device) {
            let span = Duration::from_millis(for_ms);
            self.blocked.insert(device, Instant::now() + span);
            self.agenda.add(span, Later::Unblock(device));
        }
        if self.links.get(&device).is_none_or(|l| !l.queue.is_ending()) {
            self.shut_out(device);
        }
    }

    fn shut_out(&mut self, device: DeviceId) {
        if let Some(peer) = self.blocked.get(&device).and_then(|_| identity::peer_of(device)) {
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
    }

    fn unblock(&mut self, device: DeviceId) {
        if self.blocked.get(&device).is_some_and(|until| *until <= Instant::now()) {
            self.blocked.remove(&device);
            if let Some(peer) = identity::peer_of(device) {
                self.swarm.behaviour_mut().blocked.unblock_peer(peer);
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3_600);
        self.agenda.next().into_iter().chain(self.calls.next()).min().unwrap_or(far)
    }

    async fn on_time(&mut self) {
        for what in self.agenda.due(Instant::now()) {
            match what {
                Later::Open(id) => self.open_stream(id),
                Later::Unblock(device) => self.unblock(device),
                Later::Unserved(id) if self.connections.get(&id).is_some_and(|c| !c.served) => drop(self.swarm.close_connection(id)),
                Later::Unserved(_) => {}
                Later::Where => self.tell_where().await,
                Later::Listen => self.listen_again(),
                Later::Renew => self.renew("a listening socket failed").await,
            }
        }
        self.fly().await;
    }

    /// Says where we listen, when that has changed.
    async fn tell_where(&mut self) {
        let all = interfaces::all();
        self.end_homeless(&all);
        let addresses = interfaces::listening(&all, &self.place.discovery.interfaces, self.place.port);
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if addresses != self.told {
            self.told.clone_from(&addresses);
            self.send(PeerEvent::Listening { addresses }).await;
        }
    }

    /// Ends what stood on an address that this machine has no more: nothing will ever come on it, and nobody says so.
    fn end_homeless(&mut self, all: &[Interface]) {
        let ids: Vec<ConnectionId> = self.connections.iter().filter(|(_, c)| c.is_homeless(all)).map(|(id, _)| *id).collect();
        for id in ids {
            let on_it = self.links.values().filter(|l| l.connection == id && !l.queue.is_ending());
            on_it.for_each(|l| l.cut.make("this machine's address changed"));
            self.close(id);
        }
    }

    fn listen_again(&mut self) {
        if let Err(why) = listening::listen(&mut self.swarm, self.place.port) {
            tracing::warn!("{why}; trying again");
            self.agenda.add(LISTEN_AGAIN, Later::Listen);
        }
    }

    fn discover(&mut self) {
        self.discovery.close();
        let Place { discovery, port, inbox, tasks, .. } = &self.place;
        self.discovery = Discovery::start(discovery, *port, &self.fleet, inbox, tasks);
    }

    /// Closes everything and opens it anew, for the fleet that is ours now.
    async fn renew(&mut self, why: &'static str) {
        self.discovery.close();
        for link in self.links.values().filter(|l| !l.queue.is_ending()) {
            link.cut.make(why);
        }
        self.drain(false).await;
        let over = CancellationToken::new();
        match behaviour::of_fleet(&self.place, &self.fleet, &over) {
            Ok(swarm) => self.swarm = swarm,
            Err(why) => return tracing::error!("no new swarm: {why}"),
        }
        std::mem::replace(&mut self.over, over).cancel();
        self.connections.clear();
        self.calls = Calls::default();
        self.told.clear();
        self.agenda.keep_blocks();
        for device in self.blocked.keys().copied().collect::<Vec<_>>() {
            self.shut_out(device);
        }
        self.agenda.add(Duration::ZERO, Later::Where);
        self.listen_again();
        self.discover();
    }

    /// Waits, not long, until every link has ended; `say` hangs up those that the core did not.
    async fn drain(&mut self, say: bool) {
        for link in self.links.values().filter(|_| say) {
            link.queue.hang_up(Bye::Stopping);
        }
        let _ = timeout(DRAIN_MAX, async {
            while !self.links.is_empty() {
                tokio::select! {
                    event = self.swarm.select_next_some() => drop(event),
                    Some((device, link, _)) = self.ended.1.recv() => {
                        if self.links.get(&device).is_some_and(|l| l.link == link) {
                            self.links.remove(&device);
                        }
                    }
                }
            }
        })
        .await;
        self.links.clear();
    }
}
