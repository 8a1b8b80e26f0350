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
    // A line that cannot be written is lost. To say so on stderr, as it would by itself, panics where that is gone or full, too.
    let lines = lines.log_internal_errors(false);
    match log.format.value {
        LogFormat::Text => Box::new(lines.with_target(false).finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Setting, Source};
    use crate::daemon::notes;
    use crate::model::effects::Note;
    use std::fs;

    fn log(format: LogFormat, level: Level) -> Log {
        fn by_default<T>(value: T) -> Setting<T> {
            Setting { value, source: Source::Default }
        }
        Log { format: by_default(format), level: by_default(level), max_size: by_default(600), max_files: by_default(2) }
    }

    /// What stands in the newest file after `talk`.
    fn written(log: &Log, talk: impl FnOnce()) -> String {
        let dir = tempfile::tempdir().expect("dir");
        let file = Rotating::open(dir.path(), log.max_size.value, log.max_files.value).expect("opened");
        tracing::subscriber::with_default(subscriber(log, Mutex::new(file), false), talk);
        fs::read_to_string(dir.path().join("hubless.log")).expect("read")
    }

    #[test]
    fn a_line_of_text_has_the_phrase_and_a_line_of_json_is_json() {
        let note = || notes::log(&Note::NotSeen { device: "mac-mini".to_owned(), for_ms: 7_200_000 });
        let text = written(&log(LogFormat::Text, Level::INFO), note);
        assert!(text.contains(" WARN mac-mini not seen for 2h device=\"mac-mini\" for_ms=7200000\n"), "{text}");
        let json = written(&log(LogFormat::Json, Level::INFO), note);
        let json: serde_json::Value = serde_json::from_str(&json).expect("one object a line");
        assert_eq!(
            (&json["message"], &json["device"], &json["level"]),
            (&"mac-mini not seen for 2h".into(), &"mac-mini".into(), &"WARN".into())
        );
    }

    #[test]
    fn levels_count_for_us_and_the_libraries_only_warn() {
        let talk = || {
            tracing::debug!("our detail");
            tracing::info!(target: "libp2p_swarm", "their chatter");
            tracing::warn!(target: "libp2p_swarm", "their warning");
        };
        let text = written(&log(LogFormat::Text, Level::DEBUG), talk);
        assert!(text.contains("our detail") && text.contains("their warning") && !text.contains("their chatter"), "{text}");
        assert!(!written(&log(LogFormat::Text, Level::INFO), talk).contains("our detail"));
    }

    #[test]
    fn a_log_that_grows_is_rotated_and_its_lines_stay_whole() {
        let text = written(&log(LogFormat::Json, Level::INFO), || {
            for directories in 0..50 {
                notes::log(&Note::Watching { directories });
            }
        });
        assert!(text.len() <= 600 && text.contains("watching 49 directories"), "{text}");
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    }
}
