//! Who lives is seen from outside: a process that a tool names, or that holds a session's file open, gives signs of life
//! without a word; and when it is gone, the session is over, whether its tool said so or not.
//!
//! Nothing is inferred from silence alone before [`GIVEN_UP_MS`]: a process that we never saw may live on.

use std::collections::{BTreeMap, BTreeSet};

use crate::ingest::claude_process::Process;
use crate::ingest::files::{self, File};
use crate::ingest::run::Run;
use crate::model::beat::{Beat, Reported, agent_key};
use crate::model::effects::{Effects, Look};
use crate::model::fact::FactKey;
use crate::model::id::{ActId, SessionId};
use crate::model::input::{RelPath, SourceEvent};
use crate::model::limits::BEAT_FACT_EVERY_MS;
use crate::model::session::{Counts, EndFact, session_id};
use crate::model::text::Foreign;
use crate::model::time::{Millis, Now};
use crate::model::tool::Root;
use crate::model::view::AgentKey;

use super::following::{At, Following};
use super::machine::Replica;
use super::saved;

/// How often it is asked who lives, while somebody does.
const ASK_EVERY_MS: Millis = 3_000;
/// A session of whose process nothing is known, and that was silent for so long, is over.
const GIVEN_UP_MS: i64 = 24 * 60 * 60 * 1000;
/// Who says so.
const SOURCE: &str = "file";
/// How often an agent that is read from files is expected to give a sign of life, seconds: a turn writes lines all the time,
/// but one call of a tool may take minutes.
const INTERVAL_S: u32 = 120;

/// What a session's files show of its agent.
pub struct Sight<'a> {
    /// The session.
    pub session: SessionId,
    /// Who works in it.
    pub agent: &'a Foreign,
    /// What it does.
    pub state: Reported,
    /// When that was written, milliseconds since 1970.
    pub at: i64,
    /// What was counted.
    pub counts: Option<Counts>,
    /// Its process.
    pub pid: Option<u32>,
}

/// What was asked and not yet answered, and where sessions are written.
#[derive(Default)]
pub struct Living {
    /// Each session's own file.
    files: BTreeMap<SessionId, At>,
    /// What tools call their sessions, in files beside theirs.
    pub(super) names: BTreeMap<SessionId, String>,
    /// When each process began, in the system's words.
    begun: BTreeMap<u32, Option<String>>,
    asked: Option<(BTreeSet<u32>, BTreeSet<At>)>,
    /// Whether the rows of the files were held against what is written, in this life.
    counted: bool,
    due: Millis,
    /// Our wall clock at the last step.
    pub(super) wall: Option<i64>,
}

impl Living {
    /// Sessions are where the rows of their files say.
    #[must_use]
    pub fn open(me: &crate::model::id::DeviceId, following: &Following) -> Living {
        let of = |at: &At| match files::what(at.0, &at.1) {
            Some(File::Lines(owner, _)) => Some((session_id(me, at.0.folder().tool, &owner.session), at.clone())),
            _ => None,
        };
        let mut runs: Vec<(&At, &Run)> = following.runs().collect();
        // Of several files of one session the one that went on last is its own.
        runs.sort_by_key(|(_, run)| run.last);
        Living { files: runs.into_iter().filter_map(|(at, _)| of(at)).collect(), ..Living::default() }
    }

    /// A session's own file was read.
    pub fn is_written_in(&mut self, session: SessionId, at: &At) {
        if self.files.get(&session) != Some(at) {
            self.files.insert(session, at.clone());
        }
    }

    /// It is asked again at once.
    pub fn at_once(&mut self, now: Now) {
        self.due = now.boot_ms;
    }
}

impl Replica {
    /// When it is next asked who lives; `None` while nobody does.
    pub(super) fn living_due(&self) -> Option<Millis> {
        self.living_beats().next().is_some().then_some(self.living.due)
    }

