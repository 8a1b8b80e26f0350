//! Row 5: two devices with many documents meet again. In process: two replicas whose frames are handed over at once, so that
//! what is measured is the work and the bytes of the conversation, not of a network.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use automerge::Automerge;
use automerge::sync::{State as SyncState, SyncDoc};
use hubless::daemon::clock;
use hubless::model::ask::{Ask, TodoAsk, TodoDeed};
use hubless::model::batch::{Batch, Keep, Kept, Shelf};
use hubless::model::effects::Effects;
use hubless::model::fact::FactKey;
use hubless::model::id::{Asker, Collection, DeviceId, DocId, ItemId, Life, LinkId};
use hubless::model::input::{Input, LinkAction, PeerEvent};
use hubless::model::session::{SessionFact, session_id};
use hubless::model::text::Foreign;
use hubless::replica::Replica;
use hubless::replica::document::Document;
use hubless::replica::{guard, saved};

use crate::ingest::{identity, store};
use crate::measure::{Row, Samples, Unit, each, timed};

/// Documents that both hold.
const DOCUMENTS: u64 = 1_000;
/// Facts of the document that a foreign change is applied to.
const FACTS: u64 = 10_000;
/// Bytes of a frame's length on the wire.
const LENGTH_BYTES: usize = 4;

/// One device: its replica, and its disk as plain maps.
struct Side {
    replica: Replica,
    kept: Kept,
}

impl Side {
    fn open(seed: u8, kept: Kept) -> Side {
        let life = Life { counter: 1, nonce: u64::from(seed) };
        let (replica, first) = Replica::open(identity(seed), life, clock::now(), &kept);
        let mut side = Side { replica, kept };
        side.keep(&first);
        side
    }

    fn keep(&mut self, turn: &Effects) {
        turn.keep.apply_to(&mut self.kept);
    }

    fn step(&mut self, input: Input) -> Effects {
        let turn = self.replica.step(clock::now(), input);
        self.keep(&turn);
        turn
    }

    fn peer(&mut self, event: PeerEvent) -> Effects {
        self.step(Input::Peer(event))
    }
}

/// Two devices of one fleet.
struct Two {
    sides: [Side; 2],
    links: u64,
}

impl Two {
    /// Two devices, the first with documents; they are paired as the network would do it.
    fn paired(kept: Kept) -> Two {
        let mut sides = [Side::open(1, kept), Side::open(2, Kept::default())];
        let device = identity(2).device;
        let told = sides[0].peer(PeerEvent::Joining { pairing: 1, asker: Asker(1), device, name: "bench-2".into() }).tell;
        let admitted =
            told.into_iter().find_map(|action| if let LinkAction::Admit { welcome, .. } = action { Some(welcome) } else { None });
        let welcome = admitted.expect("somebody who is alone admits whom it invited");
        drop(sides[1].peer(PeerEvent::Welcomed { asker: Asker(1), device: identity(1).device, welcome }));
        Two { sides, links: 0 }
    }

    /// A link comes up and is talked over until both are silent. Gives the bytes that went over it.
    fn meet(&mut self) -> usize {
        self.links += 1;
        let link = LinkId(self.links);
        let mut wire = VecDeque::new();
        let mut bytes = 0;
        for to in [0, 1] {
            let up = PeerEvent::Up { link, device: identity(2 - to as u8).device, address: "192.0.2.1:4826".into() };
            said(&self.sides[to].peer(up), 1 - to, &mut wire);
        }
        while let Some((to, frame)) = wire.pop_front() {
            bytes += frame.len() + LENGTH_BYTES;
            said(&self.sides[to].peer(PeerEvent::Frame { link, bytes: frame }), 1 - to, &mut wire);
            if wire.is_empty() {
                // All was taken: what found no room before may be said now.
                for from in [0, 1] {
                    said(&self.sides[from].peer(PeerEvent::Room { link }), 1 - from, &mut wire);
                }
            }
        }
        let heads = self.sides.each_ref().map(|side| side.replica.library().heads());
        assert_eq!(heads[0], heads[1], "both hold the same");
        assert!(self.sides.iter().all(|side| side.replica.is_level()), "both know it");
        bytes
    }

