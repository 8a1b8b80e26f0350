//! What must be true after every step, judged from what the disks hold and not from what the replicas say of themselves.
//!
//! The oracle reads every change that is kept by itself (`book`) and knows two things of it: which facts it holds, and how
//! far those facts bring each item and each todo. From that follow I3 (nothing is shown, told or answered that is not
//! kept), I4 (no completed todo is ever shown as less), I5 and, with the replica's own specification, I13.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hubless::model::id::{DocId, ItemId, TodoId};
use hubless::model::message::{Head, Message};
use hubless::model::reply::Reply;
use hubless::model::todo::{Deed, Status, TodoFact};
use hubless::model::view::{AgentView, View};
use hubless::replica::saved::{self, Noun};

use super::book::{self, Book};
use super::secrets;
use super::world::World;

/// A last sign of life is the same one within this, milliseconds (as `replica::showing` has it).
const SAME_SIGN_MS: i64 = 1_000;

/// An invariant that does not hold.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    /// Which, as DESIGN §10 numbers them.
    pub(crate) invariant: &'static str,
    /// How.
    pub(crate) what: String,
}

impl Broken {
    pub(crate) fn new(invariant: &'static str, what: String) -> Broken {
        Broken { invariant, what }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What the oracle remembers of one device: how far what it kept brings each item and todo.
#[derive(Default)]
pub(crate) struct Watch {
    items: BTreeMap<ItemId, (u64, Status)>,
    todos: BTreeMap<TodoId, (u64, Status)>,
    checked: Option<Arc<View>>,
}

impl Watch {
    fn learn(&mut self, hash: &Head, book: &Book) {
        let Some(written) = book.get(hash) else { return };
        for (key, value) in &written.puts {
            let Some(Noun::Todo(fact)) = saved::read(key, value) else { continue };
            match fact {
                TodoFact::Rank(item, round, status, rank) => {
                    raise(&mut self.items, item, (round, status));
                    raise(&mut self.todos, rank.todo, (round, status));
                }
                TodoFact::Act(_, act) => {
                    let (Deed::Mark { round, status } | Deed::Open { round, status }) = act.deed else { continue };
                    raise(&mut self.todos, act.todo, (round, status));
                    for item in act.items {
                        raise(&mut self.items, item, (round, status));
                    }
                }
                TodoFact::Item(..) | TodoFact::Seen(..) => {}
            }
        }
    }

    /// I4: what is shown is at least what the facts say that were ever kept here.
    fn judge(&self, view: &View) -> Result<(), Broken> {
        for (id, todo) in &view.todos {
            let shown = (todo.round, todo.status);
            let of_items = todo.origins.iter().filter_map(|origin| self.items.get(&origin.item));
            let least = of_items.chain(self.todos.get(id)).max().copied().unwrap_or((1, Status::Pending));
            if shown < least {
                return Err(Broken::new("I4", format!("{id:?} is shown as {shown:?}, and was {least:?}")));
            }
        }
        Ok(())
    }
}

fn raise<K: Ord>(floors: &mut BTreeMap<K, (u64, Status)>, key: K, to: (u64, Status)) {
    let floor = floors.entry(key).or_insert(to);
    *floor = to.max(*floor);
}

impl World {
    /// A daemon has opened its disk: what the disk holds, it holds.
    pub(crate) fn watch_risen(&mut self, d: usize) -> Result<(), Broken> {
        let device = &mut self.devices[d];
        let Some(replica) = device.replica.as_ref() else { return Ok(()) };
        let damaged: BTreeSet<_> = replica.library().damaged().iter().map(|(doc, _)| doc.clone()).collect();
        if !damaged.is_subset(&device.disk.holed) {
            return Err(Broken::new("I3", format!("device {d} cannot read {damaged:?}")));
        }
        for (doc, held) in device.disk.held.iter().filter(|(doc, _)| !damaged.contains(*doc)) {
            let read: BTreeSet<Head> =
                replica.library().get(doc).map(|doc| doc.sequence()).unwrap_or_default().into_iter().map(|c| c.2).collect();
            if !held.is_subset(&read) && !device.disk.holed.contains(doc) {
                return Err(Broken::new("I3", format!("device {d} opened {doc} with {} of {} changes", read.len(), held.len())));
            }
        }
        let mut watch = Watch::default();
        for (doc, held) in &device.disk.held {
            let document = replica.library().get(doc);
            let known: BTreeSet<Head> = document.map(|document| document.sequence()).unwrap_or_default().into_iter().map(|c| c.2).collect();
            held.intersection(&known).for_each(|hash| watch.learn(hash, &self.book));
        }
        device.watch = watch;
        Ok(())
    }

    /// A turn was kept: the replica holds nothing else.
    pub(crate) fn watch_kept(&mut self, d: usize, new: &[Head]) -> Result<(), Broken> {
        let device = &mut self.devices[d];
        new.iter().for_each(|hash| device.watch.learn(hash, &self.book));
        secrets::stand_apart(d, new, &self.book)?;
        let Some(replica) = device.replica.as_ref() else { return Ok(()) };
        for (doc, document) in replica.library().iter() {
            if let Some(lost) = document.heads().iter().find(|head| !device.disk.holds(doc, head)) {
                return Err(Broken::new("I3", format!("device {d} knows {} of {doc}, which it has not kept", short(lost))));
            }
        }
        let fleet = postcard::to_stdvec(replica.fleet()).expect("plain data");
        if !device.disk.kept.fleet.as_ref().is_some_and(|kept| kept.starts_with(&fleet)) {
            return Err(Broken::new("I3", format!("device {d} is in a fleet that it has not kept")));
        }
        Ok(())
    }

    /// A view is shown: it follows from what is kept, and equals the one that is computed anew.
    pub(crate) fn watch_shown(&mut self, d: usize) -> Result<(), Broken> {
        let now = self.now(d);
        let device = &mut self.devices[d];
        let Some(replica) = device.replica.as_ref() else { return Ok(()) };
        let view = replica.view();
        if device.watch.checked.as_ref().is_some_and(|checked| is_same(checked, &view)) {
            return Ok(());
        }
        device.watch.checked = Some(Arc::clone(&view));
        device.watch.judge(&view).map_err(|broken| Broken { what: format!("device {d}: {}", broken.what), ..broken })?;
        let anew = replica.view_from_scratch(now);
        differ(&view, &anew, device.jumped)
            .map_or(Ok(()), |what| Err(Broken::new("I13", format!("device {d} shows other {what} than its facts say"))))
    }

    /// Something is told: every change in it, and every head it names, has been kept.
    pub(crate) fn watch_told(&mut self, d: usize, message: &Message) -> Result<(), Broken> {
        let (doc, told) = match message {
            Message::Sync { doc, bytes, .. } => (doc, book::told_in_sync(bytes)),
            Message::Changes { doc, bytes } => (doc, book::told_in_changes(bytes)),
            Message::Heads(all) => {
                self.stir(d, "Heads")?;
                let (disk, replica) = (&self.devices[d].disk, self.devices[d].replica.as_ref());
                // Heads are told as of Hello; a document may have been outlived since, and nobody talks about it.
                let is_outlived = |doc: &DocId| replica.is_some_and(|replica| replica.library().is_outlived(doc));
                let lost = all
                    .iter()
                    .filter(|named| !is_outlived(&named.doc))
                    .find(|named| !named.heads.iter().all(|head| disk.holds(&named.doc, head)));
                return lost
                    .map_or(Ok(()), |lost| Err(Broken::new("I3", format!("device {d} names heads of {} that it has not kept", lost.doc))));
            }
            Message::Presence(presence) => return secrets::are_unseen(d, presence),
            Message::Members(_)
            | Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Secrets(_)
            | Message::Held { .. }
            | Message::Terms(_)
            | Message::Look { .. }
            | Message::Holding { .. }
            | Message::Bye(_) => return Ok(()),
        };
        self.stir(d, "Sync or Changes")?;
        let told = told.ok_or_else(|| Broken::new("I3", format!("device {d} tells of {doc} what is no change")))?;
        secrets::stand_apart(d, &told, &self.book)?;
        let lost = told.iter().find(|hash| !self.devices[d].disk.holds(doc, hash));
        lost.map_or(Ok(()), |lost| Err(Broken::new("I3", format!("device {d} tells {} of {doc}, which it has not kept", short(lost)))))
    }

    /// Somebody is answered: what the answer speaks of is shown.
    pub(crate) fn watch_reply(&mut self, d: usize, reply: &Reply) -> Result<(), Broken> {
        let Some(replica) = self.devices[d].replica.as_ref() else { return Ok(()) };
        let view = replica.view();
        let shown = match reply {
            Reply::Todo { id, .. } => view.todos.contains_key(id) || view.moved.contains_key(id),
            Reply::Listed(placed) => placed.iter().all(|one| view.todos.contains_key(&one.todo) || view.moved.contains_key(&one.todo)),
            Reply::Sessions { sessions, .. } => sessions.iter().all(|session| view.sessions.contains_key(session)),
            Reply::Beat { session, .. } => view.sessions.contains_key(session),
            Reply::Paired { device, .. } => view.devices.get(device).is_some_and(|device| device.member),
            Reply::Invited { .. }
            | Reply::Tried(_)
            | Reply::WindowClosed
            | Reply::Removed { .. }
            | Reply::Tagged { .. }
            | Reply::Renamed { .. }
            | Reply::Left
            | Reply::Pong { .. }
            | Reply::Rescanning
            | Reply::Paused { .. }
            | Reply::Resting { .. }
            | Reply::Checked(_)
            | Reply::Document(_)
            | Reply::Refused(_) => true,
        };
        if shown { Ok(()) } else { Err(Broken::new("I3", format!("device {d} answered {reply:?} and does not show it"))) }
    }
}

/// Whether nothing that follows from facts changed from one view to the next: maps that share their root are equal.
fn is_same(a: &View, b: &View) -> bool {
    let facts = a.todos.ptr_eq(&b.todos) && a.moved.ptr_eq(&b.moved) && a.conflicts.ptr_eq(&b.conflicts);
    facts && a.agents.ptr_eq(&b.agents) && a.sessions.ptr_eq(&b.sessions)
}

/// What two views of the same facts show differently. A sign of life is shown by the wall clock of the moment it was heard
/// at; where that clock `jumped` since, it would be another one now.
pub(crate) fn differ(a: &View, b: &View, jumped: bool) -> Option<String> {
    let sign = |a: Option<i64>, b: Option<i64>| match (a, b) {
        (Some(a), Some(b)) => jumped || (a - b).abs() <= SAME_SIGN_MS,
        (a, b) => a == b,
    };
    let same_agent = |a: &AgentView, b: &AgentView| {
        a.state == b.state && a.beat == b.beat && sign(a.sign_here, b.sign_here) && sign(a.progress_here, b.progress_here)
    };
    if let Some((id, _)) = a.todos.iter().find(|(id, todo)| b.todos.get(*id) != Some(*todo)) {
        return Some(format!("todos: {id:?} is {:?}, anew {:?}", a.todos.get(id), b.todos.get(id)));
    }
    if a.todos.len() != b.todos.len() {
        return Some("todos: some are missing".into());
    }
    if a.moved != b.moved {
        return Some(format!("moved todos: {:?}, anew {:?}", a.moved, b.moved));
    }
    if a.conflicts != b.conflicts {
        return Some(format!("conflicts: {:?}, anew {:?}", a.conflicts, b.conflicts));
    }
    if a.agents.len() != b.agents.len()
        || a.agents.iter().any(|(key, agent)| b.agents.get(key).is_none_or(|other| !same_agent(agent, other)))
    {
        return Some(format!("agents: {:?}, anew {:?}", a.agents, b.agents));
    }
    (a.sessions != b.sessions).then(|| format!("sessions: {:?}, anew {:?}", a.sessions, b.sessions))
}

pub(crate) fn short(head: &Head) -> String {
    head[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
