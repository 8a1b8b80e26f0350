//! Who is a member: **a removed key never becomes one again, and who is removed lets nobody in afterwards.**
//!
//! The log is signed, linked by hashes and only grows; it alone decides. An entry counts by what stands among its
//! *ancestors* (the entries it names as parents, theirs, and so on), never by a clock or by the order of arrival:
//!
//! - Its ancestors begin with the fleet's genesis entry and with no other one; else it is inert.
//! - A `remove` counts for ever once its signer was ever added among its ancestors, even if that signer is removed too. So
//!   mutual removals both apply.
//! - An `add` counts if its signer was let in by an entry that counts and is among its ancestors, and if every counted
//!   removal of that signer by another device names the `add` as ancestor: who removes a thief vouches for what it saw the
//!   thief do before, and for nothing else.
//!
//! The price: a thief can evict, never admit.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::model::id::{DeviceId, FleetId};
use crate::model::member::{Entry, EntryHash, Signed, Statement};

/// Parents that one entry names. Honest ones name the one or two newest entries.
pub const PARENTS_MAX: usize = 64;
/// Bytes of one entry: its parents, two keys, a name and a signature.
pub const ENTRY_BYTES_MAX: usize = 3 * 1024;
/// Entries of one log; a fleet of five devices has a dozen.
pub const ENTRIES_MAX: usize = 4_096;

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEntry {
    /// Longer than any entry.
    #[error("too long for an entry of the membership log")]
    TooLong,
    /// Not the one spelling of an entry.
    #[error("not an entry of the membership log")]
    Garbled,
    /// A genesis with parents, another entry without, too many, or not in order.
    #[error("an entry of the membership log whose parents cannot be")]
    Parents,
    /// Not signed by whom it names.
    #[error("an entry of the membership log with a wrong signature")]
    Signature,
    /// The log has no room for more.
    #[error("the membership log is full")]
    Full,
}

/// All entries that are known, and what follows from them.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The bytes of all entries, waiting ones among them.
    bytes: BTreeMap<EntryHash, Vec<u8>>,
    /// Entries all of whose ancestors are known, parents first.
    placed: Vec<Placed>,
    /// Where in `placed` an entry stands.
    places: BTreeMap<EntryHash, usize>,
    /// Entries that wait for a parent, by the first parent that is missing.
    waiting: BTreeMap<EntryHash, Vec<(EntryHash, Entry)>>,
    /// What follows, fleet by fleet; made anew whenever an entry of the fleet is placed.
    fleets: BTreeMap<FleetId, Standing>,
}

/// An entry all of whose ancestors are known.
#[derive(Debug, Clone)]
struct Placed {
    hash: EntryHash,
    entry: Entry,
    /// The one genesis among its ancestors; `None` when there are several.
    fleet: Option<FleetId>,
    ancestors: Places,
    /// Whether its signer was ever added among its ancestors, whatever was removed. Nothing learned later changes it.
    ever: bool,
}

/// What follows from the entries of one fleet.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// Where its entries stand, parents first.
    entries: Vec<usize>,
    members: BTreeMap<DeviceId, [u8; 32]>,
    removed: BTreeSet<DeviceId>,
    /// The entries that count and that no other one which counts has among its ancestors.
    heads: Vec<usize>,
}

impl Log {
    /// Takes an entry in; true when it was not known. One with missing parents is kept and judged when they come.
    ///
    /// # Errors
    /// [`NotAnEntry`] when it could never count, or the log is full; nothing of it is kept.
    pub fn learn(&mut self, bytes: &[u8]) -> Result<bool, NotAnEntry> {
        let hash = *blake3::hash(bytes).as_bytes();
        if self.bytes.contains_key(&hash) {
            return Ok(false);
        }
        let entry = read(bytes)?;
        if self.bytes.len() >= ENTRIES_MAX {
            return Err(NotAnEntry::Full);
        }
        self.take_in(hash, bytes, entry);
        Ok(true)
    }

