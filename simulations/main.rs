//! The same replica as the daemon's, with virtual clocks, links and disks, driven by plans that are drawn from a seed,
//! checked after every step, shrunk when they fail and kept for ever in `cases/`. `README.md` says how to run and replay.

#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    reason = "a test says what it did not expect, and where a shrinking has got to"
)]

mod agreement;
mod book;
mod chance;
mod clocks;
mod device;
mod disk;
mod files;
mod links;
mod oracle;
mod people;
mod plan;
mod regressions;
mod run;
mod scenarios;
mod secrets;
mod strangers;
mod trace;
mod transcript;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use plan::Plan;
use quickcheck::Arbitrary;
use run::{Failure, run};

/// Steps of the longest plan.
const STEPS: u64 = 60;
/// Plans that are the same in every run.
const FIXED: u64 = 64;
/// Plans that the commit chooses.
const CHOSEN: u64 = 192;
/// Plans that are tried in shrinking one that failed, unless `SIM_TRIES` says otherwise.
const TRIES: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// The seeds to run: `SIM_SEED` alone, or `SIM_RUNS` of them (else 256), the first 64 the same for ever.
fn seeds() -> Vec<u64> {
    if let Some(seed) = number("SIM_SEED") {
        return vec![seed];
    }
    let runs = number("SIM_RUNS").unwrap_or(FIXED + CHOSEN);
    let commit = blake3::hash(commit().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&commit.as_bytes()[..8]);
    let chosen = u64::from_le_bytes(first) >> 16;
    (0..runs).map(|n| if n < FIXED { n } else { chosen + n }).collect()
}

/// The commit that is tested: `GIT_COMMIT`, else what `.git` says, else nothing.
fn commit() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let head = || {
        let git = root.join(".git");
        let dir = std::fs::read_to_string(&git).ok().and_then(|text| Some(root.join(text.strip_prefix("gitdir: ")?.trim())));
        let dir = dir.unwrap_or(git);
        let head = std::fs::read_to_string(dir.join("HEAD")).ok()?;
        let Some(name) = head.strip_prefix("ref: ") else { return Some(head) };
        let common = std::fs::read_to_string(dir.join("commondir")).map_or(dir.clone(), |common| dir.join(common.trim()));
        std::fs::read_to_string(common.join(name.trim())).ok()
    };
    std::env::var("GIT_COMMIT").ok().or_else(head).unwrap_or_default()
}

fn is_loud() -> bool {
    std::env::var_os("SIM_TRACE").is_some()
}

/// The smallest plan found that breaks the same invariant.
fn shrunk(plan: Plan, failure: Failure) -> (Plan, Failure) {
    let (mut plan, mut failure, mut tries) = (plan, failure, 0);
    let most = number("SIM_TRIES").unwrap_or(TRIES);
    'smaller: while tries < most {
        for smaller in plan.shrink() {
            tries += 1;
            if tries > most {
                break 'smaller;
            }
            if let Some(found) = run(&smaller, false).err().filter(|found| found.broken.invariant == failure.broken.invariant) {
                (plan, failure) = (smaller, found);
                continue 'smaller;
            }
        }
        break;
    }
    (plan, failure)
}

/// What must happen somewhere in the fixed plans: a simulation in which nothing goes wrong proves nothing.
const SOMETIMES: [&str; 15] = [
    "crash before keep",
    "crash amid keep",
    "crash after keep",
    "crash amid tell",
    "refused for a full disk",
    "restored store noticed",
    "set aside",
    "woke",
    "bye: untrusted",
    "bye: garbled",
    "bye: silent",
    "bye: clone",
    "bye: slept",
    "bye: anew",
    "configured",
];

/// Runs a plan; what breaks is shrunk and told with its trace. Gives what happened, how often.
fn judge(plan: Plan) -> BTreeMap<&'static str, u64> {
    run(&plan, is_loud()).map(|report| report.happened).unwrap_or_else(|failure| {
        let seed = plan.seed;
        eprintln!("seed {seed}: {}; shrinking", failure.broken);
        let (plan, failure) = shrunk(plan, failure);
        for line in &failure.last {
            eprintln!("{line}");
        }
        panic!("seed {seed}: {}\nthe smallest plan found, for simulations/cases/:\n{}", failure.broken, plan.write());
    })
}

#[test]
fn any_plan_ends_in_agreement() {
    if let Ok(case) = std::env::var("SIM_CASE") {
        drop(judge(Plan::read(&std::fs::read_to_string(case).expect("SIM_CASE names a plan's file"))));
        return;
    }
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = seeds.get(at) else { return happened };
            for (what, times) in judge(Plan::drawn(*seed, STEPS)) {
                *happened.entry(what).or_default() += if (at as u64) < FIXED { times } else { 0 };
            }
        }
    };
    let happened: Vec<_> = std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().map(|worker| worker.join().expect("a plan ends in agreement")).collect()
    });
    let never = SOMETIMES.iter().find(|what| happened.iter().all(|happened| happened.get(*what).is_none_or(|times| *times == 0)));
    assert!((seeds.len() as u64) < FIXED || never.is_none(), "in the fixed plans there was never: {never:?}");
}

#[test]
fn what_is_excluded_is_never_told() {
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            drop(judge(Plan::secret(*seed, STEPS)));
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().for_each(|worker| worker.join().expect("nothing is told that stays"));
    });
}

#[test]
fn the_same_plan_leaves_the_same_trace() {
    for seed in seeds().into_iter().step_by(100) {
        let plan = Plan::drawn(seed, STEPS);
        let trace = |plan: &Plan| run(plan, false).map(|report| report.trace).ok();
        assert_eq!(trace(&plan), trace(&Plan::read(&plan.write())), "seed {seed}");
    }
}
