//! A member whose device was stolen, or whose store was poisoned: it may write what it likes in the right form, and yet
//! whoever is in stays in, whoever is out stays out, and nobody's clock, presence or beats are taken away.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;

use super::conversations::{Node, frame, inject, now, pair, said, talk, up};
use super::document::Document;
use super::presence::Presences;
use super::saved;
use crate::model::ask::*;
use crate::model::beat::{Beat, Reported};
use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::id::*;
use crate::model::input::*;
use crate::model::limits::{COUNT_MAX, LIVES_AHEAD_MAX, ORPHAN_BYTES_MAX, ORPHAN_DOCUMENT_BYTES, REACHABLE_MS};
use crate::model::message::*;
use crate::model::reply::{Keys, Reply};
use crate::model::session::SessionFact;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, By, Deed};
use crate::rules::members;

const LINK: LinkId = LinkId(1);

fn two() -> (Node, Node) {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    (a, b)
}

fn link(a: &mut Node, b: &mut Node, l: LinkId, t: u64) {
    let (to_a, to_b) = up(a, b, l, t);
    talk(a, b, l, t, to_a, to_b, 10_000);
}

fn beat(a: &mut Node, t: u64, task: &str) -> Effects {
    let report = Report {
        agent: "sam".into(),
        state: Some(Reported::Working),
        task: Some(task.into()),
        session: Some("s".into()),
        source: "api",
        ..Report::default()
    };
    a.step(t, Input::Ask(Asker(1), Ask::Beat(report)))
}

fn add(a: &mut Node, t: u64) {
    let what = TodoDeed::Add { content: "t".into(), project: None, priority: None };
    a.ask(t, Ask::Todo(TodoAsk { what, agent: None, key: None }));
}

/// What somebody says who writes documents by itself.
fn planted(actor: u8, doc: &str, facts: &[(FactKey, String)]) -> Message {
    Message::Changes { doc: DocId::parse(doc).unwrap(), bytes: Document::born([actor; 16]).put(facts) }
}

/// Entries that a member writes into the fleet's document.
fn write_entries(b: &mut Node, entries: &[Vec<u8>]) {
    let facts: Vec<_> = entries.iter().map(|entry| saved::member(entry)).collect();
    let mut out = Effects::default();
    b.r.write("fleet", &facts, &mut out);
    out.keep.apply_to(&mut b.kept);
}

fn admitted(out: &Effects) -> Option<Vec<u8>> {
    out.tell.iter().find_map(|t| if let LinkAction::Admit { welcome, .. } = t { Some(welcome.clone()) } else { None })
}

/// A third one, that the first lets in.
fn third(a: &mut Node, n: u8, t: u64) -> Node {
    let mut c = Node::new(n);
    let out = a.step(t, Input::Peer(PeerEvent::Joining { pairing: 5, asker: Asker(1), device: c.me(), name: "c".into() }));
    let welcome = admitted(&out).expect("it is let in");
    let out = c.step(t, Input::Peer(PeerEvent::Welcomed { asker: Asker(1), device: a.me(), welcome }));
    assert!(out.reply.iter().any(|(_, reply)| matches!(reply, Reply::Paired { .. })), "{:?}", out.reply);
    c
}

fn shown_task(a: &Node) -> Option<String> {
    a.r.view().agents.values().find_map(|agent| agent.beat.task.as_ref().map(|task| task.plain()))
}

