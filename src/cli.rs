//! What a person types and sees. The only home of clap and anyhow.
//!
//! A verb builds a request, asks, and prints; it judges nothing. Every read goes through `context::Context::ask`, which takes
//! the daemon's word or the disk's, and every error ends in `problem`. stdout has the answer, stderr everything else.

mod agents;
mod ages;
mod beat;
mod begin;
mod bundle;
mod columns;
mod completions;
mod context;
mod devices;
mod doctor;
mod doctor_network;
mod export;
mod fields;
mod globals;
mod help;
mod hook;
mod hook_event;
mod hook_note;
mod hooks;
mod init;
mod live;
pub mod logging;
mod man;
mod members;
mod mend;
mod oneline;
mod open;
mod output;
mod pager;
mod pair;
mod placeholders;
mod problem;
mod progress;
mod projects;
mod qr;
mod screen;
mod service;
mod sessions;
mod settings;
mod sources;
mod status;
mod status_watch;
mod sync;
mod tagging;
mod todo_stats;
mod todo_tables;
mod todos;
mod verbs;
mod watch;
mod wrap;

pub use help::TOPICS;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

/// Reads the command line, carries it out, and says how it ended (`hubless help exit-codes`).
#[must_use]
pub fn main() -> ExitCode {
    // Before anything that could refuse the line.
    if hook::is_one(std::env::args_os()) {
        return ExitCode::SUCCESS;
    }
    if completions::is_one() {
        return ExitCode::SUCCESS;
    }
    let line = match verbs::Line::try_parse() {
        Ok(line) => line,
        Err(error) => return unread(&error),
    };
    let json = line.globals.json || line.globals.jsonl;
    match line.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => problem::show(&error, json),
    }
}

/// The tree of verbs and flags: what the documentation is written from.
#[must_use]
pub fn command() -> clap::Command {
    verbs::Line::command()
}

/// A line that is no order: a wish for help, which is answered, or a mistake.
fn unread(error: &clap::Error) -> ExitCode {
    // What was typed wrongly cannot say by itself whether a program reads along.
    let json = std::env::args_os().any(|arg| arg == "--json" || arg == "--jsonl");
    let kind = error.kind();
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match output::print(&format!("{}\n", error.render().to_string().trim_end())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => problem::show(&error, json),
        };
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json {
        output::remark(error.render().to_string().trim_end());
        return ExitCode::from(2);
    }
    problem::show(&problem::of_clap(error).into(), json)
}
