//! Pings that a person waits for.

use std::collections::BTreeMap;

use crate::model::id::Asker;
use crate::model::time::Millis;

/// How long a person waits for a pong.
pub const PONG_WITHIN_MS: Millis = 5_000;

/// Who waits, and until when.
#[derive(Default)]
pub struct Pings {
    waiting: BTreeMap<Asker, Millis>,
}

impl Pings {
    /// Somebody begins to wait.
    pub fn wait(&mut self, asker: Asker, now: Millis) {
        self.waiting.insert(asker, now + PONG_WITHIN_MS);
    }

    /// The wait is over; `false`: it was before.
    pub fn end(&mut self, asker: Asker) -> bool {
        self.waiting.remove(&asker).is_some()
    }

    /// Those who waited long enough.
    pub fn given_up(&mut self, now: Millis) -> Vec<Asker> {
        let late: Vec<Asker> = self.waiting.iter().filter(|(_, until)| **until <= now).map(|(asker, _)| *asker).collect();
        late.into_iter().filter(|asker| self.end(*asker)).collect()
    }

    /// When the next has waited long enough.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        self.waiting.values().min().copied()
    }
}
