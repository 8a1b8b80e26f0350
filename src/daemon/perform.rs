//! Carries out effects in their order: what was kept is shown, then looked for, told and answered.
//!
//! Keeping comes before and elsewhere (`turns`): nothing here is reached by a turn that is not on disk.

use std::sync::Arc;

use tokio::sync::watch;

use crate::api::Api;
use crate::model::effects::Effects;
use crate::model::view::View;
use crate::network::Network;
use crate::sources::Sources;

use super::notes;

/// The hands of the daemon.
pub(super) struct Hands {
    pub(super) network: Network,
    pub(super) sources: Sources,
    pub(super) api: Arc<Api>,
    pub(super) show: watch::Sender<Arc<View>>,
}

impl Hands {
    /// Shows the view, if it is another one.
    pub(super) fn show(&self, view: &Arc<View>) {
        self.show.send_if_modified(|shown| {
            let changed = !Arc::ptr_eq(shown, view);
            *shown = Arc::clone(view);
            changed
        });
    }

    /// Does what a kept turn asks. Nothing here waits: a queue that is full says so by an event of its own.
    pub(super) fn perform(&self, turn: Effects, view: &Arc<View>) {
        self.show(view);
        for look in turn.look {
            self.sources.look(look);
        }
        for action in turn.tell {
            self.network.tell(action);
        }
        for (asker, reply) in turn.reply {
            self.api.reply(asker, reply);
        }
        for note in &turn.note {
            notes::log(note);
        }
    }
}
