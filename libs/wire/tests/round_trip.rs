//! Whatever one process says, another one hears, through the very bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use prost::Message;
use signalbox_prefix::{ConfirmedRun, PlacedRun, Run, Tier};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{
    Answer, Answered, Assessment, Assigned, Change, Circuit, Cursor, Digest, Entry, Feedback, Frame,
    FromAggregator, FromFollower, Member, Observed, Pace, Picture, Placement, Reach, Report, Scope, Shelf,
    Update,
};
use signalbox_types::{
    Adapters, BlockHash, BookingId, Capacity, Ended, EndpointKey, EndpointSpec, Engine, Format, Gauges,
    Generation, Incarnation, Load, ModelRewrite, Models, Objective, Origin, Rates, ReplicaKey, RewriteRule,
    RewriteTarget, Version,
};
use signalbox_wire::{Hello, Reply};

/// The message as the other side decodes it.
fn through_bytes<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("what was encoded is decoded")
}

fn key() -> impl Strategy<Value = EndpointKey> {
    any::<u64>().prop_map(EndpointKey)
}

fn origin() -> impl Strategy<Value = Origin> {
    any::<u64>().prop_map(Origin)
}

fn ended() -> impl Strategy<Value = Ended> {
    let booking = (any::<u64>(), any::<u64>())
        .prop_map(|(replica, number)| BookingId { replica: ReplicaKey(replica), number });
    let served = option::of(any::<([u8; 4], u16)>().prop_map(SocketAddr::from));
    let first_byte = option::of((1..=u64::MAX).prop_map(Duration::from_micros));
    (booking, option::of(1..=u16::MAX), served, first_byte)
        .prop_map(|(booking, status, served, first_byte)| Ended { booking, status, served, first_byte })
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
    any::<(u32, u32, Option<u32>)>().prop_map(|(waiting, running, kv_used_ppm)| Gauges {
        waiting,
        running,
        kv_used_ppm,
    })
}

fn capacity() -> impl Strategy<Value = Capacity> {
    any::<u64>().prop_map(|kv_tokens| Capacity { kv_tokens })
}

fn reach() -> impl Strategy<Value = Reach> {
    select(vec![Reach::Unknown, Reach::Fresh, Reach::Stale, Reach::Down])
}

fn adapters() -> impl Strategy<Value = Arc<Adapters>> {
    let names = || vec("[a-z]{0,4}".prop_map(Arc::from), 0..3);
    let adapters = |(slots, running, waiting)| Arc::new(Adapters { slots, running, waiting });
    (any::<u32>(), names(), names()).prop_map(adapters)
}

fn shelf() -> impl Strategy<Value = Arc<Shelf>> {
    let names = || vec("[a-z]{0,4}".prop_map(Arc::from), 0..3);
    let shelf = |(seen, device, host): (Arc<Adapters>, _, _)| {
        Arc::new(Shelf { seen: Arc::unwrap_or_clone(seen), device, host })
    };
    (adapters(), names(), names()).prop_map(shelf)
}

fn answer() -> impl Strategy<Value = Answer> {
    let began = any::<[u64; 2]>().prop_map(|[work_tokens, took_us]| Answered::Began { work_tokens, took_us });
    let answered = prop_oneof![Just(Answered::Failed), began];
    (key(), answered).prop_map(|(endpoint, answered)| Answer { endpoint, answered })
}

fn pace() -> impl Strategy<Value = Pace> {
    any::<[u32; 2]>().prop_map(|[token_us, running_milli]| Pace { token_us, running_milli })
}

