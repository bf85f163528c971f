//! The request path: picks an endpoint for a request and books the request there. It only reads and writes
//! memory.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use signalbox_admission::{Admission, cost_tokens};
use signalbox_extproc::{Destination, Refusal};
use signalbox_intake::{Api, Delivery, ParsedRequest};
use signalbox_schedule::{
    Booked, CostTerms, Decision, ExplainedRequest, OwnState, Pick, PickInputs, SEEDS, ScoredEndpoint,
    explain, place,
};
use signalbox_state::{Circuit, EndpointState, PlacedPrompt, ScrapeStatus, UsageReport};
use signalbox_telemetry::{CaughtPanic, catch_panic};
use signalbox_types::{ModelKey, Request, Subset};

use super::admission::{HeldRequest, NotPicked};
use super::decision_snapshot::DecisionSnapshot;
use super::picker::Picker;
use super::recorder::{DecisionRecord, RequestContext};
use crate::bookings::booked_prompt::BookedPrompt;
use crate::bookings::booked_request::{BookedRequest, SeenResponse};
use crate::config::EndpointScores;

/// Expected duration of a request that was placed without a decision.
const FALLBACK_DURATION: Duration = Duration::from_secs(10);

/// The endpoint that was picked for a request, and the request's booking there.
#[derive(Debug)]
pub(crate) struct PickedEndpoint {
    pub(crate) destination: Destination,
    pub(crate) booked: BookedRequest,
    /// Uncached prompt tokens and expected output tokens; 0 for an endpoint that was picked without a decision.
    pub(crate) tokens: u64,
}

impl Picker {
    /// Picks like [`Self::pick`]. If that panics, picks any endpoint that the gateway allows rather than
    /// none.
    ///
    /// # Errors
    /// Those of [`Self::pick`].
    pub(crate) fn pick_or_fall_back(
        &self,
        parsed: ParsedRequest,
        context: RequestContext<'_>,
    ) -> Result<PickedEndpoint, NotPicked> {
        let (subset, request_id) = (parsed.request.subset.clone(), context.request_id);
        self.or_fall_back(subset.as_ref(), request_id, || self.pick(parsed, context))
    }

    fn or_fall_back(
        &self,
        subset: Option<&Subset>,
        request_id: Option<&str>,
        pick: impl FnOnce() -> Result<PickedEndpoint, NotPicked>,
    ) -> Result<PickedEndpoint, NotPicked> {
        self.guard(request_id, pick)
            .or_else(|| self.guard(request_id, || self.fall_back(subset).map_err(NotPicked::Refused)))
            .unwrap_or(Err(NotPicked::Refused(Refusal::NoEndpoint)))
    }

    /// Returns the result of `run`; `None` if it panics, which is counted and logged.
    pub(crate) fn guard<T>(&self, request_id: Option<&str>, run: impl FnOnce() -> T) -> Option<T> {
        catch_panic(run).inspect_err(|panic| self.record_panic(panic, request_id)).ok()
    }

    /// Counts and logs a caught panic.
    pub(crate) fn record_panic(&self, panic: &CaughtPanic, request_id: Option<&str>) {
        self.metrics.caught_panics.inc();
        tracing::error!(request_id, %panic, "caught a panic while handling a request");
    }

    /// Picks a random endpoint that is not draining, among the healthy ones if there are any.
    fn fall_back(&self, subset: Option<&Subset>) -> Result<PickedEndpoint, Refusal> {
        let snapshot = self.snapshot.load();
        let endpoints = snapshot.view.endpoints.iter().enumerate();
        let allowed: Vec<_> = endpoints
            .filter(|(_, member)| !member.spec.is_draining)
            .filter(|(_, member)| subset.is_none_or(|subset| subset.allows(member.spec.address)))
            .collect();
        let healthy: Vec<_> = allowed.iter().filter(|(_, member)| is_healthy(member)).copied().collect();
        let candidates = if healthy.is_empty() { &allowed } else { &healthy };
        let (position, member) = candidates.choose(&mut rand::rng()).ok_or(Refusal::NoEndpoint)?;
        let booked = BookedRequest {
            booking: self.bookings.reserve(member.key, 0),
            endpoint: member.key,
            is_sole_prefill: false,
            usage: UsageReport::new(member.key, member.observed.incarnation, ModelKey::default()),
            prompt: BookedPrompt::default(),
            delivery: Delivery::Whole,
            booked_at: Instant::now(),
            response: SeenResponse::default(),
            expected_prefill: Duration::ZERO,
            expected_duration: FALLBACK_DURATION,
        };
        Ok(PickedEndpoint { destination: self.destination(&snapshot, *position), booked, tokens: 0 })
    }

