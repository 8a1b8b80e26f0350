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

use super::desk::Desk;
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
    /// What stands in the way of syncing: problems here, and strangers in reach.
    Sync,
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
            Subject::Sync => "sync",
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
            Subject::Sync => json!({"problems": reads::problems(view), "strangers": reads::strangers(view)}),
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
    if old.warnings != new.warnings || old.strangers != new.strangers {
        out.push(Subject::Sync);
    }
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
pub(crate) async fn follow(desk: Arc<Desk>, stop: CancellationToken) {
    let mut views = desk.views();
    let mut shown = views.borrow_and_update().clone();
    desk.strips.note(&View::of(shown.me), &shown);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            more = views.changed() => if more.is_err() { return },
        }
        let next = views.borrow_and_update().clone();
        desk.strips.note(&shown, &next);
        desk.feed.push(changes(&shown, &next));
        shown = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, MBP, MINI, beat, leos, todo};
    use crate::model::beat::Reported;
    use crate::model::todo::Status;
    use crate::model::view::{AgentState, SessionState};
    use quickcheck::quickcheck;

    fn numbered(feed: &Feed, seq: u64, max: usize) -> Result<Vec<u64>, TooOld> {
        Ok(feed.after(seq, max)?.into_iter().map(|(seq, _)| seq).collect())
    }

    fn some(count: usize) -> Vec<Subject> {
        vec![Subject::Device(MBP); count]
    }

    quickcheck! {
        fn the_ring_reaches_as_far_as_it_says(pushes: Vec<u16>, seq: u64) -> bool {
            let feed = Feed::new();
            let total: u64 = pushes.iter().map(|count| u64::from(count % 900)).sum();
            pushes.iter().for_each(|count| feed.push(some(usize::from(count % 900))));
            let oldest = total.saturating_sub(RING_MAX as u64);
            let seq = seq % (total + 2);
            match numbered(&feed, seq, usize::MAX) {
                Ok(numbers) => seq >= oldest && seq <= total && numbers == (seq + 1..=total).collect::<Vec<_>>(),
                Err(TooOld) => seq < oldest || seq > total,
            }
        }
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_an_old_one_is_told() {
        let feed = Feed::new();
        feed.push(some(3));
        assert_eq!(numbered(&feed, 0, 2), Ok(vec![1, 2]));
        assert_eq!(numbered(&feed, 3, 2), Ok(vec![]));
        assert_eq!(numbered(&feed, 4, 2), Err(TooOld), "a number that was never given");
        feed.push(some(RING_MAX));
        assert_eq!(numbered(&feed, 2, 2), Err(TooOld));
        assert_eq!(numbered(&feed, 3, 1), Ok(vec![4]));
    }

    #[test]
    fn only_what_changed_is_named_and_an_agent_once() {
        let old = Fleet::busy();
        let mut twice = beat(MINI, "sam", Reported::Working, "AGT-281");
        twice.session = leos();
        let new = Fleet(old.0.clone())
            .agent(beat(MINI, "sam", Reported::Working, "AGT-281"), AgentState::Working)
            .agent(twice, AgentState::Working)
            .todo(todo("web", "fresh", Status::Pending))
            .session(SessionState::Ended, &[]);
        let fresh = todo("web", "fresh", Status::Pending).id;
        let expected = vec![Subject::Agent(MINI, "sam".into()), Subject::Session(leos()), Subject::Todo(fresh)];
        assert_eq!(changes(&old.0, &new.0), expected);
        assert_eq!(changes(&new.0, &new.0.clone()), vec![]);
    }

    #[test]
    fn an_event_carries_the_whole_object_or_says_that_it_is_gone() {
        let full = Fleet::busy().0;
        let empty = View::of(MBP);
        for subject in changes(&empty, &full) {
            assert!(subject.shown(&full).get("gone").is_none(), "{subject:?}");
            assert_eq!(subject.shown(&empty)["gone"], json!(true), "{subject:?}");
        }
        let id = todo("web", "Dark mode", Status::Pending).id;
        let told = reads::answer(&full, 0, "daemon", &format!("/api/v3/todos/{id}"), "").expect("a todo");
        assert_eq!(Subject::Todo(id).shown(&full), told["data"]);
    }
}
