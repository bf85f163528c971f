//! The request path: from what is known of a request to an endpoint and a booking there. A straight line through memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use signalbox_extproc::{Announcement, Destination, Refusal};
use signalbox_intake::{Delivery, Intake};
use signalbox_schedule::{
    Candidate, Decision, DecisionInputs, Explanation, SEEDS, Terms, decide, explain, session_token,
};
use signalbox_state::{LocalState, PlacedPrompt, PrefixMatches, ScrapeStatus};
use signalbox_telemetry::{Fault, catch_fault};
use signalbox_types::{BlockHash, Request, Subset};

use crate::booked::Booked;
use crate::config::EndpointScores;
use crate::decision_snapshot::DecisionSnapshot;
use crate::picker::{Picker, Remark};
use crate::records::{Made, Source};

/// How long a request is expected to run of which nothing is known.
const FALLBACK_EXPECTED: Duration = Duration::from_secs(10);

/// A request that has an endpoint.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) destination: Destination,
    pub(crate) booked: Booked,
}

/// What is looked up for a request, once.
struct Survey {
    local: LocalState,
    matches: PrefixMatches,
    /// Blocks of the prompt that the pool knows.
    known: usize,
}

impl Picker {
    /// As [`Self::pick`]; where that panics, any endpoint that the gateway allows is better than none.
    ///
    /// # Errors
    /// As [`Self::pick`].
    pub(crate) fn pick_or_fall_back(&self, intake: Intake, source: Source<'_>) -> Result<Picked, Refusal> {
        let (subset, request_id) = (intake.request.subset.clone(), source.request_id);
        self.or_fall_back(subset.as_ref(), request_id, || self.pick(intake, source))
    }

    fn or_fall_back(
        &self,
        subset: Option<&Subset>,
        request_id: Option<&str>,
        pick: impl FnOnce() -> Result<Picked, Refusal>,
    ) -> Result<Picked, Refusal> {
        let tell = |fault| self.tell(&fault, request_id);
        catch_fault(pick)
            .or_else(|fault| {
                tell(fault);
                catch_fault(|| self.fall_back(subset)).map_err(tell)
            })
            .unwrap_or(Err(Refusal::NoEndpoint))
    }

    /// Counts and logs a fault that was caught.
    pub(crate) fn tell(&self, fault: &Fault, request_id: Option<&str>) {
        self.metrics.panicked();
        tracing::error!(request_id, %fault, "a fault was caught");
    }

    /// An endpoint by chance, of those that answer if there are any.
    fn fall_back(&self, subset: Option<&Subset>) -> Result<Picked, Refusal> {
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
        let among = if fresh.is_empty() { &allowed } else { &fresh };
        let (position, member) = among.choose(&mut rand::rng()).ok_or(Refusal::NoEndpoint)?;
        let booked = Booked {
            booking: self.bookings.reserve(member.key, 0),
            endpoint: member.key,
            alone_tokens: None,
            delivery: Delivery::Whole,
            at: Instant::now(),
            is_told: false,
            prefilled_after: Duration::ZERO,
            expected: FALLBACK_EXPECTED,
        };
        Ok(Picked { destination: self.destination(&snapshot, *position), booked })
    }

    /// Picks an endpoint for a request and books it there.
    ///
    /// # Errors
    /// [`Refusal::NoEndpoint`] when the pool has none that the gateway allows, [`Refusal::Saturated`] when filters leave none of them.
    pub(crate) fn pick(&self, intake: Intake, source: Source<'_>) -> Result<Picked, Refusal> {
        let snapshot = self.snapshot.load();
        let Survey { local, matches, known } = self.survey(&snapshot, &intake);
        let Intake { request, chain, delivery, .. } = intake;
        let seed = rand::random_range(SEEDS);
        let inputs =
            DecisionInputs { view: &snapshot.view, local: &local, matches: &matches, request: &request };
        let decision = decide(&inputs, &self.policy, &mut SmallRng::seed_from_u64(seed));
        let picked = match decision {
            Decision::NoEndpoint => {
                self.metrics.no_endpoint.inc();
                Err(Refusal::NoEndpoint)
            }
            Decision::Filtered => Err(Refusal::Saturated),
            Decision::Picked { position, terms } => {
                self.metrics.picked(&request, &terms);
                let held = matches.blocks[position];
                let mut picked =
                    self.book(&snapshot, position, (&request, delivery), &terms, (chain, known, held));
                picked.destination = self.elaborate(&inputs, seed, picked.destination);
                Ok(picked)
            }
        };
        let (view, view_age_ms) = (&snapshot.recorded, snapshot.view.age_ms(self.now_ms()));
        let policy = &self.policy;
        self.records
            .keep(source, Made { view, view_age_ms, local, matches, request, policy, seed, decision });
        picked
    }

