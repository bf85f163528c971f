//! A view that was built step by step equals one that is built at once, and shares what did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{
    AdapterResidency, Bookings, Change, EndpointList, Observed, Overlay, PeerLoad, PoolState, StateReplica,
    View,
};
use signalbox_types::{EndpointSpec, Load, Origin};

use crate::fixtures::random_steps::{history, load, prompt};
use crate::fixtures::simulated_pool::SimulatedPool;
use crate::fixtures::{catch_up, chain, config, endpoint, endpoint_spec};

/// More endpoints than fit into a few chunks of a list.
const MANY: usize = 150;

proptest! {
    #[test]
    fn view_built_step_by_step_equals_one_built_at_once(steps in history(1..40), prompt in prompt()) {
        let mut simulated = SimulatedPool::new(1, config());
        let (mut replica, bookings) = (StateReplica::default(), Bookings::new(Arc::new(|| {})));
        let (mut view, overlay) = (View::default(), Overlay::default());
        for step in &steps {
            simulated.step(step);
            catch_up(&mut replica, &simulated.pool);
            view = View::next(&view, &replica, &bookings);
            let fresh = View::next(&View::default(), &replica, &Bookings::new(Arc::new(|| {})));
            prop_assert_eq!(&fresh.endpoints, &view.endpoints);
            prop_assert_eq!((fresh.version, fresh.format), (view.version, view.format));
            prop_assert_eq!(fresh.may_be_draining(), view.may_be_draining());
            // A name may be gone from all endpoints since.
            prop_assert!(view.adapters.is_superset(&fresh.adapters));
            prop_assert_eq!(&fresh.models, &view.models);
            let chain = chain(&prompt);
            prop_assert_eq!(fresh.look_up(&chain, &overlay), view.look_up(&chain, &overlay));
            for (position, member) in view.endpoints.iter().enumerate() {
                prop_assert_eq!(Some(position), view.position(member.key));
                prop_assert!(Arc::ptr_eq(view.gauge(position), &bookings.gauge(member.key)));
                let loads = replica.pool_state().loads();
                prop_assert_eq!(loads.total(member.key), view.booked_at(position));
                for origin in (0..4).map(Origin) {
                    let others = loads.at(member.key).into_iter().filter(|(of, _)| *of != origin);
                    let others = others.fold(Load::ZERO, |sum, (_, load)| sum + load);
                    prop_assert_eq!(others, view.booked_without(origin)[position]);
                }
            }
        }
    }

    #[test]
    fn endpoint_list_behaves_like_a_sorted_map(changes in vec(list_change(), 1..400)) {
        let (mut pool_state, mut model) = (PoolState::default(), BTreeMap::new());
        let mut taken: Vec<(EndpointList, Vec<_>)> = Vec::new();
        for (seq, change) in (1..).zip(&changes) {
            let is_applied = pool_state.apply(seq, change).is_ok();
            match change {
                Change::EndpointSet { spec } => _ = model.entry(spec.key()).or_insert(0),
                Change::EndpointRemoved { endpoint } => prop_assert_eq!(is_applied, model.remove(endpoint).is_some()),
                Change::Observed { endpoint, observed } => {
                    prop_assert_eq!(is_applied, model.contains_key(endpoint));
                    model.entry(*endpoint).and_modify(|of| *of = observed.unbooked_requests);
                }
                _ => {}
            }
            let list = pool_state.endpoint_list();
            let contents = |list: &EndpointList| list.iter().map(|of| (of.key, of.observed.unbooked_requests)).collect::<Vec<_>>();
            prop_assert_eq!(model.iter().map(|(key, of)| (*key, *of)).collect::<Vec<_>>(), contents(list));
            if seq % 16 == 1 {
                taken.push((list.clone(), contents(list)));
            }
            // Copies do not change with the list.
            prop_assert!(taken.iter().all(|(list, then)| contents(list) == *then));
            if let Some((before, then)) = taken.last().filter(|(before, _)| list.has_same_keys(before)) {
                let now = contents(list);
                let differing = (0..now.len()).filter(|at| now[*at] != then[*at]);
                let changed: Vec<usize> = list.changed_since(before).map(|(at, ..)| at).collect();
                prop_assert!(differing.into_iter().all(|at| changed.contains(&at)));
                prop_assert!(changed.len() <= 16, "{} of {} changed", changed.len(), now.len());
            }
        }
    }

    #[test]
    fn prefills_drains_and_adapters_follow_each_change(changes in vec(view_change(), 1..60)) {
        let mut pool = signalbox_state::Pool::new(1, config());
        pool.handle(0, signalbox_state::PoolInput::Spec(crate::fixtures::pool_spec((0..40).map(|at| endpoint_spec(at, 0)))));
        let (mut replica, bookings) = (StateReplica::default(), Bookings::new(Arc::new(|| {})));
        replica.record_time(1);
        catch_up(&mut replica, &pool);
        let mut view = View::next(&View::default(), &replica, &bookings);
        let mut began: Vec<u64> = vec![1; 40];
        for (step, change) in changes.iter().enumerate() {
            let now_ms = 10 + step as u64;
            let from = replica.version().unwrap_or_default();
            let changes = vec![change.clone()].into();
            let prefills = |replica: &StateReplica| {
                let loads = replica.pool_state().loads();
                view.endpoints.iter().map(|member| loads.total(member.key).prefills).collect::<Vec<_>>()
            };
            let before = prefills(&replica);
            replica.record_time(now_ms);
            let frame = signalbox_state::Frame::Delta { epoch: from.epoch, from: from.seq, to: from.seq + 1, changes };
            prop_assert_eq!(signalbox_state::ApplyOutcome::Applied, replica.apply(crate::fixtures::OWNER, frame));
            let after = prefills(&replica);
            let next = View::next(&view, &replica, &bookings);
            for (began, (was, is)) in began.iter_mut().zip(before.into_iter().zip(after)) {
                if is < was || (was == 0 && is > 0) {
                    *began = now_ms;
                }
            }
            let local = next.local_state(Origin(9), PeerLoad::Current, 1_000);
            prop_assert_eq!(began.iter().map(|began| 1_000 - began).collect::<Vec<_>>(), local.prefilling_ms);
            prop_assert_eq!(next.endpoints.iter().any(|member| member.spec.is_draining), next.may_be_draining());
            let residencies = next.endpoints.iter().filter_map(|member| member.adapters.as_ref());
            let (names, served) = (residencies.flat_map(|residency| residency.names()), next.served_models());
            prop_assert!(names.into_iter().all(|name| next.adapter(name).is_some() && served.contains(name)));
            view = next;
        }
    }
}

