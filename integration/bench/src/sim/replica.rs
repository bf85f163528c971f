//! One EPP replica: its view, its bookings and its feedback to the owner. It uses the same pure modules as
//! the EPP and calls them in the same order as the EPP's request path (`pick`), view task and uplink, which
//! themselves are tied to tasks and channels.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_schedule::DecisionInputs;
use signalbox_state::{
    ApplyOutcome, Booking, Bookings, Feedback, FeedbackBatcher, Frame, FrameSource, GaugeScope, Overlay,
    PeerLoad, PlacedPrompt, ResponseOutcome, ResponseReport, StateReplica, UsageReport, View,
};
use signalbox_types::{BlockHash, Load, ModelKey, Origin, Request, Version};

use super::Prompt;
use crate::policy::{Algorithm, Rotation};

/// Minimum interval between two flushes of feedback.
const FLUSH_INTERVAL_US: u64 = 2_000;

/// Age at which a view's information about other replicas expires.
const ORIGIN_TTL_MS: u64 = 3_000;

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
    rotation: Rotation,
}

/// Limits the rate of flushes: the first one is immediate, the next one waits until the interval is over.
#[derive(Default)]
struct FlushTimer {
    is_scheduled: bool,
    ready_us: u64,
}

/// A request that was routed to an endpoint.
pub(super) struct RoutedRequest {
    pub(super) position: usize,
    booking: Booking,
    /// Whether the endpoint had no other prompt to process.
    is_sole_prefill: bool,
    usage: UsageReport,
    at_us: u64,
}

impl Replica {
    pub(super) fn new(now_ms: u64, origin: Origin, mut rng: SmallRng, snapshot: Vec<Frame>) -> Self {
        let mut replica = Self {
            follower: StateReplica::default(),
            view: View::default(),
            view_confirmed_at_ms: 0,
            bookings: Bookings::new(Arc::new(|| {})),
            overlay: Overlay::default(),
            batcher: FeedbackBatcher::default(),
            origin,
            flush_timer: FlushTimer::default(),
            rotation: Rotation::new(rng.random()),
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
        for frame in frames {
            let outcome = self.follower.apply(FrameSource::Aggregator(0), frame);
            assert!(!matches!(outcome, ApplyOutcome::Gap(_)), "frames in order leave no gap: {outcome:?}");
        }
        self.view = View::next(&self.view, &self.follower, &self.bookings, now_ms);
        self.view_confirmed_at_ms = now_ms;
        let acknowledged = self.follower.pool_state().acknowledged(self.origin);
        self.batcher.acknowledge(acknowledged, &self.overlay);
    }

    /// Picks an endpoint for a prompt and books the request there, as the EPP's request path does.
    pub(super) fn pick(&mut self, now_us: u64, prompt: &Prompt, algorithm: &Algorithm) -> RoutedRequest {
        let (matches, known) = self.view.look_up(&prompt.chain, &self.overlay);
        let is_current = (now_us / 1_000).saturating_sub(self.view_confirmed_at_ms) < ORIGIN_TTL_MS;
        let others = if is_current { PeerLoad::Current } else { PeerLoad::Outdated };
        let local = self.view.local_state(self.origin, others, now_us / 1_000);
        let request = Request { prompt_tokens: u64::from(prompt.tokens), ..Request::default() };
        let inputs = DecisionInputs { view: &self.view, local: &local, matches: &matches, request: &request };
        let choice = algorithm.choose(&inputs, &mut self.rotation, &mut self.rng);
        let uncached_tokens = request.prompt_tokens - choice.cached_tokens;
        let endpoint = self.view.endpoints[choice.position].key;
        let booking = self.bookings.reserve(endpoint, uncached_tokens);
        let is_alone =
            inputs.local.load_at(choice.position, &self.view.endpoints[choice.position]).prefills == 0;
        if is_alone {
            booking.record_prefill_start(now_us / 1_000);
        }
        if !prompt.chain.is_empty() {
            let held = matches.blocks[choice.position];
            self.place(now_us, choice.position, &prompt.chain, (known, held));
        }
        let incarnation = self.view.endpoints[choice.position].observed.incarnation;
        let usage = UsageReport {
            predicted_tokens: request.prompt_tokens,
            predicted_cached_tokens: choice.cached_tokens,
            ..UsageReport::new(endpoint, incarnation, ModelKey::default())
        };
        RoutedRequest { position: choice.position, booking, is_sole_prefill: is_alone, usage, at_us: now_us }
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
        routed.booking.record_first_output(now_us / 1_000);
        if routed.is_sole_prefill {
            routed.usage.sole_prefill_us = Some(now_us - routed.at_us);
        }
        let UsageReport { endpoint, model, .. } = routed.usage;
        self.batcher.add_response(ResponseReport { endpoint, model, outcome: ResponseOutcome::FirstOutput });
    }

    /// Records the end of a response, with the usage that the engine reports.
    pub(super) fn record_end(&mut self, routed: &RoutedRequest, prompt_tokens: u32, cached_tokens: u32) {
        self.batcher.add_usage(UsageReport {
            prompt_tokens: Some(prompt_tokens.into()),
            cached_tokens: Some(cached_tokens.into()),
            ..routed.usage
        });
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
        self.batcher.next_batch(self.version().epoch, self.origin, scope, gauges)
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
