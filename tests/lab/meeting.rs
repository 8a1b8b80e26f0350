//! Two fresh installs that are made one by a code, and nothing else known of each other; also where another program answers multicast DNS on both.

use std::process::Command;

use hubless_lab::responder::Responder;

use super::*;
use crate::support::Running;

/// How soon after a code is shown both are paired, but for the person that types it.
const PAIRED: Duration = Duration::from_secs(5);

#[test]
fn a_code_pairs_two_hosts_that_only_mdns_brings_together() {
    let names = ["anna", "bert", "carl"];
    let Some(site) = site("a_code_pairs_two_hosts_that_only_mdns_brings_together", &names) else { return };
    let all: Vec<Daemon<'_>> = (0..3).map(|host| site.up(host)).collect();
    // Carl is there, too, and is not the one who is looked for.
    let took = vec![site.pair_by_code(0, 1, "anna"), site.pair_by_code(1, 2, "bert")];
    judge("a code shown, typed elsewhere, found by mDNS, both paired", PAIRED, took);
    site.all_level(&all);
    all[2].add("of carl");
    all[0].todo_is("of carl", "pending");
    let named = all[0].device("bert").expect("the screen that showed the code names who came");
    assert_eq!(named["member"], true);
    // Without multicast a code finds nobody, and that is what is said, after the 10 s for which a window is looked for.
    site.lab.switch.set_weather(Weather { multicast: false, ..Weather::FINE });
    site.homes[2].json(&["leave"]);
    let invited = site.homes[0].json(&["pair"]);
    let refused = site.homes[2].run(&["pair", text(&invited["data"], "code"), "--json"]);
    assert!(refused.code != 0 && text(&refused.problem(), "fix").contains("--addr"), "{refused:?}");
}

#[test]
fn where_there_is_only_ipv6_devices_find_each_other_and_are_paired_by_a_code() {
    let names = ["anna", "bert"];
    let Some(site) = site("where_there_is_only_ipv6_devices_find_each_other_and_are_paired_by_a_code", &names) else { return };
    for host in site.lab.hosts() {
        host.ip_do(&format!("address del {}/24 dev eth0", host.ip())).expect("no address of IPv4");
    }
    let all: Vec<Daemon<'_>> = (0..2).map(|host| site.up(host)).collect();
    judge("by IPv6 alone: a code shown, typed elsewhere, both paired", PAIRED, vec![site.pair_by_code(0, 1, "anna")]);
    site.all_level(&all);
    all[0].add("over six");
    all[1].todo_is("over six", "pending");
    let link = all[1].device("anna").expect("a row")["link"].clone();
    assert!(text(&link, "address").starts_with('['), "{link}");
}

/// Who else holds the port of multicast DNS.
enum Other {
    Avahi(Running),
    Ours(Responder),
}

/// A real avahi, where there is one and it may run; it knows one home for its number, so there is one of it at most.
fn avahi(site: &Site, host: usize) -> Option<Running> {
    let there = |dir: &str| std::path::Path::new(dir).join("avahi-daemon").exists();
    let pid = std::fs::read_to_string("/run/avahi-daemon/pid").unwrap_or_default();
    let runs = std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).is_ok_and(|name| name.trim() == "avahi-daemon");
    if runs || !["/usr/sbin", "/usr/local/sbin", "/sbin"].into_iter().any(there) {
        return None;
    }
    let config = site.homes[host].at("avahi.conf");
    let said = "[server]\nhost-name=lab-printer\nuse-ipv4=yes\nuse-ipv6=yes\nenable-dbus=no\n[publish]\npublish-workstation=yes\n";
    std::fs::write(&config, said).expect("written");
    let file = format!("--file={}", config.display());
    let command: Command = site.command(host, &["avahi-daemon", &file, "--no-drop-root", "--no-chroot", "--no-rlimits"]);
    Some(Running::start(command))
}

#[test]
fn another_responder_on_the_port_of_mdns_disturbs_nobody() {
    let Some(site) = site("another_responder_on_the_port_of_mdns_disturbs_nobody", &["anna", "bert"]) else { return };
    site.lab.switch.record();
    let responder = |host: usize| Responder::start(&site.lab.hosts()[host]).expect("it holds the port first");
    let first = avahi(&site, 0).map_or_else(|| Other::Ours(responder(0)), Other::Avahi);
    let second = responder(1);
    let announced = |tape: &[u8]| tape.windows(11).any(|at| at == b"lab-printer");
    let mut tape = Vec::new();
    if let Other::Avahi(_) = &first {
        eventually(SOON, "avahi announces itself", || {
            tape.extend(site.lab.switch.recorded());
            site.lab.switch.record();
            announced(&tape).then_some(())
        });
    }
    let (a, b) = (site.up(0), site.up(1));
    let begun = Since::now();
    for (daemon, which) in [(&a, "anna"), (&b, "bert")] {
        eventually(SOON, &format!("{which} sees the other"), || {
            let strangers = daemon.get("/api/v3/overview")["data"]["strangers"].as_array().map(Vec::len);
            (strangers == Some(1)).then_some(())
        });
    }
    let sight = begun.elapsed();
    let took = site.pair_by_code(0, 1, "anna");
    site.all_level(&[a, b]);
    let heard = second.heard();
    assert!(heard > 0, "it hears what is asked, as we do");
    let what = match first {
        Other::Avahi(mut avahi) => {
            assert!(avahi.ended().is_none(), "avahi is not disturbed, either");
            avahi.signal(rustix::process::Signal::TERM);
            eventually(SOON, "avahi ends", || avahi.ended());
            "avahi and the lab's responder"
        }
        Other::Ours(ours) => {
            assert!(ours.heard() > 0);
            "the lab's responder twice"
        }
    };
    measured(&format!("lab: beside {what}: seen in {sight:?}, paired by a code in {took:?}, {heard} questions heard"));
    assert!(sight <= Duration::from_secs(3) * BUSY && took <= PAIRED * BUSY);
}
