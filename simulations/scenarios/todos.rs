//! What people do on devices that are apart: nothing finished comes undone, and nothing that was said is lost.

use hubless::model::ask::{Ask, Keeping, TodoDeed};
use hubless::model::id::DocId;
use hubless::model::limits::SHARD_BYTES_MAX;
use hubless::model::reply::{Code, Reply};
use hubless::model::text::Foreign;
use hubless::model::todo::Status;

use super::super::chance::Chance;
use super::super::plan::DiskFault;
use super::{add, add_without_waiting, cut_off, deed, done, edit, end, general, noise, reopen, shown, state, wait, world};

#[test]
fn added_again_after_done() {
    let mut world = world(2);
    let x = add(&mut world, 0, "x");
    wait(&mut world, 1);
    cut_off(&mut world, 1);
    done(&mut world, 0, x);
    done(&mut world, 1, x);
    assert_eq!(add(&mut world, 0, "x"), x);
    end(&mut world);
    for d in 0..2 {
        assert_eq!(state(&world, d, x), (2, Status::Pending), "the other device finished the round before");
    }
}

#[test]
fn crossed_edits() {
    let mut world = world(2);
    let x = add(&mut world, 0, "x");
    wait(&mut world, 1);
    cut_off(&mut world, 1);
    edit(&mut world, 0, x, "by the first");
    done(&mut world, 0, general("by the first"));
    wait(&mut world, 1);
    edit(&mut world, 1, x, "by the second");
    end(&mut world);
    for d in 0..2 {
        assert_eq!(
            state(&world, d, general("by the second")),
            (1, Status::Completed),
            "the later edit, with what was done under the other"
        );
        assert_eq!(shown(&world, d, general("by the first")), None);
        let view = world.devices[d].replica.as_ref().expect("it runs").view();
        let conflict = view.conflicts.values().find(|conflict| conflict.field == "content").expect("the loser's text is kept");
        assert_eq!((conflict.remote.value.json(), conflict.local.value.json()), ("by the first", "by the second"));
    }
    deed(&mut world, 0, TodoDeed::Resolve { id: general("by the second").to_string(), keep: Keeping::Remote })
        .expect("one conflict is open");
    end(&mut world);
    assert_eq!(state(&world, 1, general("by the first")), (1, Status::Completed));
}

#[test]
fn undo_of_a_reopen() {
    let mut world = world(2);
    let x = add(&mut world, 0, "x");
    done(&mut world, 0, x);
    wait(&mut world, 1);
    reopen(&mut world, 1, x);
    wait(&mut world, 1);
    cut_off(&mut world, 1);
    deed(&mut world, 0, TodoDeed::Undo { id: x.to_string() }).expect("there is something to undo");
    deed(&mut world, 1, TodoDeed::Start { id: x.to_string() }).expect("it is open there");
    end(&mut world);
    for d in 0..2 {
        assert_eq!(state(&world, d, x), (2, Status::Completed), "undo completes the round that reopen began");
    }
}

#[test]
fn two_full_shards_merged() {
    let mut world = world(2);
    let mut chance = Chance::of(7, "texts", 0);
    add(&mut world, 0, "the first");
    wait(&mut world, 1);
    cut_off(&mut world, 1);
    let count = SHARD_BYTES_MAX / 8_000;
    for n in 0..count {
        if n == count * 7 / 8 {
            // How little noise is compressed is seen when the documents are saved afresh, after the rush.
            wait(&mut world, 10);
        }
        for d in 0..2 {
            let text = noise(&mut chance, 16_000);
            add_without_waiting(&mut world, d, &text);
        }
    }
    wait(&mut world, 2);
    let second = DocId::parse("todos/2026-11.2").expect("a good name");
    for d in 0..2 {
        assert!(world.devices[d].disk.kept.documents.contains_key(&second), "device {d} goes on in the next shard");
    }
    end(&mut world);
    for d in 0..2 {
        assert_eq!(world.devices[d].replica.as_ref().expect("it runs").view().todos.len(), 2 * count + 1);
    }
}

