//! tmp
use crate::ingest::claude_todos::Malformed;
use crate::model::todo::Change;
/// Reads.
///
/// # Errors
/// Malformed.
pub fn parse(_stem: &str, _bytes: &[u8]) -> Result<Option<Change>, Malformed> {
    Err(Malformed { why: "tmp" })
}
/// Reads.
#[must_use]
pub fn high_mark(_bytes: &[u8]) -> Option<u64> {
    None
}
