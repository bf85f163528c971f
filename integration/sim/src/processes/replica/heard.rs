//! When a replica and the pool's owner last heard each other.

use signalbox_admission::Seen;
use signalbox_state::{PeerLoad, View};
use signalbox_types::Origin;

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
    fn view_age_ms(self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.view_confirmed_ms)
    }

    /// Returns for how long the owner has not been heard, or has not heard this replica.
    fn owner_silence_ms(self, now_ms: u64) -> u64 {
        self.view_age_ms(now_ms).max(now_ms.saturating_sub(self.feed_lost_ms))
    }

    /// Returns what the replica `origin` knows of the pool that `view` shows.
    pub(super) fn seen(self, view: &View, origin: Origin, now_ms: u64) -> Seen<'_> {
        let (owner_silence_ms, view_age_ms) = (self.owner_silence_ms(now_ms), self.view_age_ms(now_ms));
        Seen { view, origin, now_ms, owner_silence_ms, view_age_ms }
    }

    /// Returns whether the loads of other replicas in the view still count.
    pub(super) fn peer_load(self, now_ms: u64) -> PeerLoad {
        if self.view_age_ms(now_ms) < ORIGIN_TTL_MS { PeerLoad::Current } else { PeerLoad::Outdated }
    }
}
