//! Turns the scrape results of one endpoint into reports of what changed.

use signalbox_types::{Gauges, Sample};

use super::decode_window::DecodeWindow;
use super::endpoint_report::Update;
use super::run_tracker::RunTracker;
use crate::pool_state::ScrapeStatus;

/// The number of consecutive refused connections after which an endpoint is down. A single one may come from
/// a restart of the listener.
const REFUSALS_UNTIL_DOWN: u32 = 2;

/// The smallest change of KV cache usage that is reported, in parts per million. Smaller ones do not affect
/// decisions.
const KV_SIGNIFICANT_PPM: u32 = 1_000;

/// The result of one scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrapeResult {
    /// The page was read.
    Sampled(Sample),
    /// The endpoint did not answer within the deadline, or the connection broke. A single occurrence is not
    /// conclusive.
    NoResponse,
    /// The response is not a metrics page. The values known so far are no longer valid.
    Unusable,
    /// The connection was refused: nothing listens at the address.
    Refused,
}

/// The values reported for one endpoint, and when it was last scraped successfully.
#[derive(Clone, Debug)]
pub struct EndpointObserver {
    stale_after_ms: u64,
    reported: Update,
    sampled_at_ms: u64,
    consecutive_refusals: u32,
    window: DecodeWindow,
    run: RunTracker,
}

impl EndpointObserver {
    /// Creates the observer of an endpoint that was not scraped yet. The values become stale when no scrape
    /// succeeds for `stale_after_ms`.
    pub fn new(now_ms: u64, stale_after_ms: u64) -> Self {
        Self {
            stale_after_ms,
            reported: Update::default(),
            sampled_at_ms: now_ms,
            consecutive_refusals: 0,
            window: DecodeWindow::default(),
            run: RunTracker::default(),
        }
    }

    /// Records the result of a scrape at `now_ms` and returns the update to report, if there is one.
    pub fn observe(&mut self, now_ms: u64, result: ScrapeResult) -> Option<Update> {
        let before = self.reported.scrape_status;
        match result {
            ScrapeResult::Sampled(sample) => {
                self.sampled_at_ms = now_ms;
                self.consecutive_refusals = 0;
                return self.record_sample(now_ms, sample);
            }
            ScrapeResult::Refused => self.consecutive_refusals = self.consecutive_refusals.saturating_add(1),
            ScrapeResult::NoResponse | ScrapeResult::Unusable => self.consecutive_refusals = 0,
        }
        self.reported.scrape_status = self.status_after_failure(now_ms, &result);
        (self.reported.scrape_status != before).then(|| self.status_update())
    }

    /// Returns all known values, for a receiver that knows none; `None` while the scrape status is unknown.
    pub fn full_update(&self) -> Option<Update> {
        (self.reported.scrape_status != ScrapeStatus::Unknown).then(|| self.reported.clone())
    }

