//! Quotients of what was counted.

/// Returns the quotient of two counts, or `None` if the divisor is 0.
#[allow(clippy::cast_precision_loss)] // counts are far below 2^53
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Returns a rate; 0 if nothing was measured.
#[allow(clippy::cast_precision_loss)] // counts are far below 2^53
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
