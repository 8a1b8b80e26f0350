//! `export`: everything this device knows, as one automerge document that any automerge tool opens. With no daemon it is made
//! from the document files.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::context::{Context, block_on};
use super::output::{bytes, print_bytes, remark};
use super::problem::{Trouble, of_daemon};
use super::progress;
use crate::api::client;
use crate::daemon::offline;

/// `hubless export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// In which form
    #[arg(long, value_enum)]
    format: Format,
    /// Into this file (mode 0600); left out, or `-`: to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  hubless export --format automerge -o all.automerge
  hubless export --format automerge | wc -c";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One document with the maps sessions, heartbeats, todos
    Automerge,
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let Format::Automerge = self.format;
        let file = self.output.filter(|file| file != Path::new("-"));
        if file.is_none() && std::io::stdout().is_terminal() {
            return Err(Trouble::usage("an automerge document is no text for a terminal")
                .fix("hubless export --format automerge -o FILE")
                .into());
        }
        let document = fetch(context)?;
        let Some(file) = file else { return print_bytes(&document) };
        write(&file, &document).with_context(|| format!("{} cannot be written", file.display()))?;
        let line = format!("✓ {} in {}", bytes(document.len() as u64), file.display());
        context.out.done(json!({"file": file, "format": "automerge", "bytes": document.len()}), &line)
    }
}

fn fetch(context: &Context) -> anyhow::Result<Vec<u8>> {
    let client = context.client();
    match block_on(progress::shown(&context.globals, "making the document", client.bytes("/api/v3/export")))? {
        Ok(document) => Ok(document),
        Err(client::Error::Down { .. }) if context.config.home.data_dir.exists() => {
            let open = || offline::open(&context.config);
            let kept = progress::during(&context.globals, "making the document", open).map_err(|error| of_daemon(&error))?;
            if !context.out.quiet && !context.out.is_data() {
                remark("daemon not running (made from disk)  fix: hubless up");
            }
            Ok(kept.export)
        }
        Err(other) => Err(Trouble::from(other).into()),
    }
}

/// Whole or not at all: a new file beside it, renamed over it.
fn write(file: &Path, document: &[u8]) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = file.with_file_name(name);
    let written = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&part).and_then(|mut out| {
        out.write_all(document)?;
        out.sync_all()
    });
    written.and_then(|()| std::fs::rename(&part, file)).inspect_err(|_| {
        let _ = std::fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("all.automerge");
        write(&file, b"one").expect("written");
        write(&file, b"two").expect("written");
        assert_eq!(std::fs::read(&file).expect("read"), b"two");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left behind");
        assert!(write(&dir.path().join("none/x"), b"").is_err());
    }
}
