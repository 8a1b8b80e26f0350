//! Saving documents afresh, later: what is appended is on disk already, and a save only makes it shorter.
//!
//! Applying and compressing a document's raw changes takes longer than all else that is done with them, so it waits until the
//! rush that brought them is over, and then goes document by document, in steps with pauses between, so that nobody waits for
//! more than one of them. How full a document is, is known without it.

use crate::model::batch::{Batch, Keep};
use crate::model::time::Millis;

use super::document::Document;
use super::library::Library;

/// Appended bytes below which a document is not saved afresh.
const APPENDED_BYTES_MIN: usize = 512 * 1024;
/// How much longer raw changes are than their save, at least; measured, it is four to five times.
const RAW_PER_SAVED: usize = 4;
/// How long a document that is to be saved afresh waits for the rush to be over.
const AFTER_MS: Millis = 5_000;
/// From one step to the next.
const PAUSE_MS: Millis = 250;

/// Whether what was appended to a document outgrew what was saved of it.
pub(super) fn is_untidy(document: &Document) -> bool {
    document.appended_bytes() > APPENDED_BYTES_MIN.max(document.saved_bytes())
}

/// Bytes that a save of the document would have, about.
pub(super) fn would_save(document: &Document) -> usize {
    document.saved_bytes() + document.appended_bytes() / RAW_PER_SAVED
}

impl Library {
    /// When the next step of tidying is due.
    #[must_use]
    pub fn tidy_due(&self) -> Option<Millis> {
        self.tidy_due
    }

    /// Does one step of tidying if one is due: shows the library what is ahead in one document, or saves it afresh.
    pub fn tidy(&mut self, now: Millis, keep: &mut Batch) {
        let Some(id) = self.untidy.first().cloned() else {
            self.tidy_due = None;
            return;
        };
        if *self.tidy_due.get_or_insert(now + AFTER_MS) > now {
            return;
        }
        self.tidy_due = Some(now + PAUSE_MS);
        match self.documents.get_mut(&id) {
            Some(document) if is_untidy(document) && document.is_ahead() => document.settle(),
            Some(document) if is_untidy(document) => {
                keep.push(Keep::Replace { doc: id.clone(), bytes: document.save() });
                self.untidy.remove(&id);
            }
            Some(_) | None => drop(self.untidy.remove(&id)),
        }
        if self.untidy.is_empty() {
            self.tidy_due = None;
        }
    }
}
