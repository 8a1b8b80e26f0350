//! For the tests: any facts, also such as no honest device writes, over so few names that everything collides: three texts,
//! three projects, two sessions, three devices.

use std::collections::{BTreeMap, BTreeSet};

use quickcheck::{Arbitrary, Gen};

use super::known::Todos;
use crate::model::id::{ActId, AskId, ConflictId, DeviceId, ItemId, SessionId, TodoId};
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, By, Deed, Field, GENERAL, ItemFact, List, RankFact, SeenFact, Status, TodoFact, todo_id};

pub(super) const TEXTS: [&str; 3] = ["a", "b", "c"];
pub(super) const PROJECTS: [&str; 3] = [GENERAL, "p", "q"];

/// Something that is learnt.
#[derive(Debug, Clone)]
pub(super) enum Heard {
    Fact(TodoFact),
    Session(SessionId, Option<String>),
    Alias(String, String, Stamp, ActId),
}

impl Heard {
    pub(super) fn tell(&self, todos: &mut Todos) {
        match self {
            Heard::Fact(fact) => todos.learn(fact.clone()),
            Heard::Session(session, project) => todos.learn_session(*session, project.as_deref()),
            Heard::Alias(from, to, at, id) => todos.learn_alias(from, to, *at, *id),
        }
    }
}

pub(super) fn todos_of(heard: &[Heard]) -> Todos {
    let mut todos = Todos::default();
    heard.iter().for_each(|one| one.tell(&mut todos));
    todos
}

/// The same in another order.
pub(super) fn mixed(heard: &[Heard], order: u64) -> Vec<Heard> {
    let key = |n: usize| blake3::hash(&[order.to_le_bytes(), (n as u64).to_le_bytes()].concat());
    let mut numbered: Vec<(usize, &Heard)> = heard.iter().enumerate().collect();
    numbered.sort_by_key(|(n, _)| *key(*n).as_bytes());
    numbered.into_iter().map(|(_, one)| one.clone()).collect()
}

pub(super) fn acts(heard: &[Heard]) -> impl Iterator<Item = (ActId, &ActFact)> {
    heard.iter().filter_map(|one| match one {
        Heard::Fact(TodoFact::Act(id, fact)) => Some((*id, fact)),
        Heard::Fact(_) | Heard::Session(..) | Heard::Alias(..) => None,
    })
}

pub(super) fn ranks(heard: &[Heard]) -> impl Iterator<Item = (ItemId, u64, Status, &RankFact)> {
    heard.iter().filter_map(|one| match one {
        Heard::Fact(TodoFact::Rank(item, round, status, fact)) => Some((*item, *round, *status, fact)),
        Heard::Fact(_) | Heard::Session(..) | Heard::Alias(..) => None,
    })
}

pub(super) fn lowest_items(heard: &[Heard]) -> BTreeMap<ItemId, ItemFact> {
    let mut items: BTreeMap<ItemId, ItemFact> = BTreeMap::new();
    for one in heard {
        if let Heard::Fact(TodoFact::Item(id, fact)) = one
            && items.get(id).is_none_or(|old| fact < old)
        {
            items.insert(*id, fact.clone());
        }
    }
    items
}

/// Where an item's project is, its alias with it.
pub(super) fn project(heard: &[Heard], item: &ItemFact) -> String {
    let mut project = GENERAL.to_owned();
    match (&item.project, &item.list) {
        (Some(own), _) => project.clone_from(own),
        (None, List::Person { project: of }) => project.clone_from(of),
        (None, List::Named { .. }) => {}
        (None, List::Session { session, .. }) => {
            for one in heard {
                if let Heard::Session(of, Some(known)) = one
                    && of == session
                {
                    project.clone_from(known);
                }
            }
        }
    }
    let aliases = heard.iter().filter_map(|one| match one {
        Heard::Alias(from, to, at, id) if *from == project => Some((*at, *id, to.clone())),
        Heard::Fact(_) | Heard::Session(..) | Heard::Alias(..) => None,
    });
    aliases.max().map_or(project.clone(), |(_, _, to)| to)
}

pub(super) fn pick<T: Clone>(g: &mut Gen, of: &[T]) -> T {
    g.choose(of).expect("because it is never empty").clone()
}

