//! One EPP replica: its view, its bookings and its feedback to the owner. It uses the same pure modules as
//! the EPP and calls them in the same order as the EPP's request path (`pick`), view task and uplink, which
//! themselves are tied to tasks and channels. Replicas of other contenders use the view for the metrics that
//! they scrape and the bookings for their requests in flight.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_modelsim::ModelConfig;
use signalbox_schedule::DecisionInputs;
use signalbox_state::{
    ApplyOutcome, Booking, Bookings, Feedback, FeedbackBatcher, FlowReport, Frame, FrameSource, GaugeScope,
    Overlay, PeerLoad, PlacedPrompt, PrefixMatches, ResponseOutcome, ResponseReport, StateReplica,
    UsageReport, View,
};
use signalbox_types::{BlockHash, Load, ModelKey, Origin, PromptSize, Request, Version};

use super::Prompt;
use super::pods::Pod;
use crate::policies::{Algorithm, Arriving, Choice, Chooser, PeerUpdate};

/// Minimum interval between two flushes of feedback.
const FLUSH_INTERVAL_US: u64 = 2_000;

/// Age at which a view's information about other replicas expires.
const ORIGIN_TTL_MS: u64 = 3_000;

/// The number of blocks by which an engine must hold more than was believed before the belief is checked.
const TOLERANCE_BLOCKS: u32 = 4;

/// One EPP replica.
pub(super) struct Replica {
    follower: StateReplica,
    view: View,
    view_confirmed_at_ms: u64,
    bookings: Bookings,
    overlay: Overlay,
    batcher: FeedbackBatcher,
    origin: Origin,
    flush_timer: FlushTimer,
    rng: SmallRng,
    chooser: Box<dyn Chooser>,
    is_signalbox: bool,
}

/// Limits the rate of flushes: the first one is immediate, the next one waits until the interval is over.
#[derive(Default)]
struct FlushTimer {
    is_scheduled: bool,
    ready_us: u64,
}

/// A request that was routed to an endpoint.
pub(super) struct RoutedRequest {
    pub(super) number: usize,
    pub(super) position: usize,
    /// Cached tokens that the decision predicted, if it predicted any number.
    pub(super) predicted_cached_tokens: Option<u32>,
    booking: Booking,
    /// Whether the endpoint had no other prompt to process.
    is_sole_prefill: bool,
    /// The request as it was decided on.
    request: Request,
    usage: UsageReport,
    at_us: u64,
}

