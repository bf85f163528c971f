//! Simulates a pool in virtual time: model servers, collectors, the owner, and replicas that can be killed.
//! The simulation is single-threaded and seeded, so that every run is reproducible.

pub(crate) mod flow;
mod held;
mod kills;
mod owner;
mod pods;
mod replica;
mod requests;
mod result;
mod scrapes;
mod simulation;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;

use signalbox_modelsim::ModelConfig;
use signalbox_types::{BlockHash, Load};

use crate::policies::Contender;
use flow::{FlowOutcome, FlowRun};
pub(crate) use kills::{Kill, KillTarget};
pub(crate) use pods::pool_spec;
use simulation::{FIRST_ARRIVAL_US, Simulation};

/// Time after the last response within which everything in transit arrives.
const SETTLE_US: u64 = 50_000;

/// A prompt whose hashes are precomputed.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// Block hashes of the prefix index.
    pub(crate) chain: Arc<[BlockHash]>,
    /// Length of the text that the replica sees.
    pub(crate) text_bytes: u64,
    /// Block hashes of the model server: those of the prompt, then those that the answer fills.
    pub(crate) blocks: Arc<[u64]>,
    /// Number of blocks of the prompt alone.
    pub(crate) prompt_blocks: usize,
    /// Length in tokens of the model server.
    pub(crate) tokens: u32,
}

impl Prompt {
    /// Returns the blocks of the prompt alone, as the model server hashes them.
    pub(crate) fn engine_blocks(&self) -> &[u64] {
        &self.blocks[..self.prompt_blocks]
    }
}

/// A request of the workload.
#[derive(Clone, Debug)]
pub(crate) struct SimRequest {
    pub(crate) at_us: u64,
    pub(crate) prompt: Prompt,
    pub(crate) output_tokens: u32,
}

/// Configuration of a run.
#[derive(Clone, Copy)]
pub(crate) struct RunConfig<'a> {
    /// Requests in order of time.
    pub(crate) requests: &'a [SimRequest],
    /// Factor by which the workload is replayed faster.
    pub(crate) speed: f64,
    pub(crate) pods: &'a [ModelConfig],
    pub(crate) contender: &'a Contender,
    pub(crate) replicas: usize,
    /// Kills in order of time.
    pub(crate) kills: &'a [Kill],
    pub(crate) seed: u64,
    /// Who sends the requests and what holds them back, in a run with flow control.
    pub(crate) flow: Option<FlowRun<'a>>,
}

/// A request that was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServedRequest {
    /// Time from the first arrival of the run to the arrival of this request.
    pub(crate) arrived_us: u64,
    /// Time from arrival to first token.
    pub(crate) ttft_us: u64,
    /// Time from arrival to last token.
    pub(crate) e2e_us: u64,
    pub(crate) cached_tokens: u32,
    /// Cached tokens that the decision predicted, if it predicts them.
    pub(crate) predicted_cached_tokens: Option<u32>,
    pub(crate) pod: usize,
}

impl ServedRequest {
    /// Returns predicted minus found cached tokens.
    pub(crate) fn prediction_difference(&self) -> Option<i64> {
        Some(i64::from(self.predicted_cached_tokens?) - i64::from(self.cached_tokens))
    }
}

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunResult {
    /// Served requests in the order of the workload.
    pub(crate) served: Vec<ServedRequest>,
    /// Tokens computed by each model server: uncached prompt tokens and output tokens.
    pub(crate) work_tokens: Vec<u64>,
    /// Time from the first arrival to the last.
    pub(crate) window_us: u64,
    /// Load that is still booked at the end, by replicas and in the owners' state.
    pub(crate) remaining_load: Load,
    pub(crate) finished: usize,
    pub(crate) flow: FlowOutcome,
}

/// Runs a workload to its end.
pub(crate) fn run(config: RunConfig<'_>) -> RunResult {
    let mut simulation = Simulation::new(config);
    let mut ends_us = config.flow.and_then(|flow| flow.until_us).map_or(u64::MAX, |us| us + FIRST_ARRIVAL_US);
    let mut ended_us = 0;
    while let Some((now_us, event)) = simulation.queue.pop() {
        if now_us > ends_us {
            break;
        }
        ended_us = now_us;
        simulation.handle(now_us, event);
        if ends_us == u64::MAX && simulation.is_served() {
            ends_us = now_us + SETTLE_US;
        }
    }
    simulation.into_result(ended_us)
}
