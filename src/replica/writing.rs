//! One own change built from facts: the same change that the library's transaction would make, without the transaction.
//!
//! A transaction looks up the place of each fact and splices a dozen columns for it, 20 to 30 µs a fact; what others and our
//! own disk get is the change alone, and the library takes many changes at once at a third of that. What is built here is
//! spelled by the library itself, and a test holds it against what its transaction makes.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use automerge::legacy::{Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, Change, ChangeHash, ExpandedChange, ScalarValue};

use super::genesis;
use crate::model::fact::FactKey;
use crate::model::id::ItemId;

/// Where a change goes on.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Who writes.
    pub(super) actor: ActorId,
    /// The writer's last change and its number, if it has written.
    pub(super) last: Option<(ChangeHash, u64)>,
    /// The heads that it follows.
    pub(super) heads: Vec<ChangeHash>,
    /// The highest operation among them.
    pub(super) max_op: u64,
}

/// Builds the change that writes `facts`, each over the operations that `replaced` names for it.
pub(super) fn change(line: Line, facts: &[&(FactKey, String)], replaced: impl Fn(&FactKey, &str) -> Vec<OpId>) -> Change {
    let nobody = ActorId::from(&genesis::ACTOR[..]);
    let operation = |(key, value): &&(FactKey, String)| {
        let name = key.to_string();
        Op {
            action: OpType::Put(ScalarValue::Str(value.as_str().into())),
            obj: ObjectId::Id(OpId(u64::from(genesis::bucket(&name)) + 1, nobody.clone())),
            pred: replaced(key, &name).into(),
            insert: false,
            key: Key::Map(name.into()),
        }
    };
    let mut deps = line.heads;
    // The library names a writer's own last change even where it is no head.
    deps.extend(line.last.map(|(hash, _)| hash).filter(|hash| !deps.contains(hash)));
    Change::from(ExpandedChange {
        operations: facts.iter().map(operation).collect(),
        actor_id: line.actor,
        author: None,
        hash: None,
        seq: line.last.map_or(1, |(_, seq)| seq + 1),
        start_op: NonZeroU64::MIN.saturating_add(line.max_op),
        time: 0,
        message: None,
        deps,
        extra_bytes: Vec::new(),
    })
}

/// Each name once, in the order in which the names come: of a once fact the first value, of a latest one the last. A second put
/// of one name in one change would overwrite the first, which nobody takes of a once fact.
pub(super) fn once_each(facts: &[(FactKey, String)]) -> Vec<&(FactKey, String)> {
    let mut places: BTreeMap<&FactKey, usize> = BTreeMap::new();
    let mut each: Vec<&(FactKey, String)> = Vec::with_capacity(facts.len());
    for fact in facts {
        match places.get(&fact.0) {
            Some(_) if fact.0.is_once() => {}
            Some(at) => each[*at] = fact,
            None => {
                places.insert(&fact.0, each.len());
                each.push(fact);
            }
        }
    }
    each
}

/// Facts in portions of at most `most`, cut between items: the neighbouring facts of one item stay together.
pub(super) fn between_items(mut facts: &[(FactKey, String)], most: usize) -> Vec<&[(FactKey, String)]> {
    let mut portions = Vec::new();
    while facts.len() > most {
        let apart = |at: &usize| item(&facts[*at].0).is_none_or(|of| item(&facts[*at - 1].0) != Some(of));
        let cut = (1..=most).rev().find(apart).unwrap_or(most);
        let (portion, rest) = facts.split_at(cut);
        portions.push(portion);
        facts = rest;
    }
    portions.extend((!facts.is_empty()).then_some(facts));
    portions
}

/// The item that a fact is about.
pub(super) fn item(key: &FactKey) -> Option<ItemId> {
    match key {
        FactKey::Item(item) | FactKey::Rank(item, ..) | FactKey::Seen(item) => Some(*item),
        FactKey::Member(_)
        | FactKey::Device(_)
        | FactKey::Choice(_)
        | FactKey::Session(_)
        | FactKey::End(..)
        | FactKey::Beat(..)
        | FactKey::Act(_) => None,
    }
}
