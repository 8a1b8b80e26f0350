//! What a person can have looked at: whether all devices hold the same, and whether the disk holds what it was given.

use super::id::{DeviceId, DocId};

/// What is to be done with one device, or with all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Documents are exchanged now, until both hold the same; once, whatever is paused or scheduled.
    Run,
    /// It is only said what would be exchanged.
    DryRun,
    /// Every document is compared, its heads and what it says; and every file is read back from disk.
    Verify {
        /// Whether damaged files are set aside, and written anew.
        repair: bool,
    },
}

/// How it ended with one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both hold the same.
    Level,
    /// They do not; of a dry run: this is what would be exchanged.
    Differs,
    /// There is no link with it, and none came.
    OutOfReach,
    /// It exchanges nothing with this device now: paused, scheduled or disabled, there or here.
    Resting,
    /// It did not come to an end in time.
    TimedOut,
}

impl Outcome {
    /// The word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Level => "level",
            Outcome::Differs => "differs",
            Outcome::OutOfReach => "out-of-reach",
            Outcome::Resting => "resting",
            Outcome::TimedOut => "timed-out",
        }
    }
}

/// What was found of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerChecked {
    /// Which.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where that is not plain.
    pub why: Option<String>,
    /// Changes of ours that it lacked when it was asked; `None` when that cannot be known.
    pub they_miss: Option<u64>,
    /// Changes of its that we lacked when it was asked; `None` when that cannot be known.
    pub we_miss: Option<u64>,
    /// Bytes heard and said meanwhile.
    pub bytes: (u64, u64),
    /// How many documents were compared; `None` when none could be.
    pub documents: Option<usize>,
    /// Documents with other heads, those of one side only among them.
    pub heads: Vec<DocId>,
    /// Documents with the same heads that say something else: never, unless something is broken.
    pub content: Vec<DocId>,
}

/// One file that does not hold what it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDamaged {
    /// The document.
    pub doc: DocId,
    /// What is wrong with it.
    pub why: String,
    /// What was done about it.
    pub repair: Repair,
}

/// Where what was damaged came from again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Nowhere yet.
    No {
        /// Whether what is good of the file was kept when the daemon started, and what it lacks must come from another device.
        lacks: bool,
    },
    /// The daemon knew all of it: the file was set aside and written anew.
    Memory,
    /// Other devices, each by its name with how many changes it gave since the daemon started; none: no other in reach held more of it.
    Devices(Vec<(String, u64)>),
    /// The files of agents on this device, of a document that never leaves it.
    Sources,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Files that were read back.
    pub files: usize,
    /// Those that are damaged, and those that were when the daemon started.
    pub damaged: Vec<FileDamaged>,
    /// The other devices.
    pub peers: Vec<PeerChecked>,
}
