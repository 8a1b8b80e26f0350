//! What people, scripts and hooks ask, turned into facts; and the answer, or why not.

use std::collections::BTreeSet;

use crate::model::ask::{Ask, Report, TodoAsk, TodoDeed};
use crate::model::beat::{Beat, Reported, agent_key};
use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::id::{ActId, AskId, Asker, DeviceId, DocId};
use crate::model::input::LinkAction;
use crate::model::limits::{BEAT_FACT_EVERY_MS, FACT_BYTES_MAX, METADATA_BYTES_MAX};
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::session::{SessionFact, session_id};
use crate::model::text::Foreign;
use crate::model::time::{Now, Stamp};
use crate::model::todo::{ActFact, By, Deed, TodoFact};
use crate::model::view::AgentKey;
use crate::rules::todos::deeds::{self, Decision};

use super::facts::Joined;
use super::link::Stage;
use super::machine::Replica;
use super::saved;
use super::staying::shard;

/// How often an agent means to beat when it does not say.
const INTERVAL_S: u32 = 60;

impl Replica {
    pub(super) fn hear_ask(&mut self, asker: Asker, ask: Ask, now: Now, out: &mut Effects) {
        let reply = match ask {
            Ask::Beat(report) => {
                let hooked = report.source == "hook";
                let told = self.beat(report, now, out);
                if hooked {
                    self.ways.hooked(told.as_ref().err(), now);
                }
                told
            }
            Ask::Run(run) => self.report_run(run, now, out),
            Ask::List(list) => Ok(self.take_list(list, now, out)),
            Ask::Sessions(records) => Ok(self.take_records(records, now, out)),
            Ask::Todo(ask) => self.todo(ask, now, out),
            Ask::Tag { session, tags, on, agent } => self.tag_session(session, (&tags, on), agent, now, out),
            Ask::Invite { code } => {
                self.window.close(out);
                match self.may_invite() {
                    Ok(()) => return out.tell.push(LinkAction::Invite { asker, code }),
                    Err(why) => Err(why),
                }
            }
            Ask::AwaitJoiner { window, known } => return self.window.wait(asker, window, known, out),
            Ask::CloseWindow { window, left } => Ok(self.window.close_of(window, left, out)),
            Ask::Join { text, at } => {
                // Only the network reads whose window it is.
                let only = self.may_join().err().map(|refusal| (self.log.members(&self.fleet.id).into_keys().collect(), refusal));
                out.tell.push(LinkAction::Join { asker, text, at, name: self.my_name(), only });
                return;
            }
            Ask::Leave => Ok(self.leave(now, out)),
            Ask::Revoke { device, forget } => self.revoke(&device, forget, now, out),
            Ask::Rename { device, name } => self.rename(&device, &name, now, out),
            Ask::Ping { device } => match self.ping(asker, &device, now, out) {
                Ok(None) => return,
                Ok(Some(reply)) => Ok(reply),
                Err(refusal) => Err(refusal),
            },
            Ask::Rescan => {
                self.reading.distrust(now, out);
                self.ask_places(now, out);
                Ok(Reply::Rescanning)
            }
            Ask::Pause { source, rests } => self.pause(&source, rests, out),
            Ask::Rest { device, rests } => self.rest(device.as_deref(), rests, out),
            Ask::Check { device, task } => match self.begin_check(asker, device.as_deref(), task, now, out) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            Ask::Export => Ok(Reply::Document(self.export())),
        };
        out.reply.push((asker, reply.unwrap_or_else(Reply::Refused)));
    }

