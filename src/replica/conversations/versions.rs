//! Messages and facts of a later version: kept, counted, shown, and never a reason to end a link.

use super::node::*;
use std::collections::VecDeque;

use crate::model::fact::FactKey;
use crate::model::id::*;
use crate::model::input::*;

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
