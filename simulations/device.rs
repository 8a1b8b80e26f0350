//! One machine: three clocks, a disk, files, and a daemon that rises, falls, sleeps and wakes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ed25519_dalek::SigningKey;
use hubless::model::id::{DeviceId, Life, LinkId};
use hubless::model::input::{Input, PeerEvent};
use hubless::model::leaving::Exclude;
use hubless::model::member::{AgentName, Fleet};
use hubless::model::peering::Peering;
use hubless::model::time::Now;
use hubless::replica::{Identity, Replica};

use super::chance::Chance;
use super::disk::Disk;
use super::files::Files;
use super::oracle::{Broken, Watch};
use super::plan::Moment;
use super::world::{Event, MS, World};

/// The true wall clock when a run begins: 2026-11-20.
const WALL_BEGIN_MS: i64 = 1_795_132_800_000;
/// Ticks in a row that leave a deadline in the past.
const TICKS_MAX: u32 = 3;

/// One machine.
pub(crate) struct Device {
    pub(crate) key: SigningKey,
    pub(crate) id: DeviceId,
    /// Where it listens.
    pub(crate) address: String,
    pub(crate) disk: Disk,
    pub(crate) files: Files,
    /// Its wall clock minus the true one, milliseconds.
    pub(crate) wrong_ms: i64,
    /// Whether that changed since the daemon rose.
    pub(crate) jumped: bool,
    /// When its boot clock began, and how long it has slept, microseconds.
    pub(crate) boot: u64,
    pub(crate) slept: u64,
    /// Since when it sleeps.
    pub(crate) asleep: Option<u64>,
    /// Which of its processes runs, counted from 1.
    pub(crate) process: u64,
    pub(crate) replica: Option<Replica>,
    /// What its network announces.
    pub(crate) fleet: Option<Fleet>,
    pub(crate) inbox: VecDeque<Input>,
    pub(crate) turning: bool,
    pub(crate) tick: Option<u64>,
    pub(crate) idle_ticks: u32,
    /// When it is to die, and how long it stays dead, milliseconds.
    pub(crate) armed: Option<(Moment, u32)>,
    /// Its links: which wire, which end.
    pub(crate) lines: BTreeMap<LinkId, (u64, usize)>,
    /// Links that it doubts: a dial goes beside them.
    pub(crate) doubted: BTreeSet<LinkId>,
    /// Whom its network lets not through, until when.
    pub(crate) blocked: BTreeMap<DeviceId, u64>,
    /// Whether it is a clone, and whether it is gone for good.
    pub(crate) is_clone: bool,
    pub(crate) retired: bool,
    /// What is configured for the others.
    pub(crate) peering: Peering,
    pub(crate) watch: Watch,
    pub(crate) chance: Chance,
    /// What stays here.
    pub(crate) exclude: Exclude,
}

impl Device {
    /// Every other device has names for its agents: two of them for one, and one in another case.
    fn names(&self) -> BTreeMap<String, AgentName> {
        let named = |name: &str| AgentName { name: name.into(), role: Some("simulated".into()) };
        let names = [("claude", "Sam"), ("agent 0", "sam"), ("agent 1", "Kim")];
        if self.id.0[0].is_multiple_of(2) { names.map(|(called, name)| (called.to_owned(), named(name))).into() } else { BTreeMap::new() }
    }

    /// Who it says it is; a clone says the same.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            device: self.id,
            exclude: self.exclude.clone(),
            agents: self.names(),
            peering: self.peering.clone(),
            ..Identity::of(self.key.clone(), format!("device {}", self.id.short()))
        }
    }
}

impl World {
    /// One more machine; two with one key are clones.
    pub(crate) fn add_device(&mut self, key: SigningKey) -> usize {
        let n = self.devices.len();
        let mut chance = Chance::of(self.seed, "device", n as u64);
        self.devices.push(Device {
            id: DeviceId(key.verifying_key().to_bytes()),
            key,
            address: format!("10.0.0.{n}:4826"),
            disk: Disk::default(),
            files: Files::default(),
            wrong_ms: 0,
            jumped: false,
            boot: chance.below(1_000_000_000) * MS,
            slept: 0,
            asleep: None,
            process: 0,
            replica: None,
            fleet: None,
            inbox: VecDeque::new(),
            turning: false,
            tick: None,
            idle_ticks: 0,
            armed: None,
            lines: BTreeMap::new(),
            doubted: BTreeSet::new(),
            blocked: BTreeMap::new(),
            is_clone: false,
            retired: false,
            peering: Peering::default(),
            watch: Watch::default(),
            chance,
            exclude: Exclude::default(),
        });
        n
    }

