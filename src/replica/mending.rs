//! Documents of which this disk lost something, and who gave it back.
//!
//! What was damaged while no daemon ran is cut out when the store is opened, and comes again with the next link that levels: **a loss is named until
//! somebody else was asked for it**, over restarts. Who held nothing of it gives nothing back; then what was damaged lies under `quarantine/`, whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::batch::{Keep, Shelf};
use crate::model::checkup::{FileDamaged, Repair};
use crate::model::effects::{Effects, Note};
use crate::model::id::{DeviceId, DocId};
use crate::model::view::Warning;

use super::link::Link;
use super::machine::Replica;

/// The front of the index rows that name a document which lost something. Without them only the name is lost.
const LACKING: &str = "lacking/";
/// Characters of a reason that are kept; a row has at most 4 KiB.
const WHY_MAX: usize = 300;

/// One document that lost something.
#[derive(Debug, Clone, Default)]
struct Loss {
    why: String,
    /// How many changes came from whom since this start.
    from: BTreeMap<DeviceId, u64>,
    /// Who has nothing more of it.
    asked: BTreeSet<DeviceId>,
}

/// All of them: those that still lack something, and those that do not any more.
#[derive(Debug, Default)]
pub(super) struct Mending {
    lacking: BTreeMap<DocId, Loss>,
    restored: BTreeMap<DocId, Loss>,
}

impl Mending {
    /// What the shelf lost at this opening, and what was named before it; `damaged`: what does not load as a document.
    pub(super) fn open<'d>(shelf: &dyn Shelf, damaged: impl Iterator<Item = (&'d DocId, String)>) -> Mending {
        let named = |key: &String| {
            let why = String::from_utf8_lossy(&shelf.get(key)?).into_owned();
            Some((DocId::parse(key.strip_prefix(LACKING)?)?, why))
        };
        let before = shelf.keys(LACKING);
        let all = before.iter().filter_map(named).chain(shelf.lost()).chain(damaged.map(|(doc, why)| (doc.clone(), why)));
        let loss = |why| Loss { why, ..Loss::default() };
        Mending { lacking: all.map(|(doc, why)| (doc, loss(why))).collect(), restored: BTreeMap::new() }
    }

    /// Whether something still lacks.
    pub(super) fn is_lacking(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// Changes of a document came from a device.
    pub(super) fn came(&mut self, doc: &DocId, changes: u64, from: DeviceId) {
        if let Some(loss) = self.lacking.get_mut(doc) {
            *loss.from.entry(from).or_default() += changes;
        }
    }
}

impl Replica {
    /// Names what was lost, until it is known to be back.
    pub(super) fn name_losses(&self, out: &mut Effects) {
        for (doc, loss) in &self.mending.lacking {
            let why: String = loss.why.chars().take(WHY_MAX).collect();
            out.keep.push(Keep::Index { key: format!("{LACKING}{doc}"), value: Some(why.into_bytes()) });
        }
    }

    /// What every link that is level has given back. Once somebody gave something, or everybody was asked, a document lacks nothing more that
    /// could be had.
    pub(super) fn mend(&mut self, out: &mut Effects) {
        if !self.mending.is_lacking() {
            return;
        }
        let others: BTreeSet<DeviceId> = self.others().collect();
        let is_settled = |link: &&Link| link.is_settled() && link.flow().takes;
        for link in self.links.values().filter(is_settled) {
            for (_, loss) in self.mending.lacking.iter_mut().filter(|(doc, _)| !link.held.contains_key(*doc)) {
                loss.asked.insert(link.device);
            }
        }
        let mended =
            |loss: &Loss| loss.from.keys().any(|from| loss.asked.contains(from)) || (!others.is_empty() && loss.asked.is_superset(&others));
        let over = self.mending.lacking.iter().filter(|(doc, loss)| {
            // What stays on this device nobody else has; what agents' files say of it was read again.
            mended(loss) || doc.is_local() || self.library.is_outlived(doc)
        });
        let over: Vec<DocId> = over.map(|(doc, _)| doc.clone()).collect();
        over.iter().for_each(|doc| self.close_loss(doc, out));
    }

