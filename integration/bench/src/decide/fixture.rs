//! The input of the measured decisions: a pool and requests.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use signalbox_intake::{Api, ParseOptions, ParsedRequest};
use signalbox_schedule::{OwnState, Pick, Policy};
use signalbox_state::{
    Bookings, CollectorStream, Feedback, FlowReport, FrameSource, GaugeScope, Overlay, PlacedPrompt,
    Placement, Pool, PoolConfig, PoolEffect, PoolInput, RecentAdapterSends, RecentProbes, Report,
    ScrapeStatus, StateReplica, Update, View,
};
use signalbox_types::{
    BlockHash, Capacity, EndpointKey, Format, Gauges, Incarnation, Load, Origin, PPM, PoolSpec, Subset,
};

use crate::sim::pool_spec;

const COLLECTOR: CollectorStream = CollectorStream(1);

/// Origin of another replica, which made the placements.
const PEER_ORIGIN: Origin = Origin(1);

/// Origin of this replica.
pub(super) const OWN_ORIGIN: Origin = Origin(2);

/// Number of own placements that the pool has not acknowledged.
const UNACKNOWLEDGED: usize = 16;

/// Number of different prefix lengths that the holders of a prompt hold.
const DEPTHS: usize = 8;

/// Blocks of all prompts together. Each decision is for the next prompt, so that no cache of the CPU has what it
/// reads: the text alone is 64 MB.
const DISTINCT_BLOCKS: usize = 250_000;

/// Maximum number of prompts.
const MOST_PROMPTS: usize = 1_000;

/// KV cache capacity of an endpoint: enough for all prompts.
const KV_TOKENS: u64 = 100_000_000;

/// Prompt work that fills an endpoint for as long as the benchmark runs.
const FULL_TOKENS: u64 = 10_000_000;

/// Length of a word, and number of words per line, in the generated texts.
const WORD_BYTES: usize = 6;
const WORDS_PER_LINE: u64 = 16;

/// The endpoints that hold the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// How much prompt work the endpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// All have some, and prompts wait at most of them.
    All,
    /// The first one has more than it should; the others have none.
    First,
}

/// A pool, and requests to decide on.
pub(super) struct Fixture {
    view: View,
    first: EndpointKey,
    /// The bodies of the requests, as clients send them: distinct prompts of the same length.
    pub(super) bodies: Vec<Vec<u8>>,
    bookings: Bookings,
    overlay: Overlay,
    adapter_sends: RecentAdapterSends,
    probes: RecentProbes,
}

impl Fixture {
    /// Creates a pool of `endpoints` endpoints with running requests, and prompts of `blocks` blocks.
    pub(super) fn new(seed: u64, endpoints: usize, blocks: usize, holders: Holders, fill: Fill) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let bodies: Vec<_> = (0..prompts(blocks)).map(|_| chat_body(blocks, &mut rng)).collect();
        let mut pool = Pool::new(1, PoolConfig::default());
        let keys = add_endpoints(&mut pool, pool_spec(endpoints), fill, &mut rng);
        add_peer_state(&mut pool, &keys, &bodies, (holders, fill), &mut rng);
        let mut replica = StateReplica::default();
        Arc::new(pool.snapshot())
            .frames()
            .for_each(|frame| drop(replica.apply(FrameSource::Aggregator(0), frame)));
        let bookings = Bookings::new(Arc::new(|| {}));
        let view = View::next(&View::default(), &replica, &bookings);
        let overlay = Overlay::default();
        keys.iter()
            .cycle()
            .take(UNACKNOWLEDGED)
            .for_each(|key| overlay.place(&other_placement(*key, &mut rng)));
        let (adapter_sends, probes) = Default::default();
        Self { view, first: keys[0], bodies, bookings, overlay, adapter_sends, probes }
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Returns the first endpoint as a gateway names it that allows no other one.
    pub(super) fn first_endpoint(&self) -> Subset {
        let member = self.view.endpoints.get(self.first).expect("a pool has endpoints");
        Subset::from_iter([member.spec.address.to_string().as_str()])
    }

    /// Returns the pick of a replica with this policy.
    pub(super) fn pick<'a>(&'a self, policy: &'a Policy) -> Pick<'a> {
        let Self { bookings, overlay, adapter_sends, probes, .. } = self;
        let own = OwnState { origin: OWN_ORIGIN, bookings, overlay, adapter_sends, probes };
        Pick { view: &self.view, policy, own, now_ms: 0 }
    }
}

/// Parses a body and hashes its prompt, as the request path does.
pub(super) fn parse(body: &[u8]) -> ParsedRequest {
    let options = ParseOptions::new(Format::default().block_bytes);
    signalbox_intake::parse(Api::Chat, body, &options).expect("the bodies are valid")
}

/// Returns the number of distinct prompts of this length.
fn prompts(blocks: usize) -> usize {
    (DISTINCT_BLOCKS / blocks).min(MOST_PROMPTS)
}

