//! What is known of all todos: facts come in, what people see is computed when asked for, or for what changed.
//!
//! Places are kept up to date as facts come in. [`Todos::from_scratch`] is the same without any index: the specification.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::id::{ActId, ConflictId, ItemId, SessionId, TodoId};
use crate::model::limits::COUNT_MAX;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, Deed, Field, ItemFact, List, RankFact, SeenFact, Status, TodoFact};
use crate::model::view::{Conflict, TodoView};

use super::conflicts;
use super::facts::Facts;
use super::places::{self, Index, Place};
use super::state::{self, Group};

/// What is known of all todos.
#[derive(Debug, Default)]
pub struct Todos {
    pub(super) facts: Facts,
    pub(super) index: Index,
    dirty: BTreeSet<TodoId>,
    /// Where each conflict was shown when it was last settled, so that settling it finds its todo.
    shown: BTreeMap<ConflictId, BTreeSet<TodoId>>,
    conflicts_of: BTreeMap<TodoId, BTreeSet<ConflictId>>,
}

/// What changed, or all there is: an entry for each todo that was computed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// What people see; `None`: it holds no items.
    pub todos: BTreeMap<TodoId, Option<TodoView>>,
    /// Where the items went that facts once named under it; `None`: it holds items, or nothing is known of it.
    pub moved: BTreeMap<TodoId, Option<Vec<TodoId>>>,
    /// All its conflicts, resolved ones too, sorted by (field, id); perhaps none.
    pub conflicts: BTreeMap<TodoId, Vec<Conflict>>,
}

/// What the name of a todo means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It holds items.
    Here,
    /// The items that facts named under it are all there.
    Elsewhere(TodoId),
    /// They are at several places.
    Several(Vec<TodoId>),
    /// No fact names it.
    Nowhere,
}

impl Todos {
    /// Takes a fact in. Idempotent, commutative, monotone. A revision or round above `limits::COUNT_MAX`, and a round 0,
    /// make it no fact (DESIGN §4).
    pub fn learn(&mut self, fact: TodoFact) {
        match fact {
            TodoFact::Item(id, fact) => self.learn_item(id, fact),
            TodoFact::Rank(item, round, status, fact) if is_round(round) => self.learn_rank(item, round, status, fact),
            TodoFact::Act(id, fact) if is_act(&fact) => self.learn_act(id, fact),
            TodoFact::Seen(item, fact) if is_round(fact.round) && fact.rev <= COUNT_MAX => self.learn_seen(item, fact),
            TodoFact::Rank(..) | TodoFact::Act(..) | TodoFact::Seen(..) => {}
        }
    }

    fn learn_item(&mut self, id: ItemId, fact: ItemFact) {
        let old = self.facts.items.get(&id);
        if old.is_some_and(|old| *old <= fact) {
            return;
        }
        self.index.list(id, old, &fact);
        self.facts.items.insert(id, fact);
        self.put(id);
        self.dirty_named_by(id);
    }

    fn learn_rank(&mut self, item: ItemId, round: u64, status: Status, fact: RankFact) {
        let todo = fact.todo;
        if self.facts.ranks.entry(item).or_default().insert((round, status, fact)) {
            self.index.ranks_of.entry(todo).or_default().insert(item);
            self.dirty.insert(todo);
            self.dirty.extend(self.place(item));
        }
    }

    fn learn_act(&mut self, id: ActId, fact: ActFact) {
        let values = self.facts.acts.entry(id).or_default();
        if !values.insert(fact.clone()) {
            return;
        }
        self.index.acts_of.entry(fact.todo).or_default().insert(id);
        for item in &fact.items {
            self.index.acts_on.entry(*item).or_default().insert(id);
        }
        if let Some(undone) = fact.undoes {
            self.facts.undone.insert(undone);
            self.dirty_conflicts_settled_by(undone);
        } else if let Deed::Resolve { conflict, .. } = fact.deed {
            self.facts.resolves.entry(conflict).or_default().insert(id);
        }
        self.dirty_conflicts_settled_by(id);
        let edits = places::edit(id, &fact).is_some();
        for item in &fact.items {
            if edits {
                self.put(*item);
            }
            self.dirty.extend(self.place(*item));
        }
        self.dirty.insert(fact.todo);
    }

