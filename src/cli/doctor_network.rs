//! What `doctor` says of the network: interfaces, mDNS, clocks. What is odd here is a remark: addresses that are known are dialled all the same.

use serde_json::Value;

use super::fields;
use super::output::counted;

/// Each finding: its name, what was found, and what to do, if anything is odd.
pub(crate) fn found(data: &Value) -> Vec<(&'static str, String, Option<String>)> {
    let network = &data["network"];
    let mut out = Vec::new();
    if network.is_object() {
        let (used, skipped) = (fields::texts(network, "used").join(", "), fields::texts(network, "skipped"));
        let over = match skipped.as_slice() {
            [] => String::new(),
            some => format!("; passed over as containers, bridges or tunnels: {} (network.interfaces uses one)", some.join(", ")),
        };
        let none = used.is_empty().then(|| "connect this machine to a network".to_owned());
        out.push(("network.interfaces", format!("interfaces: {}{over}", if used.is_empty() { "none" } else { &used }), none));
        out.push(mdns(network));
    }
    for device in fields::list(data, "devices").iter().filter(|device| !fields::yes(device, "thisDevice")) {
        if let Some(skew) = fields::number(device, "clockSkewMs").filter(|skew| skew.abs() <= crate::model::limits::SKEW_SHOWN_MS) {
            let what = format!("clock of {} differs by {} ms", fields::or_dash(device, "name"), skew.abs());
            out.push(("device.clock", what, None));
        }
    }
    out
}

fn mdns(network: &Value) -> (&'static str, String, Option<String>) {
    let name = "network.mdns";
    if !fields::yes(network, "mdns") {
        return (name, "mDNS is off (network.mdns): devices are found by known addresses and network.peers".to_owned(), None);
    }
    if let Some(why) = fields::text(network, "error") {
        return (name, format!("mDNS does not work: {why}"), Some("free UDP port 5353, or name devices in network.peers".to_owned()));
    }
    let heard = counted(fields::count(network, "heard"), "answer");
    match fields::yes(network, "ownHeard") {
        true => (name, format!("mDNS: {heard} heard, our own announcement among them"), None),
        false => {
            let fix = "if it stays so: a firewall or the network keeps multicast back; name devices in network.peers";
            (name, format!("mDNS: {heard} heard, our own announcement not yet"), Some(fix.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_network_is_said_in_words_and_only_what_is_odd_has_a_fix() {
        let data = json!({"network": {"used": ["eth0", "lo"], "skipped": ["docker0"], "mdns": true, "heard": 3, "ownHeard": true, "error": null},
            "devices": [{"thisDevice": true}, {"name": "mini", "clockSkewMs": -40}]});
        let lines: Vec<String> = found(&data).into_iter().map(|(_, what, fix)| format!("{what} {}", fix.is_some())).collect();
        assert_eq!(
            lines,
            [
                "interfaces: eth0, lo; passed over as containers, bridges or tunnels: docker0 (network.interfaces uses one) false",
                "mDNS: 3 answers heard, our own announcement among them false",
                "clock of mini differs by 40 ms false"
            ]
        );
        for network in [json!({"mdns": true, "used": []}), json!({"mdns": true, "used": ["lo"], "error": "in use"})] {
            assert!(found(&json!({"network": network})).iter().any(|(_, _, fix)| fix.is_some()));
        }
        assert!(found(&json!({"network": null})).is_empty());
    }
}
