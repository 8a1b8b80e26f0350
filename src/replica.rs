//! The documents and the conversations: what happened goes in, what is asked of the world comes out. Pure.
//!
//! A step of [`machine::Replica`] learns facts into the [`library`], whose [`document`]s are automerge's; what changed is
//! shown ([`showing`]) and told on each [`link`]. Whatever a stranger's bytes are, [`guard`] sees them first.

pub mod chunks;
pub mod dialing;
pub mod document;
pub mod epoch;
pub mod export;
pub mod facts;
mod filing;
pub mod following;
pub mod genesis;
pub mod guard;
pub mod library;
pub mod lineage;
pub mod link;
pub mod living;
pub mod machine;
pub mod pinging;
pub mod placing;
pub mod presence;
pub mod reading;
pub mod saved;
pub mod showing;
pub mod strange;

mod answers;
mod checking;
pub mod content;
mod duties;
mod flow;
mod gathering;
mod hearing;
mod identity;
mod joining;
mod lists;
mod mending;
mod naming;
mod parting;
mod places;
mod planting;
mod proving;
mod releasing;
mod righting;
mod runs;
#[cfg(test)]
mod samples;
mod saying;
mod seal;
mod shards;
pub mod silence;
mod staying;
mod tables;
mod tagging;
mod tally;
mod tidying;
mod waiting;
mod ways;
mod window;
mod writing;

pub use document::Damaged;
pub use identity::Identity;
pub use machine::Replica;
#[cfg(test)]
mod conversations;
#[cfg(test)]
mod thieves;
