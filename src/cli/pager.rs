//! What is longer than the terminal is high goes through a pager: `$PAGER`, else `less -FRX`. Only for a person in front of a
//! terminal; a pager that is not there, or `PAGER=cat`, changes nothing.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use tokio::signal::unix::{SignalKind, signal};

use super::context::block_on;
use super::output::{is_dumb, print, terminal_height};

/// Prints, by way of the pager when it is long.
pub(crate) fn show(text: &str) -> anyhow::Result<()> {
    let is_long = !is_dumb() && text.lines().count() >= terminal_height();
    match is_long.then(start).flatten() {
        Some(pager) => paged(pager, text),
        None => print(text),
    }
}

/// The person's pager, by a shell, since it may have flags.
fn start() -> Option<Child> {
    let said = std::env::var("PAGER").unwrap_or_else(|_| "less -FRX".to_owned());
    let is_none = matches!(said.trim(), "" | "cat");
    if is_none || !is_there(&said) {
        return None;
    }
    Command::new("sh").args(["-c", &format!("exec {said}")]).stdin(Stdio::piped()).spawn().ok()
}

fn is_there(pager: &str) -> bool {
    let word = pager.split_whitespace().next().unwrap_or_default();
    let looked = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", word]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    looked.is_ok_and(|status| status.success())
}

fn paged(mut pager: Child, text: &str) -> anyhow::Result<()> {
    block_on(async {
        // Ctrl-C is the pager's: without us it would be left with a terminal that the shell has, too.
        let _heard = signal(SignalKind::interrupt());
        if let Some(mut to) = pager.stdin.take() {
            // A person who leaves early has seen enough.
            let _ = to.write_all(text.as_bytes());
        }
        let _ = pager.wait();
    })
}