    fn part(&mut self) {
        let link = LinkId(self.links);
        for side in &mut self.sides {
            drop(side.peer(PeerEvent::Down { link, why: "the bench cut it".into() }));
        }
    }

    fn write(&mut self, n: usize) {
        let what = TodoDeed::Add { content: Foreign::new(format!("todo {n}")), project: None, priority: None };
        drop(self.sides[0].step(Input::Ask(Asker(2), Ask::Todo(TodoAsk { what, agent: None, key: None }))));
    }
}

fn said(turn: &Effects, to: usize, wire: &mut VecDeque<(usize, Vec<u8>)>) {
    for action in &turn.tell {
        if let LinkAction::Say { frames, .. } | LinkAction::Pour { frames, .. } = action {
            wire.extend(frames.iter().map(|frame| (to, frame.clone())));
        }
        assert!(!matches!(action, LinkAction::HangUp { .. }), "the two get along: {action:?}");
    }
}

/// Documents of sessions, one session each, as a device with a long past has them.
fn documents() -> Kept {
    let mut kept = Kept::default();
    for n in 0..DOCUMENTS {
        let name = format!("sessions/{:04}-{:02}.{}", 2020 + n / 240, 1 + n / 20 % 12, 2 + n % 20);
        let doc = DocId::parse(&name).expect("the name of a shard");
        let mut document = Document::born(actor(n));
        document.put(&[session(n)]);
        kept.documents.insert(doc, document.save().expect("a save reads back"));
    }
    kept
}

fn actor(n: u64) -> [u8; 16] {
    let mut actor = [1; 16];
    actor[..8].copy_from_slice(&n.to_le_bytes());
    actor
}

fn session(n: u64) -> (FactKey, String) {
    let device = DeviceId([9; 32]);
    let tool_session = format!("{n:032x}");
    let fact = SessionFact {
        rev: 1,
        device,
        tool: "claude".into(),
        tool_session: Foreign::new(tool_session.clone()),
        agent: Foreign::new("claude"),
        project: Some("github.com/acme/api".into()),
        cwd: Some(Foreign::new("/home/sam/api")),
        branch: Some(Foreign::new("main")),
        title: None,
        parent: None,
        side: false,
        started: 1_793_000_000_000,
    };
    (FactKey::Session(session_id(&device, "claude", &tool_session)), saved::json(&fact))
}

/// The peer: automerge's own sync, a message for each document each way until nothing is left to say. Gives the bytes.
fn plain_sync(a: &mut [Automerge], b: &mut [Automerge]) -> usize {
    let mut bytes = 0;
    for (a, b) in a.iter_mut().zip(b) {
        let (mut of_a, mut of_b) = (SyncState::new(), SyncState::new());
        loop {
            let (from_a, from_b) = (a.generate_sync_message(&mut of_a), b.generate_sync_message(&mut of_b));
            if from_a.is_none() && from_b.is_none() {
                break;
            }
            for (message, to, state) in [(from_a, &mut *b, &mut of_b), (from_b, &mut *a, &mut of_a)] {
                let Some(message) = message else { continue };
                bytes += message.clone().encode().len() + LENGTH_BYTES;
                to.receive_sync_message(state, message).expect("a message of the same library");
            }
        }
    }
    bytes
}

fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1_024.0
}

