//! For the tests: what readings and deeds on three devices that talk now and then come to.

use std::collections::BTreeSet;

use quickcheck::{Arbitrary, Gen};

use super::deeds::{Decision, decide};
use super::known::Todos;
use super::raw::{Heard, PROJECTS, TEXTS, any_time, below, device, list, pick, session};
use super::reading::read;
use crate::model::ask::{Keeping, TodoDeed};
use crate::model::id::{ActId, TodoId};
use crate::model::reply::Refusal;
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::{By, Listed, Reading, Status, TodoFact};

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
                deed: below(g, 13) as usize,
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
                    let facts = read(&ran.devices[*n], &list(*session), device(*n as u8), &reading_of(reading), *at, i64::MAX);
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
            11 => TodoDeed::Tag { id, tags: vec![TEXTS[text].into()], on: !which.is_multiple_of(3) },
            _ => TodoDeed::Resolve { id, keep: [Keeping::Local, Keeping::Remote, Keeping::Both][text].clone() },
        })
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
