//! `doctor --fix`: mends what can be mended without harm, and says each thing.
//!
//! The invariant: no document, no key, nobody else's file is written or removed. Modes are narrowed, never widened. What a dead daemon
//! left behind goes only while we hold the lock that every daemon takes first; what is removed of the index is built again.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::context::Context;
use super::output::{Tint, print};
use super::problem::Trouble;
use super::{hooks, service};
use crate::model::text::Foreign;
use crate::setup::Renewed;

/// What of the data directory is surely ours; what else lies in it is guarded by the directory's own mode.
const DATA: &[&str] = &["docs", "index", "quarantine", "keys", "spool", "lock", "format", "life", "last-port"];
/// The newest log, and what was said before there was one.
const LOGS: &[&str] = &["hubless.log", "up.err"];

/// What was done, and what could not be.
struct Mender<'c> {
    context: &'c Context,
    told: Vec<Value>,
}

/// Mends, and says to people what; the rows are for programs.
pub(crate) fn mend(context: &Context) -> anyhow::Result<Vec<Value>> {
    let mut mender = Mender { context, told: Vec::new() };
    mender.modes()?;
    mender.left_behind()?;
    mender.hooks()?;
    mender.service()?;
    if mender.told.is_empty() {
        mender.say(Tint::Plain, "· nothing to mend")?;
    }
    mender.say(Tint::Plain, "")?;
    Ok(mender.told)
}

impl Mender<'_> {
    fn say(&self, tint: Tint, line: &str) -> anyhow::Result<()> {
        let out = self.context.out;
        if out.is_data() || out.quiet { Ok(()) } else { print(&format!("{}\n", out.tint(tint, line))) }
    }

    fn did(&mut self, check: &'static str, what: &str) -> anyhow::Result<()> {
        self.told.push(json!({"check": check, "mended": true, "detail": what}));
        self.say(Tint::Plain, &format!("✓ mended: {}", plain(what)))
    }

    fn could_not(&mut self, check: &'static str, what: &str) -> anyhow::Result<()> {
        self.told.push(json!({"check": check, "mended": false, "detail": what}));
        self.say(Tint::Warn, &format!("! not mended: {}", plain(what)))
    }

    /// What is ours is for us alone.
    fn modes(&mut self) -> anyhow::Result<()> {
        let home = &self.context.config.home;
        let below = |dir: &Path, names: &[&str]| names.iter().map(|name| dir.join(name)).collect::<Vec<_>>();
        let keys = fs::read_dir(home.data_dir.join("keys")).into_iter().flatten().flatten().map(|entry| entry.path());
        let ours = [home.data_dir.clone(), home.run_dir.clone(), home.logs_dir.clone(), home.socket(), home.http_json()];
        let paths = ours.into_iter().chain(below(&home.data_dir, DATA)).chain(keys).chain(below(&home.logs_dir, LOGS));
        let open: Vec<_> = paths.filter_map(|path| wider(&path).map(|(mode, wanted)| (path, mode, wanted))).collect();
        for (path, mode, wanted) in open {
            let shown = path.display().to_string();
            match fs::set_permissions(&path, Permissions::from_mode(mode & wanted)) {
                Ok(()) => self.did("mode", &format!("{shown} had mode {mode:04o} and has {:04o}", mode & wanted))?,
                Err(why) => self.could_not("mode", &format!("{shown} has mode {mode:04o}: {why}"))?,
            }
        }
        Ok(())
    }

    /// What a daemon that was killed left, and an index that no daemon could use.
    fn left_behind(&mut self) -> anyhow::Result<()> {
        let home = self.context.config.home.clone();
        // Whoever holds this is the daemon; while we do, none can start.
        let Some(_held) = held(&home.data_dir.join("lock")) else { return Ok(()) };
        let (socket, page) = (home.socket(), home.http_json());
        let is_socket = fs::symlink_metadata(&socket).is_ok_and(|meta| meta.file_type().is_socket());
        // A daemon whose disk does not keep lets its directory go, and answers all the same.
        let answers = is_socket && UnixStream::connect(&socket).is_ok();
        if is_socket && !answers {
            self.removed("socket.dead", &socket, "a socket where nobody answers", |path| fs::remove_file(path))?;
        }
        if !answers && fs::symlink_metadata(&page).is_ok_and(|meta| meta.is_file()) {
            self.removed("page.dead", &page, "the address of a page that is not served", |path| fs::remove_file(path))?;
        }
        if answers {
            return Ok(());
        }
        let index = home.data_dir.join("index");
        if is_unusable(&index) {
            let is_dir = index.is_dir();
            let remove = move |path: &Path| if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            self.removed("index", &index, "an index that cannot be used; the next start builds it anew", remove)?;
        }
        let aside = fs::read_dir(&home.data_dir).into_iter().flatten().flatten();
        let broken = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("index.broken-"));
        for path in broken.map(|entry| entry.path()).filter(|path| is_real_dir(path)).collect::<Vec<_>>() {
            self.removed("index", &path, "a broken index that was set aside; it has been built anew", |path| fs::remove_dir_all(path))?;
        }
        Ok(())
    }

    fn removed(
        &mut self,
        check: &'static str,
        path: &Path,
        what: &str,
        remove: impl Fn(&Path) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        match remove(path) {
            Ok(()) => self.did(check, &format!("removed {} ({what})", path.display())),
            Err(why) => self.could_not(check, &format!("{} ({what}): {why}", path.display())),
        }
    }

    /// Entries of ours that are out of date, after they were shown.
    fn hooks(&mut self) -> anyhow::Result<()> {
        for (tool, plan) in hooks::outdated(self.context)? {
            self.say(Tint::Plain, hooks::shown(self.context.out, &plan).trim_end())?;
            match hooks::put_in(self.context, tool, &plan) {
                Ok((_, line, remarks)) => {
                    self.did("hooks", line.trim_start_matches("✓ "))?;
                    remarks.iter().try_for_each(|remark| self.say(Tint::Warn, &format!("  {remark}")))?;
                }
                Err(error) => self.could_not("hooks", &words(&error))?,
            }
        }
        Ok(())
    }

    fn service(&mut self) -> anyhow::Result<()> {
        let Ok((unit, _)) = service::unit(self.context) else { return Ok(()) };
        let file = unit.file.display().to_string();
        match unit.renew() {
            Ok(Renewed::Needless) => Ok(()),
            Ok(Renewed::Done) => self.did("service", &format!("{file} is up to date; it counts from the next start of the service")),
            Ok(Renewed::Sets(line)) => self.could_not(
                "service",
                &format!(
                    "{file} is not what would be written now, and sets what is not set here ({line}); look, then: hubless service install"
                ),
            ),
            // A file that is not ours is no fault of ours.
            Err(crate::setup::Error::Foreign { .. }) => Ok(()),
            Err(error) => self.could_not("service", &error.to_string()),
        }
    }
}

