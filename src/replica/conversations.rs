//! Two or three replicas that talk in memory, frame by frame: what a hostile reading of the core suspected, held as tests.

use std::collections::{BTreeSet, VecDeque};

use ed25519_dalek::SigningKey;

use super::document::Document;
use super::guard;
use super::machine::{Identity, Replica};
use super::saved;
use crate::model::ask::*;
use crate::model::batch::Kept;
use crate::model::effects::{Effects, Look};
use crate::model::fact::FactKey;
use crate::model::id::*;
use crate::model::input::*;
use crate::model::leaving::Exclude;
use crate::model::limits::UNSENT_BYTES_MAX;
use crate::model::message::*;
use crate::model::reply::Reply;
use crate::model::text::Foreign;
use crate::model::time::{Now, Stamp};
use crate::model::todo::{ActFact, By, Deed};
use crate::model::tool::Root;

pub(super) struct Node {
    pub(super) r: Replica,
    pub(super) kept: Kept,
}

pub(super) fn now(ms: u64) -> Now {
    Now { wall_ms: 1_793_000_000_000 + ms as i64, mono_ms: 1_000_000 + ms, boot_ms: 1_000_000 + ms }
}

fn identity(n: u8) -> Identity {
    let signing = SigningKey::from_bytes(&[n; 32]);
    Identity {
        device: DeviceId(signing.verifying_key().to_bytes()),
        signing,
        name: format!("n{n}"),
        platform: "linux".into(),
        not_seen_after_ms: 7_200_000,
        exclude: Exclude::default(),
        stale_after_ms: 300_000,
        agents: std::collections::BTreeMap::new(),
        keywords: std::sync::Arc::default(),
        peering: Default::default(),
        paced: false,
        local: |_| 0,
    }
}

impl Node {
    pub(super) fn new(n: u8) -> Node {
        let mut kept = Kept::default();
        let (r, out) = Replica::open(identity(n), Life { counter: 1, nonce: n as u64 }, now(0), &kept);
        out.keep.apply_to(&mut kept);
        Node { r, kept }
    }
    /// The daemon ends, however it ends, and begins again on what was kept.
    pub(super) fn reopen(&mut self, t: u64) -> Effects {
        let life = self.r.life();
        let me = self.r.me.clone();
        let (r, out) = Replica::open(me, Life { counter: life.counter + 1, nonce: life.nonce + 100 }, now(t), &self.kept);
        out.keep.apply_to(&mut self.kept);
        self.r = r;
        out
    }
    pub(super) fn step(&mut self, t: u64, input: Input) -> Effects {
        let out = self.r.step(now(t), input);
        out.keep.apply_to(&mut self.kept);
        out
    }
    pub(super) fn ask(&mut self, t: u64, ask: Ask) -> Reply {
        let out = self.step(t, Input::Ask(Asker(1), ask));
        out.reply.into_iter().next().expect("a reply").1
    }
    fn add(&mut self, t: u64, text: &str, key: Option<&str>) -> Reply {
        self.ask(
            t,
            Ask::Todo(TodoAsk {
                what: TodoDeed::Add { content: text.into(), project: None, priority: None },
                agent: None,
                key: key.map(Into::into),
            }),
        )
    }
    pub(super) fn me(&self) -> DeviceId {
        self.r.me.device
    }
}

pub(super) fn pair(a: &mut Node, b: &mut Node) {
    let out = a.step(1, Input::Peer(PeerEvent::Joining { pairing: 1, asker: Asker(1), device: b.me(), name: "b".into() }));
    let admitted = out.tell.iter().find_map(|t| if let LinkAction::Admit { welcome, .. } = t { Some(welcome.clone()) } else { None });
    let welcome = admitted.unwrap();
    let out = b.step(1, Input::Peer(PeerEvent::Welcomed { asker: Asker(1), device: a.me(), welcome }));
    assert!(out.reply.iter().any(|(_, r)| matches!(r, Reply::Paired { .. })), "{:?}", out.reply);
}

/// Frames said on a link, in order.
pub(super) fn said(out: &Effects, link: LinkId) -> Vec<Vec<u8>> {
    let of = |t: &LinkAction| {
        if let LinkAction::Say { link: l, frames } | LinkAction::Pour { link: l, frames } = t {
            (*l == link).then(|| frames.clone())
        } else {
            None
        }
    };
    out.tell.iter().filter_map(of).flatten().collect()
}

pub(super) fn frame(link: LinkId, bytes: Vec<u8>) -> Input {
    Input::Peer(PeerEvent::Frame { link, bytes })
}

/// Two nodes on one link until quiet or `max` frames; gives how many frames went.
pub(super) fn talk(
    a: &mut Node,
    b: &mut Node,
    l: LinkId,
    t: u64,
    mut to_a: VecDeque<Vec<u8>>,
    mut to_b: VecDeque<Vec<u8>>,
    max: usize,
) -> usize {
    let mut n = 0;
    while n < max {
        // one of each, crossing
        let fa = to_a.pop_front();
        let fb = to_b.pop_front();
        if fa.is_none() && fb.is_none() {
            break;
        }
        if let Some(f) = fa {
            n += 1;
            let out = a.step(t, frame(l, f));
            to_b.extend(said(&out, l));
        }
        if let Some(f) = fb {
            n += 1;
            let out = b.step(t, frame(l, f));
            to_a.extend(said(&out, l));
        }
    }
    n
}

pub(super) fn up(a: &mut Node, b: &mut Node, l: LinkId, t: u64) -> (VecDeque<Vec<u8>>, VecDeque<Vec<u8>>) {
    let (da, db) = (a.me(), b.me());
    let oa = a.step(t, Input::Peer(PeerEvent::Up { link: l, device: db, address: "x:1".into() }));
    let ob = b.step(t, Input::Peer(PeerEvent::Up { link: l, device: da, address: "x:1".into() }));
    (said(&ob, l).into(), said(&oa, l).into())
}

pub(super) fn inject(to: &mut Node, l: LinkId, t: u64, m: Message) -> Effects {
    let mut all = Effects::default();
    for f in m.frames() {
        all.absorb(to.step(t, frame(l, f)));
    }
    all
}

fn doc(name: &str) -> DocId {
    DocId::parse(name).unwrap()
}

#[test]
fn held_spins() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    a.add(2, "x", None);
    let d = a.r.library.iter().map(|(id, _)| id.clone()).find(|id| id.collection() == Collection::Todos).unwrap();
    let l = LinkId(1);
    let (mut to_a, mut to_b) = up(&mut a, &mut b, l, 3);
    // until a talks: heads are compared, its first Sync is out, no answer of b's talk comes.
    for _ in 0..100 {
        let talking = a.r.links.values().any(|x| x.stage == super::link::Stage::Open);
        if talking {
            break;
        }
        if let Some(f) = to_a.pop_front() {
            let o = a.step(4, frame(l, f));
            to_b.extend(said(&o, l));
        }
        if let Some(f) = to_b.pop_front() {
            let o = b.step(4, frame(l, f));
            to_a.extend(said(&o, l));
        }
    }
    let _ = inject(&mut a, l, 5, Message::Held { doc: d });
    for s in 1..8u64 {
        let _ = inject(&mut a, l, s * 10_000, Message::Ping { n: s });
    }
    for _ in 0..3 {
        let _ = a.step(75_000, Input::Tick);
    }
    let dl = a.r.deadline().unwrap();
    println!("deadline {dl}, now {}", now(75_000).boot_ms);
    assert!(dl > now(75_000).boot_ms, "a deadline in the past spins the loop");
}

