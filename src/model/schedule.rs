//! When documents go to a device and come from it: five fields of cron, read once, asked minute by minute.
//!
//! Minutes are counted from 1970 in UTC. What a schedule says is meant in local time; the offset comes in as an argument, since
//! nothing here knows a time zone. A minute that the change to summer time leaves out is never there, one that it repeats is there twice.
//! Own code, a hundred lines: the crates that read cron bring a second library for time with them.

use std::fmt;
use std::str::FromStr;

/// Minutes of a day.
const DAY: i64 = 24 * 60;
/// How far is looked for a minute: from one 29 February to the next, over a year that has none.
const HORIZON: i64 = 8 * 366 * DAY + DAY;
/// Offsets from UTC change at such minutes only.
const CHANGE: i64 = 15;
/// Letters of one schedule.
const TEXT_MAX: usize = 256;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no schedule of five fields (minute hour day month weekday): {0}")]
pub struct NoSchedule(String);

/// The minutes that fit five fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether day and weekday are both given: then one of them is enough, as in every cron.
    either: bool,
}

impl FromStr for Schedule {
    type Err = NoSchedule;

    fn from_str(text: &str) -> Result<Schedule, NoSchedule> {
        let wrong = |why: &str| NoSchedule(why.to_owned());
        if text.len() > TEXT_MAX {
            return Err(wrong("it is too long"));
        }
        let whole = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = whole.split_whitespace().collect();
        let &[minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(NoSchedule(format!("it has {}", fields.len())));
        };
        let weekday_set = set(weekdays, 0, 7, &DAYS, 0)?;
        let schedule = Schedule {
            text: text.trim().to_owned(),
            minutes: set(minutes, 0, 59, &[], 0)?,
            hours: set(hours, 0, 23, &[], 0)?,
            days: set(days, 1, 31, &[], 0)?,
            months: set(months, 1, 12, &MONTHS, 1)?,
            // Sunday is 0 and 7.
            weekdays: (weekday_set | weekday_set >> 7) & 0x7f,
            either: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        match schedule.next(0, |minute| minute) {
            Some(_) => Ok(schedule),
            None => Err(wrong("there is no such day")),
        }
    }
}

/// One field: lists of `*`, `a`, `a-b`, each with `/step`.
fn set(field: &str, low: u32, high: u32, names: &[&str], first: u32) -> Result<u64, NoSchedule> {
    let wrong = || NoSchedule(format!("“{}” is none from {low} to {high}", field.escape_debug()));
    let number = |text: &str| {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name)).and_then(|n| u32::try_from(n).ok());
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let value = named.map(|n| n + first).or_else(|| digits.then(|| text.parse().ok()).flatten());
        value.filter(|n| (low..=high).contains(n)).ok_or_else(wrong)
    };
    let mut out = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|n| (1..=high).contains(n)).ok_or_else(wrong)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(range)?, if step.is_some() { high } else { number(range)? }),
        };
        if from > to {
            return Err(wrong());
        }
        (from..=to).step_by(step.unwrap_or(1) as usize).for_each(|n| out |= 1 << n);
    }
    Ok(out)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Schedule {
    /// Whether a minute of local time is in it.
    #[must_use]
    pub fn has(&self, local: i64) -> bool {
        let minute = local.rem_euclid(DAY);
        self.has_day(local.div_euclid(DAY)) && self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1
    }

    fn has_day(&self, days: i64) -> bool {
        let (month, day) = month_and_day(days);
        // 1970 began on a Thursday.
        let weekday = (days + 4).rem_euclid(7);
        let (by_day, by_weekday) = (self.days >> day & 1 == 1, self.weekdays >> weekday & 1 == 1);
        self.months >> month & 1 == 1 && if self.either { by_day || by_weekday } else { by_day && by_weekday }
    }

    /// The first minute after that one, by UTC; `local` makes a minute of local time of one of UTC.
    pub fn next(&self, after: i64, local: impl Fn(i64) -> i64) -> Option<i64> {
        let mut minute = after.saturating_add(1);
        let end = after.saturating_add(HORIZON);
        while minute <= end {
            let here = local(minute);
            if self.has(here) {
                return Some(minute);
            }
            let tomorrow = minute + DAY - here.rem_euclid(DAY);
            minute = match () {
                () if !self.has_day(here.div_euclid(DAY)) && local(tomorrow) - tomorrow == here - minute => tomorrow,
                () if self.hours >> (here.rem_euclid(DAY) / 60) & 1 == 0 => (minute.div_euclid(CHANGE) + 1) * CHANGE,
                () => minute + 1,
            };
        }
        None
    }

    /// The latest minute that is not after that one, by UTC.
    pub fn last(&self, until: i64, local: impl Fn(i64) -> i64) -> Option<i64> {
        let mut minute = until;
        let end = until.saturating_sub(HORIZON);
        while minute >= end {
            let here = local(minute);
            if self.has(here) {
                return Some(minute);
            }
            let yesterday = minute - here.rem_euclid(DAY) - 1;
            minute = match () {
                () if !self.has_day(here.div_euclid(DAY)) && local(yesterday) - yesterday == here - minute => yesterday,
                () if self.hours >> (here.rem_euclid(DAY) / 60) & 1 == 0 => minute.div_euclid(CHANGE) * CHANGE - 1,
                () => minute - 1,
            };
        }
        None
    }
}

