//! What other programs say in the words of the replaced systems: runs of agents, lists of todos, records of sessions.
//!
//! Each becomes the facts that a tool's own files would have become, so that everything shows them alike. The same key is the
//! same session however often it is said, and what is said twice writes nothing.

use crate::model::ask::{ListReport, Report, RunDeed, RunReport, SessionRecord};
use crate::model::beat::Reported;
use crate::model::effects::{Effects, Note};
use crate::model::id::{ItemId, SessionId};
use crate::model::input::Repo;
use crate::model::reply::{Code, News, Placed, Refusal, Reply};
use crate::model::session::{EndFact, SessionFact, session_id};
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::todo::{List, Reading, TodoFact};
use crate::rules::todos::reading;

use super::gathering::About;
use super::machine::Replica;

/// The tool of runs that nobody's files tell of; also the name of an agent that nobody names.
const TOOL: &str = "custom";
/// The list of todos that are said without a session.
const SAID: &str = "todos/sync";

impl Replica {
    /// Whoever runs an agent reports its run. An end is said once: the same again is no news, another one is refused, because
    /// it could not be shown.
    pub(super) fn report_run(&mut self, run: RunReport, now: Now, out: &mut Effects) -> Result<Reply, Refusal> {
        let session = session_id(&self.me.device, TOOL, run.key.json());
        if let Some(told) = self.is_over(&run, session) {
            return told;
        }
        let known = self.showing.session(&session).map(|fact| fact.agent.clone());
        // An excluded agent's words are not said as another's.
        let apart = run.agent.clone().filter(|agent| known.is_some() && self.staying.keeps_agent(agent.json()));
        let agent =
            apart.clone().or(known).or_else(|| run.agent.clone().filter(|agent| !agent.is_blank())).unwrap_or_else(|| Foreign::new(TOOL));
        let title = run.task.as_ref().filter(|_| run.deed == RunDeed::Spawn && apart.is_none()).map(|task| task.json().to_owned());
        let (tool_session, named) = (run.key.json(), Some(agent.json().to_owned()));
        self.learn_session(About { tool: TOOL, tool_session, agent: named, title, started: now.wall_ms, ..About::default() }, now);
        self.write_gathered(out);
        let state = match run.deed {
            RunDeed::Spawn | RunDeed::Progress => Reported::Working,
            RunDeed::Complete => Reported::Done,
            RunDeed::Error => Reported::Failed,
        };
        let RunReport { key, deed, task, file, note, result, .. } = run;
        let name = agent.plain();
        let said = Report { agent, state: Some(state), task, file, note, session: Some(key), source: "webhook", ..Report::default() };
        let reply = self.beat(said, now, out)?;
        if let Some(outcome) = deed.outcome() {
            self.write_end(session, &EndFact { outcome: Foreign::new(outcome), agent: apart, result, counts: None, at: now.wall_ms }, out);
        }
        let deed = if deed == RunDeed::Complete { "completed" } else { deed.word() }.to_owned();
        out.note.push(Note::Webhook { deed, device: self.me.name.clone(), session: session.short(6), agent: name });
        Ok(reply)
    }

    /// What to answer when the run is over already and would end again.
    fn is_over(&self, run: &RunReport, session: SessionId) -> Option<Result<Reply, Refusal>> {
        let outcome = run.deed.outcome()?;
        let end = self.showing.view.sessions.get(&session)?.end.as_ref()?;
        if end.outcome.json() == outcome && (run.result.is_none() || run.result == end.result) {
            return Some(Ok(Reply::Beat { session, updated: true, durable: true, told: Vec::new() }));
        }
        let what = format!("this run is over already, and ended otherwise: {}", end.outcome.plain());
        Some(Err(Refusal::new(Code::AlreadyEnded, what).fix("spawn it again first, if it goes on")))
    }

    /// A list of todos is said. One of a session is its whole list; todos of nobody in particular take away nothing.
    pub(super) fn take_list(&mut self, said: ListReport, now: Now, out: &mut Effects) -> Reply {
        let list = match &said.session {
            Some(key) => {
                let about = About { tool: TOOL, tool_session: key.json(), started: now.wall_ms, ..About::default() };
                List::Session { session: self.learn_session(about, now), agent: key.clone() }
            }
            None => List::Named { device: self.me.device, name: Foreign::new(SAID) },
        };
        // What is not in a list that could not be read whole is not missing.
        let reading = Reading { items: said.items, malformed: u64::from(said.session.is_none()) };
        let facts = reading::read(&self.showing.todos, &list, self.me.device, &reading, now.wall_ms, now.wall_ms);
        let items: Vec<ItemId> = reading.items.iter().map(|element| list.item(&element.text.normalised())).collect();
        let news: Vec<News> = items.iter().map(|item| news(&facts, *item)).collect();
        self.gather_todos(facts, now.wall_ms, now);
        self.write_gathered(out);
        let placed = |(item, news)| Some(Placed { todo: self.showing.todos.place(item)?, news });
        Reply::Listed(items.into_iter().zip(news).filter_map(placed).collect())
    }

    /// Records of sessions are said; what is known of one already stays.
    pub(super) fn take_records(&mut self, records: Vec<SessionRecord>, now: Now, out: &mut Effects) -> Reply {
        let mut new = 0;
        let mut sessions = Vec::with_capacity(records.len());
        let owned = |text: &Option<Foreign>| text.as_ref().map(|text| text.json().to_owned());
        for record in records {
            let (tool, tool_session) = (record.tool.as_str(), record.id.json());
            let known = self.showing.session(&session_id(&self.me.device, tool, tool_session)).cloned();
            let apart = record.agent.as_ref().is_some_and(|agent| known.is_some() && self.staying.keeps_agent(agent.json()));
            let lacks = |field: fn(&SessionFact) -> &Option<Foreign>| !apart && known.as_ref().is_none_or(|known| field(known).is_none());
            let remote = owned(&record.remote).filter(|remote| !remote.trim().is_empty());
            let root = owned(&record.cwd).unwrap_or_default();
            let about = About {
                tool,
                tool_session,
                settled: remote.is_some(),
                repo: remote.map(|remote| Repo { remote: Some(remote), root, branch: None }),
                agent: owned(&record.agent),
                cwd: owned(&record.cwd),
                branch: owned(&record.branch).filter(|_| lacks(|known| &known.branch)),
                title: owned(&record.title).filter(|_| lacks(|known| &known.title)),
                started: record.started.unwrap_or(now.wall_ms).min(now.wall_ms),
                ..About::default()
            };
            let session = self.learn_session(about, now);
            if let Some(cwd) = record.cwd.filter(|cwd| !cwd.is_blank()) {
                self.write_gathered(out);
                self.place_record(session, cwd, now, out);
            }
            new += usize::from(known.is_none());
            sessions.push(session);
        }
        self.write_gathered(out);
        Reply::Sessions { sessions, new }
    }
}

fn news(facts: &[TodoFact], item: ItemId) -> News {
    let is_new = |fact: &TodoFact| matches!(fact, TodoFact::Item(of, _) if *of == item);
    let is_of = |fact: &TodoFact| matches!(fact, TodoFact::Rank(of, ..) | TodoFact::Seen(of, _) if *of == item);
    if facts.iter().any(is_new) {
        News::Added
    } else if facts.iter().any(is_of) {
        News::Updated
    } else {
        News::Known
    }
}
