//! Decides with either policy.

use rand::Rng;

use crate::decision::Decision;
use crate::decision_inputs::DecisionInputs;
use crate::least_time::EndpointCosts;
use crate::policy::Policy;
use crate::weighted::NoTrace;

/// Chooses the endpoint that serves the request. The result depends only on the arguments.
pub fn decide(inputs: &DecisionInputs<'_>, policy: &Policy, rng: &mut impl Rng) -> Decision {
    match policy {
        Policy::LeastTime(settings) => EndpointCosts::compute(inputs, settings).pick(settings, rng),
        Policy::Weighted(weighted) => weighted.decide(inputs, rng, &mut NoTrace),
    }
}
