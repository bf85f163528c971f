//! What KEDA 2.20 does with the value of a trigger before the autoscaler sees it.

use super::hpa::Average;

/// Returns the metric that KEDA serves for a value: with three decimals, and 0 for what is negative or no number.
pub(super) fn metric(value: f64, target: f64) -> Average {
    let value = if value.is_finite() && value > 0.0 { (value * 1e3).round() / 1e3 } else { 0.0 };
    Average { value, target }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_decimals_and_what_is_no_number_is_zero() {
        let value = |value| metric(value, 1.0).value;
        assert_eq!([1.235, 0.0, 0.0], [1.2346, 0.0004, -3.0].map(value));
        assert_eq!([0.0, 0.0], [f64::NAN, f64::INFINITY].map(value));
    }
}
