//! Where a network stands and what it was given; the same for the fleet's swarm, a pairing window and a joiner.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::discovery::Plan;
use super::identity::DeviceKey;
use super::streams::Lines;
use crate::model::input::Input;

/// Where a network stands, and what it is given.
pub(crate) struct Place {
    /// The port.
    pub(crate) port: u16,
    /// How others are found.
    pub(crate) discovery: Plan,
    /// Who we are.
    pub(crate) key: DeviceKey,
    /// Where events go.
    pub(crate) inbox: mpsc::Sender<Input>,
    /// The queues of all links.
    pub(crate) lines: Arc<Lines>,
    /// Where tasks are born.
    pub(crate) tasks: TaskTracker,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
}
