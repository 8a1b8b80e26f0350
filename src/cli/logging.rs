//! One subscriber, set up once: lines for people or JSON for programs, on the terminal or in files that stay small. The only
//! home of tracing-subscriber.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Mutex;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};
use crate::daemon::logs::Rotating;

/// Where the log goes.
#[derive(Debug, Clone, Copy)]
pub enum To<'a> {
    /// The terminal that the daemon was started in.
    Stderr,
    /// Rotated files in this directory (`up --detach`).
    Files(&'a Path),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("the log in {dir} cannot be written: {why}")]
    File {
        /// Which directory.
        dir: String,
        /// In the system's words.
        why: io::Error,
    },
    /// There is one already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// Begins to log, for the rest of the process.
///
/// # Errors
/// When the log's file cannot be opened, or when somebody logs already.
pub fn start(log: &Log, to: To<'_>) -> Result<(), Error> {
    match to {
        To::Stderr => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            subscriber(log, io::stderr, colours).try_init()?;
        }
        To::Files(dir) => {
            let file = Rotating::open(dir, log.max_size.value, log.max_files.value)
                .map_err(|why| Error::File { dir: dir.display().to_string(), why })?;
            subscriber(log, Mutex::new(file), false).try_init()?;
        }
    }
    Ok(())
}

/// The libraries below us say only what is wrong: they repeat addresses and peers at every step, and nobody checked them for
/// content.
fn filter(level: Level) -> EnvFilter {
    EnvFilter::new(format!("warn,hubless={}", level.as_str().to_lowercase()))
}

fn subscriber<W>(log: &Log, writer: W, colours: bool) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter(log.level.value)).with_writer(writer).with_ansi(colours);
    match log.format.value {
        LogFormat::Text => Box::new(lines.with_target(false).finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish()),
    }
}
