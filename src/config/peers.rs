//! `peers.NAME.*`: settings for single devices, whose names no table can hold.
//!
//! What is said of a device in any layer comes together under its name; what a variable names in capitals and underscores joins what the file
//! says of the same one.

use std::collections::BTreeMap;

use super::keys::{Key, Kind, Value};
use super::setting::{Setting, Source};
use crate::model::peering::{PeerRule, Peering, names};
use crate::model::schedule::Schedule;

/// The settings that every device can have; `NAME` is its name, or the beginning of its id.
pub static PEER_KEYS: [Key; 5] = [
    Key::new("peers.NAME.enabled", "true", Kind::Truth, "whether there is a link with that device at all"),
    Key::new("peers.NAME.send", "true", Kind::Truth, "whether documents are given to it"),
    Key::new("peers.NAME.receive", "true", Kind::Truth, "whether documents of its are taken"),
    Key::new("peers.NAME.schedule", "", Kind::Schedule, "when documents are exchanged: minute hour day month weekday, local time"),
    Key::new("peers.NAME.bandwidth", "0", Kind::Rate, "bytes a second to it, besides sync.bandwidth; 0: no limit"),
];

/// The setting of that last word.
pub(super) fn key(last: &str) -> Option<&'static Key> {
    PEER_KEYS.iter().find(|key| key.name.rsplit('.').next() == Some(last))
}

/// What an environment variable sets: the device's name as it is folded there, and which setting.
pub(super) fn of_variable(variable: &str) -> Option<(String, &'static Key)> {
    let rest = variable.strip_prefix("HUBLESS_PEERS_")?;
    let (name, last) = rest.rsplit_once('_')?;
    let key = key(&last.to_lowercase())?;
    (!name.is_empty()).then(|| (name.to_lowercase(), key))
}

/// What was said of devices, by the name that was written.
pub(super) type Peers = BTreeMap<String, BTreeMap<&'static str, Setting<Value>>>;

/// Whether two spellings mean one device.
pub(super) fn same(one: &str, other: &str) -> bool {
    names(one, other) || names(other, one)
}

/// The whole name of a device's setting, quoted as the file has it.
pub(super) fn named(key: &Key, name: &str) -> String {
    key.name.replacen("NAME", &toml_edit::Key::new(name).to_string(), 1)
}

/// All that was said, with the names that were written.
pub(super) fn all(peers: &Peers) -> impl Iterator<Item = (&str, &'static Key, &Setting<Value>)> {
    let of = |(name, set): (&'static str, _)| key(name.rsplit('.').next().unwrap_or(name)).map(|key| (key, set));
    peers.iter().flat_map(move |(name, settings)| {
        settings.iter().filter_map(move |(key, set)| of((*key, set))).map(move |(key, set)| (name.as_str(), key, set))
    })
}

/// Adds one value; a name that is only another spelling of a known one means that.
pub(super) fn set(peers: &mut Peers, name: &str, key: &'static Key, value: Value, source: Source) {
    let known = peers.keys().find(|known| same(name, known)).cloned();
    let settings = peers.entry(known.unwrap_or_else(|| name.to_owned())).or_default();
    let set = settings.entry(key.name.as_ref()).or_insert_with(|| Setting { value: value.clone(), source });
    if source >= set.source {
        *set = Setting { value, source };
    }
}

/// The rules that follow.
pub(super) fn rules(peers: &Peers) -> Peering {
    let rule = |settings: &BTreeMap<&'static str, Setting<Value>>| {
        let value = |last: &str| key(last).and_then(|key| settings.get(key.name.as_ref())).map(|set| &set.value);
        let yes = |last: &str| value(last).is_none_or(|value| *value == Value::Truth(true));
        let mut rule = PeerRule { enabled: yes("enabled"), ..PeerRule::default() };
        (rule.terms.gives, rule.terms.takes) = (yes("send"), yes("receive"));
        rule.schedule = value("schedule").and_then(|value| value.to_string().parse::<Schedule>().ok());
        rule.bandwidth = value("bandwidth").and_then(Value::number).filter(|rate| *rate > 0);
        rule
    };
    Peering(peers.iter().map(|(name, settings)| (name.clone(), rule(settings))).collect())
}