fn list_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..MANY).prop_map(|at| Change::EndpointSet { spec: Arc::new(endpoint_spec(at, 0)) }),
        1 => (0..MANY).prop_map(|at| Change::EndpointRemoved { endpoint: endpoint(at) }),
        6 => (0..MANY, 0..9_u32).prop_map(|(at, unbooked_requests)| {
            let observed = Observed { unbooked_requests, ..Observed::default() };
            Change::Observed { endpoint: endpoint(at), observed }
        }),
    ]
}

fn view_change() -> impl Strategy<Value = Change> {
    let spec = |(at, is_draining)| EndpointSpec { is_draining, ..endpoint_spec(at, 0) };
    let residency = |(at, name): (usize, &str)| {
        let residency = AdapterResidency { host: vec![Arc::from(name)], ..AdapterResidency::default() };
        Change::AdaptersChanged { endpoint: endpoint(at), residency: Arc::new(residency) }
    };
    prop_oneof![
        (0_usize..40, any::<bool>())
            .prop_map(spec)
            .prop_map(|spec| Change::EndpointSet { spec: Arc::new(spec) }),
        (0_usize..40, 0..3_u64, load()).prop_map(|(at, origin, load)| Change::LoadChanged {
            endpoint: endpoint(at),
            origin: Origin(origin),
            load,
        }),
        (0_usize..40, prop_oneof![Just("a"), Just("b")]).prop_map(residency),
    ]
}
