//! What holds of one run of the granter, however many requests it grants.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::proptest;
use proptest::prop_assert_eq;
use signalbox_flow::{
    Backlog, BandSettings, BandShares, Fairness, FlowKey, FlowSettings, Granter, Saturation, Usage,
};
use signalbox_types::Origin;

/// A pool with room for all that waits.
const ROOM: Saturation =
    Saturation { value: 0.0, by_prompts: 0.0, per_request: 0.0, per_token: 0.0, per_request_limit: 0.0 };

const NOW_MS: u64 = 1_000;

fn settings(fairness: Fairness) -> FlowSettings {
    let default_band = BandSettings { fairness, ..BandSettings::default() };
    FlowSettings { default_band, weights: BTreeMap::from([("1".into(), 3)]), ..FlowSettings::default() }
}

fn grants(granter: &mut Granter, limit: usize, settings: &FlowSettings) -> BTreeMap<(i32, String, u64), u64> {
    let grants = granter.grant_at_most(limit, settings, &ROOM, NOW_MS).into_iter();
    grants.map(|of| ((of.flow.priority, of.flow.id.to_string(), of.origin.0), of.up_to)).collect()
}

proptest! {
    /// A run looks at what waits once, and grants the same as if it did so for each request.
    #[test]
    fn long_run_grants_the_same_as_many_short_ones(
        backlogs in vec((0..2_i32, 0..5_u8, 0..3_u64, 1..10_u64, 1..500_u64, 0..900_u64), 1..20),
        before in 0..30_usize,
        count in 1..60_usize,
        fairness in 0..3_usize,
    ) {
        let settings = settings([Fairness::Weighted, Fairness::Strict, Fairness::RoundRobin][fairness]);
        let mut granter = Granter::default();
        for (priority, id, origin, requests, tokens_each, oldest_wait_ms) in backlogs {
            let usage = Usage { requests, bytes: 0, tokens: requests * tokens_each };
            let backlog = Backlog { usage, oldest_wait_ms, released: 0 };
            granter.report(NOW_MS, Origin(origin), &FlowKey::new(priority, &id.to_string()), backlog);
        }
        grants(&mut granter, before, &settings);
        let mut one_by_one = granter.clone();
        let mut wanted = BTreeMap::new();
        for _ in 0..count {
            wanted.extend(grants(&mut one_by_one, 1, &settings));
        }
        prop_assert_eq!(wanted, grants(&mut granter, count, &settings));
    }
}

#[test]
fn flows_are_bounded_however_many_ids_clients_use() {
    for fairness in [Fairness::Weighted, Fairness::Strict, Fairness::RoundRobin, Fairness::ProgramAware] {
        let (settings, mut granter) = (settings(fairness), Granter::default());
        for at in 0..5_000 {
            let usage = Usage { requests: 1, bytes: 0, tokens: 100 + at };
            let backlog = Backlog { usage, oldest_wait_ms: 0, released: 0 };
            granter.report(NOW_MS, Origin(at % 5), &FlowKey::new(0, &at.to_string()), backlog);
        }
        assert_eq!(5_000, grants(&mut granter, usize::MAX, &settings).len());
        let served = granter.shares().map(|(_, shares)| shares.served.len()).collect::<Vec<_>>();
        assert_eq!(vec![BandShares::MAX_SERVED], served);
    }
}
