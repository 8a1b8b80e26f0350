//! What was read in the tools' files, turned into facts: sessions first, then their lists, then the marks.

use std::collections::BTreeMap;

use crate::ingest::run::Said;
use crate::model::beat::Reported;
use crate::model::effects::{Effects, Note};
use crate::model::fact::FactKey;
use crate::model::id::SessionId;
use crate::model::input::{Repo, SourceEvent};
use crate::model::session::{SessionFact, session_id};
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::todo::{Change, List, Reading as ListReading, TodoFact};
use crate::model::tool::Root;
use crate::model::view::Warning;
use crate::rules::projects;
use crate::rules::todos::reading;

use super::facts::Joined;
use super::following::Progress;
use super::lists::{Of, TASKS, Told, What};
use super::living::Sight;
use super::machine::Replica;
use super::placing::{Above, Place};
use super::saved;

/// The tool whose lists are read as files of their own.
const CLAUDE: &str = "claude";

/// What is known of a session; what is `None` stays as it was.
#[derive(Debug, Clone, Default)]
pub(super) struct About<'a> {
    /// Its tool.
    pub(super) tool: &'a str,
    /// The tool's own id of it.
    pub(super) tool_session: &'a str,
    /// Who works in it.
    pub(super) agent: Option<String>,
    /// Its working directory.
    pub(super) cwd: Option<String>,
    /// The repository above that, or the one that the tool names.
    pub(super) repo: Option<Repo>,
    /// Its branch.
    pub(super) branch: Option<String>,
    /// What it is about.
    pub(super) title: Option<String>,
    /// The session that it was forked from, or works for.
    pub(super) parent: Option<SessionId>,
    /// Whether it is a sub-agent's.
    pub(super) side: bool,
    /// When it began.
    pub(super) started: i64,
    /// Whether its project is known as far as it will be.
    pub(super) settled: bool,
}

impl Replica {
    pub(super) fn hear_source(&mut self, event: SourceEvent, now: Now, out: &mut Effects) {
        if let SourceEvent::Repo { cwd, repo } = &event {
            self.learn_place(cwd, repo.as_ref(), true, now, out);
        }
        if let SourceEvent::Unsure { cwd, repo } = &event {
            if self.staying.exclude.is_empty() {
                self.learn_place(cwd, repo.as_ref(), false, now, out);
            } else {
                self.places.forget(cwd);
            }
        }
        self.ways.heard(&event, &self.reading.shown, now);
        if let SourceEvent::Polling { why } = &event {
            let (why, fix) = why.split_once("; ").map_or((&**why, None), |(why, fix)| (why, Some(fix.to_owned())));
            self.warn("polling", true, || Warning { what: format!("watching by polling: {why}"), fix });
        }
        self.learn_files(&event);
        let gathered = self.reading.hear(event, now, self.library.stamp(), out);
        self.unconsolidated |= !gathered.told.is_empty() || gathered.progress.iter().any(|(progress, _)| !progress.said.is_empty());
        for (told, place) in gathered.told {
            self.take_in(told, place, now);
        }
        let mut read = Vec::new();
        for (progress, above) in gathered.progress {
            self.take_session(&progress, above, now, out);
            read.push(progress);
        }
        for (root, names) in gathered.names {
            self.take_names(root, names, now);
        }
        for ((root, _), process, mtime_ms) in gathered.processes {
            self.take_process(root, &process, mtime_ms, now, out);
        }
        if let Some((alive, held)) = gathered.living {
            self.learn_who_lives(&alive, &held, now, out);
        }
        if gathered.ended {
            self.living.at_once(now);
        }
        self.write_gathered(out);
        for progress in read {
            self.reading.following.keep(progress, out);
        }
        self.reading.show_strange();
        self.reading.keep_marks(gathered.marks, self.library.stamp(), out);
        if gathered.complete {
            self.count_again(now, out);
            self.reading.restamp(self.library.stamp(), out);
            self.consolidate = std::mem::take(&mut self.unconsolidated);
            self.found_active.get_or_insert(false);
            let directories = self.reading.shown.values().filter(|shown| shown.present).count();
            if directories != self.watching {
                self.watching = directories;
                out.note.push(Note::Watching { directories });
            }
        }
    }

