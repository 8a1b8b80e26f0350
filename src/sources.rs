//! The tools' files, read-only; the only home of notify.
