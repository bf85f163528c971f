//! A workload in the form that the simulation runs.

use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::profiles::Profile;
use signalbox_workload::Item;
use signalbox_workload::arrivals::rate_per_second;

use super::bounds::{Bound, lower_bounds, single_cache_bounds};
use super::encoder::Encoder;
use crate::sim::SimRequest;

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
    /// Converts `items`, sorted by time, to a workload for pods of these profiles. All have the same tokenizer and
    /// block size.
    ///
    /// # Errors
    /// Fails when there are no pods, when one cannot serve a request, or when the requests have no rate.
    pub(crate) fn new(profiles: &[&'static Profile], items: &[Item]) -> anyhow::Result<Self> {
        let first = profiles.first().ok_or_else(|| anyhow::anyhow!("a workload needs a pod"))?;
        let pods: Vec<ModelConfig> = profiles.iter().map(|profile| profile.model.clone()).collect();
        let mut encoder = Encoder::new(first);
        let requests = items.iter().map(|item| encoder.encode(item)).collect::<anyhow::Result<Vec<_>>>()?;
        let most_tokens = pods.iter().map(ModelConfig::max_request_tokens).min().unwrap_or(0);
        for (number, request) in requests.iter().enumerate() {
            let tokens = u64::from(request.prompt.tokens) + u64::from(request.output_tokens);
            anyhow::ensure!(tokens <= most_tokens, "request {number} exceeds the KV cache");
        }
        let lower_bounds = lower_bounds(&requests, &pods);
        let single_cache = single_cache_bounds(&requests, &pods);
        let rate_per_second = rate_per_second(items);
        anyhow::ensure!(rate_per_second > 0.0, "all requests arrive at the same time");
        Ok(Self { requests, rate_per_second, pods, lower_bounds, single_cache })
    }
}
