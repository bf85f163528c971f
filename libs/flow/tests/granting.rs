//! What holds of grants: order of bands, shares, room, and independence of how requests are spread over replicas.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};
use signalbox_flow::{Backlog, BandSettings, Ceilings, FlowKey, FlowSettings, Fullness, Granter, Usage};
use signalbox_types::Origin;

fn flow(priority: i32, id: &str) -> FlowKey {
    FlowKey { priority, id: id.into() }
}

fn backlog(requests: u64, tokens_each: u64, oldest_wait_ms: u64) -> Backlog {
    Backlog {
        usage: Usage { requests, bytes: 0, tokens: requests * tokens_each },
        oldest_wait_ms,
        released: 0,
    }
}

/// A pool with room for `tokens` more tokens.
fn room(tokens: u64) -> Fullness {
    let per_token = 1.0 / f64::from(1_u32 << 20);
    Fullness {
        saturation: 1.0 - tokens as f64 * per_token,
        per_request: 0.0,
        per_token,
        per_request_limit: f64::INFINITY,
    }
}

/// Grants until nothing more goes. Returns up to which number each flow may go at each replica.
fn grants(
    granter: &mut Granter,
    settings: &FlowSettings,
    fullness: &Fullness,
) -> BTreeMap<(FlowKey, Origin), u64> {
    let (mut all, now_ms) = (BTreeMap::new(), 1_000);
    loop {
        let grants = granter.grant(settings, fullness, now_ms);
        if grants.is_empty() {
            return all;
        }
        all.extend(grants.into_iter().map(|grant| ((grant.flow, grant.origin), grant.up_to)));
    }
}

/// Like [`grants`], summed over all replicas.
fn granted(granter: &mut Granter, settings: &FlowSettings, fullness: &Fullness) -> BTreeMap<FlowKey, u64> {
    let mut sums = BTreeMap::new();
    for ((flow, _), up_to) in grants(granter, settings, fullness) {
        *sums.entry(flow).or_default() += up_to;
    }
    sums
}

proptest! {
    #[test]
    fn grants_fit_the_room_and_what_waits(
        backlogs in vec((0..3_i32, 0..3_u8, 0..4_u64, 0..20_u64, 1..500_u64, 0..900_u64), 1..30),
        tokens in 0..20_000_u64,
    ) {
        let (mut granter, settings) = (Granter::default(), FlowSettings::default());
        let mut waiting = BTreeMap::new();
        for (priority, id, origin, requests, tokens_each, wait_ms) in backlogs {
            let flow = flow(priority, &id.to_string());
            granter.report(1_000, Origin(origin), &flow, backlog(requests, tokens_each, wait_ms));
            waiting.insert((flow, Origin(origin)), (requests, tokens_each));
        }
        let grants = grants(&mut granter, &settings, &room(tokens));
        let mut used = 0;
        for (at, up_to) in &grants {
            let (requests, tokens_each) = waiting[at];
            prop_assert!(*up_to <= requests);
            used += up_to * tokens_each;
        }
        // The last grant may exceed the room, as a request cannot be cut.
        prop_assert!(used < tokens + 500, "{} of {}", used, tokens);
        let total: u64 = waiting.values().map(|(requests, tokens_each)| requests * tokens_each).sum();
        prop_assert!(used >= tokens.min(total), "nothing waits while there is room");
        // Strict order: a band is granted something only if all above it were granted whole.
        let ungranted = |priority: i32| {
            let whole: u64 = waiting.iter().filter(|((of, _), _)| of.priority == priority).map(|(_, of)| of.0).sum();
            let gone: u64 = grants.iter().filter(|((of, _), _)| of.priority == priority).map(|of| of.1).sum();
            whole - gone
        };
        for (flow, _) in grants.keys() {
            prop_assert!((flow.priority + 1..3).all(|above| ungranted(above) == 0));
        }
    }

    #[test]
    fn shares_do_not_depend_on_the_replicas(
        tokens_each in vec(1..300_u64, 4), spread in vec(any::<u8>(), 4), replicas in 1..8_u64,
    ) {
        let count = |replicas: u64| {
            let mut granter = Granter::default();
            for (at, tokens_each) in tokens_each.iter().enumerate() {
                // All requests of a flow at one replica, as unevenly as can be.
                let origin = Origin(u64::from(spread[at]) % replicas);
                granter.report(1_000, origin, &flow(0, &at.to_string()), backlog(900, *tokens_each, 10));
            }
            granted(&mut granter, &FlowSettings::default(), &room(40_000))
        };
        prop_assert_eq!(count(1), count(replicas));
    }

    #[test]
    fn tokens_are_shared_by_weight(tokens_each in vec(1..300_u64, 4), weights in vec(1..9_u32, 4)) {
        let weights_by_id = weights.iter().enumerate().map(|(at, weight)| (at.to_string(), *weight));
        let settings = FlowSettings { weights: weights_by_id.collect(), ..FlowSettings::default() };
        let mut granter = Granter::default();
        for (at, tokens_each) in tokens_each.iter().enumerate() {
            granter.report(1_000, Origin(1), &flow(0, &at.to_string()), backlog(100_000, *tokens_each, 10));
        }
        let granted = granted(&mut granter, &settings, &room(60_000));
        let normalized = |at: usize| {
            let requests = granted.get(&flow(0, &at.to_string())).copied().unwrap_or(0);
            (requests * tokens_each[at]) as f64 / f64::from(weights[at])
        };
        for (one, other) in (0..4).flat_map(|one| (0..one).map(move |other| (one, other))) {
            // The bound of start-time fair queueing: one request of each flow.
            let bound = [one, other].map(|at| tokens_each[at] as f64 / f64::from(weights[at])).iter().sum::<f64>();
            let (here, there) = (normalized(one), normalized(other));
            prop_assert!((here - there).abs() <= bound + 1e-6, "{} {} {}", here, there, bound);
        }
    }
}

