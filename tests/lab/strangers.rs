//! Who is not of the fleet learns nothing and costs little; who is of it and slow delays nobody.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::*;

/// What a thousand strangers may cost.
const STRANGERS_BYTES: u64 = 20 * 1024 * 1024;
/// What a device that does not read may cost besides the documents, which the one that reads holds as well.
const SLOW_BYTES: u64 = 20 * 1024 * 1024;

/// Bytes that a process holds in memory.
fn resident(daemon: &Daemon<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn a_thousand_sockets_of_a_stranger_cost_little_and_delay_nobody() {
    let names = ["anna", "bert", "mallory"];
    let Some(site) = site("a_thousand_sockets_of_a_stranger_cost_little_and_delay_nobody", &names) else { return };
    let (a, b) = (site.up(0), site.up(1));
    site.pair(0, 1);
    a.add("before");
    b.todo_is("before", "pending");
    let before = resident(&a);
    let at = SocketAddr::from((site.lab.hosts()[0].ip(), 4826));
    let over = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&over);
    // Silence, the start of a handshake, noise: a thousand at once, and again as often as they are closed.
    let flood = move || {
        let (mut held, mut made) = (Vec::new(), 0u32);
        while !done.load(Ordering::Relaxed) {
            if held.len() >= 1_000 {
                held.drain(..100);
            }
            let Ok(mut socket) = TcpStream::connect_timeout(&at, Duration::from_millis(500)) else { continue };
            made += 1;
            let _ = match made % 3 {
                0 => Ok(()),
                1 => std::io::Write::write_all(&mut socket, b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20"),
                _ => std::io::Write::write_all(&mut socket, &[0xff; 900]),
            };
            held.push(socket);
        }
        made
    };
    let (made, took, most) = std::thread::scope(|scope| {
        let stranger = scope.spawn(|| site.lab.hosts()[2].within(flood).expect("the host can be entered"));
        let (mut took, mut most) = (Vec::new(), before);
        for n in 0..20 {
            sleep(Duration::from_millis(250));
            let (from, to) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
            let content = format!("during the flood, {n}");
            from.add(&content);
            took.push(all_show(&[to], &[&content], Since::now()));
            most = most.max(resident(&a));
        }
        over.store(true, Ordering::Relaxed);
        (stranger.join().expect("the stranger ends"), took, most)
    });
    assert!(made >= 1_000, "it was a flood: {made}");
    let cost = most - before;
    measured(&format!("lab: {made} sockets of a stranger in 5 s: {:.1} MB more", cost as f64 / 1e6));
    assert!(cost < STRANGERS_BYTES, "{cost} bytes");
    judge("a change between two that are paired, meanwhile", Duration::from_secs(1), took);
    // Nor does it keep them from meeting again.
    b.stop();
    let b = site.up(1);
    a.add("after");
    b.todo_is("after", "pending");
}

#[test]
fn what_passes_on_the_wire_names_nobody_and_nothing() {
    let names = ["anna-laptop", "bert-server"];
    let Some(site) = site("what_passes_on_the_wire_names_nobody_and_nothing", &names) else { return };
    site.lab.switch.record();
    let all = site.fleet();
    all[0].add("a-very-secret-plan");
    all[1].todo_is("a-very-secret-plan", "pending");
    let wire = site.lab.switch.recorded();
    let holds = |what: &str| wire.windows(what.len()).any(|at| at.eq_ignore_ascii_case(what.as_bytes()));
    assert!(holds("_hubless") && holds("multistream"), "it was recorded: that something is here is said");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let ids: Vec<String> = all[0].rows("/api/v3/devices").iter().map(|row| text(row, "device").to_owned()).collect();
    let secrets = ["anna-laptop", "bert-server", "a-very-secret-plan"];
    for secret in secrets.into_iter().chain(ids.iter().map(String::as_str)).chain([host.trim()].into_iter().filter(|h| h.len() > 4)) {
        assert!(!holds(secret), "“{secret}” was on the wire");
    }
    measured(&format!("lab: {} bytes on the wire from two fresh installs to a shared todo", wire.len()));
}

#[test]
fn a_peer_that_does_not_read_delays_nobody_and_costs_little() {
    let names = ["anna", "bert", "carl"];
    let Some(site) = site("a_peer_that_does_not_read_delays_nobody_and_costs_little", &names) else { return };
    let all = site.fleet();
    all[1].signal(Signal::STOP);
    let big = "x".repeat(15_000);
    let mut took = Vec::new();
    for n in 0..400 {
        let content = format!("{n} {big}");
        let begun = Since::now();
        let id = text(&all[0].add(&content), "id").to_owned();
        if n % 40 == 39 {
            let there = || all[2].try_get(&format!("/api/v3/todos/{id}")).filter(|answer| answer.status == 200);
            eventually(SOON, "the one that reads knows it", there);
            took.push(begun.elapsed());
        }
    }
    let (owing, reading) = (resident(&all[0]), resident(&all[2]));
    all[1].signal(Signal::CONT);
    let (owing_mb, reading_mb) = (owing as f64 / 1e6, reading as f64 / 1e6);
    measured(&format!("lab: 6 MB owed to one that does not read: {owing_mb:.1} MB here, {reading_mb:.1} MB where nothing is owed"));
    assert!(owing < reading + SLOW_BYTES, "{owing} bytes, and {reading} where nothing is owed");
    judge("a change to the one that reads, meanwhile", Duration::from_secs(1), took);
    eventually(SOON, "the slow one has all", || (all[1].rows("/api/v3/todos?all=1").len() == 400).then_some(()));
}
