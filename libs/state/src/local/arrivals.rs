//! Counts what arrives at a replica.

use std::sync::atomic::{AtomicU64, Ordering};

use signalbox_signal::ArrivalCounts;

/// Counts what arrives at a replica. Requests are recorded on the request path: nobody waits for anybody.
#[derive(Debug, Default)]
pub struct Arrivals {
    requests: AtomicU64,
    prefill_tokens: AtomicU64,
    output_tokens: AtomicU64,
    refused: AtomicU64,
}

impl Arrivals {
    /// Records a request with so many uncached prompt tokens, which is expected to have so many output tokens.
    pub fn record(&self, prefill_tokens: u64, output_tokens: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.prefill_tokens.fetch_add(prefill_tokens, Ordering::Relaxed);
        self.output_tokens.fetch_add(output_tokens, Ordering::Relaxed);
    }

    /// Records that a recorded request was refused for lack of room.
    pub fn record_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns what was counted so far.
    pub fn counts(&self) -> ArrivalCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ArrivalCounts {
            requests: read(&self.requests),
            prefill_tokens: read(&self.prefill_tokens),
            output_tokens: read(&self.output_tokens),
            refused: read(&self.refused),
        }
    }
}
