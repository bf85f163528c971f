//! Whether a request goes where a decision sends it.

use signalbox_flow::{Detector, FlowKey, FlowSettings};
use signalbox_schedule::{Decision, DecisionInputs};
use signalbox_types::Request;

use crate::flow_control::FlowMode;
use crate::flow_view::{endpoint_use_at, is_empty};
use crate::owner_silence::is_outdated;
use crate::verdict::{Verdict, verdict};

/// The fairness id of requests that name neither one nor an objective, as in the Go EPP.
const DEFAULT_FLOW: &str = "default-flow";

/// What happens to a request for which a decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The decision holds.
    Go,
    /// The request waits, and the decision is made again when it may go.
    Wait {
        /// Uncached prompt tokens and expected output tokens.
        tokens: u64,
    },
    /// It is refused.
    Shed,
}

impl Admission {
    /// Returns whether a request for which `decision` was made is refused now.
    pub fn refuses(self, decision: &Decision) -> bool {
        match self {
            Self::Go => !matches!(decision, Decision::Picked { .. }),
            Self::Wait { .. } => false,
            Self::Shed => true,
        }
    }
}

/// What a replica knows when it admits a request.
#[derive(Clone, Copy, Debug)]
pub struct Admitter<'a> {
    /// Whether requests can wait.
    pub mode: FlowMode,
    /// When a pool is full.
    pub settings: &'a FlowSettings,
    /// The highest priority of which requests wait for a grant, at any replica.
    pub highest_waiting: Option<i32>,
    /// For how long nothing was heard that the view could show, in milliseconds.
    pub view_age_ms: u64,
}

impl Admitter<'_> {
    /// Returns whether the request may go where the decision sends it. `pool` tells the saturation of the pool. It is called
    /// only if the endpoint is full, others wait or the view is out of date, or for a detector of the Go EPP.
    pub fn admit(
        &self,
        inputs: &DecisionInputs<'_>,
        decision: &Decision,
        pool: impl Fn() -> f64,
    ) -> Admission {
        let DecisionInputs { view, request, .. } = *inputs;
        let saturation = match (decision, self.settings.detector) {
            // One request decides whether the endpoint is used again.
            (Decision::Picked { position, .. }, _) if inputs.is_probe(*position) => return Admission::Go,
            // The request waits here only if it would wait at the endpoint anyway, or leave no room for the next one. A view that
            // is out of date does not show that: then only the saturation of the pool counts, by this replica's requests.
            (Decision::Picked { position, terms }, Detector::Wait { hold_ms })
                if !is_outdated(self.view_age_ms) =>
            {
                let hold_us = hold_ms.saturating_mul(1_000).max(1);
                let fill = endpoint_use_at(view, inputs.local, *position).fill(hold_ms);
                (terms.wait_us as f64 / hold_us as f64).max(fill)
            }
            (Decision::NoEndpoint, _) if self.mode == FlowMode::On && is_empty(view) => {
                return Admission::Wait { tokens: cost_tokens(request, decision) };
            }
            (Decision::NoEndpoint, _) | (Decision::Filtered, Detector::Wait { .. }) => return Admission::Go,
            (Decision::Picked { .. } | Decision::Filtered, _) => pool(),
        };
        let bands = (request.priority, self.highest_waiting);
        match verdict(self.mode, self.settings, bands, saturation, pool) {
            Verdict::Go => Admission::Go,
            Verdict::Wait => Admission::Wait { tokens: cost_tokens(request, decision) },
            Verdict::Shed => Admission::Shed,
        }
    }
}

/// Returns what a request costs: the tokens of its prompt that are not cached, and those of its expected output.
pub fn cost_tokens(request: &Request, decision: &Decision) -> u64 {
    decision.uncached_tokens(request).saturating_add(request.expected_output_tokens())
}

/// Returns the flow of a request.
pub(crate) fn flow_of(request: &Request) -> FlowKey {
    FlowKey::new(request.priority, request.flow.as_deref().unwrap_or(DEFAULT_FLOW))
}
