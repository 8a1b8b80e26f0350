//! What is due by time, what this device says of itself, and what is shown of devices, sources and warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::effects::{Effects, Note};
use crate::model::fact::FactKey;
use crate::model::id::{DeviceId, SessionId};
use crate::model::input::LinkAction;
use crate::model::member::DeviceFact;
use crate::model::message::Message;
use crate::model::peering::Terms;
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::session::SessionFact;
use crate::model::text::Foreign;
use crate::model::time::{Millis, Now};
use crate::model::view::{DeviceView, LinkView, SessionState, SessionView, Warning, Way, WayView};

use super::facts::Joined;
use super::link::Stage;
use super::machine::Replica;
use super::presence::key_of;
use super::saved;

/// New sessions of one device in one step, or found by the first reading, that have a line each.
const LINES_MAX: usize = 8;
/// A session that began this long ago, milliseconds, is nobody's news while everything is read for the first time.
const LIVE_MS: i64 = 60_000;

impl Replica {
    pub(super) fn do_what_is_due(&mut self, now: Now, out: &mut Effects) {
        self.end_links(now, out);
        self.work_at_checks(now, out);
        self.change_terms(now, out);
        for link in self.links.values_mut() {
            link.tick(now, &mut self.library, out);
        }
        self.suspect_links(now, out);
        self.notice_clock(now, out);
        self.reading.tick(now, out);
        self.ask_who_lives(now, out);
        self.blocked.retain(|_, until| *until > now.boot_ms);
        let reached: BTreeSet<String> =
            self.links.values().flat_map(|link| link.addresses.iter().chain([&link.address]).cloned()).collect();
        let spared = self.spared();
        let alone = self.linked().is_empty() && self.others().any(|device| !spared.contains(&device));
        if self.dialing.is_stuck(alone, now.boot_ms) {
            out.tell.push(LinkAction::Renew);
            self.dialing.at_once(now.boot_ms);
        }
        out.tell.extend(self.dialing.due(now.boot_ms, &spared, &reached));
        for asker in self.pings.given_up(now.boot_ms) {
            out.reply.push((asker, Reply::Refused(Refusal::new(Code::TimedOut, "no answer came within 5 s"))));
        }
        self.note_unseen(now, out);
        self.library.tidy(now.boot_ms, &mut out.keep);
    }

    /// A file that is written on change cannot be written: that is said until it can, and nothing else waits for it.
    pub(super) fn note_written(&mut self, name: &str, trouble: Option<String>) {
        let key = format!("file/{name}");
        self.warnings.remove(&key);
        if let Some(why) = trouble {
            let what = format!("files.{name} cannot be written: {why}");
            self.warnings
                .insert(key, Warning { what, fix: Some(format!("make its directory writable, or set files.{name} to another place")) });
        }
    }

    /// Every linked peer is told who lives here, on every change and every 15 s.
    pub(super) fn tell_presence(&mut self, now: Now, out: &mut Effects) {
        let is_due = self.presences.due() <= now.boot_ms;
        if is_due && !self.me.exclude.is_empty() && self.presences.news().all(|beat| self.beat_stays(beat)) {
            self.presences.put_off(now.boot_ms);
        }
        if self.presences.due() > now.boot_ms {
            return;
        }
        self.presences.told(now.boot_ms);
        let frame = Message::Presence(self.presence(now));
        for link in self.links.values_mut().filter(|link| link.stage >= Stage::Comparing) {
            link.say_presence(&frame, out);
        }
    }

    /// Everybody, also who hears of us through others, is told that we go: out of reach at once, not after a silence.
    pub(super) fn say_farewell(&mut self, out: &mut Effects) {
        let frame = Message::Presence(self.presences.farewell());
        for link in self.links.values_mut().filter(|link| link.stage >= Stage::Comparing) {
            link.say(&frame, out);
        }
    }

    pub(super) fn others(&self) -> impl Iterator<Item = DeviceId> {
        let me = self.me.device;
        self.log.ids(&self.fleet.id).copied().filter(move |device| *device != me)
    }

    fn last_heard(&self, device: &DeviceId) -> Millis {
        self.presences.heard().get(device).map_or(self.opened(), |heard| heard.said)
    }

    /// The devices whose absence has not been noted. Who has a link is here, however seldom it says so.
    fn watched(&self) -> Vec<DeviceId> {
        let linked = self.linked();
        self.others().filter(|device| !self.unseen.contains(device) && !linked.contains(device)).collect()
    }

    fn note_unseen(&mut self, now: Now, out: &mut Effects) {
        for device in self.watched() {
            let for_ms = now.boot_ms.saturating_sub(self.last_heard(&device));
            if for_ms >= self.me.not_seen_after_ms {
                out.note.push(Note::NotSeen { device: self.showing.view.device_name(&device).plain(), for_ms });
                self.unseen.insert(device);
            }
        }
    }

    pub(super) fn unseen_due(&self) -> Option<Millis> {
        let watched = self.watched().into_iter();
        watched.map(|device| self.last_heard(&device).saturating_add(self.me.not_seen_after_ms)).min()
    }

