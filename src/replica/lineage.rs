//! Whether a checked change follows from the document it is for: what `guard` cannot know from its bytes alone.
//!
//! The library asks for none of this (automerge 0.12.0). A change that overwrites an operation which is not there, or which
//! is on another key, is applied without complaint, and from then on the document saves to a file that does not load; a gap
//! in an actor's sequence panics; a counter ahead of its dependencies' brings every later edit nearer to the panic at
//! `u32::MAX`. What is demanded here is what the library itself does when it writes: sequence and counters go on from the
//! change's own dependencies, so every replica decides alike.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ActorId, Automerge, Change, ChangeHash, ExpandedChange, ObjId, ReadDoc};

use super::genesis;
use super::guard::{Checked, Overwritten, Unfit, fits};
use crate::model::limits::HEADS_MAX;

/// What may be applied now, and what never may.
#[derive(Debug, Default)]
pub struct Ready {
    /// In this order, dependencies first.
    pub changes: Vec<Checked>,
    /// With the reason; they are out of `waiting`, too.
    pub unfit: Vec<(ChangeHash, Unfit)>,
}

/// Takes out of `waiting` what `doc` can take now. What lacks a dependency stays; so does what overwrites an operation that
/// has not come, which no honest change does. Costs O(n log n) for n waiting changes.
#[must_use]
pub fn ready(doc: &Automerge, waiting: &mut BTreeMap<ChangeHash, Checked>) -> Ready {
    waiting.retain(|hash, _| !holds(doc, hash));
    let (mut open, mut dependents) = waits(doc, waiting);
    let mut next: BTreeSet<ChangeHash> = waiting.keys().filter(|hash| !open.contains_key(*hash)).copied().collect();
    let mut line = Line { doc, links: BTreeMap::new(), writers: BTreeMap::new() };
    let mut ready = Ready::default();
    let mut refused: BTreeSet<ChangeHash> = BTreeSet::new();
    while let Some(hash) = next.pop_first() {
        let Some(change) = waiting.get(&hash) else { continue };
        let follows_refused = change.deps().iter().any(|dep| refused.contains(dep));
        match if follows_refused { Err(Unfit::Follows) } else { line.judge(change, &ready.changes) } {
            Ok(false) => continue,
            Ok(true) => {
                line.take(change, ready.changes.len());
                ready.changes.extend(waiting.remove(&hash));
            }
            Err(why) => {
                refused.insert(hash);
                waiting.remove(&hash);
                ready.unfit.push((hash, why));
            }
        }
        for dependent in dependents.remove(&hash).unwrap_or_default() {
            if let Some(left) = open.get_mut(&dependent) {
                *left -= 1;
                if *left == 0 {
                    next.insert(dependent);
                }
            }
        }
    }
    ready
}

/// How many dependencies each waiting change lacks, and who waits for whom.
fn waits(doc: &Automerge, waiting: &BTreeMap<ChangeHash, Checked>) -> (BTreeMap<ChangeHash, usize>, BTreeMap<ChangeHash, Vec<ChangeHash>>) {
    let mut open: BTreeMap<ChangeHash, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<ChangeHash, Vec<ChangeHash>> = BTreeMap::new();
    for (hash, change) in waiting {
        for dep in change.deps().iter().filter(|dep| waiting.contains_key(*dep) || !holds(doc, dep)) {
            *open.entry(*hash).or_default() += 1;
            dependents.entry(*dep).or_default().push(*hash);
        }
    }
    (open, dependents)
}

fn holds(doc: &Automerge, hash: &ChangeHash) -> bool {
    doc.get_change_meta_by_hash(hash).is_some()
}

/// What a change's successors go on from.
struct Link {
    actor: ActorId,
    seq: u64,
    max_op: u64,
}

/// The document, and the changes that are ready to be applied to it.
struct Line<'a> {
    doc: &'a Automerge,
    links: BTreeMap<ChangeHash, Link>,
    /// Which of the ready changes begins at which operation, by (actor, counter of the first).
    writers: BTreeMap<(ActorId, u64), usize>,
}

