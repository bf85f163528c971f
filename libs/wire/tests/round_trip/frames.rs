//! Frames: snapshots, deltas, epoch changes and heartbeats.

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use prost::Message;
use signalbox_prefix::{ConfirmedRun, PlacedRun, Residency, Run};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{
    AdapterResidency, Assessment, CacheAccuracy, Change, Changes, Chunk, Circuit, Digest, EndpointState,
    Frame, ModelCircuit, Observed, PoolState, SnapshotEntry,
};
use signalbox_types::{
    Adapters, EndpointKey, Format, Incarnation, ModelKey, Origin, Rates, ResponseKey, TokenRatio, Version,
};

use crate::values::{
    adapters, anchor, block, capacity, gauges, key, load, models, names, origin, scrape_status, spec, suffix,
    work,
};
use crate::{flows, signal, through_bytes};

fn residency() -> impl Strategy<Value = Arc<AdapterResidency>> {
    let residency = |(reported, device, host): (Arc<Adapters>, _, _)| {
        Arc::new(AdapterResidency { reported: Arc::unwrap_or_clone(reported), device, host })
    };
    (adapters(), names(), names()).prop_map(residency)
}

fn observed() -> impl Strategy<Value = Observed> {
    let engine = (gauges(), option::of(capacity()), work(), any::<bool>());
    (any::<u64>(), scrape_status(), any::<u64>(), any::<u32>(), engine).prop_map(
        |(incarnation, scrape_status, scrape_status_since_ms, unbooked_requests, engine)| {
            let (gauges, capacity, work, is_asleep) = engine;
            Observed {
                incarnation: Incarnation(incarnation),
                scrape_status,
                scrape_status_since_ms,
                gauges,
                unbooked_requests,
                capacity,
                work,
                is_asleep,
            }
        },
    )
}

fn half_open() -> impl Strategy<Value = Circuit> {
    option::of((1_u64..).prop_map(Origin)).prop_map(Circuit::HalfOpen)
}

fn circuit() -> impl Strategy<Value = Circuit> {
    prop_oneof![Just(Circuit::Closed), half_open(), Just(Circuit::Open)]
}

fn assessment() -> impl Strategy<Value = Assessment> {
    let not_closed = prop_oneof![half_open(), Just(Circuit::Open)];
    let model_circuits = btree_map(any::<u64>().prop_map(ModelKey), not_closed, 0..4);
    (any::<[u32; 3]>(), circuit(), any::<u8>(), model_circuits).prop_map(
        |([prefill, token, interference], circuit, ramp_percent, model_circuits)| {
            let model_circuits: Vec<_> =
                model_circuits.into_iter().map(|(model, circuit)| ModelCircuit { model, circuit }).collect();
            let rates = Rates {
                prefill_tokens_per_second: prefill,
                decode_token_us: token,
                decode_interference_us: interference,
            };
            Assessment { rates, circuit, ramp_percent, model_circuits: model_circuits.into() }
        },
    )
}

fn token_ratio() -> impl Strategy<Value = TokenRatio> {
    (TokenRatio::BYTES_PER_TOKEN_MILLI, TokenRatio::MEDIA_PERCENT, TokenRatio::OUTPUT_TOKENS).prop_map(
        |(bytes_per_token_milli, media_percent, output_tokens)| TokenRatio {
            bytes_per_token_milli,
            media_percent,
            output_tokens,
        },
    )
}

fn cache_accuracy() -> impl Strategy<Value = CacheAccuracy> {
    (any::<Option<i32>>(), 1..=100_u8).prop_map(|(mean_error_tokens, capacity_percent)| CacheAccuracy {
        mean_error_tokens,
        capacity_percent,
    })
}

