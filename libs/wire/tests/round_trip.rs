//! Every message survives encoding to bytes and decoding.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use prost::Message;
use signalbox_prefix::{ConfirmedRun, PlacedRun, Residency, Run};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{
    AdapterResidency, Assessment, AssignedEndpoint, CacheAccuracy, Change, Circuit, Cursor,
    DecodeObservation, Digest, EndpointState, Feedback, Frame, FromAggregator, FromFollower, GaugeScope,
    HeardOwner, ModelCircuit, Observed, Placement, PoolState, Report, ResponseOutcome, ResponseReport,
    ScrapeStatus, SnapshotEntry, Update, UsageReport,
};
use signalbox_types::{
    Adapters, BlockHash, BookingId, Capacity, EndpointKey, EndpointSpec, Engine, Format, Gauges, Generation,
    Incarnation, Load, LoadedAdapters, MetricsTls, ModelKey, ModelRewrite, Models, Objective, Origin, Rates,
    ReplicaKey, RequestEnd, RewriteRule, RewriteTarget, TokenRatio, Version, Work,
};
use signalbox_wire::{FeedbackReply, Hello};

/// Returns the message as its receiver decodes it.
fn through_bytes<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("encoded messages decode")
}

fn key() -> impl Strategy<Value = EndpointKey> {
    any::<u64>().prop_map(EndpointKey)
}

fn origin() -> impl Strategy<Value = Origin> {
    any::<u64>().prop_map(Origin)
}

fn request_end() -> impl Strategy<Value = RequestEnd> {
    let booking = (any::<u64>(), any::<u64>())
        .prop_map(|(replica, number)| BookingId { replica: ReplicaKey(replica), number });
    let served = option::of(any::<([u8; 4], u16)>().prop_map(SocketAddr::from));
    let first_byte = option::of((1..=u64::MAX).prop_map(Duration::from_micros));
    (booking, option::of(1..=u16::MAX), served, first_byte)
        .prop_map(|(booking, status, served, first_byte)| RequestEnd { booking, status, served, first_byte })
}

fn block() -> impl Strategy<Value = BlockHash> {
    (1..=u64::MAX).prop_map(BlockHash)
}

fn anchor() -> impl Strategy<Value = BlockHash> {
    any::<u64>().prop_map(BlockHash)
}

fn suffix() -> impl Strategy<Value = Arc<[BlockHash]>> {
    vec(block(), 0..6).prop_map(Arc::from)
}

fn load() -> impl Strategy<Value = Load> {
    any::<(u32, u32, u64)>().prop_map(|(requests, prefills, prefill_tokens)| Load {
        requests,
        prefills,
        prefill_tokens,
    })
}

fn gauges() -> impl Strategy<Value = Gauges> {
    any::<(u32, Option<u32>, Option<u32>)>().prop_map(|(waiting, running, kv_used_ppm)| Gauges {
        waiting,
        running,
        kv_used_ppm,
    })
}

fn work() -> impl Strategy<Value = Work> {
    any::<[u64; 3]>().prop_map(|[requests, prompt_tokens, output_tokens]| Work {
        requests,
        prompt_tokens,
        output_tokens,
    })
}

fn capacity() -> impl Strategy<Value = Capacity> {
    any::<u64>().prop_map(|kv_tokens| Capacity { kv_tokens })
}

fn scrape_status() -> impl Strategy<Value = ScrapeStatus> {
    select(vec![ScrapeStatus::Unknown, ScrapeStatus::Fresh, ScrapeStatus::Stale, ScrapeStatus::Down])
}

/// Sorted names of adapters.
fn names() -> impl Strategy<Value = Vec<Arc<str>>> {
    btree_set("[a-z]{0,4}".prop_map(Arc::from), 0..3).prop_map(Vec::from_iter)
}

fn adapters() -> impl Strategy<Value = Arc<Adapters>> {
    let loaded = (names(), names()).prop_map(|(device, host)| LoadedAdapters { device, host });
    let adapters = |(slots, running, waiting, loaded)| Arc::new(Adapters { slots, running, waiting, loaded });
    (0..=Adapters::MAX_SLOTS, names(), names(), option::of(loaded)).prop_map(adapters)
}

