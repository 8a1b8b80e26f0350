//! Undo only adds: it says something new that brings back what was, and never removes the word it takes back (T3).
//!
//! | taken back | written |
//! |---|---|
//! | completed, cancelled | the next round, with the highest lower status that anybody said in that round |
//! | in progress | the next round, pending; if the todo was finished meanwhile, nothing changes |
//! | a new round | that round is what the round before was: finished, or deleted |
//! | delete | the next round, with the status of the deleted one |
//! | a field set | the value that counted before it, rev + 1 |
//! | a tag given or taken | the contrary, rev + 1 |
//! | a conflict settled | the same action again, which, having `undoes`, means that the conflict is open |

use std::collections::{BTreeMap, BTreeSet};

use super::deeds::{Writer, next, place_of};
use super::state::{Group, Setting, Source};
use crate::model::id::{ActId, ItemId, TodoId};
use crate::model::reply::{Code, Refusal};
use crate::model::text::Foreign;
use crate::model::todo::{ActFact, Deed, Field, Status, tag_key};

/// Takes back the latest deed on a todo that is no undo and was not undone: its latest (at, id) action, with the others that
/// came of the same deed (one stamp, one author). Says where the todo is then, and whether a round of it began.
pub(super) fn undo(writer: &mut Writer<'_>, todo: TodoId) -> Result<(TodoId, bool), Refusal> {
    let group = writer.todos.group(todo);
    let undone = undone(&group);
    let mut acts: Vec<(ActId, &ActFact)> = group.acts.clone();
    acts.retain(|(id, fact)| fact.undoes.is_none() && !undone.contains(id));
    let Some(last) = acts.iter().max_by_key(|(id, fact)| (fact.at, *id)).map(|(_, fact)| *fact) else {
        return Err(Refusal::new(Code::NothingToUndo, format!("Nothing was done to the todo {} that could be undone.", todo.short(8)))
            .because("What lists say is not undone: the list is changed, or the todo done or reopened."));
    };
    acts.retain(|(_, fact)| fact.at == last.at && fact.by == last.by);
    // Beside an edit of the text, a mark only carries the state along: it said nothing new.
    let carries = acts.iter().any(|(_, fact)| matches!(fact.deed, Deed::Set { field: Field::Content, .. }));
    let (mut now, mut opens) = (todo, false);
    for (n, (id, fact)) in acts.iter().enumerate() {
        let part = if n == 0 { String::new() } else { id.to_string() };
        if let Deed::Set { field, .. } = &fact.deed {
            now = unset(writer, &group, (*id, fact), *field, &part)?.unwrap_or(now);
            continue;
        }
        let deeds = if carries && matches!(fact.deed, Deed::Mark { .. }) { vec![fact.deed.clone()] } else { opposite(&group, *id, fact)? };
        for (n, deed) in deeds.into_iter().enumerate() {
            opens |= matches!(deed, Deed::Open { .. });
            let part = if n == 0 { part.clone() } else { format!("{part}\n{n}") };
            writer.act(&part, todo, group.items.keys().copied().collect(), deed, Some(*id));
        }
    }
    Ok((now, opens))
}

/// The actions that were taken back here. Undone for items that have since gone elsewhere is not undone for those that stayed.
fn undone(group: &Group<'_>) -> BTreeSet<ActId> {
    group.acts.iter().filter_map(|(_, fact)| fact.undoes).collect()
}

