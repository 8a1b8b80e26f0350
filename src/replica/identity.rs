//! Who a device is and what its person set, as the replica needs it: given at its start, and never read from anywhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::model::id::DeviceId;
use crate::model::leaving::Exclude;
use crate::model::member::AgentName;
use crate::model::peering::Peering;
use crate::model::time::Millis;

/// Who we are.
#[derive(Clone)]
pub struct Identity {
    /// This installation.
    pub device: DeviceId,
    /// Its key.
    pub signing: SigningKey,
    /// Its name, only a label.
    pub name: String,
    /// `linux`, `macos`, …
    pub platform: String,
    /// After how long out of reach a device is noted as not seen.
    pub not_seen_after_ms: Millis,
    /// What stays on this device.
    pub exclude: Exclude,
    /// After how long a silence an agent is stale, unless twice its interval is longer.
    pub stale_after_ms: Millis,
    /// How its person calls its agents, by `agent_key` of what their tools and reports call them.
    pub agents: BTreeMap<String, AgentName>,
    /// Words that tag what names them: tag and word.
    pub keywords: Arc<[(String, String)]>,
    /// What goes to the others and comes from them, when, and how fast.
    pub peering: Peering,
    /// Whether all together is kept to a pace.
    pub paced: bool,
    /// Minutes by which local time is ahead of UTC, at a moment in milliseconds since 1970.
    pub local: fn(i64) -> i64,
}

impl Identity {
    /// The device whose key is `signing`, called `name`, with nothing set: all goes to everybody, local time is UTC, and the
    /// two silences are those that the settings begin with (2 h and 5 min).
    pub fn of(signing: SigningKey, name: String) -> Identity {
        Identity {
            device: DeviceId(signing.verifying_key().to_bytes()),
            signing,
            name,
            platform: "linux".into(),
            not_seen_after_ms: 7_200_000,
            exclude: Exclude::default(),
            stale_after_ms: 300_000,
            agents: BTreeMap::new(),
            keywords: Arc::default(),
            peering: Peering::default(),
            paced: false,
            local: |_| 0,
        }
    }
}