#[test]
fn flood() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let mut keep = Default::default();
    for n in 0..40u32 {
        for k in 0..10u32 {
            let facts: Vec<_> = (0..20u32)
                .map(|m| {
                    (
                        FactKey::Item(ItemId::of(&[&n.to_le_bytes(), &k.to_le_bytes(), &m.to_le_bytes()])),
                        format!("{{\"n\":\"{}\"}}", "y".repeat(1000)),
                    )
                })
                .collect();
            a.r.library.write(&format!("todos/d{n}"), &facts, &mut keep);
        }
    }
    let l = LinkId(1);
    let (mut to_a, mut to_b) = up(&mut a, &mut b, l, 3);
    // The network of a takes everything and writes nothing: no Room.
    let mut bytes = 0usize;
    let mut n = 0;
    while (!to_a.is_empty() || !to_b.is_empty()) && n < 5_000 {
        if let Some(f) = to_a.pop_front() {
            n += 1;
            let o = a.step(4, frame(l, f));
            let s = said(&o, l);
            bytes += s.iter().map(Vec::len).sum::<usize>();
            // bulk is not delivered: it waits in the queue
            to_b.extend(s.into_iter().filter(|f| f.len() < 20_000));
        }
        if let Some(f) = to_b.pop_front() {
            n += 1;
            let o = b.step(4, frame(l, f));
            to_a.extend(said(&o, l));
        }
    }
    println!("unsent bytes at a slow peer: {bytes}");
    assert!(bytes < 3 * 1024 * 1024, "{bytes}");
}

fn member_chunk(actor: u8, n: u32) -> (Vec<u8>, Vec<u8>) {
    let mut d = Document::born([actor; 16]);
    let item = |k: u32| (FactKey::Item(ItemId::of(&[&n.to_le_bytes(), &k.to_le_bytes()])), format!("{{\"n\":{k}}}"));
    (d.put(&[item(1)]), d.put(&[item(2)]))
}

#[test]
fn an_orphan_makes_two_honest_devices_talk_for_ever() {
    let (mut a, mut b, mut p) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut a, &mut b);
    pair(&mut a, &mut p);
    a.add(2, "x", None);
    let d = a.r.library.iter().map(|(id, _)| id.clone()).find(|id| id.collection() == Collection::Todos).unwrap();
    let (lp, _l) = (LinkId(9), LinkId(1));
    let (ta, tb) = up(&mut p, &mut b, lp, 3);
    talk(&mut p, &mut b, lp, 3, ta, tb, 2_000);
    // a poisoned p: a change whose dependency nobody has.
    let (_, second) = member_chunk(77, 5);
    let _ = inject(&mut b, lp, 4, Message::Changes { doc: d.clone(), bytes: second });
    let mut worst = 0;
    for round in 0..4u64 {
        let l = LinkId(100 + round);
        a.add(5 + round, &format!("y{round}"), None);
        if round > 1 {
            b.add(5 + round, &format!("z{round}"), None);
        }
        let (ta, tb) = up(&mut a, &mut b, l, 6 + round);
        let n = talk(&mut a, &mut b, l, 6 + round, ta, tb, 20_000);
        println!("round {round}: frames {n}");
        worst = worst.max(n);
        let (_da, _db) = (a.me(), b.me());
        let _ = a.step(7 + round, Input::Peer(PeerEvent::Down { link: l, why: "x".into() }));
        let _ = b.step(7 + round, Input::Peer(PeerEvent::Down { link: l, why: "x".into() }));
    }
    assert!(worst < 20_000, "never silent");
}

#[test]
fn an_orphan_that_is_released_reaches_its_releaser() {
    let (mut b, mut a, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut b, &mut a);
    pair(&mut b, &mut c);
    let d = doc("todos/2026-11");
    let (la, lc) = (LinkId(1), LinkId(2));
    let (x, y) = up(&mut b, &mut a, la, 3);
    talk(&mut b, &mut a, la, 3, x, y, 5_000);
    let (x, y) = up(&mut b, &mut c, lc, 3);
    talk(&mut b, &mut c, lc, 3, x, y, 5_000);
    assert!(b.r.is_level() && c.r.is_level());
    let (first, second) = member_chunk(77, 5);
    // a's second change overtakes, c brings the first.
    let _ = inject(&mut b, la, 4, Message::Changes { doc: d.clone(), bytes: second.clone() });
    let mut keep = Default::default();
    c.r.library.apply(&d, guard::changes(Collection::Todos, &first).unwrap(), DeviceId([7; 32]), &mut keep).unwrap();
    let out = inject(&mut b, lc, 5, Message::Changes { doc: d.clone(), bytes: first });
    let to_c: VecDeque<_> = said(&out, lc).into();
    talk(&mut b, &mut c, lc, 5, VecDeque::new(), to_c, 5_000);
    assert_eq!(b.r.library.heads_of(&d), c.r.library.heads_of(&d), "c never hears of what its change released");
}

#[test]
fn the_same_key_twice_is_one_add() {
    let mut a = Node::new(1);
    let Reply::Todo { id, .. } = a.add(2, "x", Some("k1")) else { panic!() };
    a.ask(3, Ask::Todo(TodoAsk { what: TodoDeed::Done { id: id.to_string() }, agent: None, key: None }));
    a.add(4, "x", Some("k1"));
    let view = a.r.view();
    let todo = &view.todos[&id];
    println!("{:?} round {}", todo.status, todo.round);
    assert_eq!(todo.status, crate::model::todo::Status::Completed, "a retried request undid finished work");
}

#[test]
fn a_key_that_was_for_another_action_is_refused_on_every_later_day() {
    let mut a = Node::new(1);
    let Reply::Todo { id, .. } = a.add(2, "x", Some("k1")) else { panic!() };
    a.add(3, "x", None);
    let key = |what| Ask::Todo(TodoAsk { what, agent: None, key: Some("k1".into()) });
    let done = || TodoDeed::Done { id: id.to_string() };
    for t in [4, 21] {
        for what in [done(), TodoDeed::Add { content: "y".into(), project: None, priority: None }] {
            let Reply::Refused(refusal) = a.ask(t, key(what)) else { panic!("it was answered with the first one's answer") };
            assert_eq!((refusal.code.word(), refusal.code.status()), ("key-reused", 422));
        }
        assert!(matches!(a.add(t, "x", Some("k1")), Reply::Todo { id: same, created: false } if same == id), "the same again");
        assert_eq!(a.r.view().todos[&id].status, crate::model::todo::Status::Pending, "nothing was done");
        let _ = a.reopen(20);
    }
}

#[test]
fn a_project_is_meant_by_the_last_part_of_the_only_one_that_has_it() {
    let mut a = Node::new(1);
    let add = |a: &mut Node, t, content: &str, project: &str| {
        let what = TodoDeed::Add { content: content.into(), project: Some(project.into()), priority: None };
        a.ask(t, Ask::Todo(TodoAsk { what, agent: None, key: None }))
    };
    let project = |a: &Node, reply: &Reply| {
        let Reply::Todo { id, .. } = reply else { panic!("{reply:?}") };
        a.r.view().todos[id].project.clone()
    };
    let first = add(&mut a, 2, "one", "example.org/lena/api-server");
    assert_eq!(project(&a, &first), "example.org/lena/api-server");
    for typed in ["api-server", "API-server", "example.org/lena/api-server"] {
        let reply = add(&mut a, 3, typed, typed);
        assert_eq!(project(&a, &reply), "example.org/lena/api-server", "{typed}");
    }
    let fresh = add(&mut a, 4, "two", "server");
    assert_eq!(project(&a, &fresh), "server", "a part of a name is none");
    add(&mut a, 5, "three", "example.org/acme/api-server");
    let Reply::Refused(refusal) = add(&mut a, 6, "four", "api-server") else { panic!("two are called so") };
    assert_eq!(refusal.did_you_mean, ["example.org/acme/api-server", "example.org/lena/api-server"]);
    assert_eq!((refusal.code.exit(), a.r.view().todos.len()), (6, 6));
}