fn words(error: &anyhow::Error) -> String {
    error.downcast_ref::<Trouble>().map_or_else(|| format!("{error:#}"), |trouble| trouble.problem.detail.clone())
}

fn plain(text: &str) -> String {
    Foreign::new(text).plain()
}

/// The mode of what others can look into, and the bits that it may have. Links are not followed: what they lead to is not ours by that.
fn wider(path: &Path) -> Option<(u32, u32)> {
    let meta = fs::symlink_metadata(path).ok()?;
    let (kind, mode) = (meta.file_type(), meta.permissions().mode() & 0o7777);
    let wanted = match (kind.is_dir(), kind.is_file() || kind.is_socket()) {
        (true, _) => 0o700,
        (_, true) => 0o600,
        (false, false) => return None,
    };
    (meta.uid() == rustix::process::getuid().as_raw() && mode & 0o077 != 0).then_some((mode, wanted))
}

/// The lock, when nobody else holds it; it is let go when this is dropped. Nothing is made where there was never a daemon.
fn held(path: &Path) -> Option<File> {
    let file = OpenOptions::new().read(true).write(true).mode(0o600).open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Not a directory, or one without the files that every index has, or one that was left in the midst of a snapshot.
fn is_unusable(index: &Path) -> bool {
    match fs::symlink_metadata(index) {
        Err(_) => false,
        Ok(meta) if !meta.is_dir() => meta.is_file(),
        Ok(_) => {
            let names: Vec<String> =
                fs::read_dir(index).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            !names.is_empty() && !["conf", "db"].iter().all(|needed| names.iter().any(|name| name == needed))
                || names.iter().any(|name| name.ends_with(".generating"))
        }
    }
}

fn is_real_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_narrowed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let (own, key, foreign, link) =
            (dir.path().join("own"), dir.path().join("key"), dir.path().join("foreign"), dir.path().join("link"));
        fs::create_dir(&own).expect("made");
        fs::write(&key, "k").expect("written");
        fs::write(&foreign, "x").expect("written");
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
        set(&own, 0o755);
        set(&key, 0o400);
        set(&foreign, 0o666);
        std::os::unix::fs::symlink(&foreign, &link).expect("linked");
        assert_eq!([&own, &key, &foreign, &link].map(|path| wider(path)), [Some((0o755, 0o700)), None, Some((0o666, 0o600)), None]);
        assert_eq!(wider(&dir.path().join("none")), None);
    }

    #[test]
    fn an_index_is_known_by_its_files_and_a_lock_by_its_holder() {
        let dir = tempfile::tempdir().expect("dir");
        let index = dir.path().join("index");
        assert!(!is_unusable(&index), "a missing one is made at the next start");
        fs::create_dir(&index).expect("made");
        assert!(!is_unusable(&index));
        fs::write(index.join("conf"), "").expect("written");
        assert!(is_unusable(&index));
        fs::write(index.join("db"), "").expect("written");
        assert!(!is_unusable(&index));
        fs::write(index.join("snap.1.generating"), "").expect("written");
        assert!(is_unusable(&index));
        let lock = dir.path().join("lock");
        assert!(held(&lock).is_none() && !lock.exists(), "nothing is made");
        fs::write(&lock, "7\n").expect("written");
        let first = held(&lock).expect("free");
        assert!(held(&lock).is_none());
        drop(first);
        assert_eq!(fs::read_to_string(&lock).expect("there"), "7\n", "its text is its holder's");
        assert!(held(&lock).is_some());
    }
}
