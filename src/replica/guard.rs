//! What foreign bytes must look like before automerge may see them. Whether a change is fit depends on its bytes and its
//! ancestors alone, so every replica decides alike; nothing here can panic, and nothing costs more than a fixed allowance.
//!
//! Why so strict (automerge 0.12.0): ten bytes of a bloom filter make the next message panic, sixteen ask for 16 GiB, 255
//! KiB inflate to 256 MiB, and a change whose counter is `u32::MAX` makes every later edit panic (P2P A.6, RELIABILITY E12,
//! E14). And the library forgets a change's bytes and writes them anew from its operations, so a change that is not spelled
//! as the library spells it would come out with another hash. So a change is taken only if it holds facts and nothing else,
//! in the one spelling; only this file can make a [`Checked`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use automerge::sync::{ChunkList, Message};
use automerge::{ActorId, Change, ChangeHash, ExpandedChange, ScalarValue, legacy};

use super::chunks::{self, Broken, Raw, Reader, each_run};
use super::genesis;
use crate::model::fact::FactKey;
use crate::model::id::Collection;
use crate::model::limits::{CHANGE_DEPS_MAX, CHANGE_OPS_MAX, FACT_BYTES_MAX, INFLATED_BYTES_MAX, MESSAGE_BYTES_MAX, OP_COUNTER_MAX};

/// Summaries in one sync message; the library sends one, and two after a lost state.
const HAVES_MAX: u64 = 4;
/// Hashes in one list of a sync message; honest heads are merged in steps above 200.
const HASHES_MAX: usize = 1_024;
/// Bits per entry of a bloom filter; the library writes 10.
const BLOOM_BITS_MAX: u64 = 64;
/// Probes per entry of a bloom filter; the library writes 7.
const BLOOM_PROBES_MAX: u64 = 32;
/// Bytes of a change's message; we write none.
const COMMENT_BYTES_MAX: usize = 1_024;
/// Bytes of one fact's key; the longest name an agent key with two ids.
const KEY_BYTES_MAX: usize = 17 * 1024;
/// Earlier operations that one change may overwrite.
const PREDS_MAX: u64 = 100_000;
/// Operations and changes that one message may unfold to, so that a run of equal rows cannot fill our memory.
const ROWS_MAX: u64 = 250_000;

/// The one action that facts are written with: `set` (automerge `types.rs`, `action_index`).
const SET: u64 = 1;
/// The type code of a `Str` in the low four bits of a value's meta number (automerge `columnar/column_range/value.rs`).
const STR: u64 = 6;

/// Why bytes of a peer are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not the bytes of chunks, changes or columns.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A sync message of another version than 1, whose changes would be one whole document.
    #[error("a sync message of the unknown kind {0:#x}")]
    Version(u8),
    /// More of something than any honest device sends.
    #[error("too many or too long: {0}")]
    TooMuch(&'static str),
    /// A bloom filter that the library would fail on.
    #[error("a bloom filter with impossible numbers")]
    Bloom,
    /// It claims the actor of the genesis change and is not it.
    #[error("a change that claims to be the beginning and is not")]
    Genesis,
    /// Not an actor of ours, or not listed as actors are.
    #[error("an actor that is none of ours")]
    Actor,
    /// Counters that no honest change has.
    #[error("operation counters that cannot be")]
    Counter,
    /// Something else than facts in their buckets.
    #[error("not a fact in its place: {0}")]
    Layout(&'static str),
    /// Not spelled as the library would spell it, so that its hash could not be kept.
    #[error("a change that is not in its one spelling")]
    Spelling,
    /// The library itself refused it.
    #[error("the library refused it")]
    Refused,
    /// The library panicked over it.
    #[error("the library panicked over it")]
    Panicked,
}

/// A change that holds facts in their buckets and nothing else. Only this file makes one.
#[derive(Debug, Clone)]
pub struct Checked {
    change: Change,
    puts: Vec<(FactKey, String)>,
}

impl Checked {
    /// The change, for the library.
    #[must_use]
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// The change itself, given away.
    #[must_use]
    pub fn into_change(self) -> Change {
        self.change
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.change.hash().0
    }

    /// The changes it follows; none for the genesis change only.
    #[must_use]
    pub fn deps(&self) -> &[ChangeHash] {
        self.change.deps()
    }

    /// The counter of its first operation.
    #[must_use]
    pub fn start_op(&self) -> u64 {
        self.change.start_op().get()
    }

    /// How many operations it has; none when it only merges heads.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.change.len() as u64
    }

    /// The counter of its last operation; `start_op - 1` when it has none.
    #[must_use]
    pub fn max_op(&self) -> u64 {
        self.start_op() + self.ops() - 1
    }

    /// The facts it writes, in order: key and JSON.
    #[must_use]
    pub fn puts(&self) -> &[(FactKey, String)] {
        &self.puts
    }
}

