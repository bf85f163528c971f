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
    /// The maximum length of a fairness id, in bytes.
    pub const MAX_ID_BYTES: usize = 128;

    /// How many flows one replica tells apart. Requests of further ones share the flow [`Self::OTHER`] of their band.
    pub const MAX_FLOWS: usize = 1_000;

    /// The fairness id of requests whose own flow would be one too many.
    pub const OTHER: &'static str = "other";

    /// Returns the flow of the requests with this fairness id. What exceeds [`Self::MAX_ID_BYTES`] is cut off.
    pub fn new(priority: i32, id: &str) -> Self {
        let end = (0..=id.len().min(Self::MAX_ID_BYTES)).rev().find(|at| id.is_char_boundary(*at));
        Self { priority, id: id[..end.unwrap_or(0)].into() }
    }

    /// Returns the flow of this band that all further flows share.
    pub(crate) fn other(&self) -> Self {
        Self { priority: self.priority, id: Self::OTHER.into() }
    }

    /// Returns whether requests of this flow are dropped before others have to wait.
    pub fn is_sheddable(&self) -> bool {
        self.priority < 0
    }
}
