//! `config`: what is set, by whom, and setting it. A file that cannot be read any more can still be named and mended by it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::context::{Context, bad_config, environment};
use super::globals::Globals;
use super::output::{Form, Out, Tint, remark};
use super::problem::Trouble;
use crate::config::{Config, Error, Origin, Source, Wanted, edit, replaced};
use crate::model::text::Foreign;

/// `hubless config`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Settings {
    #[command(subcommand)]
    verb: Option<Verb>,
}

const EXAMPLES: &str = "\
Examples:
  hubless config show --origin                what counts, and who said so
  hubless config set http.port 4835
  hubless config set network.peers desk.example:4826 attic.example:4826
  hubless config set http.port --default      takes the line out again
  hubless config set peers.desk.send false
  hubless config set 'peers.\"mac mini\".schedule' '*/15 * * * *'
  $EDITOR \"$(hubless config path)\"
Every key: docs/config.md";

#[derive(Debug, Subcommand)]
enum Verb {
    /// The value of one key
    Get {
        /// Its name, such as http.port
        key: String,
    },
    /// Sets one key in the file; comments and order stay
    Set {
        /// Its name, such as http.port
        key: String,
        /// What it shall be; several for a list
        #[arg(required_unless_present = "default")]
        value: Vec<String>,
        /// Take the key out of the file, so that its default counts
        #[arg(long, conflicts_with = "value")]
        default: bool,
    },
    /// Where the file is
    Path,
    /// Every key with its value
    Show {
        /// Also who said so: default, file, env or flag
        #[arg(long)]
        origin: bool,
    },
}

impl Settings {
    /// Whether its answer is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.verb, None | Some(Verb::Show { .. }))
    }

    /// It has its own way to the configuration, since that may be what is wrong.
    pub(crate) fn run(self, globals: Globals) -> anyhow::Result<()> {
        let out = Out::of(&globals);
        match self.verb {
            Some(Verb::Path) => {
                let home = Config::home(&environment()).map_err(trouble)?;
                let file = home.config_file;
                out.done(json!({"file": file, "exists": file.exists()}), &file.display().to_string())
            }
            Some(Verb::Set { key, value, default }) => set(globals, &key, (!default).then_some(&value)),
            Some(Verb::Get { key }) => {
                let context = Context::new(globals)?;
                let wanted = find(&context, &key)?;
                let (value, source) = context.config.value_of(&wanted);
                context.out.done(row(&wanted, &value, source), &Foreign::new(value.as_str()).plain())
            }
            Some(Verb::Show { origin }) => show(&Context::new(globals)?, origin),
            None => show(&Context::new(globals)?, false),
        }
    }
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::UnknownFlag { .. } => Trouble::new("setting-not-found", 3, error.to_string()).fix("hubless config show"),
        Error::WrongValue { key, expected, got, origin: Origin::Flag } => Trouble::usage(format!("{key} cannot be {got}"))
            .because(format!("it has to be {expected}"))
            .fix(format!("hubless config set {key} VALUE")),
        Error::Unwritable { .. } => Trouble::new("config-unwritable", 1, error.to_string()).fix("its directory must be yours to write in"),
        Error::NoHome { .. }
        | Error::NotAbsolute { .. }
        | Error::Unreadable { .. }
        | Error::Syntax { .. }
        | Error::WrongValue { .. }
        | Error::SocketPathTooLong { .. } => bad_config(&error),
    }
}

/// The key of that name; a name from elsewhere is understood, and said.
fn find(context: &Context, name: &str) -> anyhow::Result<Wanted> {
    let wanted = Wanted::find(name).map_err(|error| not_here(name, error))?;
    if let Some(known) = replaced(name).filter(|_| wanted.peer.is_none() && !context.out.quiet && !context.out.is_data()) {
        remark(&format!("warning: {}", known.advice()));
    }
    Ok(wanted)
}

fn not_here(name: &str, error: Error) -> Trouble {
    match replaced(name) {
        Some(known) => Trouble::new("setting-not-found", 3, known.advice()).fix("hubless config show"),
        None => trouble(error),
    }
}

