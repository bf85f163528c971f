//! A run, and what is told of one that failed: the fewest faults that make it fail, and the last that happened.

use std::fmt;

use crate::counters::Counters;
use crate::invariants::{Invariant, Violation};
use crate::plan::{Fault, Plan};
use crate::site::Tracing;
use crate::world::World;

/// Attempts to make a failing plan smaller.
const ATTEMPTS: usize = 60;

/// A plan that fails.
#[derive(Clone, Debug)]
pub struct Script {
    /// The fewest faults that were found to make it fail.
    pub plan: Plan,
    /// How it fails.
    pub violation: Violation,
    /// When, in milliseconds from the beginning.
    pub at_ms: u64,
    /// The last that happened.
    pub trace: Vec<String>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, violation, at_ms, trace } = self;
        writeln!(f, "{violation}")?;
        writeln!(f, "\nat {at_ms} ms of seed {}, which SIGNALBOX_SIM_SEED={} reruns:", plan.seed, plan.seed)?;
        let Plan { mode, aggregators, replicas, collectors, pods, links, heals_at_ms, .. } = plan;
        writeln!(
            f,
            "{mode:?}, {aggregators} aggregators, {replicas} replicas, {collectors} collectors, {pods} pods, {links:?}"
        )?;
        for fault in &plan.faults {
            writeln!(f, "  {fault}")?;
        }
        writeln!(f, "  {heals_at_ms:>6} ms  everything heals\nThe last that happened:")?;
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
/// The first invariant that does not hold.
pub fn check(plan: &Plan) -> Result<Counters, Violation> {
    let (world, outcome) = attempt(plan, Tracing::Off);
    outcome.map(|()| world.counters())
}

/// Runs a plan to its end, and if it fails, looks for the shortest way there.
///
/// # Errors
/// When an invariant does not hold, with what is told of it.
pub fn run(plan: &Plan) -> Result<Counters, Box<Script>> {
    let (world, outcome) = attempt(plan, Tracing::Off);
    match outcome {
        Ok(()) => Ok(world.counters()),
        Err(violation) => {
            let plan = fewest_faults(plan, violation.invariant);
            let (mut world, outcome) = attempt(&plan, Tracing::On);
            let violation = outcome.err().unwrap_or(violation);
            let at_ms = world.site.queue.now_us() / 1_000;
            Err(Box::new(Script { plan, violation, at_ms, trace: world.trace() }))
        }
    }
}

/// Drops faults while the plan still fails in the same way.
fn fewest_faults(plan: &Plan, invariant: Invariant) -> Plan {
    let mut fewest = plan.clone();
    let mut attempts = 0;
    let mut at = 0;
    while at < fewest.faults.len() && attempts < ATTEMPTS {
        let mut fewer = fewest.clone();
        let _: Fault = fewer.faults.remove(at);
        attempts += 1;
        if attempt(&fewer, Tracing::Off).1.is_err_and(|violation| violation.invariant == invariant) {
            (fewest, at) = (fewer, 0);
        } else {
            at += 1;
        }
    }
    fewest
}
