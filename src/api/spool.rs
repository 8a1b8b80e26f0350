//! What was reported while no daemon listened, one small file each, until a daemon takes it.
//!
//! Whoever reports leaves a whole file or none (written beside, then renamed), so nobody ever reads half a report and nobody
//! waits for a lock. Each carries when it was said; the core lets no such report take the place of a later word, so one that was
//! taken twice does no harm. A file goes only after its report was kept, or can never be. Nothing is synced: what is lost in a
//! power cut spoke of agents that the same cut ended.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::Value;

use super::body::Fields;
use super::desk::{ANSWER_WITHIN, Desk};
use super::problem::Problem;
use super::writes;
use crate::model::ask::Ask;

/// Reports that wait at most; the oldest go first. A session's later reports say all that its earlier ones did but for its beginning.
pub const REPORTS_MAX: usize = 1_000;
/// Bytes of one report; a hook's longest has some 20 kB.
const REPORT_BYTES_MAX: u64 = 64 * 1024;
/// How often it is looked at though nobody reported: whoever found us slow has left its report and is gone.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How a report is named until it is whole.
const UNFINISHED: char = '.';
/// After so long nobody is still writing it, milliseconds.
const UNFINISHED_MS: i64 = 60_000;

/// Why a report was not left.
#[derive(Debug, thiserror::Error)]
pub enum NotLeft {
    /// No daemon would ever take it.
    #[error("{0}")]
    Never(Problem),
    /// The directory above is not there (there was never a daemon here), or what the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Leaves a report, the body of `POST /api/v3/beats`, for the next daemon. `at_ms` is when it was said. It is read here as the
/// daemon will read it: whoever is told that it waits never hears of it again.
///
/// # Errors
/// [`NotLeft`].
pub fn leave(dir: &Path, at_ms: i64, report: &Value) -> Result<(), NotLeft> {
    let text = report.to_string();
    let read = Fields::parse(text.as_bytes()).and_then(|mut fields| writes::report(&HeaderMap::new(), &mut fields));
    read.map_err(NotLeft::Never)?;
    if text.len() as u64 > REPORT_BYTES_MAX {
        return Err(NotLeft::Never(Problem::bad(format!("a report is longer than {REPORT_BYTES_MAX} bytes"))));
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(why.into()),
        Ok(()) | Err(_) => {}
    }
    let waiting = names(dir)?;
    for oldest in waiting.iter().take((waiting.len() + 1).saturating_sub(REPORTS_MAX)) {
        drop(fs::remove_file(dir.join(oldest)));
    }
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).map_err(|why| io::Error::other(why.to_string()))?;
    let name = format!("{at_ms:016}-{:016x}", u64::from_le_bytes(chance));
    let unfinished = dir.join(format!("{UNFINISHED}{name}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let whole = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&unfinished, dir.join(name)));
    if whole.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    whole.map_err(NotLeft::Io)
}

/// The reports that wait, in the order in which they were said.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(dir)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = entries.filter(|name| is_report(name)).collect();
    names.sort();
    Ok(names)
}

/// Whether a name is one that [`leave`] gives; what else lies there is somebody else's, and is left alone.
fn is_report(name: &str) -> bool {
    let hex = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split_once('-').is_some_and(|(at, chance)| hex(at) && hex(chance))
}

/// Takes what waits: at the start, after every report that comes in, and from time to time.
pub(crate) async fn follow(desk: Arc<Desk>, dir: PathBuf) {
    loop {
        tokio::select! {
            () = desk.stop.cancelled() => return,
            () = take(&desk, &dir) => {}
        }
        tokio::select! {
            () = desk.stop.cancelled() => return,
            () = desk.spooled.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn take(desk: &Desk, dir: &Path) {
    // No directory is the rule: then nobody ever found us away.
    let Ok(waiting) = names(dir) else { return };
    sweep(dir, desk.now());
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for name in waiting {
        let path = dir.join(&name);
        match tell(desk, &path).await {
            Ok(()) => taken += 1,
            // It can never be taken.
            Err(problem) if (400..500).contains(&problem.status) => {
                tracing::warn!(code = %problem.code, "a report that waited cannot be taken");
                refused += 1;
            }
            // Not now; it is asked again.
            Err(problem) => {
                tracing::warn!(code = %problem.code, "reports wait in the spool");
                break;
            }
        }
        drop(fs::remove_file(&path));
    }
    if taken + refused > 0 {
        tracing::info!(taken, refused, "took {taken} of the reports that waited while no daemon ran");
    }
}

async fn tell(desk: &Desk, path: &Path) -> Result<(), Problem> {
    let unread = |why: io::Error| Problem::bad("a report in the spool cannot be read").because(why.to_string());
    let mut bytes = Vec::new();
    // Nobody but us puts files there; a link or a pipe is none of ours.
    if !fs::symlink_metadata(path).map_err(unread)?.is_file() {
        return Err(Problem::bad("a report in the spool is no plain file"));
    }
    File::open(path).and_then(|file| file.take(REPORT_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unread)?;
    let report = writes::report(&HeaderMap::new(), &mut Fields::parse(&bytes)?)?;
    desk.ask(Ask::Beat(report), ANSWER_WITHIN).await.map(drop)
}

/// What was never finished, because its writer was killed, goes.
fn sweep(dir: &Path, now_ms: i64) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let begun = name.strip_prefix(UNFINISHED).and_then(|name| name.split('-').next()?.parse::<i64>().ok());
        if begun.is_some_and(|begun| begun < now_ms - UNFINISHED_MS) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, NOW, knock_socket, leos, say};
    use crate::model::beat::Reported;
    use crate::model::reply::{Code, Refusal, Reply};
    use crate::model::text::Foreign;
    use serde_json::json;

    fn beat() -> Reply {
        Reply::Beat { session: leos(), updated: true, durable: true, told: vec![] }
    }

    async fn gone(dir: &Path, left: usize) {
        for _ in 0..500 {
            if names(dir).expect("listed").len() == left {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still there: {:?}", names(dir));
    }

    #[tokio::test]
    async fn what_was_left_is_taken_in_order_and_then_goes() {
        let mut house = House::open(Fleet::busy().0).await;
        let dir = house.run_dir.path().join("spool");
        for (at, agent) in [(NOW - 5, "second"), (NOW - 9, "first")] {
            leave(&dir, at, &json!({"agent": agent, "state": "waiting", "source": "hook", "cwd": "/w", "at": at})).expect("left");
        }
        assert!(matches!(leave(&dir, NOW, &json!({"state": "no agent"})), Err(NotLeft::Never(_))), "nobody would ever take it");
        fs::write(dir.join(format!("{NOW:016}-{:016x}", 7)), "{\"state\": \"no agent\"}").expect("written");
        std::fs::write(dir.join("0-garbage"), "{").expect("written");
        std::fs::create_dir(dir.join("0000-dir")).expect("made");
        house.api.desk.spooled.notify_one();
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let Ask::Beat(report) = house.answer(|_| beat()).await else { panic!("not a beat") };
            assert_eq!((report.source, report.cwd.as_ref().map(Foreign::json)), ("hook", Some("/w")));
            heard.push((report.agent.json().to_owned(), report.at, report.state));
        }
        let waiting = Some(Reported::Waiting);
        assert_eq!(heard, [("first".into(), Some(NOW - 9), waiting), ("second".into(), Some(NOW - 5), waiting)]);
        gone(&dir, 0).await;
        assert!(dir.join("0-garbage").exists(), "what is none of ours is left alone");
        // Whoever reports says by it that the spool is worth a look.
        leave(&dir, NOW, &json!({"agent": "third", "at": NOW})).expect("left");
        let said = say(knock_socket(&house.run()).await, "POST /api/v3/beats HTTP/1.1\r\nhost: hubless", r#"{"agent": "kai"}"#);
        let (raw, _) = tokio::join!(said, house.answer(|_| beat()));
        assert_eq!(raw.status, 200, "{}", raw.body);
        house.answer(|_| beat()).await;
        gone(&dir, 0).await;
        house.close().await;
    }

    #[tokio::test]
    async fn what_cannot_be_kept_now_stays() {
        let mut house = House::open(Fleet::busy().0).await;
        let dir = house.run_dir.path().join("spool");
        leave(&dir, NOW, &json!({"agent": "sam", "at": NOW})).expect("left");
        house.api.desk.spooled.notify_one();
        house.answer(|_| Reply::Refused(Refusal::new(Code::Storage, "no room"))).await;
        house.api.desk.spooled.notify_one();
        house.answer(|_| beat()).await;
        gone(&dir, 0).await;
        house.close().await;
    }

    #[test]
    fn it_is_bounded_and_nothing_is_made_where_there_was_never_a_daemon() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(leave(&home.path().join("data/spool"), NOW, &json!({"agent": "sam"})).is_err());
        assert!(!home.path().join("data").exists());
        let dir = home.path().join("spool");
        for n in 0..=i64::try_from(REPORTS_MAX).expect("small") {
            leave(&dir, n, &json!({"agent": "sam", "n": n})).expect("left");
        }
        let names = names(&dir).expect("listed");
        assert_eq!(names.len(), REPORTS_MAX);
        assert!(names[0].starts_with("0000000000000001-"), "the oldest went: {}", names[0]);
        assert!(leave(&dir, NOW, &json!({"agent": "sam", "metadata": {"x": "x".repeat(70_000)}})).is_err());
        std::fs::write(dir.join(format!(".{:016}-x", NOW - 2 * UNFINISHED_MS)), "").expect("written");
        std::fs::write(dir.join(format!(".{NOW:016}-x")), "").expect("written");
        sweep(&dir, NOW);
        let unfinished = fs::read_dir(&dir).expect("listed").flatten().filter(|e| e.file_name().to_string_lossy().starts_with('.')).count();
        assert_eq!(unfinished, 1, "only what nobody writes any more goes");
    }
}
