//! The request path: from what is known of a request to an endpoint and a booking there. A straight line through memory.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_extproc::{Destination, Refusal};
use signalbox_intake::Intake;
use signalbox_prefix::Lookup;
use signalbox_schedule::{Decision, Explanation, Ground, Terms, decide, explain};
use signalbox_state::{Booking, Local, Matches, Placed};
use signalbox_types::{BlockHash, Request};

use crate::desk::Desk;
use crate::sight::Sight;

/// A request that has an endpoint.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) destination: Destination,
    pub(crate) booking: Booking,
    /// How long the request is expected to run.
    pub(crate) expected: Duration,
}

/// What is looked up for a request, once.
struct Survey {
    local: Local,
    matches: Matches,
    /// Blocks of the prompt that the pool knows.
    known: usize,
}

impl Desk {
    /// Picks an endpoint for a request and books it there.
    ///
    /// # Errors
    /// [`Refusal::NoEndpoint`] when the pool has none.
    pub(crate) fn pick(&self, intake: Intake) -> Result<Picked, Refusal> {
        let Intake { request, chain, delivery: _ } = intake;
        let sight = self.sight.load();
        let Survey { local, matches, known } = self.survey(&sight, &chain);
        let mut rng = SmallRng::seed_from_u64(rand::random());
        let ground = Ground { view: &sight.view, local: &local, matches: &matches, request: &request };
        match decide(&ground, &self.policy, &mut rng) {
            Decision::NoEndpoint => {
                self.metrics.no_endpoint.inc();
                Err(Refusal::NoEndpoint)
            }
            Decision::Picked { position, terms } => {
                self.metrics.picked(&request, &terms);
                let held = matches.blocks[position];
                Ok(self.book(&sight, position, &request, terms, (chain, known, held)))
            }
        }
    }

    /// What [`Self::pick`] would do, and why. Books nothing.
    pub(crate) fn explain(&self, intake: &Intake) -> Explanation {
        let sight = self.sight.load();
        let Survey { local, matches, known: _ } = self.survey(&sight, &intake.chain);
        let ground = Ground { view: &sight.view, local: &local, matches: &matches, request: &intake.request };
        explain(&ground, &self.policy, (self.now_ms(), rand::random()))
    }

    fn survey(&self, sight: &Sight, chain: &[BlockHash]) -> Survey {
        let view = &sight.view;
        let mut lookup = Lookup::default();
        if view.format.is_known() {
            lookup = view.index.lookup(chain);
            self.overlay.extend(chain, &mut lookup);
        }
        let local = view.local(self.origin(), self.others(view));
        Survey { local, matches: view.matches(&lookup), known: lookup.known }
    }

    fn book(
        &self,
        sight: &Sight,
        position: usize,
        request: &Request,
        terms: Terms,
        (chain, known, held): (Vec<BlockHash>, usize, usize),
    ) -> Picked {
        let member = &sight.view.members[position];
        let uncached_tokens = request.prompt_tokens - terms.cached_tokens;
        let booking = self.bookings.reserve(member.key, uncached_tokens);
        if !chain.is_empty() && sight.view.format.is_known() {
            let chain: Arc<[BlockHash]> = chain.into();
            let incarnation = member.observed.incarnation;
            self.place(Placed { endpoint: member.key, incarnation, chain, known, held });
        }
        let expected = Duration::from_micros(terms.total_us());
        Picked { destination: sight.destination(position), booking, expected }
    }

    /// Lays a placement over the view and hands it to the uplink. When that has too many already it is forgotten: a missed
    /// placement costs a cache hit, a missed booking would cost the balance.
    fn place(&self, placed: Placed) {
        self.overlay.place(&placed);
        if let Err(full) = self.placements.try_send(placed) {
            let placed = full.into_inner();
            self.overlay.lift(&placed);
            self.metrics.placements_dropped.inc();
        }
    }
}