    /// What [`Self::pick`] would do, and why. Books nothing.
    pub(crate) fn explain(&self, intake: &Intake) -> Explanation {
        let snapshot = self.snapshot.load();
        let Survey { local, matches, known: _ } = self.survey(&snapshot, intake);
        let inputs = DecisionInputs {
            view: &snapshot.view,
            local: &local,
            matches: &matches,
            request: &intake.request,
        };
        explain(&inputs, &self.policy, (self.now_ms(), rand::random_range(SEEDS)))
    }

    fn survey(&self, snapshot: &DecisionSnapshot, intake: &Intake) -> Survey {
        let view = &snapshot.view;
        let (matches, known) = view.look_up(&intake.chain, &self.overlay);
        let mut local = view.local(self.origin(), self.others(view), self.now_ms());
        if let Some(adapter) = view.adapter(&intake.request.model) {
            local.adapter_sent = self.adapter_sends.of(self.now_ms(), adapter);
        }
        Survey { local, matches, known }
    }

    fn book(
        &self,
        snapshot: &DecisionSnapshot,
        position: usize,
        (request, delivery): (&Request, Delivery),
        terms: &Terms,
        (chain, known, held): (Vec<BlockHash>, usize, usize),
    ) -> Picked {
        let member = &snapshot.view.endpoints[position];
        let uncached_tokens = request.prompt_tokens - terms.cached_tokens;
        let booking = self.bookings.reserve(member.key, uncached_tokens);
        if terms.prefills == 0 {
            booking.began(self.now_ms());
        }
        if !chain.is_empty() && snapshot.view.format.is_known() {
            let chain: Arc<[BlockHash]> = chain.into();
            let incarnation = member.observed.incarnation;
            self.place(PlacedPrompt { endpoint: member.key, incarnation, chain, known, held });
        }
        if let Some(adapter) = snapshot.view.adapter(&request.model) {
            self.adapter_sends.sent(self.now_ms(), adapter, member.key);
            self.remark(Remark::Adapter(member.key, Arc::clone(adapter)));
        }
        let booked = Booked {
            booking,
            endpoint: member.key,
            alone_tokens: (terms.prefills == 0).then_some(uncached_tokens),
            delivery,
            at: Instant::now(),
            is_told: false,
            prefilled_after: Duration::from_micros(terms.prefilled_us()),
            expected: Duration::from_micros(terms.expected_us()),
        };
        Picked { destination: self.destination(snapshot, position), booked }
    }

    fn destination(&self, snapshot: &DecisionSnapshot, position: usize) -> Destination {
        let destination = snapshot.destination(position);
        let Some(header) = self.policy.session_header() else { return destination };
        let value = session_token(&snapshot.view.endpoints[position].spec.name);
        destination.announced(Announcement { header: header.to_owned(), value })
    }

    /// The destination, with what a gateway is told beside it where that is wanted.
    fn elaborate(&self, inputs: &DecisionInputs<'_>, seed: u64, destination: Destination) -> Destination {
        if self.fallback_endpoints == 0 && self.scores == EndpointScores::Hidden {
            return destination;
        }
        let candidates = explain(inputs, &self.policy, (self.now_ms(), seed)).candidates;
        let usable = candidates.iter().filter(|candidate| candidate.removed_by.is_none());
        let scored: Vec<(SocketAddr, f64)> = usable
            .filter_map(|candidate| Some((candidate.address.parse().ok()?, score(candidate))))
            .collect();
        let next = scored.iter().map(|(address, _)| *address).skip(1).take(self.fallback_endpoints);
        let destination = destination.or(&next.collect::<Vec<_>>());
        match self.scores {
            EndpointScores::Emitted => destination.scored(scored),
            EndpointScores::Hidden => destination,
        }
    }

    /// Lays a placement over the view and hands it to the uplink. When that has too many already it is forgotten: a missed
    /// placement costs a cache hit, a missed booking would cost the balance.
    fn place(&self, placed: PlacedPrompt) {
        self.overlay.place(&placed);
        if let Err(full) = self.placements.try_send(placed) {
            let placed = full.into_inner();
            self.overlay.lift(&placed);
            self.metrics.placements_dropped.inc();
        }
    }
}

/// How good a candidate is; more is better. Under least time it is what it costs, in milliseconds below nothing.
fn score(candidate: &Candidate) -> f64 {
    candidate.total.unwrap_or(-(candidate.total_us as f64) / 1e3)
}

#[cfg(test)]
mod tests;
