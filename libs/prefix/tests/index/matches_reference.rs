//! Compares the index with the reference model through random histories and with differently split runs.

use crate::reference_model::{Prompt, ReferenceModel, chain};
use crate::split_runs::split_runs;
use proptest::prelude::*;
use signalbox_prefix::{ChainRange, IndexWriter, Residency, Run, anchor};
use signalbox_types::{BlockHash, EndpointKey};

const ENDPOINTS: u64 = 12;

/// A change of the index.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Place { endpoint: u64, prompt: Prompt, known: usize },
    Evict { endpoint: u64, limit: usize },
    Confirm { endpoint: u64, residency: Residency, prompt: Prompt, from: usize },
    Unconfirm { endpoint: u64, residency: Residency, prompt: Prompt, from: usize },
    UnconfirmAll { endpoint: u64 },
    RemoveEndpoint { endpoint: u64 },
    SplitRuns { seed: usize },
}

/// Prompts with shared prefixes of any length, some longer than the distance between anchors.
fn prompt() -> impl Strategy<Value = Prompt> {
    let parts = proptest::collection::vec((0_u8..3, 1_usize..14), 1..6);
    parts.prop_map(|parts| {
        parts.into_iter().flat_map(|(byte, times)| std::iter::repeat_n(byte, times)).collect()
    })
}

fn residency() -> impl Strategy<Value = Residency> {
    proptest::sample::select(&Residency::ALL[..])
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let endpoint = || 0..ENDPOINTS;
    let placed = (endpoint(), prompt(), any::<usize>());
    let reported = || (endpoint(), residency(), prompt(), 0_usize..40);
    prop_oneof![
        8 => placed.prop_map(|(endpoint, prompt, known)| Step::Place { endpoint, prompt, known }),
        4 => (endpoint(), 1_usize..40).prop_map(|(endpoint, limit)| Step::Evict { endpoint, limit }),
        4 => reported().prop_map(|(endpoint, residency, prompt, from)| Step::Confirm { endpoint, residency, prompt, from }),
        3 => reported().prop_map(|(endpoint, residency, prompt, from)| Step::Unconfirm { endpoint, residency, prompt, from }),
        1 => endpoint().prop_map(|endpoint| Step::UnconfirmAll { endpoint }),
        1 => endpoint().prop_map(|endpoint| Step::RemoveEndpoint { endpoint }),
        1 => (0_usize..40).prop_map(|seed| Step::SplitRuns { seed }),
    ]
}

/// Applies a step and checks its outcome against the reference.
pub(crate) fn apply(writer: &mut IndexWriter, reference: &ReferenceModel, step: &Step, used: u64) {
    let range = |prompt: &[u8], from: usize| {
        let (chain, known) = (chain(prompt), reference.known_len(prompt).min(from));
        let (anchor, named) = anchor(&chain, known);
        (anchor, chain[named..].to_vec(), from - named)
    };
    match step {
        Step::Place { endpoint, prompt, known } => {
            let (chain, known_len) = (chain(prompt), reference.known_len(prompt));
            let (anchor, named) = anchor(&chain, known % (known_len + 1));
            assert_eq!(Ok(known_len - named), writer.known_blocks(anchor, &chain[named..]));
            writer.place(EndpointKey(*endpoint), anchor, &chain[named..], used).unwrap();
        }
        Step::Evict { endpoint, limit } => {
            let (oldest, expected) = (
                writer.least_recently_used(EndpointKey(*endpoint), *limit),
                reference.least_recently_used(*endpoint, *limit),
            );
            assert_eq!(expected, oldest);
            assert_eq!(reference.least_recently_used_endpoint(), writer.least_recently_used_endpoint());
            if let Some((used, blocks)) = oldest {
                writer.evict(EndpointKey(*endpoint), used, blocks).unwrap();
            }
        }
        Step::Confirm { endpoint, residency, prompt, from } if *from <= prompt.len() => {
            let (anchor, chain, from) = range(prompt, *from);
            writer
                .confirm(EndpointKey(*endpoint), *residency, ChainRange { anchor, chain: &chain, from })
                .unwrap();
        }
        Step::Unconfirm { endpoint, residency, prompt, from } if *from <= prompt.len() => {
            let (anchor, chain, from) = range(prompt, *from);
            let outcome = writer.unconfirm(
                EndpointKey(*endpoint),
                *residency,
                ChainRange { anchor, chain: &chain, from },
            );
            assert_eq!(reference.known_len(prompt) == prompt.len(), outcome.is_ok());
        }
        Step::Confirm { .. } | Step::Unconfirm { .. } => {}
        Step::UnconfirmAll { endpoint } => writer.unconfirm_all(EndpointKey(*endpoint)),
        Step::RemoveEndpoint { endpoint } => writer.remove_endpoint(EndpointKey(*endpoint)),
        Step::SplitRuns { seed } => {
            let runs = split_runs(writer.runs().collect(), *seed);
            *writer = IndexWriter::from_runs(runs).unwrap();
        }
    }
}

