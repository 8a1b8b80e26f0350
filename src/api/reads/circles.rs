//! Todos that wait for one another in a circle: none of them ever becomes ready, and without a word nobody would notice why.

use std::collections::{BTreeMap, BTreeSet};

use super::todos::is_open;
use crate::model::id::TodoId;
use crate::model::view::View;

/// Circles that are named in one answer; when one is mended the next one shows.
const NAMED_MAX: usize = 8;
/// Letters of a todo that are shown of it in a circle.
const LETTERS_MAX: usize = 60;

/// Circles among the open todos, each in the order of waiting. Every one that is given is one; where several share todos, not all
/// of them are given.
fn circles(view: &View) -> Vec<Vec<TodoId>> {
    let waits = waits(view);
    let (mut found, mut done) = (Vec::new(), BTreeSet::new());
    for (start, blockers) in &waits {
        if done.contains(start) {
            continue;
        }
        let mut path = vec![(*start, blockers.iter())];
        let mut on_path = BTreeSet::from([*start]);
        while let Some((at, blockers)) = path.last_mut() {
            match blockers.next() {
                None => {
                    done.insert(*at);
                    on_path.remove(at);
                    path.pop();
                }
                Some(next) if on_path.contains(next) => {
                    found.push(path.iter().map(|(id, _)| *id).skip_while(|id| id != next).collect());
                }
                Some(next) => {
                    if let Some(more) = waits.get(next).filter(|_| !done.contains(next)) {
                        on_path.insert(*next);
                        path.push((*next, more.iter()));
                    }
                }
            }
        }
    }
    found
}

/// What each open todo waits for, as it is now: what moved is where its items are.
fn waits(view: &View) -> BTreeMap<TodoId, BTreeSet<TodoId>> {
    let here = |id: &TodoId| view.moved.get(id).map_or_else(|| vec![*id], |places| places.to_vec());
    let open = view.todos.values().filter(|todo| !todo.blocked_by.is_empty() && is_open(view, &todo.id));
    open.map(|todo| (todo.id, todo.blocked_by.iter().flat_map(here).filter(|id| is_open(view, id)).collect())).collect()
}

/// One line for each circle, for people and programs.
pub(crate) fn named(view: &View) -> Vec<String> {
    let name = |id: &TodoId| {
        let text = view.todos.get(id).map(|todo| todo.content.plain()).unwrap_or_default();
        let short: String = text.chars().take(LETTERS_MAX).collect();
        format!("“{short}”")
    };
    let line = |circle: &Vec<TodoId>| {
        let names: Vec<String> = circle.iter().chain(circle.first()).map(name).collect();
        format!("circle: {}; none of them becomes ready", names.join(" waits for "))
    };
    circles(view).iter().take(NAMED_MAX).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, todo};
    use crate::model::todo::Status;
    use crate::model::view::TodoView;
    use std::sync::Arc;

    fn waiting(text: &str, status: Status, blockers: &[&str]) -> TodoView {
        let blocked_by = blockers.iter().map(|of| todo("p", of, Status::Pending).id).collect();
        TodoView { blocked_by, ..todo("p", text, status) }
    }

    fn lines(rows: Vec<TodoView>) -> Vec<String> {
        named(&rows.into_iter().fold(Fleet::new(), Fleet::todo).0)
    }

    #[test]
    fn a_circle_is_named_and_a_chain_is_none() {
        use Status::{Completed, Pending};
        let chain: Vec<TodoView> = (0..3000).map(|n| waiting(&n.to_string(), Pending, &[&(n + 1).to_string()])).collect();
        assert_eq!(lines(chain), Vec::<String>::new());
        let diamond = vec![waiting("a", Pending, &["b", "c"]), waiting("b", Pending, &["d"]), waiting("c", Pending, &["d"])];
        assert_eq!(lines(diamond), Vec::<String>::new());
        let two = || vec![waiting("a", Pending, &["b"]), waiting("b", Pending, &["a"]), waiting("before", Pending, &["a"])];
        let told = lines(two());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("“a” waits for “b”") && !told[0].contains("before"), "{told:?}");
        let mended = vec![waiting("a", Completed, &["b"]), waiting("b", Pending, &["a"])];
        assert_eq!(lines(mended), Vec::<String>::new(), "what is done waits for nothing");
    }

    #[test]
    fn a_circle_is_seen_through_what_moved() {
        let (a, old) = (waiting("a", Status::Pending, &["old"]), todo("p", "old", Status::Pending).id);
        let b = waiting("b", Status::Pending, &["a"]);
        let mut fleet = Fleet::new().todo(a).todo(b.clone());
        fleet.0.moved.insert(old, Arc::new([b.id]));
        assert_eq!(named(&fleet.0).len(), 1);
    }
}
