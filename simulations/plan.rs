//! What happens in a run, drawn before it is run, so that it can be shrunk, written down and run again.
//!
//! Devices and todos are named by number, taken modulo what is there: a shorter plan still means something. A plan as text
//! is one line of JSON for its head and one for each step; that text is what `cases/` holds.

use quickcheck::{Arbitrary, Gen};
use serde::{Deserialize, Serialize};

use super::chance::Chance;

/// A device, by number.
pub(crate) type Dev = u8;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where all chance of the run comes from.
    pub(crate) seed: u64,
    /// How many devices there are.
    pub(crate) devices: u8,
    /// What happens, in this order.
    pub(crate) steps: Vec<Step>,
    /// Whether the first device keeps to itself what `secrets` says.
    #[serde(default)]
    pub(crate) exclude: bool,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A person or agent asks for a todo.
    Todo(Dev, Deed),
    /// An agent reports: which of its device's, with which task.
    Beat(Dev, u8, Word),
    /// A tool writes.
    File(Dev, FileDeed),
    /// The way between two devices.
    Link(Dev, Dev, LinkFault),
    /// A device's disk; the daemon falls with it.
    Disk(Dev, DiskFault),
    /// A device's wall clock jumps by so many seconds.
    Clock(Dev, i64),
    /// The daemon dies at that moment, and rises after so many milliseconds.
    Crash(Dev, Moment, u32),
    /// The daemon is stopped and started.
    Restart(Dev),
    /// The machine sleeps for so many milliseconds.
    Sleep(Dev, u32),
    /// Somebody who is no device of ours, or one that lies.
    Stranger(Dev, Noise),
    /// The first invites the second, which joins if it is alone.
    Pair(Dev, Dev),
    /// One device removes another from the fleet; one in a plan counts.
    Remove(Dev, Dev),
    /// Time passes, milliseconds.
    Wait(u32),
    /// The first device works on what is excluded there, or another one wants to know of it.
    Secret(SecretDeed),
    /// What is exchanged between the first and the second, and when, as a person or the configuration of the first says.
    Flow(Dev, Dev, FlowDeed),
}

/// What is said of the exchange with a device. All of it ends when the faults do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum FlowDeed {
    /// It is paused.
    Pause,
    /// It goes on.
    Resume,
    /// All are paused.
    PauseAll,
    /// All go on.
    ResumeAll,
    /// The configuration says what is sent and what is received; the daemon starts anew with it.
    Terms(bool, bool),
    /// Every quarter of an hour.
    Schedule,
    /// No link is kept.
    Disabled,
    /// The configuration says nothing of it any more.
    Plain,
}

/// What is done with what is excluded. Numbers choose sessions, places and the todos that the device shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum SecretDeed {
    /// A hook of a tool that is known reports from a place.
    Hook(u8, u8),
    /// A script or a tool that is not known reports from a place, or from none.
    Script(u8, u8),
    /// The excluded agent reports in somebody's session.
    Mole(u8, u8),
    /// A record of a session is said.
    Record(u8, u8),
    /// A list is written whose session is told of by hooks only, or by nobody.
    List(u8, u8),
    /// A sub-agent's file is written, perhaps before the one of the session that it works for.
    SubAgent(u8, u8),
    /// The session that it works for begins its own.
    Parent(u8, u8),
    /// A person adds a todo to an excluded project, or the excluded agent to any.
    Add(u8),
    /// The text or the owner of a todo is set, to what must stay if the todo does; by a person or the excluded agent.
    Edit(u8, u8),
    /// A member writes a later revision of one of our sessions.
    Forge(u8),
    /// A peer cannot take what we say of our agents.
    Held,
    /// The device gets another key.
    Rekey,
    /// What is excluded is excluded from now on; until then nothing is.
    Begin,
}

/// What is asked for; numbers choose among texts, projects and the todos that the device shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Deed {
    Add(u8, u8),
    Start(u8),
    Done(u8),
    Reopen(u8),
    Retext(u8, u8),
    Owner(u8, u8),
    Tag(u8, u8),
    Delete(u8),
    Undo(u8),
    Resolve(u8, u8),
}

