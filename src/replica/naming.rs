//! How agents are called: by the name that the person of their device gave them, wherever it is shown.
//!
//! Facts keep what tools and reports say; each device tells how its own agents are called, and what is shown follows from both.
//! So a name that is given today holds for yesterday's sessions, too, equal facts show the same on every device whatever its
//! settings (T1), and two names of one agent in one session are one row: the one that speaks (docs/decisions/0018).

use crate::model::beat::{Beat, agent_key};
use crate::model::id::DeviceId;
use crate::model::member::{AgentName, DeviceFact};
use crate::model::text::Foreign;
use crate::model::view::{AgentKey, AgentState, AgentView};

use super::presence::{Alive, Presences};
use super::showing::Showing;

impl Showing {
    /// How the person of a device calls what is called so there.
    pub(super) fn name_of(&self, device: &DeviceId, called: &Foreign) -> Option<&AgentName> {
        let agents = &self.devices.get(device)?.agents;
        // Most devices give no names, and a key costs a copy of the text.
        if agents.is_empty() { None } else { agents.get(&agent_key(called)) }
    }

    /// Under which key an agent is shown.
    pub(super) fn shown_key(&self, key: &AgentKey) -> AgentKey {
        let named = self.devices.get(&key.device).and_then(|said| said.agents.get(&key.agent));
        named.map_or_else(|| key.clone(), |named| AgentKey { agent: agent_key(&named.name), ..key.clone() })
    }

    /// The last word of who is shown under that key: of several names the one that lives, then the one that spoke last.
    pub(super) fn last_word<'a>(&'a self, shown: &AgentKey, presences: &'a Presences) -> Option<(&'a Beat, Option<&'a Alive>)> {
        let keys = self.rows.get(&shown.session)?.iter().filter(|key| key.device == shown.device && self.shown_key(key) == *shown);
        let words = keys.filter_map(|key| {
            let alive = presences.alive(key);
            let beat = alive.map(|alive| &alive.beat).into_iter().chain(self.beats.get(key)).max_by_key(|beat| beat.rev)?;
            Some((beat, alive, key))
        });
        words.max_by_key(|(beat, alive, key)| (alive.is_some(), beat.at, *key)).map(|(beat, alive, _)| (beat, alive))
    }

    /// A row of that beat, named, of which nothing is judged yet.
    pub(super) fn named(&self, beat: &Beat) -> AgentView {
        let mut view =
            AgentView { beat: beat.clone(), role: None, called: None, state: AgentState::Unknown, sign_here: None, progress_here: None };
        if let Some(named) = self.name_of(&beat.device, &beat.agent) {
            view.role.clone_from(&named.role);
            view.called = Some(beat.agent.clone()).filter(|called| agent_key(called) != agent_key(&named.name));
            view.beat.agent = named.name.clone();
        }
        view
    }

    /// What a device says of itself; where it calls its agents otherwise than before, they are shown so.
    pub(super) fn learn_device(&mut self, device: DeviceId, fact: DeviceFact) {
        let renamed = self.devices.get(&device).map_or(!fact.agents.is_empty(), |before| before.agents != fact.agents);
        if renamed {
            self.judge_all_of(device);
        }
        self.devices.insert(device, fact);
        if renamed {
            self.judge_all_of(device);
            self.stale_sessions.extend(self.sessions().filter(|(_, fact)| fact.device == device).map(|(id, _)| *id).collect::<Vec<_>>());
        }
    }

    /// All agents of a device are to be judged again.
    pub(super) fn judge_all_of(&mut self, device: DeviceId) {
        let keys: Vec<AgentKey> = self.rows.values().flatten().filter(|key| key.device == device).map(|key| self.shown_key(key)).collect();
        self.stale_agents.extend(keys);
    }
}

