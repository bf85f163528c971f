//! Decides, and ranks the other endpoints that could serve the request.

use rand::Rng;

use crate::decision::{Decision, ScoredEndpoint};
use crate::decision_inputs::DecisionInputs;
use crate::least_time::EndpointCosts;
use crate::policy::Policy;
use crate::weighted::TierTotals;

/// Decides as [`crate::decide`] does, and returns the chosen endpoint and at most `others` more of its tier, the best
/// first. Endpoints of worse tiers are left out: a gateway must not try them while better ones are left.
pub fn decide_and_rank(
    inputs: &DecisionInputs<'_>,
    policy: &Policy,
    rng: &mut impl Rng,
    others: usize,
) -> (Decision, Vec<ScoredEndpoint>) {
    let (decision, tier) = match policy {
        Policy::LeastTime(settings) => {
            let costs = EndpointCosts::compute(inputs, settings);
            let decision = costs.pick(settings, rng);
            (decision, costs.scores_like(&decision))
        }
        Policy::Weighted(weighted) => {
            let mut totals = TierTotals::default();
            let decision = weighted.decide(inputs, rng, &mut totals);
            (decision, totals.scores)
        }
    };
    let Decision::Picked { position, .. } = decision else { return (decision, Vec::new()) };
    (decision, best_first(tier, position, others))
}

/// Returns the endpoint at `position` and the best `others` of `scored`, the best first.
fn best_first(mut scored: Vec<ScoredEndpoint>, position: usize, others: usize) -> Vec<ScoredEndpoint> {
    if let Some(at) = scored.iter().position(|endpoint| endpoint.position == position) {
        scored.swap(0, at);
    }
    let Some((_, rest)) = scored.split_first_mut() else { return scored };
    let better = |one: &ScoredEndpoint, other: &ScoredEndpoint| {
        other.score.total_cmp(&one.score).then(one.position.cmp(&other.position))
    };
    let kept = others.min(rest.len());
    if kept < rest.len() {
        rest.select_nth_unstable_by(kept, better);
    }
    rest[..kept].sort_unstable_by(better);
    scored.truncate(kept + 1);
    scored
}
