//! What must not leave this device lives in documents of its own, `local/…`, that are shown here and never told.
//!
//! One rule ([`Replica::why_stays`]) judges every fact by what it says and by what is known, at the one place where facts are
//! written. What is not known stays while anything is excluded: a session of which only others told, an item that has not
//! been read, the parent that a sub-agent works for. So nothing has to be taken back: what was told is told.
//!
//! What this device says of a session that stays, or stayed, stands in a local document, too, and that alone is judged: a
//! member's word lets nothing go. Facts that stand in local documents are ours, whatever device they name: that is what
//! this installation was called before it got another key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::beat::{Beat, agent_key};
use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::id::{ActId, DeviceId, ItemId, SessionId, TodoId};
use crate::model::leaving::{Exclude, Stays};
use crate::model::member::AgentName;
use crate::model::message::Presence;
use crate::model::session::{SessionFact, session_id};
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::todo::{ActFact, Deed, List, TodoFact};
use crate::model::tool::TOOLS;
use crate::model::view::AgentKey;
use crate::rules::todos::Found;

use super::facts::Facts;
use super::identity::Identity;
use super::machine::Replica;
use super::saved::{self, Noun};
use super::seal::Seal;

/// Before the name of a document that stays.
pub(super) const LOCAL: &str = "local/";

/// Why a fact stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// What it is of is excluded, or was never told.
    Excluded,
    /// Where its session works is not known.
    Unplaced,
    /// That session is not known.
    Session(SessionId),
    /// That item, or where that todo is, is not known.
    Unread,
}

/// What is excluded, and what that concerns.
pub(super) struct Staying {
    pub(super) exclude: Exclude,
    /// How this device's person calls agents.
    names: BTreeMap<String, AgentName>,
    /// Our sessions that stay.
    pub(super) sessions: Arc<BTreeMap<SessionId, Stays>>,
    /// What this device says itself of sessions that stay, or stayed.
    pub(super) said: BTreeMap<SessionId, SessionFact>,
    /// Whom this installation has been.
    selves: BTreeSet<DeviceId>,
    /// What we write of our sessions is known by it.
    pub(super) seal: Seal,
    /// Sessions of which what is known is nobody's own word: it names us without our seal, or is under a name that is not its own.
    pub(super) strange: BTreeSet<SessionId>,
    /// Who works for whom.
    children: BTreeMap<SessionId, BTreeSet<SessionId>>,
    /// What nobody was told of.
    pub(super) items: BTreeSet<ItemId>,
    pub(super) acts: BTreeSet<ActId>,
    /// Sessions for want of which a fact stays, and whether one does for want of an item.
    pub(super) awaited: BTreeSet<SessionId>,
    pub(super) unread: bool,
    /// Something may leave that has not.
    pub(super) release: bool,
}

impl Staying {
    /// What local documents say of us.
    pub(super) fn open(me: &Identity, local: &Facts) -> Staying {
        let (exclude, names) = (me.exclude.clone(), me.agents.clone());
        let (mut said, mut selves) = (BTreeMap::new(), BTreeSet::from([me.device]));
        let values = local.iter().filter(|_| !exclude.is_empty()).flat_map(|(key, joined)| joined.values().map(move |value| (key, value)));
        for (key, value) in values {
            let Some(noun) = saved::read(key, value) else { continue };
            selves.extend(writer(&noun));
            if let Noun::Session(id, fact) = noun {
                said.insert(id, fact);
            }
        }
        Staying {
            exclude,
            names,
            sessions: Arc::default(),
            said,
            selves,
            seal: Seal::of(&me.signing),
            strange: BTreeSet::new(),
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            acts: BTreeSet::new(),
            awaited: BTreeSet::new(),
            unread: false,
            release: true,
        }
    }

    /// Whether an agent stays, by the name it is called here or by the one that its person gave it.
    pub(super) fn keeps_agent(&self, called: &str) -> bool {
        let named = || self.names.get(&agent_key(&Foreign::new(called))).is_some_and(|named| self.exclude.keeps_agent(named.name.json()));
        self.exclude.keeps_agent(called) || named()
    }

    /// What may be told of how agents are called here: nothing of those that stay.
    pub(super) fn told_names(&self) -> BTreeMap<String, AgentName> {
        let told = self.names.iter().filter(|(called, _)| !self.keeps_agent(called));
        told.map(|(called, named)| (called.clone(), named.clone())).collect()
    }

    fn why_agent(&self, agent: Option<&Foreign>) -> Option<Why> {
        agent.filter(|agent| self.keeps_agent(agent.json())).map(|_| Why::Excluded)
    }

    fn why_project(&self, project: Option<&str>) -> Option<Why> {
        project.filter(|key| self.exclude.keeps_project(key)).map(|_| Why::Excluded)
    }

    /// What a session's own fact says, whoever it works for.
    fn why_alone(&self, fact: &SessionFact) -> Option<Why> {
        let is_kept = self.keeps_agent(fact.agent.json())
            || fact.project.as_deref().is_some_and(|key| self.exclude.keeps_project(key))
            || fact.cwd.as_ref().is_some_and(|cwd| self.exclude.keeps_directory(cwd.json()));
        // A script that names no directory has no project, and was written to be seen.
        let has_place = fact.cwd.is_some() || TOOLS.iter().any(|tool| tool.name == fact.tool);
        if is_kept { Some(Why::Excluded) } else { (fact.project.is_none() && has_place).then_some(Why::Unplaced) }
    }
}

