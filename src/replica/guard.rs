//! What foreign bytes must look like before automerge may see them. Whether a change is fit depends on its bytes and its
//! ancestors alone, so every replica decides alike; nothing here can panic, and nothing costs more than a fixed allowance.
//!
//! Why so strict (automerge 0.12.0): ten bytes of a bloom filter make the next message panic, sixteen ask for 16 GiB, 255
//! KiB inflate to 256 MiB, and a change whose counter is `u32::MAX` makes every later edit panic (P2P A.6, RELIABILITY E12,
//! E14). And the library forgets a change's bytes and writes them anew from its operations, so a change that is not spelled
//! as the library spells it would come out with another hash. So a change is taken only if it holds facts and nothing else,
//! in the one spelling; only this file can make a [`Checked`].

use std::fmt;
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
    /// It does not continue where its dependencies end.
    #[error("a change that does not continue where its dependencies end")]
    Discontinuous,
    /// It overwrites an operation on something else.
    #[error("a change that overwrites what it does not stand on")]
    Overwrite,
    /// It follows a change that was refused.
    #[error("a change that follows one that was refused")]
    Follows,
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
#[derive(Clone)]
pub struct Checked {
    change: Change,
    facts: Facts,
}

/// Its hash only: what it says is nobody's business in a log.
impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked({})", self.change.hash())
    }
}

/// What a change's operations say.
#[derive(Clone, Default)]
struct Facts {
    puts: Vec<(FactKey, String)>,
    overwritten: Vec<Overwritten>,
}

