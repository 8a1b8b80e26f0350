//! The question behind `?`: decoded, checked, never guessed.
//!
//! A parameter that a route does not know becomes a warning in its answer; a value that cannot be read is a 400 that names it.

use crate::api::problem::Problem;

/// Parameters that every list takes.
pub(crate) const LIST: [&str; 2] = ["limit", "cursor"];

/// The parameters of one question.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    pub(crate) warnings: Vec<String>,
}

impl Query {
    /// Reads `a=b&c=d`. Parameters that are not in `known` are warned of; of one that stands twice the last counts.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Query {
        let mut query = Query::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")));
            if !known.contains(&name.as_str()) {
                query.warnings.push(format!("unknown-parameter: this route knows no “{name}”; it was passed over"));
            }
            query.pairs.push((name, value));
        }
        query
    }

    /// A parameter's text, if it is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let last = self.pairs.iter().rev().find(|(key, _)| key == name);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether a parameter is there at all.
    fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// A yes or no; a name with no value means yes.
    pub(crate) fn yes(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.text(name) {
            None => Ok(self.has(name).then_some(true)),
            Some("1" | "true" | "yes") => Ok(Some(true)),
            Some("0" | "false" | "no") => Ok(Some(false)),
            Some(other) => Err(Problem::bad(format!("“{other}” is not a value of “{name}”")).fix("1 or 0")),
        }
    }

    /// How many rows are wanted; 0 and no word of it mean all.
    pub(crate) fn limit(&self) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text("limit") else { return Ok(None) };
        let number: usize = text.parse().map_err(|_| Problem::bad(format!("limit “{text}” is not a number")).fix("limit=0 means all"))?;
        Ok((number > 0).then_some(number))
    }

    /// A point in time in milliseconds since 1970: an ISO 8601 time, a date, or an age such as `7d`.
    pub(crate) fn since(&self, now_ms: i64) -> Result<Option<i64>, Problem> {
        self.moment("since", now_ms)
    }

    /// As [`Query::since`], of any parameter.
    pub(crate) fn moment(&self, name: &str, now_ms: i64) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        if let Ok(age) = humantime::parse_duration(text) {
            return Ok(Some(now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))));
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Some(at.as_millisecond()));
        }
        if let Ok(day) = text.parse::<jiff::civil::Date>()
            && let Ok(at) = day.to_zoned(jiff::tz::TimeZone::system())
        {
            return Ok(Some(at.timestamp().as_millisecond()));
        }
        let detail = format!("{name} “{text}” is neither a time nor an age");
        Err(Problem::bad(detail).fix(format!("{name}=7d, {name}=2026-03-02 or {name}=2026-03-02T14:00:00Z")))
    }
}

/// Undoes `%xx`; what is no such thing stays as it is, and bytes that are no text become `\u{fffd}`.
pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn no_question_panics(text: String) -> bool {
            let query = Query::parse(&text, &["limit", "since"]);
            let _ = (query.limit(), query.since(0), query.yes("limit"));
            true
        }
    }

    #[test]
    fn values_are_decoded_once_and_the_last_counts() {
        let query = Query::parse("device=mac%20mini&device=b+c%2525&x=%zz%e4", &["device"]);
        assert_eq!(query.text("device"), Some("b c%25"));
        assert_eq!(query.text("x"), Some("%zz\u{fffd}"));
        assert_eq!(query.warnings.len(), 1);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_a_400_with_its_fix() {
        for (text, bad) in [("limit=x", true), ("limit=-1", true), ("limit=0", false), ("limit=", false), ("limit=7", false)] {
            assert_eq!(Query::parse(text, &LIST).limit().is_err(), bad, "{text}");
        }
        assert_eq!(Query::parse("ready", &["ready"]).yes("ready"), Ok(Some(true)));
        assert_eq!(Query::parse("", &["ready"]).yes("ready"), Ok(None));
        assert_eq!(Query::parse("ready=maybe", &["ready"]).yes("ready").map_err(|problem| problem.status), Err(400));
    }

    #[test]
    fn since_takes_ages_times_and_days() {
        let at = |text: &str| Query::parse(&format!("since={text}"), &["since"]).since(1_000_000_000_000);
        assert_eq!(at("7d"), Ok(Some(1_000_000_000_000 - 7 * 86_400_000)));
        assert_eq!(at("2001-09-09T01:46:40Z"), Ok(Some(1_000_000_000_000)));
        assert!(matches!(at("2001-09-09"), Ok(Some(_))));
        assert_eq!(at("yesterday").map_err(|problem| problem.status), Err(400));
    }
}
