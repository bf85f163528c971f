//! What can be set about the signal.

/// What can be set about the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSettings {
    /// For how long a lower number must be enough before it is published, in milliseconds.
    pub down_window_ms: u64,
    /// For how long a pool must be idle for certain before it needs no replica, in milliseconds.
    pub idle_retention_ms: u64,
}

impl Default for SignalSettings {
    fn default() -> Self {
        Self { down_window_ms: 300_000, idle_retention_ms: 600_000 }
    }
}
