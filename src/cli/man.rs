//! `man`: the manual pages, made from the same tree that reads the command line. Hidden, since it is for packagers and for
//! whoever installed by `cargo install`: `hubless man ~/.local/share/man/man1`.

use std::fs::DirBuilder;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory};
use serde_json::json;

use super::globals::Globals;
use super::output::{Out, print_bytes};
use super::verbs::Line;

/// `hubless man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where the pages are written, one for each verb; left out: the first page to stdout
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(&self, globals: &Globals) -> anyhow::Result<()> {
        let Some(dir) = &self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(Line::command()).render(&mut page)?;
            return print_bytes(&page);
        };
        let written = DirBuilder::new().recursive(true).create(dir).and_then(|()| clap_mangen::generate_to(Line::command(), dir));
        written.with_context(|| format!("the pages cannot be written to {}", dir.display()))?;
        Out::of(globals).done(json!({"dir": dir}), &format!("✓ hubless.1 and one page for each verb in {}", dir.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_page() {
        let dir = tempfile::tempdir().expect("dir");
        Man { dir: Some(dir.path().join("man1")) }.run(&Globals { quiet: true, ..Globals::default() }).expect("written");
        for verb in Line::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let page = std::fs::read_to_string(dir.path().join(format!("man1/hubless-{}.1", verb.get_name()))).expect("a page");
            assert!(page.contains(".SH NAME"), "{page}");
        }
        assert!(dir.path().join("man1/hubless.1").exists() && !dir.path().join("man1/hubless-man.1").exists());
    }
}
