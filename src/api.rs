//! One router, two doors: loopback TCP reads, the unix socket takes everything. The only home of axum.
//!
//! Both ends live here, the doors and the command line's `client`, so that they cannot drift apart. What may come in is decided
//! by the listener (`doorman`), before any route is looked for; what goes out is one JSON contract (`reads`), the same for both
//! doors, the events and a command line without a daemon. A write is a question to the core (`desk`), answered after it was
//! kept.

pub mod client;
mod doorman;
pub mod problem;
pub mod reads;
