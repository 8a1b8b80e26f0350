//! A device in memory, and what two of them say to each other on a link, frame by frame.

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;

use crate::model::ask::*;
use crate::model::batch::Kept;
use crate::model::effects::Effects;
use crate::model::id::*;
use crate::model::input::*;
use crate::model::limits::MESSAGE_BYTES_MAX;
use crate::model::message::*;
use crate::model::reply::Reply;
use crate::model::time::Now;
use crate::replica::identity::Identity;
use crate::replica::machine::Replica;

pub(crate) struct Node {
    pub(crate) r: Replica,
    pub(crate) kept: Kept,
}

pub(crate) fn now(ms: u64) -> Now {
    Now { wall_ms: 1_793_000_000_000 + ms as i64, mono_ms: 1_000_000 + ms, boot_ms: 1_000_000 + ms }
}

pub(super) fn identity(n: u8) -> Identity {
    Identity::of(SigningKey::from_bytes(&[n; 32]), format!("n{n}"))
}

impl Node {
    pub(crate) fn new(n: u8) -> Node {
        let mut kept = Kept::default();
        let (r, out) = Replica::open(identity(n), Life { counter: 1, nonce: n as u64 }, now(0), &kept);
        out.keep.apply_to(&mut kept);
        Node { r, kept }
    }
    /// The daemon ends, however it ends, and begins again on what was kept.
    pub(crate) fn reopen(&mut self, t: u64) -> Effects {
        let life = self.r.life();
        let me = self.r.me.clone();
        let (r, out) = Replica::open(me, Life { counter: life.counter + 1, nonce: life.nonce + 100 }, now(t), &self.kept);
        out.keep.apply_to(&mut self.kept);
        self.r = r;
        out
    }
    pub(crate) fn step(&mut self, t: u64, input: Input) -> Effects {
        let mut out = self.r.step(now(t), input);
        // Nothing waits: all that had come is heard.
        while std::mem::take(&mut out.catch_up) {
            out.absorb(self.r.step(now(t), Input::CaughtUp));
        }
        out.keep.apply_to(&mut self.kept);
        out
    }
    pub(crate) fn ask(&mut self, t: u64, ask: Ask) -> Reply {
        let out = self.step(t, Input::Ask(Asker(1), ask));
        out.reply.into_iter().next().expect("a reply").1
    }
    pub(super) fn add(&mut self, t: u64, text: &str, key: Option<&str>) -> Reply {
        self.ask(
            t,
            Ask::Todo(TodoAsk {
                what: TodoDeed::Add { content: text.into(), project: None, priority: None },
                agent: None,
                key: key.map(Into::into),
            }),
        )
    }
    pub(crate) fn me(&self) -> DeviceId {
        self.r.me.device
    }
}

pub(crate) fn pair(a: &mut Node, b: &mut Node) {
    let out = a.step(1, Input::Peer(PeerEvent::Joining { pairing: 1, asker: Asker(1), device: b.me(), name: "b".into() }));
    let admitted = out.tell.iter().find_map(|t| if let LinkAction::Admit { welcome, .. } = t { Some(welcome.clone()) } else { None });
    let welcome = admitted.unwrap();
    let out = b.step(1, Input::Peer(PeerEvent::Welcomed { asker: Asker(1), device: a.me(), welcome }));
    assert!(out.reply.iter().any(|(_, r)| matches!(r, Reply::Paired { .. })), "{:?}", out.reply);
}

/// Frames said on a link, in order.
pub(crate) fn said(out: &Effects, link: LinkId) -> Vec<Vec<u8>> {
    let of = |t: &LinkAction| {
        if let LinkAction::Say { link: l, frames } | LinkAction::Pour { link: l, frames } = t {
            (*l == link).then(|| frames.clone())
        } else {
            None
        }
    };
    out.tell.iter().filter_map(of).flatten().collect()
}

pub(crate) fn frame(link: LinkId, bytes: Vec<u8>) -> Input {
    Input::Peer(PeerEvent::Frame { link, bytes })
}

/// Two nodes on one link until quiet or `max` frames; gives how many frames went.
pub(crate) fn talk(
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

pub(crate) fn up(a: &mut Node, b: &mut Node, l: LinkId, t: u64) -> (VecDeque<Vec<u8>>, VecDeque<Vec<u8>>) {
    let (da, db) = (a.me(), b.me());
    let oa = a.step(t, Input::Peer(PeerEvent::Up { link: l, device: db, address: "x:1".into() }));
    let ob = b.step(t, Input::Peer(PeerEvent::Up { link: l, device: da, address: "x:1".into() }));
    (said(&ob, l).into(), said(&oa, l).into())
}

pub(crate) fn inject(to: &mut Node, l: LinkId, t: u64, m: Message) -> Effects {
    let mut all = Effects::default();
    for f in m.frames() {
        all.absorb(to.step(t, frame(l, f)));
    }
    all
}

/// What was said on a link, message by message.
pub(super) fn messages(out: &Effects, l: LinkId) -> Vec<Message> {
    let mut ear = Ear::default();
    let heard = said(out, l).into_iter().map(|frame| ear.hear(&frame, MESSAGE_BYTES_MAX).expect("our own frame"));
    heard.filter_map(|heard| if let Heard::Whole(message) = heard { Some(message) } else { None }).collect()
}

pub(super) fn doc(name: &str) -> DocId {
    DocId::parse(name).unwrap()
}
