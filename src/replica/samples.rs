//! Documents and changes that the tests of this room share: made by the library itself, or twisted.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, Change, ExpandedChange, ScalarValue};

use super::genesis;
use super::guard::{Checked, Unfit, changes};
use crate::model::fact::FactKey;
use crate::model::id::{Collection, ItemId};
use crate::model::todo::Status;

/// A document with the genesis change, whose edits are made by actor `n`.
pub(super) fn document(n: u8) -> Automerge {
    let mut doc = Automerge::new();
    doc.apply_changes([Change::from_bytes(genesis::genesis().0).unwrap()]).unwrap();
    doc.set_actor(ActorId::from([n; 16]));
    doc
}

pub(super) fn put(doc: &mut Automerge, facts: &[(FactKey, &str)]) -> Change {
    let mut tx = doc.transaction();
    for (key, value) in facts {
        let key = key.to_string();
        tx.put(genesis::bucket_object(genesis::bucket(&key)), &key, ScalarValue::Str((*value).into())).unwrap();
    }
    tx.commit_with(CommitOptions::default().with_time(1_793_000_000_123));
    doc.get_last_local_change().unwrap()
}

pub(super) fn seen(n: u64) -> FactKey {
    FactKey::Seen(ItemId::of(&[&n.to_le_bytes()]))
}

pub(super) fn rank(n: u64) -> FactKey {
    FactKey::Rank(ItemId::of(&[&n.to_le_bytes()]), 1 + n % 3, Status::Completed)
}

/// Several actors who write, merge and overwrite each other.
pub(super) fn busy() -> Automerge {
    let mut docs = [document(3), document(1), document(2)];
    for round in 0..6u64 {
        for (who, doc) in docs.iter_mut().enumerate() {
            let value = format!("{{\"rev\":{round},\"by\":{who}}}");
            put(doc, &[0, 1, 2, 3, 4].map(|n| (seen(n), value.as_str())));
            put(doc, &[(rank(round * 10 + who as u64), "{\"at\":\"größe\"}"), (seen(7), &value), (seen(7), "{}")]);
        }
        let mut other = docs[(round % 3) as usize].clone();
        docs[((round + 1) % 3) as usize].merge(&mut other).unwrap();
    }
    let [mut all, mut b, mut c] = docs;
    all.merge(&mut b).unwrap();
    all.merge(&mut c).unwrap();
    put(&mut all, &[(seen(1), "{\"last\":true}")]);
    all.empty_commit(CommitOptions::default().with_time(0));
    all
}

/// `change` with something else in it, spelled by the library.
pub(super) fn twisted(change: &Change, twist: impl FnOnce(&mut ExpandedChange)) -> Vec<u8> {
    let mut expanded = change.decode();
    twist(&mut expanded);
    Change::from(expanded).raw_bytes().to_vec()
}

pub(super) fn one_change(bytes: &[u8]) -> Result<Checked, Unfit> {
    changes(Collection::Todos, bytes).map(|mut all| all.remove(0))
}