/// Month (1 to 12) and day (1 to 31) of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn month_and_day(days: i64) -> (u32, u32) {
    let days = days + 719_468;
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    fn schedule(text: &str) -> Schedule {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// Minutes from 1970 to the beginning of a day, counted day by day.
    fn at(year: i64, month: u32, day: u32, hour: i64, minute: i64) -> i64 {
        let is_leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        let days_of = |y: i64, m: u32| match m {
            2 => 28 + i64::from(is_leap(y)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let years: i64 = (1970..year).map(|y| 365 + i64::from(is_leap(y))).sum();
        let months: i64 = (1..month).map(|m| days_of(year, m)).sum();
        (years + months + i64::from(day) - 1) * DAY + hour * 60 + minute
    }

    #[test]
    fn every_day_of_a_century_has_its_date() {
        let mut days = 0;
        for year in 1970..2070 {
            for month in 1..=12 {
                let first = at(year, month, 1, 0, 0) / DAY;
                assert_eq!(month_and_day(first), (month, 1), "{year}-{month}");
                assert_eq!(first, days);
                days += if month == 12 { at(year + 1, 1, 1, 0, 0) / DAY } else { at(year, month + 1, 1, 0, 0) / DAY } - first;
            }
        }
    }

    #[test]
    fn fields_are_read_as_every_cron_reads_them() {
        let noon = |text, year, month, day| schedule(text).has(at(year, month, day, 12, 0));
        assert!(noon("0 12 * * *", 2026, 11, 21) && !noon("1 12 * * *", 2026, 11, 21));
        assert!(noon("*/15 9-17 * * mon-fri", 2026, 11, 20), "a Friday");
        assert!(!noon("*/15 9-17 * * 1-5", 2026, 11, 21), "a Saturday");
        assert!(noon("0 12 * * 7", 2026, 11, 22) && noon("0 12 * * 0", 2026, 11, 22) && noon("0 12 * * SUN", 2026, 11, 22));
        assert!(noon("0 12 13 * fri", 2026, 11, 20) && noon("0 12 21 * fri", 2026, 11, 21), "one of day and weekday is enough");
        assert!(!noon("0 12 13 * fri", 2026, 11, 21));
        assert!(noon("0 12 29 feb *", 2028, 2, 29) && !noon("0 12 29 2 *", 2027, 3, 1));
        assert!(schedule("7/20 * * * *").has(27) && schedule("7/20 * * * *").has(47) && !schedule("7/20 * * * *").has(6));
        assert_eq!(schedule("@hourly").next(0, |m| m), Some(60));
        for wrong in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "a * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "1- * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "0 0 31 2 *",
            "0 0 30 feb *",
            ", * * * *",
            "@often",
        ] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
        assert!("*".repeat(300).parse::<Schedule>().is_err());
    }

    #[test]
    fn what_summer_time_leaves_out_is_not_there_and_what_it_repeats_is_there_twice() {
        // Central Europe, 2026: at 01:00 UTC on 29 March two hours ahead instead of one, and back on 25 October.
        let (spring, autumn) = (at(2026, 3, 29, 1, 0), at(2026, 10, 25, 1, 0));
        let local = |minute: i64| minute + if (spring..autumn).contains(&minute) { 120 } else { 60 };
        let half_past_two = schedule("30 2 * * *");
        assert_eq!(half_past_two.next(spring - 60, local), Some(at(2026, 3, 30, 0, 30)));
        let first = half_past_two.next(autumn - 120, local).expect("it is there");
        assert_eq!((first, half_past_two.next(first, local)), (autumn - 30, Some(autumn + 30)));
        assert_eq!(half_past_two.last(autumn + 29, local), Some(autumn - 30));
    }

    #[derive(Debug, Clone)]
    struct Text(String);

    impl Arbitrary for Text {
        fn arbitrary(g: &mut Gen) -> Text {
            let mut field = |low: u32, high: u32| {
                let number = |g: &mut Gen| low + u32::arbitrary(g) % (high - low + 1);
                match u8::arbitrary(g) % 6 {
                    0..=2 => "*".to_owned(),
                    3 => format!("*/{}", 1 + number(g) % (high / 2)),
                    4 => number(g).to_string(),
                    _ => {
                        let (a, b) = (number(g), number(g));
                        format!("{}-{},{}", a.min(b), a.max(b), number(g))
                    }
                }
            };
            Text(format!("{} {} {} {} {}", field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)))
        }
    }

    quickcheck! {
        fn next_and_last_are_what_looking_at_every_minute_finds(text: Text, begin: u32, jump: u16, ahead: i8) -> bool {
            const WEEK: i64 = 8 * DAY;
            let schedule = schedule(&text.0);
            let begin = i64::from(begin);
            // An offset that changes once, as summer time does.
            let change = (begin + i64::from(jump) % WEEK) / CHANGE * CHANGE;
            let local = |minute: i64| minute + i64::from(ahead) * 15 + if minute >= change { 60 } else { 0 };
            let plain_next = (begin + 1..=begin + WEEK).find(|minute| schedule.has(local(*minute)));
            let plain_last = (begin - WEEK..=begin).rev().find(|minute| schedule.has(local(*minute)));
            let next = schedule.next(begin, local).filter(|minute| *minute <= begin + WEEK);
            let last = schedule.last(begin, local).filter(|minute| *minute >= begin - WEEK);
            (next, last) == (plain_next, plain_last)
        }

        fn no_text_makes_it_panic(text: String) -> bool {
            !text.parse::<Schedule>().is_ok_and(|schedule| schedule.next(0, |m| m).is_none())
        }
    }
}
