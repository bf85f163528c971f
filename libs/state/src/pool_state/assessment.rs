//! The owner's assessment of an endpoint, derived from the outcomes of its requests.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::{ModelKey, Origin, Rates};

/// The owner's assessment of an endpoint, derived from the outcomes of its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// How fast the endpoint is.
    pub rates: Rates,
    /// The state of the endpoint's circuit breaker.
    pub circuit: Circuit,
    /// Surcharge on the time that the rates predict, in percent. An endpoint that started recently is slower,
    /// because its caches are cold and its graphs are not compiled.
    pub ramp_percent: u8,
    /// The circuits of models that the endpoint refuses, ordered by model; at most
    /// [`Self::MAX_MODEL_CIRCUITS`]. Those of all other models are closed.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub model_circuits: Arc<[ModelCircuit]>,
}

impl Assessment {
    /// The maximum number of models per endpoint whose circuit is not closed.
    pub const MAX_MODEL_CIRCUITS: usize = 64;

    /// Returns the circuit of a model or adapter, by the name that the endpoint knows it by.
    pub fn circuit_of(&self, model: &str) -> Circuit {
        if self.model_circuits.is_empty() {
            return Circuit::Closed;
        }
        let model = ModelKey::of(model);
        let found = self.model_circuits.binary_search_by_key(&model, |of| of.model);
        found.map_or(Circuit::Closed, |at| self.model_circuits[at].circuit)
    }
}

/// The state of the circuit breaker of one model at one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCircuit {
    /// The model or adapter.
    pub model: ModelKey,
    /// The state of its circuit breaker.
    pub circuit: Circuit,
}

/// The state of a circuit breaker, of an endpoint or of one model there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// Requests are accepted.
    #[default]
    Closed,
    /// Requests failed, and there was time to recover. One request at a time probes whether it did: one of the replica
    /// that the owner names. An owner of an earlier release names none; then each replica may probe.
    HalfOpen(Option<Origin>),
    /// Requests failed repeatedly, and no more are sent.
    Open,
}
