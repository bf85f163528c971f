//! The request path: picks an endpoint for a request and books the request there. It only reads and writes
//! memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use signalbox_extproc::{Destination, Refusal, ResponseHeader};
use signalbox_intake::{Delivery, ParsedRequest};
use signalbox_schedule::{
    Candidate, CostTerms, Decision, DecisionInputs, Explanation, SEEDS, decide, explain, session_token,
};
use signalbox_state::{LocalState, PlacedPrompt, PrefixMatches, ScrapeStatus};
use signalbox_telemetry::{CaughtPanic, catch_panic};
use signalbox_types::{BlockHash, Request, Subset};

use super::decision_snapshot::DecisionSnapshot;
use super::picker::{FeedbackEvent, Picker};
use super::recorder::{DecisionRecord, RequestContext};
use crate::bookings::booked_request::BookedRequest;
use crate::config::EndpointScores;

/// Expected duration of a request that was placed without a decision.
const FALLBACK_DURATION: Duration = Duration::from_secs(10);

/// The endpoint that was picked for a request, and the request's booking there.
#[derive(Debug)]
pub(crate) struct PickedEndpoint {
    pub(crate) destination: Destination,
    pub(crate) booked: BookedRequest,
}

/// What is looked up once per request.
struct RequestLookup {
    local: LocalState,
    matches: PrefixMatches,
    /// Number of leading blocks of the prompt that the pool knows.
    known_blocks: usize,
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
    ) -> Result<PickedEndpoint, Refusal> {
        let (subset, request_id) = (parsed.request.subset.clone(), context.request_id);
        self.or_fall_back(subset.as_ref(), request_id, || self.pick(parsed, context))
    }

    fn or_fall_back(
        &self,
        subset: Option<&Subset>,
        request_id: Option<&str>,
        pick: impl FnOnce() -> Result<PickedEndpoint, Refusal>,
    ) -> Result<PickedEndpoint, Refusal> {
        let record = |panic| self.record_panic(&panic, request_id);
        catch_panic(pick)
            .or_else(|panic| {
                record(panic);
                catch_panic(|| self.fall_back(subset)).map_err(record)
            })
            .unwrap_or(Err(Refusal::NoEndpoint))
    }

    /// Counts and logs a caught panic.
    pub(crate) fn record_panic(&self, panic: &CaughtPanic, request_id: Option<&str>) {
        self.metrics.caught_panics.inc();
        tracing::error!(request_id, %panic, "caught a panic while handling a request");
    }

    /// Picks a random endpoint, among those with fresh values if there are any.
    fn fall_back(&self, subset: Option<&Subset>) -> Result<PickedEndpoint, Refusal> {
        let snapshot = self.snapshot.load();
        let endpoints = snapshot.view.endpoints.iter().enumerate();
        let allowed: Vec<_> = endpoints
            .filter(|(_, member)| subset.is_none_or(|subset| subset.allows(member.spec.address)))
            .collect();
        let fresh: Vec<_> = allowed
            .iter()
            .filter(|(_, member)| member.observed.scrape_status == ScrapeStatus::Fresh)
            .copied()
            .collect();
        let candidates = if fresh.is_empty() { &allowed } else { &fresh };
        let (position, member) = candidates.choose(&mut rand::rng()).ok_or(Refusal::NoEndpoint)?;
        let booked = BookedRequest {
            booking: self.bookings.reserve(member.key, 0),
            endpoint: member.key,
            sole_prefill_tokens: None,
            delivery: Delivery::Whole,
            booked_at: Instant::now(),
            is_outcome_reported: false,
            expected_prefill: Duration::ZERO,
            expected_duration: FALLBACK_DURATION,
        };
        Ok(PickedEndpoint { destination: self.destination(&snapshot, *position), booked })
    }

    /// Picks an endpoint for a request and books the request there.
    ///
    /// # Errors
    /// [`Refusal::NoEndpoint`] if the pool has no endpoint that the gateway allows, [`Refusal::Saturated`] if
    /// filters remove all of them.
    pub(crate) fn pick(
        &self,
        parsed: ParsedRequest,
        context: RequestContext<'_>,
    ) -> Result<PickedEndpoint, Refusal> {
        let snapshot = self.snapshot.load();
        let RequestLookup { local, matches, known_blocks } = self.look_up(&snapshot, &parsed);
        let ParsedRequest { request, chain, delivery, .. } = parsed;
        let seed = rand::random_range(SEEDS);
        let inputs =
            DecisionInputs { view: &snapshot.view, local: &local, matches: &matches, request: &request };
        let decision = decide(&inputs, &self.policy, &mut SmallRng::seed_from_u64(seed));
        let picked = match decision {
            Decision::NoEndpoint => {
                self.metrics.requests_without_endpoint.inc();
                Err(Refusal::NoEndpoint)
            }
            Decision::Filtered => Err(Refusal::Saturated),
            Decision::Picked { position, terms } => {
                self.metrics.count_decision(&request, &terms);
                let held_blocks = matches.blocks[position];
                let prompt = (chain, known_blocks, held_blocks);
                let mut picked = self.book(&snapshot, position, (&request, delivery), &terms, prompt);
                picked.destination = self.add_fallbacks_and_scores(&inputs, seed, picked.destination);
                Ok(picked)
            }
        };
        let (view, view_age_ms) = (&snapshot.recorded, snapshot.view.age_ms(self.now_ms()));
        let policy = &self.policy;
        let record = DecisionRecord { view, view_age_ms, local, matches, request, policy, seed, decision };
        self.recorder.record(context, record);
        picked
    }

    /// Explains what [`Self::pick`] would decide now. Books nothing.
    pub(crate) fn explain(&self, parsed: &ParsedRequest) -> Explanation {
        let snapshot = self.snapshot.load();
        let RequestLookup { local, matches, known_blocks: _ } = self.look_up(&snapshot, parsed);
        let inputs = DecisionInputs {
            view: &snapshot.view,
            local: &local,
            matches: &matches,
            request: &parsed.request,
        };
        explain(&inputs, &self.policy, (self.now_ms(), rand::random_range(SEEDS)))
    }

    fn look_up(&self, snapshot: &DecisionSnapshot, parsed: &ParsedRequest) -> RequestLookup {
        let view = &snapshot.view;
        let (matches, known_blocks) = view.look_up(&parsed.chain, &self.overlay);
        let mut local = view.local_state(self.origin(), self.peer_load(view), self.now_ms());
        if let Some(adapter) = view.adapter(&parsed.request.model) {
            local.adapter_sent_to = self.adapter_sends.endpoints_for(self.now_ms(), adapter);
        }
        RequestLookup { local, matches, known_blocks }
    }

    fn book(
        &self,
        snapshot: &DecisionSnapshot,
        position: usize,
        (request, delivery): (&Request, Delivery),
        terms: &CostTerms,
        (chain, known, held): (Vec<BlockHash>, usize, usize),
    ) -> PickedEndpoint {
        let member = &snapshot.view.endpoints[position];
        let uncached_tokens = request.prompt_tokens - terms.cached_tokens;
        let booking = self.bookings.reserve(member.key, uncached_tokens);
        if terms.prefills == 0 {
            booking.record_prefill_start(self.now_ms());
        }
        if !chain.is_empty() && snapshot.view.format.is_supported() {
            let chain: Arc<[BlockHash]> = chain.into();
            let incarnation = member.observed.incarnation;
            self.place(PlacedPrompt { endpoint: member.key, incarnation, chain, known, held });
        }
        if let Some(adapter) = snapshot.view.adapter(&request.model) {
            self.adapter_sends.record(self.now_ms(), adapter, member.key);
            self.report(FeedbackEvent::AdapterUsed(member.key, Arc::clone(adapter)));
        }
        let booked = BookedRequest {
            booking,
            endpoint: member.key,
            sole_prefill_tokens: (terms.prefills == 0).then_some(uncached_tokens),
            delivery,
            booked_at: Instant::now(),
            is_outcome_reported: false,
            expected_prefill: Duration::from_micros(terms.prefill_done_us()),
            expected_duration: Duration::from_micros(terms.expected_duration_us()),
        };
        PickedEndpoint { destination: self.destination(snapshot, position), booked }
    }

    fn destination(&self, snapshot: &DecisionSnapshot, position: usize) -> Destination {
        let destination = snapshot.destination(position);
        let Some(header) = self.policy.session_header() else { return destination };
        let value = session_token(&snapshot.view.endpoints[position].spec.name);
        destination.with_response_header(ResponseHeader { name: header.to_owned(), value })
    }

    /// Adds fallback endpoints and the candidates' scores to a destination, as configured.
    fn add_fallbacks_and_scores(
        &self,
        inputs: &DecisionInputs<'_>,
        seed: u64,
        destination: Destination,
    ) -> Destination {
        if self.fallback_endpoints == 0 && self.scores == EndpointScores::Hidden {
            return destination;
        }
        let candidates = explain(inputs, &self.policy, (self.now_ms(), seed)).candidates;
        let usable = candidates.iter().filter(|candidate| candidate.removed_by.is_none());
        let scored: Vec<(SocketAddr, f64)> = usable
            .filter_map(|candidate| Some((candidate.address.parse().ok()?, score(candidate))))
            .collect();
        let next = scored.iter().map(|(address, _)| *address).skip(1).take(self.fallback_endpoints);
        let destination = destination.with_fallbacks(&next.collect::<Vec<_>>());
        match self.scores {
            EndpointScores::Emitted => destination.with_scores(scored),
            EndpointScores::Hidden => destination,
        }
    }

    /// Applies a placement to the overlay and queues it for the uplink. If the queue is full, the placement
    /// is dropped: a missed placement costs a cache hit, whereas a missed booking would unbalance the
    /// endpoints.
    fn place(&self, placed: PlacedPrompt) {
        self.overlay.place(&placed);
        if let Err(full) = self.placements.try_send(placed) {
            let placed = full.into_inner();
            self.overlay.remove(&placed);
            self.metrics.placements_dropped.inc();
        }
    }
}

/// Returns a candidate's score; higher is better. Under least time it is the negated cost in milliseconds.
fn score(candidate: &Candidate) -> f64 {
    candidate.total.unwrap_or(-(candidate.total_us as f64) / 1e3)
}

#[cfg(test)]
mod tests;
