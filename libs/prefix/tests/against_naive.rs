//! The index against a reference that is too simple to be wrong: a set of prefixes for each endpoint.
#![allow(clippy::unwrap_used)] // in a test's own functions a panic is a failure, too

use std::collections::BTreeMap;

use proptest::prelude::*;
use signalbox_prefix::{Lookup, Residents};
use signalbox_types::{BlockHash, EndpointKey};

type Prompt = Vec<u8>;

/// One block for each byte; a block's hash is the prefix it stands for, read as a number.
fn chain(prompt: &[u8]) -> Vec<BlockHash> {
    let fold = |hash: &mut u64, byte: &u8| {
        *hash = *hash * 4 + u64::from(*byte) + 1;
        Some(BlockHash(*hash))
    };
    prompt.iter().scan(0, fold).collect()
}

#[derive(Default)]
struct Naive {
    held: BTreeMap<u64, BTreeMap<Prompt, u64>>,
}

impl Naive {
    fn place(&mut self, endpoint: u64, prompt: &[u8], touched: u64) {
        let held = self.held.entry(endpoint).or_default();
        for end in 1..=prompt.len() {
            held.entry(prompt[..end].to_vec()).or_insert(touched);
        }
        held.insert(prompt.to_vec(), touched);
    }

    /// When the prefix, or anything held after it, was used last.
    fn used(&self, endpoint: u64, prefix: &[u8]) -> u64 {
        let after = self.held[&endpoint].iter().filter(|(prompt, _)| prompt.starts_with(prefix));
        after.map(|(_, touched)| *touched).max().unwrap_or(0)
    }

    /// The one prefix that nothing follows and that was used longest ago; of equals, none is preferred.
    fn evict(&mut self, endpoint: u64, prefix: &[u8]) {
        let used = self.used(endpoint, prefix);
        let held = self.held.get_mut(&endpoint).unwrap();
        held.remove(prefix);
        if let Some(parent) = held.get_mut(&prefix[..prefix.len() - 1]) {
            *parent = used.max(*parent);
        }
    }

    fn lookup(&self, prompt: &[u8]) -> Lookup {
        let depth = |held: &BTreeMap<Prompt, u64>| {
            (1..=prompt.len()).take_while(|end| held.contains_key(&prompt[..*end])).count()
        };
        let mut held: Vec<_> = self
            .held
            .iter()
            .map(|(e, held)| (EndpointKey(*e), depth(held)))
            .filter(|(_, n)| *n > 0)
            .collect();
        held.sort();
        Lookup { known: held.iter().map(|(_, depth)| *depth).max().unwrap_or(0), held }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Place { endpoint: u64, prompt: Prompt },
    Evict { endpoint: u64, limit: usize },
    Forget { endpoint: u64 },
}

fn prompt() -> impl Strategy<Value = Prompt> {
    proptest::collection::vec(0_u8..3, 1..12)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..4, prompt()).prop_map(|(endpoint, prompt)| Step::Place { endpoint, prompt }),
        2 => (0_u64..4, 1_usize..6).prop_map(|(endpoint, limit)| Step::Evict { endpoint, limit }),
        1 => (0_u64..4).prop_map(|endpoint| Step::Forget { endpoint }),
    ]
}

fn place(residents: &mut Residents, endpoint: u64, prompt: &[u8], touched: u64) {
    let chain = chain(prompt);
    let known = residents.index().lookup(&chain).known;
    let anchor = known.checked_sub(1).map_or(BlockHash::ROOT, |last| chain[last]);
    residents.place(EndpointKey(endpoint), anchor, &chain[known..], touched).unwrap();
}

/// Evicts what the index proposes and checks that the reference agrees that it was the oldest.
fn evict(residents: &mut Residents, naive: &mut Naive, endpoint: u64, limit: usize) {
    let Some((leaf, blocks)) = residents.oldest(EndpointKey(endpoint), limit) else {
        assert!(naive.held.get(&endpoint).is_none_or(BTreeMap::is_empty));
        return;
    };
    assert!(blocks as usize <= limit);
    let mut prefix = naive.held[&endpoint].keys().find(|p| chain(p).last() == Some(&leaf)).unwrap().clone();
    for _ in 0..blocks {
        let held = &naive.held[&endpoint];
        let is_leaf = |p: &Prompt| !held.keys().any(|other| other.len() > p.len() && other.starts_with(p));
        let oldest = held.keys().filter(|p| is_leaf(p)).map(|p| naive.used(endpoint, p)).min();
        assert!(is_leaf(&prefix));
        assert_eq!(oldest, Some(naive.used(endpoint, &prefix)));
        naive.evict(endpoint, &prefix);
        prefix.pop();
    }
    residents.evict(EndpointKey(endpoint), leaf, blocks).unwrap();
}

fn sorted(mut lookup: Lookup) -> Lookup {
    lookup.held.sort();
    lookup
}

proptest! {
    #[test]
    fn any_history_gives_the_reference_s_answers(steps in proptest::collection::vec(step(), 1..80), asked in prompt()) {
        let (mut residents, mut naive) = (Residents::default(), Naive::default());
        for (touched, step) in steps.into_iter().enumerate() {
            match step {
                Step::Place { endpoint, prompt } => {
                    place(&mut residents, endpoint, &prompt, touched as u64);
                    naive.place(endpoint, &prompt, touched as u64);
                    prop_assert_eq!(naive.lookup(&prompt), sorted(residents.index().lookup(&chain(&prompt))));
                }
                Step::Evict { endpoint, limit } => evict(&mut residents, &mut naive, endpoint, limit),
                Step::Forget { endpoint } => {
                    residents.forget(EndpointKey(endpoint));
                    naive.held.remove(&endpoint);
                }
            }
            prop_assert_eq!(naive.lookup(&asked), sorted(residents.index().lookup(&chain(&asked))));
        }
        for endpoint in 0..4 {
            let expected = naive.held.get(&endpoint).map_or(0, BTreeMap::len);
            prop_assert_eq!(expected, residents.held(EndpointKey(endpoint)));
        }
    }

    #[test]
    fn a_snapshot_gives_back_the_same_index(prompts in proptest::collection::vec((0_u64..4, prompt()), 0..40)) {
        let mut residents = Residents::default();
        for (touched, (endpoint, prompt)) in prompts.iter().enumerate() {
            place(&mut residents, *endpoint, prompt, touched as u64);
        }
        let copy = Residents::from_blocks(residents.blocks()).unwrap();
        for endpoint in (0..4).map(EndpointKey) {
            prop_assert_eq!(residents.held(endpoint), copy.held(endpoint));
            prop_assert_eq!(residents.digest(endpoint), copy.digest(endpoint));
            prop_assert_eq!(residents.oldest(endpoint, 3), copy.oldest(endpoint, 3));
        }
    }

    #[test]
    fn when_all_is_forgotten_nothing_is_left(prompts in proptest::collection::vec((0_u64..4, prompt()), 0..40)) {
        let mut residents = Residents::default();
        for (touched, (endpoint, prompt)) in prompts.iter().enumerate() {
            place(&mut residents, *endpoint, prompt, touched as u64);
        }
        for endpoint in (0..4).map(EndpointKey) {
            residents.forget(endpoint);
            prop_assert_eq!(0, residents.digest(endpoint));
        }
        prop_assert!(residents.index().is_empty());
    }
}

#[test]
fn an_unknown_anchor_is_refused_and_changes_nothing() {
    let mut residents = Residents::default();
    assert!(residents.place(EndpointKey(1), BlockHash(5), &[BlockHash(6)], 1).is_err());
    assert!(residents.index().is_empty());
}
