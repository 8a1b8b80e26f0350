//! Those who are not to be believed: somebody who proves nothing, and a member whose device lies.
//!
//! Whatever they say, no replica panics, nothing of it is parsed as a document before its key is proved (I8), and the honest
//! devices agree in the end. What a lying member says in the right form counts as facts, like anybody's.

use std::collections::BTreeSet;

use automerge::{Change, ExpandedChange};
use hubless::model::beat::Beat;
use hubless::model::fact::FactKey;
use hubless::model::id::{ActId, DeviceId, DocId, ItemId, Life, TodoId};
use hubless::model::input::{Input, PeerEvent};
use hubless::model::limits::{COUNT_MAX, FRAME_BYTES_MAX, OP_COUNTER_MAX};
use hubless::model::message::{DocHeads, Hello, Message, Presence, VERSIONS};
use hubless::model::time::Stamp;
use hubless::model::todo::{ActFact, By, Deed, Status};
use hubless::replica::document::Document;
use hubless::replica::saved;
use hubless::rules::members;

use super::chance::Chance;
use super::plan::Noise;
use super::world::World;

/// From this number on a lying member is a thief: what it says is in the right form, and takes something away if it is believed.
const THEFT: u8 = 128;

impl World {
    /// Noise for one device.
    pub(crate) fn noise(&mut self, d: usize, noise: Noise) {
        if !self.is_up(d) {
            return;
        }
        let n = match noise {
            Noise::Unproven(n) | Noise::Garbage(n) | Noise::Poison(n) | Noise::Sighting(n) => n,
        };
        let mut chance = Chance::of(self.seed, "stranger", self.wires_made * 256 + u64::from(n));
        match noise {
            Noise::Unproven(n) => self.unproven(d, n, &mut chance),
            Noise::Garbage(n) => {
                let said = self.garbage(d, n, &mut chance);
                // Some lie about how often the other was opened, too.
                self.as_member(d, if n >= THEFT && n % 2 == 0 { COUNT_MAX - 1 } else { 0 }, said);
            }
            Noise::Poison(n) => {
                let said = self.poison(d, n, &mut chance);
                self.as_member(d, 0, vec![said.frames()]);
            }
            Noise::Sighting(n) => {
                let event =
                    PeerEvent::Sighted { instance: format!("ghost-{n}"), ours: n % 2 == 0, addresses: vec![format!("10.0.9.{n}:1")] };
                self.give(d, 0, Input::Peer(event));
            }
        }
    }