    /// Living agents of this device whose sessions are written in files, each with its last word, whoever brought it.
    fn living_beats(&self) -> impl Iterator<Item = &Beat> {
        let last = |beat| self.presences.own().get(&super::presence::key_of(beat)).map_or(beat, |alive| &alive.beat);
        self.showing
            .beats_of(self.me.device)
            .map(last)
            .filter(|beat| beat.state.is_alive() && (beat.source == SOURCE || self.living.files.contains_key(&beat.session)))
    }

    /// Learns which sessions' own files are there. One that cannot be read any more is as good as gone.
    pub(super) fn learn_files(&mut self, event: &SourceEvent) {
        if let SourceEvent::Looked { root, files, .. } = event {
            let listed: BTreeSet<&str> = files.iter().map(|seen| seen.path.as_str()).collect();
            for path in listed.iter().filter(|path| path.ends_with(".json")) {
                // What is read as a whole has no row that says so after a restart.
                if let Some(File::Whole(owner, _)) = files::what(*root, path) {
                    let session = session_id(&self.me.device, root.folder().tool, &owner.session);
                    self.living.is_written_in(session, &(*root, (*path).to_owned()));
                }
            }
            for (session, (_, path)) in self.living.files.iter().filter(|(_, (of, _))| of == root) {
                self.showing.learn_file(*session, listed.contains(path.as_str()));
            }
        }
        if let SourceEvent::Denied { root, path: Some(path), .. } = event {
            for (session, _) in self.living.files.iter().filter(|(_, at)| (&at.0, &at.1) == (root, path)) {
                self.showing.learn_file(*session, false);
            }
        }
    }

    /// Asks who lives, if that is due.
    pub(super) fn ask_who_lives(&mut self, now: Now, out: &mut Effects) {
        if self.living_due().is_none_or(|due| due > now.boot_ms) {
            return;
        }
        self.living.due = now.boot_ms + ASK_EVERY_MS;
        let pids: BTreeSet<u32> = self.living_beats().filter_map(|beat| beat.pid).collect();
        let files: BTreeSet<At> = self
            .living_beats()
            .filter(|beat| !self.is_named(beat))
            .filter_map(|beat| self.living.files.get(&beat.session).cloned())
            .collect();
        let begun = |pid: &u32| (*pid, self.living.begun.get(pid).cloned().flatten());
        let look = Look::Living { pids: pids.iter().map(begun).collect(), files: files.iter().cloned().collect() };
        self.living.asked = Some((pids, files));
        self.end_silent(now, out);
        out.look.push(look);
    }

    /// Whether its tool names the processes of its sessions in files of their own.
    fn is_named(&self, beat: &Beat) -> bool {
        self.showing.session(&beat.session).is_some_and(|session| session.tool == "claude")
    }

    /// Who was asked for and is not there is gone.
    pub(super) fn learn_who_lives(&mut self, alive: &[u32], held: &[(Root, RelPath, u32)], now: Now, out: &mut Effects) {
        let Some((pids, files)) = self.living.asked.take() else { return };
        let holders: BTreeMap<(Root, &RelPath), u32> = held.iter().rev().map(|(root, path, pid)| ((*root, path), *pid)).collect();
        let holder = |at: &At| holders.get(&(at.0, &at.1)).copied();
        let beats: Vec<Beat> = self.living_beats().cloned().collect();
        for beat in beats {
            let file = self.living.files.get(&beat.session).filter(|at| files.contains(*at));
            let holder = file.and_then(holder);
            let lives = match beat.pid {
                // A database is many sessions' and may be several processes': whoever holds it gives none of them a sign of life,
                // and only when nobody does they are over.
                Some(_) if file.is_some_and(is_shared) && holder.is_some() => continue,
                Some(_) if file.is_some_and(is_shared) => false,
                Some(pid) if pids.contains(&pid) => alive.contains(&pid) && (file.is_none() || holder == Some(pid)),
                Some(_) => continue,
                None => match holder {
                    Some(pid) => {
                        let Beat { session, state, at, counts, .. } = beat;
                        self.sight(&Sight { session, agent: &beat.agent, state, at, counts, pid: Some(pid) }, now, out);
                        true
                    }
                    None => continue,
                },
            };
            if lives {
                let key = AgentKey { device: self.me.device, agent: agent_key(&beat.agent), session: beat.session };
                self.presences.sign(&key, &beat, now.boot_ms);
                self.showing.agent_changed(&key);
            } else {
                self.end(beat.session, "inferred", beat.counts, now.wall_ms, now, out);
            }
        }
    }

