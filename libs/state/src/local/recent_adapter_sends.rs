//! Remembers to which endpoints this process recently sent requests for each LoRA adapter.

use std::sync::Arc;

use dashmap::DashMap;
use signalbox_types::EndpointKey;
use smallvec::SmallVec;

/// How long a send is remembered, in milliseconds. By then the pool state contains its effect.
const RETENTION_MS: u64 = 1_000;

type Sends = SmallVec<[(EndpointKey, u64); 4]>;

/// The endpoints to which this process recently sent requests for each adapter. Requests for the same adapter
/// that arrive faster than the pool state is replicated go to one endpoint, not to two.
#[derive(Debug, Default)]
pub struct RecentAdapterSends {
    sends_by_adapter: DashMap<Arc<str>, Sends>,
}

impl RecentAdapterSends {
    /// Records that a request for `adapter` is sent to `endpoint`.
    pub fn record(&self, now_ms: u64, adapter: &Arc<str>, endpoint: EndpointKey) {
        let mut sends = self.sends_by_adapter.entry(Arc::clone(adapter)).or_default();
        sends.retain(|(to, at_ms)| *to != endpoint && is_recent(now_ms, *at_ms));
        sends.push((endpoint, now_ms));
    }

    /// Returns the endpoints to which requests for `adapter` were sent recently.
    pub fn endpoints_for(&self, now_ms: u64, adapter: &str) -> SmallVec<[EndpointKey; 4]> {
        let Some(sends) = self.sends_by_adapter.get(adapter) else { return SmallVec::new() };
        sends.iter().filter(|(_, at_ms)| is_recent(now_ms, *at_ms)).map(|(to, _)| *to).collect()
    }
}

fn is_recent(now_ms: u64, at_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < RETENTION_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_is_remembered_for_the_retention_time() {
        let sends = RecentAdapterSends::default();
        let adapter = Arc::from("a");
        sends.record(0, &adapter, EndpointKey(1));
        sends.record(500, &adapter, EndpointKey(2));
        assert_eq!([EndpointKey(1), EndpointKey(2)], sends.endpoints_for(600, "a")[..]);
        assert_eq!([EndpointKey(2)], sends.endpoints_for(1_000, "a")[..]);
        assert!(sends.endpoints_for(600, "b").is_empty());
    }
}
