//! The candidates of one request, stored column by column.

use std::sync::Arc;

use signalbox_state::EndpointState;

use crate::decision_inputs::DecisionInputs;
use crate::endpoint_health::EndpointHealth;

/// The candidates of one request, stored column by column. A few buffers that are allocated once per request,
/// for any number of endpoints.
#[derive(Debug)]
pub(super) struct CandidateTable {
    /// Positions of the candidates in the view, in its order.
    pub(super) positions: Vec<usize>,
    /// Output buffer of a filter.
    pub(super) kept: Vec<usize>,
    /// Scores of one scorer, in the order of `positions`.
    pub(super) scores: Vec<f64>,
    /// Sums of score × weight over the scorers so far, in the order of `positions`.
    pub(super) totals: Vec<f64>,
    /// Buffer for a scorer that ranks the candidates.
    pub(super) ranked: Vec<usize>,
    /// Health of each endpoint of the view; `None` for endpoints that cannot get the request.
    health: Vec<Option<EndpointHealth>>,
}

impl CandidateTable {
    pub(super) fn new(inputs: &DecisionInputs<'_>) -> Self {
        let endpoints = inputs.view.endpoints.len();
        let health = |(at, endpoint): (usize, &Arc<EndpointState>)| {
            inputs.exclusion(at).is_none().then(|| inputs.health_of(endpoint))
        };
        Self {
            positions: Vec::with_capacity(endpoints),
            kept: Vec::with_capacity(endpoints),
            scores: Vec::with_capacity(endpoints),
            totals: Vec::with_capacity(endpoints),
            ranked: Vec::new(),
            health: inputs.view.endpoints.iter().enumerate().map(health).collect(),
        }
    }

    /// Returns the health of each endpoint of the view; `None` for endpoints that cannot get the request.
    pub(super) fn health(&self) -> &[Option<EndpointHealth>] {
        &self.health
    }

    /// Makes all endpoints of this health the candidates.
    pub(super) fn select(&mut self, health: EndpointHealth) {
        self.positions.clear();
        let all = self.health.iter().enumerate();
        self.positions.extend(all.filter(|(_, own)| **own == Some(health)).map(|(at, _)| at));
    }
}
