//! How well the blocks that an endpoint is believed to hold match what its engine reports.

use serde::{Deserialize, Serialize};

/// How well the blocks that an endpoint is believed to hold match the cached tokens that its engine reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheAccuracy {
    /// Predicted minus reported cached tokens: a moving mean over the latest responses. `None` until the engine
    /// reports cached tokens.
    pub mean_error_tokens: Option<i32>,
    /// The share of the KV cache capacity that counts as room for cached blocks, in percent (1 to 100). It is lower
    /// where the engine held fewer blocks than fit.
    pub capacity_percent: u8,
}

impl Default for CacheAccuracy {
    /// Returns the accuracy of an engine that reported nothing.
    fn default() -> Self {
        Self { mean_error_tokens: None, capacity_percent: 100 }
    }
}

impl CacheAccuracy {
    /// Returns whether this is the accuracy of an engine that reported nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
