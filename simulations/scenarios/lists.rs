//! What tools' lists may never do: take back what was done, reopen what was finished, or get lost in a crash.

use hubless::model::ask::Ask;
use hubless::model::fact::FactKey;
use hubless::model::id::ItemId;
use hubless::model::session::session_id;
use hubless::model::text::Foreign;
use hubless::model::todo::{List, Status};
use hubless::model::view::SourceView;

use super::super::plan::{DiskFault, FileDeed, Moment};
use super::{SECOND, add, cut_off, done, end, general, join_up, list, ok, reopen, shown, state, wait, world};

fn item(world: &super::World, d: usize, session: &str, text: &str) -> ItemId {
    let session_id = session_id(&world.devices[d].id, "claude", session);
    List::Session { session: session_id, agent: Foreign::new(session) }.item(text)
}

#[test]
fn reopened_and_then_the_index_is_deleted() {
    let mut world = world(2);
    list(&mut world, 0, "s1", &[("x", Status::Completed)]);
    wait(&mut world, 1);
    reopen(&mut world, 1, general("x"));
    wait(&mut world, 1);
    for fault in [DiskFault::IndexDeleted, DiskFault::DocumentsDeleted] {
        ok(&mut world, |world| world.befall_disk(0, fault));
        wait(&mut world, 100);
        assert_eq!(state(&world, 0, general("x")), (2, Status::Pending), "the old list still says completed, of round 1, after {fault:?}");
    }
    end(&mut world);
    assert_eq!(state(&world, 1, general("x")), (2, Status::Pending));
}

#[test]
fn the_project_is_learned_after_done() {
    let mut world = world(2);
    list(&mut world, 0, "s1", &[("x", Status::Pending), ("y", Status::Pending)]);
    wait(&mut world, 1);
    done(&mut world, 1, general("x"));
    wait(&mut world, 1);
    world.devices[0].files.write(FileDeed::Transcript(1, 0), 0);
    list(&mut world, 0, "s1", &[("x", Status::Pending), ("y", Status::InProgress)]);
    end(&mut world);
    for d in 0..2 {
        assert_eq!(shown(&world, d, general("x")), None, "its items are in their project now");
        let view = world.devices[d].replica.as_ref().expect("it runs").view();
        let x = view.todos.values().find(|todo| todo.content == Foreign::new("x")).expect("it is somewhere");
        assert_eq!((x.round, x.status), (1, Status::Completed));
        assert_ne!(x.project, "general");
        assert_eq!(view.moved.get(&general("x")).map(|to| to.to_vec()), Some(vec![x.id]), "its old name leads there");
    }
}

#[test]
fn ids_that_restart_name_nothing() {
    let mut world = world(2);
    list(&mut world, 0, "s1", &[("x", Status::Completed)]);
    wait(&mut world, 1);
    list(&mut world, 0, "s1", &[("y", Status::Pending)]);
    wait(&mut world, 1);
    end(&mut world);
    for d in 0..2 {
        assert_eq!(state(&world, d, general("x")), (1, Status::Completed));
        assert_eq!(state(&world, d, general("y")), (1, Status::Pending), "another text under the same id is another todo");
        assert!(!shown(&world, d, general("x")).expect("it is shown").listed);
    }
}

#[test]
fn documents_deleted_beside_a_live_peer() {
    let mut world = world(2);
    list(&mut world, 0, "s1", &[("x", Status::InProgress), ("y", Status::Pending)]);
    let z = add(&mut world, 0, "z");
    wait(&mut world, 1);
    done(&mut world, 1, general("x"));
    done(&mut world, 0, z);
    wait(&mut world, 1);
    cut_off(&mut world, 0);
    ok(&mut world, |world| world.befall_disk(0, DiskFault::DocumentsDeleted));
    wait(&mut world, 5);
    assert_eq!(state(&world, 0, general("x")), (1, Status::InProgress), "its own list is read again");
    join_up(&mut world);
    end(&mut world);
    for d in 0..2 {
        assert_eq!(state(&world, d, general("x")), (1, Status::Completed));
        assert_eq!(state(&world, d, z), (1, Status::Completed), "what nobody lists comes back from the peer");
    }
}

#[test]
fn a_crash_between_the_parts_of_a_cold_ingest() {
    for (at, moment) in (1..).zip([Moment::AmidKeep, Moment::AfterKeep, Moment::BeforeKeep, Moment::AmidKeep, Moment::AmidTell]) {
        let mut world = world(2);
        world.fall(0, 1_000 * SECOND);
        for n in 0..30 {
            let texts: Vec<String> = (0..8).map(|i| format!("{} of {n}", ["a", "b", "c", "d", "e", "f", "g", "h"][i])).collect();
            let items: Vec<(&str, Status)> = texts.iter().zip(0..).map(|(text, i)| (text.as_str(), Status::ALL[i % 4])).collect();
            list(&mut world, 0, &format!("s{n}"), &items);
        }
        world.start(0);
        for _ in 0..at {
            ok(&mut world, |world| world.pass(2_500));
            world.devices[0].armed = Some((moment, 10));
            ok(&mut world, |world| world.pass(60_000));
        }
        end(&mut world);
        let replica = world.devices[1].replica.as_ref().expect("it runs");
        for n in 0..30 {
            let item = item(&world, 0, &format!("s{n}"), &format!("h of {n}"));
            assert!(replica.library().facts().get(&FactKey::Item(item)).is_some(), "every list is known on the other device");
        }
        let sources = replica.view().sources.clone();
        assert!(sources.values().all(|source: &std::sync::Arc<SourceView>| source.malformed == 0));
    }
}

#[test]
fn an_old_list_is_read_first_after_a_reopen() {
    let mut world = world(2);
    list(&mut world, 0, "s1", &[("x", Status::Completed)]);
    wait(&mut world, 1);
    reopen(&mut world, 0, general("x"));
    list(&mut world, 0, "s1", &[("x", Status::InProgress)]);
    wait(&mut world, 1);
    assert_eq!(state(&world, 1, general("x")), (2, Status::InProgress));
    cut_off(&mut world, 0);
    // A backup tool puts the old file back, and the store is lost: the first thing read says completed.
    world.devices[0].files.write(FileDeed::SetBack(1), 0);
    ok(&mut world, |world| world.befall_disk(0, DiskFault::DocumentsDeleted));
    wait(&mut world, 5);
    assert_eq!(state(&world, 0, general("x")), (1, Status::Completed));
    join_up(&mut world);
    end(&mut world);
    for d in 0..2 {
        assert_eq!(
            state(&world, d, general("x")),
            (2, Status::InProgress),
            "somebody reopened it, and an old copy cannot finish that round"
        );
    }
}

#[test]
fn an_older_copy_and_an_empty_list_say_nothing() {
    let mut world = world(2);
    list(&mut world, 0, "s1", &[("x", Status::Pending)]);
    wait(&mut world, 1);
    list(&mut world, 0, "s1", &[("x", Status::Completed)]);
    wait(&mut world, 1);
    for (n, deed) in [FileDeed::SetBack(1), FileDeed::Emptied(1), FileDeed::Torn(1), FileDeed::Deleted(1)].into_iter().enumerate() {
        let wall_ms = world.now(0).wall_ms;
        world.devices[0].files.write(deed, wall_ms);
        let _ = ok(&mut world, |world| world.answer(0, Ask::Rescan));
        wait(&mut world, 1);
        assert_eq!(state(&world, 1, general("x")), (1, Status::Completed), "after deed {n}");
        assert!(shown(&world, 1, general("x")).expect("it is shown").listed, "after deed {n}");
    }
    end(&mut world);
}
