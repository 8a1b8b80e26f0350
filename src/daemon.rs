//! The only wiring.

pub mod clock;
pub mod logs;
pub mod notes;
pub mod shutdown;