/// The device that a fact names as the one which wrote it.
fn writer(noun: &Noun) -> Option<DeviceId> {
    match noun {
        Noun::Session(_, fact) => Some(fact.device),
        Noun::Tag(.., fact) => Some(fact.by.device),
        Noun::Beat(beat) => Some(beat.device),
        Noun::Todo(TodoFact::Seen(_, seen)) => Some(seen.device),
        Noun::Todo(TodoFact::Rank(.., rank)) => Some(rank.by.device),
        Noun::Todo(TodoFact::Act(_, act)) => Some(act.by.device),
        Noun::Todo(TodoFact::Item(_, item)) => {
            if let List::Named { device, .. } = &item.list {
                Some(*device)
            } else {
                None
            }
        }
        Noun::Member(_) | Noun::Device(..) | Noun::Choice(..) | Noun::End(..) => None,
    }
}

/// The rule.
impl Replica {
    /// Why a fact stays here, if it does.
    pub(super) fn why_stays(&self, key: &FactKey, value: &str) -> Option<Why> {
        let of_fleet = matches!(key, FactKey::Member(_) | FactKey::Device(_) | FactKey::Choice(_));
        if self.staying.exclude.is_empty() || of_fleet {
            return None;
        }
        match saved::read(key, value) {
            Some(Noun::Session(_, fact)) => self.why_fact(&fact),
            Some(Noun::End(session, _, end)) => self.staying.why_agent(end.agent.as_ref()).or_else(|| self.why_session(session)),
            Some(Noun::Tag(session, ..)) => self.why_session(session),
            Some(Noun::Beat(beat)) => self.why_beat(&beat),
            Some(Noun::Todo(fact)) => self.why_todo_fact(&fact),
            Some(Noun::Member(_) | Noun::Device(..) | Noun::Choice(..)) => None,
            // Nobody writes what does not read.
            None => Some(Why::Excluded),
        }
    }

    /// Session and those that it works for, as far as they are known.
    fn why_fact(&self, fact: &SessionFact) -> Option<Why> {
        let (mut fact, mut seen) = (fact, BTreeSet::new());
        loop {
            if let Some(why) = self.staying.why_alone(fact) {
                return Some(why);
            }
            let parent = fact.parent.filter(|parent| seen.insert(*parent))?;
            match self.own_session(&parent) {
                Some(above) => fact = above,
                None => return Some(Why::Session(parent)),
            }
        }
    }

    pub(super) fn why_session(&self, session: SessionId) -> Option<Why> {
        match (self.own_session(&session), self.showing.session(&session)) {
            (Some(fact), _) => self.why_fact(fact),
            (None, Some(fact)) if !self.staying.selves.contains(&fact.device) && !self.staying.strange.contains(&session) => {
                self.staying.why_project(fact.project.as_deref())
            }
            (None, _) => Some(Why::Session(session)),
        }
    }

    fn why_beat(&self, beat: &Beat) -> Option<Why> {
        self.staying.why_agent(Some(&beat.agent)).or_else(|| self.why_session(beat.session))
    }

    fn why_todo_fact(&self, fact: &TodoFact) -> Option<Why> {
        match fact {
            TodoFact::Item(_, item) => self.why_list(&item.list).or_else(|| self.staying.why_project(item.project.as_deref())),
            TodoFact::Rank(item, .., rank) => self.staying.why_agent(rank.by.agent.as_ref()).or_else(|| self.why_item(*item)),
            TodoFact::Seen(item, _) => self.why_item(*item),
            TodoFact::Act(id, act) => self.why_act(*id, act),
        }
    }

    fn why_list(&self, list: &List) -> Option<Why> {
        match list {
            List::Session { session, .. } => self.why_session(*session),
            // It is of no one project.
            List::Named { device, .. } => self.staying.selves.contains(device).then_some(Why::Excluded),
            List::Person { project } => self.staying.why_project(Some(project)),
        }
    }

    fn why_item(&self, item: ItemId) -> Option<Why> {
        if self.staying.items.contains(&item) {
            return Some(Why::Excluded);
        }
        let Some(fact) = self.showing.todos.item(item) else { return Some(Why::Unread) };
        let by_place = || self.staying.why_project(self.showing.todos.project(item));
        self.why_list(&fact.list).or_else(by_place)
    }

    /// By who did it, by every item that it names, by where its todo is, and by what it says again.
    fn why_act(&self, id: ActId, act: &ActFact) -> Option<Why> {
        let by = self.staying.why_agent(act.by.agent.as_ref()).or_else(|| act.by.session.and_then(|session| self.why_session(session)));
        let items = act.items.iter().filter_map(|item| self.why_item(*item));
        let todo = self.why_todo(act.todo, act.items.is_empty());
        let copied = self.says_again(id, act).then_some(Why::Excluded);
        // What is not known yet says least.
        by.into_iter().chain(items).chain(todo).chain(copied).max_by_key(|why| *why != Why::Unread)
    }

    /// A todo by the project that it is in; where nothing else is named, by all that it holds.
    fn why_todo(&self, todo: TodoId, alone: bool) -> Option<Why> {
        let todos = &self.showing.todos;
        let places = match todos.find(todo) {
            Found::Here => vec![todo],
            Found::Elsewhere(there) => vec![there],
            Found::Several(places) => places,
            Found::Nowhere => return alone.then_some(Why::Unread),
        };
        let mut items = places.into_iter().flat_map(|place| todos.items(place));
        items.find_map(|item| if alone { self.why_item(item) } else { self.staying.why_project(todos.project(item)) })
    }