    /// One automerge document with maps `sessions`, `heartbeats`, `todos`, as they are shown.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        super::export::export(&self.showing.view, self.library.facts())
    }

    pub(super) fn beat(&mut self, report: Report, now: Now, out: &mut Effects) -> Result<Reply, Refusal> {
        if report.agent.is_blank() {
            return Err(Refusal::new(Code::BadRequest, "an agent needs a name").fix("hubless beat NAME [TASK] [FILE]"));
        }
        if report.metadata.as_ref().is_some_and(|metadata| metadata.json().len() > METADATA_BYTES_MAX) {
            return Err(Refusal::new(Code::BadRequest, format!("metadata is larger than {METADATA_BYTES_MAX} bytes")));
        }
        let claimed_device = self.claimed(report.device.as_ref())?;
        let agent = agent_key(&report.agent);
        let tool = report.tool.clone().unwrap_or_else(|| "custom".to_owned());
        let tool_session = report.session.clone().unwrap_or_else(|| Foreign::new(agent.clone()));
        let session = session_id(&self.me.device, &tool, tool_session.json());
        let key = AgentKey { device: self.me.device, agent: agent.clone(), session };
        let fact = FactKey::Beat(session, agent);
        let written = self.library.facts().rev(&fact, &self.me.device);
        let before = self.presences.own().get(&key).map(|alive| alive.beat.clone()).or_else(|| self.showing.beat(&key).cloned());
        let said = said_at(report.at, now);
        if report.at.is_some() && before.as_ref().is_some_and(|before| said.wall_ms < before.at) {
            return Ok(Reply::Beat { session, updated: true, durable: false, told: Vec::new() });
        }
        let beat = self.next_beat(&report, session, claimed_device, before.as_ref(), written, said);
        let beat = Beat { at: self.past_ends(session, beat.state, beat.at, now), ..beat };
        let transition = before.as_ref().is_none_or(|before| !same_work(before, &beat));
        let last_written = self.showing.beat(&key).map_or(i64::MIN, |beat| beat.at);
        let age = beat.at.max(now.wall_ms).saturating_sub(last_written);
        let due = age >= i64::try_from(BEAT_FACT_EVERY_MS).unwrap_or(i64::MAX) || age < 0;
        let durable = transition || due;
        let cwd = report.cwd.filter(|cwd| !cwd.is_blank());
        self.begin_session(&beat, (&tool, tool_session), cwd.clone(), now, out);
        if let Some(cwd) = cwd {
            self.place_session(session, cwd, now, out);
        }
        // A hook that says *working* has just seen a tool's result, and a webhook that reports progress means it: it goes on, even
        // if what it is at stays the same.
        let goes_on = matches!(report.source, "hook" | "webhook") && report.state == Some(Reported::Working);
        self.presences.report(beat.clone(), said.boot_ms, transition || goes_on);
        self.showing.agent_changed(&key);
        if durable {
            self.write_beat(&beat, out);
        }
        let stays = self.beat_stays(&beat);
        let links = self.links.values().filter(|link| link.stage == Stage::Open && !stays);
        let told = links.map(|link| self.showing.view.device_name(&link.device).plain()).collect();
        Ok(Reply::Beat { session, updated: before.is_some(), durable, told })
    }

    /// A report that names another member's device is refused; any other name than ours is kept beside it.
    fn claimed(&self, name: Option<&Foreign>) -> Result<Option<Foreign>, Refusal> {
        let Some(name) = name.filter(|name| !name.is_blank()) else { return Ok(None) };
        let same = |other: &Foreign| other.normalised().to_lowercase() == name.normalised().to_lowercase();
        if same(&Foreign::new(self.my_name())) {
            return Ok(None);
        }
        let members = self.log.members(&self.fleet.id);
        let other = members.keys().filter(|device| **device != self.me.device).find(|device| self.showing.name(device).is_some_and(same));
        match other {
            Some(_) => Err(Refusal::new(Code::NotThisDevice, format!("“{}” is another device of this fleet", name.plain()))
                .because(format!("this is {}; every device reports its own agents", Foreign::new(self.my_name()).plain()))
                .fix(format!("report to the daemon on {}, or leave `device` out", name.plain()))),
            None => Ok(Some(name.clone())),
        }
    }

    fn next_beat(
        &self,
        report: &Report,
        session: crate::model::id::SessionId,
        claimed_device: Option<Foreign>,
        before: Option<&Beat>,
        written: u64,
        now: Now,
    ) -> Beat {
        let field = |new: &Option<Foreign>, old: Option<&Option<Foreign>>| match new {
            Some(text) => (!text.is_blank()).then(|| text.clone()),
            None => old.cloned().flatten(),
        };
        let task = field(&report.task, before.map(|b| &b.task));
        let ended = |text: &Option<Foreign>| text.as_ref().is_some_and(Foreign::is_blank);
        let state = report.state.unwrap_or_else(|| match before {
            _ if ended(&report.task) && ended(&report.file) => Reported::Done,
            Some(before) if before.state.is_alive() && report.task.is_none() => before.state,
            _ if task.is_some() => Reported::Working,
            _ => Reported::Idle,
        });
        let same = before.is_some_and(|b| b.state == state && b.task == task);
        Beat {
            rev: before.map_or(0, |b| b.rev).max(written) + 1,
            device: self.me.device,
            agent: report.agent.clone(),
            session,
            state,
            file: field(&report.file, before.map(|b| &b.file)),
            note: field(&report.note, before.map(|b| &b.note)),
            pid: report.pid.or(before.and_then(|b| b.pid)),
            metadata: report.metadata.clone().or_else(|| before.and_then(|b| b.metadata.clone())),
            counts: before.and_then(|b| b.counts),
            claimed_device,
            source: report.source.to_owned(),
            interval_s: report.interval_s.or(before.map(|b| b.interval_s)).unwrap_or(INTERVAL_S),
            since: before.filter(|_| same).map_or(now.wall_ms, |b| b.since),
            at: now.wall_ms,
            task,
        }
    }

    fn begin_session(&mut self, beat: &Beat, (tool, tool_session): (&str, Foreign), cwd: Option<Foreign>, now: Now, out: &mut Effects) {
        if self.own_session(&beat.session).is_some() {
            return;
        }
        let key = FactKey::Session(beat.session);
        let rev = self.library.facts().get(&key).map_or(0, Joined::rev) + 1;
        let fact = SessionFact {
            rev,
            device: self.me.device,
            tool: tool.to_owned(),
            tool_session,
            agent: beat.agent.clone(),
            project: None,
            cwd,
            branch: None,
            title: None,
            parent: None,
            side: false,
            started: beat.at,
        };
        self.write(&saved::sessions(&fact), &[(key, saved::json(&fact))], out);
        self.learn_changed(now);
    }

    pub(super) fn write_beat(&mut self, beat: &Beat, out: &mut Effects) {
        let key = FactKey::Beat(beat.session, agent_key(&beat.agent));
        let name = format!("heartbeats/{}", self.me.device);
        let mut facts = vec![(key.clone(), saved::json(beat))];
        let stays = self.beat_stays(beat);
        let next = self.library.writable(&shard(stays, &name));
        if next.as_ref().is_none_or(|next| !self.carried.contains(next)) {
            facts.extend(self.left_behind(stays, next.as_ref()).into_iter().filter(|(other, _)| *other != key));
        }
        self.write(&name, &facts, out);
        self.carried.extend(next);
    }

    /// The beats that still count and are not in that document. Only the last two are read, so that each begins with all of them; a
    /// crash amid that leaves some behind. It is looked at once for each document of a life: with thousands of sessions that go on, it
    /// would cost more than all else.
    fn left_behind(&mut self, stays: bool, next: Option<&DocId>) -> Vec<(FactKey, String)> {
        let live = self.showing.beats_of(self.me.device).filter(|beat| beat.state.is_alive() && self.beat_stays(beat) == stays);
        let live: Vec<_> = live.map(|beat| (FactKey::Beat(beat.session, agent_key(&beat.agent)), saved::json(beat))).collect();
        let document = next.and_then(|next| self.library.settled(next));
        live.into_iter().filter(|(key, _)| document.is_none_or(|document| document.values(key).is_empty())).collect()
    }

    fn todo(&mut self, ask: TodoAsk, now: Now, out: &mut Effects) -> Result<Reply, Refusal> {
        let unique = match &ask.key {
            Some(key) => ActId::of(&[b"key", &self.me.device.0, key.as_bytes()]),
            None => self.unique(),
        };
        let asked = ask.asked();
        if let Some(act) = self.showing.todos.act(unique) {
            // An action that a version before wrote does not say what it answered.
            if act.asked.is_some() && act.asked != asked {
                return Err(Refusal::new(Code::KeyReused, "this Idempotency-Key was given to another action")
                    .because(format!("its action was done to the todo {}; nothing was done now", act.todo.short(8)))
                    .fix("a new key for every action; the same key only to ask the same again"));
            }
            return Ok(Reply::Todo { id: act.todo, created: false });
        }
        let by = By {
            device: self.me.device,
            agent: ask.agent.filter(|agent| !agent.is_blank()).map(|agent| self.called(agent)),
            session: None,
        };
        let at = self.hlc.next(now.wall_ms);
        let mut what = ask.what;
        if let TodoDeed::Edit { owner: Some(owner), .. } = &mut what {
            *owner = self.called(owner.clone());
        }
        if let TodoDeed::Add { project: Some(project), .. } = &mut what {
            *project = self.project_of(project)?;
        }
        let mut decision = deeds::decide(&self.showing.todos, &what, &by, at, unique)?;
        if asked.is_some() {
            remember(&mut decision, unique, by, at, asked);
        }
        if decision.facts.iter().map(saved::todo).any(|(_, value)| value.len() > FACT_BYTES_MAX) {
            return Err(Refusal::new(Code::BadRequest, "its texts are too long together").fix("say it in fewer words"));
        }
        let is_fact = |(key, value): (FactKey, String)| saved::is_fact(&key, &value);
        if !decision.facts.iter().map(saved::todo).all(is_fact) {
            // A member wrote the last number that there is: nothing after it would count.
            return Err(Refusal::new(Code::NotPermitted, "this cannot be changed any more: its counter is used up")
                .because("a device of the fleet wrote the highest number that there is")
                .fix("add it anew with another text; and look at `hubless devices`"));
        }
        if !decision.facts.is_empty() {
            self.hlc = at;
            let facts: Vec<_> = decision.facts.iter().map(saved::todo).collect();
            self.write(&format!("todos/{}", saved::month(now.wall_ms)), &facts, out);
        }
        Ok(Reply::Todo { id: decision.todo, created: decision.created })
    }

    /// The project that is meant: the one of that key, else the only known one whose last part is called so, else a new one.
    fn project_of(&self, typed: &str) -> Result<String, Refusal> {
        let view = &self.showing.view;
        let sessions = view.sessions.values().filter_map(|session| session.fact.project.as_deref());
        let known: BTreeSet<&str> = sessions.chain(view.todos.values().map(|todo| todo.project.as_str())).collect();
        let is_last = |key: &&&str| key.rsplit('/').next().is_some_and(|last| last.to_lowercase() == typed.to_lowercase());
        let fits: Vec<&str> = known.iter().filter(is_last).copied().collect();
        match fits.as_slice() {
            _ if known.contains(typed) => Ok(typed.to_owned()),
            [] => Ok(typed.to_owned()),
            [one] => Ok((*one).to_owned()),
            several => {
                let mut refusal = Refusal::new(
                    Code::AmbiguousId,
                    format!("“{}” is the last part of {} projects", Foreign::new(typed).plain(), several.len()),
                )
                .fix("give the whole key of the one you mean");
                refusal.did_you_mean = several.iter().map(|key| Foreign::new(*key).plain()).collect();
                Err(refusal)
            }
        }
    }

    fn ping(&mut self, asker: Asker, typed: &str, now: Now, out: &mut Effects) -> Result<Option<Reply>, Refusal> {
        let device = self.find_device(typed)?;
        if device == self.me.device {
            return Ok(Some(Reply::Pong { device, rtt_ms: 0, address: "this device".into(), level: true }));
        }
        let Some(link) = self.links.values_mut().find(|link| link.device == device && link.stage == Stage::Open) else {
            let name = self.showing.view.device_name(&device).plain();
            let cause = self.errors.get(&device).map_or_else(|| "no link to it is up".to_owned(), |(_, why)| why.clone());
            return Err(Refusal::new(Code::Unreachable, format!("{name} cannot be reached"))
                .because(cause)
                .fix("hubless doctor, here and there"));
        };
        link.ping(now, Some(asker), out);
        self.pings.wait(asker, now.boot_ms);
        Ok(None)
    }

    /// A device by its name, its id, or the beginning of its id.
    pub(super) fn find_device(&self, typed: &str) -> Result<DeviceId, Refusal> {
        let members = self.log.members(&self.fleet.id);
        let wanted = Foreign::new(typed).normalised().to_lowercase();
        let is_it = |name: &Foreign| name.normalised().to_lowercase() == wanted;
        let named = |device: &DeviceId| is_it(&self.showing.view.device_name(device)) || self.showing.name(device).is_some_and(is_it);
        let mut found: Vec<DeviceId> = members.keys().copied().filter(named).collect();
        if found.is_empty() {
            found = members.keys().copied().filter(|device| device.begins_with(typed)).collect();
        }
        match found.as_slice() {
            [one] => Ok(*one),
            [] => {
                let known: Vec<String> = members.keys().map(|device| self.showing.view.device_name(device).plain()).collect();
                Err(Refusal::new(Code::DeviceNotFound, format!("no device called “{}”", Foreign::new(typed).plain()))
                    .because(format!("this replica knows: {}", known.join(", ")))
                    .fix("hubless devices"))
            }
            several => {
                let ids: Vec<String> = several.iter().map(DeviceId::short).collect();
                Err(Refusal::new(
                    Code::AmbiguousId,
                    format!("“{}” fits {} devices ({})", Foreign::new(typed).plain(), ids.len(), ids.join(", ")),
                )
                .fix("give the beginning of its id"))
            }
        }
    }
}