/// What an agent says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Word {
    Working(u8),
    Tick,
    Waiting,
    Done,
}

/// What a tool does to its files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum FileDeed {
    /// Writes the list of a session: for each text a digit of base 5, 0 meaning that it is not there, else its status.
    Write(u8, u32),
    /// As `Write`, and nobody hears of it.
    Unheard(u8, u32),
    /// Writes the same again.
    Again(u8),
    /// Leaves half of it there.
    Torn(u8),
    /// Writes `[]`.
    Emptied(u8),
    /// Deletes it.
    Deleted(u8),
    /// Puts an older copy there, with its time.
    SetBack(u8),
    /// Begins the transcript of a session, which tells its project.
    Transcript(u8, u8),
    /// Appends a line to a session's transcript, or begins it: a prompt, a list, or the end of a turn.
    Line(u8, u32),
    /// As `Line`, and nobody hears of it.
    LineUnheard(u8, u32),
    /// Appends the beginning of a line.
    LineTorn(u8, u32),
    /// Leaves so many hundredths of the transcript there.
    LinesCut(u8, u8),
    /// Puts another transcript of a few lines in its place.
    LinesRewritten(u8, u32),
    /// Deletes the transcript.
    LinesDeleted(u8),
}

/// What befalls the way between two devices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum LinkFault {
    /// Nothing goes either way.
    Cut,
    /// Nothing goes from the first to the second.
    OneWay,
    /// All goes again.
    Heal,
    /// Links end, and lose what was on the way from some point on.
    Reset,
    /// Bytes trickle.
    Slow,
    /// Nobody says that there is room.
    NoRoom,
    /// They dial each other at once, though they are linked.
    Again,
}

/// What befalls a disk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum DiskFault {
    /// The index is gone.
    IndexDeleted,
    /// The documents are gone; the index is there.
    DocumentsDeleted,
    /// One document is gone.
    OneDeleted(u8),
    /// Everything but the key is gone.
    Lost,
    /// A copy of it is put away.
    Copied,
    /// The copy is put back.
    Restored,
    /// The copy runs on another machine, with the same key.
    Cloned,
    /// It is full for so many milliseconds.
    Full(u32),
}

/// Where in the performing of a turn a daemon dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moment {
    BeforeKeep,
    AmidKeep,
    AfterKeep,
    AmidTell,
}

/// What those say who are not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Noise {
    /// Bytes from somebody who proves nothing.
    Unproven(u8),
    /// A member's link that says garbage at some stage; from 128 on it lies about lives and presence.
    Garbage(u8),
    /// A member's link that tells changes which cannot be; from 128 on such as take something away if they are believed.
    Poison(u8),
    /// mDNS shows somebody, ours or not, who is not there.
    Sighting(u8),
}

/// A step's kind and how often it is drawn, in a hundred, where its fault is enabled.
const MIX: [(u64, Kind); 15] = [
    (22, Kind::Todo),
    (14, Kind::File),
    (8, Kind::Beat),
    (16, Kind::Wait),
    (12, Kind::Link),
    (8, Kind::Crash),
    (5, Kind::Disk),
    (3, Kind::Clock),
    (4, Kind::Restart),
    (2, Kind::Sleep),
    (4, Kind::Stranger),
    (1, Kind::Remove),
    (3, Kind::Pair),
    (60, Kind::Secret),
    (6, Kind::Flow),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Todo,
    File,
    Beat,
    Wait,
    Link,
    Crash,
    Disk,
    Clock,
    Restart,
    Sleep,
    Stranger,
    Remove,
    Pair,
    Secret,
    Flow,
}

impl Plan {
    /// The plan of this seed: some kinds of fault, and between a handful and `steps` steps.
    pub(crate) fn drawn(seed: u64, steps: u64) -> Plan {
        let mut chance = Chance::of(seed, "plan", 0);
        let devices = [2, 2, 3, 3, 4][chance.place(5)];
        let enabled = chance.next();
        let plain = MIX.iter().zip(0..).filter(|((_, kind), n)| *kind != Kind::Secret && (*n < 4 || enabled >> n & 1 == 1));
        let kinds: Vec<(u64, Kind)> = plain.map(|(kind, _)| *kind).collect();
        Plan { exclude: false, ..Plan::of_kinds(seed, (devices, steps), &kinds, chance) }
    }

