//! A deed only adds facts: what a person or an agent asked for becomes new words about a todo, and never takes an old one away.

use std::collections::BTreeSet;

use super::known::Todos;
use super::state::{Group, Held, Source};
use super::{conflicts, naming, undo};
use crate::model::ask::{Keeping, TodoDeed};
use crate::model::id::{ActId, ItemId, TodoId};
use crate::model::limits::{COUNT_MAX, TAG_CHARS_MAX};
use crate::model::reply::{Code, Refusal};
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, By, Deed, Field, GENERAL, ItemFact, List, RankFact, Status, TodoFact, tag_key, todo_id};
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
        TodoDeed::Tag { id, tags, on } => (writer.tag(naming::todo(todos, id)?, tags, *on)?, false),
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
        self.facts.push(TodoFact::Act(id, ActFact { todo, items, deed, by: self.by.clone(), at: self.at, undoes, asked: None }));
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

    fn tag(&mut self, todo: TodoId, tags: &[Foreign], on: bool) -> Result<TodoId, Refusal> {
        let keys: BTreeSet<String> = tags.iter().map(tag_key).collect();
        if keys.is_empty() || keys.iter().any(|key| key.is_empty() || key.chars().count() > TAG_CHARS_MAX) {
            return Err(Refusal::new(Code::BadRequest, format!("A tag is a word of at most {TAG_CHARS_MAX} characters.")));
        }
        let group = self.todos.group(todo);
        let held = group.tags();
        let said = |key: &String| held.get(key).map_or((0, false), |word| (word.rev, word.on));
        let news: Vec<(String, u64)> =
            keys.into_iter().map(|key| (said(&key), key)).filter(|((_, is), _)| *is != on).map(|((rev, _), key)| (key, rev)).collect();
        for (n, (key, rev)) in news.into_iter().enumerate() {
            let part = if n == 0 { String::new() } else { format!("tag\n{key}") };
            self.act_on(&part, &group, Deed::Tag { tag: Foreign::new(key), on, rev: next(rev)? });
        }
        Ok(todo)
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
        if field == Field::Content {
            self.carry(group);
        }
        Ok((field == Field::Content).then(|| place_of(group, value)))
    }

    /// Says of the items themselves what was only said of the todo by its name, so that an edit does not leave it behind.
    fn carry(&mut self, group: &Group<'_>) {
        let (round, status) = group.state();
        let own = group.words().filter(|word| match word.source {
            Source::Item(item) => group.items.contains_key(&item),
            Source::Act(id) => self.todos.facts.acts.get(&id).into_iter().flatten().any(|fact| names_any(fact, group)),
        });
        if own.map(|word| (word.round, word.status)).max().unwrap_or((1, Status::Pending)) < (round, status) {
            self.act_on("state", group, Deed::Mark { round, status });
        }
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
                    .fix(format!("hubless todos resolve {} --keep 1, or --keep 2", conflict.id.short(8))));
            }
            (Keeping::Text(text), field) => now.0 = self.set(&group, field.unwrap_or(Field::Content), text)?.unwrap_or(now.0),
        }
        if !conflict.resolved {
            // `add` of a finished text has taken the deed's own name.
            let part = if keep == &Keeping::Both { "resolve" } else { "" };
            self.act_on(part, &group, Deed::Resolve { conflict: conflict.id, was: conflicts::record(conflict) });
        }
        Ok(now)
    }
}

