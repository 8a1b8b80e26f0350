//! One conversation with one device: members first, then `Hello`, then every document until both hold the same.
//!
//! Of each document the two are either *talking* (automerge's sync, with a fresh state for each link) or *level*: all we have
//! went to or came from this peer on this link, and each new change goes once. A missing dependency, or a peer that begins
//! again, starts a talk afresh. What finds no room is marked dirty and talked about when there is room.

use std::collections::{BTreeMap, BTreeSet};

use automerge::sync::State as SyncState;

use crate::model::effects::Effects;
use crate::model::id::{DeviceId, DocId, LinkId};
use crate::model::limits::UNSENT_BYTES_MAX;
use crate::model::message::{DocHeads, Ear, Head, Hello, Message};
use crate::model::peering::Terms;
use crate::model::time::{Millis, Now};
use crate::model::view::Warning;

use super::document::Said;
use super::guard;
use super::library::{Fresh, Library, digest};
use super::saying::Ping;
use super::silence::Suspicion;

/// A talk in which nothing was heard for so long begins afresh; a safety net that the simulation never needs.
const TALK_AGAIN_MS: Millis = 60_000;

/// How far a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The other has not yet proved itself a member.
    Proving,
    /// We said `Hello`.
    Greeting,
    /// Both said it; heads are being compared.
    Comparing,
    /// Every document is talked about or level.
    Open,
}

struct Talk {
    state: SyncState,
    said: Option<blake3::Hash>,
    at: Millis,
    /// Whether the other waits for a word, although there may be nothing left to say.
    owes_answer: bool,
}

impl Talk {
    fn begun(now: Now) -> Talk {
        Talk { state: SyncState::new(), said: None, at: now.boot_ms, owes_answer: false }
    }
}

/// What came of one message about a document.
#[derive(Default)]
pub struct Took {
    /// What was new in it.
    pub fresh: Option<Fresh>,
    /// Whether the one who said it may lack some of that.
    pub released: bool,
    /// Why no more is said or heard of that document on this link, if something of it cannot be taken.
    pub hold: Option<String>,
}

impl Took {
    fn hold(why: impl ToString) -> Took {
        Took { hold: Some(why.to_string()), ..Took::default() }
    }
}

/// One link.
pub struct Link {
    /// Its number.
    pub id: LinkId,
    /// The other end's key.
    pub device: DeviceId,
    /// The other end's address.
    pub address: String,
    /// How far it is.
    pub stage: Stage,
    /// Puts frames together.
    pub ear: Ear,
    /// When it came up, by our boot clock.
    pub since: Millis,
    /// When it came up, or was last heard, by our boot clock.
    pub heard: Millis,
    /// Where the other listens, as it told.
    pub addresses: Vec<String>,
    /// Bytes heard and said.
    pub bytes: (u64, u64),
    /// `bytes` as of the last pong: what is shown, so that not every frame changes the view.
    pub shown_bytes: (u64, u64),
    /// Messages of kinds that we do not know.
    pub unknown: u64,
    /// As `shown_bytes`.
    pub shown_unknown: u64,
    /// There and back, and the other's clock minus ours, when measured.
    pub measured: Option<(Millis, i64)>,
    /// Whether presence found no room and is owed.
    pub presence_owed: bool,
    /// What we cannot take of the other, or it not of us; each with what is said of it while this link is up.
    pub held: BTreeMap<DocId, Warning>,
    /// How many secrets were learnt from it.
    pub secrets: usize,
    /// Whether the other said that it goes.
    pub farewell: bool,
    /// Whether the network was told that this link is doubted.
    pub doubted: bool,
    /// Whether it may be silent, and is about to be judged.
    pub suspected: Option<Suspicion>,
    /// What we do with documents on this link, and what the other does; neither changes while it is up.
    pub mine: Terms,
    /// As `mine`, of the other.
    pub theirs: Terms,
    /// Whether the network keeps it to a pace.
    pub paced: bool,
    /// When something about documents was last heard, a part of it too, by our boot clock.
    pub documents_heard: Millis,
    /// Messages about documents that were said, and that are known to have come.
    pub(super) told: (u64, u64),
    /// Bytes said since something was heard.
    pub(super) unheard: u64,
    /// Bytes of presence said since a pong came.
    pub(super) presence_unheard: u64,
    pub(super) credit: i64,
    sent: Vec<DocHeads>,
    talking: BTreeMap<DocId, Talk>,
    dirty: BTreeSet<DocId>,
    /// How many documents were talked about at once, at most, since it was settled.
    most: usize,
    /// Documents of which something may still wait behind the pace.
    pub(super) poured: BTreeSet<DocId>,
    pub(super) pings: BTreeMap<u64, Ping>,
    pub(super) pinged: u64,
    pub(super) ping_due: Millis,
}

