//! Generated workloads have exactly as much in common as they say.

use std::collections::{HashMap, HashSet};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::rate_per_second;
use signalbox_workload::generate::{
    Burst, Conversation, NoSharing, SharedPrefix, burst, conversation, no_sharing, shared_prefix,
};
use signalbox_workload::{Item, Segment};

const BLOCK_TOKENS: u32 = 100;

fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// Share of all full blocks that an earlier prompt had.
fn shared_share(items: &[Item]) -> f64 {
    let (mut seen, mut shared, mut total) = (HashSet::new(), 0, 0);
    for item in items {
        let chain = item.prompt.chain(BLOCK_TOKENS);
        shared += chain.iter().take_while(|block| seen.contains(*block)).count();
        total += chain.len();
        seen.extend(chain);
    }
    shared as f64 / total as f64
}

#[test]
fn a_group_shares_its_beginning_and_nothing_else() {
    let shape = SharedPrefix::default();
    let items = shared_prefix(&shape, &mut rng(1));
    assert_eq!(750, items.len());
    let mut groups: HashMap<u64, u32> = HashMap::new();
    let mut own = HashSet::new();
    for item in &items {
        let [shared, rest] = item.prompt.segments() else { panic!("two segments") };
        assert_eq!((6_000, 1_200), (shared.tokens, rest.tokens));
        *groups.entry(shared.content).or_default() += 1;
        assert!(own.insert(rest.content) && (64..=192).contains(&item.output_tokens));
    }
    assert_eq!(150, groups.len());
    assert!(groups.values().all(|prompts| *prompts == 5));
    // 150 · 4 prompts find 60 of 72 blocks.
    assert!((shared_share(&items) - 600.0 * 60.0 / (750.0 * 72.0)).abs() < 1e-9);
}

#[test]
fn a_burst_shares_one_beginning_and_comes_together() {
    let shape = Burst::default();
    let items = burst(&shape, &mut rng(2));
    assert_eq!(60 * 32, items.len());
    let groups: HashSet<u64> = items.iter().map(|item| item.prompt.segments()[0].content).collect();
    let expected = (items.len() - groups.len()) as f64 * 40.0 / (items.len() as f64 * 45.0);
    assert!((shared_share(&items) - expected).abs() < 1e-9);
    let close = items.windows(2).filter(|pair| pair[1].at_us - pair[0].at_us < 200_000).count();
    assert!(close * 10 > items.len() * 9, "{close}");
}

#[test]
fn without_sharing_nothing_is_shared() {
    let items = no_sharing(&NoSharing::default(), &mut rng(3));
    assert_eq!((1_500, 0.0), (items.len(), shared_share(&items)));
    assert!(items.iter().all(|item| (200..=16_000).contains(&item.prompt.tokens())));
}

#[test]
fn a_turn_begins_with_all_that_was_said_before_it() {
    let items = conversation(&Conversation::default(), &mut rng(4));
    assert_eq!(1_500, items.len());
    let system = items[0].prompt.segments()[0];
    let mut said: HashMap<Segment, Vec<Segment>> = HashMap::new();
    for item in &items {
        let segments = item.prompt.segments();
        assert_eq!(system, segments[0]);
        match said.insert(segments[1], segments.to_vec()) {
            None => assert_eq!(2, segments.len()),
            Some(before) => assert!(segments.starts_with(&before) && segments.len() == before.len() + 2),
        }
    }
    assert!((0.25..0.75).contains(&shared_share(&items)), "{}", shared_share(&items));
}

#[test]
fn a_seed_makes_the_same_workload_in_order_of_time_at_about_one_per_second() {
    for seed in 0..3 {
        let all = |seed| {
            let rng = &mut rng(seed);
            [
                shared_prefix(&SharedPrefix::default(), rng),
                burst(&Burst::default(), rng),
                no_sharing(&NoSharing::default(), rng),
                conversation(&Conversation::default(), rng),
            ]
        };
        assert!(all(seed) == all(seed) && all(seed) != all(seed + 1));
        for items in all(seed) {
            assert!(items.is_sorted_by_key(|item| item.at_us));
            assert!((0.6..1.7).contains(&rate_per_second(&items)), "{}", rate_per_second(&items));
        }
    }
}
