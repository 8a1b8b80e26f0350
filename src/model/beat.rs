//! Beats: the latest report of one agent in one session.

use serde::{Deserialize, Serialize};

use super::id::{DeviceId, SessionId};
use super::text::Foreign;

/// What an agent says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reported {
    /// It works.
    Working,
    /// It waits for a person.
    Waiting,
    /// Its turn ended.
    Idle,
    /// Its activity ended.
    Done,
    /// Its activity ended with an error.
    Failed,
}

impl Reported {
    /// The word that facts and answers use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Reported::Working => "working",
            Reported::Waiting => "waiting",
            Reported::Idle => "idle",
            Reported::Done => "done",
            Reported::Failed => "failed",
        }
    }

    /// Reads the word, the replaced systems' `active` and `offline` among them.
    #[must_use]
    pub fn parse(word: &str) -> Option<Reported> {
        match word.to_ascii_lowercase().as_str() {
            "working" | "active" | "busy" => Some(Reported::Working),
            "waiting" | "needs input" | "needs_input" | "blocked" => Some(Reported::Waiting),
            "idle" => Some(Reported::Idle),
            "done" | "offline" | "completed" => Some(Reported::Done),
            "failed" | "error" => Some(Reported::Failed),
            _ => None,
        }
    }

    /// Whether signs of life are expected after it.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Reported::Working | Reported::Waiting | Reported::Idle)
    }
}

/// The key of an agent: its name in lower case, trimmed and collapsed, so that case never makes two of one.
#[must_use]
pub fn agent_key(name: &Foreign) -> String {
    name.normalised().to_lowercase()
}

/// `beat/<session>/<agent key>`, latest, by its device; and what presence frames carry between transitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    /// Revision; the highest (rev, bytes) counts.
    pub rev: u64,
    /// Where the agent works.
    pub device: DeviceId,
    /// Its name as it was last written.
    pub agent: Foreign,
    /// The run it works in.
    pub session: SessionId,
    /// What it says of itself.
    pub state: Reported,
    /// What it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Foreign>,
    /// The file it has open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Foreign>,
    /// A message to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Foreign>,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What a report carried beside: `hostname`, `workingDirectory`, `gitBranch`, … as JSON text of one object, at most
    /// `limits::METADATA_BYTES_MAX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Foreign>,
    /// What was counted in the session so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<super::session::Counts>,
    /// The device name that a report gave, when it is not this device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_device: Option<Foreign>,
    /// Who says so: `cli`, `api`, `hook`, `file`.
    pub source: String,
    /// How often it means to beat, seconds.
    pub interval_s: u32,
    /// When its task or state last changed, milliseconds since 1970.
    pub since: i64,
    /// When it was reported, by its device's wall clock, milliseconds since 1970.
    pub at: i64,
}
