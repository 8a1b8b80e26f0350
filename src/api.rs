//! One router, two doors: loopback TCP reads, the unix socket takes everything. The only home of axum.
//!
//! Both ends live here, the doors and the command line's [`client`], so that they cannot drift apart. What may come in is decided
//! by the listener (`doorman`), before any route is looked for; what goes out is one JSON contract ([`reads`]), the same for both
//! doors, the events and a command line without a daemon. A write is a question to the core (`desk`), answered after it was
//! kept.

mod body;
pub mod client;
mod compat;
mod contract;
mod desk;
mod doorman;
mod events;
#[cfg(test)]
mod fixture;
mod fleet;
mod imports;
mod listen;
mod metrics;
mod openapi;
mod page;
pub mod problem;
pub mod reads;
mod respond;
mod routes;
pub mod spool;
mod stream;
mod strips;
mod syncing;
mod webhook;
mod writes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use listen::Error;

use crate::model::id::Asker;
use crate::model::input::Input;
use crate::model::reply::Reply;
use crate::model::view::View;

/// What the doors need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The port on 127.0.0.1 and `[::1]`; 4825 unless settings say otherwise, 0 for any free one.
    pub http_port: u16,
    /// Where `ctl.sock` and `http.json` stand; made with mode 0700 when it is not there.
    pub run_dir: PathBuf,
    /// The computer from which another program copies a source here, by the source's word.
    pub computers: BTreeMap<String, String>,
    /// Where reports wait that nobody could take ([`spool`]).
    pub spool_dir: PathBuf,
}

/// The doors, open.
pub struct Api {
    desk: Arc<desk::Desk>,
    url: Option<String>,
    trouble: Option<Error>,
}

/// Opens both doors and returns at once; they close when `stop` is cancelled, and every task of theirs is on `tasks`.
///
/// The control socket is the door that counts: when the HTTP port is taken, the rest works, and [`Api::trouble`] says what is
/// wrong. `clock` gives milliseconds since 1970; `view` is what the answers are read from.
///
/// # Errors
/// When the control socket cannot be opened: a living daemon has it, or its directory is open to others or cannot be written.
pub async fn start(
    options: Options,
    inbox: mpsc::Sender<Input>,
    view: watch::Receiver<Arc<View>>,
    clock: fn() -> i64,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<Api, Error> {
    let (socket, socket_path) = listen::socket(&options.run_dir).await?;
    let mut left_behind = vec![listen::Made::at(socket_path.clone())];
    // What a dead daemon left would send people to somebody else's port.
    drop(std::fs::remove_file(options.run_dir.join("http.json")));
    let (loopback, url, trouble) = match listen::loopback(options.http_port).await {
        Ok((listeners, port)) => {
            let url = format!("http://127.0.0.1:{port}");
            left_behind.push(listen::Made::at(listen::write_address(&options.run_dir, &url)?));
            (listeners, Some(url), None)
        }
        Err(trouble) => (Vec::new(), None, Some(trouble)),
    };
    let line = trouble.as_ref().map(|trouble| format!("{}: {trouble}", trouble.code()));
    let mut desk = desk::Desk::new(inbox, view, clock, socket_path.display().to_string(), line, (tasks.clone(), stop.clone()));
    desk.computers = options.computers;
    let desk = Arc::new(desk);
    tasks.spawn(events::follow(desk.clone(), stop.clone()));
    let app = routes::router(desk.clone(), doorman::Door::Socket);
    tasks.spawn(listen::serve_socket(socket, app, desk.clone()));
    tasks.spawn(spool::follow(desk.clone(), options.spool_dir));
    let room = listen::room();
    for listener in loopback {
        let app = routes::router(desk.clone(), doorman::Door::Loopback);
        tasks.spawn(listen::serve_loopback(listener, app, desk.clone(), room.clone()));
    }
    tasks.spawn(async move {
        stop.cancelled().await;
        left_behind.iter().for_each(listen::Made::put_away);
    });
    Ok(Api { desk, url, trouble })
}

impl Api {
    /// Hands an answer of the core to whoever asked; one that nobody waits for any more is dropped.
    pub fn reply(&self, asker: Asker, reply: Reply) {
        self.desk.reply(asker, reply);
    }

    /// The page's address without a path: `http://127.0.0.1:4825`; `None` while the port is taken.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Why there is no page, when there is none.
    #[must_use]
    pub fn trouble(&self) -> Option<&Error> {
        self.trouble.as_ref()
    }
}
