//! The processes of a pool in a simulated world: their pure cores under one seeded scheduler, on links that delay, lose, repeat
//! and cut, with processes that die, stall and drain, and a coordinator that goes away. Two runs by one [`Plan`] are the same.

mod aggregator;
mod checks;
mod collector;
mod coordinator;
mod counters;
mod faults;
mod invariants;
mod network;
mod peers;
mod plan;
mod pods;
mod queue;
mod quiet;
mod replica;
mod script;
mod site;
mod world;

pub use counters::{Counters, Happening};
pub use invariants::{Invariant, Violation};
pub use plan::{Blow, Fault, Links, Mode, Node, Plan};
pub use script::{Script, check, run};
pub use site::Tracing;
pub use world::World;
