//! `open`: the page in the browser. Where no browser can be seen (over SSH, without a display) its address is printed instead.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::begin::page_url;
use super::context::Context;
use super::output::remark;
use super::problem::Trouble;

/// How long an opener may take to fail; one that still runs then is the browser itself.
const FAILS_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `hubless open`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hubless open\n  curl -s \"$(hubless open --print)\" | less")]
pub(crate) struct Open {
    /// Print the page's address and open nothing
    #[arg(long)]
    print: bool,
}

impl Open {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        if context.ask_daemon("/api/v3/glance")?.is_none() {
            let cause = format!("nothing answers on {}; only a running daemon serves the page", context.config.home.socket().display());
            return Err(Trouble::down(cause).into());
        }
        let Some(url) = page_url(context) else {
            let trouble = Trouble::new("no-page", 1, "the daemon serves no page").because("its port was taken when it started");
            return Err(trouble.fix("hubless doctor").into());
        };
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let far = is_set("SSH_CONNECTION") || is_set("SSH_TTY");
        let blind = cfg!(not(target_os = "macos")) && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY");
        let opened = !self.print && !far && !blind && opens(&url);
        if !self.print && !opened && !context.out.quiet && !context.out.is_data() {
            let port = url.trim_end_matches("/sync").rsplit(':').next().unwrap_or_default();
            remark(&match (far, blind) {
                (true, _) => format!("from the machine in front of you:  ssh -L {port}:127.0.0.1:{port} HOST   then open"),
                (false, true) => "there is no display here; open".to_owned(),
                (false, false) => "no browser could be started; open".to_owned(),
            });
        }
        let line = if opened { format!("✓ opened {url}") } else { url.clone() };
        context.out.done(json!({"url": url, "opened": opened}), &line)
    }
}

/// Hands the address to the system. In a group of its own, so that closing this terminal closes no browser.
fn opens(url: &str) -> bool {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || Stdio::null();
    let child = Command::new(opener).arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).process_group(0).spawn();
    let Ok(mut child) = child else { return false };
    for _ in 0..FAILS_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(LOOK_EVERY),
            Err(_) => return false,
        }
    }
    true
}
