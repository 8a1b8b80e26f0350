//! A todo's state is the highest (round, status) over the facts that count for it: nothing else raises it, nothing lowers it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::history;
use super::known::Todos;
use super::places::Place;
use crate::model::id::{ActId, DeviceId, ItemId, TodoId};
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, By, Deed, Field, ItemFact, RankFact, SeenFact, Status, tag_key};
use crate::model::view::{Origin, TodoView};

/// One todo: the items it holds and the facts that count for it.
pub(super) struct Group<'a> {
    /// Which.
    pub(super) id: TodoId,
    /// Its items.
    pub(super) items: BTreeMap<ItemId, Held<'a>>,
    /// The ranks that count, by (item, round, status).
    pub(super) ranks: Vec<Rank<'a>>,
    /// The actions that count, by (id, value).
    pub(super) acts: Vec<(ActId, &'a ActFact)>,
}

/// An item where it is.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) fact: &'a ItemFact,
    pub(super) place: &'a Place,
    pub(super) seen: Option<&'a SeenFact>,
}

/// A rank with its name.
#[derive(Clone, Copy)]
pub(super) struct Rank<'a> {
    pub(super) item: ItemId,
    pub(super) round: u64,
    pub(super) status: Status,
    pub(super) fact: &'a RankFact,
}

/// Who said a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The list of this item.
    Item(ItemId),
    /// This action.
    Act(ActId),
}

/// A status that somebody said.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) round: u64,
    pub(super) status: Status,
    pub(super) at: i64,
    pub(super) by: &'a By,
    pub(super) source: Source,
}

/// A field that somebody set.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) id: ActId,
    pub(super) fact: &'a ActFact,
    pub(super) rev: u64,
    pub(super) value: &'a Foreign,
}

/// Whether a todo has a tag, as somebody said. The order is the precedence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TagWord {
    pub(super) rev: u64,
    at: Stamp,
    device: DeviceId,
    id: ActId,
    pub(super) on: bool,
}

/// Whether an action counts for a todo that holds these items.
pub(super) fn counts(act: &ActFact, todo: TodoId, held: &BTreeMap<ItemId, Held<'_>>) -> bool {
    let names_one = || act.items.iter().any(|item| held.contains_key(item));
    match &act.deed {
        Deed::Asked => false,
        Deed::Delete { .. } => act.todo == todo || (!held.is_empty() && held.keys().all(|item| act.items.contains(item))),
        Deed::Set { field: Field::Content, .. } => names_one(),
        Deed::Set { .. } | Deed::Tag { .. } | Deed::Mark { .. } | Deed::Open { .. } | Deed::Resolve { .. } => {
            act.todo == todo || names_one()
        }
    }
}

impl Todos {
    /// The todo with what counts for it, by the indexes.
    pub(super) fn group(&self, todo: TodoId) -> Group<'_> {
        let (facts, index) = (&self.facts, &self.index);
        let held = index.held.get(&todo).into_iter().flatten();
        let items: BTreeMap<ItemId, Held<'_>> = held
            .filter_map(|item| {
                Some((*item, Held { fact: facts.items.get(item)?, place: index.places.get(item)?, seen: facts.seen.get(item) }))
            })
            .collect();
        let ranked: BTreeSet<ItemId> = items.keys().chain(index.ranks_of.get(&todo).into_iter().flatten()).copied().collect();
        let ranks = ranked.into_iter().flat_map(|item| facts.ranks_of_item(item));
        let ranks = ranks.filter(|rank| rank.fact.todo == todo || items.contains_key(&rank.item)).collect();
        let mut acted: BTreeSet<ActId> = index.acts_of.get(&todo).cloned().unwrap_or_default();
        acted.extend(items.keys().filter_map(|item| index.acts_on.get(item)).flatten());
        let acts = acted.into_iter().flat_map(|id| facts.acts.get(&id).into_iter().flatten().map(move |fact| (id, fact)));
        let acts = acts.filter(|(_, fact)| counts(fact, todo, &items)).collect();
        Group { id: todo, items, ranks, acts }
    }
}

