//! Runs the pure cores of a pool's processes in a simulated cluster, under one seeded scheduler.
//!
//! Links delay, lose, duplicate and cut messages, processes are killed, paused and drained, pods come, go and
//! drain, and the coordinator goes down. Some processes and pods misbehave. Two runs of the same [`Plan`] are identical.

mod cluster;
mod counters;
mod invariants;
mod plan;
mod processes;
mod runner;
mod step_checker;
mod world;

pub use cluster::Tracing;
pub use counters::{Counter, Counters};
pub use invariants::{Invariant, Violation};
pub use plan::{FEW_MESSAGES, Fault, FaultKind, Links, Mode, Node, Plan, Refusal, SlowNodes, Work};
pub use runner::{FailureReport, run, run_and_minimize};
pub use world::World;
