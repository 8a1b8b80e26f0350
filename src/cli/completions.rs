//! `completions`: what a shell asks at every Tab. Verbs and flags come from the same tree that reads the command line, the names
//! of agents, devices, todos, projects and sources from the running daemon.
//!
//! A Tab is never slow and never noisy: who does not answer at once has no names, and nothing is said about it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, Args, Command, CommandFactory, ValueEnum};
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use serde_json::Value;

use super::context::{block_on, environment};
use super::output::print_bytes;
use super::verbs::Line;
use super::{fields, help};
use crate::api::client::Client;
use crate::config::{Config, KEYS};

/// What makes a call of this program a shell's question. Not `COMPLETE`, which other programs of this kind take for theirs.
const VARIABLE: &str = "HUBLESS_COMPLETE";
/// How long a person waits at a Tab without noticing.
const WITHIN: Duration = Duration::from_millis(150);
/// More names than that help nobody.
const NAMES_MAX: usize = 200;

/// `hubless completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  echo 'source <(hubless completions bash)' >> ~/.bashrc
  echo 'source <(hubless completions zsh)' >> ~/.zshrc
  echo 'hubless completions fish | source' >> ~/.config/fish/config.fish";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

impl Shell {
    fn word(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
            Shell::Elvish => "elvish",
            Shell::Powershell => "powershell",
        }
    }
}

impl Completions {
    /// Prints what the shell has to read once.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let called = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
        print_bytes(&script(self.shell, &called)?)
    }
}

/// Asks the program by the way in which it was called: by its name, or by its path from the root.
fn script(shell: Shell, called: &str) -> anyhow::Result<Vec<u8>> {
    let absolute = std::path::absolute(called).ok().filter(|_| called.contains('/'));
    let completer = absolute.as_deref().and_then(Path::to_str).unwrap_or("hubless");
    let shells = Shells::builtins();
    let known = shells.completer(shell.word()).context("this shell is not known")?;
    let mut out = Vec::new();
    known.write_registration(VARIABLE, "hubless", "hubless", completer, &mut out)?;
    Ok(out)
}

/// Whether this call is a shell's question; if so, it is answered.
pub(crate) fn is_one() -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let here = std::env::current_dir().ok();
    // What cannot be answered has no answer; a Tab is no place for errors.
    let answered =
        CompleteEnv::with_factory(|| dressed(Line::command(), "")).var(VARIABLE).try_complete(std::env::args_os(), here.as_deref());
    answered.unwrap_or(true)
}

/// The tree with the names that each place takes.
fn dressed(command: Command, path: &str) -> Command {
    let command = command.mut_args(|arg| named(path, arg));
    command.mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        dressed(sub, path.trim())
    })
}

fn named(path: &str, arg: Arg) -> Arg {
    let names: fn() -> Vec<CompletionCandidate> = match (path, arg.get_id().as_str()) {
        (_, "device") | ("status", "of") | ("devices ping" | "devices rename" | "devices revoke", "name") => devices,
        (_, "agent") | ("agents show", "name") => agents,
        (_, "project") => projects,
        (path, "id") if path.starts_with("todos ") => todos,
        ("config get" | "config set", "key") => keys,
        ("sources pause" | "sources resume", "source") => sources,
        ("help", "topic") => topics,
        _ => return arg,
    };
    arg.add(ArgValueCandidates::new(names))
}

fn devices() -> Vec<CompletionCandidate> {
    live("/api/v3/devices", |row| Some((row["name"].as_str()?.to_owned(), fields::or_dash(row, "shortId"))))
}

fn agents() -> Vec<CompletionCandidate> {
    live("/api/v3/agents", |row| {
        Some((row["agent"].as_str()?.to_owned(), format!("{} on {}", fields::or_dash(row, "state"), fields::device(row))))
    })
}

fn todos() -> Vec<CompletionCandidate> {
    live("/api/v3/todos?listed=1&limit=200", |row| Some((fields::short(row["id"].as_str()?), fields::or_dash(row, "content"))))
}

fn projects() -> Vec<CompletionCandidate> {
    live("/api/v3/projects", |row| Some((row["project_name"].as_str()?.to_owned(), String::new())))
}

fn sources() -> Vec<CompletionCandidate> {
    live("/api/v3/sources", |row| Some((row["source"].as_str()?.to_owned(), fields::or_dash(row, "base"))))
}

fn keys() -> Vec<CompletionCandidate> {
    KEYS.iter().map(|key| candidate(&key.name, key.what)).collect()
}

fn topics() -> Vec<CompletionCandidate> {
    let verbs = Line::command();
    let verbs = verbs.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| CompletionCandidate::new(verb.get_name()));
    help::topics().map(|topic| candidate(topic, "topic")).chain(verbs).collect()
}

fn candidate(name: &str, help: &str) -> CompletionCandidate {
    CompletionCandidate::new(name).help((!help.is_empty()).then(|| help.to_owned().into()))
}

/// Rows of the daemon's answer as names with a word beside; none when it does not answer at once.
fn live(target: &str, name: impl Fn(&Value) -> Option<(String, String)>) -> Vec<CompletionCandidate> {
    let Ok(home) = Config::home(&environment()) else { return Vec::new() };
    let asked = async { tokio::time::timeout(WITHIN, Client::new(&home.run_dir).get(target)).await };
    let Ok(Ok(Ok(envelope))) = block_on(asked) else { return Vec::new() };
    let data = &envelope["data"];
    let rows = data.as_array().or_else(|| data["projects"].as_array()).map_or(&[][..], Vec::as_slice);
    // A name that a terminal would obey cannot be typed either.
    let fits = |(name, _): &(String, String)| !name.is_empty() && !name.chars().any(char::is_control);
    rows.iter().filter_map(name).filter(fits).take(NAMES_MAX).map(|(name, help)| candidate(&name, &help)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_asks_the_program() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8(script(*shell, "hubless").expect("a script")).expect("text");
            assert!(text.contains(VARIABLE) && text.contains("hubless"), "{shell:?}: {text}");
        }
        let text = script(Shell::Bash, "target/debug/hubless").expect("a script");
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains(&format!("{}/target/debug/hubless", std::env::current_dir().expect("here").display())), "{text}");
    }

    #[test]
    fn the_places_that_take_names_are_known_to_the_tree() {
        let tree = dressed(Line::command(), "");
        let has = |verb: &[&str], arg: &str| {
            let mut at = &tree;
            for word in verb {
                at = at.find_subcommand(word).unwrap_or_else(|| panic!("no verb {word}"));
            }
            let arg = at.get_arguments().find(|known| known.get_id() == arg).unwrap_or_else(|| panic!("no {arg} at {verb:?}"));
            arg.get::<ArgValueCandidates>().is_some()
        };
        for (verb, arg) in [
            (&["status"][..], "of"),
            (&["agents", "show"], "name"),
            (&["beat"], "agent"),
            (&["todos", "done"], "id"),
            (&["todos", "history"], "id"),
            (&["todos", "add"], "project"),
            (&["todos", "start"], "agent"),
            (&["devices", "revoke"], "name"),
            (&["config", "set"], "key"),
            (&["sources", "pause"], "source"),
            (&["help"], "topic"),
        ] {
            assert!(has(verb, arg), "{verb:?} {arg}");
        }
        assert!(tree.get_arguments().any(|arg| arg.get_id() == "device" && arg.get::<ArgValueCandidates>().is_some()));
        assert!(!has(&["beat"], "task"));
    }
}
