//! One attempt to reach a device: its addresses one after the other, near ones first, and what became of each in words.
//!
//! An attempt ends with its first connection. The next address is tried when one failed, or has not answered for half a
//! second, so that a dead address in front costs little and a living one is seldom called twice.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use if_addrs::Interface;
use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::time::Instant;

use super::behaviour::Behaviour;
use super::{identity, interfaces};
use crate::model::id::DeviceId;

/// After so long the next address is tried as well.
const STAGGER: Duration = Duration::from_millis(500);
/// Attempts at once; a device has one, and a fleet few devices.
const ATTEMPTS_MAX: usize = 64;
/// Addresses of one attempt; a device with more is reached by one of the nearest.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// The `ip:port` of a TCP address.
pub(crate) fn socket_of(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = parts.next()?;
    let ip: IpAddr = if let Protocol::Ip4(ip) = ip {
        ip.into()
    } else if let Protocol::Ip6(ip) = ip {
        ip.into()
    } else {
        return None;
    };
    if let Protocol::Tcp(port) = parts.next()? { Some(SocketAddr::new(ip, port)) } else { None }
}

/// The same, the other way.
pub(crate) fn multiaddr_of(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// The address as the core knows it.
pub(crate) fn text_of(address: &Multiaddr) -> String {
    socket_of(address).map_or_else(|| address.to_string(), |a| a.to_string())
}

/// Near addresses first, else in the order given, each once; and what is no address at all.
pub(crate) fn sorted(addresses: Vec<String>, all: &[Interface]) -> (VecDeque<SocketAddr>, Vec<String>) {
    let mut good: Vec<SocketAddr> = Vec::new();
    let mut bad = Vec::new();
    for text in addresses {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => {
                if !good.contains(&address) {
                    good.push(address);
                }
            }
            _ => bad.push(text),
        }
    }
    good.sort_by_key(|a| interfaces::distance(all, a.ip()));
    good.truncate(ADDRESSES_MAX);
    bad.truncate(ADDRESSES_MAX);
    (good.into(), bad)
}

/// One attempt.
#[derive(Debug)]
struct Attempt {
    device: Option<DeviceId>,
    waiting: VecDeque<SocketAddr>,
    flying: BTreeMap<ConnectionId, SocketAddr>,
    next_at: Instant,
}

impl Attempt {
    fn new(device: Option<DeviceId>, waiting: VecDeque<SocketAddr>) -> Attempt {
        Attempt { device, waiting, flying: BTreeMap::new(), next_at: Instant::now() }
    }

    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_empty()
    }

    /// The next address, if its time has come.
    fn due(&mut self, now: Instant) -> Option<SocketAddr> {
        if !self.flying.is_empty() && now < self.next_at {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.next_at = now + STAGGER;
        Some(address)
    }
}

/// An address that led nowhere.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Whom it was meant for, if that was known.
    pub(crate) device: Option<DeviceId>,
    /// The address.
    pub(crate) address: SocketAddr,
    /// Why, in plain words.
    pub(crate) why: String,
}

/// All attempts that are under way.
#[derive(Debug, Default)]
pub(crate) struct Calls(Vec<Attempt>);

impl Calls {
    /// Adds an attempt; what is being tried already is left out. An address is returned when there are too many.
    pub(crate) fn add(&mut self, device: Option<DeviceId>, mut addresses: VecDeque<SocketAddr>) -> Option<String> {
        addresses.retain(|a| device.is_some() || !self.0.iter().any(|c| c.flying.values().any(|f| f == a) || c.waiting.contains(a)));
        if self.0.len() >= ATTEMPTS_MAX {
            return addresses.front().map(ToString::to_string);
        }
        self.0.push(Attempt::new(device, addresses));
        None
    }

    /// Whether a device is being dialled.
    pub(crate) fn has(&self, device: DeviceId) -> bool {
        self.0.iter().any(|a| a.device == Some(device))
    }

    /// When the next address is tried.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().filter(|a| !a.waiting.is_empty()).map(|a| a.next_at).min()
    }

    /// Tries the addresses that are due.
    pub(crate) fn fly(&mut self, swarm: &mut Swarm<Behaviour>) -> Vec<Failed> {
        let now = Instant::now();
        let mut failed = Vec::new();
        for attempt in &mut self.0 {
            while let Some(address) = attempt.due(now) {
                let device = attempt.device;
                let peer = device.and_then(identity::peer_of);
                if device.is_some() && peer.is_none() {
                    failed.push(Failed { device, address, why: "nobody can have this device id".to_owned() });
                    continue;
                }
                let options = options(peer, address);
                let id = options.connection_id();
                match swarm.dial(options) {
                    Ok(()) => drop(attempt.flying.insert(id, address)),
                    Err(error) => failed.extend(reason(&error).map(|why| Failed { device, address, why })),
                }
            }
        }
        self.0.retain(|a| !a.is_over());
        failed
    }

    /// A connection was made: its attempt is over. `false` if it belongs to none, since another address was faster.
    pub(crate) fn arrived(&mut self, id: ConnectionId) -> bool {
        let attempt = self.0.iter().position(|a| a.flying.contains_key(&id));
        attempt.map(|at| self.0.swap_remove(at)).is_some()
    }

    /// A connection was not made; `None` if nobody should hear of it.
    pub(crate) fn failed(&mut self, id: ConnectionId, error: &DialError) -> Option<Failed> {
        let attempt = self.0.iter_mut().find(|a| a.flying.contains_key(&id))?;
        let address = attempt.flying.remove(&id)?;
        Some(Failed { device: attempt.device, address, why: reason(error)? })
    }
}