    /// Takes in an entry that is proved and new.
    fn take_in(&mut self, hash: EntryHash, bytes: &[u8], entry: Entry) {
        self.bytes.insert(hash, bytes.to_vec());
        let mut touched = BTreeSet::new();
        let mut ready = vec![(hash, entry)];
        while let Some((hash, entry)) = ready.pop() {
            match entry.parents.iter().find(|parent| !self.places.contains_key(*parent)) {
                Some(missing) => self.waiting.entry(*missing).or_default().push((hash, entry)),
                None => {
                    touched.extend(self.place(hash, entry));
                    ready.extend(self.waiting.remove(&hash).unwrap_or_default());
                }
            }
        }
        for fleet in touched {
            self.judge(fleet);
        }
    }

    /// The members of a fleet and the key of each.
    #[must_use]
    pub fn members(&self, fleet: &FleetId) -> BTreeMap<DeviceId, [u8; 32]> {
        self.fleets.get(fleet).map(|standing| standing.members.clone()).unwrap_or_default()
    }

    /// Whether this key is a member's.
    #[must_use]
    pub fn proves(&self, fleet: &FleetId, key: &[u8; 32]) -> bool {
        self.fleets.get(fleet).is_some_and(|standing| standing.members.values().any(|member| member == key))
    }

    /// Whether this key was shut out of the fleet, by itself or by another.
    #[must_use]
    pub fn is_removed(&self, fleet: &FleetId, key: &[u8; 32]) -> bool {
        self.fleets.get(fleet).is_some_and(|standing| standing.removed.contains(&DeviceId(*key)))
    }

    /// The newest entries of a fleet that count, in order.
    #[must_use]
    pub fn heads(&self, fleet: &FleetId) -> Vec<EntryHash> {
        let heads = self.fleets.get(fleet).map_or(&[][..], |standing| &standing.heads);
        let mut hashes: Vec<_> = heads.iter().map(|at| self.placed[*at].hash).collect();
        hashes.sort_unstable();
        hashes
    }

    /// What a new entry signed by `key` names as parents: the heads, at most [`PARENTS_MAX`], and first those that show
    /// `key` to be a member, so that a thief who floods the log cannot keep a removal of itself from counting.
    #[must_use]
    pub fn parents(&self, fleet: &FleetId, key: &[u8; 32]) -> Vec<EntryHash> {
        let shows = |hash: &EntryHash| {
            let at = self.places[hash];
            let head = &self.placed[at];
            (head.ever && head.lets_in() == Some(*key))
                || self.fleet_entries(fleet).any(|(at, entry)| entry.ever && entry.lets_in() == Some(*key) && head.ancestors.has(at))
        };
        let mut hashes = self.heads(fleet);
        hashes.sort_by_key(|hash| !shows(hash));
        hashes.truncate(PARENTS_MAX);
        hashes
    }

    /// The bytes of all entries, in the order of their hashes.
    #[must_use]
    pub fn entries(&self) -> Vec<Vec<u8>> {
        self.bytes.values().cloned().collect()
    }

    /// The bytes of those entries that a device once let into the fleet has signed: all that is worth keeping of what a
    /// stranger told.
    #[must_use]
    pub fn belonging(&self, fleet: &FleetId) -> Vec<Vec<u8>> {
        self.fleet_entries(fleet).filter(|(_, placed)| placed.ever).map(|(_, placed)| self.bytes[&placed.hash].clone()).collect()
    }

    fn fleet_entries(&self, fleet: &FleetId) -> impl Iterator<Item = (usize, &Placed)> {
        let places = self.fleets.get(fleet).map_or(&[][..], |standing| &standing.entries);
        places.iter().map(|at| (*at, &self.placed[*at]))
    }

    /// Puts an entry behind its parents; gives its fleet.
    fn place(&mut self, hash: EntryHash, entry: Entry) -> Option<FleetId> {
        let mut ancestors = Places::default();
        let mut fleets = BTreeSet::new();
        for parent in &entry.parents {
            let at = self.places[parent];
            ancestors.add(at);
            ancestors.add_all(&self.placed[at].ancestors);
            fleets.insert(self.placed[at].fleet);
        }
        let is_genesis = matches!(entry.statement, Statement::Genesis { .. });
        let fleet = match (is_genesis, fleets.len()) {
            (true, _) => Some(FleetId(hash)),
            (false, 1) => fleets.first().copied().flatten(),
            (false, _) => None,
        };
        let ever = is_genesis
            || fleet.is_some_and(|fleet| {
                let mut entries = self.fleet_entries(&fleet);
                entries.any(|(at, other)| other.ever && other.lets_in() == Some(entry.by) && ancestors.has(at))
            });
        self.places.insert(hash, self.placed.len());
        if let Some(fleet) = fleet {
            self.fleets.entry(fleet).or_default().entries.push(self.placed.len());
        }
        self.placed.push(Placed { hash, entry, fleet, ancestors, ever });
        fleet
    }

