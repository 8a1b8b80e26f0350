//! What has changed, for whoever follows: a numbered ring of names, filled by comparing one view with the next.
//!
//! The ring holds which things changed, not what they were: an event carries the whole object as the view shows it when it is
//! sent, so replay is harmless, and an object that changes often costs a few bytes each time. Comparing persistent maps costs
//! what changed, not what there is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::reads;
use crate::model::id::{ConflictId, DeviceId, SessionId, TodoId};
use crate::model::view::View;

/// Changes that can be replayed; a reader that is further behind must read everything anew.
pub(crate) const RING_MAX: usize = 2_000;

/// Streams at a time, over both doors (INTERFACE §4, rule 9).
pub(crate) const STREAMS_MAX: usize = 16;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An agent on a device, with all its sessions.
    Agent(DeviceId, String),
    /// A device.
    Device(DeviceId),
    /// A session.
    Session(SessionId),
    /// A todo.
    Todo(TodoId),
    /// A conflict.
    Conflict(TodoId, String, ConflictId),
}

impl Subject {
    /// The event's name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Subject::Agent(..) => "agent",
            Subject::Device(_) => "device",
            Subject::Session(_) => "session",
            Subject::Todo(_) => "todo",
            Subject::Conflict(..) => "conflict",
        }
    }

    /// The whole object as its route shows it; what is there no longer says `gone`.
    pub(crate) fn shown(&self, view: &View) -> Value {
        match self {
            Subject::Agent(device, agent) => match reads::agent_row(view, *device, agent) {
                Some(row) => reads::agent(view, &row),
                None => json!({"agent": agent, "device": device, "gone": true}),
            },
            Subject::Device(id) => {
                view.devices.get(id).map_or_else(|| json!({"device": id, "gone": true}), |device| reads::device(view, device))
            }
            Subject::Session(id) => {
                view.sessions.get(id).map_or_else(|| json!({"id": id, "gone": true}), |session| reads::session(view, session))
            }
            Subject::Todo(id) => match view.todos.get(id) {
                Some(todo) => reads::todo(view, todo),
                None => json!({"id": id, "gone": true, "movedTo": view.moved.get(id).map(|places| places.to_vec())}),
            },
            Subject::Conflict(todo, field, id) => match view.conflicts.get(&(*todo, field.clone(), *id)) {
                Some(conflict) => reads::conflict(view, conflict),
                None => json!({"id": id, "todo": todo, "field": field, "gone": true}),
            },
        }
    }
}

/// All that differs between two views.
pub(crate) fn changes(old: &View, new: &View) -> Vec<Subject> {
    let mut out = Vec::new();
    keys(&old.agents, &new.agents, |key| {
        let subject = Subject::Agent(key.device, key.agent.clone());
        if out.last() != Some(&subject) {
            out.push(subject);
        }
    });
    keys(&old.devices, &new.devices, |id| out.push(Subject::Device(*id)));
    keys(&old.sessions, &new.sessions, |id| out.push(Subject::Session(*id)));
    keys(&old.todos, &new.todos, |id| out.push(Subject::Todo(*id)));
    keys(&old.conflicts, &new.conflicts, |(todo, field, id)| out.push(Subject::Conflict(*todo, field.clone(), *id)));
    out
}

fn keys<K: Ord + Clone, V: PartialEq + Clone>(old: &OrdMap<K, V>, new: &OrdMap<K, V>, mut take: impl FnMut(&K)) {
    for item in old.diff(new) {
        match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => take(key),
        }
    }
}

/// A reader that is behind the ring, or was never in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooOld;

/// The ring, and the number of its newest entry for who waits.
pub(crate) struct Feed {
    ring: Mutex<VecDeque<Subject>>,
    newest: watch::Sender<u64>,
}

impl Feed {
    /// An empty ring; the first change is number 1.
    pub(crate) fn new() -> Feed {
        Feed { ring: Mutex::default(), newest: watch::Sender::new(0) }
    }

    /// The number of the newest change.
    pub(crate) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// A receiver that wakes when there is more.
    pub(crate) fn more(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Adds changes; the oldest make room.
    pub(crate) fn push(&self, subjects: Vec<Subject>) {
        if subjects.is_empty() {
            return;
        }
        let mut ring = self.ring();
        let count = subjects.len() as u64;
        ring.extend(subjects);
        let over = ring.len().saturating_sub(RING_MAX);
        ring.drain(..over);
        self.newest.send_modify(|newest| *newest += count);
    }

    /// At most `max` changes after number `seq`, each with its number.
    pub(crate) fn after(&self, seq: u64, max: usize) -> Result<Vec<(u64, Subject)>, TooOld> {
        let ring = self.ring();
        let newest = self.newest();
        let before_first = newest - ring.len() as u64;
        if seq > newest || seq < before_first {
            return Err(TooOld);
        }
        let skip = usize::try_from(seq - before_first).unwrap_or(usize::MAX);
        Ok((seq + 1..).zip(ring.iter().skip(skip).take(max).cloned()).collect())
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Subject>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares each view with the next until everything ends.
pub(crate) async fn follow(feed: Arc<Feed>, mut views: watch::Receiver<Arc<View>>, stop: CancellationToken) {
    let mut shown = views.borrow_and_update().clone();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            more = views.changed() => if more.is_err() { return },
        }
        let next = views.borrow_and_update().clone();
        feed.push(changes(&shown, &next));
        shown = next;
    }
}
