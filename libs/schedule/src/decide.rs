//! The decision.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::decision_inputs::DecisionInputs;
use crate::least_time::{self, LeastTime, Terms};
use crate::policy::Policy;
use crate::weighted::Unwatched;

/// Which endpoint shall serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The member at this position of the view.
    Picked {
        /// Where it stands among the view's members.
        position: usize,
        /// What serving the request there is expected to cost, whatever the policy went by.
        terms: Terms,
    },
    /// The pool has no endpoint, or none that the gateway allows.
    NoEndpoint,
    /// The policy's filters left none of the pool's endpoints.
    Filtered,
}

/// All candidates with their terms, in the order of the view's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    terms: Vec<Terms>,
    /// Whether the gateway allows each; empty where it allows all.
    allowed: Vec<bool>,
}

impl Candidates {
    /// Assesses every member of the view for the request.
    pub fn assess(inputs: &DecisionInputs<'_>, settings: &LeastTime) -> Self {
        let positions = 0..inputs.view.endpoints.len();
        let terms = positions.clone().map(|at| least_time::terms(inputs, settings, at)).collect();
        let allowed = match inputs.request.subset {
            Some(_) => positions.map(|at| inputs.is_allowed(at)).collect(),
            None => Vec::new(),
        };
        Self { terms, allowed }
    }

    /// The terms, in the order of the view's members; those that the gateway does not allow among them.
    pub fn terms(&self) -> &[Terms] {
        &self.terms
    }

    /// Picks the one of the best tier with the least expected time; at random among those that are as good as it.
    pub fn pick(&self, settings: &LeastTime, rng: &mut impl Rng) -> Decision {
        let Some(best) = self.allowed().map(|(_, terms)| (terms.tier, terms.total_us())).min() else {
            return Decision::NoEndpoint;
        };
        let (tier, least_us) = best;
        let limit_us = least_us.saturating_add(settings.near_tie_us);
        let as_good = |terms: &Terms| terms.tier == tier && terms.total_us() <= limit_us;
        let drawn = rng.random_range(0..self.allowed().filter(|(_, terms)| as_good(terms)).count());
        let mut good = self.allowed().filter(|(_, terms)| as_good(terms));
        match good.nth(drawn) {
            Some((position, terms)) => Decision::Picked { position, terms: *terms },
            None => Decision::NoEndpoint,
        }
    }

    fn allowed(&self) -> impl Iterator<Item = (usize, &Terms)> {
        let is_allowed = |at: usize| self.allowed.get(at).copied().unwrap_or(true);
        self.terms.iter().enumerate().filter(move |(at, _)| is_allowed(*at))
    }
}

/// Picks the endpoint that shall serve the request. A function of its arguments alone.
pub fn decide(inputs: &DecisionInputs<'_>, policy: &Policy, rng: &mut impl Rng) -> Decision {
    match policy {
        Policy::LeastTime(settings) => Candidates::assess(inputs, settings).pick(settings, rng),
        Policy::Weighted(weighted) => weighted.decide(inputs, rng, &mut Unwatched),
    }
}
