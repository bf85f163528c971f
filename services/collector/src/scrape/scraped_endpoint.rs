//! Derives update, scrape status and time of the next scrape from a scrape's result. Does no I/O.

use std::time::Duration;

use signalbox_actors::{Backoff, BackoffPolicy, Ticker};
use signalbox_state::{EndpointObserver, ScrapeResult, ScrapeStatus, Update};
use signalbox_types::EndpointKey;

use crate::clock::as_millis;
use crate::config::ScrapeConfig;

/// Maximum delay after failures.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Maximum delay while connections are refused: a refusal is cheap, and a restarted server should be noticed
/// soon.
const MAX_REFUSED_DELAY: Duration = Duration::from_millis(500);

/// What follows from a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScrapeStep {
    /// Changes to report, if there are any.
    pub(crate) update: Option<Update>,
    /// Scrape status before and after, if it changed.
    pub(crate) status_change: Option<(ScrapeStatus, ScrapeStatus)>,
    /// Time until the next scrape.
    pub(crate) next_in: Duration,
}

/// What is known of one endpoint, and when to scrape it.
#[derive(Debug)]
pub(crate) struct ScrapedEndpoint {
    observer: EndpointObserver,
    ticker: Ticker,
    backoff: Backoff,
}

impl ScrapedEndpoint {
    /// Creates an endpoint that was not scraped yet.
    pub(crate) fn new(now: Duration, key: EndpointKey, config: &ScrapeConfig) -> Self {
        let policy = BackoffPolicy { base: config.interval, cap: MAX_DELAY.max(config.interval) };
        Self {
            observer: EndpointObserver::new(as_millis(now), as_millis(config.stale_after)),
            ticker: Ticker::new(config.interval, key.0),
            backoff: Backoff::new(policy),
        }
    }

    /// Returns the time from `now` until the first scrape.
    pub(crate) fn until_first_scrape(&self, now: Duration) -> Duration {
        self.ticker.until_next(now)
    }

    /// Records the result of a scrape that ended at `now`. `jitter` in `[0, 1)` shortens the delay after a
    /// failure.
    pub(crate) fn record_scrape(&mut self, now: Duration, result: ScrapeResult, jitter: f64) -> ScrapeStep {
        let next_in = match result {
            ScrapeResult::Sampled(_) => {
                self.backoff.on_success();
                self.ticker.until_next(now)
            }
            ScrapeResult::Refused => self.backoff.on_failure(jitter).min(MAX_REFUSED_DELAY),
            ScrapeResult::NoResponse | ScrapeResult::Unusable => self.backoff.on_failure(jitter),
        };
        let before = self.observer.scrape_status();
        let update = self.observer.observe(as_millis(now), result);
        let after = self.observer.scrape_status();
        ScrapeStep { update, status_change: (before != after).then_some((before, after)), next_in }
    }

    /// Returns all known values, for a receiver that knows none; `None` before the first scrape.
    pub(crate) fn full_update(&self) -> Option<Update> {
        self.observer.full_update()
    }

    /// Returns when the values were scraped, in milliseconds of the collector's clock.
    pub(crate) fn scraped_at_ms(&self, now: Duration) -> u64 {
        let now_ms = as_millis(now);
        now_ms - self.observer.age_ms(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use signalbox_types::{Gauges, Sample};

    use super::*;

    const KEY: EndpointKey = EndpointKey(u64::MAX / 3);

    fn endpoint() -> ScrapedEndpoint {
        ScrapedEndpoint::new(Duration::ZERO, KEY, &ScrapeConfig::default())
    }

    fn sampled(running: u32) -> ScrapeResult {
        ScrapeResult::Sampled(Sample {
            gauges: Gauges { running: Some(running), ..Gauges::default() },
            ..Sample::default()
        })
    }

    fn result() -> impl Strategy<Value = ScrapeResult> {
        let sampled = (0..3u32).prop_map(sampled);
        prop_oneof![
            sampled,
            Just(ScrapeResult::NoResponse),
            Just(ScrapeResult::Unusable),
            Just(ScrapeResult::Refused)
        ]
    }

    fn delays_ms(result: &ScrapeResult) -> Vec<u128> {
        let mut endpoint = endpoint();
        (0..8)
            .map(|_| endpoint.record_scrape(Duration::ZERO, result.clone(), 0.0).next_in.as_millis())
            .collect()
    }

    #[test]
    fn delays_grow_with_failures_and_stay_shorter_after_refusals() {
        assert_eq!(delays_ms(&ScrapeResult::NoResponse), [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(delays_ms(&ScrapeResult::Refused), [50, 100, 200, 400, 500, 500, 500, 500]);
    }

    #[test]
    fn status_change_is_returned_once() {
        let mut endpoint = endpoint();
        let mut change = |result| endpoint.record_scrape(Duration::ZERO, result, 0.0).status_change;
        assert_eq!(change(sampled(1)), Some((ScrapeStatus::Unknown, ScrapeStatus::Fresh)));
        assert_eq!(change(sampled(2)), None);
        assert_eq!(change(ScrapeResult::Unusable), Some((ScrapeStatus::Fresh, ScrapeStatus::Stale)));
        assert_eq!(change(ScrapeResult::Unusable), None);
    }

    proptest! {
        #[test]
        fn merged_updates_equal_the_full_update(steps in vec((result(), 1..3_000u64), 1..40)) {
            let mut endpoint = endpoint();
            let (mut now, mut merged) = (Duration::ZERO, None::<Update>);
            for (result, pause_ms) in steps {
                now += Duration::from_millis(pause_ms);
                let step = endpoint.record_scrape(now, result, 0.5);
                prop_assert!(step.next_in > Duration::ZERO && step.next_in <= MAX_DELAY);
                prop_assert!(step.status_change.is_none() || step.update.is_some());
                if let Some(update) = step.update {
                    match &mut merged {
                        Some(merged) => merged.merge(update),
                        None => merged = Some(update),
                    }
                }
            }
            prop_assert_eq!(merged, endpoint.full_update());
        }

        #[test]
        fn next_scrape_after_a_success_is_on_the_grid(now_us in 0..10_000_000u64) {
            let (mut endpoint, now) = (endpoint(), Duration::from_micros(now_us));
            let next = now + endpoint.record_scrape(now, sampled(1), 0.0).next_in;
            let interval_ns = ScrapeConfig::default().interval.as_nanos();
            prop_assert_eq!(next.as_nanos() % interval_ns, endpoint.until_first_scrape(Duration::ZERO).as_nanos() % interval_ns);
        }
    }
}
