//! Assesses how many model servers the pool needs, and publishes that as a change of the state. The endpoints are read in
//! parts, so that a large pool does not keep the owner from other inputs.

mod pods;
mod reading;

use std::sync::Arc;

use signalbox_signal::{Observation, Pod, Queue, Signal, SignalAssessor};

use self::reading::Reading;
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
    /// When the last assessment began.
    began_at_ms: Option<u64>,
    /// What was read for the next assessment, if that has begun.
    reading: Option<Reading>,
    /// The memory of the last reading.
    buffer: Vec<Pod>,
    /// What was stored last, and when.
    stored: Option<(Arc<Signal>, u64)>,
}

impl Signalling {
    pub(super) fn new(config: &PoolConfig) -> Self {
        let assessor = SignalAssessor::new(config.signal);
        Self {
            assessor,
            knows_stored: false,
            began_at_ms: None,
            reading: None,
            buffer: Vec::new(),
            stored: None,
        }
    }

    /// Goes on from the state of an earlier owner.
    pub(super) fn inherited(config: &PoolConfig, pool_state: &PoolState) -> Self {
        let mut signalling = Self::new(config);
        pool_state.signal().into_iter().for_each(|signal| signalling.assessor.inherit(signal));
        signalling
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let is_old = |at_ms: u64| now_ms.saturating_sub(at_ms) >= INTERVAL_MS;
        self.knows_stored && self.began_at_ms.is_none_or(is_old)
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

    /// Begins an assessment if that is due, or at once if a request arrives that nobody was there for.
    pub(super) fn signal_when_due(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        let begins =
            self.signalling.reading.is_none() && (self.signalling.is_due(now_ms) || self.must_wake());
        if !begins {
            return Vec::new();
        }
        self.signalling.began_at_ms = Some(now_ms);
        let buffer = std::mem::take(&mut self.signalling.buffer);
        self.signalling.reading = Some(Reading::with_buffer(buffer));
        let mut effects = self.continue_signalling(now_ms);
        effects.extend(self.is_signalling().then_some(PoolEffect::Unfinished));
        effects
    }

    /// Returns whether an assessment has begun and is not complete.
    pub(super) fn is_signalling(&self) -> bool {
        self.signalling.reading.is_some()
    }

    /// Reads the next endpoints for the assessment that has begun. After the last ones, assesses the pool.
    pub(super) fn continue_signalling(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        let Some(mut reading) = self.signalling.reading.take() else { return Vec::new() };
        self.read_pods(now_ms, &mut reading);
        if !reading.is_complete() {
            self.signalling.reading = Some(reading);
            return Vec::new();
        }
        let mut observation = self.observe_for_signal(now_ms, reading);
        let signal = Arc::new(self.signalling.assessor.assess(&observation));
        observation.pods.clear();
        self.signalling.buffer = observation.pods;
        let store = self.signalling.must_store(now_ms, &signal).then(|| {
            self.signalling.stored = Some((Arc::clone(&signal), now_ms));
            PoolEffect::StoreSignal(Arc::clone(&signal))
        });
        self.commit(Change::Signalled { signal });
        store.into_iter().collect()
    }

    /// Returns whether a request waits that no pod can serve, and the last signal does not say so.
    fn must_wake(&self) -> bool {
        let is_signalled = self.pool_state.signal().is_some_and(|signal| signal.awaits_first_pod);
        self.signalling.knows_stored
            && !is_signalled
            && self.pool_state.flows().highest_waiting().is_some()
            && !self.has_serving_pod()
    }

    fn observe_for_signal(&self, now_ms: u64, reading: Reading) -> Observation {
        let (pods, adapters) = reading.finish();
        Observation {
            epoch: self.journal.head().epoch,
            now_ms,
            pods,
            epp_replicas: self.origins.replicas(now_ms.saturating_sub(self.waiting_ms)),
            queue: self.queue(now_ms),
            adapters,
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
