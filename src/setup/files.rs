//! Reading and replacing a settings file: whole or not at all, with a copy of what was there, its mode and its link kept.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::Error;

/// Bytes of a settings file; people have some kilobytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The mode of a file that we make: settings may hold keys.
const NEW_MODE: u32 = 0o600;

/// A settings file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) text: String,
    /// Where the bytes lie, behind all links.
    place: PathBuf,
    mode: u32,
    /// Whose it is: user and group.
    owner: (u32, u32),
}

impl Found {
    /// Whether the path leads to it by a link.
    pub(super) fn is_linked(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
    }
}

/// The file, or `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Found>, Error> {
    let unreadable = |why| Error::Unreadable { file: path.to_owned(), why };
    let odd = |what| Error::Odd { file: path.to_owned(), what };
    if let Err(why) = fs::symlink_metadata(path) {
        return if why.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(unreadable(why)) };
    }
    let place = match fs::canonicalize(path) {
        Ok(place) => place,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(odd("a link to nothing")),
        Err(why) => return Err(unreadable(why)),
    };
    // Looked at before it is opened: a pipe would wait for a writer.
    let meta = fs::metadata(&place).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(odd("no plain file"));
    }
    if meta.nlink() > 1 {
        // Replaced whole it would be another file than the one under the other name.
        return Err(odd("one file under several names (a hard link)"));
    }
    let mut bytes = Vec::new();
    File::open(&place).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(odd("too large to be settings"));
    }
    let text = String::from_utf8(bytes).map_err(|_| odd("no text in UTF-8"))?;
    Ok(Some(Found { text, place, mode: meta.permissions().mode() & 0o7777, owner: (meta.uid(), meta.gid()) }))
}

/// Puts `after` where `before` was found; `None` takes the file away. What was there is copied beside it first, under a name with
/// `stamp`, and that name is returned.
pub(super) fn replace(path: &Path, before: Option<&Found>, after: Option<&str>, stamp: &str) -> Result<Option<PathBuf>, Error> {
    let unwritable = |file: &Path| {
        let file = file.to_owned();
        move |why| Error::Unwritable { file, why }
    };
    let dir = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritable(dir))?;
    let copy = before.map(|before| keep(path, before, stamp)).transpose()?;
    let place = before.map_or(path, |before| before.place.as_path());
    let Some(after) = after else {
        unchanged(path, before)?;
        fs::remove_file(place).map_err(unwritable(place))?;
        return Ok(copy);
    };
    let beside = place.with_file_name(format!(".{}.hubless-{}", name(place), std::process::id()));
    let (mode, owner) = before.map_or((NEW_MODE, None), |before| (before.mode, Some(before.owner)));
    let written = write(&beside, after, mode, owner).map_err(unwritable(place)).and_then(|()| unchanged(path, before));
    let done = written.and_then(|()| fs::rename(&beside, place).map_err(unwritable(place)));
    if done.is_err() {
        drop(fs::remove_file(&beside));
    }
    done?;
    let home = place.parent().unwrap_or(dir);
    File::open(home).and_then(|dir| dir.sync_all()).map_err(unwritable(home))?;
    Ok(copy)
}

/// Puts a file of our own there, whole or not at all, and makes its directory.
pub(super) fn put(path: &Path, text: &str) -> Result<(), Error> {
    let unwritable = |why| Error::Unwritable { file: path.to_owned(), why };
    let dir = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritable)?;
    let beside = path.with_file_name(format!(".{}.hubless-{}", name(path), std::process::id()));
    let done = write(&beside, text, NEW_MODE, None).and_then(|()| fs::rename(&beside, path)).map_err(unwritable);
    if done.is_err() {
        drop(fs::remove_file(&beside));
    }
    done?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(unwritable)
}

/// What was read is still there; the tool itself may write its settings at any time.
fn unchanged(path: &Path, before: Option<&Found>) -> Result<(), Error> {
    if read(path)?.as_ref() == before { Ok(()) } else { Err(Error::Changed { file: path.to_owned() }) }
}

/// A copy beside the path, of the same mode; never over an older one.
fn keep(path: &Path, found: &Found, stamp: &str) -> Result<PathBuf, Error> {
    for n in 0..100 {
        let again = if n == 0 { String::new() } else { format!("-{n}") };
        let copy = path.with_file_name(format!("{}.before-hubless-{stamp}{again}", name(path)));
        match write(&copy, &found.text, found.mode, Some(found.owner)) {
            Ok(()) => return Ok(copy),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            Err(why) => return Err(Error::Unwritable { file: copy, why }),
        }
    }
    Err(Error::Unwritable { file: path.to_owned(), why: io::ErrorKind::AlreadyExists.into() })
}

