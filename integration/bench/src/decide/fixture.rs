//! The input of the measured decisions: a pool and a request.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use signalbox_state::{
    Bookings, CollectorStream, Feedback, FrameSource, GaugeScope, LocalState, Overlay, PeerLoad,
    PlacedPrompt, Placement, Pool, PoolConfig, PoolEffect, PoolInput, PrefixMatches, Report, ScrapeStatus,
    StateReplica, Update, View,
};
use signalbox_types::{
    BlockHash, Capacity, EndpointKey, Gauges, Incarnation, Load, Origin, PPM, PoolSpec, Request,
};

use crate::routing::block_tokens;
use crate::sim::pool_spec;

const COLLECTOR: CollectorStream = CollectorStream(1);

/// Origin of another replica, which made the placements.
const PEER_ORIGIN: Origin = Origin(1);

/// Origin of this replica.
const OWN_ORIGIN: Origin = Origin(2);

/// Number of own placements that the pool has not acknowledged.
const UNACKNOWLEDGED: usize = 16;

/// Number of different prefix lengths that the holders of a prompt hold.
const DEPTHS: usize = 8;

/// The endpoints that hold the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holders {
    /// No endpoint; the prompt is new.
    Nobody,
    /// Every tenth endpoint.
    Some,
    /// Every endpoint.
    All,
}

impl Holders {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Some => "some",
            Self::All => "all",
        }
    }
}

/// A pool and a request to decide on.
pub(super) struct Fixture {
    pub(super) view: View,
    pub(super) request: Request,
    overlay: Overlay,
    chain: Vec<BlockHash>,
}

impl Fixture {
    /// Creates a pool of `endpoints` busy endpoints and a prompt of `blocks` blocks.
    pub(super) fn new(seed: u64, endpoints: usize, blocks: usize, holders: Holders) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let chain: Vec<_> = (0..blocks).map(|_| BlockHash(rng.random())).collect();
        let mut pool = Pool::new(1, PoolConfig::default());
        let keys = add_endpoints(&mut pool, pool_spec(endpoints), &mut rng);
        add_peer_state(&mut pool, &keys, &chain, holders, &mut rng);
        let mut replica = StateReplica::default();
        Arc::new(pool.snapshot())
            .frames()
            .for_each(|frame| drop(replica.apply(FrameSource::Aggregator(0), frame)));
        let bookings = Bookings::new(Arc::new(|| {}));
        let view = View::next(&View::default(), &replica, &bookings, 0);
        let overlay = Overlay::default();
        keys.iter()
            .cycle()
            .take(UNACKNOWLEDGED)
            .for_each(|key| overlay.place(&other_placement(*key, &mut rng)));
        let prompt_tokens = blocks as u64 * u64::from(block_tokens()) + 20;
        let request = Request { prompt_tokens, max_output_tokens: Some(200), ..Request::default() };
        Self { view, request, overlay, chain }
    }

    /// Performs the lookups that the request path does before it decides.
    pub(super) fn look_up(&self) -> (LocalState, PrefixMatches) {
        let (matches, _) = self.view.look_up(&self.chain, &self.overlay);
        (self.view.local_state(OWN_ORIGIN, PeerLoad::Current, 0), matches)
    }
}

/// Adds the endpoints to the pool with one report each; returns their keys.
fn add_endpoints(pool: &mut Pool, spec: PoolSpec, rng: &mut SmallRng) -> Vec<EndpointKey> {
    let mut effects = pool.handle(0, PoolInput::Spec(spec.into()));
    while effects.contains(&PoolEffect::Unfinished) {
        effects = pool.handle(0, PoolInput::Continue);
    }
    let effects = pool.handle(0, PoolInput::CollectorJoined(COLLECTOR, "collector".to_owned()));
    let mut keys = Vec::new();
    for effect in effects {
        let PoolEffect::Assign(stream, assigned) = effect else { continue };
        for one in assigned {
            let gauges = Gauges {
                waiting: rng.random_range(0..4),
                running: Some(rng.random_range(0..60)),
                kv_used_ppm: Some(rng.random_range(0..PPM / 10 * 9)),
            };
            let update = Update {
                incarnation: Incarnation(1),
                scrape_status: ScrapeStatus::Fresh,
                gauges: Some(gauges),
                capacity: Some(Capacity { kv_tokens: 500_000 }),
                ..Update::default()
            };
            let report = Report { endpoint: one.endpoint, generation: one.generation, age_ms: 0, update };
            pool.handle(1, PoolInput::Reports(stream, vec![report]));
            keys.push(one.endpoint);
        }
    }
    keys
}

/// Adds the gauges and placements of another replica to the pool.
fn add_peer_state(
    pool: &mut Pool,
    keys: &[EndpointKey],
    chain: &[BlockHash],
    holders: Holders,
    rng: &mut SmallRng,
) {
    let load = |rng: &mut SmallRng| Load {
        requests: rng.random_range(1..60),
        prefill_tokens: rng.random_range(0..20_000),
        ..Load::ZERO
    };
    let gauges = keys.iter().map(|key| (*key, load(rng))).collect();
    let step = match holders {
        Holders::Nobody => usize::MAX,
        Holders::Some => 10,
        Holders::All => 1,
    };
    let held = keys.iter().step_by(step).take(if holders == Holders::Nobody { 0 } else { keys.len() });
    let placements = held.enumerate().map(|(at, key)| Placement {
        number: at as u64 + 1,
        endpoint: *key,
        incarnation: Incarnation(1),
        anchor: BlockHash::ROOT,
        suffix: chain[..chain.len() * (at % DEPTHS + 1) / DEPTHS].into(),
    });
    let feedback = Feedback {
        epoch: 1,
        origin: PEER_ORIGIN,
        seq: 1,
        scope: GaugeScope::All,
        gauges,
        placements: placements.collect(),
        adapters: Vec::new(),
        responses: Vec::new(),
        usage: Vec::new(),
    };
    pool.handle(2, PoolInput::Feedback(feedback));
}

/// Creates a placement of another prompt.
fn other_placement(endpoint: EndpointKey, rng: &mut SmallRng) -> PlacedPrompt {
    let chain = (0..64).map(|_| BlockHash(rng.random())).collect();
    PlacedPrompt { endpoint, incarnation: Incarnation(1), chain, known: 0, held: 0 }
}
