//! `Replica`: what happened goes in, what is asked of the world comes out. It only routes; who judges stands beside it.
//!
//! A step never fails and never waits. A peer's nonsense ends its link, a person's is refused, and nothing is shown,
//! answered or told that is not in the same step's `keep`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::batch::{Keep, Shelf};
use crate::model::beat::Beat;
use crate::model::effects::{Effects, Note};
use crate::model::fact::FactKey;
use crate::model::id::{ActId, DeviceId, DocId, Life, LinkId};
use crate::model::input::{Input, LinkAction};
use crate::model::limits::SLEPT_MS;
use crate::model::member::Fleet;
use crate::model::message::Bye;
use crate::model::time::{Millis, Now, Stamp};
use crate::model::view::{AgentKey, DialView, View, Warning};
use crate::rules::members::Log;

use super::checking::Checking;
use super::dialing::Dialing;
use super::epoch::Lives;
use super::flow::Flow;
use super::hearing::WRITTEN_AGAIN;
use super::identity::Identity;
use super::joining::found;
use super::library::{Fresh, Library};
use super::link::{Link, Stage};
use super::living::Living;
use super::mending::Mending;
use super::pinging::Pings;
use super::places::Places;
use super::presence::Presences;
use super::reading::Reading;
use super::saved;
use super::showing::Showing;
use super::staying::Staying;
use super::tally::{Missed, Tally};
use super::ways::Ways;
use super::window::Window;

/// The whole of one device's knowledge.
pub struct Replica {
    pub(super) me: Identity,
    pub(super) life: Life,
    pub(super) library: Library,
    pub(super) showing: Showing,
    pub(super) presences: Presences,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) dialing: Dialing,
    pub(super) flow: Flow,
    pub(super) checking: Checking,
    pub(super) mending: Mending,
    pub(super) reading: Reading,
    pub(super) living: Living,
    pub(super) watching: usize,
    pub(super) ways: Ways,
    pub(super) places: Places,
    pub(super) staying: Staying,
    pub(super) lives: Lives,
    pub(super) log: Log,
    pub(super) fleet: Fleet,
    pub(super) hlc: Stamp,
    pub(super) listening: Vec<String>,
    pub(super) pings: Pings,
    pub(super) window: Window,
    pub(super) sightings: BTreeMap<String, String>,
    pub(super) behind: BTreeMap<DeviceId, Missed>,
    pub(super) tally: Tally,
    pub(super) bytes_before: BTreeMap<DeviceId, (u64, u64)>,
    pub(super) blocked: BTreeMap<DeviceId, Millis>,
    pub(super) errors: BTreeMap<DeviceId, (i64, String)>,
    pub(super) dials: BTreeMap<DeviceId, Vec<DialView>>,
    pub(super) warnings: BTreeMap<String, Warning>,
    pub(super) unseen: BTreeSet<DeviceId>,
    pub(super) fresh: Vec<(Option<LinkId>, Fresh)>,
    pub(super) foreign: bool,
    pub(super) unconsolidated: bool,
    pub(super) consolidate: bool,
    /// Whether it was said how many sessions are active; `None` until everything was listed once.
    pub(super) found_active: Option<bool>,
    /// Sessions that were there before this daemon, found while everything is read for the first time.
    pub(super) backfilled: Vec<crate::model::id::SessionId>,
    pub(super) written_again: BTreeSet<String>,
    /// Documents of our heartbeats that hold every beat that counts, or the next one does.
    pub(super) carried: BTreeSet<DocId>,
    outdone: BTreeSet<FactKey>,
    outdone_beats: BTreeSet<AgentKey>,
    /// Beats of ours that somebody gave a number which none of ours will reach, with what was known before.
    pub(super) planted: BTreeMap<AgentKey, Beat>,
    healing: bool,
    pub(super) fleet_changed: bool,
    pub(super) fleet_kept: Vec<u8>,
    pub(super) acts: u64,
    /// The counter of our life when it began, before others raised it.
    pub(super) counter_opened: u64,
    opened: Millis,
    now: Millis,
    slept: Millis,
    pub(super) shown: Arc<View>,
}

