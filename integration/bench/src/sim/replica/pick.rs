//! How a replica routes a request: Signalbox by the EPP's pick, the other contenders by what they choose.

use std::sync::Arc;

use signalbox_admission::Admission;
use signalbox_schedule::{BatchedFeedback, Decision, DecisionInputs, OwnState, Pick, PickInputs};
use signalbox_state::{Bookings, PeerLoad, PrefixMatches, UsageReport};
use signalbox_types::{ModelKey, PromptSize, Request};

use super::gate::{Gate, seen};
use super::{Replica, RoutedRequest};
use crate::policies::{Arriving, Choice, Router};
use crate::sim::Prompt;
use crate::sim::flow::Sender;
use crate::sim::pods::Pod;

/// Age at which a view's information about other replicas expires.
const ORIGIN_TTL_MS: u64 = 3_000;

/// A request that is to be routed.
#[derive(Clone, Copy)]
struct Unrouted<'a> {
    number: usize,
    prompt: &'a Prompt,
    sender: Option<&'a Sender>,
    at_us: u64,
}

/// What became of a request that asked for an endpoint.
pub(in crate::sim) enum Picked {
    Routed(Box<RoutedRequest>),
    Waits,
    Dropped,
}

impl Unrouted<'_> {
    /// Returns the request as it is parsed: its tokens are estimated from the bytes of the text.
    fn request(&self) -> Request {
        let prompt = PromptSize { text_bytes: self.prompt.text_bytes, ..PromptSize::default() };
        let mut request = Request { prompt, ..Request::default() };
        if let Some(Sender { priority, tenant, .. }) = self.sender {
            (request.priority, request.flow) = (*priority, Some(tenant.to_string()));
        }
        request.apply_token_ratio(request.token_ratio);
        request
    }
}

impl Replica {
    /// Picks an endpoint for the prompt of a request and books the request there, unless it has to wait. One that `has_waited` goes
    /// in any case.
    pub(in crate::sim) fn pick(
        &mut self,
        now_us: u64,
        (number, prompt, sender): (usize, &Prompt, Option<&Sender>),
        has_waited: bool,
        pods: &[Pod],
    ) -> Picked {
        let unrouted = Unrouted { number, prompt, sender, at_us: now_us };
        let (peer_load, silence_ms) = (self.peer_load(now_us), self.view_age_ms(now_us));
        let (view, origin, now_ms) = (&self.view, self.origin, now_us / 1_000);
        let seen = seen(view, origin, (now_ms, silence_ms));
        if let (Gate::Go(queues), Some(sender), false) = (&mut self.gate, sender, has_waited) {
            return match queues.enqueue(now_ms, sender.priority, number) {
                true => Picked::Waits,
                false => Picked::Dropped,
            };
        }
        match &mut self.router {
            Router::Signalbox(policy) => {
                let own = OwnState {
                    origin,
                    bookings: &self.bookings,
                    overlay: &self.overlay,
                    adapter_sends: &self.adapter_sends,
                    probes: &self.probes,
                };
                let pick = Pick { view, policy, own, now_ms };
                let mut feedback = BatchedFeedback { batcher: &mut self.batcher, now_ms };
                let mut inputs = pick.look_up(unrouted.request(), &prompt.chain, peer_load);
                let (decision, _) = pick.choose(&mut inputs, 0, &mut self.rng, &mut feedback);
                if let (Gate::Signalbox(gate), false) = (&mut self.gate, has_waited)
                    && let Admission::Wait { tokens } =
                        gate.admit(seen, (&inputs.of_decision(view), &decision))
                {
                    return match gate.enqueue(seen, number, (&inputs.request, tokens)) {
                        Ok(()) => Picked::Waits,
                        Err(_) => Picked::Dropped,
                    };
                }
                Picked::Routed(Box::new(book_as_epp(&pick, (unrouted, inputs), &decision, feedback)))
            }
            Router::Other(chooser) => {
                let local = view.local_state(origin, peer_load, now_ms);
                let (matches, request) = (PrefixMatches::default(), unrouted.request());
                let inputs = DecisionInputs { view, local: &local, matches: &matches, request: &request };
                let engine_blocks = |at: usize| pods[at].cached_blocks(prompt.engine_blocks());
                let arriving = Arriving { number, prompt, inputs, engine_blocks: &engine_blocks };
                let choice = chooser.choose(&arriving, &mut self.rng);
                Picked::Routed(Box::new(book_choice(&self.bookings, (unrouted, &inputs), choice)))
            }
        }
    }

    /// Returns whether other replicas' bookings still count.
    pub(super) fn peer_load(&self, now_us: u64) -> PeerLoad {
        if self.view_age_ms(now_us) < ORIGIN_TTL_MS { PeerLoad::Current } else { PeerLoad::Outdated }
    }
}

/// Books a request as the EPP does.
fn book_as_epp(
    pick: &Pick<'_>,
    (unrouted, inputs): (Unrouted<'_>, PickInputs),
    decision: &Decision,
    mut feedback: BatchedFeedback<'_>,
) -> RoutedRequest {
    let Unrouted { number, prompt, at_us, .. } = unrouted;
    let Decision::Picked { position, terms } = *decision else { panic!("the policy refuses no request") };
    let booked = pick.book(&inputs, (position, &terms), Arc::clone(&prompt.chain), &mut feedback);
    RoutedRequest {
        number,
        position,
        predicted_cached_tokens: u32::try_from(terms.cached_tokens).ok(),
        booking: booked.booking,
        is_sole_prefill: booked.is_sole_prefill,
        is_placed: booked.is_placed,
        request: inputs.request,
        usage: booked.usage,
        at_us,
    }
}

/// Books a request where a contender without the EPP's pick sends it. The pool learns nothing of its prompt.
fn book_choice(
    bookings: &Bookings,
    (unrouted, inputs): (Unrouted<'_>, &DecisionInputs<'_>),
    choice: Choice,
) -> RoutedRequest {
    let Unrouted { number, at_us, .. } = unrouted;
    let Choice { position, cached_tokens } = choice;
    let (member, request) = (&inputs.view.endpoints[position], inputs.request.clone());
    let is_sole_prefill = inputs.local.load_at(position).prefills == 0;
    let uncached_tokens = request.prompt_tokens.saturating_sub(cached_tokens.unwrap_or(0));
    let booking = bookings.reserve(member.key, uncached_tokens);
    if is_sole_prefill {
        booking.record_prefill_start(at_us / 1_000);
    }
    RoutedRequest {
        number,
        position,
        predicted_cached_tokens: cached_tokens.and_then(|tokens| u32::try_from(tokens).ok()),
        booking,
        is_sole_prefill,
        is_placed: false,
        usage: UsageReport::new(member.key, member.observed.incarnation, ModelKey::of(&request.model)),
        request,
        at_us,
    }
}