pub(crate) fn apply_to_reference(reference: &mut ReferenceModel, step: &Step, used: u64) {
    match step {
        Step::Place { endpoint, prompt, .. } => reference.place(*endpoint, prompt, used),
        Step::Evict { endpoint, limit } => {
            if let Some((used, blocks)) = reference.least_recently_used(*endpoint, *limit) {
                reference.evict(*endpoint, used, blocks);
            }
        }
        Step::Confirm { endpoint, residency, prompt, from } => {
            if *from <= prompt.len() {
                reference.confirm(*endpoint, *residency, prompt, *from);
            }
        }
        Step::Unconfirm { endpoint, residency, prompt, from } => {
            if reference.known_len(prompt) == prompt.len() {
                reference.unconfirm(*endpoint, *residency, prompt, *from);
            }
        }
        Step::UnconfirmAll { endpoint } => reference.unconfirm_all(*endpoint),
        Step::RemoveEndpoint { endpoint } => reference.remove_endpoint(*endpoint),
        Step::SplitRuns { .. } => {}
    }
}

fn query(step: &Step) -> Option<&Prompt> {
    match step {
        Step::Place { prompt, .. } | Step::Confirm { prompt, .. } | Step::Unconfirm { prompt, .. } => {
            Some(prompt)
        }
        _ => None,
    }
}

/// Returns when `endpoint` last used each block of `prompt`.
fn last_uses(writer: &IndexWriter, endpoint: u64, prompt: &[u8]) -> Vec<u64> {
    let uses = writer.last_uses(EndpointKey(endpoint), BlockHash::ROOT, &chain(prompt));
    let starts = std::iter::once(0).chain(uses.iter().map(|each| each.end));
    starts.zip(&uses).flat_map(|(start, each)| (start..each.end).map(|_| each.used)).collect()
}

fn blocks_of(reference: &ReferenceModel) -> usize {
    let placed = reference.placed.values().flat_map(|placed| placed.keys());
    let all = placed.chain(reference.confirmed.values().flatten());
    let prefixes = all.flat_map(|prompt| (1..=prompt.len()).map(|end| prompt[..end].to_vec()));
    prefixes.collect::<std::collections::BTreeSet<_>>().len()
}