pub(super) fn below(g: &mut Gen, n: u64) -> u64 {
    u64::arbitrary(g) % n
}

pub(super) fn device(n: u8) -> DeviceId {
    DeviceId([n; 32])
}

pub(super) fn session(n: u8) -> SessionId {
    SessionId::of(&[&[n]])
}

pub(super) fn list(session_n: u8) -> List {
    List::Session { session: session(session_n), agent: "main".into() }
}

fn any_list(g: &mut Gen) -> List {
    match below(g, 5) {
        0 => List::Person { project: pick(g, &PROJECTS).to_owned() },
        1 => List::Named { device: device(0), name: "team".into() },
        n => list(n as u8 % 2),
    }
}

fn any_item(g: &mut Gen) -> ItemId {
    any_list(g).item(pick(g, &TEXTS))
}

fn any_items(g: &mut Gen) -> BTreeSet<ItemId> {
    (0..below(g, 4)).map(|_| any_item(g)).collect()
}

fn any_todo(g: &mut Gen) -> TodoId {
    todo_id(pick(g, &PROJECTS), &pick(g, &TEXTS).into())
}

pub(super) fn any_time(g: &mut Gen) -> i64 {
    below(g, 12) as i64
}

fn any_by(g: &mut Gen) -> By {
    let agent = pick(g, &[None, Some("sam".into())]);
    By { device: device(below(g, 3) as u8), agent, session: pick(g, &[None, Some(session(0)), Some(session(1))]) }
}

fn any_act_id(g: &mut Gen) -> ActId {
    ActId::of(&[&[below(g, 12) as u8]])
}

fn any_conflict(g: &mut Gen) -> ConflictId {
    let item = any_item(g);
    ConflictId::of(&[&item.0, &1u64.to_le_bytes(), b"status"])
}

fn any_deed(g: &mut Gen) -> Deed {
    let (round, status, rev) = (below(g, 4), pick(g, &Status::ALL), below(g, 4));
    match below(g, 7) {
        6 => Deed::Tag { tag: pick(g, &["x", "y", " X"]).into(), on: below(g, 2) == 0, rev },
        0 => Deed::Mark { round, status },
        1 => Deed::Open { round, status },
        2 => Deed::Delete { round },
        3 => Deed::Resolve { conflict: any_conflict(g), was: None },
        4 => Deed::Set { field: Field::Content, value: pick(g, &["a", "b", " c", ""]).into(), rev },
        _ => Deed::Set { field: pick(g, &[Field::Owner, Field::Priority]), value: pick(g, &TEXTS).into(), rev },
    }
}

fn optional(g: &mut Gen) -> Option<Foreign> {
    pick(g, &[None, Some("x".into()), Some("y".into())])
}

fn any_fact(g: &mut Gen) -> TodoFact {
    match below(g, 10) {
        0..=2 => {
            let (list, text) = (any_list(g), pick(g, &TEXTS));
            // The tool's own id may name it instead of the text; values that disagree come from a store that was lost.
            let says = if below(g, 5) == 0 { pick(g, &TEXTS) } else { text };
            let project = pick(g, &[None, None, None, Some("q".to_owned())]);
            TodoFact::Item(list.item(text), ItemFact { list, text: says.into(), first_seen: any_time(g), project })
        }
        3..=5 => {
            let fact = RankFact { todo: any_todo(g), by: any_by(g), at: any_time(g) };
            TodoFact::Rank(any_item(g), 1 + below(g, 3), pick(g, &Status::ALL), fact)
        }
        6 | 7 => {
            let undoes = if below(g, 4) == 0 { Some(any_act_id(g)) } else { None };
            let at = Stamp { ms: any_time(g), n: below(g, 2) as u32 };
            let asked = (below(g, 4) == 0).then(|| AskId::of(&[&[below(g, 3) as u8]]));
            let fact = ActFact { todo: any_todo(g), items: any_items(g), deed: any_deed(g), by: any_by(g), at, undoes, asked };
            let id = if below(g, 4) == 0 { any_act_id(g) } else { ActId::of(&[&u64::arbitrary(g).to_le_bytes()]) };
            // Round 0 is no fact; the model need not know.
            let is_fact = !matches!(fact.deed, Deed::Mark { round: 0, .. } | Deed::Open { round: 0, .. } | Deed::Delete { round: 0 });
            if is_fact { TodoFact::Act(id, fact) } else { any_fact(g) }
        }
        _ => TodoFact::Seen(
            any_item(g),
            SeenFact {
                rev: below(g, 4),
                device: device(below(g, 3) as u8),
                status: pick(g, &Status::ALL),
                round: 1 + below(g, 3),
                listed: pick(g, &[true, true, false]),
                active_form: optional(g),
                priority: optional(g),
                owner: optional(g),
                blocked_by: any_items(g),
                at: any_time(g),
            },
        ),
    }
}