    fn dirty_conflicts_settled_by(&mut self, act: ActId) {
        for fact in self.facts.acts.get(&act).into_iter().flatten() {
            if let Deed::Resolve { conflict, .. } = fact.deed {
                self.dirty.extend(self.shown.get(&conflict).into_iter().flatten());
            }
        }
    }

    fn learn_seen(&mut self, item: ItemId, fact: SeenFact) {
        if self.facts.seen.get(&item).is_some_and(|old| !is_newer(&fact, old)) {
            return;
        }
        for other in &fact.blocked_by {
            self.index.waits_for.entry(*other).or_default().insert(item);
        }
        self.facts.seen.insert(item, fact);
        self.dirty.extend(self.place(item));
    }

    /// Learns the project of a session, or that it has none; the last word counts, as the sessions' own rule has joined it.
    pub fn learn_session(&mut self, session: SessionId, project: Option<&str>) {
        if self.facts.sessions.get(&session).map(String::as_str) == project {
            return;
        }
        match project {
            Some(project) => self.facts.sessions.insert(session, project.to_owned()),
            None => self.facts.sessions.remove(&session),
        };
        for item in self.index.by_session.get(&session).cloned().unwrap_or_default() {
            self.put(item);
        }
    }

    /// Learns that what is listed under the project `from` belongs to `to`; of several the highest (at, id) counts.
    pub fn learn_alias(&mut self, from: &str, to: &str, at: Stamp, id: ActId) {
        if self.facts.aliases.learn(from, to, at, id) {
            for item in self.index.by_base.get(from).cloned().unwrap_or_default() {
                self.put(item);
            }
        }
    }

    /// Where an item with this fact is, or would be.
    pub(super) fn would_be(&self, item: ItemId, fact: &ItemFact) -> Place {
        let acts = self.index.acts_on.get(&item).into_iter().flatten();
        let values = acts.flat_map(|act| self.facts.acts.get(act).into_iter().flatten().map(move |fact| (*act, fact)));
        let edit = values.filter(|(_, fact)| fact.items.contains(&item)).filter_map(|(act, fact)| places::edit(act, fact)).max();
        self.facts.place(fact, edit.map(|edit| edit.text))
    }

    /// Computes where an item is, and notes who has to be told when that is another place than before.
    fn put(&mut self, item: ItemId) {
        let Some(fact) = self.facts.items.get(&item) else { return };
        let place = self.would_be(item, fact);
        let Some(old) = self.index.put(item, place) else { return };
        self.dirty.extend(old);
        self.dirty_named_by(item);
        // Who waits for it shows its todo.
        for waiting in self.index.waits_for.get(&item).into_iter().flatten() {
            self.dirty.extend(self.index.places.get(waiting).map(|place| place.todo));
        }
    }

    /// The todo that holds an item, and those that facts once named for it, which lead to where it is now.
    fn dirty_named_by(&mut self, item: ItemId) {
        self.dirty.extend(self.place(item));
        self.dirty.extend(self.facts.ranks.get(&item).into_iter().flatten().map(|(_, _, rank)| rank.todo));
        for act in self.index.acts_on.get(&item).into_iter().flatten() {
            self.dirty.extend(self.facts.acts.get(act).into_iter().flatten().map(|fact| fact.todo));
        }
    }

    /// Computes again what changed since the last time.
    pub fn settle(&mut self) -> Settled {
        let mut settled = Settled::default();
        for todo in std::mem::take(&mut self.dirty) {
            let group = self.group(todo);
            let conflicts = conflicts::of(&self.facts, &group);
            let named = if group.items.is_empty() { self.named_items(todo) } else { BTreeSet::new() };
            settled.add(&group, conflicts, &named, &self.index.places);
            let now: BTreeSet<ConflictId> = settled.conflicts.get(&todo).into_iter().flatten().map(|conflict| conflict.id).collect();
            self.note_shown(todo, now);
        }
        settled
    }

