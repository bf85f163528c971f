//! Measures what arrives, from the counters of all EPP replicas.

use std::collections::{BTreeMap, VecDeque};

use crate::observation::{ArrivalCounts, EppReplica};
use crate::trend::Trend;

/// The length of a bucket, in milliseconds.
const BUCKET_MS: u64 = 5_000;

/// How many buckets are kept: ten minutes.
const BUCKETS: usize = 120;

/// The buckets of the means, 5 s to 5 min, the longest first. The longer the window, the less of chance is in its mean: what
/// chance adds is kept in replicas until it was not needed for a while.
const WINDOWS: [usize; 7] = [60, 24, 12, 6, 3, 2, 1];

/// The buckets of a minute. The longest window is never shorter, however soon fewer replicas are to be desired.
const MINUTE: usize = 12;

/// By how many standard errors the mean of a shorter window must differ from that of a longer one, to count: by chance, that
/// happens a few times a day, each time for as long as its window.
const SIGNIFICANT: f64 = 4.0;

/// The windows over which growth is measured, in buckets: two minutes, five, and all.
const TREND_WINDOWS: [usize; 3] = [24, 60, BUCKETS];

/// Requests and tokens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) requests: f64,
    pub(crate) prefill: f64,
    pub(crate) output: f64,
}

impl Rates {
    /// Returns these rates with everything `factor` times as high.
    pub(crate) fn times(self, factor: f64) -> Self {
        let Self { requests, prefill, output } = self;
        Self { requests: requests * factor, prefill: prefill * factor, output: output * factor }
    }
}

/// What arrived in one bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    length_ms: u64,
    arrived: ArrivalCounts,
}

/// Measures what arrives. An EPP replica's counts are compared with its own last ones, so that replicas that come, go or repeat
/// themselves neither add to demand nor take from it.
#[derive(Debug)]
pub(crate) struct DemandMeter {
    /// The position in [`WINDOWS`] of the longest window.
    longest: usize,
    last: BTreeMap<u64, ArrivalCounts>,
    last_ms: Option<u64>,
    /// The complete buckets, the latest last.
    buckets: VecDeque<Bucket>,
    current: Bucket,
}

impl DemandMeter {
    /// Creates a meter for a pool in which a lower number of replicas must be enough for `down_window_ms` milliseconds before it
    /// is desired. The longest window is as long as that, but at least a minute and at most five.
    pub(crate) fn new(down_window_ms: u64) -> Self {
        let is_short = |window: &usize| *window <= MINUTE || *window as u64 * BUCKET_MS <= down_window_ms;
        let longest = WINDOWS.iter().position(is_short).unwrap_or(WINDOWS.len() - 1);
        Self {
            longest,
            last: BTreeMap::new(),
            last_ms: None,
            buckets: VecDeque::new(),
            current: Bucket::default(),
        }
    }

    /// Records what the EPP replicas have counted until `now_ms`. What one counted before it is known is no arrival of now.
    pub(crate) fn record(&mut self, now_ms: u64, epp_replicas: &[EppReplica]) {
        let last_ms = self.last_ms.replace(now_ms).unwrap_or(now_ms);
        self.current.length_ms += now_ms.saturating_sub(last_ms);
        let now = counts(epp_replicas);
        for (origin, counted) in &now {
            // A replica that is new to this owner may have counted for long.
            let before = self.last.get(origin).copied().unwrap_or(*counted);
            add_difference(&mut self.current.arrived, *counted, before);
        }
        self.last = now;
        if self.current.length_ms >= BUCKET_MS {
            self.buckets.push_back(std::mem::take(&mut self.current));
            while self.buckets.len() > BUCKETS {
                self.buckets.pop_front();
            }
        }
    }

    /// Returns what arrives per second: the mean of the longest window, or of a shorter one if that differs for certain. If none
    /// does, at least what the last minute shows but for chance: few requests show for certain only after minutes that there are more,
    /// and whoever waits for a replica cannot wait for that.
    pub(crate) fn rates(&self) -> Rates {
        let means = WINDOWS.map(|window| self.mean(window));
        let of = |rate: fn(&Rates) -> f64| that_holds(&means, self.longest, rate);
        Rates {
            requests: of(|rates| rates.requests),
            prefill: of(|rates| rates.prefill),
            output: of(|rates| rates.output),
        }
    }

    /// Returns by which factor demand will have grown after `horizon_s` seconds if it goes on to grow as it certainly has; 1
    /// if it does not grow for certain.
    pub(crate) fn growth(&self, horizon_s: f64) -> f64 {
        let of_window = |window: usize| {
            let buckets = self.latest(window);
            let points = buckets.map(|bucket| {
                (
                    bucket.length_ms as f64 / 1e3,
                    per_second(
                        bucket.arrived.prefill_tokens + bucket.arrived.output_tokens,
                        bucket.length_ms,
                    ),
                )
            });
            Trend::of(&points.collect::<Vec<_>>()).growth(horizon_s)
        };
        TREND_WINDOWS
            .into_iter()
            .filter(|window| self.buckets.len() >= *window)
            .map(of_window)
            .fold(1.0, f64::max)
    }

