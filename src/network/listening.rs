//! Which port we listen on. libp2p shares its listening ports (`SO_REUSEPORT`), so that a second daemon would quietly get
//! half of the first one's connections; hence every port is tried with a plain socket first.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use libp2p::core::ConnectedPoint;
use libp2p::{Multiaddr, Swarm};

use super::behaviour::Behaviour;
use super::dialing;

/// There is no port to listen on.
#[derive(Debug, thiserror::Error)]
pub enum NoPort {
    /// Somebody listens there.
    #[error("port {0} is taken; fix: stop the program that listens on it, or set network.port to another one (0 takes any)")]
    Busy(u16),
    /// The system says no.
    #[error("cannot listen on port {port}: {why}")]
    Denied {
        /// The port.
        port: u16,
        /// In the system's words.
        why: io::Error,
    },
}

/// The port to listen on: the given one, or for 0 the one in `last` if it is free, else any; it is written there.
///
/// # Errors
/// The given port is taken or denied, or for 0 no port is free.
pub(crate) fn choose(port: u16, last: &Path) -> Result<u16, NoPort> {
    if port != 0 {
        return try_port(port);
    }
    let before = fs::read_to_string(last).ok().and_then(|text| text.trim().parse().ok());
    if let Some(before) = before.filter(|p| *p != 0)
        && let Ok(port) = try_port(before)
    {
        return Ok(port);
    }
    let port = try_port(0)?;
    if let Err(why) = fs::write(last, port.to_string()) {
        tracing::warn!("the port {port} cannot be kept for the next start: {why}");
    }
    Ok(port)
}

/// Binds and lets go. Of a port that is free for IPv4 only, IPv6 is left out later.
pub(crate) fn try_port(port: u16) -> Result<u16, NoPort> {
    let bound = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).and_then(|l| l.local_addr());
    match bound {
        Ok(at) => Ok(at.port()),
        Err(why) if why.kind() == io::ErrorKind::AddrInUse => Err(NoPort::Busy(port)),
        Err(why) => Err(NoPort::Denied { port, why }),
    }
}

/// Lets a swarm listen on the port, on all addresses of both families; on one family where the machine has no other.
///
/// # Errors
/// Neither family takes it.
pub(crate) fn listen(swarm: &mut Swarm<Behaviour>, port: u16) -> Result<(), NoPort> {
    try_port(port)?;
    let mut denied = None;
    let mut listening = false;
    for ip in [Multiaddr::from(Ipv4Addr::UNSPECIFIED), Multiaddr::from(Ipv6Addr::UNSPECIFIED)] {
        match swarm.listen_on(ip.clone().with(libp2p::multiaddr::Protocol::Tcp(port))) {
            Ok(_) => listening = true,
            Err(why) => {
                tracing::info!("not listening on {ip}: {why}");
                denied = Some(why.to_string());
            }
        }
    }
    match denied {
        Some(why) if !listening => Err(NoPort::Denied { port, why: io::Error::other(why) }),
        _ => Ok(()),
    }
}

/// The other end of a connection, and whether we dialled it.
pub(crate) fn other_end(point: &ConnectedPoint) -> (&Multiaddr, bool) {
    match point {
        ConnectedPoint::Dialer { address, .. } => (address, true),
        ConnectedPoint::Listener { send_back_addr, .. } => (send_back_addr, false),
    }
}

/// The address of our own end. Of a connection that we dialled libp2p does not tell it; then it is where the system would begin
/// another one to the same place now.
pub(crate) fn own_end(point: &ConnectedPoint) -> Option<IpAddr> {
    match point {
        ConnectedPoint::Listener { local_addr, .. } => dialing::socket_of(local_addr).map(|at| at.ip()),
        ConnectedPoint::Dialer { address, .. } => {
            let there = dialing::socket_of(address)?;
            let any = if there.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(there).ok()?; // of UDP: nothing is sent
            socket.local_addr().ok().map(|at| at.ip())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_named_with_its_fix() {
        let taken = TcpListener::bind("0.0.0.0:0").expect("any port");
        let port = taken.local_addr().expect("bound").port();
        let dir = tempfile::tempdir().expect("a directory");
        let why = choose(port, &dir.path().join("port")).expect_err("taken").to_string();
        assert!(why.contains(&port.to_string()) && why.contains("network.port"), "{why}");
    }

    #[test]
    fn our_own_end_of_what_we_dialled_is_where_the_system_would_begin() {
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().expect("an address");
        let role = libp2p::core::Endpoint::Dialer;
        let point = ConnectedPoint::Dialer { address, role_override: role, port_use: libp2p::core::transport::PortUse::New };
        assert_eq!(own_end(&point), Some(IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn port_nought_takes_the_last_one_again_and_another_when_that_is_busy() {
        let dir = tempfile::tempdir().expect("a directory");
        let last = dir.path().join("port");
        let first = choose(0, &last).expect("any port");
        assert_eq!(choose(0, &last).expect("the same"), first);
        let _taken = TcpListener::bind(("0.0.0.0", first)).expect("free");
        assert_ne!(choose(0, &last).expect("another"), first);
        fs::write(&last, "nonsense").expect("written");
        assert_ne!(choose(0, &last).expect("any"), 0);
    }
}
