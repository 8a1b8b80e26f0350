//! Undo only adds: it says something new that brings back what was, and never removes the word it takes back (T3).
//!
//! | taken back | written |
//! |---|---|
//! | completed, cancelled | the next round, with the highest lower status that anybody said in that round |
//! | in progress | the next round, pending; if the todo was finished meanwhile, nothing changes |
//! | a new round | that round is what the round before was: finished, or deleted |
//! | delete | the next round, with the status of the deleted one |
//! | a field set | the value that counts without it, rev + 1 |
//! | a conflict settled | the same action again, which, having `undoes`, means that the conflict is open |

use std::collections::{BTreeMap, BTreeSet};

use super::deeds::{Writer, next, place_of};
use super::state::{Group, Setting, Source};
use crate::model::id::{ActId, ItemId, TodoId};
use crate::model::reply::{Code, Refusal};
use crate::model::text::Foreign;
use crate::model::todo::{ActFact, Deed, Field, Status};

/// Takes back the latest deed on a todo that is no undo and was not undone: its latest (at, id) action, with the others that
/// came of the same deed (one stamp, one author). Says where the todo is then, and whether a round of it began.
pub(super) fn undo(writer: &mut Writer<'_>, todo: TodoId) -> Result<(TodoId, bool), Refusal> {
    let group = writer.todos.group(todo);
    let undone = &writer.todos.facts.undone;
    let mut acts: Vec<(ActId, &ActFact)> = group.acts.clone();
    acts.retain(|(id, fact)| fact.undoes.is_none() && !undone.contains(id));
    let Some(last) = acts.iter().max_by_key(|(id, fact)| (fact.at, *id)).map(|(_, fact)| *fact) else {
        return Err(Refusal::new(Code::NothingToUndo, format!("Nothing was done to the todo {} that could be undone.", todo.short(8)))
            .because("What lists say is not undone: the list is changed, or the todo done or reopened."));
    };
    let (mut now, mut opens) = (todo, false);
    for (n, (id, fact)) in acts.iter().filter(|(_, fact)| fact.at == last.at && fact.by == last.by).enumerate() {
        let part = if n == 0 { String::new() } else { id.to_string() };
        if let Deed::Set { field, .. } = &fact.deed {
            now = unset(writer, &group, (*id, fact), *field, &part)?.unwrap_or(now);
            continue;
        }
        let deed = opposite(&group, *id, fact)?;
        opens |= matches!(deed, Deed::Open { .. });
        writer.act(&part, todo, group.items.keys().copied().collect(), deed, Some(*id));
    }
    Ok((now, opens))
}

fn opposite(group: &Group<'_>, id: ActId, fact: &ActFact) -> Result<Deed, Refusal> {
    let now = group.state();
    Ok(match &fact.deed {
        Deed::Mark { status: Status::Pending | Status::InProgress, .. } if now.1.is_finished() => {
            Deed::Mark { round: now.0, status: now.1 }
        }
        Deed::Mark { round, status } => {
            let before = highest_in(group, *round, id, |said| said < *status);
            Deed::Open { round: next(now.0)?, status: before.unwrap_or(Status::Pending) }
        }
        Deed::Delete { round } => {
            let before = highest_in(group, *round, id, |_| true);
            Deed::Open { round: next(now.0)?, status: before.unwrap_or(Status::Pending) }
        }
        Deed::Open { round, .. } if was_deleted(group, *round) => Deed::Delete { round: *round },
        Deed::Open { round, .. } => {
            let before = highest_in(group, round.saturating_sub(1), id, Status::is_finished);
            Deed::Mark { round: *round, status: before.unwrap_or(Status::Completed) }
        }
        Deed::Set { .. } | Deed::Resolve { .. } => fact.deed.clone(),
    })
}

/// The highest status that anybody but `except` said in a round.
fn highest_in(group: &Group<'_>, round: u64, except: ActId, which: impl Fn(Status) -> bool) -> Option<Status> {
    let words = group.words().filter(|word| word.round == round && word.source != Source::Act(except));
    words.map(|word| word.status).filter(|status| which(*status)).max()
}

/// Whether the round before was hidden when this one was opened.
fn was_deleted(group: &Group<'_>, round: u64) -> bool {
    group.acts.iter().any(|(_, fact)| matches!(fact.deed, Deed::Delete { round: of } if of + 1 == round))
}

/// Writes the values that count without an action, for the items that it named; says where the todo is then, if it moved.
fn unset(
    writer: &mut Writer<'_>,
    group: &Group<'_>,
    (id, fact): (ActId, &ActFact),
    field: Field,
    part: &str,
) -> Result<Option<TodoId>, Refusal> {
    let rev = next(group.field_rev(field))?;
    // What was undone, and what undid it, are no values to go back to.
    let undone = &writer.todos.facts.undone;
    let stands = |setting: &Setting<'_>| setting.fact.undoes.is_none() && !undone.contains(&setting.id);
    let others = || group.settings(field).filter(|setting| setting.id != id && stands(setting));
    if field != Field::Content {
        let former = others().max_by_key(Setting::order).map(|setting| setting.value.clone());
        let value = former.or_else(|| group.listed_value(field)).unwrap_or_default();
        writer.act(part, group.id, group.items.keys().copied().collect(), Deed::Set { field, value, rev }, Some(id));
        return Ok(None);
    }
    // Only the items that the edit named go back: it may have brought them to others that always said this.
    let mut former: BTreeMap<Foreign, BTreeSet<ItemId>> = BTreeMap::new();
    for (item, held) in group.items.iter().filter(|(item, _)| fact.items.contains(item)) {
        let edit = others().filter(|setting| setting.fact.items.contains(item)).max_by_key(Setting::order);
        former.entry(edit.map_or(&held.fact.text, |setting| setting.value).clone()).or_default().insert(*item);
    }
    let todo = former.keys().next().map(|text| place_of(group, text));
    for (n, (value, items)) in former.into_iter().enumerate() {
        let part = if n == 0 { part.to_owned() } else { format!("{part}\n{}", value.json()) };
        writer.act(&part, group.id, items, Deed::Set { field, value, rev }, Some(id));
    }
    Ok(todo)
}
