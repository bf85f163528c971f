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
    /// Records what the engines have done so far. An engine that has restarted counts from there on.
    pub(crate) fn record(&mut self, pods: &[Pod]) {
        for Pod { key, served, .. } in pods {
            let Some(before) = self.last.insert(*key, *served) else { continue };
            let requests = served.requests.checked_sub(before.requests);
            let output_tokens = served.output_tokens.checked_sub(before.output_tokens);
            let (Some(requests), Some(output_tokens)) = (requests, output_tokens) else { continue };
            let kept = 0.5_f64.powf(requests as f64 / HALF_REQUESTS);
            self.requests = self.requests * kept + requests as f64;
            self.output_tokens = self.output_tokens * kept + output_tokens as f64;
        }
        if self.last.len() > pods.len() {
            self.last = pods.iter().map(|pod| (pod.key, pod.served)).collect();
        }
    }

    /// Returns the mean output tokens of a request; `None` until some requests were served.
    pub(crate) fn per_request(&self) -> Option<f64> {
        (self.requests >= 20.0).then(|| self.output_tokens / self.requests)
    }
}