/// Writes down what was asked, in the action that the key names. One is made where nothing else bears that name: the key must be
/// remembered whatever was written, or a late retry would do it again.
fn remember(decision: &mut Decision, unique: ActId, by: By, at: Stamp, asked: Option<AskId>) {
    let own = decision.facts.iter_mut().find_map(|fact| {
        let TodoFact::Act(id, act) = fact else { return None };
        (*id == unique).then_some(act)
    });
    match own {
        Some(act) => act.asked = asked,
        None => {
            let act = ActFact { todo: decision.todo, items: BTreeSet::new(), deed: Deed::Asked, by, at, undoes: None, asked };
            decision.facts.push(TodoFact::Act(unique, act));
        }
    }
}

/// When a report was said: never later than now, and as long ago by the clock that ages are measured on. What waited while no
/// daemon ran is no sign of life of this moment.
fn said_at(at: Option<i64>, now: Now) -> Now {
    let age = at.map_or(0, |at| now.wall_ms.saturating_sub(at).max(0));
    Now { wall_ms: now.wall_ms - age, boot_ms: now.boot_ms.saturating_sub(age.unsigned_abs()), ..now }
}

/// Whether two reports say the same but for their time: then the later one is only a sign of life.
fn same_work(a: &Beat, b: &Beat) -> bool {
    (a.state, &a.task, &a.file, &a.note, &a.claimed_device, &a.metadata, a.pid, a.interval_s)
        == (b.state, &b.task, &b.file, &b.note, &b.claimed_device, &b.metadata, b.pid, b.interval_s)
}
