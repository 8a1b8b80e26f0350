//! This device's key: one file of 32 bytes that only its owner may read, and the two spellings of its public half.
//!
//! The device id is the ed25519 public key; libp2p's peer id of an ed25519 key is the key itself in a protobuf in an
//! identity multihash, so each is read back from the other without asking anybody.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, ed25519};

use crate::model::id::DeviceId;

/// The secret half of this device's identity.
#[derive(Clone)]
pub struct DeviceKey {
    seed: [u8; 32],
    device: DeviceId,
}

/// Why there is no key to work with. Each says what mends it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Somebody else may read or replace it.
    #[error("{} can be read by others (mode {mode:o}); fix: chmod {right:o} {}", path.display(), path.display())]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it must have at most.
        right: u32,
    },
    /// It is no key of ours.
    #[error("{} is not a device key ({what}); fix: put it back from where it was moved, or move it away to become a new device", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The system says no.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// In the system's words.
        why: io::Error,
    },
    /// The system gives no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(String),
}

impl DeviceKey {
    /// The key that grows from this seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> DeviceKey {
        let secret = ed25519_dalek::SigningKey::from_bytes(&seed);
        DeviceKey { seed, device: DeviceId(secret.verifying_key().to_bytes()) }
    }

    /// The public half.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The ed25519 seed, for signing membership entries.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// As libp2p wants it.
    pub(crate) fn keypair(&self) -> Result<Keypair, String> {
        Keypair::ed25519_from_bytes(self.seed).map_err(|e| e.to_string())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key of {:?}", self.device)
    }
}

/// The device behind a peer id; `None` for any other kind of key than ed25519.
pub(crate) fn device_of(peer: &PeerId) -> Option<DeviceId> {
    const IDENTITY: u64 = 0;
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    Some(DeviceId(key.try_into_ed25519().ok()?.to_bytes()))
}

/// The peer id of a device; `None` if its 32 bytes are no point of the curve, so that nobody can ever prove them.
pub(crate) fn peer_of(device: DeviceId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&device.0).ok()?;
    Some(PeerId::from_public_key(&PublicKey::from(key)))
}

/// The key in the data directory `data`, if this device has one.
///
/// # Errors
/// It is there and cannot be used, or others may read it.
pub fn load(data: &Path) -> Result<Option<DeviceKey>, KeyError> {
    let path = file(data);
    let at = |why| KeyError::Io { path: path.clone(), why };
    let stat = match fs::symlink_metadata(&path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        stat => stat.map_err(at)?,
    };
    if !stat.is_file() {
        return Err(KeyError::NotAKey { path, what: "not a regular file" });
    }
    refuse_open(&path, stat.mode(), 0o600)?;
    let dir = directory(data);
    refuse_open(&dir, fs::metadata(&dir).map_err(at)?.mode(), 0o700)?;
    let mut bytes = Vec::new();
    File::open(&path).and_then(|f| f.take(33).read_to_end(&mut bytes)).map_err(at)?;
    match <[u8; 32]>::try_from(bytes) {
        Ok(seed) => Ok(Some(DeviceKey::from_seed(seed))),
        Err(_) => Err(KeyError::NotAKey { path, what: "not 32 bytes" }),
    }
}

/// The key in the data directory `data`; a new one is drawn, written and synced if there is none.
///
/// # Errors
/// As [`load`], and when it cannot be written.
pub fn load_or_make(data: &Path) -> Result<DeviceKey, KeyError> {
    if let Some(key) = load(data)? {
        return Ok(key);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| KeyError::Random(e.to_string()))?;
    write(data, &seed)?;
    load(data)?.ok_or_else(|| KeyError::Io { path: file(data), why: io::ErrorKind::NotFound.into() })
}

/// Puts the key away under a name that nothing reads, and the fleet's secrets with it: the next start makes a new device, alone
/// in a new fleet. Who it was, if there was a key. The caller holds the data directory's lock.
///
/// # Errors
/// As [`load`], and when the files cannot be renamed.
pub fn retire(data: &Path) -> Result<Option<DeviceId>, KeyError> {
    let Some(key) = load(data)? else { return Ok(None) };
    let dir = directory(data);
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| KeyError::Io { path, why }
    };
    let n = (1..).find(|n| !dir.join(format!("device.retired-{n}")).exists()).unwrap_or(u32::MAX);
    // The fleet first: a key without a fleet begins a new one, a fleet without its key would be somebody else's.
    for name in ["fleet", "device"] {
        let from = dir.join(name);
        match fs::rename(&from, dir.join(format!("{name}.retired-{n}"))) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(at(&from)(why)),
            Ok(()) | Err(_) => {}
        }
    }
    File::open(&dir).and_then(|d| d.sync_all()).map_err(at(&dir))?;
    Ok(Some(key.device()))
}

