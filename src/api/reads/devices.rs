//! Devices, and the way to them, as JSON. Unknown is `null`, never 0 and never a dash.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::envelope::{Answer, iso, iso_or_null};
use super::find;
use super::query::{LIST, Query};
use crate::api::problem::Problem;
use crate::model::id::Collection;
use crate::model::tool::Root;
use crate::model::view::{AroundView, DeviceView, DialView, FlowView, LinkView, SourceView, View, Way};

/// One device.
pub(crate) fn device(view: &View, device: &DeviceView) -> Value {
    let me = device.id == view.me;
    json!({
        "device": device.id,
        "shortId": device.id.short(),
        "name": device.name.json(),
        "platform": (!device.platform.is_blank()).then(|| device.platform.json()),
        "thisDevice": me,
        "member": device.member,
        "reachable": device.reachable,
        "address": device.link.as_ref().map(|link| link.address.clone()),
        "link": device.link.as_ref().map(|of| link(view.around.as_ref(), of)),
        "lastContact": iso_or_null(device.last_contact_here),
        "theyMiss": device.they_miss,
        "weMiss": device.we_miss,
        "clockSkewMs": device.clock_skew_ms,
        "flow": (!me).then(|| flow(&device.flow)),
        "lastError": device.last_error.as_ref().map(|(at, why)| json!({"at": iso(*at), "why": why})),
        "dials": device.dials.iter().map(dial).collect::<Vec<_>>(),
    })
}

/// An address where it was dialled in vain.
fn dial(dial: &DialView) -> Value {
    json!({"address": dial.address, "at": iso(dial.at), "why": dial.why, "times": dial.times})
}

/// What of documents goes between the two, and when. `null` where it is not known what the other side does.
fn flow(flow: &FlowView) -> Value {
    json!({
        "enabled": flow.enabled,
        "paused": flow.paused,
        "schedule": flow.schedule,
        "next": iso_or_null(flow.next),
        "gives": flow.ours.gives,
        "takes": flow.ours.takes,
        "theyGive": flow.theirs.map(|theirs| theirs.gives),
        "theyTake": flow.theirs.map(|theirs| theirs.takes),
        "bandwidth": flow.bandwidth,
    })
}

/// What kind of way an address is: this machine, the addresses that VPNs give out (100.64.0.0/10, RFC 6598), a local network, or farther. A
/// subnet of ours is local whatever its numbers are: at home those of IPv6 are public.
fn kind(around: Option<&AroundView>, address: &str) -> &'static str {
    let Ok(address) = address.parse::<SocketAddr>() else { return "unknown" };
    let ip = address.ip().to_canonical();
    let subnets = around.map_or(&[][..], |around| &around.subnets);
    match ip {
        ip if ip.is_loopback() || subnets.iter().any(|(ours, _)| *ours == ip) => "loopback",
        IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64 => "VPN",
        ip if subnets.iter().any(|subnet| is_within(ip, *subnet)) => "LAN",
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => "LAN",
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => "LAN",
        IpAddr::V4(_) | IpAddr::V6(_) => "WAN",
    }
}