fn residency() -> impl Strategy<Value = Arc<AdapterResidency>> {
    let residency = |(reported, device, host): (Arc<Adapters>, _, _)| {
        Arc::new(AdapterResidency { reported: Arc::unwrap_or_clone(reported), device, host })
    };
    (adapters(), names(), names()).prop_map(residency)
}

fn response() -> impl Strategy<Value = ResponseReport> {
    let outcome = prop_oneof![
        Just(ResponseOutcome::Failed),
        Just(ResponseOutcome::Refused),
        Just(ResponseOutcome::FirstOutput),
        Just(ResponseOutcome::ProbeSent),
    ];
    (key(), any::<u64>(), outcome).prop_map(|(endpoint, model, outcome)| ResponseReport {
        endpoint,
        model: ModelKey(model),
        outcome,
    })
}

fn decode() -> impl Strategy<Value = DecodeObservation> {
    any::<[u32; 2]>()
        .prop_map(|[inter_token_us, running_milli]| DecodeObservation { inter_token_us, running_milli })
}

fn spec() -> impl Strategy<Value = Arc<EndpointSpec>> {
    let labels = btree_map("[a-z]{0,3}", ".{0,3}", 0..3);
    let engine = select(Engine::ALL.to_vec());
    let address = any::<(std::net::IpAddr, u16)>().prop_map(std::net::SocketAddr::from);
    let metrics_tls = select(vec![MetricsTls::Verified, MetricsTls::Unverified]);
    (".{0,8}", address, ".{0,8}", engine, labels, any::<bool>(), metrics_tls).prop_map(
        |(name, address, metrics_url, engine, labels, is_draining, metrics_tls)| {
            Arc::new(EndpointSpec { name, address, metrics_url, engine, labels, is_draining, metrics_tls })
        },
    )
}

fn models() -> impl Strategy<Value = Arc<Models>> {
    let name = || ".{0,4}";
    let objective = (name(), any::<i32>()).prop_map(|(name, priority)| Objective { name, priority });
    let target = (name(), option::of(1..=RewriteTarget::WEIGHT_MAX));
    let target = target.prop_map(|(model, weight)| RewriteTarget { model, weight });
    let rule = (vec(name(), 0..3), vec(target, 1..3));
    let rule = rule.prop_map(|(models, targets)| RewriteRule { models, targets });
    let rewrite = (name(), option::of(any::<u64>()), vec(rule, 0..3))
        .prop_map(|(name, created_ms, rules)| ModelRewrite { name, created_ms, rules });
    (vec(objective, 0..3), vec(rewrite, 0..3))
        .prop_map(|(objectives, rewrites)| Arc::new(Models::new(objectives, rewrites)))
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

fn change() -> impl Strategy<Value = Change> {
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
    ]
}

fn circuit() -> impl Strategy<Value = Circuit> {
    prop_oneof![Just(Circuit::Closed), Just(Circuit::HalfOpen), Just(Circuit::Open)]
}

fn assessment() -> impl Strategy<Value = Assessment> {
    let not_closed = prop_oneof![Just(Circuit::HalfOpen), Just(Circuit::Open)];
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
    (TokenRatio::BYTES_PER_TOKEN_MILLI, TokenRatio::MEDIA_PERCENT).prop_map(
        |(bytes_per_token_milli, media_percent)| TokenRatio { bytes_per_token_milli, media_percent },
    )
}

fn cache_accuracy() -> impl Strategy<Value = CacheAccuracy> {
    (any::<Option<i32>>(), 1..=100_u8).prop_map(|(mean_error_tokens, capacity_percent)| CacheAccuracy {
        mean_error_tokens,
        capacity_percent,
    })
}

fn endpoint_state() -> impl Strategy<Value = EndpointState> {
    (
        spec(),
        observed(),
        assessment(),
        option::of(residency()),
        vec((origin(), load()), 0..6),
        any::<u64>(),
        cache_accuracy(),
    )
        .prop_map(|(spec, observed, assessment, adapters, loads, cold_placement_seq, cache_accuracy)| {
            EndpointState {
                key: spec.key(),
                spec,
                observed,
                assessment,
                adapters,
                loads: loads.into(),
                cold_placement_seq,
                cache_accuracy,
            }
        })
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

fn entry() -> impl Strategy<Value = SnapshotEntry> {
    prop_oneof![
        endpoint_state().prop_map(|endpoint_state| SnapshotEntry::Endpoint(Arc::new(endpoint_state))),
        vec(run(), 0..5).prop_map(SnapshotEntry::Runs),
        (origin(), any::<u64>()).prop_map(|(origin, number)| SnapshotEntry::Origin(origin, number)),
        models().prop_map(SnapshotEntry::Models),
        btree_map(any::<u64>().prop_map(ModelKey), token_ratio(), 1..5)
            .prop_map(|ratios| SnapshotEntry::TokenRatios(Arc::new(ratios))),
    ]
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u64; 6]>().prop_map(|[specs, observed, loads, placements, models, usage]| Digest {
        specs,
        observed,
        loads,
        placements,
        models,
        usage,
    })
}

