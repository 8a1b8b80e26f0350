//! One automerge document of everything that is shown, for any automerge tool: maps `sessions`, `heartbeats`, `todos`.
//!
//! The actor, the time and the order are fixed, and beats are taken from the documents, never from presence or a judgement
//! by time: equal facts give equal bytes (T1).

use std::collections::BTreeMap;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, AutomergeError, ObjId, ObjType, ROOT};

use crate::model::beat::{Beat, agent_key};
use crate::model::fact::FactKey;
use crate::model::id::{DeviceId, SessionId};
use crate::model::text::Foreign;
use crate::model::view::View;

use super::facts::Facts;
use super::saved::{self, Noun};

/// Writes the view as one document, its beats as the facts have them.
#[must_use]
pub fn export(view: &View, facts: &Facts) -> Vec<u8> {
    let kept = Kept::read(facts);
    let mut doc = Automerge::new().with_actor(ActorId::from(&[0xff; 16][..]));
    let mut tx = doc.transaction();
    let written = sessions(&mut tx, view, &kept).and_then(|()| beats(&mut tx, &kept)).and_then(|()| todos(&mut tx, view));
    written.expect("every object was made in this transaction");
    tx.commit_with(CommitOptions::default().with_time(0));
    doc.save()
}

/// What the documents say of life and end.
#[derive(Default)]
struct Kept {
    /// By device, agent and session.
    beats: BTreeMap<(DeviceId, String, SessionId), Beat>,
    /// When somebody in it was last alive.
    alive: BTreeMap<SessionId, i64>,
    /// Its latest end.
    ends: BTreeMap<SessionId, i64>,
}

impl Kept {
    fn read(facts: &Facts) -> Kept {
        let mut kept = Kept::default();
        let latest = |times: &mut BTreeMap<SessionId, i64>, session, at: i64| {
            times.entry(session).and_modify(|before| *before = at.max(*before)).or_insert(at);
        };
        for (key, value) in facts.iter().flat_map(|(key, joined)| joined.values().map(move |value| (key, value))) {
            if !matches!(key, FactKey::Beat(..) | FactKey::End(..)) {
                continue;
            }
            match saved::read(key, value) {
                Some(Noun::Beat(beat)) => {
                    if beat.state.is_alive() {
                        latest(&mut kept.alive, beat.session, beat.at);
                    }
                    kept.beats.insert((beat.device, agent_key(&beat.agent), beat.session), beat);
                }
                Some(Noun::End(session, _, end)) => latest(&mut kept.ends, session, end.at),
                _ => {}
            }
        }
        kept
    }

    /// Whether somebody said that it is over, and no living agent has written since.
    fn is_over(&self, session: SessionId) -> bool {
        self.ends.get(&session).is_some_and(|end| self.alive.get(&session).is_none_or(|alive| alive <= end))
    }
}

fn text(tx: &mut impl Transactable, of: &ObjId, key: &str, value: Option<&Foreign>) -> Result<(), AutomergeError> {
    value.map_or(Ok(()), |value| tx.put(of, key, value.json()))
}

fn sessions(tx: &mut impl Transactable, view: &View, kept: &Kept) -> Result<(), AutomergeError> {
    let map = tx.put_object(ROOT, "sessions", ObjType::Map)?;
    for (id, session) in &view.sessions {
        let of = tx.put_object(&map, id.to_string(), ObjType::Map)?;
        let fact = &session.fact;
        tx.put(&of, "device", fact.device.to_string())?;
        tx.put(&of, "tool", fact.tool.as_str())?;
        tx.put(&of, "started", fact.started)?;
        tx.put(&of, "ended", kept.is_over(*id))?;
        text(tx, &of, "toolSession", Some(&fact.tool_session))?;
        text(tx, &of, "agent", Some(&fact.agent))?;
        text(tx, &of, "cwd", fact.cwd.as_ref())?;
        text(tx, &of, "branch", fact.branch.as_ref())?;
        text(tx, &of, "title", fact.title.as_ref())?;
        text(tx, &of, "project", fact.project.as_deref().map(Foreign::new).as_ref())?;
    }
    Ok(())
}

fn beats(tx: &mut impl Transactable, kept: &Kept) -> Result<(), AutomergeError> {
    let map = tx.put_object(ROOT, "heartbeats", ObjType::Map)?;
    for ((device, agent, session), beat) in &kept.beats {
        let of = tx.put_object(&map, format!("{device}/{session}/{agent}"), ObjType::Map)?;
        tx.put(&of, "device", device.to_string())?;
        tx.put(&of, "session", session.to_string())?;
        tx.put(&of, "state", beat.state.word())?;
        tx.put(&of, "at", beat.at)?;
        tx.put(&of, "since", beat.since)?;
        text(tx, &of, "agent", Some(&beat.agent))?;
        text(tx, &of, "task", beat.task.as_ref())?;
        text(tx, &of, "file", beat.file.as_ref())?;
        text(tx, &of, "note", beat.note.as_ref())?;
    }
    Ok(())
}

fn todos(tx: &mut impl Transactable, view: &View) -> Result<(), AutomergeError> {
    let map = tx.put_object(ROOT, "todos", ObjType::Map)?;
    for (id, todo) in &view.todos {
        let of = tx.put_object(&map, id.to_string(), ObjType::Map)?;
        tx.put(&of, "status", todo.status.word())?;
        tx.put(&of, "round", todo.round)?;
        tx.put(&of, "project", todo.project.as_str())?;
        tx.put(&of, "created", todo.created)?;
        tx.put(&of, "updated", todo.updated)?;
        tx.put(&of, "deleted", todo.deleted)?;
        tx.put(&of, "listed", todo.listed)?;
        text(tx, &of, "content", Some(&todo.content))?;
        text(tx, &of, "owner", todo.owner.as_ref())?;
        text(tx, &of, "priority", todo.priority.as_ref())?;
    }
    Ok(())
}
