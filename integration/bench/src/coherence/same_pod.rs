//! Measures how often a prompt goes to a pod that already got its prefix.

use std::collections::HashMap;

use signalbox_types::BlockHash;

use crate::sim::{ServedRequest, SimRequest};

/// Considers the requests of which at least half of the prompt was sent to some pod before, and returns the
/// share that went to a pod to which the longest known prefix was sent. Returns 1 when there are none.
/// Supports at most 64 pods.
pub(super) fn share(requests: &[SimRequest], served: &[ServedRequest]) -> f64 {
    let mut destinations: HashMap<BlockHash, u64> = HashMap::new();
    let (mut known, mut same) = (0_u64, 0_u64);
    for (request, served) in requests.iter().zip(served) {
        let (chain, pod) = (&request.prompt.chain, 1 << served.pod);
        let deepest = chain.iter().rposition(|block| destinations.contains_key(block));
        if let Some(at) = deepest.filter(|at| (at + 1) * 2 >= chain.len()) {
            known += 1;
            same += u64::from(destinations[&chain[at]] & pod != 0);
        }
        for block in chain.iter() {
            *destinations.entry(*block).or_default() |= pod;
        }
    }
    if known == 0 { 1.0 } else { same as f64 / known as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Prompt;

    fn request(blocks: &[u64]) -> SimRequest {
        let chain = blocks.iter().map(|block| BlockHash(*block)).collect();
        let prompt = Prompt { chain, text_bytes: 4, blocks: [].into(), prompt_blocks: 0, tokens: 1 };
        SimRequest { at_us: 0, prompt, output_tokens: 1 }
    }

    fn at(pod: usize) -> ServedRequest {
        ServedRequest { pod, ..ServedRequest::default() }
    }

    #[test]
    fn prompt_follows_its_longest_known_prefix() {
        let requests = [&[1][..], &[1, 2], &[1, 2, 3], &[1, 2, 4]].map(request);
        assert_eq!(1.0, share(&requests, &[at(0), at(0), at(0), at(0)]));
        assert_eq!(1.0 / 3.0, share(&requests, &[at(0), at(1), at(0), at(1)]));
    }

    #[test]
    fn mostly_unknown_prompts_are_not_counted() {
        let requests = [&[1][..], &[1, 2, 3]].map(request);
        assert_eq!(1.0, share(&requests, &[at(0), at(1)]));
    }
}
