//! The gate with requests, owners and time as a test plays them.

use std::task::{Context, Poll, Waker};

use signalbox_admission::OWNER_SILENCE_MS;
use signalbox_flow::PoolPhase;

use super::*;

/// A pool that has room for everything.
const IDLE: Saturation =
    Saturation { value: 0.0, by_prompts: 0.0, per_request: 0.0, per_token: 0.0, per_request_limit: 0.0 };

fn gate(settings: FlowSettings) -> Arc<Gate> {
    let control = FlowControl { mode: FlowMode::On, settings: Arc::new(settings) };
    let gate = Arc::new(Gate::new(control, 7, Arc::default()));
    gate.apply(0, &OwnerNews::default());
    gate
}

fn arrival(priority: i32, id: &str) -> Arrival {
    let flow = FlowKey::new(priority, id);
    Arrival {
        flow,
        tokens: 10,
        bytes: 5,
        ttft_goal_ms: None,
        elsewhere: Default::default(),
        owner_silence_ms: 0,
    }
}

fn end(place: &mut Place) -> Option<WaitEnd> {
    match place.poll_end(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(end) => Some(end),
        Poll::Pending => None,
    }
}

fn grant(gate: &Gate, priority: i32, id: &str, up_to: u64) {
    let grants = vec![(FlowKey::new(priority, id), up_to)];
    gate.apply(0, &OwnerNews { grants, knows_replica: true, ..OwnerNews::default() });
}

#[test]
fn owner_releases_requests_in_order_and_each_grant_once() {
    let gate = gate(FlowSettings::default());
    let mut places: Vec<_> = (0..3).map(|_| gate.enqueue(0, arrival(0, "a")).unwrap()).collect();
    grant(&gate, 0, "a", 1);
    grant(&gate, 0, "a", 1);
    let ends: Vec<_> = places.iter_mut().map(end).collect();
    assert_eq!(ends, [Some(WaitEnd::Granted), None, None]);
    // Until the first one is booked, its grant counts as unused.
    let backlog = |gate: &Gate| (gate.backlogs(0)[0].1.usage.requests, gate.backlogs(0)[0].1.released);
    assert_eq!((3, 0), backlog(&gate));
    drop(places.remove(0));
    assert_eq!((2, 1), backlog(&gate));
    grant(&gate, 0, "a", 3);
    assert_eq!([Some(WaitEnd::Granted); 2], [0, 1].map(|at| end(&mut places[at])));
    assert_eq!(None, gate.highest_waiting(0));
}

#[test]
fn arrivals_see_what_waits_at_any_replica() {
    let gate = gate(FlowSettings::default());
    assert_eq!(None, gate.highest_waiting(0));
    let place = gate.enqueue(0, arrival(0, "a")).unwrap();
    assert_eq!(Some(0), gate.highest_waiting(0));
    // It is given up.
    drop(place);
    assert_eq!(None, gate.highest_waiting(0));
    let news = OwnerNews { highest_elsewhere: Some(4), ..OwnerNews::default() };
    gate.apply(0, &news);
    assert_eq!(Some(4), gate.highest_waiting(0));
    // An owner that is silent says nothing about others.
    assert_eq!(None, gate.highest_waiting(OWNER_SILENCE_MS));
}

/// Sheddable requests that waited for the first endpoint would be refused when it comes.
#[test]
fn first_endpoint_serves_those_who_may_not_wait_for_a_place() {
    let gate = gate(FlowSettings::default());
    gate.apply(0, &OwnerNews { phase: PoolPhase::Empty, ..OwnerNews::default() });
    let mut sheddable = gate.enqueue(0, arrival(-1, "a")).unwrap();
    gate.apply(10, &OwnerNews::default());
    gate.tick(15, OWNER_SILENCE_MS, || Some(IDLE));
    assert_eq!(Some(WaitEnd::Granted), end(&mut sheddable));
}

#[test]
fn requests_are_told_why_they_leave() {
    let gate = gate(FlowSettings { request_ttl_ms: Some(100), ..FlowSettings::default() });
    assert_eq!(DropReason::Saturated, gate.enqueue(0, arrival(-1, "a")).unwrap_err());
    let mut place = gate.enqueue(0, arrival(0, "a")).unwrap();
    assert!(gate.tick(99, 0, || None));
    assert_eq!(None, end(&mut place));
    assert!(!gate.tick(100, 0, || None));
    assert_eq!(Some(WaitEnd::Dropped(DropReason::Expired)), end(&mut place));
    let mut last = gate.enqueue(200, arrival(0, "a")).unwrap();
    gate.close();
    assert_eq!(Some(WaitEnd::Dropped(DropReason::ShuttingDown)), end(&mut last));
    assert_eq!(DropReason::ShuttingDown, gate.enqueue(200, arrival(0, "a")).unwrap_err());
}