    /// Somebody who knows the fleet's id and is no member.
    fn unproven(&mut self, d: usize, n: u8, chance: &mut Chance) {
        let mut seed = [0; 32];
        seed.copy_from_slice(&chance.bytes(32));
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let id = DeviceId(key.verifying_key().to_bytes());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&chance.bytes(16));
        let (genesis, own) = members::genesis(&key, nonce);
        let (_, forged) = members::add(&key, &[genesis], id);
        let doc = DocId::parse("todos/2026-11").expect("a good name");
        let sync = Message::Sync { doc, first: true, bytes: chance.bytes(60) };
        let mut said: Vec<Vec<Vec<u8>>> = vec![match n % 6 {
            0 => vec![chance.bytes(100)],
            1 => Message::Members(vec![own, forged]).frames(),
            2 => sync.frames(),
            3 => vec![vec![0; FRAME_BYTES_MAX + 1]],
            4 => Message::Members(vec![chance.bytes(40_000), chance.bytes(60_000)]).frames(),
            _ => vec![vec![99, 0, 1, 2, 3]],
        }];
        said.push(sync.frames());
        let wire = self.connect_stranger(d, id, false);
        for frames in said {
            self.say_as_stranger(wire, frames);
        }
    }

    /// A member says what proves it, what opens a link, and then this.
    pub(crate) fn as_member(&mut self, d: usize, your_life: u64, said: Vec<Vec<Vec<u8>>>) {
        let Some(replica) = self.devices[d].replica.as_ref() else { return };
        let fleet = replica.fleet().id;
        let other = self.liar(d);
        let Some(life) = other.and_then(|other| Some(self.devices[other].replica.as_ref()?.life())) else { return };
        let id = self.devices[other.unwrap_or(d)].id;
        let hello = Hello {
            versions: VERSIONS.to_vec(),
            fleet,
            life,
            wall_ms: self.now(d).wall_ms,
            all: [9; 32],
            addresses: Vec::new(),
            your_life,
        };
        let entries = self.entries(d);
        let wire = self.connect_stranger(d, id, true);
        for message in [Message::Members(entries), Message::Hello(hello), Message::Heads(Vec::new())] {
            self.say_as_stranger(wire, message.frames());
        }
        for frames in said {
            self.say_as_stranger(wire, frames);
        }
        self.leave_as_stranger(wire);
    }

    /// In whose name lies are told to a device.
    fn liar(&self, d: usize) -> Option<usize> {
        (0..self.devices.len()).find(|other| *other != d && self.devices[*other].id != self.devices[d].id && self.is_up(*other))
    }

    /// What is in the right form, and takes something away from somebody if it is believed: a clock, a beat, a session, the room
    /// in the log and in memory.
    fn theft(&self, d: usize, n: u8, chance: &mut Chance) -> Option<Message> {
        let (replica, me) = (self.devices[d].replica.as_ref()?, self.devices[d].id);
        let mut actor = [0; 16];
        actor.copy_from_slice(&chance.bytes(16));
        let mut born = Document::born(actor);
        let of = |doc: &str, bytes: Vec<u8>| Some(Message::Changes { doc: DocId::parse(doc)?, bytes });
        match n % 5 {
            0 => {
                let at = Stamp::at(self.now(d).wall_ms + 300_000_000_000);
                let by = By { device: me, agent: None, session: None };
                let todo = TodoId::of(&[b"general", b"ship it"]);
                let act = ActFact { todo, items: BTreeSet::new(), deed: Deed::Asked, by, at, undoes: None, asked: None };
                of("todos/2026-11", born.put(&[(FactKey::Act(ActId::of(&[&actor])), saved::json(&act))]))
            }
            1 => {
                let (key, agent) =
                    replica.view().agents.iter().find(|(key, _)| key.device == me).map(|(k, a)| (k.clone(), a.beat.clone()))?;
                let beat = Beat { rev: COUNT_MAX - u64::from(n), task: Some("planted".into()), ..agent };
                let names = replica.library().iter().map(|(id, _)| id.as_str()).filter(|id| id.starts_with(&format!("heartbeats/{me}/")));
                let name = names.max_by_key(|name| name.len())?.to_owned();
                of(&name, born.put(&[(FactKey::Beat(key.session, key.agent), saved::json(&beat))]))
            }
            2 => {
                let session = *replica.view().sessions.keys().next()?;
                let later = "{\"rev\":1000,\"of a later version\":1}".to_owned();
                of("sessions/2026-11", born.put(&[(FactKey::Session(session), later)]))
            }
            3 => {
                let key = &self.devices[self.liar(d)?].key;
                let parents = self.log([d]).parents(&replica.fleet().id, &self.devices[self.liar(d)?].id.0);
                let mut facts = Vec::new();
                let mut hashes = Vec::new();
                for _ in 0..40u8 {
                    let mut bytes = [0; 32];
                    bytes.copy_from_slice(&chance.bytes(32));
                    let mut nonce = [0; 16];
                    nonce.copy_from_slice(&bytes[..16]);
                    facts.push(saved::member(&members::genesis(key, nonce).1));
                    let fat = if hashes.len() > 20 { &hashes[..] } else { &parents[..] };
                    let (hash, out) = members::remove(key, fat, DeviceId(bytes));
                    hashes.push(hash);
                    facts.push(saved::member(&out));
                }
                of("fleet", born.put(&facts))
            }
            _ => {
                let fact = |n: u8| (FactKey::Other(format!("x/{n}")), "y".to_owned());
                born.put(&[fact(1)]);
                of(&format!("todos/made-up-{n}"), born.put(&[fact(2)]))
            }
        }
    }

    /// Changes that cannot be, or that nobody should have made.
    fn poison(&self, d: usize, n: u8, chance: &mut Chance) -> Message {
        let doc = DocId::parse("todos/2026-11").expect("a good name");
        let mut actor = [0; 16];
        actor.copy_from_slice(&chance.bytes(16));
        let item = ItemId::of(&[&[n]]);
        let todo = TodoId::of(&[b"general", b"ship it"]);
        let by = format!("{{\"device\":\"{}\"}}", self.devices[d].id);
        let rank = (FactKey::Rank(item, 1, Status::Completed), format!("{{\"todo\":\"{todo}\",\"by\":{by},\"at\":1}}"));
        let mut born = Document::born(actor);
        let fine = born.put(&[rank]);
        let twist = |twist: &dyn Fn(&mut ExpandedChange)| {
            let mut change = Change::from_bytes(fine.clone()).expect("our own change").decode();
            twist(&mut change);
            Change::from(change).raw_bytes().to_vec()
        };
        let near_end = std::num::NonZeroU64::new(u64::from(u32::MAX)).expect("not zero");
        let planted = std::num::NonZeroU64::new(OP_COUNTER_MAX - 5).expect("not zero");
        if n >= THEFT {
            return self.theft(d, n, chance).unwrap_or(Message::Changes { doc, bytes: fine });
        }
        let bytes = match n % 10 {
            0 => fine.clone(),
            1 => fine[..fine.len() - 3].to_vec(),
            2 => {
                let mut bytes = fine.clone();
                let at = chance.place(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
                bytes
            }
            3 => twist(&|change| change.start_op = near_end),
            4 => twist(&|change| change.start_op = planted),
            5 => twist(&|change| change.deps = vec![automerge::ChangeHash([7; 32])]),
            6 => twist(&|change| change.seq = 77),
            7 => twist(&|change| change.actor_id = automerge::ActorId::from(&[0; 16][..])),
            8 => born.put(&[
                (FactKey::Seen(item), "{\"rev\":1e99}".into()),
                (FactKey::Item(item), "no json".into()),
                (FactKey::Other("vote/x".into()), "of a later version".into()),
            ]),
            _ => {
                let held = self.devices[d].replica.as_ref().and_then(|r| r.library().get(&doc)).map(|doc| doc.since(&[]).0);
                held.unwrap_or(fine.clone())
            }
        };
        Message::Changes { doc, bytes }
    }
}