/// Whether a change continues where its dependencies end: they have `deps_max_op` as their highest operation (0 for the
/// genesis change, which has none). The library would take any number, and one near its limit would end the document.
#[must_use]
pub fn fits(checked: &Checked, deps_max_op: u64) -> bool {
    deps_max_op.checked_add(1) == Some(checked.start_op())
}

/// Checks concatenated change chunks: the body of a `Changes` message.
///
/// # Errors
/// [`Unfit`] when any of them may not be taken; then none is.
pub fn changes(collection: Collection, bytes: &[u8]) -> Result<Vec<Checked>, Unfit> {
    let mut allowance = Allowance::new(bytes)?;
    let mut checked = Vec::new();
    allowance.take_changes(collection, bytes, &mut checked)?;
    Ok(checked)
}

/// Checks a sync message. The message comes back without its changes and without flags, so that the library never sees
/// an unchecked change and never learns that the peer could take whole documents.
///
/// # Errors
/// [`Unfit`] when the message or any change in it may not be taken.
pub fn sync_message(collection: Collection, bytes: &[u8]) -> Result<(Message, Vec<Checked>), Unfit> {
    let mut allowance = Allowance::new(bytes)?;
    let mut checked = Vec::new();
    for entry in read_message(bytes)? {
        allowance.take_changes(collection, entry, &mut checked)?;
    }
    let decoded = catch_unwind(AssertUnwindSafe(|| Message::decode(bytes)));
    let mut message = decoded.map_err(|_| Unfit::Panicked)?.map_err(|_| Unfit::Refused)?;
    message.changes = ChunkList::empty();
    message.flags = None;
    Ok((message, checked))
}

/// Reads the frame of a sync message (automerge `sync.rs`) and gives the bytes of each of its changes.
fn read_message(bytes: &[u8]) -> Result<Vec<&[u8]>, Unfit> {
    const VERSION_1: u8 = 0x42;
    let mut from = Reader::new(bytes);
    let version = from.byte()?;
    if version != VERSION_1 {
        return Err(Unfit::Version(version));
    }
    for _heads_and_needs in 0..2 {
        read_hashes(&mut from)?;
    }
    let haves = from.number()?;
    if haves > HAVES_MAX {
        return Err(Unfit::TooMuch("summaries"));
    }
    for _ in 0..haves {
        read_hashes(&mut from)?;
        check_bloom(from.counted()?)?;
    }
    let mut entries = Vec::new();
    for _ in 0..from.number()? {
        entries.push(from.counted()?);
    }
    Ok(entries)
}

fn read_hashes(from: &mut Reader<'_>) -> Result<(), Unfit> {
    if from.hashes()?.len() > HASHES_MAX { Err(Unfit::TooMuch("hashes")) } else { Ok(()) }
}

fn check_bloom(bytes: &[u8]) -> Result<(), Unfit> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut from = Reader::new(bytes);
    let (entries, bits, probes) = (from.number()?, from.number()?, from.number()?);
    let capacity = (from.rest().len() as u64).saturating_mul(8);
    let sound = entries == 0 || ((1..=BLOOM_BITS_MAX).contains(&bits) && (1..=BLOOM_PROBES_MAX).contains(&probes) && entries <= capacity);
    if sound { Ok(()) } else { Err(Unfit::Bloom) }
}

/// What one message may still unfold to.
struct Allowance {
    bytes: u64,
    rows: u64,
}

