//! What happens between devices: chains, thieves, clones, slow ways, long sleeps.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use hubless::model::beat::Reported;
use hubless::model::id::{DeviceId, DocId};
use hubless::model::limits::HEARTBEAT_CHANGES_MAX;
use hubless::model::todo::Status;
use hubless::model::view::AgentState;
use hubless::rules::members;

use super::super::chance::Chance;
use super::super::plan::{DiskFault, Moment, Word};
use super::super::world::{MS, World};
use super::{SECOND, add, add_without_waiting, cut_off, done, end, general, join_up, noise, ok, revoke, state, wait, world};

fn agents(world: &World, d: usize) -> Vec<(DeviceId, AgentState)> {
    let view = world.devices[d].replica.as_ref().expect("it runs").view();
    view.agents.iter().map(|(key, agent)| (key.device, agent.state)).collect()
}

fn are_equal(world: &World, a: usize, b: usize) -> bool {
    let heads = |d: usize| world.devices[d].replica.as_ref().map(|replica| replica.library().heads());
    heads(a) == heads(b)
}

#[test]
fn both_hellos_cross_a_change() {
    let mut world = world(2);
    for n in 0..24 {
        world.connect(0, 1);
        ok(&mut world, |world| world.pass(n * 400));
        add_without_waiting(&mut world, 0, &format!("a{n}"));
        add_without_waiting(&mut world, 1, &format!("b{n}"));
        // Far less than after what a silent talk begins again.
        wait(&mut world, 5);
        assert!(are_equal(&world, 0, 1), "after a change {} us into a link", n * 400);
    }
    end(&mut world);
}

#[test]
fn a_chain_relays() {
    let mut world = world(3);
    world.cuts.extend([(0, 2), (2, 0)]);
    world.reset(0, 2);
    wait(&mut world, 60);
    let x = add(&mut world, 0, "x");
    world.beat(0, 0, Word::Working(1));
    wait(&mut world, 1);
    assert_eq!(state(&world, 2, x), (1, Status::Pending));
    assert_eq!(agents(&world, 2), [(world.devices[0].id, AgentState::Working)], "presence is relayed");
    done(&mut world, 2, x);
    wait(&mut world, 1);
    assert_eq!(state(&world, 0, x), (1, Status::Completed));
    assert!(are_equal(&world, 0, 2));
    // The middle one sleeps: its ends know nothing of each other any more.
    world.sleep(1, 1_000 * SECOND);
    wait(&mut world, 60);
    assert_eq!(agents(&world, 2), [(world.devices[0].id, AgentState::Unknown)]);
    end(&mut world);
}

#[test]
fn a_thief_is_removed_and_adds_a_second_key() {
    let mut world = world(3);
    let (home, other, thief) = (0, 1, 2);
    let second = SigningKey::from_bytes(&[42; 32]);
    let second_id = DeviceId(second.verifying_key().to_bytes());
    cut_off(&mut world, home);
    wait(&mut world, 60);
    world.remove(home, thief);
    wait(&mut world, 1);
    // The thief, who has not heard, lets its second key in; the others, who have not either, believe it.
    let fleet = world.fleet.expect("all are in one");
    let parents = world.log([thief]).parents(&fleet, &world.devices[thief].id.0);
    let (_, entry) = members::add(&world.devices[thief].key.clone(), &parents, second_id);
    let thief_id = world.devices[thief].id;
    world.tell_members(other, thief_id, entry.clone());
    wait(&mut world, 2);
    assert!(world.log([other]).proves(&fleet, &second_id.0), "nobody there knows better yet");
    join_up(&mut world);
    wait(&mut world, 120);
    for d in [home, other] {
        let log = world.log([d]);
        assert!(!log.proves(&fleet, &second_id.0), "device {d} lets nobody in whom the thief let in");
        assert!(!log.proves(&fleet, &thief_id.0));
        assert!(log.proves(&fleet, &world.devices[home].id.0) && log.proves(&fleet, &world.devices[other].id.0));
    }
    // And it comes with its own key: the world fails if anything but members is told to it.
    let wire = world.connect_stranger(home, second_id, false);
    let mut entries = world.entries(home);
    entries.push(entry);
    world.say_as_stranger(wire, hubless::model::message::Message::Members(entries).frames());
    wait(&mut world, 2);
    end(&mut world);
    let view = world.devices[thief].replica.as_ref().expect("it runs").view();
    assert!(view.warnings.contains_key("removed"), "who is removed learns it");
}

