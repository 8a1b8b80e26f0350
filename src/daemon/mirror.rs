//! Files that are written when what they say changes (`files.*`): all todos, the coordination view, the conflicts, and what is
//! known in numbers, for programs that read files.
//!
//! A reader finds the file before or the file after, never a part: it is written beside, synced, and renamed over. They are this
//! device's own files, readable by its owner alone, so they hold what `sync.exclude` keeps here, too. A failure is said in the
//! log and by `doctor`, and nothing waits for it: the next change tries again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::reads;
use crate::model::input::Input;
use crate::model::view::View;

use super::clock;

/// Changes of so long are one.
const GATHERED: Duration = Duration::from_millis(500);
/// Fields that say when a file was written: a file that says nothing else anew stays as it is.
const MOMENTS: [&str; 3] = ["timestamp", "last_updated", "last_consolidation"];

/// Writes these files until `stop`, and once more then.
pub(super) fn start(
    files: &BTreeMap<&'static str, PathBuf>,
    view: watch::Receiver<Arc<View>>,
    inbox: mpsc::Sender<Input>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) {
    if files.is_empty() {
        return;
    }
    let mut mirrors: Vec<Mirror> = files.iter().map(|(name, path)| Mirror::of(name, path)).collect();
    let (mut view, blocking) = (view, tasks.clone());
    tasks.spawn(async move {
        loop {
            let last = stop.is_cancelled();
            let shown = Arc::clone(&view.borrow_and_update());
            let written = blocking.spawn_blocking(move || {
                let said = mirrors.iter_mut().filter_map(|mirror| mirror.follow(&shown, clock::wall_ms())).collect::<Vec<_>>();
                (mirrors, said)
            });
            let Ok((same, said)) = written.await else { return };
            mirrors = same;
            for (name, trouble) in said {
                tell(&inbox, name, trouble, &stop).await;
            }
            if last {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                changed = next(&mut view) => if changed.is_err() { return },
            }
        }
    });
}

/// The next change, when others had the time to join it.
async fn next(view: &mut watch::Receiver<Arc<View>>) -> Result<(), watch::error::RecvError> {
    view.changed().await?;
    tokio::time::sleep(GATHERED).await;
    Ok(())
}

async fn tell(inbox: &mpsc::Sender<Input>, name: &'static str, trouble: Option<String>, stop: &CancellationToken) {
    match &trouble {
        Some(why) => tracing::warn!(file = name, why, "files.{name} cannot be written"),
        None => tracing::info!(file = name, "files.{name} is written again"),
    }
    tokio::select! {
        _ = inbox.send(Input::Written(name, trouble)) => {}
        () = stop.cancelled() => {}
    }
}

/// One file, and what it says.
struct Mirror {
    name: &'static str,
    path: PathBuf,
    says: Option<Value>,
    fails: Option<String>,
}

impl Mirror {
    /// What stands there already stays while it says the same.
    fn of(name: &'static str, path: &Path) -> Mirror {
        let says = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).map(lasting);
        Mirror { name, path: path.to_owned(), says, fails: None }
    }

    /// Writes what is shown, if that is news. Gives what is to be said of it: that it fails, or works again.
    fn follow(&mut self, view: &View, now_ms: i64) -> Option<(&'static str, Option<String>)> {
        let whole = content(self.name, view, now_ms);
        let says = lasting(whole.clone());
        if self.says.as_ref() == Some(&says) && self.fails.is_none() {
            return None;
        }
        let fails = replace(&self.path, &whole).err().map(|why| format!("{}: {why}", self.path.display()));
        self.says = fails.is_none().then_some(says);
        let is_news = self.fails != fails;
        self.fails.clone_from(&fails);
        is_news.then_some((self.name, fails))
    }
}

/// Without the moments at which it was written.
fn lasting(mut whole: Value) -> Value {
    fn strip(value: &mut Value) {
        if let Some(fields) = value.as_object_mut() {
            MOMENTS.iter().for_each(|moment| drop(fields.remove(*moment)));
        }
    }
    strip(&mut whole);
    if let Some(metrics) = whole.get_mut("metrics") {
        strip(metrics);
    }
    whole
}

