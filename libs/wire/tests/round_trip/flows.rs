//! Flow control: what waits, what may go, and the settings.

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use signalbox_flow::{
    Backlog, BandSettings, BandShares, Caps, Ceilings, Credit, Detector, Fairness, FlowKey, FlowSettings,
    Ordering, PeerBacklog, PeerRevocable, Revocable, RevocableClass, Served, Usage,
};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{
    Change, Digest, DrainRate, Feedback, FlowChange, FlowMeasures, FlowPart, FlowReport, Frame, GaugeScope,
    OriginFlows, PoolState,
};
use signalbox_types::Origin;
use signalbox_wire::WireError;

use crate::values::origin;

fn flow() -> impl Strategy<Value = FlowKey> {
    (any::<i32>(), "[a-zä]{0,60}").prop_map(|(priority, id)| FlowKey { priority, id: id.into() })
}

fn usage() -> impl Strategy<Value = Usage> {
    (0..=1_u64 << 32, 0..=1_u64 << 48, 0..=1_u64 << 48).prop_map(|(requests, bytes, tokens)| Usage {
        requests,
        bytes,
        tokens,
    })
}

fn number() -> impl Strategy<Value = u64> {
    0..=1_u64 << 62
}

fn peer_backlog() -> impl Strategy<Value = PeerBacklog> {
    (usage(), any::<u64>(), number(), number())
        .prop_map(|(usage, oldest_ms, released, granted)| PeerBacklog { usage, oldest_ms, released, granted })
}

fn band() -> impl Strategy<Value = BandSettings> {
    let fairness = prop_oneof![
        Just(Fairness::Weighted),
        Just(Fairness::Strict),
        Just(Fairness::RoundRobin),
        Just(Fairness::ProgramAware)
    ];
    let ordering = prop_oneof![Just(Ordering::Arrival), Just(Ordering::Deadline), Just(Ordering::TtftGoal)];
    (caps(), fairness, ordering, 0..=100_u8).prop_map(|(caps, fairness, ordering, min_share_percent)| {
        BandSettings { caps, fairness, ordering, min_share_percent }
    })
}

fn caps() -> impl Strategy<Value = Caps> {
    any::<[u64; 3]>().prop_map(|[requests, bytes, tokens]| Caps { requests, bytes, tokens })
}

fn detector() -> impl Strategy<Value = Detector> {
    let limit = || 0.0..1e9_f64;
    prop_oneof![
        any::<u64>().prop_map(|hold_ms| Detector::Wait { hold_ms }),
        (limit(), limit()).prop_map(|(queue_depth, kv_use)| Detector::Utilization { queue_depth, kv_use }),
        (option::of(limit()), option::of(limit()))
            .prop_map(|(requests, tokens)| Detector::Concurrency { requests, tokens }),
    ]
}

fn ceilings() -> impl Strategy<Value = Ceilings> {
    let bounds = || (0.0..1.0_f64, 0.0..2.0_f64);
    prop_oneof![
        Just(Ceilings::Static),
        bounds().prop_map(|(lowest, highest)| Ceilings::HoldbackByRank { lowest, highest }),
        bounds().prop_map(|(lowest, highest)| Ceilings::HoldbackByValue { lowest, highest }),
        Just(Ceilings::Reflective),
    ]
}

fn settings() -> impl Strategy<Value = Arc<FlowSettings>> {
    let times = (any::<Option<u64>>(), any::<Option<u64>>(), any::<u64>());
    let bands = (btree_map(any::<i32>(), band(), 0..4), band(), band());
    let weights = btree_map("[a-z]{0,9}", any::<u32>(), 0..4);
    (caps(), times, bands, weights, detector(), ceilings(), any::<bool>()).prop_map(
        |(caps, times, bands, weights, detector, ceilings, revokes)| {
            let (request_ttl_ms, no_endpoint_ttl_ms, sheddable_wait_ms) = times;
            let (bands, default_band, default_negative_band) = bands;
            Arc::new(FlowSettings {
                caps,
                request_ttl_ms,
                no_endpoint_ttl_ms,
                sheddable_wait_ms,
                bands,
                default_band,
                default_negative_band,
                weights,
                detector,
                ceilings,
                revokes,
            })
        },
    )
}

fn shares() -> impl Strategy<Value = Arc<BandShares>> {
    let id = || "[a-z]{0,9}".prop_map(Arc::from);
    let served = any::<[u64; 3]>().prop_map(|[finish, attained_milli, attained_at_ms]| Served {
        finish,
        attained_milli,
        attained_at_ms,
    });
    (any::<[u64; 2]>(), option::of(id()), btree_map(id(), served, 0..4)).prop_map(
        |([virtual_time, hundredths], latest, served)| {
            Arc::new(BandShares { virtual_time, latest, credit: Credit { hundredths }, served })
        },
    )
}

