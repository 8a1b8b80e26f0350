//! Looking whether all is as it should be: files against what was kept in them, devices against each other; and levelling when a person asks.
//!
//! A check goes on beside everything else, a little in each step. **It changes nothing but what it was asked to**: a look at another device moves no
//! document, a dry run says what a run would exchange, only `repair` writes, and what it takes the place of is set aside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::batch::Keep;
use crate::model::checkup::{Checked, FileDamaged, Outcome, PeerChecked, Repair, Task};
use crate::model::effects::{Effects, Note};
use crate::model::id::{Asker, DeviceId, DocId, LinkId};
use crate::model::message::{DocHeads, Head, Holding, Message};
use crate::model::peering::Terms;
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::time::{Millis, Now};

use super::content::{Contents, ahead, holdings};
use super::document::Document;
use super::link::{Link, Stage};
use super::machine::Replica;

/// How soon a check goes on.
const STEP_MS: Millis = 20;
/// How long a link is waited for.
const LINK_MS: Millis = 5_000;
/// How long documents under way are waited for before they are compared.
const SETTLE_MS: Millis = 10_000;
/// How long an answer is waited for: the other hashes all that it holds.
const ANSWER_MS: Millis = 20_000;
/// How long a run may take with one device; it goes on beyond, and nobody waits.
const RUN_MS: Millis = 45_000;
/// How long the other's terms are waited for when it exchanges nothing.
const RESTING_MS: Millis = 3_000;
/// How often documents that differ are compared again, when something may have been under way.
const TRIES: u8 = 3;
/// From one of those to the next.
const AGAIN_MS: Millis = 700;
/// Files that are read back in one step.
const FILES_MAX: usize = 16;
/// Checks at one time.
const CHECKS_MAX: usize = 8;

/// Where a check is with one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Linking,
    Settling,
    Asked(u64),
    Passing,
    Done,
}

struct Peer {
    step: Step,
    since: Millis,
    tries: u8,
    before: (u64, u64),
    found: PeerChecked,
}

struct Check {
    asker: Asker,
    task: Task,
    files: VecDeque<DocId>,
    /// Files that are being read, each with what must be in it.
    reading: BTreeMap<DocId, (Vec<Head>, u64)>,
    peers: BTreeMap<DeviceId, Peer>,
    found: Checked,
}

/// All checks that go on, and the questions of others.
#[derive(Default)]
pub(super) struct Checking {
    checks: Vec<Check>,
    looks: BTreeMap<LinkId, (u64, BTreeMap<DocId, Vec<Head>>)>,
    contents: Contents,
    asked: u64,
    due: Option<Millis>,
}

impl Checking {
    /// When a check goes on.
    pub(super) fn due(&self) -> Option<Millis> {
        self.due
    }
}

impl Replica {
    /// A person asks for one.
    pub(super) fn begin_check(
        &mut self,
        asker: Asker,
        typed: Option<&str>,
        task: Task,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let devices: Vec<DeviceId> = match typed {
            Some(typed) => [self.find_device(typed)?].into(),
            None => self.others().collect(),
        };
        if self.checking.checks.len() >= CHECKS_MAX {
            return Err(Refusal::new(Code::Busy, format!("{CHECKS_MAX} checks go on already")).fix("ask again in a moment"));
        }
        let verifies = matches!(task, Task::Verify { .. });
        let files = if verifies { self.library.iter().map(|(id, _)| id.clone()).collect() } else { VecDeque::new() };
        let mut peers = BTreeMap::new();
        for device in devices.into_iter().filter(|device| *device != self.me.device) {
            if !self.linked().contains(&device) {
                self.dialing.anew(&device, now.boot_ms);
            }
            let name = self.showing.view.device_name(&device).plain();
            peers.insert(device, Peer::new(device, name, self.bytes_of(&device), now.boot_ms));
        }
        self.checking.checks.push(Check { asker, task, files, reading: BTreeMap::new(), peers, found: Checked::default() });
        self.checking.due = Some(now.boot_ms);
        self.work_at_checks(now, out);
        Ok(())
    }

