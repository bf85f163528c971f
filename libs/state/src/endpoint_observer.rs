//! What a collector makes of the readings of one endpoint: only what changed is worth a report.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::{Adapters, Capacity, Counters, EndpointKey, Gauges, Generation, Incarnation, Sample};

use crate::rate_estimator::DecodeObservation;

/// Consecutive refused connections after which an endpoint counts as down. One may be a restart of its listener.
const REFUSALS_UNTIL_DOWN: u32 = 2;

/// A change of KV use below this, in parts per million, decides nothing and is not reported.
const KV_SIGNIFICANT_PPM: u32 = 1_000;

/// How well an endpoint can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrapeStatus {
    /// It is new, and nobody has read it yet. Stale if that lasts.
    #[default]
    Unknown,
    /// The values are at most a few readings old.
    Fresh,
    /// The values are the last known ones; the endpoint gives no usable reading any more.
    Stale,
    /// Nothing listens at its address.
    Down,
}

/// What came of one attempt to read an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrapeResult {
    /// The page was read.
    Sampled(Sample),
    /// No answer within the deadline, or the connection broke. Says little when it happens once.
    Late,
    /// An answer that is no metrics page. What was known before no longer holds.
    Unusable,
    /// Nothing listens there.
    Refused,
}

/// What changed at one endpoint. An absent part is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// The life of the model server that the values are from.
    pub incarnation: Incarnation,
    /// How well it can be read.
    pub scrape_status: ScrapeStatus,
    /// Its gauges.
    pub gauges: Option<Gauges>,
    /// Its KV cache.
    pub capacity: Option<Capacity>,
    /// Its adapters.
    pub adapters: Option<Arc<Adapters>>,
    /// How fast it decoded of late. Not a state but an observation: told once.
    pub decode: Option<DecodeObservation>,
}

impl Update {
    /// Lays a later update over this one.
    pub fn merge(&mut self, later: Self) {
        let Self { incarnation, scrape_status, gauges, capacity, adapters, decode } = later;
        self.incarnation = incarnation;
        self.scrape_status = scrape_status;
        self.gauges = gauges.or(self.gauges);
        self.capacity = capacity.or(self.capacity);
        self.adapters = adapters.or_else(|| self.adapters.take());
        self.decode = decode.or(self.decode);
    }
}

/// An update on its way to the pool's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose update it is.
    pub endpoint: EndpointKey,
    /// The assignment it was read under.
    pub generation: Generation,
    /// How old the reading was when the report was sent.
    pub age_ms: u64,
    /// What changed.
    pub update: Update,
}

/// How fast an endpoint decodes is told once per window of its counters.
const WINDOW_MS: u64 = 1_000;

/// A window with fewer tokens says nothing.
const WINDOW_TOKENS: u64 = 32;

/// A stretch of readings over which the counters' differences are taken.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Option<(u64, Counters)>,
    readings: u64,
    running_sum: u64,
}

impl Window {
    /// Takes a reading; says how fast the endpoint decoded, when that ends the window.
    fn extend(&mut self, now_ms: u64, running: u32, counters: Counters) -> Option<DecodeObservation> {
        self.readings += 1;
        self.running_sum += u64::from(running);
        let (began_ms, before) = *self.began.get_or_insert((now_ms, counters));
        if now_ms.saturating_sub(began_ms) < WINDOW_MS {
            return None;
        }
        let Self { readings, running_sum, .. } = *self;
        *self = Self { began: Some((now_ms, counters)), ..Self::default() };
        let tokens = counters.inter_token_count.checked_sub(before.inter_token_count)?;
        let elapsed_us = counters.inter_token_us_sum.checked_sub(before.inter_token_us_sum)?;
        if tokens < WINDOW_TOKENS {
            return None;
        }
        let inter_token_us = u32::try_from(elapsed_us / tokens).unwrap_or(u32::MAX);
        let running_milli = u32::try_from(running_sum * 1_000 / readings).unwrap_or(u32::MAX);
        Some(DecodeObservation { inter_token_us, running_milli })
    }
}

/// What has been reported of one endpoint, and when it could last be read.
#[derive(Clone, Debug)]
pub struct EndpointObserver {
    stale_after_ms: u64,
    known: Update,
    read_at_ms: u64,
    refusals: u32,
    window: Window,
}

impl EndpointObserver {
    /// An endpoint that nobody has read yet. Its values count as stale once no reading succeeded for `stale_after_ms`.
    pub fn new(now_ms: u64, stale_after_ms: u64) -> Self {
        Self {
            stale_after_ms,
            known: Update::default(),
            read_at_ms: now_ms,
            refusals: 0,
            window: Window::default(),
        }
    }

    /// Takes a reading made at `now_ms` and says what is worth reporting, if anything.
    pub fn observe(&mut self, now_ms: u64, reading: ScrapeResult) -> Option<Update> {
        let before = self.known.scrape_status;
        match reading {
            ScrapeResult::Sampled(sample) => {
                self.read_at_ms = now_ms;
                self.refusals = 0;
                return self.sampled(now_ms, sample);
            }
            ScrapeResult::Refused => self.refusals = self.refusals.saturating_add(1),
            ScrapeResult::Late | ScrapeResult::Unusable => self.refusals = 0,
        }
        self.known.scrape_status = self.reach_after_failure(now_ms, &reading);
        (self.known.scrape_status != before).then(|| self.bare_update())
    }

    /// Everything that is known, for a receiver that knows nothing.
    pub fn whole(&self) -> Option<Update> {
        (self.known.scrape_status != ScrapeStatus::Unknown).then(|| self.known.clone())
    }

