//! Remembers which endpoints this process recently probed.

use dashmap::{DashMap, Entry};
use signalbox_types::EndpointKey;
use smallvec::SmallVec;

/// How long a probe is remembered, in milliseconds. By then the pool state shows that it was sent.
const RETENTION_MS: u64 = 1_000;

/// The endpoints that this process recently probed. It keeps requests that arrive before the pool state shows the probe
/// from becoming probes, too. Only endpoints with a half-open circuit are here.
#[derive(Debug, Default)]
pub struct RecentProbes {
    probed_at_ms: DashMap<EndpointKey, u64>,
}

impl RecentProbes {
    /// Claims the probe of `endpoint` for a request. Returns whether it was free: of several requests at once, one gets
    /// it.
    pub fn claim(&self, now_ms: u64, endpoint: EndpointKey) -> bool {
        match self.probed_at_ms.entry(endpoint) {
            Entry::Occupied(probe) if is_recent(now_ms, *probe.get()) => return false,
            Entry::Occupied(mut probe) => drop(probe.insert(now_ms)),
            Entry::Vacant(probe) => drop(probe.insert(now_ms)),
        }
        self.probed_at_ms.retain(|_, at_ms| is_recent(now_ms, *at_ms));
        true
    }

    /// Returns the endpoints that were recently probed.
    pub fn endpoints(&self, now_ms: u64) -> SmallVec<[EndpointKey; 4]> {
        if self.probed_at_ms.is_empty() {
            return SmallVec::new();
        }
        self.probed_at_ms
            .iter()
            .filter(|probe| is_recent(now_ms, **probe))
            .map(|probe| *probe.key())
            .collect()
    }
}

fn is_recent(now_ms: u64, at_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < RETENTION_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_is_claimed_once_in_the_retention_time() {
        let probes = RecentProbes::default();
        assert!(probes.claim(0, EndpointKey(1)));
        assert!(!probes.claim(999, EndpointKey(1)));
        assert!(probes.claim(999, EndpointKey(2)));
        assert_eq!(2, probes.endpoints(999).len());
        assert_eq!([EndpointKey(2)], probes.endpoints(1_000)[..]);
        assert!(probes.claim(2_000, EndpointKey(1)));
        assert_eq!(1, probes.probed_at_ms.len(), "old ones are dropped");
    }
}