    /// Somebody asked for a repair, and it has come to its end: what nobody in reach holds is not waited for any longer, nor where there is nobody else.
    pub(super) fn accept_losses(&mut self, out: &mut Effects) {
        let is_alone = self.others().next().is_none();
        let over = self.mending.lacking.iter().filter(|(_, loss)| is_alone || !loss.asked.is_empty());
        let over: Vec<DocId> = over.map(|(doc, _)| doc.clone()).collect();
        over.iter().for_each(|doc| self.close_loss(doc, out));
    }

    fn close_loss(&mut self, doc: &DocId, out: &mut Effects) {
        let Some(loss) = self.mending.lacking.remove(doc) else { return };
        let whose: Vec<String> = loss.from.iter().map(|(from, n)| format!("{n} changes from {}", self.name_of(from))).collect();
        let gave = if whose.is_empty() { "no other device held more of it".to_owned() } else { whose.join(", ") };
        out.note.push(Note::Mended { what: format!("document {doc}: {gave}") });
        out.keep.push(Keep::Index { key: format!("{LACKING}{doc}"), value: None });
        self.mending.restored.insert(doc.clone(), loss);
    }

    fn name_of(&self, device: &DeviceId) -> String {
        self.showing.view.device_name(device).plain()
    }

    /// What was found damaged when the store was opened, for who verifies.
    pub(super) fn losses(&self) -> Vec<FileDamaged> {
        let row = |doc: &DocId, loss: &Loss, is_over: bool| {
            let from = loss.from.iter().map(|(from, changes)| (self.name_of(from), *changes)).collect();
            let repair = match (is_over, doc.is_local()) {
                (false, _) => Repair::No { lacks: true },
                (true, true) => Repair::Sources,
                (true, false) => Repair::Devices(from),
            };
            FileDamaged { doc: doc.clone(), why: loss.why.clone(), repair }
        };
        let lacking = self.mending.lacking.iter().map(|(doc, loss)| row(doc, loss, false));
        lacking.chain(self.mending.restored.iter().map(|(doc, loss)| row(doc, loss, true))).collect()
    }

