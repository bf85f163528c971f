//! The values that a pod's metrics page shows.

use super::clock::unix_seconds;
use super::histogram::{FIRST_TOKEN_BOUNDS, Histogram, INTER_TOKEN_BOUNDS};
use crate::engine::{AdapterStats, Engine, Stats};

/// The values of one pod at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) stats: Stats,
    pub(crate) adapters: AdapterStats,
    /// Unix time at which the snapshot was taken.
    pub(crate) at_seconds: f64,
    /// Wall-clock time from arrival to first token.
    pub(crate) first_token: Histogram,
    /// Wall-clock time between consecutive tokens of a response.
    pub(crate) inter_token: Histogram,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            stats: Stats::default(),
            adapters: AdapterStats::default(),
            at_seconds: 0.0,
            first_token: Histogram::new(&FIRST_TOKEN_BOUNDS),
            inter_token: Histogram::new(&INTER_TOKEN_BOUNDS),
        }
    }
}

impl Snapshot {
    /// Updates everything except the histograms from `engine`.
    pub(super) fn update(&mut self, engine: &Engine) {
        self.stats = engine.stats();
        self.adapters = engine.adapters();
        self.at_seconds = unix_seconds();
    }
}
