//! The circuit breakers of one endpoint per model: an endpoint can refuse one model or adapter and serve others.

use signalbox_types::ModelKey;

use super::circuit_breaker::CircuitBreaker;
use super::probers::Probers;
use crate::pool_state::{Assessment, Circuit, ModelCircuit};

/// The maximum number of models per endpoint whose refusals count. Clients choose the names, so the number must
/// be bounded. Names that no endpoint serves must not displace models whose circuit is not closed, so of those
/// with a closed circuit the least recently refused is forgotten first.
const MAX_MODELS: usize = Assessment::MAX_MODEL_CIRCUITS;

/// The circuit breakers of one endpoint, by model. Models without refusals have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelCircuits {
    /// The least recently refused first. At most [`MAX_MODELS`], unless an earlier owner published more.
    breakers: Vec<(ModelKey, CircuitBreaker)>,
}

impl ModelCircuits {
    /// Restores the circuit breakers from what an earlier owner published.
    pub(crate) fn from_published(published: &[ModelCircuit], now_ms: u64) -> Self {
        let restored = |of: &ModelCircuit| (of.model, CircuitBreaker::from_circuit(of.circuit, now_ms));
        Self { breakers: published.iter().map(restored).collect() }
    }

    /// Returns whether no refusal counts for any model.
    pub(crate) fn is_empty(&self) -> bool {
        self.breakers.is_empty()
    }

    /// Records that the endpoint refused a request for `model`.
    pub(crate) fn record_refusal(&mut self, now_ms: u64, model: ModelKey) {
        let mut breaker = self.remove(model).unwrap_or_default();
        breaker.record_failure(now_ms);
        while self.breakers.len() >= MAX_MODELS {
            let mut breakers = self.breakers.iter_mut();
            let closed = breakers.position(|(_, breaker)| breaker.is_closed());
            self.breakers.remove(closed.unwrap_or(0));
        }
        self.breakers.push((model, breaker));
    }

    /// Records that the endpoint served a request for `model`.
    pub(crate) fn record_success(&mut self, model: ModelKey) {
        let Some((_, breaker)) = self.breakers.iter_mut().find(|(of, _)| *of == model) else { return };
        breaker.record_success();
        if breaker.is_closed() {
            self.remove(model);
        }
    }

    /// Records that a replica probes the endpoint with a request for `model`.
    pub(crate) fn record_probe(&mut self, now_ms: u64, model: ModelKey) {
        if let Some((_, breaker)) = self.breakers.iter_mut().find(|(of, _)| *of == model) {
            breaker.record_probe(now_ms);
        }
    }

    /// Returns when the next circuit changes by time alone, in milliseconds.
    pub(crate) fn changes_at_ms(&self) -> Option<u64> {
        self.breakers.iter().filter_map(|(_, breaker)| breaker.changes_at_ms()).min()
    }

    /// Returns the circuits that are not closed at `now_ms`, ordered by model. `probers` take turns to send a
    /// probe.
    pub(crate) fn circuits(&mut self, now_ms: u64, probers: &Probers) -> Vec<ModelCircuit> {
        let circuits = self.breakers.iter_mut().map(|(model, breaker)| ModelCircuit {
            model: *model,
            circuit: breaker.circuit(now_ms, probers),
        });
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
    use signalbox_types::Origin;

    use super::*;

    const MODEL: ModelKey = ModelKey(1);
    const REPLICA: Origin = Origin(9);

    fn probers() -> Probers {
        Probers::new([(REPLICA, true)])
    }

    fn refused(times: usize) -> ModelCircuits {
        let mut circuits = ModelCircuits::default();
        (0..times).for_each(|_| circuits.record_refusal(0, MODEL));
        circuits
    }

    #[test]
    fn five_refusals_in_a_row_open_the_circuit_of_that_model() {
        assert!(refused(4).circuits(0, &probers()).is_empty());
        let mut circuits = refused(5);
        circuits.record_refusal(0, ModelKey(2));
        assert_eq!(
            vec![ModelCircuit { model: MODEL, circuit: Circuit::Open }],
            circuits.circuits(0, &probers())
        );
        let mut interrupted = refused(4);
        interrupted.record_success(MODEL);
        interrupted.record_refusal(0, MODEL);
        assert!(interrupted.circuits(0, &probers()).is_empty());
    }

    #[test]
    fn a_probe_closes_the_circuit_to_others_until_its_outcome() {
        let mut circuits = refused(5);
        let circuit = |circuits: &mut ModelCircuits, now_ms| {
            circuits.circuits(now_ms, &probers()).first().map(|of| of.circuit)
        };
        assert_eq!(Some(Circuit::HalfOpen(Some(REPLICA))), circuit(&mut circuits, 1_000));
        circuits.record_probe(1_000, MODEL);
        assert_eq!(Some(Circuit::Open), circuit(&mut circuits, 1_001));
        circuits.record_refusal(1_100, MODEL);
        assert_eq!(Some(Circuit::Open), circuit(&mut circuits, 3_099));
        assert_eq!(Some(Circuit::HalfOpen(Some(REPLICA))), circuit(&mut circuits, 3_100));
        circuits.record_probe(3_100, MODEL);
        circuits.record_success(MODEL);
        assert_eq!(None, circuit(&mut circuits, 3_200));
    }

    #[test]
    fn names_without_an_open_circuit_are_forgotten_first() {
        let mut circuits = refused(5);
        (2..500).for_each(|model| circuits.record_refusal(0, ModelKey(model)));
        assert_eq!(
            vec![ModelCircuit { model: MODEL, circuit: Circuit::Open }],
            circuits.circuits(0, &probers())
        );
        assert_eq!(MAX_MODELS, circuits.breakers.len());
        let kept = |circuits: &ModelCircuits, model| circuits.breakers.iter().any(|(of, _)| of.0 == model);
        assert_eq!([false, true], [436, 437].map(|model| kept(&circuits, model)), "the oldest is forgotten");
    }

    #[test]
    fn the_least_recently_refused_of_open_circuits_is_forgotten() {
        let mut circuits = ModelCircuits::default();
        for model in 1..=MAX_MODELS as u64 {
            (0..5).for_each(|_| circuits.record_refusal(0, ModelKey(model)));
        }
        assert_eq!(MAX_MODELS, circuits.circuits(0, &probers()).len());
        circuits.record_refusal(0, ModelKey(100));
        let open: Vec<_> = circuits.circuits(0, &probers()).into_iter().map(|of| of.model.0).collect();
        assert_eq!((2..=MAX_MODELS as u64).collect::<Vec<_>>(), open);
    }

    #[test]
    fn a_surplus_that_was_restored_is_forgotten() {
        let open = |model| ModelCircuit { model: ModelKey(model), circuit: Circuit::Open };
        let published: Vec<_> = (1..=MAX_MODELS as u64 + 10).map(open).collect();
        let mut circuits = ModelCircuits::from_published(&published, 0);
        circuits.record_refusal(0, ModelKey(1_000));
        assert_eq!(MAX_MODELS, circuits.breakers.len());
    }
}
