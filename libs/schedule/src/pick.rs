//! The path of one request through a replica: look up, choose, book. A replica and the simulations of one run the
//! same code, with their own ways to the owner behind [`FeedbackSink`].

mod booked;
mod feedback_sink;
mod own_state;

use std::sync::Arc;

use rand::Rng;
use signalbox_state::{
    EndpointState, LocalState, PeerLoad, PlacedPrompt, PrefixMatches, ResponseOutcome, ResponseReport, View,
};
use signalbox_types::{BlockHash, EndpointKey, ModelKey, Request};

use self::booked::predicted_usage;
use crate::decide::decide;
use crate::decision::{Decision, ScoredEndpoint};
use crate::decision_inputs::DecisionInputs;
use crate::least_time::CostTerms;
use crate::policy::Policy;
use crate::ranking::decide_and_rank;

pub use self::booked::Booked;
pub use self::feedback_sink::{BatchedFeedback, FeedbackSink};
pub use self::own_state::{OwnState, place};

/// One pick: what the replica knows of the pool, and of its own requests, at one time.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// View of the pool.
    pub view: &'a View,
    /// Policy of the replica.
    pub policy: &'a Policy,
    /// The replica's own requests.
    pub own: OwnState<'a>,
    /// Time of the pick, in milliseconds of the replica's clock.
    pub now_ms: u64,
}

/// What a pick reads of one request, gathered once.
#[derive(Clone, Debug)]
pub struct PickInputs {
    /// The request, with the tokens that its model makes of the prompt.
    pub request: Request,
    /// Load of each endpoint, and the replica's own state that is newer than the view.
    pub local: LocalState,
    /// How much of the prompt each endpoint holds.
    pub matches: PrefixMatches,
    /// Number of leading blocks of the prompt that the pool knows.
    pub known_blocks: usize,
}

impl PickInputs {
    /// Returns what a decision under `view` reads.
    pub fn of_decision<'a>(&'a self, view: &'a View) -> DecisionInputs<'a> {
        let Self { request, local, matches, known_blocks: _ } = self;
        DecisionInputs { view, local, matches, request }
    }
}

impl Pick<'_> {
    /// Gathers what the pick reads of a request with the blocks of `chain`.
    pub fn look_up(&self, mut request: Request, chain: &[BlockHash], peer_load: PeerLoad) -> PickInputs {
        let Self { view, own, now_ms, .. } = *self;
        let (matches, known_blocks) = view.look_up(chain, own.overlay);
        let mut local = view.local_state(own.origin, peer_load, now_ms);
        if let Some(adapter) = view.adapter(&request.model) {
            local.adapter_sent_to = own.adapter_sends.endpoints_for(now_ms, adapter);
        }
        local.probed = own.probes.endpoints(now_ms);
        view.apply_token_ratio(&mut request);
        PickInputs { request, local, matches, known_blocks }
    }

    /// Decides, and claims the probe if the request is one. When another request of the replica claims it first, decides
    /// again and records in `inputs` that the endpoint is probed. Every attempt starts with the same `rng`, so that a
    /// decision on the resulting inputs gives the same result.
    ///
    /// Returns the decision and the chosen endpoint with at most `others` more of its tier, the best first; none at all
    /// if `others` is 0.
    pub fn choose(
        &self,
        inputs: &mut PickInputs,
        others: usize,
        rng: &mut (impl Rng + Clone),
        feedback: &mut impl FeedbackSink,
    ) -> (Decision, Vec<ScoredEndpoint>) {
        loop {
            let (of_decision, mut attempt) = (inputs.of_decision(self.view), rng.clone());
            let (decision, ranked) = match others {
                0 => (decide(&of_decision, self.policy, &mut attempt), Vec::new()),
                _ => decide_and_rank(&of_decision, self.policy, &mut attempt, others),
            };
            match self.probed_meanwhile(&of_decision, &decision, feedback) {
                Some(endpoint) => inputs.local.probed.push(endpoint),
                None => {
                    *rng = attempt;
                    return (decision, ranked);
                }
            }
        }
    }

    /// Returns the picked endpoint if this request would probe it and another request does so since the pick began.
    /// Otherwise the request is the probe, if one is needed.
    fn probed_meanwhile(
        &self,
        inputs: &DecisionInputs<'_>,
        decision: &Decision,
        feedback: &mut impl FeedbackSink,
    ) -> Option<EndpointKey> {
        let Decision::Picked { position, .. } = *decision else { return None };
        if !inputs.is_probe(position) {
            return None;
        }
        let endpoint = self.view.endpoints[position].key;
        if !self.own.probes.claim(self.now_ms, endpoint) {
            return Some(endpoint);
        }
        let (model, outcome) = (ModelKey::of(&inputs.request.model), ResponseOutcome::ProbeSent);
        feedback.report_response(ResponseReport { endpoint, model, outcome });
        None
    }

    /// Books the request at the endpoint at `position`, which was picked on these terms.
    pub fn book(
        &self,
        inputs: &PickInputs,
        (position, terms): (usize, &CostTerms),
        chain: impl Into<Arc<[BlockHash]>> + AsRef<[BlockHash]>,
        feedback: &mut impl FeedbackSink,
    ) -> Booked {
        let Self { view, own, now_ms, .. } = *self;
        let (request, member) = (&inputs.request, &*view.endpoints[position]);
        let uncached_tokens = request.prompt_tokens - terms.cached_tokens;
        // The booking comes first, because the owner must not see a placement of which it does not see the load. It is
        // announced last, so that one batch has both.
        let booking = own.bookings.reserve_unannounced(Arc::clone(view.gauge(position)), uncached_tokens);
        let is_sole_prefill = terms.prefills == 0;
        if is_sole_prefill {
            booking.record_prefill_start(now_ms);
        }
        let usage =
            predicted_usage(member, request, terms, (chain.as_ref(), inputs.matches.blocks[position]));
        let (chain, is_placed) = self.place(member, (inputs, position), chain, feedback);
        if let Some(adapter) = view.adapter(&request.model) {
            own.adapter_sends.record(now_ms, adapter, member.key);
            feedback.report_adapter_use(member.key, adapter);
        }
        own.bookings.announce();
        Booked { booking, is_sole_prefill, usage, chain, is_placed }
    }

    /// Places the prompt at the endpoint at `position`. Returns its blocks, none if it cannot be placed, and whether the
    /// owner will learn of it.
    fn place(
        &self,
        member: &EndpointState,
        (inputs, position): (&PickInputs, usize),
        chain: impl Into<Arc<[BlockHash]>> + AsRef<[BlockHash]>,
        feedback: &mut impl FeedbackSink,
    ) -> (Arc<[BlockHash]>, bool) {
        if chain.as_ref().is_empty() || !self.view.format.is_supported() {
            return (Arc::default(), false);
        }
        let chain: Arc<[BlockHash]> = chain.into();
        let placed = PlacedPrompt {
            endpoint: member.key,
            incarnation: member.observed.incarnation,
            chain: Arc::clone(&chain),
            known: inputs.known_blocks,
            held: inputs.matches.blocks[position],
        };
        let is_placed = place(self.own.overlay, placed, feedback);
        (chain, is_placed)
    }
}