    /// What a device's clocks show.
    pub(crate) fn now(&self, d: usize) -> Now {
        let device = &self.devices[d];
        let boot = self.time + device.boot;
        let true_ms = WALL_BEGIN_MS + i64::try_from(self.time / MS).expect("a run ends before the year 10 000");
        Now { wall_ms: true_ms + device.wrong_ms, mono_ms: (boot - device.slept) / MS, boot_ms: boot / MS }
    }

    /// The deadline of a device is put into the queue.
    pub(crate) fn plan_tick(&mut self, d: usize) {
        let Some(deadline) = self.devices[d].replica.as_ref().and_then(Replica::deadline) else { return };
        let device = &mut self.devices[d];
        let at = (deadline.saturating_mul(MS)).saturating_sub(device.boot).max(self.time);
        if device.tick != Some(at) {
            device.tick = Some(at);
            let process = device.process;
            self.at(at, Event::Tick(d, process, at));
        }
    }

    /// What is due is done away with when it is due: else the loop would never wait.
    pub(crate) fn watch_deadline(&mut self, d: usize, was_tick: bool, now: Now) -> Result<(), Broken> {
        let device = &mut self.devices[d];
        let over = device.replica.as_ref().and_then(Replica::deadline).is_some_and(|deadline| deadline <= now.boot_ms);
        device.idle_ticks = if was_tick && over { device.idle_ticks + 1 } else { 0 };
        if device.idle_ticks > TICKS_MAX { Err(Broken::new("I9", format!("device {d} is due for ever"))) } else { Ok(()) }
    }

    /// The daemon dies; it rises again after `rest`.
    pub(crate) fn fall(&mut self, d: usize, rest: u64) {
        self.trace.line(self.time, d, "falls");
        let device = &mut self.devices[d];
        device.replica = None;
        device.armed = None;
        device.inbox.clear();
        device.turning = false;
        device.tick = None;
        self.waiting.retain(|_, at| *at != d);
        self.break_lines(d);
        self.unannounce(d);
        if !self.devices[d].retired {
            self.at(self.time + rest, Event::Rise(d));
        }
    }

    /// The daemon starts, unless it runs.
    pub(crate) fn rise(&mut self, d: usize) -> Result<(), Broken> {
        if self.devices[d].replica.is_some() || self.devices[d].retired {
            return Ok(());
        }
        let now = self.now(d);
        let device = &mut self.devices[d];
        device.process += 1;
        device.jumped = false;
        device.disk.kept.life += 1;
        let life = Life { counter: device.disk.kept.life, nonce: device.chance.next() };
        let (replica, effects) = Replica::open(device.identity(), life, now, &device.disk.kept);
        device.fleet = Some(replica.fleet().clone());
        device.replica = Some(replica);
        let address = device.address.clone();
        self.trace.line(self.time, d, &format!("rises, life {}", life.counter));
        self.watch_risen(d)?;
        self.perform(d, effects)?;
        if self.devices[d].replica.is_some() {
            self.give(d, 200, Input::Peer(PeerEvent::Listening { addresses: vec![address] }));
            self.announce(d);
        }
        Ok(())
    }

    /// Starts a device now.
    pub(crate) fn start(&mut self, d: usize) {
        self.at(self.time, Event::Rise(d));
    }

    /// The machine sleeps for so long.
    pub(crate) fn sleep(&mut self, d: usize, span: u64) {
        if self.devices[d].asleep.is_none() {
            self.trace.line(self.time, d, "sleeps");
            self.devices[d].asleep = Some(self.time);
            self.at(self.time + span, Event::Wake(d));
        }
    }

    /// The machine wakes: what was waiting is there, and so are the deadlines that passed.
    pub(crate) fn wake(&mut self, d: usize) {
        let Some(since) = self.devices[d].asleep.take() else { return };
        self.trace.line(self.time, d, "wakes");
        self.devices[d].slept += self.time - since;
        self.devices[d].turning = false;
        self.devices[d].tick = None;
        self.plan_tick(d);
        if !self.devices[d].inbox.is_empty() {
            self.plan_turn(d);
        }
        self.thaw();
    }
}
