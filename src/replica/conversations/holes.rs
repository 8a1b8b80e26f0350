//! Changes whose dependencies nobody has, and what is said of them: held, handed on, released, and never talked about for ever.

use super::node::*;
use std::collections::VecDeque;

use crate::model::ask::*;
use crate::model::fact::FactKey;
use crate::model::id::*;
use crate::model::input::*;
use crate::model::message::*;
use crate::replica::document::Document;
use crate::replica::guard;

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
        let talking = a.r.links.values().any(|x| x.stage == crate::replica::link::Stage::Open);
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

/// Sixty orders of two devices' frames, with todos added amid them, after which nothing more may be said; with `orphan`, one of
/// them holds a change whose dependency nobody has.
fn crossing_frames_fall_silent(orphan: bool) {
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
        if orphan {
            let d = a.r.library.iter().map(|(id, _)| id.clone()).find(|id| id.collection() == Collection::Todos).unwrap();
            let (_, second) = member_chunk(77, 5);
            let foreign = guard::changes(Collection::Todos, &second).unwrap();
            let mut keep = Default::default();
            b.r.library.apply(&d, foreign, DeviceId([7; 32]), &mut keep).unwrap();
        }
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
    assert!(worst.0 < 3_000, "never silent, seed {}", worst.1);
}

#[test]
fn crossing_frames_fall_silent_with_an_orphan_and_without() {
    crossing_frames_fall_silent(true);
    crossing_frames_fall_silent(false);
}
