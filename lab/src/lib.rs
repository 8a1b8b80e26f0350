//! The lab: a local network inside one machine, on which real daemons live.
//!
//! Each host is a network namespace of its own, with its own loopback, its own port 5353 and its own `eth0`. The wires
//! end in a switch that lives in this process ([`switch`]): it delivers, delays, loses, cuts, and can look at what passes. So
//! everything between the hosts can be done to them at once and repeated, on any Linux kernel that has TUN/TAP, and nothing of
//! the machine's own network is touched.
//!
//! It needs root, the program `ip` and `/dev/net/tun`; [`missing`] says what is not there. A [`Lab`] that is dropped, by a
//! panic too, takes its namespaces with it; what a killed one left is swept by the next.

#![cfg(target_os = "linux")]

mod namespace;
pub mod responder;
pub mod switch;

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use namespace::Namespace;
use switch::Switch;

/// How many hosts one lab may have.
pub const HOSTS_MAX: usize = 16;
/// The local network that every host is on.
pub const HOME: usize = 0;

/// Why no lab can be built here, in words; `None` if one can.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root, to make network namespaces".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("it needs /dev/net/tun, the wires of its hosts".to_owned());
    }
    match Command::new("ip").arg("-V").output() {
        Ok(said) if said.status.success() => None,
        Ok(_) | Err(_) => Some("it needs the program `ip` (package iproute2)".to_owned()),
    }
}

/// A host of a lab.
#[derive(Debug)]
pub struct Host {
    /// Its number, from 0.
    pub number: usize,
    namespace: Namespace,
}

impl Host {
    /// Its address on the home network.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(self.number + 1).unwrap_or(u8::MAX))
    }

    /// The name by which `ip netns` knows it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// What must stand before a program and its arguments so that it runs on this host.
    #[must_use]
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", self.namespace()]
    }

    /// Lets `work` run on this host, in a thread of its own.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.namespace.within(work)
    }

    /// Runs `ip` on this host: `address del 10.77.0.1/24 dev eth0`.
    ///
    /// # Errors
    /// `ip` says no.
    pub fn ip_do(&self, words: &str) -> io::Result<()> {
        self.namespace.ip(words)
    }
}

/// A network of its own.
#[derive(Debug)]
pub struct Lab {
    /// What stands between the hosts.
    pub switch: Switch,
    hosts: Vec<Host>,
    name: String,
    /// One lab at a time: two would measure each other.
    _alone: File,
}

impl Lab {
    /// A network with so many hosts, all of which hear each other. Waits for a lab of another process to end.
    ///
    /// # Errors
    /// The system does not let us; [`missing`] says why beforehand.
    pub fn of(hosts: usize) -> io::Result<Lab> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if hosts > HOSTS_MAX {
            return Err(io::Error::other(format!("a lab has at most {HOSTS_MAX} hosts")));
        }
        let alone = File::options().create(true).append(true).open(std::env::temp_dir().join("hubless-lab.lock"))?;
        alone.lock()?;
        namespace::sweep();
        let name = format!("{}{}-{}", namespace::FRONT, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut lab = Lab { switch: Switch::new(), hosts: Vec::new(), name, _alone: alone };
        for _ in 0..hosts {
            lab.add()?;
        }
        Ok(lab)
    }

    fn add(&mut self) -> io::Result<()> {
        let number = self.hosts.len();
        let host = Host { number, namespace: Namespace::make(&format!("{}-{number}", self.name))? };
        self.hosts.push(host);
        let host = &self.hosts[number];
        let ip = host.ip();
        self.plug(number, "eth0", HOME)?;
        host.ip_do(&format!("address add {ip}/24 dev eth0"))?;
        host.ip_do(&format!("address add fd77::{:x}/64 dev eth0 nodad", number + 1))
    }

    /// The hosts, by their numbers.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Gives a host one more interface, on another network of the lab; it has no address yet.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn plug(&self, host: usize, interface: &str, lan: usize) -> io::Result<()> {
        let at = &self.hosts[host].namespace;
        self.switch.plug(at.wire(interface)?, host, lan)?;
        at.ip(&format!("link set {interface} up"))
    }
}

impl Drop for Lab {
    /// The wires first, so that the switch's threads end; then the hosts, each of which takes what still runs on it.
    fn drop(&mut self) {
        for host in &self.hosts {
            host.namespace.cut_wires();
        }
        self.switch.close();
        self.hosts.clear();
    }
}