    fn note_shown(&mut self, todo: TodoId, now: BTreeSet<ConflictId>) {
        for id in &now {
            self.shown.entry(*id).or_default().insert(todo);
        }
        let old = if now.is_empty() { self.conflicts_of.remove(&todo) } else { self.conflicts_of.insert(todo, now.clone()) };
        for gone in old.unwrap_or_default().difference(&now) {
            if let Some(todos) = self.shown.get_mut(gone) {
                todos.remove(&todo);
                if todos.is_empty() {
                    self.shown.remove(gone);
                }
            }
        }
    }

    /// The same for all todos that hold items or are named by facts, from the facts alone, without any index: what
    /// [`Todos::settle`] has to come to (I13).
    #[must_use]
    pub fn from_scratch(&self) -> Settled {
        let places = self.facts.all_places();
        let named = self.facts.all_named();
        let mut settled = Settled::default();
        for group in state::all_groups(&self.facts, &places).values() {
            let named = named.get(&group.id).filter(|_| group.items.is_empty());
            settled.add(group, conflicts::of(&self.facts, group), named.unwrap_or(&BTreeSet::new()), &places);
        }
        settled
    }

    /// The todo that holds an item; `None` while the item itself is not known.
    #[must_use]
    pub fn place(&self, item: ItemId) -> Option<TodoId> {
        self.index.places.get(&item).map(|place| place.todo)
    }

    /// The project that an item is in; `None` while the item itself is not known.
    #[must_use]
    pub fn project(&self, item: ItemId) -> Option<&str> {
        self.index.places.get(&item).map(|place| place.project.as_str())
    }

    /// Every action that names one of these items.
    pub fn acts_on<'a>(&'a self, items: &'a BTreeSet<ItemId>) -> impl Iterator<Item = (ActId, &'a ActFact)> {
        let acts: BTreeSet<ActId> = items.iter().flat_map(|item| self.index.acts_on.get(item).into_iter().flatten()).copied().collect();
        acts.into_iter().flat_map(|id| self.facts.acts.get(&id).into_iter().flatten().map(move |fact| (id, fact)))
    }

    /// The items that a todo holds.
    #[must_use]
    pub fn items(&self, todo: TodoId) -> BTreeSet<ItemId> {
        self.index.held.get(&todo).cloned().unwrap_or_default()
    }

    /// How far a todo is: (round, status); `None` when it holds no items.
    #[must_use]
    pub fn state(&self, todo: TodoId) -> Option<(u64, Status)> {
        self.index.held.contains_key(&todo).then(|| self.group(todo).state())
    }

    /// What a list says of an item now.
    #[must_use]
    pub fn seen(&self, item: ItemId) -> Option<&SeenFact> {
        self.facts.seen.get(&item)
    }

    /// An item's fact.
    #[must_use]
    pub fn item(&self, item: ItemId) -> Option<&ItemFact> {
        self.facts.items.get(&item)
    }

    /// The highest revision of a field that is known of a todo; 0: it was never set.
    #[must_use]
    pub fn field_rev(&self, todo: TodoId, field: Field) -> u64 {
        self.group(todo).field_rev(field)
    }

    /// An action; of several values of one name the lowest.
    #[must_use]
    pub fn act(&self, act: ActId) -> Option<&ActFact> {
        self.facts.acts.get(&act).and_then(BTreeSet::first)
    }

    /// What the name of a todo means now.
    #[must_use]
    pub fn find(&self, todo: TodoId) -> Found {
        if self.index.held.contains_key(&todo) {
            return Found::Here;
        }
        let places: BTreeSet<TodoId> = self.named_items(todo).into_iter().filter_map(|item| self.place(item)).collect();
        let places: Vec<TodoId> = places.into_iter().collect();
        match places.as_slice() {
            [] => Found::Nowhere,
            [one] => Found::Elsewhere(*one),
            _ => Found::Several(places),
        }
    }

    /// The items that a session's lists say something of, with the todos that hold them.
    pub fn session_items(&self, session: SessionId) -> impl Iterator<Item = (ItemId, &SeenFact, TodoId)> {
        let items = self.index.by_session.get(&session).into_iter().flatten();
        items.filter_map(|item| Some((*item, self.facts.seen.get(item)?, self.place(*item)?)))
    }

    /// The items of one list, those that it no longer lists too.
    pub fn in_list(&self, list: &List) -> impl Iterator<Item = ItemId> {
        self.index.by_list.get(list).into_iter().flatten().copied()
    }

    /// The items that facts named under a todo.
    fn named_items(&self, todo: TodoId) -> BTreeSet<ItemId> {
        let mut items = self.index.ranks_of.get(&todo).cloned().unwrap_or_default();
        for act in self.index.acts_of.get(&todo).into_iter().flatten() {
            let values = self.facts.acts.get(act).into_iter().flatten();
            items.extend(values.filter(|fact| fact.todo == todo).flat_map(|fact| &fact.items));
        }
        items
    }

    /// Whether a list, or a person, has said that this item has this status in this round.
    pub(super) fn has_rank(&self, item: ItemId, round: u64, status: Status) -> bool {
        self.facts.ranks.get(&item).is_some_and(|ranks| ranks.iter().any(|(r, s, _)| (*r, *s) == (round, status)))
    }
}

