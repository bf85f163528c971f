//! Measures how the owner and a follower take up many new endpoints at once.

use signalbox_state::{Pool, PoolConfig};

use super::measured_owner::MeasuredOwner;
use super::measured_replica::MeasuredReplica;
use super::prompts;
use super::sending_replica::SendingReplica;

/// Blocks of each endpoint's first prompt.
const BLOCKS: u64 = 8;

/// Milliseconds of CPU time for a number of endpoints.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Growth {
    pub(super) endpoints: usize,
    /// The owner adds all endpoints, and the longest fold of it.
    pub(super) adding_ms: f64,
    pub(super) longest_ms: f64,
    /// The owner places the first prompt of each, one by one.
    pub(super) placing_ms: f64,
    /// A follower decodes and applies both.
    pub(super) following_ms: f64,
}

/// Measures so many endpoints.
pub(super) fn measure(endpoints: usize) -> Growth {
    let mut owner = MeasuredOwner::new(endpoints, PoolConfig::default());
    for position in 0..endpoints {
        let chain = prompts::unshared(position as u64 + 1, BLOCKS).collect();
        owner.place(std::iter::once((position, chain)));
    }
    let (mut replica, sending) = (MeasuredReplica::new(), SendingReplica::new(0, &[]));
    let empty = Pool::new(1, PoolConfig::default()).snapshot().into();
    replica.receive_snapshot(0, empty, &sending.bookings);
    replica.reset();
    let frames = owner.new_frames();
    replica.receive(0, &frames, &sending.bookings);
    Growth {
        endpoints,
        adding_ms: owner.specs.total_ms() + owner.ticks.total_ms(),
        longest_ms: owner.specs.longest_ms().max(owner.ticks.longest_ms()),
        placing_ms: owner.feedback.total_ms(),
        following_ms: replica.decoding.total_ms() + replica.applying.total_ms(),
    }
}
