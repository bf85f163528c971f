//! The whole pool state at one version.

use std::sync::Arc;

use signalbox_prefix::Run;
use signalbox_types::{Format, Version};

use super::frame::{Frame, SnapshotEntry};
use crate::pool_state::{Digest, Diverged, PoolState};

/// The maximum weight of one [`SnapshotEntry::Runs`], unless a single run is heavier: about 60 KB on the
/// wire.
const MAX_RUNS_BYTES_PER_ENTRY: usize = 60_000;

/// The maximum number of responses in one [`SnapshotEntry::StoredResponses`]: about 60 KB on the wire.
const MAX_RESPONSES_PER_ENTRY: usize = 3_000;

/// A pool state captured at one version, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the state.
    pub version: Version,
    /// The format of the placements.
    pub format: Format,
    /// The checksums over the state.
    pub digest: Digest,
    /// The parts of the state.
    pub entries: Vec<Arc<SnapshotEntry>>,
}

impl Snapshot {
    /// Captures `pool_state`, which is at `version`, at once.
    pub fn capture(pool_state: &PoolState, version: Version, format: Format) -> Self {
        let (mut entries, mut runs) = (entries_without_blocks(pool_state), RunEntries::default());
        pool_state.index_writer().runs().for_each(|run| runs.push(run));
        entries.extend(runs.finish());
        Self { version, format, digest: pool_state.digest(), entries }
    }

    /// Returns the frames that transfer the snapshot.
    pub fn frames(self: Arc<Self>) -> impl Iterator<Item = Frame> {
        let (version, format, count) = (self.version, self.format, self.entries.len());
        let done = Frame::SnapshotEnd { version, count: count as u64, digest: self.digest };
        let entries = (0..count).map(move |at| Frame::SnapshotEntry(Arc::clone(&self.entries[at])));
        std::iter::once(Frame::SnapshotBegin { version, format }).chain(entries).chain(std::iter::once(done))
    }
}

/// Returns the parts of a snapshot but the blocks that endpoints hold.
pub(super) fn entries_without_blocks(pool_state: &PoolState) -> Vec<Arc<SnapshotEntry>> {
    let mut loads = pool_state.loads().by_endpoint();
    let endpoints = pool_state.endpoints().map(|endpoint_state| {
        let loads = loads.remove(&endpoint_state.key).unwrap_or_default();
        SnapshotEntry::Endpoint(Arc::clone(endpoint_state), loads)
    });
    let origins = pool_state.acknowledgements().map(|(origin, number)| SnapshotEntry::Origin(origin, number));
    let models = Some(pool_state.models()).filter(|models| !models.is_empty());
    let models = models.map(|models| SnapshotEntry::Models(Arc::clone(models)));
    let ratios = Some(pool_state.token_ratios()).filter(|ratios| !ratios.is_empty());
    let ratios = ratios.map(|ratios| SnapshotEntry::TokenRatios(Arc::clone(ratios)));
    let provisional = Some(pool_state.provisional_since()).filter(|since| *since > 0);
    let provisional = provisional.map(SnapshotEntry::ProvisionalSince);
    let responses = pool_state.stored_responses().groups(MAX_RESPONSES_PER_ENTRY);
    let responses = responses.into_iter().map(SnapshotEntry::StoredResponses);
    let flows = pool_state.flows().parts().into_iter().map(SnapshotEntry::Flow);
    let signal = pool_state.signal().map(|signal| SnapshotEntry::Signal(Arc::clone(signal)));
    let others =
        models.into_iter().chain(ratios).chain(responses).chain(flows).chain(provisional).chain(signal);
    endpoints.chain(origins).chain(others).map(Arc::new).collect()
}

/// Collects runs into parts of a snapshot of a limited size.
#[derive(Debug, Default)]
pub(super) struct RunEntries {
    complete: Vec<Arc<SnapshotEntry>>,
    open: Vec<Run>,
    /// The weight of the open part.
    bytes: usize,
}

impl RunEntries {
    pub(super) fn push(&mut self, run: Run) {
        let more = 32 + run.blocks.len() * 8 + run.placed.len() * 16 + run.confirmed.len() * 20;
        if self.bytes + more > MAX_RUNS_BYTES_PER_ENTRY {
            self.close();
        }
        self.bytes += more;
        self.open.push(run);
    }

    pub(super) fn finish(mut self) -> Vec<Arc<SnapshotEntry>> {
        self.close();
        self.complete
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.complete.push(Arc::new(SnapshotEntry::Runs(std::mem::take(&mut self.open))));
        }
        self.bytes = 0;
    }
}

/// Builds the state from the parts of a snapshot.
///
/// # Errors
/// [`Diverged`] when the parts are inconsistent.
pub(crate) fn assemble(entries: Vec<Arc<SnapshotEntry>>) -> Result<PoolState, Diverged> {
    let (mut endpoints, mut runs, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    let (mut models, mut ratios, mut flows) = (Arc::default(), Arc::default(), Vec::new());
    let (mut responses, mut provisional_since, mut last_signal) = (Vec::new(), 0, None);
    for entry in entries {
        match Arc::unwrap_or_clone(entry) {
            SnapshotEntry::Endpoint(endpoint_state, loads) => {
                endpoints.push((Arc::unwrap_or_clone(endpoint_state), loads));
            }
            SnapshotEntry::Runs(more) => runs.extend(more),
            SnapshotEntry::Origin(origin, number) => origins.push((origin, number)),
            SnapshotEntry::Models(all) => models = all,
            SnapshotEntry::TokenRatios(all) => ratios = all,
            SnapshotEntry::StoredResponses(parts) => responses.extend(parts),
            SnapshotEntry::ProvisionalSince(epoch) => provisional_since = epoch,
            SnapshotEntry::Flow(part) => flows.push(part),
            SnapshotEntry::Signal(signal) => last_signal = Some(signal),
        }
    }
    let mut pool_state = PoolState::from_parts(endpoints, runs, origins, &models)?;
    ratios.iter().for_each(|(model, ratio)| pool_state.set_token_ratio(*model, *ratio));
    let responses = responses.iter().flat_map(|part| part.iter());
    responses.for_each(|(response, endpoint)| pool_state.set_stored_response(*response, Some(*endpoint)));
    pool_state.set_provisional_since(provisional_since);
    flows.iter().for_each(|part| pool_state.insert_flow_part(part));
    last_signal.iter().for_each(|signal| pool_state.set_signal(signal));
    Ok(pool_state)
}
