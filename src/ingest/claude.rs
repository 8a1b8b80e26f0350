//! Where a session works is what its lines say, never what its folder is called: the folder's name cannot be decoded.
//!
//! Of a Claude Code transcript (FORMATS §2) only the beginning is read here, to learn the working directory of a session
//! whose todo file has none. Lines come in any order and of any kind; a line that cannot be read is passed over.

use serde::Deserialize;
use serde_json::Value;

use super::{escapes, tail};
use crate::model::limits::HEAD_BYTES_MAX;

/// Characters of a title that is taken from a prompt.
const TITLE_CHARS_MAX: usize = 120;

/// What the beginning of a transcript says of its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The tool's id of the session.
    pub session: Option<String>,
    /// The first working directory.
    pub cwd: Option<String>,
    /// The first git branch.
    pub branch: Option<String>,
    /// The title that somebody gave, else the tool's, else the first prompt's first line.
    pub title: Option<String>,
    /// When its first dated line was written, milliseconds since 1970.
    pub started: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    r#type: Option<Value>,
    session_id: Option<Value>,
    cwd: Option<Value>,
    git_branch: Option<Value>,
    timestamp: Option<Value>,
    custom_title: Option<Value>,
    ai_title: Option<Value>,
    summary: Option<Value>,
    is_meta: Option<Value>,
    is_sidechain: Option<Value>,
    message: Option<Value>,
}

/// Titles, by how much they count.
#[derive(Default)]
struct Titles {
    custom: Option<String>,
    ai: Option<String>,
    summary: Option<String>,
    prompt: Option<String>,
}

/// Reads the whole lines at the beginning of a transcript, at most `limits::HEAD_BYTES_MAX` of it.
#[must_use]
pub fn head(bytes: &[u8]) -> Head {
    let end = usize::try_from(HEAD_BYTES_MAX).map_or(bytes.len(), |max| max.min(bytes.len()));
    let (mut head, mut titles) = (Head::default(), Titles::default());
    for line in tail::whole_lines(&bytes[..end]).0 {
        // After a crash a line may begin with zeros (FORMATS §2.5).
        let start = line.iter().position(|b| *b != 0).unwrap_or(line.len());
        if let Ok(line) = serde_json::from_slice::<Line>(&escapes::mend(&line[start..])) {
            note(&mut head, &line);
            entitle(&mut titles, &line);
        }
    }
    head.title = titles.custom.or(titles.ai).or(titles.summary).or(titles.prompt);
    head
}

fn note(head: &mut Head, line: &Line) {
    head.session = head.session.take().or_else(|| text(&line.session_id));
    head.cwd = head.cwd.take().or_else(|| text(&line.cwd));
    head.branch = head.branch.take().or_else(|| text(&line.git_branch).filter(|branch| branch != "HEAD"));
    head.started = head.started.or_else(|| line.timestamp.as_ref()?.as_str().and_then(moment));
}

/// The newest title of each kind, and the first prompt.
fn entitle(titles: &mut Titles, line: &Line) {
    titles.custom = text(&line.custom_title).or(titles.custom.take());
    titles.ai = text(&line.ai_title).or(titles.ai.take());
    let is = |kind: &str| line.r#type.as_ref().and_then(Value::as_str) == Some(kind);
    if is("summary") {
        titles.summary = text(&line.summary).or(titles.summary.take());
    }
    let by_a_person = |flag: &Option<Value>| flag.as_ref().and_then(Value::as_bool) != Some(true);
    if titles.prompt.is_none() && is("user") && by_a_person(&line.is_meta) && by_a_person(&line.is_sidechain) {
        titles.prompt = line.message.as_ref().and_then(prompt);
    }
}

fn text(value: &Option<Value>) -> Option<String> {
    value.as_ref()?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The first line of what a person typed; commands and their output stand in tags and are no title.
fn prompt(message: &Value) -> Option<String> {
    let content = message.get("content")?;
    let typed = content.as_str().or_else(|| content.as_array()?.iter().find_map(|block| block.get("text")?.as_str()))?;
    let line = typed.lines().map(str::trim).find(|line| !line.is_empty())?;
    (!line.starts_with('<')).then(|| line.chars().take(TITLE_CHARS_MAX).collect())
}

/// Milliseconds since 1970 of `2026-07-01T10:00:03.120Z`; other forms are `None`.
fn moment(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let number = |part: &str, most: i64| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok())?.filter(|n| *n <= most);
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?, 9999)?, number(date.next()?, 12)?, number(date.next()?, 31)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let (hour, minute, second) = (number(time.next()?, 23)?, number(time.next()?, 59)?, number(time.next()?, 60)?);
    let millis = number(&format!("{fraction:0<3}").chars().take(3).collect::<String>(), 999)?;
    (month >= 1 && day >= 1).then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + millis)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant, `days_from_civil`; years from 0 on).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