    /// Returns refused requests relative to all of the last minute, in thousandths.
    pub(crate) fn refused_milli(&self) -> u64 {
        let (mut refused, mut requests) = (0, 0);
        for bucket in self.latest(MINUTE) {
            refused += bucket.arrived.refused;
            requests += bucket.arrived.requests;
        }
        (refused * 1000).checked_div(requests).unwrap_or(0).min(1000)
    }

    /// Returns whether anything arrived since the last complete bucket began.
    pub(crate) fn has_arrivals(&self) -> bool {
        let last = self.buckets.back().map_or(0, |bucket| bucket.arrived.requests);
        last + self.current.arrived.requests > 0
    }

    fn latest(&self, count: usize) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter().skip(self.buckets.len().saturating_sub(count))
    }

    fn mean(&self, count: usize) -> Rates {
        let (mut length_ms, mut sum) = (0, ArrivalCounts::default());
        for bucket in self.latest(count) {
            length_ms += bucket.length_ms;
            add_difference(&mut sum, bucket.arrived, ArrivalCounts::default());
        }
        Rates {
            requests: per_second(sum.requests, length_ms),
            prefill: per_second(sum.prefill_tokens, length_ms),
            output: per_second(sum.output_tokens, length_ms),
        }
    }
}

/// Returns which of the means of [`WINDOWS`] holds: that of the window at `longest`, or of a shorter one that differs from it
/// for certain.
fn that_holds(means: &[Rates; WINDOWS.len()], longest: usize, rate: fn(&Rates) -> f64) -> f64 {
    let mut best = longest;
    loop {
        // By how much a mean is beyond what chance makes of the best one.
        let beyond = |at: usize| {
            let more =
                rate(&means[at]) * (1.0 - SIGNIFICANT * error(means[at].requests, at)) - rate(&means[best]);
            let less =
                rate(&means[best]) * (1.0 - SIGNIFICANT * error(means[best].requests, at)) - rate(&means[at]);
            more.max(less)
        };
        let next = (best + 1..means.len()).max_by(|one, other| beyond(*one).total_cmp(&beyond(*other)));
        match next.filter(|next| beyond(*next) > 0.0) {
            Some(next) => best = next,
            None if best == longest => return rate(&means[longest]).max(least_of_a_minute(means, rate)),
            // One that was chosen because it differs does so in part by chance.
            None if rate(&means[best]) > rate(&means[longest]) => {
                return rate(&means[best]) * (1.0 - error(means[best].requests, best));
            }
            None => return rate(&means[best]),
        }
    }
}

/// Returns the standard error of a mean of the window at this position, relative to the mean. Arrivals at random with
/// exponential sizes: the variance of a sum of n sizes is 2n times the square of the mean.
fn error(requests_per_s: f64, window: usize) -> f64 {
    let requests = requests_per_s * (WINDOWS[window] as u64 * BUCKET_MS) as f64 / 1e3;
    (2.0 / requests.max(1.0)).sqrt()
}

/// Returns the least that the mean of the last minute shows but for chance: two standard errors less.
fn least_of_a_minute(means: &[Rates; WINDOWS.len()], rate: fn(&Rates) -> f64) -> f64 {
    let minute = WINDOWS.iter().position(|window| *window == MINUTE).unwrap_or(0);
    rate(&means[minute]) * (1.0 - 2.0 * error(means[minute].requests, minute))
}

fn per_second(count: u64, length_ms: u64) -> f64 {
    if length_ms == 0 { 0.0 } else { count as f64 * 1e3 / length_ms as f64 }
}

fn counts(epp_replicas: &[EppReplica]) -> BTreeMap<u64, ArrivalCounts> {
    epp_replicas.iter().filter_map(|replica| Some((replica.origin, replica.arrivals?))).collect()
}

