//! The spellings of the systems that hubless replaces. Each setting has one name here; whoever brings a line of theirs along is
//! understood where there is a setting of the same meaning, and told its name in any case.

use super::keys::{Key, key};

/// A setting of a replaced system.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced {
    /// As it is written there, in whatever section.
    pub spelling: &'static str,
    /// Whose it is.
    pub system: &'static str,
    /// Our name of it; `None` where nothing here means the same.
    pub ours: Option<&'static str>,
    /// What takes its place where there is no setting.
    pub instead: &'static str,
}

impl Replaced {
    const fn key(spelling: &'static str, system: &'static str, ours: &'static str) -> Replaced {
        Replaced { spelling, system, ours: Some(ours), instead: "" }
    }

    const fn gone(spelling: &'static str, system: &'static str, instead: &'static str) -> Replaced {
        Replaced { spelling, system, ours: None, instead }
    }

    /// Our setting of the same meaning.
    #[must_use]
    pub fn meant(&self) -> Option<&'static Key> {
        self.ours.and_then(key)
    }

    /// What to say to whoever wrote it: its name here, or what takes its place.
    #[must_use]
    pub fn advice(&self) -> String {
        match self.ours {
            Some(ours) => format!("“{}” of {} is called {ours} here", self.spelling, self.system),
            None => format!("“{}” of {} has no meaning here: {}", self.spelling, self.system, self.instead),
        }
    }
}

const EVOX: &str = "EVOX";
const PI_BRAIN: &str = "pi-brain";

/// All of them. The other three systems had none that a file could set.
pub const REPLACED: [Replaced; 13] = [
    Replaced::key("stale_threshold", EVOX, "agents.stale_after"),
    Replaced::key("staleThreshold", EVOX, "agents.stale_after"),
    Replaced::key("STALE_THRESHOLD", EVOX, "agents.stale_after"),
    Replaced::key("exclude_patterns", PI_BRAIN, "sync.exclude"),
    Replaced::key("web_ui_port", PI_BRAIN, "http.port"),
    Replaced::gone(
        "initial_sync_days",
        PI_BRAIN,
        "everything that is known is sent; it becomes sync.initial_days when transcripts are copied",
    ),
    Replaced::gone("bw_limit", PI_BRAIN, "sync.bandwidth limits all devices together, peers.NAME.bandwidth one"),
    Replaced::gone("sessions_dir", PI_BRAIN, "set sources.pi.root to the directory above it"),
    Replaced::gone("synced_sessions_dir", PI_BRAIN, "pair the devices, or set sources.TOOL.roots to COMPUTER=PATH"),
    Replaced::gone("database_dir", PI_BRAIN, "HUBLESS_HOME or XDG_DATA_HOME say where data lies"),
    Replaced::gone("spokes", PI_BRAIN, "every device is a hub: hubless pair on two of them"),
    Replaced::gone("schedule", PI_BRAIN, "devices in reach are in step all the time; peers.NAME.schedule sets when else"),
    Replaced::gone("delete", PI_BRAIN, "a file that a tool deletes deletes nothing here"),
];

/// What is known under that name in another system; the last part of a name with dots counts.
#[must_use]
pub fn replaced(name: &str) -> Option<&'static Replaced> {
    let last = name.rsplit('.').next().unwrap_or(name);
    REPLACED.iter().find(|known| known.spelling == last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;

    #[test]
    fn every_spelling_leads_to_a_setting_that_is_there_and_hides_none() {
        for known in &REPLACED {
            assert_eq!(known.ours.is_some(), known.meant().is_some(), "{}", known.spelling);
            assert!(known.ours.is_some() || !known.instead.is_empty(), "{}", known.spelling);
            assert!(!KEYS.iter().any(|key| key.name.rsplit('.').next() == Some(known.spelling)), "{} is ours", known.spelling);
        }
        assert_eq!(replaced("sync.initial_sync_days").map(|known| known.ours), Some(None));
        assert_eq!(replaced("http.port"), None);
    }
}
