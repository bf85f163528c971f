//! Assesses how many model servers the pool needs, and publishes that as a change of the state.

mod pods;

use std::sync::Arc;

use signalbox_signal::{Observation, Queue, Signal, SignalAssessor};

use super::{Pool, PoolConfig, PoolEffect};
use crate::pool_state::{Change, PoolState};

/// How often the pool is assessed, in milliseconds.
const INTERVAL_MS: u64 = 1_000;

/// How often a signal is stored with the coordinator, in milliseconds, while nothing changes that a later owner needs at once.
const STORE_MS: u64 = 300_000;

/// What an owner remembers of its assessments.
#[derive(Debug)]
pub(super) struct Signalling {
    assessor: SignalAssessor,
    /// Whether it is known what an earlier owner has stored. Before that, nothing is published: it could be less.
    knows_stored: bool,
    assessed_at_ms: Option<u64>,
    /// What was stored last, and when.
    stored: Option<(Arc<Signal>, u64)>,
}

impl Signalling {
    pub(super) fn new(config: &PoolConfig) -> Self {
        let assessor = SignalAssessor::new(config.signal);
        Self { assessor, knows_stored: false, assessed_at_ms: None, stored: None }
    }

    /// Goes on from the state of an earlier owner.
    pub(super) fn inherited(config: &PoolConfig, pool_state: &PoolState) -> Self {
        let mut signalling = Self::new(config);
        pool_state.signal().into_iter().for_each(|signal| signalling.assessor.inherit(signal));
        signalling
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let is_old = |at_ms: u64| now_ms.saturating_sub(at_ms) >= INTERVAL_MS;
        self.knows_stored && self.assessed_at_ms.is_none_or(is_old)
    }

    /// Returns whether `signal` is to be stored now: it asks for something else than the stored one, or that is old.
    fn must_store(&self, now_ms: u64, signal: &Signal) -> bool {
        let Some((stored, stored_at_ms)) = &self.stored else { return true };
        let asks = |of: &Signal| -> Vec<_> {
            of.groups.iter().map(|group| (group.group.clone(), group.desired)).collect()
        };
        let is_same = asks(stored) == asks(signal) && stored.is_active == signal.is_active;
        !is_same || now_ms.saturating_sub(*stored_at_ms) >= STORE_MS
    }
}

impl Pool {
    /// Returns whether [`super::PoolInput::StoredSignal`] is awaited: until then, the pool is not assessed.
    pub fn awaits_stored_signal(&self) -> bool {
        !self.signalling.knows_stored
    }

    /// Goes on from what an earlier owner has stored with the coordinator.
    pub(super) fn handle_stored_signal(&mut self, signal: Option<&Signal>) -> Vec<PoolEffect> {
        if !self.signalling.knows_stored {
            self.signalling.knows_stored = true;
            signal.into_iter().for_each(|signal| self.signalling.assessor.inherit(signal));
        }
        Vec::new()
    }

    /// Assesses the pool if that is due, or at once if a request arrives that nobody was there for.
    pub(super) fn signal_when_due(&mut self, now_ms: u64) -> Option<PoolEffect> {
        if !self.signalling.is_due(now_ms) && !self.must_wake() {
            return None;
        }
        let observation = self.observe_for_signal(now_ms);
        let Signalling { assessor, assessed_at_ms, .. } = &mut self.signalling;
        *assessed_at_ms = Some(now_ms);
        let signal = Arc::new(assessor.assess(&observation));
        let store = self.signalling.must_store(now_ms, &signal).then(|| {
            self.signalling.stored = Some((Arc::clone(&signal), now_ms));
            PoolEffect::StoreSignal(Arc::clone(&signal))
        });
        self.commit(Change::Signalled { signal });
        store
    }

    /// Returns whether a request waits that no pod can serve, and the last signal does not say so.
    fn must_wake(&self) -> bool {
        let is_signalled = self.pool_state.signal().is_some_and(|signal| signal.awaits_first_pod);
        self.signalling.knows_stored
            && !is_signalled
            && self.pool_state.flows().highest_waiting().is_some()
            && !self.has_serving_pod()
    }

    fn observe_for_signal(&self, now_ms: u64) -> Observation {
        Observation {
            epoch: self.journal.head().epoch,
            now_ms,
            pods: self.pods(now_ms),
            replicas: self.origins.replicas(now_ms.saturating_sub(self.waiting_ms)),
            queue: self.queue(now_ms),
            adapters: self.adapter_demand(now_ms),
        }
    }

    /// Returns what waits in flow control at all replicas.
    fn queue(&self, now_ms: u64) -> Queue {
        let flows = self.pool_state.flows();
        let backlogs = flows.origins().flat_map(|(_, of)| of.backlogs());
        let oldest_ms = backlogs.filter(|(_, of)| of.usage.requests > 0).map(|(_, of)| of.oldest_ms).min();
        let (mut requests, mut tokens) = (0, 0);
        for (_, usage) in flows.waiting() {
            requests += usage.requests;
            tokens += usage.tokens;
        }
        Queue { requests, tokens, oldest_ms: oldest_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)) }
    }
}
