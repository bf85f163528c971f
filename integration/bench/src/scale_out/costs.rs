//! What was measured of a pool.

use super::measured_owner::MeasuredOwner;
use super::measured_replica::MeasuredReplica;
use super::memory::Memory;
use super::rare_folds::RareFolds;
use super::stopwatch::Stopwatch;

/// CPU time per virtual second, in seconds, and other results.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Costs {
    /// The owner's actor: folds of feedback, of reports, and of ticks with what other folds left unfinished.
    pub(super) feedback: f64,
    pub(super) reports: f64,
    pub(super) ticks: f64,
    /// The aggregator's streams: decoding feedback and reports, encoding frames for the first follower, and reading and
    /// encoding them for all others.
    pub(super) decoding_at_owner: f64,
    pub(super) encoding_first: f64,
    pub(super) encoding_others: f64,
    /// One replica: what follows the pool, and what books and feeds back.
    pub(super) decoding: f64,
    pub(super) applying: f64,
    pub(super) viewing: f64,
    pub(super) booking: f64,
    pub(super) feeding: f64,
    /// Bytes per second to and from one replica.
    pub(super) bytes_to_replica: f64,
    pub(super) bytes_from_replica: f64,
    pub(super) frames_per_second: f64,
    pub(super) changes_per_second: f64,
    /// Placements that the owner accepted: as many as the replicas sent, except those whose whole chain it requested.
    pub(super) placements_per_second: f64,
    pub(super) requested_chains_per_second: f64,
    /// How far back the default history reaches, at most as far as the simulation.
    pub(super) history_ms: u64,
    /// Milliseconds of the longest fold of feedback, reports and ticks.
    pub(super) longest_ms: [f64; 3],
    /// The memory of the owner, the replicas and the simulation together, at the end.
    pub(super) memory: Memory,
    pub(super) snapshot: SnapshotCosts,
    pub(super) rare: RareFolds,
}

/// Milliseconds of CPU time for a snapshot.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct SnapshotCosts {
    /// The owner captures it, and the longest fold of it.
    pub(super) capturing_ms: f64,
    pub(super) longest_ms: f64,
    pub(super) encoding_ms: f64,
    pub(super) decoding_ms: f64,
    pub(super) applying_ms: f64,
    pub(super) bytes: u64,
    /// What the index counts as its memory, in bytes.
    pub(super) index_bytes: usize,
}

impl SnapshotCosts {
    /// Returns what `replica` spent on its first snapshot.
    pub(super) fn new(owner: &MeasuredOwner, replica: &MeasuredReplica, capturing: &Stopwatch) -> Self {
        Self {
            capturing_ms: capturing.total_ms(),
            longest_ms: capturing.longest_ms(),
            encoding_ms: replica.encoding.total_ms(),
            decoding_ms: replica.decoding.total_ms(),
            applying_ms: replica.applying.total_ms(),
            bytes: replica.bytes,
            index_bytes: owner.pool.pool_state().index_writer().memory_bytes(),
        }
    }
}

impl Costs {
    /// Returns the percentage of a core that the owner's actor takes.
    pub(super) fn owner_percent(&self) -> f64 {
        (self.feedback + self.reports + self.ticks) * 100.0
    }

    /// Returns the percentage of a core that all streams of the aggregator take.
    pub(super) fn streams_percent(&self) -> f64 {
        (self.decoding_at_owner + self.encoding_first + self.encoding_others) * 100.0
    }

    /// Returns the percentage of a core that a replica takes to follow the pool.
    pub(super) fn following_percent(&self) -> f64 {
        (self.decoding + self.applying + self.viewing) * 100.0
    }

    /// Returns the duration of the longest fold in milliseconds.
    pub(super) fn longest_fold_ms(&self) -> f64 {
        self.longest_ms.into_iter().fold(0.0, f64::max)
    }
}
