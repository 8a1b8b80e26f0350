//! Who is a member: **a removed key never becomes one again, and who is removed lets nobody in afterwards.**
//!
//! The log is signed, linked by hashes and only grows; it alone decides. An entry counts by what stands among its
//! *ancestors* (the entries it names as parents, theirs, and so on), never by a clock, by the order of arrival or by how many
//! others there are:
//!
//! - Its ancestors begin with the fleet's genesis entry and with no other one, and are at most
//!   [`ANCESTORS_MAX`](crate::model::limits::ANCESTORS_MAX); else it is inert.
//! - A `remove` counts for ever once its signer was ever added among its ancestors, even if that signer is removed too. So
//!   mutual removals both apply.
//! - An `add` counts if its signer was let in by an entry that counts and is among its ancestors, and if every counted
//!   removal of that signer by another device names the `add` as ancestor: who removes a thief vouches for what it saw the
//!   thief do before, and for nothing else.
//!
//! The price: a thief can evict, never admit.

mod entries;
mod log;
mod told;

pub use entries::{NotAnEntry, add, genesis, remove};
pub use log::Log;
