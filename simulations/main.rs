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
mod strangers;
mod trace;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

use plan::Plan;
use quickcheck::Arbitrary;
use run::{Failure, run};

/// Steps of the longest plan.
const STEPS: u64 = 60;
/// Plans that are the same in every run.
const FIXED: u64 = 128;
/// Plans that the commit chooses besides, when nobody says `SIM_RUNS`; none yet: they are run by hand (`SIM_RUNS=320`).
const CHOSEN: u64 = 0;
/// Plans that are tried in shrinking one that failed, unless `SIM_TRIES` says otherwise.
const TRIES: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// The seeds to run: `SIM_SEED` alone, or `SIM_RUNS` of them (else 128), the first 128 the same for ever.
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

/// Runs a plan; what breaks is shrunk and told with its trace.
fn judge(plan: Plan) {
    if let Err(failure) = run(&plan, is_loud()) {
        let seed = plan.seed;
        eprintln!("seed {seed}: {}; shrinking", failure.broken);
        let (plan, failure) = shrunk(plan, failure);
        for line in &failure.last {
            eprintln!("{line}");
        }
        panic!("seed {seed}: {}\nthe smallest plan found, for simulations/cases/:\n{}", failure.broken, plan.write());
    }
}

#[test]
fn any_plan_ends_in_agreement() {
    if let Ok(case) = std::env::var("SIM_CASE") {
        return judge(Plan::read(&std::fs::read_to_string(case).expect("SIM_CASE names a plan's file")));
    }
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    judge(Plan::drawn(*seed, STEPS));
                }
            });
        }
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