/// All todos that hold items or are named by facts, with what counts for them: the rule of DESIGN §5 word by word.
pub(super) fn all_groups<'a>(facts: &'a Facts, places: &'a BTreeMap<ItemId, Place>) -> BTreeMap<TodoId, Group<'a>> {
    let mut groups: BTreeMap<TodoId, Group<'a>> = BTreeMap::new();
    let empty = |id| Group { id, items: BTreeMap::new(), ranks: Vec::new(), acts: Vec::new() };
    for (id, fact) in &facts.items {
        let Some(place) = places.get(id) else { continue };
        groups.entry(place.todo).or_insert_with(|| empty(place.todo)).items.insert(*id, Held { fact, place, seen: facts.seen.get(id) });
    }
    let holder = |item: &ItemId| places.get(item).map(|place| place.todo);
    for rank in facts.ranks.keys().flat_map(|item| facts.ranks_of_item(*item)) {
        for todo in BTreeSet::from_iter(holder(&rank.item).into_iter().chain([rank.fact.todo])) {
            groups.entry(todo).or_insert_with(|| empty(todo)).ranks.push(rank);
        }
    }
    for (id, fact) in facts.all_acts() {
        for todo in BTreeSet::from_iter(fact.items.iter().filter_map(holder).chain([fact.todo])) {
            let group = groups.entry(todo).or_insert_with(|| empty(todo));
            if counts(fact, todo, &group.items) {
                group.acts.push((id, fact));
            }
        }
    }
    groups
}

impl Facts {
    fn ranks_of_item(&self, item: ItemId) -> impl Iterator<Item = Rank<'_>> {
        let ranks = self.ranks.get(&item).into_iter().flatten();
        ranks.map(move |(round, status, fact)| Rank { item, round: *round, status: *status, fact })
    }
}

