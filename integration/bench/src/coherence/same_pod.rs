//! Whether prompts go to where their beginnings went.

use std::collections::HashMap;

use signalbox_types::BlockHash;

use crate::sim::{Coming, Served};

/// Share of the requests at least half of whose prompt was sent to some pod before that go to a pod to which the longest known
/// beginning of it was sent; 1 when there are none. For at most 64 pods.
pub(super) fn share(requests: &[Coming], served: &[Served]) -> f64 {
    let mut went: HashMap<BlockHash, u64> = HashMap::new();
    let (mut known, mut same) = (0_u64, 0_u64);
    for (coming, served) in requests.iter().zip(served) {
        let (chain, pod) = (&coming.prompt.chain, 1 << served.pod);
        let deepest = chain.iter().rposition(|block| went.contains_key(block));
        if let Some(at) = deepest.filter(|at| (at + 1) * 2 >= chain.len()) {
            known += 1;
            same += u64::from(went[&chain[at]] & pod != 0);
        }
        for block in chain.iter() {
            *went.entry(*block).or_default() |= pod;
        }
    }
    if known == 0 { 1.0 } else { same as f64 / known as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Prompt;

    fn coming(blocks: &[u64]) -> Coming {
        let chain = blocks.iter().map(|block| BlockHash(*block)).collect();
        Coming { at_us: 0, prompt: Prompt { chain, blocks: blocks.into(), tokens: 1 }, output_tokens: 1 }
    }

    fn at(pod: usize) -> Served {
        Served { pod, ..Served::default() }
    }

    #[test]
    fn a_prompt_follows_the_longest_beginning_that_is_known() {
        let requests = [&[1][..], &[1, 2], &[1, 2, 3], &[1, 2, 4]].map(coming);
        assert_eq!(1.0, share(&requests, &[at(0), at(0), at(0), at(0)]));
        assert_eq!(1.0 / 3.0, share(&requests, &[at(0), at(1), at(0), at(1)]));
    }

    #[test]
    fn a_prompt_of_which_little_is_known_counts_for_nothing() {
        let requests = [&[1][..], &[1, 2, 3]].map(coming);
        assert_eq!(1.0, share(&requests, &[at(0), at(1)]));
    }
}
