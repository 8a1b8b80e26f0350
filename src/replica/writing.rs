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

/// Each name once, in the order in which the names come: of a once fact the first value, of a latest one the last,
/// for revisions rise. A second put
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
        | FactKey::Tag(..)
        | FactKey::Beat(..)
        | FactKey::Act(_)
        | FactKey::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use automerge::transaction::{CommitOptions, Transactable};
    use automerge::{Automerge, ReadDoc};
    use quickcheck::{QuickCheck, quickcheck};

    use super::super::document::Document;
    use super::super::guard;
    use super::super::samples::{document, rank, seen};
    use super::*;
    use crate::model::id::Collection;

    fn fact(n: u8, rev: usize) -> (FactKey, String) {
        let key = if n.is_multiple_of(3) { rank(u64::from(n % 9)) } else { seen(u64::from(n % 9)) };
        (key, format!("{{\"rev\":{rev},\"x\":\"ü\"}}"))
    }

    /// What the library's own transaction makes of the same facts; nothing when none is new.
    fn transacted(doc: &mut Automerge, facts: &[(FactKey, String)]) -> Vec<u8> {
        let before = doc.get_heads();
        let mut tx = doc.transaction();
        for (key, value) in once_each(facts) {
            let name = key.to_string();
            let bucket = genesis::bucket_object(genesis::bucket(&name));
            if !key.is_once() || tx.get_all(&bucket, &name).unwrap().is_empty() {
                tx.put(&bucket, name, value.as_str()).unwrap();
            }
        }
        tx.commit_with(CommitOptions::default().with_time(0));
        doc.get_changes(&before).iter().flat_map(|change| change.raw_bytes().to_vec()).collect()
    }

    /// In any interleaving with another writer and with looks into the document.
    #[test]
    fn what_is_built_is_what_a_transaction_makes_and_passes_the_guard() {
        fn law(steps: Vec<(u8, Vec<u8>)>) -> bool {
            let (mut ours, mut plain) = (Document::born([1; 16]), document(1));
            let mut other = Document::born([2; 16]);
            let mut file = genesis::genesis().0;
            for (rev, (what, of)) in steps.iter().enumerate() {
                let facts: Vec<_> = of.iter().map(|n| fact(*n, rev)).collect();
                let told = if what % 4 == 0 {
                    let theirs = other.put(&facts);
                    ours.apply(guard::changes(Collection::Todos, &theirs).unwrap()).unwrap();
                    let changes = guard::changes(Collection::Todos, &theirs).unwrap();
                    plain.apply_changes(changes.into_iter().map(guard::Checked::into_change).collect::<Vec<_>>()).unwrap();
                    theirs
                } else {
                    let built = ours.put(&facts);
                    assert_eq!(built, transacted(&mut plain, &facts));
                    if what % 3 == 0 {
                        other.apply(guard::changes(Collection::Todos, &built).unwrap()).unwrap();
                    }
                    built
                };
                if what % 5 == 0 {
                    ours.settle();
                }
                file.extend(told);
            }
            let loaded = Document::load(&file, [3; 16]).unwrap();
            let same = |key: &FactKey| ours.values(key) == loaded.values(key);
            let heads: Vec<_> = plain.get_heads().iter().map(|head| head.0).collect();
            (ours.heads(), ours.keys()) == (loaded.heads(), loaded.keys()) && ours.heads() == heads && ours.keys().iter().all(same)
        }
        QuickCheck::new().tests(30).quickcheck(law as fn(_) -> _);
    }

    quickcheck! {
        fn portions_are_all_of_it_and_cut_no_item(of: Vec<(u8, u8)>, most: u8) -> bool {
            let most = usize::from(most % 7) + 2;
            let facts: Vec<(FactKey, String)> =
                of.iter().flat_map(|(n, value)| [(seen(u64::from(*n)), value.to_string()), (rank(u64::from(*n)), value.to_string())]).collect();
            let portions = between_items(&facts, most);
            let run = |at: usize| facts[..at].iter().rev().take_while(|(key, _)| item(key) == item(&facts[at].0)).count();
            let mut at = 0;
            let cuts_none = portions.iter().all(|portion| {
                let fine = at == 0 || item(&facts[at].0) != item(&facts[at - 1].0) || run(at) >= most;
                at += portion.len();
                fine
            });
            cuts_none && portions.concat() == facts && portions.iter().all(|portion| !portion.is_empty() && portion.len() <= most)
        }
    }

    #[test]
    fn what_stands_there_alone_is_not_written_again() {
        let (mut ours, mut plain) = (Document::born([1; 16]), document(1));
        let all = [fact(1, 1), fact(3, 1)];
        assert_eq!(ours.put(&all), transacted(&mut plain, &all));
        assert_eq!((ours.put(&all), transacted(&mut plain, &all)), (Vec::new(), Vec::new()));
    }

    /// The library would take the other value away, and a change that takes something away passes no guard.
    #[test]
    fn one_of_several_values_is_written_over_all_of_them() {
        let (mut ours, mut other) = (Document::born([1; 16]), Document::born([2; 16]));
        let checked = |bytes: &[u8]| guard::changes(Collection::Todos, bytes);
        let (one, two) = ([fact(1, 1)], [fact(1, 2)]);
        ours.put(&one);
        ours.apply(checked(&other.put(&two)).unwrap()).unwrap();
        assert_eq!(ours.values(&one[0].0).len(), 2);
        let written = checked(&ours.put(&two)).unwrap();
        assert_eq!((written[0].ops(), written[0].overwritten().len(), ours.values(&two[0].0)), (1, 2, vec![two[0].1.clone()]));
        let mut plain = document(3);
        let take = |doc: &mut Automerge, bytes: &[u8]| {
            doc.apply_changes(checked(bytes).unwrap().into_iter().map(guard::Checked::into_change).collect::<Vec<_>>()).unwrap();
        };
        take(&mut plain, &Document::born([1; 16]).put(&one));
        take(&mut plain, &Document::born([2; 16]).put(&two));
        assert!(checked(&transacted(&mut plain, &two)).is_err(), "why it is built here");
    }

    #[test]
    fn of_two_values_of_one_name_the_first_stays_for_ever_and_the_last_is_the_latest() {
        let all = [(rank(1), "a".to_owned()), (seen(1), "b".to_owned()), (rank(1), "c".to_owned()), (seen(1), "d".to_owned())];
        let each: Vec<&str> = once_each(&all).into_iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(each, ["a", "d"]);
    }
}
