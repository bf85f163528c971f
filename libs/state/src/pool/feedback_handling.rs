//! Handles feedback from replicas: gauges, placements, adapters and outcomes.

use std::collections::VecDeque;
use std::sync::Arc;

use signalbox_prefix::{IndexError, anchor_after};
use signalbox_types::{BlockHash, EndpointKey, Load, Origin};

use super::{CountedEvent, Pool, PoolEffect};
use crate::pool_state::Change;
use crate::reports::{Feedback, GaugeScope, Placement, UsageReport};

/// The work for a placement, and for each change that comes of it, without the blocks: as much as for so many blocks.
const CHANGE_WORK: usize = 32;

/// What is left of a batch whose placements are too much work for one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackRest {
    origin: Origin,
    scope: GaugeScope,
    /// Whether the number of the batch is higher than all before.
    is_new: bool,
    placements: VecDeque<Placement>,
    usage: Vec<UsageReport>,
}

impl Pool {
    pub(super) fn handle_feedback(&mut self, now_ms: u64, feedback: Feedback) -> Vec<PoolEffect> {
        let Feedback {
            epoch: _,
            origin,
            seq,
            scope,
            gauges,
            placements,
            adapters,
            responses,
            usage,
            flows,
            arrivals,
        } = feedback;
        let Some(progress) = self.origins.record_batch(now_ms, origin) else {
            return vec![PoolEffect::Expired(origin)];
        };
        let is_new = progress.advance_seq(seq);
        if is_new {
            progress.record_arrivals(arrivals);
            self.handle_gauges(origin, scope, gauges);
            adapters.iter().for_each(|(endpoint, adapter)| self.handle_adapter_use(*endpoint, adapter));
            responses.into_iter().for_each(|response| self.handle_response(now_ms, response));
            usage.iter().for_each(|usage| self.learn_rates(usage));
            self.handle_flows(now_ms, origin, scope, flows);
        }
        let rest = FeedbackRest { origin, scope, is_new, placements: placements.into(), usage };
        self.continue_feedback(now_ms, rest)
    }

    /// Handles as many placements as are not too much work, and after the last one what depends on them. While a snapshot is
    /// being captured, the first change of each run copies it, which can be more work than the change.
    pub(super) fn continue_feedback(&mut self, now_ms: u64, mut rest: FeedbackRest) -> Vec<PoolEffect> {
        let FeedbackRest { origin, scope, is_new, .. } = rest;
        if self.origins.progress(origin).is_none() {
            return vec![PoolEffect::Expired(origin)];
        }
        let (mut effects, mut work) = (Vec::new(), 0);
        let early_steps = |pool: &Self| pool.pool_state.index_writer().early_capture_steps();
        let (limits, copied_before) = (self.config.input_limits, early_steps(self));
        while let Some(placement) = rest.placements.pop_front() {
            let (blocks, before) = (placement.suffix.len(), self.journal.head().seq);
            effects.extend(self.handle_placement(now_ms, origin, placement));
            let changes = (self.journal.head().seq - before) as usize;
            work += blocks + CHANGE_WORK * (1 + changes);
            let is_much =
                work >= limits.placement_work || early_steps(self) - copied_before >= limits.snapshot_steps;
            if is_much && !rest.placements.is_empty() {
                effects.push(PoolEffect::FeedbackLeft(rest));
                return effects;
            }
        }
        if let Some(progress) = self.origins.progress(origin)
            && let dropped @ 1.. = progress.take_surplus_dropped()
        {
            effects.push(PoolEffect::Count(CountedEvent::ChainRequestsDropped(origin, dropped)));
        }
        if is_new {
            self.handle_usage(now_ms, &rest.usage);
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
        let loads = self.pool_state.loads();
        if scope == GaugeScope::All {
            let is_absent =
                |endpoint: &EndpointKey| gauges.binary_search_by_key(endpoint, |(of, _)| *of).is_err();
            let loaded = loads.of_origin(origin).into_iter().map(|(endpoint, _)| endpoint);
            let absent: Vec<_> = loaded.filter(is_absent).collect();
            gauges.extend(absent.into_iter().map(|endpoint| (endpoint, Load::ZERO)));
        }
        // Most gauges of a batch with all are as before: these must cost little.
        gauges.retain(|(endpoint, load)| loads.of(*endpoint, origin) != *load);
        for (endpoint, load) in gauges {
            let Some(endpoint_state) = self.pool_state.endpoint(endpoint) else { continue };
            if load.prefills > 0 && self.pool_state.loads().total(endpoint).prefills == 0 {
                let served = (endpoint, endpoint_state.observed.incarnation);
                self.cache_beliefs.record_idle(served, self.journal.head().seq);
            }
            self.rounds.touch(endpoint);
            self.commit(Change::LoadChanged { endpoint, origin, load });
            if load != Load::ZERO
                && let Some(progress) = self.origins.progress(origin)
            {
                progress.record_busy();
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
