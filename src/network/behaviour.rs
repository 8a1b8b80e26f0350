//! What our swarms speak and whom they let in: TCP, noise with a prologue, yamux, one protocol, and limits that count before
//! the handshake. No identify, ping, gossip, routing table, relay or QUIC: nothing parses a stranger's bytes but those three.

use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, Swarm, Transport, noise, swarm, tcp, yamux};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::doorman::Doorman;
use super::place::Place;
use crate::model::limits::PEER_CONNECTIONS_MAX;
use crate::model::member::Fleet;

/// The one protocol of a fleet.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/hubless/sync/1");
/// A handshake may take so long.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// A connection without a stream ends after this.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Streams of one connection; one is used, a second while it is being replaced.
const STREAMS_MAX: usize = 8;

/// How many may come at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Handshakes that strangers have begun.
    pub(crate) pending: u32,
    /// Connections in all.
    pub(crate) established: u32,
}

/// For a fleet: 32 strangers at the door (RELIABILITY E1); one person's devices are few, so 256 connections are plenty.
pub(crate) const FLEET_LIMITS: Limits = Limits { pending: 32, established: 256 };
/// For a pairing window: one joiner, and some who come too late.
pub(crate) const PAIRING_LIMITS: Limits = Limits { pending: 16, established: 16 };

/// The parts of a swarm.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    /// Who is not spoken to for a while.
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    /// Streams, and the connections they are on.
    pub(crate) doorman: Doorman,
}

/// A swarm that does not listen yet. Its connections live in tasks of `tasks` until `over` is cancelled.
///
/// # Errors
/// libp2p does not take the key.
pub(crate) fn build(
    key: &Keypair,
    prologue: [u8; 32],
    protocol: StreamProtocol,
    limits: Limits,
    tasks: &TaskTracker,
    over: &CancellationToken,
) -> Result<Swarm<Behaviour>, String> {
    let noise = noise::Config::new(key).map_err(|e| e.to_string())?.with_prologue(prologue.to_vec());
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_MAX);
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(HANDSHAKE_MAX)
        .boxed();
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending))
        .with_max_pending_outgoing(Some(limits.pending))
        .with_max_established(Some(limits.established))
        .with_max_established_per_peer(Some(PEER_CONNECTIONS_MAX));
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        blocked: allow_block_list::Behaviour::default(),
        doorman: Doorman::new(protocol),
    };
    let (tasks, over) = (tasks.clone(), over.clone());
    let config = swarm::Config::with_executor(move |connection| {
        let over = over.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = connection => {}
            }
        });
    });
    let config = config.with_idle_connection_timeout(IDLE_MAX).with_max_negotiating_inbound_streams(STREAMS_MAX);
    Ok(Swarm::new(transport, behaviour, key.public().to_peer_id(), config))
}

/// The prologue of a fleet: a stranger's handshake fails on it.
pub(crate) fn prologue(fleet: &Fleet) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"hubless 1").update(&fleet.id.0);
    hasher.finalize().into()
}

/// A swarm for the fleet.
///
/// # Errors
/// As [`build`].
pub(crate) fn of_fleet(place: &Place, fleet: &Fleet, over: &CancellationToken) -> Result<Swarm<Behaviour>, String> {
    build(&place.key.keypair()?, prologue(fleet), PROTOCOL, FLEET_LIMITS, &place.tasks, over)
}