fn spec() -> impl Strategy<Value = Arc<EndpointSpec>> {
    let labels = btree_map("[a-z]{0,3}", ".{0,3}", 0..3);
    let engine = select(Engine::ALL.to_vec());
    (".{0,8}", any::<(std::net::IpAddr, u16)>(), ".{0,8}", engine, labels).prop_map(
        |(name, address, metrics_url, engine, labels): (_, _, _, _, BTreeMap<_, _>)| {
            Arc::new(EndpointSpec { name, address: address.into(), metrics_url, engine, labels })
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
    (any::<u64>(), reach(), any::<u64>(), gauges(), any::<u32>(), option::of(capacity())).prop_map(
        |(incarnation, reach, reach_since_ms, gauges, foreign, capacity)| Observed {
            incarnation: Incarnation(incarnation),
            reach,
            reach_since_ms,
            gauges,
            foreign,
            capacity,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        spec().prop_map(|spec| Change::EndpointSet { spec }),
        key().prop_map(|endpoint| Change::EndpointRemoved { endpoint }),
        models().prop_map(|models| Change::ModelsSet { models }),
        (key(), observed()).prop_map(|(endpoint, observed)| Change::Observed { endpoint, observed }),
        (key(), shelf()).prop_map(|(endpoint, shelf)| Change::Shelved { endpoint, shelf }),
        (key(), assessment()).prop_map(|(endpoint, assessment)| Change::Assessed { endpoint, assessment }),
        (key(), origin(), load()).prop_map(|(endpoint, origin, load)| Change::Loaded {
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
        (key(), any::<u64>(), any::<u32>()).prop_map(|(endpoint, used, blocks)| Change::Evicted {
            endpoint,
            used,
            blocks
        }),
        (origin(), any::<u64>()).prop_map(|(origin, number)| Change::Acknowledged { origin, number }),
    ]
}

fn assessment() -> impl Strategy<Value = Assessment> {
    let circuit = prop_oneof![Just(Circuit::Sound), Just(Circuit::Probing), Just(Circuit::Broken)];
    (any::<[u32; 3]>(), circuit, any::<u8>()).prop_map(
        |([prefill, token, interference], circuit, ramp_percent)| {
            let rates = Rates {
                prefill_tokens_per_second: prefill,
                decode_token_us: token,
                decode_interference_us: interference,
            };
            Assessment { rates, circuit, ramp_percent }
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    (spec(), observed(), assessment(), option::of(shelf()), vec((origin(), load()), 0..6), any::<u64>())
        .prop_map(|(spec, observed, assessment, adapters, loads, cold_seq)| Member {
            key: spec.key(),
            spec,
            observed,
            assessment,
            adapters,
            loads: loads.into(),
            cold_seq,
        })
}

fn run() -> impl Strategy<Value = Run> {
    let placed = (key(), any::<u32>(), any::<u64>());
    let placed = vec(placed.prop_map(|(endpoint, end, used)| PlacedRun { endpoint, end, used }), 0..4);
    let confirmed = (key(), select(&Tier::ALL[..]), any::<[u32; 2]>());
    let confirmed =
        confirmed.prop_map(|(endpoint, tier, [from, to])| ConfirmedRun { endpoint, tier, from, to });
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

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        member().prop_map(|member| Entry::Endpoint(Arc::new(member))),
        vec(run(), 0..5).prop_map(Entry::Runs),
        (origin(), any::<u64>()).prop_map(|(origin, number)| Entry::Origin(origin, number)),
        models().prop_map(Entry::Models),
    ]
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u64; 5]>().prop_map(|[specs, observed, loads, placements, models]| Digest {
        specs,
        observed,
        loads,
        placements,
        models,
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    let format = (0..=Format::PROTOCOL + 1, any::<[u32; 2]>())
        .prop_map(|(protocol, [block_bytes, hash])| Format { protocol, block_bytes, hash });
    prop_oneof![
        (any::<[u64; 2]>(), format)
            .prop_map(|([epoch, seq], format)| Frame::Init { version: Version { epoch, seq }, format }),
        entry().prop_map(|entry| Frame::Entry(Arc::new(entry))),
        (any::<[u64; 3]>(), digest()).prop_map(|([epoch, seq, count], digest)| Frame::InitDone {
            version: Version { epoch, seq },
            count,
            digest
        }),
        (any::<[u64; 3]>(), vec(change().prop_map(Arc::new), 0..5))
            .prop_map(|([epoch, from, to], changes)| Frame::Delta { epoch, from, to, changes }),
        any::<[u64; 3]>()
            .prop_map(|[old, seq, epoch]| Frame::Turn { from: Version { epoch: old, seq }, epoch }),
        (any::<[u64; 3]>(), digest()).prop_map(|([epoch, seq, now_ms], digest)| Frame::Beat {
            epoch,
            seq,
            now_ms,
            digest
        }),
    ]
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
    let scope = prop_oneof![Just(Scope::Whole), Just(Scope::Changed)];
    let told = (vec((key(), "[a-z]{0,4}".prop_map(Arc::from)), 0..3), vec(answer(), 0..3));
    (any::<[u64; 2]>(), origin(), scope, vec((key(), load()), 0..4), vec(placement, 0..4), told).prop_map(
        |([epoch, seq], origin, scope, gauges, placements, (adapters, answers))| Feedback {
            epoch,
            origin,
            seq,
            scope,
            gauges,
            placements,
            adapters,
            answers,
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let update = (
        any::<u64>(),
        reach(),
        option::of(gauges()),
        option::of(capacity()),
        option::of(adapters()),
        option::of(pace()),
    )
        .prop_map(|(incarnation, reach, gauges, capacity, adapters, pace)| Update {
            incarnation: Incarnation(incarnation),
            reach,
            gauges,
            capacity,
            adapters,
            pace,
        });
    (key(), any::<[u64; 2]>(), update).prop_map(|(endpoint, [generation, age_ms], update)| Report {
        endpoint,
        generation: Generation(generation),
        age_ms,
        update,
    })
}

fn assigned() -> impl Strategy<Value = Assigned> {
    (key(), any::<u64>(), spec()).prop_map(|(endpoint, generation, spec)| Assigned {
        endpoint,
        generation: Generation(generation),
        name: spec.name.clone(),
        metrics_url: spec.metrics_url.clone(),
        engine: spec.engine,
    })
}

fn held() -> impl Strategy<Value = Option<Version>> {
    option::of((1..=u64::MAX, any::<u64>()).prop_map(|(epoch, seq)| Version { epoch, seq }))
}

fn from_follower() -> impl Strategy<Value = FromFollower> {
    let cursor = (held(), any::<u64>()).prop_map(|(version, epoch)| {
        let epoch = epoch.max(version.map_or(0, |version| version.epoch));
        FromFollower::Cursor(Cursor { version, epoch })
    });
    prop_oneof![cursor, frame().prop_map(FromFollower::Offered)]
}

fn from_aggregator() -> impl Strategy<Value = FromAggregator> {
    prop_oneof![
        frame().prop_map(FromAggregator::Frame),
        any::<u64>().prop_map(|epoch| FromAggregator::Standing { epoch }),
        held().prop_map(|after| FromAggregator::Asked { after }),
    ]
}

proptest! {
    #[test]
    fn frames(sent in frame()) {
        let message = through_bytes(&signalbox_wire::frame_message(&sent));
        prop_assert_eq!(Ok(sent), signalbox_wire::frame(message));
    }

    /// One that does not know models takes what is said of them for nothing, and holds all else as the owner does.
    #[test]
    fn models_change_nothing_for_a_reader_that_does_not_know_them(said in models()) {
        let told = Frame::Delta { epoch: 1, from: 0, to: 1, changes: vec![Arc::new(Change::ModelsSet { models: Arc::clone(&said) })] };
        let mut message = signalbox_wire::frame_message(&told);
        if let Some(pb::frame::Frame::Delta(delta)) = &mut message.frame {
            delta.changes.iter_mut().for_each(|change| change.models = None);
        }
        let Ok(Frame::Delta { changes, .. }) = signalbox_wire::frame(message) else { panic!("a delta") };
        let mut picture = Picture::default();
        picture.apply(1, &changes[0]).unwrap();
        prop_assert_eq!(Digest::default(), picture.digest());

        let mut message = signalbox_wire::frame_message(&Frame::Entry(Arc::new(Entry::Models(said))));
        if let Some(pb::frame::Frame::Entry(entry)) = &mut message.frame {
            entry.models = None;
        }
        let nothing = Frame::Entry(Arc::new(Entry::Runs(Vec::new())));
        prop_assert_eq!(Ok(nothing), signalbox_wire::frame(message));
    }

    #[test]
    fn feedbacks(sent in feedback()) {
        let message = through_bytes(&signalbox_wire::feedback_batch(None, sent.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::feedback(message));
    }

    #[test]
    fn replies(epoch in any::<u64>(), number in any::<u64>()) {
        for sent in [Reply::NeedChain(number), Reply::Expired(Origin(number))] {
            let message = through_bytes(&signalbox_wire::feedback_reply(epoch, sent));
            prop_assert_eq!((epoch, Ok(sent)), (message.epoch, signalbox_wire::reply(&message)));
        }
    }

    #[test]
    fn ends_of_requests(sent in vec(ended(), 0..4), name in ".{0,5}") {
        let hello = Hello { pool: None, name };
        let message = through_bytes(&signalbox_wire::ended_batch(Some(&hello), &sent));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::ended(message));
    }

    #[test]
    fn reports(epoch in any::<u64>(), name in ".{0,5}", sent in vec(report(), 0..4)) {
        let message = through_bytes(&signalbox_wire::collector_message(None, epoch, &name, sent.clone()));
        prop_assert_eq!((epoch, &name), (message.epoch, &message.collector));
        prop_assert_eq!(Ok(sent), signalbox_wire::reports(message));
    }

    #[test]
    fn assignments(epoch in any::<u64>(), sent in vec(assigned(), 0..4)) {
        let message = through_bytes(&signalbox_wire::directive(epoch, sent.clone()));
        prop_assert_eq!((epoch, Ok(sent)), (message.epoch, signalbox_wire::assigned(message)));
    }

    #[test]
    fn what_followers_say(said in from_follower(), name in ".{0,5}") {
        let hello = Hello { pool: Some("default/pool".to_owned()), name };
        let message = through_bytes(&signalbox_wire::follower_message(Some(&hello), said.clone()));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(said), signalbox_wire::from_follower(message));
    }

    #[test]
    fn what_aggregators_say(said in from_aggregator(), name in ".{0,5}") {
        let hello = Hello { pool: None, name };
        let message = through_bytes(&signalbox_wire::from_aggregator_message(Some(&hello), &said));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(said), signalbox_wire::from_aggregator(message));
    }
}
