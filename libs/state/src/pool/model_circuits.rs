//! The circuit breakers of one endpoint per model: an endpoint can refuse one model or adapter and serve others.

use signalbox_types::ModelKey;

use super::circuit_breaker::CircuitBreaker;
use crate::pool_state::{Circuit, ModelCircuit};

/// The maximum number of models per endpoint whose refusals count. Clients choose the names, so the number must
/// be bounded; the model that was refused least recently is forgotten.
const MAX_MODELS: usize = 64;

/// The circuit breakers of one endpoint, by model. Models without refusals have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelCircuits {
    /// The least recently refused first.
    breakers: Vec<(ModelKey, CircuitBreaker)>,
}

impl ModelCircuits {
    /// Restores the circuit breakers from what an earlier owner published.
    pub(crate) fn from_published(published: &[ModelCircuit], now_ms: u64) -> Self {
        let restored = |of: &ModelCircuit| (of.model, CircuitBreaker::from_circuit(of.circuit, now_ms));
        Self { breakers: published.iter().map(restored).collect() }
    }

    /// Records that the endpoint refused a request for `model`.
    pub(crate) fn record_refusal(&mut self, now_ms: u64, model: ModelKey) {
        let mut breaker = self.remove(model).unwrap_or_default();
        breaker.record_failure(now_ms);
        if self.breakers.len() == MAX_MODELS {
            self.breakers.remove(0);
        }
        self.breakers.push((model, breaker));
    }

    /// Records that the endpoint served a request for `model`.
    pub(crate) fn record_success(&mut self, now_ms: u64, model: ModelKey) {
        let Some((_, breaker)) = self.breakers.iter_mut().find(|(of, _)| *of == model) else { return };
        breaker.record_success();
        if breaker.circuit(now_ms) == Circuit::Closed {
            self.remove(model);
        }
    }

    /// Records that a replica probes the endpoint with a request for `model`.
    pub(crate) fn record_probe(&mut self, now_ms: u64, model: ModelKey) {
        if let Some((_, breaker)) = self.breakers.iter_mut().find(|(of, _)| *of == model) {
            breaker.record_probe(now_ms);
        }
    }

    /// Returns the circuits that are not closed at `now_ms`, ordered by model.
    pub(crate) fn circuits(&mut self, now_ms: u64) -> Vec<ModelCircuit> {
        let circuits = self.breakers.iter_mut();
        let circuits =
            circuits.map(|(model, breaker)| ModelCircuit { model: *model, circuit: breaker.circuit(now_ms) });
        let mut open: Vec<_> = circuits.filter(|of| of.circuit != Circuit::Closed).collect();
        open.sort_unstable_by_key(|of| of.model);
        open
    }

    fn remove(&mut self, model: ModelKey) -> Option<CircuitBreaker> {
        let at = self.breakers.iter().position(|(of, _)| *of == model)?;
        Some(self.breakers.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ModelKey = ModelKey(1);

    fn refused(times: usize) -> ModelCircuits {
        let mut circuits = ModelCircuits::default();
        (0..times).for_each(|_| circuits.record_refusal(0, MODEL));
        circuits
    }

    #[test]
    fn five_refusals_in_a_row_open_the_circuit_of_that_model() {
        assert!(refused(4).circuits(0).is_empty());
        let mut circuits = refused(5);
        circuits.record_refusal(0, ModelKey(2));
        assert_eq!(vec![ModelCircuit { model: MODEL, circuit: Circuit::Open }], circuits.circuits(0));
        let mut interrupted = refused(4);
        interrupted.record_success(0, MODEL);
        interrupted.record_refusal(0, MODEL);
        assert!(interrupted.circuits(0).is_empty());
    }

    #[test]
    fn a_probe_closes_the_circuit_to_others_until_its_outcome() {
        let mut circuits = refused(5);
        let circuit =
            |circuits: &mut ModelCircuits, now_ms| circuits.circuits(now_ms).first().map(|of| of.circuit);
        assert_eq!(Some(Circuit::HalfOpen), circuit(&mut circuits, 1_000));
        circuits.record_probe(1_000, MODEL);
        assert_eq!(Some(Circuit::Open), circuit(&mut circuits, 1_001));
        circuits.record_refusal(1_100, MODEL);
        assert_eq!(Some(Circuit::Open), circuit(&mut circuits, 3_099));
        assert_eq!(Some(Circuit::HalfOpen), circuit(&mut circuits, 3_100));
        circuits.record_probe(3_100, MODEL);
        circuits.record_success(3_200, MODEL);
        assert_eq!(None, circuit(&mut circuits, 3_200));
    }

    #[test]
    fn the_least_recently_refused_model_is_forgotten() {
        let mut circuits = refused(5);
        (2..=MAX_MODELS as u64).for_each(|model| circuits.record_refusal(0, ModelKey(model)));
        assert_eq!(1, circuits.circuits(0).len());
        circuits.record_refusal(0, ModelKey(100));
        assert!(circuits.circuits(0).is_empty());
        assert_eq!(MAX_MODELS, circuits.breakers.len());
    }
}