    /// Picks an endpoint for a request and books the request there.
    ///
    /// # Errors
    /// [`NotPicked::Waits`] if the request has to wait first, unless it has waited already. [`Refusal::NoEndpoint`] if the
    /// pool has no endpoint that takes requests and that the gateway allows, [`Refusal::Saturated`] if filters remove all
    /// of them.
    pub(crate) fn pick(
        &self,
        mut parsed: ParsedRequest,
        context: RequestContext<'_>,
    ) -> Result<PickedEndpoint, NotPicked> {
        let snapshot = self.snapshot.load();
        let pick = self.pick_now(&snapshot);
        let (found, allowed) = self.find_stored_response(&snapshot.view, &parsed);
        if context.waited.is_none() {
            self.count_stored_response_request(found);
        }
        let subset = std::mem::replace(&mut parsed.request.subset, allowed);
        let request = std::mem::take(&mut parsed.request);
        let mut inputs = pick.look_up(request, &parsed.chain, self.peer_load());
        let seed = rand::random_range(SEEDS);
        let mut rng = SmallRng::seed_from_u64(seed);
        let (decision, ranked) = pick.choose(&mut inputs, self.ranked_others(), &mut rng, &mut &*self);
        if context.waited.is_none() {
            match self.admission(&inputs.of_decision(&snapshot.view), &decision) {
                Admission::Go => {}
                Admission::Shed => return Err(NotPicked::Refused(Refusal::Shed)),
                Admission::Wait { tokens } => {
                    // By the time that it goes, the endpoint that keeps its earlier response may be gone.
                    parsed.request = Request { subset, ..inputs.request };
                    return Err(NotPicked::Waits(HeldRequest::new(parsed, context.span, tokens)));
                }
            }
        }
        let ParsedRequest { api, chain, delivery, .. } = parsed;
        let picked = match decision {
            Decision::NoEndpoint => {
                self.metrics.requests_without_endpoint.inc();
                Err(NotPicked::Refused(Refusal::NoEndpoint))
            }
            Decision::Filtered => Err(NotPicked::Refused(Refusal::Saturated)),
            Decision::Picked { position, terms } => {
                self.metrics.count_decision(&inputs.request, &terms);
                let tokens = cost_tokens(&inputs.request, &decision);
                let booked = pick.book(&inputs, (position, &terms), chain, &mut &*self);
                let block_bytes = snapshot.view.format.block_bytes;
                let booked = booked_request(booked, (&inputs.request, api, delivery), &terms, block_bytes);
                let destination = self.destination(&snapshot, position);
                let destination = self.add_fallbacks_and_scores(&snapshot, &ranked, destination);
                Ok(PickedEndpoint { destination, booked, tokens })
            }
        };
        let (view, view_age_ms) = (&snapshot.recorded, self.view_age_ms());
        let policy = &self.policy;
        let PickInputs { request, local, matches, known_blocks: _ } = inputs;
        let record = DecisionRecord { view, view_age_ms, local, matches, request, policy, seed, decision };
        self.recorder.record(context, record);
        picked
    }

    /// Returns how many endpoints of the chosen tier the answer names after the picked one.
    fn ranked_others(&self) -> usize {
        match self.scores {
            EndpointScores::Hidden => self.fallback_endpoints,
            EndpointScores::Emitted => usize::MAX,
        }
    }