impl<'a> Group<'a> {
    /// All statuses that count.
    pub(super) fn words(&self) -> impl Iterator<Item = Word<'a>> {
        let listed = self.ranks.iter().map(|rank| Word {
            round: rank.round,
            status: rank.status,
            at: rank.fact.at,
            by: &rank.fact.by,
            source: Source::Item(rank.item),
        });
        listed.chain(self.acts.iter().filter_map(|(id, fact)| word(*id, fact)))
    }

    /// (round, status): the highest that counts; of items without any word, pending in round 1.
    pub(super) fn state(&self) -> (u64, Status) {
        self.words().map(|word| (word.round, word.status)).max().unwrap_or((1, Status::Pending))
    }

    /// The fact that made the state what it is: the highest (round, status), then the lowest (at, device, id).
    pub(super) fn winner(&self) -> Option<Word<'a>> {
        self.words().min_by_key(|word| (Reverse((word.round, word.status)), word.at, word.by.device, word.source))
    }

    /// The delete that hides the todo, if its round was deleted.
    pub(super) fn deleted_by(&self) -> Option<(ActId, &'a ActFact)> {
        let (round, _) = self.state();
        let deletes = self.acts.iter().filter_map(|(id, fact)| match fact.deed {
            Deed::Delete { round: of } if of >= round => Some((of, *id, *fact)),
            Deed::Delete { .. }
            | Deed::Mark { .. }
            | Deed::Open { .. }
            | Deed::Set { .. }
            | Deed::Tag { .. }
            | Deed::Asked
            | Deed::Resolve { .. } => None,
        });
        deletes.min_by_key(|(of, id, fact)| (Reverse(*of), fact.at, fact.by.device, *id)).map(|(_, id, fact)| (id, fact))
    }

    /// All that was set of a field.
    pub(super) fn settings(&self, field: Field) -> impl Iterator<Item = Setting<'a>> {
        self.acts.iter().filter_map(move |(id, fact)| match &fact.deed {
            // A blank text is no edit, see `places::edit`.
            Deed::Set { field: of, value, rev } if *of == field && !(field == Field::Content && value.is_blank()) => {
                Some(Setting { id: *id, fact, rev: *rev, value })
            }
            Deed::Set { .. }
            | Deed::Tag { .. }
            | Deed::Mark { .. }
            | Deed::Open { .. }
            | Deed::Delete { .. }
            | Deed::Asked
            | Deed::Resolve { .. } => None,
        })
    }

    /// The setting of a field that counts: the highest (rev, at, device, id).
    pub(super) fn setting(&self, field: Field) -> Option<Setting<'a>> {
        self.settings(field).max_by(|a, b| a.order().cmp(&b.order()))
    }

    /// The highest revision of a field.
    pub(super) fn field_rev(&self, field: Field) -> u64 {
        self.settings(field).map(|setting| setting.rev).max().unwrap_or(0)
    }

    /// Of each tag that was ever said the word that counts: the highest (rev, at, device, id).
    pub(super) fn tags(&self) -> BTreeMap<String, TagWord> {
        let mut words: BTreeMap<String, TagWord> = BTreeMap::new();
        for (id, fact) in &self.acts {
            let Deed::Tag { tag, on, rev } = &fact.deed else { continue };
            let word = TagWord { rev: *rev, at: fact.at, device: fact.by.device, id: *id, on: *on };
            words.entry(tag_key(tag)).and_modify(|held| *held = word.max(*held)).or_insert(word);
        }
        words
    }

    /// What the todo says, as it is written in its lowest item.
    pub(super) fn content(&self) -> Foreign {
        self.items.values().next().map(|held| held.place.text.clone()).unwrap_or_default()
    }

    /// The field's value: an action outranks lists; with none, the lowest listed item that has it (T6). Blank is none.
    pub(super) fn value(&self, field: Field) -> Option<Foreign> {
        let set = self.setting(field).map(|setting| setting.value.clone());
        set.or_else(|| self.listed_value(field)).filter(|value| !value.is_blank())
    }

    /// What the lists say of a field.
    pub(super) fn listed_value(&self, field: Field) -> Option<Foreign> {
        match field {
            Field::Content => Some(self.content()),
            Field::Owner => self.seen().find_map(|seen| seen.owner.clone()),
            Field::Priority => self.seen().find_map(|seen| seen.priority.clone()),
        }
    }

    /// What lists say that still list it, lowest item first.
    fn seen(&self) -> impl Iterator<Item = &'a SeenFact> {
        self.items.values().filter_map(|held| held.seen).filter(|seen| seen.listed)
    }

    fn origins(&self, own: Status) -> Vec<Origin> {
        let origin = |(item, held): (&ItemId, &Held<'_>)| Origin {
            item: *item,
            device: held.seen.map(|seen| seen.device),
            session: held.fact.list.session(),
            status: held.seen.map_or(own, |seen| seen.status),
            listed: held.seen.is_none_or(|seen| seen.listed),
        };
        self.items.iter().map(origin).collect()
    }

    /// What people see of it; `None` when it holds no items.
    pub(super) fn view(&self, conflict: bool, places: &BTreeMap<ItemId, Place>) -> Option<TodoView> {
        let project = self.items.values().next()?.place.project.clone();
        let (round, status) = self.state();
        let completion = self.winner().filter(|_| status == Status::Completed);
        let deleted = self.deleted_by().is_some();
        let origins = self.origins(status);
        let forms = || self.seen().filter(|seen| seen.active_form.is_some());
        let form = forms().find(|seen| seen.status == Status::InProgress).or_else(|| forms().next());
        let created = self.items.values().map(|held| held.fact.first_seen).min()?;
        let times = self.ranks.iter().map(|rank| rank.fact.at).chain(self.acts.iter().map(|(_, fact)| fact.at.ms));
        let times = times.chain(self.items.values().filter_map(|held| held.seen).map(|seen| seen.at));
        let blockers = self.items.values().filter_map(|held| held.seen).flat_map(|seen| &seen.blocked_by);
        let blockers: BTreeSet<TodoId> = blockers.filter_map(|item| places.get(item)).map(|place| place.todo).collect();
        Some(TodoView {
            id: self.id,
            content: self.content(),
            active_form: form.and_then(|seen| seen.active_form.clone()),
            status,
            round,
            project,
            priority: self.value(Field::Priority),
            owner: self.value(Field::Owner),
            tags: self.tags().into_iter().filter(|(_, word)| word.on).map(|(tag, _)| Foreign::new(tag)).collect(),
            created,
            updated: times.max().unwrap_or(created),
            completed: completion.map(|word| word.at),
            completed_by: completion.map(|word| word.by.clone()),
            listed: origins.iter().any(|origin| origin.listed),
            origins,
            deleted,
            relisted: if deleted { u32::try_from(self.seen().count()).unwrap_or(u32::MAX) } else { 0 },
            conflict,
            blocked_by: blockers.into_iter().filter(|todo| *todo != self.id).collect(),
            history: history::of(self).into(),
        })
    }
}

