//! Fuzzes the feedback of replicas, from the bytes of a stream to the pool's owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use signalbox_protos::signalbox::v1::{FeedbackBatch, InFlightGauge, Load, Placement, ResponseReport};
use signalbox_state::{Feedback, Pool, PoolConfig, PoolEffect, PoolInput};
use signalbox_types::{EndpointKey, EndpointSpec, Engine, MetricsTls, Origin, PoolId, PoolSpec};

/// The most that one input can lengthen its suffixes: short inputs reach the bound of a batch, and exceed it.
const MAX_DOUBLINGS: u8 = 16;

/// Takes the first byte as the number of times that all suffixes are doubled, unless it is too high, and the rest as length-delimited batches of
/// one stream until one is invalid. A batch beyond the bounds is rejected. The owner asks only for chains that it was
/// offered, and acknowledges only placements that it was sent.
pub(crate) fn run(data: &[u8]) {
    let Some((doublings, mut batches)) = data.split_first() else { return };
    let doublings = Some(*doublings).filter(|doublings| *doublings <= MAX_DOUBLINGS).unwrap_or(0);
    let mut pool = pool();
    let mut highest: BTreeMap<Origin, u64> = BTreeMap::new();
    while let Ok(mut message) = FeedbackBatch::decode_length_delimited(&mut batches) {
        message.placements.iter_mut().for_each(|placement| lengthen(placement, doublings));
        let exceeds = exceeds_bounds(&message);
        let decoded = signalbox_wire::decode_feedback(message);
        assert!(!exceeds || decoded.is_err(), "a batch beyond the bounds is accepted");
        let Ok(feedback) = decoded else { return };
        let origin = feedback.origin;
        let numbers: BTreeSet<u64> = feedback.placements.iter().map(|placement| placement.number).collect();
        let sent = highest.entry(origin).or_default();
        *sent = numbers.last().copied().unwrap_or(0).max(*sent);
        let effects = pool.handle(0, PoolInput::Feedback(feedback));
        for effect in effects {
            let PoolEffect::NeedChain(of, number) = effect else { continue };
            assert!(
                of == origin && numbers.contains(&number),
                "the owner asks for a chain that it was not offered"
            );
        }
        for (origin, number) in pool.pool_state().acknowledgements() {
            let sent = highest.get(&origin).copied().unwrap_or(0);
            assert!(number <= sent, "the owner acknowledges {number}, but was sent {sent}");
        }
    }
    pool.handle(1, PoolInput::Tick);
}

/// Returns whether a batch has more placements or blocks than the owner handles at once.
fn exceeds_bounds(message: &FeedbackBatch) -> bool {
    let blocks = message.placements.iter().map(|placement| placement.suffix.len());
    message.placements.len() > Feedback::MAX_PLACEMENTS
        || blocks.clone().any(|blocks| blocks > signalbox_state::Placement::MAX_BLOCKS)
        || blocks.sum::<usize>() > Feedback::MAX_BLOCKS
}

/// Doubles a suffix, up to little more than the bound.
fn lengthen(placement: &mut Placement, doublings: u8) {
    for _ in 0..doublings {
        if placement.suffix.len() > signalbox_state::Placement::MAX_BLOCKS {
            return;
        }
        let (more, offset) = (placement.suffix.clone(), placement.suffix.len() as u64);
        placement.suffix.extend(more.into_iter().map(|block| block.wrapping_add(offset)));
    }
}

fn spec(at: usize) -> EndpointSpec {
    EndpointSpec {
        name: format!("pod-{at}"),
        address: ([10, 0, 0, 1], 8_000 + at as u16).into(),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    }
}

/// Returns the owner of a pool of two endpoints.
fn pool() -> Pool {
    let mut pool = Pool::new(1, PoolConfig::default());
    let id = PoolId { namespace: "default".to_owned(), name: "pool".to_owned() };
    let spec = PoolSpec { id, endpoints: vec![spec(0), spec(1)], models: Arc::default() };
    pool.handle(0, PoolInput::Spec(spec.into()));
    pool
}

/// Returns streams of a few batches: with known and unknown anchors, and with as many placements as fit.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let [first, second] = [0, 1].map(|at| spec(at).key());
    let placement = |number, endpoint: EndpointKey, anchor, suffix: &[u64]| Placement {
        number,
        endpoint: endpoint.0,
        incarnation: 0,
        anchor,
        suffix: suffix.to_vec(),
    };
    let batch = |seq, placements| FeedbackBatch {
        epoch: 1,
        origin: 7,
        seq,
        all_gauges: seq == 1,
        gauges: vec![InFlightGauge {
            endpoint: first.0,
            load: Some(Load { requests: 1, ..Load::default() }),
        }],
        placements,
        responses: vec![ResponseReport {
            endpoint: first.0,
            probe_sent: seq == 2,
            ..ResponseReport::default()
        }],
        ..FeedbackBatch::default()
    };
    let chains = [
        batch(1, vec![placement(1, first, 0, &[11, 12, 13, 14, 15, 16, 17, 18])]),
        batch(2, vec![placement(2, second, 18, &[19, 20]), placement(3, second, 99, &[100, 101])]),
        batch(3, vec![placement(3, second, 0, &[91, 92, 99, 100, 101])]),
    ];
    let full = [batch(1, (1..=1_024).map(|number| placement(number, first, 0, &[number])).collect())];
    let long = [batch(1, vec![placement(1, first, 0, &[1, 2]), placement(2, second, 0, &[3])])];
    let known = [batch(1, chains[0].placements.clone()), batch(2, vec![placement(2, second, 18, &[])])];
    [(0, &chains[..]), (1, &chains[..]), (0, &known[..]), (0, &full[..]), (15, &long[..]), (16, &long[..])]
        .into_iter()
        .map(|(doublings, batches)| {
            let encoded = batches.iter().flat_map(FeedbackBatch::encode_length_delimited_to_vec);
            std::iter::once(doublings).chain(encoded).collect()
        })
        .collect()
}
