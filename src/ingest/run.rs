//! A session is what its own file says, line by line: reading the file in other pieces, or again from its beginning, gives
//! the same sums and tells the same things.
//!
//! A [`Run`] is the running sum of one file. It is small, and is kept in the index beside the file's checkpoint, so that a
//! restart reads nothing twice; when the file turns out to be another one, the sum begins anew. What is not a sum (a list of
//! todos, a task's change, an end) is [`Said`], with the time of its line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::beat::Reported;
use crate::model::session::Counts;
use crate::model::todo::{Change, Reading};

/// Characters of a title, a branch or an agent's name that are kept.
const SHORT_CHARS_MAX: usize = 120;
/// Bytes of a path or a url that are kept.
const PATH_BYTES_MAX: usize = 1024;
/// Kinds of records that are counted by name; further ones are counted as `…`.
const KINDS_MAX: usize = 24;
/// Calls of tools whose answer is still awaited, and things of a format's own, that are remembered; the oldest are forgotten.
const REMEMBERED_MAX: usize = 16;
/// Bytes of what is remembered of one; what is larger is not remembered at all, and whoever tells it is told so.
const REMEMBERED_BYTES_MAX: usize = 2 * 1024;
/// Names that are remembered.
const RECENT_MAX: usize = 64;

/// What a session's own file says of it so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The tool's own id of the session, as the first line that has one says.
    pub session: Option<String>,
    /// The first working directory.
    pub cwd: Option<String>,
    /// The newest git branch.
    pub branch: Option<String>,
    /// The url of the repository's remote, when the tool writes it.
    pub remote: Option<String>,
    /// How the tool calls who works in it, when it has a name.
    pub agent: Option<String>,
    /// The title that somebody gave; the newest counts.
    pub given_title: Option<String>,
    /// The title that the tool made; the newest counts.
    pub made_title: Option<String>,
    /// The first line of the first prompt of a person.
    pub prompt: Option<String>,
    /// When it began, milliseconds since 1970.
    pub started: Option<i64>,
    /// The newest time of any line.
    pub last: Option<i64>,
    /// What was counted.
    pub counts: Counts,
    /// The name of its first record that has one: a file whose first record stands in an older file is a fork of that.
    pub first: Option<String>,
    /// The tool's id of the session that this one came from, or works for, when the tool says so.
    pub parent: Option<String>,
    /// Whether it is a sub-agent's.
    pub is_side: bool,
    /// What its last records say of its agent; `None` while nothing does.
    pub turn: Option<Reported>,
    /// What it works on, when the records name that (the call of a tool that is running).
    pub doing: Option<String>,
    /// How often each kind of record came that nobody has told us of.
    pub unknown: BTreeMap<String, u64>,
    /// Calls whose answer has not come yet, oldest first: id, and what is remembered of it.
    pub calls: Vec<(String, String)>,
    /// The format's own: what else it must remember from line to line, by name, oldest first. Its file says what that is.
    pub own: Vec<(String, String)>,
    /// Hashes of the newest names (of records, of messages), for what is said twice or said later of a record.
    pub recent: Vec<u64>,
}

/// What one line says beside the sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A list of todos as it is now, as a whole.
    List {
        /// When, milliseconds since 1970; `None`: the line has no time, the file's counts.
        at: Option<i64>,
        /// Whose: the agent id that the todo file of the same list carries; empty: the main thread's.
        agent: String,
        /// What it holds.
        reading: Reading,
    },
    /// One task of the session's task list was made or changed.
    Task {
        /// When, milliseconds since 1970.
        at: Option<i64>,
        /// What of it.
        change: Change,
    },
    /// The tool says that the session is over.
    Ended {
        /// When, milliseconds since 1970.
        at: Option<i64>,
        /// The tool's word: `done`, `failed`, `aborted`, …
        outcome: String,
    },
}

impl Run {
    /// What it is about: the title somebody gave, else the tool's, else the first prompt.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.given_title.as_deref().or(self.made_title.as_deref()).or(self.prompt.as_deref())
    }

    /// A line was read whose time is `at`.
    pub fn dated(&mut self, at: Option<i64>) {
        let Some(at) = at else { return };
        self.started = Some(self.started.unwrap_or(at));
        self.last = self.last.max(Some(at));
    }

    /// A kind of record that nobody has told us of.
    pub fn strange(&mut self, kind: &str) {
        let kind = short(kind).unwrap_or_else(|| "?".to_owned());
        let room = self.unknown.len() < KINDS_MAX || self.unknown.contains_key(&kind);
        *self.unknown.entry(if room { kind } else { "…".to_owned() }).or_default() += 1;
    }

    /// A tool is called; what is needed when its answer comes is remembered, unless it is too large. Gives whether it is.
    pub fn called(&mut self, id: &str, what: String) -> bool {
        remember(&mut self.calls, id, what)
    }

    /// The answer of a call has come; gives what was remembered of it.
    pub fn answered(&mut self, id: &str) -> Option<String> {
        recall(&mut self.calls, id)
    }

    /// The format's own is remembered under that name, unless it is too large. Gives whether it is.
    pub fn note(&mut self, name: &str, what: String) -> bool {
        remember(&mut self.own, name, what)
    }

    /// Gives what was noted under that name, and forgets it.
    pub fn noted(&mut self, name: &str) -> Option<String> {
        recall(&mut self.own, name)
    }

    /// A name was read, in parts; whether it is not among the newest ones.
    pub fn is_new(&mut self, name: &[&str]) -> bool {
        let name = hash(name);
        let is_new = !self.recent.contains(&name);
        if is_new {
            if self.recent.len() >= RECENT_MAX {
                self.recent.remove(0);
            }
            self.recent.push(name);
        }
        is_new
    }

    /// Whether that name is among the newest ones.
    #[must_use]
    pub fn is_recent(&self, name: &[&str]) -> bool {
        self.recent.contains(&hash(name))
    }
}

