//! What must not leave this device lives in documents of its own, `local/…`, that are shown here and never told.
//!
//! Whether a fact stays is asked where it is written, so that nothing has to be taken back: what was told is told. While
//! anything is excluded, a session of a tool stays until its project is known. What stayed and may leave now is written
//! again, into the shared documents; the local one keeps its copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::beat::agent_key;
use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::id::{DocId, ItemId, SessionId, TodoId};
use crate::model::leaving::Exclude;
use crate::model::member::AgentName;
use crate::model::session::SessionFact;
use crate::model::text::Foreign;
use crate::model::todo::{ActFact, List, TodoFact};
use crate::model::tool::TOOLS;

use super::machine::{Identity, Replica};
use super::saved;

/// Before the name of a document that stays.
const LOCAL: &str = "local/";

/// What is excluded, and which of our sessions that concerns.
pub(super) struct Staying {
    exclude: Exclude,
    names: BTreeMap<String, AgentName>,
    pub(super) sessions: Arc<BTreeSet<SessionId>>,
    /// Something may leave that has not.
    release: bool,
}

impl Staying {
    /// Nothing is known of any session yet.
    pub(super) fn new(me: &Identity) -> Staying {
        Staying { exclude: me.exclude.clone(), names: me.agents.clone(), sessions: Arc::default(), release: true }
    }

    /// Whether an agent stays, by the name it is called here or by the one that its person gave it.
    fn keeps_agent(&self, called: &str) -> bool {
        let named = || self.names.get(&agent_key(&Foreign::new(called))).is_some_and(|named| self.exclude.keeps_agent(named.name.json()));
        self.exclude.keeps_agent(called) || named()
    }

    /// What may be told of how agents are called here: nothing of those that stay.
    pub(super) fn told_names(&self) -> BTreeMap<String, AgentName> {
        let told = self.names.iter().filter(|(called, _)| !self.keeps_agent(called));
        told.map(|(called, named)| (called.clone(), named.clone())).collect()
    }

    /// Whether a session stays, by what is written of it.
    fn keeps(&self, fact: &SessionFact) -> bool {
        if self.exclude.is_empty() {
            return false;
        }
        let unplaced = fact.project.is_none() && TOOLS.iter().any(|tool| tool.name == fact.tool);
        unplaced
            || fact.parent.is_some_and(|parent| self.sessions.contains(&parent))
            || fact.project.as_deref().is_some_and(|key| self.exclude.keeps_project(key))
            || fact.cwd.as_ref().is_some_and(|cwd| self.exclude.keeps_directory(cwd.json()))
            || self.keeps_agent(fact.agent.json())
    }
}

impl Replica {
    /// Learns whether one of our sessions stays.
    pub(super) fn learn_staying(&mut self, session: &SessionId) {
        let fact = self.showing.session(session).filter(|fact| fact.device == self.me.device);
        let stays = fact.is_some_and(|fact| self.staying.keeps(fact));
        if stays && !self.staying.sessions.contains(session) {
            Arc::make_mut(&mut self.staying.sessions).insert(*session);
        } else if !stays && self.staying.sessions.contains(session) {
            Arc::make_mut(&mut self.staying.sessions).remove(session);
            self.staying.release = true;
            let worked_for = |fact: &SessionFact| fact.parent == Some(*session);
            let children: Vec<SessionId> = self.showing.sessions().filter(|(_, fact)| worked_for(fact)).map(|(id, _)| *id).collect();
            children.iter().for_each(|child| self.learn_staying(child));
        }
    }

    /// Learns which of our sessions stay, at the start: of two that belong together either may have come first.
    pub(super) fn learn_all_staying(&mut self) {
        if self.staying.exclude.is_empty() {
            return;
        }
        let children: Vec<SessionId> = self.showing.sessions().filter(|(_, fact)| fact.parent.is_some()).map(|(id, _)| *id).collect();
        children.iter().chain(&children).for_each(|child| self.learn_staying(child));
    }

    /// The shard of a session's facts.
    pub(super) fn session_shard(&self, fact: &SessionFact) -> String {
        let stays = fact.device == self.me.device && self.staying.keeps(fact);
        shard(stays, &format!("sessions/{}", saved::month(fact.started)))
    }

    /// The shard of what is written of a session that is known, or of one that is not, and began at `at`.
    pub(super) fn shard_of_session(&self, session: &SessionId, at: i64) -> String {
        self.showing.session(session).map_or_else(|| format!("sessions/{}", saved::month(at)), |fact| self.session_shard(fact))
    }

