//! What a tool says to a hook, turned into a report. Pure: bytes in, a report or nothing out, and no bytes make it fail.
//!
//! Claude Code's words are the common ones: Codex uses the same, and our pi extension speaks them. Only a few fields are taken;
//! the rest (whole files, what a tool answered) is passed over unread. Text that was cut off keeps what stood before the cut.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::model::beat::Reported;
use crate::model::text::Foreign;

/// Letters of a prompt's first line that say what an agent works on.
const TASK_CHARS_MAX: usize = 120;
/// How long an agent at work may be silent between two hooks, seconds: a command of Claude Code's may run 10 min.
const WORKING_S: u32 = 600;
/// How long one that waits for a person may be: no hook comes before the person does, and a night is no sign of death.
const WAITING_S: u32 = 6 * 60 * 60;
/// Fields that are looked at.
const KNOWN: [&str; 13] = [
    "hook_event_name",
    "session_id",
    "cwd",
    "source",
    "prompt",
    "tool_name",
    "tool_input",
    "notification_type",
    "message",
    "error",
    "error_details",
    "background_tasks",
    "reason",
];
/// Tools that write the file they name; whoever only reads one has not got it in hand.
const WRITERS: [&str; 6] = ["Edit", "MultiEdit", "Write", "NotebookEdit", "edit", "write"];

/// One call of a hook.
#[derive(Debug, Default)]
pub(crate) struct Event {
    fields: Map<String, Value>,
}

impl Event {
    /// Reads what stood on stdin; `None` when it names no event or no session.
    pub(crate) fn read(bytes: &[u8]) -> Option<Event> {
        let mut event = Event::default();
        // Whatever goes wrong, what was read before it counts.
        let _ = Fields(&mut event.fields).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
        (event.text("hook_event_name").is_some() && event.text("session_id").is_some()).then_some(event)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    fn name(&self) -> &str {
        self.text("hook_event_name").unwrap_or_default()
    }

    /// The tool's own id of the session.
    pub(crate) fn session(&self) -> &str {
        self.text("session_id").unwrap_or_default()
    }

    /// Whether a session begins here, or goes on, and so may be told something.
    pub(crate) fn begins(&self) -> bool {
        self.name() == "SessionStart"
    }

    /// The body of `POST /api/v3/beats`.
    pub(crate) fn report(&self, tool: &str, agent: &str, at_ms: i64) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        for (name, value) in [("agent", agent), ("tool", tool), ("session", self.session()), ("source", "hook")] {
            put(name, json!(value));
        }
        put("at", json!(at_ms));
        if let Some(cwd) = self.text("cwd") {
            put("cwd", json!(Foreign::new(cwd).json()));
        }
        if let Some(state) = self.state() {
            let silence = if state == Reported::Working { WORKING_S } else { WAITING_S };
            put("state", json!(state.word()));
            put("intervalS", json!(silence));
            // What it waited for is over with its waiting.
            put("note", json!(self.note(state).unwrap_or_default()));
        }
        if let Some(task) = self.text("prompt").and_then(first_line) {
            put("task", json!(task));
        }
        if let Some(file) = self.file() {
            put("file", json!(Foreign::new(file).json()));
        }
        Value::Object(body)
    }

    /// What the agent is from now on; `None`: as before, and alive.
    fn state(&self) -> Option<Reported> {
        match self.name() {
            // After it compacted it goes on with what it was at.
            "SessionStart" => (self.text("source") != Some("compact")).then_some(Reported::Idle),
            // A permission that was given is only to be seen by what follows it.
            "UserPromptSubmit" | "PostToolUse" | "PostToolUseFailure" => Some(Reported::Working),
            "PermissionRequest" | "Elicitation" => Some(Reported::Waiting),
            "Notification" => match self.text("notification_type") {
                // Before there were types, there were only these two.
                None | Some("permission_prompt" | "idle_prompt" | "elicitation_dialog" | "agent_needs_input") => Some(Reported::Waiting),
                Some(_) => None,
            },
            "Stop" if self.fields.get("background_tasks").and_then(Value::as_array).is_some_and(|tasks| !tasks.is_empty()) => None,
            "Stop" => Some(Reported::Idle),
            "StopFailure" => Some(Reported::Failed),
            "SessionEnd" => Some(Reported::Done),
            _ => None,
        }
    }

    fn note(&self, state: Reported) -> Option<String> {
        let said = match state {
            Reported::Waiting => {
                self.text("message").map(str::to_owned).or_else(|| Some(format!("permission for {}", self.text("tool_name")?)))
            }
            Reported::Failed => self.text("error").or(self.text("error_details")).map(str::to_owned),
            Reported::Working | Reported::Idle | Reported::Done => None,
        };
        said.as_deref().and_then(first_line)
    }

    /// The file that a tool has just written.
    fn file(&self) -> Option<&str> {
        let input = self.fields.get("tool_input").filter(|_| self.text("tool_name").is_some_and(|tool| WRITERS.contains(&tool)))?;
        let named = ["file_path", "notebook_path", "path"].iter().find_map(|name| input.get(name)?.as_str());
        named.filter(|path| !path.trim().is_empty())
    }
}

/// The first line that says something, cut to what a table can show.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let cut = line.char_indices().nth(TASK_CHARS_MAX).map_or(line.to_owned(), |(end, _)| format!("{}…", &line[..end]));
    Some(cut)
}

