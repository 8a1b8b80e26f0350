//! Everything that goes wrong ends here: what, cause and fix on stderr, `[code]` behind it, and an exit code (INTERFACE §2.4–2.5).
//! With `--json` it is one problem object on stderr and stdout stays empty, so that nobody reads an error as data.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::api::client;
use crate::api::problem::Problem;
use crate::daemon;
use crate::model::reply::Code;
use crate::model::text::Foreign;

use super::output::{Closed, escaped, remark};
use super::status::quoted;

/// The exit code of a check that says no.
pub(crate) const CHECK_SAYS_NO: u8 = 7;

/// A problem that ends the command.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Trouble {
    pub(crate) problem: Problem,
    pub(crate) exit: u8,
}

impl Trouble {
    /// A trouble with nothing but its code, its exit code and its sentence.
    pub(crate) fn new(code: &'static str, exit: u8, what: impl Into<String>) -> Trouble {
        Trouble { problem: Problem::new(500, code, what), exit }
    }

    /// The command was typed wrongly.
    pub(crate) fn usage(what: impl Into<String>) -> Trouble {
        Trouble { problem: Problem::new(400, "wrong-usage", what), exit: 2 }
    }

    /// Nothing answers on the socket, and this needs the daemon.
    pub(crate) fn down(cause: impl Into<String>) -> Trouble {
        Trouble::from(Problem::of(Code::DaemonDown, "the daemon is not running").because(cause).fix("hubless up"))
    }

    pub(crate) fn because(mut self, cause: impl Into<String>) -> Trouble {
        self.problem.cause = Some(cause.into());
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Trouble {
        self.problem.fix = Some(fix.into());
        self
    }
}

impl Trouble {
    /// Says what was perhaps meant.
    fn perhaps(mut self, names: Vec<String>) -> Trouble {
        self.problem.did_you_mean = names;
        self
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Trouble {
        Trouble { exit: problem.exit(), problem }
    }
}

impl From<client::Error> for Trouble {
    fn from(error: client::Error) -> Trouble {
        match error {
            client::Error::Down { cause } => Trouble::down(cause),
            client::Error::TimedOut => Problem::of(Code::TimedOut, "no answer in time; it may have been taken")
                .because("it was sent to the daemon, which did not answer")
                .fix("look before you do it again: hubless status")
                .into(),
            client::Error::Problem(problem) => Trouble::from(*problem),
        }
    }
}

/// Why the daemon did not start, or the documents do not open.
pub(crate) fn of_daemon(error: &daemon::Error) -> Trouble {
    let trouble = Trouble::new(error.code(), error.exit(), error.to_string());
    match error.fix() {
        Some(fix) => trouble.fix(fix),
        None => trouble,
    }
}

/// Says what went wrong; returns the exit code. A closed pipe is nothing wrong.
pub(crate) fn show(error: &anyhow::Error, json: bool) -> ExitCode {
    if error.downcast_ref::<Closed>().is_some() {
        return ExitCode::SUCCESS;
    }
    let trouble = error.downcast_ref::<Trouble>().cloned().unwrap_or_else(|| unexpected(error));
    let line: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    remark(&if json { escaped(&trouble.problem.to_json().to_string()) } else { drawn(&trouble.problem, &line) });
    ExitCode::from(trouble.exit)
}

fn unexpected(error: &anyhow::Error) -> Trouble {
    let trouble = Trouble::new("failed", 1, error.to_string());
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    if causes.is_empty() { trouble } else { trouble.because(causes.join(": ")) }
}

/// What, `[code]`, cause and fix. Names in it may come from other devices, so all of it is escaped.
fn drawn(problem: &Problem, line: &[String]) -> String {
    let plain = |text: &str| text.lines().map(|line| Foreign::new(line).plain()).collect::<Vec<_>>();
    let mut lines = plain(&problem.detail).into_iter();
    let mut out = format!("error: {} [{}]", lines.next().unwrap_or_default(), problem.code);
    let more = lines.collect::<Vec<_>>();
    let cause = more.into_iter().chain(problem.cause.iter().flat_map(|cause| plain(cause)));
    for (n, line) in cause.enumerate() {
        let _ = write!(out, "\n  {} {line}", if n == 0 { "cause:" } else { "      " });
    }
    let meant = (!problem.did_you_mean.is_empty()).then(|| format!("did you mean  {}", meant(problem, line)));
    let fix = meant.into_iter().chain(problem.fix.clone());
    for (n, line) in fix.flat_map(|fix| plain(&fix)).enumerate() {
        let _ = write!(out, "\n  {} {line}", if n == 0 { "fix:  " } else { "      " });
    }
    out
}

/// What was perhaps meant: the line as it should have been typed where the word that is wrong stands in it, else the names.
fn meant(problem: &Problem, line: &[String]) -> String {
    let typed = problem.detail.split_once('“').and_then(|(_, rest)| rest.split_once('”')).map(|(typed, _)| typed);
    let at = line.iter().position(|word| Some(word.as_str()) == typed);
    match (at, problem.did_you_mean.as_slice()) {
        (Some(at), [one]) => {
            let words = line.iter().enumerate().map(|(n, word)| quoted(if n == at { one } else { word }));
            format!("hubless {}", words.collect::<Vec<_>>().join(" "))
        }
        (_, names) => names.join("  or  "),
    }
}

/// A command line that clap could not read, in our form. Help and version are answers, not errors.
pub(crate) fn of_clap(error: &clap::Error) -> Trouble {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut blocks = text.split("\n\n");
    let what = blocks.next().unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let missing = error.kind() == ErrorKind::MissingRequiredArgument;
    let wanted = if missing { "Usage: " } else { "tip: " };
    let tip = blocks.find_map(|block| block.trim().strip_prefix(wanted).map(str::to_owned));
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(all)) => all.clone(),
        _ => Vec::new(),
    };
    let (verb, flag) = (said(ContextKind::InvalidSubcommand), said(ContextKind::InvalidArg));
    let (what, near) = match (verb.as_slice(), flag.as_slice()) {
        ([verb], _) => (format!("there is no verb “{verb}” here"), said(ContextKind::SuggestedSubcommand)),
        (_, [flag]) if error.kind() == ErrorKind::UnknownArgument && flag.starts_with('-') => {
            (format!("there is no flag “{flag}” here"), said(ContextKind::SuggestedArg))
        }
        _ => return Trouble::usage(what).fix(tip.unwrap_or_else(|| HELP.to_owned())),
    };
    if near.is_empty() { Trouble::usage(what).fix(tip.unwrap_or_else(|| HELP.to_owned())) } else { Trouble::usage(what).perhaps(near) }
}

