//! The request path: picks an endpoint for a request and books the request there. It only reads and writes
//! memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use signalbox_extproc::{Destination, Refusal};
use signalbox_intake::{Api, Delivery, ParsedRequest};
use signalbox_schedule::{
    CostTerms, Decision, DecisionInputs, Explanation, SEEDS, ScoredEndpoint, decide, decide_and_rank, explain,
};
use signalbox_state::{
    Circuit, EndpointState, LocalState, PlacedPrompt, PrefixMatches, ResponseOutcome, ResponseReport,
    ScrapeStatus, UsageReport,
};
use signalbox_telemetry::{CaughtPanic, catch_panic};
use signalbox_types::{BlockHash, EndpointKey, ModelKey, Request, Subset};

use super::admission::{Admission, HeldRequest, NotPicked};
use super::decision_snapshot::DecisionSnapshot;
use super::picker::{FeedbackEvent, Picker};
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
        let record = |panic| self.record_panic(&panic, request_id);
        catch_panic(pick)
            .or_else(|panic| {
                record(panic);
                catch_panic(|| self.fall_back(subset).map_err(NotPicked::Refused)).map_err(record)
            })
            .unwrap_or(Err(NotPicked::Refused(Refusal::NoEndpoint)))
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
        Ok(PickedEndpoint { destination: self.destination(&snapshot, *position), booked })
    }

    /// Picks an endpoint for a request and books the request there.
    ///
    /// # Errors
    /// [`NotPicked::Waits`] if the request has to wait first, unless it has waited already. [`Refusal::NoEndpoint`] if the pool has no endpoint that takes requests and that the gateway allows, [`Refusal::Saturated`] if
    /// filters remove all of them.
    pub(crate) fn pick(
        &self,
        mut parsed: ParsedRequest,
        context: RequestContext<'_>,
    ) -> Result<PickedEndpoint, NotPicked> {
        let snapshot = self.snapshot.load();
        let RequestLookup { mut local, matches, known_blocks } = self.look_up(&snapshot, &parsed);
        snapshot.view.apply_token_ratio(&mut parsed.request);
        let seed = rand::random_range(SEEDS);
        let (decision, ranked) = loop {
            let request = &parsed.request;
            let inputs = DecisionInputs { view: &snapshot.view, local: &local, matches: &matches, request };
            let (decision, ranked) = self.decide(&inputs, seed);
            match self.probed_meanwhile(&inputs, &decision) {
                Some(endpoint) => local.probed.push(endpoint),
                None => break (decision, ranked),
            }
        };
        if context.waited.is_none() {
            let request = &parsed.request;
            let inputs = DecisionInputs { view: &snapshot.view, local: &local, matches: &matches, request };
            match self.admission(&inputs, &decision) {
                Admission::Go => {}
                Admission::Shed => return Err(NotPicked::Refused(Refusal::Shed)),
                Admission::Wait { tokens } => {
                    return Err(NotPicked::Waits(HeldRequest::new(parsed, context.span, tokens)));
                }
            }
        }
        let ParsedRequest { api, request, chain, delivery, .. } = parsed;
        let picked = match decision {
            Decision::NoEndpoint => {
                self.metrics.requests_without_endpoint.inc();
                Err(NotPicked::Refused(Refusal::NoEndpoint))
            }
            Decision::Filtered => Err(NotPicked::Refused(Refusal::Saturated)),
            Decision::Picked { position, terms } => {
                self.metrics.count_decision(&request, &terms);
                let held_blocks = matches.blocks[position];
                let prompt = (chain, known_blocks, held_blocks);
                let mut picked = self.book(&snapshot, position, (&request, api, delivery), &terms, prompt);
                picked.destination = self.add_fallbacks_and_scores(&snapshot, &ranked, picked.destination);
                Ok(picked)
            }
        };
        let (view, view_age_ms) = (&snapshot.recorded, self.view_age_ms());
        let policy = &self.policy;
        let record = DecisionRecord { view, view_age_ms, local, matches, request, policy, seed, decision };
        self.recorder.record(context, record);
        picked
    }

    /// Decides, and ranks as many of the chosen tier's endpoints as the answer will name.
    fn decide(&self, inputs: &DecisionInputs<'_>, seed: u64) -> (Decision, Vec<ScoredEndpoint>) {
        let rng = &mut SmallRng::seed_from_u64(seed);
        match (self.fallback_endpoints, self.scores) {
            (0, EndpointScores::Hidden) => (decide(inputs, &self.policy, rng), Vec::new()),
            (others, EndpointScores::Hidden) => decide_and_rank(inputs, &self.policy, rng, others),
            (_, EndpointScores::Emitted) => decide_and_rank(inputs, &self.policy, rng, usize::MAX),
        }
    }

    /// Explains what [`Self::pick`] would decide now. Books nothing.
    pub(crate) fn explain(&self, parsed: &ParsedRequest) -> Explanation {
        let snapshot = self.snapshot.load();
        let RequestLookup { local, matches, known_blocks: _ } = self.look_up(&snapshot, parsed);
        let mut request = parsed.request.clone();
        snapshot.view.apply_token_ratio(&mut request);
        let inputs =
            DecisionInputs { view: &snapshot.view, local: &local, matches: &matches, request: &request };
        explain(&inputs, &self.policy, (self.view_age_ms(), rand::random_range(SEEDS)))
    }

    fn look_up(&self, snapshot: &DecisionSnapshot, parsed: &ParsedRequest) -> RequestLookup {
        let view = &snapshot.view;
        let (matches, known_blocks) = view.look_up(&parsed.chain, &self.overlay);
        let mut local = view.local_state(self.origin(), self.peer_load(), self.now_ms());
        if let Some(adapter) = view.adapter(&parsed.request.model) {
            local.adapter_sent_to = self.adapter_sends.endpoints_for(self.now_ms(), adapter);
        }
        local.probed = self.probes.endpoints(self.now_ms());
        RequestLookup { local, matches, known_blocks }
    }

    fn book(
        &self,
        snapshot: &DecisionSnapshot,
        position: usize,
        (request, api, delivery): (&Request, Api, Delivery),
        terms: &CostTerms,
        (chain, known, held): (Vec<BlockHash>, usize, usize),
    ) -> PickedEndpoint {
        let member = &snapshot.view.endpoints[position];
        let uncached_tokens = request.prompt_tokens - terms.cached_tokens;
        // The booking comes first, because the owner must not see a placement of which it does not see the load. The
        // uplink is woken last, so that it sends both in one batch.
        let booking =
            self.bookings.reserve_unannounced(Arc::clone(snapshot.view.gauge(position)), uncached_tokens);
        if terms.prefills == 0 {
            booking.record_prefill_start(self.now_ms());
        }
        let usage = predicted_usage(member, request, terms, (&chain, held));
        let mut prompt = BookedPrompt {
            api,
            weight: BookedPrompt::weight_of(request),
            block_bytes: snapshot.view.format.block_bytes,
            ..BookedPrompt::default()
        };
        if !chain.is_empty() && snapshot.view.format.is_supported() {
            prompt.chain = chain.into();
            let (chain, incarnation) = (Arc::clone(&prompt.chain), member.observed.incarnation);
            prompt.is_placed =
                self.place(PlacedPrompt { endpoint: member.key, incarnation, chain, known, held });
        }
        if let Some(adapter) = snapshot.view.adapter(&request.model) {
            self.adapter_sends.record(self.now_ms(), adapter, member.key);
            self.report(FeedbackEvent::AdapterUsed(member.key, Arc::clone(adapter)));
        }
        let booked = BookedRequest {
            booking,
            endpoint: member.key,
            is_sole_prefill: terms.prefills == 0,
            usage,
            prompt,
            delivery,
            booked_at: Instant::now(),
            response: SeenResponse::default(),
            expected_prefill: Duration::from_micros(terms.prefill_done_us()),
            expected_duration: Duration::from_micros(terms.expected_duration_us()),
        };
        self.bookings.announce();
        PickedEndpoint { destination: self.destination(snapshot, position), booked }
    }

    /// Returns the picked endpoint if this request would probe it and another request does so since the decision began.
    /// Otherwise the request is the probe, if one is needed.
    fn probed_meanwhile(&self, inputs: &DecisionInputs<'_>, decision: &Decision) -> Option<EndpointKey> {
        let Decision::Picked { position, .. } = *decision else { return None };
        if !inputs.is_probe(position) {
            return None;
        }
        let endpoint = inputs.view.endpoints[position].key;
        if !self.probes.claim(self.now_ms(), endpoint) {
            return Some(endpoint);
        }
        let (model, outcome) = (ModelKey::of(&inputs.request.model), ResponseOutcome::ProbeSent);
        self.report(FeedbackEvent::Response(ResponseReport { endpoint, model, outcome }));
        None
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

    /// Applies a placement to the overlay and queues it for the uplink. If the queue is full, the placement
    /// is dropped: a missed placement costs a cache hit, whereas a missed booking would unbalance the
    /// endpoints. Returns whether it was queued.
    pub(crate) fn place(&self, placed: PlacedPrompt) -> bool {
        self.overlay.place(&placed);
        let Err(full) = self.placements.try_send(placed) else { return true };
        let placed = full.into_inner();
        self.overlay.remove(&placed);
        self.metrics.placements_dropped.inc();
        false
    }
}

/// Returns the usage that is expected of a request, with the leading blocks of its chain that the endpoint is
/// believed to hold.
fn predicted_usage(
    member: &EndpointState,
    request: &Request,
    terms: &CostTerms,
    (chain, held): (&[BlockHash], usize),
) -> UsageReport {
    UsageReport {
        text_bytes: request.prompt.text_bytes,
        token_ids: request.prompt.token_ids,
        media_tokens: request.prompt.media.iter().map(|medium| u64::from(medium.tokens)).sum(),
        predicted_tokens: request.prompt_tokens,
        predicted_cached_tokens: terms.cached_tokens,
        last_block: chain.last().copied().unwrap_or(BlockHash::ROOT),
        held_blocks: u32::try_from(held).unwrap_or(u32::MAX),
        ..UsageReport::new(member.key, member.observed.incarnation, ModelKey::of(&request.model))
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