    /// Last beats are written, so that they are last words: told before it is said that we go.
    pub(super) fn write_last_beats(&mut self, out: &mut Effects) {
        let last: Vec<_> = self.presences.own().values().map(|alive| alive.beat.clone()).collect();
        for beat in last {
            if self.showing.beat(&key_of(&beat)).is_none_or(|said| said.rev < beat.rev) {
                self.write_beat(&beat, out);
            } else {
                self.insist(&key_of(&beat), out);
            }
        }
    }

    /// Whether a session of this device began before anybody could have waited for its line.
    fn was_there(&self, id: &SessionId) -> bool {
        let now = self.living.wall.unwrap_or(i64::MAX);
        self.own_session(id).is_some_and(|session| now.saturating_sub(session.started) > LIVE_MS)
    }

    /// A line for each, or one for all of a device when they are many: on the first day thousands are found.
    fn note_sessions(&self, new: &[SessionId], out: &mut Effects) {
        let mut by_device: BTreeMap<DeviceId, Vec<(&SessionId, &SessionFact)>> = BTreeMap::new();
        for (id, session) in new.iter().filter_map(|id| Some((id, self.showing.session(id)?))) {
            by_device.entry(session.device).or_default().push((id, session));
        }
        for (device, sessions) in by_device {
            let name = || self.showing.view.device_name(&device).plain();
            if sessions.len() > LINES_MAX {
                out.note.push(Note::NewSessions { device: name(), sessions: sessions.len() });
                continue;
            }
            out.note.extend(sessions.into_iter().map(|(id, session)| {
                let tool = Foreign::new(&*session.tool).plain();
                Note::NewSession { device: name(), session: id.short(6), tool }
            }));
        }
    }

    /// New sessions, and a listing that was read to its end, are worth a line in the log.
    pub(super) fn note_news(&mut self, out: &mut Effects) {
        let mut new = self.showing.take_new_sessions();
        if self.found_active.is_none() {
            let (before, live): (Vec<_>, Vec<_>) = new.into_iter().partition(|id| self.was_there(id));
            self.backfilled.extend(before);
            new = live;
        } else {
            new.append(&mut self.backfilled);
        }
        self.note_sessions(&new, out);
        if std::mem::take(&mut self.consolidate) {
            let (todos, sessions) = (self.shown.todos.len(), self.shown.sessions.len());
            out.note.push(Note::Consolidated { todos, sessions });
        }
        if self.found_active == Some(false) {
            self.found_active = Some(true);
            let is_active = |session: &&Arc<SessionView>| matches!(session.state, SessionState::Agent(state) if state.is_active());
            out.note.push(Note::Active { sessions: self.shown.sessions.values().filter(is_active).count() });
        }
    }

    /// Brings devices, sources, strangers and warnings up to date in the view.
    pub(super) fn show_devices(&mut self, now: Now) -> bool {
        let members = self.log.members(&self.fleet.id);
        let removed = self.showing.devices().keys().copied().filter(|device| self.log.is_removed(&self.fleet.id, &device.0));
        let shown: BTreeSet<DeviceId> = members.keys().copied().chain(removed).chain([self.me.device]).collect();
        let mut changed = false;
        let twins = self.twins(&shown, &members);
        for device in &shown {
            let view = DeviceView { has_twin: twins.contains(device), ..self.device_view(*device, members.contains_key(device), now) };
            if self.showing.view.devices.get(device).is_none_or(|held| **held != view) {
                self.showing.view.devices.insert(*device, Arc::new(view));
                changed = true;
            }
        }
        let gone: Vec<DeviceId> = self.showing.view.devices.keys().copied().filter(|device| !shown.contains(device)).collect();
        for device in gone {
            self.showing.view.devices.remove(&device);
            changed = true;
        }
        changed | self.show_holdings() | self.show_rest()
    }

    /// Says of ourselves what has changed: name, platform, addresses, sources that rest, how our agents are called.
    pub(super) fn introduce(&mut self, out: &mut Effects) {
        let key = FactKey::Device(self.me.device);
        let rev = self.library.facts().get(&key).map_or(0, Joined::rev);
        let said = self.showing.devices().get(&self.me.device);
        let addresses = match (self.listening.is_empty(), said) {
            (true, Some(said)) => said.addresses.clone(),
            _ => self.listening.clone(),
        };
        let (name, platform) = (Foreign::new(&*self.me.name), Foreign::new(&*self.me.platform));
        let (paused, agents, rests) = (self.reading.following.paused(), self.staying.told_names(), self.flow.rests.clone());
        let fact = DeviceFact { rev, name, platform, addresses, paused, agents, rests };
        if said != Some(&fact) {
            let fact = DeviceFact { rev: rev + 1, ..fact };
            self.write("fleet", &[(key, saved::json(&fact))], out);
        }
    }