/// Any facts at all, with at most one project for each session.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) heard: Vec<Heard>,
}

impl Arbitrary for Raw {
    fn arbitrary(g: &mut Gen) -> Raw {
        let mut heard: Vec<Heard> = (0..below(g, 60)).map(|_| Heard::Fact(any_fact(g))).collect();
        for n in 0..2 {
            if bool::arbitrary(g) {
                heard.push(Heard::Session(session(n), Some(pick(g, &PROJECTS).to_owned())));
            }
        }
        for _ in 0..below(g, 3) {
            let (from, to) = (pick(g, &PROJECTS).to_owned(), pick(g, &PROJECTS).to_owned());
            heard.push(Heard::Alias(from, to, Stamp::at(any_time(g)), any_act_id(g)));
        }
        Raw { heard: mixed(&heard, u64::arbitrary(g)) }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Raw>> {
        let heard = self.heard.clone();
        Box::new((0..heard.len()).map(move |n| Raw { heard: heard[..n].iter().chain(&heard[n + 1..]).cloned().collect() }))
    }
}

fn seen(rev: u64, round: u64, status: Status, at: i64) -> SeenFact {
    SeenFact {
        rev,
        device: device(0),
        status,
        round,
        listed: true,
        active_form: None,
        priority: None,
        owner: None,
        blocked_by: BTreeSet::new(),
        at,
    }
}

/// One list in one session, items numbered.
pub(super) struct Fixed {
    pub(super) by: By,
}

impl Fixed {
    pub(super) fn new() -> Fixed {
        Fixed { by: By { device: device(0), agent: None, session: Some(session(0)) } }
    }

    pub(super) fn todo(&self, n: usize) -> (TodoId, ItemId) {
        let text = format!("text {n}");
        (todo_id(GENERAL, &text.as_str().into()), list(0).item(&text))
    }

    pub(super) fn item(&self, n: usize) -> Heard {
        let fact = ItemFact { list: list(0), text: Foreign::new(format!("text {n}")), first_seen: 1, project: None };
        Heard::Fact(TodoFact::Item(self.todo(n).1, fact))
    }

    pub(super) fn rank(&self, n: usize, round: u64, status: Status) -> Heard {
        let (todo, item) = self.todo(n);
        Heard::Fact(TodoFact::Rank(item, round, status, RankFact { todo, by: self.by.clone(), at: 1 }))
    }

    pub(super) fn rank_at(&self, n: usize, status: Status, at: i64) -> Heard {
        let (todo, item) = self.todo(n);
        Heard::Fact(TodoFact::Rank(item, 1, status, RankFact { todo, by: self.by.clone(), at }))
    }

    pub(super) fn seen(&self, n: usize, rev: u64, round: u64, status: Status) -> Heard {
        Heard::Fact(TodoFact::Seen(self.todo(n).1, seen(rev, round, status, 1)))
    }

    pub(super) fn seen_at(&self, n: usize, status: Status, at: i64) -> Heard {
        Heard::Fact(TodoFact::Seen(self.todo(n).1, seen(1, 1, status, at)))
    }

    pub(super) fn act(&self, deed: Deed) -> Heard {
        let (todo, item) = self.todo(0);
        let fact = ActFact { todo, items: BTreeSet::from([item]), deed, by: self.by.clone(), at: Stamp::at(1), undoes: None, asked: None };
        Heard::Fact(TodoFact::Act(ActId::of(&[b"act"]), fact))
    }
}