    /// A plan of this seed in which something is excluded. Who lies, and disks that lose what was kept, are in the others.
    pub(crate) fn secret(seed: u64, steps: u64) -> Plan {
        let mut chance = Chance::of(seed, "secret plan", 0);
        let devices = [2, 2, 3][chance.place(3)];
        let enabled = chance.next();
        let is_apart = |kind: Kind| matches!(kind, Kind::Disk | Kind::Stranger | Kind::Remove | Kind::Pair | Kind::Clock | Kind::Flow);
        let here =
            MIX.iter().zip(0..).filter(|((_, kind), n)| !is_apart(*kind) && (*n < 4 || *kind == Kind::Secret || enabled >> n & 1 == 1));
        let kinds: Vec<(u64, Kind)> = here.map(|(kind, _)| *kind).collect();
        Plan { exclude: true, ..Plan::of_kinds(seed, (devices, steps), &kinds, chance) }
    }

    fn of_kinds(seed: u64, (devices, steps): (u8, u64), kinds: &[(u64, Kind)], mut chance: Chance) -> Plan {
        let all: u64 = kinds.iter().map(|(weight, _)| weight).sum();
        let len = 8 + chance.below(steps.saturating_sub(7));
        let draw = |_| {
            let mut at = chance.below(all);
            let kind = kinds.iter().find(|(weight, _)| {
                let here = at < *weight;
                at = at.saturating_sub(*weight);
                here
            });
            draw(kind.map_or(Kind::Wait, |(_, kind)| *kind), devices, &mut chance)
        };
        Plan { seed, devices, steps: (0..len).map(draw).collect(), exclude: false }
    }

    /// As text.
    pub(crate) fn write(&self) -> String {
        let line = |step: &Step| serde_json::to_string(step).expect("a step is plain data");
        let exclude = if self.exclude { ",\"exclude\":true" } else { "" };
        let head = format!("{{\"seed\":{},\"devices\":{}{exclude}}}", self.seed, self.devices);
        [head].into_iter().chain(self.steps.iter().map(line)).map(|line| line + "\n").collect()
    }

    /// From text; lines that begin with `#` are remarks.
    pub(crate) fn read(text: &str) -> Plan {
        #[derive(Deserialize)]
        struct Head {
            seed: u64,
            devices: u8,
            #[serde(default)]
            exclude: bool,
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default()).expect("the first line of a case is its head");
        let steps = lines.map(|line| serde_json::from_str(line).expect("a line of a case is a step"));
        Plan { seed: head.seed, devices: head.devices, steps: steps.collect(), exclude: head.exclude }
    }
}

