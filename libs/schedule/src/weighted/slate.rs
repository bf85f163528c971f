//! The candidates of one request, column by column.

use crate::decision_inputs::{DecisionInputs, Standing};

/// The candidates of one request, column by column: a few buffers, made once per request, whatever the number of endpoints.
#[derive(Debug)]
pub(super) struct Slate {
    /// Where the candidates stand in the view, in its order.
    pub(super) positions: Vec<usize>,
    /// What a filter writes to.
    pub(super) kept: Vec<usize>,
    /// What a scorer gives each candidate.
    pub(super) scores: Vec<f64>,
    /// What all scorers gave each candidate so far, times their weights.
    pub(super) totals: Vec<f64>,
    /// For a scorer that goes by an order.
    pub(super) ranked: Vec<usize>,
    /// How much can be expected of each member of the view; nothing of those that the gateway does not allow.
    standings: Vec<Option<Standing>>,
}

impl Slate {
    pub(super) fn new(inputs: &DecisionInputs<'_>) -> Self {
        let endpoints = inputs.view.endpoints.len();
        let standing = |at| inputs.is_allowed(at).then(|| inputs.standing(at));
        Self {
            positions: Vec::with_capacity(endpoints),
            kept: Vec::with_capacity(endpoints),
            scores: Vec::with_capacity(endpoints),
            totals: Vec::with_capacity(endpoints),
            ranked: Vec::new(),
            standings: (0..endpoints).map(standing).collect(),
        }
    }

    /// What the members of the view are by their own state, before any filter.
    pub(super) fn standings(&self) -> &[Option<Standing>] {
        &self.standings
    }

    /// Makes all of one standing the candidates.
    pub(super) fn fill(&mut self, standing: Standing) {
        self.positions.clear();
        let all = self.standings.iter().enumerate();
        self.positions.extend(all.filter(|(_, own)| **own == Some(standing)).map(|(at, _)| at));
    }
}
