//! From what was typed to what is meant: names, ids, and any unique beginning of an id.
//!
//! What fits nothing is a 404 with the nearest names; what fits several is a 409 that lists them. Nothing is guessed.

use std::sync::Arc;

use crate::api::problem::Problem;
use crate::model::id::{DeviceId, TodoId};
use crate::model::reply::Code;
use crate::model::view::{DeviceView, SessionView, TodoView, View};

/// How many names a problem proposes.
const PROPOSED_MAX: usize = 5;
/// How many letters of a todo's id are shown to tell several apart.
const ID_LETTERS: usize = 8;

/// The device of that name or id.
pub(crate) fn device<'a>(view: &'a View, typed: &str) -> Result<&'a Arc<DeviceView>, Problem> {
    let lower = typed.to_lowercase();
    let same_name = |d: &DeviceView| d.shown_name().json() == typed || d.name.json() == typed;
    let same_letters = |d: &DeviceView| d.name.normalised().to_lowercase() == lower;
    let same_id = |d: &DeviceView| d.id.begins_with(typed);
    let ways: [&dyn Fn(&DeviceView) -> bool; 3] = [&same_name, &same_letters, &same_id];
    for fits in ways {
        let all: Vec<_> = view.devices.values().filter(|d| fits(d)).collect();
        let members: Vec<_> = all.iter().copied().filter(|d| d.member).collect();
        match (members.as_slice(), all.as_slice()) {
            ([one], _) | ([], [one]) => return Ok(one),
            ([], []) => {}
            (several, _) => return Err(ambiguous(typed, "devices", several.iter().map(|d| label(d)).collect())),
        }
    }
    let names: Vec<String> = view.devices.values().filter(|d| d.member).map(|d| d.shown_name().plain()).collect();
    let cause = format!("this replica knows: {}", names.join(", "));
    let near = nearest(typed, &names);
    Err(Problem::of(Code::DeviceNotFound, format!("no device called “{typed}”")).because(cause).fix("hubless devices").perhaps(near))
}

fn label(device: &DeviceView) -> String {
    format!("{} ({})", device.name.plain(), device.id.short())
}

/// The todo of that id. An id that holds items means itself, else the one place where its items are now (DESIGN §5).
pub(crate) fn todo<'a>(view: &'a View, typed: &str) -> Result<&'a Arc<TodoView>, Problem> {
    let here: Vec<&TodoId> = view.todos.keys().filter(|id| id.begins_with(typed)).collect();
    let ids: Vec<TodoId> = match here.as_slice() {
        [] => {
            let mut places: Vec<TodoId> =
                view.moved.iter().filter(|(id, _)| id.begins_with(typed)).flat_map(|(_, to)| to.iter().copied()).collect();
            places.sort_unstable();
            places.dedup();
            places
        }
        some => some.iter().map(|id| **id).collect(),
    };
    match ids.as_slice() {
        [one] => view.todos.get(one).ok_or_else(|| no_todo(view, typed)),
        [] => Err(no_todo(view, typed)),
        several => Err(ambiguous(typed, "todos", several.iter().map(|id| id.short(ID_LETTERS)).collect())),
    }
}

/// Who types words instead of an id means the todo that says them; a letter of an id may be wrong.
fn no_todo(view: &View, typed: &str) -> Problem {
    let words = typed.to_lowercase();
    let says = |todo: &&Arc<TodoView>| words.chars().count() > 2 && todo.content.normalised().to_lowercase().contains(&words);
    let mut near: Vec<String> = view.todos.values().filter(says).map(|todo| todo.id.short(ID_LETTERS)).take(PROPOSED_MAX).collect();
    if near.is_empty() {
        near = near_ids(typed, view.todos.keys().map(|id| id.short(ID_LETTERS)));
    }
    Problem::of(Code::TodoNotFound, format!("no todo “{typed}”")).fix("hubless todos").perhaps(near)
}

/// Ids of which one letter, or the order of two, is another.
fn near_ids(typed: &str, ids: impl Iterator<Item = String>) -> Vec<String> {
    let long = typed.chars().count();
    let same_length = |id: &String| id.chars().take(long).collect::<String>();
    ids.filter(|id| long > 4 && distance(typed, &same_length(id)) <= 2).take(PROPOSED_MAX).collect()
}