    /// Whether it repeats a text that nobody was told of: an undo brings back what was set before, a settled conflict
    /// names both of its sides.
    fn says_again(&self, id: ActId, act: &ActFact) -> bool {
        let texts: Vec<&Foreign> = match &act.deed {
            Deed::Set { value, .. } | Deed::Tag { tag: value, .. } => vec![value],
            Deed::Resolve { was: Some(was), .. } => vec![&was.local.value, &was.remote.value],
            Deed::Resolve { was: None, .. } | Deed::Mark { .. } | Deed::Open { .. } | Deed::Delete { .. } | Deed::Asked => return false,
        };
        let untold = self.showing.todos.acts_on(&act.items).filter(|(other, _)| *other != id && self.staying.acts.contains(other));
        let said = |deed: &'_ Deed| -> Option<Foreign> {
            if let Deed::Set { value, .. } | Deed::Tag { tag: value, .. } = deed { Some(value.clone()) } else { None }
        };
        let mut values = untold.filter_map(|(_, other)| said(&other.deed));
        values.any(|value| !value.is_blank() && texts.contains(&&value))
    }
}

/// What is known.
impl Replica {
    /// What this device itself says of one of its sessions. Nobody else's word counts: what we write next would make it ours.
    pub(super) fn own_session(&self, session: &SessionId) -> Option<&SessionFact> {
        let staying = &self.staying;
        let told = self.showing.session(session);
        if staying.exclude.is_empty() {
            return told.filter(|fact| fact.device == self.me.device && self.is_sealed(session));
        }
        let ours = |fact: &&SessionFact| staying.selves.contains(&fact.device) && !staying.strange.contains(session);
        staying.said.get(session).or_else(|| told.filter(ours))
    }
}

/// Which sessions and agents stay.
impl Replica {
    /// A session's fact is about to be learnt; `foreign`: others brought it.
    pub(super) fn note_strange(&mut self, session: SessionId, foreign: bool) {
        let Some(joined) = self.library.facts().get(&FactKey::Session(session)).filter(|_| !self.staying.exclude.is_empty()) else {
            return;
        };
        let value = joined.shown();
        let Some(Noun::Session(_, fact)) = saved::read(&FactKey::Session(session), value) else { return };
        let is_named_otherwise = session != session_id(&fact.device, &fact.tool, fact.tool_session.json());
        // Under an older key of ours what stood here when we started counts, and what others brought since is theirs for good.
        let is_old = fact.device != self.me.device && self.staying.selves.contains(&fact.device);
        let is_brought = is_old && foreign && self.showing.session(&session).is_none_or(|known| *known != fact);
        if is_named_otherwise || is_brought || (fact.device == self.me.device && !self.staying.seal.is_on(&session, &fact, value)) {
            self.staying.strange.insert(session);
        } else if !is_old {
            self.staying.strange.remove(&session);
        }
    }

    /// Whether what stands of a session was written by us, under the key that we have.
    fn is_sealed(&self, session: &SessionId) -> bool {
        let key = FactKey::Session(*session);
        let Some(joined) = self.library.facts().get(&key) else { return false };
        let value = joined.shown();
        matches!(saved::read(&key, value), Some(Noun::Session(_, fact)) if self.staying.seal.is_on(session, &fact, value))
    }

    /// Learns whether one of our sessions stays, and those that work for it.
    pub(super) fn learn_staying(&mut self, session: &SessionId) {
        if self.staying.exclude.is_empty() {
            return;
        }
        let Some(fact) = self.own_session(session) else { return self.note_unsure(session) };
        let why = self.why_fact(fact);
        if let Some(parent) = fact.parent {
            self.staying.children.entry(parent).or_default().insert(*session);
        }
        if let Some(Why::Session(parent)) = why {
            self.staying.awaited.insert(parent);
        }
        let stays = why.map(|why| if why == Why::Excluded { Stays::Excluded } else { Stays::Unknown });
        let before = self.staying.sessions.get(session).copied();
        let sessions = &mut self.staying.sessions;
        match stays {
            Some(stays) if before != Some(stays) => drop(Arc::make_mut(sessions).insert(*session, stays)),
            None if before.is_some() => drop(Arc::make_mut(sessions).remove(session)),
            Some(_) | None => {}
        }
        let awaited = self.staying.awaited.remove(session);
        self.staying.release |= awaited || (before.is_some() && stays.is_none());
        if awaited || before != stays {
            let children = self.staying.children.get(session).cloned().unwrap_or_default();
            children.iter().for_each(|child| self.learn_staying(child));
        }
    }

    /// Where a session of ours works is known by another's word alone, if at all: it stays until we have read it again.
    fn note_unsure(&mut self, session: &SessionId) {
        let is_ours = self.showing.session(session).is_some_and(|fact| self.staying.selves.contains(&fact.device));
        if is_ours && !self.staying.sessions.contains_key(session) {
            Arc::make_mut(&mut self.staying.sessions).insert(*session, Stays::Unknown);
        }
    }

    /// At the start: what was told of a session before it was excluded is said here, too, so that it goes on to be judged by
    /// our own word.
    pub(super) fn begin_staying(&mut self, now: Now, out: &mut Effects) {
        let unsaid = self.staying.sessions.keys().filter(|session| !self.staying.said.contains_key(*session));
        let unsaid: Vec<SessionId> = unsaid.copied().collect();
        for session in unsaid {
            let Some(fact) = self.own_session(&session) else { continue };
            let (name, value) = (saved::sessions(fact), saved::json(fact));
            self.write(&name, &[(FactKey::Session(session), value)], out);
        }
        self.ask_places(now, out);
    }

    /// Where sessions work whose place is not known is asked again.
    pub(super) fn ask_places(&mut self, now: Now, out: &mut Effects) {
        let unknown = self.staying.sessions.iter().filter(|(_, stays)| **stays == Stays::Unknown).map(|(session, _)| *session);
        let unknown: Vec<SessionId> = unknown.collect();
        for session in unknown {
            let Some(cwd) = self.own_session(&session).and_then(|fact| fact.cwd.clone()) else { continue };
            self.place_session(session, cwd, now, out);
        }
    }