    /// Bytes heard from a device and said to it since this start.
    fn bytes_of(&self, device: &DeviceId) -> (u64, u64) {
        let (heard, said) = self.bytes_before.get(device).copied().unwrap_or_default();
        let link = self.links.values().find(|link| link.device == *device && link.stage > Stage::Proving);
        link.map_or((heard, said), |link| (heard + link.bytes.0, said + link.bytes.1))
    }

    /// Goes on with every check, and with what others want to know.
    pub(super) fn work_at_checks(&mut self, now: Now, out: &mut Effects) {
        if self.checking.checks.is_empty() && self.checking.looks.is_empty() {
            self.checking.due = None;
            return;
        }
        self.checking.due = Some(now.boot_ms + STEP_MS);
        let is_hashed = self.checking.contents.go_on(&mut self.library);
        if is_hashed {
            self.answer_looks(out);
        }
        for mut check in std::mem::take(&mut self.checking.checks) {
            self.read_back(&mut check, out);
            for (device, peer) in &mut check.peers {
                self.go_on_with(*device, peer, check.task, is_hashed, now, out);
            }
            let is_over = check.files.is_empty() && check.reading.is_empty() && check.peers.values().all(|peer| peer.step == Step::Done);
            if is_over {
                if check.task == (Task::Verify { repair: true }) {
                    self.accept_losses(out);
                }
                if matches!(check.task, Task::Verify { .. }) {
                    let found = &mut check.found.damaged;
                    // What is damaged now says more than what was when the daemon started.
                    let before = self.losses().into_iter().filter(|loss| found.iter().all(|file| file.doc != loss.doc)).collect::<Vec<_>>();
                    found.extend(before);
                }
                check.found.peers = check.peers.into_values().map(|peer| peer.found).collect();
                out.reply.push((check.asker, Reply::Checked(check.found)));
            } else {
                self.checking.checks.push(check);
            }
        }
    }

    fn read_back(&mut self, check: &mut Check, out: &mut Effects) {
        while check.reading.len() < FILES_MAX
            && let Some(doc) = check.files.pop_front()
        {
            let Some(document) = self.library.settled(&doc) else { continue };
            check.reading.insert(doc.clone(), (document.heads(), document.changes()));
            out.inspect.push(doc);
        }
    }

    /// What lies on disk of a document.
    pub(super) fn hear_shelved(&mut self, doc: &DocId, bytes: Option<&[u8]>, out: &mut Effects) {
        let mut checks = std::mem::take(&mut self.checking.checks);
        let mut is_repaired = false;
        for check in &mut checks {
            let Some((heads, changes)) = check.reading.remove(doc) else { continue };
            check.found.files += 1;
            if let Some(why) = damage(bytes, &heads, changes) {
                let wanted = check.task == Task::Verify { repair: true };
                let repaired = wanted && (is_repaired || self.repair(doc, &why, out));
                is_repaired |= repaired;
                let repair = if repaired { Repair::Memory } else { Repair::No { lacks: false } };
                check.found.damaged.push(FileDamaged { doc: doc.clone(), why, repair });
            }
        }
        self.checking.checks = checks;
    }

    /// Sets a damaged file aside and writes what is known of the document in its place; what is not known here comes from the others.
    fn repair(&mut self, doc: &DocId, why: &str, out: &mut Effects) -> bool {
        let Some(bytes) = self.library.file(doc) else { return false };
        out.keep.push(Keep::SetAside { doc: doc.clone() });
        out.keep.push(Keep::Replace { doc: doc.clone(), bytes });
        out.note.push(Note::SetAside { what: format!("the file of document {doc}: {why}; it was written anew") });
        true
    }

