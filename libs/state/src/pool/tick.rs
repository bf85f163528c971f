//! What time changes: silent collectors and replicas expire, and endpoints are assessed in rounds.

use signalbox_types::EndpointKey;

use super::endpoint_assessor::EndpointAssessor;
use super::unbooked_load::UnbookedLoad;
use super::{CountedEvent, Pool, PoolEffect};
use crate::pool_state::{Change, EndpointState, Observed, ScrapeStatus};

/// The maximum work for expired origins with one input, in loads that are removed.
const MAX_EXPIRY_WORK_PER_INPUT: usize = 1_024;

/// The work for an origin that has expired, without its loads.
const EXPIRY_WORK: usize = 64;

impl Pool {
    /// Counts `late_ms` of the time until `now_ms` as if it had not passed for those whose silence is measured: this
    /// process was late, and what they sent may wait to be handled.
    pub(crate) fn excuse(&mut self, now_ms: u64, late_ms: u64) {
        self.assignments.excuse(now_ms, late_ms);
        self.origins.excuse(now_ms, late_ms);
    }

    /// Records for how long the oldest message has waited that is not handled yet, in milliseconds.
    pub(crate) fn record_waiting(&mut self, waiting_ms: u64) {
        self.waiting_ms = waiting_ms;
    }

    pub(super) fn handle_tick(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        // Whoever has sent something since then is not silent.
        let handled_until_ms = now_ms.saturating_sub(self.waiting_ms);
        let expired = self.assignments.expire(handled_until_ms, self.config.collector_ttl_ms);
        let mut effects: Vec<_> = expired.iter().copied().map(PoolEffect::CloseCollector).collect();
        self.untold.extend(self.assignments.reassign(now_ms, !expired.is_empty()));
        let expired = self.origins.expire(handled_until_ms, self.config.origin_ttl_ms);
        effects.extend(expired.iter().map(|origin| PoolEffect::Count(CountedEvent::OriginExpired(*origin))));
        self.expire_origins();
        self.tick_caches(now_ms);
        self.expire_responses(now_ms);
        self.tick_granting(now_ms);
        if self.rounds.is_over() {
            self.update_rates();
            if self.assignments.has_new_silence(handled_until_ms, self.config.stale_after_ms) {
                self.touch_all();
            }
            self.plan_room_check();
            self.rounds.begin(now_ms);
        }
        effects.extend(self.continue_work(now_ms));
        effects
    }

    /// Continues what earlier inputs left to do.
    pub(super) fn handle_continue(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        self.expire_origins();
        self.continue_work(now_ms)
    }

    /// Does the next part of everything that is left, except for expired origins.
    pub(super) fn continue_work(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        self.continue_spec(now_ms);
        for endpoint in self.rounds.take() {
            self.consider(now_ms, endpoint);
        }
        let mut effects = self.continue_assigning();
        if effects.is_empty() {
            self.continue_snapshot();
            self.free_discarded();
        }
        effects.extend(self.continue_signalling(now_ms));
        let is_unfinished = self.origins.are_expiring()
            || self.pending_spec.is_some()
            || !self.rounds.is_over()
            || !self.untold.is_empty()
            || self.is_capturing()
            || self.is_signalling()
            || !self.discarded.is_empty();
        effects.extend(is_unfinished.then_some(PoolEffect::Unfinished));
        effects
    }

    /// Removes the loads of the next origins that have expired.
    fn expire_origins(&mut self) {
        let mut work = 0;
        while work < MAX_EXPIRY_WORK_PER_INPUT
            && let Some(origin) = self.origins.next_expiring()
        {
            let loads = self.pool_state.loads().of_origin(origin);
            work += EXPIRY_WORK + loads.len();
            loads.iter().for_each(|(endpoint, _)| self.rounds.touch(*endpoint));
            self.commit(Change::OriginExpired { origin });
        }
    }

    /// Lets the next round consider all endpoints.
    pub(super) fn touch_all(&mut self) {
        self.pool_state.endpoints().for_each(|endpoint_state| self.rounds.touch(endpoint_state.key));
    }