/// Versions before kept no word of what was asked.
#[test]
fn an_action_that_does_not_say_what_it_answered_still_answers() {
    let mut a = Node::new(1);
    let Reply::Todo { id, .. } = a.add(2, "x", Some("k1")) else { panic!() };
    let unique = ActId::of(&[b"key", &a.r.me.device.0, b"k2"]);
    let (by, at) = (By { device: a.r.me.device, agent: None, session: None }, Stamp::at(3));
    let deed = Deed::Mark { round: 1, status: crate::model::todo::Status::InProgress };
    let act = ActFact { todo: id, items: BTreeSet::new(), deed, by, at, undoes: None, asked: None };
    let mut value: serde_json::Value = serde_json::from_str(&saved::json(&act)).unwrap();
    assert_eq!(value.get("asked"), None, "it is written as it ever was");
    value["later"] = serde_json::json!({"a": "field that we do not know"});
    assert!(saved::is_fact(&FactKey::Act(unique), &value.to_string()), "and a field more makes it no stranger");
    a.r.write("todos/2026-10", &[(FactKey::Act(unique), value.to_string())], &mut Effects::default());
    a.r.learn_changed(now(4));
    let done = TodoDeed::Done { id: id.to_string() };
    let reply = a.ask(5, Ask::Todo(TodoAsk { what: done, agent: None, key: Some("k2".into()) }));
    assert!(matches!(reply, Reply::Todo { created: false, .. }), "{reply:?}");
}

fn stat() -> FileStat {
    FileStat { dev: 1, ino: 2, size: 50, mtime_ms: 1_792_000_000_000 }
}
const PATH: &str = "s1-agent-s1.json";
const LIST: &[u8] = br#"[{"content":"a","status":"completed","activeForm":"x"}]"#;

#[test]
fn lists_are_taken_in_though_transcripts_cannot_be_listed() {
    let mut a = Node::new(1);
    let _ = a.step(
        2,
        Input::Source(SourceEvent::Looked {
            root: Root::CLAUDE_TODOS,
            base: "/t".into(),
            present: true,
            files: vec![Seen { path: PATH.into(), stat: stat() }],
            skipped: 0,
        }),
    );
    let _ = a.step(
        3,
        Input::Source(SourceEvent::Read {
            root: Root::CLAUDE_TODOS,
            path: PATH.into(),
            stat: stat(),
            offset: 0,
            bytes: LIST.into(),
            at_end: true,
        }),
    );
    let _ = a.step(4, Input::Source(SourceEvent::Denied { root: Root::CLAUDE_PROJECTS, path: None, why: "EACCES".into() }));
    let _ = a.step(
        5,
        Input::Source(SourceEvent::Looked {
            root: Root::CLAUDE_TODOS,
            base: "/t".into(),
            present: true,
            files: vec![Seen { path: PATH.into(), stat: stat() }],
            skipped: 0,
        }),
    );
    let out = a.step(
        6,
        Input::Source(SourceEvent::Read {
            root: Root::CLAUDE_TODOS,
            path: PATH.into(),
            stat: stat(),
            offset: 0,
            bytes: LIST.into(),
            at_end: true,
        }),
    );
    println!("looks {:?}", out.look);
    assert_eq!(a.r.view().todos.len(), 1);
}

#[test]
fn after_a_rescan_a_file_that_was_read_is_not_read_for_ever() {
    let mut a = Node::new(1);
    let looked = || {
        Input::Source(SourceEvent::Looked {
            root: Root::CLAUDE_TODOS,
            base: "/t".into(),
            present: true,
            files: vec![Seen { path: PATH.into(), stat: stat() }],
            skipped: 0,
        })
    };
    let read = || {
        Input::Source(SourceEvent::Read {
            root: Root::CLAUDE_TODOS,
            path: PATH.into(),
            stat: stat(),
            offset: 0,
            bytes: LIST.into(),
            at_end: true,
        })
    };
    let found = || Input::Source(SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), None)] });
    let _ = a.step(2, looked());
    let _ = a.step(3, read());
    let _ = a.step(4, found());
    let reads = |out: &Effects| out.look.iter().filter(|l| matches!(l, Look::Read { .. })).count();
    assert_eq!(reads(&a.step(5, looked())), 0);
    a.ask(6, Ask::Rescan);
    assert_eq!(reads(&a.step(7, looked())), 1);
    let _ = a.step(8, read());
    let _ = a.step(9, found());
    assert_eq!(reads(&a.step(10, looked())), 0, "every listing reads every file again");
}

#[test]
fn a_link_that_comes_up_and_ends_at_once_is_dialled_ever_more_rarely() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let (mut low, high) = if a.me() < b.me() { (a, b) } else { (b, a) };
    let d = high.me();
    low.r.dialing.told(&d, &["1.2.3.4:5".to_owned()]);
    let mut dials = 0;
    for n in 0..50u64 {
        let t = 10 + n; // a millisecond each
        let out = low.step(t, Input::Tick);
        dials += out.tell.iter().filter(|t| matches!(t, LinkAction::Dial { .. })).count();
        let l = LinkId(n);
        let _ = low.step(t, Input::Peer(PeerEvent::Up { link: l, device: d, address: "1.2.3.4:5".into() }));
        let out = inject(&mut low, l, t, Message::Bye(Bye::Version));
        dials += out.tell.iter().filter(|t| matches!(t, LinkAction::Dial { .. })).count();
    }
    println!("dials in 50 ms: {dials}");
    assert!(dials < 5, "{dials}");
}

#[test]
fn held_for_ever_new_names_does_not_fill_the_disk() {
    let (mut a, mut p) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut p);
    for n in 0..200 {
        a.add(2, &format!("some todo number {n}"), None);
    }
    let l = LinkId(1);
    let (x, y) = up(&mut a, &mut p, l, 3);
    talk(&mut a, &mut p, l, 3, x, y, 5_000);
    let size = |a: &Node| a.kept.documents.values().map(Vec::len).sum::<usize>();
    let before = size(&a);
    let d = a.r.library.iter().map(|(id, _)| id.clone()).find(|id| id.collection() == Collection::Todos).unwrap();
    let _ = inject(&mut a, l, 4, Message::Held { doc: d.clone() });
    for k in 2..40u32 {
        let _ = inject(&mut a, l, 4, Message::Held { doc: doc(&format!("{d}.{k}")) });
    }
    println!("{before} -> {} bytes, {} documents", size(&a), a.kept.documents.len());
    for k in 0..2_000u32 {
        let _ = inject(&mut a, l, 4, Message::Held { doc: doc(&format!("todos/z{k}")) });
    }
    println!("warnings {}", a.r.view().warnings.len());
    assert!(size(&a) < before * 4 && a.r.view().warnings.len() < 200);
}

