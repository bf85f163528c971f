//! What is kept of decisions, and told of them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_schedule::{Decision, Policy, Recording};
use signalbox_state::{LocalState, PrefixMatches, View};
use signalbox_telemetry::Begun;
use signalbox_types::Request;

use crate::ring::Ring;
use crate::trace::Tracing;

/// What is kept of decisions, and told of them: the latest in a ring, and a span of each that is sampled.
#[derive(Debug)]
pub(crate) struct Records {
    ring: Ring,
    tracing: Option<Tracing>,
}

/// Where a request comes from, as far as it matters to records.
#[derive(Debug, Default)]
pub(crate) struct Source<'a> {
    pub(crate) request_id: Option<&'a str>,
    /// The span of the decision, if it is wanted.
    pub(crate) begun: Option<Begun>,
}

/// A decision, and what it read and does not need any more.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    pub(crate) view: &'a Arc<View>,
    pub(crate) view_age_ms: u64,
    pub(crate) local: LocalState,
    pub(crate) matches: PrefixMatches,
    pub(crate) request: Request,
    pub(crate) policy: &'a Arc<Policy>,
    pub(crate) seed: u64,
    pub(crate) decision: Decision,
}

impl Records {
    /// Keeps so many decisions, and has `tracing` tell of those that are sampled.
    pub(crate) fn new(decisions: usize, tracing: Option<Tracing>) -> Self {
        Self { ring: Ring::new(decisions), tracing }
    }

    /// Begins the span of the decision about the request whose headers are in `message`, if it is wanted.
    pub(crate) fn begin(&self, message: &ProcessingRequest) -> Option<Begun> {
        self.tracing.as_ref()?.begin(message)
    }

    /// The latest decisions that are kept.
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Keeps a decision, where decisions are kept, and has it told, where it is sampled. Nothing is copied but the request's id.
    pub(crate) fn keep(&self, source: Source<'_>, made: Made<'_>) {
        if self.ring.capacity() == 0 && source.begun.is_none() {
            return;
        }
        let now = SystemTime::now();
        let recording = Arc::new(Recording {
            recording: Recording::FORMAT,
            number: self.ring.take_number(),
            at_unix_ms: now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            request_id: source.request_id.map(str::to_owned),
            view_age_ms: made.view_age_ms,
            view: Arc::clone(made.view),
            local: made.local,
            matches: made.matches,
            request: made.request,
            policy: Arc::clone(made.policy),
            seed: made.seed,
            decision: made.decision,
        });
        if let (Some(tracing), Some(begun)) = (&self.tracing, source.begun) {
            tracing.tell(begun, now, Arc::clone(&recording));
        }
        self.ring.keep(recording);
    }

    /// Has told what waits to be told, and nothing more.
    pub(crate) async fn stop(&self) {
        if let Some(tracing) = &self.tracing {
            tracing.stop().await;
        }
    }
}
