//! The policy that decisions follow.

use serde::{Deserialize, Serialize};

use crate::least_time::LeastTime;
use crate::weighted::Weighted;

/// The policy that decisions follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Chooses the endpoint with the least expected time to serve the request.
    LeastTime(LeastTime),
    /// Chooses an endpoint by filters, scorers and a picker.
    Weighted(Weighted),
}

impl Policy {
    /// Returns the names of the request headers that the policy reads. [`signalbox_types::Request::headers`]
    /// must contain them.
    pub fn request_headers(&self) -> Vec<&str> {
        match self {
            Self::LeastTime(_) => Vec::new(),
            Self::Weighted(weighted) => weighted.request_headers(),
        }
    }

    /// Returns the response header that tells clients their endpoint, in the form of
    /// [`crate::session_token`].
    pub fn session_header(&self) -> Option<&str> {
        match self {
            Self::LeastTime(_) => None,
            Self::Weighted(weighted) => weighted.session_header(),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::LeastTime(LeastTime::default())
    }
}
