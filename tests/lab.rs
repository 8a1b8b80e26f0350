//! Real daemons on a local network of namespaces (the package `lab`): found, cut off, lost, late, moved, asleep, flooded.
//!
//! Every host has its own loopback, its own port 5353 and port 4826, and a home of its own. Each test takes what is there to take:
//! where no lab can be built it says so, loudly, and passes. A target is what is promised of a machine that has nothing else to do;
//! this one may compile meanwhile, so that the middle of several rounds must keep the target, and each of them [`BUSY`] times that.
//! What it took is printed (`MEASURED`).

mod addresses;
mod links;
mod meeting;
mod quiet;
mod strangers;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, Home, Lan, SOON, Since, eventually, hubless, measured, skipped, text};
use hubless_lab::Lab;
use hubless_lab::switch::Weather;

/// How much longer one round may take than is promised, on a machine that is shared.
const BUSY: u32 = 3;

/// Hosts, and what is installed on each.
struct Site {
    homes: Vec<Home>,
    lab: Lab,
}

/// One host for each name; `None`, and said so, where no lab can be built.
fn site(test: &str, names: &[&str]) -> Option<Site> {
    if let Some(why) = hubless_lab::missing() {
        skipped(test, &format!("no lab: {why}"));
        return None;
    }
    let lab = Lab::of(names.len()).expect("a lab, for nothing that it needs is missing");
    let home = |name: &&str| {
        let mut home = Lan::new().home(name);
        home.unset("HUBLESS_NETWORK_MDNS_PORT");
        home.unset("HUBLESS_NETWORK_PORT");
        home
    };
    Some(Site { homes: names.iter().map(home).collect(), lab })
}

impl Site {
    /// A command on a host, with its home's environment.
    fn command(&self, host: usize, args: &[&str]) -> Command {
        let [ip, words @ ..] = self.lab.hosts()[host].prefix();
        self.homes[host].command(ip, &[&words, args].concat())
    }

    /// Starts the daemon of a host.
    fn up(&self, host: usize) -> Daemon<'_> {
        self.homes[host].up_by(self.command(host, &[hubless(), "up"]))
    }

    /// Starts all, and makes one fleet of them: each is let in by the one before.
    fn fleet(&self) -> Vec<Daemon<'_>> {
        let daemons: Vec<Daemon<'_>> = (0..self.homes.len()).map(|host| self.up(host)).collect();
        for next in 1..daemons.len() {
            self.pair(next - 1, next);
        }
        self.all_level(&daemons);
        daemons
    }

    fn pair(&self, host: usize, guest: usize) {
        self.homes[host].pair(&self.homes[guest]);
    }

    /// One shows a code, which is typed on the other: nothing but mDNS says where. How long that took.
    fn pair_by_code(&self, host: usize, guest: usize, whom: &str) -> Duration {
        let begun = Since::now();
        let invited = self.homes[host].json(&["pair"]);
        let joined = self.homes[guest].json(&["pair", text(&invited["data"], "code")]);
        assert_eq!((&joined["data"]["state"], text(&joined["data"]["device"], "name")), (&Value::from("paired"), whom), "{joined}");
        begun.elapsed()
    }

    /// Waits until every one has a level link to every other.
    fn all_level(&self, daemons: &[Daemon<'_>]) {
        for (at, daemon) in daemons.iter().enumerate() {
            eventually(SOON, &format!("{at} has level links to all others"), || (linked(daemon) + 1 == daemons.len()).then_some(()));
        }
    }
}

/// How many devices have a level link to this one.
fn linked(daemon: &Daemon<'_>) -> usize {
    daemon.rows("/api/v3/devices").iter().filter(|row| row["link"]["level"] == true).count()
}

/// Waits until all these daemons show a todo of each of these texts; how long that took.
fn all_show(daemons: &[&Daemon<'_>], texts: &[&str], begun: Since) -> Duration {
    for daemon in daemons {
        for text in texts {
            daemon.todo_when(text, "known", |_| true);
        }
    }
    begun.elapsed()
}

/// Prints how long the rounds took, and judges them by the target.
#[track_caller]
fn judge(what: &str, target: Duration, mut took: Vec<Duration>) {
    took.sort();
    let (middle, last) = (took[took.len() / 2], took[took.len() - 1]);
    let (n, ms) = (took.len(), |d: Duration| d.as_millis());
    measured(&format!("lab: {what}: middle {} ms, longest {} ms of {n}, target {} ms", ms(middle), ms(last), ms(target)));
    assert!(middle <= target, "{what}: {took:?}, and {target:?} is promised");
    assert!(last <= target * BUSY, "{what}: {took:?}, and {target:?} is promised");
}

/// The lab itself: what is cut does not pass, what is joined does, and nothing is left of it, not even when a test panics.
#[test]
fn a_lab_is_cut_and_joined_and_leaves_nothing() {
    let Some(site) = site("a_lab_is_cut_and_joined_and_leaves_nothing", &["anna", "bert"]) else { return };
    let names: Vec<String> = site.lab.hosts().iter().map(|host| host.namespace().to_owned()).collect();
    let there = || names.iter().filter(|name| std::path::Path::new("/run/netns").join(name).exists()).count();
    assert_eq!(there(), 2);
    let reached = |from: usize, to: usize| {
        let at = std::net::SocketAddr::from((site.lab.hosts()[to].ip(), 4826));
        let dial = move || std::net::TcpStream::connect_timeout(&at, Duration::from_millis(300)).is_ok();
        site.lab.hosts()[from].within(dial).expect("the host can be entered")
    };
    let b = site.up(1);
    eventually(SOON, "bert is reached", || reached(0, 1).then_some(()));
    site.lab.switch.cut(0, 1);
    assert!(!reached(0, 1), "it is cut");
    site.lab.switch.join(0, 1);
    eventually(SOON, "bert is reached again", || reached(0, 1).then_some(()));
    let passed = site.lab.switch.passed(0);
    assert!(passed.sent > 0 && passed.given > 0, "{passed:?}");
    drop(b);
    let panicked = std::thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let _site = site;
            panic!("on purpose");
        });
        panics.join().is_err()
    });
    assert!(panicked);
    assert_eq!(there(), 0, "the hosts are gone");
}
