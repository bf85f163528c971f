//! One EPP replica: its view, its bookings, and what it tells the pool's owner. The same pure cores as in the EPP, called in the same
//! order as its request path (`pick`), its view keeper and its uplink call them; those are bound to its tasks and channels.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_schedule::DecisionInputs;
use signalbox_state::{
    ApplyOutcome, Booking, Bookings, Feedback, FeedbackBatcher, Frame, FrameSource, GaugeScope, Overlay,
    PeerLoad, PlacedPrompt, ResponseOutcome, ResponseReport, StateReplica, View,
};
use signalbox_types::{BlockHash, Load, Origin, Request, Version};

use super::Prompt;
use crate::policy::{Chooser, Turn};

/// Feedback is sent at most so often.
const PACE_US: u64 = 2_000;

/// A view that is older than this says nothing of other replicas any more.
const ORIGIN_TTL_MS: u64 = 3_000;

/// One EPP replica.
pub(super) struct Replica {
    follower: StateReplica,
    view: View,
    bookings: Bookings,
    overlay: Overlay,
    feeder: FeedbackBatcher,
    origin: Origin,
    bell: Bell,
    rng: SmallRng,
    turn: Turn,
}

/// Turns rings into flushes at the pace: on the leading edge, then not before the pace is over.
#[derive(Default)]
struct Bell {
    is_rung: bool,
    ready_us: u64,
}

/// A request that was sent to an endpoint.
pub(super) struct Sent {
    pub(super) position: usize,
    booking: Booking,
    work_tokens: u64,
    at_us: u64,
}

impl Replica {
    pub(super) fn new(now_ms: u64, origin: Origin, mut rng: SmallRng, snapshot: Vec<Frame>) -> Self {
        let mut replica = Self {
            follower: StateReplica::default(),
            view: View::default(),
            bookings: Bookings::new(Arc::new(|| {})),
            overlay: Overlay::default(),
            feeder: FeedbackBatcher::default(),
            origin,
            bell: Bell::default(),
            turn: Turn::new(rng.random()),
            rng: SmallRng::from_rng(&mut rng),
        };
        replica.take(now_ms, snapshot);
        replica
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Takes frames, as the view keeper does.
    pub(super) fn take(&mut self, now_ms: u64, frames: Vec<Frame>) {
        for frame in frames {
            let outcome = self.follower.apply(FrameSource::Aggregator(0), frame);
            assert!(!matches!(outcome, ApplyOutcome::Gap(_)), "frames in order leave no gap: {outcome:?}");
        }
        self.view = View::next(&self.view, &self.follower, &self.bookings, now_ms);
        let acknowledged = self.follower.pool_state().acknowledged(self.origin);
        self.feeder.acknowledged(acknowledged, &self.overlay);
    }

    /// Picks an endpoint for a prompt and books it there, as the request path does.
    pub(super) fn pick(&mut self, now_us: u64, prompt: &Prompt, chooser: &Chooser) -> Sent {
        let (matches, known) = self.view.look_up(&prompt.chain, &self.overlay);
        let is_current = self.view.age_ms(now_us / 1_000) < ORIGIN_TTL_MS;
        let others = if is_current { PeerLoad::Current } else { PeerLoad::Outdated };
        let local = self.view.local(self.origin, others, now_us / 1_000);
        let request = Request { prompt_tokens: u64::from(prompt.tokens), ..Request::default() };
        let inputs = DecisionInputs { view: &self.view, local: &local, matches: &matches, request: &request };
        let choice = chooser.choose(&inputs, &mut self.turn, &mut self.rng);
        let uncached_tokens = request.prompt_tokens - choice.cached_tokens;
        let endpoint = self.view.endpoints[choice.position].key;
        let booking = self.bookings.reserve(endpoint, uncached_tokens);
        let is_alone =
            inputs.local.load_at(choice.position, &self.view.endpoints[choice.position]).prefills == 0;
        if is_alone {
            booking.began(now_us / 1_000);
        }
        if !prompt.chain.is_empty() {
            let held = matches.blocks[choice.position];
            self.place(now_us, choice.position, &prompt.chain, (known, held));
        }
        let work_tokens = if is_alone { uncached_tokens } else { 0 };
        Sent { position: choice.position, booking, work_tokens, at_us: now_us }
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
        self.feeder.placed(now_us / 1_000, placed);
    }

    /// The first chunk of an answer came.
    pub(super) fn first_chunk(&mut self, now_us: u64, sent: &mut Sent) {
        sent.booking.prefilled(now_us / 1_000);
        let endpoint = self.view.endpoints[sent.position].key;
        let answered =
            ResponseOutcome::FirstOutput { work_tokens: sent.work_tokens, elapsed_us: now_us - sent.at_us };
        self.feeder.answered(ResponseReport { endpoint, answered });
    }

    /// The owner asked for a whole chain.
    pub(super) fn need_chain(&mut self, number: u64) {
        self.feeder.need_chain(number);
    }

    /// There is something to tell: returns when to flush, where that is not arranged yet.
    pub(super) fn ring(&mut self, now_us: u64) -> Option<u64> {
        if std::mem::replace(&mut self.bell.is_rung, true) {
            return None;
        }
        Some(self.bell.ready_us.max(now_us))
    }

    /// What changed since the last time, or all of it, as the uplink tells it; nothing where there is nothing to tell.
    pub(super) fn feedback(&mut self, now_us: u64, scope: GaugeScope) -> Option<Feedback> {
        if scope == GaugeScope::Changed {
            self.bell = Bell { is_rung: false, ready_us: now_us + PACE_US };
        }
        let changed = self.bookings.take_changed();
        let gauges = match scope {
            GaugeScope::Whole => self.bookings.whole(),
            GaugeScope::Changed => changed,
        };
        self.feeder.batch(self.version().epoch, self.origin, scope, gauges)
    }

    /// There is another owner: what the one before may not have taken in is told again.
    pub(super) fn send_again(&mut self) {
        self.feeder.send_again();
    }

    /// How far it has come.
    pub(super) fn version(&self) -> Version {
        self.view.version.unwrap_or_default()
    }

    /// All work in flight that it knows of as its own.
    pub(super) fn load(&self) -> Load {
        self.bookings.whole().into_iter().fold(Load::ZERO, |sum, (_, load)| sum + load)
    }
}