/// Writes the seed beside its place and links it there: the name appears with all 32 bytes or not at all, and never
/// replaces another key. A half-written one from a crash is under the other name and begun again.
fn write(data: &Path, seed: &[u8; 32]) -> Result<(), KeyError> {
    let (dir, path) = (directory(data), file(data));
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| KeyError::Io { path, why }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(at(&dir))?;
    refuse_open(&dir, fs::metadata(&dir).map_err(at(&dir))?.mode(), 0o700)?;
    let half = dir.join("device.half");
    match fs::remove_file(&half) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(at(&half)(why)),
        Ok(()) | Err(_) => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half).map_err(at(&half))?;
    out.write_all(seed).and_then(|()| out.sync_all()).map_err(at(&half))?;
    match fs::hard_link(&half, &path) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(at(&path)(why)),
        Ok(()) | Err(_) => {}
    }
    fs::remove_file(&half).map_err(at(&half))?;
    File::open(&dir).and_then(|d| d.sync_all()).map_err(at(&dir))?;
    File::open(data).and_then(|d| d.sync_all()).map_err(at(data))
}

fn refuse_open(path: &Path, mode: u32, right: u32) -> Result<(), KeyError> {
    let mode = mode & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Open { path: path.to_owned(), mode, right }) }
}

fn directory(data: &Path) -> PathBuf {
    data.join("keys")
}

fn file(data: &Path) -> PathBuf {
    directory(data).join("device")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use std::os::unix::fs::PermissionsExt;

    quickcheck! {
        fn a_peer_id_names_its_device_and_back(seed: u64) -> bool {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            let key = DeviceKey::from_seed(bytes);
            let peer = peer_of(key.device()).expect("a public key is on the curve");
            device_of(&peer) == Some(key.device()) && key.keypair().expect("32 bytes").public().to_peer_id() == peer
        }
    }

    #[test]
    fn a_peer_id_of_another_kind_is_nobody() {
        assert_eq!(device_of(&PeerId::random()), None);
    }

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let data = tempfile::tempdir().expect("a directory");
        assert!(load(data.path()).expect("nothing there yet").is_none());
        let key = load_or_make(data.path()).expect("a new key");
        assert_eq!(load_or_make(data.path()).expect("the same").device(), key.device());
        let mode = |p: &Path| fs::metadata(p).expect("it is there").mode() & 0o7777;
        assert_eq!((mode(&file(data.path())), mode(&directory(data.path()))), (0o600, 0o700));
        assert_eq!(fs::read_dir(directory(data.path())).expect("readable").count(), 1, "nothing half-written stays");
        assert!(!format!("{key:?}").contains(&format!("{:?}", key.seed())));
    }

    #[test]
    fn a_retired_key_is_kept_and_never_comes_back() {
        let data = tempfile::tempdir().expect("a directory");
        assert_eq!(retire(data.path()).expect("nothing to do"), None);
        let first = load_or_make(data.path()).expect("a new key").device();
        fs::write(directory(data.path()).join("fleet"), b"secrets").expect("written");
        assert_eq!(retire(data.path()).expect("done"), Some(first));
        let second = load_or_make(data.path()).expect("another key").device();
        assert_ne!(first, second);
        assert_eq!(retire(data.path()).expect("done"), Some(second));
        let names = ["device.retired-1", "device.retired-2", "fleet.retired-1"];
        assert!(names.iter().all(|name| directory(data.path()).join(name).exists()) && load(data.path()).expect("readable").is_none());
    }

    #[test]
    fn a_crash_while_it_was_written_is_no_lock_out() {
        let data = tempfile::tempdir().expect("a directory");
        DirBuilder::new().mode(0o700).create(directory(data.path())).expect("a directory");
        fs::write(directory(data.path()).join("device.half"), b"half").expect("written");
        load_or_make(data.path()).expect("begun again");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_fix() {
        let data = tempfile::tempdir().expect("a directory");
        load_or_make(data.path()).expect("a new key");
        for (path, mode) in [(file(data.path()), 0o640), (directory(data.path()), 0o755)] {
            let before = fs::metadata(&path).expect("it is there").permissions();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("ours");
            let refused = load_or_make(data.path()).expect_err("too open").to_string();
            assert!(refused.contains("chmod") && refused.contains(&path.display().to_string()), "{refused}");
            fs::set_permissions(&path, before).expect("ours");
        }
        fs::write(file(data.path()), b"short").expect("written");
        assert!(matches!(load_or_make(data.path()), Err(KeyError::NotAKey { .. })));
    }
}
