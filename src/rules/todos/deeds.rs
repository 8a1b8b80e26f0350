//! A deed only adds facts: what a person or an agent asked for becomes new words about a todo, and never takes an old one away.

use std::collections::BTreeSet;

use super::state::{Group, Held};
use super::{Todos, naming, undo};
use crate::model::ask::{Keeping, TodoDeed};
use crate::model::id::{ActId, ItemId, TodoId};
use crate::model::limits::COUNT_MAX;
use crate::model::reply::{Code, Refusal};
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, By, Deed, Field, GENERAL, ItemFact, List, RankFact, Status, TodoFact, todo_id};
use crate::model::view::Conflict;

/// What a deed comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be written; nothing, when it is so already.
    pub facts: Vec<TodoFact>,
    /// The todo it was done to, where it is after the facts count.
    pub todo: TodoId,
    /// Whether that todo, or a new round of it, began with this.
    pub created: bool,
}

/// What `deed`, asked for by `by`, comes to. `unique` names its action; where there are several, the others are named after
/// it. Refused: a name that fits no todo or several, an empty text, `start` of what is finished, nothing to undo.
pub fn decide(todos: &Todos, deed: &TodoDeed, by: &By, at: Stamp, unique: ActId) -> Result<Decision, Refusal> {
    let mut writer = Writer { todos, by, at, unique, facts: Vec::new() };
    let (todo, created) = match deed {
        TodoDeed::Add { content, project, priority } => writer.add(content, project.as_deref(), priority.as_ref())?,
        TodoDeed::Start { id } => (writer.start(naming::todo(todos, id)?)?, false),
        TodoDeed::Done { id } => (writer.done(naming::todo(todos, id)?), false),
        TodoDeed::Reopen { id } => writer.reopen(naming::todo(todos, id)?)?,
        TodoDeed::Edit { id, content, owner, priority } => {
            let fields = [(Field::Content, content), (Field::Owner, owner), (Field::Priority, priority)];
            let given: Vec<(Field, &Foreign)> = fields.into_iter().filter_map(|(field, value)| Some((field, value.as_ref()?))).collect();
            (writer.edit(naming::todo(todos, id)?, &given)?, false)
        }
        TodoDeed::Delete { id } => (writer.delete(naming::todo(todos, id)?), false),
        TodoDeed::Undo { id } => undo::undo(&mut writer, naming::todo(todos, id)?)?,
        TodoDeed::Resolve { id, keep } => writer.resolve(&naming::conflict(todos, id)?, keep)?,
    };
    Ok(Decision { facts: writer.facts, todo, created })
}

/// Writes the facts of one deed.
pub(super) struct Writer<'a> {
    pub(super) todos: &'a Todos,
    by: &'a By,
    at: Stamp,
    unique: ActId,
    facts: Vec<TodoFact>,
}