impl Settled {
    fn add(&mut self, group: &Group<'_>, conflicts: Vec<Conflict>, named: &BTreeSet<ItemId>, places: &BTreeMap<ItemId, Place>) {
        let open = conflicts.iter().any(|conflict| !conflict.resolved);
        let moved: BTreeSet<TodoId> = named.iter().filter_map(|item| places.get(item)).map(|place| place.todo).collect();
        self.todos.insert(group.id, group.view(open, places));
        self.moved.insert(group.id, (!moved.is_empty()).then(|| moved.into_iter().collect()));
        self.conflicts.insert(group.id, conflicts);
    }
}

fn is_round(round: u64) -> bool {
    (1..=COUNT_MAX).contains(&round)
}

fn is_act(fact: &ActFact) -> bool {
    match fact.deed {
        Deed::Mark { round, .. } | Deed::Open { round, .. } | Deed::Delete { round } => is_round(round),
        Deed::Set { rev, .. } | Deed::Tag { rev, .. } => rev <= COUNT_MAX,
        Deed::Asked | Deed::Resolve { .. } => true,
    }
}

/// Whether a latest fact counts instead of another: by (rev, bytes).
fn is_newer(new: &SeenFact, old: &SeenFact) -> bool {
    let bytes = |fact: &SeenFact| serde_json::to_vec(fact).expect("because its keys are texts and its numbers finite");
    new.rev > old.rev || (new.rev == old.rev && new != old && bytes(new) > bytes(old))
}

#[cfg(test)]
mod tests {
    use super::super::raw::{self, Heard, Raw, todos_of};
    use super::super::world::{self, World};
    use super::*;
    use quickcheck::quickcheck;

    /// The rule of DESIGN §5 once more, in the plainest words: places by a loop, the state by a maximum.
    fn model(heard: &[Heard]) -> BTreeMap<TodoId, (u64, Status)> {
        let items = raw::lowest_items(heard);
        let mut places: BTreeMap<ItemId, TodoId> = BTreeMap::new();
        for (id, item) in &items {
            let mut text = (0, Stamp::default(), None, None, item.text.clone());
            for (act, fact) in raw::acts(heard) {
                if let Deed::Set { field: Field::Content, value, rev } = &fact.deed {
                    let edit = (*rev, fact.at, Some(fact.by.device), Some(act), value.clone());
                    if fact.items.contains(id) && !value.is_blank() && edit > text {
                        text = edit;
                    }
                }
            }
            places.insert(*id, crate::model::todo::todo_id(&raw::project(heard, item), &text.4));
        }
        let mut states = BTreeMap::new();
        for todo in places.values() {
            let names = |item: &ItemId| places.get(item) == Some(todo);
            let mut state = (1, Status::Pending);
            for (item, round, status, fact) in raw::ranks(heard) {
                if fact.todo == *todo || names(&item) {
                    state = state.max((round, status));
                }
            }
            for (_, fact) in raw::acts(heard) {
                if let Deed::Mark { round, status } | Deed::Open { round, status } = fact.deed
                    && (fact.todo == *todo || fact.items.iter().any(names))
                {
                    state = state.max((round, status));
                }
            }
            states.insert(*todo, state);
        }
        states
    }

