//! Hosts whose addresses change, whom multicast does not reach, who sleep, who have one name, who stand in a chain.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::*;

/// How soon after a machine woke or moved it is level with the others.
const BACK: Duration = Duration::from_secs(5);

#[test]
fn a_host_that_gets_another_address_is_level_soon_after() {
    let Some(site) = site("a_host_that_gets_another_address_is_level_soon_after", &["anna", "bert"]) else { return };
    let all = site.fleet();
    let mut took = Vec::new();
    for (round, host) in [1, 0, 1].into_iter().enumerate() {
        let (before, after) = (site.lab.hosts()[host].ip(), format!("10.77.0.{}", 100 + round));
        let at = &site.lab.hosts()[host];
        // The IPv6 address goes too, for else that way would stay.
        at.ip_do("address flush dev eth0").expect("flushed");
        at.ip_do(&format!("address add {after}/24 dev eth0")).expect("another address");
        let begun = Since::now();
        let (ours, theirs) = (format!("of a, round {round}"), format!("of b, round {round}"));
        all[0].add(&ours);
        all[1].add(&theirs);
        took.push(all_show(&[&all[0], &all[1]], &[&ours, &theirs], begun));
        assert_ne!(before.to_string(), after);
    }
    judge("another address, until both know what the other wrote", BACK, took);
}

#[test]
fn without_multicast_peers_are_found_by_what_is_configured_and_by_what_was_told() {
    let Some(mut site) = site("without_multicast_peers_are_found_by_what_is_configured_and_by_what_was_told", &["anna", "bert"]) else {
        return;
    };
    site.lab.switch.set_weather(Weather { multicast: false, ..Weather::FINE });
    // A tunnel between the two, of a kind that mDNS passes over; bert names anna by her address in it.
    for (host, ip) in [(0, "100.64.0.1"), (1, "100.64.0.2")] {
        site.lab.plug(host, "wg0", 1).expect("a tunnel");
        site.lab.hosts()[host].ip_do(&format!("address add {ip}/24 dev wg0")).expect("an address");
    }
    let (a, b) = (site.up(0), site.up(1));
    site.pair(0, 1); // a ticket has addresses in it
    let both = [a, b];
    site.all_level(&both);
    both.into_iter().for_each(Daemon::stop);
    let both = [site.up(0), site.up(1)];
    let begun = Since::now();
    site.all_level(&both);
    measured(&format!("lab: no multicast, restarted, level by the addresses of last time: {:?}", begun.elapsed()));
    // Elsewhere, where only the tunnel leads.
    both.into_iter().for_each(Daemon::stop);
    site.homes[1].set("HUBLESS_NETWORK_PEERS", "100.64.0.1:4826");
    site.lab.hosts()[1].ip_do("link set eth0 down").expect("the cable is out");
    let (a, b) = (site.up(0), site.up(1));
    a.add("by the tunnel");
    b.todo_is("by the tunnel", "pending");
    let link = b.device("anna").expect("a row")["link"].clone();
    assert!(text(&link, "address").starts_with("100.64.0.1:"), "{link}");
    let strangers = a.get("/api/v3/overview")["data"]["strangers"].as_array().map(Vec::len);
    assert_eq!(strangers, Some(0), "nobody was seen");
}

#[test]
fn a_host_that_wakes_is_level_soon_after() {
    let Some(mut site) = site("a_host_that_wakes_is_level_soon_after", &["anna", "bert"]) else { return };
    for home in &mut site.homes {
        let slept = home.at("slept");
        fs::write(&slept, "0").expect("written");
        home.set("HUBLESS_TEST_SLEPT_FILE", slept.display());
    }
    let all = site.fleet();
    let mut took = Vec::new();
    for (round, host) in [1, 0, 1, 0].into_iter().enumerate() {
        // The lid is shut: the machine stands still, its radio is off. The other one goes on.
        all[host].signal(Signal::STOP);
        site.lab.hosts()[host].ip_do("link set eth0 down").expect("down");
        let missed = format!("while {host} slept, round {round}");
        all[1 - host].add(&missed);
        sleep(Duration::from_secs(2));
        fs::write(site.homes[host].at("slept"), ((round as u64 + 1) * 3_600_000).to_string()).expect("an hour more");
        site.lab.hosts()[host].ip_do("link set eth0 up").expect("up");
        let begun = Since::now();
        all[host].signal(Signal::CONT);
        let woke = format!("of {host}, awake, round {round}");
        all[host].add(&woke);
        took.push(all_show(&[&all[0], &all[1]], &[&missed, &woke], begun));
    }
    judge("woken, until both know what the other wrote", BACK, took);
    assert!(site.homes[1].said().contains("slept"), "it was noticed: {}", site.homes[1].said());
}

#[test]
fn two_of_one_name_and_a_chain_are_told_apart_and_level() {
    let Some(site) = site("two_of_one_name_and_a_chain_are_told_apart_and_level", &["anna", "bert", "anna"]) else { return };
    // The two ends never hear each other, not from the first moment on.
    site.lab.switch.cut(0, 2);
    let all: Vec<Daemon<'_>> = (0..3).map(|host| site.up(host)).collect();
    site.pair(0, 1);
    site.pair(1, 2);
    let mut took = Vec::new();
    for round in 0..10 {
        let (from, to) = if round % 2 == 0 { (0, 2) } else { (2, 0) };
        let content = format!("through the middle, {round}");
        all[from].add(&content);
        took.push(all_show(&[&all[to]], &[&content], Since::now()));
    }
    judge("a chain of three, from one end to the other", Duration::from_secs(1), took);
    let beat = all[0].post("/api/v3/beats", &serde_json::json!({"agent": "sam", "task": "AGT-280"}));
    assert_eq!(beat.status, 200, "{}", beat.text());
    eventually(SOON, "presence comes through the middle", || {
        let rows = all[2].rows("/api/v3/agents");
        rows.iter().any(|row| row["agent"] == "sam" && row["state"] == "working").then_some(())
    });
    for daemon in &all {
        let rows = daemon.rows("/api/v3/devices");
        let ids: std::collections::BTreeSet<&str> = rows.iter().map(|row| text(row, "device")).collect();
        let annas = rows.iter().filter(|row| row["name"] == "anna").count();
        assert_eq!((rows.len(), ids.len(), annas), (3, 3, 2), "two of one name stay two");
    }
    assert_eq!((linked(&all[0]), linked(&all[1]), linked(&all[2])), (1, 2, 1), "the ends never met");
}
