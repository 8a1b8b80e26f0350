//! Links that are cut, that flap, that are slow and lossy: what was written on either side is on both soon after.

use std::thread::{scope, sleep};
use std::time::Duration;

use super::*;

/// How soon after the way is whole again both know what the other wrote.
const HEALED: Duration = Duration::from_secs(5);

#[test]
fn hosts_find_each_other_and_three_become_one_fleet() {
    let Some(site) = site("hosts_find_each_other_and_three_become_one_fleet", &["anna", "bert", "carl"]) else { return };
    let a = site.up(0);
    let begun = Since::now();
    let (_b, _c) = (site.up(1), site.up(2));
    eventually(SOON, "two strangers are seen", || {
        let strangers = a.get("/api/v3/overview")["data"]["strangers"].as_array().map(Vec::len);
        (strangers == Some(2)).then_some(())
    });
    judge("first sight, from the start of the other daemons", Duration::from_secs(3), vec![begun.elapsed()]);
    let begun = Since::now();
    site.pair(0, 1);
    site.pair(1, 2);
    let all = [a, _b, _c];
    site.all_level(&all);
    measured(&format!("lab: three hosts paired and level: {:?}", begun.elapsed()));
    all[2].add("of carl");
    all[0].todo_is("of carl", "pending");
}

#[test]
fn a_network_that_was_cut_is_level_soon_after() {
    // Three fleets of two, cut off for different times: within what TCP waits, within what a link is given, and longer.
    let names = ["anna", "bert", "carl", "dora", "emil", "fran"];
    let Some(site) = site("a_network_that_was_cut_is_level_soon_after", &names) else { return };
    let daemons: Vec<Daemon<'_>> = (0..names.len()).map(|host| site.up(host)).collect();
    let pairs: Vec<&[Daemon<'_>]> = daemons.chunks(2).collect();
    for (n, pair) in pairs.iter().enumerate() {
        site.pair(2 * n, 2 * n + 1);
        site.all_level(pair);
    }
    let spans: [&[u64]; 3] = [&[1, 2, 4, 8, 16], &[12, 25], &[50]];
    let took: Vec<Duration> = scope(|scope| {
        let rounds = pairs.iter().zip(spans).enumerate().map(|(n, (pair, spans))| {
            let switch = &site.lab.switch;
            scope.spawn(move || spans.iter().map(|s| cut_off(switch, n, pair, *s)).collect::<Vec<_>>())
        });
        let rounds: Vec<_> = rounds.collect();
        rounds.into_iter().flat_map(|round| round.join().expect("no round panics")).collect()
    });
    judge("healed after a cut of 1 s to 50 s, until both know what the other wrote", HEALED, took);
}

/// Cuts a pair off for so many seconds, in which both write; how long after that both know all.
fn cut_off(switch: &hubless_lab::switch::Switch, n: usize, pair: &[Daemon<'_>], seconds: u64) -> Duration {
    switch.cut(2 * n, 2 * n + 1);
    let (ours, theirs) = (format!("ours, cut for {seconds}"), format!("theirs, cut for {seconds}"));
    pair[0].add(&ours);
    sleep(Duration::from_millis(500 * seconds));
    pair[1].add(&theirs);
    sleep(Duration::from_millis(500 * seconds));
    assert!(pair[1].todo(&ours).is_none() && pair[0].todo(&theirs).is_none(), "it was cut");
    switch.join(2 * n, 2 * n + 1);
    let begun = Since::now();
    let took = all_show(&[&pair[0], &pair[1]], &[&ours, &theirs], begun);
    measured(&format!("lab: cut for {seconds} s, level {took:?} after"));
    took
}

#[test]
fn a_link_that_flaps_twenty_times_a_minute_loses_nothing() {
    let Some(site) = site("a_link_that_flaps_twenty_times_a_minute_loses_nothing", &["anna", "bert", "carl"]) else { return };
    let all = site.fleet();
    let mut texts = Vec::new();
    // One loses its cable, the other only what passes; eight times in 24 s.
    for n in 0..8 {
        site.lab.hosts()[1].ip_do("link set eth0 down").expect("down");
        site.lab.switch.cut(0, 2);
        for (at, daemon) in all.iter().enumerate() {
            texts.push(format!("of {at}, flap {n}"));
            daemon.add(&texts[texts.len() - 1]);
        }
        sleep(Duration::from_millis(1_500));
        site.lab.hosts()[1].ip_do("link set eth0 up").expect("up");
        site.lab.switch.join(0, 2);
        sleep(Duration::from_millis(1_500));
    }
    let begun = Since::now();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    judge("flapped 20 times a minute, until three know all", HEALED, vec![all_show(&all.iter().collect::<Vec<_>>(), &texts, begun)]);
    let links = site.homes[0].said().lines().filter(|line| line.contains("link up")).count();
    measured(&format!("lab: links that anna made while two others flapped 8 times each: {links}"));
}

#[test]
fn a_way_that_is_slow_and_loses_delivers_all() {
    let Some(site) = site("a_way_that_is_slow_and_loses_delivers_all", &["anna", "bert"]) else { return };
    let all = site.fleet();
    site.lab.switch.set_weather(Weather { delay: Duration::from_millis(300), loss_percent: 5, multicast: true });
    let mut took = Vec::new();
    for n in 0..15 {
        let (from, to) = if n % 2 == 0 { (&all[0], &all[1]) } else { (&all[1], &all[0]) };
        let content = format!("through the storm, {n}");
        let begun = Since::now();
        from.add(&content);
        took.push(all_show(&[to], &[&content], begun));
    }
    judge("a change at 300 ms and 5 % loss", HEALED, took);
    let mut took = Vec::new();
    let [a, mut b] = <[Daemon<'_>; 2]>::try_from(all).unwrap_or_else(|_| panic!("two"));
    for n in 0..2 {
        b.stop();
        let content = format!("while bert was away, {n}");
        a.add(&content);
        b = site.up(1);
        took.push(all_show(&[&b], &[&content], Since::now()));
    }
    judge("a restart at 300 ms and 5 % loss, until it knows what it missed", HEALED * 2, took);
}
