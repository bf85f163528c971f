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
pub(crate) fn pause_us(per_second: f64, rng: &mut impl Rng) -> f64 {
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

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::Prompt;

    fn items(times: &[u64]) -> Vec<Item> {
        let item = |at_us: &u64| Item { at_us: *at_us, prompt: Prompt::new([]), output_tokens: 1 };
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
}