impl Setting<'_> {
    pub(super) fn order(&self) -> (u64, Stamp, DeviceId, ActId, Foreign) {
        (self.rev, self.fact.at, self.fact.by.device, self.id, self.value.clone())
    }
}

/// The status that an action says, if it says one.
pub(super) fn word(id: ActId, fact: &ActFact) -> Option<Word<'_>> {
    match fact.deed {
        Deed::Mark { round, status } | Deed::Open { round, status } => {
            Some(Word { round, status, at: fact.at.ms, by: &fact.by, source: Source::Act(id) })
        }
        Deed::Set { .. } | Deed::Tag { .. } | Deed::Delete { .. } | Deed::Asked | Deed::Resolve { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::{Fixed, device, list, todos_of};
    use super::super::world::reading_of;
    use super::*;
    use crate::model::id::SessionId;
    use crate::model::todo::{List, Reading, todo_id};
    use crate::rules::todos::reading::read;

    fn shown(todos: &Todos) -> TodoView {
        let all = todos.from_scratch().todos;
        all.into_values().flatten().find(|view| view.content.json() == "a").expect("it holds items")
    }

    fn owned_by(owner: Option<&str>) -> Reading {
        let mut reading = reading_of(&[(0, Status::Pending), (1, Status::Pending)]);
        reading.items[0].owner = owner.map(Foreign::from);
        reading
    }

    #[test]
    fn a_field_is_that_of_the_lowest_listed_item_that_has_it() {
        let mut lists: Vec<u8> = vec![0, 1];
        lists.sort_by_key(|n| list(*n).item("a"));
        let (low, high) = (list(lists[0]), list(lists[1]));
        let mut todos = Todos::default();
        let mut tell = |of: &List, reading: &Reading, at: i64| {
            read(&todos, of, device(0), reading, at, i64::MAX).into_iter().for_each(|fact| todos.learn(fact));
            shown(&todos).owner
        };
        assert_eq!(tell(&low, &owned_by(None), 1), None);
        assert_eq!(tell(&high, &owned_by(Some("high")), 2), Some("high".into()));
        assert_eq!(tell(&low, &owned_by(Some("low")), 3), Some("low".into()));
        assert_eq!(tell(&low, &reading_of(&[(1, Status::Pending)]), 4), Some("high".into()), "the lower one is not listed");
    }

    #[test]
    fn a_delete_of_a_later_round_hides_and_of_an_earlier_one_does_not() {
        let raw = Fixed::new();
        let hidden = |round, of| {
            let todos = todos_of(&[raw.item(0), raw.rank(0, round, Status::Pending), raw.act(Deed::Delete { round: of })]);
            let view = todos.from_scratch().todos.remove(&raw.todo(0).0).flatten();
            view.is_some_and(|view| view.deleted)
        };
        assert!(hidden(1, 1) && hidden(1, 2) && !hidden(2, 1));
    }

    #[test]
    fn what_must_be_done_first_is_named_by_its_todo_open_or_closed() {
        let mut todos = Todos::default();
        let of = list(0);
        let reading = reading_of(&[(0, Status::Pending), (1, Status::Completed)]);
        read(&todos, &of, device(0), &reading, 1, i64::MAX).into_iter().for_each(|fact| todos.learn(fact));
        todos.learn_session(SessionId::of(&[&[0]]), Some("p"));
        let item = of.item("a");
        let blocked_by = BTreeSet::from([of.item("b"), item]);
        let seen = SeenFact { rev: 9, blocked_by, ..todos.seen(item).expect("it was read").clone() };
        todos.learn(crate::model::todo::TodoFact::Seen(item, seen));
        assert_eq!(shown(&todos).blocked_by, [todo_id("p", &"b".into())], "and never by itself");
    }
}
