//! Which requests wait, and for how long.

use std::sync::Arc;

use signalbox_flow::FlowSettings;

/// Whether requests wait while the pool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowMode {
    /// They wait.
    On,
    /// They do not. As in the Go EPP without its feature gate, those with a negative priority are refused while the pool is
    /// full.
    Off,
}

/// Which requests wait, and for how long. By default they do.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowControl {
    /// Whether requests wait.
    pub mode: FlowMode,
    /// When a pool is full, who goes first, and the limits on what waits.
    pub settings: Arc<FlowSettings>,
}

impl Default for FlowControl {
    fn default() -> Self {
        Self { mode: FlowMode::On, settings: Arc::default() }
    }
}
