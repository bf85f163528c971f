//! What the owner makes of feedback: work in flight, placements, adapters, answers.

use std::collections::BTreeMap;

use signalbox_prefix::{Misfit, anchor_after};
use signalbox_types::{BlockHash, EndpointKey, Load, Origin};

use super::{BYTES_PER_TOKEN, CountedEvent, Pool, PoolEffect};
use crate::change::Change;
use crate::feedback::{Feedback, GaugeScope, Placement};

impl Pool {
    pub(super) fn fold_feedback(&mut self, now_ms: u64, feedback: Feedback) -> Vec<PoolEffect> {
        let Feedback { epoch, origin, seq, scope, gauges, placements, adapters, responses } = feedback;
        let mut effects = self.outranked(epoch);
        let Some(heard) = self.origins.hear(now_ms, origin) else {
            effects.push(PoolEffect::Expired(origin));
            return effects;
        };
        let is_news = heard.is_news(seq);
        if is_news {
            self.fold_gauges(origin, scope, &gauges);
            adapters.iter().for_each(|(endpoint, adapter)| self.fold_adapter(*endpoint, adapter));
            responses.into_iter().for_each(|answer| self.fold_answer(now_ms, answer));
        }
        let placements = placements.into_iter();
        effects.extend(placements.filter_map(|placement| self.fold_placement(now_ms, origin, placement)));
        if is_news
            && scope == GaugeScope::Whole
            && let Some(heard) = self.origins.heard(origin)
            && let given_up @ 1.. = heard.give_up(now_ms)
        {
            effects.push(PoolEffect::Count(CountedEvent::ChainsGivenUp(given_up)));
        }
        self.acknowledge(origin);
        effects
    }

    fn acknowledge(&mut self, origin: Origin) {
        let Some(heard) = self.origins.heard(origin) else { return };
        let number = heard.acknowledged();
        if number > self.pool_state.acknowledged(origin) {
            self.commit(Change::Acknowledged { origin, number });
        }
    }

    fn fold_gauges(&mut self, origin: Origin, scope: GaugeScope, gauges: &[(EndpointKey, Load)]) {
        let mut wanted: BTreeMap<EndpointKey, Load> = gauges.iter().copied().collect();
        if scope == GaugeScope::Whole {
            let held = self.pool_state.endpoints().filter(|member| member.load_of(origin) != Load::ZERO);
            held.for_each(|member| {
                wanted.entry(member.key).or_insert(Load::ZERO);
            });
        }
        for (endpoint, load) in wanted {
            if self.pool_state.member(endpoint).is_some_and(|member| member.load_of(origin) != load) {
                self.commit(Change::LoadChanged { endpoint, origin, load });
            }
        }
    }

    fn fold_placement(&mut self, now_ms: u64, origin: Origin, placement: Placement) -> Option<PoolEffect> {
        let Placement { number, endpoint, incarnation, anchor, suffix } = placement;
        let heard = self.origins.heard(origin)?;
        if !heard.is_open(number) {
            return None;
        }
        let is_current =
            self.pool_state.member(endpoint).is_some_and(|member| member.observed.incarnation == incarnation);
        let known = self.pool_state.residents().known(anchor, &suffix);
        if is_current && known == Err(Misfit::Block(anchor)) {
            heard.ask(now_ms, number);
            return Some(PoolEffect::NeedChain(origin, number));
        }
        heard.close(number);
        // What cannot follow its anchor is no chain.
        if let Ok(known) = known
            && is_current
            && (anchor != BlockHash::ROOT || !suffix.is_empty())
        {
            let (anchor, start) = anchor_after(anchor, &suffix, known);
            let suffix = suffix[start..].into();
            if self.try_commit(Change::Placed { endpoint, anchor, suffix }).is_ok() {
                self.make_room(endpoint);
                self.make_room_in_memory();
            }
        }
        None
    }

    /// Evicts what has not been used for the longest time until the endpoint's blocks fit its KV cache.
    pub(super) fn make_room(&mut self, endpoint: EndpointKey) {
        let Some(member) = self.pool_state.member(endpoint) else { return };
        let kv_tokens =
            member.observed.capacity.map_or(self.config.assumed_kv_tokens, |capacity| capacity.kv_tokens);
        let block_bytes = u64::from(self.config.format.block_bytes.max(1));
        let room = (kv_tokens.saturating_mul(BYTES_PER_TOKEN) / block_bytes) as usize;
        loop {
            let surplus = self.pool_state.residents().held(endpoint).saturating_sub(room);
            let Some((used, blocks)) =
                (surplus > 0).then(|| self.pool_state.residents().oldest(endpoint, surplus)).flatten()
            else {
                return;
            };
            self.commit(Change::Evicted { endpoint, used, blocks });
        }
    }

    /// Evicts what no endpoint has used for the longest time when the placements of all take too much memory. A little more goes than
    /// has to, so that this does not come with every placement.
    fn make_room_in_memory(&mut self) {
        let bound = self.config.index_bytes;
        if self.pool_state.residents().bytes() <= bound {
            return;
        }
        let target = bound - bound / 64;
        loop {
            let residents = self.pool_state.residents();
            let surplus = residents.bytes().saturating_sub(target);
            let Some(endpoint) = residents.stalest().filter(|_| surplus > 0) else { return };
            let blocks_at_least = surplus.div_ceil(size_of::<u64>());
            let Some((used, blocks)) = residents.oldest(endpoint, blocks_at_least) else { return };
            self.commit(Change::Evicted { endpoint, used, blocks });
        }
    }
}
