//! From where a window is said to be to a stream that goes there; and whose it is, as noise proved it.

use std::net::SocketAddr;
use std::num::NonZeroU8;

use futures::StreamExt;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{PeerId, Stream, Swarm};

use crate::model::id::DeviceId;
use crate::network::behaviour::{Behaviour, BehaviourEvent};
use crate::network::doorman::Opening;
use crate::network::{dialing, identity, interfaces};

/// Where a window is said to be.
pub(crate) struct Target {
    /// Whose it is, if a ticket says so.
    pub(crate) device: Option<DeviceId>,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Why no stream came.
pub(crate) enum Unreached {
    /// Another device than the one that was wanted answers.
    Another(String),
    /// That is this device.
    Ourselves,
    /// Nobody answers; the last reason.
    Nobody(String),
}

/// A stream to the first of the addresses that answers, and whose it is.
#[expect(clippy::wildcard_enum_match_arm, reason = "of a swarm that only dials, all other events are no news")]
pub(crate) async fn reach(swarm: &mut Swarm<Behaviour>, target: &Target) -> Result<(DeviceId, Stream), Unreached> {
    let mut flying = dial(swarm, target)?;
    let mut chosen = None;
    loop {
        let event = swarm.select_next_some().await;
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } if chosen.is_none() => {
                chosen = Some((connection_id, peer_id));
                swarm.behaviour_mut().doorman.open(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { error, .. } if chosen.is_none() => {
                flying -= 1;
                if flying == 0 {
                    return Err(unreached(&error));
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } if is(chosen, connection_id) => {
                return Err(Unreached::Nobody("it closed the connection".to_owned()));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Doorman(opened)) => match (opened.stream, identity::device_of(&opened.peer)) {
                (Opening::Ours(stream), Some(device)) => return Ok((device, stream)),
                (Opening::Ours(_), None) => return Err(Unreached::Nobody("it is no device of hubless".to_owned())),
                (Opening::Failed(why), _) => return Err(Unreached::Nobody(why)),
                (Opening::Theirs(_), _) => {}
            },
            _ => {}
        }
    }
}

fn is(chosen: Option<(ConnectionId, PeerId)>, id: ConnectionId) -> bool {
    chosen.is_some_and(|(chosen, _)| chosen == id)
}

/// Dials all addresses at once, near ones first; how many dials are under way.
fn dial(swarm: &mut Swarm<Behaviour>, target: &Target) -> Result<usize, Unreached> {
    let (addresses, _) = dialing::sorted(target.addresses.iter().map(ToString::to_string).collect(), &interfaces::all());
    let addresses = addresses.into_iter().map(dialing::multiaddr_of);
    if let Some(device) = target.device {
        let peer = identity::peer_of(device).ok_or_else(|| Unreached::Nobody("nobody can have this device id".to_owned()))?;
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses.collect())
            .override_dial_concurrency_factor(NonZeroU8::MAX)
            .allocate_new_port()
            .build();
        return swarm.dial(dial).map(|()| 1).map_err(|why| unreached(&why));
    }
    let mut last = Err(Unreached::Nobody("no address".to_owned()));
    for address in addresses {
        let dialled = swarm.dial(DialOpts::unknown_peer_id().address(address).allocate_new_port().build());
        last = match (dialled, last) {
            (Ok(()), Ok(n)) => Ok(n + 1),
            (Ok(()), Err(_)) => Ok(1),
            (Err(_), Ok(n)) => Ok(n),
            (Err(why), Err(_)) => Err(unreached(&why)),
        };
    }
    last
}

fn unreached(error: &DialError) -> Unreached {
    if let DialError::WrongPeerId { address, .. } = error {
        return Unreached::Another(dialing::text_of(address));
    }
    dialing::reason(error).map_or(Unreached::Ourselves, Unreached::Nobody)
}