fn add_difference(sum: &mut ArrivalCounts, counted: ArrivalCounts, before: ArrivalCounts) {
    let add = |sum: &mut u64, of: fn(&ArrivalCounts) -> u64| {
        *sum = sum.saturating_add(of(&counted).saturating_sub(of(&before)));
    };
    add(&mut sum.requests, |counts| counts.requests);
    add(&mut sum.prefill_tokens, |counts| counts.prefill_tokens);
    add(&mut sum.output_tokens, |counts| counts.output_tokens);
    add(&mut sum.refused, |counts| counts.refused);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(origin: u64, requests: u64) -> EppReplica {
        let arrivals = ArrivalCounts {
            requests,
            prefill_tokens: requests * 100,
            output_tokens: requests * 10,
            refused: 0,
        };
        EppReplica { origin, arrivals: Some(arrivals), is_heard: true }
    }

    /// Records `requests` per second in all, spread over `replicas`, from second `from` to second `to`.
    fn run(meter: &mut DemandMeter, (from, to): (u64, u64), replicas: u64, requests: impl Fn(u64) -> u64) {
        let mut total = 0;
        for second in from..=to {
            let of = |origin| (total + origin) / replicas;
            let reports: Vec<_> = (0..replicas).map(|origin| replica(origin, of(origin))).collect();
            meter.record(second * 1_000, &reports);
            total += requests(second);
        }
    }

    #[test]
    fn sum_is_the_same_for_any_number_of_replicas() {
        let (mut one, mut eight) = (default_meter(), default_meter());
        run(&mut one, (0, 120), 1, |_| 16);
        run(&mut eight, (0, 120), 8, |_| 16);
        assert_eq!(one.rates(), eight.rates());
        assert!((one.rates().prefill - 1_600.0).abs() < 1.0);
    }

    #[test]
    fn replicas_that_leave_neither_ratchet_nor_go_negative() {
        let mut meter = default_meter();
        run(&mut meter, (0, 60), 2, |_| 10);
        (61..300).for_each(|second| meter.record(second * 1_000, &[]));
        assert_eq!(Rates::default(), meter.rates());
    }

    fn default_meter() -> DemandMeter {
        DemandMeter::new(300_000)
    }

    #[test]
    fn what_was_counted_before_a_takeover_is_no_arrival() {
        let mut meter = default_meter();
        (0..60).for_each(|second| meter.record(second * 1_000, &[replica(1, 1_000_000)]));
        assert_eq!(Rates::default(), meter.rates());
        assert!(!meter.has_arrivals());
    }

    #[test]
    fn steady_demand_does_not_grow_and_a_ramp_does() {
        let (mut steady, mut ramp) = (default_meter(), default_meter());
        run(&mut steady, (0, 300), 1, |_| 100);
        run(&mut ramp, (0, 300), 1, |second| 100 + second);
        assert_eq!(1.0, steady.growth(60.0));
        // From 400 a second to 460.
        assert!((1.1..1.25).contains(&ramp.growth(60.0)), "{}", ramp.growth(60.0));
    }

    #[test]
    fn a_step_counts_after_seconds_and_noise_does_not() {
        let mut meter = default_meter();
        run(&mut meter, (0, 120), 1, |second| if second < 105 { 100 } else { 1_000 });
        assert!(meter.rates().requests > 950.0, "{:?}", meter.rates());
        let mut meter = default_meter();
        run(&mut meter, (0, 120), 1, |second| if second < 105 { 1 } else { 2 });
        assert!(meter.rates().requests < 1.3, "{:?}", meter.rates());
    }

    #[test]
    fn chance_of_a_minute_is_evened_out_and_a_fall_counts_after_seconds() {
        let mut meter = default_meter();
        run(&mut meter, (0, 300), 1, |second| if second < 240 { 40 } else { 43 });
        assert!(meter.rates().requests < 41.0, "{:?}", meter.rates());
        let mut meter = default_meter();
        run(&mut meter, (0, 300), 1, |second| if second < 285 { 1_000 } else { 100 });
        assert!(meter.rates().requests < 150.0, "{:?}", meter.rates());
    }

    /// A few requests do not show for certain that there are fewer now. Who wants fewer replicas soon does not wait for that.
    #[test]
    fn few_requests_count_for_as_long_as_a_lower_number_must_be_enough_but_at_least_a_minute() {
        for (down_window_ms, counts_s) in [(300_000, 300), (120_000, 120), (10_000, 60)] {
            let mut meter = DemandMeter::new(down_window_ms);
            run(&mut meter, (0, 300), 1, |second| u64::from(second % 10 == 0));
            run(&mut meter, (300, 300 + counts_s - 10), 1, |_| 0);
            assert!(meter.rates().requests > 0.0, "{down_window_ms}");
            run(&mut meter, (300 + counts_s - 10, 300 + counts_s + 10), 1, |_| 0);
            assert_eq!(0.0, meter.rates().requests, "{down_window_ms}");
        }
    }

    #[test]
    fn more_of_few_requests_count_after_a_minute() {
        let mut meter = default_meter();
        run(&mut meter, (0, 300), 1, |second| u64::from(second % 5 == 0));
        let before = meter.rates().requests;
        run(&mut meter, (300, 360), 1, |_| 1);
        assert!(meter.rates().requests > 3.0 * before, "{before}, {:?}", meter.rates());
    }
}
