//! The world: devices with three clocks each, one queue of what is to happen, and `perform`, the mirror of the daemon's own.
//!
//! Time is in microseconds. The queue is ordered by (time, tie, number); the tie is drawn, so that what happens at one
//! moment happens in any order, but for the frames of one link, which never share a moment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hubless::model::effects::{Effects, Look, Note};
use hubless::model::id::{Asker, DeviceId};
use hubless::model::input::{Input, LinkAction};
use hubless::model::message::Bye;
use hubless::model::reply::{Code, Refusal, Reply};

use hubless::rules::members::Log;

use super::book::Book;
use super::chance::Chance;
use super::device::Device;
use super::links::Wire;
use super::oracle::Broken;
use super::plan::{Moment, Plan};
use super::trace::{self, Trace};

/// One millisecond.
pub(crate) const MS: u64 = 1_000;
/// Turns of one run; more means that something never falls silent.
const TURNS_MAX: u64 = 60_000;

/// What is to happen.
pub(crate) enum Event {
    /// An input for a device, while that process of it runs.
    Input(usize, u64, Box<Input>),
    /// A device does what waits for it.
    Turn(usize, u64),
    /// A deadline, set for this time.
    Tick(usize, u64, u64),
    /// A daemon starts.
    Rise(usize),
    /// A daemon that was to die dies at last.
    Fall(usize, u64),
    /// A machine wakes.
    Wake(usize),
    /// A look is answered.
    Look(usize, u64, Look),
    /// A frame arrives at one end of a wire.
    Arrive(u64, usize),
    /// What one end of a wire said has been taken.
    Room(u64, usize),
    /// A dial comes to its end.
    Dialled(usize, u64, Option<DeviceId>, Vec<String>),
}

/// Everything.
pub(crate) struct World {
    pub(crate) seed: u64,
    /// Microseconds since the run began.
    pub(crate) time: u64,
    queue: BTreeMap<(u64, u64, u64), Event>,
    number: u64,
    pub(crate) devices: Vec<Device>,
    pub(crate) wires: BTreeMap<u64, Wire>,
    pub(crate) wires_made: u64,
    /// Ways on which nothing goes: from, to.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// Pairs whose bytes trickle, and pairs that are never told of room.
    pub(crate) slow: BTreeSet<(usize, usize)>,
    pub(crate) roomless: BTreeSet<(usize, usize)>,
    /// Whose window a ticket is of, and who asked for it.
    pub(crate) tickets: BTreeMap<String, (usize, Asker)>,
    pub(crate) pairings: BTreeMap<u64, (usize, u64, Asker)>,
    /// The fleet that all are in.
    pub(crate) fleet: Option<hubless::model::id::FleetId>,
    /// Who is not paired when a run begins.
    pub(crate) loner: Option<usize>,
    /// Who was removed from the fleet.
    pub(crate) removed: BTreeSet<usize>,
    pub(crate) askers: u64,
    /// Who waits for an answer, and where they asked.
    pub(crate) waiting: BTreeMap<Asker, usize>,
    pub(crate) replies: BTreeMap<Asker, Reply>,
    /// When anything of a document was last told or kept.
    pub(crate) stirred: u64,
    pub(crate) calm: bool,
    pub(crate) turns: u64,
    /// How many it may take; a scenario of a long time may allow more.
    pub(crate) turns_max: u64,
    /// What happened, how often: a simulation in which nothing goes wrong proves nothing.
    pub(crate) happened: BTreeMap<&'static str, u64>,
    pub(crate) book: Book,
    /// What each set of membership entries comes to.
    pub(crate) logs: RefCell<BTreeMap<BTreeSet<Vec<u8>>, Rc<Log>>>,
    pub(crate) trace: Trace,
    pub(crate) ways: Chance,
    ties: Chance,
}

