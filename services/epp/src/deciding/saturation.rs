//! How full the pool is, as this replica sees it.

use signalbox_admission::{pool_saturation, share_saturation};
use signalbox_flow::Saturation;
use signalbox_state::View;

use super::picker::Picker;

impl Picker {
    /// Returns the saturation of the pool with the bookings of all replicas, a few milliseconds old at most. A pool without
    /// endpoints is full.
    pub(crate) fn pool_saturation(&self, view: &View) -> f64 {
        let now_ms = self.now_ms();
        let replica = (self.origin(), self.view_age_ms());
        self.saturation.at(now_ms, || pool_saturation(self.gate.detector(), view, replica, now_ms))
    }

    /// Returns the saturation of this replica's share of the pool: as if each live replica had booked as much as this one.
    /// `None` if the pool has no endpoints.
    pub(crate) fn own_saturation(&self) -> Option<Saturation> {
        let view = &self.snapshot.load().view;
        let replica = (self.origin(), self.view_age_ms());
        share_saturation(self.gate.detector(), view, replica, self.now_ms())
    }
}
