//! Whether a series grows for certain, and how fast.

/// How many standard errors a slope is reduced by: by chance, a series that does not grow exceeds that about once in a thousand.
const CERTAIN: f64 = 3.0;

/// The maximum growth that is believed.
const MAX_GROWTH: f64 = 2.0;

/// A line through a series by least squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Trend {
    /// The value of the line at the end of the series.
    level: f64,
    /// The slope per second that is certain; at least 0.
    slope: f64,
}

impl Trend {
    /// Fits the line through points, each with its duration in seconds and its value, the latest last.
    pub(crate) fn of(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        if points.len() < 4 {
            return Self::default();
        }
        let mut end = 0.0;
        let times: Vec<f64> = points
            .iter()
            .map(|(length, _)| {
                end += length;
                end - length / 2.0
            })
            .collect();
        let mean_time = times.iter().sum::<f64>() / count;
        let mean = points.iter().map(|(_, value)| value).sum::<f64>() / count;
        let pairs = || times.iter().zip(points).map(|(time, (_, value))| (time - mean_time, value - mean));
        let spread: f64 = pairs().map(|(time, _)| time * time).sum();
        if spread <= 0.0 {
            return Self::default();
        }
        let slope = pairs().map(|(time, value)| time * value).sum::<f64>() / spread;
        let rest: f64 = pairs().map(|(time, value)| (value - slope * time).powi(2)).sum();
        let error = (rest / (count - 2.0) / spread).sqrt();
        let is_step = slope.powi(2) * spread <= explained_by_step(points, mean);
        let certain = if is_step { 0.0 } else { (slope - CERTAIN * error).max(0.0) };
        Self { level: mean + slope * (end - mean_time), slope: certain }
    }

    /// Returns by which factor the series will have grown after `horizon_s` seconds.
    pub(crate) fn growth(&self, horizon_s: f64) -> f64 {
        if self.level <= 0.0 {
            return 1.0;
        }
        (1.0 + self.slope * horizon_s / self.level).clamp(1.0, MAX_GROWTH)
    }
}

/// Returns how much of the squared differences from the mean one step explains at best. What a step explains better than a
/// line is no trend: it does not go on.
fn explained_by_step(points: &[(f64, f64)], mean: f64) -> f64 {
    let count = points.len() as f64;
    let (mut before, mut sum, mut most) = (0.0, 0.0, 0.0_f64);
    for (_, value) in &points[..points.len() - 1] {
        before += 1.0;
        sum += value - mean;
        // The differences of both sides add up to 0.
        most = most.max(sum * sum / before + sum * sum / (count - before));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(value: impl Fn(u32) -> f64) -> f64 {
        let points: Vec<_> = (0..24).map(|at| (5.0, value(at))).collect();
        Trend::of(&points).growth(60.0)
    }

    #[test]
    fn ramp_is_a_trend_and_a_step_is_none() {
        assert!((growth(|at| 100.0 + 5.0 * f64::from(at)) - (1.0 + 60.0 / 217.5)).abs() < 0.01);
        for step in 0..24 {
            assert_eq!(1.0, growth(|at| if at < step { 100.0 } else { 300.0 }), "{step}");
        }
        assert_eq!(1.0, growth(|at| 300.0 - 5.0 * f64::from(at)));
        assert_eq!(1.0, growth(|_| 0.0));
    }
}
