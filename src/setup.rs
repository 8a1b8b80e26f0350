//! What hubless puts into other programs' settings, and takes out again: its own marked entries and nothing else.
//!
//! Deciding is pure: a settings file's text goes in, the new text comes out (`hooks`, `pi`), and putting in and taking
//! out are each other's inverse, byte for byte. Only `files` has hands: it reads, keeps a copy, and replaces the file whole or
//! not at all. Nothing here knows the daemon.

mod diff;
mod error;
mod files;
mod hooks;
mod outline;
mod pi;
mod plan;
mod service;
mod shell;
mod units;

pub use error::Error;
pub use hooks::{Tool, Version};
pub use plan::{Caller, Deed, Plan, Status, file, plan, status};
pub use service::{Manager, Renewed, Service, State};
pub use units::Start;
