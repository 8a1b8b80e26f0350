//! What stayed and may leave now is written again, into the documents that are told; the local one keeps its copy.
//!
//! What was done by one deed leaves together, and nothing leaves that names what nobody was told of: so it is asked again and
//! again, with what stays, until no more does.

use std::collections::BTreeSet;

use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::todo::{List, TodoFact};

use super::machine::Replica;
use super::saved::{self, Noun};
use super::staying::LOCAL;

/// A fact of a local document.
struct Local {
    name: String,
    key: FactKey,
    value: String,
    /// When the deed was done that it is of, if it is of one.
    deed: Option<i64>,
}

impl Replica {
    /// Writes what may leave now into the documents that are told.
    pub(super) fn release(&mut self, out: &mut Effects) {
        if !std::mem::take(&mut self.staying.release) {
            return;
        }
        self.staying.items.clear();
        self.staying.acts.clear();
        self.staying.unread = false;
        let mut leaving = self.local_facts();
        let mut deeds = BTreeSet::new();
        loop {
            let before = leaving.len();
            leaving.retain(|fact| {
                let why = self.why_stays(&fact.key, &fact.value);
                let stays = why.is_some() || fact.deed.is_some_and(|at| deeds.contains(&at));
                if stays {
                    deeds.extend(fact.deed);
                    self.note_untold(&fact.key);
                }
                why.into_iter().for_each(|why| self.note_awaited(why));
                !stays
            });
            if leaving.len() == before {
                break;
            }
        }
        while let Some(Local { name, .. }) = leaving.first() {
            let name = name.clone();
            let (these, rest): (Vec<Local>, Vec<Local>) = leaving.into_iter().partition(|fact| fact.name == name);
            leaving = rest;
            let facts = self.library.untold(these.into_iter().map(|fact| (fact.key, fact.value)).collect());
            if !facts.is_empty() {
                self.write_into(&name, &facts, out);
            }
        }
    }

    fn note_untold(&mut self, key: &FactKey) {
        if let FactKey::Item(item) = key {
            self.staying.items.insert(*item);
        } else if let FactKey::Act(act) = key {
            self.staying.acts.insert(*act);
        }
    }

    fn local_facts(&mut self) -> Vec<Local> {
        let mut all = Vec::new();
        for (id, facts) in self.library.local() {
            let Some(name) = id.base().strip_prefix(LOCAL) else { continue };
            for (key, joined) in facts.iter() {
                // Not what is outdone by a later one that was told: by us, or by a member in our name.
                let counts =
                    |value: &&str| key.is_once() || self.library.facts().get(key).is_some_and(|all| all.values().any(|one| one == *value));
                for value in joined.values().filter(counts) {
                    let deed = saved::read(key, value).as_ref().and_then(deed_at);
                    all.push(Local { name: name.to_owned(), key: key.clone(), value: value.to_owned(), deed });
                }
            }
        }
        all
    }
}

/// When the deed was done that a fact is of: what a person or an agent added by hand, and every action.
fn deed_at(noun: &Noun) -> Option<i64> {
    let Noun::Todo(fact) = noun else { return None };
    match fact {
        TodoFact::Act(_, act) => Some(act.at.ms),
        TodoFact::Item(_, item) => matches!(item.list, List::Person { .. }).then_some(item.first_seen),
        TodoFact::Rank(.., rank) => rank.by.session.is_none().then_some(rank.at),
        TodoFact::Seen(..) => None,
    }
}