fn draw(kind: Kind, devices: u8, chance: &mut Chance) -> Step {
    let small = |chance: &mut Chance, end: u64| u8::try_from(chance.below(end)).expect("numbers of a plan are small");
    let dev = small(chance, devices.into());
    match kind {
        Kind::Todo => Step::Todo(dev, draw_deed(chance)),
        Kind::Beat => {
            let words = [Word::Working(small(chance, 3)), Word::Working(3), Word::Tick, Word::Waiting, Word::Done];
            Step::Beat(dev, small(chance, 2), words[chance.place(5)])
        }
        Kind::File => Step::File(dev, draw_file(chance)),
        Kind::Link => {
            let other = (dev + 1 + small(chance, u64::from(devices) - 1)) % devices;
            let faults = [
                LinkFault::Cut,
                LinkFault::Cut,
                LinkFault::OneWay,
                LinkFault::Heal,
                LinkFault::Heal,
                LinkFault::Reset,
                LinkFault::Reset,
                LinkFault::Slow,
                LinkFault::NoRoom,
                LinkFault::Again,
            ];
            Step::Link(dev, other, faults[chance.place(faults.len())])
        }
        Kind::Disk => {
            let faults = [
                DiskFault::IndexDeleted,
                DiskFault::DocumentsDeleted,
                DiskFault::OneDeleted(small(chance, 8)),
                DiskFault::Lost,
                DiskFault::Copied,
                DiskFault::Copied,
                DiskFault::Restored,
                DiskFault::Restored,
                DiskFault::Cloned,
                DiskFault::Full(5_000 + 1_000 * u32::from(small(chance, 60))),
            ];
            Step::Disk(dev, faults[chance.place(faults.len())])
        }
        Kind::Clock => Step::Clock(dev, [-86_400, -3_600, -30, 5, 700, 40_000, 31_536_000][chance.place(7)]),
        Kind::Crash => {
            let moments = [Moment::BeforeKeep, Moment::AmidKeep, Moment::AmidKeep, Moment::AfterKeep, Moment::AmidTell];
            Step::Crash(dev, moments[chance.place(5)], [20, 300, 4_000, 70_000][chance.place(4)])
        }
        Kind::Restart => Step::Restart(dev),
        Kind::Sleep => Step::Sleep(dev, [3_000, 30_000, 600_000, 40_000_000][chance.place(4)]),
        Kind::Stranger => {
            let n = small(chance, 64);
            let theft = n | 128;
            let all =
                [Noise::Unproven(n), Noise::Garbage(n), Noise::Poison(n), Noise::Sighting(n), Noise::Poison(theft), Noise::Garbage(theft)];
            Step::Stranger(dev, all[chance.place(all.len())])
        }
        Kind::Remove => Step::Remove(dev, (dev + 1 + small(chance, u64::from(devices) - 1)) % devices),
        Kind::Pair => Step::Pair(dev, (dev + 1 + small(chance, u64::from(devices) - 1)) % devices),
        Kind::Secret => Step::Secret(draw_secret(chance)),
        Kind::Flow => Step::Flow(dev, (dev + 1 + small(chance, u64::from(devices) - 1)) % devices, draw_flow(chance)),
        Kind::Wait => Step::Wait([1, 5, 20, 100, 1_000, 6_000, 50_000, 400_000][chance.place(8)]),
    }
}

fn draw_flow(chance: &mut Chance) -> FlowDeed {
    let deeds = [
        FlowDeed::Pause,
        FlowDeed::Pause,
        FlowDeed::Resume,
        FlowDeed::Resume,
        FlowDeed::PauseAll,
        FlowDeed::ResumeAll,
        FlowDeed::Terms(true, false),
        FlowDeed::Terms(false, true),
        FlowDeed::Schedule,
        FlowDeed::Disabled,
        FlowDeed::Plain,
    ];
    deeds[chance.place(deeds.len())]
}

fn draw_deed(chance: &mut Chance) -> Deed {
    let mut small = |end: u64| u8::try_from(chance.below(end)).expect("numbers of a plan are small");
    let (pick, text, kind) = (small(16), small(5), small(15));
    match kind {
        0..=2 => Deed::Add(text, small(3)),
        3 => Deed::Start(pick),
        4..=6 => Deed::Done(pick),
        7 => Deed::Reopen(pick),
        8 => Deed::Retext(pick, text),
        9 => Deed::Owner(pick, small(3)),
        10 => Deed::Delete(pick),
        11 | 12 => Deed::Undo(pick),
        14 => Deed::Tag(pick, small(4)),
        _ => Deed::Resolve(pick, small(4)),
    }
}

fn draw_secret(chance: &mut Chance) -> SecretDeed {
    let mut small = |end: u64| u8::try_from(chance.below(end)).expect("numbers of a plan are small");
    let (kind, n, place) = (small(30), small(4), small(5));
    match kind {
        0..=3 => SecretDeed::Hook(n, place),
        4..=6 => SecretDeed::Script(n, place),
        7 | 8 => SecretDeed::Mole(n, place),
        9 => SecretDeed::Record(n, place),
        10..=12 => SecretDeed::List(n, place),
        13..=15 => SecretDeed::SubAgent(n, place),
        16 | 17 => SecretDeed::Parent(n, place),
        18 | 19 => SecretDeed::Add(n),
        20..=24 => SecretDeed::Edit(small(16), n),
        25 | 26 => SecretDeed::Forge(small(16)),
        27 => SecretDeed::Held,
        28 => SecretDeed::Rekey,
        _ => SecretDeed::Begin,
    }
}

