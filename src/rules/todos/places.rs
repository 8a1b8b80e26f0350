//! An item is at exactly one place: (project, text); the facts say which, whatever came first.
//!
//! The project is the item's own, else that of its session or of the person's list, else `general`; then the alias of
//! that project, one hop. The text is that of the highest edit that names the item, else its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::id::{ActId, DeviceId, ItemId, SessionId, TodoId};
use crate::model::text::Foreign;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, Deed, Field, GENERAL, ItemFact, List, todo_id};
use crate::rules::projects::Aliases;

/// Where an item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The todo that holds it.
    pub(super) todo: TodoId,
    /// The project's key, after its alias.
    pub(super) project: String,
    /// What the item says now, as it was written.
    pub(super) text: Foreign,
    /// The project's key before its alias.
    base: String,
}

impl Place {
    pub(super) fn of(item: &ItemFact, edit: Option<&Foreign>, sessions: &BTreeMap<SessionId, String>, aliases: &Aliases) -> Place {
        let base = match (&item.project, &item.list) {
            (Some(project), _) => project,
            (None, List::Session { session, .. }) => sessions.get(session).map_or(GENERAL, String::as_str),
            (None, List::Named { .. }) => GENERAL,
            (None, List::Person { project }) => project,
        };
        let project = aliases.aliased(base);
        let text = edit.unwrap_or(&item.text);
        Place { todo: todo_id(project, text), project: project.to_owned(), text: text.clone(), base: base.to_owned() }
    }
}

/// An edit of the text; the highest of those that name an item counts (T6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edit<'a> {
    rev: u64,
    at: Stamp,
    device: DeviceId,
    id: ActId,
    /// What the items it names say by it.
    pub(super) text: &'a Foreign,
}

/// The edit of the text that an action is, if it is one. A blank text is none: nobody could name the todo any more.
pub(super) fn edit(id: ActId, act: &ActFact) -> Option<Edit<'_>> {
    match &act.deed {
        Deed::Set { field: Field::Content, value, rev } if !value.is_blank() => {
            Some(Edit { rev: *rev, at: act.at, device: act.by.device, id, text: value })
        }
        Deed::Set { .. }
        | Deed::Tag { .. }
        | Deed::Mark { .. }
        | Deed::Open { .. }
        | Deed::Delete { .. }
        | Deed::Asked
        | Deed::Resolve { .. } => None,
    }
}

/// Where everything is, and which facts name what: each kept up to date, each a function of the facts alone.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) places: BTreeMap<ItemId, Place>,
    pub(super) held: BTreeMap<TodoId, BTreeSet<ItemId>>,
    /// Todo → items with ranks that name it.
    pub(super) ranks_of: BTreeMap<TodoId, BTreeSet<ItemId>>,
    /// Todo → actions that name it.
    pub(super) acts_of: BTreeMap<TodoId, BTreeSet<ActId>>,
    /// Item → actions that name it.
    pub(super) acts_on: BTreeMap<ItemId, BTreeSet<ActId>>,
    pub(super) by_session: BTreeMap<SessionId, BTreeSet<ItemId>>,
    pub(super) by_list: BTreeMap<List, BTreeSet<ItemId>>,
    /// Project before its alias → items.
    pub(super) by_base: BTreeMap<String, BTreeSet<ItemId>>,
    /// Item → items that once said they wait for it.
    pub(super) waits_for: BTreeMap<ItemId, BTreeSet<ItemId>>,
}

impl Index {
    /// Notes in which list an item is.
    pub(super) fn list(&mut self, id: ItemId, old: Option<&ItemFact>, new: &ItemFact) {
        if let Some(old) = old {
            take(&mut self.by_list, &old.list, id);
            if let List::Session { session, .. } = &old.list {
                take(&mut self.by_session, session, id);
            }
        }
        self.by_list.entry(new.list.clone()).or_default().insert(id);
        if let List::Session { session, .. } = &new.list {
            self.by_session.entry(*session).or_default().insert(id);
        }
    }

    /// Puts an item at a place; `None` when it was there already, else the todo that held it before.
    pub(super) fn put(&mut self, item: ItemId, place: Place) -> Option<Option<TodoId>> {
        let old = self.places.get(&item);
        if old == Some(&place) {
            return None;
        }
        let before = old.map(|old| old.todo);
        if let Some(old) = old {
            take(&mut self.held, &old.todo, item);
            take(&mut self.by_base, &old.base, item);
        }
        self.held.entry(place.todo).or_default().insert(item);
        self.by_base.entry(place.base.clone()).or_default().insert(item);
        self.places.insert(item, place);
        Some(before)
    }
}

fn take<K: Ord>(of: &mut BTreeMap<K, BTreeSet<ItemId>>, key: &K, item: ItemId) {
    if let Some(items) = of.get_mut(key) {
        items.remove(&item);
        if items.is_empty() {
            of.remove(key);
        }
    }
}