    /// What follows from a fleet's entries, from the beginning.
    fn judge(&mut self, fleet: FleetId) {
        let removals: Vec<(&Placed, DeviceId)> = self
            .fleet_entries(&fleet)
            .filter(|(_, placed)| placed.ever)
            .filter_map(|(_, placed)| Some((placed, placed.shuts_out()?)))
            .collect();
        let vouched = |at: usize, signer: [u8; 32]| {
            let by_others = removals.iter().filter(|(remove, device)| device.0 == signer && remove.entry.by != signer);
            by_others.into_iter().all(|(remove, _)| remove.ancestors.has(at))
        };
        let mut let_in: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        let (mut counted, mut passed) = (Vec::new(), Places::default());
        for (at, placed) in self.fleet_entries(&fleet).filter(|(_, placed)| placed.ever) {
            let signer = placed.entry.by;
            let counts = match placed.entry.statement {
                Statement::Genesis { .. } | Statement::Remove { .. } => true,
                Statement::Add { .. } => {
                    let_in.get(&signer).is_some_and(|by| by.iter().any(|by| placed.ancestors.has(*by))) && vouched(at, signer)
                }
            };
            if counts {
                counted.push(at);
                passed.add_all(&placed.ancestors);
                let_in.entry(placed.lets_in().unwrap_or(signer)).or_default().extend(placed.lets_in().map(|_| at));
            }
        }
        let removed: BTreeSet<DeviceId> = removals.iter().map(|(_, device)| *device).collect();
        let grants = let_in.into_iter().filter(|(_, by)| !by.is_empty()).map(|(key, _)| (DeviceId(key), key));
        let members = grants.filter(|(device, _)| !removed.contains(device)).collect();
        let heads = counted.into_iter().filter(|at| !passed.has(*at)).collect();
        if let Some(standing) = self.fleets.get_mut(&fleet) {
            (standing.members, standing.removed, standing.heads) = (members, removed, heads);
        }
    }
}

impl Placed {
    /// The key that this entry lets in, if it counts. A key that is not the device's first one is let in by nobody: that
    /// takes the signatures of both keys, which an entry of this version cannot carry.
    fn lets_in(&self) -> Option<[u8; 32]> {
        match &self.entry.statement {
            Statement::Genesis { .. } => Some(self.entry.by),
            Statement::Add { device, key } => (device.0 == *key).then_some(*key),
            Statement::Remove { .. } => None,
        }
    }

    fn shuts_out(&self) -> Option<DeviceId> {
        match &self.entry.statement {
            Statement::Remove { device } => Some(*device),
            Statement::Genesis { .. } | Statement::Add { .. } => None,
        }
    }
}

/// A set of places in the log, one bit each.
#[derive(Debug, Clone, Default)]
struct Places(Vec<u64>);

