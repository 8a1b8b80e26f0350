//! A plan, run from its first step to the agreement at its end.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::oracle::Broken;
use super::plan::{LinkFault, Plan, Step};
use super::world::{Event, MS, World};

/// Between two steps of a plan, microseconds.
const GAP: u64 = 40 * MS;

/// What a run came to.
pub(crate) struct Report {
    /// The hash of its trace.
    pub(crate) trace: blake3::Hash,
    /// What happened in it, how often.
    pub(crate) happened: BTreeMap<&'static str, u64>,
}

/// A run that broke an invariant.
pub(crate) struct Failure {
    /// What broke.
    pub(crate) broken: Broken,
    /// The last lines of its trace.
    pub(crate) last: Vec<String>,
}

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan, loud: bool) -> Result<Report, Failure> {
    let mut world = World::new(plan, loud);
    let end = catch_unwind(AssertUnwindSafe(|| world.live(plan)));
    let end = end.unwrap_or_else(|_| Err(Broken::new("S10", "something panicked".into())));
    match end {
        Ok(()) => Ok(Report { happened: std::mem::take(&mut world.happened), trace: world.trace.hash() }),
        Err(broken) => Err(Failure { broken, last: world.trace.last().cloned().collect() }),
    }
}

impl World {
    pub(crate) fn live(&mut self, plan: &Plan) -> Result<(), Broken> {
        if plan.exclude && !plan.steps.contains(&Step::Secret(super::plan::SecretDeed::Begin)) {
            self.exclude();
        }
        self.loner = (!plan.exclude && plan.devices > 2 && plan.seed.is_multiple_of(4)).then(|| usize::from(plan.devices) - 1);
        self.found()?;
        for step in &plan.steps {
            self.trace.line(self.time, 0, &format!("# {step:?}"));
            self.take(*step)?;
            self.pass(GAP)?;
        }
        self.heal()?;
        if plan.exclude { self.secrets_were_kept() } else { self.finally() }
    }

    /// All devices run and are paired with the first, but for one that is paired later.
    pub(crate) fn found(&mut self) -> Result<(), Broken> {
        for d in 0..self.devices.len() {
            self.start(d);
        }
        self.pass(50 * MS)?;
        let loner = self.loner;
        for d in (1..self.devices.len()).filter(|d| Some(*d) != loner) {
            self.pair_surely(0, d)?;
        }
        self.fleet = self.devices[0].replica.as_ref().map(|replica| replica.fleet().id);
        self.until_quiet(300_000 * MS)
    }

    /// One step of a plan.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), Broken> {
        let count = self.devices.len();
        let dev = |d: u8| usize::from(d) % count;
        match step {
            Step::Todo(d, deed) => drop(self.todo(dev(d), deed)),
            Step::Beat(d, agent, word) => drop(self.beat(dev(d), agent, word)),
            Step::File(d, deed) => self.write_file(dev(d), deed),
            Step::Link(a, b, fault) if dev(a) != dev(b) => self.befall_link(dev(a), dev(b), fault),
            Step::Clock(d, seconds) => {
                let device = &mut self.devices[dev(d)];
                (device.wrong_ms, device.jumped) = (device.wrong_ms + seconds * 1_000, true);
            }
            Step::Crash(d, moment, rest) => {
                let d = dev(d);
                self.devices[d].armed = Some((moment, rest));
                let process = self.devices[d].process;
                self.at(self.time + 2_000 * MS, Event::Fall(d, process));
            }
            Step::Restart(d) if self.is_up(dev(d)) => {
                self.give(dev(d), 0, hubless::model::input::Input::Stopping);
                self.pass(5 * MS)?;
                self.fall(dev(d), 50 * MS);
            }
            Step::Sleep(d, ms) => self.sleep(dev(d), u64::from(ms) * MS),
            Step::Wait(ms) => self.pass(u64::from(ms) * MS)?,
            Step::Disk(d, fault) => self.befall_disk(dev(d), fault)?,
            Step::Stranger(d, noise) => self.noise(dev(d), noise),
            Step::Remove(by, whom) if self.removed.is_empty() && self.is_up(dev(by)) => self.remove(dev(by), dev(whom)),
            Step::Pair(a, b) => drop(self.pair(dev(a), dev(b))?),
            Step::Secret(deed) => self.secret(deed)?,
            Step::Flow(a, b, deed) if dev(a) != dev(b) => self.flow(dev(a), dev(b), deed),
            Step::Remove(..) | Step::Link(..) | Step::Restart(_) | Step::Flow(..) => {}
        }
        Ok(())
    }

    fn write_file(&mut self, d: usize, deed: super::plan::FileDeed) {
        let wall_ms = self.now(d).wall_ms;
        if let Some(hint) = self.devices[d].files.write(deed, wall_ms) {
            self.give(d, 300, hubless::model::input::Input::Source(hint));
        }
    }

    fn befall_link(&mut self, a: usize, b: usize, fault: LinkFault) {
        let pair = (a.min(b), a.max(b));
        match fault {
            LinkFault::Cut => self.cuts.extend([(a, b), (b, a)]),
            LinkFault::OneWay => drop(self.cuts.insert((a, b))),
            LinkFault::Heal => {
                self.cuts.retain(|cut| *cut != (a, b) && *cut != (b, a));
                self.slow.remove(&pair);
                self.roomless.remove(&pair);
                self.thaw();
            }
            LinkFault::Reset => self.reset(a, b),
            LinkFault::Slow => drop(self.slow.insert(pair)),
            LinkFault::NoRoom => drop(self.roomless.insert(pair)),
            LinkFault::Again => {
                if self.is_up(a)
                    && self.is_up(b)
                    && self.devices[a].fleet.as_ref().map(|f| f.id) == self.devices[b].fleet.as_ref().map(|f| f.id)
                {
                    self.connect(a, b);
                }
            }
        }
    }
}
