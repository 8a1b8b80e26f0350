//! Who we are, as the replica needs it: out of the settings and the device's key.

use crate::config::Config;
use crate::network::identity::DeviceKey;
use crate::replica::Identity;

/// Who we are, as the replica needs it.
pub(super) fn of(config: &Config, key: &DeviceKey) -> Identity {
    Identity {
        device: key.device(),
        signing: ed25519_dalek::SigningKey::from_bytes(key.seed()),
        name: config.device_name.value.clone(),
        platform: std::env::consts::OS.to_owned(),
        not_seen_after_ms: config.not_seen_after_ms.value,
    }
}
