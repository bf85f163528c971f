//! What holds of the requests that wait at a replica, whatever arrives, leaves, is granted and expires in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use signalbox_flow::{
    BandSettings, Caps, DropReason, FlowKey, FlowSettings, Ordering, PoolPhase, Ticket, Usage,
    WaitingRequest, WaitingRequests,
};

const TTL_MS: u64 = 1_000;
const NO_ENDPOINT_TTL_MS: u64 = 3_000;
const SHEDDABLE_MS: u64 = 200;
const MAX_REQUESTS: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Arrive {
        flow: usize,
        tokens: u64,
        goal_ms: Option<u32>,
    },
    Cancel(usize),
    /// Grants some more than were granted to a flow so far, but no more than have ever waited.
    Grant {
        flow: usize,
        more: u64,
    },
    /// Repeats an earlier grant.
    Repeat {
        flow: usize,
        fewer: u64,
    },
    Pass(u64),
    Phase(PoolPhase),
    Forget,
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let arrive = (0..5_usize, 1..5_000_u64, proptest::option::of(0..9_000_u32))
        .prop_map(|(flow, tokens, goal_ms)| Step::Arrive { flow, tokens, goal_ms });
    let phase = prop_oneof![Just(PoolPhase::Empty), Just(PoolPhase::Served)];
    let step = prop_oneof![
        8 => arrive,
        2 => (0..40_usize).prop_map(Step::Cancel),
        4 => (0..5_usize, 0..4_u64).prop_map(|(flow, more)| Step::Grant { flow, more }),
        1 => (0..5_usize, 0..4_u64).prop_map(|(flow, fewer)| Step::Repeat { flow, fewer }),
        3 => (1..700_u64).prop_map(Step::Pass),
        1 => phase.prop_map(Step::Phase),
        1 => Just(Step::Forget),
        1 => Just(Step::Drain),
    ];
    vec(step, 1..80)
}

fn flow(number: usize) -> FlowKey {
    let (priority, id) = [(10, "a"), (0, "a"), (0, "b"), (-10, "a"), (-10, "b")][number];
    FlowKey { priority, id: id.into() }
}

fn settings() -> FlowSettings {
    let goals = BandSettings { ordering: Ordering::TtftGoal, ..BandSettings::default() };
    FlowSettings {
        request_ttl_ms: Some(TTL_MS),
        no_endpoint_ttl_ms: Some(NO_ENDPOINT_TTL_MS),
        sheddable_wait_ms: SHEDDABLE_MS,
        caps: Caps { requests: MAX_REQUESTS, ..Caps::NONE },
        bands: BTreeMap::from([(0, goals)]),
        ..FlowSettings::default()
    }
}

/// What the requests should do, without queues.
#[derive(Default)]
struct Expected {
    waiting: BTreeMap<Ticket, WaitingRequest>,
    left: BTreeSet<Ticket>,
    /// How many have ever waited.
    enqueued: u64,
    /// Up to which number each flow was granted.
    granted: BTreeMap<FlowKey, u64>,
}

impl Expected {
    fn leave(&mut self, ticket: Ticket) -> WaitingRequest {
        assert!(self.left.insert(ticket), "{ticket:?} left twice");
        self.waiting.remove(&ticket).expect("only waiting requests leave")
    }
}

