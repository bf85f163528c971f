//! What this replica knows of the pool, and how full the pool is by that.

use signalbox_admission::Seen;
use signalbox_flow::Saturation;
use signalbox_state::View;

use super::picker::Picker;

impl Picker {
    /// Returns what this replica knows of the pool that the latest `view` shows.
    pub(super) fn seen<'a>(&self, view: &'a View) -> Seen<'a> {
        Seen {
            view,
            origin: self.origin(),
            now_ms: self.now_ms(),
            owner_silence_ms: self.owner_silence_ms(),
            view_age_ms: self.view_age_ms(),
        }
    }

    /// Returns the saturation of the pool with the bookings of all replicas, a few milliseconds old at most. A pool without
    /// endpoints is full.
    pub(crate) fn pool_saturation(&self, view: &View) -> f64 {
        self.saturation.at(self.now_ms(), || self.seen(view).pool_saturation(self.gate.detector()))
    }

    /// Returns the saturation of this replica's share of the pool: as if each live replica had booked as much as this one.
    /// `None` if the pool has no endpoints.
    pub(crate) fn own_saturation(&self) -> Option<Saturation> {
        self.seen(&self.snapshot.load().view).share_saturation(self.gate.detector())
    }
}
