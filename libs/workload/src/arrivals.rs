//! Send times of the requests of a workload.

use rand::Rng;

use crate::Item;

/// Returns the rate of the whole workload in requests per second: the number of requests after the first ÷
/// the time from the first to the last. Returns 0 if all have the same time.
pub fn rate_per_second(items: &[Item]) -> f64 {
    match items {
        [first, .., last] if last.at_us > first.at_us => {
            (items.len() - 1) as f64 / (last.at_us - first.at_us) as f64 * 1e6
        }
        _ => 0.0,
    }
}

/// Scales the send times so that the rate is `per_second` (above 0) and the first request is sent at 0.
pub fn rescale(items: &mut [Item], per_second: f64) {
    speed_up(items, per_second / rate_per_second(items));
}

/// Scales the send times so that the workload runs `factor` (above 0) times as fast and its first request is
/// sent at 0.
pub fn speed_up(items: &mut [Item], factor: f64) {
    let Some(start_us) = items.first().map(|first| first.at_us) else { return };
    if !(factor.is_finite() && factor > 0.0) {
        return;
    }
    for item in items {
        item.at_us = ((item.at_us - start_us) as f64 / factor).round() as u64;
    }
}

/// Replaces the send times by a Poisson process with a mean rate of `per_second` (above 0). The order stays
/// the same.
pub fn poisson(items: &mut [Item], per_second: f64, rng: &mut impl Rng) {
    let mut at_us = 0.0;
    for item in items {
        at_us += pause_us(per_second, rng);
        item.at_us = at_us as u64;
    }
}

/// Draws an exponentially distributed pause in microseconds with a mean of 1 ÷ `per_second` (above 0)
/// seconds.
pub fn pause_us(per_second: f64, rng: &mut impl Rng) -> f64 {
    // The argument lies in (0, 1], so its logarithm is finite.
    -(1.0 - rng.random::<f64>()).ln() / per_second * 1e6
}

/// Distributes requests with equal send times at random over the time until the next later request, because
/// the clock of a trace may be coarse. Requests with the last time are distributed over as much time as those
/// before them.
pub fn spread_ties(items: &mut [Item], rng: &mut impl Rng) {
    let mut tick_us = 0;
    let mut rest = items;
    while let Some(at_us) = rest.first().map(|item| item.at_us) {
        let (now, later) = rest.split_at_mut(rest.partition_point(|item| item.at_us == at_us));
        tick_us = later.first().map_or(tick_us, |next| next.at_us - at_us);
        let mut times: Vec<u64> = now.iter().map(|_| at_us + rng.random_range(0..tick_us.max(1))).collect();
        times.sort_unstable();
        for (item, at_us) in now.iter_mut().zip(times) {
            item.at_us = at_us;
        }
        rest = later;
    }
}

/// Speeds of the phases of [`alternate`].
const BUSY_SPEED: f64 = 2.0;
const QUIET_SPEED: f64 = 0.5;

/// Mean number of requests in a phase.
const PHASE_REQUESTS: f64 = 40.0;

/// Makes the arrivals bursty: in phases of random length, requests arrive by turns four times as fast and four times
/// as slowly as in the phase before. The order stays the same. Poisson arrivals become a Markov-modulated Poisson
/// process.
pub fn alternate(items: &mut [Item], rng: &mut impl Rng) {
    let rate = rate_per_second(items);
    let Some(first) = items.first().filter(|_| rate > 0.0) else { return };
    let (mut end_us, mut speed) = (first.at_us as f64, QUIET_SPEED);
    let next_phase = || {
        end_us += pause_us(rate / PHASE_REQUESTS, rng);
        speed = if speed == BUSY_SPEED { QUIET_SPEED } else { BUSY_SPEED };
        Phase { end_us, speed }
    };
    change_speed(items, next_phase);
}

/// Share of the requests in the burst of [`one_burst`], and how much faster than the others they arrive.
const BURST_SHARE: f64 = 0.3;
const BURST_SPEED: f64 = 100.0;

/// Lets three in ten requests, those in the middle, arrive at almost the same time. The order stays the same.
pub fn one_burst(items: &mut [Item]) {
    let share_sent_us = |share: f64| {
        let at = (items.len() as f64 * share) as usize;
        items.get(at).map_or(f64::INFINITY, |item| item.at_us as f64)
    };
    let begin = Phase { end_us: share_sent_us(0.5 - BURST_SHARE / 2.0), speed: 1.0 };
    let burst = Phase { end_us: share_sent_us(0.5 + BURST_SHARE / 2.0), speed: BURST_SPEED };
    let mut phases = [begin, burst].into_iter();
    change_speed(items, || phases.next().unwrap_or(Phase { end_us: f64::INFINITY, speed: 1.0 }));
}