/// What takes an action back that set no field.
fn opposite(group: &Group<'_>, id: ActId, fact: &ActFact) -> Result<Vec<Deed>, Refusal> {
    let now = group.state();
    Ok(match &fact.deed {
        Deed::Asked => Vec::new(),
        Deed::Mark { status: Status::Pending | Status::InProgress, .. } if now.1.is_finished() => {
            vec![Deed::Mark { round: now.0, status: now.1 }]
        }
        Deed::Mark { round, status } => {
            let before = highest_in(group, *round, id, |said| said < *status).unwrap_or(Status::Pending);
            let open = Deed::Open { round: next(now.0)?, status: before };
            // What was marked while it was hidden stays hidden.
            let hide = group.deleted_by().map(|_| Deed::Delete { round: now.0 + 1 });
            [Some(open), hide].into_iter().flatten().collect()
        }
        Deed::Delete { round } => {
            let before = highest_in(group, *round, id, |_| true).unwrap_or(Status::Pending);
            vec![Deed::Open { round: next(now.0)?, status: before }]
        }
        Deed::Open { round, .. } if was_deleted(group, *round) => {
            let before = highest_in(group, round.saturating_sub(1), id, |_| true);
            let mark = before.map(|status| Deed::Mark { round: *round, status });
            [Some(Deed::Delete { round: *round }), mark].into_iter().flatten().collect()
        }
        Deed::Open { round, .. } => {
            let before = highest_in(group, round.saturating_sub(1), id, Status::is_finished).unwrap_or(Status::Completed);
            vec![Deed::Mark { round: *round, status: before }]
        }
        Deed::Tag { tag, on, .. } => {
            let rev = next(group.tags().get(&tag_key(tag)).map_or(0, |word| word.rev))?;
            vec![Deed::Tag { tag: tag.clone(), on: !on, rev }]
        }
        Deed::Set { .. } | Deed::Resolve { .. } => vec![fact.deed.clone()],
    })
}

/// The highest status that anybody but `except` said in a round.
fn highest_in(group: &Group<'_>, round: u64, except: ActId, which: impl Fn(Status) -> bool) -> Option<Status> {
    let words = group.words().filter(|word| word.round == round && word.source != Source::Act(except));
    words.map(|word| word.status).filter(|status| which(*status)).max()
}

/// Whether the round before was hidden when this one was opened.
fn was_deleted(group: &Group<'_>, round: u64) -> bool {
    group.acts.iter().any(|(_, fact)| matches!(fact.deed, Deed::Delete { round: of } if of + 1 == round))
}

/// Writes the values that counted before an action, for the items that it named; says where the todo is then, if it moved.
fn unset(
    writer: &mut Writer<'_>,
    group: &Group<'_>,
    (id, fact): (ActId, &ActFact),
    field: Field,
    part: &str,
) -> Result<Option<TodoId>, Refusal> {
    let rev = next(group.field_rev(field))?;
    let Some(mine) = group.settings(field).find(|setting| setting.id == id) else { return Ok(None) };
    let earlier = |setting: &Setting<'_>| setting.order() < mine.order();
    if field != Field::Content {
        // Since then an edit may have moved the items away from what was set under the old name alone.
        let there = writer.todos.group(fact.todo);
        let named = there.settings(field).filter(|setting| setting.fact.todo == fact.todo);
        let former = group.settings(field).chain(named).filter(earlier).max_by_key(Setting::order);
        let value = former.map(|setting| setting.value.clone()).or_else(|| group.listed_value(field)).unwrap_or_default();
        writer.act(part, group.id, group.items.keys().copied().collect(), Deed::Set { field, value, rev }, Some(id));
        return Ok(None);
    }
    // Only the items that the edit named go back: it may have brought them to others that always said this.
    let mut former: BTreeMap<Foreign, BTreeSet<ItemId>> = BTreeMap::new();
    for (item, held) in group.items.iter().filter(|(item, _)| fact.items.contains(item)) {
        let edits = group.settings(field).filter(|setting| setting.fact.items.contains(item));
        let edit = edits.filter(earlier).max_by_key(Setting::order);
        former.entry(edit.map_or(&held.fact.text, |setting| setting.value).clone()).or_default().insert(*item);
    }
    let todo = former.keys().next().map(|text| place_of(group, text));
    for (n, (value, items)) in former.into_iter().enumerate() {
        let part = if n == 0 { part.to_owned() } else { format!("{part}\n{}", value.json()) };
        writer.act(&part, group.id, items, Deed::Set { field, value, rev }, Some(id));
    }
    Ok(todo)
}

