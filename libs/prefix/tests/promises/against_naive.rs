//! The index against a reference that is too simple to be wrong, through any history, and cut into runs in different ways.

use crate::naive::{Naive, Prompt, chain};
use crate::recut::recut;
use proptest::prelude::*;
use signalbox_prefix::{Residents, Run, Stretch, Tier, anchor};
use signalbox_types::{BlockHash, EndpointKey};

const ENDPOINTS: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Place { endpoint: u64, prompt: Prompt, known: usize },
    Evict { endpoint: u64, limit: usize },
    Confirm { endpoint: u64, tier: Tier, prompt: Prompt, from: usize },
    Unconfirm { endpoint: u64, tier: Tier, prompt: Prompt, from: usize },
    UnconfirmAll { endpoint: u64 },
    Forget { endpoint: u64 },
    Recut { seed: usize },
}

/// Prompts that share beginnings of any length, some of them longer than the distance of two marks.
fn prompt() -> impl Strategy<Value = Prompt> {
    let parts = proptest::collection::vec((0_u8..3, 1_usize..14), 1..6);
    parts.prop_map(|parts| {
        parts.into_iter().flat_map(|(byte, times)| std::iter::repeat_n(byte, times)).collect()
    })
}

fn tier() -> impl Strategy<Value = Tier> {
    proptest::sample::select(&Tier::ALL[..])
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = || 0..ENDPOINTS;
    let sent = (endpoint(), prompt(), any::<usize>());
    let said = || (endpoint(), tier(), prompt(), 0_usize..40);
    prop_oneof![
        8 => sent.prop_map(|(endpoint, prompt, known)| Step::Place { endpoint, prompt, known }),
        4 => (endpoint(), 1_usize..40).prop_map(|(endpoint, limit)| Step::Evict { endpoint, limit }),
        4 => said().prop_map(|(endpoint, tier, prompt, from)| Step::Confirm { endpoint, tier, prompt, from }),
        3 => said().prop_map(|(endpoint, tier, prompt, from)| Step::Unconfirm { endpoint, tier, prompt, from }),
        1 => endpoint().prop_map(|endpoint| Step::UnconfirmAll { endpoint }),
        1 => endpoint().prop_map(|endpoint| Step::Forget { endpoint }),
        1 => (0_usize..40).prop_map(|seed| Step::Recut { seed }),
    ]
}

/// Does a step that the reference knows the outcome of.
fn take(residents: &mut Residents, naive: &Naive, step: &Step, used: u64) {
    let stretch = |prompt: &[u8], from: usize| {
        let (chain, there) = (chain(prompt), naive.there(prompt).min(from));
        let (anchor, named) = anchor(&chain, there);
        (anchor, chain[named..].to_vec(), from - named)
    };
    match step {
        Step::Place { endpoint, prompt, known } => {
            let (chain, there) = (chain(prompt), naive.there(prompt));
            let (anchor, named) = anchor(&chain, known % (there + 1));
            assert_eq!(Ok(there - named), residents.known(anchor, &chain[named..]));
            residents.place(EndpointKey(*endpoint), anchor, &chain[named..], used).unwrap();
        }
        Step::Evict { endpoint, limit } => {
            let (oldest, expected) =
                (residents.oldest(EndpointKey(*endpoint), *limit), naive.oldest(*endpoint, *limit));
            assert_eq!(expected, oldest);
            if let Some((used, blocks)) = oldest {
                residents.evict(EndpointKey(*endpoint), used, blocks).unwrap();
            }
        }
        Step::Confirm { endpoint, tier, prompt, from } if *from <= prompt.len() => {
            let (anchor, chain, from) = stretch(prompt, *from);
            residents
                .confirm(EndpointKey(*endpoint), *tier, Stretch { anchor, chain: &chain, from })
                .unwrap();
        }
        Step::Unconfirm { endpoint, tier, prompt, from } if *from <= prompt.len() => {
            let (anchor, chain, from) = stretch(prompt, *from);
            let outcome =
                residents.unconfirm(EndpointKey(*endpoint), *tier, Stretch { anchor, chain: &chain, from });
            assert_eq!(naive.there(prompt) == prompt.len(), outcome.is_ok());
        }
        Step::Confirm { .. } | Step::Unconfirm { .. } => {}
        Step::UnconfirmAll { endpoint } => residents.unconfirm_all(EndpointKey(*endpoint)),
        Step::Forget { endpoint } => residents.forget(EndpointKey(*endpoint)),
        Step::Recut { seed } => {
            let runs = recut(residents.runs().collect(), *seed);
            *residents = Residents::from_runs(runs).unwrap();
        }
    }
}

