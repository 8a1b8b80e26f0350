//! The documents and the conversations.

pub mod chunks;
pub mod genesis;
pub mod guard;
pub mod lineage;
#[cfg(test)]
mod samples;
