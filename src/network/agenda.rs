//! What the network does later: a few entries, so a list that is looked through is enough.

use std::time::Duration;

use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use crate::model::id::DeviceId;

/// What is done later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// Open a stream on a connection that nobody closed as surplus.
    Open(ConnectionId),
    /// Speak to a device again.
    Unblock(DeviceId),
    /// Close a connection that got no stream.
    Unserved(ConnectionId),
    /// Say where we listen.
    Where,
    /// Try to listen again.
    Listen,
    /// Close and open everything.
    Renew,
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Agenda(Vec<(Instant, Later)>);

impl Agenda {
    /// Adds an entry; one about listening replaces the earlier one of its kind.
    pub(crate) fn add(&mut self, after: Duration, what: Later) {
        if matches!(what, Later::Where | Later::Listen | Later::Renew) {
            self.0.retain(|(_, other)| *other != what);
        }
        self.0.push((Instant::now() + after, what));
    }

    /// When the next entry is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(due, _)| *due).min()
    }

    /// Takes what is due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Later> {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(|(at, _)| *at <= now);
        self.0 = later;
        due.into_iter().map(|(_, what)| what).collect()
    }

    /// Forgets all that was about connections and sockets that are no more.
    pub(crate) fn keep_blocks(&mut self) {
        self.0.retain(|(_, what)| matches!(what, Later::Unblock(_)));
    }
}
