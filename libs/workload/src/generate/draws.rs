//! Random lengths.

use std::f64::consts::TAU;

use rand::Rng;

/// A log-normal distribution of lengths, cut off at `most`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogNormal {
    /// The median.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The greatest length.
    pub most: u32,
}

/// The 90th percentile of the standard normal distribution.
const NORMAL_P90: f64 = 1.281_551_6;

impl LogNormal {
    /// Draws a length, at least 1.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> u32 {
        let sigma = (self.p90 / self.median).ln() / NORMAL_P90;
        let length = self.median * (sigma * standard_normal(rng)).exp();
        (length.round() as u32).clamp(1, self.most.max(1))
    }
}

/// Draws from the standard normal distribution (Box and Muller's method).
fn standard_normal(rng: &mut impl Rng) -> f64 {
    // The argument lies in (0, 1], so its logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

/// Draws uniformly between 0.5 and 1.5 times `mean`, at least 1.
pub(super) fn uniform_around(mean: u32, rng: &mut impl Rng) -> u32 {
    rng.random_range(mean.div_ceil(2)..=mean + mean / 2).max(1)
}

/// Draws log-uniformly between `min` and `max`.
pub(super) fn log_uniform(min: u32, max: u32, rng: &mut impl Rng) -> u32 {
    let (min, max) = (f64::from(min.max(1)).ln(), f64::from(max.max(min).max(1)).ln());
    (min + (max - min) * rng.random::<f64>()).exp().round() as u32
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn log_normal_lengths_have_the_given_quantiles_and_maximum() {
        let lengths = LogNormal { median: 1_000.0, p90: 3_000.0, most: 5_000 };
        let mut rng = SmallRng::seed_from_u64(1);
        let mut drawn: Vec<u32> = (0..20_000).map(|_| lengths.draw(&mut rng)).collect();
        drawn.sort_unstable();
        let [median, p90] = [drawn[10_000], drawn[18_000]];
        assert!((950..1_050).contains(&median) && (2_850..3_150).contains(&p90), "{median} {p90}");
        assert_eq!(5_000, drawn[19_999]);
    }
}
