//! Records decisions: the latest ones in memory, and a span of each sampled one.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_schedule::{Decision, Policy, Recording, Waited};
use signalbox_state::{LocalState, PrefixMatches, View};
use signalbox_telemetry::ActiveSpan;
use signalbox_types::Request;

use super::decision_spans::DecisionTracer;
use super::recording_ring::RecordingRing;

/// Records decisions: the latest ones in a ring, and a span of each sampled one.
#[derive(Debug)]
pub(crate) struct DecisionRecorder {
    ring: RecordingRing,
    tracer: Option<Arc<DecisionTracer>>,
}

/// What a recording says about a request's origin.
#[derive(Debug, Default)]
pub(crate) struct RequestContext<'a> {
    pub(crate) request_id: Option<&'a str>,
    /// Span of the decision, if it is sampled.
    pub(crate) span: Option<ActiveSpan>,
    /// How the request waited, if it did. Then it does not wait again.
    pub(crate) waited: Option<Waited>,
}

/// A decision and everything it read, to be recorded.
#[derive(Debug)]
pub(crate) struct DecisionRecord<'a> {
    pub(crate) view: &'a Arc<View>,
    pub(crate) view_age_ms: u64,
    pub(crate) local: LocalState,
    pub(crate) matches: PrefixMatches,
    pub(crate) request: Request,
    pub(crate) policy: &'a Arc<Policy>,
    pub(crate) seed: u64,
    pub(crate) decision: Decision,
}

impl DecisionRecorder {
    /// Returns a recorder that keeps the latest `capacity` decisions and sends spans of sampled ones to
    /// `tracer`.
    pub(crate) fn new(capacity: usize, tracer: Option<Arc<DecisionTracer>>) -> Self {
        Self { ring: RecordingRing::new(capacity), tracer }
    }

    /// Starts the span of the decision for the request whose headers are in `message`, if it is sampled.
    pub(crate) fn start_span(&self, message: &ProcessingRequest) -> Option<ActiveSpan> {
        self.tracer.as_ref()?.start_span(message)
    }

    /// Returns the latest decisions.
    pub(crate) fn ring(&self) -> &RecordingRing {
        &self.ring
    }

    /// Records a decision if the ring has room for any or its span is sampled. Copies nothing but the request
    /// id.
    pub(crate) fn record(&self, context: RequestContext<'_>, record: DecisionRecord<'_>) {
        if self.ring.capacity() == 0 && context.span.is_none() {
            return;
        }
        let now = SystemTime::now();
        let recording = Arc::new(Recording {
            format_version: Recording::FORMAT,
            number: self.ring.take_number(),
            at_unix_ms: now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            request_id: context.request_id.map(str::to_owned),
            view_age_ms: record.view_age_ms,
            view: Arc::clone(record.view),
            local: record.local,
            matches: record.matches,
            request: record.request,
            policy: Arc::clone(record.policy),
            seed: record.seed,
            decision: record.decision,
            waited: context.waited,
        });
        if let (Some(tracer), Some(span)) = (&self.tracer, context.span) {
            tracer.end_span(span, now, Arc::clone(&recording));
        }
        self.ring.push(recording);
    }
}