#[test]
fn a_later_revision_that_does_not_read_is_shown_neither_before_nor_after_a_restart() {
    let (mut a, mut b) = two();
    let _ = beat(&mut a, 3, "t");
    link(&mut a, &mut b, LINK, 5);
    let key = b.r.library.facts().iter().find(|(key, _)| matches!(key, FactKey::Session(_))).unwrap().0.clone();
    let later = (key, r#"{"rev":50,"a field of a later version":1}"#.to_owned());
    let _ = inject(&mut b, LINK, 6, planted(9, "sessions/2026-10", &[later]));
    assert_eq!(b.r.view().sessions.len(), 1);
    let _ = b.reopen(40);
    assert_eq!(b.r.view().sessions.len(), 1, "nor does a restart change what is shown");
    assert_eq!(*b.r.library.facts(), b.r.library.facts_from_scratch());
}

#[test]
fn a_member_that_fills_the_log_is_removed_like_any_other() {
    let (mut a, mut b) = two();
    let thief = SigningKey::from_bytes(&[2; 32]);
    let nonce = |n: u32| {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&n.to_le_bytes());
        nonce
    };
    let own_fleets: Vec<_> = (0..4_200).map(|n| members::genesis(&thief, nonce(n)).1).collect();
    write_entries(&mut b, &own_fleets);
    link(&mut a, &mut b, LINK, 2);
    assert!(a.r.library.facts().iter().count() > 4_200, "all of it came");
    let reply = a.ask(5, Ask::Revoke { device: b.me().to_string(), forget: false });
    assert!(matches!(reply, Reply::Removed { .. }), "{reply:?}");
    assert!(a.r.log.is_removed(&a.r.fleet().id, &b.me().0), "said removed, so it is");
    link(&mut a, &mut b, LinkId(2), 6);
    assert!(a.r.links.is_empty() && !b.r.is_member(&b.me()));
}

#[test]
fn who_slept_while_a_thief_wrote_a_fat_log_is_let_in_and_so_is_who_came_meanwhile() {
    let (mut a, mut b) = two();
    let mut c = third(&mut a, 3, 2);
    link(&mut a, &mut c, LinkId(7), 3);
    assert!(a.r.is_level() && c.r.is_level());
    for node in [&mut a, &mut c] {
        let _ = node.step(4, Input::Peer(PeerEvent::Down { link: LinkId(7), why: "asleep".into() }));
    }
    link(&mut a, &mut b, LINK, 5);
    // The thief lets in devices that are none, and names many parents; a chain hides what stands below it.
    let thief = SigningKey::from_bytes(&[2; 32]);
    let base = b.r.log.parents(&b.r.fleet().id, &thief.verifying_key().to_bytes());
    let (mut hashes, mut entries) = (Vec::new(), Vec::new());
    for n in 0..64u8 {
        let (hash, entry) = members::add(&thief, &base, DeviceId([n; 32]));
        hashes.push(hash);
        entries.push(entry);
    }
    for n in 0..40u8 {
        let (hash, entry) = members::add(&thief, &hashes, DeviceId([100 + n; 32]));
        hashes[usize::from(n)] = hash;
        entries.push(entry);
    }
    write_entries(&mut b, &entries);
    link(&mut a, &mut b, LinkId(2), 6);
    assert!(a.r.log.bytes(&a.r.fleet().id) > 64 * 1024, "more than a stranger may say");
    let reply = a.ask(7, Ask::Revoke { device: b.me().to_string(), forget: false });
    assert!(matches!(reply, Reply::Removed { .. }) && !a.r.is_member(&b.me()));
    let mut d = third(&mut a, 4, 8);
    // Who slept does not know the one that came meanwhile, and meets it first.
    link(&mut c, &mut d, LinkId(8), 9);
    assert!(c.r.links.values().any(|link| link.device == d.me()), "d shows that it is a member");
    link(&mut a, &mut c, LinkId(9), 10);
    assert!(c.r.links.values().any(|link| link.device == a.me()) && a.r.links.values().any(|link| link.device == c.me()));
    assert!(!c.r.is_member(&b.me()), "and c knows who is out");
}

#[test]
fn one_hello_takes_nobodys_presence_away() {
    let (mut a, mut b) = two();
    let (mut to_a, mut to_b) = up(&mut a, &mut b, LINK, 2);
    let mut n = 0;
    while n < 1_000 && !(to_a.is_empty() && to_b.is_empty()) {
        n += 1;
        if let Some(bytes) = to_a.pop_front() {
            let bytes = match Ear::default().hear(&bytes, 1 << 25) {
                Ok(Heard::Whole(Message::Hello(hello))) => Message::Hello(Hello { your_life: COUNT_MAX - 1, ..hello }).frames().remove(0),
                _ => bytes,
            };
            to_b.extend(said(&a.step(2, frame(LINK, bytes)), LINK));
        }
        if let Some(bytes) = to_b.pop_front() {
            to_a.extend(said(&b.step(2, frame(LINK, bytes)), LINK));
        }
    }
    assert!(a.r.life().counter < LIVES_AHEAD_MAX);
    assert!(a.r.view().warnings.values().any(|warning| warning.what.contains("which cannot be")), "and it is said");
    let _ = a.reopen(30);
    let mut c = third(&mut a, 3, 31);
    link(&mut a, &mut c, LinkId(9), 32);
    assert!(c.r.presences.heard().contains_key(&a.me()));
}

