//! Checks how much of their prompts generated workloads share.

use std::collections::{HashMap, HashSet};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::rate_per_second;
use signalbox_workload::generate::{
    Agents, Conversation, Lengths, SharedPrefix, SystemPrompts, agents, conversation, lengths, shared_prefix,
};
use signalbox_workload::{Author, Item};

fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// Returns the share of all prompt tokens in leading segments that an earlier prompt began with.
fn shared_fraction(items: &[Item]) -> f64 {
    let (mut seen, mut shared, mut total) = (HashSet::new(), 0, 0);
    for item in items {
        let segments = item.prompt.segments();
        for end in 1..=segments.len() {
            if !seen.insert(segments[..end].to_vec()) {
                shared += segments[end - 1].tokens;
            }
        }
        total += item.prompt.tokens();
    }
    f64::from(shared) / f64::from(total)
}

/// Checks that answers come back only after they were given, with their length, and returns how many do.
fn repeated_answers(items: &[Item]) -> usize {
    let mut lengths: HashMap<u64, u32> = HashMap::new();
    let mut repeated = HashSet::new();
    for item in items {
        for segment in item.prompt.segments().iter().filter(|segment| segment.author == Author::Assistant) {
            if let Some(tokens) = lengths.get(&segment.content) {
                assert_eq!(*tokens, segment.tokens);
                repeated.insert(segment.content);
            }
        }
        lengths.insert(item.answer, item.output_tokens);
    }
    repeated.len()
}

fn percentile(mut values: Vec<u32>, percent: usize) -> f64 {
    values.sort_unstable();
    f64::from(values[values.len() * percent / 100])
}

#[test]
fn group_shares_its_prefix_and_nothing_else() {
    let shape = SharedPrefix::default();
    let items = shared_prefix(&shape, &mut rng(1));
    assert_eq!(1_200, items.len());
    let mut groups: HashMap<u64, u32> = HashMap::new();
    let mut unique = HashSet::new();
    for item in &items {
        let [shared, rest] = item.prompt.segments() else { panic!("two segments") };
        assert_eq!((6_000, 1_200), (shared.tokens, rest.tokens));
        *groups.entry(shared.content).or_default() += 1;
        assert!(unique.insert(rest.content) && (64..=192).contains(&item.output_tokens));
    }
    assert_eq!(150, groups.len());
    assert!(groups.values().all(|prompts| *prompts == 8));
    // 150 · 7 prompts share 6,000 of their 7,200 tokens with an earlier prompt.
    assert!((shared_fraction(&items) - 1_050.0 * 6_000.0 / (1_200.0 * 7_200.0)).abs() < 1e-9);
}

#[test]
fn lengths_have_the_published_quantiles_and_share_only_system_prompts() {
    let shape = Lengths { requests: 20_000, system_prompts: SystemPrompts::NONE };
    let items = lengths(&shape, &mut rng(3));
    assert_eq!((20_000, 0.0), (items.len(), shared_fraction(&items)));
    // Conversations have outputs beyond 252 tokens, code has none.
    let chat =
        items.iter().filter(|item| item.output_tokens > 252).map(|item| item.prompt.tokens()).collect();
    assert!((970.0..1_070.0).contains(&percentile(chat, 50)));
    let prompts: Vec<u32> = items.iter().map(|item| item.prompt.tokens()).collect();
    assert!(prompts.iter().all(|tokens| *tokens <= 7_436));
    // The traces have means of 2,048 and 1,155 tokens.
    let mean = prompts.iter().map(|tokens| f64::from(*tokens)).sum::<f64>() / 20_000.0;
    let published = (8_819.0 * 2_048.0 + 19_366.0 * 1_155.0) / 28_185.0;
    assert!((mean / published - 1.0).abs() < 0.1, "{mean} instead of {published}");
    let system_prompts = SystemPrompts { share: 0.5, count: 4, tokens: 1_000 };
    let shared = shared_fraction(&lengths(&Lengths { system_prompts, ..shape }, &mut rng(3)));
    assert!((0.2..0.3).contains(&shared), "{shared}");
}

#[test]
fn turn_begins_with_the_conversation_so_far() {
    let items = conversation(&Conversation::default(), &mut rng(4));
    assert_eq!(1_500, items.len());
    let system = items[0].prompt.segments()[0];
    let mut histories = HashMap::new();
    for item in &items {
        let segments = item.prompt.segments();
        assert_eq!(system, segments[0]);
        if let Some(before) = histories.insert(segments[1], segments.to_vec()) {
            assert!(segments.starts_with(&before) && segments.len() == before.len() + 2);
        }
    }
    assert!((0.25..0.75).contains(&shared_fraction(&items)), "{}", shared_fraction(&items));
    assert!(repeated_answers(&items) > 700);
}

#[test]
fn agents_of_a_kind_share_instructions_and_turns_grow() {
    let items = agents(&Agents::default(), &mut rng(5));
    assert_eq!(2_000, items.len());
    let kinds: HashSet<u64> = items.iter().map(|item| item.prompt.segments()[0].content).collect();
    assert!((12..=24).contains(&kinds.len()), "{}", kinds.len());
    let authors: HashSet<Author> =
        items.iter().map(|item| item.prompt.segments().last().unwrap().author).collect();
    assert_eq!(HashSet::from([Author::User, Author::Tool]), authors);
    assert!((0.7..0.97).contains(&shared_fraction(&items)), "{}", shared_fraction(&items));
    assert!(repeated_answers(&items) > 1_200);
}

#[test]
fn same_seed_generates_the_same_sorted_workload_at_one_request_per_second() {
    for seed in 0..3 {
        let all = |seed| {
            let rng = &mut rng(seed);
            [
                shared_prefix(&SharedPrefix::default(), rng),
                lengths(&Lengths { requests: 1_000, system_prompts: SystemPrompts::NONE }, rng),
                conversation(&Conversation::default(), rng),
                agents(&Agents::default(), rng),
            ]
        };
        assert!(all(seed) == all(seed) && all(seed) != all(seed + 1));
        for items in all(seed) {
            assert!(items.is_sorted_by_key(|item| item.at_us));
            assert!((0.8..1.25).contains(&rate_per_second(&items)), "{}", rate_per_second(&items));
        }
    }
}
