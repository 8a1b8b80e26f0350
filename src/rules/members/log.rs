//! All entries that are known, and what follows from them: the same from the same entries, in whatever order and portions
//! they came. There is no room that somebody could fill: what a member writes costs what its bytes cost, and what has no
//! part in a fleet is never judged. A copy costs nothing, so that what a stranger says is judged apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::model::id::{DeviceId, FleetId};
use crate::model::limits::{ANCESTORS_MAX, ENTRIES_HEARD_MAX};
use crate::model::member::{Entry, EntryHash, Statement};

use super::entries::{NotAnEntry, read};

/// All entries that are known, and what follows from them.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The bytes of all entries, waiting ones among them.
    bytes: OrdMap<EntryHash, Arc<[u8]>>,
    /// Entries all of whose ancestors are known, parents first.
    placed: Vector<Arc<Placed>>,
    /// Where in `placed` an entry stands.
    places: OrdMap<EntryHash, usize>,
    /// Entries that wait for a parent, by the first parent that is missing.
    waiting: OrdMap<EntryHash, Vec<(EntryHash, Entry)>>,
    /// What follows, fleet by fleet.
    fleets: OrdMap<FleetId, Arc<Standing>>,
}

/// An entry all of whose ancestors are known.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) hash: EntryHash,
    pub(super) entry: Entry,
    /// The one genesis among its ancestors; `None` when there are several, or too many ancestors.
    fleet: Option<FleetId>,
    /// Where its ancestors stand, in order.
    pub(super) ancestors: Vec<usize>,
    /// Bytes of it.
    pub(super) size: usize,
}

/// What follows from the entries of one fleet, those of strangers aside.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Where its entries stand whose signer was ever let in among their ancestors, whatever was removed. Nothing learned later
    /// changes that.
    pub(super) entries: Vec<usize>,
    /// Bytes of them.
    bytes: usize,
    /// Those that let a key in, if they count.
    pub(super) letting_in: BTreeMap<[u8; 32], Vec<usize>>,
    /// Those that shut a device out.
    pub(super) removals: BTreeMap<DeviceId, Vec<usize>>,
    /// Those that count.
    pub(super) counted: Vec<usize>,
    /// Those that no other one which counts has among its ancestors.
    pub(super) heads: BTreeSet<usize>,
    /// Who signed any.
    signers: BTreeSet<[u8; 32]>,
    /// Who was shut out by another one.
    shut_out: BTreeSet<[u8; 32]>,
    members: BTreeMap<DeviceId, [u8; 32]>,
}

impl Standing {
    /// Takes an entry in that follows all that are here, whose signer was ever let in among its ancestors. True: what followed
    /// from those before it has to be judged again.
    fn take(&mut self, here: usize, placed: &Placed) -> bool {
        let signer = placed.entry.by;
        let counts = match placed.entry.statement {
            Statement::Genesis { .. } | Statement::Remove { .. } => true,
            // No removal that is here can have it among its ancestors.
            Statement::Add { .. } => !self.shut_out.contains(&signer) && self.let_in(&signer, &placed.ancestors),
        };
        self.entries.push(here);
        self.bytes += placed.size;
        if let Some(key) = placed.lets_in() {
            self.letting_in.entry(key).or_default().push(here);
        }
        if counts {
            self.counted.push(here);
            if placed.ancestors.len() < self.heads.len() {
                for at in &placed.ancestors {
                    self.heads.remove(at);
                }
            } else {
                self.heads.retain(|at| !placed.has(*at));
            }
            self.heads.insert(here);
            let let_in = placed.lets_in().map(DeviceId).filter(|device| !self.removals.contains_key(device));
            self.members.extend(let_in.map(|device| (device, device.0)));
        }
        let mut again = false;
        if let Statement::Remove { device } = placed.entry.statement {
            self.members.remove(&device);
            self.removals.entry(device).or_default().push(here);
            if signer != device.0 {
                self.shut_out.insert(device.0);
                again = self.signers.contains(&device.0);
            }
        }
        self.signers.insert(signer);
        again
    }

