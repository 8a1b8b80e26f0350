//! Lines of a transcript as Claude Code writes them, and what a file of them says to somebody who only knows how they end.

use super::files::{TEXTS, list_bytes};

/// How every line ends, and nothing else does: so many of these, so many whole records.
const END: &str = ",\"whole\":true}";

/// The first line of a transcript that says where its session works.
pub(crate) fn begin(session: u8, cwd: &str) -> String {
    format!("{{\"type\":\"user\",\"sessionId\":\"s{session}\",\"cwd\":\"{cwd}\",\"gitBranch\":\"main\"{END}\n")
}

/// A line: a prompt, a list, or the end of a turn.
pub(crate) fn line(session: u8, uuid: u64, what: u32, wall_ms: i64) -> String {
    let time = moment(wall_ms);
    let text = TEXTS[usize::try_from(what).expect("it fits") % TEXTS.len()];
    let (kind, message) = match what % 3 {
        0 => ("user", format!("{{\"role\":\"user\",\"content\":\"{text}\"}}")),
        1 => {
            let list = list_bytes(what);
            let call = format!("{{\"type\":\"tool_use\",\"id\":\"t{uuid}\",\"name\":\"TodoWrite\",\"input\":{{\"todos\":{list}}}}}");
            ("assistant", format!("{{\"id\":\"m{uuid}\",\"role\":\"assistant\",\"content\":[{call}]}}"))
        }
        _ => {
            let said = "{\"type\":\"text\",\"text\":\"done\"}";
            ("assistant", format!("{{\"id\":\"m{uuid}\",\"role\":\"assistant\",\"stop_reason\":\"end_turn\",\"content\":[{said}]}}"))
        }
    };
    format!("{{\"type\":\"{kind}\",\"sessionId\":\"s{session}\",\"uuid\":\"u{uuid}\",\"timestamp\":\"{time}\",\"message\":{message}{END}\n")
}

/// How many whole records a file holds up to its last newline, and the texts of the lists in them.
pub(crate) fn plainly(bytes: &[u8]) -> (u64, Vec<&'static str>) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(&bytes[..end]);
    let whole = text.match_indices(END).map(|(at, _)| {
        let from = text[..at].rfind("{\"type\":\"assistant\",").max(text[..at].rfind("{\"type\":\"user\","));
        &text[from.unwrap_or(at)..at]
    });
    let whole: Vec<&str> = whole.collect();
    let lists = whole.iter().filter(|record| record.contains("TodoWrite"));
    let texts = lists.flat_map(|record| TEXTS.into_iter().filter(|text| record.contains(&format!("\"content\":\"{text}\""))));
    (whole.len() as u64, texts.collect())
}

/// A moment as lines have it (Howard Hinnant, `civil_from_days`).
fn moment(wall_ms: i64) -> String {
    let (days, ms) = (wall_ms.div_euclid(86_400_000), wall_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let of_year_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_year_era + of_year_era / 4 - of_year_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted_month + 2) / 5 + 1, (shifted_month + 2) % 12 + 1);
    let year = of_year_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

#[test]
fn lines_say_when_they_were_written() {
    for ms in [0, 951_825_600_500, 1_735_689_599_123, 1_795_132_800_000] {
        assert_eq!(hubless::ingest::run::moment(&moment(ms)), Some(ms));
    }
}
