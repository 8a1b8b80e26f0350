//! Bytes of the tools' files become nouns: pure, one file for each format.

pub mod claude;
pub mod claude_process;
pub mod claude_tasks;
pub mod claude_todos;
mod escapes;
pub mod files;
pub mod run;
pub mod tail;
