//! Learns which endpoints keep responses, and forgets those that are old or too many.

use hashlink::LinkedHashMap;
use signalbox_types::{EndpointKey, ResponseKey};

use super::Pool;
use crate::pool_state::{Change, PoolState};

/// The maximum number of known responses of a pool. Beyond it, the one that was stored first is forgotten.
const MAX_RESPONSES: usize = 131_072;

/// How long a response is known, in milliseconds: 12 hours.
const LIFETIME_MS: u64 = 12 * 3_600 * 1_000;

/// The maximum number of responses that are forgotten with one input because of their age.
const MAX_EXPIRED_PER_INPUT: usize = 256;

/// The known responses in the order in which they were stored, each with its time on the owner's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseAges(LinkedHashMap<ResponseKey, u64>);

impl ResponseAges {
    /// Returns the ages of the responses that an earlier owner knew. They are not known, so they begin at `now_ms`.
    pub(super) fn inherited(pool_state: &PoolState, now_ms: u64) -> Self {
        let parts = pool_state.stored_responses().parts();
        Self(parts.flat_map(|part| part.keys().map(|response| (*response, now_ms))).collect())
    }

    /// Takes the oldest response if there are more than `max`, or if it is too old.
    fn take_surplus(&mut self, now_ms: u64, max: usize) -> Option<ResponseKey> {
        let (_, stored_at_ms) = self.0.front()?;
        let is_old = now_ms.saturating_sub(*stored_at_ms) >= LIFETIME_MS;
        let (response, _) = if is_old || self.0.len() > max { self.0.pop_front()? } else { return None };
        Some(response)
    }
}

impl Pool {
    /// Notes that `endpoint` keeps `response`.
    pub(super) fn store_response(&mut self, now_ms: u64, response: ResponseKey, endpoint: EndpointKey) {
        let known = self.pool_state.stored_responses().get(response);
        if known == Some(endpoint) || self.pool_state.endpoint(endpoint).is_none() {
            return;
        }
        if known.is_none() {
            self.response_ages.0.insert(response, now_ms);
        }
        self.commit(Change::ResponseStored { response, endpoint: Some(endpoint) });
        if let Some(response) = self.response_ages.take_surplus(now_ms, MAX_RESPONSES) {
            self.commit(Change::ResponseStored { response, endpoint: None });
        }
    }

    /// Notes that `endpoint` has deleted `response`. Another endpoint may keep one with the same id.
    pub(super) fn forget_response(&mut self, response: ResponseKey, endpoint: EndpointKey) {
        if self.pool_state.stored_responses().get(response) == Some(endpoint) {
            self.response_ages.0.remove(&response);
            self.commit(Change::ResponseStored { response, endpoint: None });
        }
    }

    /// Forgets responses that are too old, a bounded number at a time.
    pub(super) fn expire_responses(&mut self, now_ms: u64) {
        for _ in 0..MAX_EXPIRED_PER_INPUT {
            let Some(response) = self.response_ages.take_surplus(now_ms, MAX_RESPONSES) else { return };
            self.commit(Change::ResponseStored { response, endpoint: None });
        }
    }
}
