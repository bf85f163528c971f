//! Statistics over several runs.

use std::fmt;

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Standard error of the mean; 0 for a single value.
    pub error: f64,
}

impl fmt::Display for Mean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} ± {:.4}", self.mean, self.error)
    }
}

impl Mean {
    /// Returns the mean of `values`.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len().max(1) as f64;
        let mean = mean(values.iter().copied()).unwrap_or(0.0);
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let error = if values.len() > 1 { (square / (count - 1.0) / count).sqrt() } else { 0.0 };
        Self { mean, error }
    }

    /// Returns the mean of the pairwise ratios.
    pub fn of_ratios(ones: &[f64], others: &[f64]) -> Self {
        Self::of(ones.iter().zip(others).map(|(one, other)| one / other))
    }

    /// Returns the mean of the pairwise differences.
    pub fn of_differences(ones: &[f64], others: &[f64]) -> Self {
        Self::of(ones.iter().zip(others).map(|(one, other)| one - other))
    }
}

/// Returns the mean of `values`; `None` if there are none.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Returns the largest of `values` ÷ their mean; 1 if all are 0.
pub fn max_to_mean(values: &[u64]) -> f64 {
    let (sum, max) = (values.iter().sum::<u64>(), values.iter().copied().max().unwrap_or(0));
    if sum == 0 { 1.0 } else { max as f64 * values.len() as f64 / sum as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_reflects_the_differences_of_pairs() {
        assert_eq!(Mean { mean: 1.0, error: 0.0 }, Mean::of_differences(&[2.0, 12.0], &[1.0, 11.0]));
        assert_eq!(Mean { mean: 2.0, error: 1.0 }, Mean::of([1.0, 3.0]));
    }

    #[test]
    fn ratio_has_no_error_if_it_is_the_same_in_every_pair() {
        assert_eq!(Mean { mean: 0.5, error: 0.0 }, Mean::of_ratios(&[1.0, 40.0], &[2.0, 80.0]));
        assert_eq!(Mean { mean: 2.0, error: 1.0 }, Mean::of_ratios(&[1.0, 6.0], &[1.0, 2.0]));
    }

    #[test]
    fn largest_value_is_divided_by_the_mean() {
        assert_eq!(1.5, max_to_mean(&[3, 1, 2]));
        assert_eq!(1.0, max_to_mean(&[0, 0]));
    }
}
