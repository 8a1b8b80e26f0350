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
                match document.save() {
                    Some(bytes) => {
                        self.unsaved.remove(&id);
                        keep.push(Keep::Replace { doc: id.clone(), bytes });
                    }
                    // The file that does read back goes on to be appended to.
                    None => drop(self.unsaved.insert(id.clone())),
                }
                self.untidy.remove(&id);
            }
            Some(_) | None => drop(self.untidy.remove(&id)),
        }
        if self.untidy.is_empty() {
            self.tidy_due = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::Kept;
    use crate::model::fact::FactKey;
    use crate::model::id::{DeviceId, DocId, ItemId, Life};
    use crate::model::limits::SHARD_BYTES_MAX;

    fn open(kept: &Kept, counter: u64) -> Library {
        Library::open(DeviceId([1; 32]), Life { counter, nonce: 1 }, kept)
    }

    /// Writes facts until so many bytes were appended, and keeps them.
    fn rush(library: &mut Library, kept: &mut Kept, bytes: usize) {
        let mut keep = Batch::default();
        for n in 0..bytes / 1_000 {
            let key = FactKey::Item(ItemId::of(&[&n.to_le_bytes(), &library.facts().iter().count().to_le_bytes()]));
            library.write("todos/2026-11", &[(key, format!("{{\"n\":{n},\"text\":\"{}\"}}", "make it so ".repeat(85)))], &mut keep);
        }
        keep.apply_to(kept);
    }

    /// Steps of tidying until none is due, and how many there were.
    fn until_tidy(library: &mut Library, kept: &mut Kept) -> usize {
        let (mut now, mut steps) = (1_000, 0);
        loop {
            let mut keep = Batch::default();
            library.tidy(now, &mut keep);
            steps += usize::from(!keep.is_empty());
            keep.apply_to(kept);
            match library.tidy_due() {
                Some(due) => now = due,
                None => return steps,
            }
        }
    }

    #[test]
    fn a_document_is_saved_afresh_after_the_rush_and_says_the_same() {
        let (mut kept, doc) = (Kept::default(), DocId::parse("todos/2026-11").unwrap());
        let mut library = open(&kept, 1);
        rush(&mut library, &mut kept, 100_000);
        assert_eq!(until_tidy(&mut library, &mut kept), 0, "a little is not worth it");
        rush(&mut library, &mut kept, 2 * APPENDED_BYTES_MIN);
        let raw = kept.documents[&doc].len();
        let mut keep = Batch::default();
        library.tidy(5, &mut keep);
        library.tidy(4 + AFTER_MS, &mut keep);
        assert!(keep.is_empty() && library.tidy_due() == Some(5 + AFTER_MS), "not while the rush may go on");
        let before = (library.heads_of(&doc), library.facts().export());
        assert_eq!(until_tidy(&mut library, &mut kept), 1);
        assert!(kept.documents[&doc].len() * RAW_PER_SAVED < raw);
        let again = open(&kept, 2);
        assert_eq!((again.heads_of(&doc), again.facts().export()), before);
        assert_eq!((library.heads_of(&doc), library.facts_from_scratch().export()), before);
    }

    #[test]
    fn what_a_crash_left_untidy_is_tidied_in_the_next_life() {
        let (mut kept, doc) = (Kept::default(), DocId::parse("todos/2026-11").unwrap());
        rush(&mut open(&Kept::default(), 1), &mut kept, 2 * APPENDED_BYTES_MIN);
        let raw = kept.documents[&doc].len();
        let mut library = open(&kept, 2);
        assert_eq!(until_tidy(&mut library, &mut kept), 1);
        assert!(kept.documents[&doc].len() < raw);
        assert_eq!(until_tidy(&mut open(&kept, 3), &mut kept), 0);
    }

    #[test]
    fn a_rush_goes_on_in_the_next_shard_before_anything_is_saved() {
        let mut kept = Kept::default();
        rush(&mut open(&Kept::default(), 1), &mut kept, SHARD_BYTES_MAX * (RAW_PER_SAVED + 1));
        let names: Vec<&str> = kept.documents.keys().map(DocId::as_str).collect();
        assert_eq!(names, ["todos/2026-11", "todos/2026-11.2"]);
    }
}