#[test]
fn who_was_silent_for_ten_minutes_is_not_working() {
    let mut world = world(2);
    world.beat(0, 0, Word::Working(1));
    wait(&mut world, 2);
    assert_eq!(agents(&world, 1)[0].1, AgentState::Working);
    cut_off(&mut world, 0);
    wait(&mut world, 600);
    assert_eq!(agents(&world, 1)[0].1, AgentState::Unknown);
    // The other daemon restarts too, and knows nothing but documents.
    world.fall(1, MS);
    join_up(&mut world);
    for _ in 0..600 {
        ok(&mut world, |world| world.pass(200 * MS));
        let seen = if world.is_up(1) { agents(&world, 1) } else { Vec::new() };
        assert!(seen.iter().all(|(_, state)| *state != AgentState::Working), "its last word is ten minutes old");
    }
    assert_eq!(agents(&world, 1)[0].1, AgentState::Stale, "its device is there, and it is silent");
    world.beat(0, 0, Word::Tick);
    wait(&mut world, 1);
    assert_eq!(agents(&world, 1)[0].1, AgentState::Working);
    end(&mut world);
}

#[test]
fn a_sleep_of_four_hundred_days() {
    const DAY: u64 = 86_400 * SECOND;
    let mut world = world(3);
    let (x, y) = (add(&mut world, 0, "x"), add(&mut world, 2, "y"));
    wait(&mut world, 1);
    cut_off(&mut world, 2);
    wait(&mut world, 60);
    done(&mut world, 0, x);
    for d in 0..3 {
        world.sleep(d, 400 * DAY);
    }
    ok(&mut world, |world| world.pass(399 * DAY));
    world.wake(0);
    world.wake(1);
    let z = add(&mut world, 1, "z");
    wait(&mut world, 120);
    super::deed(&mut world, 0, hubless::model::ask::TodoDeed::Delete { id: y.to_string() }).expect("it is shown");
    join_up(&mut world);
    world.wake(2);
    done(&mut world, 2, y);
    wait(&mut world, 60);
    assert!(are_equal(&world, 0, 2) && are_equal(&world, 1, 2), "a minute after waking all is level");
    end(&mut world);
    assert_eq!((state(&world, 2, x), state(&world, 2, z)), ((1, Status::Completed), (1, Status::Pending)));
    assert_eq!(world.devices[2].disk.kept.documents.keys().filter(|doc| doc.as_str().starts_with("todos/")).count(), 2);
}

fn secrets(world: &World, d: usize) -> BTreeSet<[u8; 32]> {
    world.devices[d].replica.as_ref().expect("it runs").fleet().secrets.iter().copied().collect()
}

