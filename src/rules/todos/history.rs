//! A todo's history is the same on every device: all actions, and every reading that raised the state, by (at, name).

use std::collections::BTreeMap;

use super::state::{Group, Held, Source, Word, word};
use crate::model::id::{ActId, ItemId};
use crate::model::text::Foreign;
use crate::model::todo::{ActFact, Deed, Field, Status};
use crate::model::view::Happened;

enum Step<'a> {
    Listed(Word<'a>),
    Acted(ActId, &'a ActFact),
}

/// All that happened to a todo, oldest first.
pub(super) fn of(group: &Group<'_>) -> Vec<Happened> {
    let listed = group.words().filter(|word| matches!(word.source, Source::Item(_)));
    let mut steps: Vec<(i64, u32, Source, Step<'_>)> = listed.map(|word| (word.at, 0, word.source, Step::Listed(word))).collect();
    steps.extend(group.acts.iter().map(|(id, fact)| (fact.at.ms, fact.at.n, Source::Act(*id), Step::Acted(*id, fact))));
    // Stable: what is equal here stays in the order of the facts' names and values.
    steps.sort_by_key(|(at, n, source, _)| (*at, *n, *source));
    let mut teller = Teller { items: &group.items, state: None, fields: BTreeMap::new(), told: Vec::new() };
    for (.., step) in steps {
        match step {
            Step::Listed(word) => teller.listed(&word),
            Step::Acted(id, fact) => teller.acted(id, fact),
        }
    }
    teller.told
}

/// What was so far.
struct Teller<'a> {
    items: &'a BTreeMap<ItemId, Held<'a>>,
    state: Option<(u64, Status)>,
    fields: BTreeMap<Field, Foreign>,
    told: Vec<Happened>,
}

impl Teller<'_> {
    fn listed(&mut self, word: &Word<'_>) {
        if self.state < Some((word.round, word.status)) {
            self.status(word, None);
        }
    }

    fn status(&mut self, word: &Word<'_>, act: Option<ActId>) {
        let happened = Happened {
            at: word.at,
            by: word.by.clone(),
            field: "status".to_owned(),
            from: self.state.map(|(_, status)| status.word().into()),
            to: word.status.word().into(),
            round: word.round,
            act,
        };
        self.told.push(happened);
        self.state = self.state.max(Some((word.round, word.status)));
    }

    fn acted(&mut self, id: ActId, fact: &ActFact) {
        if let Some(word) = word(id, fact) {
            return self.status(&word, Some(id));
        }
        let now = self.state.map_or(1, |(round, _)| round);
        let (field, from, to, round) = match &fact.deed {
            Deed::Set { field, value, .. } => {
                let before = self.fields.insert(*field, value.clone()).or_else(|| self.listed_text(*field, fact));
                (field.word(), before, value.clone(), now)
            }
            Deed::Delete { round } => ("deleted", None, "deleted".into(), *round),
            Deed::Resolve { .. } => ("conflict", None, if fact.undoes.is_some() { "open" } else { "resolved" }.into(), now),
            Deed::Tag { tag, on: true, .. } => ("tag", None, tag.clone(), now),
            Deed::Tag { tag, on: false, .. } => ("tag", Some(tag.clone()), Foreign::default(), now),
            Deed::Mark { .. } | Deed::Open { .. } | Deed::Asked => return,
        };
        let happened = Happened { at: fact.at.ms, by: fact.by.clone(), field: field.to_owned(), from, to, round, act: Some(id) };
        self.told.push(happened);
    }

    /// What the first edit of a text replaced: the text of the items it names, as they were listed.
    fn listed_text(&self, field: Field, fact: &ActFact) -> Option<Foreign> {
        let held = fact.items.iter().find_map(|item| self.items.get(item)).filter(|_| field == Field::Content)?;
        Some(held.fact.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::{Fixed, Heard, Raw, todos_of};
    use super::*;
    use crate::model::todo::TodoFact;
    use quickcheck::quickcheck;

    quickcheck! {
        fn it_is_in_order_and_ends_where_the_todo_is(raw: Raw) -> bool {
            let settled = todos_of(&raw.heard).from_scratch();
            settled.todos.values().flatten().all(|view| {
                let in_order = view.history.windows(2).all(|pair| pair[0].at <= pair[1].at);
                let words = view.history.iter().filter(|step| step.field == "status");
                let highest = words.filter_map(|step| Some((step.round, Status::parse(step.to.json())?))).max();
                in_order && highest.unwrap_or((1, Status::Pending)) == (view.round, view.status)
            })
        }

        fn nothing_that_was_done_to_its_items_is_missing(raw: Raw) -> bool {
            let todos = todos_of(&raw.heard);
            let settled = todos.from_scratch();
            raw.heard.iter().all(|one| {
                let Heard::Fact(TodoFact::Act(id, fact)) = one else { return true };
                let places = fact.items.iter().filter_map(|item| todos.place(*item));
                // A delete counts elsewhere only where it names all items; a blank text is no edit, but it was said.
                matches!(fact.deed, Deed::Delete { .. })
                    || places.filter_map(|todo| settled.todos.get(&todo)?.as_ref()).all(|view| view.history.iter().any(|step| step.act == Some(*id)))
            })
        }
    }

    #[test]
    fn readings_are_told_only_where_they_raise_the_state() {
        let raw = Fixed::new();
        let statuses = [Status::Pending, Status::Completed, Status::InProgress];
        let mut heard = vec![raw.item(0)];
        for (n, status) in statuses.into_iter().enumerate() {
            heard.push(raw.rank_at(0, status, n as i64));
        }
        heard.push(raw.rank_at(0, Status::Completed, 7));
        heard.push(raw.act(Deed::Mark { round: 1, status: Status::InProgress }));
        let view = todos_of(&heard).from_scratch().todos.remove(&raw.todo(0).0).flatten().expect("it holds an item");
        let told: Vec<(i64, &str, bool)> = view.history.iter().map(|step| (step.at, step.to.json(), step.act.is_some())).collect();
        assert_eq!(told, [(0, "pending", false), (1, "completed", false), (1, "in_progress", true)]);
        assert_eq!(view.history[1].from, Some("pending".into()));
    }

    #[test]
    fn the_first_edit_of_a_text_tells_what_it_replaced() {
        let raw = Fixed::new();
        let listed = raw.item(0);
        let Heard::Fact(TodoFact::Item(_, item)) = &listed else { panic!("an item") };
        let before = item.text.clone();
        let edit = |text: &str, rev| raw.act(Deed::Set { field: Field::Content, value: text.into(), rev });
        let heard = [listed, edit("one", 1), edit("two", 2)];
        let all = todos_of(&heard).from_scratch().todos;
        let view = all.into_values().flatten().next().expect("it is somewhere");
        let mut edits: Vec<(Option<Foreign>, &str)> = Vec::new();
        edits.extend(view.history.iter().filter(|step| step.field == "content").map(|step| (step.from.clone(), step.to.json())));
        assert_eq!(edits[0].0, Some(before));
        assert_eq!(edits[1].0.as_ref().map(Foreign::json), Some(edits[0].1));
    }
}
