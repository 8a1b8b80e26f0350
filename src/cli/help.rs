//! `help TOPIC`: what belongs to no single verb.

use clap::{Args, CommandFactory};

use super::output::print;
use super::problem::Trouble;
use super::verbs::Line;

/// `hubless help`.
#[derive(Debug, Args)]
pub(crate) struct Help {
    /// exit-codes, json, states, env, or a verb
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

impl Help {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let first = self.topic.first().map_or("", String::as_str);
        if let Some((_, text)) = TOPICS.iter().find(|(name, _)| *name == first) {
            return print(text);
        }
        let mut command = Line::command();
        command.build();
        for word in &self.topic {
            let found = command.find_subcommand(word).cloned();
            let what = || Trouble::usage(format!("there is no help on “{word}”"));
            let topics: Vec<&str> = TOPICS.iter().map(|(name, _)| *name).collect();
            command = found.ok_or_else(|| what().fix(format!("hubless help, or one of: {}", topics.join(", "))))?;
        }
        print(&format!("{}\n", command.render_long_help().to_string().trim_end()))
    }
}

/// The names of the topics.
pub(crate) fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|(name, _)| *name)
}

/// Name and text of each topic.
pub const TOPICS: [(&str, &str); 4] = [("exit-codes", EXIT_CODES), ("json", JSON), ("states", STATES), ("env", ENV)];

const EXIT_CODES: &str = "\x20 0  done
  1  failed
  2  wrong usage
  3  not found
  4  the daemon is needed and not reachable
  5  not initialised, not paired, or not permitted
  6  needs a person: an ambiguous id, a conflict
  7  a check says no: status --check, doctor
  8  timed out; a write may have been taken
  9  another daemon holds this data directory
 10  the data was written by a newer version
130  interrupted
beat … -- CMD ends as CMD does: its own code, 128 + n when signal n ended it, 126 and 127 when it cannot be run or is not there.
status --oneline says `down` and ends with 4 when no daemon runs.
";

const JSON: &str = "\
--json prints one envelope: {schema, asOf, source, device, total, truncated, next, warnings, data}.
  source     daemon, or disk when no daemon answered
  total      how many rows fit the question; truncated says whether some are missing, next brings them
  null       unknown, never 0
--jsonl prints the rows of data, one object a line. watch --jsonl goes on: {seq, id, type, at, data}, where data is what
  the route of its type shows, or {gone: true}; type resync says that something was missed and everything is to be read anew.
An error is one problem object (RFC 9457) on stderr, and stdout is empty; code is the word in brackets of the text form.
Fields may be added; none is removed or renamed without raising schema.
";

const STATES: &str = "\
◐ needs input  it waits for a person
✕ stale        its device can be reached, and it is silent for more than 5 min (or twice its interval)
● working      it reported that it works, and its beats arrive
● late         its beat is overdue by more than a minute
● stuck?       it works and beats, and has achieved nothing for 30 min
○ idle         its turn ended
✓ done         its activity ended
✗ failed       its activity ended with an error
? unknown      its device cannot be reached: what is shown is its last word
In a prompt (status --oneline): 1◐ 1✕ 1● 1○ 1? is how many of each, 1! a conflict, ⇅6s in step 6 s ago, ⇅… not in step yet,
⇅✕ no other device in reach.
In a pipe: NAME: active|idle|offline [(stale)] - TASK (AGE ago)
";

const ENV: &str = "\
HUBLESS_HOME              everything (config, data, socket, logs) under this directory
HUBLESS_<SECTION>_<KEY>   sets a key of the configuration: HUBLESS_HTTP_PORT is http.port
HUBLESS_AGENT             what an agent is called whose tool was started with it (hooks)
CLAUDE_CONFIG_DIR         where Claude Code keeps its files
CODEX_HOME, PI_CODING_AGENT_DIR   where Codex and pi keep theirs (hubless hooks)
XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR
NO_COLOR, TERM=dumb       no colours; a dumb terminal is never drawn over either
PAGER                     what long answers go through on a terminal (else less -FRX; empty or cat: nothing)
SSH_CONNECTION, DISPLAY, WAYLAND_DISPLAY   whether hubless open can open a browser here
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_of_the_core_is_explained() {
        for code in [2, 3, 4, 5, 6, 8, 9, 10, 130] {
            assert!(EXIT_CODES.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))), "{code}");
        }
    }

    #[test]
    fn an_unknown_topic_is_wrong_usage() {
        let error = Help { topic: vec!["exit-code".into()] }.run().expect_err("no such topic");
        assert_eq!(error.downcast_ref::<Trouble>().map(|trouble| trouble.exit), Some(2));
    }
}
