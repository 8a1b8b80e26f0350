//! Every word that was later than what counts, and does not count, is shown once, equal on every device: `local` is the
//! winner, `remote` the loser.
//!
//! A status is contested only where one side calls the todo finished and the other says something else: that one list has
//! begun what another has not is no conflict, nor is the same word said of an earlier round.

use super::facts::Facts;
use super::state::{Group, Held, Source, Word, word};
use crate::model::beat::agent_key;
use crate::model::id::{ConflictId, SessionId};
use crate::model::text::Foreign;
use crate::model::todo::{Contested, Deed, Field, SeenFact, Side, Status};
use crate::model::view::Conflict;

/// Bytes of the two texts that are kept of a settled conflict: six times as long in JSON, they fit into a fact.
const RECORD_BYTES_MAX: usize = 8 * 1024;

/// All conflicts of a todo that holds items, sorted by (field, id).
pub(super) fn of(facts: &Facts, group: &Group<'_>) -> Vec<Conflict> {
    if group.items.is_empty() {
        return Vec::new();
    }
    let mut all = of_status(facts, group);
    for field in [Field::Content, Field::Owner, Field::Priority] {
        all.extend(of_field(facts, group, field));
    }
    all.extend(settled_before(facts, group, &all));
    all.sort_by(|a, b| (&a.field, a.id).cmp(&(&b.field, b.id)));
    // Two values of one action's name make one record.
    all.dedup_by_key(|conflict| conflict.id);
    all
}

fn of_status(facts: &Facts, group: &Group<'_>) -> Vec<Conflict> {
    let state = group.state();
    let delete = group.deleted_by();
    let result = if delete.is_some() { "deleted" } else { state.1.word() };
    let make = |id: ConflictId, local: Side, remote: Side, rule| Conflict {
        id,
        todo: group.id,
        content: group.content(),
        field: "status".to_owned(),
        local,
        remote,
        rule,
        result: result.into(),
        resolved: facts.is_resolved(id),
    };
    let mut all = Vec::new();
    let winner = group.winner();
    for (item, held) in &group.items {
        let Some(seen) = held.seen.filter(|seen| seen.listed) else { continue };
        let id = name(&item.0, seen.round, "status");
        if let Some((_, delete)) = delete.filter(|(_, fact)| !seen.status.is_finished() && seen.at > fact.at.ms) {
            let local = Side { value: "deleted".into(), device: delete.by.device, session: delete.by.session, at: delete.at.ms };
            all.push(make(id, local, side_of_seen(held, seen), "deleted-stays"));
        } else if let Some(winner) = winner.filter(|winner| loses((seen.round, seen.status), state) && seen.at > winner.at) {
            let rule = if is_relisted(facts, &winner, held) { "relisted" } else { "completed-stays" };
            all.push(make(id, side(&winner), side_of_seen(held, seen), rule));
        }
    }
    let Some(winner) = winner else { return all };
    for loser in group.acts.iter().filter_map(|(id, fact)| word(*id, fact)) {
        let Source::Act(act) = loser.source else { continue };
        if loses((loser.round, loser.status), state) && loser.at > winner.at {
            all.push(make(name(&act.0, loser.round, "status"), side(&winner), side(&loser), "completed-stays"));
        }
    }
    all
}

/// What was settled and, by what settled it, is no conflict any more: it stays listed, and is open again when that is undone.
fn settled_before(facts: &Facts, group: &Group<'_>, open: &[Conflict]) -> Vec<Conflict> {
    let mut all: Vec<Conflict> = Vec::new();
    for (_, fact) in &group.acts {
        let Deed::Resolve { conflict: id, was: Some(was) } = &fact.deed else { continue };
        let here = fact.items.iter().any(|item| group.items.contains_key(item));
        let known = |field: &&str| ["status", "content", "owner", "priority"].contains(field);
        let rule = ["completed-stays", "relisted", "deleted-stays", "later-edit"].into_iter().find(|rule| *rule == was.rule);
        // Of several values the first one counts; acts come in the order of their names.
        let (Some(rule), Some(field)) = (rule, Some(was.field.as_str()).filter(known)) else { continue };
        if here && !open.iter().chain(&all).any(|conflict| conflict.id == *id) {
            all.push(Conflict {
                id: *id,
                todo: group.id,
                content: group.content(),
                field: field.to_owned(),
                local: was.local.clone(),
                remote: was.remote.clone(),
                rule,
                result: was.local.value.clone(),
                resolved: facts.is_resolved(*id),
            });
        }
    }
    all
}

/// What is kept of a conflict with what settles it.
pub(super) fn record(conflict: &Conflict) -> Option<Box<Contested>> {
    let texts = conflict.local.value.json().len() + conflict.remote.value.json().len();
    let Conflict { field, rule, local, remote, .. } = conflict.clone();
    (texts <= RECORD_BYTES_MAX).then(|| Box::new(Contested { field, rule: rule.to_owned(), local, remote }))
}

