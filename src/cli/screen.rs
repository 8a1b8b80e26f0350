//! A picture that is drawn over itself without flicker: one write for each, on the terminal's other screen, so that what stood
//! there before stands there again afterwards. A picture that is higher than the terminal is cut, and says so.

use std::io::Write;

use super::output::{self, Closed};

/// The other screen, no cursor, and long lines cut instead of folded: folding would move everything below.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All of it back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal's other screen, until it is dropped.
pub(crate) struct Screen {
    shown: bool,
}

impl Screen {
    /// Nothing is drawn yet.
    pub(crate) fn new() -> Screen {
        Screen { shown: false }
    }

    /// Draws over what was there.
    ///
    /// # Errors
    /// [`Closed`] when the terminal is gone.
    pub(crate) fn draw(&mut self, text: &str) -> anyhow::Result<()> {
        let enter = if self.shown { "" } else { ENTER };
        self.shown = true;
        write(&format!("{enter}{}", frame(text, output::terminal_height())))
    }

    /// Gives the screen back; the next drawing takes it again.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.shown) {
            // A terminal that is gone needs nothing back.
            let _ = write(LEAVE);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// From the upper left corner on, each line cleared behind its end, and all that is below.
fn frame(text: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = if lines.len() > height { height.saturating_sub(1) } else { height };
    let mut shown: Vec<String> = lines.iter().take(room).map(|line| (*line).to_owned()).collect();
    if lines.len() > room {
        shown.push(format!("… {} more", lines.len() - room));
    }
    // Taken as one by terminals that know of it (DEC mode 2026), passed over by others.
    format!("\x1b[?2026h\x1b[H{}\x1b[K\x1b[J\x1b[?2026l", shown.join("\x1b[K\r\n"))
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|_| Closed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_one_write_that_never_clears_the_whole_screen() {
        let drawn = frame("a\nb\n", 24);
        assert_eq!(drawn, "\x1b[?2026h\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J\x1b[?2026l");
        assert!(!drawn.contains("\x1b[2J"), "that would flicker");
    }

    #[test]
    fn a_picture_that_is_too_high_says_so_and_does_not_scroll() {
        let text: String = (0..50).map(|n| format!("{n}\n")).collect();
        let drawn = frame(&text, 10);
        assert_eq!(drawn.matches("\r\n").count(), 9, "ten lines");
        assert!(drawn.contains("8\x1b[K\r\n… 41 more"), "{drawn}");
        assert!(!frame(&text, 50).contains('…'));
    }
}