/// What a file says.
fn content(name: &str, view: &View, now_ms: i64) -> Value {
    let answer = |path: &str, query: &str| reads::answer(view, now_ms, "daemon", path, query).unwrap_or_default();
    let now = || json!(reads::moment(now_ms));
    match name {
        "todos" => answer("/api/v3/todos", "limit=0")["data"].take(),
        "coordination" => answer("/api/project", ""),
        "conflicts" => {
            let rows = answer("/api/v3/conflicts", "limit=0")["data"].take();
            let rows = rows.as_array().cloned().unwrap_or_default();
            let settled = rows.iter().filter(|row| row["resolved"] == false).count();
            json!({"timestamp": now(), "conflicts": rows.iter().map(conflict).collect::<Vec<_>>(), "auto_resolved": settled})
        }
        _ => {
            let overview = answer("/api/v3/overview", "")["data"].take();
            let lists = view.sessions.values().filter(|session| !session.todos.is_empty()).count();
            let todos = view.todos.values().filter(|todo| !todo.deleted).count();
            json!({
                "last_updated": now(),
                "status": overview["verdict"],
                "metrics": {"consolidated_todos": todos, "session_files": lists, "last_consolidation": now()},
                "active_sessions": overview["active_sessions"],
            })
        }
    }
}

/// A conflict with the names of the replaced system beside ours.
fn conflict(row: &Value) -> Value {
    let mut row = row.clone();
    let (local, remote) = (row["local"]["value"].clone(), row["remote"]["value"].clone());
    (row["local_status"], row["remote_status"]) = (local, remote);
    row["resolution"] = row["rule"].clone();
    row["timestamp"] = row["remote"]["at"].clone();
    row
}

/// Puts the file there whole.
fn replace(path: &Path, whole: &Value) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = path.with_file_name(format!(".{name}.hubless-{}", std::process::id()));
    let mut bytes = serde_json::to_vec_pretty(whole)?;
    bytes.push(b'\n');
    let written = write(&beside, &bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        drop(fs::remove_file(&beside));
    }
    written?;
    File::open(dir)?.sync_all()
}

/// A new file that only its owner reads, on disk when this returns. One that a crash left under that name is in the way.
fn write(beside: &Path, bytes: &[u8]) -> io::Result<()> {
    drop(fs::remove_file(beside));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::DeviceId;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn view() -> View {
        View::of(DeviceId([1; 32]))
    }

    #[test]
    fn a_file_is_whole_its_owners_and_written_only_when_it_says_something_else() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["todos", "coordination", "conflicts", "status"] {
            let path = dir.path().join(format!("{name}.json"));
            let mut mirror = Mirror::of(name, &path);
            assert_eq!(mirror.follow(&view(), 1_000), None, "it works, which is no news");
            let first = fs::metadata(&path).expect("written");
            assert_eq!(first.permissions().mode() & 0o777, 0o600);
            let said: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
            assert_eq!(said.is_array(), name == "todos", "{said}");
            let _ = mirror.follow(&view(), 9_000);
            let _ = Mirror::of(name, &path).follow(&view(), 10_000);
            assert_eq!(fs::metadata(&path).expect("there").ino(), first.ino(), "{name} is left alone, by the next start, too");
            let mut other = view();
            other.sessions.insert(crate::model::id::Id([1; 16]), session());
            let _ = mirror.follow(&other, 11_000);
            let moved = fs::metadata(&path).expect("there").ino() != first.ino();
            assert_eq!(moved, matches!(name, "coordination" | "status"), "{name}");
        }
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 4, "nothing is left beside them");
    }

    fn session() -> Arc<crate::model::view::SessionView> {
        use crate::model::session::SessionFact;
        use crate::model::view::{AgentState, SessionState, SessionView};
        let fact = SessionFact {
            rev: 1,
            device: DeviceId([1; 32]),
            tool: "custom".into(),
            tool_session: "s".into(),
            agent: "sam".into(),
            project: Some("web".into()),
            cwd: None,
            branch: None,
            title: None,
            parent: None,
            side: false,
            started: 0,
        };
        let (id, state) = (crate::model::id::Id([1; 16]), SessionState::Agent(AgentState::Working));
        Arc::new(SessionView {
            id,
            fact,
            state,
            last_activity: 0,
            end: None,
            todos: [].into(),
            open: 0,
            done: 0,
            counts: None,
            tags: Default::default(),
            has_file: None,
        })
    }

    #[test]
    fn a_failure_is_said_once_and_so_is_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("not/there.json");
        let mut mirror = Mirror::of("status", &path);
        assert!(matches!(mirror.follow(&view(), 1), Some(("status", Some(why))) if why.contains("there.json")));
        assert_eq!(mirror.follow(&view(), 2), None);
        fs::create_dir(dir.path().join("not")).expect("made");
        assert_eq!(mirror.follow(&view(), 3), Some(("status", None)));
        assert!(path.exists());
    }
}
