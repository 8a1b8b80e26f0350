//! The only reader of clocks. Everybody else is given the time, so that a run can be repeated.
//!
//! Three clocks, because none is enough: the wall clock may be wrong and may jump; the steady clock stands still while the
//! machine sleeps; the boot clock runs through sleep, and ages are measured on it. The difference of the last two grows
//! when the machine slept (RELIABILITY F4).

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::model::time::{Millis, Now};

/// Moves the wall clock of one daemon, in milliseconds, so that a test can have two devices whose clocks disagree. The other
/// two clocks are not moved. For tests only; not a setting.
pub const TEST_OFFSET_VARIABLE: &str = "HUBLESS_TEST_CLOCK_OFFSET_MS";

/// A file that says how many milliseconds the machine of one daemon has slept, besides what it really did: the boot clock is
/// ahead by so much. So a test can let a daemon wake. For tests only; not a setting.
pub const TEST_SLEPT_VARIABLE: &str = "HUBLESS_TEST_SLEPT_FILE";

/// The longest sleep at a time. Timers stand still while the machine sleeps; so a deadline that passed meanwhile is noticed
/// this long after waking at the latest.
const SLICE: Duration = Duration::from_secs(1);

/// What the three clocks say.
#[must_use]
pub fn now() -> Now {
    // The steady clock is read first: a sleep between two readings then shows as sleep, never as time running back.
    let mono_ms = steady_ms();
    Now { wall_ms: wall_ms(), mono_ms, boot_ms: boot_ms().saturating_add(test_slept_ms()) }
}

/// Milliseconds since 1970 by the wall clock.
#[must_use]
pub fn wall_ms() -> i64 {
    millis(clock_gettime(ClockId::Realtime)).saturating_add(test_offset_ms())
}

/// Minutes by which local time is ahead of UTC at a moment, in the time zone of the daemon (`TZ`, else the system's).
#[must_use]
pub fn ahead_of_utc_min(wall_ms: i64) -> i64 {
    static ZONE: OnceLock<jiff::tz::TimeZone> = OnceLock::new();
    let zone = ZONE.get_or_init(jiff::tz::TimeZone::system);
    jiff::Timestamp::from_millisecond(wall_ms).map_or(0, |at| i64::from(zone.to_offset(at).seconds()).div_euclid(60))
}

/// Waits until the boot clock shows `boot_ms`, at once if it already does; for ever if there is no deadline. Late by at most
/// a second after the machine slept.
pub async fn sleep_until(boot_ms: Option<Millis>) {
    let Some(until) = boot_ms else { return std::future::pending().await };
    loop {
        let left = until.saturating_sub(self::boot_ms().saturating_add(test_slept_ms()));
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left).min(SLICE)).await;
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_ms() -> Millis {
    positive(millis(clock_gettime(ClockId::Boottime)))
}

/// macOS's `CLOCK_MONOTONIC` runs through sleep.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_ms() -> Millis {
    positive(millis(clock_gettime(ClockId::Monotonic)))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn steady_ms() -> Millis {
    positive(millis(clock_gettime(ClockId::Monotonic)))
}

/// macOS's clock that stands still is the one behind `Instant`; it is told from its first reading on, when the two agree.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::disallowed_methods, reason = "this file is where clocks are read")]
fn steady_ms() -> Millis {
    static FIRST: OnceLock<(std::time::Instant, Millis)> = OnceLock::new();
    let (instant, boot) = FIRST.get_or_init(|| (std::time::Instant::now(), boot_ms()));
    boot.saturating_add(Millis::try_from(instant.elapsed().as_millis()).unwrap_or(Millis::MAX))
}

/// The system's two fields are `i64` on every system we build for.
fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

fn positive(ms: i64) -> Millis {
    Millis::try_from(ms).unwrap_or(0)
}

/// Read once: the environment of a process does not change under it.
fn test_offset_ms() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| std::env::var(TEST_OFFSET_VARIABLE).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

/// Where the file is, is read once; what it says, each time.
fn test_slept_ms() -> Millis {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os(TEST_SLEPT_VARIABLE).map(PathBuf::from));
    let said = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    said.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clocks_never_go_back_and_sleep_is_never_negative() {
        let mut last = now();
        for _ in 0..10_000 {
            let next = now();
            assert!(next.mono_ms >= last.mono_ms && next.boot_ms >= last.boot_ms && next.boot_ms >= next.mono_ms);
            last = next;
        }
    }

    #[test]
    fn the_wall_clock_is_of_this_age() {
        assert!(now().wall_ms > 1_700_000_000_000, "after 2023");
    }

    #[tokio::test]
    async fn a_sleep_ends_at_its_deadline_and_not_before() {
        let until = now().boot_ms + 30;
        sleep_until(Some(until)).await;
        assert!(now().boot_ms >= until);
        sleep_until(Some(until)).await; // already past: at once
        sleep_until(Some(0)).await;
    }

    #[tokio::test]
    async fn without_a_deadline_nothing_wakes() {
        assert!(tokio::time::timeout(Duration::from_millis(50), sleep_until(None)).await.is_err());
    }
}
