//! The only wiring.

pub mod clock;
pub mod logs;
pub mod notes;
pub mod offline;
pub mod shutdown;

use std::future::Future;

pub use offline::Error;

use crate::config::Config;
use crate::model::id::DeviceId;

/// Makes the data directory and the identity when there are none.
///
/// # Errors
/// The data directory cannot be made or is not ours.
pub fn init(_config: &Config) -> Result<DeviceId, Error> {
    Err(Error::NotYet)
}

/// Runs until `stop` is done and everything has ended.
///
/// # Errors
/// Something could not be started, or the store failed.
pub async fn run(_config: Config, _stop: impl Future<Output = ()>) -> Result<(), Error> {
    Err(Error::NotYet)
}