#[test]
fn a_name_alone_does_not_outlive_heartbeats() {
    let (mut a, mut p) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut p);
    let beat =
        |agent: &str, task: &str| Ask::Beat(Report { agent: agent.into(), task: Some(task.into()), source: "cli", ..Report::default() });
    a.ask(2, beat("sam", "one"));
    a.ask(2, beat("kim", "two"));
    let l = LinkId(1);
    let (x, y) = up(&mut a, &mut p, l, 3);
    talk(&mut a, &mut p, l, 3, x, y, 5_000);
    let far = doc(&format!("heartbeats/{}/1099511627776", a.me()));
    let other = Document::born([9; 16]);
    let bytes = other.say(&mut automerge::sync::State::new()).unwrap();
    let _ = inject(&mut a, l, 4, Message::Sync { doc: far.clone(), first: true, bytes: bytes.message });
    let r = a.ask(5, beat("sam", "three"));
    let facts = a.r.library.facts_from_scratch();
    let beats = facts.iter().filter(|(k, _)| matches!(k, FactKey::Beat(..))).count();
    println!(
        "{r:?} beats left {beats}; kept {:?}",
        a.kept.documents.keys().filter(|d| d.collection() == Collection::Heartbeats).collect::<Vec<_>>()
    );
    assert_eq!(beats, 2, "the last words of the others are gone");
}

#[test]
fn a_forged_life_does_not_silence_a_device_for_ever() {
    let (mut a, mut b, mut p) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut a, &mut b);
    pair(&mut a, &mut p);
    let (lb, lp) = (LinkId(1), LinkId(2));
    let (x, y) = up(&mut a, &mut b, lb, 3);
    talk(&mut a, &mut b, lb, 3, x, y, 5_000);
    let (x, y) = up(&mut a, &mut p, lp, 3);
    talk(&mut a, &mut p, lp, 3, x, y, 5_000);
    let _ = inject(
        &mut a,
        lp,
        4,
        Message::Presence(Presence {
            device: b.me(),
            life: Life { counter: u64::MAX, nonce: 0 },
            seq: u64::MAX,
            age_ms: 44_000,
            agents: vec![],
        }),
    );
    let out = b.step(20_000, Input::Tick);
    for f in said(&out, lb) {
        let _ = a.step(20_000, frame(lb, f));
    }
    assert!(a.r.showing.is_reachable(&b.me()), "b speaks to us itself and is shown as out of reach");
}

#[test]
fn a_flapping_peer_does_not_silence_us_towards_the_others() {
    let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut a, &mut b);
    pair(&mut a, &mut c);
    let lb = LinkId(1);
    let (x, y) = up(&mut a, &mut b, lb, 3);
    talk(&mut a, &mut b, lb, 3, x, y, 5_000);
    let mut told = 0;
    for n in 1..10u64 {
        let (t, l) = (n * 10_000, LinkId(10 + n));
        let mut outs = a.step(t, Input::Tick);
        let (mut ta, mut tc) = up(&mut a, &mut c, l, t);
        while !ta.is_empty() || !tc.is_empty() {
            if let Some(f) = ta.pop_front() {
                let o = a.step(t, frame(l, f));
                tc.extend(said(&o, l));
                outs.absorb(o);
            }
            if let Some(f) = tc.pop_front() {
                let o = c.step(t, frame(l, f));
                ta.extend(said(&o, l));
            }
        }
        let mut ear = Ear::default();
        told += said(&outs, lb)
            .iter()
            .filter(|f| matches!(ear.hear(f, 1 << 25), Ok(Heard::Whole(Message::Presence(p))) if p.device == a.me()))
            .count();
        let _ = a.step(t + 1, Input::Peer(PeerEvent::Down { link: l, why: "flap".into() }));
        let _ = c.step(t + 1, Input::Peer(PeerEvent::Down { link: l, why: "flap".into() }));
        let _ = inject(&mut a, lb, t + 2, Message::Ping { n });
    }
    println!("own presence told to b in 90 s: {told}");
    assert!(told >= 3);
}

#[test]
fn an_orphan_and_crossing_frames_fall_silent() {
    let mut worst = (0, 0);
    for seed in 0..60u64 {
        let mut rng = seed.wrapping_mul(0x9e3779b97f4a7c15) | 1;
        let mut next = |n: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % n
        };
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        pair(&mut a, &mut b);
        a.add(2, "x", None);
        let d = a.r.library.iter().map(|(id, _)| id.clone()).find(|id| id.collection() == Collection::Todos).unwrap();
        let (_, second) = member_chunk(77, 5);
        let foreign = guard::changes(Collection::Todos, &second).unwrap();
        let mut keep = Default::default();
        b.r.library.apply(&d, foreign, DeviceId([7; 32]), &mut keep).unwrap();
        if seed % 2 == 0 {
            b.add(3, "w", None);
        }
        let l = LinkId(1);
        let (mut ta, mut tb) = up(&mut a, &mut b, l, 6);
        let (mut n, mut adds) = (0, 0);
        while (!ta.is_empty() || !tb.is_empty()) && n < 3_000 {
            n += 1;
            if n > 8 && adds < 6 && next(4) == 0 {
                adds += 1;
                let ask = Ask::Todo(TodoAsk {
                    what: TodoDeed::Add { content: format!("t{adds}").as_str().into(), project: None, priority: None },
                    agent: None,
                    key: None,
                });
                if next(2) == 0 {
                    let o = a.step(7, Input::Ask(Asker(1), ask));
                    tb.extend(said(&o, l));
                } else {
                    let o = b.step(7, Input::Ask(Asker(1), ask));
                    ta.extend(said(&o, l));
                }
            }
            if next(2) == 0 {
                if let Some(f) = ta.pop_front() {
                    let o = a.step(7, frame(l, f));
                    tb.extend(said(&o, l));
                }
            } else if let Some(f) = tb.pop_front() {
                let o = b.step(7, frame(l, f));
                ta.extend(said(&o, l));
            }
        }
        if n > worst.0 {
            worst = (n, seed);
        }
    }
    println!("most frames {worst:?}");
    assert!(worst.0 < 3_000, "never silent, seed {}", worst.1);
}

#[test]
fn crossing_frames_fall_silent() {
    let mut worst = (0, 0);
    for seed in 0..60u64 {
        let mut rng = seed.wrapping_mul(0x9e3779b97f4a7c15) | 1;
        let mut next = |n: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % n
        };
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        pair(&mut a, &mut b);
        a.add(2, "x", None);
        if seed % 2 == 0 {
            b.add(3, "w", None);
        }
        let l = LinkId(1);
        let (mut ta, mut tb) = up(&mut a, &mut b, l, 6);
        let (mut n, mut adds) = (0, 0);
        while (!ta.is_empty() || !tb.is_empty()) && n < 3_000 {
            n += 1;
            if n > 8 && adds < 6 && next(4) == 0 {
                adds += 1;
                let ask = Ask::Todo(TodoAsk {
                    what: TodoDeed::Add { content: format!("t{adds}").as_str().into(), project: None, priority: None },
                    agent: None,
                    key: None,
                });
                if next(2) == 0 {
                    let o = a.step(7, Input::Ask(Asker(1), ask));
                    tb.extend(said(&o, l));
                } else {
                    let o = b.step(7, Input::Ask(Asker(1), ask));
                    ta.extend(said(&o, l));
                }
            }
            if next(2) == 0 {
                if let Some(f) = ta.pop_front() {
                    let o = a.step(7, frame(l, f));
                    tb.extend(said(&o, l));
                }
            } else if let Some(f) = tb.pop_front() {
                let o = b.step(7, frame(l, f));
                ta.extend(said(&o, l));
            }
        }
        if n > worst.0 {
            worst = (n, seed);
        }
    }
    println!("most frames {worst:?}");
    assert!(worst.0 < 3_000, "never silent, seed {}", worst.1);
}