impl Link {
    /// A link that just came up.
    #[must_use]
    pub fn up(id: LinkId, device: DeviceId, address: String, now: Millis) -> Link {
        Link {
            id,
            device,
            address,
            stage: Stage::Proving,
            ear: Ear::default(),
            since: now,
            heard: now,
            addresses: Vec::new(),
            bytes: (0, 0),
            shown_bytes: (0, 0),
            unknown: 0,
            shown_unknown: 0,
            measured: None,
            presence_owed: false,
            held: BTreeMap::new(),
            secrets: 0,
            farewell: false,
            doubted: false,
            suspected: None,
            mine: Terms::ALL,
            theirs: Terms::ALL,
            paced: false,
            documents_heard: 0,
            told: (0, 0),
            unheard: 0,
            presence_unheard: 0,
            credit: UNSENT_BYTES_MAX as i64,
            sent: Vec::new(),
            talking: BTreeMap::new(),
            dirty: BTreeSet::new(),
            most: 0,
            poured: BTreeSet::new(),
            pings: BTreeMap::new(),
            pinged: 0,
            ping_due: now,
        }
    }

    /// Whether more may be said now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.credit > 0
    }

    /// Whether both hold the same, as far as this link knows.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.is_settled() && self.flow() == Terms::ALL && self.held.is_empty()
    }

    /// Whether nothing is left to be said of documents, as far as this link lets them through.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.stage == Stage::Open && self.talking.is_empty() && self.dirty.is_empty()
    }

    /// While documents are exchanged: of how many that is done, and of how many it was to be.
    #[must_use]
    pub fn exchanged(&self) -> Option<(usize, usize)> {
        let left = self.left();
        (self.stage == Stage::Open && left > 0).then(|| (self.most.saturating_sub(left), self.most.max(left)))
    }

    /// Documents that are talked about, or will be when there is room.
    fn left(&self) -> usize {
        self.talking.len() + self.dirty.iter().filter(|doc| !self.talking.contains_key(*doc)).count()
    }

    fn note_talks(&mut self) {
        let left = self.left();
        self.most = if left <= 1 { left } else { self.most.max(left) };
    }

    /// What of documents goes on this link: what one side gives and the other takes.
    #[must_use]
    pub fn flow(&self) -> Terms {
        self.mine.with(self.theirs)
    }

    /// Something was heard at `now`.
    pub fn hear(&mut self, bytes: usize, now: Millis) {
        self.heard = now;
        self.bytes.0 += bytes as u64;
        (self.unheard, self.doubted, self.suspected) = (0, false, None);
    }

    /// Says `Hello` with the heads of this moment; what changes from now on is measured against them.
    pub fn greet(&mut self, hello: Hello, library: &Library, out: &mut Effects) {
        self.sent = library.heads();
        self.say(&Message::Hello(Hello { all: digest(&self.sent), ..hello }), out);
        self.stage = Stage::Greeting;
    }

    /// Hears the other's `Hello`: equal hashes, and all is level as of the two; unequal, and both tell their heads.
    pub fn hear_hello(&mut self, hello: &Hello, now: Now, library: &mut Library, out: &mut Effects) {
        self.addresses.clone_from(&hello.addresses);
        if self.flow() == Terms::NONE {
            self.stage = Stage::Open;
            self.sent.clear();
        } else if hello.all == digest(&self.sent) {
            let sent = self.sent.clone();
            self.compare(&sent, now, library, out);
        } else {
            self.stage = Stage::Comparing;
            let sent = self.sent.clone();
            self.say(&Message::Heads(sent), out);
        }
    }

    /// Compares the other's heads with the ones we sent, each as of its own `Hello`.
    pub fn compare(&mut self, theirs: &[DocHeads], now: Now, library: &mut Library, out: &mut Effects) {
        self.stage = Stage::Open;
        let ours: BTreeMap<DocId, Vec<Head>> = std::mem::take(&mut self.sent).into_iter().map(|d| (d.doc, d.heads)).collect();
        let theirs: BTreeMap<&DocId, &Vec<Head>> = theirs.iter().filter(|d| !d.doc.is_local()).map(|d| (&d.doc, &d.heads)).collect();
        let mut all: BTreeSet<DocId> = ours.keys().cloned().chain(theirs.keys().map(|doc| (*doc).clone())).collect();
        all.extend(library.heads().into_iter().map(|d| d.doc));
        for doc in all {
            let (ours, theirs) = (ours.get(&doc), theirs.get(&doc));
            if ours == theirs.copied() {
                let then = ours.cloned().unwrap_or_else(|| vec![super::genesis::HASH]);
                self.catch_up(&doc, &then, now, library, out);
            } else {
                self.talk_afresh(&doc, now, library, out);
            }
        }
    }

    /// Sends what a level document gained since the heads that both had.
    fn catch_up(&mut self, doc: &DocId, then: &[Head], now: Now, library: &mut Library, out: &mut Effects) {
        if library.heads_of(doc) == then {
            return;
        }
        let Some(document) = library.settled(doc) else { return };
        let (bytes, changes) = document.since(then);
        self.tell(&Fresh { doc: doc.clone(), chunk: bytes, changes }, now, library, out);
    }

    /// Tells new changes: once where the document is level, as the next message where it is talked about.
    pub fn tell(&mut self, fresh: &Fresh, now: Now, library: &mut Library, out: &mut Effects) {
        if self.stage < Stage::Open
            || !self.flow().gives
            || self.held.contains_key(&fresh.doc)
            || fresh.doc.is_local()
            || library.is_outlived(&fresh.doc)
        {
            return;
        }
        if !self.has_room() {
            self.dirty.insert(fresh.doc.clone());
        } else if self.talking.contains_key(&fresh.doc) {
            self.speak(&fresh.doc, false, now, library, out);
        } else if !self.dirty.contains(&fresh.doc) {
            self.say(&Message::Changes { doc: fresh.doc.clone(), bytes: fresh.chunk.clone() }, out);
        }
    }

    /// Begins the talk about a document anew.
    pub fn talk_afresh(&mut self, doc: &DocId, now: Now, library: &mut Library, out: &mut Effects) {
        if self.flow() == Terms::NONE || self.held.contains_key(doc) || library.is_outlived(doc) {
            return;
        }
        if !self.has_room() {
            self.talking.remove(doc);
            self.dirty.insert(doc.clone());
            self.note_talks();
            return;
        }
        self.dirty.remove(doc);
        self.talking.insert(doc.clone(), Talk::begun(now));
        self.note_talks();
        self.speak(doc, true, now, library, out);
    }

    /// Says the next message of a talk, unless it would repeat the last one; and notices that the two are level. Without room
    /// the talk waits.
    fn speak(&mut self, doc: &DocId, first: bool, now: Now, library: &mut Library, out: &mut Effects) {
        if !first && !self.has_room() {
            self.dirty.insert(doc.clone());
            return;
        }
        let flow = self.flow();
        let (Some(talk), document) = (self.talking.get_mut(doc), library.spoken(doc)) else { return };
        let said = if flow.gives { document.say(&mut talk.state) } else { document.ask(&mut talk.state) };
        let ours = document.heads();
        let theirs = talk.state.their_heads.as_ref();
        let over = match flow {
            Terms { gives: true, takes: true } => theirs.is_some_and(|theirs| theirs.iter().map(|h| h.0).eq(ours.iter().copied())),
            Terms { gives: false, .. } => theirs.is_some_and(|theirs| theirs.iter().all(|head| document.has(&head.0))),
            // It said what it holds, and there is nothing of ours that it lacks.
            Terms { .. } => talk.state.their_have.is_some() && said.as_ref().is_none_or(|said| !said.carries),
        };
        // What goes one way only never becomes equal: who would answer every answer would never end.
        let due = flow == Terms::ALL || first || talk.owes_answer || !over;
        talk.owes_answer = false;
        if let Some(Said { pieces, message, .. }) = said.filter(|_| due) {
            let hash = blake3::hash(&message);
            let repeated = talk.said.replace(hash) == Some(hash) && pieces.is_empty();
            talk.at = now.boot_ms;
            for bytes in pieces {
                self.say(&Message::Changes { doc: doc.clone(), bytes }, out);
            }
            if first || !repeated {
                self.say(&Message::Sync { doc: doc.clone(), first, bytes: message }, out);
            }
        }
        if over {
            self.talking.remove(doc);
        }
    }

    /// Hears one message of a talk.
    pub fn hear_sync(&mut self, doc: &DocId, first: bool, bytes: &[u8], now: Now, library: &mut Library, out: &mut Effects) -> Took {
        let flow = self.flow();
        if flow == Terms::NONE || self.held.contains_key(doc) || library.is_outlived(doc) {
            return Took::default();
        }
        let (message, mut foreign) = match guard::sync_message(doc.collection(), bytes) {
            Ok(heard) => heard,
            Err(unfit) => return Took::hold(unfit),
        };
        if !flow.takes {
            foreign.clear();
        }
        // Who holds what we hold and still needs something needs what we cannot give: to answer would never end.
        let equal = message.heads.iter().map(|h| h.0).eq(library.heads_of(doc));
        let talking = self.talking.contains_key(doc);
        if !first && !talking && foreign.is_empty() && equal {
            return Took::default();
        }
        if first || !talking {
            self.talking.insert(doc.clone(), Talk::begun(now));
            self.note_talks();
        }
        let carried = !foreign.is_empty();
        let (applied, fresh) = match library.apply(doc, foreign, self.device, &mut out.keep) {
            Ok(applied) => applied,
            Err(damaged) => return Took::hold(damaged),
        };
        let talk = self.talking.entry(doc.clone()).or_insert_with(|| Talk::begun(now));
        let heard = library.hear(doc, &mut talk.state, message);
        if carried {
            // automerge sees a message without changes and with our heads, and takes it for an answer that needs none; the
            // other still waits to hear that its changes came.
            talk.state.last_sent_heads.clear();
        }
        let hold = heard.err().map(|damaged| damaged.to_string()).or(applied.unfit.clone());
        if hold.is_none() {
            talk.owes_answer = first || carried;
            // Where documents go one way, a word that comes late begins nothing.
            self.speak(doc, !first && !talking && flow == Terms::ALL, now, library, out);
        }
        Took { fresh, released: applied.released, hold }
    }

    /// Hears new changes of a level document; one whose dependency has not come starts a talk.
    pub fn hear_changes(&mut self, doc: &DocId, bytes: &[u8], now: Now, library: &mut Library, out: &mut Effects) -> Took {
        if !self.flow().takes || self.held.contains_key(doc) || library.is_outlived(doc) {
            return Took::default();
        }
        let foreign = match guard::changes(doc.collection(), bytes) {
            Ok(foreign) => foreign,
            Err(unfit) => return Took::hold(unfit),
        };
        let (applied, fresh) = match library.apply(doc, foreign, self.device, &mut out.keep) {
            Ok(applied) => applied,
            Err(damaged) => return Took::hold(damaged),
        };
        if applied.unfit.is_none() && applied.missing {
            self.talk_afresh(doc, now, library, out);
        } else if applied.unfit.is_none() && self.talking.contains_key(doc) {
            self.speak(doc, false, now, library, out);
        }
        Took { fresh, released: applied.released, hold: applied.unfit }
    }

    /// No more is said of a document on this link, and the other is told so.
    pub fn hold(&mut self, doc: &DocId, warning: Warning, out: &mut Effects) {
        self.forget(doc);
        if self.held.insert(doc.clone(), warning).is_none() {
            self.say(&Message::Held { doc: doc.clone() }, out);
        }
    }

    /// The other holds a document back from us: no more is said of it on this link.
    pub fn hear_held(&mut self, doc: &DocId, warning: Warning) {
        self.forget(doc);
        self.held.entry(doc.clone()).or_insert(warning);
    }

    /// All that was said has been taken: what was dirty is talked about.
    pub fn room(&mut self, now: Now, library: &mut Library, out: &mut Effects) {
        self.credit = UNSENT_BYTES_MAX as i64;
        self.presence_unheard = 0;
        self.poured.clear();
        for doc in self.dirty.clone() {
            if !self.has_room() {
                return;
            }
            self.dirty.remove(&doc);
            if self.talking.contains_key(&doc) {
                self.speak(&doc, false, now, library, out);
            } else {
                self.talk_afresh(&doc, now, library, out);
            }
        }
    }

    /// Does what is due: pings, and talks that fell silent.
    pub fn tick(&mut self, now: Now, library: &mut Library, out: &mut Effects) {
        if self.stage < Stage::Open {
            return;
        }
        if now.boot_ms >= self.ping_due {
            self.ping(now, None, out);
            self.confirm(now, out);
        }
        let silent = |talk: &Talk| now.boot_ms >= self.silent_at(talk);
        let waits = |doc: &DocId| self.dirty.contains(doc);
        let again = self.talking.iter().filter(|(doc, talk)| silent(talk) && !waits(doc)).map(|(doc, _)| doc.clone());
        let again: Vec<DocId> = again.collect();
        for doc in again {
            self.talk_afresh(&doc, now, library, out);
        }
    }

    /// From when on a talk counts as silent; not while something of documents is on its way, which may take long where the pace is slow.
    fn silent_at(&self, talk: &Talk) -> Millis {
        if self.is_confirmed() { talk.at.max(self.documents_heard) + TALK_AGAIN_MS } else { Millis::MAX }
    }

    /// A document is gone here: nothing more is said of it.
    pub fn forget(&mut self, doc: &DocId) {
        self.talking.remove(doc);
        self.dirty.remove(doc);
    }

    /// When something is due.
    #[must_use]
    pub fn due(&self) -> Millis {
        if self.stage < Stage::Open {
            return Millis::MAX;
        }
        let talks = self.talking.iter().filter(|(doc, _)| !self.dirty.contains(*doc)).map(|(_, talk)| self.silent_at(talk));
        talks.chain([self.ping_due]).min().unwrap_or(self.ping_due)
    }
}
