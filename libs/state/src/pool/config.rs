//! The configuration of a pool at its owner.

use signalbox_signal::SignalSettings;
use signalbox_types::Format;

use crate::replication::JournalBounds;

/// How much an owner does with one input, before other inputs get their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLimits {
    /// The maximum work for placements, unless one placement is more. The unit is the work for one block, about 40 ns.
    pub placement_work: usize,
    /// The maximum number of steps of a capture, of the copies that placements make for it, unless one placement makes more, or
    /// of freeing a snapshot: one for each run and each of its holders.
    pub snapshot_steps: usize,
}

impl Default for InputLimits {
    /// About 2 ms each.
    fn default() -> Self {
        Self { placement_work: 49_152, snapshot_steps: 8_192 }
    }
}

/// The configuration of a pool at its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The format of placements.
    pub format: Format,
    /// How long an endpoint's values stay fresh without a message from its collector, in milliseconds.
    pub stale_after_ms: u64,
    /// How long a replica may be silent before its origin expires, in milliseconds.
    pub origin_ttl_ms: u64,
    /// The KV cache capacity assumed for endpoints that do not report it, in tokens.
    pub assumed_kv_tokens: u64,
    /// The approximate memory bound for the placements of all endpoints, in bytes. It applies to each
    /// process.
    pub index_bytes: usize,
    /// How long a collector may be silent before it counts as gone, in milliseconds.
    pub collector_ttl_ms: u64,
    /// How much history is kept.
    pub journal: JournalBounds,
    /// How much is done with one input.
    pub input_limits: InputLimits,
    /// What is set about the autoscaling signal.
    pub signal: SignalSettings,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            format: Format::default(),
            stale_after_ms: 2_000,
            origin_ttl_ms: 3_000,
            assumed_kv_tokens: 500_000,
            index_bytes: 1 << 30,
            collector_ttl_ms: 2_000,
            journal: JournalBounds::default(),
            input_limits: InputLimits::default(),
            signal: SignalSettings::default(),
        }
    }
}