proptest! {
    #[test]
    fn each_request_leaves_once_and_in_order(steps in steps()) {
        let settings = settings();
        let (mut waiting, mut expected, mut now_ms) = (WaitingRequests::default(), Expected::default(), 10_000);
        let (mut phase, mut since_ms) = (PoolPhase::Served, 0);
        for step in steps {
            match step {
                Step::Arrive { flow: number, tokens, goal_ms } => {
                    let request = WaitingRequest {
                        flow: flow(number), tokens, bytes: 7, arrived_ms: now_ms, ttft_goal_ms: goal_ms,
                    };
                    match waiting.enqueue(&settings, request.clone(), Default::default()) {
                        Ok(ticket) => {
                            prop_assert!(expected.waiting.insert(ticket, request).is_none());
                            expected.enqueued += 1;
                        }
                        Err(reason) => {
                            prop_assert_eq!(MAX_REQUESTS, expected.waiting.len() as u64);
                            let is_empty = phase == PoolPhase::Empty;
                            let wanted = if is_empty { DropReason::NoEndpoints } else { DropReason::Saturated };
                            prop_assert_eq!(wanted, reason);
                        }
                    }
                }
                Step::Cancel(at) => {
                    if let Some(ticket) = expected.waiting.keys().nth(at).copied() {
                        prop_assert!(waiting.cancel(ticket));
                        prop_assert!(!waiting.cancel(ticket));
                        expected.leave(ticket);
                    }
                }
                Step::Grant { flow: number, more } => {
                    let flow = flow(number);
                    let released = waiting.backlogs(now_ms).find(|(of, _)| **of == flow).map(|(_, of)| of.released);
                    let Some(released) = released else { continue };
                    let up_to = (released + more).min(expected.enqueued);
                    let before = expected.waiting.values().filter(|of| of.flow == flow).count() as u64;
                    let gone = waiting.grant(&flow, up_to);
                    prop_assert_eq!((up_to - released).min(before), gone.len() as u64);
                    expected.granted.insert(flow.clone(), up_to);
                    for ticket in gone {
                        let request = expected.leave(ticket);
                        prop_assert_eq!(&flow, &request.flow);
                        // Without goals, nothing that arrived earlier is left behind.
                        if flow.priority != 0 {
                            let others = expected.waiting.iter().filter(|(_, of)| of.flow == flow);
                            prop_assert!(others.into_iter().all(|(other, _)| *other > ticket));
                        }
                    }
                }
                Step::Repeat { flow: number, fewer } => {
                    let flow = flow(number);
                    let up_to = expected.granted.get(&flow).copied().unwrap_or(0).saturating_sub(fewer);
                    prop_assert!(waiting.grant(&flow, up_to).is_empty(), "a grant counts once");
                }
                Step::Pass(ms) => now_ms += ms,
                Step::Phase(new) => {
                    if new != phase {
                        (phase, since_ms) = (new, now_ms);
                    }
                    waiting.set_phase(now_ms, new);
                }
                Step::Forget => waiting.forget_empty(),
                Step::Drain => {
                    for dropped in waiting.drain() {
                        prop_assert_eq!(DropReason::ShuttingDown, dropped.reason);
                        expected.leave(dropped.ticket);
                    }
                    prop_assert!(expected.waiting.is_empty());
                }
            }
            let ttl_ms = |request: &WaitingRequest| match phase {
                PoolPhase::Empty => NO_ENDPOINT_TTL_MS,
                PoolPhase::Served if request.flow.is_sheddable() => SHEDDABLE_MS,
                PoolPhase::Served => TTL_MS,
            };
            let longest_ms = |request: &WaitingRequest| {
                NO_ENDPOINT_TTL_MS + if request.flow.is_sheddable() { SHEDDABLE_MS } else { TTL_MS }
            };
            let is_over = |request: &WaitingRequest| {
                now_ms - request.arrived_ms.max(since_ms) >= ttl_ms(request)
                    || now_ms - request.arrived_ms >= longest_ms(request)
            };
            for dropped in waiting.expire(&settings, now_ms) {
                let request = expected.leave(dropped.ticket);
                prop_assert!(is_over(&request));
            }
            prop_assert!(!expected.waiting.values().any(is_over));
            check_sums(&waiting, &expected, now_ms)?;
        }
    }
}

fn check_sums(
    waiting: &WaitingRequests,
    expected: &Expected,
    now_ms: u64,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let sum = |requests: &mut dyn Iterator<Item = &WaitingRequest>| {
        requests.fold(Usage::default(), |sum, request| {
            sum + Usage { requests: 1, bytes: request.bytes, tokens: request.tokens }
        })
    };
    prop_assert_eq!(sum(&mut expected.waiting.values()), waiting.total());
    for (flow, backlog) in waiting.backlogs(now_ms) {
        let mut of_flow = expected.waiting.values().filter(|request| request.flow == *flow);
        prop_assert_eq!(sum(&mut of_flow), backlog.usage);
        // A granter does not grant more than waits. So no grant is for more than have ever waited.
        prop_assert!(backlog.released + backlog.usage.requests <= expected.enqueued);
        let oldest = expected.waiting.values().filter(|request| request.flow == *flow);
        let oldest_ms = oldest.map(|request| request.arrived_ms).min();
        prop_assert_eq!(oldest_ms.map_or(0, |at_ms| now_ms - at_ms), backlog.oldest_wait_ms);
    }
    prop_assert_eq!(
        expected.waiting.values().map(|request| request.flow.priority).max(),
        waiting.highest_waiting()
    );
    Ok(())
}

