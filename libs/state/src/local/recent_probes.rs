//! Remembers which models this process recently probed at which endpoints.

use dashmap::DashMap;
use signalbox_types::{EndpointKey, ModelKey};
use smallvec::SmallVec;

/// How long a probe is remembered, in milliseconds. By then the pool state shows that the circuit is probed.
const RETENTION_MS: u64 = 1_000;

type Probes = SmallVec<[(EndpointKey, u64); 4]>;

/// The endpoints that this process recently probed with a request for each model. It keeps requests that arrive
/// before the pool state shows the probe from becoming probes, too. Only models with a half-open circuit are
/// here, of which the pool state bounds the number.
#[derive(Debug, Default)]
pub struct RecentProbes {
    probes_by_model: DashMap<ModelKey, Probes>,
}

impl RecentProbes {
    /// Records that `endpoint` is probed with a request for `model`.
    pub fn record(&self, now_ms: u64, model: ModelKey, endpoint: EndpointKey) {
        self.probes_by_model.retain(|_, probes| probes.iter().any(|(_, at_ms)| is_recent(now_ms, *at_ms)));
        let mut probes = self.probes_by_model.entry(model).or_default();
        probes.retain(|(of, at_ms)| *of != endpoint && is_recent(now_ms, *at_ms));
        probes.push((endpoint, now_ms));
    }

    /// Returns the endpoints that were recently probed with requests for `model`.
    pub fn endpoints_for(&self, now_ms: u64, model: &str) -> SmallVec<[EndpointKey; 4]> {
        if self.probes_by_model.is_empty() {
            return SmallVec::new();
        }
        let Some(probes) = self.probes_by_model.get(&ModelKey::of(model)) else { return SmallVec::new() };
        probes.iter().filter(|(_, at_ms)| is_recent(now_ms, *at_ms)).map(|(of, _)| *of).collect()
    }
}

fn is_recent(now_ms: u64, at_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < RETENTION_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_is_remembered_for_the_retention_time() {
        let probes = RecentProbes::default();
        probes.record(0, ModelKey::of("m"), EndpointKey(1));
        assert_eq!([EndpointKey(1)], probes.endpoints_for(999, "m")[..]);
        assert!(probes.endpoints_for(999, "n").is_empty());
        assert!(probes.endpoints_for(1_000, "m").is_empty());
        probes.record(1_000, ModelKey::of("n"), EndpointKey(1));
        assert_eq!(1, probes.probes_by_model.len(), "old ones are dropped");
    }
}