    /// Who lives here, for all to hear: without those that stay.
    pub(super) fn presence(&mut self, now: Now) -> Presence {
        let stays = |(key, alive): (&AgentKey, &super::presence::Alive)| self.why_beat(&alive.beat).map(|_| key.clone());
        let staying: BTreeSet<AgentKey> = match self.staying.exclude.is_empty() {
            true => BTreeSet::new(),
            false => self.presences.own().iter().filter_map(stays).collect(),
        };
        self.presences.frame(&staying, now.boot_ms)
    }

    /// Whether a beat stays.
    pub(super) fn beat_stays(&self, beat: &Beat) -> bool {
        self.why_stays(&FactKey::Beat(beat.session, agent_key(&beat.agent)), &saved::json(beat)).is_some()
    }
}

/// The name of a shard, of what stays or of what is told.
pub(super) fn shard(stays: bool, name: &str) -> String {
    if stays { format!("{LOCAL}{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::super::conversations::{Node, frame, now, pair, said, talk, up};
    use super::super::identity::Identity;
    use super::*;
    use crate::model::ask::{Ask, Report, RunDeed, RunReport, SessionRecord, TodoAsk, TodoDeed};
    use crate::model::beat::Reported;
    use crate::model::effects::Look;
    use crate::model::id::{Asker, DocId, Life, LinkId};
    use crate::model::input::{FileStat, Input, Repo, Seen, SourceEvent};
    use crate::model::message::Message;
    use crate::model::reply::Reply;
    use crate::model::tool::Root;

    const LINK: LinkId = LinkId(1);

    /// A node that keeps what these patterns name, and one that is linked with it.
    fn two(exclude: &[&str]) -> (Node, Node) {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        a.r.me.exclude = Exclude::parse(exclude.iter().copied()).expect("patterns");
        let _ = a.reopen(1);
        pair(&mut a, &mut b);
        link(&mut a, &mut b);
        (a, b)
    }

    fn link(a: &mut Node, b: &mut Node) {
        let (to_a, to_b) = up(a, b, LINK, 2);
        talk(a, b, LINK, 2, to_a, to_b, 10_000);
        assert!(a.r.is_level() && b.r.is_level());
    }

    /// One step, and what it tells is heard; gives the frames that were no presence.
    fn told(a: &mut Node, b: &mut Node, t: u64, input: Input) -> usize {
        let out = a.step(t, input);
        let frames = said(&out, LINK);
        let presence = Message::Presence(b.r.presences.frame(&BTreeSet::new(), 0)).frames();
        let others = frames.iter().filter(|frame| frame[..2] != presence[0][..2]).count();
        for bytes in frames {
            let back = b.step(t, frame(LINK, bytes));
            talk(a, b, LINK, t, said(&back, LINK).into(), Vec::new().into(), 1_000);
        }
        others
    }

    fn hook(session: &str, cwd: &str) -> Input {
        let report = Report {
            agent: "claude".into(),
            state: Some(Reported::Working),
            task: Some("a secret task".into()),
            tool: Some("claude".into()),
            session: Some(session.into()),
            source: "hook",
            cwd: Some(cwd.into()),
            ..Report::default()
        };
        Input::Ask(Asker(1), Ask::Beat(report))
    }

    fn repo(cwd: &str, remote: &str) -> Input {
        let repo = Repo { remote: Some(remote.into()), root: cwd.into(), branch: None };
        Input::Source(SourceEvent::Repo { cwd: cwd.into(), repo: Some(repo) })
    }

    /// The events of a session's list that is found and read.
    fn list(session: &str, text: &str) -> [Input; 2] {
        let (root, path) = (Root::CLAUDE_TODOS, format!("{session}-agent-{session}.json"));
        let bytes = format!(r#"[{{"content":"{text}","status":"completed","activeForm":"x"}}]"#);
        let stat = FileStat { dev: 1, ino: 2, size: bytes.len() as u64, mtime_ms: 1_793_000_000_000 };
        let files = vec![Seen { path: path.as_str().into(), stat }];
        [
            Input::Source(SourceEvent::Looked { root, base: "/t".into(), present: true, files, skipped: 0 }),
            Input::Source(SourceEvent::Read { root, path: path.as_str().into(), stat, offset: 0, bytes: bytes.into_bytes(), at_end: true }),
        ]
    }

    fn shown(node: &Node) -> (usize, usize, usize) {
        let view = node.r.view();
        (view.sessions.len(), view.agents.len(), view.todos.len())
    }

    /// Everything that stands in documents which links tell.
    fn shared(node: &mut Node) -> String {
        let ids: Vec<DocId> = node.r.library.iter().map(|(id, _)| id.clone()).filter(|id| !id.is_local()).collect();
        let mut text = String::new();
        for id in ids {
            let document = node.r.library.settled(&id).expect("it is there");
            for key in document.keys() {
                document.values(&key).iter().for_each(|value| text += &format!("{id} {key} {value}\n"));
            }
        }
        text
    }

    /// A node that keeps what these patterns name, and one that is paired with it.
    fn apart(exclude: &[&str]) -> (Node, Node) {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        a.r.me.exclude = Exclude::parse(exclude.iter().copied()).expect("patterns");
        let _ = a.reopen(1);
        pair(&mut a, &mut b);
        (a, b)
    }

    fn link_as(a: &mut Node, b: &mut Node, link: u64, t: u64) {
        let (to_a, to_b) = up(a, b, LinkId(link), t);
        talk(a, b, LinkId(link), t, to_a, to_b, 10_000);
    }

    fn excludes(node: &mut Node, patterns: &[&str], t: u64) {
        node.r.me.exclude = Exclude::parse(patterns.iter().copied()).expect("patterns");
        let _ = node.reopen(t);
    }

    fn beat(node: &mut Node, t: u64, agent: &str, of: (&str, &str), cwd: Option<&str>, task: &str) -> Effects {
        let report = Report {
            agent: agent.into(),
            state: Some(Reported::Working),
            task: Some(task.into()),
            tool: Some(of.0.into()),
            session: Some(of.1.into()),
            source: "api",
            cwd: cwd.map(Into::into),
            ..Report::default()
        };
        node.step(t, Input::Ask(Asker(1), Ask::Beat(report)))
    }

    /// A session of Claude's in the excluded repository, and one of its todos.
    fn secret_work(node: &mut Node) {
        let _ = beat(node, 3, "claude", ("claude", "5c"), Some("/w/secret"), "TASK");
        let _ = node.step(4, repo("/w/secret", "git@example.com:me/secret.git"));
        read_list(node, 5, "5c", "hide the KEYS");
    }

    fn read_list(node: &mut Node, t: u64, session: &str, text: &str) {
        for input in list(session, text) {
            let _ = node.step(t, input);
        }
        let not_there = SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![(format!("{session}.jsonl"), None)] };
        let _ = node.step(t, Input::Source(not_there));
    }

    fn open_work(node: &mut Node, t: u64) {
        let _ = beat(node, t, "claude", ("claude", "0e"), Some("/w/open"), "open work");
        let _ = node.step(t, repo("/w/open", "git@example.com:me/open.git"));
    }

    fn deed(node: &mut Node, t: u64, what: TodoDeed) -> TodoId {
        by(node, t, None, what)
    }

    fn by(node: &mut Node, t: u64, agent: Option<&str>, what: TodoDeed) -> TodoId {
        let reply = node.ask(t, Ask::Todo(TodoAsk { what, agent: agent.map(Into::into), key: None }));
        if let Reply::Todo { id, .. } = reply { id } else { panic!("{reply:?}") }
    }

    fn add(content: &str, project: Option<&str>) -> TodoDeed {
        TodoDeed::Add { content: content.into(), project: project.map(str::to_owned), priority: None }
    }

    fn edit(id: TodoId, content: Option<&str>, owner: Option<&str>) -> TodoDeed {
        TodoDeed::Edit { id: id.to_string(), content: content.map(Into::into), owner: owner.map(Into::into), priority: None }
    }

    /// What a sub-agent's own file says.
    fn sub_agent(node: &mut Node, t: u64, cwd: &str, message: &str) {
        let (root, path) = (Root::CLAUDE_PROJECTS, "-w/5c5c/subagents/agent-a0b1.jsonl");
        let line = format!(
            r#"{{"type":"assistant","uuid":"c","sessionId":"5c5c","isSidechain":true,"agentId":"a0b1","cwd":"{cwd}","timestamp":"2026-10-26T10:00:00Z","message":{message}}}"#
        ) + "\n";
        let stat = FileStat { dev: 1, ino: 7, size: line.len() as u64, mtime_ms: 1_793_000_000_000 };
        let files = vec![Seen { path: path.into(), stat }];
        let _ = node.step(t, Input::Source(SourceEvent::Looked { root, base: "/p".into(), present: true, files, skipped: 0 }));
        let (head, bytes) = (line.clone().into_bytes(), line.into_bytes());
        let followed = SourceEvent::Followed { root, path: path.into(), stat, head, behind: vec![], offset: 0, bytes, at_end: true };
        let _ = node.step(t, Input::Source(followed));
    }

    const LISTS_KEYS: &str = r#"{"id":"m","content":[{"type":"tool_use","id":"u","name":"TodoWrite","input":{"todos":[{"content":"hide the KEYS","status":"pending","activeForm":"x"}]}}]}"#;

    #[test]
    fn another_key_tells_nothing_of_what_stays() {
        let (mut a, _) = apart(&["secret"]);
        secret_work(&mut a);
        let signing = SigningKey::from_bytes(&[9; 32]);
        let me = Identity { device: DeviceId(signing.verifying_key().to_bytes()), signing, ..a.r.me.clone() };
        let mut kept = a.kept.clone();
        kept.fleet = None;
        let (r, out) = Replica::open(me, Life { counter: 7, nonce: 70 }, now(30), &kept);
        out.keep.apply_to(&mut kept);
        (a.r, a.kept) = (r, kept);
        open_work(&mut a, 31);
        let told = shared(&mut a);
        assert!(!told.contains("TASK") && !told.contains("KEYS"), "{told}");
        assert_eq!((a.r.view().staying.len(), a.r.view().todos.len()), (1, 1), "kept and shown");
        // Also where it was told before: what came later stood here only.
        let (mut b, _) = apart(&[]);
        secret_work(&mut b);
        excludes(&mut b, &["secret"], 20);
        let _ = beat(&mut b, 21, "claude", ("claude", "5c"), Some("/w/secret"), "LATER");
        assert!(!shared(&mut b).contains("LATER"));
        let signing = SigningKey::from_bytes(&[8; 32]);
        b.r.me = Identity { device: DeviceId(signing.verifying_key().to_bytes()), signing, ..b.r.me.clone() };
        let _ = b.reopen(30);
        assert!(!shared(&mut b).contains("LATER"));
    }

    #[test]
    fn what_is_done_to_a_todo_that_stays_stays_wherever_the_todo_goes() {
        let (mut a, mut b) = apart(&["secret"]);
        link_as(&mut a, &mut b, 1, 2);
        let todo = deed(&mut a, 3, add("plain", Some("example.com/me/secret")));
        let _ = deed(&mut a, 4, edit(todo, None, Some("an OWNER")));
        let moved = deed(&mut a, 5, edit(todo, Some("NEWTEXT of the client"), None));
        let gone = ["plain", "OWNER", "NEWTEXT"];
        let tells = |node: &mut Node| gone.iter().find(|text| shared(node).contains(**text)).copied();
        assert_eq!(tells(&mut a), None);
        let _ = deed(&mut a, 6, TodoDeed::Undo { id: moved.to_string() });
        let _ = a.ask(7, Ask::Todo(TodoAsk { what: TodoDeed::Done { id: todo.to_string() }, agent: None, key: Some("k".into()) }));
        let _ = a.reopen(20);
        open_work(&mut a, 21);
        assert_eq!(tells(&mut a), None, "after another start");
        link_as(&mut a, &mut b, 2, 30);
        assert!(b.r.view().todos.is_empty() && a.r.view().todos.len() == 1);
        assert!(shared(&mut a).contains("open work"));
    }

    #[test]
    fn what_was_done_before_the_project_was_known_stays_with_it() {
        let (mut a, _) = apart(&["secret"]);
        let _ = beat(&mut a, 3, "claude", ("claude", "5c"), Some("/w/secret"), "TASK");
        read_list(&mut a, 4, "5c", "hide the KEYS");
        let todo = *a.r.view().todos.keys().next().expect("shown");
        let _ = deed(&mut a, 5, edit(todo, None, Some("an OWNER")));
        let _ = a.step(6, repo("/w/secret", "git@example.com:me/secret.git"));
        open_work(&mut a, 7);
        assert!(!shared(&mut a).contains("OWNER"));
        let _ = a.reopen(20);
        assert!(!shared(&mut a).contains("OWNER"), "after another start");
    }

    #[test]
    fn a_sub_agents_list_waits_for_the_session_it_works_for() {
        let (mut a, _) = apart(&["secret"]);
        sub_agent(&mut a, 3, "/w/secret", LISTS_KEYS);
        let _ = a.step(4, repo("/w/secret", "git@example.com:me/secret.git"));
        assert!(!shared(&mut a).contains("KEYS") && a.r.view().todos.len() == 1);
        let (mut a, _) = apart(&["secret"]);
        sub_agent(&mut a, 3, "/w/open", LISTS_KEYS);
        let _ = a.step(4, repo("/w/open", "git@example.com:me/open.git"));
        assert!(!shared(&mut a).contains("KEYS"), "for whom it works is not known");
        assert_eq!(a.r.view().staying.values().collect::<Vec<_>>(), [&Stays::Unknown]);
        let _ = beat(&mut a, 5, "claude", ("claude", "5c5c"), Some("/w/open"), "fine");
        let _ = a.step(6, repo("/w/open", "git@example.com:me/open.git"));
        assert!(shared(&mut a).contains("KEYS") && a.r.view().staying.is_empty());
    }

    #[test]
    fn a_sub_agent_of_an_excluded_agent_stays_though_it_was_read_first() {
        let (mut a, _) = apart(&["agent:mole"]);
        sub_agent(&mut a, 3, "/w/o", r#"{"id":"m","content":[{"type":"text","text":"PROMPT of the mole"}]}"#);
        let _ = a.step(4, repo("/w/o", "git@example.com:me/open.git"));
        let _ = beat(&mut a, 5, "mole", ("claude", "5c5c"), Some("/w/o"), "fine");
        let _ = a.step(6, repo("/w/o", "git@example.com:me/open.git"));
        assert_eq!((a.r.view().staying.len(), shared(&mut a).lines().filter(|line| !line.starts_with("fleet")).count()), (2, 0));
    }

    #[test]
    fn a_session_of_any_tool_is_placed_before_it_is_told() {
        let (mut a, mut b) = apart(&["secret"]);
        link_as(&mut a, &mut b, 1, 2);
        let _ = beat(&mut a, 3, "aider", ("aider", "s1"), Some("/w/x"), "TASK");
        assert!(!shared(&mut a).contains("TASK") && !shared(&mut a).contains("/w/x"));
        let _ = a.step(4, repo("/w/x", "git@example.com:me/secret.git"));
        assert!(!shared(&mut a).contains("TASK"));
        let (mut a, _) = apart(&["/w/secret"]);
        let _ = beat(&mut a, 3, "aider", ("aider", "client-acme-run"), Some("/w/secret/a"), "TASK");
        let title = SessionRecord {
            tool: "aider".into(),
            id: "x1".into(),
            agent: None,
            cwd: Some("/w/secret/a".into()),
            remote: None,
            branch: None,
            title: Some("TITLE".into()),
            started: None,
        };
        let _ = a.ask(4, Ask::Sessions(vec![title]));
        let told = shared(&mut a);
        assert!(["TASK", "client-acme-run", "TITLE"].iter().all(|text| !told.contains(text)), "{told}");
        // One that names no directory is told, until it does.
        let _ = beat(&mut a, 5, "sam", ("custom", "sam"), None, "to be seen");
        let _ = beat(&mut a, 6, "sam", ("custom", "sam"), Some("/w/secret"), "HIDDEN");
        let told = shared(&mut a);
        assert!(told.contains("to be seen") && !told.contains("HIDDEN"));
    }

    #[test]
    fn where_a_directory_is_gone_its_project_is_not_known() {
        let (mut a, _) = apart(&["secret"]);
        let unsure = |cwd: &str| Input::Source(SourceEvent::Unsure { cwd: cwd.into(), repo: None });
        let _ = beat(&mut a, 3, "claude", ("claude", "5c"), Some("/w/gone"), "TASK");
        let _ = a.step(4, unsure("/w/gone"));
        sub_agent(&mut a, 5, "/w/lost", LISTS_KEYS);
        let _ = a.step(6, unsure("/w/lost"));
        assert!(!shared(&mut a).contains("TASK") && !shared(&mut a).contains("KEYS"));
        assert_eq!((a.r.view().staying.len(), a.r.view().todos.len()), (2, 1));
        // It is there again, and looked at at the next start, or when a person says so.
        let asks = |out: &Effects| out.look.contains(&Look::Repo { cwd: "/w/gone".into() });
        assert!(asks(&a.reopen(20)) && asks(&a.step(21, Input::Ask(Asker(1), Ask::Rescan))));
        let _ = a.step(22, repo("/w/gone", "git@example.com:me/open.git"));
        assert!(shared(&mut a).contains("TASK"));
        // Where nothing is excluded the folder is a project.
        let (mut a, _) = apart(&[]);
        let _ = beat(&mut a, 3, "claude", ("claude", "5c"), Some("/w/gone"), "TASK");
        let _ = a.step(4, unsure("/w/gone"));
        assert!(shared(&mut a).contains("\"project\":\"/w/gone\""));
    }

    #[test]
    fn a_session_that_goes_on_in_an_excluded_directory_stays_from_then_on() {
        let (mut a, _) = apart(&["/w/secret"]);
        open_work(&mut a, 3);
        let _ = beat(&mut a, 4, "claude", ("claude", "0e"), Some("/w/secret/x"), "HIDDEN");
        let _ = beat(&mut a, 5, "claude", ("claude", "0e"), Some("/w/open"), "ALSO");
        let _ = a.reopen(20);
        let told = shared(&mut a);
        assert!(told.contains("open work") && !told.contains("HIDDEN") && !told.contains("ALSO"), "{told}");
    }

    #[test]
    fn what_an_excluded_agent_does_stays_whoevers_session_and_todo_it_is() {
        let (mut a, mut b) = apart(&["agent:mole"]);
        link_as(&mut a, &mut b, 1, 2);
        open_work(&mut a, 3);
        let _ = beat(&mut a, 5, "mole", ("claude", "0e"), Some("/w/open"), "MOLETASK");
        let todo = deed(&mut a, 6, add("plain", None));
        let _ = by(&mut a, 7, Some("mole"), edit(todo, None, Some("MOLEOWNER")));
        for (agent, deed) in [("sam", RunDeed::Spawn), ("mole", RunDeed::Spawn), ("mole", RunDeed::Complete)] {
            let text = |what: &str| Some(Foreign::new(format!("{}{what}", if agent == "mole" { "MOLE" } else { "run" })));
            let run = RunReport {
                deed,
                key: "run".into(),
                agent: Some(agent.into()),
                task: text("task"),
                file: None,
                note: None,
                result: text("result"),
            };
            assert!(matches!(a.ask(7, Ask::Run(run)), Reply::Beat { .. }));
        }
        // What a person says again of it, and what the mole added.
        let mine = edit(todo, None, Some("mine"));
        let _ = deed(&mut a, 8, mine);
        let _ = deed(&mut a, 9, TodoDeed::Undo { id: todo.to_string() });
        let added = by(&mut a, 10, Some("mole"), add("MOLETODO", None));
        let _ = deed(&mut a, 11, TodoDeed::Done { id: added.to_string() });
        let _ = deed(&mut a, 12, edit(added, Some("MOLETODO anew"), None));
        let living: String = a.r.presence(now(12)).agents.iter().map(|living| saved::json(&living.beat.0)).collect();
        assert!(living.contains("open work") && !living.contains("MOLE") && !living.contains("mole"), "{living}");
        for t in [13, 20] {
            let told = shared(&mut a);
            assert!(told.contains("plain") && !told.contains("MOLE"), "{told}");
            let _ = a.reopen(t);
        }
    }

    #[test]
    fn a_document_that_is_held_back_is_written_again_without_what_stays() {
        let (mut a, mut b) = apart(&[]);
        link_as(&mut a, &mut b, 1, 2);
        secret_work(&mut a);
        excludes(&mut a, &["secret"], 20);
        link_as(&mut a, &mut b, 2, 21);
        let _ = beat(&mut a, 22, "claude", ("claude", "5c"), Some("/w/secret"), "NEWSECRET");
        let doc = DocId::parse(&format!("heartbeats/{}/1", a.me())).expect("a name");
        let local = DocId::parse(&format!("local/heartbeats/{}/1", a.me())).expect("a name");
        for frames in [Message::Held { doc }.frames(), Message::Held { doc: local }.frames()] {
            frames.into_iter().for_each(|bytes| drop(a.step(23, frame(LinkId(2), bytes))));
        }
        let told = shared(&mut a);
        assert!(told.contains("TASK") && !told.contains("NEWSECRET"), "{told}");
    }

    #[test]
    fn a_member_lets_go_nothing_that_stays() {
        let (mut a, mut b) = apart(&[]);
        link_as(&mut a, &mut b, 1, 2);
        secret_work(&mut a);
        link_as(&mut a, &mut b, 5, 5);
        excludes(&mut a, &["secret"], 20);
        link_as(&mut a, &mut b, 2, 21);
        let _ = beat(&mut a, 22, "claude", ("claude", "5c"), Some("/w/secret"), "NEWSECRET");
        let facts = b.r.library.facts();
        let (key, value) = facts.iter().find(|(key, _)| matches!(key, FactKey::Session(_))).expect("told before");
        let mut fact: SessionFact = serde_json::from_str(value.shown()).expect("a session");
        (fact.rev, fact.project, fact.cwd) = (fact.rev + 5, Some("x".into()), None);
        let (key, mut out) = (key.clone(), Effects::default());
        b.r.write("sessions/2026-10", &[(key, saved::json(&fact))], &mut out);
        out.keep.apply_to(&mut b.kept);
        link_as(&mut a, &mut b, 3, 23);
        let _ = beat(&mut a, 24, "claude", ("claude", "5c"), Some("/w/secret"), "NEWSECRET");
        assert!(!shared(&mut a).contains("NEWSECRET"));
        for t in [30, 40] {
            let _ = a.reopen(t);
            let _ = beat(&mut a, t + 1, "claude", ("claude", "5c"), Some("/w/open"), "NEWSECRET too");
            let _ = a.step(t + 1, repo("/w/open", "git@example.com:me/open.git"));
            assert!(!shared(&mut a).contains("NEWSECRET"), "at another start");
        }
    }

    #[test]
    fn what_stays_is_told_to_nobody_and_missed_by_nobody() {
        let (mut a, mut b) = apart(&["secret"]);
        link_as(&mut a, &mut b, 1, 2);
        let out = beat(&mut a, 3, "claude", ("claude", "5c"), Some("/w/secret"), "TASK");
        assert!(matches!(&out.reply[0].1, Reply::Beat { told, .. } if told.is_empty()), "{:?}", out.reply);
        let out = beat(&mut a, 4, "sam", ("custom", "sam"), None, "fine");
        assert!(matches!(&out.reply[0].1, Reply::Beat { told, .. } if told.len() == 1), "{:?}", out.reply);
        let (mut a, b) = apart(&["secret"]);
        a.r.behind.insert(b.me(), BTreeMap::new());
        for n in 0..5 {
            let _ = beat(&mut a, 5 + n, "claude", ("claude", "5c"), Some("/w/secret"), &format!("TASK{n}"));
        }
        assert_eq!(a.r.missed(&b.me()), Some(0));
    }

    #[test]
    fn what_is_excluded_is_shown_here_and_nothing_of_it_is_told() {
        let (mut a, mut b) = two(&["secret", "agent:mole"]);
        assert_eq!(told(&mut a, &mut b, 3, hook("5c", "/w/secret")), 0);
        assert_eq!(told(&mut a, &mut b, 4, repo("/w/secret", "git@example.com:me/secret.git")), 0);
        for input in list("5c", "hide the key") {
            assert_eq!(told(&mut a, &mut b, 5, input), 0);
        }
        let not_there = Input::Source(SourceEvent::Found { root: Root::CLAUDE_PROJECTS, files: vec![("5c.jsonl".into(), None)] });
        assert_eq!(told(&mut a, &mut b, 6, not_there), 0);
        let add = TodoDeed::Add { content: "by hand".into(), project: Some("example.com/me/secret".into()), priority: None };
        let mut deeds = vec![add];
        for n in 0..2 {
            let ask = Ask::Todo(TodoAsk { what: deeds.remove(0), agent: None, key: None });
            assert_eq!(told(&mut a, &mut b, 7 + n, Input::Ask(Asker(1), ask)), 0);
            let by_hand = a.r.view().todos.values().find(|todo| todo.content.json() == "by hand").map(|todo| todo.id.to_string());
            deeds.push(TodoDeed::Done { id: by_hand.expect("shown here") });
        }
        assert_eq!((shown(&a), shown(&b)), ((1, 1, 2), (0, 0, 0)));
        assert!(b.r.presences.heard().values().all(|heard| heard.agents.is_empty()));
        assert_eq!(a.r.view().staying.len(), 1);
        // Another start on the same disk shows and keeps the same.
        let _ = a.reopen(20);
        assert_eq!(shown(&a), (1, 1, 2));
        link(&mut a, &mut b);
        assert_eq!(shown(&b), (0, 0, 0));
        assert_eq!(*a.r.library().facts(), a.r.library().facts_from_scratch());
    }

    #[test]
    fn a_session_waits_for_its_project_and_then_all_of_it_is_told() {
        let (mut a, mut b) = two(&["secret"]);
        assert_eq!(told(&mut a, &mut b, 3, hook("0e", "/w/open")), 0, "its project is not known");
        assert_eq!((shown(&a), shown(&b)), ((1, 1, 0), (0, 0, 0)));
        assert!(told(&mut a, &mut b, 4, repo("/w/open", "git@example.com:me/open.git")) > 0);
        assert_eq!((shown(&a), shown(&b), a.r.view().staying.len()), ((1, 1, 0), (1, 1, 0), 0));
        let task = b.r.view().agents.values().next().and_then(|agent| agent.beat.task.clone());
        assert_eq!(task, Some("a secret task".into()));
        // Once told, it is not written again.
        let _ = a.reopen(20);
        let heads = a.r.library().heads();
        let _ = a.reopen(21);
        assert_eq!(a.r.library().heads(), heads);
    }

    #[test]
    fn what_is_excluded_no_longer_is_told_at_the_next_start() {
        let (mut a, mut b) = two(&["/w/*"]);
        let _ = told(&mut a, &mut b, 3, hook("5c", "/w/secret"));
        let _ = told(&mut a, &mut b, 4, repo("/w/secret", "git@example.com:me/secret.git"));
        assert_eq!(shown(&b), (0, 0, 0));
        a.r.me.exclude = Exclude::default();
        let _ = a.reopen(20);
        link(&mut a, &mut b);
        assert_eq!((shown(&a), shown(&b)), ((1, 1, 0), (1, 1, 0)));
        assert!(matches!(a.ask(30, Ask::Rescan), Reply::Rescanning));
    }

    #[test]
    fn with_nothing_excluded_nothing_stays() {
        let (mut a, mut b) = two(&[]);
        assert!(told(&mut a, &mut b, 3, hook("5c", "/w/x")) > 0);
        assert_eq!(shown(&b), (1, 1, 0));
        assert!(a.r.library().iter().all(|(id, _)| !id.is_local()));
    }
}
