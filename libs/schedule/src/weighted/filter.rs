//! Who may serve a request.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::affinity::PrefixAffinity;
use super::labels::{Role, Selector};
use super::limits::{Concurrency, Limit, Saturation, WhenNone, within};
use super::session::SessionAffinity;
use crate::decision_inputs::DecisionInputs;

/// Who may serve a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Those with these labels.
    Labels(Selector),
    /// Those whose label has one of these values.
    ByLabel {
        /// The label.
        label: String,
        /// The values.
        values: Vec<String>,
        /// Whether those without the label are kept too.
        unlabelled: Unlabelled,
    },
    /// Those that can do a part of the work.
    Role(Role),
    /// Those that hold the prompt.
    PrefixAffinity(PrefixAffinity),
    /// Those within limits.
    Utilization {
        /// All must hold.
        limits: Vec<Limit>,
        /// What is left when it holds of none.
        when_none: WhenNone,
    },
    /// Those with room, by their metrics; all, where none has.
    Saturation(Saturation),
    /// Those with little in flight.
    Concurrency(Concurrency),
    /// The one that the session is bound to; all, where there is no session or its endpoint is not a candidate.
    Session(SessionAffinity),
}

/// What happens to endpoints without a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlabelled {
    /// They pass.
    Pass,
    /// They do not.
    Fail,
}

impl Filter {
    /// Puts those of `from` that it keeps into the empty `into`, in the same order.
    pub(super) fn retain(
        &self,
        inputs: &DecisionInputs<'_>,
        rng: &mut impl Rng,
        from: &[usize],
        into: &mut Vec<usize>,
    ) {
        let labels = |at: usize| &inputs.member(at).spec.labels;
        let passing = from.iter().copied();
        match self {
            Self::Labels(selector) => into.extend(passing.filter(|at| selector.matches(labels(*at)))),
            Self::ByLabel { label, values, unlabelled } => {
                let passes = |at: &usize| match labels(*at).get(label) {
                    Some(value) => values.contains(value),
                    None => *unlabelled == Unlabelled::Pass,
                };
                into.extend(passing.filter(passes));
            }
            Self::Role(role) => into.extend(passing.filter(|at| role.matches(labels(*at)))),
            Self::PrefixAffinity(affinity) => affinity.retain(inputs, rng, from, into),
            Self::Utilization { limits, when_none } => within(inputs, limits, *when_none, from, into),
            Self::Saturation(saturation) => saturation.retain(inputs, from, into),
            Self::Concurrency(concurrency) => concurrency.retain(inputs, from, into),
            Self::Session(session) => match session.bound(inputs, from) {
                Some(bound) => into.push(bound),
                None => into.extend_from_slice(from),
            },
        }
    }
}
