//! Who is heard: members and strangers, two machines with one key, who leaves, secrets that are none.

use super::node::*;
use crate::model::ask::*;
use crate::model::id::*;
use crate::model::input::*;
use crate::model::message::*;
use crate::model::reply::Reply;
use crate::replica::machine::Replica;

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
