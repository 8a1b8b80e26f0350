//! The switch: frames come in on one wire and go out on others, late, seldom or never, as it was told.
//!
//! It is a user's program, so that delay, loss and cuts need nothing of the kernel. One thread reads each wire; what must
//! wait is kept, in bounds, by one more. Chance comes from a fixed seed.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tun_tap::Iface;

/// Bytes of the largest frame.
const FRAME_MAX: usize = 2048;
/// Frames that may be under way at once; more are lost, as on any switch.
const UNDER_WAY_MAX: usize = 20_000;
/// Bytes of a recording; what passes later is not kept.
const TAPE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The UDP port of multicast DNS.
const MDNS: [u8; 2] = 5353u16.to_be_bytes();

/// What the way between all hosts is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// How long a frame is under way, one way.
    pub delay: Duration,
    /// How many of a hundred frames are lost.
    pub loss_percent: u8,
    /// Whether frames for many arrive; guest networks often let none through. ARP does.
    pub multicast: bool,
}

impl Weather {
    /// Nothing is late or lost.
    pub const FINE: Weather = Weather { delay: Duration::ZERO, loss_percent: 0, multicast: true };
}

/// Frames and bytes that a host sent and was given.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Bytes that came from it.
    pub sent: u64,
    /// Bytes that it was given.
    pub given: u64,
    /// How many of those that came from it were frames of TCP: what devices say to each other, and nothing else.
    pub tcp: u64,
}

/// One end of a wire.
#[derive(Debug, Clone)]
struct Port {
    iface: Arc<Iface>,
    host: usize,
    lan: usize,
}

#[derive(Debug)]
struct State {
    ports: Vec<Port>,
    weather: Weather,
    cuts: BTreeSet<(usize, usize)>,
    known: BTreeMap<(usize, [u8; 6]), usize>,
    passed: BTreeMap<usize, Passed>,
    tape: Option<Vec<u8>>,
    chance: u64,
    under_way: BinaryHeap<UnderWay>,
    sequence: u64,
    closed: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct UnderWay {
    due: Instant,
    sequence: u64,
    to: usize,
    frame: Vec<u8>,
}

impl Ord for UnderWay {
    /// The earliest is the greatest, since the heap gives that first.
    fn cmp(&self, other: &UnderWay) -> std::cmp::Ordering {
        (other.due, other.sequence).cmp(&(self.due, self.sequence))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &UnderWay) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

/// A running switch.
#[derive(Debug)]
pub struct Switch {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Switch {
    pub(crate) fn new() -> Switch {
        let state = State {
            ports: Vec::new(),
            weather: Weather::FINE,
            cuts: BTreeSet::new(),
            known: BTreeMap::new(),
            passed: BTreeMap::new(),
            tape: None,
            chance: 7,
            under_way: BinaryHeap::new(),
            sequence: 0,
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), more: Condvar::new() });
        let late = Arc::clone(&shared);
        Switch { shared, threads: Mutex::new(vec![thread::spawn(move || late.deliver_late())]) }
    }

    /// Takes a wire.
    pub(crate) fn plug(&self, iface: Iface, host: usize, lan: usize) -> io::Result<()> {
        let iface = Arc::new(iface);
        let port = Port { iface: Arc::clone(&iface), host, lan };
        let at = {
            let mut state = self.shared.locked();
            state.ports.push(port);
            state.ports.len() - 1
        };
        let shared = Arc::clone(&self.shared);
        let reader = thread::Builder::new().name(format!("wire {at}")).spawn(move || shared.read(at, &iface))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(())
    }

    /// Waits until nothing is read any more; the wires must be gone.
    pub(crate) fn close(&self) {
        {
            let mut state = self.shared.locked();
            state.closed = true;
            state.ports.clear();
        }
        self.shared.more.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = thread.join();
        }
    }

