//! All that a picture holds, in a form that can be compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_prefix::{Residents, Run};
use signalbox_state::{Digest, EndpointState, PoolState, Snapshot, SnapshotEntry};
use signalbox_types::{BlockHash, EndpointKey, Models, Origin};

/// All that a picture holds, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) digest: Digest,
    endpoints: Vec<EndpointState>,
    acknowledged: Vec<(Origin, u64)>,
    models: Arc<Models>,
    blocks: BTreeMap<BlockHash, (BlockHash, Vec<(EndpointKey, u64)>)>,
    evicted_next: Vec<Option<(u64, u32)>>,
}

impl Contents {
    pub(crate) fn of(pool_state: &PoolState) -> Self {
        let endpoints: Vec<_> = pool_state.endpoints().map(|member| (**member).clone()).collect();
        let residents = pool_state.residents();
        Self {
            digest: pool_state.digest(),
            acknowledged: pool_state.acknowledgements().collect(),
            models: Arc::clone(pool_state.models()),
            blocks: blocks_of(residents),
            evicted_next: endpoints.iter().map(|member| residents.oldest(member.key, usize::MAX)).collect(),
            endpoints,
        }
    }
}

/// For each block the one before it, and who holds it since when.
fn blocks_of(residents: &Residents) -> BTreeMap<BlockHash, (BlockHash, Vec<(EndpointKey, u64)>)> {
    let runs: BTreeMap<BlockHash, Run> = residents.runs().map(|run| (run.blocks[0], run)).collect();
    let before = |run: &Run, at: usize| match at.checked_sub(1) {
        Some(before) => run.blocks[before],
        None => runs
            .get(&run.parent)
            .map_or(BlockHash::ROOT, |parent| parent.blocks[(run.start - 1 - parent.start) as usize]),
    };
    let holders = |run: &Run, at: usize| {
        let mut holders: BTreeMap<EndpointKey, u64> = BTreeMap::new();
        for placed in run.placed.iter().filter(|placed| placed.end as usize > at) {
            holders.entry(placed.endpoint).or_insert(placed.used);
        }
        holders.into_iter().collect()
    };
    let blocks = runs.values().flat_map(|run| (0..run.blocks.len()).map(move |at| (run, at)));
    blocks.map(|(run, at)| (run.blocks[at], (before(run, at), holders(run, at)))).collect()
}

/// A picture built of the parts of `snapshot`. All sums in it are computed anew.
pub(crate) fn rebuilt(snapshot: &Snapshot) -> PoolState {
    let (mut endpoints, mut runs, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    let mut models = Arc::default();
    for entry in &snapshot.entries {
        match &**entry {
            SnapshotEntry::Endpoint(member) => endpoints.push((**member).clone()),
            SnapshotEntry::Runs(more) => runs.extend(more.iter().cloned()),
            SnapshotEntry::Origin(origin, number) => origins.push((*origin, *number)),
            SnapshotEntry::Models(said) => models = Arc::clone(said),
        }
    }
    PoolState::from_parts(endpoints, runs, origins, &models).expect("the parts hang together")
}