/// The one list of these tests is listed, read if that is asked for, and its session looked for in vain; gives whether it was read.
fn list_once(a: &mut Node, t: u64, stat: FileStat, bytes: &[u8]) -> bool {
    // Nobody configured the other directories.
    let others = crate::model::tool::TOOLS.iter().flat_map(|tool| Root::of(tool.name, 0)).filter(|root| *root != Root::CLAUDE_TODOS);
    for root in others {
        let _ = a.step(t, Input::Source(SourceEvent::Denied { root, path: None, why: "not configured".into() }));
    }
    let files = vec![Seen { path: PATH.into(), stat }];
    let looked = SourceEvent::Looked { root: Root::CLAUDE_TODOS, base: "/t".into(), present: true, files, skipped: 0 };
    let asked = a.step(t, Input::Source(looked)).look.iter().any(|look| matches!(look, Look::Read { .. }));
    if asked {
        read_once(a, t, stat, bytes);
    }
    asked
}

fn read_once(a: &mut Node, t: u64, stat: FileStat, bytes: &[u8]) {
    let read = SourceEvent::Read { root: Root::CLAUDE_TODOS, path: PATH.into(), stat, offset: 0, bytes: bytes.into(), at_end: true };
    let _ = a.step(t, Input::Source(read));
    let found = SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), None)] };
    let _ = a.step(t, Input::Source(found));
}

#[test]
fn a_crash_right_after_a_document_was_set_aside_hides_no_loss() {
    let mut a = Node::new(1);
    assert!(list_once(&mut a, 2, stat(), LIST));
    let _ = a.reopen(3);
    assert!(!list_once(&mut a, 4, stat(), LIST), "what was read is not read again");
    // The store sets a damaged file aside, keeps what is good of it, and dies before anything else is kept.
    let todos = a.kept.documents.keys().find(|id| id.collection() == Collection::Todos).unwrap().clone();
    a.kept.documents.insert(todos, super::genesis::genesis().0);
    a.kept.aside += 1;
    let _ = a.reopen(5);
    assert!(list_once(&mut a, 6, stat(), LIST), "what was in the damaged document is read again");
    assert_eq!(a.r.view().todos.len(), 1);
    let _ = a.reopen(7);
    assert!(!list_once(&mut a, 8, stat(), LIST), "and then no more");
}

#[test]
fn a_document_that_comes_back_under_its_name_revives_no_mark() {
    let mut a = Node::new(1);
    a.add(2, "of this month", None);
    list_once(&mut a, 2, stat(), LIST);
    let of = |a: &Node| a.kept.documents.keys().find(|id| id.as_str() == "todos/2026-10").cloned();
    let lost = of(&a).expect("the month of the list's file");
    a.kept.documents.remove(&lost);
    let _ = a.reopen(3);
    let mut keep = crate::model::batch::Batch::default();
    let fact = (FactKey::Item(ItemId::of(&[b"another"])), "{}".to_owned());
    a.r.library.write("todos/2026-10", &[fact], &mut keep);
    keep.apply_to(&mut a.kept);
    let _ = a.reopen(4);
    assert!(list_once(&mut a, 5, stat(), LIST), "its marks are of a document that was lost");
}

#[test]
fn a_clock_that_was_a_year_ahead_silences_no_list() {
    const YEAR: u64 = 366 * 24 * 3_600_000;
    let mut a = Node::new(1);
    let at = |ms: u64, ino| FileStat { dev: 1, ino, size: 50, mtime_ms: now(ms).wall_ms };
    let list = |status: &str| format!(r#"[{{"content":"a","status":"{status}","activeForm":"x"}}]"#).into_bytes();
    let status = |a: &Node| a.r.view().todos.values().next().expect("it is shown").status;
    // The clock is a year ahead, and right again when the list changes.
    list_once(&mut a, YEAR, at(YEAR, 2), &list("pending"));
    let back = Now { wall_ms: now(60_000).wall_ms, ..now(YEAR + 1_000) };
    let hear = |a: &mut Node, event| {
        let out = a.r.step(back, Input::Source(event));
        out.keep.apply_to(&mut a.kept);
    };
    let stat = at(50_000, 3);
    let bytes = list("completed");
    hear(&mut a, SourceEvent::Read { root: Root::CLAUDE_TODOS, path: PATH.into(), stat, offset: 0, bytes, at_end: true });
    hear(&mut a, SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), None)] });
    assert_eq!(status(&a), crate::model::todo::Status::Completed, "what was read under the wrong clock is no later word");
}

#[test]
fn a_file_from_the_future_is_read_as_of_now() {
    let mut a = Node::new(1);
    let at = |ms: u64, ino| FileStat { dev: 1, ino, size: 50, mtime_ms: now(ms).wall_ms };
    let list = |status: &str| format!(r#"[{{"content":"a","status":"{status}","activeForm":"x"}}]"#).into_bytes();
    list_once(&mut a, 1_000, at(3_600_000, 2), &list("pending"));
    assert_eq!(a.r.view().todos.values().next().expect("it is shown").created, now(1_000).wall_ms);
    read_once(&mut a, 5_000, at(4_000, 3), &list("completed"));
    assert_eq!(a.r.view().todos.values().next().expect("it is shown").status, crate::model::todo::Status::Completed);
}

#[test]
fn of_two_machines_with_one_key_the_lower_life_is_shut_out_and_the_other_stays() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let life = Life { counter: 1, nonce: 1 };
    let (r, _) = Replica::open(identity(2), life, now(2), &b.kept);
    let mut clone = Node { r, kept: b.kept.clone() };
    // Each takes the stream from the other, as the network lets the newer one.
    let linked = |a: &mut Node, of: &mut Node, n: u64| {
        let (l, t) = (LinkId(n), 1_000 * n);
        let (to_a, to_of) = up(a, of, l, t);
        talk(a, of, l, t, to_a, to_of, 5_000);
        let stays = a.r.links.contains_key(&l) && of.r.links.contains_key(&l);
        for node in [a, of] {
            let _ = node.step(t, Input::Peer(PeerEvent::Down { link: l, why: "replaced".into() }));
        }
        stays
    };
    let mut n = 0;
    let shut = loop {
        n += 1;
        assert!(n < 20, "a clone is not noticed");
        let of = if n % 2 == 0 { &mut clone } else { &mut b };
        if !linked(&mut a, of, n) {
            break n % 2;
        }
        if !a.r.view().warnings.keys().any(|name| name.starts_with("clone/")) {
            continue;
        }
        break 1 - n % 2;
    };
    for _ in 0..3 {
        n += 1;
        let (low, high) = if shut == 0 { (&mut clone, &mut b) } else { (&mut b, &mut clone) };
        assert!(linked(&mut a, high, 2 * n), "one of them stays");
        assert!(!linked(&mut a, low, 2 * n + 1), "and the other does not come between");
    }
    let low = if shut == 0 { &clone } else { &b };
    assert!(low.r.view().warnings.contains_key("clone"), "who is shut out says so");
    assert!(low.r.blocked.contains_key(&a.me()) && !a.r.blocked.contains_key(&low.me()));
}

/// What was said on a link, message by message.
fn messages(out: &Effects, l: LinkId) -> Vec<Message> {
    let mut ear = Ear::default();
    let heard = said(out, l).into_iter().map(|frame| ear.hear(&frame, MESSAGE_MAX).expect("our own frame"));
    heard.filter_map(|heard| if let Heard::Whole(message) = heard { Some(message) } else { None }).collect()
}

const MESSAGE_MAX: usize = crate::model::limits::MESSAGE_BYTES_MAX;