/// Returns runs and their holders in a fixed order.
pub(crate) fn sorted(runs: impl Iterator<Item = Run>) -> Vec<Run> {
    let mut runs: Vec<Run> = runs.collect();
    runs.sort_by_key(|run| run.blocks[0]);
    runs.iter_mut().for_each(|run| run.placed.sort_by_key(|each| (each.endpoint, each.end)));
    runs.iter_mut()
        .for_each(|run| run.confirmed.sort_by_key(|each| (each.endpoint, each.residency, each.from)));
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_history_matches_the_reference(steps in proptest::collection::vec(step(), 1..60), other in prompt()) {
        let (mut whole_runs, mut split, mut reference) = (IndexWriter::default(), IndexWriter::default(), ReferenceModel::default());
        for (used, step) in steps.iter().enumerate() {
            if !matches!(step, Step::SplitRuns { .. }) {
                apply(&mut whole_runs, &reference, step, used as u64);
            }
            apply(&mut split, &reference, step, used as u64);
            apply_to_reference(&mut reference, step, used as u64);
            for prompt in query(step).into_iter().chain([&other]) {
                let expected = reference.lookup(0..ENDPOINTS, prompt);
                prop_assert_eq!(&expected, &whole_runs.index().lookup(&chain(prompt)));
                prop_assert_eq!(&expected, &split.index().lookup(&chain(prompt)));
                for endpoint in 0..ENDPOINTS {
                    let expected = reference.last_uses(endpoint, prompt);
                    prop_assert_eq!(&expected, &last_uses(&whole_runs, endpoint, prompt));
                    prop_assert_eq!(&expected, &last_uses(&split, endpoint, prompt));
                }
            }
            for endpoint in (0..ENDPOINTS).map(EndpointKey) {
                prop_assert_eq!(reference.placed.get(&endpoint.0).map_or(0, |placed| placed.len()), whole_runs.placed_blocks(endpoint));
                prop_assert_eq!(whole_runs.placed_blocks(endpoint), split.placed_blocks(endpoint));
                prop_assert_eq!(whole_runs.digest(endpoint), split.digest(endpoint));
                prop_assert_eq!(whole_runs.least_recently_used(endpoint, 9), split.least_recently_used(endpoint, 9));
            }
            prop_assert_eq!(whole_runs.least_recently_used_endpoint(), split.least_recently_used_endpoint());
            prop_assert_eq!(blocks_of(&reference), whole_runs.index().len());
            prop_assert_eq!(whole_runs.index().len(), split.index().len());
        }
    }

    #[test]
    fn snapshot_restores_the_same_index(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut writer, mut reference) = (IndexWriter::default(), ReferenceModel::default());
        for (used, step) in steps.iter().enumerate() {
            apply(&mut writer, &reference, step, used as u64);
            apply_to_reference(&mut reference, step, used as u64);
        }
        let copy = IndexWriter::from_runs(writer.runs().collect()).unwrap();
        prop_assert_eq!(sorted(writer.runs()), sorted(copy.runs()));
        prop_assert_eq!(writer.total_digest(), copy.total_digest());
    }

    #[test]
    fn removing_all_endpoints_empties_the_index(steps in proptest::collection::vec(step(), 0..40)) {
        let (mut writer, mut reference) = (IndexWriter::default(), ReferenceModel::default());
        for (used, step) in steps.iter().enumerate() {
            apply(&mut writer, &reference, step, used as u64);
            apply_to_reference(&mut reference, step, used as u64);
        }
        for endpoint in (0..ENDPOINTS).map(EndpointKey) {
            writer.remove_endpoint(endpoint);
            prop_assert_eq!(0, writer.digest(endpoint));
        }
        prop_assert!(writer.index().is_empty());
        prop_assert_eq!((0, 0), (writer.runs().count(), writer.memory_bytes()));
    }

    /// Equal digests of different contents are too unlikely to occur.
    #[test]
    fn different_contents_have_different_digests(one in prompt(), other in prompt()) {
        prop_assume!(one != other);
        let digest = |prompt: &Prompt, used: u64| {
            let mut writer = IndexWriter::default();
            writer.place(EndpointKey(1), BlockHash::ROOT, &chain(prompt), used).unwrap();
            writer.digest(EndpointKey(1))
        };
        prop_assert_ne!(digest(&one, 1), digest(&other, 1));
        prop_assert_ne!(digest(&one, 1), digest(&one, 2));
    }
}

#[test]
fn placements_can_continue_after_any_known_length() {
    let prompt: Prompt = (0..90).map(|at| (at / 7 % 3) as u8).collect();
    let chain = chain(&prompt);
    for known in 0..=chain.len() {
        let mut writer = IndexWriter::default();
        writer.place(EndpointKey(1), BlockHash::ROOT, &chain[..known], 1).unwrap();
        let (anchor, named) = anchor(&chain, known);
        assert!(named + 16 > known && (anchor == BlockHash::ROOT) == (known == 0));
        writer.place(EndpointKey(2), anchor, &chain[named..], 2).unwrap();
        assert_eq!(chain.len(), writer.placed_blocks(EndpointKey(2)));
        assert_eq!(1 + known.min(1), writer.index().lookup(&chain).matches.len());
    }
}

#[test]
fn invalid_changes_are_rejected_and_change_nothing() {
    let mut writer = IndexWriter::default();
    let (one, long) = (EndpointKey(1), chain(&[1; 40]));
    assert!(writer.place(one, BlockHash(5), &[BlockHash(6)], 1).is_err());
    assert!(writer.place(one, BlockHash::ROOT, &[BlockHash(5), BlockHash::ROOT], 1).is_err());
    assert!(writer.index().is_empty());
    writer.place(one, BlockHash::ROOT, &long, 1).unwrap();
    let digest = writer.digest(one);
    assert!(writer.place(one, long[17], &[BlockHash(6)], 2).is_err(), "not an anchor");
    assert!(writer.place(one, long[32], &[&long[33..], &long[..1]].concat(), 2).is_err(), "not one chain");
    assert!(
        writer.place(one, BlockHash::ROOT, &[BlockHash(6)], 1).is_err(),
        "not later than the previous use"
    );
    assert!(writer.evict(one, 1, 41).is_err() && writer.evict(one, 2, 1).is_err());
    assert_eq!((digest, 40, 40), (writer.digest(one), writer.placed_blocks(one), writer.index().len()));
}