    /// Returns the milliseconds since the last successful scrape.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.sampled_at_ms)
    }

    /// Returns the current scrape status.
    pub fn scrape_status(&self) -> ScrapeStatus {
        self.reported.scrape_status
    }

    fn status_after_failure(&self, now_ms: u64, result: &ScrapeResult) -> ScrapeStatus {
        match result {
            ScrapeResult::Refused if self.consecutive_refusals >= REFUSALS_UNTIL_DOWN => ScrapeStatus::Down,
            ScrapeResult::Unusable => ScrapeStatus::Stale,
            _ if self.age_ms(now_ms) >= self.stale_after_ms => match self.reported.scrape_status {
                ScrapeStatus::Down => ScrapeStatus::Down,
                ScrapeStatus::Unknown | ScrapeStatus::Fresh | ScrapeStatus::Stale => ScrapeStatus::Stale,
            },
            _ => self.reported.scrape_status,
        }
    }

    fn status_update(&self) -> Update {
        Update {
            incarnation: self.reported.incarnation,
            scrape_status: self.reported.scrape_status,
            ..Update::default()
        }
    }

    fn record_sample(&mut self, now_ms: u64, sample: Sample) -> Option<Update> {
        let Sample { gauges, capacity, adapters, incarnation, counters, work, is_asleep } = sample;
        let incarnation = self.run.record(now_ms, incarnation, work);
        let restarted = incarnation != self.reported.incarnation;
        if restarted {
            self.window = DecodeWindow::default();
        }
        // Without the number of running requests a speed says nothing about the load that it belongs to.
        let decode = counters
            .zip(gauges.running)
            .and_then(|(counters, running)| self.window.record(now_ms, running, counters));
        let update = Update {
            incarnation,
            scrape_status: ScrapeStatus::Fresh,
            gauges: self.is_significant(gauges).then_some(gauges),
            capacity: capacity.filter(|_| restarted || capacity != self.reported.capacity),
            adapters: adapters.filter(|new| restarted || self.reported.adapters.as_ref() != Some(new)),
            decode,
            work: Some(work),
            is_asleep: (restarted || self.reported.is_asleep != Some(is_asleep)).then_some(is_asleep),
        };
        let is_unchanged = !restarted
            && self.reported.scrape_status == ScrapeStatus::Fresh
            && update.gauges.is_none()
            && update.capacity.is_none()
            && update.adapters.is_none()
            && update.is_asleep.is_none()
            && update.decode.is_none();
        (!is_unchanged).then(|| {
            self.reported.merge(Update { decode: None, ..update.clone() });
            update
        })
    }

    fn is_significant(&self, new: Gauges) -> bool {
        let Some(old) = self.reported.gauges else { return true };
        let kv_moved = match (old.kv_used_ppm, new.kv_used_ppm) {
            (Some(old), Some(new)) => old.abs_diff(new) >= KV_SIGNIFICANT_PPM,
            (old, new) => old != new,
        };
        kv_moved || old.waiting != new.waiting || old.running != new.running
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::{Capacity, Counters, Incarnation, Work};

    use super::*;
    use crate::reports::DecodeObservation;

    fn sample(running: u32) -> Sample {
        let gauges = Gauges { waiting: 0, running: Some(running), kv_used_ppm: Some(10_000) };
        let capacity = Some(Capacity { kv_tokens: 1_000 });
        Sample { gauges, capacity, incarnation: Incarnation(7), ..Sample::default() }
    }

    #[test]
    fn decode_speed_is_reported_once_per_window() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        let mut paces = Vec::new();
        for at in 0..=60_u64 {
            let tokens = at * 10;
            let (inter_token_us_sum, inter_token_count) = (tokens * 25_000, tokens);
            let counters = Some(Counters { inter_token_us_sum, inter_token_count, ..Counters::default() });
            let update = endpoint.observe(at * 50, ScrapeResult::Sampled(Sample { counters, ..sample(4) }));
            paces.extend(update.and_then(|update| update.decode));
        }
        assert_eq!(vec![DecodeObservation { inter_token_us: 25_000, running_milli: 4_000 }; 3], paces);
    }

    #[test]
    fn first_sample_is_reported_fully_and_an_equal_one_not_at_all() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        let first = endpoint.observe(50, ScrapeResult::Sampled(sample(1))).unwrap();
        assert_eq!(Some(first), endpoint.full_update());
        assert_eq!(None, endpoint.observe(100, ScrapeResult::Sampled(sample(1))));
    }

    #[test]
    fn only_changes_are_reported() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        let update = endpoint.observe(100, ScrapeResult::Sampled(sample(2))).unwrap();
        assert_eq!(Some(2), update.gauges.and_then(|gauges| gauges.running));
        assert_eq!(None, update.capacity);
    }

    #[test]
    fn endpoint_without_response_becomes_stale_after_the_threshold() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        assert_eq!(None, endpoint.observe(1_000, ScrapeResult::NoResponse));
        assert_eq!(
            Some(ScrapeStatus::Stale),
            endpoint.observe(2_050, ScrapeResult::NoResponse).map(|update| update.scrape_status)
        );
        assert_eq!(None, endpoint.observe(2_100, ScrapeResult::NoResponse));
        assert_eq!(
            Some(ScrapeStatus::Fresh),
            endpoint.observe(2_150, ScrapeResult::Sampled(sample(1))).map(|u| u.scrape_status)
        );
    }

    #[test]
    fn endpoint_is_down_after_two_refusals() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        assert_eq!(None, endpoint.observe(100, ScrapeResult::Refused));
        assert_eq!(
            Some(ScrapeStatus::Down),
            endpoint.observe(150, ScrapeResult::Refused).map(|update| update.scrape_status)
        );
        assert_eq!(None, endpoint.observe(9_000, ScrapeResult::NoResponse));
    }

    #[test]
    fn unusable_page_makes_the_endpoint_stale_at_once() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        assert_eq!(
            Some(ScrapeStatus::Stale),
            endpoint.observe(100, ScrapeResult::Unusable).map(|update| update.scrape_status)
        );
    }

    #[test]
    fn lower_counters_after_an_outage_are_a_new_incarnation() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        let page = |requests| {
            let work = Work { requests, ..Work::default() };
            ScrapeResult::Sampled(Sample { incarnation: Incarnation(0), work, ..sample(1) })
        };
        let first = endpoint.observe(50, page(900)).unwrap();
        assert_eq!((Incarnation(0), Some(900)), (first.incarnation, first.work.map(|work| work.requests)));
        (2..4).for_each(|at| drop(endpoint.observe(at * 50, ScrapeResult::Refused)));
        // The same run is back: only the network was away.
        assert_eq!(Incarnation(0), endpoint.observe(200, page(900)).unwrap().incarnation);
        (5..7).for_each(|at| drop(endpoint.observe(at * 50, ScrapeResult::Refused)));
        let back = endpoint.observe(350, page(3)).unwrap();
        assert_ne!(Incarnation(0), back.incarnation);
        assert!(back.capacity.is_some(), "a new run is reported whole");
        assert_eq!(None, endpoint.observe(400, page(4)), "work by itself is no news");
        assert_eq!(back.incarnation, endpoint.full_update().unwrap().incarnation);
    }

    #[test]
    fn falling_asleep_and_waking_up_are_reported() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        let page = |is_asleep| ScrapeResult::Sampled(Sample { is_asleep, ..sample(0) });
        let mut asleep =
            |now_ms, is_asleep| endpoint.observe(now_ms, page(is_asleep)).and_then(|update| update.is_asleep);
        let reported = [asleep(0, false), asleep(50, false), asleep(100, true), asleep(150, false)];
        assert_eq!([Some(false), None, Some(true), Some(false)], reported);
    }

    #[test]
    fn restart_reports_everything_again() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        let restarted = Sample { incarnation: Incarnation(8), ..sample(1) };
        let update = endpoint.observe(100, ScrapeResult::Sampled(restarted)).unwrap();
        assert_eq!((Incarnation(8), true), (update.incarnation, update.capacity.is_some()));
    }
}
