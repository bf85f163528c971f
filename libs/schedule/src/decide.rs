//! The decision.

use rand::Rng;

use crate::ground::Ground;
use crate::least_time::{self, LeastTime, Terms};
use crate::policy::Policy;

/// Which endpoint shall serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The member at this position of the view.
    Picked {
        /// Where it stands among the view's members.
        position: usize,
        /// What serving the request there is expected to cost, whatever the policy went by.
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
    /// Assesses every member of the view for the request.
    pub fn assess(ground: &Ground<'_>, settings: &LeastTime) -> Self {
        let positions = 0..ground.view.members.len();
        Self { terms: positions.map(|at| least_time::terms(ground, settings, at)).collect() }
    }

    /// The terms, in the order of the view's members.
    pub fn terms(&self) -> &[Terms] {
        &self.terms
    }

    /// Picks the one of the best tier with the least expected time; at random among those that are as good as it.
    pub fn pick(&self, settings: &LeastTime, rng: &mut impl Rng) -> Decision {
        let Some(best) = self.terms.iter().map(|terms| (terms.tier, terms.total_us())).min() else {
            return Decision::NoEndpoint;
        };
        let (tier, least_us) = best;
        let limit_us = least_us.saturating_add(settings.near_tie_us);
        let as_good = |terms: &&Terms| terms.tier == tier && terms.total_us() <= limit_us;
        let drawn = rng.random_range(0..self.terms.iter().filter(as_good).count());
        let mut good = self.terms.iter().enumerate().filter(|(_, terms)| as_good(terms));
        match good.nth(drawn) {
            Some((position, terms)) => Decision::Picked { position, terms: *terms },
            None => Decision::NoEndpoint,
        }
    }
}

/// Picks the endpoint that shall serve the request. A function of its arguments alone.
pub fn decide(ground: &Ground<'_>, policy: &Policy, rng: &mut impl Rng) -> Decision {
    match policy {
        Policy::LeastTime(settings) => Candidates::assess(ground, settings).pick(settings, rng),
    }
}