fn take_naively(naive: &mut Naive, step: &Step, used: u64) {
    match step {
        Step::Place { endpoint, prompt, .. } => naive.place(*endpoint, prompt, used),
        Step::Evict { endpoint, limit } => {
            if let Some((used, blocks)) = naive.oldest(*endpoint, *limit) {
                naive.evict(*endpoint, used, blocks);
            }
        }
        Step::Confirm { endpoint, tier, prompt, from } => {
            if *from <= prompt.len() {
                naive.confirm(*endpoint, *tier, prompt, *from);
            }
        }
        Step::Unconfirm { endpoint, tier, prompt, from } => {
            if naive.there(prompt) == prompt.len() {
                naive.unconfirm(*endpoint, *tier, prompt, *from);
            }
        }
        Step::UnconfirmAll { endpoint } => naive.unconfirm_all(*endpoint),
        Step::Forget { endpoint } => naive.forget(*endpoint),
        Step::Recut { .. } => {}
    }
}

fn asked(step: &Step) -> Option<&Prompt> {
    match step {
        Step::Place { prompt, .. } | Step::Confirm { prompt, .. } | Step::Unconfirm { prompt, .. } => {
            Some(prompt)
        }
        _ => None,
    }
}

fn blocks_of(naive: &Naive) -> usize {
    let placed = naive.placed.values().flat_map(|placed| placed.keys());
    let all = placed.chain(naive.confirmed.values().flatten());
    let leading = all.flat_map(|prompt| (1..=prompt.len()).map(|end| prompt[..end].to_vec()));
    leading.collect::<std::collections::BTreeSet<_>>().len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_history_gives_the_reference_s_answers(steps in proptest::collection::vec(step(), 1..60), other in prompt()) {
        let (mut straight, mut other_runs, mut naive) = (Residents::default(), Residents::default(), Naive::default());
        for (used, step) in steps.iter().enumerate() {
            if !matches!(step, Step::Recut { .. }) {
                take(&mut straight, &naive, step, used as u64);
            }
            take(&mut other_runs, &naive, step, used as u64);
            take_naively(&mut naive, step, used as u64);
            for prompt in asked(step).into_iter().chain([&other]) {
                let expected = naive.lookup(0..ENDPOINTS, prompt);
                prop_assert_eq!(&expected, &straight.index().lookup(&chain(prompt)));
                prop_assert_eq!(&expected, &other_runs.index().lookup(&chain(prompt)));
            }
            for endpoint in (0..ENDPOINTS).map(EndpointKey) {
                prop_assert_eq!(naive.placed.get(&endpoint.0).map_or(0, |placed| placed.len()), straight.held(endpoint));
                prop_assert_eq!(straight.held(endpoint), other_runs.held(endpoint));
                prop_assert_eq!(straight.digest(endpoint), other_runs.digest(endpoint));
                prop_assert_eq!(straight.oldest(endpoint, 9), other_runs.oldest(endpoint, 9));
            }
            prop_assert_eq!(straight.stalest(), other_runs.stalest());
            prop_assert_eq!(blocks_of(&naive), straight.index().len());
            prop_assert_eq!(straight.index().len(), other_runs.index().len());
        }
    }

    #[test]
    fn a_snapshot_gives_back_the_same_index(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut residents, mut naive) = (Residents::default(), Naive::default());
        for (used, step) in steps.iter().enumerate() {
            take(&mut residents, &naive, step, used as u64);
            take_naively(&mut naive, step, used as u64);
        }
        let copy = Residents::from_runs(residents.runs().collect()).unwrap();
        let sorted = |residents: &Residents| {
            let mut runs: Vec<Run> = residents.runs().collect();
            runs.sort_by_key(|run| run.blocks[0]);
            runs.iter_mut().for_each(|run| run.placed.sort_by_key(|each| (each.endpoint, each.end)));
            runs.iter_mut().for_each(|run| run.confirmed.sort_by_key(|each| (each.endpoint, each.tier, each.from)));
            runs
        };
        prop_assert_eq!(sorted(&residents), sorted(&copy));
        prop_assert_eq!(residents.total_digest(), copy.total_digest());
    }

    #[test]
    fn when_all_is_forgotten_nothing_is_left(steps in proptest::collection::vec(step(), 0..40)) {
        let (mut residents, mut naive) = (Residents::default(), Naive::default());
        for (used, step) in steps.iter().enumerate() {
            take(&mut residents, &naive, step, used as u64);
            take_naively(&mut naive, step, used as u64);
        }
        for endpoint in (0..ENDPOINTS).map(EndpointKey) {
            residents.forget(endpoint);
            prop_assert_eq!(0, residents.digest(endpoint));
        }
        prop_assert!(residents.index().is_empty());
        prop_assert_eq!((0, 0), (residents.runs().count(), residents.bytes()));
    }

    /// Other sums would be a coincidence.
    #[test]
    fn what_differs_sums_up_to_something_else(one in prompt(), other in prompt()) {
        prop_assume!(one != other);
        let digest = |prompt: &Prompt, used: u64| {
            let mut residents = Residents::default();
            residents.place(EndpointKey(1), BlockHash::ROOT, &chain(prompt), used).unwrap();
            residents.digest(EndpointKey(1))
        };
        prop_assert_ne!(digest(&one, 1), digest(&other, 1));
        prop_assert_ne!(digest(&one, 1), digest(&one, 2));
    }
}