    /// Whether an entry that counts and is among these let a key in.
    fn let_in(&self, key: &[u8; 32], ancestors: &[usize]) -> bool {
        let by = self.letting_in.get(key).map_or(&[][..], Vec::as_slice);
        let (few, many) = if by.len() < ancestors.len() { (by, ancestors) } else { (ancestors, by) };
        few.iter().any(|at| many.binary_search(at).is_ok() && self.counted.binary_search(at).is_ok())
    }
}

impl Log {
    /// Takes an entry in; true when it was not known. One with missing parents is kept and judged when they come.
    ///
    /// # Errors
    /// [`NotAnEntry`] when it could never count; nothing of it is kept.
    pub fn learn(&mut self, bytes: &[u8]) -> Result<bool, NotAnEntry> {
        let hash = *blake3::hash(bytes).as_bytes();
        if self.bytes.contains_key(&hash) {
            return Ok(false);
        }
        let entry = read(bytes)?;
        let mut touched = BTreeSet::new();
        self.take_in(hash, bytes, entry, &mut touched);
        self.judge_all(touched);
        Ok(true)
    }

    /// Takes many entries in and judges once; what is no entry says nothing. True when one was not known.
    pub fn learn_all<B: AsRef<[u8]>>(&mut self, entries: impl IntoIterator<Item = B>) -> bool {
        let mut touched = BTreeSet::new();
        let mut is_new = false;
        for bytes in entries {
            let bytes = bytes.as_ref();
            let hash = *blake3::hash(bytes).as_bytes();
            if let (false, Ok(entry)) = (self.bytes.contains_key(&hash), read(bytes)) {
                self.take_in(hash, bytes, entry, &mut touched);
                is_new = true;
            }
        }
        self.judge_all(touched);
        is_new
    }

    /// Takes in what one message tells: of those that are not known the first [`ENTRIES_HEARD_MAX`].
    pub fn hear(&mut self, told: &[Vec<u8>]) {
        let new: Vec<&Vec<u8>> = told.iter().filter(|bytes| !self.knows(bytes)).take(ENTRIES_HEARD_MAX).collect();
        self.learn_all(new);
    }

    /// Whether an entry is known.
    #[must_use]
    pub fn knows(&self, bytes: &[u8]) -> bool {
        self.bytes.contains_key(blake3::hash(bytes).as_bytes())
    }

    /// Takes in an entry that is proved and new; `touched`: the fleets to be judged again.
    pub(super) fn take_in(&mut self, hash: EntryHash, bytes: &[u8], entry: Entry, touched: &mut BTreeSet<FleetId>) {
        self.bytes.insert(hash, bytes.into());
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
    }

    /// Judges these fleets again.
    pub(super) fn judge_all(&mut self, touched: BTreeSet<FleetId>) {
        for fleet in touched {
            self.judge(fleet);
        }
    }

    /// The members of a fleet and the key of each.
    #[must_use]
    pub fn members(&self, fleet: &FleetId) -> BTreeMap<DeviceId, [u8; 32]> {
        self.fleets.get(fleet).map(|standing| standing.members.clone()).unwrap_or_default()
    }

    /// The members alone, without a copy of them: asked for in every step.
    pub fn ids(&self, fleet: &FleetId) -> impl Iterator<Item = &DeviceId> {
        self.fleets.get(fleet).into_iter().flat_map(|standing| standing.members.keys())
    }

    /// Whether this key is a member's. It is the device's first one: no other is let in.
    #[must_use]
    pub fn proves(&self, fleet: &FleetId, key: &[u8; 32]) -> bool {
        self.fleets.get(fleet).is_some_and(|standing| standing.members.contains_key(&DeviceId(*key)))
    }

    /// Whether this key was shut out of the fleet, by itself or by another.
    #[must_use]
    pub fn is_removed(&self, fleet: &FleetId, key: &[u8; 32]) -> bool {
        self.fleets.get(fleet).is_some_and(|standing| standing.removals.contains_key(&DeviceId(*key)))
    }

