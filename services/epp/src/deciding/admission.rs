//! Whether a request goes at once, waits for a place, or is refused; and the place of one that waits.

use std::collections::BTreeMap;

use signalbox_extproc::Refusal;
use signalbox_flow::{Detector, DropReason, FlowKey, Usage};
use signalbox_intake::ParsedRequest;
use signalbox_schedule::{Decision, DecisionInputs, LeastTime, Policy};
use signalbox_telemetry::ActiveSpan;
use signalbox_types::Request;

use super::flow_view;
use super::picker::Picker;
use crate::flow_control::{Arrival, OWNER_SILENCE_MS, Place, Verdict};

/// The fairness id of requests that name neither one nor an objective, as in the Go EPP.
const DEFAULT_FLOW: &str = "default-flow";

/// What happens to a request for which a decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
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

/// Why no endpoint was picked.
#[derive(Debug)]
pub(crate) enum NotPicked {
    /// The request is refused.
    Refused(Refusal),
    /// It has to wait.
    Waits(Box<HeldRequest>),
}

/// A request that has to wait before an endpoint is picked.
#[derive(Debug)]
pub(crate) struct HeldRequest {
    pub(crate) parsed: ParsedRequest,
    /// Span of the decision, if it is sampled.
    pub(crate) span: Option<ActiveSpan>,
    /// Uncached prompt tokens and expected output tokens.
    tokens: u64,
}

impl HeldRequest {
    pub(super) fn new(parsed: ParsedRequest, span: Option<ActiveSpan>, tokens: u64) -> Box<Self> {
        Box::new(Self { parsed, span, tokens })
    }
}

impl Picker {
    /// Returns whether the request may go where the decision sends it. It never locks. It allocates only to compute the
    /// saturation of the pool, at most every few milliseconds: if the endpoint is full or others wait, or for a detector of
    /// the Go EPP.
    pub(super) fn admission(&self, inputs: &DecisionInputs<'_>, decision: &Decision) -> Admission {
        let DecisionInputs { view, request, .. } = *inputs;
        let (saturation, cached_tokens) = match (decision, self.gate.detector()) {
            // One request decides whether the endpoint is used again.
            (Decision::Picked { position, .. }, _) if inputs.is_probe(*position) => return Admission::Go,
            // The request waits here only if it would wait at the endpoint anyway.
            (Decision::Picked { terms, .. }, Detector::Wait { hold_ms }) => {
                let hold_us = hold_ms.saturating_mul(1_000).max(1);
                (terms.wait_us as f64 / hold_us as f64, terms.cached_tokens)
            }
            (Decision::Picked { terms, .. }, _) => (self.pool_saturation(view), terms.cached_tokens),
            (Decision::NoEndpoint, _) if self.gate.is_waiting_room() && flow_view::is_empty(view) => {
                return Admission::Wait { tokens: self.tokens(request, 0) };
            }
            (Decision::NoEndpoint, _) | (Decision::Filtered, Detector::Wait { .. }) => return Admission::Go,
            (Decision::Filtered, _) => (self.pool_saturation(view), 0),
        };
        let pool = || self.pool_saturation(view);
        match self.gate.verdict(request.priority, self.owner_silence_ms(), saturation, pool) {
            Verdict::Go => Admission::Go,
            Verdict::Wait => Admission::Wait { tokens: self.tokens(request, cached_tokens) },
            Verdict::Shed => Admission::Shed,
        }
    }

    /// Lets a request wait whose body has so many bytes.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(crate) fn wait(&self, held: &HeldRequest, bytes: u64) -> Result<Place, DropReason> {
        let request = &held.parsed.request;
        let view = &self.snapshot.load().view;
        let owner_silence_ms = self.owner_silence_ms();
        // What an owner said that is silent now would use up the limits until an owner is heard again.
        let elsewhere = match owner_silence_ms < OWNER_SILENCE_MS {
            true => view.flows().waiting_elsewhere(self.origin(), request.priority),
            false => Default::default(),
        };
        let arrival = Arrival {
            flow: flow_of(request),
            tokens: held.tokens,
            bytes,
            ttft_goal_ms: request.ttft_goal_ms,
            elsewhere,
            owner_silence_ms,
        };
        self.gate.enqueue(self.now_ms(), arrival)
    }

    /// Returns what waits of each priority, highest first: at this replica, and at others as the view shows it.
    pub(crate) fn waiting_bands(&self) -> Vec<(i32, Usage)> {
        let view = &self.snapshot.load().view;
        let elsewhere = flow_view::bands_elsewhere(view, self.origin());
        let mut bands: BTreeMap<i32, Usage> = elsewhere.collect();
        for (flow, backlog) in self.gate.backlogs(self.now_ms()) {
            *bands.entry(flow.priority).or_default() += backlog.usage;
        }
        bands.into_iter().rev().collect()
    }

    /// Lets the requests go to which the latest view grants a place.
    pub(crate) fn apply_owner_news(&self) {
        let view = &self.snapshot.load().view;
        self.gate.apply(self.now_ms(), &flow_view::owner_news(view, self.origin()));
    }

    /// Returns the refusal of a request of `priority` that cannot wait any longer.
    pub(crate) fn refuse_waiting(&self, reason: DropReason, priority: i32) -> Refusal {
        let view = &self.snapshot.load().view;
        let ahead = flow_view::ahead_elsewhere(view, self.origin(), priority);
        Refusal::Dropped { reason, retry_after_s: self.gate.retry_after_s(priority, ahead) }
    }

    /// Returns what a request costs: the tokens of its prompt that are not cached, and those of its expected output.
    fn tokens(&self, request: &Request, cached_tokens: u64) -> u64 {
        let expected = match &*self.policy {
            Policy::LeastTime(settings) => settings.output_tokens,
            Policy::Weighted(_) => LeastTime::default().output_tokens,
        };
        let output_tokens = request.max_output_tokens.unwrap_or(expected).min(expected);
        request.prompt_tokens.saturating_sub(cached_tokens).saturating_add(output_tokens)
    }
}

/// Returns the flow of a request.
pub(crate) fn flow_of(request: &Request) -> FlowKey {
    FlowKey::new(request.priority, request.flow.as_deref().unwrap_or(DEFAULT_FLOW))
}
