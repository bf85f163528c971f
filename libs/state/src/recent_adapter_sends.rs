//! To which endpoints this process sent requests for an adapter, until the pool says so itself.

use std::sync::Arc;

use dashmap::DashMap;
use signalbox_types::EndpointKey;
use smallvec::SmallVec;

/// The pool's word on an adapter is newer than a send that is so old.
const REMEMBERED_MS: u64 = 1_000;

type Sends = SmallVec<[(EndpointKey, u64); 4]>;

/// To which endpoints this process lately sent requests for which adapter. An adapter that is asked for twice within the time that
/// news take to go round goes to one endpoint, not to two.
#[derive(Debug, Default)]
pub struct RecentAdapterSends {
    latest: DashMap<Arc<str>, Sends>,
}

impl RecentAdapterSends {
    /// A request for `adapter` goes to `endpoint`.
    pub fn sent(&self, now_ms: u64, adapter: &Arc<str>, endpoint: EndpointKey) {
        let mut sends = self.latest.entry(Arc::clone(adapter)).or_default();
        sends.retain(|(to, at_ms)| *to != endpoint && is_recent(now_ms, *at_ms));
        sends.push((endpoint, now_ms));
    }

    /// Where requests for `adapter` went of late.
    pub fn of(&self, now_ms: u64, adapter: &str) -> SmallVec<[EndpointKey; 4]> {
        let Some(sends) = self.latest.get(adapter) else { return SmallVec::new() };
        sends.iter().filter(|(_, at_ms)| is_recent(now_ms, *at_ms)).map(|(to, _)| *to).collect()
    }
}

fn is_recent(now_ms: u64, at_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < REMEMBERED_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_remembered_for_a_second() {
        let sends = RecentAdapterSends::default();
        let adapter = Arc::from("a");
        sends.sent(0, &adapter, EndpointKey(1));
        sends.sent(500, &adapter, EndpointKey(2));
        assert_eq!([EndpointKey(1), EndpointKey(2)], sends.of(600, "a")[..]);
        assert_eq!([EndpointKey(2)], sends.of(1_000, "a")[..]);
        assert!(sends.of(600, "b").is_empty());
    }
}
