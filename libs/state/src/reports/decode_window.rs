//! Measures the decode speed over windows of an engine's counters.

use signalbox_types::Counters;

use super::endpoint_report::DecodeObservation;

/// The length of a window: the decode speed is reported once per window, in milliseconds.
const WINDOW_MS: u64 = 1_000;

/// The minimum number of tokens in a window; one with fewer is not reported.
const WINDOW_TOKENS: u64 = 32;

/// The current window of samples, over which the differences of the counters are taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DecodeWindow {
    began: Option<(u64, Counters)>,
    samples: u64,
    running_sum: u64,
}

impl DecodeWindow {
    /// Adds a sample. Returns the decode speed when the sample completes the window.
    pub(super) fn record(
        &mut self,
        now_ms: u64,
        running: u32,
        counters: Counters,
    ) -> Option<DecodeObservation> {
        self.samples += 1;
        self.running_sum += u64::from(running);
        let (began_ms, before) = *self.began.get_or_insert((now_ms, counters));
        if now_ms.saturating_sub(began_ms) < WINDOW_MS {
            return None;
        }
        let Self { samples, running_sum, .. } = *self;
        *self = Self { began: Some((now_ms, counters)), ..Self::default() };
        let tokens = counters.inter_token_count.checked_sub(before.inter_token_count)?;
        let elapsed_us = counters.inter_token_us_sum.checked_sub(before.inter_token_us_sum)?;
        if tokens < WINDOW_TOKENS {
            return None;
        }
        let inter_token_us = u32::try_from(elapsed_us / tokens).unwrap_or(u32::MAX);
        let running_milli = u32::try_from(running_sum * 1_000 / samples).unwrap_or(u32::MAX);
        Some(DecodeObservation { inter_token_us, running_milli })
    }
}
