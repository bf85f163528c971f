//! The view that requests read, with what would be costly to build for each request.

use std::net::SocketAddr;
use std::sync::Arc;

use signalbox_extproc::Destination;
use signalbox_state::{Bookings, StateReplica, View};

/// The latest view of the pool and what is derived from it. It is replaced as a whole and never changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecisionSnapshot {
    pub(crate) view: View,
    /// The same view for recordings, which outlive it. It has no prefix index, which a recording would
    /// otherwise keep in memory after the pool has replaced it.
    pub(crate) recorded: Arc<View>,
    /// Destinations for the gateway, in the order of the view's endpoints.
    destinations: Arc<[Destination]>,
}

impl DecisionSnapshot {
    /// Returns the snapshot of what `replica` holds now, sharing with `before` what has not changed.
    pub(crate) fn next(before: &Self, replica: &StateReplica, bookings: &Bookings, heard_at_ms: u64) -> Self {
        let view = View::next(&before.view, replica, bookings, heard_at_ms);
        let destinations = if addresses(&view).eq(addresses(&before.view)) {
            Arc::clone(&before.destinations)
        } else {
            addresses(&view).map(Destination::from).collect()
        };
        let mut recorded = view.clone();
        recorded.index = Arc::clone(&before.recorded.index);
        Self { view, recorded: Arc::new(recorded), destinations }
    }

    /// Returns the destination of the endpoint at `position` in the view.
    pub(crate) fn destination(&self, position: usize) -> Destination {
        self.destinations[position].clone()
    }
}

fn addresses(view: &View) -> impl Iterator<Item = SocketAddr> {
    view.endpoints.iter().map(|member| member.spec.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_view_does_not_retain_the_index() {
        let bookings = Bookings::new(Arc::new(|| {}));
        let first =
            DecisionSnapshot::next(&DecisionSnapshot::default(), &StateReplica::default(), &bookings, 1);
        let second = DecisionSnapshot::next(&first, &StateReplica::default(), &bookings, 2);
        assert!(!Arc::ptr_eq(&second.view.index, &second.recorded.index));
        assert!(Arc::ptr_eq(&first.recorded.index, &second.recorded.index));
        assert_eq!(2, second.recorded.owner_seen_at_ms);
    }
}
