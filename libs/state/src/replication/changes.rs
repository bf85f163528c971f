//! Changes as they are kept and sent: in chunks that the journal and the streams of all followers share.

use std::sync::{Arc, OnceLock};

use signalbox_signal::{GroupSignal, Signal};
use signalbox_types::{ModelRewrite, Models, RewriteRule};

use crate::pool_state::{Change, FlowChange};

/// The weight of a chunk without its changes, in bytes.
const CHUNK_BYTES: usize = 256;

/// Consecutive changes that were made, or received, together.
#[derive(Debug)]
pub struct Chunk {
    changes: Box<[Change]>,
    weight_bytes: usize,
    /// The changes as they are sent. Whoever sends them first encodes them, for all.
    encoded: OnceLock<Box<[u8]>>,
}

impl Chunk {
    /// Creates a chunk of these changes.
    pub fn new(changes: Vec<Change>) -> Self {
        let weight_bytes = CHUNK_BYTES + changes.iter().map(weight_bytes).sum::<usize>();
        Self { changes: changes.into_boxed_slice(), weight_bytes, encoded: OnceLock::new() }
    }

    /// Divides changes into chunks of at most so many changes and bytes, unless a single change is heavier.
    pub(super) fn divide(changes: Vec<Change>, max_changes: usize, max_bytes: usize) -> Vec<Self> {
        let all_bytes = CHUNK_BYTES + changes.iter().map(weight_bytes).sum::<usize>();
        if changes.len() <= max_changes && all_bytes <= max_bytes {
            return vec![Self {
                changes: changes.into_boxed_slice(),
                weight_bytes: all_bytes,
                encoded: OnceLock::new(),
            }];
        }
        let (mut chunks, mut changes) = (Vec::new(), changes.into_iter().peekable());
        while let Some(first) = changes.next() {
            let (mut chunk, mut bytes) = (vec![first], CHUNK_BYTES);
            bytes += weight_bytes(&chunk[0]);
            while let Some(next) = changes.next_if(|next| {
                bytes += weight_bytes(next);
                chunk.len() < max_changes && bytes <= max_bytes
            }) {
                chunk.push(next);
            }
            chunks.push(Self::new(chunk));
        }
        chunks
    }

    /// Returns the changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns the changes as they are sent. `encode` is called at most once for a chunk.
    pub fn encoded(&self, encode: impl FnOnce(&[Change]) -> Vec<u8>) -> &[u8] {
        self.encoded.get_or_init(|| encode(&self.changes).into_boxed_slice())
    }

    /// Returns an estimate of the memory that the chunk takes, in bytes.
    pub(super) fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }
}

/// Consecutive changes of a pool's history, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    chunks: Vec<Arc<Chunk>>,
}

impl Changes {
    /// Returns the changes in chunks.
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// Returns the changes.
    pub fn iter(&self) -> impl Iterator<Item = &Change> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.changes())
    }

    /// Returns the number of changes.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.changes.len()).sum()
    }

    /// Returns whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<Arc<Chunk>>> for Changes {
    fn from(chunks: Vec<Arc<Chunk>>) -> Self {
        Self { chunks }
    }
}

impl From<Vec<Change>> for Changes {
    fn from(changes: Vec<Change>) -> Self {
        Self { chunks: vec![Arc::new(Chunk::new(changes))] }
    }
}

impl FromIterator<Change> for Changes {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        changes.into_iter().collect::<Vec<_>>().into()
    }
}

/// Compares the changes. It does not matter how they are divided into chunks.
impl PartialEq for Changes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Changes {}

/// Estimates how much memory a change takes, with its encoding, in bytes.
fn weight_bytes(change: &Change) -> usize {
    const FIXED: usize = size_of::<Change>() + 48;
    match change {
        Change::Placed { suffix, .. } => FIXED + suffix.len() * 16,
        Change::EndpointSet { spec } => FIXED + spec.name.len() + spec.labels.len() * 64,
        Change::ModelsSet { models } => FIXED + models_bytes(models),
        Change::AdaptersChanged { residency, .. } => FIXED + residency.names().count() * 48,
        Change::Flow(change) => FIXED + flow_bytes(change),
        Change::Signalled { signal } => FIXED + signal_bytes(signal),
        _ => FIXED,
    }
}

fn flow_bytes(change: &FlowChange) -> usize {
    const EACH: usize = 96;
    match change {
        FlowChange::SettingsReported { settings, .. } => {
            EACH * (settings.bands.len() + settings.weights.len())
        }
        FlowChange::BacklogChanged { flow, .. } => flow.id.len(),
        FlowChange::BandServed { shares, .. } => EACH * shares.served.len(),
        FlowChange::RevocableChanged { .. } | FlowChange::Measured(_) => 0,
    }
}

fn signal_bytes(signal: &Signal) -> usize {
    const GROUP: usize = size_of::<GroupSignal>() + 200;
    const ADAPTER: usize = 96;
    size_of::<Signal>() + GROUP * signal.groups.len() + ADAPTER * signal.adapters.len()
}

fn models_bytes(models: &Models) -> usize {
    const EACH: usize = 96;
    let of_rule = |rule: &RewriteRule| EACH * (1 + 2 * rule.models.len() + rule.targets.len());
    let of_rewrite = |rewrite: &ModelRewrite| EACH + rewrite.rules.iter().map(of_rule).sum::<usize>();
    models.objectives().len() * EACH + models.rewrites().iter().map(of_rewrite).sum::<usize>()
}
