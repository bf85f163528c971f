//! The owner's assessment of an endpoint, derived from the outcomes of its requests.

use serde::{Deserialize, Serialize};
use signalbox_types::Rates;

/// The owner's assessment of an endpoint, derived from the outcomes of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// How fast the endpoint is.
    pub rates: Rates,
    /// The state of the endpoint's circuit breaker.
    pub circuit: Circuit,
    /// Surcharge on the time that the rates predict, in percent. An endpoint that started recently is slower,
    /// because its caches are cold and its graphs are not compiled.
    pub ramp_percent: u8,
}

/// The state of an endpoint's circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// The endpoint accepts requests.
    #[default]
    Closed,
    /// The endpoint failed and had time to recover. One request at a time probes whether it did.
    HalfOpen,
    /// The endpoint failed repeatedly and gets no requests.
    Open,
}
