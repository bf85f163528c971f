//! How much of a prompt each endpoint holds.

use serde::{Deserialize, Serialize};

/// The number of leading blocks of a prompt that each endpoint holds, in the order of the view's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixMatches {
    /// The number of blocks per endpoint.
    pub blocks: Vec<usize>,
    /// The number of blocks of the whole prompt.
    pub total: usize,
}