/// Whether an address is in the subnet of one of ours.
fn is_within(ip: IpAddr, (ours, bits): (IpAddr, u8)) -> bool {
    let equal = match (ip, ours) {
        (IpAddr::V4(ip), IpAddr::V4(ours)) => (ip.to_bits() ^ ours.to_bits()).leading_zeros(),
        (IpAddr::V6(ip), IpAddr::V6(ours)) => (ip.to_bits() ^ ours.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    bits > 0 && equal >= u32::from(bits)
}

fn link(around: Option<&AroundView>, link: &LinkView) -> Value {
    json!({
        "kind": kind(around, &link.address),
        "address": link.address,
        "rttMs": link.rtt_ms,
        "bytesIn": link.bytes_in,
        "bytesOut": link.bytes_out,
        "level": link.level,
        "documents": link.documents.map(|(level, all)| json!({"level": level, "all": all})),
        "skipped": link.unknown,
    })
}

/// Members by name, this device first; those that were members come last.
fn sorted(view: &View, all: bool) -> Vec<((i64, i64, String), &DeviceView)> {
    let shown = view.devices.values().filter(|device| all || device.member || device.id == view.me);
    let place = |device: &DeviceView| {
        let name = format!("{}\u{0}{}", device.name.normalised().to_lowercase(), device.id);
        (i64::from(device.id != view.me), i64::from(!device.member), name)
    };
    let mut rows: Vec<_> = shown.map(|device| (place(device), device.as_ref())).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// All members, in the order in which they are shown.
pub(crate) fn members(view: &View) -> Vec<&DeviceView> {
    sorted(view, false).into_iter().map(|(_, device)| device).collect()
}

/// `GET /api/v3/devices`: members; with `all=1` also those that were.
pub(crate) fn list(view: &View, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &[&["all"][..], &LIST].concat());
    let all = query.yes("all")?.unwrap_or(false);
    Answer::list(sorted(view, all), query, |row| device(view, row))
}

/// `GET /api/v3/devices/{id or name}`.
pub(crate) fn show(view: &View, typed: &str, query: &str) -> Result<Answer, Problem> {
    let found = find::device(view, typed)?;
    Ok(Answer::one(device(view, found), Query::parse(query, &[])))
}

/// `GET /api/v3/sync`: one row for every other member.
pub(crate) fn sync(view: &View, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &[&["device"][..], &LIST].concat());
    let only = find::device_id(view, query.text("device"))?;
    let rows = sorted(view, false).into_iter();
    let rows = rows.filter(|(_, device)| device.id != view.me && only.is_none_or(|only| device.id == only)).collect();
    Answer::list(rows, query, |row| {
        let mut out = device(view, row);
        let (heard, said) = row.bytes_before;
        out["bytesIn"] = json!(heard + row.link.as_ref().map_or(0, |link| link.bytes_in));
        out["bytesOut"] = json!(said + row.link.as_ref().map_or(0, |link| link.bytes_out));
        out["inStep"] = json!(row.link.as_ref().map(|link| link.level));
        out
    })
}

/// `GET /api/v3/sync/list`: what is held of each collection, here and beside each other member; `null` where it cannot be known.
pub(crate) fn holdings(view: &View, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &[&["device"][..], &LIST].concat());
    let only = find::device_id(view, query.text("device"))?;
    let devices = sorted(view, false).into_iter().filter(|(_, device)| only.is_none_or(|only| device.id == only));
    let own = |device: &DeviceView| device.id == view.me;
    // What stays on this device is beside nobody.
    let row = |((_, _, name), device): ((i64, i64, String), &'_ DeviceView)| {
        let held = view.holdings.iter().filter(|(collection, _)| own(device) || !collection.starts_with("local/"));
        let rows = held
            .map(|(collection, held)| ((i64::from(!own(device)), 0, format!("{name}\u{0}{collection}")), (device.id, collection, held)));
        rows.collect::<Vec<_>>()
    };
    let rows: Vec<_> = devices.flat_map(row).collect();
    Answer::list(rows, query, |(id, collection, held)| {
        let device = &view.devices[id];
        let level = device.link.as_ref().is_some_and(|link| link.level);
        let of = |missed: &std::collections::BTreeMap<Collection, u64>| {
            missed.iter().find(|(known, _)| known.name() == collection.as_str()).map_or(0, |(_, n)| *n)
        };
        let ahead = if level { Some(0) } else { device.they_miss.map(|_| of(&device.they_miss_of)) };
        json!({
            "device": id,
            "deviceName": device.name.json(),
            "thisDevice": own(device),
            "collection": collection,
            "documents": held.documents,
            "changes": held.changes,
            "bytes": held.bytes,
            "ahead": ahead.filter(|_| !own(device)),
            "behind": level.then_some(0),
        })
    })
}

