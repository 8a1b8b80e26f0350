//! What the core notes becomes a line of the log. The phrases are relied upon (README, people's own scripts); what stands
//! around them is not.
//!
//! No content gets in: a [`Note`] holds names, counts and reasons, no type of which can carry a todo's text, a task or a
//! transcript. Names come from other devices and are escaped and cut like all foreign text.

use crate::model::effects::Note;
use crate::model::text::Foreign;
use crate::model::time::Millis;

/// Characters of one name or reason in a line.
const SHOWN_MAX: usize = 200;

/// Writes one note into the log.
pub fn log(note: &Note) {
    match note {
        Note::NewSession { device, session, tool } => {
            let (device, session, tool) = (shown(device), shown(session), shown(tool));
            tracing::info!(device, session, tool, "new session from {device}");
        }
        Note::Watching { directories } => tracing::info!(directories, "watching {directories} directories"),
        Note::NotSeen { device, for_ms } => {
            let (device, span) = (shown(device), span(*for_ms));
            tracing::warn!(device, for_ms, "{device} not seen for {span}");
        }
        // Of laptops that are shut this is the daily bread, so it is no warning.
        Note::DialFailed { device, address, why } => {
            tracing::info!(device = shown(device), address = shown(address), why = shown(why), "dial failed");
        }
        Note::Consolidated { todos, sessions } => {
            tracing::info!(todos, sessions, "consolidated {todos} todos from {sessions} sessions");
        }
        Note::Paired { device } => {
            let device = shown(device);
            tracing::info!(device, "paired with {device}");
        }
        Note::Link { device, up: true, detail } => tracing::info!(device = shown(device), address = shown(detail), "link up"),
        Note::Link { device, up: false, detail } => tracing::info!(device = shown(device), why = shown(detail), "link down"),
        Note::Restored { what } => tracing::warn!("noticed a lost, restored or cloned store: {}", shown(what)),
        Note::SetAside { what } => tracing::warn!("set aside: {}", shown(what)),
        Note::Woke { slept_ms } => tracing::info!(slept_ms, "woke after {} of sleep", span(*slept_ms)),
    }
}

/// Without anything that a terminal would obey, and not longer than a line should be.
fn shown(text: &str) -> String {
    let plain = Foreign::new(text).plain();
    match plain.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

/// A span in its two largest units, cut, without spaces: `45s`, `2h`, `1h30m`, `3d4h`.
#[must_use]
pub fn span(ms: Millis) -> String {
    const UNITS: [(Millis, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let Some(at) = UNITS.iter().position(|(unit, _)| ms >= *unit) else { return "0s".to_owned() };
    let (unit, name) = UNITS[at];
    let rest = UNITS.get(at + 1).map(|(next, name)| (ms % unit / next, name)).filter(|(count, _)| *count > 0);
    match rest {
        Some((count, next)) => format!("{}{name}{count}{next}", ms / unit),
        None => format!("{}{name}", ms / unit),
    }
}
