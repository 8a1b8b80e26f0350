//! tmp
use crate::ingest::claude_todos::Malformed;
use crate::model::beat::Reported;
/// A process of Claude Code that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The session.
    pub session: String,
    /// Where.
    pub cwd: Option<String>,
    /// When it began, milliseconds since 1970.
    pub started: Option<i64>,
    /// When its process began, in the system's words.
    pub proc_start: Option<String>,
    /// What it says of itself.
    pub status: Option<Reported>,
    /// Its name.
    pub name: Option<String>,
    /// When it last said so.
    pub updated: Option<i64>,
}
/// Reads.
///
/// # Errors
/// Malformed.
pub fn parse(_bytes: &[u8]) -> Result<Process, Malformed> {
    Err(Malformed { why: "tmp" })
}