/// On the heap: together, the values of all variants are too large for the stack of a test.
fn change() -> BoxedStrategy<Change> {
    prop_oneof![
        spec().prop_map(|spec| Change::EndpointSet { spec }),
        key().prop_map(|endpoint| Change::EndpointRemoved { endpoint }),
        models().prop_map(|models| Change::ModelsSet { models }),
        (key(), observed()).prop_map(|(endpoint, observed)| Change::Observed { endpoint, observed }),
        (key(), residency())
            .prop_map(|(endpoint, residency)| Change::AdaptersChanged { endpoint, residency }),
        (key(), assessment()).prop_map(|(endpoint, assessment)| Change::Assessed { endpoint, assessment }),
        (key(), origin(), load()).prop_map(|(endpoint, origin, load)| Change::LoadChanged {
            endpoint,
            origin,
            load
        }),
        origin().prop_map(|origin| Change::OriginExpired { origin }),
        (key(), anchor(), suffix()).prop_map(|(endpoint, anchor, suffix)| Change::Placed {
            endpoint,
            anchor,
            suffix
        }),
        (key(), any::<u64>(), any::<u32>()).prop_map(|(endpoint, last_used_seq, blocks)| Change::Evicted {
            endpoint,
            last_used_seq,
            blocks
        }),
        (origin(), any::<u64>()).prop_map(|(origin, number)| Change::Acknowledged { origin, number }),
        (any::<u64>().prop_map(ModelKey), token_ratio())
            .prop_map(|(model, ratio)| Change::TokenRatioLearned { model, ratio }),
        (key(), cache_accuracy())
            .prop_map(|(endpoint, accuracy)| Change::CacheAccuracyChanged { endpoint, accuracy }),
        any::<(u64, Option<u64>)>().prop_map(|(response, endpoint)| Change::ResponseStored {
            response: ResponseKey(response),
            endpoint: endpoint.map(EndpointKey),
        }),
        any::<u64>().prop_map(|since| Change::ProvisionalSet { since }),
        flows::change().prop_map(Change::Flow),
        signal::signal().prop_map(|signal| Change::Signalled { signal }),
    ]
    .boxed()
}

