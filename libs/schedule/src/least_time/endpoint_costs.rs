//! The costs of all endpoints for one request.

use rand::Rng;

use super::cost_terms::{CostTerms, cost_terms};
use super::settings::LeastTime;
use crate::decision::{Decision, ScoredEndpoint};
use crate::decision_inputs::DecisionInputs;

/// The cost terms of all endpoints for one request, in the order of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointCosts {
    terms: Vec<CostTerms>,
    /// Whether the gateway allows each endpoint; empty if it allows all.
    allowed: Vec<bool>,
}

impl EndpointCosts {
    /// Computes the cost terms of every endpoint of the view.
    pub fn compute(inputs: &DecisionInputs<'_>, settings: &LeastTime) -> Self {
        let positions = 0..inputs.view.endpoints.len();
        let terms = positions.clone().map(|at| cost_terms(inputs, settings, at)).collect();
        let allowed = match inputs.request.subset {
            Some(_) => positions.map(|at| inputs.is_allowed(at)).collect(),
            None => Vec::new(),
        };
        Self { terms, allowed }
    }

    /// Returns the terms of all endpoints in the order of the view, including those that the gateway does not
    /// allow.
    pub fn terms(&self) -> &[CostTerms] {
        &self.terms
    }

    /// Picks the endpoint with the least cost among those of the best tier. Draws one at random if several
    /// are within [`LeastTime::near_tie_us`] of the least cost.
    pub fn pick(&self, settings: &LeastTime, rng: &mut impl Rng) -> Decision {
        let Some(best) = self.allowed().map(|(_, terms)| (terms.tier, terms.total_us())).min() else {
            return Decision::NoEndpoint;
        };
        let (tier, least_us) = best;
        let limit_us = least_us.saturating_add(settings.near_tie_us);
        let is_tied = |terms: &CostTerms| terms.tier == tier && terms.total_us() <= limit_us;
        let drawn = rng.random_range(0..self.allowed().filter(|(_, terms)| is_tied(terms)).count());
        let mut tied = self.allowed().filter(|(_, terms)| is_tied(terms));
        match tied.nth(drawn) {
            Some((position, terms)) => Decision::Picked { position, terms: *terms },
            None => Decision::NoEndpoint,
        }
    }

    /// Returns the scores of all allowed endpoints in the tier of the one that `decision` picked: their
    /// negated costs in milliseconds.
    pub(crate) fn scores_like(&self, decision: &Decision) -> Vec<ScoredEndpoint> {
        let Decision::Picked { terms: picked, .. } = decision else { return Vec::new() };
        let of_tier = self.allowed().filter(|(_, terms)| terms.tier == picked.tier);
        let score = |terms: &CostTerms| -(terms.total_us() as f64) / 1e3;
        let mut scores = Vec::with_capacity(self.terms.len());
        scores.extend(of_tier.map(|(position, terms)| ScoredEndpoint { position, score: score(terms) }));
        scores
    }

    fn allowed(&self) -> impl Iterator<Item = (usize, &CostTerms)> {
        let is_allowed = |at: usize| self.allowed.get(at).copied().unwrap_or(true);
        self.terms.iter().enumerate().filter(move |(at, _)| is_allowed(*at))
    }
}