    /// Explains what [`Self::pick`] would decide now on a request whose body has so many bytes. Books nothing.
    pub(crate) fn explain(&self, parsed: &ParsedRequest, bytes: u64) -> ExplainedRequest {
        let snapshot = self.snapshot.load();
        let pick = self.pick_now(&snapshot);
        let (_, subset) = self.find_stored_response(&snapshot.view, parsed);
        let request = Request { subset, ..parsed.request.clone() };
        let inputs = pick.look_up(request, &parsed.chain, self.peer_load());
        let inputs = inputs.of_decision(&snapshot.view);
        let (view_age_ms, seed) = (self.view_age_ms(), rand::random_range(SEEDS));
        let (decision, explanation) = explain(&inputs, &self.policy, (view_age_ms, seed));
        let admission = self.expected_admission(&inputs, &decision, bytes);
        ExplainedRequest { admission, explanation: Some(explanation) }
    }

    /// Returns a pick that reads what this replica knows now.
    fn pick_now<'a>(&'a self, snapshot: &'a DecisionSnapshot) -> Pick<'a> {
        let own = OwnState {
            origin: self.origin(),
            bookings: &self.bookings,
            overlay: &self.overlay,
            adapter_sends: &self.adapter_sends,
            probes: &self.probes,
        };
        Pick { view: &snapshot.view, policy: &self.policy, own, now_ms: self.now_ms() }
    }

    fn destination(&self, snapshot: &DecisionSnapshot, position: usize) -> Destination {
        let destination = snapshot.destination(position);
        let Some(header) = self.policy.session_header() else { return destination };
        destination.with_session_tokens(header, snapshot.session_tokens())
    }

    /// Adds fallback endpoints and scores to a destination, as configured. `ranked` begins with the chosen
    /// endpoint.
    fn add_fallbacks_and_scores(
        &self,
        snapshot: &DecisionSnapshot,
        ranked: &[ScoredEndpoint],
        destination: Destination,
    ) -> Destination {
        let address = |endpoint: &ScoredEndpoint| snapshot.view.endpoints[endpoint.position].spec.address;
        let destination = match self.fallback_endpoints {
            0 => destination,
            count => {
                let next: Vec<_> = ranked.iter().skip(1).take(count).map(address).collect();
                destination.with_fallbacks(&next)
            }
        };
        match self.scores {
            EndpointScores::Emitted => {
                destination.with_scores(ranked.iter().map(|scored| (address(scored), scored.score)).collect())
            }
            EndpointScores::Hidden => destination,
        }
    }

    /// Applies a placement to the overlay and queues it for the uplink.
    pub(crate) fn place(&self, placed: PlacedPrompt) {
        place(&self.overlay, placed, &mut &*self);
    }
}

/// Returns what the stream of a request keeps of its booking.
fn booked_request(
    booked: Booked,
    (request, api, delivery): (&Request, Api, Delivery),
    terms: &CostTerms,
    block_bytes: u32,
) -> BookedRequest {
    let Booked { booking, is_sole_prefill, usage, chain, is_placed } = booked;
    BookedRequest {
        booking,
        endpoint: usage.endpoint,
        is_sole_prefill,
        usage,
        prompt: BookedPrompt { api, weight: BookedPrompt::weight_of(request), chain, block_bytes, is_placed },
        delivery,
        booked_at: Instant::now(),
        response: SeenResponse::default(),
        expected_prefill: Duration::from_micros(terms.prefill_done_us()),
        expected_duration: Duration::from_micros(terms.expected_duration_us()),
    }
}

/// Returns whether an endpoint has fresh values, is awake and serves requests.
fn is_healthy(endpoint: &EndpointState) -> bool {
    let observed = &endpoint.observed;
    observed.scrape_status == ScrapeStatus::Fresh
        && !observed.is_asleep
        && endpoint.assessment.circuit == Circuit::Closed
}

#[cfg(test)]
mod tests;
