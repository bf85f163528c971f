//! A pool, and a request to decide on.

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

const STREAM: CollectorStream = CollectorStream(1);

/// Of another replica, which made the placements.
const OTHER: Origin = Origin(1);

/// Of this replica.
const OWN: Origin = Origin(2);

/// Own placements that the pool has not echoed yet.
const PENDING: usize = 16;

/// Holders of a prompt hold all of it, or a part: there are so many different lengths.
const DEPTHS: usize = 8;

/// Who holds the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holders {
    /// It is new.
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

/// A pool, and a request to decide on.
pub(super) struct Scene {
    pub(super) view: View,
    pub(super) request: Request,
    overlay: Overlay,
    chain: Vec<BlockHash>,
}

impl Scene {
    /// A pool of busy `endpoints`, and a prompt of so many `blocks`.
    pub(super) fn new(seed: u64, endpoints: usize, blocks: usize, holders: Holders) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let chain: Vec<_> = (0..blocks).map(|_| BlockHash(rng.random())).collect();
        let mut pool = Pool::new(1, PoolConfig::default());
        let keys = read(&mut pool, pool_spec(endpoints), &mut rng);
        feed(&mut pool, &keys, &chain, holders, &mut rng);
        let mut replica = StateReplica::default();
        Arc::new(pool.snapshot())
            .frames()
            .for_each(|frame| drop(replica.apply(FrameSource::Aggregator(0), frame)));
        let bookings = Bookings::new(Arc::new(|| {}));
        let view = View::next(&View::default(), &replica, &bookings, 0);
        let overlay = Overlay::default();
        keys.iter().cycle().take(PENDING).for_each(|key| overlay.place(&placed(*key, &mut rng)));
        let prompt_tokens = blocks as u64 * u64::from(block_tokens()) + 20;
        let request = Request { prompt_tokens, max_output_tokens: Some(200), ..Request::default() };
        Self { view, request, overlay, chain }
    }

    /// What the request path looks up before it decides.
    pub(super) fn survey(&self) -> (LocalState, PrefixMatches) {
        let (matches, _) = self.view.look_up(&self.chain, &self.overlay);
        (self.view.local(OWN, PeerLoad::Current, 0), matches)
    }
}

/// Has the pool know its endpoints and read them once.
fn read(pool: &mut Pool, spec: PoolSpec, rng: &mut SmallRng) -> Vec<EndpointKey> {
    pool.fold(0, PoolInput::Spec(spec));
    let effects = pool.fold(0, PoolInput::CollectorJoined(STREAM, "collector".to_owned()));
    let mut keys = Vec::new();
    for effect in effects {
        let PoolEffect::Assign(stream, assigned) = effect else { continue };
        for one in assigned {
            let gauges = Gauges {
                waiting: rng.random_range(0..4),
                running: rng.random_range(0..60),
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
            pool.fold(1, PoolInput::Reports(stream, vec![report]));
            keys.push(one.endpoint);
        }
    }
    keys
}

/// Has the pool know what another replica sent where.
fn feed(pool: &mut Pool, keys: &[EndpointKey], chain: &[BlockHash], holders: Holders, rng: &mut SmallRng) {
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
        origin: OTHER,
        seq: 1,
        scope: GaugeScope::Whole,
        gauges,
        placements: placements.collect(),
        adapters: Vec::new(),
        responses: Vec::new(),
    };
    pool.fold(2, PoolInput::Feedback(feedback));
}

/// A placement of another prompt.
fn placed(endpoint: EndpointKey, rng: &mut SmallRng) -> PlacedPrompt {
    let chain = (0..64).map(|_| BlockHash(rng.random())).collect();
    PlacedPrompt { endpoint, incarnation: Incarnation(1), chain, known: 0, held: 0 }
}