/// An earlier operation that a put overwrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overwritten {
    /// Which of the change's puts overwrites it.
    pub(super) put: usize,
    /// Its counter.
    pub(super) counter: u64,
    /// Whose it is.
    pub(super) actor: ActorId,
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
        &self.facts.puts
    }

    /// What it overwrites.
    pub(super) fn overwritten(&self) -> &[Overwritten] {
        &self.facts.overwritten
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
            let facts = if is_genesis { Facts::default() } else { read_facts(collection, &expanded)? };
            if Change::from(expanded).raw_bytes() != change.raw_bytes() {
                return Err(Unfit::Spelling);
            }
            Ok(Checked { change, facts })
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

/// Reads the facts out of the operations, each of which must stand in the bucket of its key, and what they overwrite.
fn read_facts(collection: Collection, change: &ExpandedChange) -> Result<Facts, Unfit> {
    let nobody = ActorId::from(&genesis::ACTOR[..]);
    let mut facts = Facts::default();
    for (op, id) in change.operations.iter().zip(change.start_op.get()..) {
        let legacy::Key::Map(key) = &op.key else { return Err(Unfit::Layout("an operation without a key")) };
        let home = legacy::OpId(u64::from(genesis::bucket(key)) + 1, nobody.clone());
        one(op.obj == legacy::ObjectId::Id(home), "a key in another bucket than its own")?;
        let legacy::OpType::Put(ScalarValue::Str(value)) = &op.action else { return Err(Unfit::Layout("something else than a set")) };
        one(!op.insert, "an insertion into a list")?;
        let fact = FactKey::from_str(key).map_err(|_| Unfit::Layout("a key that names no fact"))?;
        one(fact.belongs_to(collection), "a fact of another collection")?;
        one(!fact.is_once() || op.pred.is_empty(), "a fact that never changes, overwritten")?;
        let earlier = op.pred.iter().map(|pred| Overwritten { put: facts.puts.len(), counter: pred.0, actor: pred.1.clone() });
        let earlier: Vec<Overwritten> = earlier.collect();
        let ordered = earlier.is_sorted_by(|a, b| (a.counter, &a.actor) < (b.counter, &b.actor));
        if !ordered || earlier.iter().any(|pred| pred.actor == nobody || pred.counter >= id) {
            return Err(Unfit::Counter);
        }
        facts.overwritten.extend(earlier);
        facts.puts.push((fact, value.to_string()));
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::super::lineage::ready;
    use super::super::samples::{busy, document, one_change, put, rank, seen, twisted};
    use super::*;
    use crate::model::id::SessionId;
    use automerge::sync::{State, SyncDoc};
    use automerge::{Automerge, ReadDoc};
    use quickcheck::{QuickCheck, TestResult};
    use std::io::Read;

    /// A change chunk, spelled by hand.
    fn spelled(raw: &Raw<'_>, columns: &[(u8, &[u8])]) -> Vec<u8> {
        let mut body = vec![raw.deps.len() as u8];
        body.extend(raw.deps.concat());
        for bytes in [&[raw.actor][..], &raw.others].concat().iter().enumerate() {
            if bytes.0 == 1 {
                body.push(raw.others.len() as u8);
            }
            body.push(bytes.1.len() as u8);
            body.extend(*bytes.1);
            if bytes.0 == 0 {
                chunks::put_number(&mut body, raw.seq);
                chunks::put_number(&mut body, raw.start_op);
                body.extend([0, 0]);
            }
        }
        body.push(columns.len() as u8);
        for (spec, data) in columns {
            body.push(*spec);
            chunks::put_number(&mut body, data.len() as u64);
        }
        columns.iter().for_each(|(_, data)| body.extend(*data));
        chunks::seal(&body)
    }

    fn respelled(change: &Change, column: u8, data: &[u8]) -> Vec<u8> {
        let raw = Raw::read(change.raw_bytes()).unwrap();
        let columns: Vec<_> =
            raw.columns.iter().map(|(spec, old)| (*spec as u8, if *spec == u32::from(column) { data } else { old })).collect();
        spelled(&raw, &columns)
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
        assert_eq!(changes(Collection::Sessions, &bytes).unwrap_err(), Unfit::Layout("a fact of another collection"));
    }

    #[test]
    fn a_change_of_two_thousand_operations_is_taken_plain_and_deflated() {
        let mut doc = document(1);
        let facts: Vec<_> =
            (0..2_000).map(|n| (if n % 2 == 0 { seen(n) } else { rank(n) }, "{\"status\":\"completed\",\"at\":1}")).collect();
        put(&mut doc, &facts);
        let mut change =
            put(&mut doc, &facts.iter().filter(|(key, _)| !key.is_once()).map(|(key, _)| (key.clone(), "{}")).collect::<Vec<_>>());
        let deflated = change.bytes().into_owned();
        assert!(deflated.len() < change.raw_bytes().len());
        for bytes in [change.raw_bytes(), &deflated] {
            let checked = one_change(bytes).unwrap();
            assert_eq!((checked.ops(), checked.puts().len(), checked.overwritten().len()), (1_000, 1_000, 1_000));
            assert_eq!(checked.puts()[3], (seen(6), "{}".to_owned()));
        }
    }

    #[test]
    fn two_documents_talk_through_the_guard_until_they_agree() {
        let (mut a, mut b) = (busy(), document(9));
        put(&mut b, &[(seen(2), "{\"rev\":99}")]);
        let (mut to_b, mut to_a) = (State::new(), State::new());
        for _ in 0..20 {
            let spoke = [say(&mut a, &mut to_b, &mut b, &mut to_a), say(&mut b, &mut to_a, &mut a, &mut to_b)];
            if spoke == [false, false] {
                assert_eq!(a.get_heads(), b.get_heads());
                return;
            }
        }
        panic!("they never fell silent");
    }

    fn say(from: &mut Automerge, state: &mut State, to: &mut Automerge, other: &mut State) -> bool {
        let Some(mut message) = from.generate_sync_message(state) else { return false };
        message.flags = None;
        let (message, checked) = sync_message(Collection::Todos, &message.encode()).unwrap();
        assert!(message.changes.is_empty() && message.flags.is_none());
        to.apply_changes(checked.into_iter().map(Checked::into_change).collect::<Vec<_>>()).unwrap();
        to.receive_sync_message(other, message).unwrap();
        true
    }

    #[test]
    fn the_known_killers_are_refused() {
        let message = |bytes: &[u8]| sync_message(Collection::Todos, bytes).map(|_| ()).unwrap_err();
        // P2P A.6: no bits per entry, and 2^32 - 1 probes.
        assert_eq!(message(&[0x42, 0, 0, 1, 0, 3, 1, 0, 7, 0]), Unfit::Bloom);
        assert_eq!(message(&[0x42, 0, 0, 1, 0, 9, 1, 10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]), Unfit::Bloom);
        assert_eq!(message(&[0x42, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Unfit::TooMuch("summaries"));
        let whole = busy().save();
        assert_eq!(one_change(&whole).unwrap_err(), Unfit::Broken(Broken::Type(0)));
        assert_eq!(message(&[0x43, 0, 0, 0, 0]), Unfit::Version(0x43));
        // 100 KiB that inflate to 100 MiB.
        let mut bomb = Vec::new();
        let zeros = std::io::repeat(0).take(100 * 1024 * 1024);
        flate2::read::DeflateEncoder::new(zeros, flate2::Compression::fast()).read_to_end(&mut bomb).unwrap();
        let mut chunk = [0x85, 0x6f, 0x4a, 0x83, 1, 2, 3, 4, 2].to_vec();
        chunks::put_number(&mut chunk, bomb.len() as u64);
        chunk.extend(&bomb);
        assert_eq!(one_change(&chunk).unwrap_err(), Unfit::Broken(Broken::Bomb));
    }

    #[test]
    fn a_counter_near_its_end_and_a_run_without_one_are_refused() {
        let mut doc = document(1);
        put(&mut doc, &[(seen(1), "{}")]);
        let change = put(&mut doc, &[(seen(1), "{\"a\":1}"), (seen(2), "{\"a\":1}")]);
        for start in [u64::from(u32::MAX), OP_COUNTER_MAX - 1, 256, u64::MAX] {
            let bytes = twisted(&change, |c| c.start_op = std::num::NonZeroU64::new(start).unwrap());
            assert_eq!(one_change(&bytes).unwrap_err(), Unfit::Counter, "{start}");
        }
        assert!(one_change(&twisted(&change, |c| c.start_op = std::num::NonZeroU64::new(OP_COUNTER_MAX - 2).unwrap())).is_ok());
        // 2^40 rows in six bytes: sets; overwritten operations; keys.
        let run = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        let with = |value: &[u8]| [&run[..], value].concat();
        assert_eq!(one_change(&respelled(&change, chunks::ACTION, &with(&[1]))).unwrap_err(), Unfit::TooMuch("operations"));
        assert_eq!(one_change(&respelled(&change, chunks::PRED_COUNT, &with(&[9]))).unwrap_err(), Unfit::TooMuch("overwritten"));
        assert_eq!(one_change(&respelled(&change, chunks::KEY, &with(&[2, b'a', b'b']))).unwrap_err(), Unfit::TooMuch("keys"));
        let same = Unfit::Layout("columns of different lengths");
        assert_eq!(one_change(&respelled(&change, chunks::OBJECT_COUNTER, &with(&[9]))).unwrap_err(), same);
        assert_eq!(one_change(&respelled(&change, chunks::INSERT, &run)).unwrap_err(), same);
        // Counters of overwritten operations beyond `u32`, below zero, and in the genesis change; and one more column.
        for counter in [&run[..], &[0x70], &[9]] {
            let literal = [&[0x7f], counter].concat();
            assert_eq!(one_change(&respelled(&change, chunks::PRED_COUNTER, &literal)).unwrap_err(), Unfit::Counter);
        }
        let raw = Raw::read(change.raw_bytes()).unwrap();
        let mut columns: Vec<(u8, &[u8])> = raw.columns.iter().map(|(spec, data)| (*spec as u8, *data)).collect();
        columns.insert(2, (0x13, &[2, 1]));
        assert_eq!(one_change(&spelled(&raw, &columns)).unwrap_err(), Unfit::Layout("a column that facts do not need"));
    }

    #[test]
    fn rows_that_cost_no_bytes_are_counted_over_the_whole_message() {
        let mut doc = document(1);
        let change = put(&mut doc, &vec![[(seen(1), ""), (seen(1), "x")]; 1_000].concat());
        let mut allowance = Allowance { bytes: INFLATED_BYTES_MAX, rows: 5_000 };
        let mut take = |n: usize| allowance.take_changes(Collection::Todos, &change.raw_bytes().repeat(n), &mut Vec::new());
        assert_eq!((take(2), take(1)), (Ok(()), Err(Unfit::TooMuch("operations"))));
        let too_many = put(&mut doc, &vec![[(seen(1), ""), (seen(1), "x")]; 5_001].concat());
        assert_eq!(one_change(too_many.raw_bytes()).unwrap_err(), Unfit::TooMuch("operations"));
    }

    #[test]
    fn facts_of_later_kinds_are_taken_and_those_that_never_change_are_not_overwritten() {
        let mut doc = document(1);
        let (vote, claim) = (FactKey::Other("vote/a".into()), FactKey::Other("claim~/a".into()));
        for collection in [Collection::Fleet, Collection::Todos] {
            let change = put(&mut document(2), &[(vote.clone(), "x"), (claim.clone(), "{\"rev\":1}")]);
            assert_eq!(changes(collection, change.raw_bytes()).unwrap()[0].puts()[0], (vote.clone(), "x".to_owned()));
        }
        put(&mut doc, &[(vote.clone(), "x"), (claim.clone(), "{\"rev\":1}")]);
        assert!(one_change(put(&mut doc, &[(claim, "{\"rev\":2}")]).raw_bytes()).is_ok());
        let twice = put(&mut doc, &[(vote, "y")]);
        assert_eq!(one_change(twice.raw_bytes()).unwrap_err(), Unfit::Layout("a fact that never changes, overwritten"));
    }

    #[test]
    fn only_facts_in_their_place_are_taken() {
        let mut doc = document(1);
        put(&mut doc, &[(seen(1), "{}")]);
        let change = put(&mut doc, &[(seen(1), "{\"a\":1}"), (rank(2), "{\"a\":1}")]);
        let nobody = || ActorId::from(&genesis::ACTOR[..]);
        let place = |key: &str| legacy::ObjectId::Id(legacy::OpId(u64::from(genesis::bucket(key)) + 1, nobody()));
        type Twist<'a> = Box<dyn Fn(&mut ExpandedChange) + 'a>;
        let name = |key: String| -> Twist<'_> {
            Box::new(move |c| (c.operations[0].obj, c.operations[0].key) = (place(&key), legacy::Key::Map(key.as_str().into())))
        };
        let action = |action: legacy::OpType| -> Twist<'_> { Box::new(move |c| c.operations[0].action = action.clone()) };
        let session = FactKey::Session(SessionId::of(&[b"s"])).to_string();
        let long = "x".repeat(FACT_BYTES_MAX + 1);
        let cases: Vec<(&str, Twist<'_>)> = vec![
            ("another bucket", Box::new(|c| c.operations[0].obj = place("x"))),
            ("the root", Box::new(|c| c.operations[0].obj = legacy::ObjectId::Root)),
            ("an object of its own", Box::new(|c| c.operations[0].obj = legacy::ObjectId::Id(legacy::OpId(9, ActorId::from([1; 16]))))),
            ("bucket 257", Box::new(|c| c.operations[0].obj = legacy::ObjectId::Id(legacy::OpId(257, nobody())))),
            ("a key that names nothing", name("X/y".into())),
            ("a fact of another collection", name(session)),
            ("an overlong key", name("k".repeat(KEY_BYTES_MAX + 1))),
            (
                "a once fact overwritten",
                Box::new(|c| c.operations[1].pred = c.operations[0].pred.iter().cloned().collect::<Vec<_>>().into()),
            ),
            ("a bucket overwritten", Box::new(|c| c.operations[0].pred = vec![legacy::OpId(9, nobody())].into())),
            ("itself overwritten", Box::new(|c| c.operations[0].pred = vec![legacy::OpId(258, ActorId::from([1; 16]))].into())),
            ("a deletion", action(legacy::OpType::Delete)),
            ("an increment", action(legacy::OpType::Increment(1))),
            ("an object", action(legacy::OpType::Make(automerge::ObjType::Map))),
            ("a number", action(legacy::OpType::Put(ScalarValue::Int(1)))),
            ("bytes", action(legacy::OpType::Put(ScalarValue::Bytes(vec![1])))),
            ("a long text", action(legacy::OpType::Put(ScalarValue::Str(long.as_str().into())))),
            ("an insertion", Box::new(|c| c.operations[0].insert = true)),
            ("a list's element", Box::new(|c| c.operations[0].key = legacy::Key::Seq(legacy::ElementId::Head))),
            ("no dependencies", Box::new(|c| c.deps.clear())),
            ("a dependency twice", Box::new(|c| c.deps.push(c.deps[0]))),
            ("257 dependencies", Box::new(|c| c.deps = (0..=CHANGE_DEPS_MAX).map(|n| ChangeHash([n as u8; 32])).collect())),
            ("a short actor", Box::new(|c| c.actor_id = ActorId::from([7; 15]))),
            ("a long actor", Box::new(|c| c.actor_id = ActorId::from([7; 17]))),
            ("nobody", Box::new(|c| c.actor_id = nobody())),
            ("no sequence", Box::new(|c| c.seq = 0)),
            ("an author", Box::new(|c| c.extra_bytes = vec![1, 1, 1])),
            ("a long message", Box::new(|c| c.message = Some("m".repeat(COMMENT_BYTES_MAX + 1)))),
        ];
        assert!(one_change(&twisted(&change, |_| {})).is_ok());
        for (what, twist) in cases {
            let refused = one_change(&twisted(&change, twist)).map(|_| ());
            assert!(!matches!(refused, Ok(()) | Err(Unfit::Panicked | Unfit::Refused)), "{what}: {refused:?}");
        }
    }

    #[test]
    fn the_beginning_is_taken_and_nothing_that_claims_to_be_it() {
        let (bytes, hash) = genesis::genesis();
        let checked = one_change(&bytes).unwrap();
        assert_eq!((checked.hash(), checked.puts().len(), checked.max_op()), (hash, 0, 256));
        assert!(fits(&checked, 0) && !fits(&checked, 1));
        let change = checked.into_change();
        assert_eq!(one_change(&twisted(&change, |c| c.time = 1)).unwrap_err(), Unfit::Genesis);
        assert_eq!(one_change(&twisted(&change, |c| c.seq = 2)).unwrap_err(), Unfit::Genesis);
    }

    #[test]
    fn a_change_in_another_spelling_is_refused() {
        let mut doc = document(1);
        let change = put(&mut doc, &[(seen(1), "{\"a\":1}"), (seen(2), "{\"b\":1}")]);
        let raw = Raw::read(change.raw_bytes()).unwrap();
        assert_eq!(raw.column(chunks::ACTION), [2, 1]);
        assert!(one_change(&respelled(&change, chunks::ACTION, &[2, 1])).is_ok());
        let literally = respelled(&change, chunks::ACTION, &[0x7e, 1, 1]);
        assert_eq!(Change::from_bytes(literally.clone()).unwrap().decode().operations, change.decode().operations);
        assert_eq!(one_change(&literally).unwrap_err(), Unfit::Spelling);
    }

    /// A byte changed, the end cut, a stretch put elsewhere, a stretch repeated.
    fn mutate(bytes: &mut Vec<u8>, steps: &[(u8, u16, u16, u8)]) {
        for (what, at, length, to) in steps.iter().take(4) {
            let at = usize::from(*at) % bytes.len().max(1);
            let end = (at + usize::from(*length) % 40).min(bytes.len());
            let stretch = bytes[at.min(end)..end].to_vec();
            match what % 5 {
                0 => bytes.truncate(at),
                1 => drop(bytes.splice(at..at, stretch)),
                2 => drop(bytes.splice(usize::from(*to) % (at + 1)..at, stretch)),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = *to),
            }
        }
    }

    fn body(chunk: &[u8]) -> Vec<u8> {
        let mut from = Reader::new(&chunk[9..]);
        from.counted().unwrap().to_vec()
    }

    #[test]
    fn no_bytes_panic() {
        fn law(bytes: Vec<u8>, which: u8, steps: Vec<(u8, u16, u16, u8)>) -> bool {
            thread_local! {
                static REAL: [Vec<u8>; 2] = {
                    let mut doc = busy();
                    let mut message = doc.generate_sync_message(&mut State::new()).unwrap();
                    let changes: Vec<Vec<u8>> = doc.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect();
                    message.changes = changes.into();
                    put(&mut doc, &[(seen(1), "{}")]);
                    [doc.save_after(&[]), message.encode()]
                };
            }
            let mut real = REAL.with(|real| real[usize::from(which % 2)].clone());
            mutate(&mut real, &steps);
            [bytes, real].iter().all(|bytes| {
                let one = changes(Collection::Todos, bytes).err();
                let two = sync_message(Collection::Todos, bytes).err();
                ![one, two].contains(&Some(Unfit::Panicked))
            })
        }
        QuickCheck::new().tests(1_000).quickcheck(law as fn(_, _, _) -> bool);
    }

    #[test]
    fn a_mutated_change_with_a_right_checksum_panics_nowhere_and_harms_no_document() {
        fn law(which: u8, column: u8, steps: Vec<(u8, u16, u16, u8)>) -> TestResult {
            thread_local! {
                static DOC: Automerge = busy();
                static CHANGES: Vec<Change> = DOC.with(|doc| doc.get_changes(&[])[1..].to_vec());
            }
            let change = CHANGES.with(|all| all[usize::from(which) % all.len()].clone());
            let raw = Raw::read(change.raw_bytes()).unwrap();
            let mut columns: Vec<(u8, Vec<u8>)> = raw.columns.iter().map(|(spec, data)| (*spec as u8, data.to_vec())).collect();
            // Half of the time within one column, whose length stays right, else anywhere.
            let chosen = usize::from(column) % (2 * columns.len()).max(1);
            if let Some((_, data)) = columns.get_mut(chosen) {
                mutate(data, &steps[..steps.len().min(2)]);
            }
            let columns: Vec<(u8, &[u8])> = columns.iter().map(|(spec, data)| (*spec, &data[..])).collect();
            let mut chunk = spelled(&raw, &columns);
            if chosen >= columns.len() {
                let mut body = body(&chunk);
                for (_, at, _, to) in steps.iter().take(2) {
                    let at = usize::from(*at) % body.len();
                    body[at] = *to;
                }
                chunk = chunks::seal(&body);
            }
            match one_change(&chunk) {
                Err(Unfit::Panicked) => TestResult::error("the library panicked over it"),
                Err(_) => TestResult::from_bool(true),
                Ok(checked) => {
                    let doc = DOC.with(Clone::clone);
                    let hash = ChangeHash(checked.hash());
                    let taken = ready(&doc, &mut [(hash, checked)].into());
                    let mut after = doc.clone();
                    if after.apply_changes(taken.changes.iter().map(|c| c.change().clone()).collect::<Vec<_>>()).is_err() {
                        return TestResult::from_bool(true);
                    }
                    let loaded = Automerge::load(&after.save()).expect("what was taken can be saved and loaded");
                    let again = after.get_change_by_hash(&hash).filter(|_| !taken.changes.is_empty());
                    let same = again.iter().zip(&taken.changes).all(|(again, taken)| again.raw_bytes() == taken.change().raw_bytes());
                    TestResult::from_bool(loaded.get_heads() == after.get_heads() && same)
                }
            }
        }
        QuickCheck::new().tests(3_000).quickcheck(law as fn(_, _, _) -> TestResult);
    }
}
