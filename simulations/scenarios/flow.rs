//! What is exchanged with whom, and when: pauses, one-way devices, schedules, devices that are not wanted.

use hubless::model::ask::Ask;
use hubless::model::peering::{PeerRule, Terms};
use hubless::model::reply::Reply;
use hubless::model::view::{AgentState, DeviceView};

use super::super::plan::Word;
use super::super::world::{MS, World};
use super::{SECOND, add, add_without_waiting, end, general, ok, shown, wait, world};

/// From when on a device goes by a rule for another: it starts anew.
fn configure(world: &mut World, d: usize, of: usize, rule: Option<PeerRule>) {
    let name = format!("device {}", world.devices[of].id.short());
    match rule {
        Some(rule) => drop(world.devices[d].peering.0.insert(name, rule)),
        None => drop(world.devices[d].peering.0.remove(&name)),
    }
    world.fall(d, MS);
    wait(world, 5);
}

fn rest(world: &mut World, d: usize, of: Option<usize>, rests: bool) {
    let device = of.map(|of| world.devices[of].id.to_string());
    let reply = ok(world, |world| world.answer(d, Ask::Rest { device, rests }));
    assert!(matches!(reply, Reply::Resting { .. }), "{reply:?}");
}

fn has(world: &World, d: usize, text: &str) -> bool {
    shown(world, d, general(text)).is_some()
}

fn seen(world: &World, d: usize, of: usize) -> DeviceView {
    let view = world.devices[d].replica.as_ref().expect("it runs").view();
    (*view.devices[&world.devices[of].id]).clone()
}

#[test]
fn a_pause_holds_over_a_restart_and_resuming_levels_at_once() {
    let mut world = world(3);
    wait(&mut world, 5);
    rest(&mut world, 0, Some(1), true);
    wait(&mut world, 3);
    // Not over the third one, either.
    super::cut_off(&mut world, 2);
    wait(&mut world, 60);
    add(&mut world, 0, "x");
    add(&mut world, 1, "y");
    world.beat(0, 0, Word::Working(1));
    wait(&mut world, 120);
    assert!(!has(&world, 1, "x") && !has(&world, 0, "y"), "nothing of documents goes either way");
    let shows = seen(&world, 0, 1);
    assert!(shows.flow.paused && shows.reachable && shows.link.is_some(), "{shows:?}");
    assert!(shows.they_miss.is_some_and(|n| n > 0) && shows.we_miss.is_none(), "{shows:?}");
    assert_eq!(seen(&world, 1, 0).flow.theirs, Some(Terms::NONE), "the other sees that it rests there");
    let agents = world.devices[1].replica.as_ref().expect("it runs").view();
    assert!(agents.agents.values().any(|agent| agent.state == AgentState::Working), "who lives is told all the same");
    for d in [0, 1] {
        world.fall(d, MS);
    }
    wait(&mut world, 60);
    assert!(seen(&world, 0, 1).flow.paused && !has(&world, 1, "x") && !has(&world, 0, "y"));
    rest(&mut world, 0, Some(1), false);
    wait(&mut world, 3);
    assert!(has(&world, 1, "x") && has(&world, 0, "y"));
    assert!(!seen(&world, 0, 1).flow.paused);
    super::join_up(&mut world);
    end(&mut world);
}

#[test]
fn all_are_paused_and_one_is_resumed() {
    let mut world = world(3);
    wait(&mut world, 5);
    rest(&mut world, 0, None, true);
    wait(&mut world, 3);
    add(&mut world, 0, "x");
    wait(&mut world, 60);
    assert!(!has(&world, 1, "x") && !has(&world, 2, "x"));
    rest(&mut world, 0, Some(2), false);
    wait(&mut world, 5);
    assert!(has(&world, 2, "x") && has(&world, 1, "x"), "the third one relays");
    assert!(seen(&world, 0, 1).flow.paused && !seen(&world, 0, 2).flow.paused);
    // Both sides, at one moment, and back.
    rest(&mut world, 1, None, true);
    for d in [0, 1] {
        world.ask(d, Ask::Rest { device: None, rests: false });
    }
    wait(&mut world, 5);
    end(&mut world);
}

