//! Keeps the view up to date from what changed: facts, presence, links and time. What is kept up to date equals what is
//! computed from all facts (I13); `from_scratch` is that computation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::beat::Beat;
use crate::model::fact::FactKey;
use crate::model::id::{ActId, ConflictId, DeviceId, SessionId, TodoId};
use crate::model::limits::STALE_MS;
use crate::model::member::{ChoiceFact, DeviceFact};
use crate::model::session::{EndFact, SessionFact};
use crate::model::text::Foreign;
use crate::model::time::{Millis, Now, Stamp};
use crate::model::todo::Status;
use crate::model::view::{AgentKey, AgentView, View};
use crate::rules::agents;
use crate::rules::sessions::{self, Lists, Tags};
use crate::rules::todos::Todos;

use super::facts::Facts;
use super::presence::{Presences, key_of};
use super::saved::{self, Noun};

/// A last sign of life that moved by less than this on the wall clock is the same one.
const SAME_SIGN_MS: i64 = 1_000;

/// The view, and what it is computed from.
pub struct Showing {
    /// What is shown.
    pub view: View,
    /// Everything known of todos.
    pub todos: Todos,
    opened: Millis,
    sessions: BTreeMap<SessionId, SessionFact>,
    ends: BTreeMap<SessionId, BTreeMap<ActId, EndFact>>,
    tags: BTreeMap<SessionId, Tags>,
    /// Whether sessions' own files are there, as far as is known.
    files: BTreeMap<SessionId, bool>,
    /// By the names that tools and reports use.
    pub(super) beats: BTreeMap<AgentKey, Beat>,
    /// As `beats`.
    pub(super) rows: BTreeMap<SessionId, BTreeSet<AgentKey>>,
    pub(super) devices: BTreeMap<DeviceId, DeviceFact>,
    names: BTreeMap<DeviceId, (Stamp, ActId, Foreign)>,
    met: BTreeMap<DeviceId, Foreign>,
    forgotten: BTreeSet<DeviceId>,
    until: BTreeMap<AgentKey, Millis>,
    reachable: BTreeSet<DeviceId>,
    at_rest: bool,
    stale_after: Millis,
    /// By the names that are shown.
    pub(super) stale_agents: BTreeSet<AgentKey>,
    pub(super) stale_sessions: BTreeSet<SessionId>,
    new_sessions: Vec<SessionId>,
}

impl Showing {
    /// Nothing is known; `opened` is when this daemon began, on its boot clock. `at_rest`: no daemon runs, so nobody is in
    /// reach, this device included.
    #[must_use]
    pub fn new(me: DeviceId, opened: Millis, at_rest: bool) -> Showing {
        Showing {
            view: View::of(me),
            todos: Todos::default(),
            opened,
            sessions: BTreeMap::new(),
            ends: BTreeMap::new(),
            tags: BTreeMap::new(),
            files: BTreeMap::new(),
            beats: BTreeMap::new(),
            rows: BTreeMap::new(),
            devices: BTreeMap::new(),
            names: BTreeMap::new(),
            met: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            until: BTreeMap::new(),
            reachable: if at_rest { BTreeSet::new() } else { BTreeSet::from([me]) },
            at_rest,
            stale_after: STALE_MS,
            stale_agents: BTreeSet::new(),
            stale_sessions: BTreeSet::new(),
            new_sessions: Vec::new(),
        }
    }

    /// From now on an agent is stale after so long a silence, milliseconds, instead of after `limits::STALE_MS`.
    pub fn set_stale_after(&mut self, ms: Millis) {
        self.stale_after = ms;
    }

    /// What each device says of itself.
    #[must_use]
    pub fn devices(&self) -> &BTreeMap<DeviceId, DeviceFact> {
        &self.devices
    }

    /// What a device called itself when it was paired, until its own fact comes.
    pub fn meet(&mut self, device: DeviceId, name: &str) {
        self.met.insert(device, Foreign::new(name));
    }

    /// What a person called a device, else what it calls itself.
    #[must_use]
    pub fn name(&self, device: &DeviceId) -> Option<&Foreign> {
        let said = || self.devices.get(device).map(|said| &said.name).or_else(|| self.met.get(device));
        self.names.get(device).map(|(_, _, name)| name).or_else(said)
    }