#[test]
fn a_forged_presence_mutes_a_relayed_device_only_while_it_would_be_in_reach() {
    let mut presences = Presences::new(DeviceId([9; 32]), Life { counter: 1, nonce: 1 }, 0);
    let device = DeviceId([8; 32]);
    let of = |counter, seq, age_ms| Presence { device, life: Life { counter, nonce: 0 }, seq, age_ms, agents: vec![] };
    assert!(presences.hear(&of(1, 1, 0), false, 1_000));
    assert!(presences.hear(&of(COUNT_MAX, COUNT_MAX, 0), false, 2_000));
    assert!(!presences.hear(&of(1, 2, 0), false, 2_000 + REACHABLE_MS - 1));
    assert!(presences.hear(&of(1, 2, REACHABLE_MS), false, 2_000 + REACHABLE_MS), "the last word of who went");
    assert!(!presences.heard()[&device].reachable(2_000 + REACHABLE_MS), "brings nobody into reach");
    assert!(presences.hear(&of(1, 3, 10), false, 2_000 + REACHABLE_MS));
    assert!(!presences.hear(&of(1, 3, 0), false, 2_001 + REACHABLE_MS), "and then the order counts again");
}

/// What a member writes costs what its bytes cost: this took more than a minute when all was judged again for each entry.
#[test]
fn four_thousand_entries_of_a_thief_are_judged_alike_one_by_one_and_at_once() {
    let (a, thief) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let (begin, first) = members::genesis(&a, [0; 16]);
    let (let_in, second) = members::add(&a, &[begin], DeviceId(thief.verifying_key().to_bytes()));
    let id = |n: u32| DeviceId(*blake3::hash(&n.to_le_bytes()).as_bytes());
    let of = |n: u32| [members::remove(&thief, &[let_in], id(n)).1, members::add(&thief, &[let_in], id(100_000 + n)).1];
    let all: Vec<Vec<u8>> = [first, second].into_iter().chain((0..2_000).flat_map(of)).collect();
    let (mut one, mut other) = (members::Log::default(), members::Log::default());
    assert!(all.iter().all(|entry| one.learn(entry) == Ok(true)));
    assert!(other.learn_all(&all));
    let fleet = FleetId(begin);
    assert_eq!((one.members(&fleet).len(), one.heads(&fleet)), (2_002, other.heads(&fleet)));
    assert_eq!(one.members(&fleet), other.members(&fleet));
}

/// The agent's row and its last beat.
fn own_beat(a: &Node) -> Beat {
    a.r.presences.own().values().next().unwrap().beat.clone()
}

#[test]
fn a_beat_of_ours_that_a_member_wrote_last_of_all_is_outlived() {
    let (mut a, mut b) = two();
    let _ = beat(&mut a, 3, "one");
    link(&mut a, &mut b, LINK, 3);
    for (n, rev) in [(0, COUNT_MAX), (1, COUNT_MAX), (2, COUNT_MAX / 2)] {
        let forged = Beat { rev, task: Some("planted".into()), ..own_beat(&a) };
        let newest = a.r.library.newest_heartbeats(&format!("heartbeats/{}", a.me()));
        let doc = format!("heartbeats/{}/{newest}", a.me());
        let mut out = Effects::default();
        b.r.write(&format!("heartbeats/{}", a.me()), &[(FactKey::Beat(forged.session, "sam".into()), saved::json(&forged))], &mut out);
        out.keep.apply_to(&mut b.kept);
        assert!(b.r.library.get(&DocId::parse(&doc).unwrap()).is_some());
        link(&mut a, &mut b, LinkId(2 + n), 4);
        let out = beat(&mut a, 5 + n, &format!("two {n}"));
        assert!(out.reply.iter().any(|(_, reply)| matches!(reply, Reply::Beat { durable: true, .. })), "{:?}", out.reply);
        let _ = a.step(20, Input::Stopping);
        link(&mut a, &mut b, LinkId(20 + n), 21);
        assert_eq!(shown_task(&b), Some(format!("two {n}")), "the others show it, too");
        let _ = a.reopen(40);
        assert_eq!(shown_task(&a), Some(format!("two {n}")));
        let _ = beat(&mut a, 41, &format!("two {n}"));
        assert!(a.r.library.iter().filter(|(id, _)| id.beats_of() == Some(&a.me().to_string())).count() <= 2);
    }
}