    fn go_on_with(&mut self, device: DeviceId, peer: &mut Peer, task: Task, is_hashed: bool, now: Now, out: &mut Effects) {
        let waited = now.boot_ms.saturating_sub(peer.since);
        let id = self.links.values().find(|link| link.device == device && link.stage == Stage::Open).map(|link| link.id);
        let Some(id) = id.filter(|_| !self.is_unwanted(&device)) else {
            return self.wait_for_link(device, peer, waited, now);
        };
        let heads: Vec<DocHeads> = self.library.heads();
        let (terms, asked) = (self.terms_of(&device), self.checking.asked + 1);
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_quiet = link.flow() == Terms::NONE || (link.is_settled() && link.is_confirmed());
        let is_repairing = task == Task::Verify { repair: true } && self.mending.is_lacking();
        match peer.step {
            // What this disk lost comes through a pause, too: somebody asks for it.
            Step::Linking if is_repairing && link.mine == Terms::NONE && waited < LINK_MS => {
                peer.since = if self.flow.passes.insert(device) { now.boot_ms } else { peer.since };
            }
            Step::Linking => peer.go(Step::Settling, now),
            // What is under way would only look like a difference.
            Step::Settling if is_hashed && waited >= u64::from(peer.tries) * AGAIN_MS && (is_quiet || waited >= SETTLE_MS) => {
                link.say(&Message::Look { n: asked, heads }, out);
                self.checking.asked = asked;
                peer.go(Step::Asked(asked), now);
            }
            Step::Asked(_) if waited >= ANSWER_MS => {
                let why = "it did not answer; an older version does not know the question";
                if task == Task::Run { self.pass(device, peer, now) } else { peer.end(Outcome::TimedOut, Some(why)) }
            }
            Step::Passing if link.mine == terms && link.flow() == Terms::NONE && waited >= RESTING_MS => {
                let why =
                    if terms == Terms::NONE { "peers.NAME.send and .receive are off here" } else { "it is paused or scheduled there" };
                peer.end(Outcome::Resting, Some(why));
            }
            Step::Passing if link.mine == terms && link.flow() != Terms::NONE && is_quiet => peer.end(Outcome::Level, None),
            Step::Passing if waited >= RUN_MS => peer.end(Outcome::TimedOut, Some("it goes on; hubless sync status")),
            Step::Settling | Step::Asked(_) | Step::Passing | Step::Done => {}
        }
        self.end_pass(device, peer);
    }

    fn wait_for_link(&mut self, device: DeviceId, peer: &mut Peer, waited: Millis, now: Now) {
        let unwanted = self.is_unwanted(&device);
        let limit = match peer.step {
            Step::Done => return,
            Step::Passing => RUN_MS,
            Step::Linking | Step::Settling | Step::Asked(_) => LINK_MS,
        };
        if unwanted {
            peer.end(Outcome::Resting, Some("peers.NAME.enabled is false here"));
        } else if waited >= limit {
            let why = self.errors.get(&device).map_or_else(|| "no link to it is up".to_owned(), |(_, why)| why.clone());
            peer.end(Outcome::OutOfReach, Some(&why));
        } else if !matches!(peer.step, Step::Linking | Step::Passing) {
            peer.go(Step::Linking, now);
        }
        self.end_pass(device, peer);
    }

    /// Lets documents through once.
    fn pass(&mut self, device: DeviceId, peer: &mut Peer, now: Now) {
        self.flow.passes.insert(device);
        peer.go(Step::Passing, now);
    }

    fn end_pass(&mut self, device: DeviceId, peer: &mut Peer) {
        if peer.step == Step::Done && !peer.is_counted() {
            let (heard, said) = self.bytes_of(&device);
            peer.found.bytes = (heard.saturating_sub(peer.before.0), said.saturating_sub(peer.before.1));
            self.flow.passes.remove(&device);
        }
    }

    /// Somebody wants to know what we hold; answered when all is hashed.
    pub(super) fn hear_look(&mut self, link: &Link, n: u64, heads: Vec<DocHeads>) {
        let heads = heads.into_iter().filter(|at| !at.doc.is_local()).map(|at| (at.doc, at.heads)).collect();
        self.checking.looks.insert(link.id, (n, heads));
        self.checking.due = Some(self.now());
    }

    fn answer_looks(&mut self, out: &mut Effects) {
        for (id, (n, heads)) in std::mem::take(&mut self.checking.looks) {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let docs = holdings(&mut self.checking.contents, &mut self.library, &heads);
            link.say(&Message::Holding { n, docs }, out);
        }
    }