fn class() -> impl Strategy<Value = RevocableClass> {
    (i32::MIN..0, any::<bool>())
        .prop_map(|(priority, is_processed)| RevocableClass { priority, is_processed })
}

fn revocable() -> impl Strategy<Value = Revocable> {
    (usage(), any::<[u64; 2]>(), number()).prop_map(|(usage, [newest_age_ms, oldest_age_ms], revoked)| {
        let Usage { requests, tokens, .. } = usage;
        Revocable { requests, tokens, newest_age_ms, oldest_age_ms, revoked }
    })
}

fn peer_revocable() -> impl Strategy<Value = PeerRevocable> {
    (usage(), any::<[u64; 2]>(), number(), number()).prop_map(
        |(usage, [newest_ms, oldest_ms], revoked, ordered)| {
            let Usage { requests, tokens, .. } = usage;
            PeerRevocable { requests, tokens, newest_ms, oldest_ms, revoked, ordered }
        },
    )
}

fn measures() -> impl Strategy<Value = FlowMeasures> {
    (any::<[u32; 2]>(), any::<[u64; 2]>()).prop_map(
        |([saturation_milli, assumed_speed_milli], [milli_requests_per_second, tokens_per_second])| {
            let drain_rate = DrainRate { milli_requests_per_second, tokens_per_second };
            FlowMeasures { saturation_milli, drain_rate, assumed_speed_milli }
        },
    )
}

pub(crate) fn change() -> impl Strategy<Value = FlowChange> {
    prop_oneof![
        (origin(), settings())
            .prop_map(|(origin, settings)| FlowChange::SettingsReported { origin, settings }),
        (origin(), flow(), peer_backlog()).prop_map(|(origin, flow, backlog)| FlowChange::BacklogChanged {
            origin,
            flow,
            backlog
        }),
        (origin(), class(), peer_revocable()).prop_map(|(origin, class, revocable)| {
            FlowChange::RevocableChanged { origin, class, revocable }
        }),
        (any::<i32>(), shares()).prop_map(|(priority, shares)| FlowChange::BandServed { priority, shares }),
        measures().prop_map(FlowChange::Measured),
    ]
}

pub(crate) fn part() -> impl Strategy<Value = FlowPart> {
    let backlogs = vec((flow(), peer_backlog()), 0..4);
    let revocable = (any::<bool>(), vec((class(), peer_revocable()), 0..4));
    let flows = (any::<Option<u64>>(), backlogs, revocable).prop_map(
        |(reported, backlogs, (reports_revokes, revocable))| {
            Arc::new(OriginFlows::new(reported, backlogs).with_revocable(reports_revokes, revocable))
        },
    );
    prop_oneof![
        (settings(), measures()).prop_map(|(settings, measures)| FlowPart::Pool(settings, measures)),
        (origin(), flows).prop_map(|(origin, flows)| FlowPart::Origin(origin, flows)),
        (any::<i32>(), shares()).prop_map(|(priority, shares)| FlowPart::Band(priority, shares)),
    ]
}

pub(crate) fn report() -> impl Strategy<Value = FlowReport> {
    let backlog = (usage(), any::<u64>(), number()).prop_map(|(usage, oldest_wait_ms, released)| Backlog {
        usage,
        oldest_wait_ms,
        released,
    });
    (vec((flow(), backlog), 0..4), vec((class(), revocable()), 0..4), option::of(settings()))
        .prop_map(|(backlogs, revocable, settings)| FlowReport { backlogs, revocable, settings })
}

fn batch(flows: FlowReport) -> Feedback {
    Feedback { epoch: 1, flows, ..Feedback::new(Origin(1), 1, GaugeScope::All) }
}

#[test]
fn reports_out_of_bounds_are_refused_and_such_settings_ignored() {
    let decoded = |flows| {
        let message = signalbox_wire::encode_feedback(None, batch(flows));
        signalbox_wire::decode_feedback(message).map(|feedback| feedback.flows.settings)
    };
    let of = |count: usize, id_bytes: usize, backlog: Backlog| FlowReport {
        backlogs: vec![(FlowKey { priority: 0, id: "a".repeat(id_bytes).into() }, backlog); count],
        ..FlowReport::default()
    };
    let with = |detector| FlowReport {
        settings: Some(Arc::new(FlowSettings { detector, ..FlowSettings::default() })),
        ..FlowReport::default()
    };
    let (most, longest) = (OriginFlows::MAX_FLOWS, FlowKey::MAX_ID_BYTES);
    let backlog = Backlog::default();
    let endless = Backlog { usage: Usage { tokens: u64::MAX, ..Usage::default() }, ..backlog };
    let refused = |what| Err(WireError::Bounds(what));
    assert_eq!(Ok(None), decoded(of(most, longest, backlog)));
    assert_eq!(refused("the number of flows of a replica"), decoded(of(most + 1, 1, backlog)));
    assert_eq!(refused("the length of a fairness id"), decoded(of(1, longest + 1, backlog)));
    assert_eq!(refused("what waits of a flow"), decoded(of(1, 1, endless)));
    let used = Backlog { released: u64::MAX, ..backlog };
    assert_eq!(refused("the number of a grant"), decoded(of(1, 1, used)));
    let revocable = |count: usize, priority: i32, revoked: u64| {
        let class = RevocableClass { priority, is_processed: false };
        let revocable = Revocable { revoked, ..Revocable::default() };
        FlowReport { revocable: vec![(class, revocable); count], ..FlowReport::default() }
    };
    let most = PeerRevocable::MAX_CLASSES;
    assert_eq!(Ok(None), decoded(revocable(most, -1, 0)));
    let too_many = "the number of classes that can be revoked at a replica";
    assert_eq!(refused(too_many), decoded(revocable(most + 1, -1, 0)));
    assert_eq!(refused("the priority of what can be revoked"), decoded(revocable(1, 0, 0)));
    assert_eq!(refused("the number of a grant"), decoded(revocable(1, -1, u64::MAX)));
    let limit = Detector::Concurrency { requests: Some(f64::NAN), tokens: None };
    assert_eq!(Ok(None), decoded(with(limit)), "the rest of the batch counts");
}

