//! How many output tokens a request has, from the counters of the engines.

use std::collections::HashMap;

use crate::observation::{Pod, ServedCounts};

/// The requests after which what was learned before counts half.
const HALF_REQUESTS: f64 = 200.0;

/// Learns how many output tokens a request has.
#[derive(Debug, Default)]
pub(crate) struct OutputMeter {
    last: HashMap<u64, ServedCounts>,
    requests: f64,
    output_tokens: f64,
}

impl OutputMeter {
    /// Records what the engines have done so far, and returns whether one has done something since it was recorded last. An
    /// engine that has restarted counts from there on.
    pub(crate) fn record(&mut self, pods: &[Pod]) -> bool {
        let mut has_served = false;
        for Pod { key, served, .. } in pods {
            let Some(before) = self.last.insert(*key, *served) else { continue };
            let requests = served.requests.checked_sub(before.requests);
            let output_tokens = served.output_tokens.checked_sub(before.output_tokens);
            let (Some(requests), Some(output_tokens)) = (requests, output_tokens) else { continue };
            has_served |= requests > 0 || output_tokens > 0;
            let kept = 0.5_f64.powf(requests as f64 / HALF_REQUESTS);
            self.requests = self.requests * kept + requests as f64;
            self.output_tokens = self.output_tokens * kept + output_tokens as f64;
        }
        if self.last.len() > pods.len() {
            self.last = pods.iter().map(|pod| (pod.key, pod.served)).collect();
        }
        has_served
    }

    /// Returns the mean output tokens of a request; `None` until some requests were served.
    pub(crate) fn per_request(&self) -> Option<f64> {
        (self.requests >= 20.0).then(|| self.output_tokens / self.requests)
    }
}