    /// The warning while something lacks.
    pub(super) fn lacking_warning(&self) -> Option<(String, Warning)> {
        let docs: Vec<&str> = self.mending.lacking.keys().map(DocId::as_str).collect();
        let what = format!("the disk damaged {}: what was lost of it has not come back from another device yet", docs.join(", "));
        let fix = match self.others().next() {
            Some(_) => "hubless sync verify --repair, while another device is in reach".to_owned(),
            None => "hubless sync verify --repair, which says so for the last time; there is no other device that could have it".to_owned(),
        };
        (!docs.is_empty()).then(|| ("lacking".to_owned(), Warning { what, fix: Some(fix) }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversations::{Node, pair, talk, up};
    use super::*;
    use crate::model::ask::{Ask, TodoAsk, TodoDeed};
    use crate::model::checkup::Task;
    use crate::model::id::{Asker, Collection, LinkId};
    use crate::model::input::Input;
    use crate::model::reply::Reply;

    fn add(node: &mut Node, t: u64, text: &str) {
        let what = TodoDeed::Add { content: text.into(), project: None, priority: None };
        let _ = node.ask(t, Ask::Todo(TodoAsk { what, agent: None, key: None }));
    }

    /// What a check says is damaged, once it is over.
    fn verify(node: &mut Node, t: u64) -> Vec<FileDamaged> {
        check(node, t, false)
    }

    fn check(node: &mut Node, mut t: u64, repair: bool) -> Vec<FileDamaged> {
        let ask = Ask::Check { device: None, task: Task::Verify { repair } };
        let mut out = node.step(t, Input::Ask(Asker(9), ask));
        loop {
            for doc in std::mem::take(&mut out.inspect) {
                let bytes = node.kept.documents.get(&doc).cloned();
                out.absorb(node.step(t, Input::Shelved(doc, bytes)));
            }
            if let Some((_, Reply::Checked(found))) = out.reply.pop() {
                return found.damaged;
            }
            t += 20;
            out.absorb(node.step(t, Input::Tick));
        }
    }

    #[test]
    fn a_loss_is_named_over_restarts_until_another_device_gave_it_back() {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        pair(&mut a, &mut b);
        (0..5).for_each(|n| add(&mut a, 2, &format!("todo {n}")));
        let (to_a, to_b) = up(&mut a, &mut b, LinkId(1), 3);
        talk(&mut a, &mut b, LinkId(1), 3, to_a, to_b, 1_000);
        assert_eq!(b.r.view().todos.len(), 5);
        let doc = a.kept.documents.keys().find(|doc| doc.collection() == Collection::Todos).expect("one").clone();
        // No byte of it is a document any more.
        a.kept.documents.get_mut(&doc).expect("there").fill(0);
        let _ = a.reopen(10_000);
        assert_eq!(a.r.view().todos.len(), 0);
        let _ = a.reopen(20_000);
        let found = verify(&mut a, 20_100);
        assert_eq!(found.iter().map(|file| (&file.doc, &file.repair)).collect::<Vec<_>>(), [(&doc, &Repair::No { lacks: true })]);
        assert!(a.r.view().warnings.contains_key("lacking"), "and a person is told");
        let (to_a, to_b) = up(&mut a, &mut b, LinkId(2), 40_000);
        talk(&mut a, &mut b, LinkId(2), 40_000, to_a, to_b, 1_000);
        assert_eq!(a.r.view().todos.len(), 5);
        let found = verify(&mut a, 40_100);
        let [FileDamaged { repair: Repair::Devices(from), .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(from.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["n2"]);
        assert!(!a.r.view().warnings.contains_key("lacking"));
        let _ = a.reopen(60_000);
        assert_eq!(verify(&mut a, 60_100), [], "that it is back is said once");
    }

    #[test]
    fn what_nobody_else_held_is_said_to_have_come_from_nobody() {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        pair(&mut a, &mut b);
        let (to_a, to_b) = up(&mut a, &mut b, LinkId(1), 3);
        talk(&mut a, &mut b, LinkId(1), 3, to_a, to_b, 1_000);
        let _ = a.reopen(9_000);
        add(&mut a, 9_001, "of a alone");
        let doc = a.kept.documents.keys().find(|doc| doc.collection() == Collection::Todos).expect("one").clone();
        a.kept.documents.get_mut(&doc).expect("there").fill(0);
        let _ = a.reopen(10_000);
        let _ = b.reopen(10_000);
        let (to_a, to_b) = up(&mut a, &mut b, LinkId(2), 11_000);
        talk(&mut a, &mut b, LinkId(2), 11_000, to_a, to_b, 1_000);
        let found = verify(&mut a, 11_100);
        assert_eq!(found.iter().map(|file| &file.repair).collect::<Vec<_>>(), [&Repair::Devices(Vec::new())]);
    }

    #[test]
    fn who_is_alone_is_told_of_a_loss_until_it_asks_for_a_repair() {
        let mut a = Node::new(1);
        add(&mut a, 2, "of a alone");
        let doc = a.kept.documents.keys().find(|doc| doc.collection() == Collection::Todos).expect("one").clone();
        a.kept.documents.get_mut(&doc).expect("there").fill(0);
        let _ = a.reopen(10_000);
        let repairs = |found: Vec<FileDamaged>| found.into_iter().map(|file| file.repair).collect::<Vec<_>>();
        assert_eq!(repairs(verify(&mut a, 10_100)), [Repair::No { lacks: true }]);
        assert_eq!(repairs(check(&mut a, 10_200, true)), [Repair::Devices(Vec::new())]);
        let _ = a.reopen(20_000);
        assert_eq!((verify(&mut a, 20_100), a.r.view().warnings.contains_key("lacking")), (Vec::new(), false));
    }
}