#[cfg(test)]
mod tests {
    use super::super::deeds::{Decision, decide};
    use super::super::raw::{device, list};
    use super::super::world::{World, reading_of};
    use super::*;
    use crate::model::ask::TodoDeed;
    use crate::model::time::Stamp;
    use crate::model::todo::{By, todo_id};
    use crate::rules::todos::Todos;
    use quickcheck::quickcheck;

    fn act(todos: &mut Todos, deed: &TodoDeed, n: i64) -> Result<Decision, Refusal> {
        let by = By { device: device(7), agent: None, session: None };
        let decision = decide(todos, deed, &by, Stamp::at(1000 + n), ActId::of(&[b"after the world", &n.to_le_bytes()]))?;
        decision.facts.iter().for_each(|fact| todos.learn(fact.clone()));
        Ok(decision)
    }

    /// What people see that a deed may change.
    fn shown(todos: &Todos, todo: TodoId) -> (Status, bool, Option<Foreign>, Option<Foreign>, Foreign) {
        let group = todos.group(todo);
        let (_, status) = group.state();
        let text = Foreign::new(group.content().normalised());
        (status, group.deleted_by().is_some(), group.value(Field::Owner), group.value(Field::Priority), text)
    }

    quickcheck! {
        // T3: in whatever world, undo brings back what was; by new facts, in a new round where a status has to go down.
        fn undo_brings_back_what_was(world: World, which: usize, deed: u8) -> bool {
            let mut todos = world.run().merged();
            let held: Vec<TodoId> = todos.index.held.keys().copied().collect();
            if held.is_empty() {
                return true;
            }
            let todo = held[which % held.len()];
            let id = todo.to_string();
            let (before, places) = (shown(&todos, todo), todos.index.places.clone());
            let deed = match deed % 6 {
                0 => TodoDeed::Start { id },
                1 => TodoDeed::Done { id },
                2 => TodoDeed::Reopen { id },
                3 => TodoDeed::Delete { id },
                4 => TodoDeed::Edit { id, content: Some("new".into()), owner: Some("eva".into()), priority: None },
                _ => TodoDeed::Edit { id, content: None, owner: Some("eva".into()), priority: Some("low".into()) },
            };
            let Ok(done) = act(&mut todos, &deed, 1) else { return true };
            let state = todos.state(done.todo);
            if done.facts.is_empty() {
                return true;
            }
            let Ok(undone) = act(&mut todos, &TodoDeed::Undo { id: done.todo.to_string() }, 2) else { return false };
            let same_places = places.iter().all(|(item, place)| todos.place(*item) == Some(place.todo));
            same_places && undone.todo == todo && shown(&todos, todo) == before && todos.state(todo) >= state
        }

        // Undo again and again ends: every action is taken back at most once for each item.
        fn undo_ends(world: World) -> bool {
            let mut todos = world.run().merged();
            let Some(todo) = todos.index.held.keys().next().copied() else { return true };
            let acts = todos.facts.acts.len() * todos.facts.items.len();
            let mut at = todo;
            (0..=acts).any(|n| match act(&mut todos, &TodoDeed::Undo { id: at.to_string() }, 10 + n as i64) {
                Ok(decision) => { at = decision.todo; false }
                Err(refusal) => refusal.code == Code::NothingToUndo,
            })
        }
    }

    #[test]
    fn undo_of_a_reopen_completes_its_round_and_undo_of_a_completion_opens_the_next() {
        let mut todos = Todos::default();
        let todo = act(&mut todos, &TodoDeed::Add { content: "a".into(), project: None, priority: None }, 1).expect("added").todo;
        let id = todo.to_string();
        let mut after = |deed: TodoDeed, n: i64| {
            act(&mut todos, &deed, n).expect("done");
            todos.state(todo).expect("it holds items")
        };
        assert_eq!(after(TodoDeed::Start { id: id.clone() }, 2), (1, Status::InProgress));
        assert_eq!(after(TodoDeed::Done { id: id.clone() }, 3), (1, Status::Completed));
        assert_eq!(after(TodoDeed::Reopen { id: id.clone() }, 4), (2, Status::Pending));
        assert_eq!(after(TodoDeed::Undo { id: id.clone() }, 5), (2, Status::Completed));
        assert_eq!(after(TodoDeed::Undo { id: id.clone() }, 6), (3, Status::InProgress));
        assert_eq!(after(TodoDeed::Undo { id: id.clone() }, 7), (4, Status::Pending));
        assert_eq!(act(&mut todos, &TodoDeed::Undo { id }, 8).expect_err("all is undone").code, Code::NothingToUndo);
    }

