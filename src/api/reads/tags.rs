//! Tags, and the topics that they make: by hand, as people and agents gave them to todos and sessions, and by keyword (`tags.keywords`). A session
//! has its own, those of what it names, and those of its todos.
//!
//! What was given by hand is a fact and the same on every device; a keyword is a setting of this device, and what follows from it
//! is computed here, where it is shown. The shape of `/api/topic` follows the one that the replaced hub counted in its status.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::envelope::iso_or_null;
use crate::api::problem::Problem;
use crate::model::text::Foreign;
use crate::model::todo::{Status, tag_key};
use crate::model::view::{SessionView, TodoView, View};

/// The tags whose word stands in a text, as a word of its own, in either case.
fn named(view: &View, texts: &[&Foreign]) -> BTreeSet<String> {
    if view.keywords.is_empty() {
        return BTreeSet::new();
    }
    let texts: Vec<String> = texts.iter().map(|text| text.json().to_lowercase()).collect();
    let fits = |word: &str| texts.iter().any(|text| stands_in(text, word));
    view.keywords.iter().filter(|(_, word)| fits(word)).map(|(tag, _)| tag.clone()).collect()
}

/// Whether a word stands in a text with no letter or digit of another word beside it.
fn stands_in(text: &str, word: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| ends(text[..at].chars().next_back()) && ends(text[at + word.len()..].chars().next()))
}

/// The tags of a todo.
pub(crate) fn of_todo(view: &View, todo: &TodoView) -> BTreeSet<String> {
    let mut tags = named(view, &[&todo.content]);
    tags.extend(todo.tags.iter().map(|tag| tag.json().to_owned()));
    tags
}

/// The tags of a session.
pub(crate) fn of_session(view: &View, session: &SessionView) -> BTreeSet<String> {
    let texts: Vec<&Foreign> = session.fact.title.iter().chain(&session.fact.branch).collect();
    let mut tags = named(view, &texts);
    tags.extend(session.tags.iter().map(|tag| tag.json().to_owned()));
    let todos = session.todos.iter().filter_map(|id| view.todos.get(id)).filter(|todo| !todo.deleted);
    tags.extend(todos.flat_map(|todo| of_todo(view, todo)));
    tags
}

/// What has one tag.
#[derive(Default)]
struct Topic<'a> {
    sessions: Vec<&'a SessionView>,
    todos: Vec<&'a TodoView>,
}

fn gathered(view: &View) -> BTreeMap<String, Topic<'_>> {
    let mut topics: BTreeMap<String, Topic<'_>> = BTreeMap::new();
    for todo in view.todos.values().filter(|todo| !todo.deleted) {
        for tag in of_todo(view, todo) {
            topics.entry(tag).or_default().todos.push(todo);
        }
    }
    for session in view.sessions.values() {
        for tag in of_session(view, session) {
            topics.entry(tag).or_default().sessions.push(session);
        }
    }
    topics
}

fn row(name: &str, topic: &Topic<'_>) -> Value {
    let is_open = |todo: &&&TodoView| todo.listed && !todo.status.is_finished();
    let projects: BTreeSet<&str> = topic
        .todos
        .iter()
        .map(|todo| todo.project.as_str())
        .chain(topic.sessions.iter().filter_map(|session| session.fact.project.as_deref()))
        .collect();
    let last = topic.sessions.iter().map(|session| session.last_activity).chain(topic.todos.iter().map(|todo| todo.updated)).max();
    json!({
        "name": name,
        "conversations": topic.sessions.iter().map(|session| session.id).collect::<Vec<_>>(),
        "conversation_count": topic.sessions.len(),
        "projects": projects,
        "todos": topic.todos.iter().map(|todo| json!({"id": todo.id, "content": todo.content.json(), "status": todo.status.word()})).collect::<Vec<_>>(),
        "todo_count": topic.todos.len(),
        "active_todos": topic.todos.iter().filter(is_open).count(),
        "completed_todos": topic.todos.iter().filter(|todo| todo.status == Status::Completed).count(),
        "last_activity": iso_or_null(last),
    })
}

