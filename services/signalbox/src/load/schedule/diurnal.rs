//! Arrivals that rise and fall as over a day.

use std::f64::consts::TAU;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::pause_us;

/// The lowest rate ÷ the highest one.
const LOWEST: f64 = 0.1;

/// A Poisson process whose rate follows a cosine: it is lowest at the start and the end of `length`, and highest in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Diurnal {
    /// The highest rate.
    pub(super) peak_per_second: f64,
    /// The length of a day, above 0.
    pub(super) length: Duration,
}

impl Diurnal {
    /// Returns the rate at `at` ÷ the highest one.
    fn level(self, at: Duration) -> f64 {
        let turn = at.as_secs_f64() / self.length.as_secs_f64() * TAU;
        LOWEST + (1.0 - LOWEST) * (1.0 - turn.cos()) / 2.0
    }

    /// Draws the time from a request at `at` to the next one: of requests at the highest rate, each counts with the
    /// probability of the level at its time (Lewis and Shedler's thinning).
    pub(super) fn pause(self, at: Duration, rng: &mut SmallRng) -> Duration {
        let mut pause = Duration::ZERO;
        loop {
            pause += Duration::from_secs_f64((pause_us(self.peak_per_second, rng) / 1e6).min(1e9));
            if rng.random::<f64>() < self.level(at.saturating_add(pause)) {
                return pause;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn rate_rises_to_the_peak_and_falls_again() {
        let day = Diurnal { peak_per_second: 100.0, length: Duration::from_secs(100) };
        let (rng, mut at, mut tenths) = (&mut SmallRng::seed_from_u64(7), Duration::ZERO, [0_u32; 10]);
        loop {
            at += day.pause(at, rng);
            let Some(tenth) = tenths.get_mut((at.as_secs() / 10) as usize) else { break };
            *tenth += 1;
        }
        // The mean is 55 requests per second, and the tenths at the peak have 98 of 100.
        let sum: u32 = tenths.iter().sum();
        assert!((5_200..5_800).contains(&sum), "{tenths:?}");
        assert!(tenths[4] > 900 && tenths[5] > 900 && tenths[0] < 200 && tenths[9] < 200, "{tenths:?}");
        assert!(tenths[..5].is_sorted() && tenths[5..].iter().rev().is_sorted(), "{tenths:?}");
    }
}
