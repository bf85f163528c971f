//! When an endpoint last used the blocks of a prompt.

use signalbox_types::{BlockHash, EndpointKey};
use smallvec::SmallVec;

use super::IndexWriter;
use super::run_store::RunStore;

/// Maximum number of uses that are told apart in one prompt. A prompt rarely has more than its prefixes that other
/// prompts share.
const MAX_USES: usize = 16;

/// The blocks of a prompt that an endpoint last used at `used`: those before `end`, and after the end of the
/// previous use. Positions count from the beginning of the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// `used` of the placement that last used the blocks.
    pub used: u64,
    /// End of the blocks in the prompt, exclusive.
    pub end: u32,
}

impl IndexWriter {
    /// Returns when `endpoint` last used the blocks of the prompt that ends with `suffix`, as far as the endpoint
    /// was sent it. Uses only get older along the prompt. The suffix follows `anchor`, as in [`Self::place`].
    ///
    /// Costs one step for each run of the prompt. Stops after 16 uses.
    pub fn last_uses(
        &self,
        endpoint: EndpointKey,
        anchor: BlockHash,
        suffix: &[BlockHash],
    ) -> SmallVec<[LastUse; 4]> {
        let mut found = SmallVec::new();
        let (Some(held), Ok(anchor)) = (self.endpoints.get(&endpoint), self.store.find_anchor(anchor)) else {
            return found;
        };
        let (last, _) = self.store.follow(anchor, suffix);
        let mut path = Vec::new();
        self.store.path(last, &mut path);
        for (run, end) in path {
            if !extend(&self.store, &mut found, held.slot, (run, end)) {
                break;
            }
        }
        found
    }
}

/// Adds the uses of the first `end` blocks of a run. Returns whether the endpoint was sent all of them.
fn extend(store: &RunStore, found: &mut SmallVec<[LastUse; 4]>, slot: u32, (run, end): (u32, u32)) -> bool {
    let Some(stored) = store.run(run) else { return false };
    let first = stored.uses.partition_point(|each| each.slot < slot);
    for each in stored.uses[first..].iter().take_while(|each| each.slot == slot) {
        let (used, is_last) = (each.used, each.end >= end);
        let end = stored.start + each.end.min(end);
        let count = found.len();
        match found.last_mut() {
            Some(last) if last.used == used => last.end = end,
            _ if count == MAX_USES => return false,
            _ => found.push(LastUse { used, end }),
        }
        if is_last {
            return true;
        }
    }
    false
}