    /// Writes what is known of a session, where it differs from what is written.
    pub(super) fn learn_session(&mut self, about: About<'_>, now: Now) -> SessionId {
        let session = session_id(&self.me.device, about.tool, about.tool_session);
        let key = FactKey::Session(session);
        let rev = self.library.facts().get(&key).map_or(0, Joined::rev);
        let before = self.own_session(&session);
        let new = |text: Option<String>| text.map(Foreign::new).filter(|text| !text.is_blank());
        let first = |old: Option<&Foreign>, text: Option<String>| old.cloned().or_else(|| new(text));
        let newest = |old: Option<&Foreign>, text: Option<String>| new(text).or_else(|| old.cloned());
        let project = before
            .and_then(|b| b.project.clone())
            .or_else(|| about.settled.then(|| projects::key(about.cwd.as_deref(), about.repo.as_ref())).flatten());
        let branch = about.branch.or(about.repo.and_then(|repo| repo.branch));
        let fact = SessionFact {
            rev,
            device: self.me.device,
            tool: about.tool.to_owned(),
            tool_session: Foreign::new(about.tool_session),
            agent: before.map_or_else(|| new(about.agent).unwrap_or_else(|| Foreign::new(about.tool)), |b| b.agent.clone()),
            project,
            cwd: first(before.and_then(|b| b.cwd.as_ref()), about.cwd),
            branch: newest(before.and_then(|b| b.branch.as_ref()), branch),
            title: newest(before.and_then(|b| b.title.as_ref()), about.title),
            parent: before.and_then(|b| b.parent).or(about.parent).filter(|parent| *parent != session),
            side: about.side || before.is_some_and(|b| b.side),
            started: before.map_or(about.started, |b| b.started.min(about.started)),
        };
        if before != Some(&fact) {
            let fact = SessionFact { rev: rev + 1, ..fact };
            if self.gather(&saved::sessions(&fact), (key.clone(), saved::json(&fact))) {
                self.showing.learn(&key, self.library.facts());
                self.learn_staying(&session);
            }
            self.learn_changed(now);
        }
        session
    }

    /// Whether what is above a working directory decides its project: what might be another waits while anything is excluded.
    fn is_settled(&self, unsure: bool) -> bool {
        !unsure || self.staying.exclude.is_empty()
    }

    /// One small file: its session exists, and its list says this.
    fn take_in(&mut self, told: Told, place: Place, now: Now) {
        let at = told.at.min(now.wall_ms);
        let list = match &told.of {
            Of::Session(tool_session, agent) => {
                let settled = self.is_settled(place.unsure);
                let about = About {
                    tool: CLAUDE,
                    tool_session,
                    cwd: place.cwd,
                    repo: place.repo,
                    branch: place.branch,
                    title: place.title,
                    started: place.started.unwrap_or(at),
                    settled,
                    ..About::default()
                };
                let session = self.learn_session(about, now);
                List::Session { session, agent: Foreign::new(&**agent) }
            }
            Of::Named(name) => List::Named { device: self.me.device, name: Foreign::new(&**name) },
        };
        let (todos, me) = (&self.showing.todos, self.me.device);
        let facts = match told.what {
            What::Nothing => return,
            What::List(reading) => reading::read(todos, &list, me, &reading, at, now.wall_ms),
            What::Task(change) => reading::change(todos, &list, me, &[change], at, now.wall_ms),
            What::Finished(upto) => reading::finished(todos, &list, me, upto, at, now.wall_ms),
        };
        self.gather_todos(facts, at, now);
    }

    /// A piece of a session's own file: its session, its lists and tasks in their order, and what its agent does.
    fn take_session(&mut self, progress: &Progress, above: Above, now: Now, out: &mut Effects) {
        let tool = progress.at.0.folder().tool;
        let (run, owner) = (&progress.run, &progress.owner);
        let last = run.last.unwrap_or(progress.mtime_ms).min(now.wall_ms);
        let parent = owner.parent.as_ref().or(run.parent.as_ref()).map(|parent| session_id(&self.me.device, tool, parent));
        let told = run.remote.clone().map(|remote| Repo { remote: Some(remote), root: run.cwd.clone().unwrap_or_default(), branch: None });
        let about = About {
            tool,
            tool_session: &owner.session,
            agent: run.agent.clone().or_else(|| owner.agent.clone()),
            cwd: run.cwd.clone(),
            settled: self.is_settled(above.unsure && told.is_none()),
            repo: above.repo.or(told),
            branch: run.branch.clone(),
            title: self.named(tool, &owner.session).or_else(|| run.title().map(str::to_owned)),
            parent: parent.or_else(|| self.forked_from(progress)),
            side: owner.is_side || run.is_side,
            started: run.started.unwrap_or(last),
        };
        let session = self.learn_session(about, now);
        self.living.is_written_in(session, &progress.at);
        self.showing.learn_file(session, true);
        let ended = self.take_said(progress, session, parent, now);
        if progress.at_end {
            let agent = self.showing.session(&session).map_or_else(|| Foreign::new(tool), |fact| fact.agent.clone());
            let state = run.turn.unwrap_or(Reported::Working);
            let sight = Sight { session, agent: &agent, state, at: last, counts: Some(run.counts), pid: None };
            match ended.filter(|(at, _)| *at >= last) {
                Some((at, outcome)) => self.end(session, &outcome, Some(run.counts), at, now, out),
                None => self.judge_session(&sight, now, out),
            }
        }
    }