/// How many topics there are, and how many sessions have one.
pub(crate) fn counts(view: &View) -> Value {
    counted(&gathered(view))
}

fn counted(topics: &BTreeMap<String, Topic<'_>>) -> Value {
    let sessions: BTreeSet<_> = topics.values().flat_map(|topic| topic.sessions.iter().map(|session| session.id)).collect();
    json!({"categories": topics.len(), "total_conversations": sessions.len()})
}

/// `GET /api/topic`.
pub(crate) fn topics(view: &View) -> Value {
    let topics = gathered(view);
    let mut out = counted(&topics);
    out["topics"] = topics.iter().map(|(name, topic)| row(name, topic)).collect();
    out
}

/// `GET /api/topic/{name}`.
pub(crate) fn topic(view: &View, typed: &str) -> Result<Value, Problem> {
    let topics = gathered(view);
    let key = tag_key(&Foreign::new(typed));
    let found = topics.get_key_value(&key).map(|(name, topic)| row(name, topic));
    found.ok_or_else(|| {
        let near = super::find::nearest(&key, &topics.keys().cloned().collect::<Vec<_>>());
        let what = format!("nothing is tagged “{}”", Foreign::new(typed).plain());
        Problem::missing("topic-not-found", what)
            .perhaps(near)
            .fix("hubless todos tag ID TAG; hubless sessions tag ID TAG; or tags.keywords")
            .barely()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, leos, todo};
    use crate::model::view::SessionState;
    use quickcheck::quickcheck;
    use std::sync::Arc;

    #[test]
    fn by_hand_and_by_keyword_make_topics_of_todos_and_of_their_sessions() {
        let mut first = todo("github.com/acme/api-server", "Fix the OAuth login", Status::Pending);
        first.tags.insert("urgent".into());
        let (second, mut gone) = (todo("web", "Authors page", Status::Completed), todo("web", "oauth too", Status::Pending));
        gone.deleted = true;
        let mut fleet = Fleet::new().session(SessionState::Quiet, &[first.id]).todo(first.clone()).todo(second).todo(gone);
        fleet.0.keywords = Arc::new([("auth".into(), "oauth".into()), ("auth".into(), "auth".into()), ("leo".into(), "main".into())]);
        let told = topics(&fleet.0);
        assert_eq!((&told["categories"], &told["total_conversations"]), (&json!(3), &json!(1)));
        let names: Vec<&str> = told["topics"].as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
        assert_eq!(names, ["auth", "leo", "urgent"], "“Authors” names no one, and the branch does");
        let auth = topic(&fleet.0, " AUTH").expect("there");
        assert_eq!((&auth["conversations"], &auth["todo_count"], &auth["active_todos"]), (&json!([leos()]), &json!(1), &json!(1)));
        assert_eq!(auth["projects"], json!(["github.com/acme/api-server"]));
        let near = topic(&fleet.0, "urgnt").expect_err("none");
        assert_eq!((near.status, near.did_you_mean.clone()), (404, vec!["urgent".to_owned()]));
        let asked = |query: &str| crate::api::reads::answer(&fleet.0, 0, "disk", "/api/v3/todos", query).expect("todos")["total"].clone();
        assert_eq!((asked("tag=Urgent"), asked("tag=auth&session=7e1f"), asked("tag=none")), (json!(1), json!(1), json!(0)));
        assert_eq!(topics(&Fleet::busy().0), json!({"categories": 0, "total_conversations": 0, "topics": []}));
    }

    quickcheck! {
        fn a_word_stands_where_a_plain_split_finds_it(text: Vec<u8>, word: u8) -> bool {
            const LETTERS: [char; 6] = ['a', 'b', ' ', '-', 'ü', 'a'];
            let text: String = text.iter().map(|n| LETTERS[usize::from(*n) % 6]).collect();
            let word = ["a", "b", "ab", "ü"][usize::from(word) % 4];
            stands_in(&text, word) == text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
        }
    }
}
