//! The view that requests read, with what would be costly to build for each request.

use std::net::SocketAddr;
use std::sync::Arc;

use signalbox_extproc::{Destination, SessionTokens};
use signalbox_schedule::session_token;
use signalbox_state::{Bookings, EndpointState, StateReplica, View};

/// The latest view of the pool and what is derived from it. It is replaced as a whole and never changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecisionSnapshot {
    pub(crate) view: View,
    /// The same view for recordings, which outlive it. It has no prefix index, which a recording would
    /// otherwise keep in memory after the pool has replaced it.
    pub(crate) recorded: Arc<View>,
    /// Destinations for the gateway, in the order of the view's endpoints.
    destinations: Arc<[Destination]>,
    /// The session tokens of the view's endpoints.
    session_tokens: Arc<SessionTokens>,
}

impl DecisionSnapshot {
    /// Returns the snapshot of what `replica` holds now, sharing with `before` what has not changed. Removes the
    /// gauges of endpoints that are gone, if nothing is in flight there.
    pub(crate) fn next(before: &Self, replica: &StateReplica, bookings: &Bookings, seen_at_ms: u64) -> Self {
        let view = View::next(&before.view, replica, bookings, seen_at_ms);
        let destinations = if addresses(&view).eq(addresses(&before.view)) {
            Arc::clone(&before.destinations)
        } else {
            addresses(&view).map(Destination::from).collect()
        };
        let session_tokens = if names(&view).eq(names(&before.view)) {
            Arc::clone(&before.session_tokens)
        } else {
            Arc::new(names(&view).map(|(address, name)| (address, session_token(name))).collect())
        };
        let is_gone = |member: &Arc<EndpointState>| view.position(member.key).is_none();
        if before.view.endpoints.iter().any(is_gone) {
            bookings.retain(|endpoint| view.position(endpoint).is_some());
        }
        let mut recorded = view.clone();
        recorded.index = Arc::clone(&before.recorded.index);
        Self { view, recorded: Arc::new(recorded), destinations, session_tokens }
    }

    /// Returns the destination of the endpoint at `position` in the view.
    pub(crate) fn destination(&self, position: usize) -> Destination {
        self.destinations[position].clone()
    }

    /// Returns the session tokens of the view's endpoints.
    pub(crate) fn session_tokens(&self) -> &Arc<SessionTokens> {
        &self.session_tokens
    }
}

fn names(view: &View) -> impl Iterator<Item = (SocketAddr, &str)> {
    view.endpoints.iter().map(|member| (member.spec.address, member.spec.name.as_str()))
}

fn addresses(view: &View) -> impl Iterator<Item = SocketAddr> {
    view.endpoints.iter().map(|member| member.spec.address)
}

#[cfg(test)]
mod tests {
    use signalbox_state::ScrapeStatus;

    use super::*;
    use crate::test_support::{FIRST, SECOND, THIRD, pool, replica_of};

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

    #[test]
    fn gauge_of_a_replaced_endpoint_goes_unless_a_request_is_in_flight_there() {
        let bookings = Bookings::new(Arc::new(|| {}));
        let snapshot = |before: &DecisionSnapshot, addresses: &[&str]| {
            DecisionSnapshot::next(before, &replica_of(&pool(addresses, ScrapeStatus::Fresh)), &bookings, 1)
        };
        let first = snapshot(&DecisionSnapshot::default(), &[FIRST, SECOND]);
        let [idle, busy] = [FIRST, SECOND].map(|address| {
            first.view.endpoints.iter().find(|member| member.spec.address.to_string() == address).unwrap().key
        });
        drop(bookings.reserve(idle, 1));
        let in_flight = bookings.reserve(busy, 1);
        let next = snapshot(&first, &[THIRD, "10.0.0.4:80"]);
        assert_eq!(first.view.endpoints.len(), next.view.endpoints.len());
        let remaining: Vec<_> = bookings.take_changed().into_iter().map(|(endpoint, _)| endpoint).collect();
        assert_eq!(vec![busy], remaining);
        drop(in_flight);
    }
}
