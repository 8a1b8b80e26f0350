//! Two or three replicas that talk in memory, frame by frame: what a hostile reading of the core suspected, held as tests.

mod asking;
mod files;
mod fleet;
mod holes;
mod links;
mod node;
mod versions;

pub(super) use node::{Node, frame, inject, now, pair, said, talk, up};
