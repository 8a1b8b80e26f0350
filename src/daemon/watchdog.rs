//! What a service manager hears of us (systemd's `Type=notify`): that we are ready, that we live, and that we stop.
//!
//! That we live is only said after a real round trip: the core took a turn, and the control socket answered. A daemon whose loop
//! hangs, or whose door is gone while its process stays, falls silent and is started anew.

use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::client::Client;
use crate::model::input::Input;

/// What a round trip goes through.
pub(super) struct Watchdog {
    inbox: mpsc::Sender<Input>,
    turns: watch::Receiver<u64>,
    client: Client,
}

impl Watchdog {
    /// Watches the core behind `inbox`, whose turns are counted in `turns`, and the socket in `run_dir`.
    pub(super) fn new(inbox: mpsc::Sender<Input>, turns: watch::Receiver<u64>, run_dir: &Path) -> Watchdog {
        Watchdog { inbox, turns, client: Client::new(run_dir) }
    }

    /// Says that we are ready, and from then on that we live, twice as often as the manager wants to hear it, until `stop`. Says
    /// nothing where no manager listens.
    pub(super) async fn tell(mut self, stop: CancellationToken) {
        say(&[NotifyState::Ready, NotifyState::Status("answers on its socket")]);
        let Some(every) = sd_notify::watchdog_enabled().map(|within| within / 2).filter(|every| !every.is_zero()) else { return };
        while timeout(every, stop.cancelled()).await.is_err() {
            if self.round_trip(every).await {
                say(&[NotifyState::Watchdog]);
            } else if !stop.is_cancelled() {
                tracing::error!("no turn, or no answer, within {every:?}: the service manager is not told that this daemon lives");
            }
        }
    }

    /// Whether the core took a turn and the door answered within that time.
    async fn round_trip(&mut self, within: Duration) -> bool {
        self.turns.mark_unchanged();
        let turned = async { self.inbox.send(Input::Tick).await.is_ok() && self.turns.changed().await.is_ok() };
        let answered = async { self.client.get("/healthz").await.is_ok() };
        timeout(within, async { tokio::join!(turned, answered) }).await.is_ok_and(|(turned, answered)| turned && answered)
    }
}

/// Says that we stop, so that a stop that takes its time is not taken for a hang.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(words: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(words) {
        tracing::warn!(%why, "the service manager cannot be told");
    }
}
