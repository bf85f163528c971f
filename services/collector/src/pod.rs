//! What a reading of one model server leads to. Pure.

use std::time::Duration;

use signalbox_actors::{Backoff, BackoffPolicy, Ticker};
use signalbox_state::{EndpointObserver, ScrapeResult, ScrapeStatus, Update};
use signalbox_types::EndpointKey;

use crate::clock::millis;
use crate::config::ScrapeConfig;

/// The longest pause after failures.
const PAUSE_CAP: Duration = Duration::from_secs(2);

/// The longest pause while nothing listens: a refusal costs next to nothing, and a restarted server should be seen soon.
const REFUSED_PAUSE_CAP: Duration = Duration::from_millis(500);

/// What follows from a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is worth reporting.
    pub(crate) report: Option<Update>,
    /// How well the model server could be read before and can be read now, where that changed.
    pub(crate) turn: Option<(ScrapeStatus, ScrapeStatus)>,
    /// When to read next.
    pub(crate) next_in: Duration,
}

/// One model server as its collector sees it.
#[derive(Debug)]
pub(crate) struct Pod {
    endpoint: EndpointObserver,
    ticker: Ticker,
    backoff: Backoff,
}

impl Pod {
    /// A model server that nobody has read yet.
    pub(crate) fn new(now: Duration, key: EndpointKey, config: &ScrapeConfig) -> Self {
        let policy = BackoffPolicy { base: config.interval, cap: PAUSE_CAP.max(config.interval) };
        Self {
            endpoint: EndpointObserver::new(millis(now), millis(config.stale_after)),
            ticker: Ticker::new(config.interval, key.0),
            backoff: Backoff::new(policy),
        }
    }

    /// When to read for the first time.
    pub(crate) fn first_in(&self, now: Duration) -> Duration {
        self.ticker.until_next(now)
    }

    /// Takes a reading that ended at `now`. `jitter` in `[0, 1)` shortens a pause after a failure.
    pub(crate) fn read(&mut self, now: Duration, reading: ScrapeResult, jitter: f64) -> Step {
        let next_in = match reading {
            ScrapeResult::Sampled(_) => {
                self.backoff.on_success();
                self.ticker.until_next(now)
            }
            ScrapeResult::Refused => self.backoff.on_failure(jitter).min(REFUSED_PAUSE_CAP),
            ScrapeResult::Late | ScrapeResult::Unusable => self.backoff.on_failure(jitter),
        };
        let before = self.endpoint.scrape_status();
        let report = self.endpoint.observe(millis(now), reading);
        let after = self.endpoint.scrape_status();
        Step { report, turn: (before != after).then_some((before, after)), next_in }
    }

    /// Everything that is known, for a receiver that knows nothing.
    pub(crate) fn whole(&self) -> Option<Update> {
        self.endpoint.whole()
    }

    /// When the values were read, in milliseconds of the collector's clock.
    pub(crate) fn read_at_ms(&self, now: Duration) -> u64 {
        let now_ms = millis(now);
        now_ms - self.endpoint.age_ms(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use signalbox_types::{Gauges, Sample};

    use super::*;

    const KEY: EndpointKey = EndpointKey(u64::MAX / 3);

    fn pod() -> Pod {
        Pod::new(Duration::ZERO, KEY, &ScrapeConfig::default())
    }

    fn sampled(running: u32) -> ScrapeResult {
        ScrapeResult::Sampled(Sample { gauges: Gauges { running, ..Gauges::default() }, ..Sample::default() })
    }

    fn reading() -> impl Strategy<Value = ScrapeResult> {
        let sampled = (0..3u32).prop_map(sampled);
        prop_oneof![
            sampled,
            Just(ScrapeResult::Late),
            Just(ScrapeResult::Unusable),
            Just(ScrapeResult::Refused)
        ]
    }

    fn pauses_ms(reading: &ScrapeResult) -> Vec<u128> {
        let mut pod = pod();
        (0..8).map(|_| pod.read(Duration::ZERO, reading.clone(), 0.0).next_in.as_millis()).collect()
    }

    #[test]
    fn pauses_grow_with_failures_and_less_so_while_nothing_listens() {
        assert_eq!(pauses_ms(&ScrapeResult::Late), [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(pauses_ms(&ScrapeResult::Refused), [50, 100, 200, 400, 500, 500, 500, 500]);
    }

    #[test]
    fn a_turn_is_told_once() {
        let mut pod = pod();
        let mut turn = |reading| pod.read(Duration::ZERO, reading, 0.0).turn;
        assert_eq!(turn(sampled(1)), Some((ScrapeStatus::Unknown, ScrapeStatus::Fresh)));
        assert_eq!(turn(sampled(2)), None);
        assert_eq!(turn(ScrapeResult::Unusable), Some((ScrapeStatus::Fresh, ScrapeStatus::Stale)));
        assert_eq!(turn(ScrapeResult::Unusable), None);
    }

    proptest! {
        #[test]
        fn reports_laid_over_each_other_are_the_whole(steps in vec((reading(), 1..3_000u64), 1..40)) {
            let mut pod = pod();
            let (mut now, mut told) = (Duration::ZERO, None::<Update>);
            for (reading, pause_ms) in steps {
                now += Duration::from_millis(pause_ms);
                let step = pod.read(now, reading, 0.5);
                prop_assert!(step.next_in > Duration::ZERO && step.next_in <= PAUSE_CAP);
                prop_assert!(step.turn.is_none() || step.report.is_some());
                if let Some(update) = step.report {
                    match &mut told {
                        Some(told) => told.merge(update),
                        None => told = Some(update),
                    }
                }
            }
            prop_assert_eq!(told, pod.whole());
        }

        #[test]
        fn after_a_success_the_next_reading_lies_on_the_grid(now_us in 0..10_000_000u64) {
            let (mut pod, now) = (pod(), Duration::from_micros(now_us));
            let next = now + pod.read(now, sampled(1), 0.0).next_in;
            let interval_ns = ScrapeConfig::default().interval.as_nanos();
            prop_assert_eq!(next.as_nanos() % interval_ns, pod.first_in(Duration::ZERO).as_nanos() % interval_ns);
        }
    }
}