/// Where all verbs and flags are.
const HELP: &str = "hubless --help, or hubless VERB --help";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_error_says_what_cause_and_fix_with_its_code() {
        let trouble = Trouble::down("nothing answers on ctl.sock");
        let expected = "error: the daemon is not running [daemon-down]\n  cause: nothing answers on ctl.sock\n  fix:   hubless up";
        assert_eq!((drawn(&trouble.problem, &[]).as_str(), trouble.exit), (expected, 4));
        let meant = Problem::of(Code::DeviceNotFound, "no device called “mac\x1b[2Jmin”").perhaps(vec!["mac-mini".into(), "mac".into()]);
        let expected = "error: no device called “mac\\u{1b}[2Jmin” [device-not-found]\n  fix:   did you mean  mac-mini  or  mac";
        assert_eq!(drawn(&meant, &[]), expected);
        let one = Problem::of(Code::DeviceNotFound, "no device called “mac-min”").perhaps(vec!["mac mini".into()]);
        let line = ["devices", "ping", "mac-min"].map(str::to_owned);
        assert!(drawn(&one, &line).ends_with("did you mean  hubless devices ping 'mac mini'"));
        let several = Trouble::new("x", 1, "a\nb").because("c").fix("d\ne");
        assert_eq!(drawn(&several.problem, &[]), "error: a [x]\n  cause: b\n         c\n  fix:   d\n         e");
    }

    #[test]
    fn a_line_that_is_nearly_right_comes_back_as_the_one_that_was_meant() {
        let drawn_of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = crate::cli::command().try_get_matches_from(std::iter::once("hubless".to_owned()).chain(words.clone()));
            drawn(&of_clap(&error.expect_err(line)).problem, &words)
        };
        assert_eq!(drawn_of("statsu"), "error: there is no verb “statsu” here [wrong-usage]\n  fix:   did you mean  hubless status");
        assert_eq!(
            drawn_of("todos dne t-1"),
            "error: there is no verb “dne” here [wrong-usage]\n  fix:   did you mean  hubless todos done t-1"
        );
        assert_eq!(
            drawn_of("status --onlin"),
            "error: there is no flag “--onlin” here [wrong-usage]\n  fix:   did you mean  hubless status --oneline"
        );
        assert_eq!(
            drawn_of("xyzzy"),
            "error: there is no verb “xyzzy” here [wrong-usage]\n  fix:   hubless --help, or hubless VERB --help"
        );
        let missing = drawn_of("todos done");
        assert!(missing.contains("required") && missing.contains("\n  fix:   hubless todos done "), "{missing}");
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let exit = |error: client::Error| Trouble::from(error).exit;
        assert_eq!(exit(client::Error::TimedOut), 8);
        assert_eq!(exit(client::Error::Down { cause: String::new() }), 4);
        assert_eq!(exit(client::Error::Problem(Box::new(Problem::of(Code::AmbiguousId, "x")))), 6);
        assert_eq!(unexpected(&anyhow::anyhow!("inner").context("outer")).problem.cause.as_deref(), Some("inner"));
    }

    #[test]
    fn a_problem_object_is_json_of_one_line() {
        let text = Trouble::usage("a\nb").problem.to_json().to_string();
        assert!(!text.contains('\n'));
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["code"], "wrong-usage");
    }
}
