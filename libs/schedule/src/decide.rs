//! The decision.

use rand::Rng;
use signalbox_state::{Local, Matches, View};
use signalbox_types::Request;

use crate::cost::{self, Terms};
use crate::policy::Policy;

/// Which endpoint shall serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The member at this position of the view.
    Picked {
        /// Where it stands among the view's members.
        position: usize,
        /// What made it the best.
        terms: Terms,
    },
    /// The pool has no endpoint.
    NoEndpoint,
}

/// All candidates with their terms, in the order of the view's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    terms: Vec<Terms>,
}

impl Candidates {
    /// Assesses every member of `view` for `request`.
    pub fn assess(view: &View, local: &Local, matches: &Matches, request: &Request, policy: &Policy) -> Self {
        let positions = 0..view.members.len();
        Self { terms: positions.map(|at| cost::terms(view, local, matches, request, policy, at)).collect() }
    }

    /// The terms, in the order of the view's members.
    pub fn terms(&self) -> &[Terms] {
        &self.terms
    }

    /// Picks the one of the best tier with the least expected time; at random among those that are as good as it.
    pub fn pick(&self, policy: &Policy, rng: &mut impl Rng) -> Decision {
        let Some(best) = self.terms.iter().map(|terms| (terms.tier, terms.total_us())).min() else {
            return Decision::NoEndpoint;
        };
        let (tier, least_us) = best;
        let limit_us = least_us.saturating_add(policy.near_tie_us);
        let as_good = |terms: &&Terms| terms.tier == tier && terms.total_us() <= limit_us;
        let drawn = rng.random_range(0..self.terms.iter().filter(as_good).count());
        let mut good = self.terms.iter().enumerate().filter(|(_, terms)| as_good(terms));
        match good.nth(drawn) {
            Some((position, terms)) => Decision::Picked { position, terms: *terms },
            None => Decision::NoEndpoint,
        }
    }
}

/// Picks the endpoint with the least expected time to serve `request`.
pub fn decide(
    view: &View,
    local: &Local,
    matches: &Matches,
    request: &Request,
    policy: &Policy,
    rng: &mut impl Rng,
) -> Decision {
    Candidates::assess(view, local, matches, request, policy).pick(policy, rng)
}