/// `GET /api/v1/sync/status` of pi-brain: the other devices as its spokes. What cannot be known is `null`.
pub(crate) fn spokes(view: &View) -> Value {
    let others: Vec<&DeviceView> = members(view).into_iter().filter(|device| device.id != view.me).collect();
    let spoke = |device: &&DeviceView| {
        json!({
            "name": device.name.json(),
            "method": "p2p",
            "enabled": device.member,
            "connected": device.reachable,
            "lastSeen": iso_or_null(device.last_contact_here),
            "sessionsCount": view.sessions.values().filter(|session| session.fact.device == device.id).count(),
        })
    };
    let met = others.iter().filter_map(|device| Some((device.name.json().to_owned(), iso(device.last_contact_here?))));
    let missing: Option<u64> = others.iter().map(|device| device.they_miss).sum();
    let error = |device: &&DeviceView| {
        let (at, why) = device.last_error.as_ref()?;
        Some(json!({"name": device.name.json(), "at": iso(*at), "error": why}))
    };
    json!({
        "status": "success",
        "data": {
            "spokes": others.iter().map(spoke).collect::<Vec<_>>(),
            "lastSync": met.collect::<serde_json::Map<_, _>>(),
            // Changes, not sessions, are what a device lacks: with none to send no session waits, else nobody can say how many.
            "pendingSessions": missing.filter(|n| *n == 0),
            "errors": others.iter().filter_map(error).collect::<Vec<_>>(),
        },
    })
}

/// `GET /api/v3/sources`: the directories that are read.
pub(crate) fn sources(view: &View, query: &str) -> Result<Answer, Problem> {
    let rows = view.sources.iter().map(|(name, source)| ((0, 0, name.clone()), (name, source))).collect();
    Answer::list(rows, Query::parse(query, &LIST), |(name, row)| source(name, row))
}

/// The network around this device.
pub(crate) fn around(around: &AroundView) -> Value {
    json!({
        "used": around.used,
        "skipped": around.skipped,
        "mdns": around.mdns,
        "heard": around.heard,
        "ownHeard": around.echoed,
        "error": around.error,
    })
}

/// The ways by which it is learnt what the tools do; `null` where it has not been since the start.
pub(crate) fn ways(view: &View) -> Value {
    let row = |way: Way| {
        let shown = view.ways.get(&way);
        let error = shown.and_then(|shown| shown.error.as_ref()).map(|(at, why)| json!({"at": iso(*at), "why": why}));
        json!({"way": way.word(), "lastRun": iso_or_null(shown.and_then(|shown| shown.ran_here)), "lastError": error})
    };
    Way::ALL.into_iter().map(row).collect()
}

/// One directory that is read.
pub(crate) fn source(name: &str, source: &SourceView) -> Value {
    json!({
        "source": name,
        "tool": Root::named(name).map(|root| root.folder().tool),
        "computer": null,
        "base": source.base,
        "present": source.present,
        "files": source.files,
        "listedAt": iso_or_null(source.listed_here),
        "lastRead": iso_or_null(source.read_here),
        "paused": source.paused,
        "malformed": source.malformed,
        "unknownKinds": source.unknown,
        "error": source.error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_named_by_where_it_leads() {
        let ours = |ip: &str, bits| (ip.parse::<IpAddr>().expect("an address"), bits);
        let subnets =
            vec![ours("127.0.0.1", 8), ours("198.51.100.7", 24), ours("2001:db8:1::7", 64), ours("100.70.0.1", 32), ours("192.0.2.9", 0)];
        let around = AroundView { subnets, ..AroundView::default() };
        for (address, expected) in [
            ("127.0.0.1:4826", "loopback"),
            ("[::1]:4826", "loopback"),
            ("198.51.100.7:4826", "loopback"),
            ("[2001:db8:1::7]:4826", "loopback"),
            ("100.70.0.2:4826", "VPN"),
            ("198.51.100.200:4826", "LAN"),
            ("[2001:db8:1::99]:4826", "LAN"),
            ("10.1.2.3:4826", "LAN"),
            ("[fd00::1]:4826", "LAN"),
            ("198.51.101.7:4826", "WAN"),
            ("[2001:db8:2::7]:4826", "WAN"),
            ("somewhere", "unknown"),
        ] {
            assert_eq!(kind(Some(&around), address), expected, "{address}");
        }
        assert_eq!(kind(None, "198.51.100.200:4826"), "WAN");
    }
}