    /// What a tool calls its sessions, in a file beside theirs: remembered for those that are not known yet, too.
    fn take_names(&mut self, root: Root, names: BTreeMap<String, String>, now: Now) {
        let tool = root.folder().tool;
        for (tool_session, name) in names {
            let session = session_id(&self.me.device, tool, &tool_session);
            let is_new = self.living.names.insert(session, name.clone()).as_ref() != Some(&name);
            if let Some(started) = self.own_session(&session).filter(|_| is_new).map(|known| known.started) {
                let about = About { tool, tool_session: &tool_session, title: Some(name), started, ..About::default() };
                self.learn_session(about, now);
            }
        }
    }

    fn named(&self, tool: &str, tool_session: &str) -> Option<String> {
        self.living.names.get(&session_id(&self.me.device, tool, tool_session)).cloned()
    }

    /// The lists and tasks of a piece; gives the end of the session, if a line tells it.
    fn take_said(&mut self, progress: &Progress, session: SessionId, parent: Option<SessionId>, now: Now) -> Option<(i64, String)> {
        let time = |at: Option<i64>| at.unwrap_or(progress.mtime_ms).min(now.wall_ms);
        // A sub-agent's list is one of the session that it works for, as its todo file's name says, too.
        let of = parent.filter(|_| progress.owner.is_side).unwrap_or(session);
        let main = progress.owner.session.as_str();
        let mut ended = None;
        for said in &progress.said {
            let (facts, at) = match said {
                Said::List { at, agent, reading } => {
                    let agent = if agent.is_empty() { main } else { agent };
                    (self.list_facts(of, agent, reading, time(*at), now), time(*at))
                }
                Said::Task { at, change } => (self.task_facts(of, change, time(*at), now), time(*at)),
                Said::Ended { at, outcome } => {
                    ended = Some((time(*at), outcome.clone()));
                    continue;
                }
            };
            self.gather_todos(facts, at, now);
        }
        ended
    }

    fn list_facts(&self, session: SessionId, agent: &str, reading: &ListReading, at: i64, now: Now) -> Vec<TodoFact> {
        let list = List::Session { session, agent: Foreign::new(agent) };
        reading::read(&self.showing.todos, &list, self.me.device, reading, at, now.wall_ms)
    }

    fn task_facts(&self, session: SessionId, change: &Change, at: i64, now: Now) -> Vec<TodoFact> {
        let list = List::Session { session, agent: Foreign::new(TASKS) };
        reading::change(&self.showing.todos, &list, self.me.device, std::slice::from_ref(change), at, now.wall_ms)
    }

    pub(super) fn gather_todos(&mut self, facts: Vec<TodoFact>, at: i64, now: Now) {
        for fact in facts {
            if self.gather(&self.todos_of(&fact, at), saved::todo(&fact)) {
                self.showing.todos.learn(fact);
            }
        }
        self.learn_changed(now);
    }

    /// The shard of a fact of a todo: the month in which its item was first seen.
    fn todos_of(&self, fact: &TodoFact, at: i64) -> String {
        let first_seen = match fact {
            TodoFact::Item(_, item) => item.first_seen,
            TodoFact::Rank(item, ..) | TodoFact::Seen(item, _) => self.showing.todos.item(*item).map_or(at, |item| item.first_seen),
            TodoFact::Act(_, act) => act.at.ms,
        };
        format!("todos/{}", saved::month(first_seen))
    }

    /// A file whose first record stands in another file, too, is a copy of that one's beginning: of the two, the one that
    /// went on later was forked from the other (FORMATS §2.4).
    fn forked_from(&self, progress: &Progress) -> Option<SessionId> {
        let first = progress.run.first.as_ref()?;
        let (at, run) = self.reading.following.of_first(first, &progress.at)?;
        (run.last < progress.run.last).then(|| self.session_of(at)).flatten()
    }

    fn session_of(&self, at: &super::following::At) -> Option<SessionId> {
        match crate::ingest::files::what(at.0, &at.1) {
            Some(crate::ingest::files::File::Lines(owner, _)) => Some(session_id(&self.me.device, at.0.folder().tool, &owner.session)),
            _ => None,
        }
    }
}