#[test]
fn last_beats_are_told_before_the_last_word() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let l = LinkId(1);
    let beat = |task: Option<&str>| Report { agent: "sam".into(), task: task.map(Into::into), source: "cli", ..Report::default() };
    a.ask(2, Ask::Beat(beat(Some("one"))));
    let (x, y) = up(&mut a, &mut b, l, 3);
    talk(&mut a, &mut b, l, 3, x, y, 5_000);
    a.ask(10_000, Ask::Beat(beat(None)));
    let out = a.step(10_001, Input::Stopping);
    let told = messages(&out, l);
    assert!(matches!(told.last(), Some(Message::Bye(Bye::Stopping))), "{told:?}");
    let is_beats = |message: &Message| matches!(message, Message::Changes { doc, .. } if doc.collection() == Collection::Heartbeats);
    assert!(told.iter().any(is_beats), "{told:?}");
}

#[test]
fn who_leaves_says_so_and_knows_nobody_living() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let l = LinkId(1);
    for (node, agent) in [(&mut a, "sam"), (&mut b, "kim")] {
        node.ask(2, Ask::Beat(Report { agent: agent.into(), task: Some("x".into()), source: "cli", ..Report::default() }));
    }
    let (x, y) = up(&mut a, &mut b, l, 3);
    talk(&mut a, &mut b, l, 3, x, y, 5_000);
    let state = |node: &Node, of: DeviceId| {
        let view = node.r.view();
        view.agents.iter().find(|(key, _)| key.device == of).map(|(_, agent)| agent.state)
    };
    use crate::model::view::AgentState::{Unknown, Working};
    let (id_a, id_b) = (a.me(), b.me());
    assert_eq!((state(&a, id_b), state(&b, id_a)), (Some(Working), Some(Working)));
    let out = b.step(10, Input::Ask(Asker(1), Ask::Leave));
    assert!(matches!(messages(&out, l).as_slice(), [.., Message::Bye(Bye::Left)]), "{:?}", messages(&out, l));
    assert_eq!((state(&b, id_a), b.r.presences.heard().len()), (Some(Unknown), 0), "of a fleet that was left nobody is known to live");
    for said in said(&out, l) {
        let _ = a.step(11, frame(l, said));
    }
    assert_eq!(state(&a, id_b), Some(Unknown), "who left is out of reach at once");
    let view = a.r.view();
    assert_eq!(view.devices[&id_b].last_error.as_ref().map(|(_, why)| why.as_str()), Some("it left the fleet"));
}

#[test]
fn secrets_that_are_none_keep_no_later_one_out() {
    let (mut a, mut b, mut p) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut a, &mut b);
    pair(&mut a, &mut p);
    let first = a.r.fleet().secrets[0];
    let mut n = 0_u32;
    for l in 10..40 {
        let (x, y) = up(&mut a, &mut p, LinkId(l), l);
        talk(&mut a, &mut p, LinkId(l), l, x, y, 5_000);
        let before = a.r.fleet().secrets.clone();
        let junk = (0..100).map(|_| (n += 1, *blake3::hash(&n.to_le_bytes()).as_bytes()).1).collect();
        let _ = inject(&mut a, LinkId(l), l, Message::Secrets(junk));
        let new = a.r.fleet().secrets.iter().filter(|secret| !before.contains(secret)).count();
        assert!(new <= 8, "one link tells {new}");
        let _ = a.step(l, Input::Peer(PeerEvent::Down { link: LinkId(l), why: "x".into() }));
        let _ = p.step(l, Input::Peer(PeerEvent::Down { link: LinkId(l), why: "x".into() }));
    }
    let (x, y) = up(&mut a, &mut b, LinkId(1), 50);
    talk(&mut a, &mut b, LinkId(1), 50, x, y, 5_000);
    let out = inject(&mut a, LinkId(1), 51, Message::Secrets(vec![[7; 32], [8; 32]]));
    let secrets = &a.r.fleet().secrets;
    assert_eq!((secrets.len(), secrets[0], &secrets[62..]), (64, first, &[[7; 32], [8; 32]][..]));
    assert!(out.tell.iter().any(|action| matches!(action, LinkAction::Fleet(fleet) if fleet.secrets == *secrets)));
}

#[test]
fn what_was_held_back_on_a_link_is_not_said_any_more_when_it_ends() {
    let (mut a, mut p) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut p);
    a.add(2, "x", None);
    let l = LinkId(1);
    let (x, y) = up(&mut a, &mut p, l, 3);
    talk(&mut a, &mut p, l, 3, x, y, 5_000);
    let d = a.r.library.iter().map(|(id, _)| id.clone()).find(|id| id.collection() == Collection::Todos).unwrap();
    let held = |a: &Node| a.r.view().warnings.keys().filter(|name| name.starts_with("held/")).count();
    let _ = inject(&mut a, l, 4, Message::Held { doc: d });
    let _ = inject(&mut a, l, 4, Message::Changes { doc: doc("todos/2026-09"), bytes: b"junk".to_vec() });
    assert_eq!(held(&a), 2);
    for node in [&mut a, &mut p] {
        let _ = node.step(5, Input::Peer(PeerEvent::Down { link: l, why: "x".into() }));
    }
    assert_eq!(held(&a), 0);
    let (x, y) = up(&mut a, &mut p, LinkId(2), 6);
    talk(&mut a, &mut p, LinkId(2), 6, x, y, 5_000);
    assert!(held(&a) == 0 && a.r.is_level(), "what can be taken again is level again");
}

#[test]
fn pairing_with_a_member_succeeds_and_changes_nothing() {
    let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut a, &mut b);
    let of = |node: &Node| (node.r.fleet().clone(), node.r.log.members(&node.r.fleet().id).len());
    let before = (of(&a), of(&b));
    pair(&mut a, &mut b);
    pair(&mut b, &mut a);
    assert_eq!((of(&a), of(&b)), before);
    let join = |node: &mut Node| {
        let out = node.step(9, Input::Ask(Asker(1), Ask::Join { text: "t".into(), at: None }));
        let only = out.tell.into_iter().find_map(|action| if let LinkAction::Join { only, .. } = action { Some(only) } else { None });
        only.expect("the network is asked")
    };
    assert_eq!(join(&mut c), None, "who is alone uses any ticket");
    let (devices, refusal) = join(&mut b).expect("who is not");
    assert!(devices.contains(&a.me()) && !devices.contains(&c.me()), "uses that of a member");
    assert_eq!(refusal.code, crate::model::reply::Code::AlreadyPaired);
    // And what comes of another's is not taken.
    let out = c.step(10, Input::Peer(PeerEvent::Joining { pairing: 1, asker: Asker(1), device: b.me(), name: "b".into() }));
    let welcome = out.tell.into_iter().find_map(|t| if let LinkAction::Admit { welcome, .. } = t { Some(welcome) } else { None }).unwrap();
    let out = b.step(10, Input::Peer(PeerEvent::Welcomed { asker: Asker(1), device: c.me(), welcome }));
    assert!(matches!(out.reply.as_slice(), [(_, Reply::Refused(why))] if why.code == crate::model::reply::Code::AlreadyPaired));
    assert_eq!(of(&b), before.1);
}