    /// The shard of the beats of one session.
    pub(super) fn beat_shard(&self, session: &SessionId) -> String {
        shard(self.staying.sessions.contains(session), &format!("heartbeats/{}", self.me.device))
    }

    /// The shard of a fact of a todo: the month in which its item was first seen.
    pub(super) fn shard_of(&self, fact: &TodoFact, first_seen: i64) -> String {
        let (stays, first_seen) = match fact {
            TodoFact::Item(_, item) => (self.list_stays(&item.list), item.first_seen),
            TodoFact::Rank(item, ..) | TodoFact::Seen(item, _) => {
                (self.item_stays(*item), self.showing.todos.item(*item).map_or(first_seen, |item| item.first_seen))
            }
            TodoFact::Act(_, act) => (self.act_stays(act), act.at.ms),
        };
        shard(stays, &format!("todos/{}", saved::month(first_seen)))
    }

    /// The shard of what one deed writes: all of it stands in one change.
    pub(super) fn shard_of_deed(&self, todo: TodoId, facts: &[TodoFact], at: i64) -> String {
        let new = facts.iter().find_map(|fact| if let TodoFact::Item(_, item) = fact { Some(self.list_stays(&item.list)) } else { None });
        shard(new.unwrap_or_else(|| self.todo_stays(todo)), &format!("todos/{}", saved::month(at)))
    }

    fn list_stays(&self, list: &List) -> bool {
        match list {
            List::Session { session, .. } => self.staying.sessions.contains(session),
            List::Named { device, .. } => *device == self.me.device && !self.staying.exclude.is_empty(),
            List::Person { project } => self.staying.exclude.keeps_project(project),
        }
    }

    fn item_stays(&self, item: ItemId) -> bool {
        !self.staying.exclude.is_empty() && self.showing.todos.item(item).is_some_and(|fact| self.list_stays(&fact.list))
    }

    fn act_stays(&self, act: &ActFact) -> bool {
        self.todo_stays(act.todo)
    }

    /// A todo stays by its project's name, whoever else told of it, or when nothing of it was ever told.
    fn todo_stays(&self, todo: TodoId) -> bool {
        if self.staying.exclude.is_empty() {
            return false;
        }
        let named = self.showing.view.todos.get(&todo).is_some_and(|view| self.staying.exclude.keeps_project(&view.project));
        let items = self.showing.todos.items(todo);
        named || (!items.is_empty() && items.into_iter().all(|item| self.item_stays(item)))
    }

    /// Whether a fact that stands in a local document has to stay there.
    fn fact_stays(&self, key: &FactKey) -> bool {
        match key {
            FactKey::Session(session) | FactKey::End(session, _) | FactKey::Beat(session, _) => self.staying.sessions.contains(session),
            FactKey::Item(item) | FactKey::Rank(item, ..) | FactKey::Seen(item) => self.item_stays(*item),
            FactKey::Act(act) => self.showing.todos.act(*act).is_none_or(|act| self.act_stays(act)),
            // Nobody writes them here.
            FactKey::Member(_) | FactKey::Device(_) | FactKey::Choice(_) | FactKey::Other(_) => true,
        }
    }

    /// Writes what may leave now into the documents that are told.
    pub(super) fn release(&mut self, out: &mut Effects) {
        if !std::mem::take(&mut self.staying.release) {
            return;
        }
        let local: Vec<DocId> = self.library.iter().map(|(id, _)| id).filter(|id| id.is_local()).cloned().collect();
        for id in local {
            let Some(name) = id.base().strip_prefix(LOCAL).map(str::to_owned) else { continue };
            let keys = self.library.settled(&id).map(super::document::Document::keys).unwrap_or_default();
            let leaves: Vec<FactKey> = keys.into_iter().filter(|key| !self.fact_stays(key)).collect();
            let facts = self.library.untold(leaves);
            self.write(&name, &facts, out);
        }
    }
}

fn shard(stays: bool, name: &str) -> String {
    if stays { format!("{LOCAL}{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::conversations::{Node, frame, pair, said, talk, up};
    use super::*;
    use crate::model::ask::{Ask, Report, TodoAsk, TodoDeed};
    use crate::model::beat::Reported;
    use crate::model::id::LinkId;
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
        Input::Ask(crate::model::id::Asker(1), Ask::Beat(report))
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
            assert_eq!(told(&mut a, &mut b, 7 + n, Input::Ask(crate::model::id::Asker(1), ask)), 0);
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
