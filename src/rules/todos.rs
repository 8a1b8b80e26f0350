//! Completed work never becomes undone, and nothing that was said is lost: a todo's (round, rank) only ever rises.
//!
//! *Place first, then state.* An item's place is its project and its text; a todo is the group of items at one place. A fact
//! counts for the todo it names and for every todo that now holds one of its items, so that learning a project, an alias or
//! an edit moves items without losing what was done to them (DESIGN §5). Facts come in through [`Todos::learn`] in any
//! order, any number of times; nothing depends on that order, on this device, or on a clock.

mod conflicts;
pub mod deeds;
mod facts;
mod history;
mod known;
mod naming;
mod places;
#[cfg(test)]
mod raw;
pub mod reading;
mod state;
mod undo;
#[cfg(test)]
mod world;

pub use known::{Found, Settled, Todos};
