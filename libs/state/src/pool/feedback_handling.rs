//! Handles feedback from replicas: gauges, placements, adapters and outcomes.

use std::sync::Arc;

use signalbox_prefix::{IndexError, anchor_after};
use signalbox_types::{BlockHash, EndpointKey, Load, Origin};

use super::{CountedEvent, Pool, PoolEffect};
use crate::pool_state::Change;
use crate::reports::{Feedback, GaugeScope, Placement};

impl Pool {
    pub(super) fn handle_feedback(&mut self, now_ms: u64, feedback: Feedback) -> Vec<PoolEffect> {
        let Feedback { epoch: _, origin, seq, scope, gauges, placements, adapters, responses, usage } =
            feedback;
        let mut effects = Vec::new();
        let Some(progress) = self.origins.record_batch(now_ms, origin) else {
            effects.push(PoolEffect::Expired(origin));
            return effects;
        };
        let is_new = progress.advance_seq(seq);
        if is_new {
            self.handle_gauges(origin, scope, gauges);
            adapters.iter().for_each(|(endpoint, adapter)| self.handle_adapter_use(*endpoint, adapter));
            responses.into_iter().for_each(|response| self.handle_response(now_ms, response));
            usage.iter().for_each(|usage| self.learn_rates(usage));
        }
        let placements = placements.into_iter();
        effects.extend(placements.filter_map(|placement| self.handle_placement(now_ms, origin, placement)));
        if let Some(progress) = self.origins.progress(origin)
            && let dropped @ 1.. = progress.take_surplus_dropped()
        {
            effects.push(PoolEffect::Count(CountedEvent::ChainRequestsDropped(origin, dropped)));
        }
        if is_new {
            self.handle_usage(now_ms, &usage);
        }
        if is_new
            && scope == GaugeScope::All
            && let Some(progress) = self.origins.progress(origin)
            && let dropped @ 1.. = progress.expire_chain_requests(now_ms)
        {
            effects.push(PoolEffect::Count(CountedEvent::PlacementsDropped(dropped)));
        }
        self.acknowledge(origin);
        effects
    }

    fn acknowledge(&mut self, origin: Origin) {
        let Some(progress) = self.origins.progress(origin) else { return };
        let number = progress.acknowledged();
        if number > self.pool_state.acknowledged(origin) {
            self.commit(Change::Acknowledged { origin, number });
        }
    }

    fn handle_gauges(&mut self, origin: Origin, scope: GaugeScope, mut gauges: Vec<(EndpointKey, Load)>) {
        // The last gauge of an endpoint counts.
        gauges.reverse();
        gauges.sort_by_key(|(endpoint, _)| *endpoint);
        gauges.dedup_by_key(|(endpoint, _)| *endpoint);
        let Some(progress) = self.origins.progress(origin) else { return };
        if scope == GaugeScope::All {
            let is_absent =
                |endpoint: &EndpointKey| gauges.binary_search_by_key(endpoint, |(of, _)| *of).is_err();
            let absent: Vec<_> = progress.loaded().into_iter().filter(is_absent).collect();
            gauges.extend(absent.into_iter().map(|endpoint| (endpoint, Load::ZERO)));
        }
        // Most gauges of a batch with all are as before: these must cost little.
        gauges.retain(|(endpoint, load)| progress.load_at(*endpoint) != *load);
        for (endpoint, load) in gauges {
            let Some(endpoint_state) = self.pool_state.endpoint(endpoint) else { continue };
            if load.prefills > 0 && endpoint_state.load().prefills == 0 {
                let served = (endpoint, endpoint_state.observed.incarnation);
                self.cache_beliefs.record_idle(served, self.journal.head().seq);
            }
            self.rounds.touch(endpoint);
            self.commit(Change::LoadChanged { endpoint, origin, load });
            if let Some(progress) = self.origins.progress(origin) {
                progress.record_load(endpoint, load);
            }
        }
    }

    fn handle_placement(&mut self, now_ms: u64, origin: Origin, placement: Placement) -> Option<PoolEffect> {
        let Placement { number, endpoint, incarnation, anchor, suffix } = placement;
        let progress = self.origins.progress(origin)?;
        if !progress.is_open(number) {
            return None;
        }
        let is_current = self
            .pool_state
            .endpoint(endpoint)
            .is_some_and(|endpoint_state| endpoint_state.observed.incarnation == incarnation);
        let known = self.pool_state.index_writer().known_blocks(anchor, &suffix);
        if is_current && known == Err(IndexError::Block(anchor)) {
            progress.record_chain_request(now_ms, number);
            return Some(PoolEffect::NeedChain(origin, number));
        }
        progress.close(number);
        // A suffix that cannot follow its anchor is not a chain and is dropped.
        if let Ok(known) = known
            && is_current
            && (anchor != BlockHash::ROOT || !suffix.is_empty())
        {
            let (anchor, start) = anchor_after(anchor, &suffix, known);
            let suffix: Arc<[_]> = if start == 0 { suffix } else { suffix[start..].into() };
            let last_block = suffix.last().copied().unwrap_or(anchor);
            let uses = self.pool_state.index_writer().last_uses(endpoint, anchor, &suffix);
            let added = suffix.len();
            if self.try_commit(Change::Placed { endpoint, anchor, suffix }).is_ok() {
                self.await_usage(now_ms, (endpoint, incarnation), last_block, &uses);
                self.evict_to_capacity(endpoint);
                self.evict_to_memory_bound(added);
            }
        }
        None
    }
}
