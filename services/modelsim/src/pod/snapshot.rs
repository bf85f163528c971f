//! The values that a pod's metrics page shows.

use super::clock::unix_seconds;
use super::histogram::{FIRST_TOKEN_BOUNDS, Histogram, INTER_TOKEN_BOUNDS, REQUEST_BOUNDS, TOKEN_BOUNDS};
use crate::engine::{AdapterStats, Engine, Stats};

/// The values of one pod at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) stats: Stats,
    /// Use of the adapters, the latest last. As in vLLM, earlier ones stay on the page with their time.
    pub(crate) adapter_uses: Vec<AdapterUse>,
    /// Wall-clock time from arrival to first token.
    pub(crate) first_token: Histogram,
    /// Wall-clock time between consecutive tokens of a response.
    pub(crate) inter_token: Histogram,
    /// Wall-clock time from arrival to last token.
    pub(crate) request: Histogram,
    /// Prompt tokens of finished requests.
    pub(crate) prompt_tokens: Histogram,
    /// Output tokens of finished requests.
    pub(crate) output_tokens: Histogram,
}

/// The adapters of running and waiting requests at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AdapterUse {
    pub(crate) adapters: AdapterStats,
    /// Unix time at which they were last so.
    pub(crate) at_seconds: f64,
}

/// Number of adapter uses on the page. vLLM keeps all.
const ADAPTER_USES: usize = 16;

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            stats: Stats::default(),
            adapter_uses: Vec::new(),
            first_token: Histogram::new(&FIRST_TOKEN_BOUNDS),
            inter_token: Histogram::new(&INTER_TOKEN_BOUNDS),
            request: Histogram::new(&REQUEST_BOUNDS),
            prompt_tokens: Histogram::new(&TOKEN_BOUNDS),
            output_tokens: Histogram::new(&TOKEN_BOUNDS),
        }
    }
}

impl Snapshot {
    /// Updates everything except the histograms from `engine`.
    pub(super) fn update(&mut self, engine: &Engine) {
        self.stats = engine.stats();
        let latest = AdapterUse { adapters: engine.adapters(), at_seconds: unix_seconds() };
        let shows_same = |earlier: &AdapterUse| {
            earlier.adapters.running == latest.adapters.running
                && earlier.adapters.waiting == latest.adapters.waiting
        };
        self.adapter_uses.retain(|earlier| !shows_same(earlier));
        if self.adapter_uses.len() == ADAPTER_USES {
            self.adapter_uses.remove(0);
        }
        self.adapter_uses.push(latest);
    }
}