/// Otherwise the room of a request that is on its way would be granted again.
#[test]
fn request_on_its_way_takes_room() {
    let gate = gate(FlowSettings::default());
    let mut places: Vec<_> = (0..3).map(|_| gate.enqueue(0, arrival(0, "a")).unwrap()).collect();
    let room_for_one = Saturation { per_request: 1.0, per_request_limit: 1.0, ..IDLE };
    for now_ms in [5, 10, 15] {
        gate.tick(now_ms, OWNER_SILENCE_MS, || Some(room_for_one));
    }
    assert_eq!([Some(WaitEnd::Granted), None, None], [0, 1, 2].map(|at| end(&mut places[at])));
    drop(places.remove(0));
    gate.tick(20, OWNER_SILENCE_MS, || Some(room_for_one));
    assert_eq!([Some(WaitEnd::Granted), None], [0, 1].map(|at| end(&mut places[at])));
}

#[test]
fn replica_grants_by_itself_only_while_the_owner_is_silent() {
    let gate = gate(FlowSettings::default());
    let mut place = gate.enqueue(0, arrival(0, "a")).unwrap();
    let knows = OwnerNews { knows_replica: true, ..OwnerNews::default() };
    gate.apply(0, &knows);
    gate.tick(2_000, OWNER_SILENCE_MS - 1, || panic!("the owner is heard"));
    assert_eq!(None, end(&mut place));
    gate.tick(2_005, OWNER_SILENCE_MS, || Some(IDLE));
    assert_eq!((Some(WaitEnd::Granted), true), (end(&mut place), gate.grants_locally()));
    // The owner repeats a grant that the replica has used by itself.
    let mut next = gate.enqueue(2_006, arrival(0, "a")).unwrap();
    grant(&gate, 0, "a", 1);
    assert_eq!(None, end(&mut next), "nothing is granted twice");
    gate.tick(2_010, 0, || panic!("the owner is heard again"));
    assert!(!gate.grants_locally());
    grant(&gate, 0, "a", 2);
    assert_eq!(Some(WaitEnd::Granted), end(&mut next));
}

#[test]
fn replica_that_grants_by_itself_forgets_flows_that_are_gone() {
    let gate = gate(FlowSettings::default());
    for number in 0..FlowKey::MAX_FLOWS {
        drop(gate.enqueue(0, arrival(0, &number.to_string())).unwrap());
    }
    gate.tick(OWNER_SILENCE_MS, OWNER_SILENCE_MS, || Some(IDLE));
    let _place = gate.enqueue(OWNER_SILENCE_MS, arrival(0, "new")).unwrap();
    assert_eq!(FlowKey::new(0, "new"), gate.backlogs(0)[0].0, "it need not share a flow");
}

/// An owner of an older release is heard, but never learns what waits.
#[test]
fn owner_that_does_not_know_the_replica_is_silent() {
    let gate = gate(FlowSettings::default());
    let mut place = gate.enqueue(9_000, arrival(0, "a")).unwrap();
    gate.tick(9_001, 0, || panic!("the owner may still learn of it"));
    gate.tick(9_000 + OWNER_SILENCE_MS, 0, || Some(IDLE));
    assert_eq!(Some(WaitEnd::Granted), end(&mut place));
    // The next one need not wait as long.
    let mut next = gate.enqueue(9_600, arrival(0, "a")).unwrap();
    gate.tick(9_605, 0, || Some(IDLE));
    assert_eq!(Some(WaitEnd::Granted), end(&mut next));
}

#[test]
fn full_share_grants_nothing_and_an_empty_pool_is_a_waiting_room() {
    let settings = FlowSettings { no_endpoint_ttl_ms: Some(300), ..FlowSettings::default() };
    let gate = gate(settings);
    let full = Saturation { value: 1.0, ..IDLE };
    let mut place = gate.enqueue(0, arrival(0, "a")).unwrap();
    gate.tick(5, OWNER_SILENCE_MS, || Some(full));
    assert_eq!(None, end(&mut place));
    gate.apply(10, &OwnerNews { phase: PoolPhase::Empty, ..OwnerNews::default() });
    // Sheddable requests wait for the first endpoint, too.
    let mut sheddable = gate.enqueue(10, arrival(-1, "a")).unwrap();
    gate.tick(310, OWNER_SILENCE_MS, || None);
    let dropped = Some(WaitEnd::Dropped(DropReason::NoEndpoints));
    assert_eq!((dropped, dropped), (end(&mut place), end(&mut sheddable)));
}

#[test]
fn retry_is_told_by_the_drain_rate_and_what_is_ahead() {
    let gate = gate(FlowSettings::default());
    let _places: Vec<_> = (0..10).map(|_| gate.enqueue(0, arrival(0, "a")).unwrap()).collect();
    assert_eq!(7, gate.retry_after_s(0, Usage::default()));
    gate.apply(0, &OwnerNews { requests_per_second: 4.0, ..OwnerNews::default() });
    let elsewhere = Usage { requests: 30, ..Usage::default() };
    assert_eq!((10, 8), (gate.retry_after_s(0, elsewhere), gate.retry_after_s(1, elsewhere)));
    // Nothing is ahead of it, but the pool is full.
    let idle = OwnerNews { requests_per_second: 1e3, ..OwnerNews::default() };
    gate.apply(0, &idle);
    assert_eq!((1, 7), (gate.retry_after_s(0, elsewhere), gate.retry_after_s(-1, elsewhere)));
}