#[test]
fn a_year_long_sleeper_is_let_in_across_removals_and_the_removed_recognise_nobody() {
    const DAY: u64 = 86_400 * SECOND;
    let mut world = world(6);
    let (home, other, sleeper, lost, sold, stolen) = (0, 1, 2, 3, 4, 5);
    let x = add(&mut world, home, "x");
    wait(&mut world, 2);
    let first = secrets(&world, home);
    assert_eq!(first.len(), 1);
    world.sleep(sleeper, 400 * DAY);
    wait(&mut world, 60);
    // Two are removed by two devices, which tell each other; a third by one that nobody hears for a while.
    revoke(&mut world, home, lost);
    revoke(&mut world, other, sold);
    wait(&mut world, 2);
    cut_off(&mut world, other);
    wait(&mut world, 60);
    revoke(&mut world, other, stolen);
    for d in [home, other, lost, sold, stolen] {
        world.sleep(d, 400 * DAY);
    }
    ok(&mut world, |world| world.pass(399 * DAY));
    join_up(&mut world);
    for d in [home, other, lost, sold, stolen] {
        world.wake(d);
    }
    wait(&mut world, 60);
    assert_eq!((secrets(&world, home).len(), secrets(&world, home)), (4, secrets(&world, other)), "each removal added one");
    world.wake(sleeper);
    wait(&mut world, 60);
    assert!(are_equal(&world, home, sleeper) && are_equal(&world, other, sleeper), "a minute after waking all is level");
    assert_eq!(secrets(&world, sleeper), secrets(&world, home), "and it recognises the others again");
    let newest = |d: usize| *world.devices[d].replica.as_ref().expect("it runs").fleet().secrets.last().expect("a secret");
    for (gone, knows) in [(lost, 1), (sold, 2), (stolen, 3)] {
        assert!(secrets(&world, gone).len() <= knows, "device {gone} was told no secret that came with its removal or later");
        for d in [home, other, sleeper] {
            assert!(!secrets(&world, gone).contains(&newest(d)), "device {gone} recognises what device {d} announces");
        }
        let view = world.devices[gone].replica.as_ref().expect("it runs").view();
        assert!(view.warnings.contains_key("removed"), "device {gone} learns that it is removed");
    }
    done(&mut world, sleeper, x);
    wait(&mut world, 2);
    assert_eq!((state(&world, home, x), state(&world, stolen, x)), ((1, Status::Completed), (1, Status::Pending)));
    end(&mut world);
}

#[test]
fn five_devices_each_away_at_random_for_a_week() {
    const HOUR: u64 = 3_600 * SECOND;
    let mut world = world(5);
    world.turns_max = 120_000;
    let mut chance = Chance::of(2_026, "a week", 5);
    let (mut alone, mut todos) = (0, Vec::new());
    (0..5).for_each(|d| world.sleep(d, 200 * HOUR));
    // Every three hours some lids are opened for ten minutes; some of those have no network, or no power a moment later.
    for slot in 0..7 * 8 {
        let here: Vec<usize> = (0..5).filter(|_| chance.once_in(3)).collect();
        alone += u32::from(here.len() < 2);
        for d in &here {
            world.wake(*d);
            if chance.once_in(4) {
                cut_off(&mut world, *d);
            }
        }
        wait(&mut world, 60);
        for d in here.iter().copied() {
            todos.push(add(&mut world, d, &format!("of {d} in slot {slot}")));
            let todo = todos[chance.place(todos.len())];
            if super::shown(&world, d, todo).is_some() {
                done(&mut world, d, todo);
            }
            if chance.once_in(4) {
                world.fall(d, SECOND);
            }
        }
        wait(&mut world, 540);
        here.iter().for_each(|d| world.sleep(*d, 200 * HOUR));
        join_up(&mut world);
        ok(&mut world, |world| world.pass(3 * HOUR - 600 * SECOND));
    }
    assert!(alone > 10 && todos.len() > 50, "it was a week: {alone} times nobody met, {} todos", todos.len());
    (0..5).for_each(|d| world.wake(d));
    end(&mut world);
    for d in 1..5 {
        assert!(are_equal(&world, 0, d));
        for todo in &todos {
            assert_eq!(state(&world, d, *todo), state(&world, 0, *todo));
        }
    }
}

/// So many beats that the next one begins a new document, whose name is given.
fn beat_to_the_end_of_a_document(world: &mut World) -> DocId {
    world.beat(0, 1, Word::Waiting);
    wait(world, 1);
    for n in 2..HEARTBEAT_CHANGES_MAX {
        world.beat(0, 0, Word::Working(u8::try_from(n % 250).expect("small")));
        if n % 50 == 0 {
            wait(world, 1);
        }
    }
    wait(world, 1);
    DocId::parse(&format!("heartbeats/{}/2", world.devices[0].id)).expect("a good name")
}

