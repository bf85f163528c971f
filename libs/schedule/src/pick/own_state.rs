//! What a replica itself holds of the requests that it sent.

use signalbox_state::{Bookings, Overlay, PlacedPrompt, RecentAdapterSends, RecentProbes};
use signalbox_types::Origin;

use super::feedback_sink::FeedbackSink;

/// What a replica itself holds of the requests that it sent, and the pool state does not contain yet.
#[derive(Clone, Copy, Debug)]
pub struct OwnState<'a> {
    /// Origin of the replica's feedback.
    pub origin: Origin,
    /// The requests in flight.
    pub bookings: &'a Bookings,
    /// The placements that the pool has not acknowledged.
    pub overlay: &'a Overlay,
    /// The endpoints to which requests for LoRA adapters were sent.
    pub adapter_sends: &'a RecentAdapterSends,
    /// The endpoints that were probed.
    pub probes: &'a RecentProbes,
}

/// Applies a placement to the overlay and queues it for the owner. Without room, the placement is dropped: a missed
/// placement costs a cache hit, whereas a missed booking would unbalance the endpoints. Returns whether it was queued.
pub fn place(overlay: &Overlay, placed: PlacedPrompt, feedback: &mut impl FeedbackSink) -> bool {
    // The overlay comes first: the owner's acknowledgement removes the placement from there.
    overlay.place(&placed);
    let Err(placed) = feedback.queue_placement(placed) else { return true };
    overlay.remove(&placed);
    false
}
