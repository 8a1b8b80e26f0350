//! Problems: every answer that is a "no", with its cause and its fix (RFC 9457).
//!
//! One shape for both doors, the page and the command line, so that `code` in a problem is the word in the brackets behind an
//! error (INTERFACE §2.5). The routes of the replaced systems say `{"error": …}` instead, as their scripts expect.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::model::reply::{Code, Refusal};

/// A "no" on its way to a program or a person. It is boxed, so that a yes costs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Told>);

/// What a problem tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The HTTP status.
    pub status: u16,
    /// The reason, as a word for programs: `todo-not-found`, `port-busy`, …
    pub code: Cow<'static, str>,
    /// What is wrong, in one sentence about this case.
    pub detail: String,
    /// What lies behind it, when more is known.
    pub cause: Option<String>,
    /// The command or step that mends it.
    pub fix: Option<String>,
    /// Names that were perhaps meant.
    pub did_you_mean: Vec<String>,
    /// The path that was asked for; empty while nobody filled it in.
    pub instance: String,
    /// What the header `Allow` says, of 405.
    pub allow: Option<&'static str>,
    /// Whether it is told as `{"error": …}`, the shape of the replaced systems.
    pub bare: bool,
}

impl Problem {
    /// A problem with nothing but its sentence.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Problem {
        Problem(Box::new(Told {
            status,
            code: code.into(),
            detail: detail.into(),
            cause: None,
            fix: None,
            did_you_mean: Vec::new(),
            instance: String::new(),
            allow: None,
            bare: false,
        }))
    }

    /// The question itself is wrong.
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::of(Code::BadRequest, detail)
    }

    /// A problem of one of the reasons that the core gives.
    pub fn of(code: Code, detail: impl Into<String>) -> Problem {
        Problem::new(code.status(), code.word(), detail)
    }

    /// No such route or object of a kind that the core has no word for.
    pub fn missing(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(404, code, detail)
    }

    /// A problem that is told as `{"error": …}`.
    pub fn bare(status: u16, detail: impl Into<String>) -> Problem {
        Problem::new(status, Code::BadRequest.word(), detail).barely()
    }

    /// Says what lies behind it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Problem {
        self.cause = Some(cause.into());
        self
    }

    /// Says what mends it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Problem {
        self.fix = Some(fix.into());
        self
    }

    /// Says what was perhaps meant.
    #[must_use]
    pub fn perhaps(mut self, names: Vec<String>) -> Problem {
        self.did_you_mean = names;
        self
    }

    /// Says at which path.
    #[must_use]
    pub fn at(mut self, path: &str) -> Problem {
        path.clone_into(&mut self.instance);
        self
    }

    /// Tells it in the shape of the replaced systems.
    #[must_use]
    pub fn barely(mut self) -> Problem {
        self.bare = true;
        self
    }

    /// The one line that says what kind of problem it is.
    #[must_use]
    pub fn title(&self) -> String {
        title(&self.code).map_or_else(|| capitalised(&self.code.replace('-', " ")), str::to_owned)
    }

    /// The process's exit code when this ends a command (INTERFACE §2.4).
    #[must_use]
    pub fn exit(&self) -> u8 {
        let known = CODES.iter().find(|code| code.word() == self.code);
        match known {
            Some(code) => code.exit(),
            None if self.status == 404 => 3,
            None if self.status == 400 => 2,
            None => 1,
        }
    }

    /// What is written as `application/problem+json` (or, when it is bare, as `application/json`).
    #[must_use]
    pub fn to_json(&self) -> Value {
        if self.bare {
            return self.to_bare_json();
        }
        let mut out = Map::new();
        out.insert("type".into(), json!(format!("urn:hubless:problem:{}", self.code)));
        out.insert("title".into(), json!(self.title()));
        out.insert("status".into(), json!(self.status));
        out.insert("detail".into(), json!(self.detail));
        out.insert("instance".into(), json!(self.instance));
        out.insert("code".into(), json!(self.code));
        if let Some(cause) = &self.cause {
            out.insert("cause".into(), json!(cause));
        }
        if let Some(fix) = &self.fix {
            out.insert("fix".into(), json!(fix));
        }
        if !self.did_you_mean.is_empty() {
            out.insert("didYouMean".into(), json!(self.did_you_mean));
        }
        Value::Object(out)
    }

    fn to_bare_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("error".into(), json!(self.detail));
        if let Some(fix) = &self.fix {
            out.insert("code".into(), json!(self.code));
            out.insert("fix".into(), json!(fix));
        }
        Value::Object(out)
    }

    /// Reads back what a door wrote. An answer that is no problem at all becomes one of code `bad-answer`.
    #[must_use]
    pub fn from_json(status: u16, body: &Value) -> Problem {
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        let code = text("code").unwrap_or_else(|| if status == 400 { "bad-request".into() } else { "bad-answer".into() });
        let detail = text("detail").or_else(|| text("error")).unwrap_or_else(|| format!("the daemon answered {status}"));
        let names = body.get("didYouMean").and_then(Value::as_array);
        let mut problem = Problem::new(status, code, detail);
        problem.cause = text("cause");
        problem.fix = text("fix");
        problem.did_you_mean = names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        problem.instance = text("instance").unwrap_or_default();
        problem.bare = body.get("error").is_some();
        problem
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let mut problem = Problem::of(refusal.code, refusal.what);
        problem.cause = refusal.cause;
        problem.fix = refusal.fix;
        problem.did_you_mean = refusal.did_you_mean;
        problem
    }
}