#[test]
fn who_sends_nothing_still_receives_and_falls_silent() {
    for (gives, takes) in [(false, true), (true, false)] {
        let mut world = world(2);
        add(&mut world, 0, "before");
        wait(&mut world, 5);
        configure(&mut world, 0, 1, Some(PeerRule { terms: Terms { gives, takes }, ..PeerRule::default() }));
        // In documents that both hold, and in ones that begin with it.
        for n in 0..3 {
            add(&mut world, 0, &format!("x{n}"));
            add(&mut world, 1, &format!("y{n}"));
            wait(&mut world, 20);
        }
        world.fall(1, MS);
        wait(&mut world, 30);
        for n in 0..3 {
            assert_eq!(has(&world, 1, &format!("x{n}")), gives, "gives {gives}: x{n}");
            assert_eq!(has(&world, 0, &format!("y{n}")), takes, "takes {takes}: y{n}");
        }
        let shows = seen(&world, 0, 1);
        assert!(shows.link.is_some_and(|link| !link.level) && shows.reachable, "never said to be level");
        let stirred = world.stirred;
        wait(&mut world, 400);
        assert_eq!(world.stirred, stirred, "nothing more is said of documents");
        configure(&mut world, 0, 1, None);
        wait(&mut world, 5);
        assert!(has(&world, 1, "x0") && has(&world, 0, "y2"));
        end(&mut world);
    }
}

#[test]
fn a_schedule_levels_at_its_minutes_and_is_silent_between() {
    const MINUTE: u64 = 60 * SECOND;
    let mut world = world(2);
    let every_quarter = PeerRule { schedule: Some("*/15 * * * *".parse().expect("a schedule")), ..PeerRule::default() };
    configure(&mut world, 0, 1, Some(every_quarter));
    // The wall clock of a run begins with a whole hour.
    let minute = |world: &World| world.now(0).wall_ms / 60_000 % 60;
    while minute(&world) % 15 != 5 || world.now(0).wall_ms % 60_000 > 1_000 {
        ok(&mut world, |world| world.pass(SECOND));
    }
    let mut levelled = Vec::new();
    for n in 0..70 {
        let at = minute(&world);
        add_without_waiting(&mut world, 0, &format!("x{n}"));
        add_without_waiting(&mut world, 1, &format!("y{n}"));
        let stirred = world.time + SECOND;
        ok(&mut world, |world| world.pass(MINUTE - SECOND));
        let came = (has(&world, 1, &format!("x{n}")), has(&world, 0, &format!("y{n}")));
        if at % 15 == 0 {
            assert_eq!(came, (true, true), "at :{at:02}");
            for before in 0..n {
                assert!(has(&world, 1, &format!("x{before}")) && has(&world, 0, &format!("y{before}")), "what waited came, too");
            }
            levelled.push(at);
            assert!(seen(&world, 0, 1).they_miss == Some(0), "level");
        } else {
            assert_eq!(came, (false, false), "at :{at:02}");
            assert!(world.stirred <= stirred, "at :{at:02} something of documents went, {} us late", world.stirred - stirred);
            assert!(seen(&world, 0, 1).reachable, "presence goes on");
            let next = seen(&world, 0, 1).flow.next.expect("it says when");
            assert_eq!(next / 60_000 % 15, 0);
        }
        ok(&mut world, |world| world.pass(SECOND));
    }
    assert!(levelled.len() >= 4 && levelled.windows(2).all(|two| two[1] == (two[0] + 15) % 60), "{levelled:?}");
    // Who was away at its minute is levelled with when it comes back, once.
    super::cut_off(&mut world, 0);
    ok(&mut world, |world| world.pass(16 * MINUTE));
    super::join_up(&mut world);
    wait(&mut world, 120);
    assert!(has(&world, 1, "x69"));
    add(&mut world, 0, "late");
    wait(&mut world, 120);
    assert!(!has(&world, 1, "late"));
    configure(&mut world, 0, 1, None);
    end(&mut world);
}

#[test]
fn a_disabled_device_has_no_link_and_keeps_its_place() {
    let mut world = world(3);
    world.beat(1, 0, Word::Working(1));
    wait(&mut world, 5);
    configure(&mut world, 0, 1, Some(PeerRule { enabled: false, ..PeerRule::default() }));
    wait(&mut world, 60);
    let shows = seen(&world, 0, 1);
    assert!(shows.member && shows.link.is_none() && !shows.flow.enabled, "{shows:?}");
    assert!(seen(&world, 1, 0).link.is_none() && seen(&world, 1, 0).last_error.is_some_and(|(_, why)| why.contains("peers.NAME.enabled")));
    let view = world.devices[0].replica.as_ref().expect("it runs").view();
    assert!(view.sessions.values().any(|session| session.fact.device == world.devices[1].id), "what it did stays its own");
    add(&mut world, 1, "x");
    wait(&mut world, 5);
    assert!(has(&world, 0, "x"), "over the third one");
    configure(&mut world, 0, 1, None);
    end(&mut world);
}
