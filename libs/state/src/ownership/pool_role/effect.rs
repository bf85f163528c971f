//! The effects of a role.

use signalbox_types::Version;

use crate::pool::PoolEffect;
use crate::replication::{FromFollower, Gap};

/// The status of an aggregator in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleStatus {
    /// It follows the owner.
    Standby,
    /// It has claimed the pool under this epoch and fetches the missing history.
    TakingOver(u64),
    /// It owns the pool under this epoch.
    Owner(u64),
}

/// What must be done after an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleEffect {
    /// An effect of the pool that this aggregator owns.
    Pool(PoolEffect),
    /// Send a message on the stream to another aggregator.
    Send(u64, FromFollower),
    /// Claim the pool.
    Claim {
        /// The highest known epoch. That of the claim must be higher.
        above: u64,
        /// The epoch of an owner that is lost, or an earlier run of this aggregator: the claim may replace it
        /// although it holds its lease.
        replacing: Option<u64>,
    },
    /// Release the pool at the coordinator.
    Release,
    /// The status changed. Only an owner accepts collectors and feedback.
    StatusChanged(RoleStatus),
    /// Make all followers poll: there is something new for them.
    WakeFollowers,
    /// The history from which the streams of followers answer polls by themselves began or ended.
    HistoryChanged,
    /// A frame from the owner could not be applied.
    Gap(Gap),
    /// A snapshot replaced the state of a standby.
    SnapshotInstalled,
    /// This epoch, which a peer names, was ignored, because it cannot be genuine.
    EpochRefused(u64),
    /// The history that this aggregator holds is not continued, because its version cannot be genuine.
    HistoryRefused(Version),
}