    /// From now on the way is like that.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.locked().weather = weather;
    }

    /// What the way is like.
    #[must_use]
    pub fn weather(&self) -> Weather {
        self.shared.locked().weather
    }

    /// Nothing passes between two hosts any more; neither is told so.
    pub fn cut(&self, a: usize, b: usize) {
        self.shared.locked().cuts.extend([(a, b), (b, a)]);
    }

    /// Everything passes between two hosts again.
    pub fn join(&self, a: usize, b: usize) {
        let mut state = self.shared.locked();
        state.cuts.remove(&(a, b));
        state.cuts.remove(&(b, a));
    }

    /// What a host sent and was given so far.
    #[must_use]
    pub fn passed(&self, host: usize) -> Passed {
        self.shared.locked().passed.get(&host).copied().unwrap_or_default()
    }

    /// Begins to keep a copy of every frame that comes in, in bounds.
    pub fn record(&self) {
        self.shared.locked().tape = Some(Vec::new());
    }

    /// All that was recorded, frame after frame; nothing is recorded any more.
    #[must_use]
    pub fn recorded(&self) -> Vec<u8> {
        self.shared.locked().tape.take().unwrap_or_default()
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a wire until it is gone.
    fn read(&self, at: usize, iface: &Iface) {
        let mut frame = [0; FRAME_MAX];
        loop {
            match iface.recv(&mut frame) {
                Ok(n) => self.forward(at, &frame[..n]),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                // EIO: the interface is down; it is read again when it may be up.
                Err(why) if why.raw_os_error() == Some(5) && !self.locked().closed => thread::sleep(Duration::from_millis(20)),
                Err(_) => return,
            }
        }
    }

    fn forward(&self, at: usize, frame: &[u8]) {
        let mut state = self.locked();
        let (now, delay) = (now(), state.weather.delay);
        let to = state.route(at, frame);
        if delay.is_zero() {
            let ifaces: Vec<Arc<Iface>> = to.into_iter().filter_map(|port| state.give(port, frame)).collect();
            drop(state);
            for iface in ifaces {
                let _ = iface.send(frame);
            }
            return;
        }
        for to in to {
            if state.under_way.len() < UNDER_WAY_MAX {
                state.sequence += 1;
                let sequence = state.sequence;
                state.under_way.push(UnderWay { due: now + delay, sequence, to, frame: frame.to_vec() });
            }
        }
        drop(state);
        self.more.notify_one();
    }

    /// Delivers what was under way, until the switch is closed.
    fn deliver_late(&self) {
        let mut state = self.locked();
        while !state.closed {
            let wait = state.under_way.peek().map(|next| next.due.saturating_duration_since(now()));
            if wait.is_some_and(|wait| wait.is_zero()) {
                let Some(UnderWay { to, frame, .. }) = state.under_way.pop() else { continue };
                let iface = state.give(to, &frame);
                drop(state);
                if let Some(iface) = iface {
                    let _ = iface.send(&frame);
                }
                state = self.locked();
            } else {
                let wait = wait.unwrap_or(Duration::from_secs(1));
                state = self.more.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl State {
    /// Where a frame goes: to who is known to have its address, else to all of its network; less what is cut, lost or not let through.
    fn route(&mut self, at: usize, frame: &[u8]) -> Vec<usize> {
        let (Some(from), Some(to), Some(source)) = (self.ports.get(at).cloned(), address(frame, 0), address(frame, 6)) else {
            return Vec::new();
        };
        let passed = self.passed.entry(from.host).or_default();
        passed.sent += frame.len() as u64;
        passed.tcp += if is_tcp(frame) { frame.len() as u64 } else { 0 };
        if let Some(tape) = &mut self.tape
            && tape.len() + frame.len() <= TAPE_BYTES_MAX
        {
            tape.extend_from_slice(frame);
        }
        self.known.insert((from.lan, source), at);
        let many = to[0] & 1 == 1;
        if many && !self.weather.multicast && !is_neighbourly(frame) {
            return Vec::new();
        }
        let known = self.known.get(&(from.lan, to)).copied().filter(|_| !many);
        let all: Vec<usize> = known.map_or_else(|| (0..self.ports.len()).collect(), |port| vec![port]);
        let heard = |state: &State, port: usize| {
            let there = &state.ports[port];
            port != at && there.lan == from.lan && !state.cuts.contains(&(from.host, there.host))
        };
        let reached: Vec<usize> = all.into_iter().filter(|port| heard(self, *port)).collect();
        reached.into_iter().filter(|_| !self.is_lost()).collect()
    }

    fn is_lost(&mut self) -> bool {
        // splitmix64
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 100 < u64::from(self.weather.loss_percent)
    }

    fn give(&mut self, port: usize, frame: &[u8]) -> Option<Arc<Iface>> {
        let port = self.ports.get(port)?;
        self.passed.entry(port.host).or_default().given += frame.len() as u64;
        Some(Arc::clone(&port.iface))
    }
}

/// The hardware address at an offset.
fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

/// Whether a frame for many is ARP, or IPv6's neighbour discovery: without those not even what is meant for one arrives.
fn is_neighbourly(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x86, 0xdd]) => frame.get(20) == Some(&58) && frame.get(54).is_some_and(|kind| (133..=137).contains(kind)),
        _ => false,
    }
}

/// Whether a frame is TCP over IPv4 or IPv6.
fn is_tcp(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&6),
        Some([0x86, 0xdd]) => frame.get(20) == Some(&6),
        _ => false,
    }
}

