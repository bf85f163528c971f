//! Handles the reports of collectors, and their silence.

use super::assignments::CollectorStream;
use super::incarnations::incarnation_after;
use super::{CountedEvent, Pool, PoolEffect};
use crate::pool_state::{Change, EndpointState, Observed, ScrapeStatus, is_restart};
use crate::reports::{Report, Update};

impl Pool {
    pub(super) fn handle_report(
        &mut self,
        now_ms: u64,
        stream: CollectorStream,
        report: Report,
    ) -> Option<PoolEffect> {
        let Report { endpoint, generation, age_ms, update } = report;
        let endpoint_state = self.pool_state.endpoint(endpoint)?;
        if !self.assignments.is_current(stream, endpoint, generation) {
            return Some(PoolEffect::Count(CountedEvent::ReportOutdated(stream)));
        }
        let before = endpoint_state.observed.clone();
        let booked = endpoint_state.load().requests;
        let had_adapters = endpoint_state.adapters.is_some();
        let incarnation = incarnation_after(now_ms, &before, &update);
        let is_restart = is_restart(before.incarnation, incarnation);
        if is_restart {
            self.restart_assessment(now_ms, endpoint);
        }
        let assessor = self.assessors.get_mut(&endpoint)?;
        let Update { incarnation: _, scrape_status, gauges, capacity, adapters, decode, work, is_asleep } =
            update;
        let gauges = gauges.unwrap_or(before.gauges);
        let mut unbooked_requests = before.unbooked_requests;
        if scrape_status == ScrapeStatus::Fresh {
            unbooked_requests = assessor.unbooked_load.sample(gauges, booked);
            assessor.record_scrape(now_ms);
        }
        decode.into_iter().for_each(|decode| assessor.record_decode(decode));
        let since_ms = if scrape_status == before.scrape_status {
            before.scrape_status_since_ms
        } else {
            now_ms.saturating_sub(age_ms)
        };
        let observed = Observed {
            incarnation,
            scrape_status,
            scrape_status_since_ms: since_ms,
            gauges,
            unbooked_requests,
            capacity: capacity.or(before.capacity),
            work: work.unwrap_or(before.work),
            is_asleep: is_asleep.unwrap_or(before.is_asleep),
        };
        // Work grows with every report. By itself it is not worth a change: a restart shows against any
        // earlier value.
        if observed != (Observed { work: observed.work, ..before }) {
            self.commit(Change::Observed { endpoint, observed });
        }
        match adapters {
            Some(adapters) => self.handle_adapter_report(endpoint, &adapters),
            None if is_restart && had_adapters => self.publish_adapters(endpoint),
            None => {}
        }
        self.evict_to_capacity(endpoint);
        None
    }

    pub(super) fn handle_tick(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        let expired = self.assignments.expire(now_ms, self.config.collector_ttl_ms);
        let mut effects: Vec<_> = expired.iter().copied().map(PoolEffect::CloseCollector).collect();
        let moved = self.assignments.reassign(now_ms, !expired.is_empty());
        effects.extend(self.assign(moved));
        for origin in self.origins.expire(now_ms, self.config.origin_ttl_ms) {
            self.commit(Change::OriginExpired { origin });
            effects.push(PoolEffect::Count(CountedEvent::OriginExpired(origin)));
        }
        self.update_rates();
        let endpoints: Vec<_> = self.pool_state.endpoints().cloned().collect();
        for endpoint_state in endpoints {
            if let Some(observed) = self.observed_after_silence(now_ms, &endpoint_state) {
                self.commit(Change::Observed { endpoint: endpoint_state.key, observed });
            }
            self.assess(now_ms, endpoint_state.key);
        }
        self.tick_caches(now_ms);
        effects
    }

    /// Returns the values of an endpoint after time has passed without a report, if they change: they become
    /// stale, or count as another sample.
    fn observed_after_silence(&mut self, now_ms: u64, endpoint_state: &EndpointState) -> Option<Observed> {
        let before = &endpoint_state.observed;
        let since_ms = now_ms.saturating_sub(before.scrape_status_since_ms);
        match before.scrape_status {
            ScrapeStatus::Fresh => {}
            ScrapeStatus::Unknown if since_ms >= self.config.stale_after_ms => {
                return Some(Observed {
                    scrape_status: ScrapeStatus::Stale,
                    scrape_status_since_ms: now_ms,
                    ..before.clone()
                });
            }
            ScrapeStatus::Unknown | ScrapeStatus::Stale | ScrapeStatus::Down => return None,
        }
        if self.assignments.is_unreported(now_ms, endpoint_state.key, self.config.stale_after_ms) {
            let stale = Observed {
                scrape_status: ScrapeStatus::Stale,
                scrape_status_since_ms: now_ms,
                ..before.clone()
            };
            return Some(stale);
        }
        let unbooked_load = &mut self.assessors.get_mut(&endpoint_state.key)?.unbooked_load;
        if !unbooked_load.take_is_due() {
            return None;
        }
        let unbooked_requests = unbooked_load.sample(before.gauges, endpoint_state.load().requests);
        unbooked_load.take_is_due(); // the sample taken here counts for this tick
        (unbooked_requests != before.unbooked_requests)
            .then(|| Observed { unbooked_requests, ..before.clone() })
    }
}