impl Allowance {
    fn new(message: &[u8]) -> Result<Allowance, Unfit> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Unfit::TooMuch("bytes"));
        }
        Ok(Allowance { bytes: INFLATED_BYTES_MAX, rows: ROWS_MAX })
    }

    fn take_changes(&mut self, collection: Collection, bytes: &[u8], checked: &mut Vec<Checked>) -> Result<(), Unfit> {
        let mut from = Reader::new(bytes);
        while !from.is_done() {
            let chunk = chunks::next_change(&mut from, &mut self.bytes)?;
            self.take_rows(1)?;
            checked.push(self.take_change(collection, chunk)?);
        }
        Ok(())
    }

    fn take_rows(&mut self, rows: u64) -> Result<(), Unfit> {
        self.rows = self.rows.checked_sub(rows).ok_or(Unfit::TooMuch("operations"))?;
        Ok(())
    }

    fn take_change(&mut self, collection: Collection, chunk: Vec<u8>) -> Result<Checked, Unfit> {
        let raw = Raw::read(&chunk)?;
        let is_genesis = raw.actor == genesis::ACTOR;
        if is_genesis && chunk != genesis::genesis().0 {
            return Err(Unfit::Genesis);
        }
        if !is_genesis {
            let ops = check_columns(&raw, &mut self.bytes)?;
            self.take_rows(ops)?;
            check_head(&raw, ops)?;
        }
        let take = || -> Result<Checked, Unfit> {
            let change = Change::from_bytes(chunk).map_err(|_| Unfit::Refused)?;
            let expanded = change.decode();
            let puts = if is_genesis { Vec::new() } else { read_puts(collection, &expanded)? };
            if Change::from(expanded).raw_bytes() != change.raw_bytes() {
                return Err(Unfit::Spelling);
            }
            Ok(Checked { change, puts })
        };
        catch_unwind(AssertUnwindSafe(take)).unwrap_or(Err(Unfit::Panicked))
    }
}

/// What stands before the operations: sound without knowing any other change.
fn check_head(raw: &Raw<'_>, ops: u64) -> Result<(), Unfit> {
    if raw.deps.len() > CHANGE_DEPS_MAX {
        return Err(Unfit::TooMuch("dependencies"));
    }
    if raw.deps.is_empty() || !raw.deps.is_sorted_by(|a, b| a < b) {
        return Err(Unfit::Layout("it must follow the genesis change, and name what it follows once and in order"));
    }
    if raw.message.len() > COMMENT_BYTES_MAX {
        return Err(Unfit::TooMuch("message"));
    }
    let listed = raw.others.is_sorted_by(|a, b| a < b) && !raw.others.contains(&raw.actor);
    if raw.actor.len() != 16 || raw.others.iter().any(|actor| actor.len() != 16) || !listed {
        return Err(Unfit::Actor);
    }
    let end = raw.start_op.checked_add(ops).ok_or(Unfit::Counter)?;
    if raw.seq == 0 || raw.seq > OP_COUNTER_MAX || raw.start_op <= u64::from(genesis::BUCKETS) || end > OP_COUNTER_MAX {
        return Err(Unfit::Counter);
    }
    Ok(())
}

/// Walks the columns run by run, so that nothing is unfolded before it is known to be small, and no value in them can make
/// the library panic. Gives the number of operations; takes what their keys unfold to off `allowance`.
fn check_columns(raw: &Raw<'_>, allowance: &mut u64) -> Result<u64, Unfit> {
    const OURS: [u8; 10] = [
        chunks::OBJECT_ACTOR,
        chunks::OBJECT_COUNTER,
        chunks::KEY,
        chunks::INSERT,
        chunks::ACTION,
        chunks::VALUE_META,
        chunks::VALUE,
        chunks::PRED_COUNT,
        chunks::PRED_ACTOR,
        chunks::PRED_COUNTER,
    ];
    if raw.columns.iter().any(|(spec, _)| !OURS.iter().any(|ours| u32::from(*ours) == *spec)) {
        return Err(Unfit::Layout("a column that facts do not need"));
    }
    let ops = each_run(raw.column(chunks::ACTION), Reader::number, |_, action| one(action == Some(SET), "something else than a set"))?;
    if ops > CHANGE_OPS_MAX {
        return Err(Unfit::TooMuch("operations"));
    }
    let actors = raw.others.len() as u64 + 1;
    let object_actors = each_run(raw.column(chunks::OBJECT_ACTOR), Reader::number, |_, actor| below(actor, actors))?;
    let is_bucket = |object: Option<u64>| object.is_some_and(|object| (1..=u64::from(genesis::BUCKETS)).contains(&object));
    let object_counters =
        each_run(raw.column(chunks::OBJECT_COUNTER), Reader::number, |_, object| one(is_bucket(object), "an object that is no bucket"))?;
    let keys = each_run(raw.column(chunks::KEY), Reader::counted, |count, key| -> Result<(), Unfit> {
        let length = key.ok_or(Unfit::Layout("an operation without a key"))?.len();
        if length > KEY_BYTES_MAX {
            return Err(Unfit::TooMuch("key"));
        }
        let unfolded = (length as u64).checked_mul(count).ok_or(Unfit::TooMuch("keys"))?;
        *allowance = allowance.checked_sub(unfolded).ok_or(Unfit::TooMuch("keys"))?;
        Ok(())
    })?;
    let inserts = if raw.column(chunks::INSERT).is_empty() { 0 } else { Reader::new(raw.column(chunks::INSERT)).number()? };
    let values = check_values(raw)?;
    let preds = check_preds(raw, actors)?;
    let columns = [object_actors, object_counters, keys, inserts, values, preds];
    if columns.iter().any(|rows| *rows != ops) {
        return Err(Unfit::Layout("columns of different lengths"));
    }
    Ok(ops)
}