    /// Settles after every few facts and lays what comes over what was.
    fn accumulated(heard: &[Heard], every: usize) -> Settled {
        let (mut todos, mut all) = (Todos::default(), Settled::default());
        for part in heard.chunks(every) {
            part.iter().for_each(|one| one.tell(&mut todos));
            let settled = todos.settle();
            all.todos.extend(settled.todos);
            all.moved.extend(settled.moved);
            all.conflicts.extend(settled.conflicts);
        }
        all
    }

    /// Without the entries that only say that there is nothing.
    fn bare(mut settled: Settled) -> Settled {
        settled.todos.retain(|_, view| view.is_some());
        settled.moved.retain(|_, moved| moved.is_some());
        settled.conflicts.retain(|_, conflicts| !conflicts.is_empty());
        settled
    }

    fn same(a: &Settled, b: &Settled) -> bool {
        a == b && format!("{a:?}") == format!("{b:?}")
    }

    quickcheck! {
        // T1, L1-L3, L6.
        fn any_order_twice_and_in_merged_halves_is_the_same(raw: Raw, order: u64) -> bool {
            let once = todos_of(&raw.heard).from_scratch();
            let mixed = raw::mixed(&raw.heard, order);
            let (left, right) = mixed.split_at(mixed.len() / 2);
            let halves = [right, left, right].concat();
            same(&once, &todos_of(&mixed).from_scratch()) && same(&once, &todos_of(&halves).from_scratch())
        }

        // I13.
        fn what_was_settled_step_by_step_is_what_all_facts_say(raw: Raw, order: u64, every: u8) -> bool {
            let mixed = raw::mixed(&raw.heard, order);
            same(&bare(accumulated(&mixed, usize::from(every % 7) + 1)), &bare(todos_of(&raw.heard).from_scratch()))
        }

        fn the_state_is_the_plain_maximum(raw: Raw) -> bool {
            let todos = todos_of(&raw.heard);
            let shown: BTreeMap<TodoId, (u64, Status)> =
                todos.from_scratch().todos.into_iter().filter_map(|(id, view)| view.map(|view| (id, (view.round, view.status)))).collect();
            let asked = shown.keys().filter_map(|id| Some((*id, todos.state(*id)?))).collect::<BTreeMap<_, _>>();
            let model = model(&raw.heard);
            shown == model && asked == model
        }

        // T2, L4: as long as no item leaves it, a todo never goes back, whatever else is learnt.
        fn no_fact_lowers_a_todo_that_keeps_its_items(raw: Raw) -> bool {
            let mut todos = Todos::default();
            raw.heard.iter().all(|one| {
                let before = todos.index.held.iter().map(|(id, items)| (*id, items.clone(), todos.state(*id))).collect::<Vec<_>>();
                one.tell(&mut todos);
                before.into_iter().all(|(id, items, state)| !items.is_subset(&todos.items(id)) || todos.state(id) >= state)
            })
        }

        // T2: what was done to an item goes with it, wherever it is moved.
        fn a_move_loses_nothing_that_was_done_to_the_item(raw: Raw) -> bool {
            let todos = todos_of(&raw.heard);
            todos.index.places.iter().all(|(item, place)| {
                let ranks = raw::ranks(&raw.heard).filter(|(of, ..)| of == item).map(|(_, round, status, _)| (round, status));
                let acts = raw::acts(&raw.heard).filter(|(_, fact)| fact.items.contains(item));
                let done = acts.filter_map(|(id, fact)| state::word(id, fact)).map(|word| (word.round, word.status));
                ranks.chain(done).max() <= todos.state(place.todo)
            })
        }

        // T3: in everything that lists and people can say, a later round was opened by somebody's word.
        fn rounds_are_opened_by_words_alone(world: World) -> bool {
            let ran = world.run();
            let opened: BTreeSet<u64> = ran.facts.iter().filter_map(|fact| match fact {
                TodoFact::Act(_, ActFact { deed: Deed::Open { round, .. }, .. }) => Some(*round),
                TodoFact::Item(..) | TodoFact::Rank(..) | TodoFact::Act(..) | TodoFact::Seen(..) => None,
            }).collect();
            ran.merged().from_scratch().todos.values().flatten().all(|view| view.round == 1 || opened.contains(&view.round))
        }

        // P1, L6: two devices that have talked show the same, and what each has settled is what its facts say.
        fn devices_that_have_talked_show_the_same(world: World) -> bool {
            let mut ran = world.run();
            ran.talk();
            let shown: Vec<Settled> = ran.devices.iter().map(Todos::from_scratch).collect();
            shown.windows(2).all(|pair| same(&pair[0], &pair[1]))
        }

        // A name that was answered leads on: to itself, or to wherever its items went. (Not across a project that is learnt
        // later, unless a fact was written under that name.)
        fn a_name_that_was_given_still_finds(world: World) -> bool {
            let mut world = world;
            world.steps.retain(|step| !matches!(step, world::Step::Project { .. } | world::Step::Alias { .. }));
            let ran = world.run();
            let todos = ran.merged();
            ran.named.iter().all(|id| todos.find(*id) != Found::Nowhere)
        }
    }