impl World {
    /// The devices of a plan, none of them running.
    pub(crate) fn new(plan: &Plan, loud: bool) -> World {
        let mut world = World {
            seed: plan.seed,
            time: 0,
            queue: BTreeMap::new(),
            number: 0,
            devices: Vec::new(),
            wires: BTreeMap::new(),
            wires_made: 0,
            cuts: BTreeSet::new(),
            slow: BTreeSet::new(),
            roomless: BTreeSet::new(),
            tickets: BTreeMap::new(),
            pairings: BTreeMap::new(),
            fleet: None,
            loner: None,
            removed: BTreeSet::new(),
            askers: 0,
            waiting: BTreeMap::new(),
            replies: BTreeMap::new(),
            stirred: 0,
            calm: false,
            turns: 0,
            turns_max: TURNS_MAX,
            happened: BTreeMap::new(),
            book: Book::default(),
            logs: RefCell::default(),
            trace: Trace::new(loud),
            ways: Chance::of(plan.seed, "ways", 0),
            ties: Chance::of(plan.seed, "ties", 0),
        };
        for n in 0..usize::from(plan.devices) {
            let mut key = [0; 32];
            key.copy_from_slice(&Chance::of(plan.seed, "key", n as u64).bytes(32));
            world.add_device(ed25519_dalek::SigningKey::from_bytes(&key));
        }
        world
    }