/// The rows of meeting again.
pub(crate) fn rows(base: &Path) -> Vec<Row> {
    let kept = documents();
    let mut two = Two::paired(kept);
    let (first, first_ms) = timed(|| two.meet());
    let mut plain: Vec<Automerge> = two.sides[0].kept.documents.values().map(|bytes| load(bytes)).collect();
    let (mut plain_bytes, mut bytes) = (0, Samples::default());
    let peer = each(5, |_| plain_bytes = plain_sync(&mut plain.clone(), &mut plain));
    let mut empty: Vec<Automerge> = plain.iter().map(|_| Automerge::new()).collect();
    let (all_bytes, all_ms) = timed(|| plain_sync(&mut plain, &mut empty));
    let level = each(20, |_| {
        two.part();
        bytes.0.push(kib(two.meet()));
    });
    let mut other_bytes = Samples::default();
    let other = each(20, |n| {
        two.part();
        two.write(n);
        other_bytes.0.push(kib(two.meet()));
    });
    let what = "two devices, 1 000 documents";
    let sync = "automerge's sync, each document";
    let mut rows = vec![
        Row::new(format!("{what}, level, reconnect"), Unit::Ms, level).target(1_000.0, None).floor(sync, peer.p50()),
        Row::new(format!("{what}, level, reconnect"), Unit::KiB, bytes).target(64.0, None).floor(sync, kib(plain_bytes)),
        Row::new(format!("{what}, one has another change"), Unit::Ms, other).floor(sync, peer.p50()),
        Row::new(format!("{what}, one has another change"), Unit::KiB, other_bytes).floor(sync, kib(plain_bytes)),
        Row::new(format!("{what}, all new to one"), Unit::KiB, Samples(vec![kib(first)])).floor(sync, kib(all_bytes)),
        Row::new(format!("{what}, all new to one"), Unit::Ms, Samples(vec![first_ms])).floor(sync, all_ms),
    ];
    rows.push(foreign_change());
    rows.push(opening(base, &two.sides[0].kept));
    rows
}

fn load(bytes: &[u8]) -> Automerge {
    Automerge::load(bytes).expect("a document of ours")
}

/// One change of another device is checked and applied to a large document.
fn foreign_change() -> Row {
    let fact = |n: u64| (FactKey::Item(ItemId::of(&[&n.to_le_bytes()])), format!("{{\"text\":\"todo number {n}\"}}"));
    let mut writer = Document::born([1; 16]);
    for n in (0..FACTS).step_by(100) {
        writer.put(&(n..n + 100).map(fact).collect::<Vec<_>>());
    }
    let save = writer.save().expect("a save reads back");
    let mut reader = Document::load(&save, [2; 16]).expect("a document of ours");
    let mut plain = load(&save);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for n in FACTS..FACTS + 200 {
        let chunk = writer.put(&[fact(n)]);
        let apply = || reader.apply(guard::changes(Collection::Todos, &chunk).expect("our own change")).expect("it follows");
        ours.0.push(timed(apply).1);
        theirs.0.push(timed(|| plain.load_incremental(&chunk).expect("it follows")).1);
    }
    assert_eq!(reader.heads(), writer.heads(), "all was applied");
    Row::new("one foreign change into 10 000 facts", Unit::Ms, ours).with_tail().floor("automerge alone, unchecked", theirs.p50())
}

/// A store with as many documents is opened, and a replica on it.
fn opening(base: &Path, kept: &Kept) -> Row {
    let dir = base.join("many");
    let mut batch = Batch::default();
    for (doc, bytes) in &kept.documents {
        batch.push(Keep::Replace { doc: doc.clone(), bytes: bytes.clone() });
    }
    batch.push(Keep::Fleet { bytes: kept.fleet().expect("the fleet that was kept") });
    store(&dir).keep(&batch).expect("room on the disk");
    let open = each(5, |n| {
        let store = store(&dir);
        let life = Life { counter: store.begin_life().expect("a life"), nonce: n as u64 };
        let (replica, first) = Replica::open(identity(1), life, clock::now(), &store);
        store.keep(&first.keep).expect("room on the disk");
        assert_eq!(replica.view().sessions.len() as u64, DOCUMENTS, "every session is known");
    });
    let floor = each(5, |_| assert!(load_all(&dir) >= DOCUMENTS as usize, "every document is read"));
    Row::new("a store with 1 000 documents is opened", Unit::Ms, open).floor("read, automerge's load", floor.p50())
}

/// The floor of every start: the same files read, and loaded by automerge alone. Gives how many.
pub(crate) fn load_all(data: &Path) -> usize {
    let entries = fs::read_dir(data.join("docs")).expect("a directory of ours");
    let mut count = 0;
    let mut dirs: VecDeque<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    while let Some(path) = dirs.pop_front() {
        if path.is_dir() {
            dirs.extend(fs::read_dir(path).expect("a directory of ours").map(|entry| entry.expect("an entry").path()));
        } else {
            load(&fs::read(path).expect("a file of ours"));
            count += 1;
        }
    }
    count
}