impl Replica {
    /// Opens what the shelf holds (a life of 0 is none: only to look, while no daemon runs); on an empty one a fleet of this device alone begins. A document that does not load is set
    /// aside and named, the rest opens.
    pub fn open(me: Identity, life: Life, now: Now, shelf: &dyn Shelf) -> (Replica, Effects) {
        let mut out = Effects::default();
        let mut library = Library::open(me.device, life, shelf);
        let mending = Mending::open(shelf, library.damaged().iter().map(|(doc, why)| (doc, why.to_string())));
        let staying = Staying::open(&me, &library.local_joined());
        let fleet = shelf.fleet().and_then(|bytes| saved::read_fleet(&bytes));
        let founded = fleet.is_none();
        let (fleet, entries) = fleet.unwrap_or_else(|| found(&me, life));
        let mut replica = Replica {
            showing: Showing::new(me.device, now.boot_ms, life.counter == 0),
            presences: Presences::new(me.device, life, now.boot_ms),
            links: BTreeMap::new(),
            dialing: Dialing::new(me.device, life.nonce),
            living: Living::default(),
            ways: Ways::default(),
            watching: 0,
            reading: Reading::open(library.stamp(), shelf),
            places: Places::default(),
            staying,
            lives: Lives::open(shelf),
            log: Log::default(),
            hlc: Stamp::default(),
            listening: Vec::new(),
            pings: Pings::default(),
            window: Window::default(),
            sightings: BTreeMap::new(),
            behind: BTreeMap::new(),
            tally: Tally::default(),
            bytes_before: BTreeMap::new(),
            flow: Flow::open(shelf),
            checking: Checking::default(),
            mending,
            blocked: BTreeMap::new(),
            errors: BTreeMap::new(),
            dials: BTreeMap::new(),
            warnings: BTreeMap::new(),
            unseen: BTreeSet::new(),
            fresh: Vec::new(),
            foreign: false,
            unconsolidated: false,
            consolidate: false,
            found_active: None,
            backfilled: Vec::new(),
            written_again: shelf.keys(WRITTEN_AGAIN).iter().filter_map(|key| Some(key.strip_prefix(WRITTEN_AGAIN)?.to_owned())).collect(),
            carried: BTreeSet::new(),
            outdone: BTreeSet::new(),
            outdone_beats: BTreeSet::new(),
            planted: BTreeMap::new(),
            counter_opened: life.counter,
            healing: false,
            fleet_changed: false,
            fleet_kept: shelf.fleet().unwrap_or_default(),
            acts: 0,
            opened: now.boot_ms,
            now: now.boot_ms,
            slept: now.slept(),
            shown: Arc::new(View::of(me.device)),
            me,
            life,
            library,
            fleet,
        };
        replica.begin(founded, &entries, now, &mut out);
        (replica, out)
    }

    /// What is done once, with what was opened; `founded`: the fleet begins here.
    fn begin(&mut self, founded: bool, entries: &[Vec<u8>], now: Now, out: &mut Effects) {
        self.showing.set_stale_after(self.me.stale_after_ms);
        self.showing.view.keywords = Arc::clone(&self.me.keywords);
        self.living = Living::open(&self.me.device, &self.reading.following);
        self.name_damaged(out);
        self.name_losses(out);
        self.learn_changed(now);
        self.showing.take_new_sessions();
        if founded {
            self.note_lost_fleet(out);
            self.fleet_changed = true;
        }
        self.write_members(entries, out);
        self.begin_staying(now, out);
        self.rest_again();
        self.reading.drop_void(out);
        self.reading.list(now, out);
        self.introduce(out);
        self.finish(now, out);
    }

