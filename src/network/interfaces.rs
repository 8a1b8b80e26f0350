//! Our own network interfaces: which of them other devices can reach us on, and which addresses are near.

use std::net::{IpAddr, SocketAddr};

use if_addrs::{IfAddr, Interface};

/// How the names of interfaces begin that lead to containers, virtual machines and tunnels (P2P D).
const SKIPPED: &[&str] = &[
    "docker",
    "br-",
    "veth",
    "virbr",
    "vmnet",
    "vboxnet",
    "podman",
    "cni",
    "flannel",
    "lxcbr",
    "lxdbr",
    "utun",
    "tun",
    "ppp",
    "tailscale",
    "wg",
];
/// Addresses that are told of; a machine with more has names enough.
const ADDRESSES_MAX: usize = 32;

/// Whether an interface is passed over: it has such a name and was not asked for.
pub(crate) fn is_skipped(name: &str, wanted: &[String]) -> bool {
    SKIPPED.iter().any(|front| name.starts_with(front)) && !wanted.iter().any(|w| w == name)
}

/// Our interfaces; none when the system does not say.
pub(crate) fn all() -> Vec<Interface> {
    match if_addrs::get_if_addrs() {
        Ok(all) => all,
        Err(why) => {
            tracing::warn!("the network interfaces cannot be listed: {why}");
            Vec::new()
        }
    }
}

/// Where we can be reached when we listen on `port` everywhere: other machines' ways first, loopback last. Link-local IPv6
/// is left out, as it means nothing without the name of an interface on the other machine.
pub(crate) fn listening(all: &[Interface], wanted: &[String], port: u16) -> Vec<SocketAddr> {
    let usable = |i: &&Interface| !is_skipped(&i.name, wanted) && (i.ip().is_ipv4() || !i.is_link_local());
    let mut ips: Vec<IpAddr> = all.iter().filter(usable).map(Interface::ip).collect();
    ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    ips.dedup();
    ips.truncate(ADDRESSES_MAX);
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Our own addresses, each with how many of its first bits are those of its subnet: all of them, where an interface is passed over.
pub(crate) fn subnets(all: &[Interface], wanted: &[String]) -> Vec<(IpAddr, u8)> {
    let of = |i: &Interface| match (&i.addr, is_skipped(&i.name, wanted)) {
        (IfAddr::V4(ours), skipped) => (IpAddr::V4(ours.ip), if skipped { 32 } else { ours.prefixlen }),
        (IfAddr::V6(ours), skipped) => (IpAddr::V6(ours.ip), if skipped { 128 } else { ours.prefixlen }),
    };
    let mut subnets: Vec<(IpAddr, u8)> = all.iter().map(of).collect();
    subnets.sort_unstable();
    subnets.dedup();
    subnets
}

/// How near an address is: 0 this machine, 1 a subnet of ours, 2 elsewhere.
pub(crate) fn distance(all: &[Interface], ip: IpAddr) -> u8 {
    if ip.is_loopback() {
        return 0;
    }
    let near = |i: &Interface| match (&i.addr, ip) {
        (IfAddr::V4(ours), IpAddr::V4(ip)) => u32::from(ours.netmask) & u32::from(ours.ip) == u32::from(ours.netmask) & u32::from(ip),
        (IfAddr::V6(ours), IpAddr::V6(ip)) => u128::from(ours.netmask) & u128::from(ours.ip) == u128::from(ours.netmask) & u128::from(ip),
        (IfAddr::V4(_), IpAddr::V6(_)) | (IfAddr::V6(_), IpAddr::V4(_)) => false,
    };
    if all.iter().any(near) { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_tunnels_are_passed_over_unless_named() {
        for name in
            ["docker0", "br-1f2e", "veth12", "virbr0", "vmnet8", "vboxnet0", "podman0", "utun3", "tun0", "ppp0", "tailscale0", "wg0"]
        {
            assert!(is_skipped(name, &[]) && !is_skipped(name, &[name.to_owned()]), "{name}");
        }
        for name in ["lo", "eth0", "en0", "wlan0", "bridge0"] {
            assert!(!is_skipped(name, &[]), "{name}");
        }
    }

    #[test]
    fn loopback_is_told_last_and_dialled_first() {
        let all = all();
        let told = listening(&all, &[], 7);
        assert!(told.last().is_some_and(|a| a.ip().is_loopback() && a.port() == 7), "{told:?}");
        for address in &told {
            assert_eq!(distance(&all, address.ip()), u8::from(!address.ip().is_loopback()));
        }
        assert_eq!(distance(&[], IpAddr::from([198, 51, 100, 1])), 2);
    }
}
