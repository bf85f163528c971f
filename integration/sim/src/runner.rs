//! Runs a plan, and reduces a failing plan to the fewest faults that still make it fail.

use std::fmt;

use crate::cluster::Tracing;
use crate::counters::Counters;
use crate::invariants::{Invariant, Violation};
use crate::plan::{Fault, Plan};
use crate::world::World;

/// How many runs the reduction of a failing plan may take.
const MINIMIZE_ATTEMPTS: usize = 60;

/// A failing plan and how it fails.
#[derive(Clone, Debug)]
pub struct FailureReport {
    /// The plan with the fewest faults found to make it fail.
    pub plan: Plan,
    /// The invariant that was violated.
    pub violation: Violation,
    /// When, in milliseconds from the start of the run.
    pub at_ms: u64,
    /// The last events before the violation.
    pub trace: Vec<String>,
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, violation, at_ms, trace } = self;
        writeln!(f, "{violation}")?;
        writeln!(
            f,
            "\nat {at_ms} ms of seed {seed}; rerun it with SIGNALBOX_SIM_SEED={seed}:",
            seed = plan.seed
        )?;
        let Plan { mode, aggregators, replicas, collectors, pods, links, heals_at_ms, .. } = plan;
        writeln!(
            f,
            "{mode:?}, {aggregators} aggregators, {replicas} replicas, {collectors} collectors, {pods} pods, {links:?}"
        )?;
        for fault in &plan.faults {
            writeln!(f, "  {fault}")?;
        }
        writeln!(f, "  {heals_at_ms:>6} ms  everything heals\nlast events:")?;
        trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

fn attempt(plan: &Plan, tracing: Tracing) -> (World, Result<(), Violation>) {
    let mut world = World::new(plan, tracing);
    let outcome = world.run_until(plan.heals_at_ms).and_then(|()| world.settle());
    (world, outcome)
}

/// Runs a plan to its end.
///
/// # Errors
/// The first violated invariant.
pub fn run(plan: &Plan) -> Result<Counters, Violation> {
    let (world, outcome) = attempt(plan, Tracing::Off);
    outcome.map(|()| world.counters())
}

/// Runs a plan to its end. If it fails, looks for the fewest faults that make it fail.
///
/// # Errors
/// The report of the failure when an invariant is violated.
pub fn run_and_minimize(plan: &Plan) -> Result<Counters, Box<FailureReport>> {
    let (world, outcome) = attempt(plan, Tracing::Off);
    match outcome {
        Ok(()) => Ok(world.counters()),
        Err(violation) => {
            let plan = minimize(plan, violation.invariant);
            let (mut world, outcome) = attempt(&plan, Tracing::On);
            let violation = outcome.err().unwrap_or(violation);
            let at_ms = world.cluster.queue.now_us() / 1_000;
            Err(Box::new(FailureReport { plan, violation, at_ms, trace: world.take_trace() }))
        }
    }
}

/// Removes faults while the plan still violates the same invariant.
fn minimize(plan: &Plan, invariant: Invariant) -> Plan {
    let mut smallest = plan.clone();
    let mut attempts = 0;
    let mut at = 0;
    while at < smallest.faults.len() && attempts < MINIMIZE_ATTEMPTS {
        let mut smaller = smallest.clone();
        let _: Fault = smaller.faults.remove(at);
        attempts += 1;
        if attempt(&smaller, Tracing::Off).1.is_err_and(|violation| violation.invariant == invariant) {
            (smallest, at) = (smaller, 0);
        } else {
            at += 1;
        }
    }
    smallest
}
