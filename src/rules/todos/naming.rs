//! A todo is named by its whole id or any beginning of it that fits no other; a name from before its items moved leads to
//! where they are.

use std::collections::BTreeSet;

use super::conflicts;
use super::known::{Found, Todos};
use crate::model::id::TodoId;
use crate::model::reply::{Code, Refusal};
use crate::model::view::Conflict;

/// Letters of an id that candidates are shown with.
const LETTERS: usize = 8;
/// How many names are offered.
const OFFERED: usize = 3;

/// The todo that was meant: among those that hold items, else among the names whose items moved.
pub(super) fn todo(todos: &Todos, typed: &str) -> Result<TodoId, Refusal> {
    let typed = typed.trim();
    let here: Vec<TodoId> = match typed.parse() {
        Ok(whole) => Vec::from_iter((todos.find(whole) == Found::Here).then_some(whole)),
        Err(_) => todos.index.held.keys().copied().filter(|todo| todo.begins_with(typed)).collect(),
    };
    let found = if here.is_empty() { moved(todos, typed) } else { here };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(unknown(todos, typed)),
        _ => Err(ambiguous(typed, "todos", found.iter().map(|todo| todo.short(LETTERS)).collect())),
    }
}

/// Where the items are that facts once named so.
fn moved(todos: &Todos, typed: &str) -> Vec<TodoId> {
    let names: BTreeSet<TodoId> = match typed.parse() {
        Ok(whole) => BTreeSet::from([whole]),
        Err(_) => {
            let names = todos.index.ranks_of.keys().chain(todos.index.acts_of.keys());
            names.copied().filter(|todo| todo.begins_with(typed)).collect()
        }
    };
    let mut places = BTreeSet::new();
    for name in names {
        match todos.find(name) {
            Found::Elsewhere(todo) => places.extend([todo]),
            Found::Several(several) => places.extend(several),
            Found::Here | Found::Nowhere => {}
        }
    }
    places.into_iter().collect()
}

/// The conflict that was meant: its own id, or a todo with exactly one that is open.
pub(super) fn conflict(todos: &Todos, typed: &str) -> Result<Conflict, Refusal> {
    let typed = typed.trim();
    let as_todo = todo(todos, typed);
    if let Ok(todo) = as_todo {
        let open: Vec<Conflict> = of(todos, todo).into_iter().filter(|conflict| !conflict.resolved).collect();
        return only(typed, open).unwrap_or_else(|| Err(no_conflict(&format!("The todo {typed} has no open conflict."))));
    }
    let all = todos.index.held.keys().flat_map(|todo| of(todos, *todo));
    let meant = only(typed, all.filter(|conflict| conflict.id.begins_with(typed)).collect());
    meant.unwrap_or_else(|| match as_todo {
        Err(several) if several.code == Code::AmbiguousId => Err(several),
        _ => Err(no_conflict(&format!("No todo and no conflict begins with {typed:?}."))),
    })
}

fn of(todos: &Todos, todo: TodoId) -> Vec<Conflict> {
    conflicts::of(&todos.facts, &todos.group(todo))
}

fn only(typed: &str, mut meant: Vec<Conflict>) -> Option<Result<Conflict, Refusal>> {
    if meant.len() > 1 {
        return Some(Err(ambiguous(typed, "conflicts", meant.iter().map(|conflict| conflict.id.short(LETTERS)).collect())));
    }
    meant.pop().map(Ok)
}

fn no_conflict(what: &str) -> Refusal {
    Refusal::new(Code::ConflictNotFound, what).fix("hubless todos conflicts")
}

fn ambiguous(typed: &str, what: &str, candidates: Vec<String>) -> Refusal {
    let mut refusal = Refusal::new(Code::AmbiguousId, format!("{typed:?} means {} {what}.", candidates.len()));
    refusal.fix = Some("type more letters of the one you mean".to_owned());
    refusal.did_you_mean = candidates;
    refusal
}

/// Names those whose ids begin most alike, if any begins alike at all.
fn unknown(todos: &Todos, typed: &str) -> Refusal {
    let typed_id = typed.to_ascii_lowercase();
    let typed_id = typed_id.strip_prefix("t-").unwrap_or(&typed_id);
    let alike = |todo: &TodoId| {
        let id = todo.to_string();
        id.trim_start_matches("t-").bytes().zip(typed_id.bytes()).take_while(|(a, b)| a == b).count()
    };
    let mut near: Vec<(usize, TodoId)> = todos.index.held.keys().map(|todo| (alike(todo), *todo)).filter(|(n, _)| *n > 0).collect();
    near.sort_by_key(|(letters, todo)| (std::cmp::Reverse(*letters), *todo));
    let mut refusal = Refusal::new(Code::TodoNotFound, format!("no todo “{typed}”")).fix("hubless todos list");
    refusal.did_you_mean = near.into_iter().take(OFFERED).map(|(_, todo)| todo.short(LETTERS)).collect();
    refusal
}