    /// When a person last named a device.
    #[must_use]
    pub fn named_at(&self, device: &DeviceId) -> Stamp {
        self.names.get(device).map_or_else(Stamp::default, |(at, _, _)| *at)
    }

    /// What is written of a session.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&SessionFact> {
        self.sessions.get(id)
    }

    /// What is written of every session.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &SessionFact)> {
        self.sessions.iter()
    }

    /// Sessions that were not known when this was last asked.
    pub fn take_new_sessions(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.new_sessions)
    }

    /// The last beat of an agent in a document.
    #[must_use]
    pub fn beat(&self, key: &AgentKey) -> Option<&Beat> {
        self.beats.get(key)
    }

    /// The last end of a session, if it ever ended.
    #[must_use]
    pub fn ended(&self, session: &SessionId) -> Option<&EndFact> {
        self.ends.get(session)?.values().max_by_key(|end| end.at)
    }

    /// What is said of a session's tags.
    #[must_use]
    pub fn tags(&self, session: &SessionId) -> Option<&Tags> {
        self.tags.get(session)
    }

    /// A session's own file is there, or is not any more.
    pub fn learn_file(&mut self, session: SessionId, is_there: bool) {
        if self.files.insert(session, is_there) != Some(is_there) {
            self.stale_sessions.insert(session);
        }
    }

    /// All beats of one device in documents.
    pub fn beats_of(&self, device: DeviceId) -> impl Iterator<Item = &Beat> {
        self.beats.values().filter(move |beat| beat.device == device)
    }

    /// Learns the joined values of one fact. Gives the nouns that are not shown here: membership entries.
    pub fn learn(&mut self, key: &FactKey, facts: &Facts) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        if let FactKey::Beat(session, agent) = key {
            self.forget_beats(*session, agent, |device| facts.get(key).is_some_and(|joined| joined.of(device).is_some()));
        }
        for value in facts.get(key).into_iter().flat_map(super::facts::Joined::values) {
            match saved::read(key, value) {
                Some(Noun::Member(entry)) => entries.push(entry),
                Some(Noun::Device(device, fact)) => self.learn_device(device, fact),
                Some(Noun::Choice(id, ChoiceFact::Name { device, name, at })) => {
                    let named = self.names.entry(device).or_insert_with(|| (at, id, name.clone()));
                    if (at, id) > (named.0, named.1) {
                        *named = (at, id, name);
                    }
                }
                Some(Noun::Choice(_, ChoiceFact::Forget { device })) => self.forget_device(device),
                Some(Noun::Choice(id, ChoiceFact::Alias { from, to, at })) => self.todos.learn_alias(&from, &to, at, id),
                Some(Noun::Session(id, fact)) => {
                    self.todos.learn_session(id, fact.project.as_deref());
                    if self.sessions.insert(id, fact).is_none() {
                        self.new_sessions.push(id);
                    }
                    self.stale_sessions.insert(id);
                }
                Some(Noun::End(session, id, fact)) => {
                    let ends = self.ends.entry(session).or_default();
                    // Of several values of one name the lowest is shown, and values come lowest first.
                    ends.entry(id).or_insert(fact);
                    self.stale_sessions.insert(session);
                }
                Some(Noun::Tag(session, id, fact)) => {
                    self.tags.entry(session).or_default().learn(id, &fact);
                    self.stale_sessions.insert(session);
                }
                Some(Noun::Beat(beat)) => {
                    let key = key_of(&beat);
                    self.row(&key);
                    self.beats.insert(key, beat);
                }
                Some(Noun::Todo(fact)) => self.todos.learn(fact),
                None => {}
            }
        }
        entries
    }

    /// Sessions and agents of a device are shown no more, whenever they are learned.
    fn forget_device(&mut self, device: DeviceId) {
        if self.forgotten.insert(device) {
            self.stale_sessions.extend(self.sessions.iter().filter(|(_, fact)| fact.device == device).map(|(id, _)| *id));
            self.judge_all_of(device);
        }
    }

    /// A beat's document was outlived: unless its agent lives, its row is gone.
    fn forget_beats(&mut self, session: SessionId, agent: &str, is_said: impl Fn(&DeviceId) -> bool) {
        let rows = self.rows.get(&session).into_iter().flatten();
        let gone: Vec<AgentKey> = rows.filter(|key| key.agent == agent && !is_said(&key.device)).cloned().collect();
        for key in gone {
            self.beats.remove(&key);
            self.stale_agents.insert(self.shown_key(&key));
        }
    }

    fn row(&mut self, key: &AgentKey) {
        self.rows.entry(key.session).or_default().insert(key.clone());
        self.stale_agents.insert(self.shown_key(key));
    }

    /// One agent gave a sign of life, or will give none any more: it is judged again, and nobody beside it.
    pub fn agent_changed(&mut self, key: &AgentKey) {
        self.row(key);
    }

    /// Presence of a device changed: its agents are judged again.
    pub fn presence_changed(&mut self, device: &DeviceId, presences: &Presences) {
        let known = self.view.agents.keys().filter(|key| key.device == *device).cloned();
        self.stale_agents.extend(known);
        let living: Vec<AgentKey> = match presences.heard().get(device) {
            Some(heard) => heard.agents.keys().cloned().collect(),
            None => presences.own().keys().filter(|key| key.device == *device).cloned().collect(),
        };
        for key in living {
            self.row(&key);
        }
    }

    /// Brings the view up to date. `true`: something is shown that was not.
    pub fn update(&mut self, now: Now, presences: &Presences) -> bool {
        let before = self.view.clone();
        self.update_reach(now.boot_ms, presences);
        let due: Vec<AgentKey> = self.until.iter().filter(|(_, until)| **until <= now.boot_ms).map(|(key, _)| key.clone()).collect();
        self.stale_agents.extend(due);
        for key in std::mem::take(&mut self.stale_agents) {
            self.update_agent(&key, now, presences);
        }
        self.update_todos();
        for id in std::mem::take(&mut self.stale_sessions) {
            self.update_session(id);
        }
        let changed = !same(&before, &self.view);
        self.view.seq += u64::from(changed);
        changed
    }

    /// When the view next changes by time alone.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        self.until.values().min().copied()
    }

    fn update_reach(&mut self, now: Millis, presences: &Presences) {
        let mut reachable: BTreeSet<DeviceId> =
            presences.heard().iter().filter(|(_, heard)| heard.reachable(now)).map(|(d, _)| *d).collect();
        reachable.extend((!self.at_rest).then_some(self.view.me));
        if reachable != self.reachable {
            let turned: BTreeSet<DeviceId> = reachable.symmetric_difference(&self.reachable).copied().collect();
            self.stale_agents.extend(self.view.agents.keys().filter(|key| turned.contains(&key.device)).cloned());
            self.reachable = reachable;
        }
    }

    /// Whether a device can be reached.
    #[must_use]
    pub fn is_reachable(&self, device: &DeviceId) -> bool {
        self.reachable.contains(device)
    }

    fn update_agent(&mut self, key: &AgentKey, now: Now, presences: &Presences) {
        let Some((beat, alive)) = self.last_word(key, presences).filter(|_| !self.forgotten.contains(&key.device)) else {
            self.until.remove(key);
            self.view.agents.remove(key);
            self.stale_sessions.insert(key.session);
            return;
        };
        let (sign, progress) = (alive.map(|a| a.sign), alive.map(|a| a.progress));
        let since = presences.heard().get(&key.device).map_or(self.opened, |heard| heard.since.max(self.opened));
        let judged = agents::judge(beat, sign, progress, since, self.is_reachable(&key.device), now.boot_ms, self.stale_after);
        let named = self.named(beat);
        match judged.until {
            Some(until) => drop(self.until.insert(key.clone(), until)),
            None => drop(self.until.remove(key)),
        }
        let here = |at: Option<Millis>, shown: Option<i64>| {
            let here = at.map(|at| now.wall_ms.saturating_sub(now.boot_ms.saturating_sub(at) as i64));
            match (here, shown) {
                (Some(here), Some(shown)) if (here - shown).abs() < SAME_SIGN_MS => Some(shown),
                (here, _) => here,
            }
        };
        let shown = self.view.agents.get(key);
        let view = AgentView {
            state: judged.state,
            sign_here: here(sign, shown.and_then(|s| s.sign_here)),
            progress_here: here(progress, shown.and_then(|s| s.progress_here)),
            ..named
        };
        if shown.is_none_or(|shown| **shown != view) {
            self.view.agents.insert(key.clone(), Arc::new(view));
            self.stale_sessions.insert(key.session);
        }
    }

    fn update_todos(&mut self) {
        let settled = self.todos.settle();
        for (id, todo) in settled.todos {
            let before = self.view.todos.get(&id).cloned();
            let touched = before.iter().flat_map(|t| &t.origins).chain(todo.iter().flat_map(|t| &t.origins));
            self.stale_sessions.extend(touched.filter_map(|origin| origin.session));
            match todo {
                Some(todo) => drop(self.view.todos.insert(id, Arc::new(todo))),
                None => drop(self.view.todos.remove(&id)),
            }
        }
        for (id, places) in settled.moved {
            match places {
                Some(places) => drop(self.view.moved.insert(id, places.into())),
                None => drop(self.view.moved.remove(&id)),
            }
        }
        for (id, conflicts) in settled.conflicts {
            let from = (id, String::new(), ConflictId::of(&[]));
            let held: Vec<(TodoId, String, ConflictId)> = self
                .view
                .conflicts
                .range((id, String::new(), crate::model::id::Id([0; 16]))..)
                .map(|(key, _)| key.clone())
                .take_while(|key| key.0 == from.0)
                .collect();
            for key in held {
                self.view.conflicts.remove(&key);
            }
            for conflict in conflicts {
                self.view.conflicts.insert((id, conflict.field.clone(), conflict.id), Arc::new(conflict));
            }
        }
    }

    fn update_session(&mut self, id: SessionId) {
        let Some(fact) = self.sessions.get(&id) else { return };
        if self.forgotten.contains(&fact.device) {
            self.view.sessions.remove(&id);
            return;
        }
        let shown: BTreeSet<AgentKey> = self.rows.get(&id).into_iter().flatten().map(|key| self.shown_key(key)).collect();
        let agents = shown.iter().filter_map(|key| self.view.agents.get(key));
        let beats = agents.map(|agent| (agent.state, agent.beat.at, agent.beat.counts));
        let ends = self.ends.get(&id).into_iter().flat_map(BTreeMap::values);
        let mut view = sessions::view(id, fact, ends, beats, self.lists(id));
        view.tags = self.tags.get(&id).map(Tags::shown).unwrap_or_default();
        view.has_file = self.files.get(&id).copied();
        view.fact.agent = self.name_of(&fact.device, &fact.agent).map_or(view.fact.agent, |named| named.name.clone());
        if self.view.sessions.get(&id).is_none_or(|shown| **shown != view) {
            self.view.sessions.insert(id, Arc::new(view));
        }
    }

    fn lists(&self, id: SessionId) -> Lists {
        let (mut lists, mut todos) = (Lists::default(), BTreeSet::new());
        for (_, seen, todo) in self.todos.session_items(id) {
            todos.insert(todo);
            lists.read_at = lists.read_at.max(Some(seen.at));
            lists.open += u32::from(seen.listed && !seen.status.is_finished());
            lists.done += u32::from(seen.listed && seen.status == Status::Completed);
        }
        Lists { todos: todos.into_iter().collect(), ..lists }
    }

    /// Everything computed anew from all facts and the same presence, for the invariant that the view hides nothing.
    #[must_use]
    pub fn from_scratch(&self, facts: &Facts, now: Now, presences: &Presences) -> View {
        let mut anew = Showing::new(self.view.me, self.opened, self.at_rest);
        anew.stale_after = self.stale_after;
        anew.files.clone_from(&self.files);
        for (key, _) in facts.iter() {
            anew.learn(key, facts);
        }
        anew.presence_changed(&self.view.me, presences);
        for device in presences.heard().keys() {
            anew.presence_changed(device, presences);
        }
        anew.update(now, presences);
        anew.view
    }
}

/// Whether two views show the same, their numbers aside. Maps that share their root are equal at once.
fn same(a: &View, b: &View) -> bool {
    a.agents.ptr_eq(&b.agents)
        && a.sessions.ptr_eq(&b.sessions)
        && a.todos.ptr_eq(&b.todos)
        && a.moved.ptr_eq(&b.moved)
        && a.conflicts.ptr_eq(&b.conflicts)
}
