//! Links that come and go: how often they are dialled, what is told at their end, what a peer that takes nothing is owed.

use super::node::*;
use std::collections::VecDeque;

use crate::model::ask::*;
use crate::model::effects::Effects;
use crate::model::id::*;
use crate::model::input::*;
use crate::model::limits::UNSENT_BYTES_MAX;
use crate::model::message::*;
use crate::replica::machine::Replica;

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
fn five_hundred_megabytes_owed_cost_one_in_the_queue_and_a_name_each() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    levelled(&mut a, &mut b);
    let Replica { links, library, .. } = &mut a.r;
    let link = links.values_mut().next().expect("a link");
    let (mut queued, mut owed, mut most) = (0, 0, 0);
    for n in 0..2_000 {
        let fresh = crate::replica::library::Fresh { doc: doc(&format!("todos/2026-11.{n}")), chunk: vec![7; 256 * 1024], changes: 1 };
        let mut out = Effects::default();
        link.tell(&fresh, now(3_000), library, &mut out);
        let frames = out.tell.iter().filter_map(|t| if let LinkAction::Pour { frames, .. } = t { Some(frames) } else { None });
        let said: usize = frames.flatten().map(Vec::len).sum();
        (queued, owed, most) = (queued + said, owed + fresh.chunk.len(), most.max(said));
    }
    println!("{owed} bytes owed, {queued} of them queued");
    assert!(owed >= 500_000_000 && queued <= UNSENT_BYTES_MAX + most, "{queued} bytes wait for one that takes none of {owed}");
    assert!(queued > 0 && !link.has_room());
}

#[test]
fn of_each_address_the_last_failure_is_kept_and_of_few_addresses() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    pair(&mut a, &mut b);
    let id = b.me();
    let failed =
        |n: usize, why: &str| Input::Peer(PeerEvent::DialFailed { device: Some(id), address: format!("10.0.0.{n}:4826"), why: why.into() });
    for n in 0..100 {
        let _ = a.step(10 + n as u64, failed(n % 20, "refused"));
    }
    let _ = a.step(200, failed(19, "no route"));
    let dials = a.r.view().devices[&id].dials.clone();
    assert_eq!((dials.len(), dials[0].times, dials[0].why.as_str(), dials[1].times), (8, 2, "no route", 1));
    assert!(dials.windows(2).all(|two| two[0].at >= two[1].at && two[0].address != two[1].address), "{dials:?}");
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
