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
        Note::NewSessions { device, sessions } => {
            let device = shown(device);
            tracing::info!(device, sessions, "{sessions} new sessions from {device}");
        }
        Note::Webhook { deed, device, session, agent } => {
            let (deed, device, session, agent) = (shown(deed), shown(device), shown(session), shown(agent));
            tracing::info!(device, session, agent, "webhook {deed}");
        }
        Note::Active { sessions } => tracing::info!(sessions, "found {sessions} active sessions"),
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
        Note::Removed { device } => {
            let device = shown(device);
            tracing::info!(device, "{device} was removed from the fleet");
        }
        Note::Link { device, up: true, detail } => tracing::info!(device = shown(device), address = shown(detail), "link up"),
        Note::Link { device, up: false, detail } => tracing::info!(device = shown(device), why = shown(detail), "link down"),
        Note::Restored { what } => tracing::warn!("noticed a lost, restored or cloned store: {}", shown(what)),
        Note::SetAside { what } => tracing::warn!("set aside: {}", shown(what)),
        Note::Mended { what } => tracing::info!("restored: {}", shown(what)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Everything that a line could show, whoever formats it.
    #[derive(Default, Clone)]
    struct Ear(Arc<Mutex<String>>);

    impl Visit for Ear {
        fn record_str(&mut self, field: &Field, value: &str) {
            writeln!(self.0.lock().expect("whole"), "{}={value}", field.name()).expect("written");
        }

        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            writeln!(self.0.lock().expect("whole"), "{}={value:?}", field.name()).expect("written");
        }
    }

    impl Subscriber for Ear {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn heard(note: &Note) -> String {
        let ear = Ear::default();
        tracing::subscriber::with_default(ear.clone(), || log(note));
        ear.0.lock().expect("whole").clone()
    }

    /// One of each, with this text wherever a text goes.
    fn all(text: &str) -> Vec<(Note, String)> {
        let text = || text.to_owned();
        vec![
            (Note::NewSession { device: text(), session: text(), tool: text() }, format!("message=new session from {}", text())),
            (Note::NewSessions { device: text(), sessions: 412 }, format!("message=412 new sessions from {}", text())),
            (Note::Webhook { deed: text(), device: text(), session: text(), agent: text() }, format!("message=webhook {}", text())),
            (Note::Active { sessions: 2 }, "message=found 2 active sessions".to_owned()),
            (Note::Watching { directories: 3 }, "message=watching 3 directories".to_owned()),
            (Note::NotSeen { device: text(), for_ms: 7_200_000 }, format!("message={} not seen for 2h", text())),
            (Note::DialFailed { device: text(), address: text(), why: text() }, "message=dial failed".to_owned()),
            (Note::Consolidated { todos: 524, sessions: 264 }, "message=consolidated 524 todos from 264 sessions".to_owned()),
            (Note::Paired { device: text() }, format!("message=paired with {}", text())),
            (Note::Removed { device: text() }, format!("message={} was removed from the fleet", text())),
            (Note::Link { device: text(), up: true, detail: text() }, "message=link up".to_owned()),
            (Note::Link { device: text(), up: false, detail: text() }, "message=link down".to_owned()),
            (Note::Restored { what: text() }, format!("message=noticed a lost, restored or cloned store: {}", text())),
            (Note::SetAside { what: text() }, format!("message=set aside: {}", text())),
            (Note::Mended { what: text() }, format!("message=restored: {}", text())),
            (Note::Woke { slept_ms: 61_000 }, "message=woke after 1m1s of sleep".to_owned()),
        ]
    }

    #[test]
    fn every_note_says_its_phrase_and_its_parts() {
        for (note, phrase) in all("mac-mini") {
            let heard = heard(&note);
            assert!(heard.lines().any(|line| line == phrase), "{note:?} said {heard}");
        }
        let failed = Note::DialFailed { device: "mini".to_owned(), address: "10.0.0.2:4826".to_owned(), why: "refused".to_owned() };
        let said = heard(&failed);
        assert!(
            ["device=mini", "address=10.0.0.2:4826", "why=refused"].iter().all(|part| said.lines().any(|line| line == *part)),
            "{said}"
        );
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_into_a_line_and_nothing_endless() {
        for (note, _) in all(&format!("\x1b]0;evil\x07\n\u{202e}{}", "x".repeat(100_000))) {
            let heard = heard(&note);
            assert!(!heard.contains(['\x1b', '\x07', '\u{202e}']), "{heard:?}");
            assert!(!heard.lines().any(|line| line.starts_with("evil") || line.starts_with('x')), "no new line begins in a name");
            assert!(heard.len() < 2_000, "{} bytes", heard.len());
        }
    }

    /// Content is `Foreign`, `Beat`, `TodoView`, …: a note has only names, counts and reasons.
    #[test]
    fn no_type_that_holds_content_is_part_of_a_note() {
        let source = include_str!("../model/effects.rs");
        let (_, note) = source.split_once("pub enum Note {").expect("there it is");
        let fields = note.lines().filter(|line| !line.trim_start().starts_with("//")).filter_map(|line| line.trim().split_once(": "));
        let kinds: std::collections::BTreeSet<&str> = fields.map(|(_, kind)| kind.trim_end_matches(',')).collect();
        assert_eq!(kinds, ["Millis", "String", "bool", "usize"].into());
    }

    #[test]
    fn spans_are_short() {
        let cases = [
            (0, "0s"),
            (999, "0s"),
            (45_000, "45s"),
            (60_000, "1m"),
            (7_200_000, "2h"),
            (7_200_999, "2h"),
            (5_400_000, "1h30m"),
            (7_230_000, "2h"),
            (273_600_000, "3d4h"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text);
        }
    }
}