    #[test]
    fn counters_that_a_peer_used_up_are_no_facts() {
        let raw = raw::Fixed::new();
        let mut todos = Todos::default();
        raw.item(0).tell(&mut todos);
        raw.rank(0, COUNT_MAX + 1, Status::Completed).tell(&mut todos);
        raw.rank(0, 0, Status::Completed).tell(&mut todos);
        raw.seen(0, COUNT_MAX + 1, 1, Status::Completed).tell(&mut todos);
        raw.act(Deed::Open { round: u64::MAX, status: Status::Completed }).tell(&mut todos);
        raw.act(Deed::Set { field: Field::Owner, value: "x".into(), rev: u64::MAX }).tell(&mut todos);
        let (todo, item) = raw.todo(0);
        assert_eq!(todos.state(todo), Some((1, Status::Pending)));
        assert_eq!((todos.seen(item), todos.field_rev(todo, Field::Owner)), (None, 0));
        raw.rank(0, COUNT_MAX, Status::Pending).tell(&mut todos);
        assert_eq!(todos.state(todo), Some((COUNT_MAX, Status::Pending)));
    }

    #[test]
    fn settling_one_change_computes_one_todo() {
        let raw = raw::Fixed::new();
        let mut todos = Todos::default();
        (0..1000).for_each(|n| raw.item(n).tell(&mut todos));
        assert_eq!(todos.settle().todos.len(), 1000);
        raw.rank(7, 1, Status::Completed).tell(&mut todos);
        assert_eq!(todos.settle().todos.len(), 1);
        assert_eq!(todos.settle(), Settled::default(), "nothing changed, nothing is computed");
    }

    #[test]
    fn a_settled_conflict_is_settled_wherever_its_items_have_gone() {
        let raw = raw::Fixed::new();
        let mut todos = todos_of(&[raw.item(0), raw.rank(0, 1, Status::Completed), raw.seen_at(0, Status::Pending, 9)]);
        let todo = raw.todo(0).0;
        let conflict = todos.settle().conflicts[&todo][0].id;
        // Settled under another name and of other items, as before a project was learned.
        let act = |undoes: Option<ActId>| ActFact {
            todo: TodoId::of(&[b"elsewhere"]),
            items: BTreeSet::new(),
            deed: Deed::Resolve { conflict, was: None },
            by: raw.by.clone(),
            at: Stamp::at(10),
            undoes,
            asked: None,
        };
        let (settle, undo) = (ActId::of(&[b"settle"]), ActId::of(&[b"undo"]));
        todos.learn(TodoFact::Act(settle, act(None)));
        assert!(todos.settle().conflicts[&todo][0].resolved);
        todos.learn(TodoFact::Act(undo, ActFact { deed: Deed::Delete { round: 1 }, ..act(Some(settle)) }));
        assert!(!todos.settle().conflicts[&todo][0].resolved);
    }
}
