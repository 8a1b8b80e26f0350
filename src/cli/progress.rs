//! That something goes on: one line on stderr, from the first second on, that is wiped when it is over. For a person alone; in a
//! pipe, a log or a dumb terminal nothing is drawn.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::globals::Globals;
use super::{ages, output};

/// What takes less is not worth a word.
const AFTER: Duration = Duration::from_secs(1);
/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(120);
const TURNS: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// The line.
pub(crate) struct Progress<'w> {
    what: &'w str,
    begun: Instant,
    turn: usize,
    wanted: bool,
    drawn: bool,
}

impl<'w> Progress<'w> {
    /// Begins to count; nothing is drawn yet.
    pub(crate) fn of(globals: &Globals, what: &'w str) -> Progress<'w> {
        let wanted = !globals.quiet && !output::is_dumb() && std::io::stderr().is_terminal();
        Progress { what, begun: Instant::now(), turn: 0, wanted, drawn: false }
    }

    /// Draws it once it has taken long enough. `more` is what is known besides.
    pub(crate) fn turn(&mut self, more: &str) {
        let took = self.begun.elapsed();
        if self.wanted && took >= AFTER {
            self.drawn = true;
            self.turn += 1;
            let age = ages::span(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
            write(&format!("\r{} {} … {age}{more}\x1b[K", TURNS[self.turn % TURNS.len()], self.what));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.drawn {
            write("\r\x1b[K");
        }
    }
}

/// A terminal that is gone is no reason to stop.
fn write(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Waits for something and shows that it does.
pub(crate) async fn shown<T>(globals: &Globals, what: &str, wanted: impl Future<Output = T>) -> T {
    let mut progress = Progress::of(globals, what);
    let mut wanted = std::pin::pin!(wanted);
    loop {
        tokio::select! {
            biased;
            done = &mut wanted => return done,
            () = tokio::time::sleep(EVERY) => progress.turn(""),
        }
    }
}

/// Works, and shows meanwhile that it does: for what keeps this thread busy.
pub(crate) fn during<T>(globals: &Globals, what: &str, work: impl FnOnce() -> T) -> T {
    let mut progress = Progress::of(globals, what);
    if !progress.wanted {
        return work();
    }
    std::thread::scope(|scope| {
        // Dropped when the work is over, however it ends.
        let (_working, over) = std::sync::mpsc::sync_channel::<()>(0);
        scope.spawn(move || {
            while over.recv_timeout(EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                progress.turn("");
            }
        });
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_comes_through_and_a_pipe_sees_nothing() {
        let slow = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            7
        };
        assert_eq!(shown(&Globals::default(), "waiting", slow).await, 7);
        let mut quiet = Progress::of(&Globals { quiet: true, ..Globals::default() }, "x");
        tokio::time::sleep(AFTER).await;
        quiet.turn("");
        assert!(!quiet.drawn);
    }

    #[test]
    fn work_comes_through_and_its_line_ends_with_it() {
        assert_eq!(during(&Globals::default(), "working", || 7), 7);
        let broken = std::panic::catch_unwind(|| during(&Globals::default(), "working", || panic!("broken")));
        assert!(broken.is_err(), "and does not hang");
    }
}