#[test]
fn every_known_place_of_a_long_prompt_can_be_an_anchor() {
    let prompt: Prompt = (0..90).map(|at| (at / 7 % 3) as u8).collect();
    let chain = chain(&prompt);
    for known in 0..=chain.len() {
        let mut residents = Residents::default();
        residents.place(EndpointKey(1), BlockHash::ROOT, &chain[..known], 1).unwrap();
        let (anchor, named) = anchor(&chain, known);
        assert!(named + 16 > known && (anchor == BlockHash::ROOT) == (known == 0));
        residents.place(EndpointKey(2), anchor, &chain[named..], 2).unwrap();
        assert_eq!(chain.len(), residents.held(EndpointKey(2)));
        assert_eq!(1 + known.min(1), residents.index().lookup(&chain).held.len());
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut residents = Residents::default();
    let (one, long) = (EndpointKey(1), chain(&[1; 40]));
    assert!(residents.place(one, BlockHash(5), &[BlockHash(6)], 1).is_err());
    assert!(residents.place(one, BlockHash::ROOT, &[BlockHash(5), BlockHash::ROOT], 1).is_err());
    assert!(residents.index().is_empty());
    residents.place(one, BlockHash::ROOT, &long, 1).unwrap();
    let digest = residents.digest(one);
    assert!(residents.place(one, long[17], &[BlockHash(6)], 2).is_err(), "no mark");
    assert!(residents.place(one, long[32], &[&long[33..], &long[..1]].concat(), 2).is_err(), "no chain");
    assert!(residents.place(one, BlockHash::ROOT, &[BlockHash(6)], 1).is_err(), "not later");
    assert!(residents.evict(one, 1, 41).is_err() && residents.evict(one, 2, 1).is_err());
    assert_eq!((digest, 40, 40), (residents.digest(one), residents.held(one), residents.index().len()));
}
