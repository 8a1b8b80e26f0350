//! Scenarios told by hand: what once went wrong somewhere, or would be worst. Each ends as every plan does: all faults over,
//! all devices equal.

mod flow;
mod links;
mod lists;
mod todos;

use hubless::model::ask::{Ask, TodoAsk, TodoDeed};
use hubless::model::id::TodoId;
use hubless::model::reply::{Refusal, Reply};
use hubless::model::text::Foreign;
use hubless::model::todo::{GENERAL, Status, todo_id};
use hubless::model::view::TodoView;

use super::chance::Chance;
use super::plan::Plan;
use super::world::{MS, World};

/// One second.
const SECOND: u64 = 1_000 * MS;

/// A world of so many paired devices.
fn world(devices: u8) -> World {
    let mut world = World::new(&Plan { seed: 7, devices, steps: Vec::new(), exclude: false }, super::is_loud());
    ok(&mut world, World::found);
    world
}

/// Does something that no invariant may break in; the trace is told if one does.
fn ok<T>(world: &mut World, what: impl FnOnce(&mut World) -> Result<T, super::oracle::Broken>) -> T {
    match what(world) {
        Ok(done) => done,
        Err(broken) => {
            for line in world.trace.last() {
                eprintln!("{line}");
            }
            panic!("{broken}");
        }
    }
}

/// Seconds pass.
fn wait(world: &mut World, seconds: u64) {
    ok(world, |world| world.pass(seconds * SECOND));
}

/// All faults end, and all devices agree.
fn end(world: &mut World) {
    ok(world, World::heal);
    ok(world, World::finally);
}

/// A person asks, and is answered.
fn deed(world: &mut World, d: usize, what: TodoDeed) -> Result<TodoId, Refusal> {
    let reply = ok(world, |world| world.answer(d, Ask::Todo(TodoAsk { what, agent: None, key: None })));
    match reply {
        Reply::Todo { id, .. } => Ok(id),
        Reply::Refused(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

fn add(world: &mut World, d: usize, text: &str) -> TodoId {
    deed(world, d, TodoDeed::Add { content: Foreign::new(text), project: None, priority: None }).expect("a text can be added")
}

fn add_without_waiting(world: &mut World, d: usize, text: &str) {
    let what = TodoDeed::Add { content: text.into(), project: None, priority: None };
    world.ask(d, Ask::Todo(TodoAsk { what, agent: None, key: None }));
}

fn done(world: &mut World, d: usize, todo: TodoId) {
    deed(world, d, TodoDeed::Done { id: todo.to_string() }).expect("a todo can be done");
}

fn reopen(world: &mut World, d: usize, todo: TodoId) {
    deed(world, d, TodoDeed::Reopen { id: todo.to_string() }).expect("a todo can be reopened");
}

fn edit(world: &mut World, d: usize, todo: TodoId, text: &str) -> TodoId {
    let what = TodoDeed::Edit { id: todo.to_string(), content: Some(Foreign::new(text)), owner: None, priority: None };
    deed(world, d, what).expect("a todo can be edited")
}

/// The todo of a text whose project nobody knows.
fn general(text: &str) -> TodoId {
    todo_id(GENERAL, &Foreign::new(text))
}

fn shown(world: &World, d: usize, todo: TodoId) -> Option<std::sync::Arc<TodoView>> {
    world.devices[d].replica.as_ref()?.view().todos.get(&todo).cloned()
}

/// (round, status) as a device shows it.
fn state(world: &World, d: usize, todo: TodoId) -> (u64, Status) {
    shown(world, d, todo).map(|todo| (todo.round, todo.status)).expect("the todo is shown")
}

/// A tool writes the list of a session, and the watcher notices.
fn list(world: &mut World, d: usize, session: &str, items: &[(&str, Status)]) {
    let element = |(text, status): &(&str, Status)| format!("{{\"content\":\"{text}\",\"status\":\"{}\",\"id\":\"1\"}}", status.word());
    let bytes = format!("[{}]", items.iter().map(element).collect::<Vec<_>>().join(","));
    let wall_ms = world.now(d).wall_ms;
    let hint = world.devices[d].files.put_list(session, bytes, wall_ms);
    world.give(d, MS, hubless::model::input::Input::Source(hint));
}

/// A person shuts a device out.
fn revoke(world: &mut World, by: usize, whom: usize) {
    world.removed.insert(whom);
    let device = world.devices[whom].id.to_string();
    let reply = ok(world, |world| world.answer(by, Ask::Revoke { device, forget: false }));
    assert!(matches!(reply, Reply::Removed { .. }), "{reply:?}");
}

/// Nothing goes between a device and all others.
fn cut_off(world: &mut World, d: usize) {
    for other in (0..world.devices.len()).filter(|other| *other != d) {
        world.cuts.extend([(d, other), (other, d)]);
    }
}

/// All goes again.
fn join_up(world: &mut World) {
    world.cuts.clear();
    world.thaw();
}

/// A text that can hardly be made shorter.
fn noise(chance: &mut Chance, len: usize) -> String {
    data_encoding::BASE64.encode(&chance.bytes(len * 3 / 4))
}
