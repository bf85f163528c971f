//! Bookings of requests that were answered with an error.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use signalbox_types::Load;

/// The sum of one process's unserved bookings at one endpoint.
#[derive(Debug, Default)]
pub(super) struct UnservedGauge {
    requests: AtomicU32,
    prefills: AtomicU32,
    prefill_tokens: AtomicU64,
}

impl UnservedGauge {
    pub(super) fn load(&self) -> Load {
        Load {
            requests: self.requests.load(Ordering::Relaxed),
            prefills: self.prefills.load(Ordering::Relaxed),
            prefill_tokens: self.prefill_tokens.load(Ordering::Relaxed),
        }
    }
}

/// The place that a request would still take at its endpoint if it had not been answered with an error.
///
/// An endpoint that fails requests quickly has little load. If only its true load counted, it would get most of
/// the requests and fail them, too. Such bookings count in this process's decisions alone: they are no load that
/// other replicas, gauges or limits see.
#[must_use = "dropping an unserved booking ends it"]
pub struct UnservedBooking {
    gauge: Arc<UnservedGauge>,
    prefill: Option<u64>,
}

impl fmt::Debug for UnservedBooking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnservedBooking").field("prefill", &self.prefill).finish_non_exhaustive()
    }
}

impl UnservedBooking {
    /// Counts a request whose `prefill` is not processed, if any.
    pub(super) fn new(gauge: Arc<UnservedGauge>, prefill: Option<u64>) -> Self {
        gauge.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(tokens) = prefill {
            gauge.prefills.fetch_add(1, Ordering::Relaxed);
            gauge.prefill_tokens.fetch_add(tokens, Ordering::Relaxed);
        }
        Self { gauge, prefill }
    }

    /// Records that the prompt would be processed by now.
    pub fn end_prefill(&mut self) {
        let Some(tokens) = self.prefill.take() else { return };
        self.gauge.prefills.fetch_sub(1, Ordering::Relaxed);
        self.gauge.prefill_tokens.fetch_sub(tokens, Ordering::Relaxed);
    }
}

impl Drop for UnservedBooking {
    fn drop(&mut self) {
        self.end_prefill();
        self.gauge.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
