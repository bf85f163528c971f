//! Numbers for bookings whose end another process may report.

use std::sync::atomic::{AtomicU64, Ordering};

use signalbox_types::ReplicaKey;

/// Number of low bits of a booking number that count bookings. The high ones tell the pool.
const COUNTER_BITS: u32 = 48;

/// Creates the booking numbers of one pool.
#[derive(Debug)]
pub(crate) struct BookingNumbers {
    /// In the high bits of each number.
    pool_tag: u16,
    next: AtomicU64,
}

/// Returns the high bits of the booking numbers of a pool. They tell which pool a booking belongs to, if not
/// two pools have the same ones by chance.
pub(crate) fn pool_tag(pool: &str) -> u16 {
    (ReplicaKey::of(pool).0 >> COUNTER_BITS) as u16
}

impl BookingNumbers {
    /// Creates numbers with `pool_tag` in their high bits. The rest starts at a random value, so that they do not collide
    /// with those of an earlier process with the same name.
    pub(crate) fn new(pool_tag: u16) -> Self {
        Self { pool_tag, next: AtomicU64::new(rand::random()) }
    }

    /// Returns the next number.
    pub(crate) fn next(&self) -> u64 {
        let count = self.next.fetch_add(1, Ordering::Relaxed) & ((1 << COUNTER_BITS) - 1);
        u64::from(self.pool_tag) << COUNTER_BITS | count
    }

    /// Returns whether `number` belongs to this pool, or to one with the same tag.
    pub(crate) fn may_contain(&self, number: u64) -> bool {
        number >> COUNTER_BITS == u64::from(self.pool_tag)
    }
}