impl Places {
    fn add(&mut self, at: usize) {
        if self.0.len() <= at / 64 {
            self.0.resize(at / 64 + 1, 0);
        }
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn add_all(&mut self, others: &Places) {
        self.0.resize(self.0.len().max(others.0.len()), 0);
        for (mine, theirs) in self.0.iter_mut().zip(&others.0) {
            *mine |= theirs;
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

/// Reads and proves one entry, without looking at any other.
fn read(bytes: &[u8]) -> Result<Entry, NotAnEntry> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(NotAnEntry::TooLong);
    }
    let signed: Signed = postcard::from_bytes(bytes).map_err(|_| NotAnEntry::Garbled)?;
    // One entry, one spelling, one hash.
    if written(&signed) != bytes {
        return Err(NotAnEntry::Garbled);
    }
    let Signed { entry, signature } = signed;
    let is_genesis = matches!(entry.statement, Statement::Genesis { .. });
    let ordered = entry.parents.is_sorted_by(|a, b| a < b);
    if entry.parents.is_empty() != is_genesis || entry.parents.len() > PARENTS_MAX || !ordered {
        return Err(NotAnEntry::Parents);
    }
    let key = VerifyingKey::from_bytes(&entry.by).map_err(|_| NotAnEntry::Signature)?;
    let signature = Signature::from_slice(&signature).map_err(|_| NotAnEntry::Signature)?;
    key.verify_strict(&written(&entry), &signature).map_err(|_| NotAnEntry::Signature)?;
    Ok(entry)
}

fn written(what: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(what).expect("postcard writes plain data into memory without failing")
}

fn sign(key: &SigningKey, parents: &[EntryHash], statement: Statement) -> (EntryHash, Vec<u8>) {
    let named: BTreeSet<EntryHash> = parents.iter().take(PARENTS_MAX).copied().collect();
    let entry = Entry { parents: named.into_iter().collect(), statement, by: key.verifying_key().to_bytes() };
    let signature = key.sign(&written(&entry)).to_vec();
    let bytes = written(&Signed { entry, signature });
    (*blake3::hash(&bytes).as_bytes(), bytes)
}

/// Begins a fleet with its first device; the hash is the fleet's id. `nonce` is drawn at random.
#[must_use]
pub fn genesis(key: &SigningKey, nonce: [u8; 16]) -> (EntryHash, Vec<u8>) {
    sign(key, &[], Statement::Genesis { nonce })
}

/// Lets a device in. `parents` is [`Log::parents`] of the signer.
#[must_use]
pub fn add(key: &SigningKey, parents: &[EntryHash], device: DeviceId) -> (EntryHash, Vec<u8>) {
    sign(key, parents, Statement::Add { device, key: device.0 })
}

/// Shuts a device out for ever. `parents` is [`Log::parents`] of the signer: what they do not reach of that device's own
/// entries counts no more.
#[must_use]
pub fn remove(key: &SigningKey, parents: &[EntryHash], device: DeviceId) -> (EntryHash, Vec<u8>) {
    sign(key, parents, Statement::Remove { device })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::{QuickCheck, TestResult};

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn device(n: u8) -> DeviceId {
        DeviceId(key(n).verifying_key().to_bytes())
    }

    fn log(entries: &[&(EntryHash, Vec<u8>)]) -> Log {
        let mut log = Log::default();
        for entry in entries {
            log.learn(&entry.1).expect("an honest entry");
        }
        log
    }

    fn devices(log: &Log, fleet: EntryHash) -> Vec<DeviceId> {
        log.members(&FleetId(fleet)).into_keys().collect()
    }

    fn sorted(ns: &[u8]) -> Vec<DeviceId> {
        ns.iter().map(|n| device(*n)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn a_device_that_another_member_added_is_a_member() {
        let begin = genesis(&key(1), [9; 16]);
        let second = add(&key(1), &[begin.0], device(2));
        let third = add(&key(2), &[second.0], device(3));
        let log = log(&[&third, &second, &begin]);
        assert_eq!(devices(&log, begin.0), sorted(&[1, 2, 3]));
        let fleet = FleetId(begin.0);
        assert!(log.proves(&fleet, &device(3).0) && !log.proves(&fleet, &device(4).0) && !log.is_removed(&fleet, &device(3).0));
        assert_eq!(log.heads(&fleet), vec![third.0]);
        assert_eq!((log.entries().len(), log.belonging(&fleet).len()), (3, 3));
    }

    #[test]
    fn an_entry_waits_for_its_parents_and_is_learned_once() {
        let begin = genesis(&key(1), [9; 16]);
        let second = add(&key(1), &[begin.0], device(2));
        let mut log = Log::default();
        assert_eq!(log.learn(&second.1), Ok(true));
        assert_eq!(log.learn(&second.1), Ok(false));
        assert!(devices(&log, begin.0).is_empty() && log.heads(&FleetId(begin.0)).is_empty());
        assert_eq!(log.learn(&begin.1), Ok(true));
        assert_eq!(devices(&log, begin.0), sorted(&[1, 2]));
    }

    #[test]
    fn a_removed_thief_who_adds_a_second_key_gains_nothing() {
        let begin = genesis(&key(1), [9; 16]);
        let thief = add(&key(1), &[begin.0], device(2));
        let remove = remove(&key(1), &[thief.0], device(2));
        let after = add(&key(2), &[remove.0], device(7));
        let backdated = add(&key(2), &[thief.0], device(8));
        let by_second_key = add(&key(8), &[backdated.0], device(9));
        let log = log(&[&begin, &thief, &backdated, &by_second_key, &after, &remove]);
        assert_eq!(devices(&log, begin.0), sorted(&[1]));
        assert!(log.is_removed(&FleetId(begin.0), &device(2).0));
        // Not even an honest entry that stands on the thief's brings it back.
        let again = add(&key(1), &[remove.0, by_second_key.0], device(2));
        let mut log = log;
        log.learn(&again.1).unwrap();
        assert_eq!(devices(&log, begin.0), sorted(&[1]));
    }

    #[test]
    fn who_was_let_in_by_a_thief_must_stand_on_an_entry_that_counts() {
        let begin = genesis(&key(1), [9; 16]);
        let thief = add(&key(1), &[begin.0], device(2));
        let remove = remove(&key(1), &[thief.0], device(2));
        let backdated = add(&key(2), &[thief.0], device(3));
        let on_the_thief = add(&key(3), &[backdated.0], device(4));
        let honest = add(&key(1), &[remove.0], device(3));
        let all = [&begin, &thief, &remove, &honest, &backdated, &on_the_thief];
        assert_eq!(devices(&log(&all), begin.0), sorted(&[1, 3]));
        let on_the_honest = add(&key(3), &[honest.0], device(5));
        assert_eq!(devices(&log(&[&all[..], &[&on_the_honest]].concat()), begin.0), sorted(&[1, 3, 5]));
    }

    #[test]
    fn what_the_removal_has_seen_stays_unless_another_removal_has_not() {
        let begin = genesis(&key(1), [9; 16]);
        let second = add(&key(1), &[begin.0], device(2));
        let third = add(&key(2), &[second.0], device(3));
        let remove_seen = remove(&key(1), &[third.0], device(2));
        let mut log = log(&[&begin, &second, &third, &remove_seen]);
        assert_eq!(devices(&log, begin.0), sorted(&[1, 3]));
        let remove_unseen = remove(&key(1), &[second.0], device(2));
        log.learn(&remove_unseen.1).unwrap();
        assert_eq!(devices(&log, begin.0), sorted(&[1]));
    }

    #[test]
    fn mutual_removals_both_apply_and_leaving_takes_nobody_along() {
        let begin = genesis(&key(1), [9; 16]);
        let second = add(&key(1), &[begin.0], device(2));
        let third = add(&key(1), &[second.0], device(3));
        let one = remove(&key(1), &[third.0], device(2));
        let other = remove(&key(2), &[third.0], device(1));
        assert_eq!(devices(&log(&[&begin, &second, &third, &one, &other]), begin.0), sorted(&[3]));
        let fourth = add(&key(1), &[begin.0], device(4));
        let leave = remove(&key(1), &[third.0], device(1));
        assert_eq!(devices(&log(&[&begin, &second, &third, &fourth, &leave]), begin.0), sorted(&[2, 3, 4]));
    }

    #[test]
    fn another_fleet_and_a_mixture_of_two_are_inert() {
        let (mine, yours) = (genesis(&key(1), [1; 16]), genesis(&key(1), [2; 16]));
        assert_ne!(mine.0, yours.0);
        let foreign = add(&key(1), &[yours.0], device(2));
        let mixed = add(&key(1), &[mine.0, yours.0], device(3));
        let mixed_remove = remove(&key(1), &[mine.0, foreign.0], device(1));
        let stranger = add(&key(5), &[mine.0], device(6));
        let log = log(&[&mine, &yours, &foreign, &mixed, &mixed_remove, &stranger]);
        assert_eq!(devices(&log, mine.0), sorted(&[1]));
        assert_eq!(devices(&log, yours.0), sorted(&[1, 2]));
        assert_eq!(log.belonging(&FleetId(mine.0)), vec![mine.1.clone()]);
        let other_key = sign(&key(1), &[mine.0], Statement::Add { device: device(2), key: device(3).0 });
        let mut log = log;
        log.learn(&other_key.1).unwrap();
        assert_eq!(devices(&log, mine.0), sorted(&[1]));
    }

    #[test]
    fn a_flood_of_heads_does_not_keep_a_removal_from_counting() {
        let begin = genesis(&key(1), [9; 16]);
        let thief = add(&key(1), &[begin.0], device(2));
        let honest = add(&key(1), &[begin.0], device(3));
        let mut log = log(&[&begin, &thief, &honest]);
        for n in 0..=2 * PARENTS_MAX as u8 {
            log.learn(&add(&key(2), &[thief.0], DeviceId([n; 32])).1).unwrap();
        }
        let fleet = FleetId(begin.0);
        assert!(!log.heads(&fleet)[..PARENTS_MAX].contains(&honest.0), "choose another nonce, so that the flood hides it");
        let remove = remove(&key(3), &log.parents(&fleet, &device(3).0), device(2));
        log.learn(&remove.1).unwrap();
        assert!(log.is_removed(&fleet, &device(2).0));
    }

    #[test]
    fn what_is_not_signed_or_spelled_right_is_refused() {
        let begin = genesis(&key(1), [9; 16]);
        let second = add(&key(1), &[begin.0], device(2));
        let mut signed: Signed = postcard::from_bytes(&second.1).unwrap();
        signed.entry.by = key(3).verifying_key().to_bytes();
        let mut log = Log::default();
        assert_eq!(log.learn(&written(&signed)), Err(NotAnEntry::Signature));
        signed.signature.pop();
        assert_eq!(log.learn(&written(&signed)), Err(NotAnEntry::Signature));
        let mut longer = second.1.clone();
        longer.push(0);
        assert_eq!(log.learn(&longer), Err(NotAnEntry::Garbled));
        // The name of the device in capitals reads as the same entry with another hash.
        let shouted: Vec<u8> = second.1.iter().map(|b| if b.is_ascii_lowercase() { b.to_ascii_uppercase() } else { *b }).collect();
        assert_eq!(log.learn(&shouted), Err(NotAnEntry::Garbled));
        assert_eq!(log.learn(&add(&key(1), &[], device(2)).1), Err(NotAnEntry::Parents));
        assert_eq!(log.learn(&sign(&key(1), &[begin.0], Statement::Genesis { nonce: [0; 16] }).1), Err(NotAnEntry::Parents));
        assert_eq!(log.learn(&vec![0; ENTRY_BYTES_MAX + 1]), Err(NotAnEntry::TooLong));
        assert!(log.entries().is_empty());
        for at in (0..second.1.len()).step_by(7) {
            let mut changed = second.1.clone();
            changed[at] ^= 1;
            assert!(log.learn(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn no_bytes_panic() {
        fn law(bytes: Vec<u8>, cut: usize, at: usize, to: u8) -> bool {
            let mut log = Log::default();
            let mut entry = genesis(&key(1), [9; 16]).1;
            let length = entry.len();
            entry[at % length] = to;
            entry.truncate(cut % (length + 1));
            log.learn(&bytes).is_err() | log.learn(&entry).is_err()
        }
        QuickCheck::new().quickcheck(law as fn(_, _, _, _) -> bool);
    }

    /// Random entries: (signer, what, whom, parents) over five devices, two fleets and any parents.
    type Plan = Vec<(u8, u8, u8, (u8, u8))>;

    /// What [`sign`] makes, without the cost of a signature.
    fn say(signer: u8, parents: &[EntryHash], statement: Statement) -> (EntryHash, Entry) {
        let parents: BTreeSet<EntryHash> = parents.iter().copied().collect();
        let entry = Entry { parents: parents.into_iter().collect(), statement, by: [signer; 32] };
        (*blake3::hash(&written(&entry)).as_bytes(), entry)
    }

    fn play(plan: &Plan) -> Vec<(EntryHash, Entry)> {
        let begin = |signer, nonce| say(signer, &[], Statement::Genesis { nonce: [nonce; 16] });
        let mut entries = vec![begin(0, 1), begin(4, 2)];
        for (signer, what, whom, (a, b)) in plan.iter().take(10) {
            // Mostly the newest entries of the first fleet, so that logs grow deep.
            let parents = [a, b].map(|back| entries[(entries.len() - 1).saturating_sub(usize::from(back % 5))].0);
            let parents = if parents.contains(&entries[1].0) && a % 7 != 0 { [entries[0].0; 2] } else { parents };
            let device = DeviceId([whom % 5; 32]);
            let statement = if what % 3 == 0 { Statement::Remove { device } } else { Statement::Add { device, key: device.0 } };
            let said = say(signer % 5, &parents, statement);
            if !entries.contains(&said) {
                entries.push(said);
            }
        }
        entries
    }

    /// The rules of this file's story, said again as plainly as possible.
    struct Plainly(BTreeMap<EntryHash, Entry>);

    impl Plainly {
        fn ancestors(&self, of: &EntryHash) -> BTreeSet<EntryHash> {
            self.0[of].parents.iter().flat_map(|parent| self.ancestors(parent).into_iter().chain([*parent])).collect()
        }

        fn is_of(&self, fleet: EntryHash, hash: &EntryHash) -> bool {
            let roots = self.ancestors(hash).into_iter().chain([*hash]).filter(|h| self.0[h].parents.is_empty());
            roots.collect::<BTreeSet<_>>() == BTreeSet::from([fleet])
        }

        fn lets_in(&self, hash: &EntryHash) -> Option<[u8; 32]> {
            match &self.0[hash].statement {
                Statement::Genesis { .. } => Some(self.0[hash].by),
                Statement::Add { key, .. } => Some(*key),
                Statement::Remove { .. } => None,
            }
        }

        fn ever(&self, hash: &EntryHash) -> bool {
            let by = self.0[hash].by;
            self.0[hash].parents.is_empty() || self.ancestors(hash).iter().any(|a| self.lets_in(a) == Some(by) && self.ever(a))
        }

        fn removals(&self, fleet: EntryHash) -> Vec<(EntryHash, DeviceId)> {
            let all = self.0.iter().filter(|(hash, _)| self.is_of(fleet, hash) && self.ever(hash));
            all.filter_map(|(hash, entry)| if let Statement::Remove { device } = entry.statement { Some((*hash, device)) } else { None })
                .collect()
        }

        fn counts(&self, fleet: EntryHash, hash: &EntryHash) -> bool {
            let by = self.0[hash].by;
            if self.0[hash].parents.is_empty() {
                return *hash == fleet;
            }
            let vouched =
                |(remove, whom): &(EntryHash, DeviceId)| whom.0 != by || self.0[remove].by == by || self.ancestors(remove).contains(hash);
            self.is_of(fleet, hash)
                && self.ancestors(hash).iter().any(|a| self.lets_in(a) == Some(by) && self.counts(fleet, a))
                && self.removals(fleet).iter().all(vouched)
        }

        fn members(&self, fleet: EntryHash) -> Vec<DeviceId> {
            let let_in = self.0.keys().filter(|hash| self.counts(fleet, hash)).filter_map(|hash| self.lets_in(hash)).map(DeviceId);
            let removed: BTreeSet<DeviceId> = self.removals(fleet).into_iter().map(|(_, device)| device).collect();
            let_in.filter(|device| !removed.contains(device)).collect::<BTreeSet<_>>().into_iter().collect()
        }
    }

    #[test]
    fn any_order_gives_the_members_that_the_plain_rules_give() {
        fn law(plan: Plan, order: Vec<u8>) -> TestResult {
            let entries = play(&plan);
            let fleets = [entries[0].0, entries[1].0];
            let mut shuffled: Vec<_> = entries.iter().enumerate().collect();
            shuffled.sort_by_key(|(at, entry)| (order.get(*at).copied().unwrap_or(7), entry.0));
            let (mut log, mut other) = (Log::default(), Log::default());
            let mut removed = BTreeSet::new();
            for (_, (hash, entry)) in shuffled {
                log.take_in(*hash, &[], entry.clone());
                // Once removed, never a member again, whatever is learned later.
                let fleet = FleetId(fleets[0]);
                removed.extend((0..5).map(|n| [n; 32]).filter(|key| log.is_removed(&fleet, key)));
                if removed.iter().any(|key| log.proves(&fleet, key) || !log.is_removed(&fleet, key)) {
                    return TestResult::error("a removed key is a member again");
                }
            }
            for (hash, entry) in &entries {
                other.take_in(*hash, &[], entry.clone());
            }
            let plainly = Plainly(entries.into_iter().collect());
            TestResult::from_bool(fleets.iter().all(|fleet| {
                let members = plainly.members(*fleet);
                let same_heads = log.heads(&FleetId(*fleet)) == other.heads(&FleetId(*fleet));
                devices(&log, *fleet) == members && devices(&other, *fleet) == members && same_heads
            }))
        }
        QuickCheck::new().tests(2_000).quickcheck(law as fn(_, _) -> TestResult);
    }
}
