//! Tags given by hand, in the same words to a todo and to a session.

use clap::Args;
use serde_json::{Value, json};

use super::context::{Context, percent};

/// Which tags, whether they go or come, and who says so.
#[derive(Debug, Args)]
pub(super) struct Tagging {
    /// The tags
    #[arg(required = true, value_name = "TAG")]
    tags: Vec<String>,
    /// Takes them away
    #[arg(long)]
    remove: bool,
    /// The agent that does it
    #[arg(long = "as", value_name = "NAME")]
    agent: Option<String>,
}

impl Tagging {
    /// Tells the daemon, of one of `kind` (`todos`, `sessions`); gives what it is now, and what was done to it.
    ///
    /// # Errors
    /// What the daemon refuses, or that there is none.
    pub(super) fn tell(&self, context: &Context, kind: &str, id: &str) -> anyhow::Result<(Value, &'static str)> {
        let (deed, what) = if self.remove { ("untag", "untagged") } else { ("tag", "tagged") };
        let path = format!("/api/v3/{kind}/{}/{deed}", percent(id));
        Ok((context.tell_as(self.agent.as_deref(), &path, &json!({"tags": self.tags}))?, what))
    }
}
