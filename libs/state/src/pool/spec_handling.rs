//! Applies specifications of the pool, a bounded number of endpoints with each input.

use std::sync::Arc;

use signalbox_types::{EndpointKey, EndpointSpec, PoolSpec};

use super::endpoint_assessor::EndpointAssessor;
use super::{Pool, PoolEffect};
use crate::pool_state::{Change, Observed};

/// The maximum work with one input, in units of about half a microsecond: about 2 ms.
const MAX_WORK_PER_INPUT: usize = 4_096;

/// The work for an endpoint that does not change.
const UNCHANGED_WORK: usize = 1;

/// The work for an endpoint that is added, changed or removed, without its blocks.
const CHANGED_WORK: usize = 16;

/// The number of blocks whose removal is one unit of work.
const BLOCKS_PER_WORK: usize = 8;

/// A specification that is being applied.
#[derive(Debug)]
pub(super) struct PendingSpec {
    spec: Arc<PoolSpec>,
    /// The endpoints that the pool has and the specification has not.
    gone: Vec<EndpointKey>,
    /// The positions in the specification of what is still to be set, in the order of the keys, the last one first.
    wanted: Vec<(EndpointKey, usize)>,
}

impl Pool {
    pub(super) fn handle_spec(&mut self, now_ms: u64, spec: Arc<PoolSpec>) -> Vec<PoolEffect> {
        let PoolSpec { id: _, endpoints, models } = &*spec;
        let mut wanted: Vec<_> = endpoints.iter().enumerate().map(|(at, spec)| (spec.key(), at)).collect();
        // Of two with one name the later one counts.
        wanted.sort_unstable_by(|a, b| b.cmp(a));
        wanted.dedup_by_key(|(endpoint, _)| *endpoint);
        let is_wanted = |endpoint: &EndpointKey| wanted.binary_search_by(|(of, _)| endpoint.cmp(of)).is_ok();
        let present = self.pool_state.endpoints().map(|endpoint_state| endpoint_state.key);
        let gone = present.filter(|endpoint| !is_wanted(endpoint)).collect();
        if wanted.iter().any(|(endpoint, _)| self.pool_state.endpoint(*endpoint).is_none()) {
            self.update_rates();
        }
        if self.pool_state.models() != models {
            self.commit(Change::ModelsSet { models: Arc::clone(models) });
        }
        self.pending_spec = Some(PendingSpec { spec, gone, wanted });
        self.continue_work(now_ms)
    }

    /// Applies the next part of the specification. The collectors are told when it was the last part.
    pub(super) fn continue_spec(&mut self, now_ms: u64) {
        let Some(mut pending) = self.pending_spec.take() else { return };
        let mut work = 0;
        while work < MAX_WORK_PER_INPUT {
            if let Some(endpoint) = pending.gone.pop() {
                work += self.remove_endpoint(endpoint);
                self.assignments.remove_endpoint(endpoint);
            } else if let Some((endpoint, at)) = pending.wanted.pop() {
                work += self.apply_endpoint_spec(now_ms, endpoint, &pending.spec.endpoints[at]);
            } else {
                self.untold.extend(self.assignments.take_changed());
                return;
            }
        }
        self.pending_spec = Some(pending);
    }

    /// Removes an endpoint. Returns the work that it was.
    fn remove_endpoint(&mut self, endpoint: EndpointKey) -> usize {
        let blocks = self.pool_state.index_writer().placed_blocks(endpoint);
        self.assessors.remove(&endpoint);
        self.rates.remove(endpoint);
        self.cache_beliefs.forget(endpoint);
        if self.pool_state.endpoint(endpoint).is_some() {
            self.commit(Change::EndpointRemoved { endpoint });
        }
        CHANGED_WORK + blocks / BLOCKS_PER_WORK
    }

    /// Applies the specification of one endpoint. Returns the work that it was.
    fn apply_endpoint_spec(&mut self, now_ms: u64, endpoint: EndpointKey, spec: &EndpointSpec) -> usize {
        let mut work = UNCHANGED_WORK;
        let before = self.pool_state.endpoint(endpoint);
        if before.is_some_and(|before| before.spec.address != spec.address) {
            work += self.remove_endpoint(endpoint);
        }
        let before = self.pool_state.endpoint(endpoint);
        let is_new = before.is_none();
        let shared = match before {
            Some(before) if *before.spec == *spec => Arc::clone(&before.spec),
            _ => {
                work += CHANGED_WORK;
                let spec = Arc::new(spec.clone());
                self.commit(Change::EndpointSet { spec: Arc::clone(&spec) });
                self.rounds.touch(endpoint);
                spec
            }
        };
        if is_new {
            self.assessors.insert(endpoint, EndpointAssessor::new(self.rates.typical));
            self.assess(now_ms, endpoint);
            let observed = Observed { scrape_status_since_ms: now_ms, ..Observed::default() };
            self.commit(Change::Observed { endpoint, observed });
        }
        self.assignments.set_endpoint(endpoint, &shared);
        work
    }
}