fn check_values(raw: &Raw<'_>) -> Result<u64, Unfit> {
    let mut length = 0u64;
    let rows = each_run(raw.column(chunks::VALUE_META), Reader::number, |count, meta: Option<u64>| -> Result<(), Unfit> {
        let meta = meta.ok_or(Unfit::Layout("an operation without a value"))?;
        if meta & 0xf != STR {
            return Err(Unfit::Layout("a value that is no text"));
        }
        if meta >> 4 > FACT_BYTES_MAX as u64 {
            return Err(Unfit::TooMuch("value"));
        }
        length = (meta >> 4).checked_mul(count).and_then(|more| length.checked_add(more)).ok_or(Unfit::TooMuch("values"))?;
        Ok(())
    })?;
    one(length == raw.column(chunks::VALUE).len() as u64, "values of another length than they say")?;
    Ok(rows)
}

fn check_preds(raw: &Raw<'_>, actors: u64) -> Result<u64, Unfit> {
    let mut preds = 0u64;
    let rows = each_run(raw.column(chunks::PRED_COUNT), Reader::number, |count, each: Option<u64>| -> Result<(), Unfit> {
        let more = each.ok_or(Unfit::Layout("no number of overwritten operations"))?.checked_mul(count);
        preds = more.and_then(|more| preds.checked_add(more)).filter(|preds| *preds <= PREDS_MAX).ok_or(Unfit::TooMuch("overwritten"))?;
        Ok(())
    })?;
    let pred_actors = each_run(raw.column(chunks::PRED_ACTOR), Reader::number, |_, actor| below(actor, actors))?;
    let mut at = 0i64;
    let pred_counters = each_run(raw.column(chunks::PRED_COUNTER), Reader::signed, |count, delta| {
        // Within a run the counters go one way, so its first and last one bound them all.
        let delta = delta.ok_or(Unfit::Counter)?;
        let first = at.checked_add(delta).ok_or(Unfit::Counter)?;
        let last = i64::try_from(count).ok().and_then(|count| delta.checked_mul(count)).and_then(|way| at.checked_add(way));
        at = last.ok_or(Unfit::Counter)?;
        let is_fact = |counter: i64| counter > i64::from(genesis::BUCKETS) && counter.unsigned_abs() < OP_COUNTER_MAX;
        if is_fact(first) && is_fact(at) { Ok(()) } else { Err(Unfit::Counter) }
    })?;
    one(pred_actors == preds && pred_counters == preds, "overwritten operations of another number than they say")?;
    Ok(rows)
}

fn below(actor: Option<u64>, actors: u64) -> Result<(), Unfit> {
    if actor.is_some_and(|actor| actor < actors) { Ok(()) } else { Err(Unfit::Actor) }
}

fn one(holds: bool, why: &'static str) -> Result<(), Unfit> {
    if holds { Ok(()) } else { Err(Unfit::Layout(why)) }
}

