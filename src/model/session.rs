//! Sessions: one run of an agent each.

use serde::{Deserialize, Serialize};

use super::id::{DeviceId, SessionId};
use super::text::Foreign;
use super::time::Stamp;
use super::todo::By;

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
    /// The session that it was forked from, or works for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// Whether it is a sub-agent's, working for its parent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub side: bool,
    /// When it began, as far as is known, milliseconds since 1970.
    pub started: i64,
}

/// What was counted in a session's own file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Counts {
    /// Lines that are records.
    pub records: u64,
    /// Lines that are not: damaged, or something else altogether.
    pub damaged: u64,
    /// What people typed.
    pub users: u64,
    /// What the model answered.
    pub assistants: u64,
    /// Tokens that went in, those read from a cache among them.
    pub tokens_in: u64,
    /// Tokens that came out.
    pub tokens_out: u64,
}

/// `end/<session>/<unique>`, once: it is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndFact {
    /// `done`, `failed`, `inferred`, or the tool's own word.
    pub outcome: Foreign,
    /// Who says so, where it is another than the agent of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Foreign>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Foreign>,
    /// What was counted in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// When, milliseconds since 1970.
    pub at: i64,
}

/// `tag/<session>/<unique>`, once: somebody's word that it has a tag, or has it no more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TagFact {
    /// The tag, in lower case.
    pub tag: Foreign,
    /// Whether it has it.
    pub on: bool,
    /// 1 + the highest that was known of this tag here.
    pub rev: u64,
    /// Who says so.
    pub by: By,
    /// When.
    pub at: Stamp,
}
