//! The tools' files, read-only; the only home of notify.
//!
//! Nothing here decides what is worth a look: the core asks with a [`Look`] and is answered with one [`SourceEvent`]. What
//! happens by itself is a hint, and hints may be lost: the watcher says where to look, never what is there. So a missed
//! event costs time until the next listing, and no data.
//!
//! Everything that touches a disk runs on one blocking thread (`Hands`), in the order in which it was asked for.

mod hints;
mod look;
mod queue;
mod read;
mod repo;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::effects::Look;
use crate::model::input::{Input, Root, SourceEvent};
use crate::model::limits::FILES_MAX;

use hints::Hints;
use queue::{Job, Queue};

/// Where the tools keep their files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Each root's directory. It need not exist yet.
    pub roots: BTreeMap<Root, PathBuf>,
}

/// Why the sources cannot be looked at at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A root was given relative to a working directory that cannot be read.
    #[error("the directory {} of {} has no absolute path: {why}", .path.display(), .root.word())]
    NotAbsolute {
        /// Which root.
        root: Root,
        /// As it was given.
        path: PathBuf,
        /// In the system's words.
        why: io::Error,
    },
}

/// The way to ask for looks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sources {
    queue: Arc<Queue>,
}

impl Sources {
    /// Asks for one look. It is queued and answered through the inbox by one `SourceEvent`; this never waits. When too many
    /// looks wait already it is not carried out, but remembered as a hint to look everywhere below its root, which comes as
    /// soon as the others are done; so no look is lost for good.
    pub fn look(&self, look: Look) {
        self.queue.push(look);
    }
}

/// Begins to answer looks and to pass hints on, until `stop`. Nothing is watched before the first `Look::List` of its root.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// Only when a root's path cannot be made absolute. A watcher that does not work is no error: it is told once as
/// `SourceEvent::Polling`, and everything is listed from time to time instead.
pub fn start(options: Options, inbox: mpsc::Sender<Input>, tasks: &TaskTracker, stop: CancellationToken) -> Result<Sources, Error> {
    let mut roots = BTreeMap::new();
    for (root, path) in options.roots {
        let absolute = std::path::absolute(&path).map_err(|why| Error::NotAbsolute { root, path, why })?;
        roots.insert(root, absolute);
    }
    let queue = Arc::new(Queue::new(roots.keys().copied().collect()));
    let hints = Hints::new();
    tasks.spawn(hints::pass_on(hints.shared(), inbox.clone(), stop.clone()));
    let hands = Hands { roots, hints };
    let (asked, handle) = (Arc::clone(&queue), Handle::current());
    tasks.spawn_blocking(move || work(hands, &asked, &inbox, &stop, &handle));
    Ok(Sources { queue })
}

/// Answers looks until `stop`, or until nobody listens.
fn work(mut hands: Hands, queue: &Queue, inbox: &mpsc::Sender<Input>, stop: &CancellationToken, handle: &Handle) {
    while let Some(job) = handle.block_on(stop.run_until_cancelled(queue.next())) {
        let event = match job {
            Job::Look(look) => hands.answer(look),
            Job::Again(root) => SourceEvent::Hint { root, path: None },
        };
        match handle.block_on(stop.run_until_cancelled(inbox.send(Input::Source(event)))) {
            Some(Ok(())) => {}
            Some(Err(_)) | None => break,
        }
    }
}

/// What touches the disk, on its own thread.
struct Hands {
    roots: BTreeMap<Root, PathBuf>,
    hints: Hints,
}

impl Hands {
    fn answer(&mut self, look: Look) -> SourceEvent {
        match look {
            Look::List { root } => match self.roots.get(&root) {
                Some(base) => list(&mut self.hints, root, base),
                None => not_configured(root),
            },
            Look::Read { root, path, offset, max } => match self.roots.get(&root) {
                Some(base) => read(root, base, path, offset, max),
                None => not_configured(root),
            },
            Look::Find { root, names } => match self.roots.get(&root) {
                Some(base) => find(root, base, names),
                None => not_configured(root),
            },
            Look::Repo { cwd } => {
                let repo = repo::above(&cwd);
                SourceEvent::Repo { cwd, repo }
            }
        }
    }
}

/// Watches before it lists: what happens in between is hinted at, and what happened before is in the listing.
fn list(hints: &mut Hints, root: Root, base: &Path) -> SourceEvent {
    if is_watched(root) {
        hints.watch(root, base);
    }
    let shown = base.to_string_lossy().into_owned();
    match look::list(root, base, FILES_MAX) {
        Ok(listing) => SourceEvent::Looked { root, base: shown, present: true, files: listing.files, skipped: listing.skipped },
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            SourceEvent::Looked { root, base: shown, present: false, files: Vec::new(), skipped: 0 }
        }
        Err(why) => SourceEvent::Denied { root, path: None, why: why.to_string() },
    }
}

fn read(root: Root, base: &Path, path: String, offset: u64, max: u64) -> SourceEvent {
    match read::read(base, &path, offset, max) {
        Ok(read::Piece { stat, bytes, at_end }) => SourceEvent::Read { root, path, stat, offset, bytes, at_end },
        Err(why) => SourceEvent::Denied { root, path: Some(path), why: why.to_string() },
    }
}

fn find(root: Root, base: &Path, names: Vec<String>) -> SourceEvent {
    match look::find(base, names, FILES_MAX) {
        Ok(files) => SourceEvent::Found { root, files },
        Err(why) => SourceEvent::Denied { root, path: None, why: why.to_string() },
    }
}

fn not_configured(root: Root) -> SourceEvent {
    SourceEvent::Denied { root, path: None, why: "no directory is configured for it".to_owned() }
}

/// Transcripts change with every word of an agent; until they are followed, nobody wants to be woken by them.
fn is_watched(root: Root) -> bool {
    match root {
        Root::ClaudeTodos => true,
        Root::ClaudeProjects => false,
    }
}