#[test]
fn of_strangers_at_one_address_one_is_heard_at_a_time() {
    let mut a = Node::new(1);
    let mut held = Vec::new();
    let mut come = |a: &mut Node, n: u64, device: DeviceId, address: &str| {
        let out = a.step(n, Input::Peer(PeerEvent::Up { link: LinkId(n), device, address: address.into() }));
        let hung_up = out.tell.iter().filter(|action| matches!(action, LinkAction::HangUp { .. })).count();
        held.push((a.r.links.len(), hung_up));
    };
    for n in 0..20 {
        come(&mut a, n, identity(20 + n as u8).device, &format!("10.0.0.9:{n}"));
    }
    come(&mut a, 30, identity(60).device, "10.0.0.8:1");
    assert_eq!(held[0], (1, 0));
    assert!(held[1..20].iter().all(|held| *held == (1, 1)), "{held:?}");
    assert_eq!(held[20], (2, 0), "another address has its own turn");
}

#[test]
fn members_at_one_address_are_all_heard() {
    let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut a, &mut b);
    pair(&mut a, &mut c);
    for (n, device) in [(1, b.me()), (2, c.me())] {
        let _ = a.step(5, Input::Peer(PeerEvent::Up { link: LinkId(n), device, address: format!("127.0.0.1:{n}") }));
    }
    assert_eq!(a.r.links.len(), 2);
}

#[test]
fn messages_of_an_unknown_kind_are_skipped_counted_and_shown() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let l = LinkId(1);
    let (x, y) = up(&mut a, &mut b, l, 3);
    talk(&mut a, &mut b, l, 3, x, y, 5_000);
    for _ in 0..3 {
        let _ = a.step(4, frame(l, vec![77, 0, 1, 2, 3]));
    }
    let out = a.step(20_000, Input::Tick);
    talk(&mut a, &mut b, l, 20_000, VecDeque::new(), said(&out, l).into(), 100);
    let view = a.r.view();
    assert_eq!(view.devices[&b.me()].link.as_ref().map(|link| link.unknown), Some(3));
}

/// Two nodes with a link on which all has been said.
fn levelled(a: &mut Node, b: &mut Node) -> LinkId {
    pair(a, b);
    let _ = b.step(2, Input::Peer(PeerEvent::Listening { addresses: vec!["y:1".into()] }));
    let l = LinkId(1);
    let (to_a, to_b) = up(a, b, l, 3);
    talk(a, b, l, 4, to_a, to_b, 1_000);
    a.r.members_changed(now(4));
    // The first ping of a is answered.
    let asked = a.step(2_000, Input::Tick);
    talk(a, b, l, 2_000, VecDeque::new(), said(&asked, l).into(), 1_000);
    l
}

#[test]
fn a_link_that_does_not_answer_is_doubted_and_its_device_dialled_beside_it() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    let l = levelled(&mut a, &mut b);
    let doubts = |out: &Effects| out.tell.contains(&LinkAction::Doubt { link: l });
    let pings = |out: &Effects| messages(out, l).iter().filter(|m| matches!(m, Message::Ping { .. })).count();
    a.add(5_000, "written into the void", None);
    let asked = a.step(6_000, Input::Tick);
    assert!(pings(&asked) == 1 && !doubts(&asked), "a second later it is asked whether that came");
    assert!(!doubts(&a.step(8_900, Input::Tick)));
    let out = a.step(9_000, Input::Tick);
    assert!(doubts(&out), "{:?}", out.tell);
    let shown = a.r.view().devices[&b.me()].link.clone().expect("the link stays");
    assert!(!shown.level, "and it is not said that all came");
    let dials = a.step(9_300, Input::Tick);
    assert!(out.tell.iter().chain(&dials.tell).any(|t| matches!(t, LinkAction::Dial { .. })), "{:?}", dials.tell);
    assert!(!doubts(&dials), "once is enough");
    // It answers after all.
    let _ = inject(&mut a, l, 9_400, Message::Pong { n: 2, wall_ms: 0 });
    assert!(a.r.view().devices[&b.me()].link.as_ref().is_some_and(|link| link.level));
}

#[test]
fn a_peer_that_takes_nothing_is_owed_in_our_documents_and_not_in_a_queue() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    levelled(&mut a, &mut b);
    let mut said = 0;
    for n in 0..300 {
        let text = format!("{n} {}", "x".repeat(15_000));
        let what = TodoDeed::Add { content: text.as_str().into(), project: None, priority: None };
        let out = a.step(2_100 + n, Input::Ask(Asker(1), Ask::Todo(TodoAsk { what, agent: None, key: None })));
        let frames = out
            .tell
            .iter()
            .filter_map(|t| if let LinkAction::Say { frames, .. } | LinkAction::Pour { frames, .. } = t { Some(frames) } else { None });
        said += frames.flatten().map(Vec::len).sum::<usize>();
    }
    assert!(said > UNSENT_BYTES_MAX / 2, "it was told at first: {said}");
    assert!(said < UNSENT_BYTES_MAX + 64 * 1024, "{said} bytes wait for one that takes none of 4.5 MB");
}

#[test]
fn another_network_makes_every_dial_due() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let (id, t) = (b.me(), 600_000);
    a.r.dialing.told(&id, &["1.2.3.4:5".to_owned()]);
    let dials = |out: &Effects| out.tell.iter().filter(|t| matches!(t, LinkAction::Dial { .. })).count();
    let listening = |address: &str| Input::Peer(PeerEvent::Listening { addresses: vec![address.into()] });
    let _ = a.step(10, listening("10.0.0.1:4826"));
    for n in 1..t / 1_000 {
        let _ = a.step(n * 1_000, Input::Tick);
    }
    let _ = a.step(t, Input::Tick);
    assert_eq!(dials(&a.step(t + 1, listening("10.0.0.1:4826"))), 0, "nothing is new");
    assert_eq!(dials(&a.step(t + 2, listening("192.168.7.1:4826"))), 1);
}

#[test]
fn branch_and_title_are_the_last_that_were_read_and_the_project_is_the_first() {
    let mut a = Node::new(1);
    let source = |a: &mut Node, t: u64, event: SourceEvent| drop(a.step(t, Input::Source(event)));
    let mut ino = 10;
    let mut read = |a: &mut Node, t: u64, line: Option<String>, repo: Option<Repo>| {
        ino += 1;
        let (stat, bytes) = (FileStat { ino, ..stat() }, LIST.to_vec());
        source(a, t, SourceEvent::Read { root: Root::CLAUDE_TODOS, path: PATH.into(), stat, offset: 0, bytes, at_end: true });
        let path = line.as_ref().map(|_| "p/s1.jsonl".to_owned());
        source(a, t, SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("s1.jsonl".into(), path)] });
        let Some(line) = line else { return };
        let (root, path, bytes) = (Root::CLAUDE_PROJECTS, "p/s1.jsonl".to_owned(), line.into_bytes());
        source(a, t, SourceEvent::Read { root, path, stat, offset: 0, bytes, at_end: true });
        source(a, t, SourceEvent::Repo { cwd: "/w".into(), repo });
    };
    let line = |branch: &str| {
        format!(
            "{{\"type\":\"user\",\"cwd\":\"/w\",\"sessionId\":\"s1\",\"gitBranch\":\"{branch}\",\"timestamp\":\"2026-10-14T00:00:00Z\"}}\n"
        )
    };
    let repo = |name: &str| Some(Repo { remote: Some(format!("https://x.example/{name}")), root: "/w".into(), branch: None });
    let session = |a: &Node| {
        let view = a.r.view();
        let fact = &view.sessions.values().next().expect("it is shown").fact;
        (fact.branch.as_ref().map(Foreign::plain), fact.project.clone())
    };
    read(&mut a, 2, Some(line("main")), repo("one"));
    let first = session(&a);
    assert_eq!(first.0.as_deref(), Some("main"));
    // After the next start its transcript says another branch, and the remote has moved.
    a.kept.index.clear();
    let _ = a.reopen(3);
    read(&mut a, 4, Some(line("fix/it")), repo("two"));
    assert_eq!(session(&a), (Some("fix/it".to_owned()), first.1.clone()));
    a.kept.index.clear();
    let _ = a.reopen(5);
    read(&mut a, 6, None, None);
    assert_eq!(session(&a), (Some("fix/it".to_owned()), first.1), "what is not found any more takes nothing back");
}