fn set(globals: Globals, name: &str, words: Option<&Vec<String>>) -> anyhow::Result<()> {
    let (out, env) = (Out::of(&globals), environment());
    let wanted = Wanted::find(name).map_err(|error| not_here(name, error))?;
    let (key, shown) = (wanted.key, wanted.name());
    let value = words.map(|words| words.join(if key.kind.is_list() { "," } else { " " }));
    let value = value.as_deref();
    let file = Config::home(&env).map_err(trouble)?.config_file;
    let before = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(why) => return Err(trouble(Error::Unreadable { file, why }).into()),
    };
    let after = edit::edited(&file, &before, &wanted, value).map_err(trouble)?;
    if after != before {
        edit::replace(&file, &after).map_err(trouble)?;
    }
    let mut remarks: Vec<String> = replaced(name).filter(|_| wanted.peer.is_none()).map(|known| known.advice()).into_iter().collect();
    // What else is wrong with the file is the next command's to say; this one did what it was told.
    let context = Context::new(Globals { quiet: true, ..globals }).ok();
    let shadow = env.get(&wanted.variable()).filter(|value| !value.is_empty());
    remarks.extend(shadow.map(|_| format!("{} is set in the environment and counts before the file", wanted.variable())));
    let is_running = context.as_ref().is_some_and(|context| context.ask_daemon("/api/v3/glance").is_ok_and(|answer| answer.is_some()));
    let needs_restart = is_running && after != before && !key.name.starts_with("hooks.");
    if needs_restart {
        remarks.push("the running daemon sees it after:  hubless down && hubless up --detach".to_owned());
    }
    let said = value.map_or_else(
        || format!("✓ {shown} has its default again: {}", if key.default.is_empty() { "nothing" } else { &key.default }),
        |value| format!("✓ {shown} = {value}"),
    );
    let data = json!({"key": shown, "value": value, "file": file, "changed": after != before, "restart": needs_restart});
    out.done(data, &Foreign::new(said).plain())?;
    if !out.quiet && !out.is_data() {
        remarks.iter().for_each(|line| remark(&format!("! {line}")));
    }
    Ok(())
}

fn row(wanted: &Wanted, value: &str, source: Source) -> Value {
    let (key, name, env) = (wanted.key, wanted.name(), wanted.variable());
    json!({"key": name, "value": value, "origin": source.word(), "default": key.default, "env": env, "what": key.what})
}

fn show(context: &Context, origin: bool) -> anyhow::Result<()> {
    let of_all = context.config.settings().map(|(key, value, source)| (Wanted { key, peer: None }, value, source));
    let all: Vec<(Wanted, String, Source)> = of_all.chain(context.config.peer_settings()).collect();
    let rows: Vec<Value> = all.iter().map(|(wanted, value, source)| row(wanted, value, *source)).collect();
    let envelope = context.list(rows);
    context.out.show(&envelope, |out| table(out, &all, origin, &context.config.home.config_file.display().to_string()))
}

fn table(out: Out, all: &[(Wanted, String, Source)], origin: bool, file: &str) -> String {
    if out.form != Form::Table && !origin {
        // As the file could have it, so that the lines can be kept.
        return all.iter().map(|(key, value, _)| format!("{} = {}\n", key.name(), Foreign::new(value.as_str()).plain())).collect();
    }
    let drawn = all.iter().map(|(key, value, source)| {
        let from = match source {
            Source::Env => format!("env {}", key.variable()),
            Source::File => format!("file {file}"),
            Source::Default | Source::Flag => source.word().to_owned(),
        };
        let tint = if *source == Source::Default { Tint::Dim } else { Tint::Plain };
        let mut cells = vec![Foreign::new(key.name()).plain(), Foreign::new(value.as_str()).plain()];
        cells.extend(origin.then_some(from));
        (tint, cells)
    });
    let header: &[&str] = if origin { &["key", "value", "origin"] } else { &["key", "value"] };
    out.rows(header, drawn.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_says_who_said_it() {
        let key = Wanted::find("http.port").expect("a key");
        let out = |form| Out { form, colour: false, quiet: false };
        let all = [(key, "4835".to_owned(), Source::Env)];
        assert_eq!(table(out(Form::Plain), &all, false, "c.toml"), "http.port = 4835\n");
        assert_eq!(table(out(Form::Plain), &all, true, "c.toml"), "http.port\t4835\tenv HUBLESS_HTTP_PORT\n");
        assert!(table(out(Form::Table), &all, true, "c.toml").contains("env HUBLESS_HTTP_PORT"));
    }

    #[test]
    fn a_refusal_names_what_is_right() {
        let wrong =
            trouble(edit::edited(std::path::Path::new("c"), "", &Wanted::find("http.port").expect("a key"), Some("x")).expect_err("wrong"));
        assert_eq!((wrong.exit, wrong.problem.detail.as_str()), (2, "http.port cannot be “x”"));
        assert_eq!(wrong.problem.cause.as_deref(), Some("it has to be a port, 0 to 65535"));
        let unknown = not_here("http.prt", Wanted::find("http.prt").expect_err("unknown"));
        assert_eq!((unknown.exit, unknown.problem.code.as_ref()), (3, "setting-not-found"));
        assert!(unknown.problem.detail.contains("did you mean “http.port”"));
        assert!(not_here("initial_sync_days", Wanted::find("initial_sync_days").expect_err("none")).problem.detail.contains("pi-brain"));
    }
}
