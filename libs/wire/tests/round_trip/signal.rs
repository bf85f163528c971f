//! The autoscaling signal.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Strategy, any, prop_assert_eq, proptest};
use proptest::sample::select;
use prost::Message;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_signal::{
    AdapterDemand, ArrivalCounts, Certainty, Coverage, Group, GroupSignal, Queue, Reason, ReplicaCounts,
    Role, Signal, TokenRates,
};

pub(crate) fn arrivals() -> impl Strategy<Value = ArrivalCounts> {
    any::<[u64; 4]>().prop_map(|[requests, prefill_tokens, output_tokens, refused]| ArrivalCounts {
        requests,
        prefill_tokens,
        output_tokens,
        refused,
    })
}

fn rates() -> impl Strategy<Value = TokenRates> {
    any::<[u64; 2]>().prop_map(|[prefill, decode]| TokenRates { prefill, decode })
}

fn group() -> impl Strategy<Value = GroupSignal> {
    let group = (select(&Role::ALL[..]), "[a-z]{0,3}");
    let numbers = (any::<u32>(), any::<[u64; 3]>(), any::<[Option<u64>; 5]>(), any::<[u32; 5]>());
    let measured = (rates(), option::of(rates()), option::of(rates()));
    (group, select(&Reason::ALL[..]), numbers, measured).prop_map(
        |((role, deployment), reason, numbers, measured)| {
            let (desired, [kv_tokens, startup_ms, urgency], optional, counts) = numbers;
            let ((demand, capacity, per_replica), [ready, warming, draining, stale, failed]) =
                (measured, counts);
            GroupSignal {
                group: Group { role, deployment: deployment.into() },
                desired,
                reason,
                demand_milli: optional[2],
                demand,
                capacity,
                per_replica,
                kv_tokens_per_replica: kv_tokens,
                prefill_backlog_ms: optional[3],
                kv_demand_milli: optional[4],
                utilization_milli: optional[0],
                saturation_milli: optional[1],
                startup_ms,
                urgency_milli: urgency,
                replicas: ReplicaCounts { ready, warming, draining, stale, failed },
            }
        },
    )
}

/// On the heap: the values are large.
pub(crate) fn signal() -> BoxedStrategy<Arc<Signal>> {
    let adapter = ("[a-z]{1,3}", any::<u64>())
        .prop_map(|(adapter, demand_milli)| AdapterDemand { adapter: adapter.into(), demand_milli });
    let coverage = (select(&Certainty::ALL[..]), 0..=100_u8, 0..=100_u8);
    let parts = (vec(group(), 0..3), vec(adapter, 0..3));
    (any::<[u64; 6]>(), coverage, any::<[bool; 2]>(), parts)
        .prop_map(
            |(
                numbers,
                (certainty, pods_percent, epp_replicas_percent),
                [is_active, awaits_first_pod],
                parts,
            )| {
                let [epoch, assessed_at_ms, shed_milli, requests, tokens, oldest_ms] = numbers;
                let (groups, adapters) = parts;
                Arc::new(Signal {
                    epoch,
                    assessed_at_ms,
                    certainty,
                    coverage: Coverage { pods_percent, epp_replicas_percent },
                    groups,
                    queue: Queue { requests, tokens, oldest_ms },
                    shed_milli,
                    is_active,
                    awaits_first_pod,
                    adapters,
                })
            },
        )
        .boxed()
}

proptest! {
    #[test]
    fn stored_signals_are_read_as_they_were(signal in signal()) {
        prop_assert_eq!(Ok(Signal::clone(&signal)), signalbox_wire::decode_signal(signalbox_wire::encode_signal(&signal)));
    }

    #[test]
    fn other_stored_bytes_are_an_error_or_a_signal(bytes in vec(any::<u8>(), 0..60)) {
        if let Ok(signal) = signalbox_wire::decode_signal(bytes.into()) {
            prop_assert_eq!(Ok(signal.clone()), signalbox_wire::decode_signal(signalbox_wire::encode_signal(&signal)));
        }
    }
}

/// Decodes the bytes that another version sends: `message` in place of what this one would.
fn decoded(message: &pb::Signal) -> Signal {
    signalbox_wire::decode_signal(message.encode_to_vec().into()).expect("it is a signal")
}

#[test]
fn more_groups_and_adapters_than_a_signal_can_have_are_left_out() {
    let message = pb::Signal {
        groups: vec![pb::GroupSignal::default(); Signal::MAX_GROUPS + 1],
        adapters: vec![pb::AdapterDemand::default(); Signal::MAX_ADAPTERS + 1],
        ..pb::Signal::default()
    };
    let Signal { groups, adapters, .. } = decoded(&message);
    assert_eq!((Signal::MAX_GROUPS, Signal::MAX_ADAPTERS), (groups.len(), adapters.len()));
}

#[test]
fn what_a_later_version_adds_leaves_the_rest_of_a_signal_readable() {
    let group =
        |role, reason, desired| pb::GroupSignal { role, reason, desired, ..pb::GroupSignal::default() };
    let message = pb::Signal {
        certainty: 99,
        pods_percent: 101,
        groups: vec![group(0, 99, 3), group(99, 1, 4), group(0, 1, 5)],
        epoch: 7,
        ..pb::Signal::default()
    };
    let signal = decoded(&message);
    assert_eq!(
        (7, Certainty::Insufficient, 100),
        (signal.epoch, signal.certainty, signal.coverage.pods_percent)
    );
    let groups: Vec<_> = signal.groups.iter().map(|group| (group.reason, group.desired)).collect();
    assert_eq!(vec![(Reason::Other, 3), (Reason::Idle, 5)], groups);
}
