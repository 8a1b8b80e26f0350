//! `docs/cli.md` and `docs/config.md` are what the program says of itself. They are compared with it on every run; one command
//! writes them anew.

use std::fmt::Write;

use clap::{Arg, Command};
use hubless::cli;
use hubless::config::{KEYS, Key, PEER_KEYS, REPLACED};

use super::{read, root};

/// What to do when a page and the program differ.
const REWRITE: &str = "HUBLESS_WRITE_DOCS=1 cargo test --test docs";

/// Compares a page with what it should be, or writes it.
#[track_caller]
fn held(path: &str, page: &str) {
    if std::env::var_os("HUBLESS_WRITE_DOCS").is_some() {
        return std::fs::write(root().join(path), page).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
    let there = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let differs = there.lines().zip(page.lines()).find(|(is, should)| is != should);
    assert!(there == page, "{path} is not what the program says (first: {differs:?}). Write it anew:  {REWRITE}");
}

fn text(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// `hubless todos add`: its words, flags, sub-verbs and examples.
fn verb(out: &mut String, command: &Command, path: &str, depth: usize) {
    let name = format!("{path} {}", command.get_name());
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    let also = if aliases.is_empty() { String::new() } else { format!(" (also `{}`)", aliases.join("`, `")) };
    let (what, end) = (text(command), if text(command).ends_with('?') { "" } else { "." });
    let _ = write!(out, "\n{} `{name}`{also}\n\n{what}{end}\n\n", "#".repeat(depth));
    let mut usage = command.clone();
    let usage = usage.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let _ = write!(out, "```\n{usage}\n```\n");
    let own: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help").collect();
    if !own.is_empty() {
        out.push('\n');
        own.iter().for_each(|arg| flag(out, arg));
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let (title, lines) = examples.split_once('\n').unwrap_or(("", &examples));
        let lines: Vec<&str> = lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        let _ = write!(out, "\n{}\n\n```\n{}\n```\n", title.trim(), lines.join("\n"));
    }
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        verb(out, sub, &name, depth + 1);
    }
}

fn flag(out: &mut String, arg: &Arg) {
    let mut names: Vec<String> = arg.get_short().map(|short| format!("-{short}")).into_iter().collect();
    let longs = arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default());
    names.extend(longs.map(|long| format!("--{long}")));
    let takes = arg.is_positional() || arg.get_action().takes_values();
    let values: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let value = if takes { values.join(" ") } else { String::new() };
    let shown = [names.join(", "), value].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let words: Vec<String> =
        arg.get_possible_values().iter().filter(|value| !value.is_hide_set()).map(|value| format!("`{}`", value.get_name())).collect();
    let words = if words.is_empty() || !takes { String::new() } else { format!(": {}", words.join(", ")) };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(out, "- `{shown}`: {help}{words}");
}

fn commands() -> String {
    let mut tree = cli::command();
    tree.build();
    let mut out = String::from(
        "# The command line\n\n\
         Written by a test from the program itself; it is what `hubless help VERB` says. `hubless man DIR` writes the same as manual pages, `hubless completions SHELL` lets a\n\
         shell complete verbs, flags, and the names of agents, devices, projects and todos.\n\n\
         stdout has the answer, stderr everything else. A terminal gets tables, through `$PAGER` (else `less -FRX`) when they are long; a pipe gets one record a line, cells with tabs\n\
         between, nothing cut. Questions are answered from disk while the daemon is down, and the answer says so; what changes something needs the daemon, but `beat`, which waits for\n\
         the next one.\n\n| verb | |\n|---|---|\n",
    );
    let verbs: Vec<&Command> = tree.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
    for verb in &verbs {
        let _ = writeln!(out, "| [`{0}`](#hubless-{0}) | {1} |", verb.get_name(), text(verb));
    }
    out.push_str("\n## Everywhere\n\nThese flags may stand before the verb or behind it.\n\n");
    tree.get_arguments().filter(|arg| arg.is_global_set()).for_each(|arg| flag(&mut out, arg));
    for command in verbs {
        let mut one = String::new();
        verb(&mut one, command, "hubless", 2);
        // An anchor that does not change with aliases.
        out.push_str(&format!("\n<a id=\"hubless-{}\"></a>{one}", command.get_name()));
    }
    for (name, text) in cli::TOPICS {
        let _ = write!(out, "\n## `hubless help {name}`\n\n```\n{text}```\n");
    }
    out
}

fn row(key: &Key) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let default = match key.default.as_ref() {
        "" => "nothing".to_owned(),
        found if found.starts_with('(') => cell(found.trim_matches(['(', ')'])),
        written => format!("`{written}`"),
    };
    format!("| `{}` | {default} | `{}` | {} | {} |\n", key.name, key.variable(), cell(&key.kind.expected()), cell(key.what))
}

fn settings() -> String {
    let mut out = String::from(
        "# What can be set\n\n\
         Written by a test from the program's own table. Nothing has to be set. A later source wins: default < `config.toml` < environment < command line; `hubless config show --origin`\n\
         says who said what, `hubless config path` where the file is. `hubless config set KEY VALUE` changes one line and leaves comments and order alone;\n\
         `hubless config set KEY --default` takes it out. The daemon reads all of it when it starts.\n\n\
         In the file the part before the last dot is a table: `http.port` is `port` under `[http]`. In the environment lists are separated by commas, and an empty variable counts as unset,\n\
         but for lists. An unknown key is a warning that names the nearest one; a value of the wrong kind is an error.\n\n\
         | key | default | environment | values | what |\n|---|---|---|---|---|\n",
    );
    KEYS.iter().for_each(|key| out.push_str(&row(key)));
    out.push_str(
        "\n## Single devices\n\nOf each device, `NAME` being its name or the beginning of its id: `hubless config set peers.desk.send false`. A name with spaces or dots stands in quotes,\n\
         `peers.\"mac mini\".send`, and in the file as `[peers.\"mac mini\"]`; in the environment all but its letters and digits is `_`: `HUBLESS_PEERS_MAC_MINI_SEND`.\n\n\
         | key | default | environment | values | what |\n|---|---|---|---|---|\n",
    );
    PEER_KEYS.iter().for_each(|key| out.push_str(&row(key)));
    out.push_str(
        "\n## Names in the replaced systems\n\nEach setting has one name. Those of other systems are understood in the file, in whatever section they stand, with a warning that names ours;\n\
         what stands under our own name counts before them.\n\n| there | of | here |\n|---|---|---|\n",
    );
    for known in &REPLACED {
        let here = known.ours.map_or_else(|| known.instead.to_owned(), |ours| format!("`{ours}`"));
        let _ = writeln!(out, "| `{}` | {} | {here} |", known.spelling, known.system);
    }
    out
}

#[test]
fn the_command_line_is_documented_as_it_is() {
    held("docs/cli.md", &commands());
}

#[test]
fn the_settings_are_documented_as_they_are() {
    held("docs/config.md", &settings());
}

#[test]
fn every_verb_and_every_key_stands_in_its_page() {
    let (commands, settings) = (commands(), settings());
    for verb in cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(commands.contains(&format!("\n## `hubless {}`", verb.get_name())), "{}", verb.get_name());
    }
    for key in KEYS.iter().chain(&PEER_KEYS) {
        assert!(settings.contains(&format!("| `{}` |", key.name)) && settings.contains(&key.variable()), "{}", key.name);
    }
    for code in ["  0  done", "  7  a check says no", "130  interrupted"] {
        assert!(commands.contains(code), "{code}");
    }
    assert!(commands.contains("hubless status --oneline") && !read("README.md").is_empty());
}
