//! Members: the entries of the signed log that alone decides who may speak. Their judgement is `rules/members`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::DeviceId;

/// The blake3 of an entry's bytes.
pub type EntryHash = [u8; 32];

/// What one entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// A fleet begins with its first device; its hash is the fleet's id.
    Genesis {
        /// Random, so that two fleets of one device differ.
        nonce: [u8; 16],
    },
    /// A device is let in, with the key it proves itself by.
    Add {
        /// The device.
        device: DeviceId,
        /// Its key; equal to the device until it is changed.
        key: [u8; 32],
    },
    /// A key is shut out for ever.
    Remove {
        /// The device that it belonged to.
        device: DeviceId,
    },
}

/// What is signed: a statement, the entries it was made in sight of, and its maker's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The newest entries that the maker knew; empty in a genesis only.
    pub parents: Vec<EntryHash>,
    /// What it says.
    pub statement: Statement,
    /// The maker's public key.
    pub by: [u8; 32],
}

/// An entry with the maker's ed25519 signature over `postcard(entry)`; kept and sent as postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What is signed.
    pub entry: Entry,
    /// 64 bytes: R and s.
    pub signature: Vec<u8>,
}

/// What a device keeps of its fleet outside every document, in a file of mode 0600.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Which fleet.
    pub id: super::id::FleetId,
    /// Every secret ever known, oldest first; the newest announces, all recognise. They feed the mDNS token only.
    pub secrets: Vec<[u8; 32]>,
}

/// `device/<id>`, latest, by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceFact {
    /// Revision; the highest (rev, bytes) counts.
    pub rev: u64,
    /// Its name, only a label.
    pub name: super::text::Foreign,
    /// `linux`, `macos`, …
    pub platform: super::text::Foreign,
    /// Where it last listened, `ip:port`.
    pub addresses: Vec<String>,
    /// Its sources that rest, by their words.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paused: BTreeSet<String>,
    /// How its person calls its agents, by `beat::agent_key` of what their tools and reports call them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, AgentName>,
    /// The devices with which it exchanges no documents, by their ids; `*`: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rests: BTreeSet<String>,
}

impl DeviceFact {
    /// Under which key an agent is shown that is called otherwise.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        let keys = self.agents.iter().map(|(called, named)| (called.clone(), super::beat::agent_key(&named.name)));
        keys.filter(|(called, key)| called != key).collect()
    }
}

/// How a person calls an agent (`agents.toml`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AgentName {
    /// Its name.
    pub name: super::text::Foreign,
    /// What it is there for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<super::text::Foreign>,
}

/// `choice/<unique>`, once: a decision that holds on every device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "choice", rename_all = "camelCase")]
pub enum ChoiceFact {
    /// A person calls a device so, whatever it calls itself. The highest (at, id) counts.
    Name {
        /// Which.
        device: DeviceId,
        /// Its name on all devices.
        name: super::text::Foreign,
        /// When, by the hybrid clock.
        at: super::time::Stamp,
    },
    /// The sessions and agents of a device that was removed are shown no more. Its todos stay.
    Forget {
        /// Which.
        device: DeviceId,
    },
    /// What is listed under project `from` belongs to project `to`: one hop, never chained. The highest (at, id) counts.
    Alias {
        /// The key that is given up.
        from: String,
        /// The key that holds it now.
        to: String,
        /// When, by the hybrid clock.
        at: super::time::Stamp,
    },
}