    /// The newest entries of a fleet that count, in order.
    #[must_use]
    pub fn heads(&self, fleet: &FleetId) -> Vec<EntryHash> {
        let heads = self.standing(fleet).into_iter().flat_map(|standing| &standing.heads);
        let mut hashes: Vec<_> = heads.map(|at| self.placed[*at].hash).collect();
        hashes.sort_unstable();
        hashes
    }

    /// The bytes of all entries, in the order of their hashes.
    #[must_use]
    pub fn entries(&self) -> Vec<Vec<u8>> {
        self.bytes.values().map(|bytes| bytes.to_vec()).collect()
    }

    /// The bytes of those entries that a device once let into the fleet has signed: all that is worth keeping of what a
    /// stranger told.
    #[must_use]
    pub fn belonging(&self, fleet: &FleetId) -> Vec<Vec<u8>> {
        let entries = self.standing(fleet).map_or(&[][..], |standing| &standing.entries);
        entries.iter().map(|at| self.bytes_at(*at)).collect()
    }

    /// How many bytes [`Log::belonging`] has.
    #[must_use]
    pub fn bytes(&self, fleet: &FleetId) -> usize {
        self.standing(fleet).map_or(0, |standing| standing.bytes)
    }

    pub(super) fn standing(&self, fleet: &FleetId) -> Option<&Standing> {
        self.fleets.get(fleet).map(AsRef::as_ref)
    }

    pub(super) fn at(&self, at: usize) -> &Placed {
        &self.placed[at]
    }

    pub(super) fn bytes_at(&self, at: usize) -> Vec<u8> {
        self.bytes[&self.placed[at].hash].to_vec()
    }

    /// Puts an entry behind its parents, and says what follows from it; gives its fleet if the entries before it have to be
    /// judged again, which only the removal of one who signed some can ask for.
    fn place(&mut self, hash: EntryHash, entry: Entry) -> Option<FleetId> {
        let here = self.placed.len();
        let is_genesis = matches!(entry.statement, Statement::Genesis { .. });
        let (fleet, ancestors) = if is_genesis { (Some(FleetId(hash)), Vec::new()) } else { self.lineage(&entry) };
        let size = self.bytes.get(&hash).map_or(0, |bytes| bytes.len());
        let placed = Placed { hash, entry, fleet, ancestors, size };
        let was_let_in = |standing: &Standing| standing.letting_in.get(&placed.entry.by).is_some_and(|by| meet(by, &placed.ancestors));
        let ever = fleet.filter(|fleet| is_genesis || self.standing(fleet).is_some_and(was_let_in));
        let again = ever.filter(|fleet| Arc::make_mut(self.fleets.entry(*fleet).or_default()).take(here, &placed));
        self.places.insert(hash, here);
        self.placed.push_back(Arc::new(placed));
        again
    }

    /// The fleet of an entry that is no genesis, and where its ancestors stand; none of either when it is inert.
    fn lineage(&self, entry: &Entry) -> (Option<FleetId>, Vec<usize>) {
        let mut ancestors = Vec::new();
        let mut fleets = BTreeSet::new();
        for parent in &entry.parents {
            let at = self.places[parent];
            ancestors.push(at);
            ancestors.extend(&self.placed[at].ancestors);
            fleets.insert(self.placed[at].fleet);
        }
        ancestors.sort_unstable();
        ancestors.dedup();
        match fleets.first().copied().flatten().filter(|_| fleets.len() == 1 && ancestors.len() <= ANCESTORS_MAX) {
            Some(fleet) => (Some(fleet), ancestors),
            None => (None, Vec::new()),
        }
    }

