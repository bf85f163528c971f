//! A workload in the form that the simulation runs.

use signalbox_modelsim::ModelConfig;
use signalbox_workload::Item;
use signalbox_workload::arrivals::rate_per_second;

use super::bounds::{Bound, lower_bounds, single_cache_bounds};
use super::profile::{Profile, block_tokens, model};
use crate::sim::{Prompt, SimRequest};

/// A workload and the pods that serve it.
pub(crate) struct Workload {
    pub(crate) requests: Vec<SimRequest>,
    pub(crate) rate_per_second: f64,
    pub(crate) pods: Vec<ModelConfig>,
    /// For each request, what no policy can beat.
    pub(crate) lower_bounds: Vec<Bound>,
    /// For each request, the estimate with one cache for all pods.
    pub(crate) single_cache: Vec<Bound>,
}

impl Workload {
    /// Converts `items`, sorted by time, to a workload for `pods` pods.
    ///
    /// # Errors
    /// Fails when no pod can serve a request, or when the requests have no rate.
    pub(crate) fn new(profile: Profile, pods: usize, items: &[Item]) -> anyhow::Result<Self> {
        let pods: Vec<_> = (0..pods).map(|pod| model(profile, pod)).collect();
        for (number, item) in items.iter().enumerate() {
            let tokens = u64::from(item.prompt.tokens()) + u64::from(item.output_tokens);
            anyhow::ensure!(tokens <= pods[0].max_request_tokens(), "request {number} exceeds the KV cache");
        }
        let requests: Vec<_> = items.iter().map(sim_request).collect();
        let lower_bounds = lower_bounds(&requests, &pods[0]);
        let single_cache = single_cache_bounds(&requests, &pods);
        let rate_per_second = rate_per_second(items);
        anyhow::ensure!(rate_per_second > 0.0, "all requests arrive at the same time");
        Ok(Self { requests, rate_per_second, pods, lower_bounds, single_cache })
    }
}

fn sim_request(item: &Item) -> SimRequest {
    let chain = item.prompt.chain(block_tokens());
    let blocks = chain.iter().map(|block| block.0).collect();
    let prompt = Prompt { chain: chain.into(), blocks, tokens: item.prompt.tokens() };
    SimRequest { at_us: item.at_us, prompt, output_tokens: item.output_tokens }
}
