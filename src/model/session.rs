//! Sessions: one run of an agent each.

use serde::{Deserialize, Serialize};

use super::id::{DeviceId, SessionId};
use super::text::Foreign;

/// The name of a session: the same run is the same session wherever its file is read.
#[must_use]
pub fn session_id(device: &DeviceId, tool: &str, tool_session: &str) -> SessionId {
    SessionId::of(&[&device.0, tool.as_bytes(), tool_session.as_bytes()])
}

/// `session/<id>`, latest, by its device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionFact {
    /// Revision; the highest (rev, bytes) counts.
    pub rev: u64,
    /// Where it runs.
    pub device: DeviceId,
    /// `claude`, `codex`, `pi`, …, `custom`.
    pub tool: String,
    /// The tool's own id of it.
    pub tool_session: Foreign,
    /// Who works in it.
    pub agent: Foreign,
    /// Its project's key; the first one known stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Foreign>,
    /// Its git branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Foreign>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Foreign>,
    /// When it began, as far as is known, milliseconds since 1970.
    pub started: i64,
}

/// `end/<session>/<unique>`, once: it is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndFact {
    /// `done`, `failed`, `inferred`, or the tool's own word.
    pub outcome: Foreign,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Foreign>,
    /// When, milliseconds since 1970.
    pub at: i64,
}
