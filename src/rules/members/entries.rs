//! One entry of the log: its one spelling, its signature, and how one is made. What it means beside others is the log's.

use std::collections::BTreeSet;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::model::id::DeviceId;
use crate::model::limits::{ENTRY_BYTES_MAX, PARENTS_MAX};
use crate::model::member::{Entry, EntryHash, Signed, Statement};

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEntry {
    /// Longer than any entry.
    #[error("too long for an entry of the membership log")]
    TooLong,
    /// Not the one spelling of an entry.
    #[error("not an entry of the membership log")]
    Garbled,
    /// A genesis with parents, another entry without, too many, or not in order.
    #[error("an entry of the membership log whose parents cannot be")]
    Parents,
    /// Not signed by whom it names.
    #[error("an entry of the membership log with a wrong signature")]
    Signature,
}

/// Reads and proves one entry, without looking at any other.
pub(super) fn read(bytes: &[u8]) -> Result<Entry, NotAnEntry> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(NotAnEntry::TooLong);
    }
    let signed: Signed = postcard::from_bytes(bytes).map_err(|_| NotAnEntry::Garbled)?;
    // One entry, one spelling, one hash.
    if written(&signed) != bytes {
        return Err(NotAnEntry::Garbled);
    }
    let Signed { entry, signature } = signed;
    let is_genesis = matches!(entry.statement, Statement::Genesis { .. });
    let ordered = entry.parents.is_sorted_by(|a, b| a < b);
    if entry.parents.is_empty() != is_genesis || entry.parents.len() > PARENTS_MAX || !ordered {
        return Err(NotAnEntry::Parents);
    }
    let key = VerifyingKey::from_bytes(&entry.by).map_err(|_| NotAnEntry::Signature)?;
    let signature = Signature::from_slice(&signature).map_err(|_| NotAnEntry::Signature)?;
    key.verify_strict(&written(&entry), &signature).map_err(|_| NotAnEntry::Signature)?;
    Ok(entry)
}

pub(super) fn written(what: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(what).expect("postcard writes plain data into memory without failing")
}

pub(super) fn sign(key: &SigningKey, parents: &[EntryHash], statement: Statement) -> (EntryHash, Vec<u8>) {
    let named: BTreeSet<EntryHash> = parents.iter().take(PARENTS_MAX).copied().collect();
    let entry = Entry { parents: named.into_iter().collect(), statement, by: key.verifying_key().to_bytes() };
    let signature = key.sign(&written(&entry)).to_vec();
    let bytes = written(&Signed { entry, signature });
    (*blake3::hash(&bytes).as_bytes(), bytes)
}

/// Begins a fleet with its first device; the hash is the fleet's id. `nonce` is drawn at random.
#[must_use]
pub fn genesis(key: &SigningKey, nonce: [u8; 16]) -> (EntryHash, Vec<u8>) {
    sign(key, &[], Statement::Genesis { nonce })
}

/// Lets a device in. `parents` is [`Log::parents`](super::log::Log::parents) of the signer.
#[must_use]
pub fn add(key: &SigningKey, parents: &[EntryHash], device: DeviceId) -> (EntryHash, Vec<u8>) {
    sign(key, parents, Statement::Add { device, key: device.0 })
}

/// Shuts a device out for ever. `parents` is [`Log::parents`](super::log::Log::parents) of the signer: what they do not reach of that device's own
/// entries counts no more.
#[must_use]
pub fn remove(key: &SigningKey, parents: &[EntryHash], device: DeviceId) -> (EntryHash, Vec<u8>) {
    sign(key, parents, Statement::Remove { device })
}
