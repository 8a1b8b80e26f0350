//! Who we are, as the replica needs it: out of the settings and the device's key; and of which fleet, never by a guess.

use std::path::Path;

use crate::config::Config;
use crate::model::batch::Shelf;
use crate::model::member::Fleet;
use crate::network::identity::DeviceKey;
use crate::replica::Identity;

use super::clock;
use super::error::Error;

/// Who we are, as the replica needs it.
pub(super) fn of(config: &Config, key: &DeviceKey) -> Identity {
    Identity {
        device: key.device(),
        signing: ed25519_dalek::SigningKey::from_bytes(key.seed()),
        name: config.device_name.value.clone(),
        platform: std::env::consts::OS.to_owned(),
        not_seen_after_ms: config.not_seen_after_ms.value,
        exclude: config.exclude.value.clone(),
        stale_after_ms: config.stale_after_ms.value,
        agents: config.agents.names.clone(),
        keywords: config.keywords.clone(),
        peering: config.peering.clone(),
        paced: config.bandwidth.value > 0,
        local: clock::ahead_of_utc_min,
    }
}

/// Refuses fleet secrets that cannot be read: founding a new fleet over them would part this device from its own, for ever and
/// without a word.
pub(super) fn check_fleet(data_dir: &Path, shelf: &impl Shelf) -> Result<(), Error> {
    match shelf.fleet() {
        Some(bytes) if postcard::from_bytes::<Fleet>(&bytes).is_err() => Err(Error::Fleet(data_dir.join("keys/fleet"))),
        Some(_) | None => Ok(()),
    }
}
