//! Compares two pieces of chains.

use signalbox_types::BlockHash;

/// Number of leading blocks that are compared one by one before any other: as many as one cache line holds.
const NEAR: usize = 8;

/// Returns how many leading blocks two pieces of chains that start at the same position share.
///
/// Equal hashes mean that all blocks before them are equal too. One comparison therefore detects that all
/// blocks are shared; otherwise the search starts at the front, because chains mostly diverge near the front
/// or not at all, and distant blocks are distant in memory too.
pub(crate) fn shared_prefix_len(run: &[BlockHash], chain: &[BlockHash]) -> usize {
    let len = run.len().min(chain.len());
    let near = len.min(NEAR);
    let shared = run[..near].iter().zip(&chain[..near]).take_while(|(a, b)| a == b).count();
    if shared < NEAR || len == NEAR {
        return shared;
    }
    if run[len - 1] == chain[len - 1] {
        return len;
    }
    let mut step = 2 * NEAR;
    while step < len && run[step - 1] == chain[step - 1] {
        step *= 2;
    }
    let (mut from, mut to) = (step / 2, step.min(len) - 1);
    while from < to {
        let middle = usize::midpoint(from, to);
        if run[middle] == chain[middle] {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_two_chains_is_found() {
        for len in 0..40_u64 {
            for shared in 0..=len {
                let run: Vec<_> = (0..len).map(BlockHash).collect();
                let chain: Vec<_> =
                    (0..len + 3).map(|at| BlockHash(at + 100 * u64::from(at >= shared))).collect();
                assert_eq!(shared as usize, shared_prefix_len(&run, &chain));
                assert_eq!(shared as usize, shared_prefix_len(&chain, &run));
            }
        }
    }
}