    /// What another device holds, beside what we hold.
    pub(super) fn hear_holding(&mut self, link: &Link, n: u64, docs: Vec<Holding>, now: Now) {
        let mut checks = std::mem::take(&mut self.checking.checks);
        for check in &mut checks {
            let Some(peer) = check.peers.get_mut(&link.device).filter(|peer| peer.step == Step::Asked(n)) else { continue };
            self.compare_holdings(peer, &docs);
            let differs = !peer.found.heads.is_empty() || !peer.found.content.is_empty();
            match check.task {
                Task::Run => self.pass(link.device, peer, now),
                Task::Verify { .. } if differs && link.flow() != Terms::NONE && peer.tries < TRIES => {
                    peer.tries += 1;
                    peer.go(Step::Settling, now);
                }
                Task::Verify { .. } | Task::DryRun => {
                    peer.end(if differs { Outcome::Differs } else { Outcome::Level }, None);
                    self.end_pass(link.device, peer);
                }
            }
        }
        self.checking.checks = checks;
    }

    fn compare_holdings(&mut self, peer: &mut Peer, docs: &[Holding]) {
        let theirs: BTreeMap<&DocId, &Holding> = docs
            .iter()
            .filter(|held| !held.at.doc.is_local() && !self.library.is_outlived(&held.at.doc))
            .map(|held| (&held.at.doc, held))
            .collect();
        let ours: BTreeMap<DocId, Vec<Head>> = self.library.heads().into_iter().map(|at| (at.doc, at.heads)).collect();
        let all: BTreeSet<DocId> = ours.keys().cloned().chain(theirs.keys().map(|doc| (*doc).clone())).collect();
        let found = &mut peer.found;
        (found.heads, found.content, found.documents) = (Vec::new(), Vec::new(), Some(all.len()));
        let (mut they_miss, mut we_miss) = (Some(0), Some(0));
        for doc in all {
            let held = theirs.get(&doc);
            if ours.get(&doc) == held.map(|held| &held.at.heads) {
                if held.is_some_and(|held| self.checking.contents.of(&doc, &mut self.library) != Some(held.content)) {
                    found.content.push(doc);
                }
                continue;
            }
            let lacks = match held {
                Some(held) => ahead(&mut self.library, &doc, &held.at.heads),
                None => ahead(&mut self.library, &doc, &[]),
            };
            they_miss = they_miss.zip(lacks).map(|(sum, n)| sum + n);
            we_miss = we_miss.zip(held.map_or(Some(0), |held| held.ahead)).map(|(sum, n)| sum + n);
            found.heads.push(doc);
        }
        // Only the first answer says what there was to exchange.
        if peer.tries == 0 {
            (found.they_miss, found.we_miss) = (they_miss, we_miss);
        }
    }
}

impl Peer {
    fn new(device: DeviceId, name: String, before: (u64, u64), now: Millis) -> Peer {
        let found = PeerChecked {
            device,
            name,
            outcome: Outcome::TimedOut,
            why: None,
            they_miss: None,
            we_miss: None,
            bytes: (0, 0),
            documents: None,
            heads: Vec::new(),
            content: Vec::new(),
        };
        Peer { step: Step::Linking, since: now, tries: 0, before, found }
    }

    fn go(&mut self, step: Step, now: Now) {
        (self.step, self.since) = (step, now.boot_ms);
    }

    fn end(&mut self, outcome: Outcome, why: Option<&str>) {
        self.step = Step::Done;
        (self.found.outcome, self.found.why) = (outcome, why.map(str::to_owned));
    }

    fn is_counted(&self) -> bool {
        self.found.bytes != (0, 0)
    }
}

/// What is wrong with the bytes of a file, given what must be in it.
fn damage(bytes: Option<&[u8]>, heads: &[Head], changes: u64) -> Option<String> {
    let Some(bytes) = bytes else { return Some("it cannot be read".to_owned()) };
    match Document::load(bytes, [0xcc; 16]) {
        Err(why) => Some(why.to_string()),
        Ok(read) if !heads.iter().all(|head| read.has(head)) || read.changes() < changes => {
            Some(format!("damaged: {} of {changes} changes can be read", read.changes().min(changes.saturating_sub(1))))
        }
        Ok(_) => None,
    }
}
