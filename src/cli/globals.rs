//! The flags that stand anywhere on the line.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// Flags of all verbs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Globals {
    /// Answer with one JSON envelope; errors become a problem object on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Answer with one JSON object a line (lists)
    #[arg(long, global = true)]
    pub(crate) jsonl: bool,
    /// Say nothing but answers and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more, twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour (NO_COLOR and TERM=dumb are respected)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(crate) color: Colour,
    /// Never ask a question
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// How long to wait for what is not answered at once, such as 2s
    #[arg(long, global = true, value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Only of this device
    #[arg(long, global = true, value_name = "NAME", visible_alias = "spoke")]
    pub(crate) device: Option<String>,
    /// At most so many rows; 0: all
    #[arg(long, global = true, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}
