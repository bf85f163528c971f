//! What the pool's owner makes of an endpoint by what came of the requests there.

use serde::{Deserialize, Serialize};
use signalbox_types::Rates;

/// What the pool's owner makes of an endpoint by what came of the requests there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// How fast it is.
    pub rates: Rates,
    /// Whether it can be trusted with requests.
    pub circuit: Circuit,
    /// By how much longer than its rates say it is taken to need, in percent, because it is new: caches are cold and graphs not
    /// compiled.
    pub ramp_percent: u8,
}

/// Whether an endpoint can be trusted with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Circuit {
    /// It can.
    #[default]
    Sound,
    /// It failed and had time to recover: one request at a time shows whether it did.
    Probing,
    /// It failed request after request.
    Broken,
}