#[test]
fn a_beat_under_another_devices_name_or_of_anothers_session_hides_nobodys() {
    let (mut a, mut b) = two();
    let _ = beat(&mut a, 3, "one");
    link(&mut a, &mut b, LINK, 3);
    let mine = own_beat(&a);
    let key = FactKey::Beat(mine.session, "sam".into());
    let under_mine = Beat { rev: COUNT_MAX, task: Some("forged".into()), ..mine.clone() };
    let under_its_own = Beat { rev: COUNT_MAX, device: b.me(), task: Some("forged".into()), ..mine };
    for (n, forged) in [under_mine, under_its_own].iter().enumerate() {
        let said = planted(60 + n as u8, &format!("heartbeats/{}/1", b.me()), &[(key.clone(), saved::json(forged))]);
        let _ = inject(&mut a, LINK, 4, said);
    }
    let _ = beat(&mut a, 5, "two");
    let _ = a.step(6, Input::Stopping);
    let _ = a.reopen(40);
    let view = a.r.view();
    let of_a = view.agents.iter().find(|(key, _)| key.device == a.me()).expect("it is shown");
    assert_eq!(of_a.1.beat.task, Some("two".into()));
    assert_eq!(*a.r.library.facts(), a.r.library.facts_from_scratch());
}

#[test]
fn a_counter_that_a_member_used_up_is_answered_so_and_loses_nothing() {
    let (mut a, mut b) = two();
    link(&mut a, &mut b, LINK, 2);
    add(&mut a, 3);
    let _ = beat(&mut a, 3, "one");
    let todo = a.r.view().todos.values().next().unwrap().id;
    let item = a.r.library.facts().iter().find_map(|(key, _)| if let FactKey::Item(item) = key { Some(*item) } else { None }).unwrap();
    let by = By { device: b.me(), agent: None, session: None };
    let deed = Deed::Set { field: crate::model::todo::Field::Owner, value: "thief".into(), rev: COUNT_MAX };
    let fact = ActFact { todo, items: BTreeSet::from([item]), deed, by, at: Stamp::at(1), undoes: None, asked: None };
    let key = a.r.library.facts().iter().find_map(|(key, _)| matches!(key, FactKey::Session(_)).then(|| key.clone())).unwrap();
    let session: SessionFact = serde_json::from_str(a.r.library.facts().get(&key).unwrap().shown()).unwrap();
    let session = SessionFact { rev: COUNT_MAX, title: Some("planted".into()), ..session };
    let _ = inject(&mut a, LINK, 4, planted(70, "todos/2026-10", &[(FactKey::Act(ActId::of(&[b"forged"])), saved::json(&fact))]));
    let _ = inject(&mut a, LINK, 4, planted(71, "sessions/2026-10", &[(key.clone(), saved::json(&session))]));
    let edit = TodoDeed::Edit { id: todo.to_string(), content: None, owner: Some("me".into()), priority: None };
    let reply = a.ask(5, Ask::Todo(TodoAsk { what: edit, agent: None, key: None }));
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    let record = SessionRecord {
        tool: "custom".into(),
        id: "s".into(),
        agent: None,
        cwd: None,
        remote: None,
        branch: None,
        title: Some("true".into()),
        started: None,
    };
    let _ = a.ask(6, Ask::Sessions(vec![record]));
    let _ = a.reopen(40);
    assert_eq!(a.r.view().sessions.len(), 1, "the session is there after a restart");
}

