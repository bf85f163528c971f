//! Statistics of measurements.

/// Returns the `share` quantile of `values` by nearest rank; 0 without values.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Returns the median; 0 without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the largest value; 0 without values.
pub(crate) fn largest(values: &[f64]) -> f64 {
    quantile(values, 1.0)
}

/// Fits a line through `points` by least squares; returns its value at 0 and its slope.
pub(crate) fn linear_regression(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len().max(1) as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let common: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = if spread > 0.0 { common / spread } else { 0.0 };
    (mean_y - slope * mean_x, slope)
}

#[cfg(test)]
mod tests {
    use super::{largest, linear_regression, median, quantile};

    #[test]
    fn quantiles_are_measured_values() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.99), median(&values), largest(&values)), (99.0, 50.0, 100.0));
        assert_eq!((median(&[]), largest(&[7.0])), (0.0, 7.0));
    }

    #[test]
    fn regression_recovers_a_line() {
        let points: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 + 0.5 * f64::from(x))).collect();
        let (start, slope) = linear_regression(&points);
        assert!((start - 3.0).abs() < 1e-9 && (slope - 0.5).abs() < 1e-9);
        assert_eq!(linear_regression(&[(1.0, 2.0)]), (2.0, 0.0));
    }
}