/// Returns a chat completion with one message of `blocks` blocks. Its words are random; it has escaped line
/// breaks, as long texts do.
fn chat_body(blocks: usize, rng: &mut SmallRng) -> Vec<u8> {
    let bytes = blocks * Format::default().block_bytes as usize;
    let mut body = br#"{"model":"model","max_tokens":200,"messages":[{"role":"user","content":""#.to_vec();
    let end = body.len() + bytes;
    while body.len() < end {
        let word: u64 = rng.random();
        body.extend(word.to_le_bytes()[..WORD_BYTES].iter().map(|byte| b'a' + byte % 26));
        body.extend_from_slice(if word.is_multiple_of(WORDS_PER_LINE) { b"\\n" } else { b" " });
    }
    body.extend_from_slice(br#""}]}"#);
    body
}

/// Adds the endpoints to the pool with one report each; returns their keys.
fn add_endpoints(pool: &mut Pool, spec: PoolSpec, fill: Fill, rng: &mut SmallRng) -> Vec<EndpointKey> {
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
                waiting: if fill == Fill::All { rng.random_range(0..4) } else { 0 },
                running: Some(rng.random_range(0..60)),
                kv_used_ppm: Some(rng.random_range(0..PPM / 10 * 9)),
            };
            let update = Update {
                incarnation: Incarnation(1),
                scrape_status: ScrapeStatus::Fresh,
                gauges: Some(gauges),
                capacity: Some(Capacity { kv_tokens: KV_TOKENS }),
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
    bodies: &[Vec<u8>],
    (holders, fill): (Holders, Fill),
    rng: &mut SmallRng,
) {
    let load = |at: usize, rng: &mut SmallRng| Load {
        requests: rng.random_range(1..60),
        prefill_tokens: match (fill, at) {
            (Fill::All, _) => rng.random_range(0..20_000),
            (Fill::First, 0) => FULL_TOKENS,
            (Fill::First, _) => 0,
        },
        ..Load::ZERO
    };
    let mut gauges = keys.iter().enumerate().map(|(at, key)| (*key, load(at, rng))).collect();
    for (at, body) in bodies.iter().enumerate() {
        let chain: Arc<[BlockHash]> = parse(body).chain.into();
        let placements = placements(keys, &chain, holders, (at * keys.len()) as u64);
        let feedback = Feedback {
            epoch: 1,
            origin: PEER_ORIGIN,
            seq: at as u64 + 1,
            scope: GaugeScope::Changed,
            gauges: std::mem::take(&mut gauges),
            placements,
            adapters: Vec::new(),
            responses: Vec::new(),
            usage: Vec::new(),
            flows: FlowReport::default(),
            arrivals: None,
        };
        pool.handle(2, PoolInput::Feedback(feedback));
    }
}

/// Returns the placements by which the holders of a prompt hold it, numbered after `last`. They hold prefixes of
/// different lengths.
fn placements(keys: &[EndpointKey], chain: &[BlockHash], holders: Holders, last: u64) -> Vec<Placement> {
    let step = match holders {
        Holders::Nobody => return Vec::new(),
        Holders::Some => 10,
        Holders::All => 1,
    };
    let placement = |(at, key): (usize, &EndpointKey)| Placement {
        number: last + at as u64 + 1,
        endpoint: *key,
        incarnation: Incarnation(1),
        anchor: BlockHash::ROOT,
        suffix: chain[..chain.len() * (at % DEPTHS + 1) / DEPTHS].into(),
    };
    keys.iter().step_by(step).enumerate().map(placement).collect()
}

/// Creates a placement of another prompt.
fn other_placement(endpoint: EndpointKey, rng: &mut SmallRng) -> PlacedPrompt {
    let chain = (0..64).map(|_| BlockHash(rng.random())).collect();
    PlacedPrompt { endpoint, incarnation: Incarnation(1), chain, known: 0, held: 0 }
}

#[cfg(test)]
mod tests {
    use signalbox_state::PeerLoad;

    use super::*;

    #[test]
    fn prompts_are_distinct_and_held_as_stated() {
        let policy = Policy::default();
        for (holders, expected) in [(Holders::Nobody, 0), (Holders::Some, 2), (Holders::All, 20)] {
            let fixture = Fixture::new(1, 20, 16, holders, Fill::All);
            let parsed: Vec<_> = fixture.bodies.iter().map(|body| parse(body)).collect();
            let first_blocks: std::collections::HashSet<_> =
                parsed.iter().map(|parsed| parsed.chain[0]).collect();
            assert_eq!(prompts(16), first_blocks.len(), "prompts share blocks");
            for parsed in &parsed {
                let pick = fixture.pick(&policy);
                let inputs = pick.look_up(parsed.request.clone(), &parsed.chain, PeerLoad::Current);
                let holding = inputs.matches.blocks.iter().filter(|blocks| **blocks > 0).count();
                assert_eq!(expected, holding, "{holders:?}");
            }
        }
    }
}
