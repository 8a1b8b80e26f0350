//! `lab up 3`: a network of three hosts to play with by hand, each with a real hubless on it, until it is told to quit.
//!
//! `cargo run --bin lab -- up 3`. It needs root. What it makes lies in a temporary directory and in network namespaces of
//! its own, and goes with it. The program is the `hubless` beside it in `target/`; `HUBLESS_BIN` names another one.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for a terminal")]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod desk;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match answer(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lab: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn answer(_: &[&str]) -> Result<(), String> {
    Err("it needs Linux, whose network namespaces are its hosts".to_owned())
}

#[cfg(target_os = "linux")]
fn answer(words: &[&str]) -> Result<(), String> {
    match words {
        ["check"] => hubless_lab::missing().map_or_else(
            || {
                println!("a lab can be built here");
                Ok(())
            },
            Err,
        ),
        ["up", hosts] => {
            let hosts = hosts.parse().map_err(|_| format!("how many hosts is “{hosts}”?"))?;
            desk::up(hosts)
        }
        _ => Err("use: lab up HOSTS, or lab check (whether one can be built here)".to_owned()),
    }
}