fn draw_file(chance: &mut Chance) -> FileDeed {
    let session = u8::try_from(chance.below(3)).expect("numbers of a plan are small");
    let list = u32::try_from(chance.below(3_125)).expect("numbers of a plan are small");
    // Sessions of which there is no list as a file: else two files that are no copies of each other would say what one list is.
    let own = session + 3;
    match chance.below(22) {
        12..=15 => FileDeed::Line(own, list),
        16 => FileDeed::LineUnheard(own, list),
        17 | 18 => FileDeed::LineTorn(own, list),
        19 => FileDeed::LinesCut(own, u8::try_from(list % 100).expect("numbers of a plan are small")),
        20 => FileDeed::LinesRewritten(own, list),
        21 => FileDeed::LinesDeleted(own),
        0..=3 => FileDeed::Write(session, list),
        4 => FileDeed::Unheard(session, list),
        5 => FileDeed::Again(session),
        6 => FileDeed::Torn(session),
        7 => FileDeed::Emptied(session),
        8 => FileDeed::Deleted(session),
        9 => FileDeed::SetBack(session),
        _ => FileDeed::Transcript(session, u8::try_from(list % 3).expect("numbers of a plan are small")),
    }
}

impl Arbitrary for Plan {
    fn arbitrary(g: &mut Gen) -> Plan {
        Plan::drawn(u64::arbitrary(g), g.size() as u64)
    }

    /// Without a stretch of its steps, the longest first; then without its last device; then with shorter waits.
    fn shrink(&self) -> Box<dyn Iterator<Item = Plan>> {
        let plan = self.clone();
        let len = plan.steps.len();
        let lengths = std::iter::successors(Some(len), |len| (*len > 1).then_some(len / 2));
        let stretches = lengths.flat_map(move |stretch| (0..len).step_by(stretch.max(1)).map(move |from| (from, stretch)));
        let whole = self.clone();
        let shorter = stretches.filter(move |_| len > 0).map(move |(from, stretch)| {
            let kept = whole.steps.iter().enumerate().filter(|(at, _)| *at < from || *at >= from + stretch);
            Plan { steps: kept.map(|(_, step)| *step).collect(), ..whole.clone() }
        });
        let fewer = (plan.devices > 2).then(|| Plan { devices: plan.devices - 1, ..plan.clone() });
        let simpler = (0..len).filter_map(move |at| {
            let step = simpler(plan.steps[at])?;
            let mut plan = plan.clone();
            plan.steps[at] = step;
            Some(plan)
        });
        Box::new(shorter.chain(fewer).chain(simpler))
    }
}

fn simpler(step: Step) -> Option<Step> {
    match step {
        Step::Wait(ms) if ms > 1 => Some(Step::Wait(if ms > 1_000 { 1_000 } else { 1 })),
        Step::Crash(dev, moment, ms) if ms > 20 => Some(Step::Crash(dev, moment, 20)),
        Step::Sleep(dev, ms) if ms > 3_000 => Some(Step::Sleep(dev, 3_000)),
        Step::Todo(dev, Deed::Undo(pick)) if pick > 0 => Some(Step::Todo(dev, Deed::Undo(0))),
        Step::Todo(dev, Deed::Done(pick)) if pick > 0 => Some(Step::Todo(dev, Deed::Done(0))),
        Step::File(dev, FileDeed::Write(session, list)) if list > 4 => Some(Step::File(dev, FileDeed::Write(session, list % 5))),
        Step::File(dev, FileDeed::Line(session, list)) if list > 2 => Some(Step::File(dev, FileDeed::Line(session, list % 3))),
        Step::Todo(..)
        | Step::Beat(..)
        | Step::File(..)
        | Step::Link(..)
        | Step::Disk(..)
        | Step::Clock(..)
        | Step::Crash(..)
        | Step::Restart(_)
        | Step::Sleep(..)
        | Step::Stranger(..)
        | Step::Remove(..)
        | Step::Pair(..)
        | Step::Secret(_)
        | Step::Flow(..)
        | Step::Wait(_) => None,
    }
}
