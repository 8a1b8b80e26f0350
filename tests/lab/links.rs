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
