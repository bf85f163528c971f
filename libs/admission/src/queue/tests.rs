//! Whatever arrives, leaves, is granted and expires in any order: each request leaves once, with its own waiter.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Arrive(i32),
    Cancel(usize),
    Grant(i32, u64),
    /// A granted request is booked, or its client has gone meanwhile.
    Arrived(usize),
    Pass(u64),
    Report,
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = || -1..2_i32;
    let step = prop_oneof![
        6 => priority().prop_map(Step::Arrive),
        2 => (0..20_usize).prop_map(Step::Cancel),
        3 => (priority(), 0..4_u64).prop_map(|(priority, more)| Step::Grant(priority, more)),
        2 => (0..4_usize).prop_map(Step::Arrived),
        2 => (1..900_u64).prop_map(Step::Pass),
        3 => (0..1_u8).prop_map(|_| Step::Report),
        1 => (0..1_u8).prop_map(|_| Step::Drain),
    ];
    vec(step, 1..80)
}

fn flow(priority: i32) -> FlowKey {
    FlowKey::new(priority, "a")
}

proptest! {
    #[test]
    fn each_request_leaves_once_and_what_is_reported_adds_up(steps in steps()) {
        let settings =
            FlowSettings { request_ttl_ms: Some(1_000), sheddable_wait_ms: 500, ..FlowSettings::default() };
        let (mut queue, mut now_ms, mut next) = (Queue::<u64>::default(), 0, 0);
        let mut waiting: BTreeMap<u64, (Ticket, i32)> = BTreeMap::new();
        let mut leaving = Vec::new();
        // Up to which number requests of a band have gone, as reported.
        let mut released: BTreeMap<FlowKey, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Arrive(priority) => {
                    let request =
                        WaitingRequest { flow: flow(priority), tokens: 10, bytes: 7, arrived_ms: now_ms, ttft_goal_ms: None };
                    let ticket = queue.enqueue(&settings, request, Default::default(), next).unwrap();
                    waiting.insert(next, (ticket, priority));
                    next += 1;
                }
                Step::Cancel(at) => {
                    if let Some((id, (ticket, _))) = waiting.iter().nth(at).map(|(id, of)| (*id, *of)) {
                        prop_assert!(queue.remove(ticket));
                        prop_assert!(!queue.remove(ticket));
                        waiting.remove(&id);
                    }
                }
                Step::Grant(priority, more) => {
                    let flow = flow(priority);
                    let known = queue.backlogs(now_ms).into_iter().find(|(of, _)| *of == flow);
                    let Some((_, backlog)) = known else { continue };
                    let on_their_way = leaving.iter().filter(|of: &&(Ticket, i32)| of.1 == priority).count() as u64;
                    // No owner grants more than have ever waited.
                    for id in queue.grant(&flow, (backlog.released + on_their_way + more).min(next)) {
                        let granted = waiting.remove(&id).unwrap();
                        prop_assert_eq!(priority, granted.1);
                        leaving.push(granted);
                    }
                }
                Step::Arrived(at) if at < leaving.len() => {
                    let (ticket, _) = leaving.remove(at);
                    prop_assert!(queue.remove(ticket));
                    prop_assert!(!queue.remove(ticket));
                }
                Step::Arrived(_) => {}
                Step::Pass(ms) => now_ms += ms,
                Step::Report => {
                    let known: BTreeMap<FlowKey, Backlog> = queue.take_backlogs(now_ms).into_iter().collect();
                    prop_assert!(queue.backlogs(now_ms).iter().all(|(_, of)| of.usage.requests > 0));
                    for (flow, backlog) in &known {
                        let before = released.insert(flow.clone(), backlog.released).unwrap_or(0);
                        prop_assert!(before <= backlog.released, "a grant that was used is used");
                    }
                    for priority in -1..2 {
                        let all = waiting.values().chain(&leaving);
                        let count = all.filter(|of| of.1 == priority).count() as u64;
                        let reported = known.get(&flow(priority)).map_or(0, |of| of.usage.requests);
                        prop_assert_eq!(count, reported);
                    }
                }
                Step::Drain => {
                    for (id, reason) in queue.drain() {
                        prop_assert_eq!(DropReason::ShuttingDown, reason);
                        prop_assert!(waiting.remove(&id).is_some());
                    }
                    prop_assert!(waiting.is_empty());
                }
            }
            for (id, _) in queue.expire(&settings, now_ms) {
                prop_assert!(waiting.remove(&id).is_some(), "it left twice");
            }
            prop_assert_eq!(waiting.len() as u64, queue.total().requests);
            prop_assert_eq!(waiting.len(), queue.waiters.len());
            prop_assert_eq!(waiting.values().map(|of| of.1).max(), queue.highest_waiting());
        }
    }
}