fn endpoint_state() -> impl Strategy<Value = EndpointState> {
    (spec(), observed(), assessment(), option::of(residency()), any::<u64>(), cache_accuracy()).prop_map(
        |(spec, observed, assessment, adapters, cold_placement_seq, cache_accuracy)| EndpointState {
            key: spec.key(),
            spec,
            observed,
            assessment,
            adapters,
            cold_placement_seq,
            cache_accuracy,
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    let placed = (key(), any::<u32>(), any::<u64>());
    let placed = vec(placed.prop_map(|(endpoint, end, used)| PlacedRun { endpoint, end, used }), 0..4);
    let confirmed = (key(), select(&Residency::ALL[..]), any::<[u32; 2]>());
    let confirmed = confirmed.prop_map(|(endpoint, residency, [from, to])| ConfirmedRun {
        endpoint,
        residency,
        from,
        to,
    });
    (anchor(), any::<u32>(), vec(block(), 1..5), placed, vec(confirmed, 0..3)).prop_map(
        |(parent, start, blocks, placed, confirmed)| Run {
            parent,
            start,
            blocks: blocks.into(),
            placed,
            confirmed,
        },
    )
}

fn entry() -> BoxedStrategy<SnapshotEntry> {
    prop_oneof![
        (endpoint_state(), vec((origin(), load()), 0..6))
            .prop_map(|(state, loads)| SnapshotEntry::Endpoint(Arc::new(state), loads)),
        vec(run(), 0..5).prop_map(SnapshotEntry::Runs),
        (origin(), any::<u64>()).prop_map(|(origin, number)| SnapshotEntry::Origin(origin, number)),
        models().prop_map(SnapshotEntry::Models),
        btree_map(any::<u64>().prop_map(ModelKey), token_ratio(), 1..5)
            .prop_map(|ratios| SnapshotEntry::TokenRatios(Arc::new(ratios))),
        btree_map(any::<u64>().prop_map(ResponseKey), any::<u64>().prop_map(EndpointKey), 1..5)
            .prop_map(|responses| SnapshotEntry::StoredResponses(vec![Arc::new(responses)])),
        (1..=u64::MAX).prop_map(SnapshotEntry::ProvisionalSince),
        flows::part().prop_map(SnapshotEntry::Flow),
        signal::signal().prop_map(SnapshotEntry::Signal),
    ]
    .boxed()
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u64; 10]>().prop_map(
        |[specs, observed, loads, placements, models, usage, flows, responses, outputs, revocable]| Digest {
            specs,
            observed,
            loads,
            placements,
            models,
            usage,
            flows,
            responses,
            outputs,
            revocable,
        },
    )
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    let format = (Format::PROTOCOL - 1..=Format::PROTOCOL + 1, any::<[u32; 2]>())
        .prop_map(|(protocol, [block_bytes, hash])| Format { protocol, block_bytes, hash });
    prop_oneof![
        (any::<[u64; 2]>(), format).prop_map(|([epoch, seq], format)| Frame::SnapshotBegin {
            version: Version { epoch, seq },
            format
        }),
        entry().prop_map(|entry| Frame::SnapshotEntry(Arc::new(entry))),
        (any::<[u64; 3]>(), digest()).prop_map(|([epoch, seq, count], digest)| Frame::SnapshotEnd {
            version: Version { epoch, seq },
            count,
            digest
        }),
        (any::<[u64; 3]>(), vec(vec(change(), 0..3), 0..4)).prop_map(|([epoch, from, to], chunks)| {
            Frame::Delta { epoch, from, to, changes: in_chunks(chunks) }
        }),
        any::<[u64; 3]>()
            .prop_map(|[old, seq, epoch]| Frame::EpochChange { from: Version { epoch: old, seq }, epoch }),
        (any::<[u64; 3]>(), digest()).prop_map(|([epoch, seq, now_ms], digest)| Frame::Heartbeat {
            epoch,
            seq,
            now_ms,
            digest
        }),
    ]
}

fn in_chunks(chunks: Vec<Vec<Change>>) -> Changes {
    chunks.into_iter().map(|chunk| Arc::new(Chunk::new(chunk))).collect::<Vec<_>>().into()
}

#[test]
fn chunk_is_encoded_once_for_all_followers() {
    let chunk = Arc::new(Chunk::new(vec![Change::OriginExpired { origin: Origin(7) }]));
    for from in [3, 4] {
        let changes = Changes::from(vec![Arc::clone(&chunk)]);
        signalbox_wire::encode_frame(&Frame::Delta { epoch: 1, from, to: from + 1, changes });
    }
    let encoded = chunk.encoded(|_| panic!("the chunk is encoded already"));
    assert!(!encoded.is_empty());
}

proptest! {
    #[test]
    fn frames_survive_encoding(sent in frame()) {
        let message = through_bytes(&signalbox_wire::encode_frame(&sent));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_frame(message));
    }

    /// A peer that does not know models ignores them, and its state otherwise equals the owner's.
    #[test]
    fn models_have_no_effect_on_a_peer_that_does_not_know_them(sent in models()) {
        let delta = Frame::Delta { epoch: 1, from: 0, to: 1, changes: vec![Change::ModelsSet { models: Arc::clone(&sent) }].into() };
        let mut message = signalbox_wire::encode_frame(&delta);
        if let Some(pb::frame::Frame::Delta(delta)) = &mut message.frame {
            let mut known = pb::Delta::decode(delta.clone()).unwrap();
            known.changes.iter_mut().for_each(|change| change.models = None);
            *delta = known.encode_to_vec().into();
        }
        let Ok(Frame::Delta { changes, .. }) = signalbox_wire::decode_frame(message) else { panic!("a delta") };
        let mut pool_state = PoolState::default();
        pool_state.apply(1, changes.iter().next().unwrap()).unwrap();
        prop_assert_eq!(Digest::default(), pool_state.digest());

        let mut message = signalbox_wire::encode_frame(&Frame::SnapshotEntry(Arc::new(SnapshotEntry::Models(sent))));
        if let Some(pb::frame::Frame::SnapshotEntry(entry)) = &mut message.frame {
            entry.models = None;
        }
        let empty = Frame::SnapshotEntry(Arc::new(SnapshotEntry::Runs(Vec::new())));
        prop_assert_eq!(Ok(empty), signalbox_wire::decode_frame(message));
    }
}
