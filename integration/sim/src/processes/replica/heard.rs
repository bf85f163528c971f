//! When a replica and the pool's owner last heard each other.

use signalbox_state::PeerLoad;

/// Age at which a view's information about other replicas expires, in milliseconds.
const ORIGIN_TTL_MS: u64 = 3_000;

/// When a replica and the pool's owner last heard each other, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// When the owner last extended or confirmed the state.
    pub(super) view_confirmed_ms: u64,
    /// Since when no owner accepts feedback; `u64::MAX` if one does.
    pub(super) feed_lost_ms: u64,
}

impl Default for Heard {
    fn default() -> Self {
        Self { view_confirmed_ms: 0, feed_lost_ms: u64::MAX }
    }
}

impl Heard {
    pub(super) fn view_age_ms(self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.view_confirmed_ms)
    }

    /// Returns for how long the owner has not been heard, or has not heard this replica.
    pub(super) fn owner_silence_ms(self, now_ms: u64) -> u64 {
        self.view_age_ms(now_ms).max(now_ms.saturating_sub(self.feed_lost_ms))
    }

    /// Returns whether the loads of other replicas in the view still count.
    pub(super) fn peer_load(self, now_ms: u64) -> PeerLoad {
        if self.view_age_ms(now_ms) < ORIGIN_TTL_MS { PeerLoad::Current } else { PeerLoad::Outdated }
    }
}