/// Whether a word is below the state and says something else of whether there is work left.
fn loses(said: (u64, Status), state: (u64, Status)) -> bool {
    said < state && said.1 != state.1 && (said.1.is_finished() || state.1.is_finished())
}

/// Whether another list began to list it after it was finished (T4).
fn is_relisted(facts: &Facts, winner: &Word<'_>, loser: &Held<'_>) -> bool {
    let same_list = match winner.source {
        Source::Item(item) => facts.items.get(&item).is_some_and(|item| item.list == loser.fact.list),
        Source::Act(_) => winner.by.session.is_some() && winner.by.session == session(loser),
    };
    winner.status.is_finished() && !same_list && loser.fact.first_seen > winner.at
}

fn of_field(facts: &Facts, group: &Group<'_>, field: Field) -> Vec<Conflict> {
    let Some(winner) = group.setting(field) else { return Vec::new() };
    let differs = |value: &Foreign| match field {
        Field::Content => !value.is_blank() && value.normalised() != winner.value.normalised(),
        // Case makes no other agent.
        Field::Owner => agent_key(value) != agent_key(winner.value),
        Field::Priority => value != winner.value,
    };
    let losers = group.settings(field).filter(|loser| loser.rev == winner.rev && differs(loser.value));
    let side = |setting: &super::state::Setting<'_>| Side {
        value: setting.value.clone(),
        device: setting.fact.by.device,
        session: setting.fact.by.session,
        at: setting.fact.at.ms,
    };
    losers
        .map(|loser| {
            let id = name(&loser.id.0, loser.rev, field.word());
            Conflict {
                id,
                todo: group.id,
                content: group.content(),
                field: field.word().to_owned(),
                local: side(&winner),
                remote: side(&loser),
                rule: "later-edit",
                result: winner.value.clone(),
                resolved: facts.is_resolved(id),
            }
        })
        .collect()
}

/// The name of a conflict: what lost, in which round (of a field: at which revision), of which field.
fn name(loser: &[u8; 16], round: u64, field: &str) -> ConflictId {
    ConflictId::of(&[loser, &round.to_le_bytes(), field.as_bytes()])
}

fn side(word: &Word<'_>) -> Side {
    Side { value: word.status.word().into(), device: word.by.device, session: word.by.session, at: word.at }
}

fn side_of_seen(held: &Held<'_>, seen: &SeenFact) -> Side {
    Side { value: seen.status.word().into(), device: seen.device, session: session(held), at: seen.at }
}

fn session(held: &Held<'_>) -> Option<SessionId> {
    held.fact.list.session()
}

#[cfg(test)]
mod tests {
    use super::super::raw::{Fixed, Raw, device, list, session as session_id, todos_of};
    use super::super::world::{World, reading_of};
    use super::*;
    use crate::model::id::ActId;
    use crate::model::time::Stamp;
    use crate::model::todo::{ActFact, By, TodoFact, todo_id};
    use crate::rules::todos::reading::read;
    use crate::rules::todos::{Settled, Todos};
    use quickcheck::quickcheck;
    use std::collections::BTreeSet;

    fn is_well_formed(settled: &Settled) -> bool {
        settled.conflicts.iter().all(|(todo, conflicts)| {
            let view = settled.todos.get(todo).and_then(Option::as_ref);
            let is_sorted = conflicts.windows(2).all(|pair| (&pair[0].field, pair[0].id) < (&pair[1].field, pair[1].id));
            let is_shown = view.is_none_or(|view| view.conflict == conflicts.iter().any(|conflict| !conflict.resolved));
            is_sorted && is_shown && conflicts.iter().all(|conflict| conflict.todo == *todo && view.is_some())
        })
    }

    /// What a status conflict says of the todo it is shown at.
    fn is_told_right(todos: &Todos, settled: &Settled, conflict: &Conflict) -> bool {
        let Some(Some(view)) = settled.todos.get(&conflict.todo) else { return false };
        let result = if view.deleted { "deleted" } else { view.status.word() };
        let local = if conflict.rule == "deleted-stays" { "deleted" } else { view.status.word() };
        // One that was settled tells what it was.
        conflict.field != "status"
            || todos.facts.resolves.contains_key(&conflict.id)
            || (conflict.result == result.into()
                && conflict.local.value == local.into()
                && conflict.remote.at > conflict.local.at
                && conflict.remote.value != conflict.local.value)
    }

