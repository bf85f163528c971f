//! When requests are sent.

use rand::Rng;

use crate::Item;

/// Requests per second over the whole workload: those after the first ÷ the time from the first to the last; 0 where no time passes.
pub fn rate_per_second(items: &[Item]) -> f64 {
    match items {
        [first, .., last] if last.at_us > first.at_us => {
            (items.len() - 1) as f64 / (last.at_us - first.at_us) as f64 * 1e6
        }
        _ => 0.0,
    }
}

/// Replays the workload faster or slower, so that its rate is `per_second` (above 0) and its first request is sent at 0. Nothing but
/// the speed changes.
pub fn rescale(items: &mut [Item], per_second: f64) {
    speed_up(items, per_second / rate_per_second(items));
}

/// Replays the workload `factor` (above 0) times as fast, from its first request on.
pub fn speed_up(items: &mut [Item], factor: f64) {
    let Some(began_us) = items.first().map(|first| first.at_us) else { return };
    if !(factor.is_finite() && factor > 0.0) {
        return;
    }
    for item in items {
        item.at_us = ((item.at_us - began_us) as f64 / factor).round() as u64;
    }
}

/// Sends the requests in their order, independently of each other, `per_second` (above 0) on average: pauses are exponentially
/// distributed.
pub fn poisson(items: &mut [Item], per_second: f64, rng: &mut impl Rng) {
    let mut at_us = 0.0;
    for item in items {
        at_us += pause_us(per_second, rng);
        item.at_us = at_us as u64;
    }
}

/// An exponentially distributed pause in microseconds, `per_second` (above 0) of them in a second on average.
pub(crate) fn pause_us(per_second: f64, rng: &mut impl Rng) -> f64 {
    // In (0, 1]: its logarithm is finite.
    -(1.0 - rng.random::<f64>()).ln() / per_second * 1e6
}

/// Spreads requests with equal times at random over the time to the next later ones: the clock of a trace may be coarse. Those of the
/// last time are spread over as much time as those before them.
pub fn spread(items: &mut [Item], rng: &mut impl Rng) {
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
    fn another_rate_is_the_same_pattern_at_another_speed() {
        let mut items = items(&[1_000_000, 2_000_000, 5_000_000]);
        assert_eq!(0.5, rate_per_second(&items));
        rescale(&mut items, 2.0);
        assert_eq!(vec![0, 250_000, 1_000_000], times(&items));
        assert_eq!(2.0, rate_per_second(&items));
    }

    #[test]
    fn a_workload_without_a_rate_keeps_its_times() {
        let mut same = items(&[7, 7]);
        rescale(&mut same, 2.0);
        assert_eq!(vec![7, 7], times(&same));
        rescale(&mut [], 2.0);
    }

    #[test]
    fn poisson_arrivals_have_their_rate_and_as_much_variation_as_mean() {
        let mut items = items(&[0; 20_000]);
        poisson(&mut items, 50.0, &mut SmallRng::seed_from_u64(1));
        assert!((49.0..51.0).contains(&rate_per_second(&items)));
        let pauses: Vec<f64> =
            items.windows(2).map(|pair| (pair[1].at_us - pair[0].at_us) as f64 / 20_000.0).collect();
        let variance = pauses.iter().map(|pause| (pause - 1.0).powi(2)).sum::<f64>() / pauses.len() as f64;
        assert!((0.9..1.1).contains(&variance), "{variance}");
    }

    #[test]
    fn equal_times_are_spread_up_to_the_next() {
        let mut items = items(&[0, 0, 0, 3_000, 9_000, 9_000]);
        spread(&mut items, &mut SmallRng::seed_from_u64(1));
        let times = times(&items);
        assert!(times.is_sorted() && times[2] < 3_000 && times[0] != times[2], "{times:?}");
        assert!((3_000..9_000).contains(&times[3]) && (9_000..15_000).contains(&times[5]), "{times:?}");
    }
}
