//! The effects of a pool's owner.

use std::sync::Arc;

use signalbox_signal::Signal;
use signalbox_types::{Origin, Version};

use super::assignments::{AssignedEndpoint, CollectorStream};
use super::feedback_handling::FeedbackRest;

/// What must be done after an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEffect {
    /// Tell followers that there are changes up to this version.
    Published(Version),
    /// Send a collector all endpoints that it must scrape.
    Assign(CollectorStream, Vec<AssignedEndpoint>),
    /// Close a collector's stream: it was silent for too long, or the collector has opened another one.
    CloseCollector(CollectorStream),
    /// Request the whole chain of a placement from a replica.
    NeedChain(Origin, u64),
    /// Tell a replica that its origin has expired.
    Expired(Origin),
    /// There is work left: send [`super::PoolInput::Continue`] after the inputs that already wait. Without it, the next
    /// tick continues.
    Unfinished,
    /// Requests wait: send [`super::PoolInput::GrantDue`] after so many milliseconds. Without it, the next input goes on.
    GrantAfter(u64),
    /// A batch of feedback is too much work for one input: send [`super::PoolInput::FeedbackRest`] before any other
    /// feedback of its origin, because placements are handled in order. It must not be dropped: the placements of later
    /// batches have higher numbers, and acknowledging those acknowledges these as well, so that their replica never sends
    /// them again.
    FeedbackLeft(FeedbackRest),
    /// Store this signal with the coordinator, for later owners. Only the last one counts.
    StoreSignal(Arc<Signal>),
    /// Count an event; nothing else to do.
    Count(CountedEvent),
}

/// An event that is rare in normal operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedEvent {
    /// A replica was silent for the origin TTL, and its load was removed.
    OriginExpired(Origin),
    /// This number of placements was dropped, because their requested chains did not arrive in time.
    PlacementsDropped(usize),
    /// This number of placements of a replica was dropped, because too many waited for their requested chains.
    ChainRequestsDropped(Origin, usize),
    /// A collector reported an endpoint that is no longer assigned to it.
    ReportOutdated(CollectorStream),
}
