//! The setting that somebody names on the command line: one of the table, or one of a single device.

use super::error::Error;
use super::keys::{KEYS, Key, key};
use super::layers::nearest;
use super::peers::{self, PEER_KEYS};
use super::replaced::replaced;
use crate::model::peering::folded;

/// What stands before the name of a device.
const PEERS: &str = "peers.";

/// One setting, and of which device, if of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub key: &'static Key,
    /// The device, as it was written: its name, or the beginning of its id.
    pub peer: Option<String>,
}

impl Wanted {
    /// The setting of that name, or of what a replaced system calls it: `http.port`, `peers.desk.send`, `peers."mac mini".send`.
    ///
    /// # Errors
    /// [`Error::UnknownFlag`] with the nearest name.
    pub fn find(name: &str) -> Result<Wanted, Error> {
        let of_all = key(name).or_else(|| replaced(name).filter(|_| !name.starts_with(PEERS))?.meant());
        if let Some(key) = of_all {
            return Ok(Wanted { key, peer: None });
        }
        let Some((peer, last)) = of_a_device(name) else {
            let nearest = nearest(name, KEYS.iter().map(|key| key.name.to_string()));
            return Err(Error::UnknownFlag { key: name.to_owned(), nearest });
        };
        peers::key(&last).map(|key| Wanted { key, peer: Some(peer.clone()) }).ok_or_else(|| {
            let own = PEER_KEYS.iter().map(|key| peers::named(key, &peer));
            Error::UnknownFlag { key: name.to_owned(), nearest: nearest(name, own) }
        })
    }

    /// Its whole name, quoted as the file has it.
    #[must_use]
    pub fn name(&self) -> String {
        self.peer.as_ref().map_or_else(|| self.key.name.to_string(), |peer| peers::named(self.key, peer))
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        match &self.peer {
            None => self.key.variable(),
            Some(peer) => self.key.variable().replacen("NAME", &folded(peer).to_uppercase(), 1),
        }
    }

    /// The tables it stands in, and its name there.
    pub(super) fn place(&self) -> (Vec<&str>, &str) {
        let mut parts: Vec<&str> = self.key.name.split('.').collect();
        let last = parts.pop().expect("because no key has an empty name");
        if let Some(peer) = &self.peer {
            parts = vec!["peers", peer];
        }
        (parts, last)
    }
}

/// `peers.NAME.LAST`: what stands between, in quotes or not. A name with dots needs none: the last part is ours.
fn of_a_device(name: &str) -> Option<(String, String)> {
    let quoted = toml_edit::Key::parse(name).ok().filter(|parts| parts.len() == 3 && parts[0] == "peers");
    let (peer, last) = match quoted {
        Some(parts) => (parts[1].get().to_owned(), parts[2].get().to_owned()),
        None => name.strip_prefix(PEERS)?.rsplit_once('.').map(|(peer, last)| (peer.to_owned(), last.to_owned()))?,
    };
    (!peer.trim().is_empty()).then_some((peer, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn found(name: &str) -> (Option<String>, String, String) {
        let wanted = Wanted::find(name).unwrap_or_else(|why| panic!("{why}"));
        (wanted.peer.clone(), wanted.name(), wanted.variable())
    }

    #[test]
    fn a_device_is_named_with_quotes_or_without() {
        let shown = |name: &str| found(name).1;
        assert_eq!(found("http.port"), (None, "http.port".into(), "HUBLESS_HTTP_PORT".into()));
        let desk = (Some("desk".into()), "peers.desk.send".into(), "HUBLESS_PEERS_DESK_SEND".into());
        assert_eq!(found("peers.desk.send"), desk);
        for name in ["peers.\"mac mini\".send", "peers.'mac mini'.send", "peers.mac mini.send"] {
            assert_eq!(
                found(name),
                (Some("mac mini".into()), "peers.\"mac mini\".send".into(), "HUBLESS_PEERS_MAC_MINI_SEND".into()),
                "{name}"
            );
        }
        assert_eq!(shown("peers.\"desk.lan\".schedule"), "peers.\"desk.lan\".schedule");
        assert_eq!(shown("peers.desk.lan.schedule"), "peers.\"desk.lan\".schedule", "the last part is ours");
        assert_eq!(found("peers.\"schedule\".schedule").0.as_deref(), Some("schedule"), "no other system's word");
        let refused = |name: &str| Wanted::find(name).expect_err("refused").to_string();
        assert_eq!(refused("peers.desk.sent"), "there is no setting “peers.desk.sent”; did you mean “peers.desk.send”?");
        for name in ["peers", "peers.", "peers.send", "peers..send", "peers.\"\".send", "peers.x.", "peers.x.\"y"] {
            assert!(Wanted::find(name).is_err(), "{name}");
        }
    }

    quickcheck! {
        fn what_is_shown_names_the_same_again(peer: String) -> bool {
            let wanted = Wanted { key: &PEER_KEYS[0], peer: Some(peer.clone()) };
            peer.trim().is_empty() || Wanted::find(&wanted.name()).is_ok_and(|again| again == wanted)
        }
    }
}
