//! A pool in virtual time: simulated model servers, collectors, the owner of the state and the replicas, which can be killed. Seeded, so
//! that a run can be had again; on one thread.

mod blows;
mod fleet;
mod owner;
mod queue;
mod replica;
#[cfg(test)]
mod tests;
mod world;

use std::sync::Arc;

use signalbox_modelsim::ModelConfig;
use signalbox_types::{BlockHash, Load};

use crate::policy::Contender;
pub(crate) use blows::{Blow, Victim};
pub(crate) use fleet::pool_spec;
use world::World;

/// After the last answer everything that is on its way arrives within this time.
const SETTLE_US: u64 = 50_000;

/// A prompt, ready to be hashed no more.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// As the index knows it.
    pub(crate) chain: Arc<[BlockHash]>,
    /// As the model server knows it.
    pub(crate) blocks: Arc<[u64]>,
    pub(crate) tokens: u32,
}

/// A request that will come.
#[derive(Clone, Debug)]
pub(crate) struct Coming {
    pub(crate) at_us: u64,
    pub(crate) prompt: Prompt,
    pub(crate) output_tokens: u32,
}

/// A run.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// In order of time.
    pub(crate) requests: &'a [Coming],
    /// The workload is replayed so many times as fast.
    pub(crate) speed: f64,
    pub(crate) pods: &'a [ModelConfig],
    pub(crate) contender: &'a Contender,
    pub(crate) replicas: usize,
    /// In order of time.
    pub(crate) blows: &'a [Blow],
    pub(crate) seed: u64,
}

/// A request that was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// From the first arrival of all to its own.
    pub(crate) at_us: u64,
    /// From its arrival to its first token.
    pub(crate) ttft_us: u64,
    /// From its arrival to its last token.
    pub(crate) whole_us: u64,
    pub(crate) cached_tokens: u32,
    pub(crate) pod: usize,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// In the order of the requests.
    pub(crate) served: Vec<Served>,
    /// Tokens computed by each model server: uncached ones of prompts, and those of answers.
    pub(crate) work_tokens: Vec<u64>,
    /// From the first arrival to the last.
    pub(crate) window_us: u64,
    /// From the last arrival to the last first token.
    pub(crate) drain_us: u64,
    /// Work that is still booked after the end, by the replicas and in the owners' eyes.
    pub(crate) left: Load,
    pub(crate) finished: usize,
}

/// Runs a workload to its end.
pub(crate) fn run(setup: Setup<'_>) -> Ran {
    let mut world = World::new(setup);
    let mut ends_us = u64::MAX;
    while let Some((now_us, event)) = world.queue.take() {
        if now_us > ends_us {
            break;
        }
        world.handle(now_us, event);
        if ends_us == u64::MAX && world.is_served() {
            ends_us = now_us + SETTLE_US;
        }
    }
    world.ran()
}
