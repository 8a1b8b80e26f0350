//! What the API promises, as data: every route with its doors, what it takes and what it answers.
//!
//! `/openapi.json` is written from here. Tests hold it against what is really answered, and against the routes that really
//! exist, so that it can promise neither more nor less; what was promised once is frozen in `docs/openapi.json`.

mod agents;
mod devices;
mod replaced;
mod routes;
mod shapes;
mod terms;

pub(crate) use routes::ROUTES;
pub(crate) use terms::{Answer, Doors, Kind, Method, Route, Shape};

/// All objects, ours first.
pub(crate) fn shapes() -> impl Iterator<Item = &'static Shape> {
    shapes::OURS.iter().chain(agents::AGENTS).chain(devices::DEVICES).chain(replaced::THEIRS)
}
