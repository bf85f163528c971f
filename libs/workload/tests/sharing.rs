//! Checks how much of their prompts generated workloads share.

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

/// Returns the share of all full blocks that an earlier prompt contained.
fn shared_fraction(items: &[Item]) -> f64 {
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
fn group_shares_its_prefix_and_nothing_else() {
    let shape = SharedPrefix::default();
    let items = shared_prefix(&shape, &mut rng(1));
    assert_eq!(750, items.len());
    let mut groups: HashMap<u64, u32> = HashMap::new();
    let mut unique = HashSet::new();
    for item in &items {
        let [shared, rest] = item.prompt.segments() else { panic!("two segments") };
        assert_eq!((6_000, 1_200), (shared.tokens, rest.tokens));
        *groups.entry(shared.content).or_default() += 1;
        assert!(unique.insert(rest.content) && (64..=192).contains(&item.output_tokens));
    }
    assert_eq!(150, groups.len());
    assert!(groups.values().all(|prompts| *prompts == 5));
    // 150 · 4 prompts share 60 of their 72 blocks with an earlier prompt.
    assert!((shared_fraction(&items) - 600.0 * 60.0 / (750.0 * 72.0)).abs() < 1e-9);
}

#[test]
fn burst_shares_one_prefix_and_arrives_together() {
    let shape = Burst::default();
    let items = burst(&shape, &mut rng(2));
    assert_eq!(60 * 32, items.len());
    let groups: HashSet<u64> = items.iter().map(|item| item.prompt.segments()[0].content).collect();
    let expected = (items.len() - groups.len()) as f64 * 40.0 / (items.len() as f64 * 45.0);
    assert!((shared_fraction(&items) - expected).abs() < 1e-9);
    let close = items.windows(2).filter(|pair| pair[1].at_us - pair[0].at_us < 200_000).count();
    assert!(close * 10 > items.len() * 9, "{close}");
}

#[test]
fn no_sharing_workload_shares_nothing() {
    let items = no_sharing(&NoSharing::default(), &mut rng(3));
    assert_eq!((1_500, 0.0), (items.len(), shared_fraction(&items)));
    assert!(items.iter().all(|item| (200..=16_000).contains(&item.prompt.tokens())));
}

#[test]
fn turn_begins_with_the_conversation_so_far() {
    let items = conversation(&Conversation::default(), &mut rng(4));
    assert_eq!(1_500, items.len());
    let system = items[0].prompt.segments()[0];
    let mut histories: HashMap<Segment, Vec<Segment>> = HashMap::new();
    for item in &items {
        let segments = item.prompt.segments();
        assert_eq!(system, segments[0]);
        match histories.insert(segments[1], segments.to_vec()) {
            None => assert_eq!(2, segments.len()),
            Some(before) => assert!(segments.starts_with(&before) && segments.len() == before.len() + 2),
        }
    }
    assert!((0.25..0.75).contains(&shared_fraction(&items)), "{}", shared_fraction(&items));
}

#[test]
fn same_seed_generates_the_same_sorted_workload_at_one_request_per_second() {
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