    /// Publishes what has changed of one endpoint, by itself or by time. Looks up each part of it once: all endpoints
    /// of a large pool may be considered after each tick.
    fn consider(&mut self, now_ms: u64, endpoint: EndpointKey) {
        let times = Times { now_ms, stale_after_ms: self.config.stale_after_ms };
        let Some(endpoint_state) = self.pool_state.endpoint(endpoint) else { return };
        let Some(assessor) = self.assessors.get_mut(&endpoint) else { return };
        let handled_until_ms = now_ms.saturating_sub(self.waiting_ms);
        let is_unreported = self.assignments.is_unreported(handled_until_ms, endpoint, times.stale_after_ms);
        let booked = self.pool_state.loads().total(endpoint).requests;
        let observed =
            times.observed_after(is_unreported, (endpoint_state, booked), &mut assessor.unbooked_load);
        let supported = self.rates.record(endpoint, &endpoint_state.spec.engine, assessor);
        let rates = (self.corrections.corrected(supported), self.corrections.corrected(self.rates.typical));
        let before = &endpoint_state.assessment;
        let assessment = assessor.assess(now_ms, rates, before, &self.origins.probers_of(assessor));
        let accuracy = self.cache_beliefs.changed(endpoint_state);
        let current = observed.as_ref().unwrap_or(&endpoint_state.observed);
        if current.scrape_status == ScrapeStatus::Fresh
            && !assessor.unbooked_load.is_settled(current.gauges, booked)
        {
            self.rounds.touch(endpoint);
        }
        times.next_ms(current, assessor).for_each(|at_ms| self.rounds.touch_at(at_ms, endpoint));
        if let Some(observed) = observed {
            self.commit(Change::Observed { endpoint, observed });
        }
        if let Some(assessment) = assessment {
            self.commit(Change::Assessed { endpoint, assessment });
        }
        if let Some(accuracy) = accuracy {
            self.commit(Change::CacheAccuracyChanged { endpoint, accuracy });
        }
        self.check_room(endpoint);
    }
}

/// When an endpoint is considered, and after how long without a report its values are stale, in milliseconds.
#[derive(Clone, Copy)]
struct Times {
    now_ms: u64,
    stale_after_ms: u64,
}

impl Times {
    /// Returns when an endpoint changes by time alone, in milliseconds.
    fn next_ms(self, observed: &Observed, assessor: &EndpointAssessor) -> impl Iterator<Item = u64> + use<> {
        let stale_at_ms = (observed.scrape_status == ScrapeStatus::Unknown)
            .then(|| observed.scrape_status_since_ms.saturating_add(self.stale_after_ms));
        assessor.next_change_ms(self.now_ms).into_iter().chain(stale_at_ms)
    }

    /// Returns the values of an endpoint after time has passed without a report, if they change: they become
    /// stale, or count as another sample.
    fn observed_after(
        self,
        is_unreported: bool,
        (endpoint_state, booked): (&EndpointState, u32),
        unbooked_load: &mut UnbookedLoad,
    ) -> Option<Observed> {
        let before = &endpoint_state.observed;
        let since_ms = self.now_ms.saturating_sub(before.scrape_status_since_ms);
        let stale_since_now = || Observed {
            scrape_status: ScrapeStatus::Stale,
            scrape_status_since_ms: self.now_ms,
            ..before.clone()
        };
        match before.scrape_status {
            ScrapeStatus::Fresh => {}
            ScrapeStatus::Unknown if since_ms >= self.stale_after_ms => return Some(stale_since_now()),
            ScrapeStatus::Unknown | ScrapeStatus::Stale | ScrapeStatus::Down => return None,
        }
        if is_unreported {
            return Some(stale_since_now());
        }
        if !unbooked_load.take_is_due() {
            return None;
        }
        let unbooked_requests = unbooked_load.sample(before.gauges, booked);
        unbooked_load.take_is_due(); // the sample taken here counts for this tick
        (unbooked_requests != before.unbooked_requests)
            .then(|| Observed { unbooked_requests, ..before.clone() })
    }
}
