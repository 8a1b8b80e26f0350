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
mod dialing;
mod discovery;
mod doorman;
mod frames;
pub mod identity;
mod interfaces;
mod joining;
mod listening;
mod pairing;
mod place;
mod streams;
mod swarm;
mod ticket;

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
        match action {
            LinkAction::Say { link, frames } => self.lines.say(link, frames),
            LinkAction::HangUp { link, why } => self.lines.hang_up(link, why),
            LinkAction::Dial { .. }
            | LinkAction::Block { .. }
            | LinkAction::Fleet(_)
            | LinkAction::Renew
            | LinkAction::Invite { .. }
            | LinkAction::Admit { .. }
            | LinkAction::TurnAway { .. }
            | LinkAction::Join { .. } => {
                if let Err(mpsc::error::TrySendError::Full(_)) = self.actions.try_send(action) {
                    tracing::error!("more than {ACTIONS_MAX} deeds wait for the network; one was dropped");
                }
            }
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
    let lines = Arc::new(streams::Lines::default());
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
    tasks.spawn(swarm::Switchboard::open(place, fleet)?.run(todo));
    Ok(Network { lines, actions })
}