#[test]
fn sheddable_request_does_not_wait_unless_it_is_allowed_to_or_the_pool_is_empty() {
    let settings = FlowSettings::default();
    let request = WaitingRequest { flow: flow(3), ..WaitingRequest::default() };
    let mut waiting = WaitingRequests::default();
    let enqueue =
        |waiting: &mut WaitingRequests| waiting.enqueue(&settings, request.clone(), Default::default());
    assert_eq!(Err(DropReason::Saturated), enqueue(&mut waiting));
    waiting.set_phase(0, PoolPhase::Empty);
    assert!(enqueue(&mut waiting).is_ok());
    // When the first endpoint comes, it goes or is dropped.
    waiting.set_phase(500, PoolPhase::Served);
    let dropped = waiting.expire(&settings, 500);
    assert_eq!(vec![DropReason::Expired], dropped.iter().map(|of| of.reason).collect::<Vec<_>>());
}

#[test]
fn limits_hold_over_all_replicas() {
    let caps = Caps { requests: 10, bytes: 1_000, tokens: 5_000 };
    let settings =
        FlowSettings { default_band: BandSettings { caps, ..BandSettings::default() }, ..settings() };
    let attempt = |elsewhere: Usage| {
        let request = WaitingRequest { flow: flow(0), tokens: 100, bytes: 100, ..WaitingRequest::default() };
        WaitingRequests::default().enqueue(&settings, request, (elsewhere, elsewhere))
    };
    assert!(attempt(Usage { requests: 9, bytes: 900, tokens: 4_900 }).is_ok());
    for full in [
        Usage { requests: 10, ..Usage::default() },
        Usage { bytes: 901, ..Usage::default() },
        Usage { tokens: 4_901, ..Usage::default() },
    ] {
        assert_eq!(Err(DropReason::Saturated), attempt(full));
    }
}

#[test]
fn pool_that_comes_and_goes_does_not_let_requests_wait_for_ever() {
    let (settings, mut waiting) = (settings(), WaitingRequests::default());
    let request = WaitingRequest { flow: flow(0), ..WaitingRequest::default() };
    let ticket = waiting.enqueue(&settings, request, Default::default()).expect("there is room");
    let bound_ms = TTL_MS + NO_ENDPOINT_TTL_MS;
    for now_ms in (0..bound_ms).step_by(500) {
        let phase = if now_ms % 1_000 == 0 { PoolPhase::Served } else { PoolPhase::Empty };
        waiting.set_phase(now_ms, phase);
        assert!(waiting.expire(&settings, now_ms).is_empty(), "{now_ms}");
    }
    waiting.set_phase(bound_ms, PoolPhase::Served);
    assert_eq!(
        vec![(ticket, DropReason::Expired)],
        waiting.expire(&settings, bound_ms).iter().map(|of| (of.ticket, of.reason)).collect::<Vec<_>>()
    );
}

#[test]
fn flows_beyond_the_limit_share_one() {
    let (mut waiting, settings) = (WaitingRequests::default(), FlowSettings::default());
    let enqueue = |waiting: &mut WaitingRequests, id: usize| {
        let request = WaitingRequest { flow: FlowKey::new(7, &id.to_string()), ..WaitingRequest::default() };
        assert!(waiting.enqueue(&settings, request, Default::default()).is_ok());
    };
    (0..FlowKey::MAX_FLOWS + 3).for_each(|id| enqueue(&mut waiting, id));
    enqueue(&mut waiting, 0);
    let usage = |id: &str| {
        let flow = FlowKey::new(7, id);
        waiting.backlogs(0).find(|(of, _)| **of == flow).map(|(_, backlog)| backlog.usage.requests)
    };
    assert_eq!((Some(3), Some(2)), (usage(FlowKey::OTHER), usage("0")));
    assert_eq!(FlowKey::MAX_FLOWS + 1, waiting.backlogs(0).count());
}

#[test]
fn long_fairness_ids_are_cut_between_characters() {
    let id = "ä".repeat(FlowKey::MAX_ID_BYTES);
    let long = FlowKey::new(0, &format!("x{id}"));
    assert_eq!(FlowKey::MAX_ID_BYTES - 1, long.id.len());
    assert_eq!("short", &*FlowKey::new(0, "short").id);
}