    /// Ends what nobody has heard of for a day.
    fn end_silent(&mut self, now: Now, out: &mut Effects) {
        let silent = |beat: &&Beat| beat.pid.is_none() && now.wall_ms.saturating_sub(beat.at) > GIVEN_UP_MS;
        let silent: Vec<Beat> = self.living_beats().filter(silent).cloned().collect();
        for beat in silent {
            self.end(beat.session, "inferred", beat.counts, beat.at, now, out);
        }
    }

    /// A tool says that it runs a process.
    pub(super) fn take_process(&mut self, root: Root, process: &Process, mtime_ms: i64, now: Now, out: &mut Effects) {
        let tool = root.folder().tool;
        self.living.begun.insert(process.pid, process.proc_start.clone());
        let Some(tool_session) = &process.session else { return };
        let session = session_id(&self.me.device, tool, tool_session);
        let at = process.updated.unwrap_or(mtime_ms).min(now.wall_ms);
        let about = super::gathering::About {
            tool,
            tool_session,
            agent: None,
            cwd: process.cwd.clone(),
            title: process.name.clone(),
            started: process.started.unwrap_or(at),
            ..super::gathering::About::default()
        };
        self.learn_session(about, now);
        if let Some(cwd) = &process.cwd {
            self.place_session(session, Foreign::new(&**cwd), now, out);
        }
        let agent = self.showing.session(&session).map_or_else(|| Foreign::new(tool), |fact| fact.agent.clone());
        let state = process.status.unwrap_or(Reported::Idle);
        self.sight(&Sight { session, agent: &agent, state, at, counts: None, pid: Some(process.pid) }, now, out);
        self.living.at_once(now);
    }

    /// What a session is when its file was read to its end: what its last lines say, or over.
    pub(super) fn judge_session(&mut self, sight: &Sight<'_>, now: Now, out: &mut Effects) {
        if now.wall_ms.saturating_sub(sight.at) > GIVEN_UP_MS {
            // Another file of the same session was written lately: this one says nothing of its end.
            let lately = |last: &Beat| is_newer(last, sight.at, now) && now.wall_ms.saturating_sub(last.at) <= GIVEN_UP_MS;
            if let Some(last) = self.last_word(sight).filter(lately) {
                return self.recount(&last, sight.counts, now, out);
            }
            match self.showing.ended(&sight.session).filter(|end| end.at > sight.at).cloned() {
                Some(end) => self.recount_ended(sight, &end, now, out),
                None => self.end(sight.session, "inferred", sight.counts, sight.at, now, out),
            }
        } else {
            self.sight(sight, now, out);
        }
    }

    /// What is known of who works in it.
    fn last_word(&self, sight: &Sight<'_>) -> Option<Beat> {
        let key = AgentKey { device: self.me.device, agent: agent_key(sight.agent), session: sight.session };
        self.presences.own().get(&key).map(|alive| alive.beat.clone()).or_else(|| self.showing.beat(&key).cloned())
    }

