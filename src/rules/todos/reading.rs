//! Reading the same list again writes nothing; an older copy, an empty list and a list that cannot be read say nothing.

use std::collections::BTreeMap;

use super::known::Todos;
use crate::model::id::{DeviceId, ItemId, TodoId};
use crate::model::limits::COUNT_MAX;
use crate::model::todo::{By, ItemFact, List, Listed, RankFact, Reading, SeenFact, Status, TodoFact};

/// What is to be written for one reading of one list by `device`; `at` is the time of the file or line, milliseconds since
/// 1970 (T5, T7). A text that stands twice is one item with the lowest of its statuses; blank ones are passed over.
///
/// `until` is the latest that any reading so far can have been made: one that claims to be later was stamped by a clock that
/// was wrong, and does not make this one an older copy.
#[must_use]
pub fn read(todos: &Todos, list: &List, device: DeviceId, reading: &Reading, at: i64, until: i64) -> Vec<TodoFact> {
    let mut listed: BTreeMap<ItemId, &Listed> = BTreeMap::new();
    for element in reading.items.iter().filter(|element| !element.text.is_blank()) {
        let kept = listed.entry(list.item(&element.text.normalised())).or_insert(element);
        if element.status < kept.status {
            *kept = element;
        }
    }
    let mut reader = Reader { todos, list, device, at, until, facts: Vec::new() };
    for (item, element) in &listed {
        match todos.seen(*item) {
            None => reader.first(*item, element),
            Some(seen) if !reader.is_older(seen) => reader.again(*item, element, seen),
            Some(_) => {}
        }
    }
    // What could not be read may be what seems to be missing.
    if !listed.is_empty() && reading.malformed == 0 {
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
    until: i64,
    facts: Vec<TodoFact>,
}

impl Reader<'_> {
    /// Whether what is read is older than what was read before.
    fn is_older(&self, seen: &SeenFact) -> bool {
        self.at < seen.at && seen.at <= self.until
    }

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
        if self.is_older(seen) {
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

#[cfg(test)]
mod tests {
    use super::super::raw::{device, list};
    use super::super::world::{World, reading_of};
    use super::*;
    use crate::model::todo::todo_id;
    use quickcheck::quickcheck;

    fn learn(todos: &mut Todos, facts: &[TodoFact]) {
        facts.iter().for_each(|fact| todos.learn(fact.clone()));
    }

    fn tell(todos: &mut Todos, elements: &[(usize, Status)], at: i64) -> Vec<TodoFact> {
        let facts = read(todos, &list(0), device(0), &reading_of(elements), at, i64::MAX);
        learn(todos, &facts);
        facts
    }

    fn todo(text: &str) -> TodoId {
        todo_id("general", &text.into())
    }

    /// What there is after everything in a world, and one more reading of one of its lists.
    fn after(world: &World, elements: &[(u8, u8)]) -> (Todos, Reading) {
        let elements: Vec<(usize, Status)> =
            elements.iter().map(|(text, status)| (usize::from(text % 3), Status::ALL[usize::from(status % 4)])).collect();
        (world.run().merged(), reading_of(&elements))
    }

    quickcheck! {
        // I6, P5.
        fn reading_again_writes_nothing(world: World, elements: Vec<(u8, u8)>, at: u8) -> bool {
            let (mut todos, reading) = after(&world, &elements);
            let at = i64::from(at % 14);
            let facts = read(&todos, &list(1), device(2), &reading, at, i64::MAX);
            learn(&mut todos, &facts);
            read(&todos, &list(1), device(2), &reading, at, i64::MAX).is_empty()
        }

        // L5.
        fn an_empty_list_and_an_older_copy_write_nothing(world: World, elements: Vec<(u8, u8)>) -> bool {
            let (todos, mut reading) = after(&world, &elements);
            let empty = Reading { items: Vec::new(), malformed: 3 };
            reading.items.retain(|element| todos.seen(list(1).item(&element.text.normalised())).is_some());
            let oldest = todos.in_list(&list(1)).filter_map(|item| Some(todos.seen(item)?.at)).min().unwrap_or(0);
            read(&todos, &list(1), device(2), &empty, 99, i64::MAX).is_empty() && read(&todos, &list(1), device(2), &reading, oldest - 1, i64::MAX).is_empty()
        }

        // T2, T3, L5: of a list nothing but a status can come, and that only rises.
        fn no_reading_lowers_a_todo_or_opens_a_round(world: World) -> bool {
            world.run_with(|_| true, |before, after| {
                before.index.held.keys().all(|id| match (before.state(*id), after.state(*id)) {
                    (Some(was), Some(is)) => is >= was && is.0 == was.0,
                    _ => false,
                })
            }).1
        }
    }

    #[test]
    fn a_first_reading_counts_in_round_one() {
        let mut todos = Todos::default();
        let facts = tell(&mut todos, &[(0, Status::InProgress)], 5);
        assert_eq!(facts.len(), 3, "the item, its rank, what was seen: {facts:?}");
        assert_eq!(todos.state(todo("a")), Some((1, Status::InProgress)));
        let item = list(0).item("a");
        assert!(todos.seen(item).is_some_and(|seen| (seen.rev, seen.round, seen.listed, seen.at) == (1, 1, true, 5)));
        assert_eq!(todos.item(item).map(|item| item.first_seen), Some(5));
    }

    #[test]
    fn a_text_that_stands_twice_has_the_lowest_of_its_statuses() {
        let mut todos = Todos::default();
        tell(&mut todos, &[(0, Status::Completed), (0, Status::Pending), (0, Status::InProgress)], 5);
        assert_eq!(todos.state(todo("a")), Some((1, Status::Pending)));
    }

    #[test]
    fn what_a_newer_list_lacks_is_not_listed_until_it_comes_back() {
        let mut todos = Todos::default();
        let item = list(0).item("a");
        tell(&mut todos, &[(0, Status::Completed), (1, Status::Pending)], 5);
        assert!(tell(&mut todos, &[(1, Status::Pending)], 4).is_empty(), "an older copy lacks it");
        tell(&mut todos, &[(1, Status::Pending)], 6);
        assert!(todos.seen(item).is_some_and(|seen| !seen.listed && seen.status == Status::Completed && seen.at == 6));
        assert_eq!(todos.state(todo("a")), Some((1, Status::Completed)), "a list that forgets takes nothing back");
        let view = todos.from_scratch().todos.remove(&todo("a")).flatten().expect("it is shown");
        assert!(!view.listed && view.origins.iter().all(|origin| !origin.listed));
        tell(&mut todos, &[(0, Status::Completed), (1, Status::Pending)], 7);
        assert!(todos.seen(item).is_some_and(|seen| seen.listed && seen.rev == 3));
    }

    #[test]
    fn a_reading_mends_a_rank_that_was_lost() {
        let mut todos = Todos::default();
        let mut facts = tell(&mut Todos::default(), &[(0, Status::Completed)], 5);
        facts.retain(|fact| !matches!(fact, TodoFact::Rank(..)));
        learn(&mut todos, &facts);
        assert_eq!(todos.state(todo("a")), Some((1, Status::Pending)));
        let mended = tell(&mut todos, &[(0, Status::Completed)], 9);
        assert!(matches!(mended.as_slice(), [TodoFact::Rank(_, 1, Status::Completed, rank)] if rank.at == 5), "{mended:?}");
        assert_eq!(todos.state(todo("a")), Some((1, Status::Completed)));
    }

    #[test]
    fn a_reading_that_claims_to_be_later_than_any_can_be_bars_nothing() {
        let mut todos = Todos::default();
        tell(&mut todos, &[(0, Status::Pending), (1, Status::Pending)], 1_000);
        let reading = reading_of(&[(0, Status::Completed)]);
        assert!(read(&todos, &list(0), device(0), &reading, 500, 1_000).is_empty(), "an older copy");
        let facts = read(&todos, &list(0), device(0), &reading, 500, 999);
        learn(&mut todos, &facts);
        assert_eq!(todos.state(todo("a")), Some((1, Status::Completed)));
        assert!(todos.seen(list(0).item("a")).is_some_and(|seen| (seen.rev, seen.at) == (2, 500)), "and its stamp is mended");
        assert!(todos.seen(list(0).item("b")).is_some_and(|seen| !seen.listed));
    }

    #[test]
    fn a_blank_text_is_passed_over() {
        let mut reading = reading_of(&[(0, Status::Pending)]);
        reading.items[0].text = " \n".into();
        assert!(read(&Todos::default(), &list(0), device(0), &reading, 5, i64::MAX).is_empty());
    }

    #[test]
    fn a_status_that_changes_keeps_what_the_list_does_not_say() {
        let mut todos = Todos::default();
        tell(&mut todos, &[(0, Status::Pending)], 5);
        let item = list(0).item("a");
        let blocked_by = std::collections::BTreeSet::from([list(0).item("b")]);
        let seen = SeenFact { rev: 7, blocked_by: blocked_by.clone(), ..todos.seen(item).expect("it was read").clone() };
        todos.learn(TodoFact::Seen(item, seen));
        tell(&mut todos, &[(0, Status::InProgress)], 6);
        assert!(todos.seen(item).is_some_and(|seen| seen.rev == 8 && seen.blocked_by == blocked_by));
    }
}
