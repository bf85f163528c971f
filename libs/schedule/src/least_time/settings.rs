//! Assumptions of the default policy. The speed of endpoints is not among them: it is measured.

use serde::{Deserialize, Serialize};
use signalbox_state::{FULL_KV_PPM, UNBOOKED_PROMPT_TOKENS};

/// Values that the default policy assumes where nothing is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeastTime {
    /// Duration of a request if it is unknown, in milliseconds.
    pub service_ms: u64,
    /// Prompt tokens of a waiting request that no replica has booked.
    pub unbooked_prompt_tokens: u64,
    /// KV cache use from which an endpoint with waiting requests is full, in parts per million.
    pub full_kv_ppm: u32,
    /// Endpoints whose cost exceeds the least cost by at most this are tied with it, in microseconds.
    pub near_tie_us: u64,
    /// Time to load an adapter from storage, in microseconds.
    pub adapter_load_us: u64,
    /// Time to load an adapter from host memory, in microseconds.
    pub adapter_from_host_us: u64,
}

impl Default for LeastTime {
    fn default() -> Self {
        Self {
            service_ms: 5_000,
            unbooked_prompt_tokens: UNBOOKED_PROMPT_TOKENS,
            full_kv_ppm: FULL_KV_PPM,
            near_tie_us: 1_000,
            adapter_load_us: 300_000,
            adapter_from_host_us: 20_000,
        }
    }
}