    /// Takes in what the files show of an agent. Of what is older than what is known only the counts are taken (the file was
    /// cut or written anew); what a person or a hook said stands until the files say something newer. What is known and is
    /// yet to come was said by a clock that was wrong since: it makes nothing else old.
    pub(super) fn sight(&mut self, sight: &Sight<'_>, now: Now, out: &mut Effects) {
        let key = AgentKey { device: self.me.device, agent: agent_key(sight.agent), session: sight.session };
        let before = self.last_word(sight);
        let at = sight.at.min(now.wall_ms);
        if let Some(newer) = before.as_ref().filter(|before| is_newer(before, at, now)) {
            self.recount(newer, sight.counts, now, out);
            return;
        }
        if before.as_ref().is_some_and(|before| before.at == at && is_known(before, sight)) {
            return;
        }
        let at = self.past_ends(sight.session, sight.state, at, now);
        let kept = |field: fn(&Beat) -> &Option<Foreign>| before.as_ref().and_then(|before| field(before).clone());
        let same = before.as_ref().filter(|before| before.state == sight.state);
        let written = self.library.facts().rev(&FactKey::Beat(key.session, key.agent.clone()), &self.me.device);
        let beat = Beat {
            rev: before.as_ref().map_or(0, |before| before.rev).max(written) + 1,
            device: self.me.device,
            agent: sight.agent.clone(),
            session: sight.session,
            state: sight.state,
            task: kept(|beat| &beat.task),
            file: kept(|beat| &beat.file),
            note: kept(|beat| &beat.note),
            pid: sight.pid.or(before.as_ref().and_then(|before| before.pid)),
            metadata: kept(|beat| &beat.metadata),
            counts: sight.counts.or(before.as_ref().and_then(|before| before.counts)),
            claimed_device: kept(|beat| &beat.claimed_device),
            source: SOURCE.to_owned(),
            interval_s: before.as_ref().map_or(INTERVAL_S, |before| before.interval_s),
            since: same.map_or(at, |before| before.since.min(at)),
            at,
        };
        let transition = before.as_ref().is_none_or(|before| before.state != beat.state || before.pid != beat.pid);
        let every = i64::try_from(BEAT_FACT_EVERY_MS).unwrap_or(i64::MAX);
        let due = self.showing.beat(&key).is_none_or(|last| at.saturating_sub(last.at) >= every || last.at > at);
        let age = Millis::try_from(now.wall_ms.saturating_sub(at)).unwrap_or(0);
        self.presences.sight(beat.clone(), now.boot_ms.saturating_sub(age), transition, now.boot_ms);
        self.showing.agent_changed(&key);
        if transition || due {
            self.write_beat(&beat, out);
            self.learn_changed(now);
        }
    }

    /// A session's file counts otherwise than its agent's last word, which stands.
    fn recount(&mut self, last: &Beat, counts: Option<Counts>, now: Now, out: &mut Effects) {
        if counts.is_none() || last.counts == counts {
            return;
        }
        let beat = Beat { rev: last.rev.max(self.written(last)) + 1, counts, ..last.clone() };
        let key = super::presence::key_of(&beat);
        match self.presences.own().get(&key).map(|alive| alive.sign) {
            // Said while it lives, and written with its next word.
            Some(sign) => {
                self.presences.sight(beat, sign, false, now.boot_ms);
                self.showing.agent_changed(&key);
            }
            None => {
                self.write_beat(&beat, out);
                self.learn_changed(now);
            }
        }
    }

    /// A peer gave back what our store had lost, under a revision that ours does not outdo: the later word of the two counts. Of
    /// two of one moment always the same one does, so that clones do not take turns.
    pub(super) fn insist(&mut self, key: &AgentKey, out: &mut Effects) {
        let (Some(alive), Some(said)) = (self.presences.own().get(key), self.showing.beat(key)) else { return };
        let order = |beat: &Beat| (beat.at, saved::json(&Beat { rev: 0, ..beat.clone() }));
        if said.rev >= alive.beat.rev && order(&alive.beat) > order(said) {
            let beat = Beat { rev: said.rev + 1, ..alive.beat.clone() };
            let sign = alive.sign;
            self.presences.sight(beat.clone(), sign, false, self.now());
            self.write_beat(&beat, out);
        }
    }