/// The session of that id; the tool's own id of it is taken, too.
pub(crate) fn session<'a>(view: &'a View, typed: &str) -> Result<&'a Arc<SessionView>, Problem> {
    let ours: Vec<_> = view.sessions.values().filter(|s| s.id.begins_with(typed)).collect();
    let fits = if ours.is_empty() { view.sessions.values().filter(|s| s.fact.tool_session.json() == typed).collect() } else { ours };
    match fits.as_slice() {
        [one] => Ok(one),
        [] => {
            let near = near_ids(typed, view.sessions.values().map(|session| session.id.short(ID_LETTERS)));
            Err(Problem::missing("session-not-found", format!("no session “{typed}”")).fix("hubless sessions list").perhaps(near))
        }
        several => Err(ambiguous(typed, "sessions", several.iter().map(|s| s.id.short(ID_LETTERS)).collect())),
    }
}

fn ambiguous(typed: &str, kind: &str, mut fits: Vec<String>) -> Problem {
    let count = fits.len();
    fits.truncate(PROPOSED_MAX);
    let more = if count > PROPOSED_MAX { ", …" } else { "" };
    let detail = format!("“{typed}” matches {count} {kind} ({}{more})", fits.join(", "));
    Problem::of(Code::AmbiguousId, detail).fix("type more letters").perhaps(fits)
}

/// The names that are likely meant, nearest first.
pub(crate) fn nearest(typed: &str, names: &[String]) -> Vec<String> {
    let typed = typed.to_lowercase();
    let far = (typed.chars().count() / 3).max(2);
    let mut near: Vec<(usize, &String)> = names.iter().map(|name| (distance(&typed, &name.to_lowercase()), name)).collect();
    near.retain(|(d, name)| *d <= far || (!typed.is_empty() && name.to_lowercase().starts_with(&typed)));
    near.sort();
    near.dedup();
    near.into_iter().take(PROPOSED_MAX).map(|(_, name)| name.clone()).collect()
}

/// How many letters must be put, taken or changed to make one of the other (Levenshtein). Long texts are not names.
fn distance(a: &str, b: &str) -> usize {
    const NAME_LETTERS_MAX: usize = 64;
    let b: Vec<char> = b.chars().take(NAME_LETTERS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().take(NAME_LETTERS_MAX).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let change = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The id of the device that was asked for, for lists that are filtered by it.
pub(crate) fn device_id(view: &View, typed: Option<&str>) -> Result<Option<DeviceId>, Problem> {
    typed.map(|typed| device(view, typed).map(|device| device.id)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        for (a, b, far) in [("", "", 0), ("a", "", 1), ("mac-min", "mac-mini", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), far, "{a} {b}");
            assert_eq!(distance(b, a), far, "{b} {a}");
        }
    }

    #[test]
    fn an_id_with_a_wrong_letter_and_the_words_of_a_todo_are_understood() {
        use crate::api::fixture::Fleet;
        let fleet = Fleet::busy();
        let todo = fleet.0.todos.values().next().expect("a todo");
        let short = todo.id.short(ID_LETTERS);
        let wrong = format!("{}!", &short[..short.len() - 1]);
        let near = |typed: &str| super::todo(&fleet.0, typed).map(|todo| todo.id).expect_err("no such id").did_you_mean.clone();
        assert!(near(&wrong).contains(&short), "{wrong}: {:?}", near(&wrong));
        assert!(near(&todo.content.json().to_uppercase()).contains(&short));
        assert!(near("t-").is_empty() && near("zzzzzzzzzz").is_empty());
    }

    #[test]
    fn only_near_names_are_proposed() {
        let names: Vec<String> = ["mac-mini", "mbp-lena", "thinkpad"].map(String::from).to_vec();
        assert_eq!(nearest("mac-min", &names), ["mac-mini"]);
        assert_eq!(nearest("think", &names), ["thinkpad"]);
        assert!(nearest("zzzzz", &names).is_empty());
    }
}
