//! The costs of all endpoints for one request.

use std::sync::Arc;

use rand::Rng;

use super::cost_terms::{CostTerms, cost_terms};
use super::settings::LeastTime;
use crate::decision::{Decision, ScoredEndpoint};
use crate::decision_inputs::DecisionInputs;

/// The cost terms of all endpoints for one request, in the order of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointCosts {
    terms: Vec<CostTerms>,
    /// Whether each endpoint can get the request; empty if all can.
    candidates: Vec<bool>,
}

impl EndpointCosts {
    /// Computes the cost terms of every endpoint of the view.
    pub fn compute(inputs: &DecisionInputs<'_>, settings: &LeastTime) -> Self {
        let endpoints = inputs.view.endpoints.iter().map(Arc::as_ref);
        let terms = endpoints.enumerate().map(|at| cost_terms(inputs, settings, at)).collect();
        let candidates = match inputs.has_exclusions() {
            true => (0..inputs.view.endpoints.len()).map(|at| inputs.exclusion(at).is_none()).collect(),
            false => Vec::new(),
        };
        Self { terms, candidates }
    }

    /// Returns the terms of all endpoints in the order of the view, including those that cannot get the
    /// request.
    pub fn terms(&self) -> &[CostTerms] {
        &self.terms
    }

    /// Picks the endpoint with the least cost among those of the best tier. Draws one at random if several
    /// are within [`LeastTime::near_tie_us`] of the least cost.
    pub fn pick(&self, settings: &LeastTime, rng: &mut impl Rng) -> Decision {
        let Some(best) = self.candidates().map(|(_, terms)| (terms.tier, terms.total_us())).min() else {
            return Decision::NoEndpoint;
        };
        let (tier, least_us) = best;
        let limit_us = least_us.saturating_add(settings.near_tie_us);
        let is_tied = |terms: &CostTerms| terms.tier == tier && terms.total_us() <= limit_us;
        let drawn = rng.random_range(0..self.candidates().filter(|(_, terms)| is_tied(terms)).count());
        let mut tied = self.candidates().filter(|(_, terms)| is_tied(terms));
        match tied.nth(drawn) {
            Some((position, terms)) => Decision::Picked { position, terms: *terms },
            None => Decision::NoEndpoint,
        }
    }

    /// Returns the scores of all candidates in the tier of the one that `decision` picked: their
    /// negated costs in milliseconds.
    pub(crate) fn scores_like(&self, decision: &Decision) -> Vec<ScoredEndpoint> {
        let Decision::Picked { terms: picked, .. } = decision else { return Vec::new() };
        let of_tier = self.candidates().filter(|(_, terms)| terms.tier == picked.tier);
        let score = |terms: &CostTerms| -(terms.total_us() as f64) / 1e3;
        let mut scores = Vec::with_capacity(self.terms.len());
        scores.extend(of_tier.map(|(position, terms)| ScoredEndpoint { position, score: score(terms) }));
        scores
    }

    fn candidates(&self) -> impl Iterator<Item = (usize, &CostTerms)> {
        let is_candidate = |at: usize| self.candidates.get(at).copied().unwrap_or(true);
        self.terms.iter().enumerate().filter(move |(at, _)| is_candidate(*at))
    }
}
