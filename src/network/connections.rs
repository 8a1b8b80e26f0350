//! What the switchboard knows of each connection, and of the link that a device has on one of them.

use std::net::IpAddr;
use std::sync::Arc;

use if_addrs::Interface;
use libp2p::swarm::ConnectionId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lanes::Queue;
use super::streams::Cut;
use crate::model::id::{DeviceId, LinkId};

/// One connection that has been made.
pub(crate) struct Connection {
    /// Whose key was proved.
    pub(crate) device: DeviceId,
    /// The other end.
    pub(crate) address: String,
    /// Our own end's address.
    pub(crate) local: Option<IpAddr>,
    /// Whether we began it.
    pub(crate) dialled: bool,
    /// When it was made.
    pub(crate) since: Instant,
    /// Nobody should miss it: it carried a link, or we close it ourselves.
    pub(crate) served: bool,
}

impl Connection {
    /// Whether this machine no longer has the address that it stands on; not when no address is known at all.
    pub(crate) fn is_homeless(&self, all: &[Interface]) -> bool {
        self.local.is_some_and(|ip| !all.is_empty() && !all.iter().any(|interface| interface.ip() == ip))
    }
}

/// A link whose task has ended.
pub(crate) type Ended = (DeviceId, LinkId, ConnectionId);

/// The link of a device.
pub(crate) struct Current {
    /// Its number.
    pub(crate) link: LinkId,
    /// The connection that it is on.
    pub(crate) connection: ConnectionId,
    /// What waits to be said.
    pub(crate) queue: Arc<Queue>,
    /// Ends it at once.
    pub(crate) cut: Cut,
    /// The core hears no answer on it: the next connection replaces it.
    pub(crate) doubted: bool,
    /// Resolves when it has said `Down`.
    pub(crate) done: Option<oneshot::Receiver<()>>,
}

impl Current {
    /// Whether it lives, as far as anybody knows.
    pub(crate) fn is_sure(&self) -> bool {
        !self.doubted && !self.queue.is_ending() && !self.cut.is_made()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_on_an_address_that_is_gone_is_homeless() {
        let all = crate::network::interfaces::all();
        let on = |local: Option<IpAddr>| Connection {
            device: DeviceId([1; 32]),
            address: "198.51.100.1:1".into(),
            local,
            dialled: true,
            since: Instant::now(),
            served: true,
        };
        assert!(on(Some(IpAddr::from([198, 51, 100, 7]))).is_homeless(&all));
        assert!(!on(Some(IpAddr::from([127, 0, 0, 1]))).is_homeless(&all));
        assert!(!on(None).is_homeless(&all) && !on(Some(IpAddr::from([198, 51, 100, 7]))).is_homeless(&[]), "nothing is known");
    }
}
