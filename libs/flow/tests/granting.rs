//! What holds of grants: order of bands, shares, room, and independence of how requests are spread over replicas.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::proptest;
use proptest::prop_assert;
use signalbox_flow::{
    Backlog, BandSettings, Ceilings, FlowKey, FlowSettings, Grant, Granter, Saturation, Usage,
};
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
fn room(tokens: u64) -> Saturation {
    let per_token = 1.0 / f64::from(1_u32 << 20);
    let value = 1.0 - tokens as f64 * per_token;
    Saturation { value, by_prompts: value, per_request: 0.0, per_token, per_request_limit: f64::INFINITY }
}

/// Grants until nothing more goes. Returns up to which number each flow may go at each replica.
fn grants(
    granter: &mut Granter,
    settings: &FlowSettings,
    saturation: &Saturation,
) -> BTreeMap<(FlowKey, Origin), u64> {
    let (mut all, now_ms) = (BTreeMap::new(), 1_000);
    loop {
        let grants = granter.grant(settings, saturation, now_ms);
        if grants.is_empty() {
            return all;
        }
        all.extend(grants.into_iter().map(|grant| ((grant.flow, grant.origin), grant.up_to)));
    }
}

/// Like [`grants`], summed over all replicas.
fn granted(
    granter: &mut Granter,
    settings: &FlowSettings,
    saturation: &Saturation,
) -> BTreeMap<FlowKey, u64> {
    let mut sums = BTreeMap::new();
    for ((flow, _), up_to) in grants(granter, settings, saturation) {
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
        tokens_each in vec(1..300_u64, 4), spread in vec(vec(1..400_u64, 1..8), 4), wait_ms in vec(0..900_u64, 7),
    ) {
        let tokens = |replicas: &dyn Fn(&[u64]) -> Vec<u64>| {
            let mut granter = Granter::default();
            for (at, tokens_each) in tokens_each.iter().enumerate() {
                for (origin, requests) in replicas(&spread[at]).into_iter().enumerate() {
                    let backlog = backlog(requests, *tokens_each, wait_ms[origin]);
                    granter.report(1_000, Origin(origin as u64), &flow(0, &at.to_string()), backlog);
                }
            }
            let granted = granted(&mut granter, &FlowSettings::default(), &room(40_000));
            let tokens = |at: usize| granted.get(&flow(0, &at.to_string())).map_or(0, |of| of * tokens_each[at]);
            (0..4).map(tokens).collect::<Vec<_>>()
        };
        let (at_one, at_many) = (tokens(&|requests| vec![requests.iter().sum()]), tokens(&<[u64]>::to_vec));
        // Start-time fair queueing bounds the difference between two flows by one request of each. So which of them is the
        // last one changes the tokens of a flow by at most three requests.
        let bound = 3 * tokens_each.iter().max().copied().unwrap_or(0);
        for (one, many) in at_one.iter().zip(&at_many) {
            prop_assert!(one.abs_diff(*many) <= bound, "{:?} {:?}", at_one, at_many);
        }
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

/// Grants `tokens` tokens to two bands, of which the lower one has a minimum share. Returns the requests that go of each.
fn with_minimum_share(percent: u8, (high_each, low_each): (u64, u64), tokens: u64) -> (u64, u64) {
    let share = BandSettings { min_share_percent: percent, ..BandSettings::default() };
    let settings = FlowSettings { bands: BTreeMap::from([(-10, share)]), ..FlowSettings::default() };
    let (high, low) = (flow(10, "a"), flow(-10, "a"));
    let mut granter = Granter::default();
    granter.report(1_000, Origin(1), &high, backlog(100_000, high_each, 10));
    granter.report(1_000, Origin(1), &low, backlog(100_000, low_each, 10));
    let sums = granted(&mut granter, &settings, &room(tokens));
    [&high, &low].map(|flow| sums.get(flow).copied().unwrap_or(0)).into()
}

#[test]
fn minimum_share_is_a_share_of_all_granted_tokens() {
    for (percent, wanted) in [(0, 0), (1, 10), (10, 100), (50, 500), (100, 1_000)] {
        for tokens_each in [1, 10, 1_000] {
            let (high, low) = with_minimum_share(percent, (tokens_each, tokens_each), 1_000 * tokens_each);
            assert_eq!(1_000, high + low);
            assert!(low.abs_diff(wanted) <= 1, "{percent} % of requests of {tokens_each} tokens: {low}");
        }
    }
}

#[test]
fn minimum_share_counts_tokens_whatever_the_length_of_requests() {
    // 10 % of 1 M tokens, in requests of 7 and 900 tokens.
    let (high, low) = with_minimum_share(10, (900, 7), 1_000_000);
    assert!((low * 7).abs_diff(100_000) <= 100, "{high} {low}");
    let (high, low) = with_minimum_share(10, (7, 900), 500_000);
    assert!((low * 900).abs_diff(50_000) <= 1_000, "{high} {low}");
}

#[test]
fn minimum_share_pays_a_long_request() {
    // A request of 1 M tokens goes whenever 10 M have gone.
    let (_, low) = with_minimum_share(10, (10_000, 1_000_000), 35_000_000);
    assert_eq!(3, low);
}

#[test]
fn ceiling_keeps_room_for_higher_bands() {
    let ceilings = Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 };
    let settings = FlowSettings { ceilings, ..FlowSettings::default() };
    let saturation = Saturation { value: 0.6, per_request: 0.01, ..room(0) };
    let (high, low) = (flow(10, "a"), flow(0, "a"));
    let mut granter = Granter::default();
    granter.report(1_000, Origin(1), &high, backlog(10, 1, 10));
    granter.report(1_000, Origin(1), &low, backlog(10, 1, 10));
    let sums = granted(&mut granter, &settings, &saturation);
    assert_eq!(BTreeMap::from([(high, 10)]), sums);
}

#[test]
fn ceiling_keeps_room_for_bands_of_which_nothing_waits() {
    let ceilings = Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 };
    let alone = |configured: &[i32], priority: i32| {
        let bands = configured.iter().map(|priority| (*priority, BandSettings::default())).collect();
        let settings = FlowSettings { ceilings, bands, ..FlowSettings::default() };
        let saturation = Saturation { value: 0.0, per_request: 0.01, ..room(0) };
        let mut granter = Granter::default();
        granter.report(1_000, Origin(1), &flow(priority, "a"), backlog(1_000, 1, 10));
        granted(&mut granter, &settings, &saturation).values().sum::<u64>()
    };
    // The only band may fill the pool. Others leave room for those above them: configured ones, and that of priority 0.
    assert!((100..=101).contains(&alone(&[], 0)));
    assert!((100..=101).contains(&alone(&[], 10)));
    assert!((50..=51).contains(&alone(&[10], 0)));
    assert!((75..=76).contains(&alone(&[10, -10], 0)));
    assert!((50..=51).contains(&alone(&[], -10)));
}

