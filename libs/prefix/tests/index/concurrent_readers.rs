//! Readers that run concurrently with the writer.

use std::sync::atomic::{AtomicUsize, Ordering};

use signalbox_prefix::{ChainRange, Index, IndexWriter, MatchLengths, Residency, anchor};
use signalbox_types::{BlockHash, EndpointKey};

use crate::reference_model::{Prompt, ReferenceModel, chain};

const ENDPOINTS: u64 = 40;
const STEPS: usize = 700;
const ROUNDS: usize = 40;

/// A deterministic random number generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }
}

#[derive(Clone, Copy)]
enum Step {
    Place { endpoint: u64, prompt: usize },
    Evict { endpoint: u64, limit: usize },
    Confirm { endpoint: u64, prompt: usize, from: usize },
    Unconfirm { endpoint: u64, prompt: usize, from: usize },
    RemoveEndpoint { endpoint: u64 },
}

/// Returns prompts with shared prefixes.
fn prompts() -> Vec<Prompt> {
    let whole = |last: u8| [vec![0; 9], vec![1; 8], vec![last; 12]].concat();
    let mut prompts: Vec<_> =
        [2, 3].iter().flat_map(|last| [7, 13, 20, 29].map(|len| whole(*last)[..len].to_vec())).collect();
    prompts.push(vec![5; 18]);
    prompts
}

/// Returns a history that ends with an empty index, so that it can be repeated.
fn history(prompts: &[Prompt]) -> Vec<Step> {
    let mut random = Random(7);
    let mut step = || {
        let (endpoint, prompt) = (random.below(ENDPOINTS as usize) as u64, random.below(prompts.len()));
        let from = random.below(prompts[prompt].len());
        match random.below(12) {
            0..4 => Step::Place { endpoint, prompt },
            4..7 => Step::Evict { endpoint, limit: 1 + random.below(20) },
            7..9 => Step::Confirm { endpoint, prompt, from },
            9..11 => Step::Unconfirm { endpoint, prompt, from },
            _ => Step::RemoveEndpoint { endpoint },
        }
    };
    let steps: Vec<_> = (0..STEPS).map(|_| step()).collect();
    steps.into_iter().chain((0..ENDPOINTS).map(|endpoint| Step::RemoveEndpoint { endpoint })).collect()
}

fn apply_to_reference(reference: &mut ReferenceModel, prompts: &[Prompt], step: Step, used: u64) {
    match step {
        Step::Place { endpoint, prompt } => reference.place(endpoint, &prompts[prompt], used),
        Step::Evict { endpoint, limit } => {
            if let Some((used, blocks)) = reference.least_recently_used(endpoint, limit) {
                reference.evict(endpoint, used, blocks);
            }
        }
        Step::Confirm { endpoint, prompt, from } => {
            reference.confirm(endpoint, Residency::Device, &prompts[prompt], from)
        }
        Step::Unconfirm { endpoint, prompt, from } => {
            if reference.known_len(&prompts[prompt]) == prompts[prompt].len() {
                reference.unconfirm(endpoint, Residency::Device, &prompts[prompt], from);
            }
        }
        Step::RemoveEndpoint { endpoint } => reference.remove_endpoint(endpoint),
    }
}

fn apply(writer: &mut IndexWriter, prompts: &[Prompt], step: Step, used: u64) {
    match step {
        Step::Place { endpoint, prompt } => {
            let chain = chain(&prompts[prompt]);
            let known = writer.known_blocks(BlockHash::ROOT, &chain).unwrap();
            let (anchor, named) = anchor(&chain, known);
            writer.place(EndpointKey(endpoint), anchor, &chain[named..], used).unwrap();
        }
        Step::Evict { endpoint, limit } => {
            if let Some((used, blocks)) = writer.least_recently_used(EndpointKey(endpoint), limit) {
                writer.evict(EndpointKey(endpoint), used, blocks).unwrap();
            }
        }
        Step::Confirm { endpoint, prompt, from } => {
            let stretch = ChainRange { anchor: BlockHash::ROOT, chain: &chain(&prompts[prompt]), from };
            writer.confirm(EndpointKey(endpoint), Residency::Device, stretch).unwrap();
        }
        Step::Unconfirm { endpoint, prompt, from } => {
            let stretch = ChainRange { anchor: BlockHash::ROOT, chain: &chain(&prompts[prompt]), from };
            // Fails if the blocks are unknown.
            let _ = writer.unconfirm(EndpointKey(endpoint), Residency::Device, stretch);
        }
        Step::RemoveEndpoint { endpoint } => writer.remove_endpoint(EndpointKey(endpoint)),
    }
}

/// Returns the number of held blocks after each step, by prompt and endpoint.
fn expected_lengths(prompts: &[Prompt], history: &[Step]) -> Vec<Vec<Vec<usize>>> {
    let mut reference = ReferenceModel::default();
    let apply = |(used, step): (usize, &Step)| {
        apply_to_reference(&mut reference, prompts, *step, used as u64);
        let of = |prompt: &Prompt| {
            let mut lengths = vec![0; ENDPOINTS as usize];
            for held in reference.lookup(0..ENDPOINTS, prompt).matches {
                lengths[held.endpoint.0 as usize] = held.blocks;
            }
            lengths
        };
        prompts.iter().map(of).collect()
    };
    history.iter().enumerate().map(apply).collect()
}

/// Looks up all prompts until the writer is done. Returns the number of matches found.
fn read(
    index: &Index,
    chains: &[Vec<BlockHash>],
    expected_lengths: &[Vec<Vec<usize>>],
    counts: &[AtomicUsize; 2],
) -> usize {
    let ([started, done], total) = (counts, ROUNDS * expected_lengths.len());
    let (mut lengths, mut seen) = (MatchLengths::default(), 0);
    while done.load(Ordering::SeqCst) < total {
        for (prompt, chain) in chains.iter().enumerate() {
            let before = done.load(Ordering::SeqCst);
            index.lookup_into(chain, &mut lengths);
            let after = started.load(Ordering::SeqCst);
            // Step n produces the state at index n. The index is empty before the first step, as after the
            // last one.
            let moments = before..=after.min(before + expected_lengths.len());
            for held in lengths.to_lookup().matches {
                let endpoint = held.endpoint.0 as usize;
                let length_at = |moment: usize| {
                    expected_lengths[(moment + expected_lengths.len() - 1) % expected_lengths.len()][prompt]
                        [endpoint]
                };
                let longest = moments.clone().map(length_at).max().unwrap_or(0);
                assert!(
                    held.blocks <= longest,
                    "{} blocks of prompt {prompt}, but it never held more than {longest}",
                    held.blocks
                );
                seen += 1;
            }
        }
    }
    seen
}

#[test]
fn readers_never_see_matches_longer_than_during_the_lookup() {
    let prompts = prompts();
    let history = history(&prompts);
    let expected_lengths = expected_lengths(&prompts, &history);
    let chains: Vec<_> = prompts.iter().map(|prompt| chain(prompt)).collect();
    let mut writer = IndexWriter::default();
    let index = std::sync::Arc::clone(writer.index());
    let counts = [const { AtomicUsize::new(0) }; 2];
    let seen: usize = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| read(&index, &chains, &expected_lengths, &counts))).collect();
        for (at, step) in (0..ROUNDS).flat_map(|_| &history).enumerate() {
            counts[0].store(at + 1, Ordering::SeqCst);
            apply(&mut writer, &prompts, *step, at as u64);
            counts[1].store(at + 1, Ordering::SeqCst);
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(index.is_empty() && seen > 0);
}