#[test]
fn oldest_request_of_a_flow_goes_first_wherever_it_waits() {
    let (mut granter, key) = (Granter::default(), flow(0, "a"));
    granter.report(1_000, Origin(1), &key, backlog(10, 10, 100));
    granter.report(1_000, Origin(2), &key, backlog(10, 10, 900));
    let grants = granter.grant(&FlowSettings::default(), &room(90), 1_000);
    let of = |origin| grants.iter().find(|grant| grant.origin == Origin(origin)).map(|grant| grant.up_to);
    // The tenth request there arrived 90 ms ago, if they arrived evenly: after the oldest one here.
    assert_eq!((None, Some(9)), (of(1), of(2)));
}

#[test]
fn minimum_share_keeps_a_low_band_alive() {
    let share = BandSettings { min_share_percent: 10, ..BandSettings::default() };
    let settings = FlowSettings { bands: BTreeMap::from([(-10, share)]), ..FlowSettings::default() };
    let (high, low) = (flow(10, "a"), flow(-10, "a"));
    let mut granter = Granter::default();
    granter.report(1_000, Origin(1), &high, backlog(10_000, 10, 10));
    granter.report(1_000, Origin(1), &low, backlog(10_000, 10, 10));
    let sums = granted(&mut granter, &settings, &room(10_000));
    assert_eq!(1_000, sums[&high] + sums[&low]);
    assert!((85..=95).contains(&sums[&low]), "{sums:?}");
    let mut strict = Granter::default();
    strict.report(1_000, Origin(1), &high, backlog(10_000, 10, 10));
    strict.report(1_000, Origin(1), &low, backlog(10_000, 10, 10));
    assert!(!granted(&mut strict, &FlowSettings::default(), &room(10_000)).contains_key(&low));
}

#[test]
fn ceiling_keeps_room_for_higher_bands() {
    let ceilings = Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 };
    let settings = FlowSettings { ceilings, ..FlowSettings::default() };
    let fullness = Fullness { saturation: 0.6, per_request: 0.01, ..room(0) };
    let (high, low) = (flow(10, "a"), flow(0, "a"));
    let mut granter = Granter::default();
    granter.report(1_000, Origin(1), &high, backlog(10, 1, 10));
    granter.report(1_000, Origin(1), &low, backlog(10, 1, 10));
    let sums = granted(&mut granter, &settings, &fullness);
    assert_eq!(BTreeMap::from([(high, 10)]), sums);
}

#[test]
fn backlog_of_a_gone_replica_is_forgotten() {
    let (mut granter, key) = (Granter::default(), flow(0, "a"));
    granter.report(1_000, Origin(1), &key, backlog(10, 1, 10));
    assert_eq!(Some(0), granter.highest_waiting());
    granter.expire(Origin(1));
    assert_eq!(None, granter.highest_waiting());
    assert!(granter.grant(&FlowSettings::default(), &room(1_000), 1_000).is_empty());
}

#[test]
fn new_owner_continues_with_what_the_replicas_used() {
    let key = flow(0, "a");
    let mut granter = Granter::default();
    granter.report(1_000, Origin(1), &key, Backlog { released: 41, ..backlog(3, 10, 10) });
    let grants = granter.grant(&FlowSettings::default(), &room(25), 1_000);
    assert_eq!(vec![44], grants.iter().map(|grant| grant.up_to).collect::<Vec<_>>());
}