#[test]
fn lost_grant_is_among_the_outstanding_ones_until_it_is_used() {
    let (mut granter, key, settings) = (Granter::default(), flow(0, "a"), FlowSettings::default());
    granter.report(1_000, Origin(1), &key, backlog(10, 10, 10));
    granter.report(1_000, Origin(2), &key, backlog(0, 10, 0));
    assert_eq!(0, granter.outstanding_grants().count());
    // The answer is lost, and the replica reports the same again.
    drop(granter.grant(&settings, &room(35), 1_000));
    granter.report(1_100, Origin(1), &key, backlog(10, 10, 110));
    assert!(granter.grant(&settings, &room(35), 1_100).is_empty(), "the room is granted already");
    let lost = Grant { flow: key.clone(), origin: Origin(1), up_to: 4 };
    assert_eq!(vec![lost.clone()], granter.outstanding_grants().collect::<Vec<_>>());
    // In part, then whole.
    granter.report(1_200, Origin(1), &key, Backlog { released: 3, ..backlog(7, 10, 210) });
    assert_eq!(vec![lost], granter.outstanding_grants().collect::<Vec<_>>());
    granter.report(1_300, Origin(1), &key, Backlog { released: 4, ..backlog(6, 10, 310) });
    assert_eq!(0, granter.outstanding_grants().count());
}

#[test]
fn empty_band_keeps_what_its_flows_got() {
    let (mut granter, settings) = (Granter::default(), FlowSettings::default());
    let (served, other) = (flow(0, "a"), flow(0, "b"));
    granter.report(1_000, Origin(1), &served, backlog(1, 50, 10));
    assert_eq!(1, granter.grant(&settings, &room(100), 1_000).len());
    granter.forget(Origin(1), &served);
    assert!(granter.grant(&settings, &room(100), 1_100).is_empty());
    for flow in [&served, &other] {
        granter.report(1_200, Origin(1), flow, backlog(1, 50, 10));
    }
    let first = granter.grant(&settings, &room(50), 1_200);
    assert_eq!(vec![&other], first.iter().map(|grant| &grant.flow).collect::<Vec<_>>());
    // After a long time nobody has a claim, and the band is gone.
    granter.expire(Origin(1));
    assert!(granter.grant(&settings, &room(50), 3_600_000).is_empty());
    assert_eq!(0, granter.usage().count());
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