fn remember(all: &mut Vec<(String, String)>, name: &str, what: String) -> bool {
    let fits = name.len() <= PATH_BYTES_MAX && what.len() <= REMEMBERED_BYTES_MAX;
    if fits {
        if all.len() >= REMEMBERED_MAX {
            all.remove(0);
        }
        all.push((name.to_owned(), what));
    }
    fits
}

fn recall(all: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = all.iter().position(|(known, _)| known == name)?;
    Some(all.remove(at).1)
}

fn hash(name: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in name {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// A short text on one line, without what surrounds it; `None` when nothing is left.
#[must_use]
pub fn short(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(SHORT_CHARS_MAX).collect())
}

/// A path or a url; `None` when it is empty or no path of this world.
#[must_use]
pub fn path(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.len() <= PATH_BYTES_MAX && !text.contains('\0')).then(|| text.to_owned())
}

/// Milliseconds since 1970 of `2026-07-01T10:00:03.120Z`, or with an offset (`+02:00`); other forms are `None`.
#[must_use]
pub fn moment(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let (time, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => (&time[..at], offset_minutes(&time[at..])?),
        None => return None,
    };
    let number = |part: &str, most: i64| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok())?.filter(|n| *n <= most);
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?, 9999)?, number(date.next()?, 12)?, number(date.next()?, 31)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let (hour, minute, second) = (number(time.next()?, 23)?, number(time.next()?, 59)?, number(time.next()?, 60)?);
    let millis = number(&format!("{fraction:0<3}").chars().take(3).collect::<String>(), 999)?;
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset;
    (month >= 1 && day >= 1).then_some(minutes * 60_000 + second * 1000 + millis)
}

/// `Z`, `+02:00` or `-0530` in minutes.
fn offset_minutes(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let number: i64 = (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())??;
    Some(sign * (number / 100 * 60 + number % 100))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant, `days_from_civil`; years from 0 on).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn a_moment_is_a_moment_wherever_it_was_written() {
        assert_eq!(moment("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(moment("2026-07-01T10:00:03.120Z"), Some(1_782_900_003_120));
        assert_eq!(moment("2026-07-01T12:00:03.12+02:00"), Some(1_782_900_003_120));
        assert_eq!(moment("2026-07-01T04:30:03.120-0530"), Some(1_782_900_003_120));
        for wrong in ["", "2026-07-01", "2026-07-01T10:00:03", "2026-13-01T10:00:03Z", "2026-07-01T10:00:03+2", "x"] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_run_stays_small_whatever_it_is_told() {
        let mut run = Run { prompt: short(&"x".repeat(100_000)), cwd: path(&"/x".repeat(100)), ..Run::default() };
        for n in 0..1000 {
            run.strange(&format!("{n}{}", "k".repeat(500)));
            assert!(run.called(&format!("{n}"), "y".repeat(150)) && run.note(&format!("{n}"), "z".repeat(40)));
            assert!(run.is_new(&["a", &n.to_string()]) && !run.is_new(&["a", &n.to_string()]));
        }
        assert!(run.is_recent(&["a", "999"]) && !run.is_recent(&["a9", "99"]) && !run.is_recent(&["a", "3"]));
        assert_eq!(run.unknown.values().sum::<u64>(), 1000, "every one is counted");
        assert!(postcard::to_stdvec(&run).unwrap().len() < 8 * 1024);
        assert!(!run.called("large", "y".repeat(5_000)) && run.answered("large").is_none() && run.calls.len() == REMEMBERED_MAX);
        assert!(run.noted("3").is_none() && run.noted("999").is_some() && run.noted("999").is_none());
        assert!(run.answered("3").is_none() && run.answered("999").is_some() && run.answered("999").is_none());
    }

    #[test]
    fn the_title_that_somebody_gave_counts_most() {
        let mut run = Run { prompt: Some("p".into()), ..Run::default() };
        assert_eq!(run.title(), Some("p"));
        run.made_title = Some("m".into());
        assert_eq!(run.title(), Some("m"));
        run.given_title = Some("g".into());
        assert_eq!(run.title(), Some("g"));
    }

    quickcheck! {
        fn no_text_is_a_reason_to_panic(text: String) -> bool {
            let _ = (moment(&text), path(&text));
            short(&text).is_none_or(|short| short.chars().count() <= SHORT_CHARS_MAX)
        }
    }
}
