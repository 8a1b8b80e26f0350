//! What is asked more than once, with a key and without, and what is meant by a name.

use crate::model::ask::*;
use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::id::*;
use crate::model::reply::Reply;
use crate::model::time::Stamp;
use crate::model::todo::{ActFact, By, Deed};
use crate::replica::saved;
use std::collections::BTreeSet;

use super::node::*;

#[test]
fn the_same_key_twice_is_one_add() {
    let mut a = Node::new(1);
    let Reply::Todo { id, .. } = a.add(2, "x", Some("k1")) else { panic!() };
    a.ask(3, Ask::Todo(TodoAsk { what: TodoDeed::Done { id: id.to_string() }, agent: None, key: None }));
    a.add(4, "x", Some("k1"));
    let view = a.r.view();
    let todo = &view.todos[&id];
    println!("{:?} round {}", todo.status, todo.round);
    assert_eq!(todo.status, crate::model::todo::Status::Completed, "a retried request undid finished work");
}

#[test]
fn a_key_that_was_for_another_action_is_refused_on_every_later_day() {
    let mut a = Node::new(1);
    let Reply::Todo { id, .. } = a.add(2, "x", Some("k1")) else { panic!() };
    a.add(3, "x", None);
    let key = |what| Ask::Todo(TodoAsk { what, agent: None, key: Some("k1".into()) });
    let done = || TodoDeed::Done { id: id.to_string() };
    for t in [4, 21] {
        for what in [done(), TodoDeed::Add { content: "y".into(), project: None, priority: None }] {
            let Reply::Refused(refusal) = a.ask(t, key(what)) else { panic!("it was answered with the first one's answer") };
            assert_eq!((refusal.code.word(), refusal.code.status()), ("key-reused", 422));
        }
        assert!(matches!(a.add(t, "x", Some("k1")), Reply::Todo { id: same, created: false } if same == id), "the same again");
        assert_eq!(a.r.view().todos[&id].status, crate::model::todo::Status::Pending, "nothing was done");
        let _ = a.reopen(20);
    }
}

#[test]
fn a_project_is_meant_by_the_last_part_of_the_only_one_that_has_it() {
    let mut a = Node::new(1);
    let add = |a: &mut Node, t, content: &str, project: &str| {
        let what = TodoDeed::Add { content: content.into(), project: Some(project.into()), priority: None };
        a.ask(t, Ask::Todo(TodoAsk { what, agent: None, key: None }))
    };
    let project = |a: &Node, reply: &Reply| {
        let Reply::Todo { id, .. } = reply else { panic!("{reply:?}") };
        a.r.view().todos[id].project.clone()
    };
    let first = add(&mut a, 2, "one", "example.org/lena/api-server");
    assert_eq!(project(&a, &first), "example.org/lena/api-server");
    for typed in ["api-server", "API-server", "example.org/lena/api-server"] {
        let reply = add(&mut a, 3, typed, typed);
        assert_eq!(project(&a, &reply), "example.org/lena/api-server", "{typed}");
    }
    let fresh = add(&mut a, 4, "two", "server");
    assert_eq!(project(&a, &fresh), "server", "a part of a name is none");
    add(&mut a, 5, "three", "example.org/acme/api-server");
    let Reply::Refused(refusal) = add(&mut a, 6, "four", "api-server") else { panic!("two are called so") };
    assert_eq!(refusal.did_you_mean, ["example.org/acme/api-server", "example.org/lena/api-server"]);
    assert_eq!((refusal.code.exit(), a.r.view().todos.len()), (6, 6));
}

/// Versions before kept no word of what was asked.
#[test]
fn an_action_that_does_not_say_what_it_answered_still_answers() {
    let mut a = Node::new(1);
    let Reply::Todo { id, .. } = a.add(2, "x", Some("k1")) else { panic!() };
    let unique = ActId::of(&[b"key", &a.r.me.device.0, b"k2"]);
    let (by, at) = (By { device: a.r.me.device, agent: None, session: None }, Stamp::at(3));
    let deed = Deed::Mark { round: 1, status: crate::model::todo::Status::InProgress };
    let act = ActFact { todo: id, items: BTreeSet::new(), deed, by, at, undoes: None, asked: None };
    let mut value: serde_json::Value = serde_json::from_str(&saved::json(&act)).unwrap();
    assert_eq!(value.get("asked"), None, "it is written as it ever was");
    value["later"] = serde_json::json!({"a": "field that we do not know"});
    assert!(saved::is_fact(&FactKey::Act(unique), &value.to_string()), "and a field more makes it no stranger");
    a.r.write("todos/2026-10", &[(FactKey::Act(unique), value.to_string())], &mut Effects::default());
    a.r.learn_changed(now(4));
    let done = TodoDeed::Done { id: id.to_string() };
    let reply = a.ask(5, Ask::Todo(TodoAsk { what: done, agent: None, key: Some("k2".into()) }));
    assert!(matches!(reply, Reply::Todo { created: false, .. }), "{reply:?}");
}