    /// Which of them share their name with another: members with a member, those that are none any more with anybody.
    fn twins(&self, shown: &BTreeSet<DeviceId>, members: &BTreeMap<DeviceId, [u8; 32]>) -> BTreeSet<DeviceId> {
        let named = shown.iter().filter_map(|device| Some((device, self.showing.name(device)?.normalised().to_lowercase())));
        let named: Vec<(&DeviceId, String)> = named.collect();
        let mut names: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (device, name) in &named {
            let (all, of_members) = names.entry(name).or_default();
            (*all, *of_members) = (*all + 1, *of_members + usize::from(members.contains_key(device)));
        }
        let has_twin = |device: &DeviceId, name: &str| {
            names.get(name).is_some_and(|(all, of_members)| if members.contains_key(device) { *of_members > 1 } else { *all > 1 })
        };
        named.iter().filter(|(device, name)| has_twin(device, name)).map(|(device, _)| **device).collect()
    }

    fn show_rest(&mut self) -> bool {
        let lacking = self.lacking_warning();
        let view = &mut self.showing.view;
        let strangers = self.sightings.clone().into_iter().collect();
        let sources = self.reading.shown.iter().map(|(root, shown)| (root.word().to_owned(), Arc::new(shown.clone()))).collect();
        let held = self.links.values().flat_map(|link| &link.held);
        let held = held.map(|(doc, warning)| (format!("held/{doc}"), warning.clone()));
        let unsaved = self.library.unsaved().iter().map(|doc| {
            let what = format!("a fresh save of document {doc} does not read back; its file goes on to be appended to");
            (format!("unsaved/{doc}"), Warning { what, fix: Some("`hubless doctor`; please report it".into()) })
        });
        let newer = Some(self.library.facts().unknown()).filter(|n| *n > 0).map(|n| {
            let facts = if n == 1 { "1 entry".to_owned() } else { format!("{n} entries") };
            let what = format!("{facts} of kinds that this version does not know: kept and handed on, not shown");
            ("newer".to_owned(), Warning { what, fix: Some("update hubless on this device".into()) })
        });
        let warnings = self.warnings.clone().into_iter().chain(held).chain(unsaved).chain(newer).chain(lacking).collect();
        let fleet = Some(self.fleet.id);
        let ways: OrdMap<Way, WayView> = self.ways.0.clone().into_iter().collect();
        let moved = !Arc::ptr_eq(&view.staying, &self.staying.sessions);
        view.staying = Arc::clone(&self.staying.sessions);
        let changed = moved
            || view.ways != ways
            || view.strangers != strangers
            || view.sources != sources
            || view.warnings != warnings
            || view.fleet != fleet;
        (view.strangers, view.sources, view.ways, view.warnings, view.fleet) = (strangers, sources, ways, warnings, fleet);
        changed
    }

    fn device_view(&self, device: DeviceId, member: bool, now: Now) -> DeviceView {
        let said = self.showing.devices().get(&device);
        let own = device == self.me.device;
        let link = self.links.values().find(|link| link.device == device && link.stage > Stage::Proving);
        let heard = self.presences.heard().get(&device);
        let here = |at: Millis| now.wall_ms.saturating_sub(i64::try_from(now.boot_ms.saturating_sub(at)).unwrap_or(i64::MAX));
        let before = self.showing.view.devices.get(&device).and_then(|shown| shown.last_contact_here);
        let contact = heard.map(|heard| here(heard.said));
        // The same contact computed a moment later differs by a rounding of two clocks.
        let contact = contact.map(|contact| before.filter(|before| (contact - before).abs() < 1_000).unwrap_or(contact));
        let level = link.is_some_and(|link| link.is_level() && !link.doubted);
        DeviceView {
            id: device,
            name: self.showing.name(&device).cloned().unwrap_or_else(|| Foreign::new(device.short())),
            has_twin: false,
            platform: said.map(|said| said.platform.clone()).unwrap_or_default(),
            aliases: said.map(|said| said.aliases()).unwrap_or_default(),
            member,
            reachable: self.showing.is_reachable(&device),
            last_contact_here: contact,
            link: link.map(|link| LinkView {
                address: link.address.clone(),
                rtt_ms: link.measured.map(|(rtt, _)| rtt),
                bytes_in: link.shown_bytes.0,
                bytes_out: link.shown_bytes.1,
                level,
                documents: link.exchanged(),
                unknown: link.shown_unknown,
            }),
            they_miss: match link {
                _ if own || level => Some(0),
                Some(link) if link.flow() != Terms::NONE => None,
                Some(_) | None => self.missed(&device),
            },
            they_miss_of: self
                .behind
                .get(&device)
                .filter(|_| link.is_none_or(|link| link.flow() == Terms::NONE))
                .cloned()
                .unwrap_or_default(),
            flow: self.flow_view(&device, link),
            bytes_before: self.bytes_before.get(&device).copied().unwrap_or_default(),
            we_miss: (own || level).then_some(0),
            clock_skew_ms: link.and_then(|link| link.measured.map(|(_, skew)| skew)),
            last_error: self.errors.get(&device).cloned(),
            dials: self.dials.get(&device).cloned().unwrap_or_default(),
        }
    }
}
