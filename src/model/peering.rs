//! How this device deals with the others: what documents go to each of them and come from it, when, and how fast.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;

/// What is done with documents on a link. Without a word both are so; said once, before `Hello`, where they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Whether changes of documents are said.
    pub gives: bool,
    /// Whether changes of documents are taken.
    pub takes: bool,
}

impl Terms {
    /// Everything goes both ways.
    pub const ALL: Terms = Terms { gives: true, takes: true };
    /// Nothing is said of documents.
    pub const NONE: Terms = Terms { gives: false, takes: false };

    /// What is left of ours when the other says these: we give only what it takes.
    #[must_use]
    pub fn with(self, theirs: Terms) -> Terms {
        Terms { gives: self.gives && theirs.takes, takes: self.takes && theirs.gives }
    }
}

/// `peers.NAME.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRule {
    /// Whether there is a link with it at all.
    pub enabled: bool,
    /// What goes to it and comes from it.
    pub terms: Terms,
    /// When documents are exchanged; `None`: always.
    pub schedule: Option<Schedule>,
    /// Bytes a second to it; `None`: no limit of its own.
    pub bandwidth: Option<u64>,
}

impl Default for PeerRule {
    fn default() -> PeerRule {
        PeerRule { enabled: true, terms: Terms::ALL, schedule: None, bandwidth: None }
    }
}

/// The rules for single devices, by the name that was written: a device's name, or the beginning of its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peering(pub BTreeMap<String, PeerRule>);

/// A name as an environment variable can hold it.
#[must_use]
pub fn folded(name: &str) -> String {
    name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// Whether what was written names a device of that name: in any case, and also as an environment variable writes it.
#[must_use]
pub fn names(written: &str, name: &str) -> bool {
    let written = written.to_lowercase();
    written == name.to_lowercase() || written == folded(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_one_gives_and_the_other_takes_goes() {
        for gives in [false, true] {
            for takes in [false, true] {
                let theirs = Terms { gives, takes };
                assert_eq!(Terms::ALL.with(theirs), Terms { gives: takes, takes: gives });
                assert_eq!(Terms::NONE.with(theirs), Terms::NONE);
                assert_eq!(theirs.with(Terms::ALL), theirs);
            }
        }
    }

    #[test]
    fn a_name_is_known_in_any_case_and_from_a_variable() {
        assert!(names("Mac-Mini", "mac-mini") && names("mac_mini", "Mac mini") && names("ñandú", "Ñandú"));
        assert!(!names("mac-mini", "mac mini") && !names("mac", "mac-mini"));
    }
}