    #[test]
    fn undoing_edits_goes_back_step_by_step() {
        let mut todos = Todos::default();
        let add = TodoDeed::Add { content: "one".into(), project: None, priority: None };
        let mut todo = act(&mut todos, &add, 1).expect("added").todo;
        for (n, text) in ["two", "three"].into_iter().enumerate() {
            let edit = TodoDeed::Edit { id: todo.to_string(), content: Some(text.into()), owner: None, priority: None };
            todo = act(&mut todos, &edit, 2 + n as i64).expect("edited").todo;
        }
        for (n, text) in ["two", "one"].into_iter().enumerate() {
            todo = act(&mut todos, &TodoDeed::Undo { id: todo.to_string() }, 5 + n as i64).expect("undone").todo;
            assert_eq!(todos.group(todo).content().json(), text);
        }
    }

    #[test]
    fn undo_of_an_edit_that_joined_two_todos_parts_them_again() {
        let mut todos = Todos::default();
        let add = |text: &str| TodoDeed::Add { content: text.into(), project: None, priority: None };
        let one = act(&mut todos, &add("one"), 1).expect("added").todo;
        let two = act(&mut todos, &add("two"), 2).expect("added").todo;
        let join = TodoDeed::Edit { id: one.to_string(), content: Some("two".into()), owner: None, priority: None };
        assert_eq!(act(&mut todos, &join, 3).expect("edited").todo, two);
        assert_eq!(todos.items(two).len(), 2);
        let undone = act(&mut todos, &TodoDeed::Undo { id: two.to_string() }, 4).expect("undone");
        assert_eq!(undone.facts.len(), 1, "nothing is said of the other");
        assert_eq!((todos.items(one).len(), todos.items(two).len()), (1, 1));
    }

    fn listed(todos: &mut Todos, status: Status, at: i64) {
        let facts = crate::rules::todos::reading::read(todos, &list(0), device(0), &reading_of(&[(0, status)]), at, i64::MAX);
        facts.into_iter().for_each(|fact| todos.learn(fact));
    }

    #[test]
    fn undoing_a_completion_that_a_list_has_repeated_opens_what_was_before_it() {
        let mut todos = Todos::default();
        listed(&mut todos, Status::InProgress, 1);
        let id = todo_id("general", &"a".into()).to_string();
        act(&mut todos, &TodoDeed::Done { id: id.clone() }, 2).expect("done");
        listed(&mut todos, Status::Completed, 3);
        let todo = act(&mut todos, &TodoDeed::Undo { id }, 4).expect("undone").todo;
        assert_eq!(todos.state(todo), Some((2, Status::InProgress)));
    }

    #[test]
    fn undoing_a_start_does_not_reopen_what_was_finished_since() {
        let mut todos = Todos::default();
        listed(&mut todos, Status::Pending, 1);
        let id = todo_id("general", &"a".into()).to_string();
        act(&mut todos, &TodoDeed::Start { id: id.clone() }, 2).expect("started");
        listed(&mut todos, Status::Completed, 3);
        let todo = act(&mut todos, &TodoDeed::Undo { id: id.clone() }, 4).expect("undone").todo;
        assert_eq!(todos.state(todo), Some((1, Status::Completed)));
        assert_eq!(act(&mut todos, &TodoDeed::Undo { id }, 5).expect_err("all is undone").code, Code::NothingToUndo);
    }
}
