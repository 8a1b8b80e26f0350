//! Time as data: clocks are read in one place (`daemon/clock.rs`) and come in as arguments.

use serde::{Deserialize, Serialize};

/// A span, or a point on a clock that only counts up, in milliseconds.
pub type Millis = u64;

/// What the three clocks of this machine say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since 1970 by the wall clock; may be wrong, may jump.
    pub wall_ms: i64,
    /// Milliseconds of a clock that never jumps and stands still while the machine sleeps.
    pub mono_ms: Millis,
    /// Milliseconds of a clock that never jumps and runs through sleep. Ages are measured on it.
    pub boot_ms: Millis,
}

impl Now {
    /// Milliseconds the machine has slept since the two steady clocks began; a jump means that it woke up.
    #[must_use]
    pub fn slept(&self) -> Millis {
        self.boot_ms.saturating_sub(self.mono_ms)
    }
}

/// A stamp of the hybrid clock: orders what is shown and breaks ties, never decides a todo's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since 1970, as far as the writer knew.
    pub ms: i64,
    /// Tells apart stamps of one millisecond.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Stamp {
    /// A stamp at this millisecond.
    #[must_use]
    pub fn at(ms: i64) -> Stamp {
        Stamp { ms, n: 0 }
    }

    /// The next stamp of a writer whose last one is `self`, when its wall clock shows `wall_ms`: later than both.
    #[must_use]
    pub fn next(self, wall_ms: i64) -> Stamp {
        if wall_ms > self.ms { Stamp::at(wall_ms) } else { Stamp { ms: self.ms, n: self.n.saturating_add(1) } }
    }

    /// What hearing `other` makes of `self`: later, but never more than ten minutes over our own wall clock, so that a
    /// clock that is a year ahead cannot pull the others along (RELIABILITY F2; the bound is iroh-docs').
    #[must_use]
    pub fn raised_by(self, other: Stamp, wall_ms: i64) -> Stamp {
        const AHEAD_MAX_MS: i64 = 10 * 60 * 1000;
        if other.ms <= wall_ms.saturating_add(AHEAD_MAX_MS) { self.max(other) } else { self }
    }
}