impl World {
    fn garbage(&self, d: usize, n: u8, chance: &mut Chance) -> Vec<Vec<Vec<u8>>> {
        let doc = |name: &str| DocId::parse(name).expect("a good name");
        let mut hash = [0; 32];
        hash.copy_from_slice(&chance.bytes(32));
        vec![match if n < THEFT { n % 8 } else { 8 + n % 2 } {
            0 => vec![chance.bytes(300)],
            1 => Message::Sync { doc: doc("todos/2026-11"), first: true, bytes: chance.bytes(80) }.frames(),
            2 => Message::Sync { doc: doc("sessions/9999-12"), first: false, bytes: vec![0x42, 0, 0, 0, 0] }.frames(),
            3 => Message::Heads(vec![DocHeads { doc: doc("todos/2031-01"), heads: vec![hash] }]).frames(),
            4 => Message::Changes { doc: doc("local/todos/2026-11"), bytes: chance.bytes(10) }.frames(),
            5 => Message::Held { doc: doc("todos/2026-11") }.frames(),
            6 => (0..50).flat_map(|n| Message::Ping { n }.frames()).collect(),
            8 => Message::Ping { n: 1 }.frames(), // its lie was in its Hello
            9 => {
                let device = self.devices[(d + 1) % self.devices.len()].id;
                let life = Life { counter: COUNT_MAX, nonce: 0 };
                Message::Presence(Presence { device, life, seq: COUNT_MAX, age_ms: 0, agents: Vec::new() }).frames()
            }
            _ => Message::Secrets(vec![[n; 32]; 70]).frames(),
        }]
    }
}