impl super::machine::Replica {
    /// How an agent is called that somebody names here in a word of his own: who does something, who should.
    pub(super) fn called(&self, name: Foreign) -> Foreign {
        let named = || self.me.agents.get(&agent_key(&name)).map(|named| named.name.clone());
        if self.me.agents.is_empty() { name } else { named().unwrap_or(name) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::conversations::Node;
    use crate::model::ask::{Ask, Report, TodoAsk, TodoDeed};
    use crate::model::beat::{Reported, agent_key};
    use crate::model::leaving::Exclude;
    use crate::model::member::AgentName;
    use crate::model::text::Foreign;
    use crate::model::time::Now;
    use quickcheck::quickcheck;

    const CALLED: [&str; 4] = ["claude", "Sam", "sam", "sam-bot"];
    const NAMES: [&str; 3] = ["Sam", "SAM", "leo"];

    fn names(of: &[(u8, u8)]) -> BTreeMap<String, AgentName> {
        let role = |n: u8| n.is_multiple_of(2).then(|| Foreign::new(format!("role {n}")));
        let pick = |n: u8, from: &[&'static str]| from[usize::from(n) % from.len()];
        of.iter()
            .map(|(called, name)| {
                (agent_key(&pick(*called, &CALLED).into()), AgentName { name: pick(*name, &NAMES).into(), role: role(*name) })
            })
            .collect()
    }

    fn says(node: &mut Node, t: u64, called: &str, session: u8, state: Reported) {
        let session = Some(Foreign::new(format!("s{session}")));
        let report = Report { agent: called.into(), state: Some(state), session, source: "cli", ..Report::default() };
        let _ = node.ask(t, Ask::Beat(report));
    }

    /// What a plain reading of the reports says: for each session, who was in it by the names that hold.
    fn plainly(said: &[(u8, u8)], names: &BTreeMap<String, AgentName>) -> Vec<(String, String)> {
        let shown = |called: &str| {
            let key = agent_key(&called.into());
            names.get(&key).map_or(key, |named| agent_key(&named.name))
        };
        let mut rows: Vec<(String, String)> =
            said.iter().map(|(who, session)| (shown(CALLED[usize::from(*who) % 4]), format!("s{}", session % 2))).collect();
        rows.sort();
        rows.dedup();
        rows
    }

    fn shown(node: &Node) -> Vec<(String, String)> {
        let view = node.r.view();
        let session = |key: &crate::model::view::AgentKey| view.sessions[&key.session].fact.tool_session.json().to_owned();
        let mut rows: Vec<(String, String)> = view.agents.keys().map(|key| (key.agent.clone(), session(key))).collect();
        rows.sort();
        rows
    }

    fn now(t: u64) -> Now {
        super::super::conversations::now(t)
    }

    quickcheck! {
        fn a_name_holds_for_all_that_was_said_whenever_it_was_given(said: Vec<(u8, u8)>, first: Vec<(u8, u8)>, then: Vec<(u8, u8)>) -> bool {
            let mut node = Node::new(1);
            node.r.me.agents = names(&first);
            let _ = node.reopen(1);
            for (t, (who, session)) in (2..).zip(&said) {
                says(&mut node, t, CALLED[usize::from(*who) % 4], session % 2, Reported::Working);
            }
            let before = shown(&node) == plainly(&said, &names(&first));
            node.r.me.agents = names(&then);
            let _ = node.reopen(1000);
            let at = now(1000);
            before && shown(&node) == plainly(&said, &names(&then)) && node.r.view_from_scratch(at).agents == node.r.view().agents
        }
    }

    #[test]
    fn two_names_of_one_agent_are_one_row_with_its_last_word() {
        let mut node = Node::new(1);
        node.r.me.agents = names(&[(0, 0), (3, 0)]);
        let _ = node.reopen(1);
        says(&mut node, 2, "claude", 0, Reported::Working);
        says(&mut node, 3, "sam-bot", 0, Reported::Waiting);
        says(&mut node, 4, "CLAUDE", 0, Reported::Done);
        let view = node.r.view();
        let (key, row) = view.agents.iter().next().expect("a row");
        assert_eq!((view.agents.len(), key.agent.as_str(), row.beat.agent.json()), (1, "sam", "Sam"));
        assert_eq!(
            (row.beat.state, row.called.clone(), row.role.clone()),
            (Reported::Waiting, Some("sam-bot".into()), Some("role 0".into()))
        );
        assert_eq!(view.sessions.values().next().expect("one").fact.agent, "Sam".into());
        let deed = TodoDeed::Add { content: "x".into(), project: None, priority: None };
        let _ = node.ask(5, Ask::Todo(TodoAsk { what: deed, agent: Some("Claude".into()), key: None }));
        let edit = |id: String| TodoDeed::Edit { id, content: None, owner: Some("claude".into()), priority: None };
        let id = node.r.view().todos.keys().next().expect("it").to_string();
        let _ = node.ask(6, Ask::Todo(TodoAsk { what: edit(id), agent: None, key: None }));
        let view = node.r.view();
        let todo = view.todos.values().next().expect("it");
        assert_eq!((todo.owner.clone(), todo.history[0].by.agent.clone()), (Some("Sam".into()), Some("Sam".into())));
    }

    #[test]
    fn of_an_agent_that_stays_no_name_is_told() {
        let mut node = Node::new(1);
        node.r.me.agents = names(&[(0, 2), (3, 0)]);
        node.r.me.exclude = Exclude::parse(["agent:leo"]).expect("a pattern");
        let _ = node.reopen(1);
        let told = node.r.showing.devices()[&node.me()].agents.clone();
        assert_eq!(told.keys().collect::<Vec<_>>(), ["sam-bot"]);
        says(&mut node, 2, "claude", 0, Reported::Working);
        assert_eq!(node.r.view().staying.len(), 1, "by the name that its person gave it");
    }
}