    /// Milliseconds since the values were read.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.read_at_ms)
    }

    /// How well the endpoint can be read at present.
    pub fn scrape_status(&self) -> ScrapeStatus {
        self.known.scrape_status
    }

    fn reach_after_failure(&self, now_ms: u64, reading: &ScrapeResult) -> ScrapeStatus {
        match reading {
            ScrapeResult::Refused if self.refusals >= REFUSALS_UNTIL_DOWN => ScrapeStatus::Down,
            ScrapeResult::Unusable => ScrapeStatus::Stale,
            _ if self.age_ms(now_ms) >= self.stale_after_ms => match self.known.scrape_status {
                ScrapeStatus::Down => ScrapeStatus::Down,
                ScrapeStatus::Unknown | ScrapeStatus::Fresh | ScrapeStatus::Stale => ScrapeStatus::Stale,
            },
            _ => self.known.scrape_status,
        }
    }

    fn bare_update(&self) -> Update {
        Update {
            incarnation: self.known.incarnation,
            scrape_status: self.known.scrape_status,
            ..Update::default()
        }
    }

    fn sampled(&mut self, now_ms: u64, sample: Sample) -> Option<Update> {
        let Sample { gauges, capacity, adapters, incarnation, counters } = sample;
        let restarted = incarnation != self.known.incarnation;
        if restarted {
            self.window = Window::default();
        }
        let decode = counters.and_then(|counters| self.window.extend(now_ms, gauges.running, counters));
        let adapters = adapters.map(Arc::new);
        let update = Update {
            incarnation,
            scrape_status: ScrapeStatus::Fresh,
            gauges: self.significant(gauges).then_some(gauges),
            capacity: capacity.filter(|_| restarted || capacity != self.known.capacity),
            adapters: adapters.filter(|new| restarted || self.known.adapters.as_ref() != Some(new)),
            decode,
        };
        let silent = !restarted
            && self.known.scrape_status == ScrapeStatus::Fresh
            && update.gauges.is_none()
            && update.capacity.is_none()
            && update.adapters.is_none()
            && update.decode.is_none();
        (!silent).then(|| {
            self.known.merge(Update { decode: None, ..update.clone() });
            update
        })
    }

    fn significant(&self, new: Gauges) -> bool {
        let Some(old) = self.known.gauges else { return true };
        let kv_moved = match (old.kv_used_ppm, new.kv_used_ppm) {
            (Some(old), Some(new)) => old.abs_diff(new) >= KV_SIGNIFICANT_PPM,
            (old, new) => old != new,
        };
        kv_moved || old.waiting != new.waiting || old.running != new.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(running: u32) -> Sample {
        let gauges = Gauges { waiting: 0, running, kv_used_ppm: Some(10_000) };
        let capacity = Some(Capacity { kv_tokens: 1_000 });
        Sample { gauges, capacity, adapters: None, incarnation: Incarnation(7), counters: None }
    }

    #[test]
    fn how_fast_it_decodes_is_told_once_per_second_of_decoding() {
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
    fn a_first_reading_is_reported_whole_and_an_equal_one_not_at_all() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        let first = endpoint.observe(50, ScrapeResult::Sampled(sample(1))).unwrap();
        assert_eq!(Some(first), endpoint.whole());
        assert_eq!(None, endpoint.observe(100, ScrapeResult::Sampled(sample(1))));
    }

    #[test]
    fn only_what_changed_is_reported() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        let update = endpoint.observe(100, ScrapeResult::Sampled(sample(2))).unwrap();
        assert_eq!(Some(2), update.gauges.map(|gauges| gauges.running));
        assert_eq!(None, update.capacity);
    }

    #[test]
    fn late_readings_make_it_stale_only_after_the_threshold() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        assert_eq!(None, endpoint.observe(1_000, ScrapeResult::Late));
        assert_eq!(
            Some(ScrapeStatus::Stale),
            endpoint.observe(2_050, ScrapeResult::Late).map(|update| update.scrape_status)
        );
        assert_eq!(None, endpoint.observe(2_100, ScrapeResult::Late));
        assert_eq!(
            Some(ScrapeStatus::Fresh),
            endpoint.observe(2_150, ScrapeResult::Sampled(sample(1))).map(|u| u.scrape_status)
        );
    }

    #[test]
    fn two_refusals_make_it_down_and_one_does_not() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        assert_eq!(None, endpoint.observe(100, ScrapeResult::Refused));
        assert_eq!(
            Some(ScrapeStatus::Down),
            endpoint.observe(150, ScrapeResult::Refused).map(|update| update.scrape_status)
        );
        assert_eq!(None, endpoint.observe(9_000, ScrapeResult::Late));
    }

    #[test]
    fn an_unusable_page_makes_it_stale_at_once() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        assert_eq!(
            Some(ScrapeStatus::Stale),
            endpoint.observe(100, ScrapeResult::Unusable).map(|update| update.scrape_status)
        );
    }

    #[test]
    fn a_restart_reports_everything_again() {
        let mut endpoint = EndpointObserver::new(0, 2_000);
        endpoint.observe(50, ScrapeResult::Sampled(sample(1)));
        let restarted = Sample { incarnation: Incarnation(8), ..sample(1) };
        let update = endpoint.observe(100, ScrapeResult::Sampled(restarted)).unwrap();
        assert_eq!((Incarnation(8), true), (update.incarnation, update.capacity.is_some()));
    }
}
