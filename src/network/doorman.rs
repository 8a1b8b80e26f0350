//! Which stream came on which connection, and how many strangers may stand at the door.
//!
//! libp2p-stream would open a stream on any connection of a peer. We must know which: of two connections that were made
//! at once one is surplus, and after a wake the older one is dead, so the stream must go onto the newer. This behaviour
//! has one protocol, opens where it is told, and reports every stream with its connection.
//!
//! Before the handshake it lets only a few connections of one address wait, so that one stranger cannot fill the door.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, Stream,
    StreamProtocol, SubstreamProtocol, ToSwarm,
};

use super::dialing;

/// Connections of one address that may be in the middle of their handshake (RELIABILITY E1).
const PENDING_PER_ADDRESS_MAX: usize = 8;
/// Streams of the other end that one handler holds until they are taken; a peer that opens more in one breath loses them.
const UNTAKEN_MAX: usize = 4;

/// What became of a stream.
pub(crate) enum Opening {
    /// The other end opened it.
    Theirs(Stream),
    /// We opened it.
    Ours(Stream),
    /// We could not.
    Failed(String),
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Opening::Theirs(_) => "their stream",
            Opening::Ours(_) => "our stream",
            Opening::Failed(why) => why,
        })
    }
}

/// A stream, or none, on a connection.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Whose.
    pub(crate) peer: PeerId,
    /// On which connection.
    pub(crate) connection: ConnectionId,
    /// What became of it.
    pub(crate) stream: Opening,
}

/// The behaviour of one protocol.
pub(crate) struct Doorman {
    protocol: StreamProtocol,
    events: VecDeque<ToSwarm<Opened, Open>>,
    waiting: BTreeMap<ConnectionId, IpAddr>,
    waker: Option<Waker>,
}

/// Open a stream.
#[derive(Debug)]
pub(crate) struct Open;

impl Doorman {
    /// For one protocol.
    pub(crate) fn new(protocol: StreamProtocol) -> Doorman {
        Doorman { protocol, events: VecDeque::new(), waiting: BTreeMap::new(), waker: None }
    }

    /// Opens a stream on this connection; an [`Opened`] follows unless the connection ends first.
    pub(crate) fn open(&mut self, peer_id: PeerId, connection: ConnectionId) {
        self.events.push_back(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event: Open });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self) -> Handler {
        Handler { protocol: self.protocol.clone(), asked: 0, done: VecDeque::new() }
    }
}

impl NetworkBehaviour for Doorman {
    type ConnectionHandler = Handler;
    type ToSwarm = Opened;

    fn handle_pending_inbound_connection(&mut self, id: ConnectionId, _: &Multiaddr, from: &Multiaddr) -> Result<(), ConnectionDenied> {
        let Some(from) = dialing::socket_of(from) else {
            return Ok(());
        };
        if self.waiting.values().filter(|ip| **ip == from.ip()).count() >= PENDING_PER_ADDRESS_MAX {
            return Err(ConnectionDenied::new("too many connections of one address are waiting"));
        }
        self.waiting.insert(id, from.ip());
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(at) = event {
            self.waiting.remove(&at.connection_id);
        } else if let FromSwarm::ListenFailure(at) = event {
            self.waiting.remove(&at.connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, stream: Opening) {
        self.events.push_back(ToSwarm::GenerateEvent(Opened { peer, connection, stream }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Opened, Open>> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// One connection's end of the behaviour.
pub(crate) struct Handler {
    protocol: StreamProtocol,
    asked: usize,
    done: VecDeque<Opening>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Opening;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Opening>> {
        if let Some(done) = self.done.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(done));
        }
        if self.asked > 0 {
            self.asked -= 1;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, Open: Open) {
        self.asked += 1;
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        let done = if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) = event {
            Opening::Theirs(protocol)
        } else if let ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) = event {
            Opening::Ours(protocol)
        } else if let ConnectionEvent::DialUpgradeError(failed) = event {
            Opening::Failed(failed.error.to_string())
        } else {
            return;
        };
        if !matches!(done, Opening::Theirs(_)) || self.done.len() < UNTAKEN_MAX {
            self.done.push_back(done);
        }
    }
}
