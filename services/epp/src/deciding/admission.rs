//! Whether a request goes at once, waits for a place, or is refused; and the place of one that waits.

use std::collections::BTreeMap;

use signalbox_admission::{Admission, Arrival, Behind, OwnerNews, ahead_elsewhere, bands_elsewhere};
use signalbox_extproc::Refusal;
use signalbox_flow::{DropReason, Usage};
use signalbox_intake::ParsedRequest;
use signalbox_schedule::{Decision, DecisionInputs, ExpectedAdmission};
use signalbox_telemetry::ActiveSpan;
use signalbox_types::Request;

use super::picker::Picker;
use crate::flow_control::Place;

/// Why no endpoint was picked.
#[derive(Debug)]
pub(crate) enum NotPicked {
    /// The request is refused.
    Refused(Refusal),
    /// It has to wait.
    Waits(Box<HeldRequest>),
}

/// Returns how a request would be refused.
pub(crate) fn expected_refusal(refusal: &Refusal) -> ExpectedAdmission {
    ExpectedAdmission::Refused {
        status: refusal.status(),
        reason: refusal.dropped_reason().map(str::to_owned),
        message: refusal.to_string(),
    }
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
    /// Returns whether the request, which has just arrived, may go where the decision sends it, and counts it. It never
    /// locks. It allocates only to compute the saturation of the pool, at most every few milliseconds: if the endpoint is
    /// full, others wait or the view is out of date, or for a detector of the Go EPP.
    pub(super) fn admission(&self, inputs: &DecisionInputs<'_>, decision: &Decision) -> Admission {
        let (admission, request) = (self.assess(inputs, decision), inputs.request);
        self.arrivals.record(decision.uncached_tokens(request), request.expected_output_tokens());
        if admission.refuses(decision) {
            self.arrivals.record_refusal();
        }
        admission
    }

    /// Returns whether a request may go where the decision sends it.
    fn assess(&self, inputs: &DecisionInputs<'_>, decision: &Decision) -> Admission {
        let admitter = self.gate.admitter((self.owner_silence_ms(), self.view_age_ms()));
        admitter.admit(inputs, decision, || self.pool_saturation(inputs.view))
    }

    /// Lets a request wait whose body has so many bytes.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(crate) fn wait(&self, held: &HeldRequest, bytes: u64) -> Result<Place, DropReason> {
        self.gate.enqueue(self.now_ms(), self.arrival(&held.parsed.request, held.tokens, bytes))
    }

    /// Returns what would happen to a request whose body has so many bytes, if it arrived now. It is not counted as one
    /// that did.
    pub(super) fn expected_admission(
        &self,
        inputs: &DecisionInputs<'_>,
        decision: &Decision,
        bytes: u64,
    ) -> ExpectedAdmission {
        let priority = inputs.request.priority;
        match (self.assess(inputs, decision), decision) {
            (Admission::Go, Decision::Picked { .. }) => ExpectedAdmission::Goes,
            (Admission::Go, Decision::NoEndpoint) => expected_refusal(&Refusal::NoEndpoint),
            (Admission::Go, Decision::Filtered) => expected_refusal(&Refusal::Saturated),
            (Admission::Shed, _) => expected_refusal(&Refusal::Shed),
            (Admission::Wait { tokens }, _) => {
                match self.gate.expect(&self.arrival(inputs.request, tokens, bytes)) {
                    Ok(Behind { priority: behind_priority, requests: behind_requests }) => {
                        let ahead = self.waiting_bands().into_iter().filter(|(of, _)| *of >= priority);
                        let ahead_requests = ahead.map(|(_, usage)| usage.requests).sum();
                        ExpectedAdmission::Waits { behind_priority, behind_requests, ahead_requests }
                    }
                    Err(reason) => expected_refusal(&self.refusal(reason, priority)),
                }
            }
        }
    }

    /// Returns a request that has to wait, as the gate sees it.
    fn arrival(&self, request: &Request, tokens: u64, bytes: u64) -> Arrival {
        self.seen(&self.snapshot.load().view).arrival(request, tokens, bytes)
    }

    /// Returns what waits of each priority, highest first: at this replica, and at others as the view shows it.
    pub(crate) fn waiting_bands(&self) -> Vec<(i32, Usage)> {
        let view = &self.snapshot.load().view;
        let elsewhere = bands_elsewhere(view, self.origin());
        let mut bands: BTreeMap<i32, Usage> = elsewhere.collect();
        for (flow, backlog) in self.gate.backlogs(self.now_ms()) {
            *bands.entry(flow.priority).or_default() += backlog.usage;
        }
        bands.into_iter().rev().collect()
    }

    /// Lets the requests go to which the latest view grants a place.
    pub(crate) fn apply_owner_news(&self) {
        let view = &self.snapshot.load().view;
        self.gate.apply(self.now_ms(), &OwnerNews::of(view, self.origin()));
    }

    /// Returns the refusal of a request of `priority` that cannot wait any longer, or is revoked, and counts it.
    pub(crate) fn refuse_for(&self, reason: DropReason, priority: i32) -> Refusal {
        if matches!(
            reason,
            DropReason::Saturated | DropReason::NoEndpoints | DropReason::Expired | DropReason::Revoked
        ) {
            self.arrivals.record_refusal();
        }
        self.refusal(reason, priority)
    }

    fn refusal(&self, reason: DropReason, priority: i32) -> Refusal {
        let view = &self.snapshot.load().view;
        let ahead = ahead_elsewhere(view, self.origin(), priority);
        Refusal::Dropped { reason, retry_after_s: self.gate.retry_after_s(priority, ahead) }
    }
}