/// Takes the known members of an object, one by one, so that a cut loses only what stood behind it.
struct Fields<'a>(&'a mut Map<String, Value>);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if KNOWN.contains(&name.as_str()) {
                let value = map.next_value()?;
                self.0.insert(name, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn report(event: &Value) -> Value {
        let mut event = event.clone();
        for (name, value) in [("session_id", "5c"), ("cwd", "/w"), ("transcript_path", "/t.jsonl")] {
            event[name] = json!(value);
        }
        Event::read(event.to_string().as_bytes()).expect("an event").report("claude", "claude", 7)
    }

    fn state(event: Value) -> Value {
        report(&event)["state"].clone()
    }

    #[test]
    fn every_event_says_what_it_says() {
        let named = |name: &str| json!({"hook_event_name": name});
        for (event, expected) in [
            (json!({"hook_event_name": "SessionStart", "source": "startup"}), json!("idle")),
            (json!({"hook_event_name": "SessionStart", "source": "compact"}), Value::Null),
            (named("UserPromptSubmit"), json!("working")),
            (named("PostToolUse"), json!("working")),
            (named("PreCompact"), Value::Null),
            (named("SubagentStop"), Value::Null),
            (named("Brand-new"), Value::Null),
            (named("PermissionRequest"), json!("waiting")),
            (named("Notification"), json!("waiting")),
            (json!({"hook_event_name": "Notification", "notification_type": "permission_prompt"}), json!("waiting")),
            (json!({"hook_event_name": "Notification", "notification_type": "idle_prompt"}), json!("waiting")),
            (json!({"hook_event_name": "Notification", "notification_type": "auth_success"}), Value::Null),
            (named("Stop"), json!("idle")),
            (json!({"hook_event_name": "Stop", "background_tasks": []}), json!("idle")),
            (json!({"hook_event_name": "Stop", "background_tasks": [{"id": 1}]}), Value::Null),
            (named("StopFailure"), json!("failed")),
            (named("SessionEnd"), json!("done")),
        ] {
            assert_eq!(state(event.clone()), expected, "{event}");
        }
    }

    #[test]
    fn a_report_carries_what_people_look_for_and_nothing_more() {
        let prompt =
            json!({"hook_event_name": "UserPromptSubmit", "prompt": "\n  AGT-280: retry logic \nwith details", "permission_mode": "plan"});
        assert_eq!(
            report(&prompt),
            json!({"agent": "claude", "tool": "claude", "session": "5c", "source": "hook", "at": 7, "cwd": "/w", "state": "working",
                "intervalS": 600, "note": "", "task": "AGT-280: retry logic"})
        );
        let edit = json!({"hook_event_name": "PostToolUse", "tool_name": "Edit", "tool_input": {"file_path": "/w/a.rs", "old_string": "secret"}, "tool_response": {"a": ["b"]}});
        assert_eq!(report(&edit)["file"], "/w/a.rs");
        assert!(!report(&edit).to_string().contains("secret"));
        let read = json!({"hook_event_name": "PostToolUse", "tool_name": "Read", "tool_input": {"file_path": "/w/a.rs"}});
        assert_eq!(report(&read)["file"], Value::Null);
        let ask =
            json!({"hook_event_name": "Notification", "notification_type": "permission_prompt", "message": "Claude needs your permission"});
        assert_eq!((&report(&ask)["note"], &report(&ask)["intervalS"]), (&json!("Claude needs your permission"), &json!(21_600)));
        assert_eq!(report(&json!({"hook_event_name": "PermissionRequest", "tool_name": "Bash"}))["note"], "permission for Bash");
        assert_eq!(report(&json!({"hook_event_name": "StopFailure", "error": "rate_limit"}))["note"], "rate_limit");
        let long = report(&json!({"hook_event_name": "UserPromptSubmit", "prompt": "ü".repeat(5000)}));
        assert_eq!(long["task"].as_str().map(|task| task.chars().count()), Some(TASK_CHARS_MAX + 1));
    }

    #[test]
    fn what_is_cut_off_or_of_another_kind_loses_only_itself() {
        let whole = format!(
            r#"{{"session_id":"5c","hook_event_name":"PostToolUse","cwd":"/w","tool_name":7,"tool_input":["{}"]}}"#,
            "x".repeat(99)
        );
        let cut = Event::read(&whole.as_bytes()[..whole.len() - 50]).expect("its beginning").report("codex", "codex", 7);
        assert_eq!((&cut["state"], &cut["cwd"]), (&json!("working"), &json!("/w")));
        for nothing in [
            "",
            "{",
            "[]",
            "null",
            "\u{0}",
            r#"{"session_id": "5c"}"#,
            r#"{"hook_event_name": "Stop"}"#,
            r#"{"session_id": 5, "hook_event_name": "Stop"}"#,
        ] {
            assert!(Event::read(nothing.as_bytes()).is_none(), "{nothing}");
        }
    }

    quickcheck! {
        fn no_bytes_make_it_fail(bytes: Vec<u8>, cut: usize) -> bool {
            let whole = br#"{"session_id":"5c","hook_event_name":"Stop","prompt":"\ud800 x","background_tasks":{"a":[1,2,{"b":null}]}}"#;
            let event = |bytes: &[u8]| Event::read(bytes).map(|event| event.report("pi", "sam", 0));
            event(&bytes).is_none_or(|report| report.is_object()) && event(&whole[..cut % whole.len()]).is_none_or(|report| report["session"] == "5c")
        }
    }
}
