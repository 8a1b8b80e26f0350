//! Signals become one token. The first asks everybody to stop and to finish what they keep; the second ends the process on
//! the spot, for a person who will not wait.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a shell expects of a program that was interrupted (INTERFACE §2.4).
pub const INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first SIGINT or SIGTERM; a second one ends the process with [`INTERRUPTED`]. SIGHUP, which
/// a closing terminal sends, is one of them too, unless the daemon is `detached` from it: then it means nothing.
///
/// The task that listens belongs to no tracker that anybody waits for: it has to outlive the stopping it watches over.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// When the system does not let signals be handled.
pub fn on_signals(detached: bool) -> io::Result<CancellationToken> {
    let (sender, receiver) = mpsc::channel(2);
    let tasks = TaskTracker::new();
    for (kind, counts) in [(SignalKind::interrupt(), true), (SignalKind::terminate(), true), (SignalKind::hangup(), !detached)] {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tasks.spawn(async move {
            while signals.recv().await.is_some() {
                if counts && sender.send(()).await.is_err() {
                    return;
                }
            }
        });
    }
    let stop = CancellationToken::new();
    tasks.spawn(obey(receiver, stop.clone(), || std::process::exit(INTERRUPTED)));
    Ok(stop)
}

/// The first signal stops, the second aborts.
async fn obey(mut signals: mpsc::Receiver<()>, stop: CancellationToken, abort: impl FnOnce()) {
    if signals.recv().await.is_none() {
        return;
    }
    stop.cancel();
    if signals.recv().await.is_some() {
        abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn the_first_signal_stops_and_only_the_second_aborts() {
        let (sender, receiver) = mpsc::channel(2);
        let (stop, aborted) = (CancellationToken::new(), AtomicBool::new(false));
        let obeying = obey(receiver, stop.clone(), || aborted.store(true, Ordering::SeqCst));
        let sending = async {
            assert!(!stop.is_cancelled());
            sender.send(()).await.expect("obeyed");
            stop.cancelled().await;
            assert!(!aborted.load(Ordering::SeqCst), "one is not two");
            sender.send(()).await.expect("still listening");
        };
        tokio::join!(obeying, sending);
        assert!(aborted.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_real_signal_stops_and_a_hangup_of_a_detached_daemon_does_not() {
        let stop = on_signals(true).expect("signals can be handled");
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::HUP).expect("sent");
        assert!(tokio::time::timeout(Duration::from_millis(100), stop.cancelled()).await.is_err(), "a closing terminal is nothing");
        rustix::process::kill_process(me, rustix::process::Signal::TERM).expect("sent");
        tokio::time::timeout(Duration::from_secs(5), stop.cancelled()).await.expect("stopped");
    }
}
