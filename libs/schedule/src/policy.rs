//! What decisions go by.

use serde::{Deserialize, Serialize};

use crate::least_time::LeastTime;
use crate::weighted::Weighted;

/// What decisions go by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The endpoint with the least expected time to serve the request.
    LeastTime(LeastTime),
    /// The endpoint that filters, scorers and a picker choose.
    Weighted(Weighted),
}

impl Policy {
    /// The request headers that it reads, by their names; [`signalbox_types::Request::headers`] are to have them.
    pub fn request_headers(&self) -> Vec<&str> {
        match self {
            Self::LeastTime(_) => Vec::new(),
            Self::Weighted(weighted) => weighted.request_headers(),
        }
    }

    /// The response header in which a client is to be told its endpoint, as [`crate::session_token`] writes it.
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
