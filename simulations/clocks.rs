//! I10, by comparison: the same deeds under other clocks come to the same todos.
//!
//! Only plans whose deeds do not depend on who is faster by milliseconds are compared: no edits (two of one revision are
//! ordered by their stamps), and time for every link to come up again after a fault.

use std::collections::BTreeMap;

use hubless::model::id::TodoId;
use hubless::model::todo::Status;

use super::oracle::Broken;
use super::plan::{Deed, FileDeed, LinkFault, Plan, Step};
use super::world::World;

/// How wrong the clocks of four devices are, milliseconds: a year ahead, ten years back, a little, and not at all.
const WRONG_MS: [i64; 4] = [31_536_000_000, -315_360_000_000, 90_000, 0];

/// What remains of a plan, with pauses after what parts devices for a while.
fn calm(plan: &Plan) -> Plan {
    let calm = |step: &Step| match step {
        Step::Todo(_, Deed::Retext(..) | Deed::Owner(..) | Deed::Tag(..) | Deed::Undo(_) | Deed::Resolve(..)) => Vec::new(),
        Step::Todo(..) => vec![*step, Step::Wait(500)],
        Step::File(_, FileDeed::Write(..) | FileDeed::Again(_) | FileDeed::SetBack(_)) => vec![*step, Step::Wait(500)],
        Step::Link(_, _, LinkFault::Cut) => vec![*step, Step::Wait(100_000)],
        Step::Link(_, _, LinkFault::Heal | LinkFault::Reset) | Step::Restart(_) => vec![*step, Step::Wait(200_000)],
        Step::File(..)
        | Step::Link(..)
        | Step::Beat(..)
        | Step::Disk(..)
        | Step::Clock(..)
        | Step::Crash(..)
        | Step::Sleep(..)
        | Step::Stranger(..)
        | Step::Remove(..)
        | Step::Pair(..)
        | Step::Secret(_)
        | Step::Flow(..)
        | Step::Wait(_) => Vec::new(),
    };
    Plan { steps: plan.steps.iter().flat_map(calm).collect(), ..plan.clone() }
}

/// The todos at the end: round, status, whether deleted.
fn outcome(plan: &Plan, wrong_ms: [i64; 4]) -> Result<BTreeMap<TodoId, (u64, Status, bool)>, Broken> {
    let mut world = World::new(plan, super::is_loud());
    for (device, wrong_ms) in world.devices.iter_mut().zip(wrong_ms) {
        device.wrong_ms = wrong_ms;
    }
    world.live(plan)?;
    let view = world.devices[0].replica.as_ref().map(|replica| replica.view());
    let todos = view.iter().flat_map(|view| view.todos.iter()).map(|(id, todo)| (*id, (todo.round, todo.status, todo.deleted)));
    Ok(todos.collect())
}

#[test]
fn no_clock_decides_a_todos_state() {
    for seed in 0..16 {
        let plan = calm(&Plan::drawn(seed, super::STEPS));
        let (right, wrong) = (outcome(&plan, [0; 4]), outcome(&plan, WRONG_MS));
        match (right, wrong) {
            (Ok(right), Ok(wrong)) => assert_eq!(right, wrong, "seed {seed}:\n{}", plan.write()),
            (Err(broken), _) | (_, Err(broken)) => panic!("seed {seed}: {broken}"),
        }
    }
}