/// How libp2p is told to dial one address. A port of its own, so that two devices that dial each other at once do not meet
/// in one connection that both began.
fn options(peer: Option<PeerId>, address: SocketAddr) -> DialOpts {
    let address = multiaddr_of(address);
    match peer {
        Some(peer) => DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]).allocate_new_port().build(),
        None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
    }
}

/// Why a dial failed, in plain words; `None` when we dialled ourselves.
pub(crate) fn reason(error: &DialError) -> Option<String> {
    Some(match error {
        // libp2p leaves out addresses that it listens on itself, and then has none.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => return None,
        DialError::DialPeerConditionFalse(_) => "it is being dialled already".to_owned(),
        DialError::Aborted => "given up".to_owned(),
        DialError::WrongPeerId { .. } => "another device answers there".to_owned(),
        DialError::Denied { cause } => {
            let mut why: &(dyn Error + 'static) = cause;
            while let Some(deeper) = why.source() {
                why = deeper;
            }
            format!("not let through: {why}")
        }
        DialError::Transport(failed) => failed.first().map_or_else(|| "no address to dial".to_owned(), |(_, why)| transport_reason(why)),
    })
}

fn transport_reason(error: &TransportError<io::Error>) -> String {
    let TransportError::Other(error) = error else {
        return "not an address that can be dialled".to_owned();
    };
    let mut why: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(at) = why {
        // libp2p's own wrappers show what is inside but do not hand it out, so the system's number is read from the text.
        let io = at.downcast_ref::<io::Error>();
        let text = at.to_string();
        let kinds = [io.map(io::Error::kind), os_error(&text).map(|n| io::Error::from_raw_os_error(n).kind())];
        if let Some(words) = kinds.into_iter().flatten().find_map(words) {
            return words.to_owned();
        }
        if text.contains("Timeout") {
            return "timed out".to_owned();
        }
        why = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => at.source(),
        };
    }
    "handshake failed: it is not of our fleet, or no hubless".to_owned()
}

fn os_error(text: &str) -> Option<i32> {
    text.split_once("(os error ")?.1.split_once(')')?.0.parse().ok()
}

fn words(kind: io::ErrorKind) -> Option<&'static str> {
    if kind == io::ErrorKind::ConnectionRefused {
        Some("connection refused: nothing listens there")
    } else if kind == io::ErrorKind::TimedOut {
        Some("timed out")
    } else if kind == io::ErrorKind::HostUnreachable || kind == io::ErrorKind::NetworkUnreachable {
        Some("no route to it")
    } else if kind == io::ErrorKind::ConnectionReset || kind == io::ErrorKind::BrokenPipe {
        Some("it closed the connection")
    } else if kind == io::ErrorKind::PermissionDenied {
        Some("this system does not let us dial it (firewall, or macOS: Local Network in Privacy & Security)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn near_addresses_come_first_each_once_and_nonsense_is_named() {
        let given = ["198.51.100.1:1", "127.0.0.1:2", "x:1", "[::1]:3", "127.0.0.1:2", "0.0.0.0:4", "127.0.0.1:0"];
        let (good, bad) = sorted(given.iter().map(|s| (*s).to_owned()).collect(), &[]);
        let good: Vec<String> = good.iter().map(ToString::to_string).collect();
        assert_eq!(good, ["127.0.0.1:2", "[::1]:3", "198.51.100.1:1"]);
        assert_eq!(bad, ["x:1", "0.0.0.0:4", "127.0.0.1:0"]);
    }

    #[test]
    fn an_attempt_goes_on_when_one_failed_or_is_slow() {
        let (addresses, _) = sorted(vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()], &[]);
        let mut attempt = Attempt::new(None, addresses);
        let now = Instant::now();
        assert_eq!(attempt.due(now).map(|a| a.port()), Some(1));
        attempt.flying.insert(ConnectionId::new_unchecked(1), SocketAddr::from(([127, 0, 0, 1], 1)));
        assert_eq!(attempt.due(now), None);
        assert_eq!(attempt.due(now + STAGGER).map(|a| a.port()), Some(2));
        assert!(!attempt.is_over());
        attempt.flying.clear();
        assert!(attempt.is_over());
    }

    #[test]
    fn reasons_are_found_below_what_libp2p_wraps_around_them() {
        let wrapped = |kind: io::ErrorKind| {
            let inner = io::Error::other(io::Error::other(io::Error::from(kind)));
            reason(&DialError::Transport(vec![(Multiaddr::empty(), TransportError::Other(inner))])).expect("not ourselves")
        };
        assert!(wrapped(io::ErrorKind::ConnectionRefused).starts_with("connection refused"));
        assert_eq!(wrapped(io::ErrorKind::HostUnreachable), "no route to it");
        assert!(wrapped(io::ErrorKind::InvalidData).starts_with("handshake failed"));
        let refused = std::net::TcpStream::connect(crate::network::testbed::silent_port()).expect_err("nobody listens");
        let shown = io::Error::other(format!("x: {refused}"));
        assert!(transport_reason(&TransportError::Other(shown)).starts_with("connection refused"));
    }

    quickcheck! {
        fn an_address_is_the_same_back(ip: IpAddr, port: u16) -> bool {
            let address = SocketAddr::new(ip, port);
            socket_of(&multiaddr_of(address)) == Some(address)
        }
    }
}