    /// What follows from a fleet's entries, from the beginning. Each costs as much as it has ancestors.
    fn judge(&mut self, fleet: FleetId) {
        let Some(standing) = self.standing(&fleet) else { return };
        let vouched: BTreeMap<DeviceId, Option<Vec<usize>>> =
            standing.removals.iter().map(|(device, removals)| (*device, self.seen_by_all(*device, removals))).collect();
        let is_vouched = |at: usize, signer: [u8; 32]| {
            let seen = vouched.get(&DeviceId(signer)).and_then(Option::as_ref);
            seen.is_none_or(|seen| seen.binary_search(&at).is_ok())
        };
        let mut let_in: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        let (mut counted, mut passed) = (Vec::new(), vec![false; self.placed.len()]);
        for at in standing.entries.iter().copied() {
            let placed = self.at(at);
            let signer = placed.entry.by;
            let counts = match placed.entry.statement {
                Statement::Genesis { .. } | Statement::Remove { .. } => true,
                Statement::Add { .. } => let_in.get(&signer).is_some_and(|by| meet(by, &placed.ancestors)) && is_vouched(at, signer),
            };
            if counts {
                counted.push(at);
                placed.ancestors.iter().for_each(|at| passed[*at] = true);
                if let Some(key) = placed.lets_in() {
                    let_in.entry(key).or_default().push(at);
                }
            }
        }
        let members = let_in.into_keys().map(|key| (DeviceId(key), key));
        let members = members.filter(|(device, _)| !standing.removals.contains_key(device)).collect();
        let heads = counted.iter().copied().filter(|at| !passed[*at]).collect();
        if let Some(standing) = self.fleets.get_mut(&fleet) {
            let standing = Arc::make_mut(standing);
            (standing.members, standing.counted, standing.heads) = (members, counted, heads);
        }
    }

