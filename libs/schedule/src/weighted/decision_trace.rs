//! Records the steps of a weighted decision for an explanation.

use serde::{Deserialize, Serialize};

use super::{FilterStep, ScorerStep, clamped};
use crate::decision::ScoredEndpoint;
use crate::decision_inputs::DecisionInputs;
use crate::endpoint_health::EndpointHealth;

/// One scorer's contribution to a candidate's total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreTrace {
    /// Name of the scorer.
    pub scorer: String,
    /// Score before it is clamped to 0 to 1.
    pub score: f64,
    /// Weight of the scorer.
    pub weight: f64,
    /// Clamped score × weight.
    pub product: f64,
}

/// Receives the steps of a decision.
pub(crate) trait TraceSink {
    /// Records that `step` kept `after` of `before`. Both are in order.
    fn record_filter(&mut self, step: &FilterStep, before: &[usize], after: &[usize]);
    /// Records the scores that `step` gave the candidates at `positions`.
    fn record_scores(&mut self, step: &ScorerStep, positions: &[usize], scores: &[f64]);
    /// Records the totals of the candidates at `positions`.
    fn record_totals(&mut self, positions: &[usize], totals: &[f64]);
}

/// Discards all steps.
pub(crate) struct NoTrace;

impl TraceSink for NoTrace {
    fn record_filter(&mut self, _: &FilterStep, _: &[usize], _: &[usize]) {}
    fn record_scores(&mut self, _: &ScorerStep, _: &[usize], _: &[f64]) {}
    fn record_totals(&mut self, _: &[usize], _: &[f64]) {}
}

/// Keeps the totals of the endpoints among which the picker chose.
#[derive(Debug, Default)]
pub(crate) struct TierTotals {
    pub(crate) scores: Vec<ScoredEndpoint>,
}

impl TraceSink for TierTotals {
    fn record_filter(&mut self, _: &FilterStep, _: &[usize], _: &[usize]) {}
    fn record_scores(&mut self, _: &ScorerStep, _: &[usize], _: &[f64]) {}
    fn record_totals(&mut self, positions: &[usize], totals: &[f64]) {
        let totals = positions.iter().zip(totals);
        self.scores =
            totals.map(|(position, score)| ScoredEndpoint { position: *position, score: *score }).collect();
    }
}

/// Keeps all steps, by endpoint.
#[derive(Debug)]
pub(crate) struct DecisionTrace {
    /// In the order of the view.
    pub(crate) endpoints: Vec<EndpointTrace>,
}

/// What happened to one endpoint of the view.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EndpointTrace {
    pub(crate) removed_by: Option<String>,
    pub(crate) scores: Vec<ScoreTrace>,
    pub(crate) total: Option<f64>,
}

impl DecisionTrace {
    /// Returns the trace before the first step. Endpoints that cannot get the request are marked as removed.
    pub(crate) fn new(inputs: &DecisionInputs<'_>) -> Self {
        let endpoint = |at| {
            let removed_by = inputs.exclusion(at).map(|exclusion| exclusion.name().to_owned());
            EndpointTrace { removed_by, ..EndpointTrace::default() }
        };
        Self { endpoints: (0..inputs.view.endpoints.len()).map(endpoint).collect() }
    }

    /// Completes the trace: endpoints without any step were not candidates because of their health.
    pub(crate) fn finish(&mut self, inputs: &DecisionInputs<'_>) {
        for (at, endpoint) in self.endpoints.iter_mut().enumerate() {
            let health = inputs.health(at);
            let is_untouched = endpoint.removed_by.is_none() && endpoint.total.is_none();
            if is_untouched && health != EndpointHealth::Healthy {
                endpoint.removed_by = Some(health.name().to_owned());
            }
        }
    }
}

impl TraceSink for DecisionTrace {
    fn record_filter(&mut self, step: &FilterStep, before: &[usize], after: &[usize]) {
        for at in before.iter().filter(|at| !after.contains(at)) {
            self.endpoints[*at].removed_by = Some(step.name.clone());
        }
    }

    fn record_scores(&mut self, step: &ScorerStep, positions: &[usize], scores: &[f64]) {
        for (at, score) in positions.iter().zip(scores) {
            let (scorer, score, weight) = (step.name.clone(), *score, step.weight);
            let product = clamped(score) * weight;
            self.endpoints[*at].scores.push(ScoreTrace { scorer, score, weight, product });
        }
    }

    fn record_totals(&mut self, positions: &[usize], totals: &[f64]) {
        for (at, total) in positions.iter().zip(totals) {
            self.endpoints[*at].total = Some(*total);
        }
    }
}