fn names_any(fact: &ActFact, group: &Group<'_>) -> bool {
    fact.items.iter().any(|item| group.items.contains_key(item))
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

#[cfg(test)]
mod tests {
    use super::super::raw::{device, list, session};
    use super::super::world::{Deal, World, reading_of};
    use super::*;
    use crate::model::view::TodoView;
    use crate::rules::todos::Found;
    use crate::rules::todos::reading::read;
    use quickcheck::quickcheck;

    /// One device on which somebody does one thing after the other.
    #[derive(Default)]
    struct Desk {
        todos: Todos,
        count: i64,
    }

    impl Desk {
        fn try_to(&mut self, deed: &TodoDeed) -> Result<Decision, Refusal> {
            self.count += 10;
            let by = By { device: device(0), agent: None, session: None };
            let decision = decide(&self.todos, deed, &by, Stamp::at(self.count), ActId::of(&[&self.count.to_le_bytes()]))?;
            decision.facts.iter().for_each(|fact| self.todos.learn(fact.clone()));
            Ok(decision)
        }

        fn to(&mut self, deed: &TodoDeed) -> Decision {
            self.try_to(deed).expect("it can be done")
        }

        fn add(&mut self, text: &str) -> Decision {
            self.to(&TodoDeed::Add { content: text.into(), project: None, priority: None })
        }

        fn list_says(&mut self, elements: &[(usize, Status)]) {
            self.count += 10;
            let facts = read(&self.todos, &list(0), device(0), &reading_of(elements), self.count, i64::MAX);
            facts.into_iter().for_each(|fact| self.todos.learn(fact));
        }

        fn view(&self, todo: TodoId) -> TodoView {
            self.todos.from_scratch().todos.remove(&todo).flatten().expect("it holds items")
        }

        fn conflicts(&self, todo: TodoId) -> Vec<Conflict> {
            self.todos.from_scratch().conflicts.remove(&todo).unwrap_or_default()
        }
    }

    fn id(todo: TodoId) -> String {
        todo.to_string()
    }

    fn done(todo: TodoId) -> TodoDeed {
        TodoDeed::Done { id: id(todo) }
    }

    fn undo(todo: TodoId) -> TodoDeed {
        TodoDeed::Undo { id: id(todo) }
    }

    fn edit(todo: TodoId, text: &str) -> TodoDeed {
        TodoDeed::Edit { id: id(todo), content: Some(text.into()), owner: None, priority: None }
    }

    /// Whether a deed did what its name says, in whatever world.
    fn is_as_asked(deal: &Deal<'_>) -> bool {
        let Some(now) = deal.after.state(deal.decision.todo) else { return false };
        let group = deal.after.group(deal.decision.todo);
        let hidden = group.deleted_by().is_some();
        match deal.deed {
            TodoDeed::Add { .. } | TodoDeed::Reopen { .. } => !now.1.is_finished() && !hidden,
            TodoDeed::Start { .. } => now.1 == Status::InProgress && !hidden,
            TodoDeed::Done { .. } => now.1 == Status::Completed,
            TodoDeed::Delete { .. } => hidden,
            TodoDeed::Edit { id, content: Some(content), .. } => {
                let before = deal.before.group(naming::todo(deal.before, id).expect("it was found"));
                group.content().normalised() == content.normalised() && now >= before.state()
            }
            TodoDeed::Edit { owner, .. } => group.value(Field::Owner) == *owner,
            TodoDeed::Tag { tags, on, .. } => tags.iter().all(|tag| group.tags().get(&tag_key(tag)).is_some_and(|word| word.on) == *on),
            TodoDeed::Undo { .. } | TodoDeed::Resolve { .. } => true,
        }
    }

    quickcheck! {
        fn a_deed_does_what_its_name_says_and_says_where_the_todo_is(world: World) -> bool {
            world.run_with(is_as_asked, |_, _| true).1
        }

        // T2, T3: whatever is done, undone or settled, what was said still counts.
        fn no_deed_takes_anything_back(world: World) -> bool {
            world.run_with(|deal| {
                deal.before.index.places.keys().all(|item| {
                    let mine = |todos: &Todos| {
                        let acts = todos.index.acts_on.get(item).into_iter().flatten().filter_map(|id| super::super::state::word(*id, todos.act(*id)?));
                        let ranks = todos.facts.ranks.get(item).into_iter().flatten().map(|(round, status, _)| (*round, *status));
                        acts.map(|word| (word.round, word.status)).chain(ranks).max()
                    };
                    let place = deal.after.place(*item).and_then(|todo| deal.after.state(todo));
                    mine(deal.before) <= mine(deal.after) && mine(deal.before) <= place
                })
            }, |_, _| true).1
        }

        fn doing_it_twice_writes_once(world: World) -> bool {
            world.run_with(|deal| {
                let by = By { device: device(9), agent: None, session: None };
                let id = deal.decision.todo.to_string();
                let again = match deal.deed {
                    TodoDeed::Add { .. } => deal.deed.clone(),
                    TodoDeed::Done { .. } => TodoDeed::Done { id },
                    TodoDeed::Start { .. } => TodoDeed::Start { id },
                    TodoDeed::Delete { .. } => TodoDeed::Delete { id },
                    TodoDeed::Reopen { .. } => TodoDeed::Reopen { id },
                    TodoDeed::Edit { content, owner, priority, .. } => {
                        TodoDeed::Edit { id, content: content.clone(), owner: owner.clone(), priority: priority.clone() }
                    }
                    TodoDeed::Tag { tags, on, .. } => TodoDeed::Tag { id, tags: tags.clone(), on: *on },
                    TodoDeed::Undo { .. } | TodoDeed::Resolve { .. } => return true,
                };
                decide(deal.after, &again, &by, Stamp::at(99), ActId::of(&[b"again"]))
                    .is_ok_and(|decision| decision.facts.is_empty() && !decision.created)
            }, |_, _| true).1
        }
    }

    #[test]
    fn tags_are_each_by_themselves_go_where_their_items_go_and_are_taken_back() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        let tag = |todo, tags: &[&str], on| TodoDeed::Tag { id: id(todo), tags: tags.iter().map(|tag| Foreign::from(*tag)).collect(), on };
        let tags = |desk: &Desk, todo| desk.view(todo).tags.iter().map(|tag| tag.json().to_owned()).collect::<Vec<_>>();
        assert_eq!(desk.to(&tag(todo, &["DB", " db ", "front end"], true)).facts.len(), 2);
        assert_eq!(tags(&desk, todo), ["db", "front end"]);
        let moved = desk.to(&edit(todo, "b")).todo;
        assert_eq!(tags(&desk, moved), ["db", "front end"]);
        desk.to(&tag(moved, &["db"], false));
        assert_eq!(tags(&desk, moved), ["front end"]);
        desk.to(&undo(moved));
        assert_eq!(tags(&desk, moved), ["db", "front end"]);
        assert_eq!(desk.to(&tag(moved, &["Db"], true)).facts, []);
        for wrong in [&[][..], &[" "], &["x".repeat(65).as_str()]] {
            assert!(desk.try_to(&tag(moved, wrong, true)).is_err());
        }
        let told: Vec<(String, String)> =
            desk.view(moved).history.iter().map(|step| (step.field.clone(), step.to.json().to_owned())).collect();
        assert_eq!(told.iter().filter(|(field, _)| field == "tag").count(), 4, "{told:?}");
    }

    #[test]
    fn a_project_learned_after_it_was_done_takes_the_completion_along() {
        let mut desk = Desk::default();
        desk.list_says(&[(0, Status::Pending)]);
        let before = todo_id(GENERAL, &"a".into());
        desk.to(&done(before));
        desk.todos.learn_session(session(0), Some("p"));
        let after = todo_id("p", &"a".into());
        assert_eq!(desk.todos.find(before), Found::Elsewhere(after));
        assert_eq!(desk.todos.state(after), Some((1, Status::Completed)));
        assert_eq!(desk.to(&TodoDeed::Done { id: before.short(9) }).todo, after, "the old name still works");
    }

    #[test]
    fn adding_a_done_text_opens_a_new_round_of_it() {
        let mut desk = Desk::default();
        let first = desk.add("buy milk");
        assert!(first.created && desk.todos.state(first.todo) == Some((1, Status::Pending)));
        assert!(!desk.add("  buy   milk ").created, "an open one is there already");
        desk.to(&done(first.todo));
        let again = desk.add("buy milk");
        assert!(again.created && again.todo == first.todo);
        assert_eq!(desk.todos.state(first.todo), Some((2, Status::Pending)));
    }

    #[test]
    fn adding_the_text_that_an_edited_one_had_makes_a_new_todo() {
        let mut desk = Desk::default();
        let milk = desk.add("milk").todo;
        let oats = desk.to(&edit(milk, "oat milk")).todo;
        let fresh = desk.add("milk");
        assert!(fresh.created && fresh.todo == milk && oats != milk);
        assert_eq!((desk.todos.items(milk).len(), desk.todos.items(oats).len()), (1, 1));
        assert!(!desk.add("milk").created);
    }

    #[test]
    fn a_restarted_list_that_says_pending_undoes_nothing() {
        let mut desk = Desk::default();
        desk.list_says(&[(0, Status::Completed), (1, Status::InProgress)]);
        desk.list_says(&[(1, Status::Pending), (0, Status::Pending)]);
        let (a, b) = (todo_id(GENERAL, &"a".into()), todo_id(GENERAL, &"b".into()));
        assert_eq!((desk.todos.state(a), desk.todos.state(b)), (Some((1, Status::Completed)), Some((1, Status::InProgress))));
        let conflicts = desk.conflicts(a);
        assert!(matches!(conflicts.as_slice(), [one] if one.rule == "completed-stays" && one.remote.value == "pending".into()));
    }

    #[test]
    fn of_crossed_edits_one_counts_on_both_devices_and_the_other_is_kept() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        let edit_by = |n: u8, text: &str| {
            let by = By { device: device(n), agent: None, session: None };
            decide(&desk.todos, &edit(todo, text), &by, Stamp::at(15), ActId::of(&[&[n]])).expect("an edit").facts
        };
        let (here, there) = (edit_by(1, "left"), edit_by(2, "right"));
        here.into_iter().chain(there).for_each(|fact| desk.todos.learn(fact));
        let right = todo_id(GENERAL, &"right".into());
        assert_eq!(desk.todos.find(todo), Found::Elsewhere(right), "of equal revisions and stamps the higher device's");
        let [conflict] = desk.conflicts(right).try_into().expect("one conflict");
        assert_eq!((conflict.rule, &conflict.remote.value), ("later-edit", &"left".into()));
        let keep = |keep| TodoDeed::Resolve { id: conflict.id.to_string(), keep };
        let both = desk.to(&keep(Keeping::Both));
        assert_eq!(desk.todos.state(todo_id(GENERAL, &"left".into())), Some((1, Status::Pending)), "the loser's text is a todo of its own");
        assert!(desk.conflicts(both.todo).iter().all(|conflict| conflict.resolved) && !desk.view(right).conflict);
        desk.to(&undo(right));
        assert!(desk.view(right).conflict, "settling is undone");
        assert_eq!(desk.to(&keep(Keeping::Remote)).todo, todo_id(GENERAL, &"left".into()));
    }

    #[test]
    fn an_old_list_first_read_after_a_reopen_does_not_complete_the_new_round() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        desk.to(&done(todo));
        desk.to(&TodoDeed::Reopen { id: id(todo) });
        desk.list_says(&[(0, Status::Completed)]);
        assert_eq!(desk.todos.state(todo), Some((2, Status::Pending)));
        let view = desk.view(todo);
        assert!(view.completed.is_none() && view.completed_by.is_none() && view.round == 2);
    }

    #[test]
    fn a_text_listed_again_after_it_was_done_is_shown_and_one_command_away() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        desk.to(&done(todo));
        desk.list_says(&[(0, Status::Pending)]);
        assert_eq!(desk.todos.state(todo), Some((1, Status::Completed)));
        let [conflict] = desk.conflicts(todo).try_into().expect("one conflict");
        assert_eq!((conflict.rule, conflict.local.value.json(), conflict.remote.value.json()), ("relisted", "completed", "pending"));
        desk.to(&TodoDeed::Resolve { id: id(todo), keep: Keeping::Remote });
        assert_eq!(desk.todos.state(todo), Some((2, Status::Pending)));
        assert!(!desk.view(todo).conflict);
        let refused = desk.try_to(&TodoDeed::Resolve { id: id(todo), keep: Keeping::Local }).expect_err("nothing is open");
        assert_eq!(refused.code, Code::ConflictNotFound);
    }

    #[test]
    fn what_was_settled_for_the_loser_stays_listed_and_can_be_undone() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        desk.to(&done(todo));
        desk.list_says(&[(0, Status::Pending)]);
        let [before] = desk.conflicts(todo).try_into().expect("one conflict");
        let keep = || TodoDeed::Resolve { id: before.id.to_string(), keep: Keeping::Remote };
        desk.to(&keep());
        let resolved = [Conflict { resolved: true, ..before.clone() }];
        assert_eq!(desk.conflicts(todo), resolved);
        desk.list_says(&[(0, Status::InProgress)]);
        assert_eq!(desk.conflicts(todo), resolved, "also after the list went on");
        desk.to(&undo(todo));
        assert_eq!((desk.conflicts(todo), desk.view(todo).status), (vec![before.clone()], Status::Completed));
        assert!(desk.view(todo).conflict);
        desk.to(&keep());
        assert_eq!((desk.view(todo).conflict, desk.view(todo).round), (false, 3));
        // Of a field, too: the loser's text goes where the items go.
        let own = |n: u8, at| {
            let deed =
                TodoDeed::Edit { id: id(todo), content: None, owner: Some(["", "sam", "eva"][usize::from(n)].into()), priority: None };
            let by = By { device: device(n), agent: None, session: None };
            decide(&desk.todos, &deed, &by, Stamp::at(at), ActId::of(&[&[n]])).expect("an edit").facts
        };
        own(1, 900).into_iter().chain(own(2, 901)).for_each(|fact| desk.todos.learn(fact));
        let before = desk.conflicts(todo).into_iter().find(|conflict| conflict.field == "owner").expect("two owners");
        desk.count = 1_000;
        desk.to(&TodoDeed::Resolve { id: before.id.to_string(), keep: Keeping::Remote });
        let conflicts = desk.conflicts(todo);
        assert!(conflicts.contains(&Conflict { resolved: true, ..before }) && conflicts.len() == 2, "{conflicts:?}");
    }

    #[test]
    fn a_deleted_text_that_a_list_still_has_stays_hidden_and_counted() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        desk.to(&TodoDeed::Delete { id: id(todo) });
        desk.list_says(&[(0, Status::Pending)]);
        let view = desk.view(todo);
        assert!(view.deleted && view.relisted == 1 && view.conflict);
        assert_eq!(desk.conflicts(todo)[0].rule, "deleted-stays");
        desk.to(&TodoDeed::Reopen { id: id(todo) });
        assert!(!desk.view(todo).deleted);
    }

    #[test]
    fn a_delete_follows_its_items_only_where_it_names_all_of_them() {
        let mut desk = Desk::default();
        desk.list_says(&[(0, Status::Pending)]);
        let general = todo_id(GENERAL, &"a".into());
        desk.to(&TodoDeed::Delete { id: id(general) });
        desk.todos.learn_session(session(0), Some("p"));
        let moved = todo_id("p", &"a".into());
        assert!(desk.view(moved).deleted, "all items of the new place were deleted");
        desk.to(&TodoDeed::Add { content: "a".into(), project: Some("p".into()), priority: None });
        let mut other = Desk::default();
        other.to(&TodoDeed::Add { content: "a".into(), project: Some("p".into()), priority: None });
        desk.todos
            .all()
            .into_iter()
            .filter(|fact| !matches!(fact, TodoFact::Act(_, ActFact { deed: Deed::Open { .. }, .. })))
            .for_each(|fact| other.todos.learn(fact));
        other.todos.learn_session(session(0), Some("p"));
        assert!(!other.view(moved).deleted, "somebody else's item there was not");
    }

    #[test]
    fn an_alias_moves_and_loses_nothing() {
        let mut desk = Desk::default();
        let old = desk.to(&TodoDeed::Add { content: "a".into(), project: Some("old".into()), priority: None }).todo;
        desk.to(&done(old));
        desk.todos.learn_alias("old", "new", Stamp::at(1), ActId::of(&[b"x"]));
        let new = todo_id("new", &"a".into());
        assert_eq!((desk.todos.find(old), desk.todos.state(new)), (Found::Elsewhere(new), Some((1, Status::Completed))));
        desk.todos.learn_alias("new", "newer", Stamp::at(2), ActId::of(&[b"y"]));
        assert_eq!(desk.todos.find(old), Found::Elsewhere(new), "one hop, never chained");
        assert!(desk.to(&TodoDeed::Add { content: "a".into(), project: Some("old".into()), priority: None }).todo == new);
    }

    #[test]
    fn names_are_any_unique_beginning_and_others_are_refused_with_what_helps() {
        let mut desk = Desk::default();
        let todos: Vec<TodoId> = (0..40).map(|n| desk.add(&format!("text {n}")).todo).collect();
        assert_eq!(desk.to(&TodoDeed::Start { id: todos[3].short(10).to_uppercase() }).todo, todos[3]);
        let several =
            desk.try_to(&TodoDeed::Start { id: "t-".to_owned() + &todos[0].short(1)[2..] }).expect_err("40 ids begin with 32 letters");
        let fits = todos.iter().filter(|todo| todo.begins_with(&todos[0].short(1))).count();
        assert!(if fits > 1 { several.code == Code::AmbiguousId && several.did_you_mean.len() == fits } else { false }, "{several:?}");
        let unknown = desk.try_to(&TodoDeed::Start { id: todos[0].short(8) + "zzzzzzzzz" }).expect_err("no such id");
        assert_eq!((unknown.code, unknown.fix.as_deref()), (Code::TodoNotFound, Some("hubless todos list")));
        assert!(unknown.did_you_mean.contains(&todos[0].short(8)));
        assert_eq!(desk.try_to(&TodoDeed::Start { id: String::new() }).expect_err("no name").code, Code::TodoNotFound);
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_fix() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        assert_eq!(desk.try_to(&undo(todo)).expect_err("only added").code, Code::NothingToUndo);
        desk.to(&done(todo));
        let start = desk.try_to(&TodoDeed::Start { id: id(todo) }).expect_err("it is done");
        assert_eq!((start.code, start.fix), (Code::BadRequest, Some(format!("hubless todos reopen {}", todo.short(8)))));
        for blank in [
            TodoDeed::Add { content: " ".into(), project: None, priority: None },
            edit(todo, "\t"),
            TodoDeed::Edit { id: id(todo), content: None, owner: None, priority: None },
        ] {
            assert_eq!(desk.try_to(&blank).expect_err("nothing is said").code, Code::BadRequest, "{blank:?}");
        }
    }

    #[test]
    fn an_action_outranks_lists_and_a_blank_owner_is_nobody() {
        let mut desk = Desk::default();
        let todo = desk.to(&TodoDeed::Add { content: "a".into(), project: None, priority: Some("high".into()) }).todo;
        assert_eq!(desk.view(todo).priority, Some("high".into()));
        let own = |owner: &str| TodoDeed::Edit { id: id(todo), content: None, owner: Some(owner.into()), priority: None };
        desk.to(&own("sam"));
        assert_eq!((desk.view(todo).owner, desk.todos.field_rev(todo, Field::Owner)), (Some("sam".into()), 1));
        desk.to(&own(""));
        assert_eq!((desk.view(todo).owner, desk.todos.field_rev(todo, Field::Owner)), (None, 2));
    }

    #[test]
    fn an_edit_takes_along_what_was_only_said_of_the_name() {
        let mut desk = Desk::default();
        let todo = desk.add("a").todo;
        // What completed it names the todo, and an item that is not known here.
        let items = BTreeSet::from([ItemId::of(&[b"unknown"])]);
        let by = By { device: device(1), agent: None, session: None };
        let deed = Deed::Mark { round: 1, status: Status::Completed };
        desk.todos.learn(TodoFact::Act(ActId::of(&[b"x"]), ActFact { todo, items, deed, by, at: Stamp::at(1), undoes: None, asked: None }));
        assert_eq!(desk.todos.state(todo), Some((1, Status::Completed)));
        let now = desk.to(&edit(todo, "b")).todo;
        assert_eq!(desk.todos.state(now), Some((1, Status::Completed)));
        assert_eq!(desk.to(&undo(now)).todo, todo);
        assert_eq!(desk.todos.state(todo), Some((1, Status::Completed)), "the edit is undone, not the completion");
    }
}