    quickcheck! {
        fn every_conflict_is_told_once_in_order_and_right(raw: Raw) -> bool {
            let todos = todos_of(&raw.heard);
            let settled = todos.from_scratch();
            is_well_formed(&settled) && settled.conflicts.values().flatten().all(|conflict| is_told_right(&todos, &settled, conflict))
        }

        // In what honest devices write, a conflict is settled for good by what settles it.
        fn a_settled_conflict_is_not_open(world: World) -> bool {
            use crate::model::ask::TodoDeed;
            world.run_with(|deal| {
                let TodoDeed::Resolve { .. } = deal.deed else { return true };
                let (before, after) = (deal.before.from_scratch(), deal.after.from_scratch());
                let open = |settled: &Settled| -> BTreeSet<ConflictId> {
                    settled.conflicts.values().flatten().filter(|conflict| !conflict.resolved).map(|conflict| conflict.id).collect()
                };
                // Asked for of a conflict that was settled already, or by its todo: one that was open is not open now.
                deal.decision.facts.is_empty() || open(&before).difference(&open(&after)).next().is_some()
            }, |_, _| true).1
        }
    }

    #[test]
    fn what_one_list_has_begun_and_another_has_not_is_no_conflict() {
        let raw = Fixed::new();
        let begun = todos_of(&[raw.item(0), raw.rank(0, 1, Status::InProgress), raw.seen_at(0, Status::Pending, 9)]);
        assert!(begun.from_scratch().conflicts.values().all(Vec::is_empty));
        let done = todos_of(&[raw.item(0), raw.rank(0, 1, Status::Completed), raw.seen_at(0, Status::Pending, 9)]);
        assert_eq!(done.from_scratch().conflicts[&raw.todo(0).0].len(), 1);
        let earlier = todos_of(&[raw.item(0), raw.rank(0, 1, Status::Completed), raw.seen_at(0, Status::Pending, 1)]);
        assert!(earlier.from_scratch().conflicts.values().all(Vec::is_empty), "what was said before it was done is no conflict");
    }

    /// What the lists say, one after the other: (list, status, at); and what somebody did in between.
    fn rules_after(lists: &[(u8, Status, i64)], deeds: &[(Deed, Option<SessionId>, i64)]) -> Vec<&'static str> {
        let mut todos = Todos::default();
        let todo = todo_id("general", &"a".into());
        let act = |(deed, session, at): &(Deed, Option<SessionId>, i64)| {
            let by = By { device: device(9), agent: None, session: *session };
            let fact = ActFact { todo, items: BTreeSet::new(), deed: deed.clone(), by, at: Stamp::at(*at), undoes: None, asked: None };
            TodoFact::Act(ActId::of(&[&at.to_le_bytes()]), fact)
        };
        deeds.iter().map(act).for_each(|fact| todos.learn(fact));
        for (n, status, at) in lists {
            let facts = read(&todos, &list(*n), device(*n), &reading_of(&[(0, *status)]), *at, i64::MAX);
            facts.into_iter().for_each(|fact| todos.learn(fact));
        }
        todos.from_scratch().conflicts.remove(&todo).unwrap_or_default().iter().map(|conflict| conflict.rule).collect()
    }

    #[test]
    fn the_rule_tells_a_list_that_went_back_from_one_that_began_later() {
        use Status::{Completed, InProgress, Pending};
        let done = |session| (Deed::Mark { round: 1, status: Completed }, session, 5);
        assert_eq!(rules_after(&[(0, Completed, 5), (1, Pending, 9)], &[]), ["relisted"]);
        assert_eq!(rules_after(&[(1, InProgress, 3), (0, Completed, 5), (1, Pending, 9)], &[]), ["completed-stays"]);
        assert_eq!(rules_after(&[(1, Pending, 9)], &[done(None)]), ["relisted"]);
        assert_eq!(rules_after(&[(1, Pending, 9)], &[done(Some(session_id(1)))]), ["completed-stays"], "its own agent did it");
    }

    #[test]
    fn a_deleted_one_that_a_list_calls_finished_is_no_conflict() {
        let delete = || (Deed::Delete { round: 1 }, None, 5);
        assert_eq!(rules_after(&[(0, Status::Pending, 9)], &[delete()]), ["deleted-stays"]);
        assert!(rules_after(&[(0, Status::Completed, 9)], &[delete()]).is_empty());
        assert!(rules_after(&[(0, Status::Pending, 4)], &[delete()]).is_empty(), "it was listed before");
    }

    #[test]
    fn an_edit_after_another_is_no_conflict_and_a_crossed_one_is() {
        let own = |value: &str, rev, at| (Deed::Set { field: Field::Owner, value: value.into(), rev }, None, at);
        assert!(rules_after(&[(0, Status::Pending, 1)], &[own("sam", 1, 2), own("eva", 2, 3)]).is_empty());
        assert_eq!(rules_after(&[(0, Status::Pending, 1)], &[own("sam", 1, 2), own("eva", 1, 3)]), ["later-edit"]);
    }
}
