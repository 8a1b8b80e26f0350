//! The walk-throughs of `docs/tour/`, `docs/coming-from.md` and the README, carried out: every command runs in a terminal of its own, against real
//! daemons, and what it prints is compared with what the page says.
//!
//! A block fenced as `console` holds lines `laptop$ command` (a device's name, then `$ `) and below each what it prints. A line `...`
//! stands for any lines, `...` within one for any text; ids, codes, ages, moments, ports, sizes and process numbers match others of their
//! shape, and one that was seen once stands for the same ever after, in commands too. What only sets the stage is in a comment that
//! begins with `<!-- console`, and is run without looking at what it prints. `console open` leaves the command running until
//! `console close`. What only reads is asked again until it says what the page says, or time is up.
//! `HUBLESS_WRITE_DOCS=1 cargo test --test main tour` writes what differs anew.
//!
//! A runner of our own: those that exist (trycmd, snapbox) know one directory and pipes. Here are several devices, terminals that ask, a
//! command that waits for another device, and names that come back in a later command.

#[path = "tour/page.rs"]
mod page;
#[path = "tour/shapes.rs"]
mod shapes;
#[path = "tour/shell.rs"]
mod shell;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Since, measured, skipped};
use page::{Kind, Page};
use shapes::Bound;
use shell::Stage;

/// A person who never saw hubless reads the first page and has their own session on the screen within this.
const FIRST_DAY_WITHIN: Duration = Duration::from_secs(300);

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)
}

fn writes() -> bool {
    std::env::var_os("HUBLESS_WRITE_DOCS").is_some()
}

/// Carries out one page; writes it anew when that is wanted.
#[track_caller]
fn walk(name: &str, devices: &[&str]) -> Duration {
    let begun = Since::now();
    let Some(mut stage) = Stage::new(devices) else {
        skipped(name, "no bash, curl or script (util-linux) here");
        return Duration::ZERO;
    };
    let text = std::fs::read_to_string(path(name)).unwrap_or_else(|why| panic!("docs/{name}: {why}"));
    let mut page = Page::read(&text);
    let mut bound = Bound::default();
    let mut ran = 0;
    for block in &mut page.blocks {
        for step in &mut block.steps {
            let at = format!("docs/{name}:{}", step.line);
            ran += 1;
            let said = match block.kind {
                Kind::Hidden => {
                    stage.run_hidden(&at, &step.device, &bound.to_real(&step.command));
                    continue;
                }
                Kind::Close => stage.close(&step.expected, &mut bound),
                Kind::Open => stage.open(&step.device, &bound.to_real(&step.command), &step.expected, &mut bound),
                Kind::Shown => stage.run(&step.device, &bound.to_real(&step.command), &step.expected, &mut bound, writes()),
            };
            let Err(said) = said else { continue };
            let said = bound.to_page(&said);
            if writes() {
                step.expected = said;
            } else {
                let command = &step.command;
                panic!("{at}: {command}\n--- the page says\n{}\n--- it printed\n{}\n---", step.expected.join("\n"), said.join("\n"));
            }
        }
    }
    assert!(ran > 3, "docs/{name} has steps");
    if writes() {
        std::fs::write(path(name), page.written(&text)).expect("the page can be written");
    }
    let took = begun.elapsed();
    measured(&format!("tour {name}: {ran} steps in {:.1} s", took.as_secs_f64()));
    took
}

#[test]
fn tour_the_first_day() {
    assert!(walk("tour/first-day.md", &["laptop*"]) < FIRST_DAY_WITHIN);
}

#[test]
fn tour_two_devices() {
    walk("tour/two-devices.md", &["laptop", "desk"]);
}

#[test]
fn tour_back_from_a_week_offline() {
    walk("tour/a-week-offline.md", &["laptop", "desk"]);
}

#[test]
fn tour_a_conflict() {
    walk("tour/a-conflict.md", &["laptop", "desk"]);
}

#[test]
fn tour_a_lost_laptop() {
    walk("tour/a-lost-laptop.md", &["laptop", "desk", "attic"]);
}

#[test]
fn tour_a_new_machine() {
    walk("tour/a-new-machine.md", &["old", "new"]);
}

#[test]
fn tour_the_workflows_of_the_replaced_systems() {
    walk("tour/workflows.md", &["mac-mini", "macbook"]);
}

#[test]
fn tour_coming_from_the_replaced_systems() {
    walk("coming-from.md", &["laptop", "desk"]);
}

/// The first page that anybody reads has real output, too; every block of it that holds a command is carried out.
#[test]
fn tour_the_readme() {
    walk("../README.md", &["laptop", "desk", "attic"]);
    let text = std::fs::read_to_string(path("../README.md")).expect("README.md");
    let fences: Vec<&str> = text.lines().filter(|line| line.starts_with("```")).step_by(2).collect();
    let others: Vec<&&str> = fences.iter().filter(|fence| !fence.starts_with("```console") && **fence != "```text").collect();
    assert!(fences.len() > 8 && others.is_empty(), "blocks that are neither run nor a drawing: {others:?}");
}

/// A tour that nobody carries out is a promise that nobody holds.
#[test]
fn every_tour_is_carried_out() {
    let this = include_str!("tour.rs");
    for entry in std::fs::read_dir(path("tour")).expect("docs/tour").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        assert!(name == "README.md" || this.contains(&format!("walk(\"tour/{name}\"")), "docs/tour/{name} is not carried out");
    }
}