impl Replica {
    pub(super) fn new(
        now_ms: u64,
        (origin, mut rng): (Origin, SmallRng),
        snapshot: Vec<Frame>,
        (algorithm, pods): (&Algorithm, &[ModelConfig]),
    ) -> Self {
        let mut replica = Self {
            follower: StateReplica::default(),
            view: View::default(),
            view_confirmed_at_ms: 0,
            bookings: Bookings::new(Arc::new(|| {})),
            overlay: Overlay::default(),
            batcher: FeedbackBatcher::default(),
            origin,
            flush_timer: FlushTimer::default(),
            chooser: algorithm.start(pods, rng.random::<u32>() as usize),
            is_signalbox: algorithm.is_signalbox(),
            rng: SmallRng::from_rng(&mut rng),
        };
        replica.apply_frames(now_ms, snapshot);
        replica
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Applies frames, as the EPP's view task does.
    pub(super) fn apply_frames(&mut self, now_ms: u64, frames: Vec<Frame>) {
        self.follower.record_time(now_ms);
        for frame in frames {
            let outcome = self.follower.apply(FrameSource::Aggregator(0), frame);
            assert!(!matches!(outcome, ApplyOutcome::Gap(_)), "frames in order leave no gap: {outcome:?}");
        }
        self.view = View::next(&self.view, &self.follower, &self.bookings);
        self.view_confirmed_at_ms = now_ms;
        let acknowledged = self.follower.pool_state().acknowledged(self.origin);
        self.batcher.acknowledge(acknowledged, &self.overlay);
    }

    /// Picks an endpoint for the prompt of a request and books the request there, as the EPP's request path does.
    pub(super) fn pick(
        &mut self,
        now_us: u64,
        (number, prompt): (usize, &Prompt),
        pods: &[Pod],
    ) -> RoutedRequest {
        let now_ms = now_us / 1_000;
        let (matches, known) = self.look_up(prompt);
        let is_current = now_ms.saturating_sub(self.view_confirmed_at_ms) < ORIGIN_TTL_MS;
        let others = if is_current { PeerLoad::Current } else { PeerLoad::Outdated };
        let local = self.view.local_state(self.origin, others, now_ms);
        let request = self.request(prompt);
        let inputs = DecisionInputs { view: &self.view, local: &local, matches: &matches, request: &request };
        let engine_blocks = |at: usize| pods[at].cached_blocks(prompt.engine_blocks());
        let arriving = Arriving { number, prompt, inputs, engine_blocks: &engine_blocks };
        let choice = self.chooser.choose(&arriving, &mut self.rng);
        let is_alone = local.load_at(choice.position).prefills == 0;
        let held = matches.blocks.get(choice.position).copied().unwrap_or(0);
        let usage = self.expected_usage(prompt, &request, choice, held);
        let uncached_tokens = request.prompt_tokens.saturating_sub(usage.predicted_cached_tokens);
        let booking = self.bookings.reserve(usage.endpoint, uncached_tokens);
        if is_alone {
            booking.record_prefill_start(now_ms);
        }
        if self.is_signalbox && !prompt.chain.is_empty() {
            self.place(now_us, choice.position, &prompt.chain, (known, held));
        }
        RoutedRequest {
            number,
            position: choice.position,
            predicted_cached_tokens: choice.cached_tokens.and_then(|tokens| u32::try_from(tokens).ok()),
            booking,
            is_sole_prefill: is_alone,
            request,
            usage,
            at_us: now_us,
        }
    }

    /// Looks the prompt up in the pool's index, which only Signalbox has.
    fn look_up(&self, prompt: &Prompt) -> (PrefixMatches, usize) {
        if self.is_signalbox {
            self.view.look_up(&prompt.chain, &self.overlay)
        } else {
            (PrefixMatches { blocks: vec![0; self.view.endpoints.len()], total: 0 }, 0)
        }
    }

    /// Returns the request as it is parsed: tokens are estimated from the bytes of the text. Only Signalbox
    /// learns how many tokens the model makes of them.
    fn request(&self, prompt: &Prompt) -> Request {
        let size = PromptSize { text_bytes: prompt.text_bytes, ..PromptSize::default() };
        let mut request = Request { prompt: size, ..Request::default() };
        if self.is_signalbox {
            self.view.apply_token_ratio(&mut request);
        } else {
            request.apply_token_ratio(request.token_ratio);
        }
        request
    }

    fn expected_usage(&self, prompt: &Prompt, request: &Request, choice: Choice, held: usize) -> UsageReport {
        let member = &self.view.endpoints[choice.position];
        UsageReport {
            text_bytes: request.prompt.text_bytes,
            predicted_tokens: request.prompt_tokens,
            predicted_cached_tokens: choice.cached_tokens.unwrap_or(0),
            last_block: prompt.chain.last().copied().unwrap_or(BlockHash::ROOT),
            held_blocks: u32::try_from(held).unwrap_or(u32::MAX),
            ..UsageReport::new(member.key, member.observed.incarnation, ModelKey::of(&request.model))
        }
    }

    fn place(
        &mut self,
        now_us: u64,
        position: usize,
        chain: &Arc<[BlockHash]>,
        (known, held): (usize, usize),
    ) {
        let member = &self.view.endpoints[position];
        let (endpoint, incarnation) = (member.key, member.observed.incarnation);
        let placed = PlacedPrompt { endpoint, incarnation, chain: Arc::clone(chain), known, held };
        self.overlay.place(&placed);
        self.batcher.add_placement(now_us / 1_000, placed);
    }

    /// Records the first chunk of a response.
    pub(super) fn record_first_output(&mut self, now_us: u64, routed: &mut RoutedRequest) {
        self.chooser.record_first_output(routed.number);
        routed.booking.record_first_output(now_us / 1_000);
        if routed.is_sole_prefill {
            routed.usage.sole_prefill_us = Some(now_us - routed.at_us);
        }
        let UsageReport { endpoint, model, .. } = routed.usage;
        self.batcher.add_response(ResponseReport { endpoint, model, outcome: ResponseOutcome::FirstOutput });
    }

    /// Records the end of a response, with the usage that the engine reports of `prompt`.
    pub(super) fn record_end(
        &mut self,
        now_us: u64,
        (routed, prompt): (&RoutedRequest, &Prompt),
        (prompt_tokens, cached_tokens): (u32, u32),
    ) {
        self.chooser.record_end(routed.number);
        if !self.is_signalbox {
            return;
        }
        let (reported, cached, blocks) = (prompt_tokens.into(), cached_tokens.into(), prompt.chain.len());
        let block_bytes = self.view.format.block_bytes;
        let cached_blocks = routed.request.blocks_of_tokens(cached, reported, blocks, block_bytes) as u32;
        let UsageReport { endpoint, held_blocks, .. } = routed.usage;
        if cached_blocks > held_blocks + TOLERANCE_BLOCKS {
            // The engine holds blocks that the pool does not know of.
            let (held, known) = self.view.look_up_at(endpoint, &prompt.chain, &self.overlay);
            if held < blocks {
                self.place(now_us, routed.position, &prompt.chain, (known, held));
            }
        }
        self.batcher.add_usage(UsageReport {
            prompt_tokens: Some(reported),
            cached_tokens: Some(cached),
            cached_blocks: (blocks > 0).then_some(cached_blocks),
            ..routed.usage
        });
    }

    /// Takes what the other replicas must be told.
    pub(super) fn take_updates(&mut self) -> Vec<PeerUpdate> {
        self.chooser.take_updates()
    }

    /// Applies what another replica told.
    pub(super) fn apply_update(&mut self, update: &PeerUpdate) {
        self.chooser.apply_update(update);
    }

    /// Marks a chain as requested by the owner.
    pub(super) fn need_chain(&mut self, number: u64) {
        self.batcher.queue_whole_chain(number);
    }

    /// Requests a flush; returns its time if none is scheduled yet.
    pub(super) fn schedule_flush(&mut self, now_us: u64) -> Option<u64> {
        if std::mem::replace(&mut self.flush_timer.is_scheduled, true) {
            return None;
        }
        Some(self.flush_timer.ready_us.max(now_us))
    }

    /// Returns changed or all gauges with other pending feedback, as the EPP's uplink sends it; `None` if
    /// there is nothing to send.
    pub(super) fn feedback(&mut self, now_us: u64, scope: GaugeScope) -> Option<Feedback> {
        if scope == GaugeScope::Changed {
            self.flush_timer = FlushTimer { is_scheduled: false, ready_us: now_us + FLUSH_INTERVAL_US };
        }
        let changed = self.bookings.take_changed();
        let gauges = match scope {
            GaugeScope::All => self.bookings.loads(),
            GaugeScope::Changed => changed,
        };
        self.batcher.next_batch(self.version().epoch, self.origin, scope, gauges, FlowReport::default())
    }

    /// Resends what the previous owner may not have applied.
    pub(super) fn resend_unacknowledged(&mut self) {
        self.batcher.resend_all();
    }

    /// Returns the version of the view.
    pub(super) fn version(&self) -> Version {
        self.view.version.unwrap_or_default()
    }

    /// Returns the sum of the replica's own bookings.
    pub(super) fn load(&self) -> Load {
        self.bookings.loads().into_iter().fold(Load::ZERO, |sum, (_, load)| sum + load)
    }
}
