//! The name of a flow.

use std::sync::Arc;

/// A flow: requests of one priority that share a queue, usually those of one tenant. Ordered by priority, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The priority of the flow's band: higher ones go first, and those below 0 are sheddable.
    pub priority: i32,
    /// The fairness id.
    pub id: Arc<str>,
}

impl FlowKey {
    /// Returns whether requests of this flow are dropped before others have to wait.
    pub fn is_sheddable(&self) -> bool {
        self.priority < 0
    }
}
