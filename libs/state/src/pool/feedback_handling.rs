//! Handles feedback from replicas: gauges, placements, adapters and outcomes.

use std::collections::BTreeMap;
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
            self.handle_gauges(origin, scope, &gauges);
            adapters.iter().for_each(|(endpoint, adapter)| self.handle_adapter_use(*endpoint, adapter));
            responses.into_iter().for_each(|response| self.handle_response(now_ms, response));
            usage.iter().for_each(|usage| self.learn_rates(usage));
        }
        let placements = placements.into_iter();
        effects.extend(placements.filter_map(|placement| self.handle_placement(now_ms, origin, placement)));
        if is_new {
            self.handle_usage(now_ms, &usage);
            self.record_idle_endpoints(&gauges);
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

    fn handle_gauges(&mut self, origin: Origin, scope: GaugeScope, gauges: &[(EndpointKey, Load)]) {
        let mut wanted: BTreeMap<EndpointKey, Load> = gauges.iter().copied().collect();
        if scope == GaugeScope::All {
            let held = self
                .pool_state
                .endpoints()
                .filter(|endpoint_state| endpoint_state.load_of(origin) != Load::ZERO);
            held.for_each(|endpoint_state| {
                wanted.entry(endpoint_state.key).or_insert(Load::ZERO);
            });
        }
        for (endpoint, load) in wanted {
            if self
                .pool_state
                .endpoint(endpoint)
                .is_some_and(|endpoint_state| endpoint_state.load_of(origin) != load)
            {
                self.commit(Change::LoadChanged { endpoint, origin, load });
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
            let suffix: Arc<[BlockHash]> = suffix[start..].into();
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