/// A new file of that owner, on disk when this returns.
fn write(path: &Path, text: &str, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(NEW_MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    let meta = file.metadata()?;
    if let Some((user, group)) = owner.filter(|owner| *owner != (meta.uid(), meta.gid())) {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir).expect("listed").map(|entry| name(&entry.expect("an entry").path())).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_with_two_names_is_not_torn_apart_and_keeps_its_owner() {
        let dir = tempfile::tempdir().expect("dir");
        let (path, other) = (dir.path().join("settings.json"), dir.path().join("dotfiles.json"));
        fs::write(&path, "{}").expect("written");
        fs::hard_link(&path, &other).expect("linked");
        assert!(matches!(read(&path), Err(Error::Odd { .. })));
        fs::remove_file(&other).expect("removed");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1234), Some(1235)).expect("given away");
        }
        let before = read(&path).expect("read").expect("there");
        replace(&path, Some(&before), Some("new"), "s").expect("replaced");
        let after = read(&path).expect("read").expect("there");
        assert_eq!((after.owner, after.text.as_str()), (before.owner, "new"));
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_its_link_and_a_copy() {
        let home = tempfile::tempdir().expect("a directory");
        let (dots, claude) = (home.path().join("dots"), home.path().join("claude"));
        fs::create_dir(&dots).expect("made");
        fs::create_dir(&claude).expect("made");
        let (real, path) = (dots.join("s.json"), claude.join("settings.json"));
        fs::write(&real, "old").expect("written");
        fs::set_permissions(&real, Permissions::from_mode(0o640)).expect("set");
        std::os::unix::fs::symlink(&real, &path).expect("linked");
        let found = read(&path).expect("read").expect("there");
        assert!(found.is_linked(&path) && found.text == "old");
        let copy = replace(&path, Some(&found), Some("new"), "T").expect("replaced").expect("a copy");
        assert_eq!(
            (copy.clone(), fs::read_to_string(&copy).expect("read").as_str()),
            (claude.join("settings.json.before-hubless-T"), "old")
        );
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink(), "the link stays");
        assert_eq!(fs::read_to_string(&real).expect("read"), "new");
        for file in [&real, &copy] {
            assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o7777, 0o640);
        }
        assert_eq!((names(&dots), names(&claude).len()), (vec!["s.json".to_owned()], 2), "nothing is left beside it");
        let again = replace(&path, Some(&read(&path).expect("read").expect("there")), Some("newer"), "T").expect("replaced");
        assert_eq!(again, Some(claude.join("settings.json.before-hubless-T-1")), "no copy takes the place of another");
    }

    #[test]
    fn what_is_no_plain_file_is_refused_without_waiting_for_it() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("dir")).expect("made");
        std::os::unix::fs::symlink(at("nothing"), at("dangling")).expect("linked");
        std::os::unix::fs::symlink(at("loop"), at("loop")).expect("linked");
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("made");
        fs::write(at("bytes"), [0xff, 0xfe]).expect("written");
        File::create(at("large")).and_then(|file| file.set_len(BYTES_MAX + 1)).expect("made");
        for name in ["dir", "dangling", "loop", "pipe", "bytes", "large"] {
            assert!(read(&at(name)).is_err(), "{name}");
        }
        assert_eq!(read(&at("nothing")).expect("no file is no error"), None);
        assert_eq!(read(&at("none/such")).expect("no directory either"), None);
    }

    #[test]
    fn what_somebody_else_writes_meanwhile_is_not_lost() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("settings.json");
        fs::write(&path, "old").expect("written");
        let found = read(&path).expect("read");
        fs::write(&path, "theirs").expect("written");
        for after in [Some("ours"), None] {
            assert!(matches!(replace(&path, found.as_ref(), after, "T"), Err(Error::Changed { .. })));
        }
        assert!(matches!(replace(&path, None, Some("ours"), "T"), Err(Error::Changed { .. })), "nor what came to be");
        assert_eq!(fs::read_to_string(&path).expect("read"), "theirs");
        assert!(!names(home.path()).iter().any(|name| name.starts_with('.')), "{:?}", names(home.path()));
        let new = home.path().join("a/b/hooks.json");
        assert_eq!(replace(&new, None, Some("{}"), "T").expect("made"), None);
        assert_eq!(fs::metadata(&new).expect("there").permissions().mode() & 0o7777, NEW_MODE);
    }
}