impl std::ops::Deref for Problem {
    type Target = Told;
    fn deref(&self) -> &Told {
        &self.0
    }
}

impl std::ops::DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.0
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

/// All reasons of the core, so that a word read from an answer finds its exit code.
const CODES: [Code; 29] = [
    Code::BadRequest,
    Code::TodoNotFound,
    Code::DeviceNotFound,
    Code::AgentNotFound,
    Code::ConflictNotFound,
    Code::SourceNotFound,
    Code::AmbiguousId,
    Code::KeyReused,
    Code::NothingToUndo,
    Code::AlreadyEnded,
    Code::NotThisDevice,
    Code::Storage,
    Code::Unreachable,
    Code::TimedOut,
    Code::AlreadyPaired,
    Code::BadTicket,
    Code::TicketSpent,
    Code::PairMismatch,
    Code::BadCode,
    Code::CodeNotFound,
    Code::CodeSpent,
    Code::CodeExpired,
    Code::PairIntercepted,
    Code::WindowClosed,
    Code::Busy,
    Code::NotImplemented,
    Code::NotPermitted,
    Code::NotInitialised,
    Code::DaemonDown,
];

fn title(code: &str) -> Option<&'static str> {
    Some(match code {
        "todo-not-found" => "No such todo",
        "device-not-found" => "No such device",
        "agent-not-found" => "No such agent",
        "session-not-found" => "No such session",
        "conflict-not-found" => "No such conflict",
        "route-not-found" => "No such route",
        "key-reused" => "This key was for something else",
        "ambiguous-id" => "Several names begin like that",
        "method-not-allowed" => "Not with this method",
        "foreign-host" => "Not under this name",
        "foreign-page" => "Not for web pages",
        "socket-only" => "Only on the control socket",
        "storage" => "It could not be written",
        "timed-out" => "No answer in time",
        _ => return None,
    })
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_shape_of_rfc_9457_and_reads_back() {
        let refusal = Refusal {
            did_you_mean: vec!["mac-mini".into()],
            ..Refusal::new(Code::DeviceNotFound, "This replica knows no device “mac-min”.").fix("hubless devices")
        };
        let problem = Problem::from(refusal).at("/api/v3/devices/mac-min");
        let body = problem.to_json();
        let expected = json!({
            "type": "urn:hubless:problem:device-not-found", "title": "No such device", "status": 404,
            "detail": "This replica knows no device “mac-min”.", "instance": "/api/v3/devices/mac-min",
            "code": "device-not-found", "fix": "hubless devices", "didYouMean": ["mac-mini"],
        });
        assert_eq!(body, expected);
        assert_eq!(Problem::from_json(404, &body), problem);
    }

    #[test]
    fn the_routes_of_the_replaced_systems_say_error() {
        let missing = Problem::bare(400, "Missing required param: device");
        assert_eq!(missing.to_json(), json!({"error": "Missing required param: device"}));
        let read = Problem::from_json(400, &missing.to_json());
        assert_eq!((read.detail.as_str(), read.exit()), ("Missing required param: device", 2));
    }

    #[test]
    fn every_reason_of_the_core_keeps_its_exit_code() {
        for code in CODES {
            assert_eq!(Problem::of(code, "x").exit(), code.exit(), "{}", code.word());
        }
        assert_eq!(Problem::missing("session-not-found", "x").exit(), 3);
        assert_eq!(Problem::new(405, "method-not-allowed", "x").title(), "Not with this method");
        assert_eq!(Problem::new(413, "too-large", "x").title(), "Too large");
    }
}