/// A part of a workload that runs faster or slower.
struct Phase {
    /// Its end, in the times before the change.
    end_us: f64,
    speed: f64,
}

/// Scales the times between requests phase by phase. Each phase begins where the one before ends.
fn change_speed(items: &mut [Item], mut next_phase: impl FnMut() -> Phase) {
    let Some(start_us) = items.first().map(|first| first.at_us as f64) else { return };
    let (mut from_us, mut sent_us) = (start_us, start_us);
    let mut phase = next_phase();
    for item in items {
        let at_us = item.at_us as f64;
        while at_us >= phase.end_us {
            sent_us += (phase.end_us - from_us) / phase.speed;
            from_us = phase.end_us;
            phase = next_phase();
        }
        item.at_us = (sent_us + (at_us - from_us) / phase.speed) as u64;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::Prompt;

    fn items(times: &[u64]) -> Vec<Item> {
        let item = |at_us: &u64| Item { at_us: *at_us, prompt: Prompt::new([]), output_tokens: 1, answer: 0 };
        times.iter().map(item).collect()
    }

    fn times(items: &[Item]) -> Vec<u64> {
        items.iter().map(|item| item.at_us).collect()
    }

    #[test]
    fn rescaling_keeps_the_pattern() {
        let mut items = items(&[1_000_000, 2_000_000, 5_000_000]);
        assert_eq!(0.5, rate_per_second(&items));
        rescale(&mut items, 2.0);
        assert_eq!(vec![0, 250_000, 1_000_000], times(&items));
        assert_eq!(2.0, rate_per_second(&items));
    }

    #[test]
    fn workload_without_a_rate_keeps_its_times() {
        let mut same = items(&[7, 7]);
        rescale(&mut same, 2.0);
        assert_eq!(vec![7, 7], times(&same));
        rescale(&mut [], 2.0);
    }

    #[test]
    fn poisson_arrivals_have_the_given_rate_and_unit_variance() {
        let mut items = items(&[0; 20_000]);
        poisson(&mut items, 50.0, &mut SmallRng::seed_from_u64(1));
        assert!((49.0..51.0).contains(&rate_per_second(&items)));
        let pauses: Vec<f64> =
            items.windows(2).map(|pair| (pair[1].at_us - pair[0].at_us) as f64 / 20_000.0).collect();
        let variance = pauses.iter().map(|pause| (pause - 1.0).powi(2)).sum::<f64>() / pauses.len() as f64;
        assert!((0.9..1.1).contains(&variance), "{variance}");
    }

    #[test]
    fn equal_times_are_spread_until_the_next_time() {
        let mut items = items(&[0, 0, 0, 3_000, 9_000, 9_000]);
        spread_ties(&mut items, &mut SmallRng::seed_from_u64(1));
        let times = times(&items);
        assert!(times.is_sorted() && times[2] < 3_000 && times[0] != times[2], "{times:?}");
        assert!((3_000..9_000).contains(&times[3]) && (9_000..15_000).contains(&times[5]), "{times:?}");
    }

    /// Returns the variance of the times between requests ÷ the square of their mean.
    fn pause_variance(items: &[Item]) -> f64 {
        let pauses: Vec<f64> = items.windows(2).map(|pair| (pair[1].at_us - pair[0].at_us) as f64).collect();
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        pauses.iter().map(|pause| (pause / mean - 1.0).powi(2)).sum::<f64>() / pauses.len() as f64
    }

    #[test]
    fn alternating_phases_vary_more_than_a_poisson_process() {
        let mut items = items(&[0; 20_000]);
        poisson(&mut items, 1.0, &mut SmallRng::seed_from_u64(1));
        assert!((0.9..1.1).contains(&pause_variance(&items)));
        alternate(&mut items, &mut SmallRng::seed_from_u64(2));
        // Half of the requests have pauses of mean 0.5 and half of mean 2: 4.25 ÷ 1.25² - 1.
        assert!((1.5..2.0).contains(&pause_variance(&items)), "{}", pause_variance(&items));
        assert!(items.is_sorted_by_key(|item| item.at_us));
        alternate(&mut [], &mut SmallRng::seed_from_u64(2));
    }

    #[test]
    fn burst_holds_three_in_ten_requests() {
        let mut items = items(&(0..1_000).map(|second| second * 1_000_000).collect::<Vec<_>>());
        one_burst(&mut items);
        let times = times(&items);
        assert!(times.is_sorted());
        assert_eq!((349_000_000, 350_000_000, 353_000_000), (times[349], times[350], times[650]));
        assert_eq!(702_000_000, times[999]);
        one_burst(&mut []);
    }
}
