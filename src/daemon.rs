//! The only wiring: opens what is kept, starts the pillars, runs the loop, and ends all of it in the order of its spring.
//!
//! The loop owns the one `Replica` on a thread of its own. Readers get an `Arc<View>` through a watch; nobody shares a lock.

pub mod clock;
pub mod logs;
pub mod notes;
pub mod offline;
pub mod shutdown;

mod error;
mod identity;
mod mirror;
mod perform;
mod turns;
mod watchdog;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::Error;

use crate::config::Config;
use crate::model::id::DeviceId;
use crate::model::limits::INBOX_MAX;
use crate::network::identity as keys;
use crate::store::Store;
use crate::{api, network, sources};

/// How long everything has to end after it was told to.
const END_WITHIN: Duration = Duration::from_secs(3);

/// While it lives, what this process makes is its user's alone, whatever was inherited.
struct OursAlone(rustix::fs::Mode);

impl OursAlone {
    fn begin() -> OursAlone {
        OursAlone(rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077)))
    }
}

impl Drop for OursAlone {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

/// Makes the data directory and the identity when there are none.
///
/// # Errors
/// The data directory cannot be made or is not ours.
pub fn init(config: &Config) -> Result<DeviceId, Error> {
    let _alone = OursAlone::begin();
    let store = match Store::open(&config.store_options()) {
        Ok(store) => Some(store),
        // A daemon runs; then there is an identity.
        Err(crate::store::Error::Locked { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let key = keys::load_or_make(&config.home.data_dir)?;
    drop(store);
    Ok(key.device())
}

/// Makes this data directory a new device with a new key, alone in a new fleet; everything else in it stays. Who it was and who it
/// is now.
///
/// # Errors
/// A daemon runs, or the key cannot be put away.
pub fn rekey(config: &Config) -> Result<(Option<DeviceId>, DeviceId), Error> {
    let _alone = OursAlone::begin();
    let store = Store::open(&config.store_options())?;
    let before = keys::retire(&config.home.data_dir)?;
    let key = keys::load_or_make(&config.home.data_dir)?;
    drop(store);
    Ok((before, key.device()))
}

/// Runs until `stop` is done and everything has ended.
///
/// # Errors
/// Something could not be started. What happens later is said in the log and the view, and mended when it can be.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), Error> {
    for complaint in &config.agents.complaints {
        tracing::warn!("{complaint}");
    }
    let store = Store::open(&config.store_options())?;
    identity::check_fleet(&config.home.data_dir, &store)?;
    let key = keys::load_or_make(&config.home.data_dir)?;
    let (inbox, events) = mpsc::channel(INBOX_MAX);
    let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
    // However this ends, nothing that was started goes on.
    let _all_end = token.clone().drop_guard();
    let (turns, first) = turns::Turns::open(identity::of(&config, &key), config.store_options(), store)?;
    let (show, view) = watch::channel(turns.view());
    let watchdog = watchdog::Watchdog::new(inbox.clone(), turns.count(), &config.home.run_dir);
    let fleet = turns.fleet();
    mirror::start(&config.files, view.clone(), inbox.clone(), &tasks, token.clone());
    let api = api::start(config.api_options(), inbox.clone(), view, clock::wall_ms, &tasks, token.clone()).await?;
    if let Some(trouble) = api.trouble() {
        tracing::error!(reason = %trouble, "the page is not served; everything else works");
    }
    let hands = perform::Hands {
        network: network::start(config.network_options(clock::wall_ms), key, fleet, inbox.clone(), &tasks, token.clone())?,
        sources: sources::start(config.sources_options(), inbox, &tasks, token.clone())?,
        api: Arc::new(api),
        show,
    };
    let (stopping, ended) = (CancellationToken::new(), CancellationToken::new());
    let (stop_turns, turns_ended) = (stopping.clone(), ended.clone());
    let handle = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("turns".into()).spawn(move || {
        let _ended = turns_ended.drop_guard();
        handle.block_on(turns.run(first, hands, events, stop_turns));
    });
    thread.map_err(Error::Thread)?;
    tasks.spawn(watchdog.tell(token.clone()));
    let broke = tokio::select! {
        () = stop => false,
        () = ended.cancelled() => true,
    };
    if broke {
        tracing::error!("the loop ended by itself");
    }
    watchdog::stopping();
    stopping.cancel();
    let _ = tokio::time::timeout(END_WITHIN, ended.cancelled()).await;
    token.cancel();
    tasks.close();
    if tokio::time::timeout(END_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    // A supervisor starts again what ended with an error.
    if broke { Err(Error::Broke) } else { Ok(()) }
}
