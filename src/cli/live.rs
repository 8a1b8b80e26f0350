//! What goes on until somebody ends it: by Ctrl-C, by a signal, or by closing the pipe it writes into. The last is noticed
//! within moments although nothing is written, so that `hubless watch | head -1` leaves no process behind.
//!
//! A stream of events outlives its daemon: it is opened anew until one answers.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::output;
use crate::api::client::{Client, Error, Event, Events};

/// The exit code of what was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;
/// How often it is looked whether somebody still reads.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A daemon says every 10 s that it lives; one that has not for so long does not.
const SILENT: Duration = Duration::from_secs(25);

/// The ways in which such a command ends.
pub(crate) struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    /// From here on Ctrl-C does not kill; it is heard.
    pub(crate) fn heard() -> anyhow::Result<Ends> {
        let of = |kind| signal(kind).context("signals cannot be heard");
        Ok(Ends { interrupt: of(SignalKind::interrupt())?, terminate: of(SignalKind::terminate())?, hang_up: of(SignalKind::hangup())? })
    }

    /// Waits for the end; returns the exit code. May be dropped and called again.
    pub(crate) async fn come(&mut self) -> u8 {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return INTERRUPTED,
                _ = self.terminate.recv() => return INTERRUPTED,
                _ = self.hang_up.recv() => return INTERRUPTED,
                _ = looks.tick() => if output::is_reader_gone() { return 0 },
            }
        }
    }
}

/// What a stream has to say.
pub(crate) enum Heard {
    /// Something happened.
    Event(Event),
    /// The stream is over; `true` when the daemon said good-bye before.
    Over(bool),
}

/// The daemon's stream of events, from the last event that was taken on.
pub(crate) struct Stream {
    client: Client,
    events: Option<Events>,
    last: Option<String>,
    bye: bool,
}

impl Stream {
    /// A stream that is not open yet; `after` is the id of the last event that is known.
    pub(crate) fn new(client: Client, after: Option<String>) -> Stream {
        Stream { client, events: None, last: after, bye: false }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.events.is_some()
    }

    /// Opens it.
    pub(crate) async fn open(&mut self) -> Result<(), Error> {
        self.events = Some(self.client.events(self.last.as_deref()).await?);
        self.bye = false;
        Ok(())
    }

    /// The next event that counts (a tick only shows that the daemon lives); for ever nothing when it is not open. May be
    /// dropped and called again: nothing is lost.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let Some(events) = &mut self.events else { return std::future::pending().await };
            let Ok(Some(event)) = timeout(SILENT, events.next()).await else {
                self.events = None;
                return Heard::Over(self.bye);
            };
            if !event.id.is_empty() {
                self.last = Some(event.id.clone());
            }
            match event.kind.as_str() {
                "tick" => {}
                "bye" => self.bye = true,
                _ => return Heard::Event(event),
            }
        }
    }
}
