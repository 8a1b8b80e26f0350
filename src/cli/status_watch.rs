//! `status --watch`: the same picture, drawn anew when something happens and every second for its ages. Without a stream of
//! events (no daemon, or one that has too many readers) it is read again every two seconds, from disk if need be.

use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::context::{Context, remarks};
use super::live::{Ends, Heard, Stream};
use super::output::{Form, is_dumb, print};
use super::screen::Screen;
use super::status;
use crate::daemon::clock;

/// How often ages are drawn anew.
const AGES_EVERY: Duration = Duration::from_secs(1);
/// How often everything is read anew while no stream is open.
const READ_EVERY: Duration = Duration::from_secs(2);
/// What happens within so long is drawn at once.
const TOGETHER: Duration = Duration::from_millis(50);

/// Goes on until it is ended; returns the exit code.
pub(crate) async fn run(context: &Context, device: Option<&Value>) -> anyhow::Result<u8> {
    let mut ends = Ends::heard()?;
    let mut stopped = signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut stream = Stream::new(context.client(), None);
    let mut picture = Picture { screen: (context.out.form == Form::Table && !is_dumb()).then(Screen::new), last: String::new() };
    let mut envelope = status::read(context, device).await?;
    picture.draw(context, &envelope, true)?;
    loop {
        if !stream.is_open() {
            // What happened before it was open is read below.
            let _ = stream.open().await;
        }
        let is_new = tokio::select! {
            code = ends.come() => return Ok(code),
            heard = stream.next() => {
                if let Heard::Event(_) = heard {
                    drain(&mut stream).await;
                }
                true
            }
            () = tokio::time::sleep(READ_EVERY), if !stream.is_open() => true,
            () = tokio::time::sleep(AGES_EVERY), if picture.screen.is_some() => false,
            _ = resized.recv() => false,
            _ = stopped.recv() => {
                picture.stop();
                false
            }
        };
        if is_new {
            envelope = status::read(context, device).await?;
        }
        picture.draw(context, &envelope, is_new)?;
    }
}

/// Takes what comes at the same time as one.
async fn drain(stream: &mut Stream) {
    let more = async { while let Heard::Event(_) = stream.next().await {} };
    let _ = tokio::time::timeout(TOGETHER, more).await;
}

/// Where it is drawn: over itself, or where that cannot be, each one below the last.
struct Picture {
    screen: Option<Screen>,
    last: String,
}

impl Picture {
    fn draw(&mut self, context: &Context, envelope: &Value, is_new: bool) -> anyhow::Result<()> {
        let now_ms = clock::wall_ms();
        let beside = remarks(envelope, now_ms);
        let mut text = status::drawn(context.out, envelope, now_ms);
        text.extend(beside.iter().map(|line| format!("{line}\n")));
        match &mut self.screen {
            Some(screen) => screen.draw(&text),
            // Only the first one, and what differs in more than ages that every second changes.
            None if is_new && text != self.last => {
                let between = if self.last.is_empty() { "" } else { "\n" };
                let printed = print(&format!("{between}{text}"));
                self.last = text;
                printed
            }
            None => Ok(()),
        }
    }

    /// Ctrl-Z: the shell gets its screen, and the next picture takes it again.
    fn stop(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.leave();
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }
}
