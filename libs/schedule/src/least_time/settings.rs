//! What the default policy takes for granted. How fast an endpoint is, is no setting: it is learnt.

use serde::{Deserialize, Serialize};
use signalbox_types::PPM;

/// What the default policy takes for granted where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeastTime {
    /// How long a request is taken to run when it is not known, in milliseconds.
    pub service_ms: u64,
    /// Tokens that a request is taken to generate when it sets no limit, and at most when it does.
    pub output_tokens: u64,
    /// Prompt tokens that a waiting request is taken to have when no replica has booked it.
    pub foreign_prompt_tokens: u64,
    /// An endpoint with this much of its KV cache in use, in parts per million, and requests waiting is full.
    pub full_kv_ppm: u32,
    /// Endpoints within this time of the best one, in microseconds, are as good as it.
    pub near_tie_us: u64,
    /// Time to load an adapter that an endpoint does not have, in microseconds.
    pub adapter_load_us: u64,
    /// Time to load an adapter that an endpoint has in host memory, in microseconds.
    pub adapter_from_host_us: u64,
}

impl Default for LeastTime {
    fn default() -> Self {
        Self {
            service_ms: 5_000,
            output_tokens: 256,
            foreign_prompt_tokens: 1_000,
            full_kv_ppm: PPM / 100 * 98,
            near_tie_us: 1_000,
            adapter_load_us: 300_000,
            adapter_from_host_us: 20_000,
        }
    }
}
