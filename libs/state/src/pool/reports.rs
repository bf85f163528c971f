//! What the owner makes of collectors' reports, and of their silence.

use signalbox_types::Incarnation;

use super::{CountedEvent, Pool, PoolEffect};
use crate::assignments::CollectorStream;
use crate::change::{Change, Observed};
use crate::endpoint_observer::{Report, ScrapeStatus, Update};
use crate::pool_state::{EndpointState, is_rebirth};

impl Pool {
    pub(super) fn fold_report(
        &mut self,
        now_ms: u64,
        stream: CollectorStream,
        report: Report,
    ) -> Option<PoolEffect> {
        let Report { endpoint, generation, age_ms, update } = report;
        let (Some(member), Some(record)) =
            (self.pool_state.member(endpoint), self.records.get_mut(&endpoint))
        else {
            return None;
        };
        if !self.assignments.is_current(stream, endpoint, generation) {
            return Some(PoolEffect::Count(CountedEvent::ReportOutdated(stream)));
        }
        let before = member.observed.clone();
        let booked = member.load().requests;
        let Update { incarnation, scrape_status, gauges, capacity, adapters, decode } = update;
        // A collector that has not read the endpoint yet knows nothing of its life.
        let incarnation =
            if incarnation == Incarnation::default() { before.incarnation } else { incarnation };
        let is_rebirth = is_rebirth(before.incarnation, incarnation);
        if is_rebirth {
            record.restarted();
        }
        let gauges = gauges.unwrap_or(before.gauges);
        let mut unbooked_requests = before.unbooked_requests;
        if scrape_status == ScrapeStatus::Fresh {
            unbooked_requests = record.unbooked_requests.sample(gauges, booked);
            record.read(now_ms);
        }
        decode.into_iter().for_each(|decode| record.decode(decode));
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
        };
        if observed != before {
            self.commit(Change::Observed { endpoint, observed });
        }
        match adapters {
            Some(adapters) => self.fold_adapters(endpoint, &adapters),
            None if is_rebirth => self.shelve(endpoint),
            None => {}
        }
        self.make_room(endpoint);
        None
    }

    pub(super) fn fold_tick(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        let lost = self.assignments.expire(now_ms, self.config.collector_ttl_ms);
        let mut effects: Vec<_> = lost.iter().copied().map(PoolEffect::Dropped).collect();
        let moved = self.assignments.settle(now_ms, !lost.is_empty());
        effects.extend(self.assign(moved));
        for origin in self.origins.expire(now_ms, self.config.origin_ttl_ms) {
            self.commit(Change::OriginExpired { origin });
            effects.push(PoolEffect::Count(CountedEvent::OriginExpired(origin)));
        }
        let typical = self.typical_rates();
        let endpoints: Vec<_> = self.pool_state.endpoints().cloned().collect();
        for member in endpoints {
            if let Some(observed) = self.aged(now_ms, &member) {
                self.commit(Change::Observed { endpoint: member.key, observed });
            }
            self.assess(now_ms, typical, member.key);
        }
        effects
    }

    /// What becomes of an endpoint's values when time passes without a report: they grow stale, or count once more.
    fn aged(&mut self, now_ms: u64, member: &EndpointState) -> Option<Observed> {
        let before = &member.observed;
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
        if self.assignments.is_unread(now_ms, member.key, self.config.stale_after_ms) {
            let aged = Observed {
                scrape_status: ScrapeStatus::Stale,
                scrape_status_since_ms: now_ms,
                ..before.clone()
            };
            return Some(aged);
        }
        let recent = &mut self.records.get_mut(&member.key)?.unbooked_requests;
        if !recent.is_due() {
            return None;
        }
        let unbooked_requests = recent.sample(before.gauges, member.load().requests);
        recent.is_due(); // this sample stands for the tick itself
        (unbooked_requests != before.unbooked_requests)
            .then(|| Observed { unbooked_requests, ..before.clone() })
    }
}
