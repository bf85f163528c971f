//! Filters: which endpoints are candidates for a request.

mod concurrency;
mod labels;
mod prefix_affinity;
mod saturation;
mod utilization;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use self::concurrency::Concurrency;
pub use self::labels::{LabelOperator, LabelRequirement, LabelSelector, ROLE_LABEL, Role};
pub use self::prefix_affinity::PrefixAffinity;
pub use self::saturation::Saturation;
use self::utilization::retain_within;
pub use self::utilization::{Fallback, Limit};
use super::session_affinity::SessionAffinity;
use crate::decision_inputs::DecisionInputs;

/// Selects the endpoints that are candidates for a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Keeps endpoints whose labels match the selector.
    Labels(LabelSelector),
    /// Keeps endpoints whose label has one of the values.
    ByLabel {
        /// Name of the label.
        label: String,
        /// Accepted values.
        values: Vec<String>,
        /// What happens to endpoints without the label.
        unlabeled: Unlabeled,
    },
    /// Keeps endpoints with a role.
    Role(Role),
    /// Keeps endpoints that hold the prompt.
    PrefixAffinity(PrefixAffinity),
    /// Keeps endpoints within limits.
    Utilization {
        /// Limits, all of which must be met.
        limits: Vec<Limit>,
        /// What is kept if no endpoint is within the limits.
        fallback: Fallback,
    },
    /// Keeps endpoints that are not saturated, by their metrics; all, if every endpoint is saturated.
    Saturation(Saturation),
    /// Keeps endpoints with little work in flight.
    Concurrency(Concurrency),
    /// Keeps the endpoint that the session is bound to; all, without a session or if its endpoint is not a
    /// candidate.
    Session(SessionAffinity),
}

/// What happens to endpoints without a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlabeled {
    /// They are kept.
    Pass,
    /// They are removed.
    Fail,
}

impl Filter {
    /// Returns whether the filter removes endpoints because of their load, which passes, and not because they
    /// are unsuitable.
    pub(super) fn limits_load(&self) -> bool {
        match self {
            Self::Utilization { .. } | Self::Saturation(_) | Self::Concurrency(_) => true,
            Self::Labels(_)
            | Self::ByLabel { .. }
            | Self::Role(_)
            | Self::PrefixAffinity(_)
            | Self::Session(_) => false,
        }
    }

    /// Writes the endpoints of `from` that the filter keeps into the empty `into`, in the same order.
    pub(super) fn retain(
        &self,
        inputs: &DecisionInputs<'_>,
        rng: &mut impl Rng,
        from: &[usize],
        into: &mut Vec<usize>,
    ) {
        let labels = |at: usize| &inputs.endpoint(at).spec.labels;
        let passing = from.iter().copied();
        match self {
            Self::Labels(selector) => into.extend(passing.filter(|at| selector.matches(labels(*at)))),
            Self::ByLabel { label, values, unlabeled } => {
                let passes = |at: &usize| match labels(*at).get(label) {
                    Some(value) => values.contains(value),
                    None => *unlabeled == Unlabeled::Pass,
                };
                into.extend(passing.filter(passes));
            }
            Self::Role(role) => into.extend(passing.filter(|at| role.matches(labels(*at)))),
            Self::PrefixAffinity(affinity) => affinity.retain(inputs, rng, from, into),
            Self::Utilization { limits, fallback } => retain_within(inputs, limits, *fallback, from, into),
            Self::Saturation(saturation) => saturation.retain(inputs, from, into),
            Self::Concurrency(concurrency) => concurrency.retain(inputs, from, into),
            Self::Session(session) => match session.bound_position(inputs, from) {
                Some(bound) => into.push(bound),
                None => into.extend_from_slice(from),
            },
        }
    }
}
