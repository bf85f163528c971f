//! What the tasks of requests read: the latest view, and what they must not make anew for each request.

use std::net::SocketAddr;
use std::sync::Arc;

use signalbox_extproc::Destination;
use signalbox_state::{Bookings, StateReplica, View};

/// The latest view of the pool. Replaced whole, never changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecisionSnapshot {
    pub(crate) view: View,
    /// The same for records, which outlive it: without the index, which would be kept alive when the pool has another one.
    pub(crate) recorded: Arc<View>,
    /// What the gateway is told, in the order of the view's members.
    destinations: Arc<[Destination]>,
}

impl DecisionSnapshot {
    /// What `replica` holds now. `before` lends what has not changed.
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
    fn what_is_recorded_does_not_keep_the_index() {
        let bookings = Bookings::new(Arc::new(|| {}));
        let first =
            DecisionSnapshot::next(&DecisionSnapshot::default(), &StateReplica::default(), &bookings, 1);
        let second = DecisionSnapshot::next(&first, &StateReplica::default(), &bookings, 2);
        assert!(!Arc::ptr_eq(&second.view.index, &second.recorded.index));
        assert!(Arc::ptr_eq(&first.recorded.index, &second.recorded.index));
        assert_eq!(2, second.recorded.heard_at_ms);
    }
}