    /// One thing happened.
    pub fn step(&mut self, now: Now, input: Input) -> Effects {
        let mut out = Effects::default();
        self.now = now.boot_ms;
        self.notice_sleep(now, &mut out);
        self.look_at_schedules(now, &mut out);
        let stopping = input == Input::Stopping;
        match input {
            Input::Source(event) => self.hear_source(event, now, &mut out),
            Input::Peer(event) => self.hear_peer(event, now, &mut out),
            Input::Ask(asker, ask) => self.hear_ask(asker, ask, now, &mut out),
            Input::Written(name, trouble) => self.note_written(name, trouble),
            Input::Shelved(doc, bytes) => self.hear_shelved(&doc, bytes.as_deref(), &mut out),
            Input::CaughtUp => self.judge_links(now, &mut out),
            Input::Tick => {}
            Input::Stopping => self.write_last_beats(&mut out),
        }
        self.do_what_is_due(now, &mut out);
        self.finish(now, &mut out);
        if stopping {
            self.say_farewell(&mut out);
            self.links.values_mut().for_each(|link| link.hang_up(Bye::Stopping, &mut out));
        }
        out
    }

    /// When `Input::Tick` is next due, on the boot clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let links = self.links.values().map(|link| link.due().min(self.suspicion_due(link)));
        let dues = [
            self.showing.due(),
            self.dialing.deadline(&self.spared()),
            self.blocked.values().min().copied(),
            self.presences.next_silence(self.now),
            self.pings.due(),
            self.library.tidy_due(),
            self.flow.due(),
            self.checking.due(),
        ];
        let notices = self.unseen_due();
        links
            .chain(dues.into_iter().flatten())
            .chain([self.presences.due(), self.reading.due()])
            .chain(notices)
            .chain(self.living_due())
            .min()
    }

    /// What is shown.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.shown)
    }

    /// All documents and facts, for oracles that compare replicas.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// What is shown, computed anew from all facts (I13).
    #[must_use]
    pub fn view_from_scratch(&self, now: Now) -> View {
        self.showing.from_scratch(self.library.facts(), now, &self.presences)
    }

    /// This opening of the store.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life
    }

    /// The fleet this device is in.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Whether every link is level.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.links.values().all(Link::is_level)
    }

    pub(super) fn now(&self) -> Millis {
        self.now
    }

    /// When this life began.
    pub(super) fn opened(&self) -> Millis {
        self.opened
    }

    /// A wake ends every link, and nothing more is read from it: what the sockets still hold is from before.
    fn notice_sleep(&mut self, now: Now, out: &mut Effects) {
        let slept = now.slept().saturating_sub(self.slept);
        self.slept = now.slept();
        if slept < SLEPT_MS {
            return;
        }
        out.note.push(Note::Woke { slept_ms: slept });
        for link in std::mem::take(&mut self.links).into_values() {
            out.tell.push(LinkAction::HangUp { link: link.id, why: Bye::Slept });
            self.lost(&link, "this machine slept", now, out);
        }
        out.tell.push(LinkAction::Renew);
        self.dialing.at_once(now.boot_ms);
        self.reading.list(now, out);
    }

    /// What does not load is set aside and named, and what was outlived is dropped.
    fn name_damaged(&mut self, out: &mut Effects) {
        for (doc, damaged) in self.library.damaged().to_vec() {
            out.keep.push(Keep::SetAside { doc: doc.clone() });
            out.note.push(Note::SetAside { what: format!("document {doc}: {damaged}") });
        }
        self.library.outlive_all(&mut out.keep);
    }

    /// A name for one action that no other opening of any store gives.
    pub(super) fn unique(&mut self) -> ActId {
        self.acts += 1;
        ActId::of(&[&self.me.device.0, &self.life.counter.to_le_bytes(), &self.life.nonce.to_le_bytes(), &self.acts.to_le_bytes()])
    }

    /// Learns the facts that changed, our own and foreign ones alike.
    pub(super) fn learn_changed(&mut self, now: Now) {
        let (mut members, mut entries) = (false, Vec::new());
        for key in self.library.take_changed() {
            if let FactKey::Session(session) = &key {
                self.note_strange(*session, self.foreign);
            }
            self.notice_planted(&key);
            entries.extend(self.showing.learn(&key, self.library.facts()));
            members |= matches!(key, FactKey::Device(_));
            if let FactKey::Session(session) = &key {
                self.learn_staying(session);
            }
            if matches!(key, FactKey::Item(_)) {
                self.staying.release |= std::mem::take(&mut self.staying.unread);
            }
            self.notice_outdone(&key);
            if let (FactKey::Act(_), Some(joined)) = (&key, self.library.facts().get(&key)) {
                let acts: Vec<String> = joined.values().map(str::to_owned).collect();
                acts.iter().for_each(|act| self.raise_clock(act, now));
            }
        }
        let is_longer = self.log.learn_all(entries);
        self.fleet_changed |= is_longer;
        if members || is_longer {
            self.members_changed(now);
        }
    }

    /// A peer brought a later revision of a fact that only we write: our store had lost it. Its source is read again, once.
    fn notice_outdone(&mut self, key: &FactKey) {
        let ours = match key {
            FactKey::Seen(item) => self.showing.todos.seen(*item).is_some_and(|seen| seen.device == self.me.device),
            FactKey::Session(id) => self.showing.session(id).is_some_and(|session| session.device == self.me.device),
            FactKey::Device(device) => *device == self.me.device,
            FactKey::Beat(session, agent) => {
                let key = AgentKey { device: self.me.device, agent: agent.clone(), session: *session };
                if self.foreign && self.presences.own().contains_key(&key) {
                    self.outdone_beats.insert(key);
                }
                false
            }
            FactKey::Member(_)
            | FactKey::Choice(_)
            | FactKey::End(..)
            | FactKey::Tag(..)
            | FactKey::Item(_)
            | FactKey::Rank(..)
            | FactKey::Act(_)
            | FactKey::Other(_) => false,
        };
        if ours && self.foreign && self.outdone.insert(key.clone()) {
            self.healing = true;
        }
    }

    fn heal(&mut self, now: Now, out: &mut Effects) {
        self.outlive_planted(now, out);
        std::mem::take(&mut self.outdone_beats).iter().for_each(|key| self.insist(key, out));
        if std::mem::take(&mut self.healing) {
            self.introduce(out);
            self.reading.distrust(now, out);
        }
        self.foreign = false;
    }

    pub(super) fn warn(&mut self, name: &str, on: bool, warning: impl FnOnce() -> Warning) {
        if !on {
            self.warnings.remove(name);
        } else if !self.warnings.contains_key(name) {
            self.warnings.insert(name.to_owned(), warning());
        }
    }

    pub(super) fn linked(&self) -> BTreeSet<DeviceId> {
        self.links.values().filter(|link| link.stage > Stage::Proving).map(|link| link.device).collect()
    }

    /// Who is not dialled: those with a link that is not doubted, and those who are blocked.
    pub(super) fn spared(&self) -> BTreeSet<DeviceId> {
        let sure = self.links.values().filter(|link| link.stage > Stage::Proving && !link.doubted).map(|link| link.device);
        let unwanted = self.others().filter(|device| self.is_unwanted(device));
        sure.chain(self.blocked.keys().copied()).chain(unwanted).collect()
    }

    pub(super) fn is_member(&self, device: &DeviceId) -> bool {
        self.log.proves(&self.fleet.id, &device.0)
    }

    /// The end of every step: what is new is learnt, told to the links that should have it, and shown.
    fn finish(&mut self, now: Now, out: &mut Effects) {
        self.learn_changed(now);
        self.heal(now, out);
        self.release(out);
        self.learn_changed(now);
        self.keep_fleet(out);
        for (source, fresh) in std::mem::take(&mut self.fresh) {
            for link in self.links.values_mut().filter(|link| Some(link.id) != source) {
                link.tell(&fresh, now, &mut self.library, out);
            }
            self.miss(&fresh);
        }
        for doc in self.library.take_outlived() {
            self.links.values_mut().for_each(|link| link.forget(&doc));
        }
        self.mend(out);
        self.tell_presence(now, out);
        self.links.values_mut().for_each(|link| link.confirm_soon(now.boot_ms));
        self.showing.update(now, &self.presences);
        if self.show_devices(now) {
            self.showing.view.seq += 1;
        }
        if self.shown.seq != self.showing.view.seq {
            self.shown = Arc::new(self.showing.view.clone());
        }
        self.note_news(out);
    }
}
