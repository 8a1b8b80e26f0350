//! Ages, computed where they are shown, from timestamps. A clock that is behind makes an age 0, never a huge one.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A span in milliseconds: `9s`, `12m`, `1h 02m`, `3d 4h`.
pub(crate) fn span(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    if s < MINUTE {
        format!("{s}s")
    } else if s < HOUR {
        format!("{}m", s / MINUTE)
    } else if s < DAY {
        format!("{}h {:02}m", s / HOUR, s % HOUR / MINUTE)
    } else {
        format!("{}d {}h", s / DAY, s % DAY / HOUR)
    }
}

/// How long ago `then` was.
pub(crate) fn since(now_ms: i64, then_ms: i64) -> String {
    span(now_ms.saturating_sub(then_ms))
}

/// As [`since`], with `ago`; `never` when it is unknown.
pub(crate) fn ago(now_ms: i64, then_ms: Option<i64>) -> String {
    then_ms.map_or_else(|| "never".to_owned(), |then| format!("{} ago", since(now_ms, then)))
}

/// A moment as a person says it: `14:02` today, `Mon 14:02` within a week, else `24 Feb 14:02`, with the year when it is another.
pub(crate) fn moment(now_ms: i64, at_ms: i64, zone: &TimeZone) -> String {
    let (Ok(now), Ok(at)) = (Timestamp::from_millisecond(now_ms), Timestamp::from_millisecond(at_ms)) else { return "?".to_owned() };
    let (now, at) = (now.to_zoned(zone.clone()), at.to_zoned(zone.clone()));
    let days = (now_ms.saturating_sub(at_ms) / 1000).abs() / DAY;
    let form = if now.date() == at.date() {
        "%H:%M"
    } else if days < 7 && at < now {
        "%a %H:%M"
    } else if now.year() == at.year() {
        "%-d %b %H:%M"
    } else {
        "%-d %b %Y"
    };
    at.strftime(form).to_string()
}

/// The time of day, to the second.
pub(crate) fn clock(at_ms: i64, zone: &TimeZone) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| "?".to_owned(), |at| at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string())
}

/// A moment as a program reads it.
pub(crate) fn exact(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| "?".to_owned(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn no_pair_of_clocks_overflows(now: i64, then: i64) -> bool {
            !since(now, then).contains('-') && !moment(now, then, &TimeZone::UTC).is_empty()
        }
    }

    #[test]
    fn spans_read_as_on_the_screens() {
        for (ms, expected) in [
            (-5_000, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (3_599_999, "59m"),
            (3_720_000, "1h 02m"),
            (86_400_000, "1d 0h"),
            (3 * 86_400_000 + 4 * 3_600_000, "3d 4h"),
        ] {
            assert_eq!(span(ms), expected, "{ms}");
        }
        assert_eq!((ago(5_000, Some(4_000)), ago(0, None)), ("1s ago".into(), "never".into()));
        assert_eq!(since(i64::MIN, i64::MAX), "0s");
    }

    #[test]
    fn moments_say_as_much_as_is_needed() {
        let now = 1_772_460_131_000; // Mon 2 Mar 2026 14:02:11
        let at = |before_h: i64| moment(now, now - before_h * 3_600_000, &TimeZone::UTC);
        assert_eq!(
            (at(0), at(24), at(24 * 8), at(24 * 100)),
            ("14:02".into(), "Sun 14:02".into(), "22 Feb 14:02".into(), "22 Nov 2025".into())
        );
        assert_eq!(moment(now, now + 3 * 86_400_000, &TimeZone::UTC), "5 Mar 14:02");
        assert_eq!((exact(0), exact(i64::MAX)), ("1970-01-01T00:00:00.000Z".into(), "?".into()));
    }
}