impl Line<'_> {
    fn take(&mut self, change: &Checked, at: usize) {
        let link = Link { actor: change.change().actor_id().clone(), seq: change.change().seq(), max_op: change.max_op() };
        if change.ops() > 0 {
            self.writers.insert((link.actor.clone(), change.start_op()), at);
        }
        self.links.insert(change.change().hash(), link);
    }

    /// Whether a change whose dependencies are all known may follow; false when an operation that it overwrites is missing.
    fn judge(&self, change: &Checked, ready: &[Checked]) -> Result<bool, Unfit> {
        let (mut max_op, mut own_seq) = (0, 0);
        for dep in change.deps() {
            let known = self.links.get(dep).map(|link| (link.max_op, link.seq, link.actor == *change.change().actor_id()));
            let in_doc = || {
                let meta = self.doc.get_change_meta_by_hash(dep)?;
                Some((meta.max_op, meta.seq, *meta.actor == *change.change().actor_id()))
            };
            let (dep_max_op, seq, own) = known.or_else(in_doc).ok_or(Unfit::Discontinuous)?;
            max_op = max_op.max(dep_max_op);
            own_seq = if own { own_seq.max(seq) } else { own_seq };
        }
        // The library names an actor's own last change among the dependencies even when it is no head.
        if !fits(change, max_op) || change.change().seq() != own_seq + 1 {
            return Err(Unfit::Discontinuous);
        }
        for overwritten in change.overwritten() {
            match self.overwrites(change, overwritten, ready) {
                Some(true) => {}
                Some(false) => return Err(Unfit::Overwrite),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether an overwritten operation is on the key of the put that overwrites it; `None` when it is not there.
    fn overwrites(&self, change: &Checked, overwritten: &Overwritten, ready: &[Checked]) -> Option<bool> {
        let Overwritten { put, counter, actor } = overwritten;
        let key = &change.puts()[*put].0;
        let is_on_key = |writer: &Checked| {
            let at = usize::try_from(counter.checked_sub(writer.start_op())?).ok()?;
            writer.puts().get(at).map(|(other, _)| other == key)
        };
        if actor == change.change().actor_id() && *counter >= change.start_op() {
            return is_on_key(change);
        }
        let before = self.writers.range((actor.clone(), 0)..=(actor.clone(), *counter)).next_back();
        if let Some(on_key) = before.and_then(|(_, at)| is_on_key(&ready[*at])) {
            return Some(on_key);
        }
        let id = ObjId::Id(*counter, actor.clone(), 0);
        let writer = self.doc.hash_for_opid(&id)?;
        let name = key.to_string();
        let then = self.doc.get_all_at(genesis::bucket_object(genesis::bucket(&name)), name, &[writer]).ok()?;
        Some(then.iter().any(|(_, other)| *other == id))
    }
}

/// The change that joins some of a document's heads when they are more than [`HEADS_MAX`], so that none of our changes names
/// more dependencies than others take; `None` when there is no need. To be applied, and asked for again. It writes nothing.
///
/// The library cannot make it: a transaction at chosen heads gets another actor and a counter ahead of its dependencies'.
#[must_use]
pub fn joining(doc: &Automerge) -> Option<Change> {
    let heads = doc.get_heads();
    if heads.len() <= HEADS_MAX {
        return None;
    }
    // The library forgets that an actor has written when all it wrote was applied, as these changes are.
    let own = doc.get_changes_meta(&[]).into_iter().filter(|meta| *meta.actor == *doc.get_actor());
    let last = own.max_by_key(|meta| meta.seq).map(|meta| (meta.hash, meta.seq));
    let mut deps: BTreeSet<ChangeHash> = heads.into_iter().take(HEADS_MAX).collect();
    deps.extend(last.map(|(hash, _)| hash));
    let max_op = deps.iter().filter_map(|dep| doc.get_change_meta_by_hash(dep)).map(|meta| meta.max_op).max()?;
    Some(Change::from(ExpandedChange {
        operations: Vec::new(),
        actor_id: doc.get_actor().clone(),
        author: None,
        hash: None,
        seq: last.map_or(1, |(_, seq)| seq + 1),
        start_op: std::num::NonZeroU64::new(max_op + 1)?,
        time: 0,
        message: None,
        deps: deps.into_iter().collect(),
        extra_bytes: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{busy, document, one_change, put, seen, twisted};
    use super::*;
    use crate::model::fact::FactKey;
    use crate::model::limits::CHANGE_DEPS_MAX;
    use automerge::legacy::OpId;
    use quickcheck::QuickCheck;

    fn checked(change: &Change) -> (ChangeHash, Checked) {
        (change.hash(), one_change(change.raw_bytes()).unwrap())
    }

    fn apply(doc: &mut Automerge, ready: Ready) {
        doc.apply_changes(ready.changes.into_iter().map(Checked::into_change).collect::<Vec<_>>()).unwrap();
    }

    #[test]
    fn changes_in_any_order_and_any_portions_come_to_the_same_document() {
        fn law(order: Vec<u8>, portion: u8) -> bool {
            thread_local! {
                static DOC: Automerge = busy();
                static CHANGES: Vec<(ChangeHash, Checked)> = DOC.with(|doc| doc.get_changes(&[])[1..].iter().map(checked).collect());
            }
            let mut shuffled: Vec<_> = CHANGES.with(Clone::clone).into_iter().enumerate().collect();
            shuffled.sort_by_key(|(at, change)| (order.get(*at).copied().unwrap_or(7), change.0));
            let (mut doc, mut waiting) = (document(8), BTreeMap::new());
            for some in shuffled.chunks(usize::from(portion % 50) + 1) {
                waiting.extend(some.iter().map(|(_, change)| change.clone()));
                let ready = ready(&doc, &mut waiting);
                assert_eq!(ready.unfit, vec![]);
                apply(&mut doc, ready);
            }
            waiting.is_empty() && DOC.with(|all| all.get_heads()) == doc.get_heads()
        }
        QuickCheck::new().tests(60).quickcheck(law as fn(_, _) -> bool);
    }

    #[test]
    fn a_long_chain_told_backwards_is_taken_at_once() {
        let mut doc = document(1);
        let mut waiting: BTreeMap<_, _> =
            (0..500).map(|n| checked(&put(&mut doc, &[(seen(n % 7), &format!("{{\"rev\":{n}}}"))]))).collect();
        let mut other = document(2);
        let ready = ready(&other, &mut waiting);
        assert_eq!((ready.changes.len(), ready.unfit.len(), waiting.len()), (500, 0, 0));
        apply(&mut other, ready);
        assert_eq!(other.get_heads(), doc.get_heads());
    }

    /// A document, and a change of actor 9 on it that overwrites the fact `seen(1)`.
    fn scene() -> (Automerge, Change) {
        let mut doc = document(1);
        put(&mut doc, &[(seen(1), "{\"a\":1}"), (seen(2), "{\"a\":2}")]);
        let mut other = doc.clone();
        other.set_actor(ActorId::from([9; 16]));
        let change = put(&mut other, &[(seen(1), "{\"a\":3}")]);
        (doc, change)
    }

    fn judged(doc: &Automerge, bytes: &[u8]) -> (usize, Vec<Unfit>, usize) {
        let change = one_change(bytes).unwrap();
        let mut waiting = [(ChangeHash(change.hash()), change)].into();
        let ready = ready(doc, &mut waiting);
        (ready.changes.len(), ready.unfit.into_iter().map(|(_, why)| why).collect(), waiting.len())
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let (doc, change) = scene();
        assert_eq!(judged(&doc, change.raw_bytes()), (1, vec![], 0));
        let start = |n: u64| std::num::NonZeroU64::new(n).unwrap();
        let broken = (0, vec![Unfit::Discontinuous], 0);
        assert_eq!(judged(&doc, &twisted(&change, |c| c.seq = 2)), broken);
        assert_eq!(judged(&doc, &twisted(&change, |c| c.start_op = start(260))), broken);
        let no_pred = |c: &mut ExpandedChange| c.operations[0].pred = vec![].into();
        assert_eq!(judged(&doc, &twisted(&change, |c| (c.start_op = start(257), no_pred(c)).0)), broken);
        // As the author of the document's last change, with a sequence number that is taken.
        assert_eq!(judged(&doc, &twisted(&change, |c| c.actor_id = ActorId::from([1; 16]))), broken);
    }

    #[test]
    fn overwriting_on_another_key_is_refused_for_it_would_cost_the_document() {
        let (doc, change) = scene();
        let other_key = twisted(&change, |c| c.operations[0].pred = vec![OpId(258, ActorId::from([1; 16]))].into());
        assert_eq!(judged(&doc, &other_key), (0, vec![Unfit::Overwrite], 0));
        // What the library does with it: it takes it, and saves what it cannot load.
        let mut poisoned = doc.clone();
        poisoned.apply_changes([Change::from_bytes(other_key).unwrap()]).unwrap();
        assert!(Automerge::load(&poisoned.save()).is_err());
        // Within the same message, and within the same change.
        let mut both = doc.clone();
        let first = put(&mut both, &[(seen(3), "{}"), (seen(4), "{}")]);
        let second = put(&mut both, &[(seen(4), "{\"a\":1}"), (seen(4), "{\"a\":2}")]);
        let mut waiting: BTreeMap<_, _> = [checked(&first), checked(&second)].into();
        assert_eq!(ready(&doc, &mut waiting).changes.len(), 2);
        let id = |counter| vec![OpId(counter, ActorId::from([1; 16]))].into();
        let crossed = twisted(&second, |c| c.operations[0].pred = id(first.start_op().get()));
        let mut waiting: BTreeMap<_, _> = [checked(&first), checked(&Change::from_bytes(crossed).unwrap())].into();
        let taken = ready(&doc, &mut waiting);
        assert_eq!((taken.changes.len(), taken.unfit[0].1.clone()), (1, Unfit::Overwrite));
    }

    #[test]
    fn what_overwrites_the_unknown_waits_and_what_follows_the_refused_is_refused() {
        let (doc, change) = scene();
        for (counter, actor) in [(257, 7), (258, 9)] {
            let unknown = twisted(&change, |c| c.operations[0].pred = vec![OpId(counter, ActorId::from([actor; 16]))].into());
            assert_eq!(judged(&doc, &unknown), (0, vec![], 1));
        }
        let gap = Change::from_bytes(twisted(&change, |c| c.seq = 2)).unwrap();
        let after = twisted(&change, |c| (c.seq, c.deps, c.start_op) = (3, vec![gap.hash()], std::num::NonZeroU64::new(260).unwrap()));
        let mut waiting: BTreeMap<_, _> = [checked(&gap), checked(&Change::from_bytes(after).unwrap())].into();
        let ready = ready(&doc, &mut waiting);
        assert_eq!(ready.unfit.iter().map(|(_, why)| why.clone()).collect::<Vec<_>>(), vec![Unfit::Discontinuous, Unfit::Follows]);
        assert!(waiting.is_empty() && ready.changes.is_empty());
    }

    #[test]
    fn a_change_waits_for_its_dependency() {
        let mut doc = document(1);
        put(&mut doc, &[(seen(1), "{}")]);
        let second = put(&mut doc, &[(seen(1), "{\"a\":1}")]);
        assert_eq!(judged(&document(2), second.raw_bytes()), (0, vec![], 1));
        assert_eq!(judged(&doc, second.raw_bytes()), (0, vec![], 0));
    }

    #[test]
    fn many_heads_are_joined_by_changes_that_others_take() {
        let mut doc = document(1);
        put(&mut doc, &[(seen(1), "{}")]);
        for n in 0..450u64 {
            let mut other = document(2);
            other.set_actor(ActorId::from(&[[3; 8], n.to_be_bytes()].concat()[..]));
            let facts: Vec<(FactKey, String)> = (0..n % 5).map(|m| (seen(100 + m), format!("{{\"rev\":{n}}}"))).collect();
            put(&mut other, &[(seen(1), "{}"), (seen(n), "{}")]);
            put(&mut other, &facts.iter().map(|(key, value)| (key.clone(), value.as_str())).collect::<Vec<_>>());
            doc.merge(&mut other).unwrap();
        }
        let mut other = doc.clone();
        let mut joined = 0;
        while let Some(change) = joining(&doc) {
            assert!(change.deps().len() <= CHANGE_DEPS_MAX && joined < 10);
            let ready = ready(&other, &mut [checked(&change)].into());
            assert_eq!((ready.changes.len(), ready.unfit.len()), (1, 0));
            apply(&mut other, ready);
            doc.apply_changes([change]).unwrap();
            joined += 1;
        }
        assert!(joined > 0 && doc.get_heads().len() <= HEADS_MAX);
        let last = put(&mut doc, &[(seen(1), "{\"last\":1}")]);
        let ready = ready(&other, &mut [checked(&last)].into());
        apply(&mut other, ready);
        assert_eq!(other.get_heads(), vec![last.hash()]);
        assert_eq!(Automerge::load(&other.save()).unwrap().get_heads(), other.get_heads());
    }
}