fn frame() -> impl Strategy<Value = Frame> {
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
        (any::<[u64; 3]>(), vec(change().prop_map(Arc::new), 0..5))
            .prop_map(|([epoch, from, to], changes)| Frame::Delta { epoch, from, to, changes }),
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

fn usage() -> impl Strategy<Value = UsageReport> {
    let placed = (any::<u64>().prop_map(BlockHash), any::<u32>(), any::<Option<u32>>());
    (key(), any::<[u64; 7]>(), any::<[Option<u64>; 3]>(), placed).prop_map(
        |(endpoint, numbers, optional, placed)| {
            let [
                incarnation,
                model,
                text_bytes,
                token_ids,
                media_tokens,
                predicted_tokens,
                predicted_cached_tokens,
            ] = numbers;
            let [prompt_tokens, cached_tokens, sole_prefill_us] = optional;
            let (last_block, held_blocks, cached_blocks) = placed;
            UsageReport {
                endpoint,
                incarnation: Incarnation(incarnation),
                model: ModelKey(model),
                text_bytes,
                token_ids,
                media_tokens,
                predicted_tokens,
                predicted_cached_tokens,
                prompt_tokens,
                cached_tokens,
                last_block,
                held_blocks,
                cached_blocks,
                sole_prefill_us,
            }
        },
    )
}

fn feedback() -> impl Strategy<Value = Feedback> {
    let placement = (any::<[u64; 2]>(), key(), anchor(), suffix()).prop_map(
        |([number, incarnation], endpoint, anchor, suffix)| Placement {
            number,
            endpoint,
            incarnation: Incarnation(incarnation),
            anchor,
            suffix,
        },
    );
    let scope = prop_oneof![Just(GaugeScope::All), Just(GaugeScope::Changed)];
    let events =
        (vec((key(), "[a-z]{0,4}".prop_map(Arc::from)), 0..3), vec(response(), 0..3), vec(usage(), 0..3));
    (any::<[u64; 2]>(), origin(), scope, vec((key(), load()), 0..4), vec(placement, 0..4), events).prop_map(
        |([epoch, seq], origin, scope, gauges, placements, (adapters, responses, usage))| Feedback {
            epoch,
            origin,
            seq,
            scope,
            gauges,
            placements,
            adapters,
            responses,
            usage,
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let update = (
        any::<u64>(),
        scrape_status(),
        option::of(gauges()),
        option::of(capacity()),
        option::of(adapters()),
        option::of(decode()),
        option::of(work()),
        any::<Option<bool>>(),
    )
        .prop_map(|(incarnation, scrape_status, gauges, capacity, adapters, decode, work, is_asleep)| {
            Update {
                incarnation: Incarnation(incarnation),
                scrape_status,
                gauges,
                capacity,
                adapters,
                decode,
                work,
                is_asleep,
            }
        });
    (key(), any::<[u64; 2]>(), update).prop_map(|(endpoint, [generation, age_ms], update)| Report {
        endpoint,
        generation: Generation(generation),
        age_ms,
        update,
    })
}

fn assigned() -> impl Strategy<Value = AssignedEndpoint> {
    (key(), any::<u64>(), spec()).prop_map(|(endpoint, generation, spec)| AssignedEndpoint {
        endpoint,
        generation: Generation(generation),
        name: spec.name.clone(),
        metrics_url: spec.metrics_url.clone(),
        engine: spec.engine,
        metrics_tls: spec.metrics_tls,
    })
}

fn version() -> impl Strategy<Value = Option<Version>> {
    option::of((1..=u64::MAX, any::<u64>()).prop_map(|(epoch, seq)| Version { epoch, seq }))
}

fn from_follower() -> impl Strategy<Value = FromFollower> {
    let heard = prop_oneof![
        Just(HeardOwner::Unknown),
        Just(HeardOwner::Nobody),
        (1..=u64::MAX).prop_map(HeardOwner::Epoch),
    ];
    let cursor = (version(), any::<u64>(), heard).prop_map(|(version, epoch, heard)| {
        let epoch = epoch.max(version.map_or(0, |version| version.epoch));
        FromFollower::Cursor(Cursor { version, epoch, heard })
    });
    prop_oneof![cursor, frame().prop_map(FromFollower::FetchReply)]
}

fn from_aggregator() -> impl Strategy<Value = FromAggregator> {
    prop_oneof![
        frame().prop_map(FromAggregator::Frame),
        any::<u64>().prop_map(|epoch| FromAggregator::NotOwner { epoch }),
        version().prop_map(|after| FromAggregator::FetchRequest { after }),
    ]
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
        let delta = Frame::Delta { epoch: 1, from: 0, to: 1, changes: vec![Arc::new(Change::ModelsSet { models: Arc::clone(&sent) })] };
        let mut message = signalbox_wire::encode_frame(&delta);
        if let Some(pb::frame::Frame::Delta(delta)) = &mut message.frame {
            delta.changes.iter_mut().for_each(|change| change.models = None);
        }
        let Ok(Frame::Delta { changes, .. }) = signalbox_wire::decode_frame(message) else { panic!("a delta") };
        let mut pool_state = PoolState::default();
        pool_state.apply(1, &changes[0]).unwrap();
        prop_assert_eq!(Digest::default(), pool_state.digest());

        let mut message = signalbox_wire::encode_frame(&Frame::SnapshotEntry(Arc::new(SnapshotEntry::Models(sent))));
        if let Some(pb::frame::Frame::SnapshotEntry(entry)) = &mut message.frame {
            entry.models = None;
        }
        let empty = Frame::SnapshotEntry(Arc::new(SnapshotEntry::Runs(Vec::new())));
        prop_assert_eq!(Ok(empty), signalbox_wire::decode_frame(message));
    }

    #[test]
    fn feedback_survives_encoding(sent in feedback()) {
        let message = through_bytes(&signalbox_wire::encode_feedback(None, sent.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_feedback(message));
    }

    #[test]
    fn replies_survive_encoding(epoch in any::<u64>(), number in any::<u64>()) {
        for sent in [FeedbackReply::NeedChain(number), FeedbackReply::Expired(Origin(number))] {
            let message = through_bytes(&signalbox_wire::encode_feedback_reply(epoch, sent));
            prop_assert_eq!((epoch, Ok(sent)), (message.epoch, signalbox_wire::decode_feedback_reply(&message)));
        }
    }

    #[test]
    fn request_ends_survive_encoding(sent in vec(request_end(), 0..4), name in ".{0,5}") {
        let hello = Hello { pool: None, name };
        let message = through_bytes(&signalbox_wire::encode_request_ends(Some(&hello), &sent));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_request_ends(message));
    }

    #[test]
    fn reports_survive_encoding(epoch in any::<u64>(), name in ".{0,5}", sent in vec(report(), 0..4)) {
        let message = through_bytes(&signalbox_wire::encode_reports(None, epoch, &name, sent.clone()));
        prop_assert_eq!((epoch, &name), (message.epoch, &message.collector));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_reports(message));
    }

    #[test]
    fn assignments_survive_encoding(epoch in any::<u64>(), sent in vec(assigned(), 0..4)) {
        let message = through_bytes(&signalbox_wire::encode_assignment(epoch, sent.clone()));
        prop_assert_eq!((epoch, Ok(sent)), (message.epoch, signalbox_wire::decode_assignment(message)));
    }

    #[test]
    fn follower_messages_survive_encoding(sent in from_follower(), name in ".{0,5}") {
        let hello = Hello { pool: Some("default/pool".to_owned()), name };
        let message = through_bytes(&signalbox_wire::encode_follower_message(Some(&hello), sent.clone()));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_follower_message(message));
    }

    #[test]
    fn aggregator_messages_survive_encoding(sent in from_aggregator(), name in ".{0,5}") {
        let hello = Hello { pool: None, name };
        let message = through_bytes(&signalbox_wire::encode_aggregator_message(Some(&hello), &sent));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_aggregator_message(message));
    }
}
