//! Tracks the replicas that send feedback: which are active, and how far their feedback was handled.

use std::collections::{BTreeMap, VecDeque};

use signalbox_signal::{ArrivalCounts, EppReplica};
use signalbox_types::Origin;

use super::endpoint_assessor::EndpointAssessor;
use super::probers::Probers;
use crate::pool_state::PoolState;

/// The maximum number of placements of one origin that wait for their whole chain. Many wait when a new owner
/// has little state and knows few anchors.
const MAX_CHAIN_REQUESTS: usize = 1_024;

/// How long a requested chain may take, in milliseconds: longer than the lifetime of an idle stream. The next
/// stream requests it again.
const CHAIN_TIMEOUT_MS: u64 = 3_000;

/// How long a replica counts as busy after it has reported requests in flight, in milliseconds.
const BUSY_MS: u64 = 5_000;

/// After what silence a replica's counts may be out of date, in milliseconds: it reports all of them every 500 ms, so it has
/// missed two reports.
const UNHEARD_MS: u64 = 1_000;

/// The maximum number of expired origins that are remembered, so that they can be told that they expired.
const MAX_EXPIRED_ORIGINS: usize = 4_096;

/// How far the feedback of one replica was handled.
#[derive(Debug, Default)]
pub(crate) struct OriginProgress {
    last_batch_ms: u64,
    /// When the replica last had requests in flight; `None` if never.
    last_busy_ms: Option<u64>,
    seq: Option<u64>,
    highest_number: u64,
    /// The placements whose chains were requested, and when.
    chain_requests: BTreeMap<u64, u64>,
    /// The placements that were dropped since they were last counted, because too many waited for their chains.
    surplus_dropped: usize,
    /// What the replica has counted so far; `None` if it is of a release that counts nothing.
    arrivals: Option<ArrivalCounts>,
}

impl OriginProgress {
    /// Records the number of a batch. Returns whether it is higher than all before.
    pub(crate) fn advance_seq(&mut self, seq: u64) -> bool {
        let is_newer = Some(seq) > self.seq;
        self.seq = self.seq.max(Some(seq));
        is_newer
    }

    /// Records that the replica has requests in flight.
    pub(crate) fn record_busy(&mut self) {
        self.last_busy_ms = Some(self.last_batch_ms);
    }

    /// Records what the replica has counted so far, if it counts.
    pub(crate) fn record_arrivals(&mut self, arrivals: Option<ArrivalCounts>) {
        self.arrivals = arrivals;
    }

    /// Returns whether the placement `number` still has to be handled.
    pub(crate) fn is_open(&self, number: u64) -> bool {
        number > self.highest_number || self.chain_requests.contains_key(&number)
    }

    /// Records that the placement `number` was handled or dropped.
    pub(crate) fn close(&mut self, number: u64) {
        self.chain_requests.remove(&number);
        self.highest_number = self.highest_number.max(number);
    }

    /// Records that the chain of the placement `number` was requested, because its anchor is unknown. It is
    /// requested again whenever the placement arrives again, because the replica then did not get the
    /// request. If too many wait, the earliest is dropped.
    pub(crate) fn record_chain_request(&mut self, now_ms: u64, number: u64) {
        self.highest_number = self.highest_number.max(number);
        self.chain_requests.insert(number, now_ms);
        if self.chain_requests.len() > MAX_CHAIN_REQUESTS {
            self.chain_requests.pop_first();
            self.surplus_dropped += 1;
        }
    }

    /// Returns how many placements were dropped since the last call, because too many waited for their chains.
    pub(crate) fn take_surplus_dropped(&mut self) -> usize {
        std::mem::take(&mut self.surplus_dropped)
    }

    /// Drops the placements whose chains did not arrive in time and returns their number.
    pub(crate) fn expire_chain_requests(&mut self, now_ms: u64) -> usize {
        let before = self.chain_requests.len();
        self.chain_requests
            .retain(|_, requested_at_ms| now_ms.saturating_sub(*requested_at_ms) < CHAIN_TIMEOUT_MS);
        before - self.chain_requests.len()
    }

    /// Returns the number up to which all placements were handled.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.chain_requests.first_key_value().map_or(self.highest_number, |(first, _)| first - 1)
    }
}

/// The replicas that send feedback.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    active: BTreeMap<Origin, OriginProgress>,
    /// The latest origins that have expired.
    expired: VecDeque<Origin>,
    /// The origins that have expired, whose loads still are in the state. They may be more than are remembered.
    expiring: VecDeque<Origin>,
}