proptest! {
    /// A peer that does not know flow control ignores it, and its state otherwise equals the owner's.
    #[test]
    fn flows_have_no_effect_on_a_peer_that_does_not_know_them(sent in change()) {
        use prost::Message;
        let delta = Frame::Delta { epoch: 1, from: 0, to: 1, changes: vec![Change::Flow(sent)].into() };
        let mut message = signalbox_wire::encode_frame(&delta);
        if let Some(pb::frame::Frame::Delta(delta)) = &mut message.frame {
            let mut known = pb::Delta::decode(delta.clone()).unwrap();
            known.changes.iter_mut().for_each(|change| (change.flow, change.revocable) = (None, None));
            *delta = known.encode_to_vec().into();
        }
        let Ok(Frame::Delta { changes, .. }) = signalbox_wire::decode_frame(message) else { panic!("a delta") };
        let mut pool_state = PoolState::default();
        pool_state.apply(1, changes.iter().next().unwrap()).unwrap();
        prop_assert_eq!(Digest::default(), pool_state.digest());
    }

    /// A peer that does not know revocation has the owner's state but for that, and no reason to ask for it again.
    #[test]
    fn peer_that_does_not_know_revocation_has_the_same_flows(sent in vec(change(), 1..6), parts in vec(part(), 0..3)) {
        use prost::Message;
        let decoded = |is_known: bool| {
            let changes = sent.iter().cloned().map(Change::Flow).collect::<Vec<_>>().into();
            let to = sent.len() as u64;
            let mut message = signalbox_wire::encode_frame(&Frame::Delta { epoch: 1, from: 0, to, changes });
            if let Some(pb::frame::Frame::Delta(delta)) = &mut message.frame
                && !is_known
            {
                let mut known = pb::Delta::decode(delta.clone()).unwrap();
                known.changes.iter_mut().for_each(forget_revocation);
                *delta = known.encode_to_vec().into();
            }
            let Ok(Frame::Delta { changes, .. }) = signalbox_wire::decode_frame(message) else { panic!("a delta") };
            let mut pool_state = PoolState::default();
            parts.iter().for_each(|part| pool_state.insert_flow_part(&known_of(part.clone(), is_known)));
            changes.iter().for_each(|change| pool_state.apply(1, change).unwrap());
            pool_state.digest()
        };
        let (all, known) = (decoded(true), decoded(false));
        prop_assert_eq!(0, known.revocable);
        prop_assert_eq!(Digest { revocable: 0, ..all }, known);
    }
}

/// Removes from a change what earlier releases do not know.
fn forget_revocation(change: &mut pb::Change) {
    use pb::flow_change::Change as Kind;
    change.revocable = None;
    let flow = change.flow.as_mut().and_then(|flow| flow.change.as_mut());
    if let Some(Kind::SettingsReported(pb::FlowSettingsReported { settings: Some(settings), .. })) = flow {
        settings.revokes = false;
    }
}

/// Returns what a peer knows of a part, which may know nothing of revocation.
fn known_of(part: FlowPart, is_known: bool) -> FlowPart {
    match part {
        part if is_known => part,
        FlowPart::Pool(settings, measures) => FlowPart::Pool(
            Arc::new(FlowSettings { revokes: false, ..FlowSettings::clone(&settings) }),
            measures,
        ),
        FlowPart::Origin(origin, flows) => {
            let backlogs = flows.backlogs().map(|(flow, backlog)| (flow.clone(), *backlog));
            FlowPart::Origin(origin, Arc::new(OriginFlows::new(flows.reported_settings(), backlogs)))
        }
        part @ FlowPart::Band(..) => part,
    }
}