#[test]
fn a_clock_a_year_ahead_edits_and_then_others_edit() {
    const YEAR_MS: i64 = 365 * 86_400_000;
    let mut world = world(2);
    let x = add(&mut world, 1, "x");
    wait(&mut world, 1);
    (world.devices[0].wrong_ms, world.devices[0].jumped) = (YEAR_MS, true);
    edit(&mut world, 0, x, "from next year");
    done(&mut world, 0, general("from next year"));
    wait(&mut world, 1);
    edit(&mut world, 1, general("from next year"), "from today");
    reopen(&mut world, 1, general("from today"));
    wait(&mut world, 1);
    end(&mut world);
    for d in 0..2 {
        assert_eq!(state(&world, d, general("from today")), (2, Status::Pending), "who edits later wins, whatever the clocks say");
    }
    let today = world.now(1).wall_ms;
    let view = world.devices[1].replica.as_ref().expect("it runs").view();
    let own = |by: &hubless::model::todo::By| by.device == world.devices[1].id;
    let stamps = view.todos.values().flat_map(|todo| todo.history.iter()).filter(|happened| own(&happened.by)).map(|happened| happened.at);
    assert!(stamps.max().expect("it did something") <= today + 600_000, "its own stamps are not pulled a year ahead");
}

#[test]
fn a_full_disk_refuses_and_forgets_nothing() {
    let mut world = world(2);
    let x = add(&mut world, 0, "x");
    wait(&mut world, 1);
    super::ok(&mut world, |world| world.befall_disk(0, DiskFault::Full(20_000)));
    let refusal = deed(&mut world, 0, TodoDeed::Add { content: Foreign::new("y"), project: None, priority: None });
    assert_eq!(refusal.expect_err("the disk is full").code, Code::Storage);
    done(&mut world, 1, x);
    wait(&mut world, 90);
    assert_eq!(state(&world, 0, x), (1, Status::Completed), "it recovers by itself");
    add(&mut world, 0, "z");
    end(&mut world);
}

#[test]
fn a_restored_store_takes_a_new_life_and_loses_nothing() {
    let mut world = world(2);
    let x = add(&mut world, 0, "x");
    super::ok(&mut world, |world| world.befall_disk(0, DiskFault::Copied));
    done(&mut world, 0, x);
    wait(&mut world, 1);
    for n in 0..3 {
        world.fall(0, 1_000);
        wait(&mut world, 2);
        // In the life whose number the restored copy will use again: two changes of one actor must not have one number (I5).
        add(&mut world, 0, &format!("in a later life {n}"));
    }
    super::ok(&mut world, |world| world.befall_disk(0, DiskFault::Restored));
    wait(&mut world, 10);
    add(&mut world, 0, "y");
    end(&mut world);
    assert_eq!(state(&world, 0, x), (1, Status::Completed), "what was lost here comes back from the peer");
    let view = world.devices[0].replica.as_ref().expect("it runs").view();
    assert!(view.warnings.contains_key("restored"), "and is named");
}

#[test]
fn who_is_alone_and_loses_its_documents_is_still_a_member() {
    let mut world = super::World::new(&super::Plan { seed: 7, devices: 2, steps: Vec::new(), exclude: false }, false);
    world.start(0);
    world.start(1);
    wait(&mut world, 1);
    for _ in 0..2 {
        super::ok(&mut world, |world| world.befall_disk(0, DiskFault::DocumentsDeleted));
        wait(&mut world, 1);
    }
    super::ok(&mut world, |world| world.pair_surely(0, 1));
    wait(&mut world, 10);
    // And so is who loses them in a fleet, with nobody there to tell them again.
    cut_off(&mut world, 1);
    super::ok(&mut world, |world| world.befall_disk(1, DiskFault::DocumentsDeleted));
    wait(&mut world, 1);
    let fleet = world.devices[1].replica.as_ref().expect("it runs").fleet().id;
    assert_eq!(world.log([1]).members(&fleet).len(), 2);
    end(&mut world);
}

#[test]
fn an_export_is_the_same_on_every_device() {
    let mut world = world(3);
    let x = add(&mut world, 0, "x");
    done(&mut world, 1, x);
    end(&mut world);
    let mut export = |d| super::ok(&mut world, |world| world.answer(d, Ask::Export));
    let (Reply::Document(a), Reply::Document(b)) = (export(0), export(2)) else { panic!("an export is a document") };
    assert_eq!(a, b);
}