    /// A session is over, and its file, cut or written anew, counts otherwise now: its agent's last word says so.
    fn recount_ended(&mut self, sight: &Sight<'_>, end: &EndFact, now: Now, out: &mut Effects) {
        match self.last_word(sight).filter(|last| last.at >= end.at) {
            Some(last) => self.recount(&last, sight.counts, now, out),
            None if end.counts == sight.counts => {}
            None => {
                let Sight { session, agent, counts, .. } = *sight;
                self.sight(&Sight { session, agent, state: Reported::Done, at: end.at, counts, pid: None }, now, out);
            }
        }
    }

    /// The revision of what is written of that agent, 0 when nothing is.
    fn written(&self, beat: &Beat) -> u64 {
        self.library.facts().rev(&FactKey::Beat(beat.session, agent_key(&beat.agent)), &self.me.device)
    }

    /// What was counted since a beat was last written is in no document: a crash forgets it, and the rows of the files do not.
    /// Once in each life, when all that changed meanwhile has been read.
    pub(super) fn count_again(&mut self, now: Now, out: &mut Effects) {
        if std::mem::replace(&mut self.living.counted, true) {
            return;
        }
        let rows: Vec<(SessionId, Counts)> =
            self.living.files.iter().filter_map(|(session, at)| Some((*session, self.reading.following.run(at)?.counts))).collect();
        for (session, counts) in rows {
            let Some(fact) = self.showing.session(&session) else { continue };
            let key = AgentKey { device: self.me.device, agent: agent_key(&fact.agent), session };
            if let Some(last) = self.showing.beat(&key).cloned() {
                self.recount(&last, Some(counts), now, out);
            }
        }
    }

    /// A session is over: said once, however often it is found out, and its agents' last word is that they are done.
    pub(super) fn end(&mut self, session: SessionId, outcome: &str, counts: Option<Counts>, at: i64, now: Now, out: &mut Effects) {
        self.write_end(session, &EndFact { outcome: Foreign::new(outcome), agent: None, result: None, counts, at }, out);
        let state = if outcome == "failed" { Reported::Failed } else { Reported::Done };
        let beats: Vec<Beat> = self.living_beats().filter(|beat| beat.session == session).cloned().collect();
        for beat in beats {
            let beat = Beat { rev: beat.rev + 1, state, since: at, at: at.max(beat.at), counts: counts.or(beat.counts), ..beat };
            self.presences.report(beat.clone(), now.boot_ms, true);
            self.showing.agent_changed(&super::presence::key_of(&beat));
            self.write_beat(&beat, out);
        }
        self.learn_changed(now);
    }

    /// Writes that a session is over; the same end twice is one.
    pub(super) fn write_end(&mut self, session: SessionId, end: &EndFact, out: &mut Effects) {
        let unique = ActId::of(&[b"end", &session.0, end.outcome.json().as_bytes(), &end.at.to_le_bytes()]);
        let key = FactKey::End(session, unique);
        if self.library.facts().get(&key).is_none() {
            let began = self.own_session(&session).map_or(end.at, |fact| fact.started);
            self.write(&format!("sessions/{}", saved::month(began)), &[(key, saved::json(end))], out);
        }
    }
}

/// Whether the file at that place is many sessions' own.
fn is_shared(at: &At) -> bool {
    matches!(files::what(at.0, &at.1), Some(File::Tables(..)))
}

/// Whether what is known was said later than `at`, by a clock that was right as far as anybody can tell.
fn is_newer(known: &Beat, at: i64, now: Now) -> bool {
    known.at <= now.wall_ms && (known.at > at || (known.at == at && !known.state.is_alive()))
}

/// Whether nothing in it is new.
fn is_known(before: &Beat, sight: &Sight<'_>) -> bool {
    before.state == sight.state
        && sight.counts.is_none_or(|counts| before.counts == Some(counts))
        && sight.pid.is_none_or(|pid| before.pid == Some(pid))
}