#[test]
fn facts_of_a_later_version_are_kept_handed_on_and_not_shown() {
    // a is of a later version; b and c are of this one, and c hears of a through b alone.
    let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    pair(&mut a, &mut b);
    pair(&mut a, &mut c);
    a.add(2, "x", None);
    let d = a.r.library.iter().map(|(id, _)| id.clone()).find(|id| id.collection() == Collection::Todos).unwrap();
    let later = |a: &mut Node, facts: &[(&str, &str)]| {
        let facts: Vec<_> = facts.iter().map(|(key, value)| (key.parse::<FactKey>().expect("a later kind"), (*value).to_owned())).collect();
        let mut keep = crate::model::batch::Batch::default();
        a.r.library.write(d.as_str(), &facts, &mut keep);
        keep.apply_to(&mut a.kept);
    };
    later(&mut a, &[("vote/t-1/a", "yes"), ("claim~/t-1", "{\"rev\":1}")]);
    later(&mut a, &[("claim~/t-1", "{\"rev\":2}")]);
    let before = b.r.export();
    let meet = |x: &mut Node, y: &mut Node, l: u64| {
        let (to_x, to_y) = up(x, y, LinkId(l), l);
        talk(x, y, LinkId(l), l, to_x, to_y, 5_000);
        assert!(x.r.is_level() && y.r.is_level(), "nothing is held back");
        for node in [x, y] {
            let _ = node.step(l, Input::Peer(PeerEvent::Down { link: LinkId(l), why: "x".into() }));
        }
    };
    meet(&mut a, &mut b, 10);
    meet(&mut b, &mut c, 20);
    assert_eq!(a.r.library.heads_of(&d), c.r.library.heads_of(&d));
    meet(&mut c, &mut a, 25);
    let (of_a, of_c) = (a.r.library.facts(), c.r.library.facts());
    assert_eq!((of_a.export(), of_a.unknown()), (of_c.export(), 2));
    assert!(of_c.export().contains("claim~/t-1 {\"rev\":2}\n"));
    assert_eq!(of_c, &c.r.library.facts_from_scratch());
    assert_eq!(c.r.export(), a.r.export());
    assert_ne!(b.r.export(), before, "the todo beside them is shown");
    assert!(c.r.view().warnings.contains_key("newer"));
    let _ = c.reopen(30);
    assert_eq!(c.r.library.facts().unknown(), 2, "they are on its disk");
}

#[test]
fn what_cannot_be_read_is_read_three_times_more_and_then_its_former_value_stays() {
    let mut a = Node::new(1);
    list_once(&mut a, 2, stat(), LIST);
    let asked = |out: &Effects| out.look.iter().filter(|look| matches!(look, Look::Read { .. })).count();
    read_once(&mut a, 10, FileStat { ino: 3, size: 0, ..stat() }, b"");
    for n in 1..=3 {
        let t = 10 + 50 * n;
        assert_eq!(a.r.deadline(), Some(now(t).boot_ms), "try {n}");
        assert_eq!((asked(&a.step(t - 1, Input::Tick)), asked(&a.step(t, Input::Tick))), (0, 1), "try {n}");
        read_once(&mut a, t, FileStat { ino: 3, size: 1, ..stat() }, b"[");
    }
    assert!(a.r.deadline() > Some(now(1_000).boot_ms), "then only a hint or a listing");
    assert_eq!(a.r.view().todos.values().next().expect("it stays").status, crate::model::todo::Status::Completed);
    read_once(&mut a, 2_000, FileStat { ino: 4, size: 0, ..stat() }, b"");
    assert_eq!(asked(&a.step(2_050, Input::Tick)), 1);
    read_once(&mut a, 2_050, FileStat { ino: 4, ..stat() }, LIST);
    assert!(a.r.deadline() > Some(now(3_000).boot_ms), "what could be read is not tried again");
}

/// What a later version may say: kinds that nobody knows, on their own and in parts, reasons and fields behind those that are known.
fn later() -> Vec<Vec<u8>> {
    let part = |kind: u16, last: bool, body: &[u8]| {
        let mut frame = vec![0xff, 0];
        frame.extend(postcard::to_stdvec(&(kind, last, body)).unwrap());
        frame
    };
    vec![vec![15, 0, 1, 2, 3], vec![0xff, 0x7f], part(999, false, &[1; 100]), part(999, true, &[2; 100]), vec![77, 1]]
}

#[test]
fn messages_of_a_later_version_end_no_link_and_are_counted() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    a.add(2, "x", None);
    let l = LinkId(1);
    let (mut to_a, mut to_b) = up(&mut a, &mut b, l, 3);
    let mut skipped = 0;
    // Behind every message that comes, at every stage but before the proof.
    for n in 0..200 {
        let Some(first) = to_b.pop_front() else {
            let Some(frame_of_b) = to_a.pop_front() else { break };
            to_b.extend(said(&a.step(4, frame(l, frame_of_b)), l));
            continue;
        };
        to_a.extend(said(&b.step(4, frame(l, first)), l));
        for strange in later() {
            skipped += 1;
            to_a.extend(said(&b.step(4 + n, frame(l, strange)), l));
        }
        if let Some(frame_of_b) = to_a.pop_front() {
            to_b.extend(said(&a.step(4, frame(l, frame_of_b)), l));
        }
    }
    assert!(skipped > 20 && b.r.links.contains_key(&l), "the link goes on");
    assert!(b.r.is_level() && a.r.is_level(), "and both hold the same");
    let unknown = b.r.links[&l].unknown;
    assert_eq!(unknown, skipped / 5 * 4, "each whole one is counted");
}

#[test]
fn a_peer_without_a_version_in_common_is_told_why() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let l = LinkId(1);
    let (_, to_b) = up(&mut a, &mut b, l, 3);
    for f in to_b {
        let _ = b.step(3, frame(l, f));
    }
    let hello = |versions: Vec<u16>| {
        Message::Hello(Hello {
            versions,
            fleet: a.r.fleet.id,
            life: Life { counter: 1, nonce: 1 },
            wall_ms: 0,
            all: [0; 32],
            addresses: vec![],
            your_life: 0,
        })
    };
    let out = inject(&mut b, l, 4, hello(vec![2, 3]));
    let mut ear = Ear::default();
    let heard: Vec<_> = said(&out, l).iter().map(|f| ear.hear(f, 1 << 20)).collect();
    assert!(heard.contains(&Ok(Heard::Whole(Message::Bye(Bye::Version)))), "{heard:?}");
    // One that speaks this version and later ones is heard.
    let (mut c, mut d) = (Node::new(1), Node::new(2));
    pair(&mut c, &mut d);
    let (_, to_d) = up(&mut c, &mut d, l, 3);
    for f in to_d {
        let _ = d.step(3, frame(l, f));
    }
    let fleet = d.r.fleet.id;
    let later = Hello {
        versions: vec![1, 2, 3],
        fleet,
        life: Life { counter: 1, nonce: 1 },
        wall_ms: 0,
        all: [0; 32],
        addresses: vec![],
        your_life: 0,
    };
    let _ = inject(&mut d, l, 4, Message::Hello(later));
    assert!(d.r.links.contains_key(&l));
}
