//! For the tests: small worlds in which everything collides. Three texts, two projects, two sessions, three devices.
//!
//! [`Raw`] is any set of facts, also such as no honest device writes; [`World`] is what readings and deeds on devices that
//! talk now and then come to.

use std::collections::{BTreeMap, BTreeSet};

use quickcheck::{Arbitrary, Gen};

use super::Todos;
use super::deeds::{Decision, decide};
use super::reading::read;
use crate::model::ask::{Keeping, TodoDeed};
use crate::model::id::{ActId, ConflictId, DeviceId, ItemId, SessionId, TodoId};
use crate::model::reply::Refusal;
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::{
    ActFact, By, Deed, Field, GENERAL, ItemFact, List, Listed, RankFact, Reading, SeenFact, Status, TodoFact, todo_id,
};

pub(super) const TEXTS: [&str; 3] = ["a", "b", "c"];
const PROJECTS: [&str; 3] = [GENERAL, "p", "q"];

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

fn pick<T: Clone>(g: &mut Gen, of: &[T]) -> T {
    g.choose(of).expect("because it is never empty").clone()
}

fn below(g: &mut Gen, n: u64) -> u64 {
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
    match below(g, 4) {
        0 => List::Person { project: pick(g, &PROJECTS).to_owned() },
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

fn any_time(g: &mut Gen) -> i64 {
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
    match below(g, 6) {
        0 => Deed::Mark { round, status },
        1 => Deed::Open { round, status },
        2 => Deed::Delete { round },
        3 => Deed::Resolve { conflict: any_conflict(g) },
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
            let fact = ActFact { todo: any_todo(g), items: any_items(g), deed: any_deed(g), by: any_by(g), at, undoes };
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

/// One step of a world.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A device reads one of its lists.
    Read { device: usize, session: u8, reading: Vec<(usize, Status)>, at: i64 },
    /// Somebody does something to one of the todos that the device knows.
    Do { device: usize, which: usize, deed: usize, text: usize },
    /// All devices learn a session's project.
    Project { session: u8, project: usize },
    /// All devices learn an alias.
    Alias { from: usize, to: usize },
    /// One device tells another all it knows.
    Talk { from: usize, to: usize },
}

/// Readings and deeds on three devices.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) steps: Vec<Step>,
}

impl Arbitrary for World {
    fn arbitrary(g: &mut Gen) -> World {
        let step = |g: &mut Gen| match below(g, 12) {
            0..=4 => Step::Read {
                device: below(g, 3) as usize,
                session: below(g, 2) as u8,
                reading: (0..below(g, 4)).map(|_| (below(g, 3) as usize, pick(g, &Status::ALL))).collect(),
                at: any_time(g),
            },
            5..=8 => Step::Do {
                device: below(g, 3) as usize,
                which: below(g, 9) as usize,
                deed: below(g, 12) as usize,
                text: below(g, 3) as usize,
            },
            9 => Step::Project { session: below(g, 2) as u8, project: below(g, 3) as usize },
            10 if below(g, 4) == 0 => Step::Alias { from: below(g, 3) as usize, to: below(g, 3) as usize },
            _ => Step::Talk { from: below(g, 3) as usize, to: below(g, 3) as usize },
        };
        World { steps: (0..below(g, 40)).map(|_| step(g)).collect() }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = World>> {
        let steps = self.steps.clone();
        Box::new((0..steps.len()).map(move |n| World { steps: steps[..n].iter().chain(&steps[n + 1..]).cloned().collect() }))
    }
}

/// What a world came to.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) devices: Vec<Todos>,
    known: Vec<Vec<TodoFact>>,
    /// Everything that was written.
    pub(super) facts: Vec<TodoFact>,
    shared: Vec<Heard>,
    /// The names that deeds answered with.
    pub(super) named: BTreeSet<TodoId>,
    count: [u64; 3],
}

/// A deed on a device, before its facts are learnt.
pub(super) struct Deal<'a> {
    pub(super) before: &'a Todos,
    pub(super) deed: &'a TodoDeed,
    pub(super) decision: &'a Decision,
    pub(super) after: &'a Todos,
}

impl World {
    pub(super) fn run(&self) -> Ran {
        self.run_with(|_| true, |_, _| true).0
    }

    /// Runs it; asks `deeds` of every deed and `readings` (before, after) of every reading, and says whether
    /// all answered yes.
    pub(super) fn run_with(
        &self,
        mut deeds: impl FnMut(&Deal<'_>) -> bool,
        mut readings: impl FnMut(&Todos, &Todos) -> bool,
    ) -> (Ran, bool) {
        let mut ran = Ran { devices: (0..3).map(|_| Todos::default()).collect(), known: vec![Vec::new(); 3], ..Ran::default() };
        let mut fine = true;
        for step in &self.steps {
            match step {
                Step::Read { device: n, session, reading, at } => {
                    let facts = read(&ran.devices[*n], &list(*session), device(*n as u8), &reading_of(reading), *at);
                    let before = ran.clone_of(*n);
                    ran.write(*n, facts);
                    fine &= readings(&before, &ran.devices[*n]);
                }
                Step::Do { device, which, deed, text } => {
                    let Some(deed) = ran.deed(*device, *which, *deed, *text) else { continue };
                    let Ok(decision) = ran.decide(*device, &deed) else { continue };
                    let before = ran.clone_of(*device);
                    ran.write(*device, decision.facts.clone());
                    ran.named.insert(decision.todo);
                    let deal = Deal { before: &before, deed: &deed, decision: &decision, after: &ran.devices[*device] };
                    fine &= deeds(&deal);
                }
                Step::Project { session: of, project } => {
                    ran.share(Heard::Session(session(*of), Some(PROJECTS[*project].to_owned())));
                }
                Step::Alias { from, to } => {
                    let (at, id) = (Stamp::at(ran.shared.len() as i64), ActId::of(&[b"alias"]));
                    ran.share(Heard::Alias(PROJECTS[*from].to_owned(), PROJECTS[*to].to_owned(), at, id));
                }
                Step::Talk { from, to } => {
                    let facts = ran.known[*from].clone();
                    ran.hear(*to, facts);
                }
            }
        }
        (ran, fine)
    }
}

pub(super) fn reading_of(elements: &[(usize, Status)]) -> Reading {
    let element = |(text, status): &(usize, Status)| Listed {
        text: TEXTS[*text].into(),
        status: *status,
        active_form: Some(Foreign::new(format!("doing {text}"))),
        priority: None,
        owner: None,
    };
    Reading { items: elements.iter().map(element).collect(), malformed: 0 }
}

impl Ran {
    fn write(&mut self, device: usize, facts: Vec<TodoFact>) {
        self.facts.extend(facts.iter().cloned());
        self.hear(device, facts);
    }

    fn hear(&mut self, device: usize, facts: Vec<TodoFact>) {
        for fact in facts {
            self.devices[device].learn(fact.clone());
            self.known[device].push(fact);
        }
    }

    fn share(&mut self, heard: Heard) {
        self.devices.iter_mut().for_each(|todos| heard.tell(todos));
        self.shared.push(heard);
    }

    fn clone_of(&self, device: usize) -> Todos {
        let mut todos = Todos::default();
        self.shared.iter().for_each(|heard| heard.tell(&mut todos));
        self.known[device].iter().for_each(|fact| todos.learn(fact.clone()));
        todos
    }

    /// All facts of all devices in one.
    pub(super) fn merged(&self) -> Todos {
        let mut todos = Todos::default();
        self.shared.iter().for_each(|heard| heard.tell(&mut todos));
        self.facts.iter().for_each(|fact| todos.learn(fact.clone()));
        todos
    }

    /// Everybody tells everybody.
    pub(super) fn talk(&mut self) {
        for n in 0..3 {
            self.hear(n, self.facts.clone());
        }
    }

    pub(super) fn decide(&mut self, n: usize, deed: &TodoDeed) -> Result<Decision, Refusal> {
        self.count[n] += 1;
        // Each device's own stamps differ; those of two devices may be equal.
        let (by, count) = (By { device: device(n as u8), agent: None, session: None }, self.count[n]);
        decide(&self.devices[n], deed, &by, Stamp::at(count as i64), ActId::of(&[&[n as u8], &count.to_le_bytes()]))
    }

    fn deed(&self, device: usize, which: usize, deed: usize, text: usize) -> Option<TodoDeed> {
        let todos = &self.devices[device];
        let content = Some(TEXTS[text].into());
        if deed < 2 {
            let project = if deed == 0 { None } else { Some("p".to_owned()) };
            return Some(TodoDeed::Add { content: TEXTS[text].into(), project, priority: None });
        }
        let held = &todos.index.held;
        let id = held.keys().nth(which % held.len().max(1))?.to_string();
        Some(match deed {
            2 => TodoDeed::Start { id },
            3 | 4 => TodoDeed::Done { id },
            5 => TodoDeed::Reopen { id },
            6 => TodoDeed::Edit { id, content, owner: None, priority: None },
            7 => TodoDeed::Edit { id, content: None, owner: content, priority: None },
            8 => TodoDeed::Delete { id },
            9 | 10 => TodoDeed::Undo { id },
            _ => TodoDeed::Resolve { id, keep: [Keeping::Local, Keeping::Remote, Keeping::Both][text].clone() },
        })
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
        let fact = ActFact { todo, items: BTreeSet::from([item]), deed, by: self.by.clone(), at: Stamp::at(1), undoes: None };
        Heard::Fact(TodoFact::Act(ActId::of(&[b"act"]), fact))
    }
}

impl Todos {
    /// All facts it knows, without the projects of sessions and the aliases.
    pub(super) fn all(&self) -> Vec<TodoFact> {
        let facts = &self.facts;
        let items = facts.items.iter().map(|(id, fact)| TodoFact::Item(*id, fact.clone()));
        let ranks = facts.ranks.iter().flat_map(|(id, ranks)| ranks.iter().map(|(r, s, fact)| TodoFact::Rank(*id, *r, *s, fact.clone())));
        let acts = facts.all_acts().map(|(id, fact)| TodoFact::Act(id, fact.clone()));
        let seen = facts.seen.iter().map(|(id, fact)| TodoFact::Seen(*id, fact.clone()));
        items.chain(ranks).chain(acts).chain(seen).collect()
    }
}