/// Whether a frame is multicast DNS over IPv4 or IPv6.
#[must_use]
pub fn is_mdns(frame: &[u8]) -> bool {
    let port = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.get(23) == Some(&17) => frame.get(36..38),
        Some([0x86, 0xdd]) if frame.get(20) == Some(&17) => frame.get(56..58),
        _ => None,
    };
    port == Some(&MDNS[..])
}

#[expect(clippy::disallowed_methods, reason = "a switch delays by the clock; what is judged waits for conditions")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: [u8; 2], rest: &[(usize, u8)]) -> Vec<u8> {
        let mut frame = vec![0; 80];
        frame[12..14].copy_from_slice(&kind);
        for (at, byte) in rest {
            frame[*at] = *byte;
        }
        frame
    }

    #[test]
    fn neighbours_are_told_from_multicast_dns() {
        let arp = frame([0x08, 0x06], &[]);
        let solicit = frame([0x86, 0xdd], &[(20, 58), (54, 135)]);
        let mdns4 = frame([0x08, 0x00], &[(23, 17), (36, MDNS[0]), (37, MDNS[1])]);
        let mdns6 = frame([0x86, 0xdd], &[(20, 17), (56, MDNS[0]), (57, MDNS[1])]);
        for (frame, neighbour, mdns) in [(arp, true, false), (solicit, true, false), (mdns4, false, true), (mdns6, false, true)] {
            assert_eq!((is_neighbourly(&frame), is_mdns(&frame), is_tcp(&frame)), (neighbour, mdns, false));
        }
        assert!(is_tcp(&frame([0x08, 0x00], &[(23, 6)])) && is_tcp(&frame([0x86, 0xdd], &[(20, 6)])));
        assert!(!is_neighbourly(&[]) && !is_mdns(&[]) && address(&[1; 5], 0).is_none());
    }

    #[test]
    fn the_earliest_is_delivered_first_and_equals_in_order() {
        let begun = now();
        let at = |ms, sequence| UnderWay { due: begun + Duration::from_millis(ms), sequence, to: 0, frame: Vec::new() };
        let mut heap = BinaryHeap::from([at(5, 1), at(1, 2), at(1, 3), at(3, 4)]);
        let order: Vec<u64> = std::iter::from_fn(|| heap.pop()).map(|next| next.sequence).collect();
        assert_eq!(order, [2, 3, 4, 1]);
    }
}
