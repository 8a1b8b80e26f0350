//! One automerge document of everything that is shown, for any automerge tool: maps `sessions`, `heartbeats`, `todos`.
//!
//! The actor, the time and the order are fixed, so that equal views give equal bytes.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, AutomergeError, ObjId, ObjType, ROOT};

use crate::model::text::Foreign;
use crate::model::view::View;

/// Writes the view as one document.
#[must_use]
pub fn export(view: &View) -> Vec<u8> {
    let mut doc = Automerge::new().with_actor(ActorId::from(&[0xff; 16][..]));
    let mut tx = doc.transaction();
    let written = sessions(&mut tx, view).and_then(|()| beats(&mut tx, view)).and_then(|()| todos(&mut tx, view));
    written.expect("every object was made in this transaction");
    tx.commit_with(CommitOptions::default().with_time(0));
    doc.save()
}

fn text(tx: &mut impl Transactable, of: &ObjId, key: &str, value: Option<&Foreign>) -> Result<(), AutomergeError> {
    value.map_or(Ok(()), |value| tx.put(of, key, value.json()))
}

fn sessions(tx: &mut impl Transactable, view: &View) -> Result<(), AutomergeError> {
    let map = tx.put_object(ROOT, "sessions", ObjType::Map)?;
    for (id, session) in &view.sessions {
        let of = tx.put_object(&map, id.to_string(), ObjType::Map)?;
        let fact = &session.fact;
        tx.put(&of, "device", fact.device.to_string())?;
        tx.put(&of, "tool", fact.tool.as_str())?;
        tx.put(&of, "started", fact.started)?;
        tx.put(&of, "ended", session.end.is_some())?;
        text(tx, &of, "toolSession", Some(&fact.tool_session))?;
        text(tx, &of, "agent", Some(&fact.agent))?;
        text(tx, &of, "cwd", fact.cwd.as_ref())?;
        text(tx, &of, "branch", fact.branch.as_ref())?;
        text(tx, &of, "title", fact.title.as_ref())?;
        text(tx, &of, "project", fact.project.as_deref().map(Foreign::new).as_ref())?;
    }
    Ok(())
}

fn beats(tx: &mut impl Transactable, view: &View) -> Result<(), AutomergeError> {
    let map = tx.put_object(ROOT, "heartbeats", ObjType::Map)?;
    for (key, agent) in &view.agents {
        let of = tx.put_object(&map, format!("{}/{}/{}", key.device, key.session, key.agent), ObjType::Map)?;
        tx.put(&of, "device", key.device.to_string())?;
        tx.put(&of, "session", key.session.to_string())?;
        tx.put(&of, "state", agent.beat.state.word())?;
        tx.put(&of, "at", agent.beat.at)?;
        tx.put(&of, "since", agent.beat.since)?;
        text(tx, &of, "agent", Some(&agent.beat.agent))?;
        text(tx, &of, "task", agent.beat.task.as_ref())?;
        text(tx, &of, "file", agent.beat.file.as_ref())?;
        text(tx, &of, "note", agent.beat.note.as_ref())?;
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
