//! Bytes of the tools' files become nouns: pure, one file for each format.

pub mod claude;
mod claude_calls;
pub mod claude_process;
mod claude_record;
pub mod claude_tasks;
pub mod claude_todos;
pub mod codex;
mod codex_record;
mod escapes;
pub mod files;
pub mod gemini;
#[cfg(test)]
mod laws;
mod loose;
pub mod openclaw;
pub mod opencode;
pub mod opencode_rows;
pub mod pi;
pub mod run;
mod salvage;
pub mod tail;