#[test]
fn nobodys_stamp_moves_our_clock_by_years_whoever_it_names() {
    let (mut a, mut b) = two();
    link(&mut a, &mut b, LINK, 2);
    add(&mut a, 3);
    let todo = a.r.view().todos.values().next().unwrap().id;
    let item = a.r.library.facts().iter().find_map(|(key, _)| if let FactKey::Item(item) = key { Some(*item) } else { None }).unwrap();
    for (n, device) in [a.me(), b.me()].into_iter().enumerate() {
        let at = Stamp { ms: now(3).wall_ms + 9 * 366 * 86_400_000, n: 0 };
        let by = By { device, agent: None, session: None };
        let fact = ActFact { todo, items: BTreeSet::from([item]), deed: Deed::Asked, by, at, undoes: None, asked: None };
        let said = planted(80 + n as u8, "todos/2026-10", &[(FactKey::Act(ActId::of(&[&[n as u8]])), saved::json(&fact))]);
        let _ = inject(&mut a, LINK, 4, said);
        assert!(a.r.hlc.ms <= now(4).wall_ms + 600_000);
    }
    let _ = a.reopen(5);
    assert!(a.r.hlc.ms <= now(5).wall_ms + 600_000, "nor after a restart");
}

#[test]
fn who_knows_that_it_was_removed_lets_nobody_in() {
    let (mut a, mut b) = two();
    link(&mut a, &mut b, LINK, 2);
    let keys = Keys { ticket: String::new(), code: None, addresses: vec![], until_ms: 0, tries: 3 };
    let _ = b.step(2, Input::Peer(PeerEvent::Invited { asker: Asker(4), keys }));
    let _ = a.ask(3, Ask::Revoke { device: b.me().to_string(), forget: false });
    link(&mut a, &mut b, LinkId(2), 4);
    assert!(!b.r.is_member(&b.me()));
    let c = Node::new(3);
    let out = b.step(5, Input::Peer(PeerEvent::Joining { pairing: 5, asker: Asker(4), device: c.me(), name: "c".into() }));
    assert!(admitted(&out).is_none() && out.tell.iter().any(|t| matches!(t, LinkAction::TurnAway { .. })));
    let Reply::Refused(why) = b.ask(6, Ask::Invite { code: true }) else { panic!("it opens no window") };
    assert!(why.fix.is_some_and(|fix| fix.contains("rekey")));
}

#[test]
fn a_welcome_with_a_thousand_secrets_is_cut() {
    let (mut a, mut c) = (Node::new(1), Node::new(3));
    a.r.fleet.secrets.extend((0..1_000u32).map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()));
    let (first, last) = (a.r.fleet.secrets[0], a.r.fleet.secrets[1_000]);
    let out = a.step(1, Input::Peer(PeerEvent::Joining { pairing: 5, asker: Asker(1), device: c.me(), name: "c".into() }));
    let welcome = admitted(&out).unwrap();
    let _ = c.step(1, Input::Peer(PeerEvent::Welcomed { asker: Asker(1), device: a.me(), welcome }));
    assert_eq!((c.r.fleet.secrets.len(), c.r.fleet.secrets[0], c.r.fleet.secrets[63]), (64, first, last));
}

#[test]
fn what_waits_in_made_up_documents_is_bounded_for_a_device_and_keeps_no_other_out() {
    let (mut a, mut b) = two();
    let mut c = third(&mut a, 3, 1);
    link(&mut a, &mut b, LINK, 2);
    link(&mut a, &mut c, LinkId(2), 2);
    let orphan = |name: &str, actor: u8| {
        let mut doc = Document::born([actor; 16]);
        let first = doc.put(&[(FactKey::Other("x/1".into()), "y".into())]);
        let second = doc.put(&[(FactKey::Other("x/2".into()), "z".into())]);
        let of = |bytes| Message::Changes { doc: DocId::parse(name).unwrap(), bytes };
        (of(first), of(second))
    };
    let documents = ORPHAN_BYTES_MAX / ORPHAN_DOCUMENT_BYTES;
    for n in 0..documents + 50 {
        let _ = inject(&mut a, LINK, 3, orphan(&format!("todos/z{n}"), 1).1);
    }
    let held = a.r.library.iter().filter(|(id, _)| id.as_str().starts_with("todos/z")).count();
    assert!(held <= documents && held > 0, "{held}");
    assert!(a.r.links[&LINK].held.len() >= 50, "what is not taken is said to be held");
    let (first, second) = orphan("todos/2026-10", 2);
    let _ = inject(&mut a, LinkId(2), 4, second);
    let _ = inject(&mut a, LinkId(2), 4, first);
    assert!(a.r.links[&LinkId(2)].held.is_empty() && a.r.library.facts().get(&FactKey::Other("x/2".into())).is_some());
}