/// Reads the facts out of the operations, each of which must stand in the bucket of its key.
fn read_puts(collection: Collection, change: &ExpandedChange) -> Result<Vec<(FactKey, String)>, Unfit> {
    let nobody = ActorId::from(&genesis::ACTOR[..]);
    let mut puts = Vec::with_capacity(change.operations.len());
    for (op, id) in change.operations.iter().zip(change.start_op.get()..) {
        let legacy::Key::Map(key) = &op.key else { return Err(Unfit::Layout("an operation without a key")) };
        let home = legacy::OpId(u64::from(genesis::bucket(key)) + 1, nobody.clone());
        one(op.obj == legacy::ObjectId::Id(home), "a key in another bucket than its own")?;
        let legacy::OpType::Put(ScalarValue::Str(value)) = &op.action else { return Err(Unfit::Layout("something else than a set")) };
        one(!op.insert, "an insertion into a list")?;
        let fact = FactKey::from_str(key).map_err(|_| Unfit::Layout("a key that names no fact"))?;
        one(fact.collection() == collection, "a fact of another collection")?;
        one(!fact.is_once() || op.pred.is_empty(), "a fact that never changes, overwritten")?;
        let preds: Vec<&legacy::OpId> = op.pred.iter().collect();
        let ordered = preds.is_sorted_by(|a, b| (a.0, &a.1) < (b.0, &b.1)) && preds.last().is_none_or(|last| last.0 < id);
        if !ordered || preds.iter().any(|pred| pred.1 == nobody) {
            return Err(Unfit::Counter);
        }
        puts.push((fact, value.to_string()));
    }
    Ok(puts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ItemId;
    use crate::model::todo::Status;
    use automerge::Automerge;
    use automerge::transaction::{CommitOptions, Transactable};

    /// A document with the genesis change, whose edits are made by actor `n`.
    fn document(n: u8) -> Automerge {
        let mut doc = Automerge::new();
        doc.apply_changes([Change::from_bytes(genesis::genesis().0).unwrap()]).unwrap();
        doc.set_actor(ActorId::from([n; 16]));
        doc
    }

    fn put(doc: &mut Automerge, facts: &[(FactKey, String)]) {
        let mut tx = doc.transaction();
        for (key, value) in facts {
            let key = key.to_string();
            tx.put(genesis::bucket_object(genesis::bucket(&key)), &key, ScalarValue::Str(value.as_str().into())).unwrap();
        }
        tx.commit_with(CommitOptions::default().with_time(1_793_000_000_123));
    }

    fn seen(n: u64) -> FactKey {
        FactKey::Seen(ItemId::of(&[&n.to_le_bytes()]))
    }

    fn rank(n: u64) -> FactKey {
        FactKey::Rank(ItemId::of(&[&n.to_le_bytes()]), 1 + n % 3, Status::Completed)
    }

    /// Several actors who write, merge and overwrite each other.
    fn busy() -> Automerge {
        let mut docs = [document(3), document(1), document(2)];
        for round in 0..6u64 {
            for (who, doc) in docs.iter_mut().enumerate() {
                let facts: Vec<_> = (0..5).map(|n| (seen(n), format!("{{\"rev\":{round},\"by\":{who}}}"))).collect();
                put(doc, &facts);
                put(doc, &[(rank(round * 10 + who as u64), "{\"at\":\"größe\"}".to_owned())]);
            }
            let other = docs[(round % 3) as usize].clone();
            docs[((round + 1) % 3) as usize].merge(&mut other.clone()).unwrap();
        }
        let [mut all, mut b, mut c] = docs;
        all.merge(&mut b).unwrap();
        all.merge(&mut c).unwrap();
        put(&mut all, &[(seen(1), "{\"last\":true}".to_owned())]);
        all.empty_commit(CommitOptions::default().with_time(0));
        all
    }

    #[test]
    fn what_the_library_makes_of_facts_is_taken() {
        let doc = busy();
        let all = doc.get_changes(&[]);
        let bytes: Vec<u8> = all.iter().flat_map(|change| change.raw_bytes().to_vec()).collect();
        let checked = changes(Collection::Todos, &bytes).unwrap();
        assert_eq!(checked.iter().map(Checked::change).collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
        assert_eq!(changes(Collection::Todos, &doc.save_after(&[])).unwrap().len(), all.len());
        let max = |hash: &ChangeHash| checked.iter().find(|c| c.hash() == hash.0).unwrap().max_op();
        assert!(checked.iter().all(|c| fits(c, c.deps().iter().map(max).max().unwrap_or(0))));
        assert!(checked.iter().any(|c| c.ops() == 0) && checked.iter().any(|c| c.puts().len() == 5));
    }
}
