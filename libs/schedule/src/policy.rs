//! What decisions go by.

use crate::least_time::LeastTime;

/// What decisions go by.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// The endpoint with the least expected time to serve the request.
    LeastTime(LeastTime),
}

impl Default for Policy {
    fn default() -> Self {
        Self::LeastTime(LeastTime::default())
    }
}
