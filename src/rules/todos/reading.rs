//! Reading the same list again writes nothing; an older copy, an empty list and a list that cannot be read say nothing.

use std::collections::BTreeMap;

use super::Todos;
use crate::model::id::{DeviceId, ItemId, TodoId};
use crate::model::limits::COUNT_MAX;
use crate::model::todo::{By, ItemFact, List, Listed, RankFact, Reading, SeenFact, Status, TodoFact};

/// What is to be written for one reading of one list by `device`; `at` is the time of the file or line, milliseconds since
/// 1970 (T5, T7). A text that stands twice is one item with the lowest of its statuses; blank ones are passed over.
#[must_use]
pub fn read(todos: &Todos, list: &List, device: DeviceId, reading: &Reading, at: i64) -> Vec<TodoFact> {
    let mut listed: BTreeMap<ItemId, &Listed> = BTreeMap::new();
    for element in reading.items.iter().filter(|element| !element.text.is_blank()) {
        let kept = listed.entry(list.item(&element.text.normalised())).or_insert(element);
        if element.status < kept.status {
            *kept = element;
        }
    }
    let mut reader = Reader { todos, list, device, at, facts: Vec::new() };
    for (item, element) in &listed {
        match todos.seen(*item) {
            None => reader.first(*item, element),
            Some(seen) if at >= seen.at => reader.again(*item, element, seen),
            Some(_) => {}
        }
    }
    if !listed.is_empty() {
        for item in todos.in_list(list).filter(|item| !listed.contains_key(item)) {
            reader.missing(item);
        }
    }
    reader.facts
}

struct Reader<'a> {
    todos: &'a Todos,
    list: &'a List,
    device: DeviceId,
    at: i64,
    facts: Vec<TodoFact>,
}

impl Reader<'_> {
    fn first(&mut self, item: ItemId, element: &Listed) {
        let todo = self.item(item, element);
        self.rank(item, todo, 1, element.status, self.at);
        self.facts.push(TodoFact::Seen(item, self.seen_now(element, 1, 1)));
    }

    fn again(&mut self, item: ItemId, element: &Listed, seen: &SeenFact) {
        let todo = self.item(item, element);
        // A changed status belongs to the round that the todo is in as far as we know; one that stays, to where it was said.
        let round =
            if element.status == seen.status { seen.round } else { self.todos.state(todo).map_or(1, |(round, _)| round).max(seen.round) };
        let mut now = self.seen_now(element, seen.rev + 1, round);
        now.blocked_by.clone_from(&seen.blocked_by);
        let same = SeenFact { rev: seen.rev, device: seen.device, at: seen.at, ..now.clone() } == *seen;
        self.rank(item, todo, round, element.status, if same { seen.at } else { self.at });
        if !same && now.rev <= COUNT_MAX {
            self.facts.push(TodoFact::Seen(item, now));
        }
    }

    /// The list no longer has it (T7).
    fn missing(&mut self, item: ItemId) {
        let (Some(seen), Some(todo)) = (self.todos.seen(item), self.todos.place(item)) else { return };
        if self.at < seen.at {
            return;
        }
        self.rank(item, todo, seen.round, seen.status, seen.at);
        if seen.listed && seen.rev < COUNT_MAX {
            let gone = SeenFact { rev: seen.rev + 1, device: self.device, listed: false, at: self.at, ..seen.clone() };
            self.facts.push(TodoFact::Seen(item, gone));
        }
    }

    /// Writes that the item exists, if that is not known; says where it is.
    fn item(&mut self, item: ItemId, element: &Listed) -> TodoId {
        if let Some(todo) = self.todos.place(item) {
            return todo;
        }
        let fact = ItemFact { list: self.list.clone(), text: element.text.clone(), first_seen: self.at, project: None };
        let todo = self.todos.would_be(item, &fact).todo;
        self.facts.push(TodoFact::Item(item, fact));
        todo
    }

    /// Writes that the item had this status in this round, if nobody has said so.
    fn rank(&mut self, item: ItemId, todo: TodoId, round: u64, status: Status, at: i64) {
        if !self.todos.has_rank(item, round, status) {
            let session = match self.list {
                List::Session { session, .. } => Some(*session),
                List::Person { .. } => None,
            };
            let by = By { device: self.device, agent: None, session };
            self.facts.push(TodoFact::Rank(item, round, status, RankFact { todo, by, at }));
        }
    }

    fn seen_now(&self, element: &Listed, rev: u64, round: u64) -> SeenFact {
        SeenFact {
            rev,
            device: self.device,
            status: element.status,
            round,
            listed: true,
            active_form: element.active_form.clone(),
            priority: element.priority.clone(),
            owner: element.owner.clone(),
            blocked_by: std::collections::BTreeSet::new(),
            at: self.at,
        }
    }
}
