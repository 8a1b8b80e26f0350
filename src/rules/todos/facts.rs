//! The facts of todos, joined as they come.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::id::{ActId, ConflictId, ItemId, SessionId, TodoId};
use crate::model::text::Foreign;
use crate::model::todo::{ActFact, ItemFact, RankFact, SeenFact, Status};
use crate::rules::projects::Aliases;

use super::places::{self, Place};

/// The facts themselves, each kind joined as DESIGN §4 says.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) items: BTreeMap<ItemId, ItemFact>,
    pub(super) ranks: BTreeMap<ItemId, BTreeSet<(u64, Status, RankFact)>>,
    /// All values of one name count (DESIGN §4): a second, lower one must not take back what the first one did.
    pub(super) acts: BTreeMap<ActId, BTreeSet<ActFact>>,
    pub(super) seen: BTreeMap<ItemId, SeenFact>,
    pub(super) sessions: BTreeMap<SessionId, String>,
    pub(super) aliases: Aliases,
    /// Conflict → the actions that settle it.
    pub(super) resolves: BTreeMap<ConflictId, BTreeSet<ActId>>,
    /// Actions that were taken back.
    pub(super) undone: BTreeSet<ActId>,
}

impl Facts {
    pub(super) fn place(&self, item: &ItemFact, edit: Option<&Foreign>) -> Place {
        Place::of(item, edit, &self.sessions, &self.aliases)
    }

    pub(super) fn all_acts(&self) -> impl Iterator<Item = (ActId, &ActFact)> {
        self.acts.iter().flat_map(|(id, values)| values.iter().map(|fact| (*id, fact)))
    }

    pub(super) fn all_places(&self) -> BTreeMap<ItemId, Place> {
        let mut edits: BTreeMap<ItemId, places::Edit<'_>> = BTreeMap::new();
        for (id, fact) in self.all_acts() {
            let Some(edit) = places::edit(id, fact) else { continue };
            for item in &fact.items {
                let best = edits.entry(*item).or_insert(edit);
                *best = edit.max(*best);
            }
        }
        self.items.iter().map(|(id, fact)| (*id, self.place(fact, edits.get(id).map(|edit| edit.text)))).collect()
    }

    /// Todo → the items that facts named under it.
    pub(super) fn all_named(&self) -> BTreeMap<TodoId, BTreeSet<ItemId>> {
        let mut named: BTreeMap<TodoId, BTreeSet<ItemId>> = BTreeMap::new();
        for (item, ranks) in &self.ranks {
            for (_, _, rank) in ranks {
                named.entry(rank.todo).or_default().insert(*item);
            }
        }
        for (_, act) in self.all_acts() {
            named.entry(act.todo).or_default().extend(&act.items);
        }
        named
    }

    /// Whether somebody settled a conflict and nobody took that back.
    pub(super) fn is_resolved(&self, conflict: ConflictId) -> bool {
        self.resolves.get(&conflict).is_some_and(|acts| acts.iter().any(|act| !self.undone.contains(act)))
    }
}