    /// What every removal of a device by another one has among its ancestors; `None` when no other one removed it.
    fn seen_by_all(&self, device: DeviceId, removals: &[usize]) -> Option<Vec<usize>> {
        let by_others = removals.iter().map(|at| self.at(*at)).filter(|remove| remove.entry.by != device.0);
        let mut seen: Option<Vec<usize>> = None;
        for remove in by_others {
            match &mut seen {
                Some(seen) => seen.retain(|at| remove.has(*at)),
                None => seen = Some(remove.ancestors.clone()),
            }
        }
        seen
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

    /// Whether what stands there is an ancestor of it.
    pub(super) fn has(&self, at: usize) -> bool {
        self.ancestors.binary_search(&at).is_ok()
    }
}

/// Whether two lists in order have something in common; as cheap as the shorter one.
pub(super) fn meet(a: &[usize], b: &[usize]) -> bool {
    let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
    few.iter().any(|at| many.binary_search(at).is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::entries::{add, genesis, remove, sign, written};
    use super::*;
    use crate::model::limits::{ENTRY_BYTES_MAX, PARENTS_MAX};
    use crate::model::member::Signed;
    use ed25519_dalek::SigningKey;
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

    fn take_all(log: &mut Log, entries: &[(EntryHash, Entry)]) {
        let mut touched = BTreeSet::new();
        entries.iter().for_each(|(hash, entry)| log.take_in(*hash, &[], entry.clone(), &mut touched));
        log.judge_all(touched);
    }

    /// The rules of the story of `rules/members.rs`, said again as plainly as possible.
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
        fn law(plan: Plan, order: Vec<u8>, portion: u8) -> TestResult {
            let entries = play(&plan);
            let fleets = [entries[0].0, entries[1].0];
            let mut shuffled: Vec<_> = entries.iter().enumerate().collect();
            shuffled.sort_by_key(|(at, entry)| (order.get(*at).copied().unwrap_or(7), entry.0));
            let (mut log, mut other) = (Log::default(), Log::default());
            let mut removed = BTreeSet::new();
            for portion in shuffled.chunks(usize::from(portion % 4) + 1) {
                let mut touched = BTreeSet::new();
                portion.iter().for_each(|(_, (hash, entry))| log.take_in(*hash, &[], entry.clone(), &mut touched));
                log.judge_all(touched);
                // Once removed, never a member again, whatever is learned later.
                let fleet = FleetId(fleets[0]);
                removed.extend((0..5).map(|n| [n; 32]).filter(|key| log.is_removed(&fleet, key)));
                if removed.iter().any(|key| log.proves(&fleet, key) || !log.is_removed(&fleet, key)) {
                    return TestResult::error("a removed key is a member again");
                }
            }
            take_all(&mut other, &entries);
            let plainly = Plainly(entries.into_iter().collect());
            TestResult::from_bool(fleets.iter().all(|fleet| {
                let members = plainly.members(*fleet);
                let same_heads = log.heads(&FleetId(*fleet)) == other.heads(&FleetId(*fleet));
                devices(&log, *fleet) == members && devices(&other, *fleet) == members && same_heads
            }))
        }
        QuickCheck::new().tests(2_000).quickcheck(law as fn(_, _, _) -> TestResult);
    }

    /// Nothing is left out because of what came before it: the same entries, the same members.
    #[test]
    fn a_flood_before_an_entry_and_after_it_is_the_same() {
        let begin = say(1, &[], Statement::Genesis { nonce: [9; 16] });
        let honest = say(1, &[begin.0], Statement::Add { device: DeviceId([3; 32]), key: [3; 32] });
        let flood: Vec<_> = (0..6_000u32)
            .map(|n| {
                let mut nonce = [0; 16];
                nonce[..4].copy_from_slice(&n.to_le_bytes());
                say(2, &[], Statement::Genesis { nonce })
            })
            .collect();
        let (mut one, mut two) = (Log::default(), Log::default());
        take_all(&mut one, &[&[begin.clone(), honest.clone()][..], &flood].concat());
        take_all(&mut two, &[&[begin.clone()][..], &flood, &[honest]].concat());
        assert_eq!(devices(&one, begin.0), vec![DeviceId([1; 32]), DeviceId([3; 32])]);
        assert_eq!(devices(&one, begin.0), devices(&two, begin.0));
        assert_eq!(one.belonging(&FleetId(begin.0)).len(), 2, "what has no part in the fleet is not handed on");
    }

    #[test]
    fn an_entry_with_too_many_ancestors_is_inert_in_any_order() {
        let begin = say(1, &[], Statement::Genesis { nonce: [9; 16] });
        let mut chain = vec![begin.clone()];
        for n in 0..=ANCESTORS_MAX {
            let mut id = [7; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            chain.push(say(1, &[chain[n].0], Statement::Add { device: DeviceId(id), key: id }));
        }
        let (mut one, mut two) = (Log::default(), Log::default());
        take_all(&mut one, &chain);
        chain.reverse();
        take_all(&mut two, &chain);
        assert_eq!(devices(&one, begin.0).len(), 1 + ANCESTORS_MAX, "the last one is one too deep");
        assert_eq!(devices(&one, begin.0), devices(&two, begin.0));
    }

    #[test]
    fn a_thiefs_thousands_of_entries_are_judged_once_and_cost_what_their_bytes_cost() {
        let begin = genesis(&key(1), [9; 16]);
        let thief = add(&key(1), &[begin.0], DeviceId([2; 32]));
        let id = |n: u32| {
            let mut id = [7; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            DeviceId(id)
        };
        // One key that is let in a thousand times, shut out a thousand times, and lets in others, beside a flood of others.
        let mut flood = Vec::new();
        for n in 0..1_000u32 {
            flood.push(say(2, &[thief.0], Statement::Add { device: id(n), key: id(n).0 }));
            flood.push(say(2, &[thief.0], Statement::Remove { device: id(100_000 + n) }));
            let x = say(2, &[flood[flood.len() - 1].0], Statement::Add { device: DeviceId([6; 32]), key: [6; 32] });
            flood.push(say(6, &[x.0], Statement::Add { device: id(200_000 + n), key: id(200_000 + n).0 }));
            flood.push(x);
        }
        let mut log = log(&[&begin, &thief]);
        take_all(&mut log, &flood);
        let fleet = FleetId(begin.0);
        assert_eq!(log.members(&fleet).len(), 2 + 1_000 + 1 + 1_000);
        // The removal is of little history, although there are thousands of heads, and it counts.
        let parents = log.parents(&fleet, &device(1).0);
        let out = remove(&key(1), &parents, DeviceId([2; 32]));
        log.learn(&out.1).unwrap();
        assert!(log.is_removed(&fleet, &[2; 32]) && log.proves(&fleet, &device(1).0));
    }
}
