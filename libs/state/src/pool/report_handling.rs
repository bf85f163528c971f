//! Handles the reports of collectors.

use super::assignments::CollectorStream;
use super::incarnations::incarnation_after;
use super::{CountedEvent, Pool, PoolEffect};
use crate::pool_state::{Change, Observed, ScrapeStatus, is_restart};
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
        self.rounds.touch(endpoint);
        let before = endpoint_state.observed.clone();
        let booked = self.pool_state.loads().total(endpoint).requests;
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
        let has_other_capacity = observed.capacity != before.capacity;
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
        if has_other_capacity {
            self.evict_to_capacity(endpoint);
        }
        None
    }
}