    /// Puts something into the queue.
    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.queue.insert((time, self.ties.next() % 1_000, self.number), event);
    }

    /// Lets time pass, at most so many microseconds.
    pub(crate) fn pass(&mut self, span: u64) -> Result<(), Broken> {
        let end = self.time + span;
        while let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= end) {
            let ((time, ..), event) = next.remove_entry();
            self.time = self.time.max(time);
            self.happen(event)?;
            if self.turns > self.turns_max {
                return Err(Broken::new("I9", format!("more than {} turns", self.turns_max)));
            }
        }
        self.time = end;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Input(d, process, input) => {
                if self.devices[d].process == process && self.devices[d].replica.is_some() {
                    self.devices[d].inbox.push_back(*input);
                    self.plan_turn(d);
                }
            }
            Event::Turn(d, process) => {
                if self.devices[d].process == process && self.devices[d].asleep.is_none() {
                    self.devices[d].turning = false;
                    self.turn(d)?;
                }
            }
            Event::Tick(d, process, at) => {
                let device = &mut self.devices[d];
                if device.process == process && device.tick == Some(at) && device.asleep.is_none() {
                    device.tick = None;
                    device.inbox.push_back(Input::Tick);
                    self.plan_turn(d);
                }
            }
            Event::Rise(d) => self.rise(d)?,
            Event::Fall(d, process) => {
                if let (true, Some((_, rest))) = (self.devices[d].process == process, self.devices[d].armed) {
                    self.fall(d, u64::from(rest) * MS);
                }
            }
            Event::Wake(d) => self.wake(d),
            Event::Look(d, process, look) => {
                let answer = self.devices[d].files.look(&look);
                self.happen(Event::Input(d, process, Box::new(Input::Source(answer))))?;
            }
            Event::Arrive(wire, side) => self.arrive(wire, side)?,
            Event::Room(wire, side) => self.room(wire, side)?,
            Event::Dialled(d, process, device, addresses) => self.dialled(d, process, device, &addresses),
        }
        Ok(())
    }

    pub(crate) fn plan_turn(&mut self, d: usize) {
        let device = &mut self.devices[d];
        if !device.turning && device.asleep.is_none() && device.replica.is_some() {
            device.turning = true;
            let process = device.process;
            let at = self.time + device.chance.below(300);
            self.at(at, Event::Turn(d, process));
        }
    }

    /// Gives a device an input, soon.
    pub(crate) fn give(&mut self, d: usize, after: u64, input: Input) {
        let process = self.devices[d].process;
        self.at(self.time + after, Event::Input(d, process, Box::new(input)));
    }

    /// One turn of the daemon's loop: what waits is stepped through, kept once, then shown, looked at, told and answered.
    fn turn(&mut self, d: usize) -> Result<(), Broken> {
        let now = self.now(d);
        let mut turn = Effects::default();
        let taken = 1 + self.devices[d].chance.below(8);
        for _ in 0..taken {
            let Some(input) = self.devices[d].inbox.pop_front() else { break };
            let was_tick = input == Input::Tick;
            self.trace.line(self.time, d, &trace::input(&input));
            let Some(replica) = self.devices[d].replica.as_mut() else { return Ok(()) };
            let effects = replica.step(now, input);
            turn.absorb(effects);
            self.watch_deadline(d, was_tick, now)?;
        }
        self.turns += 1;
        self.perform(d, turn)?;
        if self.devices[d].replica.is_some() && !self.devices[d].inbox.is_empty() {
            self.plan_turn(d);
        }
        Ok(())
    }

    /// The mirror of `daemon/perform.rs`.
    pub(crate) fn perform(&mut self, d: usize, turn: Effects) -> Result<(), Broken> {
        let Effects { keep, inspect, look, tell, reply, note, catch_up } = turn;
        let armed = self.devices[d].armed.filter(|(moment, _)| match moment {
            Moment::BeforeKeep | Moment::AmidKeep | Moment::AfterKeep => !keep.is_empty(),
            Moment::AmidTell => !tell.is_empty(),
        });
        let rest = armed.map_or(0, |(_, rest)| u64::from(rest) * MS);
        let armed = armed.map(|(moment, _)| moment);
        let full = self.devices[d].disk.full_until > self.time;
        self.count(match armed {
            Some(Moment::BeforeKeep) => "crash before keep",
            Some(Moment::AmidKeep) => "crash amid keep",
            Some(Moment::AfterKeep) => "crash after keep",
            Some(Moment::AmidTell) => "crash amid tell",
            None => "turn",
        });
        if armed == Some(Moment::BeforeKeep) {
            return self.fallen(d, rest);
        }
        if armed == Some(Moment::AmidKeep) || (full && !keep.is_empty()) {
            let device = &mut self.devices[d];
            device.disk.keep_some(&keep, &mut device.chance, &mut self.book)?;
            for (asker, _) in reply.into_iter().filter(|_| armed.is_none()) {
                self.count("refused for a full disk");
                self.heard(d, asker, Reply::Refused(Refusal::new(Code::Storage, "the disk is full")));
            }
            return self.fallen(d, if armed.is_some() { rest } else { 5_000 * MS });
        }
        let new = self.devices[d].disk.keep(&keep, &mut self.book)?;
        if !new.is_empty() {
            self.stir(d, "kept")?;
        }
        self.watch_kept(d, &new)?;
        if armed == Some(Moment::AfterKeep) {
            return self.fallen(d, rest);
        }
        self.watch_shown(d)?;
        for line in note {
            self.count_note(&line);
            self.trace.line(self.time, d, &format!("  {line:?}"));
        }
        if catch_up {
            self.give(d, 0, Input::CaughtUp);
        }
        for doc in inspect {
            let bytes = self.devices[d].disk.kept.documents.get(&doc).cloned();
            self.give(d, 100, Input::Shelved(doc, bytes));
        }
        let process = self.devices[d].process;
        for look in look {
            let after = 100 + self.devices[d].chance.below(3_000);
            self.at(self.time + after, Event::Look(d, process, look));
        }
        let cut = if armed == Some(Moment::AmidTell) { self.devices[d].chance.place(tell.len()) } else { usize::MAX };
        for (at, action) in tell.into_iter().enumerate() {
            if at == cut {
                return self.fallen(d, rest);
            }
            self.carry(d, action)?;
        }
        for (asker, reply) in reply {
            self.watch_reply(d, &reply)?;
            self.heard(d, asker, reply);
        }
        self.plan_tick(d);
        Ok(())
    }

    fn fallen(&mut self, d: usize, rest: u64) -> Result<(), Broken> {
        self.fall(d, rest);
        Ok(())
    }

    fn heard(&mut self, d: usize, asker: Asker, reply: Reply) {
        let word = match &reply {
            Reply::Refused(why) => format!("  -> {}: refused, {why}", asker.0),
            Reply::Document(_) => format!("  -> {}: a document", asker.0),
            other => format!("  -> {}: {other:?}", asker.0),
        };
        self.trace.line(self.time, d, &word);
        self.waiting.remove(&asker);
        self.replies.insert(asker, reply);
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn count_note(&mut self, note: &Note) {
        match note {
            Note::Restored { .. } => self.count("restored store noticed"),
            Note::SetAside { .. } => self.count("set aside"),
            Note::Woke { .. } => self.count("woke"),
            Note::NotSeen { .. } => self.count("not seen"),
            Note::NewSession { .. }
            | Note::NewSessions { .. }
            | Note::Webhook { .. }
            | Note::Active { .. }
            | Note::Watching { .. }
            | Note::DialFailed { .. }
            | Note::Consolidated { .. }
            | Note::Paired { .. }
            | Note::Removed { .. }
            | Note::Mended { .. }
            | Note::Link { .. } => {}
        }
    }

    /// Something of a document moved.
    pub(crate) fn stir(&mut self, d: usize, what: &str) -> Result<(), Broken> {
        self.stirred = self.time;
        // Who was removed may learn so at any time.
        if self.calm && self.honest().contains(&d) {
            Err(Broken::new("I2", format!("device {d} does not fall silent: {what}")))
        } else {
            Ok(())
        }
    }

    /// Whether a device runs.
    pub(crate) fn is_up(&self, d: usize) -> bool {
        self.devices[d].replica.is_some() && self.devices[d].asleep.is_none()
    }

    /// Asks a device; `None`: nobody is there.
    pub(crate) fn ask(&mut self, d: usize, ask: hubless::model::ask::Ask) -> Option<Asker> {
        self.devices[d].replica.as_ref()?;
        self.askers += 1;
        let asker = Asker(self.askers);
        self.waiting.insert(asker, d);
        self.give(d, 50, Input::Ask(asker, ask));
        Some(asker)
    }

    /// What a device asked of its network.
    fn carry(&mut self, d: usize, action: LinkAction) -> Result<(), Broken> {
        let process = self.devices[d].process;
        match action {
            LinkAction::Say { link, frames } | LinkAction::Pour { link, frames } => self.say(d, link, frames)?,
            LinkAction::Pace { .. } => {}
            LinkAction::HangUp { link, why } => {
                self.count(bye_word(why));
                self.hang_up(d, link);
            }
            LinkAction::Dial { device, addresses } => {
                let after = 1_000 + self.ways.below(20_000);
                self.at(self.time + after, Event::Dialled(d, process, device, addresses));
            }
            LinkAction::Block { device, for_ms } => drop(self.devices[d].blocked.insert(device, self.time + for_ms * MS)),
            LinkAction::Fleet(fleet) => self.change_fleet(d, fleet),
            LinkAction::Doubt { link } => drop(self.devices[d].doubted.insert(link)),
            LinkAction::Renew => self.end_lines(d, "everything is opened anew"),
            LinkAction::Invite { asker, .. } => self.invite(d, asker),
            LinkAction::CloseWindow { asker } => self.tickets.retain(|_, (_, of)| *of != asker),
            LinkAction::Join { asker, text, name, only, .. } => self.join(d, asker, &text, &name, only),
            LinkAction::Admit { pairing, welcome } => self.admit(d, pairing, welcome),
            LinkAction::TurnAway { pairing, why } => self.turn_away(pairing, why),
        }
        Ok(())
    }
}

fn bye_word(why: Bye) -> &'static str {
    match why {
        Bye::Stopping => "bye: stopping",
        Bye::Untrusted => "bye: untrusted",
        Bye::Version => "bye: version",
        Bye::Garbled => "bye: garbled",
        Bye::Silent => "bye: silent",
        Bye::Clone => "bye: clone",
        Bye::Slept => "bye: slept",
        Bye::Left => "bye: left",
        Bye::Anew => "bye: anew",
        Bye::Unwanted => "bye: unwanted",
    }
}
