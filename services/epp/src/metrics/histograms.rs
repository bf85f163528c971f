//! Histograms with buckets of their own.

use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// A histogram of times from a request to its response headers, in seconds.
#[derive(Debug)]
pub(crate) struct FirstByteHistogram(pub(super) Histogram);

impl Default for FirstByteHistogram {
    /// Buckets from 10 ms to 82 s.
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.01, 2.0, 14)))
    }
}

impl FirstByteHistogram {
    /// Records one time.
    pub(crate) fn observe(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

/// A histogram of predicted minus reported cached tokens.
#[derive(Debug)]
pub(crate) struct CachedTokensError(pub(super) Histogram);

impl Default for CachedTokensError {
    /// Buckets on both sides of zero, up to 65,536 tokens. A difference of up to one block is normal.
    fn default() -> Self {
        let bounds = [65_536.0, 16_384.0, 4_096.0, 1_024.0, 256.0, 64.0];
        Self(Histogram::new(bounds.map(|bound: f64| -bound).into_iter().chain(bounds.into_iter().rev())))
    }
}

impl CachedTokensError {
    /// Records the cached tokens that were predicted for a prompt and those that the model server reports.
    pub(super) fn observe(&self, predicted: u64, reported: u64) {
        self.0.observe(predicted as f64 - reported as f64);
    }
}