impl Writer<'_> {
    /// Writes an action on these items of a todo; `part` tells it from the deed's other actions, empty: it is the deed.
    pub(super) fn act(&mut self, part: &str, todo: TodoId, items: BTreeSet<ItemId>, deed: Deed, undoes: Option<ActId>) {
        let id = if part.is_empty() { self.unique } else { ActId::of(&[&self.unique.0, part.as_bytes()]) };
        self.facts.push(TodoFact::Act(id, ActFact { todo, items, deed, by: self.by.clone(), at: self.at, undoes }));
    }

    fn act_on(&mut self, part: &str, group: &Group<'_>, deed: Deed) {
        self.act(part, group.id, group.items.keys().copied().collect(), deed, None);
    }

    fn add(&mut self, content: &Foreign, project: Option<&str>, priority: Option<&Foreign>) -> Result<(TodoId, bool), Refusal> {
        if content.is_blank() {
            return Err(Refusal::new(Code::BadRequest, "A todo needs a text."));
        }
        let project = project.unwrap_or(GENERAL);
        let list = List::Person { project: project.to_owned() };
        let todo = todo_id(self.todos.facts.aliases.aliased(project), content);
        let group = self.todos.group(todo);
        let mut items: BTreeSet<ItemId> = group.items.keys().copied().collect();
        if !group.items.values().any(|held| held.fact.list == list) {
            items.insert(self.add_item(list, content, todo));
        }
        let (round, status) = group.state();
        let is_new = group.items.is_empty();
        let is_over = status.is_finished() || group.deleted_by().is_some();
        if let Some(priority) = priority.filter(|priority| group.value(Field::Priority).as_ref() != Some(*priority)) {
            let rev = next(group.field_rev(Field::Priority))?;
            self.act(Field::Priority.word(), todo, items.clone(), Deed::Set { field: Field::Priority, value: priority.clone(), rev }, None);
        }
        if is_over {
            self.act("", todo, items, Deed::Open { round: next(round)?, status: Status::Pending }, None);
        }
        Ok((todo, is_new || is_over))
    }

    /// Writes a person's item that will be in `todo`.
    fn add_item(&mut self, list: List, content: &Foreign, todo: TodoId) -> ItemId {
        let fact = ItemFact { list, text: content.clone(), first_seen: self.at.ms, project: None };
        let mut item = fact.list.item(&content.normalised());
        if self.todos.item(item).is_some() || self.todos.would_be(item, &fact).todo != todo {
            // That item was edited and is another todo now: this is a new one. No normalised text has a line break.
            item = fact.list.item(&format!("{}\n{}", content.normalised(), self.unique));
        }
        self.facts.push(TodoFact::Item(item, fact));
        self.facts.push(TodoFact::Rank(item, 1, Status::Pending, RankFact { todo, by: self.by.clone(), at: self.at.ms }));
        item
    }

    fn start(&mut self, todo: TodoId) -> Result<TodoId, Refusal> {
        let group = self.todos.group(todo);
        let (round, status) = group.state();
        if status.is_finished() || group.deleted_by().is_some() {
            let what = if status.is_finished() { status.word() } else { "deleted" };
            let refusal = Refusal::new(Code::BadRequest, format!("The todo {} is {what}; it cannot be started.", todo.short(8)));
            return Err(refusal.fix(format!("hubless todos reopen {}", todo.short(8))));
        }
        if status < Status::InProgress {
            self.act_on("", &group, Deed::Mark { round, status: Status::InProgress });
        }
        Ok(todo)
    }

    fn done(&mut self, todo: TodoId) -> TodoId {
        let group = self.todos.group(todo);
        let (round, status) = group.state();
        if status < Status::Completed {
            self.act_on("", &group, Deed::Mark { round, status: Status::Completed });
        }
        todo
    }

    fn reopen(&mut self, todo: TodoId) -> Result<(TodoId, bool), Refusal> {
        let group = self.todos.group(todo);
        let (round, status) = group.state();
        let is_over = status.is_finished() || group.deleted_by().is_some();
        if is_over {
            self.act_on("", &group, Deed::Open { round: next(round)?, status: Status::Pending });
        }
        Ok((todo, is_over))
    }

    fn delete(&mut self, todo: TodoId) -> TodoId {
        let group = self.todos.group(todo);
        if group.deleted_by().is_none() {
            self.act_on("", &group, Deed::Delete { round: group.state().0 });
        }
        todo
    }

    fn edit(&mut self, todo: TodoId, given: &[(Field, &Foreign)]) -> Result<TodoId, Refusal> {
        if given.is_empty() {
            return Err(Refusal::new(Code::BadRequest, "Nothing to change was given: a text, an owner or a priority."));
        }
        let group = self.todos.group(todo);
        let mut now = todo;
        for (field, value) in given {
            now = self.set(&group, *field, value)?.unwrap_or(now);
        }
        Ok(now)
    }

    /// Sets a field of a todo; says where the todo is then, if its text was set.
    fn set(&mut self, group: &Group<'_>, field: Field, value: &Foreign) -> Result<Option<TodoId>, Refusal> {
        if field == Field::Content && value.is_blank() {
            return Err(Refusal::new(Code::BadRequest, "A todo needs a text."));
        }
        let is_so = match field {
            Field::Content => group.items.values().all(|held| held.place.text == *value),
            Field::Owner | Field::Priority => group.value(field).unwrap_or_default() == *value,
        };
        if is_so {
            return Ok(None);
        }
        let rev = next(group.field_rev(field))?;
        self.act_on(field.word(), group, Deed::Set { field, value: value.clone(), rev });
        Ok((field == Field::Content).then(|| place_of(group, value)))
    }

    fn resolve(&mut self, conflict: &Conflict, keep: &Keeping) -> Result<(TodoId, bool), Refusal> {
        let group = self.todos.group(conflict.todo);
        let field = [Field::Content, Field::Owner, Field::Priority].into_iter().find(|field| field.word() == conflict.field);
        let mut now = (conflict.todo, false);
        match (keep, field) {
            (Keeping::Local, _) => {}
            (Keeping::Remote, None) => {
                let status = Status::parse(conflict.remote.value.json()).unwrap_or(Status::Pending);
                self.act_on("status", &group, Deed::Open { round: next(group.state().0)?, status });
                now.1 = true;
            }
            (Keeping::Remote, Some(field)) => now.0 = self.set(&group, field, &conflict.remote.value)?.unwrap_or(now.0),
            (Keeping::Both, Some(Field::Content)) => {
                let project = group.items.values().next().map(|held: &Held<'_>| held.place.project.clone());
                self.add(&conflict.remote.value, project.as_deref(), None)?;
            }
            (Keeping::Both, _) => {
                return Err(Refusal::new(Code::BadRequest, "Both can be kept of two texts only.")
                    .because(format!("This conflict is about the {}.", conflict.field))
                    .fix(format!("hubless todos resolve {} --keep local, or remote", conflict.id.short(8))));
            }
            (Keeping::Text(text), field) => now.0 = self.set(&group, field.unwrap_or(Field::Content), text)?.unwrap_or(now.0),
        }
        if !conflict.resolved {
            // `add` of a finished text has taken the deed's own name.
            let part = if keep == &Keeping::Both { "resolve" } else { "" };
            self.act_on(part, &group, Deed::Resolve { conflict: conflict.id });
        }
        Ok(now)
    }
}

/// Where the items of a todo are when they say `text`.
pub(super) fn place_of(group: &Group<'_>, text: &Foreign) -> TodoId {
    group.items.values().next().map_or(group.id, |held| todo_id(&held.place.project, text))
}

/// The next round or revision, unless a peer has used up all of them.
pub(super) fn next(count: u64) -> Result<u64, Refusal> {
    if count < COUNT_MAX {
        return Ok(count + 1);
    }
    Err(Refusal::new(Code::BadRequest, "This todo cannot be changed any more.").because("Its count of rounds or edits is used up."))
}
