//! Readers that run while the writer writes.

use std::sync::atomic::{AtomicUsize, Ordering};

use signalbox_prefix::{Column, Index, Residents, Stretch, Tier, anchor};
use signalbox_types::{BlockHash, EndpointKey};

use crate::naive::{Naive, Prompt, chain};

const ENDPOINTS: u64 = 12;
const STEPS: usize = 700;
const ROUNDS: usize = 40;

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
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
    Forget { endpoint: u64 },
}

/// Prompts that share beginnings.
fn prompts() -> Vec<Prompt> {
    let whole = |last: u8| [vec![0; 9], vec![1; 8], vec![last; 12]].concat();
    let mut prompts: Vec<_> =
        [2, 3].iter().flat_map(|last| [7, 13, 20, 29].map(|len| whole(*last)[..len].to_vec())).collect();
    prompts.push(vec![5; 18]);
    prompts
}

/// Ends with nothing held, so that it can be gone through again and again.
fn history(prompts: &[Prompt]) -> Vec<Step> {
    let mut dice = Dice(7);
    let mut one = || {
        let (endpoint, prompt) = (dice.below(ENDPOINTS as usize) as u64, dice.below(prompts.len()));
        let from = dice.below(prompts[prompt].len());
        match dice.below(12) {
            0..4 => Step::Place { endpoint, prompt },
            4..7 => Step::Evict { endpoint, limit: 1 + dice.below(20) },
            7..9 => Step::Confirm { endpoint, prompt, from },
            9..11 => Step::Unconfirm { endpoint, prompt, from },
            _ => Step::Forget { endpoint },
        }
    };
    let steps: Vec<_> = (0..STEPS).map(|_| one()).collect();
    steps.into_iter().chain((0..ENDPOINTS).map(|endpoint| Step::Forget { endpoint })).collect()
}

fn take_naively(naive: &mut Naive, prompts: &[Prompt], step: Step, used: u64) {
    match step {
        Step::Place { endpoint, prompt } => naive.place(endpoint, &prompts[prompt], used),
        Step::Evict { endpoint, limit } => {
            if let Some((used, blocks)) = naive.oldest(endpoint, limit) {
                naive.evict(endpoint, used, blocks);
            }
        }
        Step::Confirm { endpoint, prompt, from } => {
            naive.confirm(endpoint, Tier::Device, &prompts[prompt], from)
        }
        Step::Unconfirm { endpoint, prompt, from } => {
            if naive.there(&prompts[prompt]) == prompts[prompt].len() {
                naive.unconfirm(endpoint, Tier::Device, &prompts[prompt], from);
            }
        }
        Step::Forget { endpoint } => naive.forget(endpoint),
    }
}

fn take(residents: &mut Residents, prompts: &[Prompt], step: Step, used: u64) {
    match step {
        Step::Place { endpoint, prompt } => {
            let chain = chain(&prompts[prompt]);
            let known = residents.known(BlockHash::ROOT, &chain).unwrap();
            let (anchor, named) = anchor(&chain, known);
            residents.place(EndpointKey(endpoint), anchor, &chain[named..], used).unwrap();
        }
        Step::Evict { endpoint, limit } => {
            if let Some((used, blocks)) = residents.oldest(EndpointKey(endpoint), limit) {
                residents.evict(EndpointKey(endpoint), used, blocks).unwrap();
            }
        }
        Step::Confirm { endpoint, prompt, from } => {
            let stretch = Stretch { anchor: BlockHash::ROOT, chain: &chain(&prompts[prompt]), from };
            residents.confirm(EndpointKey(endpoint), Tier::Device, stretch).unwrap();
        }
        Step::Unconfirm { endpoint, prompt, from } => {
            let stretch = Stretch { anchor: BlockHash::ROOT, chain: &chain(&prompts[prompt]), from };
            // It is refused where nothing is known of the blocks.
            let _ = residents.unconfirm(EndpointKey(endpoint), Tier::Device, stretch);
        }
        Step::Forget { endpoint } => residents.forget(EndpointKey(endpoint)),
    }
}

/// What was true after each step: by prompt and endpoint, how many blocks were held.
fn truths(prompts: &[Prompt], history: &[Step]) -> Vec<Vec<Vec<usize>>> {
    let mut naive = Naive::default();
    let take = |(used, step): (usize, &Step)| {
        take_naively(&mut naive, prompts, *step, used as u64);
        let of = |prompt: &Prompt| {
            let mut lengths = vec![0; ENDPOINTS as usize];
            for held in naive.lookup(0..ENDPOINTS, prompt).held {
                lengths[held.endpoint.0 as usize] = held.blocks;
            }
            lengths
        };
        prompts.iter().map(of).collect()
    };
    history.iter().enumerate().map(take).collect()
}

/// Asks until the writer is done; says how many matches it saw.
fn read(
    index: &Index,
    chains: &[Vec<BlockHash>],
    truths: &[Vec<Vec<usize>>],
    counts: &[AtomicUsize; 2],
) -> usize {
    let ([begun, done], total) = (counts, ROUNDS * truths.len());
    let (mut column, mut seen) = (Column::default(), 0);
    while done.load(Ordering::SeqCst) < total {
        for (prompt, chain) in chains.iter().enumerate() {
            let before = done.load(Ordering::SeqCst);
            index.lookup_into(chain, &mut column);
            let after = begun.load(Ordering::SeqCst);
            // Step n has made the state that counts for n. Before the first one nothing is held, as after the last one.
            let moments = before..=after.min(before + truths.len());
            for held in column.to_lookup().held {
                let endpoint = held.endpoint.0 as usize;
                let at = |moment: usize| truths[(moment + truths.len() - 1) % truths.len()][prompt][endpoint];
                let longest = moments.clone().map(at).max().unwrap_or(0);
                assert!(
                    held.blocks <= longest,
                    "{} of prompt {prompt}, never more than {longest}",
                    held.blocks
                );
                seen += 1;
            }
        }
    }
    seen
}

#[test]
fn readers_never_see_a_match_that_was_not_true_while_they_looked() {
    let prompts = prompts();
    let history = history(&prompts);
    let truths = truths(&prompts, &history);
    let chains: Vec<_> = prompts.iter().map(|prompt| chain(prompt)).collect();
    let mut residents = Residents::default();
    let index = std::sync::Arc::clone(residents.index());
    let counts = [const { AtomicUsize::new(0) }; 2];
    let seen: usize = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| read(&index, &chains, &truths, &counts))).collect();
        for (at, step) in (0..ROUNDS).flat_map(|_| &history).enumerate() {
            counts[0].store(at + 1, Ordering::SeqCst);
            take(&mut residents, &prompts, *step, at as u64);
            counts[1].store(at + 1, Ordering::SeqCst);
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(index.is_empty() && seen > 0);
}
