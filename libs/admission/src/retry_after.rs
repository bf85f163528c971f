//! When a client that was refused should come back.

use signalbox_flow::Usage;

/// The least and the most seconds that a client is told to wait.
const BOUNDS_S: (u32, u32) = (1, 60);

/// Returns after how many seconds what waits `ahead` will have gone, if the fleet goes on as it does: at
/// `requests_per_second`. If nothing has gone lately, nobody knows: `default_s`.
pub(crate) fn retry_after_s(ahead: Usage, requests_per_second: f64, default_s: u32) -> u32 {
    let (least, most) = BOUNDS_S;
    let seconds = match requests_per_second > 0.0 {
        true => (ahead.requests as f64 / requests_per_second).ceil(),
        false => f64::from(default_s),
    };
    // The conversion saturates.
    (seconds as u32).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_is_due_when_what_waits_has_gone() {
        let of = |requests, rate| retry_after_s(Usage { requests, ..Usage::default() }, rate, 7);
        assert_eq!([1, 3, 1, 60, 7], [of(0, 5.0), of(11, 5.0), of(5, 1e9), of(9_000, 1.0), of(100, 0.0)]);
        assert_eq!(7, of(1, f64::NAN));
    }
}