impl Origins {
    /// Restores the origins from the state of an earlier owner. Each gets the full TTL, because its last batch to the
    /// earlier owner is unknown.
    pub(crate) fn inherited(now_ms: u64, pool_state: &PoolState) -> Self {
        let mut origins = Self::default();
        for (origin, acknowledged) in pool_state.acknowledgements() {
            origins.active.entry(origin).or_default().highest_number = acknowledged;
        }
        for origin in pool_state.loads().origins() {
            origins.active.entry(origin).or_default().last_busy_ms = Some(now_ms);
        }
        for (origin, _) in pool_state.flows().origins() {
            origins.active.entry(origin).or_default();
        }
        origins.active.values_mut().for_each(|progress| progress.last_batch_ms = now_ms);
        origins
    }

    /// Records that a batch of `origin` arrived. Returns its progress; `None` if the origin has expired.
    pub(crate) fn record_batch(&mut self, now_ms: u64, origin: Origin) -> Option<&mut OriginProgress> {
        if !self.active.contains_key(&origin) && self.has_expired(origin) {
            return None;
        }
        let progress = self.active.entry(origin).or_default();
        progress.last_batch_ms = now_ms;
        Some(progress)
    }

    fn has_expired(&self, origin: Origin) -> bool {
        self.expired.contains(&origin) || self.expiring.contains(&origin)
    }

    /// Returns the progress of `origin`.
    pub(crate) fn progress(&mut self, origin: Origin) -> Option<&mut OriginProgress> {
        self.active.get_mut(&origin)
    }

    /// Returns the replicas that can probe an endpoint: none if it needs no probe.
    pub(crate) fn probers_of(&self, assessor: &EndpointAssessor) -> Probers {
        if assessor.needs_no_probe() {
            return Probers::default();
        }
        let is_busy = |progress: &OriginProgress| {
            let since_ms = progress.last_busy_ms;
            since_ms.is_some_and(|busy_ms| progress.last_batch_ms.saturating_sub(busy_ms) < BUSY_MS)
        };
        Probers::new(self.active.iter().map(|(origin, progress)| (*origin, is_busy(progress))))
    }

    /// Returns all origins: those that have expired, then the active ones.
    pub(crate) fn all(&self) -> impl Iterator<Item = Origin> {
        self.expired.iter().chain(self.active.keys()).copied()
    }

    /// Treats the last `late_ms` until `now_ms` as if they had not passed, when the silence of origins is measured.
    pub(crate) fn excuse(&mut self, now_ms: u64, late_ms: u64) {
        for progress in self.active.values_mut() {
            progress.last_batch_ms = progress.last_batch_ms.saturating_add(late_ms).min(now_ms);
        }
    }

    /// Returns whether `origin` has sent nothing for `silent_ms` until `now_ms`, or is unknown.
    pub(crate) fn is_silent(&self, now_ms: u64, origin: Origin, silent_ms: u64) -> bool {
        let progress = self.active.get(&origin);
        progress.is_none_or(|progress| now_ms.saturating_sub(progress.last_batch_ms) >= silent_ms)
    }

    /// Returns the replicas as the assessment of the pool reads them, heard until `now_ms`. What arrives at one that counts
    /// nothing is not known, as if it was silent.
    pub(crate) fn replicas(&self, now_ms: u64) -> Vec<EppReplica> {
        let replica = |(origin, progress): (&Origin, &OriginProgress)| {
            let silent_ms = now_ms.saturating_sub(progress.last_batch_ms);
            let is_heard = silent_ms < UNHEARD_MS && progress.arrivals.is_some();
            EppReplica { origin: origin.0, arrivals: progress.arrivals, is_heard }
        };
        self.active.iter().map(replica).collect()
    }

    /// Expires the origins that were silent for `ttl_ms` and returns them. [`Self::next_expiring`] names each of them, for
    /// its loads to be removed.
    pub(crate) fn expire(&mut self, now_ms: u64, ttl_ms: u64) -> Vec<Origin> {
        let is_silent = |progress: &OriginProgress| now_ms.saturating_sub(progress.last_batch_ms) >= ttl_ms;
        let silent = self.active.iter().filter(|(_, progress)| is_silent(progress));
        let silent: Vec<_> = silent.map(|(origin, _)| *origin).collect();
        silent.iter().for_each(|origin| self.expire_at_once(*origin));
        self.expiring.extend(&silent);
        silent
    }

    /// Returns whether loads of expired origins still are in the state.
    pub(crate) fn are_expiring(&self) -> bool {
        !self.expiring.is_empty()
    }

    /// Takes the next expired origin, whose loads must be removed now. Until then it is refused, remembered or not: its loads
    /// would be removed although it sends feedback again.
    pub(crate) fn next_expiring(&mut self) -> Option<Origin> {
        self.expiring.pop_front()
    }

    /// Expires an origin, however long it was silent. If too many are remembered, the earliest is forgotten.
    pub(crate) fn expire_at_once(&mut self, origin: Origin) {
        self.active.remove(&origin);
        self.expired.push_back(origin);
        if self.expired.len() > MAX_EXPIRED_ORIGINS {
            self.expired.pop_front();
        }
    }
}
