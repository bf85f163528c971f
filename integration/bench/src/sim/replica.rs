//! One EPP replica: its view, its bookings and its feedback to the owner. It runs the EPP's pick, and calls the other
//! pure modules in the same order as the EPP's view task and uplink, which themselves are tied to tasks and channels.
//! Replicas of other contenders use the view for the metrics that they scrape and the bookings for their requests in
//! flight.

mod gate;
mod pick;

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::engine::Usage;
use signalbox_schedule::{BatchedFeedback, place};
use signalbox_state::{
    ApplyOutcome, Arrivals, Booking, Bookings, Feedback, FeedbackBatcher, Frame, FrameSource, GaugeScope,
    Overlay, PlacedPrompt, RecentAdapterSends, RecentProbes, ResponseOutcome, ResponseReport, StateReplica,
    UsageReport, View,
};
use signalbox_types::{Load, Origin, Request, Version};

pub(super) use self::gate::Ends;
use self::gate::{Gate, seen};
pub(super) use self::pick::Picked;

use super::Prompt;
use super::flow::Control;
use crate::policies::{Algorithm, PeerUpdate, Router};

/// Minimum interval between two flushes of feedback.
const FLUSH_INTERVAL_US: u64 = 2_000;

/// The number of blocks by which an engine must hold more than was believed before the belief is checked.
const TOLERANCE_BLOCKS: u32 = 4;

/// One EPP replica.
pub(super) struct Replica {
    follower: StateReplica,
    view: View,
    view_confirmed_at_ms: u64,
    bookings: Bookings,
    overlay: Overlay,
    adapter_sends: RecentAdapterSends,
    probes: RecentProbes,
    batcher: FeedbackBatcher,
    origin: Origin,
    flush_timer: FlushTimer,
    rng: SmallRng,
    router: Router,
    gate: Gate,
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
    /// Whether the owner was told that the endpoint was sent the prompt.
    is_placed: bool,
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
        (algorithm, control, pods): (&Algorithm, &Control, &[ModelConfig]),
    ) -> Self {
        let mut replica = Self {
            follower: StateReplica::default(),
            view: View::default(),
            view_confirmed_at_ms: 0,
            bookings: Bookings::new(Arc::new(|| {})),
            overlay: Overlay::default(),
            adapter_sends: RecentAdapterSends::default(),
            probes: RecentProbes::default(),
            batcher: FeedbackBatcher::default(),
            origin,
            flush_timer: FlushTimer::default(),
            router: algorithm.start(pods, rng.random::<u32>() as usize),
            rng: SmallRng::from_rng(&mut rng),
            gate: Gate::new(control),
        };
        replica.apply_frames(now_ms, snapshot);
        replica
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Applies frames, as the EPP's view task does. Returns the requests that may go.
    pub(super) fn apply_frames(&mut self, now_ms: u64, frames: Vec<Frame>) -> Vec<usize> {
        self.follower.record_time(now_ms);
        for frame in frames {
            let outcome = self.follower.apply(FrameSource::Aggregator(0), frame);
            assert!(!matches!(outcome, ApplyOutcome::Gap(_)), "frames in order leave no gap: {outcome:?}");
        }
        self.view = View::next(&self.view, &self.follower, &self.bookings);
        self.view_confirmed_at_ms = now_ms;
        let acknowledged = self.follower.pool_state().acknowledged(self.origin);
        self.batcher.acknowledge(acknowledged, &self.overlay);
        self.gate.apply(&self.view, self.origin, now_ms)
    }

    /// Returns when requests that wait are to be looked after, in microseconds from now, if any wait.
    pub(super) fn gate_tick_us(&self) -> Option<u64> {
        self.gate.tick_us()
    }

    /// Looks after the requests that wait.
    pub(super) fn tick_gate(&mut self, now_us: u64) -> Ends {
        let seen = seen(&self.view, self.origin, (now_us / 1_000, self.view_age_ms(now_us)));
        self.gate.tick(seen)
    }

    /// Forgets a request that waited and is booked.
    pub(super) fn leave_gate(&mut self, request: usize) {
        self.gate.leave(request);
    }

    fn view_age_ms(&self, now_us: u64) -> u64 {
        (now_us / 1_000).saturating_sub(self.view_confirmed_at_ms)
    }

    /// Records the first chunk of a response.
    pub(super) fn record_first_output(&mut self, now_us: u64, routed: &mut RoutedRequest) {
        if let Router::Other(chooser) = &mut self.router {
            chooser.record_first_output(routed.number);
        }
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
        engine_usage: Usage,
    ) {
        if let Router::Other(chooser) = &mut self.router {
            return chooser.record_end(routed.number);
        }
        let Usage { prompt_tokens, cached_tokens, output_tokens } = engine_usage;
        let (reported, cached, blocks) = (prompt_tokens.into(), cached_tokens.into(), prompt.chain.len());
        let block_bytes = self.view.format.block_bytes;
        let cached_blocks = routed.request.blocks_of_tokens(cached, reported, blocks, block_bytes) as u32;
        if !routed.is_placed || cached_blocks > routed.usage.held_blocks + TOLERANCE_BLOCKS {
            self.place_again(now_us, routed, prompt);
        }
        self.batcher.add_usage(UsageReport {
            prompt_tokens: Some(reported),
            cached_tokens: Some(cached),
            output_tokens: Some(output_tokens.into()),
            cached_blocks: (blocks > 0).then_some(cached_blocks),
            ..routed.usage
        });
    }

    /// Places a prompt if the pool does not know that the endpoint holds all of it.
    fn place_again(&mut self, now_us: u64, routed: &RoutedRequest, prompt: &Prompt) {
        let UsageReport { endpoint, incarnation, .. } = routed.usage;
        let (held, known) = self.view.look_up_at(endpoint, &prompt.chain, &self.overlay);
        if held < prompt.chain.len() {
            let placed =
                PlacedPrompt { endpoint, incarnation, chain: Arc::clone(&prompt.chain), known, held };
            let batched = &mut BatchedFeedback { batcher: &mut self.batcher, now_ms: now_us / 1_000 };
            place(&self.overlay, placed, batched);
        }
    }

    /// Takes what the other replicas must be told.
    pub(super) fn take_updates(&mut self) -> Vec<PeerUpdate> {
        match &mut self.router {
            Router::Signalbox(_) => Vec::new(),
            Router::Other(chooser) => chooser.take_updates(),
        }
    }

    /// Applies what another replica told.
    pub(super) fn apply_update(&mut self, update: &PeerUpdate) {
        if let Router::Other(chooser) = &mut self.router {
            chooser.apply_update(update);
        }
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
        let flows = self.gate.report(now_us / 1_000, scope);
        let (epoch, arrivals) = (self.version().epoch, Arrivals::default().counts());
        self.batcher.next_batch(epoch, self.origin, scope, gauges, flows, arrivals)
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