fn beats_in(world: &World, d: usize, document: &DocId) -> usize {
    world.devices[d].replica.as_ref().expect("it runs").library().get(document).map_or(0, |document| document.keys().len())
}

#[test]
fn heartbeats_begin_a_new_document() {
    let mut world = world(2);
    let second = beat_to_the_end_of_a_document(&mut world);
    assert_eq!(beats_in(&world, 0, &second), 0, "the first one is not full yet");
    for n in 0..3 {
        world.beat(0, 0, Word::Working(n));
    }
    wait(&mut world, 5);
    for d in 0..2 {
        assert_eq!(beats_in(&world, d, &second), 2, "it began with every beat that still counts");
    }
    end(&mut world);
}

#[test]
fn crashes_amid_the_first_words_of_a_heartbeat_document() {
    let mut world = world(2);
    let second = beat_to_the_end_of_a_document(&mut world);
    world.beat(0, 0, Word::Working(1));
    world.beat(0, 0, Word::Working(2));
    let mut lost = 0;
    for n in 3..15 {
        world.devices[0].armed = Some((Moment::AmidKeep, 10));
        world.beat(0, 0, Word::Working(n));
        wait(&mut world, 2);
        // All that it begins with is one change, so that it is there or is not.
        let begun = beats_in(&world, 0, &second);
        assert!(begun == 0 || begun == 2, "{begun} of the two beats that count are in it");
        lost += u64::from(begun == 0);
    }
    assert!((1..12).contains(&lost), "{lost} of 12 crashes left nothing of it");
    world.devices[0].armed = None;
    world.beat(0, 0, Word::Working(20));
    wait(&mut world, 5);
    for d in 0..2 {
        assert_eq!(beats_in(&world, d, &second), 2, "it began with every beat that still counts");
    }
    end(&mut world);
}

#[test]
fn a_slow_way_and_nobody_says_that_there_is_room() {
    let mut world = world(2);
    let mut chance = Chance::of(7, "texts", 0);
    world.slow.insert((0, 1));
    world.roomless.insert((0, 1));
    for _ in 0..110 {
        let text = noise(&mut chance, 14_000);
        add_without_waiting(&mut world, 0, &text);
    }
    wait(&mut world, 2);
    let waiting = world.on_the_way(1);
    assert!(waiting < 1_500_000, "{waiting} bytes wait on one link; what has no room is not queued");
    assert!(!are_equal(&world, 0, 1));
    end(&mut world);
    assert_eq!(world.devices[1].replica.as_ref().expect("it runs").view().todos.len(), 110);
}

#[test]
fn a_cloned_disk_is_named() {
    let mut world = world(2);
    add(&mut world, 0, "x");
    wait(&mut world, 1);
    ok(&mut world, |world| world.befall_disk(0, DiskFault::Cloned));
    wait(&mut world, 100);
    let view = world.devices[1].replica.as_ref().expect("it runs").view();
    assert!(view.warnings.keys().any(|warning| warning.starts_with("clone/")), "{:?}", view.warnings);
    end(&mut world);
    assert_eq!(state(&world, 1, general("x")), (1, Status::Pending));
}

#[test]
fn a_stopped_daemon_leaves_its_last_words() {
    let mut world = world(2);
    world.beat(0, 0, Word::Working(1));
    wait(&mut world, 1);
    for _ in 0..3 {
        world.beat(0, 0, Word::Tick);
        wait(&mut world, 10);
    }
    world.give(0, 0, hubless::model::input::Input::Stopping);
    wait(&mut world, 1);
    world.fall(0, 1_000_000 * SECOND);
    wait(&mut world, 60);
    let view = world.devices[1].replica.as_ref().expect("it runs").view();
    let agent = view.agents.values().next().expect("it is known");
    assert_eq!((agent.beat.state, agent.state), (Reported::Working, AgentState::Unknown));
    end(&mut world);
}
